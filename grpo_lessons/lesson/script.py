"""A lesson without a browser: `python notebooks/grpo_LESSON.py -- --steps 10`."""

from dataclasses import fields, replace

from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.session import keep_record, record_of
from grpo_lessons.runs import Run
from grpo_lessons.training import Plan, Settings, Unfinished, Watch, explain, train, unfinished


def as_script(opened: Opened, plan: Plan) -> None:
    """Train with a progress bar and write the run's record, if the lesson was opened as a program; else nothing."""
    if not opened.is_script:
        return
    from tqdm import tqdm

    left = left_over(opened)
    resume = left is not None and (settings_of(left.run), left.run.choices) == (plan.settings, plan.choices)
    if resume:
        print(f"Going on from step {left.run.steps_done}, where this training was killed.")
    with tqdm(total=plan.settings.steps, unit="step", desc=opened.lesson) as bar:

        def update(phase: str, run: Run) -> None:
            bar.n = run.steps_done
            bar.set_postfix_str(f"reward {run.metrics[-1]['reward']:.2f}, {phase}" if run.metrics else phase)

        try:
            run = train(plan, Watch(update=update), opened.folder / "unfinished", resume).run
        except Exception as error:
            raise SystemExit(explain(error)) from error
    if lost := keep_record(run, opened):
        raise SystemExit(f"The training has ended{lost}.")
    print(run.label)
    for name in run.after.completions[0].rewards:
        print(f"held-out {name}: {run.before.mean(name):.3f} before, {run.after.mean(name):.3f} after")
    print(f"record: {record_of(opened)}")


def left_over(opened: Opened) -> Unfinished | None:
    """A training of this lesson that was killed, if the lesson keeps such."""
    return unfinished(opened.folder / "unfinished") if opened.folder and opened.is_own else None


def settings_of(run: Run) -> Settings:
    """The settings that a run was made with."""
    weights = run.settings.get("reward_weights")
    known = {spec.name for spec in fields(Settings)}  # an older record may have settings that are no more
    settings = {name: value for name, value in run.settings.items() if name in known}
    return replace(Settings(), **settings | {"reward_weights": tuple(weights) if weights else None})
