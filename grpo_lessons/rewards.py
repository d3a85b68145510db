"""The rewards of the lessons, as TRL calls them: frozen settings, so that `repr` says exactly what was rewarded.

All take plain strings and conversations alike. A bad completion scores 0.0 (or the worst length), never an exception;
a bad setting or a bad gold answer is a ValueError.
"""

import inspect
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from random import Random

from grpo_lessons.answers import answer_column, as_shown, is_right, number, right_answers
from grpo_lessons.replies import final_answer
from grpo_lessons.text import completion_text, has_once, has_thought, question, read_blocks, with_opened_thought

Reward = Callable[..., list[float | None]]  # what TRL calls: one score, or None, for each completion

_TAG = re.compile(r"[A-Za-z][\w-]*")


def reward_name(reward: Reward) -> str:
    """The name under which TRL logs a reward: its `__name__`, that of the function in a partial, or that of its class.

    >>> reward_name(FormatReward()), reward_name(len), reward_name(partial(len))
    ('format_reward', 'len', 'len')
    """
    while isinstance(reward, partial):
        reward = reward.func
    return getattr(reward, "__name__", type(reward).__name__)


def describe(reward: Reward) -> str:
    """What a run's record says of a reward: its `repr`, for a function its name.

    >>> describe(FormatReward(("code", "explanation"))), describe(reward_name)
    ("FormatReward(tags=('code', 'explanation'))", 'reward_name')
    >>> describe(partial(reward_name, 3, size=2))
    'partial(reward_name, 3, size=2)'
    """
    if isinstance(reward, partial):
        given = [*map(repr, reward.args), *(f"{name}={value!r}" for name, value in reward.keywords.items())]
        return f"partial({', '.join([describe(reward.func), *given])})"
    return getattr(reward, "__qualname__", None) or repr(reward)


def code_of(reward: Reward) -> str:
    """The code of a function that somebody has written, as it stands; "" for a reward of the course's, whose `repr` tells all.

    >>> code_of(length_reward), code_of(len)
    ('', '')
    """
    while isinstance(reward, partial):
        reward = reward.func
    if not inspect.isfunction(reward) or reward.__module__.partition(".")[0] == __package__:
        return ""
    try:
        return re.sub(r"^@app\..*\n", "", inspect.getsource(reward)).strip()  # a cell of a notebook has no such line
    except (OSError, TypeError):
        return ""


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


def length_target(described: Sequence[str], otherwise: int = 30) -> int:
    """The target of a length reward, in tokens, among the rewards of a record (`Run.rewards`).

    `otherwise`: where none says it, as the reward of the length lesson's exercise.

    >>> length_target(["LengthReward(target=20, unit='tokens')"]), length_target(["my_length_reward"])
    (20, 30)
    """
    said = re.search(r"target=(\d+)", " ".join(described))
    return int(said[1]) if said else otherwise


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
        return [float(read_blocks(text, self.tags) is not None) for text in _texts(completions, kwargs)]


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
        return [sum(has_once(text, part) for part in parts) / len(parts) for text in _texts(completions, kwargs)]


@dataclass(frozen=True)
class AnswerReward:
    r"""1.0 when the final answer equals the row's right answer, by kind; else 0.0, and None where what is right has no value.

    Where the answer is looked for: `grpo_lessons.replies.final_answer`. How it is read and compared: `grpo_lessons.answers`.
    Numbers are compared exactly, as fractions (72 = 72.0, 1,234 = 1234, −5 = -5, 3/4 = 0.75 = \frac{3}{4}): where a number is
    right, a calculation with that value is not.

    Args:
        tolerance: how far a number may be off, in the answer's own units; 0 means equal.
        strict: accept the `<answer>` block only.
        column: the data set's column of right answers; "" looks for `answer`, `solution`, `ground_truth` and `target`.

    Example:
        >>> AnswerReward()(completions=["<answer>72.0</answer>", "It is 72.", "73"], answer=["72", "72", "72"])
        [1.0, 1.0, 0.0]
        >>> AnswerReward(strict=True)(completions=["It is 72."], solution=[72])
        [0.0]
        >>> AnswerReward()(completions=["(1, 2)", "72"], answer=[r"\left(1, 2\right)", None])
        [1.0, None]

    Raises:
        ValueError: for a negative tolerance, or without a column of right answers. A right answer that has no value never
            ends a training: it is said once and counted (`unreadable_answers`); `grpo_lessons.answers.check_answers` finds
            all of them before.
    """

    tolerance: float = 0
    strict: bool = False
    column: str = ""

    def __repr__(self) -> str:
        column = f", column={self.column!r}" if self.column else ""
        return f"AnswerReward(tolerance={self.tolerance!r}, strict={self.strict!r}{column})"

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
        if not isinstance(self.column, str):
            raise ValueError(f"column={self.column!r}: expected the name of a column, or '' to look for one.")

    def __call__(
        self,
        completions: Sequence,
        answer: Sequence | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns,
    ) -> list[float | None]:
        columns = {name: values for name, values in {"answer": answer, **columns}.items() if values is not None}
        texts, column = _texts(completions, columns), answer_column(columns, self.column)
        _check_length(column, columns[column], texts)
        scores = [self._score(text, gold) for text, gold in zip(texts, columns[column], strict=True)]
        if unreadable := [gold for gold, score in zip(columns[column], scores, strict=True) if score is None]:
            _say_once(column, as_shown(unreadable[0]))
        if log_metric and unreadable:
            log_metric("unreadable_answers", len(unreadable))
        return scores

    def _score(self, text: str, gold) -> float | None:
        expected = right_answers(gold)
        if not expected:
            return None
        found = final_answer(text, self.strict)
        if self.tolerance and expected[0].number is not None:
            value = number(found)
            return float(value is not None and abs(value - expected[0].number) <= Fraction(str(self.tolerance)))
        return float(is_right(found, gold))


@lru_cache(maxsize=64)
def _say_once(column: str, shown: str) -> None:
    warnings.warn(
        f"The right answer {shown} in the column {column!r} cannot be read, so its replies are paid neither 0 nor 1. "
        "grpo_lessons.answers.check_answers(rows) lists every such row.",
        stacklevel=4,
    )


@dataclass(frozen=True)
class ErringReward:
    """A judge that errs: what a 0/1 reward says, turned round with a given chance.

    The coin is made of the question, the reply and the seed. So a training can be repeated, and who asks twice about one
    reply hears the same error twice, as of a model that judges at temperature 0.

    Args:
        reward: that of a judge who does not err.
        chance: how often it is wrong, from 0, never, to 1, always. At 0.5 it says nothing.
        seed: another one errs elsewhere.

    Example:
        >>> judge = ErringReward(AnswerReward(), chance=0.5)
        >>> judge(completions=["72", "It is 72.", "73", "74"], answer=["72"] * 4)
        [0.0, 0.0, 0.0, 1.0]

    Raises: ValueError for a chance that is none, or where the reward says something else than 0, 1 or None.
    """

    reward: Reward
    chance: float = 0.1
    seed: int = 0

    @property
    def __name__(self) -> str:
        return f"erring_{reward_name(self.reward)}"

    def __post_init__(self):
        chance = self.chance
        if isinstance(chance, bool) or not isinstance(chance, (int, float)) or not 0 <= chance <= 1:
            raise ValueError(f"chance={chance!r}: expected a number from 0 to 1.")

    def __call__(self, completions: Sequence, prompts: Sequence | None = None, **columns) -> list[float | None]:
        texts = _texts(completions)
        asked = [question(each) if each else "" for each in prompts or [None] * len(texts)]
        _check_length("prompts", asked, texts)
        scores = self.reward(completions=completions, **({"prompts": prompts} if prompts else {}), **columns)
        if wrong := [score for score in scores if score not in (0, 1, None)]:
            raise ValueError(
                f"{reward_name(self.reward)} gave {wrong[0]}: only a verdict of 0 or 1 can be turned round."
            )
        return [
            1.0 - score if score is not None and self._errs(*each) else score
            for score, *each in zip(scores, asked, texts, strict=True)
        ]

    def _errs(self, asked: str, text: str) -> bool:
        return Random(f"{self.seed} {asked} {text}").random() < self.chance


def thinks(completions: Sequence, **kwargs) -> list[float]:
    """1.0 for a completion with a thought (`grpo_lessons.text.has_thought`). A judge: no lesson pays for it.

    >>> thinks(completions=["<think>40 + 2</think>42", "42"])
    [1.0, 0.0]
    """
    return [float(has_thought(text)) for text in _texts(completions, kwargs)]


def _texts(completions: Sequence, columns: dict | None = None) -> list[str]:
    """The completions' texts, each with the opening tag of its thought, where the prompt ended in it."""
    if isinstance(completions, (str, dict)) or not isinstance(completions, Sequence):
        raise ValueError(f"completions={str(completions)[:60]!r}: expected a list with one completion for each reward.")
    texts = [completion_text(completion) for completion in completions]
    return with_opened_thought(texts, columns) if columns else texts


def _check_length(name: str, column: Sequence, texts: list[str]) -> None:
    if isinstance(column, (str, dict)) or not hasattr(column, "__len__"):
        raise ValueError(f"{name}={str(column)[:60]!r}: expected a list with one entry for each completion.")
    if len(column) != len(texts):
        raise ValueError(f"{name} has {len(column)} entries for {len(texts)} completions: expected one for each.")


length_reward = LengthReward()
format_reward = FormatReward()
tag_reward = TagReward()
answer_reward = AnswerReward()
