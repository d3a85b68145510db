"""Exercises: where a reader writes a function, and what there is to say to it; and how code is shown where cells are hidden."""

import inspect
import json
import linecache
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from html import escape

import marimo as mo

from grpo_lessons import here
from grpo_lessons.apart import packed
from grpo_lessons.exercises import Case, first_mistake, itself, written
from grpo_lessons.lesson.in_browser import in_thread
from grpo_lessons.lesson.lexicon import POCKET
from grpo_lessons.lesson.memory import keep, recall
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.second_python import CannotStart, ReadersReward, second_python
from grpo_lessons.lesson.words import show


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


@dataclass(frozen=True)
class Try:
    """One try of what a reader has written.

    Args:
        number: which of the exercise's it is; 0 for the function as it stood.
        code: what was tried.
        state: "right", "wrong", or while it is under way "waiting", "starting" or "trying".
        words: what is wrong.
        printed: what the code printed.
        seconds: for how long it is under way.
    """

    number: int
    code: str | None
    state: str
    words: str = ""
    printed: str = ""
    seconds: int = 0


DONE = ("right", "wrong")
_TRIED: dict[str, int] = {}  # how often a function was tried: in a page's edit view `Exercises` are made anew
_AS_IT_STOOD: dict[tuple[str, str], str] = {}  # in a page's edit view: a function's code when it was first seen


class Exercises(mo.ui.dictionary):
    """The exercises of a lesson, by the functions that a reader is to mend. In marimo it must be a variable of the notebook.

    Where there are no cells to write in, but Python of the visitor's own (a page), it holds a box for each; its value is
    what stands in them. What a visitor has written there is tried in a Python of its own, see `second_python`.

    Args:
        opened: how the lesson was opened.
        functions: in their order.
        trained: the one of them that is a reward to train with.
        train: what is called with it, as the reader has written it, by a button under its verdict.
        publish: the setter of the state that holds the last try of each function, by its name.
    """

    def __init__(
        self,
        opened: Opened,
        *functions: Callable,
        trained: Callable | None = None,
        train: Callable = lambda _: None,
        publish: Callable[[Callable[[Mapping[str, Try]], Mapping[str, Try]]], None] = lambda change: None,
    ):
        self.opened, self.trained, self.publish = opened, trained, publish
        self.asked = recalled(opened, *functions)  # the last try of each, begun or done
        self.left_over = {name for name, each in self.asked.items() if each.state not in DONE}
        self._verdicts: dict[str, tuple[Try, mo.Html]] = {}  # a cell shows a training, too, and runs at its every step
        here = functions if opened.writes == "box" else ()
        boxes = {each.__name__: self._box(each) for each in here}
        if trained and opened.writes != "nowhere":
            boxes["train"] = mo.ui.button(label="Train with it", on_click=lambda _: train(self._reward()))
        super().__init__(boxes)

    def _box(self, function: Callable) -> mo.ui.code_editor:
        """A box with what was written in it last, else with the function as it stands."""
        last = self.asked.get(function.__name__)
        code = last.code if last and last.code.strip() else code_of(function, self.opened)
        return mo.ui.code_editor(code, language="python", min_height=120, debounce=True)

    @property
    def where(self) -> str:
        """How the exercises are done, in this way of opening the lesson."""
        nowhere = f"A server runs nobody's code: find what is wrong by reading, and mend it on your own machine, with `marimo edit grpo_{self.opened.lesson}.py`"
        if self.opened.seat and self.opened.seat.site:
            nowhere += f", or at once in [this lesson's web page]({self.opened.seat.site}/{self.opened.lesson}.html)"
        return {
            "box": "Write your answer in the box, click beside it (by keyboard: Escape, then Tab), and the verdict stands below. Your code runs in your browser, in a Python of its own: what does not end is ended after 5 s. What you wrote is there again when you come back; empty the box and load the page anew for the code as it was.",
            "cell": "Write your answer in the cell and run it (Ctrl+Enter); the verdict stands below it, and marimo saves what you wrote in the notebook. (Ctrl + . shows the cells, if you do not see them.)",
            "nowhere": f"{nowhere}.",
        }[self.opened.writes]

    def ask(self, function: Callable, words: str) -> mo.Html:
        """What is asked for, over the box to write in, or where there is neither box nor cell, over the function as it stands."""
        name = function.__name__
        return show(words, self[name] if name in self.elements else shown_code(self.opened, function))

    def verdict(
        self,
        function: Callable,
        tries: Mapping[str, Try] | None = None,
        asked: Callable[[Callable], Callable] = itself,
    ) -> mo.Html | None:
        """The callout under an exercise; nothing where there is nowhere to write.

        Args:
            function: the exercise's.
            tries: what the state holds; its cell must run when that changes.
            asked: what the cases are put to, made of the reader's function; one of `exercises.ASKED`.
        """
        if self.opened.writes == "nowhere":
            return None
        name, now = function.__name__, self._tried(function, tries or {}, asked)
        if name not in self._verdicts or self._verdicts[name][0] != now:
            self._verdicts[name] = now, _callout(now)
        said = self._verdicts[name][1]
        if function is not self.trained or "train" not in self.elements:
            return said
        return show(said, self["train"], "Right or not: **what does the model make of it?**")

    def _tried(self, function: Callable, tries: Mapping[str, Try], asked: Callable) -> Try:
        """The try of what stands there, which begins now if it is another than was tried last."""
        name, code, as_it_stood = function.__name__, *self._code(function)
        if name in self._verdicts and self._verdicts[name][0].code == code and self._verdicts[name][0].state in DONE:
            return self._verdicts[name][0]
        if code is None or code == as_it_stood:
            self._keep(name, None)
            if name in self.asked:
                self.asked[name] = replace(self.asked[name], code=code)
            return Try(0, code, *_judged(self.opened, function, None, asked))
        last = self.asked.get(name, Try(0, None, "waiting"))
        if last.code != code or name in self.left_over:
            self.left_over.discard(name)
            _TRIED[name] = max(_TRIED.get(name, 0), last.number) + 1
            self.asked[name] = Try(_TRIED[name], code, "waiting")
            in_thread(self.opened, partial(self._try, function, self.asked[name], asked))
        now = tries.get(name, self.asked[name])
        return now if now.number == self.asked[name].number else self.asked[name]

    def _code(self, function: Callable) -> tuple[str | None, str | None]:
        """What the reader has written, and what stood there before; both None where it is the notebook's own machine."""
        if self.opened.has_disk:
            return None, None
        stands = code_of(function, self.opened)
        if function.__name__ in self.elements:
            return self.value[function.__name__], stands
        return stands, _AS_IT_STOOD.setdefault((self.opened.lesson, function.__name__), stands)

    async def _try(self, function: Callable, new: Try, asked: Callable) -> None:
        name = function.__name__

        def is_wanted() -> bool:
            return self.asked[name] is new  # else something newer stands there

        def say(now: Try) -> None:
            if is_wanted():
                self._keep(name, now if now.state in DONE else new)
                self.publish(lambda tries: {**tries, name: now})

        def tell(state: str, seconds: int) -> None:
            say(replace(new, state=state, seconds=seconds))

        try:
            given = self._function(function, new.code)
            given |= {"cases": _rows(self.opened.lesson, name), "asked": asked.__name__}
            said, printed = await second_python().call(given, tell, is_wanted)
            mistake = said.get("error") or said.get("mistake") or ""
            say(replace(new, state="wrong" if mistake else "right", words=mistake, printed=printed))
        except CannotStart:
            self._keep(name, None)  # code that never ends would be there again when the page is loaded anew
            state, words = _judged(self.opened, function, new.code, asked)
            say(replace(new, state=state, words=words))

    def _keep(self, name: str, last: Try | None) -> None:
        if name in self.elements:
            keep(self.opened, name, json.dumps(asdict(last)) if last else None)

    def _function(self, function: Callable, code: str) -> dict:
        """What the second Python is told of it."""
        luggage = packed(code, function.__globals__, partial(code_of, opened=self.opened))
        return {"name": function.__name__, "code": code, "luggage": luggage}

    def _reward(self) -> Callable:
        """The reward to train with, as it stands."""
        code, as_it_stood = self._code(self.trained)
        if code == as_it_stood:
            return self.trained
        return ReadersReward(self._function(self.trained, code), partial(written, self.trained, code))


def recalled(opened: Opened, *functions: Callable) -> dict[str, Try]:
    """The last try of each function, as it was kept where an exercise is written in a box."""
    kept = {each.__name__: recall(opened, each.__name__) for each in functions if opened.writes == "box"}
    return {name: _read(said) for name, said in kept.items() if said}


def _read(said: str) -> Try:
    try:
        return Try(**json.loads(said))
    except (ValueError, TypeError):  # the code alone, as it was kept once
        return Try(0, said, "waiting")


def _judged(opened: Opened, function: Callable, code: str | None, asked: Callable) -> tuple[str, str]:
    """What is said to a function that runs here."""
    mistake = first_mistake(asked(written(function, code)), cases(opened.lesson, function.__name__))
    return ("wrong", mistake) if mistake else ("right", "")


def _callout(now: Try) -> mo.Html:
    which = f"*Try {now.number}.* " if now.number else ""
    if now.state == "right":
        said = mo.callout(mo.md(f"{which}**Right.** All cases pass."), kind="success")
    elif now.state == "wrong":
        said = mo.callout(mo.md(f"{which}**Not yet.** " + now.words.replace("<", "&lt;")), kind="warn")
    else:
        said = mo.callout(mo.md(f"{which}{UNDER_WAY[now.state]} … {now.seconds} s"), kind="neutral")
    printed = (
        f'<p class="note">It printed:</p><pre style="max-height:10rem;overflow:auto">{escape(now.printed)}</pre>'
        if now.printed
        else None
    )
    return show(said, printed)


UNDER_WAY = {
    "waiting": "**Being tried**",
    "starting": "**Being tried**, as soon as a Python of its own is there for it, which can be ended; all else goes on",
    "trying": "**Being tried**",
}


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
    return [Case(row["given"], row["expected"], row["why"]) for row in _rows(lesson, name)]


def _rows(lesson: str, name: str) -> list[dict]:
    return json.loads(here.read(f"cases/{lesson}.json"))[name]


def table(name: str) -> list | dict:
    """What a lesson shows as a table, from `notebooks/cases/NAME.json`: rows, or what each text is.

    >>> table("places")["It is 95."]
    'one number, at the end'
    """
    return json.loads(here.read(f"cases/{name}.json"))
