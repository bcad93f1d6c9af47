"""The wire forms of changes to jobs that exist. No rules beyond the form itself."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from pipeline3d.api.bodies import check_readable
from pipeline3d.api.list_forms import MOST_TAGS, Tag
from pipeline3d.requests.parameters import find_unstorable

LONGEST_KEPT_S = 10 * 366 * 24 * 3600.0
"""Ten years: what is further off is a mistake."""
MOST_ACTED_ON = 500


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    found = find_unstorable(value)
    if found is not None:
        raise ValueError(f"{found[0] or 'it'} holds text, a number or a depth that cannot be stored")
    return value


def _in_the_future(value: datetime) -> datetime:
    if value <= datetime.now(UTC):
        raise ValueError("the moment has passed")
    return value


Json = Annotated[dict[str, Any], AfterValidator(_storable)]
FutureMoment = Annotated[AwareDatetime, AfterValidator(check_readable), AfterValidator(_in_the_future)]


class JobPatch(BaseModel):
    """What is to be different about a job; what is left out stays."""

    tags: Annotated[list[Tag], Field(max_length=MOST_TAGS)] = Field(
        default=[], description="All tags, in place of those that it has."
    )
    metadata: Json = Field(default={}, description="Fields to set; a field that is null is removed.")
    priority: int = Field(default=0, ge=-100, le=100, description="Only while the job is QUEUED.")
    deadline: FutureMoment | None = Field(
        default=None, description="Only while the job is QUEUED; null is no deadline."
    )
    expires_at: FutureMoment | None = Field(
        default=None, description="Its files are kept until then; null keeps them."
    )

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"tags": ["spring"], "metadata": {"order": "17"}}]}
    )

    def changes(self) -> dict[str, Any]:
        """What was sent, by the names of columns."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}


class ExpiryBody(BaseModel):
    """How long the files of a job are kept: for some seconds from now, until a moment, or (null) for ever."""

    expires_in_s: Annotated[float, Field(gt=0, le=LONGEST_KEPT_S, allow_inf_nan=False)] | None = None
    expires_at: FutureMoment | None = None

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"expires_in_s": 86400}]})

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("send one of expires_in_s and expires_at")
        return self


class JobAction(StrEnum):
    """What may be done to many jobs at once."""

    CANCEL = "cancel"
    RETRY = "retry"
    DELETE = "delete"
    HOLD = "hold"
    RELEASE = "release"


class ActionBody(BaseModel):
    """One action on many jobs."""

    action: JobAction
    ids: Annotated[list[UUID], Field(min_length=1, max_length=MOST_ACTED_ON)]

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"action": "cancel", "ids": ["01890a5d-ac96-774b-bcce-b302099a8057"]}]
        }
    )


class ActionResult(BaseModel):
    """What became of one job; `code`, `detail` and `hint` say why not where `ok` is false."""

    id: UUID
    ok: bool
    status: str | None = Field(description="The job's status after it; null where it is gone or unknown.")
    code: str | None = None
    detail: str | None = None
    hint: str | None = None


class ActionReport(BaseModel):
    """What became of each job, in the order of the request; an id that came twice is there once."""

    action: JobAction
    done: int
    refused: int
    results: list[ActionResult]
