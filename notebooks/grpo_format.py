# /// script
# requires-python = ">=3.11"
# dependencies = ["grpo-lessons[lesson]; sys_platform != 'emscripten'", "marimo==0.25.*; sys_platform != 'emscripten'"]
# tool.uv.sources.grpo-lessons = { path = "..", editable = true }
# ///

import marimo

__generated_with = "0.25.2"
app = marimo.App(
    width="medium",
    app_title="GRPO: teach a model a format",
    css_file="public/lesson.css",
    html_head_file="public/step.html",
)

with app.setup(hide_code=True):
    import re
    from dataclasses import dataclass

    import marimo as mo

    from grpo_lessons import cards, lesson, plots, pocket
    from grpo_lessons.cards import word
    from grpo_lessons.curves import curves
    from grpo_lessons.groups import advantages, p_dead, scored
    from grpo_lessons.problems import form_of, instructed, sums, with_example, worked, worked_out
    from grpo_lessons.rewards import AnswerReward, FormatReward, TagReward, answer_reward, format_reward
    from grpo_lessons.text import completion_text, read_blocks
    from grpo_lessons.training import SMOLLM2, Plan, Settings, WarmStart, is_pocket

    TAGS = {name: tuple(name.split(" / ")) for name in ("think / answer", "code / explanation", "think / boxed")}
    THINK = TAGS["think / answer"]
    KINDS = ["strict", "tag count", "tutorial"]
    JUDGED = {"format_reward": "right format", "answer_reward": "right answer"}
    MAPS = {
        "group size × temperature": {"group_size": [2, 4, 8, 16], "temperature": [0.2, 0.6, 1.0, 1.5]},
        "learning rate × beta": {"learning_rate": [1e-4, 1e-3, 3e-3, 1e-2], "beta": [0.0, 0.04, 0.1, 0.5]},
    }
    DEFAULT = {
        "pocket": Settings(),
        SMOLLM2: Settings(model=SMOLLM2, steps=12, batch_size=32, accumulation=8, learning_rate=3e-4, beta=0.0),
    }


@app.cell(hide_code=True)
def _(opened, station):
    _run = station.recorded
    _before, _after = (_e.mean("format_reward") for _e in (_run.before, _run.after))
    _pairs = _run.before.texts(_run.after)[1:5]
    lesson.show(
        f"""
    # Teach a model a format

    A small language model adds numbers. We would like it to think first and then answer, in exactly this shape:

    `<think>12 + 45 = 57. 57 + 38 = 95.</think><answer>95</answer>`

    It does so in **{_before:.0%}** of its replies. After {_run.steps_done} steps of training it does so in **{_after:.0%}**, and no step of that training showed it an example. It knew the shape as one habit among a dozen; all it got was a number for each of its own replies: **1** if the shape was right, **0** if not.

    Here are the same questions, asked before and after. Its sums are often wrong at first. Nobody will correct them; keep an eye on them.

    {lesson.before_you_begin(opened)}
    """,
        cards.text_table(["question", "reply before", "reply after"], _pairs, THINK),
    )
    return


@app.cell(hide_code=True)
async def _(alive, live, opened, pushed):
    _words = "Eight replies to one question, paid for their shape: **how many rounds until most of them have it?**"
    _picture = cards.loop_picture(pushed.prompt, pushed.group, THINK, update=opened.numbers("updates")["format"])
    lesson.show(
        f"""
    ## 1 · The loop in one picture

    The method is **GRPO**, Group Relative Policy Optimization. Take one prompt and let the model write several completions: a **group**. A {word("reward")} function gives each one a number. Then compare *within the group*, where all had the same prompt, easy or hard: what did better than its siblings is made {word("up", "more likely")}, what did worse {word("down", "less likely")}. That difference, scaled (station 3), is the **advantage**. Repeat.
    """,
        lesson.fold("The loop, with four replies", _picture),
        await alive.show(opened, live, _words),
        """
    Nobody corrected a reply. The model tried; what happened to be better than the rest will come more often, what was worse less often.
    """,
    )
    return


@app.cell(hide_code=True)
def _(REPLIES):
    which_format = mo.ui.radio(list(REPLIES), value="think / answer", inline=True, label="Format")
    which_reward = mo.ui.radio(KINDS, value="strict", inline=True, label="Reward")
    _words = """
    ## 2 · Play with the reward

    Everything hangs on that number. Below are eight replies to one question, and three ways to reward them. **Which replies earn something they should not?** Try each reward, and both formats.
    """
    lesson.show(_words, which_format, which_reward)
    return which_format, which_reward


@app.cell(hide_code=True)
def _(QUESTION, REPLIES, opened, which_format, which_reward):
    _tags = TAGS[which_format.value]
    _group = scored(REPLIES[which_format.value], form_reward(which_reward.value, _tags))
    _said = {
        "strict": """**Strict** pays 1 only for the two blocks in order, each once, with something in each and nothing around them. One reply in eight earns it. Honest, but a model that never happens to write the format never earns a thing.""",
        "tag count": """**Tag count** pays a quarter for each of the four tags that occurs exactly once. A model can earn a part of it on the way, which helps it to start. It does not see order or content: empty thoughts and swapped blocks are paid in full.""",
        "tutorial": """**Tutorial** is a reward often found in tutorials: 1.0 if both blocks are there and the first has more than 20 characters, 0.5 if it is shorter, else 0. Twenty-one times *x* earn full marks, empty tags earn half, and it does not mind chatter around the blocks. In the code format it even pays the honest reply, whose code is short, half of what the *x* get.""",
    }
    lesson.show(
        f"<p><b>{QUESTION[which_format.value]}</b></p>",
        cards.group_cards(_group, _tags, False),
        mo.md(_said[which_reward.value]),
        lesson.shown_code(opened, TutorialReward),
    )
    return


@app.class_definition
@dataclass(frozen=True)
class TutorialReward:
    """The reward of many tutorials: 1.0, or 0.5 for thin content, or 0.0. Easy to fool; this lesson shows how."""

    tags: tuple = ("think", "answer")
    __name__ = "tutorial_reward"

    def __call__(self, completions, **kwargs):
        first, second = self.tags
        pattern = rf"<{first}>(.*?)</{first}>\s*<{second}>(.*?)</{second}>"
        found = [re.search(pattern, completion_text(completion), re.DOTALL) for completion in completions]
        return [0.0 if not match else 1.0 if len(match[1]) > 20 else 0.5 for match in found]


@app.cell(hide_code=True)
def _(opened):
    all_zero = lesson.Question(
        opened,
        "All eight replies of a group earn 0. What does the model learn from this group?",
        {
            "To avoid all eight of them": "It would, if the reward itself pushed. But only the difference to the group's mean does: 0 − 0 = 0. Set the slider above to 0.",
            "Nothing at all": "No reply is better than its siblings, so every advantage is 0. Such a group is called **dead**.",
            "More than from other groups, for the mean is so low": "A low mean makes a *success* stand out. Without one, there is no difference to learn from. Set the slider above to 0.",
        },
        right="Nothing at all",
    )
    successes = mo.ui.slider(0, 8, value=4, show_value=True, label="replies out of 8 that earn 1")
    scale = mo.ui.radio(["group", "none"], value="group", inline=True, label="`scale_rewards`")
    lesson.show(
        f"""
    ## 3 · From rewards to advantages

    The model is not pushed by the {word("reward")} itself but by how it compares. Eight replies, a reward of 0 or 1: **how many should succeed for one success to be pushed hardest? What happens at 0, at 8, and at 7?** Choose, then move the slider.
    """,
        all_zero,
        lesson.row(successes, scale),
    )
    return all_zero, scale, successes


@app.cell(hide_code=True)
def _(all_zero, scale, successes):
    _rewards = [1.0] * successes.value + [0.0] * (8 - successes.value)
    _pushes = advantages([_rewards], scale.value)[0]
    lesson.show(
        cards.push_bars(_rewards, _pushes),
        all_zero.then(
            f"All pushes together: **{abs(sum(_pushes)):.2f}**, wherever the slider stands. TRL prints a *loss*: it is this sum turned round, as a mean. With replies of one length that is 0. Where they differ, a long reply has more tokens to push, and the loss may be anything, −0.4 in the first step of the run below. `beta` times `kl` comes on top, and lifts it as `kl` grows. None of this is a fault, and none says whether the model gets better.",
            r"""
    A rare success stands out and is pushed up hard, a rare failure is pushed down as hard; when all fail, or all succeed, there is nothing to compare and nobody moves. As a formula, with the group's mean and standard deviation (the one with $G-1$):

    $$A_i = \frac{r_i - \mathrm{mean}(r_1 \dots r_G)}{\mathrm{std}(r_1 \dots r_G) + 10^{-4}}$$

    With `scale_rewards="none"` (Dr. GRPO) the division is left out: a lone success still stands out, but at 0.88 instead of 2.47, and nearly equal rewards stay nearly without a push. The update moves the chance of each token of a reply, up or down, in proportion to its $A_i$.

    /// details | Where this comes from, and what the clipping does
    Advantages: [DeepSeekMath](https://arxiv.org/abs/2402.03300), 4.1.2; without the division: [Dr. GRPO](https://arxiv.org/abs/2503.20783). The full objective multiplies $A_i$ by $\rho$, the token's probability now over that when it was sampled, and takes $\min(\rho A_i,\ \mathrm{clip}(\rho, 1-\varepsilon, 1+\varepsilon) A_i)$. With one update per generation, TRL's default, $\rho = 1$ and nothing is clipped. TRL averages over all tokens of the batch (`loss_type="dapo"`), so that long replies do not count less per token.
    ///
    """,
        ),
    )
    return


@app.cell(hide_code=True)
async def _(once, opened, pushed):
    _words = "Advantages belong to replies, and an update moves tokens. Here are the four of station 1: the first two think alike, and one of them is paid. **Which tokens will move, and which way?**"
    await pushed.show(opened, once, _words)
    return


@app.cell(hide_code=True)
def _():
    p = mo.ui.slider(0.01, 0.99, step=0.01, value=0.18, show_value=True, label="p, the chance of a success")
    size = mo.ui.slider(2, 16, value=8, show_value=True, label="G, the group size")
    _words = f"""
    ## 4 · How large a group?

    A {word("dead", "dead group")} costs as much to sample as any other and teaches nothing. Suppose each reply earns the reward with chance *p*. **Our model starts near p = 0.18. How large must a group be for most groups to be alive?**
    """
    lesson.show(_words, lesson.row(p, size))
    return p, size


@app.cell(hide_code=True)
def _(get_drawing, p, size):
    _alive = next((_size for _size in range(2, 17) if p_dead(p.value, _size) < 0.5), None)
    _enough = f"most groups are alive from G = {_alive} on" if _alive else "most groups are dead even at G = 16"

    _words = ("enough are alive", "it begins to be enough", "too few are alive")
    _dead = [(_low, _high, p_dead(p.value, _low), p_dead(p.value, _high)) for _low, _high in ((2, 3), (4, 8), (9, 16))]
    _rows = "\n    ".join(f"| {a}–{b} | {x:.0%} – {y:.0%} | {_words[(x > 0.5) + (y > 0.5)]} |" for a, b, x, y in _dead)
    lesson.show(
        lesson.figure(get_drawing(), plots.dead_groups, p.value, size.value),
        lesson.fold(
            "The answer, and a table",
            f"""
    A group is dead when all succeed or all fail: $p^G + (1-p)^G$. For your p of {p.value:.2f}, {_enough}:

    | group size | dead groups | for this p |
    |:---|:---|:---|
    {_rows}

    Twice the group is twice the sampling. Set p to 0.01: even sixteen leave 85 % of the groups dead. Then show the model what you want first: an example in the prompt, or a short training on worked examples (**SFT**, supervised fine-tuning: it copies, where GRPO can only choose). At p = 0 no group size helps; station 10 shows such a run.
    """,
        ),
    )
    return


@app.cell(hide_code=True)
def _():
    dotall = mo.ui.switch(label="`.` matches new lines (`re.DOTALL`)")
    spaces = mo.ui.switch(label="white space between blocks (`\\s*`)")
    content = mo.ui.switch(label="content in every block (`.*?` → `.+?`)")
    _words = """
    ## 5 · The reward's code

    Checking a format sounds like one regular expression. Two found in tutorials stand below, next to the strict reward, on replies that break them. **Mend the first pattern with the three switches: which mistake does each one mend, and what is left?** (✓ it pays, ✗ it does not; red, it errs.)
    """
    lesson.show(_words, lesson.row(dotall, spaces, content))
    return content, dotall, spaces


@app.cell(hide_code=True)
def _(BROKEN, content, dotall, spaces):
    _some, _gap = ".+?" if content.value else ".*?", r"\s*" if spaces.value else ""
    pattern_a = rf"^<think>{_some}</think>{_gap}<answer>{_some}</answer>$"
    pattern_b = r"<think>(.*?)</think>\s*<answer>(.*?)</answer>"
    _flags, _said = (re.DOTALL, ", …, re.DOTALL") if dotall.value else (0, "")

    _a = [bool(re.match(pattern_a, _text, _flags)) for _text in BROKEN]
    _b = [bool(re.search(pattern_b, _text)) for _text in BROKEN]
    _strict = [bool(_reward) for _reward in format_reward([*BROKEN])]
    _rows = [(_text, _marks) for _text, *_marks in zip(BROKEN, _a, _b, _strict, BROKEN.values(), strict=True)]
    lesson.show(
        f"**A** `re.match(r'{pattern_a}'{_said})`  \n**B** `re.search(r'{pattern_b}')`",
        cards.marks_table(["reply", "A", "B", "strict", "what it is"], _rows, THINK, truth=2),
        f"""
    Even mended, the pattern lets doubled tags through: `.+?` is happy to run across them. The strict reward counts. The same object can also **ask** for the format in a prompt and **read** a reply, so that prompt, check and reading cannot disagree. (Our prompts do not ask: this tiny model was never taught to follow instructions.)

    ```python
    reward = FormatReward(("think", "answer"))
    reward.instruction   # "{format_reward.instruction}"
    ```
    """,
        mo.md(lesson.source(read_blocks, FormatReward.__call__)),
        """
    TRL calls a reward with lists, one entry for each completion, and with every other column of the data set by name; hence `**kwargs`. For a conversational prompt a completion is not a string but a list of messages, on which `re.match` fails and `len` is always 1; `completion_text` takes care of both.
    """,
    )
    return


@app.cell(hide_code=True)
def _(station):
    menu = station.models()
    _words = """
    ## 6 · The configuration

    Now set up your own training. TRL is the library that trains; LoRA means that it trains a small *adapter* and leaves the model's own weights alone. The code follows your choices, and *Train* runs it: `prompts` are 512 questions, `load` is `grpo_lessons.training.models.load`.
    """
    lesson.show(_words, lesson.row(*menu.elements.values()))
    return (menu,)


@app.cell(hide_code=True)
def _(batch, chosen, menu, station):
    asked = station.asked(plan, menu.value, chosen.value, batch.value)
    station.configuration(chosen, batch, asked, folded=True)
    return (asked,)


@app.cell(hide_code=True)
def _(opened):
    arithmetic = lesson.Question(
        opened,
        "With the pocket model and the settings as they first stand, we reward the format only; nobody checks the sums. Before, a third of 96 questions that are not in the training are answered rightly. How many will be after it?",
        {
            "About as many": "The reward does not look at them, so this is a fair guess. But the format asks for a thought, and this model adds far better when it writes the steps down.",
            "Fewer": "They rise: the format makes it think first. What you fear can happen when nothing holds the model to what it could do before. Here `beta` does; station 10 shows a run without it.",
            "More than twice as many": "The format makes it think first, and thinking it adds far better. A side effect, not a goal: see *before and after*.",
        },
        right="More than twice as many",
    )
    lesson.show("## 7 · Train", arithmetic)
    return (arithmetic,)


@app.cell(hide_code=True)
def _(arithmetic, asked, buttons, get_cost, get_report, scrub, station):
    lesson.show(
        arithmetic.noted(station=8),
        station.show(buttons, scrub, get_report(), get_cost(), asked, arithmetic),
        f"""
    **What to watch.** {word("reward")}: the mean over the step, what we are after. *Spread within a group* is what the model learns from; TRL's own `reward_std` is taken over the whole batch, so it can look healthy when every group is dead. {word("dead", "Dead groups")} (`frac_reward_zero_std`) are many at both ends: when all fail, and when all succeed. *Entropy*, how undecided the model is about its next token, falls as it makes up its mind. `kl`, how far it has moved from where it began, is logged when beta is above 0. The loss is not shown: in GRPO its value does not tell whether the model improves.
    """,
    )
    return


@app.cell(hide_code=True)
async def _(get_drawing, get_ended, station, step):
    lesson.show(
        """
    ## 8 · Look inside

    **When did it get the idea?** Move through the steps of the run of station 7, once it has ended, and read a group of each.
    """,
        await station.look_inside(step, get_ended(), ("reward", "completions/mean_length", "entropy")),
        f"""
    **Before and after**, on {word("held-out")} questions, which no step trained on, one reply each, with 95 % intervals. Overlapping intervals would mean: perhaps luck.
    """,
        lesson.figure(get_drawing(), plots.before_after, station.answered(get_ended()), JUDGED),
    )
    return


@app.cell(hide_code=True)
async def _(ask, load):
    tried = await ask.widget(load.value)
    lesson.show(
        ask.invite(
            load, ", and knows sums of two-digit numbers: four replies each, and what the rewards make of them."
        ),
        tried,
    )
    return (tried,)


@app.cell(hide_code=True)
def _(arithmetic, tried):
    lesson.show(
        lesson.show_scores(tried, {"format": format_reward, "right answer": answer_reward}, THINK),
        "**And your prediction?** How many answers are right, if only the format is rewarded?",
        arithmetic.answer(),
    )
    return


@app.cell(hide_code=True)
def _():
    attempt = mo.ui.text_area(
        value="I would rather not say.", rows=3, debounce=400, max_length=2000, full_width=True, label="Your reply"
    )
    lesson.show(
        """
    ## 9 · Break it

    A model under training tries thousands of replies, and finds whatever earns reward. Be the model: **earn as much as you can without answering the question** *What is 12 + 45 + 38?*
    """,
        attempt,
        "Try: empty tags · the same tag twice · a greeting around it · 21 times *x* · only the answer",
    )
    return (attempt,)


@app.cell(hide_code=True)
def _(attempt):
    _reply = attempt.value[:2000]
    _judges = {
        "strict": format_reward,
        "tag count": TagReward(),
        "tutorial": TutorialReward(),
        "answer, anywhere": answer_reward,
        "answer, in its block": AnswerReward(strict=True),
    }
    _scores = [_judge(completions=[_reply], answer=["95"])[0] for _judge in _judges.values()]
    _won = "**You have it: full marks from all three, and no answer.**" if _scores == [1, 1, 1, 0, 0] else None
    lesson.show(
        cards.marks_table(["your reply", *_judges], [(_reply, _scores)], THINK),
        _won,
        """
    Every reward that looks at form alone can be had without the substance; the strict one, too: it pays for *anything* in the two blocks. What stops the cheat is a second reward that looks at the answer: *strict + answer* in station 6.
    """,
    )
    return


@app.cell(hide_code=True)
def _(get_drawing, station):
    _never, _warm = (station.runs[_name] for _name in ("code / explanation", "think / boxed, after twelve examples"))
    _format, _right = ([_e.mean(_name) for _, _e in _warm.stages] for _name in JUDGED)
    lesson.show(
        """
    ## 10 · Two runs that fail

    **The first learns nothing.** The same model, the same settings, the same strict reward; only the tags differ: `<code>` and `<explanation>`, which this model has never written. Solid: this run. Dashed: the one that learns.
    """,
        curves({"code / explanation": _never, "think / answer": station.recorded}),
        f'<p class="note">{_never.label}</p>',
        f"""
    Every group is {word("dead")}, so no reply is ever pushed anywhere: a flat line, for as long as you care to pay for it. Reinforcement strengthens what a model already does now and then; what is never tried is never pushed. **What helps:** ask for the format in the prompt, show one example there, SFT on a few examples first, or pay for parts that do occur. (*Tag count* does not help here: this model has never written a single one of these tags; try it in station 6.) A larger group or more steps do not help either.

    **A start.** `<think>…</think><boxed>95</boxed>` is as dead: `<boxed>` is a tag that this model has never written. So it copies **twelve worked examples** first, three times each (SFT, supervised fine-tuning: every token of an example is made more likely): nine steps, a second or two. Then the reward, as ever. **Which of the two did what?**
    """,
        lesson.figure(get_drawing(), plots.before_after, _warm, JUDGED),
        f"""
    SFT took the format from {_format[0]:.0%} to {_format[1]:.0%}: now and then, and that is all GRPO needs to make it {_format[2]:.0%}. Right answers, {_right[0]:.0%} before and {_right[1]:.0%} after SFT, came with the thought, {_right[2]:.0%} in the end. To copy brings in what was never there; to choose makes a habit of it. (Copied ten times, the twelve alone come to nine in ten: where somebody can write what is wanted, examples are the cheaper teacher. A reward needs only somebody who knows it when they see it. And it is the steps that count: four examples, copied nine times, open the door as wide; twelve, copied once, do not.)

    *Twelve worked examples first*, in station 6, does this before your eyes, wherever TRL trains. For `<code>` twelve examples are not enough, nor are forty-eight: the tokens `c` and `x` stand in no reply that this model was made from, so it hardly tells them from others that it never met, and LoRA leaves the vectors of tokens as they are.
    """,
    )
    return


@app.cell(hide_code=True)
def _(get_drawing, station):
    _unheld, _recorded = station.runs["without beta"], station.recorded
    lesson.show(
        """
    **The second looks perfect.** Again the recorded run, with one change: `beta = 0`, TRL's default. Look at the curve, then at what it does not show.
    """,
        curves({"beta = 0": _unheld, f"beta = {_recorded.settings['beta']}": _recorded}, only=("reward", "entropy")),
        f'<p class="note">{_unheld.label}</p>',
        lesson.figure(get_drawing(), plots.before_after, _unheld, JUDGED),
        cards.text_table(["held-out question", "reply after"], _unheld.after.texts()[:3], THINK),
        f"""
    Check the additions. The reward pays for the shape of a thought, so nothing holds the digits in place while the weights move; the {word("held-out")} questions show it and the reward does not. `beta` charges the model for every token to which it gives another chance than before the training, digits included.

    | what you see | what it says | what to do |
    |:---|:---|:---|
    | `reward` 0, `frac_reward_zero_std` 1 | never earned: dead groups | an easier start, as above |
    | `reward` 0, `clipped_ratio` near 1 | replies are cut off before the closing tag | raise `max_completion_length` |
    | `reward` flat but above 0, groups alive | steps too small | raise the learning rate (see station 6) |
    | `reward` up, held-out answers flat or down | the reward does not see what you want | read the replies; mend the reward, or raise `beta` |
    | `kl` or `grad_norm` leaps, `reward` falls | steps too large | lower the learning rate, or raise `beta` |
    """,
    )
    return


@app.cell(hide_code=True)
def _(opened):
    corner = lesson.Question(
        opened,
        "The same training sixteen times: 15 steps of 32 completions, in groups of 2 to 16, at a temperature of 0.2 to 1.5. **Where are most groups dead?**",
        {
            "Wherever the groups are small": "Two replies are alike more often than sixteen, but at temperature 1 half of the pairs still differ. Small groups learn; they only waste more.",
            "Wherever the temperature is low": "At 0.2 nearly every reply is the likeliest one, so a group is one reply, many times. Here the likeliest happens to have the format: all earn 1, and there is nothing to compare. What is learnt there is learnt from accidents.",
            "Wherever the temperature is high": "There the replies differ more than anywhere: the groups are alive. But few of them make sense, and what is rarely earned is slowly learnt.",
        },
        right="Wherever the temperature is low",
    )
    lesson.show(
        """
    **Where else does a run fail?**<b id='sixteen-runs-as-a-map'></b> A training costs seconds here, so one need not be told. Two settings are changed, and all their runs stand on one map.
    """,
        corner,
    )
    return (corner,)


@app.cell(hide_code=True)
def _(corner, get_map, many, sixteen):
    corner.then(
        many.show(sixteen, get_map()),
        f"""
    Each word is read off the run's own numbers. {word("up", "Learnt")}: eight of ten earn it in the end; *on its way*: more than at first. {word("dead", "Dead")}: over the whole run, in nine groups of ten all earned the same, so that little was compared (what was may still push far: read the right answers). The curve of such a corner is a flat line, here near the top: the likeliest reply has the format already. {word("reward", "Flat")}: the end is what the beginning was. {word("down", "Collapsed")}: what was earned is earned no more, for the steps were too large. {word("held-out", "Forgetful")}: the format is there, and right answers, which nobody paid for, are gone. Point at a curve, or press it, to read its numbers; *look*, under each of your own sixteen, shows its groups in station 8.
    """,
    )
    return


@app.cell(hide_code=True)
def _(get_drawing, station):
    _real, _zero = (station.runs[_name] for _name in (lesson.REAL, f"{lesson.REAL}, no example"))
    lesson.show(
        f"""
    ## 11 · A real model

    The pocket model knew the shape as one habit among a dozen. A real one has never seen it. **SmolLM2-135M-Instruct** is a hundred and fifty times as large and follows instructions, so we ask for the format in words. Dashed below: four steps of that run, each as flat as the last. Solid: the same with **one example** in the prompt. It goes from {_real.before.mean("format_reward"):.0%} to {_real.after.mean("format_reward"):.0%} on held-out questions.
    """,
        curves({"one example": _real, "instruction only": _zero}),
        f'<p class="note">{_real.label}</p>',
        "Two groups of the first step. **Which of them can teach anything?**",
        "**Instruction only**",
        cards.group_panel(_zero.groups[0], THINK, verdict=False),
        "**One example**",
        cards.group_panel(_real.groups[0], THINK, verdict=False),
        lesson.figure(get_drawing(), plots.before_after, _real, JUDGED),
        f"""
    An instruction in words that so small a model cannot follow leaves every group {word("dead")}; an example in the prompt costs some forty tokens and brings the first successes. To see it live, open the lesson on a machine of your own (`marimo edit`), choose **smollm2-135m** in station 6, untick or tick *one example in the prompt*, and train: some minutes on a laptop, faster on a GPU.
    """,
    )
    return


@app.cell(hide_code=True)
def _(station):
    get_minimal, minimal = station.aside(lambda bar: minimal_example(pocket.PATH, [bar]), "Run all of it")
    mo.md("""
    ## 12 · The whole thing in four steps

    All of the above in plain TRL, without our library: prompts, a reward, a configuration, a trainer. It runs as it stands.
    """)
    return get_minimal, minimal


@app.function
def minimal_example(model_folder, callbacks=()):
    import re

    from datasets import Dataset
    from peft import LoraConfig
    from trl import GRPOConfig, GRPOTrainer

    # 1. Prompts. The trainer writes the completions.
    questions = [f"What is {a} + {b} + 38?" for a in range(10, 26) for b in range(40, 44)]
    dataset = Dataset.from_list([{"prompt": [{"role": "user", "content": question}]} for question in questions])

    # 2. A reward: completions in, one number each out. In a conversation, a completion is a list of messages.
    def has_format(completions, **kwargs):
        pattern = r"\s*<think>[^<]*\w[^<]*</think>\s*<answer>[^<]*\w[^<]*</answer>\s*"
        return [float(bool(re.fullmatch(pattern, completion[0]["content"]))) for completion in completions]

    # 3. A configuration.
    config = GRPOConfig(
        output_dir="runs/minimal",
        max_steps=5,
        num_generations=8,
        per_device_train_batch_size=64,
        learning_rate=1e-3,
        max_completion_length=48,
        logging_steps=1,
        bf16=False,
        disable_tqdm=True,
    )
    # 4. A trainer.
    trainer = GRPOTrainer(
        model=str(model_folder),
        reward_funcs=has_format,
        train_dataset=dataset,
        args=config,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
        callbacks=list(callbacks),  # the notebook's progress bar
    )
    trainer.train()
    return [log["reward"] for log in trainer.state.log_history if "reward" in log]


@app.cell(hide_code=True)
def _(get_minimal, minimal, station):
    station.show_aside(
        minimal_example, [minimal], get_minimal(), "Five steps, some ten seconds. The reward of each will stand here."
    )
    return


@app.cell(hide_code=True)
def _(station):
    exercises, get_tries = station.exercises(my_format_reward, my_advantages, my_diagnosis, trained=my_format_reward)
    exercises.ask(
        my_format_reward,
        f"""
    ## 13 · Three exercises

    {exercises.where}

    **One: a format reward of your own.** It should pay 1.0 for `<think>…</think><answer>…</answer>` with content in both, white space allowed between and around, nothing else; and it must take plain strings and conversations alike.
    """,
    )
    return exercises, get_tries


@app.function
def my_format_reward(completions, **kwargs):
    pattern = "<think>.*</think><answer>.*</answer>"
    return [1.0 if re.match(pattern, completion) else 0.0 for completion in completions]


@app.cell(hide_code=True)
def _(exercises, get_report, get_tries, station):
    lesson.show(exercises.verdict(my_format_reward, get_tries()), station.show_own(get_report()))
    return


@app.cell(hide_code=True)
def _(exercises):
    _words = """
    **Two: advantages.** From one group's rewards, as a list of numbers, to its advantages, a list of the same length: the formula of station 3.
    """
    exercises.ask(my_advantages, _words)
    return


@app.function
def my_advantages(rewards):
    mean = sum(rewards) / len(rewards)
    return [reward - mean for reward in rewards]


@app.cell(hide_code=True)
def _(exercises, get_tries):
    _words = """
    **Three: why does it not learn?** You get one step's log of somebody's run. Say `"dead groups"`, `"cut off"` (replies run into `max_completion_length`), `"fooled"` (the reward rises and the held-out answers do not) or `"learning"`. Look for what *explains* the rest first.
    """
    lesson.show(exercises.verdict(my_advantages, get_tries()), exercises.ask(my_diagnosis, _words))
    return


@app.function
def my_diagnosis(log):
    if log["reward"] == 0:
        return "dead groups"
    return "learning"


@app.cell(hide_code=True)
def _(exercises, get_tries):
    exercises.verdict(my_diagnosis, get_tries())
    return


@app.cell(hide_code=True)
def _(keeping, station):
    lesson.show(
        """
    ## 14 · Keep it

    What a session leaves is a small adapter on top of the model: a few per cent of its weights (3.6 % for SmolLM2). **Save it**, then try what can be done with it; the code that runs is the code you see.
    """,
        lesson.fold("Save, load, merge, push, hand over", station.keep(keeping)),
    )
    return


@app.cell(hide_code=True)
def _(asked, keeping, opened, station):
    lesson.show(
        station.kept(keeping, asked),
        f"""
    ## What you now know

    A reward function is a few lines; a group turns its numbers into pushes; a group without differences teaches nothing; and a model learns what is *paid for*, not what was *meant*. One question is left: what if the reward looks at the answer, and at nothing else? Does a model that nobody asks to think begin to think?

    **Next: {opened.link("math")}**, *reward the answer, and watch thinking appear*. Before this one stands {opened.link("length")}, *teach a model a length*: what a reward does not see, and what would have seen it.

    *Sources:* GRPO, [DeepSeekMath](https://arxiv.org/abs/2402.03300) · the format reward, [DeepSeek-R1](https://arxiv.org/abs/2501.12948) · no division by the spread, [Dr. GRPO](https://arxiv.org/abs/2503.20783) · the mean over tokens, [DAPO](https://arxiv.org/abs/2503.14476) · [TRL's GRPOTrainer](https://huggingface.co/docs/trl/grpo_trainer)
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
    QUESTION = {
        "think / answer": "What is 12 + 45 + 38?",
        "code / explanation": "Write a line of Python that adds 12, 45 and 38.",
    }

    def _replies(a, b, first, second):
        return [  # the same kinds of reply in both formats, right and wrong in the ways that matter
            f"<{a}>{first}</{a}><{b}>{second}</{b}>",
            f"<{a}>{first}</{a}>\n{second}",
            f"<{b}>{second}</{b}>",
            f"{second}",
            f"<{a}></{a}><{b}>{second}</{b}>",
            f"<{a}>xxxxxxxxxxxxxxxxxxxxx</{a}><{b}></{b}>",
            f"Sure! <{a}>{first}</{a}><{b}>{second}</{b}> Anything else?",
            f"<{b}>{second}</{b}><{a}>{first}</{a}>",
        ]

    REPLIES = {
        "think / answer": _replies("think", "answer", "12 + 45 = 57. 57 + 38 = 95.", "95"),
        "code / explanation": _replies("code", "explanation", "print(12 + 45 + 38)", "It prints 95."),
    }
    BROKEN = {  # replies that break a pattern
        "<think>57 + 38</think><answer>95</answer>": "right",
        "<think>12 + 45 = 57.\n57 + 38 = 95.</think><answer>95</answer>": "a new line in the thought",
        "<think>57 + 38</think>\n<answer>95</answer>": "a new line between the blocks",
        "Sure! <think>57 + 38</think><answer>95</answer> Bye.": "chatter around it",
        "<think></think><answer>95</answer>": "an empty thought",
        "<think>a</think><answer>1</answer><think>b</think><answer>95</answer>": "every tag twice",
    }
    pushed = lesson.Pushed(QUESTION["think / answer"], scored(REPLIES["think / answer"][:4], format_reward))
    alive = lesson.Alive(QUESTION["think / answer"], lambda texts, ids: scored(texts, format_reward))
    once, live = pushed.button(), alive.button()
    return BROKEN, QUESTION, REPLIES, alive, live, once, pushed


@app.function(hide_code=True)
def form_reward(kind, tags):
    """The reward for a format: of one of the KINDS, for these tags."""
    return {"strict": FormatReward, "tag count": TagReward, "tutorial": TutorialReward}[kind](tags)


@app.function(hide_code=True)
def plan(settings, format="think / answer", reward="strict", example=None, warm_start=False):
    """The training of station 6. The pocket model adds three numbers, and follows no instructions; a real one adds two, is
    asked for the format, and shown it once unless `example` is False. `warm_start`: twelve worked examples are copied first."""
    tags, pocket = TAGS[format], is_pocket(settings.model)
    example = not pocket if example is None else example
    kind, _, answer = reward.partition(" + ")
    asking = "" if pocket else FormatReward(tags).instruction
    form, asked = form_of(tags), "What is 23 + 45?"

    def prompts(n, split):
        rows = sums(n, split=split, terms=3 if pocket else 2)
        if example:
            return with_example(rows, asked, worked_out(asked, form), asking)
        return [row | {"prompt": instructed(row["prompt"], asking)} for row in rows]

    return Plan(
        settings=settings,
        rewards=[form_reward(kind, tags), *([answer_reward] if answer else [])],
        prompts=prompts(512, "train"),
        held_out=prompts(96 if pocket else 48, "held-out"),
        judges=[FormatReward(tags), answer_reward],
        choices={"format": format, "reward": reward, "example": example, "warm_start": warm_start},
        warm_start=WarmStart(worked(prompts(12, "train"), form)) if warm_start else None,
    )


@app.cell(hide_code=True)
def _(many, station):
    get_report, get_ended, get_busy, get_cost, get_suited, get_at, get_drawing = station.states
    get_map, get_map_busy = many.progress, many.busy
    return get_at, get_busy, get_cost, get_drawing, get_ended, get_map, get_map_busy, get_report, get_suited


@app.cell(hide_code=True)
def _():
    opened = lesson.Opened.now("format")
    _runs = {
        "this lesson's run": "format_learns",
        "without beta": "format_unheld",
        "code / explanation": "format_never_earned",
        "think / boxed, after twelve examples": "format_warm",
        lesson.REAL: "format_smollm2",
        f"{lesson.REAL}, no example": "format_smollm2_zero",
    }
    station = lesson.Station(opened, DEFAULT, _runs, tags=sum(TAGS.values(), ()), batch_in_browser=32)
    ask = station.tryout("What is 12 + 45 + 38?", "format_learns")
    load, keeping = ask.button(), station.keep_menu()
    many = station.map(plan, MAPS, opened.numbers("format_maps"))
    return ask, keeping, load, many, opened, station


@app.cell(hide_code=True)
def _(get_suited, menu, station):
    chosen = station.controls(
        menu.value,
        get_suited(),
        format=lambda ask, model: ask.choice("format", list(TAGS), "think / answer"),
        reward=lambda ask, model: ask.choice("reward", [*KINDS, "strict + answer"], "strict"),
        warm_start=lambda ask, model: ask.warm_start_box(),
    )
    return (chosen,)


@app.cell(hide_code=True)
def _(asked, get_busy, get_map_busy, many, station):
    buttons, sixteen = station.buttons(get_busy(), asked), many.controls(get_map_busy())
    return buttons, sixteen


@app.cell(hide_code=True)
def _(chosen, menu, station):
    batch = station.batch(menu.value, chosen.value["group_size"])
    return (batch,)


@app.cell(hide_code=True)
def _(arithmetic, menu, opened, station):
    station.measure(plan, menu.value, arithmetic)
    lesson.furniture(opened)
    return


if __name__ == "__main__":
    app.run()
