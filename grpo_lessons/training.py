"""A training session: LoRA and GRPOTrainer on a list of prompts, watched while it runs, stoppable, kept at the end.

Torch, transformers, trl, peft and datasets are imported when a session starts, not before.
"""

import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev

from grpo_lessons import device, models
from grpo_lessons.groups import combined, is_dead, weighted_sum
from grpo_lessons.rewards import Reward, describe, reward_name
from grpo_lessons.runs import Completion, Evaluation, Group, Run
from grpo_lessons.text import completion_text, question

TINY = 5_000_000  # parameters
_loading = threading.Lock()


@dataclass(frozen=True)
class Settings:
    """What a learner chooses before pressing Train. The defaults suit the pocket model on two CPU cores.

    `batch_size` counts completions, as TRL does: a step draws `batch_size / group_size` prompts.
    """

    model: str = "pocket"
    steps: int = 25
    group_size: int = 8
    batch_size: int = 64
    learning_rate: float = 3e-3
    max_grad_norm: float = 0.3
    temperature: float = 1.0
    beta: float = 0.1
    scale_rewards: str = "group"
    reward_weights: tuple[float, ...] | None = None
    multi_objective_aggregation: str = "sum_then_normalize"
    max_completion_length: int = 48
    mask_truncated_completions: bool = False
    lora_rank: int = 16
    seed: int = 0

    @property
    def problem(self) -> str | None:
        """Why TRL would refuse these settings, and what to change; None if it would not.

        >>> Settings(group_size=8, batch_size=60).problem
        'A batch of 60 completions cannot be cut into groups of 8. Choose a multiple of 8, such as 56 or 64.'
        """
        size, batch = self.group_size, self.batch_size
        if size < 2:
            return f"A group of {size} has nothing to compare with. Choose at least 2 completions for each prompt."
        if batch < size or batch % size:
            near = sorted({max(size, batch // size * size), (batch // size + 1) * size})
            choices = " or ".join(map(str, near))
            return (
                f"A batch of {batch} completions cannot be cut into groups of {size}. "
                f"Choose a multiple of {size}, such as {choices}."
            )
        return None

    def grpo_arguments(self) -> dict:
        """The keyword arguments of GRPOConfig: what the session uses, to the letter, and what the lesson shows."""
        return {
            "output_dir": "runs/grpo",
            "max_steps": self.steps,
            "num_generations": self.group_size,
            "per_device_train_batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "max_grad_norm": self.max_grad_norm,
            "temperature": self.temperature,
            "beta": self.beta,
            "scale_rewards": self.scale_rewards,
            **self._unusual(),
            "max_completion_length": self.max_completion_length,
            "gradient_checkpointing": False,
            "bf16": False,
            "logging_steps": 1,
            "save_strategy": "no",
            "disable_tqdm": True,
            "seed": self.seed,
        }

    def _unusual(self) -> dict:
        """What stays out of the shown code as long as it is as TRL has it."""
        weights = {} if self.reward_weights is None else {"reward_weights": list(self.reward_weights)}
        names = ("multi_objective_aggregation", "mask_truncated_completions")
        return weights | {n: getattr(self, n) for n in names if getattr(self, n) != getattr(Settings, n)}

    def code(self, rewards: Sequence[Reward]) -> str:
        """The session as Python: the same calls with the same arguments (`load` is `grpo_lessons.models.load`)."""
        arguments = "".join(f"    {name}={value!r},\n" for name, value in self.grpo_arguments().items())
        return (
            f"config = GRPOConfig(\n{arguments})\n"
            f"model, tokenizer = load({self.model!r})\n"
            "trainer = GRPOTrainer(\n"
            "    model=model,\n"
            "    processing_class=tokenizer,\n"
            f"    reward_funcs=[{', '.join(map(describe, rewards))}],\n"
            "    train_dataset=Dataset.from_list(prompts),\n"
            "    args=config,\n"
            f"    peft_config=LoraConfig({', '.join(f'{k}={v!r}' for k, v in self.lora_arguments().items())}),\n"
            ")\n"
            "trainer.train()"
        )

    def command(self, rewards: Sequence[str], folder: str) -> str:
        """The session as a `trl grpo` command, with rewards of `grpo_lessons.rewards` by name, on `folder`/prompts."""
        options = {
            "model_name_or_path": "grpo_lessons/pocket/model" if self.model == "pocket" else self.model,
            "dataset_name": f"{folder}/prompts",
            "reward_funcs": [f"grpo_lessons.rewards.{reward}" for reward in rewards],
            "use_peft": True,
            "lora_r": self.lora_rank,
            "lora_alpha": 2 * self.lora_rank,
            "lora_target_modules": "all-linear",
            "dtype": "float32",
            **self.grpo_arguments(),
            "output_dir": f"{folder}/trl",
        }
        words = {name: value if isinstance(value, list) else [value] for name, value in options.items()}
        return "trl grpo" + "".join(f" \\\n  --{name} {' '.join(map(str, each))}" for name, each in words.items())

    def lora_arguments(self) -> dict:
        """The keyword arguments of LoraConfig: an adapter on every linear layer, twice its rank as scale."""
        return {"r": self.lora_rank, "lora_alpha": 2 * self.lora_rank, "target_modules": "all-linear"}


@dataclass
class Trained:
    """What a session leaves: the record, and the model with its adapter, ready to generate or to be saved."""

    run: Run
    model: object = None  # None if the session ended while it waited for the device
    tokenizer: object = None

    def save(self, folder: str | Path) -> Path:
        """Write adapter and tokenizer to a folder; `AutoPeftModelForCausalLM.from_pretrained(folder)` loads them."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        return Path(folder)


def train(
    settings: Settings,
    rewards: Sequence[Reward],
    prompts: list[dict],
    held_out: list[dict] = (),
    judges: Sequence[Reward] = (),
    on_update: Callable[[str, Run], None] = lambda phase, run: None,
    should_stop: Callable[[], bool] = lambda: False,
    sample_every: int = 1,
    evaluate_every: int = 0,
) -> Trained:
    """Train with GRPO and return the model and the record of the run.

    Args:
        settings: see `Settings`.
        rewards: TRL reward functions; the reward trained on is their sum, weighted by `settings.reward_weights`.
        prompts: rows with a "prompt" (conversation or string) and whatever columns the rewards ask for.
        held_out: rows that are never trained on, answered once before and once after.
        judges: rewards that score the held-out answers (default: `rewards`) and the completions of every step; they do
            not touch the training.
        on_update: called with a phase in words and the run so far, after every step and between phases.
        should_stop: asked between steps; when true the session ends after the step and keeps what was learnt.
        sample_every: one group is recorded at every so-many-th step.
        evaluate_every: the held-out prompts are also answered after every so-many-th step (0: never).

    Raises:
        ValueError: for settings that TRL would refuse, too few prompts, or two rewards of one name.
        Errors of the libraries come through; `explain` puts any of them into a sentence.
    """
    _check(settings, rewards, prompts)
    run = Run(settings=dict(vars(settings)), rewards=[describe(reward) for reward in rewards])
    with device.turn(
        waiting=lambda ahead: on_update(device.in_words(ahead), run),
        should_stop=should_stop,
    ) as mine:
        if not mine:
            run.state = "stopped"
            return Trained(run)
        return _train(
            settings,
            rewards,
            prompts,
            held_out,
            judges or rewards,
            on_update,
            should_stop,
            sample_every,
            evaluate_every,
            run,
        )


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
def _threads_for(model):
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


def _merge_while_generating(model) -> None:
    """Sample with the adapter merged into the weights: one matrix product a layer instead of three, the same tokens."""
    generate = model.generate

    def merged(*args, **kwargs):
        model.merge_adapter()
        try:
            return generate(*args, **kwargs)
        finally:
            model.unmerge_adapter()

    model.generate = merged


def _train(
    settings, rewards, prompts, held_out, judges, on_update, should_stop, sample_every, evaluate_every, run
) -> Trained:
    on_update("Loading torch and TRL (a few seconds the first time)", run)
    load_libraries()
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PrinterCallback, set_seed
    from trl import GRPOConfig, GRPOTrainer

    on_update(f"Loading the model {settings.model}", run)
    model, tokenizer = models.load(settings.model)
    run.provenance = _provenance(settings.model)

    def answer(model):
        return models.evaluate(model, tokenizer, held_out, judges, settings.max_completion_length)

    with _threads_for(model):
        set_seed(settings.seed)
        if held_out:
            on_update(f"Answering {len(held_out)} held-out prompts, before", run)
            run.before = answer(model)

        ledger = _Ledger(settings, judges)
        trainer = GRPOTrainer(
            model=model,
            processing_class=tokenizer,
            reward_funcs=[ledger.watch(reward) for reward in rewards],
            train_dataset=Dataset.from_list(prompts),
            args=GRPOConfig(**settings.grpo_arguments()),
            peft_config=LoraConfig(**settings.lora_arguments()),
            callbacks=[_watcher(run, ledger, settings, on_update, should_stop, sample_every)],
        )
        trainer.remove_callback(PrinterCallback)
        _merge_while_generating(trainer.model)
        if held_out and evaluate_every:
            trainer.add_callback(_examiner(run, lambda: answer(trainer.model), evaluate_every))
        on_update(f"Step 1 of {settings.steps}: sampling", run)
        trainer.train()

        run.state = "stopped" if run.steps_done < settings.steps else "finished"
        if held_out:
            on_update(f"Answering {len(held_out)} held-out prompts, after", run)
            run.after = answer(trainer.model)
            if evaluate_every and run.metrics:
                run.metrics[-1] |= run.after.as_metrics()
    return Trained(run, trainer.model, tokenizer)


class _Ledger:
    """Writes down what the reward functions see and say in a step: the public way to a step's completions."""

    def __init__(self, settings: Settings, judges: Sequence[Reward]):
        self.settings, self.judges = settings, judges
        self.rewards, self.seen, self.scores = {}, {}, {}

    def watch(self, reward: Reward) -> Reward:
        """The same reward under the same name, written down."""

        def watched(**seen):
            self.seen, self.scores[name] = seen, reward(**seen)
            return self.scores[name]

        watched.__name__ = name = reward_name(reward)
        self.rewards[name] = reward
        return watched

    def rewards_RPG(self) -> list[list[list[float]]]:
        """What each reward said in this step."""
        size = self.settings.group_size
        filled = [[score or 0.0 for score in scores] for scores in self.scores.values()]
        return [[scores[i : i + size] for i in range(0, len(scores), size)] for scores in filled]

    def metrics(self) -> dict[str, float]:
        """What TRL does not log: the spread within the groups, that of the lengths, and what the judges say."""
        rewards_PG = weighted_sum(self.rewards_RPG(), self.settings.reward_weights)
        judged = {reward_name(judge): self._judged(judge) for judge in self.judges}
        return {
            "within_group_std": fmean(stdev(group) for group in rewards_PG),
            "completions/std_length": stdev(map(len, self.seen["completion_ids"])),
            **{f"judges/{name}/mean": fmean(score or 0.0 for score in scores) for name, scores in judged.items()},
        }

    def _judged(self, judge: Reward) -> list[float | None]:
        known = self.rewards.get(reward_name(judge)) == judge  # of one name, another tolerance: another judge
        return self.scores[reward_name(judge)] if known else judge(**self.seen)

    def group(self, number: int) -> Group:
        """The first group of the step whose rewards differ, else the first: a group that shows what there is to see."""
        chosen = self.settings
        rewards_RPG = self.rewards_RPG()
        rewards_PG = weighted_sum(rewards_RPG, chosen.reward_weights)
        at = next((i for i, group in enumerate(rewards_PG) if not is_dead(group)), 0)
        rows = range(at * chosen.group_size, (at + 1) * chosen.group_size)
        advantages_PG = combined(
            rewards_RPG, chosen.reward_weights, chosen.multi_objective_aggregation, chosen.scale_rewards
        )
        return Group(
            step=number,
            prompt=question(self.seen["prompts"][rows[0]]),
            completions=[
                Completion(
                    text=completion_text(self.seen["completions"][i]),
                    tokens=len(self.seen["completion_ids"][i]),
                    rewards={name: scores[i] for name, scores in self.scores.items()},
                    advantage=advantage,
                )
                for i, advantage in zip(rows, advantages_PG[at], strict=True)
            ],
        )


def _watcher(run: Run, ledger: _Ledger, settings: Settings, on_update, should_stop, sample_every: int):
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            self.started = time.perf_counter()

        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop |= should_stop()

        def on_log(self, args, state, control, logs=None, **kwargs):
            if "reward" not in logs:  # the summary that ends a training
                return
            run.metrics.append(
                {key: value for key, value in logs.items() if isinstance(value, (int, float))}
                | {"step": state.global_step, "seconds": round(time.perf_counter() - self.started, 3)}
                | ledger.metrics()
            )
            if (state.global_step - 1) % sample_every == 0:
                run.groups.append(ledger.group(state.global_step))
            ledger.scores.clear()
            on_update(f"Step {state.global_step} of {settings.steps}", run)

    return Watcher()


def _examiner(run: Run, answer: Callable[[], Evaluation], every: int):
    from transformers import TrainerCallback

    class Examiner(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            if "reward" in logs and state.global_step % every == 0 and state.global_step < state.max_steps:
                run.metrics[-1] |= answer().as_metrics()

    return Examiner()


def step_counter(said: Callable[[int, int, float], None]):
    """A callback for any trainer that says after every step: (steps done, steps in all, seconds since the first began)."""
    from transformers import TrainerCallback

    class Counter(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            self.started = time.perf_counter()

        def on_step_end(self, args, state, control, **kwargs):
            said(state.global_step, state.max_steps, time.perf_counter() - self.started)

    return Counter()


def _check(settings: Settings, rewards: Sequence[Reward], prompts: list[dict]) -> None:
    if settings.problem:
        raise ValueError(settings.problem)
    names = [reward_name(reward) for reward in rewards]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"rewards {names}: expected at least one, each with a __name__ of its own.")
    if settings.reward_weights is not None and len(settings.reward_weights) != len(rewards):
        raise ValueError(f"{len(settings.reward_weights)} weights for {len(rewards)} rewards: expected one for each.")
    needed = settings.batch_size // settings.group_size
    if len(prompts) < needed:
        raise ValueError(f"{len(prompts)} prompts, but one step draws {needed}. Add prompts, or lower batch_size.")


def _provenance(model: str) -> dict[str, str]:
    import torch

    cpu = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    return {
        "model": model,
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else cpu,
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "trl", "peft")},
    }


def snapshot(run: Run) -> Run:
    """A copy that no longer grows, to hand to another thread."""
    return replace(run, metrics=list(run.metrics), groups=list(run.groups))


def explain(error: Exception) -> str:
    """What went wrong in a session and what to change, in a sentence or two."""
    text = str(error)
    if "out of memory" in text.lower() or isinstance(error, MemoryError):
        return "The device ran out of memory. Lower the batch size, the completion length or the group size."
    if isinstance(error, OSError) and any(sign in text for sign in ("couldn't connect", "offline", "Connection")):
        return "The Hugging Face Hub is out of reach, and the model is not in the local cache. Choose `pocket`, or connect."
    if isinstance(error, OSError) and any(sign in text for sign in ("valid model identifier", "Repo id must")):
        return "There is no such model: neither a preset, nor a local folder, nor on the Hub. Check the spelling."
    if isinstance(error, ValueError):
        return text
    return f"{type(error).__name__}: {text or 'no further word'}"
