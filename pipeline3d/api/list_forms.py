"""The wire forms of lists: what may be chosen, and what is counted. No rules beyond the form itself."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from pipeline3d.requests.listing import MOST_COUNTED, JobFilter, Order, states_of_words
from pipeline3d.requests.parameters import find_unstorable
from pipeline3d.values import Kind

MOST_SKIPPED = 10_000
"""What is skipped is read all the same; further down a cursor leads there at once."""
LONGEST_TEXT = 200
MOST_TAGS = 20

_LOST_PLUS = re.compile(r"(?<=\d) (?=\d\d:?\d\d$)")


def _with_plus(value: Any) -> Any:
    """A plus sign of a time zone that was not encoded arrives as a space."""
    return _LOST_PLUS.sub("+", value) if isinstance(value, str) else value


def _with_zone(value: datetime) -> datetime:
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def _comparable(value: str) -> str:
    if find_unstorable(value) is not None:
        raise ValueError("it holds characters that no job can have")
    return value


Moment = Annotated[datetime, BeforeValidator(_with_plus), AfterValidator(_with_zone)]
Text = Annotated[str, AfterValidator(_comparable)]
Word = Annotated[Text, Field(min_length=1, max_length=30)]
Tag = Annotated[Text, Field(min_length=1, max_length=50)]


class JobChoice(BaseModel):
    """Which of one's own jobs. What is left out chooses nothing; all that is given must hold."""

    status: Annotated[list[Word], Field(max_length=20)] = Field(
        default=[],
        description="Any of these, in any case. Earlier words count too: PROCESSING, pending, completed …",
        examples=[["QUEUED", "RUNNING"]],
    )
    model_id: Annotated[Text, Field(min_length=1, max_length=100)] | None = None
    kind: Kind | None = None
    tag: Annotated[list[Tag], Field(max_length=MOST_TAGS)] = Field(
        default=[], description="Jobs with all of these tags."
    )
    batch_id: UUID | None = None
    input_job_id: UUID | None = Field(default=None, description="Jobs that take the model of this one.")
    held: bool | None = None
    created_after: Moment | None = Field(default=None, description="At or after; UTC without a zone.")
    created_before: Moment | None = None
    completed_after: Moment | None = None
    completed_before: Moment | None = None
    q: Annotated[Text, Field(min_length=1, max_length=LONGEST_TEXT)] | None = Field(
        default=None,
        description="Text in the prompt, a tag, the model's id, the name of the input file or a text of "
        "metadata, or the beginning of the id, in any case.",
    )
    before: UUID | None = Field(default=None, description="Only jobs that are older than this one.")

    model_config = {"protected_namespaces": ()}

    def chosen_by(self, user_id: UUID | None) -> JobFilter:
        """The same as a value; None is everybody. Raises InvalidParameters `unknown_status`."""
        return JobFilter(
            user_id=user_id,
            states=states_of_words(self.status),
            model_id=self.model_id,
            kind=self.kind,
            tags=tuple(dict.fromkeys(self.tag)),
            batch_id=self.batch_id,
            input_job_id=self.input_job_id,
            held=self.held,
            created_after=self.created_after,
            created_before=self.created_before,
            completed_after=self.completed_after,
            completed_before=self.completed_before,
            text=self.q,
            older_than=self.before,
        )


class JobListQuery(JobChoice):
    """Which jobs, and which page of them."""

    order: Order = Order.NEWEST
    limit: int = Field(default=50, ge=1, le=500)
    skip: int = Field(default=0, ge=0, le=MOST_SKIPPED)
    cursor: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="From Link or X-Next-Cursor of the page before."
    )
    include_total: bool = Field(
        default=False,
        description=f"Answer X-Total-Count; beyond {MOST_COUNTED} it is that, with X-Total-Capped.",
    )


class AdminJobQuery(JobChoice):
    """Which jobs of all users, or of one; pages go on with `before`."""

    username: Annotated[Text, Field(min_length=1, max_length=200)] | None = None
    limit: int = Field(default=100, ge=1, le=500)


class JobCounts(BaseModel):
    """How many jobs there are of each sort."""

    total: int
    capped: bool = Field(description=f"Whether only the newest {MOST_COUNTED} were counted.")
    by_status: dict[str, int]
    by_model: dict[str, int]
    by_kind: dict[str, int]
