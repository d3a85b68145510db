"""The training on the site's first page in real browsers: Firefox, a phone, behind another tab, reloaded, twice at once.

A training of three steps shows all that does not depend on what it learns.
"""

import os

import psutil
import pytest

from grpo_lessons.web.site import STRICT
from tests.support.browser import CHROMIUM, workers
from tests.support.firefox import FIREFOX, FIREFOXS_OWN, firefox
from tests.support.pages import outside, serve_folder, visit, write_first

needs_chromium = pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="needs Chromium")
needs_firefox = pytest.mark.skipif(FIREFOX is None and "CI" not in os.environ, reason="no Firefox on this machine")


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    return write_first(tmp_path_factory.mktemp("short"), steps=3)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return write_first(tmp_path_factory.mktemp("pages"))


def trained(page) -> None:
    """Press Train, and wait for the end."""
    page.get_by_role("button", name="Train it").click()
    page.locator(".first[data-step='3']").wait_for()
    page.locator(".stop[hidden]").wait_for(state="attached")


@needs_chromium
@pytest.mark.parametrize("name", ["index", "train"])
def test_on_a_phone_under_a_strict_policy_nothing_runs_out_of_the_page_nor_is_another_host_asked(short, name):
    with serve_folder(short, STRICT) as address, visit(f"{address}/{name}.html", width=360) as (page, wrong):
        page.evaluate(
            """() => {
                window.wide = 0;
                const look = () => [document.documentElement, ...document.querySelectorAll(".first *")].forEach((each) =>
                    wide = Math.max(wide, each.getBoundingClientRect().right, document.documentElement.scrollWidth));
                new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
                look();
            }"""
        )
        trained(page)
        assert page.locator(".after li").count() == 3 and all(page.locator(".after .reply").all_inner_texts())
        assert 300 < page.evaluate("wide") <= 360
        assert wrong == []


@needs_chromium
def test_a_training_waits_for_no_timer_and_no_frame_which_a_page_that_nobody_sees_does_not_get(short):
    with serve_folder(short) as address, visit(f"{address}/train.html") as (page, wrong):
        page.evaluate(
            "() => { for (const name of ['setTimeout', 'setInterval', 'requestAnimationFrame', 'requestIdleCallback']) window[name] = () => 0; }"
        )
        trained(page)
        assert wrong == []


def no_worker_left(page) -> None:
    for _ in range(100):
        if not workers(page):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{workers(page)} workers are still there")


@needs_chromium
def test_reloaded_in_mid_run_a_page_is_whole_again_and_trains_and_no_worker_stays_behind(pages):
    with serve_folder(pages) as address, visit(f"{address}/train.html") as (page, wrong):
        page.get_by_role("button", name="Train it").click()
        page.wait_for_function("document.querySelector('.first').dataset.step > 1")
        assert workers(page) >= 1
        page.reload()
        no_worker_left(page)
        assert page.locator(".first").get_attribute("data-step") == "0"
        assert "In this page, in about ten seconds" in page.get_by_role("status").inner_text()
        page.get_by_role("button", name="Train it").click()
        page.wait_for_function("document.querySelector('.first').dataset.step > 1")
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("button", name="Train it again").wait_for()
        no_worker_left(page)
        assert wrong == []


@needs_chromium
def test_two_pages_train_at_once(short):
    with serve_folder(short) as address, visit(f"{address}/train.html") as (page, wrong):
        both = [page, page.context.new_page()]
        both[1].goto(f"{address}/index.html")
        for each in both:
            each.bring_to_front()
            each.locator(".before-score").filter(has_text="earn 1").wait_for()  # nothing is left to load
            each.evaluate(
                """() => { window.times = []; const root = document.querySelector(".first");
                new MutationObserver(() => root.dataset.reward && times.push(Date.now())).observe(root, { attributes: true }); }"""
            )

        def overlap() -> bool:
            """Whether each was on before the other's training had ended: three steps are short, and one press is before the other."""
            for each in both:
                each.evaluate("() => { window.times = []; }")
            for each in both:
                each.get_by_role("button", name="Train it").click()
            for each in both:
                each.wait_for_function("() => times.length >= 2")
                each.get_by_role("button", name="Train it again").wait_for()
                assert each.locator(".first").get_attribute("data-step") == "3"
            times = [each.evaluate("times") for each in both]
            return max(first for first, *_ in times) < min(last for *_, last in times)

        assert any(overlap() for _ in range(6))
        assert wrong == []


def held(page) -> float:
    """MB of memory that the page's process has, what its workers have in it included."""
    session = page.context.browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return max(psutil.Process(each["id"]).memory_info().rss for each in processes if each["type"] == "renderer") / 1e6


@needs_chromium
def test_memory_is_bounded_and_given_back_training_by_training(short):
    with serve_folder(short) as address, visit(f"{address}/train.html") as (page, wrong):
        page.evaluate(
            """() => { // with every call the worker is asked for its bytes, too
                window.most = 0;
                const tell = Worker.prototype.postMessage, heard = new WeakSet();
                const hear = ({ data: { id, result } }) => id < 0 && (most = Math.max(most, result));
                Worker.prototype.postMessage = function (message) {
                    if (!heard.has(this)) heard.add(this), this.addEventListener("message", hear);
                    tell.call(this, message);
                    tell.call(this, { id: -1, call: "bytes" });
                };
            }"""
        )
        after = []
        for _ in range(3):
            trained(page)
            no_worker_left(page)
            after.append(held(page))
        assert after[-1] < after[0] + 40
        assert 50e6 < page.evaluate("most") < 250e6 and wrong == []


@needs_firefox
def test_firefox_trains_it_to_its_end_behind_another_tab_under_a_strict_policy(pages, tmp_path_factory):
    profile = tmp_path_factory.mktemp("profile")
    with outside() as (proxy, asked), serve_folder(pages, STRICT) as address, firefox(profile, proxy) as tab:
        tab.open(f"{address}/train.html")
        tab.evaluate(
            """Object.assign(window, { best: 0, hidden: 0, root: document.querySelector(".first") }) && void
            new MutationObserver(() => { best = Math.max(best, root.dataset.reward); hidden += document.hidden; })
            .observe(root, { attributes: true })"""
        )
        tab.press("Train it")
        tab.wait_for("+root.dataset.step > 1")
        other = tab.in_front()
        other.wait_for("!document.hidden")
        tab.wait_for("document.querySelector('.train').textContent === 'Train it again'", seconds=90)
        assert tab.evaluate("root.dataset.step") == "25" and tab.evaluate("best") >= 0.9
        assert tab.evaluate("document.hidden") and tab.evaluate("hidden") > 10
        assert [host for host in asked if not FIREFOXS_OWN.search(host)] == []
