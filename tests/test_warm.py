"""A warm start: worked examples are copied before the reward begins, and everything that follows knows of it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from grpo_lessons.curves import warm_start
from grpo_lessons.lesson.replay import replayed
from grpo_lessons.problems import sums, worked
from grpo_lessons.rewards import answer_reward, format_reward
from grpo_lessons.runs import Completion, Evaluation, Run, Supervised
from grpo_lessons.training import Plan, Settings, WarmStart, Watch, fit, keep, train, unfinished

FORM = "<think>{thought}</think><answer>{total}</answer>"
PLAN = Plan(
    Settings(steps=3, batch_size=16),
    [format_reward],
    sums(64),
    held_out=sums(8, split="held-out"),
    judges=[format_reward, answer_reward],
    warm_start=WarmStart(worked(sums(6), FORM), epochs=2),
)


class Crash(Exception):
    pass


@pytest.fixture(scope="module")
def whole():
    said = []
    return train(PLAN, Watch(update=lambda phase, run: said.append(phase))), said


def test_the_examples_are_copied_first_and_grpo_goes_on_from_there(whole):
    trained, said = whole
    run = trained.run
    # two epochs of a batch of four and one of two
    assert (run.sft.examples, len(run.sft.losses), run.steps_done) == (6, 4, 3)
    assert run.sft.losses[-1] < run.sft.losses[0]
    assert [len(answers.completions) for _, answers in run.stages] == [8, 8, 8]
    order = [said.index(phase) for phase in ("SFT on 6 examples: step 4 of 4", "Step 1 of 3")]
    assert order == sorted(order) and "SFT on 6 examples · 3 steps" in run.label
    first, *_, last = (row["kl"] for row in run.metrics)
    assert abs(first) < 1e-6 < last  # it is taken from what SFT has left, not from the model before
    assert Run.from_json(run.to_json()) == run


def test_what_it_leaves_is_one_adapter_and_it_holds_both(whole, tmp_path):
    trained, _ = whole
    folder = keep.save(trained, tmp_path)
    assert not list(folder.glob("*/adapter_model.safetensors"))  # TRL's copy, from which the KL is taken, is not saved
    model, _ = keep.load(folder)
    saved, left = ({n: p for n, p in each.named_parameters() if "lora" in n} for each in (model, trained.model))
    assert saved.keys() == left.keys() and all((saved[name] == left[name]).all() for name in saved)


def test_after_a_crash_it_goes_on_as_if_nothing_had_happened(whole, tmp_path):
    def crash(phase, run):
        if run.steps_done == 2 and unfinished_at(tmp_path):
            raise Crash

    with pytest.raises(Crash):
        train(PLAN, Watch(update=crash), checkpoints=tmp_path)
    left = unfinished(tmp_path).run
    assert left.steps_done == 1 and left.sft == replace(whole[0].run.sft, seconds=left.sft.seconds)
    resumed = train(PLAN, checkpoints=tmp_path, resume=True).run
    for name in ("reward", "kl", "grad_norm"):
        was, now = ([row[name] for row in run.metrics] for run in (whole[0].run, resumed))
        assert now == pytest.approx(was, rel=1e-3, abs=1e-6)
    assert resumed.sft == left.sft  # of the record, and not of the copying anew


def unfinished_at(folder):
    return list(folder.glob("checkpoint-*/run.json"))


def test_stop_while_it_copies_ends_before_the_first_step_of_grpo():
    seen = []
    watch = Watch(update=lambda phase, run: seen.append(run), should_stop=lambda: bool(seen and seen[-1].sft))
    trained = train(replace(PLAN, held_out=()), watch)
    assert (trained.run.state, trained.run.steps_done, trained.model) == ("stopped", 0, None)
    assert len(trained.run.sft.losses) == 1


@pytest.mark.parametrize(
    ("warm", "words"),
    [
        (WarmStart([]), "without worked examples"),
        (WarmStart(PLAN.warm_start.examples, epochs=0), "epochs 0 of the warm start: expected at least 1"),
        (WarmStart([{"question": "1 + 1?"}]), "no column 'prompt'"),
        (WarmStart(sums(2)), "worked example 0: expected a 'completion'"),
        (WarmStart([{"prompt": "1 + 1?", "completion": [{"role": "assistant", "content": "2"}]}]), "worked example 0"),
    ],
)
def test_a_warm_start_that_cannot_work_is_refused_before_anything_is_loaded(warm, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        train(replace(PLAN, warm_start=warm))


def test_the_code_that_is_shown_makes_the_two_configurations_that_train():
    from trl import GRPOConfig, SFTConfig

    made = {"SFTConfig": SFTConfig, "GRPOConfig": GRPOConfig}
    for text in re.findall(r"^\w+ = (?:SFT|GRPO)Config\(.*?^\)", PLAN.code, re.DOTALL | re.MULTILINE):
        exec(text, made)
    sft = SFTConfig(**PLAN.warm_start.sft_arguments(PLAN.settings))
    assert made["sft_config"].to_dict() == sft.to_dict()
    assert made["config"].to_dict() == GRPOConfig(**PLAN.settings.grpo_arguments()).to_dict()
    assert (sft.learning_rate, sft.max_grad_norm, sft.seed) == (3e-3, 0.3, 0)  # those of the training behind it
    assert PLAN.code.count("peft_config") == 1 and PLAN.code.index("model = trainer.model") < PLAN.code.index("GRPOT")
    assert "SFT" not in replace(PLAN, warm_start=None).code


def test_the_written_folder_begins_with_sft(tmp_path):
    from trl import ModelConfig, ScriptArguments, SFTConfig, TrlParser

    command = keep.hand_over(PLAN, tmp_path, "runs/warm")
    sft, merge, grpo = command.split(" && ")
    assert sft == "trl sft --config runs/warm/sft.yaml" and "merge('runs/warm/sft')" in merge and "trl grpo" in grpo
    _, config, model = TrlParser((ScriptArguments, SFTConfig, ModelConfig)).parse_args_and_config(
        ["--config", str(tmp_path / "runs/warm/sft.yaml"), "--use_cpu", "true"]
    )
    ours = SFTConfig(**PLAN.warm_start.sft_arguments(PLAN.settings)).to_dict()
    theirs = config.to_dict()
    assert {name for name in ours if ours[name] != theirs[name]} <= {"output_dir", "logging_dir"}
    assert model.lora_r == 16 and len((tmp_path / "runs/warm/examples/train.jsonl").read_text().splitlines()) == 6
    after = yaml.safe_load((tmp_path / "runs/warm/config.yaml").read_text())
    assert after["model_name_or_path"] == "runs/warm/sft/merged"
    assert "begins a new one" in (tmp_path / "runs/warm/README.md").read_text()


def test_the_estimate_counts_the_examples():
    probe = fit.Probe("m", "a CPU", 8 * 10**9, 6 * 10**8, 10**8, 10**7, 20, 0.01, 0.001, 1e-4, 1e-3, 10**5, 10**4, 10**3, 10**3)  # fmt: skip
    with_it, without = (fit.estimate(each, probe) for each in (PLAN, replace(PLAN, warm_start=None)))
    assert with_it.copying == pytest.approx(2 * 6 * (20 + 48) * 1e-3) and with_it.answering == 1.5 * without.answering
    assert "of SFT" in str(with_it) and "SFT" not in str(without)


def test_the_panel_tells_what_each_of_the_two_did():
    def told(*scores):
        return Evaluation(["?"] * 4, [Completion("", 1, {"format_reward": score}) for score in scores])

    run = Run({"steps": 25}, before=told(0, 0, 0, 0), sft=Supervised(12, [1.6, 0.2], 1.0, told(1, 0, 0, 0)))
    shown = re.sub(r"<[^>]+>", " ", warm_start(run))
    assert "12 worked examples copied in 2 steps" in shown and re.search(r"before\s+0\s+after SFT\s+0.25", shown)
    assert re.search(r"after GRPO\s+–", shown)  # it has not ended yet
    run.after = told(1, 1, 1, 0)
    assert re.search(r"after GRPO\s+0.75", re.sub(r"<[^>]+>", " ", warm_start(run)))
    assert warm_start(Run({"steps": 25})) == ""


def test_a_replay_tells_what_grpo_did_when_it_has_come_to_its_end():
    run = Run.load(Path(__file__).parents[1] / "notebooks/public/format_warm.json")
    early, late = (re.sub(r"<[^>]+>", " ", warm_start(replayed(run, step).run)) for step in (3, run.steps_done))
    assert len(re.findall(r"after GRPO\s+–", early)) == 2 and re.search(r"after GRPO\s+0\.9", late)
