"""The course's door: `python -m grpo_lessons format` opens a lesson, from any folder."""

import importlib
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from grpo_lessons import course
from grpo_lessons.here import IS_INSTALLED, NOTEBOOKS

COMMANDS = {
    "site": ("web.site", "build the lessons as a static web site"),
    "class": ("web.classroom", "serve the lessons to a class"),
    "serve": ("web.server", "an example server with live lessons in frames"),
}
NEEDED = {"lesson": "marimo", "web": "jinja2", "train": "trl"}  # a package of each extra


def main(words: list[str]) -> None:
    """Do what the command line asks for, or say what there is."""
    name, *options = words or [""]
    if name in COMMANDS:
        _need("lesson", "web", "train")
        importlib.import_module(f"grpo_lessons.{COMMANDS[name][0]}").main(options)
    elif name in course.NOTEBOOKS:
        _need("lesson", "train")
        raise SystemExit(_open(name, options))
    else:
        lessons = "\n".join(
            f"  {each:8} {lesson.title}: {lesson.question}" for each, lesson in course.NOTEBOOKS.items()
        )
        commands = "\n".join(f"  {each:8} {about}" for each, (_, about) in COMMANDS.items())
        print(f"python -m grpo_lessons LESSON\n{lessons}\n\npython -m grpo_lessons COMMAND --help\n{commands}")
        if name not in ("", "-h", "--help"):
            raise SystemExit(f"\n{name!r}: no such lesson or command.")


def _open(name: str, options: list[str]) -> int:
    """`marimo edit` on the lesson: where it lies in a clone of the course, else on a copy of the reader's own."""
    notebook = NOTEBOOKS / f"grpo_{name}.py"
    if IS_INSTALLED:  # installed: an upgrade would take what a reader has written with it
        notebook = _copy(notebook, Path.cwd() / "grpo-lessons")
    asked = any(each.startswith("--sandbox") for each in options)
    # Where uv is installed, marimo would ask whether to build an environment for the notebook: it runs in this one.
    options = options if asked else ["--no-sandbox", *options]
    return subprocess.call([sys.executable, "-m", "marimo", "edit", notebook, *options])


def _copy(notebook: Path, folder: Path) -> Path:
    """The reader's own copy, made the first time, with what marimo looks for beside a notebook."""
    (folder / "public").mkdir(parents=True, exist_ok=True)
    for beside in ("lesson.css", "step.html"):
        shutil.copy(NOTEBOOKS / "public" / beside, folder / "public")
    (folder / "pyproject.toml").write_text(
        "[tool.marimo.runtime]\nauto_instantiate = true\n", encoding="utf-8"
    )  # it opens with its outputs
    if not (folder / notebook.name).exists():
        lines = notebook.read_text(encoding="utf-8").splitlines(keepends=True)
        ours = "".join(line for line in lines if not line.startswith("# tool.uv.sources."))  # a path in the repository
        (folder / notebook.name).write_text(ours, encoding="utf-8")
    print(f"The lesson is {folder / notebook.name}, yours to change.")
    return folder / notebook.name


def _need(*extras: str) -> None:
    """Raises: SystemExit that says what to install, where something is missing."""
    missing = [extra for extra in extras if find_spec(NEEDED[extra]) is None]
    if missing:
        raise SystemExit(f"This needs more than the library: pip install 'grpo-lessons[{','.join(missing)}]'")


if __name__ == "__main__":
    main(sys.argv[1:])
