"""Raw densities on a fine lattice, evaluated only where the surface is: from coarse to fine.

A lattice with every `start`-th sample is evaluated first; cells whose corners lie on both sides of the
level are split in eight until the cells are single, at first together with their neighbours. At each step the
surface is then followed: while a cell that it crosses has a corner that was only guessed, that cell and its
neighbours are evaluated too. So parts thinner than a first cell are complete once they are found anywhere.

Invariant: a cell whose corners lie on both sides of the level has eight evaluated corners. What is missed
is only a part that touches no other and slips between the samples, such as crumbs that float in the air.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.generation.triposr.field import Field, LatticeTables

DILATION, LAST_DILATION = 1, 0
"""Cells around a crossed cell that are split with it. The last step needs none, since the surface is followed
where it leaves the cells that were split; with one it takes 1.7 times the samples for the same surface."""
SLAB = 4
"""Layers looked at together: the parts of a large lattice in between then stay in the cache."""
SHARE_OF_LAST_STEP = 0.7
"""Each step has about four times the samples of the one before."""
CORNERS = torch.tensor(list(product((0, 1), repeat=3)))
"""(8,3): from a cell's index to those of its corners."""
AROUND = torch.tensor(list(product((-1, 0, 1, 2), repeat=3)))
"""(64,3): from a cell's index to the corners of it and its neighbours."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampledLattice:
    """raw (n,n,n) float32: evaluated near the surface, elsewhere some value on the right side of the level.

    crossed (n-1,n-1,n-1) bool: the cells with surface; evaluations: how many samples were computed.
    """

    raw: Tensor
    crossed: Tensor
    evaluations: int


def sample_lattice(
    field: Field, resolution: int, level: float, *, start: int, report: Callable[[float], None]
) -> SampledLattice:
    """The lattice of `resolution` samples per side, along axes x, y, z; `start` is a power of two.

    Raises `BrokenModelOutput` (`nan_mesh`) where a density is not finite.
    """
    sampler = _Sampler(field, resolution, level, start)
    while sampler.step > 1:
        report(SHARE_OF_LAST_STEP / sampler.step)
        sampler.refine()
        sampler.follow()
    report(1.0)
    cells = resolution - 1
    return SampledLattice(
        raw=sampler.raw[:resolution, :resolution, :resolution],
        crossed=sampler.find_crossed()[:cells, :cells, :cells],
        evaluations=sampler.evaluations,
    )


class _Sampler:
    """A lattice that grows finer. `raw` is (n,n,n); `known` says where it was evaluated.

    The last samples may lie beyond the lattice that is wanted: they repeat its last one.
    """

    def __init__(self, field: Field, resolution: int, level: float, start: int) -> None:
        self._field = field
        self._tables: LatticeTables = field.build_tables(resolution)
        self._level = level
        self.step = start
        side = -(-(resolution - 1) // start) + 1
        self.raw = torch.empty(side, side, side)
        self.known = torch.zeros(side, side, side, dtype=torch.bool)
        self.evaluations = 0
        self._crossed: Tensor | None = None
        self._evaluate(torch.arange(side**3))

    def find_crossed(self) -> Tensor:
        """(n-1)**3 cells with corners on both sides of the level."""
        if self._crossed is None:
            self._crossed = find_crossed(self.raw > self._level)
        return self._crossed

    def refine(self) -> None:
        """Halve the step; evaluate the cells around the surface, guess all others from their neighbours."""
        cells = dilate(self.find_crossed(), DILATION if self.step > 2 else LAST_DILATION)
        side = 2 * self.raw.shape[0] - 1
        known = torch.zeros(side, side, side, dtype=torch.bool)
        known[::2, ::2, ::2] = self.known
        self.raw, self.known, self.step = spread(self.raw), known, self.step // 2
        found = []
        for parity in product((0, 1), repeat=3):
            mask = cells
            for axis, odd in enumerate(parity):
                mask = mask if odd else touch_along(mask, axis)
            index = mask.nonzero() * 2 + torch.tensor(parity)
            found.append((index[:, 0] * side + index[:, 1]) * side + index[:, 2])
        wanted = torch.cat(found)
        self._evaluate(wanted[~self.known.view(-1)[wanted]])

    def follow(self) -> None:
        """Evaluate on along the surface until no cell that it crosses has a guessed corner."""
        doubtful = (self.find_crossed() & ~all_corners(self.known)).nonzero()
        side = self.raw.shape[0]
        while len(doubtful) > 0:
            corners = (doubtful[:, None] + AROUND).reshape(-1, 3)
            inside = ((corners >= 0) & (corners < side)).all(dim=1)
            index = torch.unique(self._flatten(corners[inside]))
            index = index[~self.known.view(-1)[index]]
            self._evaluate(index)
            doubtful = self._find_doubtful(index)

    def _find_doubtful(self, samples: Tensor) -> Tensor:
        """(m,3) cells at some samples that the surface crosses and that have a guessed corner."""
        side = self.raw.shape[0]
        place = torch.stack([samples // side**2, samples // side % side, samples % side], dim=1)
        cells = (place[:, None] - CORNERS).reshape(-1, 3)
        cells = cells[((cells >= 0) & (cells < side - 1)).all(dim=1)]
        cells = torch.unique(cells, dim=0)
        corners = self._flatten((cells[:, None] + CORNERS).reshape(-1, 3)).view(-1, 8)
        above = (self.raw.view(-1)[corners] > self._level).sum(dim=1)
        guessed = ~self.known.view(-1)[corners].all(dim=1)
        doubtful: Tensor = cells[guessed & (above > 0) & (above < 8)]
        return doubtful

    def _flatten(self, index: Tensor) -> Tensor:
        side = self.raw.shape[0]
        return (index[:, 0] * side + index[:, 1]) * side + index[:, 2]

    def _evaluate(self, index: Tensor) -> None:
        """Evaluate flat indices of samples."""
        side, last = self.raw.shape[0], self._tables.resolution - 1
        x, y, z = (
            (axis * self.step).clamp_(max=last)
            for axis in (index // side**2, index // side % side, index % side)
        )
        raw = self._field.raw_on_lattice(self._tables, x, y, z)
        if not torch.isfinite(raw).all():
            raise BrokenModelOutput(
                "The scene's densities are not finite numbers.",
                code="nan_mesh",
                hint="The weights or the scene code may be damaged.",
            )
        self._field.settle(self._tables, x, y, z, raw, self._level)
        self._crossed = None
        self.raw.view(-1)[index] = raw
        self.known.view(-1)[index] = True
        self.evaluations += len(index)


def find_crossed(above: Tensor) -> Tensor:
    """(n-1)**3 cells whose corners, of (n,n,n) bool, are not all the same."""
    cells = torch.empty([count - 1 for count in above.shape], dtype=torch.bool)
    for begin in range(0, len(cells), SLAB):
        every = some = above[begin : begin + SLAB + 1]
        for axis in range(3):
            count = every.shape[axis] - 1
            every = every.narrow(axis, 0, count) & every.narrow(axis, 1, count)
            some = some.narrow(axis, 0, count) | some.narrow(axis, 1, count)
        cells[begin : begin + SLAB] = some ^ every
    return cells


def all_corners(known: Tensor) -> Tensor:
    """(n-1)**3 cells whose corners, of (n,n,n) bool, are all true."""
    for axis in range(3):
        count = known.shape[axis] - 1
        known = known.narrow(axis, 0, count) & known.narrow(axis, 1, count)
    return known


def dilate(cells: Tensor, times: int) -> Tensor:
    """(n,n,n) bool with all cells that touch a true one, by a corner too."""
    for _ in range(times):
        for axis in range(3):
            grown, count = cells.clone(), cells.shape[axis] - 1
            grown.narrow(axis, 0, count).logical_or_(cells.narrow(axis, 1, count))
            grown.narrow(axis, 1, count).logical_or_(cells.narrow(axis, 0, count))
            cells = grown
    return cells


def touch_along(cells: Tensor, axis: int) -> Tensor:
    """The boundaries between cells along an axis, one more than cells, that belong to a true cell."""
    shape = list(cells.shape)
    shape[axis] = 1
    end = cells.new_zeros(shape)
    return torch.cat([cells, end], dim=axis) | torch.cat([end, cells], dim=axis)


def spread(raw: Tensor) -> Tensor:
    """(2n-1)**3 samples from n**3: new ones repeat the sample before them."""
    side = 2 * raw.shape[0] - 1
    fine = torch.empty(side, side, side)
    fine[::2, ::2, ::2] = raw
    fine[1::2, ::2, ::2] = raw[:-1]
    fine[:, 1::2, ::2] = fine[:, :-1:2, ::2]
    fine[:, :, 1::2] = fine[:, :, :-1:2]
    return fine
