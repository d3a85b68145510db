"""A learner's seat in a class: whose sessions these are, what the teacher allows and sees, and whether anybody still sits there."""

import threading
import time
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from grpo_lessons.runs import Run

# Seconds without a sign of life after which nobody sits there any more: a phone may sleep, and a page be left for another of
# the class's. Where the last page was closed, and none other asked for since: it takes about one to load one anew.
AWAY, CLOSED = 300.0, 8.0
LONGEST_NAME = 20  # characters


class Training(Protocol):
    """Something that trains for a seat."""

    is_on: bool
    doing: str  # in words

    def stop(self) -> None:
        """End it after the step under way."""


@dataclass
class Seat:
    """One learner, with all their pages.

    Args:
        number: the learner's, the same in every tab of their browser.
        folder: where the records of this learner's trainings are kept.
        most_steps, most_minutes: how long a training may be; None for as long as the lesson allows.
        site: where the course stands as a web page, in which exercises can be written; "" for nowhere.
        is_teacher: whether the speaker's notes, which have all the answers, are theirs to see.
    """

    number: int
    folder: Path
    most_steps: int | None = None
    most_minutes: float | None = None
    site: str = ""
    is_teacher: bool = False
    connections: int = 0
    until: float = 0.0  # when nobody sits there any more, on time.monotonic's clock, if there is no connection
    device: threading.Lock = field(default_factory=threading.Lock)  # a learner has one place in the line for it
    place: tuple[str, int] | None = None  # the lesson and the station that their page was last seen at
    runs: dict[str, Run] = field(default_factory=dict)  # the last training of each lesson, also while it runs
    _trainings: weakref.WeakSet = field(default_factory=weakref.WeakSet)  # they end with their notebooks
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        """What the others in the line are told of whose training it is."""
        return f"seat {self.number}"

    @property
    def called(self) -> str:
        """What the learner wants to be called on the teacher's wall; "" for nothing but the seat's number."""
        try:
            return (self.folder / "name").read_text(encoding="utf-8")
        except OSError:
            return ""

    def call(self, name: str) -> None:
        r"""Be called so: a short line of what can be printed.

        >>> from tempfile import mkdtemp
        >>> seat = Seat(7, Path(mkdtemp()))
        >>> seat.call(" Ada\u202e  \n Lovelace, Countess")
        >>> seat.called
        'Ada Lovelace, Counte'
        """
        printed = "".join(each if each.isprintable() else " " for each in name)
        (self.folder / "name").write_text(" ".join(printed.split())[:LONGEST_NAME].strip(), encoding="utf-8")

    def begun(self, training: Training) -> None:
        """A training of this learner's has begun; a teacher can stop it."""
        with self._lock:
            self._trainings.add(training)

    @property
    def trainings(self) -> list[Training]:
        """Those that are on."""
        with self._lock:
            return [each for each in self._trainings if each.is_on]

    def look(self) -> None:
        """A sign of life: some page of the class has asked for something."""
        self.until = time.monotonic() + AWAY

    def come(self) -> None:
        """A lesson's page has connected."""
        self.connections += 1

    def go(self, is_closed: bool = False) -> None:
        """A lesson's page has gone: closed, to be loaded anew, or for another page; else lost from sight, as a phone that sleeps."""
        self.connections -= 1
        self.until = time.monotonic() + (CLOSED if is_closed else AWAY)

    @property
    def is_away(self) -> bool:
        """Whether nobody sits there any more.

        >>> seat = Seat(7, Path("runs/class/seat-7"))
        >>> seat.come()
        >>> seat.is_away
        False
        """
        return self.connections < 1 and time.monotonic() > self.until
