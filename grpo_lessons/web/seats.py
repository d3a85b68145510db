"""The seats of a class: who may come in, which lessons each has open, and that nobody asks what no control can ask."""

import asyncio
import json
import re
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from inspect import iscoroutinefunction
from pathlib import Path
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from msgspec import MsgspecError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnected

from grpo_lessons.here import NOTEBOOKS
from grpo_lessons.lesson.marimo_inside import has_file
from grpo_lessons.lesson.seat import Seat

# All that a lesson's page asks of marimo. The rest is closed, whatever marimo may add: some of it knows no seats, as `/sse`,
# and some names this machine's files. A class's test asks every route that marimo has.
OF_A_PAGE = {
    "GET": r"/|/health|/assets/.+|/@file/.+|/public-files-sw\.js|/favicon\.ico|/manifest\.json|/logo\.png"
    r"|/apple-touch-icon\.png|/android-chrome-(192x192|512x512)\.png",
    "POST": r"/api/kernel/(set_ui_element_value|set_model_value)|/api/export/html",
    "websocket": r"/ws",
}
TEACHES = "teaches"  # a file in the folder of a teacher's seat: what they try is not the class's
LEAVE = 4003  # what a page hears whose seat is closed; `tab.html` knows it


class Seats:
    """The learners of a class: who may come in, which lessons they have open, and that each sees only their own.

    Around every lesson it does what `marimo run` leaves to others. A session belongs to the browser that opened it;
    a page that is loaded anew finds the session it had; and sessions open one after the other, which is sooner for
    nearly all of them and keeps CPython 3.11 from failing in `ast.parse`, whose depth counter threads share.

    A class that is closed and opened anew is another group: its seats have a folder of their own, and what the group before
    has left lies where it lay, and is shown to nobody.
    """

    def __init__(
        self,
        app: ASGIApp,
        folder: Path,
        most_steps: int | None = None,
        most_minutes: float | None = None,
        all_teach: bool = False,
        site: str = "",
        base: str = "",
    ):
        self.app, self.base, self.home, self.group, self.is_open = app, base, folder, _group(folder), True
        self.limits, self.all_teach = (most_steps, most_minutes, site), all_teach
        self.seats: dict[int, Seat] = {}
        self.sessions: dict[tuple, str] = {}  # marimo's name for a session: by the same, and by the names pages give it
        self.opening = asyncio.Lock()
        self.pages: dict[object, tuple[Seat, Callable[[], Awaitable]]] = {}  # of each: whose it is, and what closes it

    @property
    def folder(self) -> Path:
        """Where the seats of this group are kept: the first group's right in the class's folder."""
        return self.home if self.group == 1 else self.home / f"group-{self.group}"

    def has_seat(self, session: dict) -> bool:
        """Whether a browser has a seat in this group."""
        return "seat" in session and session.get("group", 1) == self.group

    def teaches(self, session: dict) -> bool:
        """Whether it is a teacher's browser."""
        return self.all_teach or session.get("teaches", False)

    def for_teachers(self, endpoint: Callable) -> Callable:
        """The same endpoint, that answers a teacher only, and does nothing that another site's page asks for."""

        async def answer(request: Request) -> Response:
            origin = request.headers.get("origin") if request.method == "POST" else None
            # A server in front may keep the first to itself.
            ours = request.headers.get("host"), urlsplit(self.base).netloc
            is_ours = origin is None or (urlsplit(origin).netloc or origin) in ours
            if not (is_ours and self.teaches(request.session)):
                return JSONResponse({"error": "This is the teacher's."}, 403)
            return await (endpoint(request) if iscoroutinefunction(endpoint) else run_in_threadpool(endpoint, request))

        return answer

    async def close(self, everybody: bool = False) -> None:
        """Let nobody in but a teacher, close the pages that are open, or `everybody`'s, and stop their trainings."""
        self.is_open = False
        going = [leave() for seat, leave in self.pages.values() if everybody or not seat.is_teacher]
        if going:  # a phone that sleeps says nothing
            await asyncio.wait([asyncio.create_task(each) for each in going], timeout=1)
        for seat in list(self.seats.values()):
            if everybody or not seat.is_teacher:
                for training in seat.trainings:
                    training.stop()

    async def open_anew(self) -> None:
        """Fresh seats for another group; those of the group before are gone, its finished trainings lie where they lay."""
        await self.close(everybody=True)
        self.group += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.home / "group").write_text(str(self.group), encoding="utf-8")
        self.seats, self.sessions, self.is_open = {}, {}, True

    def number(self, session: dict) -> int:
        """The seat of a browser; the next free one for a browser that has none."""
        while not self.has_seat(session):
            taken = [int(path.name[5:]) for path in self.folder.glob("seat-*") if path.name[5:].isdigit()]
            number = max(taken, default=0) + 1
            try:
                (self.folder / f"seat-{number}").mkdir(parents=True)
            except FileExistsError:
                continue
            session.update({"seat": number, "group": self.group})
            if session.get("teaches"):
                (self.folder / f"seat-{number}" / TEACHES).touch()
        return session["seat"]

    def seat(self, session: dict) -> Seat:
        """The seat of a browser that has a number; it is there, whichever page of the class it asks for."""
        number = self.number(session)
        seat = self.seats.setdefault(number, Seat(number, self.folder / f"seat-{number}", *self.limits))
        seat.is_teacher = self.teaches(session)
        seat.look()
        return seat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a lesson's requests on to marimo, each with the session that belongs to it."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        lesson, _, path = scope["path"].removeprefix(scope.get("root_path", "")).lstrip("/").partition("/")
        path, method = f"/{path}", scope.get("method", "websocket").replace("HEAD", "GET")
        asks = path == "/" and method == "GET"  # only a page gives a seat: what it asks for next brings it along
        if not re.fullmatch(OF_A_PAGE.get(method, ""), path) or not (asks or self.has_seat(scope["session"])):
            return await _refuse("No page of a lesson asks for this.", 403)(scope, receive, send)
        if path.startswith("/@file/") and not re.fullmatch(r"/@file/[0-9]{1,12}-(.+)", path):
            return await _refuse("There is no such file.", 404)(scope, receive, send)
        if path.startswith("/@file/") and not has_file(path.partition("-")[2]):
            return await _refuse("There is no such file.", 404)(scope, receive, send)
        seat = self.seat(scope["session"])
        if method == "websocket":
            return await self._page(scope, receive, send, seat, lesson)
        headers, owned = [], None
        for name, value in scope["headers"]:
            if name == b"marimo-session-id":
                owned = self.sessions.get((seat.number, lesson, "named", value.decode("latin-1")))
                if owned is None:
                    return await _refuse("This session is not yours.", 403)(scope, receive, send)
                value = owned.encode()
            headers.append((name, value))
        if method == "POST":
            if owned is None:
                return await _refuse("A page of a lesson says which session it means.", 403)(scope, receive, send)
            limits = OF_AN_ENGINE if path.endswith("/set_model_value") else OF_A_CONTROL
            body = await body_of(Request(scope, receive), limits[0])
            if problem := _unfit(body, *limits):
                return await _refuse(problem, 413)(scope, receive, send)
            receive = _again(body, receive)
        elif asks:
            scope = scope | {"query_string": b""}  # marimo would look for a file that it names; a page reads its own
        if asks or path == "/api/export/html":
            send = _without_paths(send)
        with suppress(MsgspecError):  # marimo has answered that the body is none, and would fill the log with it
            await self.app(scope | {"headers": headers}, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send, seat: Seat, lesson: str) -> None:
        query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
        name = query.get("session_id", "")
        key = (seat.number, lesson, "tab", query.pop("tab", name))
        own = self.sessions.setdefault(key, f"s_{secrets.token_hex(8)}")  # a name that nobody else can know
        query["session_id"] = self.sessions[seat.number, lesson, "named", name] = own
        for word in ("file", "kiosk", "access_token"):  # marimo's own, and no page's of a class
            query.pop(word, None)
        scope = scope | {"query_string": urlencode(query).encode(), "meta": {"seat": seat}}
        first = await receive()
        await send({"type": "websocket.accept"})  # at once: it may be some seconds before it is this one's turn
        seat.come()
        opened, is_closed, has_left = asyncio.Event(), False, False

        async def leave() -> None:
            nonlocal is_closed, has_left
            is_closed = has_left = True
            with suppress(Exception):  # it has gone itself
                await send({"type": "websocket.close", "code": LEAVE})

        async def hear() -> dict:
            nonlocal first, is_closed
            message, first = first or await receive(), None
            is_closed |= message["type"] == "websocket.disconnect" and message.get("code") in (1000, 1001)
            return message

        async def say(message: dict) -> None:
            text = message.get("text") or ""
            if '"completed-run"' in text[:200] or '"reconnected"' in text[:200]:
                opened.set()
            if message["type"] == "websocket.accept" or ('"banner"' in text[:200] and "Reconnected" in text):
                return  # accepted already; and whoever reloads a page knows that
            if has_left:
                return
            await send(message)

        async def page() -> None:
            try:
                await self.app(scope, hear, say)
            finally:
                opened.set()

        self.pages[page] = seat, leave
        try:
            async with self.opening:
                serving = asyncio.create_task(page())
                with suppress(TimeoutError):
                    await asyncio.wait_for(opened.wait(), 15)
            with suppress(WebSocketDisconnected):  # it left in the moment before marimo would hear it
                await serving
        finally:
            del self.pages[page]
            seat.go(is_closed)


def _group(folder: Path) -> int:
    """Which group a class is at: they are counted from 1."""
    with suppress(OSError, ValueError):
        return int((folder / "group").read_text(encoding="utf-8"))
    return 1


# Bytes of a request, and the largest number in it: a lesson's largest are far below. An engine in a learner's browser tells how
# many tokens it has seen, and hands over what it has learnt.
OF_A_CONTROL, OF_AN_ENGINE = (100_000, 10_000), (4_000_000, 1_000_000)


def _unfit(body: bytes, most_bytes: int, most: int) -> str:
    """What is wrong with a request that no control of a lesson can have sent; "" if nothing is.

    >>> _unfit(b'{"values": [7]}', *OF_A_CONTROL), _unfit(b'{"values": [1e12]}', *OF_A_CONTROL)
    ('', 'A value of 1e12: expected at most 10,000.')
    """
    if len(body) > most_bytes:
        return f"The request is too long: expected at most {most_bytes:,} bytes."

    def check(number: str) -> float:
        if not abs(value := float(number)) <= most:
            raise ValueError(f"A value of {number[:20]}: expected at most {most:,}.")
        return value

    try:
        json.loads(body or b"null", parse_int=check, parse_float=check, parse_constant=check)
    except RecursionError:
        return "Nested too deep."
    except ValueError as error:
        return str(error)
    return ""


def _refuse(why: str, status: int):
    """An answer, to whatever was asked: a websocket that is not accepted hears 403."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        await JSONResponse({"error": why}, status)(scope, receive, send)

    return answer


def _without_paths(send: Send) -> Send:
    """A send that leaves out of a page where the course lies on this machine: marimo tells it an editor."""
    place = str(NOTEBOOKS.parent)
    told = sorted(
        {place, place.replace("\\", "\\\\"), NOTEBOOKS.parent.as_posix(), quote(place), quote(place, "")}, key=len
    )
    start, page = {}, b""

    async def say(message: dict) -> None:
        nonlocal start, page
        if message["type"] == "http.response.start":
            start = message
            return
        page += message.get("body", b"")
        if not message.get("more_body"):
            for each in reversed(told):
                page = page.replace(each.encode(), b"")
            headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
            length = [(b"content-length", str(len(page)).encode())] if page else []
            await send(start | {"headers": headers + length})
            await send({"type": "http.response.body", "body": page})

    return say


async def body_of(request: Request, most: int) -> bytes:
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
