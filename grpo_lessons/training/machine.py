"""The machine a training runs on: its GPU, its memory, its threads, and the libraries as they are loaded into it."""

import os
import platform
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from datetime import date
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

TINY = 5_000_000  # parameters
_loading = threading.Lock()


@lru_cache(maxsize=1)
def gpu() -> float | None:
    """The compute capability of the first NVIDIA GPU that the installed torch can use, or None.

    From 8.0 on it computes in bfloat16. Does not load torch: a lesson asks when it opens, and stays light.
    """
    try:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
        if hidden or shutil.which("nvidia-smi") is None or "+cpu" in version("torch"):
            return None
        asked = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
        return float(subprocess.run(asked, capture_output=True, text=True, timeout=10).stdout.splitlines()[0])
    except (OSError, subprocess.SubprocessError, PackageNotFoundError, IndexError, ValueError):
        return None


def free_memory(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that this process can still have: of the machine, or of the container it runs in."""
    import psutil

    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # no container, or one without a limit
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        free = min(free, max(0, limit - used + int(cached.get("inactive_file", 0))))  # a file's cache gives way
    return free


def load_libraries() -> None:
    """Import torch and TRL: seconds the first time, nothing after that.

    Torch's threads are told to sleep while they wait. They spin otherwise, and where another process (a browser) wants the
    two cores as well, a step then takes ten times as long; see `_threads_for`. The setting is read when torch is loaded.

    The libraries' progress bars are switched off. In a notebook they write to the cell that happens to run when they
    begin; if it has finished before they have, marimo's stream raises, and that ended one training in ten.
    """
    with _loading:  # TRL loads its parts when asked for, and half loaded in one thread it fails in another
        if "torch" not in sys.modules:
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        import datasets
        import huggingface_hub
        import peft  # noqa: F401
        import transformers
        import trl

        datasets.disable_progress_bars()
        huggingface_hub.utils.disable_progress_bars()
        transformers.utils.logging.disable_progress_bar()
        _ = trl.GRPOTrainer, trl.GRPOConfig


@contextmanager
def threads_for(model):
    """All threads if they sleep while they wait; else one for a tiny model, and the rest of the machine for the browser.

    Seconds of a step of the pocket model on two cores, quiet and beside a process that wants one of them: one thread
    0.68 and 0.73, two that sleep 0.51 and 0.80, two that spin 0.46 and 7.5.
    """
    import torch

    threads = torch.get_num_threads()
    spin = os.environ.get("OMP_WAIT_POLICY", "").upper() != "PASSIVE"
    torch.set_num_threads(1 if spin and model.num_parameters() < TINY else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def peak_memory() -> str:
    """The most memory this process has held: on the GPU where there is one."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.max_memory_reserved() / 1e9:.1f} GB of GPU memory"
    try:
        import resource
    except ImportError:  # Windows has none
        return "not known"
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.1f} GB"


def provenance(model: str, origin: str) -> dict[str, str]:
    import torch

    cpu = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    return {
        "model": model,
        "weights": origin,
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else cpu,
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "trl", "peft")},
    }
