"""A warm start: worked examples are copied (SFT, supervised fine-tuning) before the reward begins, by the same adapter."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from grpo_lessons.runs import Run, Supervised
from grpo_lessons.text import counted
from grpo_lessons.training import rows
from grpo_lessons.training.settings import CHAT, Settings
from grpo_lessons.training.trl_inside import on_one_device
from grpo_lessons.training.watch import Watch


@dataclass(frozen=True)
class WarmStart:
    """What is copied, and how often. Learning rate, clipping, seed and adapter are those of the training behind it.

    Args:
        examples: rows with a "prompt" and the "completion" that is to be copied, two conversations or two strings, as
            TRL's SFTTrainer has them.
        epochs: how often each of them is seen.
        batch_size: examples of a step.

    Example:
        >>> warm = WarmStart([{"prompt": "What is 1 + 1?", "completion": "<sum>2</sum>"}] * 12)
        >>> warm.steps, warm.problem
        (9, None)
        >>> WarmStart([{"prompt": "What is 1 + 1?"}]).problem
        "worked example 0: expected a 'completion' of the kind of its 'prompt', not None."
    """

    examples: Sequence[dict]
    epochs: int = 3
    batch_size: int = 4

    @property
    def steps(self) -> int:
        """Optimizer steps that it takes."""
        return self.epochs * math.ceil(len(self.examples) / self.batch_size)

    @property
    def problem(self) -> str | None:
        """Why this cannot be copied, and what to change; None if it can."""
        if not self.examples:
            return "A warm start without worked examples: give at least one, or none at all (warm_start=None)."
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                return f"{name} {getattr(self, name)} of the warm start: expected at least 1."
        if wrong := rows.problem(list(self.examples)):
            return f"The worked examples of the warm start: {wrong}"
        for at, row in enumerate(self.examples):
            reply = row.get("completion")
            if type(reply) is not type(row["prompt"]) or not reply:
                return f"worked example {at}: expected a 'completion' of the kind of its 'prompt', not {reply!r}."
        return None

    def sft_arguments(self, settings: Settings) -> dict:
        """The keyword arguments of SFTConfig."""
        shared = "learning_rate max_grad_norm gradient_checkpointing bf16 use_cpu logging_steps save_strategy disable_tqdm seed"
        given = settings.grpo_arguments()
        return {
            "output_dir": "runs/sft",
            "num_train_epochs": self.epochs,
            "per_device_train_batch_size": self.batch_size,
            **{name: given[name] for name in shared.split() if name in given},
        }


def for_sft(examples: Sequence[dict]) -> list[dict]:
    """Worked examples with the columns that SFTTrainer reads, and no others.

    >>> for_sft([{"prompt": "1 + 1?", "completion": "2", "answer": "2"}])
    [{'prompt': '1 + 1?', 'completion': '2'}]
    """
    given = [{"prompt": row["prompt"], "completion": row["completion"]} for row in examples]
    return [row | ({"chat_template_kwargs": CHAT} if isinstance(row["prompt"], list) else {}) for row in given]


def copied(warm: WarmStart, settings: Settings, model, tokenizer, run: Run, watch: Watch):
    """The model with an adapter that has copied the examples; what that did stands in `run.sft`.

    It ends early, after a step, when the watch says so.
    """
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    run.sft, began = Supervised(len(warm.examples)), time.perf_counter()

    def step(loss: float) -> bool:
        run.sft.losses.append(loss)
        run.sft.seconds = round(time.perf_counter() - began, 3)
        watch.update(f"SFT on {counted(run.sft.examples, 'example')}: step {len(run.sft.losses)} of {warm.steps}", run)
        return watch.should_stop()

    trainer = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(for_sft(warm.examples)),
        args=on_one_device(SFTConfig(**warm.sft_arguments(settings))),
        peft_config=LoraConfig(**settings.lora_arguments()),
        callbacks=[_listener(step)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer.model


def _listener(step: Callable[[float], bool]):
    """A callback that tells the loss of every step; the trainer stops when it is answered True."""
    from transformers import TrainerCallback

    class Listener(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            if "loss" in logs and step(logs["loss"]):
                control.should_training_stop = True

    return Listener()
