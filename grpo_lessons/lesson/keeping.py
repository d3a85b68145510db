"""What can be done with a trained model, as code that is shown and run."""

import re
import shlex
import warnings
from collections.abc import Callable

import marimo as mo

from grpo_lessons import here
from grpo_lessons.lesson.opened import Opened
from grpo_lessons.lesson.practice import source
from grpo_lessons.lesson.words import failed, good, row, show, warn
from grpo_lessons.runs import Run
from grpo_lessons.training import Plan, Trained, explain, keep

CHOICES = {
    "save the adapter": [keep.save],
    "load it in a new process and ask": [keep.load, keep.ask],
    "merge it into the model": [keep.merge],
    "push it to the Hub": [keep.push],
    "write a folder for many GPUs": [keep.hand_over],
}

SERVED = """To serve it, on a machine that has these programs: the course brings none of them. The converter and llama.cpp we have \
tried, with a merged SmolLM2: asked three questions, it answered word for word as the folder does. vLLM and Ollama we have not tried."""

NOT_SERVED = """They are for a real model. The converter takes only tokenizers that it knows, and the pocket model's is the course's own: \
there it stops with *BPE pre-tokenizer was not recognized*.

For SmolLM2 in Ollama, add to the Modelfile `SYSTEM You are a helpful AI assistant named SmolLM, trained by Hugging Face`. SmolLM2's chat \
template puts this before every question. Ollama, as we read its source, takes a template of its own instead, which does not; and \
asked without it, the model we tried had lost its format."""


def keep_menu() -> mo.ui.dictionary:
    """What can be done, a name for the Hub, and the button that does it. In marimo it must be a variable of the notebook."""
    what = mo.ui.radio(list(CHOICES), value="save the adapter", label="What to do")
    name = mo.ui.text(value="you/my-model", max_length=100, label="name on the Hub")
    return mo.ui.dictionary({"what": what, "name": name, "run": mo.ui.run_button(label="Run this code")})


def show_keeping(opened: Opened, menu: mo.ui.dictionary) -> mo.Html:
    """The choice, its code, and its button; on a server only the code."""
    what = menu.value["what"]
    shown = [menu["what"], source(*CHOICES[what])]
    if not opened.is_own:
        return show(*shown, "*Open this lesson with `marimo edit` to run it.*")
    return show(*shown, row(*[menu["name"]] if keep.push in CHOICES[what] else [], menu["run"]))


def kept(
    opened: Opened, menu: mo.ui.dictionary, trained: Callable[[], Trained | None], plan: Plan, last: Run | None = None
) -> mo.Html | None:
    """When the button is pressed: what came of it, or why it could not be done.

    `last`: the reader's last training, whose weights may be gone.
    """
    if not menu.value["run"] or not opened.is_own:
        return None
    what = CHOICES[menu.value["what"]]
    done = _do(what, menu.value["name"].strip(), opened, trained, plan, last)
    return show(_another(opened, last), done) if {keep.load, keep.merge, keep.push} & {*what} else done


def _another(opened: Opened, last: Run | None) -> mo.Html | None:
    """Which training the saved adapter is of, where that is not the reader's last one."""
    try:
        saved = Run.load(opened.folder / "adapter/run.json")
    except (OSError, ValueError):
        return None
    if last is None or _same(saved, last):
        return None
    return warn(
        f"The adapter that is saved is not of your last training ({last.label}), but of one before it: {saved.label}. "
        "*Save the adapter* puts the last one in its place."
    )


def _same(a: Run, b: Run) -> bool:
    """Whether two records are of one training: no two take the same seconds."""
    one, other = (Run(each.settings, metrics=each.metrics).to_json() for each in (a, b))
    return one == other


def _do(
    what: list, name: str, opened: Opened, trained: Callable[[], Trained | None], plan: Plan, last: Run | None
) -> mo.Html:
    folder = opened.folder
    try:
        if keep.hand_over in what:
            return good(_handed_over(plan, opened))
        if keep.save in what:
            if (model := trained()) is None and last:
                return warn(
                    f"What your last training learnt ({last.label}) has gone with the server that trained it: it was not saved. "
                    "Press Train, then save."
                )
            if model is None:
                return warn("There is nothing to save yet: press Train, and wait until it has finished.")
            saved = keep.save(model, folder)
            return good(f"Saved: `{saved}`, with tokenizer, card and the run's record ({model.run.label}).")
        if not (folder / "adapter").exists():
            return warn(f"There is no adapter in `{folder}` yet: save it first.")
        if keep.push in what:
            try:
                return good(f"Pushed: {keep.push(folder, name)}")
            except Exception as error:  # whatever the network or the Hub may do
                return warn(keep.not_pushed(error))
        if keep.merge in what:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of one library to another: no reader can mend it
                merged = keep.merge(folder)
            return show(
                good(
                    f"Merged: `{merged}`. It loads like any model; name this folder in the configuration to train on."
                ),
                f"{SERVED}\n\n```bash\n{keep.elsewhere(merged)}\n```\n\n{NOT_SERVED}",
            )
        asked = plan.prompts[0]["prompt"]
        with mo.status.spinner("Asking in a new process, which loads torch first", remove_on_exit=True):
            said = keep.ask_anew(folder, asked)
        return good(f"Asked in a new process:\n\n> {_quoted(asked[-1]['content'])}\n\n`{_quoted(said)}`")
    except Exception as error:  # a full disk, a damaged file: the reader must be told, whatever it is
        return failed(explain(error))


def _handed_over(plan: Plan, opened: Opened) -> str:
    place, name = opened.folder.parents[1], "/".join(opened.folder.parts[-2:])
    if place != here.NOTEBOOKS.parent:  # GRPO_LESSONS_RUNS, or an installed course: nothing of it lies there
        place, name = opened.folder, "."
    command = keep.hand_over(plan, place, name)
    return (
        f"Written: `{opened.folder}`. The same training, in the environment of this course, on one device:\n\n"
        f"```bash\ncd {shlex.quote(str(place))}\n{command}\n```\n\nIts `README.md` has the commands for more."
    )


def _quoted(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("`", "'")
