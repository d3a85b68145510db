"""A site of the course and a Pyodide to build it from, for the tests and the benchmarks of the web pages.

Pyodide's core is the npm package's. Of the compiled packages only PyYAML is needed; it is served as the pure Python that
it also is. matplotlib's wheels for Pyodide are on no registry: a page without them is what the tests see.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from marimo._pyodide.pyodide_constraints import PYODIDE_VERSION

from grpo_lessons.web.site import WHERE, entry

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
    index = folder / "package"
    lock = json.loads((index / "pyodide-lock.json").read_text())
    entry = lock["packages"]["pyyaml"]
    info = f"pyyaml-{entry['version']}.dist-info"
    with zipfile.ZipFile(index / entry["file_name"], "w") as wheel:
        for module in Path(yaml.__file__).parent.glob("*.py"):
            wheel.write(module, f"yaml/{module.name}")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: PyYAML\nVersion: {entry['version']}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    entry["sha256"] = hashlib.sha256((index / entry["file_name"]).read_bytes()).hexdigest()
    (index / "pyodide-lock.json").write_text(json.dumps(lock))
    return index


def build(out: Path, index: Path, *options: str) -> subprocess.CompletedProcess:
    """`python -m grpo_lessons site OUT`, with that Pyodide."""
    command = [sys.executable, "-m", "grpo_lessons", "site", out, "--pyodide-index-url", index, *options]
    return subprocess.run(command, capture_output=True, text=True)


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


def build_plotly_page(out: Path, site: Path) -> None:
    """A page with a slider and a plotly figure, exported as marimo does it, with the Python of a site of ours."""
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
    shutil.copytree(site / "pyodide", out / "pyodide")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", out / "pyodide", "plotly"]
    subprocess.run(command, check=True, capture_output=True)
    lock = json.loads((out / "pyodide" / "lessons.json").read_text())
    del lock["packages"]["grpo-lessons"]
    lock["packages"]["plotly"] = entry(next((out / "pyodide").glob("plotly-*.whl")))
    (out / "pyodide" / "lessons.json").write_text(json.dumps(lock))
    html = (out / "index.html").read_text().replace('<marimo-wasm hidden=""', WHERE)
    (out / "index.html").write_text(html)


@contextmanager
def counting(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """A file server as `serve_folder`, and the bytes of each file that it has sent."""
    sent = []

    class Count(_Quiet):
        def copyfile(self, source, outputfile):
            sent.append(os.fstat(source.fileno()).st_size)
            super().copyfile(source, outputfile)

    with _serving(partial(Count, directory=folder)) as address:
        yield address, sent


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript", ".wasm": "application/wasm"}

    def log_message(self, *args):
        pass


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """A plain file server; yields its address."""
    with _serving(partial(_Quiet, directory=folder)) as address:
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
def _serving(handler) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
