"""The assets of a model request, in the order in which they can run."""

from collections.abc import Sequence

import dagster as dg

from pipeline3d.defs.assets.exports import delivery, glb_export, model_preview
from pipeline3d.defs.assets.meshes import mesh
from pipeline3d.defs.assets.pictures import preprocessed_image, source_image
from pipeline3d.defs.assets.prompts import prompt

MODEL_ASSETS: Sequence[dg.AssetsDefinition] = [
    source_image,
    preprocessed_image,
    prompt,
    mesh,
    glb_export,
    model_preview,
    delivery,
]
