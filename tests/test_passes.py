"""pass@k before and after: counted by hand; and what the lesson says of the recorded trainings holds of them."""

import json
import random
from statistics import fmean

import pytest

from grpo_lessons import here, passes
from grpo_lessons.lesson.passes import RECORDED, sharper, show_sharper
from grpo_lessons.passes import Passes, Tally, by_luck
from grpo_lessons.text import question
from notebooks.record import PASSES
from tests.support.lessons import opened

FOUND = {name: Passes.from_record(json.loads(here.read(f"public/{file}.json"))) for name, file in RECORDED.items()}


def made(before, after, n=4, answers=None):
    """Questions whose tries are right so often before, and after."""

    def tallies(rights):
        return [Tally(right, 2, "7", max(right, n - right)) for right in rights]

    answers = answers or ["7"] * len(before)
    return Passes(n, [f"{i}?" for i, _ in enumerate(before)], answers, tallies(before), {"0": tallies(after)}, {})


def test_a_training_that_is_surer_of_less_wins_with_one_try_and_loses_with_many():
    sharper = made(before=[2, 2, 2, 2], after=[8, 8, 0, 4], n=8)
    before, after = sharper.before, sharper.after["0"]
    assert [sharper.pass_at(k, before)[0] for k in (1, 2, 8)] == pytest.approx([1 / 4, 13 / 28, 1])
    assert [sharper.pass_at(k, after)[0] for k in (1, 2, 8)] == pytest.approx([5 / 8, 39 / 56, 3 / 4])
    assert [*sharper.ks] == [1, 2, 3, 4] and sharper.crossing(after) == 4  # 55 of 70 ways, against 3/4 - 1/4/70
    assert sharper.lost_and_won(after) == (1, 0)
    learnt = made(before=[1, 0, 1, 1], after=[4, 4, 4, 0])
    assert learnt.crossing(learnt.after["0"]) is None and learnt.lost_and_won(learnt.after["0"]) == (1, 1)
    worse = made(before=[2, 2], after=[1, 0])
    assert worse.crossing(worse.after["0"]) == 1
    said = passes.in_words(sharper, "It")
    assert "One try is right in 25%, after the training in **62%**; one of 4 in 79%, after it in **75%**" in said
    assert (
        "From k = 4 on the untrained model is ahead. The answer that most of 8 tries come to is right in 100%" in said
    )
    assert said.endswith("(Ever right in 8 tries before and never after: 1 of 4 questions; the other way round: 0.)")
    assert "as uneven in 50% of cases" in passes.in_words(made([1, 1, 0], [0, 0, 0]), "It")


def test_the_majority_is_right_where_its_answer_has_the_value_of_the_right_one():
    some = made([1, 1, 1], [4, 4, 4], answers=["7", "7.0", "8"])
    assert some.majority(some.before) == pytest.approx(2 / 3)
    assert Passes(4, ["?"], ["7"], [Tally(1, 1, None, 4)], {}, {}).majority([Tally(1, 1, None, 4)]) == 0


def test_a_tally_that_is_missing_is_told():
    with pytest.raises(ValueError, match="0: 1 tallies for 2 questions: expected one for each"):
        Passes(4, ["a", "b"], ["7", "7"], [Tally(1, 1, "7", 4)] * 2, {"0": [Tally(1, 1, "7", 4)]}, {})


def test_by_luck_is_as_often_as_coins_are_as_uneven():
    dice = random.Random(0)
    uneven = fmean(max(heads := sum(dice.random() < 0.5 for _ in range(9)), 9 - heads) >= 7 for _ in range(20_000))
    assert by_luck(7, 2) == by_luck(2, 7) == pytest.approx(uneven, abs=0.01)
    assert by_luck(0, 0) == by_luck(4, 4) == 1


def test_the_curves_and_their_numbers_are_read_by_who_does_not_see_them():
    some = made([1, 1, 1, 1], [4, 4, 0, 1])
    shown = passes.figure(some, "<b>")
    assert "<b>" not in shown.replace("<b style", "").replace('<b class="held-out">', "")
    assert 'role="img" aria-label="&lt;b&gt;, pass@1: before 25%, after 56%; pass@2: before 50%, after 62%"' in shown
    assert shown.count("<polyline") == shown.count("<polygon") == 2 and ">2</text>" in shown
    assert 'scope="row">x, seed 0<' in (rows := passes.table({"x": some}, ks=(1,))) and "25% → <b>56%</b>" in rows


def test_the_recorded_trainings_are_those_of_the_lesson_and_say_what_it_says_of_them():
    """They are asked the lesson's own held-out questions; what the answers to the prediction claim is counted again."""
    for (plan, seeds, asked, n), found in zip(PASSES.values(), FOUND.values(), strict=True):
        rows = plan.held_out[:asked]
        assert [*found.questions] == [question(row["prompt"]) for row in rows]
        assert [*found.answers] == [row["answer"] for row in rows] and found.n == n
        assert [*found.after] == [*map(str, seeds)] and found.about["steps"] == plan.settings.steps
        assert all(0 <= each.right <= n and each.times <= n for each in (*found.before, *found.after["0"]))
    pocket = FOUND["the pocket model"]
    assert pocket.majority(pocket.before) > 0.95 and all(each.right for each in pocket.before)
    assert fmean(each.different for each in pocket.before) == pytest.approx(20, abs=4)
    for after in pocket.after.values():  # each seed
        assert pocket.pass_at(1, after)[1] > 0.75 > 0.45 > pocket.pass_at(1, pocket.before)[2]
        assert abs(pocket.pass_at(32, after)[0] - pocket.pass_at(32, pocket.before)[0]) < 0.03  # no more often
        assert fmean(each.different for each in after) == pytest.approx(3, abs=1.5)
    real = FOUND["SmolLM2-135M"]
    (_, won), after = real.lost_and_won(real.after["0"]), real.after["0"]
    assert real.pass_at(1, after)[0] > real.pass_at(1, real.before)[0] and won >= 2
    moved = [(was.right / real.n, now.right / real.n) for was, now in zip(real.before, after, strict=True)]
    assert any(was == 0 and now > 0.5 for was, now in moved) and any(was > 0.5 and now < 0.125 for was, now in moved)


def test_the_lesson_asks_first_and_then_shows_every_model_and_both_sides():
    here_ = opened(lesson="math", is_watched=True)
    shown = show_sharper(here_, sharper(here_)).text
    assert "Read on without a choice" in shown and shown.count("<svg") >= len(FOUND)
    for source in ("2107.03374", "2402.03300", "2504.13837", "2505.24864", "2506.14245"):
        assert f"arxiv.org/abs/{source}" in shown
    for name, found in FOUND.items():
        assert f"{found.pass_at(1, found.after['0'])[0]:.0%}" in shown and name in shown
