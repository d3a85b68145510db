"""What a training costs, reckoned before it runs: the sums, what is lowered where it does not fit, and whether it is true."""

import subprocess
import sys
from dataclasses import replace

import pytest

from grpo_lessons.lesson import pace
from grpo_lessons.problems import sums
from grpo_lessons.rewards import format_reward
from grpo_lessons.training import Plan, ReferenceLogProb, Settings, train
from grpo_lessons.training.fit import Probe, estimate, measure, suited, what_to_lower

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
REAL = Plan(
    Settings(model="m", steps=10, batch_size=32, beta=0.0, max_completion_length=48),
    [format_reward],
    sums(64),
    held_out=sums(96),
)


def test_accumulation_and_checkpointing_take_less_memory_and_only_checkpointing_takes_longer():
    whole, parts = estimate(REAL, PROBE), estimate(REAL.with_settings(accumulation=8), PROBE)
    checkpointed = estimate(REAL.with_settings(gradient_checkpointing=True), PROBE)
    assert parts.seconds == whole.seconds < checkpointed.seconds < 1.34 * whole.seconds
    assert parts.memory < 0.4 * whole.memory and checkpointed.memory < whole.memory


def test_a_step_costs_as_many_seconds_as_it_has_tokens():
    one, double = estimate(REAL, PROBE), estimate(REAL.with_settings(batch_size=64), PROBE)
    assert double.learning == pytest.approx(2 * one.learning) and one.sampling < double.sampling < 2 * one.sampling
    assert estimate(REAL.with_settings(beta=0.1), PROBE).learning == pytest.approx(4 / 3 * one.learning)


@pytest.mark.parametrize(("gigabytes", "parts", "checkpointing"), [(32, 1, False), (8, 4, False), (2.6, 8, True)])
def test_what_does_not_fit_is_learnt_in_parts_and_then_checkpointed(gigabytes, parts, checkpointing):
    probe = replace(PROBE, memory=int(gigabytes * 1e9))
    fitting = suited(replace(REAL, held_out=sums(16)), probe)
    assert (fitting.settings.accumulation, fitting.settings.gradient_checkpointing) == (parts, checkpointing)
    assert estimate(fitting, probe).fits and fitting.settings.batch_size == REAL.settings.batch_size


def test_a_reader_is_told_what_to_lower(monkeypatch):
    assert what_to_lower(REAL, replace(PROBE, memory=8 * 10**9)).startswith("**Learn in 4 parts**")
    assert "a smaller model" in what_to_lower(REAL, replace(PROBE, memory=10**9))
    plan = replace(REAL, held_out=sums(16))
    monkeypatch.setitem(pace.PACE.probes, "m", replace(PROBE, memory=8 * 10**9))
    tight = pace.show_cost(None, plan).text
    assert "This does not fit" in tight and "4 parts" in tight
    monkeypatch.setitem(pace.PACE.probes, "m", replace(PROBE, memory=32 * 10**9))
    fits = pace.show_cost(None, plan).text
    assert "less where replies end early" in fits and "GB that are free" in fits and "does not fit" not in fits


def test_what_is_known_of_one_model_is_not_said_of_another():
    for measured in (None, pace.Measured("other", "Measuring"), pace.Measured("other", "", error="No.")):
        assert "Train fetches it" in pace.show_cost(measured, REAL).text  # and nothing else does
        assert (
            "once it is measured: after your prediction"
            in pace.show_cost(measured, REAL.with_settings(model="pocket")).text
        )
    assert "No." in pace.show_cost(pace.Measured("m", "", error="No."), REAL).text


def test_a_model_that_judges_costs_its_weights_and_a_third_more():
    alone, judged = estimate(REAL, PROBE), estimate(replace(REAL, judges=[ReferenceLogProb("m")]), PROBE)
    assert judged.memory - alone.memory == PROBE.weights
    assert judged.learning == pytest.approx(4 / 3 * alone.learning)


def test_a_measured_estimate_is_near_the_truth():
    plan = Plan(Settings(steps=6, batch_size=32), [format_reward], sums(64))
    cost = estimate(plan, measure(plan))
    real = train(plan).run.seconds
    assert 0.4 * real < cost.seconds < 6 * real  # this machine is shared, and completions are shorter than they may be


MEMORY = """
from grpo_lessons.training.fit import estimate, measure
from grpo_lessons.problems import sums
from grpo_lessons.rewards import format_reward
from grpo_lessons.training import Plan, Settings, train
plan = Plan(Settings(steps=2, batch_size=96), [format_reward], sums(64))
cost = estimate(plan, measure(plan))
print(cost.memory / 1e9, train(plan).run.provenance["peak memory"])
"""


def test_the_memory_reckoned_is_that_which_is_held():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", MEMORY], capture_output=True, text=True)
    reckoned, held, _ = done.stdout.split()
    assert 0.6 * float(held) < float(reckoned) < 1.8 * float(held)
