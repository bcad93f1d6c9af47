"""Any sequence of operations, by any runs, keeps to the rules of `states`."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline3d.errors import LeaseLost
from pipeline3d.requests.ledger import Standing
from pipeline3d.requests.states import (
    RETRIED_BY_HAND,
    is_finished,
    may_follow,
    state_after_failed_attempt,
)
from pipeline3d.values import ArtifactType, FailureReport, JobState, Progress, StoredObject

REPORT = FailureReport(code="broken", message="It broke.", retryable=True)
RUNS = st.sampled_from(["r1", "r2", "r3"])
ATTEMPTS = st.integers(1, 4)
GLB = StoredObject(key="k", size=1, sha256="a" * 64, content_type="model/gltf-binary")


def snapshot(percent):
    return Progress(percent=percent, stage="mesh", stage_number=1, stage_count=1)


OPERATIONS = st.one_of(
    st.tuples(st.just("begin"), ATTEMPTS | st.none(), RUNS, st.booleans()),
    st.tuples(st.just("progress"), RUNS, st.integers(-10, 110)),
    st.tuples(st.just("succeed"), RUNS),
    st.tuples(st.just("fail"), RUNS),
    st.tuples(st.just("requeue"), RUNS),
    st.tuples(st.just("mark_canceled"), RUNS),
    st.tuples(st.just("next_attempt"), ATTEMPTS),
    st.tuples(st.just("cancel_queued"), ATTEMPTS),
    st.tuples(st.just("artifact"), ATTEMPTS),
    st.tuples(st.just("claim")),
    st.tuples(st.just("cancel")),
    st.tuples(st.just("retry_by_hand")),
)


def perform(ledger, job_id, operation):
    name, *rest = operation
    if name == "begin":
        return ledger.begin(job_id, attempt=rest[0], run_id=rest[1], delivers=rest[2])
    if name == "progress":
        return ledger.report_progress(job_id, rest[0], snapshot(rest[1]))
    if name == "fail":
        return ledger.fail(job_id, rest[0], REPORT)
    if name == "requeue":
        return ledger.requeue(job_id, rest[0], REPORT, 0)
    if name == "next_attempt":
        return ledger.next_attempt(job_id, rest[0], REPORT, 0)
    if name == "artifact":
        return ledger.record_artifact(job_id, rest[0], "mesh", "m", ArtifactType.INTERMEDIATE, GLB)
    if name == "claim":
        return ledger.claim_queued(10, 0)
    if name == "cancel":
        return ledger.request_cancel(job_id)
    return getattr(ledger, name)(job_id, *rest)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OPERATIONS, max_size=14))
def test_no_sequence_of_operations_breaks_the_rules(rows, ledger, operations):
    job_id = rows.make()
    for operation in operations:
        before = rows.row(job_id)
        told_before = len(rows.events(job_id))
        lost = False
        answer = None
        try:
            answer = perform(ledger, job_id, operation)
        except LeaseLost:
            lost = True
        after = rows.row(job_id)
        if lost:
            assert after == before, "a refused operation wrote something"
            assert len(rows.events(job_id)) == told_before
            continue
        check_step(operation, answer, before, after)
        if after.state != before.state or after.attempt != before.attempt:
            assert len(rows.events(job_id)) == told_before + 1, "a change was not told"


def check_step(operation, answer, before, after):
    """One step that was carried out, against the pure rules."""
    state_before, state_after = JobState(before.state), JobState(after.state)
    if (state_after, after.attempt) != (state_before, before.attempt):
        assert may_follow(state_before, state_after), f"{state_before} became {state_after}"
    assert after.attempt in (before.attempt, before.attempt + 1)
    if after.attempt == before.attempt:
        if state_after is not JobState.RUNNING or state_before is JobState.RUNNING:
            assert after.progress_percent >= before.progress_percent
        assert before.started_at in (None, after.started_at)
    name = operation[0]
    if name in ("requeue", "next_attempt"):
        expected = state_after_failed_attempt(
            state_before, attempt=before.attempt, max_attempts=before.max_attempts
        )
        assert state_after is answer is expected
    if name in ("progress", "succeed", "fail", "requeue", "mark_canceled"):
        assert before.run_id == operation[1], "a run changed what another run owns"
    if name == "retry_by_hand":
        again = state_before in RETRIED_BY_HAND
        assert state_after is answer is (JobState.QUEUED if again else state_before)
        assert after.attempt == before.attempt + again
        assert again or after == before
    elif is_finished(state_before):
        # whatever else happens, what is over stays over, unless a person takes a failed one over
        assert state_after is state_before or (name == "begin" and operation[1] is None)
    if name == "begin":
        owner = answer is Standing.OWNER
        assert owner == (state_after is JobState.RUNNING and after.run_id == operation[2])
        assert owner or after == before
