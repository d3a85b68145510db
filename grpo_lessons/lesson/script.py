"""A lesson without a browser: `python notebooks/grpo_LESSON.py -- --steps 10`, or with `--seeds 5` five times over."""

import hashlib
import inspect
import json
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

from grpo_lessons import plots
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.session import keep_record, record_of
from grpo_lessons.luck import MOST, Judged
from grpo_lessons.rewards import Reward, describe
from grpo_lessons.runs import Run
from grpo_lessons.text import counted
from grpo_lessons.training import Plan, Settings, Trained, Unfinished, Watch, explain, keep, train, unfinished


def as_script(opened: Opened, plan: Plan, ask_first: Callable[[Plan], None] = lambda plan: None) -> None:
    """Train with a progress bar, write the run's record and save the adapter, if the lesson was opened as a program; else nothing.

    `ask_first`: what is asked of a plan that can be trained, before it is.
    """
    if not opened.is_script:
        return
    # A program of marimo runs in asyncio, where the first Ctrl+C would wait for the end of this cell.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not plan.problem:
        ask_first(plan)
    if "seeds" in opened.options:
        return with_seeds(opened, plan, how_many(opened.options["seeds"]))
    left = left_over(opened)
    resume = left is not None and (settings_of(left.run), left.run.choices) == (plan.settings, plan.choices)
    try:
        trained = _trained(plan, opened.lesson, opened.folder / "unfinished", left if resume else None)
    except KeyboardInterrupt:
        raise SystemExit("Stopped. The same command goes on from its last checkpoint, if it had come to one.") from None
    run = trained.run
    if lost := keep_record(run, opened):
        raise SystemExit(f"The training has ended{lost}.")
    print(run.label)
    for name in run.after.completions[0].rewards if run.after else ():
        print(f"held-out {name}: {run.before.mean(name):.3f} before, {run.after.mean(name):.3f} after")
    print(f"record: {record_of(opened)}")
    if trained.model:
        try:
            print(f"adapter: {keep.save(trained, opened.folder)}")
        except OSError as error:
            raise SystemExit(f"The adapter could not be saved: {error}") from None


def _trained(plan: Plan, name: str, checkpoints: Path, left: Unfinished | None) -> Trained:
    """One training with a bar, gone on with where one is `left`. Raises: SystemExit with what went wrong, in words."""
    from tqdm import tqdm

    if left:
        print(f"Going on from step {left.run.steps_done}, where this training was killed.")
    with tqdm(total=plan.settings.steps, unit="step", desc=name) as bar:

        def update(phase: str, run: Run) -> None:
            bar.n = run.steps_done
            bar.set_postfix_str(f"reward {run.metrics[-1]['reward']:.2f}, {phase}" if run.metrics else phase)

        try:
            return train(plan, Watch(update=update), checkpoints, bool(left))
        except Exception as error:
            raise SystemExit(explain(error)) from error


def how_many(seeds: str) -> int:
    """What `--seeds` says. Raises: SystemExit for what is no such number.

    >>> how_many("5")
    5
    """
    if not seeds.isdecimal() or not 2 <= int(seeds) <= MOST:
        raise SystemExit(f"--seeds {seeds!r}: expected a whole number from 2 to {MOST}.")
    return int(seeds)


def with_seeds(opened: Opened, plan: Plan, number: int) -> None:
    """Train with so many seeds, from the plan's on, one after another; draw and say how far apart they come.

    Every seed's record is written as soon as it has ended, and is there again when the same is asked for once more; of one
    that was killed the checkpoints are. Another setting, other rows, or a reward that was changed since has a folder of its own.
    """
    folder, first, runs = opened.folder / f"seeds-{fingerprint(plan)}", plan.settings.seed, []
    with suppress(KeyboardInterrupt):
        for seed in range(first, first + number):
            runs.append(_of_seed(plan.with_settings(seed=seed), opened.lesson, folder))
    if len(runs) > 1:
        plots.seeds(runs).savefig(folder / "seeds.png", dpi=160)
        for name, judged in Judged.all_of(runs).items():
            print(f"held-out {name}: {judged}")
        print(f"figure: {folder / 'seeds.png'}")
    print(f"records: {folder}")
    if len(runs) < number:
        raise SystemExit(
            f"Stopped: {counted(len(runs), 'seed')} of {number} kept. The same command goes on from there."
        )


def _of_seed(plan: Plan, lesson: str, folder: Path) -> Run:
    """The record of one of them: as it was written earlier, else of a training now."""
    name, checkpoints = f"seed {plan.settings.seed}", folder / "unfinished"
    record = folder / f"{name.replace(' ', '-')}.json"
    with suppress(OSError, ValueError):  # none yet, or half of one
        run = Run.load(record)
        print(f"{name} is there: {record}")
        return run
    left = unfinished(checkpoints)
    left = left if left and settings_of(left.run) == plan.settings else None
    run = _trained(plan, f"{lesson}, {name}", checkpoints, left).run
    run.save(record)
    return run


def fingerprint(plan: Plan) -> str:
    """Eight characters for all that makes a training what it is but its seed: settings, rows, and the source of its rewards."""

    def source(reward: Reward) -> str:
        reward = getattr(reward, "func", reward)  # of a partial
        with suppress(TypeError, OSError):  # written in C, or in a cell
            return Path(inspect.getfile(reward if inspect.isroutine(reward) else type(reward))).read_text("utf-8")
        return ""

    rewards = [(describe(each), source(each)) for each in (*plan.rewards, *plan.judges)]
    made = [vars(plan.settings) | {"seed": None}, rewards, plan.prompts, plan.held_out, plan.choices, plan.warm_start]
    return hashlib.sha256(json.dumps(made, default=repr).encode()).hexdigest()[:8]


def left_over(opened: Opened) -> Unfinished | None:
    """A training of this lesson that was killed, if the lesson keeps such."""
    return unfinished(opened.folder / "unfinished") if opened.folder and opened.is_own else None


def settings_of(run: Run) -> Settings:
    """The settings that a run was made with."""
    weights = run.settings.get("reward_weights")
    known = {spec.name for spec in fields(Settings)}  # an older record may have settings that are no more
    settings = {name: value for name, value in run.settings.items() if name in known}
    return replace(Settings(), **settings | {"reward_weights": tuple(weights) if weights else None})
