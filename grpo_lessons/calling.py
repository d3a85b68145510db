"""How TRL calls a reward, and what it takes for an answer: numbers of any library, None, NaN; functions, objects, coroutines."""

import functools
import inspect
import math
import os
import re
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from grpo_lessons.rewards import Reward, reward_name
from grpo_lessons.runs import Completion, Evaluation
from grpo_lessons.text import completion_text, counted, question

# What TRL 1.16 passes besides the columns of the data set.
PASSED = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric")


def is_async(reward: Reward) -> bool:
    """Whether calling a reward gives a coroutine: an `async def`, a partial of one, or an object whose `__call__` is one.

    >>> async def judged(completions, **kwargs): return [1.0 for _ in completions]
    >>> is_async(judged), is_async(functools.partial(judged)), is_async(len)
    (True, True, False)
    """
    while isinstance(reward, functools.partial):
        reward = reward.func
    return inspect.iscoroutinefunction(reward) or inspect.iscoroutinefunction(type(reward).__call__)


OURS = ("opened_thought",)  # columns that a session adds for the course's own rewards
PATIENCE = 5  # seconds in which the reply is looked for that a reward fails on
# What Python says where a completion, which is a list of messages, or a message, a dict, is taken for a string.
NO_STRING = re.compile(
    r"'(list|dict)' object has no attribute|(got|not) ['\"]?(list|dict)\b|unhashable type: '(list|dict)'"
    r"|list indices must be integers or slices, not str"
)
MESSAGES = 'Was a completion taken for a string? It is a list of one message: its text is `completion[0]["content"]`.'


class RewardFailed(ValueError):
    """A reward raised something, or returned what is no number for each reply; its words name it, and the mend."""


@contextmanager
def named(reward: Reward, asked: Mapping | None = None) -> Iterator[None]:
    """Whatever goes wrong inside is said with the reward's name: a traceback through three libraries hides it.

    `asked`: the columns that it was asked with, to find the reply that it fails on.

    >>> with named(len): as_scores(["1.0"], 1)
    Traceback (most recent call last):
    grpo_lessons.calling.RewardFailed: The reward `len` failed. It returned '1.0' among its scores: expected numbers, or None for no say. Return float('1.0').
    """
    try:
        yield
    except RewardFailed:
        raise
    except Exception as error:  # the reader's own code may raise anything
        whose = _whose(reward, asked or {}, error)
        raise RewardFailed(f"The reward `{reward_name(reward)}` failed{whose}. {in_words(error)}") from error


def in_words(error: Exception) -> str:
    """What a reward raised, in a sentence, the line of the reader's code that did, and a hint; our own words as they are.

    >>> in_words(KeyError("gold")), in_words(ZeroDivisionError("division by zero."))
    ("KeyError: 'gold'.", 'ZeroDivisionError: division by zero.')
    """
    text = " ".join(str(error).split())[:300]
    more = ""
    if not _is_ours(error):
        more = _line(error) + (f" {MESSAGES}" if NO_STRING.search(text) else "")
        text = f"{type(error).__name__}: {text or 'no further word'}"
    return f"{text if text.endswith(('.', '…')) else f'{text}.'}{more}"


def _is_ours(error: Exception) -> bool:
    return str(error).startswith(("It returned", "The reward `"))


def _line(error: Exception) -> str:
    """The last line of the reader's own code that an error has come through, if any."""
    libraries = os.path.dirname(os.__file__), os.path.dirname(__file__), "<frozen"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(libraries) and "site-packages" not in frame.filename:
            return f" In line {frame.lineno}{f': `{frame.line[:120]}`' if frame.line else ''}."
    return ""


def _whose(reward: Reward, asked: Mapping, error: Exception) -> str:
    """On which reply a reward fails, asked about one after another; nothing if it does on all, or it cannot be told soon."""
    count, until = len(asked.get("completions", ())), time.monotonic() + PATIENCE
    failing, some_pass = None, False
    for at in range(0 if _is_ours(error) else count):
        each = slice(at, at + 1)
        alone = {
            name: value[each] if isinstance(value, (list, tuple)) and len(value) == count else value
            for name, value in asked.items()
        }
        try:
            ask(reward, **alone)
            some_pass = True
        except Exception as again:  # the reader's own code may raise anything
            if failing is None and type(again) is type(error):
                failing = completion_text(asked["completions"][at])
        if failing is not None and some_pass:
            text = " ".join(failing.split())
            return f" on the reply “{text[:80]}{'…' * (len(text) > 80)}”" if text else " on an empty reply"
        if time.monotonic() > until:
            break
    return ""


def as_scores(said: Iterable, count: int) -> list[float | None]:
    """What a reward returned for `count` replies as plain numbers: scalars and arrays of numpy and torch are, and NaN is None, as in TRL.

    >>> as_scores([1, True, None, float("nan")], 4), as_scores((len(text) for text in ["four", "seven"]), 2)
    ([1.0, 1.0, None, None], [4.0, 5.0])

    Raises: TypeError or ValueError that says what was returned, for what is no list of so many numbers: TRL would end there,
    or take it for something else.
    """
    if (
        isinstance(said, (str, bytes, Mapping, Set))
        or not isinstance(said, Iterable)
        or getattr(said, "shape", None) == ()
    ):
        raise TypeError(f"It returned {_brief(said)}: expected a list, a number (or None) for each reply.{_mend(said)}")
    scores = [_score(each) for each in said]
    if len(scores) != count:
        raise ValueError(
            f"It returned {counted(len(scores), 'score')} for {counted(count, 'reply', 'replies')}: expected one for each, in their order."
        )
    return [None if score is None or math.isnan(score) else score for score in scores]


def _score(said) -> float | None:
    if said is None:
        return None
    # float("1.0") is a number in Python; in torch, which TRL asks, it is not, nor is a list of one.
    is_one = not isinstance(said, (str, bytes)) and getattr(said, "shape", ()) == ()
    try:
        score = float(said) if is_one else None
    except (TypeError, ValueError, OverflowError):
        score = None
    if score is None or math.isinf(score):
        kind = "numbers" if score is None else "finite numbers"
        raise TypeError(
            f"It returned {_brief(said)} among its scores: expected {kind}, or None for no say.{_mend(said, alone=False)}"
        )
    return score


def _mend(said, alone: bool = True) -> str:
    """What to return instead, where that can be told."""
    if said is None:
        return " Is there a `return` in it?"
    if isinstance(said, Mapping):
        return " Return a list of its values, in the order of the replies." if alone else " Return one of its values."
    if isinstance(said, Set):
        return " A set forgets their order, and what is there twice."
    if alone:
        return " Return [… for completion in completions]."
    if isinstance(said, (str, bytes)):
        try:
            float(said)
        except ValueError:
            return ""
        return f" Return float({_brief(said)})."
    if isinstance(said, Iterable):
        return " Return [1.0, 0.0], not [[1.0], [0.0]]."
    return ""


def _brief(said) -> str:
    text = repr(said)
    return text if len(text) <= 60 else f"{text[:60]}…"


def ask(reward: Reward, /, **columns) -> list[float | None]:
    """Call a reward outside a training as TRL calls it in one; what it logs goes nowhere.

    >>> async def judged(completions, log_metric, **kwargs): return [float(len(text)) for text in completions]
    >>> ask(judged, completions=["four", "seven"])
    [4.0, 5.0]

    Raises: as `as_scores`; what the reward raises comes through.
    """
    count = len(columns["completions"])
    nowhere = {"trainer_state": None, "log_extra": lambda *_: None, "log_metric": lambda *_: None}
    nowhere["prompts"] = nowhere["completion_ids"] = [None] * count
    passed = {name: value for name, value in nowhere.items() if _takes(reward, name)} | columns
    if not is_async(reward):
        return as_scores(reward(**passed), count)
    import asyncio  # a tenth of a second, which few rewards need
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:  # a notebook has a loop of its own running in this one
        return as_scores(thread.submit(lambda: asyncio.run(reward(**passed))).result(), count)


def ask_by_name(reward: Reward, **columns) -> list[float | None]:
    """The same in a training. Raises: RewardFailed with the reward's name, whatever it is that goes wrong."""
    with named(reward, columns):
        return ask(reward, **columns)


def columns(
    rows: Sequence[Mapping], completions: Sequence, completion_ids: Sequence, each: int = 1
) -> dict[str, Sequence]:
    """What TRL passes to a reward of `each` replies to every row: an entry for each reply, of every column of the data set, too.

    >>> columns([{"prompt": "1 + 1?", "answer": "2"}], ["2", "3"], [[7, 1], [8, 1]], each=2)["answer"]
    ['2', '2']
    """
    repeated = [row for row in rows for _ in range(each)]
    own = {name: [row[name] for row in repeated] for name in rows[0] if name != "prompt"}
    prompts = [row["prompt"] for row in repeated]
    return own | {"prompts": prompts, "completions": completions, "completion_ids": completion_ids}


def evaluated(rewards: Sequence[Reward], rows: Sequence[Mapping], completions: Sequence, ids: Sequence) -> Evaluation:
    """One reply to each row, as text or as a conversation and in tokens, scored by all rewards."""
    said = columns(rows, completions, ids)
    scores = {reward_name(reward): ask_by_name(reward, **said) for reward in rewards}
    return Evaluation(
        prompts=[question(prompt) for prompt in said["prompts"]],
        completions=[
            Completion(completion_text(completion), len(ids[i]), {name: scores[name][i] for name in scores})
            for i, completion in enumerate(completions)
        ],
    )


def load_reward(where: str) -> Reward:
    """A reward by its place: "my_rewards.py:my_reward" for a function of a file, or a dotted name of an installed module.

    >>> load_reward("grpo_lessons.rewards.format_reward").__name__
    'format_reward'

    Raises: ValueError that says what is there; what the file itself raises comes through.
    """
    file, _, name = where.strip().rpartition(":")
    if file:
        path = Path(file).expanduser()
        if not path.is_file():
            raise ValueError(f"{where!r}: there is no file `{file}`. Expected such as my_rewards.py:my_reward.")
        spec = spec_from_file_location(f"_reward_of_{path.stem}", path)
        if spec is None:
            raise ValueError(f"{where!r}: expected a Python file, such as my_rewards.py:my_reward.")
        module = sys.modules[spec.name] = module_from_spec(spec)  # a data class looks for its module while it is made
        try:
            spec.loader.exec_module(module)
        finally:
            del sys.modules[spec.name]  # so that a folder for `trl grpo` takes its source along
    else:
        file, _, name = where.strip().rpartition(".")
        try:
            module = import_module(file)
        except (ImportError, ValueError) as error:
            raise ValueError(f"{where!r}: {error}. Expected such as my_rewards.py:my_reward.") from None
    reward = getattr(module, name, None)
    if not callable(reward):
        there = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
        raise ValueError(f"{where!r}: `{file}` has no function {name!r}; it has {', '.join(there[:8]) or 'none'}.")
    return reward


def _takes(reward: Reward, name: str) -> bool:
    """Whether a reward asks for a parameter by its name; rewards of the course, called alone, must not be told more."""
    try:
        parameter = inspect.signature(reward).parameters.get(name)
    except (TypeError, ValueError):
        return False
    return parameter is not None and parameter.default is inspect.Parameter.empty


def complaint(reward: Reward, columns: Sequence[str]) -> str | None:
    """Why TRL could not call a reward on these columns of a data set, and the mend; None if it could.

    >>> def strict(completions): return [0.0 for _ in completions]
    >>> complaint(strict, ["prompt", "answer"])
    'The reward strict takes completions only, and TRL passes more (prompts, completion_ids, …). Add **kwargs to its parameters.'
    >>> def graded(completions, grade, **kwargs): return grade
    >>> complaint(graded, ["prompt", "answer"])
    "The reward graded asks for 'grade', and the data set has no such column: it has 'answer'."
    """
    try:
        signature = inspect.signature(reward)
    except (TypeError, ValueError):  # written in C: TRL's own call will tell
        return None
    own = [name for name in columns if name not in ("prompt", "completion", "completion_ids")]
    readers = [name for name in own if name not in OURS]
    named = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }
    for name, parameter in named.items():
        if parameter.default is inspect.Parameter.empty and name not in (*PASSED, *own):
            there = ", ".join(map(repr, sorted(readers))) or "none"
            return f"The reward {reward_name(reward)} asks for {name!r}, and the data set has no such column: it has {there}."
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
        return None
    missing = [name for name in (*PASSED, *own) if name not in named]
    if not missing:
        return None
    more = ", ".join(missing[:2]) + (", …" if len(missing) > 2 else "")
    return (
        f"The reward {reward_name(reward)} takes {', '.join(named) or 'nothing'} only, and TRL passes more ({more}). "
        "Add **kwargs to its parameters."
    )
