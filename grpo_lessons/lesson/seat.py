"""A learner's seat in a class: whose session this is, what the teacher allows, and whether anybody still sits there."""

import time
from dataclasses import dataclass
from pathlib import Path

AWAY = (
    8.0  # seconds without a connection after which a tab counts as closed; a page that is loaded anew takes about one
)


@dataclass
class Seat:
    """One learner's tab with one lesson.

    Args:
        number: the learner's, the same in every tab of their browser.
        folder: where the records of this learner's trainings are kept.
        most_steps, most_minutes: how long a training may be; None for as long as the lesson allows.
        is_teacher: whether the speaker's notes, which have all the answers, are theirs to see.
    """

    number: int
    folder: Path
    most_steps: int | None = None
    most_minutes: float | None = None
    is_teacher: bool = False
    connections: int = 0
    left: float = 0.0  # when the last connection ended, on time.monotonic's clock

    @property
    def name(self) -> str:
        """What the others in the line are told of whose training it is."""
        return f"seat {self.number}"

    def come(self) -> None:
        """A page of this tab has connected."""
        self.connections += 1

    def go(self) -> None:
        """A page of this tab has gone: closed, or about to be loaded anew."""
        self.connections -= 1
        self.left = time.monotonic()

    @property
    def is_away(self) -> bool:
        """Whether the tab is closed.

        >>> seat = Seat(7, Path("runs/class/seat-7"))
        >>> seat.come()
        >>> seat.is_away
        False
        """
        return self.connections < 1 and time.monotonic() - self.left > AWAY
