"""Try it in the page: a question, and what the pocket model replies before and after GRPO, sampled by the browser itself.

The model runs as JavaScript (`pocket/pocket.js`), so that it does where there is no torch, and no server is asked.
"""

from pathlib import Path

import marimo as mo

from grpo_lessons import pocket
from grpo_lessons.device import IN_PAGE, fetch


def tryout(question: str, adapter: str, public):
    """A text field and two columns of replies, as a `mo.ui.anywidget`.

    Its value is a dict: `value["replies"]` is empty until all replies are there, then {"question": str, "before": [{"text":
    str, "tokens": int}, …], "after": the same}; the end token is one of the tokens if it was sampled.

    Args:
        question: what stands in the field at first.
        adapter: the name of a run that left its adapter, such as "format_learns" (see `record.ADAPTERS`).
        public: where `public/` lies: a Path, or in a web page something whose str() is its address.

    Raises:
        ImportError without anywidget, OSError where a file is missing. In a page the widget itself says what it lacks.
    """
    import anywidget
    from traitlets import Bytes, Dict, Unicode

    source, assets, given = _in_page(adapter, public) if IN_PAGE else _here(adapter, public)

    class Tryout(anywidget.AnyWidget):
        _esm = source

        question = Unicode().tag(sync=True)
        replies = Dict().tag(sync=True)
        assets = Dict().tag(sync=True)  # addresses of the three files; "": the file is in the trait of that name
        weights = Bytes().tag(sync=True)
        tokenizer = Unicode().tag(sync=True)
        adapter = Bytes().tag(sync=True)

    return mo.ui.anywidget(Tryout(question=question, assets=assets, **given))


def _here(adapter: str, public: Path) -> tuple[str, dict, dict]:
    given = {
        "weights": (pocket.PATH / "model.safetensors").read_bytes(),
        "tokenizer": (pocket.PATH / "tokenizer.json").read_text(encoding="utf-8"),
        "adapter": (public / f"{adapter}.safetensors").read_bytes(),
    }
    source = (Path(pocket.__file__).parent / "pocket.js").read_text(encoding="utf-8")
    return source, dict.fromkeys(given, ""), given


def _in_page(adapter: str, public) -> tuple[str, dict, dict]:
    assets = {
        "weights": f"{public}/pocket/model.safetensors",
        "tokenizer": f"{public}/pocket/tokenizer.json",
        "adapter": f"{public}/{adapter}.safetensors",
    }
    return fetch("pocket/pocket.js"), assets, {}
