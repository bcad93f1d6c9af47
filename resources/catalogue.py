"""The shipped catalogue, for those who run its models: which engine makes a model's mesh, with what."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pipeline3d.errors import UnknownModel
from pipeline3d.requests.catalogue import CatalogueModel, load_catalogue

CATALOGUE = Path(__file__).with_name("catalogue.json")


@lru_cache(maxsize=1)
def shipped_models() -> dict[str, CatalogueModel]:
    """All models by their ids."""
    return {model.id: model for model in load_catalogue(CATALOGUE)}


def shipped_model(model_id: str) -> CatalogueModel:
    """One model. Raises UnknownModel."""
    try:
        return shipped_models()[model_id]
    except KeyError as error:
        raise UnknownModel(f"There is no model {model_id!r} in the catalogue.") from error


def engine_of(model_id: str) -> str:
    """What makes the meshes of a model: `inflation`, `triposr`, `procedural`, `wrapper` or `none`."""
    return shipped_model(model_id).runner.engine
