"""Tracebacks as people paste them, whole or their last lines: what was raised, and whose code it was.

>>> raised('  File "mine.py", line 9, in score\\n    return text.split()\\nAttributeError: no split')[0].line
'AttributeError: no split'
"""

import re
from dataclasses import dataclass
from pathlib import PurePath

_FRAME = re.compile(r'\s*File "([^"]{1,1000})", line (\d{1,9})(?:, in (\S{1,300}))?')
_ENDS = "Error|Exception|Failed|Timeout|Interrupt|Exit|Expired|Refused"
_NAMED = re.compile(rf"(?:[A-Za-z_]\w{{0,100}}\.){{0,20}}([A-Za-z_]\w{{0,100}}(?:{_ENDS}))(?::(?: (.*))?)?$")
_ANY_NAME = re.compile(r"(?:[A-Za-z_]\w{0,100}\.){0,20}([A-Za-z_]\w{0,100})(?:: (.*))?$")
_LONGEST = 2000  # characters of a line that are looked at
LAUNCHERS = ("CalledProcessError", "ChildFailedError", "ProcessExitedException", "ProcessRaisedException")
CALLS_REWARDS = ("_calculate_rewards", "_invoke_async")  # of TRL's trainer


@dataclass(frozen=True)
class Frame:
    """A place that a traceback names: file, line, function, and the code that stands there, "" where that is not told."""

    file: str
    number: int
    function: str
    code: str = ""

    def __str__(self) -> str:
        code = f": `{self.code}`" if self.code else ""
        return f"`{PurePath(self.file.replace(chr(92), '/')).name}` line {self.number}{code}"


@dataclass(frozen=True)
class Raised:
    """An error, its words, and the frames above it that were pasted, too."""

    name: str
    words: str
    frames: tuple[Frame, ...] = ()

    @property
    def line(self) -> str:
        """The last line of its traceback, fit to be quoted in Markdown."""
        return (f"{self.name}: {self.words}" if self.words else self.name).replace("`", "'")[:300]

    @property
    def in_reward(self) -> Frame | None:
        """The reader's own line in it, if a reward was called; None if not."""
        calls = [at for at, each in enumerate(self.frames) if each.function in CALLS_REWARDS]
        inside = self.frames[calls[-1] + 1 :] if calls else ()
        inside = [each for each in inside if not re.search(r"[/\\]trl[/\\](?:trainer|extras)[/\\]", each.file)]
        own = [each for each in inside if "site-packages" not in each.file and "/lib/python3" not in each.file]
        return next(reversed(own or inside), None)


def raised(text: str) -> list[Raised]:
    """All errors of a text, in their order; without frames only what is called an error by its name.

    >>> [each.name for each in raised("ValueError: 3 is odd\\nreward: 0.5\\nlib.errors.OddError")]
    ['ValueError', 'OddError']
    """
    found, frames = [], []
    for line in text.splitlines():
        line = re.sub(r"^\[rank\d{1,6}\]:\s?", "", line[:_LONGEST])
        if frame := _FRAME.match(line):
            frames.append(Frame(frame[1], int(frame[2]), frame[3] or ""))
        elif not line.strip() or line[0].isspace():
            if frames and not frames[-1].code and line.strip(" ^~"):
                frames[-1] = Frame(*list(vars(frames[-1]).values())[:3], line.strip().replace("`", "'"))
        else:
            if error := (_ANY_NAME if frames else _NAMED).match(line):
                found.append(Raised(error[1], (error[2] or "").strip(), tuple(frames)))
            frames = []
    return found
