"""Machines that nobody here has: two GPUs, none that torch can use, an old card, Windows' code page, a Mac, no compiler."""

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest
from packaging.markers import Marker
from packaging.tags import compatible_tags, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename

from grpo_lessons.lesson import controls
from grpo_lessons.problems import sums
from grpo_lessons.rewards import format_reward
from grpo_lessons.training import SMOLLM2, Plan, Settings, explain, fit, keep, line, machine, models, train
from grpo_lessons.training.machine import Driver
from grpo_lessons.web.site import find_uv
from tests.test_rewards import cases

ROOT = Path(__file__).parents[1]
SMALL = Settings(steps=1, batch_size=16, max_completion_length=12)


def here(monkeypatch, driver: Driver | None, cuda: str | None) -> None:
    """As if this machine had this driver and its torch were built for that CUDA."""
    monkeypatch.setattr(machine, "driver", lambda: driver)
    monkeypatch.setattr(machine, "torch_cuda", lambda: cuda)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("driver", "cuda", "capability", "told"),
    cases(
        (None, None, None, "", "no card"),
        (None, "13.0", None, "", "no card, torch with CUDA"),
        (Driver(13, 1, 8.6), None, None, "built without CUDA", "Windows: PyPI's torch"),
        (Driver(12, 1, 8.6), "13.0", None, "its driver runs CUDA 12 at most", "a driver before 580"),
        (Driver(13, 1, 7.0), "13.0", None, "compute capability 7.0", "V100"),
        (Driver(12, 1, 6.1), "12.6", 6.1, None, "GTX 10xx with the older CUDA"),
        (Driver(13, 2, 7.5), "13.0", 7.5, None, "two T4"),
        (Driver(13, 1, 9.0), "13.0", 9.0, None, "H100"),
    ),
)
def test_one_answer_to_where_a_training_runs_and_a_sentence_where_a_card_lies_idle(
    driver, cuda, capability, told, monkeypatch
):
    here(monkeypatch, driver, cuda)
    assert machine.gpu() == capability
    why = machine.no_gpu()
    assert why is None if told is None else told in why and bool(told) == bool(why)
    assert machine.device(pocket=True) == "cpu" and machine.device(pocket=False) == ("cuda" if capability else "cpu")
    if told:
        monkeypatch.setattr(controls, "no_gpu", machine.no_gpu)
        opened = type("Opened", (), {"trains": True, "most_steps": 9})()
        assert told in controls.about_model(opened, "no/such-model")


def test_a_hidden_gpu_is_none(monkeypatch):
    here(monkeypatch, Driver(13, 1, 9.0), "13.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert machine.gpu() is None and machine.no_gpu() == ""


def test_nvidia_smi_beside_a_torch_without_cuda_is_no_gpu(tmp_path, monkeypatch):
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 8.6\n", encoding="utf-8")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert machine.torch_cuda.__wrapped__() is None and machine.gpu() is None
    assert Settings().grpo_arguments()["use_cpu"] is True


@pytest.mark.parametrize(
    ("text", "cuda"),
    cases(
        ("__version__ = '2.13.0'\ncuda: Optional[str] = '13.0'\n", "13.0", "as it is written now"),
        ("cuda = '12.6'\n", "12.6", "as it was written once"),
        ("__version__ = '2.13.0'\ncuda: Optional[str] = None\n", None, "Windows and macOS"),
    ),
)
def test_the_cuda_of_torch_is_read_without_loading_torch(text, cuda, tmp_path, monkeypatch):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/version.py").write_text(text, encoding="utf-8")
    (tmp_path / "torch/__init__.py").write_text("raise ImportError('loaded')", encoding="utf-8")
    found = type("Spec", (), {"origin": str(tmp_path / "torch/__init__.py")})()
    monkeypatch.setattr(machine, "find_spec", lambda name: found)
    assert machine.torch_cuda.__wrapped__() == cuda


def test_with_two_cards_in_sight_a_training_runs(monkeypatch):
    import torch
    from trl import GRPOConfig

    from grpo_lessons.training.trl_inside import on_one_device

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert train(Plan(SMALL, [format_reward], sums(16))).run.state == "finished"
    arguments = GRPOConfig(**SMALL.grpo_arguments())
    arguments._n_gpu = 2  # as Trainer counts two cards
    assert on_one_device(arguments).n_gpu == 1


@pytest.mark.parametrize("model", ["pocket", SMOLLM2, "Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-3B-Instruct"])
@pytest.mark.parametrize("capability", [None, 7.5, 8.0, 9.0])
def test_the_settings_of_every_machine_are_ones_that_trl_takes(model, capability, monkeypatch):
    from trl import GRPOConfig

    here(monkeypatch, capability and Driver(13, 1, capability), capability and "13.0")
    monkeypatch.setattr(controls, "gpu", machine.gpu)
    defaults = {"pocket": Settings(), SMOLLM2: Settings(model=SMOLLM2, batch_size=32, accumulation=8)}
    settings = controls.settings_for(model, defaults)
    assert settings.problem is None
    config = GRPOConfig(**settings.grpo_arguments() | {"use_cpu": True})
    assert config.num_generations == settings.group_size
    small = model != "Qwen/Qwen2.5-3B-Instruct"
    assert settings.dtype == ("bfloat16" if (capability or 0) >= 8 and not small else "float32")
    assert settings.accumulation >= 4 or model == "pocket"  # 64 at once want 10 GB


@pytest.fixture(scope="module")
def in_16_bits():
    return train(
        Plan(Settings(steps=2, batch_size=16, dtype="bfloat16", learning_rate=2e-3), [format_reward], sums(16))
    )


def test_in_16_bits_the_adapter_stays_in_32(in_16_bits):
    import torch

    kinds = {
        name.rsplit(".", 2)[-1]: weight.dtype for name, weight in in_16_bits.model.named_parameters() if "lora" in name
    }
    assert set(kinds.values()) == {torch.float32}
    assert any(weight.abs().sum() > 0 for name, weight in in_16_bits.model.named_parameters() if "lora_B" in name)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_what_is_sampled_from_is_what_is_trained(dtype, request):
    """Merged into weights of 16 bits an early update is mostly rounded away: KL 0.02 between sampler and policy."""
    import torch

    trained = (
        request.getfixturevalue("in_16_bits")
        if dtype == "bfloat16"
        else train(Plan(Settings(steps=2, batch_size=16, learning_rate=2e-3), [format_reward], sums(16)))
    )
    model, tokenizer = trained.model.eval(), trained.tokenizer
    prompts = [models.as_text(tokenizer, row["prompt"]) for row in sums(8, split="held-out")]
    inputs = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
    with torch.inference_mode():
        out = model.generate(
            **inputs, do_sample=False, max_new_tokens=1, output_logits=True, return_dict_in_generate=True
        )
        sampler = out.logits[0].float().log_softmax(-1)
        policy = model(**inputs).logits[:, -1].float().log_softmax(-1)
    assert (policy.exp() * (policy - sampler)).sum(-1).mean() < 1e-3


def test_the_estimate_measures_what_training_samples(monkeypatch):
    merged = []
    merge = models.merge_while_generating
    monkeypatch.setattr(models, "merge_while_generating", lambda model: merged.append(model) or merge(model))
    probe = fit.measure(Plan(SMALL, [format_reward], sums(16)))
    assert len(merged) == 1 and probe.learn > 0 and probe.learn_once >= 0


QWEN = {  # Qwen2.5: its sizes, and a small one of its kind
    "0.5B": (896, 4864, 24, 14, 151_936),
    "1.5B": (1536, 8960, 28, 12, 151_936),
    "small": (56, 96, 2, 14, 600),
}


def in_the_shape_of_qwen(folder: Path, size: str = "small") -> Path:
    """A model with the layers of a Qwen2.5 and random weights, for time and memory."""
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    from grpo_lessons import pocket

    tokenizer = AutoTokenizer.from_pretrained(pocket.PATH)
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    sizes = dict(zip(names, QWEN[size], strict=True)) | {"num_key_value_heads": 2}
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    model = Qwen2ForCausalLM(Qwen2Config(**sizes, **ends, tie_word_embeddings=True))
    model.save_pretrained(folder / "qwen")
    tokenizer.save_pretrained(folder / "qwen")
    return folder / "qwen"


def test_without_a_compiler_a_training_on_a_gpu_says_what_to_install(monkeypatch, tmp_path):
    here(monkeypatch, Driver(13, 1, 9.0), "13.0")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    monkeypatch.setattr(machine.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    assert "a C compiler and Python.h" in machine.cannot_compile() and "apt install" in machine.cannot_compile()
    with pytest.raises(ValueError, match="a C compiler"):
        train(Plan(Settings(model="no/such-model", batch_size=16), [format_reward], sums(16)))
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert machine.cannot_compile() is None


@pytest.mark.parametrize(
    ("error", "told"),
    cases(
        (
            RuntimeError("CUDA error: no kernel image is available for execution on the device"),
            "CUDA 12.6",
            "an old card",
        ),
        (
            RuntimeError("The NVIDIA driver on your system is too old (found version 12040)."),
            "driver is older",
            "an old driver",
        ),
        (
            ValueError("GRPOTrainer does not support `nn.DataParallel`, which …"),
            "CUDA_VISIBLE_DEVICES to one",
            "two cards",
        ),
        (
            RuntimeError("Failed to find C compiler. Please specify via CC environment variable"),
            "apt install gcc",
            "Triton",
        ),
        (subprocess.CalledProcessError(1, ["gcc", "main.c"]), "apt install gcc", "Triton's compiler"),
        (RuntimeError("fatal error: Python.h: No such file or directory"), "python3-dev", "Triton's header"),
        (
            ValueError("Your setup doesn't support bf16/gpu. You need to assign use_cpu"),
            "CUDA_VISIBLE_DEVICES to -1",
            "TRL",
        ),
        (RuntimeError("CUDA error: device-side assert triggered"), "Start the notebook anew", "a card that has failed"),
        (
            NotImplementedError("The operator 'aten::x' is not currently implemented for the MPS device"),
            "Apple",
            "a Mac",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "Lower the batch size", "memory"),
        (OSError(28, "No space left on device"), "The disk is full", "the disk"),
    ),
)
def test_what_libraries_say_becomes_a_sentence_that_says_what_to_change(error, told):
    assert told in explain(error)


def test_a_child_process_speaks_utf_8_where_the_console_does_not(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    asked = subprocess.run

    def ask(command, **options):
        return asked([command[0], "-c", "print('→ ½ 答')"], **options)

    monkeypatch.setattr(keep.subprocess, "run", ask)
    assert keep.ask_anew(tmp_path, []) == "→ ½ 答"


def test_a_ticket_that_somebody_probes_ends_no_training(tmp_path, monkeypatch):
    def busy(self, missing_ok=False):
        raise PermissionError(13, "The process cannot access the file because it is being used by another process")

    with line.turn(lambda in_front: None, lambda: False, folder=tmp_path) as mine:
        assert mine
        monkeypatch.setattr(Path, "unlink", busy)


def test_every_text_says_in_which_encoding_it_stands():
    def is_plain(call: ast.Call) -> bool:
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        named = {keyword.arg for keyword in call.keywords}
        mode = [each.value for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        if name in ("read_text", "write_text"):
            return "encoding" not in named and "utf-8" not in mode
        if name in ("open", "fdopen") and (isinstance(call.func, ast.Name) or name == "fdopen"):
            return "encoding" not in named and not any("b" in each for each in mode)
        return name in ("run", "Popen") and "text" in named and "encoding" not in named

    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in [*(ROOT / "grpo_lessons").rglob("*.py"), *(ROOT / "notebooks").glob("*.py")]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and is_plain(node)
    ]
    assert found == []


SYSTEMS = {  # the machine, and the wheels that it takes; torch's oldest macOS is 14
    "linux": (
        "x86_64",
        "Linux",
        [f"manylinux_2_{minor}_x86_64" for minor in range(5, 29)] + ["manylinux2014_x86_64", "manylinux1_x86_64"],
    ),
    "darwin": ("arm64", "Darwin", [*mac_platforms((14, 0), "arm64")]),
    "win32": ("AMD64", "Windows", ["win_amd64"]),
}


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """What uv resolves the pins to, for all Pythons and systems at once."""
    folder = tmp_path_factory.mktemp("locked")
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8").replace("-e .\n", "")
    pins = [pin for line in text.splitlines() if (pin := line.partition("#")[0].strip())]
    project = f'name = "pins"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = {json.dumps(pins)}\n'
    (folder / "pyproject.toml").write_text(f"[project]\n{project}", encoding="utf-8")
    done = subprocess.run(
        [find_uv(), "lock"], cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=300
    )
    assert done.returncode == 0, done.stderr[-1000:]
    return tomllib.loads((folder / "uv.lock").read_text(encoding="utf-8"))["package"]


@pytest.mark.parametrize("minor", [11, 12, 13, 14])
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_pins_have_wheels_on_four_pythons_and_three_systems(system, minor, locked):
    machine, name, platforms = SYSTEMS[system]
    room = {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.5", "extra": "", "sys_platform": system}
    room |= {"platform_machine": machine, "platform_system": name, "platform_python_implementation": "CPython"}
    taken = {*cpython_tags((3, minor), platforms=platforms), *compatible_tags((3, minor), f"cp3{minor}", platforms)}

    def holds(*markers):
        return not markers or any(Marker(marker).evaluate(room) for marker in markers)

    installed, left = {}, ["pins"]
    while left:
        wanted = left.pop()
        for package in locked:
            if package["name"] == wanted not in installed and holds(*package.get("resolution-markers", [])):
                installed[wanted] = package
                extras = package.get("optional-dependencies", {}).values()
                needs = [*package.get("dependencies", []), *(each for extra in extras for each in extra)]
                left += [each["name"] for each in needs if holds(*filter(None, [each.get("marker")]))]
    assert "torch" in installed and len(installed) > 100
    for package in [each for name, each in installed.items() if name != "pins"]:
        wheels = [unquote(wheel["url"].rpartition("/")[2]) for wheel in package.get("wheels", [])]
        assert any(parse_wheel_filename(wheel)[3] & taken for wheel in wheels), package["name"]
