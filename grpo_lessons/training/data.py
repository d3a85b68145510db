"""Data of one's own: a file, a folder or a data set of the Hub, opened in seconds whatever its size, and made into prompts.

Of what is larger than `MOST_ROWS` a sample is kept, drawn evenly over the whole: a file is read once, row by row.
"""

import io
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from grpo_lessons.answers import COLUMNS, as_shown, is_placeholder, is_right, placeholders, right_answers
from grpo_lessons.calling import PASSED
from grpo_lessons.problems import csv_rows, instructed, read_rows, split_of, with_example
from grpo_lessons.text import question
from grpo_lessons.training.rows import wrong_prompt

MOST_ROWS = 5_000  # a step draws eight prompts: these are enough for six hundred
LONGEST = 20_000  # characters of a prompt
QUESTIONS = ("prompt", "question", "problem", "query", "instruction", "messages", "input", "text")
ANSWERS = (*COLUMNS, "gold", "label", "final_answer", "output", "response")
# Names that TRL, or the course, has a meaning of its own for: a column that is called so would be taken for that.
TAKEN = (
    *PASSED,
    "completion",
    "messages",
    "chosen",
    "rejected",
    "image",
    "images",
    "environments",
    "opened_thought",
    "self",
)
KINDS = (".csv", ".jsonl", ".ndjson", ".json", ".parquet")
BOM = b"\xef\xbb\xbf"  # what some programs of Windows put before a file in UTF-8


@dataclass(frozen=True)
class Data:
    """What was opened.

    Args:
        source: its name.
        columns: in their order.
        rows: (number, row), numbers count from 1 as a reader counts, without the line of names; at most `MOST_ROWS`.
        total: how many rows there are; None where only the end would tell (a stream of the Hub).
    """

    source: str
    columns: list[str]
    rows: list[tuple[int, dict]]
    total: int | None

    def __str__(self) -> str:
        if self.total is None or self.total > len(self.rows):
            there = "" if self.total is None else f" of {self.total:,}"
            return f"`{self.source}`: a sample of {len(self.rows):,}{there} rows."
        return f"`{self.source}`: {len(self.rows):,} rows."


@dataclass(frozen=True)
class Prompts:
    """Rows as a training wants them, those held out, and what was left out: (row, why)."""

    train: list[dict]
    held_out: list[dict]
    left_out: list[tuple[int, str]] = field(default_factory=list)


def open_data(source: str | Path, split: str = "train", most: int = MOST_ROWS) -> Data:
    """Open a file (CSV, JSON lines, JSON, Parquet), a folder with a data set, or one of the Hub, such as "openai/gsm8k".

    Args:
        split: of a folder or of the Hub. A configuration stands behind a colon: "openai/gsm8k:main".
        most: rows that are kept.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "mine.csv"
        >>> _ = path.write_text("question,answer\\n1 + 1?,2\\n")
        >>> open_data(path).rows
        [(1, {'question': '1 + 1?', 'answer': '2'})]

    Raises: ValueError that names what was looked for, and what was expected.
    """
    name = str(source).strip()
    path = Path(name).expanduser()
    if not name:
        raise ValueError(
            "No data: expected a file (.csv, .jsonl, .json, .parquet), a folder, or a data set of the Hub."
        )
    try:
        if path.is_file():
            with path.open("rb") as file:
                data = _of_file(path.name, file, most)
        elif path.suffix.lower() in KINDS:
            where = "" if path.is_absolute() else f" in `{Path.cwd()}`"
            raise ValueError(f"`{name}`: there is no such file{where}.")
        else:
            data = _of_hub(name, split, most)
    except OSError as error:
        raise ValueError(f"`{name}` cannot be read: {error.strerror or error}.") from None
    return _with_rows(data)


def of_upload(name: str, contents: bytes, most: int = MOST_ROWS) -> Data:
    """The same of a file that was dropped into a page."""
    return _with_rows(_of_file(name, io.BytesIO(contents), most))


def _with_rows(data: Data) -> Data:
    if not data.rows:
        raise ValueError(f"`{data.source}` has no rows.")
    return data


def _of_file(name: str, file: BinaryIO, most: int) -> Data:
    """However a file has come, from a path or dropped, it is read here."""
    kind = Path(name).suffix.lower()
    if kind == ".csv":
        return _of_csv(name, file, most)
    if kind in (".jsonl", ".ndjson"):
        return _of_lines(name, file, most)
    if kind == ".parquet":
        return _of_parquet(name, file, most)
    rows = read_rows(name, file.read())
    return Data(name, list(rows[0]), [(at + 1, rows[at]) for at in _evenly(len(rows), most)], len(rows))


def _of_csv(name: str, file: BinaryIO, most: int) -> Data:
    names, lines = csv_rows(name, io.TextIOWrapper(file, encoding="utf-8-sig", newline=""))
    kept, total = _sampled(lines, most)
    # A row that is longer or shorter than the names is kept for the reader to be told of it: see `_why_not`.
    rows = [
        (at, dict(zip(names, line, strict=False)) | ({None: line} if len(line) != len(names) else {}))
        for at, line in kept
    ]
    return Data(name, names, rows, total)


def _of_lines(name: str, file: BinaryIO, most: int) -> Data:
    kept, total = _sampled((line for line in file if line.strip()), most)
    rows = []
    for at, line in kept:
        try:
            row = json.loads(line.removeprefix(BOM))
        except (ValueError, RecursionError):
            row = None
        rows.append((at, row if isinstance(row, dict) else {None: line[:60].decode("utf-8", "replace")}))
    columns = list(dict.fromkeys(name for _, row in rows[:200] for name in row if name is not None))
    if not columns:
        raise ValueError(f'{name}: expected an object in every line, such as {{"question": "1 + 1?", "answer": "2"}}.')
    return Data(name, columns, rows, total)


def _of_parquet(name: str, source: BinaryIO, most: int) -> Data:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ValueError(f"{name}: Parquet needs pyarrow (pip install pyarrow). Or save it as JSON lines.") from None
    try:
        with parquet.ParquetFile(source) as file:
            total, rows, before = file.metadata.num_rows, [], 0
            chosen = _evenly(total, most)
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                inside = [at - before for at in chosen if before <= at < before + size]
                if inside:
                    taken = file.read_row_group(group).take(inside).to_pylist()
                    rows += [(before + at + 1, row) for at, row in zip(inside, taken, strict=True)]
                before += size
            return Data(name, file.schema_arrow.names, rows, total)
    except ArrowException as error:
        raise ValueError(f"{name}: no Parquet file ({str(error)[:200]}).") from None


def _of_hub(name: str, split: str, most: int) -> Data:
    """Of the Hub a stream is read, through a window that is shuffled: nothing else is fetched."""
    from datasets import load_dataset

    repo, _, config = (name, "", "") if Path(name).exists() else name.partition(":")
    try:
        stream = load_dataset(repo, config or None, split=split, streaming=True)
        told = (stream.info.splits or {}).get(split)
        total = told.num_examples if told and told.num_examples else None
        rows = list(islice(stream.shuffle(seed=0, buffer_size=2 * most), most))
    except Exception as error:  # whatever the network, the Hub, or a file in it may do
        text = " ".join(str(error).split())[:300]
        raise ValueError(
            f"`{name}` is no file here, and as a data set of the Hub it cannot be opened ({type(error).__name__}: {text}). "
            "Expected such as openai/gsm8k:main, a folder, or a file that ends in .csv, .jsonl, .json or .parquet."
        ) from None
    if total is None and len(rows) < most:
        total = len(rows)
    return Data(name, list(rows[0]) if rows else [], list(enumerate(rows, 1)), total)


def _sampled(rows: Iterable, most: int) -> tuple[list[tuple[int, object]], int]:
    """At most so many of the rows, each as likely as any other, in their order with their numbers; and how many there are.

    Vitter's algorithm R, which reads them once; the same rows every time.
    """
    rows = enumerate(rows, 1)
    kept, rng = list(islice(rows, most)), random.Random(0)
    at = len(kept)
    for at, row in rows:
        place = int(rng.random() * at)
        if place < most:
            kept[place] = (at, row)
    return sorted(kept, key=lambda each: each[0]), at


def _evenly(total: int, most: int) -> list[int]:
    return sorted(random.Random(0).sample(range(total), most)) if total > most else list(range(total))


def guess(columns: Sequence[str]) -> tuple[str, str]:
    """Which column asks, and which has the right answer ("" for none), by their usual names.

    >>> guess(["id", "Question", "answer"]), guess(["text"])
    (('Question', 'answer'), ('text', ''))
    """
    lower = {name.lower(): name for name in reversed(columns) if isinstance(name, str)}
    asks = next((lower[name] for name in QUESTIONS if name in lower), columns[0])
    gives = next((lower[name] for name in ANSWERS if name in lower and lower[name] != asks), "")
    return asks, gives


def prompts(
    data: Data,
    asks: str,
    gives: str = "",
    instruction: str = "",
    example: tuple[str, str] | None = None,
    needs_answer: bool = True,
) -> Prompts:
    """The rows as prompts of a training, split by a hash of the question; those that cannot be used, by row and with a word why.

    Args:
        asks: the column that asks: text, or a conversation.
        gives: the column of right answers; it is called `answer` from here on, and keeps its name besides. "": there is none.
        instruction: what the system says before every prompt.
        example: (question, reply), put before every prompt.
        needs_answer: leave out rows whose right answer has no value.

    >>> data = Data("mine", ["q", "a"], [(1, {"q": "1 + 1?", "a": "2"}), (2, {"q": "", "a": "3"})], 2)
    >>> prompts(data, "q", "a")
    Prompts(train=[{'prompt': [{'role': 'user', 'content': '1 + 1?'}], 'answer': '2', 'q': '1 + 1?', 'a': '2'}], held_out=[], left_out=[(2, "column 'q' is empty")])

    Raises: ValueError for a column that is not there.
    """
    for name in filter(None, (asks, gives)):
        if name not in data.columns:
            raise ValueError(f"There is no column {name!r}: {data.source} has {', '.join(map(repr, data.columns))}.")
    kept, left_out, seen = [], [], {}
    nothing = placeholders(row.get(gives) for _, row in data.rows) if gives else frozenset()
    for at, row in data.rows:
        why = _why_not(row, asks, gives, seen, nothing if needs_answer else None)
        if why:
            left_out.append((at, why))
            continue
        asked = row[asks]
        seen[_key(asked)] = (at, row.get(gives))
        kept.append((_key(asked), [{"role": "user", "content": asked}] if isinstance(asked, str) else list(asked), row))
    taken = {*TAKEN, "prompt"} | ({"answer"} if gives else set())
    plain = _plain(kept, taken)
    lists = any(isinstance(row.get(gives), (list, tuple)) for *_, row in kept)
    made = {"train": [], "held-out": []}
    for key, prompt, row in kept:
        columns = {"prompt": prompt}
        if gives:
            columns["answer"] = right = _answer(row.get(gives), lists)
        # By its own name a column is as it stands in the data, where it is of one kind; these two are there in any case.
        own = {asks: prompt} | ({gives: right} if gives else {}) | {name: row.get(name) for name in plain}
        made[split_of(key)].append(columns | {name: each for name, each in own.items() if name not in taken})
    if example and all(each.strip() for each in example):
        made = {split: with_example(rows, *example, instruction) for split, rows in made.items()}
    else:
        made = {
            split: [row | {"prompt": instructed(row["prompt"], instruction)} for row in rows]
            for split, rows in made.items()
        }
    return Prompts(made["train"], made["held-out"], left_out)


def _key(asked) -> str:
    return asked if isinstance(asked, str) else question(asked)


def _why_not(
    row: Mapping, asks: str, gives: str, seen: Mapping[str, tuple[int, object]], nothing: frozenset[str] | None
) -> str | None:
    """Why a row cannot be used; None if it can.

    Args:
        seen: (number, right answer) of the row that asked a question first.
        nothing: texts that are no right answers, see `placeholders`; None where a row needs none.
    """
    if None in row:
        odd = row[None]
        return (
            f"it has {len(odd)} cells, not as many as there are names"
            if isinstance(odd, list)
            else f"no object: {odd!r}"
        )
    asked = row.get(asks)
    if asked is None or (isinstance(asked, str) and not asked.strip()):
        return f"column {asks!r} is empty"
    if wrong := wrong_prompt(asked):
        return f"column {asks!r}: {wrong}"
    if (key := _key(asked)) in seen:
        at, first = seen[key]
        same = f"the same question as in row {at:,}"
        if not gives or _agree(row.get(gives), first):
            return same
        return f"{same}, with another answer: {as_shown(first)} there, {as_shown(row.get(gives))} here"
    if len(key) > LONGEST:
        return f"the question has {len(key):,} characters; at most {LONGEST:,} are taken"
    if not gives or nothing is None:
        return None
    gold = row.get(gives)
    if is_placeholder(gold, nothing):
        return f"column {gives!r} has no answer: {as_shown(gold)}"
    if not right_answers(gold):
        return f"column {gives!r} has no value that can be read: {as_shown(gold)}"
    return None


def _agree(one, other) -> bool:
    return one == other or is_right(str(one), other)


def _answer(gold, lists: bool):
    """A right answer as the others are: all text, or all lists of text."""
    if lists:
        return [str(each) for each in gold] if isinstance(gold, (list, tuple)) else [str(gold)]
    return None if gold is None else str(gold)


def _plain(kept: Sequence, taken: set[str]) -> list[str]:
    """The columns that a reward may ask for: of one plain kind from the first row to the last, with a name that is free."""
    found = []
    for name in dict.fromkeys(name for *_, row in kept for name in row):
        kinds = {type(row.get(name)) for *_, row in kept} - {type(None)}
        if name not in taken and len(kinds) == 1 and kinds <= {str, int, float, bool}:
            found.append(name)
    return found
