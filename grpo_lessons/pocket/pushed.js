// The widget of `grpo_lessons.lesson.pushed`: one update from a given group, and what it does to each token.

import { element } from "./element.js";
import { file, json, load } from "./parts.js";
import { TOKENS_STYLE, group } from "./tokens.js";

// A single group's first update with AdamW is a step in every weight: at a lesson's own learning rate it would go too far to be read.
const SMALL = { beta: 0, learning_rate: 3e-4, steps: 1e6, max_completion_length: 128 };

function render({ model, el }) {
  const root = element("div", el, "", "pushed"), replies = model.get("replies"), rewards = model.get("rewards");
  element("style", root, TOKENS_STYLE);
  const buttons = element("div", root, "", "row"), more = element("button", buttons, "One more update");
  const again = element("button", buttons, "From the beginning"), status = element("p", root, "Loading the model …", "name");
  status.setAttribute("role", "status");
  const show = group(root);
  let loaded = null, count = 0, isOver = false;

  const settings = { ...SMALL, batch_size: replies.length, group_size: replies.length };
  const ready = () => (loaded ??= load(model, settings).catch((error) => ((loaded = null), Promise.reject(error))));

  async function update() {
    more.disabled = again.disabled = true;
    try {
      const engine = await ready(), began = performance.now();
      await engine.call("sample", { prompts: [model.get("prompt")], replies });
      const pushed = await engine.call("learn", { rewards, shown: 0 });
      if (isOver) return;
      show(pushed);
      root.dataset.ms = Math.round(performance.now() - began);
      status.textContent = `Update ${++count}, made here in this page. Point at a token, or move through a reply with the arrow keys.`;
    } catch (error) {
      if (isOver) return;
      if (error.name === "NoSIMD") await recorded();
      else status.textContent = `That did not work: ${error.message}. Press to try again.`;
    }
    more.disabled = again.disabled = false;
  }

  /** What an update did when it was recorded, where the model cannot run. */
  async function recorded() {
    buttons.remove();
    status.textContent = "This browser is too old to train the model, which needs WebAssembly SIMD. This is a recorded update.";
    show(json(await file(model, "recorded"))[model.get("lesson")]);
  }

  more.addEventListener("click", update);
  again.addEventListener("click", () => {
    loaded?.then((engine) => engine.end(), () => {});
    loaded = null;
    count = 0;
    update();
  });
  update(); // the reader has asked for it: that is why the widget is there
  return () => {
    isOver = true;
    loaded?.then((engine) => engine.end(), () => {}); // the widget is gone, and gives its memory back
  };
}

export default { render };
