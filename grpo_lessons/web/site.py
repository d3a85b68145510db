"""The course as a static site: `python -m grpo_lessons site OUT`, then put OUT on any web server, under any path.

Every lesson is exported by `marimo export html-wasm` as a page to read (`format.html`); another shows its code, too
(`format-code.html`). Python, its packages and our wheel lie in the site once, listed in one Pyodide lock file, so that a
lesson asks no other host for anything but matplotlib; with `--offline` not for that either. Where Node is installed, a page
loads of it only what its lesson imports, and the rest when it is imported.
"""

import argparse
import atexit
import hashlib
import json
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from contextlib import suppress
from email.parser import HeaderParser
from functools import cache
from importlib.metadata import version
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from grpo_lessons import cards, pocket
from grpo_lessons.course import LESSONS, MINUTES
from grpo_lessons.curves import curves
from grpo_lessons.here import NOTEBOOKS
from grpo_lessons.lesson.marimo_inside import PYODIDE_VERSION
from grpo_lessons.lesson.notes import speaker_notes
from grpo_lessons.palette import SHADES
from grpo_lessons.pocket import scripts
from grpo_lessons.problems import sums
from grpo_lessons.runs import Run
from grpo_lessons.text import question
from grpo_lessons.training.settings import Settings
from grpo_lessons.web.render import render
from grpo_lessons.web.thin import READ

ROOT = NOTEBOOKS.parent
STRICT = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src blob:"
# A lesson has marimo's own inline scripts and styles, small pictures and letters in its styles, and its Python in a worker.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; worker-src 'self' blob:"
)
# What of a lesson can be shown alone besides its stations: the ids of `<b>`s where such a piece begins.
PIECES = {
    "length": ["the-loop-alive", "tokens-pushed"],
    "format": ["the-loop-alive", "tokens-pushed", "sixteen-runs-as-a-map"],
    "math": ["the-loop-alive", "tokens-pushed"],
}
INDEX = f"https://cdn.jsdelivr.net/pyodide/v{PYODIDE_VERSION}/full/"

CORE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip")
# What marimo, our library, and last the widget need in a page, each as it is installed here; then as Pyodide has them.
FROM_PYPI = (
    *"marimo-base msgspec markdown pymdown-extensions narwhals packaging pygments tomlkit filelock".split(),
    *"anywidget ipywidgets ipython traitlets psygnal typing-extensions comm".split(),
)
AS_IN_PYODIDE = ("micropip", "jedi", "parso", "pyodide-http")
WITH_MARIMO = ("micropip", "pyodide-http", "pygments", "grpo-lessons")  # loaded beside it, at once
COMPILED = ("pyyaml",)  # by Pyodide only
DRAWING = ("matplotlib",)  # and what it depends on: loaded while the lesson is already in use


UV = "uv==0.13.9"
BESIDE = Path(__file__).parent
NODE = shutil.which("node")
NAMELESS = '<meta name="description" content="a marimo app" />'
ORNAMENT = re.compile(r'\s*<link rel="preload" href="[^"]*/(gradient|noise|FiraMono)[^"]*"[^>]*>')
PRELOADED = re.compile(r'\s*<link rel="modulepreload" crossorigin href="([^"]*)">')
STARTED = re.compile(r'\s*<script type="module" crossorigin src="([^"]*)"></script>')
READS = '"mode": "read"'
PLACE = '<marimo-wasm hidden=""'
WHERE = f'{PLACE} data-pyodide-index-url="./pyodide/" data-pyodide-lockfile-url="./pyodide/lessons.json"'


class CannotBuild(RuntimeError):
    """Why there is no site, in words for the one who builds it."""


def build(out: Path, base_url: str = "", offline: bool = False, index: str = INDEX) -> None:
    """Build the site in a folder.

    Args:
        out: the folder; an earlier site in it is replaced once the new one is whole.
        base_url: where the site will stand, for the lines to copy; "" to let the page find out by itself.
        offline: put matplotlib and what it needs into the site, too.
        index: a Pyodide distribution, its address or a folder: what stands in `pyodide-lock.json` and lies beside it.

    Raises: CannotBuild if the folder holds something else, a lesson fails, or a file cannot be had.
    """
    if out.exists() and any(out.iterdir()) and not (out / "pyodide" / "lessons.json").exists():
        raise CannotBuild(f"{out}: expected an empty folder, or a site built earlier, which is replaced.")
    lock = _read(index.rstrip("/") + "/pyodide-lock.json")  # before the minute of work
    out = out.resolve()  # marimo works in the course's folder
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".site-", dir=out.parent) as scratch:
        (Path(scratch) / "pyodide-lock.json").write_bytes(lock)
        outputs = {file: file.read_bytes() for file in NOTEBOOKS.glob("__marimo__/session/*")}
        try:
            _build(made := Path(scratch) / "site", base_url, offline, index)
        finally:
            for file, recorded in outputs.items():  # marimo writes there what it executes
                file.write_bytes(recorded)
        shutil.rmtree(out, ignore_errors=True)
        made.rename(out)


def _build(out: Path, base_url: str, offline: bool, index: str) -> None:
    out.mkdir()
    base = base_url.rstrip("/") + "/" if base_url else ""
    for name in LESSONS:
        _export(name, out / f"{name}.html", base)
    (ours,) = (out / "public" / "wheels").iterdir()
    for page in out.glob("*.html"):
        if ours.stem.rpartition(".")[2].partition("-")[0] not in page.read_text(encoding="utf-8"):
            raise CannotBuild(
                f"{page}: needs another wheel than {ours.name}: some lessons reach a module that others do not."
            )
    _do_without_storage(out)
    _pack(out / "grpo-lessons.zip")
    (out / "CLAUDE.md").unlink(missing_ok=True)  # marimo's, for its own developers
    shutil.copytree(NOTEBOOKS / "cases", out / "cases")
    lessons, read = [*out.glob("*.html")], add_python(out, index)
    if offline:
        bring_near(out, index)
    far = "" if offline else urlsplit(index if "://" in index else INDEX)
    write_pages(out, base, f"; connect-src 'self' {far.scheme}://{far.netloc}" if far else "")
    for page in lessons:
        _send_ahead(page, read.get(page.stem.removesuffix("-code"), []))


@cache
def find_uv() -> str:
    """uv, with which marimo packs the course for a page: as it is installed, or fetched from PyPI for as long as this runs.

    The course does not require it: where uv is in sight, `marimo edit FILE` asks before it opens a notebook.
    """
    if found := shutil.which("uv"):
        return found
    folder = tempfile.mkdtemp(prefix="uv-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, UV]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if not (found := shutil.which("uv", path=f"{folder}/bin")):
        raise CannotBuild(
            f"marimo packs a page with uv, and it could not be fetched. Install it:\n{done.stderr[-500:]}"
        )
    return found


def _export(lesson: str, page: Path, base: str) -> None:
    """Run a lesson once, and write both its pages: what marimo exports to be edited differs by a word."""
    notebook = NOTEBOOKS / f"grpo_{lesson}.py"
    command = [sys.executable, "-m", "marimo", "export", "html-wasm", notebook, "-o", page, "--mode", "run"]
    options = ["--execute", "--no-sandbox", "--force"]  # executed here: a page shows its content before Python has come
    done = subprocess.run(
        [*command, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        # What the one who builds has chosen, opened and trained is not for the site's visitors.
        env=os.environ
        | {"UV": find_uv(), "MARIMO_PYODIDE_LOCK_FILE": str(page.parents[1] / "pyodide-lock.json")}
        | {"GRPO_LESSONS_RUNS": str(page.parents[1] / "runs")},
    )
    if done.returncode or not page.exists():
        raise CannotBuild(f"{notebook}: marimo could not export it:\n{done.stdout[-500:]}{done.stderr[-1500:]}")
    html = page.read_text(encoding="utf-8")
    for asked, what in (
        (PLACE, "say where its Python is"),
        (NAMELESS, "describe itself"),
        (READS, "say that it is to be read"),
    ):
        if html.count(asked) != 1:
            raise CannotBuild(f"{page}: expected marimo's page to {what}, once ({asked}).")
    html = html.replace(PLACE, WHERE).replace('"theme": "light"', '"theme": "system"')  # ?theme= has the last word
    about = {"title": LESSONS[lesson].title, "question": LESSONS[lesson].question, "file": f"{lesson}.html"}
    html = html.replace(NAMELESS, render("head.html", base=base, **about))
    code = html.replace("<head>", f"<head>{_EDIT}", 1)  # a lesson cannot tell otherwise; see Opened
    code = code.replace(READS, READS.replace("read", "edit"))
    code = code.replace('"auto_instantiate": false', '"auto_instantiate": true')  # as pyproject.toml has it
    first = _first(page, html)
    for file, text in ((page, html), (page.with_stem(f"{page.stem}-code"), code)):
        waking = render("waking.html", first=first, file=file.name)
        text = text.replace('<div id="root"></div>', f'<div id="root"></div>{waking}', 1)
        file.write_text(text, encoding="utf-8")


def _do_without_storage(out: Path) -> None:
    """Have marimo's workers start where a browser keeps nothing for a frame; see `pages/disk.js`."""
    workers = [file for file in out.glob("assets/*worker-*.js") if "IDBFS" in file.read_text(encoding="utf-8")]
    if not workers:
        raise CannotBuild(f"{out}: expected marimo to keep a page's files by IDBFS, in a worker.")
    for file in workers:
        script = (BESIDE / "pages" / "disk.js").read_text(encoding="utf-8") + file.read_text(encoding="utf-8")
        file.write_text(script, encoding="utf-8")


def _first(page: Path, html: str, cells: int = 9) -> str:
    """The outputs of a page's first cells, as they were when it was exported; controls leave their place empty."""
    start = html.find('"session": ') + len('"session": ')
    try:
        session, _ = json.JSONDecoder().raw_decode(html[start:])
        outputs = [cell["outputs"][0]["data"] for cell in session["cells"][: cells + 1] if cell["outputs"]]
    except (ValueError, KeyError, TypeError):
        raise CannotBuild(f"{page}: expected marimo's page to hold the lesson's outputs (--execute).") from None
    shown = [data.get("text/markdown") or data.get("text/html") or "" for data in outputs]
    place = '<div style="height:4rem"></div>'
    return "".join(f'<div class="output-area">{place if "<marimo-" in each else each}</div>' for each in shown if each)


_EDIT = """<script>{const here = new URL(location); if (here.searchParams.get("view") !== "edit") {
here.searchParams.set("view", "edit"); history.replaceState(null, "", here); }}</script>"""


def _pack(path: Path) -> None:
    """The course itself, to be taken home."""
    wanted = [
        "README.md",
        "LICENSE",
        "pyproject.toml",
        "requirements.txt",
        "grpo_lessons/**/*",
        "notebooks/**/*",
        "tests/*.py",
    ]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(file for each in wanted for file in ROOT.glob(each)):
            if file.is_file() and "/__" not in file.relative_to(ROOT).parent.as_posix():  # no caches
                archive.write(file, Path("grpo-lessons") / file.relative_to(ROOT))


# Python and its packages ---------------------------------------------------------------------------------------------


def add_python(out: Path, index: str) -> dict[str, list[str]]:
    """Pyodide's core, the wheels, and the lock file that lists them, each package by its name.

    Returns the files that each lesson reads as it opens; without Node nobody knows.
    """
    here = out / "pyodide"
    here.mkdir()
    index = index.rstrip("/") + "/"
    theirs = json.loads(_read(index + "pyodide-lock.json"))
    for name in CORE:
        (here / name).write_bytes(_read(index + name))
    wheels = [*_download(theirs["packages"], here), *(out / "public" / "wheels").iterdir()]
    packages = {each["name"]: each for each in map(entry, wheels)}
    for each in packages.values():
        each["depends"] = [name for name in each["depends"] if name in packages or name in COMPILED]
    ours = packages["grpo-lessons"]
    ours |= {"file_name": f"../public/wheels/{ours['file_name']}", "depends": ["filelock"]}
    for name in _closure(COMPILED + DRAWING, theirs["packages"]) - set(packages):
        packages[name] = each = dict(theirs["packages"][name])
        if name in COMPILED and "://" not in index and not Path(index, each["file_name"]).exists():
            packages[name] = entry(_pure_yaml(here))
        elif name in COMPILED:
            (here / each["file_name"]).write_bytes(_read(index + each["file_name"]))
        else:  # a page cannot ask a folder of ours
            each["file_name"] = (index if "://" in index else INDEX) + each["file_name"]
    ours["name"] = "grpo_lessons"  # as the page asks for it
    lock = {"info": theirs["info"], "packages": packages}
    (here / "lessons.json").write_text(json.dumps(lock), encoding="utf-8")
    return _thin(out) if NODE else {}


def bring_near(out: Path, index: str) -> None:
    """Put into a site what its pages would ask of Pyodide's host, from the distribution that it was built from."""
    listed = out / "pyodide" / "lessons.json"
    lock = json.loads(listed.read_text(encoding="utf-8"))
    for each in lock["packages"].values():
        if "://" in each["file_name"]:
            each["file_name"] = name = each["file_name"].rpartition("/")[2]
            (out / "pyodide" / name).write_bytes(_read(index.rstrip("/") + "/" + name))
    listed.write_text(json.dumps(lock), encoding="utf-8")


def _thin(out: Path) -> dict[str, list[str]]:
    """Have a visit load what the lessons import, compiled; see `grpo_lessons.web.thin`. The files that each reads at once.

    Compressed here, in half of a wheel's bytes: in a page's Python it takes three times as long. A name is a plain archive's
    because Pyodide knows that one; Python sees for itself how it is compressed.
    """
    command = [NODE, BESIDE / "pages" / "thin.mjs", out, BESIDE / "thin.py", BESIDE / "later.py"]
    notebooks = [NOTEBOOKS / f"grpo_{name}.py" for name in LESSONS]
    done = subprocess.run([*command, *notebooks], capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise CannotBuild(f"{NODE}: the lessons did not run in a page's Python:\n{done.stderr[-2000:]}")
    lock = json.loads((out / "pyodide" / "lessons.json").read_text(encoding="utf-8"))
    for each in lock["packages"].values():
        if each["file_name"].startswith("first/"):
            packed = out / "pyodide" / each["file_name"]
            packed.write_bytes(data := lzma.compress(packed.read_bytes()))
            each["sha256"] = hashlib.sha256(data).hexdigest()
    (out / "pyodide" / "lessons.json").write_text(json.dumps(lock), encoding="utf-8")
    read = out / "pyodide" / READ
    files = json.loads(read.read_text(encoding="utf-8"))
    read.unlink()
    return dict(zip(LESSONS, files, strict=True))


def _send_ahead(page: Path, read: list[str]) -> None:
    """Have a page begin its Python at once, and ask for what that will need, and for no ornament of marimo's; in a frame, as
    soon as that is in sight. `read`: the files that the lesson reads as it opens.

    Of its fonts only those come unasked in which the first text is set.
    """
    here = page.parent
    packages = json.loads((here / "pyodide" / "lessons.json").read_text(encoding="utf-8"))["packages"]
    asked = _closure(("marimo-base", *WITH_MARIMO), packages)
    files = [f"pyodide/{name}" for name in ("lessons.json", *CORE[1:])]
    files += sorted(os.path.normpath(f"pyodide/{packages[name]['file_name']}") for name in asked)
    files += read
    sizes = {f"./{file}": (here / file).stat().st_size for file in files}
    html = ORNAMENT.sub("", page.read_text(encoding="utf-8"))
    scripts, started = PRELOADED.findall(html), STARTED.findall(html)
    if len(started) != 1:
        raise CannotBuild(f"{page}: expected marimo's page to start one script ({STARTED.pattern}).")
    html = STARTED.sub("", PRELOADED.sub("", html))
    (worker,) = here.glob("assets/worker-*.js")
    begun = {"start": started[0], "worker": f"./assets/{worker.name}", "version": version("marimo")}
    begun["core"] = [f"./pyodide/{name}" for name in CORE[1:]]
    html = html.replace("</head>", f"{render('ahead.html', files=sizes, scripts=scripts, **begun)}</head>", 1)
    page.write_text(html, encoding="utf-8")


def find_pyodide() -> str:
    """npm's `pyodide` in this folder, if it is the one that marimo wants; else the address of that one."""
    package = Path("node_modules/pyodide")
    with suppress(OSError, ValueError, KeyError):
        if json.loads((package / "package.json").read_text(encoding="utf-8"))["version"] == PYODIDE_VERSION:
            return str(package)
    return INDEX


def _pure_yaml(folder: Path) -> Path:
    """PyYAML as the pure Python that it also is, for a Pyodide that comes without packages, as npm's does."""
    import yaml

    wheel = folder / f"pyyaml-{yaml.__version__}-py3-none-any.whl"
    info = f"pyyaml-{yaml.__version__}.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for module in sorted(Path(yaml.__file__).parent.glob("*.py")):
            archive.write(module, f"yaml/{module.name}")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: PyYAML\nVersion: {yaml.__version__}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def _read(address: str) -> bytes:
    try:
        if "://" not in address:
            return Path(address).read_bytes()
        with urllib.request.urlopen(address, timeout=60) as answer:
            return answer.read()
    except (OSError, URLError) as error:
        raise CannotBuild(
            f"{address}: could not be read ({error}). Is it part of a Pyodide {PYODIDE_VERSION}?"
        ) from None


def _download(theirs: dict, folder: Path) -> list[Path]:
    """Fetch wheels for this Pyodide with pip."""
    tag = f"py{theirs['msgspec']['file_name'].split('-')[-1].removesuffix('.whl').removeprefix('py')}"
    wanted = [f"{name}=={version('marimo' if name == 'marimo-base' else name)}" for name in FROM_PYPI]
    wanted += [f"{name}=={theirs[name]['version']}" for name in AS_IN_PYODIDE]
    target = [
        "--platform",
        tag,
        "--implementation",
        "cp",
        "--python-version",
        "3.14",
        "--abi",
        "cp314",
        "--abi",
        "none",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "-d",
            scratch,
        ]
        done = subprocess.run([*command, *target, *wanted], capture_output=True, text=True, encoding="utf-8")
        if done.returncode:
            raise CannotBuild(f"pip could not fetch the packages of the page:\n{done.stderr[-2000:]}")
        return [Path(shutil.copy(wheel, folder)) for wheel in sorted(Path(scratch).glob("*.whl"))]


def entry(wheel: Path) -> dict:
    """A wheel as a Pyodide lock file describes it."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        about = next(name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(about).decode())
    browser = default_environment() | {"sys_platform": "emscripten", "python_version": "3.14", "extra": ""}
    requirements = map(Requirement, metadata.get_all("Requires-Dist", []))
    needed = [each for each in requirements if each.marker is None or each.marker.evaluate(browser)]
    tops = {name.split("/")[0].removesuffix(".py") for name in names if ".dist-info" not in name}
    return {
        "name": canonicalize_name(metadata["Name"]),
        "version": metadata["Version"],
        "file_name": wheel.name,
        "install_dir": "site",
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "package_type": "package",
        "imports": sorted(top for top in tops if top.isidentifier()),
        "depends": [canonicalize_name(each.name) for each in needed],
        "unvendored_tests": False,
    }


def _closure(names: tuple[str, ...], packages: dict) -> set[str]:
    """The packages, and what they depend on."""
    found, pending = set(), [name for name in names if name in packages]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += packages[name]["depends"]
    return found


# The pages around the lessons ------------------------------------------------------------------------------------------


def write_pages(out: Path, base: str = "", hosts: str = "") -> None:
    """The pages around the lessons, and what they train: all that the first page needs.

    `hosts`: what a policy must allow besides, for the lessons to ask another host.
    """
    folder = out / "public" / "pocket"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("model.safetensors", "tokenizer.json"):
        shutil.copy(pocket.PATH / name, folder)
    made = {"engine.js": scripts.engine(), "first.js": scripts.first(), "second_python.js": scripts.second_python()}
    made |= {f"{name}.js": scripts.widget(name) for name in ("ask", "pushed", "alive", "moved")}
    for name, script in made.items():
        (folder / name).write_text(script, encoding="utf-8")
    shutil.copy(NOTEBOOKS / "public" / "format.png", out / "preview.png")  # what a link to the site shows
    run = Run.load(NOTEBOOKS / "public" / "format_learns.json")
    words = {
        "base": base,
        "picture": curves({"this run": run}, only=("reward", "frac_reward_zero_std", "entropy")),
        "label": run.label,
        "replies": cards.text_table(
            ["question", "reply before", "reply after"], run.before.texts(run.after)[2:5], ("think", "answer")
        ),
        "before": f"{run.before.mean('format_reward'):.0%}",
        "after": f"{run.after.mean('format_reward'):.0%}",
        "steps": run.steps_done,
        "lessons": LESSONS,
        "minutes": MINUTES,
        "policy": POLICY + hosts,
        "strict": STRICT,
        "stations": {name: [note["title"].replace("*", "") for note in speaker_notes(name)] for name in LESSONS},
        "pieces": PIECES,
        "shades": SHADES,
        "cards": cards.STYLE,
        "first": _first_training(),
    }
    # Style and scripts are files of their own, for a strict policy for contents allows none in the page.
    for name in "index.html index.css index.js first.css train.html train.js embed.html".split():
        (out / name).write_text(render(name, **words), encoding="utf-8")
    if base:  # both want whole addresses
        files = ["", *(f"{name}.html" for name in LESSONS)]
        (out / "sitemap.xml").write_text(render("sitemap.xml", base=base, files=files), encoding="utf-8")
        (out / "robots.txt").write_text(f"User-agent: *\nAllow: /\nSitemap: {base}sitemap.xml\n", encoding="utf-8")


def _first_training() -> dict:
    """What the first page trains on: the format lesson's, with half its replies a step, and what is asked before and after."""
    usual, asked = Settings(batch_size=32), "What is 12 + 45 + 38?"  # the format lesson's own question
    train, held_out = ([question(row["prompt"]) for row in sums(256, split=split)] for split in ("train", "held-out"))
    return {
        "settings": {name: getattr(usual, name) for name in ("steps", "batch_size", "group_size")},
        "questions": [each for each in train if each != asked],
        "asked": [asked, *held_out[: usual.batch_size - 1]],
    }


def main(argv: list[str] | None = None) -> None:
    """Build the site that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m grpo_lessons site", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to build the site in")
    parser.add_argument("--base-url", default="", help="where the site will stand, for the lines that embed a lesson")
    parser.add_argument(
        "--offline", action="store_true", help="put all packages into the site: no page asks another host"
    )
    parser.add_argument(
        "--pyodide-index-url",
        default=find_pyodide(),
        metavar="URL",
        help="take Pyodide from here: an address, or a folder, such as npm's package, which is found in this one after "
        f"`npm install pyodide@{PYODIDE_VERSION}`; then building asks no host but PyPI (%(default)s)",
    )
    options = parser.parse_args(argv)
    try:
        build(options.out, options.base_url, options.offline, options.pyodide_index_url)
    except CannotBuild as error:
        raise SystemExit(f"No site: {error}") from None
    if not NODE:
        print("No Node here: a visit loads 16 MB instead of 10, and its browser compiles Python for some seconds more.")
    size = sum(file.stat().st_size for file in options.out.rglob("*") if file.is_file())
    print(f"{options.out}: {size / 1e6:.0f} MB, Pyodide from {options.pyodide_index_url}.")
    print(f"To look at it: python -m http.server --directory {options.out}")
