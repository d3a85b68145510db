"""The length lesson in a real browser: the reader counts, shapes, sets a target, trains to it."""

import os
import re

import pytest

from tests.support.browser import (
    CHROMIUM,
    at_step,
    check_untouched,
    failures,
    lesson,
    press,
    reading,
    settle,
    shown,
    slide,
    start,
    told,
)

if not CHROMIUM and not os.environ.get("CI"):
    pytest.skip("no Chromium or Chrome on this machine", allow_module_level=True)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with lesson("length", tmp_path_factory.mktemp("course") / "runs") as page:
        yield page


def test_untouched_the_outputs_are_there_and_none_failed(page):
    check_untouched(
        page,
        "A small language model writes",
        "text before",
        "4 sampled completions",
        "What would have seen it",
        "Guess, then choose one.",
        "Not yet.",
    )


def test_a_remedy_is_shown_once_it_is_chosen(page):
    shown(page, "a second reward", exact=True).first.click()
    shown(page, "Do they cost precision?").wait_for()
    press(page, "seeds", "End")
    shown(page, "(126 – 43,550)").wait_for()


def test_the_columns_of_the_loop_are_uncovered_one_by_one(page):
    press(page, "stage of the loop", "Home")
    page.wait_for_function("() => !document.body.innerText.includes('against the mean')")
    assert shown(page, "chance after it").count() == 0
    press(page, "stage of the loop", "End")
    shown(page, "against the mean").wait_for()
    shown(page, "chance after it").wait_for()


def test_counting_messages_makes_every_reward_equal_and_kills_the_signal(page):
    assert shown(page, "a dead group").count() == 0
    shown(page, "messages: len(completion), in a conversation", exact=True).click()
    shown(page, "a dead group: no push at all").wait_for()
    assert shown(page, "1 message", exact=True).count() == 4
    shown(page, "tokens: len(completion_ids[i])", exact=True).click()
    shown(page, "a dead group: no push at all").wait_for(state="detached")


def test_a_shape_changes_its_figure_and_the_word_on_it(page):
    page.locator("marimo-radio").filter(has_text="Shape").get_by_text("longer is better", exact=True).click()
    shown(page, "no target at all, and no summit").wait_for()


def test_a_hair_is_a_push_when_scaled_and_none_when_not(page):
    shown(page, "+1.47").first.wait_for()
    page.locator("marimo-radio").filter(has_text="scale_rewards").get_by_text("none", exact=True).click()
    shown(page, "+0.01").first.wait_for()


def test_a_loss_is_chosen_after_the_prediction_and_a_token_that_has_moved_is_clipped(page):
    shown(page, "Those of the short reply", exact=True).click()
    shown(page, "Yes. As wholes both replies are pushed alike").wait_for()
    page.locator("marimo-dropdown").filter(has_text="loss").locator("select").first.select_option(label="dapo")
    shown(page, "TRL's default: each token of a step weighs the same.", exact=True).wait_for()
    assert shown(page, "the outlined one").count() == 0
    press(page, "ratio of the outlined token", "End")
    shown(page, "the outlined one 0", exact=True).wait_for()


def test_replies_that_are_used_again_move_their_tokens(page):
    assert shown(page, "8.2%").count() == 0
    page.locator("marimo-radio").filter(has_text="num_iterations").get_by_text("4", exact=True).click()
    shown(page, "Four updates from the same replies.", exact=True).wait_for()
    assert shown(page, "clip_ratio 0.0%", exact=True).count() == 1 == shown(page, "clip_ratio 8.2%", exact=True).count()


def test_a_text_of_the_readers_own_is_cut_into_tokens_and_never_run(page):
    field = page.locator("marimo-text input").first
    field.fill("<img src=x onerror=\"document.title='owned'\">")
    field.blur()
    shown(page, "44 characters").wait_for()
    assert page.title() != "owned" and page.locator("img[src=x]").count() == 0


def test_what_a_remedy_costs_is_shown_when_it_is_chosen(page):
    page.locator("marimo-radio").filter(has_text="Remedy").get_by_text("beta = 0.1", exact=True).click()
    shown(page, "Do they cost precision?").wait_for()


def test_a_run_that_fails_is_chosen_and_explained(page):
    page.locator("marimo-radio").filter(has_text="The run").get_by_text("signed", exact=True).click()
    shown(page, "The summit is an empty text.", exact=True).wait_for()


def test_the_target_is_pulled_while_it_trains(page):
    shown(page, "The one after 30 steps", exact=True).click()
    shown(page, "Of texts that differ, the longest").wait_for()
    settle(page)
    figure, status = page.locator(".chase"), page.locator(".output-area .told")
    page.get_by_role("button", name="Train, and pull the target").click()
    status.filter(has_text=re.compile(r"^Step \d+: pull")).wait_for()
    slide(page, "pull it to (tokens)", 14)
    page.wait_for_function(
        r"() => /^step \d+: .*; target 14; entropy /.test(document.querySelector('.chase').ariaLabel)"
    )
    shown(page, re.compile(r"Moved to 14 at step \d+, at an entropy of")).wait_for()
    page.get_by_role("button", name="Stop", exact=True).last.click()
    status.filter(has_text=re.compile(r"^Stopped: \d+ steps in")).wait_for()
    assert "target 14; entropy" in figure.get_attribute("aria-label") and failures(page) == []


def test_training_arrives_at_the_target_that_the_reader_set(page):
    slide(page, "target (tokens)", 10)
    shown(page, "LengthReward(target=10").first.wait_for()
    press(page, "completions a step", " ".join(["ArrowLeft"] * 5))
    shown(page, "samples 24 completions").wait_for()  # enough to learn it, in half the time
    settle(page)
    page.get_by_role("radio", name="here, in this page").click()
    shown(page, "Trained here, in your browser").wait_for()
    shown(page, "First the sentences break; only then is the length held", exact=True).click()
    shown(page, "Noted.").wait_for()
    start(page)
    at_step(page, 3).wait_for()
    told(page, "Finished: 50 steps").wait_for()
    assert abs(reading(page, "length ± spread (tokens)") - 10) <= 1
    page.locator(".pushed [role=listbox]").nth(7).wait_for()  # look inside: what the update did to each token of eight
    shown(page, "Yes. Sense is not paid for").wait_for()
    assert failures(page) == []


def test_the_exercise_in_plain_trl_runs_and_shows_its_progress(page):
    settle(page)
    page.get_by_role("button", name="Run the exercise").click()
    shown(page, re.compile(r"^Step \d+ of 20")).first.wait_for()
