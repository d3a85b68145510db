"""The training on the site's first page: the reward it is written with, and the page in a real browser, without any Python."""

import json
import os
import re
import subprocess

import pytest

from grpo_lessons.pocket import scripts
from grpo_lessons.rewards import format_reward
from tests.support.browser import CHROMIUM, browse
from tests.support.engine import NODE
from tests.support.pages import hosting, serve_folder, write_first

RIGHT = "<think>12 + 45 = 57. 57 + 38 = 95.</think><answer>95</answer>"
SPACES = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000"  # Python's
NEARLY = (
    "\x00\x7f\x84\x86\xad\u180e\u200b\u200d\u200f\u202a\u202e\u2060\u206f\u3164\ufeff\u2800\u034f"  # and what is none
)
REPLIES = [
    RIGHT,
    "",
    "95",
    "<think>95</think>",
    "<answer>95</answer>",
    "<answer>95</answer><think>57 + 38</think>",
    "<think>57<answer>95</answer></think>",
    "<think>57</think><answer>95</think></answer>",
    "<think>57</answer><answer>95</think>",
    "<think>57</think><answer>95",
    "<think>57</think>95</answer>",
    "</think>57<think><answer>95</answer>",
    "<<think>57</think><answer>95</answer>>",
    "<think><</think><answer>></answer>",
    "<think>57</think ><answer>95</answer>",
    "<THINK>57</THINK><ANSWER>95</ANSWER>",
    "<think x>57</think><answer>95</answer>",
    "<think>57</think>\n\n<answer>95</answer>",
    "<think>57</think>.<answer>95</answer>",
    "<think><b>57</b></think><answer>9\n5</answer>",
    "<think>&#60;</think><answer>💯</answer>",
    "<thi<think>nk>57</think><answer>95</answer>",
    "<think>57</think><answer><answer</answer>",
    RIGHT * 2,
    f"Sure! {RIGHT}",
    f"{RIGHT} Done.",
    f"{RIGHT}<think>",
    f"<answer>{RIGHT}</answer>",
    "<think>" * 20_000,
    "<think>57</think>" + " " * 50_000 + "<answer>95</answer>",
    *(
        text
        for each in SPACES + NEARLY
        for text in (
            f"{each}{RIGHT}{each}",
            f"<think>{each}</think><answer>95</answer>",
            f"<think>57</think><answer> {each}{each}</answer>",
            f"<think>57</think>{each}<answer>95</answer>",
            f"<think>{each}7</think><answer>{each}9</answer>",
        )
    ),
]
IN_NODE = """
const { readFileSync } = require("node:fs"), { runInThisContext } = require("node:vm");
globalThis.document = { querySelectorAll: () => [] };
runInThisContext(readFileSync(process.argv[1], "utf8"));
process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(formatReward)));
"""


@pytest.mark.skipif(NODE is None and "CI" not in os.environ, reason="no node on this machine")
def test_the_reward_of_the_first_page_is_that_of_the_lesson(tmp_path):
    (tmp_path / "first.js").write_text(scripts.first(), encoding="utf-8")
    command = [NODE, "-e", IN_NODE, str(tmp_path / "first.js")]
    said = subprocess.run(command, input=json.dumps(REPLIES), capture_output=True, text=True, check=True).stdout
    wanted = format_reward(completions=REPLIES)
    apart = [
        (text[:80], ours, due) for text, ours, due in zip(REPLIES, json.loads(said), wanted, strict=True) if ours != due
    ]
    assert apart == []
    assert 30 < sum(wanted) < len(REPLIES) - 30  # both are among them


needs_a_browser = pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="needs Chromium")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return write_first(tmp_path_factory.mktemp("site"))


def scores(frame, side: str) -> int:
    """How many of the 32 replies on a side earn 1."""
    return int(re.fullmatch(r"(\d+) of 32 earn 1", frame.locator(f".{side}-score").inner_text())[1])


def replies(frame, side: str) -> list[str]:
    return frame.locator(f".{side} .reply").all_inner_texts()


@needs_a_browser
def test_the_first_page_trains_a_model_after_one_press_and_2_mb(pages):
    with hosting(pages) as (address, sent), browse("about:blank", height=800) as page:
        wrong = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
        page.goto(f"{address}/index.html")
        piece, button = page.locator(".first"), page.get_by_role("button", name="Train it")
        assert piece.bounding_box()["y"] + piece.bounding_box()["height"] <= 800  # above the fold
        page.evaluate(
            """() => { window.best = 0; new MutationObserver(() => best = Math.max(best, document.querySelector(".first").dataset.reward))
            .observe(document.querySelector(".first"), { attributes: true });
            const status = document.querySelector(".status"), old = status.textContent;
            addEventListener("click", () => { const at = performance.now(), look = () => status.textContent === old
                ? setTimeout(look, 10) : window.soon = performance.now() - at; look(); }, { capture: true, once: true }); }"""
        )
        button.press("Enter")
        page.get_by_role("button", name="Train it again").wait_for(timeout=90_000)
        assert page.evaluate("soon") < 300
        assert piece.get_attribute("data-step") == "25" and page.evaluate("best") >= 0.9
        assert len(piece.locator(".line").get_attribute("points").split()) == 25
        assert scores(page, "after") >= 24 > 16 >= scores(page, "before")
        before, after = replies(page, "before"), replies(page, "after")
        assert len(before) == len(after) == 3 and all(before) and all(after) and before != after
        assert (
            piece.locator(".before .question").all_inner_texts() == piece.locator(".after .question").all_inner_texts()
        )
        assert sum(each.raw for each in sent) < 2_300_000 and wrong == []


@needs_a_browser
def test_in_a_sandboxed_frame_of_another_origin_it_trains_stops_and_says_how_tall_it_is(pages, tmp_path):
    with serve_folder(pages) as ours, serve_folder(tmp_path) as theirs, browse(f"{ours}/index.html", width=420) as page:
        line, script = page.locator("#alone").inner_text(), page.locator("#tall").inner_text()
        assert "sandbox=" in line and f'src="{ours}/train.html"' in line
        (tmp_path / "post.html").write_text(f"<!doctype html>{line}{script}", encoding="utf-8")
        page.goto(f"{theirs}/post.html")
        frame = page.locator("iframe").content_frame
        frame.get_by_role("button", name="Train it").click()
        frame.locator(", ".join(f'.first[data-step="{step}"]' for step in range(3, 20))).wait_for()
        frame.get_by_role("button", name="Stop").click()
        frame.get_by_role("status").filter(has_text=re.compile(r"Stopped after \d+ steps")).wait_for()
        assert int(frame.locator(".first").get_attribute("data-step")) < 25
        assert frame.get_by_role("button", name="Stop").count() == 0  # hidden
        assert all(replies(frame, "after"))
        tall = frame.locator("main").evaluate("main => main.getBoundingClientRect().height")
        assert abs(page.locator("iframe").evaluate("frame => frame.clientHeight") - tall) < 2
        assert frame.locator("html").evaluate("page => page.scrollWidth") <= 420


@needs_a_browser
def test_a_browser_that_cannot_train_is_told_so_and_shown_a_recording(pages):
    with serve_folder(pages) as address, browse("about:blank") as page:
        page.add_init_script("""const start = Worker; Worker = function (address) {
            return new start(URL.createObjectURL(new Blob([`WebAssembly.validate = () => false; importScripts("${address}");`]))); };
            URL.revokeObjectURL = () => {};""")
        page.goto(f"{address}/index.html")
        recording = page.get_by_text("A real run: a number for each reply")
        recording.wait_for()  # before anybody has pressed
        assert "WebAssembly SIMD" in page.get_by_role("status").inner_text()
        page.goto("about:blank")
        page.route("**/model.safetensors", lambda route: route.abort())
        page.goto(f"{address}/index.html")
        page.get_by_role("button", name="Train it").click()
        page.get_by_role("status").filter(has_text="Press Train to try again").wait_for()
        assert not recording.is_visible()
