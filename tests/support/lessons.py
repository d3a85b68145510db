"""The lessons, and what their exercises say to a reader's functions."""

import importlib
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import replace

from grpo_lessons.lesson import Opened
from grpo_lessons.training import Settings

OWN = Opened(
    lesson="format",
    trains=True,
    engines=("TRL", "browser"),
    is_own=True,
    writes="cell",
    hides_code=False,
    has_disk=True,
    has_bar=False,
    is_alone=False,
    is_watched=False,
    has_notes=False,
    folder=None,
    models=("pocket",),
    model="pocket",
    options={},
    is_script=False,
    seat=None,
    most_steps=sys.maxsize,
    home="`grpo_{0}.py`",
)


def opened(**other) -> Opened:
    """A lesson as it stands on somebody's own machine, where nothing is written; or otherwise."""
    return replace(OWN, **{"said": {}} | other)


def load(name: str):
    """The notebook of a lesson, as a module."""
    return importlib.import_module(f"notebooks.grpo_{name}")


def alone(function: Callable) -> Callable:
    """A function of a notebook as it runs in a file of its own: nothing around it but Python's builtins."""
    code, names = re.sub(r"^@app\..*\n", "", inspect.getsource(function)), {}
    exec(code, names)
    return names[function.__name__]


def verdicts(lesson, **answers) -> list[str]:
    """The verdicts under the exercises, in their order, with functions put in the place of the reader's."""
    for name, function in answers.items():
        function.__name__ = name  # as in the cell that it stands for
    outputs, _ = lesson.app.run(defs=answers)
    texts = [output.text for output in outputs if hasattr(output, "text")]
    return [text for text in texts if "All cases pass" in text or "Not yet" in text]


def refusal(lesson, reward) -> str | None:
    """Why the lesson's training may not begin with the reward that its exercise ends in; None if it may."""
    return replace(lesson.plan(Settings()), rewards=[reward], choices={}).refusal
