"""Data of one's own: every kind of file says the same, what cannot be used is listed by row, a million rows open in seconds."""

import csv
import json
import time

import pytest
from trl.data_utils import is_conversational

from grpo_lessons.calling import ask, complaint
from grpo_lessons.calling import columns as call
from grpo_lessons.problems import read_rows, split_of
from grpo_lessons.rewards import answer_reward
from grpo_lessons.training import Plan, Settings
from grpo_lessons.training.data import Data, guess, of_upload, open_data, prompts

ROWS = [{"question": f"What is {a} + {a + 1}?", "answer": str(2 * a + 1), "level": "easy"} for a in range(40)]


def write(folder, kind, rows=ROWS):
    path = folder / f"mine.{kind}"
    if kind == "parquet":
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "json":
        path.write_text(json.dumps(rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter={"csv": ","}[kind])
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "parquet"])
def test_every_kind_of_file_says_the_same_and_a_sample_keeps_the_numbers_of_its_rows(kind, tmp_path):
    path = write(tmp_path, kind)
    whole, some = open_data(path), open_data(str(path), most=10)
    assert [row for _, row in whole.rows] == ROWS and whole.total == some.total == 40
    assert len(some.rows) == 10 and all(row == ROWS[at - 1] for at, row in some.rows)
    assert len({at for at, _ in some.rows}) == 10 and some == open_data(path, most=10) and "10 of 40" in str(some)
    assert of_upload(path.name, path.read_bytes()) == whole


@pytest.mark.parametrize("delimiter", ";\t,|")
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_a_table_of_any_program_is_read_alike_by_path_and_dropped(delimiter, end, bom, tmp_path):
    """A dropped file with semicolons had one column, and its answers in its questions."""
    rows = [("text", "gold"), ("Half of 9; or 4.5, twice?", "4.5"), ("1 + 1?", "2")]
    cells = [[f'"{cell}"' if delimiter in cell else cell for cell in row] for row in rows]
    contents = (bom + end.join(map(delimiter.join, cells)) + end).encode()
    (tmp_path / "mine.csv").write_bytes(contents)
    read = [(at, dict(zip(rows[0], row, strict=True))) for at, row in enumerate(rows[1:], 1)]
    assert (
        of_upload("mine.csv", contents)
        == open_data(tmp_path / "mine.csv")
        == Data("mine.csv", ["text", "gold"], read, 2)
    )
    assert read_rows("mine.csv", contents) == [row for _, row in read]


def test_damaged_rows_are_told_alike_by_path_and_dropped(tmp_path):
    for name, contents in {
        "a.csv": b"q;a\r\n1 + 1?;2\r\n3 + 3?\r\n",
        "a.jsonl": b'\xef\xbb\xbf{"q": "1 + 1?"}\nhello\n{"q": "2 + 2?", "a": "4"}\n',
    }.items():
        (tmp_path / name).write_bytes(contents)
        data = of_upload(name, contents)
        assert data == open_data(tmp_path / name) and data.columns == ["q", "a"]
        assert [at for at, _ in prompts(data, "q").left_out] == [2]


def test_a_folder_or_the_hub_is_read_as_a_stream(tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    write(tmp_path / "set", "jsonl").rename(tmp_path / "set/train.jsonl")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    data = open_data(tmp_path / "set")
    assert sorted(row["answer"] for _, row in data.rows) == sorted(row["answer"] for row in ROWS)
    assert data.total == 40 and len(open_data(tmp_path / "set", most=10).rows) == 10
    import datasets

    def out_of_reach(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", out_of_reach)
    with pytest.raises(ValueError, match=r"me/none.*no network.*Expected such as openai/gsm8k:main"):
        open_data("me/none")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "expected a first line of names|has no rows"),
        ("a.csv", b"q,q\n1,2\n", "each once"),
        ("a.csv", b"q,a\n", "has no rows"),
        ("a.csv", b"q,a\n\xff\xfe,1\n", "no UTF-8"),
        ("a.jsonl", b"hello\n", "expected an object in every line"),
        ("a.jsonl", b"[" * 50_000 + b"\n", "expected an object in every line"),
        ("a.json", b"{", "expected a list of objects"),
        ("a.parquet", b"PAR1", "no Parquet file"),
        ("a.txt", b"hello", "expected a file that ends in"),
    ],
)
def test_a_damaged_file_is_told_so(name, content, said, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        open_data(tmp_path / name)
    with pytest.raises(ValueError, match=said):
        of_upload(name, content)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "No data"),
        ("not_here.csv", "no such file in `.*`"),
        ("/not/here.csv", "no such file[.]"),
        ("a\0b.csv", "null|no such file"),
    ],
)
def test_what_is_not_there_is_told_so(source, said):
    with pytest.raises(ValueError, match=said):
        open_data(source)


def test_the_split_is_by_the_question_alone_and_a_training_takes_the_rows(tmp_path):
    made = prompts(open_data(write(tmp_path, "csv")), "question", "answer", "Be brief.", ("1 + 1?", "2"))
    for split, rows in (("train", made.train), ("held-out", made.held_out)):
        assert rows and all(split_of(row["prompt"][-1]["content"]) == split for row in rows)
        assert [message["role"] for message in rows[0]["prompt"]] == ["system", "user", "assistant", "user"]
        assert rows[0]["level"] == "easy" and not made.left_out
    plan = Plan(Settings(batch_size=8), [answer_reward], made.train, made.held_out)
    assert plan.refusal is None


def test_what_cannot_be_used_is_listed_by_row_and_the_rest_is_used():
    rows = [
        {"q": "1 + 1?", "a": 2},
        {"q": " ", "a": "3"},
        {"q": None, "a": "3"},
        {"q": "2 + 2?", "a": "no idea, sorry"},
        {"q": "1 + 1?", "a": "2"},
        {"q": "x" * 30_000, "a": "1"},
        {"q": 7, "a": "1"},
        {None: ["a", "b", "c"]},
        {"q": [{"role": "user", "content": "3 + 3?"}], "a": ["6", "six"]},
        {"q": [{"role": "robot", "content": "3 + 3?"}], "a": "6"},
    ]
    made = prompts(Data("mine", ["q", "a"], [*enumerate(rows, 1)], 10), "q", "a")
    told = dict(made.left_out)
    assert {*told} - {4} == {2, 3, 5, 6, 7, 8, 10}  # 4 is words, and words can be a right answer
    for row, word in {
        2: "empty",
        5: "same question",
        6: "30,000",
        7: "neither text",
        8: "3 cells",
        10: "'robot'",
    }.items():
        assert word in told[row]
    assert all(isinstance(row["answer"], list) for row in made.train + made.held_out)  # one kind in a column
    with pytest.raises(ValueError, match="no column 'question': mine has 'q', 'a'"):
        prompts(Data("mine", ["q", "a"], [*enumerate(rows, 1)], 10), "question")


def test_a_row_without_an_answer_and_one_that_contradicts_another_are_told_with_the_row_and_the_answers():
    pairs = [("a?", "3"), ("b?", "5"), ("c?", "N/A"), ("a?", "3.0"), ("b?", "99"), ("d?", "")]
    data = Data("mine", ["q", "a"], [(at, {"q": asked, "a": gold}) for at, (asked, gold) in enumerate(pairs, 1)], 6)
    assert prompts(data, "q", "a").left_out == [
        (3, "column 'a' has no answer: 'N/A'"),
        (4, "the same question as in row 1"),
        (5, "the same question as in row 2, with another answer: '5' there, '99' here"),
        (6, "column 'a' has no value that can be read: ''"),
    ]
    assert [at for at, _ in prompts(data, "q").left_out] == [4, 5]


def test_columns_that_a_trainer_would_stumble_over_stay_out():
    rows = [{"q": f"{i}?", "completions": "x", "mixed": i if i % 2 else "x", "n": i, "prompts": "y"} for i in range(20)]
    made = prompts(Data("mine", [*rows[0]], [*enumerate(rows, 1)], 20), "q")
    assert set(made.train[0]) == {"prompt", "q", "n"}


def paid(reward, made):
    """What a reward is paid for two replies to each of the first rows, called as TRL calls it."""
    rows = made.train[:2]
    return ask(reward, **call(rows, ["."] * 4, [[0]] * 4, each=2))


@pytest.mark.parametrize("gives", ["gold", ""])
def test_every_column_of_ones_own_reaches_the_reward_by_its_own_name(gives):
    """Who wrote `gold` as a parameter, as the column is called, was told that there is no such column."""
    rows = [{"text": f"{i} + 1?", "gold": str(i + 1), "level": i, "answer": "mine", "prompt": "x"} for i in range(20)]
    made = prompts(Data("mine", [*rows[0]], [*enumerate(rows, 1)], 20), "text", gives)

    def score(completions, prompts, text, gold, level, answer, **kwargs):
        assert [each[0]["content"] for each in prompts] == text
        assert answer == (gold if gives else ["mine"] * 4) and "prompt" not in kwargs
        return [
            float(int(right) == i + 1 and each == f"{i} + 1?") for right, i, each in zip(gold, level, text, strict=True)
        ]

    assert complaint(score, list(made.train[0])) is None and paid(score, made) == [1.0] * 4


@pytest.mark.parametrize(
    ("gold", "name"),
    [
        (lambda i: i, "gold"),
        (lambda i: i if i % 2 else str(i), "gold"),
        (lambda i: [str(i), "x"], "gold"),
        (str, "answer"),
    ],
)
def test_a_column_of_right_answers_of_any_kind_keeps_its_name(gold, name):
    rows = [{"messages": [{"role": "user", "content": f"{i}?"}], name: gold(i)} for i in range(20)]
    made = prompts(Data("mine", [*rows[0]], [*enumerate(rows, 1)], 20), "messages", name)
    assert {*made.train[0]} == {"prompt", "answer", name} and Plan(
        Settings(), [answer_reward], made.train
    ).problem is None
    if isinstance(rows[0][name], int) and isinstance(rows[1][name], int):
        assert made.train[0]["answer"] == str(made.train[0][name])  # as it stands in the data, for it is of one kind


@pytest.mark.parametrize("name", ["reward", "completions", "self", "image", "rejected", "what is right?", "prompt"])
def test_a_name_that_means_something_to_a_library_breaks_nothing(name):
    rows = [{name: f"{i}?", "q": f"{i}!", "a": str(i)} for i in range(20)]
    data = Data("mine", [*rows[0]], [*enumerate(rows, 1)], 20)
    for made in (prompts(data, "q", "a"), prompts(data, name, "a"), prompts(data, "q", name)):
        assert is_conversational(made.train[0]) and paid(answer_reward, made) == [0.0] * 4


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (["id", "problem", "solution", "answer"], ("problem", "answer")),
        (["prompt", "ground_truth"], ("prompt", "ground_truth")),
        (["Text"], ("Text", "")),
        (["a", "b"], ("a", "")),
    ],
)
def test_columns_are_guessed_by_their_names(columns, found):
    assert guess(columns) == found


def test_a_hundred_thousand_rows_open_in_a_second_or_two(tmp_path):
    path = tmp_path / "large.csv"
    path.write_text("question,answer\n" + "".join(f'"What is {i}, plus 1?",{i + 1}\n' for i in range(100_000)))
    began = time.process_time()
    data = open_data(path)
    made = prompts(data, *guess(data.columns))
    assert time.process_time() - began < 3 and data.total == 100_000
    assert len(made.train) + len(made.held_out) == 5_000
    numbers = [at for at, _ in data.rows]
    assert 45_000 < sum(numbers) / len(numbers) < 55_000  # evenly over the whole
