"""One colour for each concept, in cards, figures and prose alike; of each two shades, that both read at 4.5 : 1 and more."""

SHADES = {  # on a light page, on a dark one
    "reward": ("#8f5a00", "#e8a33d"),
    "up": ("#0b7350", "#3fc393"),
    "down": ("#b82e47", "#f2798c"),
    "dead": ("#5f6570", "#a3a9b3"),
    "held-out": ("#6a4cc7", "#ab97f0"),
    "policy": ("#1f68aa", "#6aaeea"),
    "more": ("#1259a8", "#5aa9ff"),  # what an update did to a token: two colours that everybody tells apart
    "less": ("#a34b00", "#f08c3c"),
}

# What a style, or a fill in SVG, says: the page's shade where `STYLE` is on the page, else the one for light pages.
COLOURS = {name: f"var(--gl-{name},{light})" for name, (light, _) in SHADES.items()}


def _variables(shade: int) -> str:
    return "".join(f"--gl-{name}:{shades[shade]};" for name, shades in SHADES.items())


# marimo's pages say .dark; pages that are not marimo's (without its #root) follow the system.
STYLE = (
    f":root{{{_variables(0)}}}.dark{{{_variables(1)}}}"
    f"@media(prefers-color-scheme:dark){{:root:not(:has(#root)){{{_variables(1)}}}}}"
)
