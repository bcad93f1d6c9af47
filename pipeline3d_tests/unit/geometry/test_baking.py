"""Baked textures show what the fine surface showed."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline3d.errors import InvalidParameters
from pipeline3d.geometry.baking import bake_colours, bake_detail
from pipeline3d.geometry.colour_space import to_linear
from pipeline3d.geometry.measuring import measure
from pipeline3d.geometry.mesh import Material, Model, Texture, TexturedMesh
from pipeline3d.geometry.simplifying import simplify
from pipeline3d.geometry.surface_sampling import Sampler, normals_of
from pipeline3d_tests.awkward_meshes import coloured_torus, textured_sphere

RING = coloured_torus(around=36, across=18)


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def seen(model: Model, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    return Sampler(model=model).at(points.astype(np.float64), normals.astype(np.float64)).base


@pytest.mark.parametrize("method", ["xatlas", "box"])
def test_baked_colours_are_those_of_the_vertices(method: str) -> None:
    baked = bake_colours(Model(parts=(RING,)), size_px=256, method=method)  # type: ignore[arg-type]
    part = baked.parts[0]
    assert part.colours is None
    assert part.texture_mime_type == "image/jpeg"
    assert part.texture is not None
    assert opened(part.texture).shape == (256, 256, 3)
    assert measure(part).watertight
    assert RING.colours is not None
    found = seen(baked, RING.vertices, normals_of(RING))[:, :3]
    error = np.abs(found - RING.colours[:, :3] / 255)
    assert error.mean() < 0.02
    assert np.percentile(error, 99) < 0.1


def test_a_surface_with_many_faces_is_simplified_but_keeps_its_fine_colours() -> None:
    baked = bake_colours(Model(parts=(RING,)), size_px=256, max_faces=400)
    assert baked.face_count <= 420
    assert RING.colours is not None
    error = np.abs(seen(baked, RING.vertices, normals_of(RING))[:, :3] - RING.colours[:, :3] / 255)
    assert error.mean() < 0.05


def test_transparent_colours_need_a_png_and_opaque_parts_stay_as_they_are() -> None:
    globe = textured_sphere()
    colours = np.tile(np.uint8([255, 0, 0, 102]), (len(RING.vertices), 1))
    glass = replace(RING, colours=colours, material=Material(alpha_mode="BLEND", roughness=0.1))
    baked = bake_colours(Model(parts=(glass, globe)), size_px=128)
    assert any(part is globe for part in baked.parts)
    (part,) = [part for part in baked.parts if part is not globe]
    assert part.texture_mime_type == "image/png"
    assert part.material == glass.material
    assert part.texture is not None
    pixels = opened(part.texture)
    assert (pixels == [255, 0, 0, 102]).all()  # in the gutters too
    only = Model(parts=(globe,))
    assert bake_colours(only, size_px=128) is only


def bumpy_wall() -> TexturedMesh:
    """A wall that faces +Z with one bump in its middle."""
    steps = np.linspace(-1, 1, 61)
    x, y = np.meshgrid(steps, steps)
    height = 0.15 * np.exp(-(x**2 + y**2) / 0.1)
    index = np.arange(61 * 61).reshape(61, 61)
    one, right, above, both = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = [np.stack(face, -1).reshape(-1, 3) for face in ((one, right, above), (right, both, above))]
    return TexturedMesh(
        vertices=np.stack([x, y, height], -1).reshape(-1, 3).astype(np.float32),
        faces=np.concatenate(faces).astype(np.int32),
    )


def flat_wall(*, mirrored: bool = False) -> TexturedMesh:
    uvs = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)
    if mirrored:
        uvs[:, 0] = 1 - uvs[:, 0]
    return TexturedMesh(
        vertices=np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32),
        faces=np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        uvs=uvs,
    )


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_bump_is_bright_red_to_its_right_and_bright_green_above(mirrored: bool) -> None:
    """glTF 2.0, 3.9.3: red is right and green is up in the picture, blue towards the viewer."""
    low = Model(parts=(flat_wall(mirrored=mirrored),))
    part = bake_detail(Model(parts=(bumpy_wall(),)), low, size_px=64).parts[0]
    assert np.array_equal(part.uvs, low.parts[0].uvs)
    assert part.material.normal is not None
    pixels = opened(part.material.normal.data).astype(int)
    assert pixels[32, 38, 0] > 170
    assert pixels[32, 26, 0] < 85
    assert pixels[26, 32, 1] > 170
    assert pixels[38, 32, 1] < 85
    assert pixels[2, 2].tolist() == pytest.approx([128, 128, 255], abs=2)


def test_a_coarse_surface_shows_the_normals_of_the_fine_one() -> None:
    fine = textured_sphere(rows=40, columns=60)
    bare = replace(fine, texture=None, uvs=None)
    coarse = simplify(Model(parts=(bare,)), target_faces=300).model
    baked = bake_detail(Model(parts=(bare,)), coarse, size_px=256)
    assert baked.face_count == coarse.face_count
    outwards = fine.vertices / np.linalg.norm(fine.vertices, axis=1, keepdims=True)
    # what a viewer makes of the map: the sampler of textures is tested by itself
    found = Sampler(model=baked).at(fine.vertices.astype(np.float64), outwards.astype(np.float64)).normals
    angles = np.degrees(np.arccos(np.clip(np.einsum("ij,ij->i", found, outwards), -1, 1)))
    assert np.median(angles) < 1.0
    assert np.percentile(angles, 99) < 6.0


def test_textures_and_colours_of_several_fine_parts_end_in_one_picture() -> None:
    globe = textured_sphere()
    moved = replace(RING, vertices=(RING.vertices + np.float32([3, 0, 0])).astype(np.float32))
    red = replace(moved, material=Material(base_colour=(1, 0, 0, 1), metallic=1.0, roughness=0.2))
    high = Model(parts=(globe, red))
    low = Model(parts=tuple(replace(part, uvs=None, texture=None, colours=None) for part in high.parts))
    baked = bake_detail(high, low, size_px=256)
    assert baked.parts[0].texture == baked.parts[1].texture
    for part, source in zip(baked.parts, high.parts, strict=True):
        assert part.material.metallic_roughness is not None
        found = Sampler(model=baked).at(source.vertices.astype(float), normals_of(source).astype(float))
        wanted = Sampler(model=high).at(source.vertices.astype(float), normals_of(source).astype(float))
        assert np.abs(found.metallic - source.material.metallic).mean() < 0.02
        assert np.abs(found.roughness - source.material.roughness).mean() < 0.02
        assert np.median(np.abs(found.base - wanted.base)) < 0.05


def test_overlapping_texture_places_are_made_anew() -> None:
    wall = flat_wall()
    doubled = replace(
        wall,
        vertices=np.concatenate([wall.vertices, wall.vertices + np.float32([3, 0, 0])]),
        faces=np.concatenate([wall.faces, wall.faces + 4]),
        uvs=np.concatenate([flat_wall().uvs, flat_wall().uvs]),  # type: ignore[arg-type]
    )
    colours = np.repeat(np.uint8([[255, 0, 0, 255], [0, 0, 255, 255]]), 4, axis=0)
    high = Model(parts=(replace(doubled, uvs=None, colours=colours),))
    baked = bake_detail(high, Model(parts=(doubled,)), size_px=128)
    middles = np.array([[0, 0, 0], [3, 0, 0]])
    found = seen(baked, middles, np.tile([0, 0, 1], (2, 1)))
    assert found[:, :3] == pytest.approx(np.array([[1, 0, 0], [0, 0, 1]]), abs=0.05)


def test_texture_values_are_srgb() -> None:
    grey = np.full((len(RING.vertices), 4), (55, 55, 55, 255), np.uint8)
    part = bake_colours(Model(parts=(replace(RING, colours=grey),)), size_px=64).parts[0]
    assert part.texture is not None
    linear = to_linear(opened(part.texture)[..., :3] / 255.0)
    assert linear == pytest.approx(np.full_like(linear, 55 / 255), abs=0.01)


@pytest.mark.parametrize("size_px", [0, 63, 4097])
def test_sides_out_of_range_are_refused(size_px: int) -> None:
    model = Model(parts=(RING,))
    with pytest.raises(InvalidParameters):
        bake_colours(model, size_px=size_px)
    with pytest.raises(InvalidParameters):
        bake_detail(model, model, size_px=size_px)


def test_a_fine_emissive_map_is_carried_over() -> None:
    content = io.BytesIO()
    Image.new("RGB", (8, 8), (0, 255, 0)).save(content, "PNG")
    glow = Material(
        emissive=Texture(data=content.getvalue(), mime_type="image/png"), emissive_colour=(1, 1, 1)
    )
    high = Model(parts=(replace(flat_wall(), material=glow),))
    part = bake_detail(high, Model(parts=(flat_wall(),)), size_px=64).parts[0]
    assert part.material.emissive is not None
    assert opened(part.material.emissive.data).reshape(-1, 3).mean(axis=0) == pytest.approx(
        [0, 255, 0], abs=3
    )
