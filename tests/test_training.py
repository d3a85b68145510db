"""A real session on the pocket model: what it records, how it stops, what it leaves, what it says when it cannot."""

import statistics
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from grpo_lessons.calling import RewardFailed
from grpo_lessons.diagnosis import Log, diagnose
from grpo_lessons.problems import sums
from grpo_lessons.rewards import AnswerReward, FormatReward, answer_reward, format_reward, tag_reward
from grpo_lessons.training import Plan, Settings, Watch, explain, train


def test_every_step_is_logged_with_the_names_of_trl_and_ours(short):
    run = short[0].run
    assert [row["step"] for row in run.metrics] == [1, 2, 3] and run.state == "finished"
    names = {"reward", "reward_std", "frac_reward_zero_std", "kl", "entropy", "completions/mean_length", "grad_norm"}
    ours = {"seconds", "within_group_std", "rewards/format_reward/mean", "rewards/tag_reward/mean"}
    assert names | ours <= set(run.metrics[-1])


def test_the_reward_of_a_step_is_the_sum_of_its_parts(short):
    for row in short[0].run.metrics:
        parts = row["rewards/format_reward/mean"] + row["rewards/tag_reward/mean"]
        assert row["reward"] == pytest.approx(parts, abs=1e-5)


def test_every_second_step_leaves_a_group_with_its_rewards_and_advantages(short):
    groups = short[0].run.groups
    assert [group.step for group in groups] == [1, 3]
    for group in groups:
        assert len(group.completions) == 8 and group.prompt.startswith("What is ")
        totals = [sum(completion.rewards.values()) for completion in group.completions]
        for completion, total in zip(group.completions, totals, strict=True):
            assert completion.tokens > 0
            assert completion.rewards["format_reward"] == format_reward(completions=[completion.text])[0]
            assert (completion.advantage > 1e-6) == (total > statistics.fmean(totals) + 1e-6)


def test_held_out_prompts_are_answered_before_and_after(short):
    run = short[0].run
    for evaluation in (run.before, run.after):
        assert len(evaluation.prompts) == len(evaluation.completions) == 8
        assert set(evaluation.scores("answer_reward")) <= {0.0, 1.0}
    assert run.before.prompts == run.after.prompts


def test_held_out_prompts_are_answered_on_the_way_and_the_last_step_has_the_answers_after_it(short):
    run = short[0].run
    for name in ("format_reward", "answer_reward"):
        (step, _), (last, share) = run.series(f"held-out/{name}/mean")
        assert (step, last) == (2, 3) and share == run.after.mean(name)


def test_judges_score_every_step_without_touching_the_reward(short):
    for row in short[0].run.metrics:
        assert row["judges/format_reward/mean"] == pytest.approx(row["rewards/format_reward/mean"])
        assert 0 <= row["judges/answer_reward/mean"] <= 1 and "rewards/answer_reward/mean" not in row


def test_a_weighted_reward_counts_by_its_weight_and_a_judge_of_the_same_name_has_its_own_tolerance():
    plan = Plan(
        Settings(steps=1, batch_size=16, reward_weights=(1.0, 0.5), multi_objective_aggregation="normalize_then_sum"),
        [AnswerReward(tolerance=1000), tag_reward],
        sums(64),
        judges=[AnswerReward()],
    )
    run = train(plan).run
    (row,) = run.metrics
    parts = row["rewards/answer_reward/mean"] + 0.5 * row["rewards/tag_reward/mean"]
    assert row["reward"] == pytest.approx(parts, abs=1e-5)
    assert row["judges/answer_reward/mean"] < row["rewards/answer_reward/mean"]


def test_it_speaks_before_anything_slow_and_after_every_step(short):
    phases = [phase for phase, _ in short[1]]
    assert phases[0].startswith("Loading torch")
    assert [phase for phase in phases if phase.startswith("Step") and "sampling" not in phase] == [
        f"Step {i} of 3" for i in (1, 2, 3)
    ]


def test_the_format_is_learnt(tmp_path):
    """The main job: 25 steps take the strict format from rare to nearly always, and right answers with it."""
    held_out, judges = sums(96, split="held-out"), [format_reward, answer_reward]
    run = train(Plan(Settings(), [format_reward], sums(512), held_out, judges)).run
    assert run.metrics[0]["reward"] < 0.4 and max(row["reward"] for row in run.metrics) >= 0.95
    before, after = (statistics.fmean(e.scores("format_reward")) for e in (run.before, run.after))
    assert before < 0.4 and after > 0.9
    right_before, right_after = (statistics.fmean(e.scores("answer_reward")) for e in (run.before, run.after))
    assert right_after > right_before + 0.3  # nobody rewarded it: the lesson says so


def test_a_reward_that_is_never_earned_leaves_every_group_dead_and_the_model_as_it_was():
    trained = train(Plan(Settings(steps=2, batch_size=16), [FormatReward(("code", "explanation"))], sums(64)))
    for row in trained.run.metrics:
        assert row["reward"] == 0 and row["frac_reward_zero_std"] == 1 and row["grad_norm"] == 0


def test_stop_ends_within_a_step_and_keeps_what_was_learnt():
    steps = []
    watch = Watch(
        update=lambda phase, run: steps.append(run.steps_done), should_stop=lambda: max(steps, default=0) >= 2
    )
    trained = train(Plan(Settings(steps=50, batch_size=16), [format_reward], sums(256)), watch)
    assert trained.run.state == "stopped" and trained.run.steps_done in (2, 3)
    assert any("lora" in name for name, _ in trained.model.named_parameters())


def test_what_nobody_waits_for_holds_the_device_no_longer_than_a_token_or_a_step():
    plan, phases, asked = Plan(Settings(steps=9, batch_size=16), [format_reward], sums(64), sums(8)), [], []

    def gone_at(phase: str, token: int = 0) -> Watch:
        def is_gone() -> bool:
            asked.append(phase)
            return any(each.startswith(phase) for each in phases) and len(asked) >= token

        phases.clear(), asked.clear()
        return Watch(update=lambda phase, run: phases.append(phase), should_stop=is_gone, is_gone=is_gone)

    run = train(plan, gone_at("Answering", token=5)).run
    assert (run.state, run.before, run.steps_done) == ("stopped", None, 0) and len(asked) == 5
    run = train(plan, gone_at("Step 1 of 9")).run
    assert (run.state, run.after) == ("stopped", None) and run.before and run.steps_done in (1, 2)


@pytest.mark.parametrize(
    ("settings", "rewards", "prompts", "names"),
    [
        pytest.param(Settings(batch_size=60), [format_reward], 64, "groups of 8.*56 or 64", id="batch not divisible"),
        pytest.param(Settings(group_size=1), [format_reward], 64, "at least 2", id="group of one"),
        pytest.param(Settings(), [format_reward], 0, "0 prompts, but one step draws 8", id="no prompts"),
        pytest.param(Settings(), [format_reward, format_reward], 64, "name", id="two rewards of one name"),
        pytest.param(Settings(), [], 64, "at least one", id="no reward"),
        pytest.param(
            Settings(reward_weights=(1.0, 2.0)), [format_reward], 64, "2 weights for 1", id="a weight too many"
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings, rewards, prompts, names):
    with pytest.raises(ValueError, match=names):
        train(Plan(settings, rewards, sums(prompts)))


def test_the_suggested_batch_sizes_are_ones_that_work():
    for size in range(2, 17):
        for batch in range(1, 97):
            problem = Settings(group_size=size, batch_size=batch).problem
            if problem:
                for word in problem.split("such as ")[1].rstrip(".").split(" or "):
                    assert Settings(group_size=size, batch_size=int(word)).problem is None


def test_errors_become_sentences_that_say_what_to_change(monkeypatch):
    import torch

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for model, words in (("no/such-model", "out of reach"), ("./nothing-here", "no model's name")):
        with pytest.raises(Exception) as caught:
            train(Plan(Settings(model=model, steps=1, batch_size=8), [format_reward], sums(8)))
        assert words in explain(caught.value), explain(caught.value)
    assert "Lower the batch size" in explain(torch.OutOfMemoryError("CUDA out of memory."))
    assert "KeyError" in explain(KeyError("answer"))


def test_a_bug_in_a_reward_comes_through_instead_of_scoring_zero():
    def buggy(completions, **kwargs):
        return [completion.missing for completion in completions]

    with pytest.raises(RewardFailed, match=r"`buggy` failed\. AttributeError: .*missing") as raised:
        train(Plan(Settings(steps=1, batch_size=8), [buggy], sums(8)))
    assert isinstance(raised.value.__cause__, AttributeError)  # the traceback has the line


@pytest.mark.filterwarnings("ignore")
def test_a_training_writes_nothing_to_a_stream_that_a_finished_cell_has_left_behind(monkeypatch):
    class Left:
        encoding = "utf-8"

        def write(self, text):
            raise AssertionError(text)

        def flush(self):
            pass

    monkeypatch.setattr(sys, "stderr", Left())
    monkeypatch.setattr(sys, "stdout", Left())
    run = train(Plan(Settings(steps=1, batch_size=8), [format_reward], sums(8), sums(4, split="held-out"))).run
    assert run.state == "finished"


def test_libraries_can_be_loaded_by_two_threads_at_once():
    """As when a reader chooses a prediction, which loads them, and presses Train in the same second."""
    code = (
        "import gc, threading; from grpo_lessons.training.machine import load_libraries; failed = []\n"
        "def load():\n"
        "    try:\n        load_libraries(); from trl import GRPOConfig, GRPOTrainer\n"
        "    except Exception as error:\n        failed.append(error)\n"
        "threads = [threading.Thread(target=load) for _ in range(3)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]; print(failed, gc.isenabled())"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[] True", done.stdout + done.stderr


def test_importing_the_library_and_its_lessons_pieces_is_cheap():
    code = "import grpo_lessons.lesson, sys; print([m for m in ('torch', 'transformers', 'trl', 'matplotlib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_sampling_with_the_adapter_merged_gives_the_same_tokens_and_leaves_the_weights():
    import torch
    from peft import LoraConfig, get_peft_model

    from grpo_lessons.training import models
    from grpo_lessons.training.models import merge_while_generating

    model, tokenizer = models.load("pocket")
    torch.manual_seed(0)
    model = get_peft_model(model, LoraConfig(**Settings().lora_arguments(), init_lora_weights=False))
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    prompt = tokenizer("What is 12 + 45 + 38?", return_tensors="pt")
    greedy = {"max_new_tokens": 20, "do_sample": False}
    plain = model.generate(**prompt, **greedy)
    merge_while_generating(model)
    assert model.generate(**prompt, **greedy).tolist() == plain.tolist()
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name]), name  # put back, not reckoned back: a rounding error a step adds up


def test_the_share_of_dead_groups_is_that_of_equal_rewards_and_not_of_a_rounding_in_float32():
    def fifth(completions, **kwargs):
        return [0.2 for _ in completions]

    def a_tenth_more(completions, **kwargs):
        return [0.3 for _ in completions]

    assert torch.tensor([0.2] * 8).std() > 1e-8  # what TRL asks, and why it logs 0
    for rewards, weights in (([fifth], None), ([fifth, a_tenth_more], (0.7, 0.3))):
        settings = Settings(steps=1, batch_size=16, reward_weights=weights)
        run = train(Plan(settings, rewards, sums(8))).run
        assert run.metrics[0]["frac_reward_zero_std"] == 1 and run.metrics[0]["within_group_std"] == 0
        assert diagnose(Log.of_run(replace(run, metrics=run.metrics * 9)))[0].name == "dead groups"
