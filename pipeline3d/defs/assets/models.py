"""The assets of a model request, in the order in which they can run."""

from collections.abc import Sequence

import dagster as dg

from pipeline3d.defs.assets.exports import further_formats, glb_export, lods, usdz_export, web_glb
from pipeline3d.defs.assets.meshes import mesh
from pipeline3d.defs.assets.pictures import preprocessed_image, source_image
from pipeline3d.defs.assets.previews import model_preview, turntable
from pipeline3d.defs.assets.products import product_photos
from pipeline3d.defs.assets.prompts import prompt
from pipeline3d.defs.assets.publishing import bundle, delivery, quality_report
from pipeline3d.defs.assets.repairs import repaired_mesh
from pipeline3d.defs.assets.scenes import scene_code, source_scene
from pipeline3d.defs.assets.sources import source_model

MODEL_ASSETS: Sequence[dg.AssetsDefinition] = [
    product_photos,
    source_image,
    preprocessed_image,
    scene_code,
    source_scene,
    prompt,
    mesh,
    source_model,
    repaired_mesh,
    glb_export,
    model_preview,
    web_glb,
    usdz_export,
    lods,
    further_formats,
    turntable,
    quality_report,
    bundle,
    delivery,
]
