"""The doors to a lesson: what each notebook says it needs, a terminal in which nothing is asked, outputs to look at."""

import json
import os
import re
import select
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from marimo._export._session_cache import is_session_snapshot_stale
from marimo._utils.marimo_path import MarimoPath
from packaging.requirements import Requirement

from grpo_lessons import course
from grpo_lessons.web.site import find_uv
from tests.support.browser import free_port

ROOT = Path(__file__).parents[1]
NOTEBOOKS = {name: ROOT / f"notebooks/grpo_{name}.py" for name in course.NOTEBOOKS}
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def header(path: Path) -> dict:
    """The script metadata of PEP 723 that a notebook begins with."""
    (block,) = re.findall(r"^# /// script\n((?:#.*\n)+?)# ///$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return tomllib.loads(re.sub(r"^# ?", "", block, flags=re.MULTILINE))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_names_the_course_and_its_marimo_and_nothing_that_a_page_would_fetch(name):
    said = header(NOTEBOOKS[name])
    assert said["requires-python"] == PROJECT["requires-python"]
    course, marimo = needs = [Requirement(each) for each in said["dependencies"]]
    assert (course.name, course.extras) == (PROJECT["name"], {"lesson"})
    assert f"marimo{marimo.specifier}" in PROJECT["optional-dependencies"]["lesson"]  # else marimo writes itself in
    assert [each.marker.evaluate({"sys_platform": "emscripten"}) for each in needs] == [False, False]
    place = NOTEBOOKS[name].parent / said["tool"]["uv"]["sources"][course.name]["path"]
    assert (place / "pyproject.toml").samefile(ROOT / "pyproject.toml")


def test_uv_finds_all_that_a_notebook_needs_from_its_header_alone():
    """As `marimo edit --sandbox` asks it to; nothing is installed here, torch alone would be gigabytes."""
    command = [find_uv(), "export", "--quiet", "--no-hashes", "--script", NOTEBOOKS["format"]]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {line.partition("==")[0] for line in done.stdout.splitlines()}
    assert {"marimo", "torch", "trl", "gguf", "anywidget"} <= found and "-e ." in done.stdout


def said_in_a_terminal(*command: str, uv: bool) -> str:
    """What a program says in a terminal, with uv in sight or without, until it asks or gives an address; then it is ended."""
    pty = pytest.importorskip("pty")  # none on Windows
    ours, its = pty.openpty()
    folders = [each for each in os.environ["PATH"].split(os.pathsep) if not shutil.which("uv", path=each)]
    path = os.pathsep.join([str(Path(find_uv()).parent), *folders] if uv else folders)
    program = subprocess.Popen(
        [sys.executable, "-m", *command, "--headless", "--port", str(free_port())],
        cwd=ROOT, stdin=its, stdout=its, stderr=its, start_new_session=True, env=os.environ | {"PATH": path},
    )  # fmt: skip
    said, until = "", time.monotonic() + 60
    try:
        while not re.search(r"http://|\[Y/n\]", said) and time.monotonic() < until:
            if select.select([ours], [], [], 1)[0]:
                said += os.read(ours, 4096).decode()
    finally:
        os.killpg(program.pid, 9)
        program.wait()
        os.close(ours)
        os.close(its)
    return said


@pytest.mark.parametrize("door", ["grpo_lessons format", "marimo edit notebooks"])
def test_where_uv_is_installed_the_doors_of_the_readme_ask_nothing(door):
    assert "python -m grpo_lessons length" in README and "`marimo edit notebooks`" in README
    said = said_in_a_terminal(*door.split(), uv=True)
    assert "http://" in said and "[Y/n]" not in said, said


def test_marimo_asks_before_it_opens_one_notebook_only_where_uv_is_and_the_course_brings_none():
    """Once it does not, `python -m grpo_lessons` needs no flag, and the README no sentence about it."""
    one = ("marimo", "edit", "notebooks/grpo_format.py")
    assert "[Y/n]" in said_in_a_terminal(*one, uv=True)
    assert "[Y/n]" not in (said := said_in_a_terminal(*one, uv=False)) and "http://" in said
    assert not re.search(r"^uv\b", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_outputs_that_lie_with_a_notebook_are_those_of_the_notebook_as_it_stands(name, tmp_path):
    saved = NOTEBOOKS[name].parent / f"__marimo__/session/grpo_{name}.py.json"
    mend = "run `python -m notebooks.record outputs` and commit what it writes"
    assert not is_session_snapshot_stale(saved, MarimoPath(NOTEBOOKS[name])), mend
    cells = json.loads(text := saved.read_text(encoding="utf-8"))["cells"]
    assert len(cells) > 30 and all(each["type"] == "data" for cell in cells for each in cell["outputs"])  # no error
    assert len(text) < 400_000 and str(ROOT) not in text and "data-notes" not in text  # the speaker's have the answers
    changed = tmp_path / NOTEBOOKS[name].name
    changed.write_text(NOTEBOOKS[name].read_text(encoding="utf-8").replace("station", "platform"), encoding="utf-8")
    assert is_session_snapshot_stale(saved, MarimoPath(changed))


def test_git_keeps_the_outputs_and_nothing_else_that_marimo_writes():
    git = shutil.which("git")
    if not git or not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    kept, left = "notebooks/__marimo__/session/grpo_math.py.json", "notebooks/__marimo__/cache/x"
    done = subprocess.run([git, "check-ignore", kept, left, "__marimo__/x"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == [left, "__marimo__/x"]


def test_the_links_of_the_readme_lead_to_one_repository_and_to_what_is_in_it():
    clone = re.findall(r"github\.com/([\w.-]+)/([\w.-]+) ", README)
    site = re.findall(r"https://([\w.-]+)\.github\.io/([\w.-]+)/", README)
    molab = re.findall(r"molab\.marimo\.io/github/([\w.-]+)/([\w.-]+)/blob/main/([\w./]+)", README)
    assert clone and site and molab
    assert {each[:2] for each in clone + site + molab} == {(clone[0][0], PROJECT["name"])}
    assert all((ROOT / file).exists() for *_, file in molab)
    assert len(README.splitlines()) < 100
