"""The wire forms of batches: what comes as JSON, and the report."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from pipeline3d.api.bodies import Json, ProblemField, Text

MOST_JOBS = 1000
"""Jobs that may come together."""

Name = Annotated[Text, Field(max_length=200)]


class BatchCreate(BaseModel):
    """Jobs that come together. Each has the fields of a single job; `defaults` stand where it has none."""

    name: Name = ""
    defaults: Json = Field(default_factory=dict, description="input_params and metadata are merged.")
    jobs: Annotated[list[Json], Field(min_length=1, max_length=MOST_JOBS)]


class BatchJob(BaseModel):
    """A job of a batch. `index` is its place in what was sent, from 0."""

    index: int
    id: UUID
    model_id: str

    model_config = {"protected_namespaces": ()}


class RefusedJob(BaseModel):
    """What of a batch could not become a job, and why: as a single one would be answered."""

    index: int
    line: int | None = Field(default=None, description="Of a CSV file, from 1 with its header.")
    name: str | None = Field(default=None, description="Of the picture.")
    code: str
    detail: str
    hint: str | None = None
    errors: list[ProblemField] | None = None


class BatchReport(BaseModel):
    """What became of a batch."""

    batch_id: UUID
    name: str
    created: list[BatchJob]
    refused: list[RefusedJob]


class BatchMember(BaseModel):
    """A job of a batch as it stands."""

    id: UUID
    model_id: str
    status: str

    model_config = {"protected_namespaces": ()}


class BatchSummary(BaseModel):
    """A batch: how many came, how many were refused, and how many of its jobs are of each status."""

    batch_id: UUID
    name: str
    source: str = Field(description="json, csv, zip or form.")
    size: int
    refused_count: int
    counts: dict[str, int]
    created_at: datetime


class BatchRead(BatchSummary):
    """The same, with its jobs and what was refused. Jobs that were deleted are left out."""

    jobs: list[BatchMember]
    refused: list[RefusedJob]


class BatchQuery(BaseModel):
    """What is said of a batch beside its content; for CSV files and photos, which cannot say it."""

    atomic: bool = Field(default=False, description="Make nothing if anything of it is refused.")
    name: Name | None = Field(default=None, description="Shown in the list of batches.")
    model_id: Annotated[Text, Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="Photos: which model they become. CSV: where a row names none."
    )
    params: Annotated[Text, Field(max_length=4000)] | None = Field(
        default=None, description="Photos and CSV: input_params of every job, as a JSON object."
    )
    tags: Annotated[Text, Field(max_length=1100)] | None = Field(
        default=None, description="Photos and CSV: of every job, with semicolons between them."
    )
    priority: Annotated[int, Field(ge=-100, le=100)] | None = None

    model_config = {"protected_namespaces": ()}

    def defaults(self) -> dict[str, Any]:
        """The fields of every job that the query gives; `params` is not read here."""
        fields: dict[str, Any] = {}
        if self.model_id is not None:
            fields["model_id"] = self.model_id
        if self.tags is not None:
            fields["tags"] = split_tags(self.tags)
        if self.priority is not None:
            fields["priority"] = self.priority
        return fields


def split_tags(text: str) -> list[str]:
    """Tags as a cell or a query has them: with semicolons between them."""
    return [tag.strip() for tag in text.split(";") if tag.strip()]
