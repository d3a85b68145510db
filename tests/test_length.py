"""The length lesson: what its prose claims holds, right answers to its exercises pass, its plain TRL runs."""

import math
import re
from itertools import combinations
from statistics import median

import pytest

from grpo_lessons import cards, pocket
from grpo_lessons.groups import advantages, is_dead
from grpo_lessons.lesson import REAL, Question
from grpo_lessons.pocket.corpus import posts, vocabulary_reward
from grpo_lessons.rewards import LengthReward
from grpo_lessons.runs import Completion, Evaluation
from grpo_lessons.web.wall import asked
from tests.support.lessons import alone, load, refusal, verdicts


@pytest.fixture(scope="module")
def lesson():
    return load("length")


@pytest.fixture(scope="module")
def defs(lesson):
    return lesson.app.run()[1]


def test_the_wall_of_a_class_knows_every_question(defs):
    questions = {each.asked: (each.right, [*each.answers]) for each in defs.values() if isinstance(each, Question)}
    assert {each.text: (each.options[each.right], [*each.options]) for each in asked("length")} == questions
    short, long = defs["weighed"].lengths
    assert 5.5 < long / short < 6  # "nearly six times as many tokens"


def off(evaluation):
    return evaluation.length_error(20)


def test_the_length_error_is_the_mean_distance_in_tokens():
    texts = [Completion("", tokens, {}) for tokens in (18, 20, 25)]
    assert Evaluation(["?"] * 3, texts).length_error(20) == pytest.approx(7 / 3)


def perplexity(evaluation):
    return math.exp(-evaluation.mean("reference_logprob"))


def test_characters_prefer_another_text_than_tokens_and_messages_prefer_none(defs):
    texts, tokens = defs["TEXTS"], [len(pocket.tokens(text)) for text in defs["TEXTS"]]

    def best(lengths):
        return min(range(4), key=lambda i: abs(lengths[i] - 20))

    assert tokens[2] == 19 and best(tokens) == 2
    assert len(texts[0]) == 16 and best([len(text) for text in texts]) == 0
    rewards = [max(-1.0, -abs(len([text]) - 20) / 20) for text in texts]
    assert is_dead(rewards) and advantages([rewards])[0] == [0] * 4


def test_no_text_of_the_example_hits_the_target_and_one_is_pushed_up(defs):
    group = defs["GROUP"](LengthReward(20))
    assert all(completion.rewards["length_reward"] < 0 for completion in group)
    assert [completion.advantage > 0 for completion in group] == [False, False, True, False]


def test_the_shapes_have_their_summits_where_the_lesson_says(lesson, defs):
    def pays(shape, n):
        return lesson.length_reward_of(shape, 20).pays(n)

    summit = {shape: max(range(1, 61), key=lambda n: pays(shape, n)) for shape in lesson.SHAPES}
    assert (summit["distance"], summit["longer is better"], summit["signed"]) == (20, 60, 1)
    assert 18 <= summit["window"] <= 22 and pays("abs", 20) == min(pays("abs", n) for n in range(1, 61)) == 0
    assert is_dead([c.rewards["length_reward"] for c in defs["GROUP"](lesson.length_reward_of("window", 30))])
    assert pays("distance", 1000) == -1


def test_a_hair_of_a_hundredth_pushes_like_a_whole_and_fades_below_the_epsilon():
    hair, whole = advantages([[0.01, 0, 0, 0], [1, 0, 0, 0]])
    assert hair[0] == pytest.approx(whole[0], rel=0.03)
    assert advantages([[0.00001, 0, 0, 0]])[0][0] < 0.1
    assert advantages([[0.01, 0, 0, 0], [1, 0, 0, 0]], "batch")[0][0] < 0.05


def test_the_recorded_run_hits_the_length_and_loses_the_words(defs):
    run = defs["station"].runs["beta = 0"]
    assert run.settings["beta"] == 0 and run.series("kl") == []
    assert off(run.after) <= 2 < off(run.before) / 4
    assert run.before.mean("vocabulary_reward") > 0.99 > 0.95 > run.after.mean("vocabulary_reward")
    assert perplexity(run.after) > 10 * perplexity(run.before)
    assert max(row["entropy"] for row in run.metrics[10:]) > 1.3 * run.metrics[0]["entropy"]


def test_either_remedy_sees_what_the_length_did_not(defs):
    runs = defs["station"].runs
    blind, held, words = (runs[name].after for name in ("beta = 0", "beta = 0.1", "a second reward"))
    assert held.mean("vocabulary_reward") > 0.95 and perplexity(held) < perplexity(blind) / 10
    assert perplexity(held) < 2 * perplexity(runs["beta = 0"].before)  # as readable as before
    assert words.mean("vocabulary_reward") > 0.95 and perplexity(words) > 5 * perplexity(held)  # words, not sentences
    assert off(held) < off(runs["beta = 0"].before) / 3 and off(words) < off(runs["beta = 0"].before) / 3
    assert runs["beta = 0.1"].series("kl")


def test_five_seeds_say_which_gaps_between_the_remedies_are_luck(defs):
    runs = defs["opened"].numbers("length_seeds")["runs"]
    far, words, perplexity = (
        list(runs[name].values()) for name in ("tokens off the target", "real words", "perplexity")
    )
    assert all(len(values) == 5 for of in (far, words, perplexity) for values in of)

    def apart(some, others):
        return max(some) < min(others) or max(others) < min(some)

    assert far[1][0] < far[0][0] and far[2][0] < far[0][0]  # by the first seed, both are more precise, …
    assert median(far[0]) < min(median(far[1]), median(far[2]))  # … and they are not
    assert not any(apart(*pair) for pair in combinations(far, 2))
    assert apart(words[0], words[1]) and apart(words[0], words[2])
    assert apart(perplexity[0], perplexity[1]) and not apart(perplexity[0], perplexity[2])


def test_the_held_texts_have_grown_alike_as_the_lesson_says(defs):
    run = defs["station"].runs["beta = 0.1"]
    assert run.metrics[-1]["entropy"] < run.metrics[0]["entropy"]
    beginnings = [" ".join(completion.text.split()[:3]) for completion in run.after.completions]
    assert max(map(beginnings.count, beginnings)) > len(beginnings) / 2


def test_the_real_model_halves_its_error_in_five_minutes_and_has_nothing_to_compare_without_an_example(defs):
    real, zero = (defs["station"].runs[name] for name in (REAL, f"{REAL}, no example"))
    assert real.after.length_error(20) < real.before.length_error(20) / 2 and real.metrics[-1]["seconds"] < 300
    assert zero.metrics[0]["completions/clipped_ratio"] > 0.9 and zero.metrics[0]["frac_reward_zero_std"] == 1
    assert zero.metrics[1]["frac_reward_zero_std"] == 0.5 and all(r["frac_reward_zero_std"] == 0 for r in real.metrics)
    assert abs(real.after.mean("reference_logprob") - real.before.mean("reference_logprob")) < 0.7  # they hold


def test_longer_is_better_ends_at_the_limit_with_every_group_dead(defs):
    run = defs["station"].runs["longer is better"]
    assert run.metrics[-1]["completions/clipped_ratio"] == 1 == run.metrics[-1]["frac_reward_zero_std"]
    assert run.metrics[-1]["completions/mean_length"] == run.settings["max_completion_length"]
    assert run.metrics[-1]["completions/mean_terminated_length"] == 0


def test_left_out_cut_off_texts_leave_an_update_of_nothing(defs):
    run = defs["station"].runs["longer, cut-off texts left out"]
    assert run.settings["mask_truncated_completions"] is True
    nearly_all = [row for row in run.metrics if row["completions/clipped_ratio"] == 1]
    assert all(row["grad_norm"] == 0 and row["loss"] == 0 for row in nearly_all)


def test_the_signed_mistake_ends_in_empty_texts(defs):
    run = defs["station"].runs["signed"]
    assert run.metrics[-1]["completions/mean_length"] < 2 and run.metrics[-1]["reward"] > 0.9


def test_real_words_in_no_order_earn_the_second_reward_in_full():
    assert vocabulary_reward(["sea sea sea sea", "across across twice"]) == [1.0, 1.0]


def test_the_second_reward_never_raises_on_hostile_text():
    assert vocabulary_reward([None, "", [{"content": 3}], "<" * 100_000, "\ud800"]) == [0.0] * 5


def test_the_exercise_in_plain_trl_runs_as_it_stands(lesson, tmp_path, monkeypatch):
    from datasets import Dataset

    monkeypatch.chdir(tmp_path)
    rewards = alone(lesson.train_summaries)(str(pocket.PATH), Dataset.from_list(posts(16)), 5e-3, 2)
    assert len(rewards) == 2 and all(-1 <= reward <= 0 for reward in rewards)


def test_right_answers_to_the_exercises_pass(lesson):
    def my_length_reward(completion_ids, **kwargs):
        return [max(-1.0, -abs(len(ids) - 30) / 30) for ids in completion_ids]

    said = verdicts(
        lesson,
        my_length_reward=my_length_reward,
        prompts_in_a_step=lambda batch_size, accumulation, processes, group_size: (
            batch_size * accumulation * processes // group_size
        ),
        my_combined_reward=lambda length, words: length + words,
    )
    assert len(said) == 3 and all("All cases pass" in text for text in said)
    assert refusal(lesson, my_length_reward) is None
    assert "Add **kwargs" in refusal(lesson, lesson.my_length_reward)  # as it stands


def test_tokens_are_those_of_the_model_and_put_the_text_together_again():
    from grpo_lessons.training import models

    tokenizer = models.load("pocket")[1]
    for text in ("The sea is wide.", "1,250 dollars", "", "Käse 🧀 und\n\n  more", "a" * 300, "<|end|>"):
        pieces = pocket.tokens(text)
        assert len(pieces) == 1 + len(tokenizer(text, add_special_tokens=False)["input_ids"])
        assert "".join(pieces[:-1]) == text and pieces[-1] == tokenizer.eos_token


def test_the_loop_uncovers_one_column_at_each_stage(defs):
    group = defs["GROUP"](LengthReward(20))
    heads = [
        re.findall('class="head[^>]*>([^<]*)<', cards.loop_picture("?", group, stage=stage)) for stage in range(1, 6)
    ]
    assert [len(each) for each in heads] == [0, 1, 2, 3, 4] and heads[4][3] == "advantage"
    last = cards.loop_picture("?", group, update=[0.8, 0.9, 1.4, 0.6])
    assert last.count("× ") == 4 and "6 tokens" in last


def test_the_log_probability_is_that_of_the_model_alone_and_in_a_batch():
    import torch

    from grpo_lessons.training.models import ReferenceLogProb, load

    model, tokenizer = load("pocket")
    prompts = [[{"role": "user", "content": f"Write about the {topic}."}] for topic in ("sea", "owl")]
    ids = [tokenizer(text + "<|end|>")["input_ids"] for text in ("The sea is wide.", "O busy busy>1 quiet> tw.")]
    together = ReferenceLogProb()(prompts=prompts, completion_ids=ids)
    for prompt, completion, found in zip(prompts, ids, together, strict=True):
        asked = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
        with torch.no_grad():
            whole = torch.tensor([asked + completion])
            loss = model(input_ids=whole, labels=torch.tensor([[-100] * len(asked) + completion])).loss
        assert found == pytest.approx(-loss.item(), abs=1e-4)
    assert together[0] > together[1] + 3  # a sentence is far likelier than a row of odd words
    assert ReferenceLogProb()(prompts=prompts, completion_ids=[[], []]) == [0.0, 0.0]
