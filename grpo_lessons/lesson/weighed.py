"""What a token weighs: the losses of TRL on one group, and the same replies used more than once, with what clipping holds back."""

from collections.abc import Sequence

import marimo as mo

from grpo_lessons import cards, pocket
from grpo_lessons.curves import histograms
from grpo_lessons.groups import advantages
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.questions import Question
from grpo_lessons.lesson.words import row, show
from grpo_lessons.losses import LOSSES, token_weights

LIMIT = 64  # max_completion_length of the length lesson

# What there is to see; tests/test_losses.py holds each sentence against the weights.
SAID = {
    "grpo": "**Each reply weighs the same, and its tokens share it.** A token of the long reply is pushed six times more gently. If the long one is the worse, it is hardly punished token by token, and wrong replies are free to grow; if the short one is the better, brevity pays. That is the *length bias* that dr_grpo and dapo were made to mend.",
    "dr_grpo": '**Each token weighs the same, and always as much:** the divisor is the limit, not what was written. No bias by length, within a step or between steps; but the gradient shrinks with the limit. Double `max_completion_length`, and each weight is halved, though no reply has changed. (The other half of Dr. GRPO is `scale_rewards="none"`.)',
    "dapo": "**TRL's default: each token of a step weighs the same.** So a reply has the more say, the longer it is. One token that has moved too far is clipped: beyond a ratio of 1.2, or below 0.8 where the push is down, it weighs nothing; the others go on as before.",
    "bnpo": "**Divided by the tokens of its batch.** If a step is one batch, that is dapo. Here each reply came in a batch of its own (two of one reply, accumulated), and it is grpo, with its bias: what a token weighs depends on which replies happen to lie beside it in memory.",
    "cispo": "**As dapo while the ratio is 1. Then nobody is silenced:** a token that has moved weighs its ratio, up to a ceiling of 5, and goes on learning where dapo drops it. Its authors saw that what was dropped were the rare words on which a thought turns (*however*, *wait*). TRL takes `epsilon_high` for the ceiling itself: left at its default, it is 0.2, and each push is a fifth of what it should be.",
    "gspo": "**As grpo while the ratio is 1, with its bias. Then a reply stands or falls as a whole:** its ratio is the geometric mean of those of its tokens, and the clip is narrow. One token that moved far enough silences all of its reply; as grpo clips, it would silence itself alone.",
}
REUSED = {
    "1": "**One update, then new replies.** Each update meets replies of the very model that it changes: every ratio is exactly 1, and clipping has nothing to do. That is TRL's default, and how all trainings of this course are run.",
    "4": "**Four updates from the same replies.** At the first, every ratio is 1. At the fourth, {outside:.0%} of the tokens are more than a fifth likelier or less likely than when they were sampled, and {clipped:.0%} are clipped (`clip_ratio`): those that have gone so far *the way they are pushed*. Those that strayed the other way, outside the shade, are not held back: the push brings them home.",
    "4, never clipped": "**The same with `epsilon=1000`: what clipping holds back.** At the fourth update {lost:,} of {tokens:,} tokens have less than a twelfth of the chance at which they were sampled, and {betrayed} of those were to become *likelier*: all tokens share the model's weights, and nothing tells a push that it has done its work. With clipping: {kept}.",
}


STATION = 4  # where it is asked
ASKED = 'One prompt, two replies: a short one, which is the better, and one of nearly six times as many tokens, the worse. Their advantages are +0.71 and −0.71. The loss of the first GRPO paper, `loss_type="grpo"`, divides each reply\'s push by its own length. Which tokens are pushed hardest?'
OPTIONS = RIGHT, *_ = "Those of the short reply", "Those of the long reply", "All of them alike"


class Weighed:
    """What the tokens of a short and a long reply weigh under each loss, for a lesson to ask about and to show.

    Args:
        texts: of the two replies, the shorter one first.
        moved: the place of the token of the short reply whose ratio can be changed.
    """

    def __init__(self, texts: Sequence[str], moved: int = 3):
        self.tokens, self.moved = [pocket.tokens(text) for text in texts], moved
        self.lengths = [len(each) for each in self.tokens]

    def weights(self, loss: str, better: str = "short", ratio: float = 1.0) -> list[list[float]]:
        """What each token weighs, as `token_weights` has it; `ratio`: that of the token that moved."""
        ratios = [[1.0] * length for length in self.lengths]
        ratios[0][self.moved] = ratio
        pushes = advantages([[better == "short", better == "long"]])[0]
        return token_weights(self.lengths, pushes, ratios=ratios, max_completion_length=LIMIT, **LOSSES[loss])

    def elements(self, opened: Opened) -> tuple[Question, mo.ui.dictionary, mo.ui.radio]:
        """The question, the controls of `show`, and the switch of `show_reused`. In marimo they must be variables of the notebook."""
        short, long = self.lengths
        question = Question(
            opened,
            ASKED,
            {
                RIGHT: f"As wholes both replies are pushed alike. Here {short} tokens share the push, there {long}: each token of the long, worse reply is punished {long / short:.0f} times more gently than one of the short reply is praised.",
                OPTIONS[
                    1
                ]: f"It has more tokens, but no larger push: {long} tokens share what {short} share in the short one.",
                OPTIONS[
                    2
                ]: f"The *replies* are pushed alike, as wholes. Then {short} tokens share the push here, {long} there.",
            },
            right=RIGHT,
        )
        steps = [0.3, 0.5, 0.7, 1, 1.1, 1.5, 2, 3, 8]
        ratio = mo.ui.slider(steps=steps, value=1, show_value=True, label="ratio of the outlined token")
        better = mo.ui.radio(["short", "long"], value="short", inline=True, label="the better reply")
        controls = {"loss": mo.ui.dropdown(list(LOSSES), value="grpo", label="loss"), "better": better, "ratio": ratio}
        switch = mo.ui.radio(list(REUSED), value="1", inline=True, label="`num_iterations`")
        return question, mo.ui.dictionary(controls), switch

    def show(self, question: Question, controls: mo.ui.dictionary) -> mo.Html:
        """The question; then the group under the chosen loss, what there is to see, and the formula."""
        loss, better, ratio = controls.value["loss"], controls.value["better"], controls.value["ratio"]
        weights = self.weights(loss, better, ratio)
        usual = [weight for name in LOSSES for reply in self.weights(name, better) for weight in reply]
        tallest = max(map(abs, [*usual, *weights[0], *weights[1]]))
        pushes = advantages([[better == "short", better == "long"]])[0]
        short, long = (
            f'<p class="facts"><b>the {name} reply</b>{_fact("advantage", cards.push(advantage))}'
            f"{_fact('together', cards.signed(sum(reply)))}{_fact('a token', _weight(reply[0]))}"
            for name, reply, advantage in zip(("short", "long"), weights, pushes, strict=True)
        )
        if ratio != 1:
            short += _fact("the outlined one", _weight(weights[0][self.moved]))
        drawn = (
            f"{short}</p>{cards.weighed(self.tokens[0], weights[0], tallest, self.moved)}"
            f"{long}</p>{cards.weighed(self.tokens[1], weights[1], tallest)}"
        )
        written = ", ".join(f"{name}={value!r}" for name, value in LOSSES[loss].items())
        return show(
            "**What a token weighs.** An advantage belongs to a reply, a push to a token: the *loss* says how the one becomes the other.",
            question,
            question.then(
                "The height of a bar is what its token weighs in the update. **Go through the losses. Then swap the replies; then let a token have moved: what becomes of it, and of its neighbours?**",
                row(*controls.elements.values()),
                f"`GRPOConfig({written})`",
                drawn,
                SAID[loss],
                FORMULA,
            ),
        )

    def show_reused(self, opened: Opened, switch: mo.ui.radio) -> mo.Html:
        """How far the tokens of a real batch have moved, update by update, by how often its replies are used."""
        said = opened.numbers("ratios")
        updates = said["runs"][switch.value]
        by = said["provenance"]
        return show(
            "**The same replies again.** Sampling takes time: with `num_iterations=4` a batch of replies serves for four updates. From the second on, they are replies of a model that is no more. A token's *ratio* says how many times as likely it is by now as when it was sampled. **After three such updates: how many tokens have moved by a fifth and more?**",
            switch,
            histograms(updates, said["bin"]),
            f'<p class="note">The first four updates of this lesson\'s training, with TRL {by["trl"]} on {by["hardware"]}, {by["date"]}: the ratios of all tokens, those pushed up above the line, those pushed down below it. Shaded: clipped, where <code>epsilon</code> is 0.2. The height is the root of the share.</p>',
            REUSED[switch.value].format(**measured(said)),
            r"""
    What the clip allows is in the objective that is made as large as can be, for each token (PPO, [eq. 7](https://arxiv.org/abs/1707.06347)): the smaller of $\rho A$ and $\mathrm{clip}(\rho,\ 1-\varepsilon,\ 1+\varepsilon)\,A$, with $\rho = \pi / \pi_\mathrm{old}$, the ratio, and $\varepsilon = 0.2$. Where the second is the smaller one, it is flat: no slope, no push.
    """,
        )


def _fact(name: str, value: str) -> str:
    return f'<span><span class="name">{name}</span> <b>{value}</b></span>'


def _weight(weight: float) -> str:
    return cards.minus(f"{weight:+.4f}") if weight else "0"


def measured(said: dict) -> dict[str, float]:
    """The numbers of `REUSED`, at the fourth update of each run of `ratios.json`."""
    held, free = (said["runs"][name][-1] for name in ("4", "4, never clipped"))
    low, high = round(0.8 / said["bin"]), round(1.2 / said["bin"])
    outside = sum(sum(held[way][:low]) + sum(held[way][high:]) for way in ("up", "down"))
    return {
        "outside": outside / held["tokens"],
        "clipped": held["clip_ratio"],
        "tokens": free["tokens"],
        "lost": free["up"][0] + free["down"][0],  # the first bin ends at 0.08, a hair under a twelfth
        "betrayed": free["up"][0],
        "kept": (held["up"][0] + held["down"][0]) or "none",
    }


FORMULA = r"""
    One formula holds for all: the gradient is $-\sum_i \sum_t w_{i,t}\, \nabla \log \pi(y_{i,t})$, and token $t$ of reply $i$ weighs

    $$w_{i,t} = \frac{c_{i,t}\, A_i}{Z_i}$$

    | loss | $Z$, which shares the push out | $c$, what becomes of the ratio $\rho = \pi / \pi_\mathrm{old}$ |
    |:---|:---|:---|
    | grpo, [DeepSeekMath](https://arxiv.org/abs/2402.03300) | replies of the step × tokens of the reply | $\rho$; 0 where clipped |
    | dr_grpo, [Dr. GRPO](https://arxiv.org/abs/2503.20783) | replies of the step × `max_completion_length` | $\rho$; 0 where clipped |
    | dapo, [DAPO](https://arxiv.org/abs/2503.14476) | tokens of the step | $\rho$; 0 where clipped |
    | bnpo, TRL's | batches × tokens of its batch | $\rho$; 0 where clipped |
    | cispo, [MiniMax-M1](https://arxiv.org/abs/2506.13585) | tokens of the step | $\min(\rho, \varepsilon_\mathrm{high})$ |
    | gspo, [GSPO](https://arxiv.org/abs/2507.18071) | replies of the step × tokens of the reply | the reply's one $\rho$; 0 where clipped |

    (`grpo_lessons.losses.token_weights` is this table as a function, equal to the gradients of TRL 1.16's own losses.)
    """
