"""From a body to a stored job: checks first, then one statement. A key makes a repeated request harmless."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError

from pipeline3d.api.bodies import JobCreate, JobRead
from pipeline3d.api.idempotency import Answer, answer_once, use_key
from pipeline3d.api.known_models import find_catalogue_model
from pipeline3d.api.limits import store_within_limits
from pipeline3d.api.presenting import describe_input, write_job_json
from pipeline3d.api.services import Services
from pipeline3d.api.sources import check_source, name_input
from pipeline3d.api.uploads import check_uploaded_image, check_uploaded_model, input_not_found
from pipeline3d.api.viewing import describe_known_job, read_own_job, view_jobs
from pipeline3d.errors import InvalidParameters
from pipeline3d.outbound.addresses import check_address
from pipeline3d.requests import creation
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.amending import LARGEST_METADATA
from pipeline3d.requests.catalogue import (
    KINDS_OF_FILE,
    KINDS_OF_MODEL,
    KINDS_OF_PICTURE,
    check_request,
    take_prompt,
)
from pipeline3d.requests.costs import cost_of
from pipeline3d.requests.creation import NewBatch, NewJob, UploadedInput
from pipeline3d.requests.idempotency import KeyUse

CREATE_ROUTE = "POST /jobs/"
PLACE_PATIENCE_S = 0.025
"""So long the answer to a new job waits for its place in the queue; whoever looks at the job is told it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a job comes from, beside its body."""

    rerun_of: UUID | None = None
    batch_id: UUID | None = None
    upload: UploadedInput | None = None
    """What was uploaded for it by ourselves, so that nobody need look at it again."""
    callback_format: str | None = None


async def submit_job(
    services: Services,
    account: Account,
    body: JobCreate,
    idempotency_key: str | None,
    *,
    route: str = CREATE_ROUTE,
    asked: Any = None,
    origin: Origin | None = None,
) -> Answer:
    """Store a job and say how it stands, or give the answer that the same request got before.

    Two requests are the same where `route` and `asked` are; without it `asked` is the body.
    """
    if idempotency_key is not None and asked is None:
        asked = body.model_dump(mode="json", exclude_defaults=True)
    use = use_key(account, idempotency_key, route, asked)

    async def make() -> Answer | None:
        job = await check_job(services, account, body, origin)
        rows = await store_jobs(services, account, [job], use)
        return await answer_created(services, job, rows[0]) if rows else None

    async def make_anew(kept: Row[Any]) -> Answer:
        [job] = await view_jobs(services, [await read_own_job(services, account, kept.job_id)])
        return answer_of(job)

    return await answer_once(services, use, make, make_anew)


async def store_jobs(
    services: Services,
    account: Account,
    jobs: Sequence[NewJob],
    use: KeyUse | None = None,
    batch: NewBatch | None = None,
) -> list[Row[Any]]:
    """Store checked jobs in one statement; what Postgres made of them, nothing where the key was taken.

    Raises LimitReached where the account or its key may not have so many, or such expensive ones.
    """
    statement = creation.create_jobs(
        keyed=use is not None,
        batched=batch is not None,
        uploads=any(job.upload is not None for job in jobs),
    )
    values = creation.values_of(jobs, key=use, batch=batch)
    units = sum((job.cost_units for job in jobs), Decimal(0))
    try:
        return await store_within_limits(services, account, statement, values, units)
    except IntegrityError as error:
        if any(job.upload is not None for job in jobs) and creation.is_upload_gone(error.orig):
            raise input_not_found() from error
        raise


async def answer_created(services: Services, job: NewJob, made: Row[Any]) -> Answer:
    """About a job that was stored in this moment: only its input belongs to it, and nothing is read again."""
    row = creation.as_stored(job, made)
    artifacts = [] if job.upload is None else [describe_input(row, job.upload)]
    shown = await describe_known_job(services, row, artifacts, patience_s=PLACE_PATIENCE_S)
    body = write_job_json(shown).decode()
    return Answer(status=HTTPStatus.CREATED, body=body, location=shown["links"]["self"])


def answer_of(job: JobRead, status: int = HTTPStatus.CREATED) -> Answer:
    """The answer that shows a job."""
    return Answer(status=status, body=job.model_dump_json(), location=job.links.self)


async def check_job(
    services: Services, account: Account, body: JobCreate, origin: Origin | None = None
) -> NewJob:
    """Everything that can be known to be wrong before the job exists."""
    origin = origin or Origin()
    model = await find_catalogue_model(services, body.model_id)
    sent = name_input(model, body.input_params, body.input_job_id)
    checked = check_request(model, sent, prompt=body.prompt, bucket=services.settings.minio_bucket)
    check_photos(services, checked.params)
    _require_small(body.metadata)
    _require_future(body)
    callback_events = check_callback(services, body)
    source = None
    if "source_job_id" in checked.params:
        source = UUID(str(checked.params["source_job_id"]))
        await check_source(services, account, model.kind, source, may_wait=body.input_job_id is not None)
    upload = origin.upload
    if upload is None and model.kind in KINDS_OF_FILE and checked.input_key is not None:
        check = check_uploaded_image if model.kind in KINDS_OF_PICTURE else check_uploaded_model
        upload = await check(services, account.id, checked.input_key)
    is_moment = isinstance(body.deadline, datetime)
    return NewJob(
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
        deadline=body.deadline if isinstance(body.deadline, datetime) else None,
        deadline_in_s=None if is_moment or body.deadline is None else float(body.deadline),  # type: ignore[arg-type]
        expires_at=body.expires_at,
        expires_in_s=body.expires_in_s,
        held=body.hold,
        input_job_id=source if model.kind in KINDS_OF_MODEL else None,
        rerun_of=origin.rerun_of,
        batch_id=origin.batch_id,
        key_id=account.key_id,
        cost_units=cost_of(model.costs, checked.params),
        callback_url=body.webhook_url,
        callback_events=callback_events,
        callback_format=origin.callback_format,
    )


def check_photos(services: Services, params: Mapping[str, Any]) -> None:
    """Raise for photos at addresses that may not be visited. Nothing is asked of the network."""
    for address in params.get("image_urls", ()):
        check_address(address, allowed_hosts=services.settings.pipeline3d_photo_hosts)


def check_callback(services: Services, body: JobCreate) -> tuple[str, ...]:
    """The events that a job's own webhook is told. Raises for an address that may not be visited."""
    if body.webhook_url is None:
        if body.webhook_events:
            raise InvalidParameters(
                "webhook_events is for webhook_url, which is missing.", code="missing_webhook_url"
            )
        return ()
    check_address(body.webhook_url, allowed_hosts=services.settings.pipeline3d_webhook_hosts)
    return tuple(dict.fromkeys(event.value for event in body.webhook_events))


def _require_small(metadata: Mapping[str, Any]) -> None:
    """Refuse metadata that no change could have made: each message about a job carries all of it."""
    if metadata and len(json.dumps(metadata, ensure_ascii=False)) > LARGEST_METADATA:
        message = f"The metadata has more than {LARGEST_METADATA} characters as JSON."
        raise InvalidParameters(
            message,
            code="metadata_too_large",
            hint="Keep it where you are, and send what finds it.",
            details={"errors": [{"field": "metadata", "message": message}]},
        )


def _require_future(body: JobCreate) -> None:
    """Refuse moments that have passed, and two that say the same."""
    now = datetime.now(UTC)
    for name in ("deadline", "expires_at"):
        moment = getattr(body, name)
        if isinstance(moment, datetime) and moment <= now:
            message = f"{name} is {moment.isoformat()}, which has passed."
            raise InvalidParameters(
                message,
                code="moment_passed",
                hint="Send a moment with its time zone, or seconds from now.",
                details={"errors": [{"field": name, "message": message}]},
            )
    if body.expires_at is not None and body.expires_in_s is not None:
        raise InvalidParameters(
            "expires_at and expires_in_s say the same.", code="ambiguous_expiry", hint="Send one of them."
        )
