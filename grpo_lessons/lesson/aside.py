"""A training of a lesson's own plain code, beside the station: in a thread, with the device to itself, and what it has come to."""

import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean

import marimo as mo

from grpo_lessons import cards
from grpo_lessons.cards import short
from grpo_lessons.curves import CURVES, curves
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.words import failed
from grpo_lessons.runs import Run, seconds_left
from grpo_lessons.text import counted
from grpo_lessons.training import explain, line
from grpo_lessons.training.ledger import step_counter
from grpo_lessons.training.machine import load_libraries


@dataclass(frozen=True)
class Progress:
    """How far it is: waiting in words, steps done, and in the end the reward of each step, or why there is none."""

    phase: str = "Running: loading torch, TRL and the model first"
    done: int = 0
    total: int = 1
    seconds: float = 0.0
    rewards: tuple[float, ...] | None = None
    error: str | None = None


def in_background(opened: Opened, function: Callable[[object], list[float]], publish: Callable[[Progress], None]):
    """Run a slow function in a thread; it is given a callback for a trainer, and returns the reward of each step.

    The callback publishes its progress, and ends the training where a class's limit is.
    """

    def progress(done: int, total: int, seconds: float, tell: Callable[[float], None]) -> bool:
        total = min(total, opened.most_steps)
        publish(Progress(f"Step {done} of {total}", done, total, seconds))
        tell(seconds_left(done, total, seconds))
        return done >= opened.most_steps or not opened.in_time(seconds)

    def work() -> None:
        device = opened.seat.device if opened.seat else nullcontext()
        try:
            with (
                device,
                line.turn(  # a learner has one place in the line
                    waiting=lambda in_front: publish(Progress(line.in_words(in_front))),
                    should_stop=lambda: not opened.in_time(0.0),
                    who=opened.who,
                    first=opened.goes_first,
                ) as tell,
            ):
                if tell:
                    publish(Progress())
                    load_libraries()
                    publish(Progress(rewards=tuple(function(step_counter(partial(progress, tell=tell))))))
        except Exception as error:  # whatever it is, the reader must be told
            publish(Progress(error=explain(error)))
            traceback.print_exc()

    publish(Progress())
    mo.Thread(target=work, daemon=True).start()


def outcome(opened: Opened, said: Progress | None, waiting: str) -> mo.Html:
    """A bar, or the rewards that came of it, or why it failed; `waiting`: what to expect, before it has begun."""
    if not opened.trains:
        return mo.md("*It needs torch, which a web page does not have: run it in the course on your own machine.*")
    if said is None:
        return mo.md(f"*{waiting}*")
    if said.error:
        return failed(said.error)
    if said.rewards is None:
        return mo.Html(cards.page(cards.progress(said.phase, said.done, said.total, said.seconds)))
    run = Run({"steps": len(said.rewards)}, metrics=[{"step": i, "reward": r} for i, r in enumerate(said.rewards, 1)])
    return mo.Html(
        cards.page(f"<p>{_verdict(said.rewards)}</p>", curves({"": run}, watch=[replace(CURVES[0], span=(None, None))]))
    )


def _verdict(rewards: tuple[float, ...]) -> str:
    """Whether it has learnt, in words: a single step is luck, so the first third is put beside the last."""
    some = min(len(rewards), max(2, len(rewards) // 3))
    first, last = fmean(rewards[:some]), fmean(rewards[-some:])
    rises = "it learns" if len(rewards) > 9 else "it rises, and of so few steps that may be luck"
    word = rises if last > first else "it does not learn, or not yet"
    means = f"the first {counted(some, 'step')} {short(first)}, the last {short(last)}"
    return f"Reward of each step; on average {means}: <b>{word}</b>."
