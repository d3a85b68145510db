// The pocket model in a web page: tokenizer, forward pass and sampling, and the widget of `grpo_lessons.tryout`.
//
// `Pocket` is the Llama of `model/` in plain JavaScript, in float32; tests/test_tryout.py compares it with transformers.

const HEADS = 4, THETA = 10000, EPSILON = 1e-6, CONTEXT = 256; // as in config.json; all other sizes are read from the weights
const LONGEST = 200; // characters of a question: what is longer is cut
const REPLY = 64; // tokens that are left for a reply, and sampled at most

export class Pocket {
  /**
   * @param {ArrayBuffer} weights model.safetensors, float16 or float32
   * @param {object} tokenizer tokenizer.json, parsed
   * @param {ArrayBuffer} [adapter] LoRA matrices, merged here: W + alpha / r · B A (see `record.save_adapter`)
   */
  constructor(weights, tokenizer, adapter) {
    const { tensors, about } = adapter ? safetensors(adapter) : { tensors: {}, about: {} };
    this.weights = safetensors(weights).tensors;
    this.about = about; // the adapter's metadata
    for (const name of Object.keys(tensors).filter((name) => name.includes(".lora_A."))) {
      const B = tensors[name.replace(".lora_A.", ".lora_B.")];
      addProduct(this.weights[name.replace(".lora_A.", ".")], B, tensors[name], about.alpha / about.r);
    }
    const embedding = this.weights["model.embed_tokens.weight"];
    this.width = embedding.shape[1];
    this.layers = [];
    for (let i = 0; this.weights[`model.layers.${i}.input_layernorm.weight`]; i++) {
      this.layers.push({ keys: new Float32Array(CONTEXT * this.width), values: new Float32Array(CONTEXT * this.width) });
    }
    this.seen = []; // the ids whose keys and values the layers hold
    this.vocabulary = new Map(Object.entries(tokenizer.model.vocab));
    this.pieces = new Map(Object.entries(tokenizer.model.vocab).map(([piece, id]) => [id, piece]));
    this.ranks = new Map(tokenizer.model.merges.map((pair, rank) => [pair.join(" "), rank]));
    this.special = new Map(tokenizer.added_tokens.map(({ content, id }) => [content, id]));
    this.end = this.special.get("<|end|>");
  }

  /** The ids of a text, as `tokenizers` has them; a special token in it is read as the characters it is written with. */
  encode(text) {
    return Array.from(text.matchAll(WORDS), ([word]) => this.#merge(Array.from(UTF8.encode(word), (byte) => CHARACTERS[byte])))
      .flat()
      .map((piece) => this.vocabulary.get(piece));
  }

  #merge(pieces) {
    for (;;) {
      let best = Infinity;
      for (let i = 1; i < pieces.length; i++) best = Math.min(best, this.ranks.get(`${pieces[i - 1]} ${pieces[i]}`) ?? Infinity);
      if (best === Infinity) return pieces;
      const merged = [];
      for (let i = 0; i < pieces.length; i++) {
        const pair = i + 1 < pieces.length && this.ranks.get(`${pieces[i]} ${pieces[i + 1]}`) === best;
        merged.push(pair ? pieces[i] + pieces[++i] : pieces[i]);
      }
      pieces = merged;
    }
  }

  /** The text of ids, without special tokens; half a character becomes U+FFFD. */
  decode(ids) {
    const pieces = ids.map((id) => this.pieces.get(id)).filter((piece) => piece !== undefined && !this.special.has(piece));
    return TEXT.decode(Uint8Array.from(pieces.join(""), (character) => BYTES.get(character)));
  }

  /** The ids of the chat template around a question, cut so that a reply of REPLY tokens fits into the context. */
  prompt(question) {
    const cut = Array.from(question.slice(0, 2 * LONGEST)).slice(0, LONGEST).join(""); // never half an emoji
    const asked = this.encode(cut).slice(0, CONTEXT - REPLY - 3);
    return [this.special.get("<|user|>"), ...asked, this.end, this.special.get("<|assistant|>")];
  }

  /**
   * The logits of the token after `ids`: Float32Array [vocabulary].
   *
   * Keys and values are kept: only what follows the common start of `ids` and those of the last call is computed.
   * Throws a RangeError for no ids, or more than CONTEXT.
   */
  logits(ids) {
    if (!ids.length || ids.length > CONTEXT) throw new RangeError(`${ids.length} ids: expected 1 to ${CONTEXT}`);
    let at = 0;
    while (at < this.seen.length && at < ids.length - 1 && this.seen[at] === ids[at]) at++;
    this.seen = ids.slice();
    let state;
    for (; at < ids.length; at++) state = this.#step(ids[at], at);
    return product(this.weights["model.embed_tokens.weight"], normed(state, this.weights["model.norm.weight"]));
  }

  #step(id, at) {
    const { width, weights } = this, size = width / HEADS;
    const state = weights["model.embed_tokens.weight"].data.slice(id * width, (id + 1) * width);
    this.layers.forEach(({ keys, values }, i) => {
      const weight = (name) => weights[`model.layers.${i}.${name}.weight`];
      const before = normed(state, weight("input_layernorm"));
      const query = rotated(product(weight("self_attn.q_proj"), before), at, size);
      keys.set(rotated(product(weight("self_attn.k_proj"), before), at, size), at * width);
      values.set(product(weight("self_attn.v_proj"), before), at * width);
      const seen = new Float32Array(width);
      for (let head = 0; head < width; head += size) {
        const scores = new Float32Array(at + 1);
        for (let j = 0; j <= at; j++) {
          for (let k = head; k < head + size; k++) scores[j] += query[k] * keys[j * width + k];
          scores[j] /= Math.sqrt(size);
        }
        softmax(scores).forEach((share, j) => {
          for (let k = head; k < head + size; k++) seen[k] += share * values[j * width + k];
        });
      }
      add(state, product(weight("self_attn.o_proj"), seen));
      const between = normed(state, weight("post_attention_layernorm"));
      const up = product(weight("mlp.up_proj"), between);
      product(weight("mlp.gate_proj"), between).forEach((gate, j) => (up[j] *= gate / (1 + Math.exp(-gate)))); // SiLU
      add(state, product(weight("mlp.down_proj"), up));
    });
    return state;
  }

  /** Sample the ids of a reply one by one: up to and with <|end|>, `max` of them, or as many as the context holds. */
  *sample(ids, { temperature = 1, max = REPLY, random = Math.random } = {}) {
    const all = ids.slice();
    for (let left = Math.min(max, CONTEXT - all.length); left > 0; left--) {
      const id = drawn(this.logits(all), temperature, random());
      yield id;
      if (id === this.end) return;
      all.push(id);
    }
  }
}

// Tokens ---------------------------------------------------------------------------------------------------------------

// GPT-2's pattern behind a split at every digit: white space before a digit ends there. Not \s, which has U+FEFF, too.
const WORDS =
  /'(?:[stmd]|re|ve|ll)|\p{N}| ?\p{L}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?![^\p{White_Space}\p{N}])|\p{White_Space}+/gu;
const UTF8 = new TextEncoder();
const TEXT = new TextDecoder("utf-8", { ignoreBOM: true });

// Byte-level BPE writes every byte as a character that can be seen: 33–126, 161–172, 174–255 as they are, others from 256 on.
let unseen = 256;
const CHARACTERS = Array.from({ length: 256 }, (_, byte) =>
  String.fromCharCode((byte > 32 && byte < 127) || (byte > 160 && byte !== 173) ? byte : unseen++),
);
const BYTES = new Map(CHARACTERS.map((character, byte) => [character, byte]));

// Numbers --------------------------------------------------------------------------------------------------------------

/** A safetensors file: `tensors`, each { shape, data: Float32Array }, and `about`, its metadata. */
function safetensors(buffer) {
  const start = 8 + Number(new DataView(buffer).getBigUint64(0, true));
  const { __metadata__: about = {}, ...header } = JSON.parse(TEXT.decode(new Uint8Array(buffer, 8, start - 8)));
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(header)) {
    const bytes = buffer.slice(start + from, start + to); // a copy, for a typed array wants an even place
    if (dtype !== "F16" && dtype !== "F32") throw new TypeError(`${name} is ${dtype}: expected F16 or F32`);
    tensors[name] = { shape, data: dtype === "F32" ? new Float32Array(bytes) : floats(new Uint16Array(bytes)) };
  }
  return { tensors, about };
}

let halves = null; // the value of each of the 65,536 float16 numbers: looked up ten times as fast as worked out
function floats(bits) {
  halves ??= new Float32Array(65536).map((_, each) => half(each));
  const data = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) data[i] = halves[bits[i]];
  return data;
}

function half(bits) {
  const exponent = (bits >> 10) & 31, fraction = (bits & 1023) / 1024, sign = bits >> 15 ? -1 : 1;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14);
}

function addProduct({ data, shape: [rows, columns] }, B, A, scale) {
  const rank = A.shape[0];
  for (let i = 0; i < rows; i++) {
    for (let r = 0; r < rank; r++) {
      const factor = scale * B.data[i * rank + r];
      for (let j = 0; j < columns; j++) data[i * columns + j] += factor * A.data[r * columns + j];
    }
  }
}

function product({ data, shape: [rows, columns] }, vector) {
  const result = new Float32Array(rows);
  for (let i = 0, at = 0; i < rows; i++) {
    let sum = 0;
    for (let j = 0; j < columns; j++) sum += data[at++] * vector[j];
    result[i] = sum;
  }
  return result;
}

function add(vector, other) {
  for (let i = 0; i < vector.length; i++) vector[i] += other[i];
}

function normed(vector, { data }) {
  let squares = 0;
  for (const x of vector) squares += x * x;
  const scale = 1 / Math.sqrt(squares / vector.length + EPSILON);
  return vector.map((x, i) => x * scale * data[i]);
}

/** Rotary positions, in place: each head's first half is turned against its second half. */
function rotated(vector, position, size) {
  for (let i = 0; i < size / 2; i++) {
    const angle = position * THETA ** ((-2 * i) / size), cos = Math.cos(angle), sin = Math.sin(angle);
    for (let a = i, b = i + size / 2; a < vector.length; a += size, b += size) {
      [vector[a], vector[b]] = [vector[a] * cos - vector[b] * sin, vector[b] * cos + vector[a] * sin];
    }
  }
  return vector;
}

function softmax(scores) {
  const most = scores.reduce((a, b) => Math.max(a, b));
  const shares = scores.map((score) => Math.exp(score - most));
  const sum = shares.reduce((a, b) => a + b);
  return shares.map((share) => share / sum);
}

function drawn(logits, temperature, chance) {
  if (!(temperature > 0)) return logits.indexOf(logits.reduce((a, b) => Math.max(a, b))); // the likeliest
  const shares = softmax(logits.map((logit) => logit / temperature));
  const found = shares.findIndex((share) => (chance -= share) < 0);
  return found < 0 ? shares.length - 1 : found; // shares add up to a hair less than 1
}

// The widget -----------------------------------------------------------------------------------------------------------

const REPLIES = 4, SLICE = 12; // on each side; milliseconds of work before the page has its turn

const STYLE = `.tryout{--line:rgba(128,134,145,.35);font-size:.92rem;line-height:1.45;color:inherit}.tryout *{box-sizing:border-box}
.tryout form{display:flex;flex-wrap:wrap;gap:.5rem;align-items:end}.tryout label{flex:1 1 14rem;display:grid;gap:.15rem}
.tryout input,.tryout button{font:inherit;color:inherit;background:transparent;border:1px solid var(--line);border-radius:.5rem;
padding:.35rem .65rem;min-width:0;width:100%}.tryout button{width:auto;cursor:pointer;background:rgba(128,134,145,.10)}
.tryout button:hover{border-color:currentColor}.tryout :focus-visible{outline:2px solid currentColor;outline-offset:1px}
.tryout .columns{display:grid;gap:.2rem 1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,15rem),1fr))}
.tryout h4{margin:.3rem 0;font-size:.92rem;font-weight:600}.tryout ol{list-style:none;margin:0;padding:0;display:grid;gap:.4rem}
.tryout li{border:1px solid var(--line);border-radius:.5rem;padding:.4rem .6rem;min-height:3.6rem}
.tryout .text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.82rem;white-space:pre-wrap;
overflow-wrap:anywhere}.tryout .name{opacity:.75;font-size:.8rem}.tryout p{margin:.35rem 0;min-height:1.3em}`;

function element(name, parent, words = "", kind = "") {
  const made = document.createElement(name);
  made.textContent = words;
  if (kind) made.className = kind;
  parent.append(made);
  return made;
}

/** A turn for the page, when this one has lasted SLICE. */
let since = 0;
async function breathe() {
  if (performance.now() - since < SLICE) return;
  await new Promise((resolve) => setTimeout(resolve));
  since = performance.now();
}

/** Both models, of the files that the trait `assets` names, or where it names none of the bytes in the traits. */
async function load(model) {
  const assets = model.get("assets");
  const bytes = async (name) => {
    if (assets[name]) {
      const answer = await fetch(assets[name]);
      if (!answer.ok) throw new Error(`${assets[name]}: ${answer.status}`);
      return answer.arrayBuffer();
    }
    const view = model.get(name); // a DataView
    if (!view?.byteLength) throw new Error(`${name}: missing`);
    return view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
  };
  const [weights, adapter, text] = await Promise.all([
    bytes("weights"),
    bytes("adapter"),
    assets.tokenizer ? bytes("tokenizer").then((buffer) => TEXT.decode(buffer)) : model.get("tokenizer"),
  ]);
  const tokenizer = JSON.parse(text);
  const before = new Pocket(weights, tokenizer);
  await breathe();
  return { before, after: new Pocket(weights, tokenizer, adapter) };
}

/** A question, and under it replies before and after GRPO; all there, they become the trait `replies`. */
function render({ model, el }) {
  const root = element("div", el, "", "tryout");
  element("style", root, STYLE);
  const form = element("form", root);
  const label = element("label", form);
  element("span", label, "Your question", "name");
  const input = element("input", label);
  input.value = model.get("question");
  input.maxLength = LONGEST;
  input.autocomplete = "off";
  element("button", form, "Ask").type = "submit";
  const status = element("p", root, "Sampled here, in this page.", "name");
  status.setAttribute("role", "status");
  const columns = element("div", root, "", "columns");
  const lists = {};
  for (const [when, title] of [["before", "before"], ["after", "after GRPO"]]) {
    const section = element("section", columns);
    element("h4", section, title);
    lists[when] = element("ol", section);
    section.setAttribute("aria-label", `replies ${title}`);
  }

  let loaded = null, latest = 0;
  const ready = () => (loaded ??= load(model).catch((error) => ((loaded = null), Promise.reject(error))));

  async function ask(question) {
    const mine = ++latest;
    const over = () => mine !== latest;
    status.textContent = "Loading the model …";
    let pockets;
    try {
      pockets = await ready();
    } catch (error) {
      if (!over()) status.textContent = `The model could not be loaded (${error.message}). Ask again to retry.`;
      return;
    }
    if (over()) return;
    status.textContent = "Sampling …";
    for (const list of Object.values(lists)) list.replaceChildren();
    const replies = { question, before: [], after: [] };
    const most = JSON.parse(pockets.after.about.settings ?? "{}").max_completion_length ?? REPLY; // as it was trained
    const ids = pockets.before.prompt(question);
    since = performance.now();
    for (let i = 0; i < REPLIES; i++) {
      for (const [when, pocket] of Object.entries(pockets)) {
        const item = element("li", lists[when]);
        const text = element("div", item, "", "text"), note = element("span", item, "", "name");
        for (let read = 4; i === 0 && read < ids.length; read += 4) { // a long question is read in parts
          pocket.logits(ids.slice(0, read));
          await breathe();
          if (over()) return;
        }
        const reply = [];
        for (const id of pocket.sample(ids, { max: most })) {
          reply.push(id);
          text.textContent = pocket.decode(reply);
          await breathe();
          if (over()) return;
        }
        const stopped = reply.at(-1) === pocket.end;
        note.textContent = `${reply.length} token${reply.length === 1 ? "" : "s"}${stopped ? "" : ", cut off"}`;
        if (!text.textContent) note.prepend("(empty) ");
        replies[when].push({ text: text.textContent, tokens: reply.length });
      }
    }
    status.textContent = `${REPLIES} replies on each side, sampled here in this page at temperature 1. Ask again for others.`;
    model.set("question", question);
    model.set("replies", replies);
    model.save_changes();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.value.trim()) ask(input.value.trim());
    else status.textContent = "Type a question first.";
  });
  input.addEventListener("focus", () => ready().catch(() => {}), { once: true }); // it is there when the question is
  return () => latest++; // the widget is gone: end what is under way
}

export default { render };
