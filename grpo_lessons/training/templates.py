"""What a chat template does to a prompt, known without loading a model: whether it opens a thought, whether it takes the roles."""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from grpo_lessons.text import opened_thought
from grpo_lessons.training import sources
from grpo_lessons.training.settings import CHAT


def opens(tokenizer) -> str:
    """The mark of the thought that a tokenizer's template opens at the end of a prompt, or ""."""
    try:
        asked = [{"role": "user", "content": "?"}]
        return opened_thought(tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True, **CHAT))
    except Exception:  # a template may refuse anything; `refused` tells of the prompts that are asked
        return ""


def opened_by(name: str) -> str:
    """The same of a model's name, read from its files, if they are here; no library is loaded for it.

    >>> opened_by("pocket")
    ''
    """
    if name == "pocket" or not sources.is_here(name):
        return ""
    return _opened_in(sources.find(name).path)


@lru_cache(maxsize=32)
def _opened_in(folder: Path) -> str:
    return opened_thought(_rendered(folder, [{"role": "user", "content": "?"}]) or "")


def as_given(name: str, prompt: list[dict]) -> tuple[str, int | None] | None:
    """A prompt as a model is given it, through its chat template, and how many tokens that is; no library of models is loaded.

    None for a model that is not here, or has no template that renders; no count without a `tokenizer.json`.

    >>> as_given("pocket", [{"role": "user", "content": "What is 1 + 1?"}])
    ('<|user|>What is 1 + 1?<|end|><|assistant|>', 11)
    """
    if not sources.is_here(name):
        return None
    folder = sources.find(name).path
    if not (text := _rendered(folder, prompt)):
        return None
    return text, _count(folder / "tokenizer.json", text)


def _count(file: Path, text: str) -> int | None:
    from tokenizers import Tokenizer

    try:
        return len(Tokenizer.from_file(str(file)).encode(text, add_special_tokens=False).ids)
    except Exception:  # a file that is not there, or of another kind: the library raises no type of its own
        return None


def _rendered(folder: Path, messages: list[dict]) -> str | None:
    """What the template in a folder makes of messages; None without one, or where the tokenizer itself has to tell why."""
    template = _template(folder)
    if not template:
        return None
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals |= {"strftime_now": lambda _: "", "raise_exception": lambda _: ""}
    environment.filters["tojson"] = lambda value, **_: json.dumps(value)
    marks = {name: _mark(folder, name) for name in ("bos_token", "eos_token")}
    try:
        return environment.from_string(template).render(
            messages=messages, add_generation_prompt=True, tools=None, **marks, **CHAT
        )
    except (TemplateError, TypeError, ValueError, LookupError):
        return None


def _mark(folder: Path, name: str) -> str:
    try:
        told = json.loads((folder / "tokenizer_config.json").read_text("utf-8")).get(name)
    except (OSError, ValueError):
        return ""
    return told.get("content", "") if isinstance(told, dict) else told or ""


def _template(folder: Path) -> str:
    try:
        if (file := folder / "chat_template.jinja").exists():
            return file.read_text("utf-8")
        told = json.loads((folder / "tokenizer_config.json").read_text("utf-8")).get("chat_template")
    except (OSError, ValueError):
        return ""
    if isinstance(told, list):  # several by name
        told = next((each.get("template") for each in told if each.get("name") == "default"), None)
    return told if isinstance(told, str) else ""


def refused(tokenizer, rows: Sequence[dict]) -> str | None:
    """Why a model's template does not take these prompts, and what to change; None if it does.

    One prompt of every order of roles is tried.
    """
    tried = set()
    for at, row in enumerate(rows, 1):
        prompt = row["prompt"]
        if isinstance(prompt, str) or (roles := tuple(message["role"] for message in prompt)) in tried:
            continue
        tried.add(roles)
        try:
            tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True, **CHAT)
        except Exception as error:  # whatever a template may raise
            mend = (
                "Put what the system says at the head of the first user message."
                if "system" in roles
                else "Bring the messages into an order that it takes: user and assistant in turns."
            )
            return (
                f"The chat template of `{Path(tokenizer.name_or_path).name}` refuses row {at}, column 'prompt', "
                f"with the roles {', '.join(roles)} ({str(error)[:120]}). {mend}"
            )
    return None
