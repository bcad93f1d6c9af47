"""Files that are made to harm whoever opens them: each is refused with its stable code, quickly, and without
a look at any other file or place.

The rows go through what a run does with an upload: pictures through `decode_picture`, models through
`read_file` (which a run calls in a process of its own with limits of the kernel). What the API itself refuses
when it is told of a file is at the end.
"""

from __future__ import annotations

import base64
import io
import json
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline3d.api.file_kinds import FileKind, check_beginning, kind_of
from pipeline3d.errors import InvalidParameters, UnusableInput
from pipeline3d.geometry.importing import read_file
from pipeline3d.imaging.decoding import decode_picture
from pipeline3d_tests.network_watch import watching

QUICKLY_S = 10.0
"""Of computing, for a slow machine: most take milliseconds, a bomb that goes off minutes."""


# --- pictures


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes, pixels: bytes = b"") -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(pixels, 9))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + body + png_chunk(b"IEND", b"")


def gif(width: int, height: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\x00" * 6
    return screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00;"


def bmp(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info


def tiff(width: int, height: int, *, entries: int | None = None) -> bytes:
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8)]
    tags += [(277, 3, 1), (278, 4, height), (279, 4, 4)]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    directory = struct.pack("<H", entries or len(tags)) + body + struct.pack("<I", 8)  # points at itself
    return b"II*\x00" + struct.pack("<I", 12) + b"\x00" * 4 + directory


def webp(width: int, height: int) -> bytes:
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    extended = b"VP8X" + struct.pack("<I", 10) + b"\x02\x00\x00\x00" + size
    return b"RIFF" + struct.pack("<I", 4 + len(extended)) + b"WEBP" + extended


def photo(kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg_of_many_scans(count: int) -> bytes:
    """A progressive JPEG of 36 million pixels in which every scan says nothing: each costs all of them."""
    buffer = io.BytesIO()
    Image.new("L", (6000, 6000), 128).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    tables = max(data.rindex(b"\xff\xc4", 0, last), data.rindex(b"\xff\xda", 0, last))
    return data[:-2] + data[tables:-2] * count + b"\xff\xd9"


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
HTML = b"<html><script>fetch('http://169.254.169.254/')</script></html>"
XXE = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n(/etc/passwd) (r) file\n"

PICTURES: list[tuple[str, Callable[[], bytes], str]] = [
    ("nothing", lambda: b"", "empty_file"),
    ("zeros", lambda: bytes(4096), "not_an_image"),
    ("text", lambda: b"hello" * 100, "not_an_image"),
    ("HTML", lambda: HTML, "not_an_image"),
    ("SVG that is called PNG", lambda: SVG, "unsupported_image_format"),
    ("XML with an entity of a file", lambda: XXE, "not_an_image"),
    ("PostScript, which is a program", lambda: EPS, "not_an_image"),
    ("PDF", lambda: b"%PDF-1.7\n" + bytes(100), "unsupported_image_format"),
    ("ICO", lambda: b"\x00\x00\x01\x00\x01\x00" + bytes(100), "unsupported_image_format"),
    ("a Windows program", lambda: b"MZ" + bytes(1000), "not_an_image"),
    ("an ELF program", lambda: b"\x7fELF" + bytes(1000), "not_an_image"),
    ("a ZIP", lambda: packed({"a.png": photo("PNG")}), "not_an_image"),
    ("gzip", lambda: b"\x1f\x8b\x08" + bytes(100), "not_an_image"),
    (
        "ImageMagick's script",
        lambda: b"push graphic-context\nimage over 0,0 0,0 'url:http://a'",
        "not_an_image",
    ),
    ("GIF that is HTML after its head", lambda: b"GIF89a" + HTML, "truncated_image"),
    ("JPEG that is HTML after its head", lambda: b"\xff\xd8\xff\xe0" + HTML, "truncated_image"),
    ("PNG's head alone", lambda: b"\x89PNG\r\n\x1a\n", "truncated_image"),
    ("half a PNG", lambda: photo("PNG")[:60], "truncated_image"),
    ("half a JPEG", lambda: photo("JPEG")[:300], "truncated_image"),
    ("half a WebP", lambda: photo("WEBP")[:40], "truncated_image"),
    ("half a GIF", lambda: photo("GIF")[:30], "truncated_image"),
    ("half a TIFF", lambda: photo("TIFF")[:40], "truncated_image"),
    ("half a BMP", lambda: photo("BMP")[:60], "truncated_image"),
    ("PNG of a pixel", lambda: png(1, 1, pixels=b"\x00\x01\x02\x03"), "image_too_small"),
    ("PNG of a line", lambda: png(60_000, 1, pixels=bytes(180_001)), "image_too_small"),
    ("PNG bomb", lambda: png(100_000, 100_000, pixels=bytes(10**7)), "image_too_large"),
    ("PNG bomb, just below the framework's own limit", lambda: png(13_000, 13_000), "image_too_large"),
    ("PNG with the largest numbers", lambda: png(2**31 - 1, 2**31 - 1), "image_too_large"),
    ("PNG without width", lambda: png(0, 64), "truncated_image"),
    ("GIF bomb", lambda: gif(65_535, 65_535), "image_too_large"),
    ("TIFF bomb", lambda: tiff(60_000, 60_000), "image_too_large"),
    ("TIFF with the largest numbers", lambda: tiff(2**31, 2**31), "image_too_large"),
    ("TIFF with more tags than bytes", lambda: tiff(64, 64, entries=65_535), "truncated_image"),
    ("TIFF without its pixels", lambda: tiff(5000, 5000), "truncated_image"),
    ("WebP bomb", lambda: webp(16_384, 16_384), "truncated_image"),
    ("BMP bomb", lambda: bmp(50_000, 50_000), "image_too_large"),
    ("BMP with a negative width", lambda: bmp(-64, 64), "image_too_large"),
    ("JPEG of a thousand empty scans", lambda: jpeg_of_many_scans(1000), "image_too_large"),
    (
        "PNG with a text that unpacks to gigabytes",
        lambda: png(64, 64, png_chunk(b"zTXt", b"a\x00\x00" + zlib.compress(bytes(5 * 10**7), 9))),
        "truncated_image",
    ),
    (
        "PNG with a profile that unpacks to gigabytes and no pixels",
        lambda: png(64, 64, png_chunk(b"iCCP", b"a\x00\x00" + zlib.compress(bytes(5 * 10**7), 9))),
        "truncated_image",
    ),
]


@pytest.mark.parametrize(("build", "code"), [row[1:] for row in PICTURES], ids=[row[0] for row in PICTURES])
def test_a_hostile_picture_is_refused(build, code):
    data = build()
    began = time.process_time()
    with watching() as watched, pytest.raises(UnusableInput) as caught:
        decode_picture(data)
    assert caught.value.code == code
    assert time.process_time() - began < QUICKLY_S
    assert (watched.connections, watched.names) == ([], [])


def test_of_an_animation_bomb_one_frame_is_decoded():
    """A thousand large frames in a few kilobytes: the first is a picture, the rest is never looked at."""
    frames = [Image.new("L", (3000, 3000), shade) for shade in (0, 255)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:] * 20, optimize=False)
    data = buffer.getvalue()
    began = time.process_time()
    assert decode_picture(data).source_width == 3000
    assert time.process_time() - began < QUICKLY_S


def test_an_honest_progressive_jpeg_is_taken():
    assert decode_picture(photo("JPEG", progressive=True)).source_format == "JPEG"


# --- models


def packed(files: dict[str, bytes], **attributes: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = attributes.get("mode", stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
    return buffer.getvalue()


CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype="<f4").tobytes()
TRIANGLE = base64.b64encode(CORNERS + np.array([0, 1, 2], dtype="<u4").tobytes()).decode()


def gltf(**changes: Any) -> bytes:
    """A triangle as glTF, with whole lists of it replaced."""
    document: dict[str, Any] = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": 3, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 36},
            {"buffer": 0, "byteOffset": 36, "byteLength": 12},
        ],
        "buffers": [{"byteLength": 48, "uri": f"data:application/octet-stream;base64,{TRIANGLE}"}],
    }
    document.update(changes)
    return json.dumps(document).encode()


def with_buffer(uri: str, length: int = 48) -> bytes:
    return gltf(buffers=[{"byteLength": length, "uri": uri}])


def with_picture(uri: str) -> bytes:
    primitive = {"attributes": {"POSITION": 0, "TEXCOORD_0": 0}, "indices": 1, "material": 0}
    return gltf(
        images=[{"uri": uri}],
        textures=[{"source": 0}],
        materials=[{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        meshes=[{"primitives": [primitive]}],
        accessors=[
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": 3, "type": "SCALAR"},
        ],
    )


def with_embedded_picture(data: bytes) -> bytes:
    return with_picture(f"data:image/jpeg;base64,{base64.b64encode(data).decode()}")


def with_accessor(**changes: Any) -> bytes:
    first = {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", **changes}
    first = {name: value for name, value in first.items() if value is not None}
    return gltf(accessors=[first, {"bufferView": 1, "componentType": 5125, "count": 3, "type": "SCALAR"}])


def glb(*, length: int | None = None, chunk: int | None = None) -> bytes:
    text = gltf()
    text += b" " * (-len(text) % 4)
    size = 20 + len(text)
    head = struct.pack("<4sII", b"glTF", 2, size if length is None else length)
    return head + struct.pack("<I4s", len(text) if chunk is None else chunk, b"JSON") + text


def stl(count: int, body: bytes = bytes(50)) -> bytes:
    return b"\x00" * 80 + struct.pack("<I", count) + body


def ply(faces: int, vertices: int = 3, body: str = "0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n") -> bytes:
    head = f"ply\nformat ascii 1.0\nelement vertex {vertices}\nproperty float x\nproperty float y\n"
    head += f"property float z\nelement face {faces}\nproperty list uchar int vertex_indices\nend_header\n"
    return (head + body).encode()


LAUGHS = b'<?xml version="1.0"?><!DOCTYPE m [<!ENTITY a "ha">' + b"".join(
    b'<!ENTITY %c "%s">' % (98 + number, b"&%c;" % (97 + number) * 10) for number in range(9)
)
LAUGHS += b']><model unit="millimeter"><resources>&j;</resources></model>'
MODEL_PATH = "3D/3dmodel.model"

MODELS: list[tuple[str, str, Callable[[], bytes], str]] = [
    ("a model of nothing", "a.glb", lambda: b"", "broken_model_file"),
    ("a picture that is called GLB", "a.glb", lambda: photo("PNG"), "broken_model_file"),
    ("a program that is called a model", "a.exe", lambda: b"MZ" + bytes(99), "unsupported_format"),
    ("a shell script", "a.sh", lambda: b"#!/bin/sh\nrm -rf /\n", "unsupported_format"),
    ("a Python pickle", "a.pkl", lambda: b"\x80\x04\x95", "unsupported_format"),
    ("a Blender file, which holds programs", "a.blend", lambda: b"BLENDER-v300", "unsupported_format"),
    ("GLB that says it is larger", "a.glb", lambda: glb(length=2**32 - 1), "broken_model_file"),
    ("GLB with a part that is larger", "a.glb", lambda: glb(chunk=2**32 - 4), "broken_model_file"),
    ("GLB's head alone", "a.glb", lambda: glb()[:12], "broken_model_file"),
    ("glTF that is no JSON", "a.gltf", lambda: b'{"asset":', "broken_model_file"),
    ("JSON without an end of brackets", "a.gltf", lambda: b'{"asset":' + b"[" * 10**5, "broken_model_file"),
    ("a file of this machine", "a.gltf", lambda: with_buffer("file:///etc/passwd"), "external_reference"),
    ("an absolute path", "a.gltf", lambda: with_buffer("/etc/passwd"), "external_reference"),
    ("a path upwards", "a.gltf", lambda: with_buffer("../../../etc/passwd"), "external_reference"),
    ("a neighbour", "a.gltf", lambda: with_buffer("secret.bin"), "external_reference"),
    (
        "a place in the network",
        "a.gltf",
        lambda: with_buffer("http://169.254.169.254/"),
        "external_reference",
    ),
    (
        "the same in capitals",
        "a.gltf",
        lambda: with_buffer("HTTPS://example.com/a.bin"),
        "external_reference",
    ),
    ("a place without a scheme", "a.gltf", lambda: with_buffer("//example.com/a.bin"), "external_reference"),
    ("a Windows share", "a.gltf", lambda: with_buffer("\\\\server\\share\\a.bin"), "external_reference"),
    ("a drive", "a.gltf", lambda: with_buffer("C:/Windows/win.ini"), "external_reference"),
    ("a picture in the network", "a.gltf", lambda: with_picture("http://127.0.0.1/"), "external_reference"),
    ("a picture of this machine", "a.gltf", lambda: with_picture("file:///etc/passwd"), "external_reference"),
    (
        "a picture of a thousand empty scans",
        "a.gltf",
        lambda: with_embedded_picture(jpeg_of_many_scans(1000)),
        "texture_too_large",
    ),
    ("data that is no base64", "a.gltf", lambda: with_buffer("data:;base64,%%%"), "broken_model_file"),
    (
        "data that is shorter than it says",
        "a.gltf",
        lambda: with_buffer("data:;base64,AAAA"),
        "broken_model_file",
    ),
    (
        "data that says it has gigabytes",
        "a.gltf",
        lambda: with_buffer("data:;base64,AAAA", 2**40),
        "broken_model_file",
    ),
    ("a negative length", "a.gltf", lambda: with_buffer("data:;base64,AAAA", -1), "broken_model_file"),
    ("a billion vertices in 36 bytes", "a.gltf", lambda: with_accessor(count=10**9), "model_too_large"),
    (
        "a billion vertices of nothing",
        "a.gltf",
        lambda: with_accessor(count=10**9, bufferView=None),
        "model_too_large",
    ),
    ("a negative count", "a.gltf", lambda: with_accessor(count=-1), "broken_model_file"),
    ("a view that is not there", "a.gltf", lambda: with_accessor(bufferView=99), "broken_model_file"),
    ("a node that is its own child", "a.gltf", lambda: gltf(nodes=[{"children": [0]}]), "broken_model_file"),
    (
        "a tree of a thousand levels",
        "a.gltf",
        lambda: gltf(nodes=[*({"children": [n + 1]} for n in range(1000)), {"mesh": 0}]),
        "model_too_large",
    ),
    (
        "two to the thirtieth nodes by nine lines",
        "a.gltf",
        lambda: gltf(nodes=[*({"children": [n + 1] * 10} for n in range(9)), {"mesh": 0}]),
        "broken_model_file",
    ),
    (
        "an extension that must be understood",
        "a.gltf",
        lambda: gltf(extensionsRequired=["EVIL_programs"]),
        "unsupported_extension",
    ),
    ("STL that says it has four billion faces", "a.stl", lambda: stl(2**32 - 1), "broken_model_file"),
    ("STL without its faces", "a.stl", lambda: stl(1000), "broken_model_file"),
    ("PLY that says it has a trillion faces", "a.ply", lambda: ply(10**12), "model_too_large"),
    ("PLY that says it has a billion vertices", "a.ply", lambda: ply(1, 10**9), "model_too_large"),
    ("PLY with a negative count", "a.ply", lambda: ply(-1), "broken_model_file"),
    (
        "OBJ that names vertices which are not there",
        "a.obj",
        lambda: b"v 0 0 0\nf 1 2000000000 3\n",
        "broken_model_file",
    ),
    ("OBJ of infinities", "a.obj", lambda: b"v inf nan 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "nan_mesh"),
    ("half a ZIP", "a.zip", lambda: packed({"a.glb": glb()})[:-40], "archive_refused"),
    ("a ZIP of nothing", "a.zip", lambda: packed({}), "archive_refused"),
    ("a ZIP without a model", "a.zip", lambda: packed({"a.txt": b"a"}), "archive_refused"),
    ("a ZIP in a ZIP", "a.zip", lambda: packed({"b.zip": packed({"a.glb": glb()})}), "archive_refused"),
    ("a path out of the ZIP", "a.zip", lambda: packed({"../../a.glb": glb()}), "archive_refused"),
    ("an absolute path in a ZIP", "a.zip", lambda: packed({"/etc/cron.d/a.glb": glb()}), "archive_refused"),
    ("a Windows path in a ZIP", "a.zip", lambda: packed({"..\\a.glb": glb()}), "archive_refused"),
    ("a drive in a ZIP", "a.zip", lambda: packed({"C:a.glb": glb()}), "archive_refused"),
    (
        "a link in a ZIP",
        "a.zip",
        lambda: packed({"a.glb": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777),
        "archive_refused",
    ),
    (
        "a device in a ZIP",
        "a.zip",
        lambda: packed({"a.glb": b""}, mode=stat.S_IFBLK | 0o666),
        "archive_refused",
    ),
    ("a bomb in a ZIP", "a.zip", lambda: packed({"a.obj": bytes(3 * 10**7)}), "archive_refused"),
    (
        "more files than a model has",
        "a.zip",
        lambda: packed({f"{n}.txt": b"" for n in range(1500)}),
        "archive_refused",
    ),
    (
        "glTF in a ZIP that names a file outside",
        "a.zip",
        lambda: packed({"a/a.gltf": with_buffer("../../etc/passwd")}),
        "external_reference",
    ),
    (
        "the same with encoded dots",
        "a.zip",
        lambda: packed({"a.gltf": with_buffer("%2e%2e/%2e%2e/etc/passwd")}),
        "external_reference",
    ),
    ("3MF that is no ZIP", "a.3mf", lambda: b"<model/>", "archive_refused"),
    ("3MF with a billion laughs", "a.3mf", lambda: packed({MODEL_PATH: LAUGHS}), "archive_refused"),
    (
        "3MF with an entity of a file",
        "a.3mf",
        lambda: packed({MODEL_PATH: XXE.replace(b"<a>&b;</a>", b"<model>&b;</model>")}),
        "archive_refused",
    ),
]


@pytest.mark.parametrize(
    ("name", "build", "code"), [row[1:] for row in MODELS], ids=[row[0] for row in MODELS]
)
def test_a_hostile_model_is_refused(tmp_path: Path, name, build, code):
    (tmp_path / "secret.bin").write_bytes(bytes(48))  # a neighbour that nobody may read
    (tmp_path / name).write_bytes(build())
    before = {path.name for path in tmp_path.rglob("*")}
    began = time.process_time()
    with watching() as watched, pytest.raises(UnusableInput) as caught:
        read_file(tmp_path / name)
    assert caught.value.code == code
    assert time.process_time() - began < QUICKLY_S
    assert (watched.connections, watched.names) == ([], [])
    assert "root:" not in str(caught.value)
    assert {path.name for path in tmp_path.rglob("*")} == before  # nothing was unpacked


def test_the_rows_are_made_of_a_file_that_is_taken(tmp_path):
    (tmp_path / "a.gltf").write_bytes(gltf())
    (tmp_path / "a.glb").write_bytes(glb())
    assert read_file(tmp_path / "a.gltf").model.parts
    assert read_file(tmp_path / "a.glb").model.parts


# --- what the API refuses before anything is stored or read


@pytest.mark.parametrize(
    ("filename", "content_type"),
    [
        ("a.svg", "image/svg+xml"),
        ("a.html", "text/html"),
        ("a.png", "text/html"),
        ("a.png", "image/svg+xml"),
        ("a.js", "application/javascript"),
        ("a.pdf", "application/pdf"),
        ("a.glb.exe", "model/gltf-binary"),
        ("a.exe", "application/octet-stream"),
        ("a.zip", "text/html"),
        ("a.glb", "model/<script>"),
        ("a.glb", "model/gltf-binary\r\nset-cookie: a=b"),
        ("", ""),
    ],
)
def test_a_file_that_is_of_no_kind_is_refused_by_its_name_and_type(filename, content_type):
    with pytest.raises(InvalidParameters) as caught:
        kind_of(filename, content_type)
    assert caught.value.code == "unsupported_content_type"


@pytest.mark.parametrize(
    ("kind", "filename", "head", "code"),
    [
        (FileKind.PICTURE, "a.png", SVG, "not_an_image"),
        (FileKind.PICTURE, "a.png", HTML, "not_an_image"),
        (FileKind.PICTURE, "a.png", b"", "not_an_image"),
        (FileKind.PICTURE, "a.png", b"RIFF\x00\x00\x00\x00WAVE", "not_an_image"),
        (FileKind.PICTURE, "a.png", b"\x7fELF", "not_an_image"),
        (FileKind.MODEL, "a.glb", b"<html>", "not_a_model"),
        (FileKind.MODEL, "a.zip", b"MZ", "not_a_model"),
        (FileKind.MODEL, "a.gltf", b"<svg", "not_a_model"),
        (FileKind.MODEL, "a.ply", b"\x7fELF", "not_a_model"),
    ],
)
def test_a_file_that_begins_as_another_kind_is_refused_by_the_api(kind, filename, head, code):
    with pytest.raises(InvalidParameters) as caught:
        check_beginning(kind, head, filename)
    assert caught.value.code == code


def test_there_are_enough_rows_and_none_twice():
    names = [name for name, *_ in PICTURES] + [name for name, *_ in MODELS]
    assert len(names) >= 60
    assert len(set(names)) == len(names)
