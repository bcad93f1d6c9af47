"""The catalogue."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from pipeline3d.api.bodies import ModelRead, Text
from pipeline3d.api.known_models import find_catalogue_model
from pipeline3d.api.presenting import present_model
from pipeline3d.api.routing import API_PREFIX, Router
from pipeline3d.api.services import AppServices
from pipeline3d.requests import catalogue

router = Router(prefix=f"{API_PREFIX}/models", tags=["models"])


@router.get("")
async def list_models(services: AppServices) -> list[ModelRead]:
    """What can be asked for, with its parameters; the models that can run here come first."""
    rows = await services.all(catalogue.list_models())
    return [present_model(catalogue.model_of_row(row)) for row in rows]


@router.get("/{model_id}")
async def read_model(model_id: Annotated[Text, Path(max_length=100)], services: AppServices) -> ModelRead:
    """One model."""
    return present_model(await find_catalogue_model(services, model_id))
