"""The pocket model in a page: JavaScript against PyTorch and `tokenizers`, and the widget as a visitor has it."""

import json
import os
import shutil
from statistics import fmean

import pytest

from grpo_lessons import pocket
from grpo_lessons.pocket import scripts
from grpo_lessons.problems import sums, texts
from grpo_lessons.rewards import answer_reward, format_reward
from grpo_lessons.runs import Run
from tests.support.browser import CHROMIUM, ROOT, browse, failures, serve
from tests.support.engine import node
from tests.support.pages import serve_folder

if not CHROMIUM and not os.environ.get("CI"):
    pytest.skip("no Chromium or Chrome on this machine", allow_module_level=True)

PUBLIC = ROOT / "notebooks" / "public"
ADAPTERS = ("format_learns", "length_learns", "math_learns")
FILES = [pocket.PATH / "model.safetensors", pocket.PATH / "tokenizer.json"]
SUM = "What is 27 + 51 + 34?"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with the assets beside it, and the widget in `window`."""
    folder = tmp_path_factory.mktemp("assets")
    for file in (*FILES, *(PUBLIC / f"{name}.safetensors" for name in ADAPTERS)):
        shutil.copy(file, folder)
    (folder / "ask.js").write_text(scripts.widget("ask"), encoding="utf-8")
    (folder / "index.html").write_text("<!doctype html><meta name=viewport content='width=device-width'><main></main>")
    with serve_folder(folder) as address, browse(f"{address}/index.html") as page:
        page.evaluate("""async () => { window.widget = await import("./ask.js"); }""")
        yield page


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with node(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_says_which_run_it_is_of(name):
    from safetensors import safe_open

    run = Run.load(PUBLIC / f"{name}.json")
    with safe_open(PUBLIC / f"{name}.safetensors", "pt") as file:
        about = file.metadata()
    said = json.loads(about["settings"])
    assert {key: said[key] for key in run.settings} == run.settings
    assert float(about["alpha"]) == 2 * float(about["r"]) == 2 * run.settings["lora_rank"]
    assert {"model", "date", "torch", "peft"} <= json.loads(about["provenance"]).keys()


def test_a_recorded_run_leaves_its_adapter(short, tmp_path):
    import torch
    from safetensors.torch import load_file

    from notebooks import record

    assert record.ADAPTERS == ("length_learns", "math_learns", "format_learns")
    trained, _ = short
    record.save_adapter(trained, tmp_path / "a.safetensors")
    lora = load_file(tmp_path / "a.safetensors")
    assert {matrix.dtype for matrix in lora.values()} == {torch.float16}
    name = "model.layers.3.mlp.down_proj"
    layer = trained.model.base_model.model.get_submodule(name)
    product = 2 * lora[f"{name}.lora_B.weight"].float() @ lora[f"{name}.lora_A.weight"].float()
    assert torch.allclose(product, layer.get_delta_weight("default"), atol=1e-4)


def test_the_files_are_small():
    adapters = [(PUBLIC / f"{name}.safetensors").stat().st_size for name in ADAPTERS]
    assert sum(file.stat().st_size for file in FILES) + max(adapters) <= 5_000_000
    assert len(scripts.widget("ask")) <= 60_000  # all that a page needs besides


def sample(engine, adapter: str, questions: list[str]) -> dict:
    """A reply of at most 48 tokens to each question; always the same ones."""
    engine.start(PUBLIC / f"{adapter}.safetensors" if adapter else None)
    return engine.call("generate", prompts=questions, seed=1)


def test_what_the_recorded_runs_learnt_is_there_and_quickly(engine):
    rows = sums(40, seed=7, split="held-out")
    questions, answers = [row["prompt"][0]["content"] for row in rows], [row["answer"] for row in rows]
    said = {name: sample(engine, name, questions)["texts"] for name in ("", *ADAPTERS)}
    assert engine.cpu / (4 * 40) < 0.3  # seconds a reply
    assert fmean(format_reward(said[""])) <= 0.45
    assert fmean(format_reward(said["format_learns"])) >= 0.6
    before, after = (fmean(answer_reward(said[name], answer=answers)) for name in ("", "math_learns"))
    assert after >= before + 0.2
    assert engine.call("generate", prompts=questions, seed=1, base=True)["texts"] == said[""]


def test_the_length_lessons_adapter_brings_the_length_to_twenty(engine):
    asked = [row["prompt"][0]["content"] for row in texts(10, split="held-out")] * 4
    off = {
        name: fmean(abs(length - 20) for length in sample(engine, name, asked)["lengths"])
        for name in ("", "length_learns")
    }
    assert off["length_learns"] < off[""] / 2


NOTEBOOK = """
import marimo
app = marimo.App()

@app.cell
def _():
    import marimo as mo
    from grpo_lessons.lesson import Opened
    from grpo_lessons.lesson.tryout import Tryout
    from grpo_lessons.rewards import format_reward
    return Opened, Tryout, format_reward, mo

@app.cell
async def _(Opened, Tryout):
    own = await Tryout(Opened.now("format"), "What is 27 + 51 + 34?", "format_learns", None).widget(True)
    own
    return (own,)

@app.cell
def _(format_reward, mo, own):
    _replies = own.value["replies"]
    mo.md(
        "nothing yet" if not _replies else _replies["question"] + " rewards "
        + " ".join(f"{when} {format_reward([reply['text'] for reply in _replies[when]])}" for when in ("before", "after"))
    )
    return

if __name__ == "__main__":
    app.run()
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    path = tmp_path_factory.mktemp("notebook") / "tiny.py"
    path.write_text(NOTEBOOK)
    with serve("run", str(path)) as url:
        yield url


@pytest.mark.parametrize(("width", "scheme"), [(1100, "light"), (390, "dark")])
def test_a_visitor_asks_and_a_cell_scores_the_replies(notebook, width, scheme):
    with browse(notebook, width=width, scheme=scheme) as page:
        page.get_by_text("nothing yet").wait_for()
        sent = []
        page.on("request", lambda request: sent.append(len(request.post_data_buffer or b"")))
        field = page.get_by_label("Your question")
        field.fill("What is 10 + 20 + <b>30</b>?")
        field.press("Enter")
        page.get_by_text("4 replies on each side").wait_for()
        assert page.get_by_role("listitem").count() == 8
        scores = page.get_by_text("rewards before")
        scores.wait_for()
        assert "What is 10 + 20 +" in scores.inner_text()
        assert 0 < max(sent) < 10_000  # the replies, not the weights
        columns = [page.get_by_label(f"replies {title}").bounding_box() for title in ("before", "after GRPO")]
        assert (columns[0]["y"] == columns[1]["y"]) == (width > 600)  # stacked on a phone
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert failures(page) == []
        if shots := os.environ.get("SHOTS"):
            page.screenshot(path=f"{shots}/tryout_{scheme}_{width}.png")


def test_a_new_question_ends_the_one_under_way(page):
    replies = page.evaluate(
        """async () => {
        const state = { question: "What is 1 + 1?", assets: { weights: "model.safetensors", tokenizer: "tokenizer.json",
            adapter: "format_learns.safetensors" } }, sent = [], gaps = [];
        const model = { get: name => state[name], set: (name, value) => (state[name] = value),
            save_changes: () => sent.push(state.replies) };
        const el = document.querySelector("main");
        widget.default.render({ model, el });
        const [field, form, status] = ["input", "form", "[role=status]"].map(name => el.querySelector(name));
        const wait = ms => new Promise(resolve => setTimeout(resolve, ms));
        form.requestSubmit();
        while (!el.querySelector("li")) await wait(5);
        field.value = "e ".repeat(1000);
        form.requestSubmit();
        for (let last = performance.now(); !sent.length; last = performance.now()) { await wait(1); gaps.push(performance.now() - last); }
        await wait(300);
        return { sent, items: el.querySelectorAll("li").length, frozen: gaps.sort((a, b) => b - a)[3], status: status.textContent }; }"""
    )
    (sent,) = replies["sent"]
    assert sent["question"] == "e " * 100 and len(sent["before"]) == len(sent["after"]) == 4
    assert replies["items"] == 8 and "4 replies" in replies["status"]
    assert replies["frozen"] < 100  # aimed at 30 ms; the machine does other things, too


def test_what_cannot_be_loaded_is_said(page):
    said = page.evaluate(
        """async () => {
        const state = { question: SUM, assets: { weights: "gone.safetensors", tokenizer: "tokenizer.json", adapter: "gone" } };
        const el = document.createElement("div");
        widget.default.render({ model: { get: name => state[name] }, el });
        document.body.append(el);
        el.querySelector("form").requestSubmit();
        for (let i = 0; i < 100 && !/could not/.test(el.textContent); i++) await new Promise(resolve => setTimeout(resolve, 20));
        return el.querySelector("[role=status]").textContent; }""".replace("SUM", repr(SUM))
    )
    assert said in (
        f"The model could not be loaded ({name}: 404). Ask again to retry." for name in ("gone.safetensors", "gone")
    )
