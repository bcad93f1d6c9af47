"""The earlier job that a request names: whether it has, or will have, what the request takes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from pipeline3d.api.services import Services
from pipeline3d.errors import InvalidParameters
from pipeline3d.requests import reading
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.catalogue import KINDS_OF_MODEL, CatalogueModel
from pipeline3d.values import Family, JobState, Kind


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
        hint="Name a job of yours that succeeded, as source_job_id; or as input_job_id to wait for it.",
    ),
}
_MAY_SUCCEED = frozenset({JobState.QUEUED, JobState.RUNNING})
_HAS_ENDED_OTHERWISE = frozenset(JobState) - _MAY_SUCCEED - {JobState.SUCCEEDED}


def name_input(model: CatalogueModel, sent: Mapping[str, Any], input_job_id: UUID | None) -> dict[str, Any]:
    """The parameters with the job whose model is taken under the name that the model's schema has for it."""
    if input_job_id is None:
        return dict(sent)
    if model.kind not in KINDS_OF_MODEL:
        raise InvalidParameters(
            f"{model.name} takes no model of another job, so input_job_id cannot be used.",
            code="input_job_not_used",
            hint="Leave input_job_id out, or name a model that takes one, such as export-v1.",
        )
    named = sent.get("source_job_id")
    if named is not None and str(named).lower() != str(input_job_id):
        raise InvalidParameters(
            "input_job_id and input_params.source_job_id name two different jobs.",
            code="ambiguous_model",
            hint="Send input_job_id alone.",
        )
    return {**sent, "source_job_id": str(input_job_id)}


async def check_source(
    services: Services, account: Account, kind: Kind, source: UUID, *, may_wait: bool = False
) -> None:
    """Refuse an earlier job that does not exist, is of somebody else or has not what is needed: all alike.

    With `may_wait` one that has not ended yet is as good, if it makes what is needed; one that has ended
    without success is named (`input_job_failed`).
    """
    needed = NEEDED_OF_SOURCE.get(kind)
    if needed is None:
        return
    row = await services.first(reading.read_visible_job(), the_job=source)
    if row is not None and row.user_id == account.id and await _is_usable(services, row, needed, may_wait):
        return
    raise InvalidParameters(
        f"You have no job {source} with {needed.what}.", code=needed.code, hint=needed.hint
    )


async def _is_usable(services: Services, row: Row[Any], needed: NeededOfSource, may_wait: bool) -> bool:
    if row.state == JobState.SUCCEEDED:
        return await services.first(reading.read_artifact(row.id, needed.asset)) is not None
    if not may_wait:
        return False
    if row.state in _HAS_ENDED_OTHERWISE:
        raise InvalidParameters(
            f"Job {row.id} is {row.state}: it will not have {needed.what}.",
            code="input_job_failed",
            hint="Retry that job first, or name another one.",
        )
    return bool(row.family == Family.MODEL_REQUESTS)
