# /// script
# requires-python = ">=3.11"
# dependencies = ["grpo-lessons[lesson]; sys_platform != 'emscripten'", "marimo==0.25.*; sys_platform != 'emscripten'"]
# tool.uv.sources.grpo-lessons = { path = "..", editable = true }
# ///

import marimo

__generated_with = "0.25.2"
app = marimo.App(
    width="medium",
    app_title="GRPO: reward the answer, and watch thinking appear",
    css_file="public/lesson.css",
    html_head_file="public/step.html",
)

with app.setup(hide_code=True):
    import re
    from dataclasses import replace
    from statistics import fmean

    import marimo as mo

    from grpo_lessons import cards, lesson, plots
    from grpo_lessons.answers import is_right, number
    from grpo_lessons.cards import word
    from grpo_lessons.curves import CURVES, LENGTH, Curve, curves
    from grpo_lessons.groups import AGGREGATIONS, combined, scored
    from grpo_lessons.problems import sums, with_example
    from grpo_lessons.replies import final_answer
    from grpo_lessons.rewards import AnswerReward, answer_reward, format_reward, thinks
    from grpo_lessons.runs import Completion
    from grpo_lessons.text import completion_text, has_thought
    from grpo_lessons.training import SMOLLM2, Plan, Settings, is_pocket

    THINK = ("think", "answer")
    GRADERS = ("equal as text", "math-verify", "ours")
    DIFFICULTIES = {"two numbers": {"terms": 2}, "three numbers": {}, "four numbers": {"terms": 4}}
    DIFFICULTIES["three numbers of three digits"] = {"digits": 3}
    FAILURES = ("too hard: four numbers", "too easy: any number will do", "too generous: 20 off is fine")
    REWARD, _, DEAD, TOKENS, ENTROPY, KL = CURVES
    RIGHT = Curve("judges/answer_reward/mean", "right answers", "reward", (0, 1), held_out="answer_reward")
    THOUGHTS = Curve("judges/thinks/mean", "replies that think", "policy", (0, 1), held_out="thinks")
    _slowly = {"learning_rate": 3e-4, "beta": 0.0, "max_completion_length": 24}
    _real = Settings(model=SMOLLM2, steps=20, batch_size=32, accumulation=8, **_slowly)
    DEFAULT = {"pocket": Settings(steps=50, learning_rate=2e-3), SMOLLM2: _real}


@app.cell(hide_code=True)
def _(opened, station):
    _before, _after = station.recorded.before, station.recorded.after
    _pairs = [
        (_question, [f"{_c.text} {'✓' if _c.rewards['answer_reward'] else '✗'}" for _c in _each])
        for _question, *_each in zip(_before.prompts, _before.completions, _after.completions, strict=True)
        if not has_thought(_each[0].text) and _each[0].text.count("<answer>") == _each[0].text.count("</answer>")
    ]
    lesson.show(
        f"""
    # Reward the answer, and watch thinking appear

    A small language model adds three numbers. Asked out of the blue, it is right in {_before.mean("answer_reward"):.0%} of its replies. We pay **1** for a right answer and **0** for a wrong one, and look at nothing else: not at the format, not at the length, not at how it got there.

    After {station.recorded.steps_done} steps it is right in **{_after.mean("answer_reward"):.0%}**. That was paid for. This was not: the share of replies in which it works the sum out in a *thought*, before it answers, went from {_before.mean("thinks"):.0%} to **{_after.mean("thinks"):.0%}**.

    {lesson.before_you_begin(opened)}
    """,
        cards.text_table(["question", "reply before", "reply after"], _pairs[:6], THINK),
        "✓ is right, ✗ wrong; these are the first questions on which it did not think before. Nobody asked for a thought, and nobody paid for one. By the end of this lesson you will know why it happens, when it does not, and how far this is from what was reported of DeepSeek-R1.",
    )
    return


@app.cell(hide_code=True)
async def _(alive, live, once, opened, pushed):
    _words = "One update from these four, and only their answers were looked at: **which tokens will move, and which way? Those of the thoughts, for which nobody pays, too?**"
    _picture = cards.loop_picture(pushed.prompt, pushed.group, THINK, update=opened.numbers("updates")["math"])
    lesson.show(
        f"""
    ## 1 · The loop in one picture

    As in the other lessons: one prompt, a **group** of replies, a {word("reward")} for each, compare *within the group*, push what did better {word("up")} and what did worse {word("down")}.
    Here the reward is **verifiable**: a program checks the answer, so no human and no second model has to judge. **Two of these four replies are right. What else tells them apart?**
    """,
        lesson.fold("The loop, with four replies", _picture),
        await alive.show(opened, live, "Right answers only are paid. **Watch what else spreads.**"),
        await pushed.show(opened, once, _words),
        "Keep that in mind. First, the check itself: it sounds simple, and is where most such runs go wrong.",
    )
    return


@app.cell(hide_code=True)
def _():
    graders = mo.ui.dictionary({_name: mo.ui.switch(label=_name) for _name in GRADERS})
    _own = {"reply": ("They are 1/2.", "a reply of yours"), "gold": ("0.5", "and what is right")}
    own = mo.ui.dictionary({_n: mo.ui.text(_v, label=_l, max_length=200) for _n, (_v, _l) in _own.items()})
    lesson.show(
        """
    ## 2 · Is that the right answer?

    Replies as models write them, and right answers as public data sets have them. The column *true* says whether the reply is right. **Which rows does a comparison of texts get wrong? And [math-verify](https://github.com/huggingface/Math-Verify), the field's own library?** Guess first, then switch the graders on.
    """,
        lesson.row(*graders.elements.values()),
        lesson.row(*own.elements.values()),
    )
    return graders, own


@app.cell(hide_code=True)
def _(graders, own):
    def _row(reply, gold, right, says, why):
        _found = final_answer(reply)
        _all = dict(zip(GRADERS, (_found == gold, says, is_right(_found, gold)), strict=True))
        return reply, [gold, right, *(_all[_name] for _name in _on), why]

    _on = [_name for _name in GRADERS if graders.value[_name]]
    _head = ["reply", "what is right", "true", *_on, "why"]
    _own = [_row(own.value["reply"], own.value["gold"], "?", "–", "yours")]
    lesson.show(
        cards.marks_table(_head, [_row(**_each) for _each in lesson.table("real_answers")], truth=1),
        cards.marks_table(_head, _own) if _on else None,
        """
    Red: the grader is wrong. A comparison of texts mostly says no. math-verify reads formulas well and hedges badly: it pays for a range, and for one of two numbers. (These rows were picked because the three disagree.)
    Ours asks first *what kind* of thing an answer is: a number, a range, a point, an interval, a choice. It compares by that, numbers exactly, as fractions. What could be two things is neither.
    """,
    )
    return


@app.cell(hide_code=True)
def _():
    _names = ("last", "hashes", "boxed", "answer", "thought")
    _says = ("the last number", "`#### 72`", r"`\boxed{72}`", "`<answer>72</answer>`", "thoughts do not count")
    switches = mo.ui.dictionary({n: mo.ui.switch(n == "last", label=_l) for n, _l in zip(_names, _says, strict=True)})
    lesson.show(
        """
    ## 3 · Where is the answer?

    A reply is more than its answer. Many tutorials call a function `extract_final_answer` and never show it. Build it: **switch the steps on one by one, from left to right, and watch which replies are read right.** Red: your function and the finished one disagree.
    """,
        lesson.row(*switches.elements.values()),
    )
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
def _(PLACES, opened, switches):
    _steps = {_name for _name, _on in switches.value.items() if _on}
    _rows = []
    for _text, _why in PLACES.items():
        _found = extract_final_answer(_text, _steps), final_answer(_text)
        _marks = [_each is not None and number(_each) == 95 for _each in _found]
        _rows.append((_text, [_found[0] or "–", *_marks, _why]))
    _wrong = sum(_yours != _finished for _, (_, _yours, _finished, _) in _rows)
    lesson.show(
        lesson.shown_code(opened, extract_final_answer),
        cards.marks_table(["reply", "found", "95? yours", "95? finished", "what it is"], _rows, THINK, truth=2),
        f"**Read wrongly: {_wrong} of {len(_rows)} replies.**" if _wrong else "**All are read right.**",
        """
    A thought must not count: a model that writes down several numbers and commits to none would be paid for luck. Our lessons use the finished function, `grpo_lessons.replies.final_answer`: the same steps, safe against hostile text (no regular expression runs wild on a megabyte of `<think>`), and with two blocks that disagree it takes neither.
    """,
    )
    return


@app.cell(hide_code=True)
def _(data):
    lesson.show(
        """
    ## 4 · Check your data

    A right answer that cannot be read is a question on which nobody can be paid. *Train* looks at all of them first, and so can you. **Try a file of your own:** it is read here, and sent nowhere. Until then, those of station 2.
    """,
        lesson.row(*data.elements.values()),
        lesson.show_check(data.value, lesson.table("real_answers")),
    )
    return


@app.cell(hide_code=True)
def _():
    tolerance = mo.ui.slider(0, 30, value=0, show_value=True, label="tolerance")
    partial = mo.ui.switch(label="partial credit: 1 − error / 95")
    lesson.show(
        """
    ## 5 · Nearly right

    Why not pay for nearly right? Eight replies to *What is 12 + 45 + 38?*, right answer 95. **Widen the tolerance until a blind guess pays as much as a sum worked out.**
    """,
        lesson.row(tolerance, partial),
    )
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
    _means, _paid = [], []
    for _do, _thinks in {"think": True, "guess": False}.items():
        _side = [_c for _c in _group if has_thought(_c.text) == _thinks]
        _mean = fmean(_c.advantage for _c in _side)
        _means.append(f"replies that {_do} {word(cards.direction(_mean), cards.signed(_mean))}")
        _paid.append(f"{sum(_c.rewards[_reward.__name__] == 1 for _c in _side)} of the {len(_side)} that {_do}")
    lesson.show(
        cards.group_cards(_group, THINK),
        f"Mean advantage: {', '.join(_means)}. Paid in full: {', '.join(_paid)}.",
        f"""
    With tolerance 0 the two that think stand out. At 10 five guesses of six are paid as much as they, and only the last one is pushed down; from 23 on the group is dead. Partial credit never dies, and pushes a near guess {word("up")}, too. Neither is wrong in itself: for a measurement a tolerance is what you mean.
    But the model will learn to be *as good as it pays to be*. Station 12 shows a run with a tolerance of 20.
    """,
    )
    return


@app.cell(hide_code=True)
def _(opened):
    bare = mo.ui.switch(label="take the `except` away")
    bug = lesson.Question(
        opened,
        "Which line is wrong?",
        {
            'text = completion["content"]': 'In a conversation a completion is a *list* of messages: `completion[0]["content"]`. The `except` turned the TypeError of every single reply into a 0: dead groups, for hours, without a word.',
            "found = final_answer(text)": "This one is never reached. Take the `except` away and read the message: something is indexed like a dictionary that is a list.",
            "number(found) == number(gold)": "That compares by value, as in station 2. The program never gets that far; take the `except` away and read the message.",
        },
        right='text = completion["content"]',
        verb="Find it.",
    )
    lesson.show(
        """
    ## 6 · A reward that never complains

    Here is a reward with a bug. It runs, it returns numbers, and a training with it starts without an error. **All four replies are right. What do they earn? Now take the `except` away.**
    """,
        lesson.shown_code(opened, score_one, forgiving_reward),
        bare,
    )
    return bare, bug


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
def _(bare, bug):
    _texts = ["95", "<answer>95</answer>", "#### 95", "The answer is 95."]
    _four = [[{"role": "assistant", "content": _text}] for _text in _texts]
    try:
        _rewards = [score_one(_each, "95") for _each in _four] if bare.value else forgiving_reward(_four, ["95"] * 4)
        _said = f"Replies: {' · '.join(f'`{_text}`' for _text in _texts)}\n\nRewards: `{_rewards}`"
    except Exception as _error:  # what the reader came to see
        _said = mo.callout(mo.md(f"`{type(_error).__name__}: {_error}`"), kind="danger")
    lesson.show(
        _said,
        bug,
        bug.answer(),
        """
    A bad *reply* earns 0. A bug is not a reply: let it raise. A *right answer* that cannot be read is another matter: it is nobody's fault in the group, so the reward gives `None`, which counts neither way, and says so once. This is what the one we train with does for each reply.
    """,
        mo.md(lesson.source(AnswerReward._score)),
    )
    return


@app.cell(hide_code=True)
def _():
    _points, _weights = [0.01, 0.1, 1, 10, 100], [0, 0.1, 0.5, 1, 2]
    points = mo.ui.slider(steps=_points, value=1, show_value=True, label="points for the format (the answer's: 1)")
    weight = mo.ui.slider(steps=_weights, value=1, show_value=True, label="weight of the format (the answer's: 1)")
    aggregation = mo.ui.radio(AGGREGATIONS, value=AGGREGATIONS[0], inline=True, label="`multi_objective_aggregation`")
    lesson.show(
        """
    ## 7 · Two rewards at once

    One may want right answers *and* a format. TRL adds the rewards, each times its entry in `reward_weights`, and compares the sums (`sum_then_normalize`). Or it compares each reward first and adds up those (`normalize_then_sum`). **Somebody pays the format in percent, 100 points instead of 1. Which replies are pushed up then, with the one and with the other? And what does a weight of 0.1 do at 1 point?**
    """,
        points,
        weight,
        aggregation,
    )
    return aggregation, points, weight


@app.cell(hide_code=True)
def _(GOLD, aggregation, points, weight):
    _formed = "<think>12 + 45 = 57. 57 + 38 = {0}.</think><answer>{0}</answer>"
    _replies = [_formed.format(95), "The answer is 95.", _formed.format(85), "The answer is 85."]
    _right = answer_reward(completions=_replies, answer=[GOLD] * 4)
    _form = [points.value * _score for _score in format_reward(completions=_replies)]
    _pushes = combined([[_right], [_form]], [1, weight.value], aggregation.value)[0]
    _rows = zip(_replies, _right, _form, _pushes, strict=True)
    lesson.show(
        cards.group_cards(
            [Completion(t, 0, {"right": r, "in the format": f}, _push) for t, r, f, _push in _rows], THINK
        ),
        """
    With equal points a right answer without the format earns as much as a wrong one in it. In a sum, points and weight are one thing: 100 points for the format drown the answer. `normalize_then_sum` gives each reward the same spread first, so that points do not matter and the weight alone decides ([GDPO](https://arxiv.org/abs/2601.05242)). At equal points a small weight says, with either, that the answer matters more.
    """,
    )
    return


@app.cell(hide_code=True)
def _(station):
    menu = station.models()
    lesson.show(
        """
    ## 8 · The configuration

    Set up your own training. The first choice is the *difficulty*, the next the rewards; the code follows, and *Train* runs it.
    """,
        lesson.row(*menu.elements.values()),
    )
    return (menu,)


@app.cell(hide_code=True)
def _(batch, chosen, menu, station):
    asked = station.asked(plan, menu.value, chosen.value, batch.value)
    station.configuration(chosen, batch, asked, folded=True)
    return (asked,)


@app.cell(hide_code=True)
def _(opened):
    thinking = lesson.Question(
        opened,
        "You have seen how it ends: nearly all replies think, and nobody paid for a thought. Why does thinking spread?",
        {
            "Replies that think are longer, and longer replies are pushed harder": "The reward does not see length, and every token of a reply gets the same push. If guessing were paid as well, nothing would push thoughts up; try a tolerance of 30.",
            "The model notices that thinking helps it": "It notices nothing: it is a table of chances. Look at who is pushed up.",
            "A thought stands in front of right answers, and is pushed up with them": "Within a group, the replies that think are the ones that beat the mean, thought and all. See *why* below.",
        },
        right="A thought stands in front of right answers, and is pushed up with them",
    )
    lesson.show("## 9 · Train", thinking)
    return (thinking,)


@app.cell(hide_code=True)
def _(asked, buttons, get_cost, get_report, scrub, station, thinking):
    lesson.show(
        thinking.noted(station=10),
        station.show(buttons, scrub, get_report(), get_cost(), asked, thinking),
        f"""
    **What to watch.** *Right answers*: the line is the share among the replies of a step, the dots are {word("held-out")} questions, which no step trains on. (At step 1 they may lie apart: the line is about eight questions, the dot about ninety-six.) With the settings as they first stood, *replies that think* is counted and never paid. *Length* follows it: thoughts take tokens.
    {word("dead", "Dead groups")} become many at the end: what was a hard question is now too easy, and teaches nothing more. *Entropy*, how undecided the model is about its next token, falls; *KL* is how far it has moved from where it began.
    """,
    )
    return


@app.cell(hide_code=True)
async def _(get_drawing, get_ended, station, step):
    _run = station.answered(get_ended())
    lesson.show(
        """
    ## 10 · Look inside

    **Who is pushed up?** Move through the steps, and look for the thought (`<think>` with something in it).
    """,
        await station.look_inside(step, get_ended(), ("reward", LENGTH, "frac_reward_zero_std")),
        f"**Before and after**, on {word('held-out')} questions, one reply each, with 95 % intervals: how many think, and how often those are right that do and those that do not.",
        lesson.figure(get_drawing(), plots.thoughts, _run),
    )
    return


@app.cell(hide_code=True)
async def _(ask, load):
    _words = ", and knows sums of two-digit numbers: four replies each. Then ask for a sum of two numbers, or of four, which no step trained on."
    tried = await ask.widget(load.value)
    lesson.show(ask.invite(load, _words), tried)
    return (tried,)


@app.cell(hide_code=True)
def _(get_ended, station, thinking, tried):
    _first = [_c for _group in station.inspected(get_ended()).groups[:8] for _c in _group.completions]
    _sides = {"think first": has_thought, "answer at once": lambda text: not has_thought(text)}
    lesson.show(
        lesson.show_scores(tried, {"right answer": answer_reward, "thinks": thinks}, THINK),
        "**And your prediction?** Why does thinking spread?",
        thinking.then(
            "**Why.** The first eight groups that this run has kept, taken together:",
            cards.sides_table(_first, _sides, "answer_reward"),
            """
    A reward for right answers never looks at a thought. But a reply is pushed as a whole, every token of it by the same advantage, so the tokens of the thought rise with the answer they led to. And `<think>` stands first: after it, a right answer is likely; without it, hardly ever.

    **How this is what DeepSeek-R1 reports, and how it is not.** [DeepSeek-R1-Zero](https://arxiv.org/abs/2501.12948) was trained by GRPO with rewards that a program checks, without worked examples, and its thoughts grew from hundreds to thousands of tokens, with re-checking that nobody had paid for. *Alike:* no reward looks at what stands in a thought, and thinking spreads because it leads to right results.
    *Not alike:* R1-Zero's prompt asked for a thought in `<think>` and a second reward paid for the tags; what grew unasked was the thought's length and kind. Here the tags themselves spread. And our model, of under a million weights, learnt *how* to think from its corpus, which is full of worked sums; reinforcement made the habit of a third of its replies the rule. It invented nothing. Whether anything is learnt that was not there, station 13 asks.
    """,
        ),
    )
    return


@app.cell(hide_code=True)
def _():
    boxed = mo.ui.switch(label="every answer goes into its block")
    lesson.show(
        """
    ## 11 · Strict and lenient

    *Lenient* finds an answer anywhere in the reply, *strict* only in its `<answer>` block. Reports of "accuracy" often mean the second. **Put every answer into its block, as a format reward would have it: which number rises, and what has been learnt about adding?**
    """,
        boxed,
    )
    return (boxed,)


@app.cell(hide_code=True)
def _(GOLD, REPLIES, boxed, get_drawing, get_ended, station):
    def _in_its_block(text):
        return text if "<answer>" in text or not final_answer(text) else f"<answer>{final_answer(text)}</answer>"

    _texts = [_in_its_block(_text) if boxed.value else _text for _text in REPLIES]
    _judges = {"lenient": answer_reward, "strict": AnswerReward(strict=True)}
    _scores = [_judge(completions=_texts, answer=[GOLD] * len(_texts)) for _judge in _judges.values()]
    _rows = [(_text, [*map(bool, _each)]) for _text, *_each in zip(_texts, *_scores, strict=True)]
    _lenient, _strict = (f"**{int(sum(_each))} of {len(_texts)}**" for _each in _scores)
    _said = " The strict number has doubled, and nobody has learnt to add." if boxed.value else ""
    _titles = {"answer_reward": "lenient", "strict_answer_reward": "strict"}
    lesson.show(
        cards.marks_table(["reply", *_judges], _rows, THINK),
        f"Lenient {_lenient}, strict {_strict}.{_said}",
        "The run of station 9, judged both ways. It learnt to think first, so both rise; the gap between them is format:",
        lesson.figure(get_drawing(), plots.before_after, station.answered(get_ended()), _titles),
        "Report both. A gap between them is a matter of format, and cheap to close; a rise of the strict number alone is not a rise of ability.",
    )
    return


@app.cell(hide_code=True)
def _(opened):
    failure = mo.ui.radio(FAILURES, inline=True, label="The run")
    noise = lesson.Question(
        opened,
        "The same training with five seeds, and a judge that errs **once in ten**, at random. What becomes of them?",
        {
            "None learns: each wrong verdict teaches the wrong thing": "It does, and nine right ones outvote it. Only a coin for a judge (0.5) teaches nothing true.",
            "Some learn, and some do not": "That comes with three errors in ten: there one seed can tell you anything.",
            "All learn, nearly as if it did not err": "A wrong verdict is one voice in its group, and the advantage divides by the spread: a signal that is thinner, and still points the right way, is followed at full size.",
        },
        right="All learn, nearly as if it did not err",
    )
    sharper = lesson.sharper(opened)
    lesson.show(
        """
    ## 12 · Runs that fail

    The same training, with one change each; dashed, the run that works. **Before you choose one: will its groups be alive?**
    """,
        failure,
    )
    return failure, noise, sharper


@app.cell(hide_code=True)
def _(failure, station):
    mo.stop(not failure.value, mo.md("*Guess, then choose a run.*"))
    _run, _works = station.runs[failure.value], station.recorded
    _watch = [REWARD, replace(RIGHT, title="right answers (exact)"), THOUGHTS, DEAD]
    _ends = {
        "this run, first five steps": _run.metrics[:5],
        "the run that works, first five steps": _works.metrics[:5],
        "the run that works, last five steps": _works.metrics[-5:],
    }
    _said = {
        "too hard: four numbers": "**All wrong.** The model was taught sums of two and of three numbers; of four, it gets almost none right. Nearly every group is dead from the first step to the last. Nothing is wrong with the reward. Easier questions come first (a curriculum), or a few worked examples before any reinforcement.",
        "too easy: any number will do": "**All right.** With a tolerance of 100 nearly every number passes. Dead as well, at full reward: the best-looking curve of the course, and the emptiest. The run that works ends the same way, once its questions have become easy.",
        "too generous: 20 off is fine": "**As good as it pays to be.** The reward is nearly full from the first step: a guess is within 20 nearly as often as a sum worked out, so few groups are alive, and a thought is worth little. Thinking and exact answers rise slowly, if at all (with 96 questions, ten points are within luck), where the exact grader took them to nearly all.",
    }
    lesson.show(
        curves({failure.value: _run, "three numbers, exact": _works}, watch=_watch),
        cards.text_table(["held-out question", "reply after"], _run.after.texts()[:3], THINK),
        f'<p class="note">{_run.label}</p>',
        _said[failure.value],
        cards.dead_table(_ends),
        """
    (Dead if every reply has this chance, whatever the question: in truth some questions are harder than others, and a few more groups are dead.)
    Questions teach while the model gets some of its tries right and some wrong. The difficulty in station 8 is there for that: with sums of *two* numbers more replies are right at the start; compare the dead groups at both ends.
    """,
    )
    return


@app.cell(hide_code=True)
def _(five, get_luck, luck, noise):
    lesson.show(
        "**And when is a run only luck?** A judge may err, too: a person who is tired, a model that grades, a wrong answer in the data. Then its curve is no longer the truth. The truth is asked on held-out questions, by a judge that does not err.",
        noise,
        noise.then(
            luck.show(five, get_luck()),
            "**When does the curve stop meaning anything?** Move the slider. A judge that errs with chance *e* pays a model that is always right 1 − *e*, and one that is always wrong *e* (dashed). At 0.3 the curve has hardly room to rise, and swings by more than that from step to step, while the right answers climb with some seeds. At 0.5 it stays level, whatever the model does, and chance may even undo what it could.",
            "**How many seeds to believe?** One shows that it can happen, five how often; a difference no larger than the spread between seeds takes seventeen. *Train five* takes the next five seeds, and all ten stand together.",
        ),
    )
    return


@app.cell(hide_code=True)
def _(get_drawing, opened, sharper, station):
    _real, _zero = (station.runs[_name] for _name in (lesson.REAL, f"{lesson.REAL}, no example"))
    _watch = [replace(RIGHT, metric="reward"), TOKENS, ENTROPY, DEAD]
    _last = [_row["reward"] for _row in _real.metrics[-5:]]
    lesson.show(
        f"""
    ## 13 · A real model

    **SmolLM2-135M-Instruct** is a hundred and fifty times as large, has read a good part of the web, and adds two numbers of two digits badly. Asked as the pocket model is, it talks about the sum until it is cut off: {_zero.before.mean("answer_reward"):.0%} of its replies are right, and most groups are {word("dead")} (dashed). With **one example** in the prompt and the same reward (solid), it goes from {_real.before.mean("answer_reward"):.0%} right to {_real.after.mean("answer_reward"):.0%} in {_real.steps_done} steps, on {word("held-out", "questions that no step trained on")}.
    """,
        curves({"one example": _real, "no example": _zero}, watch=_watch),
        cards.text_table(["held-out question", "before", "after"], _real.before.texts(_real.after)[:4]),
        f'<p class="note">{_real.label}</p>',
        lesson.figure(get_drawing(), plots.before_after, _real, {"answer_reward": "right answers"}),
        f"""
    The curve ends at {_last[-1]:.2f}, and held out are {_real.after.mean("answer_reward"):.2f}. Is that learnt by heart? No: no question comes twice. A step has four questions, and their luck swings: the last five steps have {", ".join(f"{_each:.2f}" for _each in _last)}, on average {fmean(_last):.2f}, of twenty questions in all. The two do not disagree. **Believe many questions, not the last point of a curve.**

    No thought appeared here: the example shows none, this model has no habit of `<think>`, and what is never tried is never pushed. What the reward found is closer at hand: less wavering (entropy falls), and more often the answer that the model half knew. Do not expect as much on word problems such as GSM8K: there a model of this size does not get better.

    To see it live, open the lesson on a machine of your own (`marimo edit`), choose **smollm2-135m** in station 8 and train: some minutes on a laptop, faster on a GPU.
    """,
        lesson.show_sharper(opened, sharper),
    )
    return


@app.cell(hide_code=True)
def _():
    _text = "I would rather not say."
    attempt = mo.ui.text_area(_text, rows=3, debounce=400, max_length=2000, full_width=True, label="Your reply")
    generous = mo.ui.slider(0, 30, value=10, show_value=True, label="tolerance of the third grader")
    lesson.show(
        """
    ## 14 · Break it

    Be the model, and lazy: **earn as much as you can without adding** *12 + 45 + 38*. You may assume that the graders are as you set them.
    """,
        attempt,
        generous,
        "Try: the question itself as the answer · two answer blocks · many numbers · a thought with the numbers in it · `9^{9^{9^9}}`",
    )
    return attempt, generous


@app.cell(hide_code=True)
def _(GOLD, attempt, generous):
    _reply = attempt.value[:2000]
    _generous = {f"within {generous.value}": AnswerReward(tolerance=generous.value), "partial credit": partial_credit}
    _judges = {"lenient": answer_reward, "strict": AnswerReward(strict=True)} | _generous
    _scores = [_judge(completions=[_reply], answer=[GOLD])[0] for _judge in _judges.values()]
    _row = (_reply, [final_answer(_reply) or "–", *_scores])
    lesson.show(
        cards.marks_table(["your reply", "answer found", *_judges], [_row], THINK),
        "**You have it: paid in full, and the answer is wrong.**" if 1 in _scores and not _scores[0] else None,
        """
    An exact answer is hard to fake; that is why verifiable rewards work so well. (The question handed back, `12+45+38`, has the right value and earns 0: where a number is right, our reward wants a number.) What can be had cheaply is everything around it: a tolerance, partial credit, a format.

    | what you see | what it says | what to do |
    |:---|:---|:---|
    | `reward` 0 from the first step, groups dead | too hard, or the checker is broken | check it by hand on ten replies; then easier questions |
    | `reward` 1, groups dead | too easy | harder questions; stop |
    | strict up, lenient flat | a format was learnt, not a skill | report both |
    | `reward` up, exact answers flat | the tolerance pays for guesses | tighten it |
    | `reward` up, held-out flat | answers learnt by heart | more questions |
    """,
    )
    return


@app.cell(hide_code=True)
def _(station):
    exercises, get_tries = station.exercises(my_final_answer, my_answer_reward, my_dead_share, trained=my_answer_reward)
    exercises.ask(
        my_final_answer,
        f"""
    ## 15 · Three exercises

    {exercises.where}

    **One: `extract_final_answer` of your own.** From a reply to its answer as text, or None. A thought (`<think>…</think>`) never counts, closed or not; an `<answer>` block goes before anything else; without one, the last number.
    """,
    )
    return exercises, get_tries


@app.function
def my_final_answer(text):
    return text.split()[-1]


@app.cell(hide_code=True)
def _(exercises, get_tries):
    _words = "**Two: mend a reward from the wild.** The data set has a column `answer`; replies are conversations; equal means equal *by value* (`number` gives a text's value, or None)."
    lesson.show(exercises.verdict(my_final_answer, get_tries()), exercises.ask(my_answer_reward, _words))
    return


@app.function
def my_answer_reward(completions, answers):
    return [1.0 if completion == gold else 0.0 for completion, gold in zip(completions, answers, strict=True)]


@app.cell(hide_code=True)
def _(exercises, get_report, get_tries, station):
    lesson.show(exercises.verdict(my_answer_reward, get_tries()), station.show_own(get_report()))
    return


@app.cell(hide_code=True)
def _(exercises):
    _words = "**Three: will it teach?** A reply is right with chance `p`. Return the share of groups of `size` replies that are dead: all right, or all wrong."
    exercises.ask(my_dead_share, _words)
    return


@app.function
def my_dead_share(p, size):
    return p**size


@app.cell(hide_code=True)
def _(exercises, get_ended, get_tries, keeping, station):
    lesson.show(
        exercises.verdict(my_dead_share, get_tries()),
        """
    ## 16 · Keep it

    What a session leaves is a small adapter on top of the model: a few per cent of its weights (3.6 % for SmolLM2). **Save it**, then try what can be done with it; the code that runs is the code you see.
    """,
        lesson.fold("Save, load, merge, push, hand over", station.keep(keeping)),
        station.best_checkpoint(get_ended()),
        "For school mathematics in words, `dataset_name: openai/gsm8k` has a column `answer` that `answer_reward` reads as it stands (it looks behind `####`), and a column `question` to be renamed to `prompt`. That wants a model of half a billion weights and a GPU.",
    )
    return


@app.cell(hide_code=True)
def _(asked, keeping, opened, station):
    lesson.show(
        station.kept(keeping, asked),
        f"""
    ## What you now know

    Check answers by value; let bugs raise; choose questions that are sometimes right. Then reward the result, and whatever leads to it spreads, thinking included. A model learns neither what you meant nor what you measure elsewhere, but what makes one reply better than its siblings.

    That was the course: {opened.link("length")}, what a reward does not see · {opened.link("format")}, a reward of 0 or 1 and dead groups · this one. If a run of your own does not learn, ask in this order: *are the groups alive? is anything cut off? do the held-out replies get better? what do the texts say?* Or let `grpo_own.py` ask, on a machine of yours: it takes your data and your reward, and says before a training whether they will teach.

    *Sources:* GRPO, [DeepSeekMath](https://arxiv.org/abs/2402.03300) · rewards that a program checks, [DeepSeek-R1](https://arxiv.org/abs/2501.12948) · several rewards, [GDPO](https://arxiv.org/abs/2601.05242) · sharpened or learnt, [Yue et al.](https://arxiv.org/abs/2504.13837), [ProRL](https://arxiv.org/abs/2505.24864) · `####`, [GSM8K](https://arxiv.org/abs/2110.14168) · [TRL's GRPOTrainer](https://huggingface.co/docs/trl/grpo_trainer)
    """,
    )
    return


@app.cell(hide_code=True)
def _(get_at, get_ended, station):
    scrub, step = station.scrub(get_at()), station.steps(get_ended())
    return scrub, step


@app.cell(hide_code=True)
def _():
    # From here on: what the stations above are made of.
    QUESTION, GOLD = "What is 12 + 45 + 38?", "95"
    _sum = "<think>12 + 45 = 57. 57 + 38 = 95.</think>"
    _four = [f"{_sum}The answer is 95.", "The answer is 85.", f"{_sum}<answer>95</answer>", "<answer>105</answer>"]
    REPLIES = [*_four, "97", "12 + 45 + 38 = 93", "#### 90", "<think></think><answer>118</answer>"]
    PLACES = lesson.table("places")  # where an answer may stand, and why
    pushed = lesson.Pushed(QUESTION, scored(_four, answer_reward, answer=[GOLD] * 4))
    alive = lesson.Alive(QUESTION, lambda texts, ids: scored(texts, answer_reward, answer=[GOLD] * len(texts)))
    once, live = pushed.button(), alive.button()
    opened = lesson.Opened.now("math")
    _names = ("this lesson's run", *FAILURES, lesson.REAL, f"{lesson.REAL}, no example")
    _files = ("learns", "too_hard", "too_easy", "generous", "smollm2", "smollm2_zero")
    _runs = {_name: f"math_{_file}" for _name, _file in zip(_names, _files, strict=True)}
    _watch = [REWARD, RIGHT, THOUGHTS, TOKENS, DEAD, ENTROPY, KL]
    station = lesson.Station(opened, DEFAULT, _runs, _watch, tags=THINK, batch_in_browser=48)
    luck, ask = station.luck(plan, "math_luck"), station.tryout(QUESTION, "math_learns")
    load, keeping, data = ask.button(), station.keep_menu(), lesson.data_file()
    return GOLD, PLACES, QUESTION, REPLIES, alive, ask, data, keeping, live, load, luck, once, opened, pushed, station


@app.function(hide_code=True)
def plan(settings, difficulty=None, reward="right answer", tolerance=0, format_weight=1.0, example=None):
    """The training of station 8. A real model adds two numbers, and is shown one example unless `example` is False."""
    pocket = is_pocket(settings.model)
    difficulty = difficulty or ("three numbers" if pocket else "two numbers")
    example = not pocket if example is None else example
    with_format = reward == "right answer + format"
    choices = {"difficulty": difficulty, "reward": reward, "tolerance": tolerance, "format_weight": format_weight}

    def prompts(n, split):
        rows = sums(n, split=split, **DIFFICULTIES[difficulty])
        return with_example(rows, "What is 23 + 45?", "23 + 45 = 68") if example else rows

    return Plan(
        settings=replace(settings, reward_weights=(1.0, format_weight) if with_format else None),
        rewards=[AnswerReward(tolerance), *([format_reward] if with_format else [])],
        prompts=prompts(512, "train"),
        held_out=prompts(96, "held-out"),
        judges=[answer_reward, AnswerReward(strict=True), thinks],
        evaluate_every=10,
        choices=choices | {"example": example},
    )


@app.cell(hide_code=True)
def _(luck, station):
    get_report, get_ended, get_busy, get_cost, get_suited, get_at, get_drawing = station.states
    get_luck, get_luck_busy = luck.progress, luck.busy
    return get_at, get_busy, get_cost, get_drawing, get_ended, get_luck, get_luck_busy, get_report, get_suited


@app.cell(hide_code=True)
def _(get_suited, menu, station):
    _rewards, _weights = ["right answer", "right answer + format"], [0.1, 0.5, 1.0, 2.0]
    _heavy = "weight of the format, if rewarded"
    chosen = station.controls(
        menu.value,
        get_suited(),
        difficulty=lambda ask, model: ask.choice(
            "difficulty", list(DIFFICULTIES), "three numbers" if is_pocket(model) else "two numbers", "sums of"
        ),
        reward=lambda ask, model: ask.choice("reward", _rewards, "right answer"),
        tolerance=lambda ask, model: ask.number("tolerance", 0, 30, 0, "tolerance of the reward"),
        format_weight=lambda ask, model: ask.choice("format_weight", _weights, 1.0, _heavy),
    )
    return (chosen,)


@app.cell(hide_code=True)
def _(asked, get_busy, get_luck_busy, luck, station):
    buttons, five = station.buttons(get_busy(), asked), luck.controls(get_luck_busy())
    return buttons, five


@app.cell(hide_code=True)
def _(chosen, menu, station):
    batch = station.batch(menu.value, chosen.value["group_size"])
    return (batch,)


@app.cell(hide_code=True)
def _(menu, opened, station, thinking):
    station.measure(plan, menu.value, thinking)
    lesson.furniture(opened)
    return


if __name__ == "__main__":
    app.run()
