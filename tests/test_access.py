"""Every lesson, and the first page, for somebody who sees otherwise, or has no mouse: axe-core's rules, contrast among them, in light and in dark."""

import os
import shutil
import subprocess

import pytest

from grpo_lessons.course import LESSONS
from tests.support.browser import CHROMIUM, browse, serve
from tests.support.pages import NPM, serve_folder, write_first

pytestmark = pytest.mark.skipif(
    (CHROMIUM is None or NPM is None) and "CI" not in os.environ, reason="needs Chromium, and npm for axe-core"
)
THEME = """theme => { const { classList } = document.body; classList.remove("light", "dark", "light-theme", "dark-theme");
    classList.add(theme, `${theme}-theme`); document.documentElement.style.colorScheme = theme; }"""


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("axe")
    subprocess.run([NPM, "pack", "--silent", "axe-core@4.14.1"], cwd=folder, check=True, capture_output=True)
    shutil.unpack_archive(next(folder.glob("axe-core-*.tgz")), folder)
    return (folder / "package/axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", LESSONS)
def test_axe_finds_nothing_serious_in_light_or_dark(axe, name, tmp_path):
    with serve("run", f"notebooks/grpo_{name}.py", runs=tmp_path) as url, browse(url) as page:
        page.get_by_role("heading", name="What you now know").wait_for()
        page.get_by_role("button", name="Train", exact=True).wait_for()
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        page.locator(".cards .card").first.wait_for()
        page.get_by_role("button", name="One update").click()
        page.get_by_text("Update 1, made here").wait_for()
        page.get_by_role("button", name="Bring it to life").click()
        for stage in ("8 sampled replies", "a reward each", "compare within the group", "update"):
            page.get_by_role("button", name="Next stage").click()
            page.get_by_role("status").filter(has_text=f"Round 1, {stage}").wait_for()
        page.evaluate(axe)
        for theme in ("light", "dark"):
            page.evaluate(THEME, theme)
            page.wait_for_timeout(500)  # colours fade over
            assert violations(page, "serious", "critical") == {}, (name, theme)


def violations(page, *impacts: str) -> dict:
    """What axe finds, of these impacts if any are named: by the name of its rule."""
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert found["passes"], "axe has looked at nothing"
    return {
        each["id"]: [(node["target"], node["failureSummary"]) for node in each["nodes"][:3]]
        for each in found["violations"]
        if not impacts or each["impact"] in impacts
    }


def test_axe_finds_nothing_at_all_in_the_training_on_the_first_page(axe, tmp_path):
    write_first(tmp_path, steps=5)
    with serve_folder(tmp_path) as address, browse(f"{address}/train.html") as page:

        def check():
            for scheme in ("dark", "light"):
                page.emulate_media(color_scheme=scheme)
                assert violations(page) == {}, scheme

        page.evaluate(axe)
        check()
        page.get_by_role("button", name="Train it").click()
        page.wait_for_function("document.querySelector('.first').dataset.step >= 2")
        check()
        page.get_by_role("button", name="Train it again").wait_for(timeout=90_000)
        check()
        page.goto(f"{address}/index.html")
        page.evaluate(axe)
        check()
