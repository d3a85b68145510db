"""A class's server, and learners who come to it as a browser's page does: a cookie, marimo's websocket, its requests."""

import asyncio
import base64
import html
import json
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode

import httpx2 as httpx  # what huggingface_hub brings
import websockets

from grpo_lessons import pocket
from tests.support import engine
from tests.support.browser import ROOT, free_port


@contextmanager
def classroom(runs: Path, *options: str) -> Iterator[str]:
    """`python -m grpo_lessons class`, with a line for the device and runs of its own; yields its host and port, then kills it."""
    port = free_port()
    runs.mkdir(parents=True, exist_ok=True)
    room = os.environ | {"GRPO_LESSONS_RUNS": str(runs), "TMPDIR": str(runs)}
    command = [sys.executable, "-m", "grpo_lessons", "class", "--port", str(port), *options]
    with (runs / "server.log").open("a") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=room, stdout=log, stderr=log)
    try:
        for _ in range(3000):  # a busy machine loads torch for minutes
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def run(coroutine):
    """What a coroutine returns, run in a thread of its own: Playwright keeps a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


class Learner:
    """One tab of one browser. `outputs` holds what the page would show, by cell.

    `trainer`: the engine that trains in that browser; None for a browser that has none.
    """

    def __init__(
        self,
        host: str,
        lesson: str = "format",
        cookie: str = "",
        tab: str = "first",
        trainer: engine.Engine | None = None,
    ):
        self.host, self.lesson, self.cookie, self.tab, self.trainer = host, lesson, cookie, tab, trainer
        self.answers: set[asyncio.Task] = set()
        self.saved = b""
        self.name = "s_" + "".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=6))
        fresh = httpx.Limits(max_keepalive_connections=0)  # the server may be closing a kept one: a browser asks again
        self.http = httpx.AsyncClient(base_url=f"http://{host}", timeout=60, limits=fresh)
        self.outputs: dict[str, str] = {}
        self.received, self.runs = [], 0
        self.changed = asyncio.Event()

    async def open(self) -> float:
        """Open the lesson and wait until it is there; seconds that it took."""
        began = time.monotonic()
        if not self.cookie:
            answer = await self.http.get("/")
            self.cookie = f"grpo_class={answer.cookies['grpo_class']}"
        address = f"ws://{self.host}/{self.lesson}/ws?{urlencode({'session_id': self.name, 'tab': self.tab})}"
        self.socket = await websockets.connect(address, max_size=None, additional_headers={"Cookie": self.cookie})
        self.reader = asyncio.create_task(self._read())
        await self.until(lambda: "What you now know" in self.text and "u003eTrain" in self.text, 120)
        return time.monotonic() - began

    async def _read(self) -> None:
        async for message in self.socket:
            self.received.append(message)
            said = json.loads(message)
            if said["op"] == "cell-op" and said["data"].get("output"):
                self.outputs[said["data"]["cell_id"]] = str(said["data"]["output"].get("data"))
            self.runs += said["op"] == "completed-run"
            if self.trainer and said["op"] == "model-lifecycle":
                answer = asyncio.create_task(self._carry_out(said["data"]["model_id"], said["data"]["message"]))
                self.answers.add(answer)
                answer.add_done_callback(self.answers.discard)
            self.changed.set()

    async def _carry_out(self, model: str, message: dict) -> None:
        """What `across.js` does."""
        if message["method"] == "open" and message["state"].get("_anywidget_id", "").endswith("Carrier"):
            return await self.answer(model, {"isNew": True})
        if message["method"] != "custom" or message["content"]["call"] == "end":
            return
        content, files = message["content"], [base64.b64decode(each) for each in message["buffers"]]
        if content["call"] == "start":
            asked = [(pocket.PATH / name).read_bytes() for name in ("model.safetensors", "tokenizer.json")]
            assert files in ([], asked)  # the second training of a page has them
        result = await asyncio.to_thread(self.trainer.carry_out, content["call"], content["given"])
        if isinstance(result, bytes):
            self.saved = result
            await self.answer(model, {"id": content["id"]}, result)
        else:
            await self.answer(model, {"id": content["id"], "result": result})

    async def answer(self, model: str, content: dict, *buffers: bytes) -> httpx.Response:
        """A message of a widget."""
        files = [base64.b64encode(each).decode() for each in buffers]
        body = {"modelId": model, "message": {"method": "custom", "content": content}, "buffers": files}
        return await self.request("set_model_value", body)

    async def close(self) -> None:
        """Close the tab."""
        await self.socket.close()
        await self.reader

    @property
    def seat(self) -> int:
        """The number in the cookie, which is signed and not secret."""
        return json.loads(base64.b64decode(self.cookie.split("=", 1)[1].split(".")[0]))["seat"]

    @property
    def text(self) -> str:
        """All that the page shows."""
        return html.unescape(" ".join(self.outputs.values()))

    async def until(self, true, timeout: float = 60) -> None:
        """Wait until something is so. Raises: TimeoutError."""
        async with asyncio.timeout(timeout):
            while not true():
                self.changed.clear()
                with suppress(TimeoutError):  # what is so may be of somebody else
                    await asyncio.wait_for(self.changed.wait(), 0.5)

    async def sees(self, pattern: str, timeout: float = 60) -> re.Match:
        """Wait until the page shows what the pattern describes."""
        await self.until(lambda: re.search(pattern, self.text), timeout)
        return re.search(pattern, self.text)

    def find(self, label: str) -> str:
        """The name that marimo gives the control with a label."""
        for output in self.outputs.values():
            for name, control in re.findall(r"<marimo-ui-element object-id='([^']*)'[^>]*>(<marimo-[^>]*>)", output):
                if label in html.unescape(control):
                    return name
        raise KeyError(label)

    async def request(self, path: str, body: dict, session: str = "") -> httpx.Response:
        """A request that a page of the lesson makes."""
        headers = {"Cookie": self.cookie, "Marimo-Session-Id": session or self.name}
        return await self.http.post(f"/{self.lesson}/api/kernel/{path}", json=body, headers=headers)

    async def set(self, label: str, value) -> float:
        """Move a control and wait until the page has changed; seconds that it took."""
        before, began = self.runs, time.monotonic()
        answer = await self.request("set_ui_element_value", {"objectIds": [self.find(label)], "values": [value]})
        assert answer.status_code == 200, answer.text
        await self.until(lambda: self.runs > before)
        return time.monotonic() - began

    async def train(self, by_trl: bool = False) -> None:
        """Press Train; `by_trl`: on the class's machine, which a teacher may choose."""
        if by_trl:
            await self.set("by TRL, on this machine", "by TRL, on this machine")
            await self.until(
                lambda: "Trained here, in your browser" not in self.text
            )  # marimo does what comes at once at once
        await self.set("Train", 1)
