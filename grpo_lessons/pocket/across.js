// The widget of `grpo_lessons.lesson.in_browser.Across`: it shows nothing, and trains what Python, elsewhere, asks for.

import { Engine } from "./client.js";

export default {
  initialize({ model, signal }) {
    const engines = new Map(); // by the name that Python gives each
    let files = null;

    async function carryOut(of, call, given, [weights, tokenizer]) {
      if (call === "start" || call === "end") engines.get(of)?.end();
      if (call === "end") return engines.delete(of);
      if (call === "start") {
        if (weights) files = { weights: weights.buffer, tokenizer: JSON.parse(new TextDecoder().decode(tokenizer)) };
        engines.set(of, new Engine(ENGINE));
        given = { ...files, ...given };
      }
      return engines.get(of).call(call, given);
    }

    model.on("msg:custom", ({ id, of, call, given }, buffers) => carryOut(of, call, given, buffers ?? []).then(
      (result) => (ArrayBuffer.isView(result) ? model.send({ id }, undefined, [result]) : model.send({ id, result })),
      (error) => model.send({ id, error: error.message, name: error.name }),
    ));
    signal.addEventListener("abort", () => engines.forEach((engine) => engine.end()));
    // A page that is loaded anew has other engines, which have learnt nothing.
    model.send({ isNew: true, cores: navigator.hardwareConcurrency });
  },
};
