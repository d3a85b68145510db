"""One training at a time on this machine: a line of tickets, shared by threads and processes.

A ticket is a locked file, so a place in the line is freed by the operating system even if its process is killed.
"""

import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

FOLDER = Path(tempfile.gettempdir()) / f"grpo-lessons-{os.getuid() if hasattr(os, 'getuid') else 'line'}"


@contextmanager
def turn(
    waiting: Callable[[int], None], should_stop: Callable[[], bool], folder: Path = FOLDER, poll: float = 0.2
) -> Iterator[bool]:
    """Wait for the device and hold it inside the `with` block; yields False if `should_stop` ended the waiting.

    `waiting(ahead)` is called every `poll` seconds with the number of sessions in front, the running one included.

    Example:
        >>> with turn(waiting=print, should_stop=lambda: False) as mine:
        ...     mine
        True
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{time.time_ns():020d}-{uuid.uuid4().hex}.ticket"
    ticket, device = FileLock(path), FileLock(folder / "device.lock")
    mine = False
    ticket.acquire()
    try:
        while not mine and not should_stop():
            ahead = _ahead(path)
            mine = ahead == 0 and _try(device)
            if not mine:
                waiting(max(1, ahead))
                time.sleep(poll)
        yield mine
    finally:
        device.release()
        ticket.release()
        path.unlink(missing_ok=True)


def in_words(ahead: int) -> str:
    """What to tell somebody who waits.

    >>> in_words(1)
    'Another training runs on this computer; yours comes after it (1 in front of you)'
    """
    return f"Another training runs on this computer; yours comes after it ({ahead} in front of you)"


def _ahead(path: Path) -> int:
    """How many live tickets are older; the tickets of dead processes are cleared away."""
    return sum(_is_held(other) for other in path.parent.glob("*.ticket") if other.name < path.name)


def _is_held(path: Path) -> bool:
    lock = FileLock(path)
    if not _try(lock):
        return True
    lock.release()
    path.unlink(missing_ok=True)
    return False


def _try(lock: FileLock) -> bool:
    try:
        return bool(lock.acquire(timeout=0))
    except Timeout:
        return False
