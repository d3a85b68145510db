"""A site of the course and a Pyodide to build it from, for the tests and the benchmarks of the web pages.

Pyodide's core is the npm package's. Of the compiled packages only PyYAML is needed; it is served as the pure Python that
it also is. matplotlib's wheels for Pyodide are on no registry: a page without them is what the tests see.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
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
    with tarfile.open(next(folder.glob("pyodide-*.tgz"))) as package:
        package.extractall(folder, filter="data")
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
    """`python -m grpo_lessons.site OUT`, with that Pyodide."""
    command = [sys.executable, "-m", "grpo_lessons.site", out, "--pyodide-index-url", index, *options]
    return subprocess.run(command, capture_output=True, text=True)


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
