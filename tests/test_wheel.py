"""The package as it is installed by itself: a wheel, in environments of its own, from another folder."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from grpo_lessons.course import LESSONS
from tests.support.browser import CHROMIUM, ROOT, at_step, browse, failures, free_port, settle, told, wait_for

SITE_PACKAGES = next(Path(path) for path in sys.path if path.endswith("site-packages"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from what git has, as from a clean clone."""
    source, out = (tmp_path_factory.mktemp(name) for name in ("source", "wheel"))
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in files.stdout.splitlines():
        if (ROOT / name).exists() and not name.startswith("tests/"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", out, source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory):
    """An environment with the package and nothing else."""
    return environment(tmp_path_factory.mktemp("bare"), wheel)


def environment(folder: Path, wheel: Path) -> Path:
    """The Python of a new environment with the wheel in it."""
    venv.create(folder)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True)
    return python


def run(python: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([python, *words], cwd=cwd, env=clean, capture_output=True, text=True)


def test_a_wheel_carries_the_lessons_and_all_that_they_show(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "grpo_lessons/py.typed",
        "grpo_lessons/notebooks/grpo_format.py",
        "grpo_lessons/notebooks/public/format_learns.json",
        "grpo_lessons/notebooks/public/format_learns.safetensors",
        "grpo_lessons/notebooks/public/lesson.css",
        "grpo_lessons/notebooks/notes/format.toml",
        "grpo_lessons/notebooks/cases/format.json",
        "grpo_lessons/pocket/model/model.safetensors",
        "grpo_lessons/pocket/ask.js",
        "grpo_lessons/pocket/kernels.wasm",
        "grpo_lessons/notebooks/public/step.html",
        "grpo_lessons/web/pages/index.html",
    ):
        assert wanted in names, wanted
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"grpo_lessons"}  # no package of another name


def test_what_the_wheel_says_of_itself_is_what_pypi_takes(wheel):
    done = subprocess.run([sys.executable, "-m", "twine", "check", "--strict", wheel], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_with_nothing_else_installed_the_rewards_work_and_load_in_a_tenth_of_a_second(bare, tmp_path):
    code = (
        "import time; began = time.process_time(); import grpo_lessons.rewards as rewards\n"
        "took = time.process_time() - began\n"
        "print(took, rewards.format_reward(['<think>a</think><answer>1</answer>']), rewards.answer_reward(['72.0'], ['72']))"
    )
    done = [run(bare, "-c", code, cwd=tmp_path) for _ in range(3)]
    assert {each.stdout.partition(" ")[2] for each in done} == {"[1.0] [1.0]\n"}, done[0].stderr
    assert min(float(each.stdout.split()[0]) for each in done) < 0.1


def test_it_says_what_there_is_and_what_is_missing(bare, tmp_path):
    said = run(bare, "-m", "grpo_lessons", cwd=tmp_path)
    assert said.returncode == 0 and all(word in said.stdout for word in ("length", "format", "math", "site", "class"))
    unknown = run(bare, "-m", "grpo_lessons", "maths", cwd=tmp_path)
    assert unknown.returncode != 0 and "'maths': no such lesson" in unknown.stderr
    refused = run(bare, "-m", "grpo_lessons", "format", cwd=tmp_path)
    assert "pip install 'grpo-lessons[lesson,train]'" in refused.stderr and list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def full(wheel, tmp_path_factory):
    """The package as a wheel over the libraries of this environment, without the course's own folder."""
    python = environment(folder := tmp_path_factory.mktemp("full"), wheel)
    place = next((folder / "lib").glob("python*/site-packages"))
    (place / "libraries.pth").write_text(
        f"{SITE_PACKAGES}\n"
    )  # the path only: its .pth files, ours among them, are not read
    return python


@pytest.mark.parametrize("name", LESSONS)
def test_one_notebook_and_nothing_beside_it_is_whole(full, tmp_path, name):
    """Its recordings, cases and style are the installed package's."""
    shutil.copy(ROOT / f"notebooks/grpo_{name}.py", tmp_path)
    command = ("marimo", "export", "html", f"grpo_{name}.py", "-o", "lesson.html", "--no-sandbox")
    done = run(full, "-m", *command, cwd=tmp_path)
    page = (tmp_path / "lesson.html").read_text(encoding="utf-8")
    assert done.returncode == 0 and "FileNotFoundError" not in page + done.stderr, done.stderr
    assert "content-visibility: auto" in page  # lesson.css, which marimo did not find beside the notebook


@pytest.mark.skipif(not CHROMIUM and not os.environ.get("CI"), reason="no Chromium or Chrome on this machine")
def test_from_another_folder_a_lesson_opens_on_a_copy_of_ones_own_and_trains(full, tmp_path):
    port = free_port()
    command = [full, "-m", "grpo_lessons", "format", "--headless", "--no-token", "--port", str(port)]
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "GRPO_LESSONS_RUNS")}
    server = subprocess.Popen(
        command, cwd=tmp_path, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        url = wait_for(f"http://127.0.0.1:{port}")
        with browse(url) as page:
            page.get_by_role("button", name="Train", exact=True).wait_for()
            assert failures(page) == []
            settle(page)
            page.get_by_role("button", name="Train", exact=True).click()
            at_step(page, 1).wait_for()
            page.get_by_role("button", name="Stop").click()
            told(page, "Stopped; what was learnt is kept").wait_for()
    finally:
        os.killpg(server.pid, 9)
        server.wait()
    assert (tmp_path / "grpo-lessons/runs/format/run.json").exists()
    copy = (tmp_path / "grpo-lessons/grpo_format.py").read_text(encoding="utf-8")
    assert "grpo-lessons[lesson]" in copy and "tool.uv.sources" not in copy  # the course is a package here, not a path
