"""Figures of rewards, groups and runs: data in, `Figure` out; nothing is shown, read, saved or set globally."""

import io
from collections import Counter
from collections.abc import Callable, Sequence
from html import escape
from statistics import median
from textwrap import fill

from grpo_lessons.groups import interval, p_dead, simulate_dead
from grpo_lessons.luck import Judged
from grpo_lessons.palette import COLOURS, SHADES
from grpo_lessons.runs import Evaluation, Run
from grpo_lessons.text import has_thought

INK = {
    name: light for name, (light, _) in SHADES.items()
}  # for matplotlib; `to_svg` has the page's shade take its place


def dead_groups(p: float, size: int, sizes: range = range(2, 17), groups: int = 200):
    """The chance of a dead group over the group size G, for a 0/1 reward earned with chance `p`.

    The line is p^G + (1-p)^G, the dots are shares among `groups` simulated groups, the ring marks `size`.
    """
    figure, axes = _figure(5.6, 3.1)
    axes.plot(sizes, [p_dead(p, g) for g in sizes], color=INK["dead"], lw=2, label="pᴳ + (1−p)ᴳ")
    dots = [simulate_dead(p, g, groups) for g in sizes]
    axes.plot(sizes, dots, "o", ms=4, color=INK["policy"], label=f"{groups} simulated groups")
    chance = p_dead(p, size)
    axes.plot([size], [chance], "o", ms=13, mfc="none", mew=2, color=INK["reward"])
    axes.annotate(f"{chance:.0%}", (size, chance), xytext=(9, 7), textcoords="offset points", color=INK["reward"])
    axes.set(
        xlabel="group size G",
        ylabel="chance of a dead group",
        ylim=(-0.03, 1.05),
        xticks=list(sizes)[::2],
        yticks=(0, 0.5, 1),
    )
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    return figure


def before_after(run: Run, titles: dict[str, str]):
    """Shares of held-out prompts answered well, before and after a run (and between SFT and GRPO), each with its 95 % interval (Wilson).

    `titles` maps the name of a 0/1 reward that judged the run to the words under which it is shown.
    """
    return shares({title: [(when, e.scores(name)) for when, e in run.stages] for name, title in titles.items()})


def thoughts(run: Run):
    """Of the held-out replies before and after a run: how many are right, how many think, and how many are right of either kind."""

    def right(answers: Evaluation, thinking: bool) -> list[float]:
        return [each.rewards["answer_reward"] for each in answers.completions if has_thought(each.text) == thinking]

    return shares(
        {
            "right answers": [(when, each.scores("answer_reward")) for when, each in run.stages],
            "replies that think": [(when, each.scores("thinks")) for when, each in run.stages],
            "right, if it thinks": [(when, right(each, True)) for when, each in run.stages],
            "right, if it does not": [(when, right(each, False)) for when, each in run.stages],
        }
    )


def shares(rows: dict[str, list[tuple[str, list[float]]]]):
    """Means of 0/1 scores with their 95 % intervals (Wilson): a title for each row, in it the (word, scores) to compare.

    The last of a row is filled.
    """
    figure, axes = _figure(5.6, 1.2 + 0.7 * len(rows), left=1.1 if max(map(len, rows)) < 15 else 1.6)
    for row, compared in enumerate(rows.values()):
        for i, (word, scores) in enumerate(compared):
            offset = 0.28 * i - 0.14 * (len(compared) - 1)
            if not scores:
                axes.annotate(f"{word}: none", (0, row + offset), va="center")
                continue
            share, (low, high) = sum(scores) / len(scores), interval(round(sum(scores)), len(scores))
            axes.plot([low, high], [row + offset] * 2, color=INK["held-out"], lw=2)
            face = INK["held-out"] if i == len(compared) - 1 else "none"
            axes.plot([share], [row + offset], "o", ms=8, mew=2, mfc=face, color=INK["held-out"])
            label = f"{word} {share:.0%}"
            axes.annotate(label, (high, row + offset), xytext=(6, 0), textcoords="offset points", va="center")
    longest = max((len(word) for compared in rows.values() for word, _ in compared), default=0)
    axes.set(
        xlim=(-0.02, 1.25 if longest < 8 else 1.42),
        ylim=(len(rows) - 0.5, -0.5),
        yticks=range(len(rows)),
        yticklabels=list(rows),
    )
    axes.set_xlabel("share of held-out questions")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    return figure


def seeds(runs: Sequence[Run]):
    """How far apart a training comes with two to ten seeds: its reward over the steps, and what each judge gave held-out answers.

    The reward is a thin line for each seed, their median, and a band from the lowest to the highest. Held-out means are a ring
    before and a dot after, with 95 % intervals: of each seed over its answers, in the last row of all over the seeds.
    """
    from matplotlib.figure import Figure

    judged, numbers = Judged.all_of(runs), [run.settings["seed"] for run in runs]
    size = (4.4 * (1 + len(judged)), 2.4 + 0.3 * len(runs))
    figure = Figure(figsize=size, layout="constrained")
    first, *others = figure.subplots(1, 1 + len(judged), squeeze=False)[0]
    by_step: dict[int, list[float]] = {}
    for run in runs:
        first.plot(*zip(*run.series("reward"), strict=True), color=INK["reward"], lw=1, alpha=0.5)
        for step, value in run.series("reward"):
            by_step.setdefault(step, []).append(value)
    steps, values = [*by_step], [*by_step.values()]
    first.fill_between(steps, [*map(min, values)], [*map(max, values)], color=INK["reward"], alpha=0.16, lw=0)
    first.plot(steps, [*map(median, values)], color=INK["reward"], lw=2.5)
    first.set(xlabel="step", title=f"reward, {len(runs)} seeds and their median")
    for axes, (name, each) in zip(others, judged.items(), strict=True):
        rows = [[each.of_seed(scores) for scores in side] for side in (each.before, each.after)]
        for side, overall, offset, face in zip(
            rows, (each.before, each.after), (-0.15, 0.15), ("none", None), strict=True
        ):
            for row, (mean, low, high) in enumerate([*side, each.over_seeds(overall)]):
                axes.plot([low, high], [row + offset] * 2, color=INK["held-out"], lw=2 + (row == len(runs)))
                axes.plot(
                    [mean], [row + offset], "o", ms=7, mew=1.6, mfc=face or INK["held-out"], color=INK["held-out"]
                )
        axes.axhline(len(runs) - 0.5, color="black", lw=0.6, alpha=0.4)
        axes.set(
            ylim=(len(runs) + 0.5, -0.5), yticks=range(len(runs) + 1), yticklabels=[*numbers, "mean"], ylabel="seed"
        )
        axes.set(title=f"held-out {name}")
        axes.set_xlabel(f"○ before ● after\n\n{fill(each.believed, 56)}", fontsize=9)
        if each.is_share:
            axes.set_xlim(-0.03, 1.03)
    for axes in (first, *others):
        axes.spines[["top", "right"]].set_visible(False)
    where = runs[0].label.replace(f"seed {numbers[0]}", f"seeds {', '.join(map(str, numbers))}")
    figure.supxlabel(where, fontsize=8, alpha=0.7)
    return figure


def chances(shares: Sequence[float], counted: str, dead: dict[int, float]):
    """A share of each prompt's replies, such as p, as a histogram over prompts; above it P(dead) by group size.

    `counted`: what it is a share of, in words.
    """
    figure, axes = _figure(5.6, 2.6)
    counts = Counter(min(9, int(10 * share)) for share in shares)
    axes.bar([0.05 + i / 10 for i in range(10)], [counts[i] for i in range(10)], width=0.09, color=INK["policy"])
    told = " · ".join(f"G = {size}: {share:.0%}" for size, share in dead.items())
    axes.set_title(f"dead groups  {told}", loc="left", fontsize=10, color=INK["dead"])
    axes.set(xlabel=counted, ylabel="prompts", xlim=(-0.02, 1.1))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    axes.yaxis.get_major_locator().set_params(integer=True)
    return figure


def reward_over_length(reward: Callable[[int], float], lengths: Sequence[int], longest: int = 60, unit: str = "tokens"):
    """What a reward pays for a length (the line), and for the completions of one group (the dots)."""
    figure, axes = _figure(5.6, 2.9, left=0.8)
    axes.plot(range(1, longest + 1), [reward(n) for n in range(1, longest + 1)], color=INK["reward"], lw=2)
    axes.plot(lengths, [reward(n) for n in lengths], "o", ms=8, color=INK["policy"])
    for i, n in enumerate(lengths, 1):
        axes.annotate(f"{i}", (n, reward(n)), xytext=(0, 7), textcoords="offset points", ha="center")
    axes.set(xlabel=f"length ({unit})", ylabel="reward", xlim=(0, longest + 1))
    axes.margins(y=0.2)
    figure.set_label(", ".join(f"{n} {unit} earn {reward(n):.3g}" for n in lengths))
    return figure


def lengths(run: Run, target: int):
    """The lengths of the held-out replies, one dot each, before and after a run, with the target and the mean error."""
    figure, axes = _figure(5.6, 2.6, left=1.5)
    axes.axvline(target, color=INK["reward"], lw=1.5, ls="--")
    axes.annotate("target", (target, -0.75), xytext=(4, -4), textcoords="offset points", color=INK["reward"], va="top")
    labels = []
    for row, (when, evaluation) in enumerate((("before", run.before), ("after", run.after))):
        counts = [completion.tokens for completion in evaluation.completions] if evaluation else []
        seen, apart = Counter(), min(0.05, 0.7 / max(Counter(counts).values(), default=1))
        for n in counts:  # replies of one length stand above each other
            seen[n] += 1
            axes.plot([n], [row + 0.36 - apart * seen[n]], "o", ms=4, color=INK["held-out"], alpha=0.7)
        labels.append(f"{when}\noff by {evaluation.length_error(target):.1f}" if evaluation else when)
    axes.set(xlabel="length of a held-out reply (tokens)", ylim=(1.5, -0.75), yticks=(0, 1), yticklabels=labels)
    axes.set_xlim(left=0)
    return figure


def _figure(width: float, height: float, left: float = 0.6):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))  # fixed margins: a layout engine draws everything twice
    axes = figure.add_axes((left / width, 0.55 / height, 1 - (left + 0.1) / width, 1 - 0.92 / height))
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _name(figure) -> str:
    """What a figure shows, for those who cannot see it: what stands on its axes, and at its marks."""
    axes = figure.axes[0]
    marks = figure.get_label() or ", ".join(
        [*filter(None, [axes.get_title("left")]), *(each.get_text() for each in axes.texts)]
    )
    rows = axes.get_ylabel() or ", ".join(label.get_text().replace("\n", ", ") for label in axes.get_yticklabels())
    return escape(f"{rows}; {axes.get_xlabel()}{marks and f': {marks}'}")


def to_svg(figure) -> str:
    """The figure as SVG that takes the page's text colour, so that it reads on light and on dark alike."""
    from matplotlib import rc_context

    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "grpo"}):
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = buffer.getvalue()
    svg = (
        svg[svg.index("<svg") :]
        .replace("#000000", "currentColor")
        .replace("<svg ", f'<svg style="max-width:100%;height:auto" role="img" aria-label="{_name(figure)}" ', 1)
    )
    for name, ink in INK.items():
        svg = svg.replace(ink, COLOURS[name])
    return svg.replace('<g id="text_', '<g fill="currentColor" id="text_')
