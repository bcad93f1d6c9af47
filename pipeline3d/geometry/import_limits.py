"""How much of a stranger's model is taken, each limit with its unit."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportLimits:
    """Bounds on a file before it is read and on the model that it holds. What is over one is refused."""

    file_bytes: int = 512 * MIB
    faces: int = 5_000_000
    vertices: int = 8_000_000
    nodes: int = 100_000
    depth: int = 200
    """Nodes above one another; exporters of skeletons reach about 100."""
    primitives: int = 20_000
    pictures: int = 256
    picture_px: int = 16_384
    """A side; graphics cards take no more."""
    picture_area_px: int = 178_956_970
    """Of one picture; what draws and encodes them decodes no more."""
    pictures_total_px: int = 600_000_000
    archive_files: int = 1_000
    archive_bytes: int = 2_048 * MIB
    """Unpacked, all files together."""
    archive_ratio: int = 200
    """Unpacked to packed bytes of a file; text of triangles packs to about a tenth."""


LIMITS = ImportLimits()
