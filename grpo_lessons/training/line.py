"""The line for the device: one training at a time on this computer, whoever's it is, threads and processes alike.

A ticket is a locked file, so a place in the line is freed by the operating system even if its process is killed. Its name
says whose it is; the note beside it, how long it will take: when that was said, and when it will be over.
"""

import math
import os
import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

NOTE, HOLDER = ".seconds", "holder"  # beside a ticket; and the name of the ticket that has the device
FOLDER = Path(tempfile.gettempdir()) / f"grpo-lessons-{os.getuid() if hasattr(os, 'getuid') else 'line'}"


class Ticket(NamedTuple):
    """A place in the line: whose it is ("" for nobody in particular), and the seconds it still needs, 0 for unknown."""

    who: str
    seconds: float


@contextmanager
def turn(
    waiting: Callable[[list[Ticket]], None],
    should_stop: Callable[[], bool],
    folder: Path = FOLDER,
    poll: float = 0.2,
    who: str = "",
    seconds: Callable[[], float] = lambda: 0,
    first: bool = False,
) -> Iterator[Callable[[float], None] | None]:
    """Wait for the device and hold it inside the `with` block; yields None if `should_stop` ended the waiting.

    `waiting(in_front)` is called at first and whenever what `in_words` says of it has changed; the running session is
    the first of those in front. `who`, and the seconds that it will take, are what the others in the line are told of
    this one; `seconds` is asked while it waits, and whoever has the device calls what was yielded with those left.
    `first`: it comes after the one that has the device, and before all others that wait: a teacher's.

    Example:
        >>> with turn(waiting=print, should_stop=lambda: False) as mine:
        ...     mine(20)
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9 ]", "", who)[:20]  # it stands in a file's name
    path = folder / f"{'+' if first else '0'}{time.time_ns():019d}-{uuid.uuid4().hex}-{name}.ticket"
    ticket, device = FileLock(path), FileLock(folder / "device.lock")
    mine, told = False, None

    def tell(left: float) -> None:
        now = time.time()
        part = path.with_suffix(".part")
        part.write_text(f"{now} {now + left}", encoding="utf-8")
        os.replace(part, path.with_suffix(NOTE))

    ticket.acquire()
    try:
        while not mine and not should_stop():
            tell(seconds())
            in_front = line(folder, before=path)
            mine = not in_front and _try(device)
            if not mine:
                in_front = in_front or [Ticket("", 0)]  # it has the device and no ticket any more
                if (words := in_words(in_front)) != told:
                    told = words
                    waiting(in_front)
                time.sleep(poll * min(5, len(in_front)))  # thirty who wait shall not keep the one who trains from it
        if mine:
            (folder / HOLDER).write_text(path.name, encoding="utf-8")
        yield tell if mine else None
    finally:
        device.release()
        ticket.release()
        _tear_up(path)


def line(folder: Path = FOLDER, before: Path | None = None) -> list[Ticket]:
    """Who is in the line, from the one that has the device to the last, or to the one before a ticket of one's own.

    The tickets of a process that died are cleared away when they have come to the front.

    Example:
        >>> line(Path("no/such/folder"))
        []
    """
    holder = ""
    with suppress(OSError):
        holder = (folder / HOLDER).read_text(encoding="utf-8")

    def place(path: Path) -> tuple[bool, str]:
        return path.name != holder, path.name

    paths = sorted(
        (path for path in folder.glob("*.ticket") if before is None or place(path) < place(before)), key=place
    )
    while paths and not _is_held(paths[0]):
        paths.pop(0)
    found = []
    for path in paths:
        with suppress(OSError, ValueError):  # it has just come, or just gone
            said, over = map(float, path.with_suffix(NOTE).read_text(encoding="utf-8").split())
            left = over - said
            if not found and left:  # the one that has the device
                left = max(1.0, over - time.time())
            found.append(Ticket(path.stem.split("-", 2)[2], left))
    return found


def in_words(in_front: list[Ticket]) -> str:
    """What to tell somebody who waits.

    >>> in_words([Ticket("", 0)])
    'Another training runs on this computer; yours comes after it (1 in front of you)'
    >>> in_words([Ticket("seat 4", 12.3), Ticket("seat 9", 30)])
    'Another training runs on this computer; yours comes after seat 4, seat 9 (2 in front of you), in about 45 s'
    """
    names = [ticket.who for ticket in in_front]
    after = ", ".join(names[:3]) + (" …" if len(names) > 3 else "") if all(names) else "it"
    told = f"Another training runs on this computer; yours comes after {after} ({len(in_front)} in front of you)"
    return told + wait_in_words(in_front)


def wait_in_words(in_front: list[Ticket]) -> str:
    """How long they will take together, roughly; nothing where it is not known.

    >>> wait_in_words([Ticket("seat 4", 100), Ticket("seat 9", 30)])
    ', in about 2 min'
    """
    if not all(ticket.seconds for ticket in in_front):
        return ""
    seconds = sum(ticket.seconds for ticket in in_front)
    return f", in about {5 * math.ceil(seconds / 5)} s" if seconds < 90 else f", in about {seconds / 60:.0f} min"


def _is_held(path: Path) -> bool:
    lock = FileLock(path)
    if not _try(lock):
        return True
    lock.release()
    _tear_up(path)
    return False


def _tear_up(path: Path) -> None:
    for each in (path, path.with_suffix(NOTE)):
        with suppress(OSError):  # Windows lets nobody take away a file that somebody else has open, to probe it
            each.unlink(missing_ok=True)


def _try(lock: FileLock) -> bool:
    try:
        return bool(lock.acquire(timeout=0))
    except Timeout:
        return False
