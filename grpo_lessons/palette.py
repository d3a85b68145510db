"""One colour for each concept, in cards, figures and prose alike; mid-tones that hold on light and on dark pages."""

COLOURS = {
    "reward": "#c97f00",
    "up": "#16946a",
    "down": "#d0455c",
    "dead": "#858b95",
    "held-out": "#7f63d8",
    "policy": "#2c7fc9",
}
