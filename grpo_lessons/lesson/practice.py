"""Exercises: where a reader writes a function, and what there is to say to it; and how code is shown where cells are hidden."""

import inspect
import json
import linecache
import re
import sys
from collections.abc import Callable
from functools import partial, wraps

import marimo as mo

from grpo_lessons import here
from grpo_lessons.exercises import Case, first_mistake
from grpo_lessons.lesson.lexicon import POCKET
from grpo_lessons.lesson.memory import keep, recall
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.words import show

MOST_STEPS = 300_000  # instructions that a visitor's code may run in one call: a second or two in a page


def before_you_begin(opened: Opened) -> str:
    """What the model is; and in the edit view, where code stands between the prose: that there is another one."""
    shown = opened.has_bar and opened.is_own
    hint = "*Ctrl + . (on a Mac ⌘ + .) leads from the cells to the lesson alone, and back.*\n" if shown else ""
    bar = (
        "*Step by step*, over the lesson, shows one station at a time and hides what is ahead.\n"
        if opened.has_bar
        else ""
    )
    return hint + bar + POCKET


class Exercises(mo.ui.dictionary):
    """The exercises of a lesson, by the functions that a reader is to mend. In marimo it must be a variable of the notebook.

    Where there are no cells to write in, but Python of the visitor's own (a page), it holds a box for each; its value is
    what stands in them.

    Args:
        opened: how the lesson was opened.
        functions: in their order.
        trained: the one of them that is a reward to train with.
        train: what is called with it, as the reader has written it, by a button under its verdict.
    """

    def __init__(
        self, opened: Opened, *functions: Callable, trained: Callable | None = None, train: Callable = lambda _: None
    ):
        self.opened, self.trained = opened, trained
        self._verdicts: dict[str, tuple[str | None, mo.Html]] = {}  # by the function's name: what was judged, and how
        here = functions if opened.writes == "box" else ()
        boxes = {each.__name__: self._box(each) for each in here}
        if trained and opened.writes != "nowhere":
            boxes["train"] = mo.ui.button(
                label="Train with it", on_click=lambda _: train(written(trained, self.value.get(trained.__name__)))
            )
        super().__init__(boxes)

    def _box(self, function: Callable) -> mo.ui.code_editor:
        """A box with what was written in it last, else with the function as it stands."""
        kept = recall(self.opened, function.__name__) or ""
        code = kept if kept.strip() else code_of(function, self.opened)
        return mo.ui.code_editor(code, language="python", min_height=120)

    @property
    def where(self) -> str:
        """How the exercises are done, in this way of opening the lesson."""
        nowhere = f"A server runs nobody's code: find what is wrong by reading, and mend it on your own machine, with `marimo edit grpo_{self.opened.lesson}.py`"
        if self.opened.seat and self.opened.seat.site:
            nowhere += f", or at once in [this lesson's web page]({self.opened.seat.site}/{self.opened.lesson}.html)"
        return {
            "box": "Write your answer in the box, click beside it, and the verdict stands below. It runs here, in your browser. What you wrote is there again when you come back; empty the box and load the page anew for the code as it was.",
            "cell": "Write your answer in the cell and run it (Ctrl+Enter); the verdict stands below it, and marimo saves what you wrote in the notebook. (Ctrl + . shows the cells, if you do not see them.)",
            "nowhere": f"{nowhere}.",
        }[self.opened.writes]

    def ask(self, function: Callable, words: str) -> mo.Html:
        """What is asked for, over the box to write in, or where there is neither box nor cell, over the function as it stands."""
        name = function.__name__
        return show(words, self[name] if name in self.elements else shown_code(self.opened, function))

    def verdict(
        self, function: Callable, asked: Callable[[Callable], Callable] = lambda theirs: theirs
    ) -> mo.Html | None:
        """The callout under an exercise; nothing where there is nowhere to write.

        `asked`: what the cases are put to, made of the reader's function, if not the function itself.
        """
        if self.opened.writes == "nowhere":
            return None
        name = function.__name__
        code = self.value.get(name)
        if (
            name not in self._verdicts or self._verdicts[name][0] != code
        ):  # its cell runs at every step of a training, too
            self._verdicts[name] = code, self._judged(function, code, asked)
        said = self._verdicts[name][1]
        if function is not self.trained or "train" not in self.elements:
            return said
        return show(said, self["train"], "Right or not: **what does the model make of it?**")

    def _judged(self, function: Callable, code: str | None, asked: Callable[[Callable], Callable]) -> mo.Html:
        name = function.__name__
        mistake = first_mistake(asked(written(function, code)), cases(self.opened.lesson, name))
        if name in self.elements:  # not before: code that never ends would be there again when the page is loaded anew
            keep(self.opened, name, code if code != code_of(function, self.opened) else None)
        if mistake is not None:
            return mo.callout(mo.md("**Not yet.** " + mistake.replace("<", "&lt;")), kind="warn")
        return mo.callout(mo.md("**Right.** All cases pass."), kind="success")


def shown_code(opened: Opened, *things: object) -> mo.Html | None:
    """The code of cells that a reader should see, where they are hidden."""
    code = "\n\n".join(code_of(thing, opened) for thing in things)
    return mo.md(f"```python\n{code}\n```") if opened.hides_code else None


def code_of(thing: object, opened: Opened) -> str:
    """The code of a function or class of a notebook; how marimo stores it is of no interest."""
    if inspect.isclass(thing) and not opened.has_disk:
        # inspect would look in the notebook's file, at the line that the class has in its cell. The methods know their
        # cell; those that a dataclass has made have no file.
        files = [each.__code__.co_filename for each in vars(thing).values() if inspect.isfunction(each)]
        return "".join(next(lines for lines in map(linecache.getlines, files) if lines))
    return re.sub(r"^@app\..*\n", "", inspect.getsource(thing))


def source(*functions: Callable) -> str:
    """The code of functions without their docstrings, as a block of Markdown."""
    code = "\n\n".join(
        re.sub(r'\n\s*""".*?"""', "", inspect.cleandoc("\n" + inspect.getsource(each)), count=1, flags=re.DOTALL)
        for each in functions
    )
    return f"```python\n{code}\n```"


def cases(lesson: str, name: str) -> list[Case]:
    """The cases of an exercise's function, from `notebooks/cases/LESSON.json`.

    >>> cases("math", "my_final_answer")[0]
    Case(arguments={'text': 'It is 95'}, expected='95', why='the last number')
    """
    rows = json.loads(here.read(f"cases/{lesson}.json"))[name]
    return [Case(row["given"], row["expected"], row["why"]) for row in rows]


def table(name: str) -> list | dict:
    """What a lesson shows as a table, from `notebooks/cases/NAME.json`: rows, or what each text is.

    >>> table("places")["It is 95."]
    'one number, at the end'
    """
    return json.loads(here.read(f"cases/{name}.json"))


def written(function: Callable, code: str | None) -> Callable:
    """The exercise's function as it stands in its cell, or in a box; code that cannot be run raises when called.

    >>> written(len, None) is len
    True
    """
    if code is None:
        return function
    name, names = function.__name__, dict(function.__globals__)
    del names[name]
    try:
        _bounded(exec, code, names)
        if not callable(names.get(name)):
            raise NameError(f"your code defines no function {name}")
        theirs = names[name]

        @wraps(theirs)  # a reward is asked for its name, and for what it takes
        def bounded(*args, **kwargs):
            return _bounded(theirs, *args, **kwargs)

        return bounded
    except Exception as error:  # the reader's code: the verdict says what is wrong with it
        return partial(_raise, error)


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
