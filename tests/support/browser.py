"""A real Chromium and a real marimo server, for the browser tests and the benchmarks."""

import atexit
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync".split()
)
PATIENCE = 60_000  # milliseconds for whatever is waited for: a busy machine is slow, and what never comes, comes never


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url: str) -> str:
    """The address of a marimo server, as soon as it answers."""
    for _ in range(300):
        with suppress(OSError):
            urllib.request.urlopen(f"{url}/health", timeout=1)
            break
        time.sleep(0.1)
    return url


@contextmanager
def serve(mode: str, notebook: str, *options: str, cwd: Path = ROOT, runs: Path | None = None) -> Iterator[str]:
    """`marimo MODE NOTEBOOK` as a learner starts it; yields its address and ends it, kernels included.

    `runs`: where its trainings leave their records; else with those of all other tests.
    """
    port = free_port()
    marimo = Path(sys.executable).with_name("marimo")
    command = [marimo, mode, notebook, "--headless", "--no-token", "--port", str(port), *options]
    with tempfile.TemporaryFile() as log:
        room = os.environ | ({"GRPO_LESSONS_RUNS": str(runs)} if runs else {})
        server = subprocess.Popen(command, cwd=cwd, env=room, stdout=log, stderr=log, start_new_session=True)
        try:
            yield wait_for(f"http://127.0.0.1:{port}")
        finally:
            os.killpg(server.pid, 9)
            server.wait()


@contextmanager
def browse(url: str, width: int = 1100, height: int = 900, scheme: str = "light", proxy: str = "") -> Iterator:
    """A page of somebody new, opened at the address; a proxy is asked for everything that is not on this machine."""
    through = {"proxy": {"server": proxy, "bypass": "127.0.0.1"}} if proxy else {}
    context = _chromium().new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **through)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(url)
    try:
        yield page
    except Exception:
        with suppress(Exception):  # what stood there, for whoever reads the failure
            print(page.locator("body").inner_text()[-4000:])
        raise
    finally:
        context.close()


@contextmanager
def profile(preferences: dict) -> Iterator:
    """A page of a fresh Chromium of somebody who has chosen these preferences."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Default").mkdir()
        (Path(folder) / "Default/Preferences").write_text(json.dumps(preferences))
        size = {"width": 1100, "height": 900}
        browser = _playwright().chromium.launch_persistent_context(
            folder, executable_path=CHROMIUM, args=FLAGS, viewport=size
        )
        browser.set_default_timeout(PATIENCE)
        try:
            yield browser.pages[0]
        finally:
            browser.close()


@cache
def _playwright():
    """The one driver of this process: a second one cannot start while it runs."""
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    atexit.register(playwright.stop)
    return playwright


@cache
def _chromium():
    """The one browser of this process: to start another takes a second of a core, and a context keeps as little."""
    return _playwright().chromium.launch(executable_path=CHROMIUM, args=FLAGS)


def press(page, label: str, keys: str) -> None:
    """Move the slider under a label with the keyboard."""
    slider = page.locator("marimo-slider", has=page.get_by_text(label, exact=True)).get_by_role("slider")
    slider.focus()
    for key in keys.split():
        slider.press(key)


def slide(page, label: str, value: int) -> None:
    """Bring the slider under a label to a value with the keyboard; a busy page may lose a key, as a reader would see."""
    slider = page.locator("marimo-slider", has=page.get_by_text(label, exact=True)).get_by_role("slider")
    slider.focus()
    for _ in range(200):
        off = value - int(slider.get_attribute("aria-valuenow"))
        if off:
            slider.press(("Arrow" if abs(off) < 10 else "Shift+Arrow") + ("Right" if off > 0 else "Left"))  # ten steps
        else:
            page.wait_for_timeout(300)  # it stays there
            if int(slider.get_attribute("aria-valuenow")) == value:
                return
    raise AssertionError(f"{label} does not come to {value}")


@contextmanager
def lesson(name: str, runs: Path) -> Iterator:
    """A lesson as a learner opens it, in a page of its own, ready to be trained."""
    with serve("edit", f"notebooks/grpo_{name}.py", runs=runs) as url, browse(url) as page:
        page.get_by_role("button", name="Train", exact=True).wait_for()
        settle(page)
        yield page


def check_untouched(page, *words: str) -> None:
    """The words are on the page, it shows a recording, and nothing on it has failed."""
    for each in words:
        shown(page, each).first.wait_for()
    assert shown(page, "Predict, then press Train.").count() == 1  # the recorded run would give the answer away
    assert failures(page) == []


def shown(page, text, exact: bool = False):
    """What a lesson shows with a text in it; in the edit view the code that makes it stands in the page, too."""
    return page.locator(".output-area").get_by_text(text, exact=exact)


def start(page, name: str = "Train") -> None:
    """Press Train, and see that it was heard within a third of a second, by the page's own clock."""
    page.evaluate(_HEARD)
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_function("window.heard !== null")
    assert page.evaluate("window.heard") < 333


_HEARD = """() => {
    window.heard = null;
    addEventListener("click", () => {
        const pressed = performance.now();
        const look = () => {
            const said = [...document.querySelectorAll(".train")].some(beside => beside.hasAttribute("data-heard")
                || /^(Starting|Loading|Answering|Step|Sixteen)/.test(beside.querySelector(".status, .told")?.textContent.trim()));
            said ? window.heard = performance.now() - pressed : setTimeout(look, 10);
        };
        look();
    }, { once: true, capture: true });
}"""


def told(page, words):
    """The line beside Train, once it says so. To look all over a lesson twice a second, as is done for what `shown` waits
    for, takes a fifth of a core away from the training that is waited for; to look at this line hardly anything.
    """
    return page.locator("css:light=.train .status").filter(has_text=words)


def at_step(page, least: int):
    """The line of a training that has come to a step at least: on a busy machine a page may skip some."""
    steps = "|".join(map(str, range(least, 61)))
    return told(page, re.compile(rf"^\s*Step ({steps}) of \d+"))


def reading(page, title: str) -> float:
    """The number beside a curve's title, in the panel of the training."""
    header = page.locator("[data-step] .curve header").filter(has=page.get_by_text(title, exact=True))
    return float(header.locator("b").first.text_content().replace("−", "-"))


def settle(page) -> None:
    """Wait until the page has kept its height for a second: what is clicked on a page that moves is missed."""
    page.wait_for_function(
        """() => { const tall = document.getElementById('App').scrollHeight, now = performance.now();
        if (tall !== window.tall) { window.tall = tall; window.since = now; } return now - window.since > 1000; }""",
        polling=100,
    )


def workers(page) -> int:
    """How many workers there are in the context of a page."""
    session = page.context.new_cdp_session(page)
    ours = session.send("Target.getTargetInfo")["targetInfo"]["browserContextId"]
    session.detach()
    session = page.context.browser.new_browser_cdp_session()
    there = session.send("Target.getTargets", {"filter": [{}]})["targetInfos"]
    session.detach()
    return sum(each["type"] == "worker" and each["browserContextId"] == ours for each in there)


def failures(page) -> list[str]:
    """What a page shows that no reader should see: errors of cells, tracebacks, a None where there should be nothing, and what
    marimo says under a cell of how it was written."""
    shown = page.locator(".marimo-error, [data-testid=marimo-error]").all_inner_texts()
    shown += page.locator(".console-output-area").filter(has_text="UIElement").all_inner_texts()
    texts = page.evaluate(
        """() => [...document.querySelectorAll('.output-area *')].filter(e => !e.closest('pre, code, .codehilite')
        && !e.children.length).map(e => e.textContent.trim())"""
    )
    return shown + [text for text in texts if text == "None" or "Traceback" in text]
