"""Puts a cut-out object into a square frame, and packs such frames as PNG.

Invariant: the object's longer side takes the same share of every frame, so that what comes after
never sees how the photo was taken. Nothing here decides what the object is.
"""

from __future__ import annotations

import numpy as np

from pipeline3d.errors import BrokenArtifact, UnusableInput
from pipeline3d.imaging.matting import Matte
from pipeline3d.imaging.picture import Bytes2D, Picture

VISIBLE_ALPHA = 128
"""From here on a pixel counts as object: half covered, of 255."""

PNG_LEVEL = 1
"""zlib's fastest: the frame is an intermediate file, and level 6 takes five times as long for 15 %."""

MAX_FRAME_PX = 4096
"""Largest side of a frame that is read back; larger ones were not made here."""


def frame_object(
    picture: Picture, matte: Matte, *, foreground_ratio: float = 0.85, size: int = 1024
) -> Bytes2D:
    """The object alone, centred in a square: RGBA uint8 (size, size, 4), straight alpha.

    The longer side of the object's bounding box takes `foreground_ratio` (0 to 1) of the frame. Raises
    `UnusableInput` (`no_clear_object`) if nothing in the matte is visible, `ValueError` for a ratio
    outside (0, 1] or a size below 1.
    """
    import cv2

    if not 0.0 < foreground_ratio <= 1.0 or size < 1:
        raise ValueError(f"foreground_ratio {foreground_ratio} or size {size} is out of range")
    top, bottom, left, right = find_bounds(matte.alpha)
    scale = foreground_ratio * size / max(bottom - top, right - left)
    # Pixel centres lie at half numbers: shift by half a pixel before and after scaling.
    shift_x = size / 2 - scale * (left + right) / 2 + 0.5 * scale - 0.5
    shift_y = size / 2 - scale * (top + bottom) / 2 + 0.5 * scale - 0.5
    transform = np.array([[scale, 0.0, shift_x], [0.0, scale, shift_y]])
    rgb, alpha = picture.rgb, matte.alpha
    smoothing = cv2.INTER_LINEAR
    if scale < 0.5:  # a linear filter sees two pixels only: average away what it would skip
        factor = 2 ** int(np.floor(np.log2(1.0 / scale)))
        small = (max(1, rgb.shape[1] // factor), max(1, rgb.shape[0] // factor))
        ratio = np.array([rgb.shape[1] / small[0], rgb.shape[0] / small[1]])
        rgb = np.asarray(cv2.resize(rgb, small, interpolation=cv2.INTER_AREA), np.uint8)
        alpha = np.asarray(cv2.resize(alpha, small, interpolation=cv2.INTER_AREA), np.uint8)
        transform = np.array(
            [
                [scale * ratio[0], 0.0, shift_x + scale * (ratio[0] - 1) / 2],
                [0.0, scale * ratio[1], shift_y + scale * (ratio[1] - 1) / 2],
            ]
        )
    elif scale > 1.0:
        smoothing = cv2.INTER_CUBIC
    framed_rgb = cv2.warpAffine(
        rgb, transform, (size, size), flags=smoothing, borderMode=cv2.BORDER_REPLICATE
    )
    framed_alpha = cv2.warpAffine(
        alpha, transform, (size, size), flags=smoothing, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )
    return np.dstack([framed_rgb, framed_alpha])


def rescale_frame(frame: Bytes2D, factor: float) -> Bytes2D:
    """The same square frame (n, n, 4) with its object `factor` times as large about the centre.

    As much as fits: an object that would leave the frame is made to fill it.
    """
    import cv2

    side = frame.shape[0]
    top, bottom, left, right = find_bounds(frame[:, :, 3])
    reach = max(side / 2 - min(top, left), max(bottom, right) - side / 2)
    scale = min(factor, side / 2 / reach)
    shift = side / 2 * (1 - scale) + 0.5 * (scale - 1)
    transform = np.array([[scale, 0.0, shift], [0.0, scale, shift]])
    size = (side, side)
    colours = cv2.warpAffine(frame[:, :, :3], transform, size, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(frame[:, :, 3], transform, size, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return np.dstack([colours, alpha])


def find_bounds(alpha: Bytes2D) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of the visible pixels, ends exclusive."""
    rows = np.flatnonzero((alpha >= VISIBLE_ALPHA).any(axis=1))
    columns = np.flatnonzero((alpha >= VISIBLE_ALPHA).any(axis=0))
    if not len(rows):
        raise UnusableInput(
            "The picture shows nothing: every pixel is transparent.",
            code="no_clear_object",
            hint="Send a picture in which the object is opaque.",
            details={"confidence": 0.0},
        )
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def encode_png(pixels: Bytes2D) -> bytes:
    """A PNG file of RGB or RGBA uint8 (h, w, 3 or 4); the same array always gives the same bytes."""
    import cv2

    order = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
    done, content = cv2.imencode(
        ".png", cv2.cvtColor(pixels, order), [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL]
    )
    if not done:
        raise ValueError(f"an array of shape {pixels.shape} cannot be written as PNG")
    return bytes(content)


def decode_rgba_png(data: bytes) -> Bytes2D:
    """The RGBA uint8 (h, w, 4) array of a PNG that `encode_png` made.

    Raises `BrokenArtifact` for anything else: by then the file is ours, not the user's.
    """
    import cv2

    is_png = data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if not is_png or max(width, height) > MAX_FRAME_PX:
        raise BrokenArtifact("The framed picture is not a PNG of ours.", hint="Start the request again.")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as failure:
        raise BrokenArtifact("The framed picture is damaged.", hint="Start the request again.") from failure
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8:
        raise BrokenArtifact(
            "The framed picture is damaged or has no alpha channel.", hint="Start the request again."
        )
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA), dtype=np.uint8)
