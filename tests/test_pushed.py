"""Tokens pushed: what is said of them, held against the three lessons' groups; and the widget as a reader has it."""

import json
import math
import shutil

import pytest

from grpo_lessons import pocket
from grpo_lessons.course import LESSONS
from grpo_lessons.lesson import pushed as said
from grpo_lessons.pocket import scripts
from notebooks import record
from tests.support.browser import ROOT, browse
from tests.support.engine import node
from tests.support.lessons import load
from tests.support.pages import serve_folder

RECORDED = ROOT / "notebooks/public/pushed.json"
SMALL = {"beta": 0, "learning_rate": 3e-4, "steps": 10**6, "max_completion_length": 128}  # pushed.js


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with node(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.fixture(scope="module")
def updates(engine):
    """The update of each lesson as a reader's browser makes it, with three adapters: {lesson: [what `learn` says, …]}."""

    def update(lesson, seed):
        prompt, group = record.running_example(load(lesson))
        engine.start(seed=seed, batch_size=len(group), group_size=len(group), **SMALL)
        engine.call("sample", prompts=[prompt], replies=[each.text for each in group])
        rewards = {name: [each.rewards[name] for each in group] for name in group[0].rewards}
        pushed = engine.call("learn", rewards=rewards, shown=0)
        assert pushed["advantages"] == pytest.approx([each.advantage for each in group], abs=1e-4)
        return pushed

    return {lesson: [update(lesson, seed) for seed in range(3)] for lesson in LESSONS}


def moved(token) -> float:
    """log p after the update - log p before it, of the token that stands there."""
    _, before, after = token[0]
    return math.log(after / before)


def shared(update) -> list[list[bool]]:
    """Of each token whether a reply that is pushed the other way has had the same ones up to it."""
    texts = [[token[0][0] for token in reply] for reply in update["tokens"]]

    def is_shared(i, t):
        others = zip(texts, update["advantages"], strict=True)
        mine, way = texts[i][: t + 1], update["advantages"][i]
        return any(each[: t + 1] == mine and other * way < 0 for each, other in others)

    return [[is_shared(i, t) for t in range(len(reply))] for i, reply in enumerate(texts)]


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_reply_is_pushed_as_a_whole(updates, lesson):
    assert "as a whole" in said.AS_A_WHOLE
    for update in updates[lesson]:
        for reply, way, both in zip(update["tokens"], update["advantages"], shared(update), strict=True):
            assert sum(map(moved, reply)) * way > 0
            clear = [
                moved(token) * way > 0
                for token, is_both in zip(reply, both, strict=True)
                if abs(moved(token)) > 0.02 and not is_both
            ]
            assert all(clear) and (clear or len(reply) > 30)  # a thought that was sure moves little


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_shared_beginning_is_pushed_both_ways_and_nearly_stays(updates, lesson):
    assert "both ways" in said.BOTH_WAYS
    for update in updates[lesson]:
        marks = [
            (abs(moved(t)), both)
            for reply, all in zip(update["tokens"], shared(update), strict=True)
            for t, both in zip(reply, all, strict=True)
        ]
        begun, others = ([size for size, both in marks if both == is_both] for is_both in (True, False))
        assert begun and max(begun) < 0.05 and max(begun) < max(others) / 4


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_sure_token_hardly_moves(updates, lesson):
    assert "hardly moves" in said.SURE
    for update in updates[lesson]:
        sure = [abs(moved(token)) for reply in update["tokens"] for token in reply if token[0][1] > 0.99]
        assert len(sure) > 15 and max(sure) < 0.01


@pytest.mark.parametrize("lesson", LESSONS)
def test_what_was_recorded_is_what_a_browser_would_show(updates, lesson):
    """PyTorch and the engine begin with different adapters, so their updates are alike and not the same."""
    recorded, (ours, *_) = json.loads(RECORDED.read_text("utf-8"))[lesson], updates[lesson]
    assert recorded["advantages"] == pytest.approx(ours["advantages"], abs=1e-4)
    for theirs, reply in zip(recorded["tokens"], ours["tokens"], strict=True):
        assert [token[0][0] for token in theirs] == [token[0][0] for token in reply]
        assert [token[0][1] for token in theirs] == pytest.approx([token[0][1] for token in reply], abs=1e-4)
        assert [moved(token) for token in theirs] == pytest.approx([*map(moved, reply)], abs=0.02, rel=0.25)
        assert all(
            len(token) == 6 and abs(token[1][1] - mine[1][1]) < 0.01 for token, mine in zip(theirs, reply, strict=True)
        )


TRAITS = """(given) => { const model = { get: (name) => given[name] }, el = document.createElement("main");
    document.querySelector("main").replaceWith(el); window.unmount = widget.default.render({ model, el }); }"""


IMPORT = "async (source) => { window.widget = await import(URL.createObjectURL(new Blob([source], { type: 'text/javascript' }))); }"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assets")
    for file in (pocket.PATH / "model.safetensors", pocket.PATH / "tokenizer.json", RECORDED):
        shutil.copy(file, folder)
    (folder / "pushed.js").write_text(scripts.widget("pushed"), encoding="utf-8")
    (folder / "index.html").write_text("<!doctype html><meta name=viewport content='width=device-width'><main></main>")
    with serve_folder(folder) as address, browse(f"{address}/index.html") as page:
        page.evaluate("""async () => { window.widget = await import("./pushed.js"); }""")
        yield page


def show(page, **changes) -> None:
    """The widget with the length lesson's group, in a new place."""
    prompt, group = record.running_example(load("length"))
    rewards = {"length_reward": [each.rewards["length_reward"] for each in group]}
    assets = {"weights": "model.safetensors", "tokenizer": "tokenizer.json", "recorded": "pushed.json"}
    given = {"assets": assets, "lesson": "length", "prompt": prompt, "replies": [each.text for each in group]}
    page.evaluate(TRAITS, given | {"rewards": rewards} | changes)


def test_an_update_colours_every_token_and_its_numbers_are_said_in_words(page):
    show(page)
    page.get_by_text("Update 1, made here").wait_for()
    lists = page.get_by_role("listbox")
    assert lists.count() == 4 and lists.nth(2).get_attribute("aria-label") == "tokens of reply 3, pushed up"
    busy = lists.nth(2).get_by_role("option").nth(1)
    assert busy.get_attribute("aria-label").startswith("busy: 3.2 %, then 3.")
    for reply in lists.all():  # a colour says what the label says
        for token in reply.get_by_role("option").all():
            words, step = token.get_attribute("aria-label"), token.get_attribute("data-step")
            assert ("it stays" in words) == (step is None) and ("more likely" in words) == bool(step and step[0] == "+")
    assert page.get_by_text("advantage ↑ +1.47").count() == 1
    page.get_by_role("button", name="One more update").click()
    page.get_by_text("Update 2, made here").wait_for()
    page.get_by_role("button", name="From the beginning").click()
    page.get_by_text("Update 1, made here").wait_for()


def test_the_keyboard_moves_through_a_reply_and_the_bars_follow(page):
    show(page)
    page.get_by_text("Update 1, made here").wait_for()
    tokens = page.get_by_role("listbox").nth(2).get_by_role("option")
    page.evaluate("() => { window.heard = []; document.onkeydown = (event) => heard.push(event.key); }")
    tokens.first.focus()
    page.keyboard.press("ArrowRight")
    assert tokens.nth(1).evaluate("each => each === document.activeElement && each.tabIndex === 0")
    panel = page.locator(f"#{tokens.nth(1).get_attribute('aria-describedby')}")
    assert "after …The" in panel.inner_text() and "␣busy" in panel.inner_text() and "all others" in panel.inner_text()
    assert panel.locator(".two").count() == 6
    page.keyboard.press("End")
    assert tokens.last.evaluate("each => each === document.activeElement")
    page.keyboard.press("ArrowRight")  # it stays there
    assert tokens.last.evaluate("each => each === document.activeElement")
    assert page.evaluate("heard") == []  # not on to the next station
    tokens.nth(3).hover()
    assert "after …The busy sea" in panel.inner_text() and tokens.nth(3).get_attribute("aria-selected") == "true"


def test_where_there_is_no_simd_a_recorded_update_is_shown_and_said_to_be_one(page):
    try:
        old = scripts.widget("pushed").replace("WebAssembly.validate(kernels)", "false")
        page.evaluate(IMPORT, old)
        show(page)
        page.get_by_text("This is a recorded update").wait_for()
        assert page.get_by_role("listbox").count() == 4 and page.locator("[data-step]").count() > 12
        assert page.get_by_role("button").count() == 0
    finally:
        page.evaluate("""async () => { window.widget = await import("./pushed.js"); }""")


def test_what_a_training_did_to_a_group_is_shown_from_its_record(page):
    source, said = scripts.widget("moved"), json.loads(RECORDED.read_text("utf-8"))["length"]
    assert "ENGINE" not in source and len(source) < 20_000  # it shows, and runs nothing
    try:
        page.evaluate(IMPORT, source)
        facts = [[["length_reward", "−0.75"], ["", "5 tokens"]]] * len(said["tokens"])
        page.evaluate(TRAITS, said | {"facts": facts})
        tokens = page.get_by_role("listbox").nth(2).get_by_role("option")
        assert tokens.nth(1).get_attribute("aria-label").startswith("busy: 3.2 %, then 3.")
        times = math.prod(after / before for (_, before, after), *_ in said["tokens"][2])
        below = f"length_reward −0.75 5 tokens advantage ↑ +1.47 the whole reply: × {times:.2f} as likely"
        assert page.locator("li .facts").nth(2).inner_text().replace("\n", " ") == below
        tokens.nth(3).hover()
        assert "after …The busy sea" in page.locator(".panel").inner_text()
    finally:
        page.evaluate("""async () => { window.widget = await import("./pushed.js"); }""")


def test_what_cannot_be_loaded_is_said_and_can_be_tried_again(page):
    show(page, assets={"weights": "gone.safetensors", "tokenizer": "tokenizer.json", "recorded": "pushed.json"})
    page.get_by_text("That did not work: gone.safetensors: 404. Press to try again.").wait_for()
    assert page.get_by_role("button", name="One more update").is_enabled()
