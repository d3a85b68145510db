"""What we use of marimo and TRL that they do not promise to keep. A failure here says what has moved in a new version."""

import inspect
import subprocess
import sys

from grpo_lessons.lesson import marimo_inside
from grpo_lessons.training import trl_inside


def test_marimo_still_has_what_we_use_of_its_inside():
    from marimo._output.formatters.formatters import THIRD_PARTY_FACTORIES
    from marimo._runtime.runtime import Kernel
    from marimo._server.api.endpoints.ws.ws_session_connector import ConnectionType, SessionConnector

    told = "marimo has moved: mend grpo_lessons/lesson/marimo_inside.py"
    assert isinstance(THIRD_PARTY_FACTORIES, dict), told
    assert list(inspect.signature(SessionConnector._reconnect_session).parameters) == ["self", "session"], told
    assert ConnectionType.RESUME, told
    source = inspect.getsource(sys.modules[SessionConnector.__module__])
    assert "disconnect_main_consumer" in source and "_reconnect_session(" in source, told
    assert marimo_inside.PYODIDE_VERSION[0].isdigit(), told
    assert "request" in inspect.signature(Kernel.set_ui_element_value).parameters, told
    mended = "marimo has mended it: take hear_all_that_moves_together away"
    assert "resolved_requests[resolved_id] = resolved_value" in inspect.getsource(sys.modules[Kernel.__module__]), (
        mended
    )


def test_marimo_looks_once_into_all_packages_for_plugins(monkeypatch):
    from marimo._entrypoints import registry
    from marimo._runtime.executor.evaluator import resolve_executor

    told = "marimo has moved: mend ask_once_for_plugins in grpo_lessons/lesson/marimo_inside.py"
    asked, entry_points = [], registry.entry_points
    monkeypatch.setattr(registry, "entry_points", lambda: asked.append(1) or entry_points())
    monkeypatch.setattr(registry, "get_entry_points", inspect.unwrap(registry.get_entry_points))
    before = [type(resolve_executor()), type(resolve_executor())]
    assert len(asked) == 2, told
    marimo_inside.ask_once_for_plugins()
    assert [type(resolve_executor()), type(resolve_executor())] == before and len(asked) == 3, told


def test_what_a_library_prints_as_a_cell_ends_raises_in_no_training():
    code = """if True:
        import sys, warnings
        from threading import Condition
        from types import SimpleNamespace
        from marimo._messaging.streams import ThreadSafeStderr, ThreadSafeStdout
        from grpo_lessons.lesson import marimo_inside

        over = SimpleNamespace(cell_id=None, console_msg_queue=[], console_msg_cv=Condition())
        sys.stdout, sys.stderr = ThreadSafeStdout(over), ThreadSafeStderr(over)
        try:
            print("a step")
        except AssertionError:
            marimo_inside.let_libraries_print()
            print("a step")
            warnings.warn("old")
            over.cell_id = "a cell that runs"
            print("into the cell")
        sys.__stdout__.write(over.console_msg_queue[0].data)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    told = "marimo has moved: mend or take away let_libraries_print in grpo_lessons/lesson/marimo_inside.py"
    assert done.stdout == "a step\ninto the cell" and "UserWarning: old" in done.stderr, (
        told + done.stdout + done.stderr
    )


def test_trl_still_has_what_we_use_of_its_inside():
    from trl import GRPOTrainer
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    told = "TRL has moved: mend grpo_lessons/training/trl_inside.py"
    assert {"model", "outputs"} <= set(inspect.signature(utils.add_fused_lm_head).parameters), told
    assert chunked_logprob.TOKEN_CHUNK_SIZE == trl_inside.HEAD_TOKENS, told
    assert utils._CHUNKED_LOGPROB_CHUNK_SIZE == trl_inside.HEAD_WIDTH, told
    assert list(inspect.signature(GRPOTrainer._compute_loss).parameters) == ["self", "model", "inputs"], told
    assert f'f"{trl_inside.NO_SAY} ' in inspect.getsource(GRPOTrainer._calculate_rewards), told
    assert "self._get_per_token_logps_and_entropies(" in inspect.getsource(GRPOTrainer._compute_loss), told


def test_what_marimo_calls_after_every_cell_is_there_before_matplotlib_is():
    # while one session of `marimo run` imported matplotlib, the others stopped with an AttributeError
    start = "from grpo_lessons.lesson.marimo_inside import let_sessions_start_together; let_sessions_start_together()"
    code = (
        f"import sys, marimo._output; {start}; marimo._output.mpl.close_figures(); print('matplotlib' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.strip() == "False", ran.stderr
    shown = "import marimo, matplotlib, matplotlib.pyplot; matplotlib.use('module://marimo._output.mpl'); matplotlib.pyplot.figure()"
    code = f"{start}; {shown}; print(marimo._output.mpl.__file__)"  # then its own, real backend
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.strip().endswith("mpl.py"), ran.stderr


def test_threads_parse_at_once_and_none_fails():
    code = (
        "import ast, gc, inspect, threading, time; from grpo_lessons.lesson.marimo_inside import parse_one_at_a_time\n"
        "parse_one_at_a_time(); gc.set_threshold(50); gc.callbacks.append(lambda *_: time.sleep(0)); failed = []; text = inspect.getsource(inspect)[:40000].rpartition('\\ndef ')[0]\n"
        "def parse():\n"
        "    try:\n        [ast.parse(text) for _ in range(3)]\n"
        "    except SystemError as error:\n        failed.append(error)\n"
        "threads = [threading.Thread(target=parse) for _ in range(4)]\n"
        "[each.start() for each in threads]; [each.join() for each in threads]; print(failed)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
