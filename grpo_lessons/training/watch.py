"""Whoever looks on while something long goes on, as one object instead of five arguments through every level."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from grpo_lessons.runs import Run


@dataclass(frozen=True)
class Watch:
    """What a reader is told meanwhile, and whether they want it to end.

    Args:
        say: is told how far a download or a measurement is, in words.
        should_stop: asked often; when true, what is under way ends as soon as it can.
        update: of a training: called with a phase in words and the run so far, after every step and between phases.
        who: whose it is, for the others in the line for the device.
        seconds: how long it will take, 0 if nobody knows; asked while it waits in that line.
        first: whether it goes before all others that wait there.
        is_gone: whether nobody is there any more for whom it would end with more than it has.
    """

    say: Callable[[str], None] = lambda phase: None
    should_stop: Callable[[], bool] = lambda: False
    update: Callable[[str, Run], None] = lambda phase, run: None
    who: str = ""
    seconds: Callable[[], float] = lambda: 0.0
    first: bool = False
    is_gone: Callable[[], bool] = lambda: False

    def over(self, run: Run) -> "Watch":
        """The same, with what is said told as a phase of a run."""
        return replace(self, say=lambda phase: self.update(phase, run))


NOBODY = Watch()
