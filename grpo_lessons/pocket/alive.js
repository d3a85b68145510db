// The widget of `grpo_lessons.lesson.alive`: the loop of GRPO, stage by stage or by itself, from a model that changes.

import { element } from "./element.js";
import { load } from "./parts.js";
import { TOKENS_STYLE, chances, legend, signedNumber, times, tokenList } from "./tokens.js";

const SIZE = 8; // of a group
const STAGES = ["one prompt", `${SIZE} sampled replies`, "a reward each", "compare within the group", "update"];
const PATIENCE = 20_000; // milliseconds for Python to say what the replies earn

const STYLE = `.alive .flow{display:flex;flex-wrap:wrap;gap:.3rem .5rem;align-items:center;list-style:none;margin:.5rem 0;padding:0}
.alive .flow li{display:inline;border-radius:1rem;padding:.1rem .7rem}
.alive .flow [aria-current]{background:color-mix(in srgb,var(--gl-policy,#1f68aa) 18%,transparent);border-color:var(--gl-policy,#1f68aa)}
.alive .replies{grid-template-columns:repeat(auto-fill,minmax(min(100%,15rem),1fr))}.alive .replies li{min-height:5.2rem}
.alive label{display:flex;gap:.4rem;align-items:center;font-size:.85rem}.alive b.reward{color:var(--gl-reward,#8f5a00)}
.alive .panel{min-height:0}
.alive b.up{color:var(--gl-up,#0b7350)}.alive b.down{color:var(--gl-down,#b82e47)}.alive svg{display:block;width:100%;max-width:32rem;height:4.5rem}`;

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const average = (numbers) => numbers.reduce((sum, each) => sum + each, 0) / numbers.length;

function render({ model, el }) {
  const root = element("div", el, "", "pushed alive"), prompt = model.get("prompt");
  element("style", root, TOKENS_STYLE + STYLE);
  const buttons = element("div", root, "", "row"), next = element("button", buttons, "Next stage");
  const run = element("button", buttons, "Run by itself"), label = element("label", buttons, "seconds a stage");
  const pace = element("input", label), again = element("button", buttons, "From the beginning");
  Object.assign(pace, { type: "range", min: 0.2, max: 3, step: 0.2, value: 1 });
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) for (const each of [run, label]) each.remove(); // nothing moves by itself
  const flow = element("ol", root, "", "flow"), stages = STAGES.map((name) => element("li", flow, name));
  element("li", flow, "↺ again");
  const status = element("p", root, "", "name");
  status.setAttribute("role", "status");
  element("p", root, prompt).style.fontWeight = 700;
  const list = element("ol", root, "", "replies"), chart = element("div", root);
  const key = legend(root);
  const panel = element("div", root, "", "panel");
  let loaded = null, stage = 0, round = 0, asked = 0, means = [], cards = [], group = null, isBusy = false, isRunning = false, isOver = false;

  const settings = { ...model.get("settings"), batch_size: SIZE, group_size: SIZE, steps: 1e6 };
  const ready = () => (loaded ??= load(model, { ...settings, seed: Math.floor(Math.random() * 2 ** 31) }));

  /** What Python pays for the replies: { rewards, advantages }. */
  function paid({ texts, ids }) {
    const n = ++asked;
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error("Python did not say what the replies earn")), PATIENCE);
      const hear = () => {
        if (model.get("paid").n !== n) return;
        clearTimeout(late);
        model.off("change:paid", hear);
        resolve(model.get("paid"));
      };
      model.on("change:paid", hear);
      model.set("asked", { n, texts, ids });
      model.save_changes();
    });
  }

  const fact = (card, name, words, kind = "") => {
    const shown = element("span", card.facts, "", "");
    element("span", shown, `${name} `, "name");
    element("b", shown, words, kind);
  };

  const DO = {
    async sample(engine) {
      group = await engine.call("sample", { prompts: [prompt] });
      round++;
      list.replaceChildren();
      panel.replaceChildren();
      key.style.visibility = "hidden";
      const lengths = group.ids.map((each) => each.length);
      cards = group.texts.map((text) => {
        const item = element("li", list);
        return { item, text: element("div", item, text, "text"), facts: element("div", item, "", "facts") };
      });
      lengths.forEach((each, i) => fact(cards[i], "tokens", `${each}`));
      return `sampled${round > 1 ? " from the changed model" : ""}, ${Math.round(average(lengths))} tokens on average`;
    },
    async reward() {
      Object.assign(group, await paid(group));
      group.rewards.forEach((each, i) => fact(cards[i], "reward", String(Math.round(100 * each) / 100).replace("-", "−"), "reward"));
      means.push(average(group.rewards));
      draw();
      return `the mean reward is ${means.at(-1).toFixed(2).replace("-", "−")}`;
    },
    async compare() {
      group.advantages.forEach((each, i) => fact(cards[i], "advantage", signedNumber(each), each > 0 ? "up" : each < 0 ? "down" : ""));
      return group.advantages.some((each) => Math.abs(each) > 1e-3) ? "above the mean is pushed up, below it down" : "all rewards are equal: a dead group, and no push";
    },
    async update(engine) {
      const { tokens } = await engine.call("learn", { rewards: { reward: group.rewards }, shown: 0 });
      tokens.forEach((reply, i) => {
        cards[i].text.remove();
        tokenList(cards[i].item, reply, `tokens of reply ${i + 1}`, (span, token, before) => chances(panel, token, before));
        cards[i].item.append(cards[i].facts);
        fact(cards[i], "now", `× ${times(reply)} as likely`);
      });
      key.style.visibility = "";
      element("p", panel, "Point at a token, or move through a reply with the arrow keys: the chances of what may stand there.", "name");
      return "the colours say what it did to each token";
    },
  };

  /** The mean reward of each round so far, as a line. */
  function draw() {
    const least = Math.min(...means) < 0 ? -1 : 0, wide = Math.max(15, means.length - 1);
    const points = means.map((each, i) => `${(4 + (292 * i) / wide).toFixed(1)},${(56 - 48 * Math.max(0, each - least)).toFixed(1)}`);
    const said = `mean reward of each round: ${means.map((each) => each.toFixed(2)).join(", ")}`;
    chart.innerHTML = `<svg viewBox="0 0 300 60" preserveAspectRatio="none" role="img" aria-label="${said}"><path d="M0 56H300M0 8H300"
stroke="currentColor" opacity=".25" vector-effect="non-scaling-stroke"/><polyline points="${points.join(" ")}" fill="none" stroke="var(--gl-reward,#8f5a00)"
stroke-width="2" vector-effect="non-scaling-stroke"/></svg>`;
    element("p", chart, `mean reward of each round, from ${least ? "−1 to 0" : "0 to 1"}; now ${means.at(-1).toFixed(2).replace("-", "−")}`, "name");
  }

  /** On to the next stage, the prompt's aside, which stays. */
  async function step() {
    if (isBusy) return false;
    isBusy = true;
    try {
      if (!loaded) status.textContent = "Loading the model …";
      const engine = await ready(), name = Object.keys(DO)[stage % 4], said = await DO[name](engine);
      if (isOver) return false;
      stage++;
      mark(1 + ((stage - 1) % 4));
      status.textContent = `Round ${round}, ${STAGES[1 + ((stage - 1) % 4)]}: ${said}.`;
      return true;
    } catch (error) {
      if (isOver) return false;
      loaded = null;
      status.textContent = `That did not work: ${error.message}. Begin again.`;
      if (error.name === "NoSIMD") status.textContent = "This browser is too old for the model, which needs WebAssembly SIMD. The picture above stands still.";
      return false;
    } finally {
      isBusy = false;
    }
  }

  function mark(at) {
    stages.forEach((each, i) => (i === at ? each.setAttribute("aria-current", "step") : each.removeAttribute("aria-current")));
  }

  async function play() {
    isRunning = !isRunning;
    run.textContent = isRunning ? "Pause" : "Run by itself";
    next.disabled = isRunning;
    status.setAttribute("aria-live", isRunning ? "off" : "polite"); // it would speak without end
    while (isRunning && !isOver && (await step())) await wait(1000 * pace.value);
    if (isRunning) play(); // it has ended, by an error
  }

  function begin() {
    loaded?.then((engine) => engine.end(), () => {});
    loaded = null;
    [stage, round, means] = [0, 0, []];
    for (const each of [list, chart, panel]) each.replaceChildren();
    key.style.visibility = "hidden";
    mark(0);
    status.textContent = "The prompt. What will the model write?";
  }

  next.addEventListener("click", step);
  run.addEventListener("click", play);
  again.addEventListener("click", () => {
    if (isRunning) play();
    if (!isBusy) begin();
  });
  begin();
  return () => {
    isOver = true;
    loaded?.then((engine) => engine.end(), () => {}); // the widget is gone, and gives its memory back
  };
}

export default { render };
