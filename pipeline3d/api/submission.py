"""From a body to a stored job: checks first, then one statement. A key makes a repeated request harmless."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from pipeline3d.api.bodies import JobCreate
from pipeline3d.api.services import Services
from pipeline3d.api.uploads import check_uploaded_image, check_uploaded_model
from pipeline3d.errors import IdempotencyConflict, InvalidParameters, UnknownModel
from pipeline3d.requests import creation, reading
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.catalogue import (
    KINDS_OF_FILE,
    KINDS_OF_PICTURE,
    CatalogueModel,
    check_request,
    find_model,
    model_of_row,
    take_prompt,
)
from pipeline3d.values import JobState, Kind

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededOfSource:
    """What a request needs of the earlier job that it names."""

    asset: str
    what: str
    code: str
    hint: str


NEEDED_OF_SOURCE = {
    Kind.SCENE_TO_3D: NeededOfSource(
        asset="scene_code",
        what="a scene code",
        code="unknown_scene",
        hint="Name a job of a TripoSR model that succeeded, as source_job_id.",
    ),
    Kind.EXPORT_MODEL: NeededOfSource(
        asset="glb_export",
        what="a model",
        code="unknown_source",
        hint="Name a job of yours that succeeded, as source_job_id.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A stored job, and whether an earlier request of the same key had stored it."""

    row: Row[Any]
    repeated: bool


async def submit_job(
    services: Services, account: Account, body: JobCreate, idempotency_key: str | None
) -> Submission:
    """Store a job, or give back the one that the same request stored before."""
    request_hash = None
    if idempotency_key is not None:
        require_idempotency_key(idempotency_key)
        request_hash = creation.hash_request(body.model_dump(mode="json", exclude_defaults=True))
        earlier = await _find_earlier(services, account, idempotency_key, request_hash)
        if earlier is not None:
            return Submission(row=earlier, repeated=True)
    job = await _check(services, account, body, idempotency_key, request_hash)
    await services.first(creation.create_job(job))
    if idempotency_key is not None and request_hash is not None:
        # Of two equal requests at once one stored the job: whichever it was, the key now names it.
        stored = await _find_earlier(services, account, idempotency_key, request_hash)
        assert stored is not None
        return Submission(row=stored, repeated=stored.id != job.id)
    row = await services.first(reading.read_job(), the_job=job.id)
    assert row is not None
    return Submission(row=row, repeated=False)


def require_idempotency_key(key: str) -> None:
    """Refuse a key that cannot be compared reliably."""
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidParameters(
            "Idempotency-Key has 1 to 255 printable ASCII characters without spaces.",
            code="invalid_idempotency_key",
            hint="Use a UUID.",
        )


async def find_catalogue_model(services: Services, model_id: str) -> CatalogueModel:
    """A model that may be asked for."""
    row = await services.first(find_model(model_id))
    if row is None:
        raise UnknownModel(f"There is no model {model_id!r}.", hint="GET /api/v1/models lists the models.")
    return model_of_row(row)


async def _check(
    services: Services,
    account: Account,
    body: JobCreate,
    idempotency_key: str | None,
    request_hash: str | None,
) -> creation.NewJob:
    """Everything that can be known to be wrong before the job exists."""
    model = await find_catalogue_model(services, body.model_id)
    checked = check_request(
        model, body.input_params, prompt=body.prompt, bucket=services.settings.minio_bucket
    )
    if model.kind in NEEDED_OF_SOURCE and "source_job_id" in checked.params:
        await check_source(services, account, model.kind, UUID(checked.params["source_job_id"]))
    upload = None
    if model.kind in KINDS_OF_FILE and checked.input_key is not None:
        check = check_uploaded_image if model.kind in KINDS_OF_PICTURE else check_uploaded_model
        upload = await check(services, account.id, checked.input_key)
    return creation.NewJob(
        id=creation.new_job_id(),
        user_id=account.id,
        model_id=model.id,
        kind=model.kind,
        family=model.family,
        prompt=checked.prompt,
        input_params=take_prompt(body.input_params, None)[0],
        params=checked.params,
        upload=upload,
        priority=body.priority,
        tags=tuple(body.tags),
        metadata=body.metadata,
        idempotency_key=idempotency_key,
        request_hash=request_hash,
    )


async def check_source(services: Services, account: Account, kind: Kind, source: UUID) -> None:
    """Refuse an earlier job that does not exist, is of somebody else or has not what is needed: all alike."""
    needed = NEEDED_OF_SOURCE[kind]
    if not await _has_artifact(services, account, source, needed.asset):
        raise InvalidParameters(
            f"You have no job {source} with {needed.what}.", code=needed.code, hint=needed.hint
        )


async def _has_artifact(services: Services, account: Account, job_id: UUID, asset: str) -> bool:
    """Whether a job is the caller's, has succeeded and has stored something of that stage."""
    row = await services.first(reading.read_job(), the_job=job_id)
    stored = await services.first(reading.read_artifact(job_id, asset))
    done = row is not None and row.user_id == account.id and row.state == JobState.SUCCEEDED
    return done and stored is not None


async def _find_earlier(services: Services, account: Account, key: str, request_hash: str) -> Row[Any] | None:
    row = await services.first(reading.read_job_by_idempotency_key(account.id, key))
    if row is not None and row.request_hash != request_hash:
        raise IdempotencyConflict(
            f"Idempotency-Key was used before for another request, which made job {row.id}.",
            hint="Use a new key for a new request.",
        )
    return row
