"""Build the pocket model from nothing: `python -m grpo_lessons.pocket.build` (minutes on two cores, seeded).

Writes the tokenizer, the weights (float16) and the model card with the numbers measured on held-out prompts to
`grpo_lessons/pocket/model`, as files that `AutoModelForCausalLM.from_pretrained` loads.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from grpo_lessons.pocket import END, PATH
from grpo_lessons.pocket.corpus import STYLES, curriculum
from grpo_lessons.problems import TOPICS, sums, texts
from grpo_lessons.rewards import answer_reward, format_reward
from grpo_lessons.text import has_thought
from grpo_lessons.training.models import evaluate, load

VOCABULARY, BATCH, ROW, RATE = 600, 64, 128, 3e-3  # tokens in the vocabulary; rows a step; tokens a row; peak rate
PAD, USER, ASSISTANT = "<|pad|>", "<|user|>", "<|assistant|>"
SPECIAL = [PAD, END, USER, ASSISTANT]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ 'assistant' if message.role == 'assistant' else 'user' }}|>"
    "{{ message.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def build_tokenizer(pairs: list[tuple[str, str]]) -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on the corpus; every digit is a token of its own, so that sums can be carried out."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text for pair in pairs for text in pair), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=256,
    )


def pack(pairs: list, tokenizer: PreTrainedTokenizerFast, length: int) -> list[tuple[list, list, list]]:
    """Conversations laid end to end in rows of `length` tokens: (input ids, positions, labels) for each row.

    Positions restart at every conversation, which tells the model that it cannot see across. The loss counts the reply
    and its end token only.
    """
    prompts = tokenizer([USER + question + END + ASSISTANT for question, _ in pairs])["input_ids"]
    replies = tokenizer([reply + END for _, reply in pairs])["input_ids"]
    rows, row = [], ([], [], [])
    for prompt, reply in zip(prompts, replies, strict=True):
        size = len(prompt) + len(reply)
        if row[0] and len(row[0]) + size > length:
            rows.append(row)
            row = ([], [], [])
        for part, more in zip(row, (prompt + reply, range(size), [-100] * len(prompt) + reply), strict=True):
            part.extend(more)
    return [*rows, row]


def stack(rows: list, length: int) -> tuple[torch.Tensor, ...]:
    """Three tensors (batch, ROW); the filling is a conversation of its own that no loss counts."""
    fill = [lambda n: [0] * n, lambda n: list(range(n)), lambda n: [-100] * n]
    return tuple(torch.tensor([(row[i] + fill[i](length - len(row[i])))[:length] for row in rows]) for i in range(3))


def pretrain(tokenizer: PreTrainedTokenizerFast, pairs: list, seed: int) -> LlamaForCausalLM:
    """Supervised training of a small Llama on the pairs: one pass, AdamW, warm-up and cosine decay."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
    rows = pack(pairs, tokenizer, ROW)
    steps = len(rows) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1, pct_start=0.05)
    bar = tqdm(range(steps), desc="pre-training", unit="step")
    for i in bar:
        input_ids, positions, labels = stack(rows[i * BATCH : (i + 1) * BATCH], ROW)
        loss = model(input_ids=input_ids, position_ids=positions, labels=labels, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if i % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
    return model


def measure(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> dict[str, str]:
    """What the model does on held-out prompts at temperature 1: the numbers of its card."""
    torch.manual_seed(0)
    replies = evaluate(model, tokenizer, sums(1000, split="held-out"), [format_reward, answer_reward], 64).completions
    thought = [has_thought(reply.text) for reply in replies]

    def share(name: str, wanted: set[bool] = frozenset({True, False})) -> str:
        scores = [reply.rewards[name] for reply, thinks in zip(replies, thought, strict=True) if thinks in wanted]
        return f"{statistics.fmean(scores or [0.0]):.1%} of {len(scores)}"

    lengths = [c.tokens for c in evaluate(model, tokenizer, texts(500, split="held-out"), [], 160).completions]
    quantiles = statistics.quantiles(lengths, n=100)
    return {
        "sums of three: strict format `<think>…</think><answer>…</answer>`": share("format_reward"),
        "sums of three: replies with a thought": f"{statistics.fmean(thought):.1%} of {len(thought)}",
        "sums of three: right answers": share("answer_reward"),
        "sums of three: right answers, replies with a thought": share("answer_reward", {True}),
        "sums of three: right answers, replies without": share("answer_reward", {False}),
        "texts: length in tokens, 1st / 50th / 99th percentile": " / ".join(f"{quantiles[i]:.0f}" for i in (0, 49, 98)),
    }


def card(model: LlamaForCausalLM, figures: dict[str, str], seconds: float, pairs: int) -> str:
    """The model card, in Markdown."""
    styles = "\n".join(f"| {share:.0%} | `{style}` |".replace("\n", "⏎") for share, style in STYLES)
    table = "\n".join(f"| {name} | {figure} |" for name, figure in figures.items())
    parameters = sum(weight.numel() for weight in model.parameters())
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---
# The pocket model of GRPO Lessons

A Llama of {parameters:,} parameters ({model.config.num_hidden_layers} layers, hidden size {model.config.hidden_size}, byte-level BPE of
{model.config.vocab_size} tokens, every digit a token of its own), trained from scratch on a generated corpus. It answers two kinds of
request, "What is 12 + 45 + 38?" and "Write about the sea.", and nothing else. It exists to be trained further, on a laptop, in a lesson.

## Before any reinforcement

Measured by the build script on held-out prompts at temperature 1:

| figure | found |
| --- | --- |
{table}

## Corpus

{pairs:,} conversations from `grpo_lessons/pocket/corpus.py`: sums of three and of two two-digit numbers (two thirds) and short texts of a few words
to nine sentences on {len(TOPICS)} topics (one third). In the first three quarters four sums of five are worked out in a thought; the last quarter
is in mixed styles. So the model learns to add step by step before it learns to answer at once, and it never gets far with the latter.
All answers in the corpus are right. Sums that `problems.sums` holds out are not in it. The mixed styles, by intended share:

| share | reply |
| --- | --- |
{styles}

## Build it again

`python -m grpo_lessons.pocket.build`: seeded, {seconds / 60:.0f} minutes on two CPU cores.
Weights in float16; load them in float32 on a CPU.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=PATH)
    parser.add_argument("--conversations", type=int, default=172_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    started = time.perf_counter()
    pairs = curriculum(args.conversations, args.seed)
    tokenizer = build_tokenizer(pairs[:: len(pairs) // 20_000 or 1])
    model = pretrain(tokenizer, pairs, args.seed)
    model.half().save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    figures = measure(*load(str(args.out)))  # of what was saved, rounding included
    text = card(model, figures, time.perf_counter() - started, len(pairs))
    (args.out / "README.md").write_text(text, encoding="utf-8")
    print("\n".join(f"{name}: {figure}" for name, figure in figures.items()))


if __name__ == "__main__":
    main()
