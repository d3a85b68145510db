// Numbers in WebAssembly's memory.
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
    const isAble = typeof WebAssembly === "object" && WebAssembly.validate(kernels);
    if (!isAble) throw Object.assign(new Error("this browser has no WebAssembly SIMD"), { name: "NoSIMD" });
    this.kernels = new WebAssembly.Instance(new WebAssembly.Module(kernels)).exports;
    this.most = most;
    this.used = (this.kernels.FREE.value + 15) & ~15; // bytes; set back, it gives back what was made since
  }

  /** The bytes that WebAssembly holds. */
  get bytes() { return this.kernels.memory.buffer.byteLength; }

  /** A new tensor; whatever was there before is still in it. Throws a RangeError when there is no memory left. */
  tensor(rows, columns) {
    const at = this.used, used = at + Math.ceil((rows * columns) / 4) * 16; // kernels read four numbers at once
    const isTooMuch = !Number.isSafeInteger(rows * columns) || used > this.most;
    if (isTooMuch) throw new RangeError(`this needs more than ${this.most >> 20} MB of memory: choose fewer or shorter replies`);
    const missing = Math.ceil((used - this.bytes) / 65536);
    if (missing > 0) this.kernels.memory.grow(missing); // detaches all views: hence they are made when they are needed
    this.used = used;
    return new Tensor(this, at, rows, columns);
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

  /** One row as a view. */
  row(i) { return new Float32Array(this.memory.kernels.memory.buffer, this.slice(i, i + 1).at, this.columns); }

  /** The rows from and up to an index, not copied. Throws a RangeError for rows that it does not have. */
  slice(from, to = this.rows) {
    if (!(0 <= from && from <= to && to <= this.rows)) throw new RangeError(`rows ${from} to ${to} of ${this.rows}`);
    const at = this.at + 4 * from * this.rowStride;
    return new Tensor(this.memory, at, to - from, this.columns, this.rowStride, this.columnStride);
  }

  /** The i-th of `count` equal parts of all rows, side by side, not copied. */
  part(i, count) {
    const columns = this.columns / count;
    return new Tensor(this.memory, this.at + 4 * i * columns, this.rows, columns, this.rowStride);
  }

  /** The transposed, not copied: good as the left side of a product. */
  get T() { return new Tensor(this.memory, this.at, this.columns, this.rows, this.columnStride, this.rowStride); }
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

/** An object of the same names, and what a function makes of its values. */
export function mapped(object, change) {
  return Object.fromEntries(Object.entries(object).map(([name, each]) => [name, change(each, name)]));
}

export const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);

/** That tensors have the rows and columns that a kernel takes them to have. */
export function expect(rows, columns, ...tensors) {
  const wrong = tensors.find((each) => each.rows !== rows || each.columns !== columns);
  if (wrong) throw new RangeError(`[${wrong.rows}, ${wrong.columns}]: expected [${rows}, ${columns}]`);
}
