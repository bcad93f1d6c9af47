"""The ledger of requests as a run, a dispatcher and a reconciler use it.

Each method is one statement in its own transaction (a claim is two). A run that lost its request gets
`LeaseLost` (or False from `heartbeat`) and has written nothing. The statements are in modules of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from time import monotonic, sleep
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, Executable, Row

from pipeline3d.database.notifications import listening
from pipeline3d.errors import LeaseLost, UnknownJob
from pipeline3d.requests import changes, claiming, creation, leases, reading, reports
from pipeline3d.requests.admission import Admission
from pipeline3d.requests.history import QUEUE_CHANNEL
from pipeline3d.requests.states import CLOSED_STATES
from pipeline3d.values import (
    ArtifactType,
    Claim,
    FailureReport,
    Family,
    JobInput,
    JobState,
    Kind,
    Progress,
    StoredObject,
)


class Standing(StrEnum):
    """What a run may do to its request."""

    OWNER = "owner"
    """The attempt is this run's: it reports progress and decides the outcome."""
    REBUILD = "rebuild"
    """It may record artifacts again and never touches the state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """A request that a run owns, and when the run last said that it is alive."""

    job_id: UUID
    attempt: int
    run_id: str
    state: JobState
    heartbeat_at: datetime
    silent_s: float


class JobLedger:
    """Reads and changes requests, synchronously."""

    def __init__(self, engine: Engine) -> None:
        # Every method is one statement, which is a transaction by itself: no BEGIN and COMMIT to wait for.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._in_transaction = engine.execution_options(isolation_level="READ COMMITTED")

    # -- for the dispatcher

    def claim_queued(
        self,
        limit: int,
        lease_s: float,
        kinds: Sequence[Kind] | None = None,
        admission: Admission | None = None,
    ) -> list[Claim]:
        """Lease up to `limit` requests (of these kinds) whose turn it is, in the order of their turns.

        Without an admission all that wait may start; a pause and a user's own limit hold always.
        """
        statement = claiming.claim_queued(None if kinds is None else tuple(kinds), admission)
        with self._in_transaction.begin() as connection:
            connection.execute(claiming.lock_claims())
            rows = connection.execute(statement, {"at_most": limit, "lease_s": lease_s}).all()
        return [_claim(row) for row in sorted(rows, key=_order_of_claims)]

    def wait_for_queued(
        self, timeout_s: float, kinds: Sequence[Kind] | None = None, admission: Admission | None = None
    ) -> bool:
        """Return True as soon as a claim would bring something (under load: enough), False after the time.

        Woken by every change of the queue, it looks again; unasked only every few seconds, for what nobody
        tells: a worker that was silent and is back.
        """
        look = claiming.look_ahead(None if kinds is None else tuple(kinds), admission)
        give_up_at = monotonic() + timeout_s
        with listening(self._engine, QUEUE_CHANNEL) as listener, claiming.planned_once(listener.connection):
            while True:
                found = listener.connection.execute(look, {"at_most": claiming.MOST_LOOKED_AT}).one()
                left_s = give_up_at - monotonic()
                if found.ready or left_s <= 0:
                    return bool(found.ready)
                moment_s = claiming.LOOK_AGAIN_S if found.seconds is None else float(found.seconds)
                listener.wait(min(left_s, moment_s, claiming.LOOK_AGAIN_S))

    def claim_when_ready(
        self,
        timeout_s: float,
        limit: int,
        lease_s: float,
        kinds: Sequence[Kind] | None = None,
        admission: Admission | None = None,
    ) -> list[Claim]:
        """Wait until a claim brings something, and make it; nothing after the time.

        Of several who wait one gets what came, and the others go on waiting.
        """
        give_up_at = monotonic() + timeout_s
        while self.wait_for_queued(max(give_up_at - monotonic(), 0.0), kinds, admission):
            claims = self.claim_queued(limit, lease_s, kinds, admission)
            if claims or monotonic() >= give_up_at:
                return claims
            sleep(claiming.AFTER_ANOTHER_S)
        return []

    def expire_overdue(self) -> list[UUID]:
        """End the queued requests whose deadline has passed."""
        return [row.id for row in self._all(changes.expire_overdue())]

    # -- for a run

    def read_job(self, job_id: UUID) -> JobInput:
        """What a run needs to know of its request."""
        row = self._read(job_id)
        return JobInput(
            job_id=row.id,
            user_id=row.user_id,
            model_id=row.model_id,
            kind=Kind(row.kind),
            state=JobState(row.state),
            attempt=row.attempt,
            prompt=row.prompt,
            params=row.params,
            created_at=row.created_at,
            run_id=row.run_id,
        )

    def begin(self, job_id: UUID, *, attempt: int | None, run_id: str, delivers: bool) -> Standing:
        """Take the request for this run, or say that it may only rebuild; `attempt` None is a run by hand.

        Asking again with the same run is answered the same. `LeaseLost` where the request is not to be had.
        """
        taken: Row[Any] | None = None
        if attempt is not None:
            taken = self._first(reports.begin_attempt(), the_job=job_id, the_run=run_id, the_attempt=attempt)
        elif delivers:
            taken = self._first(changes.begin_by_hand(job_id, run_id))
        if taken is not None:
            return Standing.OWNER
        row = self._read(job_id)
        state = JobState(row.state)
        if row.run_id == run_id and state is JobState.RUNNING and attempt in (None, row.attempt):
            self.heartbeat(job_id, run_id)
            return Standing.OWNER
        may_rebuild = attempt is None and (state is JobState.SUCCEEDED or not delivers)
        if may_rebuild and state in (JobState.SUCCEEDED, JobState.FAILED, JobState.QUEUED):
            return Standing.REBUILD
        raise _lost(row, run_id, attempt)

    def heartbeat(self, job_id: UUID, run_id: str) -> bool:
        """Say that the run is alive. False when it should stop: it no longer owns the request, or cancel."""
        return bool(self._scalar(reports.beat(), the_job=job_id, the_run=run_id) == JobState.RUNNING)

    def report_progress(self, job_id: UUID, run_id: str, progress: Progress) -> None:
        """Store a snapshot and tell everybody who watches. Also counts as a heartbeat."""
        self._report(reports.report_progress(), job_id, run_id, **reports.describe(progress))

    def record_stage_seconds(self, job_id: UUID, run_id: str, stage: str, seconds: float) -> None:
        """Note how long a stage took."""
        rounded = round(seconds, 6)
        self._report(reports.record_stage_seconds(), job_id, run_id, the_stage=stage, the_seconds=rounded)

    def record_artifact(
        self,
        job_id: UUID,
        attempt: int,
        asset: str,
        name: str,
        type: ArtifactType,
        stored: StoredObject,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Record a stored object, in place of an earlier one of the same asset and name."""
        statement = creation.record_artifact(job_id, attempt, asset, name, type, stored, metadata or {})
        if self._first(statement) is None:
            raise _lost(self._read(job_id), None, attempt)

    def read_artifact(self, job_id: UUID, asset: str, name: str | None = None) -> StoredObject | None:
        """What an asset stored for a request: the newest object or that of the name, None without one."""
        statement = (
            reading.read_artifact(job_id, asset)
            if name is None
            else reading.read_named_artifact(job_id, asset, name)
        )
        row = self._first(statement)
        return None if row is None else _stored(row)

    def list_artifacts(self, job_id: UUID) -> dict[tuple[str, str], StoredObject]:
        """What stages stored for a request, by asset and name; an upload, of unknown hash, is left out."""
        with self._engine.connect() as connection:
            rows = connection.execute(reading.list_artifacts(), {"the_jobs": [job_id]}).all()
        return {(row.asset, row.name): _stored(row) for row in rows if row.sha256 is not None}

    def succeed(self, job_id: UUID, run_id: str) -> None:
        """Finish with success."""
        self._report(reports.succeed(), job_id, run_id)

    def fail(self, job_id: UUID, run_id: str, report: FailureReport) -> JobState:
        """Finish with a failure that no other attempt would better; FAILED, or CANCELED if asked for."""
        return JobState(self._owned(changes.fail(job_id, run_id, report), job_id, run_id).state)

    def requeue(self, job_id: UUID, run_id: str, report: FailureReport, delay_s: float) -> JobState:
        """Queue the next attempt after `delay_s`, or finish with the failure where none is left."""
        return JobState(self._owned(changes.requeue(job_id, run_id, report, delay_s), job_id, run_id).state)

    def mark_canceled(self, job_id: UUID, run_id: str) -> None:
        """Finish as canceled."""
        self._owned(changes.mark_canceled(job_id, run_id), job_id, run_id)

    # -- for whoever asked

    def request_cancel(self, job_id: UUID) -> JobState:
        """End a queued request at once and ask a running one to stop; a finished one stays as it is."""
        row = self._first(changes.request_cancel(job_id))
        return JobState((row or self._read(job_id)).state)

    def retry_by_hand(self, job_id: UUID) -> JobState:
        """Queue a request that did not succeed once more; any other stays as it is."""
        row = self._first(changes.retry_by_hand(job_id))
        return JobState((row or self._read(job_id)).state)

    def cancel_queued(self, job_id: UUID, attempt: int) -> bool:
        """End an attempt whose run was canceled before it began; False where it is past that."""
        return self._first(changes.cancel_queued(job_id, attempt)) is not None

    # -- for the reconciler

    def list_running(self, silent_for_s: float) -> list[RunningJob]:
        """Requests whose run has not spoken for that long, the longest silent first."""
        return [
            RunningJob(
                job_id=row.id,
                attempt=row.attempt,
                run_id=row.run_id,
                state=JobState(row.state),
                heartbeat_at=row.heartbeat_at,
                silent_s=float(row.silent_s),
            )
            for row in self._all(reading.list_running(silent_for_s))
        ]

    def list_undispatched(self, leased_longer_than_s: float) -> list[Claim]:
        """Queued requests leased that long ago whose run has not begun: ask what became of it.

        If it is on its way, `renew_lease`; if it is gone, `next_attempt`.
        """
        return [_claim(row) for row in self._all(leases.list_undispatched(leased_longer_than_s))]

    def renew_lease(self, job_id: UUID, attempt: int, lease_s: float) -> bool:
        """Confirm that a leased attempt is on its way; False where it is past that."""
        return self._first(leases.renew_lease(job_id, attempt, lease_s)) is not None

    def next_attempt(self, job_id: UUID, attempt: int, report: FailureReport, delay_s: float) -> JobState:
        """As `requeue`, for an attempt whose run died before it began."""
        row = self._first(changes.next_attempt(job_id, attempt, report, delay_s))
        if row is None:
            raise _lost(self._read(job_id), None, attempt)
        return JobState(row.state)

    def _read(self, job_id: UUID) -> Row[Any]:
        row = self._first(reading.read_job(), the_job=job_id)
        if row is None:
            raise UnknownJob(f"There is no job {job_id}.")
        return row

    def _report(self, statement: Executable, job_id: UUID, run_id: str, **values: Any) -> None:
        self._owned(statement, job_id, run_id, the_job=job_id, the_run=run_id, **values)

    def _owned(self, statement: Executable, job_id: UUID, run_id: str, **values: Any) -> Row[Any]:
        row = self._first(statement, **values)
        if row is None:
            raise _lost(self._read(job_id), run_id, None)
        return row

    def _first(self, statement: Executable, **values: Any) -> Row[Any] | None:
        with self._engine.connect() as connection:
            return connection.execute(statement, values).first()

    def _all(self, statement: Executable) -> list[Row[Any]]:
        with self._engine.connect() as connection:
            return list(connection.execute(statement).all())

    def _scalar(self, statement: Executable, **values: Any) -> Any:
        with self._engine.connect() as connection:
            return connection.execute(statement, values).scalar()


def _stored(row: Row[Any]) -> StoredObject:
    return StoredObject(
        key=row.storage_path,
        size=row.file_size_bytes,
        sha256=row.sha256,
        content_type=row.content_type,
        metadata=row.metadata,
    )


def _claim(row: Row[Any]) -> Claim:
    return Claim(
        job_id=row.id,
        attempt=row.attempt,
        kind=Kind(row.kind),
        family=Family(row.family),
        model_id=row.model_id,
        user_id=row.user_id,
        priority=row.priority,
        queue=row.queue,
        params=row.params,
        turn=getattr(row, "turn", 0),
    )


def _order_of_claims(row: Row[Any]) -> tuple[Any, ...]:
    return (-row.priority, row.turn, row.created_at, row.id)


def _lost(row: Row[Any], run_id: str | None, attempt: int | None) -> LeaseLost:
    """Say why a request is not this run's, and what is so instead."""
    state = JobState(row.state)
    if state is JobState.CANCELING:
        return LeaseLost(f"Job {row.id} was asked to stop.", code="cancel_requested")
    if attempt is not None and attempt != row.attempt:
        return LeaseLost(f"Job {row.id} is at attempt {row.attempt}; attempt {attempt} is over.")
    if state in CLOSED_STATES:
        return LeaseLost(f"Job {row.id} is {state}.", hint="Ask for the same again with a new job.")
    if state is JobState.RUNNING and row.run_id != run_id:
        return LeaseLost(
            f"Job {row.id} is worked on by run {row.run_id}, last heard at {row.heartbeat_at:%H:%M:%S %Z}.",
            hint="Wait until that run has ended.",
        )
    return LeaseLost(
        f"Job {row.id} is {state} at attempt {row.attempt}; run {run_id or '-'} does not own it."
    )
