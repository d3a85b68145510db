"""Adapters go both ways: what TRL has learnt runs in a page, and what a page has learnt is kept as what TRL has learnt.

The file between them is one of safetensors: the LoRA matrices of each weight under the names of PEFT, and as its metadata `r`
and `alpha`, and as JSON the run's `settings` and `provenance`. `NAME.lora_A.weight` [r, in] and `NAME.lora_B.weight`
[out, r] belong to the weight `NAME.weight` [out, in] of the model: W + alpha / r · B A.
"""

import json

from grpo_lessons.runs import Run
from grpo_lessons.training import models
from grpo_lessons.training.session import Trained

PREFIX = "base_model.model."  # of PEFT; the engine in the page reads names with it and without


def to_page(trained: Trained, dtype: str = "float32") -> bytes:
    """What a session has learnt on the pocket model, as the file that a page is given."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    matrices = get_peft_model_state_dict(trained.model, save_embedding_layers=False)
    tensors = {
        name.removeprefix(PREFIX): matrix.detach().to("cpu", getattr(torch, dtype)).contiguous()
        for name, matrix in matrices.items()
    }
    lora, run = trained.model.peft_config["default"], trained.run
    about = {"r": str(lora.r), "alpha": str(lora.lora_alpha)}
    about |= {"settings": json.dumps(run.settings), "provenance": json.dumps(run.provenance)}
    return save(tensors, metadata=about)


def from_page(adapter: bytes, run: Run) -> Trained:
    """What a page has learnt, as a session leaves it: to be asked, saved, merged and pushed by `keep`.

    Args:
        adapter: the bytes that the engine's `save` gives.
        run: the record of the training.

    Raises: ValueError for what is no such file, or one of another model.
    """
    import torch
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(adapter)
        about = json.loads(adapter[8 : 8 + int.from_bytes(adapter[:8], "little")])["__metadata__"]
        rank, alpha = int(about["r"]), float(about["alpha"])
        if not 1 <= rank <= 1024:
            raise ValueError(f"rank {rank}")
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not an adapter that a page has saved ({error}): expected what `save` gives.") from None
    model, tokenizer = models.load("pocket")
    lora = get_peft_model(model, LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear"))
    given = {PREFIX + name.removeprefix(PREFIX): matrix.float() for name, matrix in tensors.items()}
    wanted = {name: matrix.shape for name, matrix in get_peft_model_state_dict(lora).items()}
    if wanted != {name: matrix.shape for name, matrix in given.items()}:
        raise ValueError(
            f"an adapter of another model: expected the {len(wanted)} matrices of rank {rank} of the pocket model."
        )
    if not all(torch.isfinite(matrix).all() for matrix in given.values()):
        raise ValueError("an adapter with numbers that are not finite: expected what `save` gives after a step.")
    set_peft_model_state_dict(lora, given)
    return Trained(run, lora, tokenizer)
