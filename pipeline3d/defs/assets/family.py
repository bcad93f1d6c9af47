"""What the assets of a model request have in common."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from pipeline3d.defs.failures import record_failure
from pipeline3d.defs.partitions import MODEL_REQUESTS
from pipeline3d.values import Family
from resources.run_guard import RunGuard
from resources.stage_files import LocalFile

GLB_CONTENT_TYPE = "model/gltf-binary"
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
