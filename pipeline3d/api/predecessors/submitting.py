"""How calls of earlier systems become jobs: through the same checks and statements as all others."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pipeline3d.api.bodies import JobCreate, JobRead
from pipeline3d.api.known_models import find_catalogue_model
from pipeline3d.api.problems import ProblemResponse
from pipeline3d.api.services import Services
from pipeline3d.api.submission import Origin, submit_job
from pipeline3d.errors import ModelNotReady
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.catalogue import CatalogueModel
from pipeline3d.requests.parameters import complete_parameters

UNBUILT: dict[str, Any] = {"status_code": HTTPStatus.NOT_IMPLEMENTED, "response_class": ProblemResponse}
"""How a call is declared that is checked in full and then refused, for its pipeline is not built."""


async def submit(
    services: Services,
    account: Account,
    body: JobCreate,
    key: str | None,
    *,
    route: str,
    asked: Any,
    callback_format: str | None = None,
) -> JobRead:
    """The job as it was stored; with an idempotency key the one that was stored when the same was `asked`."""
    origin = Origin(callback_format=callback_format)
    answer = await submit_job(services, account, body, key, route=route, asked=asked, origin=origin)
    return JobRead.model_validate_json(answer.body)


async def refuse_unbuilt(services: Services, model_id: str, params: dict[str, Any]) -> ModelNotReady:
    """Why a call whose pipeline is not built cannot be served; a wrong call is told that first.

    Raises UnknownModel and InvalidParameters.
    """
    model: CatalogueModel = await find_catalogue_model(services, model_id)
    complete_parameters(model.parameters_schema, params)
    readiness = model.readiness
    if readiness.ready:
        return ModelNotReady(
            f"{model.name} is not served by this call.",
            code="served_as_job",
            hint=f"POST /api/v1/jobs/ with the model {model.id}.",
        )
    return ModelNotReady(
        readiness.reason or f"{model.name} cannot run on this installation.",
        code=readiness.code,
        hint=readiness.hint,
    )
