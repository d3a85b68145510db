"""The figures of the README, measured in one run: `python tests/benchmarks.py` (about an hour, a quiet machine).

`python tests/benchmarks.py smollm2` measures the real model only, `page` the web page only, `class` a class of thirty.

Not a test: machines are shared and noisy, so nothing here asserts; it prints a table of what was asked and what was found.
"""

import asyncio
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from grpo_lessons import cards, models  # noqa: E402
from grpo_lessons.problems import sums  # noqa: E402
from grpo_lessons.record import RUNS  # noqa: E402
from grpo_lessons.rewards import LengthReward, format_reward, reward_name  # noqa: E402
from grpo_lessons.training import Settings, load_libraries, train  # noqa: E402
from tests import pages  # noqa: E402
from tests.browser import browse, press, serve, settle  # noqa: E402
from tests.classmates import Learner, classroom  # noqa: E402

MARK = 0.95


def draw(phase, run) -> None:
    """What the notebook draws after every step."""
    cards.page(cards.run_panel(phase, run))
    if run.groups:
        cards.page(cards.group_panel(run.groups[-1], ("think", "answer")))


def learn(name: str, seed: int, mark: float, target: int | None = None, questions: int = 0) -> dict:
    """One session of a lesson from the press of Train, imports included, with its recipe in `record`.

    Returns the step and the second at which the reward of a step reached `mark`, the second of the end, and the means
    of the judges on held-out prompts, before and after. `target` replaces that of the length lesson;
    `questions` is for more held-out sums than the 96 of a lesson, of which the mean is off by three in a hundred.
    """
    plan = RUNS[name] | {"settings": replace(RUNS[name]["settings"], seed=seed)}
    if target:
        plan |= {"rewards": [LengthReward(target)], "judges": [LengthReward(target), *plan["judges"][1:]]}
    if questions:
        plan["held_out"] = sums(questions, split="held-out")
    pressed, found = time.perf_counter(), {}

    def watch(phase, run):
        draw(phase, run)
        if run.metrics and run.metrics[-1]["reward"] >= mark and not found:
            found.update(step=run.steps_done, seconds=round(time.perf_counter() - pressed, 1))

    run = train(**plan, on_update=watch).run
    means = {
        f"{when} {reward_name(judge)}": round(getattr(run, when).mean(reward_name(judge)), 3)
        for judge in plan["judges"]
        for when in ("before", "after")
    }
    speed = {"tokens/s": round(run.metrics[-1]["num_tokens"] / run.metrics[-1]["seconds"])}
    return found | means | speed | {"end": round(time.perf_counter() - pressed, 1), **run.provenance}


# Settings to compare ours with. Both want bf16, which a CPU refuses, and the exercise an 8-bit Adam, which wants a GPU.
EXERCISE = {
    "learning_rate": 2e-5,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 2,
    "max_completion_length": 96,
}
TRL_DEFAULTS: dict = {}


def rival(options: dict, lora: bool, seconds: float, steps: int) -> dict:
    """The format lesson on SmolLM2 with other settings, in a plain GRPOTrainer: the step and second at the mark.

    It is given up after `seconds` or `steps`; then it says how far it has come.
    """
    load_libraries()
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    plan, rewards, found = RUNS["format_smollm2"], [], {}

    class Watch(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            if "reward" not in logs:
                return
            rewards.append(logs["reward"])
            if rewards[-1] >= MARK:
                found.update(step=len(rewards), seconds=round(time.perf_counter() - started, 1))
            control.should_training_stop = bool(found) or time.perf_counter() - started > seconds

    model, tokenizer = models.load(plan["settings"].model)
    fixed = {"output_dir": "runs/rival", "max_steps": steps, "bf16": False, "logging_steps": 1, "save_strategy": "no"}
    trainer = GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=plan["rewards"],
        train_dataset=Dataset.from_list(plan["prompts"]),
        args=GRPOConfig(**fixed | options, disable_tqdm=True),
        peft_config=LoraConfig(**plan["settings"].lora_arguments()) if lora else None,
        callbacks=[Watch()],
    )
    started = time.perf_counter()
    trainer.train()
    given_up = {"steps": len(rewards), "after": round(time.perf_counter() - started), "best": round(max(rewards), 2)}
    return found or {"never": given_up}


def real_models() -> None:
    """The lessons on SmolLM2, on this machine's device, and how much sooner than with other settings."""
    learnt = in_fresh_process("b.learn('format_smollm2', 0, b.MARK)")
    where = learnt["hardware"]
    row(
        f"SmolLM2, format on {where}: step and seconds from the press to {MARK}",
        "≤ 300 s",
        [learnt.get("step"), learnt.get("seconds")],
    )
    row("SmolLM2: tokens a second, sampled and learnt", "", learnt["tokens/s"])
    row("SmolLM2: memory at most", "", learnt["peak memory"])
    for name, options, lora in (
        ("the exercise's settings", "b.EXERCISE", True),
        ("TRL's defaults", "b.TRL_DEFAULTS", False),
    ):
        limits = f"{5 * learnt['seconds']}, {10 * learnt['step']}"
        row(
            f"SmolLM2, format with {name}", "≥ 5 times later", in_fresh_process(f"b.rival({options}, {lora}, {limits})")
        )
    learnt = in_fresh_process("b.learn('length_smollm2', 0, 0)")
    row(
        "SmolLM2, length: mean reward held-out, before → after",
        "error halved",
        [learnt["before length_reward"], learnt["after length_reward"], learnt["end"]],
    )
    learnt = in_fresh_process("b.learn('math_smollm2', 0, 2)")
    row(
        "SmolLM2, math: right answers held-out, before → after",
        "beyond the interval",
        [learnt["before answer_reward"], learnt["after answer_reward"], learnt["end"]],
    )


def in_fresh_process(call: str):
    """The JSON that a call of this module prints in a process of its own."""
    code = f"import json; from tests import benchmarks as b; print(json.dumps({call}))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def bare(steps: int) -> float:
    """Seconds of trainer.train() in a GRPOTrainer loop without anything of ours, on as many threads as the session."""
    load_libraries()
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    settings = Settings(steps=steps)
    model, tokenizer = models.load("pocket")
    trainer = GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=[format_reward],
        train_dataset=Dataset.from_list(sums(512)),
        args=GRPOConfig(**settings.grpo_arguments()),
        peft_config=LoraConfig(**settings.lora_arguments()),
    )
    trainer.remove_callback(PrinterCallback)
    started = time.perf_counter()
    trainer.train()
    return time.perf_counter() - started


def ours(steps: int) -> float:
    """Seconds of the same training as a session whose panel is drawn after every step."""
    started = []

    def watch(phase, run):
        started[:] = started or ([time.perf_counter()] if "sampling" in phase else [])
        draw(phase, run)

    train(Settings(steps=steps), [format_reward], sums(512), on_update=watch)
    return time.perf_counter() - started[0]


def overhead(steps: int = 12, pairs: int = 5) -> dict:
    """The session against the bare loop, taken in turns in one process: the ratio of each pair."""
    bare(2), ours(2)
    ratios = []
    for i in range(pairs):
        first, second = (bare, ours) if i % 2 else (ours, bare)
        times = {call: call(steps) for call in (first, second)}
        ratios.append(times[ours] / times[bare])
    return {"median": statistics.median(ratios), "all": ratios}


def in_the_browser() -> dict:
    """Opening to the first control, a control to its changed figure, a press of Train to the mark on the screen."""
    opened, changed = [], []
    with serve("edit", "notebooks/grpo_format.py") as url:
        with browse("about:blank") as page:
            for _ in range(4):  # the first with nothing in the browser's cache and no kernel yet
                started = time.perf_counter()
                page.goto(url)
                page.get_by_role("radio").first.wait_for(timeout=60_000)
                opened.append(time.perf_counter() - started)
                page.goto("about:blank")
        with browse(url) as page:
            page.get_by_role("button", name="Train").wait_for(timeout=60_000)
            page.get_by_text("simulated groups").first.wait_for(timeout=30_000)
            page.evaluate(
                """() => { window.changes = []; window.moved = 0;
                new MutationObserver(() => {
                    const figure = [...document.querySelectorAll('svg')].find(s => s.textContent.includes('group size G'));
                    if (!figure || figure.innerHTML === window.figure) return;
                    window.figure = figure.innerHTML;
                    if (window.moved) window.changes.push(performance.now() - window.moved);
                    window.moved = 0;
                }).observe(document.body, {childList: true, subtree: true});
                addEventListener('keydown', () => { window.moved = performance.now(); }, true);
                window.figure = [...document.querySelectorAll('svg')].find(s => s.textContent.includes('group size G')).innerHTML; }"""
            )
            for key in ["ArrowLeft"] * 5 + ["ArrowRight"] * 10 + ["ArrowLeft"] * 5:
                press(page, "G, the group size", key)
                page.wait_for_timeout(600)
            changed = page.evaluate("window.changes")
            page.get_by_role("button", name="Train").click()
            pressed = time.perf_counter()
            page.get_by_text(re.compile("Starting|Loading")).first.wait_for()
            sign = time.perf_counter() - pressed
            page.wait_for_function(
                f"""() => [...document.querySelectorAll('.gl')].some(g => /Step \\d+ of|Finished/.test(g.innerText)
                && g.querySelector('.curve header b') && +g.querySelector('.curve header b').innerText >= {MARK})""",
                timeout=120_000,
            )
            mark = time.perf_counter() - pressed
    return {"opened": opened, "changed": changed, "sign": sign, "mark": mark}


def in_a_page() -> dict:
    """The built site, from this machine: seconds to what can be read and to the first live control, and control to cards.

    Of the visits the first has nothing in the browser's cache. Beside it a page of one slider and one plotly figure, as
    marimo exports it by itself: less than a lesson that also needs pandas and numpy, which no registry has for Pyodide.
    """
    found = {"seen": [], "live": [], "their seen": [], "their live": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        done = pages.build(folder / "ours", pages.make_distribution(folder))
        assert done.returncode == 0, done.stderr
        pages.build_plotly_page(folder / "theirs", folder / "ours")
        with pages.serve_folder(folder) as server, browse("about:blank") as page:
            visits = [("their ", "theirs/index.html", "One figure", ".js-plotly-plot svg")]
            visits += [("", "ours/format.html", "After 25 steps of training", ".gl-awake")]
            for who, path, text, live in visits * 4:
                page.goto("about:blank")
                started = time.perf_counter()
                page.goto(f"{server}/{path}", wait_until="commit")
                page.get_by_text(text).first.wait_for(timeout=60_000)
                found[who + "seen"].append(time.perf_counter() - started)
                page.locator(live).first.wait_for(state="attached", timeout=60_000)
                found[who + "live"].append(time.perf_counter() - started)
            page.locator("#waking").wait_for(state="detached")
            settle(page)
            found["changed"] = page.evaluate(_CLICK_AND_WAIT)
        for who, path in (("their ", "theirs"), ("", "ours")):
            with pages.counting(folder / path) as (server, sent), browse("about:blank") as page:
                page.goto(f"{server}/{'format.html' if path == 'ours' else 'index.html'}")
                page.locator(".gl-awake, .js-plotly-plot svg").first.wait_for(state="attached", timeout=60_000)
                found[who + "megabytes"] = round(sum(sent) / 1e6, 1)
    return found


_CLICK_AND_WAIT = """async () => {
    const label = (name) => {
        const places = [document, ...[...document.querySelectorAll('*')].map(e => e.shadowRoot).filter(Boolean)];
        return places.flatMap(p => [...p.querySelectorAll('label')]).find(l => l.textContent.trim() === name);
    };
    const times = [];
    for (let i = 0; i < 20; i++) {
        const [name, sign] = i % 2 ? ['strict', 'format_reward'] : ['tag count', 'tag_reward'];
        const pressed = performance.now();
        label(name).click();
        await new Promise((done) => {
            const look = () => document.querySelector('.cards').textContent.includes(sign) ? done() : requestAnimationFrame(look);
            look();
        });
        times.push(performance.now() - pressed);
        await new Promise((done) => setTimeout(done, 250));
    }
    return times;
}"""


def page_rows() -> None:
    """The web page's part of the table."""
    found = in_a_page()
    for figure, name, asked in (("something to read", "seen", "≤ 1.5"), ("the first live control", "live", "≤ 10")):
        row(
            f"a page's opening to {figure} (s), the first with an empty cache",
            asked,
            [round(s, 1) for s in found[name]],
        )
        row("… of a plotly figure with a slider", "later", [round(s, 1) for s in found[f"their {name}"]])
    row(
        "MB that a visit loads, before compression; of the other page",
        "less",
        [found["megabytes"], found["their megabytes"]],
    )
    row("a control to its changed cards in the page, median (ms)", "≤ 100", round(statistics.median(found["changed"])))


def row(figure: str, asked: str, found) -> None:
    """One line of the table, as soon as it is measured."""
    print(f"| {figure} | {asked} | {found} |", flush=True)


def class_rows(connections: int = 27, browsers: int = 3) -> None:
    """Thirty on one server, some of them in a real Chromium: open the lesson, move controls, answer, train; ten close their tabs."""
    with tempfile.TemporaryDirectory() as folder, classroom(Path(folder)) as host, ExitStack() as stack:
        found, memory = {}, [0.0]
        lessons = [stack.enter_context(browse(f"http://{host}/format/?step=3")) for _ in range(browsers)]
        others = threading.Thread(target=lambda: found.update(asyncio.run(_class(host, connections))))
        others.start()
        threading.Thread(target=_watch, args=(int(host.split(":")[1]), memory), daemon=True).start()
        seen = _in_chromium(lessons, others)
        records = len([*Path(folder).glob("class/seat-*/format/run.json")])
    opened = found["opened"]
    row(
        f"class: {connections} more open a lesson at once: first, median, last (s)",
        "",
        [opened[0], at(opened, 0.5), opened[-1]],
    )
    for words, name in (("no training", "idle"), ("one training runs", "busy")):
        times = sorted(found[name])
        answers = [round(1000 * at(times, share)) for share in (0.5, 0.95)]
        row(f"… a control answers, {words}: median, 95 % (ms; {len(times)} moves)", "≤ 300, ≤ 1000", answers)
    answers = [round(1000 * at(sorted(seen["took"]), share)) for share in (0.5, 0.95)]
    row(
        f"… on the screen of {browsers} Chromiums beside them, trainings or not ({len(seen['took'])} moves)",
        "≤ 300, ≤ 1000",
        answers,
    )
    row("… ten closed tabs free their places (s)", "≤ 15", round(found["freed"], 1))
    row(
        "… trainings of those who stayed, finished, recorded",
        "as many",
        [found["stayed"] + browsers, found["stayed"] + seen["finished"], records],
    )
    row("… memory of the server at most (GB)", "≤ 4", round(memory[0] / 1e9, 2))


def _watch(port: int, most: list[float]) -> None:
    import psutil

    server = next(each for each in psutil.net_connections("tcp") if each.laddr.port == port and each.status == "LISTEN")
    with suppress(psutil.NoSuchProcess):  # the class is over
        while True:
            most[0] = max(most[0], psutil.Process(server.pid).memory_info().rss)
            time.sleep(0.5)


def _in_chromium(lessons: list, others: threading.Thread) -> dict:
    """Move a slider of every page in turn, and train in each, until the others have finished."""
    took = []
    for page in lessons:
        page.get_by_text("+0.94").first.wait_for(timeout=120_000)
        page.goto(page.url.replace("step=3", "step=7"))
        page.get_by_role("button", name="Train").wait_for(timeout=120_000)
        settle(page)
        page.get_by_role("button", name="Train").click()
        page.get_by_role("combobox", name="Station").select_option(label="3 · From rewards to advantages")
    right = True
    while others.is_alive():
        for page in lessons:
            shown = page.get_by_text(re.compile("^group mean")).inner_text()
            began = time.monotonic()
            press(page, "replies out of 8 that earn 1", "ArrowRight" if right else "ArrowLeft")
            page.wait_for_function(
                "shown => document.getElementById('App').innerText.match(/group mean \\S+/)[0] !== shown",
                arg=shown,
                polling=20,
            )
            took.append(time.monotonic() - began)
        right = not right
        time.sleep(3)
    for page in lessons:
        page.get_by_role("combobox", name="Station").select_option(label="7 · Train")
        page.get_by_text("Finished: 25 steps").wait_for(timeout=300_000)
    return {"took": took, "finished": len(lessons)}


def at(values: list[float], share: float) -> float:
    """The value below which a share of the sorted values lies."""
    return values[int(share * (len(values) - 1))]


async def _class(host: str, many: int) -> dict:
    everybody = [Learner(host) for _ in range(many)]
    opened = sorted(round(took, 1) for took in await asyncio.gather(*[learner.open() for learner in everybody]))

    async def play(learner: Learner, seconds: float, took: list[float]) -> None:
        chance = random.Random(learner.name)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            await asyncio.sleep(chance.uniform(1, 7))  # somebody who looks at what has changed
            label, low, high = chance.choice([("replies out of 8", 0, 8), ("G, the group size", 2, 16)])
            took.append(await learner.set(label, chance.randint(low, high)))

    idle, busy = [], []
    await asyncio.gather(*[play(learner, 30, idle) for learner in everybody])
    for learner in everybody:
        await learner.set("All eight replies of a group earn 0", "Nothing at all")
    await asyncio.gather(*[learner.train() for learner in everybody])
    await asyncio.sleep(10)
    await asyncio.gather(*[play(learner, 60, busy) for learner in everybody])
    gone, closed = [each for each in everybody if "in front of you" in each.text][-10:], time.monotonic()
    await asyncio.gather(*[learner.close() for learner in gone])
    names = {f"seat {learner.seat}" for learner in gone}
    while names & {place["who"] for place in (await everybody[0].http.get("/line")).json()}:
        await asyncio.sleep(0.2)
    freed = time.monotonic() - closed
    stayed = [learner for learner in everybody if learner not in gone]
    await asyncio.gather(*[learner.sees("Finished: 25 steps", 900) for learner in stayed])
    return {"opened": opened, "idle": idle, "busy": busy, "freed": freed, "stayed": len(stayed)}


def main() -> None:
    print("| figure | asked | found |\n| --- | --- | --- |")
    if sys.argv[1:] == ["page"]:
        return page_rows()
    if sys.argv[1:] == ["class"]:
        return class_rows()
    real_models()
    if sys.argv[1:] == ["smollm2"]:
        return
    page_rows()
    class_rows()
    page = in_the_browser()
    row("opening to the first control (s)", "≤ 3", [round(seconds, 2) for seconds in page["opened"]])
    changes = f"{statistics.median(page['changed']):.0f} of {len(page['changed'])}"
    row("control to changed figure, median (ms)", "≤ 150", changes)
    row("press of Train to first sign of life (s)", "≤ 1", round(page["sign"], 2))
    row(f"press of Train to {MARK} on the screen (s)", "≤ 30", round(page["mark"], 1))
    for target in (10, 40, 20):
        seeds = [in_fresh_process(f"b.learn('length_learns', {seed}, -0.1, {target})") for seed in range(5)]
        row(
            f"length {target}: step at which a step's mean error is ≤ 10 %",
            "≤ 50",
            [each.get("step") for each in seeds],
        )
        row("seconds from the press to that step", "≤ 40", [each.get("seconds") for each in seeds])
        row(
            "held-out error in the end, share of the target",
            "≤ 0.1",
            [abs(each["after length_reward"]) for each in seeds],
        )
    held = in_fresh_process("b.learn('length_held', 0, -0.1)")
    for name in ("vocabulary_reward", "reference_logprob"):
        row(f"beta 0 and 0.1, seed 0: {name}, held-out", "", [seeds[0][f"after {name}"], held[f"after {name}"]])
    seeds = [in_fresh_process(f"b.learn('math_learns', {seed}, 0.9, questions=384)") for seed in range(5)]
    for name, asked in (("answer_reward", "≤ 0.45 → ≥ 0.9"), ("thinks", "≤ 0.4 → ≥ 0.95")):
        row(f"math: {name}, 384 held-out", asked, [f"{s[f'before {name}']} → {s[f'after {name}']}" for s in seeds])
    seeds = [in_fresh_process(f"b.learn('math_learns', {seed}, 0.9)") for seed in range(5)]
    row("math: seconds from the press to the last step and the last answer", "≤ 45", [each["end"] for each in seeds])
    seeds = [in_fresh_process(f"b.learn('format_learns', {seed}, b.MARK)") for seed in range(5)]
    row(f"format: step at which the reward reaches {MARK}", "≤ 25", [each.get("step") for each in seeds])
    row("seconds from the press to that step", "≤ 30", [each.get("seconds") for each in seeds])
    name = "format_reward"
    row("format: held-out", "", [f"{s[f'before {name}']} → {s[f'after {name}']}" for s in seeds])
    cost = in_fresh_process("b.overhead()")
    ratios = [round(ratio, 3) for ratio in cost["all"]]
    row("session / bare loop, median of pairs", "≤ 1.03", f"{cost['median']:.3f} of {ratios}")


if __name__ == "__main__":
    main()
