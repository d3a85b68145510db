"""A session is as tolerant as TRL itself: every reward that TRL allows, data as people have it, a disk that is full."""

import functools
import logging
import math
import warnings

import numpy
import pytest

from grpo_lessons.calling import ask, complaint
from grpo_lessons.groups import AGGREGATIONS, SCALES, advantages, combined
from grpo_lessons.problems import sums
from grpo_lessons.rewards import AnswerReward, answer_reward, format_reward, thinks
from grpo_lessons.runs import Run
from grpo_lessons.training import Plan, Settings, Watch, explain, rows, templates, train
from tests.test_groups import in_groups, one_step_of_trl
from tests.test_rewards import cases

SMALL = Settings(steps=2, batch_size=16, max_completion_length=12)


def lengths(completion_ids, **kwargs):
    return [float(len(ids) % 5) for ids in completion_ids]


async def judged_elsewhere(completion_ids, **kwargs):
    return [float(len(ids) % 5) for ids in completion_ids]


class Elsewhere:
    """An object whose call is a coroutine, with a name of its own."""

    __name__ = "elsewhere"

    async def __call__(self, completion_ids, **kwargs):
        return lengths(completion_ids)


def as_torch(completion_ids, **kwargs):
    import torch

    return torch.tensor(lengths(completion_ids))


def with_logs(completions, log_extra, log_metric, trainer_state, **kwargs):
    log_extra("seen", ["yes"] * len(completions))
    log_metric("own_metric", 0.25)
    return [None, *lengths(completions)[1:]]


def without_kwargs(
    prompts,
    completions,
    completion_ids,
    answer,
    opened_thought=None,
    trainer_state=None,
    log_extra=None,
    log_metric=None,
):
    return lengths(completion_ids)


REWARDS = [
    (lambda completion_ids, **kwargs: numpy.array(lengths(completion_ids)), "a numpy array"),
    (lambda completion_ids, **kwargs: [numpy.float32(n) for n in lengths(completion_ids)], "numpy scalars"),
    (as_torch, "a torch tensor"),
    (lambda completion_ids, **kwargs: list(as_torch(completion_ids)), "torch scalars"),
    (lambda completion_ids, **kwargs: tuple(n > 2 for n in lengths(completion_ids)), "truth values"),
    (lambda completion_ids, **kwargs: [None] * len(completion_ids), "None for all"),
    (lambda completion_ids, **kwargs: [None if i % 3 else n for i, n in enumerate(lengths(completion_ids))], "None for some"),
    (lambda completion_ids, **kwargs: [math.nan if i % 3 else n for i, n in enumerate(lengths(completion_ids))], "NaN for some"),
    (judged_elsewhere, "a coroutine"),
    (Elsewhere(), "an object with a coroutine"),
    (functools.partial(lengths, extra=1), "a partial"),
    (with_logs, "what is logged"),
    (without_kwargs, "every parameter by its name"),
]  # fmt: skip


def test_a_record_is_written_whatever_a_reward_returns(tmp_path):
    """One training with all of them at once, each under a name of its own, checkpoints and held-out questions included."""
    rewards = []
    for number, (reward, _) in enumerate(REWARDS):
        if getattr(reward, "__name__", "") == "<lambda>":
            reward.__name__ = f"reward_{number}"
        rewards.append(reward)
    plan = Plan(SMALL, rewards, sums(16), held_out=sums(2, split="held-out"), evaluate_every=1)
    run = train(plan, checkpoints=tmp_path / "unfinished").run
    assert run.state == "finished" and run.steps_done == 2
    assert Run.from_json(run.to_json()).groups == run.groups
    row = run.metrics[-1]
    assert row["own_metric"] == 0.25 and math.isfinite(row["reward"])
    assert "rewards/reward_5/mean" not in row or row["rewards/reward_5/mean"] is None
    assert run.groups[-1].completions[0].rewards["reward_5"] is None


def test_a_step_in_which_no_reward_has_a_say_goes_on_and_that_is_told_once(monkeypatch):
    def silent(completions, **kwargs):
        return [None] * len(completions)

    told = []
    listener = logging.Handler()
    listener.emit = lambda record: told.append(record.getMessage())
    monkeypatch.setattr(logging.getLogger("trl.trainer.grpo_trainer"), "handlers", [listener])
    run = train(Plan(SMALL, [silent], sums(16))).run
    assert run.state == "finished" and [row["reward"] for row in run.metrics] == [None, None]
    assert len(told) == 1 and told[0].startswith("All reward functions returned None") and "prompt" not in told[0]
    assert run.metrics[0]["unscored"] == 16 and all(c.advantage == 0 for c in run.groups[0].completions)


@pytest.mark.parametrize("scale", SCALES)
def test_advantages_are_those_of_trl_where_some_rewards_have_no_say(scale, tmp_path):
    said = [3, None, 46, None, math.nan, 1, 1, 2, *[None] * 8, 5, *[None] * 7]

    def some(completions, **kwargs):
        return said

    trainer = one_step_of_trl(tmp_path, some, scale_rewards=scale)
    ours = [each for group in advantages(in_groups(said), scale) for each in group]
    assert ours == pytest.approx(list(trainer._logs["advantages"]), abs=1e-4)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_advantages_of_two_rewards_with_gaps_are_those_of_trl(aggregation, tmp_path):
    first = [1.0, None, 0.5, 0.0, None, 1.0, 0.25, None, *[None] * 8, 1.0, *[None] * 7]
    second = [None, None, 2.0, 1.0, 5.0, 0.0, None, 3.0, 1.0, 2.0, *[None] * 6, *[0.5] * 8]

    def one(completions, **kwargs):
        return first

    def other(completions, **kwargs):
        return second

    options = {"reward_weights": [1.0, 0.3], "multi_objective_aggregation": aggregation}
    trainer = one_step_of_trl(tmp_path, [one, other], **options)
    ours = combined([in_groups(first), in_groups(second)], [1.0, 0.3], aggregation)
    assert [each for group in ours for each in group] == pytest.approx(list(trainer._logs["advantages"]), abs=1e-3)


def test_a_reward_of_the_wrong_length_is_told_by_its_name():
    def short(completions, **kwargs):
        return [0.0]

    with pytest.raises(ValueError, match=r"`short` failed\. It returned 1 score for 16 replies"):
        train(Plan(SMALL, [short], sums(16)))


@pytest.mark.parametrize(
    ("reward", "words"),
    cases(
        (lambda completions: [0.0], "takes completions only, and TRL passes more", "no **kwargs"),
        (
            lambda completions, grade, **kwargs: [0.0],
            "asks for 'grade', and the data set has no such column",
            "no column",
        ),
        (AnswerReward(column="gold"), "'gold'; the data have 'answer'", "no column of right answers"),
    ),
)
def test_a_reward_that_trl_could_not_call_is_refused_before_anything_is_loaded(reward, words):
    with pytest.raises(ValueError, match=words.replace("*", r"\*")):
        train(Plan(SMALL, [reward], sums(16)))


def test_a_judge_that_answers_later_is_asked_outside_a_training_too():
    assert ask(judged_elsewhere, completions=["x"], completion_ids=[[1] * 7]) == [2.0]
    assert complaint(functools.partial(lengths, extra=1), ["prompt"]) is None


@pytest.mark.parametrize(
    ("data", "words"),
    cases(
        (
            [{"question": "1 + 1?", "answer": "2"}],
            "Row 1 has no column 'prompt'; it has 'answer', 'question'",
            "no prompt",
        ),
        (["1 + 1?"], "Row 1 is '1 \\+ 1\\?': expected a dict", "no dict"),
        ([{"prompt": ""}], "Row 1, column 'prompt': it is empty", "an empty prompt"),
        ([{"prompt": 7}], "Row 1, column 'prompt': 7 is neither text nor a list of messages", "a number"),
        ([{"prompt": [{"content": "?"}]}], "expected a dict with 'role' and 'content'", "no role"),
        ([{"prompt": [{"role": "human", "content": "?"}]}], "the role 'human': expected one of system", "another role"),
        (
            [{"prompt": "?", "answer": 2}, {"prompt": "?", "answer": "x"}],
            "row 1 has a number \\(2\\), row 2 has text",
            "mixed",
        ),
    ),
)
def test_what_is_wrong_with_the_data_is_told_by_row_column_and_value(data, words):
    with pytest.raises(ValueError, match=words):
        train(Plan(SMALL, [format_reward], data))


def test_none_goes_with_everything_and_whole_with_broken_numbers():
    assert (
        rows.problem([{"prompt": "?", "answer": None}, {"prompt": "?", "answer": 2}, {"prompt": "?", "answer": 2.5}])
        is None
    )


def test_an_unknown_dtype_is_a_matter_of_settings():
    assert "dtype 'bf16': expected one of float32, bfloat16" in Settings(dtype="bf16").problem


def test_a_training_in_which_some_right_answers_cannot_be_read_goes_on_and_says_so():
    data = [row | {"answer": None if at % 2 else row["answer"]} for at, row in enumerate(sums(16))]
    said = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = train(Plan(SMALL, [answer_reward], data), Watch(say=said.append)).run
    assert run.state == "finished" and any(
        "8 right answers have no value, such as row 2, answer=None" in each for each in said
    )
    assert run.choices["unreadable answers"] == 8 and any(row.get("unreadable_answers") for row in run.metrics)
    with pytest.raises(ValueError, match="No right answer can be read"):
        train(Plan(SMALL, [answer_reward], [row | {"answer": None} for row in data]))


def test_what_was_learnt_survives_a_checkpoint_that_cannot_be_written(tmp_path, monkeypatch):
    from trl import GRPOTrainer

    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GRPOTrainer, "_save_checkpoint", full)
    said = []
    watch = Watch(update=lambda phase, run: said.append(phase))
    trained = train(Plan(SMALL, [format_reward], sums(16)), watch, checkpoints=tmp_path / "unfinished")
    assert trained.run.state == "finished" and any("A checkpoint was lost: The disk is full" in each for each in said)


TEMPLATES = {  # as TRL 1.16 ships them: what each opens at the end of a prompt
    "deepseek_r1_distill": "<think>",
    "deepseekv3": "<think>",
    "qwen3_8": "",  # closed at once, where it is told not to think
    "qwen3_5_think": "",
    "qwen2_5": "",
    "gptoss": "",
    "gemma4": "",
    "glm4moe": "",
}


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    from grpo_lessons import pocket

    return AutoTokenizer.from_pretrained(pocket.PATH)


def template_of(name):
    from pathlib import Path

    import trl

    return (Path(trl.__file__).parent / f"chat_templates/{name}.jinja").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_thought_that_a_template_opens_is_known_from_the_tokenizer_and_from_the_files_alone(
    name, tokenizer, tmp_path
):
    tokenizer.chat_template = template_of(name)
    assert templates.opens(tokenizer) == TEMPLATES[name]
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert templates.opened_by(str(tmp_path)) == TEMPLATES[name]


def test_a_lesson_says_what_the_format_reward_will_see_before_the_training(tokenizer, tmp_path):
    from grpo_lessons.lesson.controls import show_plan

    tokenizer.chat_template = template_of("deepseekv3")
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")

    def said(model, rows):
        shown = show_plan(Plan(Settings(model=model, batch_size=16), [answer_reward], rows), folded=True)
        return " ".join(getattr(each, "text", str(each)) for each in shown)

    assert "ends every prompt with" in said(str(tmp_path), sums(16)) and "as if it began with" in said(
        str(tmp_path), sums(16)
    )
    assert "ends every prompt with" not in said("pocket", sums(16))
    assert "have no value, such as row 4" in said(
        "pocket", [r | {"answer": None} if i == 3 else r for i, r in enumerate(sums(16))]
    )


def test_the_rewards_see_a_thought_that_the_template_opened():
    reply = "40 + 32 = 72</think><answer>72</answer>"
    told = {"opened_thought": ["<think>"], "answer": ["72"]}
    assert format_reward(completions=[reply]) == [0.0] and format_reward(completions=[reply], **told) == [1.0]
    assert thinks(completions=[reply], **told) == [1.0]
    cut_off = "40 + 32 = 72, or is it"
    assert (
        answer_reward(completions=[cut_off], **told) == [0.0] != answer_reward(completions=["It is 72"], answer=["72"])
    )
    assert answer_reward(completions=[cut_off], prompts=["40 + 32?<think>\n"], answer=["72"]) == [0.0]


def test_a_template_that_refuses_a_system_message_says_what_to_do(tokenizer):
    tokenizer.chat_template = template_of("gemma")
    asked = [{"role": "user", "content": "?"}]
    assert templates.refused(tokenizer, [{"prompt": asked}]) is None
    told = templates.refused(
        tokenizer, [{"prompt": asked}, {"prompt": [{"role": "system", "content": "Be brief."}, *asked]}]
    )
    assert "refuses row 2, column 'prompt', with the roles system, user (System role not supported)" in told
    assert "head of the first user message" in told
    assert explain(ValueError(told)) == told
