"""Solids as signed-distance functions: negative inside, zero on the surface, about the distance outside.

The formulae are those of Quilez, "Distance functions" (iquilezles.org/articles/distfunctions), and
Hart 1996, "Sphere tracing". A solid knows the box that it lies in, so that nobody has to evaluate it where
it is not. Coordinates come as three arrays that broadcast against each other, Y up, front +Z: on a lattice
of (i,1,1), (1,j,1) and (1,1,k) most of the work stays in one or two dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Distance = Callable[[Floats, Floats, Floats], Floats]
Vector = tuple[float, float, float]
Axis = int
X, Y, Z = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Solid:
    """A body within the box from `low` to `high`; `distance(x, y, z)` is negative inside it.

    `pieces`, where there are any, are solids whose union it is: smaller boxes to evaluate.
    """

    low: Vector
    high: Vector
    distance: Distance
    pieces: tuple[Solid, ...] = ()

    def moved(self, x: float = 0, y: float = 0, z: float = 0) -> Solid:
        """Somewhere else."""
        if self.pieces:
            return union(*(piece.moved(x, y, z) for piece in self.pieces))
        by, inner = (x, y, z), self.distance
        return Solid(
            _plus(self.low, by), _plus(self.high, by), lambda a, b, c: inner(a - _f(x), b - _f(y), c - _f(z))
        )

    def turned(self, axis: Axis, degrees: float) -> Solid:
        """Turned about an axis through the origin, counter-clockwise seen against it."""
        if self.pieces:
            return union(*(piece.turned(axis, degrees) for piece in self.pieces))
        u, v = (axis + 1) % 3, (axis + 2) % 3
        cosine, sine = _f(np.cos(np.radians(degrees))), _f(np.sin(np.radians(degrees)))
        inner = self.distance

        def distance(x: Floats, y: Floats, z: Floats) -> Floats:
            places = [x, y, z]
            before = list(places)
            before[u] = cosine * places[u] + sine * places[v]
            before[v] = cosine * places[v] - sine * places[u]
            return inner(*before)

        corners = np.array([[(self.low, self.high)[i >> a & 1][a] for a in range(3)] for i in range(8)])
        turned = corners.copy()
        turned[:, u] = cosine * corners[:, u] - sine * corners[:, v]
        turned[:, v] = sine * corners[:, u] + cosine * corners[:, v]
        return Solid(_vector(turned.min(axis=0)), _vector(turned.max(axis=0)), distance)

    def scaled(self, factor: float) -> Solid:
        """Larger or smaller, about the origin."""
        inner = self.distance
        return Solid(
            _vector(np.array(self.low) * factor),
            _vector(np.array(self.high) * factor),
            lambda x, y, z: inner(x / _f(factor), y / _f(factor), z / _f(factor)) * _f(factor),
        )

    def mirrored(self, axis: Axis = X) -> Solid:
        """This solid on the positive side of an axis, and its mirror image on the negative side."""
        inner = self.distance
        reach = max(abs(self.low[axis]), abs(self.high[axis]))
        low, high = list(self.low), list(self.high)
        low[axis], high[axis] = -reach, reach

        def distance(x: Floats, y: Floats, z: Floats) -> Floats:
            places = [x, y, z]
            places[axis] = np.abs(places[axis])
            return inner(*places)

        return Solid(_vector(np.array(low)), _vector(np.array(high)), distance)

    def around(self, count: int) -> Solid:
        """`count` copies at equal angles about the Y axis, the first one here."""
        return union(*(self.turned(Y, 360 * i / count) for i in range(count)))

    def __or__(self, other: Solid) -> Solid:
        return union(self, other)

    def __sub__(self, other: Solid) -> Solid:
        first, second = self.distance, other.distance
        return Solid(self.low, self.high, lambda x, y, z: np.maximum(first(x, y, z), -second(x, y, z)))

    def __and__(self, other: Solid) -> Solid:
        first, second = self.distance, other.distance
        low = np.maximum(self.low, other.low)
        high = np.maximum(np.minimum(self.high, other.high), low)
        return Solid(_vector(low), _vector(high), lambda x, y, z: np.maximum(first(x, y, z), second(x, y, z)))


def union(*solids: Solid) -> Solid:
    """All of them, with creases where they meet."""

    def distance(x: Floats, y: Floats, z: Floats) -> Floats:
        return reduce(np.minimum, (solid.distance(x, y, z) for solid in solids))

    pieces = tuple(piece for solid in solids for piece in (solid.pieces or (solid,)))
    return Solid(*_hull(solids), distance, pieces)


def blend(width: float, *solids: Solid) -> Solid:
    """All of them, with fillets about `width` wide where they meet (polynomial smooth minimum)."""

    def distance(x: Floats, y: Floats, z: Floats) -> Floats:
        def smooth_minimum(a: Floats, b: Floats) -> Floats:
            share = np.clip(_f(0.5) + (b - a) / _f(2 * width), 0, 1)
            return np.asarray(b + (a - b) * share - _f(width) * share * (1 - share), np.float32)

        return reduce(smooth_minimum, (solid.distance(x, y, z) for solid in solids))

    low, high = _hull(solids)
    bulge = (len(solids) - 1) * width / 4  # the most by which fillets swell outwards
    return Solid(_plus(low, (-bulge,) * 3), _plus(high, (bulge,) * 3), distance)


def ball(radius: float) -> Solid:
    """A sphere around the origin."""
    return Solid((-radius,) * 3, (radius,) * 3, lambda x, y, z: np.sqrt(x * x + y * y + z * z) - _f(radius))


def ellipsoid(rx: float, ry: float, rz: float) -> Solid:
    """An ellipsoid around the origin; the distance is first-order exact near the surface."""

    def distance(x: Floats, y: Floats, z: Floats) -> Floats:
        shape = np.sqrt((x / _f(rx)) ** 2 + (y / _f(ry)) ** 2 + (z / _f(rz)) ** 2)
        slope = np.sqrt((x / _f(rx * rx)) ** 2 + (y / _f(ry * ry)) ** 2 + (z / _f(rz * rz)) ** 2)
        centre = _f(-min(rx, ry, rz))
        return np.where(slope > 1e-6, shape * (shape - 1) / np.maximum(slope, _f(1e-6)), centre)

    return Solid((-rx, -ry, -rz), (rx, ry, rz), distance)


def box(width: float, height: float, depth: float, rounding: float = 0.02) -> Solid:
    """A box around the origin with rounded edges; the sizes are those of the whole."""
    half = np.array([width, height, depth]) / 2
    edge = min(rounding, float(half.min()))

    def distance(x: Floats, y: Floats, z: Floats) -> Floats:
        beyond = [np.abs(value) - _f(h - edge) for value, h in zip((x, y, z), half, strict=True)]
        outside = np.sqrt(sum(np.maximum(value, 0) ** 2 for value in beyond))
        inside = np.minimum(reduce(np.maximum, beyond), 0)
        return np.asarray(outside + inside - _f(edge), np.float32)

    return Solid(_vector(-half), _vector(half), distance)


def cylinder(radius: float, height: float, rounding: float = 0.02, axis: Axis = Y) -> Solid:
    """A cylinder around the origin along an axis, with rounded edges."""
    edge = min(rounding, radius, height / 2)
    half = [radius] * 3
    half[axis] = height / 2

    def distance(x: Floats, y: Floats, z: Floats) -> Floats:
        along, across = _split((x, y, z), axis)
        outward, upward = across - _f(radius - edge), np.abs(along) - _f(height / 2 - edge)
        return _rounded_corner(outward, upward) - _f(edge)

    return Solid(_vector(-np.array(half)), _vector(np.array(half)), distance)


def frustum(bottom: float, top: float, height: float, rounding: float = 0.0) -> Solid:
    """A cut cone from y = 0 to `height`; a radius of 0 makes a tip."""
    lean = (bottom - top) / height
    slope = 1 / np.sqrt(1 + lean * lean)
    edge = min(rounding, height / 2, max(bottom, top))

    def distance(x: Floats, y: Floats, z: Floats) -> Floats:
        outward = (np.sqrt(x * x + z * z) - (_f(bottom) - _f(lean) * y)) * _f(slope) + _f(edge)
        upward = np.abs(y - _f(height / 2)) - _f(height / 2 - edge)
        return _rounded_corner(outward, upward) - _f(edge)

    reach = max(bottom, top)
    return Solid((-reach, 0, -reach), (reach, height, reach), distance)


def torus(ring: float, tube: float, axis: Axis = Y) -> Solid:
    """A ring around an axis, of radius `ring` to the middle of its tube."""
    half = [ring + tube] * 3
    half[axis] = tube

    def distance(x: Floats, y: Floats, z: Floats) -> Floats:
        along, across = _split((x, y, z), axis)
        return np.sqrt((across - _f(ring)) ** 2 + along * along) - _f(tube)

    return Solid(_vector(-np.array(half)), _vector(np.array(half)), distance)


def rod(start: Vector, end: Vector, radius: float, end_radius: float | None = None) -> Solid:
    """A stick with round ends from one place to another; it may taper."""
    a, b = np.array(start, np.float32), np.array(end, np.float32)
    last = radius if end_radius is None else end_radius
    along = b - a
    length = _f(max(float(along @ along), 1e-12))

    def distance(x: Floats, y: Floats, z: Floats) -> Floats:
        px, py, pz = x - a[0], y - a[1], z - a[2]
        share = np.clip((px * along[0] + py * along[1] + pz * along[2]) / length, 0, 1)
        away = np.sqrt(
            (px - share * along[0]) ** 2 + (py - share * along[1]) ** 2 + (pz - share * along[2]) ** 2
        )
        return np.asarray(away - (_f(radius) + share * _f(last - radius)), np.float32)

    low = np.minimum(a - radius, b - last)
    high = np.maximum(a + radius, b + last)
    return Solid(_vector(low), _vector(high), distance)


def path(places: Sequence[Vector], radius: float, end_radius: float | None = None) -> Solid:
    """A bent stick through several places, tapering evenly from the first to the last."""
    count = len(places) - 1
    last = radius if end_radius is None else end_radius
    radii = np.linspace(radius, last, count + 1)
    return union(*(rod(places[i], places[i + 1], radii[i], radii[i + 1]) for i in range(count)))


def lathe(profile: Sequence[tuple[float, float]], smooth: bool = True) -> Solid:
    """What a potter turns about the Y axis: (height, radius) pairs from the foot to the rim.

    Between them the radius is a monotone cubic (Fritsch and Carlson 1980) or, not `smooth`, a line. Foot and
    rim are cut flat.
    """
    from scipy.interpolate import PchipInterpolator

    heights, radii = np.array(profile, np.float64).T
    fine = np.linspace(heights[0], heights[-1], 257)
    curve = PchipInterpolator(heights, radii)(fine) if smooth else np.interp(fine, heights, radii)
    lean = np.clip(np.gradient(curve, fine), -6, 6)
    slope = 1 / np.sqrt(1 + lean * lean)
    low, high, reach = float(heights[0]), float(heights[-1]), float(curve.max())

    def distance(x: Floats, y: Floats, z: Floats) -> Floats:
        radius = np.interp(y, fine, curve).astype(np.float32)
        shorten = np.interp(y, fine, slope).astype(np.float32)
        outward = (np.sqrt(x * x + z * z) - radius) * shorten
        upward = np.abs(y - _f((low + high) / 2)) - _f((high - low) / 2)
        return _rounded_corner(outward, upward)

    return Solid((-reach, low, -reach), (reach, high, reach), distance)


def prism(outline: Sequence[tuple[float, float]], depth: float, rounding: float = 0.01) -> Solid:
    """A polygon in the plane z = 0, (x, y) pairs, made `depth` thick, half of it to each side."""
    points = np.array(outline, np.float32)
    edge = min(rounding, depth / 2)

    def distance(x: Floats, y: Floats, z: Floats) -> Floats:
        inwards = _distance_to_polygon(points, x, y) + _f(edge)
        return _rounded_corner(inwards, np.abs(z) - _f(depth / 2 - edge)) - _f(edge)

    (left, bottom), (right, top) = points.min(axis=0), points.max(axis=0)
    return Solid(
        _vector(np.array([left, bottom, -depth / 2])), _vector(np.array([right, top, depth / 2])), distance
    )


def above(height: float) -> Solid:
    """Everything over a level: for cutting."""
    return Solid((-99, height, -99), (99, 99, 99), lambda x, y, z: _f(height) - y + 0 * (x + z))


def _distance_to_polygon(points: Floats, x: Floats, y: Floats) -> Floats:
    """Signed distance in the plane: the nearest edge, and the parity of crossings for the sign."""
    nearest: Floats = np.full(np.broadcast_shapes(x.shape, y.shape), np.inf, np.float32)
    inside = np.zeros(nearest.shape, bool)
    for i, (ax, ay) in enumerate(points):
        bx, by = points[i - 1]
        ex, ey = bx - ax, by - ay
        px, py = x - ax, y - ay
        share = np.clip((px * ex + py * ey) / max(float(ex * ex + ey * ey), 1e-12), 0, 1).astype(np.float32)
        nearest = np.minimum(nearest, (px - ex * share) ** 2 + (py - ey * share) ** 2)
        if ay != by:
            inside ^= ((ay > y) != (by > y)) & (x < ex * (y - ay) / ey + ax)
    return np.where(inside, -np.sqrt(nearest), np.sqrt(nearest)).astype(np.float32)


def _rounded_corner(a: Floats, b: Floats) -> Floats:
    """Distance to the corner of two half spaces that stand square on each other."""
    outside = np.sqrt(np.maximum(a, 0) ** 2 + np.maximum(b, 0) ** 2)
    return np.asarray(outside + np.minimum(np.maximum(a, b), 0), np.float32)


def _split(places: tuple[Floats, Floats, Floats], axis: Axis) -> tuple[Floats, Floats]:
    """The coordinate along an axis, and the distance from it."""
    u, v = places[(axis + 1) % 3], places[(axis + 2) % 3]
    return places[axis], np.sqrt(u * u + v * v)


def _hull(solids: Sequence[Solid]) -> tuple[Vector, Vector]:
    low = np.min([solid.low for solid in solids], axis=0)
    high = np.max([solid.high for solid in solids], axis=0)
    return _vector(low), _vector(high)


def _vector(values: npt.NDArray[np.floating]) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])


def _plus(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _f(value: float) -> np.float32:
    """Keeps arithmetic in 32 bits."""
    return np.float32(value)
