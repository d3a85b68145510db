// The widget of `grpo_lessons.lesson.pushed`: one update from a given group, and what it does to each token.

import { element, file, json, load } from "./parts.js";
import { TOKENS_STYLE, chances, legend, signedNumber, times, tokenList } from "./tokens.js";

// A single group's first update with AdamW is a step in every weight: at a lesson's own learning rate it would go too far to be read.
const SMALL = { beta: 0, learning_rate: 3e-4, steps: 1e6, max_completion_length: 128 };

function render({ model, el }) {
  const root = element("div", el, "", "pushed"), replies = model.get("replies"), rewards = model.get("rewards");
  element("style", root, TOKENS_STYLE);
  const buttons = element("div", root, "", "row"), more = element("button", buttons, "One more update");
  const again = element("button", buttons, "From the beginning"), status = element("p", root, "Loading the model …", "name");
  status.setAttribute("role", "status");
  const list = element("ol", root);
  legend(root);
  const panel = element("div", root, "", "panel");
  panel.id = `chances-${Math.random().toString(36).slice(2)}`;
  let loaded = null, count = 0, isOver = false, at = null;

  const settings = { ...SMALL, batch_size: replies.length, group_size: replies.length };
  const ready = () => (loaded ??= load(model, settings).catch((error) => ((loaded = null), Promise.reject(error))));

  function point(span, token, before) {
    at?.classList.remove("at");
    at?.setAttribute("aria-selected", "false");
    at = span;
    at.classList.add("at");
    at.setAttribute("aria-selected", "true");
    at.setAttribute("aria-describedby", panel.id);
    chances(panel, token, before);
  }

  function show({ tokens, advantages }) {
    list.replaceChildren();
    let most = null;
    tokens.forEach((reply, i) => {
      const item = element("li", list), way = advantages[i] > 0 ? "up" : "down";
      const spans = tokenList(item, reply, `tokens of reply ${i + 1}, pushed ${way}`, point);
      const facts = element("div", item, "", "facts");
      element("b", element("span", facts, "advantage ", "name"), signedNumber(advantages[i]));
      element("span", facts, `the whole reply: × ${times(reply)} as likely`, "name");
      reply.forEach(([[, was, is]], t) => {
        const size = Math.abs(Math.log(is / was));
        if (!most || size > most.size) most = { size, span: spans[t], token: reply[t], before: reply.slice(0, t).map(([[text]]) => text).join("") };
      });
    });
    point(most.span, most.token, most.before);
  }

  async function update() {
    more.disabled = again.disabled = true;
    try {
      const engine = await ready(), began = performance.now();
      await engine.call("sample", { prompts: [model.get("prompt")], replies });
      const pushed = await engine.call("push", { rewards });
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
