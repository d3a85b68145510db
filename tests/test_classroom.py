"""A class on one server: who may come in, what each may do, and that nothing of anybody is lost."""

import asyncio
import base64
import json
import os
import re
import socket
import subprocess
import sys
from contextlib import ExitStack

import httpx2 as httpx
import pytest
import websockets
from marimo._server.api.router import build_routes
from starlette.routing import Mount

from grpo_lessons.runs import Run
from grpo_lessons.training import line
from grpo_lessons.web.classroom import create_app
from tests.support.browser import CHROMIUM, ROOT, browse, failures, press, settle
from tests.support.classmates import Learner, classroom, run
from tests.support.engine import Engine, node
from tests.support.pages import outside, serve_folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("class")


@pytest.fixture(scope="module")
def host(runs):
    with classroom(runs, "--steps", "3", "--site", "https://example.org/course/") as host:
        yield host


@pytest.fixture(scope="module")
def browsers(tmp_path_factory):
    """The engines of three browsers."""
    with ExitStack() as stack:
        yield [stack.enter_context(node(tmp_path_factory.mktemp("browser"))) for _ in range(3)]


def together(*coroutines):
    async def all_of_them():
        return await asyncio.gather(*coroutines)

    return run(all_of_them())


def test_each_has_a_seat_and_the_same_one_when_they_come_back(host):
    with httpx.Client(base_url=f"http://{host}") as one, httpx.Client(base_url=f"http://{host}") as other:
        seats = [re.search(r"<b>seat (\d+)</b>", client.get("/").text)[1] for client in (one, other, one)]
    assert seats[0] == seats[2] != seats[1]


def test_three_who_open_at_once_all_get_the_whole_lesson_and_the_class_s_limit(host):
    learners = [Learner(host) for _ in range(3)]
    together(*[see_it_whole(learner) for learner in learners])


async def see_it_whole(learner):
    await learner.open()
    await learner.sees("What you now know")
    assert "NameError" not in learner.text and "ancestor" not in learner.text
    assert re.search(r"max_steps=3\b", re.sub("<[^>]*>", "", learner.text))
    assert "marimo edit grpo_format.py" in learner.text and "https://example.org/course/format.html" in learner.text
    await learner.close()


def test_nothing_that_is_sent_is_executed(host, tmp_path):
    async def attack():
        learner, ran = Learner(host), tmp_path / "ran"
        await learner.open()
        code = f"open({str(ran)!r}, 'w')"
        for path, body in (
            ("run", {"cellIds": ["Hbol"], "codes": [code]}),
            ("scratchpad/run", {"code": code}),
            ("execute", {"code": code}),
            ("restart_session", {}),
        ):
            assert (await learner.request(path, body)).status_code >= 400, path
        await learner.set("replies out of 8", 5)
        assert not ran.exists()
        await learner.close()

    run(attack())


def test_what_no_control_can_say_is_refused_and_hostile_text_keeps_nobody_waiting(host):
    async def attack():
        learner, other = Learner(host), Learner(host)
        await learner.open()
        await other.open()
        name = learner.find("replies out of 8")
        for value in (10**9, -1e300, float("nan"), "x" * 200_000):
            body = json.dumps({"objectIds": [name], "values": [value]}).encode()
            headers = {"Cookie": learner.cookie, "Marimo-Session-Id": learner.name}
            answer = await learner.http.post("/format/api/kernel/set_ui_element_value", content=body, headers=headers)
            assert answer.status_code == 413 and "expected at most" in answer.text, value
        text = ("<think></think><answer>" * 4000)[:90_000]  # cubic for the tutorial's regular expression
        slow = asyncio.create_task(learner.set("Your reply", text))
        await asyncio.sleep(0.05)
        assert await other.set("replies out of 8", 6) < 2
        await slow
        await learner.close()
        await other.close()

    run(attack())


def test_the_code_stays_with_the_teacher(host):
    async def look():
        learner = Learner(host)
        await learner.open()
        ready = next(json.loads(message)["data"] for message in learner.received if '"kernel-ready"' in message[:200])
        assert not any(ready["codes"])
        await learner.close()

    run(look())


def test_nobody_moves_the_controls_of_another(host):
    async def interfere():
        one, other = Learner(host), Learner(host)
        await one.open()
        await other.open()
        body = {"objectIds": [one.find("replies out of 8")], "values": [7]}
        answer = await other.request("set_ui_element_value", body, session=one.name)
        assert answer.status_code == 403 and "not yours" in answer.text
        await one.set("replies out of 8", 7)
        thief = Learner(host)
        thief.name = one.name  # opens a session under another's name
        await thief.open()
        ready = next(json.loads(message)["data"] for message in thief.received if '"kernel-ready"' in message[:200])
        assert not ready["resumed"] and ready["ui_values"] == {}
        for learner in (one, other, thief):
            await learner.close()

    run(interfere())


def test_a_page_that_is_loaded_anew_finds_everything_where_it_was(host):
    async def reload():
        before = Learner(host)
        await before.open()
        await before.set("replies out of 8", 5)
        await before.train(by_trl=True)
        await before.sees(r"Step 1 of 3|Finished")
        await before.close()
        after = Learner(host, cookie=before.cookie)
        await after.open()
        newcomer = Learner(host)
        assert await newcomer.open() < 8  # a page that comes back keeps nobody waiting
        await newcomer.close()
        await after.sees("Finished: 3 steps")
        name = before.find("replies out of 8")
        ready = next(json.loads(message)["data"] for message in after.received if '"kernel-ready"' in message[:200])
        assert ready["resumed"] and ready["ui_values"][name] == 5
        assert not any('"banner"' in message[:100] for message in after.received)
        await after.set("replies out of 8", 4)
        await after.close()

    run(reload())


def test_all_settings_that_are_moved_while_something_else_runs_are_heard(host):
    async def move():
        learner = Learner(host)
        await learner.open()
        names = [learner.find(label) for label in ("num_generations", "max_completion_length")]
        await learner.request("set_ui_element_value", {"objectIds": names, "values": [4, 40]})
        for code in ("num_generations=4", "max_completion_length=40"):
            await learner.until(lambda code=code: code + "," in re.sub("<[^>]*>", "", learner.text))
        await learner.close()

    run(move())


def test_no_training_is_longer_than_the_class_allows_whatever_is_asked_for(host):
    async def ask():
        learner = Learner(host)
        await learner.open()
        await learner.set("u003esteps", 60)  # more than its slider has
        await learner.train(by_trl=True)
        await learner.set("Run all of it", 1)  # an exercise that trains, too: five steps
        await learner.sees("Finished: 3 steps")
        drawn = await learner.sees(r'Reward of each step.*?<polyline[^>]*points="([^"]*)"')
        await learner.close()
        return drawn[1].split()

    assert len(run(ask())) == 3


def test_all_who_queue_train_once_and_a_closed_tab_frees_its_place(host, runs):
    line_of_the_class = runs / line.FOLDER.name

    async def queue():
        learners = [Learner(host) for _ in range(3)]
        with line.turn(lambda in_front: None, lambda: False, line_of_the_class):  # nobody's turn yet
            for learner in learners:
                await learner.open()
                await learner.train(by_trl=True)
            await learners[2].sees(r"yours comes after it \(3 in front of you\)")
            await learners[1].close()
            await learners[2].sees(r"\(2 in front of you\)", timeout=15)
        stayed = [learners[0], *learners[2:]]
        for learner in stayed:
            await learner.sees("Finished: 3 steps")
            await learner.close()
        assert line.line(line_of_the_class) == []
        return [learner.seat for learner in learners]

    records = [runs / f"class/seat-{seat}/format/run.json" for seat in run(queue())]
    assert [record.exists() for record in records] == [True, False, True]
    assert {Run.load(record).steps_done for record in records if record.exists()} == {3}


def test_who_looks_at_the_line_or_at_another_lesson_stays_in_it(host, runs):
    line_of_the_class = runs / line.FOLDER.name

    async def look_away():
        gone, other = Learner(host), Learner(host)
        with line.turn(lambda in_front: None, lambda: False, line_of_the_class):
            await gone.open()
            await gone.train(by_trl=True)
            await gone.sees("yours comes after it")
            await gone.sees(
                "From a recording, until yours begins:", 15
            )  # the group under the curves, which say so, too
            twice = Learner(host, lesson="math", cookie=gone.cookie, tab="second")
            await twice.open()
            await twice.train(by_trl=True)
            await twice.sees("Another page of yours is in the line")
            await twice.close()
            await gone.close()  # the house: the class's page asks for the line
            for path, seconds in (("/", 1), ("/line", 11)):
                answer = await gone.http.get(path, headers={"Cookie": gone.cookie})
                assert answer.status_code == 200
                await asyncio.sleep(seconds)
            assert [ticket.who for ticket in line.line(line_of_the_class)] == ["", f"seat {gone.seat}"]
        await asyncio.sleep(1)
        back = Learner(host, cookie=gone.cookie)
        await back.open()
        await back.sees("Finished: 3 steps")
        await back.close()
        await other.http.aclose()
        return gone.seat

    assert Run.load(runs / f"class/seat-{run(look_away())}/format/run.json").steps_done == 3


def test_all_train_at_once_each_in_their_own_browser(host, runs, browsers):
    async def train(learner):
        await learner.open()
        await learner.train()
        await learner.sees(r"Step \d of 3|Finished")
        begun.append(learner)
        await learner.until(lambda: len(begun) == len(browsers))  # nobody has to end for another to begin
        await learner.sees("Finished: 3 steps")
        record = Run.load(runs / f"class/seat-{learner.seat}/format/run.json")
        assert record.provenance["hardware"] == "this browser" and len(record.after.completions) == 96
        await learner.set("Load the model", 1)
        asked = base64.b64encode(learner.saved).decode()  # "before and after your last training"
        await learner.until(lambda: any(asked in message for message in learner.received))
        await learner.close()
        return learner.seat

    begun = []
    seats = together(*[train(Learner(host, trainer=browser)) for browser in browsers])
    assert line.line(runs / line.FOLDER.name) == []
    wall = httpx.get(
        f"http://{host}/wall/runs?lesson=format"
    ).text  # where there is no password, everybody is a teacher
    shown = dict(re.findall(r'data-seat="(\d+)".*?step 3 of 3 · seed (\d+)<', wall))
    assert {str(seat): str(seat) for seat in seats}.items() <= shown.items()  # each its own seed
    assert f"<h3>seat {seats[0]}</h3>" in httpx.get(f"http://{host}/wall/run/format/{seats[0]}").text


def test_the_wall_knows_what_was_chosen_and_where_and_a_teacher_stops_a_training_that_waits(host, runs):
    async def choose():
        learner = Learner(host)
        await learner.open()

        async def wall():
            now = (await learner.http.get("/wall/now?lesson=format")).json()
            return now["questions"][0]["counts"], next(each for each in now["seats"] if each["seat"] == learner.seat)

        (_, before, _), about = await wall()
        assert about["here"] and not about["lesson"]
        headers = {"Cookie": learner.cookie}
        assert (await learner.http.post("/here/format/7", headers=headers)).status_code == 204
        await learner.set("All eight replies of a group earn 0", "Nothing at all")
        with line.turn(lambda in_front: None, lambda: False, runs / line.FOLDER.name):  # nobody's turn yet
            await learner.train(by_trl=True)
            await learner.sees("yours comes after it")
            (_, after, _), about = await wall()
            assert after == before + 1
            assert about == about | {"lesson": "format", "station": 7, "trains": True, "name": ""}
            trains = (await learner.http.get("/desk/now")).json()["trains"]
            assert [each["doing"][:7] for each in trains if each["seat"] == learner.seat] == ["format:"]
            await learner.http.post(f"/desk/stop/{learner.seat}")
            await learner.sees("Stopped before the first step")
        assert not (await wall())[1]["trains"]
        await learner.close()

    run(choose())


def routes_of(routes, above=""):
    """Every route of marimo's, as its method and path."""
    for route in routes:
        if isinstance(route, Mount) and route.routes:
            yield from routes_of(route.routes, above + route.path)
        else:
            methods = getattr(route, "methods", None) or {"GET" if isinstance(route, Mount) else "websocket"}
            yield from ((method, above + route.path) for method in sorted(methods - {"HEAD"}))


# What a lesson's page asks for, an example for each route, and what it hears where there is nothing; all others are closed.
OPEN = {
    ("GET", "/"): ("/", 200),
    ("GET", "/health"): ("/health", 200),
    ("GET", "/assets"): ("/assets/nothing.js", 404),
    ("GET", "/@file/{filename_and_length:path}"): ("/@file/5-nothing.js", 404),
    ("GET", "/public-files-sw.js"): ("/public-files-sw.js", 200),
    ("GET", "/{path:path}"): ("/favicon.ico", 200),
    ("POST", "/api/kernel/set_ui_element_value"): ("/api/kernel/set_ui_element_value", 400),
    ("POST", "/api/kernel/set_model_value"): ("/api/kernel/set_model_value", 400),
    ("POST", "/api/export/html"): ("/api/export/html", 400),
    ("websocket", "/ws"): ("/ws", 101),
}
NAMED = {"filepath": "format_learns.json", "path": "nothing.txt"}


def test_of_all_that_marimo_answers_a_class_hears_what_its_pages_need_and_no_more(tmp_path):
    routes = [*routes_of(build_routes())]
    assert len(routes) > 80 and OPEN.keys() <= set(routes), "marimo has moved: see grpo_lessons/web/seats.py"
    asked = [(*route, *OPEN.get(route, (None, 403))) for route in routes]
    asked += [("GET", "/{path:path}", "/nothing.txt", 403), ("GET", "/public", "/public/format_learns.json", 403)]
    asked += [
        ("GET", "/sse", "/sse?session_id=x", 403),
        ("DELETE", "/", "/", 403),
        ("GET", "/", "/?file=/etc/passwd", 200),
    ]
    asked += [
        ("GET", "/@file", f"/@file/{odd}", 404)
        for odd in ("%C2%B2-x", "5", "5-", "-5-x", "5-../../etc/passwd", "9" * 99)
    ]

    async def all_of_them(host, cookie, inside):
        headers = {"Cookie": cookie} if cookie else {}
        learner = Learner(host, cookie=cookie)
        if inside:
            await learner.open()
            headers["Marimo-Session-Id"] = learner.name
        fresh = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=f"http://{host}", headers=headers, timeout=60, limits=fresh) as browser:
            for method, route, path, expected in asked:
                path = path or re.sub(r"\{(\w+)[^}]*\}", lambda found: NAMED[found[1]], route)
                expected = expected if inside else 401
                if method == "websocket":
                    try:
                        address = f"ws://{host}/format{path}?session_id=other&tab=other"
                        socket = await websockets.connect(address, additional_headers=headers)
                        answer = 101
                        await socket.close()
                    except websockets.InvalidStatus as error:
                        answer = error.response.status_code
                    expected = expected if inside else 403
                else:
                    sent = await browser.request(method, f"/format{path}", **({"json": {}} if method == "POST" else {}))
                    answer = sent.status_code
                    assert str(tmp_path) not in sent.text and str(ROOT) not in sent.text, path
                    assert "data-notes=" not in sent.text, path
                assert answer == expected, (method, path, answer)
        if inside:
            body = {"download": True, "files": [], "includeCode": True}
            export = await learner.http.post("/format/api/export/html", json=body, headers=headers)
            assert export.status_code == 200 and str(ROOT) not in export.text and "def _(opened" not in export.text
            assert not any(str(ROOT) in message for message in learner.received)
            await learner.close()
        return learner

    async def ask(host, log):
        word = re.search(r"/teacher/(\w+)", log.read_text())[1]
        async with (
            httpx.AsyncClient(base_url=f"http://{host}") as pupil,
            httpx.AsyncClient(base_url=f"http://{host}") as teacher,
        ):
            await pupil.post("/enter", data={"password": "open sesame"})
            await teacher.get(f"/teacher/{word}")
            cookies = [f"grpo_class={each.cookies['grpo_class']}" for each in (pupil, teacher)]
        await all_of_them(host, "", inside=False)
        await all_of_them(host, "grpo_class=forged", inside=False)
        assert "gl-notes" not in (await all_of_them(host, cookies[0], inside=True)).text
        assert "gl-notes" in (await all_of_them(host, cookies[1], inside=True)).text

    with classroom(tmp_path, "--password", "open sesame") as host:
        run(ask(host, tmp_path / "server.log"))
    assert "Traceback" not in (tmp_path / "server.log").read_text()


def test_a_request_that_says_no_session_has_none(host):
    async def ask():
        learner = Learner(host)
        await learner.open()
        body = {"objectIds": [learner.find("replies out of 8")], "values": [7]}
        path = "/format/api/kernel/set_ui_element_value"
        assert (await learner.http.post(path, json=body, headers={"Cookie": learner.cookie})).status_code == 403
        await learner.close()

    run(ask())


def test_no_more_is_trained_than_the_controls_offer(host, runs, browsers):
    async def ask():
        learner = Learner(host, trainer=browsers[0])
        await learner.open()
        settings = {
            "num_generations": 256,
            "max_completion_length": 9000,
            "u003etemperature": ["7.5"],
            "u003eseed": [],
        }
        for label, value in settings.items():
            await learner.set(label, value)
        await learner.sees("samples 32 completions")  # two groups of the most that there may be
        await learner.until(lambda: re.search(r"max_completion_length=64\b", re.sub("<[^>]*>", "", learner.text)))
        await asyncio.sleep(1)  # the buttons come after the code
        await learner.train()
        await learner.sees("Finished: 3 steps", 120)
        record = Run.load(runs / f"class/seat-{learner.seat}/format/run.json").settings
        await learner.close()
        return record, learner.seat

    record, seat = run(ask())
    asked = [record[name] for name in ("group_size", "batch_size", "max_completion_length", "temperature", "seed")]
    assert asked[0] == 16 and asked[1] <= 96 and asked[2:] == [64, 1.0, seat]


def test_wrong_passwords_are_heard_ten_times_a_minute(tmp_path):
    app = create_app(tmp_path, "open sesame", "word")

    async def guess():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://class") as browser:
            said = [await browser.post("/enter", data={"password": str(number)}) for number in range(9)]
            said.append(await browser.get("/teacher/wrong"))
            right = await browser.post("/enter", data={"password": "open sesame"})
        elsewhere = httpx.ASGITransport(app, client=("10.0.0.7", 1))
        async with httpx.AsyncClient(transport=elsewhere, base_url="http://class") as other:
            return said, right, await other.post("/enter", data={"password": "open sesame"})

    said, right, other = run(guess())
    assert {each.status_code for each in said} == {401}
    assert right.status_code == 429 and "Wait a minute" in right.text and right.headers["retry-after"] == "60"
    assert other.status_code == 303


@pytest.mark.parametrize("left", ["", "/grpo"], ids=["path taken away", "path left"])
def test_a_class_below_a_path_leads_nowhere_above_it_and_over_https_is_known_in_frames(tmp_path, left):
    app = create_app(tmp_path, "open sesame", "word", base="https://school.example/grpo/")

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://class") as browser:
            door = await browser.get(f"{left}/format/?step=3")
            entered = await browser.post(f"{left}/enter", data={"password": "open sesame"})
            kept = entered.headers["set-cookie"]
            cookie = {"Cookie": kept.partition(";")[0]}
            pages = [await browser.get(f"{left}{path}", headers=cookie) for path in ("/", "/format/", "/format")]
            return door, entered, kept, pages, await browser.get(f"{left}/teacher/word")

    door, entered, kept, pages, teacher = run(ask())
    assert (door.status_code, 'action="/grpo/enter"' in door.text) == (401, True)
    assert (entered.headers["location"], teacher.headers["location"], pages[2].headers["location"]) == (
        "/grpo/",
        "../desk",
        "format/",
    )
    assert "path=/grpo;" in kept and kept.endswith("samesite=none; secure; partitioned")
    for page in pages[:2]:
        assert page.status_code == 200 and len(re.findall(r'(?:href|src)="', page.text)) > 5
        assert re.findall(r'(?:href|src|action)="/[^"]*"', page.text) == []


def test_a_cookie_has_one_seat_however_much_it_asks_for_at_once(tmp_path):
    app = create_app(tmp_path, "open sesame", "word")

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://class") as browser:
            await browser.post("/enter", data={"password": "open sesame"})
            cookie = {"Cookie": f"grpo_class={browser.cookies['grpo_class']}"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://class") as browser:
            paths = ["/", "/line", "/format/assets/nothing.js", "/format/sse", "/math/@file/5-x"] * 2
            return await asyncio.gather(*[browser.get(path, headers=cookie) for path in paths])

    run(ask())
    assert [path.name for path in tmp_path.glob("seat-*")] == ["seat-1"]


class Liar(Engine):
    """A browser in which somebody has put another engine."""

    def __init__(self, said):
        self.said = said

    def call(self, call, **given):
        return {"settings": {}} if call == "start" else self.said


@pytest.mark.parametrize(
    "said",
    [
        {"texts": ["x"], "ids": [[1]]},
        {"texts": [["x"]] * 32, "ids": [["y"]] * 32},
        {"texts": "x" * 32, "ids": None},
        [],
        None,
        "no engine's answer",
    ],
    ids=str,
)
def test_a_browser_that_says_what_no_engine_says_harms_itself_alone(host, said):
    async def lie():
        learner = Learner(host, trainer=Liar(said))
        await learner.open()
        await learner.train()
        await learner.sees("The session ended with an error")
        await learner.sees(r"The page gave no answer of its engine's \(generate")
        await learner.set("replies out of 8", 5)
        await learner.close()

    run(lie())


def test_a_page_that_is_loaded_anew_says_what_has_become_of_its_training(host, browsers):
    async def reload():
        before = Learner(host, trainer=browsers[0])
        await before.open()
        await before.set("u003esteps", 3)
        await before.train()
        await before.sees(r"Step \d of 3")
        await before.close()
        after = Learner(host, cookie=before.cookie, trainer=browsers[1])
        await after.open()
        await after.sees("was loaded anew, and what it had learnt is gone")
        await after.train()
        await after.sees("Finished: 3 steps")
        await after.close()

    run(reload())


def test_a_password_is_asked_for_once_and_a_killed_server_has_lost_no_run(tmp_path, browsers):
    async def train(host, password):
        learner = Learner(host, trainer=browsers[0])
        refused = await learner.http.get("/format/")
        assert refused.status_code == 401 and "password" in refused.text
        with pytest.raises(Exception, match="403"):
            await Learner(host, cookie="grpo_class=forged").open()
        wrong = await learner.http.post("/enter", data={"password": "wrong"})
        assert wrong.status_code == 401 and "not the password" in wrong.text
        assert [page.text.count("hidden") for page in (refused, wrong)] == [2, 1]
        for to, leads in (
            ("/format/?step=4", "/format/?step=4"),
            ("//elsewhere.org", "/"),
            ("http://elsewhere.org", "/"),
        ):
            said = {"password": f" {password}", "to": to}  # copied, with a blank
            entered = await learner.http.post("/enter", data=said)
            assert entered.status_code == 303 and entered.headers["location"] == leads
        answer = await learner.http.get("/")
        assert answer.status_code == 200
        learner.cookie = f"grpo_class={learner.http.cookies['grpo_class']}"
        await learner.open()
        with pytest.raises(KeyError):
            learner.find("by TRL")  # the class's machine is the teacher's
        await learner.train()
        await learner.sees("Finished: 2 steps", 90)
        assert "gl-notes" not in learner.text  # they have the answers
        return learner.cookie

    async def teach(host, word):
        learner = Learner(host)
        assert (await learner.http.get("/teacher/wrong")).status_code == 401
        answer = await learner.http.get(f"/teacher/{word}")
        assert answer.status_code == 303
        learner.cookie = f"grpo_class={answer.cookies['grpo_class']}"
        await learner.open()
        await learner.sees("gl-notes")
        await learner.close()

    async def come_back(host, cookie):
        learner = Learner(host, cookie=cookie)
        await learner.open()
        await learner.sees("Your last training: 2 steps")
        await learner.close()

    def told():
        """The password and the teacher's word, as the newest server has said them."""
        log = (tmp_path / "server.log").read_text()
        return [re.findall(pattern, log)[-1] for pattern in (r"its password: (\w+)", r"/teacher/(\w+)")]

    options = ("--host", "0.0.0.0", "--steps", "2")
    with classroom(tmp_path, *options) as host:
        password, word = told()
        cookie = run(train(host, password))
        run(teach(host, word))
    (tmp_path / "server.log").unlink()
    with classroom(tmp_path, *options, "--base-url", "http://school.example/grpo") as host:
        assert told() == [password, word]
        run(come_back(f"{host}/grpo", cookie))


def test_a_taken_port_is_said_before_anything_is_loaded_and_no_password_is_told(tmp_path):
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        command = [sys.executable, "-m", "grpo_lessons", "class", "--host", "0.0.0.0", "--port", str(port)]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    told = f"--port {port}: another server has this port. End it, or take another: --port {port + 1}.\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", told)


@pytest.mark.skipif(not CHROMIUM and not os.environ.get("CI"), reason="no Chromium or Chrome on this machine")
def test_pages_say_that_the_server_is_gone_and_frames_of_another_site_that_they_get_no_cookie(tmp_path):
    with ExitStack() as stack:
        host = stack.enter_context(classroom(tmp_path))
        with serve_folder(tmp_path) as site, browse(f"http://{host}/", 1280, 720) as page:
            lesson = page.context.new_page()
            lesson.goto(f"http://{host}/format/")
            lesson.get_by_role("heading", name="1 · The loop in one picture").wait_for()
            told = [each.get_by_text("server does not answer") for each in (page, lesson)]
            assert [each.count() and each.is_visible() for each in told] == [False, 0]
            frames = "".join(f'<iframe src="http://{host}{path}"></iframe>' for path in ("/", "/format/"))
            (tmp_path / "host.html").write_text(f"<!doctype html><title>host</title>{frames}", encoding="utf-8")
            other = page.context.new_page()
            other.goto(f"{site.replace('127.0.0.1', 'localhost')}/host.html")
            for frame, path in zip(other.locator("iframe").all(), ("/", "/format/"), strict=True):
                said = frame.content_frame.get_by_role("alert").filter(has_text="this browser keeps none here")
                assert said.get_by_role("link").get_attribute("href") == f"http://{host}{path}"
            assert [each.get_by_text("keeps none here").count() for each in (page, lesson)] == [0, 0]
            stack.close()
            for each in told:
                each.wait_for()


@pytest.mark.skipif(not CHROMIUM and not os.environ.get("CI"), reason="no Chromium or Chrome on this machine")
def test_a_lesson_is_stepped_through_with_no_host_but_this_one_and_a_reload_changes_nothing(host):
    with outside() as (proxy, asked), browse(f"http://{host}/", 1280, 720, proxy=proxy) as page:
        wrong = []
        page.on(
            "console",
            lambda message: wrong.append(f"{message.text} {message.location}") if message.type == "error" else None,
        )
        page.get_by_role("article").filter(has_text="Teach a model a format").get_by_text("Step by step").click()
        page.get_by_role("heading", name="Teach a model a format").wait_for()
        place = page.get_by_role("combobox", name="Station")
        page.wait_for_function("document.querySelectorAll('#gl-bar option').length === 16")
        assert page.get_by_role("heading", level=2).count() == 0 and page.url.endswith("?step=0")
        page.get_by_role("button", name="Next").click()
        page.get_by_role("heading", name="1 · The loop in one picture").wait_for()
        for _ in range(2):
            page.keyboard.press("ArrowRight")
        page.get_by_role("heading", name="3 · From rewards").wait_for()
        press(page, "replies out of 8 that earn 1", "ArrowLeft")  # here the arrow belongs to the slider
        page.get_by_text("+1.21").first.wait_for()
        assert page.url.endswith("?step=3") and page.get_by_role("heading", level=2).count() == 1

        page.reload()
        page.get_by_role("heading", name="3 · From rewards").wait_for()
        page.get_by_text("+1.21").first.wait_for()
        assert page.get_by_role("slider").first.get_attribute("aria-valuenow") == "3"
        assert page.get_by_text("+0.94").filter(visible=True).count() == 0
        assert page.get_by_text("Reconnected").count() == 0

        with page.expect_popup() as opened:
            page.keyboard.press("s")
        notes = opened.value
        notes.get_by_text("Many say four, +0.94. It is one").wait_for()
        notes.keyboard.press("ArrowRight")  # the speaker turns the page from here
        page.get_by_role("heading", name="4 · How large a group?").wait_for()
        assert "45 % are dead" in notes.locator(".now").inner_text()
        notes.get_by_role("combobox").select_option(label="90 minutes")
        notes.get_by_text("leave this station at 33 min").wait_for()
        page.reload()
        page.get_by_role("heading", name="4 · How large a group?").wait_for()
        page.wait_for_timeout(1000)
        notes.keyboard.press("ArrowLeft")  # they have taken each other up again
        page.get_by_role("heading", name="3 · From rewards").wait_for()
        notes.get_by_text("leave this station at 27 min").wait_for()
        notes.close()

        page.get_by_role("slider").first.focus()
        at = "() => [document.getElementById('App').scrollTop > 0, location.search]"
        page.keyboard.press("PageDown")  # a presenter's remote: first the rest of the station, whatever has the focus
        assert page.evaluate(at) == [True, "?step=3"]
        page.keyboard.press("PageDown")
        page.keyboard.press("PageDown")
        assert page.evaluate(at)[1] != "?step=3"
        place.select_option(label="3 · From rewards to advantages")
        assert page.get_by_role("slider").first.get_attribute("aria-valuenow") == "3"

        small = page.get_by_role("heading", level=2).bounding_box()["height"]
        page.get_by_role("button", name="Large type").click()
        page.wait_for_function(
            f"document.querySelector('h2[id^=\"3-\"]').getBoundingClientRect().height > {small * 1.05}"
        )
        place.select_option(label="14 · Keep it")
        page.get_by_role("heading", name="14 · Keep it").wait_for()
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.getElementById('gl-bar').getBoundingClientRect().right <= innerWidth")
        page.keyboard.press("PageDown")
        page.get_by_role("button", name="Show the whole lesson").click()
        page.wait_for_function(
            "!location.search.includes('step') && document.querySelectorAll('#gl-bar button').length === 1"
        )
        page.evaluate("document.getElementById('App').scrollTop = 3000")
        settle(page)  # stations that come back grow, and the browser keeps what is in view where it is
        page.wait_for_timeout(1000)
        place = page.evaluate(
            "() => { setTimeout(() => location.reload()); return document.getElementById('App').scrollTop; }"
        )
        assert place > 2000
        page.wait_for_event("load")
        page.wait_for_function("place => Math.abs(document.getElementById('App')?.scrollTop - place) < 2", arg=place)
        assert failures(page) == [] and wrong == [] and asked == []
