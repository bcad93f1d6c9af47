"""One asset job per kind of request."""

from __future__ import annotations

import dagster as dg

from pipeline3d.values import Kind

image_to_3d = dg.define_asset_job(
    Kind.IMAGE_TO_3D.value,
    selection=dg.AssetSelection.groups(Kind.IMAGE_TO_3D.value),
    executor_def=dg.in_process_executor,
    description="A photo becomes a textured, checked GLB with a preview. One partition is one request.",
)

JOB_NAME_BY_KIND: dict[Kind, str] = {Kind.IMAGE_TO_3D: image_to_3d.name}
"""The kinds that this version can run."""
