"""What outlives a session: the adapter saved, loaded again, merged, pushed.

The functions stand as a reader would write them, for the lessons show their code.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from grpo_lessons import pocket
from grpo_lessons.runs import Run
from grpo_lessons.text import counted
from grpo_lessons.training import sources
from grpo_lessons.training.handover import hand_over as hand_over
from grpo_lessons.training.session import Trained


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
    """The model, in float32, and tokenizer of an adapter or of a merged model.

    Raises: NoModel if the model that the adapter belongs to is not where it was.
    """
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = Path(folder)
    if not (folder / "adapter_config.json").exists():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    elif (base := _base_of(folder)) is None:
        model = AutoPeftModelForCausalLM.from_pretrained(folder, dtype="float32")
    else:
        from peft import PeftModel

        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype="float32"), folder)
    return model, AutoTokenizer.from_pretrained(folder)


def _base_of(folder: Path) -> Path | None:
    """Where an adapter's first model is now, if it is a folder that was moved; None if it is where it was, or on the Hub."""
    was = json.loads((folder / "adapter_config.json").read_text("utf-8"))["base_model_name_or_path"]
    if not Path(was).is_absolute() or Path(was).exists():
        return None
    if Path(was).parts[-2:] == pocket.PATH.parts[-2:]:
        return pocket.PATH  # the course has moved, and the pocket model with it
    raise sources.NoModel(
        f"The adapter in `{folder}` belongs to the model in `{was}`, and that folder is not there any more. "
        f"Put it back, or write where it is now into `base_model_name_or_path` of `{folder / 'adapter_config.json'}`."
    )


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


def elsewhere(merged: str | Path) -> str:
    """Commands by which other programs take a merged model: for a machine that has them, for the course brings none of them.

    >>> elsewhere("runs/format/merged").splitlines()[0]
    'vllm serve runs/format/merged'
    """
    return (
        f"vllm serve {merged}\n\n"
        "# a file for llama.cpp and Ollama: the converter comes with llama.cpp's source\n"
        "git clone --depth 1 https://github.com/ggml-org/llama.cpp\n"
        "pip install sentencepiece  # all that it lacks; its requirements.txt would bring older torch and transformers\n"
        f"python llama.cpp/convert_hf_to_gguf.py {merged} --outfile {merged}.gguf\n\n"
        f"llama-cli -m {merged}.gguf  # to talk to it; llama-server takes the same, and serves it\n\n"
        f'echo "FROM {merged}.gguf" > Modelfile\n'
        "ollama create mine && ollama run mine"
    )


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
    speaks = os.environ | {"PYTHONIOENCODING": "utf-8"}  # Windows' own would be cp1252
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=speaks)
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


if __name__ == "__main__":
    print(ask(*load(sys.argv[1]), json.loads(sys.argv[2])))
