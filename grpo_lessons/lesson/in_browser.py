"""A training in the reader's own browser: the pocket model is sampled and learnt from there, and Python says what it is paid.

The engine of `pocket` runs in a worker. `course` is what is asked of it, one call after the other, and knows neither page nor
server: it yields each call and is sent the answer; what carries them stands in `engines`.
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from dataclasses import replace
from datetime import date

import marimo as mo

from grpo_lessons.calling import columns, evaluated
from grpo_lessons.lesson.engines import EngineError
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.second_python import is_waited_for
from grpo_lessons.rewards import reward_name
from grpo_lessons.runs import Evaluation, Run, read_moved
from grpo_lessons.training import Plan, Watch
from grpo_lessons.training.ledger import Ledger
from grpo_lessons.training.models import ReferenceLogProb

Call = tuple[
    str, dict
]  # of worker.js: its name, and what it is given; or "reward", of a reward that has to be waited for
ASKED_AT_ONCE = 32  # held-out prompts: between two such calls a page can be told how far it is, and Stop be heard


def course(plan: Plan, watch: Watch) -> Generator[Call, dict, tuple[Run, bytes]]:
    """A training as calls of the engine; returns its record, and the adapter that it has learnt.

    Raises: ValueError for a plan that cannot be trained; what a reward raises.
    """
    if refusal := plan.refusal:
        raise ValueError(refusal)
    settings, run = plan.settings, plan.new_run()
    judges = [judge for judge in plan.judges if not isinstance(judge, ReferenceLogProb)]  # torch is asked about that
    run.provenance = {"model": "pocket", "hardware": "this browser", "date": date.today().isoformat()}
    watch.update("Loading the model (2 MB)", run)
    yield "start", {"settings": dict(vars(settings))}

    def answer(when: str) -> Generator[Call, dict, Evaluation | None]:
        if not plan.held_out:
            return None
        watch.update(f"Answering {len(plan.held_out)} held-out prompts, {when}", run)
        texts, ids = [], []
        for first in range(0, len(plan.held_out), ASKED_AT_ONCE):
            some = [row["prompt"] for row in plan.held_out[first : first + ASKED_AT_ONCE]]
            said = yield "generate", {"prompts": some, "seed": settings.seed + 1 + first}
            texts, ids = texts + said["texts"], ids + said["ids"]
        return evaluated(judges, plan.held_out, _completions(plan.held_out, texts), ids)

    run.before = yield from answer("before")
    every = plan.evaluate_every if plan.held_out else 0
    ledger, rows, began = (
        Ledger(settings, judges, lambda: None),
        _shuffled(plan.prompts, settings.seed),
        time.monotonic(),
    )
    watch.update(f"Step 1 of {settings.steps}: sampling", run)
    while run.steps_done < settings.steps and not watch.should_stop():
        asked = [next(rows) for _ in range(settings.batch_size // settings.group_size)]
        said = yield "sample", {"prompts": [row["prompt"] for row in asked]}
        completions = _completions(asked, said["texts"])
        seen, paid = columns(asked, completions, said["ids"], settings.group_size), {}
        for reward in filter(is_waited_for, plan.rewards):
            paid[reward_name(reward)] = yield "reward", {"of": reward, "seen": seen}
        ledger.ask(plan.rewards, paid, **seen)
        step = run.steps_done + 1
        is_kept = (step - 1) % plan.sample_every == 0 or step == settings.steps
        learnt = yield "learn", {"rewards": dict(ledger.scores), "shown": ledger.shown() if is_kept else None}
        run.metrics.append(learnt["metrics"] | ledger.metrics() | {"seconds": round(time.monotonic() - began, 3)})
        if is_kept:
            group = ledger.group(step)
            run.groups.append(replace(group, moved=read_moved(learnt["tokens"], group.completions)))
        if every and run.steps_done % every == 0 and run.steps_done < settings.steps:
            run.metrics[-1] |= (yield from answer("meanwhile")).as_metrics()
        watch.update(f"Step {run.steps_done} of {settings.steps}", run)
    run.state = "stopped" if run.steps_done < settings.steps else "finished"
    run.after = yield from answer("after")
    if run.after and plan.evaluate_every and run.metrics:
        run.metrics[-1] |= run.after.as_metrics()
    about = {"settings": json.dumps(vars(settings)), "provenance": json.dumps(run.provenance)}
    return run, (yield "save", {"about": about})


async def carried_out(calls: Generator, call: Callable[[str, dict], Awaitable[dict | bytes]]):
    """What a `course` returns, every call of it carried out by `call`; what that raises, the course is told."""
    said = error = None
    while True:
        try:
            name, given = calls.throw(error) if error else calls.send(said)
        except StopIteration as end:
            return end.value
        try:
            said, error = await call(name, given), None
        except EngineError as told:
            error = told


def _shuffled(rows: list[dict], seed: int) -> Iterator[dict]:
    """The rows again and again, in another order each time."""
    dice = random.Random(seed)
    while True:
        yield from dice.sample(rows, len(rows))


def _completions(rows: list[dict], texts: list[str]) -> list:
    """Texts as TRL has them: in a conversation a completion is a list of one message."""
    talks = isinstance(rows[0]["prompt"], list)
    return [[{"role": "assistant", "content": text}] for text in texts] if talks else texts


def in_thread(opened: Opened, work: Callable[[], Awaitable]) -> None:
    """Have something awaited while the notebook goes on: in a page by the page's own loop, elsewhere in a thread with one of its own."""
    mo.Thread(target=(lambda: asyncio.run(work())) if opened.has_disk else work, daemon=True).start()
