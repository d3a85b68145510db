"""The wall of a class, for all to look at: what they predicted, where they are, and what their trainings have come to.

It reads what the seats keep anyway, their choices and records of runs, so it survives a restart and costs a learner nothing;
what changes faster, a page's place and a run under way, the seats have at hand. Nothing of it leaves the machine.
"""

import ast
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import NamedTuple

import marimo as mo
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from grpo_lessons import cards, curves
from grpo_lessons.course import LESSONS
from grpo_lessons.here import NOTEBOOKS
from grpo_lessons.lesson import chase, passes, weighed
from grpo_lessons.lesson.notes import speaker_notes
from grpo_lessons.lesson.seat import Seat
from grpo_lessons.palette import STYLE
from grpo_lessons.runs import Run, told_apart
from grpo_lessons.web.render import render
from grpo_lessons.web.seats import TEACHES, Seats

# Of each step, in a CSV.
METRICS = ("reward", "within_group_std", "frac_reward_zero_std", curves.LENGTH, "entropy", "kl")


class Asked(NamedTuple):
    """A question of a lesson: the station it stands in, its text, its choices, and the place of the right one."""

    station: int
    text: str
    options: tuple[str, ...]
    right: int


@cache
def asked(lesson: str) -> tuple[Asked, ...]:
    """The questions of a lesson in their order, read in its notebook: nobody has to have opened it.

    >>> [each.station for each in asked("format")]
    [3, 7, 10]
    """
    source = (NOTEBOOKS / f"grpo_{lesson}.py").read_text(encoding="utf-8")
    found, lines = [], source.splitlines()
    for cell in (each for each in ast.parse(source).body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)):
        above = "\n".join(lines[: cell.end_lineno])
        station = int((re.findall(r"## (\d+) ·", above) or ["0"])[-1])
        for call in (each for each in ast.walk(cell) if isinstance(each, ast.Call)):
            at, name = station, ast.unparse(call.func)
            if name == "lesson.Question":
                named = [each.value for each in call.keywords if each.arg == "right"]
                text, options, right = map(ast.literal_eval, [*call.args, *named][1:4])
            elif name in ("station.chase", "lesson.sharper"):
                kept = chase if name == "station.chase" else passes
                text, options, right = kept.ASKED, kept.CHOICES, kept.RIGHT
            elif name == "weighed.elements":
                at, text, options, right = weighed.STATION, weighed.ASKED, weighed.OPTIONS, weighed.RIGHT
            else:
                continue
            found.append(Asked(at, text, tuple(options), list(options).index(right)))
    return tuple(sorted(found, key=lambda each: each.station))


@cache
def stations(lesson: str) -> tuple[str, ...]:
    """The titles of a lesson's stations, as its speaker's notes have them; the first is the lesson's own."""
    return tuple(note["title"].replace("*", "") for note in speaker_notes(lesson))


class Wall:
    """What a class has come to."""

    def __init__(self, seats: Seats):
        self.seats = seats
        self.read: dict[Path, tuple[tuple, object]] = {}  # files of the seats, as they stood when they were read last
        # Group, lesson and number of the questions whose answers are shown.
        self.revealed: set[tuple[int, str, int]] = set()

    def learners(self) -> list[Seat]:
        """Everybody in the class but a teacher, in the order of their seats."""
        folder, known = self.seats.folder, self.seats.seats
        paths = [path for path in folder.glob("seat-*") if path.name[5:].isdigit()]
        numbers = sorted(int(path.name[5:]) for path in paths if not (path / TEACHES).exists())
        return [known.get(number) or Seat(number, folder / f"seat-{number}") for number in numbers]

    def chosen(self, seat: Seat, lesson: str) -> dict[str, str]:
        """What a learner has chosen in a lesson, by the text of the question."""
        said = self._file(seat.folder / lesson / "predictions.json", json.loads)
        return said if isinstance(said, dict) else {}

    def runs(self, lesson: str) -> list[tuple[Seat, Run]]:
        """The last training of everybody who has trained in a lesson, also while it runs."""
        found = [
            (seat, seat.runs.get(lesson) or self._file(seat.folder / lesson / "run.json", Run.from_json))
            for seat in self.learners()
        ]
        return [(seat, run) for seat, run in found if run]

    def _file(self, path: Path, parse: Callable[[str], object]):
        """A file as it stands, read when it has changed; while it is being written, as it stood before."""
        try:
            about = path.stat()
            stamp = about.st_mtime_ns, about.st_size
            if self.read.get(path, (None,))[0] != stamp:
                self.read[path] = stamp, parse(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            pass
        return self.read.get(path, (None, None))[1]

    def now(self, lesson: str) -> dict:
        """Who is where, and how often each choice of each question was made; the right one where it is shown."""
        learners = self.learners()
        chosen = [self.chosen(seat, lesson) for seat in learners]
        return {
            "seats": [self._whereabouts(seat) for seat in learners],
            "questions": [
                {
                    "counts": [
                        sum(each.get(question.text) == option for each in chosen) for option in question.options
                    ],
                    "right": question.right if (self.seats.group, lesson, number) in self.revealed else None,
                }
                for number, question in enumerate(asked(lesson))
            ],
        }

    def _whereabouts(self, seat: Seat) -> dict:
        lesson, station = seat.place or ("", 0)
        here = seat.number in self.seats.seats and not seat.is_away
        about = {"seat": seat.number, "name": seat.called, "here": here}
        return about | {"lesson": lesson, "station": station, "trains": bool(seat.trainings)}

    def reveal(self, lesson: str, number: int) -> None:
        """Show which choice is right, or hide it again."""
        self.revealed ^= {(self.seats.group, lesson, number)}

    def together(self, lesson: str) -> str:
        """The rewards of all runs of a lesson on one figure, and a button for each run, as HTML."""
        runs = self.runs(lesson)
        lines = [[value for _, value in run.series("reward")] for _, run in runs]
        values = [value for each in lines for value in each]
        if not values:
            return "<p>Nobody has trained yet. A run stands here from its first step on.</p>"
        low, high = min(0, *values), 0 if min(values) < 0 >= max(values) else max(1, *values)
        steps = max(int(run.settings.get("steps", 0)) for _, run in runs)
        figure = curves.band("reward", lines, steps, {}, (low, high), "run")
        usual = _usual([run for _, run in runs])
        buttons = "".join(_button(seat, run, usual) for seat, run in runs)
        return cards.page(f'<div class="together">{figure}</div><div class="runs">{buttons}</div>')

    def large(self, lesson: str, number: int) -> str | None:
        """One learner's run: its curves, and its newest group; None if there is none."""
        for seat, run in self.runs(lesson):
            if seat.number == number:
                phase = f"Step {run.steps_done} of {run.settings['steps']}"
                told = curves.status(
                    phase if run.state == "running" else f"{run.state.capitalize()}: {phase.lower()}", run
                )
                group = cards.group_panel(run.groups[-1]) if run.groups else ""
                return cards.page(f"<h3>{escape(_named(seat))}</h3>", told, curves.panel(run, None), group)
        return None

    def predictions(self) -> Iterator[list]:
        """A row for each choice that was made: for a CSV."""
        yield ["seat", "name", "lesson", "station", "question", "choice", "right"]
        for seat in self.learners():
            for lesson in LESSONS:
                chosen = self.chosen(seat, lesson)
                for each in asked(lesson):
                    if (choice := chosen.get(each.text)) in each.options:
                        is_right = choice == each.options[each.right]
                        yield [seat.number, seat.called, lesson, each.station, each.text, choice, int(is_right)]

    def steps(self) -> Iterator[list]:
        """A row for each step of each run: for a CSV."""
        yield ["seat", "name", "lesson", "seed", "state", "rewards", "step", "seconds", *METRICS]
        for lesson in LESSONS:
            for seat, run in self.runs(lesson):
                about = [seat.number, seat.called, lesson, run.settings.get("seed"), run.state, " + ".join(run.rewards)]
                for row in list(run.metrics):
                    yield [*about, row["step"], row.get("seconds"), *(row.get(metric) for metric in METRICS)]


def _named(seat: Seat) -> str:
    return f"seat {seat.number}" + (f", {seat.called}" if seat.called else "")


def _alike(run: Run) -> Run:
    """What two runs are compared by: all but their seeds, which differ on purpose."""
    return Run({name: value for name, value in run.settings.items() if name != "seed"}, run.rewards)


def _usual(runs: Sequence[Run]) -> Run:
    """How most of them were trained."""
    plain = [_alike(run) for run in runs]
    often = Counter(each.to_json() for each in plain)
    return max(plain, key=lambda each: often[each.to_json()])


def _button(seat: Seat, run: Run, usual: Run) -> str:
    newest = next((value for _, value in reversed(run.series("reward"))), None)
    return (
        f'<button data-seat="{seat.number}"><b>{escape(_named(seat))}</b> <b class="reward">{cards.short(newest)}</b>'
        f'<br><span class="note">step {run.steps_done} of {run.settings.get("steps")} · seed {run.settings.get("seed")}'
        f"{escape(told_apart(_alike(run), usual)[0])}</span></button>"
    )


def as_csv(rows: Iterable[list]) -> str:
    r"""Rows as CSV; a name that a spreadsheet would take for a formula is quoted, as spreadsheets do it.

    >>> as_csv([["name", "reward"], ["=1+1", -0.5]])
    "name,reward\r\n'=1+1,-0.5\r\n"
    """
    written = io.StringIO()
    for row in rows:
        csv.writer(written).writerow(
            f"'{each}" if isinstance(each, str) and each[:1] in ("=", "+", "-", "@") else each for each in row
        )
    return written.getvalue()


def wall(seats: Seats) -> list[Route]:
    """The routes of the wall, all of them a teacher's only."""
    shown = Wall(seats)
    for name in LESSONS:  # now, while no lesson opens in another thread: see `Seats`
        asked(name)

    def lesson_of(request: Request) -> str:
        """The one that is asked for, else where most are."""
        if (lesson := request.query_params.get("lesson")) in LESSONS:
            return lesson
        where = Counter(seat.place[0] for seat in shown.learners() if seat.place)
        return where.most_common(1)[0][0] if where else next(iter(LESSONS))

    def page(request: Request) -> Response:
        lesson = lesson_of(request)
        questions = [each._replace(text=mo.md(each.text).text) for each in asked(lesson)]
        words = {"lessons": LESSONS, "lesson": lesson, "questions": questions, "stations": stations(lesson)}
        return HTMLResponse(render("wall.html", style=STYLE, **words))

    def now(request: Request) -> Response:
        return JSONResponse(shown.now(lesson_of(request)))

    def together(request: Request) -> Response:
        return HTMLResponse(shown.together(lesson_of(request)))

    def large(request: Request) -> Response:
        lesson, seat = (request.path_params[name] for name in ("lesson", "seat"))
        run = shown.large(lesson, seat) if lesson in LESSONS else None
        return HTMLResponse(run or "There is no such run.", 200 if run else 404)

    def reveal(request: Request) -> Response:
        lesson, number = (request.path_params[name] for name in ("lesson", "number"))
        if lesson not in LESSONS or number >= len(asked(lesson)):
            return JSONResponse({"error": "There is no such question."}, 404)
        shown.reveal(lesson, number)
        return Response(status_code=204)

    def export(rows: Callable[[], Iterator[list]]) -> Callable[[Request], Response]:
        # Spreadsheets look for the mark.
        return lambda request: Response("\ufeff" + as_csv(rows()), media_type="text/csv")

    routes = {
        "/wall": page,
        "/wall/now": now,
        "/wall/runs": together,
        "/wall/run/{lesson}/{seat:int}": large,
        "/wall/predictions.csv": export(shown.predictions),
        "/wall/runs.csv": export(shown.steps),
    }
    return [Route(path, seats.for_teachers(each)) for path, each in routes.items()] + [
        Route("/wall/reveal/{lesson}/{number:int}", seats.for_teachers(reveal), methods=["POST"])
    ]
