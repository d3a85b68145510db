"""The wall of a class: its questions are those of the lessons, and it shows what the seats have left as they have left it."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from grpo_lessons.course import LESSONS
from grpo_lessons.here import NOTEBOOKS
from grpo_lessons.runs import Run
from grpo_lessons.web.seats import TEACHES, Seats
from grpo_lessons.web.wall import Wall, as_csv, asked, stations

LEARNT = Run.load(NOTEBOOKS / "public/format_learns.json")
DEAD, *_ = asked("format")


@pytest.fixture
def wall(tmp_path):
    """Of a class in which a teacher sits at seat 1."""
    wall = Wall(Seats(None, tmp_path))
    (tmp_path / "seat-1").mkdir()
    (tmp_path / "seat-1" / TEACHES).touch()
    return wall


def sit(wall, number, choice=None, run=None):
    folder = wall.seats.folder / f"seat-{number}/format"
    folder.mkdir(parents=True, exist_ok=True)
    if choice is not None:
        (folder / "predictions.json").write_text(json.dumps({DEAD.text: choice}), encoding="utf-8")
    if run:
        run.save(folder / "run.json")
    return folder


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_wall_has_every_question_of_a_lesson_and_the_station_that_it_stands_in(lesson):
    source = (NOTEBOOKS / f"grpo_{lesson}.py").read_text(encoding="utf-8")
    questions = asked(lesson)
    assert len(questions) >= 3  # that it is all of them, the tests of each lesson say
    titles = stations(lesson)
    for each in questions:
        title = titles[each.station]
        assert title.startswith(f"{each.station} · ") and f"## {title}" in source.replace("*", "")
        assert len(each.options) == 3 > each.right >= 0


def test_bars_count_the_class_without_its_teacher_and_say_what_is_right_when_told(wall):
    right = DEAD.options[DEAD.right]
    for number, choice in ((1, right), (2, right), (3, DEAD.options[0]), (4, right), (5, "no such choice"), (6, ["x"])):
        sit(wall, number, choice)
    (sit(wall, 7) / "predictions.json").write_text('{"a file that is being', encoding="utf-8")
    (sit(wall, 8) / "predictions.json").write_text("[]", encoding="utf-8")
    first = wall.now("format")["questions"][0]
    assert first == {"counts": [1, 2, 0], "right": None}
    assert [each["seat"] for each in wall.now("format")["seats"]] == [2, 3, 4, 5, 6, 7, 8]
    wall.reveal("format", 0)
    assert [each["right"] for each in wall.now("format")["questions"]] == [DEAD.right, None, None]
    wall.reveal("format", 0)
    assert wall.now("format")["questions"][0]["right"] is None
    sit(wall, 3, right)
    assert wall.now("format")["questions"][0]["counts"] == [0, 3, 0]
    rows = [*csv.DictReader(io.StringIO(as_csv(wall.predictions())))]
    assert [(row["seat"], row["station"], row["choice"], row["right"]) for row in rows] == [
        (seat, "3", right, "1") for seat in "234"
    ]


def test_runs_stand_on_one_figure_and_each_says_how_it_differs_from_most(wall):
    assert "Nobody has trained yet" in wall.together("format")
    for number in (2, 3):
        sit(wall, number, run=LEARNT)
    sit(wall, 4, run=replace(LEARNT, settings=LEARNT.settings | {"learning_rate": 0.01, "seed": 4}))
    sit(wall, 5, run=replace(LEARNT, rewards=["<b>mine</b>"]))
    (sit(wall, 6) / "run.json").write_text("{", encoding="utf-8")
    shown = wall.together("format")
    assert shown.count("<polyline") == 4 + 1 and "reward, 4 runs" in shown  # and their median
    told = dict(re.findall(r'data-seat="(\d)".*?class="note">(.*?)</span>', shown))
    assert told["2"] == told["3"] == "step 25 of 25 · seed 0"
    assert told["4"] == "step 25 of 25 · seed 4 (learning_rate 0.01)" and "&lt;b&gt;mine" in told["5"]
    large = wall.large("format", 4)
    assert "<h3>seat 4</h3>" in large and "Finished: step 25 of 25" in large and 'class="card' in large
    assert wall.large("format", 6) is None and wall.large("math", 4) is None
    rows = [*csv.DictReader(io.StringIO(as_csv(wall.steps())))]
    assert len(rows) == 4 * LEARNT.steps_done
    assert float(rows[0]["reward"]) == LEARNT.metrics[0]["reward"] and {row["seed"] for row in rows} == {"0", "4"}


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "=cmd|' /C calc'!A0", "‮evil", "x" * 99, "  \n", "Zoë 🦊"]
)
def test_no_name_does_harm(wall, name):
    sit(wall, 2, DEAD.options[0], LEARNT)
    wall.learners()[0].call(name)
    said = wall.now("format")["seats"][0]["name"]
    assert len(said) <= 20 and said == said.strip() and said.isprintable()
    assert said == name or name != "Zoë 🦊"
    for shown in (wall.together("format"), wall.large("format", 2)):
        assert "<script" not in shown.lower()
    (row,) = csv.DictReader(io.StringIO(as_csv(wall.predictions())))
    assert row["name"][:1] not in ("=", "+", "-", "@")


def test_a_group_sees_nothing_of_the_one_before(wall, tmp_path):
    sit(wall, 2, DEAD.options[DEAD.right], LEARNT)
    wall.reveal("format", 0)
    assert wall.runs("format")
    (tmp_path / "group").write_text("2")
    after = Wall(Seats(None, tmp_path))
    wall.seats.group = 2
    for each in (wall, after):  # at once, and after a restart
        assert each.runs("format") == [] and each.now("format")["seats"] == []
        assert each.now("format")["questions"][0] == {"counts": [0, 0, 0], "right": None}
    assert (tmp_path / "seat-2/format/run.json").exists()
