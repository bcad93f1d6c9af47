"""The studio page: its calls everywhere, and itself in a real browser where there is one.

Without playwright or Chromium its calls are tested all the same, as they stand in its script.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import httpx
import pytest

from pipeline3d.api import app as the_app
from pipeline3d.database.access_tables import sessions
from pipeline3d.database.tables import jobs
from pipeline3d.values import ArtifactType
from pipeline3d_tests.integration.api.api_fixtures import draw_png
from pipeline3d_tests.integration.requests.database_fixtures import PASSWORD, USERNAME
from pipeline3d_tests.servers import wait_until

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="only the calls of the page are tested")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: only the calls of the page are tested")
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


SCRIPT = (Path(the_app.__file__).parent / "static" / "studio.js").read_text()
PAGE = (Path(the_app.__file__).parent / "static" / "studio.html").read_text()
CALL = re.compile(
    r"""call\((?P<quote>["`])(?P<path>/.*?)(?P=quote)(?:, \{ """
    r"""(?:method: "(?P<method>\w+)"|(?P<body>body)))?"""
)


def calls_of_the_script():
    """Method and path of each call that the script spells out, with {} for what it fills in."""
    found = {("GET", "/auth/session")} if "fetch(`${API}/auth/session`)" in SCRIPT else set()
    for call in CALL.finditer(SCRIPT):
        method = call["method"] or ("POST" if call["body"] else "GET")
        found.add((method, re.sub(r"\$\{.*?\}", "{}", call["path"])))
    return found


class Calls:
    """Calls of the API as the page's script makes them: by its cookie, with its token."""

    def __init__(self, http):
        self._http, self._token, self.made = http, None, set()

    def call(self, method, path, *parts, body=None, **headers):
        if self._token is not None:
            headers["x-csrf-token"] = self._token
        self.made.add((method, path))
        address = f"/api/v1{path.format(*parts)}"
        answer = self._http.request(method, address, json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def take(self, session):
        self._token = session["csrf_token"]


@pytest.fixture
def calls(api_url, engine):
    headers = {"origin": api_url, "sec-fetch-site": "same-origin"}
    with httpx.Client(base_url=api_url, headers=headers, timeout=30) as http:
        yield Calls(http)


def test_every_call_of_the_page_is_understood(calls, rows, ledger, store):
    session = calls.call("POST", "/auth/session", body={"username": USERNAME, "password": PASSWORD})
    assert session["username"] == USERNAME
    calls.take(calls.call("GET", "/auth/session"))  # as after a reload
    ticket = calls.call(
        "POST", "/jobs/upload-ticket", body={"filename": "cup.png", "content_type": "image/png"}
    )
    assert ticket["max_bytes"] > len(draw_png())
    stored = httpx.put(ticket["upload_url"], headers=ticket["headers"], content=draw_png())
    assert stored.status_code == 200
    params = {"input_path": ticket["object_name"], "quality": "balanced"}
    body = {"model_id": "inflate-v1", "input_params": params}
    first = calls.call("POST", "/jobs/", body=body, **{"idempotency-key": "0" * 32})
    job = calls.call("POST", "/jobs/", body=body, **{"idempotency-key": "0" * 32})
    assert job["id"] == first["id"]
    for name in ("status", "progress_percent", "error", "artifacts"):
        assert name in job
    assert {"stage", "stage_number", "stage_count"} <= job["progress"].keys()
    job_id = rows.run(jobs.select())[0].id
    ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
    for asset, name, kind in [
        ("glb_export", "model.glb", ArtifactType.OUTPUT_MODEL),
        ("thumbnail", "thumbnail.png", ArtifactType.PREVIEW),
    ]:
        put = store.put_bytes(f"jobs/{job_id}/{asset}/{name}", b"content", "application/octet-stream")
        ledger.record_artifact(job_id, 1, asset, name, kind, put, {})
    ledger.succeed(job_id, "run-1")
    done = calls.call("GET", "/jobs/{}", job["id"])
    assert (done["status"], done["progress_percent"]) == ("SUCCEEDED", 100)
    link = calls.call("GET", "/jobs/{}/download", job["id"])["download_url"]
    assert httpx.get(link).content == b"content"
    [preview] = [artifact for artifact in done["artifacts"] if artifact["type"] == "PREVIEW"]
    assert httpx.get(calls.call("GET", preview["url"].removeprefix("/api/v1"))["download_url"]).is_success
    calls.call("POST", "/jobs/{}/cancel", job["id"])  # it has ended, and stays as it is
    assert calls.call("DELETE", "/auth/session") is None
    # whatever else the script comes to ask belongs into this test
    assert calls_of_the_script() <= calls.made
    assert len(calls_of_the_script()) == 8


def test_the_page_has_every_element_that_its_script_looks_for():
    looked_for = set(re.findall(r"""\$\("([\w-]+)"\)""", SCRIPT))
    assert looked_for
    assert looked_for <= set(re.findall(r'id="([\w-]+)"', PAGE))


@pytest.mark.parametrize(
    ("wanted", "followed"),
    [
        ("/dagster", True),
        ("/lineage/assets?view=x", True),
        ("//evil.example.com", False),
        ("https://evil.example.com/dagster", False),
        ("/dagster.evil.example.com", False),
        ("javascript:alert(1)", False),
        ("/\\evil.example.com", False),
    ],
)
def test_after_a_sign_in_the_page_goes_to_pages_of_this_service_only(wanted, followed):
    pattern = re.search(r"const wanted = \(/(.*)/\.exec", SCRIPT)[1]
    assert (re.search(pattern.replace(r"\/", "/"), wanted) is not None) is followed
