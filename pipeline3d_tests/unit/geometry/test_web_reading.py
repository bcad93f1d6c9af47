"""Compressed files of strangers: what is well made is read, what lies is refused before it costs anything."""

from __future__ import annotations

import contextlib
import copy
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry import web_reading
from pipeline3d.geometry.draco_codec import EXTENSION as DRACO
from pipeline3d.geometry.glb import encode_model
from pipeline3d.geometry.gltf_container import pack, unpack
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.meshopt_codec import EXTENSION as MESHOPT
from pipeline3d.geometry.web import compress
from pipeline3d.geometry.web_reading import decompress, expand
from pipeline3d_tests.awkward_meshes import build, textured_sphere

MODEL = Model(parts=(textured_sphere(),))
FILES = {codec: compress(MODEL, codec=codec, name="ball") for codec in ("meshopt", "draco")}
OPENED = {codec: unpack(data) for codec, data in FILES.items()}


def with_document(codec: str, change: Any) -> bytes:
    """The file with its JSON changed by a function."""
    document = copy.deepcopy(OPENED[codec][0])
    change(document)
    return pack(document, [OPENED[codec][1]])


def coded_views(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [view for view in document["bufferViews"] if MESHOPT in view.get("extensions", {})]


def set_in_coding(**entries: object) -> Any:
    """Changes the extension of every compressed view."""

    def change(document: dict[str, Any]) -> None:
        for view in coded_views(document):
            view["extensions"][MESHOPT].update(entries)

    return change


def set_in_stream(**entries: object) -> Any:
    def change(document: dict[str, Any]) -> None:
        document["meshes"][0]["primitives"][0]["extensions"][DRACO].update(entries)

    return change


def set_count(count: int) -> Any:
    def change(document: dict[str, Any]) -> None:
        for view in coded_views(document):
            coding = view["extensions"][MESHOPT]
            coding["count"] = count
            view["byteLength"] = count * coding["byteStride"]

    return change


def shift_length(document: dict[str, Any]) -> None:
    coded_views(document)[0]["byteLength"] += 4


def set_stride(document: dict[str, Any]) -> None:
    coded_views(document)[0]["byteStride"] = 16


def drop_coding(document: dict[str, Any]) -> None:
    del coded_views(document)[0]["extensions"]


def shrink_indices(document: dict[str, Any]) -> None:
    document["accessors"][document["meshes"][0]["primitives"][0]["indices"]]["count"] = 3


def set_kind(document: dict[str, Any]) -> None:
    document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]["type"] = "VEC2"


LIES = {
    "a view behind the end": ("meshopt", set_in_coding(byteOffset=10**9)),
    "a view before the start": ("meshopt", set_in_coding(byteOffset=-4)),
    "a stream of no bytes": ("meshopt", set_in_coding(byteLength=0)),
    "a buffer that does not exist": ("meshopt", set_in_coding(buffer=9)),
    "a buffer of a negative number": ("meshopt", set_in_coding(buffer=-1)),
    "the empty buffer itself": ("meshopt", set_in_coding(buffer=1)),
    "a count that is no number": ("meshopt", set_in_coding(count="many")),
    "no count": ("meshopt", set_in_coding(count=None)),
    "a stride of nothing": ("meshopt", set_in_coding(byteStride=0)),
    "more rows than the stream has": ("meshopt", set_count(30_000)),
    "a terabyte": ("meshopt", set_count(10**12)),
    "another length than it decodes to": ("meshopt", shift_length),
    "another stride than it decodes to": ("meshopt", set_stride),
    "a plain view of the empty buffer": ("meshopt", drop_coding),
    "another mode": ("meshopt", set_in_coding(mode="INDICES")),
    "a stream in no view": ("draco", set_in_stream(bufferView=99)),
    "a stream in the picture's view": ("draco", set_in_stream(bufferView=1)),
    "an attribute that is not in the stream": ("draco", set_in_stream(attributes={"POSITION": 77})),
    "attributes that are no names": ("draco", set_in_stream(attributes=[1, 2])),
    "more faces than the accessor says": ("draco", shrink_indices),
    "positions of two numbers": ("draco", set_kind),
}


@pytest.mark.parametrize(("codec", "change"), LIES.values(), ids=LIES.keys())
def test_a_file_that_lies_is_refused(codec, change):
    with pytest.raises(UnusableInput) as refusal:
        decompress(with_document(codec, change))
    assert refusal.value.code in ("broken_model_file", "model_too_large")


def test_what_a_file_decodes_to_is_bounded_in_all(monkeypatch):
    monkeypatch.setattr(web_reading, "MOST_DECODED_BYTES", 4000)
    for data in FILES.values():
        with pytest.raises(UnusableInput) as refusal:
            decompress(data)
        assert refusal.value.code == "model_too_large"


@given(place=st.integers(0, 2**20), value=st.integers(0, 255), cut=st.integers(0, 400))
@settings(max_examples=40, deadline=None)
def test_damage_anywhere_in_meshopt_content_is_refused_or_harmless(place, value, cut):
    document, content = OPENED["meshopt"]
    damaged = bytearray(content)
    damaged[place % len(damaged)] = value
    for data in (pack(document, [bytes(damaged)]), pack(document, [bytes(content[: len(content) - cut])])):
        with contextlib.suppress(UnusableInput):
            found = decompress(data)
            assert found.surface().faces.max() < found.vertex_count


@given(cut=st.integers(0, len(FILES["meshopt"]) - 1))
@settings(max_examples=25, deadline=None)
def test_a_truncated_file_is_refused(cut):
    with pytest.raises(UnusableInput):
        decompress(FILES["meshopt"][:cut])


@pytest.mark.parametrize("codec", FILES)
def test_expanding_leaves_its_arguments_and_gives_a_plain_document(codec):
    document, content = OPENED[codec]
    before = copy.deepcopy(document)
    plain, buffers = expand(document, [content])
    assert document == before
    assert MESHOPT not in str(plain["bufferViews"])
    assert DRACO not in str(plain["meshes"])
    assert len(buffers) == len(plain["buffers"])
    for number, buffer in enumerate(buffers[1:], start=1):
        assert len(buffer) in (0, plain["buffers"][number]["byteLength"])


def test_a_plain_file_is_read_as_it_is():
    found = decompress(encode_model(MODEL, name="ball")).parts[0]
    assert np.array_equal(found.vertices, MODEL.parts[0].vertices)


def turned(document: dict[str, Any]) -> None:
    """A quarter turn around the upward axis, mirrored, and moved, above the node that places the grid."""
    document["nodes"].append({"children": [0], "rotation": [0, 2**-0.5, 0, 2**-0.5], "scale": [1, 1, -2]})
    document["nodes"].append({"children": [1], "translation": [10, 0, 0]})
    document["scenes"][0]["nodes"] = [2]


def test_nodes_move_turn_and_mirror_what_they_hold():
    ball = decompress(FILES["meshopt"]).parts[0]
    found = decompress(with_document("meshopt", turned)).parts[0]
    assert np.allclose(found.vertices, ball.vertices[:, [2, 1, 0]] * (-2, 1, -1) + (10, 0, 0), atol=1e-5)
    corners = found.vertices[found.faces] - np.float32([10, 0, 0])
    outwards = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((outwards * corners.mean(axis=1)).sum(axis=1) > 0).all(), "a mirrored surface is inside out"
    assert found.normals is not None
    assert np.allclose(np.linalg.norm(found.normals, axis=1), 1, atol=1e-5)
    rays = corners.mean(axis=1) * (0.25, 1, 1)
    assert ((found.normals[found.faces[:, 0]] * rays).sum(axis=1) > 0).all()


def rename_extension(document: dict[str, Any]) -> None:
    newer = "KHR_meshopt_compression"
    for entry in (*coded_views(document), document["buffers"][1]):
        entry["extensions"] = {newer: entry["extensions"][MESHOPT]}
    for key in ("extensionsUsed", "extensionsRequired"):
        document[key] = [newer if name == MESHOPT else name for name in document[key]]


def test_the_extensions_later_name_is_read_as_well():
    found = decompress(with_document("meshopt", rename_extension)).parts[0]
    assert np.array_equal(found.vertices, decompress(FILES["meshopt"]).parts[0].vertices)


def test_several_parts_stay_several():
    model = build("two_parts")
    assert len(decompress(compress(model, name="two")).parts) == 2


def test_a_file_without_any_mesh_is_refused():
    data = pack(
        {"asset": {"version": "2.0"}, "extensionsUsed": [MESHOPT], "buffers": [{"byteLength": 4}]}, [b"1234"]
    )
    with pytest.raises(UnusableInput) as refusal:
        decompress(data)
    assert refusal.value.code == "empty_mesh"
    with pytest.raises(UnusableInput):
        decompress(struct.pack("<4sII", b"glTF", 2, 12))
