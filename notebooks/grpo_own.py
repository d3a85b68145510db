# /// script
# requires-python = ">=3.11"
# dependencies = ["grpo-lessons[lesson]; sys_platform != 'emscripten'", "marimo==0.25.*; sys_platform != 'emscripten'"]
# tool.uv.sources.grpo-lessons = { path = "..", editable = true }
# ///

import marimo

__generated_with = "0.25.2"
app = marimo.App(
    width="medium",
    app_title="GRPO: your own data and reward",
    css_file="public/lesson.css",
    html_head_file="public/step.html",
)

with app.setup(hide_code=True):
    from dataclasses import replace
    from functools import partial

    import marimo as mo

    from grpo_lessons import cards, here, lesson, plots
    from grpo_lessons.cards import word
    from grpo_lessons.curves import CURVES, curves
    from grpo_lessons.lesson import own
    from grpo_lessons.rewards import answer_reward, format_reward, length_reward, tag_reward
    from grpo_lessons.training import SMOLLM2, Plan, Settings, is_pocket
    from grpo_lessons.training.data import open_data, prompts

    EXAMPLE = here.NOTEBOOKS / "public/word_problems.csv"
    TAGS = ("think", "answer")
    RIGHT = {"answer_reward": "right answer"}
    WATCHED = [replace(CURVES[0], span=(None, None)), *CURVES[1:]]
    _slowly = {"learning_rate": 3e-4, "beta": 0.0, "max_completion_length": 128}
    DEFAULT = {
        "pocket": Settings(steps=30, learning_rate=2e-3),
        SMOLLM2: Settings(model=SMOLLM2, steps=15, batch_size=32, accumulation=8, **_slowly),
    }


@app.cell(hide_code=True)
def _(station):
    _figures, _words = (station.runs[_name] for _name in ("in figures", "in words"))
    _rows = [
        (
            _run.before.prompts[0],
            [f"{_each.mean('answer_reward'):.0%} of {len(_each.prompts)}" for _each in (_run.before, _run.after)],
        )
        for _run in (_figures, _words)
    ]
    lesson.show(
        f"""
    # Your own

    Three lessons were ours. This notebook is for **your data, your reward, your model**, and for the question that costs the most when it is asked too late: *will it teach?*

    Nothing has to be brought along. It begins with 200 word problems that we wrote, each told in words and asked in figures. The same model, the same reward, the same {_figures.steps_done} steps; only the column that asks is another:
    """,
        cards.text_table(["held-out questions, such as", "right before", "right after"], _rows),
        """
    One training was worth its time. The other was lost before it began, and half a minute of asking could have told. You go in that order: **data, reward, will it teach?, and only then train**; and if it does not learn, *why not*.
    """,
    )
    return


@app.cell(hide_code=True)
def _(opened, station):
    menu = station.models()
    source = own.data_source(opened, EXAMPLE.name)
    lesson.show(
        """
    ## 1 · Your data

    A file, a folder, or a data set of the Hub (such as `openai/gsm8k:main`). Large ones are sampled: a million rows open in a second or two. Every row needs a question; a right answer, if your reward asks for one. And the model that will be asked:
    """,
        lesson.row(*menu.elements.values()),
        *source.elements.values(),
    )
    return menu, source


@app.cell(hide_code=True)
def _(opened, source):
    data = own.opened_data(opened, source.value)
    columns = own.columns_menu(opened, data)
    lesson.show(
        own.in_use(source.value),
        lesson.row(columns["asks"], columns["gives"]),
        *[*columns.elements.values()][2:],
    )
    return columns, data


@app.cell(hide_code=True)
def _(columns, data, menu, opened):
    made = own.made_prompts(opened, data, columns.value)
    own.show_data(data, made, own.chosen_model(menu.value), columns.value)
    return (made,)


@app.cell(hide_code=True)
def _(columns, opened):
    _yours = own.there(lambda: my_reward)
    known = [answer_reward, format_reward, tag_reward, length_reward, *_yours]
    weights = own.reward_menu(opened, known, [answer_reward] if columns.value["gives"] else _yours)
    lesson.show(
        """
    ## 2 · Your reward

    How much does each count? 0 leaves it out. `my_reward` is yours: write it in the cell below, where it keeps its name. TRL calls it with lists, an entry for each reply: `completions` (each a list of one message, its text is `completion[0]["content"]`), `answer`, and every column of text or numbers in your data, by its name.
    """,
        lesson.row(*weights.elements.values()),
        lesson.shown_code(opened, *_yours) if _yours else own.missing("my_reward"),
        """
    It needs no model to be tried. **Which reply earns something that should earn nothing?** Give `my_reward` a weight, and look again.
    """,
    )
    return known, weights


@app.function
def my_reward(completions, answer, **kwargs):
    replies = [completion[0]["content"] for completion in completions]
    return [float(right in reply) for reply, right in zip(replies, answer, strict=True)]


@app.cell(hide_code=True)
def _(opened):
    attempt = own.reply_box(opened)
    attempt
    return (attempt,)


@app.cell(hide_code=True)
def _(attempt, found, made, rewards):
    _replies = [_reply.text for _reply in found.groups[0].completions[:3]] if found else []
    _first = replace(made, train=found.rows[:1]) if found else made
    own.show_tries(rewards, _first, attempt.value, _replies)
    return


@app.cell(hide_code=True)
def _(found, made, rewards):
    _asked = (
        "on the model's own replies"
        if found
        else "as far as that goes without the model's replies; ask it in station 3"
    )
    lesson.show(
        f"""
    **The tests that every reward should pass**, {_asked}. A length in disguise, a reward that is paid without the answer, `None` for some of a group, chance: each has cost somebody a run.
    """,
        own.show_checks(rewards, made, found),
    )
    return


@app.cell(hide_code=True)
def _(ask, asked, get_asked, get_drawing):
    lesson.show(
        f"""
    ## 3 · Will it teach?

    Before any training: the model as it is, on prompts of your data, 16 replies each, paid by your reward. Where all replies to a prompt earn the same, the group is {word("dead")}, and teaches nothing. So it is for a reward of two values where p, the chance of the higher one, is near 0 or near 1; where a reward has more values, it is where two replies are seldom paid differently. **Where do your prompts stand?**
    """,
        ask,
        own.show_verdict(get_asked(), asked, get_drawing()),
        """
    Choose `problem` as the column that asks, and ask again. The same sums, told in words; the pocket model has never read a story.
    """
        if asked.choices["data"] == EXAMPLE.name
        else None,
        """
    What helps is what the verdict names: easier questions, an example in the prompt, a reward that pays for parts, more room for the reply, a few worked examples by SFT before. More steps of the same are not among them.
    """,
    )
    return


@app.cell(hide_code=True)
def _(opened):
    # In a cell of its own: what is chosen stays chosen while the settings below it are moved.
    rising = lesson.Question(
        opened,
        "Station 3 asks what the untrained model earns. Where will the reward be after the last step?",
        {
            "Where it was, or lower": "So it is where nearly every group is dead, or differs in a bonus alone. What did the verdict say?",
            "A little higher": "Often, where few groups are alive, or the steps are few or small.",
            "Far higher": "So it is where the replies to many prompts are paid differently, as in our rows in figures.",
        },
        right="Far higher",
    )
    return (rising,)


@app.cell(hide_code=True)
def _(asked, batch, chosen, rising, station):
    lesson.show(
        """
    ## 4 · Train

    The settings are those of the lessons. What it costs in time and memory stands over the button, once you have predicted.
    """,
        station.configuration(chosen, batch, asked, folded=True),
        rising,
    )
    return


@app.cell(hide_code=True)
def _(asked, buttons, get_cost, get_report, rising, scrub, station):
    station.show(buttons, scrub, get_report(), get_cost(), asked, rising)
    return


@app.cell(hide_code=True)
async def _(get_ended, rising, station, step):
    _inside = await station.look_inside(step, get_ended(), ("reward", "completions/mean_length", "entropy"))
    lesson.show(
        """
    ## 5 · Look inside

    **Read the replies.** A curve says that something was learnt; only the texts say what.
    """,
        station.after_choice(get_ended(), rising, _inside),
    )
    return


@app.cell(hide_code=True)
def _(asked, get_ended, station):
    lesson.show(station.whose(get_ended(), asked))
    return


@app.cell(hide_code=True)
def _(get_drawing, get_ended, rising, station):
    _run, _last = station.answered(get_ended()), station.inspected(get_ended())
    _names = [*_run.after.completions[0].rewards]
    _means = [(_name, [f"{_each.mean(_name):.3g}" for _each in (_run.before, _run.after)]) for _name in _names]
    _answers = [
        f"**Before and after**, on {len(_run.before.prompts)} {word('held-out')} prompts. Few prompts, wide intervals: hold out more where you can.",
        None if _run is _last else f'<p class="note">{station.named(_run)}</p>',
        cards.text_table(["mean on held-out prompts", "before", "after"], _means),
        lesson.figure(get_drawing(), plots.before_after, _run, RIGHT) if "answer_reward" in _names else None,
        cards.text_table(["prompt", "before", "after"], _run.before.texts(_run.after)[:4], TAGS),
    ]
    lesson.show(
        station.after_choice(get_ended(), rising, *_answers),
        "**And your prediction?**",
        rising.answer(*own.where_it_ends(_last, station.is_readers(get_ended()))),
    )
    return


@app.cell(hide_code=True)
def _(get_ended, keeping, station):
    lesson.show(
        """
    ## 6 · Keep it

    The adapter, a merged model, or a folder that `trl grpo` runs on many GPUs: your prompts and the source of your reward are in it.
    """,
        lesson.fold("Save, load, merge, push, hand over", station.keep(keeping)),
        station.best_checkpoint(get_ended()),
    )
    return


@app.cell(hide_code=True)
def _(asked, keeping, station):
    station.kept(keeping, asked)
    return


@app.cell(hide_code=True)
def _(station):
    pasted = own.paste_box()
    lesson.show(
        """
    ## 7 · Why does it not learn?

    This reads a run and names what explains it: **dead groups**, **cut off**, **fooled**, **steps too small**, **steps too large**, **collapse**, and what looks like a fault and is none. Your last run, or until there is one, ours; or whatever you paste, of any training with TRL.
    """,
        *pasted.elements.values(),
    )
    return (pasted,)


@app.cell(hide_code=True)
def _(get_ended, pasted, station):
    own.show_diagnosis(pasted.value, *station.explained(get_ended()))
    return


@app.cell(hide_code=True)
def _(station):
    _words = station.runs["in words"]
    lesson.show(
        """
    **The run that was lost before it began**, the problems in words. Solid: this run. Dashed: the same in figures.
    """,
        curves({"in words": _words, "in figures": station.recorded}, watch=WATCHED),
        f'<p class="note">{_words.label}</p>',
        own.show_diagnosis({"file": (), "text": ""}, _words),
    )
    return


@app.cell(hide_code=True)
def _(opened):
    mo.md(f"""
    ## What you now know

    Data are worth what their questions can teach; a reward is worth what it pays for nothing; and whether a training can learn is known before it starts, from the spread within a few groups. Without a browser, one line says which rows it cannot use, which tests your reward fails and whether it will teach, then trains, and keeps the record and the adapter:

    ```bash
    python notebooks/grpo_own.py -- --data rows.csv --question q --answer a --reward my_rewards.py:my_reward --model smollm2-135m
    ```

    `-- --help` lists all that it takes. And one training is one draw: with `--seeds 5` at its end the same line trains five times, draws how far apart they come, and says whether five are enough to believe the change.

    Before this notebook stand {opened.link("length")}, {opened.link("format")} and {opened.link("math")}.

    *Sources:* GRPO, [DeepSeekMath](https://arxiv.org/abs/2402.03300) · prompts that teach are neither too easy nor too hard, [DAPO](https://arxiv.org/abs/2503.14476) · an estimate without bias, [Chen et al.](https://arxiv.org/abs/2107.03374) · [TRL's GRPOTrainer](https://huggingface.co/docs/trl/grpo_trainer)
    """)
    return


@app.function(hide_code=True)
def plan(settings, rows, rewards, weights=None, **about):
    """A training on `Prompts`, with weighted rewards; `about` is written into its record."""
    asks_answers = any(each == answer_reward for each in rewards)
    has_answers = bool(rows.train) and "answer" in rows.train[0] and bool(about.get("gives", True))
    judges = [*rewards, *([answer_reward] if has_answers and not asks_answers else [])]
    return Plan(
        settings=replace(settings, reward_weights=weights),
        rewards=rewards,
        prompts=rows.train,
        held_out=rows.held_out[: 96 if is_pocket(settings.model) else 48],
        judges=judges,
        evaluate_every=10 if is_pocket(settings.model) else 0,
        choices={name: str(value) for name, value in about.items()},
    )


@app.function(hide_code=True)
def of_example(settings, asks):
    """The training of the course's own rows, by one of their columns."""
    return plan(settings, prompts(open_data(EXAMPLE), asks, "answer"), [answer_reward], data=EXAMPLE.name, asks=asks)


@app.cell(hide_code=True)
def _(columns, data, known, made, opened, weights):
    # From here on: what the stations above are made of.
    rewards, _weights = own.chosen_rewards(opened, known, weights.value, columns.value["gives"])
    _about = {"data": getattr(data, "source", ""), "asks": columns.value["asks"], "gives": columns.value["gives"]}
    planned = partial(plan, rows=made, rewards=rewards, weights=_weights, **_about)
    return planned, rewards


@app.cell(hide_code=True)
def _():
    opened = lesson.Opened.now("own")
    _runs = {"in figures": "own_learns", "in words": "own_words"}
    station = lesson.Station(opened, DEFAULT, _runs, watch=WATCHED, tags=TAGS)
    station.settings.longest = 512  # replies of yours may need more room than ours
    station.settings.words, station.ask_first = own.WORDS, own.say_first
    get_asked, set_asked = mo.state(None, allow_self_loops=True)  # the button's cell shows what comes of it
    keeping = station.keep_menu()
    return get_asked, keeping, opened, set_asked, station


@app.cell(hide_code=True)
def _(station):
    get_report, get_ended, get_busy, get_cost, get_suited, get_at, get_drawing = station.states
    return get_at, get_busy, get_cost, get_drawing, get_ended, get_report, get_suited


@app.cell(hide_code=True)
def _(batch, chosen, menu, planned, station):
    asked = station.asked(planned, menu.value, chosen.value, batch.value)
    return (asked,)


@app.cell(hide_code=True)
def _(asked, get_asked, opened, set_asked):
    found = own.found_of(get_asked(), asked)
    ask = mo.ui.button(
        label="Ask the model",
        kind="success",
        disabled=bool(asked.problem),
        on_click=lambda _: own.ask_first(opened, asked, set_asked),
    )
    return ask, found


@app.cell(hide_code=True)
def _(get_suited, menu, station):
    chosen = station.controls(menu.value, get_suited())
    return (chosen,)


@app.cell(hide_code=True)
def _(chosen, menu, station):
    batch = station.batch(menu.value, chosen.value["group_size"])
    return (batch,)


@app.cell(hide_code=True)
def _(asked, get_busy, station):
    buttons = station.buttons(get_busy(), asked)
    return (buttons,)


@app.cell(hide_code=True)
def _(get_at, get_ended, station):
    step, scrub = station.steps(get_ended()), station.scrub(get_at())
    return scrub, step


@app.cell(hide_code=True)
def _(menu, opened, planned, rising, station):
    station.measure(planned, menu.value, rising)
    lesson.furniture(opened)
    return


if __name__ == "__main__":
    app.run()
