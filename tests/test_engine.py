"""The engine of the page beside PyTorch and TRL: the same logits, advantages, gradients, metrics, and updates; and what it refuses."""

import itertools
import os
import shutil
import subprocess
from statistics import fmean

import pytest

from grpo_lessons import pocket
from grpo_lessons.problems import sums
from grpo_lessons.rewards import format_reward, tag_reward
from grpo_lessons.training import Settings
from tests.support.engine import EngineError, node

POCKET = pocket.PATH.parent
LIKE_TRL = dict.fromkeys(
    ("low_mean", "high_mean", "region_mean", "low_min", "high_max")
)  # never clipped with one update


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with node(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


def unsure(completions, **kwargs) -> list[float | None]:
    """A reward that has no say on one of three, and on the whole first group."""
    texts = [completion[0]["content"] for completion in completions]
    return [None if i % 3 == 0 or i < 4 else float(len(text) % 7) for i, text in enumerate(texts)]


def one_step_of_trl(folder, rewards, steps=1, **changes) -> dict:
    """A step of TRL on an adapter that has learnt something: the adapter as a file, what TRL saw, and what it made of it."""
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
            if "reward" in logs:
                after = {name: matrix.clone() for name, matrix in get_peft_model_state_dict(trainer.model).items()}
                found["learnt"].append(found | seen | {"log": dict(logs), "after": after})

    arguments = settings.grpo_arguments() | {"output_dir": str(folder / "trl")}
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
    before = {name: matrix.contiguous() for name, matrix in get_peft_model_state_dict(trainer.model).items()}
    about = {"r": str(settings.lora_rank), "alpha": str(2 * settings.lora_rank)}
    save_file(before, folder / "before.safetensors", about)
    trainer.train()
    return found | {"before": before}


def replayed(engine, folder, settings, step, rewards) -> dict:
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
    ours = replayed(engine, tmp_path, settings, step, rewards)
    assert sorted(ours["advantages"]) == pytest.approx(sorted(step["advantages"]), abs=1e-4)  # TRL shuffles
    assert apart(matrices(engine.call("save", gradients=True)), step["gradients"]) < 1e-3
    log = step["log"]
    for name, value in ours["metrics"].items():
        if name not in ("step", "within_group_std", "completions/std_length"):  # the ledger's, not TRL's
            expected = None if log[name] is None else pytest.approx(log[name], rel=1e-3, abs=2e-5)
            assert value == expected, name
    mine = {"step_time", "epoch", *(f"clip_ratio/{each}" for each in LIKE_TRL)}
    assert log.keys() - ours["metrics"].keys() <= mine
