"""The engine of the page beside PyTorch and TRL: the same logits, advantages, gradients, metrics, and updates; and what it refuses."""

import itertools
import json
import math
import os
import re
import shutil
import subprocess
from statistics import fmean

import pytest

from grpo_lessons import pocket
from grpo_lessons.pocket import scripts
from grpo_lessons.problems import sums, texts
from grpo_lessons.rewards import format_reward, tag_reward
from grpo_lessons.runs import Run
from grpo_lessons.training import Settings, exchange, keep
from tests.support.browser import ROOT
from tests.support.engine import EngineError, in_chromium, node

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

POCKET, PUBLIC = pocket.PATH.parent, ROOT / "notebooks" / "public"
SUM = "What is 27 + 51 + 34?"


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with node(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


def unsure(completions, **kwargs) -> list[float | None]:
    """A reward that has no say on one of three, and on the whole first group."""
    texts = [completion[0]["content"] for completion in completions]
    return [None if i % 3 == 0 or i < 4 else float(len(text) % 7) for i, text in enumerate(texts)]


def one_step_of_trl(folder, rewards, steps=1, also=(), **changes) -> dict:
    """A step of TRL on an adapter that has learnt something: the adapter as a file, what TRL saw, and what it made of it.

    `also`: arguments of GRPOConfig that are no settings of the course.
    """
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model_state_dict
    from safetensors.torch import save_file
    from transformers import PrinterCallback, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from grpo_lessons.training import models

    settings = Settings(**{"steps": 10, "group_size": 4, "batch_size": 12, "max_grad_norm": 1e6, "seed": 3} | changes)
    model, tokenizer = models.load("pocket")
    seen, found = {}, {"settings": settings, "learnt": []}

    def watched(reward):
        def said(**kwargs):
            seen["ids"], seen["prompts"] = kwargs["completion_ids"], kwargs["prompts"]
            seen[reward.__name__] = reward(**kwargs)
            return seen[reward.__name__]

        said.__name__ = reward.__name__
        return said

    class Trainer(GRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            made = super()._generate_and_score_completions(inputs)
            found["advantages"] = made["advantages"].tolist()
            return made

    class Watcher(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            found["gradients"] = {
                name.replace(".default.", "."): weight.grad.clone()
                for name, weight in trainer.model.named_parameters()
                if weight.grad is not None
            }

        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == steps

        def on_log(self, args, state, control, logs=None, **kwargs):
            if "loss" in logs:
                after = {name: matrix.clone() for name, matrix in get_peft_model_state_dict(trainer.model).items()}
                found["learnt"].append(found | seen | {"log": dict(logs), "after": after})

    arguments = settings.grpo_arguments() | {"output_dir": str(folder / "trl")} | dict(also)
    trainer = Trainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=[watched(reward) for reward in rewards],
        train_dataset=Dataset.from_list(sums(24)),
        args=GRPOConfig(**arguments),
        peft_config=LoraConfig(**settings.lora_arguments()),
        callbacks=[Watcher()],
    )
    trainer.remove_callback(PrinterCallback)
    torch.manual_seed(0)
    for name, weight in trainer.model.named_parameters():
        if ".lora_B." in name:
            weight.data.normal_(0, 0.02)
    before = {name: matrix.clone() for name, matrix in get_peft_model_state_dict(trainer.model).items()}
    about = {"r": str(settings.lora_rank), "alpha": str(2 * settings.lora_rank)}
    save_file(before, folder / "before.safetensors", about)
    trainer.train()
    return found | {"before": before}


def replayed(engine, settings, step, rewards) -> dict:
    """The same step in the engine: TRL's completions and rewards."""
    prompts = step["prompts"][:: settings.group_size]
    given = [list(map(int, ids)) for ids in step["ids"]]
    said = engine.call("sample", prompts=prompts, replies=given)
    assert said["ids"] == given
    return engine.call("learn", rewards={each.__name__: step[each.__name__] for each in rewards})


def matrices(data: bytes) -> dict:
    from safetensors.torch import load

    return load(data)


def apart(ours: dict, theirs: dict) -> float:
    """The largest relative difference of any matrix: the norm of the difference over the norm."""
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).norm() / theirs[name].norm()) for name in theirs)


CASES = [  # every pair of a beta, a scaling, and masked or not
    {"beta": beta, "scale_rewards": scale, "mask_truncated_completions": i % 2 == 1, "max_completion_length": 24}
    for i, (beta, scale) in enumerate(itertools.product((0.0, 0.1), ("group", "batch", "none")))
]
CASES += [
    {"temperature": 0.7, "lora_rank": 4, "multi_objective_aggregation": "normalize_then_sum"},
    {"group_size": 2, "batch_size": 4, "lora_rank": 1, "beta": 0.5, "temperature": 1.3},
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case.values())))
def test_a_step_is_that_of_trl(engine, tmp_path, case):
    rewards = [format_reward, tag_reward, unsure] if case.get("mask_truncated_completions", True) else [tag_reward]
    weights = (1.0, 0.5, 0.25) if len(rewards) > 1 else None
    trl = one_step_of_trl(tmp_path, rewards, reward_weights=weights, **case)
    (step,), settings = trl["learnt"], trl["settings"]
    engine.start(tmp_path / "before.safetensors", **{name: value for name, value in vars(settings).items()})
    ours = replayed(engine, settings, step, rewards)
    assert sorted(ours["advantages"]) == pytest.approx(sorted(step["advantages"]), abs=1e-4)  # TRL shuffles
    assert apart(matrices(engine.call("save", of="gradient")), step["gradients"]) < 1e-3
    log = step["log"]
    if "mask_truncated_completions" in case:
        assert 0 < log["completions/clipped_ratio"] < 1 and any(step["advantages"])  # there is something to mask
    for name, value in ours["metrics"].items():
        if name not in ("step", "within_group_std", "completions/std_length"):  # the ledger's, not TRL's
            expected = None if log[name] is None else pytest.approx(log[name], rel=1e-3, abs=2e-5)
            assert value == expected, name
    assert log.keys() - ours["metrics"].keys() == {"step_time", "epoch"}
    assert set(ours["ratios"]) <= {1} and log["clip_ratio/region_mean"] == 0  # one update for each batch


@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "dr_grpo"])
def test_several_updates_from_the_same_replies_and_every_loss_are_those_of_trl(engine, tmp_path, loss_type, beta):
    """Before each update the engine is given TRL's weights, so that the same sums are compared and not the path to them."""
    from safetensors.torch import save_file

    also, masked = {"loss_type": loss_type, "num_iterations": 3}, loss_type != "dapo"
    changes = {"beta": beta, "mask_truncated_completions": masked, "max_completion_length": 24, "temperature": 0.8}
    trl = one_step_of_trl(tmp_path, [tag_reward], steps=3, also=also, **changes)
    settings, clipped = trl["settings"], []
    engine.start(tmp_path / "before.safetensors", **vars(settings), **also)
    given = [list(map(int, ids)) for ids in trl["learnt"][0]["ids"]]
    engine.call("sample", prompts=trl["learnt"][0]["prompts"][:: settings.group_size], replies=given)
    for i, step in enumerate(trl["learnt"]):
        assert step["ids"] == trl["learnt"][0]["ids"]
        ours = engine.call("learn", rewards={"tag_reward": step["tag_reward"]} if i == 0 else {})
        assert apart(matrices(engine.call("save", of="gradient")), step["gradients"]) < 1e-3
        assert step["log"].keys() - {"step_time", "epoch"} <= ours["metrics"].keys()
        for name in step["log"].keys() - {"step_time", "epoch"}:
            assert ours["metrics"][name] == pytest.approx(step["log"][name], rel=1e-3, abs=2e-5), name
        assert ("reward" in ours["metrics"]) == (i == 0) == (set(ours["ratios"]) == {1})
        clipped.append(ours["metrics"]["clip_ratio/region_mean"])
        save_file(step["after"], tmp_path / "after.safetensors", {"r": "16", "alpha": "32"})
        file = {"file": str(tmp_path / "after.safetensors")}
        engine.evaluate("(file) => trainer.model.load(readSafetensors(file))", file)
    assert clipped[0] == 0 and max(clipped) > 0.05
    with pytest.raises(EngineError, match="call sample first"):
        engine.call("learn")


def test_what_an_update_does_to_each_token_is_what_the_model_then_says(engine):
    replies = ["The sea is dark.", "The sea is wild and cold.", "A ship.", "The sea is dark and wild. The sea is cold."]
    engine.start(batch_size=8, group_size=4, beta=0, learning_rate=3e-4)
    prompts, others = ["What is 1 + 2?", "Write about the sea."], ["3", "The answer is 3.", "4", "<answer>3</answer>"]
    logs = """() => { const { replies, chances } = trainer.sampled;
        return replies.map(({ ids, rows }) => ids.map((id, t) => Math.log(chances.row(rows[t])[id]))); }"""
    for _ in range(2):  # the second upon the first
        said = engine.call("sample", prompts=prompts, replies=others + replies)
        assert said["texts"] == others + replies and not any(said["cut"])
        before = engine.evaluate(logs)[4:]
        pushed = engine.call("learn", rewards={"long": [len(each) for each in said["texts"]]}, shown=1)
        engine.call("sample", prompts=prompts, replies=others + replies)
        after = engine.evaluate(logs)[4:]
        assert [len(each) for each in pushed["tokens"]] == said["lengths"][4:]
        for i, tokens in enumerate(pushed["tokens"]):
            assert "".join(text for (text, *_), *_ in tokens) == replies[i]
            for t, ((text, was, now), *likeliest) in enumerate(tokens):
                assert [math.log(was), math.log(now)] == pytest.approx([before[i][t], after[i][t]], abs=1e-5)
                assert 1 <= len(likeliest) <= 5 and sum(now for _, _, now in likeliest) <= 1 + 1e-5
                assert all(was + now > 0.02 for _, was, now in likeliest)  # and all that have as much:
                assert len(likeliest) == 5 or sum(was + now for _, was, now in likeliest) > 2 - 0.02 * 600
                assert sorted(likeliest, key=lambda each: -each[1] - each[2]) == likeliest
                least = sum(likeliest[-1][1:]) if len(likeliest) == 5 else 0.02
                assert any(each[0] == text for each in likeliest) or was + now <= least + 1e-6
    assert pushed["metrics"]["step"] == 2 and len(pushed["advantages"]) == 8


def test_replies_that_begin_alike_are_computed_once_as_far_as_they_do(engine):
    engine.start(batch_size=4, group_size=2)
    replies = ["The sea is dark.", "The sea is wild.", "The sea is dark.", "The sea is dark."]
    ids = engine.call("sample", prompts=["Write about the sea.", "Write about a boat."], replies=replies)["ids"]
    rows = engine.evaluate("() => trainer.sampled.replies.map(({ rows }) => rows)")
    same = next(t for t, (a, b) in enumerate(zip(*ids[:2], strict=False)) if a != b)
    assert rows[0][: same + 1] == rows[1][: same + 1] and not {*rows[0][same + 1 :]} & {*rows[1][same + 1 :]}
    assert rows[2] == rows[3] and not {*rows[0]} & {*rows[2]}  # of the same prompt only
    assert "tokens" not in engine.call("learn", rewards={"long": [1, 0, 1, 0]})  # nobody has asked for them


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


LOGITS = """(ids) => {
    const { batch, rooms } = trainer.rollout([ids], { most: 1, temperature: 0 }), logits = trainer.memory.tensor(ids.length, 600);
    trainer.model.logits(0, batch.size, rooms.at(-1), logits);
    return logits.data;
}"""


@pytest.mark.parametrize("adapter", ["", "format_learns", "math_learns"])
def test_the_logits_are_those_of_transformers(engine, adapter):
    import numpy as np
    import torch

    model = reference(adapter)
    engine.start(PUBLIC / f"{adapter}.safetensors" if adapter else None)
    asked = [row["prompt"][0]["content"] for row in (*sums(3), *texts(2))] + ["x", "é👍" * 30]
    prompts = engine.evaluate("asked => asked.map((each) => trainer.tokenizer.prompt(each))", asked)
    prompts += [prompts[0] + list(range(4, 230)), prompts[0][:5], [3], list(range(256))]
    for ids in prompts:
        with torch.no_grad():
            expected = model(torch.tensor([ids])).logits[0].numpy()
        found = np.frombuffer(engine.evaluate(LOGITS, ids), np.float32).reshape(len(ids), 600)
        assert abs(found - expected).max() <= 1e-4


def test_encoding_and_decoding_are_those_of_tokenizers(engine, tokenizer):
    engine.start()
    found = engine.evaluate("texts => texts.map((text) => trainer.tokenizer.encode(text))", NASTY)
    for text, ids in zip(NASTY, found, strict=True):
        assert ids == tokenizer.encode(text, add_special_tokens=False).ids, text
        assert all(id > 3 for id in ids)
    halves = [ids[1:-1] for ids in found] + [[2, 40, 1, 0, 3, 41], list(range(600))]
    decoded = engine.evaluate("all => all.map((ids) => trainer.tokenizer.decode(ids))", found + halves)
    assert decoded == NASTY + [tokenizer.decode(ids) for ids in halves]


def test_a_prompt_is_the_chat_template(engine):
    from transformers import AutoTokenizer

    engine.start()
    theirs = AutoTokenizer.from_pretrained(pocket.PATH)
    talk = [{"role": "user", "content": SUM}, {"role": "assistant", "content": "112"}, {"role": "user", "content": "?"}]
    for conversation in (talk[:1], talk):
        expected = theirs.apply_chat_template(conversation, add_generation_prompt=True)["input_ids"]
        assert engine.evaluate("asked => trainer.tokenizer.prompt(asked)", conversation) == expected


def test_three_steps_go_where_those_of_trl_go(engine, tmp_path):
    """Clipping, Adam and the falling rate: TRL's completions and rewards, one step upon the other."""
    rewards = [format_reward, tag_reward]
    trl = one_step_of_trl(tmp_path, rewards, steps=3, max_grad_norm=0.1)
    engine.start(tmp_path / "before.safetensors", **vars(trl["settings"]))
    clipped = []
    for step in trl["learnt"]:
        metrics = replayed(engine, trl["settings"], step, rewards)["metrics"]
        for name in ("grad_norm", "learning_rate", "kl", "entropy", "loss", "num_tokens"):
            assert metrics[name] == pytest.approx(step["log"][name], rel=5e-3, abs=1e-4), name
        clipped.append(metrics["grad_norm"] > 0.1)
        ours = matrices(engine.call("save"))
        moved = {name: ours[name] - trl["before"][name] for name in ours}
        assert apart(moved, {name: step["after"][name] - trl["before"][name] for name in ours}) < 0.02
    assert True in clipped


def test_what_a_page_has_learnt_is_kept_and_what_trl_has_learnt_runs_in_a_page(engine, short, tmp_path):
    trained, _ = short
    (tmp_path / "trl.safetensors").write_bytes(exchange.to_page(trained))
    engine.start(tmp_path / "trl.safetensors")
    questions = [row["prompt"] for row in sums(6, split="held-out")]
    theirs = [keep.ask(trained.model, trained.tokenizer, question, 48) for question in questions]
    likeliest = {"prompts": questions, "temperature": 0, "max_completion_length": 48}
    assert engine.call("generate", **likeliest)["texts"] == theirs

    engine.start(lora_rank=8, batch_size=16)
    for rows in (sums(2), sums(2, seed=1)):
        engine.step(rows, [tag_reward], 8)
    learnt = engine.call("save", about={"settings": json.dumps({"max_completion_length": 20})})
    run = Run(settings={"lora_rank": 8}, rewards=["tag_reward"])
    folder = keep.save(exchange.from_page(learnt, run), tmp_path)
    assert json.loads((folder / "adapter_config.json").read_text())["r"] == 8
    model, tokenizer = keep.load(folder)
    ours = engine.call("generate", **likeliest)["texts"]
    assert [keep.ask(model, tokenizer, question, 48) for question in questions] == ours
    (tmp_path / "page.safetensors").write_bytes(learnt)
    assert engine.start(tmp_path / "page.safetensors")["settings"]["max_completion_length"] == 20
    assert engine.call("generate", **likeliest)["texts"] == ours


@pytest.mark.parametrize("spoilt", ["nothing", "rank", "name", "nan"])
def test_what_is_no_adapter_is_refused_on_both_sides(engine, tmp_path, spoilt):
    import torch
    from safetensors.torch import save

    engine.start(lora_rank=2)
    tensors, about = matrices(engine.call("save")), {"r": "2", "alpha": "4"}
    first = next(iter(tensors))
    if spoilt == "rank":
        about["r"] = "3"
    if spoilt == "name":
        tensors["other"] = tensors.pop(first)
    if spoilt == "nan":
        tensors[first] = torch.full_like(tensors[first], float("nan"))
    data = b"{}" if spoilt == "nothing" else save(tensors, about)
    (tmp_path / "spoilt.safetensors").write_bytes(data)
    with pytest.raises(EngineError, match=r"no safetensors|lora_[AB]\.weight is \["):
        engine.start(tmp_path / "spoilt.safetensors")
    with pytest.raises(ValueError, match="adapter"):
        exchange.from_page(data, Run(settings={}))


def learn(engine, prompts: int = 2, **rewards):
    if prompts:
        engine.call("sample", prompts=[SUM] * prompts)
    return engine.call("learn", rewards=rewards)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda e: e.call("nope"), "nope: expected one of start, sample"),
        (lambda e: e.start(group_size=1), "group_size 1: expected a whole number from 2"),
        (lambda e: e.start(batch_size=15), "batch_size 15: expected a multiple of 8"),
        (lambda e: e.start(temperature=0), "temperature 0: expected a number from 0.001"),
        (lambda e: e.start(lora_rank=0.5), "lora_rank 0.5: expected a whole number from 1"),
        (lambda e: e.start(scale_rewards="best"), "scale_rewards best: expected group or batch or none"),
        (
            lambda e: e.start(max_completion_length=257),
            "max_completion_length 257: expected a whole number from 1 to 256",
        ),
        (lambda e: e.call("sample", prompts=[]), "0 prompts: expected 2, for 16 replies in groups of 8"),
        (lambda e: e.call("generate", prompts=[]), "[no prompts]: expected prompts"),
        (lambda e: e.call("sample", prompts=[SUM, None]), "a prompt is null: expected a text"),
        (lambda e: e.call("sample", prompts=[SUM, [{"role": "user"}]]), "expected a text"),
        (lambda e: e.call("sample", prompts=["9" * 10**6, SUM]), "1000000 characters"),
        (lambda e: e.call("generate", prompts=["👩‍👩‍👧" * 200]), "expected at most 256 in all"),
        (
            lambda e: e.start(batch_size=10**5) and e.call("sample", prompts=[SUM] * 12500),
            "more than 1024 MB of memory",
        ),
        (lambda e: e.call("sample", prompts=[SUM, SUM], replies=[[5]] * 15), "for 16 replies"),
        (lambda e: e.call("sample", prompts=[SUM, SUM], replies=[[5]] * 15 + [[]]), "[]: expected prompts and replies"),
        (lambda e: e.call("sample", prompts=[SUM, SUM], replies=[[5]] * 15 + [[5, 1.5]]), "[5,1.5]: expected"),
        (lambda e: e.call("sample", prompts=[SUM, SUM], replies=[[5]] * 15 + [[600]]), "[600]: expected prompts"),
        (lambda e: learn(e, 0, good=[1.0] * 16), "call sample first"),
        (lambda e: learn(e, good=[1.0] * 15), "the reward good gave 15 numbers for 16 replies"),
        (lambda e: learn(e, good=["yes"] * 16), "the reward good gave yes: expected a finite number"),
        (lambda e: learn(e, good=["1e999"] * 16), "finite number"),
        (lambda e: learn(e), "0 rewards"),
        (lambda e: learn(e, good=[1e200, 0.0] * 8), "the gradient is not finite"),
    ],
)
def test_what_cannot_be_done_is_said_and_the_next_call_works(engine, asked, said):
    engine.start(batch_size=16, scale_rewards="none")
    with pytest.raises(EngineError) as caught:
        asked(engine)
    assert said in str(caught.value)
    if "memory" in said:
        engine.start(batch_size=16)
    assert len(engine.call("sample", prompts=["", "\ud83d\x00☃"])["texts"]) == 16  # whatever text there is
    assert learn(engine, 0, good=[None] * 16)["metrics"]["reward"] is None


def test_memory_is_checked_and_bounded(engine):
    engine.start(batch_size=16)
    refused = """(code) => { const memory = trainer.memory, [a, b] = [memory.tensor(2, 8), memory.tensor(8, 8)];
        try { Function("a", "b", "multiply", "memory", code)(a, b, multiply, memory); } catch (error) { return error.message; } }"""
    for code, said in {
        "a.slice(1, 3)": "rows 1 to 3 of 2",
        "multiply(b, a, b)": "[8, 8] · [2, 8] is not [8, 8]",
        "multiply(a, b.T, a)": "transposed",
        "a.part(1, 2).data": "no view",
        "memory.tensor(1e6, 1e6)": "more than 1024 MB",
    }.items():
        assert said in engine.evaluate(refused, code)
    assert engine.evaluate(refused, "multiply(a, b, a)") is None
    held = []
    for _ in range(3):
        engine.step(sums(2), [format_reward], 8)
        engine.call("generate", prompts=[SUM] * 8)
        held.append(engine.call("bytes"))
    assert held[0] < 120e6 and held[2] < 1.1 * held[0]


def test_the_same_seed_trains_the_same_and_another_does_not(engine):
    def trained(seed: int) -> bytes:
        engine.start(seed=seed, batch_size=16)
        for _ in range(2):
            engine.step(sums(2), [tag_reward], 8)
        return engine.call("save")

    first = trained(1)
    assert trained(1) == first and trained(2) != first


def test_a_short_run_learns_the_format_from_the_lessons_own_reward(engine):
    rows = sums(400)
    engine.start(batch_size=32)
    rewards = [engine.step(rows[4 * i : 4 * i + 4], [format_reward], 8)["metrics"]["reward"] for i in range(25)]
    assert rewards[0] < 0.5 and fmean(rewards[-5:]) >= 0.9
    held_out = [row["prompt"] for row in sums(64, split="held-out")]
    scores = {
        base: fmean(format_reward(engine.call("generate", prompts=held_out, base=base)["texts"]))
        for base in (True, False)
    }
    assert scores[True] < 0.4 and scores[False] >= 0.85


def test_the_engine_is_short_enough_to_be_read():
    """Lines with code in them; files.js is about files and not about learning."""
    texts = [(POCKET / f"{name}.js").read_text() for name in scripts.ENGINE if name != "files"]
    code = [
        line for text in texts for line in text.splitlines() if line.strip() and not re.match(r" *(//|/\*\*| \*)", line)
    ]
    assert len(code) < 600


def test_without_simd_it_says_so(engine):
    with pytest.raises(EngineError) as caught:
        engine.evaluate("() => { new Memory(new Uint8Array([0, 97, 115, 109, 9, 0, 0, 0])); }")
    assert caught.value.name == "NoSIMD"


@pytest.mark.skipif(not shutil.which("npm") and not os.environ.get("CI"), reason="no npm on this machine")
def test_the_kernels_are_built_from_their_source(tmp_path):
    source = (POCKET / "kernels.ts").read_text()
    shutil.copy(POCKET / "kernels.ts", tmp_path)
    command = re.search(r"`npx (asc .*?)` \(assemblyscript@(.*?), from npm\)", source)
    install = ["npm", "install", "--silent", "--no-fund", "--no-audit", f"assemblyscript@{command[2]}"]
    subprocess.run(install, cwd=tmp_path, check=True)
    subprocess.run([f"node_modules/.bin/{command[1].split()[0]}", *command[1].split()[1:]], cwd=tmp_path, check=True)
    assert (tmp_path / "kernels.wasm").read_bytes() == (POCKET / "kernels.wasm").read_bytes()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with in_chromium(tmp_path_factory.mktemp("page")) as engine:
        yield engine.page


def test_a_page_trains_in_a_worker_and_stays_free(page, engine):
    prompts = [row["prompt"] for row in sums(4)]
    script = """async (prompts) => {
        await begin({ batch_size: 32 });
        const gaps = [], rewards = [], said = [];
        let isOver = false;
        const look = (last) => setTimeout(() => { gaps.push(performance.now() - last); if (!isOver) look(performance.now()); });
        look(performance.now());
        for (let i = 0; i < 3; i++) {
            const { texts } = await engine.call("sample", { prompts });
            const { metrics } = await engine.call("learn", { rewards: { long: texts.map((text) => text.length) } });
            said.push(texts); rewards.push(metrics.reward);
        }
        isOver = true;
        const growing = [], { texts } = await engine.call("generate", { prompts, isWatched: true }, ({ texts }) => growing.push(texts[0]));
        const pending = engine.call("generate", { prompts }).catch((error) => error.message);
        engine.end();
        return { rewards, said, growing, texts, ended: [await pending, await engine.call("bytes").catch((error) => error.message)],
            gaps: gaps.sort((a, b) => a - b) }; }"""
    found = page.evaluate(script, prompts)
    assert (
        found["gaps"][len(found["gaps"]) // 2] < 20 and found["gaps"][-2] < 100
    )  # milliseconds; the machine has other work
    assert len(found["growing"]) > 3 and found["texts"][0].startswith(found["growing"][2])
    assert "stopped" in found["ended"][0] and "ended" in found["ended"][1]
    engine.start(batch_size=32)
    for said, reward in zip(found["said"], found["rewards"], strict=True):  # node is the same engine
        assert engine.call("sample", prompts=prompts)["texts"] == said
        assert engine.call("learn", rewards={"long": list(map(len, said))})["metrics"]["reward"] == pytest.approx(
            reward
        )
