"""The house: imports point down its floors, each room knows what is its own, and the public names stay where they are."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import grpo_lessons

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "grpo_lessons"
FLOORS = ["root", "pocket", "training", "lesson", "web"]  # a room may import those before it
ROOF = {"grpo_lessons.__main__"}  # the door: it may open everything
# A script that nobody imports: it makes the pocket model, and stands beside what it makes.
MAKES_THE_MODEL = "grpo_lessons.pocket.build"


def modules() -> dict[str, ast.Module]:
    """Every module of the package by its name, read and not run."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = modules()


def room_of(module: str) -> str:
    """The room that a module of ours stands in."""
    if module == MAKES_THE_MODEL:
        return "training"
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else "root"


def imported(tree: ast.Module) -> set[str]:
    """All that a module imports, wherever in it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("module", sorted(set(MODULES) - ROOF))
def test_imports_point_down_the_floors(module):
    ours = {name for name in imported(MODULES[module]) if name in MODULES}
    floor = FLOORS.index(room_of(module))
    assert [name for name in ours if FLOORS.index(room_of(name)) > floor] == []
    assert not any(name.startswith("notebooks") for name in imported(MODULES[module]))


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("torch", {"training"}),
        ("transformers", {"training"}),
        ("trl", {"training"}),
        ("peft", {"training"}),
        ("datasets", {"training"}),
        ("marimo", {"lesson", "web"}),
        ("starlette", {"web"}),
        ("matplotlib", {"root", "lesson"}),
    ],
)
def test_a_library_is_known_where_it_belongs_and_nowhere_else(library, rooms):
    knows = {
        room_of(name) for name, tree in MODULES.items() if any(each.split(".")[0] == library for each in imported(tree))
    }
    assert knows <= rooms


def test_only_one_place_asks_where_a_lesson_runs():
    asks = {
        name
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in ("IN_PAGE", "app_meta", "platform"))
        or (isinstance(node, ast.Name) and node.id == "IN_PAGE")
    }
    assert asks <= {
        "grpo_lessons.here",
        "grpo_lessons.lesson.opened",
        "grpo_lessons.training.machine",
        "grpo_lessons.web.classroom",
    }


def test_private_names_of_marimo_and_trl_stand_in_one_module_each():
    for library, home in (("marimo", "grpo_lessons.lesson.marimo_inside"), ("trl", "grpo_lessons.training.trl_inside")):
        private = {
            name
            for name, tree in MODULES.items()
            if any(each.startswith(f"{library}._") or each.startswith("trl.trainer.utils") for each in imported(tree))
        }
        assert private <= {home, "grpo_lessons.training.trl_inside"}, library


def test_the_public_names_are_there():
    assert set(grpo_lessons.__all__) <= set(dir(grpo_lessons)) and grpo_lessons.__version__
    rewards = importlib.import_module("grpo_lessons.rewards")
    for name in ("length_reward", "format_reward", "tag_reward", "answer_reward"):
        assert callable(getattr(rewards, name)) and callable(getattr(grpo_lessons, name))


def test_the_rewards_load_nothing_and_at_once():
    code = (
        "import sys, time; began = time.process_time(); import grpo_lessons.rewards; took = time.process_time() - began\n"
        "heavy = {'torch', 'transformers', 'trl', 'marimo', 'matplotlib', 'numpy', 'math_verify', 'sympy'} & set(sys.modules)\n"
        "print(took, sorted(heavy))"
    )
    times = []
    for _ in range(3):
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
        took, _, heavy = ran.stdout.strip().partition(" ")
        assert heavy == "[]", ran.stderr
        times.append(float(took))
    assert min(times) < 0.1


def test_nothing_of_twelve_lines_stands_in_two_notebooks():
    """As a reader would say it: no run of twelve lines with code or prose in it is written twice."""
    seen: dict[tuple[str, ...], str] = {}
    for path in sorted((ROOT / "notebooks").glob("grpo_*.py")):
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        for i in range(len(lines) - 11):
            run = tuple(lines[i : i + 12])
            assert seen.setdefault(run, path.name) == path.name, run
