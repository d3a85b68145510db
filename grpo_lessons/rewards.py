"""The rewards of the lessons, as TRL calls them: frozen settings, so that `repr` says exactly what was rewarded.

All take plain strings and conversations alike. A bad completion scores 0.0 (or the worst length), never an exception;
a bad setting or a bad gold answer is a ValueError.
"""

import logging
import math
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from numbers import Number

from grpo_lessons.text import (
    MOST_DIGITS,
    completion_text,
    final_answer,
    has_once,
    has_thought,
    number,
    read_blocks,
)

Reward = Callable[..., list[float | None]]  # what TRL calls: one score, or None, for each completion

_TAG = re.compile(r"[A-Za-z][\w-]*")


def reward_name(reward: Reward) -> str:
    """The name under which TRL logs a reward: its `__name__`, or that of its class.

    >>> reward_name(FormatReward()), reward_name(len)
    ('format_reward', 'len')
    """
    return getattr(reward, "__name__", type(reward).__name__)


def describe(reward: Reward) -> str:
    """What a run's record says of a reward: its `repr`, for a function its name.

    >>> describe(FormatReward(("code", "explanation"))), describe(reward_name)
    ("FormatReward(tags=('code', 'explanation'))", 'reward_name')
    """
    return getattr(reward, "__qualname__", None) or repr(reward)


@dataclass(frozen=True)
class LengthReward:
    """How close the length n of a completion is to a target: -|n - target| / target, and never below -1.

    Args:
        target: the wanted length, 1 or more.
        unit: "tokens", counted in `completion_ids` as TRL counts them (the end token is one), or "characters" of the text.

    Example:
        >>> LengthReward(target=20)(completions=["..."], completion_ids=[list(range(25))])
        [-0.25]
        >>> LengthReward(target=20, unit="characters")(completions=["twelve chars"])
        [-0.4]

    Raises:
        ValueError: for a bad target or unit, and for tokens without `completion_ids`: `len` of a string counts
            characters, `len` of a conversation counts messages and is always 1.
    """

    target: int = 20
    unit: str = "tokens"
    __name__ = "length_reward"

    def __post_init__(self):
        if isinstance(self.target, bool) or not isinstance(self.target, (int, float)) or not 1 <= self.target < 1e9:
            raise ValueError(f"target={self.target!r}: expected a length of 1 or more {self.unit}.")
        if self.unit not in ("tokens", "characters"):
            raise ValueError(f"unit={self.unit!r}: expected 'tokens' or 'characters'.")

    def __call__(self, completions: Sequence, completion_ids: Sequence | None = None, **kwargs) -> list[float]:
        texts = _texts(completions)
        if self.unit == "characters":
            lengths = [len(text) for text in texts]
        elif completion_ids is None:
            raise ValueError(
                "LengthReward(unit='tokens') needs completion_ids, which GRPOTrainer passes; "
                "pass them as well, or use unit='characters'."
            )
        else:
            _check_length("completion_ids", completion_ids, texts)
            lengths = [len(ids or ()) for ids in completion_ids]
        return [self.pays(n) for n in lengths]

    def pays(self, n: int) -> float:
        """The reward of a length in the reward's own unit, tokens or characters.

        >>> LengthReward(target=20).pays(25)
        -0.25
        """
        return max(-1.0, -abs(n - self.target) / self.target)


@dataclass(frozen=True)
class _Tagged:
    tags: tuple[str, ...] = ("think", "answer")

    def __post_init__(self):
        if isinstance(self.tags, str) or not isinstance(self.tags, Sequence) or not self.tags:
            raise ValueError(f"tags={self.tags!r}: expected a tuple of tag names, such as ('think', 'answer').")
        object.__setattr__(self, "tags", tuple(self.tags))
        for tag in self.tags:
            if not (isinstance(tag, str) and _TAG.fullmatch(tag)):
                raise ValueError(f"tag {tag!r}: expected a name of letters, digits, '-' or '_' without brackets.")
        if len(set(self.tags)) < len(self.tags):
            raise ValueError(f"tags={self.tags!r}: every tag may be named only once.")


@dataclass(frozen=True)
class FormatReward(_Tagged):
    """1.0 for a completion that is exactly the tagged blocks, in order; else 0.0.

    Each tag occurs once, only white space stands around and between the blocks, and every block has visible content.
    The same object writes the instruction for the prompt and reads a completion, so that the three cannot disagree.

    Example:
        >>> reward = FormatReward(("think", "answer"))
        >>> reward(completions=["<think>6 * 7</think><answer>42</answer>", "<think></think><answer>42</answer>", "42"])
        [1.0, 0.0, 0.0]
        >>> reward.instruction
        'Reply exactly as <think>…</think><answer>…</answer> and write nothing else.'
        >>> reward.read("<think>6 * 7</think><answer>42</answer>")["answer"]
        '42'

    Raises:
        ValueError: for tags that are not distinct names.

    Source: the format reward of DeepSeek-R1-Zero (arXiv 2501.12948, section 2.2.2), anchored at both ends.
    """

    __name__ = "format_reward"

    @property
    def instruction(self) -> str:
        """The sentence that asks for this format, to be put into a prompt."""
        return f"Reply exactly as {''.join(f'<{tag}>…</{tag}>' for tag in self.tags)} and write nothing else."

    def read(self, completion) -> dict[str, str] | None:
        """The content of each block by tag, or None where the reward is 0.0."""
        return read_blocks(completion_text(completion), self.tags)

    def __call__(self, completions: Sequence, **kwargs) -> list[float]:
        return [float(read_blocks(text, self.tags) is not None) for text in _texts(completions)]


@dataclass(frozen=True)
class TagReward(_Tagged):
    """The share of the 2n opening and closing tags that occur exactly once: a step on the way to the format.

    It looks at nothing else: neither order nor content. That makes it easy to earn a part of, and easy to fool.

    Example:
        >>> TagReward(("think", "answer"))(completions=["<think>6 * 7</think> 42", "</answer><answer></think><think>"])
        [0.5, 1.0]

    Raises:
        ValueError: for tags that are not distinct names.
    """

    __name__ = "tag_reward"

    def __call__(self, completions: Sequence, **kwargs) -> list[float]:
        parts = [f"<{slash}{tag}>" for tag in self.tags for slash in ("", "/")]
        return [sum(has_once(text, part) for part in parts) / len(parts) for text in _texts(completions)]


@dataclass(frozen=True)
class AnswerReward:
    """1.0 when the final answer equals the row's `answer` by value; else 0.0.

    Where the answer is looked for: `grpo_lessons.text.final_answer`. Numbers are compared exactly, as fractions
    (72 = 72.0, 1,234 = 1234, −5 = -5, 3/4 = 0.75 = \\frac{3}{4}): where a number is right, a formula with that value is not.
    A right answer that is a formula itself is compared by math-verify, if it is installed.

    Args:
        tolerance: how far the number may be off, in the answer's own units; 0 means equal.
        strict: accept the `<answer>` block only.

    Example:
        >>> AnswerReward()(completions=["<answer>72.0</answer>", "It is 72.", "73"], answer=["72", "72", "72"])
        [1.0, 1.0, 0.0]
        >>> AnswerReward(strict=True)(completions=["It is 72."], answer=[72])
        [0.0]

    Raises:
        ValueError: for a negative tolerance, a missing `answer` column, or a gold answer that has no value.
    """

    tolerance: float = 0
    strict: bool = False

    @property
    def __name__(self) -> str:
        """Two names, as strict and lenient accuracy are often logged side by side."""
        return "strict_answer_reward" if self.strict else "answer_reward"

    def __post_init__(self):
        tolerance = self.tolerance
        if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0 <= tolerance < float("inf"):
            raise ValueError(f"tolerance={tolerance!r}: expected a finite number, 0 or more.")
        if not isinstance(self.strict, bool):
            raise ValueError(f"strict={self.strict!r}: expected True or False.")

    def __call__(self, completions: Sequence, answer: Sequence | None = None, **kwargs) -> list[float]:
        texts = _texts(completions)
        if answer is None:
            raise ValueError("AnswerReward needs the dataset column 'answer', one gold answer for each completion.")
        _check_length("answer", answer, texts)
        return [float(self._is_right(text, gold)) for text, gold in zip(texts, answer, strict=True)]

    def _is_right(self, text: str, gold) -> bool:
        expected = gold_value(gold)
        found = final_answer(text, self.strict)
        if found is None:
            return False
        if isinstance(expected, Fraction):  # 12 + 45 + 38 is a question handed back, not the answer 95
            value = number(found)
            return value is not None and abs(value - expected) <= Fraction(str(self.tolerance))
        return _same_expression(found, str(gold))


def thinks(completions: Sequence, **kwargs) -> list[float]:
    """1.0 for a completion with a thought (`grpo_lessons.text.has_thought`). A judge: no lesson pays for it.

    >>> thinks(completions=["<think>40 + 2</think>42", "42"])
    [1.0, 0.0]
    """
    return [float(has_thought(text)) for text in _texts(completions)]


def gold_value(gold) -> Fraction | str:
    """The value of a gold answer: a number (text after `####` where there is one), or an expression for math-verify.

    >>> gold_value("The sum is 9 * 8.\\n#### 72"), gold_value(0.75)
    (Fraction(72, 1), Fraction(3, 4))

    Raises: ValueError for a gold answer that is neither.
    """
    scalar = isinstance(gold, (str, Number)) and not isinstance(gold, bool)
    huge = isinstance(gold, int) and abs(gold) >= 10**MOST_DIGITS  # str() of far larger ones raises
    text = str(gold).rpartition("####")[2].strip() if scalar and not huge else ""
    value = number(text)
    if value is None and not _parse(text):
        shown = f"an int of {gold.bit_length()} bits" if huge else repr(str(gold)[:80])
        raise ValueError(
            f"gold answer {shown}: expected a number such as 72, '1,234' or '3/4' "
            "(a small formula such as '\\sqrt{2}' needs math-verify installed)."
        )
    return text if value is None else value


# Sympy's objects share what is worked out of them, and two threads at once contradict each other.
_sympy = threading.Lock()


def _same_expression(found: str, gold: str) -> bool:
    given = _parse(found)  # first: most replies are no formula, and math-verify takes seconds to import
    expected = _parse(gold.rpartition("####")[2].strip()) if given else ()
    if not expected:
        return False
    from math_verify import verify

    with _sympy:
        return not _differ(expected[0], given[0]) and bool(
            verify(list(expected), list(given), float_rounding=12, timeout_seconds=None)
        )


def _differ(first, second) -> bool:
    """Whether two formulas have different values at one point: far quicker to tell than that they are equal."""
    try:
        point = {symbol: 1.37 + 0.21 * i for i, symbol in enumerate(sorted(first.free_symbols, key=str))}
        values = [complex(formula.evalf(15, subs=point)) for formula in (first, second)]
    except (AttributeError, TypeError, ValueError):  # not two formulas in the same variables
        return first != second
    return abs(values[0] - values[1]) > 1e-9 * max(1.0, abs(values[0]))


@lru_cache(maxsize=1024)
def _parse(text: str) -> tuple:
    """What math-verify reads in an expression, or () if it is not installed or the text is not tame."""
    if not _is_tame(text):
        return ()
    try:
        from math_verify import parse
    except ImportError:
        return ()
    # Its time limits use signals, which work in the main thread only (not in `marimo run`); _is_tame is our limit, and
    # its warning that limits are off would only frighten a reader.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    with _sympy:
        found = parse(f"\\boxed{{{text}}}", parsing_timeout=None)
        finite = [reading for reading in found if getattr(reading, "is_finite", None) is not False]
    return tuple(finite) if any(not isinstance(reading, str) for reading in finite) else ()


# What a formula may be made of: numbers of at most six digits, a few commands, operators, one-letter variables (not e
# and i, which are numbers), and exponents of one digit.
_TAME = re.compile(
    r"(?:\\(?:[dt]?frac|sqrt|pi|cdot|times|left|right)(?![A-Za-z])"
    r"|(?<![\w.])[0-9]{1,6}(?:\.[0-9]{1,6})?(?![\w.]*[.0-9eE])|\^(?:[0-9](?![0-9])|\{[0-9]\})"
    r"|(?<![A-Za-z])[a-df-hj-z](?![A-Za-z0-9])|[-+*/(){} ])+"
)


def _is_tame(text: str) -> bool:
    """Whether a text is a formula, and so small a one that a computer algebra system cannot spend long on it."""
    if len(text) > 40 or not _TAME.fullmatch(text) or "**" in text:
        return False
    letters = set(re.sub(r"\\[a-z]+", "", text)) & set("abcdefghijklmnopqrstuvwxyz")
    depth = deepest = 0
    for char in text:
        depth += (char in "({") - (char in ")}")
        deepest = max(deepest, depth)
    exponents = math.prod(max(1, int(digit)) for digit in re.findall(r"\^\{?([0-9])", text))
    return depth == 0 and deepest <= 3 and len(letters) <= 2 and exponents <= (4 if letters else 12)


def _texts(completions: Sequence) -> list[str]:
    if isinstance(completions, (str, dict)) or not isinstance(completions, Sequence):
        raise ValueError(f"completions={str(completions)[:60]!r}: expected a list with one completion for each reward.")
    return [completion_text(completion) for completion in completions]


def _check_length(name: str, column: Sequence, texts: list[str]) -> None:
    if isinstance(column, (str, dict)) or not hasattr(column, "__len__"):
        raise ValueError(f"{name}={str(column)[:60]!r}: expected a list with one entry for each completion.")
    if len(column) != len(texts):
        raise ValueError(f"{name} has {len(column)} entries for {len(texts)} completions: expected one for each.")


length_reward = LengthReward()
format_reward = FormatReward()
tag_reward = TagReward()
answer_reward = AnswerReward()
