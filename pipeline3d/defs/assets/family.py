"""What the assets of a model request have in common."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from pipeline3d.defs.failures import record_failure
from pipeline3d.defs.partitions import MODEL_REQUESTS
from pipeline3d.geometry import glb
from pipeline3d.imaging import background_models
from pipeline3d.imaging.matting import Matte
from pipeline3d.imaging.picture import Picture
from pipeline3d.values import Family, JobInput
from resources.model_tools import ModelTools
from resources.run_guard import RunGuard
from resources.stage_files import LocalFile

GLB_CONTENT_TYPE = "model/gltf-binary"
JSON_CONTENT_TYPE = "application/json"
FILE_TYPE = dg.PythonObjectDagsterType(LocalFile, name="LocalFile")


def model_asset(**options: Any) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """An asset of the model family: partitioned by request, stored as a file, its failures reported."""
    decorate: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
        partitions_def=MODEL_REQUESTS,
        group_name=Family.MODEL_REQUESTS.value,
        owners=["team:generation"],
        io_manager_key="artifacts",
        hooks={record_failure},
        **({"dagster_type": FILE_TYPE} | options),
    )
    return decorate


def scratch_file(run: RunGuard, asset: str, name: str) -> Path:
    """Where a stage writes a file before it is published."""
    folder = run.scratch / asset
    folder.mkdir(exist_ok=True)
    return folder / name


def origin_of(data: bytes) -> dict[str, Any]:
    """What a GLB of ours says of its origin."""
    origin: dict[str, Any] = glb.read_document(data)["asset"].get("extras", {})
    return origin


def cut_out_object(picture: Picture, job: JobInput, tools: ModelTools) -> Matte:
    """The object of a photo by the method that its request names; requests of before the choice name none."""
    return background_models.cut_out_with(
        picture,
        method=job.params.get("background_removal", "auto"),
        directory=tools.places.backgrounds,
        seed=job.params["seed"],
    )
