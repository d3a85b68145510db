"""One training with several seeds: what each has come to, what they say together, and how many it takes to be believed.

Shares are of held-out questions answered rightly, from 0 to 1.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from statistics import NormalDist, fmean, stdev

from grpo_lessons.groups import interval
from grpo_lessons.palette import COLOURS
from grpo_lessons.runs import Evaluation, Run
from grpo_lessons.text import counted

Right = tuple[int, int]  # right answers, of how many


@dataclass(frozen=True)
class Outcome:
    """What a training with one seed has come to.

    Args:
        seed: its own.
        rewards: the mean reward of each step so far.
        before, after: held-out questions answered rightly, and how many were asked; None as long as they were not.
    """

    seed: int
    rewards: Sequence[float]
    before: Right | None = None
    after: Right | None = None

    @classmethod
    def of(cls, run: Run, judge: str = "answer_reward") -> "Outcome":
        """That of a run, which a reward called `judge` has judged by 0 and 1. One that was stopped has no `after`."""

        def right(evaluation: Evaluation | None) -> Right | None:
            scores = evaluation.scores(judge) if evaluation else []
            return (round(sum(scores)), len(scores)) if scores else None

        rewards = [value for _, value in run.series("reward")]
        after = run.after if run.steps_done == run.settings["steps"] else None
        return cls(int(run.settings["seed"]), rewards, right(run.before), right(after))

    @property
    def is_whole(self) -> bool:
        """Whether it has answered before and after."""
        return self.before is not None and self.after is not None

    @property
    def verdict(self) -> str:
        """Whether luck with the questions explains it: "may be luck" where the 95 % intervals before and after overlap (Wilson).

        Else "learnt" or "unlearnt"; before there is an answer "waits" or "unfinished".

        >>> [Outcome(0, [], (30, 96), (right, 96)).verdict for right in (60, 40, 10)]
        ['learnt', 'may be luck', 'unlearnt']
        """
        if not self.is_whole:
            return "unfinished" if self.rewards or self.before else "waits"
        before, after = interval(*self.before), interval(*self.after)
        return "learnt" if after[0] > before[1] else "unlearnt" if after[1] < before[0] else "may be luck"


# Student's t with 1, 2, … degrees of freedom: 95 % of its values lie between minus and plus this.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


MOST = len(_T) + 1  # seeds that an interval is known for


def over_seeds(shares: Sequence[float], least: float = 0.0, most: float = 1.0) -> tuple[float, float, float]:
    """Mean of a share over 2 to 10 seeds, and its 95 % interval: mean ± t · s / √n, cut where no share can be.

    `least`, `most`: where else to cut, for what is no share.

    >>> [round(each, 2) for each in over_seeds([0.5, 0.6, 0.7])]
    [0.6, 0.35, 0.85]

    Raises: ValueError for fewer seeds, or more.
    """
    if not 2 <= len(shares) <= MOST:
        raise ValueError(f"{len(shares)} seeds: expected 2 to {MOST}.")
    mean, half = fmean(shares), _T[len(shares) - 2] * stdev(shares) / math.sqrt(len(shares))
    return mean, max(least, mean - half), min(most, mean + half)


def seeds_needed(before: Sequence[float], after: Sequence[float]) -> float:
    """How many seeds tell these apart: so many that a t-test at 5 % finds such a difference four times in five.

    n = (z₀.₉₇₅ + z₀.₈)² · (s²_before + s²_after) / difference² + z²₀.₉₇₅ / 4, rounded up, and never below 2. Infinity where
    the means do not differ.

    >>> seeds_needed([0.3, 0.4, 0.35], [0.7, 0.9, 0.8]), seeds_needed([0.3, 0.4, 0.35], [0.35, 0.45, 0.4])
    (2, 17)

    Raises: ValueError for fewer than two shares on either side.

    Source: the size of a two-sample comparison, as Colas et al., "How many random seeds?" (arXiv 1806.08295), apply it to
    reinforcement learning; the last term, for the t of few seeds, is Guenther's (The American Statistician 35, 1981).
    That few seeds deceive: Henderson et al., arXiv 1709.06560; Agarwal et al., arXiv 2108.13264.
    """
    if min(len(before), len(after)) < 2:
        raise ValueError(f"{len(before)} and {len(after)} seeds: expected at least two on either side.")
    difference = fmean(after) - fmean(before)
    if abs(difference) < 1e-9:
        return math.inf
    apart = (1.96 + 0.8416) ** 2 * (stdev(before) ** 2 + stdev(after) ** 2) / difference**2
    return max(2, math.ceil(apart + 1.96**2 / 4))


def in_words(outcomes: Sequence[Outcome], chance: float) -> list[str]:
    """What the outcomes say together: how many have learnt, and how many seeds it takes to tell this from nothing.

    Args:
        outcomes: of some seeds; those that are not whole say nothing yet.
        chance: that the judge erred.

    Returns:
        Two paragraphs of Markdown; none for fewer than two seeds that are whole.
    """
    whole = [each for each in outcomes if each.is_whole]
    if len(whole) < 2:
        return []
    learnt = sum(each.verdict == "learnt" for each in whole)
    before, after = _shares(whole)
    mean, low, high = over_seeds(after)
    judge = f"errs in {chance:.0%} of its verdicts" if chance else "never errs"
    return [
        f"**With a judge that {judge}, {learnt or 'none'} of {len(whole)} seeds {'has' if learnt == 1 else 'have'} learnt** (the interval after lies above the one before). On average {fmean(before):.0%} were right before, and {mean:.0%} after (95 % interval over seeds: {low:.0%} to {high:.0%}).",
        believed(before, after),
    ]


def believed(before: Sequence[float], after: Sequence[float]) -> str:
    """What a spread allows to believe, in Markdown: how many seeds tell after from before, and whether these are so many.

    >>> believed([0.3, 0.4, 0.35], [0.35, 0.45, 0.4])
    '**It takes 17 seeds to tell this from nothing** (with so many, four tests in five would see it). Here are 3: too few. Believe neither this change nor its absence.'
    >>> believed([0.34, 0.34], [0.43, 0.46]).split("). ")[1]
    'Here are 2: too few to know how far seeds spread: their interval after holds the mean before. Train more.'

    Raises: ValueError for fewer than two seeds, or more than ten.
    """
    needed = seeds_needed(before, after)
    takes = f"{needed:,} seeds" if needed <= 1000 else "more than a thousand seeds"
    enough = "enough" if needed <= len(after) else "too few. Believe neither this change nor its absence"
    _, low, high = over_seeds(after, -math.inf, math.inf)
    if enough == "enough" and low <= fmean(before) <= high:  # two or three may lie near each other by luck
        enough = "too few to know how far seeds spread: their interval after holds the mean before. Train more"
    return f"**It takes {takes} to tell this from nothing** (with so many, four tests in five would see it). Here are {len(after)}: {enough}."


@dataclass(frozen=True)
class Judged:
    """What one judge gave the held-out answers of several seeds: before and after, a list of scores for each seed.

    >>> print(Judged([[0, 1], [0, 0], [0, 1]], [[1, 1], [1, 1], [0, 1]]))
    0.333 before, 0.833 after (95 % interval over 3 seeds: 0.116 to 1). It takes 7 seeds to tell this from nothing (with so many, four tests in five would see it). Here are 3: too few. Believe neither this change nor its absence.
    """

    before: Sequence[Sequence[float]]
    after: Sequence[Sequence[float]]

    @classmethod
    def all_of(cls, runs: Sequence[Run]) -> "dict[str, Judged]":
        """By the name of the judge, for runs of one plan: those that had a say with every seed, before and after."""
        asked = [(run.before, run.after) for run in runs if run.before and run.after]
        names = asked[0][0].completions[0].rewards if asked else ()
        said = {name: [[each.scores(name) for each in pair] for pair in asked] for name in names}
        return {name: cls(*zip(*each, strict=True)) for name, each in said.items() if all(map(all, each))}

    @property
    def is_share(self) -> bool:
        """Whether it judges by 0 and 1."""
        return {score for scores in (*self.before, *self.after) for score in scores} <= {0, 1}

    def of_seed(self, scores: Sequence[float]) -> tuple[float, float, float]:
        """The mean of one seed's scores and its 95 % interval: Wilson's for a share, else mean ± 1.96 · s / √n."""
        mean = fmean(scores)
        if self.is_share:
            return mean, *interval(round(sum(scores)), len(scores))
        half = 1.96 * stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else math.inf
        return mean, mean - half, mean + half

    def over_seeds(self, scores: Sequence[Sequence[float]]) -> tuple[float, float, float]:
        """The mean over the seeds, and its 95 % interval, see `over_seeds`."""
        return over_seeds([*map(fmean, scores)], *((0, 1) if self.is_share else (-math.inf, math.inf)))

    @property
    def believed(self) -> str:
        """See `believed`."""
        return believed([*map(fmean, self.before)], [*map(fmean, self.after)]).replace("**", "")

    def __str__(self) -> str:
        (before, *_), (after, low, high) = self.over_seeds(self.before), self.over_seeds(self.after)
        interval = f"95 % interval over {len(self.after)} seeds: {low:.3g} to {high:.3g}"
        return f"{before:.3g} before, {after:.3g} after ({interval}). {self.believed}"


def best_checkpoint(run: Run, judge: str = "answer_reward") -> str | None:
    """Which checkpoint answered the held-out questions best, and how far to believe it: a paragraph of Markdown.

    It is judged by what was trained on: by right answers where they are the reward, else by the reward, with them beside it.
    None for a run whose questions were not answered on the way, or where there is no reward for it and `judge` gave other
    scores than 0 and 1.

    The best of m looks at n questions lies above the truth even if all steps are alike: by about E(m) s / √n, where s is the
    spread of one question's scores, of a share √(p (1 - p)), and E(m) is the expected largest of m standard normal values,
    Φ⁻¹((m - 3/8) / (m + 1/4)) (Blom, 1958).
    """
    right = dict(run.series(f"held-out/{judge}/mean"))
    scores = next((answers.scores(judge) for _, answers in run.stages if judge in answers.completions[0].rewards), [])
    is_share = bool(scores) and not {*scores} - {0, 1}
    if earned := _earned(run, judge):
        looks, scores = earned
        half = 1.96 * stdev(scores) / math.sqrt(len(scores))
    else:
        looks = [*right.items()]
    if len(looks) < 2 or not (earned or is_share):
        return None

    def around(score: float) -> tuple[float, float]:
        return (score - half, score + half) if earned else interval(score * len(scores), len(scores))

    def told(step: int, score: float) -> str:
        low, high = around(score)
        if not earned:
            return f"{score:.0%} right (95 % interval {low:.0%} to {high:.0%})"
        beside = f", with {right[step]:.0%} right" if is_share and step in right else ""
        return f"a reward of {score:.3g} (95 % interval {low:.3g} to {high:.3g}){beside}"

    step, best = max(looks, key=lambda look: look[1])
    last, ends = looks[-1]
    middle = fmean(score for _, score in looks[-3:])
    largest = NormalDist().inv_cdf((len(looks) - 3 / 8) / (len(looks) + 1 / 4))
    if earned:
        flattered = f"{largest * half / 1.96:.2g}"
    else:
        points = 100 * largest * math.sqrt(middle * (1 - middle) / len(scores))
        flattered = counted(max(1, round(points)), "point")
    if {score for _, score in looks} == {ends}:
        return (
            f"**Which checkpoint is best?** None: each of {len(looks)}, asked the same {len(scores)} held-out questions, has come to {told(last, ends)}. "
            "The last is the one that is saved."
        )
    if best == ends:
        alone = sum(score == best for _, score in looks) == 1
        word = "the last was the best" if alone else "none was better than the last"
        found = f"{word}, after step {last}: {told(last, ends)}. It is the one that is saved"
    else:
        word = "A shorter training would have been better"
        if around(best)[0] <= around(ends)[1]:
            word = "They cannot be told apart"
        found = (
            f"the best was that after step {step}: {told(step, best)}. "
            f"The last, after step {last}, is the one that is saved: {told(last, ends)}. {word}"
        )
    return (
        f"**Which checkpoint is best?** Of {len(looks)}, each asked the same {len(scores)} held-out questions, {found}. But the best of several "
        f"flatters itself: were all {len(looks)} equally good, it would still come out up to {flattered} "
        "too high. Choose a checkpoint by some held-out questions, and report what it does on others."
    )


def _earned(run: Run, judge: str) -> tuple[list[tuple[int, float]], list[float]] | None:
    """The held-out mean of the reward that was trained on, by steps, and what each question has earned in the end.

    None where it is `judge` alone, or was not asked of the held-out questions.
    """
    names = [*run.groups[-1].completions[0].rewards] if run.groups else [judge]
    answers = run.after.completions if run.after else []
    if names == [judge] or len(answers) < 2 or not {*names} <= {*answers[0].rewards}:
        return None
    weights = dict(zip(names, run.settings.get("reward_weights") or [1.0] * len(names), strict=True))

    def paid(of: Callable[[str], float | None]) -> float:
        return sum(weight * (of(name) or 0.0) for name, weight in weights.items())

    asked = [row for row in run.metrics if all(f"held-out/{name}/mean" in row for name in names)]
    looks = [(row["step"], paid(lambda name, row=row: row[f"held-out/{name}/mean"])) for row in asked]
    return looks, [paid(each.rewards.get) for each in answers]


def table(outcomes: Sequence[Outcome]) -> str:
    """The right answers on held-out questions, a row for each seed: before (a ring) and after (a dot), with 95 % intervals.

    The last row is the mean over the seeds that are whole, with its interval over seeds. All numbers stand in words, too.
    """
    rows = [(str(each.seed), _of_one(each), _verdict(each.verdict)) for each in outcomes]
    whole = [each for each in outcomes if each.is_whole]
    if len(whole) > 1:
        before, after = map(over_seeds, _shares(whole))
        rows.append(("mean", {"before": before, "after": after}, ""))
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{_bars(ends)}</td><td>{_change(ends)}</td><td>{said}</td></tr>'
        for name, ends, said in rows
    )
    head = "".join(
        f'<th scope="col">{each}</th>'
        for each in ("seed", "held-out, right, 0 to 100 %: ○ before ● after", "", "verdict")
    )
    return f'<div class="scroll"><table class="seeds"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


Ends = dict[str, tuple[float, float, float] | None]  # before and after: a share, and its interval


def _shares(outcomes: Sequence[Outcome]) -> tuple[list[float], list[float]]:
    return [each.before[0] / each.before[1] for each in outcomes], [each.after[0] / each.after[1] for each in outcomes]


def _of_one(outcome: Outcome) -> Ends:
    ends = {"before": outcome.before, "after": outcome.after}
    return {when: right and (right[0] / right[1], *interval(*right)) for when, right in ends.items()}


def _verdict(said: str) -> str:
    colour = COLOURS[{"learnt": "up", "unlearnt": "down"}.get(said, "dead")]
    return f'<b style="color:{colour}">{said}</b>'


def _change(ends: Ends) -> str:
    return " → ".join("…" if each is None else f"{each[0]:.0%}" for each in ends.values())


_WIDTH, _HEIGHT = 200, 24


def _bars(ends: Ends) -> str:
    """Both intervals under each other, from 0 to 100 %."""
    drawn, told, ink = "", [], COLOURS["held-out"]
    for y, fill, (when, each) in zip((7, 17), ("none", ink), ends.items(), strict=True):
        if each is None:
            continue
        share, low, high = (round(6 + (_WIDTH - 12) * value, 1) for value in each)
        inner = "" if fill == ink else f'<circle cx="{share}" cy="{y}" r="3.2" fill="var(--background,Canvas)"/>'
        drawn += (
            f'<path d="M{low} {y}H{high}" stroke="{ink}" stroke-width="2"/>{inner}'
            f'<circle cx="{share}" cy="{y}" r="3.2" fill="{fill}" stroke="{ink}" stroke-width="1.6"/>'
        )
        told.append(f"{when} {each[0]:.0%}, 95 % interval {each[1]:.0%} to {each[2]:.0%}")
    ticks = "".join(f"M{6 + (_WIDTH - 12) * i / 4:.0f} 2V{_HEIGHT - 2}" for i in range(5))
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{"; ".join(told) or "not begun"}">'
        f'<path d="{ticks}" stroke="currentColor" opacity=".18"/>{drawn}</svg>'
    )
