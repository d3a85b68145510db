"""Whether a training fits this machine, and how long it takes: reckoned from a few measured tokens, before Train.

Every figure is an upper bound: completions are taken to be as long as the settings allow.
"""

import gc
import os
import time
from dataclasses import dataclass

from grpo_lessons.training import models, trl_inside
from grpo_lessons.training.machine import device, free_memory, load_libraries, tidy
from grpo_lessons.training.plan import Plan
from grpo_lessons.training.settings import Settings
from grpo_lessons.training.sources import Stopped, is_pocket
from grpo_lessons.training.watch import NOBODY, Watch

FRAGMENTS = 1.5  # a CPU's allocator keeps pieces too small to reuse: measured 16.8 GB held where 11.5 were in use
SPARE = 0.85  # of the free memory may be asked for: other programs live, and the reckoning is off by some per cent


@dataclass(frozen=True)
class Probe:
    """What a model was measured to cost on this machine. Times in seconds, memory in bytes, lengths in tokens."""

    model: str
    hardware: str
    memory: int  # free for a training, with what the probe itself held
    base: int  # held by the libraries
    weights: int
    adapter: int  # weights, gradients and Adam's two moments
    prompt_tokens: int  # of the longest prompt: the others are padded to it
    decode_once: float  # one token for each completion of a batch: this, …
    decode_each: float  # … and this for each completion
    prefill: float  # a prompt's token
    learn: float  # a token forward and backward
    saved: int  # kept of a token for the backward pass
    saved_checkpointed: int  # the same with gradient checkpointing
    head: int  # for a token's chances over the vocabulary, for so many tokens as TRL reckons at a time
    cache: int  # keys and values of a token while sampling
    fragments: float = FRAGMENTS
    learn_once: float = 0.0  # what every part of a step costs besides, however short: a GPU waits for its host


@dataclass(frozen=True)
class Estimate:
    """Seconds and bytes of a training, at most."""

    sampling: float  # of a step
    learning: float
    answering: float  # the held-out prompts, before and after, and between SFT and GRPO
    steps: int
    memory: int
    free: int
    copying: float = 0.0  # of a warm start: SFT on its examples

    @property
    def seconds(self) -> float:
        """From the first step to the last answer; the libraries' loading comes on top."""
        return self.copying + self.steps * (self.sampling + self.learning) + self.answering

    @property
    def fits(self) -> bool:
        """Whether the memory is there, with something to spare."""
        return self.memory <= SPARE * self.free

    def __str__(self) -> str:
        first = f"{in_words(self.copying)} of SFT, " if self.copying else ""
        return (
            f"About **{in_words(self.seconds)}**, less where replies end early: {first}{self.steps} steps of {in_words(self.sampling)} sampling and "
            f"{in_words(self.learning)} learning, and {in_words(self.answering)} for the held-out prompts. "
            f"Memory: about **{self.memory / 1e9:.1f} GB** of {self.free / 1e9:.0f} GB that are free."
        )


def estimate(plan: Plan, probe: Probe) -> Estimate:
    """What a training costs, by a probe of its model.

    Example:
        >>> probe = Probe("m", "a CPU", 8 * 10**9, 6 * 10**8, 10**8, 10**7, 20, 0.01, 0.001, 1e-4, 1e-3, 10**5, 10**4, 10**3, 10**3)
        >>> settings = Settings(steps=10, batch_size=32, beta=0.0, max_completion_length=30)
        >>> cost = estimate(Plan(settings, [], []), probe)
        >>> round(cost.sampling, 2), round(cost.learning, 2), cost.fits
        (1.32, 1.6, True)
    """
    settings, held_out, judged = plan.settings, len(plan.held_out), plan.is_judged
    batch, tokens = settings.batch_size, probe.prompt_tokens + settings.max_completion_length

    def sampling(completions: int) -> float:
        one = probe.decode_once + probe.decode_each * completions
        return settings.max_completion_length * one + probe.prefill * completions * probe.prompt_tokens

    # in forward (1/3) and backward (2/3): the reference of the KL term, the checkpointed forward again, the judge
    passes = 1 + ((settings.beta > 0) + settings.gradient_checkpointing + judged) / 3
    saved = probe.saved_checkpointed if settings.gradient_checkpointing else probe.saved
    at_once = batch / settings.accumulation
    peak = max(
        probe.weights + probe.cache * tokens * max(batch, held_out),  # sampling: the adapter merged into a copy
        probe.fragments * (saved * tokens * at_once + probe.head * min(trl_inside.HEAD_TOKENS, tokens * at_once)),
    )
    warm = plan.warm_start
    copied = warm.epochs * len(warm.examples) * tokens * probe.learn + warm.steps * probe.learn_once if warm else 0.0
    return Estimate(
        copying=copied,
        sampling=sampling(batch),
        learning=(probe.learn * batch * tokens + probe.learn_once * settings.accumulation) * passes,
        answering=(3 if warm else 2) * sampling(held_out) if held_out else 0.0,
        steps=settings.steps,
        memory=int(probe.base + (1 + judged) * probe.weights + probe.adapter + peak),
        free=probe.memory,
    )


def suited(plan: Plan, probe: Probe) -> Plan:
    """The plan, in less memory where it would not fit: the same training in smaller parts, then checkpointed.

    It may not fit then either: `estimate(…).fits` tells.
    """
    while not estimate(plan, probe).fits:
        settings, parts = plan.settings, plan.settings.accumulation * 2
        if settings.batch_size % parts == 0 and parts <= 8:
            plan = plan.with_settings(accumulation=parts)
        elif not settings.gradient_checkpointing:
            plan = plan.with_settings(gradient_checkpointing=True)
        else:
            break
    return plan


def what_to_lower(plan: Plan, probe: Probe) -> str:
    """For a plan that does not fit: what would."""
    better, settings = suited(plan, probe), plan.settings
    changes = []
    if better.settings.accumulation != settings.accumulation:
        changes.append(f"learn in {better.settings.accumulation} parts")
    if better.settings.gradient_checkpointing != settings.gradient_checkpointing:
        changes.append("tick gradient checkpointing")
    cost = estimate(better, probe)
    if cost.fits and changes:
        return f"**{' and '.join(changes).capitalize()}**: the same training in {cost.memory / 1e9:.1f} GB."
    return "Lower the completions a step or the longest completion, or choose a smaller model."


def measure(plan: Plan, watch: Watch = NOBODY) -> Probe:
    """Load the model of a plan, sample a few tokens and learn from them once. Seconds, for a small model.

    Raises: as `models.load`; `sources.Stopped` too.
    """
    load_libraries()
    import torch

    with torch.random.fork_rng():  # a training beside it keeps its own chances
        probe = _measure(plan.settings, plan.prompts, watch)
    gc.collect()  # the model stands in a circle of references
    return probe


def _measure(settings: Settings, prompts: list[dict], watch: Watch) -> Probe:
    if watch.should_stop():
        raise Stopped
    import psutil
    import torch
    from peft import LoraConfig, get_peft_model

    process, gpu = psutil.Process(), device(is_pocket(settings.model)) == "cuda"
    tidy()
    model, tokenizer = models.load(settings.model, settings.dtype, watch)
    weights = model.get_memory_footprint()
    base = 0 if gpu else max(0, process.memory_info().rss - weights)
    watch.say(f"Measuring {settings.model}: a few tokens")
    model = get_peft_model(model, LoraConfig(**settings.lora_arguments()))
    trl_inside.add_fused_lm_head(model.get_base_model())
    models.merge_while_generating(model)  # as the training samples
    texts = [models.as_text(tokenizer, row["prompt"]) for row in prompts[:16]]

    def sampling(completions: int, new: int) -> float:
        if watch.should_stop():
            raise Stopped
        inputs = tokenizer((texts * completions)[:completions], return_tensors="pt", padding=True, padding_side="left")
        inputs = inputs.to(model.device)
        started = time.perf_counter()
        with torch.inference_mode():
            model.generate(**inputs, do_sample=True, top_k=0, min_new_tokens=new, max_new_tokens=new)
        return time.perf_counter() - started

    few, many = 2, max(4, min(16, settings.batch_size))
    sampling(few, 2)  # the first one warms up
    first = {completions: sampling(completions, 1) for completions in (few, many)}
    each = {completions: (sampling(completions, 9) - first[completions]) / 8 for completions in (few, many)}
    decode_each = max(0.0, (each[many] - each[few]) / (many - few))
    lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    prompt_tokens = max(lengths)

    kept = {}  # what the backward pass needs, each storage once

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    config = model.get_base_model().config.get_text_config()
    words = min(len(tokenizer), config.vocab_size) - 5
    few_ids, ids = (torch.randint(5, words, (n, prompt_tokens + 32), device=model.device) for n in (2, 8))

    def learning(ids) -> float:
        labels = ids.clone()
        labels[:, :prompt_tokens] = -100
        started = time.perf_counter()
        # in the numbers that the training computes in
        with torch.autocast(model.device.type, torch.bfloat16, enabled=settings.dtype == "bfloat16"):
            out = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, fused_lm_head=True)
        out.log_probs.sum().backward()
        if gpu:
            torch.cuda.synchronize()
        return time.perf_counter() - started

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        learning(few_ids)
    # What takes a second is measured well by once.
    short, long = (took if (took := learning(each)) > 1 else min(took, learning(each)) for each in (few_ids, ids))
    learn = max(0.0, (long - short) / (ids.numel() - few_ids.numel())) or long / ids.numel()
    saved = sum(size for where, size in kept.items() if where not in own) / few_ids.numel()
    width, layers = config.hidden_size, config.num_hidden_layers
    number = model.get_base_model().dtype.itemsize
    head = getattr(config, "head_dim", None) or width // config.num_attention_heads
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return Probe(
        model=settings.model,
        hardware=torch.cuda.get_device_name() if gpu else f"{os.cpu_count()} CPU cores",
        memory=_free_on_gpu() + weights if gpu else free_memory() + process.memory_info().rss,
        base=base,
        weights=weights,
        adapter=16 * trained,
        prompt_tokens=prompt_tokens,
        decode_once=max(0.0, each[few] - few * decode_each),
        decode_each=decode_each,
        prefill=max(0.0, first[many] - each[many]) / (many * prompt_tokens),
        learn=learn,
        learn_once=max(0.0, short - learn * few_ids.numel()),
        saved=int(saved),
        head=min(len(tokenizer), trl_inside.HEAD_WIDTH)
        * (number if gpu else 32),  # a tile in the model's numbers, or eight in float32 without Triton
        fragments=1.1 if gpu else FRAGMENTS,
        saved_checkpointed=int(width * number * layers + saved / layers),
        cache=2 * layers * (getattr(config, "num_key_value_heads", None) or config.num_attention_heads) * head * number,
    )


def _free_on_gpu() -> int:
    """What the card has left, and what this process holds of it without using it."""
    import torch

    return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def in_words(seconds: float) -> str:
    """A duration for a reader.

    >>> in_words(0.42), in_words(42), in_words(420)
    ('0.4 s', '42 s', '7 min')
    """
    return f"{seconds:.1f} s" if seconds < 9.5 else f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
