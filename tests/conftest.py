"""What the tests share: a room of their own on this computer, and one real, short training on the pocket model."""

import atexit
import gc
import os
import shutil
import sys
import tempfile
from contextlib import suppress

import pytest
from filelock import FileLock

# The line for the device stands in the folder for temporary files: nobody else's training is waited for, nor waits.
os.environ["TMPDIR"] = os.environ["TEMP"] = tempfile.mkdtemp(prefix="grpo-")
atexit.register(shutil.rmtree, os.environ["TMPDIR"], ignore_errors=True)
tempfile.tempdir = None
os.environ["OMP_NUM_THREADS"] = "1"  # as many tests at a time as cores: two threads each cost a quarter more of both
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # some seventy processes would each compile the course anew
sys.dont_write_bytecode = False
os.environ["GRPO_LESSONS_RUNS"] = tempfile.mkdtemp() + "/runs"  # a learner's own runs stay as they are

gc.disable()  # what is imported stays: to look through it for garbage, again and again, takes a fifth of the time it takes to come


def pytest_collection_finish():
    """All test modules are there, with torch and TRL: they are looked through no more."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """What the page showed, for whoever reads a failure that cannot be seen again."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.failed and hasattr(page, "locator"):
        with suppress(Exception):
            shown = (" ".join(area.split()) for area in page.locator(".output-area").all_inner_texts())
            report.sections.append(("what stood there", " | ".join(filter(None, shown))))
    return report


@pytest.fixture(scope="session")
def short():
    """Three real steps with two rewards and a KL term, evaluated before and after; and everything it said meanwhile."""
    from grpo_lessons.problems import sums
    from grpo_lessons.rewards import answer_reward, format_reward, tag_reward
    from grpo_lessons.training import Plan, Settings, Watch, train

    said = []
    plan = Plan(
        Settings(steps=3, batch_size=16, beta=0.04, seed=1),
        [format_reward, tag_reward],
        sums(64),
        held_out=sums(8, split="held-out"),
        judges=[format_reward, answer_reward],
        sample_every=2,
        evaluate_every=2,
    )
    trained = train(plan, Watch(update=lambda phase, run: said.append((phase, run.steps_done))))
    return trained, said


@pytest.fixture(scope="session")
def www(tmp_path_factory):
    """A site of the course, built once, however many processes test it."""
    from tests.support.pages import build_once

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with FileLock(shared / "www.lock"):
        if not (shared / "www.whole").exists():
            build_once(shared / "www")
            (shared / "www.whole").touch()
    return shared / "www"


@pytest.fixture(scope="session")
def root(www):
    """A web server's folder, with the site under a path of its own."""
    return www / "root"


@pytest.fixture(scope="session")
def distribution(www):
    """The Pyodide that the site was built from."""
    return www / "pyodide/package"
