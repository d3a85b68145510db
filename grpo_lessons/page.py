"""A lesson in a web page, where Pyodide is its Python: without torch, disk or threads, and with the visitor waiting.

Elsewhere these pieces step aside: figures are drawn at once, exercises are written in cells, and `live` trains.
"""

import asyncio
import re
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import marimo as mo

from grpo_lessons import cards, plots
from grpo_lessons.device import IN_PAGE, fetch
from grpo_lessons.live import Report, code_of, failed, way
from grpo_lessons.rewards import AnswerReward, Reward
from grpo_lessons.runs import Run
from grpo_lessons.tryout import tryout


def recording(name: str) -> Run:
    """A run of `public/`: read from beside the notebook, or fetched from beside the page."""
    if IN_PAGE:
        return Run.from_json(fetch(f"{name}.json"))
    return Run.load(mo.notebook_dir() / "public" / f"{name}.json")


# Figures -----------------------------------------------------------------------------------------------------------

DRAWING = "loading" if IN_PAGE else "ready"  # whether matplotlib is there, at first; then also "missing"

_INSTEAD = {
    "loading": "The figure that belongs here is drawn by matplotlib, which is still on its way to this page. Read on; it will come.",
    "missing": "A figure belongs here, but matplotlib, which draws it, could not be loaded into this page. All else works without it.",
}


# One figure at a time: matplotlib's settings are global, and the sessions of a server are threads of one process.
_DRAWING_ONE = threading.Lock()


def _let_sessions_start_together() -> None:
    """Keep the sessions of `marimo run`, threads of one process, from failing while one of them imports a library.

    While matplotlib is imported, marimo 0.25 already ends every cell of every session with
    `marimo._output.mpl.close_figures()`, which is not there yet: such a session stops where it is, with half a lesson.
    While a first training imports transformers, a session that starts asks it for a class, and fails when it gets none.
    """
    import marimo._output as output
    from marimo._output.formatters.formatters import THIRD_PARTY_FACTORIES

    if not hasattr(output, "mpl"):  # nothing is open that could be closed; the import itself puts the module here
        output.mpl = SimpleNamespace(close_figures=lambda: None)
    THIRD_PARTY_FACTORIES.pop("transformers", None)  # it would show streams of tokens, which no lesson has


if not IN_PAGE:
    _let_sessions_start_together()


def load_drawing(publish: Callable[[str], None]) -> None:
    """Fetch matplotlib into the page while the lesson is already in use; publish "ready" or "missing"."""
    if not IN_PAGE:
        return

    async def load() -> None:
        import pyodide_js

        await asyncio.sleep(1)  # the page's first outputs go first
        try:
            await pyodide_js.loadPackage("matplotlib")
            import matplotlib.figure  # noqa: F401
        except Exception:  # no such package, no network, no memory: what a browser may do has no common type
            publish("missing")
        else:
            publish("ready")

    mo.Thread(target=load).start()


def figure(drawing: str, draw: Callable, *data) -> mo.Html:
    """A figure of `plots`, or while there is no matplotlib a word on it in its place."""
    if drawing == "ready":
        with _DRAWING_ONE:
            return mo.Html(plots.to_svg(draw(*data)))
    return mo.Html(cards.page(f'<p class="note">{_INSTEAD[drawing]}</p>'))


# Exercises -----------------------------------------------------------------------------------------------------------

MOST_STEPS = 300_000  # instructions that a visitor's code may run in one call: a second or two in a page


def editor(function: Callable) -> mo.ui.code_editor | None:
    """Where a visitor of a page without cells writes an exercise's function, and nobody else: it runs in their own browser."""
    if not IN_PAGE or way() == "edit":
        return None
    return mo.ui.code_editor(code_of(function), language="python", min_height=120)


def written(function: Callable, code: mo.ui.code_editor | None) -> Callable:
    """The exercise's function as it stands in its cell, or in the `editor`; code that cannot be run raises when called.

    >>> written(len, None) is len
    True
    """
    if code is None:
        return function
    name, names = function.__name__, dict(function.__globals__)
    del names[name]
    try:
        _bounded(exec, code.value, names)
        if not callable(names.get(name)):
            raise NameError(f"your code defines no function {name}")
        return partial(_bounded, names[name])
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


# Try it ----------------------------------------------------------------------------------------------------------------


def load_button() -> mo.ui.run_button:
    """The button that loads the model. In marimo it must be a variable of the notebook."""
    return mo.ui.run_button(label="Load the model into this page (2 MB)")


def invite(button: mo.ui.run_button, what: str) -> mo.Html:
    """The button under a word on which model it loads, and on what there will be to see."""
    return mo.vstack([mo.md(f"{_ASK}{what}"), button])


_ASK = "**Ask it yourself.** The model before and after a training with the settings of the recorded run; it is small enough to run in your browser"


async def try_it(pressed: bool, question: str, adapter: str) -> mo.Html | None:
    """The widget of `tryout`; in a page, what it needs of Python is fetched first. A sentence where that fails."""
    if not pressed:
        return None
    try:
        if IN_PAGE:
            import pyodide_js

            with mo.status.spinner("Fetching what the widget needs", remove_on_exit=True):
                await pyodide_js.loadPackage("anywidget")
        return tryout(question, adapter, mo.notebook_location() / "public")
    except Exception as error:  # no network, a missing file, no anywidget: it must be said, whatever it is
        return failed(f"The model could not be loaded: {error}")


def show_scores(tried: mo.Html | None, judges: dict[str, Reward], tags: Sequence[str] = ()) -> mo.Html | None:
    """What the rewards say of each reply that the visitor has got; the right answer is the sum of the question's numbers."""
    replies = tried.value.get("replies") if hasattr(tried, "value") else None
    if not replies:
        return None
    numbers = re.findall(r"\d{1,9}", replies["question"])
    right = str(sum(map(int, numbers))) if len(numbers) > 1 and "+" in replies["question"] else None
    parts = []
    for when, title in (("before", "before"), ("after", "after GRPO")):
        texts, counts = zip(*[(reply["text"], int(reply["tokens"])) for reply in replies[when]], strict=True)
        given = {"completions": texts, "completion_ids": [[0] * n for n in counts], "answer": [right] * len(texts)}
        columns = [
            [""] * len(texts) if right is None and isinstance(judge, AnswerReward) else judge(**given)
            for judge in judges.values()
        ]
        rows = [(text, [count, *scores]) for text, count, *scores in zip(texts, counts, *columns, strict=True)]
        parts.append(cards.marks_table([title, "tokens", *judges], rows, tags))
    return mo.Html(cards.page(*parts))


# A recorded run, replayed ------------------------------------------------------------------------------------------

SPEEDS = {"as it was": 1, "4 × as fast": 4, "16 × as fast": 16}
LONGEST = 1.5  # seconds that a replay waits for a step


class Replay:
    """Recorded runs of a lesson, shown in a page step by step through the panel of a live session.

    Args:
        runs: by the name under which they can be chosen.
        publish: the setter of the `mo.state` that holds a session's `Report`.
        ended: the setter of the state that holds its last one, which later stations look into.
        at: the setter of a state that holds the step a replay has come to.
        playing: the setter of a state that says whether it runs.
    """

    def __init__(
        self,
        runs: dict[str, Run],
        publish: Callable[[Report], None],
        ended: Callable[[Report], None],
        at: Callable[[int], None],
        playing: Callable[[bool], None],
    ):
        self.runs, self.publish, self.ended, self.at, self.playing = runs, publish, ended, at, playing
        self.run, self.against, self.names, self.speed = None, None, None, 4
        self.step, self.turn = 1, 0

    def menu(self) -> mo.ui.dictionary:
        """What is replayed, over which other run, and how fast. In marimo it must be a variable of the notebook."""
        names = list(self.runs)
        return mo.ui.dictionary(
            {
                "run": mo.ui.dropdown(names, value=names[0], label="recorded run"),
                "against": mo.ui.dropdown(["nothing", *names], value="nothing", label="over (dashed)"),
                "speed": mo.ui.dropdown(list(SPEEDS), value="4 × as fast", label="speed"),
            }
        )

    def show(self, menu: mo.ui.dictionary) -> mo.Html | None:
        """That these are recordings, how to train for real, and the menu; nothing where a session can be had."""
        if not IN_PAGE:
            return None
        return mo.vstack(
            [
                mo.Html('<i class="gl-awake"></i>'),  # tells the page around the lesson that its controls now answer
                mo.callout(mo.md(_NO_TORCH), kind="info"),
                mo.hstack(list(menu.elements.values()), justify="start", gap=1.2, wrap=True),
            ]
        )

    def button(self, playing: bool) -> mo.ui.button:
        """Play or Pause. In marimo it must be a variable of the notebook."""
        word, kind = ("Pause", "neutral") if playing else ("Play", "success")
        return mo.ui.button(label=word, kind=kind, on_click=lambda _: self.go(self.step) if playing else self.play())

    def slider(self, step: int | None) -> mo.ui.slider:
        """The steps, to scrub through; moved by hand it pauses. In marimo it must be a variable of the notebook."""
        return mo.ui.slider(
            1,
            (self.run or next(iter(self.runs.values()))).steps_done,
            value=step or 1,
            show_value=True,
            full_width=True,
            label="step",
            on_change=self.go,
        )

    def choose(self, menu: dict) -> None:
        """Follow the menu: a run begins at its first step, another one under it is laid at once, a speed holds from now on."""
        if not IN_PAGE:
            return
        run, against = self.runs[menu["run"]], self.runs.get(menu["against"])
        self.speed = SPEEDS[menu["speed"]]
        changed = run is not self.run
        self.names = (menu["run"], menu["against"])
        if changed or against is not self.against:
            self.run, self.against = run, against
            self.go(1 if changed else self.step)
        if changed:
            self.at(1)
            self.ended(replayed(run, run.steps_done))

    def go(self, step: int) -> None:
        """Pause, and show the run as it stood after a step."""
        self.turn += 1
        self.playing(False)
        self.step = step
        self._show(playing=False)

    def play(self) -> None:
        """Go on from this step, or from the first if this is the last."""
        self.turn += 1
        self.step = self.step if self.step < self.run.steps_done else 0
        self.playing(True)
        mo.Thread(target=partial(self._play, self.turn)).start()

    async def _play(self, turn: int) -> None:
        while turn == self.turn and self.step < self.run.steps_done:
            self.step += 1
            self._show(playing=True)
            self.at(self.step)
            await asyncio.sleep(min(LONGEST, self._seconds() / self.speed))
        if turn == self.turn:
            self.go(self.step)

    def _seconds(self) -> float:
        """How long the step took when it was recorded."""
        ends = [0.0, *(row["seconds"] for row in self.run.metrics)]
        return ends[self.step] - ends[self.step - 1]

    def _show(self, playing: bool) -> None:
        report = replayed(self.run, self.step, self.against, self.speed if playing else 0)
        self.publish(replace(report, names=self.names))


def replayed(run: Run, step: int, against: Run | None = None, speed: float = 0) -> Report:
    """What a session so many times as fast would have said of a run after a step, over another run; at speed 0 it stands.

    >>> run = Run({"steps": 2}, metrics=[{"step": 1, "reward": 0.2}, {"step": 2, "reward": 0.4}], state="finished")
    >>> replayed(run, 1).phase, replayed(run, 1).run.series("reward")
    ('A recording: step 1 of 2', [(1, 0.2)])
    """
    then = replace(
        run,
        metrics=[row | {"seconds": row.get("seconds", 0.0) / (speed or 1)} for row in run.metrics[:step]],
        groups=[group for group in run.groups if group.step <= step],
        state="running" if speed and step < run.steps_done else "stopped",
    )
    return Report(f"A recording: step {step} of {run.steps_done}", then, against)


_NO_TORCH = """**A recording.** A web page has no torch, so here you replay runs that were recorded: real ones, every step as it was.
To train for yourself, take [the course](grpo-lessons.zip) home (Python 3.11 or later), `pip install -r requirements.txt`, and open the same lesson with `marimo edit`."""


def _for_the_wheel() -> None:
    """Never called. A page's wheel holds the modules that imports reach, and all lessons shall share one wheel."""
    from grpo_lessons import exercises  # noqa: F401
    from grpo_lessons.pocket import corpus  # noqa: F401
