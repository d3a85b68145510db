"""A second Python in a page, for what a reader has written: a worker of its own, which is ended when it does not come to an end.

It is started when it is first asked. `grpo_lessons.apart` is what it is asked there.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache

from grpo_lessons import here
from grpo_lessons.apart import imported
from grpo_lessons.calling import ask
from grpo_lessons.lesson.engines import EngineError, fetched
from grpo_lessons.rewards import Reward

LIMIT = 5  # seconds for one call
STARTS = 90  # seconds until it is there, on a slow machine; and until there is what a reader's code imports
TURNS = 4  # of the page's own loop in a second: while that is busy nobody listens, and no time is counted
ENDED = (
    f"Your code did not come to an end in {LIMIT} s: a pattern that backtracks, a loop, a sleep? "
    "It was ended; nothing else was."
)


class CannotStart(EngineError):
    """This page can have no second Python."""


class SecondPython:
    """One for all of a page, a call at a time: what is ended takes no other call with it, for the next one starts another."""

    def __init__(self):
        self.worker, self.why, self.turn = None, "", asyncio.Lock()
        self.heard, self.printed = asyncio.Queue(), ""
        self._free = lambda: None

    async def call(
        self, asked: dict, tell: Callable[[str, int], None] = lambda phase, seconds: None, wanted=lambda: True
    ) -> tuple[dict, str]:
        """What `apart.answer` says, {"error": …} for what the code raises or where it was ended; and what it has printed.

        Args:
            asked: see `apart.answer`.
            tell: is called with "starting" or "trying", and for how many seconds by now.
            wanted: whether somebody still wants it, when its turn has come; else nothing is done.

        Raises: CannotStart.
        """
        async with self.turn:
            if not wanted():
                return {}, ""
            if self.worker is None:
                await self._start(tell)
            from js import JSON

            imports = "\n".join(f"import {name}" for name in imported(asked["code"]))
            message = {"imports": imports, "request": json.dumps(asked)}
            self.worker.postMessage(JSON.parse(json.dumps(message)))
            return await self._answer(tell)

    async def _answer(self, tell: Callable[[str, int], None]) -> tuple[dict, str]:
        self.printed, has_begun = "", False
        while (said := await self._next("trying", LIMIT if has_begun else STARTS, tell)) is not None:
            if "answer" in said:
                return json.loads(said["answer"]), self.printed
            if "broken" in said:
                self.end()
                return {"error": f"Your code has brought its Python down: {said['broken']}"}, self.printed
            has_begun = "begun" in said
        self.end()
        return {"error": ENDED if has_begun else f"What your code imports did not come in {STARTS} s."}, self.printed

    async def _next(self, phase: str, seconds: int, tell: Callable[[str, int], None]) -> dict | None:
        """What the worker says next; None if nothing."""
        for turn in range(TURNS * seconds):
            if turn % TURNS == 0:
                tell(phase, turn // TURNS)
            with suppress(TimeoutError):
                return await asyncio.wait_for(self.heard.get(), 1 / TURNS)
        return None

    async def _start(self, tell: Callable[[str, int], None]) -> None:
        if self.why:
            raise CannotStart(self.why)
        try:
            await self._begin()
            said = await self._next("starting", STARTS, tell) or {"broken": f"it did not start in {STARTS} s"}
        except Exception as error:  # a policy, a file that does not come: whatever JavaScript raises
            said = {"broken": str(error)}
        if "ready" not in said:
            self.end()
            self.why = said.get("broken", "it did not start")
            raise CannotStart(self.why)

    async def _begin(self) -> None:
        from js import JSON, URL, Blob, Worker, encodeURIComponent, origin
        from pyodide.ffi import create_proxy, to_js

        source, kind = await fetched("second_python.js", "text"), "text/javascript"
        if origin == "null":  # a sandboxed frame: a module of a blob would not start there, and not say so
            address = f"data:{kind},{encodeURIComponent(source)}"
        else:
            address = URL.createObjectURL(Blob.new(to_js([source]), JSON.parse(json.dumps({"type": kind}))))
        self.heard = asyncio.Queue()
        ears = (
            create_proxy(lambda event: self._hear(json.loads(JSON.stringify(event.data)))),
            create_proxy(lambda event: self._hear({"broken": str(event.message or "the browser refused")})),
        )
        self.worker = worker = Worker.new(address, JSON.parse('{"type": "module"}'))
        worker.onmessage, worker.onerror = ears

        def free() -> None:
            worker.onmessage = worker.onerror = None
            worker.terminate()
            URL.revokeObjectURL(address)
            for each in ears:
                each.destroy()

        self._free = free
        worker.postMessage(JSON.parse(json.dumps({"index": here.beside("pyodide/")})))

    def _hear(self, said: dict) -> None:
        if "printed" in said:  # a loop may print a thousand times in a moment
            self.printed += said["printed"]
        else:
            self.heard.put_nowait(said)

    def end(self) -> None:
        """End the worker at once, whatever it does."""
        free, self.worker, self._free = self._free, None, lambda: None
        free()


@cache
def second_python() -> SecondPython:
    """The one of this page."""
    return SecondPython()


class ReadersReward:
    """A reader's reward in a training: it is asked in the second Python, or where there is none, in this one.

    Args:
        function: what `apart.answer` is told of it: `name`, `code` and `luggage`.
        here: gives the same reward, as far as it can be run here.
    """

    def __init__(self, function: dict, here: Callable[[], Reward]):
        self.__name__ = self.__qualname__ = function["name"]
        self.function, self.here = function, here

    def __call__(self, /, **seen) -> list:
        raise TypeError(f"{self.__name__} can only be waited for")

    async def refusal(self, columns: list[str]) -> str | None:
        """Why no data set with these columns can be trained on by it."""
        return (await self._told({"columns": columns})).get("complaint")

    async def scores(self, seen: dict) -> list[float | None]:
        """What it pays. Raises: EngineError with what is wrong, in words."""
        said = await self._told({"seen": seen})
        return said["scores"] if "scores" in said else ask(self.here(), **seen)

    async def _told(self, more: dict) -> dict:
        try:
            said, _ = await second_python().call(self.function | more)
        except CannotStart:
            return {}
        if "error" in said:
            raise EngineError(f"Your reward {self.__name__}: {said['error']}")
        return said


def is_waited_for(reward: Reward) -> bool:
    """Whether a reward has to be waited for, and is asked by its `scores`."""
    return isinstance(reward, ReadersReward)
