"""What a token weighs, against the gradient of TRL's own losses; and what the length lesson says of it."""

import random
from itertools import product

import pytest

from grpo_lessons.groups import clipped_objective
from grpo_lessons.losses import LOSSES, is_clipped, token_weights

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
