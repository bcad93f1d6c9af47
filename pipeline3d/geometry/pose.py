"""Where a model stands, how large it is, and in which unit and with which axis up it is written.

In memory a model is in metres with Y up and its front towards +Z. `place` gives it its size and its origin;
other units and axes are for files of programs that expect them, and come last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import BrokenModelOutput, InvalidParameters
from pipeline3d.geometry.mesh import Floats, Model, TexturedMesh

SizeAxis = Literal["longest", "x", "y", "z"]
Pivot = Literal["bottom", "center"]
UpAxis = Literal["y", "z"]
Unit = Literal["m", "cm", "mm", "in"]

UNITS_PER_METRE: dict[Unit, float] = {"m": 1.0, "cm": 100.0, "mm": 1000.0, "in": 1 / 0.0254}
SMALLEST_M, LARGEST_M = 1e-4, 1e4
"""A tenth of a millimetre to ten kilometres: beyond, 32-bit floats or viewers lose the shape."""
Z_UP = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float64)
"""A quarter turn about x: what was up (+Y) is +Z, what was in front (+Z) is -Y; a turn, so winding stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a receiving program expects of a file's origin, up axis and unit, and why."""

    name: str
    pivot: Pivot
    up_axis: UpAxis
    unit: Unit
    sentence: str


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name="web",
            pivot="bottom",
            up_axis="y",
            unit="m",
            sentence="glTF is Y up in metres, and viewers let a model stand on its lowest point.",
        ),
        Target(
            name="shopify",
            pivot="bottom",
            up_axis="y",
            unit="m",
            sentence="Shopify shows GLBs in AR at their true size in metres, standing on the floor, Y up.",
        ),
        Target(
            name="ios",
            pivot="bottom",
            up_axis="y",
            unit="m",
            sentence="AR Quick Look puts the origin of a Y-up USDZ on the found plane; ours are in metres.",
        ),
        Target(
            name="unity",
            pivot="bottom",
            up_axis="y",
            unit="m",
            sentence="One Unity unit is a metre and Y is up; its importers mirror glTF's axes themselves.",
        ),
        Target(
            name="unreal",
            pivot="bottom",
            up_axis="z",
            unit="cm",
            sentence="Unreal counts centimetres with Z up; for OBJ and STL, its glTF import converts itself.",
        ),
        Target(
            name="slicer",
            pivot="bottom",
            up_axis="z",
            unit="mm",
            sentence="Slicers read STL and 3MF as millimetres and put the lowest Z on the bed.",
        ),
    )
}


def place(
    model: Model,
    *,
    size_m: float | None,
    size_axis: SizeAxis = "longest",
    pivot: Pivot = "bottom",
    up_axis: UpAxis = "y",
    unit: Unit = "m",
) -> Model:
    """Scale evenly until the side along `size_axis` is `size_m` metres, and move the origin to the pivot.

    The axes of `size_axis` are those of the model in memory (y is its height). `bottom`: the middle of the
    base, `center`: the middle of the bounds. With `size_m` None the model keeps its size. Then coordinates
    are turned to the up axis, normals with them, and counted in `unit`. Raises InvalidParameters
    `bad_size` for sizes that no model can have, BrokenModelOutput `empty_mesh` without extent on that axis.
    """
    low, high = _bounds(model)
    side = _side(high - low, size_axis)
    if size_m is not None and not SMALLEST_M <= size_m <= LARGEST_M:
        raise InvalidParameters(
            f"The size {size_m:g} m is out of range.",
            code="bad_size",
            hint=f"Sizes from {SMALLEST_M:g} m to {LARGEST_M:g} m are taken.",
        )
    scale = (1.0 if size_m is None else size_m / side) * UNITS_PER_METRE[unit]
    origin = (low + high) / 2
    if pivot == "bottom":
        origin[1] = low[1]
    turn = Z_UP if up_axis == "z" else np.eye(3)
    return Model(parts=tuple(_moved(part, origin, scale, turn) for part in model.parts))


def place_for(
    model: Model,
    target: str,
    *,
    size_m: float | None,
    size_axis: SizeAxis = "longest",
    pivot: Pivot | None = None,
) -> Model:
    """`place` as one of `TARGETS` wants it, unless told another pivot. InvalidParameters `unknown_target`."""
    if target not in TARGETS:
        raise InvalidParameters(
            f"There is no target {target!r}.", code="unknown_target", hint=f"Known: {', '.join(TARGETS)}."
        )
    chosen = TARGETS[target]
    return place(
        model,
        size_m=size_m,
        size_axis=size_axis,
        pivot=pivot or chosen.pivot,
        up_axis=chosen.up_axis,
        unit=chosen.unit,
    )


def fit_to_size(mesh: TexturedMesh, *, size_m: float = 1.0) -> TexturedMesh:
    """One mesh, its longest side `size_m` metres, standing on y = 0 over the origin; errors as of `place`."""
    return place(Model(parts=(mesh,)), size_m=size_m).parts[0]


def _bounds(model: Model) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    places = [part.vertices for part in model.parts if len(part.vertices)]
    if not places:
        raise BrokenModelOutput("The mesh has no vertices, so it cannot be given a size.", code="empty_mesh")
    low = np.min([place.min(axis=0) for place in places], axis=0).astype(np.float64)
    high = np.max([place.max(axis=0) for place in places], axis=0).astype(np.float64)
    return low, high


def _side(extents: npt.NDArray[np.float64], axis: SizeAxis) -> float:
    side = float(extents.max() if axis == "longest" else extents["xyz".index(axis)])
    if not np.isfinite(side) or side <= 0:
        along = "" if axis == "longest" else f" along {axis}"
        raise BrokenModelOutput(
            f"The mesh has no extent{along}, so it cannot be given a size.", code="empty_mesh"
        )
    return side


def _moved(
    part: TexturedMesh, origin: npt.NDArray[np.float64], scale: float, turn: npt.NDArray[np.float64]
) -> TexturedMesh:
    placed = ((part.vertices.astype(np.float64) - origin) * scale) @ turn.T
    return replace(part, vertices=placed.astype(np.float32), normals=_turned(part.normals, turn))


def _turned(normals: Floats | None, turn: npt.NDArray[np.float64]) -> Floats | None:
    return None if normals is None else (normals @ turn.T).astype(np.float32)
