"""Record the runs that the lessons show before Train is pressed: `python -m notebooks.record [NAME …]` (minutes each).

They are real runs with the lessons' own settings; each file says on what hardware and when it was recorded. Without
names all are recorded. A run of `ADAPTERS` also leaves its adapter, for a visitor to try in the page (see `lesson.tryout`).
"""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from grpo_lessons.training import SMOLLM2, Plan, Trained, Watch, is_pocket, train
from notebooks import grpo_format, grpo_length, grpo_math

FOLDER = Path(__file__).parent / "public"


def _plan(lesson, model: str = "pocket", settings: dict | None = None, **choices) -> Plan:
    settings = replace(lesson.DEFAULT[model], **settings or {})
    return replace(lesson.plan(settings, **choices), sample_every=1 + settings.steps // 30)


_length, _math, _format = (partial(_plan, lesson) for lesson in (grpo_length, grpo_math, grpo_format))

RUNS = {  # the name of the file: what is recorded in it
    "length_learns": _length(),
    "length_held": _length(settings={"beta": 0.1}),
    "length_words": _length(second="share of real words"),
    "length_longer": _length(shape="longer is better"),
    "length_longer_masked": _length(shape="longer is better", mask=True),
    "length_signed": _length(shape="signed"),
    "length_smollm2": _length(SMOLLM2),
    "length_smollm2_zero": _length(SMOLLM2, {"steps": 4}, example=False),
    "math_learns": _math(),
    "math_too_hard": _math(difficulty="four numbers"),
    "math_too_easy": _math(tolerance=100),
    "math_generous": _math(tolerance=20),
    "math_smollm2": _math(SMOLLM2),
    "math_smollm2_zero": _math(SMOLLM2, {"steps": 4}, example=False),
    "format_learns": _format(),
    "format_unheld": _format(settings={"beta": 0.0}),
    "format_never_earned": _format(format="code / explanation"),
    "format_smollm2": _format(SMOLLM2),
    "format_smollm2_zero": _format(SMOLLM2, {"steps": 4}, example=False),
}

ADAPTERS = tuple(name for name, plan in RUNS.items() if name.endswith("_learns") and is_pocket(plan.settings.model))


def save_adapter(trained: Trained, path: Path) -> None:
    """Write what a session learnt as one safetensors file: the LoRA matrices of each weight, in float16.

    `NAME.lora_A.weight` [r, in] and `NAME.lora_B.weight` [out, r] belong to the weight `NAME.weight` [out, in] of the
    model: W + alpha / r · B A. The metadata holds `r`, `alpha`, and as JSON the run's `settings` and `provenance`.
    """
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    matrices = get_peft_model_state_dict(trained.model, save_embedding_layers=False)
    tensors = {
        name.removeprefix("base_model.model."): matrix.detach().to("cpu", torch.float16).contiguous()
        for name, matrix in matrices.items()
    }
    lora, run = trained.model.peft_config["default"], trained.run
    about = {"r": str(lora.r), "alpha": str(lora.lora_alpha)}
    about |= {"settings": json.dumps(run.settings), "provenance": json.dumps(run.provenance)}
    path.write_bytes(save(tensors, metadata=about))


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or RUNS:
        told = Watch(update=lambda phase, run, name=name: print(f"{name}: {phase}", flush=True))
        trained = train(RUNS[name], told)
        trained.run.save(FOLDER / f"{name}.json")
        if name in ADAPTERS:
            save_adapter(trained, FOLDER / f"{name}.safetensors")


if __name__ == "__main__":
    main()
