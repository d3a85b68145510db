"""The built site in a real browser, under a sub-path, with every other host blocked."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from grpo_lessons.web import site as builder
from tests.support.browser import CHROMIUM, at_step, failures, press, start, told, workers
from tests.support.firefox import FIREFOX, FIREFOXS_OWN, firefox
from tests.support.pages import NPM, hosting, keep_asleep, outside, serve_folder, visit, wakes

WHY = "needs Chromium, and npm for Pyodide"
pytestmark = pytest.mark.skipif((CHROMIUM is None or NPM is None) and "CI" not in os.environ, reason=WHY)
MATPLOTLIB = urlsplit(builder.INDEX).hostname


def policy(root, name: str) -> str:
    """A policy for contents, as the site's first page gives it to be copied."""
    page = (root / "course" / "grpo" / "index.html").read_text(encoding="utf-8")
    return unescape(re.search(f'<code id="{name}">(.*?)</code>', page)[1])


@pytest.fixture(scope="module")
def served(root):
    """The site's address, and what it has sent; whatever a lesson does, it does under the policy that the site names."""
    with hosting(root, policy=policy(root, "policy")) as (server, sent):
        yield f"{server}/course/grpo", sent


@pytest.fixture(scope="module")
def address(served):
    return served[0]


_TOLD = """{
    const tell = Worker.prototype.postMessage;
    window.told = [];
    Worker.prototype.postMessage = function (message, ...more) {
        if (message.data?.id === "bootstrap") told.push(JSON.stringify(message));
        tell.call(this, message, ...more);
    };
}"""


@pytest.fixture(scope="module")
def asleep(address):
    """The format lesson, just opened; and what it asked of other hosts."""
    with visit("about:blank") as (page, asked):
        page.add_init_script(_TOLD)
        page.goto(f"{address}/format.html")
        yield page, asked


@pytest.fixture(scope="module")
def lesson(asleep):
    """The same, alive."""
    page, asked = asleep
    wakes(page)
    page.get_by_text("could not be loaded into this page").first.wait_for()  # all cells have run
    return page, asked


def test_a_lesson_is_in_view_before_python_has_loaded_and_says_that_its_controls_sleep(asleep):
    page, _ = asleep
    page.get_by_text("After 25 steps of training").first.wait_for()
    page.get_by_text("the controls wake").wait_for()
    page.locator("svg").filter(has_text="chance of a dead group").wait_for()  # all of it, from marimo
    assert page.locator(".gl-awake").count() == 0  # only Python puts it there
    wakes(page)
    page.locator("#waking").wait_for(state="detached")
    assert page.locator("#first").count() == 0 and page.locator("body.asleep").count() == 0


def test_its_python_begins_before_marimo_and_is_told_what_marimo_tells_it_later(asleep):
    wakes(asleep[0])
    ours, marimos = asleep[0].evaluate("told")
    assert ours == marimos and workers(asleep[0]) == 1


@pytest.mark.skipif(builder.NODE is None, reason="needs Node")
def test_a_visit_loads_what_its_lesson_needs_once_and_in_ten_megabytes(asleep, served):
    wakes(asleep[0])
    loaded = [*served[1]]
    files = [each.path.rpartition("/grpo/")[2] for each in loaded]
    assert sum(each.wire for each in loaded) < 10e6
    assert len(files) == len(set(files))
    whole = [file for file in files if file.endswith((".whl", "python_whole.zip"))]
    assert whole == []  # parts came, and none was missed
    assert {"pyodide/first/marimo-base.tar", "pyodide/first/grpo-lessons.tar", "public/format_learns.json"} <= {*files}


_FRAMES = """(() => {
    window.places = [];
    const seen = (h1) => h1.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    const look = () => {
        const all = [...document.querySelectorAll("h1")].filter(seen).map((h1) => h1.getBoundingClientRect());
        if (all.length || places.length) places.push(all.length ? [all.at(-1).x, all.at(-1).y, all.at(-1).width] : null);
        requestAnimationFrame(look);
    };
    look();
})()"""


@pytest.mark.parametrize(("width", "query", "heading"), [(420, "", "h1"), (1280, "?step=3", "h2")])
def test_the_first_text_stays_where_it_is_when_marimo_takes_over(address, width, query, heading):
    with visit("about:blank", width=width) as (page, _):
        keep_asleep(page.context)
        page.add_init_script(_FRAMES.replace("h1", heading))
        page.goto(f"{address}/length.html{query}", wait_until="commit")
        page.locator("#first").wait_for(state="attached")
        page.locator("#first").wait_for(state="detached")
        page.wait_for_timeout(1000)
        places = page.evaluate("places")
        assert None not in places  # no frame without text
        x, y, wide = places[0]
        assert [place for place in places if abs(place[0] - x) > 1 or abs(place[1] - y) > 1] == []
        assert abs(places[-1][2] - wide) < 1  # so that its lines break as they did


def test_a_slow_line_is_counted_and_is_no_failure(root):
    with hosting(root, rate=600e3) as (server, _), visit("about:blank") as (page, _):
        page.clock.install()
        page.goto(f"{server}/course/grpo/length.html", wait_until="commit")
        come, counts = page.locator("#come"), {0.0}
        for _ in range(60):
            page.clock.run_for(500)
            page.wait_for_timeout(500)
            if said := re.search(
                r": ([\d.]+) of \d+\.\d MB", come.inner_text()
            ):  # nothing yet, where a machine is slow
                counts.add(float(said[1]))
            if len(counts) > 3:
                break
        assert len(counts) > 3 and max(counts) < 15
        page.clock.fast_forward(300_000)
        assert page.locator("#waking.failed").count() == 0
        assert "wake when all is here" in page.locator("#waking").inner_text()


def test_a_file_that_does_not_come_is_no_slow_line(root):
    with hosting(root) as (server, _), visit("about:blank") as (page, _):
        page.route("**/first/marimo-base.tar", lambda route: route.abort())
        page.clock.install()
        page.goto(f"{server}/course/grpo/length.html", wait_until="commit")
        page.get_by_text("wake in some seconds").wait_for()
        page.clock.fast_forward(61_000)
        page.get_by_text("No Python: 1 of its files did not come").wait_for()


def test_nothing_has_failed_and_only_matplotlib_was_asked_of_another_host(lesson):
    page, asked = lesson
    assert failures(page) == []
    refused = {MATPLOTLIB, "console: Failed to load resource: net::ERR_TUNNEL_CONNECTION_FAILED"}
    assert MATPLOTLIB in asked and set(asked) <= refused


def test_a_control_changes_the_rewards(lesson):
    page, _ = lesson
    cards = page.locator(".cards").first
    assert cards.get_by_text("format_reward").count() == 8
    page.get_by_role("radio", name="tag count").click()
    cards.get_by_text("tag_reward").first.wait_for()


def test_a_control_changes_the_advantages(lesson):
    page, _ = lesson
    slider = page.locator("marimo-slider", has=page.get_by_text("replies out of 8 that earn 1")).get_by_role("slider")
    slider.focus()
    slider.press("Home")
    page.get_by_text("a dead group: no push at all").wait_for()


def test_a_prediction_is_answered(lesson):
    page, _ = lesson
    page.get_by_text("Nothing at all", exact=True).click()
    page.get_by_text("No reply is better than its siblings").wait_for()


def test_break_it_scores_a_text(lesson):
    page, _ = lesson
    box = page.get_by_label("Your reply")
    box.fill("<think>12 + 45 = 57. 57 + 38 = 95.</think><answer>95</answer>")
    box.blur()
    row = page.locator("tr").filter(has_text="57 + 38 = 95.").filter(has=page.locator("b.reward")).last
    page.wait_for_function(
        "row => [...row.querySelectorAll('b.reward')].map(b => b.textContent).join() === '1,1,1,1,1'",
        arg=row.element_handle(),
    )


def test_a_recorded_run_plays_pauses_and_scrubs(lesson):
    page, _ = lesson
    page.get_by_text("Recorded runs, replayed").click()
    page.get_by_role("button", name="Play", exact=True).click()
    page.get_by_text(re.compile(r"^A recording: step ([2-9]|1\d) of 25")).wait_for()
    page.get_by_role("button", name="Pause", exact=True).click()
    page.get_by_role("button", name="Play", exact=True).wait_for()
    assert page.get_by_text(re.compile(r"^A recording: step \d+ of 25$")).count() == 1  # no time left: it stands
    slider = page.locator("marimo-slider", has=page.get_by_text("step", exact=True)).first.get_by_role("slider")
    slider.focus()
    slider.press("Home")
    page.get_by_text(re.compile("^A recording: step 1 of 25")).wait_for()
    slider.press("End")
    page.get_by_text("A recording: step 25 of 25").wait_for()


def test_a_page_trains_and_stops_by_the_browser_itself(lesson):
    page, _ = lesson
    train, stop = (page.get_by_role("button", name=name, exact=True) for name in ("Train", "Stop"))
    press(page, "steps", "Home")
    page.get_by_text("samples 32 completions").first.wait_for()
    asleep = workers(page)  # Python's
    start(page)
    told(page, "Finished: 5 steps").wait_for()
    page.locator("[data-step='5'] .curve").first.wait_for()
    assert page.get_by_text("this browser").count() >= 1 and page.locator("[data-step='5'] .card, .card").count() >= 8
    page.locator(".pushed [role=listbox]").nth(7).wait_for()  # look inside: what the update did to each token of eight
    press(page, "steps", "End")
    page.get_by_text("max_steps=60").first.wait_for(state="attached")
    train.click()
    at_step(page, 2).wait_for()
    assert workers(page) == asleep + 1
    press(page, "replies out of 8 that earn 1", "ArrowRight")  # everything else stays alive meanwhile
    stop.click()
    told(page, re.compile(r"Stopped; what was learnt is kept: \d+ step")).wait_for()
    assert workers(page) == asleep  # no training leaves one
    assert page.get_by_text("╌").count() >= 1  # the run before lies under it
    assert failures(page) == []


@pytest.mark.skipif(FIREFOX is None and "CI" not in os.environ, reason="no Firefox on this machine")
def test_firefox_wakes_a_lesson_and_trains_in_it(address, tmp_path):
    with outside() as (proxy, asked), firefox(tmp_path, proxy) as tab:
        tab.open(f"{address}/format.html")
        said = "[...document.querySelectorAll('.output-area')].some((each) => each.textContent.includes('could not be loaded'))"
        tab.wait_for(said)  # all cells have run
        tab.press("Train")
        tab.wait_for("document.querySelector('[data-reward]:not([data-step=\"25\"])')?.dataset.step > 2")
        assert 0 <= float(tab.evaluate("document.querySelector('[data-reward]').dataset.reward")) <= 1
        assert {host for host in asked if not FIREFOXS_OWN.search(host)} <= {MATPLOTLIB}


@pytest.fixture(scope="module")
def offline(root, distribution, tmp_path_factory):
    """The format lesson of an offline site, alive on a phone whose browser has no WebAssembly SIMD; and what it asked of other hosts.

    Of matplotlib and what it needs two packages can be had here: these are what it has to bring.
    """
    index, site = (tmp_path_factory.mktemp("offline") / name for name in ("index", "site"))
    shutil.copytree(root / "course" / "grpo", site, copy_function=os.link)
    listed = site / "pyodide/lessons.json"
    lock = json.loads(listed.read_text(encoding="utf-8"))
    far = {name: each for name, each in lock["packages"].items() if "://" in each["file_name"]}
    here = {name: far.pop(name)["version"] for name in ("cycler", "six")}
    lock["packages"] = {name: each for name, each in lock["packages"].items() if name not in far}
    rewrite(listed, json.dumps(lock))
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", index]
    subprocess.run([*fetch, *(f"{name}=={version}" for name, version in here.items())], check=True)
    builder.bring_near(site, str(index))
    for file in (site / "public/pocket" / name for name in ("engine.js", "ask.js")):
        no_simd = "WebAssembly.validate = () => false; const KERN"
        rewrite(file, file.read_text(encoding="utf-8").replace("const KERN", no_simd, 1))
    with serve_folder(site) as address, visit(f"{address}/format.html", width=420) as opened:
        wakes(opened[0])
        yield opened


def rewrite(file: Path, text: str) -> None:
    """Write a file anew where it is linked: the one that it was linked to stays."""
    file.unlink()
    file.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def too_old(offline):
    """The same page."""
    return offline[0]


def test_an_offline_site_asks_nobody_else_and_fits_a_phone(offline):
    page, asked = offline
    page.get_by_text("could not be loaded into this page").first.wait_for()
    assert asked == [] and failures(page) == []
    assert page.locator(".gl .card").count() >= 16
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    packages = page.evaluate("fetch('pyodide/lessons.json').then(answer => answer.json())")["packages"]
    near = [packages[name]["file_name"] for name in ("cycler", "six")]
    assert (
        page.evaluate("names => Promise.all(names.map(async name => (await fetch(`pyodide/${name}`)).ok))", near)
        == [True] * 2
    )


def test_what_was_written_and_predicted_is_there_again_and_code_that_never_ends_runs_no_second_time(too_old):
    too_old.get_by_text("Nothing at all", exact=True).click()
    too_old.get_by_text("No reply is better than its siblings").wait_for()
    write(too_old, "def my_format_reward(completions, **kwargs):\n    return format_reward(completions)  # mine\n")
    verdict(too_old, 1, "All cases pass.").wait_for()
    asleep = "import time\ndef my_advantages(rewards):\n    time.sleep(99)  # never\n"
    write(too_old, asleep, box=1, beside="Three: why does it not learn?")
    too_old.get_by_text("did not come to an end in 5 s").wait_for()
    too_old.wait_for_timeout(1000)
    too_old.reload()
    wakes(too_old)
    too_old.get_by_text("No reply is better than its siblings").wait_for()
    too_old.locator(".cm-content").filter(has_text="# mine").first.wait_for()
    verdict(too_old, 1, "All cases pass.").wait_for()
    too_old.locator(".cm-content").filter(has_text="# never").first.wait_for()
    too_old.get_by_text("did not come to an end in 5 s").wait_for()
    assert workers(too_old) == 1  # for nothing is tried anew


def test_where_no_model_can_be_trained_a_sentence_says_why_and_the_recording_stays(too_old):
    start(too_old)
    too_old.get_by_text("This browser is too old to train the model, which needs WebAssembly SIMD").wait_for()
    too_old.get_by_text("━ a recording", exact=True).first.wait_for()  # yours has ended: it is until nothing
    assert too_old.locator(".curve").filter(has_text="spread within a group").first.is_visible()
    too_old.get_by_role("button", name="Load the model into this page").click()
    too_old.get_by_role("textbox", name="Your question").fill("What is 21 + 34 + 40?")
    too_old.get_by_role("button", name="Ask").click()
    too_old.get_by_text("too old for the model, which needs WebAssembly SIMD").wait_for()
    too_old.get_by_text("Recorded runs, replayed").click()
    too_old.get_by_role("button", name="Play", exact=True).click()
    too_old.get_by_text(re.compile(r"^A recording: step ([2-9]|1\d) of 25")).wait_for()
    train = too_old.get_by_role("button", name="Train", exact=True)
    assert train.is_enabled() or too_old.get_by_role("button", name="Pause").count()  # nothing hangs
    assert failures(too_old) == []


def test_every_recording_of_the_menu_is_drawn_from_its_first_step(lesson):
    page, _ = lesson
    menu = page.get_by_label("recorded run")
    for name in [*menu.locator("option").all_inner_texts()[::-1]]:
        menu.select_option(name)
        page.get_by_text(re.compile("^A recording: step 1 of")).wait_for()
        page.locator("[data-step='1'] .curve").first.wait_for()
    assert failures(page) == []


def test_the_code_of_a_reward_is_the_rewards(lesson):
    page, _ = lesson
    page.locator("pre").filter(has_text="class TutorialReward").first.wait_for()
    assert page.locator("pre").filter(has_text="/// script").count() == 0


def test_the_lesson_leads_to_the_others(lesson, root):
    page, _ = lesson
    links = [link.get_attribute("href") for link in page.locator("a[href$='.html'], a[href$='.zip']").all()]
    assert {"math.html", "length.html", "grpo-lessons.zip"} <= set(links)
    assert all((root / "course" / "grpo" / link).exists() for link in links)


def test_another_recording_is_laid_under_the_first(lesson):
    page, _ = lesson
    page.get_by_label("over (dashed)").select_option("without beta")
    page.get_by_text("╌ without beta").wait_for()


def write(page, code, box=0, beside="Two: advantages."):
    """Put code into the box of an exercise, and leave it."""
    page.locator("marimo-code-editor").nth(box).locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(code)
    page.get_by_text(beside).click()


def verdict(page, number, said):
    """What is said to a try, by its number: it never looks like the one before."""
    return page.locator(".output-area").filter(has_text=f"Try {number}.").filter(has_text=said).first


def test_an_exercise_is_written_in_the_page_and_no_code_leaves_it_dead(lesson):
    page, _ = lesson  # the last code imports what no lesson does: it comes then
    pythons = workers(page)
    start = "def my_format_reward(completions, **kwargs):\n"
    write(page, f"import re\n{start}    print('begun')\n    re.match('(a+)+b', 'a' * 99)\n")
    page.get_by_role("radio", name="tutorial").click()  # other controls answer meanwhile
    page.locator(".cards").first.get_by_text("tutorial_reward").first.wait_for()
    verdict(page, 1, "Being tried").wait_for()
    other = page.locator("marimo-code-editor").nth(1).locator(".cm-content")
    other.click()
    page.keyboard.press("Control+a")
    answer = "my_advantages = lambda rewards: [r - sum(rewards) / len(rewards) for r in rewards]"
    page.keyboard.type(answer, delay=40)  # the seconds that are counted take nothing of it away
    page.get_by_text("Two: advantages.").click()
    for said in ("did not come to an end in 5 s", "begun"):
        verdict(page, 1, said).wait_for()
    assert other.inner_text().strip() == answer
    verdict(page, 1, "divide by the standard deviation").wait_for()
    for number, (code, said) in enumerate(
        [
            (f"{start}    return [sum(range(10**11))]\n", "did not come to an end in 5 s"),
            (f"{start}    return [float(input('How much? '))]\n", "here nobody can"),
            ("import sys\nsys.exit()\n", "your code ends Python"),
            ("reward = 1\n", "your code defines no function my_format_reward"),
            ("def my_format_reward(completions, **kwargs:\n", "SyntaxError"),
            (f"{start}    print('<b>paid</b>')\n    return format_reward(completions)\n", "All cases pass."),
            ("import mailbox\nmailbox.nothing\n", "has no attribute 'nothing'"),
        ],
        2,
    ):
        write(page, code)
        verdict(page, number, said).wait_for()
        if "paid" in code:
            verdict(page, number, "<b>paid</b>").wait_for()
    assert workers(page) == pythons + 1 and failures(page) == []


def test_a_visitors_own_reward_is_trained_with_and_what_is_wrong_with_it_is_said(lesson):
    page, _ = lesson
    train = page.get_by_role("button", name="Train with it")
    write(page, "def my_format_reward(completions, **kwargs):\n    return [1 / 0 for _ in completions]\n")
    page.get_by_text("ZeroDivisionError").first.wait_for()
    train.click()
    page.get_by_text("Your reward my_format_reward: ZeroDivisionError: division by zero").last.wait_for()
    write(page, "def my_format_reward(completions, **kwargs):\n    return format_reward(completions)\n")
    page.get_by_text("All cases pass.").first.wait_for()
    train.click()
    page.get_by_text("Finished: 25 steps").last.wait_for(timeout=120_000)
    assert max(float(each.get_attribute("data-reward")) for each in page.locator("[data-step='25']").all()) > 0.8
    assert failures(page) == []


def test_the_pocket_model_answers_in_the_page_and_is_scored(lesson):
    page, _ = lesson
    page.get_by_role("button", name="Load the model into this page").click()
    page.get_by_role("textbox", name="Your question").fill("What is 21 + 34 + 40?")
    page.get_by_role("button", name="Ask").click()
    table = page.locator("table").filter(has_text="after GRPO").filter(has_text="right answer")
    table.wait_for()
    after = table.locator("tbody tr").all_inner_texts()
    assert len(after) == 4
    assert sum("<answer>" in row for row in after) >= 2  # 96 % of its replies have the format: all but never fewer


def test_an_update_is_made_in_the_page_and_its_tokens_are_coloured(lesson):
    page, _ = lesson
    page.get_by_role("button", name="One update").click()
    page.get_by_text("Update 1, made here").wait_for()
    page.get_by_role("button", name="One more update").click()
    page.get_by_text("Update 2, made here").wait_for()
    pushed = page.locator(".pushed", has=page.get_by_text("Update 2, made here"))
    assert pushed.get_by_role("listbox").count() == 4 and pushed.locator("[data-step]").count() > 10


def test_the_loop_runs_in_the_page_and_python_says_what_is_paid(lesson):
    page, _ = lesson
    page.get_by_role("button", name="Bring it to life").click()
    for stage in ("8 sampled replies", "a reward each", "compare within the group", "update"):
        page.get_by_role("button", name="Next stage").click()
        page.get_by_role("status").filter(has_text=f"Round 1, {stage}").wait_for()


def test_the_variant_with_code_shows_it_and_runs(address):
    with visit(f"{address}/math-code.html") as (page, _):
        wakes(page)
        page.get_by_role("heading", name="Three exercises").scroll_into_view_if_needed()
        page.locator(".cm-content").filter(has_text="def my_final_answer").first.wait_for()
        assert page.locator("marimo-code-editor").count() == 0  # there are cells to write in
        page.locator(".cm-content").filter(has_text="def my_final_answer").first.click()
        page.keyboard.type("\nimport textwrap; textwrap.wr")
        page.get_by_role("option", name="wrap").first.wait_for()  # jedi's, which comes when it is needed
        assert failures(page) == []


def test_lessons_stand_in_frames_of_another_page(address):
    with visit("about:blank") as (page, _):
        keep_asleep(page.context)
        page.goto(f"{address}/embed.html")
        light, dark, phone, station = page.locator("iframe").all()
        light.content_frame.get_by_text("After 25 steps of training").first.wait_for()
        dark.scroll_into_view_if_needed()
        dark.content_frame.locator("body.dark, .dark body").first.wait_for()
        phone.scroll_into_view_if_needed()
        phone.content_frame.get_by_role("heading", name="Teach a model a length").wait_for()
        station.scroll_into_view_if_needed()
        station.content_frame.get_by_role("heading", name="3 · The shape of a reward").wait_for()


def test_the_index_page_has_lines_to_copy_and_asks_nobody_else(address, root):
    with visit(f"{address}/index.html") as (page, asked):
        lines = page.locator("code[data-name]").all_inner_texts()
        assert [re.search('src="(.*?)"', line)[1] for line in lines] == [
            f"https://example.org/grpo/{name}.html?embed=true" for name in builder.LESSONS
        ]
        for link in page.locator("article a").all():
            assert (root / "course" / "grpo" / link.get_attribute("href")).exists()
        assert asked == []


def test_a_lesson_tells_those_who_link_to_it_what_it_is(root):
    site = root / "course" / "grpo"
    for name, lesson in builder.LESSONS.items():
        for page in (f"{name}.html", f"{name}-code.html"):
            head = (site / page).read_text(encoding="utf-8").partition("</head>")[0]
            assert head.count('name="description"') == 1 and f'content="{lesson.question}"' in head
            assert f'property="og:title" content="{lesson.title}"' in head
            assert f'<link rel="canonical" href="https://example.org/grpo/{name}.html" />' in head
    assert (site / "preview.png").exists()
    assert "<loc>https://example.org/grpo/math.html</loc>" in (site / "sitemap.xml").read_text(encoding="utf-8")
    assert "Sitemap: https://example.org/grpo/sitemap.xml" in (site / "robots.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def to_copy(address):
    """The line of the format lesson, at this address, as a site's author copies it."""
    with visit(f"{address}/index.html") as (page, _):
        return page.locator("code[data-name=format]").inner_text().replace("https://example.org/grpo", address)


def test_mkdocs_takes_the_line_as_it_stands(to_copy, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(f"# A lesson\n\n{to_copy}\n\nText.\n", encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text("site_name: mine\ntheme: {name: null}\n", encoding="utf-8")
    (tmp_path / "theme").mkdir()
    (tmp_path / "theme/main.html").write_text("<body>{{ page.content }}</body>", encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text("site_name: mine\ntheme: {name: null, custom_dir: theme}\n", encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert to_copy in (tmp_path / "site/index.html").read_text(encoding="utf-8").replace("&amp;", "&")


MDX = """import { evaluate } from "@mdx-js/mdx";
import { createElement } from "react";
import * as runtime from "react/jsx-runtime";
import { renderToStaticMarkup } from "react-dom/server";
const { default: Page } = await evaluate(process.argv[2], runtime);
console.log(renderToStaticMarkup(createElement(Page)));
"""


@pytest.mark.slow
def test_mdx_the_markdown_of_docusaurus_takes_the_line_as_it_stands(to_copy, tmp_path):
    install = [NPM, "install", "--silent", "--prefix", tmp_path, "@mdx-js/mdx@3", "react@19", "react-dom@19"]
    subprocess.run(install, check=True, capture_output=True)
    (tmp_path / "page.mjs").write_text(MDX, encoding="utf-8")
    page = f"# A lesson\n\n{to_copy}\n\nText.\n"
    done = subprocess.run([builder.NODE, tmp_path / "page.mjs", page], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert to_copy in done.stdout.replace("&amp;", "&")


def test_a_lesson_needs_no_more_than_the_policy_that_the_site_names(lesson):
    _, asked = lesson  # it has trained by now, and was asked
    assert [each for each in asked if "policy" in each.lower()] == []


def test_a_lesson_on_paper_is_whole(lesson, tmp_path):
    paper = lesson[0].pdf(path=tmp_path / "lesson.pdf")
    assert paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") > 5


def test_an_offline_site_is_not_built_without_a_file_it_needs(root, distribution, tmp_path):
    (tmp_path / "pyodide").mkdir()
    shutil.copy(root / "course/grpo/pyodide/lessons.json", tmp_path / "pyodide")
    with pytest.raises(builder.CannotBuild, match=r"\.whl: could not be read"):
        builder.bring_near(tmp_path, str(distribution))


def test_npms_pyodide_is_found_if_it_is_the_one_that_marimo_wants(distribution, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert builder.find_pyodide() == builder.INDEX
    package = tmp_path / "node_modules/pyodide"
    shutil.copytree(distribution, package, ignore=shutil.ignore_patterns("*.whl", "*.map"))
    assert Path(builder.find_pyodide()).samefile(package)
    (package / "package.json").write_text('{"version": "0.1"}')
    assert builder.find_pyodide() == builder.INDEX


def test_what_a_pyodide_without_packages_lacks_is_made_here(distribution, root):
    site = root / "course/grpo/pyodide"
    assert not list(distribution.glob("*.whl"))
    listed = json.loads((site / "lessons.json").read_text())["packages"]
    assert hashlib.sha256((site / listed["pyyaml"]["file_name"]).read_bytes()).hexdigest() == listed["pyyaml"]["sha256"]
    assert listed["matplotlib"]["file_name"].startswith(builder.INDEX)


def test_a_folder_that_is_no_site_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(builder.CannotBuild, match="expected an empty folder"):
        builder.build(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_what_is_shared_lies_in_the_site_once(root):
    files = [file for file in root.rglob("*") if file.is_file()]
    assert len([file for file in files if file.suffix == ".whl" and "grpo" in file.name]) == 1
    assert len([file for file in files if file.name == "pyodide.asm.wasm"]) == 1
    assert len({file.parent for file in files if file.name.startswith("worker-")}) == 1
    assert not Path(root / "course" / "grpo" / "CLAUDE.md").exists()
