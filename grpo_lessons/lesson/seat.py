"""A learner's seat in a class: whose sessions these are, what the teacher allows, and whether anybody still sits there."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

# Seconds without a sign of life after which nobody sits there any more: a phone may sleep, and a page be left for another of
# the class's. Where the last page was closed, and none other asked for since: it takes about one to load one anew.
AWAY, CLOSED = 300.0, 8.0


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

    @property
    def name(self) -> str:
        """What the others in the line are told of whose training it is."""
        return f"seat {self.number}"

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
