"""The studio page in a real browser, and its calls as they stand in its script, for which none is needed."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from pipeline3d.api import app as the_app
from pipeline3d.database.access_tables import sessions
from pipeline3d.database.tables import jobs
from pipeline3d.values import ArtifactType
from pipeline3d_tests.browsers import sign_in
from pipeline3d_tests.integration.api.api_fixtures import draw_png
from pipeline3d_tests.integration.requests.database_fixtures import PASSWORD, USERNAME
from pipeline3d_tests.servers import wait_until


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


def test_a_text_becomes_a_request_with_what_was_changed_alone(page, rows):
    sign_in(page)
    page.select_option("#model", "sculpt-v1")
    assert not page.is_visible("#drop")
    page.get_by_label("Prompt").fill("a round table")
    page.click("#more summary")
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Light").select_option("studio")  # as it is anyway
    page.get_by_label("obj", exact=True).check()
    page.click("#start")
    wait_until(
        lambda: page.is_visible("#cancel") or page.inner_text("#problem"), what="the job waits or a reason"
    )
    assert page.inner_text("#problem") == "", page.troubles
    [job] = rows.run(jobs.select())
    assert (job.model_id, job.prompt) == ("sculpt-v1", "a round table")
    assert job.input_params == {"seed": 7, "formats": ["obj"]}
    assert page.troubles == []


def test_an_export_takes_a_file_of_any_system_or_an_earlier_job(page, rows):
    sign_in(page)
    page.set_input_files("#photo", {"name": "cup.png", "mimeType": "image/png", "buffer": draw_png()})
    page.select_option("#model", "export-v1")
    assert page.is_disabled("#start")  # a photo is no model
    assert not page.is_visible("#chosen")
    page.get_by_label("Earlier job").fill("nothing of the kind")
    assert page.is_enabled("#start")
    page.click("#start")
    page.wait_for_selector("#param-source_job_id[aria-invalid]")
    page.get_by_label("Earlier job").fill("")
    page.set_input_files(
        "#photo", {"name": "cup.stl", "mimeType": "", "buffer": b"solid cup\nendsolid cup\n"}
    )
    page.click("#start")
    wait_until(
        lambda: page.is_visible("#cancel") or page.inner_text("#problem"), what="the job waits or a reason"
    )
    assert page.inner_text("#problem") == "", page.troubles
    [job] = rows.run(jobs.select())
    assert job.model_id == "export-v1"
    assert list(job.input_params) == ["input_path"]
    assert job.input_params["input_path"].endswith(".stl")


def test_what_the_service_refuses_is_told_at_its_control(page, rows):
    sign_in(page)
    page.select_option("#model", "product-inflate-v1")
    page.get_by_label("Shop").fill("not a shop")
    page.get_by_label("Product").fill("17")
    page.get_by_label("Photos").fill("https://shop.example.com/1.jpg\n\nftp://shop.example.com/2.jpg")
    page.click("#start")
    page.wait_for_selector("#param-shop[aria-invalid]")
    assert "not a shop" in page.inner_text("#param-shop-wrong")
    assert "ftp://shop.example.com/2.jpg" in page.inner_text("#param-image_urls-wrong")
    assert page.inner_text("#param-product_id-wrong") == ""
    assert "settings" in page.inner_text("#problem")
    assert page.evaluate("document.activeElement.id") == "param-shop"  # the uppermost
    assert rows.run(jobs.select()) == []


def test_every_control_has_a_label_and_is_drawn_for_every_ready_model(page, api):
    sign_in(page)
    listed = {model["id"]: model for model in api.http.get("/api/v1/models").json()}
    assert page.input_value("#model") == "inflate-v1"
    for entry in page.query_selector_all("#model option"):
        model = listed.pop(entry.get_attribute("value"))
        assert entry.is_disabled() is not model["ready"]
        if not model["ready"]:
            assert entry.get_attribute("title") == model["not_ready_reason"]
            assert model["not_ready_reason"] in page.text_content("#reasons")
            continue
        page.select_option("#model", model["id"])
        for name, rule in model["parameters_schema"]["properties"].items():
            is_file = model["kind"] in ("image_to_3d", "export_model") and name in (
                "input_path",
                "image_path",
            )
            assert page.locator(f"#param-{name}").count() == (0 if is_file else 1), (model["id"], name)
            if not is_file:
                assert rule["description"] in page.text_content(f"#param-{name}-help")
        unnamed = page.evaluate(
            "[...document.querySelectorAll('#create :is(input, select, textarea)')]"
            ".filter((one) => !one.labels.length).map((one) => one.id)"
        )
        assert unnamed == []
    assert listed == {}
    assert page.troubles == []


@pytest.fixture(scope="module")
def scripts(browser, api_url):
    """A page for those who only call the functions of its scripts, which keep nothing."""
    opened = browser.new_page()
    opened.goto(f"{api_url}/studio")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("rule", "given", "sent"),
    [
        ({"type": "string"}, " a ", "a"),
        ({"type": "string"}, "  ", None),
        ({"type": "string", "default": "a"}, "a", None),
        ({"type": "integer", "default": 0}, "7", 7),
        ({"type": "number", "default": 1.0}, "1", None),
        ({"type": "number"}, "0", 0),
        ({"type": ["integer", "null"]}, "3", 3),
        ({"type": "integer", "enum": [256, 512]}, "512", 512),
        ({"enum": ["a", "b"], "default": "a"}, "a", None),
        ({"type": "boolean"}, False, None),
        ({"type": "boolean", "default": True}, False, False),
        ({"type": "array", "items": {"type": "string"}}, "x\n\n y \n", ["x", "y"]),
        ({"type": "array", "items": {"enum": ["a", "b"]}, "default": []}, ["b"], ["b"]),
        ({"type": "array", "items": {"enum": ["a", "b"]}, "default": []}, [], None),
        ({"type": "array", "items": {"enum": ["a", "b"]}, "default": ["a"]}, [], []),
        ({"type": "array", "items": {"type": "object"}}, '[{"a": 1}]', [{"a": 1}]),
    ],
)
def test_a_control_is_sent_as_its_schema_has_it_and_only_where_it_was_changed(scripts, rule, given, sent):
    ask = """([rule, given]) => {
        const model = {kind: "probe", parameters_schema: {properties: {it: rule}}};
        return studioForms.paramsOf(studioForms.controlsOf(model), {it: given});
    }"""
    expected = {} if sent is None else {"it": sent}
    assert scripts.evaluate(ask, [rule, given]) == {"params": expected, "errors": []}


def test_what_a_quality_decides_is_sent_whenever_somebody_chooses_it(scripts):
    schema = {
        "properties": {
            "quality": {"enum": ["fast", "balanced"], "default": "balanced", "description": "How fine."},
            "grid": {"type": "integer", "title": "Grid", "default": 8},
            "shape": {"type": "array", "items": {"type": "object"}},
        },
        "required": ["shape"],
        "x-presets": {"balanced": {"grid": 8}, "fast": {"grid": 4}},
    }
    ask = """(schema) => {
        const controls = studioForms.controlsOf({kind: "probe", parameters_schema: schema});
        const values = {quality: "fast", grid: "8", shape: "no JSON"};
        return [controls, studioForms.paramsOf(controls, values)];
    }"""
    controls, read = scripts.evaluate(ask, schema)
    assert [control["name"] for control in controls] == ["shape", "quality", "grid"]
    assert controls[1]["help"] == "How fine. fast: Grid 4. balanced: Grid 8."
    assert controls[2]["placeholder"] == "by quality"
    assert read["params"] == {"quality": "fast", "grid": 8}
    assert [error["field"] for error in read["errors"]] == ["shape"]


STATIC = Path(the_app.__file__).parent / "static"
SCRIPTS = ("studio_forms.js", "studio_controls.js", "studio.js")
SCRIPT = "".join((STATIC / name).read_text() for name in SCRIPTS)
PAGE = (STATIC / "studio.html").read_text()
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
    [model] = [model for model in calls.call("GET", "/models") if model["id"] == "inflate-v1"]
    assert model["ready"]
    assert model["kind"] == "image_to_3d"
    assert {"not_ready_reason", "not_ready_hint", "name", "description"} <= model.keys()
    assert "quality" in model["parameters_schema"]["properties"]
    assert "quality" in model["parameters_schema"]["x-presets"]
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
    assert len(calls_of_the_script()) == 9


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_page_loads_its_scripts_and_none_of_them_makes_code_of_text(api_url, name):
    served = httpx.get(f"{api_url}/static/{name}")
    assert served.is_success
    assert f'<script src="/static/{name}" defer></script>' in PAGE
    for dangerous in ("eval(", "Function(", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"):
        assert dangerous not in served.text


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
