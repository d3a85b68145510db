"""Who may come to what: every route of a class as nobody, pupil and teacher; and every page for somebody who sees otherwise, or
has no mouse: axe-core's rules, contrast among them, in light and in dark.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import threading
from contextlib import contextmanager

import httpx2 as httpx
import pytest
import uvicorn

from grpo_lessons.course import LESSONS
from grpo_lessons.here import NOTEBOOKS
from grpo_lessons.web.classroom import create_app
from grpo_lessons.web.wall import asked
from tests.support.browser import CHROMIUM, browse, serve
from tests.support.classmates import run
from tests.support.pages import NPM, serve_folder, write_first

with_axe = pytest.mark.skipif(
    (CHROMIUM is None or NPM is None) and "CI" not in os.environ, reason="needs Chromium, and npm for axe-core"
)
THEME = """theme => { const { classList } = document.body; classList.remove("light", "dark", "light-theme", "dark-theme");
    classList.add(theme, `${theme}-theme`); document.documentElement.style.colorScheme = theme; }"""


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("axe")
    subprocess.run([NPM, "pack", "--silent", "axe-core@4.14.1"], cwd=folder, check=True, capture_output=True)
    shutil.unpack_archive(next(folder.glob("axe-core-*.tgz")), folder)
    return (folder / "package/axe.min.js").read_text(encoding="utf-8")


@with_axe
@pytest.mark.parametrize("name", LESSONS)
def test_axe_finds_nothing_serious_in_light_or_dark(axe, name, tmp_path):
    with serve("run", f"notebooks/grpo_{name}.py", runs=tmp_path) as url, browse(url) as page:
        page.get_by_role("heading", name="What you now know").wait_for()
        page.get_by_role("button", name="Train", exact=True).wait_for()
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        page.locator(".cards .card").first.wait_for()
        page.get_by_role("button", name="One update").click()
        page.get_by_text("Update 1, made here").wait_for()
        page.get_by_role("button", name="Bring it to life").click()
        for stage in ("8 sampled replies", "a reward each", "compare within the group", "update"):
            page.get_by_role("button", name="Next stage").click()
            page.get_by_role("status").filter(has_text=f"Round 1, {stage}").wait_for()
        page.evaluate(axe)
        for theme, rules in (("light", None), ("dark", ["color-contrast"])):  # nothing else depends on it
            page.evaluate(THEME, theme)
            page.wait_for_timeout(500)  # colours fade over
            assert violations(page, "serious", "critical", rules=rules) == {}, (name, theme)


def violations(page, *impacts: str, rules: list[str] | None = None) -> dict:
    """What axe finds by all rules, or by some, of these impacts if any are named: by the name of its rule."""
    asked = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    found = page.evaluate("asked => axe.run(document, asked)", asked)
    assert found["passes"], "axe has looked at nothing"
    return {
        each["id"]: [(node["target"], node["failureSummary"]) for node in each["nodes"][:3]]
        for each in found["violations"]
        if not impacts or each["impact"] in impacts
    }


@with_axe
def test_axe_finds_nothing_at_all_in_the_training_on_the_first_page(axe, tmp_path):
    write_first(tmp_path, steps=5)
    with serve_folder(tmp_path) as address, browse(f"{address}/train.html") as page:

        def check():
            for scheme in ("dark", "light"):
                page.emulate_media(color_scheme=scheme)
                assert violations(page) == {}, scheme

        page.evaluate(axe)
        check()
        page.get_by_role("button", name="Train it").click()
        page.wait_for_function("document.querySelector('.first').dataset.step >= 2")
        check()
        page.get_by_role("button", name="Train it again").wait_for(timeout=90_000)
        check()
        page.goto(f"{address}/index.html")
        page.evaluate(axe)
        check()


@contextmanager
def taught(folder):
    """A class that two pupils have been in, one with a hostile name, as a server of this process; yields its address."""
    format = [each.text for each in asked("format")], [each.options for each in asked("format")]
    for number, name in ((1, "Ada"), (2, "<b id=bo>Bo</b>")):
        seat = folder / f"seat-{number}"
        (seat / "format").mkdir(parents=True)
        (seat / "name").write_text(name, encoding="utf-8")
        shutil.copy(NOTEBOOKS / "public/format_learns.json", seat / "format/run.json")
        choices = {text: options[number - 1] for text, options in zip(*format, strict=True)}
        (seat / "format/predictions.json").write_text(json.dumps(choices), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(folder, "open sesame", "word"), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@with_axe
def test_the_wall_follows_shows_what_is_right_when_told_to_and_axe_finds_nothing_on_the_pages_of_a_class(axe, tmp_path):
    with taught(tmp_path) as address, browse(f"{address}/teacher/word", 1280, 720) as page:

        def check():
            page.evaluate(axe)
            for scheme in ("dark", "light"):
                page.emulate_media(color_scheme=scheme)
                page.wait_for_timeout(400)  # colours fade over
                assert violations(page) == {}, (page.url, scheme)

        page.get_by_text("open sesame").wait_for()
        page.get_by_role("img", name="QR code").wait_for()
        check()
        page.get_by_role("link", name="The wall").click()
        page.get_by_role("link", name="Teach a model a format").click()
        first = page.get_by_role("article").first
        first.get_by_text("2 answers").wait_for()
        assert first.locator(".option b").all_inner_texts() == ["1", "1", "0"]
        first.get_by_role("button", name="Show what is right").click()
        first.get_by_text("1 ✓").wait_for()
        assert first.locator(".option b").all_inner_texts() == ["1 ✗", "1 ✓", "0 ✗"]
        (tmp_path / "seat-1/format/predictions.json").write_text(
            json.dumps({asked("format")[0].text: "Nothing at all"})
        )
        first.get_by_text("2 ✓").wait_for()
        page.get_by_role("button", name="seat 2, <b id=bo>Bo</b>").click()
        page.get_by_role("heading", name="seat 2, <b id=bo>Bo</b>").wait_for()
        assert page.locator("#bo").count() == 0
        page.get_by_text("3 · From rewards", exact=False).first.wait_for()
        assert (
            page.get_by_text("2 <b id=bo>Bo</b>", exact=True).count() == 1
        )  # away, as nobody has come since the server began
        check()
        page.set_viewport_size({"width": 420, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.goto(f"{address}/")
        page.get_by_text("You have").wait_for()
        check()
        page.context.clear_cookies()
        page.goto(f"{address}/wall")
        page.get_by_label("password").wait_for()
        check()


# Of every route of a class's own: what nobody, a pupil and the teacher hear. What lies under lessons is asked in test_classroom.py.
ANSWERS = {
    ("GET", "/"): (401, 200, 200),
    ("GET", "/line"): (401, 200, 200),
    ("POST", "/here/format/3"): (401, 204, 204),
    ("POST", "/here/nothing/3"): (401, 403, 403),
    ("POST", "/here/format/99"): (401, 403, 403),
    ("POST", "/name"): (401, 303, 303),
    ("POST", "/enter"): (401, 401, 401),  # without the password
    ("GET", "/teacher/wrong"): (401, 401, 401),
    ("GET", "/desk"): (401, 403, 200),
    ("GET", "/desk/now"): (401, 403, 200),
    ("POST", "/desk/stop/1"): (401, 403, 204),
    ("POST", "/desk/open"): (401, 403, 204),
    ("GET", "/wall"): (401, 403, 200),
    ("GET", "/wall/now"): (401, 403, 200),
    ("GET", "/wall/runs"): (401, 403, 200),
    ("GET", "/wall/run/format/1"): (401, 403, 404),
    ("GET", "/wall/run/nothing/1"): (401, 403, 404),
    ("GET", "/wall/predictions.csv"): (401, 403, 200),
    ("GET", "/wall/runs.csv"): (401, 403, 200),
    ("POST", "/wall/reveal/format/0"): (401, 403, 204),
    ("POST", "/wall/reveal/format/99"): (401, 403, 404),
    ("POST", "/desk/close"): (401, 403, 204),
    ("POST", "/desk/anew"): (403, 403, 204),  # it is closed by now
}


def test_every_route_of_a_class_is_answered_as_listed(tmp_path):
    app = create_app(tmp_path, "open sesame", "word")
    ours = [route for route in app.routes if route.path]
    listed = {route.path for route in ours for _, path in ANSWERS if route.path_regex.match(path)}
    assert listed == {route.path for route in ours}, "a new route: say in ANSWERS who may ask it"

    async def ask():
        def browser():
            return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://class")

        async with browser() as nobody, browser() as pupil, browser() as teacher:
            assert (await pupil.post("/enter", data={"password": "open sesame"})).status_code == 303
            assert (await teacher.get("/teacher/word")).headers["location"] == "../desk"
            for (method, path), expected in ANSWERS.items():
                said = [(await each.request(method, path)).status_code for each in (nobody, pupil, teacher)]
                assert said == list(expected), path
            elsewhere = {"Origin": "http://elsewhere.org"}
            for path in ("/desk/open", "/desk/anew"):
                assert (await teacher.post(path, headers=elsewhere)).status_code == 403
                assert (await teacher.post(path, headers={"Origin": "http://class"})).status_code == 204

    run(ask())


def test_a_class_that_is_closed_and_opened_anew_is_another_group(tmp_path):
    app = create_app(tmp_path, "open sesame", "word")

    async def ask():
        def browser():
            return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://class")

        async def seat(of):
            return re.search(r"<b>seat (\d+)</b>", (await of.get("/")).text)[1]

        async with browser() as pupil, browser() as teacher:
            await teacher.get("/teacher/word")
            await pupil.post("/enter", data={"password": "open sesame"})
            await pupil.post("/name", data={"name": "Ada"})
            folder = tmp_path / f"seat-{await seat(pupil)}/format"
            folder.mkdir()
            shutil.copy(NOTEBOOKS / "public/format_learns.json", folder / "run.json")
            (folder / "predictions.json").write_text(json.dumps({asked("format")[0].text: "Nothing at all"}))
            for path in ("/wall/now?lesson=format", "/wall/predictions.csv", "/wall/runs.csv"):
                assert "Ada" in (await teacher.get(path)).text, path
            assert "Ada" in (await teacher.get("/wall/runs?lesson=format")).text

            await teacher.post("/desk/close")
            closed = [await pupil.get("/"), await pupil.post("/enter", data={"password": "open sesame"})]
            assert [each.status_code for each in closed] == [403, 403] and "is closed" in closed[0].text
            await teacher.post("/desk/open")
            assert await seat(pupil) == "2"  # the same group goes on, in its seats

            await teacher.post("/desk/anew")
            assert (await pupil.get("/")).status_code == 401
            assert (await pupil.post("/here/format/3")).status_code == 401
            await pupil.post("/enter", data={"password": "open sesame"})
            assert await seat(pupil) == "1" and 'value="Ada"' not in (await pupil.get("/")).text
            assert (folder / "run.json").exists() and (tmp_path / "group-2/seat-1").is_dir()
            for path in (
                "/wall/now?lesson=format",
                "/wall/runs?lesson=format",
                "/wall/predictions.csv",
                "/wall/runs.csv",
            ):
                said = (await teacher.get(path)).text
                assert "Ada" not in said and "Nothing at all" not in said, path
            return pupil.cookies["grpo_class"]

    cookie = run(ask())
    again = create_app(tmp_path, "open sesame", "word")  # a restart

    async def come_back():
        headers = {"Cookie": f"grpo_class={cookie}"}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(again), base_url="http://class", headers=headers
        ) as pupil:
            assert "<b>seat 1</b>" in (await pupil.get("/")).text

    run(come_back())


def test_a_screen_reader_has_one_main_part_named_groups_and_values_and_hears_a_training_s_phases_and_quarters():
    """What `step.html` adds to marimo's page; here a page that is made as marimo's is, without Python."""
    radio = """<div class="mo-label"><label>Predict. Which?</label><div role="radiogroup" aria-label="Radio Group">
        <label>this</label></div></div>"""
    slider = '<span role="slider" aria-valuenow="3">o</span>'
    page_of_marimo = f"""<title>lesson</title><script>
        const plain = Element.prototype.attachShadow;
        Element.prototype.attachShadow = function () {{ return plain.call(this, {{ mode: "open" }}); }};
        </script><div id="App"><div class="marimo-cell" id="cell-1"><h2>7 · Train</h2><marimo-radio></marimo-radio>
        <marimo-slider data-steps="[1,2,4,16]"></marimo-slider><div class="status"><p>Finished: 5 steps</p></div></div></div>
        {(NOTEBOOKS / "public/step.html").read_text(encoding="utf-8")}"""
    with browse("about:blank") as page:
        page.set_content(page_of_marimo)
        page.evaluate(f"""() => {{
            document.querySelector("marimo-radio").attachShadow().innerHTML = `{radio}`;
            document.querySelector("marimo-slider").attachShadow().innerHTML = `{slider}`; }}""")
        page.get_by_role("radiogroup", name="Predict. Which?", exact=True).wait_for()
        assert page.get_by_role("main").evaluate_all("all => all.map(each => each.id)") == ["App"]
        assert page.get_by_role("navigation").get_attribute("aria-label") == "The lesson, station by station"
        value = page.get_by_role("slider")
        assert value.get_attribute("aria-valuetext") == "16"
        value.evaluate("each => each.setAttribute('aria-valuenow', '1')")
        page.locator('[aria-valuetext="2"]').wait_for()
        voice, heard = page.locator("#gl-voice [role=status]"), []
        assert voice.text_content() == ""  # what stood there before is no news
        phases = ["Loading the model", "Answering 96 held-out prompts, before"]
        phases += [f"Step {step} of 25 · about {50 - step} s left" for step in range(1, 26)] + [
            "Finished: 25 steps in 9 s"
        ]
        for phase in phases:  # each time the whole output is made anew
            page.evaluate(
                """async phase => {
                    document.querySelector(".status").outerHTML = `<div class="status"><p>${phase}</p></div>`;
                    await new Promise(done => setTimeout(done, 300)); }""",
                phase,
            )
            if (words := voice.text_content()) not in heard[-1:]:
                heard.append(words)
    steps = [words for words in heard if words.startswith("Step")]
    assert heard[:2] == phases[:2] and heard[-1] == phases[-1] and 3 <= len(steps) <= 5, heard


def test_the_keyboard_stays_at_a_button_that_is_made_anew_however_late_or_goes_to_the_one_beside_it():
    script = (NOTEBOOKS / "public/step.html").read_text(encoding="utf-8")
    put = """(...all) => document.querySelector("p").replaceChildren(...all.map(([words, disabled]) => {
        const host = document.createElement("marimo-button");
        host.attachShadow({ mode: "open" }).append(Object.assign(document.createElement("button"), { textContent: words, disabled }));
        return host; }))"""
    with browse("about:blank") as page:
        page.set_content(
            f'<div id="App"><div class="marimo-cell" id="cell-1"><h2>Train</h2><p></p></div></div>{script}'
        )
        page.evaluate(f"window.put = {put}; put(['Train', false], ['Stop', true])")
        page.get_by_role("button", name="Train", exact=True).focus()
        page.evaluate(
            "async () => { put(); await new Promise(done => setTimeout(done, 900)); put(['Train', true], ['Stop', false]); }"
        )
        at = "words => document.activeElement.shadowRoot?.activeElement?.textContent === words"
        page.wait_for_function(at, arg="Stop")
        page.evaluate("put(['Train', false], ['Stop', true])")
        page.wait_for_function(at, arg="Train")
