"""What things are called: on the screen, in TRL's configuration, in TRL's log; and what to do about what they show."""

from functools import cache
from html import escape

import marimo as mo

SETTINGS = {  # by the name of the setting: its label, TRL's argument, what it does
    "steps": ("steps", "max_steps", "How many updates. Left out, TRL makes `num_train_epochs` rounds of the data."),
    "group_size": (
        "group size",
        "num_generations",
        "Replies to one prompt, compared with each other. 8 by default. (`num_generation`, in some tutorials, is a TypeError.)",
    ),
    "batch_size": (
        "completions a step",
        "per_device_train_batch_size",
        "Completions, not prompts; a multiple of the group size. In TRL it is `per_device_train_batch_size` times `gradient_accumulation_steps`.",
    ),
    "accumulation": (
        "parts (accumulation)",
        "gradient_accumulation_steps",
        "Here the step keeps its size and is learnt from in so many parts, one after the other: TRL's first number becomes completions / parts. What is learnt is the same, in less memory and a little more time: 32 completions of SmolLM2 took 16.8 GB at once and 3.4 GB in eight parts. (In TRL this number raised alone makes the step larger.)",
    ),
    "max_completion_length": (
        "longest completion (tokens)",
        "max_completion_length",
        "What runs past it is cut off, and a cut reply lacks its end: a closing tag, an answer. The commonest reason for a reward that stays 0. Set it to 16 to see that fault.",
    ),
    "temperature": (
        "temperature",
        "temperature",
        "At 1 the model is sampled as it is. Near 0 all replies of a group are alike: no difference, no signal.",
    ),
    "learning_rate": (
        "learning rate",
        "learning_rate",
        "How far one update goes; it falls to 0 over the run. A LoRA adapter wants about ten times what full fine-tuning takes, and a small model more than a large one: 1e-5 to 1e-4 from half a billion weights on, some 1e-4 to 1e-3 for SmolLM2, 1e-3 to 5e-3 for the pocket model. TRL's default of 1e-6 is for full fine-tuning: try it and see a flat line.",
    ),
    "lora_rank": (
        "rank of the adapter",
        "r",
        "Every weight matrix gets two thin ones beside it, `r` columns wide: they are all that is trained. With r = 1 each matrix can be changed in one direction only, with 64 in 64. 16 are enough for most tasks. Their product is added times `lora_alpha / r`, here always 2, so that the learning rate need not change with `r`.",
    ),
    "beta": (
        "beta (KL)",
        "beta",
        "The price of straying from the model as it began, the *reference*: for every token, of giving it another chance than that model would. The mean over the tokens is `kl` (the Kullback–Leibler divergence); `beta` times it is added to the loss. With LoRA the reference is no second model: it is the same one with its adapter switched off. At 0, TRL's default, it is not asked, and there is no `kl` in the log.",
    ),
    "seed": (
        "seed",
        "seed",
        "The dice of the sampling. On one machine it gives the same run again. On another the same seed is another run: sums are rounded differently there, sooner or later one other token is drawn, and everything after it differs. So run each setting with several seeds, and believe a gap between two settings that is larger than the gaps between their seeds (how many, the math lesson measures).",
    ),
    "gradient_checkpointing": (
        "gradient checkpointing",
        "gradient_checkpointing",
        "Forgets what the backward pass needs and computes it again: a third slower, a fraction of the memory. On by default in TRL; off here until memory is short.",
    ),
}
_IN_THE_CODE = {  # by TRL's argument: what has no control
    "max_grad_norm": "Longer gradients are cut to this length, so that one odd batch cannot throw the model off. TRL's default is 1.",
    "bf16": "Numbers of half the size; on by default in TRL, and here on a GPU for models above about a billion weights: below, they gain nothing.",
    "chat_template_kwargs": "Switches off the thinking of models that have a switch for it, such as Qwen3. Other models ignore it.",
}
_MEMORY = """
**Short of memory?** The estimate over the Train button follows your choices. Change in this order: more parts, gradient checkpointing, shorter completions, fewer completions a step, a smaller model.
A step of 64 completions of 256 tokens, by that estimate, for models in the shape of Qwen2.5 in float32 (four bytes a weight; bfloat16 takes two, and little more than half in all):

| billions of weights | the weights alone | learnt from at once | in eight parts | with gradient checkpointing, too |
|---:|---:|---:|---:|---:|
| 0.5 | 2.0 GB | 50 GB | 8.8 GB | 5.0 GB |
| 1.5 | 6.2 GB | 106 GB | 20 GB | 14 GB |

What fills the memory is what the backward pass has to remember of every token.
"""

_CURVES = {  # what the screen says: TRL's name for it, what to do
    "reward": ("reward", "Flat at 0: dead groups, or cut off. Up while held-out replies are not: read the texts."),
    "spread within a group": (
        "`within_group_std`, ours",
        "What the model learns from. TRL's `reward_std` is that of the whole batch.",
    ),
    "share of dead groups": (
        "frac_reward_zero_std",
        "All rewards of the group are equal. (TRL's own may say 0 where they are all 0.2: its float32 leaves a spread of 1.6e-8. Here they are counted exactly.) Many at the start: an easier prompt or reward. Many at the end: done, if the reward is high and nothing is cut off.",
    ),
    "completion length": ("completions/mean_length", "At the limit: see the next line."),
    "share of cut-off texts": (
        "completions/clipped_ratio",
        "Has the reward a summit? Then raise `max_completion_length`. (`clip_ratio/…` is something else: the share of tokens whose push was limited, 0 with one update a batch.)",
    ),
    "entropy": (
        "entropy",
        "How undecided the model is. Falling is normal. Near 0 the replies of a group are copies, and the groups die: if the reward is still low by then, a lower learning rate or a higher temperature. Rising with the reward: the texts fall apart. (They may fall apart into one bad text, too, and then it falls: read them.)",
    ),
    "distance from the start": ("kl", "Leaps: a lower learning rate, or more `beta`."),
    "size of the update": ("grad_norm", "0: nothing was pushed. Leaps: a lower learning rate."),
    "(not drawn)": (
        "loss",
        "Minus the mean push of a token, plus `beta` times `kl`. The pushes of a group add up to 0, so with replies of one length it prints 0; where they differ, long ones count for more tokens, and it may be −0.5 at the start. It may rise later with `kl`. That is no fault: it does not say whether the model gets better.",
    ),
}

POCKET = """
/// details | What is the pocket model?
A language model of the usual kind (a Llama), only small: 0.93 million weights, 2 MB, 600 kinds of token. We trained it in nine minutes on made-up texts: sums of two
and of three numbers, answered in a dozen styles, some with the steps written out in a thought, and short texts on 56 topics. It knows those two things and nothing else: no facts,
no instructions. Everything around it is as with a large model: the same library, the same code, the same mistakes.
///
"""


def helped(name: str) -> str:
    """The label of a setting's control, which says when pointed at what TRL calls it and what it does.

    >>> helped("steps").partition(">")[2]
    'steps</abbr>'
    """
    label, argument, does = SETTINGS[name]
    return f'<abbr title="{escape(f"{argument}: {does}".replace("`", "").replace("*", ""))}">{label}</abbr>'


@cache
def settings_explained() -> mo.Html:
    """Every setting, as the screen and as TRL calls it, and what it does: a fold."""
    rows = [f"| {label} | `{argument}` | {does} |" for label, argument, does in SETTINGS.values()]
    rows += [f"| | `{argument}` | {does} |" for argument, does in _IN_THE_CODE.items()]
    return _fold("What each setting does, and what TRL calls it", "| here | in TRL | what it does |", rows, _MEMORY)


@cache
def curves_explained() -> mo.Html:
    """Every curve, as the screen and as TRL calls it, and what to do about it: a fold, made once for all steps."""
    rows = [
        f"| {here} | {theirs if ' ' in theirs else f'`{theirs}`'} | {todo} |"
        for here, (theirs, todo) in _CURVES.items()
    ]
    return _fold(
        "What each curve says, and what TRL calls it", "| here | in TRL's log | what it says, and what to do |", rows
    )


def _fold(title: str, head: str, rows: list[str], below: str = "") -> mo.Html:
    table = "\n".join([head, "|:---|:---|:---|", *rows])
    return mo.md(f"/// details | {title}\n{table}\n\n{below}\n///")
