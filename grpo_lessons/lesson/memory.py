"""What a reader has chosen and written: there again when a cell is run anew, and, where it may write, when the lesson is opened anew."""

import json
from contextlib import suppress

from grpo_lessons.lesson.marimo_inside import keep_page_folder
from grpo_lessons.lesson.opened import Opened


def recall(opened: Opened, name: str) -> str | None:
    """What was kept under a name; None for nothing."""
    said = (_read(opened) | opened.said).get(name)
    return said if isinstance(said, str) else None


def keep(opened: Opened, name: str, said: str | None) -> None:
    """Keep it: as long as this lesson is open, and in a file, in a page by its browser, where there is room."""
    if said == recall(opened, name):
        return
    opened.said[name] = said
    path = opened.memory
    if path is None:
        return
    with suppress(OSError):  # a full disk takes no prediction away from the page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_read(opened) | {name: said}, ensure_ascii=False), encoding="utf-8")
        if not opened.has_disk:
            keep_page_folder()


def _read(opened: Opened) -> dict:
    with suppress(OSError, ValueError):  # none yet, or a damaged file
        if opened.memory and isinstance(said := json.loads(opened.memory.read_text(encoding="utf-8")), dict):
            return said
    return {}
