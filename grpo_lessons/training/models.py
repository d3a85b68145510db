"""Models at work: loaded, asked, and asked how likely they find a text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

from grpo_lessons.calling import evaluated
from grpo_lessons.rewards import Reward
from grpo_lessons.runs import Evaluation
from grpo_lessons.training import sources
from grpo_lessons.training.machine import device, free_memory
from grpo_lessons.training.settings import CHAT
from grpo_lessons.training.watch import NOBODY, Watch


def load(
    name: str,
    dtype: str = "float32",
    watch: Watch = NOBODY,
):
    """The model, in the given dtype and on the GPU if there is one, and its tokenizer, for a preset, a Hub id or a folder; fetched first if need be.

    Raises: as `sources.find`; `sources.NoModel` too for files that are damaged or a model without a chat template.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, gpu = sources.find(name, watch), device(sources.is_pocket(name)) == "cuda" and torch.cuda.is_available()
    watch.say(f"Loading the model {name}")
    if not gpu:
        _check_memory(name, source.path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.path)
        flash = gpu and find_spec("flash_attn") and dtype == "bfloat16"
        model = AutoModelForCausalLM.from_pretrained(
            source.path,
            dtype=getattr(torch, dtype),
            attn_implementation="flash_attention_2" if flash else "sdpa",
        )
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged or foreign file may cause
        whole = source.path.parents[1] if source.path.parent.name == "snapshots" else source.path
        raise sources.NoModel(
            f"The files of `{name}` cannot be read ({type(error).__name__}: {str(error)[:200]}). "
            f"If they are damaged, delete `{whole}` and press Train again to fetch them anew."
        ) from error
    if tokenizer.chat_template is None:
        raise sources.NoModel(f"`{name}` has no chat template, so it cannot be asked. Choose its -Instruct variant.")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    if gpu:
        model.to("cuda")
    model.name_or_path = tokenizer.name_or_path = source.name
    model.grpo_lessons_origin = source.origin
    return model, tokenizer


def _check_memory(name: str, folder: Path) -> None:
    """Refuse what cannot be held in float32: a process that asks for too much memory is killed without a word."""
    needed = 2 * sum(path.stat().st_size for path in folder.glob("*.safetensors"))  # stored in 16 bits, mostly
    free = free_memory()
    if needed > free:
        raise sources.NoModel(
            f"`{name}` needs {needed / 1e9:.0f} GB of memory and {free / 1e9:.0f} GB are free. Choose a smaller model."
        )


def sample(
    model, tokenizer, rows: list[dict], max_tokens: int, temperature: float = 1.0, watch: Watch = NOBODY
) -> tuple[list, list]:
    """One reply to each row, in tokens (the end token is one) and as a conversation, sampled as in training.

    Raises: sources.Stopped after the token at which `watch` wants it to end.
    """
    import torch

    def go_on(input_ids, scores, **kwargs):
        if watch.should_stop():
            raise sources.Stopped
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)  # no reply is ended by it

    texts = [as_text(tokenizer, row["prompt"]) for row in rows]
    inputs = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
    model.eval()
    with torch.inference_mode():
        output = _generated(
            model, tokenizer, inputs.to(model.device), max_tokens, temperature, stopping_criteria=[go_on]
        )
    ends = _ends(model, tokenizer)
    ids = [_until_end(row, ends) for row in output[:, inputs["input_ids"].shape[1] :].tolist()]
    return ids, _conversations(tokenizer, ids)


def _generated(model, tokenizer, inputs: Mapping, max_tokens: int, temperature: float, **also):
    return model.generate(
        **inputs,
        max_new_tokens=max_tokens,
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        pad_token_id=tokenizer.pad_token_id,
        **also,
    )


def _conversations(tokenizer, ids: list[list[int]]) -> list:
    return [[{"role": "assistant", "content": t}] for t in tokenizer.batch_decode(ids, skip_special_tokens=True)]


AT_ONCE = 14  # tokens of many tries, then those that have ended are left out: a sum takes 12


def tries(model, tokenizer, row: dict, n: int, max_tokens: int, temperature: float = 1.0) -> tuple[list, list]:
    """`n` replies to one row, sampled as by `sample`: the prompt is read once for all, and replies that have ended leave the batch."""
    import torch
    from transformers import DynamicCache

    asked = tokenizer(as_text(tokenizer, row["prompt"]), return_tensors="pt", add_special_tokens=False)["input_ids"]
    asked, ends, ids = asked.to(model.device), _ends(model, tokenizer), [[] for _ in range(n)]
    left, at, start = list(range(n)), 0, asked.shape[1]
    model.eval()
    with torch.inference_mode():
        cache = DynamicCache(config=model.config)
        model(asked[:, :-1], past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(n)
        asked = asked.repeat(n, 1)
        while left and at < max_tokens:
            some = min(AT_ONCE, max_tokens - at)
            inputs = {"input_ids": asked, "attention_mask": torch.ones_like(asked), "past_key_values": cache}
            asked, at = _generated(model, tokenizer, inputs, some, temperature), at + some
            for reply, row_ids in zip(left, asked[:, start:].tolist(), strict=True):
                ids[reply] = _until_end(row_ids, ends)
            open_ = [i for i, reply in enumerate(left) if ids[reply][-1] not in ends]
            left, asked = [left[i] for i in open_], asked[open_]
            if left:
                cache.batch_select_indices(torch.tensor(open_, device=model.device))
    return ids, _conversations(tokenizer, ids)


def evaluate(
    model, tokenizer, rows: list[dict], rewards: Sequence[Reward], max_tokens: int, watch: Watch = NOBODY
) -> Evaluation:
    """Answer every prompt once at temperature 1, as in training, and score the answers. Raises: as `sample`."""
    ids, completions = sample(model, tokenizer, rows, max_tokens, watch=watch)
    return evaluated(rewards, rows, completions, ids)


@dataclass(frozen=True)
class ReferenceLogProb:
    """How likely a model finds a completion: the mean log-probability of its tokens, in nats, at most 0.

    A judge of readability: the model before the training is asked about texts of the model after it. Minus the mean over
    many completions, as a power of e, is their perplexity.

    Args:
        model: a name for `load`; the weights are loaded once and kept.

    Raises: as `load`.
    """

    model: str = "pocket"
    __name__ = "reference_logprob"

    def __call__(self, prompts: list, completion_ids: list[list[int]], **kwargs) -> list[float]:
        import torch

        model, tokenizer = _load_once(self.model)
        asked = tokenizer([as_text(tokenizer, prompt) for prompt in prompts], add_special_tokens=False)["input_ids"]
        rows = [torch.tensor(prompt + list(ids)) for prompt, ids in zip(asked, completion_ids, strict=True)]
        each = []
        for start in range(0, len(rows), 8):  # a few at a time: chances over a whole vocabulary are large
            inputs = torch.nn.utils.rnn.pad_sequence(
                rows[start : start + 8], batch_first=True, padding_value=tokenizer.pad_token_id
            ).to(model.device)
            with torch.inference_mode():  # padding stands on the right, where no token before it can see it
                log_probs = model(input_ids=inputs).logits[:, :-1].log_softmax(-1)
                each += log_probs.gather(-1, inputs[:, 1:, None])[..., 0].tolist()
        spans = [(len(prompt) - 1, len(row) - 1) for prompt, row in zip(asked, rows, strict=True)]
        return [fmean(row[start:end]) if end > start else 0.0 for row, (start, end) in zip(each, spans, strict=True)]


@lru_cache(maxsize=1)
def _load_once(name: str):
    model, tokenizer = load(name)
    return model.eval(), tokenizer


def as_text(tokenizer, prompt) -> str:
    """A prompt as the model is given it."""
    if isinstance(prompt, str):
        return prompt
    return tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True, **CHAT)


def merge_while_generating(model) -> None:
    """Sample with the adapter merged into the weights: one matrix product a layer instead of three, the same tokens.

    The weights are put back as they were: taking the adapter off again would leave a rounding error in them each time.
    In float32 only: added to weights of 16 bits, most of an early update is rounded away, and what is sampled from is no
    longer what is trained (KL 0.02 against 0.0007 of noise).
    """
    if model.get_base_model().dtype.itemsize < 4:
        return
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


def _ends(model, tokenizer) -> set[int]:
    """The tokens that end a completion, as TRL has them: the tokenizer's and the model's own."""
    own = model.generation_config.eos_token_id
    return {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])} - {None}


def _until_end(ids: list[int], ends: set[int]) -> list[int]:
    """The ids up to the first end, with it.

    >>> _until_end([5, 6, 2, 0, 0], {2, 7}), _until_end([5, 6], {2})
    ([5, 6, 2], [5, 6])
    """
    return ids[: next((i for i, token in enumerate(ids) if token in ends), len(ids)) + 1]
