"""The page's engine under node: the very script a worker is made of, spoken to as a page does."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from grpo_lessons import pocket
from grpo_lessons.pocket import scripts
from grpo_lessons.rewards import Reward, reward_name

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
    """A worker's calls as methods' names: `engine.call("sample", prompts=[…])`."""

    def __init__(self, process: subprocess.Popen):
        self.process, self.cpu = process, 0.0

    def call(self, call: str, **given):
        """The answer. Raises: EngineError for what the worker threw; RuntimeError if it has died."""
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

    def start(self, adapter: Path | None = None, **settings) -> dict:
        """Start with the course's weights."""
        given = {"adapter": {"file": str(adapter)}} if adapter else {}
        tokenizer = json.loads((pocket.PATH / "tokenizer.json").read_text("utf-8"))
        weights = {"file": str(pocket.PATH / "model.safetensors")}
        return self.call("start", weights=weights, tokenizer=tokenizer, settings=settings, **given)

    def step(self, rows: list[dict], rewards: list[Reward], size: int) -> dict:
        """One step of a training on rows of a data set, rewarded by the lesson's own Python: what `learn` gives."""
        said = self.call("sample", prompts=[row["prompt"] for row in rows])
        columns = {name: [row[name] for row in rows for _ in range(size)] for name in rows[0] if name != "prompt"}
        completions = [[{"role": "assistant", "content": text}] for text in said["texts"]]
        scores = {
            reward_name(each): each(completions=completions, completion_ids=said["ids"], **columns) for each in rewards
        }
        return self.call("learn", rewards=scores) | said


def _read(value):
    if isinstance(value, dict) and value.keys() == {"base64"}:
        return base64.b64decode(value["base64"])
    return {name: _read(each) for name, each in value.items()} if isinstance(value, dict) else value


@contextmanager
def node(folder: Path) -> Iterator[Engine]:
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
        yield Engine(process)
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
