"""Ending jobs and trying them again, as their owner: safe to repeat, and refused to everybody else."""

from __future__ import annotations

import pytest

from pipeline3d.client import Pipeline3dClient
from pipeline3d.errors import RequestError
from pipeline3d.values import FailureReport
from pipeline3d_tests.integration.api.api_fixtures import JOBS
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY

BAD = FailureReport(code="no_clear_object", message="Nothing in it.", stage="mesh")
NOBODY = "00000000-0000-7000-8000-000000000000"

CANCELS = [("DELETE", ""), ("DELETE", "/"), ("POST", "/cancel")]


@pytest.fixture
def in_state(api, ledger):
    """Makes a job of the caller in any of these states."""

    def make(state):
        job_id = api.rows.make()
        if state in ("RUNNING", "CANCELING", "SUCCEEDED", "FAILED"):
            ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
        if state in ("CANCELING", "CANCELED"):
            ledger.request_cancel(job_id)
        if state == "SUCCEEDED":
            ledger.succeed(job_id, "run-1")
        if state == "FAILED":
            ledger.fail(job_id, "run-1", BAD)
        assert api.rows.row(job_id).state == state
        return job_id

    return make


@pytest.mark.parametrize(("method", "suffix"), CANCELS)
@pytest.mark.parametrize(
    ("before", "status", "after"),
    [
        ("QUEUED", 200, "CANCELED"),  # nothing runs yet: it has ended
        ("RUNNING", 202, "CANCELING"),  # its run is being stopped
        ("CANCELING", 202, "CANCELING"),  # asked for again
        ("SUCCEEDED", 200, "SUCCEEDED"),  # what has ended stays as it is
        ("FAILED", 200, "FAILED"),
        ("CANCELED", 200, "CANCELED"),
    ],
)
def test_canceling_is_answered_by_what_is_so_now(api, in_state, method, suffix, before, status, after):
    job_id = in_state(before)
    for _ in range(2):  # the same answer however often it is asked
        answer = api.http.request(method, f"{JOBS}/{job_id}{suffix}")
        assert (answer.status_code, answer.json()["status"]) == (status, after)
        assert answer.json()["id"] == str(job_id)
    assert api.rows.row(job_id).state == after


def test_a_canceled_run_ends_as_canceled(api, ledger, in_state):
    job_id = in_state("RUNNING")
    api.http.delete(f"{JOBS}/{job_id}")
    ledger.mark_canceled(job_id, "run-1")
    job = api.http.get(f"{JOBS}/{job_id}").json()
    assert (job["status"], job["error"]) == ("CANCELED", None)
    assert job["completed_at"] is not None


@pytest.mark.parametrize("before", ["FAILED", "CANCELED"])
def test_what_did_not_succeed_is_tried_again_as_a_new_attempt(api, in_state, before):
    job_id = in_state(before)
    for _ in range(2):  # a repeated request makes one attempt
        answer = api.http.post(f"{JOBS}/{job_id}/retry")
        assert answer.status_code == 200, answer.text
        job = answer.json()
        assert (job["status"], job["attempt"], job["error"]) == ("QUEUED", 2, None)


@pytest.mark.parametrize("before", ["SUCCEEDED", "CANCELING"])
def test_what_cannot_be_tried_again_is_refused_with_the_reason(api, in_state, before):
    answer = api.http.post(f"{JOBS}/{in_state(before)}/retry")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_retryable")
    assert before in answer.json()["detail"]


@pytest.mark.parametrize(("method", "suffix"), [*CANCELS, ("POST", "/retry")])
class TestRefusals:
    def test_a_job_of_somebody_else_looks_like_none_and_stays_as_it_is(self, api, as_other, method, suffix):
        job_id = api.rows.make()
        answer = api.http.request(method, f"{JOBS}/{job_id}{suffix}", headers=as_other)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job")
        assert answer.headers["content-type"] == "application/problem+json"
        assert api.rows.row(job_id).state == "QUEUED"

    def test_a_job_that_is_not_there_is_404(self, api, method, suffix):
        answer = api.http.request(method, f"{JOBS}/{NOBODY}{suffix}")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job")

    def test_an_id_that_is_none_is_422(self, api, method, suffix):
        assert api.http.request(method, f"{JOBS}/no-uuid{suffix}").status_code == 422

    def test_without_a_key_it_is_401(self, api, method, suffix):
        answer = api.http.request(method, f"{JOBS}/{NOBODY}{suffix}", headers={"x-api-key": ""})
        assert answer.status_code == 401


class TestPriority:
    def test_a_job_has_the_priority_that_it_was_created_with(self, api):
        assert api.create().json()["priority"] == 0
        assert api.create(priority=-7).json()["priority"] == -7

    @pytest.mark.parametrize("priority", [101, -101, "high", 1.5])
    def test_a_priority_outside_the_range_is_422(self, api, priority):
        answer = api.create(priority=priority)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "body.priority")

    def test_the_more_urgent_job_is_claimed_first(self, api, ledger):
        ordinary, urgent = (api.create(priority=priority).json()["id"] for priority in (0, 1))
        assert [str(claim.job_id) for claim in ledger.claim_queued(2, 60)] == [urgent, ordinary]

    def test_another_priority_under_the_same_idempotency_key_is_a_conflict(self, api):
        params = {"input_path": api.upload()}
        for priority, status in ((0, 201), (0, 201), (5, 409)):
            answer = api.http.post(
                f"{JOBS}/",
                json={"model_id": "inflate-v1", "input_params": params, "priority": priority},
                headers={"Idempotency-Key": "one"},
            )
            assert answer.status_code == status


def test_the_client_cancels_and_tries_again(api, api_url, ledger):
    with Pipeline3dClient(api_url, API_KEY) as client:
        job_id = api.rows.make()
        assert client.cancel(job_id)["status"] == "CANCELED"
        assert client.cancel(job_id)["status"] == "CANCELED"
        assert client.retry(job_id)["status"] == "QUEUED"
        ledger.begin(job_id, attempt=2, run_id="r2", delivers=True)
        assert client.cancel(job_id)["status"] == "CANCELING"
        with pytest.raises(RequestError) as caught:
            client.retry(job_id)
        assert caught.value.code == "not_retryable"
