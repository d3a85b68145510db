"""What outlives a session: the adapter saved, loaded again, merged, pushed; and the same training for many GPUs, with `trl grpo`.

The functions stand as a reader would write them, for the lessons show their code.
"""

import inspect
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from grpo_lessons import rewards as shared
from grpo_lessons.problems import save_prompts
from grpo_lessons.rewards import Reward, describe, reward_name
from grpo_lessons.runs import Run
from grpo_lessons.text import counted
from grpo_lessons.training import sources
from grpo_lessons.training.plan import Plan
from grpo_lessons.training.session import Trained
from grpo_lessons.training.settings import Settings


def save(trained: Trained, folder: str | Path) -> Path:
    """Write adapter, tokenizer, model card and the run's record to `folder`/adapter, whole or not at all."""
    adapter, part = Path(folder) / "adapter", Path(folder) / "adapter.part"
    shutil.rmtree(part, ignore_errors=True)
    trained.model.save_pretrained(part, save_embedding_layers=False)
    trained.tokenizer.save_pretrained(part)
    (part / "README.md").write_text(card(trained.run), encoding="utf-8")
    trained.run.save(part / "run.json")
    shutil.rmtree(adapter, ignore_errors=True)
    return part.rename(adapter)


def load(folder: str | Path):
    """The model, in float32, and tokenizer of an adapter or of a merged model."""
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    kind = AutoPeftModelForCausalLM if (Path(folder) / "adapter_config.json").exists() else AutoModelForCausalLM
    return kind.from_pretrained(folder, dtype="float32"), AutoTokenizer.from_pretrained(folder)


def ask(model, tokenizer, conversation: list[dict], tokens: int = 64) -> str:
    """The likeliest reply to a conversation."""
    prompt = tokenizer.apply_chat_template(
        conversation, add_generation_prompt=True, enable_thinking=False, return_tensors="pt", return_dict=True
    )
    reply = model.generate(**prompt.to(model.device), do_sample=False, repetition_penalty=1.0, max_new_tokens=tokens)
    return tokenizer.decode(reply[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)


def merge(folder: str | Path) -> Path:
    """Merge `folder`/adapter into its model: one ordinary checkpoint, which needs neither PEFT nor the first model."""
    model, tokenizer = load(Path(folder) / "adapter")
    merged = Path(folder) / "merged"
    model.merge_and_unload().save_pretrained(merged)
    tokenizer.save_pretrained(merged)  # merge_and_unload leaves it behind
    shutil.copy(Path(folder) / "adapter/README.md", merged)
    return merged


def push(folder: str | Path, name: str) -> str:
    """Push the merged model to the Hugging Face Hub as the private model `name`, such as you/my-model; its address.

    Merged, it loads for everybody: an adapter is of use only to those who have the same first model in the same place.
    """
    from huggingface_hub import create_repo, upload_folder, whoami

    whoami()  # raises without a token, before anything is sent
    create_repo(name, exist_ok=True, private=True)
    upload_folder(repo_id=name, folder_path=merge(folder))
    return f"https://huggingface.co/{name}"


def ask_anew(folder: str | Path, conversation: list[dict]) -> str:
    """What the saved adapter replies in a new process, where nothing of this one is left."""
    command = [
        sys.executable,
        "-m",
        "grpo_lessons.training.keep",
        str(Path(folder) / "adapter"),
        json.dumps(conversation),
    ]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"the new process could not load it: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.strip()


def not_pushed(error: Exception) -> str:
    """Why a push failed, and what to do."""
    name, text = type(error).__name__, str(error)
    status = sources.status_of(error)
    if status == 403:
        return (
            "Your token may not write there. Make one with *write* access on the Hub's site, and `hf auth login` again."
        )
    if name == "LocalTokenNotFoundError" or status == 401:
        return (
            "The Hub wants to know who you are: run `hf auth login` in a terminal, then press again. Nothing was sent."
        )
    if name == "HFValidationError":
        return f"That is no name for a model ({text}). Expected `you/my-model`."
    return f"The Hub is out of reach ({name}). Nothing was sent; press again when the network is back."


def card(run: Run) -> str:
    """The model card of an adapter: what it was trained on, by which rewards, and what came of it."""
    figures = ""
    if run.before and run.after:
        rows = [
            f"| {name} | {run.before.mean(name):.3f} | {run.after.mean(name):.3f} |"
            for name in run.after.completions[0].rewards
        ]
        figures = "\n".join(["| held-out mean | before | after |", "| --- | --- | --- |", *rows]) + "\n"
    what = "\n".join(f"- {name}: {value}" for name, value in (run.provenance | run.settings).items())
    return (
        "---\ntags: [grpo, trl, lora]\n---\n# Trained with GRPO and LoRA\n\n"
        f"Rewarded by {' and '.join(f'`{reward}`' for reward in run.rewards)}, {counted(run.steps_done, 'step')}.\n\n{figures}\n{what}\n\n"
        "Made with GRPO Lessons.\n"
    )


def hand_over(plan: Plan, course: str | Path, name: str) -> str:
    """Write a folder `course`/`name` that runs the same training as `trl grpo`, on one device or many.

    It holds config.yaml, prompts/train.jsonl, a README.md and, for rewards that no module has under a name, rewards.py.

    Returns: the command, to be run in `course`, the folder that holds grpo_lessons.

    Example:
        >>> import tempfile
        >>> plan = Plan(Settings(), [shared.format_reward], [{"prompt": "What is 12 + 45 + 38?"}])
        >>> hand_over(plan, tempfile.mkdtemp(), "runs/format")
        'trl grpo --config runs/format/config.yaml'

    Raises: NoModel if the model cannot be had.
    """
    import yaml

    course, folder, settings = Path(course), Path(name), plan.settings
    save_prompts(plan.prompts, course / folder / "prompts")
    names = _names(plan.rewards, folder, course / folder / "rewards.py")
    model = sources.find(settings.model).name
    if Path(model).is_relative_to(course):
        model = str(Path(model).relative_to(course))
    config = {
        "model_name_or_path": model,
        "dataset_name": str(folder / "prompts"),
        "reward_funcs": names,
        "dtype": settings.dtype,
        "use_peft": True,
        **{f"lora_{name.removeprefix('lora_')}": value for name, value in settings.lora_arguments().items()},
        **settings.grpo_arguments(),
        "output_dir": str(folder / "trl"),
    }
    (course / folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    command = f"trl grpo --config {folder}/config.yaml"
    (course / folder / "README.md").write_text(_readme(settings, model, names, command), encoding="utf-8")
    return command


def _names(rewards: Sequence[Reward], folder: Path, module: Path) -> list[str]:
    """The rewards as dotted names; those that no module has under a name are written into one, `folder`.rewards."""
    names, code = [], []
    for number, reward in enumerate(rewards, 1):
        known = [name for name, each in vars(shared).items() if name.endswith("_reward") and each == reward]
        if known:
            names.append(f"grpo_lessons.rewards.{known[0]}")
        elif inspect.isfunction(reward):
            names.append(f"{reward.__module__}.{reward_name(reward)}")
        else:
            kind = type(reward)
            code.append(f"from {_module(kind)} import {kind.__name__}\n\nreward_{number} = {describe(reward)}\n")
            names.append(".".join([*folder.parts, "rewards", f"reward_{number}"]))
    module.unlink(missing_ok=True)
    if code:
        module.write_text("\n".join(code), encoding="utf-8")
    return names


def _module(kind: type) -> str:
    """Where a reward's class can be imported from; a running notebook is called by its file's name."""
    if kind.__module__.startswith(("grpo_lessons", "notebooks")):
        return kind.__module__
    return f"notebooks.{Path(sys.modules[kind.__module__].__file__).stem}"


def _readme(settings: Settings, model: str, names: list[str], command: str) -> str:
    batch = settings.batch_size // settings.accumulation
    rows = [
        f"| {n} | `{command} --num_processes {n} --per_device_train_batch_size {batch // n}` |"
        for n in (2, 4, 8)
        if batch % n == 0
    ]
    elsewhere = sources.PRESETS.get(settings.model, settings.model)
    moved = f" On another machine name `{elsewhere}` instead." if Path(model).is_absolute() else ""
    return (
        "# The training of a lesson, for `trl grpo`\n\n"
        "From the folder of the course, in its environment:\n\n"
        f"```bash\n{command}\n```\n\n"
        f"`config.yaml` holds every setting, `prompts` the data set; the model is `{model}`.{moved} The rewards are {', '.join(f'`{name}`' for name in names)}.\n"
        "`trl` runs on accelerate: more processes (GPUs, or CPUs) take a share of each step's completions, so that the step stays the same.\n\n"
        "| processes | command |\n| --- | --- |\n" + "\n".join(rows) + "\n\n"
        "For DeepSpeed or FSDP add `--accelerate_config zero2`, `zero3` or `fsdp2`; for vLLM `--use_vllm true`.\n"
    )


if __name__ == "__main__":
    print(ask(*load(sys.argv[1]), json.loads(sys.argv[2])))
