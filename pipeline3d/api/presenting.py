"""Rows as wire forms: pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Row

from pipeline3d.api import bodies
from pipeline3d.requests.catalogue import CatalogueModel
from pipeline3d.requests.creation import UPLOAD_ASSET, UPLOAD_NAME, UploadedInput
from pipeline3d.requests.outlook import Outlook
from pipeline3d.values import ArtifactType, JobState, Kind, stages_of

JOBS_PATH = "/api/v1/jobs"


def present_job(
    row: Row[Any],
    artifacts: Iterable[bodies.ArtifactRead],
    outlook: Outlook | None,
    *,
    dagster_url: str | None,
) -> bodies.JobRead:
    """A job with its artifacts and, while it has one, its outlook."""
    return bodies.JobRead(**describe_job(row, artifacts, outlook, dagster_url=dagster_url))


def describe_job(
    row: Row[Any], artifacts: Iterable[Any], outlook: Outlook | None, *, dagster_url: str | None
) -> dict[str, Any]:
    """The same as plain values, in the order of `JobRead`; checked by nobody, for they are our own."""
    path = f"{JOBS_PATH}/{row.id}"
    lineage = f"{dagster_url.rstrip('/')}/runs/{row.run_id}" if dagster_url and row.run_id else None
    return {
        "id": row.id,
        "model_id": row.model_id,
        "kind": row.kind,
        "tier": row.tier,
        "prompt": row.prompt,
        "input_params": row.input_params,
        "params": row.params,
        "status": row.state,
        "priority": row.priority,
        "progress_percent": row.progress_percent,
        "progress": _describe_progress(row),
        "attempt": row.attempt,
        "max_attempts": row.max_attempts,
        "error": _describe_error(row),
        "artifacts": list(artifacts),
        "stage_seconds": {stage: float(seconds) for stage, seconds in row.stage_seconds.items()},
        "links": {
            "self": path,
            "events": f"{path}/events",
            "artifacts": f"{path}/artifacts",
            "download": f"{path}/download",
            "archive": f"{path}/archive",
            "shares": f"{path}/shares",
            "webhooks": f"{path}/webhooks",
            "cancel": f"{path}/cancel",
            "retry": f"{path}/retry",
            "rerun": f"{path}/rerun",
            "input": f"{JOBS_PATH}/{row.input_job_id}" if row.input_job_id else None,
            "lineage": lineage,
        },
        "tags": row.tags,
        "metadata": row.metadata,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "started_at": row.started_at,
        "completed_at": row.completed_at,
        "queue_position": outlook.position if outlook else None,
        "estimated_start_at": outlook.starts_at if outlook else None,
        "estimated_completion_at": outlook.ends_at if outlook else None,
        "held": row.held,
        "waiting_reason": outlook.waits_because if outlook else None,
        "input_job_id": row.input_job_id,
        "rerun_of": row.rerun_of,
        "batch_id": row.batch_id,
        "cost_units": float(row.cost_units),
        "deadline": row.deadline,
        "expires_at": row.expires_at,
    }


def write_job_json(described: dict[str, Any]) -> bytes:
    """What `describe_job` gives, as JSON."""
    try:
        return orjson.dumps(described, option=orjson.OPT_UTC_Z)
    except orjson.JSONEncodeError:  # somebody's metadata has a whole number beyond 64 bits
        return bodies.JobRead.model_validate(described).model_dump_json().encode()


def present_artifact(row: Row[Any]) -> bodies.ArtifactRead:
    """An object of a job."""
    return bodies.ArtifactRead(**describe_artifact(row))


def describe_artifact(row: Any) -> dict[str, Any]:
    """The same as plain values, in the order of `ArtifactRead`; checked by nobody, for they are our own."""
    return {
        "name": row.name,
        "asset": row.asset,
        "type": row.type,
        "content_type": row.content_type,
        "size": row.file_size_bytes,
        "sha256": row.sha256,
        "attempt": row.attempt,
        "metadata": row.metadata,
        "created_at": row.created_at,
        "url": f"{JOBS_PATH}/{row.job_id}/artifacts/{row.asset}/{row.name}",
    }


def describe_input(job: Row[Any], upload: UploadedInput) -> dict[str, Any]:
    """What was uploaded for a job that has just been stored, as it will be read from now on."""
    return describe_artifact(
        SimpleNamespace(
            job_id=job.id,
            name=UPLOAD_NAME,
            asset=UPLOAD_ASSET,
            type=ArtifactType.INPUT,
            content_type=upload.content_type,
            file_size_bytes=upload.size,
            sha256=None,
            attempt=job.attempt,
            metadata={},
            created_at=job.created_at,
        )
    )


def present_event(row: Row[Any]) -> bodies.EventRead:
    """A line of history."""
    return bodies.EventRead(
        id=row.id, event_type=row.event_type, payload=row.payload, created_at=row.created_at
    )


def present_model(model: CatalogueModel) -> bodies.ModelRead:
    """A model of the catalogue."""
    return bodies.ModelRead(
        id=model.id,
        name=model.name,
        description=model.description,
        kind=model.kind,
        family=model.family,
        version=model.version,
        tier=model.tier,
        queue=model.queue,
        ready=model.readiness.ready,
        not_ready_code=model.readiness.code,
        not_ready_reason=model.readiness.reason,
        not_ready_hint=model.readiness.hint,
        default_params=model.default_params,
        parameters_schema=model.parameters_schema,
        licence=bodies.LicenceRead(**model.licence),
        costs=model.costs,
    )


def download_filename(job_id: UUID, artifact: Row[Any]) -> str:
    """The name under which a person saves an object: tells the job and keeps the ending."""
    stored = PurePosixPath(artifact.storage_path)
    return f"{job_id}-{stored.stem[:60]}{stored.suffix}"


def _describe_progress(row: Row[Any]) -> dict[str, Any]:
    snapshot = row.progress or {}
    stages = stages_of(Kind(row.kind), row.model_id, row.params)
    return {
        "percent": row.progress_percent,
        "stage": snapshot.get("stage"),
        "stage_number": snapshot.get("stage_number", 0),
        "stage_count": snapshot.get("stage_count", len(stages)),
        "message": snapshot.get("message", ""),
    }


def _describe_error(row: Row[Any]) -> dict[str, Any] | None:
    if row.error_code is None:
        if row.state == JobState.EXPIRED:
            return {
                "code": "expired",
                "stage": None,
                "message": "The job's deadline passed before it began.",
                "hint": "Create it again, with more time.",
                "retryable": True,
            }
        return None
    return {
        "code": row.error_code,
        "stage": row.error_stage,
        "message": row.error_message,
        "hint": row.error_hint,
        "retryable": row.error_retryable,
    }
