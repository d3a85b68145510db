// The widget of `grpo_lessons.lesson.tryout`: a question, and replies before and after GRPO, sampled in a worker.

import { element } from "./element.js";
import { load } from "./parts.js";

const REPLIES = 4; // on each side
const LONGEST = 200; // characters of a question

const STYLE = `.tryout{--line:rgba(128,134,145,.35);font-size:.92rem;line-height:1.45;color:inherit}.tryout *{box-sizing:border-box}
.tryout form{display:flex;flex-wrap:wrap;gap:.5rem;align-items:end}.tryout label{flex:1 1 14rem;display:grid;gap:.15rem}
.tryout input,.tryout button{font:inherit;color:inherit;background:transparent;border:1px solid var(--line);border-radius:.5rem;
padding:.35rem .65rem;min-width:0;width:100%}.tryout button{width:auto;cursor:pointer;background:rgba(128,134,145,.10)}
.tryout button:hover{border-color:currentColor}.tryout :focus-visible{outline:2px solid currentColor;outline-offset:1px}
.tryout .columns{display:grid;gap:.2rem 1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,15rem),1fr))}
.tryout h4{margin:.3rem 0;font-size:.92rem;font-weight:600}.tryout ol{list-style:none;margin:0;padding:0;display:grid;gap:.4rem}
.tryout li{border:1px solid var(--line);border-radius:.5rem;padding:.4rem .6rem;min-height:3.6rem}
.tryout .text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.82rem;white-space:pre-wrap;
overflow-wrap:anywhere}.tryout .name{opacity:.75;font-size:.8rem}.tryout p{margin:.35rem 0;min-height:1.3em}`;

/** A question, and under it replies before and after GRPO; all there, they become the trait `replies`. */
function render({ model, el }) {
  const root = element("div", el, "", "tryout");
  element("style", root, STYLE);
  const form = element("form", root);
  const label = element("label", form);
  element("span", label, "Your question", "name");
  const input = element("input", label);
  input.value = model.get("question");
  input.maxLength = LONGEST;
  input.autocomplete = "off";
  element("button", form, "Ask").type = "submit";
  const status = element("p", root, "Sampled here, in this page.", "name");
  status.setAttribute("role", "status");
  const columns = element("div", root, "", "columns");
  const lists = {};
  for (const [when, title] of [["before", "before"], ["after", "after GRPO"]]) {
    const section = element("section", columns);
    element("h4", section, title);
    lists[when] = element("ol", section);
    section.setAttribute("aria-label", `replies ${title}`);
  }

  let loaded = null, latest = 0;
  const ready = () => (loaded ??= load(model, {}, ["adapter"]).catch((error) => ((loaded = null), Promise.reject(error))));

  /** Four replies into a list, while they grow: null if another question was asked meanwhile. */
  async function answer(engine, question, when, isOver) {
    const items = Array.from({ length: REPLIES }, () => {
      const item = element("li", lists[when]);
      return { text: element("div", item, "", "text"), note: element("span", item, "", "name") };
    });
    const show = ({ texts }) => isOver() || items.forEach(({ text }, i) => (text.textContent = texts[i]));
    const choices = { base: when === "before", seed: Math.floor(Math.random() * 2 ** 31), isWatched: true };
    const said = await engine.call("generate", { prompts: Array(REPLIES).fill(question), ...choices }, show);
    if (isOver()) return null;
    show(said);
    return items.map(({ note }, i) => {
      const text = said.texts[i], tokens = said.lengths[i];
      note.textContent = `${text ? "" : "(empty) "}${tokens} token${tokens === 1 ? "" : "s"}${said.cut[i] ? ", cut off" : ""}`;
      return { text, tokens };
    });
  }

  async function ask(question) {
    const mine = ++latest, isOver = () => mine !== latest;
    status.textContent = "Loading the model …";
    let engine;
    try {
      engine = await ready();
    } catch (error) {
      if (isOver()) return;
      status.textContent = `The model could not be loaded (${error.message}). Ask again to retry.`;
      if (error.name === "NoSIMD") status.textContent = "This browser is too old for the model, which needs WebAssembly SIMD.";
      return;
    }
    if (isOver()) return;
    status.textContent = "Sampling …";
    for (const list of Object.values(lists)) list.replaceChildren();
    try {
      const before = await answer(engine, question, "before", isOver);
      const after = before && (await answer(engine, question, "after", isOver));
      if (!after) return;
      status.textContent = `${REPLIES} replies on each side, sampled here in this page at temperature 1. Ask again for others.`;
      model.set("question", question);
      model.set("replies", { question, before, after });
      model.save_changes();
    } catch (error) {
      if (!isOver()) status.textContent = `That cannot be answered: ${error.message}.`;
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const question = Array.from(input.value.trim()).slice(0, LONGEST).join(""); // never half an emoji
    if (question) ask(question);
    else status.textContent = "Type a question first.";
  });
  input.addEventListener("focus", () => ready().catch(() => {}), { once: true }); // it is there when the question is
  return () => {
    latest++;
    loaded?.then((engine) => engine.end(), () => {}); // the widget is gone, and gives its memory back
  };
}

export default { render };
