"""Relief inflation: the photo's outline becomes a body."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline3d.defs.engines.stage import MadeMesh, Stage
from pipeline3d.generation import inflation
from pipeline3d.geometry.mesh import TexturedMesh


def inflate_photo(stage: Stage) -> Sequence[MadeMesh]:
    """One mesh: the seed only breaks ties, so that further candidates would be the same."""
    model = inflation.inflate(
        stage.cut_out(),
        quality=stage.params["quality"],
        texture_resolution=stage.params.get("texture_resolution"),
        seed=stage.params["seed"],
    )
    mesh = TexturedMesh(
        vertices=model.vertices,
        faces=model.faces,
        normals=model.normals,
        uvs=model.uvs,
        texture=model.texture_jpeg,
        texture_mime_type="image/jpeg",
    )
    made = MadeMesh(
        mesh=mesh,
        engine=inflation.ENGINE,
        engine_version=inflation.ENGINE_VERSION,
        tier="embedded",
        seed=stage.params["seed"],
        note="The back side is inferred from the photographed side.",
    )
    return [made]
