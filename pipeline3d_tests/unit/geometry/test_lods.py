"""Levels of detail shrink in faces and pictures and say how far they are off."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline3d.errors import InvalidParameters, UnusableInput
from pipeline3d.geometry.lods import build_lods, shrink_pictures
from pipeline3d.geometry.measuring import measure
from pipeline3d.geometry.mesh import Material, Model, Texture, TexturedMesh
from pipeline3d_tests.awkward_meshes import coloured_torus, textured_sphere


def picture(side: int, kind: str = "PNG", colour: tuple[int, ...] = (90, 120, 200)) -> bytes:
    content = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", (side, side), colour).save(content, kind)
    return content.getvalue()


def side_of(data: bytes) -> int:
    return Image.open(io.BytesIO(data)).width


GLOBE = replace(
    textured_sphere(rows=24, columns=36), texture=picture(512, "JPEG"), texture_mime_type="image/jpeg"
)


def test_each_level_has_fewer_faces_is_closed_and_further_off() -> None:
    model = Model(parts=(GLOBE,))
    levels = build_lods(model)
    assert [level.share for level in levels] == [1.0, 0.5, 0.25, 0.1]
    assert levels[0].model is not None
    assert levels[0].deviation.maximum_m == 0
    for level in levels:
        assert level.reached
        assert level.faces <= 1.05 * level.share * model.face_count
        assert measure(level.model.surface()).watertight
    rms = [level.deviation.rms_m for level in levels]
    assert rms == sorted(rms)
    assert 0 < rms[-1] < 0.05  # the poles keep all of their corners
    assert levels[-1].deviation.relative_rms == pytest.approx(rms[-1] / np.sqrt(3), rel=0.05)


def test_pictures_halve_from_level_to_level_and_keep_their_type() -> None:
    material = Material(
        normal=Texture(data=picture(256, colour=(128, 128, 255)), mime_type="image/png"),
        emissive=Texture(data=picture(128, "WEBP", (9, 9, 9, 120)), mime_type="image/webp"),
    )
    levels = build_lods(Model(parts=(replace(GLOBE, material=material),)))
    assert levels[0].model.parts[0].texture == GLOBE.texture
    for level, base, normal, emissive in zip(
        levels, (512, 256, 128, 64), (256, 128, 64, 64), (128, 64, 64, 64), strict=True
    ):
        part = level.model.parts[0]
        assert part.texture is not None
        assert part.material.normal is not None
        assert part.material.emissive is not None
        assert side_of(part.texture) == base
        assert side_of(part.material.normal.data) == normal
        assert side_of(part.material.emissive.data) == emissive
        assert Image.open(io.BytesIO(part.texture)).format == "JPEG"
        assert Image.open(io.BytesIO(part.material.emissive.data)).format == "WEBP"
    assert levels[2].texture_scale == 0.25


def test_normals_in_a_smaller_normal_map_are_unit_length_and_colours_keep_their_order() -> None:
    columns = np.zeros((256, 256, 3), np.uint8)
    columns[:, ::2], columns[:, 1::2] = (218, 128, 218), (37, 128, 218)
    content = io.BytesIO()
    Image.fromarray(columns).save(content, "PNG")
    part = replace(
        GLOBE,
        texture=picture(256, colour=(250, 10, 20)),
        texture_mime_type="image/png",
        material=Material(normal=Texture(data=content.getvalue(), mime_type="image/png")),
    )
    small = shrink_pictures(Model(parts=(part,)), 1).parts[0]
    assert small.texture is not None
    assert small.material.normal is not None
    assert Image.open(io.BytesIO(small.texture)).getpixel((5, 5)) == (250, 10, 20)
    red, green, blue = Image.open(io.BytesIO(small.material.normal.data)).getpixel((5, 5))
    assert abs(red - 128) <= 1
    assert abs(green - 128) <= 1
    assert blue >= 254


def test_vertex_colours_go_along() -> None:
    ring = coloured_torus(around=48, across=24)
    for level in build_lods(Model(parts=(ring,)), shares=(1, 0.2)):
        part = level.model.parts[0]
        assert part.colours is not None
        assert part.colours.shape == (len(part.vertices), 4)


@pytest.mark.parametrize("shares", [(), (0.5, 1), (1, 1), (1, 0), (1.5, 1), (1, -0.5)])
def test_shares_that_do_not_fall_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(InvalidParameters):
        build_lods(Model(parts=(GLOBE,)), shares=shares)


def test_colours_are_averaged_as_light() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    content = io.BytesIO()
    Image.fromarray(stripes).save(content, "PNG")
    part = replace(GLOBE, texture=content.getvalue(), texture_mime_type="image/png")
    small = shrink_pictures(Model(parts=(part,)), 1).parts[0]
    assert small.texture is not None
    assert Image.open(io.BytesIO(small.texture)).getpixel((5, 5)) == (188, 188, 188)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "unsupported_texture"),
        (b"no picture", "unsupported_texture"),
        (picture(512)[:60], "broken_texture"),
    ],
)
def test_a_texture_that_cannot_be_read_is_refused(data: bytes, code: str) -> None:
    broken: TexturedMesh = replace(GLOBE, texture=data)
    with pytest.raises(UnusableInput) as refusal:
        shrink_pictures(Model(parts=(broken,)), 1)
    assert refusal.value.code == code
