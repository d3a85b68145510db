"""Will it teach? What groups of the untrained model say about a training, before it is paid for."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from grpo_lessons.groups import is_dead, pass_at_k

SIZES = (4, 8, 16)  # of groups that are reckoned with
FEW = 0.1  # a chance of a group with something to teach below which nothing is learnt in a usual run
SOME = 0.35  # … and above which all is well
CUT = 0.5
NUMBER = "Return a number, such as 0, where the reward says `None` of one reply and not of its siblings."
ROOM = 0.15  # of what varies: a part that is earned but for less has hardly anything to teach


@dataclass(frozen=True)
class Verdict:
    """Whether a reward will teach this model on these prompts: a name, what was seen, and what to change.

    Args:
        name: "it will teach", "it can teach", "it teaches a part", "only a part varies", "dead groups", "constant reward",
            "too easy", "cut off" or "mend the reward first".
        seen, mend: in words.
        is_clear: whether nothing speaks against training.
    """

    name: str
    seen: str
    mend: str
    is_clear: bool = False

    @property
    def teaches(self) -> bool:
        """Whether the reward is expected to rise."""
        return self.name.startswith("it ")

    def after(self, fatal: str = "", failed: Sequence[str] = ()) -> "Verdict":
        """The same, knowing what tests of the reward have said: one that would end a training, in words, or which have failed.

        >>> print(Verdict("it will teach", "90% of the groups differ.", "Train.", True).after(failed=["asks for the answer"]))
        **It will teach.** 90% of the groups differ. But before you train, look at the test above that failed: *asks for the answer*.
        """
        if fatal:
            return Verdict(
                "mend the reward first", f"{fatal} Apart from that, {self.seen[0].lower()}{self.seen[1:]}", ""
            )
        if not failed or not self.is_clear:
            return self
        tests = ", ".join(f"*{each}*" for each in dict.fromkeys(failed))
        those = "the test above that failed" if len(failed) == 1 else "the tests above that failed"
        return replace(self, mend=f"But before you train, look at {those}: {tests}.", is_clear=False)

    def __str__(self) -> str:
        return " ".join(part for part in (f"**{self.name.capitalize()}.**", self.seen, self.mend) if part)


@dataclass(frozen=True)
class Elsewhere:
    """What replies earn that no model wrote: the best right one, and all that were tried."""

    right: float | None = None
    all: Sequence[float] = ()


def chance_dead(rewards: Sequence[float | None], size: int) -> float:
    """The chance that `size` replies drawn from those of one prompt are a dead group: without bias, for any kind of reward.

    A group of 16 of which 4 earn 1 and the rest 0, cut into groups of 4; and one in which None has no say, as in TRL:
    >>> round(chance_dead([1] * 4 + [0] * 12, 4), 3), chance_dead([1] * 4 + [None] * 12, 4)
    (0.273, 1.0)

    Raises: ValueError for fewer replies than `size`.
    """
    if not 2 <= size <= len(rewards):
        raise ValueError(f"size={size}: expected 2 to {len(rewards)}, the number of replies.")
    alike = Counter(round(each, 6) for each in rewards if each is not None)
    silent = len(rewards) - alike.total()
    # One value alone, with or without some that have no say; those that have none at all would be counted with each value.
    none_at_all = math.comb(silent, size)
    dead = none_at_all + sum(math.comb(n + silent, size) - none_at_all for n in alike.values())
    return dead / math.comb(len(rewards), size)


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


def compared(rewards_PG: Sequence[Sequence[float | None]]) -> tuple[list[float], str]:
    """A share for each prompt that says what its groups can compare, and in words what is counted.

    Of a reward that paid two values it is p, the share of replies with the higher one; of any other the chance that two
    replies are paid differently, since several values may be spread over groups of which none earns the most.

    >>> compared([[1, 0, 0, None], [0, 0, 0, 0]])
    ([0.3333333333333333, 0.0], 'p: the share of a prompt’s replies that earn 1, the most that was paid')
    >>> compared([[0.1, 0.2, 0.3], [0.1, 0.1, 0.1]])
    ([1.0, 0.0], 'chance that two replies to a prompt are paid differently')
    """
    known_PG = [[each for each in group if each is not None] for group in rewards_PG]
    if len(levels := _levels(each for group in known_PG for each in group)) == 2:
        most = levels[-1]
        shares = [fmean(float(each >= most - 1e-6) for each in group) if group else 0.0 for group in known_PG]
        return shares, f"p: the share of a prompt’s replies that earn {most:.3g}, the most that was paid"
    shares = [1 - chance_dead(group, 2) if len(group) > 1 else 0.0 for group in known_PG]
    return shares, "chance that two replies to a prompt are paid differently"


def _levels(rewards: Iterable[float]) -> list[float]:
    """The values that were paid."""
    return sorted({round(each, 6) for each in rewards})


def verdict(
    rewards_PG: Sequence[Sequence[float | None]],
    cut_PG: Sequence[Sequence[bool]],
    size: int = 8,
    longest: int = 0,
    elsewhere: Elsewhere = Elsewhere(),
    has_example: bool = False,
) -> Verdict:
    """What to expect of a training with groups of `size`, and what to change.

    Args:
        rewards_PG: what P prompts' replies are paid, `size` or more of each; the more, the surer.
        cut_PG: which of them ran into the longest completion.
        longest: that length in tokens, for the words.
        elsewhere: what the same reward pays for other replies, if that was tried: it tells a constant reward from an easy
            one, and a bonus from what it is a bonus to.
        has_example: whether there is one in the prompts already.

    Example:
        >>> verdict([[0.0] * 8] * 4, [[False] * 8] * 4).name, verdict([[1.0, 0.0] * 4] * 4, [[False] * 8] * 4).name
        ('dead groups', 'it will teach')
        >>> bonus = [[0.2] * 7 + [0.0]] * 4
        >>> verdict(bonus, [[False] * 8] * 4).name, verdict(bonus, [[False] * 8] * 4, elsewhere=Elsewhere(1.2)).name
        ('it will teach', 'only a part varies')

    Raises: ValueError without prompts, or for groups smaller than `size`.
    """
    if not rewards_PG:
        raise ValueError("no groups: expected the replies to at least one prompt.")
    found = _verdict(rewards_PG, cut_PG, size, longest, elsewhere, has_example)
    everything = [each for group in rewards_PG for each in group]
    silent = everything.count(None)
    if not 0 < silent < len(everything):
        return found
    seen = f"{silent} of {len(everything)} replies got `None`, which has no say. Of the others: {found.seen[0].lower()}{found.seen[1:]}"
    if not any(None in group and {*group} != {None} for group in rewards_PG):
        return replace(found, seen=seen)
    mend = "" if found.is_clear else f" {found.mend}"
    return replace(found, seen=seen, mend=f"{NUMBER}{mend}", is_clear=False)


def _verdict(rewards_PG, cut_PG, size: int, longest: int, elsewhere: Elsewhere, has_example: bool) -> Verdict:
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
    if min(known) == most and elsewhere.all and {*elsewhere.all} == {most}:
        return _constant(len(known), most, elsewhere)
    if cut >= CUT and alive < SOME:
        at = f" at {longest} tokens" if longest else ""
        return Verdict(
            "cut off",
            f"{cut:.0%} of the replies are cut off{at}, and {teach}.",
            "Raise the longest completion, or ask for shorter replies in the prompt: what is cut off lacks its end.",
        )
    if alive >= FEW and (part := _part(rewards_PG, known, size, elsewhere, has_example)):
        return part
    if alive >= SOME:
        told = f"; the mean reward is {mean:.2g}" + (
            f", and {cut:.0%} of the replies are cut off" if cut >= 0.2 else ""
        )
        return Verdict("it will teach", f"{teach[0].upper()}{teach[1:]}{told}.", "Train.", True)
    dead = [group for group in rewards_PG if is_dead(group)]
    at_top = fmean(fmean(each or 0.0 for each in group) > most - 1e-9 for group in dead) if dead and most > 0 else 0.0
    if mean > 0.5 and at_top >= 0.5:
        name = "too easy" if alive < FEW * 2.5 else "it can teach"
        return Verdict(
            name,
            f"Nearly every reply earns all there is (the mean is {mean:.2g}), and {teach}.",
            "Harder questions, or a stricter reward.",
            name == "it can teach",
        )
    if alive < FEW:
        best = sum(each >= most - 1e-9 for each in known)
        paid = (
            f"None of {len(known)} replies earns anything" if most <= 0 else f"All {len(known)} replies earn {most:.2g}"
        )
        if most > min(known):
            paid = f"{best} of {len(known)} replies {'earns' if best == 1 else 'earn'} {most:.2g}, the most"
        mend = f"{_example(has_example)}, pay for parts that do occur, ask easier questions, or begin with a few worked examples (SFT)."
        return Verdict("dead groups", f"{paid}, and {teach}.", mend)
    another = "another example" if has_example else "an example"
    steps = "" if len(_levels(known)) > 2 else ", or a reward with more steps"
    larger = "Larger groups or" if not steps else "Larger groups,"
    return Verdict(
        "it can teach",
        f"{teach[0].upper()}{teach[1:]}; the mean reward is {mean:.2g}.",
        f"Few at first, and more as it is earned more often. {larger} {another} in the prompt{steps} would find more to compare.",
        True,
    )


def _example(has_example: bool) -> str:
    """What to try with an example, which is no advice to one who has followed it."""
    return (
        "The example in the prompt has not helped: try another one" if has_example else "Put an example into the prompt"
    )


def _constant(n: int, pays: float, elsewhere: Elsewhere) -> Verdict:
    others = "a right answer and a wrong one" if elsewhere.right is not None else "whatever else was tried"
    seen = f"All {n} replies earn {pays:.2g}, and so {'do' if elsewhere.right is not None else 'does'} {others}."
    if pays:
        return Verdict(
            "constant reward", seen, "Let the reward look at the reply: less for a wrong one, or for an empty one."
        )
    mend = "Find a reply that this reward pays for, and try it above; if there is none, the reward reads another shape, or another column."
    return Verdict("dead groups", seen, mend)


def _part(rewards_PG, known: Sequence[float], size: int, elsewhere: Elsewhere, has_example: bool) -> Verdict | None:
    """The verdict where nearly all that varies is a small part of the reward, such as a bonus; None where it is not.

    What a group has to compare ends at the best reply that is likely in it. If most of what is missing lies beyond, it is
    not learnt: no group tells it from the rest.
    """
    mean, most, least = fmean(known), max(known), min(known)
    top = max(most, most if elsewhere.right is None else elsewhere.right)
    reached = max((level for level in {*known} if _in_a_group(rewards_PG, level, size) >= FEW), default=least)
    if top - reached <= 0.5 * (top - mean) or reached == least:
        return None
    within = [each for each in known if each <= reached + 1e-9]
    earned = fmean(min(each, reached) for each in known)
    is_room = reached - earned >= ROOM * (reached - least)
    is_graded = len(_levels(within)) > 2
    is_right = elsewhere.right is not None and top > most + 1e-9
    there_is = f"; a right answer would earn {top:.3g}" if is_right else ""
    paid = f"All {len(known)} replies earn {least:.3g} to {reached:.3g}{there_is}."
    if len(within) < len(known):
        paid = (
            f"{len(within)} of {len(known)} replies earn at most {reached:.3g}, the best {most:.3g}{there_is}. "
            f"Fewer than one in ten groups of {size} would hold a better one."
        )
    seen = f"{paid} Up to there the mean is {earned:.3g}{'' if is_room else ' already'}."
    learnt = "There is hardly anything to learn in it."
    if is_room:
        learnt = (
            "That much will be learnt, and the next steps may come into reach by it."
            if is_graded
            else "It will be learnt, and no more."
        )
    steps = "" if is_graded else "points for steps towards it, "
    mend = (
        f"{learnt} For the rest it takes replies that are paid for it: easier questions, {'another' if has_example else 'an'} example in "
        f"the prompt, {steps}or a few worked examples (SFT)."
    )
    return Verdict("it teaches a part" if is_room else "only a part varies", seen, mend)


def _in_a_group(rewards_PG, level: float, size: int) -> float:
    """The chance that a group holds a reply that earns so much."""
    counts = [sum(each is not None and each >= level - 1e-9 for each in group) for group in rewards_PG]
    return fmean(pass_at_k(right, len(group), size) for right, group in zip(counts, rewards_PG, strict=True))
