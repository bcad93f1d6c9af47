"""Queries behind the operators' view of the queue. Pure functions that return statements."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, or_, select

from pipeline3d.database.tables import jobs, launched_runs, models, pauses, users, workers
from pipeline3d.requests.leases import IS_IN_LINE, IS_QUEUED, IS_SET_ASIDE
from pipeline3d.requests.reading import IS_OWNED_BY_RUN
from pipeline3d.requests.turns import (
    AT_MOST,
    count_in_work,
    is_dispatched,
    is_live,
    list_in_work,
    plan_waiting,
)

STAGES = ("waiting", "set_aside", "retrying", "dispatched", "running", "canceling")
"""Where an unfinished request is: waiting for its turn, not to be started yet (it is held, or waits for
another request), waiting for a retry's time, on its way, in a run."""


def list_queues() -> Select[Any]:
    """The queues that a model has."""
    return select(models.c.queue).distinct()


def list_pauses() -> Select[Any]:
    """The queues that are paused, and why."""
    return select(pauses.c.queue, pauses.c.reason)


def count_by_stage() -> Select[Any]:
    """How many unfinished requests each queue has in each stage, and how old the oldest is."""
    stage = case(
        (and_(IS_QUEUED, is_dispatched()), "dispatched"),
        (IS_SET_ASIDE, "set_aside"),
        (and_(IS_QUEUED, jobs.c.not_before > func.now()), "retrying"),
        (IS_QUEUED, "waiting"),
        else_=func.lower(jobs.c.state),
    )
    unfinished = [
        # by model first, so that the queue is looked up once for each and not for each request
        select(
            jobs.c.model_id,
            stage.label("stage"),
            func.count().label("requests"),
            func.min(jobs.c.created_at).label("oldest"),
        )
        .where(which)
        .group_by(jobs.c.model_id, stage)
        for which in (IS_IN_LINE, IS_SET_ASIDE, IS_OWNED_BY_RUN)
    ]
    counted = unfinished[0].union_all(*unfinished[1:]).subquery("counted")
    return (
        select(
            models.c.queue,
            counted.c.stage,
            func.sum(counted.c.requests).label("requests"),
            seconds_since(func.min(counted.c.oldest)).label("oldest_s"),
        )
        .join(models, models.c.id == counted.c.model_id)
        .group_by(models.c.queue, counted.c.stage)
    )


def list_workers(silent_after_s: float) -> Select[Any]:
    """Every worker that has not left, and when it was last heard of."""
    columns = ("id", "host", "queues", "concurrency", "gpu", "draining")
    return select(
        *(workers.c[name] for name in columns),
        is_live(silent_after_s).label("live"),
        seconds_since(workers.c.heartbeat_at).label("silent_s"),
    ).order_by(workers.c.host, workers.c.id)


def list_taken_runs() -> Select[Any]:
    """The runs that workers have, the longest first."""
    columns = ("run_id", "job_name", "job_id", "worker_id")
    return (
        select(
            *(launched_runs.c[name] for name in columns),
            seconds_since(launched_runs.c.taken_at).label("seconds"),
        )
        .where(launched_runs.c.worker_id.is_not(None))
        .order_by(launched_runs.c.taken_at)
    )


def list_dispatched() -> Select[Any]:
    """Requests on their way to a run, the longest dispatched first. Binds `at_most`."""
    return (
        _described(literal(0), launched_runs.c.run_id.label("launched_run_id"), launched_runs.c.worker_id)
        .outerjoin(
            launched_runs,
            and_(launched_runs.c.job_id == jobs.c.id, launched_runs.c.attempt == jobs.c.attempt),
        )
        .where(IS_QUEUED, is_dispatched())
        .order_by(jobs.c.leased_at)
        .limit(AT_MOST)
    )


def list_waiting() -> Select[Any]:
    """Of each queue the requests that nobody has dispatched, in the order of their turns. Binds `at_most`."""
    in_work = list_in_work()
    turns = plan_waiting(in_work)
    of_user = count_in_work(in_work, "user_id").cte("in_work_of_user")
    return (
        _described(func.coalesce(of_user.c.jobs, 0))
        .join(turns, turns.c.id == jobs.c.id)
        .outerjoin(of_user, of_user.c.user_id == jobs.c.user_id)
        .where(turns.c.place <= AT_MOST)
        .order_by(turns.c.queue, turns.c.place)
    )


def list_running_of(name: str) -> Select[Any]:
    """The runs that a worker, or all workers of a host, still have."""
    of = or_(workers.c.id == name, workers.c.host == name)
    return (
        select(launched_runs.c.run_id, launched_runs.c.worker_id)
        .join(workers, workers.c.id == launched_runs.c.worker_id)
        .where(of)
    )


def seconds_since(moment: ColumnElement[Any]) -> ColumnElement[Any]:
    """How long ago a moment was."""
    return func.extract("epoch", func.now() - moment)


def _described(in_work: ColumnElement[int], *more: ColumnElement[Any]) -> Select[Any]:
    """What the report says of a queued request."""
    return (
        select(
            *(jobs.c[name] for name in ("id", "model_id", "priority", "attempt")),
            models.c.queue,
            users.c.username,
            users.c.max_concurrent_jobs,
            in_work.label("in_work"),
            seconds_since(jobs.c.created_at).label("waited_s"),
            (-seconds_since(jobs.c.not_before)).label("retry_in_s"),
            *more,
        )
        .select_from(jobs)
        .join(models, models.c.id == jobs.c.model_id)
        .join(users, users.c.id == jobs.c.user_id)
    )
