"""The density and colour of a scene at points, with the decoder's first layer folded into the planes.

The first layer is linear and so is sampling a plane: instead of sampling 3 x 40 features and multiplying
them by 64 x 120 weights at each point, the weights are multiplied into the planes once, and a point adds
three samples of 64 numbers. Exact but for rounding; on a lattice the samples become table look-ups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from pipeline3d.generation.triposr.config import PLANES
from pipeline3d.generation.triposr.scene import SceneCode
from pipeline3d.generation.triposr.threads import ChunkWorkers

AXES = ((0, 1), (0, 2), (1, 2))
"""The two coordinates that look up each plane: the first runs along its last axis."""


NEAR = 0.02
"""Of raw density to the level: what lies further away is moved by rounding by 0.0015 voxel at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatticeTables:
    """Samples of the folded planes on a lattice of `resolution` per side, each (resolution**2, width).

    Row `i * resolution + j` belongs to first coordinate i and second coordinate j; the first layer's bias
    is in the first table.
    """

    resolution: int
    tables: tuple[Tensor, Tensor, Tensor]


class Field:
    """Evaluates one scene on the CPU."""

    def __init__(self, scene: SceneCode, workers: ChunkWorkers) -> None:
        self._workers = workers
        planes = torch.from_numpy(scene.planes)
        layers = [(torch.from_numpy(weight), torch.from_numpy(bias)) for weight, bias in scene.decoder]
        self._exact_planes = planes.double()
        self._exact_layers = [(weight.double(), bias.double()) for weight, bias in layers]
        first, self._first_bias = layers[0]
        channels = planes.shape[1]
        self._folded = [
            torch.einsum("oc,chw->ohw", first[:, channels * i : channels * (i + 1)], planes[i])[None]
            for i in range(PLANES)
        ]
        self._hidden = [(weight.t().contiguous(), bias) for weight, bias in layers[1:-1]]
        last, bias = layers[-1]
        self._density = (last[:1].t().contiguous(), bias[:1])
        self._colour = (last[1:].t().contiguous(), bias[1:])

    def build_tables(self, resolution: int) -> LatticeTables:
        """The tables of a lattice from -1 to 1 (in units of the radius) along each axis."""
        ticks = torch.linspace(-1, 1, resolution)
        grid = torch.stack(torch.meshgrid(ticks, ticks, indexing="ij"), dim=-1)[None]
        first, second, third = (_sample(plane, grid).flatten(1).t().contiguous() for plane in self._folded)
        return LatticeTables(resolution=resolution, tables=(first + self._first_bias, second, third))

    def raw_on_lattice(self, lattice: LatticeTables, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Raw density (n) at lattice indices x, y, z (n) int64."""
        side = lattice.resolution
        by_xy, by_xz, by_yz = lattice.tables
        weight, bias = self._density
        raw = torch.empty(len(x))

        def evaluate(part: slice) -> None:
            i, j, k = x[part], y[part], z[part]
            hidden = by_xy.index_select(0, i * side + j)
            hidden += by_xz.index_select(0, i * side + k)
            hidden += by_yz.index_select(0, j * side + k)
            raw[part] = torch.addmm(bias, self._run_hidden(hidden), weight)[:, 0]

        self._workers.run(len(x), evaluate)
        return raw

    def settle(
        self, lattice: LatticeTables, x: Tensor, y: Tensor, z: Tensor, raw: Tensor, level: float
    ) -> None:
        """Raw densities (n) so near to the level that rounding would move the surface, anew in 64 bits.

        Where the density hardly changes from one sample to the next, an error of the tables of 0.00003 moves
        the surface by a hundredth of a voxel. Few samples are so near.
        """
        near = ((raw - level).abs() < NEAR).nonzero()[:, 0]
        if not len(near):
            return
        ticks = torch.linspace(-1, 1, lattice.resolution, dtype=torch.float64)
        points = torch.stack([ticks[axis[near]] for axis in (x, y, z)], dim=1)
        features = [
            _sample(plane[None], points[:, axes][None, None])[:, 0].t()
            for plane, axes in zip(self._exact_planes, AXES, strict=True)
        ]
        hidden = torch.cat(features, dim=1)
        for weight, bias in self._exact_layers[:-1]:
            hidden = functional.silu(torch.addmm(bias, hidden, weight.t()), inplace=True)
        weight, bias = self._exact_layers[-1]
        raw[near] = torch.addmm(bias[:1], hidden, weight[:1].t())[:, 0].to(raw.dtype)

    def colours_at(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Colours (n,3), 0 to 1, at points (n,3) in units of the radius: sRGB, as the photo's."""
        where = torch.from_numpy(np.ascontiguousarray(points, np.float32))
        colours = torch.empty(len(where), 3)
        weight, bias = self._colour

        def evaluate(part: slice) -> None:
            hidden = self._sample_points(where[part])
            colours[part] = torch.sigmoid(torch.addmm(bias, self._run_hidden(hidden), weight))

        self._workers.run(len(where), evaluate)
        result: npt.NDArray[np.float32] = colours.numpy()
        return result

    def _sample_points(self, points: Tensor) -> Tensor:
        """The first layer's sums (n, width) at points (n,3)."""
        total = self._first_bias.expand(len(points), -1)
        for plane, axes in zip(self._folded, AXES, strict=True):
            total = total + _sample(plane, points[:, axes][None, None])[:, 0].t()
        return total.contiguous()

    def _run_hidden(self, hidden: Tensor) -> Tensor:
        """What the last layer sees; overwrites `hidden` (n, width)."""
        hidden = functional.silu(hidden, inplace=True)
        for weight, bias in self._hidden:
            hidden = functional.silu(torch.addmm(bias, hidden, weight), inplace=True)
        return hidden


def _sample(plane: Tensor, grid: Tensor) -> Tensor:
    """(c, h, w) samples of a plane (1,c,s,s) at (1,h,w,2); nothing lies beyond the plane's rim."""
    return functional.grid_sample(plane, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
