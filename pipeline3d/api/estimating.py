"""What a job would cost and how long it would take: declared by its model, and learned from earlier jobs."""

from __future__ import annotations

import statistics
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from pipeline3d.api.bodies import JobCreate
from pipeline3d.api.services import Services
from pipeline3d.api.submission import check_job
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.creation import NewJob
from pipeline3d.requests.outlook import foresee_wait
from pipeline3d.requests.queue_snapshot import MOST_COUNTED, Line, Queue, QueueSnapshot

FEWEST_FOR_P90 = 10
"""Of fewer runs nobody can say what nine of ten take."""


class Estimate(BaseModel):
    """What a job would cost and take. What is not known is null; nothing is guessed."""

    model_id: str
    cost_units: float = Field(description="As the model declares them.")
    seconds_median: float | None = Field(description="Of the newest jobs of this model that succeeded.")
    seconds_p90: float | None = Field(description=f"The same; null of fewer than {FEWEST_FOR_P90} jobs.")
    queue_wait_s: float | None = Field(
        description="Until it starts, if it came last in its queue; null without a worker, or while paused."
    )
    basis: str = Field(
        description="`history of n jobs`, or `declared`: then only the cost is known.",
        examples=["history of 50 jobs", "declared"],
    )

    model_config = {"protected_namespaces": ()}


class DryRun(BaseModel):
    """A job that would be made, and what it would cost and take."""

    dry_run: bool = True
    model_id: str
    kind: str
    prompt: str | None
    input_params: dict[str, Any]
    params: dict[str, Any]
    priority: int
    tags: list[str]
    metadata: dict[str, Any]
    held: bool
    input_job_id: UUID | None
    deadline: datetime | None
    expires_at: datetime | None
    estimate: Estimate

    model_config = {"protected_namespaces": ()}


async def estimate_job(services: Services, account: Account, body: JobCreate) -> Estimate:
    """What a job of this body would cost and take; what is wrong with it is said as for a real one."""
    return await _estimate(services, await check_job(services, account, body))


async def dry_run(services: Services, account: Account, body: JobCreate) -> DryRun:
    """The job that this body would make."""
    job = await check_job(services, account, body)
    return DryRun(
        model_id=job.model_id,
        kind=job.kind,
        prompt=job.prompt,
        input_params=job.input_params,
        params=job.params,
        priority=job.priority,
        tags=list(job.tags),
        metadata=job.metadata,
        held=job.held,
        input_job_id=job.input_job_id,
        deadline=job.deadline,
        expires_at=job.expires_at,
        estimate=await _estimate(services, job),
    )


async def _estimate(services: Services, job: NewJob) -> Estimate:
    view = await services.queues.look()
    known = estimate_times(None if view is None else view.snapshot, job.model_id)
    return Estimate(model_id=job.model_id, cost_units=float(job.cost_units), **known)


def estimate_times(snapshot: QueueSnapshot | None, model_id: str) -> dict[str, Any]:
    """How long jobs of a model take and wait, as a snapshot of the queues lets one expect."""
    model = None if snapshot is None else snapshot.models.get(model_id)
    if snapshot is None or model is None:
        return {"seconds_median": None, "seconds_p90": None, "queue_wait_s": None, "basis": "declared"}
    lengths_s = model.lengths_s
    is_enough = len(lengths_s) >= FEWEST_FOR_P90
    return {
        "seconds_median": model.median_s,
        "seconds_p90": statistics.quantiles(lengths_s, n=10, method="inclusive")[8] if is_enough else None,
        "queue_wait_s": _wait_at_the_end(snapshot.queues[model.queue]),
        "basis": f"history of {len(lengths_s)} jobs" if lengths_s else "declared",
    }


def _wait_at_the_end(queue: Queue) -> float | None:
    """Seconds until a slot is free for one that comes after all that wait; None where that is not known."""
    if len(queue.lines) >= MOST_COUNTED - 1:
        return None
    return foresee_wait(queue, Line(ahead=len(queue.lines), ahead_s=queue.work_s))
