"""Logs of any GRPO run, as people have them at hand: a record, a `trainer_state.json`, printed dicts, a table, an error.

Nothing that is pasted is ever run, and reading takes time in proportion to its length.
"""

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from grpo_lessons.runs import Run

MOST_CHARACTERS = 20_000_000

# What older versions and other tables call what TRL logs today.
_ALSO = {
    "completion_length": "completions/mean_length",
    "mean_length": "completions/mean_length",
    "clipped_ratio": "completions/clipped_ratio",
    "mean_terminated_length": "completions/mean_terminated_length",
    "reward_mean": "reward",
    "training loss": "loss",
}
# Bounded, so that no text can make the search for it slow.
_NUMBER = r"[-+]?(?:\d[\d_]{0,30}(?:\.\d{0,30})?(?:[eE][-+]?\d{1,4})?|nan|inf|NaN|Infinity)"
_PAIR = re.compile(rf"""["']([\w/@. -]{{1,120}})["']\s*:\s*["']?({_NUMBER})["']?\s*(?=[,}}])""")
_DICT = re.compile(r"\{[^{}]{2,20000}\}")
_SETTINGS = (
    "num_generations per_device_train_batch_size gradient_accumulation_steps num_processes num_rows num_train_epochs "
    "max_steps learning_rate max_completion_length beta temperature"
)
_SETTING = re.compile(rf"\b({'|'.join(_SETTINGS.split())})\b[\"']?\s*[=:]\s*({_NUMBER})")


@dataclass
class Log:
    """A run as far as it is known.

    Args:
        rows: a dict of numbers for each step that was logged, under TRL's names, in their order.
        settings: what is known of the configuration, by TRL's names.
        text: what was pasted, in which an error may stand; "" of a record.
        run: the whole record, if it is one of ours.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    settings: dict[str, float] = field(default_factory=dict)
    text: str = ""
    run: Run | None = None

    @classmethod
    def of_run(cls, run: Run) -> "Log":
        """A record of the course as such a log."""
        said = run.settings
        names = {"group_size": "num_generations", "steps": "max_steps", "accumulation": "gradient_accumulation_steps"}
        settings = {names.get(name, name): value for name, value in said.items() if _is_number(value)}
        return cls([_row(row) for row in run.metrics], settings, run=run)

    def series(self, name: str) -> list[float]:
        """The finite values of a metric, in their order.

        >>> Log([{"reward": 0.5}, {"loss": 0.0}, {"reward": 1.0}]).series("reward")
        [0.5, 1.0]
        """
        return [row[name] for row in self.rows if name in row and math.isfinite(row[name])]


def read_log(text: str) -> Log:
    r"""What was pasted, as a log: our record, `trainer_state.json`, a list of dicts, printed dicts, a table, or an error's text.

    >>> read_log("{'loss': '0.0', 'grad_norm': '0.09', 'reward': '0.5'}\n  3%|▎   | 1/30").rows
    [{'loss': 0.0, 'grad_norm': 0.09, 'reward': 0.5}]
    >>> read_log("step,train/reward\n1,0.25\n").rows
    [{'step': 1.0, 'reward': 0.25}]

    Raises: ValueError for what is no text, or too long.
    """
    if not isinstance(text, str):
        raise ValueError(f"{str(text)[:40]!r}: expected the text of a log.")
    if len(text) > MOST_CHARACTERS:
        raise ValueError(
            f"{len(text):,} characters: a log of at most {MOST_CHARACTERS:,} is read. Leave out what lies between."
        )
    data = _json(text)
    if isinstance(data, Mapping) and "metrics" in data and "format" in data:
        return Log.of_run(Run.from_json(text))
    if isinstance(data, Mapping):
        rows = data.get("log_history", [data])
        settings = {name: data[name] for name in _SETTINGS.split() if _is_number(data.get(name))}
        return Log(_rows(rows), settings, "")
    if isinstance(data, list):
        return Log(_rows(data), {}, "")
    dicts = [_row(dict(_PAIR.findall(each))) for each in _DICT.findall(text)]
    rows = [row for row in dicts if row] or _table(text)
    settings = {name: float(value.replace("_", "")) for name, value in _SETTING.findall(text)}
    return Log(rows, settings, text)


def _json(text: str):
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _rows(rows) -> list[dict[str, float]]:
    found = [_row(row) for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    return [row for row in found if row]


def _row(row: Mapping) -> dict[str, float]:
    """The numbers of a row, under today's names."""
    known = {}
    for name, value in row.items():
        name = str(name).strip().removeprefix("train/")
        name = _ALSO.get(name.lower(), name)
        if (number := _number(value)) is not None:
            known[name] = number
    return known


def _number(value) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(str(value).strip().replace("Infinity", "inf"))
    except ValueError:
        return None


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _table(text: str) -> list[dict[str, float]]:
    """A table that has a line of names with `reward` or `loss` among them: CSV, tabs, pipes or blanks between."""
    lines = [line.strip().strip("|").strip() for line in text.splitlines() if line.strip()]
    for at, line in enumerate(lines):
        for cut in (_by_comma, _by_tab, _by_pipe, str.split):
            names = [_ALSO.get(each.lower(), each.removeprefix("train/")) for each in cut(line)]
            if len(names) > 1 and {"reward", "loss"} & {each.lower() for each in names}:
                cells = [cut(each) for each in lines[at + 1 :]]
                fit: Sequence = [row for row in cells if len(row) == len(names)]
                return [row for row in (_row(dict(zip(names, row, strict=True))) for row in fit) if row]
    return []


def _by_comma(line: str) -> list[str]:
    try:
        return [each.strip() for each in next(csv.reader([line]), [])]
    except csv.Error:
        return []


def _by_tab(line: str) -> list[str]:
    return [each.strip() for each in line.split("\t")]


def _by_pipe(line: str) -> list[str]:
    return [each.strip() for each in line.split("|")]
