"""The machine a training runs on: its GPU, its memory, its threads, and the libraries as they are loaded into it."""

import gc
import os
import platform
import re
import shutil
import sys
import sysconfig
import threading
from contextlib import contextmanager, suppress
from datetime import date
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

TINY = 5_000_000  # parameters
_loading = threading.Lock()


class Driver(NamedTuple):
    """What the NVIDIA driver says of itself and of its first card."""

    cuda: int  # the newest CUDA that it can run: 13 for 13.0
    cards: int
    capability: float  # of the first card: 8.0 for an A100


@lru_cache(maxsize=1)
def driver() -> Driver | None:
    """The NVIDIA driver, asked itself, or None where there is none. `nvidia-smi` may be there without a card, or old."""
    try:
        import ctypes

        cuda = ctypes.WinDLL("nvcuda.dll") if sys.platform == "win32" else ctypes.CDLL("libcuda.so.1")
        if cuda.cuInit(0):
            return None
        told = [ctypes.c_int() for _ in range(4)]
        version, cards, major, minor = told
        cuda.cuDriverGetVersion(ctypes.byref(version))
        cuda.cuDeviceGetCount(ctypes.byref(cards))
        if not cards.value:
            return None
        for attribute, found in ((75, major), (76, minor)):  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, …_MINOR
            cuda.cuDeviceGetAttribute(ctypes.byref(found), attribute, 0)
        return Driver(version.value // 1000, cards.value, major.value + minor.value / 10)
    except (ImportError, OSError, AttributeError):  # a web page has no ctypes
        return None


@lru_cache(maxsize=1)
def torch_cuda() -> str | None:
    """The CUDA that the installed torch is built for, such as "13.0", or None. Reads one line, and does not load torch.

    Its version does not tell: PyPI's torch for Windows and macOS has no CUDA and no `+cpu` either.
    """
    try:
        found = find_spec("torch")
        text = (Path(found.origin).parent / "version.py").read_text(encoding="utf-8") if found and found.origin else ""
    except (OSError, ValueError):
        return None
    told = re.search(r"^cuda\b[^=\n]*=\s*['\"]([0-9.]+)['\"]", text, re.MULTILINE)
    return told[1] if told else None


def least_capability(cuda: str) -> float:
    """The oldest card that torch's wheels for a CUDA are built for: CUDA 13 has left Volta and all before it behind."""
    major, _, minor = cuda.partition(".")
    return 7.5 if int(major) > 12 else 5.0 if int(minor or 0) < 8 else 7.0


def gpu() -> float | None:
    """The compute capability of the first NVIDIA GPU that the installed torch can use, or None.

    From 8.0 on it computes in bfloat16. Does not load torch: a lesson asks when it opens, and stays light.
    """
    return None if no_gpu() is not None else driver().capability


def no_gpu() -> str | None:
    """Why torch cannot use a GPU here: "" if there is none, else a sentence that says what to change; None if it can."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return ""
    card, cuda = driver(), torch_cuda()
    if card is None:
        return ""
    if cuda is None:
        return (
            "There is an NVIDIA GPU, and the installed torch is built without CUDA (PyPI's for Windows always is). "
            "Install the CUDA build that pytorch.org/get-started names for your system, then open the lesson again."
        )
    if card.cuda < int(cuda.partition(".")[0]):
        return (
            f"There is an NVIDIA GPU, and its driver runs CUDA {card.cuda} at most; this torch wants CUDA {cuda}. "
            "Update the driver, or install torch's build for the older CUDA."
        )
    if card.capability < least_capability(cuda):
        return (
            f"There is an NVIDIA GPU of compute capability {card.capability}, and torch's build for CUDA {cuda} begins at "
            f"{least_capability(cuda)}. Install torch's build for CUDA 12.6, which still knows older cards."
        )
    return None


def device(pocket: bool) -> str:
    """Where a model is trained, the one answer for everybody: "cuda", or "cpu".

    The pocket model always stays on the CPU, where it is as fast. Where torch cannot use CUDA all do: on Apple's chips
    the trainer would move to MPS, which nobody has tried with these lessons.
    """
    return "cpu" if pocket or gpu() is None else "cuda"


def cannot_compile() -> str | None:
    """Why Triton, which torch trains through on a GPU under Linux, could not compile its kernels; None if it could."""
    if not sys.platform.startswith("linux"):
        return None
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang") or shutil.which("cc")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    missing = [] if compiler else ["a C compiler"]
    missing += [] if header.exists() else [f"Python.h of Python {platform.python_version()}"]
    if not missing:
        return None
    return (
        f"Training on a GPU needs {' and '.join(missing)}, for Triton compiles its kernels when they are first used. "
        "On Debian or Ubuntu: `sudo apt install gcc python3-dev`."
    )


def tidy() -> None:
    """Give back what earlier trainings have left on the GPU, and count its peak anew: the next one may be another notebook's.

    Nothing without a GPU: to collect all garbage takes half a second, in which a notebook says nothing.
    """
    if gpu() is not None and "torch" in sys.modules and (cuda := sys.modules["torch"].cuda).is_available():
        gc.collect()
        cuda.empty_cache()
        cuda.reset_peak_memory_stats()


def free_memory(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that this process can still have: of the machine, or of the container it runs in."""
    import psutil

    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # no container, or one without a limit
        limit, used = (int((group / name).read_text(encoding="utf-8")) for name in ("memory.max", "memory.current"))
        cached = dict(line.split() for line in (group / "memory.stat").read_text(encoding="utf-8").splitlines())
        free = min(free, max(0, limit - used + int(cached.get("inactive_file", 0))))  # a file's cache gives way
    return free


def load_libraries(trains: bool = True) -> None:
    """Import torch and TRL: seconds the first time, nothing after that. Without TRL where a model is only asked.

    Torch's threads are told to sleep while they wait. They spin otherwise, and where another process (a browser) wants the
    two cores as well, a step then takes ten times as long; see `threads_for`. The setting is read when torch is loaded.

    The libraries' progress bars are switched off. In a notebook they write to the cell that happens to run when they
    begin; if it has finished before they have, marimo's stream raises, and that ended one training in ten.
    """
    # TRL loads its parts when asked for, and half loaded in one thread it fails in another.
    with _loading, _without_collection():
        if "torch" not in sys.modules:
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
            if gpu() is not None:  # of several the first: GRPOTrainer refuses to share them in one process
                os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
                os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        import huggingface_hub
        import transformers

        huggingface_hub.utils.disable_progress_bars()
        transformers.utils.logging.disable_progress_bar()
        if not trains:
            _ = transformers.AutoModelForCausalLM, transformers.AutoTokenizer
            return
        import datasets
        import peft  # noqa: F401
        import trl

        datasets.disable_progress_bars()
        _ = trl.GRPOTrainer, trl.GRPOConfig


@contextmanager
def _without_collection():
    """Python looks for garbage again and again while three thousand modules are made, and finds none: a quarter of the time."""
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


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


def peak_memory(on: str) -> str:
    """The most memory this process has held: on the GPU, where a training was on it."""
    import torch

    if on == "cuda":
        return f"{torch.cuda.max_memory_reserved() / 1e9:.1f} GB of GPU memory"
    try:
        import resource
    except ImportError:  # Windows has none
        return "not known"
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.1f} GB"


def provenance(model: str, origin: str, on: str) -> dict[str, str]:
    """Where a run comes from: the model, the hardware that it was trained on, the day, the versions."""
    import torch

    cpu = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    return {
        "model": model,
        "weights": origin,
        "hardware": torch.cuda.get_device_name() if on == "cuda" else cpu,
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "trl", "peft")},
    }
