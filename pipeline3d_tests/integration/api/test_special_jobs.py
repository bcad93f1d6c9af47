"""Jobs that take other jobs' models, are held, end by themselves, are run again, tried dry, or waited for."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, update

from pipeline3d.database.tables import jobs
from pipeline3d.requests import changes
from pipeline3d.values import FailureReport, StoredObject
from pipeline3d_tests.integration.api.api_fixtures import JOBS
from pipeline3d_tests.servers import wait_until

CUP = {"model_id": "sculpt-v1", "prompt": "a red mug"}
PROBE = {"model_id": "probe-v1"}
EXPORT = {"model_id": "export-v1"}
GLB = StoredObject(
    key="jobs/x/glb_export/model.glb", sha256="0" * 64, size=9, content_type="model/gltf-binary"
)
BROKEN = FailureReport(code="broken", message="It broke.", retryable=False)


def ask(api, body, **headers):
    return api.http.post(f"{JOBS}/", json=body, headers=headers)


def make(api, body, **more):
    answer = ask(api, {**body, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


def look(api, job):
    return api.http.get(f"{JOBS}/{job['id']}").json()


def moment(**ahead):
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


def test_a_new_job_is_answered_as_it_is_read(api):
    chosen = {"tags": ["a"], "metadata": {"n": 1}, "priority": 2, "deadline": 600, "expires_in_s": 900}
    made = [make(api, CUP, **chosen), make(api, CUP, hold=True), api.create().json()]
    made.append(make(api, EXPORT, input_job_id=made[0]["id"]))
    for job in made:
        read = look(api, job)
        places = ("queue_position", "waiting_reason", "estimated_start_at", "estimated_completion_at")
        if job["queue_position"] is None and not job["held"] and job["input_job_id"] is None:
            read |= {name: job[name] for name in places}  # there was no time to look
        for seen in (job, read):
            for name in places[2:]:
                seen.pop(name)
        assert job == read


class TestInput:
    def test_a_job_waits_for_the_model_of_another_and_goes_on_by_itself(self, api, ledger):
        first = make(api, CUP)
        second = make(api, EXPORT, input_job_id=first["id"])
        assert (second["waiting_reason"], second["queue_position"]) == ("input_job", None)
        assert second["params"]["source_job_id"] == second["input_job_id"] == first["id"]
        assert second["input_params"] == {}
        assert second["links"]["input"] == first["links"]["self"]
        api.finish(ledger, UUID(first["id"]), GLB)
        assert look(api, second)["waiting_reason"] != "input_job"
        assert {str(claim.job_id) for claim in ledger.claim_queued(10, 60)} == {second["id"]}

    def test_it_fails_where_the_other_one_does(self, api, ledger):
        first = make(api, CUP)
        second = make(api, EXPORT, input_job_id=first["id"])
        api.http.post(f"{JOBS}/{first['id']}/cancel")
        error = look(api, second)["error"]
        assert (error["code"], error["retryable"]) == ("input_job_failed", True)
        assert first["id"] in error["message"]

    def test_a_model_that_is_there_is_taken_at_once(self, api, ledger):
        first = make(api, CUP)
        api.finish(ledger, UUID(first["id"]), GLB)
        assert make(api, EXPORT, input_job_id=first["id"])["waiting_reason"] != "input_job"

    def test_what_cannot_be_taken_is_refused(self, api, ledger, as_other):
        own = make(api, CUP)
        probe = make(api, PROBE)
        empty = make(api, CUP)
        api.finish(ledger, UUID(empty["id"]), None)
        failed = make(api, CUP)
        ledger.begin(UUID(failed["id"]), attempt=1, run_id="r", delivers=True)
        ledger.fail(UUID(failed["id"]), "r", BROKEN)
        foreign = api.http.post(f"{JOBS}/", json=CUP, headers=as_other).json()
        cases = [
            ({**PROBE, "input_job_id": own["id"]}, "input_job_not_used"),
            ({**CUP, "input_job_id": own["id"]}, "input_job_not_used"),
            ({**EXPORT, "input_job_id": str(uuid4())}, "unknown_source"),
            ({**EXPORT, "input_job_id": foreign["id"]}, "unknown_source"),
            ({**EXPORT, "input_job_id": probe["id"]}, "unknown_source"),
            ({**EXPORT, "input_job_id": empty["id"]}, "unknown_source"),
            ({**EXPORT, "input_job_id": failed["id"]}, "input_job_failed"),
            ({**EXPORT, "input_job_id": "no"}, "invalid_request"),
            (
                {**EXPORT, "input_job_id": own["id"], "input_params": {"source_job_id": probe["id"]}},
                "ambiguous_model",
            ),
            # without input_job_id nobody waits
            ({**EXPORT, "input_params": {"source_job_id": own["id"]}}, "unknown_source"),
        ]
        for body, code in cases:
            answer = ask(api, body)
            assert (answer.status_code, answer.json()["code"]) == (422, code), body


class TestMoments:
    def test_a_held_job_is_made_and_not_started(self, api, ledger):
        job = make(api, PROBE, hold=True)
        assert (job["held"], job["waiting_reason"], job["queue_position"]) == (True, "held", None)
        assert ledger.claim_queued(10, 60) == []

    @pytest.mark.parametrize("deadline", [60, 0.5, "a moment"])
    def test_a_deadline_is_a_moment_or_seconds_from_now(self, api, deadline):
        job = make(api, PROBE, deadline=moment(minutes=1) if deadline == "a moment" else deadline)
        ahead = datetime.fromisoformat(job["deadline"]) - datetime.fromisoformat(job["created_at"])
        expected_s = deadline if isinstance(deadline, int | float) else 60
        assert abs(ahead.total_seconds() - expected_s) < 45
        api.rows.run(update(jobs).values(deadline=func.now()))
        api.rows.run(changes.expire_overdue())
        assert look(api, job)["status"] == "EXPIRED"

    def test_files_are_kept_until_a_moment(self, api):
        job = make(api, PROBE, expires_in_s=3600)
        ahead = datetime.fromisoformat(job["expires_at"]) - datetime.fromisoformat(job["created_at"])
        assert ahead == timedelta(hours=1)
        until = moment(days=1)
        assert datetime.fromisoformat(make(api, PROBE, expires_at=until)["expires_at"]) == (
            datetime.fromisoformat(until)
        )

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"deadline": moment(seconds=-1)}, "moment_passed"),
            ({"expires_at": moment(seconds=-1)}, "moment_passed"),
            ({"expires_at": moment(days=1), "expires_in_s": 60}, "ambiguous_expiry"),
            ({"deadline": 0}, "invalid_request"),
            ({"deadline": -5}, "invalid_request"),
            ({"deadline": True}, "invalid_request"),
            ({"deadline": "60"}, "invalid_request"),
            ({"deadline": "2099-01-01T00:00:00"}, "invalid_request"),  # of which time zone?
            ({"deadline": 1e300}, "invalid_request"),
            ({"deadline": "9999-12-31T23:59:59-23:59"}, "invalid_request"),  # in UTC the year 10000
            ({"expires_at": "9999-12-31T23:59:59-23:59"}, "invalid_request"),
            ({"expires_in_s": 0}, "invalid_request"),
            ({"expires_at": 60}, "invalid_request"),
            ({"webhook_events": ["job.failed"]}, "missing_webhook_url"),
            ({"webhook_url": "https://example.com", "webhook_events": ["no"]}, "invalid_request"),
            ({"webhook_url": "ftp://example.com"}, "address_invalid"),
            ({"webhook_url": "http://169.254.169.254/"}, "address_forbidden"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, api, fields, code):
        answer = ask(api, {**PROBE, **fields})
        assert (answer.status_code, answer.json()["code"]) == (422, code)

    def test_a_job_may_have_a_webhook_of_its_own(self, api):
        url = "https://shop.example.com/hooks"
        job = make(api, PROBE, webhook_url=url, webhook_events=["job.failed", "job.failed", "job.started"])
        row = api.rows.row(UUID(job["id"]))
        assert (row.callback_url, row.callback_events) == (url, ["job.failed", "job.started"])


class TestRerun:
    def rerun(self, api, job, **changed):
        return api.http.post(f"{JOBS}/{job['id']}/rerun", json=changed)

    def test_it_is_a_new_job_that_differs_only_where_it_was_changed(self, api):
        body = {"input_params": {"seed": 7, "quality": "fast"}, "tags": ["a"], "metadata": {"n": 1}}
        first = make(api, CUP, **body)
        answer = self.rerun(api, first, input_params={"seed": 8, "quality": None}, priority=5)
        assert answer.status_code == 201, answer.text
        second = answer.json()
        assert answer.headers["location"] == second["links"]["self"]
        assert (second["rerun_of"], second["priority"], second["prompt"]) == (first["id"], 5, "a red mug")
        assert second["input_params"] == {"seed": 8}
        assert (second["params"]["quality"], second["tags"], second["metadata"]) == (
            "balanced",
            ["a"],
            {"n": 1},
        )

    def test_nothing_need_be_changed(self, api):
        first = make(api, CUP)
        again = api.http.post(first["links"]["rerun"])
        assert again.status_code == 201, again.text
        assert again.json()["params"] == first["params"]

    def test_it_takes_the_model_of_the_same_job_or_of_another(self, api, ledger):
        first = make(api, CUP)
        other = make(api, CUP)
        export = make(api, EXPORT, input_job_id=first["id"])
        assert self.rerun(api, export).json()["input_job_id"] == first["id"]
        api.finish(ledger, UUID(other["id"]), GLB)
        changed = self.rerun(api, export, input_params={"source_job_id": other["id"]})
        assert changed.json()["input_job_id"] == other["id"], changed.text

    def test_wrong_changes_are_refused(self, api, as_other):
        first = make(api, CUP)
        cases = [
            ({"model_id": "probe-v1"}, 422, "other_kind"),
            ({"model_id": "no-such"}, 404, "unknown_model"),
            ({"model_id": "dreamfusion-sd"}, 501, "not_checked"),
            ({"input_params": {"no": 1}}, 422, "invalid_parameters"),
            ({"prompt": "x" * 4001}, 422, "invalid_request"),
            ({"priority": 101}, 422, "invalid_request"),
        ]
        for changed, status, code in cases:
            answer = self.rerun(api, first, **changed)
            assert (answer.status_code, answer.json()["code"]) == (status, code), changed
        assert api.http.post(f"{JOBS}/{first['id']}/rerun", headers=as_other).status_code == 404


class TestEstimate:
    def test_what_is_not_known_is_null(self, api):
        def is_found():
            body = {**CUP, "input_params": {"quality": "fast"}}
            return api.http.post(f"{JOBS}/estimate", json=body).json() == {
                "model_id": "sculpt-v1",
                "cost_units": 0.5,
                "seconds_median": None,
                "seconds_p90": None,
                "queue_wait_s": None,
                "basis": "declared",
            }

        # for some seconds the API may tell of jobs that were there before this test
        wait_until(is_found, what="an estimate without a history", interval_s=0.1)
        assert api.http.get(f"{JOBS}/").json() == []

    def test_what_is_wrong_is_said_as_for_a_real_one(self, api):
        answer = api.http.post(f"{JOBS}/estimate", json={**CUP, "input_params": {"no": 1}})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameters")

    def test_a_dry_run_shows_the_job_and_makes_none(self, api):
        answer = ask(api, {**CUP, "dry_run": True, "priority": 3}, **{"Idempotency-Key": "dry"})
        assert answer.status_code == 200, answer.text
        shown = answer.json()
        assert (shown["dry_run"], shown["prompt"], shown["priority"]) == (True, "a red mug", 3)
        assert shown["params"]["quality"] == "balanced"
        assert shown["estimate"]["cost_units"] == 1
        assert api.http.get(f"{JOBS}/").json() == []
        assert ask(api, {**CUP, "priority": 3}, **{"Idempotency-Key": "dry"}).status_code == 201

    def test_a_job_costs_what_its_estimate_says(self, api):
        body = {**CUP, "input_params": {"num_candidates": 3}}
        found = api.http.post(f"{JOBS}/estimate", json=body).json()
        assert make(api, body)["cost_units"] == found["cost_units"] == 3


class TestPrefer:
    def end_soon(self, ledger, job_id):
        def end():
            ledger.begin(UUID(job_id), attempt=1, run_id="run-1", delivers=True)
            ledger.succeed(UUID(job_id), "run-1")

        timer = threading.Timer(0.3, end)
        timer.start()
        return timer

    def test_whoever_waits_is_answered_when_the_job_has_ended(self, api, ledger):
        job = make(api, PROBE)
        timer = self.end_soon(ledger, job["id"])
        began = time.monotonic()
        answer = api.http.get(f"{JOBS}/{job['id']}", headers={"Prefer": "wait=25"})
        timer.join()
        assert answer.json()["status"] == "SUCCEEDED"
        assert answer.headers["preference-applied"] == "wait=25"
        assert time.monotonic() - began < 20

    def test_a_new_job_may_be_waited_for_as_well(self, api, ledger):
        def end():
            assert ledger.wait_for_queued(20)
            [claim] = ledger.claim_queued(1, 60)
            ledger.begin(claim.job_id, attempt=1, run_id="run-1", delivers=True)
            ledger.succeed(claim.job_id, "run-1")

        thread = threading.Thread(target=end)
        thread.start()
        answer = ask(api, PROBE, Prefer="respond-async, wait=25")
        thread.join()
        assert (answer.status_code, answer.json()["status"]) == (201, "SUCCEEDED")
        assert answer.headers["preference-applied"] == "wait=25"

    def test_when_the_time_is_up_the_job_is_shown_as_it_stands(self, api):
        answer = ask(api, PROBE, Prefer="wait=1")
        assert (answer.status_code, answer.json()["status"]) == (201, "QUEUED")
        assert answer.headers["preference-applied"] == "wait=1"

    def test_nobody_waits_for_the_job_of_somebody_else(self, api, as_other):
        job = make(api, PROBE)
        answer = api.http.get(f"{JOBS}/{job['id']}", headers={"Prefer": "wait=60", **as_other})
        assert answer.status_code == 404
