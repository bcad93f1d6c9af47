"""Turns the bytes of an uploaded file into a picture, or says why that cannot be done.

Invariant: whatever the bytes are, the outcome is a `Picture` or `UnusableInput`; sizes are checked in
the header, before a single pixel is decoded. Nothing here knows where the bytes come from.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np

from pipeline3d.errors import UnusableInput
from pipeline3d.imaging.picture import Picture

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 64_000_000
"""Pixels of the file. Cameras stop at about 60 million; above that a small file is a decompression bomb."""

MAX_SIDE_PX = 2048
"""Longest side that is kept: twice the largest texture that is made from it at the usual quality."""

MIN_SIDE_PX = 32
"""Below this there is no object to see; icons and tracking pixels end here."""

MOST_JPEG_SCANS = 300
"""Passes over a progressive JPEG: encoders make about ten, phones keep a second picture. Each pass costs all
of the pixels and takes no more than a few bytes to ask for."""

ACCEPTED_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Pillow's names. The JPEG reader also takes MPO, a JPEG with a second picture that phones write."""

ACCEPTED_NAMES = "JPEG, PNG, WebP, GIF, BMP or TIFF"

ACCEPTED_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*")
"""How files of the accepted formats begin; used to tell a damaged picture from something else."""

OTHER_SIGNATURES = (
    (0, b"%PDF", "PDF"),
    (0, b"8BPS", "Photoshop"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypheix", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftypavif", "AVIF"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\x00\x00\x01\x00", "ICO"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"<svg", "SVG"),
    (0, b"P6", "PPM"),
    (0, b"P5", "PGM"),
)
"""(offset, bytes, name) of picture formats that people send and that are refused by name."""

ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})
DEEP_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})


def decode_picture(data: bytes, *, max_pixels: int = MAX_PIXELS, max_side: int = MAX_SIDE_PX) -> Picture:
    """The upright sRGB picture in `data`, shrunk so that its longest side is at most `max_side` pixels.

    Works on every pixel mode of the accepted formats: grey, palette, CMYK, 1, 8, 16 and 32 bits, with
    and without transparency. A large JPEG is shrunk while it is decoded. Of an animation the first
    frame is taken. Embedded colour profiles are applied; broken ones are ignored.

    Raises `UnusableInput` with code `empty_file`, `not_an_image`, `unsupported_image_format`,
    `truncated_image`, `image_too_large` (more than `max_pixels` in the header) or `image_too_small`.
    """
    if not data:
        raise UnusableInput(
            "The file is empty.", code="empty_file", hint="Upload the picture again; nothing arrived."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of bombs and odd metadata; we check what matters
        return decode_bytes(data, max_pixels, max_side)


def decode_bytes(data: bytes, max_pixels: int, max_side: int) -> Picture:
    """`decode_picture` for data that is not empty."""
    image = open_header(data, max_pixels)
    check_size(image, max_pixels)
    check_scans(image, data)
    source_format = "JPEG" if image.format == "MPO" else str(image.format)
    source_size = image.size
    try:
        image.draft(None, (max_side, max_side))
        image.load()
    except Exception as failure:  # Pillow's decoders raise nearly every built-in error on damaged data
        raise damaged_picture(source_format) from failure
    try:
        upright = turn_upright(shrink(to_eight_bits(image), max_side))
        rgb, alpha = split_channels(upright)
    except (OSError, ValueError) as failure:  # a palette or profile that contradicts the pixels
        raise damaged_picture(source_format) from failure
    if (upright.width > upright.height) != (source_size[0] > source_size[1]):
        source_size = (source_size[1], source_size[0])
    return Picture(
        rgb=rgb,
        alpha=alpha,
        source_format=source_format,
        source_width=source_size[0],
        source_height=source_size[1],
    )


def open_header(data: bytes, max_pixels: int) -> Image.Image:
    """The picture with only its header read. Raises `UnusableInput` where that is not possible."""
    from PIL import Image

    try:
        return Image.open(io.BytesIO(data), formats=ACCEPTED_FORMATS)
    except Image.DecompressionBombError as failure:
        raise too_large("more than 178", max_pixels) from failure
    except Exception as failure:  # format plug-ins raise nearly every built-in error on damaged data
        raise explain_unreadable(data) from failure


def explain_unreadable(data: bytes) -> UnusableInput:
    """Why no accepted format recognised `data`, from its first bytes."""
    head = data[:32]
    for offset, signature, name in OTHER_SIGNATURES:
        if head[offset:].startswith(signature):
            return UnusableInput(
                f"The file is {name}, which is not accepted.",
                code="unsupported_image_format",
                hint=f"Save it as {ACCEPTED_NAMES} and upload that.",
                details={"format": name},
            )
    if head.startswith(ACCEPTED_SIGNATURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return damaged_picture("picture")
    return UnusableInput(
        f"The file is not a picture: its first bytes are {head[:8].hex(' ')}.",
        code="not_an_image",
        hint=f"Upload a photo as {ACCEPTED_NAMES}.",
    )


def damaged_picture(kind: str) -> UnusableInput:
    """The error for a file that begins as a picture and cannot be decoded to its end."""
    return UnusableInput(
        f"The {kind} file is damaged or was cut short.",
        code="truncated_image",
        hint="Upload it again; if that does not help, open it in an image editor and save it anew.",
    )


def too_large(megapixels: str, max_pixels: int) -> UnusableInput:
    """The error for a picture with more pixels than `max_pixels`."""
    return UnusableInput(
        f"The picture has {megapixels} megapixels; at most {max_pixels / 1e6:.0f} are accepted.",
        code="image_too_large",
        hint=f"Scale it down; more than {MAX_SIDE_PX} pixels a side bring nothing.",
        details={"max_pixels": max_pixels},
    )


def check_size(image: Image.Image, max_pixels: int) -> None:
    """Refuses a picture by the size in its header."""
    width, height = image.size
    if width * height > max_pixels:
        raise too_large(f"{width * height / 1e6:.0f}", max_pixels)
    if min(width, height) < MIN_SIDE_PX:
        raise UnusableInput(
            f"The picture is {width} x {height} pixels; each side needs at least {MIN_SIDE_PX}.",
            code="image_too_small",
            hint="Send a photo of 512 pixels or more; detail that is not in it cannot be made up.",
            details={"width": width, "height": height},
        )


def check_scans(image: Image.Image, data: bytes) -> None:
    """Refuses a JPEG that takes minutes to decode: the marker of a scan cannot stand in its pixels."""
    if image.format not in ("JPEG", "MPO"):
        return
    scans = data.count(b"\xff\xda")
    if scans > MOST_JPEG_SCANS:
        raise UnusableInput(
            f"The JPEG has {scans:,} scans; at most {MOST_JPEG_SCANS} are decoded.",
            code="image_too_large",
            hint="Open it in an image editor and save it anew.",
            details={"max_scans": MOST_JPEG_SCANS},
        )


def to_eight_bits(image: Image.Image) -> Image.Image:
    """The same picture as RGB or RGBA with eight bits a channel, in sRGB."""
    profile = image.info.get("icc_profile")
    if image.mode in DEEP_MODES:
        image = scale_depth(image)
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        return image.convert("RGBA")
    if isinstance(profile, bytes):
        return to_srgb(image, profile)
    return image.convert("RGB")


def scale_depth(image: Image.Image) -> Image.Image:
    """A grey picture of 16 or 32 bits or of floats as eight bits, by the range that its values use.

    Sixteen bits are the whole range, also where a file stores them in a wider type; wider values and
    floats have no agreed white, so their maximum is taken for white.
    """
    from PIL import Image

    values = np.nan_to_num(np.asarray(image).astype(np.float64))
    sixteen_bits = 65535.0
    peak = float(values.max(initial=0.0))
    white = sixteen_bits if image.mode != "F" and 255 < peak <= sixteen_bits else max(peak, 1.0)
    return Image.fromarray((np.clip(values / white, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """`image` converted from its embedded ICC profile to sRGB; a profile that does not fit is ignored."""
    from PIL import ImageCms

    if image.mode not in {"RGB", "CMYK", "L"}:
        return image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in (ImageCms.getProfileDescription(source) or ""):
            return image.convert("RGB")
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image.convert("RGB")
    return converted if converted is not None else image.convert("RGB")


def shrink(image: Image.Image, max_side: int) -> Image.Image:
    """`image` with its longest side at most `max_side` pixels; smaller ones stay as they are."""
    from PIL import Image

    longest = max(image.size)
    if longest <= max_side:
        return image
    size = (
        max(1, round(image.width * max_side / longest)),
        max(1, round(image.height * max_side / longest)),
    )
    # The EXIF rotation is read after this; resize() drops the metadata of a lazily read file.
    exif = image.info.get("exif")
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    if exif is not None:
        small.info["exif"] = exif
    return small


def turn_upright(image: Image.Image) -> Image.Image:
    """`image` turned as its EXIF orientation says; metadata that cannot be read is ignored."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # hostile EXIF raises nearly every built-in error; the pixels are good without it
        return image


def split_channels(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """(rgb uint8 (h, w, 3), alpha uint8 (h, w) or None where every pixel is opaque)."""
    if image.mode != "RGBA":
        return np.array(image.convert("RGB")), None
    pixels = np.array(image)
    alpha = np.ascontiguousarray(pixels[..., 3])
    rgb = np.ascontiguousarray(pixels[..., :3])
    return rgb, None if int(alpha.min()) == 255 else alpha
