"""A reward tried before a training is paid for: what it pays for which reply, how long it takes, and what may be wrong with it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import correlation, fmean, median, pstdev

from grpo_lessons.answers import COLUMNS, right_answers
from grpo_lessons.calling import ask, complaint, in_words
from grpo_lessons.groups import is_dead, weighted_sum
from grpo_lessons.rewards import Reward
from grpo_lessons.teaching import Elsewhere

SHAPES = {  # how a reply may give an answer
    "bare": "{0}",
    "in a sentence": "The answer is {0}.",
    "in its block": "<answer>{0}</answer>",
    "thought and block": "<think>Step by step.</think><answer>{0}</answer>",
    "boxed": "\\boxed{{{0}}}",
    "after ####": "#### {0}",
}
HOSTILE = {
    "empty": "",
    "white space": " \n ",
    "tags without end": "<think><answer>" * 200,
    "a tower of powers": "\\boxed{9^{9^{9^9}}}",
    "ten thousand digits": "9" * 10_000,
}
FEW = 4  # rows that are enough to see what a right answer earns
LENGTH = 0.9  # a correlation from which on a reward says hardly more than the length does


@dataclass(frozen=True)
class Tried:
    """One reply, what the reward pays for it, and the seconds that took; `wrong`: why TRL could not use what came of it."""

    what: str
    text: str
    pays: float | None
    seconds: float
    wrong: str = ""


@dataclass(frozen=True)
class Checked:
    """What one test of a reward says.

    Args:
        test: what a sound reward does.
        is_good: whether this one does; None where that cannot be told.
        words: what was seen, and what to change.
        ends: whether a training would end by it.
    """

    test: str
    is_good: bool | None
    words: str
    ends: bool = False


def pay(reward: Reward, texts: Sequence[str], row: Mapping, tokens: Sequence[int] = (), chat: bool = True) -> list:
    """What a reward pays for replies to one row of a data set, called as TRL calls it.

    Args:
        texts: the replies.
        row: a row with its "prompt" and the columns that the reward asks for.
        tokens: the length of each reply; by default a token for every four characters.
        chat: whether the replies are conversations, as they are where the prompts are; else strings.

    >>> from grpo_lessons.rewards import answer_reward
    >>> pay(answer_reward, ["It is 2.", "3"], {"prompt": "1 + 1?", "answer": "2"})
    [1.0, 0.0]

    Raises: as `calling.ask`.
    """
    tokens = tokens or [len(text) // 4 + 1 for text in texts]
    columns = {name: [value] * len(texts) for name, value in row.items() if name != "prompt"}
    completions = [[{"role": "assistant", "content": text}] for text in texts] if chat else list(texts)
    return ask(
        reward,
        prompts=[row.get("prompt")] * len(texts),
        completions=completions,
        completion_ids=[[0] * n for n in tokens],
        **columns,
    )


def tried(reward: Reward, texts: Mapping[str, str], row: Mapping, chat: bool = True) -> list[Tried]:
    """Each reply asked about alone, by what it is: what it is paid, and what went wrong, in words.

    >>> def careless(completions, **kwargs): return [1.0 / len(each[0]["content"]) for each in completions]
    >>> [(each.pays, each.wrong[:42]) for each in tried(careless, {"yours": "four", "empty": ""}, {"prompt": "?"})]
    [(0.25, ''), (None, 'ZeroDivisionError: float division by zero.')]
    """
    found = []
    for what, text in texts.items():
        began, pays, wrong = time.perf_counter(), None, ""
        try:
            (pays,) = pay(reward, [text], row, chat=chat)
        except Exception as error:  # the reader's own code may raise anything: that is what we are here to tell
            wrong = in_words(error)
        found.append(Tried(what, text, pays, time.perf_counter() - began, wrong))
    return found


def to_try(row: Mapping, replies: Sequence[str] = (), yours: str = "") -> dict[str, str]:
    """Replies to try on a row: the reader's, the model's, the right answer and a wrong one in some shapes, and hostile ones.

    >>> [*to_try({"prompt": "1 + 1?", "answer": "2"}, ["It is 2."], "two")][:4]
    ['yours', 'the model, 1', 'right, bare', 'wrong, bare']
    """
    known = {"yours": yours} if yours else {}
    known |= {f"the model, {at}": text for at, text in enumerate(replies, 1)}
    for shape, (right, wrong) in _pairs(row).items():
        if shape in ("bare", "thought and block"):
            known |= {f"right, {shape}": right, f"wrong, {shape}": wrong}
    if pair := _pairs(row).get("bare"):
        known["the right one among others"] = _hedge(*pair)
    return known | HOSTILE


def _hedge(right: str, wrong: str) -> str:
    return f"It is {wrong}, or {right}."


def _pairs(row: Mapping) -> dict[str, tuple[str, str]]:
    """In each of the SHAPES a reply with the row's right answer, and one with another; none for a row without one."""
    gold = next((row[name] for name in COLUMNS if row.get(name) not in (None, "")), None)
    read = right_answers(gold)
    if not read:
        return {}
    number = read[0].number
    right = str(number) if number is not None else str(gold)
    wrong = str(number + 1) if number is not None else "something else"
    return {shape: (text.format(right), text.format(wrong)) for shape, text in SHAPES.items()}


def elsewhere(
    rewards: Sequence[Reward], rows: Sequence[Mapping], weights: Sequence[float] | None = None, chat: bool = True
) -> Elsewhere:
    """What rewards and their weights pay for replies that no model wrote, to the first few rows: right, wrong, and hostile ones.

    >>> from grpo_lessons.rewards import answer_reward, format_reward
    >>> elsewhere([answer_reward, format_reward], [{"prompt": "1 + 1?", "answer": "2"}], [1, 0.5])
    Elsewhere(right=1.5, all=[0.0, 0.5, 1.0, 1.5])

    Of a reward that fails there is nothing to say here: its tests do.
    """
    best, everything = [], set()
    for row in rows[:FEW]:
        pairs = [*_pairs(row).values()]
        texts = [*(right for right, _ in pairs), *(wrong for _, wrong in pairs), *HOSTILE.values()]
        try:
            (paid,) = weighted_sum([[pay(reward, texts, row, chat=chat)] for reward in rewards], weights)
        except Exception:  # as in `tried`
            return Elsewhere()
        everything |= {score for score in paid if score is not None}
        if right := [score for score in paid[: len(pairs)] if score is not None]:
            best.append(max(right))
    return Elsewhere(median(best) if best else None, sorted(everything))


def check_reward(
    reward: Reward,
    rows: Sequence[Mapping],
    replies_PG: Sequence[Sequence[str]] = (),
    tokens_PG: Sequence[Sequence[int]] = (),
    sampled: float = 0.0,
    chat: bool = True,
) -> list[Checked]:
    """The tests that every reward should pass before a run is paid for.

    Args:
        rows: some rows of the data set, one for each of the P prompts.
        replies_PG: G replies of the model to each of them, if it has been asked.
        tokens_PG: their lengths in tokens.
        sampled: the seconds it took to sample them all.
        chat: as in `pay`.

    Example: a reward that pays by the length of a reply, and looks at nothing else.
        >>> def long(completions, **kwargs): return [len(each[0]["content"]) for each in completions]
        >>> rows = [{"prompt": "1 + 1?", "answer": "2"}]
        >>> [each.test for each in check_reward(long, rows, [["No.", "It is 2.", "Is it 3, or 4?", "Ask me."]]) if each.is_good is False]
        ['is no length in disguise', 'asks for the answer']

    Raises: ValueError without a row.
    """
    if not rows:
        raise ValueError("rows: expected at least one row of the data set.")
    if why := complaint(reward, [*rows[0]]):
        return [Checked("can be called by TRL", False, why, ends=True)]
    try:
        return [*_checked(reward, rows, replies_PG, tokens_PG, sampled, chat)]
    except Exception as error:  # as in `tried`
        where = "replies of the model" if replies_PG else "a plain reply, right or wrong"
        return [
            Checked("runs", False, f"It fails on {where}. {in_words(error)} A training would end there.", ends=True)
        ]


def _checked(reward, rows, replies_PG, tokens_PG, sampled, chat):
    yield _hostile(tried(reward, HOSTILE, rows[0], chat))
    tokens_PG = tokens_PG or [[len(text) // 4 + 1 for text in group] for group in replies_PG]
    began = time.perf_counter()
    scores_PG = [
        pay(reward, group, row, tokens, chat) for row, group, tokens in zip(rows, replies_PG, tokens_PG, strict=False)
    ]
    took = time.perf_counter() - began
    known = [score for group in scores_PG for score in group if score is not None]
    pairs = _pairs(rows[0])
    if scores_PG:
        yield _apart(scores_PG)
    if known:
        again = [pay(reward, *each, chat) for each in zip(replies_PG, rows, tokens_PG, strict=False)]
        if scores_PG != again:
            yield Checked(
                "says the same twice",
                False,
                "The same replies are paid differently when asked again: chance is learnt as if it were merit.",
            )
        if any(None in group and any(each is not None for each in group) for group in scores_PG):
            yield Checked(
                "says None only of a whole group",
                False,
                f"{_silent(scores_PG)}, and others of their group a number. TRL lets such a None count for nothing, beside siblings that count: return None for a prompt, never for a reply.",
            )
        yield _length(scores_PG, replies_PG, tokens_PG)
    if pairs:
        yield _without_answer(reward, rows[0], pairs, chat)
    if known and sampled:
        good = took <= sampled
        words = f"{1000 * took / len(known):.2g} ms a reply; sampling one takes {1000 * sampled / len(known):.2g} ms."
        yield Checked(
            "is faster than sampling",
            good,
            words
            if good
            else f"{words} Most of a step would be waiting for the reward: ask a service for all replies at once (`async def`), or cache.",
        )


def _hostile(found: Sequence[Tried]) -> Checked:
    """Whether replies that no model should write are paid without an error, and a number."""
    test = "stands hostile replies"
    if failed := [each for each in found if each.wrong]:
        words = f"It fails on `{failed[0].what}`: {failed[0].wrong} A training would end there."
        return Checked(test, False, words, ends=True)
    silent = [f"`{each.what}`" for each in found if each.pays is None]
    if len(silent) == len(found):
        return Checked(test, None, "All of them are paid None: it has no say on this prompt.")
    if silent:
        words = f"Paid None: {', '.join(silent)}. Such a reply has no say, as if it were neither good nor bad: return a number, such as 0."
        return Checked(test, False, words)
    return Checked(test, True, "Empty and hostile replies are paid a number.")


def _silent(scores_PG) -> str:
    """How many replies are paid None."""
    scores = [score for group in scores_PG for score in group]
    return f"{scores.count(None)} of {len(scores)} replies are paid None"


def _apart(scores_PG) -> Checked:
    """Whether any group has something to compare: what TRL leaves out of it, a None, is no difference."""
    test = "tells replies apart"
    scores = [score for group in scores_PG for score in group if score is not None]
    if not scores:
        return Checked(
            test, False, f"All {sum(map(len, scores_PG))} replies of the model are paid None: it has no say."
        )
    silent = f"{_silent(scores_PG)}. " if any(None in group for group in scores_PG) else ""
    low, high = min(scores), max(scores)
    if not all(map(is_dead, scores_PG)):
        words = f"{len(scores)} replies are paid {low:.3g} to {high:.3g}, {fmean(scores):.3g} on average."
        return Checked(test, True, silent + words)
    if high - low > 1e-9:
        words = "The replies to each prompt are all paid the same: every group is dead, and nothing can be learnt."
        return Checked(test, False, f"{silent}{words} Let the reward look at the reply, and not at the prompt alone.")
    those = "others" if silent else "replies of the model"
    words = f"All {len(scores)} {those} are paid {low:.3g}: every group is dead, and nothing can be learnt."
    mend = (
        "Pay a number, such as 0, instead of None."
        if silent
        else "If an empty one is paid that, too, the reward looks at nothing; else it asks for too little."
        if low > 0
        else "Pay for parts that do occur, or ask for less."
    )
    return Checked(test, False, f"{silent}{words} {mend}")


def _length(scores_PG, replies_PG, tokens_PG) -> Checked:
    """Within the groups, where alone comparing is done: a reward that follows the length of a reply, and little else."""
    scores, lengths = [], []
    for group, tokens in zip(scores_PG, tokens_PG, strict=False):
        both = [(score, length) for score, length in zip(group, tokens, strict=True) if score is not None]
        if len(both) > 1:
            means = [fmean(each) for each in zip(*both, strict=True)]
            scores += [score - means[0] for score, _ in both]
            lengths += [length - means[1] for _, length in both]
    if len(scores) < 4 or pstdev(scores) == 0 or pstdev(lengths) == 0:
        return Checked("is no length in disguise", None, "Too few replies differ in reward and in length to say.")
    found = correlation(scores, lengths)
    if abs(found) < LENGTH:
        return Checked(
            "is no length in disguise",
            True,
            f"Reward and length of a reply: a correlation of {found:.2f} within the groups.",
        )
    more = "longer" if found > 0 else "shorter"
    return Checked(
        "is no length in disguise",
        False,
        f"Within a group the {more} reply earns more (a correlation of {found:.2f} with its length): the model will learn a length. "
        "Fine if you want that; else pay for what you want.",
    )


def _without_answer(reward: Reward, row: Mapping, pairs: Mapping[str, tuple[str, str]], chat: bool) -> Checked:
    """Whether the best that a wrong answer earns is as much as the best of a right one."""
    test = "asks for the answer"
    right = [score or 0.0 for score in pay(reward, [right for right, _ in pairs.values()], row, chat=chat)]
    wrong = [score or 0.0 for score in pay(reward, [wrong for _, wrong in pairs.values()], row, chat=chat)]
    if max(right) - min(right) < 1e-9 and right == wrong:
        return Checked(
            test,
            False,
            f"The right answer and a wrong one earn {right[0]:.3g} in each of {len(pairs)} shapes: it does not look at the answer, or wants it in another shape.",
        )
    if max(wrong) >= max(right):
        shape = [*pairs][wrong.index(max(wrong))]
        return Checked(
            test,
            False,
            f"A wrong answer ({shape}) earns {max(wrong):.3g}, the right one at most {max(right):.3g}: the model may learn to leave the answer out.",
        )
    (hedge,) = pay(reward, [_hedge(*pairs["bare"])], row, chat=chat)
    if (hedge or 0.0) >= max(right):
        words = f"A reply that names a wrong answer and the right one earns {hedge:.3g}, as much as the right one alone"
        return Checked(test, False, f"{words}: the model may learn to list.")
    best = [*pairs][right.index(max(right))]
    return Checked(
        test, True, f"The right answer ({best}) earns {max(right):.3g}, a wrong one at most {max(wrong):.3g}."
    )
