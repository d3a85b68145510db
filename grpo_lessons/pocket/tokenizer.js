// Text to tokens and back: byte-level byte-pair encoding, as the package `tokenizers` does it from `tokenizer.json`.

// GPT-2's pattern behind a split at every digit: white space before a digit ends there. Not \s, which has U+FEFF, too.
const WORDS =
  /'(?:[stmd]|re|ve|ll)|\p{N}| ?\p{L}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?![^\p{White_Space}\p{N}])|\p{White_Space}+/gu;
const LONGEST = 4096; // characters of a prompt: the model reads 256 tokens
const UTF8 = new TextEncoder();
const TEXT = new TextDecoder("utf-8", { ignoreBOM: true });

// Every byte is written as a character that can be seen: 33–126, 161–172, 174–255 as they are, others from 256 on.
let unseen = 256;
const CHARACTERS = Array.from({ length: 256 }, (_, byte) =>
  String.fromCharCode((byte > 32 && byte < 127) || (byte > 160 && byte !== 173) ? byte : unseen++),
);
const BYTES = new Map(CHARACTERS.map((character, byte) => [character, byte]));

export class Tokenizer {
  /** @param {object} file tokenizer.json, parsed */
  constructor(file) {
    this.vocabulary = new Map(Object.entries(file.model.vocab));
    this.pieces = new Map(Object.entries(file.model.vocab).map(([piece, id]) => [id, piece]));
    this.ranks = new Map(file.model.merges.map((pair, rank) => [pair.join(" "), rank]));
    this.special = new Map(file.added_tokens.map(({ content, id }) => [content, id]));
    this.end = this.special.get("<|end|>");
  }

  /** The ids of a text; a special token in it is read as the characters it is written with. */
  encode(text) {
    const written = (word) => Array.from(UTF8.encode(word), (byte) => CHARACTERS[byte]);
    return [...text.matchAll(WORDS)].flatMap(([word]) => this.#merge(written(word)).map((piece) => this.vocabulary.get(piece)));
  }

  /** The pair that was learnt first is merged wherever it stands, until none is left. */
  #merge(pieces) {
    for (;;) {
      const ranks = pieces.map((piece, i) => this.ranks.get(`${piece} ${pieces[i + 1]}`) ?? Infinity);
      const best = Math.min(...ranks);
      if (best === Infinity) return pieces;
      const merged = [];
      for (let i = 0; i < pieces.length; i++) merged.push(ranks[i] === best ? pieces[i] + pieces[++i] : pieces[i]);
      pieces = merged;
    }
  }

  /** The text of ids, without special tokens; half a character becomes U+FFFD. */
  decode(ids) {
    const pieces = ids.map((id) => this.pieces.get(id)).filter((piece) => piece !== undefined && !this.special.has(piece));
    return TEXT.decode(Uint8Array.from(pieces.join(""), (character) => BYTES.get(character)));
  }

  /** The ids of a question, or a conversation [{ role, content }, …], in the chat template, up to where the reply begins. */
  prompt(asked) {
    const conversation = typeof asked === "string" ? [{ role: "user", content: asked }] : asked;
    if (!Array.isArray(conversation) || !conversation.every((message) => typeof message?.content === "string")) {
      throw new TypeError(`a prompt is ${JSON.stringify(asked)}: expected a text, or [{ role, content: a text }, …]`);
    }
    const length = conversation.reduce((sum, { content }) => sum + content.length, 0);
    if (length > LONGEST) throw new RangeError(`a prompt of ${length} characters: expected at most ${LONGEST}`);
    const tag = (role) => this.special.get(role === "assistant" ? "<|assistant|>" : "<|user|>");
    return [...conversation.flatMap(({ role, content }) => [tag(role), ...this.encode(content), this.end]), tag("assistant")];
  }
}
