"""Models of the catalogue by their ids, kept for a moment: many requests in a row name the same few."""

from __future__ import annotations

import time

from pipeline3d.api.services import Services
from pipeline3d.errors import UnknownModel
from pipeline3d.requests.catalogue import CatalogueModel, KnownModel, find_model, model_of_row

KNOWN_FOR_S = 2.0
"""So much later than the catalogue says at most, a model is refused or accepted."""


async def find_catalogue_model(services: Services, model_id: str) -> CatalogueModel:
    """A model that may be asked for."""
    now_s = time.monotonic()
    known = services.models.get(model_id)
    if known is not None and now_s - known.read_at_s < KNOWN_FOR_S:
        return known.model
    row = await services.first(find_model(model_id))
    if row is None:
        services.models.pop(model_id, None)
        raise UnknownModel(f"There is no model {model_id!r}.", hint="GET /api/v1/models lists the models.")
    model = model_of_row(row)
    services.models[model_id] = KnownModel(model=model, read_at_s=now_s)
    return model
