"""What waits and why, what runs where: the queue as an operator wants to see it.

The facts are read from Postgres in a few statements; the reasons follow from them by a pure rule, which says
what a dispatcher would answer. What holds a run back inside Dagster only Dagster knows: the caller tells it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, Row

from pipeline3d.requests import queue_facts
from pipeline3d.requests.admission import Admission
from pipeline3d.requests.turns import EVERY_QUEUE


class Obstacle(StrEnum):
    """What keeps a request from running, the first that would have to go."""

    PAUSED = "paused"
    USER_LIMIT = "user_limit"
    RETRY_LATER = "retry_later"
    NO_WORKER = "no_worker"
    QUEUE_FULL = "queue_full"
    NEXT = "next"
    IN_DAGSTER = "in_dagster"
    FOR_WORKER = "for_worker"
    STARTING = "starting"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLoad:
    """A queue: what is in it by stage, and who serves it. `oldest_s` is the age of the oldest that waits."""

    queue: str
    waiting: int = 0
    set_aside: int = 0
    retrying: int = 0
    dispatched: int = 0
    running: int = 0
    canceling: int = 0
    oldest_s: float | None = None
    workers: int = 0
    slots: int = 0
    depth: int = 0
    paused: str | None = None
    """Why it is paused; an empty text is a pause without a reason, None is no pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRequest:
    """A queued request, and why it does not run yet. `waited_s` is counted from its creation."""

    job_id: UUID
    username: str
    model_id: str
    queue: str
    priority: int
    attempt: int
    waited_s: float
    obstacle: Obstacle
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningRun:
    """A run that a worker has; `job_id` None where it serves no request."""

    run_id: str
    job_name: str
    job_id: UUID | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStanding:
    """A worker and what it runs. One that is silent serves nothing."""

    id: str
    host: str
    queues: tuple[str, ...]
    concurrency: int
    gpu: str | None
    draining: bool
    live: bool
    silent_s: float
    runs: tuple[RunningRun, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReport:
    """Everything at one moment. `waiting` holds the first few of each queue: the loads have the numbers."""

    queues: tuple[QueueLoad, ...]
    waiting: tuple[WaitingRequest, ...]
    workers: tuple[WorkerStanding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitFacts:
    """What is known of one queued request; times in seconds from now, None where there is none."""

    in_work_of_user: int
    limit_of_user: int | None
    retry_in_s: float | None = None
    dispatched: bool = False
    launched: bool = False
    worker_id: str | None = None
    held_by_dagster: str | None = None


def explain_wait(facts: WaitFacts, load: QueueLoad) -> tuple[Obstacle, str]:
    """The first thing that would have to change for a request to run, as a code and in words."""
    if facts.dispatched:
        return _explain_dispatched(facts, load)
    if load.paused is not None:
        return Obstacle.PAUSED, f"queue {load.queue} is paused" + (f": {load.paused}" if load.paused else "")
    if facts.limit_of_user is not None and facts.in_work_of_user >= facts.limit_of_user:
        return Obstacle.USER_LIMIT, f"its user has {facts.in_work_of_user} of {facts.limit_of_user} in work"
    if facts.retry_in_s is not None and facts.retry_in_s > 0:
        return Obstacle.RETRY_LATER, f"tried again in {facts.retry_in_s:.0f} s"
    if load.slots == 0:
        return Obstacle.NO_WORKER, f"no live worker takes requests of queue {load.queue}"
    if load.dispatched >= load.depth:
        return Obstacle.QUEUE_FULL, (
            f"{load.slots} slots have {load.running} running and {load.dispatched} of {load.depth} on the way"
        )
    return Obstacle.NEXT, "may start: the dispatcher, in Dagster's daemon, has yet to take it"


def _explain_dispatched(facts: WaitFacts, load: QueueLoad) -> tuple[Obstacle, str]:
    if facts.worker_id is not None:
        return Obstacle.STARTING, f"starting in worker {facts.worker_id}"
    if facts.launched and load.slots == 0:
        return Obstacle.NO_WORKER, f"launched, and no live worker takes runs of queue {load.queue}"
    if facts.launched:
        return Obstacle.FOR_WORKER, "launched: the next free slot takes it"
    return Obstacle.IN_DAGSTER, facts.held_by_dagster or "in Dagster's run queue"


def read_queue(
    engine: Engine,
    admission: Admission,
    *,
    at_most: int = 20,
    held_by_dagster: Mapping[str, str] | None = None,
) -> QueueReport:
    """Look at everything. `held_by_dagster` says why Dagster holds a run back, by run key (`id:attempt`)."""
    held = held_by_dagster or {}
    with engine.connect() as connection:
        workers = _standings(
            connection.execute(queue_facts.list_workers(admission.silent_after_s)).all(),
            connection.execute(queue_facts.list_taken_runs()).all(),
        )
        loads = _loads(
            connection.execute(queue_facts.list_queues()).scalars().all(),
            connection.execute(queue_facts.count_by_stage()).all(),
            connection.execute(queue_facts.list_pauses()).all(),
            workers,
            admission,
        )
        dispatched = connection.execute(queue_facts.list_dispatched(), {"at_most": at_most}).all()
        waiting = connection.execute(queue_facts.list_waiting(), {"at_most": at_most}).all()
    by_queue = {load.queue: load for load in loads}
    return QueueReport(
        queues=loads,
        waiting=tuple(
            _waiting(row, by_queue[row.queue], admission, held, dispatched=is_dispatched)
            for rows, is_dispatched in ((dispatched, True), (waiting, False))
            for row in rows
        ),
        workers=workers,
    )


def _waiting(
    row: Row[Any], load: QueueLoad, admission: Admission, held: Mapping[str, str], *, dispatched: bool
) -> WaitingRequest:
    own_limit = row.max_concurrent_jobs
    facts = WaitFacts(
        in_work_of_user=row.in_work,
        limit_of_user=admission.jobs_per_user if own_limit is None else own_limit,
        retry_in_s=None if row.retry_in_s is None else float(row.retry_in_s),
        dispatched=dispatched,
        launched=dispatched and row.launched_run_id is not None,
        worker_id=row.worker_id if dispatched else None,
        held_by_dagster=held.get(f"{row.id}:{row.attempt}"),
    )
    obstacle, why = explain_wait(facts, load)
    return WaitingRequest(
        job_id=row.id,
        username=row.username,
        model_id=row.model_id,
        queue=row.queue,
        priority=row.priority,
        attempt=row.attempt,
        waited_s=float(row.waited_s),
        obstacle=obstacle,
        why=why,
    )


def _loads(
    queues: Any, counted: Any, pauses: Any, workers: tuple[WorkerStanding, ...], admission: Admission
) -> tuple[QueueLoad, ...]:
    paused = {row.queue: row.reason for row in pauses}
    stages: dict[str, Counter[str]] = {queue: Counter() for queue in queues}
    oldest: dict[str, float] = {}
    for row in counted:
        stages[row.queue][row.stage] = int(row.requests)
        if row.stage == "waiting":
            oldest[row.queue] = float(row.oldest_s)
    serving = [worker for worker in workers if worker.live and not worker.draining]
    loads = []
    for queue in sorted(stages):
        servers = [worker for worker in serving if queue in worker.queues]
        slots = sum(worker.concurrency for worker in servers)
        loads.append(
            QueueLoad(
                queue=queue,
                **{stage: stages[queue][stage] for stage in queue_facts.STAGES},
                oldest_s=oldest.get(queue),
                workers=len(servers),
                slots=slots,
                depth=admission.depth(slots),
                paused=paused.get(queue, paused.get(EVERY_QUEUE)),
            )
        )
    return tuple(loads)


def _standings(rows: Any, runs: Any) -> tuple[WorkerStanding, ...]:
    taken: dict[str, list[RunningRun]] = {}
    for run in runs:
        seconds = float(run.seconds)
        taken.setdefault(run.worker_id, []).append(
            RunningRun(run_id=run.run_id, job_name=run.job_name, job_id=run.job_id, seconds=seconds)
        )
    return tuple(
        WorkerStanding(
            id=row.id,
            host=row.host,
            queues=tuple(row.queues),
            concurrency=row.concurrency,
            gpu=row.gpu,
            draining=row.draining,
            live=row.live,
            silent_s=float(row.silent_s),
            runs=tuple(taken.get(row.id, ())),
        )
        for row in rows
    )
