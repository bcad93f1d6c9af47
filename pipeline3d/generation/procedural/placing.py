"""Where several things stand: in a row, on, under, behind or in front of each other.

Things keep their relative sizes only in part: an apple is shown at the square root of its share of a
table, or nobody would see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Relation = Literal["on", "under", "behind", "front"]

GAP = 0.12
"""Free space between neighbours, as a share of their width."""
FIT = {"on": 0.72, "under": 0.62}
"""The most of its support's width and depth that a thing on or under it may take."""
SINK = 0.006
"""How deep a thing sinks into what it stands on, as a share of its height: so that they touch."""
BINS = 24
LEAST_CLEARANCE = 0.12
"""Share of a thing's height that must be free below it for something to go under it."""


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """What is placed: points (n,3) of one copy standing on y = 0 around x = z = 0, and how it relates."""

    points: Floats
    count: int
    relation: Relation | None
    anchor: int


@dataclass(frozen=True, slots=True, eq=False)
class Copy:
    """One copy of a thing: its points are multiplied by `scale`, then moved by `offset`."""

    thing: int
    scale: float
    offset: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Copies that move together, and all of their points."""

    copies: tuple[Copy, ...]
    points: Floats

    def transformed(self, scale: float, offset: npt.ArrayLike) -> Block:
        """Scaled about the origin, then moved."""
        by = np.asarray(offset, np.float32)
        copies = tuple(
            Copy(copy.thing, copy.scale * scale, copy.offset * np.float32(scale) + by) for copy in self.copies
        )
        return Block(copies, self.points * np.float32(scale) + by)

    def extent(self) -> Floats:
        """Width, height and depth."""
        return np.asarray(np.ptp(self.points, axis=0), np.float32)


def arrange(things: Sequence[Thing]) -> list[Copy]:
    """Copies of all things, in the order of a row from left to right, with what stands on and around each."""
    roots = [i for i, thing in enumerate(things) if thing.relation is None]
    blocks = [join(build_copies(things, i)) for i in roots]
    return list(join(in_a_row(blocks)).copies)


def build_copies(things: Sequence[Thing], index: int) -> list[Block]:
    """The copies of one thing, set out on a grid; the middle one carries what depends on the thing."""
    thing = things[index]
    single = Block((Copy(index, 1.0, np.zeros(3, np.float32)),), thing.points)
    width, _, depth = single.extent() * (1 + GAP)
    columns = thing.count if thing.count <= 3 else int(np.ceil(np.sqrt(thing.count)))
    rows = -(-thing.count // columns)
    blocks = []
    for i in range(thing.count):
        row, column = divmod(i, columns)
        in_row = min(columns, thing.count - row * columns)
        offset = (width * (column - (in_row - 1) / 2), 0, depth * ((rows - 1) / 2 - row))
        block = single.transformed(1.0, (0, 0, 0))
        if i == min(thing.count // 2, columns // 2):
            block = add_dependents(things, index, block)
        blocks.append(block.transformed(1.0, offset))
    return blocks


def add_dependents(things: Sequence[Thing], index: int, base: Block) -> Block:
    """The block with everything that stands on, under, behind or in front of it."""
    for relation in ("on", "under", "behind", "front"):
        rows = [
            build_copies(things, i)
            for i, thing in enumerate(things)
            if thing.anchor == index and thing.relation == relation
        ]
        if not rows:
            continue
        row = in_a_row([join(copies) for copies in rows]) if len(rows) > 1 else rows[0]
        if relation == "on":
            base = put_on(row, base)
        elif relation == "under":
            base = put_under(row, base)
        else:
            base = put_before(join(row), base, behind=relation == "behind")
    return base


def in_a_row(blocks: Sequence[Block]) -> list[Block]:
    """Blocks side by side along x, around x = 0, their fronts in line."""
    if len(blocks) == 1:
        return list(blocks)
    gap = GAP * float(np.mean([block.extent()[0] for block in blocks]))
    front = max(float(block.points[:, 2].max()) for block in blocks)
    total = sum(float(block.extent()[0]) for block in blocks) + gap * (len(blocks) - 1)
    placed, x = [], -total / 2
    for block in blocks:
        low = block.points[:, 0].min()
        placed.append(block.transformed(1.0, (x - float(low), 0, front - float(block.points[:, 2].max()))))
        x += float(block.extent()[0]) + gap
    return placed


def join(blocks: Sequence[Block]) -> Block:
    """One block of several."""
    copies = tuple(copy for block in blocks for copy in block.copies)
    return Block(copies, np.concatenate([block.points for block in blocks]))


def put_on(blocks: Sequence[Block], base: Block) -> Block:
    """Blocks over the middle of the base, each let down until it rests on it, made smaller if need be."""
    scale = fitting_scale(blocks, base, FIT["on"])
    middle = (base.points.min(axis=0) + base.points.max(axis=0)) / 2
    placed = [base]
    for block in blocks:
        over = block.transformed(scale, (middle[0], 0, middle[2]))
        rise = resting_height(over.points, base.points) - SINK * float(over.extent()[1])
        placed.append(over.transformed(1.0, (0, max(rise, 0.0), 0)))
    return join(placed)


def put_under(blocks: Sequence[Block], base: Block) -> Block:
    """Blocks on the ground below the middle of the base; in front of it where there is no room."""
    scale = fitting_scale(blocks, base, FIT["under"])
    below = join([block.transformed(scale, (0, 0, 0)) for block in blocks])
    low, high = below.points.min(axis=0), below.points.max(axis=0)
    over = base.points[
        (base.points[:, [0, 2]] > low[[0, 2]]).all(axis=1)
        & (base.points[:, [0, 2]] < high[[0, 2]]).all(axis=1)
    ]
    clearance = float(over[:, 1].min()) if len(over) else 0.0
    if clearance < LEAST_CLEARANCE * float(base.extent()[1]):
        return put_before(join(blocks), base, behind=False)
    return join([base, below.transformed(min(1.0, 0.9 * clearance / float(high[1])), (0, 0, 0))])


def put_before(block: Block, base: Block, *, behind: bool) -> Block:
    """A block in front of or behind the base."""
    gap = GAP * float(base.extent()[2] + block.extent()[2])
    if behind:
        z = float(base.points[:, 2].min() - block.points[:, 2].max()) - gap
    else:
        z = float(base.points[:, 2].max() - block.points[:, 2].min()) + gap
    return join([base, block.transformed(1.0, (0, 0, z))])


def fitting_scale(blocks: Sequence[Block], base: Block, share: float) -> float:
    """The factor, at most 1, with which the blocks take no more than a share of the base's ground."""
    room, needed = base.extent(), join(blocks).extent()
    return float(min(1.0, share * room[0] / needed[0], share * room[2] / needed[2]))


def resting_height(points: Floats, support: Floats) -> float:
    """How high points (n,3) must be lifted to rest on the support's points (m,3), 0 where they miss it."""
    low, high = points.min(axis=0)[[0, 2]], points.max(axis=0)[[0, 2]]
    size = np.maximum(high - low, 1e-6)

    def column_of(places: Floats) -> npt.NDArray[np.int64]:
        cell = np.clip(((places[:, [0, 2]] - low) / size * BINS).astype(int), 0, BINS - 1)
        return np.asarray(cell[:, 0] * BINS + cell[:, 1], np.int64)

    within = ((support[:, [0, 2]] >= low) & (support[:, [0, 2]] <= high)).all(axis=1)
    top = np.full(BINS * BINS, -np.inf)
    np.maximum.at(top, column_of(support[within]), support[within, 1])
    bottom = np.full(BINS * BINS, np.inf)
    np.minimum.at(bottom, column_of(points), points[:, 1])
    lift = float((top - bottom).max())
    return lift if np.isfinite(lift) else 0.0
