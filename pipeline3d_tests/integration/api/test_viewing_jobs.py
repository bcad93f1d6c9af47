"""Looking at jobs while they run and after, and getting what they made."""

from __future__ import annotations

from datetime import datetime, timedelta

import httpx
import pytest
from sqlalchemy import func, text

from pipeline3d.database.tables import jobs
from pipeline3d.requests import accounts
from pipeline3d.requests.leases import seconds_from_now
from pipeline3d.store.signed_links import preview_path
from pipeline3d.values import ArtifactType, FailureReport, Progress, Scope, StoredObject
from pipeline3d_tests.integration.api.api_fixtures import JOBS, SIGNING_KEY
from pipeline3d_tests.servers import wait_until

BAD = FailureReport(code="no_clear_object", message="Nothing in it.", stage="mesh", hint="Another photo.")


def test_a_running_job_shows_where_it_is(api, ledger):
    job_id = api.rows.make()
    ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
    ledger.report_progress(
        job_id, "run-1", Progress(percent=33, stage="mesh", stage_number=3, stage_count=6, message="m")
    )
    ledger.record_stage_seconds(job_id, "run-1", "source_image", 0.25)
    job = api.http.get(f"{JOBS}/{job_id}").json()
    assert (job["status"], job["progress_percent"]) == ("RUNNING", 33)
    assert job["progress"] == {
        "percent": 33,
        "stage": "mesh",
        "stage_number": 3,
        "stage_count": 6,
        "message": "m",
    }
    assert job["stage_seconds"] == {"source_image": 0.25}
    assert job["links"]["lineage"] == "https://dagster.example.com/runs/run-1"
    assert job["started_at"] is not None


def test_a_failed_job_says_why(api, ledger):
    job_id = api.rows.make()
    ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
    ledger.fail(job_id, "run-1", BAD)
    job = api.http.get(f"{JOBS}/{job_id}").json()
    assert job["status"] == "FAILED"
    assert job["error"] == {
        "code": "no_clear_object",
        "stage": "mesh",
        "message": "Nothing in it.",
        "hint": "Another photo.",
        "retryable": False,
    }
    answer = api.http.get(f"{JOBS}/{job_id}/download")
    assert (answer.status_code, answer.json()["code"]) == (400, "not_finished")
    assert "FAILED" in answer.json()["detail"]


def test_a_finished_job_gives_its_files_under_names_of_its_own(api, ledger, store):
    job_id = api.rows.make()
    stored = store.put_bytes(f"jobs/{job_id}/glb_export/model.glb", b"glTF...", "model/gltf-binary")
    api.finish(ledger, job_id, stored)
    job = api.http.get(f"{JOBS}/{job_id}").json()
    assert (job["status"], job["progress_percent"]) == ("SUCCEEDED", 100)
    [artifact] = job["artifacts"]
    assert (artifact["sha256"], artifact["metadata"]) == (stored.sha256, {"faces": 8})
    for url in (job["links"]["download"], artifact["url"]):
        link = api.http.get(url).json()
        assert (link["filename"], link["size"], link["sha256"]) == (f"{job_id}-model.glb", 7, stored.sha256)
        answer = httpx.get(link["download_url"])
        assert answer.content == b"glTF..."
        assert f"{job_id}-model.glb" in answer.headers["content-disposition"]


def test_the_history_can_be_followed_from_any_event(api, ledger):
    job_id = api.rows.make()
    ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
    ledger.succeed(job_id, "run-1")
    events = api.http.get(f"{JOBS}/{job_id}/events").json()
    assert [event["payload"]["event"] for event in events] == ["created", "started", "succeeded"]
    assert {event["event_type"] for event in events} == {"INFO"}
    rest = api.http.get(f"{JOBS}/{job_id}/events", params={"after": events[0]["id"], "limit": 1}).json()
    assert rest == [events[1]]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/artifacts/mesh/none.glb", 404),
        ("/artifacts/mesh/a%00b", 422),  # what Postgres cannot even compare
        ("/artifacts/mesh/..%2fx", 404),
        ("/events?after=-1", 422),
        ("/events?after=99999999999999999999", 422),
        ("/events?limit=0", 422),
    ],
)
def test_what_is_not_there_or_cannot_be_is_refused(api, path, status):
    job_id = api.rows.make()
    answer = api.http.get(f"{JOBS}/{job_id}{path}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("query", ["skip=-1", "limit=0", "limit=100000", "skip=10001", "before=x", "skip=x"])
def test_a_page_that_cannot_be_is_refused(api, query):
    assert api.http.get(f"{JOBS}/?{query}").status_code == 422


class TestPreviews:
    @pytest.fixture
    def job_id(self, api, ledger, store):
        job_id = api.rows.make()
        ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
        for name, kind in (("thumbnail.png", ArtifactType.PREVIEW), ("model.glb", ArtifactType.OUTPUT_MODEL)):
            stored = store.put_bytes(f"jobs/{job_id}/preview/{name}", b"pixels", "image/png")
            ledger.record_artifact(job_id, 1, "preview", name, kind, stored)
        return job_id

    def test_a_signed_link_shows_the_picture_without_a_key(self, api_url, job_id):
        path = preview_path(SIGNING_KEY, job_id, "preview", "thumbnail.png")
        assert httpx.get(api_url + path, follow_redirects=True).content == b"pixels"

    @pytest.mark.parametrize(
        ("name", "signing_key"),
        [
            ("thumbnail.png", "another key"),
            ("model.glb", SIGNING_KEY),  # only previews, whatever was signed
            ("none.png", SIGNING_KEY),
        ],
    )
    def test_anything_else_looks_like_a_picture_that_is_not_there(self, api_url, job_id, name, signing_key):
        answer = httpx.get(api_url + preview_path(signing_key, job_id, "preview", name))
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_artifact")

    def test_without_a_signature_there_is_nothing(self, api_url, job_id):
        assert httpx.get(f"{api_url}/previews/{job_id}/preview/thumbnail.png").status_code == 404


def test_the_catalogue_lists_what_is_ready_first_and_why_the_rest_is_not(api):
    models = api.http.get("/api/v1/models").json()
    ready = [model["ready"] for model in models]
    assert ready == sorted(ready, reverse=True)
    assert {"inflate-v1", "sculpt-v1", "probe-v1"} <= {model["id"] for model in models if model["ready"]}
    waiting = next(model for model in models if model["id"] == "sf3d-v1")
    assert (waiting["ready"], waiting["not_ready_code"]) == (False, "not_checked")
    assert waiting["not_ready_reason"]
    schema = api.http.get("/api/v1/models/inflate-v1").json()["parameters_schema"]
    assert schema["properties"]["quality"]["enum"] == ["fast", "balanced", "quality"]
    assert api.http.get("/api/v1/models/none").status_code == 404


def test_an_expired_job_is_told_as_such(api, ledger):
    job_id = api.rows.make()
    api.rows.run(jobs.update().where(jobs.c.id == job_id).values(deadline=jobs.c.created_at))
    ledger.expire_overdue()
    job = api.http.get(f"{JOBS}/{job_id}").json()
    assert (job["status"], job["error"]["code"]) == ("EXPIRED", "expired")


def test_a_link_to_an_object_that_left_the_store_leads_nowhere(api, ledger):
    job_id = api.rows.make()
    gone = StoredObject(
        key=f"jobs/{job_id}/x/y.glb", size=1, sha256="a" * 64, content_type="model/gltf-binary"
    )
    api.finish(ledger, job_id, gone)
    link = api.http.get(f"{JOBS}/{job_id}/download").json()["download_url"]
    assert httpx.get(link).status_code == 404


def test_a_list_goes_on_after_the_last_job_of_the_page_before(api, as_other):
    made = [str(api.rows.make()) for _ in range(5)][::-1]
    pages, last = [], None
    while page := api.http.get(f"{JOBS}/", params={"limit": 2, **({"before": last} if last else {})}).json():
        last = page[-1]["id"]
        pages.append([job["id"] for job in page])
    assert pages == [made[:2], made[2:4], made[4:]]
    # a job of somebody else is no place in one's own list
    assert api.http.get(f"{JOBS}/", params={"before": made[0]}, headers=as_other).json() == []


def test_a_waiting_job_says_its_place_and_what_the_history_lets_one_expect(api, ledger):
    done = api.rows.make()
    api.finish(ledger, done, None)
    started = text("now() - interval '10 seconds'")
    api.rows.run(
        jobs.update().where(jobs.c.id == done).values(started_at=started, completed_at=text("now()"))
    )
    first, second = api.rows.make(), api.rows.make()
    waiting = api.http.get(f"{JOBS}/{second}").json()
    assert waiting["queue_position"] == 2
    assert waiting["estimated_start_at"] is None, "no worker serves the queue: nothing is known"
    api.rows.worker(slots=1)
    wait_until(  # what is told of the queue may be a second old
        lambda: api.http.get(f"{JOBS}/{first}").json()["estimated_start_at"], what="the worker is seen"
    )
    job = api.http.get(f"{JOBS}/{first}").json()
    created, start, end = (
        datetime.fromisoformat(job[name])
        for name in ("created_at", "estimated_start_at", "estimated_completion_at")
    )
    assert job["queue_position"] == 1
    assert 0 <= (start - created).total_seconds() < 5, "a slot is free"
    assert (end - start).total_seconds() == pytest.approx(10, abs=0.1)
    waiting = api.http.get(f"{JOBS}/{second}").json()
    assert waiting["queue_position"] == 2
    assert datetime.fromisoformat(waiting["estimated_start_at"]) > end - timedelta(seconds=1)


def test_a_list_says_the_places_too_and_a_job_past_the_queue_has_none(api, ledger):
    finished, running, waiting = (api.rows.make() for _ in range(3))
    api.finish(ledger, finished, None)
    ledger.begin(running, attempt=1, run_id="r", delivers=True)
    places = {job["id"]: job["queue_position"] for job in api.http.get(f"{JOBS}/").json()}
    assert places == {str(waiting): 1, str(running): None, str(finished): None}
    made = api.create().json()
    assert made["queue_position"] in (2, None), "it is not waited for long"
    assert api.http.get(made["links"]["self"]).json()["queue_position"] == 2


def test_a_job_is_told_its_place_as_soon_as_it_is_stored_and_has_none_as_soon_as_it_runs(api, ledger):
    for number in range(5):
        job_id = api.rows.make(priority=number)
        assert api.http.get(f"{JOBS}/{job_id}").json()["queue_position"] == 1
    ledger.begin(job_id, attempt=1, run_id="r", delivers=True)
    assert api.http.get(f"{JOBS}/{job_id}").json()["queue_position"] is None


class TestDocuments:
    """GET of one job is written in a way of its own."""

    @pytest.fixture
    def every_sort(self, api, ledger, store):
        """Jobs in every state, with whatever a job can have."""
        odd = {
            "n": [1, 2.5, -0.0, None, True],
            "big": 2**70,
            "text": 'ä\u2028"\\ \U0001f40d',
            "deep": {"a": [{}]},
        }
        made = []
        for state in ("QUEUED", "RUNNING", "CANCELING", "CANCELED", "FAILED", "SUCCEEDED", "EXPIRED"):
            beyond_64_bits = {"huge": 2**70} if state == "SUCCEEDED" else {}
            metadata = odd | beyond_64_bits
            job_id = api.rows.make(prompt='say "hi"', tags=("a", "b"), metadata=metadata, priority=3)
            made.append(job_id)
            if state not in ("QUEUED", "EXPIRED"):
                ledger.begin(job_id, attempt=1, run_id=state, delivers=True)
                for name in ("b.glb", "a.glb"):
                    stored = store.put_bytes(f"jobs/{job_id}/mesh/{name}", b"x", "model/gltf-binary")
                    ledger.record_artifact(
                        job_id, 1, "mesh", name, ArtifactType.OUTPUT_MODEL, stored, {"faces": 8, "x": 0.1}
                    )
                ledger.report_progress(
                    job_id,
                    state,
                    Progress(percent=9, stage="mesh", stage_number=1, stage_count=2, message=""),
                )
            if state in ("CANCELING", "CANCELED"):
                ledger.request_cancel(job_id)
            if state == "CANCELED":
                ledger.mark_canceled(job_id, state)
            if state == "FAILED":
                ledger.fail(job_id, state, BAD)
            if state == "SUCCEEDED":
                ledger.succeed(job_id, state)
            if state == "EXPIRED":
                api.rows.run(jobs.update().where(jobs.c.id == job_id).values(deadline=jobs.c.created_at))
                ledger.expire_overdue()
            assert api.rows.row(job_id).state == state
        return made

    def test_it_says_what_a_list_says_and_whatever_way_it_is_asked_for(self, api, every_sort):
        told_by_list = {job["id"]: job for job in api.http.get(f"{JOBS}/").json()}
        assert len(told_by_list) == len(every_sort)
        moving = ("estimated_start_at", "estimated_completion_at", "queue_position", "waiting_reason")
        for job_id in every_sort:
            expected = told_by_list[str(job_id)]
            assert len(expected["artifacts"]) in (0, 2)
            # another spelling of the id goes the way of all other routes
            for spelling in (str(job_id), str(job_id).upper(), f"{{{job_id}}}", f"{job_id}/"):
                answer = api.http.get(f"{JOBS}/{spelling}")
                job = answer.json()
                assert list(job) == list(expected)
                assert [job[name] for name in job if name not in moving] == [
                    expected[name] for name in job if name not in moving
                ]
                assert answer.headers["content-type"] == "application/json"

    def test_a_job_that_leaves_the_queue_after_the_last_look_at_it_is_shown(self, api):
        job_id = api.rows.make()
        api.rows.worker(slots=1)
        assert api.http.get(f"{JOBS}/{job_id}").json()["queue_position"] == 1
        leased = {"leased_at": func.now(), "lease_until": seconds_from_now(30)}
        api.rows.run(jobs.update().where(jobs.c.id == job_id).values(**leased))
        answer = api.http.get(f"{JOBS}/{job_id}")  # within the second for which such a look counts
        assert (answer.status_code, answer.json()["status"]) == (200, "QUEUED")

    def test_a_caller_who_has_it_already_is_told_so_without_it(self, api, ledger):
        job_id = api.rows.make()
        api.finish(ledger, job_id, None)
        path = f"{JOBS}/{job_id}"
        first = api.http.get(path)
        tag = first.headers["etag"]
        for path in (f"{JOBS}/{job_id}", f"{JOBS}/{job_id}/"):
            for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
                answer = api.http.get(path, headers={"If-None-Match": known})
                assert (answer.status_code, answer.content) == (304, b"")
                assert answer.headers["etag"] == tag
            assert api.http.get(path, headers={"If-None-Match": '"other"'}).content == first.content
        api.http.patch(f"{JOBS}/{job_id}", json={"tags": ["new"]})
        changed = api.http.get(path, headers={"If-None-Match": tag})
        assert (changed.status_code, changed.json()["tags"]) == (200, ["new"])
        assert changed.headers["etag"] != tag
        assert changed.headers["cache-control"] == "private, no-cache"

    def test_it_is_refused_as_everywhere_else(self, api, as_other):
        path = f"{JOBS}/{api.rows.make()}"
        assert api.http.get(path, headers={"x-api-key": ""}).status_code == 401
        assert api.http.get(path, headers={"x-api-key": "unknown"}).status_code == 403
        assert api.http.get(path, headers=as_other).json()["code"] == "unknown_job"
        key = accounts.generate_api_key()
        made = accounts.create_api_key(api.rows.user_id, key, name="w", scopes=[Scope.JOBS_WRITE])
        api.rows.run(made)
        answer = api.http.get(path, headers={"x-api-key": key})
        assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
