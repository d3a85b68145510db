"""The device: whether there is a GPU, and a line of tickets, shared by threads and processes, for one training at a time.

A ticket is a locked file, so a place in the line is freed by the operating system even if its process is killed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from filelock import FileLock, Timeout

IN_PAGE = sys.platform == "emscripten"  # in a web page, by Pyodide: no torch, no disk, no threads
FOLDER = Path(tempfile.gettempdir()) / f"grpo-lessons-{os.getuid() if hasattr(os, 'getuid') else 'line'}"


def fetch(name: str) -> str:
    """In a web page: a text file of the site's `public/`. It waits for it, as reading from a disk does."""
    from pyodide.http import open_url

    return open_url(f"../public/{name}").read()


@lru_cache(maxsize=1)
def gpu() -> float | None:
    """The compute capability of the first NVIDIA GPU that the installed torch can use, or None.

    From 8.0 on it computes in bfloat16. Does not load torch: a lesson asks when it opens, and stays light.
    """
    try:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
        if hidden or shutil.which("nvidia-smi") is None or "+cpu" in version("torch"):
            return None
        asked = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
        return float(subprocess.run(asked, capture_output=True, text=True, timeout=10).stdout.splitlines()[0])
    except (OSError, subprocess.SubprocessError, PackageNotFoundError, IndexError, ValueError):
        return None


def free_memory(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that this process can still have: of the machine, or of the container it runs in."""
    import psutil

    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # no container, or one without a limit
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        free = min(free, max(0, limit - used + int(cached.get("inactive_file", 0))))  # a file's cache gives way
    return free


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
