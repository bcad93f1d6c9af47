"""Statements that change a request, each one guarded and whole.

Every change is a single statement that updates the row only where its guard holds (state, attempt, run),
writes the line of history and sends the NOTIFY. No row comes back where the guard did not hold. The functions
are pure: they return a statement that a run executes synchronously and the API asynchronously.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Select,
    Update,
    and_,
    case,
    func,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from pipeline3d.database.tables import jobs, launched_runs
from pipeline3d.requests.fleet import WORKERS_CHANNEL
from pipeline3d.requests.history import build_change, with_event
from pipeline3d.requests.leases import IS_QUEUED, seconds_from_now
from pipeline3d.requests.reading import IS_VISIBLE
from pipeline3d.requests.states import RETRIED_BY_HAND, states_before
from pipeline3d.values import EventType, FailureReport, JobState

UNLEASED: dict[str, Any] = {"leased_at": None, "lease_until": None}
NO_PROGRESS: dict[str, Any] = {"progress_percent": 0, "progress": None, "stage_seconds": {}}
NO_ERROR: dict[str, Any] = {
    "error_code": None,
    "error_stage": None,
    "error_message": None,
    "error_hint": None,
    "error_retryable": None,
}


def begin_by_hand(job_id: UUID, run_id: str) -> Select[Any]:
    """Make a queued request this run's own, or start a failed one again as a new attempt."""
    attempt = jobs.c.attempt + case((jobs.c.state == JobState.FAILED, 1), else_=0)
    taken = (
        begin_run(run_id)
        .where(jobs.c.id == job_id, IS_VISIBLE, jobs.c.state.in_(states_before(JobState.RUNNING)))
        # a person may start a request more often than the service would by itself
        .values(attempt=attempt, max_attempts=func.greatest(jobs.c.max_attempts, attempt))
    )
    return build_change(taken, {"event": "started", "run_id": run_id, "by_hand": True}, makes_room=True)


def retry_by_hand(job_id: UUID) -> Select[Any]:
    """Queue a request that did not succeed once more, as a new attempt with a fresh start."""
    return _retry(jobs.c.id == job_id, jobs.c.state.in_(sorted(RETRIED_BY_HAND)))


def retry_with_key(job_id: UUID, key_id: UUID | None) -> Select[Any]:
    """The same, and it is this key's from now on, or no key's: it counts for whoever started it last."""
    return _retry(jobs.c.id == job_id, jobs.c.state.in_(sorted(RETRIED_BY_HAND)), key_id=key_id)


def retry_failed(since_s: float, code: str | None = None) -> Select[Any]:
    """The same for all that failed in the last `since_s` seconds: with this code, or where it may help."""
    which = jobs.c.error_retryable if code is None else jobs.c.error_code == code
    recently = jobs.c.completed_at > seconds_from_now(-since_s)
    return _retry(jobs.c.state == JobState.FAILED, recently, which)


def fail(job_id: UUID, run_id: str, report: FailureReport) -> Select[Any]:
    """Finish with a failure; one that was being canceled becomes CANCELED."""
    canceled = jobs.c.state == JobState.CANCELING
    failed = owned_by_run(job_id, run_id).values(
        state=case((canceled, JobState.CANCELED.value), else_=JobState.FAILED.value),
        completed_at=func.now(),
        **_error_values(report, where=~canceled),
    )
    return build_change(failed, _report_payload(report), event_type=EventType.ERROR, makes_room=True)


def requeue(job_id: UUID, run_id: str, report: FailureReport, delay_s: float) -> Select[Any]:
    """End a running attempt that another may better: queue the next one, or fail where none is left."""
    return _next_attempt(owned_by_run(job_id, run_id), report, delay_s)


def next_attempt(job_id: UUID, attempt: int, report: FailureReport, delay_s: float) -> Select[Any]:
    """The same for an attempt whose run died before it began."""
    queued = update(jobs).where(
        jobs.c.id == job_id, jobs.c.attempt == attempt, jobs.c.state == JobState.QUEUED
    )
    return _next_attempt(queued, report, delay_s)


def mark_canceled(job_id: UUID, run_id: str) -> Select[Any]:
    """End a run that was asked to stop, or that was stopped from outside."""
    ended = owned_by_run(job_id, run_id).values(state=JobState.CANCELED, completed_at=func.now())
    return build_change(ended, {"event": "canceled"}, event_type=EventType.WARNING, makes_room=True)


def request_cancel(job_id: UUID) -> Select[Any]:
    """End a queued request at once; ask the run of a running one to stop, and wake the worker that has it."""
    queued = jobs.c.state == JobState.QUEUED
    asked = (
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state.in_([JobState.QUEUED, JobState.RUNNING]))
        .values(
            state=case((queued, JobState.CANCELED.value), else_=JobState.CANCELING.value),
            completed_at=case((queued, func.now()), else_=null()),
            cancel_requested_at=func.now(),
            updated_at=func.now(),
            **UNLEASED,
        )
        .returning(jobs.c.id, jobs.c.state, jobs.c.attempt, jobs.c.run_id)
        .cte("asked")
    )
    told = literal({"event": "cancel_requested"}, JSONB)
    statement = with_event(asked, told, event_type=EventType.WARNING, makes_room=True)
    return statement.add_columns(stop_run_of(asked).label("told_workers"))


def stop_run_of(asked: CTE) -> ColumnElement[Any]:
    """Mark the launched run of a request as one to be ended; wakes its worker, or whoever may yet take it."""
    of_attempt = and_(launched_runs.c.job_id == asked.c.id, launched_runs.c.attempt == asked.c.attempt)
    stopped = (
        update(launched_runs)
        .where(or_(launched_runs.c.run_id == asked.c.run_id, of_attempt))
        .values(cancel_requested_at=func.coalesce(launched_runs.c.cancel_requested_at, func.now()))
        .returning(func.coalesce(launched_runs.c.worker_id, launched_runs.c.run_id).label("called"))
        .cte("stopped")
    )
    return select(func.count(func.pg_notify(WORKERS_CHANNEL, stopped.c.called))).scalar_subquery()


def cancel_queued(job_id: UUID, attempt: int) -> Select[Any]:
    """End an attempt that has not begun."""
    ended = (
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.attempt == attempt, jobs.c.state == JobState.QUEUED)
        .values(state=JobState.CANCELED, completed_at=func.now(), **UNLEASED)
    )
    return build_change(ended, {"event": "canceled"}, event_type=EventType.WARNING, makes_room=True)


def expire_overdue() -> Select[Any]:
    """End the queued requests whose deadline has passed."""
    overdue = (
        update(jobs)
        .where(IS_QUEUED, jobs.c.deadline <= func.now())
        .values(state=JobState.EXPIRED, completed_at=func.now(), **UNLEASED)
    )
    return build_change(overdue, {"event": "expired"}, event_type=EventType.WARNING, makes_room=True)


def owned_by_run(job_id: ColumnElement[UUID] | UUID, run_id: ColumnElement[str] | str) -> Update:
    """A change of a request by the run that owns it."""
    return update(jobs).where(
        jobs.c.id == job_id,
        jobs.c.run_id == run_id,
        jobs.c.state.in_([JobState.RUNNING, JobState.CANCELING]),
    )


def begin_run(run_id: ColumnElement[str] | str) -> Update:
    """Make a request a run's own; who and when is for the caller to guard."""
    return update(jobs).values(
        state=JobState.RUNNING,
        run_id=run_id,
        heartbeat_at=func.now(),
        started_at=func.coalesce(jobs.c.started_at, func.now()),
        completed_at=None,
        not_before=None,
        **UNLEASED,
        **NO_PROGRESS,
        **NO_ERROR,
    )


def _retry(*which: ColumnElement[bool], **more: Any) -> Select[Any]:
    again = (
        update(jobs)
        .where(IS_VISIBLE, *which)
        .values(
            state=JobState.QUEUED,
            attempt=jobs.c.attempt + 1,
            # a person may start a request more often than the service would by itself
            max_attempts=func.greatest(jobs.c.max_attempts, jobs.c.attempt + 1),
            run_id=None,
            heartbeat_at=None,
            started_at=None,
            completed_at=None,
            not_before=None,
            # it has passed, or would while the request waits once more
            deadline=None,
            cancel_requested_at=None,
            **UNLEASED,
            **NO_PROGRESS,
            **NO_ERROR,
            **more,
        )
    )
    return build_change(again, {"event": "retried_by_hand"})


def _next_attempt(attempt: Update, report: FailureReport, delay_s: float) -> Select[Any]:
    """The SQL of `states.state_after_failed_attempt`; a test holds the two together."""
    canceled = jobs.c.state == JobState.CANCELING
    again = and_(~canceled, jobs.c.attempt < jobs.c.max_attempts)

    def if_again(value: Any, otherwise: Any) -> ColumnElement[Any]:
        return case((again, value), else_=otherwise)

    ended = attempt.values(
        state=case(
            (canceled, JobState.CANCELED.value),
            (again, JobState.QUEUED.value),
            else_=JobState.FAILED.value,
        ),
        attempt=jobs.c.attempt + if_again(1, 0),
        not_before=if_again(seconds_from_now(delay_s), null()),
        completed_at=if_again(null(), func.now()),
        run_id=if_again(null(), jobs.c.run_id),
        heartbeat_at=if_again(null(), jobs.c.heartbeat_at),
        progress_percent=if_again(0, jobs.c.progress_percent),
        progress=if_again(null(), jobs.c.progress),
        **UNLEASED,
        **_error_values(report, where=and_(~canceled, jobs.c.attempt >= jobs.c.max_attempts)),
    )
    return build_change(ended, _report_payload(report), event_type=EventType.WARNING, makes_room=True)


def _error_values(report: FailureReport, *, where: ColumnElement[bool]) -> dict[str, Any]:
    values = {
        "error_code": report.code,
        "error_stage": report.stage,
        "error_message": report.message,
        "error_hint": report.hint,
        "error_retryable": report.retryable,
    }
    return {
        name: case((where, literal(value, jobs.c[name].type)), else_=null()) for name, value in values.items()
    }


def _report_payload(report: FailureReport) -> dict[str, Any]:
    return {
        "event": "attempt_failed",
        "code": report.code,
        "stage": report.stage,
        "message": report.message,
        "hint": report.hint,
        "retryable": report.retryable,
    }
