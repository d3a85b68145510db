// The pocket model: a Llama of four layers, each operation beside its gradient.
//
// Shapes: every token is a row; nothing is padded. width 128, heads 4, inner 384, vocabulary 600. `dx` is the gradient of
// the loss to x. Only the adapter learns: LoRA matrices A [rank, inputs] and B [outputs, rank] beside each fixed weight.

import { readSafetensors, writeSafetensors } from "./files.js";
import { Tensor, expect, mapped, multiply, sum } from "./tensors.js";

export const CONTEXT = 256; // tokens, as in config.json, as are the next three; all other sizes are read from the weights
const HEAD = 32, THETA = 10000, EPSILON = 1e-6;
const PREFIX = "base_model.model."; // of PEFT's names

/** The tokens of prompts and their replies as rows, in the order in which they are computed.
 *
 * First the prompts' rows, side by side so that their last ones are neighbours, then one for each reply that goes on, and
 * again. A group's replies share the rows of all in which they are alike, of their prompt to begin with. Row i stands at `positions[i]` of a sequence whose rows are
 * past[starts[i]], past[starts[i] + 1], … The last token of a reply predicts nothing and has none.
 */
export class Batch {
  constructor(memory, prompts, group, most) {
    const lengths = prompts.map((ids) => ids.length), longest = Math.max(...lengths);
    const isTooLong = longest + most > CONTEXT + 1; // a reply's last token is not read
    if (isTooLong) throw new RangeError(`a prompt of ${longest} tokens and a reply of ${most}: expected at most ${CONTEXT} in all`);
    this.span = (longest + most + 3) & ~3; // kernels take four at once
    this.capacity = sum(lengths) + prompts.length * group * (most - 1);
    [this.positions, this.starts] = [0, 0].map(() => memory.tensor(1, this.capacity));
    this.past = memory.tensor(prompts.length * group, this.span);
    this.lengths = Array(prompts.length * group).fill(0); // of the sequences, so far
    this.ids = []; // of the rows
    for (let left = longest; left > 0; left--) prompts.forEach((ids, p) => {
      for (let i = 0, row; i < group && left <= ids.length; i++) row = this.add(p * group + i, ids.at(-left), row);
    });
  }

  get size() { return this.ids.length; }

  /** A token more in a sequence: its row, a new one, or that of a sequence which is the same up to it. */
  add(sequence, id, row = this.ids.push(id) - 1) {
    if (row === this.capacity) throw new RangeError(`the batch has its ${this.capacity} rows`);
    const { starts, positions, past, span } = this, start = sequence * span, position = this.lengths[sequence]++;
    const all = new Int32Array(past.memory.kernels.memory.buffer); // one view for the three: views take time
    [all[starts.at / 4 + row], all[positions.at / 4 + row], all[past.at / 4 + start + position]] = [start, position, row];
    return row;
  }
}

/** Room for what a layer computes for each row, and its gradient reads again. The gradients have the same shapes. */
function activations(memory, { capacity, span }, { width, inner, heads }) {
  const columns = {
    x: width, normed: width, scale: 1, // what comes in
    qkv: 3 * width, shares: heads * span, heard: width, // queries, keys and values; attention; what it found
    middle: width, normed2: width, scale2: 1, // x and what was heard
    gates: 2 * inner, active: inner, // gate and up; their product
  };
  return mapped(columns, (count) => memory.tensor(capacity, count));
}

/** y = x · Wᵀ for a weight W [outputs, inputs] and its adapter: W + scale · B · A. */
class Linear {
  constructor(model, name) {
    const { memory, rank } = model, base = model.weight(name), { rows: outputs, columns: inputs } = base;
    Object.assign(this, {
      name, base, baseT: transposed(base), A: model.parameter(rank, inputs), B: model.parameter(outputs, rank),
      merged: memory.tensor(outputs, inputs), mergedT: memory.tensor(inputs, outputs), // as the forward pass wants it
      scaledAT: memory.tensor(inputs, rank), scaledB: memory.tensor(outputs, rank),
    });
  }

  /** Once after every change of A and B. */
  merge(scale) {
    transposed(this.A.value, this.scaledAT);
    this.scaledAT.data.set(this.scaledAT.data.map((each) => scale * each));
    this.scaledB.data.set(this.B.value.data.map((each) => scale * each));
    this.merged.data.set(this.base.data);
    multiply(this.scaledB, this.A.value, this.merged, true);
    transposed(this.merged, this.mergedT);
  }

  forward(x, y, base, add = false) { multiply(x, base ? this.baseT : this.mergedT, y, add); }

  /** dA = (dy · scale B)ᵀ · x; dB = dyᵀ · (x · scale Aᵀ); dx = dy · (W + scale B A), where it is wanted. */
  backward(x, dy, dx, add = false) {
    const { memory } = x, begun = memory.used, rank = this.A.value.rows;
    const [low, dLow] = [0, 0].map(() => memory.tensor(x.rows, rank));
    multiply(dy, this.scaledB, dLow);
    multiply(dLow.T, x, this.A.gradient);
    multiply(x, this.scaledAT, low);
    multiply(dy.T, low, this.B.gradient);
    if (dx) multiply(dy, this.merged, dx, add);
    memory.used = begun;
  }
}

/** xᵀ in a tensor of its own, or in a given one. */
function transposed(x, y = x.memory.tensor(x.columns, x.rows)) {
  expect(x.columns, x.rows, y);
  x.memory.kernels.transpose(x.rows, x.columns, x.at, y.at);
  return y;
}

/** RMSNorm: y = weight · x / √(mean of x² + epsilon). */
const norm = {
  forward(weight, x, y, scale) {
    expect(x.rows, weight.columns, x, y);
    expect(x.rows, 1, scale);
    x.memory.kernels.norm(x.rows, x.columns, x.at, weight.at, y.at, scale.at, EPSILON);
  },

  /** Added to dx, for x goes on beside the norm, too. */
  backward(weight, x, scale, dy, dx) {
    expect(x.rows, weight.columns, x, dy, dx);
    expect(x.rows, 1, scale);
    x.memory.kernels.normBackward(x.rows, x.columns, x.at, weight.at, scale.at, dy.at, dx.at);
  },
};

/** Each row asks those before it: y = Σ softmax(query · key / √32) · value, in each head. */
const attention = {
  forward({ positions, starts, past, span }, from, to, { qkv, heard, shares }, angles) {
    const { kernels } = qkv.memory, heads = heard.columns / HEAD, rows = qkv.slice(from, to);
    expect(qkv.rows, heads * span, shares);
    kernels.rotate(to - from, 2 * heads, rows.at, 4 * qkv.columns, positions.at + 4 * from, angles.at, 1); // queries and keys
    kernels.attend(from, to, heads, qkv.at, heard.at, shares.at, span, positions.at, starts.at, past.at);
  },

  backward({ positions, starts, past, span }, { qkv, shares }, d, angles) {
    const { kernels } = qkv.memory, { rows } = qkv, heads = d.heard.columns / HEAD;
    const addresses = [qkv, d.qkv, d.heard, shares, d.shares].map((each) => each.at);
    expect(rows, heads * span, shares, d.shares);
    expect(rows, 3 * heads * HEAD, qkv, d.qkv);
    d.qkv.data.fill(0);
    kernels.attendBackward(rows, heads, ...addresses, span, positions.at, starts.at, past.at);
    kernels.rotate(rows, 2 * heads, d.qkv.at, 4 * qkv.columns, positions.at, angles.at, -1);
  },
};

/** y = silu(gate) · up. */
const swiglu = {
  forward(x, y) {
    expect(x.rows, x.columns / 2, y);
    x.memory.kernels.swiglu(x.rows, y.columns, x.at, y.at);
  },

  backward(x, dy, dx) {
    expect(x.rows, x.columns / 2, dy);
    expect(x.rows, x.columns, dx);
    x.memory.kernels.swigluBackward(x.rows, dy.columns, x.at, dy.at, dx.at);
  },
};

class Layer {
  constructor(model, i) {
    const name = (end) => `model.layers.${i}.${end}`, linear = (end) => new Linear(model, name(end));
    this.angles = model.angles;
    [this.norm, this.norm2] = ["input", "post_attention"].map((each) => model.weight(name(`${each}_layernorm`)));
    this.qkv = ["q", "k", "v"].map((each) => linear(`self_attn.${each}_proj`));
    this.out = linear("self_attn.o_proj");
    this.gates = ["gate", "up"].map((each) => linear(`mlp.${each}_proj`));
    this.down = linear("mlp.down_proj");
    this.linears = [...this.qkv, this.out, ...this.gates, this.down];
  }

  /** From a.x to next.x, for the rows from and up to an index. */
  forward(batch, from, to, a, next, base) {
    const rows = (tensor) => tensor.slice(from, to);
    norm.forward(this.norm, rows(a.x), rows(a.normed), rows(a.scale));
    this.qkv.forEach((linear, i) => linear.forward(rows(a.normed), rows(a.qkv).part(i, 3), base));
    attention.forward(batch, from, to, a, this.angles);
    rows(a.middle).data.set(rows(a.x).data);
    this.out.forward(rows(a.heard), rows(a.middle), base, true);
    norm.forward(this.norm2, rows(a.middle), rows(a.normed2), rows(a.scale2));
    this.gates.forEach((linear, i) => linear.forward(rows(a.normed2), rows(a.gates).part(i, 2), base));
    swiglu.forward(rows(a.gates), rows(a.active));
    rows(next.x).data.set(rows(a.middle).data);
    this.down.forward(rows(a.active), rows(next.x), base, true);
  }

  /** d.x, the gradient of next.x, becomes that of a.x; not in the first layer, below which nothing learns. */
  backward(batch, a, d, isFirst) {
    this.down.backward(a.active, d.x, d.active);
    swiglu.backward(a.gates, d.active, d.gates);
    this.gates.forEach((linear, i) => linear.backward(a.normed2, d.gates.part(i, 2), d.normed2, i > 0));
    norm.backward(this.norm2, a.middle, a.scale2, d.normed2, d.x);
    this.out.backward(a.heard, d.x, d.heard);
    attention.backward(batch, a, d, this.angles);
    this.qkv.forEach((linear, i) => linear.backward(a.normed, d.qkv.part(i, 3), isFirst ? null : d.normed, i > 0));
    if (!isFirst) norm.backward(this.norm, a.x, a.scale, d.normed, d.x);
  }
}

export class Model {
  /**
   * @param {Memory} memory
   * @param {ArrayBuffer} weights model.safetensors, float16 or float32
   * @param {number} rank of the adapter
   * @param {() => number} random where A is drawn from; B is 0, so that the adapter changes nothing at first
   */
  constructor(memory, weights, rank, random) {
    Object.assign(this, { memory, rank, alpha: 2 * rank, taken: 0, tensors: readSafetensors(weights).tensors });
    const adapted = Object.entries(this.tensors).filter(([name]) => name.endsWith("_proj.weight"));
    const numbers = sum(adapted.map(([, { shape: [outputs, inputs] }]) => rank * (outputs + inputs)));
    [this.values, this.gradients] = [0, 0].map(() => memory.tensor(1, numbers));
    for (const { data } of [this.values, this.gradients]) data.fill(0);
    this.angles = memory.tensor(CONTEXT, HEAD); // cosines, then sines
    this.angles.data.forEach((_, i, all) => {
      const j = i % (HEAD / 2), angle = Math.floor(i / HEAD) * THETA ** ((-2 * j) / HEAD);
      all[i] = i % HEAD < HEAD / 2 ? Math.cos(angle) : Math.sin(angle);
    });
    this.embedding = this.weight("model.embed_tokens");
    this.embeddingT = transposed(this.embedding);
    this.layers = Array.from({ length: adapted.length / 7 }, (_, i) => new Layer(this, i));
    this.norm = this.weight("model.norm");
    this.linears = this.layers.flatMap((layer) => layer.linears);
    delete this.tensors;
    const { rows: vocabulary, columns: width } = this.embedding, inner = this.layers[0].down.base.columns;
    this.sizes = { vocabulary, width, inner, heads: width / HEAD };
    for (const { A: { value: a } } of this.linears) a.data.set(a.data.map(() => (2 * random() - 1) / Math.sqrt(a.columns)));
    this.merge();
  }

  /** A weight of the file, which stays as it is: [outputs, inputs], or [1, width]. */
  weight(name) {
    const { shape, data } = this.tensors[`${name}.weight`] ?? {};
    if (!shape) throw new RangeError(`the weights have no ${name}`);
    const tensor = this.memory.tensor(shape.length > 1 ? shape[0] : 1, shape.at(-1));
    tensor.data.set(data);
    return tensor;
  }

  /** A matrix that learns, and its gradient: all of them lie one behind the other in `values` and `gradients`. */
  parameter(rows, columns) {
    const at = 4 * this.taken;
    this.taken += rows * columns;
    const tensor = (all) => new Tensor(this.memory, all.at + at, rows, columns);
    return { value: tensor(this.values), gradient: tensor(this.gradients) };
  }

  /** [PEFT's name, tensor] of each matrix or, with "gradient", of its gradient. */
  matrices(of = "value") {
    const named = (letter) => (linear) => [`${PREFIX}${linear.name}.lora_${letter}.weight`, linear[letter][of]];
    return [...this.linears.map(named("A")), ...this.linears.map(named("B"))];
  }

  /** The adapter as a file of PEFT's, in float32; or the gradients. `about`: metadata, texts by name. */
  save(about = {}, of = "value") {
    const tensors = this.matrices(of).map(([name, { rows, columns, data }]) => [name, { shape: [rows, columns], data }]);
    return writeSafetensors(Object.fromEntries(tensors), { r: String(this.rank), alpha: String(this.alpha), ...about });
  }

  /** Take over an adapter, read by `readSafetensors`. Throws a RangeError for one of another model. */
  load({ tensors, about }) {
    for (const [name, matrix] of this.matrices()) {
      const { shape = [], data = [] } = tensors[name] ?? tensors[name.replace(PREFIX, "")] ?? {};
      const wanted = [matrix.rows, matrix.columns], isRight = `${shape}` === `${wanted}` && data.every(Number.isFinite);
      if (!isRight) throw new RangeError(`${name} is [${shape}]: expected [${wanted}], of finite numbers`);
      matrix.data.set(data);
    }
    if (!(about.alpha > 0)) throw new RangeError(`the adapter's alpha is ${about.alpha}: expected a number in its metadata`);
    this.alpha = Number(about.alpha);
    this.merge();
  }

  merge() { for (const linear of this.linears) linear.merge(this.alpha / this.rank); }

  /** Room for the activations of a layer. */
  room(batch) { return activations(this.memory, batch, this.sizes); }

  /** Room for those of all layers, and of what comes out above them; or the `one` for all of a pass of which nothing is kept. */
  rooms(batch, one = null) { return Array.from({ length: this.layers.length + 1 }, () => one ?? this.room(batch)); }

  /** Rows from and up to an index, through all layers. With `base` as if there were no adapter. */
  forward(batch, from, to, rooms, base = false) {
    const { data } = this.embedding, { width } = this.sizes, x = rooms[0].x.data;
    for (let i = from; i < to; i++) for (let j = 0, at = batch.ids[i] * width; j < width; j++) x[i * width + j] = data[at + j];
    this.layers.forEach((layer, i) => layer.forward(batch, from, to, rooms[i], rooms[i + 1], base));
  }

  /** Of the same rows the logits of the token after each: [rows, vocabulary]; `top` is the room above the layers. */
  logits(from, to, top, logits) {
    const rows = (tensor) => tensor.slice(from, to);
    norm.forward(this.norm, rows(top.x), rows(top.normed), rows(top.scale));
    multiply(rows(top.normed), this.embeddingT, logits);
  }

  /** The chances of the token after each: softmax of logits / temperature; and the entropies [rows, 1] in nats. */
  chances(from, to, top, temperature, chances, entropies) {
    this.logits(from, to, top, chances);
    expect(chances.rows, 1, entropies);
    this.memory.kernels.softmax(chances.rows, chances.columns, chances.at, 1 / temperature, entropies.at);
  }

  /** The gradient of every matrix, from that of the logits of the rows from an index on. `d` is a layer's room. */
  backward(batch, from, rooms, dlogits, d) {
    const full = (room) => mapped(room, (tensor) => tensor.slice(0, batch.size)), rows = (tensor) => tensor.slice(from);
    const top = full(rooms.at(-1)), all = full(d);
    multiply(dlogits, this.embedding, rows(all.normed));
    all.x.data.fill(0);
    norm.backward(this.norm, rows(top.x), rows(top.scale), rows(all.normed), rows(all.x));
    for (let i = this.layers.length - 1; i >= 0; i--) this.layers[i].backward(batch, full(rooms[i]), all, i === 0);
  }
}
