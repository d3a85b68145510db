"""Checking a reader's function: run it on cases, and put the first thing that is wrong into words."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps

MOST_STEPS = 300_000  # instructions that code which cannot be ended may run in one call: a second or two in a page


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


def itself(theirs: Callable) -> Callable:
    """What the cases are put to: the reader's function."""
    return theirs


def prefers(reward: Callable) -> Callable:
    """What the cases are put to: whether a reader's reward pays more for the better of two.

    >>> prefers(lambda length, words: length + words)([-0.1, 1.0], [0.0, 0.2])
    True
    """
    return lambda better, worse: reward(*better) > reward(*worse)


ASKED = {each.__name__: each for each in (itself, prefers)}


def defined(name: str, code: str, names: Mapping) -> Callable:
    """The function of a name that a reader's code makes, and that finds `names` around it.

    >>> defined("double", "def double(x): return two * x", {"two": 2})(4)
    8

    Raises: NameError where there is none; what the code raises.
    """
    names = {**names, "input": _nobody_answers}
    names.pop(name, None)
    exec(code, names)
    if not callable(names.get(name)):
        raise NameError(f"your code defines no function {name}")
    return names[name]


def _nobody_answers(prompt: object = "") -> None:
    raise RuntimeError("input() waits for somebody to answer, and here nobody can: write the value into your code")


def written(function: Callable, code: str | None) -> Callable:
    """The exercise's function as it stands in its cell, or in a box; code that cannot be run raises when called.

    >>> written(len, None) is len
    True
    """
    if code is None:
        return function
    try:
        theirs = _bounded(defined, function.__name__, code, function.__globals__)

        @wraps(theirs)  # a reward is asked for its name, and for what it takes
        def bounded(*args, **kwargs):
            return _bounded(theirs, *args, **kwargs)

        return bounded
    except Exception as error:  # the reader's code: the verdict says what is wrong with it
        return partial(_raise, error)


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


def _raise(error: Exception, *ignored, **also_ignored) -> None:
    raise error


def _bounded(function: Callable, *args, **kwargs):
    """Call it, and end it where it takes too long: in a page an endless loop would leave Python dead for good."""
    steps = 0

    def watch(frame, event, arg):
        nonlocal steps
        frame.f_trace_opcodes = True  # a loop within one line is no new line
        steps += 1
        if steps > MOST_STEPS:
            raise TimeoutError(f"it takes more than {MOST_STEPS:,} steps: is there an endless loop?")
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        return function(*args, **kwargs)
    except SystemExit:
        raise RuntimeError("your code ends Python") from None
    finally:
        sys.settrace(before)
