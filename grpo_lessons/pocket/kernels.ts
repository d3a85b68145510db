// The arithmetic of the pocket model in WebAssembly SIMD; `model.js` says what each loop is for.
//
// Built by `npx asc kernels.ts -o kernels.wasm -O3 --runtime stub --noAssert --enable simd` (assemblyscript@0.28.20, from npm);
// tests/test_engine.py builds it anew and compares. Addresses and strides count bytes. Nothing here checks a bound:
// `Tensor` in tensors.js does, before it calls.

/** The first address that is free: what lies before it are tables, of the logarithm. */
export const FREE: usize = __heap_base;

const HEAD: i32 = 32; // numbers in a head, eight vectors of four

// @ts-ignore: decorator
@inline function sum4(v: v128): f32 {
  return f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3);
}

/** e^x of four numbers, right to 2e-7 between -87 and 88: 2^n times a polynomial on what is left (Cephes' expf). */
// @ts-ignore: decorator
@inline function exp4(x: v128): v128 {
  x = f32x4.max(f32x4.min(x, f32x4.splat(88)), f32x4.splat(-87));
  const n = f32x4.nearest(f32x4.mul(x, f32x4.splat(1.44269504)));
  const r = f32x4.sub(f32x4.sub(x, f32x4.mul(n, f32x4.splat(0.693359375))), f32x4.mul(n, f32x4.splat(-2.12194440e-4)));
  let p = f32x4.splat(1.9875691500e-4);
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.3981999507e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(8.3334519073e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(4.1665795894e-2));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.6666665459e-1));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(5.0000001201e-1));
  p = f32x4.add(f32x4.add(f32x4.mul(f32x4.mul(p, r), r), r), f32x4.splat(1));
  return f32x4.mul(p, i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23));
}

/** C [M, N] = A [M, K] · B [K, N], or added to C. Any strides of A: Aᵀ is A with them exchanged. */
export function multiply(
  M: i32, N: i32, K: i32, A: usize, rowA: i32, colA: i32, B: usize, rowB: i32, C: usize, rowC: i32, add: i32,
): void {
  for (let block = 0; block < M; block += 48) { // so many rows of A stay in the first cache, and so does a strip of B
    const end = min(block + 48, M);
    let n = 0;
    for (; n + 8 <= N; n += 8) {
      let m = block;
      for (; m + 4 <= end; m += 4) tile(K, A + m * rowA, rowA, colA, B + n * 4, rowB, C + m * rowC + n * 4, rowC, add);
      for (; m < end; m++) strip(K, A + m * rowA, colA, B + n * 4, rowB, C + m * rowC + n * 4, add);
    }
    for (; n < N; n++) { // columns left over, of a rank that is no multiple of eight
      for (let m = block; m < end; m++) {
        const c = C + m * rowC + n * 4;
        let sum: f32 = add ? load<f32>(c) : 0, a = A + m * rowA, b = B + n * 4;
        for (let k = 0; k < K; k++, a += colA, b += rowB) sum += load<f32>(a) * load<f32>(b);
        store<f32>(c, sum);
      }
    }
  }
}

/** Four rows and eight columns of C, held in eight registers; more of them do not fit into those of a processor. */
function tile(K: i32, a: usize, rowA: i32, colA: i32, b: usize, rowB: i32, c: usize, rowC: i32, add: i32): void {
  const zero = f32x4.splat(0), a1 = rowA, a2 = 2 * rowA, a3 = 3 * rowA, c1 = c + rowC, c2 = c1 + rowC, c3 = c2 + rowC;
  let s00 = zero, s01 = zero, s10 = zero, s11 = zero, s20 = zero, s21 = zero, s30 = zero, s31 = zero;
  if (add) {
    s00 = v128.load(c); s01 = v128.load(c, 16);
    s10 = v128.load(c1); s11 = v128.load(c1, 16);
    s20 = v128.load(c2); s21 = v128.load(c2, 16);
    s30 = v128.load(c3); s31 = v128.load(c3, 16);
  }
  for (let k = 0; k < K; k++) {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    let x = v128.load32_splat(a);
    s00 = f32x4.add(s00, f32x4.mul(x, b0)); s01 = f32x4.add(s01, f32x4.mul(x, b1));
    x = v128.load32_splat(a + a1);
    s10 = f32x4.add(s10, f32x4.mul(x, b0)); s11 = f32x4.add(s11, f32x4.mul(x, b1));
    x = v128.load32_splat(a + a2);
    s20 = f32x4.add(s20, f32x4.mul(x, b0)); s21 = f32x4.add(s21, f32x4.mul(x, b1));
    x = v128.load32_splat(a + a3);
    s30 = f32x4.add(s30, f32x4.mul(x, b0)); s31 = f32x4.add(s31, f32x4.mul(x, b1));
    a += colA; b += rowB;
  }
  v128.store(c, s00); v128.store(c, s01, 16);
  v128.store(c1, s10); v128.store(c1, s11, 16);
  v128.store(c2, s20); v128.store(c2, s21, 16);
  v128.store(c3, s30); v128.store(c3, s31, 16);
}

function strip(K: i32, a: usize, colA: i32, b: usize, rowB: i32, c: usize, add: i32): void {
  let s0 = add ? v128.load(c) : f32x4.splat(0), s1 = add ? v128.load(c, 16) : f32x4.splat(0);
  for (let k = 0; k < K; k++) {
    const x = v128.load32_splat(a);
    s0 = f32x4.add(s0, f32x4.mul(x, v128.load(b))); s1 = f32x4.add(s1, f32x4.mul(x, v128.load(b, 16)));
    a += colA; b += rowB;
  }
  v128.store(c, s0); v128.store(c, s1, 16);
}

/** y [columns, rows] = xᵀ of x [rows, columns]. */
export function transpose(rows: i32, columns: i32, x: usize, y: usize): void {
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) store<f32>(y + ((j * rows + i) << 2), load<f32>(x + ((i * columns + j) << 2)));
  }
}

/** RMSNorm: y = x · scale · weight, scale [rows] = 1 / √(mean of x² + epsilon). */
export function norm(rows: i32, width: i32, x: usize, weight: usize, y: usize, scales: usize, epsilon: f32): void {
  for (let i = 0; i < rows; i++, x += width << 2, y += width << 2) {
    let squares = f32x4.splat(0);
    for (let j = 0; j < width << 2; j += 16) {
      const v = v128.load(x + j);
      squares = f32x4.add(squares, f32x4.mul(v, v));
    }
    const scale: f32 = 1 / Mathf.sqrt(sum4(squares) / <f32>width + epsilon), s = f32x4.splat(scale);
    store<f32>(scales + (i << 2), scale);
    for (let j = 0; j < width << 2; j += 16) {
      v128.store(y + j, f32x4.mul(f32x4.mul(v128.load(x + j), s), v128.load(weight + j)));
    }
  }
}

/** dx += scale · (dy · weight) - x · scale³ · mean of (dy · weight · x). */
export function normBackward(rows: i32, width: i32, x: usize, weight: usize, scales: usize, dy: usize, dx: usize): void {
  for (let i = 0; i < rows; i++, x += width << 2, dy += width << 2, dx += width << 2) {
    let along = f32x4.splat(0);
    for (let j = 0; j < width << 2; j += 16) {
      along = f32x4.add(along, f32x4.mul(f32x4.mul(v128.load(dy + j), v128.load(weight + j)), v128.load(x + j)));
    }
    const scale = load<f32>(scales + (i << 2));
    const s = f32x4.splat(scale), t = f32x4.splat(scale * scale * scale * sum4(along) / <f32>width);
    for (let j = 0; j < width << 2; j += 16) {
      const g = f32x4.mul(s, f32x4.mul(v128.load(dy + j), v128.load(weight + j)));
      v128.store(dx + j, f32x4.add(v128.load(dx + j), f32x4.sub(g, f32x4.mul(t, v128.load(x + j)))));
    }
  }
}

/** Rotary positions, in place, on the first `heads` heads of each row: a head's first half is turned against its second.
 *
 * `angles` [context, HEAD]: cosines, then sines, of each position. direction 1: forward; -1: back, which is the gradient.
 */
export function rotate(
  rows: i32, heads: i32, x: usize, rowX: i32, positions: usize, angles: usize, direction: f32,
): void {
  const d = f32x4.splat(direction);
  for (let i = 0; i < rows; i++, x += rowX) {
    const angle = angles + load<i32>(positions + (i << 2)) * HEAD * 4;
    for (let head = 0; head < heads; head++) {
      for (let j = 0; j < HEAD * 2; j += 16) {
        const at = x + head * HEAD * 4 + j, cos = v128.load(angle + j), sin = f32x4.mul(d, v128.load(angle + j, HEAD * 2));
        const a = v128.load(at), b = v128.load(at, HEAD * 2);
        v128.store(at, f32x4.sub(f32x4.mul(a, cos), f32x4.mul(b, sin)));
        v128.store(at, f32x4.add(f32x4.mul(b, cos), f32x4.mul(a, sin)), HEAD * 2);
      }
    }
  }
}

/** What each row hears of those before it: y = Σ share · value, shares = softmax of query · key / √HEAD.
 *
 * qkv [all rows, 3 · heads · HEAD], y [all rows, heads · HEAD], shares [all rows, heads, span]; span is a multiple of 4.
 * Row i is at `positions[i]` of its sequence, and the rows of that sequence are past[starts[i]], past[starts[i] + 1], …
 */
export function attend(
  from: i32, to: i32, heads: i32, qkv: usize, y: usize, shares: usize, span: i32, positions: usize, starts: usize, past: usize,
): void {
  const width = heads * HEAD * 4, scale: f32 = 1 / Mathf.sqrt(<f32>HEAD);
  for (let i = from; i < to; i++) {
    const length = load<i32>(positions + (i << 2)) + 1, rows = past + (load<i32>(starts + (i << 2)) << 2);
    for (let head = 0; head < heads; head++) {
      const q = qkv + i * 3 * width + head * HEAD * 4, p = shares + ((i * heads + head) * span << 2);
      let most: f32 = -1e30;
      for (let j = 0; j < length; j++) {
        const k = qkv + load<i32>(rows + (j << 2)) * 3 * width + width + head * HEAD * 4;
        let sum = f32x4.splat(0);
        for (let d = 0; d < HEAD * 4; d += 16) sum = f32x4.add(sum, f32x4.mul(v128.load(q + d), v128.load(k + d)));
        const score = sum4(sum) * scale;
        store<f32>(p + (j << 2), score);
        most = max(most, score);
      }
      for (let j = length; j & 3; j++) store<f32>(p + (j << 2), -1e30); // up to the next multiple of 4
      let total = f32x4.splat(0);
      for (let j = 0; j < length; j += 4) {
        const e = exp4(f32x4.sub(v128.load(p + (j << 2)), f32x4.splat(most)));
        v128.store(p + (j << 2), e);
        total = f32x4.add(total, e);
      }
      const whole: f32 = 1 / sum4(total), out = y + i * width + head * HEAD * 4;
      for (let d = 0; d < HEAD * 4; d += 16) v128.store(out + d, f32x4.splat(0));
      for (let j = 0; j < length; j++) {
        const share = load<f32>(p + (j << 2)) * whole, s = f32x4.splat(share);
        store<f32>(p + (j << 2), share);
        const v = qkv + load<i32>(rows + (j << 2)) * 3 * width + 2 * width + head * HEAD * 4;
        for (let d = 0; d < HEAD * 4; d += 16) {
          v128.store(out + d, f32x4.add(v128.load(out + d), f32x4.mul(s, v128.load(v + d))));
        }
      }
    }
  }
}

/** From dy to dshares and dqkv, which starts as zeros, for rows 0 to `rows`. */
export function attendBackward(
  rows: i32, heads: i32, qkv: usize, dqkv: usize, dy: usize, shares: usize, dshares: usize, span: i32,
  positions: usize, starts: usize, past: usize,
): void {
  const width = heads * HEAD * 4, scale: f32 = 1 / Mathf.sqrt(<f32>HEAD);
  for (let i = 0; i < rows; i++) {
    const length = load<i32>(positions + (i << 2)) + 1, seen = past + (load<i32>(starts + (i << 2)) << 2);
    for (let head = 0; head < heads; head++) {
      const offset = i * 3 * width + head * HEAD * 4, g = dy + i * width + head * HEAD * 4;
      const p = shares + ((i * heads + head) * span << 2), dp = dshares + ((i * heads + head) * span << 2);
      let along: f32 = 0;
      for (let j = 0; j < length; j++) {
        const share = load<f32>(p + (j << 2)), s = f32x4.splat(share);
        const v = load<i32>(seen + (j << 2)) * 3 * width + 2 * width + head * HEAD * 4;
        let sum = f32x4.splat(0);
        for (let d = 0; d < HEAD * 4; d += 16) {
          const gd = v128.load(g + d);
          sum = f32x4.add(sum, f32x4.mul(gd, v128.load(qkv + v + d)));
          v128.store(dqkv + v + d, f32x4.add(v128.load(dqkv + v + d), f32x4.mul(s, gd)));
        }
        const dshare = sum4(sum);
        store<f32>(dp + (j << 2), dshare);
        along += share * dshare;
      }
      for (let j = 0; j < length; j++) {
        const dscore = load<f32>(p + (j << 2)) * (load<f32>(dp + (j << 2)) - along) * scale, s = f32x4.splat(dscore);
        const k = load<i32>(seen + (j << 2)) * 3 * width + width + head * HEAD * 4;
        for (let d = 0; d < HEAD * 4; d += 16) {
          const q = offset + d;
          v128.store(dqkv + q, f32x4.add(v128.load(dqkv + q), f32x4.mul(s, v128.load(qkv + k + d))));
          v128.store(dqkv + k + d, f32x4.add(v128.load(dqkv + k + d), f32x4.mul(s, v128.load(qkv + q))));
        }
      }
    }
  }
}

/** SwiGLU: y [rows, width] = gate / (1 + e^-gate) · up, of x [rows, gate | up]. */
export function swiglu(rows: i32, width: i32, x: usize, y: usize): void {
  const one = f32x4.splat(1);
  for (let i = 0; i < rows; i++, x += width << 3, y += width << 2) {
    for (let j = 0; j < width << 2; j += 16) {
      const gate = v128.load(x + j), sigmoid = f32x4.div(one, f32x4.add(one, exp4(f32x4.neg(gate))));
      v128.store(y + j, f32x4.mul(f32x4.mul(gate, sigmoid), v128.load(x + (width << 2) + j)));
    }
  }
}

/** dup = dy · silu(gate), dgate = dy · up · sigmoid · (1 + gate · (1 - sigmoid)). */
export function swigluBackward(rows: i32, width: i32, x: usize, dy: usize, dx: usize): void {
  const one = f32x4.splat(1);
  for (let i = 0; i < rows; i++, x += width << 3, dx += width << 3, dy += width << 2) {
    for (let j = 0; j < width << 2; j += 16) {
      const gate = v128.load(x + j), up = v128.load(x + (width << 2) + j), g = v128.load(dy + j);
      const sigmoid = f32x4.div(one, f32x4.add(one, exp4(f32x4.neg(gate))));
      const slope = f32x4.mul(sigmoid, f32x4.add(one, f32x4.mul(gate, f32x4.sub(one, sigmoid))));
      v128.store(dx + j, f32x4.mul(f32x4.mul(g, up), slope));
      v128.store(dx + (width << 2) + j, f32x4.mul(g, f32x4.mul(gate, sigmoid)));
    }
  }
}

/** Logits become chances, in place: softmax of x · sharpness, and the entropy of each row in nats. */
export function softmax(rows: i32, width: i32, x: usize, sharpness: f32, entropies: usize): void {
  const t = f32x4.splat(sharpness);
  for (let i = 0; i < rows; i++, x += width << 2) {
    let most = f32x4.splat(-1e30);
    for (let j = 0; j < width << 2; j += 16) most = f32x4.max(most, f32x4.mul(t, v128.load(x + j)));
    const m = f32x4.splat(max(
      max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1)),
      max(f32x4.extract_lane(most, 2), f32x4.extract_lane(most, 3)),
    ));
    let total = f32x4.splat(0), mean = f32x4.splat(0);
    for (let j = 0; j < width << 2; j += 16) {
      const z = f32x4.sub(f32x4.mul(t, v128.load(x + j)), m), e = exp4(z);
      v128.store(x + j, e);
      total = f32x4.add(total, e);
      mean = f32x4.add(mean, f32x4.mul(e, z));
    }
    const sum = sum4(total), whole = f32x4.splat(1 / sum);
    store<f32>(entropies + (i << 2), Mathf.log(sum) - sum4(mean) / sum);
    for (let j = 0; j < width << 2; j += 16) v128.store(x + j, f32x4.mul(whole, v128.load(x + j)));
  }
}
