// The trainer in a worker of its own, so that the page stays free.
//
// A call is a message { id, call, given }; its answer is { id, result }, or { id, error: { name, message } } for what
// was thrown, and before it { id, progress } while replies are generated. Ending the worker gives all memory back.

import { Tokenizer } from "./tokenizer.js";
import { Trainer } from "./grpo.js";

let trainer = null;

const CALLS = {
  start({ weights, tokenizer, settings, adapter }) {
    trainer = new Trainer(KERNELS, weights, new Tokenizer(tokenizer), settings, adapter);
    return { settings: trainer.settings };
  },
  sample: ({ prompts, replies }) => trainer.sample(prompts, replies),
  learn: ({ rewards, shown }) => trainer.learn(rewards, shown),
  generate: ({ prompts, ...choices }, tell) => trainer.generate(prompts, { ...choices, tell: choices.isWatched && tell }),
  save: ({ about, of }) => trainer.model.save(about, of),
  bytes: () => trainer.memory.bytes,
};

self.onmessage = ({ data: { id, call, given } }) => {
  try {
    if (!Object.hasOwn(CALLS, call)) throw new RangeError(`${call}: expected one of ${Object.keys(CALLS).join(", ")}`);
    if (!trainer && call !== "start") throw new Error(`${call}: call start first`);
    self.postMessage({ id, result: CALLS[call](given, (progress) => self.postMessage({ id, progress })) });
  } catch (error) {
    self.postMessage({ id, error: { name: error.name, message: error.message } });
  }
};
