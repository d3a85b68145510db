"""The course's figures, measured: `python tests/benchmarks.py [NAME …]`, all recipes without a name (hours, a quiet machine).

A recipe prints what was asked and what it has found, and when it has finished replaces its section of tests/FIGURES.md;
`--help` lists them.

Not a test: machines are shared and noisy, so nothing here asserts.
"""

import argparse
import asyncio
import gzip
import itertools
import json
import math
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import date
from importlib.metadata import version
from itertools import count
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from grpo_lessons import cards, curves  # noqa: E402
from grpo_lessons.groups import interval  # noqa: E402
from grpo_lessons.lesson.in_browser import carried_out, course  # noqa: E402
from grpo_lessons.pocket import scripts  # noqa: E402
from grpo_lessons.problems import sums, texts  # noqa: E402
from grpo_lessons.reading import read  # noqa: E402
from grpo_lessons.rewards import (  # noqa: E402
    AnswerReward,
    FormatReward,
    LengthReward,
    TagReward,
    answer_reward,
    format_reward,
    reward_name,
)
from grpo_lessons.training import SMOLLM2, Plan, Settings, Watch, machine, models, train  # noqa: E402
from grpo_lessons.training.machine import load_libraries  # noqa: E402
from grpo_lessons.training.warm import copied  # noqa: E402
from grpo_lessons.web import wall  # noqa: E402
from notebooks.record import RUNS  # noqa: E402
from tests.support import pages  # noqa: E402
from tests.support.browser import browse, press, serve, settle  # noqa: E402
from tests.support.classmates import Learner, classroom  # noqa: E402
from tests.support.engine import Engine, InPage, in_chromium, judged, node  # noqa: E402
from tests.support.judges import math_verify_says  # noqa: E402

MARK = 0.95
SEEDS = range(5)


# The table ---------------------------------------------------------------------------------------------------------

FIGURES = Path(__file__).with_name("FIGURES.md")
HEAD = "# Figures"  # of a file that is not there yet
TABLE = "| figure | asked | found |\n| --- | --- | --- |"
_rows: list[str] = []  # of the recipe that runs


def row(figure: str, asked: str, found) -> None:
    """One line of the table, as soon as it is measured."""
    cells = [str(each).replace("|", "\\|") for each in (figure, asked, found)]
    _rows.append(f"| {' | '.join(cells)} |")
    print(_rows[-1], flush=True)


def sections(text: str) -> dict[str, str]:
    """A file of figures by its headings, in their order; what stands above the first has the name "".

    >>> sections("# Figures\\n\\n## page\\n\\n| a |\\n\\n## class\\n\\n| b |\\n")
    {'': '# Figures', 'page': '| a |', 'class': '| b |'}
    """
    first, *others = re.split(r"^## ", text, flags=re.MULTILINE)
    named = (other.partition("\n") for other in others)
    return {"": first.strip()} | {name.strip(): body.strip() for name, _, body in named}


def joined(parts: dict[str, str]) -> str:
    """The file again: the recipes' sections in the order of `RECIPES`, behind them whatever else there is.

    >>> joined(sections("# Figures\\n\\n## by hand\\n\\n| a |\\n\\n## page\\n\\n| b |\\n"))
    '# Figures\\n\\n## page\\n\\n| b |\\n\\n## by hand\\n\\n| a |\\n'
    """
    order = [*RECIPES]
    names = sorted(filter(None, parts), key=lambda name: order.index(name) if name in order else len(order))
    return "\n\n".join([parts[""], *(f"## {name}\n\n{parts[name]}" for name in names)]) + "\n"


def write_section(name: str, load: float) -> None:
    """Put the rows of a recipe into its section; all other sections stay as they are.

    `load`: the machine's when the recipe began, for a reader to judge how quiet it was.
    """
    parts = sections(FIGURES.read_text(encoding="utf-8") if FIGURES.exists() else HEAD)
    packages = ", ".join(f"{each} {version(each)}" for each in ("torch", "trl", "marimo"))
    where = f"{os.cpu_count()} CPU cores ({platform.machine()}), {packages}; load {load:.1f} when it began"
    parts[name] = "\n".join([f"Measured {date.today()} on {where}.", "", TABLE, *_rows])
    FIGURES.write_text(joined(parts), encoding="utf-8")


def at(values: list[float], share: float) -> float:
    """The value below which a share of the values lies."""
    return sorted(values)[int(share * (len(values) - 1))]


# The lessons' trainings --------------------------------------------------------------------------------------------


def in_fresh_process(call: str):
    """The JSON that a call of this module prints in a process of its own: imports count, and no two trainings meet.

    Raises: RuntimeError with what the process said if it fails.
    """
    code = f"import json; from tests import benchmarks as b; print(json.dumps({call}))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{call}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def draw(phase: str, run) -> None:
    """What the notebook draws after every step."""
    cards.page(curves.status(phase, run), curves.panel(run, None))
    if run.groups:
        cards.page(cards.group_panel(run.groups[-1], ("think", "answer")))


def learn(name: str, seed: int, mark: float, target: int | None = None, questions: int = 0) -> dict:
    """One session of a lesson from the press of Train, imports included, as it is recorded in `notebooks.record`.

    Returns the step and the second at which the reward of a step reached `mark`, the second of the end, and the means
    of the judges on held-out prompts, before and after. `target` replaces that of the length lesson;
    `questions` is for more held-out sums than the 96 of a lesson, of which the mean is off by three in a hundred.
    """
    plan = RUNS[name].with_settings(seed=seed)
    if target:
        reward = LengthReward(target)
        plan = replace(plan, rewards=[reward], judges=[reward, *plan.judges[1:]])
    if questions:
        plan = replace(plan, held_out=sums(questions, split="held-out"))
    pressed, found = time.perf_counter(), {}

    def update(phase, run):
        draw(phase, run)
        if run.metrics and run.metrics[-1]["reward"] >= mark and not found:
            found.update(step=run.steps_done, seconds=round(time.perf_counter() - pressed, 1))

    run = train(plan, Watch(update=update)).run
    means = {
        f"{when} {reward_name(judge)}": round(getattr(run, when).mean(reward_name(judge)), 3)
        for judge in plan.judges
        for when in ("before", "after")
    }
    speed = {"tokens/s": round(run.metrics[-1]["num_tokens"] / run.seconds), "held out": len(plan.held_out)}
    return found | means | speed | {"end": round(time.perf_counter() - pressed, 1), **run.provenance}


def learn_all(call: str) -> list[dict]:
    """A call of `learn` for each of `SEEDS`, which takes the place of SEED."""
    return [in_fresh_process(f"b.learn({call.replace('SEED', str(seed))})") for seed in SEEDS]


def length_rows() -> None:
    """The length lesson on the pocket model: three targets, and what beta holds."""
    for target in (10, 40, 20):
        seeds = learn_all(f"'length_learns', SEED, -0.1, {target}")
        step = f"length {target}: step at which a step's mean error is ≤ 10 %, seeds 0–4"
        row(step, "≤ 50", [each.get("step") for each in seeds])
        row("… seconds from the press to that step", "≤ 40", [each.get("seconds") for each in seeds])
        errors = [abs(each["after length_reward"]) for each in seeds]
        row("… held-out error in the end, share of the target", "≤ 0.1", errors)
    held = in_fresh_process("b.learn('length_held', 0, -0.1)")
    for name in ("vocabulary_reward", "reference_logprob"):
        row(f"beta 0 and 0.1, seed 0: {name}, held-out", "", [seeds[0][f"after {name}"], held[f"after {name}"]])


def format_rows() -> None:
    """The format lesson on the pocket model."""
    seeds, name = learn_all("'format_learns', SEED, b.MARK"), "format_reward"
    row(f"format: step at which the reward reaches {MARK}, seeds 0–4", "≤ 25", [each.get("step") for each in seeds])
    row("… seconds from the press to that step", "≤ 30", [each.get("seconds") for each in seeds])
    row("… held-out", "", [f"{each[f'before {name}']} → {each[f'after {name}']}" for each in seeds])


def warm_rows() -> None:
    """The format lesson's warm start: how many worked examples, how often copied, and what each of the two did."""
    plan = RUNS["format_warm"]

    def told(name: str, runs: list) -> list[str]:
        return [" → ".join(f"{answers.mean(name):.2f}" for _, answers in run.stages) for run in runs]

    for examples, epochs in ((12, 1), (4, 3), (12, 3), (4, 9), (12, 10)):
        warm = replace(plan.warm_start, examples=plan.warm_start.examples[:examples], epochs=epochs)
        runs = [copied_only(replace(plan, warm_start=warm).with_settings(seed=seed)) for seed in SEEDS]
        for name in ("format_reward", "answer_reward"):
            row(
                f"warm start: {examples} examples × {epochs}, SFT alone, {name} held-out, seeds 0–4",
                "",
                told(name, runs),
            )
    runs = [train(plan.with_settings(seed=seed)).run for seed in SEEDS]
    for name in ("format_reward", "answer_reward"):
        row(f"… 12 examples × 3, then GRPO: {name} held-out, seeds 0–4", "", told(name, runs))


def copied_only(plan: Plan):
    """The record of a warm start without the training behind it."""
    from transformers import set_seed

    load_libraries()
    model, tokenizer = models.load("pocket")
    run, longest = plan.new_run(), plan.settings.max_completion_length
    set_seed(plan.settings.seed)
    model = copied(plan.warm_start, plan.settings, model, tokenizer, run, Watch())
    run.sft.after = models.evaluate(model, tokenizer, plan.held_out, plan.judges, longest)
    return run


def math_rows() -> None:
    """The math lesson on the pocket model: answers and thoughts, and how long it takes."""
    seeds = learn_all("'math_learns', SEED, 0.9, questions=384")
    for name, asked in (("answer_reward", "≤ 0.45 → ≥ 0.9"), ("thinks", "≤ 0.4 → ≥ 0.95")):
        means = [f"{each[f'before {name}']} → {each[f'after {name}']}" for each in seeds]
        row(f"math: {name}, 384 held-out, seeds 0–4", asked, means)
    seeds = learn_all("'math_learns', SEED, 0.9")
    row("… seconds from the press to the last step and the last answer", "≤ 45", [each["end"] for each in seeds])


# A real model, and other settings ----------------------------------------------------------------------------------

# Settings to compare ours with. Both want bf16, which a CPU refuses, and the exercise an 8-bit Adam, which wants a GPU.
EXERCISE = {
    "learning_rate": 2e-5,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 2,
    "max_completion_length": 96,
}
TRL_DEFAULTS: dict = {}


def rival(options: dict, lora: bool, seconds: float, steps: int) -> dict:
    """The format lesson on SmolLM2 with other settings, in a plain GRPOTrainer: the step and second at the mark.

    It is given up after `seconds` or `steps`; then it says how far it has come.
    """
    load_libraries()
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    plan, rewards, found = RUNS["format_smollm2"], [], {}

    class Look(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            if "reward" not in logs:
                return
            rewards.append(logs["reward"])
            if rewards[-1] >= MARK:
                found.update(step=len(rewards), seconds=round(time.perf_counter() - started, 1))
            control.should_training_stop = bool(found) or time.perf_counter() - started > seconds

    model, tokenizer = models.load(plan.settings.model)
    fixed = {"output_dir": "runs/rival", "max_steps": steps, "bf16": False, "logging_steps": 1, "save_strategy": "no"}
    trainer = GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=plan.rewards,
        train_dataset=Dataset.from_list(plan.prompts),
        args=GRPOConfig(**fixed | options, disable_tqdm=True),
        peft_config=LoraConfig(**plan.settings.lora_arguments()) if lora else None,
        callbacks=[Look()],
    )
    started = time.perf_counter()
    trainer.train()
    given_up = {"steps": len(rewards), "after": round(time.perf_counter() - started), "best": round(max(rewards), 2)}
    return found or {"never": given_up}


def real_rows() -> None:
    """The lessons on SmolLM2, on this machine's device, and how much sooner than with other settings."""
    learnt = in_fresh_process("b.learn('format_smollm2', 0, b.MARK)")
    found = [learnt.get("step"), learnt.get("seconds")]
    row(f"SmolLM2 on {learnt['hardware']}, seed 0, format: step and seconds from the press to {MARK}", "≤ 300 s", found)
    row("… replies in the format held-out, before → after; seconds", "", before_after(learnt, "format_reward"))
    row("… tokens a second, sampled and learnt", "", learnt["tokens/s"])
    row("… memory at most", "", learnt["peak memory"])
    for name, options, lora in (
        ("the exercise's settings", "EXERCISE", True),
        ("TRL's defaults", "TRL_DEFAULTS", False),
    ):
        limits = f"{5 * learnt['seconds']}, {10 * learnt['step']}"
        found = in_fresh_process(f"b.rival(b.{options}, {lora}, {limits})")
        row(f"… with {name}", "≥ 5 times later", found)
    learnt = in_fresh_process("b.learn('length_smollm2', 0, 0)")
    words = "SmolLM2, length: reward held-out, before → after; seconds"
    row(words, "error halved", before_after(learnt, "length_reward"))
    learnt = in_fresh_process("b.learn('math_smollm2', 0, 2)")
    words = "SmolLM2, math: right answers held-out, before → after; seconds"
    row(words, "", before_after(learnt, "answer_reward"))
    row("… their 95 % intervals", "apart", [between(learnt, f"{when} answer_reward") for when in ("before", "after")])


def before_after(learnt: dict, name: str) -> str:
    """A judge's mean on held-out prompts before and after, and how long all of it took."""
    return f"{learnt[f'before {name}']} → {learnt[f'after {name}']}; {learnt['end']}"


def between(learnt: dict, name: str) -> str:
    """The 95 % interval of a share of the held-out prompts."""
    trials = learnt["held out"]
    return "–".join(f"{bound:.2f}" for bound in interval(round(learnt[name] * trials), trials))


# A session against a bare loop -------------------------------------------------------------------------------------


def bare(steps: int, clock: Callable[[], float] = time.perf_counter, **changes) -> float:
    """Seconds of trainer.train() in a GRPOTrainer loop without anything of ours, on as many threads as the session."""
    load_libraries()
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    settings = Settings(steps=steps, **changes)
    model, tokenizer = models.load("pocket")
    trainer = GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=[format_reward],
        train_dataset=Dataset.from_list(sums(512)),
        args=GRPOConfig(**settings.grpo_arguments()),
        peft_config=LoraConfig(**settings.lora_arguments()),
    )
    trainer.remove_callback(PrinterCallback)
    started = clock()
    trainer.train()
    return clock() - started


def ours(steps: int) -> float:
    """Seconds of the same training as a session whose panel is drawn after every step."""
    started = []

    def update(phase, run):
        started[:] = started or ([time.perf_counter()] if "sampling" in phase else [])
        draw(phase, run)

    train(Plan(Settings(steps=steps), [format_reward], sums(512)), Watch(update=update))
    return time.perf_counter() - started[0]


def overhead(steps: int = 12, pairs: int = 5) -> dict:
    """The session against the bare loop, taken in turns in one process: the ratio of each pair."""
    bare(2), ours(2)
    ratios = []
    for i in range(pairs):
        first, second = (bare, ours) if i % 2 else (ours, bare)
        times = {call: call(steps) for call in (first, second)}
        ratios.append(times[ours] / times[bare])
    return {"median": statistics.median(ratios), "all": ratios}


def overhead_rows() -> None:
    """A session of ours against a bare GRPOTrainer loop."""
    cost = in_fresh_process("b.overhead()")
    ratios = [round(ratio, 3) for ratio in cost["all"]]
    row("session / bare loop, median of pairs", "≤ 1.0", f"{cost['median']:.3f} of {ratios}")


# A lesson in a browser ---------------------------------------------------------------------------------------------

# How long a control takes to answer, measured inside the page: from the press of a key, as the browser has received it
# (the page may be too busy to hear of it at once), to another content of the output that holds a sign.
_LISTEN = """([output, sign]) => {
    const shown = () => [...document.querySelectorAll(output)].find(each => each.textContent.includes(sign))?.innerHTML;
    let pressed = 0, before = "";
    window.answers = [];
    addEventListener("keydown", event => { pressed = event.timeStamp; before = shown(); }, true);
    new MutationObserver(() => {
        const now = pressed && shown();
        if (!now || now === before) return;
        window.answers.push(performance.now() - pressed);
        pressed = 0;
    }).observe(document.body, {childList: true, subtree: true, characterData: true});
}"""


def in_the_browser() -> dict:
    """Opening to the first control, a control to its changed figure, a press of Train to the mark on the screen."""
    opened, changed = [], []
    with tempfile.TemporaryDirectory() as runs, serve("edit", "notebooks/grpo_format.py", runs=Path(runs)) as url:
        with browse("about:blank") as page:
            for _ in range(4):  # the first with nothing in the browser's cache and no kernel yet
                started = time.perf_counter()
                page.goto(url)
                page.get_by_role("radio").first.wait_for(timeout=60_000)
                opened.append(time.perf_counter() - started)
                page.goto("about:blank")
        with browse(url) as page:
            page.get_by_role("button", name="Train", exact=True).wait_for(timeout=60_000)
            page.get_by_text("simulated groups").first.wait_for(timeout=30_000)
            page.evaluate(_LISTEN, ["svg", "group size G"])
            for key in ["ArrowLeft"] * 5 + ["ArrowRight"] * 10 + ["ArrowLeft"] * 5:
                press(page, "G, the group size", key)
                page.wait_for_timeout(600)
            changed = page.evaluate("window.answers")
            page.get_by_role("button", name="Train", exact=True).click()
            pressed = time.perf_counter()
            page.locator(".train .status").get_by_text(re.compile("Starting|Loading")).wait_for()
            sign = time.perf_counter() - pressed
            page.wait_for_function(  # a slider has a data-step, too
                f"""() => /Step \\d+ of|Finished/.test(document.querySelector('.train .status').textContent)
                && +document.querySelector('[data-reward]').dataset.reward >= {MARK}""",
                timeout=120_000,
            )
            mark = time.perf_counter() - pressed
    return {"opened": opened, "changed": changed, "sign": sign, "mark": mark}


def browser_rows() -> None:
    """The format lesson in a Chromium: opened, moved, trained."""
    found = in_the_browser()
    row("opening to the first control, four times (s)", "≤ 3", [round(seconds, 2) for seconds in found["opened"]])
    changes = f"{statistics.median(found['changed']):.0f} of {len(found['changed'])}"
    row("a control to its changed figure, median (ms)", "≤ 150", changes)
    row("a press of Train to the first sign of life (s)", "≤ 1", round(found["sign"], 2))
    row(f"a press of Train to {MARK} on the screen (s)", "≤ 30", round(found["mark"], 1))


# The edit view and the run view ------------------------------------------------------------------------------------

VIEWS = ("edit", "run")
MOVABLE = {  # of each lesson a slider whose output is text, and a sign by which that output is known
    "length": ("the first text of group A earns more by", "Group A"),
    "format": ("replies out of 8 that earn 1", "group mean"),
    "math": ("points for the format (the answer's: 1)", "in the format"),
}
COUNTED = {"cells": ".marimo-cell", "editors": ".cm-editor", "nodes": "*"}
PLAYED = 12  # seconds for which the slider is moved
PACE = 0.3  # seconds between an answer and the next move
PATIENCE = 60  # seconds after which a page is as quiet as it will be


@dataclass
class View:
    """What was measured of one view of one lesson, over some openings."""

    openings: list[dict] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)

    def open(self, mode: str, lesson: str, root: Path) -> None:
        """Open it twice: to be left alone, and to be used at once."""
        untouched = left_alone(mode, lesson, root)
        answered, answers = moved(mode, lesson, root)
        self.openings.append(untouched | {"answered": answered})
        self.answers += answers

    def figures(self) -> dict[str, float]:
        """The medians over the openings, and of all answers the median, 95 % and the slowest."""
        middle = {name: statistics.median(each[name] for each in self.openings) for name in self.openings[0]}
        slow = {f"answer {share}": at(self.answers, share) for share in (0.5, 0.95, 1)}
        return middle | slow


SHOWN = {  # a figure of `View.figures`: its words, what is asked, and its digits
    "cpu": ("CPU seconds of the page until it is quiet", "≤ 10 in edit view", 1),
    "quiet": ("… seconds until then", "≤ 10 in edit view", 1),
    "first": ("… seconds to the first control", "≤ 3, ≤ 2", 1),
    "answered": ("… seconds to the first answer, if a control is moved as soon as it is there", "", 1),
    "cells": ("… cells", "≤ 50", 0),
    "editors": ("… editors", "", 0),
    "nodes": ("… DOM nodes", "", 0),
    "answer 0.5": ("… a control that is moved from then on answers, median (ms)", "≤ 90", 0),
    "answer 0.95": ("… 95 % (ms)", "≤ 200", 0),
    "answer 1": ("… the slowest (ms)", "", 0),
}


def view_rows(times: int = 3, lessons: tuple[str, ...] = tuple(MOVABLE), against: Path | None = None) -> None:
    """Each lesson in the edit view and in the run view: work until the page is quiet, and how fast a control answers.

    With `against` the notebooks of another clone are opened in turns with ours: what other programs do to the machine
    meanwhile, they do to both.
    """
    roots = [ROOT, against] if against else [ROOT]
    for lesson in lessons:
        views = {(root, mode): View() for root in roots for mode in VIEWS}
        for i in range(times):
            for mode in VIEWS:
                for root in roots[:: 1 if i % 2 == 0 else -1]:
                    views[root, mode].open(mode, lesson, root)
        found = [[views[root, mode].figures() for mode in VIEWS] for root in roots]
        for name, (words, asked, digits) in SHOWN.items():
            head = f"{lesson}, edit view and run view, opened {times} ×: " if name == "cpu" else ""
            row(head + words, asked, compared([[view[name] for view in each] for each in found], digits))


def compared(found: list[list[float]], digits: int) -> str:
    """Ours, and if there is another's, that and the ratio of each.

    >>> compared([[2.04, 1]], 1), compared([[2.04, 1], [4, 1]], 1)
    ('2.0, 1.0', '2.0, 1.0; against 4.0, 1.0: 0.51, 1.00 times as much')
    """
    words = [", ".join(f"{value:.{digits}f}" for value in each) for each in found]
    if len(found) == 1:
        return words[0]
    ratios = (f"{one / other:.2f}" if other else "–" for one, other in zip(*found, strict=True))
    return f"{words[0]}; against {words[1]}: {', '.join(ratios)} times as much"


@contextmanager
def opening(mode: str, lesson: str, root: Path) -> Iterator[tuple]:
    """A lesson with a server and a Chromium of its own: the page as the first control is there, and when it was asked for."""
    with (
        tempfile.TemporaryDirectory() as runs,
        serve(mode, f"notebooks/grpo_{lesson}.py", cwd=root, runs=Path(runs)) as url,
        browse("about:blank", 1280, 800) as page,
    ):
        asked = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.wait_for_function(
            "() => document.querySelector('marimo-slider, marimo-radio')", polling=50, timeout=60_000
        )
        yield page, asked


def left_alone(mode: str, lesson: str, root: Path) -> dict:
    """Open a lesson and touch nothing: seconds to the first control and until quiet, the page's CPU seconds, its size."""
    with opening(mode, lesson, root) as (page, asked):
        first = time.perf_counter() - asked
        cpu, quiet = until_quiet()
        count = "kind => document.querySelectorAll(kind).length"
        sizes = {name: page.evaluate(count, kind) for name, kind in COUNTED.items()}
        return {"cpu": cpu, "quiet": quiet - asked, "first": first, **sizes}


def until_quiet() -> tuple[float, float]:
    """Wait until the page has hardly worked for two seconds: its CPU seconds so far, and when it last did more."""
    began = busy = time.perf_counter()
    spent = renderer_seconds()
    while time.perf_counter() < min(busy + 2, began + PATIENCE):
        time.sleep(0.25)
        before, spent = spent, renderer_seconds()
        if spent - before > 0.05:
            busy = time.perf_counter()
    return spent, busy


def renderer_seconds() -> float:
    """CPU seconds of the busiest renderer among this process's Chromiums: the page's, beside that of a blank one."""
    import psutil

    spent = [0.0]
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended
            if "--type=renderer" in each.cmdline():
                spent.append(each.cpu_times().user + each.cpu_times().system)
    return max(spent)


def moved(mode: str, lesson: str, root: Path) -> tuple[float, list[float]]:
    """Open a lesson and move a slider as soon as it is there, to and fro: seconds to its first answer, and of each move
    the milliseconds until its output had changed.

    Off screen a cell is not laid out, so the slider is scrolled into view first, as a reader does. After that only keys
    are sent: whatever else is asked of a busy page waits until it is free, and the key would come when it is.
    """
    label, sign = MOVABLE[lesson]
    with opening(mode, lesson, root) as (page, asked):
        slider = page.locator("marimo-slider", has=page.get_by_text(label, exact=True))
        slider.wait_for(state="attached", timeout=60_000)
        page.locator(".gl", has_text=sign).first.wait_for(state="attached", timeout=60_000)
        page.evaluate(_LISTEN, [".gl", sign])
        slider.evaluate("slider => slider.scrollIntoView({block: 'center'})")
        slider.get_by_role("slider").focus()
        began, firsts, moves = time.perf_counter(), [], 0
        while time.perf_counter() < began + PLAYED:
            page.keyboard.press("ArrowLeft" if moves % 2 else "ArrowRight")
            moves += 1
            page.wait_for_function(f"window.answers.length >= {moves}", polling=20, timeout=60_000)
            firsts = firsts or [time.perf_counter() - asked]
            page.wait_for_timeout(1000 * PACE)
        return firsts[0], page.evaluate("window.answers")


# The web page ------------------------------------------------------------------------------------------------------


def in_a_page() -> dict:
    """The built site, from this machine: seconds to what can be read and to the first live control, and control to cards.

    Of the visits the first has nothing in the browser's cache. Beside it a page of one slider and one plotly figure, as
    marimo exports it by itself: less than a lesson that also needs pandas and numpy, which no registry has for Pyodide.
    """
    found = {"seen": [], "live": [], "their seen": [], "their live": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        index = pages.make_distribution(folder)
        done = pages.build(folder / "ours", index)
        assert done.returncode == 0, done.stderr
        pages.build_plotly_page(folder / "theirs", folder / "ours", index)
        with pages.serve_folder(folder) as server, browse("about:blank") as page:
            visits = [("their ", "theirs/index.html", "One figure", ".js-plotly-plot svg")]
            visits += [("", "ours/format.html", "After 25 steps of training", ".gl-awake")]
            for who, path, text, live in visits * 4:
                page.goto("about:blank")
                started = time.perf_counter()
                page.goto(f"{server}/{path}", wait_until="commit")
                page.get_by_text(text).first.wait_for(timeout=60_000)
                found[who + "seen"].append(time.perf_counter() - started)
                page.locator(live).first.wait_for(state="attached", timeout=60_000)
                found[who + "live"].append(time.perf_counter() - started)
            page.locator("#waking").wait_for(state="detached")
            settle(page)
            found["changed"] = page.evaluate(_CLICK_AND_WAIT)
        for who, path in (("their ", "theirs"), ("", "ours")):
            with pages.hosting(folder / path) as (server, sent), browse("about:blank") as page:
                page.goto(f"{server}/{'format.html' if path == 'ours' else 'index.html'}")
                page.locator(".gl-awake, .js-plotly-plot svg").first.wait_for(state="attached", timeout=60_000)
                found[who + "megabytes"] = round(sum(each.raw for each in sent) / 1e6, 1)
    return found


_CLICK_AND_WAIT = """async () => {
    const label = (name) => {
        const places = [document, ...[...document.querySelectorAll('*')].map(e => e.shadowRoot).filter(Boolean)];
        return places.flatMap(p => [...p.querySelectorAll('label')]).find(l => l.textContent.trim() === name);
    };
    const times = [];
    for (let i = 0; i < 20; i++) {
        const [name, sign] = i % 2 ? ['strict', 'format_reward'] : ['tag count', 'tag_reward'];
        const pressed = performance.now();
        label(name).click();
        await new Promise((done) => {
            const look = () => document.querySelector('.cards').textContent.includes(sign) ? done() : requestAnimationFrame(look);
            look();
        });
        times.push(performance.now() - pressed);
        await new Promise((done) => setTimeout(done, 250));
    }
    return times;
}"""


def page_rows() -> None:
    """The web page: opened, moved, weighed, beside one with a plotly figure."""
    found = in_a_page()
    for figure, name, asked in (("something to read", "seen", "≤ 1.5"), ("the first live control", "live", "≤ 10")):
        ours, theirs = ([round(seconds, 1) for seconds in found[who + name]] for who in ("", "their "))
        row(f"a page's opening to {figure} (s), the first with an empty cache", asked, ours)
        row("… of a plotly figure with a slider", "later", theirs)
    sizes = [found["megabytes"], found["their megabytes"]]
    row("MB that a visit loads, before compression; of the other page", "less", sizes)
    row("a control to its changed cards in the page, median (ms)", "≤ 100", round(statistics.median(found["changed"])))


# A visit to the web page -------------------------------------------------------------------------------------------

LINES = {"as fast as may be": 0, "at 10 Mbit/s": 10e6 / 8}  # bytes a second
KINDS = {  # of files, by their addresses; the first that fits
    "the page itself": r"\.html$",
    "Pyodide's core": r"pyodide/(pyodide\.|python_stdlib)",
    "Python packages": r"\.(whl|tar|zip)$|lessons\.json",
    "recordings": r"public/|cases/",
    "fonts and pictures": r"\.(woff2|ttf|png|ico|svg)$",
    "marimo's JavaScript and CSS": r"",
}
_MARKS = """(() => {
    const seen = (name, there) => { if (there && !(name in window.marks)) window.marks[name] = performance.now() / 1000; };
    window.marks = {};
    new MutationObserver(() => {
        seen("text", document.querySelector("h1"));
        seen("awake", document.querySelector(".gl-awake"));
    }).observe(document, { childList: true, subtree: true });
})()"""


def visited(site: Path, page: str, rate: float) -> tuple[dict[str, float], list[pages.Sent]]:
    """A visit with an empty cache: seconds to the first text and to the first live control, and what had been sent by then."""
    with pages.hosting(site, rate) as (server, sent), browse("about:blank", 1280, 800) as tab:
        tab.add_init_script(_MARKS)
        began = time.time()
        tab.goto(f"{server}/{page}", wait_until="commit")
        tab.wait_for_function("window.marks?.awake", polling=50, timeout=180_000)
        marks = tab.evaluate("window.marks")
        until = began + marks["awake"]
        return marks, [
            replace(each, asked=each.asked - began, gone=each.gone - began) for each in sent if each.asked < until
        ]


def visit_rows(times: int = 3, lessons: tuple[str, ...] = tuple(MOVABLE), against: Path | None = None) -> None:
    """What a visit to a lesson's page loads until its controls live, and how long that takes; the list is printed.

    With `against` the site of another clone is built, too, and visited in turns with ours.
    """
    roots = [ROOT, against] if against else [ROOT]
    with tempfile.TemporaryDirectory() as scratch:
        index, sites = pages.make_distribution(Path(scratch)), {}
        for root in roots:
            sites[root] = Path(scratch) / f"site{len(sites)}"
            done = pages.build(sites[root], index, root=root)
            assert done.returncode == 0, done.stderr
        for lesson in lessons:
            for line, rate in LINES.items():
                visits = {root: [] for root in roots}
                for i in range(times):
                    for root in roots[:: 1 if i % 2 == 0 else -1]:
                        visits[root].append(visited(sites[root], f"{lesson}.html", rate))
                if not rate:
                    weigh(lesson, [visits[root][0][1] for root in roots])
                for mark, words, asked in (
                    ("text", "the first text", "≤ 1"),
                    ("awake", "a live control", "≤ 14" if rate else "≤ 6"),
                ):
                    middle = [[statistics.median(marks[mark] for marks, _ in visits[root])] for root in roots]
                    row(f"{lesson}, {line}, {times} ×: seconds to {words}, median", asked, compared(middle, 1))


def weigh(lesson: str, visits: list[list[pages.Sent]]) -> None:
    """Print what each visit has loaded, and put the sums into the table."""
    for sent in visits:
        print(f"\n{'wire':>9} {'raw':>9} {'asked':>6} {'gone':>6}")
        for each in sorted(sent, key=lambda each: each.asked):
            print(f"{each.wire:9} {each.raw:9} {each.asked:6.2f} {each.gone:6.2f} {each.path}")

    def sums(files: list[pages.Sent]) -> list[float]:
        return [sum(each.wire for each in files) / 1e6, sum(each.raw for each in files) / 1e6, len(files)]

    row(
        f"{lesson}: MB on the wire to the first live control, MB as they lie there, files",
        "≤ 10",
        compared([sums(sent) for sent in visits], 1),
    )
    for kind in KINDS:
        parts = [
            [each for each in sent if kind == next(k for k, sign in KINDS.items() if re.search(sign, each.path))]
            for sent in visits
        ]
        row(f"… {kind}", "", compared([sums(part) for part in parts], 2))


# The engine in a page ------------------------------------------------------------------------------------------------

# Completions a step, as in a lesson's page: 32 are best to watch, but those of the length lesson are as short as its rewards
# are noisy, and with 32 one seed in five of the math lesson stayed under its mark.
HERE = {"format_learns": 32, "length_learns": 64, "math_learns": 48}


def learn_here(engine: InPage, name: str, seed: int, mark: float) -> dict:
    """A lesson's training by the page's own engine, its rewards by Python: the same figures as `learn`."""
    plan = RUNS[name].with_settings(seed=seed, batch_size=HERE[name])
    settings, judges = plan.settings, [each for each in plan.judges if each.__name__ != "reference_logprob"]
    size = settings.batch_size // settings.group_size
    rows = random.Random(seed).sample(plan.prompts, len(plan.prompts)) * 2
    pressed, found = time.perf_counter(), {}
    engine.start(**vars(settings))
    for i in range(settings.steps):
        metrics = engine.step(rows[i * size : (i + 1) * size], plan.rewards, settings.group_size)["metrics"]
        if metrics["reward"] >= mark and not found:
            found.update(step=i + 1, seconds=round(time.perf_counter() - pressed, 1))
    found["end"] = round(time.perf_counter() - pressed, 1)
    for when, base in (("before", True), ("after", False)):
        said = engine.call("generate", prompts=[row["prompt"] for row in plan.held_out], base=base, seed=seed)
        for judge, scores in judged(judges, plan.held_out, said).items():
            found[f"{when} {judge}"] = round(statistics.fmean(score for score in scores if score is not None), 3)
    return found | {"megabytes": round(engine.call("bytes") / 1e6), "answered": round(time.perf_counter() - pressed, 1)}


def cpu_of_the_engine(steps: int, **changes) -> float:
    """CPU seconds of the format lesson's training in the engine, under node."""
    rows = sums(512)
    with tempfile.TemporaryDirectory() as folder, node(Path(folder)) as engine:
        settings = engine.start(steps=steps, **changes)["settings"]
        size, started = settings["batch_size"] // settings["group_size"], engine.cpu
        for i in range(steps):
            engine.step(rows[i * size : (i + 1) * size], [format_reward], settings["group_size"])
        return engine.cpu - started


def engine_rows(steps: int = 12) -> None:
    """The lessons trained inside a page, by its own engine: how soon, how well, at what cost beside torch."""
    with tempfile.TemporaryDirectory() as folder, in_chromium(Path(folder)) as engine:
        found = {
            name: [learn_here(engine, name, seed, mark) for seed in SEEDS]
            for name, mark in (("format_learns", 0.9), ("length_learns", -0.1), ("math_learns", 0.9))
        }
        engine.page.evaluate(_GAPS)
        learn_here(engine, "format_learns", 0, 0.9)
        gaps = engine.page.evaluate("gaps")
    shown = {  # a recording: of its figures the title, what is asked, and the judge of its held-out replies
        "format_learns": ("reward 0.9", "≤ 10", "≤ 12", {"format_reward": "≥ 0.9"}),
        "length_learns": ("mean error ≤ 10 %", "≤ 20", "", {"length_reward": "≥ −0.1"}),
        "math_learns": ("reward 0.9", "", "≤ 40", {"answer_reward": "≥ 0.85", "thinks": "≥ 0.9"}),
    }
    for name, (mark, soon, end, judges) in shown.items():
        seeds, lesson = found[name], name.partition("_")[0]
        row(
            f"{lesson}, {HERE[name]} completions a step: {mark} at step, seeds 0–4",
            "",
            [each.get("step") for each in seeds],
        )
        row("… seconds from the press to it", soon, [each.get("seconds") for each in seeds])
        row(f"… seconds to step {RUNS[name].settings.steps}", end, [each["end"] for each in seeds])
        for judge, asked in judges.items():
            means = [f"{each[f'before {judge}']} → {each[f'after {judge}']}" for each in seeds]
            row(f"… {judge}, {len(RUNS[name].held_out)} held-out", asked, means)
    row("WebAssembly's memory (MB)", "", [each["megabytes"] for seeds in found.values() for each in seeds])
    row(
        "a page answers while it trains, median, 95 %, slowest (ms)",
        "≤ 100",
        [round(at(gaps, each)) for each in (0.5, 0.95, 1)],
    )
    for size in (32, 64):
        ours = [cpu_of_the_engine(steps, batch_size=size) / steps for _ in range(3)]
        call = f"(b.bare(2), [b.bare({steps}, b.time.process_time, batch_size={size}) / {steps} for _ in range(3)])"
        theirs = in_fresh_process(call)[1]
        pairs = [round(statistics.median(each), 3) for each in (ours, theirs)]
        row(
            f"CPU seconds of a step of {size} completions, format, medians of 3: the engine, TRL with torch",
            "less",
            pairs,
        )
    script = scripts.widget("ask").encode()
    row(
        "KB beside the model, widget and engine; packed",
        "≤ 60",
        [round(len(each) / 1000, 1) for each in (script, gzip.compress(script))],
    )


_GAPS = """() => {
    window.gaps = [];
    const look = (last) => setTimeout(() => { gaps.push(performance.now() - last); look(performance.now()); });
    look(performance.now());
}"""


_FRAMES = """() => {
    const frames = (window.frames = []);
    const look = (now) => { frames.push(now); requestAnimationFrame(look); };
    requestAnimationFrame(look);
}"""


@contextmanager
def watched(page) -> Iterator[dict]:
    """What a page does meanwhile; when it ends `tasks`, of its main thread (ms from begin to end, ms of them on a core), and
    `frames` (when each was drawn, in ms).

    A task that was long and had a core is the page's own fault; one that had none waited for it, as all do whose machine is busy.
    """
    session, events, ended, found = page.context.browser.new_browser_cdp_session(), [], [], {}
    session.on("Tracing.dataCollected", lambda said: events.extend(said["value"]))
    session.on("Tracing.tracingComplete", lambda said: ended.append(said))
    session.send("Tracing.start", {"traceConfig": {"includedCategories": ["toplevel"]}})
    page.wait_for_timeout(500)  # to begin is a task of its own
    page.evaluate(_FRAMES)
    since = page.evaluate("performance.now()")
    yield found
    found["frames"] = page.evaluate("frames")
    found["seconds"] = (page.evaluate("performance.now()") - since) / 1000
    session.send("Tracing.end")
    while not ended:
        page.wait_for_timeout(100)
    session.detach()
    mains = {
        (e["pid"], e["tid"]) for e in events if e["name"] == "thread_name" and e["args"]["name"] == "CrRendererMain"
    }
    tasks = {main: [] for main in mains}
    for each in events:
        if each["name"].endswith("RunTask") and "tdur" in each and (main := (each["pid"], each["tid"])) in mains:
            tasks[main].append((each["ts"], each["dur"] / 1000, each["tdur"] / 1000))
    busiest = sorted(max(tasks.values(), key=lambda each: sum(cpu for *_, cpu in each)))
    after = busiest[0][0] + 500_000
    found["tasks"] = [(took, cpu) for begin, took, cpu in busiest if begin > after]


def watched_rows(found: dict) -> None:
    """The rows of what `watched` has found."""
    frames, tasks = found["frames"], found["tasks"]
    apart = [later - earlier for earlier, later in itertools.pairwise(frames)]
    cpu = sum(cpu for _, cpu in tasks)
    row("… frames a second", "≥ 30", round(len(frames) / found["seconds"], 1))
    row("… of them apart, median, 95 %, most (ms)", "≤ 33", [round(at(apart, each)) for each in (0.5, 0.95, 1)])
    row("… the page's own work for a frame, without waiting for a core (ms)", "≤ 33", round(cpu / len(frames), 1))
    slow = sorted(tasks, reverse=True)[:3]
    row("… its slowest tasks (ms), and on a core", "", ", ".join(f"{took:.0f}: {cpu:.0f}" for took, cpu in slow))
    row("… its largest task on a core (ms)", "≤ 50", round(max(cpu for _, cpu in tasks)))


def frame_rows(seconds: float = 12) -> None:
    """What moves in the length lesson, each for a while, in the edit view: the loop alive, a pulled target, a training in the page."""
    with (
        tempfile.TemporaryDirectory() as runs,
        serve("edit", "notebooks/grpo_length.py", runs=Path(runs)) as url,
        browse(url, 1280, 800) as page,
    ):
        page.get_by_role("button", name="Train", exact=True).wait_for()
        settle(page)

        def watch(title: str) -> None:
            with watched(page) as found:
                page.wait_for_timeout(1000 * seconds)
            row(f"{title}, for {found['seconds']:.0f} s", "", "")
            watched_rows(found)

        def begun(moves, words: str) -> None:
            moves.filter(has_text=re.compile(words)).first.wait_for()
            moves.first.scroll_into_view_if_needed()

        def click(name: str) -> None:
            page.get_by_role("button", name=name, exact=True).last.click()

        watch("the page at rest, to compare with")
        click("Bring it to life")
        click("Run by itself")
        begun(page.locator(".alive [role=status]"), "^Round 1")
        watch("the loop alive, by itself")
        click("Pause")
        page.locator(".output-area").get_by_text("Both alike", exact=True).click()
        settle(page)
        click("Train, and pull the target")
        begun(page.locator(".output-area .told"), r"^Step \d+")
        watch("a target that can be pulled, trained in the page")
        click("Stop")
        page.locator("marimo-radio").get_by_text("here, in this page", exact=True).click()
        settle(page)
        page.get_by_role("button", name="Train", exact=True).click()
        begun(page.locator(".train .status"), r"^Step \d+")
        watch("a training in the page")


def map_rows() -> None:
    """The format lesson's sixteen trainings at once, in the edit view: how long, and what answers meanwhile."""
    label, sign = MOVABLE["format"]
    with (
        tempfile.TemporaryDirectory() as runs,
        serve("edit", "notebooks/grpo_format.py", runs=Path(runs)) as url,
        browse(url) as page,
    ):
        page.get_by_role("button", name="Train", exact=True).wait_for(timeout=60_000)
        settle(page)
        page.locator(".output-area").get_by_text("Wherever the temperature is low", exact=True).click()
        start = page.get_by_role("button", name="Train sixteen")
        start.wait_for(timeout=20_000)
        settle(page)
        page.evaluate(_GAPS)
        page.evaluate(_LISTEN, [".gl", sign])
        slider = page.locator("marimo-slider", has=page.get_by_text(label, exact=True)).get_by_role("slider")
        with watched(page) as found:
            start.click()
            began, status = time.perf_counter(), page.locator(".output-area .told")
            slider.focus()
            for moves in range(1, 1000):
                page.keyboard.press("ArrowLeft" if moves % 2 else "ArrowRight")
                page.wait_for_function(f"window.answers.length >= {moves}", polling=20, timeout=60_000)
                page.wait_for_timeout(1000 * PACE)
                if status.get_by_text(re.compile("Finished: 240 steps")).count():
                    break
            took, gaps, answers = time.perf_counter() - began, page.evaluate("gaps"), page.evaluate("window.answers")
    row("sixteen trainings of 15 steps, two at a time (s)", "≤ 60", round(took, 1))
    shares = (0.5, 0.95, 1)
    row("… the page answers meanwhile, median, 95 %, slowest (ms)", "≤ 100", [round(at(gaps, each)) for each in shares])
    row("… a control answers, the same (ms)", "", [round(at(answers, each)) for each in shares])
    watched_rows(found)


# A class -------------------------------------------------------------------------------------------------------------


class Remembered(Engine):
    """A learner's computer: what an engine has said to the lesson's training, after the time that it took there."""

    def __init__(self, answers: list[tuple[str, dict | bytes, float]]):
        self.answers = iter(answers)

    def call(self, call, **given):
        name, result, seconds = next(self.answers)
        assert name == call
        time.sleep(seconds)
        return result


def remember() -> list[tuple[str, dict | bytes, float]]:
    """The format lesson's training as a class has it, and what an engine says to each of its calls."""
    answers = []

    async def call(name: str, given: dict):
        began = time.perf_counter()
        said = engine.carry_out(name, given)
        answers.append((name, said, time.perf_counter() - began))
        return said

    with tempfile.TemporaryDirectory() as folder, node(Path(folder)) as engine:
        asyncio.run(carried_out(course(RUNS["format_learns"].with_settings(batch_size=32), Watch()), call))
    return answers


def class_rows(connections: int = 27, browsers: int = 3, queue: int = 12) -> None:
    """A class of thirty on one server, three in a Chromium: all open, move, answer, train at once; some queue for TRL.

    The teacher's wall is open in a Chromium of its own all the while.
    """
    answers = remember()
    with tempfile.TemporaryDirectory() as folder, classroom(Path(folder)) as host, ExitStack() as stack:
        found, memory = {}, [0.0]
        projected = stack.enter_context(browse(f"http://{host}/wall?lesson=format", 1280, 720))
        projected.evaluate(_BARS)
        lessons = [stack.enter_context(browse(f"http://{host}/format/?step=3")) for _ in range(browsers)]
        others = threading.Thread(target=lambda: found.update(asyncio.run(_class(host, connections, queue, answers))))
        others.start()
        threading.Thread(target=_watch, args=(int(host.split(":")[1]), memory), daemon=True).start()
        seen = _in_chromium(lessons, others)
        moved = projected.evaluate("window.moved")
        records = len([*Path(folder).glob("class/seat-*/format/run.json")])
    opened = found["opened"]
    found["screen"] = seen["took"]
    row(
        f"{connections} more open a lesson at once: first, median, last (s)",
        "",
        [at(opened, each) for each in (0, 0.5, 1)],
    )
    for words, name in (
        ("a control answers, no training", "idle"),
        ("… all thirty train, each in their own browser", "busy"),
        ("… one is trained by TRL, others wait in line", "line"),
        (f"… on the screens of {browsers} Chromiums beside them, trainings or not", "screen"),
    ):
        took = [round(1000 * at(found[name], share)) for share in (0.5, 0.95)]
        row(f"{words}: median, 95 % (ms; {len(found[name])} moves)", "≤ 300, ≤ 1000", took)
    follows = [next((when for when in moved if when > pressed), math.inf) - pressed for pressed in found["predicted"]]
    row(
        f"the wall's bars follow a choice, while all train: median, most (s; {len(follows)} choices)",
        "≤ 1",
        [round(at(follows, share), 2) for share in (0.5, 1)],
    )
    alone = sum(seconds for _, _, seconds in answers)
    row(
        "a training of a learner's own, and with all others at once (s)", "", [round(alone, 1), round(found["took"], 1)]
    )
    row("ten closed tabs free their places (s)", "≤ 15", round(found["freed"], 1))
    row("learners, and records of finished trainings", "as many", [connections + browsers, records])
    row("memory of the server at most (GB)", "≤ 4", round(memory[0] / 1e9, 2))


_BARS = """() => { window.moved = []; let shown = "";
    new MutationObserver(() => {
        const now = [...document.querySelectorAll("[data-number='0'] .option b")].map(each => each.textContent).join();
        if (now !== shown) { shown = now; window.moved.push(Date.now() / 1000); }
    }).observe(document.querySelector("[data-number='0']"), { subtree: true, childList: true }); }"""


def _watch(port: int, most: list[float]) -> None:
    import psutil

    server = next(each for each in psutil.net_connections("tcp") if each.laddr.port == port and each.status == "LISTEN")
    with suppress(psutil.NoSuchProcess):  # the class is over
        while True:
            most[0] = max(most[0], psutil.Process(server.pid).memory_info().rss)
            time.sleep(0.5)


def _in_chromium(lessons: list, others: threading.Thread) -> dict:
    """Move a slider of every page in turn, and train in each, until the others have finished."""
    took = []
    for page in lessons:
        page.get_by_text("+0.94").first.wait_for(timeout=120_000)
        page.goto(page.url.replace("step=3", "step=7"))
        page.get_by_role("button", name="Train", exact=True).wait_for(timeout=120_000)
        settle(page)
        page.get_by_role("button", name="Train", exact=True).click()
        page.get_by_role("combobox", name="Station").select_option(label="3 · From rewards to advantages")
    right = True
    while others.is_alive():
        for page in lessons:
            shown = page.get_by_text(re.compile("^group mean")).inner_text()
            began = time.monotonic()
            press(page, "replies out of 8 that earn 1", "ArrowRight" if right else "ArrowLeft")
            page.wait_for_function(
                "shown => document.getElementById('App').innerText.match(/group mean \\S+/)[0] !== shown",
                arg=shown,
                polling=20,
            )
            took.append(time.monotonic() - began)
        right = not right
        time.sleep(3)
    for page in lessons:
        page.get_by_role("combobox", name="Station").select_option(label="7 · Train")
        page.get_by_text("Finished: 25 steps").wait_for(timeout=300_000)
    return {"took": took, "finished": len(lessons)}


async def _class(host: str, many: int, queue: int, answers: list) -> dict:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(many))  # a computer each
    everybody = [Learner(host, trainer=Remembered(answers)) for _ in range(many)]
    opened = [round(took, 1) for took in await asyncio.gather(*[learner.open() for learner in everybody])]

    async def play(learner: Learner, seconds: float, took: list[float]) -> None:
        chance = random.Random(learner.name)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            await asyncio.sleep(chance.uniform(1, 7))  # somebody who looks at what has changed
            label, low, high = chance.choice([("replies out of 8", 0, 8), ("G, the group size", 2, 16)])
            took.append(await learner.set(label, chance.randint(low, high)))

    async def predict(predicted: list[float]) -> None:
        for number in count():  # one after the other, so that each bar that moves is known by its press
            options = wall.asked("format")[0].options
            predicted.append(time.time())
            await everybody[number % many].set("All eight replies of a group earn 0", options[number % 2 * 2])
            await asyncio.sleep(3)

    idle, busy, line, predicted = [], [], [], []
    await asyncio.gather(*[play(learner, 30, idle) for learner in everybody])
    for learner in everybody:
        await learner.set("All eight replies of a group earn 0", "Nothing at all")
    began = time.monotonic()
    await asyncio.gather(*[learner.train() for learner in everybody])
    predicting = asyncio.create_task(predict(predicted))
    await asyncio.gather(*[play(learner, 15, busy) for learner in everybody])
    await asyncio.gather(*[learner.sees("Finished: 25 steps", 300) for learner in everybody])
    predicting.cancel()
    took = time.monotonic() - began
    patient = everybody[:queue]
    await asyncio.gather(*[learner.train(by_trl=True) for learner in patient])
    await asyncio.sleep(10)
    await asyncio.gather(*[play(learner, 20, line) for learner in everybody])
    gone, closed = [each for each in patient if "in front of you" in each.text][-10:], time.monotonic()
    await asyncio.gather(*[learner.close() for learner in gone])
    names = {f"seat {learner.seat}" for learner in gone}
    onlooker = everybody[-1]  # in no line: whoever looks at it shows that they are still there
    while names & {place["who"] for place in (await onlooker.http.get("/line")).json()}:
        await asyncio.sleep(0.2)
    freed = time.monotonic() - closed
    await asyncio.gather(*[learner.sees("Finished: 25 steps", 900) for learner in patient if learner not in gone])
    found = {"opened": opened, "idle": idle, "busy": busy, "line": line}
    return found | {"freed": freed, "took": took, "predicted": predicted[:-1]}  # the last one's bar was not waited for


# A GPU -------------------------------------------------------------------------------------------------------------


def on_this_device(lesson: str, steps: int = 0, **changes) -> Plan:
    """A lesson's training of SmolLM2 as it stands on this device; where there is no GPU, the pocket model's, two steps of it."""
    import importlib

    from grpo_lessons.lesson.controls import settings_for

    module = importlib.import_module(f"notebooks.grpo_{lesson}")
    model = SMOLLM2 if machine.gpu() else "pocket"
    settings = settings_for(model, module.DEFAULT)
    steps = (steps or settings.steps) if machine.gpu() else 2
    plan = module.plan(replace(settings, steps=steps, **changes))
    return plan if machine.gpu() else replace(plan, prompts=plan.prompts[:64], held_out=plan.held_out[:4])


def told(title: str, plan: Plan, asked: str = "", reward: str = "") -> dict:
    """Train, and write down what it took: seconds from the press, of a step, memory, and what was learnt."""
    started = time.perf_counter()
    run = train(plan).run
    took, steps = time.perf_counter() - started, [row.get("seconds", 0) for row in run.metrics]
    each = (steps[-1] - steps[0]) / max(1, len(steps) - 1)
    first, last = run.metrics[0]["reward"], run.metrics[-1]["reward"]
    learnt = f", held-out {run.before.mean(reward):.2f} → {run.after.mean(reward):.2f}" if reward else ""
    found = (
        f"{took:.0f} s, {each:.2f} s a step, reward {first:.2f} → {last:.2f}{learnt}, {run.provenance['peak memory']}"
    )
    row(f"{title} ({run.provenance['hardware']}, {plan.settings.dtype})", asked, found)
    return {"took": took, "each": each}


def gpu_rows() -> None:
    """On a GPU what no CPU tells, most important first, in ten minutes; without one a rehearsal with the pocket model."""
    import torch

    from grpo_lessons.training import fit, keep
    from tests.test_machines import in_the_shape_of_qwen

    load_libraries()
    told("format as shipped", as_shipped := on_this_device("format"), "the mark in 20 s on an H100", "format_reward")
    told("… 64 completions learnt from in four parts", on_this_device("format", 6, batch_size=64, accumulation=4))
    torch.backends.cuda.matmul.allow_tf32 = True
    told("… with TF32", on_this_device("format", 6))
    torch.backends.cuda.matmul.allow_tf32 = False
    told("… in 16 bits, the adapter apart", on_this_device("format", 6, dtype="bfloat16"))
    told("… the exercise's settings", on_this_device("format", 6, learning_rate=1e-5))
    told("… TRL's defaults", on_this_device("format", 6, learning_rate=1e-6, beta=0.0, max_grad_norm=1.0))
    probe = fit.measure(as_shipped)
    cost = fit.estimate(as_shipped, probe)
    true = told("… the estimate's training", on_this_device("format", 6))
    row("… a step by the estimate, over the truth", "1 to 2", f"{(cost.sampling + cost.learning) / true['each']:.2f}")
    told("length", on_this_device("length"), "", "length_reward")
    told("math", on_this_device("math"), "", "answer_reward")
    with tempfile.TemporaryDirectory() as folder:
        model = in_the_shape_of_qwen(Path(folder), "0.5B" if machine.gpu() else "small")
        told(
            "the shape of Qwen2.5-0.5B, random weights",
            replace(as_shipped, held_out=()).with_settings(model=str(model), steps=3),
        )
        trained = train(on_this_device("format", 2))
        keep.save(trained, folder)
        asked = [{"role": "user", "content": "What is 12 + 45?"}]
        here = keep.ask(trained.model, trained.tokenizer, asked).strip()
        again, merged = keep.ask_anew(folder, asked), keep.ask(*keep.load(keep.merge(folder)), asked).strip()
        row("saved, asked anew, merged: the same reply", "three times", f"{1 + (again == here) + (merged == here)}")
    del trained
    machine.tidy()
    held = torch.cuda.memory_reserved() if torch.cuda.is_available() else 0
    row("memory that stays on the card after all of it", "< 0.5 GB", f"{held / 1e9:.1f} GB")


def memory_rows() -> None:
    """What 64 completions of 256 tokens take of models in the shape of Qwen2.5, reckoned as for a GPU, in float32."""
    from grpo_lessons.training import fit
    from tests.test_machines import QWEN, in_the_shape_of_qwen

    load_libraries()
    ways = {"at once": {}, "in eight parts": {"accumulation": 8}}
    ways["… with gradient checkpointing"] = ways["in eight parts"] | {"gradient_checkpointing": True}
    for size in ("0.5B", "1.5B"):
        with tempfile.TemporaryDirectory() as folder:
            name = str(in_the_shape_of_qwen(Path(folder), size))
            settings = Settings(model=name, batch_size=8, beta=0.0, max_completion_length=256)
            probe = fit.measure(Plan(settings, [format_reward], sums(16)))
        # what a GPU holds otherwise than a CPU: fewer fragments, tiles of Triton's, the context of CUDA
        tiles = min(QWEN[size][-1], fit.trl_inside.HEAD_WIDTH) * 4
        probe = replace(probe, fragments=1.1, base=5 * 10**8, head=tiles)
        row(f"{size}: the weights alone", "", f"{probe.weights / 1e9:.1f} GB")
        for way, changes in ways.items():
            plan = Plan(replace(settings, batch_size=64, **changes), [format_reward], sums(16))
            row(f"{size}: learnt from {way}", "", f"{fit.estimate(plan, probe).memory / 1e9:.1f} GB")


# One's own: what a pilot says, and what a training then does ---------------------------------------------------------


def constant(completions: list, **kwargs) -> list[float]:
    """A reward that pays everybody the same."""
    return [0.5 for _ in completions]


def boxed_only(completions: list, **kwargs) -> list[float]:
    """A reward for what the pocket model does in one reply of twenty."""
    return [float("boxed" in completion[0]["content"]) for completion in completions]


def answer_and_brevity(completions: list, answer: list, **kwargs) -> list[float]:
    """1 for the right answer and 0.2 for at most twelve words, which the pocket model hardly ever exceeds."""
    return _with_bonus(completions, answer, lambda text: len(text.split()) <= 12)


def answer_and_block(completions: list, answer: list, **kwargs) -> list[float]:
    """1 for the right answer and 0.2 for a block, which is there in a third of the replies."""
    return _with_bonus(completions, answer, lambda text: "<answer>" in text)


def _with_bonus(completions: list, answer: list, earned: Callable[[str], bool]) -> list[float]:
    right = answer_reward(completions=completions, answer=answer)
    return [score + 0.2 * earned(each[0]["content"]) for score, each in zip(right, completions, strict=True)]


def asked_otherwise(n: int) -> list[dict]:
    """Sums in words that the pocket model was not taught: What is 12 and 45 and 38?"""
    rows = [(row["prompt"][0]["content"].replace(" + ", " and "), row["answer"]) for row in sums(n)]
    return [{"prompt": [{"role": "user", "content": asked}], "answer": answer} for asked, answer in rows]


def one_sentence(n: int) -> list[dict]:
    """The shortest of word problems, which the pocket model was not taught either."""
    asked = [(i % 89 + 2, i % 7 + 1) for i in range(n)]
    return [
        {
            "prompt": [{"role": "user", "content": f"Ida has {a} coins and gets {b} more. How many?"}],
            "answer": str(a + b),
        }
        for a, b in asked
    ]


def word_problems(column: str) -> list[dict]:
    """The course's own rows, asked by one of their columns."""
    from grpo_lessons.training.data import open_data, prompts

    return prompts(open_data(ROOT / "notebooks/public/word_problems.csv"), column, "answer").train


def cases_of_ones_own() -> dict[str, Plan]:
    """Trainings of 15 steps, some of which can teach the pocket model and some cannot."""
    usual, answers = Settings(steps=15), Settings(steps=15, learning_rate=2e-3)
    code = ("code", "explanation")
    return {
        "format": Plan(usual, [format_reward], sums(512)),
        "format, tags it never wrote": Plan(usual, [FormatReward(code)], sums(512)),
        "a part of those tags": Plan(usual, [TagReward(code)], sums(512)),
        "a part of tags it wrote": Plan(usual, [TagReward()], sums(512)),
        "format, cut off at 6 tokens": Plan(replace(usual, max_completion_length=6), [format_reward], sums(512)),
        "answers, three numbers": Plan(answers, [answer_reward], sums(512)),
        "answers, four numbers": Plan(answers, [answer_reward], sums(512, terms=4)),
        "answers, off by up to 100": Plan(answers, [AnswerReward(tolerance=100)], sums(512)),
        "answers in their block": Plan(answers, [AnswerReward(strict=True)], sums(512)),
        "a length of 20 tokens": Plan(
            replace(usual, learning_rate=5e-3, max_completion_length=64), [LengthReward()], texts(512)
        ),
        "a habit of one reply in twenty": Plan(usual, [boxed_only], sums(512)),
        "answers, asked otherwise": Plan(answers, [answer_reward], asked_otherwise(512)),
        "always the same": Plan(usual, [constant], sums(512)),
        "our rows, in figures": Plan(answers, [answer_reward], word_problems("question")),
        "our rows, in words": Plan(answers, [answer_reward], word_problems("problem")),
        "one sentence, with a bonus that is earned already": Plan(answers, [answer_and_brevity], one_sentence(512)),
        "our rows, in words, with a bonus that can be learnt": Plan(
            answers, [answer_and_block], word_problems("problem")
        ),
        "our rows, in words, format and answer": Plan(usual, [format_reward, answer_reward], word_problems("problem")),
    }


def foretold(name: str) -> dict:
    """What a pilot says of a case, and whether the reward of 15 steps then rises: by more than two standard errors."""
    from grpo_lessons.diagnosis import change
    from grpo_lessons.training.pilot import pilot

    plan, began = cases_of_ones_own()[name], time.perf_counter()
    found = pilot(plan)
    took = time.perf_counter() - began
    reward = [row["reward"] for row in train(plan).run.metrics]
    ends = [round(statistics.fmean(each), 2) for each in (reward[:5], reward[-5:])]
    rises = change(reward) > 0
    return {"said": found.verdict.name, "teaches": found.verdict.teaches, "rises": rises, "ends": ends, "took": took}


COMPLAINTS = Path(__file__).with_name("data") / "complaints.json"


def million_rows() -> dict:
    """Seconds to open a file of a million rows and to make prompts of it."""
    import pyarrow
    from pyarrow import parquet

    from grpo_lessons.training.data import guess, open_data, prompts

    rows = [
        {"question": f"Ann has {i % 89 + 10} apples, Ben {i}. How many?", "answer": str(i)} for i in range(1_000_000)
    ]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        lines, table, columns = (Path(folder) / f"rows.{kind}" for kind in ("jsonl", "csv", "parquet"))
        lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
        table.write_text("question,answer\n" + "".join(f'"{row["question"]}",{row["answer"]}\n' for row in rows))
        parquet.write_table(pyarrow.Table.from_pylist(rows), columns)
        for path in (table, lines, columns):
            began = time.perf_counter()
            data = open_data(path)
            prompts(data, *guess(data.columns))
            found[path.suffix[1:]] = round(time.perf_counter() - began, 1)
    return found


def own_rows() -> None:
    """A pilot's verdict on constructed cases beside a training of 15 steps; a million rows opened; complaints named."""
    from grpo_lessons.diagnosis import diagnose_text

    for kind, took in in_fresh_process("b.million_rows()").items():
        row(f"1,000,000 rows of {kind}, seconds until there are prompts", "a few", took)
    complaints = json.loads(COMPLAINTS.read_text("utf-8"))
    named = sum(each["name"] in [finding.name for finding in diagnose_text(each["log"])[:2]] for each in complaints)
    row("complaints named rightly", "17 of 17", f"{named} of {len(complaints)}")
    seen = {name: in_fresh_process(f"b.foretold({name!r})") for name in cases_of_ones_own()}
    for name, each in seen.items():
        row(
            f"{name}: the verdict; reward of the first and the last five steps",
            "",
            f"{each['said']}; {each['ends'][0]} → {each['ends'][1]}",
        )
    agree = sum(each["teaches"] == each["rises"] for each in seen.values())
    row("verdict and training agree", "≥ 9 of 10", f"{agree} of {len(seen)}")
    row(
        "seconds from nothing loaded to a verdict, median",
        "≤ 30",
        f"{statistics.median(each['took'] for each in seen.values()):.0f}",
    )


# Right answers -----------------------------------------------------------------------------------------------------

PAIRS = Path(__file__).with_name("data") / "answers.json"


def by_math_verify(completion: str, gold) -> bool:
    """Whether math-verify takes the answer of a completion for right."""
    answer = completion.rpartition("</think>")[2]
    answer = answer.partition("<answer>")[2].partition("</answer>")[0] or answer
    text = str(gold[0]) if isinstance(gold, list) else str(gold)
    with suppress(Exception):
        return math_verify_says(text, answer)
    return False


def by_trl(completion: str, gold) -> bool:
    """Whether `trl.rewards.accuracy_reward` pays."""
    from trl.rewards import accuracy_reward

    text = str(gold[0]) if isinstance(gold, list) else str(gold)
    with suppress(Exception):
        return accuracy_reward([[{"role": "assistant", "content": completion}]], [f"${text}$"]) == [1.0]
    return False


def answer_rows() -> None:
    """Right answers as data sets and models write them: ours, math-verify and TRL side by side, by kind; a few seconds."""
    import logging

    logging.getLogger("math_verify").setLevel(logging.ERROR)
    judges = {
        "ours": lambda completion, gold: answer_reward(completions=[completion], answer=[gold]) == [1.0],
        "math-verify": by_math_verify,
        "TRL": by_trl,
    }
    pairs = json.loads(PAIRS.read_text("utf-8"))
    wrong, unpaid = ({name: {} for name in judges} for _ in range(2))
    for pair in pairs:
        for name, judge in judges.items():
            if judge(pair["completion"], pair["gold"]) != bool(pair["right"]):
                counts = (unpaid if pair["right"] else wrong)[name]
                counts[pair["kind"]] = counts.get(pair["kind"], 0) + 1

    def said(kind: str | None) -> str:
        each = (
            f"{name} {sum(wrong[name].values()) if kind is None else wrong[name].get(kind, 0)} / "
            f"{sum(unpaid[name].values()) if kind is None else unpaid[name].get(kind, 0)}"
            for name in judges
        )
        return ", ".join(each)

    for kind in sorted({pair["kind"] for pair in pairs}):
        n = sum(pair["kind"] == kind for pair in pairs)
        row(f"{kind}, {n} pairs: wrong paid / right unpaid", "", said(kind))
    row(f"all {len(pairs)} pairs: wrong paid / right unpaid", "≤ 2 / ≤ 8 of 238", said(None))
    replies = [f"<think>{n} and {n}</think><answer>{2 * n}.0</answer>" for n in range(64)]
    took = []
    for _ in range(9):
        read.cache_clear()
        started = time.perf_counter()
        answer_reward(completions=replies, answer=[str(2 * n) for n in range(64)])
        took.append(1000 * (time.perf_counter() - started))
    row("64 numbers, ms, median of nine", "≤ 50", f"{statistics.median(took):.0f}")


# -------------------------------------------------------------------------------------------------------------------

RECIPES: dict[str, Callable[..., None]] = {
    "length": length_rows,
    "format": format_rows,
    "warm": warm_rows,
    "math": math_rows,
    "overhead": overhead_rows,
    "smollm2": real_rows,
    "browser": browser_rows,
    "edit": view_rows,
    "page": page_rows,
    "visit": visit_rows,
    "engine": engine_rows,
    "map": map_rows,
    "frames": frame_rows,
    "class": class_rows,
    "answers": answer_rows,
    "own": own_rows,
    "gpu": gpu_rows,
    "memory": memory_rows,
}
COMPARE = ("edit", "visit")  # take --times, --lesson, --against


def main() -> None:
    """Run the recipes that the command line names."""
    recipes = "\n".join(f"  {name:9} {recipe.__doc__.splitlines()[0]}" for name, recipe in RECIPES.items())
    parser = argparse.ArgumentParser(
        description="Measure the course's figures and write them into tests/FIGURES.md.",
        epilog=f"recipes:\n{recipes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a recipe; all of them if there is none")
    edit = parser.add_argument_group("of the recipes edit and visit")
    edit.add_argument("--times", type=int, default=3, help="how often each lesson is opened (default: 3)")
    edit.add_argument("--lesson", choices=MOVABLE, help="this one only; printed, not written")
    edit.add_argument("--against", type=Path, metavar="DIR", help="beside another clone; printed, not written")
    options = parser.parse_args()
    if unknown := set(options.names) - set(RECIPES):
        parser.error(f"no such recipe: {', '.join(sorted(unknown))}. There are: {', '.join(RECIPES)}.")
    if options.against and not (options.against / "notebooks").is_dir():
        parser.error(f"--against {options.against}: there are no notebooks.")
    lessons = (options.lesson,) if options.lesson else tuple(MOVABLE)
    against = options.against and options.against.resolve()
    is_part = bool(options.lesson or options.against)  # a part must not stand where the whole has stood
    for name in options.names or RECIPES:
        print(f"\n## {name}\n\n{TABLE}")
        _rows.clear()
        load = os.getloadavg()[0]
        RECIPES[name](*([options.times, lessons, against] if name in COMPARE else []))
        if not (name in COMPARE and is_part):
            write_section(name, load)


if __name__ == "__main__":
    main()
