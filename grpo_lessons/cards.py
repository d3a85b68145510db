"""What the lessons show in HTML: completions with their rewards and advantages, tables, the loop in one picture.

Plain strings made by plain Python: instant everywhere, in a browser before any package has loaded. All text that comes
from a model or a reader is escaped.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from statistics import fmean, median

from grpo_lessons.groups import is_dead, p_dead
from grpo_lessons.palette import COLOURS
from grpo_lessons.palette import STYLE as _SHADES
from grpo_lessons.runs import Completion, Group, seconds_left
from grpo_lessons.text import counted, mark_tags

MOST_CHARACTERS = 600  # of one completion on a card

STYLE = (
    _SHADES
    + """.gl{--line:rgba(128,134,145,.35);--soft:rgba(128,134,145,.10);font-size:.92rem;line-height:1.45}
.gl *{box-sizing:border-box}.gl p{margin:.3rem 0}
.gl .cards{display:grid;gap:.5rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr))}
.gl .card{border:1px solid var(--line);border-radius:.5rem;padding:.5rem .65rem;display:flex;flex-direction:column;gap:.4rem}
.gl .card.up{border-left:4px solid var(--gl-up)}.gl .card.down{border-left:4px solid var(--gl-down)}
.gl .card.dead{border-left:4px solid var(--gl-dead)}
.gl .text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.82rem;white-space:pre-wrap;
overflow-wrap:anywhere;flex:1;max-height:11rem;overflow:auto}
.gl .tag{color:var(--gl-policy);font-weight:700}.gl .in{background:color-mix(in srgb,var(--gl-policy) 13%,transparent)}
.gl .tokens i{font-style:normal;border-radius:2px}.gl .tokens i:nth-child(odd){background:color-mix(in srgb,var(--gl-policy) 20%,transparent)}
.gl .tokens i:nth-child(even){background:var(--soft)}
.gl .facts{display:flex;flex-wrap:wrap;gap:.25rem .8rem;align-items:baseline;font-variant-numeric:tabular-nums}
.gl .name{opacity:.85;font-size:.8rem}.gl b.reward{color:var(--gl-reward)}.gl b.up{color:var(--gl-up)}.gl b.down{color:var(--gl-down)}
.gl b.dead{color:var(--gl-dead)}.gl b.held-out{color:var(--gl-held-out)}.gl b.policy{color:var(--gl-policy)}
.gl .curves{display:grid;gap:.6rem 1rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,16rem),1fr))}
.gl .histograms{grid-template-columns:repeat(auto-fit,minmax(min(100%,9.5rem),1fr))}
.gl .curve svg{display:block;width:100%;height:auto;overflow:visible}
.gl .curve header{display:flex;justify-content:space-between;gap:.5rem;font-size:.82rem}
.gl .bar{height:.5rem;border-radius:.25rem;background:var(--soft);overflow:hidden;margin:.35rem 0}
.gl .bar i{display:block;height:100%;background:var(--gl-policy);transition:width .3s}
.gl .bar.busy i{width:30%;animation:gl-busy 1.4s ease-in-out infinite alternate}
@keyframes gl-busy{to{transform:translateX(233.3%)}}
.gl .loop{display:grid;gap:.4rem .9rem}.gl .loop .head{font-size:.8rem;opacity:.85;border-bottom:1px solid var(--line);display:flex;align-items:end}
@media (max-width:40rem){.gl .loop{grid-template-columns:repeat(3,auto)!important}.gl .loop .wide{grid-column:1/-1;margin-top:.5rem}}
.gl td.text{min-width:11rem}
@media (max-width:40rem){.gl .texts thead{display:none}.gl .texts tr{display:block;border-bottom:1px solid var(--line);padding:.35rem 0}
.gl details table:not([class]) thead{display:none}.gl details table:not([class]) :is(tr,td){display:block;border:0;padding:.05rem 0}
.gl details table:not([class]) tr{border-bottom:1px solid var(--line);padding:.35rem 0}.gl details table:not([class]) td:first-child{font-weight:700}
.gl .marks thead{display:none}.gl .marks tr{display:flex;flex-wrap:wrap;gap:.1rem 1rem;border-bottom:1px solid var(--line);padding:.35rem 0}
.gl .marks td{display:block;border:0;padding:.1rem .3rem;text-align:left}.gl .marks td.text{flex-basis:100%}.gl .marks td:not(.text)::before{content:attr(data-head) ": ";opacity:.85;font-size:.8rem}
.gl .texts td{display:block;border:0;padding:.1rem .3rem}.gl .texts td.text::before{content:attr(data-head);display:block;opacity:.85;font-size:.75rem}}
.gl .flow{display:flex;flex-wrap:wrap;gap:.3rem .5rem;align-items:center;margin:.2rem 0 .8rem}
.gl .flow span{border:1px solid var(--line);border-radius:1rem;padding:.15rem .7rem}
.gl .flow .now{background:color-mix(in srgb,var(--gl-policy) 18%,transparent);border-color:var(--gl-policy)}
.gl table{border-collapse:collapse;width:100%;font-size:.86rem}.gl .scroll{overflow-x:auto}
.gl th,.gl td{border-bottom:1px solid var(--line);padding:.3rem .5rem;text-align:left;vertical-align:top}
.gl td.mark,.gl th.mark{text-align:center}.gl td.mark{white-space:nowrap}.gl th{font-weight:600}
.gl .pushes{display:grid;grid-template-columns:max-content max-content minmax(4rem,28rem) max-content;gap:.25rem .8rem;align-items:center}
.gl .track{position:relative;height:.8rem;border-left:0;background:linear-gradient(90deg,transparent calc(50% - 1px),var(--line) 0,
var(--line) calc(50% + 1px),transparent 0)}.gl .track i{position:absolute;top:0;height:100%;border-radius:2px}
.gl .chances{display:grid;grid-template-columns:max-content minmax(4rem,24rem) max-content;gap:.15rem .8rem;align-items:center}
.gl .share{height:.7rem}.gl .share i{display:block;height:100%;border-radius:2px;background:var(--gl-policy)}.gl .share i.held-out{background:var(--gl-held-out)}
.gl .weighed{display:flex;flex-wrap:wrap;align-items:flex-end;gap:.25rem 2px;margin:.2rem 0 .7rem}
.gl .weighed>span{display:flex;flex-direction:column}.gl .weighed i{border-radius:2px 2px 0 0;min-height:1px;background:var(--gl-dead)}
.gl .weighed .text{flex:none;background:var(--soft);padding:0 2px;min-width:.7rem;white-space:pre}
.gl .weighed .moved{outline:2px solid var(--gl-policy)}
.gl .adapter{display:block;height:9rem;max-width:100%}
.gl .train{display:flex;flex-wrap:wrap;gap:.5rem;align-items:center}.gl .train .status,.gl .train .told{flex:1 1 16rem}
.gl .train[data-heard] :is(.status,.told){font-size:0}.gl .train[data-heard] :is(.status,.told)>*{display:none}
.gl .train[data-heard] :is(.status,.told)::before{content:"Starting";font-size:1rem;font-weight:700}
.gl .dots{position:relative;height:1.6rem;border-bottom:1px solid var(--line);margin:.6rem .4rem .2rem}
.gl .dots i{position:absolute;bottom:.3rem;width:.7rem;height:.7rem;margin-left:-.35rem;border-radius:50%;background:var(--gl-policy);opacity:.65}
.gl .dots b{position:absolute;bottom:0;height:100%;border-left:2px dashed var(--gl-reward)}
.gl table.map{width:auto}.gl .map summary{list-style:none;cursor:pointer}.gl .map summary::-webkit-details-marker{display:none}.gl .map summary span{white-space:nowrap}.gl .map details{position:relative}.gl .map details p{position:absolute;z-index:2;left:0;top:100%;width:max-content;max-width:13rem;margin:0;padding:.3rem .5rem;background:var(--background,Canvas);border:1px solid var(--line);border-radius:.4rem;font-size:.8rem}.gl .map td:nth-child(n+4) details p{left:auto;right:0}.gl .map .note{white-space:nowrap}.gl .map td,.gl .map th{border:0;padding:.15rem .3rem;vertical-align:middle}
.gl .map svg{display:block;width:clamp(3.4rem,14vw,8.5rem);height:auto}.gl .map td:hover svg{background:var(--soft)}
.gl .luck{display:grid;gap:.6rem 1.4rem;margin:.5rem 0;grid-template-columns:repeat(auto-fit,minmax(min(100%,21rem),1fr))}
.gl .seeds td,.gl .seeds th{border:0;padding:.1rem .25rem;vertical-align:middle}.gl .seeds td{white-space:nowrap}
.gl .seeds svg{display:block;width:100%;min-width:5rem;max-width:15rem;height:auto}
.gl .cloud{position:relative;height:15rem;margin:1.6rem .3rem .6rem 2rem;border:solid var(--line);border-width:0 0 1px 1px}
.gl .cloud.low{height:4rem;margin-bottom:1.6rem}.gl .cloud svg{display:block;width:100%;height:100%;overflow:visible}
.gl .cloud span{position:absolute;font-size:.75rem;opacity:.85}.gl .cloud .y{right:100%;padding-right:.3rem;transform:translateY(-50%)}
.gl .note{opacity:.85;font-size:.82rem}
"""
).replace("\n", "")


def word(concept: str, text: str = "") -> str:
    """A word of prose in its concept's colour.

    >>> word("reward")
    '<b style="color:var(--gl-reward,#8f5a00)">reward</b>'
    """
    return f'<b style="color:{COLOURS[concept]}">{escape(text or concept)}</b>'


def page(*parts: str) -> str:
    """Pieces of this module put together, with the style they share."""
    return f'<div class="gl"><style>{STYLE}</style>{"".join(parts)}</div>'


def marked_text(text: str, tags: Sequence[str] = ()) -> str:
    """A completion as it stands, escaped, cut to `MOST_CHARACTERS`, its tags and what they enclose coloured."""
    cut = text[:MOST_CHARACTERS]
    pieces = mark_tags(cut, tuple(tags)) if tags else [(cut, "")]
    classes = {"": "", "tag": "tag"}
    body = "".join(f'<span class="{classes.get(kind, "in")}">{escape(piece)}</span>' for piece, kind in pieces)
    more = f'<span class="note"> … {len(text) - len(cut):,} more characters</span>' if len(text) > len(cut) else ""
    return body + more if text.strip() else f'<span class="note">({"only white space" if text else "empty"})</span>'


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


def group_cards(
    completions: Sequence[Completion], tags: Sequence[str] = (), pushes: bool = True, verdict: bool = True
) -> str:
    """One card for each completion of a group: text, tokens, rewards, with `pushes` the advantage; over a dead one the `verdict`."""
    names = {name for c in completions for name in c.rewards}
    told = {name: iter(told_apart([c.rewards[name] for c in completions if name in c.rewards])) for name in names}
    cards = [
        f'<div class="card {direction(c.advantage) if pushes else ""}"><div class="text"{_reached(c.text)}>{marked_text(c.text, tags)}</div>'
        f'<div class="facts">{"".join(_reward(name, next(told[name])) for name in c.rewards)}'
        + (f'<span><span class="name">advantage</span> {push(c.advantage)}</span>' if pushes else "")
        + (f'<span class="name">{counted(c.tokens, "token")}</span>' if c.tokens else "")
        + "</div></div>"
        for c in completions
    ]
    return f'{_dead(completions) if verdict else ""}<div class="cards">{"".join(cards)}</div>'


def summed(completion: Completion) -> float | None:
    """The sum of a completion's rewards; None if none of them has a say."""
    known = [reward for reward in completion.rewards.values() if reward is not None]
    return sum(known) if known else None


def _reached(text: str) -> str:
    """A long text scrolls in its card, so the keyboard must be able to come to it."""
    return ' tabindex="0"' if len(text) > 250 or text.count("\n") > 5 else ""


def _reward(name: str, told: str) -> str:
    return f'<span><span class="name">{escape(name)}</span> <b class="reward">{told}</b></span>'


def short(value: float | None) -> str:
    """A number as a reader wants it: few digits, a real minus, a dash for none.

    >>> short(0.5), short(-1.0), short(1234.5), short(None)
    ('0.5', '−1', '1,234', '–')
    """
    if value is None:
        return "–"
    digits = 2 if value == 0 or abs(value) >= 0.005 else 5  # a hair is to be seen, too
    short = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if short == "-0" else minus(short)


def told_apart(rewards: Sequence[float | None]) -> list[str]:
    """The rewards of a group with as many digits as tell them apart, at most four; two decimals where these do.

    >>> told_apart([0.5, 0, None, 0.5]), told_apart([0.1159, 0.1234, 1])
    (['0.5', '0', 'None', '0.5'], ['0.116', '0.123', '1'])
    """
    known = [each for each in rewards if each is not None]

    def in_digits(digits: int) -> Callable[[float], str]:
        return lambda each: short(each) if abs(each) >= 1000 else minus(f"{each:.{digits}g}")

    ways = (short, in_digits(3), in_digits(4))
    # Rewards that even four digits show alike are shown with two decimals, as if they were.
    best = max(ways, key=lambda way: len({*map(way, known)}))
    return ["None" if each is None else best(each) for each in rewards]


def signed(number: float) -> str:
    """A number with its sign and a real minus, with more digits where two would show nothing.

    >>> signed(0.5), signed(-1), signed(0.0025), signed(1e-5)
    ('+0.50', '−1.00', '+0.0025', '0.00')
    """
    return minus(f"{number:+.{2 if abs(number) >= 0.005 else 4}f}") if abs(number) >= NOTHING else "0.00"


def minus(text: str) -> str:
    """A number's text with a real minus."""
    return text.replace("-", "−")


STAGES = ("one prompt", "sampled completions", "a reward each", "compare within the group", "update")


def loop_picture(
    prompt: str,
    completions: Sequence[Completion],
    tags: Sequence[str] = (),
    stage: int = len(STAGES),
    update: Sequence[float] = (),
) -> str:
    """The loop of GRPO, filled with one prompt and its completions, as far as a stage of `STAGES` (1 to 5).

    `update`: how many times as likely as before each completion is after it.
    """
    flow = " → ".join(
        f'<span class="{"now" if i == stage else ""}">{len(completions) if i == 2 else ""} {name}</span>'
        for i, name in enumerate(STAGES, 1)
    )
    rewards = [summed(c) for c in completions]
    told = told_apart(rewards)
    mean = fmean([reward for reward in rewards if reward is not None] or [0.0])
    columns = [
        ("completion", [f'<div class="text wide">{marked_text(c.text, tags)}{_tokens(c)}</div>' for c in completions]),
        ("reward", [f'<div><b class="reward">{each}</b></div>' for each in told]),
        (
            f"against the mean, {short(mean)}",
            [f"<div>{'–' if reward is None else signed(reward - mean)}</div>" for reward in rewards],
        ),
        ("advantage", [f"<div>{push(c.advantage)}</div>" for c in completions]),
        ("chance after it", [f"<div><b>× {short(times)}</b></div>" for times in update]),
    ]
    columns = columns[: (0, 1, 2, 4, 5)[stage - 1] if update else stage - 1]
    cells = [
        f'<div class="head{" wide" if i == 0 else ""}">{escape(head)}</div>' for i, (head, _) in enumerate(columns)
    ]
    cells += [cell for row in zip(*(column for _, column in columns), strict=True) for cell in row]
    tracks = " ".join(["minmax(0,1fr)", *["minmax(3.2rem,auto)"] * (len(columns) - 1)])
    grid = f'<div class="loop" style="grid-template-columns:{tracks}">{"".join(cells)}</div>' if columns else ""
    return f'<div class="flow">{flow} <span>↺ again</span></div><p><b>{escape(prompt)}</b></p>{grid}'


def _tokens(completion: Completion) -> str:
    return f' <span class="note">{counted(completion.tokens, "token")}</span>' if completion.tokens else ""


def dots(lengths: Sequence[int], target: int, longest: int) -> str:
    """The lengths of one group in tokens, a dot each, over a line from 0 to the longest that is allowed; and the target."""
    at = [round(100 * min(n, longest) / longest, 1) for n in (*lengths, target)]
    spots = "".join(f'<i style="left:{x}%"></i>' for x in at[:-1])
    said = f"lengths of this group: {', '.join(map(str, sorted(lengths)))} tokens; target {target}"
    return (
        f'<div class="dots" role="img" aria-label="{said}"><b style="left:{at[-1]}%"></b>{spots}</div>'
        f'<p class="note">0 to {longest} tokens; a dot for each text of this group, the line is the target of {target}</p>'
    )


def dot_rows(title: str, rows: dict[str, Sequence[float]], form: str = ".1f", is_log: bool = False) -> str:
    """A row for each name: its values as dots over a line from 0 to the largest of all, their median, and their range.

    `form`: how a value is written. `is_log`: the line goes from 1 upwards, by factors; for values of 1 or more.
    """
    every = [value for values in rows.values() for value in values]
    place = math.log if is_log else float
    largest = place(max(every, default=0) or 1) or 1
    shown = []
    for name, values in rows.items():
        spots = "".join(f'<i style="left:{100 * place(value) / largest:.1f}%"></i>' for value in values)
        low, middle, high = (format(value, form) for value in (min(values), median(values), max(values)))
        told = f"<b>{middle}</b> ({low} – {high})" if len(values) > 1 else f"<b>{middle}</b>"
        shown.append(f'<span class="name">{escape(name)}</span><div class="dots">{spots}</div><span>{told}</span>')
    return f'<p class="name">{escape(title)}</p><div class="chances">{"".join(shown)}</div>'


def push_bars(rewards: Sequence[float], advantages: Sequence[float]) -> str:
    """The rewards of one group as numbers, and their advantages as bars from a common zero."""
    longest = max(2.5, *map(abs, advantages))  # a common scale: what stands out in a group of eight has 2.47
    rows = [
        '<span></span><span class="name">reward</span><span class="name" style="text-align:center">0</span><span class="name">advantage</span>'
    ]
    for i, (reward, advantage) in enumerate(zip(told_apart(rewards), advantages, strict=True), 1):
        way, width = direction(advantage), 50 * abs(advantage) / longest
        start = 50 if advantage >= 0 else 50 - width
        rows.append(
            f'<span class="name">reply {i}</span><b class="reward">{reward}</b>'
            f'<span class="track"><i style="left:{start:.1f}%;width:{width:.1f}%;background:var(--gl-{way})"></i></span>'
            f"<span>{push(advantage)}</span>"
        )
    mean = sum(rewards) / len(rewards)
    verdict = '<b class="dead">a dead group: no push at all</b>' if is_dead(rewards) else ""
    return f'<div class="pushes">{"".join(rows)}</div><p>group mean {minus(f"{mean:.3f}")} {verdict}</p>'


def weighed(tokens: Sequence[str], weights: Sequence[float], tallest: float, moved: int | None = None) -> str:
    """A reply's tokens, on each a bar of the height of its weight in the update, in the colour of where it pushes.

    `tallest`: the weight whose bar is 3 rem high; `moved`: the place of a token that is outlined.
    """
    shown = [
        f'<span><i style="height:{3 * abs(weight) / tallest:.2f}rem{_ink(weight)}"></i>'
        f'<span class="text{" moved" if place == moved else ""}">{escape(token)}</span></span>'
        for place, (token, weight) in enumerate(zip(tokens, weights, strict=True))
    ]
    return f'<div class="weighed">{"".join(shown)}</div>'


def _ink(weight: float) -> str:
    return f";background:var(--gl-{'up' if weight > 0 else 'down'})" if weight else ""


def chances(tokens: Sequence[str], shares: Sequence[float]) -> str:
    """The chances of the first few next tokens as bars, and that of all others together."""
    others = len(shares) - len(tokens)
    named = [
        (f'<span class="text tokens"><i>{escape(token)}</i></span>', p)
        for token, p in zip(tokens, shares, strict=False)
    ]
    rows = [
        f'{name}<span class="share" aria-hidden="true"><i style="width:{100 * p:.1f}%"></i></span><span>{p:.1%}</span>'
        for name, p in [*named, (f'<span class="name">{others} others</span>', sum(shares[len(tokens) :]))]
    ]
    return f'<div class="chances">{"".join(rows)}</div>'


def adapter(rank: int, alpha: int, side: int = 128) -> str:
    """A LoRA adapter beside one weight matrix of so many rows and columns, to scale, and how many numbers each has."""
    gap, thin, x = 34, 2 * side * rank, side + 34
    drawn = (
        f'<rect width="{side}" height="{side}" fill="{COLOURS["dead"]}" opacity=".35"/>'
        f'<text x="{side + gap / 2}" y="{side / 2 + 5}" text-anchor="middle">+ {alpha / rank:g} ×</text>'
        f'<rect x="{x + 8}" width="{rank}" height="{side}" fill="{COLOURS["policy"]}"/>'
        f'<text x="{x + rank + 18}" y="{side / 2 + 5}" text-anchor="middle">·</text>'
        f'<rect x="{x + rank + 28}" y="{(side - rank) / 2}" width="{side}" height="{rank}" fill="{COLOURS["policy"]}"/>'
    ).replace("<text", '<text fill="currentColor" font-size="13"')
    said = f"one matrix of {side} by {side}, and beside it two of {side} by {rank} and {rank} by {side}"
    return (
        f'<svg class="adapter" viewBox="0 0 {x + rank + 28 + side} {side}" role="img" aria-label="{said}">{drawn}</svg>'
        f'<p>One weight matrix of the pocket model, <b class="dead">{side * side:,} numbers that stay</b>, and its adapter: '
        f'two thin matrices, <b class="policy">{thin:,} numbers that are trained</b>. Their product is added to it, '
        f"times <code>lora_alpha / r</code> = {alpha} / {rank}. That is {thin / side / side:.0%} of this small matrix; those of a large model "
        f"are far wider, and r = 16 is a few per cent of them.</p>"
    )


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

    def cell(name, value, values):
        # where it is narrow a row is a card, and each mark has its name beside it
        named = f'data-head="{escape(name)}"'
        if isinstance(value, bool):
            kind = "down" if truth is not None and value != values[truth] else ""
            return f'<td class="mark" {named}><b class="{kind}">{"✓" if value else "✗"}</b></td>'
        if isinstance(value, (int, float)):
            return f'<td class="mark" {named}><b class="reward">{short(value)}</b></td>'
        return f"<td {named}>{escape(value or '–')}</td>"

    body = "".join(
        f'<tr><td class="text">{marked_text(text, tags)}</td>{"".join(cell(name, value, values) for name, value in zip(head[1:], values, strict=True))}</tr>'
        for text, values in rows
    )
    marks = [False, *(not isinstance(value, str) for value in rows[0][1])] if rows else []
    return f'<div class="scroll"><table class="marks"><thead><tr>{_header(head, marks)}</tr></thead><tbody>{body}</tbody></table></div>'


def dead_table(steps: Mapping[str, Sequence[Mapping]], sizes: Sequence[int] = (4, 8, 16)) -> str:
    """What share of replies earns 1 in steps of a run that pays 0 or 1, and what share of groups is dead at some sizes then.

    `steps`: by their name, rows of `Run.metrics`.
    """
    body = ""
    for name, some in steps.items():
        p = fmean(row["reward"] for row in some)
        cells = "".join(f'<td class="mark">{share:.1%}</td>' for share in (p, *(p_dead(p, size) for size in sizes)))
        body += f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'
    head = "".join(f'<th scope="col" class="mark">dead at G = {size}</th>' for size in sizes)
    head = f'<tr><td></td><th scope="col" class="mark">earn 1</th>{head}</tr>'
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def sides_table(completions: Sequence[Completion], sides: Mapping[str, Callable[[str], bool]], reward: str) -> str:
    """Completions sorted by what their texts are: on each side how many, the mean of a reward, and the mean advantage.

    A side on which there is none is left out; completions without that reward are, too.
    """
    body = ""
    for name, belongs in sides.items():
        side = [each for each in completions if belongs(each.text) and reward in each.rewards]
        if side:
            earned, pushed = fmean(each.rewards[reward] or 0 for each in side), fmean(each.advantage for each in side)
            body += f'<tr><th scope="row">{escape(name)}</th><td class="mark">{len(side)}</td>'
            body += f'<td class="mark">{earned:.0%}</td><td class="mark">{push(pushed)}</td></tr>'
    head = "".join(f'<th scope="col" class="mark">{each}</th>' for each in ("number", "right", "mean advantage"))
    return f'<table><thead><tr><th scope="col">replies that</th>{head}</tr></thead><tbody>{body}</tbody></table>'


def group_panel(group: Group, tags: Sequence[str] = (), verdict: bool = True) -> str:
    """One sampled group of a run under its head."""
    return group_head(group, verdict) + group_cards(group.completions, tags, verdict=False)


def group_head(group: Group, verdict: bool = True) -> str:
    """A sampled group's prompt and step, and how many of its completions differ; of a dead one the `verdict`.

    As the entropy falls, so does their number: copies have equal rewards, and nothing to learn from.
    """
    differ = f"{len({completion.text for completion in group.completions})} of {len(group.completions)} replies differ"
    head = f'<p><b>Step {group.step}</b> · {escape(group.prompt)} <span class="name">· {differ}</span></p>'
    return head + (_dead(group.completions) if verdict else "")


def _dead(completions: Sequence[Completion]) -> str:
    rewards = [summed(c) for c in completions]
    if len(rewards) < 2 or not is_dead(rewards):
        return ""
    alike = "no two rewards differ, None has no say" if None in rewards else "all rewards are equal"
    return f"<p><b class='dead'>A dead group:</b> {alike}, so every advantage is 0.</p>"


def progress(phase: str, done: int = 0, total: int = 1, seconds: float = 0.0) -> str:
    """Something under way: the phase in words, a bar, and the time left, counted from the first step on."""
    left = f" · about {left:.0f} s left" if (left := seconds_left(done, total, seconds)) else ""
    bar = f'<div class="bar"><i style="width:{100 * done / total:.0f}%"></i></div>' if done else _BUSY
    return f"<p>{escape(phase)}{left}</p>{bar}"


_BUSY = '<div class="bar busy"><i></i></div>'
