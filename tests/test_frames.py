"""A lesson in a frame on somebody else's page, in a real browser: whatever that page's site, the reader's settings and the frame's sandbox allow."""

import os
from contextlib import contextmanager

import pytest

from tests.support.browser import CHROMIUM, failures, press, profile
from tests.support.pages import NPM, READY, hosting, serve_folder, wakes

WHY = "needs Chromium, and npm for Pyodide"
pytestmark = pytest.mark.skipif((CHROMIUM is None or NPM is None) and "CI" not in os.environ, reason=WHY)

USUAL = "allow-scripts allow-same-origin allow-popups allow-popups-to-escape-sandbox allow-downloads allow-forms"
OWN, OTHER = "127.0.0.1", "localhost"  # the lesson's site, and another one, on this machine
ALLOWED = {"cookie_controls_mode": 0, "block_third_party_cookies": False}
BLOCKED = {"cookie_controls_mode": 1, "block_third_party_cookies": True}  # for frames of another site
NOWHERE = {"default_content_setting_values": {"cookies": 2}}  # on any page


@contextmanager
def framed(root, tmp_path, storage, site, sandbox, query="", server=hosting):
    """A lesson in a frame of a page on a site; what a browser may keep, and what the frame may do."""
    with server(root) as served, serve_folder(tmp_path) as host, profile({"profile": storage}) as page:
        address = served if isinstance(served, str) else served[0]
        limits = "" if sandbox is None else f'sandbox="{sandbox}"'
        source = f"{address}/course/grpo/format.html?embed=true{query}"
        html = f'<!doctype html><title>host</title><iframe src="{source}" width="1000" height="800" {limits}></iframe>'
        (tmp_path / "host.html").write_text(html, encoding="utf-8")
        page.goto(f"{host.replace(OWN, site)}/host.html", wait_until="commit")
        yield page, page.locator("iframe").content_frame


@pytest.mark.parametrize(
    ("storage", "site", "sandbox", "query"),
    [
        (ALLOWED, OWN, USUAL, ""),
        (ALLOWED, OTHER, None, "&theme=dark"),
        (ALLOWED, OTHER, "allow-scripts", "&step=2"),
        (BLOCKED, OWN, None, "&step=2&theme=dark"),
        (BLOCKED, OTHER, USUAL, "&theme=dark&step=2"),
        (BLOCKED, OTHER, "allow-scripts allow-same-origin", ""),
        (NOWHERE, OWN, "allow-scripts allow-same-origin", "&theme=light"),
        (NOWHERE, OTHER, None, ""),
        (NOWHERE, OTHER, "allow-scripts", "&theme=dark"),
    ],
)
def test_a_lesson_wakes_in_a_frame(root, tmp_path, storage, site, sandbox, query):
    with framed(root, tmp_path, storage, site, sandbox, query) as (_, frame):
        wakes(frame)
        dark = frame.locator("body").evaluate("body => body.classList.contains('dark')")
        assert dark == ("theme=dark" in query)
        shown = frame.locator("h1:visible, h2:visible").all_inner_texts()
        assert len(shown) == 1 if "step" in query else len(shown) > 5
        assert failures(frame.locator("body").page.frames[1]) == []


def test_it_trains_where_a_browser_keeps_nothing_and_the_frame_has_no_origin(root, tmp_path):
    with framed(root, tmp_path, NOWHERE, OTHER, "allow-scripts") as (_, frame):
        wakes(frame)
        press(frame, "steps", "Home")
        frame.get_by_text("samples 32 completions").first.wait_for(timeout=5_000)
        frame.get_by_role("button", name="Train", exact=True).click()
        frame.get_by_text("Finished: 5 steps").wait_for(timeout=READY)


def test_what_a_sandbox_keeps_from_starting_is_said_at_once_with_a_link_to_a_tab_of_its_own(root, tmp_path):
    """Without an origin a frame may load from a server that lets any page load, as most hosts of pages do, and from no other."""
    with framed(root, tmp_path, ALLOWED, OTHER, "allow-scripts", "&theme=dark&step=2", serve_folder) as (_, frame):
        frame.get_by_text("this frame's sandbox keeps the lesson from its own files").wait_for(timeout=10_000)
        link = frame.get_by_role("link", name="/format.html")
        assert link.get_attribute("href").endswith("/format.html?theme=dark&step=2")
        assert (link.get_attribute("target"), link.get_attribute("rel")) == ("_blank", "noopener")
        assert frame.get_by_text("After 25 steps of training").first.is_visible()


def test_without_scripts_it_is_read_and_leads_to_a_tab_of_its_own(root, tmp_path):
    with framed(root, tmp_path, ALLOWED, OTHER, "allow-popups allow-popups-to-escape-sandbox") as (page, frame):
        frame.locator("#unscripted").wait_for(timeout=10_000)
        assert frame.get_by_text("After 25 steps of training").first.is_visible()
        assert not frame.locator("#waking").is_visible()
        with page.expect_popup() as opened:
            frame.locator("#unscripted a").click()
        wakes(opened.value)
