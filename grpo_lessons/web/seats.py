"""The seats of a class: who may come in, which lessons each has open, and that nobody asks what no control can ask."""

import asyncio
import json
import secrets
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from grpo_lessons.lesson.seat import Seat


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
            limits = OF_AN_ENGINE if scope["path"].endswith("/set_model_value") else OF_A_CONTROL
            body = await body_of(Request(scope, receive), limits[0])
            if problem := _unfit(body, *limits):
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
