"""What a quality gate judges: one delivery in plain numbers, each of which may be unknown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

BYTES_PER_TEXEL = 4
"""Graphics memory holds RGBA, whatever the file compresses to (KTX2 excepted, which stays small)."""
MIPMAP_SHARE = 4 / 3
"""1 + 1/4 + 1/16 + …: the smaller copies of a texture that every viewer makes."""

Value = bool | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFacts:
    """One model and its files, measured; None is "not measured" and never passes for good.

    Lengths in metres, sizes in bytes. `draw_calls` is the number of primitives, `texture_px` the longest
    side of all pictures, `texture_bytes` what they take in graphics memory (see `texture_memory`),
    `unmapped_parts` the number of textured parts without texture coordinates, `parts_without_normals` as it
    says, `odd_textures` the number of pictures with a side that is no power of two, `ground_gap_m` how far
    the lowest point is from y = 0. `degenerate_share` is of all faces. Bytes of a file that was not asked
    for stay None, as do `glb_errors` and `usdz_complaints` where there is no such file.
    """

    finite: bool | None = None
    faces: int | None = None
    vertices: int | None = None
    draw_calls: int | None = None
    materials: int | None = None
    textures: int | None = None
    texture_px: int | None = None
    texture_bytes: int | None = None
    odd_textures: int | None = None
    texel_density_px_per_m: float | None = None
    unmapped_parts: int | None = None
    parts_without_normals: int | None = None
    glb_bytes: int | None = None
    web_glb_bytes: int | None = None
    usdz_bytes: int | None = None
    glb_errors: int | None = None
    usdz_complaints: int | None = None
    lods: int | None = None
    extents_m: tuple[float, float, float] | None = None
    ground_gap_m: float | None = None
    volume_m3: float | None = None
    watertight: bool | None = None
    manifold: bool | None = None
    winding_consistent: bool | None = None
    components: int | None = None
    genus: int | None = None
    degenerate_share: float | None = None
    thinnest_m: float | None = None
    self_intersections: int | None = None

    @property
    def longest_m(self) -> float | None:
        """The longest side of the bounding box."""
        return None if self.extents_m is None else max(self.extents_m)


def texture_memory(sizes: Iterable[tuple[int, int]]) -> int:
    """Bytes of graphics memory for pictures of these (width, height), with their mipmaps."""
    return round(sum(width * height for width, height in sizes) * BYTES_PER_TEXEL * MIPMAP_SHARE)
