"""A data set of the reader's own, checked before anything is paid: how its right answers are read, and which cannot be."""

from collections.abc import Sequence

import marimo as mo

from grpo_lessons import cards
from grpo_lessons.answers import check_answers
from grpo_lessons.lesson.words import failed, good, show, warn
from grpo_lessons.problems import read_rows

MOST_BYTES = 20_000_000


def data_file() -> mo.ui.dictionary:
    """A file to choose and the name of its column. In marimo it must be a variable of the notebook."""
    endings = [".jsonl", ".json", ".csv", ".parquet"]
    file = mo.ui.file(filetypes=endings, max_size=MOST_BYTES, label="A file of yours (.jsonl, .json, .csv, .parquet)")
    return mo.ui.dictionary(
        {"file": file, "column": mo.ui.text(label="its column of right answers, if it has another name")}
    )


def show_check(chosen: dict, example: Sequence[dict]) -> mo.Html:
    """How the right answers of the chosen file are read, or those of an example, until there is one."""
    try:
        rows = read_rows(chosen["file"][0].name, chosen["file"][0].contents) if chosen["file"] else example
        checked = check_answers(rows, chosen["column"].strip() if chosen["file"] else "gold")
    except ValueError as error:
        return failed(str(error))
    table = [
        (kind, [f"{n:,}", f"row {row}: {text}", shown])
        for kind, n in checked.kinds.items()
        for row, text, shown in (checked.examples[kind],)
    ]
    of = "your file" if chosen["file"] else "the replies of station 2"
    return show(
        f"The column `{checked.column}` of {of}:",
        cards.text_table(["read as", "rows", "the first of them", "its value"], table),
        warn(_unreadable(checked.unreadable)) if checked.unreadable else good("Every right answer has a value."),
    )


def _unreadable(rows: Sequence[tuple[int, str]]) -> str:
    listed = ", ".join(f"row {row} ({text})" for row, text in rows[:10])
    more = f", and {len(rows) - 10:,} more" if len(rows) > 10 else ""
    return f"{len(rows):,} without a value: {listed}{more}. Nothing can be paid there: mend them, or leave them out.".replace(
        "<", "&lt;"
    )
