"""The engine of the page, under node and in Chromium: the very script a worker is made of, spoken to as a page does."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from grpo_lessons import pocket
from grpo_lessons.calling import ask
from grpo_lessons.pocket import scripts
from grpo_lessons.rewards import Reward, reward_name
from tests.support.browser import CHROMIUM, browse
from tests.support.pages import serve_folder

NODE = shutil.which("node")
_AS_A_WORKER = """
const { readFileSync } = require("node:fs");
const file = (path) => { const bytes = readFileSync(path); return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length); };
const read = (_, value) => value?.file ? file(value.file) : value;
const write = (_, value) => ArrayBuffer.isView(value)
    ? { base64: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") } : value;
globalThis.self = globalThis;
self.postMessage = (message) => process.stdout.write(JSON.stringify({ ...message, cpu: process.cpuUsage() }, write) + "\\n");
const run = require("node:vm").runInThisContext;
run(readFileSync(process.argv[1], "utf8"));
const answer = (data) => {
    if (data.call !== "evaluate") return self.onmessage({ data });
    try {
        self.postMessage({ result: run(`(${data.given.code})`)(data.given.value) });
    } catch ({ name, message }) {
        self.postMessage({ error: { name, message } });
    }
};
require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => answer(JSON.parse(line, read)));
"""


class EngineError(Exception):
    """What the engine threw: its `name` and message."""

    def __init__(self, name: str, message: str):
        super().__init__(message)
        self.name = name


class Engine:
    """What a training in a page is asked for, wherever the engine runs."""

    def call(self, call: str, **given):
        """What `worker.js` answers. Raises: EngineError for what it threw."""
        raise NotImplementedError

    def carry_out(self, call: str, given: dict):
        """A call as a `course` makes it, whose start names the settings alone."""
        return self.start(**given["settings"]) if call == "start" else self.call(call, **given)

    def start(self, adapter: Path | None = None, **settings) -> dict:
        """Start with the course's weights."""
        given = {"adapter": {"file": str(adapter)}} if adapter else {}
        tokenizer = json.loads((pocket.PATH / "tokenizer.json").read_text("utf-8"))
        weights = {"file": str(pocket.PATH / "model.safetensors")}
        return self.call("start", weights=weights, tokenizer=tokenizer, settings=settings, **given)

    def step(self, rows: list[dict], rewards: Sequence[Reward], size: int) -> dict:
        """One step of a training on rows of a data set, rewarded by the lesson's own Python: what `learn` gives."""
        said = self.call("sample", prompts=[row["prompt"] for row in rows])
        repeated = [row for row in rows for _ in range(size)]
        return self.call("learn", rewards=judged(rewards, repeated, said)) | said


def judged(rewards: Sequence[Reward], rows: list[dict], said: dict) -> dict[str, list[float | None]]:
    """What rewards say of one reply to each row."""
    columns = {name: [row[name] for row in rows] for name in rows[0] if name != "prompt"}
    completions = [[{"role": "assistant", "content": text}] for text in said["texts"]]
    return {
        reward_name(each): ask(each, completions=completions, completion_ids=said["ids"], **columns) for each in rewards
    }


class InNode(Engine):
    """The worker's script under node."""

    def __init__(self, process: subprocess.Popen):
        self.process, self.cpu = process, 0.0

    def call(self, call: str, **given):
        print(json.dumps({"id": 1, "call": call, "given": given}), file=self.process.stdin, flush=True)
        while line := self.process.stdout.readline():
            said = json.loads(line)
            self.cpu = (said["cpu"]["user"] + said["cpu"]["system"]) / 1e6
            if "error" in said:
                raise EngineError(**said["error"])
            if "progress" not in said:
                return _read(said.get("result"))
        raise RuntimeError("the engine has died")

    def evaluate(self, code: str, value=None):
        """What a function of JavaScript makes of a value, among the engine's own names."""
        return self.call("evaluate", code=code, value=value)


class InPage(Engine):
    """A worker in a page, asked over the page."""

    def __init__(self, page):
        self.page = page

    def call(self, call: str, **given):
        return self.page.evaluate("([name, given]) => engine.call(name, given)", [call, given])

    def start(self, **settings) -> None:
        self.page.evaluate("(settings) => begin(settings)", settings)


def _read(value):
    if isinstance(value, dict) and value.keys() == {"base64"}:
        return base64.b64decode(value["base64"])
    return {name: _read(each) for name, each in value.items()} if isinstance(value, dict) else value


@contextmanager
def node(folder: Path) -> Iterator[InNode]:
    """An engine under node; `folder` takes the script."""
    if not NODE:
        if os.environ.get("CI"):
            raise FileNotFoundError("CI has no node")
        pytest.skip("no node on this machine")
    script = folder / "engine.js"
    script.write_text(scripts.engine(), encoding="utf-8")
    command = [NODE, "-e", _AS_A_WORKER, str(script)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        yield InNode(process)
    finally:
        process.stdin.close()
        process.kill()
        process.wait()


# Nothing is allowed but what the engine needs.
_PAGE = """<!doctype html><meta http-equiv="Content-Security-Policy"
content="default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src blob:">"""
_BEGIN = """async () => {
    const { Engine } = await import("./client.js");
    window.begin = async (settings) => {
        window.engine?.end();
        const [source, weights, tokenizer] = await Promise.all([(await fetch("engine.js")).text(),
            (await fetch("model.safetensors")).arrayBuffer(), (await fetch("tokenizer.json")).json()]);
        window.engine = new Engine(source);
        await engine.call("start", { weights, tokenizer, settings });
    };
}"""


@contextmanager
def in_chromium(folder: Path) -> Iterator[InPage]:
    """A page under a strict policy with `engine` in its window; `folder` takes its files."""
    if not CHROMIUM and not os.environ.get("CI"):
        pytest.skip("no Chromium or Chrome on this machine")
    for file in (*(pocket.PATH / name for name in ("model.safetensors", "tokenizer.json")), scripts.HERE / "client.js"):
        shutil.copy(file, folder)
    (folder / "engine.js").write_text(scripts.engine(), encoding="utf-8")
    (folder / "index.html").write_text(_PAGE)
    with serve_folder(folder) as address, browse(f"{address}/index.html") as page:
        page.evaluate(_BEGIN)
        yield InPage(page)
