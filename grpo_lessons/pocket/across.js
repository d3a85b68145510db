// The widget of `grpo_lessons.lesson.in_browser.Across`: it shows nothing, and trains what Python, elsewhere, asks for.

import { Engine } from "./client.js";

export default {
  initialize({ model, signal }) {
    let engine = null, files = null;

    async function carryOut(call, given, [weights, tokenizer]) {
      if (call === "end") return engine?.end();
      if (call === "start") {
        engine?.end();
        if (weights) files = { weights: weights.buffer, tokenizer: JSON.parse(new TextDecoder().decode(tokenizer)) };
        engine = new Engine(ENGINE);
        given = { ...files, ...given };
      }
      return engine.call(call, given);
    }

    model.on("msg:custom", ({ id, call, given }, buffers) => carryOut(call, given, buffers ?? []).then(
      (result) => (ArrayBuffer.isView(result) ? model.send({ id }, undefined, [result]) : model.send({ id, result })),
      (error) => model.send({ id, error: error.message }),
    ));
    signal.addEventListener("abort", () => engine?.end());
    model.send({ isNew: true }); // a page that is loaded anew has an engine that has learnt nothing
  },
};
