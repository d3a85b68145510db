"""A training session: LoRA and GRPOTrainer on a list of prompts, watched while it runs, stoppable, kept at the end.

Torch, transformers, trl, peft and datasets are imported when a session starts, not before.
"""

import errno
import os
import platform
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from filelock import FileLock, Timeout

from grpo_lessons import device, models, sources
from grpo_lessons.groups import combined, is_dead, weighted_sum
from grpo_lessons.rewards import Reward, describe, reward_name
from grpo_lessons.runs import Completion, Evaluation, Group, Run
from grpo_lessons.text import completion_text, question

TINY = 5_000_000  # parameters
_loading = threading.Lock()


@dataclass(frozen=True)
class Settings:
    """What a learner chooses before pressing Train. The defaults suit the pocket model on two CPU cores.

    `batch_size` counts the completions of a step, as TRL does: a step draws `batch_size / group_size` prompts. They are
    sampled at once, and learnt from in `accumulation` parts: the same step, in less memory.
    """

    model: str = "pocket"
    steps: int = 25
    group_size: int = 8
    batch_size: int = 64
    accumulation: int = 1
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
    dtype: str = "float32"
    gradient_checkpointing: bool = False
    use_vllm: bool = False

    @property
    def problem(self) -> str | None:
        """Why TRL would refuse these settings, and what to change; None if it would not.

        >>> Settings(group_size=8, batch_size=60).problem
        'A batch of 60 completions cannot be cut into groups of 8. Choose a multiple of 8, such as 56 or 64.'
        """
        size, batch = self.group_size, self.batch_size
        for name in ("steps", "batch_size", "accumulation", "max_completion_length"):
            if getattr(self, name) < 1:
                return f"{name} {getattr(self, name)}: expected at least 1."
        for name in ("temperature", "learning_rate"):
            if not 0 < getattr(self, name) < 100:
                return f"{name} {getattr(self, name)}: expected a number above 0."
        if not 0 <= self.beta < 100:
            return f"beta {self.beta}: expected 0 or more."
        if size < 2:
            return f"A group of {size} has nothing to compare with. Choose at least 2 completions for each prompt."
        if batch < size or batch % size:
            near = sorted({max(size, batch // size * size), (batch // size + 1) * size})
            choices = " or ".join(map(str, near))
            return (
                f"A batch of {batch} completions cannot be cut into groups of {size}. "
                f"Choose a multiple of {size}, such as {choices}."
            )
        if batch % self.accumulation:
            return f"A batch of {batch} completions cannot be cut into {self.accumulation} equal parts. Choose fewer parts."
        if self.use_vllm and find_spec("vllm") is None:
            return (
                "vLLM is not installed, so it cannot sample. It needs a GPU: `pip install vllm`, in the environment of this "
                "notebook. Or untick it: transformers samples too, only more slowly."
            )
        return None

    def grpo_arguments(self) -> dict:
        """The keyword arguments of GRPOConfig: what the session uses, to the letter, and what the lesson shows."""
        return {
            "output_dir": "runs/grpo",
            "max_steps": self.steps,
            "num_generations": self.group_size,
            "per_device_train_batch_size": self.batch_size // self.accumulation,
            "gradient_accumulation_steps": self.accumulation,
            "learning_rate": self.learning_rate,
            "max_grad_norm": self.max_grad_norm,
            "temperature": self.temperature,
            "beta": self.beta,
            "scale_rewards": self.scale_rewards,
            **self._unusual(),
            "max_completion_length": self.max_completion_length,
            "gradient_checkpointing": self.gradient_checkpointing,
            "bf16": self.dtype == "bfloat16",
            "logging_steps": 1,
            "save_strategy": "no",
            "disable_tqdm": True,
            "seed": self.seed,
        }

    def _unusual(self) -> dict:
        """What stays out of the shown code as long as it is as TRL has it."""
        names = ("multi_objective_aggregation", "mask_truncated_completions", "use_vllm")
        unusual = {name: getattr(self, name) for name in names if getattr(self, name) != getattr(Settings, name)}
        if self.reward_weights is not None:
            unusual["reward_weights"] = list(self.reward_weights)
        if not sources.is_pocket(self.model):
            unusual["chat_template_kwargs"] = models.CHAT
        return unusual

    def code(self, rewards: Sequence[Reward]) -> str:
        """The session as Python: the same calls with the same arguments (`load` is `grpo_lessons.models.load`)."""
        arguments = "".join(f"    {name}={value!r},\n" for name, value in self.grpo_arguments().items())
        return (
            f"config = GRPOConfig(\n{arguments})\n"
            f"model, tokenizer = load({self.model!r}{'' if self.dtype == 'float32' else f', {self.dtype!r}'})\n"
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

    def lora_arguments(self) -> dict:
        """The keyword arguments of LoraConfig: an adapter on every linear layer, twice its rank as scale."""
        return {"r": self.lora_rank, "lora_alpha": 2 * self.lora_rank, "target_modules": "all-linear"}


@dataclass
class Trained:
    """What a session leaves: the record, and the model with its adapter, ready to generate or to be saved."""

    run: Run
    model: object = None  # None if the session ended while it waited for the device
    tokenizer: object = None


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
    choices: dict | None = None,
    checkpoints: Path | None = None,
    resume: bool = False,
    who: str = "",
    seconds: Callable[[], float] = lambda: 0,
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
        choices: what a lesson chose besides the settings, written into the record.
        checkpoints: a folder for what a killed training goes on from (see `unfinished`); emptied when it ends.
        resume: go on from the last of these checkpoints, as if nothing had happened.
        who, seconds: what others in the line for the device are told while it waits: whose training it is, and how long
            it will take. From the first step on they are told what is seen.

    Raises:
        ValueError: for settings that TRL would refuse, too few prompts, or two rewards of one name; for `resume` where
            there is nothing to go on from.
        Errors of the libraries come through; `explain` puts any of them into a sentence.
    """
    _check(settings, rewards, prompts)
    run = Run(settings=dict(vars(settings)), rewards=[describe(reward) for reward in rewards], choices=choices or {})
    start = unfinished(checkpoints) if resume else None
    if resume and start is None:
        raise ValueError(f"checkpoints={checkpoints}: there is no unfinished training. Start one afresh.")
    if start:
        run = start.run
    with device.turn(
        waiting=lambda in_front: on_update(device.in_words(in_front), run),
        should_stop=should_stop,
        who=who,
        seconds=seconds,
    ) as tell:
        if not tell:
            run.state = "stopped"
            return Trained(run)

        def update(phase: str, run: Run) -> None:
            if run.metrics:
                tell(device.seconds_left(run.steps_done, settings.steps, run.metrics[-1]["seconds"]))
            on_update(phase, run)

        plan = _Plan(settings, rewards, prompts, held_out, judges or rewards, sample_every, evaluate_every)
        try:
            with _checkpointing(checkpoints, resume) as folder:
                return _train(plan, run, update, should_stop, folder, start)
        except sources.Stopped:
            run.state = "stopped"
            return Trained(run)


class Unfinished(NamedTuple):
    """A training that was killed: its last checkpoint, and its record up to there."""

    checkpoint: Path
    run: Run


def unfinished(folder: Path | None) -> Unfinished | None:
    """The training of which a folder holds checkpoints and which runs no more; None if there is none.

    A checkpoint counts when it is whole: its record is written last.
    """
    if folder is None or not folder.exists():
        return None
    whole = sorted(folder.glob("checkpoint-*/run.json"), key=lambda path: -int(path.parent.name.split("-")[1]))
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None  # it runs still
    lock.release()
    for path in whole:
        with suppress(ValueError):  # a damaged record: the one before it
            return Unfinished(path.parent, Run.load(path))
    return None


@contextmanager
def _checkpointing(folder: Path | None, resume: bool):
    """The folder, locked as long as the training runs, or None if another one has it; emptied at an end that was no crash."""
    if folder is None:
        yield None
        return
    lock = FileLock(folder / "lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except (Timeout, OSError):  # another training has it, or nothing can be written here
        yield None
        return
    try:
        if not resume:
            _empty(folder)
        yield folder
        _empty(folder)
    finally:
        lock.release()


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != "lock":
            path.unlink(missing_ok=True)


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
    """Sample with the adapter merged into the weights: one matrix product a layer instead of three, the same tokens.

    The weights are put back as they were: taking the adapter off again would leave a rounding error in them each time.
    """
    generate = model.generate

    def merged(*args, **kwargs):
        kept = {layer: layer.weight.data for layer in model.modules() if hasattr(layer, "merge")}
        for layer, weight in kept.items():
            layer.weight.data = weight.clone()
        model.merge_adapter()
        try:
            return generate(*args, **kwargs)
        finally:
            model.unmerge_adapter()
            for layer, weight in kept.items():
                layer.weight.data = weight

    model.generate = merged


@dataclass(frozen=True)
class _Plan:
    settings: Settings
    rewards: Sequence[Reward]
    prompts: list[dict]
    held_out: list[dict]
    judges: Sequence[Reward]
    sample_every: int
    evaluate_every: int


def _train(plan: _Plan, run: Run, on_update, should_stop, folder: Path | None, start: Unfinished | None) -> Trained:
    settings, held_out = plan.settings, plan.held_out
    on_update("Loading torch and TRL (a few seconds the first time)", run)
    load_libraries()
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PrinterCallback, set_seed
    from trl import GRPOConfig, GRPOTrainer

    model, tokenizer = models.load(settings.model, settings.dtype, lambda phase: on_update(phase, run), should_stop)
    run.provenance = _provenance(settings.model, model.grpo_lessons_origin)

    def answer(model):
        return models.evaluate(model, tokenizer, held_out, plan.judges, settings.max_completion_length)

    with _threads_for(model):
        set_seed(settings.seed)
        if held_out and start is None:
            on_update(f"Answering {len(held_out)} held-out prompts, before", run)
            run.before = answer(model)

        def in_step(doing: str) -> None:
            """Between the steps of a large model there is time to say what it does; a tiny one has none to lose."""
            if model.num_parameters() > TINY:
                on_update(f"Step {run.steps_done + 1} of {settings.steps}: {doing}", run)

        ledger = _Ledger(settings, plan.judges, lambda: in_step("learning from what was sampled"))
        trainer = GRPOTrainer(
            model=model,
            processing_class=tokenizer,
            reward_funcs=[ledger.watch(reward) for reward in plan.rewards],
            train_dataset=Dataset.from_list(plan.prompts),
            args=GRPOConfig(**settings.grpo_arguments() | _saving(settings, folder)),
            peft_config=LoraConfig(**settings.lora_arguments()),
            callbacks=[_watcher(run, ledger, settings, on_update, should_stop, plan.sample_every, in_step)],
        )
        trainer.remove_callback(PrinterCallback)
        _merge_while_generating(trainer.model)
        if held_out and plan.evaluate_every:
            trainer.add_callback(_examiner(run, lambda: answer(trainer.model), plan.evaluate_every))
        on_update(f"Step {run.steps_done + 1} of {settings.steps}: sampling", run)
        trainer.train(resume_from_checkpoint=str(start.checkpoint) if start else None)

        run.state = "stopped" if run.steps_done < settings.steps else "finished"
        if held_out:
            on_update(f"Answering {len(held_out)} held-out prompts, after", run)
            run.after = answer(trainer.model)
            if plan.evaluate_every and run.metrics:
                run.metrics[-1] |= run.after.as_metrics()
    run.provenance["peak memory"] = _peak_memory()
    return Trained(run, trainer.model, tokenizer)


def _saving(settings: Settings, folder: Path | None) -> dict:
    """Five checkpoints a training; the last two are kept, for the newest may be half written when the process is killed."""
    if folder is None:
        return {}
    every = max(1, settings.steps // 5)
    return {"output_dir": str(folder), "save_strategy": "steps", "save_steps": every, "save_total_limit": 2}


def _peak_memory() -> str:
    """The most memory this process has held: on the GPU where there is one."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.max_memory_reserved() / 1e9:.1f} GB of GPU memory"
    try:
        import resource
    except ImportError:  # Windows has none
        return "not known"
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.1f} GB"


class _Ledger:
    """Writes down what the reward functions see and say in a step: the public way to a step's completions."""

    def __init__(self, settings: Settings, judges: Sequence[Reward], sampled: Callable[[], None]):
        self.settings, self.judges, self.sampled = settings, judges, sampled
        self.rewards, self.seen, self.scores = {}, {}, {}

    def watch(self, reward: Reward) -> Reward:
        """The same reward under the same name, written down."""

        def watched(**seen):
            self.sampled()
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


def _watcher(run: Run, ledger: _Ledger, settings: Settings, on_update, should_stop, sample_every: int, in_step):
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            self.started = time.perf_counter() - (run.metrics[-1]["seconds"] if run.metrics else 0.0)

        def on_step_begin(self, args, state, control, **kwargs):
            in_step("sampling")

        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop |= should_stop()

        def on_save(self, args, state, control, **kwargs):
            if state.global_step == state.max_steps:
                return  # nothing is left to go on with
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            run.save(checkpoint / "run.part")
            os.replace(checkpoint / "run.part", checkpoint / "run.json")

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


def step_counter(said: Callable[[int, int, float], bool]):
    """A callback for any trainer that says after every step: (steps done, steps in all, seconds since the first began).

    The trainer stops when `said` returns True.
    """
    from transformers import TrainerCallback

    class Counter(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            self.started = time.perf_counter()

        def on_step_end(self, args, state, control, **kwargs):
            if said(state.global_step, state.max_steps, time.perf_counter() - self.started):
                control.should_training_stop = True

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


def _provenance(model: str, origin: str) -> dict[str, str]:
    import torch

    cpu = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    return {
        "model": model,
        "weights": origin,
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
        return (
            "The device ran out of memory. Lower the batch size, the completion length or the group size, or learn from a "
            "step in more parts (accumulation)."
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "The disk is full. Free some space (`runs` holds what earlier trainings left), then press Train again."
    if isinstance(error, (ValueError, sources.NoModel)):
        return text
    return f"{type(error).__name__}: {text or 'no further word'}"
