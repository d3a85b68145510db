// Files of numbers: safetensors, read from float16 and float32, written in float32.

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
