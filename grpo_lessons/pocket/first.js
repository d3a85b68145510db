// The piece on the site's first page: a training, before any Python has come. pages/first.html is what it fills.

import { Engine } from "./client.js";

// As grpo_lessons.text has them: Python's white space is not JavaScript's.
const SPACE = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]*";
const UNSEEN = "\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u180e\\u200b-\\u200f\\u2028-\\u202f\\u2060-\\u206f\\u3164\\ufeff]*";
const isSpace = (text) => new RegExp(`^${SPACE}$`).test(text);
const isBlank = (text) => new RegExp(`^${SPACE.replace("]*", UNSEEN)}$`).test(text);

/** A reply cut at its tags: what stands at odd places is a tag. */
const cut = (text) => text.split(/(<\/?(?:think|answer)>)/);

/** 1 for exactly a thought and an answer, else 0: `grpo_lessons.rewards.format_reward`, which a test compares it with. */
function formatReward(text) {
  const parts = cut(text), tags = parts.filter((_, i) => i % 2).join("");
  const [before, , thought, , between, , answer, , behind] = parts;
  const isRight = tags === "<think></think><answer></answer>" && [before, between, behind].every(isSpace);
  return isRight && !isBlank(thought) && !isBlank(answer) ? 1 : 0;
}

const count = (texts) => texts.filter(formatReward).length;
const earned = (texts) => `${count(texts)} of ${texts.length} earn 1`;
const average = (numbers) => numbers.reduce((sum, each) => sum + each, 0) / numbers.length;

/** The rows again and again, in another order each time. */
function* shuffled(rows) {
  for (;;) {
    const left = [...rows];
    while (left.length) yield* left.splice(Math.floor(Math.random() * left.length), 1);
  }
}

function begin(root) {
  const find = (name) => root.querySelector(`.${name}`), { settings, questions, asked } = JSON.parse(find("data").textContent);
  const [train, stop, status, bar] = ["train", "stop", "status", "bar"].map(find), { steps, batch_size, group_size } = settings;
  let files = null, before = null, stopped = false, isBusy = false, giveUp = () => {};

  const say = (words) => { if (status.textContent !== words) status.textContent = words; }; // it is read out

  /** A file beside the engine, and on the way how many bytes of it have come. */
  async function fetched(name, tell = () => {}) {
    const answer = await fetch(root.dataset.files + name);
    if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
    const parts = [], reader = answer.body.getReader();
    for (let size = 0; ; tell(size)) {
      const { done, value } = await reader.read();
      if (done) return new Blob(parts);
      parts.push(value);
      size += value.length;
    }
  }

  /** An engine with the model as it was before any training. */
  async function start() {
    const tell = (size) => isBusy && !stopped && say(`Loading the model: ${(size / 1e6).toFixed(1)} of 2 MB.`);
    files ??= Promise.all([fetched("engine.js"), fetched("model.safetensors", tell), fetched("tokenizer.json")]);
    const [source, weights, tokenizer] = await files.catch((error) => ((files = null), Promise.reject(error)));
    const engine = new Engine(await source.text()), seed = Math.floor(Math.random() * 2 ** 31);
    const given = { weights: await weights.arrayBuffer(), tokenizer: JSON.parse(await tokenizer.text()) };
    return engine.call("start", { ...given, settings: { ...settings, seed } }).then(() => engine, (error) => {
      engine.end();
      throw error;
    });
  }

  /** Replies on one side, as many as there are cards: the first ones, and their rewards once they are whole. */
  function show(side, questions, texts, areWhole = true) {
    find(side).querySelectorAll("li").forEach((card, i) => {
      const [question, reply, reward] = card.children, paid = areWhole ? String(formatReward(texts[i])) : "";
      question.textContent = questions[i];
      reply.replaceChildren(...cut(texts[i]).map((part, at) => {
        const piece = document.createElement(at % 2 ? "b" : "span");
        piece.textContent = part;
        return piece;
      }));
      reward.textContent = paid && `reward ${paid}`;
      card.dataset.reward = paid;
    });
  }

  /** One reply to each held-out question, seen as it grows: their texts. */
  async function ask(engine, side) {
    const { texts } = await engine.call("generate", { prompts: asked, seed: 1, isWatched: true },
      (said) => stopped || show(side, asked, said.texts, false));
    show(side, asked, texts);
    find(`${side}-score`).textContent = earned(texts);
    return texts;
  }

  function draw(rewards) {
    const { left, right, top, bottom } = JSON.parse(find("chart").dataset.room);
    const points = rewards.map((reward, i) => [left + ((right - left) * i) / (steps - 1), bottom - (bottom - top) * reward]);
    const path = points.map((point) => point.map((each) => each.toFixed(1)).join()).join(" "), last = points.at(-1);
    find("line").setAttribute("points", path);
    find("area").setAttribute("points", points.length ? `${left},${bottom} ${path} ${last[0].toFixed(1)},${bottom}` : "");
    find("dot").setAttribute("transform", points.length ? `translate(${last})` : "translate(-9)");
    find("now").textContent = rewards.length ? rewards.at(-1).toFixed(2) : "–";
    bar.style.width = `${(100 * rewards.length) / steps}%`;
    Object.assign(root.dataset, { step: rewards.length, reward: rewards.at(-1) ?? "" });
  }

  async function course(engine, began) {
    const rewards = [], rows = shuffled(questions);
    before ??= await ask(engine, "before");
    while (rewards.length < steps && !stopped) {
      const prompts = Array.from({ length: batch_size / group_size }, () => rows.next().value);
      const { texts } = await engine.call("sample", { prompts }), scores = texts.map(formatReward);
      await engine.call("learn", { rewards: { format_reward: scores } });
      rewards.push(average(scores));
      draw(rewards);
      find("title").textContent = `step ${rewards.length}, one group`;
      find("after-score").textContent = earned(texts.slice(0, group_size));
      show("after", Array(group_size).fill(prompts[0]), texts);
      if (rewards.length % 5 === 1) say(`Step ${rewards.length} of ${steps}: ${batch_size} replies, a number for each.`);
    }
    const after = await ask(engine, "after"), done = `${rewards.length} step${rewards.length === 1 ? "" : "s"}`;
    find("title").textContent = `after ${done}`;
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    say(`${stopped ? "Stopped after" : "Done:"} ${done} in ${seconds} s. On ${after.length} sums that no step used, ${count(after)} replies ` +
      `think, then answer; before, ${count(before)} did. Whether the sum is right, the reward never asked.`);
    train.textContent = "Train it again";
    find("more").hidden = false;
  }

  /** Why there is no training, in words; with a recording where there can be none. */
  function refuse(error) {
    const isOld = error.name === "NoSIMD";
    say(isOld ? "This browser is too old for it, which needs WebAssembly SIMD: a recording stands below."
      : `That did not work (${error.message}). Press Train to try again.`);
    if (isOld) root.classList.add("old");
  }

  async function press() {
    if (isBusy) return;
    [isBusy, stopped] = [true, false];
    const began = performance.now();
    train.setAttribute("aria-disabled", true);
    stop.hidden = false;
    find("more").hidden = true;
    find("after-score").textContent = "";
    draw([]);
    say("Loading the model.");
    const starting = start();
    let engine;
    try {
      engine = await Promise.race([starting, new Promise((resolve) => (giveUp = resolve))]);
      if (engine) await course(engine, began);
      else say("Stopped before the first step.");
    } catch (error) {
      refuse(error);
    }
    starting.then((each) => each.end(), () => {}); // its memory is given back
    isBusy = false;
    if (document.activeElement === stop) train.focus();
    stop.hidden = true;
    train.removeAttribute("aria-disabled");
  }

  train.addEventListener("click", press);
  stop.addEventListener("click", () => {
    stopped = true;
    say("Stopping.");
    giveUp(); // if it is not there yet
  });
  train.disabled = false;

  // What it says before is there before anybody presses, where that costs nobody's data plan.
  const watch = new IntersectionObserver((seen) => {
    if (!seen.some((each) => each.isIntersecting)) return;
    watch.disconnect();
    (globalThis.requestIdleCallback ?? setTimeout)(async () => {
      if (isBusy || navigator.connection?.saveData) return;
      try {
        const engine = await start();
        if (!isBusy) before = await ask(engine, "before");
        engine.end();
      } catch (error) {
        if (!isBusy && error.name === "NoSIMD") refuse(error);
      }
    });
  });
  watch.observe(root);
}

document.querySelectorAll(".first").forEach(begin);
