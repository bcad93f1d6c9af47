"""A real browser for tests of pages: one for each file of tests, started when the first test asks for it.

Where there is none such tests are skipped, and the summary says so in red: a registry that is away is no
reason to stop a change. A browser that is there but does not work fails them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline3d_tests.browser_package import NoBrowser, find_browser
from pipeline3d_tests.integration.requests.database_fixtures import PASSWORD, USERNAME

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FAULTS = (Path(__file__).parent / "page_faults.js").read_text()
WIDTHS, HEIGHT = (1280, 390), 800
NOT_DRAWN = "pages were not drawn"
# The store of the tests allows the origin of another page; that it allows one has a test of its own.
ARGUMENTS = ("--no-sandbox", "--disable-web-security")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser; a page of it has cookies of its own.

    It ends with the file that asked for it: as long as it is there, no test can run an event loop of its own.
    """
    try:
        from playwright.sync_api import sync_playwright

        program = find_browser(os.environ)
    except (ImportError, NoBrowser) as error:
        pytest.skip(f"{NOT_DRAWN}: {error}")
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser, api_url: str, engine: object) -> Iterator[Page]:
    """The studio, and on `page.troubles` whatever the browser complains of."""
    opened = browser.new_page()
    opened.troubles = []
    opened.on("pageerror", lambda error: opened.troubles.append(str(error)))
    opened.on("console", lambda line: line.type == "error" and opened.troubles.append(line.text))
    opened.goto(f"{api_url}/studio")
    opened.wait_for_selector("#sign-in", state="visible")
    opened.troubles.clear()  # that nobody is signed in yet is a 401
    yield opened
    opened.close()


def sign_in(page: Page) -> None:
    """Sign in at the studio, as a person does."""
    page.fill("input[name=username]", USERNAME)
    page.fill("input[name=password]", PASSWORD)
    page.click("#sign-in button")
    page.wait_for_selector("#work", state="visible")


def look_at(page: Page, pictures: Path, name: str) -> None:
    """Draw the page as it is now, at a desk and on a telephone. Fails for what looks wrong, and keeps the
    picture of it."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        faults = page.evaluate(FAULTS)
        if faults:
            picture = pictures / f"{name}-{width}.png"
            page.screenshot(path=picture, full_page=True)
            pytest.fail(f"{picture}: " + "; ".join(faults))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says aloud what a row of letters hides."""
    skipped = [
        report for report in terminalreporter.getreports("skipped") if NOT_DRAWN in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.section(f"{len(skipped)} tests did not run: {NOT_DRAWN}", red=True, bold=True)
        terminalreporter.line(str(skipped[0].longrepr[-1]), red=True)
