"""The forms of the API's answers, for type checkers: at run time they are plain dictionaries.

A newer service may say more than is named here; what is not named is there all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, NotRequired, TypedDict, TypeVar

T = TypeVar("T")


class Progress(TypedDict):
    """How far a job is: a whole snapshot."""

    percent: int
    stage: str | None
    stage_number: int
    stage_count: int
    message: str


class JobError(TypedDict):
    """Why a job did not succeed."""

    code: str
    stage: str | None
    message: str
    hint: str | None
    retryable: bool


class Artifact(TypedDict):
    """A file of a job."""

    name: str
    asset: str
    type: str
    content_type: str
    size: int
    sha256: str | None
    attempt: int
    metadata: dict[str, Any]
    created_at: str
    url: str


class Job(TypedDict):
    """A job as it stands. Moments are ISO 8601 texts."""

    id: str
    model_id: str
    kind: str
    tier: str
    prompt: str | None
    input_params: dict[str, Any]
    params: dict[str, Any]
    status: str
    priority: int
    progress_percent: int
    progress: Progress
    attempt: int
    max_attempts: int
    error: JobError | None
    artifacts: list[Artifact]
    stage_seconds: dict[str, float]
    links: dict[str, str | None]
    tags: list[str]
    metadata: dict[str, Any]
    created_at: str
    updated_at: str
    started_at: str | None
    completed_at: str | None
    queue_position: int | None
    estimated_start_at: str | None
    estimated_completion_at: str | None
    cost_units: NotRequired[float]
    held: NotRequired[bool]
    batch_id: NotRequired[str | None]
    input_job_id: NotRequired[str | None]
    rerun_of: NotRequired[str | None]


class JobOptions(TypedDict, total=False):
    """What a request for a job may say besides its model and parameters."""

    prompt: str | None
    priority: int
    tags: list[str]
    metadata: dict[str, Any]
    deadline: str | float | None
    expires_at: str | None
    hold: bool
    input_job_id: str | None
    webhook_url: str | None
    webhook_events: list[str]


class Link(TypedDict):
    """A link to a file's content, for a while."""

    download_url: str
    expires_in: int
    filename: str
    content_type: str
    size: int
    sha256: str | None


class HistoryLine(TypedDict):
    """A line of a job's history."""

    id: int
    event_type: str
    payload: dict[str, Any]
    created_at: str


class Model(TypedDict):
    """What a job can ask for."""

    id: str
    name: str
    description: str
    kind: str
    family: str
    version: str
    tier: str
    queue: str
    ready: bool
    not_ready_code: str | None
    not_ready_reason: str | None
    not_ready_hint: str | None
    default_params: dict[str, Any]
    parameters_schema: dict[str, Any]
    licence: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a stream tells. `id` is where to go on after; None where the event is no line of history."""

    id: str | None
    type: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Some of a list, and how to get at the rest: `next_cursor` is None at its end."""

    items: list[T]
    next_cursor: str | None = None
    total: int | None = None
