"""A training whose target is moved while it runs: what was written down of it, in words, and as HTML."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from statistics import fmean

from grpo_lessons.cards import short
from grpo_lessons.palette import COLOURS
from grpo_lessons.rewards import LengthReward
from grpo_lessons.text import counted

LONGEST = 64  # tokens; a text is cut off there
NEAR = 0.1  # of the target
# When the way back is called lost: so many steps with so many dead groups, at an entropy below that. Of the twelve recorded
# pulls (length_chase.json) those that did not arrive were those of which it was true before the pull.
PATIENCE, DEAD, SURE = 8, 0.9, 0.25
BRIEF = 3  # steps that a target must stand to be spoken of, if it is not reached: the hand was still on its way


@dataclass(frozen=True)
class Step:
    """One step: its target and the lengths of its completions, in tokens, and how undecided the model was.

    Args:
        dead: share of the groups in which all earned the same.
        held_out: lengths of held-out texts, sampled after the step; empty where none were.
    """

    target: int
    lengths: Sequence[int]
    entropy: float
    dead: float
    held_out: Sequence[int] = ()

    @property
    def is_near(self) -> bool:
        """Whether the mean of its lengths is within 10 % of the target."""
        return abs(fmean(self.lengths) - self.target) <= NEAR * self.target


@dataclass
class MovedReward:
    """A length reward whose target may be moved at any time; the next step is paid by it.

    It writes down what it has paid for: of each step the target and the lengths, and the lengths of held-out texts, whose
    rows have a column `is_held_out` that is true, by the number of steps before them.

    >>> reward = MovedReward(10)
    >>> reward(completions=["…"], completion_ids=[[7] * 15]), reward.paid
    ([-0.5], [(10, [15])])
    """

    target: int
    paid: list[tuple[int, list[int]]] = field(default_factory=list)
    held_out: dict[int, list[int]] = field(default_factory=dict)
    __name__ = "length_reward"

    def __call__(self, completions, completion_ids, is_held_out=(False,), **kwargs) -> list[float]:
        target, lengths = self.target, [len(ids) for ids in completion_ids]  # a hand may move it meanwhile
        if is_held_out[0]:
            self.held_out[len(self.paid)] = lengths
        else:
            self.paid.append((target, lengths))
        return [LengthReward(target).pays(n) for n in lengths]

    def steps(self, metrics: Sequence[Mapping[str, float]]) -> list[Step]:
        """The steps so far, by what was paid for and by the metrics of the run; 0 for what a browser has left out."""
        return [
            Step(
                target,
                lengths,
                row.get("entropy") or 0.0,
                row.get("frac_reward_zero_std") or 0.0,
                self.held_out.get(n, ()),
            )
            for n, ((target, lengths), row) in enumerate(zip(self.paid, metrics, strict=False), 1)
        ]


def pulls(steps: Sequence[Step]) -> list[tuple[int, int, int | None, int]]:
    """The targets, one after the other: (tokens, the step at which it was set, steps until it was reached or None, steps).

    One that was passed by on the way to another is left out.

    >>> pulls([Step(10, [20], 1, 0), Step(10, [10], 1, 0), Step(10, [10], 1, 0), Step(20, [10], 1, 0)])
    [(10, 1, 2, 3), (20, 4, None, 1)]
    """
    told, first = [], 1
    for target, group in groupby(steps, lambda step: step.target):
        stood = list(group)
        near = [step.is_near for step in stood]  # two steps of it: a mean may pass by
        reached = next((n for n in range(1, len(near)) if near[n - 1] and near[n]), None)
        is_last = first + len(stood) > len(steps)
        if reached or is_last or len(stood) >= BRIEF:
            told.append((target, first, reached, len(stood)))
        first += len(stood)
    return told


def before_pull(steps: Sequence[Step]) -> tuple[float, float] | None:
    """Entropy and share of dead groups in the last steps before the last target was set; None if it was the first."""
    first = pulls(steps)[-1][1]
    before = steps[max(0, first - 1 - PATIENCE) : first - 1]
    return _means(before) if before else None


def _means(steps: Sequence[Step]) -> tuple[float, float]:
    return fmean(step.entropy for step in steps), fmean(step.dead for step in steps)


def in_words(steps: Sequence[Step]) -> list[str]:
    """How long each target took, and what there was to compare in the last steps before it was moved: one sentence each.

    >>> in_words([Step(10, [20], 0.5, 0), *[Step(10, [10], 0.2, 0.75)] * 2, Step(20, [10], 1, 0)])
    ['Set to 10: there after 2 steps.', 'Moved to 20 at step 4, at an entropy of 0.30 with 50% of the groups dead: not there yet, after 1 step.']
    """
    said = []
    for target, first, reached, stood in pulls(steps):
        is_last = first + stood > len(steps)
        came = f"there after {counted(reached, 'step')}" if reached else f"not there after {counted(stood, 'step')}"
        if is_last and not reached:
            came = came.replace("there after", "there yet, after")
        begun = f"Set to {target}"
        if before := steps[max(0, first - 1 - PATIENCE) : first - 1]:
            dead, entropy = fmean(step.dead for step in before), fmean(step.entropy for step in before)
            begun = (
                f"Moved to {target} at step {first}, at an entropy of {entropy:.2f} with {dead:.0%} of the groups dead"
            )
        said.append(f"{begun}: {came}.")
    return said


def way_back(steps: Sequence[Step]) -> str | None:
    """A sentence once nearly every group of the last steps was dead, by their own numbers; None as long as there is something to compare.

    >>> sure = Step(10, [10] * 8, 0.01, 1.0)
    >>> way_back([sure] * 7), way_back([sure] * 8)[:40]
    (None, 'The way back is lost. In the last 8 step')
    """
    last = steps[-PATIENCE:]
    entropy, dead = _means(last) if last else (0.0, 0.0)
    if len(last) < PATIENCE or dead < DEAD:
        return None
    target, lengths, on = last[-1].target, last[-1].lengths, "wherever the target is; only an accident can lead away"
    if min(lengths) >= LONGEST:
        why = f"every text runs into the cut-off at {LONGEST} tokens, so all earn the same"
    elif min(lengths) >= 2 * target and min(lengths) < max(lengths):
        why = "every text is twice as long as the target or longer, and earns −1"
        on = "until the target is nearer to them"
    elif entropy < SURE:
        why = f"nearly all texts have one length, at an entropy of {entropy:.2f}"
    else:
        return None
    return (
        f"The way back is lost. In the last {PATIENCE} steps {dead:.0%} of the groups were dead: {why}. "
        f"Nothing is compared, so nothing pulls, {on}."
    )


def figure(steps: Sequence[Step], target: int | None = None) -> str:
    """The lengths over the steps as a cloud, the target as a stepped line, and under them the entropy.

    `target`: where it stands now, for the step that comes next; None when none comes.
    """
    across = max(60, 30 * -(-(len(steps) + 1) // 30))
    high = max(1.0, *(step.entropy for step in steps)) if steps else 1.0
    return (
        f'<div class="chase" role="img" aria-label="{escape(_told(steps, target))}"><p class="facts">'
        f"{_key('policy', '●', 'texts (larger: many of one length)')}{_key('held-out', '■', 'a text on a request it never trains on (held-out)')}{_key('reward', '━', 'target')}</p>"
        f'<div class="cloud">{_labels((0, 20, 40, LONGEST), LONGEST, "tokens")}<svg viewBox="0 0 {across} {LONGEST}" '
        f'preserveAspectRatio="none">{_dots(steps)}{_line(steps, target, across)}</svg></div>'
        f'<div class="cloud low">{_labels((0, high), high, "entropy")}<svg viewBox="0 0 {across} {high:.3f}" '
        f'preserveAspectRatio="none">{_entropy(steps, high)}</svg><span style="left:0;top:100%">step 1</span>'
        f'<span style="right:0;top:100%">{across}</span></div></div>'
    )


def _told(steps: Sequence[Step], target: int | None) -> str:
    """The newest step in words, for those who do not see it."""
    if not steps:
        return f"no step yet; target {target}"
    last, n = steps[-1], len(steps)
    held_out = next(
        ((at, step.held_out) for at, step in zip(range(n, 0, -1), reversed(steps), strict=False) if step.held_out), None
    )
    also = f"; held-out texts after step {held_out[0]}: {short(fmean(held_out[1]))} tokens" if held_out else ""
    return (
        f"step {n}: {short(fmean(last.lengths))} tokens on average, {min(last.lengths)} to {max(last.lengths)}; "
        f"target {target or last.target}; entropy {last.entropy:.2f}{also}"
    )


def _key(concept: str, mark: str, words: str) -> str:
    return f'<span><b class="{concept}">{mark}</b> {words}</span>'


def _labels(values: Sequence[float], high: float, title: str) -> str:
    marks = "".join(
        f'<span class="y" style="top:{100 - 100 * each / high:.1f}%">{short(each)}</span>' for each in values
    )
    return f'{marks}<span class="name" style="left:.3rem;top:-1.2rem">{title}</span>'


def _dots(steps: Sequence[Step]) -> str:
    """One path for all texts: a dot is a line of no length with round ends, which stays round however the figure is drawn out.

    The ends are a style, for a figure of matplotlib elsewhere in the page sets those of every attribute.
    """
    spots: dict[str, str] = {"few": "", "many": "", "held": ""}
    for n, step in enumerate(steps, 1):
        for length, count in Counter(step.lengths).items():
            spots["many" if count > len(step.lengths) / 8 else "few"] += f"M{n - 0.5} {max(0, LONGEST - length)}h0"
        for length in sorted(set(step.held_out)):
            spots["held"] += f"M{n} {max(0, LONGEST - length)}h0"
    looks = {
        "few": ("policy", 'stroke-width="3" style="stroke-linecap:round" opacity=".6"'),
        "many": ("policy", 'stroke-width="5" style="stroke-linecap:round" opacity=".9"'),
        "held": ("held-out", 'stroke-width="4" style="stroke-linecap:square"'),
    }
    return "".join(
        f'<path d="{spots[name]}" fill="none" stroke="{COLOURS[colour]}" vector-effect="non-scaling-stroke" {look}/>'
        for name, (colour, look) in looks.items()
        if spots[name]
    )


def _line(steps: Sequence[Step], target: int | None, across: int) -> str:
    look = f'fill="none" stroke="{COLOURS["reward"]}" stroke-width="2.5" vector-effect="non-scaling-stroke"'
    path = "".join(f"{'L' if n else 'M'}{n} {LONGEST - step.target}H{n + 1}" for n, step in enumerate(steps))
    now = f'<path d="M{len(steps)} {LONGEST - target}H{across}" {look} stroke-dasharray="2 4"/>' if target else ""
    return f'<path d="{path}" {look}/>{now}'


def _entropy(steps: Sequence[Step], high: float) -> str:
    spots = " ".join(f"{n - 0.5},{high - step.entropy:.3f}" for n, step in enumerate(steps, 1))
    look = f'stroke="{COLOURS["policy"]}" stroke-width="2" vector-effect="non-scaling-stroke"'
    return f'<polyline fill="none" points="{spots}" {look}/>'


def to_record(steps: Sequence[Step]) -> list[list]:
    """Steps as they stand in a file of JSON."""
    return [[each.target, [*each.lengths], round(each.entropy, 4), each.dead, [*each.held_out]] for each in steps]


def from_record(rows: Sequence[Sequence]) -> list[Step]:
    """The steps of a file.

    >>> step = Step(10, [9, 11], 0.25, 0.5, [10])
    >>> from_record(to_record([step])) == [step]
    True
    """
    return [Step(*row) for row in rows]
