// What the widgets share that have the model in a worker, of what Python has given.

import { Engine } from "./client.js";

/** A file that the trait `assets` names the address of, else the bytes, or text, in the trait of its name. */
export async function file(model, name) {
  const address = model.get("assets")[name], given = model.get(name);
  if (address) {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
    return answer.arrayBuffer();
  }
  if (typeof given === "string") return new TextEncoder().encode(given).buffer;
  if (!given?.byteLength) throw new Error(`${name}: missing`);
  return given.buffer.slice(given.byteOffset, given.byteOffset + given.byteLength); // a DataView
}

export const json = (bytes) => JSON.parse(new TextDecoder().decode(bytes));

/** A worker with the model, started; `names` are those of other files that it is given. */
export async function load(model, settings = {}, names = []) {
  const [weights, tokenizer, ...others] = await Promise.all(["weights", "tokenizer", ...names].map((name) => file(model, name)));
  const engine = new Engine(ENGINE), given = Object.fromEntries(names.map((name, i) => [name, others[i]]));
  await engine.call("start", { weights, tokenizer: json(tokenizer), settings, ...given });
  return engine;
}
