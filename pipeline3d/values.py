"""Frozen values that several rooms share: states, kinds, stages, claims, progress, artifacts.

Pure data with no behaviour beyond construction and comparison. Nothing here knows how a value is
stored, sent or computed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class JobState(StrEnum):
    """Where a request stands. A finished request never changes its state; a retry is a new attempt."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    CANCELING = "CANCELING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"


FINISHED_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED, JobState.EXPIRED})


class ArtifactType(StrEnum):
    """What a stored object is to its request."""

    INPUT = "INPUT"
    INTERMEDIATE = "INTERMEDIATE"
    OUTPUT_MODEL = "OUTPUT_MODEL"
    PREVIEW = "PREVIEW"
    LOG = "LOG"


class EventType(StrEnum):
    """Severity of a line in a request's history."""

    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class Kind(StrEnum):
    """What is asked for. Each kind is one Dagster asset job."""

    IMAGE_TO_3D = "image_to_3d"
    TEXT_TO_3D = "text_to_3d"
    PROBE = "probe"
    """A request that makes nothing: shows that the way through the system is open, and how long it is."""


class Family(StrEnum):
    """A disjoint asset graph with its own dynamic partition set."""

    MODEL_REQUESTS = "model_requests"
    PROBE_REQUESTS = "probe_requests"


STAGES_BY_KIND: dict[Kind, tuple[str, ...]] = {
    Kind.IMAGE_TO_3D: (
        "source_image",
        "preprocessed_image",
        "mesh",
        "glb_export",
        "model_preview",
        "delivery",
    ),
    Kind.PROBE: ("probe_source", "probe_work", "probe_delivery"),
}
"""The stages of a kind in the order in which they run; each is the asset of the same name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A queued request that a dispatcher leased, and what it needs to start a run."""

    job_id: UUID
    attempt: int
    kind: Kind
    family: Family
    model_id: str
    user_id: UUID
    priority: int
    queue: str
    turn: int = 0
    """How many requests of the same user are ahead of it: users take turns."""

    @property
    def run_key(self) -> str:
        """Names the one run that an attempt may have."""
        return f"{self.job_id}:{self.attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A whole snapshot of how far a run is, so that a reader never has to add anything up."""

    percent: int
    stage: str
    stage_number: int
    stage_count: int
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureReport:
    """Why a request did not succeed, for programs (`code`) and for people (`message`, `hint`)."""

    code: str
    message: str
    stage: str | None = None
    hint: str | None = None
    retryable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object in the store, as it was verified when it was written. `size` in bytes."""

    key: str
    size: int
    sha256: str
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInput:
    """What a run needs to know of its request."""

    job_id: UUID
    user_id: UUID
    model_id: str
    kind: Kind
    state: JobState
    attempt: int
    prompt: str | None
    params: dict[str, Any] = field(default_factory=dict)
    created_at: datetime | None = None
    run_id: str | None = None
    """The run that owns the request, or owned it last."""
