"""The assets of a model request, in the order in which they can run."""

from collections.abc import Sequence

import dagster as dg

from pipeline3d.defs.assets.exports import delivery, glb_export, model_preview
from pipeline3d.defs.assets.meshes import mesh
from pipeline3d.defs.assets.pictures import preprocessed_image, source_image
from pipeline3d.defs.assets.products import product_photos
from pipeline3d.defs.assets.prompts import prompt
from pipeline3d.defs.assets.scenes import scene_code, source_scene

MODEL_ASSETS: Sequence[dg.AssetsDefinition] = [
    product_photos,
    source_image,
    preprocessed_image,
    scene_code,
    source_scene,
    prompt,
    mesh,
    glb_export,
    model_preview,
    delivery,
]
