"""The math lesson in a real browser: the reader edits answers, builds the extraction, finds the bug, trains."""

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
    with lesson("math", tmp_path_factory.mktemp("course") / "runs") as page:
        yield page


def test_untouched_the_outputs_are_there_and_none_failed(page):
    check_untouched(
        page,
        "A small language model adds",
        "two and two thirds",
        "Every right answer has a value.",
        "Mean advantage",
        "right, if it thinks",
        "Guess, then choose a run.",
        "Not yet",
    )


def test_an_edited_answer_is_compared_anew(page):
    page.get_by_role("switch", name="ours").first.click()
    row = page.locator("tr").filter(has_text="yours")
    assert row.locator("td").nth(3).inner_text() == "✓"
    field = page.locator("marimo-text input").first
    field.fill("<b>0.51</b>")
    field.blur()
    row = page.locator("tr").filter(has_text="<b>0.51</b>")
    row.wait_for()
    assert row.locator("td").nth(3).inner_text() == "✗"


def test_a_data_set_of_ones_own_is_checked(page, tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"label": "3\\\\frac{1}{2}"}\n{"label": null}\n', encoding="utf-8")
    page.locator("marimo-file input[type=file]").set_input_files(tmp_path / "mine.jsonl")
    shown(page, "The right answers are looked for in the column").wait_for()
    column = page.locator("marimo-text input").nth(2)
    column.fill("label")
    column.blur()
    shown(page, "1 without a value: row 2 (None)").wait_for()
    read_as = page.locator("tr", has=page.get_by_role("cell", name="mixed number", exact=True))
    assert read_as.locator("td").nth(3).inner_text().strip() == "3.5"


def test_with_every_step_of_the_extraction_all_replies_are_read_right(page):
    shown(page, "Read wrongly: 5 of 7 replies.").wait_for()
    for label in ("#### 72", "\\boxed{72}", "<answer>72</answer>", "thoughts do not count"):
        page.locator("marimo-switch").filter(has_text=label).get_by_role("switch").click()
    shown(page, "All are read right.").wait_for()


def test_without_the_bare_except_the_bug_speaks_and_can_be_found(page):
    shown(page, "[0.0, 0.0, 0.0, 0.0]").wait_for()
    page.locator("marimo-switch").filter(has_text="take the except away").get_by_role("switch").click()
    shown(page, "TypeError: list indices must be integers").wait_for()
    shown(page, 'text = completion["content"]', exact=True).last.click()
    shown(page, "Yes. In a conversation a completion").wait_for()


def test_a_wide_tolerance_kills_the_group(page):
    press(page, "tolerance", "End")
    shown(page, "A dead group:").first.wait_for()


def test_a_run_that_fails_is_chosen_and_explained(page):
    shown(page, "too easy: any number will do", exact=True).click()
    shown(page, "All right.", exact=True).wait_for()


def test_five_seeds_are_shown_for_every_judge_and_trained_in_the_page(page):
    settle(page)
    shown(page, "All learn, nearly as if it did not err", exact=True).click()
    shown(page, "With a judge that errs in 10% of its verdicts").wait_for()
    assert page.locator("table.seeds svg").count() == 5 + 1 and shown(page, "learnt", exact=True).count() == 5
    press(page, "chance that the judge errs", "End")
    shown(page, "With a judge that errs in 50% of its verdicts").wait_for()
    settle(page)
    page.get_by_role("button", name="Train five").click()
    page.get_by_role("button", name="Stop", disabled=False).last.wait_for()
    chance = page.locator("marimo-ui-element", has=page.get_by_text("chance that the judge errs", exact=True)).last
    which = chance.get_attribute("random-id")
    page.wait_for_function(
        "() => [...document.querySelectorAll('table.seeds svg')].some(each => /^before/.test(each.ariaLabel))"
        " && document.querySelectorAll('table.seeds [aria-label=\"not begun\"]').length"
    )
    assert which and chance.get_attribute("random-id") == which, "a control made anew loses what is pressed"
    press(page, "chance that the judge errs", "Home")  # everything else stays alive meanwhile
    shown(page, "With a judge that never errs").wait_for()
    press(page, "chance that the judge errs", "End")
    page.get_by_role("button", name="Stop").last.click()
    shown(page, re.compile("Stopped: [0-9]+ steps of 125")).wait_for()
    assert page.workers == [] and failures(page) == []


def test_whether_it_was_sharpened_or_learnt_is_asked_first(page):
    settle(page)
    shown(page, "No more often: among 32 tries there was a right one before, too", exact=True).click()
    shown(page, "Yes. What it half knew").wait_for()
    page.get_by_role("img", name=re.compile("^the pocket model, pass@1: before [0-9]+%, after [0-9]+%")).wait_for()


def test_training_on_answers_only_teaches_to_think(page):
    settle(page)
    page.get_by_role("radio", name="here, in this page").click()
    shown(page, "Trained here, in your browser").wait_for()
    shown(page, "A thought stands in front of right answers, and is pushed up with them", exact=True).click()
    shown(page, "Noted.").wait_for()
    slide(page, "steps", 25)
    shown(page, re.compile("max_steps=25")).first.wait_for(state="attached")
    start(page)
    at_step(page, 3).wait_for()
    told(page, "Finished: 25 steps").wait_for()
    assert reading(page, "replies that think") > 0.9
    shown(page, "Yes. Within a group, the replies that think").wait_for()
    assert failures(page) == []


def test_hostile_text_in_break_it_is_scored_and_neither_runs_nor_hangs(page):
    area = page.locator("marimo-text-area textarea").first
    area.fill("<img src=x onerror=\"document.title='owned'\">\\boxed{9^{9^{9^9}}}" + "<think>" * 200)
    area.blur()
    shown(page, "<img src=x").first.wait_for()
    assert page.title() != "owned" and page.locator("img[src=x]").count() == 0
