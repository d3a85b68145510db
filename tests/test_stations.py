"""One station, or a piece of one, shown alone by its name: the script that does it, over a page that only looks like a lesson."""

import json
import re
import subprocess

import pytest

from grpo_lessons.lesson.notes import speaker_notes
from grpo_lessons.web.site import LESSONS, PIECES
from tests.support.browser import ROOT, browse
from tests.support.engine import NODE
from tests.support.pages import serve_folder

STEPPER = ROOT / "notebooks/public/step.html"
CELLS = (
    "",
    "<h1>A lesson</h1>",
    "<h2>1 · The loop</h2>",
    "<p><b id='tokens-pushed'></b>Tokens</p>",
    "<p>and what they are</p>",
    "<p><b id='a-map'></b>A map</p>",
    "<h2>2 · A hair's difference</h2>",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lesson")
    cells = "".join(f'<div id="cell-{i}" class="marimo-cell">{each}</div>' for i, each in enumerate(CELLS))
    html = f"<!doctype html><meta charset=utf-8>{STEPPER.read_text(encoding='utf-8')}<body><div id='App'>{cells}</div>"
    (folder / "lesson.html").write_text(html, encoding="utf-8")
    with serve_folder(folder) as address, browse(f"{address}/lesson.html") as page:
        page.address = f"{address}/lesson.html"
        yield page


def shown(page, query: str, count: int) -> list[int]:
    """The cells that can be seen, as soon as there are so many, none of which is empty."""
    page.goto(page.address + query)
    page.wait_for_function(
        "count => [...document.querySelectorAll('.marimo-cell')].filter(each => each.offsetHeight).length === count",
        arg=count,
    )
    cells = "[...document.querySelectorAll('.marimo-cell')].flatMap((each, i) => each.offsetHeight ? [i] : [])"
    return page.evaluate(cells)


@pytest.mark.parametrize(
    ("query", "cells"),
    [
        ("?only=1", [2, 3, 4, 5]),
        ("?station=the-loop", [2, 3, 4, 5]),
        ("?station=a-hair-s-difference", [6]),
        ("?station=tokens-pushed", [3, 4]),
        ("?station=a-map&embed=true", [5]),
    ],
)
def test_a_station_or_a_piece_of_one_is_shown_alone_by_its_name(page, query, cells):
    assert shown(page, query, len(cells)) == cells
    assert page.locator("html.gl-only").count() == 1 and page.locator("#gl-bar").count() == 0


def test_a_name_that_is_none_shows_the_whole_lesson_and_says_so(page):
    page.goto(page.address + "?station=<i>nope")
    said = page.get_by_role("status").filter(has_text="No station “<i>nope” here: this is the whole lesson.")
    said.wait_for()
    assert page.locator(".marimo-cell:visible").count() == 6
    page.get_by_role("button", name="Step by step").click()
    page.get_by_label("Station", exact=True).select_option("2")
    said.wait_for(state="detached")
    assert page.locator(".marimo-cell:visible").count() == 1
    assert page.url.endswith("?step=2")


@pytest.mark.skipif(NODE is None, reason="no node on this machine")
def test_the_lines_to_copy_have_the_names_that_the_lessons_know():
    stepper, index = (file.read_text("utf-8") for file in (STEPPER, ROOT / "grpo_lessons/web/pages/index.js"))
    rule = re.search(r"const slug = (.*); //", stepper)[1]
    assert f"const slug = {rule}; //" in index
    titles = {name: [note["title"].replace("*", "") for note in speaker_notes(name)] for name in LESSONS}
    script = f"const slug = {rule}; console.log(JSON.stringify({json.dumps(list(titles.values()))}.map(each => each.map(slug))))"
    done = subprocess.run([NODE, "-e", script], capture_output=True, text=True, encoding="utf-8", check=True)
    for lesson, names in zip(titles, json.loads(done.stdout), strict=True):
        assert all(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", name) for name in names)
        assert len({*names, *PIECES[lesson]}) == len(names) + len(PIECES[lesson])
        assert {"length": "twenty-what", "math": "check-your-data"}.get(lesson, "how-large-a-group") in names
