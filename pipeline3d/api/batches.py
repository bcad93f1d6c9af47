"""Batches: many jobs that come together, are checked each by itself, and are stored in one statement."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Row

from pipeline3d.api.batch_bodies import SentBatch
from pipeline3d.api.batch_forms import (
    BatchJob,
    BatchMember,
    BatchQuery,
    BatchRead,
    BatchReport,
    BatchSummary,
    RefusedJob,
)
from pipeline3d.api.batch_items import Item, merge, typed
from pipeline3d.api.bodies import JobCreate, ProblemField
from pipeline3d.api.idempotency import Answer, answer_once, use_key
from pipeline3d.api.known_models import find_catalogue_model
from pipeline3d.api.problems import name_field
from pipeline3d.api.services import Services
from pipeline3d.api.submission import Origin, check_job, store_jobs
from pipeline3d.errors import InvalidParameters, RequestError
from pipeline3d.requests import batches
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.creation import NewBatch, NewJob, new_job_id
from pipeline3d.requests.parameters import MOST_TOLD, storable_text

BATCH_ROUTE = "POST /jobs/batch"
BATCHES_PATH = "/api/v1/jobs/batches"
AT_A_TIME = 16
"""Jobs that are checked at the same time: for some the object store is asked."""
MOST_NAMED = 20
"""Wrong jobs that a refusal of the whole names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedItem:
    """A job of a batch that may be stored, or why it may not."""

    item: Item
    job: NewJob | None = None
    refused: RefusedJob | None = None


async def submit_batch(
    services: Services, account: Account, sent: SentBatch, query: BatchQuery, idempotency_key: str | None
) -> Answer:
    """Store the jobs of a batch and report; or give the report that the same batch got before.

    Raises InvalidParameters (`batch_refused`) where all are refused, or any with `atomic`.
    """
    asked = [sent.source, sent.digest, query.model_dump(mode="json")]
    use = use_key(account, idempotency_key, BATCH_ROUTE, asked)

    async def make() -> Answer | None:
        batch_id = new_job_id()
        checked = await check_items(services, account, await sent.read_items(), batch_id)
        jobs = [one.job for one in checked if one.job is not None]
        refused = [one.refused for one in checked if one.refused is not None]
        if refused and (query.atomic or not jobs):
            raise _refuse_all(refused, len(checked))
        batch = NewBatch(
            id=batch_id,
            user_id=account.id,
            name=sent.name,
            source=sent.source,
            size=len(checked),
            refused=[one.model_dump(mode="json", exclude_none=True) for one in refused],
        )
        rows = await store_jobs(services, account, jobs, use, batch)
        if not rows:
            return None
        created = [
            BatchJob(index=one.item.index, id=one.job.id, model_id=one.job.model_id)
            for one in checked
            if one.job is not None
        ]
        return _answer(BatchReport(batch_id=batch_id, name=sent.name, created=created, refused=refused))

    async def make_anew(kept: Row[Any]) -> Answer:
        shown = await read_batch(services, account, kept.batch_id)
        refused_at = {one.index for one in shown.refused}
        free = (index for index in range(shown.size) if index not in refused_at)
        created = [
            BatchJob(index=index, id=job.id, model_id=job.model_id)
            for index, job in zip(free, shown.jobs, strict=False)
        ]
        return _answer(
            BatchReport(batch_id=shown.batch_id, name=shown.name, created=created, refused=shown.refused)
        )

    return await answer_once(services, use, make, make_anew, look_first=True)


async def check_items(
    services: Services, account: Account, items: Sequence[Item], batch_id: UUID
) -> list[CheckedItem]:
    """Check every job of a batch by itself, some at a time."""
    checked: list[CheckedItem] = []
    for start in range(0, len(items), AT_A_TIME):
        some = items[start : start + AT_A_TIME]
        checked += await asyncio.gather(*(_check_item(services, account, item, batch_id) for item in some))
    return checked


async def read_batch(services: Services, account: Account, batch_id: UUID) -> BatchRead:
    """A batch of the caller, with its jobs as they stand and what was refused."""
    row = await services.first(batches.read_batch(account.id, batch_id))
    if row is None:
        raise RequestError(
            f"There is no batch {batch_id}.",
            code="unknown_batch",
            hint="GET /api/v1/jobs/batches/ lists your batches.",
        )
    [summary] = await _summarise(services, [row])
    members = await services.all(batches.list_jobs_of(batch_id))
    return BatchRead(
        **summary.model_dump(),
        jobs=[BatchMember(id=job.id, model_id=job.model_id, status=job.state) for job in members],
        refused=[RefusedJob(**refused) for refused in row.refused],
    )


async def list_batches(
    services: Services, account: Account, *, before: UUID | None, limit: int
) -> list[BatchSummary]:
    """The caller's batches, newest first."""
    rows = await services.all(batches.list_batches(account.id, before=before, limit=limit))
    return await _summarise(services, rows)


async def _summarise(services: Services, rows: Sequence[Row[Any]]) -> list[BatchSummary]:
    counts: dict[UUID, dict[str, int]] = defaultdict(dict)
    if rows:
        for count in await services.all(batches.count_states([row.id for row in rows])):
            counts[count.batch_id][count.state] = count.jobs
    return [
        BatchSummary(
            batch_id=row.id,
            name=row.name,
            source=row.source,
            size=row.size,
            refused_count=len(row.refused),
            counts=counts[row.id],
            created_at=row.created_at,
        )
        for row in rows
    ]


async def _check_item(services: Services, account: Account, item: Item, batch_id: UUID) -> CheckedItem:
    try:
        if item.error is not None:
            raise item.error
        fields = item.fields
        if item.texts and isinstance(fields.get("model_id"), str):
            model = await find_catalogue_model(services, fields["model_id"])
            fields = merge(fields, {"input_params": typed(item.texts, model.parameters_schema)})
        body = JobCreate.model_validate(fields)
        if body.dry_run:
            raise InvalidParameters("dry_run is for a single job.", code="invalid_request")
        origin = Origin(batch_id=batch_id, upload=item.upload)
        return CheckedItem(item=item, job=await check_job(services, account, body, origin))
    except ValidationError as error:
        errors = [
            _field(name_field(found), found["msg"].removeprefix("Value error, ").rstrip("."))
            for found in error.errors()[:MOST_TOLD]
        ]
        detail = " ".join(f"{problem.field}: {problem.message}." for problem in errors)
        refused = _refuse(item, "invalid_request", detail, "See /docs for the form.", errors)
    except RequestError as error:
        errors = [_field(found["field"], found["message"]) for found in error.details.get("errors", ())]
        refused = _refuse(item, error.code, error.message, error.hint, errors)
    return CheckedItem(item=item, refused=refused)


def _field(name: str, message: str) -> ProblemField:
    return ProblemField(field=storable_text(name), message=storable_text(message))


def _refuse(item: Item, code: str, detail: str, hint: str | None, errors: list[ProblemField]) -> RefusedJob:
    return RefusedJob(
        index=item.index,
        line=item.line,
        name=None if item.name is None else storable_text(item.name),
        code=code,
        # it quotes what came, and is stored
        detail=storable_text(detail),
        hint=hint,
        errors=errors or None,
    )


def _refuse_all(refused: Sequence[RefusedJob], size: int) -> InvalidParameters:
    named = [{"field": _place_of(one), "message": one.detail} for one in refused[:MOST_NAMED]]
    return InvalidParameters(
        f"{len(refused)} of {size} jobs are refused, so none was made. The first: {named[0]['field']}: "
        f"{named[0]['message']}",
        code="batch_refused",
        hint=refused[0].hint or "Correct them, or leave them out.",
        details={"errors": named},
    )


def _place_of(refused: RefusedJob) -> str:
    if refused.line is not None:
        return f"line {refused.line}"
    return refused.name or f"jobs.{refused.index}"


def _answer(report: BatchReport) -> Answer:
    status = HTTPStatus.MULTI_STATUS if report.refused else HTTPStatus.CREATED
    body = report.model_dump_json()
    return Answer(status=status, body=body, location=f"{BATCHES_PATH}/{report.batch_id}")
