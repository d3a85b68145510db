import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="GRPO: teach a model a length", html_head_file="public/step.html")

with app.setup(hide_code=True):
    import math
    import re
    from dataclasses import dataclass, replace

    import marimo as mo

    from grpo_lessons import cards, live, page, plots, pocket
    from grpo_lessons.cards import Curve, word
    from grpo_lessons.device import IN_PAGE
    from grpo_lessons.exercises import Case, first_mistake
    from grpo_lessons.groups import advantages, scored
    from grpo_lessons.models import ReferenceLogProb
    from grpo_lessons.pocket.corpus import posts, vocabulary_reward
    from grpo_lessons.problems import texts, with_example
    from grpo_lessons.rewards import LengthReward
    from grpo_lessons.sources import SMOLLM2, is_pocket
    from grpo_lessons.training import Settings

    SHAPES = ["distance", "window", "longer is better", "signed", "abs"]
    DEFAULT = {
        "pocket": Settings(steps=50, learning_rate=5e-3, beta=0.0, max_completion_length=64),
        SMOLLM2: Settings(
            model=SMOLLM2,
            steps=10,
            batch_size=32,
            accumulation=8,
            learning_rate=1e-3,
            beta=0.0,
            max_completion_length=64,
        ),
    }


@app.cell(hide_code=True)
def _(RUNS):
    _run = RUNS["beta = 0"]
    _off = [_each.length_error(20) for _each in (_run.before, _run.after)]
    mo.md(f"""
    # Teach a model a length

    A small language model writes about the sea, a clock, a cat. Sometimes three words, sometimes half a page. We would like about
    **20 tokens** (words, or pieces of words), every time. Nobody will ask it for that, and nobody will show it an example. It only gets a number for each text of its own:
    the nearer to 20 tokens, the higher.

    Before, its texts are off by {_off[0]:.0f} tokens on average; after {_run.steps_done} steps of training, by {_off[1]:.1f}.
    Here are the same requests, before and after. **Read the right column twice.**
    """)
    return


@app.cell(hide_code=True)
def _(RUNS):
    _run = RUNS["beta = 0"]
    _texts = [
        (_request, [f"{_c.text} [{_c.tokens} tokens]" for _c in (_old, _new)])
        for _request, _old, _new in zip(
            _run.before.prompts, _run.before.completions, _run.after.completions, strict=True
        )
    ]
    mo.Html(cards.page(cards.text_table(["request", "text before", "text after"], _texts[:5])))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    The length is right. What happened to the sentences? This lesson shows how a model learns from nothing but a number, why it did *this*
    to its sentences, and what would have seen it.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    ## 1 · The loop in one picture

    The method is **GRPO**, Group Relative Policy Optimization. Take a prompt and let the model write several **completions**: a **group**.
    A {word("reward")} function gives each a number. Compare *within the group*; make what did better {word("up", "more likely")}, what did
    worse {word("down", "less likely")}. **Go back to stage 1, and guess each column before you uncover it.**
    """)
    return


@app.cell(hide_code=True)
def _():
    stage = mo.ui.slider(1, len(cards.STAGES), value=len(cards.STAGES), show_value=True, label="stage of the loop")
    stage
    return (stage,)


@app.cell(hide_code=True)
def _(GROUP, PROMPT, stage):
    mo.Html(cards.page(cards.loop_picture(PROMPT, GROUP(LengthReward(20)), stage=stage.value)))
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    The {word("reward")} says how a text did; here, minus its distance to 20 tokens, divided by 20. The **advantage** says how it did *for its group*:
    the difference to the group's mean, divided by the spread of the group (station 4).
    No text hit the target, and still there is one to learn from: nearer than the others is enough. The update then changes the model's weights
    so that each token of a text becomes a little more or less likely, and the next group is sampled from a model that is a little different.

    So you need four things: **prompts**, a **reward function**, a **configuration**, a **trainer**. The rest of this lesson is the second one, and what comes of it.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 2 · Twenty *what*?

    "The ideal length is 20", says many a tutorial, and writes `len(completion)`. **Which of the four texts below is best, if 20 is the number of
    tokens? And if it is what `len` counts?** A *token* is a piece of text that the model reads and writes as one; here every other one is shaded.
    """)
    return


@app.cell(hide_code=True)
def _():
    counted = mo.ui.radio(
        {
            "tokens: len(completion_ids[i])": "tokens",
            "characters: len(text)": "characters",
            "messages: len(completion), in a conversation": "messages",
        },
        value="tokens: len(completion_ids[i])",
        inline=True,
        label="What is counted",
    )
    counted
    return (counted,)


@app.cell(hide_code=True)
def _(TEXTS, counted):
    _pieces = [pocket.tokens(_text) for _text in TEXTS]
    _lengths = [
        {"tokens": len(_tokens), "characters": len(_text), "messages": len([{"role": "assistant", "content": _text}])}
        for _tokens, _text in zip(_pieces, TEXTS, strict=True)
    ]
    _rewards = LengthReward(20)(TEXTS, completion_ids=[[0] * _each[counted.value] for _each in _lengths])
    _shown = [cards.marked_tokens(_each) for _each in _pieces] if counted.value == "tokens" else TEXTS
    mo.Html(
        cards.page(
            cards.measured(
                _shown,
                [
                    f"{_each[counted.value]} {counted.value.removesuffix('s') if _each[counted.value] == 1 else counted.value}"
                    for _each in _lengths
                ],
            ),
            cards.push_bars(_rewards, advantages([_rewards])[0]),
        )
    )
    return


@app.cell(hide_code=True)
def _(counted):
    mo.md(
        {
            "tokens": """**Tokens** are what the model writes, what a GPU is paid for, and what `max_completion_length` limits. TRL passes
            them to a reward as `completion_ids`. The token that ends a text counts as one.""",
            "characters": """**Characters** are what `len` of a string counts. Now the *first* text is best, with 16 characters, and the third, whose 19 tokens
            were nearly perfect, is among the worst. Nothing fails: the model simply learns another length than the one you meant.""",
            "messages": """**Messages.** If the prompt is a conversation, so is the completion: a list that holds one message. `len` of it is **1**, for any text whatever. All
            rewards are equal, every advantage is 0, and nothing is learnt. No error tells you; the curve is flat for as long as you pay for it.""",
        }[counted.value]
    )
    return


@app.cell(hide_code=True)
def _():
    own = mo.ui.text(
        value="The lighthouse costs 1,250 dollars.",
        debounce=400,
        max_length=300,
        full_width=True,
        label="See a text of your own in tokens",
    )
    own
    return (own,)


@app.cell(hide_code=True)
def _(own):
    _tokens = pocket.tokens(own.value[:300])
    mo.Html(
        cards.page(
            cards.measured([cards.marked_tokens(_tokens)], [f"{len(own.value)} characters, {len(_tokens)} tokens"])
        )
    )
    return


@app.cell(hide_code=True)
def _():
    equal = live.Question(
        "You count messages by mistake, so every text of every group earns the same. What does the model learn?",
        {
            "To write longer texts, as −0.95 is a low reward": (
                False,
                "A reward has no meaning by itself. Only the difference to the group's mean pushes, and here that is 0.",
            ),
            "Nothing, at any learning rate": (
                True,
                "Equal rewards, no advantage, no push. Such a group is called **dead**; TRL logs their share as `frac_reward_zero_std`.",
            ),
            "To write what it writes now, but more surely": (
                False,
                "That would need a push up for what it writes. All four advantages are 0: nothing moves, up or down.",
            ),
        },
    )
    equal_choice = equal.ask()
    equal_choice
    return equal, equal_choice


@app.cell(hide_code=True)
def _(equal, equal_choice):
    equal.answer(equal_choice.value)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 3 · The shape of a reward

    "About 20 tokens" can be paid for in many ways. The line is what a reward pays for a length, the dots are our four texts.
    **Which shapes have a summit where you want it? Which have none?** Two of the five are one slip of the pen away from the first.
    """)
    return


@app.cell(hide_code=True)
def _():
    shape = mo.ui.radio(SHAPES, value="distance", inline=True, label="Shape")
    target = mo.ui.slider(4, 50, value=20, show_value=True, label="target")
    mo.vstack([shape, target])
    return shape, target


@app.cell(hide_code=True)
def _(GROUP, get_drawing, shape, target):
    _reward = length_reward_of(shape.value, target.value)
    _group = GROUP(_reward)

    def _pays(n):
        return _reward(completions=[""], completion_ids=[[0] * n])[0]

    page.figure(get_drawing(), plots.reward_over_length, _pays, [_c.tokens for _c in _group])
    return


@app.cell(hide_code=True)
def _(GROUP, shape, target):
    _group = GROUP(length_reward_of(shape.value, target.value))
    mo.Html(
        cards.page(cards.push_bars([_c.rewards["length_reward"] for _c in _group], [_c.advantage for _c in _group]))
    )
    return


@app.cell(hide_code=True)
def _(shape):
    mo.md(
        {
            "distance": """**Distance**: minus the distance to the target. Every step nearer pays, from either side, so almost every group has a best text. At −1 it
            is cut off, so that one runaway text does not drown the rest.""",
            "window": """**Window**: 1 within 10 % of the target, else 0. It says exactly what you want, but a group in which nobody hits the window
            is dead. Move the target to 30: four texts, no hit, no push.""",
            "longer is better": """**Longer is better**: no target at all, and no summit. The best is always further right, until the writing is cut off at
            `max_completion_length`. Station 10 shows where that ends.""",
            "signed": """**Signed**: somebody forgot `abs`. Being too short now *earns* as much as being too long costs. The summit is at the left edge: an empty text.""",
            "abs": """**Abs**: somebody wrote `abs` and forgot the minus. The reward is highest far away from the target, and the best text becomes the one to avoid.""",
        }[shape.value]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 4 · A hair's difference

    Advantages are divided by the spread of their group. So how large must a difference be to count? Group A differs by the hair that you set,
    group B by a whole 1. **Shrink the hair. When does group A stop teaching?**
    """)
    return


@app.cell(hide_code=True)
def _():
    hair = mo.ui.slider(
        steps=[0, 0.00001, 0.0001, 0.001, 0.01, 0.1, 1],
        value=0.01,
        show_value=True,
        label="the first text of group A earns more by",
    )
    scale = mo.ui.radio(["group", "batch", "none"], value="group", inline=True, label="`scale_rewards`")
    mo.vstack([hair, scale])
    return hair, scale


@app.cell(hide_code=True)
def _(hair, scale):
    _groups = [[hair.value, 0, 0, 0], [1, 0, 0, 0]]
    _pushes = advantages(_groups, scale.value)
    _shown = [
        f"<div><b>Group {_name}</b>{cards.push_bars(_rewards, _push)}</div>"
        for _name, _rewards, _push in zip("AB", _groups, _pushes, strict=True)
    ]
    mo.Html(cards.page(f'<div class="cards">{"".join(_shown)}</div>'))
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Only when the hair is nearly gone. With `"group"`, TRL's default, a difference of 0.01 pushes nearly as hard as one of 1; at 0.0001, a number that is added so that 0/0 becomes 0,
    a third of the push is left. The scale of a reward does not matter, and noise in it counts as much as substance. `"none"` keeps differences as they are, `"batch"` divides every group
    by one spread, that of all rewards together.

    $$A_i = \frac{r_i - \mathrm{mean}(r_1 \dots r_G)}{\mathrm{std}(r_1 \dots r_G) + 10^{-4}}$$

    /// details | Where this comes from
    The formula: [DeepSeekMath](https://arxiv.org/abs/2402.03300), 4.1.2. Without the division: [Dr. GRPO](https://arxiv.org/abs/2503.20783), which finds that it
    favours prompts that are nearly always right or nearly always wrong. The standard deviation is the one with $G-1$, as in TRL.
    ///
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## 5 · The reward's code

    TRL calls a reward with lists, one entry for each completion, and expects a list of numbers back. This is the one we train with:
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    ```python\n{live.source(LengthReward.__call__)}\n```
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    `**kwargs` takes what else TRL passes: the prompts, and every column of the data set by its name. Without it, a TypeError. The other shapes of station 3 are as short:
    """)
    return


@app.class_definition
@dataclass(frozen=True)
class ShapedLength:
    """Other ways to pay for a length n, in tokens. Two of them are mistakes, and the lesson shows what they do."""

    target: int = 20
    shape: str = "window"
    __name__ = "length_reward"

    def __call__(self, completions, completion_ids, **kwargs):
        errors = [(len(ids) - self.target) / self.target for ids in completion_ids]
        pays = {
            "window": lambda error: 1.0 if abs(error) <= 0.1 else 0.0,
            "longer is better": lambda error: error,
            "signed": lambda error: -error,  # abs forgotten
            "abs": lambda error: abs(error),  # the minus forgotten
        }
        return [pays[self.shape](error) for error in errors]


@app.cell(hide_code=True)
def _():
    live.shown_code(ShapedLength)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 6 · The configuration

    Now set up your own training. TRL is the library that trains; LoRA means that it trains a small *adapter* and leaves the model's own weights alone.
    The code follows your choices, and *Train* runs it where there is torch.
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
        target=mo.ui.slider(
            4, 50, value=live.given_or(20, "target", range(4, 51)), show_value=True, label="target (tokens)"
        ),
        shape=live.choice("shape", SHAPES, "distance"),
        **(
            {"second": live.choice("second", ["none", "share of real words"], "none", "second reward")}
            if is_pocket(model)
            else {}
        ),
        mask=mo.ui.checkbox(
            value=live.given_or(False, "mask"), label="leave cut-off texts out (mask_truncated_completions)"
        ),
        **live.example_box(model),
    )
    mo.hstack(list(chosen.elements.values()), justify="start", gap=1.2, wrap=True)
    return (chosen,)


@app.function(hide_code=True)
def length_reward_of(shape, target):
    """The reward of one of the SHAPES, for a target in tokens."""
    return LengthReward(target) if shape == "distance" else ShapedLength(target, shape)


@app.function(hide_code=True)
def plan(settings, target=20, shape="distance", second="none", mask=False, example=None):
    """The training that station 6 asks for: the arguments of `grpo_lessons.training.train`.

    The words of a real model are not those of the pocket model's corpus, so their share is asked of the latter only.
    """
    pocket = is_pocket(settings.model)
    example = not pocket if example is None else example
    reward = length_reward_of(shape, target)

    def prompts(n, split):
        rows = texts(n, split=split)
        shown = "The lighthouse blinks over the dark water and calls the ships home."
        return with_example(rows, "Write about the lighthouse.", shown) if example else rows

    return {
        "settings": replace(settings, mask_truncated_completions=mask),
        "rewards": [reward] + ([vocabulary_reward] if second != "none" else []),
        "prompts": prompts(512, "train"),
        "held_out": prompts(88 if pocket else 33, "held-out"),
        "judges": [reward, *([vocabulary_reward] if pocket else []), ReferenceLogProb(settings.model)],
        "choices": {"target": target, "shape": shape, "second": second, "mask": mask, "example": example},
    }


@app.cell(hide_code=True)
def _(chosen, model):
    asked = plan(
        live.chosen_settings(live.settings_for(model, DEFAULT), chosen.value), **live.own_choices(chosen.value)
    )
    live.as_script(asked, "length")
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
    words = live.Question(
        "With the pocket model and the settings as they first stand, the reward counts tokens and looks at nothing else. What will become of the sentences?",
        {
            "They stay as they are: nothing pushes against them": (
                False,
                "Nothing pushes *for* them either. A text of twenty tokens is pushed up whatever it says, and what is pushed up by chance today is more likely tomorrow.",
            ),
            "The model picks whole sentences that happen to have 20 tokens": (
                False,
                "It could, and with `beta` above 0 it does. But with beta 0 nothing favours a sentence over a row of twenty tokens that is easier to count.",
            ),
            "They fall apart": (
                True,
                "Sense is not paid for, so it is not kept. Whatever helps to stop at the twentieth token is pushed up, and a row of odd tokens is easier to count than a sentence.",
            ),
        },
    )
    words_choice = words.ask()
    mo.vstack([mo.md("## 7 · Train"), words_choice])
    return words, words_choice


@app.cell(hide_code=True)
def _(words_choice):
    live.noted(words_choice.value, station=8)
    return


@app.cell(hide_code=True)
def _():
    folder = live.folder("length")
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
def _(model, session, set_measured, set_suited, words_choice):
    if words_choice.value or not is_pocket(model):
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
def _(FAILURES, RUNS, real, real_zero, set_ended, set_report):
    get_at, set_at = mo.state(None)
    get_playing, set_playing = mo.state(False, allow_self_loops=True)
    replay = page.Replay(
        RUNS | FAILURES | {"SmolLM2-135M": real, "SmolLM2-135M, no example": real_zero},
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
def _(RUNS, get_report, model, real, target_of):
    report = live.or_recorded(get_report(), RUNS["beta = 0"] if is_pocket(model) else real)
    report.show(
        [
            Curve("reward", "reward", "reward"),
            Curve(
                cards.LENGTH, "length ± spread (tokens)", spread="completions/std_length", goal=target_of(report.run)
            ),
            Curve("judges/vocabulary_reward/mean", "share of real words", "policy", (0, 1)),
            Curve("entropy", "entropy"),
            Curve("completions/clipped_ratio", "share of cut-off texts", "down", (0, 1)),
            Curve("frac_reward_zero_std", "share of dead groups", "dead", (0, 1)),
            Curve("kl", "distance from the start (KL)"),
        ]
    )
    return (report,)


@app.cell(hide_code=True)
def _(report):
    report.show_group()
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    **What to watch.** The *length* goes to the target, and the band around it, the spread, closes in. The {word("reward")} is never above 0: it is minus
    a distance. On the way there may be bursts: a model that has left its sentences is easily thrown, and the falling learning rate calms it. *Share of real words* only looks on: it counts the words that occur in the model's corpus, and the training never sees it. *Entropy*
    says how undecided the model is about its next token. `kl`, how far it has moved from where it began, is logged only if `beta` is above 0.
    A second training stays above the first, which is then dashed.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 8 · Look inside

    **When do the sentences begin to break?** Move through the steps of the run of station 7, once it has ended, and read.
    """)
    return


@app.cell(hide_code=True)
def _(RUNS, get_ended):
    inspected = get_ended().run if get_ended() and get_ended().run.groups else RUNS["beta = 0"]
    step = live.step_slider(inspected)
    step
    return inspected, step


@app.cell(hide_code=True)
def _(inspected, step):
    live.show_step(inspected, step.value, ("reward", cards.LENGTH, "entropy"))
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    **Before and after**, on requests about topics that no step trained on ({word("held-out")}): one text each, one dot each.
    """)
    return


@app.cell(hide_code=True)
def _(RUNS, get_drawing, inspected, target_of):
    _run = inspected if inspected.after else RUNS["beta = 0"]
    page.figure(get_drawing(), plots.lengths, _run, target_of(_run))
    return


@app.cell(hide_code=True)
def _():
    load_pocket = page.load_button()
    page.invite(load_pocket, ": four texts each, and what the reward for 20 tokens makes of them.")
    return (load_pocket,)


@app.cell(hide_code=True)
async def _(load_pocket):
    tried = await page.try_it(load_pocket.value, "Write about the sea.", "length_learns")
    tried
    return (tried,)


@app.cell(hide_code=True)
def _(tried):
    page.show_scores(tried, {"length": LengthReward(20), "real words": vocabulary_reward})
    return


@app.cell(hide_code=True)
def _(words, words_choice):
    mo.vstack([mo.md("**And your prediction?** What becomes of the sentences?"), words.answer(words_choice.value)])
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    ## 9 · What would have seen it?

    The {word("reward")} was blind, so something else has to look. Two remedies, both recorded, over the run of station 7: `beta`, which charges the model for every
    step away from where it began, and a second reward that pays for real words. **Which one keeps the sentences?**
    """)
    return


@app.cell(hide_code=True)
def _():
    remedy = mo.ui.radio(["beta = 0.1", "a second reward"], value="beta = 0.1", inline=True, label="Remedy")
    remedy
    return (remedy,)


@app.cell(hide_code=True)
def _(RUNS, remedy):
    _held = RUNS[remedy.value]
    mo.Html(
        cards.page(
            cards.curves(
                {remedy.value: _held, "beta = 0": RUNS["beta = 0"]},
                watch=[
                    Curve(cards.LENGTH, "length (tokens)", goal=20),
                    Curve("entropy", "entropy"),
                    Curve("judges/vocabulary_reward/mean", "share of real words", "policy", (0, 1)),
                    Curve("kl", "distance from the start (KL)"),
                ],
            ),
            cards.text_table(
                ["held-out request", "beta = 0", remedy.value],
                RUNS["beta = 0"].after.texts(_held.after)[:4],
            ),
            f'<p class="note">{_held.label}</p>',
        )
    )
    return


@app.cell(hide_code=True)
def _(RUNS):
    _rows = [("before any training", RUNS["beta = 0"].before), *((_name, _run.after) for _name, _run in RUNS.items())]

    def _perplexity(evaluation):
        value = math.exp(-evaluation.mean("reference_logprob"))
        return f"{value:.1f}" if value < 100 else f"{value:,.0f}"

    _lines = "\n".join(
        f"| {_name} | {_each.length_error(20):.1f} | {_each.mean('vocabulary_reward'):.0%} | {_perplexity(_each)} |"
        for _name, _each in _rows
    )
    mo.md(f"""
    | {word("held-out")} texts | tokens off the target | real words | perplexity |
    |:---|---:|---:|---:|
    {_lines}

    *Perplexity* is how surprised the model **before** the training is by a text: 2 means, as by a coin toss at every token; 15,000, as by a lottery.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    A second reward sees what it was told to see: the words are real again, and a row of real words is not yet a sentence. `beta` knows nothing of
    words or sentences; it holds the model near one that does. It is no free cure: the texts have grown alike (entropy falls; most begin the same way), as what the model
    liked best at the start is cheapest to keep. Both cost a little precision, and `beta` some time: the model before the training is asked about every token, too.

    **Break it.** Be the model: **earn as much as you can with a text that nobody would want to read.**
    """)
    return


@app.cell(hide_code=True)
def _():
    attempt = mo.ui.text_area(
        value="sea sea sea sea sea sea sea sea sea sea sea sea",
        rows=3,
        debounce=400,
        max_length=2000,
        full_width=True,
        label="Your text",
    )
    mo.vstack(
        [
            attempt,
            mo.md(
                "Can you have 0 and 1 at once? Try: one word, many times · the letter a, 19 times · real words without sense · an essay · nothing at all"
            ),
        ]
    )
    return (attempt,)


@app.cell(hide_code=True)
def _(attempt):
    _text = attempt.value[:2000]
    _ids = [pocket.tokens(_text)]
    _judges = {
        "distance to 20": length_reward_of("distance", 20),
        "longer is better": length_reward_of("longer is better", 20),
        "real words": vocabulary_reward,
    }
    _scores = [_judge(completions=[_text], completion_ids=_ids)[0] for _judge in _judges.values()]
    mo.Html(cards.page(cards.marks_table([f"your text, {len(_ids[0])} tokens", *_judges], [(_text, _scores)])))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 10 · Runs that fail

    Two rewards of station 3, one of them in two ways, trained for real; dashed, the run that works. **Before you choose one: where will its length go?**
    """)
    return


@app.cell(hide_code=True)
def _(FAILURES):
    failure = mo.ui.radio(list(FAILURES), value="longer is better", inline=True, label="The run")
    failure
    return (failure,)


@app.cell(hide_code=True)
def _(FAILURES, RUNS, failure):
    _run = FAILURES[failure.value]
    mo.Html(
        cards.page(
            cards.curves(
                {failure.value: _run, "distance": RUNS["beta = 0"]},
                watch=[
                    Curve("reward", "reward", "reward"),
                    Curve(cards.LENGTH, "length (tokens)"),
                    Curve("completions/clipped_ratio", "share of cut-off texts", "down", (0, 1)),
                    Curve("completions/mean_terminated_length", "length of texts that ended"),
                    Curve("frac_reward_zero_std", "share of dead groups", "dead", (0, 1)),
                    Curve("grad_norm", "size of the update (grad_norm)"),
                ],
            ),
            cards.text_table(
                ["held-out request", "text after"],
                _run.after.texts()[:2],
            ),
            f'<p class="note">{_run.label}</p>',
        )
    )
    return


@app.cell(hide_code=True)
def _(failure):
    mo.md(
        {
            "longer is better": """**No summit, so the cut-off is the summit.** Every text runs into `max_completion_length` and is cut off there (`clipped_ratio` 1): the model has
            unlearnt to end. Then all texts of a group are equally long, every group is dead, and the run has nothing left to learn. With a limit of 1,000 tokens it would have cost sixteen times as much.""",
            "longer, cut-off texts left out": """**The same with `mask_truncated_completions=True`.** Cut-off texts no longer count in the update. While some texts still end, those are all that is learnt from;
            when everything is cut off, loss and gradient are 0, and the logged reward looks as fine as ever. Leaving them out is right for long
            thoughts that were only cut short; it is no remedy for a reward without a summit.""",
            "signed": """**The summit is an empty text.** Nothing wrong with the learning: it found what was paid for, fast. A length near 1 is the end token alone. A reward
            above 0 that rises while the texts vanish: read the texts, not only the curve. (All rewards are equal in the end, and `frac_reward_zero_std` says 0 all the same: 0.95 is not exact in
            single precision, so the spread is a hair above nothing. `grad_norm` 0 does not lie.)""",
        }[failure.value]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    | what you see | what it says | what to do |
    |:---|:---|:---|
    | `reward` flat, `frac_reward_zero_std` 1 from the first step | all rewards equal: `len` of a conversation? | count `completion_ids` |
    | `clipped_ratio` → 1, `mean_terminated_length` → 0 | everything is cut off | a reward with a summit; a larger limit |
    | `entropy` rises while `reward` rises | the reward does not look at the content | `beta`, or a second reward; read the texts |
    | length → 1 | being short is paid for | look at the sign |
    """)
    return


@app.cell(hide_code=True)
def _(real, real_zero):
    _off = [_run.length_error(20) for _run in (real.before, real.after)]
    mo.md(f"""
    ## 11 · A real model

    **SmolLM2-135M-Instruct** is a hundred and fifty times as large and writes of everything, at length. Asked as the pocket model is, it runs into the limit in
    {real_zero.metrics[0]["completions/clipped_ratio"]:.0%} of its texts: all too long, all worth −1, {word("dead", "dead groups")}. Dashed below: that run. (Look at its second step: a few texts that
    end in time wake half of the groups, and the run begins to work itself free.) Solid: the same with **one example** of a short text in the prompt, where every group is alive from the start.
    Its {word("held-out")} texts are off by {_off[0]:.0f} tokens before and {_off[1]:.1f} after {real.steps_done} steps.
    """)
    return


@app.cell(hide_code=True)
def _(real, real_zero):
    mo.Html(
        cards.page(
            cards.curves(
                {"one example": real, "no example": real_zero},
                watch=[
                    Curve("reward", "reward", "reward"),
                    Curve(cards.LENGTH, "length (tokens)", goal=20),
                    Curve("entropy", "entropy"),
                    Curve("frac_reward_zero_std", "share of dead groups", "dead", (0, 1)),
                ],
            ),
            cards.text_table(
                ["held-out request", "before", "after"],
                real.before.texts(real.after)[:4],
            ),
            f'<p class="note">{real.label}</p>',
        )
    )
    return


@app.cell(hide_code=True)
def _(real):
    _perplexity = [f"{math.exp(-_each.mean('reference_logprob')):.0f}" for _each in (real.before, real.after)]
    mo.md(f"""
    And its sentences? `beta` is 0 here, too, and so far they hold, though they begin to stray: the perplexity goes from {_perplexity[0]} to {_perplexity[1]}, not to thousands. A real model has
    many ways to write a sentence of twenty tokens, and finds them within ten steps. Train longer, or with a larger learning rate: what becomes of them then?

    To see it live, open the lesson on a machine of your own (`marimo edit`), choose **smollm2-135m** in station 6, untick or tick *one example in the prompt*, and train: some minutes on a laptop, faster on a GPU.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## 12 · The whole thing in plain TRL

    A well-known exercise, right for TRL 1.16: a length reward of 50 on a set of texts to be summarised, with LoRA. It runs as it stands, with the model of your choice.
    """)
    return


@app.function
def train_summaries(model, dataset, learning_rate, max_steps, callbacks=()):
    import torch
    from peft import LoraConfig
    from trl import GRPOConfig, GRPOTrainer

    # In tokens. Often seen: `-abs(ideal - len(completion))`, which counts characters, or 1 for a conversation.
    def near_50_tokens(completion_ids, **kwargs):
        return [-abs(50 - len(ids)) / 50 for ids in completion_ids]

    config = GRPOConfig(
        output_dir="runs/summaries",
        learning_rate=learning_rate,  # a LoRA adapter: 2e-5 to 1e-4 (pocket: 5e-3)
        per_device_train_batch_size=8,  # completions, not prompts
        gradient_accumulation_steps=2,  # 8 x 2 / 8: two prompts a step
        num_generations=8,  # the group size (`num_generation` is a TypeError)
        max_completion_length=96,  # tokens; there is no max_prompt_length any more
        optim="adamw_torch",  # "adamw_8bit" needs a GPU and bitsandbytes
        bf16=torch.cuda.is_available(),
        max_steps=max_steps,  # leave it out, and it is one epoch:
        num_train_epochs=1,
        logging_steps=1,
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=near_50_tokens,
        train_dataset=dataset,
        args=config,
        peft_config=LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear"),
        callbacks=list(callbacks),
    )
    trainer.train()
    return [log["reward"] for log in trainer.state.log_history if "reward" in log]


@app.cell(hide_code=True)
def _():
    live.shown_code(train_summaries)
    return


@app.cell(hide_code=True)
def _():
    _models = {
        "pocket (ships with the course)": str(pocket.PATH),
        "SmolLM2-135M-Instruct (Hub)": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "Qwen2.5-0.5B-Instruct (Hub, a GPU)": "Qwen/Qwen2.5-0.5B-Instruct",
    }
    _texts = ["made here", "mlabonne/smoltldr (Hub)"]
    _offered = 1 if live.has_pocket_only() else None
    which_model = mo.ui.dropdown(dict([*_models.items()][:_offered]), value=next(iter(_models)), label="model")
    which_texts = mo.ui.dropdown(_texts[:_offered], value=_texts[0], label="texts")
    run_summaries = mo.ui.run_button(label="Run the exercise")
    get_summaries, set_summaries = mo.state(None)
    live.unless_in_page(which_model, which_texts, run_summaries)
    return get_summaries, run_summaries, set_summaries, which_model, which_texts


@app.cell(hide_code=True)
def _(run_summaries, set_summaries, which_model, which_texts):
    def _run(progress):
        from datasets import Dataset, load_dataset

        made_here = which_texts.value == "made here"
        rows = Dataset.from_list(posts(256)) if made_here else load_dataset("mlabonne/smoltldr", split="train")
        rate = 5e-3 if which_model.value == str(pocket.PATH) else 5e-5
        return train_summaries(which_model.value, rows, rate, 20, callbacks=[progress])

    if run_summaries.value:
        live.in_background(_run, set_summaries)
    return


@app.cell(hide_code=True)
def _(get_summaries):
    live.outcome(get_summaries(), "Twenty steps, half a minute with the pocket model.")
    return


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    ## 13 · Three exercises

    {live.where_to_write()}

    **One: a length reward of your own.** From each completion's token ids to minus its distance to 30 tokens in parts of 30, not below −1.
    """)
    return


@app.function
def my_length_reward(completions, completion_ids):
    return [abs(30 - len(completion)) / 30 for completion in completions]


@app.cell(hide_code=True)
def _():
    my_length_reward_code = page.editor(my_length_reward)
    live.exercise(my_length_reward, my_length_reward_code)
    return (my_length_reward_code,)


@app.cell(hide_code=True)
def _(my_length_reward_code):
    def _case(n, expected, why, **columns):
        return Case({"completions": ["a b c"], "completion_ids": [[7] * n], **columns}, [expected], why)

    live.verdict(
        first_mistake(
            page.written(my_length_reward, my_length_reward_code),
            [
                _case(30, 0.0, "30 tokens is right on target; count `completion_ids`, not characters"),
                _case(15, -0.5, "15 tokens off, of 30; the minus makes near better than far"),
                _case(45, -0.5, "too long is as bad as too short"),
                _case(300, -1.0, "not below -1: max(-1.0, …)"),
                Case(
                    {"completions": ["a", "b"], "completion_ids": [[7] * 30, [7] * 27]},
                    [0.0, -0.1],
                    "one reward for each completion",
                ),
                Case(
                    {"completions": [[{"role": "assistant", "content": "a b c"}]], "completion_ids": [[7] * 24]},
                    [-0.2],
                    "in a conversation len(completion) is 1",
                ),
                _case(24, -0.2, "TRL passes the prompts and every column as well; take **kwargs", prompts=["Write."]),
            ],
        )
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **Two: how many prompts?** `per_device_train_batch_size` counts completions. How many *different prompts* does one optimizer step draw?
    """)
    return


@app.function
def prompts_in_a_step(batch_size, accumulation, processes, group_size):
    return batch_size


@app.cell(hide_code=True)
def _():
    prompts_in_a_step_code = page.editor(prompts_in_a_step)
    live.exercise(prompts_in_a_step, prompts_in_a_step_code)
    return (prompts_in_a_step_code,)


@app.cell(hide_code=True)
def _(prompts_in_a_step_code):
    live.verdict(
        first_mistake(
            page.written(prompts_in_a_step, prompts_in_a_step_code),
            [
                Case(
                    {"batch_size": _b, "accumulation": _a, "processes": _p, "group_size": _g}, _b * _a * _p // _g, _why
                )
                for _b, _a, _p, _g, _why in [
                    (64, 1, 1, 8, "64 completions, 8 of each prompt"),
                    (8, 2, 1, 8, "accumulation adds up batches before the update"),
                    (8, 2, 4, 16, "every process (GPU) has its own batch"),
                ]
            ],
        )
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **Three: a reward that sees both.** `length` is a text's distance reward (0 is best, −1 worst), `words` its share of real words. Return one number, so that
    a readable text a little off the target beats nonsense right on it, and of two readable texts the nearer one wins.
    """)
    return


@app.function
def my_combined_reward(length, words):
    return length


@app.cell(hide_code=True)
def _():
    my_combined_reward_code = page.editor(my_combined_reward)
    live.exercise(my_combined_reward, my_combined_reward_code)
    return (my_combined_reward_code,)


@app.cell(hide_code=True)
def _(my_combined_reward_code):
    _fine, _off, _nonsense, _far = (0.0, 1.0), (-0.2, 1.0), (0.0, 0.3), (-1.0, 1.0)  # length, words
    _reward = page.written(my_combined_reward, my_combined_reward_code)

    def order(better, worse):
        return _reward(*better) > _reward(*worse)

    live.verdict(
        first_mistake(
            order,
            [
                Case(
                    {"better": _off, "worse": _nonsense},
                    True,
                    "readable and 20 % off should beat nonsense right on target: words have to count",
                ),
                Case(
                    {"better": _fine, "worse": _off},
                    True,
                    "of two readable texts the nearer one should win: length has to count",
                ),
                Case({"better": _fine, "worse": _nonsense}, True, "of two texts on target the readable one should win"),
                Case({"better": _off, "worse": _far}, True, "far off is worse than a little off, however readable"),
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

    A group turns numbers into pushes; only differences within it count; and a model learns what is paid for, down to the unit in which you count.
    What a reward does not see is not kept. But what if it sees *too much* at once, and the model never earns a thing?

    **Next: {live.lesson_link("format")}**, *teach a model a format*: rewards of 0 or 1, dead groups, and what a tutorial's regular expression pays for.
    Then {live.lesson_link("math")}, where only the answer is rewarded, and thinking appears.

    *Sources:* GRPO, [DeepSeekMath](https://arxiv.org/abs/2402.03300) · no division by the spread, [Dr. GRPO](https://arxiv.org/abs/2503.20783) ·
    leaving out what is cut off, [DAPO](https://arxiv.org/abs/2503.14476) · the KL estimate, [J. Schulman](http://joschu.net/blog/kl-approx.html) ·
    [TRL's GRPOTrainer](https://huggingface.co/docs/trl/grpo_trainer)
    """)
    return


@app.cell(hide_code=True)
def _():
    PROMPT = "Write about the sea."
    TEXTS = [  # the running example: four texts of the pocket model
        "Dark and bright.",
        "The sea is dark and wild.",
        "The busy sea never looks the same twice. You can look at the sea.",
        "At night the sea lies under a grey sky. The sea is cold. The sea is wild. We all come back to the sea.",
    ]

    def GROUP(reward):
        """The running example, scored."""
        return scored(TEXTS, reward, completion_ids=[pocket.tokens(text) for text in TEXTS])

    return GROUP, PROMPT, TEXTS


@app.cell(hide_code=True)
def _():
    def target_of(run):
        """The target of a run's length reward, in tokens, as its record has it."""
        found = re.search(r"target=(\d+)", " ".join(run.rewards))
        return int(found[1]) if found else None

    return (target_of,)


@app.cell(hide_code=True)
def _():
    RUNS = {
        "beta = 0": page.recording("length_learns"),
        "beta = 0.1": page.recording("length_held"),
        "a second reward": page.recording("length_words"),
    }
    FAILURES = {
        "longer is better": page.recording("length_longer"),
        "longer, cut-off texts left out": page.recording("length_longer_masked"),
        "signed": page.recording("length_signed"),
    }
    real = page.recording("length_smollm2")
    real_zero = page.recording("length_smollm2_zero")
    return FAILURES, RUNS, real, real_zero


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
                "Read the right column twice. What has the model learnt, and what has it lost?",
                "The length is right nearly everywhere, and the sentences fall apart. Leave the why open: station 9 answers.",
            ),
            (
                3,
                5,
                "Pull the slider to 1 first. What will stand in each column, before it is uncovered?",
                "A reward for each text, its difference to the group's mean, and the same in units of the group's spread: the advantage, a push up or down.",
            ),
            (
                5,
                8,
                "Which text is best if 20 counts tokens? And if it is what len counts?",
                "In tokens the third, with 19; in characters the first, with 16. Counted in messages all four are 1: they earn the same, and nothing is learnt.",
            ),
            (
                5,
                8,
                "Which shapes have a summit where you want it?",
                "Distance and window. Signed pays most for an empty text, longer for an endless one, abs for whatever is far away; station 10 shows where such models go.",
            ),
            (
                4,
                6,
                "Divided by the spread of the group: when does group A stop teaching?",
                "Later than anybody thinks: 0.01 pushes with +1.47, nearly as hard as 1; 0.001 still with +1.25; only at 0.0001 does it fade. With batch or none the hair counts as the hair it is.",
            ),
            (
                3,
                6,
                "What does TRL hand to a reward, and in which unit does this one count?",
                "Lists, one entry for each completion. It counts tokens, and the end token is one of them.",
            ),
            (
                2,
                4,
                "Which setting will you change, and what do you expect of it?",
                "One thing at a time, said aloud first. For a class: every row its own target or seed, and one row the second reward, so that there is something to compare.",
            ),
            (
                7,
                10,
                "Before anybody presses Train: what will become of the sentences, and why?",
                "They fall apart: sense is not paid for, so nothing keeps it. Train on the projector first, some 25 s (it may end less exactly than the recording); then one for each row, while you go on.",
            ),
            (
                3,
                6,
                "When do the sentences begin to break?",
                "In the recording from about step 13 on; at 17 little is left. A row of odd tokens is easier to count than a sentence.",
            ),
            (
                5,
                8,
                "What would have seen it, and which remedy keeps the sentences?",
                "Reading them, or asking how likely the starting model finds them. The price for straying keeps them (perplexity 2.0; before 2.1); the reward for words gets words, 98 %, and few sentences (64).",
            ),
            (
                2,
                6,
                "Before you choose a run: where will its length go?",
                "To wherever the reward is highest: to the cut-off, or to nothing at all.",
            ),
            (
                1,
                4,
                "Does a real model lose its sentences, too?",
                "Not in ten steps: its error falls from 19 tokens to under 5, its perplexity rises only from 20 to 31. It takes minutes on two cores: show the recording.",
            ),
            (
                0,
                3,
                "What of our library does this need?",
                "Nothing: it is plain TRL. In a short lesson, something to read at home.",
            ),
            (
                0,
                8,
                "Exercise one: what is wrong with this function? There are four things.",
                "It counts characters, not tokens; the minus is missing; it does not stop at −1; it refuses what else TRL passes. Mended in marimo edit or the web page: a class's server runs nobody's code.",
            ),
            (
                0,
                2,
                "What is left of a training?",
                "A small adapter beside the model. In marimo edit it can be saved, merged and pushed.",
            ),
            (2, 2, "What did the number not see?", "Everything but the length. The next lesson pays for a format."),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    live.stepper()
    return


if __name__ == "__main__":
    app.run()
