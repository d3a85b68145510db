"""What outlives a session: saved, loaded elsewhere, merged, pushed; gone on with after a kill; handed over to `trl grpo`."""

import functools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean

import gguf
import pytest
import yaml
from safetensors.numpy import load_file

from grpo_lessons import here
from grpo_lessons.calling import load_reward
from grpo_lessons.lesson import keeping
from grpo_lessons.problems import sums, texts
from grpo_lessons.rewards import LengthReward, answer_reward, format_reward, tag_reward
from grpo_lessons.runs import Run
from grpo_lessons.training import Plan, Settings, keep, train, unfinished
from grpo_lessons.training.watch import NOBODY
from notebooks.grpo_format import TutorialReward
from tests.support.lessons import opened

ROOT = Path(__file__).parents[1]
QUESTION = [{"role": "user", "content": "What is 12 + 45 + 38?"}]


def test_a_saved_adapter_says_the_same_in_a_new_process_and_merged(short, tmp_path):
    trained = short[0]
    here = keep.ask(trained.model, trained.tokenizer, QUESTION).strip()
    assert here
    keep.save(trained, tmp_path)
    assert keep.ask_anew(tmp_path, QUESTION) == here
    assert keep.ask(*keep.load(keep.merge(tmp_path)), QUESTION).strip() == here


def test_a_merged_model_is_a_model_to_train_on(short, tmp_path):
    keep.save(short[0], tmp_path)
    merged = keep.merge(tmp_path)
    run = train(Plan(Settings(model=str(merged), steps=1, batch_size=8), [format_reward], sums(8))).run
    assert run.state == "finished" and run.provenance["weights"] == "the folder merged"


def test_a_merged_model_has_all_that_the_converter_to_gguf_reads(short, tmp_path):
    keep.save(short[0], tmp_path)
    merged = keep.merge(tmp_path)
    config = json.loads((merged / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    read = gguf.SpecialVocab(merged, load_merges=True)  # by which the converter reads a tokenizer
    assert read.chat_template == short[0].tokenizer.chat_template and read.merges
    assert read.special_token_ids["eos"] == short[0].tokenizer.eos_token_id
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    weights = load_file(merged / "model.safetensors")
    assert weights and [name for name in weights if names.get_name(name, (".weight",)) is None] == []


def test_a_saved_adapter_has_a_card_and_its_record_and_saving_again_replaces_it(short, tmp_path):
    for _ in range(2):
        keep.save(short[0], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]
    card = (tmp_path / "adapter/README.md").read_text()
    assert (
        "FormatReward(tags=('think', 'answer'))" in card
        and "| answer_reward | " in card
        and "ships with the course" in card
    )
    assert Run.load(tmp_path / "adapter/run.json") == Run.from_json(short[0].run.to_json())


def test_pushing_without_a_token_says_how_to_get_one(short, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._headers.get_token", lambda: None)
    monkeypatch.setattr("huggingface_hub.hf_api.get_token", lambda: None)
    with pytest.raises(Exception) as caught:
        keep.push(tmp_path, "you/my-model")
    assert "hf auth login" in keep.not_pushed(caught.value)
    forbidden = OSError("Make sure your token has the correct permissions.")
    forbidden.response = type("Response", (), {"status_code": 403})
    assert "*write* access" in keep.not_pushed(forbidden)
    assert "out of reach" in keep.not_pushed(ConnectionError("no route"))


KILLED = """
import os, sys
from pathlib import Path
from grpo_lessons.training import Watch
from tests.test_keep import going
def killed(phase, run):
    if run.steps_done == 4:
        os.kill(os.getpid(), 9)
going(Watch(update=killed), checkpoints=Path(sys.argv[1]))
"""


def going(watch=NOBODY, **options):
    plan = Plan(Settings(steps=6, batch_size=16), [format_reward], sums(64), held_out=sums(8, split="held-out"))
    return train(plan, watch, **options).run


def test_a_killed_training_goes_on_from_its_checkpoint_as_if_nothing_had_happened(tmp_path):
    whole = going()
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    left = unfinished(tmp_path)
    assert left.run.state == "running" and 1 <= left.run.steps_done <= 4
    resumed = going(checkpoints=tmp_path, resume=True)
    assert resumed.state == "finished" and resumed.steps_done == 6
    for was, now in zip(whole.metrics, resumed.metrics, strict=True):
        assert (was["step"], was["reward"]) == (now["step"], now["reward"])
        assert was["grad_norm"] == pytest.approx(now["grad_norm"], rel=1e-4)
    assert [group.completions for group in resumed.groups] == [group.completions for group in whole.groups]
    assert unfinished(tmp_path) is None and not list(tmp_path.glob("checkpoint-*"))


def test_where_nothing_can_be_written_a_training_goes_on_without_checkpoints(tmp_path):
    (tmp_path / "file").write_text("")
    assert going(checkpoints=tmp_path / "file/unfinished").state == "finished"


def test_a_checkpoint_without_a_record_or_of_a_running_training_is_not_offered(tmp_path):
    from filelock import FileLock

    assert unfinished(None) is None and unfinished(tmp_path / "nowhere") is None
    (tmp_path / "checkpoint-3").mkdir()
    assert unfinished(tmp_path) is None  # killed while it was written
    Run(settings={"steps": 6}).save(tmp_path / "checkpoint-3/run.json")
    assert unfinished(tmp_path).checkpoint.name == "checkpoint-3"
    with FileLock(tmp_path / "lock"):
        assert unfinished(tmp_path) is None
    (tmp_path / "checkpoint-4").mkdir()
    (tmp_path / "checkpoint-4/run.json").write_text("{damaged")
    assert unfinished(tmp_path).checkpoint.name == "checkpoint-3"
    with pytest.raises(ValueError, match="no unfinished training"):
        train(Plan(Settings(), [format_reward], sums(64)), checkpoints=tmp_path / "nowhere", resume=True)


def trl(folder: str, command: str, cwd: Path) -> list[float]:
    """Run a written command from the course's folder; the reward of each step."""
    (cwd / "grpo_lessons").symlink_to(ROOT / "grpo_lessons")
    (cwd / "notebooks").symlink_to(ROOT / "notebooks")
    program, *options = command.split()
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *options],
        cwd=cwd,
        env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (cwd / folder / "trl/adapter_model.safetensors").exists(), done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("{'loss'")]
    return [float(eval(line)["reward"]) for line in lines]


def test_the_written_folder_trains_the_same_on_one_process_and_on_two(tmp_path):
    settings = Settings(
        steps=8, batch_size=32, beta=0.0, reward_weights=(1.0, 0.0)
    )  # the second is asked, and changes nothing
    plan = Plan(settings, [format_reward, TutorialReward()], sums(512))
    here = [row["reward"] for row in train(plan).run.metrics]

    def there(more):
        place = tmp_path / str(len(more))
        command = keep.hand_over(plan, place, "runs/format") + more
        config = yaml.safe_load((place / "runs/format/config.yaml").read_text())
        assert config["reward_funcs"] == ["grpo_lessons.rewards.format_reward", "runs.format.rewards.reward_2"]
        assert command in (place / "runs/format/README.md").read_text()
        return trl("runs/format", command, place)

    with ThreadPoolExecutor() as pool:
        for rewards in pool.map(there, ("", " --num_processes 2 --per_device_train_batch_size 16")):
            assert len(rewards) == 8
            # other samples of the same training: 256 completions, of which about half succeed
            assert fmean(rewards) == pytest.approx(fmean(here), abs=0.15), (here, rewards)
            assert fmean(rewards[-2:]) > fmean(rewards[:2])


def test_rewards_without_a_name_of_their_own_are_written_into_a_module(tmp_path):
    rewards = [answer_reward, tag_reward, LengthReward(40), TutorialReward()]
    settings = Settings(steps=1, batch_size=16, reward_weights=(1.0, 0.5, 0.1, 0.1))
    keep.hand_over(Plan(settings, rewards, sums(64)), tmp_path, "runs/mixed")
    names = yaml.safe_load((tmp_path / "runs/mixed/config.yaml").read_text())["reward_funcs"]
    assert names == [
        "grpo_lessons.rewards.answer_reward",
        "grpo_lessons.rewards.tag_reward",
        "runs.mixed.rewards.reward_3",
        "runs.mixed.rewards.reward_4",
    ]
    module: dict = {}
    exec((tmp_path / "runs/mixed/rewards.py").read_text(), module)
    assert module["reward_3"] == LengthReward(40) and module["reward_4"] == TutorialReward()
    keep.hand_over(Plan(Settings(), [LengthReward()], texts(64)), tmp_path, "runs/mixed")
    assert not (tmp_path / "runs/mixed/rewards.py").exists()


WANTED = 30


def shortness(text: str) -> float:
    # a comment stays
    return -abs(len(text) - WANTED) / WANTED


def brief(completions, **kwargs):
    return [shortness(json.dumps(completion)) for completion in completions]


def test_a_reward_of_ones_own_goes_into_the_folder_with_all_that_it_uses(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "grpo_lessons.training.handover._is_importable", lambda value: value is TutorialReward
    )  # as in a notebook

    def longer(completions, least, **kwargs):
        return [float(shortness(str(each)) > least) for each in completions]

    rewards = [brief, functools.partial(longer, least=-0.5)]
    keep.hand_over(Plan(Settings(batch_size=16), rewards, sums(64)), tmp_path, "runs/own")
    assert yaml.safe_load((tmp_path / "runs/own/config.yaml").read_text())["reward_funcs"] == [
        "runs.own.rewards.brief",
        "runs.own.rewards.reward_2",
    ]
    text = (tmp_path / "runs/own/rewards.py").read_text()
    assert "# a comment stays" in text and text.count("def shortness") == 1 and "WANTED = 30" in text
    asked = "import json; from runs.own.rewards import brief, reward_2; print(brief(completions=['x']), reward_2(completions=['x']))"
    done = subprocess.run([sys.executable, "-c", asked], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == f"{brief(completions=['x'])} {longer(completions=['x'], least=-0.5)}", done.stderr


def test_what_could_not_run_is_refused_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("grpo_lessons.training.handover._is_importable", lambda value: False)
    opened = (tmp_path / "open").open("w")

    def logs(completions, **kwargs):
        opened.write("x")
        return [0.0 for _ in completions]

    with pytest.raises(ValueError, match="`logs` uses `opened`, a TextIOWrapper that only this notebook has"):
        keep.hand_over(Plan(Settings(batch_size=16), [logs], sums(64)), tmp_path, "runs/own")
    nameless = lambda completions, **kwargs: [0.0 for _ in completions]  # noqa: E731
    with pytest.raises(ValueError, match=r"cannot be found\. Write it as a function with `def`"):
        keep.hand_over(Plan(Settings(batch_size=16), [nameless], sums(64)), tmp_path, "runs/own")
    assert not (tmp_path / "runs/own/config.yaml").exists()


def test_the_folder_tells_what_right_answers_have_no_value(tmp_path):
    rows = [row | {"answer": None} if at == 3 else row for at, row in enumerate(sums(64))]
    keep.hand_over(Plan(Settings(batch_size=16), [answer_reward], rows), tmp_path, "runs/math")
    assert "row 4, answer=None" in (tmp_path / "runs/math/README.md").read_text()
    with pytest.raises(ValueError, match="No right answer can be read"):
        keep.hand_over(
            Plan(Settings(batch_size=16), [answer_reward], [row | {"answer": ""} for row in rows]), tmp_path, "runs/no"
        )


def test_an_adapter_whose_model_has_moved_says_where_it_was_and_one_of_the_pocket_model_finds_it(short, tmp_path):
    told = keep.save(short[0], tmp_path) / "adapter_config.json"
    config = json.loads(told.read_text())
    told.write_text(json.dumps(config | {"base_model_name_or_path": "/an/older/clone/grpo_lessons/pocket/model"}))
    assert keep.ask(*keep.load(tmp_path / "adapter"), QUESTION)
    told.write_text(json.dumps(config | {"base_model_name_or_path": "/models/mine"}))
    with pytest.raises(
        Exception, match="belongs to the model in `/models/mine`, and that folder is not there any more"
    ):
        keep.load(tmp_path / "adapter")


@pytest.mark.parametrize("where", ["runs/own", "elsewhere/my runs.v2/own"])
def test_the_printed_command_finds_all_it_names_from_the_folder_that_is_printed(where, tmp_path, monkeypatch):
    """As `trl grpo` does: the configuration and the data from where it is run, a reward as a module from there."""
    monkeypatch.setattr(here, "NOTEBOOKS", tmp_path / "notebooks")
    (tmp_path / where).mkdir(parents=True)
    (tmp_path / "mine.py").write_text("def score(completions, **kwargs):\n    return [0.5 for _ in completions]\n")
    reward = load_reward(str(tmp_path / "mine.py:score"))
    plan = Plan(Settings(batch_size=16), [reward, answer_reward], sums(64))
    said = keeping._handed_over(plan, opened(folder=tmp_path / where))
    place, command = re.search(r"```bash\ncd (.*)\n(.*)\n```", said).groups()
    place = Path(*shlex.split(place))
    file = place / command.removeprefix("trl grpo --config ")
    config = yaml.safe_load(file.read_text())
    assert (place / config["dataset_name"] / "train.jsonl").is_file() and file.with_name("README.md").is_file()
    assert (place / config["model_name_or_path"] / "config.json").is_file()
    names = [name.rsplit(".", 1) for name in config["reward_funcs"]]
    code = "import importlib, os, sys; sys.path.insert(0, os.getcwd()); " + "; ".join(
        f"print(importlib.import_module({module!r}).{name}(completions=['2'], answer=['2']))" for module, name in names
    )
    env = os.environ | {"PYTHONPATH": str(Path(keeping.__file__).parents[2])}  # the course is installed
    done = subprocess.run([sys.executable, "-c", code], cwd=place, env=env, capture_output=True, text=True)
    assert done.stdout == "[0.5]\n[1.0]\n", done.stderr
