"""One's own data, reward and run: what is chosen, and what is told of it before, and after, a training."""

import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from statistics import fmean

import marimo as mo

from grpo_lessons import cards, here, plots, tries
from grpo_lessons.calling import complaint, in_words, load_reward
from grpo_lessons.diagnosis import Finding, change, diagnose, diagnose_error, diagnose_text, means_of
from grpo_lessons.groups import is_dead
from grpo_lessons.lesson.controls import chosen_model as chosen_model
from grpo_lessons.lesson.figures import figure
from grpo_lessons.lesson.memory import keep, recall
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.words import failed, fold, good, show, warn
from grpo_lessons.rewards import Reward, reward_name
from grpo_lessons.runs import Run
from grpo_lessons.teaching import compared, dead_by_size
from grpo_lessons.text import counted, question
from grpo_lessons.training import Plan, Watch, explain
from grpo_lessons.training.data import Data, Prompts, guess, of_upload, open_data, prompts
from grpo_lessons.training.pilot import Pilot, pilot
from grpo_lessons.training.sources import Stopped
from grpo_lessons.training.templates import as_given

MOST_BYTES = 100_000_000
WEIGHTS = {f"{quarters / 4:g}" for quarters in range(9)}  # as they are kept
MOST_PRINTED = 5  # rows that cannot be used: in a terminal, and of one kind in a page
# Of the command line, beside a training's settings, and what each expects.
WORDS = {
    "data": "a file (.csv, .jsonl, .json, .parquet), a folder, or a data set of the Hub",
    "question": "the name of the column that asks",
    "answer": "the name of the column of right answers",
    "reward": "a function of a file, such as my_rewards.py:my_reward",
}


# Data ----------------------------------------------------------------------------------------------------------------


def data_source(opened: Opened, example: str) -> mo.ui.dictionary:
    """Where the data are: a path or a name of the Hub, or a file to drop. In marimo it must be a variable of the notebook."""
    label = "A file (.csv, .jsonl, .json, .parquet), a folder, or a data set of the Hub"
    # A name that is half typed is not asked of the Hub: it is read when the reader leaves the box.
    where = _text(opened, "data", label, opened.options.get("data", recall(opened, "data") or example), debounce=True)
    kinds = [".csv", ".jsonl", ".json", ".parquet"]
    return mo.ui.dictionary(
        {"where": where, "file": mo.ui.file(filetypes=kinds, max_size=MOST_BYTES, label="or drop a file here")}
    )


def opened_data(opened: Opened, source: Mapping) -> Data | str:
    """The data that were chosen, or in words why they cannot be opened. Raises: SystemExit with them, in a program."""
    try:
        if file := source["file"]:
            return of_upload(file[0].name, file[0].contents)
        where = source["where"].strip()
        ours = here.NOTEBOOKS / "public" / where  # the course's own rows are called by their name, from any folder
        return open_data(ours if where == Path(where).name and ours.is_file() else where)
    except ValueError as error:
        if opened.is_script:
            raise SystemExit(f"--data {error}") from None
        return str(error)


def in_use(source: Mapping) -> mo.Html | None:
    """Which of the two it is, where a file was dropped and the box above still names another."""
    if not source["file"]:
        return None
    return show(
        f"In use: `{source['file'][0].name}`, which you dropped. Clear it, and what the box names is read again."
    )


def columns_menu(opened: Opened, data: Data | str) -> mo.ui.dictionary:
    """Which column asks, which has the right answer, and what stands before every prompt: as it was chosen last, for these data.

    Raises: SystemExit for a column on the command line that is not there.
    """
    names = [] if isinstance(data, str) else [name for name in data.columns if name]
    asks, gives = guess(names) if names else ("", "")
    given = {"question": opened.options.get("question", asks), "answer": opened.options.get("answer", gives)}
    for word, name in given.items():
        if name and name not in names and names:
            raise SystemExit(f"--{word} {name!r}: expected one of {', '.join(map(repr, names))}.")
    source = getattr(data, "source", "")

    def menu(label: str, word: str, offered: Sequence[str]) -> mo.ui.dropdown:
        name = f"{label} of {source}"
        chosen = None if word in opened.options else recall(opened, name)
        value = chosen if chosen in offered else given[word]
        return mo.ui.dropdown(
            offered,
            value=value if value in offered else None,
            label=label,
            on_change=lambda column: keep(opened, name, column),
        )

    return mo.ui.dictionary(
        {
            "asks": menu("column that asks", "question", names),
            "gives": menu("column of right answers", "answer", ["", *names]),
            "instruction": _text(opened, "instruction", "instruction before every prompt"),
            "question": _text(opened, "example", "one example in the prompt: its question"),
            "reply": _text(opened, "example's reply", "… and the reply you would like"),
        }
    )


def _text(opened: Opened, name: str, label: str, value: str | None = None, debounce: bool | int = 400) -> mo.ui.text:
    """A line of text, with what was written there last, or another value."""
    return mo.ui.text(
        value=(recall(opened, name) or "") if value is None else value,
        label=label,
        full_width=True,
        debounce=debounce,
        on_change=lambda text: keep(opened, name, text),
    )


def made_prompts(opened: Opened, data: Data | str, menu: Mapping) -> Prompts:
    """The prompts that the menus ask for; none where there are no data. A program prints what came of the rows."""
    if isinstance(data, str) or not menu["asks"]:
        return Prompts([], [])
    example = (menu["question"], menu["reply"])
    made = prompts(data, menu["asks"], menu["gives"] or "", menu["instruction"].strip(), example)
    if opened.is_script and "help" not in opened.options:
        print(_counts(data, made).replace("`", ""))
        if made.left_out:
            few = "; ".join(f"row {at:,}: {why}" for at, why in made.left_out[:MOST_PRINTED])
            more = f"; and {len(made.left_out) - MOST_PRINTED:,} more" if len(made.left_out) > MOST_PRINTED else ""
            print(f"{counted(len(made.left_out), 'row')} cannot be used. {few}{more}")
    return made


def _counts(data: Data, made: Prompts) -> str:
    few = "" if made.held_out else " None is held out: there are too few to put some aside."
    return f"{data} {len(made.train):,} to train on, {len(made.held_out):,} held out by a hash of the question.{few}"


def show_data(data: Data | str, made: Prompts, model: str, menu: Mapping) -> mo.Html:
    """What was opened, what cannot be used, and the first prompt as the model will be given it."""
    if isinstance(data, str):
        return failed(data)
    if not made.train:
        return show(warn(f"{data} None of them can be used."), _left_out(made))
    columns = [name for name in (menu["asks"], menu["gives"]) if name]
    rows = [(f"row {at}", [str(each.get(name))[:300] for name in columns]) for at, each in data.rows[:3]]
    return show(
        _counts(data, made),
        cards.text_table(["", *columns], rows),
        _left_out(made) if made.left_out else good("Every row can be used."),
        _half_an_example(menu),
        fold("The first prompt as the model is given it", *_preview(model, made.train[0]["prompt"])),
    )


def _half_an_example(menu: Mapping) -> mo.Html | None:
    """What is missing of an example that is not put into the prompts."""
    there = {part: bool(menu[part].strip()) for part in ("question", "reply")}
    if there["question"] == there["reply"]:
        return None
    missing = "reply" if there["question"] else "question"
    return warn(f"The example is not in the prompt yet: its {missing} is missing.")


def _left_out(made: Prompts) -> mo.Html:
    """How many rows cannot be used for which reason, and some of each: the rarest first, for many of one kind hide it."""
    kinds: dict[str, list] = {}
    for at, why in made.left_out:
        kinds.setdefault(re.sub(r"row [\d,]*\d", "another row", why.partition(":")[0]), []).append((at, why))
    kinds = dict(sorted(kinds.items(), key=lambda kind: len(kind[1])))
    listed = "".join(
        "".join(f"\n- row {at:,}: {why.replace('<', '&lt;')}" for at, why in rows[:MOST_PRINTED])
        + (f"\n- and {len(rows) - MOST_PRINTED:,} more like it" if len(rows) > MOST_PRINTED else "")
        for rows in kinds.values()
    )
    counts = "; ".join(f"{len(rows):,} × {kind}" for kind, rows in kinds.items())
    return fold(f"{counted(len(made.left_out), 'row')} cannot be used: {counts}", listed.strip())


def _preview(model: str, prompt: list[dict]) -> list[str]:
    found = as_given(model, prompt)
    if found is None:
        return [f"*`{model}` is not on this machine yet, or shows its template only when it is loaded.*"]
    text, count = found
    tokens = f"{count:,} tokens. " if count else ""
    ends = text.rstrip()[-40:]
    thought = "It opens a thought: the reply begins inside it." if "<think>" in ends and "</think>" not in ends else ""
    return [f'<pre class="text">{escape(text[:4000])}</pre>', f"{tokens}{thought or 'No thought is opened.'}"]


# Reward --------------------------------------------------------------------------------------------------------------


def there(written: Callable[[], Reward]) -> list[Reward]:
    """The reward that a cell of the reader's makes, alone in a list; [] while that has a slip, or gives it another name.

    >>> there(lambda: len), there(lambda: renamed)
    ([<built-in function len>], [])
    """
    try:
        return [written()]
    except NameError:  # the cells below would say no more than that an ancestor of theirs raised it
        return []


def missing(name: str) -> mo.Html:
    """What is said in its place."""
    return failed(
        f"There is no `{name}`: its cell below has a slip, or the function another name. Until it is back, the others count without it."
    )


def reward_menu(opened: Opened, known: Sequence[Reward], first: Sequence[Reward]) -> mo.ui.dictionary:
    """How much each reward counts, 0 for not at all, the first at first; that of the command line alone, if there is one.

    What was chosen stays so: the menu is made anew with every change of the data or of a reward's code.
    """
    alone = "reward" in opened.options

    def slider(reward: Reward) -> mo.ui.slider:
        name = f"weight of {reward_name(reward)}"
        chosen = recall(opened, name)
        return mo.ui.slider(
            0,
            2,
            0.25,
            value=float(chosen) if chosen in WEIGHTS else float(reward in first and not alone),
            show_value=True,
            label=f"`{reward_name(reward)}`",
            on_change=lambda weight: keep(opened, name, f"{weight:g}"),
        )

    return mo.ui.dictionary({reward_name(each): slider(each) for each in known})


def chosen_rewards(
    opened: Opened, known: Sequence[Reward], menu: Mapping[str, float], gives: str
) -> tuple[list[Reward], tuple[float, ...] | None]:
    """The rewards that count and their weights, None where all count the same.

    Raises: SystemExit for a reward of the command line that is not there.
    """
    if where := opened.options.get("reward"):
        try:
            return [load_reward(where)], None
        except Exception as error:  # the reader's own file may raise anything
            raise SystemExit(f"--reward {in_words(error)}") from None
    rewards = [each for each in known if menu[reward_name(each)] > 0]
    weights = tuple(float(menu[reward_name(each)]) for each in rewards)
    return rewards, weights if len(set(weights)) > 1 else None


def reply_box(opened: Opened) -> mo.ui.text_area:
    """A reply of the reader's to the first prompt. In marimo it must be a variable of the notebook."""
    return mo.ui.text_area(
        value=recall(opened, "reply") or "",
        placeholder="Such as two answers at once",
        rows=2,
        debounce=400,
        max_length=20_000,
        full_width=True,
        label="A reply of yours",
        on_change=lambda text: keep(opened, "reply", text),
    )


def show_tries(rewards: Sequence[Reward], made: Prompts, yours: str, replies: Sequence[str] = ()) -> mo.Html:
    """A table of tries: what each reply to the first prompt is paid by each reward, and how long it took."""
    if not rewards or not made.train:
        return warn("Give at least one reward a weight above 0." if made.train else "There are no prompts yet.")
    texts = tries.to_try(made.train[0], replies, yours)
    paid = [tries.tried(reward, texts, made.train[0]) for reward in rewards]
    # What goes wrong with every reply is said once; in our words, where they say more than Python's.
    same = [found[0].wrong if len({each.wrong for each in found}) == 1 else "" for found in paid]
    failures = [
        failed(complaint(reward, [*made.train[0]]) or f"`{reward_name(reward)}`, with each of these replies: {why}")
        for reward, why in zip(rewards, same, strict=True)
        if why
    ]
    paid = [found for found, why in zip(paid, same, strict=True) if not why]
    rows = [
        (
            _cut(text),
            [what, *(each[at].wrong or each[at].pays for each in paid), _took(each[at].seconds for each in paid)],
        )
        for at, (what, text) in enumerate(texts.items())
    ]
    rows = [(text, [_plain(each) for each in cells]) for text, cells in rows]
    named = [reward_name(reward) for reward, why in zip(rewards, same, strict=True) if not why]
    head = ["reply", "what it is", *named, "took"]
    asked = escape(question(made.train[0]["prompt"]))
    table = [cards.marks_table(head, rows, ("think", "answer"))] if named else []
    return show(f"<p>The first prompt: <b>{asked[:400]}</b></p>", *failures, *table)


def _cut(text: str) -> str:
    """A reply as it stands in the table: enough to know it by."""
    return text if len(text) <= 300 else f"{text[:120]} … ({len(text):,} characters)"


def _plain(cell: object) -> str:
    return cards.short(cell) if isinstance(cell, float) else "None" if cell is None else str(cell)


def _took(seconds) -> str:
    return f"{1000 * sum(seconds):.2g}\u00a0ms"  # on one line


def show_checks(rewards: Sequence[Reward], made: Prompts, asked: Pilot | None) -> mo.Html | None:
    """The tests of each reward, on the model's replies where it has been asked."""
    if not rewards or not made.train:
        return None
    checks = (
        asked.checks if asked else {reward_name(each): tries.check_reward(each, made.train[:1]) for each in rewards}
    )
    marks = {True: "✓", False: "**✗**", None: "–"}
    lines = [
        f"| `{name}` | {each.test} | {marks[each.is_good]} | {_cell(each.words)} |"
        for name, said in checks.items()
        for each in said
    ]
    return show("\n".join(["| reward | a sound reward … | | |", "|:---|:---|:---|:---|", *lines]))


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


# Will it teach? ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """How far the asking of the untrained model is, in words; then what came of it, or why nothing did."""

    plan: Plan
    phase: str = "Loading torch and the model"
    found: Pilot | None = None
    error: str | None = None


def ask_first(opened: Opened, plan: Plan, publish: Callable[[Asked], None]) -> None:
    """Sample some groups of the untrained model in a thread; `publish` is the setter of a state of marimo."""

    def work() -> None:
        try:
            watch = Watch(
                say=lambda phase: publish(Asked(plan, phase)),
                should_stop=lambda: not opened.in_time(0.0),
                who=opened.who,
            )
            publish(Asked(plan, found=pilot(plan, watch=watch)))
        except Stopped:
            publish(Asked(plan, error="It was stopped."))
        except Exception as error:  # a reward of the reader's own, or a library, may raise anything
            publish(Asked(plan, error=explain(error)))
            traceback.print_exc()

    publish(Asked(plan))
    mo.Thread(target=work, daemon=True).start()


def say_first(plan: Plan) -> None:
    """The same in a terminal, before a training is paid for: which tests the rewards fail, and whether they will teach.

    Raises: SystemExit if it is stopped, in words for what goes wrong, or for a reward that would end the training.
    """
    try:
        found = pilot(plan)
    except KeyboardInterrupt:
        raise SystemExit("Stopped.") from None
    except Exception as error:  # a reward of the reader's own, or a library, may raise anything
        raise SystemExit(explain(error)) from None
    for name, said in found.checks.items():
        for each in said:
            if each.is_good is False:
                print(f"{name} fails “{each.test}”: {each.words}")
    print(f"Will it teach? {found.verdict}".replace("*", ""))
    if any(each.ends for said in found.checks.values() for each in said):
        raise SystemExit("Nothing was trained: mend the reward first.")
    if not found.verdict.teaches:
        print("It is trained all the same, as you asked; Ctrl+C ends it.")


def found_of(asked: Asked | None, plan: Plan) -> Pilot | None:
    """What the model was asked, if it was asked what the plan now asks."""
    return asked.found if asked and asked.found and _same(asked.plan, plan) else None


def _same(a: Plan, b: Plan) -> bool:
    """Whether a pilot of one plan says something of another: only what changes the replies or their pay does not matter."""
    names = ("model", "group_size", "max_completion_length", "temperature", "reward_weights")
    alike = all(getattr(a.settings, name) == getattr(b.settings, name) for name in names)
    return alike and list(a.rewards) == list(b.rewards) and a.prompts == b.prompts


def show_verdict(asked: Asked | None, plan: Plan, drawing: str) -> mo.Html:
    """The verdict on a training that was not made yet, and the groups it stands on."""
    if plan.problem:
        return failed(plan.problem)
    if asked is None:
        return show("*Half a minute with the pocket model: 256 replies are sampled and paid, and nothing is trained.*")
    if asked.error:
        return failed(asked.error)
    if asked.found is None:
        return mo.Html(cards.page(cards.progress(asked.phase)))
    if not _same(asked.plan, plan):
        return warn("You have changed something since the model was asked. Ask it again.")
    found = asked.found
    say = good if found.verdict.is_clear else warn
    sizes = sorted({4, 8, 16, plan.settings.group_size} & set(range(2, len(found.rewards_PG[0]) + 1)))
    took = f"{len(found.groups)} prompts, {len(found.rewards_PG[0])} replies each: sampled in {found.sampling:.1f} s, paid in {found.paying:.2g} s."

    def to_see(at: int) -> tuple[int, int]:
        paid = found.rewards_PG[at]
        return len({*paid} - {None}), paid.count(None)

    shown = sorted(range(len(found.groups)), key=to_see, reverse=True)
    panels = [
        cards.group_panel(_some(found.groups[at]), ("think", "answer"), verdict=is_dead(found.rewards_PG[at]))
        for at in shown[:2]
    ]
    return show(
        say(str(found.verdict)),
        figure(drawing, plots.chances, *compared(found.rewards_PG), dead_by_size(found.rewards_PG, sizes)),
        took,
        fold("Two of the groups", *panels),
    )


def _some(group):
    """Eight of a group's replies, as a training would compare them, or all if there are fewer."""
    return replace(group, completions=group.completions[:8])


# What became of it -----------------------------------------------------------------------------------------------------

ENDS = ("Where it was, or lower", "A little higher", "Far higher")


def where_it_ends(run: Run, is_readers: bool) -> tuple[str, str]:
    """Which of `ENDS` the reward of a run has come to, and the words that show it."""
    reward = [each for _, each in run.series("reward")]
    some = max(1, len(reward) // 3)  # single steps are luck
    first, last = fmean(reward[:some]), fmean(reward[-some:])
    # Far is by half of what replies differ by at first: from 0.5 to 0.75 for a reward of 0 and 1.
    apart = fmean([each for _, each in run.series("reward_std")][:some] or [0.0])
    end = ENDS[0] if change(reward) <= 0 else ENDS[2] if last - first > apart / 2 else ENDS[1]
    return (
        end,
        f"In {'your' if is_readers else 'the recorded'} run it went from {first:.2g} to {last:.2g}{means_of(len(reward), 'step')}:",
    )


# Why does it not learn? ----------------------------------------------------------------------------------------------


def paste_box() -> mo.ui.dictionary:
    """Where a log of any run may be pasted or dropped. In marimo it must be a variable of the notebook."""
    return mo.ui.dictionary(
        {
            "text": mo.ui.text_area(
                label="Paste a log, a `trainer_state.json`, or the last lines of an error", rows=4, full_width=True
            ),
            "file": mo.ui.file(filetypes=[".json", ".jsonl", ".txt", ".log", ".csv"], label="or drop one here"),
        }
    )


def show_diagnosis(
    pasted: Mapping, run: Run, called: str = "The recorded run above", error: str | None = None
) -> mo.Html:
    """Symptom, cause and mend of what was pasted; until something is, of a run of this notebook, or of the error it ended with."""
    file = pasted["file"]
    text = file[0].contents.decode("utf-8", "replace") if file else pasted["text"]
    try:
        if text.strip():
            called, findings = "What you pasted", diagnose_text(text)
        else:
            findings = diagnose(run) if run.metrics or not error else []
            if error:
                findings = [*diagnose_error(error), *(each for each in findings if each.is_fault)]
    except ValueError as no_log:
        return failed(str(no_log))
    told = {"seen": "what is seen", "cause": "what it says", "mend": "what to do"}
    told = {part: head for part, head in told.items() if any(getattr(each, part) for each in findings)}
    rows = [f"| **{each.name}** | {' | '.join(_cell(getattr(each, part)) for part in told)} |" for each in findings]
    table = [f"| | {' | '.join(told.values())} |", f"|{':---|' * (len(told) + 1)}", *rows]
    first = findings[0]
    say = warn if first.is_fault else good
    return show(f"<p>{escape(called)}:</p>", say(_in_short(first)), "\n".join(table))


def _in_short(first: Finding) -> str:
    return f"**{first.name.capitalize()}.** {first.mend or first.seen}"
