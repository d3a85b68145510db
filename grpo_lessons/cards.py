"""What the lessons show in HTML: completions with their rewards and advantages, curves of runs, the loop in one picture.

Plain strings made by plain Python: instant everywhere, in a browser before any package has loaded. All text that comes
from a model or a reader is escaped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from statistics import fmean

from grpo_lessons.device import seconds_left
from grpo_lessons.groups import is_dead
from grpo_lessons.palette import COLOURS
from grpo_lessons.runs import Completion, Group, Run, told_apart
from grpo_lessons.text import mark_tags

MOST_CHARACTERS = 600  # of one completion on a card

_STYLE = (
    "<style>.gl{--line:rgba(128,134,145,.35);--soft:rgba(128,134,145,.10);font-size:.92rem;line-height:1.45;"
    + "".join(f"--{name}:{colour};" for name, colour in COLOURS.items())
    + """}
.gl *{box-sizing:border-box}.gl p{margin:.3rem 0}
.gl .cards{display:grid;gap:.5rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr))}
.gl .card{border:1px solid var(--line);border-radius:.5rem;padding:.5rem .65rem;display:flex;flex-direction:column;gap:.4rem}
.gl .card.up{border-left:4px solid var(--up)}.gl .card.down{border-left:4px solid var(--down)}
.gl .card.dead{border-left:4px solid var(--dead)}
.gl .text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.82rem;white-space:pre-wrap;
overflow-wrap:anywhere;flex:1;max-height:11rem;overflow:auto}
.gl .tag{color:var(--policy);font-weight:700}.gl .in{background:color-mix(in srgb,var(--policy) 13%,transparent)}
.gl .tokens i{font-style:normal;border-radius:2px}.gl .tokens i:nth-child(odd){background:color-mix(in srgb,var(--policy) 20%,transparent)}
.gl .tokens i:nth-child(even){background:var(--soft)}
.gl .facts{display:flex;flex-wrap:wrap;gap:.25rem .8rem;align-items:baseline;font-variant-numeric:tabular-nums}
.gl .name{opacity:.75;font-size:.8rem}.gl b.reward{color:var(--reward)}.gl b.up{color:var(--up)}.gl b.down{color:var(--down)}
.gl b.dead{color:var(--dead)}.gl b.held-out{color:var(--held-out)}.gl b.policy{color:var(--policy)}
.gl .curves{display:grid;gap:.6rem 1rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,16rem),1fr))}
.gl .curve svg{display:block;width:100%;height:auto;overflow:visible}
.gl .curve header{display:flex;justify-content:space-between;gap:.5rem;font-size:.82rem}
.gl .bar{height:.5rem;border-radius:.25rem;background:var(--soft);overflow:hidden;margin:.35rem 0}
.gl .bar i{display:block;height:100%;background:var(--policy);transition:width .3s}
.gl .bar.busy i{width:30%;animation:gl-busy 1.4s ease-in-out infinite alternate}
@keyframes gl-busy{from{margin-left:0}to{margin-left:70%}}
.gl .loop{display:grid;gap:.4rem .9rem}.gl .loop .head{font-size:.8rem;opacity:.75;border-bottom:1px solid var(--line);display:flex;align-items:end}
@media (max-width:40rem){.gl .loop{grid-template-columns:repeat(3,auto)!important}.gl .loop .wide{grid-column:1/-1;margin-top:.5rem}}
.gl td.text{min-width:11rem}
@media (max-width:40rem){.gl .texts thead{display:none}.gl .texts tr{display:block;border-bottom:1px solid var(--line);padding:.35rem 0}
.gl .texts td{display:block;border:0;padding:.1rem .3rem}.gl .texts td.text::before{content:attr(data-head);display:block;opacity:.7;font-size:.75rem}}
.gl .flow{display:flex;flex-wrap:wrap;gap:.3rem .5rem;align-items:center;margin:.2rem 0 .8rem}
.gl .flow span{border:1px solid var(--line);border-radius:1rem;padding:.15rem .7rem}
.gl .flow .now{background:color-mix(in srgb,var(--policy) 18%,transparent);border-color:var(--policy)}
.gl table{border-collapse:collapse;width:100%;font-size:.86rem}.gl .scroll{overflow-x:auto}
.gl th,.gl td{border-bottom:1px solid var(--line);padding:.3rem .5rem;text-align:left;vertical-align:top}
.gl td.mark,.gl th.mark{text-align:center}.gl td.mark{white-space:nowrap}.gl th{font-weight:600}
.gl .pushes{display:grid;grid-template-columns:max-content max-content minmax(4rem,28rem) max-content;gap:.25rem .8rem;align-items:center}
.gl .track{position:relative;height:.8rem;border-left:0;background:linear-gradient(90deg,transparent calc(50% - 1px),var(--line) 0,
var(--line) calc(50% + 1px),transparent 0)}.gl .track i{position:absolute;top:0;height:100%;border-radius:2px}
.gl .note{opacity:.75;font-size:.82rem}
</style>"""
).replace("\n", "")


def word(concept: str, text: str = "") -> str:
    """A word of prose in its concept's colour.

    >>> word("reward")
    '<b style="color:#c97f00">reward</b>'
    """
    return f'<b style="color:{COLOURS[concept]}">{escape(text or concept)}</b>'


def page(*parts: str) -> str:
    """Pieces of this module put together, with the style they share."""
    return f'<div class="gl">{_STYLE}{"".join(parts)}</div>'


def marked_text(text: str, tags: Sequence[str] = ()) -> str:
    """A completion as it stands, escaped, cut to `MOST_CHARACTERS`, its tags and what they enclose coloured."""
    cut = text[:MOST_CHARACTERS]
    pieces = mark_tags(cut, tuple(tags)) if tags else [(cut, "")]
    classes = {"": "", "tag": "tag"}
    body = "".join(f'<span class="{classes.get(kind, "in")}">{escape(piece)}</span>' for piece, kind in pieces)
    more = f'<span class="note"> … {len(text) - len(cut):,} more characters</span>' if len(text) > len(cut) else ""
    return body + more or '<span class="note">(empty)</span>'


def marked_tokens(tokens: Sequence[str]) -> str:
    """A text cut into its tokens, every other one shaded; at most `MOST_CHARACTERS` of them."""
    pieces = "".join(f"<i>{escape(token)}</i>" for token in tokens[:MOST_CHARACTERS])
    return f'<span class="text tokens">{pieces}</span>'


def measured(pieces: Sequence[str], measures: Sequence[str]) -> str:
    """A card for each piece of HTML, numbered if there are several, with its measure in words under it."""
    several = len(pieces) > 1
    cards = [
        f'<div class="card"><div class="text">{piece}</div><div class="facts">'
        + (f'<span class="name">reply {i}</span>' if several else "")
        + f" <b>{escape(measure)}</b></div></div>"
        for i, (piece, measure) in enumerate(zip(pieces, measures, strict=True), 1)
    ]
    return f'<div class="cards">{"".join(cards)}</div>'


NOTHING = 1e-3  # an advantage as small as this is no push


def direction(advantage: float) -> str:
    """Where an advantage pushes: "up", "down", or "dead" for nowhere."""
    return "dead" if abs(advantage) < NOTHING else "up" if advantage > 0 else "down"


def push(advantage: float) -> str:
    """An advantage with its sign, an arrow and its colour."""
    way = direction(advantage)
    arrow = {"up": "↑ ", "down": "↓ ", "dead": "· "}[way]
    return f'<b class="{way}">{arrow}{signed(advantage)}</b>'


def group_cards(completions: Sequence[Completion], tags: Sequence[str] = (), pushes: bool = True) -> str:
    """One card for each completion of a group: text, tokens, rewards, and with `pushes` the advantage."""
    dead = len(completions) > 1 and is_dead([sum(r or 0 for r in c.rewards.values()) for c in completions])
    cards = [
        f'<div class="card {direction(c.advantage) if pushes else ""}"><div class="text">{marked_text(c.text, tags)}</div>'
        f'<div class="facts">{"".join(_reward(name, score) for name, score in c.rewards.items())}'
        + (f'<span><span class="name">advantage</span> {push(c.advantage)}</span>' if pushes else "")
        + (f'<span class="name">{c.tokens} tokens</span>' if c.tokens else "")
        + "</div></div>"
        for c in completions
    ]
    verdict = "<p><b class='dead'>A dead group:</b> all rewards are equal, so every advantage is 0.</p>" if dead else ""
    return f'{verdict}<div class="cards">{"".join(cards)}</div>'


def _reward(name: str, score: float | None) -> str:
    return f'<span><span class="name">{escape(name)}</span> <b class="reward">{_short(score)}</b></span>'


def _short(value: float | None) -> str:
    if value is None:
        return "–"
    digits = 2 if value == 0 or abs(value) >= 0.005 else 5  # a hair is to be seen, too
    short = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if short == "-0" else _minus(short)


def signed(number: float) -> str:
    """A number with its sign and a real minus, with more digits where two would show nothing.

    >>> signed(0.5), signed(-1), signed(0.0025), signed(1e-5)
    ('+0.50', '−1.00', '+0.0025', '0.00')
    """
    return _minus(f"{number:+.{2 if abs(number) >= 0.005 else 4}f}") if abs(number) >= NOTHING else "0.00"


def _minus(text: str) -> str:
    return text.replace("-", "−")


STAGES = ("one prompt", "sampled completions", "a reward each", "compare within the group", "update")


def loop_picture(
    prompt: str, completions: Sequence[Completion], tags: Sequence[str] = (), stage: int = len(STAGES)
) -> str:
    """The loop of GRPO, filled with one prompt and its completions, as far as a stage of `STAGES` (1 to 5)."""
    flow = " → ".join(
        f'<span class="{"now" if i == stage else ""}">{len(completions) if i == 2 else ""} {name}</span>'
        for i, name in enumerate(STAGES, 1)
    )
    rewards = [sum(reward or 0 for reward in c.rewards.values()) for c in completions]
    mean = fmean(rewards)
    columns = [
        ("completion", [f'<div class="text wide">{marked_text(c.text, tags)}</div>' for c in completions]),
        ("reward", [f'<div><b class="reward">{_short(reward)}</b></div>' for reward in rewards]),
        (f"against the mean, {_short(mean)}", [f"<div>{signed(reward - mean)}</div>" for reward in rewards]),
        ("advantage", [f"<div>{push(c.advantage)}</div>" for c in completions]),
    ]
    columns = columns[: max(0, stage - 1)]
    cells = [
        f'<div class="head{" wide" if i == 0 else ""}">{escape(head)}</div>' for i, (head, _) in enumerate(columns)
    ]
    cells += [cell for row in zip(*(column for _, column in columns), strict=True) for cell in row]
    tracks = " ".join(["minmax(0,1fr)", *["minmax(3.2rem,auto)"] * (len(columns) - 1)])
    grid = f'<div class="loop" style="grid-template-columns:{tracks}">{"".join(cells)}</div>' if columns else ""
    return f'<div class="flow">{flow} <span>↺ again</span></div><p><b>{escape(prompt)}</b></p>{grid}'


def push_bars(rewards: Sequence[float], advantages: Sequence[float]) -> str:
    """The rewards of one group as numbers, and their advantages as bars from a common zero."""
    longest = max(2.5, *map(abs, advantages))  # a common scale: what stands out in a group of eight has 2.47
    rows = []
    for i, (reward, advantage) in enumerate(zip(rewards, advantages, strict=True), 1):
        way, width = direction(advantage), 50 * abs(advantage) / longest
        start = 50 if advantage >= 0 else 50 - width
        rows.append(
            f'<span class="name">reply {i}</span><b class="reward">{_short(reward)}</b>'
            f'<span class="track"><i style="left:{start:.1f}%;width:{width:.1f}%;background:var(--{way})"></i></span>'
            f"<span>{push(advantage)}</span>"
        )
    mean = sum(rewards) / len(rewards)
    verdict = '<b class="dead">a dead group: no push at all</b>' if is_dead(rewards) else ""
    return f'<div class="pushes">{"".join(rows)}</div><p>group mean {_minus(f"{mean:.3f}")} {verdict}</p>'


def text_table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], tags: Sequence[str] = ()) -> str:
    """A table of texts under titles: a plain first column, then completions with their tags marked."""
    body = "".join(
        f"<tr><td>{escape(title)}</td>"
        + "".join(
            f'<td class="text" data-head="{escape(name)}">{marked_text(text, tags)}</td>'
            for name, text in zip(head[1:], texts, strict=True)
        )
        + "</tr>"
        for title, texts in rows
    )
    return f'<div class="scroll"><table class="texts"><thead><tr>{_header(head)}</tr></thead><tbody>{body}</tbody></table></div>'


def _header(titles: Sequence[str], marks: Sequence[bool] = ()) -> str:
    classes = ["mark" if mark else "" for mark in marks] or [""] * len(titles)
    return "".join(f'<th class="{kind}">{escape(title)}</th>' for title, kind in zip(titles, classes, strict=True))


def marks_table(
    head: Sequence[str],
    rows: Sequence[tuple[str, Sequence[bool | float | str]]],
    tags: Sequence[str] = (),
    truth: int | None = None,
) -> str:
    """A table of completions (marked) against columns of verdicts: ✓ and ✗, numbers in the colour of rewards, or words.

    `truth` is the column that is right: a ✓ or ✗ that differs from it is shown as a mistake.
    """

    def cell(value, values):
        if isinstance(value, bool):
            kind = "down" if truth is not None and value != values[truth] else ""
            return f'<td class="mark"><b class="{kind}">{"✓" if value else "✗"}</b></td>'
        if isinstance(value, (int, float)):
            return f'<td class="mark"><b class="reward">{_short(value)}</b></td>'
        return f"<td>{escape(value or '–')}</td>"

    body = "".join(
        f'<tr><td class="text">{marked_text(text, tags)}</td>{"".join(cell(value, values) for value in values)}</tr>'
        for text, values in rows
    )
    marks = [False, *(not isinstance(value, str) for value in rows[0][1])] if rows else []
    return (
        f'<div class="scroll"><table><thead><tr>{_header(head, marks)}</tr></thead><tbody>{body}</tbody></table></div>'
    )


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
    runs: dict[str, Run], at: int | None = None, only: Sequence[str] = (), watch: Sequence[Curve] = CURVES
) -> str:
    """Small curves over the steps of one run, or of several overlaid (the first in colour, the others dashed).

    The components of a reward that is a sum stand beside it. `at` marks a step; `only` names the metrics to show, all
    if it is empty.
    """
    shown = [
        _curve(curve, list(runs.values()), at, _steps(runs))
        for each in watch
        for curve in ([_reward_curve(each, runs), *_parts(runs)] if each.metric == "reward" else [each])
        if any(run.series(curve.metric) for run in runs.values()) and (not only or curve.metric in only)
    ]
    legend = "".join(
        f"<span>{'━' if i == 0 else '╌'} {escape(label)}</span>" for i, label in enumerate(runs) if len(runs) > 1
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


def _curve(curve: Curve, runs: list[Run], at: int | None, steps: int) -> str:
    series = [run.series(curve.metric) for run in runs]
    spread = dict(runs[0].series(curve.spread)) if curve.spread else {}
    band = [(step, value - spread[step], value + spread[step]) for step, value in series[0] if step in spread]
    points = _held_out(runs[0], curve.held_out) if curve.held_out else []
    values = [value for each in series for _, value in each] + [value for _, value in points]
    values += [value for _, low, high in band for value in (low, high)]
    values += [] if curve.goal is None else [curve.goal]
    low = min(values) if curve.span[0] is None else min(curve.span[0], *values)
    high = max(low + 1e-9, max(values) if curve.span[1] is None else max(curve.span[1], *values))
    width, height, left, bottom = 220, 96, 34, 15
    colour = COLOURS[curve.colour]

    def spot(step, value):
        x = left + (width - left - 4) * (step - 1) / (steps - 1)
        return f"{x:.1f},{(height - bottom) - (height - bottom - 6) * (value - low) / (high - low):.1f}"

    def path(spots):
        return " ".join(spot(*each) for each in spots)

    drawn = ""
    if band:
        around = [(step, high) for step, _, high in band] + [(step, low) for step, low, _ in reversed(band)]
        drawn += f'<polygon fill="{colour}" opacity=".18" points="{path(around)}"/>'
    if curve.goal is not None:
        _, y = spot(1, curve.goal).split(",")
        line = f'<line x1="{left}" x2="{width - 4}" y1="{y}" y2="{y}" stroke="{COLOURS["reward"]}" stroke-dasharray="2 3"/>'
        drawn += (
            line
            + f'<text x="{width - 4}" y="{float(y) - 3:.1f}" text-anchor="end" font-size="11" fill="{COLOURS["reward"]}">target</text>'
        )
    for i, each in enumerate(series):
        style = (
            f'stroke="{colour}" stroke-width="2"'
            if i == 0
            else ('stroke="currentColor" stroke-width="1.5" stroke-dasharray="4 3" opacity=".65"')
        )
        drawn += f'<polyline fill="none" {style} points="{path(each)}"/>'
        if each:
            x, y = spot(*next((point for point in each if point[0] == at), each[-1])).split(",")
            drawn += f'<circle cx="{x}" cy="{y}" r="2.6" fill="{colour if i == 0 else "currentColor"}"/>'
    for point in points:
        x, y = spot(*point).split(",")
        drawn += f'<circle cx="{x}" cy="{y}" r="3.2" fill="{COLOURS["held-out"]}"/>'
    if at is not None:
        x = spot(at, low).split(",")[0]
        drawn += f'<line x1="{x}" x2="{x}" y1="4" y2="{height - bottom}" stroke="currentColor" opacity=".45"/>'
    chosen = [value for step, value in series[0] if at is None or step == at]
    now = f'<b style="color:{colour}">{_short(chosen[-1])}</b>' if chosen else ""
    dots = f' <b class="held-out">● held-out {_short(points[-1][1])}</b>' if points and at is None else ""
    ink = 'font-size="11" fill="currentColor" opacity=".7"'
    return (
        f'<div class="curve"><header><span>{escape(curve.title)}</span><span>{now}{dots}</span></header>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(curve.title)} over the steps">'
        f'<path d="M{left} 4V{height - bottom}H{width - 4}" fill="none" stroke="currentColor" opacity=".35"/>'
        f'<text x="{left - 4}" y="11" text-anchor="end" {ink}>{_short(float(f"{high:.3g}"))}</text>'
        f'<text x="{left - 4}" y="{height - bottom}" text-anchor="end" {ink}>{_short(float(f"{low:.3g}"))}</text>'
        f'<text x="{left}" y="{height - 3}" {ink}>step 1</text>'
        f'<text x="{width - 4}" y="{height - 3}" text-anchor="end" {ink}>{steps}</text>'
        f"{drawn}</svg></div>"
    )


def _held_out(run: Run, reward: str) -> list[tuple[int, float]]:
    """The held-out means of a reward over the steps. Step 1 samples before the first update: there "before" belongs."""
    first = [(1, run.before.mean(reward))] if run.before else []
    return first + run.series(f"held-out/{reward}/mean")


def group_panel(group: Group, tags: Sequence[str] = ()) -> str:
    """One sampled group of a run under its prompt and step."""
    return f"<p><b>Step {group.step}</b> · {escape(group.prompt)}</p>{group_cards(group.completions, tags)}"


def progress(phase: str, done: int = 0, total: int = 1, seconds: float = 0.0) -> str:
    """Something under way: the phase in words, a bar, and the time left, counted from the first step on."""
    left = f" · about {left:.0f} s left" if (left := seconds_left(done, total, seconds)) else ""
    bar = f'<div class="bar"><i style="width:{100 * done / total:.0f}%"></i></div>' if done else _BUSY
    return f"<p>{escape(phase)}{left}</p>{bar}"


_BUSY = '<div class="bar busy"><i></i></div>'


def run_panel(
    phase: str,
    run: Run,
    before: Run | None = None,
    watch: Sequence[Curve] = CURVES,
    names: tuple[str, str] | None = None,
) -> str:
    """A session as it stands: phase and time left, curves, over those of the run before it, and where it ran.

    `names` are those of the two runs, if they have any.
    """
    seconds = run.metrics[-1]["seconds"] if run.metrics else 0.0
    if run.state == "running":
        parts = [progress(phase, run.steps_done, run.settings.get("steps") or 1, seconds)]
    else:
        parts = [f"<p><b>{escape(phase)}</b></p>"]
    if run.metrics and before:
        if names is None:
            ours, theirs = told_apart(run, before)
            names = f"this run{ours}", f"the run before{theirs}"
        parts.append(curves({names[0]: run, names[1]: before}, watch=watch))
    elif run.metrics:
        parts.append(curves({"this run": run}, watch=watch))
    elif before:  # waiting, or refused: what there was stays in sight
        parts.append(curves({names[1] if names else "the run before": before}, watch=watch))
    return "".join([*parts, f'<p class="note">{escape(run.label)}</p>' if run.provenance else ""])
