"""The front end of predecessor 1, unchanged: every call that its pages make, in order, by their own rules.

Its account has the compatibility profile `tcc`. `Page` does what the page's code does and no more: it keeps
the key of the login, follows no field that it does not know, and knows four words for a job's status.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import pytest

from pipeline3d.database.tables import jobs, users
from pipeline3d.requests import changes
from pipeline3d.values import ArtifactType, FailureReport
from pipeline3d_tests.integration.api.api_fixtures import draw_png
from pipeline3d_tests.integration.requests.database_fixtures import PASSWORD, USERNAME

JOB = {
    *("id", "model_id", "prompt", "input_params", "status", "progress_percent"),
    *("created_at", "started_at", "completed_at"),
}
STATUS_WORDS = {"QUEUED", "PROCESSING", "SUCCEEDED", "FAILED"}
IMAGE_OPTIONS = {"texture_resolution": 1024, "remesh_option": "triangle", "foreground_ratio": 0.85}
TEXT_OPTIONS = {"max_steps": 1000, "guidance_scale": 7.5, "seed": 42}


class Page:
    """The calls of the front end."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._key = ""

    def call(self, method, path, body=None):
        """As its `axios` instance: base path, key header, no redirects followed."""
        headers = {"x-api-key": self._key} if self._key else {}
        return self._http.request(method, f"/api/v1{path}", json=body, headers=headers)

    def login(self):
        answer = self.call("POST", "/auth/login", {"username": USERNAME, "password": PASSWORD})
        assert answer.status_code == 200
        self._key = answer.json()["api_key"]
        return answer.json()

    def upload(self):
        ticket = self.call(
            "POST", "/jobs/upload-ticket", {"filename": "a photo.png", "content_type": "image/png"}
        ).json()
        assert set(ticket) == {"upload_url", "object_name", "expires_in"}
        assert ticket["expires_in"] == 300
        stored = httpx.put(ticket["upload_url"], content=draw_png(), headers={"Content-Type": "image/png"})
        assert stored.status_code == 200
        return ticket["object_name"]

    def job(self, job_id):
        job = self.call("GET", f"/jobs/{job_id}").json()
        assert set(job) == JOB
        assert job["status"] in STATUS_WORDS
        return job


@pytest.fixture
def page(api_url, rows):
    rows.run(users.update().where(users.c.username == USERNAME).values(compatibility="tcc"))
    with httpx.Client(base_url=api_url, timeout=30) as http:
        yield Page(http)


@pytest.fixture
def signed_in(page):
    page.login()
    return page


def test_from_the_login_to_the_download(page, rows, ledger, store):
    assert set(page.login()) == {"api_key", "username", "message"}
    me = page.call("GET", "/users/me").json()
    assert (set(me), me["username"], me["is_active"]) == ({"id", "username", "is_active"}, USERNAME, True)
    assert page.call("GET", "/health").json() == {"status": "ok", "env": "Pipeline3D"}

    body = {"model_id": "inflate-v1", "input_params": {"input_path": page.upload()}}
    created = page.call("POST", "/jobs", body)  # without the slash: nothing is redirected
    assert created.status_code == 201, created.text
    job = created.json()
    assert set(job) == JOB
    assert (job["status"], job["progress_percent"], job["prompt"]) == ("QUEUED", 0, None)
    assert job["input_params"] == body["input_params"]

    [listed] = page.call("GET", "/jobs?skip=0&limit=50").json()
    assert listed == job
    assert page.call("GET", f"/jobs/{job['id']}/download").status_code == 400  # not yet

    job_id = UUID(job["id"])
    ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
    working = page.job(job_id)
    assert (working["status"], working["completed_at"]) == ("PROCESSING", None)
    assert working["started_at"] is not None

    key = f"jobs/{job_id}/glb_export/model.glb"
    stored = store.put_bytes(key, b"glTF...", "model/gltf-binary")
    ledger.record_artifact(job_id, 1, "glb_export", "model.glb", ArtifactType.OUTPUT_MODEL, stored, {})
    ledger.succeed(job_id, "run-1")
    done = page.job(job_id)
    assert (done["status"], done["progress_percent"]) == ("SUCCEEDED", 100)

    link = page.call("GET", f"/jobs/{job_id}/download").json()
    assert set(link) == {"download_url", "expires_in"}
    assert link["expires_in"] == 600
    assert parse_qs(urlsplit(link["download_url"]).query)["X-Amz-Expires"] == ["600"]
    assert httpx.get(link["download_url"]).content == b"glTF..."


@pytest.mark.parametrize(
    ("model_id", "options"), [("sf3d-v1", IMAGE_OPTIONS), ("dreamfusion-sd", TEXT_OPTIONS)]
)
def test_what_the_form_of_a_model_sends_is_understood_where_it_cannot_run_yet(signed_in, model_id, options):
    if model_id == "sf3d-v1":
        body = {"model_id": model_id, "input_params": {"input_path": signed_in.upload(), **options}}
    else:
        body = {"model_id": model_id, "input_params": options, "prompt": "a chair"}
    refused = signed_in.call("POST", "/jobs", body)
    assert refused.status_code == 501, refused.text
    assert isinstance(refused.json()["detail"], str)


@pytest.mark.parametrize("end", ["failed", "cancelled", "expired"])
def test_a_job_that_ended_without_a_result_is_a_failure(signed_in, rows, ledger, end):
    job_id = rows.make()
    if end == "failed":
        ledger.begin(job_id, attempt=1, run_id="run", delivers=True)
        rows.run(changes.fail(job_id, "run", FailureReport(code="x", message="x", retryable=False)))
    elif end == "cancelled":
        rows.run(changes.request_cancel(job_id))
    else:
        rows.run(jobs.update().where(jobs.c.id == job_id).values(deadline=jobs.c.created_at))
        rows.run(changes.expire_overdue())
    assert signed_in.job(job_id)["status"] == "FAILED"


def test_a_job_that_is_being_cancelled_is_still_in_work(signed_in, rows, ledger):
    job_id = rows.make()
    ledger.begin(job_id, attempt=1, run_id="run", delivers=True)
    rows.run(changes.request_cancel(job_id))
    assert signed_in.job(job_id)["status"] == "PROCESSING"


def test_the_gallery_is_paged_newest_first(signed_in, rows):
    made = [str(rows.make()) for _ in range(4)]
    whole = signed_in.call("GET", "/jobs/?skip=0&limit=50").json()
    assert [job["id"] for job in whole] == made[::-1]
    assert all(set(job) == JOB for job in whole)
    page = signed_in.call("GET", "/jobs?skip=1&limit=2").json()
    assert [job["id"] for job in page] == made[::-1][1:3]


REFUSALS = [
    # what the pages send, the status that they decide by
    ("POST", "/auth/login", {"username": USERNAME, "password": "wrong"}, 401),
    ("POST", "/auth/login", {"username": "nobody", "password": "wrong"}, 401),
    ("POST", "/jobs", {"model_id": "nothing", "input_params": {}}, 404),
    ("GET", "/jobs/00000000-0000-7000-8000-000000000000", None, 404),
    ("GET", "/jobs/no-uuid", None, 422),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), REFUSALS)
def test_a_refusal_has_its_status_and_a_text(signed_in, method, path, body, status):
    answer = signed_in.call(method, path, body)
    assert (answer.status_code, type(answer.json()["detail"])) == (status, str)


@pytest.mark.parametrize(("key", "status"), [("", 401), ("unknown", 403)])
def test_a_key_that_is_missing_or_unknown_logs_the_page_out(page, key, status):
    page._key = key
    assert page.call("GET", "/jobs").status_code == status


def test_other_accounts_are_answered_in_our_own_form(page, rows, api_url, as_other):
    with httpx.Client(base_url=api_url, headers=as_other) as other:
        assert {"scopes", "is_superuser"} & set(other.get("/api/v1/users/me").json())


def test_an_answer_without_a_body_has_no_form(signed_in, rows):
    job_id = rows.make()
    answer = signed_in.call("DELETE", f"/jobs/{job_id}")
    assert (answer.status_code, answer.content) == (204, b"")


def test_other_routes_answer_the_page_in_our_own_form(signed_in, rows):
    job_id = rows.make()
    [event] = signed_in.call("GET", f"/jobs/{job_id}/events").json()
    assert event["payload"]["event"] == "created"
