"""Small curves over the steps of a run, or of several overlaid, as HTML and SVG strings; a session's panel is made of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from statistics import fmean, median

from grpo_lessons.cards import progress, short
from grpo_lessons.palette import COLOURS
from grpo_lessons.runs import Run, told_apart
from grpo_lessons.text import counted


@dataclass(frozen=True)
class Curve:
    """Something to watch over the steps of a run.

    Args:
        metric: its name in `Run.metrics`; a run that did not log it (`kl` with beta 0) leaves the curve out.
        title: what the reader calls it, with its unit.
        colour: its concept in the palette.
        span: lowest and highest value of the axis at least; None for the data's own.
        held_out: the name of a reward whose held-out mean is drawn as points.
        spread: a metric that is drawn as a band around the curve, so much above as below.
        goal: a value that is marked by a dashed line.
    """

    metric: str
    title: str
    colour: str = "policy"
    span: tuple[float | None, float | None] = (0, None)
    held_out: str = ""
    spread: str = ""
    goal: float | None = None


LENGTH = "completions/mean_length"
CURVES = (
    Curve("reward", "reward", "reward"),
    Curve("within_group_std", "spread within a group", "up"),
    Curve("frac_reward_zero_std", "share of dead groups", "dead", (0, 1)),
    Curve(LENGTH, "completion length (tokens)"),
    Curve("entropy", "entropy"),
    Curve("kl", "distance from the start (KL)"),
)


def curves(
    runs: dict[str, Run],
    at: int | None = None,
    only: Sequence[str] = (),
    watch: Sequence[Curve] = CURVES,
    named: bool = False,
) -> str:
    """Small curves over the steps of one run, or of several overlaid (the first in colour, the others dashed).

    The components of a reward that is a sum stand beside it. `at` marks a step; `only` names the metrics to show, all
    if it is empty; `named`: a single run has its name above it, too.
    """
    shown = [
        _curve(curve, runs, at, _steps(runs))
        for each in watch
        for curve in ([_reward_curve(each, runs), *_parts(runs)] if each.metric == "reward" else [each])
        if any(run.series(curve.metric) for run in runs.values()) and (not only or curve.metric in only)
    ]
    legend = "".join(
        f"<span>{'━' if i == 0 else '╌'} {escape(label)}</span>"
        for i, label in enumerate(runs)
        if named or len(runs) > 1
    )
    return f'<p class="facts">{legend}</p><div class="curves">{"".join(shown)}</div>'


def _parts(runs: dict[str, Run]) -> list[Curve]:
    """A curve for each component of a reward, if it has more than one."""
    logged = {name for run in runs.values() for row in run.metrics[:1] for name in row}
    parts = sorted(name for name in logged if name.startswith("rewards/") and name.endswith("/mean"))
    return [Curve(name, name.split("/")[1], "reward", (0, 1)) for name in parts] if len(parts) > 1 else []


def _reward_curve(curve: Curve, runs: dict[str, Run]) -> Curve:
    """The reward from 0 to what can be earned; a distance to a target is never above 0."""
    values = [value for run in runs.values() for _, value in run.series("reward")] or [0]
    return replace(curve, span=(0, 0 if min(values) < 0 and max(values) <= 0 else max(1, len(_parts(runs)))))


def _steps(runs: dict[str, Run]) -> int:
    return max(
        [2, *(int(run.settings.get("steps", 0)) for run in runs.values()), *(r.steps_done for r in runs.values())]
    )


def _curve(curve: Curve, named: dict[str, Run], at: int | None, steps: int) -> str:
    runs = list(named.values())
    series = [run.series(curve.metric) for run in runs]
    spread = dict(runs[0].series(curve.spread)) if curve.spread else {}
    band = [(step, value - spread[step], value + spread[step]) for step, value in series[0] if step in spread]
    points = _held_out(runs[0], curve.held_out) if curve.held_out else []
    values = [value for each in [*series, points] for _, value in each]
    values += [value for _, low, high in band for value in (low, high)]
    values += [] if curve.goal is None else [curve.goal]
    low = min(values) if curve.span[0] is None else min(curve.span[0], *values)
    high = max(low + 1e-9, max(values) if curve.span[1] is None else max(curve.span[1], *values))
    paper, colour, drawn = _Paper(steps, low, high), COLOURS[curve.colour], ""
    if band:
        around = [(step, high) for step, _, high in band] + [(step, low) for step, low, _ in reversed(band)]
        drawn += f'<polygon fill="{colour}" opacity=".18" points="{paper.path(around)}"/>'
    if curve.goal is not None:
        drawn += paper.goal(curve.goal)
    for each, ink, style in zip(series, _inks(colour), _STYLES, strict=False):
        drawn += f'<polyline fill="none" stroke="{ink}" {style} points="{paper.path(each)}"/>'
        if each:
            drawn += paper.dot(next((point for point in each if point[0] == at), each[-1]), 2.6, ink)
    drawn += "".join(paper.dot(point, 3.2, COLOURS["held-out"]) for point in points)
    if at is not None:
        x = paper.x(at)
        drawn += f'<line x1="{x}" x2="{x}" y1="4" y2="{paper.bottom}" stroke="currentColor" opacity=".45"/>'
    chosen = [value for step, value in series[0] if at is None or step == at]
    said = [trend(series[0]), *(f"{name}: {trend(each)}" for name, each in [*zip(named, series, strict=True)][1:])]
    said += [] if curve.goal is None else [f"target {short(curve.goal)}"]
    said += [f"held-out {short(points[0][1])} → {short(points[-1][1])}"] if points else []
    said = escape(f"{curve.title} over the steps: {'; '.join(said)}")
    now = f'<b class="{curve.colour}">{short(chosen[-1])}</b>' if chosen else ""
    dots = f' <b class="held-out">● held-out {short(points[-1][1])}</b>' if points and at is None else ""
    return (
        f'<div class="curve"><header role="none"><span>{escape(curve.title)}</span><span>{now}{dots}</span></header>'
        f'<svg viewBox="0 0 {paper.width} {paper.height}" role="img" aria-label="{said}">'
        f"{paper.axes()}{drawn}</svg></div>"
    )


def trend(line: Sequence[tuple[int, float]]) -> str:
    """A line over the steps in words, for whoever cannot see it: where it leads, by the means of its first and last steps.

    >>> trend([(1, 0.2), (2, 0.3), (3, 0.9), (4, 0.8)])
    'rises from 0.2 at step 1 to 0.8 at step 4, between 0.2 and 0.9'
    >>> trend([(1, 0.5), (2, 0.5)]), trend([(3, 7)]), trend([])
    ('stays at 0.5 from step 1 to step 2', '7 at step 3', 'nothing yet')
    """
    if len(line) < 2:
        return f"{short(line[0][1])} at step {line[0][0]}" if line else "nothing yet"
    (first, begins), (last, ends), values = line[0], line[-1], [value for _, value in line]
    low, high, fifth = min(values), max(values), max(1, min(3, len(values) // 5))
    if short(low) == short(high):
        return f"stays at {short(low)} from step {first} to step {last}"
    change = (fmean(values[-fifth:]) - fmean(values[:fifth])) / (high - low)
    way = "rises" if change > 0.25 else "falls" if change < -0.25 else "wavers"
    at = f"from {short(begins)} at step {first} to {short(ends)} at step {last}"
    return f"{way} {at}, between {short(low)} and {short(high)}"


def band(
    title: str,
    lines: Sequence[Sequence[float]],
    steps: int,
    marks: dict[str, float],
    span: tuple[float, float] = (0, 1),
    each: str = "seed",
) -> str:
    """One measure over the steps of several trainings that differ in their seeds: a thin line for each, their median, and
    the band from the lowest to the highest.

    `lines`: a value for each step that is done; they may be of different lengths. `marks`: dashed lines, by
    their names, which stand where a curve that rises leaves room: at the first steps in the upper half, else
    at the last. `span`: the lowest and the highest value of the axis; `each`: what a line stands for.
    """
    by_step = [(i, [line[i - 1] for line in lines if len(line) >= i]) for i in range(1, steps + 1)]
    by_step = [(i, values) for i, values in by_step if values]
    paper, colour, middle = _Paper(max(2, steps), *span), COLOURS["reward"], [(i, median(v)) for i, v in by_step]
    around = [(i, max(v)) for i, v in by_step] + [(i, min(v)) for i, v in reversed(by_step)]
    drawn = "".join(
        paper.goal(value, escape(name), first=value > 0.5, under=0.15 < value < 0.5 or value > 0.85)
        for name, value in marks.items()
    )
    drawn += f'<polygon fill="{colour}" opacity=".16" points="{paper.path(around)}"/>'
    for line in lines:
        thin = paper.path([*enumerate(line, 1)])
        drawn += f'<polyline fill="none" stroke="{colour}" opacity=".5" points="{thin}"/>'
    drawn += f'<polyline fill="none" stroke="{colour}" stroke-width="2.5" points="{paper.path(middle)}"/>'
    first, last = [fmean(value for _, value in some) if some else 0 for some in (middle[:5], middle[-5:])]
    now = f"{short(first)} → {short(last)}"
    said = f"{title} over the steps of {counted(len(lines), each)}; their median, five steps each: {now}"
    return (
        f'<div class="curve"><header role="none"><span>{escape(title)}, {counted(len(lines), each)}</span>'
        f'<span>median <b class="reward">{now}</b></span></header>'
        f'<svg viewBox="0 0 {paper.width} {paper.height}" role="img" aria-label="{escape(said)}">'
        f"{paper.axes()}{drawn}</svg></div>"
    )


_STYLES = ('stroke-width="2"', *['stroke-width="1.5" stroke-dasharray="4 3" opacity=".65"'] * 9)


def _inks(colour: str) -> list[str]:
    """The first run in colour, all others in that of the text."""
    return [colour, *["currentColor"] * 9]


@dataclass(frozen=True)
class _Paper:
    """Where a step and a value stand in a curve's SVG, in its own units."""

    steps: int
    low: float
    high: float
    width: int = 220
    height: int = 96
    left: int = 34

    @property
    def bottom(self) -> int:
        return self.height - 15

    def x(self, step: int) -> float:
        return round(self.left + (self.width - self.left - 4) * (step - 1) / (self.steps - 1), 1)

    def y(self, value: float) -> float:
        return round(self.bottom - (self.bottom - 6) * (value - self.low) / (self.high - self.low), 1)

    def path(self, spots: Sequence[tuple[int, float]]) -> str:
        return " ".join(f"{self.x(step)},{self.y(value)}" for step, value in spots)

    def dot(self, spot: tuple[int, float], radius: float, ink: str) -> str:
        return f'<circle cx="{self.x(spot[0])}" cy="{self.y(spot[1])}" r="{radius}" fill="{ink}"/>'

    def goal(self, value: float, name: str = "target", first: bool = False, under: bool = False) -> str:
        """A dashed line, with its name at its last steps, or its first ones, over it or under it."""
        y, end, ink = self.y(value), self.width - 4, COLOURS["reward"]
        x, anchor = (self.left + 4, "start") if first else (end, "end")
        return (
            f'<line x1="{self.left}" x2="{end}" y1="{y}" y2="{y}" stroke="{ink}" stroke-dasharray="2 3"/>'
            f'<text x="{x}" y="{y + (11 if under else -3):.1f}" text-anchor="{anchor}" font-size="11" fill="{ink}">{name}</text>'
        )

    def axes(self) -> str:
        left, right, ink = self.left, self.width - 4, 'font-size="11" fill="currentColor" opacity=".85"'
        return (
            f'<path d="M{left} 4V{self.bottom}H{right}" fill="none" stroke="currentColor" opacity=".35"/>'
            f'<text x="{left - 4}" y="11" text-anchor="end" {ink}>{short(float(f"{self.high:.3g}"))}</text>'
            f'<text x="{left - 4}" y="{self.bottom}" text-anchor="end" {ink}>{short(float(f"{self.low:.3g}"))}</text>'
            f'<text x="{left}" y="{self.height - 3}" {ink}>step 1</text>'
            f'<text x="{right}" y="{self.height - 3}" text-anchor="end" {ink}>{self.steps}</text>'
        )


def histograms(updates: Sequence[dict], bin: float, clip: Sequence[float] = (0.8, 1.2)) -> str:
    """For each update how far its tokens have moved: above the line those pushed up, below it those pushed down.

    A bar's height is the root of its share: a few tokens are to be seen beside the many that have not moved.

    Args:
        updates: of each `tokens`, `clip_ratio`, and `up` and `down`: how many tokens have their ratio in each bin.
        bin: the width of a bin; the last one holds all that is beyond.
        clip: what lies beyond it, in the direction of the push, is shaded.
    """
    largest = max(count / each["tokens"] for each in updates for way in ("up", "down") for count in each[way])
    drawn = "".join(_histogram(i, each, bin, clip, largest) for i, each in enumerate(updates, 1))
    return f'<div class="curves histograms">{drawn}</div>'


def _histogram(number: int, update: dict, bin: float, clip: Sequence[float], largest: float) -> str:
    side, middle = 8, 62  # of a bin, and where the line is, in units of the SVG
    width, low, high = len(update["up"]) * side, *(round(side * ratio / bin) for ratio in clip)
    drawn = f'<path d="M{high} 0H{width}V{middle}H{high}zM0 {middle}H{low}V{2 * middle}H0z" fill="currentColor" opacity=".1"/>'
    for way, sign in (("up", -1), ("down", 1)):
        tall = [56 * (count / update["tokens"] / largest) ** 0.5 for count in update[way]]
        bars = [f"M{side * i + 1} {middle}v{sign * h:.1f}h{side - 2}V{middle}z" for i, h in enumerate(tall) if h]
        drawn += f'<path d="{"".join(bars)}" fill="{COLOURS[way]}"/>'
    marks = [(side * each / bin, f"{each:g}", "middle") for each in (clip[0], 1, clip[1])]
    marks = [(0, "0", "start"), *marks, (width, f"≥ {bin * (len(update['up']) - 1):g}", "end")]
    drawn += f'<path d="M0 {middle}H{width}" stroke="currentColor" opacity=".5"/>' + "".join(
        f'<text x="{x:.0f}" y="{2 * middle + 13}" text-anchor="{anchor}" font-size="12" fill="currentColor">{text}</text>'
        for x, text, anchor in marks
    )
    share = f"{update['clip_ratio']:.1%}"
    return (
        f'<div class="curve"><header role="none"><span>update {number}</span><span>clip_ratio <b>{share}</b></span></header>'
        f'<svg viewBox="0 0 {width} {2 * middle + 16}" role="img" aria-label="how far the tokens of update {number} have '
        f'moved; clipped: {share}">{drawn}</svg></div>'
    )


def _held_out(run: Run, reward: str) -> list[tuple[int, float]]:
    """The held-out means of a reward over the steps. Step 1 samples before the first update: there "before" belongs."""
    first = [(1, run.before.mean(reward))] if run.before else []
    return first + run.series(f"held-out/{reward}/mean")


def warm_start(run: Run) -> str:
    """What SFT did before the reward, apart from the steps of GRPO: its loss, and what the held-out answers earned before it,
    after it, and after GRPO. Nothing for a run without one.
    """
    if run.sft is None:
        return ""
    steps = [{"step": step, "loss": loss} for step, loss in enumerate(run.sft.losses, 1)]
    copying = Run({"steps": len(steps)}, metrics=steps)
    loss = _curve(Curve("loss", "SFT: loss (nats a token)"), {"": copying}, None, _steps({"": copying}))
    stages = dict(run.stages)
    judges = next(iter(stages.values())).completions[0].rewards if stages else ()
    shares = "".join(_stages(name, {when: each.mean(name) for when, each in stages.items()}) for name in judges)
    words = (
        f"First SFT: {counted(run.sft.examples, 'worked example')} copied in {counted(len(steps), 'step')}, then GRPO."
    )
    return f'<p class="facts"><b>{words}</b></p><div class="curves">{loss}{shares}</div>'


def _stages(name: str, means: dict[str, float]) -> str:
    low, high = min(0, *means.values()), max(1, *means.values())
    rows = "".join(
        f'<span>{when}</span><div class="share"><i class="held-out" style="width:{100 * (means.get(when, low) - low) / (high - low):.0f}%">'
        f"</i></div><b>{short(means.get(when))}</b>"
        for when in ("before", "after SFT", "after GRPO")
    )
    title = f"held-out {escape(name)}"
    return (
        f'<div class="curve"><header role="none"><span>{title}</span></header><div class="chances">{rows}</div></div>'
    )


def status(phase: str, run: Run, speed: float = 1.0) -> str:
    """How far a session is: its phase in words, and while it runs a bar and the time left.

    `speed`: how many times as fast as the record says, for a run that is replayed.
    """
    if run.state == "running":
        return progress(phase, run.steps_done, run.settings.get("steps") or 1, run.seconds / speed)
    return f"<p><b>{escape(phase)}</b></p>"


def panel(run: Run, before: Run | None, watch: Sequence[Curve] = CURVES, names: tuple[str, str] = ("", "")) -> str:
    """The curves of a session, over those of the run before it, and where it ran.

    `names` are those of the two runs, "" for one that is told apart by its settings. A run that has no step yet leaves
    the one before it in sight, under its name.
    """
    ours, theirs = told_apart(run, before) if before else ("", "")
    labels = names[0] or f"this run{ours}", names[1] or f"the run before{theirs}"
    shown = {label: each for label, each in zip(labels, (run, before), strict=True) if each and each.metrics}
    if not shown:
        return ""
    label = next(iter(shown.values())).label
    newest = run.metrics[-1]["reward"] if run.metrics else ""
    return (
        f'<div data-step="{run.steps_done}" data-reward="{newest}">'
        f'{curves(shown, watch=watch, named=bool(names[0]) or not run.metrics)}<p class="note">{escape(label)}</p></div>'
    )
