"""What GRPO makes of a group's rewards: advantages, dead groups, the clipped objective. Plain Python, instant anywhere.

Shapes: P prompts, G completions each (the group); `rewards_PG` is a list of P lists of G numbers.
"""

import math
import random
from collections.abc import Sequence
from functools import lru_cache
from statistics import fmean, stdev

from grpo_lessons.calling import ask
from grpo_lessons.rewards import reward_name
from grpo_lessons.runs import Completion

SCALES = ("group", "batch", "none")
AGGREGATIONS = ("sum_then_normalize", "normalize_then_sum")


def advantages(
    rewards_PG: Sequence[Sequence[float | None]], scale: str = "group", eps: float = 1e-4
) -> list[list[float]]:
    """How much better each completion is than its group: (r - group mean) / (standard deviation + eps).

    Args:
        rewards_PG: one list of rewards for each prompt, every one with the same number G >= 2 of completions.
        scale: TRL's `scale_rewards`. "group" divides by the group's own standard deviation, "batch" by that of all
            rewards, "none" by nothing (Dr. GRPO, arXiv 2503.20783). Standard deviations have Bessel's correction, as in TRL.
        eps: keeps a group without spread at 0 instead of 0/0; 1e-4 in TRL.

    A reward that is None (or NaN) has no say: it is left out of mean and spread, and its advantage is 0.

    Example:
        >>> [[round(a, 2) for a in group] for group in advantages([[1, 0, 0, 0], [1, 1, 1, 1], [3, None, 46, None]])]
        [[1.5, -0.5, -0.5, -0.5], [0.0, 0.0, 0.0, 0.0], [-0.71, 0.0, 0.71, 0.0]]

    Raises:
        ValueError: for groups of one, or of different sizes, or an unknown scale.

    Source: GRPO, arXiv 2402.03300, section 4.1.2.
    """
    groups = [list(group) for group in rewards_PG]
    sizes = {len(group) for group in groups}
    if len(sizes) > 1 or sizes & {0, 1}:
        raise ValueError(f"group sizes {sorted(sizes)}: expected groups of one size, 2 or more.")
    if scale not in SCALES:
        raise ValueError(f"scale={scale!r}: expected one of {SCALES}.")
    whole = _spread([reward for group in groups for reward in group])
    divisor = {"group": lambda g: _spread(g) + eps, "batch": lambda g: whole + eps, "none": lambda g: 1.0}[scale]
    return [[_number(each) for each in _compared(group, divisor(group))] for group in groups]


def _known(rewards: Sequence[float | None]) -> list[float]:
    """The rewards that are one: None and NaN, "no say here", count neither in a mean nor in a spread."""
    return [float(reward) for reward in rewards if reward is not None and not math.isnan(reward)]


def _spread(rewards: Sequence[float | None]) -> float:
    """The standard deviation, with Bessel's correction, of the rewards that are known; NaN of fewer than two."""
    known = _known(rewards)
    return stdev(known) if len(known) > 1 and all(map(math.isfinite, known)) else math.nan


def _compared(group: Sequence[float | None], divisor: float) -> list[float]:
    known = _known(group)
    mean = fmean(known) if known else math.nan
    return [math.nan if reward is None else (reward - mean) / divisor for reward in group]


def _number(value: float) -> float:
    """As torch.nan_to_num(value, nan=0.0) has it in float32: no say is no push."""
    return 0.0 if math.isnan(value) else max(-_LARGEST, min(_LARGEST, value))


_LARGEST = 3.4028234663852886e38  # of a float32


def combined(
    rewards_RPG: Sequence[Sequence[Sequence[float]]],
    weights: Sequence[float] | None = None,
    aggregation: str = "sum_then_normalize",
    scale: str = "group",
    eps: float = 1e-4,
) -> list[list[float]]:
    """The advantages of completions that several rewards have judged, as lists of G for each of the P prompts.

    Args:
        rewards_RPG: for each of the R rewards what `advantages` takes.
        weights: TRL's `reward_weights`, one for each reward; all 1 if left out.
        aggregation: TRL's `multi_objective_aggregation`. "sum_then_normalize" adds the weighted rewards up and compares
            the sums; "normalize_then_sum" compares each reward within its groups first, adds those up and normalizes
            once more over all completions (GDPO, arXiv 2601.05242; `scale` has no say there).

    Example: one success in the first reward, and a second that varies a hundred times less.
        >>> rewards = [[[1, 0, 0, 0]], [[0, 0.01, 0, 0]]]
        >>> [round(a, 2) for a in combined(rewards)[0]]
        [1.5, -0.49, -0.51, -0.51]
        >>> [round(a, 2) for a in combined(rewards, aggregation="normalize_then_sum")[0]]
        [0.88, 0.85, -0.87, -0.87]

    Raises:
        ValueError: as `advantages`; for an unknown aggregation, or another number of weights than of rewards.
    """
    weights = [1.0] * len(rewards_RPG) if weights is None else list(weights)
    if len(weights) != len(rewards_RPG):
        raise ValueError(f"{len(weights)} weights for {len(rewards_RPG)} rewards: expected one for each.")
    if aggregation == "sum_then_normalize":
        return advantages(weighted_sum(rewards_RPG, weights), scale, eps)
    if aggregation != "normalize_then_sum":
        raise ValueError(f"aggregation={aggregation!r}: expected one of {AGGREGATIONS}.")
    advantages(rewards_RPG[0])  # refuses what are no groups
    alone_RPG = [[_compared(group, _spread(group) + eps) for group in rewards_PG] for rewards_PG in rewards_RPG]
    unscored_PG = weighted_sum(rewards_RPG, weights)
    sums_PG = [
        [None if reward is None else total or 0.0 for reward, total in zip(*groups, strict=True)]
        for groups in zip(unscored_PG, weighted_sum(alone_RPG, weights), strict=True)
    ]
    everything = [total for group in sums_PG for total in group]
    size, compared = len(sums_PG[0]), [_number(each) for each in _compared(everything, _spread(everything) + eps)]
    return [compared[start : start + size] for start in range(0, len(compared), size)]


def weighted_sum(
    rewards_RPG: Sequence[Sequence[Sequence[float | None]]], weights: Sequence[float] | None = None
) -> list[list[float | None]]:
    """The reward of each completion, as lists of G for each prompt: the sum over the R rewards, each by its weight.

    A reward that is None has no say; where none has one the sum is None.

    >>> weighted_sum([[[1, 0, None]], [[0.5, None, None]]], [1, 2])
    [[2.0, 0.0, None]]
    """
    weights = [1.0] * len(rewards_RPG) if weights is None else weights

    def total(rewards: Sequence[float | None]) -> float | None:
        pairs = zip(weights, rewards, strict=True)
        known = [weight * reward for weight, reward in pairs if reward is not None and not math.isnan(reward)]
        return float(sum(known)) if known else None

    return [[total(each) for each in zip(*groups, strict=True)] for groups in zip(*rewards_RPG, strict=True)]


def scored(texts: Sequence[str], reward, scale: str = "group", **columns) -> list[Completion]:
    """The completions of one group with their rewards and advantages, ready to be shown.

    `columns` are what the reward asks for, one entry for each completion; `completion_ids` give the tokens as well.

    >>> def brief(completions, **kwargs): return [float(len(text) < 9) for text in completions]
    >>> [(c.rewards, round(c.advantage, 2)) for c in scored(["short", "very long indeed"], brief)]
    [({'brief': 1.0}, 0.71), ({'brief': 0.0}, -0.71)]

    Raises: ValueError for a group of one, or an unknown scale.
    """
    rewards = ask(reward, completions=texts, **columns)
    tokens = map(len, columns.get("completion_ids") or [""] * len(texts))
    return [
        Completion(text, count, {reward_name(reward): score}, advantage)
        for text, count, score, advantage in zip(texts, tokens, rewards, advantages([rewards], scale)[0], strict=True)
    ]


def is_dead(group: Sequence[float | None]) -> bool:
    """Whether a group has no spread, hence no signal: every advantage is 0. TRL logs the share as `frac_reward_zero_std`.

    A group in which fewer than two rewards are known has nothing to compare, and none either.

    >>> is_dead([0, 0, 0, 0]), is_dead([1, 1, 0, 1]), is_dead([None, 1, None, None])
    (True, False, True)
    """
    return not _spread(group) > 1e-8  # the tolerance of torch.isclose, with which TRL decides


def p_dead(p: float, size: int) -> float:
    """The chance that a group of `size` is dead under a 0/1 reward that each completion earns with chance p: p^G + (1-p)^G.

    >>> p_dead(0.5, 2), round(p_dead(0.1, 8), 2)
    (0.5, 0.43)
    """
    return p**size + (1 - p) ** size


def pass_at_k(right: int, trials: int, k: int) -> float:
    """The chance that at least one of k replies is right, estimated without bias from `trials` >= k replies of one prompt.

    1 - C(trials - right, k) / C(trials, k): the share of the ways to choose k of them that hold a right one. Putting
    right / trials into 1 - (1 - p)^k instead is off, and too low.

    >>> pass_at_k(1, 4, 1), pass_at_k(1, 4, 2), pass_at_k(4, 4, 2)
    (0.25, 0.5, 1.0)

    Raises: ValueError for more right replies than there are, or a k that is not between 1 and `trials`.

    Source: Chen et al., arXiv 2107.03374, section 2.1.
    """
    if not 0 <= right <= trials:
        raise ValueError(f"{right} right of {trials} replies: expected 0 to {trials}.")
    if not 1 <= k <= trials:
        raise ValueError(f"k={k}: expected 1 to {trials}, the number of replies to each prompt.")
    return 1.0 - math.comb(trials - right, k) / math.comb(trials, k)


def mean_pass_at_k(counts: Sequence[tuple[int, int]], k: int, z: float = 1.96) -> tuple[float, float, float]:
    """pass@k over prompts, and its 95 % interval: (mean, low, high), from (right, trials) of each prompt.

    The interval is Wilson's (`interval`) for as many prompts of all or nothing as would spread so far: bounded, never empty,
    and right where most prompts agree.

    >>> [round(each, 2) for each in mean_pass_at_k([(1, 4), (0, 4), (4, 4), (2, 4)], k=2)]
    [0.58, 0.22, 0.87]

    Raises: ValueError without prompts, and as `pass_at_k`.
    """
    if not counts:
        raise ValueError("no prompts: expected (right, trials) of at least one.")
    each = [pass_at_k(right, trials, k) for right, trials in counts]
    mean = fmean(each)
    variance = stdev(each) ** 2 if len(each) > 1 else 0.0
    if not 1e-9 < mean < 1 - 1e-9 and any(0 < right < trials for right, trials in counts):
        return mean, mean, mean  # sure by the tries of each: what spreads is rounding
    trials = len(each) * (mean * (1 - mean) / variance if variance else 1)
    return mean, *interval(mean * trials, trials, z)


@lru_cache(maxsize=1024)
def simulate_dead(p: float, size: int, groups: int = 200, seed: int = 0) -> float:
    """The share of dead groups among `groups` drawn at random: a check on `p_dead`.

    >>> round(simulate_dead(0.5, 2, groups=10_000), 1)
    0.5
    """
    rng = random.Random(seed)
    # Counting is what `is_dead` comes to for 0/1 rewards, at a tenth of the time: this is drawn at every move of a slider.
    return sum(sum(rng.random() < p for _ in range(size)) in (0, size) for _ in range(groups)) / groups


def clipped_objective(ratio: float, advantage: float, eps_low: float = 0.2, eps_high: float = 0.2) -> float:
    """What a token adds to the objective: min(ratio * A, clip(ratio, 1 - eps_low, 1 + eps_high) * A).

    `ratio` is the token's probability under the policy over that at sampling time. With one update per generation,
    TRL's default, it is exactly 1 and nothing is clipped.

    >>> clipped_objective(1.5, 1.0), clipped_objective(1.5, -1.0), clipped_objective(1.0, 2.0)
    (1.2, -1.5, 2.0)

    Source: PPO (arXiv 1707.06347, eq. 7), kept by GRPO; a separate eps_high is DAPO's (arXiv 2503.14476).
    """
    return min(ratio * advantage, min(max(ratio, 1 - eps_low), 1 + eps_high) * advantage)


def interval(successes: float, trials: float, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval for a share: still right near 0 and 1, where the textbook one is not.

    >>> [round(bound, 3) for bound in interval(0, 20)]
    [0.0, 0.161]

    Raises: ValueError without trials, or with more successes than trials.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} successes of {trials} trials: expected 0 to n successes of n >= 1.")
    share, zz = successes / trials, z * z / trials
    middle = (share + zz / 2) / (1 + zz)
    half = z / (1 + zz) * math.sqrt(share * (1 - share) / trials + zz / trials / 4)
    return max(0.0, middle - half), min(1.0, middle + half)
