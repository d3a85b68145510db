"""One server for a class: `python -m grpo_lessons class`, then a browser for everybody.

It serves the course's page and the live lessons. Every browser gets a seat: a signed cookie with a number, under which
this learner's finished trainings are kept, so that neither a page loaded anew nor a server started again loses them.
Trainings take turns; what a learner types is never executed, for lessons opened this way have no cell to write in.
"""

import argparse
import ctypes
import errno
import gc
import os
import re
import secrets
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from grpo_lessons.course import LESSONS
from grpo_lessons.lesson.marimo_inside import resume_with_all_outputs
from grpo_lessons.lesson.opened import runs_folder
from grpo_lessons.lesson.pace import PACE
from grpo_lessons.problems import sums
from grpo_lessons.rewards import format_reward
from grpo_lessons.training import Plan, Settings, line
from grpo_lessons.web.desk import desk
from grpo_lessons.web.render import render
from grpo_lessons.web.seats import Seats, body_of
from grpo_lessons.web.server import live_lessons
from grpo_lessons.web.wall import wall

ASLEEP = 600  # seconds for which a lesson is kept open for a page that is gone: a phone may sleep in between

MOST_STATIONS = 40  # of a lesson
MOST_GUESSES = 10  # wrong passwords of one address in a minute; behind a router a whole class has one
WRONG = "That is not the password. Your teacher has it."
TOO_MANY = "Too many wrong passwords came from your address. Wait a minute, then try again."
CLOSED = "The class is closed. Your teacher opens it."


def create_app(
    folder: Path,
    password: str | None = None,
    teacher: str | None = None,
    show_code: bool = False,
    most_steps: int | None = None,
    most_minutes: float | None = None,
    site: str = "",
    address: str = "",
    base: str = "",
) -> Starlette:
    """The application: the course's page at `/`, a live lesson at `/NAME/`, the line for the device at `/line`.

    A teacher has a page at `/desk`, see `grpo_lessons.web.desk`, and a wall for all to look at, see `grpo_lessons.web.wall`.

    Args:
        folder: where the seats are kept, and what their trainings have come to.
        password: asked of everybody once, if there is one.
        teacher: whoever opens `/teacher/` and this word once may come in, and sees the speaker's notes; None: all see them.
        show_code: whether the lessons' menu offers their code.
        most_steps, most_minutes: the most that one training may take.
        site: where the course stands as a web page, for the exercises, which a server does not run.
        address: where others come to it; "" for where it was asked.
        base: where a server in front of this one shows it, as in "https://example.org/grpo"; "" for nowhere. It may take the
            path away from what it passes on, or leave it. Over https the class works in frames of other sites' pages, too.

    >>> from tempfile import mkdtemp
    >>> [route.path for route in create_app(Path(mkdtemp())).routes if not route.path.startswith(("/desk", "/wall"))]
    ['/', '/line', '/here/{lesson}/{station:int}', '/name', '/enter', '/teacher/{word}', '']
    """
    resume_with_all_outputs()
    above = urlsplit(base).path.rstrip("/")
    kept = {"same_site": "none", "https_only": True, "partitioned": True} if base.startswith("https:") else {}
    cookie = "; SameSite=None; Secure; Partitioned" if kept else "; SameSite=Lax"  # as a page tries whether it is kept
    managers = []  # of marimo's sessions, lesson by lesson
    lessons = live_lessons(
        lambda app: managers.append(app.state.session_manager),
        include_code=show_code,
        session_ttl=ASLEEP,
        html_head=render("tab.html", cookie=cookie),
    )
    seats = Seats(
        lessons, folder, most_steps, most_minutes, all_teach=teacher is None, site=site.rstrip("/"), base=base
    )
    guesses = Guesses()

    def shut(refused: str = "") -> str:
        return render("door.html", refused=refused, above=above, cookie=cookie)

    def course(request: Request) -> Response:
        seat = seats.seat(request.session)
        seat.place = None
        words = {"seat": seat.number, "name": seat.called, "teaches": seat.is_teacher, "cookie": cookie}
        return HTMLResponse(render("class.html", lessons=LESSONS, **words))

    def here(request: Request) -> Response:
        lesson, station = (request.path_params[name] for name in ("lesson", "station"))
        if not seats.has_seat(request.session) or lesson not in LESSONS or station > MOST_STATIONS:
            return JSONResponse({"error": "No page of a lesson says this."}, 403)
        seats.seat(request.session).place = lesson, station
        return Response(status_code=204)

    async def name(request: Request) -> Response:
        if not seats.has_seat(request.session):
            return JSONResponse({"error": "Nobody sits there."}, 403)
        said = parse_qs((await body_of(request, 1000))[:1000].decode("utf-8", "replace"))
        seats.seat(request.session).call(said.get("name", [""])[0])
        return RedirectResponse("./", 303)

    def waiting(request: Request) -> Response:
        if seats.has_seat(request.session):
            seats.seat(request.session)  # whoever looks at the line has not left it
        tickets = line.line()
        return JSONResponse([{"who": ticket.who, "seconds": ticket.seconds} for ticket in tickets])

    def come_in(request: Request, given: str, expected: str | None, to: str, wrong: str, **coming) -> Response:
        """Whoever says the word gets a seat at once: a browser asks for much at a time, and its cookie shall have one."""
        address = request.client.host if request.client else ""
        if guesses.are_too_many(address):
            return HTMLResponse(shut(TOO_MANY), 429, {"Retry-After": "60"})
        if expected and secrets.compare_digest(given.encode(), expected.strip().encode()):
            if not seats.is_open and not coming:
                return HTMLResponse(shut(CLOSED), 403)
            request.session.update({"in": True} | coming)
            seats.seat(request.session)
            return RedirectResponse(to, 303)
        guesses.note(address)
        return HTMLResponse(shut(wrong), 401)

    async def enter(request: Request) -> Response:
        said = parse_qs((await body_of(request, 1000)).decode("utf-8", "replace"))
        given, to = (said.get(name, [""])[0].strip() for name in ("password", "to"))
        to = to if re.match(r"/(?![/\\])", to) else f"{above}/"  # of this server
        return come_in(request, given, password, to, WRONG)

    async def teach(request: Request) -> Response:
        return come_in(request, request.path_params["word"], teacher, "../desk", "", teaches=True)

    class Door:
        """Lets in who has said the password once."""

        def __init__(self, app: ASGIApp):
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            path = scope.get("path", "")
            asks = path == "/enter" or path.startswith("/teacher/")
            if not password or scope["type"] == "lifespan" or asks or self.is_open_to(scope["session"]):
                await self.app(scope, receive, send)
            elif scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            elif seats.is_open:
                await HTMLResponse(shut(), 401)(scope, receive, send)
            else:
                await HTMLResponse(shut(CLOSED), 403)(scope, receive, send)

        def is_open_to(self, session: dict) -> bool:
            return "in" in session and (seats.teaches(session) or (seats.is_open and seats.has_seat(session)))

    return Starlette(
        routes=[
            Route("/", course),
            Route("/line", waiting),
            Route("/here/{lesson}/{station:int}", here, methods=["POST"]),
            Route("/name", name, methods=["POST"]),
            Route("/enter", enter, methods=["POST"]),
            Route("/teacher/{word}", teach),
            *desk(seats, address, password, managers),
            *wall(seats),
            Mount("/", seats),
        ],
        middleware=[
            Middleware(Below, path=above),
            Middleware(
                SessionMiddleware,
                secret_key=_kept(folder, "secret", 32),
                session_cookie="grpo_class",
                max_age=7 * 24 * 3600,
                path=above or "/",
                **kept,
            ),
            Middleware(Door),
        ],
    )


class Below:
    """Takes away the path that the class is shown below, where the server in front has left it: all links are relative."""

    def __init__(self, app: ASGIApp, path: str):
        self.app, self.path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.path and scope.get("path", "").startswith(f"{self.path}/"):
            scope = scope | {"path": scope["path"].removeprefix(self.path)}
        await self.app(scope, receive, send)


class Guesses:
    """The wrong passwords of the last minute, and the addresses they came from: whoever guesses shall guess slowly."""

    def __init__(self):
        self.wrong: list[tuple[float, str]] = []

    def note(self, address: str) -> None:
        """One more."""
        self.wrong.append((time.monotonic(), address))

    def are_too_many(self, address: str) -> bool:
        """Whether nobody there is listened to for a while, right or wrong."""
        self.wrong = [(when, who) for when, who in self.wrong if time.monotonic() - when < 60]
        return sum(who == address for _, who in self.wrong) >= MOST_GUESSES


def _kept(folder: Path, name: str, bytes: int) -> str:
    """A secret that a server started again still has: what signs the cookies, the password, the teacher's word."""
    path = folder / name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(bytes))
    return path.read_text(encoding="utf-8")


def _share_the_heap() -> None:
    """Have all threads share two heaps: glibc gives each its own, and every training, a thread, left 100 MB in one."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(-8, 2)  # M_ARENA_MAX


def _listen(host: str, port: int) -> socket.socket:
    """The port, taken before half a minute goes into loading; nobody is answered before the server listens."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":  # elsewhere it would let two servers have it
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    return listener


def _why_not(error: Exception, host: str, port: int) -> str:
    """Why a class cannot be served there, and what to change."""
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"--port {port}: another server has this port. End it, or take another: --port {port + 1}."
    return f"--host {host} --port {port}: a class cannot be served there ({error})."


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
    parser = argparse.ArgumentParser(prog="python -m grpo_lessons class", description="One server for a class.")
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
    parser.add_argument(
        "--site",
        default="",
        help="where the course stands as a web page, for the exercises, as in https://…/grpo-lessons",
    )
    parser.add_argument(
        "--base-url",
        default="",
        metavar="URL",
        help="where a server in front of this one shows the class, which passes websockets on, too, as in "
        "https://example.org/grpo; other sites' pages can have it in frames where that begins with https",
    )
    options = parser.parse_args(argv)
    for name, address in (("site", options.site), ("base-url", options.base_url)):
        if address and not re.match(r"https?://[^\s()<>]+$", address):
            parser.error(f"--{name} {address}: expected an address that begins with https:// or http://")
    for name in ("steps", "minutes"):
        if (value := getattr(options, name)) is not None and value <= 0:
            parser.error(f"--{name} {value}: expected more than 0; leave it out for no limit")
    try:
        listener = _listen(options.host, options.port)
    except (OSError, OverflowError) as error:
        parser.exit(2, f"{_why_not(error, options.host, options.port)}\n")
    _share_the_heap()
    alone = options.host in ("127.0.0.1", "localhost", "::1") and not options.base_url
    folder = runs_folder() / "class"
    password = options.password or (None if alone else _kept(folder, "password", 4))
    teacher = _kept(folder, "teacher", 4) if password else None
    base = options.base_url.rstrip("/")
    address = base or f"http://{_on_the_network(options.host)}:{options.port}"
    limits = options.steps, options.minutes
    app = create_app(folder, password, teacher, options.show_code, *limits, options.site, address, base)
    ready = Plan(Settings(), [format_reward], sums(512), held_out=sums(96))
    print("Loading torch and TRL, and measuring the pocket model …", flush=True)
    PACE.get_ready(ready)
    gc.freeze()  # half a million objects of the libraries: every full collection took 0.14 s over them
    print(f"The class is at {address}" + (f", its password: {password}" if password else ""), flush=True)
    if teacher:
        print(f"Yours, with the speaker's notes and the wall: {address}/teacher/{teacher}", flush=True)
    else:
        print(f"The teacher's page: {address}/desk", flush=True)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
