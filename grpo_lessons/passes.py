"""Sharpened, or learnt? How many tries at each held-out question are right, before and after a training, and pass@k of it.

A training that only makes the model surer of what it half knew raises pass@1 and not pass@k for a large k: there the untrained
model has had its lucky try, too. Shares are of questions, from 0 to 1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from statistics import fmean

from grpo_lessons.answers import is_right
from grpo_lessons.groups import mean_pass_at_k
from grpo_lessons.palette import COLOURS


@dataclass(frozen=True)
class Tally:
    """What many tries at one question came to.

    Args:
        right: how many were right.
        different: how many different answers there were; none at all is one of them.
        most: the answer that most came to, None if most had none.
        times: how many came to it.
    """

    right: int
    different: int
    most: str | None
    times: int


@dataclass(frozen=True)
class Passes:
    """The same questions, each tried n times by a model and by what trainings with other seeds made of it.

    Args:
        n: tries at each question.
        questions, answers: what was asked, and what is right.
        before: a tally for each question.
        after: by the seed of a training, as many.
        about: the settings of the training, and where it was measured, see `training.machine.provenance`.

    Raises: ValueError if there is not a tally for each question.
    """

    n: int
    questions: Sequence[str]
    answers: Sequence[str]
    before: Sequence[Tally]
    after: Mapping[str, Sequence[Tally]]
    about: Mapping

    def __post_init__(self):
        for when, each in {"before": self.before, **self.after}.items():
            if len(each) != len(self.questions):
                raise ValueError(
                    f"{when}: {len(each)} tallies for {len(self.questions)} questions: expected one for each."
                )

    @classmethod
    def from_record(cls, said: Mapping) -> "Passes":
        """What `record.py` has written."""
        tallies = {when: [Tally(*each) for each in rows] for when, rows in said["tallies"].items()}
        before = tallies.pop("before")
        return cls(
            said["n"], said["questions"], said["answers"], before, tallies, said["settings"] | said["provenance"]
        )

    def pass_at(self, k: int, tallies: Sequence[Tally]) -> tuple[float, float, float]:
        """pass@k, and its 95 % interval over questions."""
        return mean_pass_at_k([(each.right, self.n) for each in tallies], k)

    @property
    def ks(self) -> range:
        """Up to half as many as there are tries: of more the estimate hangs on a few that are left to choose from."""
        return range(1, max(1, self.n // 2) + 1)

    def crossing(self, tallies: Sequence[Tally]) -> int | None:
        """The smallest of `ks` from which on pass@k is lower after the training than before, by half a per cent at least; None if
        it does not end so.
        """
        below = [self.pass_at(k, tallies)[0] < self.pass_at(k, self.before)[0] - 0.005 for k in self.ks]
        return next((k for k in self.ks if all(below[k - 1 :])), None)

    def lost_and_won(self, tallies: Sequence[Tally]) -> tuple[int, int]:
        """Questions that had a right reply among n before and have none after; and those of which the reverse is true."""
        ends = [(bool(b.right), bool(a.right)) for b, a in zip(self.before, tallies, strict=True)]
        return ends.count((True, False)), ends.count((False, True))

    def majority(self, tallies: Sequence[Tally]) -> float:
        """maj@n: the share of questions to which the answer that most tries came to is right."""
        return fmean(
            each.most is not None and is_right(each.most, gold)
            for each, gold in zip(tallies, self.answers, strict=True)
        )


def by_luck(lost: int, won: int) -> float:
    """The chance that as many questions or more go one way, if each that changed had been as likely to go the other.

    McNemar's exact test: a coin for each, and both ends are counted.

    >>> by_luck(5, 0), by_luck(3, 3)
    (0.0625, 1.0)
    """
    coins, most = lost + won, max(lost, won)
    return min(1.0, 2 * sum(math.comb(coins, i) for i in range(most, coins + 1)) / 2**coins)


def in_words(passes: Passes, name: str) -> str:
    """What a model's first training came to, in a paragraph of Markdown."""
    after, k = next(iter(passes.after.values())), passes.ks[-1]
    both = passes.before, after
    ones, many = ([passes.pass_at(each, tallies)[0] for tallies in both] for each in (1, k))
    (lost, won), cross, majority = passes.lost_and_won(after), passes.crossing(after), [*map(passes.majority, both)]
    where = "There the lines meet." if abs(many[1] - many[0]) < 0.005 else "The lines do not cross."
    where = f"From k = {cross} on the untrained model is ahead." if cross else where
    changed = f"; coins would be as uneven in {by_luck(lost, won):.0%} of cases" if lost + won > 1 else ""
    return (
        f"**{name}.** One try is right in {ones[0]:.0%}, after the training in **{ones[1]:.0%}**; one of {k} in {many[0]:.0%}, after it "
        f"in **{many[1]:.0%}**. {where} The answer that most of {passes.n} tries come to is right in {majority[0]:.0%}, after it in "
        f"**{majority[1]:.0%}**. (Ever right in {passes.n} tries before and never after: {lost} of {len(passes.questions)} questions; "
        f"the other way round: {won}{changed}.)"
    )


def table(models: Mapping[str, Passes], ks: Sequence[int] = (1, 4, 16)) -> str:
    """Every training in a row, its numbers before and after: pass@k; questions that were ever right; maj@n; variety of answers."""
    named = [*("one try" if k == 1 else f"one of {k}" for k in ks), "ever right", "most given", "different answers"]
    rows = ""
    for name, passes in models.items():
        for seed, after in passes.after.items():
            both = passes.before, after
            shares = [[passes.pass_at(k, each)[0] for each in both] for k in (*ks, passes.n)]
            cells = [f"{was:.0%} → <b>{now:.0%}</b>" for was, now in [*shares, [*map(passes.majority, both)]]]
            was, now = (fmean(each.different for each in tallies) for tallies in both)
            body = "".join(f"<td>{each}</td>" for each in [*cells, f"{was:.0f} → <b>{now:.0f}</b>"])
            rows += f'<tr><th scope="row">{escape(name)}, seed {escape(seed)}</th>{body}</tr>'
    head = "".join(f'<th scope="col">{each}</th>' for each in ["", *named])
    return f'<div class="scroll"><table class="seeds"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 420, 210, 40, 180


def figure(passes: Passes, name: str) -> str:
    """pass@k over k, which doubles from mark to mark: dashed before the training, solid after it, each with its 95 % band.

    Trainings with other seeds are thin lines without a band.
    """
    ks, ink, grey = passes.ks, COLOURS["held-out"], COLOURS["dead"]
    across = max(1.0, math.log2(ks[-1]))

    def spot(k: int, share: float) -> str:
        x = _LEFT + (_WIDTH - _LEFT - 8) * math.log2(k) / across
        return f"{x:.1f},{_BOTTOM - (_BOTTOM - 8) * share:.1f}"

    def line(tallies: Sequence[Tally], colour: str, look: str, has_band: bool = True) -> str:
        found = [(k, *passes.pass_at(k, tallies)) for k in ks]
        around = [spot(k, high) for k, _, _, high in found] + [spot(k, low) for k, _, low, _ in reversed(found)]
        band = f'<polygon fill="{colour}" opacity=".16" points="{" ".join(around)}"/>' if has_band else ""
        points = " ".join(spot(k, mean) for k, mean, *_ in found)
        return f'{band}<polyline fill="none" stroke="{colour}" {look} points="{points}"/>'

    first, *others = passes.after.values()
    drawn = line(passes.before, grey, 'stroke-width="2" stroke-dasharray="5 4"')
    drawn += line(first, ink, 'stroke-width="2.2"')
    drawn += "".join(line(each, ink, 'stroke-width="1" opacity=".6"', has_band=False) for each in others)
    text = 'font-size="12" fill="currentColor" opacity=".85"'
    marks = "".join(
        f'<text x="{spot(2**i, 0).partition(",")[0]}" y="{_BOTTOM + 15}" text-anchor="middle" {text}>{2**i}</text>'
        for i in range(int(math.log2(ks[-1])) + 1)
    )
    for share in (0, 0.5, 1):
        y = _BOTTOM - (_BOTTOM - 8) * share
        marks += f'<text x="{_LEFT - 5}" y="{y + 4:.0f}" text-anchor="end" {text}>{share:.0%}</text>'
        marks += f'<path d="M{_LEFT} {y:.0f}H{_WIDTH - 8}" stroke="currentColor" opacity=".15"/>'
    ends = [(k, *(f"{passes.pass_at(k, each)[0]:.0%}" for each in (passes.before, first))) for k in (1, ks[-1])]
    told = "; ".join(f"pass@{k}: before {was}, after {now}" for k, was, now in ends)
    return (
        f'<div class="curve"><header role="none"><span>{escape(name)}</span><span><b class="dead">╌ before</b> '
        f'<b class="held-out">━ after</b></span></header><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(name)}, {told}">{marks}{drawn}<text x="{(_LEFT + _WIDTH) // 2}" y="{_HEIGHT - 2}" '
        f'text-anchor="middle" {text}>pass@k: one of k tries is right</text></svg></div>'
    )
