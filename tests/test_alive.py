"""The loop alive: every stage of it as a reader has it, in a page by itself and in a notebook whose Python says what is paid."""

import re
import shutil

import pytest

from grpo_lessons import pocket
from grpo_lessons.pocket import scripts
from tests.support.browser import ROOT, browse, failures, serve
from tests.support.pages import serve_folder

# What Python does otherwise: it pays for texts, here the longer the more, and compares by plain differences.
RENDER = """(given) => { const hears = new Set(), traits = { ...given, asked: {}, paid: {} };
    const model = { get: (name) => traits[name], set: (name, value) => (traits[name] = value), on: (_, hear) => hears.add(hear),
        off: (_, hear) => hears.delete(hear), save_changes: () => setTimeout(() => { const { n, texts } = traits.asked;
            const rewards = texts.map((text) => (given.isDead ? 1 : text.length / 1000)), mean = rewards.reduce((a, b) => a + b) / 8;
            traits.paid = { n, rewards, advantages: rewards.map((each) => 10 * (each - mean)) }; window.paid = traits.paid;
            for (const hear of [...hears]) hear(); }, 20) };
    const el = document.createElement("main"); document.querySelector("main").replaceWith(el);
    window.unmount?.(); window.unmount = widget.default.render({ model, el }); }"""
ASSETS = {"weights": "model.safetensors", "tokenizer": "tokenizer.json"}
GIVEN = {"assets": ASSETS, "prompt": "Write about the sea.", "settings": {"learning_rate": 3e-3, "beta": 0.02}}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assets")
    for file in (pocket.PATH / "model.safetensors", pocket.PATH / "tokenizer.json"):
        shutil.copy(file, folder)
    (folder / "alive.js").write_text(scripts.widget("alive"), encoding="utf-8")
    (folder / "index.html").write_text("<!doctype html><meta name=viewport content='width=device-width'><main></main>")
    with serve_folder(folder) as address, browse(f"{address}/index.html") as page:
        page.evaluate("""async () => { window.widget = await import("./alive.js"); }""")
        yield page


def go_on(page, words: str) -> None:
    page.get_by_role("button", name="Next stage").click()
    page.get_by_role("status").filter(has_text=words).wait_for()


def replies(page):
    return page.locator(".replies li")


def test_each_stage_shows_what_it_adds_and_the_next_group_is_of_the_changed_model(page):
    page.evaluate(RENDER, GIVEN)
    now = page.locator("[aria-current=step]")
    assert now.inner_text() == "one prompt" and replies(page).count() == 0
    go_on(page, "Round 1, 8 sampled replies")
    first = replies(page).all_inner_texts()
    assert page.locator(".legend").is_hidden()  # nothing is coloured yet
    assert len(first) == 8 and not any("reward" in each for each in first) and now.inner_text() == "8 sampled replies"
    go_on(page, "Round 1, a reward each: the mean reward is 0.")
    assert all("reward" in each and "advantage" not in each for each in replies(page).all_inner_texts())
    go_on(page, "above the mean is pushed up, below it down")
    for shown, advantage in zip(replies(page).all_inner_texts(), page.evaluate("paid.advantages"), strict=True):
        assert f"{'↑ +' if advantage > 0 else '↓ −'}{abs(advantage):.2f}" in shown or abs(advantage) < 1e-3
    assert page.locator("[data-step]").count() == 6  # the legend's
    go_on(page, "Round 1, update")
    assert (
        page.locator(".legend").is_visible()
        and page.get_by_role("listbox").count() == 8
        and page.locator("[data-step]").count() > 20
    )
    assert all("as likely" in each for each in replies(page).all_inner_texts())
    go_on(page, "Round 2, 8 sampled replies: sampled from the changed model")
    assert not any("advantage" in each for each in replies(page).all_inner_texts())
    go_on(page, "Round 2, a reward each")
    said = page.get_by_role("img").get_attribute("aria-label")
    assert said.startswith("mean reward of each round: ") and len(said.split(":")[1].split(",")) == 2


def test_it_runs_by_itself_at_the_readers_pace_pauses_and_begins_again(page):
    page.evaluate(RENDER, GIVEN)
    page.get_by_label("seconds a stage").fill("0.2")
    page.get_by_role("button", name="Run by itself").click()
    page.get_by_role("status").filter(has_text=re.compile(r"^Round ([3-9]|\d\d),")).wait_for()
    assert page.get_by_role("button", name="Next stage").is_disabled()
    page.get_by_role("button", name="Pause").click()
    page.wait_for_timeout(1000)
    stood = page.get_by_role("status").inner_text()
    page.wait_for_timeout(1000)
    assert page.get_by_role("status").inner_text() == stood
    page.get_by_role("button", name="From the beginning").click()
    assert replies(page).count() == 0 and page.locator("[aria-current=step]").inner_text() == "one prompt"
    go_on(page, "Round 1, 8 sampled replies: sampled, ")


def test_a_dead_group_is_named(page):
    page.evaluate(RENDER, GIVEN | {"isDead": True})
    for words in ("Round 1, 8 sampled", "a reward each", "all rewards are equal: a dead group, and no push"):
        go_on(page, words)


def test_nothing_moves_by_itself_for_those_who_want_less_motion(page):
    page.emulate_media(reduced_motion="reduce")
    try:
        page.evaluate(RENDER, GIVEN)
        assert page.get_by_role("button", name="Run by itself").count() == 0 and page.get_by_role("slider").count() == 0
        go_on(page, "Round 1, 8 sampled replies")
    finally:
        page.emulate_media(reduced_motion="no-preference")


def test_what_cannot_be_loaded_is_said(page):
    page.evaluate(RENDER, GIVEN | {"assets": ASSETS | {"weights": "gone.safetensors"}})
    go_on(page, "That did not work: gone.safetensors: 404.")


def test_where_there_is_no_simd_it_says_so(page):
    old = scripts.widget("alive").replace("WebAssembly.validate(kernels)", "false")
    source = "URL.createObjectURL(new Blob([source], { type: 'text/javascript' }))"
    page.evaluate(f"async (source) => {{ window.widget = await import({source}); }}", old)
    page.evaluate(RENDER, GIVEN)
    go_on(page, "This browser is too old for the model, which needs WebAssembly SIMD. The picture above stands still.")


NOTEBOOK = """
import marimo
app = marimo.App()

@app.cell
def _():
    import marimo as mo
    from grpo_lessons.groups import scored
    from grpo_lessons.lesson import Alive, Opened
    from grpo_lessons.rewards import LengthReward
    opened = Opened.now("length")
    alive = Alive("Write about the sea.", lambda texts, ids: scored(texts, LengthReward(20), completion_ids=ids))
    live = alive.button()
    return alive, live, opened

@app.cell
async def _(alive, live, opened):
    await alive.show(opened, live, "How many rounds?")
    return

if __name__ == "__main__":
    app.run()
"""


def test_python_says_what_the_replies_earn(tmp_path):
    (tmp_path / "tiny.py").write_text(NOTEBOOK)
    (tmp_path / "pyproject.toml").write_text(f'[tool.marimo.runtime]\npythonpath = ["{ROOT.as_posix()}"]\n')
    with serve("run", str(tmp_path / "tiny.py")) as url, browse(url) as page:
        page.get_by_role("button", name="Bring it to life").click()
        go_on(page, "Round 1, 8 sampled replies")
        go_on(page, "Round 1, a reward each: the mean reward is −0.")
        go_on(page, "Round 1, compare within the group")
        go_on(page, "Round 1, update")
        for reply in replies(page).all():
            tokens = reply.get_by_role("option").count()
            paid = max(-1, -abs(tokens - 20) / 20)  # LengthReward(20), of the tokens that are shown
            assert f"reward {paid:.2f}".rstrip("0").rstrip(".").replace("-", "−") in reply.inner_text()
        assert failures(page) == []
