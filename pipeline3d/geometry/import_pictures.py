"""Which pictures of a stranger's model are taken: how large, how many, and as what they are kept."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

from pipeline3d.geometry.import_limits import ImportLimits
from pipeline3d.geometry.mesh import Texture
from pipeline3d.geometry.picture_headers import read_picture_header
from pipeline3d.geometry.refusals import refused

OLD_FORMATS = ("BMP", "TGA", "GIF", "TIFF")
"""What OBJ materials name beside PNG and JPEG; Pillow decodes them."""
MOST_OLD_PX = 67_108_864
"""8192²: those are decoded here, so a quarter of a gigabyte is the most that one takes."""


MOST_JPEG_SCANS = 300
"""Each pass over a progressive JPEG costs all of its pixels, and takes a few bytes to ask for."""


@dataclass
class PictureGate:
    """Counts the pictures of one model against its limits."""

    limits: ImportLimits
    pictures: int = 0
    pixels: int = 0
    _seen: dict[bytes, Texture] = field(default_factory=dict)

    def check(self, data: bytes) -> str:
        """The picture's type. Raises UnusableInput `texture_too_large`, `broken_texture`, ..."""
        header = read_picture_header(data)
        self._count(header.width, header.height)
        if header.mime_type == "image/jpeg" and data.count(b"\xff\xda") > MOST_JPEG_SCANS:
            raise refused("texture_too_large", "a JPEG among its textures has hundreds of scans")
        return header.mime_type

    def take(self, data: bytes) -> Texture:
        """A picture of a format of old too, which becomes a PNG."""
        if data not in self._seen:
            known = data.startswith((b"\x89PNG", b"\xff\xd8", b"RIFF"))
            self._seen[data] = (
                Texture(data=data, mime_type=self.check(data)) if known else self._convert(data)
            )
        return self._seen[data]

    def _count(self, width: int, height: int) -> None:
        limits = self.limits
        if max(width, height) > limits.picture_px:
            raise refused(
                "texture_too_large",
                f"a texture is {width} x {height} pixels; at most {limits.picture_px} a side are taken",
            )
        if width * height > limits.picture_area_px:
            raise refused(
                "texture_too_large",
                f"a texture has {width * height:,} pixels; at most {limits.picture_area_px:,} are taken",
            )
        self.pictures, self.pixels = self.pictures + 1, self.pixels + width * height
        if self.pictures > limits.pictures:
            raise refused("model_too_large", f"it has more than {limits.pictures} pictures")
        if self.pixels > limits.pictures_total_px:
            raise refused(
                "texture_too_large",
                f"its textures have {self.pixels:,} pixels; at most {limits.pictures_total_px:,} are taken",
            )

    def _convert(self, data: bytes) -> Texture:
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(io.BytesIO(data), formats=OLD_FORMATS) as picture:
                width, height = picture.size
                self._count(width, height)
                if width * height > MOST_OLD_PX:
                    raise refused("texture_too_large", f"a {picture.format} is {width} x {height} pixels")
                buffer = io.BytesIO()
                picture.convert("RGBA" if "A" in picture.getbands() else "RGB").save(buffer, "PNG")
        except Image.DecompressionBombError as error:
            raise refused("texture_too_large", "a texture has too many pixels") from error
        except UnidentifiedImageError as error:
            raise refused("unsupported_texture", "a texture is of no known kind") from error
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise refused("broken_texture", "a texture is damaged or cut short") from error
        return Texture(data=buffer.getvalue(), mime_type="image/png")
