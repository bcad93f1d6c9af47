"""Pictures are told by their first bytes."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from pipeline3d.api.file_kinds import identify_image
from pipeline3d.store.contents import HEAD_BYTES


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WebP"])
def test_what_a_real_encoder_writes_is_recognised(format):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(buffer, format)
    assert identify_image(buffer.getvalue()[:HEAD_BYTES]) == format


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\x89PN",  # cut off
        b"%PDF-1.7",
        b"glTF\x02\x00\x00\x00",
        b"<svg xmlns=",  # a picture, but not of pixels
        b"RIFF\x00\x00\x00\x00WAVE",  # the same container, sound
        b"xxxxxxxxWEBP",
        b"\x00" * 16,
    ],
)
def test_what_is_no_picture_is_not_taken_for_one(head):
    assert identify_image(head) is None
