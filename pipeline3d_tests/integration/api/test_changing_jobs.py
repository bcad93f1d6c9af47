"""Ending jobs and trying them again, as their owner: safe to repeat, and refused to everybody else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline3d.api.actions import order_turns
from pipeline3d.api.change_forms import JobAction
from pipeline3d.client import Pipeline3dClient
from pipeline3d.database.tables import jobs
from pipeline3d.errors import RequestError
from pipeline3d.requests.creation import new_job_id
from pipeline3d_tests.integration.api.api_fixtures import JOBS
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY

NOBODY = "00000000-0000-7000-8000-000000000000"

CANCELS = [("POST", "/cancel"), ("POST", "/cancel/")]
CHANGES = [
    ("DELETE", "", None),
    *(("POST", f"/{name}", None) for name in ("cancel", "retry", "hold", "release")),
    ("POST", "/extend", {"expires_in_s": 60}),
    ("PATCH", "", {"tags": ["a"]}),
]
SOON = datetime(2100, 1, 1, tzinfo=UTC)


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
    api.http.post(f"{JOBS}/{job_id}/cancel")
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


@pytest.mark.parametrize(("method", "suffix", "body"), CHANGES)
class TestRefusals:
    def test_a_job_of_somebody_else_looks_like_none_and_stays_as_it_is(
        self, api, as_other, method, suffix, body
    ):
        job_id = api.rows.make()
        answer = api.http.request(method, f"{JOBS}/{job_id}{suffix}", json=body, headers=as_other)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job")
        assert answer.headers["content-type"] == "application/problem+json"
        row = api.rows.row(job_id)
        assert (row.state, row.held, row.tags, row.expires_at, row.deleted_at) == (
            "QUEUED",
            False,
            [],
            None,
            None,
        )

    def test_a_job_that_is_not_there_is_404(self, api, method, suffix, body):
        answer = api.http.request(method, f"{JOBS}/{NOBODY}{suffix}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job")

    def test_an_id_that_is_none_is_422(self, api, method, suffix, body):
        assert api.http.request(method, f"{JOBS}/no-uuid{suffix}", json=body).status_code == 422

    def test_without_a_key_it_is_401(self, api, method, suffix, body):
        answer = api.http.request(method, f"{JOBS}/{NOBODY}{suffix}", json=body, headers={"x-api-key": ""})
        assert answer.status_code == 401


class TestHolding:
    def test_a_job_that_is_held_is_not_claimed_before_it_is_released(self, api, ledger):
        job_id = api.rows.make()
        for _ in range(2):
            answer = api.http.post(f"{JOBS}/{job_id}/hold")
            assert (answer.status_code, answer.json()["status"], answer.json()["held"]) == (
                200,
                "QUEUED",
                True,
            )
        assert ledger.claim_queued(1, 60) == []
        for _ in range(2):
            answer = api.http.post(f"{JOBS}/{job_id}/release")
            assert (answer.status_code, answer.json()["held"]) == (200, False)
        assert [claim.job_id for claim in ledger.claim_queued(1, 60)] == [job_id]
        # each was done once, however often it was asked for
        events = [event["event"] for event in api.rows.events(job_id)]
        assert events == ["created", "held", "released", "dispatched"]

    @pytest.mark.parametrize("state", ["RUNNING", "SUCCEEDED", "CANCELED"])
    def test_only_what_waits_can_be_held(self, api, in_state, state):
        answer = api.http.post(f"{JOBS}/{in_state(state)}/hold")
        assert (answer.status_code, answer.json()["code"]) == (409, "not_changeable")
        assert state in answer.json()["detail"]

    def test_what_is_on_its_way_to_a_run_cannot_be_held(self, api, ledger):
        job_id = api.rows.make()
        ledger.claim_queued(1, 60)
        answer = api.http.post(f"{JOBS}/{job_id}/hold")
        assert (answer.status_code, answer.json()["code"]) == (409, "not_changeable")
        assert not api.rows.row(job_id).held


class TestAmending:
    def patch(self, api, job_id, **body):
        return api.http.patch(f"{JOBS}/{job_id}", json=body)

    def test_what_is_named_changes_and_the_rest_stays(self, api):
        job_id = api.rows.make(tags=("old",), metadata={"a": 1, "b": {"c": 2}, "d": "x"})
        for _ in range(2):
            answer = self.patch(
                api, job_id, tags=["new", "er"], metadata={"a": None, "b": {"e": 3}, "f": [None]}, priority=7
            )
            assert answer.status_code == 200, answer.text
            job = answer.json()
            assert (job["tags"], job["priority"]) == (["new", "er"], 7)
            assert job["metadata"] == {"b": {"e": 3}, "d": "x", "f": [None]}
        assert self.patch(api, job_id).json()["tags"] == ["new", "er"]
        assert [event["event"] for event in api.rows.events(job_id)] == ["created", "changed"]
        assert api.rows.events(job_id)[-1]["fields"] == ["metadata", "priority", "tags"]

    def test_moments_are_set_and_taken_back(self, api):
        job_id = api.rows.make()
        job = self.patch(api, job_id, deadline=SOON.isoformat(), expires_at=SOON.isoformat()).json()
        assert [datetime.fromisoformat(job[name]) for name in ("deadline", "expires_at")] == [SOON, SOON]
        job = self.patch(api, job_id, deadline=None, expires_at=None).json()
        assert (job["deadline"], job["expires_at"]) == (None, None)

    @pytest.mark.parametrize("state", ["RUNNING", "CANCELING", "SUCCEEDED", "FAILED", "CANCELED"])
    def test_what_waits_no_more_has_no_turn_to_change(self, api, in_state, state):
        job_id = in_state(state)
        for body in ({"priority": 1, "tags": ["a"]}, {"deadline": SOON.isoformat()}):
            answer = self.patch(api, job_id, **body)
            assert (answer.status_code, answer.json()["code"]) == (409, "not_changeable")
        assert api.rows.row(job_id).tags == []  # all of it or nothing
        answer = self.patch(
            api, job_id, priority=0, tags=["a"], metadata={"a": 1}, expires_at=SOON.isoformat()
        )
        assert (answer.status_code, answer.json()["tags"]) == (200, ["a"])

    @pytest.mark.parametrize(
        "body",
        [
            {"priority": 101},
            {"priority": None},
            {"tags": None},
            {"tags": [""]},
            {"tags": ["x" * 51]},
            {"tags": ["x"] * 21},
            {"tags": ["a\u0000b"]},
            {"metadata": {"a": "\u0000"}},
            {"metadata": [1]},
            {"deadline": "2000-01-01T00:00:00Z"},
            {"deadline": "2100-01-01T00:00:00"},  # of which zone?
            {"deadline": "9999-12-31T23:59:59-23:59"},  # in UTC the year 10000
            {"expires_at": "9999-12-31T23:59:59-23:59"},
            {"expires_at": "soon"},
            {"state": "SUCCEEDED"},
        ],
    )
    def test_a_change_that_cannot_be_is_refused(self, api, body):
        job_id = api.rows.make()
        answer = self.patch(api, job_id, **body)
        assert answer.status_code == 422, answer.text
        assert len(api.rows.events(job_id)) == 1

    def test_metadata_does_not_grow_without_end(self, api):
        job_id = api.rows.make()
        assert self.patch(api, job_id, metadata={"a": "x" * 60_000}).status_code == 200
        answer = self.patch(api, job_id, metadata={"b": "x" * 60_000})
        assert (answer.status_code, answer.json()["code"]) == (422, "metadata_too_large")
        assert set(api.rows.row(job_id).metadata) == {"a"}
        assert self.patch(api, job_id, metadata={"a": None, "b": "x" * 60_000}).status_code == 200


class TestExtending:
    def extend(self, api, job_id, **body):
        return api.http.post(f"{JOBS}/{job_id}/extend", json=body)

    def test_files_are_kept_for_a_time_until_a_moment_or_for_ever(self, api, in_state):
        job_id = in_state("SUCCEEDED")
        until = datetime.fromisoformat(self.extend(api, job_id, expires_in_s=3600).json()["expires_at"])
        assert abs(until - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)
        answer = self.extend(api, job_id, expires_at=SOON.isoformat())
        assert datetime.fromisoformat(answer.json()["expires_at"]) == SOON
        assert self.extend(api, job_id, expires_at=None).json()["expires_at"] is None

    def test_what_has_expired_does_not_come_back(self, api, in_state):
        job_id = in_state("SUCCEEDED")
        api.rows.run(jobs.update().where(jobs.c.id == job_id).values(expires_at=datetime.now(UTC)))
        answer = self.extend(api, job_id, expires_in_s=3600)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_changeable")

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"expires_in_s": 0},
            {"expires_in_s": 1e12},
            {"expires_in_s": 60, "expires_at": SOON.isoformat()},
            {"expires_at": "2000-01-01T00:00:00Z"},
        ],
    )
    def test_an_expiry_that_cannot_be_is_refused(self, api, body):
        assert self.extend(api, api.rows.make(), **body).status_code == 422


class TestActions:
    def act(self, api, action, *ids, **options):
        return api.http.post(
            f"{JOBS}/actions", json={"action": action, "ids": [str(job_id) for job_id in ids]}, **options
        )

    def test_each_job_is_done_or_refused_by_itself(self, api, ledger, in_state):
        waiting, done = api.rows.make(), api.rows.make()
        api.finish(ledger, done, None)
        report = self.act(api, "retry", waiting, done, NOBODY, waiting).json()
        assert (report["action"], report["done"], report["refused"]) == ("retry", 1, 2)
        found = [
            (result["id"], result["ok"], result["status"], result["code"]) for result in report["results"]
        ]
        assert found == [
            (str(waiting), True, "QUEUED", None),
            (str(done), False, None, "not_retryable"),
            (NOBODY, False, None, "unknown_job"),
        ]

    @pytest.mark.parametrize(
        ("action", "state", "held"),
        [("hold", "QUEUED", True), ("release", "QUEUED", False), ("cancel", "CANCELED", False)],
    )
    def test_many_jobs_are_changed_at_once(self, api, as_other, action, state, held):
        ids = [api.rows.make() for _ in range(3)]
        foreign = self.act(api, action, *ids, headers=as_other).json()
        assert {result["code"] for result in foreign["results"]} == {"unknown_job"}
        assert self.act(api, action, *ids).json()["done"] == 3
        assert {(api.rows.row(job_id).state, api.rows.row(job_id).held) for job_id in ids} == {(state, held)}

    def test_a_chain_is_deleted_in_whatever_order_it_is_named(self, api):
        first = api.rows.make()
        second = api.rows.make(input_job_id=first)
        third = api.rows.make(input_job_id=second)
        assert self.act(api, "delete", first).json()["results"][0]["code"] == "job_in_use"
        report = self.act(api, "delete", first, third, second).json()
        assert (report["done"], [result["id"] for result in report["results"]]) == (
            3,
            [str(first), str(third), str(second)],
        )

    def test_a_chain_is_deleted_from_its_end_on(self):
        """From its beginning on one of five hundred would be a hundred thousand attempts."""
        chain = [new_job_id() for _ in range(5)]
        assert order_turns(JobAction.DELETE, [*chain, chain[0]]) == chain[::-1]
        assert order_turns(JobAction.CANCEL, [*chain, chain[0]]) == chain

    @pytest.mark.parametrize(
        "body",
        [
            {"action": "explode", "ids": [NOBODY]},
            {"action": "cancel", "ids": []},
            {"action": "cancel", "ids": [NOBODY] * 501},
            {"action": "cancel", "ids": ["x"]},
            {"action": "cancel"},
        ],
    )
    def test_an_action_that_cannot_be_is_refused(self, api, body):
        assert api.http.post(f"{JOBS}/actions", json=body).status_code == 422


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
