// The pocket model: a Llama of four layers, each operation beside its gradient.
//
// Shapes: every token is a row; nothing is padded. width 128, heads 4, inner 384, vocabulary 600. `dx` is the gradient of
// the loss to x. Only the adapter learns: LoRA matrices A [rank, inputs] and B [outputs, rank] beside each fixed weight.

import { Tensor, expect, multiply, readSafetensors, writeSafetensors } from "./tensors.js";

export const CONTEXT = 256; // tokens, as in config.json, as are the next three; all other sizes are read from the weights
const HEAD = 32, THETA = 10000, EPSILON = 1e-6;
const PREFIX = "base_model.model."; // of PEFT's names

/** The tokens of prompts and their replies as rows, in the order in which they are computed.
 *
 * First the prompts' rows, side by side so that their last ones are neighbours, then one for each reply that goes on, and
 * again. A group's replies share the rows of their prompt. Row i stands at `positions[i]` of a sequence whose rows are
 * past[starts[i]], past[starts[i] + 1], … The last token of a reply predicts nothing and has none.
 */
export class Batch {
  constructor(memory, prompts, group, most) {
    const longest = Math.max(...prompts.map((ids) => ids.length));
    if (longest + most > CONTEXT) {
      throw new RangeError(`a prompt of ${longest} tokens and a reply of up to ${most} are more than the ${CONTEXT} that the model reads`);
    }
    this.span = (longest + most + 3) & ~3;
    this.capacity = prompts.reduce((sum, ids) => sum + ids.length, 0) + prompts.length * group * (most - 1);
    [this.ids, this.positions, this.starts] = [0, 0, 0].map(() => memory.tensor(1, this.capacity));
    this.past = memory.tensor(prompts.length * group, this.span);
    this.lengths = prompts.flatMap((ids) => Array(group).fill(ids.length)); // of the sequences, so far
    this.size = 0;
    for (let left = longest; left > 0; left--) {
      prompts.forEach((ids, p) => {
        if (left > ids.length) return;
        const position = ids.length - left;
        for (let g = 0; g < group; g++) this.past.ints[(p * group + g) * this.span + position] = this.size;
        this.#put(ids[position], position, p * group);
      });
    }
  }

  #put(id, position, sequence) {
    if (this.size === this.capacity) throw new RangeError(`the batch has its ${this.capacity} rows`);
    this.ids.ints[this.size] = id;
    this.positions.ints[this.size] = position;
    this.starts.ints[this.size] = sequence * this.span;
    return this.size++;
  }

  /** A token more in a sequence: its row. */
  add(sequence, id) {
    const position = this.lengths[sequence]++;
    this.past.ints[sequence * this.span + position] = this.size;
    return this.#put(id, position, sequence);
  }
}

/** What a layer computes for each row and its gradient reads again. The gradients themselves have the same shapes. */
class Activations {
  constructor(memory, { capacity: rows, span }, { width, inner, heads }) {
    const tensor = (columns) => memory.tensor(rows, columns);
    this.x = tensor(width); // what comes in
    this.normed = tensor(width);
    this.scale = tensor(1);
    this.qkv = tensor(3 * width); // queries, keys and values of all heads
    this.shares = tensor(heads * span); // of attention
    this.heard = tensor(width);
    this.middle = tensor(width); // x and what was heard
    this.normed2 = tensor(width);
    this.scale2 = tensor(1);
    this.gates = tensor(2 * inner); // gate and up
    this.active = tensor(inner);
  }
}

/** y = x · Wᵀ for weights W [outputs, inputs] of the same input, side by side; each with its adapter: W + scale · B · A. */
class Linear {
  constructor(model, names) {
    const { memory, rank } = model, weights = names.map((name) => model.weight(`${name}.weight`));
    this.inputs = weights[0].shape[1];
    this.parts = [];
    for (const [i, { shape }] of weights.entries()) {
      const from = this.parts.at(-1)?.to ?? 0;
      this.parts.push({ name: names[i], from, to: from + shape[0], low: i * rank, high: (i + 1) * rank });
    }
    this.outputs = this.parts.at(-1).to;
    this.base = memory.tensor(this.outputs, this.inputs);
    weights.forEach(({ data }, i) => this.base.slice(this.parts[i].from, this.parts[i].to).data.set(data));
    this.baseT = transposed(this.base, memory.tensor(this.inputs, this.outputs));
    this.merged = memory.tensor(this.outputs, this.inputs);
    this.mergedT = memory.tensor(this.inputs, this.outputs);
    this.A = model.parameter(names.length * rank, this.inputs);
    this.B = model.parameter(this.outputs, rank);
    this.scaledAT = memory.tensor(this.inputs, names.length * rank);
    this.scaledB = memory.tensor(this.outputs, rank);
  }

  /** Once after every change of A and B. */
  merge(scale) {
    this.scaledB.data.set(this.B.value.data.map((each) => scale * each));
    transposed(this.A.value, this.scaledAT);
    this.scaledAT.data.forEach((each, i, all) => (all[i] = scale * each));
    this.merged.data.set(this.base.data);
    for (const { from, to, low, high } of this.parts) {
      multiply(this.scaledB.slice(from, to), this.A.value.slice(low, high), this.merged.slice(from, to), true);
    }
    transposed(this.merged, this.mergedT);
  }

  forward(x, y, { base = false, add = false }) {
    multiply(x, base ? this.baseT : this.mergedT, y, add);
  }

  /** dA = (dy · scale B)ᵀ · x; dB = dyᵀ · (x · scale Aᵀ); dx = dy · (W + scale B A). */
  backward(x, dy, dx) {
    const { memory } = x, begun = memory.used, [u, z] = [0, 0].map(() => memory.tensor(x.rows, this.A.value.rows));
    multiply(x, this.scaledAT, z);
    for (const { from, to, low, high } of this.parts) {
      multiply(dy.part(from, to), this.scaledB.slice(from, to), u.part(low, high));
      multiply(dy.part(from, to).T, z.part(low, high), this.B.gradient.slice(from, to));
    }
    multiply(u.T, x, this.A.gradient);
    if (dx) multiply(dy, this.merged, dx);
    memory.release(begun);
  }
}

function transposed(x, y) {
  expect(x.columns, x.rows, y);
  x.memory.kernels.transpose(x.rows, x.columns, x.at, y.at);
  return y;
}

/** RMSNorm: y = weight · x / √(mean of x² + epsilon). */
class Norm {
  constructor(model, name) {
    const { data } = model.weight(`${name}.weight`);
    this.weight = model.memory.tensor(1, data.length);
    this.weight.data.set(data);
  }

  forward(x, y, scale) {
    expect(x.rows, this.weight.columns, x, y);
    expect(x.rows, 1, scale);
    x.memory.kernels.norm(x.rows, x.columns, x.at, this.weight.at, y.at, scale.at, EPSILON);
  }

  /** Added to dx, for x goes on beside the norm, too. */
  backward(x, scale, dy, dx) {
    expect(x.rows, this.weight.columns, x, dy, dx);
    expect(x.rows, 1, scale);
    x.memory.kernels.normBackward(x.rows, x.columns, x.at, this.weight.at, scale.at, dy.at, dx.at);
  }
}

/** Each row asks those before it: y = Σ softmax(query · key / √32) · value, in each head. */
const attention = {
  forward({ positions, starts, past, span }, from, to, { qkv, heard, shares }, angles) {
    const heads = heard.columns / HEAD, rows = qkv.slice(from, to);
    expect(qkv.rows, heads * span, shares);
    expect(qkv.rows, 3 * heads * HEAD, qkv);
    expect(qkv.rows, heads * HEAD, heard);
    const { kernels } = qkv.memory, at = positions.at + 4 * from;
    kernels.rotate(rows.rows, 2 * heads, rows.at, 4 * rows.rowStride, at, angles.at, 1); // queries and keys
    kernels.attend(from, to, heads, qkv.at, heard.at, shares.at, span, positions.at, starts.at, past.at);
  },

  backward({ positions, starts, past, span, size }, { qkv, shares }, d, angles) {
    const heads = d.heard.columns / HEAD, { kernels } = qkv.memory, begun = qkv.memory.used;
    expect(qkv.rows, 3 * heads * HEAD, qkv, d.qkv);
    const room = qkv.memory.tensor(1, span);
    d.qkv.data.fill(0);
    kernels.attendBackward(
      size, heads, qkv.at, d.qkv.at, d.heard.at, shares.at, span, positions.at, starts.at, past.at, room.at,
    );
    kernels.rotate(size, 2 * heads, d.qkv.at, 4 * d.qkv.rowStride, positions.at, angles.at, -1);
    qkv.memory.release(begun);
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
    const name = (end) => `model.layers.${i}.${end}`;
    this.angles = model.angles;
    this.norm = new Norm(model, name("input_layernorm"));
    this.qkv = new Linear(model, ["q", "k", "v"].map((each) => name(`self_attn.${each}_proj`)));
    this.out = new Linear(model, [name("self_attn.o_proj")]);
    this.norm2 = new Norm(model, name("post_attention_layernorm"));
    this.gates = new Linear(model, ["gate", "up"].map((each) => name(`mlp.${each}_proj`)));
    this.down = new Linear(model, [name("mlp.down_proj")]);
    this.linears = [this.qkv, this.out, this.gates, this.down];
  }

  /** From a.x to next.x, for the rows from and up to an index. */
  forward(batch, from, to, a, next, base) {
    const rows = (tensor) => tensor.slice(from, to);
    this.norm.forward(rows(a.x), rows(a.normed), rows(a.scale));
    this.qkv.forward(rows(a.normed), rows(a.qkv), { base });
    attention.forward(batch, from, to, a, this.angles);
    rows(a.middle).data.set(rows(a.x).data);
    this.out.forward(rows(a.heard), rows(a.middle), { base, add: true });
    this.norm2.forward(rows(a.middle), rows(a.normed2), rows(a.scale2));
    this.gates.forward(rows(a.normed2), rows(a.gates), { base });
    swiglu.forward(rows(a.gates), rows(a.active));
    rows(next.x).data.set(rows(a.middle).data);
    this.down.forward(rows(a.active), rows(next.x), { base, add: true });
  }

  /** d.x, the gradient of next.x, becomes that of a.x; not in the first layer, below which nothing learns. */
  backward(batch, a, d, isFirst) {
    this.down.backward(a.active, d.x, d.active);
    swiglu.backward(a.gates, d.active, d.gates);
    this.gates.backward(a.normed2, d.gates, d.normed2);
    this.norm2.backward(a.middle, a.scale2, d.normed2, d.x);
    this.out.backward(a.heard, d.x, d.heard);
    attention.backward(batch, a, d, this.angles);
    this.qkv.backward(a.normed, d.qkv, isFirst ? null : d.normed);
    if (!isFirst) this.norm.backward(a.x, a.scale, d.normed, d.x);
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
    this.memory = memory;
    this.trueRank = rank;
    this.rank = (rank + 7) & ~7; // rows of A and columns of B that are added are 0, have no gradient, and stay so
    this.alpha = 2 * rank;
    this.tensors = readSafetensors(weights).tensors;
    const embedding = this.weight("model.embed_tokens.weight"), gate = this.weight("model.layers.0.mlp.gate_proj.weight");
    const [vocabulary, width] = embedding.shape;
    this.sizes = { vocabulary, width, inner: gate.shape[0], heads: width / HEAD };
    this.layerCount = Object.keys(this.tensors).filter((name) => name.endsWith("down_proj.weight")).length;
    const numbers = this.layerCount * this.rank * (11 * width + 3 * this.sizes.inner);
    [this.values, this.gradients] = [0, 0].map(() => memory.tensor(1, numbers));
    this.taken = 0;
    this.angles = memory.tensor(CONTEXT, HEAD); // cosines, then sines
    this.angles.data.forEach((_, i, all) => {
      const j = i % (HEAD / 2), angle = Math.floor(i / HEAD) * THETA ** ((-2 * j) / HEAD);
      all[i] = i % HEAD < HEAD / 2 ? Math.cos(angle) : Math.sin(angle);
    });
    this.embedding = memory.tensor(vocabulary, width);
    this.embedding.data.set(embedding.data);
    this.embeddingT = transposed(this.embedding, memory.tensor(width, vocabulary));
    this.layers = Array.from({ length: this.layerCount }, (_, i) => new Layer(this, i));
    this.norm = new Norm(this, "model.norm");
    this.linears = this.layers.flatMap((layer) => layer.linears);
    delete this.tensors;
    this.gradients.data.fill(0);
    this.values.data.fill(0);
    for (const [, { A }] of this.matrices()) {
      for (let i = 0; i < A.value.data.length; i++) A.value.data[i] = (2 * random() - 1) / Math.sqrt(A.value.columns);
    }
    this.merge();
  }

  weight(name) {
    if (!this.tensors[name]) throw new RangeError(`the weights have no ${name}`);
    return this.tensors[name];
  }

  /** Room for a matrix that learns, and for its gradient: all of them lie one behind the other in `values` and `gradients`. */
  parameter(rows, columns) {
    const at = 4 * this.taken;
    this.taken += rows * columns;
    const [value, gradient] = [this.values, this.gradients].map((all) => new Tensor(this.memory, all.at + at, rows, columns));
    return { value, gradient };
  }

  /** [name, { A [rank, inputs], B [outputs, rank] }] of each weight, without what was added to the rank. */
  matrices() {
    return this.linears.flatMap(({ A, B, parts }) =>
      parts.map(({ name, from, to, low }) => {
        const rows = (each) => each.slice(low, low + this.trueRank), outputs = (each) => each.slice(from, to);
        return [name, {
          A: { value: rows(A.value), gradient: rows(A.gradient) },
          B: { value: outputs(B.value).part(0, this.trueRank), gradient: outputs(B.gradient).part(0, this.trueRank) },
        }];
      }),
    );
  }

  /** The adapter as a file of PEFT, float32: its matrices, or with `gradients` their gradients. */
  save(about = {}, gradients = false) {
    const tensors = {}, of = gradients ? "gradient" : "value";
    for (const [name, matrices] of this.matrices()) {
      for (const [letter, { [of]: matrix }] of Object.entries(matrices)) {
        tensors[`${PREFIX}${name}.lora_${letter}.weight`] = { shape: [matrix.rows, matrix.columns], data: matrix.copy() };
      }
    }
    return writeSafetensors(tensors, { r: String(this.trueRank), alpha: String(this.alpha), ...about });
  }

  /** Take over such a file's adapter, read by `readSafetensors`. Throws a RangeError for one of another model. */
  load({ tensors, about }) {
    const given = new Map(Object.entries(tensors).map(([name, tensor]) => [name.replace(PREFIX, ""), tensor]));
    for (const [name, matrices] of this.matrices()) {
      for (const [letter, { value }] of Object.entries(matrices)) {
        const { shape, data } = given.get(`${name}.lora_${letter}.weight`) ?? { shape: [], data: [] };
        if (String(shape) !== String([value.rows, value.columns]) || !data.every(Number.isFinite)) {
          throw new RangeError(`${name}.lora_${letter} is [${shape}]: expected [${[value.rows, value.columns]}], of finite numbers`);
        }
        value.set(data);
      }
    }
    if (!(about.alpha > 0)) throw new RangeError(`the adapter's alpha is ${about.alpha}: expected a number in its metadata`);
    this.alpha = Number(about.alpha);
    this.merge();
  }

  merge() {
    for (const linear of this.linears) linear.merge(this.alpha / this.trueRank);
  }

  /** Room for the activations of all layers, and of what comes out above them. */
  activations(batch) {
    return Array.from({ length: this.layerCount + 1 }, () => this.scratch(batch));
  }

  /** Room for those of one layer. */
  scratch(batch) {
    return new Activations(this.memory, batch, this.sizes);
  }

  /** Rows from and up to an index, through all layers. With `base` as if there were no adapter. */
  forward(batch, from, to, activations, base = false) {
    const { width } = this.sizes, x = activations[0].x.slice(from, to).data, table = this.embedding.data, ids = batch.ids.ints;
    for (let i = from; i < to; i++) x.set(table.subarray(ids[i] * width, (ids[i] + 1) * width), (i - from) * width);
    this.layers.forEach((layer, i) => layer.forward(batch, from, to, activations[i], activations[i + 1], base));
  }

  /** Of the same rows the logits of the token after each: [rows, vocabulary]. */
  logits(from, to, activations, logits) {
    const rows = (tensor) => tensor.slice(from, to), top = activations.at(-1);
    this.norm.forward(rows(top.x), rows(top.normed), rows(top.scale));
    multiply(rows(top.normed), this.embeddingT, logits);
  }

  /** The gradient of every matrix, from that of the logits of the rows from an index on. `d` is a layer's scratch. */
  backward(batch, from, activations, dlogits, d) {
    const rows = (tensor) => tensor.slice(from, batch.size), top = activations.at(-1);
    const all = (each) => Object.fromEntries(Object.entries(each).map(([name, tensor]) => [name, tensor.slice(0, batch.size)]));
    d = all(d);
    multiply(dlogits, this.embedding, rows(d.normed));
    d.x.data.fill(0);
    this.norm.backward(rows(top.x), rows(top.scale), rows(d.normed), rows(d.x));
    for (let i = this.layerCount - 1; i >= 0; i--) this.layers[i].backward(batch, all(activations[i]), d, i === 0);
  }
}
