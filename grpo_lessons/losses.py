"""What each token of a reply weighs in an update: the losses of TRL's GRPOTrainer as one formula. Plain Python.

Whatever the loss, its gradient is minus the sum, over the tokens t of the replies i of a step, of

    w[i][t] · gradient of log pi(token)     with     w[i][t] = c[i][t] · advantage[i] / Z[i]

The losses differ in Z, by which a reply's push is shared out, and in c, what they make of the token's ratio: how many times as
likely as when it was sampled it is by now. At the first update from fresh replies every ratio is 1. tests/test_losses.py holds
the weights against the gradients of TRL's own losses.
"""

import math
from collections.abc import Sequence
from statistics import fmean

LOSSES = {  # by the name of the method: what to write in GRPOConfig, and pass to `token_weights`
    "grpo": {"loss_type": "grpo"},
    "dr_grpo": {"loss_type": "dr_grpo"},
    "dapo": {"loss_type": "dapo"},
    "bnpo": {"loss_type": "bnpo", "gradient_accumulation_steps": 2},
    "cispo": {"loss_type": "cispo", "epsilon_high": 5.0},
    "gspo": {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4},
}
LEVELS = ("token", "sequence")


def token_weights(
    lengths: Sequence[int],
    advantages: Sequence[float],
    loss_type: str = "dapo",
    importance_sampling_level: str = "token",
    ratios: Sequence[Sequence[float]] | None = None,
    epsilon: float = 0.2,
    epsilon_high: float | None = None,
    max_completion_length: int = 256,
    gradient_accumulation_steps: int = 1,
) -> list[list[float]]:
    """What each token weighs in the gradient of one optimizer step: above 0 it is made likelier, below 0 less likely.

    Args:
        lengths: of each of the B replies of the step, in tokens; 0 for one that is left out (`mask_truncated_completions`).
        advantages: one for each reply.
        loss_type: what Z is. "dapo" (arXiv 2503.14476) and "cispo" (MiniMax-M1, 2506.13585): the tokens of all replies
            together. "bnpo": those of the reply's own batch, times the number of batches. "grpo" (DeepSeekMath,
            2402.03300): B times the reply's own length. "dr_grpo" (2503.20783): B times `max_completion_length`.
        importance_sampling_level: "token", or "sequence" for GSPO (2507.18071), where all tokens of a reply have one ratio,
            the geometric mean of theirs. GSPO is that with `loss_type="grpo"`, see `LOSSES`.
        ratios: of each token of each reply, pi over pi when it was sampled; every one is 1 if left out. Only where they are
            not do the last two differ: "cispo" from "dapo", GSPO from "grpo".
        epsilon, epsilon_high: a token is clipped and weighs nothing, see `is_clipped`. "cispo" clips none: its ratio counts up
            to `epsilon_high` itself, so that TRL's default of 0.2 leaves a fifth of each push; 5 is recommended.
        max_completion_length: in tokens; for "dr_grpo" alone.
        gradient_accumulation_steps: the number of equal batches that the replies come in, in their order; for "bnpo" alone.

    The names and defaults are those of TRL's GRPOConfig. The price for straying, `beta`, comes on top.

    Example: a better reply of two tokens and a worse one of eight.
        >>> for loss in ("dapo", "grpo"):
        ...     short, long = token_weights([2, 8], [1, -1], loss)
        ...     print(loss, short[0], long[0], "together", round(sum(short), 2), round(sum(long), 2))
        dapo 0.1 -0.1 together 0.2 -0.8
        grpo 0.25 -0.0625 together 0.5 -0.5

    Raises:
        ValueError: for an unknown loss or level, for no replies, another number of advantages or ratios than of replies or
            their tokens, a ratio that is not above 0, or replies that cannot be cut into so many batches.
    """
    count, batches = len(lengths), gradient_accumulation_steps
    ratios = [[1.0] * length for length in lengths] if ratios is None else ratios
    if not count or len(advantages) != count or [len(each) for each in ratios] != list(lengths):
        told = (
            f"lengths {list(lengths)}, {len(advantages)} advantages, ratios of {[len(each) for each in ratios]} tokens"
        )
        raise ValueError(f"{told}: expected at least one reply, and of each an advantage and the ratios of its tokens.")
    if wrong := [ratio for each in ratios for ratio in each if not 0 < ratio < math.inf]:
        raise ValueError(f"a ratio of {wrong[0]}: expected a number above 0.")
    if importance_sampling_level not in LEVELS:
        raise ValueError(f"importance_sampling_level={importance_sampling_level!r}: expected one of {LEVELS}.")
    if batches < 1 or count % batches:
        raise ValueError(f"{count} replies in {batches} batches: expected batches of one size.")
    if importance_sampling_level == "sequence":
        ratios = [[math.exp(fmean(map(math.log, each)))] * len(each) if each else [] for each in ratios]
    size, everything = count // batches, max(1, sum(lengths))
    own_batch = [max(1, sum(lengths[i // size * size :][:size])) for i in range(count)]
    Z = {
        "dapo": [everything] * count,
        "cispo": [everything] * count,
        "bnpo": [batches * tokens for tokens in own_batch],
        "grpo": [count * length for length in lengths],
        "dr_grpo": [count * max_completion_length] * count,
    }
    if loss_type not in Z:
        raise ValueError(f"loss_type={loss_type!r}: expected one of {tuple(Z)}.")
    high = epsilon if epsilon_high is None else epsilon_high

    def counts(ratio: float, advantage: float) -> float:
        """The c of the formula."""
        if loss_type == "cispo":
            return min(ratio, high)
        return 0.0 if is_clipped(ratio, advantage, epsilon, high) else ratio

    return [
        [counts(ratio, advantage) * advantage / z for ratio in each]
        for each, advantage, z in zip(ratios, advantages, Z[loss_type], strict=True)
    ]


def is_clipped(ratio: float, advantage: float, epsilon: float = 0.2, epsilon_high: float | None = None) -> bool:
    """Whether a token has already gone further than the clip allows, the way its advantage pushes: then it is pushed no more.

    One that has gone as far the other way is not held back. TRL logs the share of clipped tokens as `clip_ratio/region_mean`.

    >>> is_clipped(1.3, 1), is_clipped(1.3, -1), is_clipped(0.7, -1), is_clipped(0.7, 1)
    (True, False, True, False)

    Source: PPO, arXiv 1707.06347, eq. 7: it is where `grpo_lessons.groups.clipped_objective` is flat. An `epsilon_high` of its
    own, which leaves more room upwards, is DAPO's.
    """
    high = epsilon if epsilon_high is None else epsilon_high
    return (advantage > 0 and ratio > 1 + high) or (advantage < 0 and ratio < 1 - epsilon)
