"""The predecessor's HTTP contract: a client that was written for it must not notice the change.

Each row is one promise: what is sent, the status, and the fields that the answer has at least.
"""

from __future__ import annotations

from uuid import UUID

import httpx
import pytest

from pipeline3d.database.tables import users
from pipeline3d.requests import accounts
from pipeline3d.values import ArtifactType, StoredObject
from pipeline3d_tests.integration.requests.database_fixtures import PASSWORD, USERNAME

JOB_FIELDS = {
    "id",
    "model_id",
    "prompt",
    "input_params",
    "status",
    "progress_percent",
    "created_at",
    "started_at",
    "completed_at",
}
NOBODY = "00000000-0000-7000-8000-000000000000"  # fixed: it is part of the names of tests
LOGIN = {"username": USERNAME, "password": PASSWORD}
TICKET = {"filename": "a photo.png", "content_type": "image/png"}

PROMISES = [
    # method, path, body, status, fields that the answer has
    ("GET", "/health", None, 200, {"status", "env"}),
    ("GET", "/api/v1/health", None, 200, {"status", "env"}),
    ("GET", "/", None, 200, {"message"}),
    ("POST", "/api/v1/auth/login", LOGIN, 200, {"api_key", "username", "message"}),
    ("POST", "/api/v1/users/login", LOGIN, 200, {"api_key", "username", "message"}),  # its other name
    ("POST", "/api/v1/auth/login", {**LOGIN, "password": "wrong"}, 401, {"detail"}),
    ("POST", "/api/v1/auth/login", {**LOGIN, "username": "nobody"}, 401, {"detail"}),
    ("POST", "/api/v1/auth/login", {"username": USERNAME}, 422, {"detail"}),
    ("GET", "/api/v1/users/me", None, 200, {"id", "username", "is_active"}),
    ("GET", "/api/v1/auth/me", None, 200, {"id", "username", "is_active"}),
    ("POST", "/api/v1/jobs/upload-ticket", TICKET, 200, {"upload_url", "object_name", "expires_in"}),
    ("POST", "/api/v1/jobs/", {"model_id": "nothing", "input_params": {}}, 404, {"detail"}),
    ("POST", "/api/v1/jobs", {"model_id": "nothing", "input_params": {}}, 404, {"detail"}),  # no redirect
    ("GET", f"/api/v1/jobs/{NOBODY}", None, 404, {"detail"}),
    ("GET", f"/api/v1/jobs/{NOBODY}/download", None, 404, {"detail"}),
    ("GET", "/api/v1/jobs/no-uuid", None, 422, {"detail"}),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "fields"), PROMISES)
def test_a_promise_of_the_predecessor_is_kept(api, method, path, body, status, fields):
    answer = api.http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert fields <= set(answer.json())
    if status >= 400:
        assert isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/users/me"),
        ("POST", "/api/v1/jobs/upload-ticket"),
        ("POST", "/api/v1/jobs/"),
        ("GET", "/api/v1/jobs/"),
        ("GET", f"/api/v1/jobs/{NOBODY}"),
        ("GET", f"/api/v1/jobs/{NOBODY}/download"),
    ],
)
@pytest.mark.parametrize(("key", "status"), [("", 401), ("unknown", 403)])
def test_without_a_key_it_is_401_and_with_an_unknown_one_403(api, method, path, key, status):
    answer = api.http.request(method, path, headers={"x-api-key": key})
    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)


def test_the_two_wrong_logins_are_answered_alike(api):
    wrong = api.http.post("/api/v1/auth/login", json={**LOGIN, "password": "wrong"}).json()
    unknown = api.http.post("/api/v1/auth/login", json={**LOGIN, "username": "nobody"}).json()
    assert wrong == unknown


def test_the_key_of_a_login_opens_the_api(api):
    key = api.http.post("/api/v1/auth/login", json=LOGIN).json()["api_key"]
    answer = api.http.get("/api/v1/users/me", headers={"x-api-key": key})
    assert (answer.status_code, answer.json()["username"]) == (200, USERNAME)


def test_the_health_names_the_installation(api):
    assert api.http.get("/health").json() == {"status": "ok", "env": "Pipeline3D"}


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("field", ["input_path", "image_path"])  # the page and the handbook disagreed
def test_a_job_is_created_as_the_old_page_did_it(api, slash, field):
    ticket = api.http.post("/api/v1/jobs/upload-ticket", json=TICKET).json()
    assert ticket["expires_in"] == 300
    stored = httpx.put(
        ticket["upload_url"], content=b"\x89PNG\r\n\x1a\n...", headers={"Content-Type": "image/png"}
    )
    assert stored.status_code == 200
    params = {field: ticket["object_name"], "prompt": "a chair"}
    answer = api.http.post(f"/api/v1/jobs{slash}", json={"model_id": "inflate-v1", "input_params": params})
    assert answer.status_code == 201, answer.text
    job = answer.json()
    assert set(job) >= JOB_FIELDS
    assert (job["status"], job["progress_percent"], job["started_at"]) == ("QUEUED", 0, None)
    assert job["prompt"] == "a chair"  # moved out of the parameters
    assert job["input_params"] == {field: ticket["object_name"]}
    [artifact] = api.rows.artifacts(UUID(job["id"]))
    assert (artifact.type, artifact.storage_path) == ("INPUT", ticket["object_name"])


def test_own_jobs_are_listed_newest_first_and_paged(api):
    made = [str(api.rows.make()) for _ in range(5)]
    whole = api.http.get("/api/v1/jobs/").json()
    assert [job["id"] for job in whole] == made[::-1]
    assert set(whole[0]) >= JOB_FIELDS
    page = api.http.get("/api/v1/jobs/", params={"skip": 1, "limit": 2}).json()
    assert [job["id"] for job in page] == made[::-1][1:3]


@pytest.mark.parametrize(
    ("profile", "status", "code"),
    [("tcc", 403, "not_your_job"), (None, 404, "unknown_job")],  # only where the old contract says so
)
def test_a_job_of_somebody_else_is_403_for_an_old_front_end(api, profile, status, code):
    user_id = api.rows.user("an old front end")
    api.rows.run(users.update().where(users.c.id == user_id).values(compatibility=profile))
    key = accounts.generate_api_key()
    api.rows.run(accounts.create_api_key(user_id, key, name="old"))
    job_id = api.rows.make()
    for path in ("", "/download", "/events", "/artifacts"):
        answer = api.http.get(f"/api/v1/jobs/{job_id}{path}", headers={"x-api-key": key})
        assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_result_that_is_not_there_yet_is_400_and_one_without_a_model_404(api, ledger):
    job_id = api.rows.make()
    assert api.http.get(f"/api/v1/jobs/{job_id}/download").status_code == 400
    api.finish(ledger, job_id, None)
    assert api.http.get(f"/api/v1/jobs/{job_id}/download").status_code == 404


def test_a_result_is_a_link_that_works_even_when_a_job_ran_twice(api, ledger, store):
    job_id = api.rows.make()
    stored = store.put_bytes(f"jobs/{job_id}/glb_export/model.glb", b"glTF...", "model/gltf-binary")
    api.finish(ledger, job_id, stored)
    second = StoredObject(key="elsewhere", size=1, sha256="b" * 64, content_type="model/obj")
    ledger.record_artifact(job_id, 1, "other", "model.obj", ArtifactType.OUTPUT_MODEL, second)
    answer = api.http.get(f"/api/v1/jobs/{job_id}/download")
    assert answer.status_code == 200
    assert answer.json()["expires_in"] == 3600
    assert httpx.get(answer.json()["download_url"]).content == b"glTF..."
