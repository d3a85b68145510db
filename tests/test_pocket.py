"""The pocket model as it is committed: its size, its files, and what it does before any reinforcement."""

import re
from statistics import fmean

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from grpo_lessons import pocket
from grpo_lessons.pocket.build import PATH, measure, pack
from grpo_lessons.pocket.corpus import CAREFUL, STYLES, conversations
from grpo_lessons.problems import sums, texts
from grpo_lessons.training import models


@pytest.fixture(scope="module")
def loaded():
    return models.load("pocket")


@pytest.fixture(scope="module")
def figures(loaded):
    return measure(*loaded)


def shares(figures, words) -> float:
    return next(float(re.match(r"([\d.]+)%", value)[1]) for name, value in figures.items() if words in name)


def test_the_weights_are_small_and_the_files_standard(loaded):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert (pocket.PATH / "model.safetensors").stat().st_size <= 4_000_000
    assert AutoModelForCausalLM.from_pretrained(pocket.PATH).num_parameters() < 1_500_000
    tokenizer = AutoTokenizer.from_pretrained(pocket.PATH)
    prompt = tokenizer.apply_chat_template(sums(1)[0]["prompt"], tokenize=False, add_generation_prompt=True)
    assert prompt.endswith("<|assistant|>") and tokenizer.pad_token != tokenizer.eos_token


def test_every_digit_is_a_token_and_any_text_survives_the_tokenizer(loaded):
    tokenizer = loaded[1]
    assert tokenizer.tokenize("1234") == ["1", "2", "3", "4"]
    for text in ("<think>12 + 45</think>\n", "naïve – ☂ \\boxed{}"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


TOKENIZER = Tokenizer.from_file(str(PATH / "tokenizer.json"))
CHARACTERS = st.sampled_from(
    "aZé ñ\t\n\r\v\f\x1c\x1f\x85\xa0\u1680\u2003\u200b\u2028\u202f\u3000\ufeff\u180e'’srtmdvel0129٣५Ⅷ½²一七👍🏽👩‍👧\u0301あ한<|end|>"
) | st.characters(exclude_categories=["Cs"])
PIECES = st.sampled_from(
    [*"'s 're 'll the is + 1 <|end|> <|user|> é 👍🏽".split(), " ", "  ", "\n", "\u0301", "The harbour"]
)


@settings(max_examples=500, deadline=None)
@given(st.text(CHARACTERS, max_size=30) | st.lists(PIECES, max_size=20).map("".join))
def test_the_tokens_are_those_of_the_tokenizers_package(text):
    assert pocket.tokens(text) == by_the_package(text)


def test_every_character_is_read_as_by_the_tokenizers_package():
    """Letter, number, white space or other: 1,000 at a time, each before and behind a letter."""
    everything = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    for i in range(0, 0x30000, 1000):  # the planes that hold characters
        text = "".join(f"a {each}b  {each}" for each in everything[i : i + 1000])
        assert pocket.tokens(text) == by_the_package(text)


def by_the_package(text: str) -> list[str]:
    pieces, position = [], 0
    for start, end in TOKENIZER.encode(text, add_special_tokens=False).offsets:
        pieces.append(text[max(start, position) : end])
        position = end
    return [*pieces, pocket.END]


def test_tokens_are_read_from_wherever_the_model_lies(monkeypatch, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes((PATH / "tokenizer.json").read_bytes())
    monkeypatch.setattr(pocket, "PATH", tmp_path)
    pocket._tokenizer.cache_clear()
    assert pocket.tokens("12") == ["1", "2", pocket.END]


def test_before_reinforcement_every_behaviour_of_the_lessons_occurs_now_and_then(figures):
    assert 10 <= shares(figures, "strict format") <= 30
    assert 20 <= shares(figures, "replies with a thought") <= 40
    assert shares(figures, "right answers, replies with a thought") >= 90
    assert shares(figures, "right answers, replies without") <= 25
    low, _, high = map(float, next(v for n, v in figures.items() if "length" in n).split(" / "))
    assert low <= 5 and high >= 60


def test_the_card_says_what_is_measured(figures):
    card = (PATH / "README.md").read_text()
    for name, figure in figures.items():
        said = next(line for line in card.splitlines() if line.startswith(f"| {name} |")).split(" | ")[1]
        numbers = [[float(n) for n in re.findall(r"[\d.]+", text)] for text in (said, figure)]
        assert numbers[0] == pytest.approx(numbers[1], rel=0.1, abs=3), name  # other machines sample otherwise


def test_many_tries_at_one_prompt_are_replies_as_any_other(loaded, monkeypatch):
    """Nearly cold they are one reply, that of `sample`; at temperature 1 as many end, and think, as there."""
    model, tokenizer = loaded
    row, other = sums(2)
    cold, _ = models.sample(model, tokenizer, [row], 48, temperature=1e-3)
    for at_once in (3, 48):
        monkeypatch.setattr(models, "AT_ONCE", at_once)
        ids, said = models.tries(model, tokenizer, row, 4, 48, temperature=1e-3)
        assert ids == cold * 4 and said[0] == [{"role": "assistant", "content": tokenizer.decode(ids[0][:-1])}]
    torch.manual_seed(0)
    ids, _ = models.tries(model, tokenizer, other, 64, 48)
    there, _ = models.sample(model, tokenizer, [other] * 64, 48)
    for share in (lambda of: fmean(len(each) < 10 for each in of), lambda of: fmean(map(len, of)) / 48):
        assert share(ids) == pytest.approx(share(there), abs=0.25)
    assert all(each.count(tokenizer.eos_token_id) <= 1 and len(each) <= 48 for each in ids)
    assert len({*map(tuple, ids)}) > 16
    ids, _ = models.tries(model, tokenizer, other, 8, 2)
    assert {*map(len, ids)} <= {1, 2}


def test_no_held_out_question_is_in_the_corpus():
    asked = {question for question, _ in conversations(20_000, seed=0)}
    held_out = {row["prompt"][0]["content"] for row in sums(2_000, seed=5, split="held-out")}
    assert len(held_out) == 2_000 and not asked & held_out


def test_train_and_held_out_prompts_never_meet_whatever_the_seed():
    for make in (sums, texts):
        train = {row["prompt"][0]["content"] for seed in range(3) for row in make(300, seed=seed)}
        held_out = {row["prompt"][0]["content"] for seed in range(3) for row in make(300, seed=seed, split="held-out")}
        assert not train & held_out


@pytest.mark.parametrize(
    ("arguments", "names"), [({"split": "test"}, "'test'"), ({"n": -1}, "-1"), ({"n": 10**6}, "10+")]
)
def test_impossible_prompts_are_refused(arguments, names):
    with pytest.raises(ValueError, match=names):
        sums(**{"n": 1} | arguments)


def test_every_answer_in_the_corpus_is_right():
    for question, reply in conversations(2_000, seed=3, styles=STYLES):
        if question.startswith("What is"):
            total = sum(map(int, re.findall(r"\d+", question)))
            assert re.search(rf"(?<!\d){total}(?!\d)", reply.rpartition("</think>")[2] or reply), (question, reply)


def test_the_careful_styles_all_think():
    assert all("<think>" in reply for question, reply in conversations(500, 0, CAREFUL) if "What is" in question)


def test_packing_keeps_conversations_apart_and_counts_replies_only(loaded):
    tokenizer = loaded[1]
    (row,) = pack([("What is 1 + 2?", "3"), ("What is 2 + 2?", "4")], tokenizer, 64)
    ids, positions, labels = row
    assert positions.count(0) == 2
    assert tokenizer.decode([label for label in labels if label != -100]) == "3<|end|>4<|end|>"
    assert len(ids) == len(positions) == len(labels)
