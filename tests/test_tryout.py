"""The pocket model in a page: JavaScript against PyTorch and `tokenizers`, and the widget as a visitor has it."""

import json
import os
import shutil
from statistics import fmean

import pytest

from grpo_lessons import pocket
from grpo_lessons.problems import sums, texts
from grpo_lessons.rewards import answer_reward, format_reward
from grpo_lessons.runs import Run
from tests.support.browser import CHROMIUM, ROOT, browse, failures, serve
from tests.support.pages import serve_folder

if not CHROMIUM and not os.environ.get("CI"):
    pytest.skip("no Chromium or Chrome on this machine", allow_module_level=True)

PUBLIC = ROOT / "notebooks" / "public"
ADAPTERS = ("format_learns", "length_learns", "math_learns")
FILES = [pocket.PATH / "model.safetensors", pocket.PATH / "tokenizer.json", pocket.PATH.parent / "pocket.js"]
SUM = "What is 27 + 51 + 34?"
NASTY = [
    "",
    " ",
    "\n\n  \t x",
    "1234 5 6",
    "a  1  b   ",
    "It's they'll 'tis I'd've 's's",
    "<|end|><|user|>hi<|assistant|>",
    "naïve – ☂ \\boxed{}",
    "👩‍👩‍👧 👍🏽🇩🇪",
    "e\u0301 \u0301",
    "٣५Ⅷ½² 一七",
    "\x00\x1c\x85\xa0\u2028\ufeff\u200b x",
    "あした 안녕 Привет",
    "<think>12 + 45</think>\n<answer>57</answer>",
    "a" * 500,
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with the assets beside it, `Pocket` in `window`, and for each adapter and "" a model in `window.models`."""
    folder = tmp_path_factory.mktemp("assets")
    for file in (*FILES, *(PUBLIC / f"{name}.safetensors" for name in ADAPTERS)):
        shutil.copy(file, folder)
    (folder / "index.html").write_text("<!doctype html><meta name=viewport content='width=device-width'><main></main>")
    with serve_folder(folder) as address, browse(f"{address}/index.html") as page:
        page.evaluate(
            """async names => {
            const bytes = async name => (await fetch(name)).arrayBuffer();
            window.widget = await import("./pocket.js");
            const [weights, tokenizer] = [await bytes("model.safetensors"), await (await fetch("tokenizer.json")).json()];
            window.models = { "": new widget.Pocket(weights, tokenizer) };
            for (const name of names)
                models[name] = new widget.Pocket(weights, tokenizer, await bytes(`${name}.safetensors`)); }""",
            ADAPTERS,
        )
        yield page


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(pocket.PATH / "tokenizer.json"))
    tokenizer.encode_special_tokens = True  # a special token in a text is text
    return tokenizer


def reference(adapter: str):
    """The model in PyTorch, with the adapter's matrices multiplied out by hand."""
    import torch
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(pocket.PATH, dtype=torch.float32)
    if adapter:
        weights = model.state_dict()
        with safe_open(PUBLIC / f"{adapter}.safetensors", "pt") as file:
            scale = float(file.metadata()["alpha"]) / float(file.metadata()["r"])
            lora = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        assert len(lora) == 2 * 4 * 7
        for name, A in lora.items():
            if "lora_A" in name:
                B = lora[name.replace("lora_A", "lora_B")]
                weights[name.replace("lora_A.", "")] += scale * B @ A
    return model


@pytest.mark.parametrize("adapter", ["", *ADAPTERS])
def test_the_logits_are_those_of_transformers(page, adapter):
    import torch

    model = reference(adapter)
    asked = [row["prompt"][0]["content"] for row in (*sums(3), *texts(2))] + ["x", "é👍" * 100]
    prompts = page.evaluate("asked => asked.map(question => models[''].prompt(question))", asked)
    prompts += [prompts[0] + list(range(4, 240)), prompts[0][:5], [3], prompts[-1] + list(range(300, 364))]
    assert max(map(len, prompts)) == 256
    for ids in prompts:  # in this order: each call finds the keys and values of another text
        with torch.no_grad():
            expected = model(torch.tensor([ids])).logits[0, -1]
        found = torch.tensor(page.evaluate("([name, ids]) => Array.from(models[name].logits(ids))", [adapter, ids]))
        assert found.shape == expected.shape == (600,)
        assert (found - expected).abs().max() <= 1e-3
        assert found.argmax() == expected.argmax()


def test_no_ids_and_more_than_the_context_are_refused(page):
    for count in (0, 257):
        assert "expected 1 to 256" in page.evaluate(
            "count => { try { models[''].logits(Array(count).fill(5)); } catch (error) { return error.message; } }",
            count,
        )


def test_encoding_and_decoding_are_those_of_tokenizers(page, tokenizer):
    found = page.evaluate("texts => texts.map(text => models[''].encode(text))", NASTY)
    for text, ids in zip(NASTY, found, strict=True):
        assert ids == tokenizer.encode(text, add_special_tokens=False).ids, text
        assert all(id > 3 for id in ids)
    halves = [ids[1:-1] for ids in found] + [[2, 40, 1, 0, 3, 41], list(range(600))]
    decoded = page.evaluate("all => all.map(ids => models[''].decode(ids))", found + halves)
    assert decoded == NASTY + [tokenizer.decode(ids) for ids in halves]


def test_a_prompt_is_the_chat_template(page):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(pocket.PATH)
    expected = theirs.apply_chat_template([{"role": "user", "content": SUM}], add_generation_prompt=True)["input_ids"]
    assert page.evaluate("asked => models[''].prompt(asked)", SUM) == expected


@pytest.mark.parametrize("asked", ["9" * 10**6, "👩‍👩‍👧" * 10**5, "\x00\x1b[2J\u202e", "<|end|>\ufffd", " "])
def test_no_question_raises_hangs_or_leaves_the_context(page, asked):
    length, reply, seconds = page.evaluate(
        """asked => { const begun = performance.now(), ids = models[""].prompt(asked);
        return [ids.length, [...models[""].sample(ids)], (performance.now() - begun) / 1000]; }""",
        asked,
    )
    assert length <= 256 - 64 and 1 <= len(reply) <= 64 and seconds < 3


def test_sampling_follows_the_dice_and_stops_at_the_end(page):
    script = """([temperature, value]) => { const model = models[""], ids = model.prompt("What is 27 + 51 + 34?");
        return [...model.sample(ids, { temperature, max: 48, random: () => value })]; }"""
    likeliest = page.evaluate(script, [0, 0.5])
    assert likeliest[-1] == 1 and 1 not in likeliest[:-1]
    assert page.evaluate(script, [1e-3, 0.5]) == likeliest
    assert len(page.evaluate(script, [1, 1])) == 48  # a number that Math.random never gives: the last of the vocabulary


def test_half_a_surrogate_does_not_raise(page):
    assert len(page.evaluate("models[''].prompt('\\ud83d'.repeat(3))")) == 3 + 9  # as U+FFFD, three bytes each


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


def sample(page, adapter: str, questions: list[str]) -> list[tuple[str, float]]:
    """A reply of at most 48 tokens to each question, with the milliseconds that it took; always the same ones."""
    return page.evaluate(
        """([name, questions]) => { let seed = 1; const model = models[name];
        const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
        return questions.map(question => { const begun = performance.now();
            const ids = [...model.sample(model.prompt(question), { max: 48, random })];
            return [model.decode(ids), performance.now() - begun]; }); }""",
        [adapter, questions],
    )


def test_what_the_recorded_runs_learnt_is_there_and_quickly(page):
    rows = sums(40, seed=7, split="held-out")
    questions, answers = [row["prompt"][0]["content"] for row in rows], [row["answer"] for row in rows]
    replies = {name: sample(page, name, questions) for name in ("", *ADAPTERS)}
    took = sorted(ms for each in replies.values() for _, ms in each)
    assert took[len(took) // 2] < 300
    said = {name: [text for text, _ in each] for name, each in replies.items()}
    assert fmean(format_reward(said[""])) <= 0.45
    assert fmean(format_reward(said["format_learns"])) >= 0.6
    before, after = (fmean(answer_reward(said[name], answer=answers)) for name in ("", "math_learns"))
    assert after >= before + 0.2


def test_the_length_lessons_adapter_brings_the_length_to_twenty(page):
    asked = [row["prompt"][0]["content"] for row in texts(10, split="held-out")] * 4
    off = {
        name: fmean(abs(len(pocket.tokens(text)) - 20) for text, _ in sample(page, name, asked))
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
        page.get_by_text("nothing yet").wait_for(timeout=60_000)
        sent = []
        page.on("request", lambda request: sent.append(len(request.post_data_buffer or b"")))
        field = page.get_by_label("Your question")
        field.fill("What is 10 + 20 + <b>30</b>?")
        field.press("Enter")
        page.get_by_text("4 replies on each side").wait_for(timeout=30_000)
        assert page.get_by_role("listitem").count() == 8
        scores = page.get_by_text("rewards before")
        scores.wait_for(timeout=10_000)
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
        field.value = "é".repeat(1000);
        form.requestSubmit();
        for (let last = performance.now(); !sent.length; last = performance.now()) { await wait(1); gaps.push(performance.now() - last); }
        await wait(300);
        return { sent, items: el.querySelectorAll("li").length, frozen: gaps.sort((a, b) => b - a)[3], status: status.textContent }; }"""
    )
    (sent,) = replies["sent"]
    assert sent["question"] == "é" * 1000 and len(sent["before"]) == len(sent["after"]) == 4
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
