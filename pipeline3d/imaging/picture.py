"""The one value that the steps of this room hand to each other: a decoded picture.

Invariant: eight bits a channel, sRGB, upright. Nothing here knows files, formats or requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Bytes2D: TypeAlias = npt.NDArray[np.uint8]
"""An array of bytes, with the shape that the name beside it states."""

Floats: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A picture ready to work with.

    `rgb` is uint8 (h, w, 3) in sRGB, `alpha` uint8 (h, w) with 0 transparent, or None where the file has
    no transparency. `source_width` and `source_height` are the pixels of the file as it is seen, that
    is after its EXIF rotation and before it was shrunk.
    """

    rgb: Bytes2D
    alpha: Bytes2D | None
    source_format: str
    source_width: int
    source_height: int

    @property
    def width(self) -> int:
        """Pixels across, as decoded."""
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        """Pixels down, as decoded."""
        return int(self.rgb.shape[0])
