"""The pocket model: about a million parameters, trained from scratch by `python -m grpo_lessons.pocket.build`."""

from pathlib import Path

PATH = Path(__file__).parent / "model"
