// GRPO as TRL does it: replies sampled in groups, compared by their rewards, learnt from in one update.
//
// Tests/test_engine.py compares advantages, metrics and gradients with those of TRL's own GRPOTrainer.

import { Memory, readSafetensors } from "./tensors.js";
import { Batch, Model } from "./model.js";

const DEFAULTS = { // grpo_lessons.training.Settings, whose names these are
  steps: 25, group_size: 8, batch_size: 64, learning_rate: 3e-3, max_grad_norm: 0.3, temperature: 1, beta: 0.1,
  scale_rewards: "group", reward_weights: null, multi_objective_aggregation: "sum_then_normalize",
  max_completion_length: 48, mask_truncated_completions: false, lora_rank: 16, seed: 0,
};

// Advantages -----------------------------------------------------------------------------------------------------------

const known = (numbers) => numbers.filter((each) => !Number.isNaN(each)); // NaN is a reward that has no say
const mean = (numbers) => known(numbers).reduce((sum, each) => sum + each, 0) / known(numbers).length;
/** The standard deviation with Bessel's correction, of the numbers that are known. */
function spread(numbers) {
  const all = known(numbers), middle = mean(all);
  return all.length > 1 ? Math.sqrt(all.reduce((sum, each) => sum + (each - middle) ** 2, 0) / (all.length - 1)) : NaN;
}
const groupsOf = (numbers, size) => Array.from({ length: numbers.length / size }, (_, i) => numbers.slice(i * size, (i + 1) * size));
const number = (value) => (Number.isNaN(value) ? 0 : value);

/** How much better each reply is than its group, of the rewards of several judges: [[one per reply], …], weighted. */
export function advantagesOf(rewards, weights, { group_size, scale_rewards, multi_objective_aggregation }) {
  const total = (columns) => columns[0].map((_, i) => {
    const said = columns.map((column, j) => weights[j] * column[i]);
    return known(said).length ? known(said).reduce((sum, each) => sum + each) : NaN;
  });
  const compared = (numbers, by = spread(numbers) + 1e-4) => numbers.map((each) => (each - mean(numbers)) / by);
  const totals = total(rewards), groups = groupsOf(totals, group_size), whole = spread(totals) + 1e-4;
  let spreads = groups.flatMap((group) => group.map(() => (scale_rewards === "batch" ? spread(totals) : spread(group)))), advantages;
  if (multi_objective_aggregation === "sum_then_normalize") {
    const by = { group: undefined, batch: whole, none: 1 }[scale_rewards];
    advantages = groups.flatMap((group) => compared(group, by));
  } else { // normalize_then_sum: each judge is compared within its groups first
    const each = total(rewards.map((column) => groupsOf(column, group_size).flatMap((group) => compared(group))));
    const sums = each.map((sum, i) => (Number.isNaN(totals[i]) ? NaN : number(sum)));
    spreads = sums.map(() => spread(sums));
    advantages = compared(sums);
  }
  return { totals, advantages: advantages.map(number), dead: mean(spreads.map((each) => (Math.abs(each) <= 1e-8 ? 1 : 0))) };
}

// The trainer ----------------------------------------------------------------------------------------------------------

/** Numbers between 0 and 1 that look like chance and are the same again for the same seed (mulberry32). */
export function dice(seed) {
  let state = (seed + 1) * 0x9e3779b9;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class Trainer {
  /**
   * @param {Uint8Array} kernels kernels.wasm
   * @param {ArrayBuffer} weights model.safetensors
   * @param {Tokenizer} tokenizer
   * @param {object} settings those that differ from DEFAULTS
   * @param {ArrayBuffer} [adapter] what is started from, see `save`; its rank counts
   */
  constructor(kernels, weights, tokenizer, settings = {}, adapter = null) {
    const file = adapter && readSafetensors(adapter);
    this.settings = checked({ ...DEFAULTS, ...settings, ...(file && { lora_rank: Number(file.about.r) }) });
    this.tokenizer = tokenizer;
    this.random = dice(this.settings.seed);
    this.memory = new Memory(kernels);
    this.model = new Model(this.memory, weights, this.settings.lora_rank, this.random);
    if (file) this.model.load(file);
    this.isFresh = !file; // nothing has been learnt: the model is its own reference
    [this.m, this.v] = [0, 0].map(() => new Float32Array(this.model.values.columns)); // of Adam
    this.step = 0;
    this.tokensSeen = 0;
    this.begun = this.memory.used; // what lies behind is of one batch
  }

  /** Replies to prompts, `group` of each: [{ ids, rows }, …], and what was computed on the way.
   *
   * This is the forward pass that is learnt from: with one update for each batch the weights are the same. `rows[t]` of a
   * reply is the row of `chances` that its token t was drawn from. `replies`: ids that are taken instead of drawn ones.
   */
  rollout(prompts, { group = 1, most, temperature, random, base = false, replies = null, tell = null }) {
    if (!prompts.length || !prompts.every((ids) => ids.length)) throw new RangeError("there is no prompt: expected at least one");
    if (replies && !replies.every((ids) => ids.length)) throw new RangeError("a reply without a token: expected at least one");
    const { memory, model, tokenizer } = this, { vocabulary } = model.sizes;
    this.batch = null;
    memory.release(this.begun);
    most = replies ? Math.max(...replies.map((ids) => ids.length)) : most;
    const batch = new Batch(memory, prompts, group, most), first = batch.size - prompts.length;
    const activations = model.activations(batch), chances = memory.tensor(batch.capacity - first, vocabulary);
    const entropies = memory.tensor(batch.capacity - first, 1);
    const all = batch.lengths.map((_, i) => ({ sequence: i, ids: [], rows: [], row: Math.floor(i / group) }));
    for (let live = all, from = 0; live.length; ) {
      const to = batch.size, scored = Math.max(from, first);
      model.forward(batch, from, to, activations, base);
      this.chances(scored, to, activations, temperature || 1, chances.slice(scored - first, to - first), entropies.slice(scored - first, to - first));
      const { data } = chances;
      for (const reply of live) {
        const row = data.subarray(reply.row * vocabulary, (reply.row + 1) * vocabulary), given = replies?.[reply.sequence];
        reply.ids.push(given ? given[reply.rows.length] : drawn(row, temperature, random));
        reply.rows.push(reply.row);
      }
      live = live.filter(({ ids, sequence }) =>
        replies ? ids.length < replies[sequence].length : ids.at(-1) !== tokenizer.end && ids.length < most);
      for (const reply of live) reply.row = batch.add(reply.sequence, reply.ids.at(-1)) - first;
      from = to;
      tell?.(all);
    }
    return { replies: all, batch, first, activations, chances, entropies };
  }

  /** The chances of the token after each row, and the entropies. */
  chances(from, to, activations, temperature, chances, entropies) {
    this.model.logits(from, to, activations, chances);
    this.memory.kernels.softmax(chances.rows, chances.columns, chances.at, 1 / temperature, entropies.at);
  }

  /** A step's replies, group by group: { texts, ids }. `prompts`: texts or conversations, one for each group. */
  sample(prompts, replies = null) {
    const { batch_size, group_size: group, max_completion_length: most, temperature } = this.settings;
    if (prompts.length * group !== batch_size) {
      throw new RangeError(`${prompts.length} prompts in groups of ${group}: expected ${batch_size / group}, for ${batch_size} replies`);
    }
    const asked = prompts.map((prompt) => this.tokenizer.prompt(prompt));
    this.batch = Object.assign(this.rollout(asked, { group, most, temperature, random: this.random, replies }), { asked });
    return this.told(this.batch.replies);
  }

  /** Replies outside the training, one to each prompt; temperature 0 takes the likeliest token. */
  generate(prompts, { temperature = 1, max_completion_length: most = this.settings.max_completion_length, base = false, seed = 0, tell = null } = {}) {
    const asked = prompts.map((prompt) => this.tokenizer.prompt(prompt));
    const { replies } = this.rollout(asked, { most, temperature, random: dice(seed), base, tell: tell && ((all) => tell(this.told(all))) });
    return this.told(replies);
  }

  /** The logits of the token after each of one text's tokens: Float32Array [ids, vocabulary]. */
  logits(ids, base = false) {
    if (!ids.length) throw new RangeError("there are no tokens: expected at least one");
    this.batch = null;
    this.memory.release(this.begun);
    const batch = new Batch(this.memory, [ids], 1, 1), activations = this.model.activations(batch);
    const logits = this.memory.tensor(ids.length, this.model.sizes.vocabulary);
    this.model.forward(batch, 0, ids.length, activations, base);
    this.model.logits(0, ids.length, activations, logits);
    return logits.copy();
  }

  told(replies) {
    return { texts: replies.map(({ ids }) => this.tokenizer.decode(ids)), ids: replies.map(({ ids }) => ids) };
  }

  /**
   * One update from the replies of `sample`.
   * @param {object} rewards { name: [one for each reply; null: no say], … }
   * @returns {{ metrics: object, advantages: number[] }} under the names of TRL's log
   */
  learn(rewards) {
    if (!this.batch) throw new Error("nothing was sampled: call sample first");
    const { settings, batch: { replies, batch, first, activations, chances, entropies, asked } } = this;
    const columns = Object.entries(rewards).map(([name, column]) => scores(name, column, replies.length));
    const weights = settings.reward_weights ?? columns.map(() => 1);
    if (!columns.length || weights.length !== columns.length) throw new RangeError(`${columns.length} rewards and ${weights.length} weights: expected one of each`);
    const { totals, advantages, dead } = advantagesOf(columns, weights, settings);
    const isCut = ({ ids }) => ids.at(-1) !== this.tokenizer.end;

    const { vocabulary } = this.model.sizes, begun = this.memory.used;
    const tokens = replies.flatMap((reply, i) => settings.mask_truncated_completions && isCut(reply) ? [] : reply.ids.map((id, t) => (
      { row: reply.rows[t], at: reply.rows[t] * vocabulary + id, advantage: advantages[i] })));
    const logOf = (table) => tokens.map(({ at }) => Math.log(table[at]));
    const own = logOf(chances.data), d = this.model.scratch(batch);
    let reference = own;
    if (settings.beta && !this.isFresh) { // one layer's room for all of them: nothing of this pass is kept
      this.model.forward(batch, 0, batch.size, Array(this.model.layerCount + 1).fill(d), true);
      const before = this.memory.tensor(batch.size - first, vocabulary), unread = this.memory.tensor(batch.size - first, 1);
      this.chances(first, batch.size, [d], settings.temperature, before, unread);
      reference = logOf(before.data);
    }

    // The loss of a token is -ratio · advantage + beta · ratio · k3, where the ratio is 1 but has a gradient: TRL's
    // use_bias_correction_kl. So its slope along log p is -advantage + beta · (log p - log p of the reference).
    const count = Math.max(1, tokens.length), slopes = chances.data, pulls = new Float32Array(batch.size - first);
    const slope = tokens.map(({ advantage }, i) => (settings.beta * (own[i] - reference[i]) - advantage) / count / settings.temperature);
    tokens.forEach(({ row }, i) => (pulls[row] -= slope[i]));
    const entropy = tokens.reduce((sum, { row }) => sum + entropies.data[row], 0) / count;
    pulls.forEach((pull, row) => { // d log p[target] / d logit = [it is the target] - chance
      for (let i = row * vocabulary; i < (row + 1) * vocabulary; i++) slopes[i] *= pull;
    });
    tokens.forEach(({ at }, i) => (slopes[at] += slope[i]));
    this.model.backward(batch, first, activations, chances.slice(0, batch.size - first), d);
    this.memory.release(begun);
    this.batch = null;

    const rate = settings.learning_rate * Math.max(0, 1 - this.step / settings.steps), norm = this.update(rate);
    const drift = own.map((each, i) => reference[i] - each), k3 = drift.map((each) => Math.exp(each) - each - 1);
    const kl = k3.reduce((sum, each) => sum + each, 0) / count;
    const pushed = tokens.reduce((sum, { advantage }) => sum + advantage, 0) / count;
    const lengths = replies.map(({ ids }) => ids.length), ended = replies.filter((reply) => !isCut(reply)).map(({ ids }) => ids.length);
    this.tokensSeen += asked.reduce((sum, ids) => sum + settings.group_size * ids.length, 0) + lengths.reduce((a, b) => a + b);
    const about = (name, numbers) => ({ [`completions/mean_${name}`]: mean(numbers), [`completions/min_${name}`]: Math.min(...numbers), [`completions/max_${name}`]: Math.max(...numbers) });
    const metrics = {
      step: this.step,
      loss: settings.beta * kl - pushed,
      grad_norm: norm,
      learning_rate: rate,
      num_tokens: this.tokensSeen,
      ...about("length", lengths),
      "completions/std_length": spread(lengths),
      "completions/clipped_ratio": 1 - ended.length / replies.length,
      ...about("terminated_length", ended.length ? ended : [0]),
      ...Object.fromEntries(Object.keys(rewards).flatMap((name, i) => [[`rewards/${name}/mean`, mean(columns[i])], [`rewards/${name}/std`, spread(columns[i])]])),
      reward: mean(totals),
      reward_std: spread(totals),
      within_group_std: number(mean(groupsOf(totals, settings.group_size).map(spread))),
      frac_reward_zero_std: dead,
      ...(settings.beta && { kl }),
      entropy,
    };
    for (const [name, value] of Object.entries(metrics)) if (Number.isNaN(value)) metrics[name] = null;
    return { metrics, advantages };
  }

  /** AdamW without decay, the gradient's norm clipped before: the norm. */
  update(rate) {
    const { model, m, v, settings } = this, values = model.values.data, gradients = model.gradients.data, t = ++this.step;
    const norm = Math.sqrt(gradients.reduce((sum, each) => sum + each * each, 0));
    if (!Number.isFinite(norm)) throw new RangeError("the gradient is not finite: choose a lower learning_rate, or rewards that are less far apart");
    const clip = settings.max_grad_norm ? Math.min(1, settings.max_grad_norm / (norm + 1e-6)) : 1;
    for (let i = 0; i < values.length; i++) {
      const g = clip * gradients[i];
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.999 * v[i] + 0.001 * g * g;
      values[i] -= (rate * m[i]) / (1 - 0.9 ** t) / (Math.sqrt(v[i] / (1 - 0.999 ** t)) + 1e-8);
    }
    this.isFresh = false;
    model.merge();
    return norm;
  }
}

/** The index of a drawn token; the likeliest at temperature 0. */
function drawn(chances, temperature, random) {
  if (!temperature) return chances.indexOf(chances.reduce((a, b) => Math.max(a, b)));
  let left = random();
  const found = chances.findIndex((chance) => (left -= chance) < 0);
  return found < 0 ? chances.length - 1 : found; // chances add up to a hair less than 1
}

function scores(name, column, count) {
  if (column?.length !== count) throw new RangeError(`the reward ${name} gave ${column?.length} numbers for ${count} replies`);
  return Array.from(column, (each) => {
    const score = each === null ? NaN : Number(each);
    if (score === Infinity || score === -Infinity) throw new RangeError(`the reward ${name} gave ${each}: expected a finite number, or none`);
    return score;
  });
}

/** The settings, if they are such that can be trained with. */
function checked(settings) {
  const { group_size, batch_size } = settings;
  const isWhole = (name, least) => Number.isInteger(settings[name]) && settings[name] >= least;
  const isPositive = (name) => settings[name] > 0 && settings[name] < 100;
  const wrong = [
    ...["steps", "batch_size", "max_completion_length", "lora_rank"].filter((name) => !isWhole(name, 1)),
    ...(isWhole("group_size", 2) && batch_size % group_size === 0 ? [] : ["group_size"]),
    ...["learning_rate", "temperature"].filter((name) => !isPositive(name)),
    ...["beta", "max_grad_norm"].filter((name) => !(settings[name] >= 0 && settings[name] < Infinity)),
    ...(["group", "batch", "none"].includes(settings.scale_rewards) ? [] : ["scale_rewards"]),
    ...(["sum_then_normalize", "normalize_then_sum"].includes(settings.multi_objective_aggregation) ? [] : ["multi_objective_aggregation"]),
  ];
  if (wrong.length) throw new RangeError(`settings that cannot be trained with: ${wrong.map((name) => `${name} ${settings[name]}`).join(", ")}`);
  return settings;
}
