"""What a request wants of its delivery, whatever made the model. Older requests get the defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pipeline3d.geometry.pose import Pivot, SizeAxis
from pipeline3d.geometry.web_textures import TextureFormat
from pipeline3d.values import Delivers, JobInput


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """The delivery parameters of the catalogue, under the same names."""

    delivers: str = Delivers.MODEL
    formats: tuple[str, ...] = ()
    profile: str | None = None
    repair: str = "auto"
    target_faces: int | None = None
    bake: str = "none"
    texture_px: int | None = None
    target: str | None = None
    size_m: float | None = None
    size_axis: SizeAxis = "longest"
    pivot: Pivot = "bottom"
    web_codec: Literal["meshopt", "draco"] = "meshopt"
    web_texture_px: int = 1024
    web_texture_format: TextureFormat = "webp"
    camera_azimuth: float = 28.0
    camera_elevation: float = 14.0
    light: str = "studio"
    background: str = "#f4f4f2"

    @property
    def background_rgb(self) -> tuple[int, int, int]:
        """The colour behind the object, 0 to 255."""
        red, green, blue = bytes.fromhex(self.background.removeprefix("#"))
        return red, green, blue


def delivery_of(job: JobInput) -> DeliverySettings:
    """The settings of a request."""
    chosen: dict[str, Any] = {
        name: job.params[name] for name in DeliverySettings.__dataclass_fields__ if name in job.params
    }
    return DeliverySettings(**{**chosen, "formats": tuple(chosen.get("formats", ()))})
