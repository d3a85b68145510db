"""What a token weighs, against the gradient of TRL's own losses; and what the length lesson says of it."""

import json
import random
from dataclasses import fields
from itertools import product

import pytest

from grpo_lessons.groups import clipped_objective
from grpo_lessons.lesson import weighed
from grpo_lessons.losses import LOSSES, is_clipped, token_weights
from grpo_lessons.training import Settings
from notebooks import record
from tests.support.browser import ROOT
from tests.support.lessons import load

LENGTHS, ADVANTAGES, LONGEST = [2, 7, 5, 3], [1.2, -0.4, 0.3, -1.1], 16


def moved(lengths, seed=0):
    """Ratios on both sides of every clip, some near 1."""
    dice = random.Random(seed)
    return [[dice.choice([0.3, 0.7, 0.9, 0.9999, 1.0003, 1.1, 1.5, 3.0, 8.0]) for _ in range(n)] for n in lengths]


@pytest.fixture(scope="module")
def trl_weights(tmp_path_factory):
    """Minus the gradient, along each token's log p, of the loss that TRL computes with such arguments of GRPOConfig."""
    import torch
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from grpo_lessons.training import models

    model, tokenizer = models.load("pocket")

    def weights(ratios, advantages, **arguments):
        batches = arguments.get("gradient_accumulation_steps", 1)
        size, longest = len(ratios) // batches, max(map(len, ratios))
        config = {"per_device_train_batch_size": size, "num_generations": 2, "max_completion_length": LONGEST}
        trainer = GRPOTrainer(
            model=model,
            processing_class=tokenizer,
            reward_funcs=lambda completions, **kwargs: [0.0] * len(completions),
            train_dataset=Dataset.from_list([{"prompt": "?"}]),
            args=GRPOConfig(
                str(tmp_path_factory.getbasetemp() / "trl"), use_cpu=True, bf16=False, **config | arguments
            ),
        )
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = batches
        mask = torch.tensor([[t < len(each) for t in range(longest)] for each in ratios]).int()
        old = torch.full(mask.shape, -2.0)
        logs = torch.tensor([each + [1.0] * (longest - len(each)) for each in ratios]).log() + old
        logs.requires_grad_()
        whole = {
            "prompt_ids": mask[:, :1], "prompt_mask": mask[:, :1], "completion_ids": mask, "completion_mask": mask,
            "advantages": torch.tensor(advantages), "old_per_token_logps": old,
        }  # fmt: skip
        for start in range(0, len(ratios), size):
            part = slice(start, start + size)
            trainer._get_per_token_logps_and_entropies = lambda *a, part=part, **k: (logs[part], old[part], None)
            inputs = {name: column[part] for name, column in whole.items()} | {"num_items_in_batch": mask.sum()}
            trainer._compute_loss(trainer.model, inputs).backward()
        assert not logs.grad[mask == 0].any()
        return [(-row[: len(each)]).tolist() for row, each in zip(logs.grad, ratios, strict=True)]

    return weights


@pytest.mark.parametrize("name", LOSSES)
def test_a_token_weighs_what_it_weighs_in_trls_own_loss(trl_weights, name):
    fresh, later = [[1.0] * n for n in LENGTHS], moved(LENGTHS)
    for ratios in (fresh, later):
        ours = token_weights(LENGTHS, ADVANTAGES, ratios=ratios, max_completion_length=LONGEST, **LOSSES[name])
        theirs = trl_weights(ratios, ADVANTAGES, **LOSSES[name])
        for mine, yours in zip(ours, theirs, strict=True):
            assert mine == pytest.approx(yours, rel=1e-4, abs=1e-7)
    assert any(0.0 in each for each in ours) != (name == "cispo")  # something was clipped


@pytest.mark.parametrize(
    "arguments",
    [
        {"loss_type": "cispo"},  # with TRL's default its ceiling is 0.2
        {"loss_type": "dapo", "importance_sampling_level": "sequence"},
        {"loss_type": "dapo", "gradient_accumulation_steps": 2, "epsilon_high": 0.6},
        {"loss_type": "grpo", "gradient_accumulation_steps": 2},
        {"loss_type": "dr_grpo", "gradient_accumulation_steps": 2},
    ],
    ids=lambda arguments: " ".join(map(str, arguments.values())),
)
def test_so_it_does_with_other_arguments_and_a_reply_that_is_left_out(trl_weights, arguments):
    lengths = [0, *LENGTHS[1:]]
    ratios = moved(lengths, 1)
    theirs = trl_weights(ratios, ADVANTAGES, **arguments)
    ours = token_weights(lengths, ADVANTAGES, ratios=ratios, max_completion_length=LONGEST, **arguments)
    for mine, yours in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(yours, rel=1e-4, abs=1e-7)


def test_a_token_is_clipped_where_the_objective_is_flat():
    for ratio, advantage in product([0.1, 0.79, 0.81, 1, 1.19, 1.21, 5], [-2, 1]):
        slope = clipped_objective(ratio + 1e-6, advantage) - clipped_objective(ratio - 1e-6, advantage)
        assert is_clipped(ratio, advantage) == (slope == 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"lengths": []}, "expected at least one reply"),
        ({"advantages": [1]}, "1 advantages"),
        ({"ratios": [[1], [1]]}, r"ratios of \[1, 1\] tokens"),
        ({"ratios": [[1, 0], [1]]}, "a ratio of 0: expected"),
        ({"ratios": [[1, float("nan")], [1]]}, "a ratio of nan"),
        ({"loss_type": "ppo"}, "loss_type='ppo': expected one of"),
        ({"importance_sampling_level": "reply"}, "'reply': expected one of"),
        ({"gradient_accumulation_steps": 3}, "2 replies in 3 batches"),
    ],
)
def test_what_cannot_be_weighed_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        token_weights(**{"lengths": [2, 1], "advantages": [1, -1]} | arguments)


@pytest.fixture(scope="module")
def lesson():
    return load("length").app.run()[1]["weighed"]


def is_alike(weights) -> bool:
    return all(each == pytest.approx(weights[0]) for each in weights)


def is_still_there(loss, lesson, ratio=1.0, better="short"):
    """Of the outlined token, of its neighbours, and of the other reply's tokens: whether they still weigh something."""
    short, long = lesson.weights(loss, better, ratio)
    at = lesson.moved
    return bool(short[at]), any(short[:at] + short[at + 1 :]), any(long)


def test_grpo_shares_a_replys_push_among_its_tokens(lesson):
    short, long = lesson.weights("grpo")
    assert sum(short) == pytest.approx(-sum(long)) and is_alike(short) and is_alike(long)
    assert round(short[0] / -long[0]) == 6  # times more gently
    praised, punished = lesson.weights("grpo", better="long")
    assert -praised[0] == pytest.approx(short[0]) and punished[0] == pytest.approx(-long[0])  # whoever is the better


def test_dapo_weighs_all_tokens_alike_and_a_reply_by_its_length_and_drops_the_one_that_went_too_far(lesson):
    short, long = lesson.weights("dapo")
    assert is_alike([*short, *(-each for each in long)])
    assert -sum(long) / sum(short) == pytest.approx(35 / 6)
    assert is_still_there("dapo", lesson, 1.1) == (True, True, True)
    assert is_still_there("dapo", lesson, 1.5) == (False, True, True) == is_still_there("dapo", lesson, 0.7, "long")
    assert is_still_there("dapo", lesson, 0.7) == (True, True, True) == is_still_there("dapo", lesson, 1.5, "long")
    assert lesson.weights("dapo", ratio=1.5)[1] == long


def test_dr_grpo_weighs_by_the_limit_and_by_nothing_that_was_written(lesson):
    short, long = lesson.weights("dr_grpo")
    assert is_alike([*short, *(-each for each in long)])
    for limit, times in ((64, 1), (128, 0.5)):
        twice_as_long = token_weights([12, 70], [0.7, -0.7], "dr_grpo", max_completion_length=limit)
        as_it_is = token_weights([6, 35], [0.7, -0.7], "dr_grpo", max_completion_length=64)
        assert twice_as_long[0][0] == pytest.approx(times * as_it_is[0][0])  # between steps, too
    assert token_weights([12, 70], [1, -1], "dapo")[0][0] == pytest.approx(token_weights([6, 35], [1, -1])[0][0] / 2)


def test_bnpo_is_dapo_in_one_batch_and_grpo_where_each_reply_has_its_own(lesson):
    assert token_weights([6, 35], [1, -1], "bnpo") == token_weights([6, 35], [1, -1], "dapo")
    for mine, theirs in zip(lesson.weights("bnpo"), lesson.weights("grpo"), strict=True):
        assert mine == pytest.approx(theirs)
    beside_short, beside_long = token_weights([6, 6, 6, 35], [1, -1, 1, -1], **LOSSES["bnpo"])[::2]
    assert beside_short[0] > 2 * beside_long[0]  # replies of one length and one advantage


def test_cispo_is_dapo_until_a_token_moves_and_then_weighs_its_ratio_up_to_a_ceiling(lesson):
    usual, at = lesson.weights("cispo"), lesson.moved
    assert usual == lesson.weights("dapo")
    for ratio, times in ((1.5, 1.5), (3, 3), (8, 5)):
        short, long = lesson.weights("cispo", ratio=ratio)
        assert short[at] == pytest.approx(times * usual[0][at]) and long == usual[1]
    by_default = token_weights([6, 35], [1, -1], "cispo")[0][0]
    assert by_default == pytest.approx(token_weights([6, 35], [1, -1], "dapo")[0][0] / 5)


def test_gspo_is_grpo_until_a_token_moves_and_then_a_reply_stands_or_falls_as_a_whole(lesson):
    for mine, theirs in zip(lesson.weights("gspo"), lesson.weights("grpo"), strict=True):
        assert mine == pytest.approx(theirs)
    assert is_still_there("gspo", lesson, 1.1) == (False, False, True)
    assert is_still_there("grpo", lesson, 1.1) == (True, True, True)
    assert is_still_there("gspo", lesson, 1.5) == (False, False, True)
    assert is_still_there("grpo", lesson, 1.5) == (False, True, True)


def test_what_is_trls_default_is_and_the_course_leaves_it_so():
    from trl import GRPOConfig

    usual = {field.name: field.default for field in fields(GRPOConfig)}
    assert (usual["loss_type"], usual["num_iterations"], usual["epsilon"], usual["epsilon_high"]) == (
        "dapo",
        1,
        0.2,
        None,
    )
    assert not {"loss_type", "num_iterations", "epsilon"} & Settings().grpo_arguments().keys()


@pytest.fixture(scope="module")
def recorded():
    return json.loads((ROOT / "notebooks/public/ratios.json").read_text(encoding="utf-8"))


def moved_tokens(update, still=12):
    return sum(count for way in ("up", "down") for i, count in enumerate(update[way]) if i != still)


def clipped(update, low=10, high=15):
    """The share that lies beyond 0.8 or 1.2 the way it is pushed."""
    return (sum(update["down"][:low]) + sum(update["up"][high:])) / update["tokens"]


def test_fresh_replies_have_a_ratio_of_1_and_used_again_they_move_until_they_are_clipped(recorded):
    runs = recorded["runs"]
    assert recorded["bin"] == record.BIN and list(runs) == list(weighed.REUSED) == list(record.REUSED)
    assert all(len(each) == 4 for each in runs.values()) and recorded["provenance"]["trl"]
    for update in (*runs["1"], runs["4"][0], runs["4, never clipped"][0]):
        assert moved_tokens(update) == update["clip_ratio"] == 0
    for update in runs["4"]:
        assert update["clip_ratio"] == pytest.approx(clipped(update), abs=2e-3)  # as TRL counted them
    assert len({update["tokens"] for update in runs["4"]}) == 1 < len({update["tokens"] for update in runs["1"]})


def test_what_clipping_holds_back_is_what_the_lesson_says(recorded):
    numbers = weighed.measured(recorded)
    assert 0.1 < numbers["clipped"] < numbers["outside"] < 0.4
    assert numbers["lost"] > numbers["tokens"] / 10 and numbers["betrayed"] > numbers["lost"] / 5
    assert numbers["kept"] == "none" and recorded["bin"] < 1 / 12
    free = recorded["runs"]["4, never clipped"]
    assert all(update["clip_ratio"] == 0 for update in free) and clipped(free[3]) > clipped(recorded["runs"]["4"][3])
    assert not any("{" in said.format(**numbers) for said in weighed.REUSED.values())


def test_the_ratios_are_recorded_from_a_real_step():
    few = {"per_device_train_batch_size": 8, "max_completion_length": 8, "num_iterations": 2}
    first, second = record.ratios(few, updates=2)
    assert first["tokens"] == second["tokens"] > 8 and sum(first["up"]) > 0 < sum(first["down"])
    assert moved_tokens(first) == first["clip_ratio"] == 0 < moved_tokens(second)
    assert second["clip_ratio"] == pytest.approx(clipped(second), abs=2e-3)
