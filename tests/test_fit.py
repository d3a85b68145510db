"""What a training costs, reckoned before it runs: the sums, what is lowered where it does not fit, and whether it is true."""

import subprocess
import sys
from dataclasses import replace

import pytest

from grpo_lessons import live
from grpo_lessons.fit import Probe, estimate, measure, suited, what_to_lower
from grpo_lessons.problems import sums
from grpo_lessons.rewards import format_reward
from grpo_lessons.training import Settings, train

PROBE = Probe(
    model="m",
    hardware="a CPU",
    memory=16 * 10**9,
    base=6 * 10**8,
    weights=5 * 10**8,
    adapter=8 * 10**7,
    prompt_tokens=90,
    decode_once=0.05,
    decode_each=0.005,
    prefill=1e-3,
    learn=5e-3,
    saved=1_200_000,
    saved_checkpointed=110_000,
    head=10**6,
    cache=46_000,
)
REAL = Settings(model="m", steps=10, batch_size=32, beta=0.0, max_completion_length=48)


def test_accumulation_and_checkpointing_take_less_memory_and_only_checkpointing_takes_longer():
    whole, parts = estimate(REAL, PROBE), estimate(replace(REAL, accumulation=8), PROBE)
    checkpointed = estimate(replace(REAL, gradient_checkpointing=True), PROBE)
    assert parts.seconds == whole.seconds < checkpointed.seconds < 1.34 * whole.seconds
    assert parts.memory < 0.4 * whole.memory and checkpointed.memory < whole.memory


def test_a_step_costs_as_many_seconds_as_it_has_tokens():
    one, double = estimate(REAL, PROBE), estimate(replace(REAL, batch_size=64), PROBE)
    assert double.learning == pytest.approx(2 * one.learning) and one.sampling < double.sampling < 2 * one.sampling
    assert estimate(replace(REAL, beta=0.1), PROBE).learning == pytest.approx(4 / 3 * one.learning)


@pytest.mark.parametrize(("gigabytes", "parts", "checkpointing"), [(32, 1, False), (8, 4, False), (2.6, 8, True)])
def test_what_does_not_fit_is_learnt_in_parts_and_then_checkpointed(gigabytes, parts, checkpointing):
    probe = replace(PROBE, memory=int(gigabytes * 1e9))
    fitting = suited(REAL, probe, held_out=16)
    assert (fitting.accumulation, fitting.gradient_checkpointing) == (parts, checkpointing)
    assert estimate(fitting, probe, held_out=16).fits and fitting.batch_size == REAL.batch_size


def test_a_reader_is_told_what_to_lower():
    assert what_to_lower(REAL, replace(PROBE, memory=8 * 10**9)).startswith("**Learn in 4 parts**")
    assert "a smaller model" in what_to_lower(REAL, replace(PROBE, memory=10**9))
    plan = {"settings": REAL, "held_out": [None] * 16, "judges": [format_reward]}
    tight = live.show_cost(live.Measured("m", "", replace(PROBE, memory=8 * 10**9)), plan).text
    assert "This does not fit" in tight and "4 parts" in tight
    fits = live.show_cost(live.Measured("m", "", replace(PROBE, memory=32 * 10**9)), plan).text
    assert "At most" in fits and "GB that are free" in fits and "does not fit" not in fits


def test_what_is_known_of_one_model_is_not_said_of_another():
    plan = {"settings": REAL, "held_out": [], "judges": []}
    for measured in (None, live.Measured("other", "", PROBE), live.Measured("other", "", error="No.")):
        assert "Predict first" in live.show_cost(measured, plan).text
    assert "No." in live.show_cost(live.Measured("m", "", error="No."), plan).text


def test_a_model_that_judges_costs_its_weights_and_a_third_more():
    alone, judged = estimate(REAL, PROBE), estimate(REAL, PROBE, judged=True)
    assert judged.memory - alone.memory == PROBE.weights
    assert judged.learning == pytest.approx(4 / 3 * alone.learning)


def test_a_measured_estimate_is_near_the_truth():
    settings, prompts = Settings(steps=6, batch_size=32), sums(64)
    cost = estimate(settings, measure(settings, prompts), held_out=0)
    real = train(settings, [format_reward], prompts).run.metrics[-1]["seconds"]
    assert 0.4 * real < cost.seconds < 6 * real  # this machine is shared, and completions are shorter than they may be


MEMORY = """
from grpo_lessons.fit import estimate, measure
from grpo_lessons.problems import sums
from grpo_lessons.rewards import format_reward
from grpo_lessons.training import Settings, train
settings, prompts = Settings(steps=2, batch_size=96), sums(64)
cost = estimate(settings, measure(settings, prompts), held_out=0)
print(cost.memory / 1e9, train(settings, [format_reward], prompts).run.provenance["peak memory"])
"""


def test_the_memory_reckoned_is_that_which_is_held():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", MEMORY], capture_output=True, text=True)
    reckoned, held, _ = done.stdout.split()
    assert 0.6 * float(held) < float(reckoned) < 1.8 * float(held)
