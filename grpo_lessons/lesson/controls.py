"""What a learner may choose for every training, and where the choices begin and end; a lesson adds its own."""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import marimo as mo

from grpo_lessons import cards
from grpo_lessons.lesson.lexicon import helped, settings_explained
from grpo_lessons.lesson.opened import MODELS, Opened
from grpo_lessons.lesson.words import fold, warn
from grpo_lessons.luck import MOST
from grpo_lessons.training import SMOLLM2, Plan, Settings, is_pocket, templates
from grpo_lessons.training.machine import gpu, no_gpu
from grpo_lessons.training.sources import is_here

MOST_COMPLETIONS = 96  # of a step


class _Firm:
    """A control that takes nothing but what it offers, and else stays as it is: a page can be made to send anything."""

    def _convert_value(self, value):
        try:
            return self._offered(value)
        except (TypeError, ValueError, LookupError, AssertionError, OverflowError):
            return self._value


class Slider(_Firm, mo.ui.slider):
    """A slider that ends where it ends; marimo's takes any number. `steps`, where it has them, it does look up."""

    def _offered(self, value):
        return min(max(mo.ui.slider._convert_value(self, value), self.start), self.stop)


class Dropdown(_Firm, mo.ui.dropdown):
    """A menu of which something is always chosen."""

    def _offered(self, value):
        (name,) = value
        return mo.ui.dropdown._convert_value(self, [name])


class Checkbox(_Firm, mo.ui.checkbox):
    """Yes or no, and no third."""

    def _offered(self, value):
        return {True: True, False: False}[value]


def model_menu(opened: Opened) -> mo.ui.dictionary:
    """The models to choose from, that of the command line or of this device first; see `chosen_model`."""
    menu = {"preset": Dropdown(opened.models, value=opened.model, label="model")}
    if opened.is_own:  # a visitor of a server shall not fill its disk
        menu["other"] = mo.ui.text(label="or a Hub id, or a folder", max_length=200, full_width=False)
    return mo.ui.dictionary(menu)


def chosen_model(menu: dict) -> str:
    """The name of the chosen model."""
    return (menu.get("other") or "").strip() or menu["preset"]


def about_model(opened: Opened, name: str) -> str:
    """What the choice of a model costs, in a line."""
    if is_pocket(name):
        limited = opened.most_steps < sys.maxsize
        most = f" In this class a training has at most {opened.most_steps} steps." if limited else ""
        takes = "half a minute to a minute" if opened.engines[0] == "TRL" else "less than half a minute"
        # With rows of the reader's own it takes what those take: measured, that stands over the button.
        takes = "it trains" if opened.lesson == "own" else takes
        return f"The tiny model that ships with this course: {takes} on any laptop.{most}"
    kind = "A real model of 135 million parameters: minutes on a laptop." if name == SMOLLM2 else "Wants a GPU."
    if not opened.trains:
        return kind
    if told := no_gpu():
        kind = f"{kind} {told}"
    there = "It is on this machine." if is_here(name) else "It is not on this machine: *Train* fetches it, once."
    return f"{kind} {there}"


def settings_for(model: str, defaults: dict[str, Settings]) -> Settings:
    """A lesson's settings for a model on this device: those of SmolLM2 for any real one, in larger steps on a GPU.

    In float32 up to about a billion weights: a GPU waits for its host there, and 16 bits buy nothing. From half a billion
    on the learning rate is 1e-4 at most, as `lexicon` says.
    """
    settings = replace(defaults["pocket" if is_pocket(model) else SMOLLM2], model=model)
    if not is_pocket(model) and billions(model) >= 0.3:
        settings = replace(settings, learning_rate=min(settings.learning_rate, 1e-4))
    if not is_pocket(model) and (capability := gpu()):
        dtype = "bfloat16" if capability >= 8 and billions(model) > 1.2 else "float32"
        settings = replace(settings, dtype=dtype, batch_size=2 * settings.batch_size, accumulation=4)
    return settings


def billions(model: str) -> float:
    """How many billions of weights a model has, by its name; 0 if the name does not say.

    >>> billions("Qwen/Qwen2.5-1.5B-Instruct"), billions("HuggingFaceTB/SmolLM2-135M-Instruct"), billions("gpt2")
    (1.5, 0.135, 0.0)
    """
    found = re.search(r"(?<![\w.])([0-9]+(?:\.[0-9]+)?)([bm])(?![a-z0-9])", Path(model).name.lower())
    return float(found[1]) / (1 if found[2] == "b" else 1000) if found else 0.0


class Controls:
    """The controls of one opening: how they first stand, and what they say."""

    longest = 64  # tokens of the longest completion that is offered

    def __init__(self, opened: Opened, defaults: dict[str, Settings], batch_in_browser: int | None = None):
        self.opened, self.defaults, self.batch_in_browser = opened, defaults, batch_in_browser
        self.words: dict[str, str] = {}  # of a lesson's own on the command line, and what each expects

    def usual(self, model: str) -> Settings:
        """A lesson's settings for a model; in a browser fewer completions a step where the lesson says so: better to watch."""
        settings = settings_for(model, self.defaults)
        fewer = self.batch_in_browser if is_pocket(model) and self.opened.engines[0] == "browser" else None
        return replace(settings, batch_size=fewer or settings.batch_size)

    def first(self, model: str) -> Settings:
        """The settings of a model as its controls first stand: the lesson's, with what the command line says."""
        settings = self.usual(model)
        given = {name: self.given(getattr(settings, name), name) for name in [*_CHOICES, "batch_size"]}
        return replace(settings, **given)

    def show(self, settings: Settings, **own) -> mo.ui.dictionary:
        """The controls behind a lesson's own.

        Raises: SystemExit for a word on the command line that is no setting; with all of them, and no error, for `--help`.
        """
        known = self.expected(settings)
        if self.opened.is_script and "help" in self.opened.options:
            print(_help(self.opened.lesson, known))
            raise SystemExit(0)
        if unknown := [name for name in self.opened.options if name not in known]:
            word = unknown[0].replace("_", "-")
            raise SystemExit(f"--{word}: no such setting. There are: {', '.join(sorted(known))}.")
        if self.opened.seat:  # so that a class has something to compare
            settings = replace(settings, seed=self.opened.seat.number)
        most = self.opened.most_steps
        offered = list(_CHOICES)
        shared = {name: _CHOICES[name](helped(name), getattr(settings, name), most) for name in offered}
        if self.longest > Controls.longest:
            length = "max_completion_length"
            shared[length] = _slider(helped(length), 8, self.longest, settings.max_completion_length)
        return mo.ui.dictionary(own | shared)

    def expected(self, settings: Settings) -> dict[str, str]:
        """By name, all that the command line may say, and what each expects."""
        models = f"{', '.join(MODELS)}, another of the Hub, or a folder (default: {self.opened.model})"
        firsts = {name: getattr(settings, name) for name in ["batch_size", *_CHOICES]}
        known = self.words | {"model": models} | {name: _expects(_kind(each), each) for name, each in firsts.items()}
        if self.opened.is_script:
            known["seeds"] = f"a whole number from 2 to {MOST}: so many trainings, and how far apart they come"
        return known

    def batch(self, settings: Settings, group_size: int, on_change: Callable[[int], None]) -> mo.ui.slider:
        """How many completions a step has, in whole groups: another slider for every group size."""
        steps = [*range(group_size, max(MOST_COMPLETIONS, group_size) + 1, group_size)]
        if self.opened.options.get(
            "batch_size"
        ):  # a command line may ask for anything, and is told what is wrong with it
            steps = sorted({*steps, settings.batch_size})
        near = min(steps, key=lambda n: (abs(n - settings.batch_size), n))
        return Slider(steps=steps, value=near, show_value=True, label=helped("batch_size"), on_change=on_change)

    def chosen(self, model: str, values: dict, batch_size: int) -> Settings:
        """The settings with what the controls say, within what the class allows."""
        said = {name: values[name] for name in _CHOICES if name in values} | {"batch_size": batch_size}
        settings = replace(self.usual(model), **said)
        return replace(settings, steps=min(settings.steps, self.opened.most_steps))

    def own(self, values: dict) -> dict:
        """What a lesson's own controls say."""
        return {name: value for name, value in values.items() if name not in _CHOICES}

    def choice(self, name: str, options: Sequence, default, label: str = "") -> mo.ui.dropdown:
        """A choice of a lesson's own, as the command line has it, else its default."""
        self.words[name] = _expects(f"one of {', '.join(map(repr, options))}", default)
        return Dropdown(options, value=self.given(default, name, options), label=label or name)

    def number(self, name: str, low: int, high: int, default: int, label: str) -> mo.ui.slider:
        """A whole number of a lesson's own, as `choice`."""
        self.words[name] = _expects(f"a whole number from {low} to {high}", default)
        value = self.given(default, name, range(low, high + 1))
        return Slider(low, high, value=value, show_value=True, label=label)

    def box(self, name: str, default: bool, label: str) -> mo.ui.checkbox:
        """A yes or no of a lesson's own, as `choice`."""
        self.words[name] = _expects(_kind(default), default)
        return Checkbox(value=self.given(default, name), label=label)

    def example_box(self, model: str) -> dict[str, mo.ui.checkbox]:
        """The choice of an example in the prompt, ticked; none for the pocket model, which reads nothing but a question."""
        return {} if is_pocket(model) else {"example": self.box("example", True, "one example in the prompt")}

    def warm_start_box(self) -> mo.ui.checkbox | None:
        """The choice of a warm start, not ticked; none where only a browser trains, whose engine knows no SFT."""
        return self.box("warm_start", False, "twelve worked examples first") if "TRL" in self.opened.engines else None

    def given(self, default, name: str, options: Sequence | None = None):
        """What the command line says for a setting, else its default: of the default's kind, and one of the options.

        Raises: SystemExit if it is not.
        """
        if (text := self.opened.options.get(name)) is None:
            return default
        option = f"--{name.replace('_', '-')} {text!r}"
        try:
            value = {"true": True, "false": False}[text.lower()] if isinstance(default, bool) else type(default)(text)
        except (ValueError, KeyError):
            raise SystemExit(f"{option}: expected {_kind(default)}.") from None
        if options is not None and value not in options:
            raise SystemExit(f"{option}: expected one of {', '.join(map(repr, options))}.")
        return value


def _kind(value: bool | int | float) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number"}[type(value)]


def _expects(kind: str, default) -> str:
    first = (
        str(default).lower() if isinstance(default, bool) else f"{default:g}" if isinstance(default, float) else default
    )
    return f"{kind} (default: {first})"


def _help(lesson: str, known: dict[str, str]) -> str:
    """What `--help` prints."""
    longest = max(map(len, known))
    lines = [f"  --{name.replace('_', '-'):{longest}}  {expects}" for name, expects in known.items()]
    head = f"python notebooks/grpo_{lesson}.py -- [--NAME VALUE] …: trains in this terminal. The settings:"
    return "\n".join([head, "", *lines])


def _slider(label: str, low: int, high: int, value: int) -> mo.ui.slider:
    low, high = min(low, value), max(high, value)  # a command line may ask for more
    return Slider(low, high, value=value, show_value=True, label=label)


def _dropdown(label: str, values: Sequence, value: object) -> mo.ui.dropdown:
    names = {each: f"{each:g}".replace("e-0", "e-") for each in sorted({*values, value})}
    return Dropdown({name: each for each, name in names.items()}, value=names[value], label=label)


# By the name of the setting: its control, made of its label, its value and the most steps that are allowed.
_CHOICES = {
    "steps": lambda label, value, most: _slider(label, min(5, most), min(60, most), min(value, most)),
    "group_size": lambda label, value, most: _slider(label, 2, 16, value),
    "accumulation": lambda label, value, most: _dropdown(label, [1, 2, 4, 8], value),
    "max_completion_length": lambda label, value, most: _slider(label, 8, 64, value),
    "temperature": lambda label, value, most: _dropdown(label, [0.2, 1.0, 1.5], value),
    "learning_rate": lambda label, value, most: _dropdown(
        label, [1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2], value
    ),
    "lora_rank": lambda label, value, most: _dropdown(label, [1, 4, 16, 64], value),
    "beta": lambda label, value, most: _dropdown(label, [0.0, 0.04, 0.1, 0.5], value),
    "seed": lambda label, value, most: _dropdown(label, range(5), value),
    "gradient_checkpointing": lambda label, value, most: Checkbox(value=value, label=label),
}


def show_plan(plan: Plan, folded: bool) -> list[str | mo.Html]:
    """What is wrong with a training, or what a step of it will draw; then its code, and what each setting does."""
    settings = plan.settings
    lora = settings.lora_arguments()
    adapter = mo.Html(cards.page(cards.adapter(lora["r"], lora["lora_alpha"])))
    code = [f"```python\n{plan.code}\n```", adapter, settings_explained()]
    if plan.problem:
        first = mo.callout(mo.md(plan.problem), kind="danger")
    else:
        prompts = settings.batch_size // settings.group_size
        first = f"Each step draws {prompts} prompts and samples {settings.batch_size} completions."
    below = [fold("The same as code, and what each setting does", *code)] if folded else code
    return [first, *_to_know(plan), *below]


def _to_know(plan: Plan) -> list[mo.Html]:
    """What a reader should know of the model and the data before the training, if anything."""
    told = []
    if plan.problem:
        return told
    if opened := templates.opened_by(plan.settings.model):
        words = (
            f"This model's chat template ends every prompt with `{opened}`: a reply begins inside its thought, and writes only "
            f"the end of it. The rewards are told. The format reward reads each reply as if it began with `{opened}`."
        )
        told.append(mo.callout(mo.md(words), kind="info"))
    if (checked := plan.checked_answers) and checked.unreadable:
        told.append(warn(checked.warning))
    return told
