"""All that knows torch, and imports it only when a training starts: a plan, its session, what it costs, what is kept of it."""

from grpo_lessons.training.checkpoints import Unfinished, unfinished
from grpo_lessons.training.models import ReferenceLogProb
from grpo_lessons.training.plan import Plan
from grpo_lessons.training.session import Trained, explain, train
from grpo_lessons.training.settings import Settings
from grpo_lessons.training.sources import PRESETS, SMOLLM2, NoModel, is_pocket
from grpo_lessons.training.warm import WarmStart
from grpo_lessons.training.watch import Watch

__all__ = [
    "PRESETS",
    "SMOLLM2",
    "NoModel",
    "Plan",
    "ReferenceLogProb",
    "Settings",
    "Trained",
    "Unfinished",
    "WarmStart",
    "Watch",
    "explain",
    "is_pocket",
    "train",
    "unfinished",
]
