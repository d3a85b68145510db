"""Your own, walked headless: rows and a reward of one's own, in one line; and what the cells say to a reader's choices."""

import json
import os
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from marimo._plugins.ui._core.ui_element import UIElement

from grpo_lessons import lesson
from grpo_lessons.calling import load_reward
from grpo_lessons.lesson import own
from grpo_lessons.lesson.session import Report
from grpo_lessons.rewards import answer_reward, format_reward
from grpo_lessons.runs import Run
from grpo_lessons.training import Plan, Settings
from grpo_lessons.training.data import Data, Prompts, guess, open_data, prompts
from grpo_lessons.training.keep import hand_over
from tests.support.lessons import load, opened

ROOT = Path(__file__).parents[1]
ROWS = "q,a,note\n" + "".join(f"What is {a} + {a + 3}?,{2 * a + 3},x\n" for a in range(10, 60))
REWARD = """
import re
LAST = re.compile(r"\\d+")

def score(completions, a, note, **kwargs):
    assert set(note) == {"x"}
    found = [LAST.findall(each[0]["content"]) for each in completions]
    return [float(bool(numbers) and numbers[-1] == right) for numbers, right in zip(found, a)]
"""


def shown(**defs) -> str:
    """All that the notebook shows, with some of its names replaced."""
    outputs, _ = load("own").app.run(defs=defs)
    return "".join(output.text for output in outputs if hasattr(output, "text"))


def run(folder: Path, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "notebooks/grpo_own.py"), "--", *options]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, env=env, encoding=env.get("PYTHONIOENCODING")
    )


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "rows.csv").write_text(ROWS)
    (tmp_path / "my_rewards.py").write_text(REWARD)
    return tmp_path


def test_in_one_line_it_trains_on_rows_and_a_reward_of_ones_own_with_two_seeds(mine):
    given = ["--data", "rows.csv", "--question", "q", "--answer", "a", "--reward", "my_rewards.py:score"]
    done = run(mine, *given, "--model", "pocket", "--steps", "2", "--batch-size", "16", "--seeds", "2")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "held-out score" in done.stdout and "held-out answer_reward" in done.stdout
    assert done.stdout.count("seeds to tell this from nothing") == 2
    (figure,) = (Path(os.environ["GRPO_LESSONS_RUNS"]) / "own").glob("seeds-*/seeds.png")
    runs = [Run.load(figure.parent / f"seed-{seed}.json") for seed in (0, 1)]
    written = runs[0]
    assert [each.settings["seed"] for each in runs] == [0, 1] and runs[0].metrics != runs[1].metrics
    assert written.steps_done == 2 and written.rewards == ["score"] and str(figure) in done.stdout
    assert written.choices == {"data": "rows.csv", "asks": "q", "gives": "a"}
    assert {each.split("What is ")[1] for each in written.before.prompts} <= {
        line.split(",")[0][8:] for line in ROWS.splitlines()
    }


def test_in_one_line_it_says_what_the_notebook_says_before_it_trains_and_keeps_the_adapter(mine, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")  # of a file in Windows: a row may hold what it lacks
    (mine / "rows.csv").write_text(ROWS.replace(",23,", ",n/a,", 1) + "What is 11 + 14?,二,x\n", encoding="utf-8")
    reward = REWARD.replace("numbers[-1] == right", "numbers[-1] != '0'")
    (mine / "my_rewards.py").write_text(reward)
    given = ["--data", "rows.csv", "--question", "q", "--answer", "a", "--reward", "my_rewards.py:score"]
    done = run(mine, *given, "--model", "pocket", "--steps", "1", "--batch-size", "16")
    assert done.returncode == 0, done.stderr[-2000:]
    said = done.stdout.splitlines()
    for words in (
        "rows.csv: 51 rows.",
        "2 rows cannot be used. row 1: column 'a' has no answer: 'n/a'; row 51: the same question as in row 2",
        "score fails “asks for the answer”:",
        "Will it teach? ",
        "It is trained all the same",
        "pocket · 1 step",
    ):
        assert words in said[0], (words, said)
        said.pop(0)
    adapter = Path(os.environ["GRPO_LESSONS_RUNS"]) / "own/adapter"
    assert f"adapter: {adapter}" in said and Run.load(adapter / "run.json").rewards == ["score"]
    assert (adapter / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize(
    ("pays", "words", "is_trained"),
    [
        ("float(text.split()[-1] == '95')", "Nothing was trained: mend the reward first.", False),
        (
            "float(text.split(maxsplit=99)[99] == '95')",
            "failed. IndexError: list index out of range. In line 2: `return",
            False,
        ),
        ("0.0", "It is trained all the same", True),
        ("0.5 if text.strip('.0123456789 ') else None", "replies got `None`", True),
    ],
)
def test_a_program_trains_no_reward_that_fails_and_says_of_one_that_cannot_teach_that_it_goes_on(
    mine, pays, words, is_trained, monkeypatch, capfd
):
    code = f"def score(completions, **kwargs):\n    return [{pays} for text in (each[0]['content'] for each in completions)]\n"
    (mine / "my_rewards.py").write_text(code)
    monkeypatch.chdir(mine)
    given = ["--data", "rows.csv", "--question", "q", "--answer", "a", "--reward", "my_rewards.py:score"]
    small = ["--model", "pocket", "--steps", "2", "--batch-size", "16"]
    monkeypatch.setattr(sys, "argv", [str(ROOT / "notebooks/grpo_own.py"), "--", *given, *small])
    ended = ""
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as error:
        ended = str(error)
    said = capfd.readouterr()
    assert words in said.out + ended and bool(ended) != is_trained
    assert ("held-out score" in said.out) == is_trained
    assert said.err.count("All reward functions returned None") <= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--question", "nothing"], "--question 'nothing': expected one of 'q', 'a', 'note'"),
        (["--reward", "my_rewards.py:scores"], "has no function 'scores'; it has score"),
        (["--reward", "gone.py:score"], "there is no file `gone.py`"),
        (["--stepps", "2"], "--stepps: no such setting"),
        (["--data", "gone.csv"], "there is no such file"),
    ],
)
def test_a_wrong_word_is_named_and_nothing_is_trained(mine, options, words, monkeypatch):
    given = [*([] if "--data" in options else ["--data", "rows.csv"]), "--steps", "2", *options]
    monkeypatch.chdir(mine)
    monkeypatch.setattr(sys, "argv", [str(ROOT / "notebooks/grpo_own.py"), "--", *given])
    with pytest.raises(SystemExit, match=re.escape(words)):
        runpy.run_path(sys.argv[0], run_name="__main__")


def test_a_program_says_what_is_wrong_in_words_and_not_by_a_traceback(mine):
    done = run(mine, "--data", "rows.csv", "--question", "nothing")
    assert done.returncode != 0 and "--question 'nothing'" in done.stderr and "Traceback" not in done.stderr[-400:]


def test_the_folder_for_trl_has_the_source_of_a_reward_of_ones_own(mine):
    reward = load_reward(str(mine / "my_rewards.py:score"))
    made = prompts(open_data(mine / "rows.csv"), "q", "a")
    plan = load("own").plan(Settings(batch_size=8), made, [reward])
    hand_over(plan, mine, "runs/own")
    text = (mine / "runs/own/rewards.py").read_text()
    line = json.loads((mine / "runs/own/prompts/train.jsonl").read_text().splitlines()[0])
    assert line["a"] == line["answer"] and line["q"] == line["prompt"][0]["content"] and line["note"] == "x"
    assert "def score(" in text and "re.compile" in text
    names = {}
    exec(text, names)
    said = [[{"role": "assistant", "content": text}] for text in ("It is 5.", "6")]
    assert names["score"](said, a=["5", "5"], note=["x", "x"]) == [1.0, 0.0]


def test_what_cannot_be_used_is_counted_by_its_reason_and_many_of_one_kind_hide_no_other():
    made = Prompts(
        [], [], [*((at, f"the same question as in row {at - 1}") for at in range(2, 42)), (77, "column 'q' is empty")]
    )
    text = own.show_data(Data("x.csv", ["q"], [], 0), made, "pocket", {}).text
    assert "41 rows cannot be used: 1 × column &#x27;q&#x27; is empty; 40 × the same question as in another row" in text
    assert "row 77: column" in text and "and 35 more like it" in text


def test_the_example_is_two_hundred_rows_whose_answers_are_right_in_both_columns():
    data = open_data(ROOT / "notebooks/public/word_problems.csv")
    assert data.total == 200 and guess(data.columns) == ("question", "answer")
    for _, row in data.rows:
        said, asked = ([int(each) for each in own_numbers(row[name])] for name in ("problem", "question"))
        assert said == asked and sum(asked) == int(row["answer"])
    for asks in ("problem", "question"):
        made = prompts(data, asks, "answer")
        assert not made.left_out and len(made.held_out) > 10


def own_numbers(text: str) -> list[str]:
    return re.findall(r"\d+", text)


def test_untouched_it_shows_the_data_the_tries_the_tests_and_why_a_run_did_not_learn():
    text = shown()
    for words in (
        "200 rows",
        "Every row can be used",
        "ten thousand digits",
        "asks for the answer",
        "Dead groups.",
    ):
        assert words in text
    assert "<|user|>" in text or "&lt;|user|&gt;" in text  # the prompt as the model is given it


def test_what_is_chosen_is_what_is_planned():
    _, defs = load("own").app.run()
    plan = defs["asked"]
    assert plan.rewards == [answer_reward] and plan.problem is None and len(plan.prompts) > 150
    menu = defs["weights"].value | {"format_reward": 0.5}
    rewards, weights = own.chosen_rewards(opened(lesson="own"), defs["known"], menu, "answer")
    assert rewards == [answer_reward, format_reward] and weights == (1.0, 0.5)
    same = dict.fromkeys(menu, 0.0) | {"tag_reward": 0.5}
    assert own.chosen_rewards(opened(lesson="own"), defs["known"], same, "answer")[1] is None


def test_a_weight_stays_as_it_was_chosen_whatever_is_run_anew(tmp_path):
    here, known = opened(lesson="own", folder=tmp_path), [answer_reward, format_reward]
    menu = own.reward_menu(here, known, [answer_reward])
    assert menu.value == {"answer_reward": 1.0, "format_reward": 0.0}
    menu.elements["answer_reward"]._update(0)
    menu.elements["format_reward"]._update(1.25)
    assert own.reward_menu(here, known, [answer_reward]).value == {"answer_reward": 0.0, "format_reward": 1.25}
    program = opened(lesson="own", folder=tmp_path, is_script=True)  # its line says all that it does
    assert own.reward_menu(program, known, [answer_reward]).value == {"answer_reward": 1.0, "format_reward": 0.0}
    (tmp_path / "predictions.json").write_text('{"weight of answer_reward": "9", "weight of format_reward": []}')
    anew = opened(lesson="own", folder=tmp_path)
    assert own.reward_menu(anew, known, [answer_reward]).value == {"answer_reward": 1.0, "format_reward": 0.0}


@pytest.mark.parametrize(
    "written", ["def score(completions, answer, **kwargs):", "def my_reward(completions, answer, **kwargs)"]
)
def test_a_reward_that_is_renamed_or_has_a_slip_leaves_the_rest_of_the_notebook_alone(tmp_path, written):
    """Thirteen cells said that an ancestor of theirs had raised something."""
    text = Path(load("own").__file__).read_text(encoding="utf-8")
    stands = "def my_reward(completions, answer, **kwargs):"
    assert text.count(stands) == 1
    if written.endswith(":"):
        (tmp_path / "mine.py").write_text(text.replace(stands, written), encoding="utf-8")
    else:  # marimo keeps a cell that it cannot read out of the notebook
        function = text[text.index("@app.function\n" + stands) : text.index("@app.cell", text.index(stands))]
        (tmp_path / "mine.py").write_text(text.replace(function, ""), encoding="utf-8")
    outputs, defs = runpy.run_path(str(tmp_path / "mine.py"))["app"].run()
    text = "".join(output.text for output in outputs if hasattr(output, "text"))
    assert "Until it is back" in text and "asks for the answer" in text
    assert [*defs["weights"].value] == ["answer_reward", "format_reward", "tag_reward", "length_reward"]
    assert "Until it is back" not in shown()


@pytest.mark.parametrize("writes", [True, False])
def test_what_is_chosen_of_the_data_stays_as_it_was_chosen_and_where_it_may_write_after_a_reload(tmp_path, writes):
    """`marimo run` writes nowhere: there, too, a column is not chosen for the reader a second time."""
    here = opened(lesson="own", folder=tmp_path / "runs" if writes else None)
    (tmp_path / "mine.csv").write_text("a,b,c\n1,2,3\n")
    own.data_source(here, "word_problems.csv").elements["where"]._update(str(tmp_path / "mine.csv"))
    chosen = {"asks": "b", "gives": "c", "instruction": "Be brief.", "question": "1?", "reply": "2"}
    source = own.data_source(here, "word_problems.csv").value
    menu = own.columns_menu(here, own.opened_data(here, source))
    for name, said in chosen.items():
        menu.elements[name]._update([said] if name in ("asks", "gives") else said)
    again = [here, *([opened(lesson="own", folder=tmp_path / "runs")] if writes else [])]
    for each in again:
        data = own.opened_data(each, own.data_source(each, "word_problems.csv").value)
        assert data.source == "mine.csv" and own.columns_menu(each, data).value == chosen
        given = opened(lesson="own", folder=each.folder, said=each.said, options={"question": "c", "data": "x"})
        assert own.columns_menu(given, data).value["asks"] == "c"
        assert own.data_source(given, "word_problems.csv").value["where"] == "x"
    (tmp_path / "mine.csv").write_text("a,b,d\n1,2,3\n")  # a column that is no more
    assert own.columns_menu(here, own.opened_data(here, source)).value["gives"] == ""


def test_the_groups_beside_a_verdict_show_what_has_no_say():
    """Both were of 0.3 alone, or called alive for a None."""
    plan = load("own").app.run()[1]["asked"]
    asks = [{"prompt": [{"role": "user", "content": f"Say it in {n} words."}], "answer": "1"} for n in range(40)]
    plan = replace(plan, rewards=[of_numbers], judges=[of_numbers], prompts=asks, held_out=[]).with_settings(
        temperature=1.5
    )
    found = own.pilot(plan)
    text = own.show_verdict(own.Asked(plan, found=found), plan, "ready").text
    assert any(None in group for group in found.rewards_PG)
    assert text.count("no two rewards differ, None has no say") == 2 and ">None</b>" in text


def of_numbers(completions, **kwargs):
    return [0.3 if re.search(r"\d", each[0]["content"]) else None for each in completions]


def test_a_paste_is_read_and_a_damaged_one_told():
    paste = {"file": (), "text": "ValueError: generation_batch_size (4) must be divisible by num_generations (8)."}
    run = load("own").app.run()[1]["station"].recorded
    assert "Batch and groups" in own.show_diagnosis(paste, run).text
    assert "There is no log here" in own.show_diagnosis({"file": (), "text": "hello <b>"}, run).text
    assert "Learning" in own.show_diagnosis({"file": (), "text": " "}, run).text


def test_with_rows_of_ones_own_nothing_speaks_of_ours(mine):
    """It asked for `problem`, a column of ours, tried a sum of ours, and promised half a minute to a minute."""
    ours, usual = ("Choose <code>problem</code>", "82 + 17 + 89"), shown()
    assert all(each in usual for each in ours) and "half a minute to a minute" not in usual
    data = open_data(mine / "rows.csv")
    text = shown(data=data, columns=own.columns_menu(opened(), data))
    assert "What is 10 + 13?" in text and not any(each in text for each in ours)


@pytest.mark.parametrize(
    ("question", "reply", "said"),
    [("1 + 1?", " ", "its reply is missing"), ("", "2", "its question is missing"), ("1 + 1?", "2", ""), ("", "", "")],
)
def test_half_an_example_is_told_and_a_whole_one_stands_in_the_prompt(question, reply, said):
    menu = {"asks": "question", "gives": "answer", "instruction": "", "question": question, "reply": reply}
    data = open_data(ROOT / "notebooks/public/word_problems.csv")
    made = own.made_prompts(opened(), data, menu)
    text = own.show_data(data, made, "pocket", menu).text
    assert ("The example is not in the prompt yet" in text) == bool(said) and said in text
    assert len(made.train[0]["prompt"]) == (3 if question and reply.strip() else 1)


def test_the_tests_of_a_reward_are_sentences_that_a_tick_affirms():
    text = shown()
    assert "a sound reward" in text and "asks for the answer" in text and "stands hostile replies" in text
    lines = own.show_checks([lambda completions, **kwargs: [1.0] * len(completions)], *_one_row()).text
    assert "✗" in lines and "asks for the answer" in lines and "?</td>" not in lines


def _one_row() -> tuple:
    return prompts(open_data(ROOT / "notebooks/public/word_problems.csv"), "question", "answer"), None


def in_steps(first: float, last: float, spread: float = 0.4) -> Run:
    rows = [{"step": i + 1, "reward": first + (last - first) * i / 11, "reward_std": spread} for i in range(12)]
    return Run(settings={}, rewards=["mine"], metrics=rows)


@pytest.mark.parametrize(
    ("run", "end", "numbers"),
    [
        ("own_learns", "Far higher", "the recorded run it went from 0.5"),
        ("own_words", "Where it was, or lower", "from 0"),
        (
            in_steps(0.19, 0.19),
            "Where it was, or lower",
            "your run it went from 0.19 to 0.19 (the means of its first and its last 4 steps):",
        ),
        (in_steps(0.6, 0.4), "Where it was, or lower", "from 0.57 to 0.43 ("),
        (in_steps(0.4, 0.5), "A little higher", "from 0.41 to 0.49 ("),
        (in_steps(0.2, 0.9), "Far higher", "from 0.3 to 0.8 ("),
        (in_steps(-20.0, -5.0, 12.0), "Far higher", "from -18 to -7 ("),
    ],
)
def test_a_prediction_is_held_against_the_readers_own_run(run, end, numbers):
    is_readers = not isinstance(run, str)
    found = own.where_it_ends(run if is_readers else Run.load(ROOT / f"notebooks/public/{run}.json"), is_readers)
    assert found[0] == end and numbers in found[1]
    asked = load("own").app.run()[1]["rising"]
    assert [*asked.answers] == [*own.ENDS]
    asked._update(end)
    assert "Yes." in asked.answer(*found).text and numbers in asked.answer(*found).text
    asked._update(next(each for each in own.ENDS if each != end))
    assert "Not quite." in asked.answer(*found).text and f"{end}." in asked.answer(*found).text


@pytest.mark.parametrize("lesson", ["length", "format", "math", "own"])
def test_a_recording_says_what_it_was_made_with_that_is_not_what_the_reader_has_chosen(lesson, mine):
    defs = load(lesson).app.run()[1]
    station, plan = defs["station"], defs["asked"]
    assert "no two runs are quite alike" in station._or_recorded(None, plan).phase
    chosen = {name: f"not {value}" for name, value in station.recorded.choices.items()}
    said = station._or_recorded(None, replace(plan, choices=plan.choices | chosen)).phase
    assert all(f"{name}: {value}" in said for name, value in station.recorded.choices.items())
    if lesson == "own":
        own_reward = replace(plan, rewards=[load_reward(str(mine / "my_rewards.py:score"))])
        assert "(reward: answer_reward)" in station._or_recorded(None, own_reward).phase
        assert "(model: pocket)" in station._or_recorded(None, plan.with_settings(model="no/such")).phase


@pytest.mark.parametrize("lesson", ["length", "format", "math", "own"])
def test_a_run_of_ones_own_is_said_to_be_of_other_choices_once_they_are_and_not_before(lesson):
    defs = load(lesson).app.run()[1]
    station, plan = defs["station"], defs["asked"]
    run = replace(Run.from_json(plan.new_run().to_json()), state="finished", metrics=[{"step": 1, "reward": 0.5}])
    report = Report("Your last training: 1 step in 2 s", run)
    assert station._or_recorded(report, plan) == report
    other = station._or_recorded(report, replace(plan, choices={name: "another" for name in plan.choices}))
    assert ("But that was with other choices" in other.phase) == bool(plan.choices)


@pytest.mark.parametrize("lesson", ["length", "format", "math", "own"])
def test_no_setting_makes_a_question_anew_and_takes_a_choice_away(lesson):
    app = load(lesson).app
    _, defs = app.run()
    moved = {name for name, value in defs.items() if isinstance(value, UIElement | Plan)}
    asking = [cell._cell.refs for cell in app._cell_manager.cells() if cell and "lesson.Question(" in cell._cell.code]
    assert moved and asking and not any(refs & moved for refs in asking)


def test_before_a_choice_a_recording_gives_no_prediction_away_and_nothing_says_that_the_model_was_asked():
    defs = load("own").app.run()[1]
    station, asked = defs["station"], defs["rising"]
    question = lesson.Question(opened(), asked.asked, asked.answers, right=own.ENDS[2])
    assert "You have seen" not in question.text
    assert "Look without a choice" in station.after_choice(None, question, "The end.").text
    mine = Report("Finished", replace(station.recorded))
    assert "<details" not in station.after_choice(mine, question, "The end.").text
    question._update(own.ENDS[0])
    assert "<details" not in station.after_choice(None, question, "The end.").text


def test_hostile_rows_are_shown_and_never_run(tmp_path):
    nasty = "<script>alert(1)</script>"
    (tmp_path / "a.csv").write_text(f"{nasty},answer\n{nasty} 1 + 1?,2\n{nasty} 1 + 2?,{nasty}\n")
    data = own.opened_data(opened(), {"file": (), "where": str(tmp_path / "a.csv")})
    menu = {"asks": nasty, "gives": "answer", "instruction": nasty, "question": nasty, "reply": nasty}
    made = own.made_prompts(opened(), data, menu)
    text = own.show_data(data, made, "pocket", menu).text + own.show_tries([answer_reward], made, nasty).text
    assert "<script" not in text and "script" in text


def test_what_goes_wrong_with_every_reply_is_said_once_and_the_others_are_still_paid():
    def strict(completions, grade, **kwargs):
        return grade

    made = prompts(open_data(ROOT / "notebooks/public/word_problems.csv"), "question", "answer")
    both = own.show_tries([answer_reward, strict], made, "It is 2.").text
    assert "the data set has no such column" in both and "positional argument" not in both
    assert both.count("&#x27;grade&#x27;") + both.count("'grade'") == 1 and "ten thousand digits" in both
    assert "ten thousand digits" not in own.show_tries([strict], made, "It is 2.").text
