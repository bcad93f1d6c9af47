"""Small models with materials: one with every map that glTF has, and any shape that hypothesis thinks of."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from pipeline3d.geometry.mesh import Material, Model, Texture, TexturedMesh
from pipeline3d_tests.awkward_meshes import box, checkerboard, coloured_torus, plain, textured_sphere

PNG, JPEG, WEBP = "image/png", "image/jpeg", "image/webp"


def picture(kind: str = PNG, *, seed: int = 0, side: int = 32, mode: str = "RGB") -> Texture:
    """Smooth noise, so that JPEG and WebP change it little."""
    from PIL import Image

    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, len(mode)), np.uint8)
    content = io.BytesIO()
    image = Image.fromarray(noise, mode).resize((side, side), Image.Resampling.BILINEAR)
    image.save(content, kind.split("/")[1].upper(), **({} if kind == PNG else {"quality": 95}))
    return Texture(data=content.getvalue(), mime_type=kind)


def every_map(*, alpha_mode: str = "OPAQUE", base: str = WEBP) -> TexturedMesh:
    """A sphere whose material has all maps, and factors that are not 1."""
    albedo = picture(base, seed=1, mode="RGB" if base == JPEG else "RGBA")
    return replace(
        textured_sphere(),
        texture=albedo.data,
        texture_mime_type=albedo.mime_type,
        material=Material(
            name='glaze "blue" <1>',
            base_colour=(0.9, 0.5, 0.7, 0.8),
            metallic=0.4,
            roughness=0.6,
            emissive_colour=(0.2, 0.1, 0.0),
            metallic_roughness=picture(PNG, seed=2),
            normal=picture(PNG, seed=3),
            normal_scale=0.5,
            occlusion=picture(JPEG, seed=4),
            occlusion_strength=0.7,
            emissive=picture(WEBP, seed=5),
            alpha_mode=alpha_mode,
            double_sided=True,
            wrap="repeat",
        ),
    )


def several_parts() -> Model:
    """Textured, coloured and plain parts beside each other; two share a picture, one has no faces."""
    apart = [np.float32(step) for step in (0, 2, 4, 6)]
    parts = (textured_sphere(), coloured_torus(), box(), textured_sphere(rows=6, columns=8))
    moved = [
        replace(part, vertices=(part.vertices + np.array([shift, 0, 0], np.float32)).astype(np.float32))
        for part, shift in zip(parts, apart, strict=True)
    ]
    moved[2] = replace(moved[2], material=Material(base_colour=(0.8, 0.2, 0.05, 1.0), metallic=1.0))
    return Model(parts=(*moved, plain(np.zeros((3, 3)), np.zeros((0, 3)))))


@st.composite
def any_models(draw: st.DrawFn) -> Model:
    """One to three parts of any finite vertices, any faces between them, with or without colours."""
    return Model(parts=tuple(draw(st.lists(any_parts(), min_size=1, max_size=3))))


@st.composite
def any_parts(draw: st.DrawFn) -> TexturedMesh:
    """At least one face; corners may coincide, and coordinates are tiny, huge or both."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, faces = draw(st.integers(1, 12)), draw(st.integers(1, 20))
    size = 10.0 ** draw(st.integers(-6, 6))
    away = draw(st.sampled_from((0.0, 0.0, 1.0, 100.0)))
    vertices = (rng.normal(size=(count, 3)) + away) * size
    if draw(st.booleans()):
        vertices = np.round(vertices / size) * size
    kind = draw(st.sampled_from(("plain", "colours", "texture", "both")))
    normals = rng.normal(size=(count, 3))
    part = replace(
        plain(vertices, rng.integers(0, count, (faces, 3))),
        normals=(normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32)
        if draw(st.booleans())
        else None,
    )
    if kind in ("colours", "both"):
        # neighbours differ as on a surface that was painted, not as in noise
        colours = rng.integers(75, 181, 4) + rng.integers(-25, 26, (count, 4))
        part = replace(part, colours=colours.astype(np.uint8))
    if kind in ("texture", "both"):
        part = replace(
            part,
            uvs=rng.random((count, 2)).astype(np.float32),
            texture=checkerboard(),
            texture_mime_type=PNG,
        )
    return part
