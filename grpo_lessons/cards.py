"""What the lessons show in HTML: completions with their rewards and advantages, curves of runs, the loop in one picture.

Plain strings made by plain Python: instant everywhere, in a browser before any package has loaded. All text that comes
from a model or a reader is escaped.
"""

from collections.abc import Sequence
from html import escape

from grpo_lessons.groups import is_dead
from grpo_lessons.palette import COLOURS
from grpo_lessons.runs import Completion, Group, Run
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
.gl .facts{display:flex;flex-wrap:wrap;gap:.25rem .8rem;align-items:baseline;font-variant-numeric:tabular-nums}
.gl .name{opacity:.75;font-size:.8rem}.gl b.reward{color:var(--reward)}.gl b.up{color:var(--up)}.gl b.down{color:var(--down)}
.gl b.dead{color:var(--dead)}.gl b.held-out{color:var(--held-out)}.gl b.policy{color:var(--policy)}
.gl .curves{display:grid;gap:.6rem 1rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,13.5rem),1fr))}
.gl .curve svg{display:block;width:100%;height:auto;overflow:visible}
.gl .curve header{display:flex;justify-content:space-between;gap:.5rem;font-size:.82rem}
.gl .bar{height:.5rem;border-radius:.25rem;background:var(--soft);overflow:hidden;margin:.35rem 0}
.gl .bar i{display:block;height:100%;background:var(--policy);transition:width .3s}
.gl .bar.busy i{width:30%;animation:gl-busy 1.4s ease-in-out infinite alternate}
@keyframes gl-busy{from{margin-left:0}to{margin-left:70%}}
.gl .loop{display:grid;gap:.4rem .9rem;grid-template-columns:minmax(0,1fr) auto auto}
.gl .loop .head{font-size:.8rem;opacity:.75;border-bottom:1px solid var(--line)}
.gl .flow{display:flex;flex-wrap:wrap;gap:.3rem .5rem;align-items:center;margin:.2rem 0 .8rem}
.gl .flow span{border:1px solid var(--line);border-radius:1rem;padding:.15rem .7rem}
.gl table{border-collapse:collapse;width:100%;font-size:.86rem}.gl .scroll{overflow-x:auto}
.gl th,.gl td{border-bottom:1px solid var(--line);padding:.3rem .5rem;text-align:left;vertical-align:top}
.gl td.mark{text-align:center;white-space:nowrap}.gl th{font-weight:600}
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


def direction(advantage: float) -> str:
    """Where an advantage pushes: "up", "down", or "dead" for nowhere."""
    return "dead" if abs(advantage) < 1e-6 else "up" if advantage > 0 else "down"


def push(advantage: float) -> str:
    """An advantage with its sign, an arrow and its colour."""
    way = direction(advantage)
    arrow = {"up": "↑ +", "down": "↓ −", "dead": "· "}[way]
    return f'<b class="{way}">{arrow}{abs(advantage):.2f}</b>'


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
    return "–" if value is None else f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:,.0f}"


def loop_picture(prompt: str, completions: Sequence[Completion], tags: Sequence[str] = ()) -> str:
    """The loop of GRPO, filled with one prompt and its completions: sample, score, compare, push."""
    stages = [
        "one prompt",
        f"{len(completions)} sampled completions",
        "a reward each",
        "compare within the group",
        "update",
    ]
    flow = " → ".join(f"<span>{stage}</span>" for stage in stages)
    rows = "".join(
        f'<div class="text">{marked_text(c.text, tags)}</div>'
        f'<div class="facts"><b class="reward">{_short(sum(r or 0 for r in c.rewards.values()))}</b></div><div>{push(c.advantage)}</div>'
        for c in completions
    )
    return (
        f'<div class="flow">{flow} <span>↺ again</span></div><p><b>{escape(prompt)}</b></p><div class="loop">'
        '<div class="head">completion</div><div class="head">reward</div><div class="head">advantage</div>'
        f"{rows}</div>"
    )


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
    return f'<div class="pushes">{"".join(rows)}</div><p>group mean {mean:.3f} {verdict}</p>'


def text_table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], tags: Sequence[str] = ()) -> str:
    """A table of texts under titles: a plain first column, then completions with their tags marked."""
    body = "".join(
        f"<tr><td>{escape(title)}</td>{''.join(f'<td class=text>{marked_text(text, tags)}</td>' for text in texts)}</tr>"
        for title, texts in rows
    )
    return f'<div class="scroll"><table><thead><tr>{_header(head)}</tr></thead><tbody>{body}</tbody></table></div>'


def _header(titles: Sequence[str]) -> str:
    return "".join(f"<th>{escape(title)}</th>" for title in titles)


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
    return f'<div class="scroll"><table><thead><tr>{_header(head)}</tr></thead><tbody>{body}</tbody></table></div>'


# What to watch beside the reward and its parts, and how: (metric, title, colour, range or None for the data's own).
CURVES = [
    ("within_group_std", "spread within a group", "up", (0, None)),
    ("frac_reward_zero_std", "share of dead groups", "dead", (0, 1)),
    ("completions/mean_length", "completion length (tokens)", "policy", (0, None)),
    ("entropy", "entropy", "policy", (0, None)),
    ("kl", "distance from the start (KL)", "policy", (0, None)),
]


def curves(runs: dict[str, Run], at: int | None = None, only: Sequence[str] = ()) -> str:
    """Small curves over the steps of one run, or of several overlaid (the first in colour, the others dashed).

    The components of a reward that is a sum stand beside it; a metric that no run logged is left out (`kl` with beta 0).
    `at` marks a step; `only` names the metrics to show, all if it is empty.
    """
    components = sorted(
        {name for run in runs.values() for row in run.metrics[:1] for name in row if name.startswith("rewards/")}
    )
    parts = [(name, name.split("/")[1], "reward", (0, 1)) for name in components if name.endswith("/mean")]
    parts = parts if len(parts) > 1 else []
    best = max((value for run in runs.values() for _, value in run.series("reward")), default=0)
    top = max(1, len(parts)) if best > 0 else 0  # a distance to a target is never above 0
    wanted = [("reward", "reward", "reward", (0, top)), *parts, *CURVES]
    shown = [
        _curve(title, colour, span, [run.series(name) for run in runs.values()], at, _steps(runs))
        for name, title, colour, span in wanted
        if any(run.series(name) for run in runs.values()) and (not only or name in only)
    ]
    legend = "".join(
        f"<span>{'━' if i == 0 else '╌'} {escape(label)}</span>" for i, label in enumerate(runs) if len(runs) > 1
    )
    return f'<p class="facts">{legend}</p><div class="curves">{"".join(shown)}</div>'


def _steps(runs: dict[str, Run]) -> int:
    return max(
        [2, *(int(run.settings.get("steps", 0)) for run in runs.values()), *(r.steps_done for r in runs.values())]
    )


def _curve(
    title: str, colour: str, span: tuple, series: list[list[tuple[int, float]]], at: int | None, steps: int
) -> str:
    values = [value for points in series for _, value in points]
    low = min(values) if span[0] is None else min(span[0], *values)
    high = max(low + 1e-9, max(values)) if span[1] is None else max(span[1], *values)
    width, height, left, bottom = 220, 96, 30, 14

    def spot(step, value):
        x = left + (width - left - 4) * (step - 1) / (steps - 1)
        return f"{x:.1f},{(height - bottom) - (height - bottom - 6) * (value - low) / (high - low):.1f}"

    lines = ""
    for i, points in enumerate(series):
        style = (
            f'stroke="{COLOURS[colour]}" stroke-width="2"'
            if i == 0
            else ('stroke="currentColor" stroke-width="1.5" stroke-dasharray="4 3" opacity=".65"')
        )
        lines += f'<polyline fill="none" {style} points="{" ".join(spot(*point) for point in points)}"/>'
        if points:
            x, y = spot(*points[-1]).split(",")
            lines += f'<circle cx="{x}" cy="{y}" r="2.6" fill="{COLOURS[colour] if i == 0 else "currentColor"}"/>'
    mark = ""
    if at is not None:
        x = spot(at, low).split(",")[0]
        mark = f'<line x1="{x}" x2="{x}" y1="4" y2="{height - bottom}" stroke="currentColor" opacity=".45"/>'
    chosen = [value for step, value in series[0] if at is None or step == at] if series[0] else []
    now = f'<b style="color:{COLOURS[colour]}">{_short(chosen[-1])}</b>' if chosen else ""
    ink = 'font-size="9" fill="currentColor" opacity=".7"'
    return (
        f'<div class="curve"><header><span>{escape(title)}</span>{now}</header>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)} over the steps">'
        f'<path d="M{left} 4V{height - bottom}H{width - 4}" fill="none" stroke="currentColor" opacity=".35"/>'
        f'<text x="{left - 4}" y="11" text-anchor="end" {ink}>{_short(high)}</text>'
        f'<text x="{left - 4}" y="{height - bottom}" text-anchor="end" {ink}>{_short(low)}</text>'
        f'<text x="{left}" y="{height - 3}" {ink}>step 1</text>'
        f'<text x="{width - 4}" y="{height - 3}" text-anchor="end" {ink}>{steps}</text>'
        f"{mark}{lines}</svg></div>"
    )


def group_panel(group: Group, tags: Sequence[str] = ()) -> str:
    """One sampled group of a run under its prompt and step."""
    return f"<p><b>Step {group.step}</b> · {escape(group.prompt)}</p>{group_cards(group.completions, tags)}"


def progress(phase: str, done: int = 0, total: int = 1, seconds: float = 0.0) -> str:
    """Something under way: the phase in words, a bar, and the time left, counted from the first step on."""
    left = f" · about {max(1, round(seconds / done * (total - done)))} s left" if done and seconds else ""
    bar = f'<div class="bar"><i style="width:{100 * done / total:.0f}%"></i></div>' if done else _BUSY
    return f"<p>{escape(phase)}{left}</p>{bar}"


_BUSY = '<div class="bar busy"><i></i></div>'


def run_panel(phase: str, run: Run) -> str:
    """A session as it stands: phase and time left, curves, where it ran."""
    seconds = run.metrics[-1]["seconds"] if run.metrics else 0.0
    if run.state == "running":
        parts = [progress(phase, run.steps_done, run.settings.get("steps") or 1, seconds)]
    else:
        parts = [f"<p><b>{escape(phase)}</b></p>"]
    if run.metrics:
        parts.append(curves({"this run": run}))
    return "".join([*parts, f'<p class="note">{escape(run.label)}</p>' if run.provenance else ""])
