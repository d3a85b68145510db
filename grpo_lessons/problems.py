"""Prompts for the lessons, as `list[dict]` with TRL's column names; train and held-out never overlap."""

import csv
import io
import json
import random
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

SPLITS = ("train", "held-out")

csv.field_size_limit(10_000_000)

# What a text can be about, and the kind of thing it is (the pocket model's corpus picks its words by kind).
TOPICS = {
    topic: kind
    for kind, topics in {
        "place": "sea forest city desert mountain garden market river island village beach harbour park valley",
        "sky": "rain snow wind storm sun moon fog cloud night morning winter summer thunder sunset",
        "animal": "cat dog horse owl fox bear whale rabbit crow mouse goat swan wolf donkey",
        "thing": "train book clock lamp boat bridge house piano bread letter kite ship mirror window",
    }.items()
    for topic in topics.split()
}


def sums(
    n: int, seed: int = 0, split: str = "train", terms: int = 3, digits: int = 2, instruction: str = ""
) -> list[dict]:
    """`n` different sums as conversational prompts, with the right `answer`.

    The split is decided by a hash of the question alone, so a held-out question is in no training set of any
    seed, nor in the pocket model's corpus. `instruction` is appended to every question (see `FormatReward.instruction`).

    >>> sums(1, seed=1)
    [{'prompt': [{'role': 'user', 'content': 'What is 43 + 32 + 25?'}], 'answer': '100'}]

    Raises: ValueError for an unknown split, or for more questions than there are.
    """
    _check(n, split)
    low, high = 10 ** (digits - 1), 10**digits - 1
    if n > (high - low + 1) ** terms // 4:
        raise ValueError(f"n={n} sums of {terms} numbers with {digits} digits: too few exist; lower n or add a number.")
    rng = random.Random(f"{seed} {split}")
    seen: dict[str, int] = {}
    while len(seen) < n:
        numbers = [rng.randint(low, high) for _ in range(terms)]
        question = f"What is {' + '.join(map(str, numbers))}?"
        if split_of(question) == split:
            seen.setdefault(question, sum(numbers))
    return [{"prompt": _user(question, instruction), "answer": str(total)} for question, total in seen.items()]


def texts(n: int, seed: int = 0, split: str = "train", instruction: str = "") -> list[dict]:
    """`n` requests to write about a topic; every fifth topic is held out. Topics repeat when `n` exceeds them.

    >>> texts(1, seed=1)
    [{'prompt': [{'role': 'user', 'content': 'Write about the city.'}]}]

    Raises: ValueError for an unknown split.
    """
    _check(n, split)
    topics = [topic for i, topic in enumerate(TOPICS) if (i % 5 == 4) == (split == "held-out")]
    random.Random(seed).shuffle(topics)
    return [{"prompt": _user(f"Write about the {topics[i % len(topics)]}.", instruction)} for i in range(n)]


def with_example(rows: list[dict], asked: str, reply: str, instruction: str = "") -> list[dict]:
    """The same prompts, behind one example of what is wanted, and behind an instruction if there is one.

    >>> row, = with_example([{"prompt": _user("What is 2 + 2?", ""), "answer": "4"}], "What is 1 + 1?", "It is 2.")
    >>> [message["content"] for message in row["prompt"]], row["answer"]
    (['What is 1 + 1?', 'It is 2.', 'What is 2 + 2?'], '4')
    """
    example = [{"role": "user", "content": asked}, {"role": "assistant", "content": reply}]
    return [row | {"prompt": instructed(example + row["prompt"], instruction)} for row in rows]


def worked(rows: list[dict], form: str) -> list[dict]:
    """The same sums with a reply to copy, as the "completion" of TRL's SFTTrainer: the form, filled in with the steps as its
    `thought`, the `terms` and the `total`.

    >>> row, = worked(sums(1, seed=1), "<think>{thought}</think><answer>{total}</answer>")
    >>> row["completion"]
    [{'role': 'assistant', 'content': '<think>43 + 32 = 75. 75 + 25 = 100.</think><answer>100</answer>'}]
    """
    replies = [worked_out(row["prompt"][-1]["content"], form) for row in rows]
    return [
        row | {"completion": [{"role": "assistant", "content": reply}]}
        for row, reply in zip(rows, replies, strict=True)
    ]


def form_of(tags: Sequence[str]) -> str:
    """What such a reply has between the tags of a format of the course: the steps, the total, or a line of code.

    >>> form_of(("think", "boxed"))
    '<think>{thought}</think><boxed>{total}</boxed>'
    """
    return "".join(f"<{tag}>{_CONTENTS[tag]}</{tag}>" for tag in tags)


_CONTENTS = {
    "think": "{thought}",
    "answer": "{total}",
    "boxed": "{total}",
    "code": "print({terms})",
    "explanation": "It prints {total}.",
}


def worked_out(question: str, form: str, **others: str) -> str:
    """One such reply, to a question.

    >>> worked_out("What is 12 + 45 + 38?", "{terms} = {total}")
    '12 + 45 + 38 = 95'
    """
    total, *rest = numbers = [int(digits) for digits in re.findall(r"[0-9]+", question)]
    steps = []
    for number in rest:
        steps.append(f"{total} + {number} = {total + number}.")
        total += number
    return form.format(thought=" ".join(steps), total=total, terms=" + ".join(map(str, numbers)), **others)


def instructed(conversation: list[dict], instruction: str) -> list[dict]:
    """A conversation behind an instruction of its system, or as it is if that is empty."""
    return [{"role": "system", "content": instruction}, *conversation] if instruction else conversation


def save_prompts(rows: list[dict], folder: str | Path) -> None:
    """Write prompts as a data set that `load_dataset(folder)` and `trl grpo` read: one JSON object a line."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def read_rows(name: str, data: bytes) -> list[dict]:
    """The rows of a file of one's own: JSON lines, a JSON list, CSV, or Parquet (where pyarrow is installed).

    Args:
        name: the file's name, whose ending tells its format.
        data: what stands in it.

    >>> read_rows("mine.csv", b"question,answer\\n1 + 1?,2\\n")
    [{'question': '1 + 1?', 'answer': '2'}]

    Raises: ValueError that names the file, the line, and what was expected.
    """
    kind = Path(name).suffix.lower()
    if kind == ".parquet":
        return _parquet(name, data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: byte {error.start} is no UTF-8. Save the file as UTF-8.") from None
    if kind == ".csv":
        names, lines = csv_rows(name, io.StringIO(text, newline=""))
        rows: list = [dict(zip(names, line, strict=False)) for line in lines]
    elif kind == ".json":
        rows = _json(text, f"{name}: expected a list of objects, such as")
    elif kind in (".jsonl", ".ndjson"):
        lines = [(at, line) for at, line in enumerate(text.splitlines(), 1) if line.strip()]
        rows = [_json(line, f"{name}, line {at}: expected an object, such as") for at, line in lines]
    else:
        raise ValueError(f"{name}: expected a file that ends in .jsonl, .json, .csv or .parquet.")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f'{name}: expected rows with names, such as {{"question": "1 + 1?", "answer": "2"}}.')
    return rows


def csv_rows(name: str, file: TextIO) -> tuple[list[str], Iterator[list[str]]]:
    """The names in the first line of a CSV file, and its other lines, cut where the first one is: at , ; | or a tab.

    Args:
        name: the file's name, for what is raised.
        file: opened as `newline=""`, from its beginning.

    >>> names, lines = csv_rows("mine.csv", io.StringIO("question;answer\\r\\n1,5 + 1?;2,5\\r\\n", newline=""))
    >>> names, [*lines]
    (['question', 'answer'], [['1,5 + 1?', '2,5']])

    Raises: ValueError that names the file, the line, and what was expected; the lines raise it, too, when they are read.
    """
    lines = _csv_lines(name, file)
    names = next(lines, [])
    if len(set(names)) < len(names) or not all(names):
        raise ValueError(f"{name}: expected a first line of names, each once, such as question,answer; it has {names}.")
    return names, lines


def _csv_lines(name: str, file: TextIO) -> Iterator[list[str]]:
    try:
        delimiter = max(",;\t|", key=file.readline().count)
        file.seek(0)
        lines = csv.reader(file, delimiter=delimiter)
        yield from (line for line in lines if line)
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: byte {error.start} is no UTF-8. Save the file as UTF-8.") from None
    except csv.Error as error:
        raise ValueError(f"{name}, line {lines.line_num}: {error}. Save it as plain CSV.") from None


def _json(text: str, expected: str):
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{expected} {{"question": "1 + 1?", "answer": "2"}} ({error}).') from None


def _parquet(name: str, data: bytes) -> list[dict]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ValueError(
            f"{name}: Parquet needs pyarrow (pip install pyarrow). Or save the file as JSON lines."
        ) from None
    try:
        return parquet.read_table(io.BytesIO(data)).to_pylist()
    except (ArrowException, OSError) as error:
        raise ValueError(f"{name}: no Parquet file ({error}).") from None


def _user(question: str, instruction: str) -> list[dict]:
    return [{"role": "user", "content": f"{question} {instruction}".rstrip()}]


def split_of(question: str) -> str:
    """Where a question belongs, decided by a hash of its text alone: one in eight is held out, in every run.

    >>> split_of("What is 12 + 45 + 38?")
    'train'
    """
    return SPLITS[zlib.crc32(question.encode()) % 8 == 0]


def _check(n: int, split: str) -> None:
    if n < 0:
        raise ValueError(f"n={n}: expected the number of prompts, 0 or more.")
    if split not in SPLITS:
        raise ValueError(f"split={split!r}: expected one of {SPLITS}.")
