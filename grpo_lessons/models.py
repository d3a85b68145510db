"""Models by name: the pocket model that ships with the course, a Hub id, or a local folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

from grpo_lessons import pocket
from grpo_lessons.rewards import Reward, reward_name
from grpo_lessons.runs import Completion, Evaluation
from grpo_lessons.text import completion_text, question

PRESETS = {"pocket": str(pocket.PATH)}


def load(name: str):
    """The model (float32 on a CPU, bfloat16 on a GPU) and its tokenizer, for a preset, a Hub id or a folder.

    Raises: OSError if there is no such model or the Hub is out of reach; `training.explain` puts it into words.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = PRESETS.get(name, name)
    dtype = torch.bfloat16 if torch.cuda.is_available() and name != "pocket" else torch.float32
    tokenizer = AutoTokenizer.from_pretrained(source)
    return AutoModelForCausalLM.from_pretrained(source, dtype=dtype), tokenizer


def evaluate(model, tokenizer, rows: list[dict], rewards: Sequence[Reward], max_tokens: int) -> Evaluation:
    """Answer every prompt once at temperature 1, as in training, and score the answers."""
    import torch

    texts = [_as_text(tokenizer, row["prompt"]) for row in rows]
    inputs = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
    model.eval()
    with torch.inference_mode():
        output = model.generate(
            **inputs.to(model.device),
            max_new_tokens=max_tokens,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            pad_token_id=tokenizer.pad_token_id,
        )
    ids = [_until_end(row, tokenizer.eos_token_id) for row in output[:, inputs["input_ids"].shape[1] :].tolist()]
    completions = [[{"role": "assistant", "content": t}] for t in tokenizer.batch_decode(ids, skip_special_tokens=True)]
    columns = {key: [row[key] for row in rows] for key in rows[0] if key != "prompt"}
    prompts = [row["prompt"] for row in rows]
    scores = {
        reward_name(reward): reward(prompts=prompts, completions=completions, completion_ids=ids, **columns)
        for reward in rewards
    }
    return Evaluation(
        prompts=[question(prompt) for prompt in prompts],
        completions=[
            Completion(completion_text(completion), len(ids[i]), {name: scores[name][i] for name in scores})
            for i, completion in enumerate(completions)
        ],
    )


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
        asked = tokenizer([_as_text(tokenizer, prompt) for prompt in prompts], add_special_tokens=False)["input_ids"]
        rows = [torch.tensor(prompt + list(ids)) for prompt, ids in zip(asked, completion_ids, strict=True)]
        inputs = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)
        inputs = inputs.to(model.device)
        with torch.inference_mode():  # padding stands on the right, where no token before it can see it
            log_probs = model(input_ids=inputs).logits[:, :-1].log_softmax(-1)
        each = log_probs.gather(-1, inputs[:, 1:, None])[..., 0].tolist()
        spans = [(len(prompt) - 1, len(row) - 1) for prompt, row in zip(asked, rows, strict=True)]
        return [fmean(row[start:end]) if end > start else 0.0 for row, (start, end) in zip(each, spans, strict=True)]


@lru_cache(maxsize=1)
def _load_once(name: str):
    model, tokenizer = load(name)
    return model.eval(), tokenizer


def _as_text(tokenizer, prompt) -> str:
    """A prompt as the model is given it."""
    if isinstance(prompt, str):
        return prompt
    return tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)


def _until_end(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end) + 1] if end in ids else ids
