"""What a message tells: the event, and the job as it was at that moment. Frozen values, read from a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row

JOBS_PATH = "/api/v1/jobs"
EXPIRED = {
    "code": "expired",
    "stage": None,
    "message": "The job's deadline passed before it began.",
    "hint": "Create it again, with more time.",
    "retryable": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldEvent:
    """What happened. `sequence` rises with each event of a job; `line` is the line of its history."""

    type: str
    at: datetime
    sequence: int | None = None
    line: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldArtifact:
    """An object of the job."""

    name: str
    asset: str
    type: str
    content_type: str
    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldJob:
    """A job as it was when the event was written; only its artifacts are those of the first attempt."""

    id: str
    model_id: str
    kind: str
    state: str
    attempt: int
    max_attempts: int
    progress_percent: int
    progress: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    params: Mapping[str, Any]
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]
    batch_id: str | None
    created_at: str
    started_at: str | None
    completed_at: str | None
    artifacts: tuple[ToldArtifact, ...] = ()
    api_url: str | None = None

    @property
    def links(self) -> dict[str, str]:
        """Where more is to be had: absolute where the installation knows its own address, else paths."""
        base = f"{self.api_url or ''}{JOBS_PATH}/{self.id}"
        return {
            "self": base,
            "events": f"{base}/events",
            "artifacts": f"{base}/artifacts",
            "download": f"{base}/download",
        }


def read_event(name: str, payload: Mapping[str, Any]) -> ToldEvent:
    """The event that a delivery is about."""
    return ToldEvent(
        type=name,
        at=datetime.fromisoformat(payload["at"]).astimezone(UTC),
        sequence=payload.get("event_id"),
        line=payload.get("event", {}),
    )


def read_job(
    payload: Mapping[str, Any], artifacts: Iterable[Row[Any]], *, api_url: str | None
) -> ToldJob | None:
    """The job that a delivery is about; None for a test message, which is about none."""
    job = payload.get("job")
    if job is None:
        return None
    return ToldJob(
        **{**job, "tags": tuple(job["tags"]), "error": _read_error(payload)},
        artifacts=tuple(_read_artifact(row) for row in artifacts),
        api_url=api_url,
    )


def _read_error(payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Why it failed: of the job, of the attempt that ended with this event, or that its time was over."""
    job, line = payload["job"], payload.get("event", {})
    if job["error"] is not None:
        return dict(job["error"])
    if line.get("code") is not None:
        return {name: line.get(name) for name in ("code", "stage", "message", "hint", "retryable")}
    return EXPIRED if job["state"] == "EXPIRED" else None


def _read_artifact(row: Row[Any]) -> ToldArtifact:
    return ToldArtifact(
        name=row.name,
        asset=row.asset,
        type=row.type,
        content_type=row.content_type,
        size=row.file_size_bytes,
        sha256=row.sha256,
    )
