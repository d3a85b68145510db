"""The pocket model: about a million parameters, trained from scratch by `python -m grpo_lessons.pocket.build`."""

from functools import lru_cache
from pathlib import Path

PATH = Path(__file__).parent / "model"
END = "<|end|>"


def tokens(text: str) -> list[str]:
    """How the pocket model reads a text: its tokens, and the end token that a finished completion closes with.

    Torch is not needed, the `tokenizers` package is. A character of several tokens stands with the first of them.

    >>> tokens("The harbour!")
    ['The', ' h', 'ar', 'b', 'ou', 'r', '!', '<|end|>']
    """
    pieces, position = [], 0
    for start, end in _tokenizer().encode(text, add_special_tokens=False).offsets:
        pieces.append(text[max(start, position) : end])
        position = end
    return [*pieces, END]


@lru_cache(maxsize=1)
def _tokenizer():
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(PATH / "tokenizer.json"))
