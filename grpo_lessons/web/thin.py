"""What a visit needs of Python, and no more: run by Node in a page's Python when the site is built, see pages/thin.mjs.

The lessons are run here as a page runs them. The modules that they have imported then are compiled, so that no visitor's
browser has to, and packed; the others stay in the archives they came in, from which `later` fetches them when somebody
imports one. Nothing of that changes what a lesson can do, only when its parts come.
"""

import importlib.util
import io
import json
import sys
import tarfile
import types
import zipfile
from importlib._bootstrap_external import _code_to_hash_pyc
from pathlib import Path

ROOTS = ("marimo-base", "micropip", "pyodide-http", "grpo-lessons")  # what marimo's worker asks for, and we
LAZY = ("jedi",)  # completes what is typed in an editor; marimo imports it at once, for its side effect on recursion
IN_BROWSERS = {
    f"pyodide_http.{name}" for name in ("_core", "_requests", "_streaming", "_urllib")
}  # asked for only there
INFO = ("METADATA", "WHEEL", "entry_points.txt")
NOT_READ = (".pyi", ".typed", ".md")
STDLIB, WHOLE = "python_stdlib.zip", "python_whole.zip"
READ = "read.json"  # which files of the site each lesson reads as it opens


async def thin(site: Path, lessons: list[str], finder: str) -> None:
    """Pack what the lessons need, and rewrite the site's lock file, so that a page asks for that.

    Args:
        site: its folder, where the packages lie as they came.
        lessons: the notebooks' code.
        finder: the code of `later`.
    """
    here = site / "pyodide"
    (here / "first").mkdir()
    sys.meta_path.insert(0, listener := _Listener())
    tarfile.open(here / "first" / "stdlib.tar", "w:xz").close()
    tarfile.open(here / "first" / "stdlib.tar").close()
    booted = {name.partition(".")[0] for name in {*sys.modules} | listener.asked}  # with what unpacks a package
    for name in LAZY:
        sys.modules[name] = types.ModuleType(name)
    read = [await _run(code, site) for code in lessons]
    (here / READ).write_text(json.dumps(read), "utf-8")
    needed = ({*sys.modules} | listener.asked | IN_BROWSERS) - {*LAZY}
    lock = json.loads((here / "lessons.json").read_text("utf-8"))
    packages, later = lock["packages"], {}
    first = _closure(ROOTS, packages) - {"grpo-lessons"}
    with zipfile.ZipFile(here / packages["grpo-lessons"]["file_name"]) as ours:  # its code is read: it stays as it is
        files = {name: ours.read(name) for name in ours.namelist() if not name.startswith("grpo_lessons/web/")}
        packages["grpo-lessons"] |= _packed(here / "first" / "grpo-lessons.tar", files)
    for name in sorted(first):
        wheel = here / packages[name]["file_name"]
        files, later[wheel.name] = _sorted_out(wheel, needed)
        if name in ROOTS or any(file.endswith((".pyc", ".so")) for file in files):
            packages[name] |= _packed(here / "first" / f"{name}.tar", files)
        else:
            first.discard(name)
            packages[name]["imports"] = []  # what marimo imports by name it would load at once
    (here / STDLIB).rename(here / WHOLE)
    files, later[WHOLE] = _sorted_out(here / WHOLE, needed)
    boot = {name: data for name, data in files.items() if name.partition("/")[0].partition(".")[0] in booted}
    boot |= {name: data for name, data in files.items() if not name.endswith(".pyc")}
    boot["sitecustomize.py"] = f"{finder}\n\nsys.meta_path.append(Later({later!r}, {LAZY!r}))\n".encode()
    with zipfile.ZipFile(here / STDLIB, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in boot.items():
            archive.writestr(name, data)
    others = {name: data for name, data in files.items() if name not in boot}
    packages["stdlib"] = packages["filelock"] | {"name": "stdlib", "version": "1", "imports": [], "depends": []}
    packages["stdlib"] |= _packed(here / "first" / "stdlib.tar", others)
    for name in first:
        packages[name]["depends"] = [each for each in packages[name]["depends"] if each in first]
    packages["marimo-base"]["depends"] += ["stdlib", *(name for name in ROOTS if name != "marimo-base")]
    (here / "lessons.json").write_text(json.dumps(lock), "utf-8")


class _Listener:
    """Hears which modules are asked for: one that then fails, for want of a library, has to be there, too."""

    def __init__(self):
        self.asked = set()

    def find_spec(self, name: str, path=None, target=None) -> None:
        self.asked.add(name)


async def _run(code: str, site: Path) -> list[str]:
    """Run a lesson, which finds its files in the site; which of them it has read."""
    import pyodide.http
    import pyodide_js

    def load():
        return pyodide_js.loadPackagesFromImports(f"import pygments\nimport pyodide_http\n{code}")

    await pyodide_js.loadPackage("grpo-lessons")
    from grpo_lessons.lesson.marimo_inside import run_as_a_page_does

    read = {}

    def open_url(url: str) -> io.StringIO:
        read[name := url.rpartition("/../")[2]] = None
        return io.StringIO((site / name).read_text("utf-8"))

    pyodide.http.open_url = open_url
    Path("notebook.py").write_text(code, "utf-8")
    await run_as_a_page_does("notebook.py", load)
    return [*read]


def _sorted_out(archive: Path, needed: set[str]) -> tuple[dict[str, bytes], list[str]]:
    """An archive's files that a visit needs, its modules compiled, by their names; and the modules that it does not."""
    files, later = {}, set()
    with zipfile.ZipFile(archive) as whole:
        for name in whole.namelist():
            module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            if name.endswith("/") or ".data/" in name:
                continue
            if name.endswith(".py"):
                if module in needed:
                    files[f"{name}c"] = _compiled(whole.read(name), name)
                else:
                    later |= {module, *_parents(module)}  # a folder without __init__.py is a package, too
            elif name.rpartition("/")[2] in INFO if ".dist-info/" in name else not name.endswith(NOT_READ):
                files[name] = whole.read(name)
    return files, sorted(later - needed)


def _parents(module: str) -> list[str]:
    """The packages that a module stands in: of "a.b.c", "a" and "a.b"."""
    parts = module.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _compiled(source: bytes, name: str) -> bytes:
    """A module without docstrings, good for any date of its source, which a page has not."""
    code = compile(source, name, "exec", dont_inherit=True, optimize=2)
    return _code_to_hash_pyc(code, importlib.util.source_hash(source), False)


def _packed(path: Path, files: dict[str, bytes]) -> dict:
    """Pack files as Pyodide unpacks them; what its lock file says of them. `site` compresses them."""
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return {"file_name": f"first/{path.name}"}


def _closure(names, packages: dict) -> set[str]:
    """The packages, and what they depend on."""
    found, pending = set(), list(names)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += packages[name]["depends"]
    return found
