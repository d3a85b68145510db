"""Models by name: the pocket model that ships with the course, a Hub id, or a local folder."""

from collections.abc import Sequence

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

    texts = [tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True) for row in rows]
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


def _until_end(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end) + 1] if end in ids else ids
