// GRPO as TRL does it: replies sampled in groups, compared by their rewards, learnt from in one update.
//
// tests/test_engine.py compares advantages, metrics, gradients and updates with those of TRL's own GRPOTrainer.

import { readSafetensors } from "./files.js";
import { Batch, CONTEXT, Model } from "./model.js";
import { Memory, mapped, sum } from "./tensors.js";

// grpo_lessons.training.Settings, whose names and defaults these are: [default, least, most], or [default, others …].
const SETTINGS = {
  steps: [25, 1, 1e6], group_size: [8, 2, 1e6], batch_size: [64, 2, 1e6], learning_rate: [3e-3, 1e-12, 100],
  max_grad_norm: [0.3, 0, Infinity], temperature: [1, 1e-3, 100], beta: [0.1, 0, 100], max_completion_length: [48, 1, CONTEXT],
  mask_truncated_completions: [false, true], lora_rank: [16, 1, 128], seed: [0, 0, 2 ** 32], reward_weights: [null],
  scale_rewards: ["group", "batch", "none"], multi_objective_aggregation: ["sum_then_normalize", "normalize_then_sum"],
  loss_type: ["dapo", "grpo", "dr_grpo"], num_iterations: [1, 1, 1e6], // as in GRPOConfig, as is what follows
};
const CLIP = 0.2; // epsilon: how far from 1 a ratio may go before its token is pushed no further that way

/** The settings with defaults for the others, if they can be trained with; Python's `Settings.problem` says more. */
function checked(given) {
  const settings = mapped(SETTINGS, ([usual], name) => given[name] ?? usual);
  for (const [name, [usual, ...others]] of Object.entries(SETTINGS)) {
    const value = settings[name], isNumber = typeof usual === "number", [least, most] = others;
    const isWhole = !/rate|norm|temperature|beta/.test(name);
    const isIn = value >= least && value <= most && !(isWhole && value % 1);
    if (name === "reward_weights" || (isNumber ? isIn : [usual, ...others].includes(value))) continue;
    const expected = isNumber ? `a ${isWhole ? "whole " : ""}number from ${least} to ${most}` : [usual, ...others].join(" or ");
    throw new RangeError(`${name} ${value}: expected ${expected}`);
  }
  const { batch_size, group_size } = settings;
  if (batch_size % group_size) throw new RangeError(`batch_size ${batch_size}: expected a multiple of ${group_size}`);
  return settings;
}

// Advantages -----------------------------------------------------------------------------------------------------------

const known = (numbers) => numbers.filter((each) => !Number.isNaN(each)); // NaN is a reward that has no say
const mean = (numbers) => sum(known(numbers)) / known(numbers).length;
const orZero = (number) => (Number.isNaN(number) ? 0 : number);
const inGroups = (all, size) => Array.from({ length: all.length / size }, (_, i) => all.slice(i * size, (i + 1) * size));

/** The standard deviation with Bessel's correction. */
function spread(numbers) {
  const all = known(numbers), middle = mean(all);
  return all.length > 1 ? Math.sqrt(sum(all.map((each) => (each - middle) ** 2)) / (all.length - 1)) : NaN;
}

/** How much better each reply is than its group, by rewards [judges][replies]: grpo_lessons.groups says it in Python. */
function compare(rewards, { group_size, scale_rewards, multi_objective_aggregation, reward_weights }) {
  const weights = reward_weights ?? rewards.map(() => 1), count = rewards.length;
  if (!count || weights.length !== count) throw new RangeError(`${weights.length} weights for ${count} rewards`);
  const compared = (numbers, by = spread(numbers) + 1e-4) => numbers.map((each) => (each - mean(numbers)) / by);
  const totals = (columns) => columns[0].map((_, i) => {
    const said = known(columns.map((column, judge) => weights[judge] * column[i]));
    return said.length ? sum(said) : NaN;
  });
  const all = totals(rewards), groups = inGroups(all, group_size);
  if (multi_objective_aggregation === "normalize_then_sum") { // each judge is compared within its groups first
    const parts = totals(rewards.map((column) => inGroups(column, group_size).flatMap((group) => compared(group))));
    const sums = parts.map((part, i) => (Number.isNaN(all[i]) ? NaN : orZero(part)));
    return { totals: all, advantages: compared(sums).map(orZero), spreads: [spread(sums)] };
  }
  const by = { group: undefined, batch: spread(all) + 1e-4, none: 1 }[scale_rewards];
  const spreads = scale_rewards === "batch" ? [spread(all)] : groups.map(spread);
  return { totals: all, advantages: groups.flatMap((group) => compared(group, by)).map(orZero), spreads };
}

// The trainer ----------------------------------------------------------------------------------------------------------

export class Trainer {
  /**
   * @param {Uint8Array} kernels kernels.wasm
   * @param {ArrayBuffer} weights model.safetensors
   * @param {Tokenizer} tokenizer
   * @param {object} settings those that are not as in SETTINGS
   * @param {ArrayBuffer} [adapter] what is started from, see `Model.save`: with its rank, and where `settings` do not say
   *   otherwise as it was trained
   */
  constructor(kernels, weights, tokenizer, settings = {}, adapter = null) {
    const file = adapter && readSafetensors(adapter), own = file && { lora_rank: Number(file.about.r) };
    this.settings = checked({ ...JSON.parse(file?.about.settings ?? "{}"), ...settings, ...own });
    Object.assign(this, { tokenizer, random: dice(this.settings.seed), memory: new Memory(kernels), step: 0, tokensSeen: 0 });
    this.model = new Model(this.memory, weights, this.settings.lora_rank, this.random);
    if (file) this.model.load(file);
    this.isFresh = !file; // nothing has been learnt: the model is its own reference
    [this.m, this.v] = [0, 0].map(() => new Float32Array(this.model.values.columns)); // of Adam
    this.kept = this.memory.used; // what lies behind is of one batch
  }

  /** `group` replies to each prompt: { replies: [{ ids, rows }, …], and all that was computed on the way }.
   *
   * This is the forward pass that is learnt from: up to the first update from it the weights are the same. `rows[t]` of a
   * reply is the row of `chances` that its token t was drawn from. `given`: the ids of replies that are not to be drawn.
   * `isAside`: nothing is learnt from it, and what lies in memory stays.
   */
  rollout(prompts, { group = 1, most, temperature, random, base = false, given = null, tell = null, isAside = false }) {
    const { memory, model } = this, { vocabulary } = model.sizes;
    const isId = (id) => Number.isInteger(id) && id >= 0 && id < vocabulary;
    const wrong = prompts.length ? [...prompts, ...(given ?? [])].find((ids) => !ids.length || !ids.every(isId)) : "no prompts";
    if (wrong) throw new RangeError(`[${wrong}]: expected prompts and replies of ids from 0 to ${vocabulary - 1}`);
    if (!isAside) [this.sampled, memory.used] = [null, this.kept];
    const goesOn = ({ ids, sequence }) => ids.length < (given ? given[sequence].length : most) && (given || this.isCut(ids));
    const batch = new Batch(memory, prompts, group, given ? Math.max(...given.map((ids) => ids.length)) : most);
    // The first row that a token is drawn from.
    const first = batch.size - prompts.length, rooms = model.rooms(batch, isAside ? model.room(batch) : null);
    const [chances, entropies] = [vocabulary, 1].map((columns) => memory.tensor(batch.capacity - first, columns));
    const replies = batch.lengths.map((_, i) => ({ sequence: i, ids: [], rows: [], row: Math.floor(i / group) }));
    const rolled = { replies, batch, first, rooms, chances, entropies };
    for (let live = replies, from = 0; live.length; tell?.(replies)) {
      if (!given) this.read(rolled, temperature || 1, base, from);
      from = batch.size;
      for (const { ids, rows, row, sequence } of live) {
        ids.push(given ? given[sequence][ids.length] : draw(chances.row(row), temperature, random));
        rows.push(row);
      }
      live = live.filter(goesOn);
      const alike = {}; // replies that have begun alike share their rows
      for (const reply of live) {
        const id = reply.ids.at(-1), begun = [reply.row, id];
        reply.row = (alike[begun] = batch.add(reply.sequence, id, alike[begun])) - first;
      }
    }
    if (given) this.read(rolled);
    return rolled;
  }

  /** The forward pass of all rows from one on, with the weights as they are now, or as they were at first. */
  read({ batch, first, rooms, chances, entropies }, temperature = this.settings.temperature, base = false, from = 0) {
    const scored = Math.max(from, first), rows = (tensor) => tensor.slice(scored - first, batch.size - first);
    this.model.forward(batch, from, batch.size, rooms, base);
    this.model.chances(scored, batch.size, rooms.at(-1), temperature, rows(chances), rows(entropies));
  }

  /** A step's replies, group by group, see `told`. `prompts`: texts or conversations, one for each group.
   *
   * `given`: the replies, as texts or ids, that are not to be drawn; a text ends with the end token.
   */
  sample(prompts, given = null) {
    const { batch_size, group_size: group, max_completion_length: most, temperature } = this.settings;
    const isWrong = prompts.length * group !== batch_size || (given && given.length !== batch_size);
    const expected = `expected ${batch_size / group}, for ${batch_size} replies in groups of ${group}`;
    if (isWrong) throw new RangeError(`${prompts.length} prompts: ${expected}`);
    const asked = prompts.map((prompt) => this.tokenizer.prompt(prompt)), { tokenizer, random } = this;
    const read = (reply) => (typeof reply === "string" ? [...tokenizer.encode(reply), tokenizer.end] : reply);
    this.sampled = { asked, ...this.rollout(asked, { group, most, temperature, random, given: given?.map(read) }), updates: 0 };
    return this.told(this.sampled.replies);
  }

  /** Replies outside the training, one to each prompt; temperature 0 takes the likeliest token, `base` no adapter. */
  generate(prompts, { temperature = 1, max_completion_length, base, seed = 0, tell } = {}) {
    const asked = prompts.map((prompt) => this.tokenizer.prompt(prompt)), done = [];
    const random = dice(seed), most = max_completion_length ?? this.settings.max_completion_length;
    do { // no more at once than in a step of the training, and in its memory
      const show = tell && ((replies) => tell(this.told([...done, ...replies])));
      const some = asked.slice(done.length, done.length + this.settings.batch_size);
      done.push(...this.rollout(some, { most, temperature, random, base, tell: show }).replies);
    } while (done.length < asked.length);
    return this.told(done);
  }

  /** What a page is told of replies; `cut`: without an end token. */
  told(replies) {
    const ids = replies.map((reply) => reply.ids), texts = ids.map((each) => this.tokenizer.decode(each));
    return { texts, ids, lengths: ids.map((each) => each.length), cut: ids.map((each) => this.isCut(each)) };
  }

  isCut(ids) { return ids.at(-1) !== this.tokenizer.end; }

  /**
   * One update from the replies of `sample`; `num_iterations` of them may follow each other, the later ones without rewards.
   * @param {object} rewards { name: [one for each reply; null: no say], … }
   * @param {number} [shown] the group of which it is said what the update did to its tokens
   * @returns {{ metrics: object, advantages: number[], ratios: number[], tokens?: Array }} the metrics under the names of TRL's
   *   log; how many times as likely as when it was sampled each token was at the beginning of this update; see `moved`
   */
  learn(rewards = {}, shown = null) {
    const { settings, model, memory, sampled } = this, { beta, temperature, group_size: group } = settings;
    if (!sampled) throw new Error("nothing was sampled: call sample first");
    const { replies, batch, first, rooms, chances, entropies } = sampled, { vocabulary } = model.sizes;
    const judged = sampled.judged ?? mapped(rewards, (said, name) => asScores(name, said, replies.length));
    const compared = sampled.compared ?? compare(Object.values(judged), settings);
    Object.assign(sampled, { judged, compared, updates: sampled.updates + 1 });
    if (sampled.updates === settings.num_iterations) this.sampled = null;
    if (sampled.updates > 1) this.read(sampled); // its chances have become gradients
    const some = shown === null ? [] : replies.slice(shown * group, (shown + 1) * group);
    const before = some.map(({ rows }) => rows.map((row) => chances.row(row).slice()));

    const learnt = replies.map(({ ids }) => (settings.mask_truncated_completions && this.isCut(ids) ? [] : ids));
    const count = Math.max(1, sum(learnt.map((ids) => ids.length)));
    const share = { dapo: () => 1 / count, grpo: (ids) => 1 / (replies.length * ids.length),
      dr_grpo: () => 1 / (replies.length * settings.max_completion_length) }[settings.loss_type];
    const tokens = learnt.flatMap((ids, reply) => ids.map((id, t) => {
      const row = replies[reply].rows[t];
      return { reply, row, at: row * vocabulary + id, advantage: compared.advantages[reply], share: share(ids) };
    }));
    const logs = ({ data }) => tokens.map(({ at }) => Math.log(data[at]));
    const own = logs(chances), d = (sampled.d ??= model.room(batch));
    if (beta && !this.isFresh && !sampled.reference) {
      const [before, unread] = [vocabulary, 1].map((columns) => memory.tensor(batch.size - first, columns));
      this.read({ ...sampled, rooms: model.rooms(batch, d), chances: before, entropies: unread }, temperature, true);
      sampled.reference = logs(before);
    }
    const old = (sampled.old ??= own), reference = (sampled.reference ??= own), { data: undecided } = entropies;

    // The loss of a token is ratio · beta · k3 - min(ratio · advantage, clipped ratio · advantage), the former with TRL's
    // use_bias_correction_kl. Along the token's log p its slope is ratio · (beta · (log p - log p of the reference) -
    // advantage), without the advantage where it is clipped; along the logits of its row that of log p is 1 at the token
    // minus every token's chance.
    const terms = tokens.map(({ reply, row, advantage, share }, i) => {
      const ratio = Math.exp(own[i] - old[i]), gap = reference[i] - own[i], kl = ratio * (Math.exp(gap) - gap - 1);
      const low = ratio < 1 - CLIP && advantage < 0, high = ratio > 1 + CLIP && advantage > 0;
      const loss = share * (beta * kl - (low ? 1 - CLIP : high ? 1 + CLIP : ratio) * advantage);
      const slope = (share * ratio * (-beta * gap - (low || high ? 0 : advantage))) / temperature;
      return { reply, ratio, kl, low, high, loss, slope, entropy: undecided[row] };
    });

    const dlogits = chances.slice(0, batch.size - first), { data } = dlogits, pulls = new Float32Array(dlogits.rows);
    tokens.forEach(({ row }, i) => (pulls[row] -= terms[i].slope));
    pulls.forEach((pull, row) => { for (let i = row * vocabulary; i < (row + 1) * vocabulary; i++) data[i] *= pull; });
    tokens.forEach(({ at }, i) => (data[at] += terms[i].slope));
    model.backward(batch, first, rooms, dlogits, d);

    const total = (name) => sum(terms.map((each) => each[name])), average = (name) => total(name) / count;
    const clipped = (name, i) => terms.filter((each) => each[name] && each.reply === i).length / learnt[i].length;
    const inOrder = (name) => known(learnt.map((_, i) => clipped(name, i))).sort((a, b) => a - b);
    const metrics = {
      ...this.update(), loss: total("loss"), ...(beta && { kl: average("kl") }), entropy: average("entropy"),
      "clip_ratio/low_mean": average("low"), "clip_ratio/low_min": inOrder("low")[0] ?? NaN,
      "clip_ratio/high_mean": average("high"), "clip_ratio/high_max": inOrder("high").at(-1) ?? NaN,
      "clip_ratio/region_mean": average("low") + average("high"), ...(sampled.updates === 1 && this.measured(sampled)),
    };
    const ratios = terms.map(({ ratio }) => ratio), { advantages } = compared, ids = some.map((reply) => reply.ids);
    return { metrics: mapped(metrics, (each) => (Number.isNaN(each) ? null : each)), advantages, ratios,
      ...(some.length && { tokens: this.moved(sampled.asked[shown], ids, before) }) };
  }

  /**
   * What an update did to each token of a group's replies; `before` it the chances in the place of each.
   * @returns {Array} [reply][place]: [[text, chance before, chance after], …] of the token that stands there, then of the at
   *   most five that are likeliest there, if they have a hundredth
   */
  moved(asked, given, before) {
    const { memory, model } = this, at = memory.used, all = [...Array(model.sizes.vocabulary).keys()];
    const after = this.rollout([asked], { group: given.length, given, isAside: true });
    const names = (this.names ??= all.map((id) => this.tokenizer.decode([id])));
    memory.used = at;
    return given.map((ids, i) => ids.map((id, t) => {
      const was = before[i][t], is = after.chances.row(after.replies[i].rows[t]), both = (id) => was[id] + is[id];
      const likeliest = all.filter((id) => both(id) > 0.02).sort((a, b) => both(b) - both(a)).slice(0, 5);
      return [id, ...likeliest].map((id) => [names[id], ...[was, is].map((chances) => Number(chances[id].toPrecision(6)))]);
    }));
  }

  /** AdamW without decay, after the gradient has been clipped to its greatest norm, at a rate that falls to 0. */
  update() {
    const { model, m, v, settings } = this, values = model.values.data, gradients = model.gradients.data;
    const norm = Math.sqrt(gradients.reduce((total, each) => total + each * each, 0));
    if (!Number.isFinite(norm)) throw new RangeError("the gradient is not finite: choose smaller rewards or learning_rate");
    const rate = settings.learning_rate * Math.max(0, 1 - this.step / settings.steps), t = ++this.step;
    const clip = settings.max_grad_norm ? Math.min(1, settings.max_grad_norm / (norm + 1e-6)) : 1;
    const m1 = 1 - 0.9 ** t, v1 = 1 - 0.999 ** t;
    for (let i = 0; i < values.length; i++) {
      const g = clip * gradients[i];
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.999 * v[i] + 0.001 * g * g;
      values[i] -= (rate * m[i]) / m1 / (Math.sqrt(v[i] / v1) + 1e-8);
    }
    this.isFresh = false;
    model.merge();
    return { step: t, grad_norm: norm, learning_rate: rate };
  }

  /** What TRL logs of a step's replies and rewards, and the course besides. */
  measured({ asked, replies, judged, compared: { totals, spreads } }) {
    const { group_size } = this.settings, lengths = replies.map(({ ids }) => ids.length);
    const ended = lengths.filter((_, i) => !this.isCut(replies[i].ids)), unscored = totals.filter(Number.isNaN).length;
    this.tokensSeen += sum(lengths) + group_size * sum(asked.map((ids) => ids.length));
    const all = { num_tokens: this.tokensSeen, "completions/clipped_ratio": 1 - ended.length / lengths.length };
    for (const [name, some] of [["length", lengths], ["terminated_length", ended.length ? ended : [0]]]) {
      all[`completions/mean_${name}`] = mean(some);
      all[`completions/min_${name}`] = Math.min(...some);
      all[`completions/max_${name}`] = Math.max(...some);
    }
    for (const [name, scores] of Object.entries(judged)) {
      Object.assign(all, { [`rewards/${name}/mean`]: mean(scores), [`rewards/${name}/std`]: spread(scores) });
    }
    return {
      ...all, "completions/std_length": spread(lengths), reward: mean(totals), reward_std: spread(totals),
      frac_reward_zero_std: mean(spreads.map((each) => (each <= 1e-8 ? 1 : 0))),
      within_group_std: orZero(mean(inGroups(totals, group_size).map(spread))),
      ...(unscored && { unscored }),
    };
  }
}

/** Numbers between 0 and 1 that look like chance, and are the same again for the same seed (mulberry32). */
function dice(seed) {
  let state = Math.imul(seed + 1, 0x9e3779b9);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The index of a token by the chance of each; of the likeliest at temperature 0. */
function draw(chances, temperature, random) {
  if (!temperature) return chances.indexOf(chances.reduce((a, b) => Math.max(a, b)));
  let left = random(), id = 0;
  while (id < chances.length - 1 && (left -= chances[id]) >= 0) id++; // chances add up to a hair less than 1
  return id;
}

function asScores(name, column, count) {
  if (column?.length !== count) throw new RangeError(`the reward ${name} gave ${column?.length} numbers for ${count} replies`);
  return Array.from(column, (each) => {
    const score = each === null || each === undefined ? NaN : Number(each);
    if (Number.isFinite(score) || Number.isNaN(each ?? NaN)) return score;
    throw new RangeError(`the reward ${name} gave ${each}: expected a finite number, or null`);
  });
}
