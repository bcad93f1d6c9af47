"""The size of an encoded picture by its header, and whether it is whole, without decoding a pixel.

A 16k texture takes a gigabyte when it is decoded, so a stranger's picture is looked at before. PNG
(ISO/IEC 15948), JPEG (ITU T.81, annex B) and WebP (RFC 9649) are read; what is cut short, or is none of
them, is `UnusableInput` `broken_texture` or `unsupported_texture`.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry.refusals import refused

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
START_OF_FRAME = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
START_OF_SCAN, END_OF_IMAGE = 0xDA, b"\xff\xd9"
TAIL_BYTES = 4096
"""Where a JPEG's end is looked for: some cameras and programs append a little of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureHeader:
    """What a picture says of itself."""

    mime_type: str
    width: int
    height: int


def read_picture_header(data: bytes) -> PictureHeader:
    """Type and size of a PNG, JPEG or WebP that is all there. Raises UnusableInput."""
    if data.startswith(PNG_SIGNATURE):
        kind, read = "image/png", _read_png
    elif data.startswith(b"\xff\xd8\xff"):
        kind, read = "image/jpeg", _read_jpeg
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind, read = "image/webp", _read_webp
    else:
        raise refused("unsupported_texture", "a texture is neither PNG nor JPEG nor WebP")
    try:
        width, height = read(data)
    except (struct.error, IndexError) as error:
        raise _damaged(kind) from error
    if width < 1 or height < 1:
        raise _damaged(kind)
    return PictureHeader(mime_type=kind, width=width, height=height)


def _damaged(kind: str) -> UnusableInput:
    return refused("broken_texture", f"a texture ({kind}) is damaged or cut short")


def _read_png(data: bytes) -> tuple[int, int]:
    """From IHDR; every chunk up to IEND must be there with its checksum."""
    at, whole = len(PNG_SIGNATURE), memoryview(data)
    if data[at + 4 : at + 8] != b"IHDR":
        raise _damaged("image/png")
    while True:
        (length,) = struct.unpack_from(">I", data, at)
        (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
        if zlib.crc32(whole[at + 4 : at + 8 + length]) != checksum:
            raise _damaged("image/png")
        if data[at + 4 : at + 8] == b"IEND":
            break
        at += 12 + length
    width, height = struct.unpack_from(">II", data, len(PNG_SIGNATURE) + 8)
    return width, height


def _read_jpeg(data: bytes) -> tuple[int, int]:
    """From the frame header; an end of image must follow."""
    at = 2
    while True:
        if data[at] != 0xFF:
            raise _damaged("image/jpeg")
        while data[at] == 0xFF:  # any number of fill bytes may stand before a marker
            at += 1
        marker = data[at]
        at += 1
        if marker in START_OF_FRAME:
            height, width = struct.unpack_from(">HH", data, at + 3)
            break
        if marker == START_OF_SCAN:
            raise _damaged("image/jpeg")
        if marker not in WITHOUT_LENGTH:
            at += struct.unpack_from(">H", data, at)[0]
    if data.rfind(END_OF_IMAGE, max(at, len(data) - TAIL_BYTES)) < 0:
        raise _damaged("image/jpeg")
    return width, height


def _read_webp(data: bytes) -> tuple[int, int]:
    """From the first chunk: lossy, lossless or extended."""
    if struct.unpack_from("<I", data, 4)[0] + 8 > len(data):
        raise _damaged("image/webp")
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF
