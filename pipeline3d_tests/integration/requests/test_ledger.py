"""What a run, a dispatcher and a reconciler may do to a request, on a real Postgres."""

from __future__ import annotations

import threading
import time
from uuid import uuid4

import pytest
from sqlalchemy import text

from pipeline3d.database.tables import jobs
from pipeline3d.errors import LeaseLost, UnknownJob
from pipeline3d.requests import claiming
from pipeline3d.requests.creation import UploadedInput
from pipeline3d.requests.ledger import Standing
from pipeline3d.requests.states import RETRIED_BY_HAND
from pipeline3d.values import ArtifactType, FailureReport, JobState, Kind, Progress, StoredObject

LOST = FailureReport(code="worker_lost", message="The worker went away.", hint="Nothing.", retryable=True)
BAD = FailureReport(
    code="no_clear_object", message="There is nothing in it.", stage="mesh", hint="Another photo."
)
GLB = StoredObject(
    key="jobs/x/glb_export/model.glb", size=10, sha256="a" * 64, content_type="model/gltf-binary"
)
LONG_S = 3600.0


def progress(percent, stage="mesh"):
    return Progress(percent=percent, stage=stage, stage_number=3, stage_count=6, message="working")


@pytest.fixture
def running(rows, ledger):
    """A job whose first attempt belongs to run `r1`."""
    job_id = rows.make()
    assert ledger.begin(job_id, attempt=1, run_id="r1", delivers=True) is Standing.OWNER
    return job_id


@pytest.fixture
def in_state(rows, ledger):
    """Makes a job in any state."""

    def make(state):
        job_id = rows.make()
        if state is JobState.EXPIRED:
            rows.run(jobs.update().where(jobs.c.id == job_id).values(deadline=jobs.c.created_at))
            assert ledger.expire_overdue() == [job_id]
        elif state is JobState.CANCELED:
            ledger.request_cancel(job_id)
        elif state is not JobState.QUEUED:
            ledger.begin(job_id, attempt=1, run_id="r1", delivers=True)
            if state is JobState.SUCCEEDED:
                ledger.succeed(job_id, "r1")
            elif state is JobState.FAILED:
                ledger.fail(job_id, "r1", BAD)
            elif state is JobState.CANCELING:
                ledger.request_cancel(job_id)
        assert rows.row(job_id).state == state
        return job_id

    return make


def test_a_new_job_is_stored_with_its_input_and_the_beginning_of_its_history(rows):
    job_id = rows.make(upload=UploadedInput(key="uploads/k.png", size=3, content_type="image/png"))
    [artifact] = rows.artifacts(job_id)
    assert (artifact.type, artifact.storage_path, artifact.file_size_bytes) == ("INPUT", "uploads/k.png", 3)
    assert rows.events(job_id) == [
        {"event": "created", "model_id": "inflate-v1", "state": "QUEUED", "attempt": 1}
    ]


class TestClaiming:
    def test_the_urgent_come_first_and_then_the_oldest(self, rows, ledger):
        first, second, third = (rows.make() for _ in range(3))
        rows.run(jobs.update().where(jobs.c.id == third).values(priority=5))
        claims = ledger.claim_queued(10, LONG_S)
        assert [claim.job_id for claim in claims] == [third, first, second]
        assert claims[0].run_key == f"{third}:1"
        assert (claims[0].queue, claims[0].kind, claims[0].user_id) == ("cpu", Kind.IMAGE_TO_3D, rows.user_id)

    def test_a_limit_is_kept_by_the_order(self, rows, ledger):
        made = [rows.make() for _ in range(3)]
        assert [claim.job_id for claim in ledger.claim_queued(2, LONG_S)] == made[:2]
        assert [claim.job_id for claim in ledger.claim_queued(2, LONG_S)] == made[2:]

    def test_a_leased_request_is_not_claimed_again_until_its_lease_ends(self, rows, ledger):
        job_id = rows.make()
        assert len(ledger.claim_queued(1, LONG_S)) == 1
        assert ledger.claim_queued(1, LONG_S) == []
        rows.run(jobs.update().where(jobs.c.id == job_id).values(lease_until=jobs.c.created_at))
        assert len(ledger.claim_queued(1, LONG_S)) == 1

    def test_a_claim_again_is_told_once_in_the_history(self, rows, ledger):
        job_id = rows.make()
        ledger.claim_queued(1, 0)
        ledger.claim_queued(1, 0)
        assert [event["event"] for event in rows.events(job_id)] == ["created", "dispatched"]

    def test_a_retry_waits_for_its_time(self, rows, ledger, running):
        assert ledger.requeue(running, "r1", LOST, LONG_S) is JobState.QUEUED
        assert ledger.claim_queued(1, LONG_S) == []
        rows.run(jobs.update().where(jobs.c.id == running).values(not_before=jobs.c.created_at))
        assert [claim.attempt for claim in ledger.claim_queued(1, LONG_S)] == [2]

    def test_an_overdue_request_is_not_started(self, rows, ledger):
        job_id = rows.make()
        rows.run(jobs.update().where(jobs.c.id == job_id).values(deadline=jobs.c.created_at))
        assert ledger.claim_queued(1, LONG_S) == []

    def test_only_the_kinds_asked_for_are_claimed(self, rows, ledger):
        rows.make()
        assert ledger.claim_queued(1, LONG_S, kinds=[Kind.TEXT_TO_3D]) == []
        assert len(ledger.claim_queued(1, LONG_S, kinds=[Kind.TEXT_TO_3D, Kind.IMAGE_TO_3D])) == 1

    def test_many_claimers_at_once_share_the_requests_without_overlap(self, rows, ledger):
        made = {rows.make() for _ in range(60)}
        barrier = threading.Barrier(6)
        claimed: list = []

        def claim():
            barrier.wait()
            while batch := ledger.claim_queued(4, LONG_S):
                claimed.extend(claim.job_id for claim in batch)

        threads = [threading.Thread(target=claim) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(claimed) == len(made)
        assert set(claimed) == made


class TestWaiting:
    @pytest.fixture(autouse=True)
    def never_looking_again(self, monkeypatch):
        monkeypatch.setattr(claiming, "LOOK_AGAIN_S", LONG_S)

    def test_a_request_that_is_there_already_is_not_waited_for(self, rows, ledger):
        rows.make()
        started = time.monotonic()
        ledger.wait_for_queued(120)
        assert time.monotonic() - started < 60

    def test_a_request_that_comes_ends_the_wait(self, rows, ledger):
        waiter = threading.Thread(target=ledger.wait_for_queued, args=(120,))
        waiter.start()
        rows.make()
        waiter.join(60)
        assert not waiter.is_alive()

    def test_a_request_that_is_leased_is_waited_for_until_the_time_is_up(self, rows, ledger):
        rows.make()
        ledger.claim_queued(1, LONG_S)
        started = time.monotonic()
        ledger.wait_for_queued(0.2)
        assert 0.15 < time.monotonic() - started < 60

    def test_a_retry_is_waited_for_no_longer_than_until_its_time(self, rows, ledger, running):
        ledger.requeue(running, "r1", LOST, 0.2)
        started = time.monotonic()
        ledger.wait_for_queued(120)
        assert time.monotonic() - started < 60

    def test_only_what_becomes_queued_wakes_the_dispatcher(self, rows, ledger, heard):
        job_id = rows.make()
        assert heard() == [str(job_id)]
        ledger.claim_queued(1, 0)
        ledger.claim_queued(1, LONG_S)
        ledger.renew_lease(job_id, 1, LONG_S)
        ledger.begin(job_id, attempt=1, run_id="r1", delivers=True)
        ledger.report_progress(job_id, "r1", progress(40))
        ledger.record_artifact(job_id, 1, "mesh", "mesh.npz", ArtifactType.INTERMEDIATE, GLB)
        assert heard() == []
        ledger.requeue(job_id, "r1", LOST, 0)
        assert heard() == [str(job_id)]


class TestBeginning:
    def test_the_run_of_the_attempt_owns_it(self, rows, running):
        row = rows.row(running)
        assert (row.state, row.run_id, row.attempt) == ("RUNNING", "r1", 1)
        assert row.started_at is not None
        assert row.heartbeat_at is not None
        assert row.lease_until is None

    def test_the_same_run_may_ask_again(self, rows, ledger, running):
        before = rows.row(running)
        assert ledger.begin(running, attempt=1, run_id="r1", delivers=True) is Standing.OWNER
        assert ledger.begin(running, attempt=None, run_id="r1", delivers=True) is Standing.OWNER
        after = rows.row(running)
        assert after.started_at == before.started_at
        assert after.heartbeat_at > before.heartbeat_at
        assert [event["event"] for event in rows.events(running)].count("started") == 1

    @pytest.mark.parametrize(
        ("state", "delivers", "standing"),
        [
            (JobState.QUEUED, True, Standing.OWNER),  # a person is quicker than the dispatcher
            (JobState.FAILED, True, Standing.OWNER),  # a person tries again
            (JobState.SUCCEEDED, True, Standing.REBUILD),  # the outcome stays
            (JobState.SUCCEEDED, False, Standing.REBUILD),
            (JobState.FAILED, False, Standing.REBUILD),  # a part alone decides nothing
            (JobState.QUEUED, False, Standing.REBUILD),
        ],
    )
    def test_a_run_by_hand_gets_what_the_state_allows(
        self, rows, ledger, in_state, state, delivers, standing
    ):
        job_id = in_state(state)
        assert ledger.begin(job_id, attempt=None, run_id="hand", delivers=delivers) is standing
        expected = JobState.RUNNING if standing is Standing.OWNER else state
        assert rows.row(job_id).state == expected

    @pytest.mark.parametrize(
        "state", [JobState.RUNNING, JobState.CANCELING, JobState.CANCELED, JobState.EXPIRED]
    )
    @pytest.mark.parametrize("delivers", [True, False])
    def test_a_run_by_hand_keeps_off_what_is_not_to_be_had(self, rows, ledger, in_state, state, delivers):
        job_id = in_state(state)
        before = rows.row(job_id)
        with pytest.raises(LeaseLost) as caught:
            ledger.begin(job_id, attempt=None, run_id="hand", delivers=delivers)
        assert str(job_id) in caught.value.message
        assert rows.row(job_id) == before

    @pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.QUEUED])
    def test_a_second_run_of_the_same_attempt_gets_nothing(self, rows, ledger, in_state, state):
        job_id = in_state(state)
        before = rows.row(job_id)
        with pytest.raises(LeaseLost):
            ledger.begin(job_id, attempt=1, run_id="r2", delivers=True)
        assert rows.row(job_id) == before

    def test_a_run_of_an_older_attempt_gets_nothing(self, ledger, running):
        ledger.requeue(running, "r1", LOST, 0)
        with pytest.raises(LeaseLost, match="attempt 1 is over"):
            ledger.begin(running, attempt=1, run_id="r1", delivers=True)
        assert ledger.begin(running, attempt=2, run_id="r2", delivers=True) is Standing.OWNER

    def test_trying_again_by_hand_is_a_new_attempt_even_past_the_limit(self, rows, ledger, running):
        rows.run(jobs.update().where(jobs.c.id == running).values(max_attempts=1))
        started = rows.row(running).started_at
        ledger.report_progress(running, "r1", progress(60))
        ledger.fail(running, "r1", BAD)
        ledger.begin(running, attempt=None, run_id="hand", delivers=True)
        row = rows.row(running)
        assert (row.attempt, row.max_attempts, row.progress_percent, row.error_code) == (2, 2, 0, None)
        assert (row.started_at, row.completed_at) == (started, None)
        with pytest.raises(LeaseLost):
            ledger.succeed(running, "r1")

    def test_of_two_runs_that_begin_at_once_one_owns_the_request(self, rows, ledger):
        for _ in range(10):
            job_id = rows.make()
            barrier = threading.Barrier(2)
            got: list = []

            def begin(run_id, job_id=job_id, barrier=barrier, got=got):
                barrier.wait()
                try:
                    got.append(ledger.begin(job_id, attempt=1, run_id=run_id, delivers=True))
                except LeaseLost:
                    got.append(None)

            threads = [threading.Thread(target=begin, args=(name,)) for name in ("a", "b")]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(got, key=str) == [None, Standing.OWNER]

    def test_an_unknown_job_is_said_to_be_unknown(self, ledger):
        with pytest.raises(UnknownJob):
            ledger.begin(uuid4(), attempt=1, run_id="r", delivers=True)
        with pytest.raises(UnknownJob):
            ledger.read_job(uuid4())


class TestRunning:
    def test_a_snapshot_is_stored_whole_and_told(self, rows, ledger, running):
        ledger.report_progress(running, "r1", progress(40))
        row = rows.row(running)
        snapshot = {
            "percent": 40,
            "stage": "mesh",
            "stage_number": 3,
            "stage_count": 6,
            "message": "working",
        }
        assert (row.progress_percent, row.progress) == (40, snapshot)
        assert rows.events(running)[-1] == {
            "event": "progress",
            "state": "RUNNING",
            "attempt": 1,
            "progress": snapshot,
        }

    @pytest.mark.parametrize(("sent", "stored"), [(10, 40), (-5, 40), (70, 70), (1000, 100)])
    def test_the_percentage_never_goes_back_nor_beyond_its_range(self, rows, ledger, running, sent, stored):
        ledger.report_progress(running, "r1", progress(40))
        ledger.report_progress(running, "r1", progress(sent, "glb_export"))
        row = rows.row(running)
        assert (row.progress_percent, row.progress["percent"], row.progress["stage"]) == (
            stored,
            stored,
            "glb_export",
        )

    def test_the_next_attempt_begins_at_nought(self, rows, ledger, running):
        ledger.report_progress(running, "r1", progress(40))
        ledger.record_stage_seconds(running, "r1", "mesh", 1.0)
        ledger.requeue(running, "r1", LOST, 0)
        ledger.begin(running, attempt=2, run_id="r2", delivers=True)
        row = rows.row(running)
        assert (row.progress_percent, row.progress, row.stage_seconds) == (0, None, {})

    def test_seconds_of_stages_are_kept_beside_each_other(self, rows, ledger, running):
        ledger.record_stage_seconds(running, "r1", "mesh", 1.25)
        ledger.record_stage_seconds(running, "r1", "glb_export", 0.5)
        ledger.record_stage_seconds(running, "r1", "mesh", 2.0)
        assert rows.row(running).stage_seconds == {"mesh": 2.0, "glb_export": 0.5}

    def test_a_heartbeat_says_whether_to_go_on(self, ledger, running):
        assert ledger.heartbeat(running, "r1")
        assert not ledger.heartbeat(running, "r2")
        ledger.request_cancel(running)
        assert not ledger.heartbeat(running, "r1")

    @pytest.mark.parametrize(
        "write",
        [
            lambda ledger, job_id: ledger.report_progress(job_id, "r1", progress(99)),
            lambda ledger, job_id: ledger.record_stage_seconds(job_id, "r1", "mesh", 9),
            lambda ledger, job_id: ledger.succeed(job_id, "r1"),
            lambda ledger, job_id: ledger.fail(job_id, "r1", BAD),
            lambda ledger, job_id: ledger.requeue(job_id, "r1", LOST, 0),
            lambda ledger, job_id: ledger.mark_canceled(job_id, "r1"),
            lambda ledger, job_id: ledger.record_artifact(
                job_id, 1, "mesh", "mesh.npz", ArtifactType.INTERMEDIATE, GLB
            ),
            lambda ledger, job_id: ledger.next_attempt(job_id, 1, LOST, 0),
        ],
    )
    def test_a_run_that_lost_its_request_writes_nothing(self, rows, ledger, running, write):
        ledger.requeue(running, "r1", LOST, 0)
        ledger.begin(running, attempt=2, run_id="r2", delivers=True)
        before = rows.row(running), rows.events(running), rows.artifacts(running)
        with pytest.raises(LeaseLost):
            write(ledger, running)
        assert (rows.row(running), rows.events(running), rows.artifacts(running)) == before


class TestArtifacts:
    def test_an_artifact_is_recorded_in_place_of_an_earlier_one(self, rows, ledger, running):
        ledger.record_artifact(
            running, 1, "glb_export", "model.glb", ArtifactType.OUTPUT_MODEL, GLB, {"faces": 8}
        )
        other = StoredObject(key=GLB.key, size=11, sha256="b" * 64, content_type=GLB.content_type)
        ledger.record_artifact(running, 1, "glb_export", "model.glb", ArtifactType.OUTPUT_MODEL, other)
        [row] = rows.artifacts(running)
        assert (row.sha256, row.file_size_bytes, row.metadata, row.attempt) == ("b" * 64, 11, {}, 1)
        assert ledger.read_artifact(running, "glb_export") == other
        assert ledger.read_artifact(running, "mesh") is None

    @pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED])
    def test_a_rebuild_may_record_again_and_leaves_the_state(self, rows, ledger, in_state, state):
        job_id = in_state(state)
        before = rows.row(job_id)
        ledger.record_artifact(job_id, 1, "mesh", "mesh.npz", ArtifactType.INTERMEDIATE, GLB)
        assert len(rows.artifacts(job_id)) == 1
        assert rows.row(job_id) == before

    @pytest.mark.parametrize("state", [JobState.CANCELED, JobState.EXPIRED])
    def test_nothing_is_recorded_for_a_request_that_was_given_up(self, rows, ledger, in_state, state):
        job_id = in_state(state)
        with pytest.raises(LeaseLost):
            ledger.record_artifact(job_id, 1, "mesh", "mesh.npz", ArtifactType.INTERMEDIATE, GLB)
        assert rows.artifacts(job_id) == []


class TestEnding:
    def test_success_completes_the_progress(self, rows, ledger, running):
        ledger.report_progress(running, "r1", progress(80))
        ledger.succeed(running, "r1")
        row = rows.row(running)
        assert (row.state, row.progress_percent, row.progress["percent"]) == ("SUCCEEDED", 100, 100)
        assert row.completed_at >= row.started_at

    def test_success_without_any_progress_is_success_too(self, rows, ledger, running):
        ledger.succeed(running, "r1")
        assert rows.row(running).progress is None

    def test_a_failure_keeps_the_progress_and_tells_everything(self, rows, ledger, running):
        ledger.report_progress(running, "r1", progress(80))
        assert ledger.fail(running, "r1", BAD) is JobState.FAILED
        row = rows.row(running)
        assert (row.error_code, row.error_stage, row.error_message, row.error_hint, row.error_retryable) == (
            BAD.code,
            BAD.stage,
            BAD.message,
            BAD.hint,
            False,
        )
        assert row.progress_percent == 80
        assert rows.events(running)[-1]["code"] == "no_clear_object"

    def test_attempts_are_used_up_and_then_it_fails_with_the_report(self, rows, ledger, running):
        for attempt in (1, 2):
            assert ledger.requeue(running, f"r{attempt}", LOST, 0) is JobState.QUEUED
            row = rows.row(running)
            assert (row.run_id, row.error_code, row.completed_at, row.attempt) == (
                None,
                None,
                None,
                attempt + 1,
            )
            ledger.begin(running, attempt=attempt + 1, run_id=f"r{attempt + 1}", delivers=True)
        assert ledger.requeue(running, "r3", LOST, 0) is JobState.FAILED
        row = rows.row(running)
        assert (row.error_code, row.attempt, row.error_retryable) == ("worker_lost", 3, True)
        assert row.completed_at is not None

    def test_a_request_whose_worker_dies_three_times_is_parked_and_not_tried_again(self, rows, ledger):
        job_id = rows.make()
        for attempt in (1, 2, 3):
            assert [claim.attempt for claim in ledger.claim_queued(1, LONG_S)] == [attempt]
            ledger.begin(job_id, attempt=attempt, run_id=f"r{attempt}", delivers=True)
            state = ledger.requeue(job_id, f"r{attempt}", LOST, 0)
        row = rows.row(job_id)
        assert (state, row.state, row.error_code) == (JobState.FAILED, "FAILED", "worker_lost")
        assert ledger.claim_queued(1, LONG_S) == []
        assert ledger.wait_for_queued(0) is False
        assert ledger.list_running(0) == []
        assert ledger.list_undispatched(0) == []

    @pytest.mark.parametrize("state", sorted(RETRIED_BY_HAND))
    def test_a_person_may_queue_again_what_did_not_succeed(self, rows, ledger, in_state, heard, state):
        job_id = in_state(state)
        heard()
        assert ledger.retry_by_hand(job_id) is JobState.QUEUED
        row = rows.row(job_id)
        assert (row.attempt, row.progress_percent, row.error_code, row.completed_at, row.started_at) == (
            2,
            0,
            None,
            None,
            None,
        )
        assert heard() == [str(job_id)]
        assert rows.events(job_id)[-1]["event"] == "retried_by_hand"
        assert [claim.attempt for claim in ledger.claim_queued(1, LONG_S)] == [2]
        assert ledger.begin(job_id, attempt=2, run_id="r2", delivers=True) is Standing.OWNER

    def test_after_its_last_attempt_a_request_gets_one_more(self, rows, ledger, running):
        for attempt in (1, 2, 3):
            if attempt > 1:
                ledger.begin(running, attempt=attempt, run_id="r1", delivers=True)
            ledger.requeue(running, "r1", LOST, 0)
        assert ledger.retry_by_hand(running) is JobState.QUEUED
        row = rows.row(running)
        assert (row.attempt, row.max_attempts) == (4, 4)

    @pytest.mark.parametrize(
        "state", [JobState.QUEUED, JobState.RUNNING, JobState.CANCELING, JobState.SUCCEEDED]
    )
    def test_what_is_under_way_or_succeeded_is_not_queued_again(self, rows, ledger, in_state, state):
        job_id = in_state(state)
        before = rows.row(job_id)
        assert ledger.retry_by_hand(job_id) is state
        assert rows.row(job_id) == before

    def test_an_attempt_that_died_before_it_began_is_followed_by_the_next(self, rows, ledger):
        job_id = rows.make()
        ledger.claim_queued(1, LONG_S)
        assert ledger.next_attempt(job_id, 1, LOST, 0) is JobState.QUEUED
        assert [claim.attempt for claim in ledger.claim_queued(1, LONG_S)] == [2]
        with pytest.raises(LeaseLost):
            ledger.next_attempt(job_id, 1, LOST, 0)

    @pytest.mark.parametrize(
        "end",
        [
            lambda ledger, job_id: ledger.fail(job_id, "r1", BAD),
            lambda ledger, job_id: ledger.requeue(job_id, "r1", LOST, 0),
            lambda ledger, job_id: ledger.mark_canceled(job_id, "r1"),
        ],
    )
    def test_whoever_asked_for_an_end_gets_it_however_the_run_ends(self, rows, ledger, running, end):
        assert ledger.request_cancel(running) is JobState.CANCELING
        end(ledger, running)
        row = rows.row(running)
        assert (row.state, row.error_code) == ("CANCELED", None)
        assert row.cancel_requested_at is not None

    @pytest.mark.parametrize(
        "write",
        [
            lambda ledger, job_id: ledger.succeed(job_id, "r1"),
            lambda ledger, job_id: ledger.report_progress(job_id, "r1", progress(50)),
        ],
    )
    def test_a_run_that_was_asked_to_stop_is_told_so(self, ledger, running, write):
        ledger.request_cancel(running)
        with pytest.raises(LeaseLost) as caught:
            write(ledger, running)
        assert caught.value.code == "cancel_requested"

    def test_a_queued_request_is_canceled_at_once_and_a_finished_one_stays(self, rows, ledger, running):
        assert ledger.request_cancel(rows.make()) is JobState.CANCELED
        ledger.succeed(running, "r1")
        assert ledger.request_cancel(running) is JobState.SUCCEEDED

    def test_a_queued_attempt_is_canceled_only_if_it_is_still_that_attempt(self, rows, ledger):
        job_id = rows.make()
        assert not ledger.cancel_queued(job_id, 2)
        assert ledger.cancel_queued(job_id, 1)
        assert not ledger.cancel_queued(job_id, 1)


class TestReconciling:
    def test_silent_runs_are_found_and_talking_ones_are_not(self, rows, ledger, running):
        assert ledger.list_running(LONG_S) == []
        [found] = ledger.list_running(0)
        assert (found.job_id, found.run_id, found.attempt, found.state) == (
            running,
            "r1",
            1,
            JobState.RUNNING,
        )
        rows.run(jobs.update().where(jobs.c.id == running).values(heartbeat_at=jobs.c.created_at))
        [found] = ledger.list_running(0)
        assert found.silent_s > 0

    def test_a_run_that_was_asked_to_stop_and_went_silent_is_found(self, ledger, running):
        ledger.request_cancel(running)
        assert [job.state for job in ledger.list_running(0)] == [JobState.CANCELING]

    def test_a_leased_request_that_did_not_begin_is_found_whoever_leases_it_again(self, rows, ledger):
        job_id = rows.make()
        assert ledger.list_undispatched(0) == []
        ledger.claim_queued(1, 0)
        ledger.claim_queued(1, LONG_S)
        assert [claim.job_id for claim in ledger.list_undispatched(0)] == [job_id]
        assert ledger.list_undispatched(LONG_S) == []

    def test_a_request_that_was_confirmed_is_asked_about_later(self, rows, ledger):
        job_id = rows.make()
        ledger.claim_queued(1, LONG_S)
        an_hour_ago = text("now() - interval '1 hour'")
        rows.run(jobs.update().where(jobs.c.id == job_id).values(leased_at=an_hour_ago))
        assert len(ledger.list_undispatched(60)) == 1
        assert ledger.renew_lease(job_id, 1, LONG_S)
        assert ledger.list_undispatched(60) == []

    def test_only_a_leased_attempt_that_waits_is_renewed(self, rows, ledger, running):
        assert not ledger.renew_lease(running, 1, LONG_S)
        assert not ledger.renew_lease(rows.make(), 1, LONG_S)
