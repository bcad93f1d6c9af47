"""The studio page in a real browser, where there is one: signing in, working, signing out."""

from __future__ import annotations

import shutil

import pytest

from pipeline3d.database.access_tables import sessions
from pipeline3d_tests.integration.api.api_fixtures import draw_png
from pipeline3d_tests.integration.requests.database_fixtures import PASSWORD, USERNAME
from pipeline3d_tests.servers import wait_until

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="no browser is driven without playwright")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as driver:
        # The store of the tests allows the origin of another page; that it allows one has a test of its own.
        arguments = ["--no-sandbox", "--disable-web-security"]
        running = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield running
        running.close()


@pytest.fixture
def page(browser, api_url, engine):
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


def sign_in(page):
    page.fill("input[name=username]", USERNAME)
    page.fill("input[name=password]", PASSWORD)
    page.click("#sign-in button")
    page.wait_for_selector("#work", state="visible")


def test_a_person_signs_in_makes_a_request_cancels_it_and_signs_out(page, rows):
    sign_in(page)
    assert page.evaluate("document.cookie") == ""  # no script can read the session
    assert page.evaluate("Object.keys(sessionStorage).length + Object.keys(localStorage).length") == 0
    # a page that is loaded again is still signed in, and may still change something
    page.reload()
    page.wait_for_selector("#work", state="visible")
    page.set_input_files("#photo", {"name": "cup.png", "mimeType": "image/png", "buffer": draw_png()})
    page.click("#start")
    wait_until(
        lambda: page.is_visible("#cancel") or page.inner_text("#problem"), what="the job waits or a reason"
    )
    assert page.inner_text("#problem") == "", page.troubles
    page.click("#cancel")
    wait_until(lambda: page.inner_text("#stage").startswith("canceled"), what="the job is canceled")
    page.click("#sign-out")
    page.wait_for_selector("#sign-in", state="visible")
    assert page.inner_text("#problem") == ""
    [session] = rows.run(sessions.select())
    assert session.revoked_at is not None
    assert page.troubles == []


def test_a_wrong_password_is_told_and_a_session_that_ends_asks_anew(page, rows):
    page.fill("input[name=username]", USERNAME)
    page.fill("input[name=password]", "wrong")
    page.click("#sign-in button")
    wait_until(lambda: "wrong" in page.inner_text("#problem"), what="the reason is shown")
    sign_in(page)
    rows.run(sessions.delete())
    page.click("#sign-out")
    page.wait_for_selector("#sign-in", state="visible")
    wait_until(lambda: "ended" in page.inner_text("#problem"), what="the reason is shown")
