"""The built site in Chromium, for the tests of this folder.

One browser serves all tests of a file and ends with them. A page that tests only look at is opened
once and stays open; a test that changes a page gets a tab of its own. Every wait is for a state of
the page, and its ceiling is so high that a busy machine does not reach it, only a page that hangs.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from okml.paths import build_dir

CEILING = 5 * 60 * 1000  # ms
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
SPACE = "book/digests/space_time.html"
RUSSIAN = "book/ru/digests/space_time.html"
NOTEBOOK = "notebooks/space_time.html"
SCOREBOARD = "book/scoreboard.html"
THEMES = ("light", "dark")

# The page is as it will stay: formulas are set, and fonts are there.
SETTLED = """
async () => {
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  return true;
}
"""


def give_up(reason: str) -> None:
    """Skip, or fail where the browser tests were asked to run."""
    if os.environ.get("OKML_REQUIRE_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def folder() -> Path:
    """The built site."""
    found = build_dir() / "site"
    if not (found / "index.html").exists():
        give_up("the site is not built; run `make book`")
    return found


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    """Serve the built site and return its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def end_headers(self) -> None:
            self.send_header("Cache-Control", "max-age=3600")  # scripts and styles come once
            super().end_headers()

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        give_up("chromium is not installed")
    expect.set_options(timeout=CEILING)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=FLAGS, timeout=CEILING)
        yield started
        started.close()


@pytest.fixture(scope="module")
def context(browser: Browser, site: str) -> Iterator[BrowserContext]:
    # With transitions, axe may read the color of a button on its way from one to the other.
    made = browser.new_context(
        viewport=WIDE, base_url=site, color_scheme="light", reduced_motion="reduce"
    )
    made.set_default_timeout(CEILING)
    yield made
    made.close()


def go(page: Page, name: str) -> None:
    """Open a page and wait until it is as it will stay."""
    page.goto(name)
    page.wait_for_function(SETTLED)


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A new tab, for a test that changes what it opens."""
    tab = context.new_page()
    yield tab
    tab.evaluate("localStorage.clear()")
    tab.close()


Opener = Callable[..., Page]


@pytest.fixture(scope="module")
def opened(context: BrowserContext) -> Opener:
    """Return a page that stays open for every test that only looks at it."""

    @functools.cache
    def tab(name: str) -> Page:
        made = context.new_page()
        go(made, name)
        return made

    def show(name: str, theme: str = "light", size: dict[str, int] = WIDE) -> Page:
        found = tab(name)
        found.set_viewport_size(size)
        found.emulate_media(color_scheme=theme)
        expect(found.locator("html")).to_have_attribute("data-theme", theme)
        return found

    return show
