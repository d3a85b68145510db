"""A real Firefox, driven by WebDriver BiDi, the standard that it speaks by itself: no driver is installed for it."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

FIREFOX = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
FIREFOXS_OWN = re.compile(r"\.mozilla\.(com|org|net)$")  # hosts that it asks for itself


class Tab:
    """One tab of a Firefox."""

    def __init__(self, line: ClientConnection, numbers: Iterator[int], context: str = ""):
        self.line, self.numbers = line, numbers
        self.context = context or self.ask("browsingContext.getTree")["contexts"][0]["context"]

    def ask(self, method: str, timeout: float = 120, **params) -> dict:
        """What a command of WebDriver BiDi gives. Raises: RuntimeError for what the browser says is wrong."""
        number = next(self.numbers)
        self.line.send(json.dumps({"id": number, "method": method, "params": params}))
        while (said := json.loads(self.line.recv(timeout))).get("id") != number:
            pass  # an event
        if said["type"] == "error":
            raise RuntimeError(f"{method}: {said['error']}: {said['message']}")
        return said["result"]

    def open(self, url: str) -> None:
        """Go to an address, and wait until the page is whole."""
        self.ask("browsingContext.navigate", context=self.context, url=url, wait="complete")

    def in_front(self) -> "Tab":
        """Another tab, before this one."""
        made = self.ask("browsingContext.create", type="tab")
        return Tab(self.line, self.numbers, made["context"])

    def evaluate(self, expression: str):
        """The value of a JavaScript expression, or of what it promises."""
        code = f"Promise.resolve({expression}).then((value) => JSON.stringify(value ?? null))"
        target = {"context": self.context}
        said = self.ask("script.evaluate", expression=code, target=target, awaitPromise=True)
        if said["type"] == "exception":
            raise RuntimeError(said["exceptionDetails"]["text"])
        return json.loads(said["result"]["value"])

    def wait_for(self, expression: str, seconds: float = 60) -> None:
        """Wait until an expression is true. Raises: TimeoutError with what the page says by then."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            if time.monotonic() > end:
                raise TimeoutError(f"{expression}: {self.evaluate('document.body.innerText')[-2000:]}")
            time.sleep(0.1)

    def press(self, label: str) -> None:
        """Press a button as soon as it is there and enabled; marimo has its own in shadow roots."""
        self.wait_for(f"({_PRESS})({json.dumps(label)})")


_PRESS = """(label) => {
    const find = (root) => [...root.querySelectorAll("*")].reduce((found, each) => found
        ?? (each.localName === "button" && each.textContent.trim() === label && !each.disabled ? each : null)
        ?? (each.shadowRoot && find(each.shadowRoot)), null);
    const button = find(document);
    button?.click();
    return !!button;
}"""


@contextmanager
def firefox(profile: Path, proxy: str = "") -> Iterator[Tab]:
    """The tab of a fresh Firefox; `profile` takes its files, a proxy is asked for all that is not on this machine."""
    settings = {"browser.shell.checkDefaultBrowser": False, "datareporting.policy.dataSubmissionEnabled": False}
    if proxy:
        host, _, port = proxy.rpartition("//")[2].partition(":")
        settings |= {"network.proxy.type": 1}
        for scheme in ("http", "ssl"):
            settings |= {f"network.proxy.{scheme}": host, f"network.proxy.{scheme}_port": int(port)}
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in settings.items()]
    (profile / "user.js").write_text("\n".join(lines), encoding="utf-8")
    command = [FIREFOX, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):  # it writes where it listens
            if (told := profile / "WebDriverBiDiServer.json").exists() and (text := told.read_text()):
                break
            time.sleep(0.1)
        where = json.loads(text)
        address = f"ws://{where['ws_host']}:{where['ws_port']}/session"
        with connect(address, max_size=None, open_timeout=60, proxy=None) as line:
            line.send(json.dumps({"id": 0, "method": "session.new", "params": {"capabilities": {}}}))
            line.recv(60)
            yield Tab(line, count(1))
    finally:
        process.terminate()
        process.wait(30)
