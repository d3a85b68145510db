"""Your own, as a newcomer walks it in a real browser: a verdict first, a file and a reward of one's own, a run, a paste."""

import os
import re

import pytest

from tests.support.browser import CHROMIUM, at_step, check_untouched, failures, lesson, press, shown, slide

if not CHROMIUM and not os.environ.get("CI"):
    pytest.skip("no Chromium or Chrome on this machine", allow_module_level=True)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with lesson("own", tmp_path_factory.mktemp("course") / "runs") as page:
        yield page


def ask(page) -> None:
    """Press the button, and wait for what comes of it."""
    page.get_by_role("button", name="Ask the model").click()
    shown(page, "16 prompts, 16 replies each").wait_for(timeout=120_000)


def test_untouched_the_outputs_are_there_and_none_failed(page):
    check_untouched(page, "Every row can be used.", "ten thousand digits", "ask it in station 3", "Dead groups.")


def test_the_model_is_asked_before_anything_is_trained_and_its_replies_are_tried(page):
    ask(page)
    shown(page, "It will teach.").wait_for()
    shown(page, "on the model's own replies").wait_for()
    shown(page, "is faster than sampling").wait_for()
    assert shown(page, "the model, 1").count() == 1


def test_another_column_needs_another_verdict(page):
    page.locator("marimo-dropdown", has_text="column that asks").locator("select").select_option("problem")
    shown(page, "Ask it again.").wait_for()
    ask(page)
    shown(page, "would have something to teach").first.wait_for()
    assert shown(page, "Put an example into the prompt").count() >= 1


def test_a_file_and_a_weight_of_ones_own_are_trained_with(page, tmp_path):
    rows = "".join(f"What is {a} + {b}?;{a + b}\r\n" for a in range(10, 30) for b in (11, 12, 13))
    (tmp_path / "mine.csv").write_bytes(f"\ufeffasked;right\r\n{rows}What is 1 + 1?;\r\n".encode())
    page.locator("marimo-file input[type=file]").first.set_input_files(tmp_path / "mine.csv")
    shown(page, "61 rows.").wait_for()
    shown(page, "which you dropped").wait_for()
    page.locator("marimo-dropdown", has_text="column of right answers").locator("select").select_option("right")
    shown(page, "1 row cannot be used").wait_for()
    page.get_by_text("A little higher", exact=True).click()
    slide(page, "steps", 5)
    shown(page, re.compile(r": 5 steps of")).first.wait_for()
    assert page.get_by_role("radio", name="A little higher").is_checked()  # the settings do not take a choice away
    page.get_by_role("button", name="Train", exact=True).click()
    at_step(page, 2).first.wait_for(timeout=120_000)
    shown(page, "Finished: 5 steps").wait_for(timeout=120_000)
    shown(page, "In your run it went from").wait_for(timeout=120_000)


def test_a_weight_stays_when_the_menu_is_made_anew(page):
    menu = page.locator("marimo-ui-element", has=page.get_by_text("tag_reward", exact=True)).last
    press(page, "tag_reward", "ArrowRight ArrowRight")
    chosen, which = menu.get_by_role("slider").get_attribute("aria-valuenow"), menu.get_attribute("random-id")
    page.locator("marimo-dropdown", has_text="column of right answers").locator("select").select_option("")
    page.wait_for_function(
        "([menu, was]) => menu.getAttribute('random-id') !== was", arg=[menu.element_handle(), which]
    )
    assert float(chosen) > 0 and menu.get_by_role("slider").get_attribute("aria-valuenow") == chosen


def test_why_it_does_not_learn_is_read_from_a_paste(page):
    box = page.locator("marimo-text-area textarea").last
    box.fill("{'loss': 0.0, 'grad_norm': 0.0, 'reward': 0.0, 'frac_reward_zero_std': 1.0}\n" * 12)
    box.blur()
    shown(page, "What you pasted:").wait_for()
    assert shown(page, "In 100% of the groups").count() == 1
    assert failures(page) == []
