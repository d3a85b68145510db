"""Record the runs that the lessons show before Train is pressed: `python -m notebooks.record [NAME …]` (minutes each).

They are real runs with the lessons' own settings; each file says on what hardware and when it was recorded. Without
names all are recorded. A run of `ADAPTERS` also leaves its adapter, for a visitor to try in the page (see `lesson.tryout`).
`python -m notebooks.record outputs` (seconds; after every change of a notebook) leaves what each notebook shows in
`__marimo__/session`, where those look who show a notebook without running it: molab, and marimo's links to GitHub.
"""

import asyncio
import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from grpo_lessons import chasing
from grpo_lessons.calling import evaluated
from grpo_lessons.groups import scored
from grpo_lessons.lesson import chase, luck
from grpo_lessons.lesson.in_browser import carried_out, course
from grpo_lessons.lesson.many import short_plans
from grpo_lessons.luck import Outcome
from grpo_lessons.replies import final_answer
from grpo_lessons.rewards import LengthReward, answer_reward, format_reward
from grpo_lessons.runs import Completion, Run
from grpo_lessons.text import question
from grpo_lessons.training import SMOLLM2, Plan, Settings, Trained, Watch, exchange, is_pocket, train
from grpo_lessons.training.machine import provenance
from notebooks import grpo_format, grpo_length, grpo_math, grpo_own

FOLDER = Path(__file__).parent / "public"


def _plan(lesson, model: str = "pocket", settings: dict | None = None, **choices) -> Plan:
    settings = replace(lesson.DEFAULT[model], **settings or {})
    return replace(lesson.plan(settings, **choices), sample_every=1 + settings.steps // 30)


_length, _math, _format = (partial(_plan, lesson) for lesson in (grpo_length, grpo_math, grpo_format))


def _own(asks: str) -> Plan:
    return grpo_own.of_example(grpo_own.DEFAULT["pocket"], asks)


RUNS = {  # the name of the file: what is recorded in it
    "length_learns": _length(),
    "length_held": _length(settings={"beta": 0.1}),
    "length_words": _length(settings={"seed": 3}, second="share of real words"),  # by perplexity the middle one of five
    "length_longer": _length(shape="longer is better"),
    "length_longer_masked": _length(shape="longer is better", mask=True),
    "length_signed": _length(shape="signed"),
    "length_smollm2": _length(SMOLLM2),
    "length_smollm2_zero": _length(SMOLLM2, {"steps": 4}, example=False),
    "math_learns": _math(),
    "math_too_hard": _math(difficulty="four numbers"),
    "math_too_easy": _math(tolerance=100),
    "math_generous": _math(tolerance=20),
    "math_smollm2": _math(SMOLLM2),
    "math_smollm2_zero": _math(SMOLLM2, {"steps": 4}, example=False),
    "format_learns": _format(),
    "format_unheld": _format(settings={"beta": 0.0}),
    "format_never_earned": _format(format="code / explanation"),
    "format_warm": _format(format="think / boxed", warm_start=True),
    "format_smollm2": _format(SMOLLM2),
    "format_smollm2_zero": _format(SMOLLM2, {"steps": 4}, example=False),
    "own_learns": _own("question"),
    "own_words": _own("problem"),
}

ADAPTERS = tuple(
    name
    for name, plan in RUNS.items()
    if name.endswith("_learns") and is_pocket(plan.settings.model) and name != "own_learns"
)


def one_update(prompt: str, group: Sequence[Completion], settings: Settings, likeliest: int = 5) -> list[list[list]]:
    """What one update from a group does to each token of each completion: [reply][place] of [[text, chance, chance after], …].

    The first is the token that stands there, the others are those that are likeliest there. The loss is that of TRL before
    anything is clipped, the mean over all tokens of minus the advantage times log p (DAPO, equation 8, with a ratio of 1);
    adapter, optimizer and learning rate are those of the settings. It is what `learn` of the page's engine does.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    from grpo_lessons.training import models

    model, tokenizer = models.load("pocket")
    torch.manual_seed(settings.seed)
    model = get_peft_model(model, LoraConfig(**settings.lora_arguments()))
    asked = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True)[
        "input_ids"
    ]
    replies = [tokenizer(each.text)["input_ids"] + [tokenizer.eos_token_id] for each in group]

    def chances() -> list:
        ids = [torch.tensor([asked + reply]) for reply in replies]
        return [model(each).logits[0, len(asked) - 1 : -1].softmax(-1) for each in ids]

    def log_p(shares, reply):
        return shares.gather(1, torch.tensor(reply)[:, None]).log().sum()

    optimizer = torch.optim.AdamW((w for w in model.parameters() if w.requires_grad), settings.learning_rate)
    before = chances()
    pushes = [each.advantage * log_p(shares, ids) for each, shares, ids in zip(group, before, replies, strict=True)]
    (-sum(pushes) / sum(map(len, replies))).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
    optimizer.step()
    with torch.no_grad():
        after = chances()

    def told(then, now, id) -> list[list]:
        named = [id, *(then + now).topk(likeliest).indices.tolist()]
        chances = ((float(f"{each[i]:.6g}") for each in (then, now)) for i in named)
        return [
            [tokenizer.decode([i], skip_special_tokens=True), *pair] for i, pair in zip(named, chances, strict=True)
        ]

    places = [[*zip(*each, strict=True)] for each in zip(before, after, replies, strict=True)]
    return [[told(*place) for place in reply] for reply in places]


def times(reply: list[list[list]]) -> float:
    """How many times as likely a reply is after the update, by what `one_update` says of its tokens."""
    return round(math.exp(sum(math.log(after / before) for (_, before, after), *_ in reply)), 3)


def running_example(lesson) -> tuple[str, list[Completion]]:
    """The prompt and the four completions of a lesson's picture of the loop."""
    _, defs = lesson.app.run()
    if lesson is grpo_length:
        return defs["PROMPT"], defs["GROUP"](LengthReward(20))
    if lesson is grpo_format:
        return defs["QUESTION"]["think / answer"], scored(defs["REPLIES"]["think / answer"][:4], format_reward)
    return defs["QUESTION"], scored(defs["REPLIES"][:4], answer_reward, answer=[defs["GOLD"]] * 4)


# At the lessons\' own, a first step of AdamW on one group alone goes too far to be read.
SMALL = Settings(learning_rate=3e-4)


def record_updates() -> None:
    """What one small update makes of each lesson's running example, in `updates.json`, and of its tokens, in `pushed.json`."""
    lessons = {"length": grpo_length, "format": grpo_format, "math": grpo_math}
    path = FOLDER / "updates.json"
    if not path.exists():
        path.write_text(json.dumps({name: [] for name in lessons}), encoding="utf-8")  # the pictures ask for it
    examples = {name: running_example(each) for name, each in lessons.items()}
    tokens = {name: one_update(*example, SMALL) for name, example in examples.items()}
    by = {"provenance": provenance("pocket", "ships with the course", "cpu")}
    said = {name: [times(reply) for reply in replies] for name, replies in tokens.items()}
    path.write_text(json.dumps(said | by, indent=1) + "\n", encoding="utf-8")
    pushed = {
        name: {"advantages": [each.advantage for each in group], "tokens": tokens[name]}
        for name, (_, group) in examples.items()
    }
    (FOLDER / "pushed.json").write_text(json.dumps(pushed | by) + "\n", encoding="utf-8")


SENTENCE = "The sea is cold."  # along which the length lesson shows the chances of the next token


def record_next_token(most_named: int = 8) -> None:
    """The pocket model's scores (logits) for the token that comes next, at every place of `SENTENCE`, in `next_token.json`.

    They are sorted, the highest first; the tokens of the first few are named.
    """
    import torch

    from grpo_lessons.training import models

    model, tokenizer = models.load("pocket")
    prompt, _ = running_example(grpo_length)
    asked = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True)
    written, places = tokenizer(SENTENCE)["input_ids"], []
    with torch.no_grad():
        for n in range(len(written) + 1):
            scores = model(torch.tensor([asked["input_ids"] + written[:n]])).logits[0, -1].sort(descending=True)
            names = [tokenizer.decode([token]) for token in scores.indices[:most_named].tolist()]
            logits = [round(score, 2) for score in scores.values.tolist()]
            places.append({"so_far": tokenizer.decode(written[:n]), "tokens": names, "logits": logits})
    said = {"prompt": prompt, "places": places, "provenance": provenance("pocket", "ships with the course", "cpu")}
    (FOLDER / "next_token.json").write_text(json.dumps(said) + "\n", encoding="utf-8")


SEEDS = range(5)
WAYS = {"beta = 0": "length_learns", "beta = 0.1": "length_held", "a second reward": "length_words"}
MEASURES = {  # of held-out texts: what the lesson calls it, and how it is worked out
    "tokens off the target": lambda texts: round(texts.length_error(20), 2),
    "real words": lambda texts: round(texts.mean("vocabulary_reward"), 3),
    "perplexity": lambda texts: round(math.exp(-texts.mean("reference_logprob")), 1),
}


def record_seeds() -> None:
    """What the length lesson's three ways to train come to with five seeds each, in `length_seeds.json`."""
    texts = {
        way: [train(RUNS[name].with_settings(seed=seed)).run.after for seed in SEEDS] for way, name in WAYS.items()
    }
    said = {
        title: {way: [measure(each) for each in after] for way, after in texts.items()}
        for title, measure in MEASURES.items()
    }
    runs = {"runs": said, "provenance": provenance("pocket", "ships with the course", "cpu")}
    (FOLDER / "length_seeds.json").write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")


REUSED = {  # the switch of the length lesson: what GRPOConfig is given besides
    "1": {},
    "4": {"num_iterations": 4},
    "4, never clipped": {"num_iterations": 4, "epsilon": 1000.0},
}
BIN, BINS = (
    0.08,
    25,
)  # of a ratio: 1 is the middle of a bin, and the clip at 0.8 and 1.2 between two; then one for all above


def ratios(also: dict, updates: int = 4) -> list[dict]:
    """The first updates of the length lesson's training, with other arguments of GRPOConfig: of each what TRL saw.

    `up`, `down`: of the tokens that are pushed up, and down, how many have their ratio in each bin.
    """
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PrinterCallback, TrainerCallback, set_seed
    from trl import GRPOConfig, GRPOTrainer

    from grpo_lessons.training import models
    from grpo_lessons.training.trl_inside import watch_ratios

    plan, seen = RUNS["length_learns"], []

    def tell(ratios, advantages, metrics):
        ways = {"up": [0] * (BINS + 1), "down": [0] * (BINS + 1)}
        for ratio, advantage in zip(ratios, advantages, strict=True):
            if advantage:
                ways["up" if advantage > 0 else "down"][min(int(ratio / BIN), BINS)] += 1
        clip_ratio = round(metrics["clip_ratio/region_mean"][-1], 4)
        seen.append({"tokens": len(ratios), "clip_ratio": clip_ratio} | ways)

    class Enough(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == updates

    model, tokenizer = models.load("pocket")
    set_seed(plan.settings.seed)
    trainer = GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=list(plan.rewards),
        train_dataset=Dataset.from_list(list(plan.prompts)),
        args=GRPOConfig(**plan.settings.grpo_arguments() | also),
        peft_config=LoraConfig(**plan.settings.lora_arguments()),
        callbacks=[Enough()],
    )
    trainer.remove_callback(PrinterCallback)
    models.merge_while_generating(trainer.model)
    watch_ratios(trainer, tell)
    trainer.train()
    return seen


def record_ratios() -> None:
    """How far tokens have moved, update by update, with fresh replies and with the same ones again, in `ratios.json`."""
    said = {"bin": BIN, "runs": {name: ratios(also) for name, also in REUSED.items()}}
    by = {"provenance": provenance("pocket", "ships with the course", "cpu")}
    (FOLDER / "ratios.json").write_text(json.dumps(said | by) + "\n", encoding="utf-8")


SEEN = ("step", "seconds", "reward", "entropy", "kl", "frac_reward_zero_std", "judges/answer_reward/mean")


def record_maps() -> None:
    """The format lesson's maps of sixteen short trainings each, in `format_maps.json`: what a map shows of them."""

    def seen(plan: Plan) -> dict:
        run = train(plan).run
        rounded = [
            {name: float(f"{row[name]:.4g}") for name in SEEN if row.get(name) is not None} for row in run.metrics
        ]
        return {"settings": run.settings, "metrics": rounded, "provenance": run.provenance}

    settings = grpo_format.DEFAULT["pocket"]
    plans = {name: short_plans(grpo_format.plan, settings, axes) for name, axes in grpo_format.MAPS.items()}
    said = {name: [seen(plan) for plan in each.values()] for name, each in plans.items()}
    (FOLDER / "format_maps.json").write_text(json.dumps(said, separators=(",", ":")) + "\n", encoding="utf-8")


def record_luck() -> None:
    """What the math lesson comes to with five seeds and a judge that errs, for each chance of that, in `math_luck.json`."""
    settings, runs = grpo_math.DEFAULT["pocket"], {}
    for chance in luck.CHANCES:
        plans = luck.seeds(grpo_math.plan, settings, chance, range(luck.FEW)).values()
        outcomes = [Outcome.of(train(plan).run) for plan in plans]
        runs[f"{chance:g}"] = [vars(each) | {"rewards": [round(x, 4) for x in each.rewards]} for each in outcomes]
        print(f"luck: {chance}", flush=True)
    about = {"steps": luck.STEPS, "batch_size": luck.BATCH}
    said = {"runs": runs, "settings": about, "provenance": provenance("pocket", "ships with the course", "cpu")}
    (FOLDER / "math_luck.json").write_text(json.dumps(said, separators=(",", ":")) + "\n", encoding="utf-8")


# What two busy cores have time for: 128 replies to learn from, a fifth of what the lesson's own run has.
FEWER = {"steps": 8, "batch_size": 16, "accumulation": 4, "learning_rate": 6e-4}
# Of a model: what is trained, with which seeds, how many held-out questions are asked, how often each.
PASSES = {
    "pocket": (RUNS["math_learns"], range(3), 45, 64),
    SMOLLM2: (_math(SMOLLM2, FEWER), range(1), 24, 32),
}


def tally(model, tokenizer, row: dict, n: int, longest: int) -> list:
    """Of n tries at a question: right ones, different answers, and the answer that most came to, with how many did."""
    from grpo_lessons.training import models

    ids, replies = models.tries(model, tokenizer, row, n, longest)
    said = evaluated([answer_reward], [row] * n, replies, ids)
    answers = Counter(final_answer(each.text) for each in said.completions)
    return [int(sum(said.scores("answer_reward"))), len(answers), *answers.most_common(1)[0]]


def learnt(plan: Plan) -> tuple:
    """The model that a training leaves, in float32 with its adapter merged, and the tokenizer."""
    from peft import PeftModel

    from grpo_lessons.training import models

    told = Watch(update=lambda phase, run: print(f"passes: {phase}", flush=True))
    trained = train(replace(plan, held_out=(), evaluate_every=0), told)
    model, tokenizer = models.load(plan.settings.model)
    with TemporaryDirectory() as folder:
        trained.model.save_pretrained(folder, save_embedding_layers=False)
        return PeftModel.from_pretrained(model, folder).merge_and_unload(), tokenizer


def record_passes(model: str) -> None:
    """How many of n tries at each held-out question are right, before and after trainings, in `math_passes_….json`; see `Passes`."""
    import torch

    from grpo_lessons.training import models
    from grpo_lessons.training.machine import threads_for

    plan, seeds, questions, n = PASSES[model]
    rows, longest = plan.held_out[:questions], plan.settings.max_completion_length
    asked = {"before": models.load(model)} | {f"{seed}": learnt(plan.with_settings(seed=seed)) for seed in seeds}
    torch.manual_seed(0)
    with threads_for(asked["before"][0]):
        tallies = {when: [tally(*each, row, n, longest) for row in rows] for when, each in asked.items()}
    said = {
        "n": n,
        "temperature": 1.0,
        "settings": vars(plan.settings),
        "questions": [question(row["prompt"]) for row in rows],
        "answers": [row["answer"] for row in rows],
        "tallies": tallies,
        "provenance": provenance(model, asked["before"][0].grpo_lessons_origin, "cpu"),
    }
    path = FOLDER / f"math_passes_{model.partition('-')[0]}.json"
    path.write_text(json.dumps(said, separators=(",", ":")) + "\n", encoding="utf-8")


def chased(seed: int, first: int, pulled: int, then: int) -> list[chasing.Step]:
    """A training for `first` tokens whose target is moved after some steps, by the engine of a reader's page, under node."""
    from tests.support.engine import node

    reward = chasing.MovedReward(first)
    plan = chase.chase_plan(grpo_length.plan, replace(grpo_length.DEFAULT["pocket"], seed=seed), reward)
    latest = plan.new_run()

    def update(phase: str, run: Run) -> None:
        nonlocal latest
        latest = run
        reward.target = first if run.steps_done < pulled else then

    watch = Watch(update=update, should_stop=lambda: latest.steps_done == pulled + chase.AFTER)
    with TemporaryDirectory() as folder, node(Path(folder)) as engine:

        async def call(name: str, given: dict) -> dict:
            return engine.carry_out(name, given)

        asyncio.run(carried_out(course(plan, watch), call))
    print(f"seed {seed}, {pulled} steps to {first} tokens, then to {then}: done", flush=True)
    return reward.steps(latest.metrics)


def record_chase() -> None:
    """Targets that are moved early, late and down, and how long the pulls took with other seeds, in `length_chase.json`."""
    wanted = [(seed, name) for name in (chase.SOON, chase.LATE) for seed in chase.SEEDS] + [(0, chase.DOWN)]
    with ThreadPoolExecutor(2) as pool:
        all_steps = pool.map(lambda each: chased(each[0], *chase.RUNS[each[1]]), wanted)
        by = dict(zip(wanted, all_steps, strict=True))

    def told(steps: list[chasing.Step]) -> dict:
        entropy, dead = chasing.before_pull(steps)
        return {"entropy": round(entropy, 4), "dead": round(dead, 4), "steps": chasing.pulls(steps)[-1][2]}

    taken = {name: [told(by[seed, name]) for seed in chase.SEEDS] for name in (chase.SOON, chase.LATE)}
    hardware = "the engine of a reader's page, under node"
    said = {
        "runs": {name: chasing.to_record(by[0, name]) for name in chase.RUNS},
        "seeds": taken,
        "provenance": {"model": "pocket", "seed": "seed 0", "hardware": hardware, "date": f"{date.today()}"},
    }
    (FOLDER / "length_chase.json").write_text(json.dumps(said, separators=(",", ":")) + "\n", encoding="utf-8")


def save_adapter(trained: Trained, path: Path) -> None:
    """Write what a session learnt, in float16, see `training.exchange`."""
    path.write_bytes(exchange.to_page(trained, "float16"))


def record_run(name: str) -> None:
    """One of `RUNS`, in NAME.json."""
    told = Watch(update=lambda phase, run: print(f"{name}: {phase}", flush=True))
    trained = train(RUNS[name], told)
    trained.run.save(FOLDER / f"{name}.json")
    if name in ADAPTERS:
        save_adapter(trained, FOLDER / f"{name}.safetensors")


def record_outputs() -> None:
    """What each notebook shows as it opens, to somebody who has chosen and trained nothing yet, in `__marimo__/session`."""
    command = [sys.executable, "-m", "marimo", "export", "session", FOLDER.parent, "--no-sandbox", "--force-overwrite"]
    with TemporaryDirectory() as folder:
        subprocess.run(command, check=True, env=os.environ | {"GRPO_LESSONS_RUNS": f"{folder}/runs"})


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    several = (record_updates, record_next_token, record_seeds, record_ratios, record_maps, record_luck, record_chase)
    others = {each.__name__.removeprefix("record_"): each for each in several}
    others |= {f"passes_{model.partition('-')[0]}": partial(record_passes, model) for model in PASSES}
    for name in sys.argv[1:] or [*others, *RUNS, "outputs"]:
        (others | {"outputs": record_outputs}).get(name, partial(record_run, name))()


if __name__ == "__main__":
    main()
