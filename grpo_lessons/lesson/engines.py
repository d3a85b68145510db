"""What carries the calls of a training to the engine in the reader's browser, and its answers back.

`Beside` where Python runs in the page itself, `Across` where it runs elsewhere: on the reader's machine, or on a class's server.
"""

import asyncio
import json
import math
import time
from collections.abc import Callable
from itertools import count

import marimo as mo

from grpo_lessons import here, pocket
from grpo_lessons.pocket import scripts

ANEW = "The page in which it trained was loaded anew, and what it had learnt is gone. Train begins another training."
PATIENCE = 30  # seconds in which a page answers that somebody still wants something of
NO_SIMD = (
    "This browser is too old to train the model, which needs WebAssembly SIMD. The recorded runs stay, to be replayed."
)


class EngineError(ValueError):
    """What the worker could not do, in its words."""


class Beside:
    """The engine in a worker of the page in which Python runs, too; `end` gives its memory back."""

    element = None  # nothing has to stand in the page

    def __init__(self):
        self.worker, self.waiting, self.ears, self.address = None, {}, (), ""

    @property
    def cores(self) -> int:
        """How many engines this computer can let run at once."""
        from js import navigator

        return _few(navigator.hardwareConcurrency)

    def another(self) -> "Beside":
        """One more engine."""
        return Beside()

    async def call(self, name: str, given: dict, should_stop: Callable[[], bool] = lambda: False) -> dict | bytes:
        """What `worker.js` answers. Raises: EngineError for what it throws, or where a file of the model does not come."""
        from js import JSON

        if name == "start":
            self.end()
            await self._begin()
        if self.worker is None:
            raise EngineError("The training was ended.")
        future = asyncio.get_running_loop().create_future()
        self.waiting[number := len(self.waiting) + 1] = future
        message = JSON.parse(json.dumps({"id": number, "call": name, "given": given}))
        if name == "start":
            message.given.weights = await fetched("model.safetensors", "arrayBuffer")
            message.given.tokenizer = JSON.parse(await fetched("tokenizer.json", "text"))
        self.worker.postMessage(message)
        return await future

    async def _begin(self) -> None:
        from js import URL, Blob, Worker
        from pyodide.ffi import create_proxy, to_js

        self.address = URL.createObjectURL(Blob.new(to_js([await fetched("engine.js", "text")])))
        self.worker = Worker.new(self.address)
        self.ears = self.ears or (  # of all workers: nobody frees a proxy
            create_proxy(lambda event: self._hear(event.data)),
            create_proxy(lambda event: self.end(str(event.message or "The browser did not start the training."))),
        )
        self.worker.onmessage, self.worker.onerror = self.ears

    def _hear(self, data) -> None:
        from js import JSON

        if hasattr(data, "progress") or (future := self.waiting[data.id]).done():
            return
        if hasattr(data, "error"):
            future.set_exception(EngineError(NO_SIMD if data.error.name == "NoSIMD" else f"{data.error.message}"))
        else:
            is_file = hasattr(data.result, "to_bytes")
            future.set_result(data.result.to_bytes() if is_file else json.loads(JSON.stringify(data.result)))

    def end(self, why: str = "The training was ended.") -> None:
        """End the worker at once, whatever it does."""
        if self.worker is not None:
            from js import URL

            self.worker.terminate()
            URL.revokeObjectURL(self.address)  # with it goes the text of the engine
        self.worker, waiting, self.waiting = None, self.waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(EngineError(why))


async def fetched(name: str, kind: str):
    """A file of the pocket model, as a JavaScript object."""
    from js import fetch

    try:
        answer = await fetch(here.beside(f"public/pocket/{name}"))
        if answer.ok:
            return await getattr(answer, kind)()
        why = answer.status
    except Exception as error:  # JavaScript's, of the network
        why = error
    raise EngineError(f"The model could not be loaded ({name}: {why}).") from None


class Across:
    """The engine in the reader's browser, where Python runs elsewhere: over the messages of a widget that shows nothing.

    `element` must stand in the page, and be made in a cell that runs once: marimo takes a widget from the page when the cell
    that has made it runs anew. A page that is loaded anew has another engine, which has learnt nothing: what the old one was
    asked fails.
    """

    def __init__(self, widget: "_Carrier | None" = None, name: int = 0):
        self.widget, self.name = widget or _Carrier(), name

    @property
    def element(self) -> mo.Html:
        """What must stand in the page, at whatever place."""
        return self.widget.element

    @property
    def cores(self) -> int:
        """How many engines the reader's computer can let run at once; 1 while the page is not there."""
        return self.widget.cores

    def another(self) -> "Across":
        """One more engine in the same page."""
        return Across(self.widget, next(self.widget.names))

    async def call(self, name: str, given: dict, should_stop: Callable[[], bool] = lambda: False) -> dict | bytes:
        """What `worker.js` answers. Raises: EngineError for what it throws, and where the page does not answer."""
        began, future = time.monotonic(), None
        while future is None or not future.done():
            if future is None and self.widget.is_there:
                future = self.widget.ask(self.name, name, given)
            await (asyncio.wait({future}, timeout=1) if future else asyncio.sleep(0.05))
            if should_stop() and time.monotonic() - began > PATIENCE:
                raise EngineError("The page in which it trained does not answer any more.")
        return future.result()

    def end(self) -> None:
        """End the worker at once, whatever it does."""
        self.widget.tell(self.name, "end", {})


class _Carrier:
    """The widget, and what is waited for."""

    def __init__(self):
        import anywidget

        class Carrier(anywidget.AnyWidget):
            _esm = scripts.widget("across")

        self.widget = Carrier()
        self.element = mo.ui.anywidget(self.widget)
        self.widget.on_msg(lambda widget, said, buffers: self._hear(said, buffers))
        self.numbers, self.names = count(1), count(1)
        self.waiting, self.is_there, self.has_files, self.cores = {}, False, False, 1

    def ask(self, of: int, name: str, given: dict) -> asyncio.Future:
        """Ask one of the engines; called in a thread with a loop of its own."""
        files = []
        if name == "start" and not self.has_files:
            files = [(pocket.PATH / file).read_bytes() for file in ("model.safetensors", "tokenizer.json")]
            self.has_files = True
        loop, number = asyncio.get_running_loop(), next(self.numbers)
        future = loop.create_future()
        self.waiting[number] = name, given, loop, future
        self.tell(of, name, given, files, number)
        return future

    def tell(self, of: int, name: str, given: dict, files: list[bytes] | None = None, number: int = 0) -> None:
        """Send a call."""
        self.widget.send({"id": number, "of": of, "call": name, "given": given}, files or [])

    def _hear(self, said: dict, buffers: list) -> None:
        if said.get("isNew"):
            self.is_there, self.has_files, self.cores = True, False, _few(said.get("cores"))
            left, self.waiting = self.waiting, {}
            for _, _, loop, future in left.values():
                _tell(loop, future, EngineError(ANEW))
        elif asked := self.waiting.pop(said.get("id"), None):
            name, given, loop, future = asked
            try:
                _tell(loop, future, _believed(name, given, said, buffers))
            except EngineError as error:
                _tell(loop, future, error)


def _few(cores: object) -> int:
    """How many engines at once: a page has to answer meanwhile, and each takes some 60 MB."""
    return max(1, min(4, cores)) if isinstance(cores, int) else 1


def _tell(loop: asyncio.AbstractEventLoop, future: asyncio.Future, said: dict | bytes | EngineError) -> None:
    def settle() -> None:
        if not future.done():
            future.set_exception(said) if isinstance(said, EngineError) else future.set_result(said)

    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)


def _believed(name: str, given: dict, said: dict, buffers: list) -> dict | bytes:
    """What a browser has answered, if the engine can have said it: a class's server does not know who sits there.

    Raises: EngineError.

    >>> _believed("generate", {"prompts": ["a"]}, {"result": {"texts": ["b"], "ids": [[7]], "more": 1}}, [])
    {'texts': ['b'], 'ids': [[7]]}
    """
    if "error" in said:
        raise EngineError(NO_SIMD if said.get("name") == "NoSIMD" else str(said["error"]))
    result = said.get("result") or {}
    try:
        if name == "save":
            return bytes(buffers[0])
        if name in ("sample", "generate"):
            texts, ids = result["texts"], result["ids"]
            if not len(texts) == len(ids) > 0 or len(texts) % len(given["prompts"]):
                raise ValueError(f"{len(texts)} replies to {len(given['prompts'])} prompts")
            return {"texts": [str(text) for text in texts], "ids": [[int(id) for id in each] for each in ids]}
        if name == "learn":
            known = {str(each): None if value is None else float(value) for each, value in result["metrics"].items()}
            if wrong := [each for each, value in known.items() if value is not None and not math.isfinite(value)]:
                raise ValueError(f"{wrong[0]} is {known[wrong[0]]}")
            return {"metrics": known | {"step": int(known["step"])}, "tokens": result.get("tokens")}
        return {}
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise EngineError(f"The page gave no answer of its engine's ({name}: {error!r}).") from None
