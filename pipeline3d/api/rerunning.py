"""The same once more, with some things changed: a new job that says of which it is a copy."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import Row

from pipeline3d.api.bodies import MAX_PROMPT_LENGTH, JobCreate, Json, Text
from pipeline3d.api.idempotency import Answer
from pipeline3d.api.known_models import find_catalogue_model
from pipeline3d.api.services import Services
from pipeline3d.api.submission import Origin, submit_job
from pipeline3d.api.viewing import read_own_job
from pipeline3d.errors import InvalidParameters
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.event_types import JobEventType

SOURCES = frozenset({"input_path", "image_path", "source_job_id"})
"""Parameters that name what is worked on: whoever changes one does not mean the job's earlier input."""

_DEFAULTS = JobCreate(model_id="-")


class Changes(BaseModel):
    """What is different this time; what is not sent stays as it was."""

    model_id: Annotated[Text, Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="Another model of the same kind."
    )
    input_params: Json = Field(
        default_factory=dict, description="Merged over those of the job; null takes one away."
    )
    prompt: Annotated[Text, Field(max_length=MAX_PROMPT_LENGTH)] | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] | None = None
    tags: (
        Annotated[list[Annotated[Text, Field(min_length=1, max_length=50)]], Field(max_length=20)] | None
    ) = None
    metadata: Json | None = None

    model_config = {"protected_namespaces": ()}


async def rerun_job(
    services: Services, account: Account, job_id: UUID, changes: Changes, idempotency_key: str | None
) -> Answer:
    """Store a changed copy of a job of the caller and say how it stands. Raises as `submit_job` does."""
    row = await read_own_job(services, account, job_id)
    if changes.model_id is not None and changes.model_id != row.model_id:
        model = await find_catalogue_model(services, changes.model_id)
        if model.kind != row.kind:
            raise InvalidParameters(
                f"{model.name} is of the kind {model.kind}, the job is of the kind {row.kind}.",
                code="other_kind",
                hint="Name a model of the same kind, or make a new job.",
            )
    return await submit_job(
        services,
        account,
        change_request(row, changes),
        idempotency_key,
        route=f"POST /jobs/{job_id}/rerun",
        asked=changes.model_dump(mode="json", exclude_unset=True),
        origin=Origin(rerun_of=job_id, callback_format=row.callback_format),
    )


def change_request(row: Row[Any], changes: Changes) -> JobCreate:
    """The request that made a job, with its changes; without its moments, which have passed by now."""
    merged = {**row.input_params, **changes.input_params}
    if not SOURCES.isdisjoint(changes.input_params):
        merged = {
            name: value
            for name, value in merged.items()
            if name not in SOURCES or name in changes.input_params
        }
    keeps_input = SOURCES.isdisjoint(name for name, value in merged.items() if value is not None)
    return JobCreate.model_construct(
        **{
            **_DEFAULTS.model_dump(),
            "model_id": changes.model_id or row.model_id,
            "input_params": {name: value for name, value in merged.items() if value is not None},
            "prompt": row.prompt if changes.prompt is None else changes.prompt,
            "priority": row.priority if changes.priority is None else changes.priority,
            "tags": row.tags if changes.tags is None else changes.tags,
            "metadata": row.metadata if changes.metadata is None else changes.metadata,
            "input_job_id": row.input_job_id if keeps_input else None,
            "webhook_url": row.callback_url,
            "webhook_events": [JobEventType(name) for name in row.callback_events],
        }
    )
