"""A lesson in a frame on somebody else's page, in a real browser: whatever that page's site, the reader's settings and the frame's sandbox allow."""

import os
from contextlib import contextmanager

import pytest

from tests.support.browser import CHROMIUM, failures, press, profile, told
from tests.support.pages import NPM, hosting, serve_folder, visit, wakes

WHY = "needs Chromium, and npm for Pyodide"
pytestmark = pytest.mark.skipif((CHROMIUM is None or NPM is None) and "CI" not in os.environ, reason=WHY)

USUAL = "allow-scripts allow-same-origin allow-popups allow-popups-to-escape-sandbox allow-downloads allow-forms"
OWN, OTHER = "127.0.0.1", "localhost"  # the lesson's site, and another one, on this machine
ALLOWED = {"cookie_controls_mode": 0, "block_third_party_cookies": False}
BLOCKED = {"cookie_controls_mode": 1, "block_third_party_cookies": True}  # for frames of another site
NOWHERE = {"default_content_setting_values": {"cookies": 2}}  # on any page


WHOLE = "<style>body { margin: 0; } iframe { display: block; border: 0; width: 100vw; height: 100vh; }</style>"


@contextmanager
def framed(root, folder, storage, site, sandbox, query="", server=hosting, lesson="format"):
    """A lesson in a frame as large as a page on a site; what a browser may keep, and what the frame may do."""
    with server(root) as served, serve_folder(folder) as host, profile({"profile": storage}) as page:
        address = served if isinstance(served, str) else served[0]
        source = f"{address}/course/grpo/{lesson}.html?embed=true{query}"
        html = f'<!doctype html><title>host</title>{WHOLE}<iframe src="{source}" sandbox="{sandbox}"></iframe>'
        (folder / "host.html").write_text(html, encoding="utf-8")
        page.goto(f"{host.replace(OWN, site)}/host.html", wait_until="commit")
        yield page, page.locator("iframe").content_frame


def test_it_trains_where_a_browser_keeps_nothing_and_the_frame_has_no_origin(root, tmp_path):
    with framed(root, tmp_path, NOWHERE, OTHER, "allow-scripts") as (page, frame):
        wakes(frame)
        assert failures(frame.locator("body").page.frames[1]) == []
        frame.get_by_text("Nothing at all", exact=True).click()  # nor does it mind that this cannot be kept
        frame.get_by_text("No reply is better than its siblings").wait_for()
        press(frame, "steps", "Home")
        frame.get_by_text("samples 32 completions").first.wait_for()
        frame.get_by_role("button", name="Train", exact=True).click()
        told(frame, "Finished: 5 steps").wait_for()
        frame.locator("marimo-code-editor").first.locator(".cm-content").click()
        page.keyboard.press("Control+a")
        page.keyboard.insert_text("import time\ntime.sleep(99)\n")  # nor does code that never ends leave it dead
        frame.get_by_text("Two: advantages.").click()
        frame.get_by_text("did not come to an end in 5 s").wait_for()


def test_what_a_sandbox_keeps_from_starting_is_said_at_once_with_a_link_to_a_tab_of_its_own(root, tmp_path):
    """Without an origin a frame may load from a server that lets any page load, as most hosts of pages do, and from no other."""
    with framed(root, tmp_path, ALLOWED, OTHER, "allow-scripts", "&theme=dark&step=2", serve_folder) as (_, frame):
        frame.get_by_text("this frame's sandbox keeps the lesson from its own files").wait_for()
        link = frame.get_by_role("link", name="/format.html")
        assert link.get_attribute("href").endswith("/format.html?theme=dark&step=2")
        assert (link.get_attribute("target"), link.get_attribute("rel")) == ("_blank", "noopener")
        assert frame.locator("h1:visible, h2:visible").all_inner_texts() == ["2 · Play with the reward"]


def test_without_scripts_it_is_read_and_leads_to_a_tab_of_its_own(root, tmp_path):
    with framed(root, tmp_path, ALLOWED, OTHER, "allow-popups allow-popups-to-escape-sandbox") as (page, frame):
        frame.locator("#unscripted").wait_for()
        assert frame.get_by_text("After 25 steps of training").first.is_visible()
        assert not frame.locator("#waking").is_visible()
        with page.expect_popup() as opened:
            frame.locator("#unscripted a").click()
        opened.value.get_by_text("the controls wake").wait_for()  # scripts run there


@pytest.fixture(scope="module")
def address(root):
    with hosting(root) as (server, _):
        yield f"{server}/course/grpo"


@pytest.fixture(scope="module")
def only(root, tmp_path_factory):
    """One station, as its line shows it, alive in a frame for which the browser keeps nothing."""
    query, folder = "&station=the-shape-of-a-reward&theme=dark", tmp_path_factory.mktemp("only")
    with framed(root, folder, NOWHERE, OWN, "allow-scripts allow-same-origin", query, lesson="length") as (page, frame):
        wakes(frame)
        frame.get_by_role("heading", name="3 · The shape of a reward").wait_for()
        yield page.frames[1]


def test_a_station_alone_has_nothing_around_it_and_works(only):
    assert only.locator("body").evaluate("body => body.classList.contains('dark')") and failures(only) == []
    assert only.locator("h1:visible, h2:visible").all_inner_texts() == ["3 · The shape of a reward"]
    assert only.locator("#gl-bar").count() == 0
    for chrome in ("[data-testid=watermark]", "#App button[aria-haspopup=menu]"):
        assert not only.locator(chrome).is_visible()
    only.get_by_role("heading", name="3 · The shape of a reward").click()
    only.page.keyboard.press("ArrowRight")
    only.get_by_role("radio", name="window").click()
    only.get_by_text("Window", exact=True).first.wait_for()
    assert only.locator("h1:visible, h2:visible").all_inner_texts() == ["3 · The shape of a reward"]


def test_speakers_notes_are_not_in_a_page_that_everybody_reads(only):
    assert only.locator(".gl-notes").count() == 0
    only.get_by_role("heading", name="3 · The shape of a reward").click()
    only.page.keyboard.press("s")
    only.wait_for_timeout(500)
    assert len(only.page.context.pages) == 1


LINES = """() => [...document.querySelectorAll('.line code')].map(code => {
    const frame = new DOMParser().parseFromString(code.textContent, 'text/html').querySelector('iframe');
    return frame && Object.fromEntries([...frame.attributes].map(each => [each.name, each.value]));
}).filter(Boolean)"""


def test_the_lines_to_copy_say_all_that_a_strict_page_lets_them_say(address):
    with visit(f"{address}/index.html") as (page, _):
        page.get_by_label("Your page is").select_option("dark")
        page.get_by_label("Lesson", exact=True).select_option("math")
        page.get_by_label("Station", exact=True).select_option("check-your-data")
        lines = page.evaluate(LINES)
        sources = [line["src"].removeprefix("https://example.org/grpo/") for line in lines]
        whole = [f"{name}.html?embed=true&theme=dark" for name in ("length", "format", "math")]
        assert sources == [*whole, "math.html?embed=true&station=check-your-data&theme=dark", "train.html?theme=dark"]
        for line in lines:
            assert "style" not in line and (line["width"], line["height"], line["loading"]) == ("100%", "720", "lazy")
            assert {"allow-scripts", "allow-same-origin"} <= {*line["sandbox"].split()} and "fullscreen" in line[
                "allow"
            ]


@pytest.fixture(scope="module")
def tall(address, root):
    """A page of another site with a lesson in it, as tall as that is, by the lines to copy; and one further below.

    The browser keeps nothing for frames of other sites.
    """
    with visit(f"{address}/index.html") as (page, _):
        line, script = page.locator("code[data-name=format]").inner_text(), page.locator("#tall").inner_text()
    line = line.replace("https://example.org/grpo", address)
    below, line = line.replace("format.html", "length.html"), line.replace("embed=true", "embed=true&amp;theme=light")
    below = below.replace('loading="lazy"', "")  # for browsers that know no such thing
    folder = root / "hosts"
    folder.mkdir(exist_ok=True)
    (folder / "tall.html").write_text(
        f"<!doctype html><title>host</title><p>Words.</p>{line}<p style='height: 3000px'>More.</p>{below}{script}",
        "utf-8",
    )
    with serve_folder(folder) as host, profile({"profile": BLOCKED}) as page:
        page.goto(f"{host.replace(OWN, OTHER)}/tall.html")
        first, second = (each.content_frame for each in page.locator("iframe").all())
        wakes(first)
        yield page, first, second


def in_sight(page, locator):
    box = locator.bounding_box()
    return box["y"] > -1 and box["y"] + box["height"] < page.viewport_size["height"] + 1


def test_a_lesson_wakes_in_a_frame_on_another_site(tall):
    page, frame, _ = tall
    assert not frame.locator("body").evaluate("body => body.classList.contains('dark')")
    assert len(frame.locator("h1:visible, h2:visible").all_inner_texts()) > 5
    assert failures(page.frames[1]) == []


def test_a_frame_becomes_as_tall_as_its_lesson(tall):
    page, frame, _ = tall
    page.wait_for_function("document.querySelector('iframe').clientHeight > 4000")
    page.wait_for_timeout(1500)
    app = "document.getElementById('App')"
    assert (
        frame.locator("body").evaluate(f"() => {app}.scrollHeight - {app}.clientHeight") < 60
    )  # nothing scrolls in it


def test_the_bar_stays_in_sight_in_a_frame_that_is_taller_than_the_window(tall):
    page, frame, _ = tall
    frame.get_by_role("button", name="Step by step").click()
    frame.get_by_role("button", name="Next").click()
    page.set_viewport_size({"width": 1100, "height": 500})
    page.wait_for_function("document.querySelector('iframe').clientHeight < 4000")
    page.wait_for_timeout(1000)
    assert page.locator("iframe").first.bounding_box()["height"] > 600
    for top in (0, 200, 100):
        page.evaluate(f"scrollTo(0, {top})")
        page.wait_for_timeout(600)
        assert in_sight(page, frame.locator("#gl-bar"))
    page.evaluate("scrollTo(0, 200)")
    frame.get_by_role("button", name="Next").click()
    page.wait_for_function("document.querySelector('iframe').getBoundingClientRect().top > -1")
    assert in_sight(page, frame.locator("h2:visible").first)


def test_a_frame_that_is_not_in_sight_has_its_text_and_starts_no_python(tall):
    page, _, below = tall
    below.locator("#first h1").wait_for()
    assert below.locator("#App").count() == 0
    page.locator("iframe").last.scroll_into_view_if_needed()
    below.locator("#App").wait_for()


COVERED = """() => {
    const page = document.getElementById('first') ?? document.getElementById('App'), texts = [], found = [];
    const isSeen = node => node.checkVisibility({ visibilityProperty: true, opacityProperty: true });
    const both = (a, b) => ({ left: Math.max(a.left, b.left), right: Math.min(a.right, b.right), top: Math.max(a.top, b.top), bottom: Math.min(a.bottom, b.bottom) });
    const read = (node, room) => {  // the lines of text within what scrolls
        if (node.nodeType === 3 && node.data.trim() && isSeen(node.parentElement ?? node.getRootNode().host)) {
            const range = document.createRange();
            range.selectNodeContents(node);
            for (const rect of range.getClientRects()) texts.push([node.data.trim(), both(rect, room)]);
        }
        if (node.nodeType === 1 && getComputedStyle(node).overflow !== 'visible') room = both(room, node.getBoundingClientRect());
        for (const child of [...(node.shadowRoot?.childNodes ?? []), ...node.childNodes]) read(child, room);
    };
    const isInView = ({ top, bottom }) => bottom > 0 && top < innerHeight; // to ask where the rest is has it laid out first
    for (const each of page.querySelectorAll('.output-area'))
        if (isInView(each.getBoundingClientRect())) read(each, page.getBoundingClientRect());
    const paints = node => isSeen(node) && (node.matches('button, svg') || getComputedStyle(node).backgroundColor !== 'rgba(0, 0, 0, 0)');
    for (const fixed of document.querySelectorAll('body *')) if (fixed !== page && getComputedStyle(fixed).position === 'fixed')
        for (const node of [fixed, ...fixed.querySelectorAll('*')].filter(paints)) for (const [text, rect] of texts) {
            const over = both(rect, node.getBoundingClientRect());
            if (over.right - over.left > 1 && over.bottom - over.top > 1) found.push(`${node.id || node.className}: ${text}`);
        }
    return [texts.length, found];
}"""


WIDTHS = (360, 420, 700, 900, 1280)


def covered_at(frame, width: int) -> list[str]:
    """The texts that something fixed covers, all through a frame."""
    frame.page.set_viewport_size({"width": width, "height": 900})
    found = []
    for part in (0, 0.37, 0.63, 1):
        frame.evaluate(
            f"(app => {{ if (app) app.scrollTop = {part} * app.scrollHeight; }})(document.getElementById('App'))"
        )
        frame.wait_for_timeout(150)
        laid_out = f"() => {{ const [texts, found] = ({COVERED})(); return texts > 20 && {{ found }}; }}"
        found += frame.wait_for_function(laid_out).evaluate("seen => seen.found")  # a slow machine does it later
    return found


@pytest.fixture(scope="module")
def still(root, tmp_path_factory):
    """A lesson that has just been asked for, in a frame on another site, where all is allowed."""
    folder = tmp_path_factory.mktemp("still")
    with framed(root, folder, ALLOWED, OTHER, USUAL, "&theme=dark", lesson="length") as (page, frame):
        frame.locator("#waking").wait_for()
        yield page.frames[1]


def test_nothing_that_is_fixed_covers_text_at_any_width(still):
    for width in WIDTHS:
        still.page.set_viewport_size({"width": width, "height": 900})
        still.wait_for_timeout(100)
        assert still.evaluate(COVERED)[1] == [], width
    wakes(still)
    still.locator("#waking").wait_for(state="detached")
    assert not {width: found for width in WIDTHS if (found := covered_at(still, width))}
    still.evaluate("document.getElementById('App').scrollTop = 0")
    still.get_by_role("button", name="Step by step").click()
    assert not {width: found for width in WIDTHS if (found := covered_at(still, width))}


def test_a_link_to_another_lesson_keeps_how_this_one_is_shown(still):
    still.get_by_label("Station", exact=True).select_option("15")
    still.get_by_role("link", name="math.html").last.click()
    still.wait_for_url("**/math.html?embed=true&theme=dark")
