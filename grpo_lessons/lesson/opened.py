"""How a lesson was opened, and what can be done in it there: the one place that knows, asked once."""

import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import marimo as mo

from grpo_lessons import here
from grpo_lessons.lesson.marimo_inside import (
    PAGE_FOLDER,
    ask_once_for_plugins,
    hear_all_that_moves_together,
    let_libraries_print,
    let_sessions_start_together,
)
from grpo_lessons.lesson.seat import Seat
from grpo_lessons.runs import Run
from grpo_lessons.training import PRESETS, SMOLLM2
from grpo_lessons.training.machine import gpu

MODELS = (*PRESETS, "Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen3-0.6B")

_ROOM = threading.local()  # on a server every lesson that is open has a thread of its own


@dataclass(frozen=True)
class Opened:
    """What this opening of a lesson can do.

    Args:
        lesson: "length", "format", "math".
        trains: whether TRL trains on this machine; else recordings are replayed.
        engines: what trains the pocket model, the first unless another is chosen: TRL on this machine, or the reader's browser.
        is_own: whether it is somebody's own notebook, which keeps models and checkpoints, and may name any model.
        writes: how an exercise is written: in its "cell", in a "box" of the page, or "nowhere", where a server would run it.
        hides_code: whether the cells are hidden, so that code which a reader should see has to be shown.
        has_disk: whether Python has a disk, with its own files and all its packages; else they are fetched when needed.
        has_bar: whether the bar that steps through the lesson has to come from the lesson, not from the page's head.
        is_alone: whether its style and script do not lie beside it, where marimo looks for them.
        is_watched: whether somebody looks at it who may want to train here.
        has_notes: whether the speaker's notes, which have the answers, may be seen.
        folder: where the lesson writes; None for nowhere.
        models, model: those to choose from, and the one that comes first.
        options: what stood behind `--` on the command line, by name: `-- --model smollm2-135m --steps 10`.
        is_script: whether it is run as a program, to train at once.
        seat: the learner's, in a class.
        most_steps: how many steps a training may have.
        home: how the other lessons are reached: a pattern for a link, or for a name where there is none.
        said: what its reader has chosen and written in it, see `lesson.memory`.
    """

    lesson: str
    trains: bool
    engines: tuple[Literal["TRL", "browser"], ...]
    is_own: bool
    writes: Literal["cell", "box", "nowhere"]
    hides_code: bool
    has_disk: bool
    has_bar: bool
    is_alone: bool
    is_watched: bool
    has_notes: bool
    folder: Path | None
    models: tuple[str, ...]
    model: str
    options: dict[str, str]
    is_script: bool
    seat: Seat | None
    most_steps: int
    home: str
    said: dict[str, str | None] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def now(cls, lesson: str) -> "Opened":
        """As it is in the cell that asks."""
        mode, seat = _mode(), _seat()
        ask_once_for_plugins()
        hear_all_that_moves_together()
        if not here.IN_PAGE:
            let_libraries_print()
            let_sessions_start_together()
        is_script = mode == "script" and Path(sys.argv[0]).name.startswith(f"grpo_{lesson}")
        if is_script and hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # rows of the reader's are quoted, and a Windows file takes cp1252
        options = {}
        if mode != "script" or is_script:  # a notebook run by another program, which has words of its own, has none
            given = mo.cli_args().to_dict()
            options = {name.replace("-", "_"): str(value) for name, value in given.items() if name.strip("-")}
        is_watched = mode != "script" and not here.IN_PAGE and mo.app_meta().request is not None  # else: an export
        is_alone = not here.IN_PAGE and not (mo.notebook_dir() or here.NOTEBOOKS).joinpath("public").is_dir()
        is_own = mode != "run" and not here.IN_PAGE
        has_device = not seat or gpu()  # one training of SmolLM2 on a CPU would keep a class waiting for minutes
        models = MODELS if is_own else tuple(PRESETS) if has_device else ("pocket",)
        first = options.get("model") or (SMOLLM2 if not seat and not here.IN_PAGE and gpu() else "pocket")
        return cls(
            lesson=lesson,
            trains=not here.IN_PAGE,
            engines=_engines(is_script, seat),
            is_own=is_own,
            writes="cell" if mode != "run" else "box" if here.IN_PAGE else "nowhere",
            hides_code=mode == "run",
            has_disk=not here.IN_PAGE,
            has_bar=(mode == "edit" or is_alone) and is_watched,
            is_alone=is_alone,
            is_watched=is_watched,
            has_notes=is_watched and (seat is None or seat.is_teacher),  # an export may be for anybody
            folder=_folder(lesson, seat, may_write=is_own or bool(options)),
            models=tuple(dict.fromkeys([*models, first])),
            model=first,
            options=options,
            is_script=is_script,
            seat=seat,
            most_steps=seat.most_steps if seat and seat.most_steps else sys.maxsize,
            home="[`{0}`](../{0}/)" if seat else "[`{0}.html`]({0}.html)" if here.IN_PAGE else "`grpo_{0}.py`",
        )

    def link(self, lesson: str) -> str:
        """Another lesson, in Markdown: a link where one leads there, else the name of its file."""
        return self.home.format(lesson)

    def recordings(self, files: dict[str, str]) -> "Recordings":
        """Runs of `notebooks/public`, recorded once and shown until one of the reader's own is there: by name, their files."""
        return Recordings(files)

    def numbers(self, name: str) -> dict:
        """What else was measured and recorded once, of `notebooks/public`: `record.py` says what stands in it."""
        return _numbers(name)

    def in_time(self, seconds: float) -> bool:
        """Whether something that has taken so long may go on, and somebody still wants it."""
        return not self.seat or not (self.seat.is_away or self.is_late(seconds))

    def is_late(self, seconds: float) -> bool:
        """Whether the class's limit for one training has come."""
        return bool(self.seat and self.seat.most_minutes) and seconds > 60 * self.seat.most_minutes

    @property
    def memory(self) -> Path | None:
        """The file of what a reader has chosen and written; None for none: a program does what its line says, and no more."""
        if self.is_script:
            return None
        if not self.has_disk:
            return PAGE_FOLDER / f"grpo_{self.lesson}.json"
        return self.folder / "predictions.json" if self.folder else None

    @property
    def who(self) -> str:
        """Whose trainings these are, for the others in the line for the device."""
        return self.seat.name if self.seat else ""

    @property
    def goes_first(self) -> bool:
        """Whether they go before the others that wait there: a teacher's do, for a class that looks on."""
        return self.seat is not None and self.seat.is_teacher


class Recordings(Mapping[str, Run]):
    """Recorded runs by name, each read when it is first looked at: in a page reading is a request, and some are never asked for."""

    def __init__(self, files: dict[str, str]):
        self.files, self.read = files, {}

    def __getitem__(self, name: str) -> Run:
        if name not in self.read:
            self.read[name] = Run.from_json(here.read(f"public/{self.files[name]}.json"))
        return self.read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


@cache
def _numbers(name: str) -> dict:
    """Read once: a picture asks at every move of its slider, and in a page reading is a request."""
    return json.loads(here.read(f"public/{name}.json"))


def _mode() -> str:
    """ "edit", "run" or "script". For marimo every web page is "edit"; ours say which they are."""
    if here.IN_PAGE:
        return "edit" if mo.query_params().get("view") == "edit" else "run"
    return mo.app_meta().mode or "script"


def _engines(is_script: bool, seat: Seat | None) -> tuple[Literal["TRL", "browser"], ...]:
    """In a class each learner has a computer of their own, and nobody has to wait for the one of the teacher."""
    if here.IN_PAGE:
        return ("browser",)
    if seat:
        return ("browser", "TRL") if seat.is_teacher else ("browser",)
    return ("TRL",) if is_script else ("TRL", "browser")


def _seat() -> Seat | None:
    """The learner's seat, where a class's server has opened this lesson; see `grpo_lessons.web.classroom`."""
    if not here.IN_PAGE and (request := mo.app_meta().request) and "seat" in request.meta:
        _ROOM.seat = request.meta["seat"]  # the request that opens a lesson has it, later ones do not
    return getattr(_ROOM, "seat", None)


def _folder(lesson: str, seat: Seat | None, may_write: bool) -> Path | None:
    """runs/LESSON beside the notebooks, in a class the learner's own folder, on any other server nowhere."""
    if seat:
        return seat.folder / lesson
    if not may_write:
        return None
    return runs_folder(mo.notebook_dir() or Path.cwd()) / lesson


def runs_folder(place: Path | None = None) -> Path:
    """Where trainings leave their records and adapters: GRPO_LESSONS_RUNS, or runs beside the notebooks.

    `place`: the folder of the notebook; else that of the course, or where it is installed, the one that Python runs in.
    """
    place = place or (Path.cwd() if here.IS_INSTALLED else here.NOTEBOOKS)
    runs = (place.parent if place.name == "notebooks" else place) / "runs"
    return Path(os.environ.get("GRPO_LESSONS_RUNS") or runs)
