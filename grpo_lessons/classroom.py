"""One server for a class: `python -m grpo_lessons.classroom`, then a browser for everybody.

It serves the course's page and the live lessons. Every browser gets a seat: a signed cookie with a number, under which
this learner's finished trainings are kept, so that neither a page loaded anew nor a server started again loses them.
Trainings take turns; what a learner types is never executed, for lessons opened this way have no cell to write in.
"""

import argparse
import asyncio
import ctypes
import gc
import json
import os
import re
import secrets
import socket
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlencode

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from grpo_lessons import device, live
from grpo_lessons.problems import sums
from grpo_lessons.rewards import format_reward
from grpo_lessons.seat import Seat
from grpo_lessons.server import NOTEBOOKS, live_lessons
from grpo_lessons.site import LESSONS
from grpo_lessons.training import Settings

PAGES = Path(__file__).parent / "pages"
ASLEEP = 600  # seconds for which a lesson is kept open for a page that is gone: a phone may sleep in between

# Tells the server which of a browser's tabs it is, and the lesson that it is in a class. A tab keeps its name when the
# page is loaded anew.
TAB = """<script>
{ window.grpoClass = "../"; const tab = sessionStorage.grpoTab ??= Math.random().toString(36).slice(2);
  const Plain = WebSocket;
  window.WebSocket = class extends Plain {
    constructor(url, ...more) { const to = new URL(url, location.href); to.searchParams.set("tab", tab); super(to, ...more); }
  }; }
</script>"""


class Seats:
    """The learners of a class: who may come in, which lessons they have open, and that each sees only their own.

    Around every lesson it does what `marimo run` leaves to others. A session belongs to the browser that opened it;
    a page that is loaded anew finds the session it had; and sessions open one after the other, which is sooner for
    nearly all of them and keeps CPython 3.11 from failing in `ast.parse`, whose depth counter threads share.
    """

    def __init__(
        self,
        app: ASGIApp,
        folder: Path,
        most_steps: int | None = None,
        most_minutes: float | None = None,
        all_teach: bool = False,
    ):
        self.app, self.folder = app, folder
        self.limits, self.all_teach = (most_steps, most_minutes), all_teach
        self.seats: dict[tuple, Seat] = {}  # by learner, lesson and tab
        self.sessions: dict[tuple, str] = {}  # marimo's name for a session: by the same, and by the names pages give it
        self.opening = asyncio.Lock()

    def number(self, session: dict) -> int:
        """The seat of a browser; the next free one for a browser that has none."""
        while "seat" not in session:
            taken = [int(path.name[5:]) for path in self.folder.glob("seat-*") if path.name[5:].isdigit()]
            number = max(taken, default=0) + 1
            try:
                (self.folder / f"seat-{number}").mkdir(parents=True)
            except FileExistsError:
                continue
            session["seat"] = number
        return session["seat"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a lesson's requests on to marimo, each with the session that belongs to it."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        number = self.number(scope["session"])
        lesson = scope["path"].removeprefix(scope.get("root_path", "")).strip("/").split("/")[0]
        if scope["type"] == "websocket":
            if not scope["path"].endswith(f"/{lesson}/ws"):
                return await send({"type": "websocket.close", "code": 1008})
            return await self._page(scope, receive, send, number, lesson)
        headers = []
        for name, value in scope["headers"]:
            if name == b"marimo-session-id":
                owned = self.sessions.get((number, lesson, "named", value.decode("latin-1")))
                if owned is None:
                    return await JSONResponse({"error": "This session is not yours."}, 403)(scope, receive, send)
                value = owned.encode()
            headers.append((name, value))
        if scope["method"] == "POST":
            body = await _body(Request(scope, receive), MOST_BYTES)
            if problem := _unfit(body):
                return await JSONResponse({"error": problem}, 413)(scope, receive, send)
            receive = _again(body, receive)
        await self.app(scope | {"headers": headers}, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send, number: int, lesson: str) -> None:
        query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
        name = query.get("session_id", "")
        key = (number, lesson, "tab", query.pop("tab", name))
        teaches = self.all_teach or scope["session"].get("teaches", False)
        seat = self.seats.setdefault(key, Seat(number, self.folder / f"seat-{number}", *self.limits, teaches))
        own = self.sessions.setdefault(key, f"s_{secrets.token_hex(8)}")  # a name that nobody else can know
        query["session_id"] = self.sessions[number, lesson, "named", name] = own
        scope = scope | {"query_string": urlencode(query).encode(), "meta": {"seat": seat}}
        first = await receive()
        await send({"type": "websocket.accept"})  # at once: it may be some seconds before it is this one's turn
        seat.come()
        opened = asyncio.Event()

        async def hear() -> dict:
            nonlocal first
            message, first = first, None
            return message or await receive()

        async def say(message: dict) -> None:
            text = message.get("text") or ""
            if '"completed-run"' in text[:200] or '"reconnected"' in text[:200]:
                opened.set()
            if message["type"] == "websocket.accept" or ('"banner"' in text[:200] and "Reconnected" in text):
                return  # accepted already; and whoever reloads a page knows that
            await send(message)

        async def page() -> None:
            try:
                await self.app(scope, hear, say)
            finally:
                opened.set()

        try:
            async with self.opening:
                serving = asyncio.create_task(page())
                with suppress(TimeoutError):
                    await asyncio.wait_for(opened.wait(), 15)
            await serving
        finally:
            seat.go()


MOST_BYTES, MOST = 100_000, 10_000  # of a request, and what a control may say: a lesson's largest are far below


def _unfit(body: bytes) -> str:
    """What is wrong with a request that no control of a lesson can have sent; "" if nothing is.

    >>> _unfit(b'{"values": [7]}'), _unfit(b'{"values": [1e12]}')
    ('', 'A value of 1e12: expected at most 10,000.')
    """
    if len(body) > MOST_BYTES:
        return f"The request is too long: expected at most {MOST_BYTES:,} bytes."

    def check(number: str) -> float:
        if not abs(value := float(number)) <= MOST:
            raise ValueError(f"A value of {number[:20]}: expected at most {MOST:,}.")
        return value

    try:
        json.loads(body or b"null", parse_int=check, parse_float=check, parse_constant=check)
    except RecursionError:
        return "Nested too deep."
    except ValueError as error:
        return str(error)
    return ""


async def _body(request: Request, most: int) -> bytes:
    """What a request brings; of one that is too long, a little more than the most."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > most:
            break
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """A receive that yields a body that has been read, then what comes after it."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> dict:
        return pending.pop() if pending else await receive()

    return next_message


def resume_with_all_outputs() -> None:
    """Have marimo send the whole lesson to a page that comes back to its session.

    marimo 0.25 takes such a page for one that still shows everything, as after a short break of the network.
    """
    from marimo._server.api.endpoints.ws.ws_session_connector import ConnectionType, SessionConnector

    def reconnect(self, session):
        session.disconnect_main_consumer()
        self.handler._reconnect_session(session, replay=True)
        return session, ConnectionType.RESUME

    SessionConnector._reconnect_session = reconnect


def create_app(
    folder: Path,
    password: str | None = None,
    teacher: str | None = None,
    show_code: bool = False,
    most_steps: int | None = None,
    most_minutes: float | None = None,
) -> Starlette:
    """The application: the course's page at `/`, a live lesson at `/NAME/`, the line for the device at `/line`.

    Args:
        folder: where the seats are kept, and what their trainings have come to.
        password: asked of everybody once, if there is one.
        teacher: whoever opens `/teacher/` and this word once may come in, and sees the speaker's notes; None: all see them.
        show_code: whether the lessons' menu offers their code.
        most_steps, most_minutes: the most that one training may take.

    >>> from tempfile import mkdtemp
    >>> [route.path for route in create_app(Path(mkdtemp())).routes]
    ['/', '/line', '/enter', '/teacher/{word}', '']
    """
    resume_with_all_outputs()
    lessons = live_lessons(include_code=show_code, session_ttl=ASLEEP, html_head=TAB)
    seats = Seats(lessons, folder, most_steps, most_minutes, all_teach=teacher is None)
    door = (PAGES / "door.html").read_text(encoding="utf-8")

    def course(request: Request) -> Response:
        cards = "".join(
            f'<article><h2>{title}</h2><p>{about}</p><a class="go" href="{name}/?step=0">Step by step</a> <a class="whole" href="{name}/">The whole lesson</a></article>'
            for name, (title, about) in LESSONS.items()
        )
        page = (PAGES / "class.html").read_text(encoding="utf-8")
        return HTMLResponse(page.replace("$lessons", cards).replace("$seat", str(seats.number(request.session))))

    def waiting(request: Request) -> Response:
        line = device.line()
        return JSONResponse([{"who": ticket.who, "seconds": ticket.seconds} for ticket in line])

    async def enter(request: Request) -> Response:
        said = parse_qs((await _body(request, 1000)).decode("utf-8", "replace"))
        given, to = (said.get(name, [""])[0].strip() for name in ("password", "to"))
        if password and secrets.compare_digest(given.encode(), password.strip().encode()):
            request.session["in"] = True
            return RedirectResponse(to if re.match(r"/(?![/\\])", to) else "/", 303)  # of this server
        await asyncio.sleep(1)  # whoever guesses shall guess slowly
        return HTMLResponse(door.replace(" hidden>", ">"), 401)

    async def teach(request: Request) -> Response:
        if teacher and secrets.compare_digest(request.path_params["word"].encode(), teacher.encode()):
            request.session.update({"in": True, "teaches": True})
            return RedirectResponse("..", 303)
        await asyncio.sleep(1)
        return HTMLResponse(door, 401)

    class Door:
        """Lets in who has said the password once."""

        def __init__(self, app: ASGIApp):
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            path = scope.get("path", "")
            asks = path == "/enter" or path.startswith("/teacher/")
            if not password or scope["type"] == "lifespan" or asks or scope["session"].get("in"):
                await self.app(scope, receive, send)
            elif scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await HTMLResponse(door, 401)(scope, receive, send)

    return Starlette(
        routes=[
            Route("/", course),
            Route("/line", waiting),
            Route("/enter", enter, methods=["POST"]),
            Route("/teacher/{word}", teach),
            Mount("/", seats),
        ],
        middleware=[
            Middleware(
                SessionMiddleware, secret_key=_secret(folder), session_cookie="grpo_class", max_age=7 * 24 * 3600
            ),
            Middleware(Door),
        ],
    )


def _secret(folder: Path) -> str:
    """What the cookies are signed with: kept, so that a server started again knows everybody's seat."""
    path = folder / "secret"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    return path.read_text()


def _share_the_heap() -> None:
    """Have all threads share two heaps: glibc gives each its own, and every training, a thread, left 100 MB in one."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(-8, 2)  # M_ARENA_MAX


def _on_the_network(host: str) -> str:
    """What to type on another machine to come to this one."""
    if host not in ("0.0.0.0", "::"):
        return host
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: it only chooses the way out
        return probe.getsockname()[0]
    return socket.gethostname()


def main(argv: list[str] | None = None) -> None:
    """Serve a class until Ctrl+C."""
    parser = argparse.ArgumentParser(prog="python -m grpo_lessons.classroom", description="One server for a class.")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="0.0.0.0 lets other machines in, with a password (default: this machine only)",
    )
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument(
        "--password", help="what learners type once; made up where others can come in and none is given"
    )
    parser.add_argument("--show-code", action="store_true", help="the lessons' menu offers their code")
    parser.add_argument("--steps", type=int, help="the most steps a training may have")
    parser.add_argument("--minutes", type=float, help="the most minutes a training may take")
    options = parser.parse_args(argv)
    _share_the_heap()
    for name in ("steps", "minutes"):
        if (value := getattr(options, name)) is not None and value <= 0:
            parser.error(f"--{name} {value}: expected more than 0; leave it out for no limit")
    alone = options.host in ("127.0.0.1", "localhost", "::1")
    password = options.password or (None if alone else secrets.token_hex(4))
    folder = Path(os.environ.get("GRPO_LESSONS_RUNS") or NOTEBOOKS.parent / "runs") / "class"
    teacher = secrets.token_hex(4) if password else None
    app = create_app(folder, password, teacher, options.show_code, options.steps, options.minutes)
    ready = {"settings": Settings(), "rewards": [format_reward], "prompts": sums(512), "held_out": sums(96)}
    print("Loading torch and TRL, and measuring the pocket model …", flush=True)
    live.get_ready(ready)
    gc.freeze()  # half a million objects of the libraries: every full collection took 0.14 s over them
    address = f"http://{_on_the_network(options.host)}:{options.port}"
    print(f"The class is at {address}" + (f", its password: {password}" if password else ""), flush=True)
    if teacher:
        print(f"Yours, with the speaker's notes: {address}/teacher/{teacher}", flush=True)
    uvicorn.run(app, host=options.host, port=options.port, log_level="warning")


if __name__ == "__main__":
    main(sys.argv[1:])
