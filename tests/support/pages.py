"""A site of the course and a Pyodide to build it from, for the tests and the benchmarks of the web pages.

It is npm's package, which has the core only. matplotlib's wheels for Pyodide are on no registry: a page without them is
what the tests see.
"""

import gzip
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock
from urllib.parse import urlsplit

from marimo._pyodide.pyodide_constraints import PYODIDE_VERSION

from grpo_lessons.web import site as builder
from tests.support.browser import browse

BROWSERS_OWN = {
    "update.googleapis.com",
    "accounts.google.com",
    "clients2.google.com",
    "edgedl.me.gvt1.com",
    "content-autofill.googleapis.com",
}  # of any page
NPM = shutil.which("npm")


def make_distribution(folder: Path) -> Path:
    """What a Pyodide distribution has of files that a lesson needs, in a folder."""
    subprocess.run([NPM, "pack", "--silent", f"pyodide@{PYODIDE_VERSION}"], cwd=folder, check=True, capture_output=True)
    shutil.unpack_archive(next(folder.glob("pyodide-*.tgz")), folder)
    return folder / "package"


def build(out: Path, index: Path, *options: str, root: Path | None = None) -> subprocess.CompletedProcess:
    """`python -m grpo_lessons site OUT`, with that Pyodide, of this clone or of another one."""
    command = [sys.executable, "-m", "grpo_lessons", "site", out, "--pyodide-index-url", index, *options]
    return subprocess.run(command, cwd=root, capture_output=True, text=True)


def build_once(www: Path) -> None:
    """A web server's folder, with a site under a path of its own, and the Pyodide that it was built from beside it."""
    (www / "pyodide").mkdir(parents=True)
    recorded = {file: file.read_bytes() for file in builder.NOTEBOOKS.glob("__marimo__/session/*")}
    index = make_distribution(www / "pyodide")
    done = build(www / "root/course/grpo", index, "--base-url", "https://example.org/grpo/")
    assert done.returncode == 0, done.stderr
    assert recorded == {file: file.read_bytes() for file in recorded}  # marimo would have written what it executed


def wakes(page) -> None:
    """Wait until the controls of a lesson answer."""
    page.locator(".gl-awake").first.wait_for(state="attached")


PLOTLY_PAGE = """import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    import plotly.graph_objects as go

    return go, mo


@app.cell
def _(mo):
    bars = mo.ui.slider(1, 8, label="bars")
    mo.vstack([mo.md("# One figure"), bars])
    return (bars,)


@app.cell
def _(bars, go):
    go.Figure(go.Bar(y=list(range(bars.value))))
    return
"""


def build_plotly_page(out: Path, site: Path, index: Path) -> None:
    """A page with a slider and a plotly figure, exported as marimo does it, with the packages of a site of ours, whole."""
    out.mkdir()
    notebook = out / "notebook.py"
    notebook.write_text(PLOTLY_PAGE)
    command = [
        sys.executable,
        "-m",
        "marimo",
        "export",
        "html-wasm",
        notebook,
        "-o",
        out / "index.html",
        "--mode",
        "run",
    ]
    subprocess.run([*command, "--no-sandbox"], check=True, capture_output=True)
    shutil.copytree(site / "public", out / "public")
    with mock.patch.object(builder, "NODE", None):
        builder.add_python(out, index=str(index))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", out / "pyodide", "plotly"]
    subprocess.run(command, check=True, capture_output=True)
    lock = json.loads((out / "pyodide" / "lessons.json").read_text())
    del lock["packages"]["grpo-lessons"]
    lock["packages"]["plotly"] = builder.entry(next((out / "pyodide").glob("plotly-*.whl")))
    (out / "pyodide" / "lessons.json").write_text(json.dumps(lock))
    html = (out / "index.html").read_text().replace('<marimo-wasm hidden=""', builder.WHERE)
    (out / "index.html").write_text(html)


PACKED = {".html", ".css", ".js", ".mjs", ".json", ".svg", ".txt", ".xml", ".wasm"}  # by GitHub Pages, if asked


@dataclass
class Sent:
    """A file on its way: its path, its bytes as they lie there and on the wire, when it was asked for, and had gone."""

    path: str
    raw: int
    wire: int
    asked: float
    gone: float


@contextmanager
def hosting(folder: Path, rate: float = 0, policy: str = "") -> Iterator[tuple[str, list[Sent]]]:
    """A file server as GitHub Pages is one: text is compressed, kept for ten minutes, for any page; and what it has sent.

    The server sees what a page's workers ask for, too, of which the page's own devtools know nothing. `rate`: bytes a
    second, of all connections together; 0 for as fast as may be. `policy`: for contents, sent with every file.
    """
    sent, line = [], _Line(rate)

    class Host(_Quiet):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            asked, file = time.time(), Path(self.translate_path(self.path))
            if not file.is_file():
                return self.send_error(404)
            packs = file.suffix in PACKED and "gzip" in self.headers.get("Accept-Encoding", "")
            data = _packed(file) if packs else file.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", self.guess_type(file))
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Cache-Control", "max-age=600")
            self.send_header("Access-Control-Allow-Origin", "*")
            if policy:
                self.send_header("Content-Security-Policy", policy)
            if packs:
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            with suppress(ConnectionError):  # a preload that was given up, or the visit has ended
                for start in range(0, len(data), _Line.PIECE):
                    line.take(len(piece := data[start : start + _Line.PIECE]))
                    self.wfile.write(piece)
                sent.append(Sent(self.path, file.stat().st_size, len(data), asked, time.time()))

    with _serving(partial(Host, directory=folder)) as address:
        yield address, sent


@cache
def _packed(file: Path) -> bytes:
    return gzip.compress(file.read_bytes(), 6)


class _Line:
    """What all connections share: each piece waits until those before it have gone."""

    PIECE = 16384

    def __init__(self, rate: float):
        self.rate, self.free, self.lock = rate, 0.0, threading.Lock()

    def take(self, size: int) -> None:
        """Wait for the piece's turn."""
        if self.rate:
            with self.lock:
                self.free = max(self.free, time.monotonic()) + size / self.rate
                wait = self.free - time.monotonic()
            time.sleep(max(0, wait))


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript", ".wasm": "application/wasm"}

    def log_message(self, *args):
        pass


@contextmanager
def serve_folder(folder: Path, policy: str = "") -> Iterator[str]:
    """A plain file server, that sends a Content-Security-Policy with every file; yields its address."""

    class Server(_Quiet):
        def end_headers(self):
            if policy:
                self.send_header("Content-Security-Policy", policy)
            super().end_headers()

    with _serving(partial(Server, directory=folder)) as address:
        yield address


@contextmanager
def outside() -> Iterator[tuple[str, list[str]]]:
    """A proxy that lets nothing through; yields its address and what it was asked for, workers' requests included."""
    asked = []

    class Refuse(BaseHTTPRequestHandler):
        def do_CONNECT(self):
            host = urlsplit(self.path if "//" in self.path else f"//{self.path}").hostname
            if host not in BROWSERS_OWN:
                asked.append(host)
            self.send_error(403)

        do_GET = do_POST = do_CONNECT

        def log_message(self, *args):
            pass

    with _serving(Refuse) as address:
        yield address, asked


@contextmanager
def visit(address: str, **options) -> Iterator[tuple]:
    """A page in a browser that reaches nothing but this machine, and what went wrong: other hosts asked for, errors."""
    with outside() as (proxy, asked), browse("about:blank", proxy=proxy, **options) as page:
        page.on("pageerror", lambda error: asked.append(f"error: {error}"))
        page.on("console", lambda said: said.type == "error" and asked.append(f"console: {said.text}"))
        page.goto(address)
        yield page, asked


def keep_asleep(context) -> None:
    """Have no Python come to a context's pages, as on a slow line: for what they show before, and shall show without."""
    context.route("**/pyodide.asm.wasm", lambda route: None)


def write_first(folder: Path, steps: int | None = None) -> Path:
    """The site without its lessons in a folder: no Python is there to be loaded. `steps`: of a training, if not the usual."""
    builder.write_pages(folder)
    (folder / "favicon.ico").touch()
    for page in folder.glob("*.html") if steps else ():
        text = page.read_text(encoding="utf-8")
        page.write_text(text.replace('"steps": 25', f'"steps": {steps}'), encoding="utf-8")
    return folder


@contextmanager
def _serving(handler) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *ignored: None  # a browser that leaves does not say so
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
