"""The wire forms: what comes in and what goes out, field by field. No rules beyond the form itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, Field, Strict

from pipeline3d.requests.event_types import JobEventType
from pipeline3d.requests.outlook import MOST_COUNTED, WaitingReason
from pipeline3d.requests.parameters import find_unstorable

MAX_PROMPT_LENGTH = 4000


def _storable(value: Any) -> Any:
    found = find_unstorable(value)
    if found is not None:
        raise ValueError(f"{found[0] or 'it'} holds text, a number or a depth that cannot be stored")
    return value


Text = Annotated[str, AfterValidator(_storable)]
Json = Annotated[dict[str, Any], AfterValidator(_storable)]


LONGEST_TIME_S = 10 * 366 * 24 * 3600.0
"""Ten years: what is further off is a mistake."""
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""Moments beyond the year 9999, as in another time zone, could be stored and never be read again."""


def _moment_or_seconds(value: Any) -> Any:
    """Text is a moment with its time zone, a number is seconds from now: neither is taken for the other."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("it is no moment such as 2030-01-31T12:00:00Z") from None
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float | datetime)):
        raise ValueError("it is neither a moment nor a number of seconds")
    return value


def check_readable(value: datetime) -> datetime:
    """Refuse a moment that Postgres keeps and nobody can read: in UTC it may lie beyond the year 9999."""
    if value > LATEST:
        raise ValueError(f"it is later than {LATEST.isoformat()}")
    return value


Moment = Annotated[AwareDatetime, Strict(), AfterValidator(check_readable)]
"""Never a number, which would be taken for seconds since 1970."""
Seconds = Annotated[float, Field(gt=0, le=LONGEST_TIME_S, allow_inf_nan=False)]


class LoginBody(BaseModel):
    """Who signs in."""

    username: Annotated[Text, Field(max_length=150)]
    password: Annotated[str, Field(max_length=1024)]


class LoginAnswer(BaseModel):
    """A new key; it is shown this once."""

    api_key: str
    username: str
    message: str
    expires_in: int


class UserRead(BaseModel):
    """An account."""

    id: UUID
    username: str
    is_active: bool
    is_superuser: bool


class JobCreate(BaseModel):
    """A request for a model."""

    model_id: Annotated[Text, Field(min_length=1, max_length=100, examples=["inflate-v1"])]
    input_params: Json = Field(default_factory=dict, description="See the model's parameters_schema.")
    prompt: Annotated[Text, Field(max_length=MAX_PROMPT_LENGTH)] | None = None
    priority: Annotated[
        int, Field(ge=-100, le=100, description="Higher ones start first; of equal ones users take turns.")
    ] = 0
    tags: Annotated[list[Annotated[Text, Field(min_length=1, max_length=50)]], Field(max_length=20)] = []
    metadata: Json = Field(default_factory=dict, description="Kept and returned as it is.")
    deadline: Annotated[
        Moment | Seconds | None,
        BeforeValidator(_moment_or_seconds),
        Field(description="A moment, or seconds from now. It ends EXPIRED if it has not begun by then."),
    ] = None
    expires_at: Annotated[
        Moment | None,
        BeforeValidator(_moment_or_seconds),
        Field(description="Its files are kept until then; without it as long as the installation keeps any."),
    ] = None
    expires_in_s: Annotated[Seconds | None, Field(description="The same, in seconds from now.")] = None
    hold: bool = Field(default=False, description="Make it, but do not start it before it is released.")
    input_job_id: UUID | None = Field(
        default=None, description="Take the model of this job of yours; where it has not ended yet, wait."
    )
    webhook_url: Annotated[Text, Field(max_length=2048)] | None = Field(
        default=None, description="Told what happens to this job."
    )
    webhook_events: Annotated[list[JobEventType], Field(max_length=30)] = Field(
        default=[], description="Which events webhook_url is told; none named is how the job ended."
    )
    dry_run: bool = Field(default=False, description="Check and estimate it, and make nothing.")

    model_config = {"protected_namespaces": ()}


class ProgressRead(BaseModel):
    """A whole snapshot of how far a job is."""

    percent: int
    stage: str | None
    stage_number: int
    stage_count: int
    message: str


class ErrorRead(BaseModel):
    """Why a job failed."""

    code: str
    stage: str | None
    message: str
    hint: str | None
    retryable: bool


class ArtifactRead(BaseModel):
    """An object that belongs to a job; GET `url` for a link to its content."""

    name: str
    asset: str
    type: str
    content_type: str
    size: int
    sha256: str | None
    attempt: int
    metadata: dict[str, Any]
    created_at: datetime
    url: str


class JobLinks(BaseModel):
    """Where to look next. `events` is the history, or a stream of it where that is accepted."""

    self: str
    events: str
    artifacts: str
    download: str
    archive: str
    shares: str
    webhooks: str
    cancel: str
    retry: str
    rerun: str
    input: str | None
    lineage: str | None


class JobRead(BaseModel):
    """A job as it stands."""

    id: UUID
    model_id: str
    kind: str
    tier: str
    prompt: str | None
    input_params: dict[str, Any]
    params: dict[str, Any]
    status: str
    priority: int
    progress_percent: int
    progress: ProgressRead
    attempt: int
    max_attempts: int
    error: ErrorRead | None
    artifacts: list[ArtifactRead]
    stage_seconds: dict[str, float]
    links: JobLinks
    tags: list[str]
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    queue_position: int | None = Field(
        description=f"1 is next, {MOST_COUNTED} is that many or more; null when the job is not QUEUED, "
        "is held or waits for another one, or right after it was made when many are."
    )
    estimated_start_at: datetime | None = Field(description="Learned from earlier jobs; null when unknown.")
    estimated_completion_at: datetime | None = Field(
        description="Learned from earlier jobs; null when unknown."
    )
    held: bool = Field(description="It is not started before it is released.")
    waiting_reason: WaitingReason | None = Field(description="What it waits for other than its turn.")
    input_job_id: UUID | None = Field(description="The job whose model it takes.")
    rerun_of: UUID | None = Field(description="The job of which it is a copy.")
    batch_id: UUID | None
    cost_units: float
    deadline: datetime | None
    expires_at: datetime | None

    model_config = {"protected_namespaces": ()}


class EventRead(BaseModel):
    """A line of a job's history."""

    id: int
    event_type: str
    payload: dict[str, Any]
    created_at: datetime


class DownloadRead(BaseModel):
    """A link to an object's content, for a while."""

    download_url: str
    expires_in: int
    filename: str
    content_type: str
    size: int
    sha256: str | None


class LicenceRead(BaseModel):
    """Under which terms a model may be used."""

    name: str = ""
    link: str | None = None
    conditions: list[str] = []
    regions: str = "all"
    must_be_accepted: bool = False


class ModelRead(BaseModel):
    """A model that a job can ask for."""

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
    licence: LicenceRead
    costs: dict[str, Any] = Field(description="Cost units of a job: a base, and multipliers by parameter.")


class VersionRead(BaseModel):
    """A model that was made of a product."""

    version: int
    job_id: UUID
    model_id: str
    completed_at: datetime


class ProductRead(BaseModel):
    """A product's models. `current` stays while a newer one is made, and where that fails."""

    product_key: str
    current: DownloadRead | None
    current_version: int | None
    newest_job: JobRead
    versions: list[VersionRead]


class ProblemField(BaseModel):
    """One field that is wrong."""

    field: str
    message: str


class Problem(BaseModel):
    """Why a request was refused (RFC 9457): `code` for programs, `detail` and `hint` for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str | None
    errors: list[ProblemField] | None = None
    job_ids: list[UUID] | None = Field(default=None, description="Of `job_in_use`: up to 20 that need it.")


class ProblemCodeRead(BaseModel):
    """What a code means and what to do about it."""

    code: str
    where: str
    status: int | None
    meaning: str
    remedy: str


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"
    env: str


class DependencyRead(BaseModel):
    """Whether one thing that this service needs is there."""

    name: str
    ok: bool
    seconds: float
    problem: str | None
    hint: str | None


class Readiness(BaseModel):
    """Whether everything that this service needs is there."""

    status: str
    env: str
    dependencies: list[DependencyRead]
