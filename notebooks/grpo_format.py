import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="GRPO: teach a model a format", html_head_file="public/step.html")

with app.setup(hide_code=True):
    import re
    from dataclasses import dataclass

    import marimo as mo

    from grpo_lessons import cards, live, page, plots, pocket
    from grpo_lessons.cards import word
    from grpo_lessons.device import IN_PAGE
    from grpo_lessons.exercises import Case, first_mistake
    from grpo_lessons.groups import advantages, p_dead, scored
    from grpo_lessons.problems import instructed, sums, with_example
    from grpo_lessons.rewards import AnswerReward, FormatReward, TagReward, answer_reward, format_reward
    from grpo_lessons.sources import SMOLLM2, is_pocket
    from grpo_lessons.text import completion_text, read_blocks
    from grpo_lessons.training import Settings

    TAGS = {"think / answer": ("think", "answer"), "code / explanation": ("code", "explanation")}
    KINDS = ["strict", "tag count", "tutorial"]
    DEFAULT = {
        "pocket": Settings(),
        SMOLLM2: Settings(model=SMOLLM2, steps=12, batch_size=32, accumulation=8, learning_rate=3e-4, beta=0.0),
    }


@app.cell(hide_code=True)
def _(recorded):
    _before, _after = (sum(_e.scores("format_reward")) / len(_e.prompts) for _e in (recorded.before, recorded.after))
    mo.md(f"""
    # Teach a model a format

    A small language model adds numbers. We would like it to think first and then answer, in exactly this shape:

    `<think>12 + 45 = 57. 57 + 38 = 95.</think><answer>95</answer>`

    It does so in **{_before:.0%}** of its replies. After {recorded.steps_done} steps of training it does so in **{_after:.0%}**,
    and no step of that training showed it an example. It knew the shape as one habit among a dozen; all it got was a number for each of its own
    replies: **1** if the shape was right, **0** if not.

    Here are the same questions, asked before and after. Its sums are often wrong at first. Nobody will correct them; keep an eye on them.
    """)
    return


@app.cell(hide_code=True)
def _(recorded):
    _pairs = recorded.before.texts(recorded.after)[1:5]
    mo.Html(cards.page(cards.text_table(["question", "reply before", "reply after"], _pairs, ("think", "answer"))))
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    ## 1 · The loop in one picture

    The method is **GRPO**, Group Relative Policy Optimization. Take one prompt and let the model write several completions: a **group**.
    A {word("reward")} function gives each one a number. Then compare *within the group*: what did better than its siblings is made
    {word("up", "more likely")}, what did worse {word("down", "less likely")}. That difference, scaled (station 3), is the **advantage**. Repeat.
    """)
    return


@app.cell(hide_code=True)
def _(QUESTION, REPLIES):
    _name = "think / answer"
    mo.Html(cards.page(cards.loop_picture(QUESTION[_name], scored(REPLIES[_name][:4], format_reward), TAGS[_name])))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    Nobody corrected a reply. The model tried; what happened to be better than the rest will come more often, what was worse less often.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 2 · Play with the reward

    Everything hangs on that number. Below are eight replies to one question, and three ways to reward them.
    **Which replies earn something they should not?** Try each reward, in both formats.
    """)
    return


@app.cell(hide_code=True)
def _():
    which_format = mo.ui.radio(list(TAGS), value="think / answer", inline=True, label="Format")
    which_reward = mo.ui.radio(KINDS, value="strict", inline=True, label="Reward")
    mo.vstack([which_format, which_reward])
    return which_format, which_reward


@app.cell(hide_code=True)
def _(QUESTION, REPLIES, which_format, which_reward):
    _tags = TAGS[which_format.value]
    _group = scored(REPLIES[which_format.value], form_reward(which_reward.value, _tags))
    mo.Html(cards.page(f"<p><b>{QUESTION[which_format.value]}</b></p>", cards.group_cards(_group, _tags, pushes=False)))
    return


@app.cell(hide_code=True)
def _(which_reward):
    mo.md(
        {
            "strict": """**Strict** pays 1 only for the two blocks in order, each once, with something in each and nothing around them.
            One reply in eight earns it. Honest, but a model that never happens to write the format never earns a thing.""",
            "tag count": """**Tag count** pays a quarter for each of the four tags that occurs exactly once. A model can earn a part of it on
            the way, which helps it to start. It does not see order or content: empty thoughts and swapped blocks are paid in full.""",
            "tutorial": """**Tutorial** is a reward often found in tutorials: 1.0 if both blocks are there and the first has more than 20 characters, 0.5 if it is shorter, else 0.
            Twenty-one times *x* earn full marks, empty tags earn half, and it does not mind chatter around the blocks. In the code format it even
            pays the honest reply, whose code is short, half of what the *x* get.""",
        }[which_reward.value]
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


@app.function(hide_code=True)
def form_reward(kind, tags):
    """The reward for a format: of one of the KINDS, for these tags."""
    return {"strict": FormatReward, "tag count": TagReward, "tutorial": TutorialReward}[kind](tags)


@app.cell(hide_code=True)
def _():
    live.shown_code(TutorialReward)
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    ## 3 · From rewards to advantages

    The model is not pushed by the {word("reward")} itself but by how it compares. Eight replies, a reward of 0 or 1:
    **how many should succeed for one success to be pushed hardest? What happens at 0, at 8, and at 7?** Move the slider.
    """)
    return


@app.cell(hide_code=True)
def _():
    successes = mo.ui.slider(0, 8, value=4, show_value=True, label="replies out of 8 that earn 1")
    scale = mo.ui.radio(["group", "none"], value="group", inline=True, label="`scale_rewards`")
    mo.hstack([successes, scale], justify="start", gap=2, wrap=True)
    return scale, successes


@app.cell(hide_code=True)
def _(scale, successes):
    _rewards = [1.0] * successes.value + [0.0] * (8 - successes.value)
    mo.Html(cards.page(cards.push_bars(_rewards, advantages([_rewards], scale.value)[0])))
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    A rare success stands out and is pushed up hard, a rare failure is pushed down as hard; when all fail, or all succeed, there is nothing
    to compare and nobody moves. As a formula, with the group's mean and standard deviation (the one with $G-1$):

    $$A_i = \frac{r_i - \mathrm{mean}(r_1 \dots r_G)}{\mathrm{std}(r_1 \dots r_G) + 10^{-4}}$$

    With `scale_rewards="none"` (Dr. GRPO) the division is left out: a lone success still stands out, but at 0.88 instead of 2.47, and nearly equal rewards stay nearly without a push.
    The update moves the chance of each token of a reply, up or down, in proportion to its $A_i$.

    /// details | Where this comes from, and what the clipping does
    Advantages: [DeepSeekMath](https://arxiv.org/abs/2402.03300), 4.1.2; without the division: [Dr. GRPO](https://arxiv.org/abs/2503.20783).
    The full objective multiplies $A_i$ by $\rho$, the token's probability now over that when it was sampled, and takes
    $\min(\rho A_i,\ \mathrm{clip}(\rho, 1-\varepsilon, 1+\varepsilon) A_i)$. With one update per generation, TRL's default, $\rho = 1$ and nothing is clipped.
    TRL averages over all tokens of the batch (`loss_type="dapo"`), so that long replies do not count less per token.
    ///
    """)
    return


@app.cell(hide_code=True)
def _():
    all_zero = live.Question(
        "All eight replies of a group earn 0. What does the model learn from this group?",
        {
            "To avoid all eight of them": (
                False,
                "It would, if the reward itself pushed. But only the difference to the group's mean does: 0 − 0 = 0. Set the slider above to 0.",
            ),
            "Nothing at all": (
                True,
                "No reply is better than its siblings, so every advantage is 0. Such a group is called **dead**.",
            ),
            "More than from other groups, for the mean is so low": (
                False,
                "A low mean makes a *success* stand out. Without one, there is no difference to learn from. Set the slider above to 0.",
            ),
        },
    )
    all_zero_choice = all_zero.ask()
    all_zero_choice
    return all_zero, all_zero_choice


@app.cell(hide_code=True)
def _(all_zero, all_zero_choice):
    all_zero.answer(all_zero_choice.value)
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    ## 4 · How large a group?

    A {word("dead", "dead group")} costs as much to sample as any other and teaches nothing. Suppose each reply earns the reward with chance *p*.
    **Our model starts near p = 0.18. How large must a group be for most groups to be alive?**
    """)
    return


@app.cell(hide_code=True)
def _():
    p = mo.ui.slider(0.01, 0.99, step=0.01, value=0.18, show_value=True, label="p, the chance of a success")
    size = mo.ui.slider(2, 16, value=8, show_value=True, label="G, the group size")
    mo.hstack([p, size], justify="start", gap=2, wrap=True)
    return p, size


@app.cell(hide_code=True)
def _(get_drawing, p, size):
    page.figure(get_drawing(), plots.dead_groups, p.value, size.value)
    return


@app.cell(hide_code=True)
def _(p):
    _alive = next((_size for _size in range(2, 17) if p_dead(p.value, _size) < 0.5), None)
    _enough = f"most groups are alive from G = {_alive} on" if _alive else "most groups are dead even at G = 16"
    mo.md(f"""
    A group is dead when all succeed or all fail: $p^G + (1-p)^G$. For your p of {p.value:.2f}, {_enough}:

    | group size | dead groups | rule of thumb |
    |:---|:---|:---|
    | 2–3 | {p_dead(p.value, 2):.0%} – {p_dead(p.value, 3):.0%} | often too small: the mean of two says little |
    | 4–8 | {p_dead(p.value, 4):.0%} – {p_dead(p.value, 8):.0%} | enough for simple tasks such as a format |
    | 8–16 | {p_dead(p.value, 8):.0%} – {p_dead(p.value, 16):.0%} | for reasoning, where a success is rare |
    | larger | fewer than {p_dead(p.value, 16):.1%} | costs more; a better prompt or an easier reward may be cheaper |

    Set p to 0.01: even sixteen leave 85 % of the groups dead. And at p = 0 no group size helps; station 10 shows such a run.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 5 · The reward's code

    Checking a format sounds like one regular expression. Two found in tutorials stand below, next to the strict reward,
    on replies that break them. **Mend the first pattern with the three switches: which mistake does each one mend, and what is left?** (✓ it pays, ✗ it does not; red, it errs.)
    """)
    return


@app.cell(hide_code=True)
def _():
    dotall = mo.ui.switch(label="`.` matches new lines (`re.DOTALL`)")
    spaces = mo.ui.switch(label="white space between blocks (`\\s*`)")
    content = mo.ui.switch(label="content in every block (`.*?` → `.+?`)")
    mo.hstack([dotall, spaces, content], justify="start", gap=1.5, wrap=True)
    return content, dotall, spaces


@app.cell(hide_code=True)
def _(content, dotall, spaces):
    _rows_of = {
        "<think>57 + 38</think><answer>95</answer>": "right",
        "<think>12 + 45 = 57.\n57 + 38 = 95.</think><answer>95</answer>": "a new line in the thought",
        "<think>57 + 38</think>\n<answer>95</answer>": "a new line between the blocks",
        "Sure! <think>57 + 38</think><answer>95</answer> Bye.": "chatter around it",
        "<think></think><answer>95</answer>": "an empty thought",
        "<think>a</think><answer>1</answer><think>b</think><answer>95</answer>": "every tag twice",
    }
    _some, _gap = ".+?" if content.value else ".*?", r"\s*" if spaces.value else ""
    pattern_a = rf"^<think>{_some}</think>{_gap}<answer>{_some}</answer>$"
    pattern_b = r"<think>(.*?)</think>\s*<answer>(.*?)</answer>"
    _flags = re.DOTALL if dotall.value else 0
    _rows = [
        (
            _text,
            [
                bool(re.match(pattern_a, _text, _flags)),
                bool(re.search(pattern_b, _text)),
                bool(format_reward([_text])[0]),
                _why,
            ],
        )
        for _text, _why in _rows_of.items()
    ]
    mo.vstack(
        [
            mo.md(
                f"**A** `re.match(r'{pattern_a}'{', …, re.DOTALL' if dotall.value else ''})`  \n**B** `re.search(r'{pattern_b}')`"
            ),
            mo.Html(
                cards.page(
                    cards.marks_table(
                        ["reply", "A", "B", "strict", "what it is"], _rows, TAGS["think / answer"], truth=2
                    )
                )
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    Even mended, the pattern lets doubled tags through: `.+?` is happy to run across them. The strict reward counts. The same object can also **ask** for the format in a prompt and **read** a reply,
    so that the three cannot disagree. (Our prompts do not ask: this tiny model was never taught to follow instructions.)

    ```python
    reward = FormatReward(("think", "answer"))
    reward.instruction   # "{format_reward.instruction}"
    ```
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    ```python\n{live.source(read_blocks)}\n\n# FormatReward\n{live.source(FormatReward.__call__)}\n```
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    TRL calls a reward with lists, one entry for each completion, and with every other column of the data set by name; hence `**kwargs`.
    For a conversational prompt a completion is not a string but a list of messages, on which `re.match` fails and `len` is always 1;
    `completion_text` takes care of both.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 6 · The configuration

    Now set up your own training. TRL is the library that trains; LoRA means that it trains a small *adapter* and leaves the model's own weights alone.
    The code follows your choices, and *Train* runs it where there is torch: `prompts` are 512 questions, `load` is `grpo_lessons.models.load`.
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
        format=live.choice("format", list(TAGS), "think / answer"),
        reward=live.choice("reward", [*KINDS, "strict + answer"], "strict"),
        **live.example_box(model),
    )
    mo.hstack(list(chosen.elements.values()), justify="start", gap=1.2, wrap=True)
    return (chosen,)


@app.function(hide_code=True)
def plan(settings, format="think / answer", reward="strict", example=None):
    """The training that station 6 asks for: the arguments of `grpo_lessons.training.train`.

    The pocket model adds three numbers and is not asked for the format, for it follows no instructions. A real model
    adds two; the format is asked for, and shown once unless `example` is False.
    """
    tags, pocket = TAGS[format], is_pocket(settings.model)
    example = not pocket if example is None else example
    kind, _, answer = reward.partition(" + ")
    asking = "" if pocket else FormatReward(tags).instruction
    shown = {
        "think / answer": "<think>23 + 45 = 68.</think><answer>68</answer>",
        "code / explanation": "<code>print(23 + 45)</code><explanation>It prints 68.</explanation>",
    }[format]

    def prompts(n, split):
        rows = sums(n, split=split, terms=3 if pocket else 2)
        if example:
            return with_example(rows, "What is 23 + 45?", shown, asking)
        return [row | {"prompt": instructed(row["prompt"], asking)} for row in rows]

    return {
        "settings": settings,
        "rewards": [form_reward(kind, tags), *([answer_reward] if answer else [])],
        "prompts": prompts(512, "train"),
        "held_out": prompts(96 if pocket else 48, "held-out"),
        "judges": [FormatReward(tags), answer_reward],
        "choices": {"format": format, "reward": reward, "example": example},
    }


@app.cell(hide_code=True)
def _(chosen, model):
    asked = plan(
        live.chosen_settings(live.settings_for(model, DEFAULT), chosen.value), **live.own_choices(chosen.value)
    )
    live.as_script(asked, "format")
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
    arithmetic = live.Question(
        "With the pocket model and the settings as they first stand, we reward the format only; nobody checks the sums. What will happen to right answers, on questions that are not in the training?",
        {
            "They stay as they are": (
                False,
                "The reward does not look at them, so this is a fair guess. But the format asks for a thought, and this model adds far better when it writes the steps down.",
            ),
            "They become rarer: the model forgets how to add": (
                False,
                "They rise: the format makes it think first. What you fear can happen when nothing holds the model to what it could do before. Here `beta` does; station 10 shows a run without it.",
            ),
            "They become more frequent": (
                True,
                "The format makes it think first, and thinking it adds far better. A side effect, not a goal: see *before and after*.",
            ),
        },
    )
    arithmetic_choice = arithmetic.ask()
    mo.vstack([mo.md("## 7 · Train"), arithmetic_choice])
    return arithmetic, arithmetic_choice


@app.cell(hide_code=True)
def _(arithmetic_choice):
    live.noted(arithmetic_choice.value, station=8)
    return


@app.cell(hide_code=True)
def _():
    folder = live.folder("format")
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
def _(arithmetic_choice, model, session, set_measured, set_suited):
    if arithmetic_choice.value or not is_pocket(model):
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
def _(never_earned, real, real_zero, recorded, set_ended, set_report, unheld):
    get_at, set_at = mo.state(None)
    get_playing, set_playing = mo.state(False, allow_self_loops=True)
    replay = page.Replay(
        {
            "this lesson's run": recorded,
            "without beta": unheld,
            "code / explanation": never_earned,
            "SmolLM2-135M": real,
            "SmolLM2-135M, no example": real_zero,
        },
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
    report.show()
    return (report,)


@app.cell(hide_code=True)
def _(report):
    report.show_group(sum(TAGS.values(), ()))
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    **What to watch.** {word("reward")}: the mean over the step, what we are after. *Spread within a group* is what the model learns from;
    TRL's own `reward_std` is taken over the whole batch, so it can look healthy when every group is dead. {word("dead", "Dead groups")}
    (`frac_reward_zero_std`) are many at both ends: when all fail, and when all succeed. *Entropy*, how undecided the model is about its next token, falls as it makes up its mind.
    `kl`, how far it has moved from where it began, is logged when beta is above 0. The loss is not shown: in GRPO its value does not tell whether the model improves.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 8 · Look inside

    **When did it get the idea?** Move through the steps of the run of station 7, once it has ended, and read a group of each.
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
    live.show_step(inspected, step.value, ("reward", "completions/mean_length", "entropy"), sum(TAGS.values(), ()))
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    **Before and after**, on {word("held-out")} questions, which no step trained on, one reply each, with 95 % intervals.
    Overlapping intervals would mean: perhaps luck.
    """)
    return


@app.cell(hide_code=True)
def _(get_drawing, inspected, recorded):
    _run = inspected if inspected.after else recorded
    page.figure(
        get_drawing(), plots.before_after, _run, {"format_reward": "right format", "answer_reward": "right answer"}
    )
    return


@app.cell(hide_code=True)
def _():
    load_pocket = page.load_button()
    page.invite(
        load_pocket, ", and knows sums of two-digit numbers: four replies each, and what the rewards make of them."
    )
    return (load_pocket,)


@app.cell(hide_code=True)
async def _(load_pocket):
    tried = await page.try_it(load_pocket.value, "What is 12 + 45 + 38?", "format_learns")
    tried
    return (tried,)


@app.cell(hide_code=True)
def _(tried):
    page.show_scores(tried, {"format": format_reward, "right answer": answer_reward}, ("think", "answer"))
    return


@app.cell(hide_code=True)
def _(arithmetic, arithmetic_choice):
    mo.vstack(
        [
            mo.md("**And your prediction?** What will happen to right answers, if only the format is rewarded?"),
            arithmetic.answer(arithmetic_choice.value),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 9 · Break it

    A model under training tries thousands of replies, and finds whatever earns reward. Be the model:
    **earn as much as you can without answering the question** *What is 12 + 45 + 38?*
    """)
    return


@app.cell(hide_code=True)
def _():
    attempt = mo.ui.text_area(
        value="I would rather not say.",
        rows=3,
        debounce=400,
        max_length=2000,
        full_width=True,
        label="Your reply",
    )
    mo.vstack(
        [attempt, mo.md("Try: empty tags · the same tag twice · a greeting around it · 21 times *x* · only the answer")]
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
    mo.Html(cards.page(cards.marks_table(["your reply", *_judges], [(_reply, _scores)], ("think", "answer"))))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    Every reward that looks at form alone can be had without the substance; the strict one, too: it pays for *anything* in the two blocks.
    What stops the cheat is a second reward that looks at the answer: *strict + answer* in station 6.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 10 · Two runs that fail

    **The first learns nothing.** The same model, the same settings, the same strict reward; only the tags differ: `<code>` and `<explanation>`,
    which this model has never written. Solid: this run. Dashed: the one that learns.
    """)
    return


@app.cell(hide_code=True)
def _(never_earned, recorded):
    mo.Html(
        cards.page(
            cards.curves({"code / explanation": never_earned, "think / answer": recorded}),
            f'<p class="note">{never_earned.label}</p>',
        )
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    Every group is {word("dead")}, so no reply is ever pushed anywhere: a flat line, for as long as you care to pay for it.
    Reinforcement strengthens what a model already does now and then; it cannot invent. **What helps:** ask for the format in the prompt,
    show one example there, train on a few examples first, or pay for parts that do occur. (*Tag count* does not help here: this model has never written a single one of these tags. Station 6 has it.)
    A larger group or more steps do not help either.

    **The second looks perfect.** Again the recorded run, with one change: `beta = 0`, TRL's default. Look at the curve, then at what it does not show.
    """)
    return


@app.cell(hide_code=True)
def _(recorded, unheld):
    mo.Html(
        cards.page(
            cards.curves(
                {"beta = 0": unheld, f"beta = {recorded.settings['beta']}": recorded}, only=("reward", "entropy")
            ),
            f'<p class="note">{unheld.label}</p>',
        )
    )
    return


@app.cell(hide_code=True)
def _(get_drawing, unheld):
    mo.vstack(
        [
            page.figure(
                get_drawing(),
                plots.before_after,
                unheld,
                {"format_reward": "right format", "answer_reward": "right answer"},
            ),
            mo.Html(
                cards.page(
                    cards.text_table(
                        ["held-out question", "reply after"],
                        unheld.after.texts()[:3],
                        ("think", "answer"),
                    )
                )
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    Check the additions. The reward pays for the shape of a thought, so nothing holds the digits in place while the weights move; the
    {word("held-out")} questions show it and the reward does not. `beta` charges the model for every step away from where it began, digits included.

    | what you see | what it says | what to do |
    |:---|:---|:---|
    | `reward` 0, `frac_reward_zero_std` 1 | never earned: dead groups | an easier start, as above |
    | `reward` 0, `clipped_ratio` near 1 | replies are cut off before the closing tag | raise `max_completion_length` |
    | `reward` flat but above 0, groups alive | steps too small | raise the learning rate (LoRA: 10 × the usual) |
    | `reward` up, held-out answers flat or down | the reward does not see what you want | read the replies; mend the reward, or raise `beta` |
    | `kl` or `grad_norm` leaps, `reward` falls | steps too large | lower the learning rate, or raise `beta` |
    """)
    return


@app.cell(hide_code=True)
def _(real):
    mo.md(f"""
    ## 11 · A real model

    The pocket model knew the shape as one habit among a dozen. A real one has never seen it. **SmolLM2-135M-Instruct** is a hundred and fifty times as large
    and follows instructions, so we ask for the format in words. Dashed below: four steps of that run, each as flat as the last.
    Solid: the same with **one example** in the prompt. It goes from {real.before.mean("format_reward"):.0%} to {real.after.mean("format_reward"):.0%} on held-out questions.
    """)
    return


@app.cell(hide_code=True)
def _(real, real_zero):
    mo.Html(
        cards.page(
            cards.curves({"one example": real, "instruction only": real_zero}),
            f'<p class="note">{real.label}</p>',
        )
    )
    return


@app.cell(hide_code=True)
def _(real, real_zero):
    _groups = {"Instruction only": real_zero.groups[0], "One example": real.groups[0]}
    mo.vstack(
        [
            mo.md("Two groups of the first step. **Which of them can teach anything?**"),
            *[
                mo.vstack(
                    [mo.md(f"**{_name}**"), mo.Html(cards.page(cards.group_panel(_group, TAGS["think / answer"])))]
                )
                for _name, _group in _groups.items()
            ],
        ]
    )
    return


@app.cell(hide_code=True)
def _(get_drawing, real):
    page.figure(
        get_drawing(), plots.before_after, real, {"format_reward": "right format", "answer_reward": "right answer"}
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    An instruction that a model cannot follow leaves every group {word("dead")}; an example in the prompt costs some forty tokens and brings the first successes.
    To see it live, open the lesson on a machine of your own (`marimo edit`), choose **smollm2-135m** in station 6, untick or tick *one example in the prompt*, and train: some minutes on a laptop, faster on a GPU.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 12 · The whole thing in four steps

    All of the above in plain TRL, without our library: prompts, a reward, a configuration, a trainer. It runs as it stands.
    """)
    return


@app.function
def minimal_example(model_folder, callbacks=()):
    from datasets import Dataset
    from peft import LoraConfig
    from trl import GRPOConfig, GRPOTrainer

    # 1. Prompts. The trainer writes the completions.
    questions = [f"What is {a} + {b} + 38?" for a in range(10, 26) for b in range(40, 44)]
    prompts = [[{"role": "user", "content": question}] for question in questions]
    dataset = Dataset.from_list([{"prompt": prompt} for prompt in prompts])

    # 2. A reward: completions in, one number each out. In a conversation, a completion is a list of messages.
    def has_format(completions, **kwargs):
        texts = [completion[0]["content"] for completion in completions]
        pattern = r"\s*<think>[^<]*\w[^<]*</think>\s*<answer>[^<]*\w[^<]*</answer>\s*"
        return [1.0 if re.fullmatch(pattern, text) else 0.0 for text in texts]

    # 3. A configuration.
    config = GRPOConfig(
        output_dir="runs/minimal",
        max_steps=5,
        num_generations=8,
        per_device_train_batch_size=32,
        gradient_accumulation_steps=2,
        learning_rate=1e-3,
        max_completion_length=48,
        logging_steps=1,
        gradient_checkpointing=False,
        bf16=False,
        save_strategy="no",
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
def _():
    live.shown_code(minimal_example)
    return


@app.cell(hide_code=True)
def _():
    get_minimal, set_minimal = mo.state(None)
    run_minimal = mo.ui.run_button(label="Run all of it")
    live.unless_in_page(run_minimal)
    return get_minimal, run_minimal, set_minimal


@app.cell(hide_code=True)
def _(run_minimal, set_minimal):
    if run_minimal.value:
        live.in_background(lambda bar: minimal_example(pocket.PATH, [bar]), set_minimal)
    return


@app.cell(hide_code=True)
def _(get_minimal):
    live.outcome(get_minimal(), "Five steps, some ten seconds. The reward of each will stand here.")
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    ## 13 · Three exercises

    {live.where_to_write()}

    **One: a format reward of your own.** It should pay 1.0 for `<think>…</think><answer>…</answer>` with content in both, white space allowed
    between and around, nothing else; and it must take plain strings and conversations alike.
    """)
    return


@app.function
def my_format_reward(completions, **kwargs):
    pattern = "<think>.*</think><answer>.*</answer>"
    return [1.0 if re.match(pattern, completion) else 0.0 for completion in completions]


@app.cell(hide_code=True)
def _():
    my_format_reward_code = page.editor(my_format_reward)
    live.exercise(my_format_reward, my_format_reward_code)
    return (my_format_reward_code,)


@app.cell(hide_code=True)
def _(my_format_reward_code):
    _good = "<think>6 * 7</think><answer>42</answer>"
    live.verdict(
        first_mistake(
            page.written(my_format_reward, my_format_reward_code),
            [
                Case({"completions": [_good]}, [1.0], "this is the format"),
                Case({"completions": ["42", _good]}, [0.0, 1.0], "one reward for each completion"),
                Case(
                    {"completions": ["<think>6\n* 7</think>\n<answer>42</answer>"]},
                    [1.0],
                    "`.` stops at a new line without re.DOTALL, and white space may stand between",
                ),
                Case({"completions": [f"Sure! {_good}"]}, [0.0], "nothing may stand before it"),
                Case(
                    {"completions": [f"{_good} Bye."]},
                    [0.0],
                    "nothing may stand after it: re.match ties down the beginning only",
                ),
                Case({"completions": ["<think></think><answer>42</answer>"]}, [0.0], "an empty block is no content"),
                Case({"completions": ["<think>6 * 7</think><answer></answer>"]}, [0.0], "nor is an empty answer"),
                Case({"completions": ["<think> </think><answer>42</answer>"]}, [0.0], "nor are spaces"),
                Case({"completions": [f"\n{_good}\n"]}, [1.0], "white space may stand around it"),
                Case({"completions": [_good + _good]}, [0.0], "each tag once"),
                Case(
                    {"completions": [[{"role": "assistant", "content": _good}]]},
                    [1.0],
                    "a conversation is a list of messages; completion_text reads both",
                ),
                Case(
                    {"completions": [_good], "prompts": ["6 * 7?"], "answer": ["42"]},
                    [1.0],
                    "TRL passes every column; take **kwargs",
                ),
            ],
        )
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **Two: advantages.** From one group's rewards, as a list of numbers, to its advantages, a list of the same length: the formula of station 3.
    """)
    return


@app.function
def my_advantages(rewards):
    mean = sum(rewards) / len(rewards)
    return [reward - mean for reward in rewards]


@app.cell(hide_code=True)
def _():
    my_advantages_code = page.editor(my_advantages)
    live.exercise(my_advantages, my_advantages_code)
    return (my_advantages_code,)


@app.cell(hide_code=True)
def _(my_advantages_code):
    live.verdict(
        first_mistake(
            page.written(my_advantages, my_advantages_code),
            [
                Case({"rewards": _rewards}, [round(a, 3) for a in advantages([_rewards])[0]], _why)
                for _rewards, _why in [
                    ([1.0, 0.0, 0.0, 0.0], "divide by the standard deviation, the one with n - 1 (statistics.stdev)"),
                    ([0.0, 0.0, 0.0, 0.0], "a dead group has no spread; 1e-4 is added so that 0/0 becomes 0"),
                    ([1.0, 0.5, 0.5, 0.0], "any rewards will do, not only 0 and 1"),
                ]
            ],
        )
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **Three: why does it not learn?** You get one step's log of somebody's run. Say `"dead groups"`, `"cut off"` (replies run into `max_completion_length`),
    `"fooled"` (the reward rises and the held-out answers do not) or `"learning"`. Look for what *explains* the rest first.
    """)
    return


@app.function
def my_diagnosis(log):
    if log["reward"] == 0:
        return "dead groups"
    return "learning"


@app.cell(hide_code=True)
def _():
    my_diagnosis_code = page.editor(my_diagnosis)
    live.exercise(my_diagnosis, my_diagnosis_code)
    return (my_diagnosis_code,)


@app.cell(hide_code=True)
def _(my_diagnosis_code):
    _log = {
        "reward": 0.4,
        "reward_std": 0.5,
        "frac_reward_zero_std": 0.2,
        "completions/clipped_ratio": 0.0,
        "held_out_gain": 0.2,
    }
    live.verdict(
        first_mistake(
            page.written(my_diagnosis, my_diagnosis_code),
            [
                Case({"log": _log | _change}, _expected, _why)
                for _change, _expected, _why in [
                    ({}, "learning", "reward above 0, groups alive, held-out answers better"),
                    (
                        {"reward": 0.0, "reward_std": 0.0, "frac_reward_zero_std": 1.0},
                        "dead groups",
                        "every group without spread",
                    ),
                    (
                        {"reward": 0.5, "frac_reward_zero_std": 1.0},
                        "dead groups",
                        "reward_std is over the batch: some groups all right, some all wrong, and no spread within any",
                    ),
                    (
                        {
                            "reward": 0.0,
                            "reward_std": 0.0,
                            "frac_reward_zero_std": 1.0,
                            "completions/clipped_ratio": 0.98,
                        },
                        "cut off",
                        "the groups are dead because nearly every reply was cut off before its closing tag",
                    ),
                    (
                        {"reward": 0.97, "reward_std": 0.1, "held_out_gain": -0.1},
                        "fooled",
                        "reward nearly full, held-out answers worse",
                    ),
                ]
            ],
        )
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 14 · Keep it

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
    mo.md(f"""
    ## What you now know

    A reward function is a few lines; a group turns its numbers into pushes; a group without differences teaches nothing; and a model learns
    what is *paid for*, not what was *meant*. One question is left: what if the reward looks at the answer, and at nothing else?
    Does a model that nobody asks to think begin to think?

    **Next: {live.lesson_link("math")}**, *reward the answer, and watch thinking appear*. Before this one stands
    {live.lesson_link("length")}, *teach a model a length*: what a reward does not see, and what would have seen it.

    *Sources:* GRPO, [DeepSeekMath](https://arxiv.org/abs/2402.03300) · the format reward, [DeepSeek-R1](https://arxiv.org/abs/2501.12948) ·
    no division by the spread, [Dr. GRPO](https://arxiv.org/abs/2503.20783) · the mean over tokens, [DAPO](https://arxiv.org/abs/2503.14476) ·
    [TRL's GRPOTrainer](https://huggingface.co/docs/trl/grpo_trainer)
    """)
    return


@app.cell(hide_code=True)
def _():
    recorded = page.recording("format_learns")
    never_earned = page.recording("format_never_earned")
    unheld = page.recording("format_unheld")
    real = page.recording("format_smollm2")
    real_zero = page.recording("format_smollm2_zero")
    return never_earned, real, real_zero, recorded, unheld


@app.cell(hide_code=True)
def _():
    QUESTION = {
        "think / answer": "What is 12 + 45 + 38?",
        "code / explanation": "Write a line of Python that adds 12, 45 and 38.",
    }
    # The running example: the same kinds of reply in both formats, right and wrong in the ways that matter.
    _thought, _total, _code, _words = "12 + 45 = 57. 57 + 38 = 95.", "95", "print(12 + 45 + 38)", "It prints 95."
    REPLIES = {
        name: [
            f"<{a}>{first}</{a}><{b}>{second}</{b}>",
            f"<{a}>{first}</{a}>\n{second}",
            f"<{b}>{second}</{b}>",
            f"{second}",
            f"<{a}></{a}><{b}>{second}</{b}>",
            f"<{a}>xxxxxxxxxxxxxxxxxxxxx</{a}><{b}></{b}>",
            f"Sure! <{a}>{first}</{a}><{b}>{second}</{b}> Anything else?",
            f"<{b}>{second}</{b}><{a}>{first}</{a}>",
        ]
        for (name, (a, b)), (first, second) in zip(TAGS.items(), [(_thought, _total), (_code, _words)], strict=True)
    }
    return QUESTION, REPLIES


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
                "What would you show a model to teach it this shape?",
                "Examples, says everybody. Here nobody shows one: a number for each reply is all it gets.",
            ),
            (
                2,
                4,
                "Who corrects a wrong reply?",
                "Nobody. Some tries happen to be better than their siblings, and those are made more likely.",
            ),
            (
                6,
                9,
                "Which replies earn something they should not, under each of the rewards?",
                "Tag count pays the empty thought, the x, the chatter and the swapped blocks in full; tutorial the x and the chatter, and an honest short program half; strict pays one in eight.",
            ),
            (
                7,
                10,
                "The slider stands at four. How many of eight should succeed for one success to be pushed hardest?",
                "Many say four, +0.94. It is one, +2.47. At 0 and at 8 nobody moves; at 7 the lone failure is pushed down as hard.",
            ),
            (
                4,
                6,
                "With p = 0.18, how large must a group be for most groups to be alive?",
                "Four: then 45 % are dead, and at eight 20 %.",
            ),
            (
                4,
                7,
                "Which of the replies still fools pattern A when all three switches are on?",
                "The one with every tag twice: the pattern runs across them. The strict reward counts.",
            ),
            (
                2,
                4,
                "How many prompts does a step draw, and how many replies does it sample?",
                "8 prompts of 8 replies are 64. For a class: every row its own reward or seed, one thing at a time, so that there is something to compare.",
            ),
            (
                6,
                10,
                "Before anybody presses Train: what will happen to right answers, which nobody checks?",
                "Most say nothing, or worse. They become more frequent: the format makes it think. Train on the projector first, some 15 s; then one for each row, while you go on.",
            ),
            (
                3,
                6,
                "At which step did it get the idea?",
                "In the recording between steps 2 and 5: from 0.27 to 0.77. From step 13 on most groups are dead, for everybody succeeds: there is little left to learn.",
            ),
            (
                3,
                6,
                "Who earns most without answering the question?",
                "Two blocks of rubbish earn 1: the reward does not read what stands inside.",
            ),
            (
                2,
                6,
                "Two runs fail. Which of them would you notice?",
                "The first: its reward is 0 all along. The second looks perfect, and only the held-out answers tell.",
            ),
            (
                1,
                5,
                "An instruction or an example: which of the two groups can teach?",
                "The one with the example has successes. Without it every group is dead.",
            ),
            (
                0,
                3,
                "What of our library does this need?",
                "Nothing: it is plain TRL. In a short lesson, something to read at home.",
            ),
            (
                0,
                7,
                "Exercise one: which replies does this pattern misjudge?",
                "A dot stops at a new line; empty blocks and chatter behind pass; and in a conversation it raises. Mended in marimo edit or the web page: a class's server runs nobody's code.",
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
                "What does a model learn: what we meant, or what we paid for?",
                "What is paid for. The next lesson pays for answers only.",
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
