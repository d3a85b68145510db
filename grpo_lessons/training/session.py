"""A training session: LoRA and GRPOTrainer on a plan, watched while it runs, stoppable, kept at the end.

Torch, transformers, trl, peft and datasets are imported when a session starts, not before.
"""

import errno
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from grpo_lessons.calling import RewardFailed
from grpo_lessons.runs import Run, seconds_left
from grpo_lessons.training import line, models, sources, templates
from grpo_lessons.training.checkpoints import Unfinished, checkpointing, saving, unfinished
from grpo_lessons.training.ledger import Ledger, examiner, watcher
from grpo_lessons.training.machine import (
    TINY,
    cannot_compile,
    device,
    load_libraries,
    peak_memory,
    provenance,
    threads_for,
    tidy,
)
from grpo_lessons.training.plan import Plan
from grpo_lessons.training.sources import is_pocket
from grpo_lessons.training.trl_inside import go_on_without_checkpoints, no_say_told_once, on_one_device
from grpo_lessons.training.warm import copied
from grpo_lessons.training.watch import NOBODY, Watch


@dataclass
class Trained:
    """What a session leaves: the record, and the model with its adapter, ready to generate or to be saved."""

    run: Run
    model: object = None  # None if the session ended while it waited for the device
    tokenizer: object = None


def train(plan: Plan, watch: Watch = NOBODY, checkpoints: Path | None = None, resume: bool = False) -> Trained:
    """Train with GRPO and return the model and the record of the run.

    Args:
        plan: what is trained, see `Plan`.
        watch: is told of every step; when its `should_stop` is true the session ends after the step and keeps what was
            learnt.
        checkpoints: a folder for what a killed training goes on from (see `unfinished`); emptied when it ends.
        resume: go on from the last of these checkpoints, as if nothing had happened.

    Raises:
        ValueError: for a plan that TRL would refuse (`Plan.refusal`); for `resume` where there is nothing to go on from.
        RewardFailed: if a reward raises, or returns what is no number for each reply; its cause has the traceback.
        Errors of the libraries come through; `explain` puts any of them into a sentence.
    """
    if refusal := plan.refusal:
        raise ValueError(refusal)
    if device(is_pocket(plan.settings.model)) == "cuda" and (missing := cannot_compile()):
        raise ValueError(missing)
    run = plan.new_run()
    if (checked := plan.checked_answers) and checked.unreadable:
        watch.say(checked.warning)
        run.choices = run.choices | {"unreadable answers": len(checked.unreadable)}
    start = unfinished(checkpoints) if resume else None
    if resume and start is None:
        raise ValueError(f"checkpoints={checkpoints}: there is no unfinished training. Start one afresh.")
    if start:
        run = start.run
    try:
        if not sources.is_here(plan.settings.model):  # a download, or a wrong name, needs no device and holds nobody up
            sources.find(plan.settings.model, watch.over(run))
    except sources.Stopped:
        run.state = "stopped"
        return Trained(run)
    with line.turn(
        waiting=lambda in_front: watch.update(line.in_words(in_front), run),
        should_stop=watch.should_stop,
        who=watch.who,
        seconds=watch.seconds,
        first=watch.first,
    ) as tell:
        if not tell:
            run.state = "stopped"
            return Trained(run)

        def update(phase: str, run: Run) -> None:
            if run.metrics:
                tell(seconds_left(run.steps_done, plan.settings.steps, run.seconds))
            watch.update(phase, run)

        tidy()
        try:
            with checkpointing(checkpoints, resume) as folder:
                return _train(plan, run, replace(watch, update=update), folder, start)
        except sources.Stopped:
            run.state = "stopped"
            return Trained(run)
        finally:
            tidy()


def _train(plan: Plan, run: Run, watch: Watch, folder: Path | None, start: Unfinished | None) -> Trained:
    settings, held_out = plan.settings, plan.held_out
    watch.update("Loading torch and TRL (a few seconds the first time)", run)
    load_libraries()
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PrinterCallback, set_seed
    from trl import GRPOConfig, GRPOTrainer

    model, tokenizer = models.load(settings.model, settings.dtype, watch.over(run))
    run.provenance = provenance(settings.model, model.grpo_lessons_origin, model.device.type)
    prompts = list(plan.prompts)
    if refused := templates.refused(tokenizer, [*prompts, *held_out]):
        raise ValueError(refused)
    if opened := templates.opens(tokenizer):  # only the template knows; the rewards must be told
        prompts, held_out = ([row | {"opened_thought": opened} for row in each] for each in (prompts, held_out))

    def answer(model, watch: Watch = NOBODY):
        return models.evaluate(model, tokenizer, held_out, plan.judges, settings.max_completion_length, watch)

    with threads_for(model), no_say_told_once():
        set_seed(settings.seed)
        if held_out and start is None:
            watch.update(f"Answering {len(held_out)} held-out prompts, before", run)
            run.before = answer(model, watch)  # ended at any token: somebody else may be waiting for the device

        adapter = {"peft_config": LoraConfig(**settings.lora_arguments())}
        if plan.warm_start:
            # GRPO goes on with its adapter; after a kill it is made again, and the checkpoint laid over it.
            known, adapter = run.sft, {}
            model = copied(plan.warm_start, settings, model, tokenizer, run, watch)
            if watch.should_stop():
                raise sources.Stopped
            if start:
                run.sft = known
            elif held_out:
                watch.update(f"Answering {len(held_out)} held-out prompts, after SFT", run)
                run.sft.after = answer(model, watch)

        def in_step(doing: str) -> None:
            """Between the steps of a large model there is time to say what it does; a tiny one has none to lose."""
            if model.num_parameters() > TINY:
                watch.update(f"Step {run.steps_done + 1} of {settings.steps}: {doing}", run)

        ledger = Ledger(settings, plan.judges, lambda: in_step("learning from what was sampled"))
        trainer = GRPOTrainer(
            model=model,
            processing_class=tokenizer,
            reward_funcs=[ledger.watch(reward) for reward in plan.rewards],
            train_dataset=Dataset.from_list(prompts),
            args=on_one_device(GRPOConfig(**settings.grpo_arguments() | saving(settings, folder))),
            callbacks=[watcher(run, ledger, plan, watch, in_step)],
            **adapter,
        )
        trainer.remove_callback(PrinterCallback)
        go_on_without_checkpoints(trainer, lambda error: watch.update(f"A checkpoint was lost: {explain(error)}", run))
        models.merge_while_generating(trainer.model)
        if held_out and plan.evaluate_every:
            trainer.add_callback(examiner(run, lambda: answer(trainer.model), plan.evaluate_every))
        watch.update(f"Step {run.steps_done + 1} of {settings.steps}: sampling", run)
        trainer.train(resume_from_checkpoint=str(start.checkpoint) if start else None)

        run.state = "stopped" if run.steps_done < settings.steps else "finished"
        if held_out and not (run.state == "stopped" and watch.is_gone()):
            watch.update(f"Answering {len(held_out)} held-out prompts, after", run)
            run.after = answer(trainer.model)
            if plan.evaluate_every and run.metrics:
                run.metrics[-1] |= run.after.as_metrics()
    if plan.warm_start and settings.beta:  # TRL's copy of what SFT left, from which the KL was taken
        trainer.model.delete_adapter("ref")
    run.provenance["peak memory"] = peak_memory(model.device.type)
    return Trained(run, trainer.model, tokenizer)


# What libraries say, and what it means to a reader. The first that is found in the message is told.
_MEANS = {
    "no kernel image": "This torch is built for newer cards than this GPU. Install torch's build for CUDA 12.6, or hide the GPU: set CUDA_VISIBLE_DEVICES to -1.",
    "driver on your system is too old": "The NVIDIA driver is older than this torch wants. Update it, or install torch's build for the older CUDA.",
    "nvidia driver": "The NVIDIA driver is missing or older than this torch wants. Update it, or hide the GPU: set CUDA_VISIBLE_DEVICES to -1.",
    "dataparallel": "Several GPUs are in sight of one process. Set CUDA_VISIBLE_DEVICES to one of them, such as 0, and start the notebook anew.",
    "failed to find c compiler": "Triton found no C compiler. On Debian or Ubuntu: `sudo apt install gcc python3-dev`.",
    "python.h": "Triton found no Python.h. On Debian or Ubuntu: `sudo apt install python3-dev`.",
    "use_cpu": "The trainer looks for a GPU that torch cannot use. Set CUDA_VISIBLE_DEVICES to -1, and start the notebook anew.",
    "cuda error": "The GPU has failed, and this process cannot use it any more. Start the notebook anew; if it fails again, hide the GPU: set CUDA_VISIBLE_DEVICES to -1.",
    "mps": "Apple's GPU does not know this operation. The lessons train on the CPU there: start the notebook anew.",
}


def explain(error: Exception) -> str:
    """What went wrong in a session and what to change, in a sentence or two."""
    text = str(error)
    if isinstance(error, RewardFailed):
        return text
    if isinstance(error, subprocess.CalledProcessError) and "gcc" in str(error.cmd):
        text = "failed to find C compiler"
    if "out of memory" in text.lower() or isinstance(error, MemoryError):
        return (
            "The device ran out of memory. Lower the batch size, the completion length or the group size, or learn from a "
            "step in more parts (accumulation)."
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "The disk is full. Free some space (`runs` holds what earlier trainings left), then press Train again."
    told = next((means for said, means in _MEANS.items() if said in text.lower()), None)
    if told and not isinstance(error, sources.NoModel):
        return told
    if isinstance(error, (ValueError, sources.NoModel)):
        return text
    return f"{type(error).__name__}: {text or 'no further word'}"
