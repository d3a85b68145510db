"""The record of a run: out and in again without loss, and a clear word for what is no record."""

import json

import pytest

from grpo_lessons.runs import Run


def test_a_record_comes_back_as_it_was(short, tmp_path):
    run = short[0].run
    run.save(tmp_path / "run.json")
    assert Run.load(tmp_path / "run.json") == run


def test_a_record_is_standard_json_even_of_what_is_no_number(tmp_path):
    run = Run(settings={}, metrics=[{"step": 1, "reward": float("nan")}])
    assert json.loads(run.to_json(), parse_constant=pytest.fail)["metrics"][0]["reward"] is None
    assert Run.from_json(run.to_json()).series("reward") == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 1}', '{"format": 2}', "null", '{"format": 1, "groups": 3}']
)
def test_what_is_no_record_is_refused_by_name(text, tmp_path):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"run\.json: not the record of a run"):
        Run.load(tmp_path / "run.json")


@pytest.mark.parametrize(
    "moved",
    [[], [[]] * 7, [[[]]] * 8, [[[["a", 0.5]]]] * 8, [[[["a", 0.5, 2]]]] * 8, [[[["a", 0.5, None]]]] * 8, "x" * 8],
)
def test_what_an_update_did_to_tokens_is_kept_and_nothing_else_in_its_place(short, moved):
    data = json.loads(short[0].run.to_json())
    assert data["groups"][0].pop("moved") is None and Run.from_json(json.dumps(data)) == short[0].run  # as of old
    data["groups"][0]["moved"] = [[[["a", 0.5, 0.25]]]] * 8
    assert Run.from_json(Run.from_json(json.dumps(data)).to_json()).groups[0].moved == [[[("a", 0.5, 0.25)]]] * 8
    data["groups"][0]["moved"] = moved
    with pytest.raises(ValueError, match="not the record of a run"):
        Run.from_json(json.dumps(data))


def test_a_record_says_all_that_is_needed_to_do_it_again(short):
    run = short[0].run
    assert run.settings["seed"] == 1 and run.settings["model"] == "pocket"
    assert run.rewards == ["FormatReward(tags=('think', 'answer'))", "TagReward(tags=('think', 'answer'))"]
    assert {"model", "hardware", "date", "torch", "trl", "transformers", "peft", "python"} <= set(run.provenance)
    assert run.label.startswith("pocket · 3 steps · seed 1 · ")
