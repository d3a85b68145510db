# /// script
# requires-python = ">=3.11"
# dependencies = ["grpo-lessons[lesson]; sys_platform != 'emscripten'", "marimo==0.25.*; sys_platform != 'emscripten'"]
# tool.uv.sources.grpo-lessons = { path = "..", editable = true }
# ///

import marimo

__generated_with = "0.25.2"
app = marimo.App(
    width="medium",
    app_title="GRPO: teach a model a length",
    css_file="public/lesson.css",
    html_head_file="public/step.html",
)

with app.setup(hide_code=True):
    import math
    from dataclasses import dataclass, replace

    import marimo as mo

    from grpo_lessons import cards, lesson, plots, pocket
    from grpo_lessons.cards import word
    from grpo_lessons.curves import LENGTH, Curve, curves
    from grpo_lessons.groups import advantages, scored
    from grpo_lessons.pocket.corpus import posts, vocabulary_reward
    from grpo_lessons.problems import texts, with_example
    from grpo_lessons.rewards import LengthReward, length_target
    from grpo_lessons.training import SMOLLM2, Plan, ReferenceLogProb, Settings, is_pocket

    SHAPES = ["distance", "window", "longer is better", "signed", "abs"]
    FAILURES = ("longer is better", "longer, cut-off texts left out", "signed")
    _blind = {"beta": 0.0, "max_completion_length": 64}  # nothing that holds the sentences
    DEFAULT = {
        "pocket": Settings(steps=50, learning_rate=5e-3, seed=4, **_blind),  # of five seeds, the one in the middle
        SMOLLM2: Settings(model=SMOLLM2, steps=10, batch_size=32, accumulation=8, learning_rate=1e-3, **_blind),
    }
    CURVES = {  # what there is to watch; every figure takes its own choice of them
        "reward": Curve("reward", "reward", "reward"),
        "length": Curve(LENGTH, "length (tokens)", goal=20),
        "words": Curve("judges/vocabulary_reward/mean", "share of real words", "policy", (0, 1)),
        "entropy": Curve("entropy", "entropy"),
        "cut off": Curve("completions/clipped_ratio", "share of cut-off texts", "down", (0, 1)),
        "ended": Curve("completions/mean_terminated_length", "length of texts that ended"),
        "dead": Curve("frac_reward_zero_std", "share of dead groups", "dead", (0, 1)),
        "update": Curve("grad_norm", "size of the update (grad_norm)"),
        "kl": Curve("kl", "distance from the start (KL)"),
    }


@app.cell(hide_code=True)
def _(opened, station):
    _pair = station.recorded.before, station.recorded.after
    _off = [_each.length_error(20) for _each in _pair]
    _texts = [[f"{_c.text} [{_c.tokens} tokens]" for _c in _each.completions[:5]] for _each in _pair]
    _rows = [*zip(_pair[0].prompts, zip(*_texts, strict=True), strict=False)]
    lesson.show(
        f"""
    # Teach a model a length

    A small language model writes about the sea, a clock, a cat. Sometimes three words, sometimes fifty. We would like about **20 tokens** (words, or pieces of words), every time. Nobody will ask it for that, and nobody will show it an example. It only gets a number for each text of its own: the nearer to 20 tokens, the higher.

    Before, its texts are off by {_off[0]:.0f} tokens on average; after {station.recorded.steps_done} steps of training, by {_off[1]:.1f}. Here are the same requests, before and after. **Read the right column twice.**

    {lesson.before_you_begin(opened)}
    """,
        cards.text_table(["request", "text before", "text after"], _rows),
        """
    The length is right. What happened to the sentences? This lesson shows how a model learns from nothing but a number, why it did *this* to its sentences, and what would have seen it.
    """,
    )
    return


@app.cell(hide_code=True)
def _(opened, pushed, stage):
    lesson.show(
        f"""
    ## 1 · The loop in one picture

    The method is **GRPO**, Group Relative Policy Optimization. Take a prompt and let the model write several **completions**: a **group**. A {word("reward")} function gives each a number. Compare *within the group*, where all had the same prompt, easy or hard; make what did better {word("up", "more likely")}, what did worse {word("down", "less likely")}. **Move on stage by stage, and guess each column before you uncover it.**
    """,
        stage,
        cards.loop_picture(pushed.prompt, pushed.group, stage=stage.value, update=opened.numbers("updates")["length"]),
        f"""
    The {word("reward")} says how a text did; here, minus its distance to 20 tokens, divided by 20. The **advantage** says how it did *for its group*: the difference to the group's mean, divided by the spread of the group (station 4). {"No text hit the target, and still there is one to learn from: nearer than the others is enough." if stage.value > 3 else ""} The update then changes the model's weights so that each token of a text becomes a little more or less likely. {"The last column is measured: how many times as likely each text is after one small update (learning rate 0.0003). They share one set of weights, so a text may be drawn along against its own advantage." if stage.value > 4 else ""} The next group is sampled from a model that is a little different.

    So you need four things: **prompts**, a **reward function**, a **configuration**, a **trainer**. This lesson is about the reward function, and about what a model makes of it.
    """,
    )
    return


@app.cell(hide_code=True)
async def _(alive, live, opened):
    _words = "The picture stood still; this one runs, stage by stage or by itself. Eight texts each round: **how many rounds until they come near 20 tokens?**"
    await alive.show(opened, live, _words)
    return


@app.cell(hide_code=True)
def _(opened, weighed):
    _ways = ["tokens: len(completion_ids[i])", "characters: len(text)", "messages: len(completion), in a conversation"]
    counted = mo.ui.radio(_ways, value=_ways[0], inline=True, label="What is counted")
    _label, _text = "See a text of your own in tokens", "The lighthouse costs 1,250 dollars."
    own = mo.ui.text(value=_text, debounce=400, max_length=300, full_width=True, label=_label)
    equal = lesson.Question(
        opened,
        "By a mistake in the reward, every text of a group earns the same: −0.95. What does the model learn from it?",
        {
            "To write longer texts, as −0.95 is a low reward": "A reward has no meaning by itself. Only the difference to the group's mean pushes, and here that is 0.",
            "Nothing, at any learning rate": "Equal rewards, no advantage, no push. Such a group is called **dead**; TRL logs their share as `frac_reward_zero_std`.",
            "To write what it writes now, but more surely": "That would need a push up for what it writes. All four advantages are 0: nothing moves, up or down.",
        },
        right="Nothing, at any learning rate",
    )
    place = mo.ui.slider(0, 5, label="place in the sentence")
    temperature = mo.ui.slider(0.1, 2, step=0.1, value=1, show_value=True, label="temperature")
    hardest, losses, reused = weighed.elements(opened)  # of station 4
    lesson.show("## 2 · Twenty *what*?", "First a question about the loop. You will meet its answer here.", equal)
    return counted, equal, hardest, losses, own, place, reused, temperature


@app.cell(hide_code=True)
def _(TEXTS, counted, equal):
    _unit, _pieces = counted.value.partition(":")[0], [pocket.tokens(_text) for _text in TEXTS]
    _talks = [[{"role": "assistant", "content": _text}] for _text in TEXTS]
    _lengths = [len(_each) for _each in {"tokens": _pieces, "characters": TEXTS, "messages": _talks}[_unit]]
    _rewards = [LengthReward(20).pays(_n) for _n in _lengths]
    _shown = [cards.marked_tokens(_each) for _each in _pieces] if _unit == "tokens" else TEXTS
    _said = {
        "tokens": """**Tokens** are what the model writes, what a GPU is paid for, and what `max_completion_length` limits. TRL passes them to a reward as `completion_ids`. The token that ends a text counts as one.""",
        "characters": """**Characters** are what `len` of a string counts. Now the *first* text is best, with 16 characters, and the third, whose 19 tokens were nearly perfect, is among the worst. Nothing fails: the model simply learns another length than the one you meant.""",
        "messages": """**Messages.** If the prompt is a conversation, so is the completion: a list that holds one message. `len` of it is **1**, for any text whatever. All rewards are equal, every advantage is 0, and nothing is learnt. No error tells you; the curve is flat for as long as you pay for it.""",
    }
    lesson.show(
        equal.answer(),
        """
    "The ideal length is 20", says many a tutorial, and writes `len(completion)`. **Which of the four texts below is best, if 20 is the number of tokens? And if it is what `len` counts?** A *token* is a piece of text that the model reads and writes as one; here every other one is shaded.
    """,
        counted,
        cards.measured(_shown, [f"{_n} {_unit.removesuffix('s') if _n == 1 else _unit}" for _n in _lengths]),
        cards.push_bars(_rewards, advantages([_rewards])[0]),
        mo.md(_said[_unit]),
    )
    return


@app.cell(hide_code=True)
def _(PROMPT, opened, own, place, temperature):
    _tokens = pocket.tokens(own.value[:300])
    _at = opened.numbers("next_token")["places"][place.value]
    _chances = chances(_at["logits"], temperature.value)
    _entropy = -sum(_p * math.log(_p) for _p in _chances if _p > 0)
    lesson.show(
        own,
        cards.measured([cards.marked_tokens(_tokens)], [f"{len(own.value)} characters, {len(_tokens)} tokens"]),
        "**How does it choose the next token?** It has a chance for each of its 600 kinds of token, and throws dice. **Go through a sentence. Where does it know what comes next? Where would two texts part?**",
        lesson.row(place, temperature),
        f"*{PROMPT}* → **{_at['so_far'] or '…'}**",
        cards.chances(_at["tokens"], _chances),
        f"""
    **Entropy {_entropy:.2f}**: it is as undecided as between {math.exp(_entropy):.1f} equally likely tokens. (Entropy is $-\\sum p \\ln p$ over all tokens.) The **temperature** divides the model's scores before they become chances. Near 0 the likeliest token always wins: the texts of a group become copies, all rewards are equal, and nothing is learnt. Above 1 unlikely tokens come up, and one is enough to spoil a text. A GRPO training samples at 1. The scores are recorded from the pocket model before any training.
    """,
        lesson.shown_code(opened, chances),
    )
    return


@app.function
def chances(scores, temperature):
    weights = [math.exp((score - max(scores)) / temperature) for score in scores]
    return [weight / sum(weights) for weight in weights]


@app.cell(hide_code=True)
def _():
    shape = mo.ui.radio(SHAPES, value="distance", inline=True, label="Shape")
    target = mo.ui.slider(4, 50, value=20, show_value=True, label="target")
    lesson.show(
        """
    ## 3 · The shape of a reward

    "About 20 tokens" can be paid for in many ways. The line is what a reward pays for a length, the dots are our four texts. **Which shapes have a summit where you want it? Which have none?** Two of the five are the first one with a slip of the pen.
    """,
        mo.vstack([shape, target]),
    )
    return shape, target


@app.cell(hide_code=True)
def _(GROUP, get_drawing, shape, target):
    _reward = length_reward_of(shape.value, target.value)
    _group = GROUP(_reward)
    _said = {
        "distance": """**Distance**: minus the distance to the target. Every step nearer pays, from either side, so almost every group has a best text. At −1, from twice the target on, it is cut off, so that one runaway text does not drown the rest.""",
        "window": """**Window**: 1 within 10 % of the target, else 0. It says exactly what you want, but a group in which nobody hits the window is dead. Move the target to 30: four texts, no hit, no push.""",
        "longer is better": """**Longer is better**: no target at all, and no summit. The best is always further right, until the writing is cut off at `max_completion_length`. Station 10 shows where that ends.""",
        "signed": """**Signed**: somebody forgot `abs`. Being too short now *earns* as much as being too long costs. The summit is at the left edge: an empty text.""",
        "abs": """**Abs**: somebody wrote `abs` and forgot the minus. The reward is highest far away from the target, and the best text becomes the one to avoid.""",
    }
    lesson.show(
        lesson.figure(get_drawing(), plots.reward_over_length, _reward.pays, [_c.tokens for _c in _group]),
        cards.push_bars([_c.rewards["length_reward"] for _c in _group], [_c.advantage for _c in _group]),
        mo.md(_said[shape.value]),
    )
    return


@app.cell(hide_code=True)
def _(hair, scale):
    _groups = [[hair.value, 0, 0, 0], [1, 0, 0, 0]]
    _shown = [
        f"<div><b>Group {_name}</b>{cards.push_bars(_rewards, _push)}</div>"
        for _name, _rewards, _push in zip("AB", _groups, advantages(_groups, scale.value), strict=True)
    ]
    lesson.show(
        """
    ## 4 · A hair's difference

    Advantages are divided by the spread of their group. A group whose rewards are all equal teaches nothing: it is **dead**. So how large must a difference be to count? Group A differs by the hair that you set, group B by a whole 1. **Shrink the hair. When does group A stop teaching?**
    """,
        mo.vstack([hair, scale]),
        f'<div class="cards">{"".join(_shown)}</div>',
        r"""
    Only when the hair is nearly gone. With `"group"`, TRL's default, a difference of 0.01 pushes nearly as hard as one of 1. At 0.0001 a third of the push is left: TRL adds 0.0001 to every spread, so that a group of equal rewards is not divided by 0. **Why divide?** So that a reward in points and one in hundreds of points push equally: apart from such hairs, only the proportions within a group count. The price: a difference that is mere noise is blown up as well. `"none"` keeps differences as they are, `"batch"` divides every group by one spread, that of all rewards together.

    $$A_i = \frac{r_i - \mathrm{mean}(r_1 \dots r_G)}{\mathrm{std}(r_1 \dots r_G) + 10^{-4}}$$

    (From [DeepSeekMath](https://arxiv.org/abs/2402.03300), 4.1.2; the standard deviation is the one with $G-1$, as in TRL. [Dr. GRPO](https://arxiv.org/abs/2503.20783) leaves it out, because dividing favours prompts that are nearly always right or nearly always wrong.)
    """,
    )
    return


@app.cell(hide_code=True)
async def _(once, opened, pushed):
    _words = "Advantages belong to texts, and an update moves tokens. Here are our four: only one of them is better than the mean, and another one begins as it does. **Which tokens will move, and which way?**"
    await pushed.show(opened, once, _words)
    return


@app.cell(hide_code=True)
def _(hardest, losses, weighed):
    weighed.show(hardest, losses)
    return


@app.cell(hide_code=True)
def _(opened, reused, weighed):
    weighed.show_reused(opened, reused)
    return


@app.cell(hide_code=True)
def _(opened):
    lesson.show(
        """
    ## 5 · The reward's code

    TRL calls a reward with lists, one entry for each completion, and expects a list of numbers back. This is the one we train with:
    """,
        mo.md(lesson.source(LengthReward.__call__, LengthReward.pays)),
        """
    `**kwargs` takes what else TRL passes: the prompts, and every column of the data set by its name. Without it, a TypeError. The other shapes of station 3 are as short:
    """,
        lesson.shown_code(opened, ShapedLength),
    )
    return


@app.class_definition
@dataclass(frozen=True)
class ShapedLength:
    """Other ways to pay for a length n, in tokens. Two of them are mistakes, and the lesson shows what they do."""

    target: int = 20
    shape: str = "window"
    __name__ = "length_reward"

    def __call__(self, completions, completion_ids, **kwargs):
        return [self.pays(len(ids)) for ids in completion_ids]

    def pays(self, n):
        error = (n - self.target) / self.target
        return {
            "window": 1.0 if abs(error) <= 0.1 else 0.0,
            "longer is better": error,
            "signed": -error,  # abs forgotten
            "abs": abs(error),  # the minus forgotten
        }[self.shape]


@app.cell(hide_code=True)
def _(station):
    menu = station.models()
    lesson.show(
        """
    ## 6 · The configuration

    Now set up your own training. TRL is the library that trains; LoRA means that it trains a small *adapter* and leaves the model's own weights alone. The code follows your choices, and *Train* runs it.
    """,
        lesson.row(*menu.elements.values()),
    )
    return (menu,)


@app.cell(hide_code=True)
def _(batch, chosen, menu, station):
    asked = station.asked(plan, menu.value, chosen.value, batch.value)
    station.configuration(chosen, batch, asked)
    return (asked,)


@app.cell(hide_code=True)
def _(opened, station):
    chase, get_chase, pull, sooner = station.chase(plan)
    words = lesson.Question(
        opened,
        "You have seen how it ends: twenty tokens, and no sentences. The reward counts tokens and looks at nothing else. Which comes first: the right length, or the end of the sentences?",
        {
            "First it holds the length, with whole sentences; later they decay": "It could, and with `beta` above 0 it does. But nothing here favours a sentence: compare the step at which the spread of the lengths closes with the one at which real words become fewer.",
            "First the sentences break; only then is the length held": "Sense is not paid for, so it is not kept. Whatever helps to stop at the twentieth token is pushed up, and a row of odd tokens is easier to count than a sentence: they break *so that* the length can be held.",
            "Both at once, in a few steps": "The mean length comes near the target early, but a mean is not every text. Watch the spread of the lengths: at 20 tokens it closes late, long after the words have begun to go.",
        },
        right="First the sentences break; only then is the length held",
    )
    lesson.show("## 7 · Train", words)
    return chase, get_chase, pull, sooner, words


@app.cell(hide_code=True)
def _(asked, buttons, get_cost, get_report, scrub, station, words):
    lesson.show(
        words.noted(station=8),
        station.show(buttons, scrub, get_report(), get_cost(), asked, words),
        f"""
    **What to watch.** The *length* goes to the target, and the band around it, the spread, closes in. The {word("reward")} is never above 0: it is minus a distance. On the way there may be bursts: a model that has left its sentences is easily thrown, into its other habit, sums, too; the falling learning rate calms it. *Share of real words* only looks on: it counts the words that occur in the model's corpus, and the training never sees it. *Entropy* says how undecided the model is about its next token. `kl`, how far it has moved from where it began, is logged only if `beta` is above 0. Train a second time, and the run before stays in the picture, dashed.
    """,
    )
    return


@app.cell(hide_code=True)
def _(chase, get_chase, pull, sooner):
    chase.show(pull, get_chase(), sooner)
    return


@app.cell(hide_code=True)
async def _(get_drawing, get_ended, station, step):
    _run = station.answered(get_ended())
    lesson.show(
        """
    ## 8 · Look inside

    **When do the sentences begin to break?** Move through the steps of the run of station 7, once it has ended, and read.
    """,
        await station.look_inside(
            step,
            get_ended(),
            ("reward", LENGTH, "entropy"),
            lambda group: cards.dots([_c.tokens for _c in group.completions], length_target(_run.rewards), 64),
        ),
        f"""
    **Before and after**, on requests about topics that no step trained on ({word("held-out")}): one text each, one dot each.
    """,
        lesson.figure(get_drawing(), plots.lengths, _run, length_target(_run.rewards)),
    )
    return


@app.cell(hide_code=True)
async def _(ask, load):
    tried = await ask.widget(load.value)
    lesson.show(ask.invite(load, ": four texts each, and what the reward for 20 tokens makes of them."), tried)
    return (tried,)


@app.cell(hide_code=True)
def _(tried, words):
    lesson.show(
        lesson.show_scores(tried, {"length": LengthReward(20), "real words": vocabulary_reward}),
        "**And your prediction?** Which comes first: the right length, or the end of the sentences?",
        words.answer(),
    )
    return


@app.cell(hide_code=True)
def _():
    _text = " ".join(["sea"] * 12)
    attempt = mo.ui.text_area(_text, rows=3, debounce=400, max_length=2000, full_width=True, label="Your text")
    seeds = mo.ui.slider(1, 5, show_value=True, label="seeds")
    remedy = mo.ui.radio(["beta = 0.1", "a second reward"], inline=True, label="Remedy")
    lesson.show(
        f"""
    ## 9 · What would have seen it?

    The {word("reward")} was blind, and the model earned it in full without what we meant: that is called **reward hacking**. So something else has to look. Two remedies, both recorded, over the run of station 7: `beta`, which charges it for every token to which it now gives another chance than it did before the training, and a second reward that pays for real words. **Which one keeps the sentences?**
    """,
        remedy,
    )
    return attempt, remedy, seeds


@app.cell(hide_code=True)
def _(opened, remedy, seeds, station):
    mo.stop(not remedy.value, mo.md("*Guess, then choose one.*"))
    _held, _blind = station.runs[remedy.value], station.recorded
    _watch = [CURVES[_each] for _each in ("length", "entropy", "words", "kl")]
    _measures = {"tokens off the target": (".1f",), "real words": (".0%",), "perplexity": (",.0f", True)}
    _dots = [
        cards.dot_rows(_title, {_name: _all[: seeds.value] for _name, _all in _runs.items()}, *_measures[_title])
        for _title, _runs in opened.numbers("length_seeds")["runs"].items()
    ]
    lesson.show(
        curves({remedy.value: _held, "beta = 0": _blind}, watch=_watch),
        cards.text_table(["held-out request", "beta = 0", remedy.value], _blind.after.texts(_held.after)[:4]),
        f'<p class="note">{_held.label}</p>',
        """
    A second reward sees what it was told to see: nearly all words are real again, and a row of real words is not yet a sentence. `beta` knows nothing of words or sentences; it holds the model near one that does. It is no free cure: the texts have grown alike (entropy falls; most begin the same way), as what the model liked best at the start is cheapest to keep. And it takes time: the model before the training is asked about every token, too.

    **Do they cost precision?** A dot is one training, with a seed of its own (0 to 4; station 7 has the last); the number is their median. **Decide by the first seed. Then look at more.**
    """,
        seeds,
        *_dots,
        """
    (*Perplexity* is how surprised the model **before** the training is by a text: 2 means, as by a coin toss at every token; 15,000, as by a lottery. Its line goes by factors.)
    """,
        lesson.fold(
            "What there is to see",
            "By the first seed alone, both remedies make the length *more* precise. They do not: that seed was bad luck for the run without them. **Believe a gap between two settings that is larger than the gaps between their seeds.** Real words have one here; perplexity has one for `beta` only; precision has none.",
        ),
    )
    return


@app.cell(hide_code=True)
def _(attempt):
    _text = attempt.value[:2000]
    _ids = [pocket.tokens(_text)]
    _lengths = {"distance to 20": LengthReward(20), "longer is better": ShapedLength(20, "longer is better")}
    _judges = _lengths | {"real words": vocabulary_reward}
    _scores = [_judge(completions=[_text], completion_ids=_ids)[0] for _judge in _judges.values()]
    _won = "**You have it: 0 and 1 at once.** Would anybody read it?" if _scores[::2] == [0, 1] else None
    lesson.show(
        "**Break it.** Be the model: **earn as much as you can with a text that nobody would want to read.**",
        attempt,
        "Can you have 0 and 1 at once? Try: one word, many times · the letter a, 19 times · real words without sense · an essay · nothing at all",
        cards.marks_table([f"your text, {len(_ids[0])} tokens", *_judges], [(_text, _scores)]),
        _won,
    )
    return


@app.cell(hide_code=True)
def _():
    failure = mo.ui.radio(FAILURES, inline=True, label="The run")
    lesson.show(
        """
    ## 10 · Runs that fail

    Three trainings that went wrong, with rewards of station 3. Dashed is the one that works. **Before you choose one: where will its length go?**
    """,
        failure,
    )
    return (failure,)


@app.cell(hide_code=True)
def _(failure, station):
    mo.stop(not failure.value, mo.md("*Guess, then choose a run.*"))
    _run = station.runs[failure.value]
    _watch = [replace(CURVES[_each], goal=None) for _each in ("reward", "length", "cut off", "ended", "dead", "update")]
    _said = {
        "longer is better": """**No summit, so the cut-off is the summit.** Every text runs into `max_completion_length` and is cut off there (`clipped_ratio` 1): the model has unlearnt to end. Then all texts of a group are equally long, every group is dead, and the run has nothing left to learn. With a limit of 1,000 tokens it would have cost sixteen times as much.""",
        "longer, cut-off texts left out": """**The same with `mask_truncated_completions=True`.** Cut-off texts no longer count in the update. While some texts still end, those are all that is learnt from; when everything is cut off, loss and gradient are 0, and the logged reward looks as fine as ever. Leaving them out is right for long thoughts that were only cut short; it is no remedy for a reward without a summit.""",
        "signed": """**The summit is an empty text.** Nothing wrong with the learning: it found what was paid for, fast. A length near 1 is the end token alone. A reward above 0 that rises while the texts vanish: read the texts, not only the curve. (All rewards are equal in the end, and `frac_reward_zero_std` says 0 all the same: a computer's 0.95 is rounded, so the spread is a hair above nothing. `grad_norm` 0 does not lie. It is logged before it is cut to `max_grad_norm`.)""",
    }
    lesson.show(
        curves({failure.value: _run, "distance": station.recorded}, watch=_watch),
        cards.text_table(["held-out request", "text after"], _run.after.texts()[:2]),
        f'<p class="note">{_run.label}</p>',
        mo.md(_said[failure.value]),
        """
    | what you see | what it says | what to do |
    |:---|:---|:---|
    | `reward` flat, `frac_reward_zero_std` 1 from the first step | all rewards equal: is it `len` of a conversation, which is 1? | count `completion_ids` |
    | `clipped_ratio` → 1; `mean_terminated_length`, of the texts that ended by themselves, → 0 | everything is cut off | a reward with a summit; a larger limit |
    | `entropy` rises while `reward` rises | the reward does not look at the content | `beta`, or a second reward; read the texts |
    | length → 1 | being short is paid for | look at the sign |
    """,
    )
    return


@app.cell(hide_code=True)
def _(station):
    _real, _zero = (station.runs[_name] for _name in (lesson.REAL, f"{lesson.REAL}, no example"))
    _off = [_each.length_error(20) for _each in (_real.before, _real.after)]
    _perplexity = [f"{math.exp(-_each.mean('reference_logprob')):.0f}" for _each in (_real.before, _real.after)]
    _watch = [CURVES[_each] for _each in ("reward", "length", "entropy", "dead")]
    lesson.show(
        f"""
    ## 11 · A real model

    **SmolLM2-135M-Instruct** is a hundred and fifty times as large and writes of everything, at length. Asked as the pocket model is, it runs into the limit in {_zero.metrics[0]["completions/clipped_ratio"]:.0%} of its texts: all too long, all worth −1, {word("dead", "dead groups")}. Dashed below: that run. (Look at its second step: a few texts that end in time wake half of the groups, and the run begins to work itself free.) Solid: the same with **one example** of a short text in the prompt, where every group is alive from the start. Its {word("held-out")} texts are off by {_off[0]:.0f} tokens before and {_off[1]:.1f} after {_real.steps_done} steps.
    """,
        curves({"one example": _real, "no example": _zero}, watch=_watch),
        cards.text_table(["held-out request", "before", "after"], _real.before.texts(_real.after)[:4]),
        f'<p class="note">{_real.label}</p>',
        f"""
    And its sentences? `beta` is 0 here, too, and so far they hold, though they begin to stray: the perplexity goes from {_perplexity[0]} to {_perplexity[1]}, not to thousands. A real model has many ways to write a sentence of twenty tokens, and finds them within ten steps. Train longer, or with a larger learning rate: what becomes of them then?

    To see it live, open the lesson on a machine of your own (`marimo edit`), choose **smollm2-135m** in station 6, untick or tick *one example in the prompt*, and train: some minutes on a laptop, faster on a GPU.
    """,
    )
    return


@app.cell(hide_code=True)
def _(opened, station):
    _models = {
        "pocket (ships with the course)": str(pocket.PATH),
        "SmolLM2-135M-Instruct (Hub)": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "Qwen2.5-0.5B-Instruct (Hub, a GPU)": "Qwen/Qwen2.5-0.5B-Instruct",
    }
    _texts = ["made here", "mlabonne/smoltldr (Hub)"]
    _offered = 1 if opened.models == ("pocket",) else None
    which_model = mo.ui.dropdown(dict([*_models.items()][:_offered]), value=next(iter(_models)), label="model")
    which_texts = mo.ui.dropdown(_texts[:_offered], value=_texts[0], label="texts")

    def _summaries(progress):  # when it is pressed: what is chosen then
        from datasets import Dataset, load_dataset

        found = which_texts.value.partition(" ")[0]
        rows = Dataset.from_list(posts(256)) if found == "made" else load_dataset(found, split="train")
        rate = {str(pocket.PATH): 5e-3, "HuggingFaceTB/SmolLM2-135M-Instruct": 3e-4}.get(which_model.value, 5e-5)
        return train_summaries(which_model.value, rows, rate, 20, callbacks=[progress])

    get_summaries, run_summaries = station.aside(_summaries, "Run the exercise")
    mo.md("""
    ## 12 · The whole thing in plain TRL

    A well-known exercise, right for TRL 1.16: a length reward with a target of 50 tokens, on a set of texts to be summarised, with LoRA. It runs as it stands, with the model of your choice.
    """)
    return get_summaries, run_summaries, which_model, which_texts


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
        learning_rate=learning_rate,  # for LoRA, see station 6
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
def _(get_summaries, run_summaries, station, which_model, which_texts):
    _told = "Twenty steps, half a minute with the pocket model."
    station.show_aside(train_summaries, [which_model, which_texts, run_summaries], get_summaries(), _told)
    return


@app.cell(hide_code=True)
def _(station):
    exercises, get_tries = station.exercises(
        my_length_reward, prompts_in_a_step, my_combined_reward, trained=my_length_reward
    )
    _words = f"""
    ## 13 · Three exercises

    {exercises.where}

    **One: a length reward of your own.** A completion of 30 tokens earns 0. Each token more or less costs 1/30. No completion earns less than −1.
    """
    exercises.ask(my_length_reward, _words)
    return exercises, get_tries


@app.function
def my_length_reward(completions, completion_ids):
    return [abs(30 - len(completion)) / 30 for completion in completions]


@app.cell(hide_code=True)
def _(exercises, get_report, get_tries, station):
    _words = "**Two: how many prompts?** `per_device_train_batch_size` counts completions. How many *different prompts* does one optimizer step draw?"
    _asked = exercises.ask(prompts_in_a_step, _words)
    lesson.show(exercises.verdict(my_length_reward, get_tries()), station.show_own(get_report()), _asked)
    return


@app.function
def prompts_in_a_step(batch_size, accumulation, processes, group_size):
    return batch_size


@app.cell(hide_code=True)
def _(exercises, get_tries):
    _words = """
    **Three: a reward that sees both.** `length` is a text's distance reward (0 is best, −1 worst), `words` its share of real words. Return one number, so that a readable text a little off the target beats nonsense right on it, and of two readable texts the nearer one wins.
    """
    lesson.show(exercises.verdict(prompts_in_a_step, get_tries()), exercises.ask(my_combined_reward, _words))
    return


@app.function
def my_combined_reward(length, words):
    return length


@app.cell(hide_code=True)
def _(exercises, get_tries, keep, station):
    lesson.show(
        exercises.verdict(my_combined_reward, get_tries(), lesson.prefers),
        """
    ## 14 · Keep it

    What a session leaves is a small adapter on top of the model: a few per cent of its weights (3.6 % for SmolLM2). **Save it**, then try what can be done with it; the code that runs is the code you see.
    """,
        station.keep(keep),
    )
    return


@app.cell(hide_code=True)
def _(asked, keep, opened, station):
    lesson.show(
        station.kept(keep, asked),
        f"""
    ## What you now know

    A group turns numbers into pushes; only differences within it count; and a model learns what is paid for, down to the unit in which you count. What a reward does not see is not protected. But what if it asks for *too much* at once, and the model never earns a thing?

    **Next: {opened.link("format")}**, *teach a model a format*: rewards of 0 or 1, dead groups, and what a tutorial's regular expression pays for. Then {opened.link("math")}, where only the answer is rewarded, and thinking appears.

    *Sources:* GRPO, [DeepSeekMath](https://arxiv.org/abs/2402.03300) · no division by the spread, [Dr. GRPO](https://arxiv.org/abs/2503.20783) · leaving out what is cut off, [DAPO](https://arxiv.org/abs/2503.14476) · the KL estimate, [J. Schulman](http://joschu.net/blog/kl-approx.html) · [TRL's GRPOTrainer](https://huggingface.co/docs/trl/grpo_trainer)
    """,
    )
    return


@app.cell(hide_code=True)
def _(get_at, get_ended, station):
    scrub, step = station.scrub(get_at()), station.steps(get_ended())
    return scrub, step


@app.cell(hide_code=True)
def _():
    PROMPT = "Write about the sea."
    TEXTS = [  # the running example: four texts of the pocket model
        "Dark and bright.",
        "The sea is dark and wild.",
        "The busy sea never looks the same twice. You can look at the sea.",
        "At night the sea lies under a grey sky. The sea is cold. The sea is wild. We all come back to the sea.",
    ]

    def GROUP(reward):  # the running example, scored
        return scored(TEXTS, reward, completion_ids=[pocket.tokens(text) for text in TEXTS])

    def watch(run):  # the curves of the station; the line of the length's target is the run's own
        goal = length_target(run.rewards)
        length = Curve(LENGTH, "length ± spread (tokens)", spread="completions/std_length", goal=goal)
        shown = CURVES | {"length": length}
        return [shown[name] for name in ("reward", "length", "words", "entropy", "cut off", "dead", "kl")]

    pushed = lesson.Pushed(PROMPT, GROUP(LengthReward(20)))
    alive = lesson.Alive(
        PROMPT,
        lambda texts, ids: scored(texts, LengthReward(20), completion_ids=ids),
        learning_rate=3e-3,
        max_completion_length=64,
    )
    once, live, weighed = pushed.button(), alive.button(), lesson.Weighed([TEXTS[0], TEXTS[3]])
    stage = mo.ui.slider(1, len(cards.STAGES), show_value=True, label="stage of the loop")
    _hairs, _says = [0, 0.00001, 0.0001, 0.001, 0.01, 0.1, 1], "the first text of group A earns more by"
    hair = mo.ui.slider(steps=_hairs, value=0.01, show_value=True, label=_says)
    scale = mo.ui.radio(["group", "batch", "none"], value="group", inline=True, label="`scale_rewards`")
    return GROUP, PROMPT, TEXTS, alive, hair, live, once, pushed, scale, stage, watch, weighed


@app.function(hide_code=True)
def length_reward_of(shape, target):
    """The reward of one of the SHAPES, for a target in tokens."""
    return LengthReward(target) if shape == "distance" else ShapedLength(target, shape)


@app.function(hide_code=True)
def plan(settings, target=20, shape="distance", second="none", mask=False, example=None):
    """The training of station 6; the words of a real model are not those of the pocket model's corpus, and not counted."""
    pocket = is_pocket(settings.model)
    example = not pocket if example is None else example
    reward = length_reward_of(shape, target)

    def prompts(n, split):
        shown = "The lighthouse blinks over the dark water and calls the ships home."
        rows = texts(n, split=split)
        return with_example(rows, "Write about the lighthouse.", shown) if example else rows

    return Plan(
        settings=replace(settings, mask_truncated_completions=mask),
        rewards=[reward, *([vocabulary_reward] if second != "none" else [])],
        prompts=prompts(512, "train"),
        held_out=prompts(88 if pocket else 33, "held-out"),
        judges=[reward, *([vocabulary_reward] if pocket else []), ReferenceLogProb(settings.model)],
        choices={"target": target, "shape": shape, "second": second, "mask": mask, "example": example},
    )


@app.cell(hide_code=True)
def _(watch):
    opened = lesson.Opened.now("length")
    _runs = {
        "beta = 0": "length_learns",
        "beta = 0.1": "length_held",
        "a second reward": "length_words",
        "longer is better": "length_longer",
        "longer, cut-off texts left out": "length_longer_masked",
        "signed": "length_signed",
        lesson.REAL: "length_smollm2",
        f"{lesson.REAL}, no example": "length_smollm2_zero",
    }
    station = lesson.Station(opened, DEFAULT, _runs, watch)
    ask = station.tryout("Write about the sea.", "length_learns")
    load, keep = ask.button(), station.keep_menu()
    get_report, get_ended, get_busy, get_cost, get_suited, get_at, get_drawing = station.states
    return ask, get_at, get_busy, get_cost, get_drawing, get_ended, get_report, get_suited, keep, load, opened, station


@app.cell(hide_code=True)
def _(get_suited, menu, station):
    _words = ["none", "share of real words"]
    chosen = station.controls(
        menu.value,
        get_suited(),
        target=lambda ask, model: ask.number("target", 4, 50, 20, "target (tokens)"),
        shape=lambda ask, model: ask.choice("shape", SHAPES, "distance"),
        second=lambda ask, model: ask.choice("second", _words, "none", "second reward") if is_pocket(model) else None,
        mask=lambda ask, model: ask.box("mask", False, "leave cut-off texts out (mask_truncated_completions)"),
    )
    return (chosen,)


@app.cell(hide_code=True)
def _(asked, get_busy, station):
    buttons = station.buttons(get_busy(), asked)
    return (buttons,)


@app.cell(hide_code=True)
def _(chosen, menu, station):
    batch = station.batch(menu.value, chosen.value["group_size"])
    return (batch,)


@app.cell(hide_code=True)
def _(menu, opened, station, words):
    station.measure(plan, menu.value, words)
    lesson.furniture(opened)
    return


if __name__ == "__main__":
    app.run()
