"""What we use of TRL that it does not promise to keep; read in TRL 1.16.0. `tests/test_inside.py` says what has moved."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# trl.kernels.chunked_logprob reckons a token's chances over the vocabulary in tiles: so many tokens at a time …
HEAD_TOKENS = 4096
# … and so many words of the vocabulary, the chunk_size that GRPOTrainer passes.
HEAD_WIDTH = 32768
NO_SAY = "All reward functions returned None for"  # what a warning of it says


def add_fused_lm_head(model) -> None:
    """Give a model the forward pass that GRPOTrainer learns through, which never holds all logits at once."""
    from trl.trainer.utils import add_fused_lm_head

    add_fused_lm_head(model, outputs=("log_probs", "entropy"))


def on_one_device(arguments):
    """TRL's arguments, for one GPU of several: GRPOTrainer refuses what Trainer would do with all of them in one process."""
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def go_on_without_checkpoints(trainer, lost: Callable[[Exception], None]) -> None:
    """Let a training go on where a checkpoint cannot be written: a full disk must not cost what has been learnt."""
    save = trainer._save_checkpoint

    def guarded(*args, **kwargs):
        try:
            save(*args, **kwargs)
        except Exception as error:  # whatever a disk may do
            lost(error)

    trainer._save_checkpoint = guarded


@contextmanager
def no_say_told_once() -> Iterator[None]:
    """Have TRL say but once, and in a line, that a reply got None of every reward: at every step it would print a whole row."""
    logger, told = logging.getLogger("trl.trainer.grpo_trainer"), []

    def is_new(record: logging.LogRecord) -> bool:
        if NO_SAY not in str(record.msg):
            return True
        record.msg = f"{NO_SAY} a reply. Such a reply has no say: nothing is learnt from it."
        told.append(record)
        return len(told) == 1

    logger.addFilter(is_new)
    try:
        yield
    finally:
        logger.removeFilter(is_new)


def watch_ratios(trainer, tell: Callable[[list[float], list[float], dict], None]) -> None:
    """Tell, at every pass through a batch, of all tokens that are learnt from: ratios, advantages, and the metrics so far.

    A ratio is the token's probability over that at sampling time, an advantage that of its reply; of the metrics, by name,
    the last of each list is of this pass.
    """
    read, loss_of, passes = trainer._get_per_token_logps_and_entropies, trainer._compute_loss, []

    def reading(*args, **kwargs):
        passes.append(read(*args, **kwargs))
        return passes[-1]

    def watched(model, inputs):
        loss, mask = loss_of(model, inputs), inputs["completion_mask"].bool()
        now = passes[-1][0].detach()
        passes.clear()
        ratios = (now - inputs.get("old_per_token_logps", now)).exp()
        advantages = inputs["advantages"].unsqueeze(1).expand_as(now)
        tell(ratios[mask].tolist(), advantages[mask].tolist(), trainer._metrics["train"])
        return loss

    trainer._get_per_token_logps_and_entropies, trainer._compute_loss = reading, watched
