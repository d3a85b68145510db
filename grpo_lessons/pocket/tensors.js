// Numbers in WebAssembly's memory, and files of them.
//
// WebAssembly checks no bounds inside its memory: one row too many would be read, and written, without a word. So all
// of it is taken from `Memory`, as `Tensor`s, whose rows and columns are compared before a kernel sees their addresses.

export class Memory {
  /**
   * @param {Uint8Array} kernels kernels.wasm
   * @param {number} most bytes that may be taken in all
   * Throws an Error named "NoSIMD" where the browser cannot run them.
   */
  constructor(kernels, most = 1 << 30) {
    if (typeof WebAssembly !== "object" || !WebAssembly.validate(kernels)) {
      throw Object.assign(new Error("this browser has no WebAssembly SIMD"), { name: "NoSIMD" });
    }
    this.kernels = new WebAssembly.Instance(new WebAssembly.Module(kernels)).exports;
    this.most = most;
    this.used = (this.kernels.FREE.value + 15) & ~15; // bytes
  }

  /** The bytes that WebAssembly holds. */
  get bytes() {
    return this.kernels.memory.buffer.byteLength;
  }

  /** A new tensor; whatever was there before is still in it. Throws a RangeError when there is no memory left. */
  tensor(rows, columns) {
    const at = this.used, used = at + Math.ceil((rows * columns) / 4) * 16; // kernels read four numbers at once
    if (!Number.isSafeInteger(rows * columns) || used > this.most) {
      throw new RangeError(`this needs more than ${this.most >> 20} MB of memory: choose fewer or shorter replies`);
    }
    const missing = Math.ceil((used - this.bytes) / 65536);
    if (missing > 0) this.kernels.memory.grow(missing); // detaches all views: hence they are made when they are needed
    this.used = used;
    return new Tensor(this, at, rows, columns);
  }

  /** Give back all tensors that were made since `used` was as given; the next ones are put in their place. */
  release(used) {
    this.used = used;
  }
}

export class Tensor {
  constructor(memory, at, rows, columns, rowStride = columns, columnStride = 1) {
    Object.assign(this, { memory, at, rows, columns, rowStride, columnStride });
  }

  /** The numbers, as a view: good until the next tensor is made. Only of whole rows. */
  get data() {
    if (this.rowStride !== this.columns) throw new RangeError("parts of rows are no view: take a row");
    return new Float32Array(this.memory.kernels.memory.buffer, this.at, this.rows * this.columns);
  }

  fill(number) {
    this.data.fill(number);
    return this;
  }

  /** One row as a view. */
  row(i) {
    return new Float32Array(this.memory.kernels.memory.buffer, this.slice(i, i + 1).at, this.columns);
  }

  /** The same as whole numbers, for those tensors that hold such. */
  get ints() {
    return new Int32Array(this.memory.kernels.memory.buffer, this.at, this.rows * this.columns);
  }

  /** The rows from and up to an index, not copied. Throws a RangeError for rows that it does not have. */
  slice(from, to = this.rows) {
    if (!(0 <= from && from <= to && to <= this.rows)) throw new RangeError(`rows ${from} to ${to} of ${this.rows}`);
    return new Tensor(this.memory, this.at + 4 * from * this.rowStride, to - from, this.columns, this.rowStride, this.columnStride);
  }

  /** The i-th of `count` equal parts of all rows, side by side, not copied. */
  part(i, count) {
    const columns = this.columns / count;
    return new Tensor(this.memory, this.at + 4 * i * columns, this.rows, columns, this.rowStride);
  }

  /** The transposed, not copied: good as the left side of a product. */
  get T() {
    return new Tensor(this.memory, this.at, this.columns, this.rows, this.columnStride, this.rowStride);
  }
}

/** c = a · b, or with `add` c += a · b. */
export function multiply(a, b, c, add = false) {
  if (a.columns !== b.rows || a.rows !== c.rows || b.columns !== c.columns || b.columnStride * c.columnStride !== 1) {
    const [left, right, product] = [a, b, c].map((each) => `[${each.rows}, ${each.columns}]`);
    throw new RangeError(`${left} · ${right} is not ${product}, or is transposed on the right`);
  }
  const strides = [a.at, 4 * a.rowStride, 4 * a.columnStride, b.at, 4 * b.rowStride, c.at, 4 * c.rowStride];
  a.memory.kernels.multiply(c.rows, c.columns, a.columns, ...strides, add ? 1 : 0);
}

export const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);

/** That tensors have the rows and columns that a kernel takes them to have. */
export function expect(rows, columns, ...tensors) {
  for (const each of tensors) {
    if (each.rows !== rows || each.columns !== columns) throw new RangeError(`[${each.rows}, ${each.columns}]: expected [${rows}, ${columns}]`);
  }
}

/** A safetensors file: `tensors`, each { shape, data: Float32Array }, and `about`, its metadata. */
export function readSafetensors(buffer) {
  const tensors = {};
  try {
    const start = 8 + Number(new DataView(buffer).getBigUint64(0, true));
    const { __metadata__: about = {}, ...header } = JSON.parse(new TextDecoder().decode(buffer.slice(8, start)));
    for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(header)) {
      const bytes = buffer.slice(start + from, start + to); // a copy, for a typed array wants an even place
      if (dtype !== "F16" && dtype !== "F32") throw new TypeError(`${name} is ${dtype}`);
      const data = dtype === "F32" ? new Float32Array(bytes) : fromHalves(new Uint16Array(bytes));
      if (data.length !== shape.reduce((product, size) => product * size, 1)) throw new RangeError(`${name} is cut off`);
      tensors[name] = { shape, data };
    }
    return { tensors, about };
  } catch (error) {
    throw new RangeError(`no safetensors file of float16 or float32 (${error.message})`);
  }
}

/** float16 as float32, which has its exponent 112 higher and 13 bits more of fraction. */
function fromHalves(bits) {
  const data = new Float32Array(bits.length), raw = new Uint32Array(data.buffer);
  for (let i = 0; i < bits.length; i++) {
    if ((bits[i] & 0x7c00) === 0x7c00) throw new RangeError("a number of it is not finite");
    raw[i] = ((bits[i] & 0x8000) << 16) | ((bits[i] & 0x7fff) << 13);
    data[i] *= 2 ** 112;
  }
  return data;
}

/** The bytes of a safetensors file, in float32. */
export function writeSafetensors(tensors, about) {
  const header = { __metadata__: about };
  let size = 0;
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype: "F32", shape, data_offsets: [size, (size += data.byteLength)] };
  }
  const head = new TextEncoder().encode(JSON.stringify(header)), start = (8 + head.length + 7) & ~7;
  const bytes = new Uint8Array(start + size).fill(32, 8, start); // spaces up to the numbers, at a multiple of eight bytes
  new DataView(bytes.buffer).setBigUint64(0, BigInt(start - 8), true);
  bytes.set(head, 8);
  for (const [name, { data }] of Object.entries(tensors)) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), start + header[name].data_offsets[0]);
  }
  return bytes;
}
