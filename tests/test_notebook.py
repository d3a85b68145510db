"""Every lesson as a program: it runs, it is light, its exercises tell right from wrong, its recordings are real."""

import json
import math
import re
import subprocess
import sys
from contextlib import suppress
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from grpo_lessons import cards, plots
from grpo_lessons.course import LESSONS, NOTEBOOKS
from grpo_lessons.lesson.notes import speaker_notes
from grpo_lessons.problems import save_prompts, sums
from grpo_lessons.rewards import describe
from grpo_lessons.runs import Completion, Run
from grpo_lessons.text import question
from grpo_lessons.web import site
from grpo_lessons.web.site import PIECES
from notebooks import record
from notebooks.record import RUNS
from tests.support.lessons import load, verdicts

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module", params=LESSONS)
def lesson(request):
    return load(request.param)


def test_what_is_published_shows_nobodys_own_choices_and_runs(monkeypatch, tmp_path):
    """Neither a site nor the recorded outputs: a path of somebody's data, a prediction, the curves of a last training."""
    asked = []

    def export(command, env, **_):
        asked.append(Path(env["GRPO_LESSONS_RUNS"]))
        return SimpleNamespace(returncode=1, stdout="", stderr="")

    for module in (site, record):
        monkeypatch.setattr(module.subprocess, "run", export)
    monkeypatch.setattr(site, "find_uv", lambda: "uv")
    with suppress(site.CannotBuild):
        site._export("format", tmp_path / "site/format.html", "")
    record.record_outputs()
    assert len(asked) == 2 and not any(each.exists() for each in asked)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_untouched_it_runs_without_torch_and_everything_around_it(name):
    code = (
        f"import sys; from notebooks.grpo_{name} import app; app.run();"
        "print([m for m in ('torch', 'transformers', 'trl', 'datasets', 'peft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_exercises_start_wrong_and_say_so(lesson):
    said = verdicts(lesson)
    assert len(said) == 3 and all("Not yet" in text for text in said)


def test_a_readers_function_that_raises_is_told_so(lesson):
    def oops(*args, **kwargs):
        return {}["oops"]

    name = {"grpo_length": "my_length_reward", "grpo_format": "my_advantages", "grpo_math": "my_final_answer"}
    said = verdicts(lesson, **{name[lesson.__name__.split(".")[1]]: oops})
    assert sum("KeyError" in text for text in said) == 1 and len(said) == 3


@pytest.mark.parametrize("name", LESSONS)
def test_the_lessons_name_each_other(name):
    source = (ROOT / f"notebooks/grpo_{name}.py").read_text(encoding="utf-8")
    assert all(f'opened.link("{other}")' in source for other in LESSONS if other != name)


@pytest.mark.parametrize("name", RUNS)
def test_a_recording_says_where_it_comes_from_and_has_the_settings_of_its_lesson(name):
    run, plan = Run.load(ROOT / "notebooks/public" / f"{name}.json"), RUNS[name]
    assert {"model", "hardware", "date", "torch", "trl"} <= set(run.provenance) and run.state == "finished"
    added_since = {"accumulation": 1, "dtype": "float32", "gradient_checkpointing": False}
    gone_since = {"use_vllm": False}  # a box that no recording had ticked
    settings = json.loads(json.dumps(vars(plan.settings)))
    assert gone_since | added_since | run.settings == gone_since | settings
    assert run.rewards == [describe(reward) for reward in plan.rewards]
    assert run.before.prompts == [question(row["prompt"]) for row in plan.held_out] == run.after.prompts


def test_saved_prompts_are_a_data_set(tmp_path):
    from datasets import load_dataset

    save_prompts(sums(16), tmp_path / "prompts")
    assert load_dataset(str(tmp_path / "prompts"), cache_dir=str(tmp_path / "cache"))["train"].to_list() == sums(16)


def test_hostile_text_is_shown_and_never_run():
    nasty = "<script>alert(1)</script><img src=x onerror=alert(1)></think><think>"
    completion = Completion(nasty, 3, {nasty: 1.0}, 0.5)
    for html in (
        cards.group_cards([completion] * 2, ("think", "answer")),
        cards.loop_picture(nasty, [completion] * 2, ("think",)),
        cards.marks_table([nasty] * 4, [(nasty, [True, 0.5, nasty])]),
        cards.text_table([nasty] * 2, [(nasty, [nasty])]),
        cards.measured([cards.marked_tokens([nasty])], [nasty]),
        cards.marked_tokens([nasty, nasty]),
        cards.word("reward", nasty),
    ):
        assert "<script" not in html and "<img" not in html and "&lt;script&gt;" in html


def test_a_card_of_a_megabyte_stays_small():
    assert len(cards.group_cards([Completion("<think>" * 150_000, 9, {"r": 0.0})] * 8, ("think",))) < 100_000


@pytest.mark.parametrize(
    ("rewards", "told"),
    [
        ([0.1159, 0.1234, 0.5], ["0.116", "0.123", "0.5"]),
        ([0.12311, 0.12341, None], ["0.1231", "0.1234", "None"]),
        ([0.5, 1.0, 0.25], ["0.5", "1", "0.25"]),
        ([1 / 3, 1 / 3, 1.0], ["0.33", "0.33", "1"]),
        ([-0.1159, -0.1234], ["−0.116", "−0.123"]),
        ([1234.2, 0.1159, 0.1234], ["1,234", "0.116", "0.123"]),
        ([0.1 + 0.2, 0.3], ["0.3", "0.3"]),
    ],
)
def test_rewards_of_a_group_are_shown_with_the_digits_that_tell_them_apart(rewards, told):
    """0.12 was pushed up beside 0.12 that was pushed down."""
    group = [Completion("a", 1, {"mine": each, "other": 0.123}, 0.5) for each in rewards]
    shown = re.findall('class="reward">([^<]*)<', cards.group_cards(group))
    assert shown[::2] == told and {*shown[1::2]} == {"0.12"}
    if None not in rewards:
        bars = cards.push_bars(rewards, [0.5] * len(rewards))
        assert re.findall('class="reward">([^<]*)<', bars) == told


def test_figures_take_the_colour_of_the_page():
    run = Run.load(ROOT / "notebooks/public/length_learns.json")
    for figure in (
        plots.dead_groups(0.2, 8),
        plots.shares({"right": [("before", [0.0, 1.0]), ("after", [1.0, 1.0])], "none": [("before", [])]}),
        plots.reward_over_length(lambda n: -abs(n - 20) / 20, [4, 19]),
        plots.lengths(run, 20),
    ):
        svg = plots.to_svg(figure)
        assert 'role="img" aria-label="' in svg and 'aria-label="; ' not in svg
        assert "currentColor" in svg and "#000000" not in svg and "#ffffff" not in svg


def test_what_one_update_does_is_recorded_as_it_is_and_goes_where_the_advantages_push():
    from notebooks import record

    said = json.loads((ROOT / "notebooks/public/updates.json").read_text(encoding="utf-8"))
    assert said["provenance"]["torch"]
    for name in LESSONS:
        prompt, group = record.running_example(load(name))
        assert [times > 1 for times in said[name]] == [each.advantage > 0 for each in group]
        tokens = record.one_update(prompt, group, record.SMALL)
        assert [*map(record.times, tokens)] == pytest.approx(said[name], rel=0.02)


def test_the_chances_of_the_next_token_are_the_pocket_models_and_show_where_it_knows_and_where_not():
    from grpo_lessons.training import models
    from notebooks import record

    said = json.loads((ROOT / "notebooks/public/next_token.json").read_text(encoding="utf-8"))
    chances = load("length").chances
    model, tokenizer = models.load("pocket")
    asked = tokenizer.apply_chat_template([{"role": "user", "content": said["prompt"]}], add_generation_prompt=True)
    for place in said["places"]:
        ids = asked["input_ids"] + tokenizer(place["so_far"])["input_ids"]
        shares = model(torch.tensor([ids])).logits[0, -1].detach().softmax(-1).sort(descending=True).values
        assert chances(place["logits"], 1) == pytest.approx(shares.tolist(), abs=0.005)
    assert said["places"][-1]["so_far"] == record.SENTENCE

    def among(place, temperature):  # how many equally likely tokens it is as undecided as
        shares = chances(said["places"][place]["logits"], temperature)
        return math.exp(-sum(p * math.log(p) for p in shares if p > 0))

    assert [round(among(place, 1)) for place in (0, 2, 3)] == [12, 1, 12]  # "The sea" goes on with "is"
    assert among(0, 0.1) < 1.1 and among(0, 2) > 4 * 12


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_station_is_shown_with_its_heading(name):
    outputs, _ = load(name).app.run()
    shown = "".join(output.text for output in outputs if hasattr(output, "text"))
    headings = [re.sub(r"<[^>]+>", "", each) for each in re.findall(r"<h[12][^>]*>(.*?)</h[12]>", shown)]
    assert headings == [unescape(note["title"].replace("*", "")) for note in speaker_notes(name)]
    assert re.findall("<b id=['\"](.*?)['\"]>", shown) == PIECES.get(name, [])


def cells_of(name: str) -> list[str]:
    """The source of each cell of a lesson, the setup cell first."""
    text = (ROOT / f"notebooks/grpo_{name}.py").read_text(encoding="utf-8")
    text = text.partition("\nif __name__")[0]
    return [cell.strip() for cell in re.split(r"\n(?=@app\.|with app\.setup)", text)[1:]]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_station_begins_with_a_cell_and_they_are_counted_through_as_in_the_speakers_notes(name):
    titles = [note["title"] for note in speaker_notes(name)]
    cells = [
        [title for title in titles if re.search(rf"#{{1,2}} {re.escape(title)}(\n|\"|$)", cell)]
        for cell in cells_of(name)
    ]
    assert all(len(each) <= 1 for each in cells)  # the stepper shows and hides whole cells
    headings = [heading for each in cells for heading in each]
    assert headings == titles
    first, *others, last = headings
    assert first.startswith(NOTEBOOKS[name].title) and last == "What you now know"
    assert [heading.partition(" ·")[0] for heading in others] == [*map(str, range(1, len(others) + 1))]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_speaker_has_a_question_an_answer_and_the_minutes_of_two_plans(name):
    notes = speaker_notes(name)
    short, long = zip(*[note["minutes"] for note in notes], strict=True)
    assert (sum(short), sum(long)) == (45, 90) and all(note["ask"] and note["expect"] for note in notes)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_lesson_is_light_enough_to_open_in_the_edit_view(name):
    cells = cells_of(name)  # each mounts an editor, hidden or not: it goes with cells × lines
    assert len(cells) <= 50 and max(len(cell.splitlines()) for cell in cells) <= 40
    assert len((ROOT / f"notebooks/grpo_{name}.py").read_text(encoding="utf-8").splitlines()) <= 800
