r"""Answers with a kind: what a reply gives, what is right, and whether they are equal.

An answer is read into a number, percentage, mixed number, number with a unit, expression, list, set, tuple, interval, equation,
inequality, matrix, choice, time, date, ratio, range, number in a base, or word, and compared by its kind: exactly where
that is possible. A text with two readings is never silently another number; a hedge ("71 or 72") or a denial ("isn't 72") is
no answer.

    >>> is_right("\\frac{1}{2}", "0.5"), is_right("71 or 72", "72"), is_right("(1, 4.5)", r"\left(1, \frac92\right)")
    (True, False, True)
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from numbers import Number

from grpo_lessons.comparing import equal
from grpo_lessons.reading import DENIES, MOST_CHARACTERS, Answer, read, unwrapped, without_text
from grpo_lessons.text import boxed
from grpo_lessons.typography import plain

COLUMNS = ("answer", "solution", "ground_truth", "target")  # where data sets keep what is right, in the order we look


def number(text: str | None) -> Fraction | None:
    r"""The value of a text that gives one number, exactly; None if there is none, several, a formula, or no text.

    >>> [str(number(t)) for t in ("72.0", "1,234", "−5", "3/4", r"\frac{3}{4}", "$72", "40 + 32 = 72.", "72 or 73")]
    ['72', '1234', '-5', '3/4', '3/4', '72', '72', 'None']
    """
    return next((answer.number for answer in read(text or "") if answer.number is not None), None)


def right_answers(gold) -> tuple[Answer, ...]:
    r"""How the answer of a data set's row is read; () if it has no value.

    Text after the last `####`, the last `\boxed{}`, or the text itself; a number; a list, of which any is right.

    >>> right_answers("The sum is 9 * 8.\n#### 72")[0].number, right_answers(0.75)[0].number, right_answers(None)
    (Fraction(72, 1), Fraction(3, 4), ())
    """
    if isinstance(gold, (list, tuple)) or (hasattr(gold, "tolist") and getattr(gold, "ndim", 0)):
        return tuple(answer for each in list(gold)[:20] for answer in right_answers(each))
    return read(_gold_text(gold), True)


def _gold_text(gold) -> str:
    if isinstance(gold, int) and not isinstance(gold, bool) and abs(gold) >= 10**MOST_CHARACTERS:
        return ""  # str() of far larger ones raises
    if not isinstance(gold, (str, Number)) and not hasattr(gold, "item"):
        return ""
    if isinstance(gold, float) and not math.isfinite(gold):
        return ""
    text = str(gold)
    return text.rpartition("####")[2].strip() if "####" in text else boxed(text) or text


NOTHING = frozenset("- -- – — ? n/a n.a. na none null nan nil unknown tbd".split())
OFTEN = 0.05  # a share of a column of words from which on such a word is one of its classes


def placeholders(golds: Iterable) -> frozenset[str]:
    """Which of the texts that stand where somebody knew no answer, such as n/a, are no answers in this column.

    All of them where the others are numbers. Among words one that occurs often may be a class, and is left an answer.

    >>> sorted(placeholders(["72", "n/a", "1/2", "None"])), sorted(placeholders(["yes", "no", "unknown", "no"]))
    (['n/a', 'none'], [])
    """
    golds, said = list(golds), Counter()
    for gold in golds:
        if (text := _bare(gold)) in NOTHING:
            said[text] += 1
    if not said:
        return frozenset()
    others = [gold for gold in golds if _bare(gold) not in NOTHING]
    read_as = [found for gold in others[:: 1 + len(others) // 200] if (found := right_answers(gold))]
    if 2 * sum(any(each.number is not None for each in found) for found in read_as) >= len(read_as):
        return frozenset(said)
    return frozenset(text for text, n in said.items() if n < OFTEN * len(golds))


def is_placeholder(gold, of: frozenset[str]) -> bool:
    """Whether a right answer is one of those texts, in whatever case."""
    return _bare(gold) in of


def _bare(gold) -> str | None:
    return gold.strip().casefold() if isinstance(gold, str) else None


def is_right(given: str | None, gold) -> bool:
    r"""Whether the text of an answer is right: by kind, or, where that fails, letter by letter.

    >>> is_right("28%", "28"), is_right("6xy", "6"), is_right("$18.00", "18"), is_right("10-12", 12)
    (True, False, True, False)
    """
    if given is None:
        return False
    found, expected = read(given), right_answers(gold)
    if any(equal(right, answer) for right in expected for answer in found):
        return True
    if not any(right.kind == "word" for right in expected):
        return False
    text = _gold_text(gold)
    one, other = _letters(given), _letters(text)
    return bool(one) and one == other and bool(found or not DENIES.search(given) or DENIES.search(text))


def _letters(text: str) -> str:
    text = without_text(unwrapped(plain(text[:MOST_CHARACTERS])))
    return re.sub(r"\$|(?<![0-9])\s|\s(?![0-9])", "", re.sub(r"\{([^{}\\])\}", r"\1", text)).casefold()


def answer_column(columns: Iterable[str], named: str = "") -> str:
    """The column of right answers: the named one, or the first of `COLUMNS` that is there.

    >>> answer_column(["prompt", "solution"])
    'solution'

    Raises: ValueError, with the columns that are there, if there is none.
    """
    columns = sorted(columns)
    for name in (named,) if named else COLUMNS:
        if name in columns:
            return name
    wanted = repr(named) if named else ", ".join(map(repr, COLUMNS))
    given = ", ".join(repr(name) for name in columns if name not in _NO_DATA) or "none"
    raise ValueError(
        f"The right answers are looked for in the column {wanted}; the data have {given}. "
        "Rename a column, or name it: AnswerReward(column='…')."
    )


_NO_DATA = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric", "environments")


def as_shown(gold) -> str:
    """A right answer as it stands in the data, not longer than a line: the end of a text, for it stands there."""
    if isinstance(gold, int) and abs(gold) >= 10**MOST_CHARACTERS:
        return f"a number of {gold.bit_length():,} bits"
    if not isinstance(gold, str):
        return str(gold)[:60]
    text = " ".join(gold.split())
    return f"'{text}'" if len(text) <= 60 else f"'…{text[-60:]}'"


@dataclass(frozen=True)
class CheckedAnswers:
    """What `check_answers` found.

    Attributes:
        column: the column that was read.
        kinds: how many rows are read as what, such as {"number": 1319}.
        unreadable: (row, text) of every right answer that has no value; rows count from 1, as a reader counts.
        examples: for each kind, the first row, its text, and how it is read.
    """

    column: str
    kinds: dict[str, int]
    unreadable: list[tuple[int, str]]
    examples: dict[str, tuple[int, str, str]]

    def __str__(self) -> str:
        total = sum(self.kinds.values()) + len(self.unreadable)
        lines = [f"{total:,} right answers in the column {self.column!r}."]
        lines += [
            f"- {n:,} as {kind}, such as {text}, read as {shown}"
            for kind, n in self.kinds.items()
            for _, text, shown in (self.examples[kind],)
        ]
        if self.unreadable:
            lines.append(f"- {len(self.unreadable):,} have no value; no reply to them can be paid:")
            lines += [f"  row {row}, {self.column}={text}" for row, text in self.unreadable[:20]]
            lines += [f"  and {len(self.unreadable) - 20:,} more"] if len(self.unreadable) > 20 else []
        return "\n".join(lines)

    @property
    def warning(self) -> str:
        """One line on what cannot be read; "" if all can."""
        if not self.unreadable:
            return ""
        row, text = self.unreadable[0]
        return (
            f"{len(self.unreadable):,} right answers have no value, such as row {row}, {self.column}={text}: "
            "their groups are paid nothing and teach nothing."
        )


def check_answers(rows: Iterable[Mapping], column: str = "") -> CheckedAnswers:
    """How the right answers of a data set are read, and which have no value: to be asked before anything is paid.

    Args:
        rows: the data set, or a list of rows.
        column: where the right answers stand; "" looks for `COLUMNS`.

    >>> print(check_answers([{"answer": "72"}, {"answer": "(1, 2)"}, {"answer": None}]))
    3 right answers in the column 'answer'.
    - 1 as number, such as '72', read as 72
    - 1 as tuple, such as '(1, 2)', read as (1, 2)
    - 1 have no value; no reply to them can be paid:
      row 3, answer=None

    Raises: ValueError without such a column.
    """
    kinds: dict[str, int] = {}
    unreadable, examples = [], {}
    golds = []
    for row in rows:
        column = column if golds else answer_column(row, column)
        golds.append(row.get(column))
    nothing = placeholders(golds)
    for at, gold in enumerate(golds, 1):
        found = () if is_placeholder(gold, nothing) else right_answers(gold)
        short = as_shown(gold)
        if not found:
            unreadable.append((at, short))
            continue
        kinds[found[0].kind] = kinds.get(found[0].kind, 0) + 1
        examples.setdefault(found[0].kind, (at, short, str(found[0])))
    return CheckedAnswers(
        column or COLUMNS[0], dict(sorted(kinds.items(), key=lambda item: -item[1])), unreadable, examples
    )
