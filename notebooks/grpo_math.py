import marimo

__generated_with = "0.25.2"
app = marimo.App(
    width="medium", app_title="GRPO: reward the answer, and watch thinking appear", html_head_file="public/step.html"
)

with app.setup(hide_code=True):
    import re
    from dataclasses import replace
    from statistics import fmean

    import marimo as mo

    from grpo_lessons import cards, live, page, plots
    from grpo_lessons.cards import Curve, word
    from grpo_lessons.device import IN_PAGE
    from grpo_lessons.exercises import Case, first_mistake
    from grpo_lessons.groups import combined, p_dead, scored
    from grpo_lessons.problems import sums, with_example
    from grpo_lessons.rewards import AnswerReward, answer_reward, format_reward, thinks
    from grpo_lessons.runs import Completion
    from grpo_lessons.sources import SMOLLM2, is_pocket
    from grpo_lessons.text import completion_text, final_answer, has_thought, number
    from grpo_lessons.training import Settings

    DIFFICULTIES = {
        "two numbers": {"terms": 2},
        "three numbers": {},
        "four numbers": {"terms": 4},
        "three numbers of three digits": {"digits": 3},
    }
    DEFAULT = {
        "pocket": Settings(steps=50, learning_rate=2e-3),
        SMOLLM2: Settings(
            model=SMOLLM2,
            steps=20,
            batch_size=32,
            accumulation=8,
            learning_rate=3e-4,
            beta=0.0,
            max_completion_length=24,
        ),
    }


@app.cell(hide_code=True)
def _(recorded):
    _right, _thought = (
        [f"{_e.mean(_name):.0%}" for _e in (recorded.before, recorded.after)] for _name in ("answer_reward", "thinks")
    )
    mo.md(f"""
    # Reward the answer, and watch thinking appear

    A small language model adds three numbers. Asked out of the blue, it is right in {_right[0]} of its replies. We pay **1** for a right answer and **0**
    for a wrong one, and look at nothing else: not at the format, not at the length, not at how it got there.

    After {recorded.steps_done} steps it is right in **{_right[1]}**. That was paid for. This was not: the share of replies in which it works the sum out
    in a *thought*, before it answers, went from {_thought[0]} to **{_thought[1]}**.
    """)
    return


@app.cell(hide_code=True)
def _(recorded):
    _pairs = [
        (_question, [f"{_c.text} {'✓' if _c.rewards['answer_reward'] else '✗'}" for _c in (_old, _new)])
        for _question, _old, _new in zip(
            recorded.before.prompts, recorded.before.completions, recorded.after.completions, strict=True
        )
        if not has_thought(_old.text)
    ]
    mo.Html(cards.page(cards.text_table(["question", "reply before", "reply after"], _pairs[:6], ("think", "answer"))))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ✓ is right, ✗ wrong; these are the first questions on which it did not think before. Nobody asked for a thought, and nobody paid for one. By the end of this lesson you will know why it happens, when it does not, and how far this is
    from what was reported of DeepSeek-R1.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    ## 1 · The loop in one picture

    As in the other lessons: one prompt, a **group** of replies, a {word("reward")} for each, compare *within the group*, push what did better
    {word("up")} and what did worse {word("down")}. Here the reward is **verifiable**: a program checks the answer, so no human and no second model has to judge.
    **Two of these four replies are right. What else tells them apart?**
    """)
    return


@app.cell(hide_code=True)
def _(GOLD, QUESTION, REPLIES):
    mo.Html(
        cards.page(
            cards.loop_picture(QUESTION, scored(REPLIES[:4], answer_reward, answer=[GOLD] * 4), ("think", "answer"))
        )
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    Keep that in mind. First, the check itself: it sounds simple, and is where most such runs go wrong.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 2 · Is that the right answer?

    The tempting way is to compare two strings. Below are replies and the right answers, as a data set might have them.
    **Where does `==` between strings say the wrong thing?** All fields are yours to edit; try `0.5` against `1/2`, or a unit behind the number. (The third row
    has a hyphen on one side and a real minus sign on the other.)
    """)
    return


@app.cell(hide_code=True)
def _():
    answered = mo.ui.array(
        [
            mo.ui.text(value=_reply, max_length=200, debounce=400, full_width=True)
            for _reply in ("72.0", "1,234", "-5", r"\frac{3}{4}", "$72.", "about 72", "72 or 73")
        ]
    )
    golds = mo.ui.array(
        [
            mo.ui.text(value=_gold, max_length=40, debounce=400)
            for _gold in ("72", "1234", "−5", "0.75", "72", "72", "72")
        ]
    )
    mo.hstack(
        [
            mo.vstack([mo.md("**answer in the reply**"), *answered.elements]),
            mo.vstack([mo.md("**right answer**"), *golds.elements]),
        ],
        widths=[2, 1],
        wrap=True,
    )
    return answered, golds


@app.cell(hide_code=True)
def _(answered, golds):
    def _by_value(reply, gold):
        value = number(gold)
        return "no number" if value is None else number(reply) == value

    def _shown(text):
        value = number(text)
        return "–" if value is None else str(value) if len(str(value)) < 20 else f"{str(value)[:12]}…"

    _rows = [
        (_reply, [_reply == _gold, _by_value(_reply, _gold), _shown(_reply), _shown(_gold)])
        for _reply, _gold in zip(answered.value, golds.value, strict=True)
    ]
    mo.Html(
        cards.page(
            cards.marks_table(["answer", "== as text", "equal by value", "read as", "right answer"], _rows, truth=1)
        )
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    As numbers, exactly, as fractions: no rounding, no string. What gives no number, or several, has no value, and earns nothing.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 3 · Where is the answer?

    A reply is more than its answer. Many tutorials call a function `extract_final_answer` and never show it. Build it: **switch the steps on
    one by one, from left to right, and watch which replies are read right.** Red: your function and the finished one disagree.
    """)
    return


@app.cell(hide_code=True)
def _():
    switches = mo.ui.dictionary(
        {
            "last": mo.ui.switch(value=True, label="the last number"),
            "hashes": mo.ui.switch(label="`#### 72`"),
            "boxed": mo.ui.switch(label=r"`\boxed{72}`"),
            "answer": mo.ui.switch(label="`<answer>72</answer>`"),
            "thought": mo.ui.switch(label="thoughts do not count"),
        }
    )
    mo.hstack(list(switches.elements.values()), justify="start", gap=1.5, wrap=True)
    return (switches,)


@app.function
def extract_final_answer(text, steps):
    if "thought" in steps:  # also one that is never closed
        text = re.sub(r"<think>.*?(</think>|$)", "", text, flags=re.DOTALL)
    if "answer" in steps and (found := re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)):
        return found[-1].strip()
    if "boxed" in steps and (found := re.findall(r"\\boxed\{([^{}]*)\}", text)):
        return found[-1]
    if "hashes" in steps and (found := re.findall(r"#### *(-?[\d.,]+)", text)):
        return found[-1]
    if "last" in steps and (found := re.findall(r"-?[\d,]*\.?\d+", text)):
        return found[-1]
    return None


@app.cell(hide_code=True)
def _():
    live.shown_code(extract_final_answer)
    return


@app.cell(hide_code=True)
def _(PLACES, switches):
    _steps = {_name for _name, _on in switches.value.items() if _on}

    def _is_95(found):
        return found is not None and number(found) == 95

    _rows = [
        (
            _text,
            [
                extract_final_answer(_text, _steps) or "–",
                _is_95(extract_final_answer(_text, _steps)),
                _is_95(final_answer(_text)),
                _why,
            ],
        )
        for _text, _why in PLACES.items()
    ]
    _wrong = sum(_values[1] != _values[2] for _, _values in _rows)
    mo.vstack(
        [
            mo.Html(
                cards.page(
                    cards.marks_table(
                        ["reply", "found", "95? yours", "95? finished", "what it is"],
                        _rows,
                        ("think", "answer"),
                        truth=2,
                    )
                )
            ),
            mo.md(f"**Read wrongly: {_wrong} of {len(_rows)} replies.**" if _wrong else "**All are read right.**"),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    A thought must not count: a model that writes down several numbers and commits to none would be paid for luck. Our lessons use the finished
    function, `grpo_lessons.text.final_answer`: the same steps, safe against hostile text (no regular expression runs wild on a megabyte of
    `<think>`), and with two blocks that disagree it takes neither.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 4 · Nearly right

    Why not pay for nearly right? Eight replies to *What is 12 + 45 + 38?*, right answer 95. **Widen the tolerance until a blind guess pays as much as a sum worked out.**
    """)
    return


@app.cell(hide_code=True)
def _():
    tolerance = mo.ui.slider(0, 30, value=0, show_value=True, label="tolerance")
    partial = mo.ui.switch(label="partial credit: 1 − error / 95")
    mo.hstack([tolerance, partial], justify="start", gap=2, wrap=True)
    return partial, tolerance


@app.function
def partial_credit(completions, answer, **kwargs):
    found = [number(final_answer(completion_text(completion)) or "") for completion in completions]
    off = [None if value is None else abs(value / number(gold) - 1) for value, gold in zip(found, answer, strict=True)]
    return [0.0 if share is None else float(max(0, 1 - share)) for share in off]


@app.cell(hide_code=True)
def _(GOLD, REPLIES, partial, tolerance):
    _reward = partial_credit if partial.value else AnswerReward(tolerance=tolerance.value)
    _group = scored(REPLIES, _reward, answer=[GOLD] * len(REPLIES))

    def _full(thinking):
        return sum(_reward_of(c) == 1 for c in _group if has_thought(c.text) == thinking)

    def _reward_of(completion):
        return next(iter(completion.rewards.values()))

    def _mean(pushes):
        mean = fmean(pushes)
        return word(cards.direction(mean), cards.signed(mean))

    _think = [_c.advantage for _c in _group if has_thought(_c.text)]
    _guess = [_c.advantage for _c in _group if not has_thought(_c.text)]
    mo.vstack(
        [
            mo.Html(cards.page(cards.group_cards(_group, ("think", "answer")))),
            mo.md(
                f"Mean advantage: replies that think {_mean(_think)}, replies that guess {_mean(_guess)}. "
                f"Paid in full: {_full(True)} of the {len(_think)} that think, {_full(False)} of the {len(_guess)} that guess."
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(
        """
    With tolerance 0 the two that think stand out. At 10 five guesses of six are paid as much as they, and only the last one is pushed down; from 23 on the group is dead.
    Partial credit never dies, and pushes a near guess {up}, too. Neither is wrong in itself: for a measurement a tolerance is what you mean. But the model will
    learn to be *as good as it pays to be*. Station 11 shows a run with a tolerance of 20.
    """.format(up=word("up", "up"))
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 5 · A reward that never complains

    Here is a reward with a bug. It runs, it returns numbers, and a training with it starts without an error. **All four replies are right. What do they earn? Now take the
    `except` away.**
    """)
    return


@app.function
def score_one(completion, gold):
    text = completion["content"]
    found = final_answer(text)
    return 1.0 if number(found) == number(gold) else 0.0


@app.function
def forgiving_reward(completions, answer, **kwargs):
    rewards = []
    for completion, gold in zip(completions, answer, strict=True):
        try:
            rewards.append(score_one(completion, gold))
        except:
            rewards.append(0.0)
    return rewards


@app.cell(hide_code=True)
def _():
    live.shown_code(score_one)
    return


@app.cell(hide_code=True)
def _():
    live.shown_code(forgiving_reward)
    return


@app.cell(hide_code=True)
def _():
    bare = mo.ui.switch(label="take the `except` away")
    bare
    return (bare,)


@app.cell(hide_code=True)
def _(bare):
    _texts = ["95", "<answer>95</answer>", "#### 95", "The answer is 95."]
    _four = [[{"role": "assistant", "content": _text}] for _text in _texts]

    def _without():
        try:
            return mo.md(f"`{[score_one(completion, '95') for completion in _four]}`")
        except Exception as error:  # what the reader came to see
            return mo.callout(mo.md(f"`{type(error).__name__}: {error}`"), kind="danger")

    _shown = " · ".join(f"`{_text}`" for _text in _texts)
    _without() if bare.value else mo.md(f"Replies: {_shown}\n\nRewards: `{forgiving_reward(_four, ['95'] * 4)}`")
    return


@app.cell(hide_code=True)
def _():
    bug = live.Question(
        "Which line is wrong?",
        {
            'text = completion["content"]': (
                True,
                'In a conversation a completion is a *list* of messages: `completion[0]["content"]`. The `except` turned the TypeError of every single reply into a 0: dead groups, for hours, without a word.',
            ),
            "found = final_answer(text)": (
                False,
                "This one is never reached. Take the `except` away and read the message: something is indexed like a dictionary that is a list.",
            ),
            "number(found) == number(gold)": (
                False,
                "That compares by value, as in station 2. The program never gets that far; take the `except` away and read the message.",
            ),
        },
        verb="Find it.",
    )
    bug_choice = bug.ask()
    bug_choice
    return bug, bug_choice


@app.cell(hide_code=True)
def _(bug, bug_choice):
    bug.answer(bug_choice.value)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    A bad *reply* earns 0. A bug is not a reply: let it raise. The same goes for a right answer that has no value: our reward stops with a ValueError that names it.
    This is the one we train with. It asks for the column `answer` of the data set by its name, and `**kwargs` takes whatever else TRL passes.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    ```python\n{live.source(AnswerReward.__call__)}\n\n{live.source(AnswerReward._is_right)}\n```
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 6 · Two rewards at once

    One may want right answers *and* a format. TRL adds the rewards, each times its entry in `reward_weights`, and compares the sums (`sum_then_normalize`). Or it compares
    each reward first and adds up those (`normalize_then_sum`). **Somebody pays the format in percent, 100 points instead of 1. Which replies are pushed up
    then, with the one and with the other? And what does a weight of 0.1 do at 1 point?**
    """)
    return


@app.cell(hide_code=True)
def _():
    points = mo.ui.slider(
        steps=[0.01, 0.1, 1, 10, 100], value=1, show_value=True, label="points for the format (the answer's: 1)"
    )
    weight = mo.ui.slider(
        steps=[0, 0.1, 0.5, 1, 2], value=1, show_value=True, label="weight of the format (the answer's: 1)"
    )
    aggregation = mo.ui.radio(
        ["sum_then_normalize", "normalize_then_sum"],
        value="sum_then_normalize",
        inline=True,
        label="`multi_objective_aggregation`",
    )
    mo.vstack([points, weight, aggregation])
    return aggregation, points, weight


@app.cell(hide_code=True)
def _(GOLD, aggregation, points, weight):
    _replies = [
        "<think>12 + 45 = 57. 57 + 38 = 95.</think><answer>95</answer>",
        "The answer is 95.",
        "<think>12 + 45 = 57. 57 + 38 = 85.</think><answer>85</answer>",
        "The answer is 85.",
    ]
    _right = answer_reward(completions=_replies, answer=[GOLD] * 4)
    _formed = [points.value * _score for _score in format_reward(completions=_replies)]
    _pushes = combined([[_right], [_formed]], [1, weight.value], aggregation.value)[0]
    _names = ("right", "in the format")
    _group = [
        Completion(_text, 0, dict(zip(_names, _scores, strict=True)), _push)
        for _text, _scores, _push in zip(_replies, zip(_right, _formed, strict=True), _pushes, strict=True)
    ]
    mo.Html(cards.page(cards.group_cards(_group, ("think", "answer"))))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    At first *right without format* and *wrong in the format* are worth the same. In a sum, points and weight are one thing: 100 points for the format drown the answer.
    `normalize_then_sum` gives each reward the same spread first, so that points do not matter and the weight alone decides ([GDPO](https://arxiv.org/abs/2601.05242)).
    At equal points a small weight says, with either, that the answer matters more.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 7 · The configuration

    Set up your own training. The first choice is the *difficulty*, the next the rewards; the code follows, and *Train* runs it where there is torch.
    """)
    return


@app.cell(hide_code=True)
def _():
    menu = live.model_menu()
    mo.hstack(list(menu.elements.values()), justify="start", gap=1.2, wrap=True)
    return (menu,)


@app.cell(hide_code=True)
def _(menu):
    model = live.chosen_model(menu.value)
    live.about_model(model)
    return (model,)


@app.cell(hide_code=True)
def _(get_suited, model):
    chosen = live.controls(
        get_suited().get(model) or live.settings_for(model, DEFAULT),
        difficulty=live.choice(
            "difficulty", list(DIFFICULTIES), "three numbers" if is_pocket(model) else "two numbers", "sums of"
        ),
        reward=live.choice("reward", ["right answer", "right answer + format"], "right answer"),
        tolerance=mo.ui.slider(
            0,
            30,
            value=live.given_or(0, "tolerance", range(31)),
            show_value=True,
            label="tolerance of the reward",
        ),
        format_weight=live.choice("format_weight", [0.1, 0.5, 1.0, 2.0], 1.0, "weight of the format, if rewarded"),
        **live.example_box(model),
    )
    mo.hstack(list(chosen.elements.values()), justify="start", gap=1.2, wrap=True)
    return (chosen,)


@app.function(hide_code=True)
def plan(settings, difficulty=None, reward="right answer", tolerance=0, format_weight=1.0, example=None):
    """The training that station 7 asks for: the arguments of `grpo_lessons.training.train`."""
    pocket = is_pocket(settings.model)
    difficulty = difficulty or ("three numbers" if pocket else "two numbers")
    example = not pocket if example is None else example
    with_format = reward == "right answer + format"

    def prompts(n, split):
        rows = sums(n, split=split, **DIFFICULTIES[difficulty])
        return with_example(rows, "What is 23 + 45?", "23 + 45 = 68") if example else rows

    return {
        "settings": replace(settings, reward_weights=(1.0, format_weight) if with_format else None),
        "rewards": [AnswerReward(tolerance), *([format_reward] if with_format else [])],
        "prompts": prompts(512, "train"),
        "held_out": prompts(96, "held-out"),
        "judges": [answer_reward, AnswerReward(strict=True), thinks],
        "evaluate_every": 10,
        "choices": {
            "difficulty": difficulty,
            "reward": reward,
            "tolerance": tolerance,
            "format_weight": format_weight,
            "example": example,
        },
    }


@app.cell(hide_code=True)
def _(chosen, model):
    asked = plan(
        live.chosen_settings(live.settings_for(model, DEFAULT), chosen.value), **live.own_choices(chosen.value)
    )
    live.as_script(asked, "math")
    return (asked,)


@app.cell(hide_code=True)
def _(asked):
    live.shown_settings(asked["settings"], asked["rewards"])
    return


@app.cell(hide_code=True)
def _():
    live.settings_explained()
    return


@app.cell(hide_code=True)
def _():
    thinking = live.Question(
        "With the pocket model and the settings as they first stand, we reward right answers only. At the start about a third of the replies think before they answer. What will happen to that share?",
        {
            "It stays where it is: nobody pays for thinking": (
                False,
                "Nobody does. But replies that think are right far more often, so within a group they are the ones that beat the mean, thought and all.",
            ),
            "It falls: thoughts are long, and shorter is easier": (
                False,
                "The reward does not see length. If guessing were paid as well, nothing would push it either way; try a tolerance of 30.",
            ),
            "Nearly all replies will think": (
                True,
                "A thought is pushed up for the company it keeps: it stands in front of right answers. See *why* below.",
            ),
        },
    )
    thinking_choice = thinking.ask()
    mo.vstack([mo.md("## 8 · Train"), thinking_choice])
    return thinking, thinking_choice


@app.cell(hide_code=True)
def _(thinking_choice):
    live.noted(thinking_choice.value, station=9)
    return


@app.cell(hide_code=True)
def _():
    folder = live.folder("math")
    _last = live.kept(folder)
    get_report, set_report = mo.state(_last)
    get_ended, set_ended = mo.state(_last)
    get_measured, set_measured = mo.state(None)
    get_suited, set_suited = mo.state({})
    session = live.Session(set_report, set_ended)
    left, resume = live.left_over(folder)
    return (
        folder,
        get_ended,
        get_measured,
        get_report,
        get_suited,
        left,
        resume,
        session,
        set_ended,
        set_measured,
        set_suited,
    )


@app.cell(hide_code=True)
def _(model, session, set_measured, set_suited, thinking_choice):
    if thinking_choice.value or not is_pocket(model):
        session.measure(plan(live.settings_for(model, DEFAULT)), set_measured, set_suited)
    return


@app.cell(hide_code=True)
def _(asked, get_measured):
    live.show_cost(get_measured(), asked)
    return


@app.cell(hide_code=True)
def _(session):
    train, stop = live.buttons(session)
    live.unless_in_page(train, stop)
    return (train,)


@app.cell(hide_code=True)
def _(FAILURES, real, real_zero, recorded, set_ended, set_report):
    get_at, set_at = mo.state(None)
    get_playing, set_playing = mo.state(False, allow_self_loops=True)
    replay = page.Replay(
        {"this lesson's run": recorded}
        | {name.partition(":")[0]: run for name, run in FAILURES.items()}
        | {"SmolLM2-135M": real, "SmolLM2-135M, no example": real_zero},
        set_report,
        set_ended,
        set_at,
        set_playing,
    )
    replayed = replay.menu()
    replay.show(replayed)
    return get_at, get_playing, replay, replayed


@app.cell(hide_code=True)
def _(get_playing, replay):
    play = replay.button(get_playing())
    play if IN_PAGE else None
    return


@app.cell(hide_code=True)
def _(get_at, replay, replayed):
    replay.choose(replayed.value)
    scrub = replay.slider(get_at())
    scrub if IN_PAGE else None
    return


@app.cell(hide_code=True)
def _(get_report, left, resume):
    live.show_left_over(left, resume, get_report())
    return


@app.cell(hide_code=True)
def _(asked, folder, session, train):
    if train.value:
        session.start(asked, folder)
    return


@app.cell(hide_code=True)
def _(folder, left, resume, session):
    if resume.value:
        session.start(plan(live.settings_of(left.run), **left.run.choices), folder, resume=True)
    return


@app.cell(hide_code=True)
def _(get_report, model, real, recorded):
    report = live.or_recorded(get_report(), recorded if is_pocket(model) else real)
    report.show(
        [
            Curve("reward", "reward", "reward"),
            Curve("judges/answer_reward/mean", "right answers", "reward", (0, 1), held_out="answer_reward"),
            Curve("judges/thinks/mean", "replies that think", "policy", (0, 1), held_out="thinks"),
            Curve(cards.LENGTH, "completion length (tokens)"),
            Curve("frac_reward_zero_std", "share of dead groups", "dead", (0, 1)),
            Curve("entropy", "entropy"),
            Curve("kl", "distance from the start (KL)"),
        ]
    )
    return (report,)


@app.cell(hide_code=True)
def _(report):
    report.show_group(("think", "answer"))
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    **What to watch.** *Right answers*: the line is the share among the replies of a step, the dots are {word("held-out")} questions, which no step trains on.
    (At step 1 they may lie apart: the line is about eight questions, the dot about ninety-six.) With the settings as they first stood, *replies that think* is counted and never paid.
    *Length* follows it: thoughts take tokens. {word("dead", "Dead groups")} become many at the end: what was a
    hard question is now too easy, and teaches nothing more. *Entropy*, how undecided the model is about its next token, falls; *KL* is how far it has moved from where it began.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 9 · Look inside

    **Who is pushed up?** Move through the steps, and look for the thought (`<think>` with something in it).
    """)
    return


@app.cell(hide_code=True)
def _(get_ended, recorded):
    inspected = get_ended().run if get_ended() and get_ended().run.groups else recorded
    step = live.step_slider(inspected)
    step
    return inspected, step


@app.cell(hide_code=True)
def _(inspected, step):
    live.show_step(inspected, step.value, ("reward", cards.LENGTH, "frac_reward_zero_std"), ("think", "answer"))
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    **Before and after**, on {word("held-out")} questions, one reply each, with 95 % intervals: how many think, and how often those are right that do and those that do not.
    """)
    return


@app.cell(hide_code=True)
def _(get_drawing, inspected, recorded):
    _run = inspected if inspected.after else recorded
    _when = [("before", _run.before), ("after", _run.after)]

    def _right(evaluation, thinking):
        return [c.rewards["answer_reward"] for c in evaluation.completions if has_thought(c.text) == thinking]

    page.figure(
        get_drawing(),
        plots.shares,
        {
            "right answers": [(_word, _e.scores("answer_reward")) for _word, _e in _when],
            "replies that think": [(_word, _e.scores("thinks")) for _word, _e in _when],
            "right, if it thinks": [(_word, _right(_e, True)) for _word, _e in _when],
            "right, if it does not": [(_word, _right(_e, False)) for _word, _e in _when],
        },
    )
    return


@app.cell(hide_code=True)
def _():
    load_pocket = page.load_button()
    page.invite(
        load_pocket,
        ", and knows sums of two-digit numbers: four replies each. Then ask for a sum of two numbers, or of four, which no step trained on.",
    )
    return (load_pocket,)


@app.cell(hide_code=True)
async def _(load_pocket):
    tried = await page.try_it(load_pocket.value, "What is 12 + 45 + 38?", "math_learns")
    tried
    return (tried,)


@app.cell(hide_code=True)
def _(tried):
    page.show_scores(tried, {"right answer": answer_reward, "thinks": thinks}, ("think", "answer"))
    return


@app.cell(hide_code=True)
def _(thinking, thinking_choice):
    mo.vstack(
        [
            mo.md("**And your prediction?** What happens to the share of replies that think?"),
            thinking.answer(thinking_choice.value),
        ]
    )
    return


@app.cell(hide_code=True)
def _(inspected):
    _first = [_c for _group in inspected.groups[:8] for _c in _group.completions]
    _sides = {
        _name: [_c for _c in _first if has_thought(_c.text) == _think]
        for _name, _think in {"think first": True, "answer at once": False}.items()
    }
    _rows = "\n".join(
        f"| {_name} | {len(_side)} | {fmean(_c.rewards['answer_reward'] or 0 for _c in _side):.0%} | {fmean(_c.advantage for _c in _side):+.2f} |"
        for _name, _side in _sides.items()
        if _side and "answer_reward" in _side[0].rewards
    )
    mo.md(f"""
    **Why.** The groups kept from the first steps of this run, taken together:

    | replies that | number | right | mean advantage |
    |:---|---:|---:|---:|
    {_rows}

    A reward for right answers never looks at a thought. But a reply is pushed as a whole, every token of it by the same advantage, so the tokens of the thought rise with the answer
    they led to. And `<think>` stands first: after it, a right answer is likely; without it, hardly ever.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **How this is what DeepSeek-R1 reports, and how it is not.** [DeepSeek-R1-Zero](https://arxiv.org/abs/2501.12948) was trained by GRPO with rewards that a program checks, without worked examples, and
    its thoughts grew from hundreds to thousands of tokens, with re-checking that nobody had paid for. *Alike:* no reward looks at what stands in a thought, and thinking spreads because it leads to right results.
    *Not alike:* R1-Zero's prompt asked for a thought in `<think>` and a second reward paid for the tags; what grew unasked was the thought's length and kind. Here the tags themselves spread. And our model, of
    under a million weights, learnt *how* to think from its corpus, which is full of worked sums; reinforcement made the habit of a third of its replies the rule. It invented nothing. How much large models invent is an open question.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 10 · Strict and lenient

    *Lenient* finds an answer anywhere in the reply, *strict* only in its `<answer>` block. Reports of "accuracy" often mean the second. **Put every answer into its block, as a format reward would have it: which number rises, and what has been learnt
    about adding?**
    """)
    return


@app.cell(hide_code=True)
def _():
    boxed = mo.ui.switch(label="every answer goes into its block")
    boxed
    return (boxed,)


@app.cell(hide_code=True)
def _(GOLD, REPLIES, boxed):
    _texts = [
        f"<answer>{final_answer(_text)}</answer>"
        if boxed.value and "<answer>" not in _text and final_answer(_text)
        else _text
        for _text in REPLIES
    ]
    _judges = {"lenient": answer_reward, "strict": AnswerReward(strict=True)}
    _scores = [_judge(completions=_texts, answer=[GOLD] * len(_texts)) for _judge in _judges.values()]
    _rows = [
        (_text, [bool(_s) for _s in _each]) for _text, _each in zip(_texts, zip(*_scores, strict=True), strict=True)
    ]
    mo.vstack(
        [
            mo.Html(cards.page(cards.marks_table(["reply", *_judges], _rows, ("think", "answer")))),
            mo.md(
                f"Lenient **{int(sum(_scores[0]))} of {len(_texts)}**, strict **{int(sum(_scores[1]))} of {len(_texts)}**."
                + (" The strict number has doubled, and nobody has learnt to add." if boxed.value else "")
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _(get_drawing, inspected, recorded):
    _run = inspected if inspected.after else recorded
    mo.vstack(
        [
            mo.md(
                "The run of station 8, judged both ways. It learnt to add, so both rise; what the gap hides is format:"
            ),
            page.figure(
                get_drawing(), plots.before_after, _run, {"answer_reward": "lenient", "strict_answer_reward": "strict"}
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    Report both. A gap between them is a matter of format, and cheap to close; a rise of the strict number alone is not a rise of ability.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 11 · Runs that fail

    The same training, with one change each; dashed, the run that works. **Before you choose one: will its groups be alive?**
    """)
    return


@app.cell(hide_code=True)
def _(FAILURES):
    failure = mo.ui.radio(list(FAILURES), value="too hard: four numbers", inline=True, label="The run")
    failure
    return (failure,)


@app.cell(hide_code=True)
def _(FAILURES, failure, recorded):
    _run = FAILURES[failure.value]
    mo.Html(
        cards.page(
            cards.curves(
                {failure.value: _run, "three numbers, exact": recorded},
                watch=[
                    Curve("reward", "reward", "reward"),
                    Curve(
                        "judges/answer_reward/mean", "right answers (exact)", "reward", (0, 1), held_out="answer_reward"
                    ),
                    Curve("judges/thinks/mean", "replies that think", "policy", (0, 1), held_out="thinks"),
                    Curve("frac_reward_zero_std", "share of dead groups", "dead", (0, 1)),
                ],
            ),
            cards.text_table(
                ["held-out question", "reply after"],
                _run.after.texts()[:3],
                ("think", "answer"),
            ),
            f'<p class="note">{_run.label}</p>',
        )
    )
    return


@app.cell(hide_code=True)
def _(FAILURES, failure, recorded):
    def _chance(run, first=0, last=5):
        return fmean(row["reward"] for row in run.metrics[first:last])

    _rows = [
        ("this run, first five steps", _chance(FAILURES[failure.value])),
        ("the run that works, first five steps", _chance(recorded)),
        ("the run that works, last five steps", _chance(recorded, -5, None)),
    ]
    _lines = "\n".join(
        f"| {_name} | {_p:.0%} | {p_dead(_p, 4):.0%} | {p_dead(_p, 8):.0%} | {p_dead(_p, 16):.0%} |"
        for _name, _p in _rows
    )
    _said = {
        "too hard: four numbers": """**All wrong.** The model was taught sums of two and of three numbers; of four, it gets none right. Nearly every group is dead from the first step to the last.
        Nothing is wrong with the reward. Easier questions come first (a curriculum), or a few worked examples before any reinforcement.""",
        "too easy: any number will do": """**All right.** With a tolerance of 100 nearly every number passes. Dead as well, at full reward: the best-looking curve of the course, and the emptiest. The run that works ends
        the same way, once its questions have become easy.""",
        "too generous: 20 off is fine": """**As good as it pays to be.** The reward is nearly full from the first step: a guess is within 20 nearly as often as a sum worked out, so few groups are alive, and a thought is worth little.
        Thinking and exact answers rise slowly, if at all (with 96 questions, ten points are within luck), where the exact grader took them to nearly all.""",
    }[failure.value]
    mo.md(f"""
    {_said}

    | | replies that earn 1 | dead groups at G = 4 | at 8 | at 16 |
    |:---|---:|---:|---:|---:|
    {_lines}

    (Dead if every reply has this chance, whatever the question: in truth some questions are harder than others, and a few more groups are dead.)
    Questions teach while the model gets some of its tries right and some wrong. The difficulty in station 7 is there for that: with sums of *two* numbers more replies are right at the start; compare the dead groups at both ends.
    """)
    return


@app.cell(hide_code=True)
def _(real, real_zero):
    _before, _after = (_each.mean("answer_reward") for _each in (real.before, real.after))
    mo.md(f"""
    ## 12 · A real model

    **SmolLM2-135M-Instruct** is a hundred and fifty times as large, has read a good part of the web, and adds two numbers of two digits badly. Asked as the pocket model is,
    it talks about the sum until it is cut off: {real_zero.before.mean("answer_reward"):.0%} of its replies are right, and most groups are {word("dead")} (dashed). With **one example** in the prompt
    and the same reward (solid), it goes from {_before:.0%} right to {_after:.0%} in {real.steps_done} steps, on {word("held-out", "questions that no step trained on")}.
    """)
    return


@app.cell(hide_code=True)
def _(real, real_zero):
    mo.Html(
        cards.page(
            cards.curves(
                {"one example": real, "no example": real_zero},
                watch=[
                    Curve("reward", "right answers", "reward", (0, 1), held_out="answer_reward"),
                    Curve(cards.LENGTH, "completion length (tokens)"),
                    Curve("entropy", "entropy"),
                    Curve("frac_reward_zero_std", "share of dead groups", "dead", (0, 1)),
                ],
            ),
            cards.text_table(
                ["held-out question", "before", "after"],
                real.before.texts(real.after)[:4],
            ),
            f'<p class="note">{real.label}</p>',
        )
    )
    return


@app.cell(hide_code=True)
def _(get_drawing, real):
    page.figure(get_drawing(), plots.before_after, real, {"answer_reward": "right answers"})
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    No thought appeared here: the example shows none, this model has no habit of `<think>`, and what is never tried is never pushed. What the reward found is closer at hand:
    less wavering (entropy falls), and more often the answer that the model half knew. Do not expect as much on word problems such as GSM8K: there a model of this size does not get better.

    To see it live, open the lesson on a machine of your own (`marimo edit`), choose **smollm2-135m** in station 7 and train: some minutes on a laptop, faster on a GPU.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 13 · Break it

    Be the model, and lazy: **earn as much as you can without adding** *12 + 45 + 38*. You may assume that the graders are as you set them.
    """)
    return


@app.cell(hide_code=True)
def _():
    attempt = mo.ui.text_area(
        value="Somewhere around 100.", rows=3, debounce=400, max_length=2000, full_width=True, label="Your reply"
    )
    generous = mo.ui.slider(0, 30, value=10, show_value=True, label="tolerance of the third grader")
    mo.vstack(
        [
            attempt,
            generous,
            mo.md(
                "Try: the question itself as the answer · two answer blocks · many numbers · a thought with the numbers in it · `9^{9^{9^9}}`"
            ),
        ]
    )
    return attempt, generous


@app.cell(hide_code=True)
def _(GOLD, attempt, generous):
    _reply = attempt.value[:2000]
    _judges = {
        "lenient": answer_reward,
        "strict": AnswerReward(strict=True),
        f"within {generous.value}": AnswerReward(tolerance=generous.value),
        "partial credit": partial_credit,
    }
    _scores = [_judge(completions=[_reply], answer=[GOLD])[0] for _judge in _judges.values()]
    _found = final_answer(_reply) or "–"
    mo.Html(
        cards.page(
            cards.marks_table(
                ["your reply", "answer found", *_judges], [(_reply, [_found, *_scores])], ("think", "answer")
            )
        )
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    An exact answer is hard to fake; that is why verifiable rewards work so well. (Even the question handed back, `12+45+38`, has the right value: our reward wants a number where a number is right.) What can be had cheaply is everything around it: a tolerance, partial credit, a format.

    | what you see | what it says | what to do |
    |:---|:---|:---|
    | `reward` 0 from the first step, groups dead | too hard, or the checker is broken | check it by hand on ten replies; then easier questions |
    | `reward` 1, groups dead | too easy | harder questions; stop |
    | strict up, lenient flat | a format was learnt, not a skill | report both |
    | `reward` up, exact answers flat | the tolerance pays for guesses | tighten it |
    | `reward` up, held-out flat | answers learnt by heart | more questions |
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    ## 14 · Three exercises

    {live.where_to_write()}

    **One: `extract_final_answer` of your own.** From a reply to its answer as text, or None. A thought (`<think>…</think>`) never counts; an `<answer>` block goes before anything else;
    without one, the last number.
    """)
    return


@app.function
def my_final_answer(text):
    return text.split()[-1]


@app.cell(hide_code=True)
def _():
    my_final_answer_code = page.editor(my_final_answer)
    live.exercise(my_final_answer, my_final_answer_code)
    return (my_final_answer_code,)


@app.cell(hide_code=True)
def _(my_final_answer_code):
    live.verdict(
        first_mistake(
            page.written(my_final_answer, my_final_answer_code),
            [
                Case({"text": "It is 95"}, "95", "the last number"),
                Case({"text": "95 it is"}, "95", "the last number, wherever it stands"),
                Case({"text": "no idea"}, None, "no number, no answer"),
                Case({"text": "<answer>95</answer> or 94"}, "95", "the block goes before the last number"),
                Case(
                    {"text": "<think>12 + 45 = 57</think><answer>95</answer>"}, "95", "the block, not what was thought"
                ),
                Case({"text": "<think>12 + 45 = 57</think>"}, None, "a thought does not count"),
                Case(
                    {"text": "<think>\n12 + 45\n= 57\n</think>95"}, "95", "a thought may have several lines (re.DOTALL)"
                ),
                Case({"text": ""}, None, "an empty reply has no answer"),
            ],
        )
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **Two: mend a reward from the wild.** The data set has a column `answer`; replies are conversations; equal means equal *by value* (`number` gives a text's value, or None).
    """)
    return


@app.function
def my_answer_reward(completions, answers):
    return [1.0 if completion == gold else 0.0 for completion, gold in zip(completions, answers, strict=True)]


@app.cell(hide_code=True)
def _():
    my_answer_reward_code = page.editor(my_answer_reward)
    live.exercise(my_answer_reward, my_answer_reward_code)
    return (my_answer_reward_code,)


@app.cell(hide_code=True)
def _(my_answer_reward_code):
    def _case(text, gold, expected, why, **columns):
        return Case(
            {"completions": [[{"role": "assistant", "content": text}]], "answer": [gold], **columns}, [expected], why
        )

    live.verdict(
        first_mistake(
            page.written(my_answer_reward, my_answer_reward_code),
            [
                _case(
                    "72",
                    "72",
                    1.0,
                    "the parameter has the name of the column, `answer`; the text is completion[0]['content']",
                ),
                _case("73", "72", 0.0, "a wrong answer earns nothing"),
                _case("72.0", "72", 1.0, "compare number(text) with number(gold), not strings"),
                _case("1,234", "1234", 1.0, "so that a comma does no harm"),
                _case("no idea", "72", 0.0, "no number, no reward, and no error"),
                _case("72", "72", 1.0, "TRL passes the prompts and every column; take **kwargs", prompts=["36 * 2?"]),
            ],
        )
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **Three: will it teach?** A reply is right with chance `p`. Return the share of groups of `size` replies that are dead: all right, or all wrong.
    """)
    return


@app.function
def my_dead_share(p, size):
    return p**size


@app.cell(hide_code=True)
def _():
    my_dead_share_code = page.editor(my_dead_share)
    live.exercise(my_dead_share, my_dead_share_code)
    return (my_dead_share_code,)


@app.cell(hide_code=True)
def _(my_dead_share_code):
    live.verdict(
        first_mistake(
            page.written(my_dead_share, my_dead_share_code),
            [
                Case({"p": _p, "size": _size}, p_dead(_p, _size), _why)
                for _p, _size, _why in [
                    (0.5, 2, "both right, or both wrong"),
                    (0.1, 8, "mostly all wrong: (1 - p) to the power of the size"),
                    (1.0, 8, "all right is dead as well"),
                ]
            ],
        )
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 15 · Keep it

    What a session leaves is a small adapter on top of the model: a few per cent of its weights (3.6 % for SmolLM2). **Save it**, then try what can be done with it;
    the code that runs is the code you see.
    """)
    return


@app.cell(hide_code=True)
def _():
    keep_choice, keep = live.keep_menu()
    keep_choice["what"]
    return keep, keep_choice


@app.cell(hide_code=True)
def _(keep, keep_choice):
    live.keep_code(keep_choice, keep)
    return


@app.cell(hide_code=True)
def _(asked, folder, get_ended, keep, keep_choice):
    live.keep_it(keep_choice.value, get_ended(), asked, folder) if keep.value else None
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    For school mathematics in words, `dataset_name: openai/gsm8k` has a column `answer` that `answer_reward` reads as it stands (it looks behind `####`), and a column `question` to be
    renamed to `prompt`. That wants a model of half a billion weights and a GPU.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    ## What you now know

    Check answers by value; let bugs raise; choose questions that are sometimes right. Then reward the result, and whatever leads to it spreads, thinking included.
    A model learns neither what you meant nor what you measure elsewhere, but what makes one reply better than its siblings.

    That was the course: {live.lesson_link("length")}, what a reward does not see · {live.lesson_link("format")}, a reward of 0 or 1 and dead groups · this one. If a run of your own does not learn, ask in this order:
    *are the groups alive? is anything cut off? do the held-out replies get better? what do the texts say?*

    *Sources:* GRPO, [DeepSeekMath](https://arxiv.org/abs/2402.03300) · rewards that a program checks, [DeepSeek-R1](https://arxiv.org/abs/2501.12948) ·
    several rewards, [GDPO](https://arxiv.org/abs/2601.05242) · `####`, [GSM8K](https://arxiv.org/abs/2110.14168) · [TRL's GRPOTrainer](https://huggingface.co/docs/trl/grpo_trainer)
    """)
    return


@app.cell(hide_code=True)
def _():
    QUESTION, GOLD = "What is 12 + 45 + 38?", "95"
    REPLIES = [  # the running example: two that think, and guesses
        "<think>12 + 45 = 57. 57 + 38 = 95.</think>The answer is 95.",
        "The answer is 85.",
        "<think>12 + 45 = 57. 57 + 38 = 95.</think><answer>95</answer>",
        "<answer>105</answer>",
        "97",
        "12 + 45 + 38 = 93",
        "#### 90",
        "<think></think><answer>118</answer>",
    ]
    PLACES = {  # where an answer may stand
        "It is 95.": "one number, at the end",
        "#### 95\n3 numbers were added.": "the mark of GSM8K, a data set of school mathematics, then more",
        r"\boxed{95}, checked in 2 ways": "LaTeX, then more",
        "<answer>95</answer> (57 plus 38)": "a block, then more",
        "<think>12 + 45 = 57. 57 + 38 = 95.</think>": "a thought and no answer",
        "<think>12 + 45 = 57. 57 + 38 = 95": "a thought never closed",
        "<think>Is it <answer>95</answer>?</think><answer>94</answer>": "an answer inside a thought",
    }
    return GOLD, PLACES, QUESTION, REPLIES


@app.cell(hide_code=True)
def _():
    recorded = page.recording("math_learns")
    FAILURES = {
        "too hard: four numbers": page.recording("math_too_hard"),
        "too easy: any number will do": page.recording("math_too_easy"),
        "too generous: 20 off is fine": page.recording("math_generous"),
    }
    real = page.recording("math_smollm2")
    real_zero = page.recording("math_smollm2_zero")
    return FAILURES, real, real_zero, recorded


@app.cell(hide_code=True)
def _():
    get_drawing, set_drawing = mo.state(page.DRAWING)
    page.load_drawing(set_drawing)
    return (get_drawing,)


@app.cell(hide_code=True)
def _():
    # For the speaker: a station's minutes of 45 and of 90, what to ask, what to expect.
    live.speaker_notes(
        [
            (
                3,
                4,
                "What has changed between the columns, besides the answers?",
                "The replies begin to think. Nobody paid for that.",
            ),
            (
                3,
                4,
                "Two of these four replies are right. What else tells them apart?",
                "How they got there. Whatever stands in front of a right answer is pushed up with it.",
            ),
            (
                5,
                8,
                "Where does a comparison of strings say the wrong thing?",
                "72.0 and 72, 1,234 and 1234, 3/4 and 0.75 are equal by value, not as text. Of a text around it the number is read; two numbers, 72 or 73, are no answer.",
            ),
            (
                4,
                7,
                "How would you find the answer in a free reply?",
                "The last number alone misreads five of the seven. A block or a box is surer, a number in a thought never counts; with all five switches on all are read right.",
            ),
            (
                4,
                6,
                "How wide must the tolerance be for guesses to pay as much as a sum worked out?",
                "From 2 on the first are paid in full, at 10 five of six; from 23 on all, and the group is dead.",
            ),
            (
                3,
                7,
                "All four replies are right. What do they earn?",
                "Four times 0. completion is a list of messages, ['content'] of it raises, and the except calls that a wrong answer. On a bug a reward should raise; 0 is for wrong answers.",
            ),
            (
                3,
                6,
                "Somebody pays the format in percent, 100 points instead of 1. Which replies are pushed up?",
                "sum_then_normalize: those in the format, right (+0.87) or wrong. normalize_then_sum: the points do not matter, +1.22 for both, −1.22 for neither. A weight of 0.1 leaves the format a tenth of the say.",
            ),
            (
                2,
                4,
                "Which setting will you change, and what do you expect of it?",
                "One thing at a time, said aloud first. For a class: every row its own difficulty, tolerance or seed, so that there is something to compare.",
            ),
            (
                7,
                10,
                "Before anybody presses Train: what will happen to the share of replies that think, and why, if nobody pays for it?",
                "From a third to nearly all: a thought stands in front of right answers. Train on the projector first, some 35 s; then one for each row, while you go on.",
            ),
            (
                4,
                8,
                "Who is pushed up, and why the thinkers?",
                "At step 1 some lucky guesses, too. On the whole those who think: see Why, they are right far more often. A small, honest version of what DeepSeek-R1 reports, and not the same.",
            ),
            (
                2,
                5,
                "Put every answer into its block: which number rises, and what has been learnt about adding?",
                "The strict one rises, the lenient one does not: nothing has been learnt about adding.",
            ),
            (
                2,
                5,
                "Before you choose a run: will its groups be alive?",
                "Where nobody or everybody succeeds, they are not. And a tolerance of 20 pays for guesses.",
            ),
            (
                1,
                4,
                "Does a real model begin to think, too?",
                "Not here, but it learns: from 12 % to 59 % of the sums, and the intervals are apart. It takes minutes on two cores: show the recording.",
            ),
            (
                0,
                4,
                "Who earns most without adding?",
                "Let the best text be read aloud, and have the class mend the reward.",
            ),
            (
                0,
                5,
                "Exercise three: replies are right with p = 0.5. How many groups of four are dead?",
                "One in eight: one in sixteen all right, as many all wrong. The code is mended in marimo edit or the web page: a class's server runs nobody's code.",
            ),
            (
                0,
                1,
                "What is left of a training?",
                "A small adapter beside the model. In marimo edit it can be saved, merged and pushed.",
            ),
            (
                2,
                2,
                "A run of yours does not learn. What do you ask first?",
                "Are the groups alive? Is anything cut off? Do the held-out replies get better? What do the texts say?",
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    live.stepper()
    return


if __name__ == "__main__":
    app.run()
