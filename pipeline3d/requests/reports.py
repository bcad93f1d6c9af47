"""What every run writes in the normal way: it begins, it is alive, it gets on, it has succeeded.

The statements are those of `changes` in kind, but built once: building one takes longer than Postgres needs
to execute it. What differs from run to run is bound then, by the names that each one tells.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import Float, Integer, Select, Text, Uuid, bindparam, case, cast, func, literal, null
from sqlalchemy.dialects.postgresql import JSONB

from pipeline3d.database.tables import jobs
from pipeline3d.requests.changes import begin_run, owned_by_run
from pipeline3d.requests.history import build_change
from pipeline3d.values import JobState, Progress

JOB = bindparam("the_job", type_=Uuid)
RUN = bindparam("the_run", type_=Text)
ATTEMPT = bindparam("the_attempt", type_=Integer)


@lru_cache(maxsize=1)
def begin_attempt() -> Select[Any]:
    """Make a queued attempt a run's own. Binds `the_job`, `the_run` and `the_attempt`."""
    guard = (jobs.c.id == JOB, jobs.c.state == JobState.QUEUED, jobs.c.attempt == ATTEMPT)
    return build_change(
        begin_run(RUN).where(*guard), {"event": "started"}, columns=("run_id",), makes_room=True
    )


@lru_cache(maxsize=1)
def beat() -> Any:
    """Say that the run is alive; brings back the state. Binds `the_job` and `the_run`."""
    return owned_by_run(JOB, RUN).values(heartbeat_at=func.now()).returning(jobs.c.state)


@lru_cache(maxsize=1)
def report_progress() -> Select[Any]:
    """Store the whole snapshot; the percentage never goes back within an attempt.

    Binds `the_job`, `the_run` and what `describe` gives.
    """
    percent = func.greatest(jobs.c.progress_percent, bindparam("the_percent", type_=Integer))
    snapshot = bindparam("the_snapshot", type_=JSONB)
    changed = (
        owned_by_run(JOB, RUN)
        .where(jobs.c.state == JobState.RUNNING)
        .values(
            progress_percent=percent,
            progress=snapshot.op("||")(func.jsonb_build_object("percent", percent)),
            heartbeat_at=func.now(),
        )
    )
    return build_change(changed, {"event": "progress"}, columns=("progress",))


def describe(progress: Progress) -> dict[str, Any]:
    """A snapshot as `report_progress` binds it."""
    return {
        "the_percent": min(max(progress.percent, 0), 100),
        "the_snapshot": {
            "stage": progress.stage,
            "stage_number": progress.stage_number,
            "stage_count": progress.stage_count,
            "message": progress.message,
        },
    }


@lru_cache(maxsize=1)
def record_stage_seconds() -> Any:
    """Note how long a stage took. Not worth a line of history: progress tells of the stage.

    Binds `the_job`, `the_run`, `the_stage` and `the_seconds`.
    """
    seconds = bindparam("the_seconds", type_=Float)
    added = func.jsonb_build_object(cast(bindparam("the_stage", type_=Text), Text), seconds)
    return (
        owned_by_run(JOB, RUN)
        .values(stage_seconds=jobs.c.stage_seconds.op("||")(added), updated_at=func.now())
        .returning(jobs.c.state)
    )


@lru_cache(maxsize=1)
def succeed() -> Select[Any]:
    """Finish with success; a request that was asked to end is not finished this way.

    Binds `the_job` and `the_run`.
    """
    progress = case(
        (jobs.c.progress.is_not(None), jobs.c.progress.op("||")(literal({"percent": 100}, JSONB))),
        else_=null(),
    )
    done = (
        owned_by_run(JOB, RUN)
        .where(jobs.c.state == JobState.RUNNING)
        .values(state=JobState.SUCCEEDED, progress_percent=100, progress=progress, completed_at=func.now())
    )
    return build_change(done, {"event": "succeeded"}, makes_room=True)
