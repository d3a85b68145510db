"""The record of a training run: what was asked, where it ran, every metric, sampled groups, before and after.

Plain data, JSON in and out, so that a run recorded anywhere can be shown anywhere, in a browser without torch too.
"""

import json
import math
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from statistics import fmean
from sys import intern

from grpo_lessons.text import counted

FORMAT = 1


@dataclass
class Completion:
    """One completion: its text, its length in tokens (the end token is one), its rewards by name, its advantage."""

    text: str
    tokens: int
    rewards: dict[str, float | None]
    advantage: float = 0.0


Chances = tuple[str, float, float]  # of a token at one place: its text, its chance before an update and after it


@dataclass
class Group:
    """The completions sampled for one prompt in one step (steps count from 1).

    `moved[i][t]` says what the step's update did at token t of completion i: [(text, chance before, chance after), …] of
    the token that stands there, then of those that are likeliest there. Only a training in a page knows it.
    """

    step: int
    prompt: str
    completions: list[Completion]
    moved: list[list[list[Chances]]] | None = None


@dataclass
class Evaluation:
    """One completion for each held-out prompt, sampled at temperature 1 as in training."""

    prompts: list[str]
    completions: list[Completion]

    def scores(self, reward: str) -> list[float]:
        """The rewards of that name, one for each prompt on which it has a say."""
        scores = [completion.rewards[reward] for completion in self.completions]
        return [score for score in scores if score is not None]

    def mean(self, reward: str) -> float:
        """The mean of the rewards of that name; 0 if it has no say on any prompt."""
        return fmean(self.scores(reward) or [0.0])

    def length_error(self, target: int) -> float:
        """How many tokens the completions are off a target, on average."""
        return fmean(abs(completion.tokens - target) for completion in self.completions)

    def texts(self, *others: "Evaluation") -> list[tuple[str, list[str]]]:
        """Each prompt with its text here and in other evaluations of the same prompts.

        >>> Evaluation(["1 + 1?"], [Completion("3", 2, {})]).texts(Evaluation(["1 + 1?"], [Completion("2", 2, {})]))
        [('1 + 1?', ['3', '2'])]
        """
        columns = [each.completions for each in (self, *others)]
        rows = zip(self.prompts, *columns, strict=True)
        return [(prompt, [completion.text for completion in row]) for prompt, *row in rows]

    def as_metrics(self) -> dict[str, float]:
        """The mean of each reward under its name among the metrics of a step."""
        return {f"held-out/{name}/mean": self.mean(name) for name in self.completions[0].rewards}


@dataclass
class Supervised:
    """What supervised fine-tuning (SFT) on worked examples did before the reward began.

    `losses` holds one number for each of its steps, in nats a token; `after`: the held-out prompts, answered before GRPO.
    """

    examples: int
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    after: Evaluation | None = None


@dataclass
class Run:
    """A training run, finished or under way.

    `metrics` holds one dict for each step: what TRL logs under its own names, `step`, `seconds` since the first step
    began, `within_group_std`, the mean standard deviation of the rewards inside a group, `completions/std_length` in
    tokens, `judges/{reward}/mean` for the rewards that judge the run, and `held-out/{reward}/mean` at the steps at
    which that was asked for.

    Example:
        >>> run = Run(settings={"steps": 2}, metrics=[{"step": 1, "reward": 0.25}, {"step": 2, "reward": 0.5}])
        >>> Run.from_json(run.to_json()) == run
        True
        >>> run.series("reward")
        [(1, 0.25), (2, 0.5)]
    """

    settings: dict
    rewards: list[str] = field(default_factory=list)  # repr of each reward function
    choices: dict = field(default_factory=dict)  # what the lesson chose besides: the prompts, the kind of reward
    provenance: dict[str, str] = field(default_factory=dict)  # model, hardware, date, versions of the libraries
    metrics: list[dict[str, float | None]] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    before: Evaluation | None = None
    after: Evaluation | None = None
    state: str = "running"  # then "finished" or "stopped"
    sft: Supervised | None = None  # before the first step, if the training had a warm start
    code: list[str] = field(default_factory=list)  # of each reward function that the reader has written, else ""

    @property
    def steps_done(self) -> int:
        """Optimizer steps taken so far."""
        return len(self.metrics)

    @property
    def seconds(self) -> float:
        """From the beginning of the first step to the end of the last one so far."""
        return self.metrics[-1].get("seconds", 0.0) if self.metrics else 0.0

    @property
    def stages(self) -> list[tuple[str, Evaluation]]:
        """The held-out answers in the order in which they were given, each after a word on when.

        >>> told = Evaluation(["1 + 1?"], [Completion("2", 2, {})])
        >>> [when for when, _ in Run({"steps": 1}, before=told, after=told, sft=Supervised(12, after=told)).stages]
        ['before', 'after SFT', 'after GRPO']
        """
        between, last = (self.sft.after, "after GRPO") if self.sft else (None, "after")
        asked = [("before", self.before), ("after SFT", between), (last, self.after)]
        return [(when, answers) for when, answers in asked if answers]

    @property
    def label(self) -> str:
        """One line on where the run comes from, to stand beside every figure made of it."""
        seed, where = self.settings.get("seed"), self.provenance
        parts = [
            where.get("model"),
            self.sft and f"SFT on {counted(self.sft.examples, 'example')}",
            counted(self.steps_done, "step"),
            f"seed {seed}",
            where.get("hardware"),
            where.get("date"),
            f"peak {where['peak memory']}" if "peak memory" in where else None,
        ]
        return " · ".join(part for part in parts if part)

    def snapshot(self) -> "Run":
        """A copy that no longer grows, to hand to another thread."""
        sft = self.sft and replace(self.sft, losses=list(self.sft.losses))
        return replace(self, metrics=list(self.metrics), groups=list(self.groups), sft=sft)

    def series(self, metric: str) -> list[tuple[int, float]]:
        """The (step, value) pairs of a metric; steps that did not log it are left out."""
        return [(row["step"], row[metric]) for row in self.metrics if row.get(metric) is not None]

    def to_json(self) -> str:
        """The whole record as standard JSON; what is not a finite number becomes null."""
        return json.dumps({"format": FORMAT, **_finite(asdict(self))})

    @classmethod
    def from_json(cls, text: str) -> "Run":
        """The record again. Raises: ValueError for text that is not such a record."""
        try:
            data = json.loads(text)
            if data.pop("format", None) != FORMAT:
                raise ValueError(f"expected a record of format {FORMAT}")
            data = {"choices": {}, "sft": None, "code": []} | data  # records made before these were kept
            data["code"] = [str(each) for each in data["code"]]
            for name in ("settings", "choices", "provenance"):
                data[name] = dict(data[name])
            data["metrics"] = [dict(row) | {"step": int(row["step"])} for row in data["metrics"]]
            data["groups"] = [
                Group(
                    int(group["step"]),
                    str(group["prompt"]),
                    _completions(group["completions"]),
                    None if group.get("moved") is None else read_moved(group["moved"], group["completions"]),
                )
                for group in data["groups"]
            ]
            for when in ("before", "after"):
                data[when] = _evaluation(data[when])
            if (sft := data["sft"]) is not None:
                losses = [float(loss) for loss in sft["losses"]]
                after = _evaluation(sft["after"])
                data["sft"] = Supervised(int(sft["examples"]), losses, float(sft["seconds"]), after)
            return cls(**{spec.name: data.pop(spec.name) for spec in fields(cls)}, **data)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not the record of a run ({error}): expected JSON written by Run.save.") from None

    def save(self, path: str | Path) -> None:
        """Write the record to a file."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Run":
        """Read a record from a file. Raises: ValueError that names the file if it is not one."""
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def seconds_left(done: int, total: int, seconds: float) -> float:
    """Seconds that something still takes at the pace it has had, at least one; 0, for unknown, before its first step.

    >>> seconds_left(5, 25, 10.0), seconds_left(0, 25, 0.0)
    (40.0, 0.0)
    """
    return max(1.0, seconds / done * (total - done)) if done and seconds else 0.0


def told_apart(first: Run, second: Run) -> tuple[str, str]:
    """What tells two runs apart, each in words that can follow its name: settings, rewards and machines; "" if nothing does.

    >>> told_apart(Run({"beta": 0.0, "seed": 1}), Run({"beta": 0.1, "seed": 1}))
    (' (beta 0)', ' (beta 0.1)')
    """

    def words(run: Run, other: Run) -> str:
        settings = [
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in run.settings.items()
            if value != other.settings.get(name)
        ]
        places = [each.provenance.get("hardware") for each in (run, other)]
        elsewhere = [places[0]] if all(places) and places[0] != places[1] else []
        different = settings + (run.rewards if run.rewards != other.rewards else []) + elsewhere
        return f" ({', '.join(different)})" if different else ""

    return words(first, second), words(second, first)


def _evaluation(data: dict | None) -> Evaluation | None:
    return data and Evaluation([str(prompt) for prompt in data["prompts"]], _completions(data["completions"]))


def _completions(rows: list[dict]) -> list[Completion]:
    return [
        Completion(str(row["text"]), int(row["tokens"]), dict(row["rewards"]), float(row["advantage"] or 0.0))
        for row in rows
    ]


def read_moved(said: list, completions: list) -> list[list[list[Chances]]]:
    """What an update did to a group's tokens (see `Group`), of JSON. Raises: ValueError, TypeError for what is nothing such.

    >>> read_moved([[[["The", 0.5, 0.25], ["A", 0.25, 0.5]]]], ["The"])
    [[[('The', 0.5, 0.25), ('A', 0.25, 0.5)]]]
    """
    read = [
        [[(intern(str(text)), float(was), float(now)) for text, was, now in place] for place in reply] for reply in said
    ]
    chances = [chance for reply in read for place in reply for _, *both in place for chance in both]
    if len(read) != len(completions) or not all(0 <= chance <= 1 for chance in chances) or not all(map(all, read)):
        raise ValueError(
            f"the tokens of {len(read)} replies: expected those of {len(completions)}, each with its chances"
        )
    return read


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
