"""Why does it not learn? What a run's log shows, what explains it, and what to change: symptom, cause, mend.

>>> log = read_log("{'loss': 0.0, 'grad_norm': 0.0, 'reward': 0.0, 'frac_reward_zero_std': 1.0}")
>>> print(diagnose(log)[0])
**dead groups.** In 100% of the groups all replies earn the same, and the mean reward is 0. No reply is better than its siblings, so none is pushed: what is never earned is never learnt. An easier start: an example in the prompt, a reward that pays for parts that do occur, shorter questions, or a few worked examples by SFT first. More steps do not help.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import correlation, fmean, median, pstdev

from grpo_lessons.calling import MESSAGES, NO_STRING
from grpo_lessons.logs import Log, read_log
from grpo_lessons.rewards import FormatReward
from grpo_lessons.runs import Run
from grpo_lessons.tracebacks import LAUNCHERS, raised

__all__ = ["Finding", "Log", "change", "diagnose", "diagnose_error", "diagnose_text", "means_of", "read_log"]

# Shares from which on most replies are cut off, and a run has too few groups to live off, or none that it needs.
CUT, DEAD, TOO_EASY = 0.5, 0.8, 0.6
DEAD_AND_FLAT = 0.65  # fewer explain a reward that does not move
NEVER = 0.05  # a mean reward up to which it is as good as never earned
SLOW = 60.0  # seconds of a step
LARGEST_FOR_ALL_WEIGHTS = 1e-5  # a learning rate as full fine-tuning takes it; an adapter wants more


@dataclass(frozen=True)
class Finding:
    """One thing that a log shows.

    Args:
        name: the words of the format lesson's exercise where it has any: "dead groups", "cut off", "fooled", "learning".
        seen, cause, mend: in words, with the numbers that were seen.
        is_fault: whether something should be changed; else it is good news, or a number that looks worse than it is.
    """

    name: str
    seen: str
    cause: str
    mend: str
    is_fault: bool = True

    def __str__(self) -> str:
        return " ".join(part for part in (f"**{self.name}.**", self.seen, self.cause, self.mend) if part)


def diagnose_text(text: str) -> list[Finding]:
    """What a pasted log, record or error says; see `diagnose` and `logs.read_log`. Raises: ValueError as those."""
    return diagnose(read_log(text))


def diagnose_error(words: str) -> list[Finding]:
    """What the error says that a training has ended with: at least that we do not know it.

    >>> [each.name for each in diagnose_error("The device ran out of memory.")], diagnose_error("It rains.")[0].name
    (['out of memory'], 'error')
    """
    return [*_errors(words)] or [*_raised(words)] or [Finding("error", f"“{words}”", "The training ended with it.", "")]


def diagnose(log: Log | Run) -> list[Finding]:
    """What a run shows: first what explains the rest, last what is no fault. Never empty.

    Example:
        >>> rows = [{"reward": 0.1 * step, "loss": 0.0, "grad_norm": 0.1, "frac_reward_zero_std": 0.1} for step in range(9)]
        >>> [finding.name for finding in diagnose(Log(rows))]
        ['learning', 'loss 0']

    Raises:
        ValueError: for a log with neither a step of GRPO nor an error.
    """
    log = Log.of_run(log) if isinstance(log, Run) else log
    said = list(_errors(log.text)) or list(_raised(log.text, alone=not log.rows))
    if not log.rows and not said:
        raise ValueError(
            "There is no log here: expected lines such as {'loss': 0.0, 'reward': 0.5, …}, a trainer_state.json, a table "
            "with a column `reward`, or an error with its last line."
        )
    if not log.rows:
        return said
    if not log.series("reward"):
        if said:
            return said
        if any("train_runtime" in row for row in log.rows):
            return [_NO_STEPS]
        raise ValueError(
            f"No step has a number for `reward`; there are {', '.join(sorted(log.rows[0])[:6])}. Expected the log of GRPO, "
            "a row for each step (logging_steps=1)."
        )
    first = next((finding for rule in _RULES if (finding := rule(log))), None)
    also = [finding for finding in (_slow(log),) if finding]
    said += [first] if first else [] if said or also else [_learning(log)]
    return [*said, *also, *(_no_faults(log) if first is None else _steps(log))]


# What is looked for, in this order: what comes first explains what comes after it --------------------------------------


def _broken(log: Log) -> Finding | None:
    for at, row in enumerate(log.rows, 1):
        name = next((name for name in ("loss", "grad_norm", "kl") if not math.isfinite(row.get(name, 0.0))), None)
        if name:
            return Finding(
                "steps too large",
                f"`{name}` is no number any more at log {at}.",
                "An update has thrown the weights off for good.",
                "A lower learning rate, or a smaller `max_grad_norm`; in float16, bfloat16 or float32 instead.",
            )
    return None


def _fooled(log: Log) -> Finding | None:
    reward, length = log.series("reward"), log.series("completions/mean_length")
    if change(reward) <= 0 and not any(_worsened(log)):
        return None
    mend = "Read the replies; then mend the reward, add one that looks at what you want, or raise `beta`."
    for name, before, after in (*_worsened(log), *_flat(log)):
        return Finding(
            "fooled",
            f"The reward goes {_course(log)}, and held-out `{name}` from {_n(before)} to {_n(after)}.",
            "The reward does not see what you want, and whatever it does not see may go.",
            mend,
        )
    if len(length) > 5 and len(length) == len(reward) and abs(_correlation(length, reward)) > 0.9:
        first, last = fmean(length[:3]), _ends(length)[1]
        clipped = _ends(log.series("completions/clipped_ratio") or [0.0])[1]
        if last > 1.5 * first and clipped >= CUT:
            return Finding(
                "fooled",
                f"The reward rises as replies grow from {first:.0f} to {last:.0f} tokens, and {clipped:.0%} of them are cut off.",
                "The reward pays for length as such: the longest reply earns most.",
                "Where there is a target, pay −|n − target|, not |n − target|: the reward must be largest at the target.",
            )
        if last <= 3 and last < first / 5:
            return Finding(
                "fooled",
                f"The reward rises as replies shrink from {first:.0f} to {last:.0f} tokens.",
                "The reward pays for being short as such: the emptiest reply earns most.",
                "Pay −|n − target|, not n or −n; and nothing for a reply without content.",
            )
    entropy = log.series("entropy")
    if len(entropy) > 5 and _ends(entropy)[1] > 1.6 * _ends(entropy)[0] > 0:
        first, last = _ends(entropy)
        return Finding(
            "fooled",
            f"The reward rises, and `entropy` with it, from {_n(first)} to {_n(last)}.",
            "A model that learns makes up its mind. One that grows undecided under a rising reward has found that the text itself does not matter.",
            mend,
        )
    return None


def _cut_off(log: Log) -> Finding | None:
    clipped, length = log.series("completions/clipped_ratio"), log.series("completions/mean_length")
    longest = log.settings.get("max_completion_length")
    share = fmean(clipped) if clipped else None
    if share is None and length and longest and fmean(length) >= 0.95 * longest:
        share = 1.0
    if share is None or share < CUT or (change(log.series("reward")) > 0 and _ends(clipped or [share])[1] < CUT):
        return None
    at = f" at {longest:g} tokens" if longest else f" at about {max(length):.0f} tokens" if length else ""
    return Finding(
        "cut off",
        f"{share:.0%} of the replies are cut off{at} (`clipped_ratio`), and the mean reward is {_of_last(log)}.",
        "A reply that is cut off lacks its end: the answer, the closing tag, whatever the reward waits for.",
        "Raise `max_completion_length`, or ask for shorter replies in the prompt.",
    )


def _pattern(log: Log) -> Finding | None:
    """A format reward that is 0 for replies which have the format, with a new line in it."""
    if max(log.series("reward")) > 0 or log.run is None:
        return None
    replies = [reply for group in log.run.groups for reply in group.completions]
    for tags in (("think", "answer"), ("reasoning", "answer"), ("code", "explanation")):
        right = [each.text for each in replies if FormatReward(tags).read(each.text)]
        if right and all("\n" in text for text in right):
            return Finding(
                "pattern stops at a line",
                f"The reward is 0, and {len(right)} of {len(replies)} recorded replies have the format, all with a new line in them.",
                "In a regular expression `.` stops at a new line, so the pattern never matches a thought of two lines.",
                "Compile it with `re.DOTALL`, or use `FormatReward`.",
            )
    return None


def _dead(log: Log) -> Finding | None:
    shares, spread = log.series("frac_reward_zero_std"), log.series("reward_std")
    reward = log.series("reward")
    if not shares or len(shares) == len(spread):
        # Without any spread all groups are dead, whatever is logged: an older TRL logs no share, and today's 0 where equal
        # rewards differ by a rounding of float32 (std([0.2] * 8) is 1.6e-8).
        shares = [
            max(float(each < 1e-6), share) for each, share in zip(spread, shares or [0.0] * len(spread), strict=True)
        ]
    if not shares:
        return None
    share = _ends(shares)[1] if change(reward) <= 0 else fmean(shares)
    enough = TOO_EASY if _full(log) else DEAD_AND_FLAT if change(reward) == 0 and len(reward) >= 10 else DEAD
    if share < enough or (change(reward) > 0 and _ends(shares)[0] < DEAD):
        return None
    seen = f"In {share:.0%} of the groups all replies earn the same, and the mean reward is {_of_last(log)}."
    if _full(log):
        return Finding(
            "dead groups",
            seen,
            "Nearly every reply earns all there is, from the beginning: there is nothing left to tell apart.",
            "Harder questions, or a stricter reward; if the score is what you wanted, the model can do it already.",
        )
    # What the few groups that are alive can add to the spread of the batch is at most this much.
    of_the_alive = 0.5 * (1 - share) * max(1.0, *map(abs, reward)) ** 2
    if spread and fmean(spread) > 0.01 and fmean(spread) ** 2 > of_the_alive:
        seen += f" `reward_std` of {_n(fmean(spread))} is taken over the whole batch."
        cause = "Some prompts are always right and others never: the rewards differ between the groups, and within a group nothing does."
        mend = "Prompts of middling difficulty, a larger `num_generations`, a higher temperature, or a reward with more steps."
        return Finding("dead groups", seen, cause, mend)
    if fmean(log.series("entropy") or [1.0]) < 0.01:
        cause = "The model is sure of every token, so the replies of a group are copies."
        return Finding(
            "dead groups", seen, cause, "A temperature of 1, and no `top_k` or `top_p` that leaves one choice."
        )
    if _ends(reward)[1] > NEVER:
        cause = f"In such a group no reply is better than its siblings: they share what they earn, {_of_last(log)} on average, and what would earn more does not occur."
    else:
        cause = "No reply is better than its siblings, so none is pushed: what is never earned is never learnt."
    return Finding(
        "dead groups",
        seen,
        cause,
        "An easier start: an example in the prompt, a reward that pays for parts that do occur, shorter questions, or a few "
        "worked examples by SFT first. More steps do not help.",
    )


def _masked(log: Log) -> Finding | None:
    norms = log.series("grad_norm")
    if len(norms) < 2 or max(norms) > 0:
        return None
    return Finding(
        "no push",
        f"`grad_norm` is 0 in all {len(norms)} logs, though the groups are alive.",
        "Nothing reaches the weights: all replies are masked (`mask_truncated_completions`), or no weight is trained.",
        "Look at `clipped_ratio`, and count the weights with `requires_grad`.",
    )


def _too_large(log: Log) -> Finding | None:
    if change(log.series("reward")) >= 0:
        return None
    for name in ("kl", "grad_norm"):
        values = log.series(name)
        if len(values) > 5 and max(values) > 10 * max(median(values), 1e-4):
            return Finding(
                "steps too large",
                f"`{name}` leaps to {_n(max(values))} (its middle is {_n(median(values))}), and the reward falls {_course(log)}.",
                "One update went so far that the model forgot what it could.",
                "A lower learning rate, a smaller `max_grad_norm`, or more `beta`.",
            )
    return None


def _collapsed(log: Log) -> Finding | None:
    entropy = log.series("entropy")
    if len(entropy) < 6 or change(log.series("reward")) > 0:
        return None
    first, last = _ends(entropy)
    if last > 0.05 or last > 0.2 * first:
        return None
    return Finding(
        "collapse",
        f"`entropy` falls from {_n(first)} to {_n(last)}, and the reward stays at {_of_last(log)}.",
        "The model has made up its mind too early: the replies of a group are copies, and copies teach nothing.",
        "A lower learning rate, a higher temperature, more `beta`, or a larger `epsilon_high`.",
    )


def _falling(log: Log) -> Finding | None:
    if change(log.series("reward")) >= 0:
        return None
    return Finding(
        "steps too large",
        f"The reward falls {_course(log)}.",
        "Every update goes further than what it was made for.",
        "A lower learning rate, more completions a step, or more `beta`.",
    )


def _too_small(log: Log) -> Finding | None:
    reward, rate = log.series("reward"), _rate(log)
    if len(reward) < 10 or change(reward) != 0 or _full(log):
        return None
    known = rate is not None
    small = known and rate <= LARGEST_FOR_ALL_WEIGHTS
    kl = log.series("kl")
    if not small and kl and _ends(kl)[1] > 0.05:
        return Finding(
            "flat",
            f"The reward stays at {_of_last(log)} over {len(reward)} logs, though the model moves: `kl` is {_n(_ends(kl)[1])}.",
            "It is pushed to and fro: the differences within a group are mostly luck.",
            "More completions a step, a reward with less chance in it, or more steps.",
        )
    about = ([f"a learning rate of {rate:g}"] if known else []) + [f"`kl` at {_n(_ends(kl or [0.0])[1])}"] * bool(kl)
    return Finding(
        "steps too small",
        f"The reward stays at {_of_last(log)} over {len(reward)} logs, with {' and '.join(['groups that are alive', *about])}.",
        "1e-6, TRL's default, is for full fine-tuning: an adapter (LoRA) hardly moves at it."
        if small or not known
        else "",
        "Raise the learning rate: 1e-5 to 1e-4 for LoRA from half a billion weights on, up to 1e-3 for smaller models.",
    )


def _slow(log: Log) -> Finding | None:
    took = log.series("step_time")
    if not took or median(took) < SLOW:
        return None
    length = log.series("completions/mean_length")
    tokens = f" for replies of {fmean(length):.0f} tokens" if length else ""
    return Finding(
        "slow",
        f"A step takes {median(took):.0f} s{tokens}.",
        "Nearly all of it is sampling: one token after the other, for the longest reply of the batch.",
        "Sample with vLLM (`use_vllm=True`), shorten `max_completion_length`, or sample more completions at once and learn from them in parts.",
    )


_RULES: Sequence[Callable[[Log], Finding | None]] = (
    _broken, _fooled, _cut_off, _pattern, _dead, _masked, _too_large, _collapsed, _falling, _too_small,
)  # fmt: skip


# What is no fault ------------------------------------------------------------------------------------------------------


def _learning(log: Log) -> Finding:
    reward = log.series("reward")
    if change(reward) > 0:
        dead = log.series("frac_reward_zero_std")
        alive = f" {1 - fmean(dead):.0%} of the groups had something to teach." if dead else ""
        words = f"The reward rises {_course(log)} over {len(reward)} logs.{alive}"
        return Finding(
            "learning",
            words,
            "",
            "Read the replies, and look at held-out questions: only they can say what was learnt.",
            False,
        )
    if _full(log):
        return Finding(
            "learning", f"The reward is high from the beginning ({_of_first(log)}) and stays so.", "", "", False
        )
    words = f"{len(reward)} logs, the reward at {_of_last(log)}, groups alive, nothing out of order."
    return Finding(
        "too early to tell", words, "So few steps differ by luck alone.", "Train on, and look again after ten.", False
    )


def _no_faults(log: Log) -> Iterator[Finding]:
    loss, norms = log.series("loss"), log.series("grad_norm")
    if loss and norms and max(norms) > 0 and abs(fmean(loss[:3])) < 0.01:
        rises = " It may rise later, with `kl`." if abs(loss[-1]) > 0.01 or log.series("kl") else ""
        yield Finding(
            "loss 0",
            f"`loss` begins at {_n(loss[0])} and `grad_norm` is {_n(fmean(norms))}: that is no fault.",
            f"The pushes of a group add up to 0, so the loss does, and the gradient does not.{rises}",
            "Watch the reward instead.",
            False,
        )
    yield from _steps(log)


def _steps(log: Log) -> Iterator[Finding]:
    said = log.settings
    size, batch = said.get("num_generations"), said.get("per_device_train_batch_size") or said.get("batch_size")
    if log.run or not size or not batch:
        return
    parts, processes = said.get("gradient_accumulation_steps", 1), said.get("num_processes", 1)
    completions = batch * parts * processes
    prompts = completions / size
    rows, rounds = said.get("num_rows"), said.get("num_train_epochs", 1)
    in_all = (
        f" {rows:,.0f} rows × {rounds:g} rounds / {prompts:g} = {rows * rounds / prompts:,.0f} steps." if rows else ""
    )
    yield Finding(
        "step count",
        f"A step has {batch:g} × {parts:g} × {processes:g} = {completions:g} completions, and those are {completions:g} / {size:g} = {prompts:g} prompts.{in_all}",
        "The batch size counts completions, not prompts.",
        "",
        False,
    )


_NO_STEPS = Finding(
    "no steps",
    "The training ended without a single step.",
    "The data set has fewer prompts than one step draws: completions a step / `num_generations`.",
    "More prompts, or a smaller `per_device_train_batch_size`.",
)


# Errors, by what their last line says ----------------------------------------------------------------------------------

_ERRORS = (
    (
        r"eval(?:uation)? batch size.{0,120}?(?:evenly )?divisible",
        Finding(
            "evaluation batch",
            "The evaluation batch cannot be cut into groups.",
            "Held-out prompts are answered in groups, too: `per_device_eval_batch_size` × processes must be a multiple of `num_generations`.",
            "Set `per_device_eval_batch_size` to `num_generations`, or `num_generations_eval` to a divisor of it.",
        ),
    ),
    (
        r"(?:batch size|generation_batch_size|batch_size).{0,160}?divisible|requires at least 2 generations",
        Finding(
            "batch and groups",
            "The batch cannot be cut into groups.",
            "`per_device_train_batch_size` counts completions, not prompts: times accumulation and processes it must be a multiple of `num_generations`, which is 2 or more.",
            "Such as 8 completions for groups of 8; with less memory, more `gradient_accumulation_steps`.",
        ),
    ),
    (
        r"out of memory|OutOfMemoryError|MemoryError|CUBLAS_STATUS_ALLOC_FAILED",
        Finding(
            "out of memory",
            "The device ran out of memory.",
            "What the backward pass keeps of every token grows with completions × length; the scores over the vocabulary do, too.",
            "In this order: fewer completions at once and more `gradient_accumulation_steps`, `gradient_checkpointing`, a shorter `max_completion_length`, a smaller model.",
        ),
    ),
    (
        r"GRPOConfig\.__init__\(\) got an unexpected keyword argument",
        Finding(
            "no such setting",
            "GRPOConfig does not know a name.",
            "It may be misspelt (`num_generation`) or gone (`max_prompt_length`, `warmup_ratio`).",
            "Look it up in your TRL's own GRPOConfig.",
        ),
    ),
    (
        r"got (?:an unexpected keyword argument|multiple values for)|takes \d+ positional arguments? but|unexpected keyword argument",
        Finding(
            "reward's parameters",
            "The reward was called with more than it takes.",
            "TRL passes prompts, completions, completion_ids, the trainer's state and every column of the data set, by name.",
            "Write `def reward(completions, **kwargs)`, with the columns that you want before `**kwargs`.",
        ),
    ),
    (
        r"too many dimensions 'str'|must be real number, not |expected sequence of length \d+ at dim 1|"
        r"expand\(torch\.\w+\{\[\d+, \d+\]\}, size=|returned \d+ rewards, but \d+ were expected|"
        r"reward[\s\S]{0,2000}?'(?:float|int|bool|NoneType)' object is not iterable",
        Finding(
            "reward's scores",
            "What a reward returned is no list of numbers.",
            "TRL makes a tensor of it, and torch's words name neither the reward nor the value: text ('1.0', the keys of a dict), a list in the list, a single number, a forgotten `return`, or another number of scores than of replies.",
            "Return a list with one float (or None) for each reply, in their order; print it once before you train.",
        ),
    ),
    (
        r"signal only works in main thread",
        Finding(
            "graded in a thread",
            "math-verify stops slow answers by a signal, and Python takes signals in its main thread only.",
            "Notebook servers and asynchronous trainers call a reward in another thread.",
            "Pass `parsing_timeout=None` and `timeout_seconds=None` and bound the time yourself, or use `AnswerReward`, which needs no signal.",
        ),
    ),
)  # fmt: skip


def _errors(text: str) -> Iterator[Finding]:
    seen = set()
    for pattern, finding in _ERRORS:
        if re.search(pattern, text, re.IGNORECASE) and not (
            finding.name == "reward's parameters" and "no such setting" in seen
        ):
            if finding.name == "batch and groups" and "evaluation batch" in seen:
                continue
            seen.add(finding.name)
            yield finding
    if not seen and (ours := _OURS.search(text)):
        yield _reward_failed(f"“{ours[0].strip()}”")


# What `calling.named` says of it.
_OURS = re.compile(r"The reward `[^`\n]{1,100}` failed(?:\.| on (?:an empty|the) reply)[^\n]{0,500}")

# What a reward raises most often, by the error's words.
_IN_REWARDS = (
    (NO_STRING, MESSAGES),
    (
        r"'NoneType' object (?:has no attribute|is not subscriptable)",
        "A search that finds nothing gives None, such as `re.search` on a reply without the pattern: ask for that first.",
    ),
    (r"list index out of range", "A list is empty for some replies, such as the numbers of a reply without any: ask for that first."),
    (r"KeyError", "The columns of the data set come by their own names: compare that name with those of your data."),
)  # fmt: skip


def _reward_failed(seen: str) -> Finding:
    """The reward's own error, and its mend where that is known."""
    told = MESSAGES in seen  # by `calling.in_words`
    known = next((mend for pattern, mend in _IN_REWARDS if re.search(pattern, seen) and not told), "")
    alone = (
        "Try that reply on the reward alone, as in station 2: a training ends at the first reply that it cannot pay."
    )
    return Finding(
        "reward failed", seen, "Neither TRL nor the model is at fault: the reward itself.", f"{known} {alone}".strip()
    )


def _raised(text: str, alone: bool = True) -> Iterator[Finding]:
    """What the last error of a text is, though it is none of those that we know.

    `alone`: whether nothing else was pasted; in a log a word that looks like an error is one only under a traceback.
    """
    errors = [each for each in raised(text) if alone or (each.frames and each.name != "KeyboardInterrupt")]
    if not errors:
        return
    real = [each for each in errors if each.name not in LAUNCHERS]
    if not real:
        yield Finding(
            "launcher",
            f"`{errors[-1].line}`",
            "The launcher only reports that a process of the training has failed. The real error stands above it, at the end of another traceback.",
            "Look further up, and paste those lines, too.",
        )
    elif where := real[-1].in_reward:
        yield _reward_failed(f"This error is your reward's: {where}. `{real[-1].line}`.")
    else:
        *_, last = (None, *real[-1].frames)
        yield Finding(
            "unknown error",
            f"`{real[-1].line}`" + (f", in {last}." if last else ""),
            "An error that we do not know.",
            "Read its last line, and the line of your own code that stands closest above it; or search TRL's issues for its words.",
        )


# Numbers ---------------------------------------------------------------------------------------------------------------


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """The means of the first and the last third: single steps are luck."""
    some = max(1, len(values) // 3)
    return fmean(values[:some]), fmean(values[-some:])


def change(values: Sequence[float]) -> int:
    """1 if a series rises, -1 if it falls, 0 if what is between its ends may be luck (two standard errors).

    >>> change([0, 1, 2, 3, 4, 5]), change([0, 1, 0, 1, 1, 0]), change([1, 1, 1])
    (1, 0, 0)
    """
    some = len(values) // 3
    if some < 1:
        return 0
    (first, last), (a, b) = _ends(values), (values[:some], values[-some:])
    error = math.sqrt((pstdev(a) ** 2 + pstdev(b) ** 2) / max(1, some - 1))
    least = max(0.02 * max(abs(first), abs(last)), 1e-9)
    if some < 3:  # too few to know their spread by: what all of them say
        error = 0.0
        if not (max(a) < min(b) or min(a) > max(b)):
            return 0
    difference = last - first
    return 0 if abs(difference) <= max(2 * error, least) else 1 if difference > 0 else -1


def _full(log: Log) -> bool:
    """Whether the reward is as high as it gets from the beginning: near 1, a reward's usual summit, or above its like."""
    first, last = _ends(log.series("reward"))
    return first > 0.9 and last >= 0.9 * first


def _worsened(log: Log) -> Iterator[tuple[str, float, float]]:
    """Which held-out scores get worse, by more than luck: name, before, after."""
    run = log.run
    if run and run.before and run.after:
        for name in run.after.completions[0].rewards:
            before, after = run.before.scores(name), run.after.scores(name)
            if before and after and _worse(before, after):
                yield name, fmean(before), fmean(after)
    for name, values in _asked(log):
        if len(values) > 2 and change(values) < 0 and _ends(values)[0] - _ends(values)[1] > 0.05:
            yield name, *_ends(values)


def _flat(log: Log) -> Iterator[tuple[str, float, float]]:
    """Held-out scores that do not follow a reward that rises, where none of them does."""
    found = {name: (values[0], values[-1]) if len(values) < 6 else _ends(values) for name, values in _asked(log)}
    if log.run is None and not any(last > first + 0.02 or first > 0.9 for first, last in found.values()):
        yield from ((name, first, last) for name, (first, last) in found.items())
    gain = log.series("held_out_gain")  # as the format lesson's exercise has it
    if gain and gain[-1] <= 0:
        yield "answers", 0.0, gain[-1]


def _asked(log: Log) -> Iterator[tuple[str, list[float]]]:
    """What a log says of held-out prompts more than once."""
    for name in sorted({name for row in log.rows for name in row}):
        if re.match(r"held[-_]out/|eval_", name) and re.search(r"reward(?!.*std)|acc|correct|answer|score|exact", name):
            values = log.series(name)
            if len(values) > 1 and not re.search(r"std|zero|length|time", name):
                yield name, values


def _correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Pearson's; 0 where one of them stands still."""
    return correlation(a, b) if pstdev(a) > 0 and pstdev(b) > 0 else 0.0


def _worse(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether held-out scores have fallen by more than luck, and by enough to matter."""
    error = math.sqrt(pstdev(before) ** 2 / len(before) + pstdev(after) ** 2 / len(after))
    fall = fmean(before) - fmean(after)
    return fall > max(3 * error, 0.1 if min(before) >= 0 else 1.0)


def _rate(log: Log) -> float | None:
    rates = log.series("learning_rate") or [log.settings[name] for name in ("learning_rate",) if name in log.settings]
    return max(rates) if rates else None


def _course(log: Log) -> str:
    """Where the reward comes from and leads to; its curve beside it begins and ends at single steps, which are luck."""
    reward = log.series("reward")
    return f"from {_of_first(log)} to {_of_last(log)}{means_of(len(reward), 'log')}"


def means_of(count: int, step: str) -> str:
    """Of how many steps, or logs, the ends of so many are the means, in words to stand behind them.

    >>> means_of(30, "step"), means_of(5, "step")
    (' (the means of its first and its last 10 steps)', '')
    """
    return f" (the means of its first and its last {count // 3} {step}s)" if count >= 6 else ""


def _of_first(log: Log) -> str:
    return _n(_ends(log.series("reward"))[0])


def _of_last(log: Log) -> str:
    return _n(_ends(log.series("reward"))[1])


def _n(value: float) -> str:
    """A number as a reader wants it.

    >>> _n(0.5), _n(-1.0), _n(0.00012), _n(0.0)
    ('0.5', '−1', '0.00012', '0')
    """
    return f"{value:.2g}".replace("-", "−") if abs(value) < 100 else f"{value:,.0f}".replace("-", "−")
