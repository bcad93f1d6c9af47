"""Textures: read, resize in the right light, pack channels, write as JPEG, PNG or WebP, compare.

Colour is stored in sRGB and averaged in linear light; data (metallic-roughness, occlusion) is averaged as it
is; normals are averaged as vectors and made unit again.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.colour_space import to_linear, to_srgb
from pipeline3d.geometry.mesh import Texture, TexturedMesh
from pipeline3d.geometry.refusals import refused

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]
Role = Literal["colour", "data", "normal"]
"""What a picture means: sRGB colour, linear data, or directions in tangent space."""

JPEG, PNG, WEBP = "image/jpeg", "image/png", "image/webp"
FORMATS = {JPEG: "JPEG", PNG: "PNG", WEBP: "WEBP"}
MOST_SIDE = 16_384
"""Pixels: a larger picture is refused before it is decoded."""
MOST_PIXELS = 178_956_970
"""Where Pillow refuses to decode: 13,377 pixels a side of a square; decoding it takes about 1 GB."""
WHOLE_PIXELS = 8_192 * 8_192
"""A picture of more is reduced while it is read, by a whole factor: 16k of RGBA is a gigabyte."""
WEBP_EFFORT = 2
"""libwebp's method. 4, its default, takes twice the time and saves 4 % of the bytes of a photograph."""
SSIM_WINDOW_PX = 7


@dataclass(frozen=True, slots=True)
class Likeness:
    """How near a picture is to the one that it was made from: 45 dB and 0.99 cannot be told apart."""

    psnr_db: float
    ssim: float


def read_pixels(texture: Texture) -> Pixels:
    """(h,w,3) or, where some of it is transparent, (h,w,4), sRGB or data as stored.

    Grey, palette, CMYK and 16-bit pictures become 8-bit RGB. Raises UnusableInput `texture_too_large`,
    `unsupported_texture`, `broken_texture`.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(io.BytesIO(texture.data), formats=tuple(FORMATS.values()))
    except UnidentifiedImageError as error:
        raise refused("unsupported_texture", "a texture is no PNG, JPEG or WebP") from error
    except Image.DecompressionBombError as error:
        raise refused("texture_too_large", f"a texture has more than {MOST_PIXELS:,} pixels") from error
    except Exception as error:  # whatever a damaged header makes of the reader
        raise refused("broken_texture", f"a texture cannot be read ({type(error).__name__})") from error
    if max(picture.size) > MOST_SIDE:
        raise refused(
            "texture_too_large",
            f"a texture has {picture.width:,} × {picture.height:,} pixels; {MOST_SIDE:,} a side are taken",
        )
    try:
        return _as_pixels(_load(picture))
    except Exception as error:
        raise refused("broken_texture", f"a texture cannot be decoded ({type(error).__name__})") from error


def _load(picture: Image.Image) -> Image.Image:
    if picture.width * picture.height <= WHOLE_PIXELS:
        return picture
    if picture.format == "JPEG":
        picture.draft(None, (picture.width // 2, picture.height // 2))
        return picture
    return picture.reduce(2)


def _as_pixels(picture: Image.Image) -> Pixels:
    if picture.mode.startswith("I") or picture.mode == "F":
        # 16-bit grey: Pillow's own conversion clips it instead of scaling
        deep = np.clip(np.asarray(picture, np.float64) / 257.0, 0, 255)
        return np.repeat(np.round(deep).astype(np.uint8)[:, :, None], 3, axis=2)
    transparent = "A" in picture.getbands() or "transparency" in picture.info
    pixels = np.asarray(picture.convert("RGBA" if transparent else "RGB"))
    return drop_alpha(pixels) if transparent and (pixels[:, :, 3] == 255).all() else pixels


def write_pixels(pixels: Pixels, mime_type: str, *, quality: int = 90, lossless: bool = False) -> Texture:
    """The picture (h,w,3 or 4) as a file. JPEG drops transparency; PNG is always without loss.

    `lossless` is for WebP. JPEG from quality 90 on keeps colour at full resolution.
    """
    from PIL import Image

    opaque = drop_alpha(pixels) if mime_type == JPEG else pixels
    options: dict[str, Any] = {}
    if mime_type == JPEG:
        options = {"quality": quality, "optimize": True, "subsampling": 0 if quality >= 90 else 2}
    elif mime_type == WEBP:
        # exact: the colour beneath transparent texels shines through where a renderer filters
        options = {"quality": quality, "lossless": lossless, "method": WEBP_EFFORT, "exact": True}
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(opaque)).save(buffer, FORMATS[mime_type], **options)
    return Texture(data=buffer.getvalue(), mime_type=mime_type)


def transcode(texture: Texture, mime_type: str, *, quality: int = 90, lossless: bool = False) -> Texture:
    """The same picture in another format; one that has it already comes back as it is."""
    if texture.mime_type == mime_type:
        return texture
    return write_pixels(read_pixels(texture), mime_type, quality=quality, lossless=lossless)


def drop_alpha(pixels: Pixels) -> Pixels:
    """(h,w,3) of (h,w,3 or 4)."""
    return np.ascontiguousarray(pixels[:, :, :3])


def shrink(pixels: Pixels, longest_px: int, role: Role) -> Pixels:
    """The picture with its longer side at most `longest_px`; never enlarged, its shape kept."""
    height, width = pixels.shape[:2]
    share = longest_px / max(height, width)
    if share >= 1.0:
        return pixels
    return resize(pixels, (max(1, round(width * share)), max(1, round(height * share))), role)


def resize(pixels: Pixels, size: tuple[int, int], role: Role) -> Pixels:
    """The picture as (width, height) = `size`, averaged in what its values mean."""
    import cv2

    height, width = pixels.shape[:2]
    smaller = size[0] <= width and size[1] <= height
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    if role == "normal":
        return encode_normals(cv2.resize(decode_normals(drop_alpha(pixels)), size, interpolation=method))
    if role == "data":
        return np.asarray(cv2.resize(pixels, size, interpolation=method))
    if pixels.shape[2] == 3:
        linear = cv2.LUT(pixels, _SRGB_TO_LINEAR)
        return _LINEAR_TO_SRGB[np.asarray(cv2.resize(linear, size, interpolation=method))]
    return _resize_transparent(pixels, size, method)


def _resize_transparent(pixels: Pixels, size: tuple[int, int], method: int) -> Pixels:
    """Colours weighed by their alpha, so that what is invisible does not colour the rim."""
    import cv2

    alpha = pixels[:, :, 3:].astype(np.float32) / 255
    linear = cv2.LUT(drop_alpha(pixels), _SRGB_TO_LINEAR).astype(np.float32)
    weighed = np.asarray(cv2.resize(linear * alpha, size, interpolation=method))
    plain = np.asarray(cv2.resize(linear, size, interpolation=method))
    small = np.asarray(cv2.resize(alpha, size, interpolation=method)).reshape(size[1], size[0], 1)
    colour = np.where(small > 0, weighed / np.maximum(small, 1e-6), plain)
    levels = np.clip(np.round(colour), 0, 65535).astype(np.uint16)
    return np.concatenate([_LINEAR_TO_SRGB[levels], np.round(small * 255).astype(np.uint8)], axis=2)


_SRGB_TO_LINEAR = np.round(to_linear(np.arange(256) / 255) * 65535).astype(np.uint16)
_LINEAR_TO_SRGB = np.round(to_srgb(np.arange(65536) / 65535) * 255).astype(np.uint8)
"""16 bits of linear light hold all 256 levels of sRGB, so that there and back changes nothing."""


def decode_normals(pixels: Pixels) -> npt.NDArray[np.float32]:
    """(h,w,3) directions of a normal map, not made unit."""
    return pixels[:, :, :3].astype(np.float32) / 127.5 - 1.0


def encode_normals(vectors: npt.NDArray[Any]) -> Pixels:
    """A normal map (h,w,3) of vectors of any length; those of none point away from the surface."""
    vectors = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=2, keepdims=True)
    unit = np.where(lengths > 1e-6, vectors / np.maximum(lengths, 1e-6), (0.0, 0.0, 1.0))
    return np.round((unit + 1.0) * 127.5).astype(np.uint8)


def pack_channels(
    *, occlusion: Pixels | None = None, roughness: Pixels | None = None, metallic: Pixels | None = None
) -> Pixels:
    """One picture (h,w,3) of up to three (h,w): occlusion red, roughness green, metallic blue, as in glTF.

    What is not given is neutral: unoccluded, rough, and metallic as the factor says (255 each). Pictures of
    different sizes are brought to the largest. Raises ValueError when none is given.
    """
    given = [channel for channel in (occlusion, roughness, metallic) if channel is not None]
    if not given:
        raise ValueError("at least one channel is wanted")
    height, width = max(c.shape[0] for c in given), max(c.shape[1] for c in given)
    packed = np.full((height, width, 3), 255, np.uint8)
    for place, channel in enumerate((occlusion, roughness, metallic)):
        if channel is not None:
            sized = channel
            if channel.shape != (height, width):
                sized = resize(channel[:, :, None], (width, height), "data").reshape(height, width)
            packed[:, :, place] = sized
    return packed


def unpack_channels(pixels: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    """Occlusion, roughness and metallic, (h,w) each, of a packed picture."""
    return pixels[:, :, 0].copy(), pixels[:, :, 1].copy(), pixels[:, :, 2].copy()


def compare_pixels(source: Pixels, found: Pixels) -> Likeness:
    """PSNR over all channels, and mean SSIM of luma (Wang et al. 2004, flat windows of 7 pixels).

    An equal picture has infinite PSNR. Raises ValueError for pictures of different sizes.
    """
    import cv2

    if source.shape[:2] != found.shape[:2]:
        raise ValueError(f"{source.shape[:2]} and {found.shape[:2]} cannot be compared")
    channels = min(source.shape[2], found.shape[2])
    squares = (
        float(cv2.norm(np.ascontiguousarray(source[:, :, :channels]), found[:, :, :channels].copy())) ** 2
    )
    mean = squares / (source.shape[0] * source.shape[1] * channels)
    psnr = float("inf") if mean == 0 else float(10 * np.log10(255**2 / mean))
    return Likeness(psnr_db=psnr, ssim=_ssim(_luma(source), _luma(found)))


def _luma(pixels: Pixels) -> npt.NDArray[np.float32]:
    import cv2

    return np.asarray(cv2.cvtColor(drop_alpha(pixels), cv2.COLOR_RGB2GRAY)).astype(np.float32)


def _ssim(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    import cv2

    window = (SSIM_WINDOW_PX, SSIM_WINDOW_PX)
    mean_a, mean_b = cv2.blur(a, window), cv2.blur(b, window)
    var_a = cv2.blur(a * a, window) - mean_a * mean_a
    var_b = cv2.blur(b * b, window) - mean_b * mean_b
    both = cv2.blur(a * b, window) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ratio = ((2 * mean_a * mean_b + c1) * (2 * both + c2)) / (
        (mean_a * mean_a + mean_b * mean_b + c1) * (var_a + var_b + c2)
    )
    return float(np.mean(ratio))


def mean_angle_deg(source: Pixels, found: Pixels) -> float:
    """The mean angle between the directions of two normal maps of one size."""
    a, b = decode_normals(source), decode_normals(found)
    lengths = np.linalg.norm(a, axis=2) * np.linalg.norm(b, axis=2)
    cosines = np.einsum("hwc,hwc->hw", a, b) / np.maximum(lengths, 1e-6)
    return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean())


def texel_density(mesh: TexturedMesh, size: tuple[int, int]) -> float:
    """Texels along one unit of length, on average over the surface, of a texture of (width, height) = `size`.

    0 for a mesh without texture coordinates or without area.
    """
    if mesh.uvs is None:
        return 0.0
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    crosses = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = float(np.linalg.norm(crosses, axis=1).sum()) / 2
    texels = mesh.uvs[mesh.faces].astype(np.float64) * size
    first, second = texels[:, 1] - texels[:, 0], texels[:, 2] - texels[:, 0]
    covered = float(np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).sum()) / 2
    return float(np.sqrt(covered / area)) if area > 0 else 0.0
