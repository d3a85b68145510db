"""The example server: the live lessons in frames of somebody's own page, with real training."""

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from tests.support.browser import CHROMIUM, at_step, browse, free_port, told

pytestmark = pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="needs Chromium")


@pytest.fixture(scope="module")
def address():
    port = free_port()
    code = f"import uvicorn; from grpo_lessons.web.server import create_app; uvicorn.run(create_app(), port={port})"
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    for _ in range(150):
        try:
            urllib.request.urlopen(url, timeout=1)
            break
        except OSError:
            time.sleep(0.2)
    yield url
    server.kill()
    server.wait()


def test_a_lesson_trains_inside_the_frame(address):
    with browse(f"{address}/lessons/format") as page:
        frame = page.locator("iframe").content_frame
        frame.get_by_role("radio", name="tag count").click()
        frame.locator(".cards").first.get_by_text("tag_reward").first.wait_for()
        frame.get_by_role("button", name="Train", exact=True).click()
        at_step(frame, 1).wait_for()
        frame.get_by_role("button", name="Stop").click()
        told(frame, re.compile(r"Stopped: \d+ step")).wait_for()


def test_an_unknown_lesson_is_told_so(address):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{address}/lessons/<script>")
