"""The engine as it is given to a browser: its files joined to one text each, which asks for no other file."""

import base64
import json
import re
from pathlib import Path

HERE = Path(__file__).parent
ENGINE = ("files", "tensors", "tokenizer", "model", "grpo", "worker")


def engine() -> str:
    """The source of a worker that trains the pocket model and lets it answer; `worker.js` says what it can be asked.

    >>> engine().startswith("const KERNELS = "), "import " in engine()
    (True, False)
    """
    kernels = base64.b64encode((HERE / "kernels.wasm").read_bytes()).decode()
    return f'const KERNELS = Uint8Array.from(atob("{kernels}"), (c) => c.charCodeAt(0));\n{_joined(*ENGINE)}'


def widget(name: str) -> str:
    """The source of a widget for anywidget, such as "ask": its file, all that it imports, and if it runs it, the engine as a text."""
    files = _imported(name)
    return (f"const ENGINE = {json.dumps(engine())};\n" if "client" in files else "") + _joined(*files)


def first() -> str:
    """The source of the training on the site's first page, which fetches engine and model by itself."""
    return _joined("client", "first")


def second_python() -> str:
    """The source of a worker that runs a reader's Python; `second_python.js` says what it can be asked.

    >>> "loadPyodide" in second_python()
    True
    """
    return _joined("second_python")


def _imported(name: str) -> list[str]:
    """A file of JavaScript by its name, behind those that it imports.

    >>> _imported("ask")
    ['element', 'client', 'parts', 'ask']
    """
    needed = re.findall(r'^import .* from "\./(\w+)\.js"', (HERE / f"{name}.js").read_text("utf-8"), re.MULTILINE)
    return [*dict.fromkeys(each for other in needed for each in _imported(other)), name]


def _joined(*names: str) -> str:
    """One script: what the files import of each other stands in it, and comments stay with the files."""
    text = "".join((HERE / f"{name}.js").read_text(encoding="utf-8") for name in names)
    return re.sub(r"^import .*\n|^export (?!default)|^ *(//|/\*\*| \*).*\n", "", text, flags=re.MULTILINE)
