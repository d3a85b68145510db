// The widget of `grpo_lessons.lesson.station`: what the update of a training's step did to each token of a group.

import { element } from "./element.js";
import { TOKENS_STYLE, group } from "./tokens.js";

function render({ model, el }) {
  const root = element("div", el, "", "pushed");
  element("style", root, TOKENS_STYLE);
  group(root)(Object.fromEntries(["tokens", "advantages", "facts"].map((name) => [name, model.get(name)])));
}

export default { render };
