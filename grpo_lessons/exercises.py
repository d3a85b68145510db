"""Checking a reader's function: run it on cases, and put the first thing that is wrong into words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One call of the reader's function: what goes in, what should come out, and why."""

    arguments: dict
    expected: object
    why: str


def first_mistake(function: Callable, cases: Sequence[Case]) -> str | None:
    """What is wrong with the first case that fails, in words, or None if all pass.

    Numbers count as equal within 0.005, also inside lists.

    >>> first_mistake(lambda x: x + 1, [Case({"x": 1}, 2, "one more")]) is None
    True
    >>> first_mistake(lambda x: x / 2, [Case({"x": 16}, 8, "half of it")]) is None
    True
    >>> first_mistake(lambda x: x, [Case({"x": 1}, 2, "one more")])
    'For x=1 it returned 1, but 2 is right: one more.'
    """
    for case in cases:
        call = ", ".join(f"{name}={_brief(value)}" for name, value in case.arguments.items())
        try:
            result = function(**case.arguments)
        except Exception as error:  # the reader's own code may raise anything; that is what we are here to tell
            return f"For {call} it raised {type(error).__name__}: {error}. Expected {case.expected!r}: {case.why}."
        if not _equal(result, case.expected):
            return f"For {call} it returned {result!r}, but {case.expected!r} is right: {case.why}."
    return None


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:60]}…"


def _equal(result: object, expected: object) -> bool:
    if isinstance(expected, list):
        same_shape = isinstance(result, (list, tuple)) and len(result) == len(expected)
        return same_shape and all(map(_equal, result, expected))
    if isinstance(expected, (int, float)) and not isinstance(expected, bool):  # a number is a number: 8.0 for 8
        return isinstance(result, (int, float)) and not isinstance(result, bool) and abs(result - expected) < 0.005
    return type(result) is type(expected) and result == expected
