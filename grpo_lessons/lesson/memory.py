"""What a reader has chosen and written: there again when the lesson is opened anew, where it may write."""

import json
from contextlib import suppress

from grpo_lessons.lesson.marimo_inside import keep_page_folder
from grpo_lessons.lesson.opened import Opened


def recall(opened: Opened, name: str) -> str | None:
    """What was kept under a name; None for nothing."""
    said = _read(opened).get(name)
    return said if isinstance(said, str) else None


def keep(opened: Opened, name: str, said: str | None) -> None:
    """Keep it, in a page by its browser; where there is no room, silently not."""
    path = opened.memory
    if path is None or said == recall(opened, name):
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
