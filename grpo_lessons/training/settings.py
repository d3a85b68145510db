"""What a learner chooses before pressing Train, and the GRPOConfig and LoraConfig that come of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from grpo_lessons.rewards import Reward, describe
from grpo_lessons.training.machine import device
from grpo_lessons.training.sources import is_pocket

DTYPES = ("float32", "bfloat16", "float16")
CHAT = {"enable_thinking": False}  # for Qwen3, whose template would open a thought; others do not know the word


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
        if self.dtype not in DTYPES:
            return f"dtype {self.dtype!r}: expected one of {', '.join(DTYPES)}."
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
            **({"use_cpu": True} if device(is_pocket(self.model)) == "cpu" else {}),
            "logging_steps": 1,
            "save_strategy": "no",
            "disable_tqdm": True,
            "seed": self.seed,
        }

    def _unusual(self) -> dict:
        """What stays out of the shown code as long as it is as TRL has it."""
        names = ("multi_objective_aggregation", "mask_truncated_completions")
        unusual = {name: getattr(self, name) for name in names if getattr(self, name) != getattr(Settings, name)}
        if self.reward_weights is not None:
            unusual["reward_weights"] = list(self.reward_weights)
        if not is_pocket(self.model):
            unusual["chat_template_kwargs"] = CHAT
        return unusual

    def code(self, rewards: Sequence[Reward], sft: dict | None = None) -> str:
        """The session as Python: the same calls with the same arguments (`load` is `grpo_lessons.training.models.load`).

        `sft`: the arguments of a warm start, which makes the adapter that GRPO goes on with.
        """
        load = f"model, tokenizer = load({self.model!r}{'' if self.dtype == 'float32' else f', {self.dtype!r}'})\n"
        funcs = f"    reward_funcs=[{', '.join(map(describe, rewards))}],\n"
        adapter = f"LoraConfig({', '.join(f'{k}={v!r}' for k, v in self.lora_arguments().items())})"
        grpo = self.grpo_arguments()
        if not sft:
            return _call("config = GRPOConfig", grpo) + load + _trainer("GRPO", "prompts", "config", funcs, adapter)
        return (
            _call("sft_config = SFTConfig", sft)
            + load
            + _trainer("SFT", "examples", "sft_config", adapter=adapter)
            + "\nmodel = trainer.model\n\n"
            + _call("config = GRPOConfig", grpo)
            + _trainer("GRPO", "prompts", "config", funcs)
        )

    def lora_arguments(self) -> dict:
        """The keyword arguments of LoraConfig: an adapter on every linear layer, twice its rank as scale."""
        return {"r": self.lora_rank, "lora_alpha": 2 * self.lora_rank, "target_modules": "all-linear"}


def _call(name: str, arguments: dict) -> str:
    return "\n".join([f"{name}(", *(f"    {each}={value!r}," for each, value in arguments.items()), ")\n"])


def _trainer(kind: str, data: str, config: str, funcs: str = "", adapter: str = "") -> str:
    return (
        f"trainer = {kind}Trainer(\n"
        "    model=model,\n"
        "    processing_class=tokenizer,\n"
        f"{funcs}"
        f"    train_dataset=Dataset.from_list({data}),\n"
        f"    args={config},\n" + (f"    peft_config={adapter},\n" if adapter else "") + ")\n"
        "trainer.train()"
    )
