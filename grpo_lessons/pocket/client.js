// The page's side of the worker.

/** The model in a worker of its own, made of one text: no file is asked for. */
export class Engine {
  /** @param {string} source what `grpo_lessons.pocket.scripts.engine()` gives; the page's policy must allow `worker-src blob:` */
  constructor(source) {
    this.address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.worker = new Worker(this.address);
    this.waiting = new Map();
    this.count = 0;
    this.worker.onmessage = ({ data: { id, result, error, progress } }) => {
      const { resolve, reject, tell } = this.waiting.get(id) ?? {};
      if (!resolve) return; // an answer that was on its way when the worker was ended
      if (progress) return tell?.(progress);
      this.waiting.delete(id);
      if (error) reject(Object.assign(new Error(error.message), { name: error.name }));
      else resolve(result);
    };
    this.worker.onerror = (event) => this.end(event.message || "the browser did not start it");
  }

  /** A promise of what a call of worker.js gives; an error has the name that it has there, such as "NoSIMD". */
  call(name, given = {}, tell = null) {
    if (!this.worker) return Promise.reject(new Error("the worker has ended: start another"));
    return new Promise((resolve, reject) => {
      this.waiting.set(++this.count, { resolve, reject, tell });
      this.worker.postMessage({ id: this.count, call: name, given });
    });
  }

  /** End it at once, whatever it does, and give its memory back. */
  end(why = "it was ended") {
    this.worker?.terminate();
    URL.revokeObjectURL(this.address); // not before: not every browser has read it when the worker has been made
    this.worker = null;
    for (const { reject } of this.waiting.values()) reject(new Error(`the worker has stopped: ${why}`));
    this.waiting.clear();
  }
}
