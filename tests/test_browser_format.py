"""The format lesson in a real browser, as a learner has it: opened, touched, trained, stopped."""

import os
import re

import pytest

from grpo_lessons.runs import Run
from grpo_lessons.training import Settings, Watch, train
from tests.support.browser import (
    CHROMIUM,
    at_step,
    browse,
    check_untouched,
    failures,
    lesson,
    press,
    serve,
    settle,
    shown,
    start,
    told,
)
from tests.support.lessons import load

if not CHROMIUM and not os.environ.get("CI"):
    pytest.skip("no Chromium or Chrome on this machine", allow_module_level=True)

LESSON = "notebooks/grpo_format.py"


class Killed(Exception):
    """The end of a training that nobody asked for."""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The lesson, where a training of six steps had come to its fourth when it was killed."""
    runs = tmp_path_factory.mktemp("course") / "runs"

    def killed(phase, run):
        if run.steps_done == 4:
            raise Killed

    with pytest.raises(Killed):
        plan = load("format").plan(Settings(steps=6, batch_size=16))
        train(plan, Watch(update=killed), runs / "format/unfinished")
    with lesson("format", runs) as page:
        yield page


def test_untouched_the_outputs_are_there_and_none_failed(page):
    check_untouched(page, "A small language model adds", "reply before", "push", "group mean", "Break it")
    assert page.locator(".gl .card").count() >= 16


def test_a_control_changes_its_figure(page):
    figure = page.locator("svg", has_text="group size G").first
    before = figure.inner_html()
    press(page, "G, the group size", "ArrowRight ArrowRight")
    page.wait_for_function(
        "before => ![...document.querySelectorAll('svg')].some(s => s.innerHTML === before)", arg=before
    )


def test_the_lone_success_is_pushed_less_when_it_has_company(page):
    shown(page, "+0.94").first.wait_for()
    press(page, "replies out of 8 that earn 1", "ArrowLeft ArrowLeft ArrowLeft")
    shown(page, "+2.47").first.wait_for()
    press(page, "replies out of 8 that earn 1", "ArrowRight")
    shown(page, "+1.62").first.wait_for()


def test_a_prediction_is_answered(page):
    shown(page, "To avoid all eight of them", exact=True).click()
    shown(page, "Not quite.").first.wait_for()
    shown(page, "Nothing at all", exact=True).click()
    shown(page, "Such a group is called").first.wait_for()


def test_the_arrow_keys_go_through_a_prediction_choice_by_choice(page):
    radios = page.locator("marimo-radio", has=page.get_by_text("Nothing at all", exact=True)).get_by_role("radio")
    radios.first.focus()
    for key, index in (("ArrowDown", 1), ("ArrowDown", 2), ("ArrowDown", 0), ("ArrowUp", 2), ("ArrowUp", 1)):
        page.keyboard.press(key)
        page.wait_for_function("radio => radio.ariaChecked === 'true'", arg=radios.nth(index).element_handle())
    shown(page, "Such a group is called").first.wait_for()


def test_tab_goes_from_control_to_control_and_never_into_hidden_code(page):
    heading = page.get_by_role("heading", level=1)
    heading.evaluate("heading => { heading.tabIndex = -1; heading.focus(); }")
    where = """() => { let at = document.activeElement; while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
        return [at.closest(".cm-content") !== null, at.checkVisibility({ visibilityProperty: true, opacityProperty: true })
            && at.getBoundingClientRect().height > 0, at.getAttribute("role")]; }"""
    roles = []
    for _ in range(6):  # up to the first code that is shown, which is there to be written in
        page.keyboard.press("Tab")
        in_code, is_seen, role = page.evaluate(where)
        assert is_seen and not in_code, roles  # and not once more: a Tab would write into it
        roles.append(role)
    assert "radio" in roles


def test_the_way_to_step_by_step_covers_no_text(page):
    page.evaluate("document.getElementById('App').scrollTop = 0")
    page.locator("#gl-bar").wait_for()
    way, heading = (at.bounding_box() for at in (page.locator("#gl-bar"), page.get_by_role("heading", level=1)))
    assert way["y"] >= 0 and way["y"] + way["height"] <= heading["y"]
    page.evaluate("document.getElementById('App').scrollTop = 900")
    page.locator("#gl-bar").wait_for(state="hidden")  # it goes with the page
    page.evaluate("document.getElementById('App').scrollTop = 0")


def test_a_hostile_reply_is_scored_and_neither_runs_nor_hangs(page):
    area = page.locator("marimo-text-area textarea").first
    area.fill("<img src=x onerror=\"document.title='owned'\"><think></think><answer>no</answer>" + "<think>" * 200)
    area.blur()
    shown(page, "<img src=x").first.wait_for()
    assert page.title() != "owned" and page.locator("img[src=x]").count() == 0


def train_button(page, disabled: bool):
    """The button, when it can be pressed or when it cannot."""
    return page.get_by_role("button", name="Train", exact=True, disabled=disabled)


def test_a_killed_training_is_offered_again_and_goes_on(page):
    offer = page.get_by_role("button", name=re.compile("Go on from step [34] of 6"))
    offer.click()
    told(page, "Finished: 6 steps").wait_for()
    assert page.get_by_role("button", name=re.compile("Go on from step")).count() == 0


def test_train_shows_a_curve_that_moves_and_stop_stops_and_keeps_what_was_learnt(page):
    held = []
    page.route("**/set_ui_element_value", lambda route: held.append(route))  # Python hears nothing yet
    start(page)
    assert "Starting" in page.locator(".train .status").evaluate(
        "status => getComputedStyle(status, '::before').content"
    )
    for press_of_train in held:
        press_of_train.continue_()
    page.unroute("**/set_ui_element_value")
    page.locator(".train[data-heard]").wait_for(state="detached")  # Python's words stand in its place
    told(page, re.compile(r"Starting|Loading|Answering|^\s*Step")).wait_for()
    train_button(page, disabled=True).wait_for()  # a second press throws no run away
    at_step(page, 3).wait_for()
    curve = page.locator("[data-step] polyline").first
    before = curve.get_attribute("points")
    at_step(page, 6).wait_for()
    assert curve.get_attribute("points") != before
    press(page, "replies out of 8 that earn 1", "ArrowRight")  # everything else stays alive meanwhile
    page.get_by_role("button", name="Stop").click()
    said = told(page, re.compile(r"Stopped; what was learnt is kept: \d+ steps"))
    said.wait_for()
    assert 6 <= int(re.search(r"kept: (\d+)", said.text_content())[1]) <= 12
    train_button(page, disabled=False).wait_for()


def test_the_four_steps_run_and_show_their_rewards(page):
    settle(page)
    page.get_by_role("button", name="Run all of it").click()
    shown(page, re.compile("Running: loading|^Step [1-5] of 5")).first.wait_for()
    shown(page, "Reward of each step").wait_for()


def test_settings_that_cannot_work_are_explained_where_they_are_chosen_and_cannot_be_started(page):
    parts = page.get_by_label("parts (accumulation)")
    press(page, "group size", "ArrowLeft")
    shown(page, "samples 63 completions").wait_for()  # in whole groups of 7
    parts.select_option("8")
    shown(page, "cannot be cut into 8 equal parts").first.wait_for()
    train_button(page, disabled=True).wait_for()
    parts.select_option("1")
    shown(page, "cannot be cut").first.wait_for(state="detached")
    train_button(page, disabled=False).wait_for()
    press(page, "group size", "ArrowRight")
    shown(page, "samples 64 completions").wait_for()


def test_train_stop_progress_and_the_first_curves_are_on_one_screen(page):
    page.set_viewport_size({"width": 1280, "height": 800})
    page.get_by_role("button", name="Train", exact=True).evaluate("button => button.scrollIntoView({ block: 'start' })")
    page.evaluate("document.getElementById('App').scrollBy(0, -20)")
    page.wait_for_timeout(500)
    for thing in (
        page.get_by_role("button", name="Train", exact=True),
        page.get_by_role("button", name="Stop"),
        page.locator(".train .status"),
        *page.locator("[data-step] .curve").all()[:3],
    ):
        box = thing.bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 800, thing


def test_the_exercises_can_be_written_in(page):
    shown(page, "white space may stand between").first.wait_for()
    assert page.get_by_text("def my_format_reward").count() == 1


def cost(page, steps: int):
    """The line that says what a training of so many steps will cost."""
    return shown(page, re.compile(rf"About .*: {steps} steps of .* GB that are free")).first


def test_what_a_training_costs_is_said_before_it_runs(page):
    shown(page, "More than twice as many", exact=True).click()
    cost(page, steps=25).wait_for()


def test_a_name_that_is_no_model_is_told_so(page):
    settle(page)
    other = page.locator("marimo-text", has=page.get_by_text("or a Hub id, or a folder")).locator("input")
    other.fill("<img src=x>")
    other.press("Enter")
    shown(page, "is no model's name").first.wait_for()
    assert page.locator("img[src=x]").count() == 0
    other.fill("")
    other.press("Enter")
    cost(page, steps=25).wait_for()


def test_a_real_model_brings_its_own_settings(page):
    settle(page)
    menu = page.locator("marimo-dropdown", has=page.get_by_text("model", exact=True)).locator("select")
    menu.select_option(label="smollm2-135m")
    shown(page, "samples 32 completions").wait_for()
    assert page.get_by_role("checkbox", name="one example in the prompt").is_checked()
    menu.select_option(label="pocket")
    cost(page, steps=25).wait_for()


def test_it_trains_in_the_page_too_over_what_trl_has_done(page):
    settle(page)
    page.get_by_role("radio", name="here, in this page").click()
    shown(page, "Trained here, in your browser").wait_for()
    start(page)
    at_step(page, 3).wait_for()
    shown(page, re.compile("this run .*this browser")).wait_for()
    assert re.search(r"the run before \(.*CPU", shown(page, re.compile("the run before")).first.text_content())
    assert len(page.workers) == 1
    press(page, "replies out of 8 that earn 1", "ArrowRight")  # everything else stays alive meanwhile
    page.get_by_role("button", name="Stop").click()
    told(page, re.compile(r"Stopped; what was learnt is kept: \d+ steps")).wait_for()
    page.wait_for_timeout(200)
    assert page.workers == []  # its memory is given back


def test_sixteen_trainings_stand_on_a_map_and_each_can_be_looked_into(page):
    settle(page)
    shown(page, "Wherever the temperature is low", exact=True).click()
    shown(page, "A recording. Train sixteen").wait_for()
    assert page.locator("table.map svg").count() == 16 and shown(page, "dead", exact=True).count() >= 3
    start(page, "Train sixteen")
    shown(page, "Sixteen trainings").wait_for()
    page.wait_for_function("() => document.querySelectorAll('table.map [aria-label=\"not begun\"]').length < 15")
    press(page, "replies out of 8 that earn 1", "ArrowRight")  # everything else stays alive meanwhile
    page.get_by_role("button", name="Stop").last.click()
    shown(page, re.compile("Stopped: [0-9]+ steps of 240")).wait_for()
    page.get_by_role("button", name="look inside run 2", exact=True).click()
    shown(page, re.compile("pocket · [0-9]+ steps · seed 0 · this browser")).first.wait_for()
    assert page.workers == [] and failures(page) == []


def test_what_was_learnt_in_the_page_is_saved_and_asked_in_a_new_process(page):
    shown(page, re.compile("Stopped; what was learnt")).wait_for()
    shown(page, "Save, load, merge, push, hand over", exact=True).click()
    for choice, words in (
        ("save the adapter", "Saved:"),
        ("load it in a new process and ask", "Asked in a new process"),
        ("write a folder for many GPUs", "trl grpo --config config.yaml"),  # its runs lie elsewhere
    ):
        settle(page)
        shown(page, choice, exact=True).click()
        settle(page)
        page.get_by_role("button", name="Run this code").click()
        shown(page, words).last.wait_for()


@pytest.fixture(scope="module")
def visited(tmp_path_factory):
    """A server of the lesson for visitors, started with settings; its address, and where it keeps records."""
    runs = tmp_path_factory.mktemp("visited")
    options = ("--session-ttl", "1", "--", "--steps", "3", "--batch-size", "16")
    with serve("run", LESSON, *options, runs=runs) as url:
        yield url, runs


def test_a_server_started_with_settings_has_them_and_writes_the_record(visited):
    url, runs = visited
    with browse(url) as page:
        train_button(page, disabled=False).wait_for()
        assert shown(page, "or a Hub id, or a folder").count() == 0  # a visitor fetches nothing
        assert page.get_by_text("def my_format_reward").count() == 1  # to be read:
        assert page.locator("marimo-code-editor").count() == 0  # nothing that a visitor types is run
        train_button(page, disabled=False).click()
        shown(page, "a recording, until yours begins").first.wait_for()
        told(page, "Finished: 3 steps").wait_for()
        assert Run.load(runs / "format/run.json").settings["batch_size"] == 16
        page.reload()
        shown(page, "Your last training: 3 steps").wait_for()


def test_two_sessions_take_turns_the_second_sees_its_place_and_a_closed_tab_frees_the_device(visited):
    with browse(visited[0]) as first:
        second = first.context.new_page()
        second.goto(visited[0])
        for page in (first, second):
            train_button(page, disabled=False).wait_for()
            press(page, "steps", "End")
            shown(page, re.compile("max_steps=60")).first.wait_for(state="attached")
            train_button(page, disabled=False).click()
            train_button(page, disabled=True).wait_for()
        second.get_by_text("yours comes after it (1 in front of you)").wait_for()
        at_step(first, 2).wait_for()
        first.close()
        at_step(second, 1).wait_for()
    assert Run.load(visited[1] / "format/run.json").state == "stopped"  # the first one's: it did not go on to its end
