"""A map of short runs by two of their settings, as HTML: a small curve each, and in a word what has become of it."""

from collections.abc import Mapping, Sequence
from html import escape
from statistics import fmean

from grpo_lessons.cards import short
from grpo_lessons.palette import COLOURS
from grpo_lessons.runs import Run

# What may become of a run, and the colour of its concept.
FATES = {
    "learnt": "up",
    "on its way": "policy",
    "flat": "reward",
    "dead": "dead",
    "collapsed": "down",
    "forgetful": "held-out",
}
_WIDTH, _HEIGHT = 120, 46


def fate(run: Run, kept: str = "judges/answer_reward/mean") -> str:
    """What has become of a run that pays from 0 to 1, by its own numbers; "" as long as it has fewer than four steps.

    `dead`: in nine of ten groups all replies earned the same. `learnt`: eight of ten earn it in the end. `forgetful`: more
    earn it than at first, or as good as all, and of `kept`, which nobody paid for, a good part is gone. `collapsed`: not half of what was earned is earned any more.
    `flat`: the end is what the beginning was. Beginning and end are three steps each, but of `kept` the first step alone, which no update went before.

    >>> rising = [{"step": i, "reward": i / 10, "entropy": 0.2, "frac_reward_zero_std": 0.1} for i in range(1, 11)]
    >>> fate(Run({}, metrics=rising)), fate(Run({}, metrics=rising[:3]))
    ('learnt', '')
    """
    if run.steps_done < 4:
        return ""

    def ends(metric: str) -> tuple[float, float]:
        values = [value for _, value in run.series(metric)] or [0.0]
        return fmean(values[:3]), fmean(values[-3:])

    (first, last), (_, has) = ends("reward"), ends(kept)
    had = next((value for _, value in run.series(kept)), 0.0)  # before any update: three steps may lose it all
    if fmean(value for _, value in run.series("frac_reward_zero_std")) >= 0.9:
        return "dead"
    if (last >= 0.8 or last >= first + 0.15) and has < had - 0.2:
        return "forgetful"
    if last >= 0.8:
        return "learnt"
    if last < first / 2 and first > 0.1:
        return "collapsed"
    return "flat" if last < first + 0.15 else "on its way"


def grid(
    runs: Mapping[tuple, Run],
    names: tuple[str, str],
    rows: Sequence[float],
    columns: Sequence[float],
    below: Mapping[tuple, str] | None = None,
) -> str:
    """The map: a row and a column for each value of two settings, the reward's curve of each run where they meet.

    `below`: HTML under each curve, such as a button. What a run has come to is read where one points at it or presses it, and
    by a screen reader.
    """
    down, across = map(escape, names)
    head = "".join(f'<th scope="col" aria-label="{across} {value:g}">{value:g}</th>' for value in columns)
    body = ""
    for row in rows:
        cells = "".join(
            f"<td>{_cell(runs[row, column], (below or {}).get((row, column), ''))}</td>" for column in columns
        )
        body += f'<tr><th scope="row" aria-label="{down} {row:g}">{row:g}</th>{cells}</tr>'
    corner = f'<td class="note">{down} ↓<br>{across} →</td>'
    return f'<div class="scroll"><table class="map"><thead><tr>{corner}{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(run: Run, below: str) -> str:
    rewards, said = run.series("reward"), fate(run)
    steps = max(2, int(run.settings.get("steps", 2)))
    points = " ".join(
        f"{2 + (step - 1) * (_WIDTH - 4) / (steps - 1):.1f},{_HEIGHT - 3 - (_HEIGHT - 6) * value:.1f}"
        for step, value in rewards
    )
    words = _in_words(run, said)
    drawn = f'<polyline fill="none" stroke="{COLOURS["reward"]}" stroke-width="2" points="{points}"/>'
    word = f'<b style="color:{COLOURS[FATES[said]]}">{said}</b>' if said else "&nbsp;"
    return (
        f'<details name="map" title="{escape(words)}"><summary><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(words)}">'
        f'<path d="M2 2V{_HEIGHT - 3}H{_WIDTH - 2}" fill="none" stroke="currentColor" opacity=".35"/>{drawn}</svg>'
        f"<span>{word}</span></summary><p>{escape(words)}</p></details>{below}"
    )


def _in_words(run: Run, said: str) -> str:
    if not run.metrics:
        return "not begun"
    first, last = run.metrics[0], run.metrics[-1]
    told = [f"{said or 'running'}: reward {short(first['reward'])} → {short(last['reward'])} in {run.steps_done} steps"]
    dead = [value for _, value in run.series("frac_reward_zero_std")]
    if dead:
        told.append(f"dead groups {fmean(dead):.0%} on average")
    for metric, name in (("entropy", "entropy"), ("kl", "KL")):
        if last.get(metric) is not None:
            told.append(f"{name} {short(last[metric])}")
    right = "judges/answer_reward/mean"
    if last.get(right) is not None:
        told.append(f"right answers {short(first[right])} → {short(last[right])}")
    return ", ".join(told)
