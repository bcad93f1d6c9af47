"""Vertex attributes in fewer bits, as KHR_mesh_quantization allows, with the error that each may have.

Positions are whole steps of one grid for the whole model, so that parts that touch still touch; the node
carries the grid's origin and step. Texture coordinates within 0…1 are normalised 16-bit numbers, others
floats of few digits. Normals are octahedral (Meyer et al. 2010).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.mesh import Model

EXTENSION = "KHR_mesh_quantization"
NORMAL_ERROR_DEG = {8: 1.3, 10: 0.4, 12: 0.1}
"""The largest angle between a normal and what is read back, by bits (the mean is a third of it)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """Bits a number. The defaults are what gltfpack and glTF-Transform take for the web."""

    position_bits: int = 14
    normal_bits: int = 8
    uv_bits: int = 12

    def __post_init__(self) -> None:
        for name, bits, least, most in (
            ("positions", self.position_bits, 8, 16),
            ("uvs", self.uv_bits, 8, 16),
        ):
            if not least <= bits <= most:
                raise ValueError(f"{name} take {least} to {most} bits, not {bits}")
        if self.normal_bits not in NORMAL_ERROR_DEG:
            raise ValueError(f"normals take 8, 10 or 12 bits, not {self.normal_bits}")

    @property
    def normal_error_deg(self) -> float:
        """The largest angle by which a normal turns."""
        return NORMAL_ERROR_DEG[self.normal_bits]

    @property
    def uv_error(self) -> float:
        """The largest change of a coordinate: half a step, and half of one of the 16 bits it is kept in."""
        return 0.5 / ((1 << self.uv_bits) - 1) + 0.5 / 65535


@dataclass(frozen=True, slots=True)
class Grid:
    """Positions as counting numbers: `origin` + number × `step`, the same step along all axes."""

    origin: tuple[float, float, float]
    step: float
    bits: int

    @property
    def error(self) -> float:
        """The largest change of a coordinate: half a step, and the rounding of 32-bit floats."""
        largest = max(abs(value) for value in self.origin) + self.step * (1 << self.bits)
        return self.step / 2 + largest * 2.0**-23

    def quantise(self, vertices: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
        """(n,3) positions → numbers."""
        numbers = np.round((vertices.astype(np.float64) - self.origin) / self.step)
        return np.clip(numbers, 0, 2**self.bits - 1).astype(np.uint16)


def grid_of(model: Model, bits: int) -> Grid:
    """The grid that the whole model fills along its longest axis."""
    lows = [part.vertices.min(axis=0) for part in model.parts]
    highs = [part.vertices.max(axis=0) for part in model.parts]
    low = np.min(lows, axis=0).astype(np.float64)
    extent = float((np.max(highs, axis=0).astype(np.float64) - low).max())
    step = extent / ((1 << bits) - 1)
    origin = (float(low[0]), float(low[1]), float(low[2]))
    return Grid(origin=origin, step=step if step > np.finfo(np.float32).tiny else 1.0, bits=bits)


def quantise_uvs(uvs: npt.NDArray[Any], bits: int) -> npt.NDArray[np.uint16] | npt.NDArray[np.float32]:
    """(n,2) coordinates as normalised uint16 where all are in 0…1, else as float32 of `bits` places."""
    steps = (1 << bits) - 1
    exact = uvs.astype(np.float64)
    margin = 0.5 / steps
    if exact.min(initial=0.0) >= -margin and exact.max(initial=1.0) <= 1.0 + margin:
        coarse = np.clip(np.round(exact * steps), 0, steps)
        return np.round(coarse * (65535 / steps)).astype(np.uint16)
    places = float(1 << bits)
    coarse_floats: npt.NDArray[np.float32] = (np.round(exact * places) / places).astype(np.float32)
    return coarse_floats
