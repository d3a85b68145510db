"""What a killed training goes on from: a folder of checkpoints, locked while it is in use, emptied at an end that was no crash."""

import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from grpo_lessons.runs import Run
from grpo_lessons.training.settings import Settings


class Unfinished(NamedTuple):
    """A training that was killed: its last checkpoint, and its record up to there."""

    checkpoint: Path
    run: Run


def unfinished(folder: Path | None) -> Unfinished | None:
    """The training of which a folder holds checkpoints and which runs no more; None if there is none.

    A checkpoint counts when it is whole: its record is written last.
    """
    if folder is None or not folder.exists():
        return None
    whole = sorted(folder.glob("checkpoint-*/run.json"), key=lambda path: -int(path.parent.name.split("-")[1]))
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None  # it runs still
    lock.release()
    for path in whole:
        with suppress(ValueError):  # a damaged record: the one before it
            return Unfinished(path.parent, Run.load(path))
    return None


@contextmanager
def checkpointing(folder: Path | None, resume: bool):
    """The folder, locked as long as the training runs, or None if another one has it; emptied at an end that was no crash."""
    if folder is None:
        yield None
        return
    lock = FileLock(folder / "lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except (Timeout, OSError):  # another training has it, or nothing can be written here
        yield None
        return
    try:
        if not resume:
            _empty(folder)
        yield folder
        _empty(folder)
    finally:
        lock.release()


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != "lock":
            path.unlink(missing_ok=True)


def saving(settings: Settings, folder: Path | None) -> dict:
    """Five checkpoints a training; the last two are kept, for the newest may be half written when the process is killed."""
    if folder is None:
        return {}
    every = max(1, settings.steps // 5)
    return {"output_dir": str(folder), "save_strategy": "steps", "save_steps": every, "save_total_limit": 2}
