"""The pocket model: about a million parameters, trained from scratch by `python -m grpo_lessons.pocket.build`."""

import json
import re
import unicodedata
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from grpo_lessons import here

PATH = Path(__file__).parent / "model"
END = "<|end|>"


def tokens(text: str) -> list[str]:
    """How the pocket model reads a text: its tokens, and the end token that a finished completion closes with.

    Plain Python, as the `tokenizers` package does it, which a web page does not have. A character of several tokens
    stands with the first of them.

    >>> tokens("The harbour!")
    ['The', ' h', 'ar', 'b', 'ou', 'r', '!', '<|end|>']
    """
    special, ranks = _tokenizer()
    pieces = []
    for i, part in enumerate(special.split(text)):
        if i % 2:  # a special token, written out
            pieces.append(part)
            continue
        for word in _words(part):
            position = 0
            for token in _merged(word, ranks):
                begun = sum(byte & 0xC0 != 0x80 for byte in token)  # other bytes go on with a character
                pieces.append(word[position : position + begun])
                position += begun
    return [*pieces, END]


# GPT-2's pattern behind a split at every digit, for characters as `_kind` names them; `re` knows no \p{L}.
_CONTRACTION = re.compile("'(?:[stmd]|re|ve|ll)")
_WORD = re.compile("N| ?L+| ?O+|[ W]+(?![LO])|[ W]+")
_WHITE = frozenset("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B))))


def _kind(character: str) -> str:
    """L: letter, N: digit or number, W: white space, which a space is, too, under its own name; O: all others."""
    if character in _WHITE:
        return " " if character == " " else "W"
    kind = unicodedata.category(character)[0]
    return kind if kind in "LN" else "O"


def _words(text: str) -> list[str]:
    """The pieces of a text that are cut into tokens each on its own.

    >>> _words("It's 12  o'clock")
    ['It', "'s", ' ', '1', '2', ' ', ' o', "'", 'clock']
    """
    kinds, words, position = "".join(map(_kind, text)), [], 0
    while position < len(text):
        end = (_CONTRACTION.match(text, position) or _WORD.match(kinds, position)).end()
        words.append(text[position:end])
        position = end
    return words


def _merged(word: str, ranks: dict[tuple[bytes, bytes], int]) -> list[bytes]:
    """Byte-pair encoding: the pair that was learnt first is merged wherever it stands, until none is left."""
    parts = [bytes([byte]) for byte in word.encode(errors="replace")]
    while pairs := ranks.keys() & set(pairwise(parts)):
        best, merged = min(pairs, key=ranks.get), []
        for part in parts:
            if merged and (merged[-1], part) == best:
                merged[-1] += part
            else:
                merged.append(part)
        parts = merged
    return parts


@lru_cache(maxsize=1)
def _tokenizer() -> tuple[re.Pattern, dict[tuple[bytes, bytes], int]]:
    """The special tokens, as a pattern, and the rank of each merge, of the model's `tokenizer.json`."""
    file = json.loads(here.read("public/pocket/tokenizer.json", PATH / "tokenizer.json"))
    special = "|".join(re.escape(token["content"]) for token in file["added_tokens"])
    # Byte-level: every byte is written as a character that can be seen, the others from 256 on, in their order.
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    unseen = [byte for byte in range(256) if byte not in seen]
    byte_of = {chr(byte): byte for byte in seen} | {chr(256 + i): byte for i, byte in enumerate(unseen)}

    def read(piece: str) -> bytes:
        return bytes(byte_of[character] for character in piece)

    return re.compile(f"({special})"), {(read(a), read(b)): i for i, (a, b) in enumerate(file["model"]["merges"])}
