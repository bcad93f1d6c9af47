"""What a wrapped model made becomes our mesh, or is refused: nothing is believed."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.made_models import import_model
from pipeline3d.geometry.measuring import measure


def exported(*parts, **transforms) -> bytes:
    scene = trimesh.Scene()
    for number, part in enumerate(parts):
        scene.add_geometry(part, transform=transforms.get(f"at_{number}"))
    return bytes(scene.export(file_type="glb"))


def textured_box() -> trimesh.Trimesh:
    box = trimesh.creation.box()
    picture = Image.new("RGB", (8, 8), (10, 20, 30))
    picture.putpixel((0, 0), (250, 0, 0))
    uv = np.zeros((len(box.vertices), 2))
    uv[:, 1] = 1.0  # trimesh counts from below: the upper left corner
    box.visual = trimesh.visual.TextureVisuals(
        uv=uv, material=trimesh.visual.material.PBRMaterial(baseColorTexture=picture)
    )
    return box


def test_a_plain_mesh_keeps_its_shape_and_its_vertex_colours():
    box = trimesh.creation.box(extents=(1, 2, 3))
    box.visual.vertex_colors = (200, 100, 50, 255)
    mesh = import_model(exported(box))
    assert measure(mesh).watertight
    assert np.allclose(np.ptp(mesh.vertices, axis=0), (1, 2, 3))
    assert mesh.colours is not None
    assert (mesh.colours == (200, 100, 50, 255)).all()
    assert mesh.normals is not None
    assert np.allclose(np.linalg.norm(mesh.normals, axis=1), 1.0, atol=1e-3)


def test_where_a_node_puts_its_mesh_is_where_it_is():
    moved = trimesh.transformations.translation_matrix((5, 0, 0))
    mesh = import_model(exported(trimesh.creation.box(), trimesh.creation.box(), at_1=moved))
    assert len(mesh.faces) == 24
    assert np.isclose(mesh.vertices[:, 0].max(), 5.5)


def test_a_texture_stays_with_its_corner():
    mesh = import_model(exported(textured_box()))
    assert mesh.texture is not None
    assert mesh.uvs is not None
    assert mesh.colours is None
    assert np.allclose(mesh.uvs, 0.0), "the upper left corner, as glTF counts"
    assert Image.open(io.BytesIO(mesh.texture)).size == (8, 8)


def glb_of(document: dict, binary: bytes = b"") -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    body = (
        struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x4E4942) + binary
    )
    return struct.pack("<III", 0x46546C67, 2, 12 + len(body)) + body


def with_nan() -> bytes:
    box = trimesh.creation.box()
    box.vertices[0, 0] = np.nan
    return exported(box)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "broken_glb"),
        (b"no glb at all" * 100, "broken_glb"),
        (exported(trimesh.creation.box())[:-40], "broken_glb"),
        (glb_of({"asset": {"version": "2.0"}, "scenes": [{"nodes": []}], "scene": 0}), "empty_mesh"),
        (
            glb_of({"asset": {"version": "2.0", "generator": "x" * 300}, "scenes": [{"nodes": []}]}),
            "empty_mesh",
        ),
        (exported(textured_box(), textured_box()), "broken_glb"),
        (with_nan(), "nan_mesh"),
    ],
)
def test_what_is_not_one_surface_is_refused(data, code):
    with pytest.raises(BrokenModelOutput) as caught:
        import_model(data)
    assert caught.value.code in (code, "broken_glb")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_file_is_refused_or_read_and_nothing_else(position, value):
    data = bytearray(exported(trimesh.creation.box()))
    data[position % len(data)] = value
    try:
        mesh = import_model(bytes(data))
    except BrokenModelOutput:
        return
    assert len(mesh.faces)
    assert np.isfinite(mesh.vertices).all()
