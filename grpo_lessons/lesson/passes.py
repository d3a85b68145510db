"""Sharpened, or learnt? The question, and what recorded trainings of two models answer."""

import marimo as mo

from grpo_lessons import passes
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.questions import Question
from grpo_lessons.lesson.words import fold, show
from grpo_lessons.passes import Passes
from grpo_lessons.text import counted

RECORDED = {  # files of `notebooks/public`
    "the pocket model": "math_passes_pocket",
    "SmolLM2-135M": "math_passes_smollm2",
}

LEAD = "**Sharpened, or learnt?** Did the reward teach something that was not there, or make the model surer of what it could do now and then? Ask each held-out question not once but many times, and count how often *one of k tries* is right: **pass@k**. With k = 1 that is the share of right answers. With a large k it is what the model has in it at all."
ASKED = "The pocket model has 32 tries at each question. With one it is right far more often after the training. **And that at least one of 32 is right: how often is that, after it?**"
RIGHT = "No more often: among 32 tries there was a right one before, too"
CHOICES = {
    "Far more often: it has learnt to add": "It could add before, mostly when it thought first; a third of its tries did. Among 32 one of those is nearly always right. There was hardly a question left to be won.",
    RIGHT: "What it half knew, it now does nearly every time. That is worth much: one try is what a user has. But each of these questions it had right among its tries before, too; even the answer that most of them came to was the right one.",
    "Far less often: it has only one answer left": "It is a good deal surer: some three different answers to a question, where there were some twenty. But the right one is among them.",
}
COUNTED = "Of *n* tries at a question *c* are right. Of all ways to choose *k* of them, the share that holds a right one is 1 − C(n − c, k) / C(n, k): an estimate without bias ([Chen et al.](https://arxiv.org/abs/2107.03374)). A curve is its mean over the questions, its band the 95 % interval over them; thin lines are other seeds, where they can be told apart. *Ever right* is the share of questions with a right reply among all tries, *most given* that of those to which most tries came to the right answer (maj@n)."
SO = "**So, which of the two?** The pocket model was sharpened: with enough tries it was right everywhere before. SmolLM2 was not only that: some sums that none of its 32 tries got right are right in most tries now, and of a few others it is surer now, and wrong. Yet *never in 32 tries* may be *once in a hundred*. Whether that is learnt, or brought up from far below, only many more tries could tell."
FOUND = "**The literature is divided.** The authors of GRPO saw it in their own model: after the training the answer of the majority was right more often, one right among K tries was not; they take it for right answers that come up from among the likely ones, not for new ability ([DeepSeekMath](https://arxiv.org/abs/2402.03300), 5.2.2). [Yue et al.](https://arxiv.org/abs/2504.13837) looked at many models and tasks: the trained model leads at k = 1, and the untrained one overtakes it when k is in the tens or hundreds. Against that stands [ProRL](https://arxiv.org/abs/2505.24864): a far longer training, with many kinds of tasks, a KL term and a reference that is renewed now and then; there the trained model stays ahead over a wide range of k, also on tasks where the untrained one fails however often it tries. And [Wen et al.](https://arxiv.org/abs/2506.14245) doubt the measure: among many tries some come to a right answer by a wrong way. Ask that the thought be right as well, and the trained models stay ahead."
HERE = "**How far this goes.** SmolLM2 begins elsewhere than in the curves above: these are the first of its questions, with many tries each. Two small models, one kind of sum, trainings of minutes, few questions (wide bands), one seed of SmolLM2. A sum is one short number: of many tries near it, one hits it by luck, and pass@k takes that for ability, most of all in a model that wavers. It says nothing of longer trainings, harder questions, larger models."


def sharper(opened: Opened) -> Question:
    """What is asked first. In marimo it must be a variable of the notebook."""
    return Question(opened, ASKED, CHOICES, right=RIGHT)


def show_sharper(opened: Opened, question: Question) -> mo.Html:
    """The question; behind a choice the curves of pass@k, what they say here, and what others found."""
    found = {name: Passes.from_record(opened.numbers(file)) for name, file in RECORDED.items()}
    drawn = "".join(passes.figure(each, name) for name, each in found.items())
    notes = "".join(f'<p class="note">{_where(each)}</p>' for each in found.values())
    said = [passes.in_words(each, name[0].upper() + name[1:]) for name, each in found.items()]
    counted_so = fold("Every training in numbers, and how they are counted", passes.table(found), COUNTED)
    told = question.then(f'<div class="luck">{drawn}</div>{notes}', *said, SO, counted_so, FOUND, HERE)
    return show(LEAD, question, told)


def _where(found: Passes) -> str:
    """Where a recording was made, in a line."""
    by, seeds = found.about, counted(len(found.after), "training")
    asked = f"{len(found.questions)} held-out questions, {found.n} tries each at temperature 1"
    trained = f"{seeds} of {by['steps']} steps of {by['batch_size']} replies"
    return f"{by['model']} · {asked} · {trained} · {by['hardware']}, TRL {by['trl']} · {by['date']}"
