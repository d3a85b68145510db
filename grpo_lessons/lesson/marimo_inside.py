"""What we use of marimo that it does not promise to keep; read in marimo 0.25.2. `tests/test_inside.py` says what has moved."""

import __future__

import ast
import asyncio
import builtins
import json
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from functools import cache, wraps
from pathlib import Path
from types import SimpleNamespace

from marimo._pyodide.pyodide_constraints import PYODIDE_VERSION

__all__ = [
    "PAGE_FOLDER",
    "PYODIDE_VERSION",
    "ask_once_for_plugins",
    "has_file",
    "hear_all_that_moves_together",
    "keep_page_folder",
    "let_libraries_print",
    "let_sessions_start_together",
    "resume_with_all_outputs",
    "run_as_a_page_does",
]
PAGE_FOLDER = Path(
    "/marimo"
)  # of a page's Python: in the browser's storage, where there is one, read before a lesson starts


_keeping = SimpleNamespace(is_on=False, is_wanted=False)


def keep_page_folder() -> None:
    """Have a page's browser keep what stands in that folder, soon; where it keeps nothing, nothing happens."""
    from pyodide.ffi import create_once_callable
    from pyodide_js import FS

    def kept(error) -> None:
        _keeping.is_on = False
        if _keeping.is_wanted:
            keep_page_folder()

    _keeping.is_wanted = _keeping.is_on  # one at a time: a second would be warned of
    if not _keeping.is_on:
        _keeping.is_on = True
        FS.syncfs(False, create_once_callable(kept))


def ask_once_for_plugins() -> None:
    """Have marimo look once, not at every run of a cell, into all installed packages for one that runs cells in its place.

    It takes 4 ms of a control's answer, and of thirty trainings at once a third of the server's time.
    """
    from marimo._entrypoints import registry

    if not hasattr(registry.get_entry_points, "cache_info"):
        registry.get_entry_points = cache(registry.get_entry_points)


@cache  # once in a process
def let_libraries_print() -> None:
    """What a library prints in a training's thread just as a cell ends goes to the terminal.

    In the edit view marimo's streams stand for those of the process while a cell runs. To a thread that has got hold of one
    it raises when the cell is over, and a training ended with an AssertionError for a warning of TRL's, now and then.
    """
    from marimo._messaging.streams import ThreadSafeStderr, ThreadSafeStdout

    for stream, terminal in (ThreadSafeStdout, "__stdout__"), (ThreadSafeStderr, "__stderr__"):
        stream._write_with_mimetype = _written_anyway(stream._write_with_mimetype, terminal)


def _written_anyway(write: Callable, terminal: str) -> Callable:
    @wraps(write)
    def written(self, data, mimetype):
        try:
            return write(self, data, mimetype)
        except AssertionError:  # asked before, the cell could end in between
            return getattr(sys, terminal).write(data)

    return written


@cache  # once in a process
def hear_all_that_moves_together() -> None:
    """Have marimo set every control of a group that a reader moves while something else runs.

    It takes what has come meanwhile together, and of several controls of one `mo.ui.dictionary` it sets the last alone: the
    page shows five steps, and twenty-five are trained.
    """
    from marimo._runtime.commands import UpdateUIElementCommand
    from marimo._runtime.context import get_context
    from marimo._runtime.runtime import Kernel

    theirs = Kernel.set_ui_element_value

    @wraps(theirs)
    async def set_ui_element_value(self, request, **more):
        of = get_context().ui_element_registry.resolve_lens
        whole: dict = {}
        for name, value in request.ids_and_values:
            with suppress(KeyError, RuntimeError):  # it is gone, or another app's
                name, value = of(name, value)
            whole[name] = _both(whole.get(name), value)
        together = UpdateUIElementCommand.from_ids_and_values([*whole.items()], request=request.request)
        return await theirs(self, together, **more)

    Kernel.set_ui_element_value = set_ui_element_value


def _both(one, other):
    """Two updates of a group of controls as one; of one control, the later."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return other
    return one | {key: _both(one.get(key), value) for key, value in other.items()}


def let_sessions_start_together() -> None:
    """Keep the sessions of `marimo run`, threads of one process, from failing while one of them imports a library.

    While matplotlib is imported, marimo already ends every cell of every session with
    `marimo._output.mpl.close_figures()`, which is not there yet: such a session stops where it is, with half a lesson.
    While a first training imports transformers, a session that starts asks it for a class, and fails when it gets none.
    """
    import marimo._output as output
    from marimo._output.formatters.formatters import THIRD_PARTY_FACTORIES

    if not hasattr(output, "mpl"):  # nothing is open that could be closed; the import itself puts the module here
        output.mpl = SimpleNamespace(close_figures=lambda: None)
    THIRD_PARTY_FACTORIES.pop("transformers", None)  # it would show streams of tokens, which no lesson has
    parse_one_at_a_time()


def parse_one_at_a_time() -> None:
    """Have threads make syntax trees one after the other.

    CPython 3.11 counts how deep it is in a tree for all threads together, and where two of them parse, one fails with
    "AST constructor recursion depth mismatch": a page that is asked for while somebody's lesson opens.
    """
    if hasattr(builtins.compile, "__wrapped__"):
        return
    theirs, lock = builtins.compile, threading.RLock()

    @wraps(theirs)
    def compile(source, filename, mode, flags=0, dont_inherit=False, optimize=-1, **more):
        if not dont_inherit:  # the futures of whoever calls, as without us between
            flags |= sys._getframe(1).f_code.co_flags & __future__.annotations.compiler_flag
        with lock if flags & ast.PyCF_ONLY_AST else nullcontext():
            return theirs(source, filename, mode, flags, True, optimize, **more)

    builtins.compile = compile


def resume_with_all_outputs() -> None:
    """Have marimo send the whole lesson to a page that comes back to its session.

    marimo takes such a page for one that still shows everything, as after a short break of the network.
    """
    from marimo._server.api.endpoints.ws.ws_session_connector import ConnectionType, SessionConnector

    def reconnect(self, session):
        session.disconnect_main_consumer()
        self.handler._reconnect_session(session, replay=True)
        return session, ConnectionType.RESUME

    SessionConnector._reconnect_session = reconnect


def has_file(name: str) -> bool:
    """Whether a lesson of this process has put such a file beside its page; marimo answers 200 before it looks, and then raises."""
    from marimo._runtime.virtual_file.storage import VirtualFileStorageManager

    storage = VirtualFileStorageManager().storage
    return storage is not None and storage.has(name)


async def run_as_a_page_does(notebook: str, load: Callable[[], Awaitable], rest: float = 2) -> None:
    """Run a notebook to its last cell, as marimo's worker does in a page's Python; there only.

    Args:
        notebook: its file, in the current folder.
        load: loads what it imports.
        rest: seconds for what it does of itself afterwards.
    """
    from marimo._config.config import DEFAULT_CONFIG
    from marimo._pyodide.bootstrap import create_session, instantiate

    done = asyncio.Event()

    def hear(message: str) -> None:
        if json.loads(message)["op"] == "completed-run":
            done.set()

    session, _ = create_session(notebook, {}, hear, DEFAULT_CONFIG)
    with open(notebook, encoding="utf-8") as code:
        session.find_packages(code.read())
    await load()
    instantiate(session, True)
    running = asyncio.create_task(session.start())
    await asyncio.wait_for(done.wait(), 120)
    await asyncio.sleep(rest)
    session.kernel_task.stop()
    await asyncio.gather(running, return_exceptions=True)
