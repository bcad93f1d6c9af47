"""The wire forms of sessions, keys, users, use and the audit log. No rules beyond the form itself."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from pipeline3d.api.bodies import Text
from pipeline3d.requests.audit import Action
from pipeline3d.values import JobState, Role, Scope

MIN_PASSWORD = 10
MAX_PASSWORD = 1024
LARGEST_LIMIT = 1_000_000_000
LONGEST_KEY_S = 10 * 366 * 86400
LONGEST_GRACE_S = 30 * 86400

Name = Annotated[Text, Field(min_length=1, max_length=100)]
Username = Annotated[Text, Field(min_length=1, max_length=150)]
NewPassword = Annotated[str, Field(min_length=MIN_PASSWORD, max_length=MAX_PASSWORD)]
Count = Annotated[int, Field(ge=0, le=LARGEST_LIMIT)]
PerMinute = Annotated[int, Field(ge=1, le=1_000_000)]
CostUnits = Annotated[float, Field(ge=0, le=LARGEST_LIMIT, allow_inf_nan=False)]
Compatibility = Literal["tcc"]


class _Strict(BaseModel):
    """A body in which a misspelt field is refused instead of ignored: it may be a limit."""

    model_config = ConfigDict(extra="forbid")


class SessionRead(BaseModel):
    """A session at a browser. Send `csrf_token` as X-CSRF-Token with everything that changes something."""

    username: str
    role: Role
    scopes: list[Scope]
    csrf_token: str
    expires_at: datetime


class SessionListed(BaseModel):
    """A session of one's own; `current` is the one that asks."""

    id: UUID
    user_agent: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    current: bool


class EndedRead(BaseModel):
    """How many were ended."""

    ended: int


class PasswordBody(_Strict):
    """A new password for oneself."""

    current_password: Annotated[str, Field(max_length=MAX_PASSWORD)]
    new_password: NewPassword


class LimitsForm(_Strict):
    """Limits of a user or a key; null is no limit of its own."""

    max_open_jobs: Count | None = Field(None, description="Jobs that have not ended.")
    requests_per_minute: PerMinute | None = None
    monthly_cost_units: CostUnits | None = Field(None, description="In a calendar month, UTC.")


class KeyCreate(LimitsForm):
    """A new key. Without `scopes` it may do what the caller may do now."""

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1)] | None = None
    expires_in_s: Annotated[int, Field(ge=1, le=LONGEST_KEY_S)] | None = Field(
        None,
        description="Seconds after which it ends; null is never, and so is nothing, but for a key that ends "
        "and asks: then it is its end.",
    )


class KeyChange(LimitsForm):
    """What is sent is changed; the rest stays."""

    name: Name = ""
    scopes: Annotated[list[Scope], Field(min_length=1)] = []
    expires_in_s: Annotated[int, Field(ge=1, le=LONGEST_KEY_S)] | None = Field(
        None, description="Seconds from now; null is never."
    )


class KeyRotate(_Strict):
    """How long the present secret goes on working."""

    grace_s: Annotated[int, Field(ge=0, le=LONGEST_GRACE_S)] = 0


class KeyRead(BaseModel):
    """A key; its secret is shown only when it is made. No scopes are all that its user's role allows."""

    id: UUID
    name: str
    prefix: str
    scopes: list[Scope]
    max_open_jobs: int | None
    requests_per_minute: int | None
    monthly_cost_units: float | None
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime
    earlier_secret_valid_until: datetime | None = None
    current: bool = Field(False, description="The key that this was asked with.")


class KeyMade(KeyRead):
    """A key with its secret, which is shown this once."""

    api_key: str


class AdminUserCreate(LimitsForm):
    """A new user."""

    username: Username
    password: NewPassword
    role: Role = Role.MEMBER
    compatibility: Compatibility | None = None
    max_concurrent_jobs: Count | None = Field(None, description="Jobs in work at a time.")


class AdminUserChange(LimitsForm):
    """What is sent is changed; the rest stays. Deactivating ends the user's keys and sessions at once."""

    role: Role = Role.MEMBER
    is_active: bool = True
    password: NewPassword = ""
    compatibility: Compatibility | None = None
    max_concurrent_jobs: Count | None = None


class AdminUserRead(BaseModel):
    """A user, as administrators see it."""

    id: UUID
    username: str
    role: Role
    is_active: bool
    is_superuser: bool
    compatibility: str | None
    max_concurrent_jobs: int | None
    max_open_jobs: int | None
    requests_per_minute: int | None
    monthly_cost_units: float | None
    created_at: datetime


class UserPage(BaseModel):
    """Users by name; go on with `after`, which is null at the end."""

    users: list[AdminUserRead]
    next: str | None


class AdminJobRead(BaseModel):
    """A job of anybody, as administrators see it."""

    id: UUID
    username: str
    model_id: str
    kind: str
    status: JobState
    attempt: int
    priority: int
    error_code: str | None
    error_message: str | None
    cost_units: float
    run_id: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None

    model_config = ConfigDict(protected_namespaces=())


class AdminJobPage(BaseModel):
    """Jobs of all users, the newest first; go on with `before`, which is null at the end."""

    jobs: list[AdminJobRead]
    next: UUID | None


class UsageRead(BaseModel):
    """What a user's jobs of a month were, and cost. Jobs that cost nothing in the end do not count."""

    user_id: UUID
    username: str
    jobs: int
    succeeded: int
    failed: int
    canceled: int
    cost_units: float
    monthly_cost_units: float | None


class UsageReport(BaseModel):
    """The use of one month."""

    month: date
    users: list[UsageRead]


class AuditRead(BaseModel):
    """Who did what."""

    id: int
    at: datetime
    action: Action | str
    subject: str
    actor_id: UUID | None
    actor: str
    credential: str
    address: str
    request_id: str
    details: dict[str, Any]


class AuditPage(BaseModel):
    """Lines, the newest first; go on with `before`, which is null at the end."""

    lines: list[AuditRead]
    next: int | None
