"""Will it teach? What groups of the untrained model say about a training, before it is paid for."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from grpo_lessons.groups import is_dead

SIZES = (4, 8, 16)  # of groups that are reckoned with
FEW = 0.1  # a chance of a group with something to teach below which nothing is learnt in a usual run
SOME = 0.35  # … and above which all is well
CUT = 0.5


@dataclass(frozen=True)
class Verdict:
    """Whether a reward will teach this model on these prompts: a name, what was seen, and what to change.

    Args:
        name: "it will teach", "it can teach", "dead groups", "too easy" or "cut off".
        seen, mend: in words.
    """

    name: str
    seen: str
    mend: str

    @property
    def teaches(self) -> bool:
        """Whether the reward is expected to rise."""
        return self.name.startswith("it ")

    def __str__(self) -> str:
        return " ".join(part for part in (f"**{self.name.capitalize()}.**", self.seen, self.mend) if part)


def chance_dead(rewards: Sequence[float | None], size: int) -> float:
    """The chance that `size` replies drawn from those of one prompt all earn the same: without bias, for any kind of reward.

    A group of 16 of which 4 earn 1 and the rest 0, cut into groups of 4:
    >>> round(chance_dead([1] * 4 + [0] * 12, 4), 3)
    0.273

    Raises: ValueError for fewer replies than `size`.
    """
    if not 2 <= size <= len(rewards):
        raise ValueError(f"size={size}: expected 2 to {len(rewards)}, the number of replies.")
    alike = Counter(None if each is None else round(each, 6) for each in rewards)
    return sum(math.comb(n, size) for n in alike.values()) / math.comb(len(rewards), size)


def dead_by_size(rewards_PG: Sequence[Sequence[float | None]], sizes: Sequence[int] = SIZES) -> dict[int, float]:
    """The share of groups of each size that would be dead, over the prompts that were asked.

    >>> dead_by_size([[1, 0, 0, 0], [0, 0, 0, 0]], sizes=(2, 4))
    {2: 0.75, 4: 0.5}
    """
    return {
        size: fmean(chance_dead(group, size) for group in rewards_PG)
        for size in sizes
        if all(len(group) >= size for group in rewards_PG)
    }


def successes(rewards_PG: Sequence[Sequence[float | None]]) -> list[float]:
    """For each prompt, the share of its replies that earn the most that any reply has earned: p, for a 0/1 reward.

    >>> successes([[1, 0, 0, 0], [0, 0, 0, 0]])
    [0.25, 0.0]
    """
    most = max((each for group in rewards_PG for each in group if each is not None), default=0.0)
    least = min((each for group in rewards_PG for each in group if each is not None), default=0.0)
    if most <= 0 and least == most:
        return [0.0] * len(rewards_PG)
    return [fmean(float(each is not None and each >= most - 1e-9) for each in group) for group in rewards_PG]


def verdict(
    rewards_PG: Sequence[Sequence[float | None]], cut_PG: Sequence[Sequence[bool]], size: int = 8, longest: int = 0
) -> Verdict:
    """What to expect of a training with groups of `size`, and what to change.

    Args:
        rewards_PG: what P prompts' replies are paid, `size` or more of each; the more, the surer.
        cut_PG: which of them ran into the longest completion.
        longest: that length in tokens, for the words.

    Example:
        >>> verdict([[0.0] * 8] * 4, [[False] * 8] * 4).name, verdict([[1.0, 0.0] * 4] * 4, [[False] * 8] * 4).name
        ('dead groups', 'it will teach')

    Raises: ValueError without prompts, or for groups smaller than `size`.
    """
    if not rewards_PG:
        raise ValueError("no groups: expected the replies to at least one prompt.")
    alive = 1 - fmean(chance_dead(group, size) for group in rewards_PG)
    known = [each for group in rewards_PG for each in group if each is not None]
    cut = fmean(each for group in cut_PG for each in group)
    if not known:
        return Verdict(
            "dead groups",
            "The reward has no say on any reply: all it returned is None.",
            "Look at the column of right answers.",
        )
    mean, most = fmean(known), max(known)
    teach = f"{alive:.0%} of the groups of {size} would have something to teach"
    if cut >= CUT and alive < SOME:
        at = f" at {longest} tokens" if longest else ""
        return Verdict(
            "cut off",
            f"{cut:.0%} of the replies are cut off{at}, and {teach}.",
            "Raise the longest completion, or ask for shorter replies in the prompt: what is cut off lacks its end.",
        )
    if alive >= SOME:
        told = f"; the mean reward is {mean:.2g}" + (
            f", and {cut:.0%} of the replies are cut off" if cut >= 0.2 else ""
        )
        return Verdict("it will teach", f"{teach[0].upper()}{teach[1:]}{told}.", "Train.")
    dead = [group for group in rewards_PG if is_dead(group)]
    at_top = fmean(fmean(each or 0.0 for each in group) > most - 1e-9 for group in dead) if dead and most > 0 else 0.0
    if mean > 0.5 and at_top >= 0.5:
        name = "too easy" if alive < FEW * 2.5 else "it can teach"
        return Verdict(
            name,
            f"Nearly every reply earns all there is (the mean is {mean:.2g}), and {teach}.",
            "Harder questions, or a stricter reward.",
        )
    if alive < FEW:
        best = sum(each >= most - 1e-9 for each in known)
        paid = (
            f"None of {len(known)} replies earns anything" if most <= 0 else f"All {len(known)} replies earn {most:.2g}"
        )
        if most > min(known):
            paid = f"{best} of {len(known)} replies {'earns' if best == 1 else 'earn'} {most:.2g}, the most"
        return Verdict(
            "dead groups",
            f"{paid}, and {teach}.",
            "Put an example into the prompt, pay for parts that do occur, ask easier questions, or begin with a few worked examples (SFT).",
        )
    return Verdict(
        "it can teach",
        f"{teach[0].upper()}{teach[1:]}; the mean reward is {mean:.2g}.",
        "Few at first, and more as it is earned more often. Larger groups, an example in the prompt, or a reward with more steps would find more to compare.",
    )
