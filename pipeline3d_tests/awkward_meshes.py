"""Small meshes with one known fault each, and a few good ones that are easily taken for faulty.

`AWKWARD` is the table; `build(name)` makes one, always anew and always the same. `USABLE` are those that
have faces and finite, reasonable coordinates. All are about one unit large, Y up, counter-clockwise.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.mesh import Model, TexturedMesh

Points = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class Awkward:
    """One row: how it is made, what is wrong with it, and whether anything can be done with it."""

    make: Callable[[], TexturedMesh | Model]
    fault: str
    usable: bool = True


def build(name: str) -> Model:
    """The model of that name in `AWKWARD`."""
    made = AWKWARD[name].make()
    return made if isinstance(made, Model) else Model(parts=(made,))


def textured_sphere(*, rows: int = 12, columns: int = 16, radius: float = 0.5) -> TexturedMesh:
    """A closed sphere split along a seam and at its poles, as UVs demand; 2 * columns * (rows - 1) faces."""
    across, down = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
    # sin(pi) is not quite zero, and the seam has to meet itself exactly
    rings = np.where((down == 0) | (down == 1), 0.0, np.sin(np.pi * down))
    turned = 2 * np.pi * np.where(across == 1, 0.0, across)
    points = np.stack([rings * np.sin(turned), np.cos(np.pi * down), rings * np.cos(turned)], axis=-1)
    normals = points.reshape(-1, 3).astype(np.float32)
    index = np.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    corner, right, below, both = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    upper = np.stack([corner, below, right], axis=-1)[1:].reshape(-1, 3)
    lower = np.stack([right, below, both], axis=-1)[:-1].reshape(-1, 3)
    # One corner of either pole belongs to no face.
    uvs = np.stack([across, down], axis=-1).reshape(-1, 2)[1:-1].astype(np.float32)
    normals = normals[1:-1]
    return TexturedMesh(
        vertices=(normals * np.float32(radius)).astype(np.float32),
        faces=np.concatenate([upper, lower]).astype(np.int32) - np.int32(1),
        normals=normals,
        uvs=uvs,
        texture=checkerboard(),
        texture_mime_type="image/png",
    )


@cache
def checkerboard(side: int = 64) -> bytes:
    """A PNG of red, green, blue and yellow fields."""
    from PIL import Image

    fields = np.array([[220, 40, 40], [40, 180, 60], [40, 60, 210], [230, 200, 40]], np.uint8)
    steps = np.arange(side) * 8 // side
    picture = io.BytesIO()
    Image.fromarray(fields[(steps[:, None] + 2 * steps[None]) % 4]).save(picture, "PNG")
    return picture.getvalue()


def sphere(*, radius: float = 0.5, centre: tuple[float, float, float] = (0, 0, 0)) -> TexturedMesh:
    """A closed sphere of 320 faces without colours; 3 % smaller than the true one."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=2, radius=radius)
    return plain(ball.vertices + np.array(centre), ball.faces)


def box() -> TexturedMesh:
    """The unit cube, 12 faces."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return plain(corners, [face for a, b, c, d in sides for face in ((a, b, c), (a, c, d))])


def plain(vertices: object, faces: object) -> TexturedMesh:
    """Geometry alone."""
    return TexturedMesh(
        vertices=np.asarray(vertices, np.float32).reshape(-1, 3),
        faces=np.asarray(faces, np.int32).reshape(-1, 3),
    )


def joined(*meshes: TexturedMesh) -> TexturedMesh:
    """Several bodies as one mesh, without colours."""
    return Model(parts=meshes).surface()


def turned(mesh: TexturedMesh) -> TexturedMesh:
    """The same with every face wound the other way."""
    return replace(mesh, faces=np.ascontiguousarray(mesh.faces[:, ::-1]))


def coloured_torus(*, around: int = 32, across: int = 16) -> TexturedMesh:
    """A closed ring, genus 1, with a colour for every vertex."""
    large, small = np.meshgrid(np.arange(around), np.arange(across), indexing="ij")
    long, short = 2 * np.pi * large / around, 2 * np.pi * small / across
    ring = 0.35 + 0.15 * np.cos(short)
    points = np.stack([ring * np.cos(long), 0.15 * np.sin(short), ring * np.sin(long)], axis=-1)
    index = np.arange(around * across).reshape(around, across)
    right, up = np.roll(index, -1, axis=0), np.roll(index, -1, axis=1)
    both = np.roll(right, -1, axis=1)
    faces = np.concatenate([np.stack([index, up, both], -1), np.stack([index, both, right], -1)])
    shades = np.stack([(1 + np.cos(long)) / 2, (1 + np.sin(long)) / 2, (1 + np.sin(short)) / 2], axis=-1)
    colours = np.concatenate([np.round(shades * 255), np.full((around, across, 1), 255)], axis=-1)
    return replace(
        plain(points.reshape(-1, 3), faces.reshape(-1, 3)), colours=colours.reshape(-1, 4).astype(np.uint8)
    )


@cache
def _mug_surface() -> tuple[Points, npt.NDArray[np.int32]]:
    from skimage.measure import marching_cubes

    steps = np.linspace(-0.6, 0.8, 34)
    x, y, z = np.meshgrid(steps, steps, steps, indexing="ij")
    across = np.hypot(x, z)
    outside = np.maximum(across - 0.4, np.abs(y) - 0.5)
    inside = np.maximum(across - 0.29, np.maximum(-0.38 - y, y - 2))
    handle = np.hypot(np.hypot(x - 0.4, y) - 0.26, z) - 0.07
    field = np.maximum(np.minimum(outside, np.maximum(handle, 0.35 - across)), -inside)
    vertices, faces, _, _ = marching_cubes(field, 0.0, spacing=(steps[1] - steps[0],) * 3)
    return (vertices - 0.6).astype(np.float32), faces[:, ::-1].astype(np.int32)


def mug() -> TexturedMesh:
    """A solid mug with an inside and a handle: closed, one body, genus 1."""
    mesh = plain(*_mug_surface())
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    volume = np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
    return mesh if volume > 0 else turned(mesh)


def _open_sphere() -> TexturedMesh:
    ball = textured_sphere()
    middles = ball.vertices[ball.faces].mean(axis=1)
    return replace(ball, faces=ball.faces[middles[:, 1] < 0.2])


def _sphere_with_small_holes() -> TexturedMesh:
    ball = textured_sphere(rows=24, columns=32)
    return replace(ball, faces=np.delete(ball.faces, [100, 101, 400, 900], axis=0))


def _fan() -> TexturedMesh:
    points = [(0, 0, 0), (0, 1, 0), (1, 0, 0), (-1, 0, 0.3), (0, 0, 1)]
    return plain(points, [(0, 1, 2), (1, 0, 3), (0, 1, 4)])


def _boxes_at_an_edge() -> TexturedMesh:
    first = box()
    return joined(first, replace(first, vertices=first.vertices + np.array([1, 1, 0], np.float32)))


def _bow_tie() -> TexturedMesh:
    first = box()
    return joined(first, replace(first, vertices=first.vertices + np.float32(1)))


def _doubled_faces() -> TexturedMesh:
    ball = sphere()
    return replace(ball, faces=np.concatenate([ball.faces, ball.faces[5:25], ball.faces[40:44, ::-1]]))


def _slivers() -> TexturedMesh:
    """Points on edges split some faces; between them lie faces without any area."""
    ball = sphere()
    faces, vertices = list(map(tuple, ball.faces)), list(map(tuple, ball.vertices))
    for number in (3, 50, 120):
        a, b, c = faces[number]
        middle = tuple((np.array(vertices[a]) + np.array(vertices[b])) / 2)
        vertices.append(middle)
        faces[number] = (a, len(vertices) - 1, c)
        faces += [(len(vertices) - 1, b, c), (a, b, len(vertices) - 1)]
    faces += [(7, 7, 9), (4, 4, 4)]
    return plain(vertices, faces)


def _floaters() -> TexturedMesh:
    crumbs = [sphere(radius=0.005, centre=(0.7 + 0.05 * n, 0.4, 0.02 * n)) for n in range(5)]
    speck = plain([(0.8, 0, 0), (0.8, 0.01, 0), (0.8, 0, 0.01)], [(0, 1, 2)])
    return joined(sphere(), *crumbs, speck)


def _hollow_ball() -> TexturedMesh:
    return joined(sphere(), turned(sphere(radius=0.3)))


def _hollow_ball_filled() -> TexturedMesh:
    return joined(sphere(), sphere(radius=0.3))


def _turned_patch() -> TexturedMesh:
    ball = sphere()
    faces = ball.faces.copy()
    faces[::3] = faces[::3, ::-1]
    return replace(ball, faces=faces)


def _crossed() -> TexturedMesh:
    return joined(sphere(), sphere(radius=0.4, centre=(0.4, 0.1, 0)))


def _loose_vertices() -> TexturedMesh:
    ball = textured_sphere()
    extra = np.arange(30, dtype=np.float32).reshape(10, 3)
    return replace(
        ball,
        vertices=np.concatenate([ball.vertices, extra]),
        normals=np.concatenate([ball.normals, np.tile(np.array([[0, 1, 0]], np.float32), (10, 1))]),
        uvs=np.concatenate([ball.uvs, np.zeros((10, 2), np.float32)]),
    )


def _nearly_welded() -> TexturedMesh:
    """Every face has corners of its own, a rounding error apart from its neighbours'."""
    ball = sphere()
    corners = ball.vertices[ball.faces].reshape(-1, 3)
    noise = np.random.default_rng(5).uniform(-1e-7, 1e-7, corners.shape).astype(np.float32)
    return plain(corners + noise, np.arange(len(corners)).reshape(-1, 3))


def _with_coordinate(value: float) -> TexturedMesh:
    ball = textured_sphere()
    vertices = ball.vertices.copy()
    vertices[40, 1] = value
    return replace(ball, vertices=vertices)


def _two_parts() -> Model:
    return Model(parts=(textured_sphere(), replace(coloured_torus(), vertices=coloured_torus().vertices * 2)))


def _halves() -> Model:
    ball = textured_sphere()
    upper = ball.vertices[ball.faces].mean(axis=1)[:, 1] > 0
    return Model(parts=(replace(ball, faces=ball.faces[upper]), replace(ball, faces=ball.faces[~upper])))


AWKWARD: dict[str, Awkward] = {
    "box": Awkward(make=box, fault="none: the smallest closed one"),
    "textured_sphere": Awkward(make=textured_sphere, fault="none: closed, but split along a UV seam"),
    "coloured_torus": Awkward(make=coloured_torus, fault="none: genus 1, vertex colours"),
    "mug": Awkward(make=mug, fault="none: genus 1, an opening that is no hole"),
    "hollow_ball": Awkward(make=_hollow_ball, fault="none: an inner shell, rightly turned inwards"),
    "two_parts": Awkward(make=_two_parts, fault="none: two closed parts, a texture and colours"),
    "halves": Awkward(make=_halves, fault="none: two open parts that close each other"),
    "open_box": Awkward(
        make=lambda: replace(box(), faces=box().faces[2:]), fault="one side of six is missing, on purpose?"
    ),
    "open_sphere": Awkward(make=_open_sphere, fault="a third is missing: an opening, with UVs"),
    "small_holes": Awkward(
        make=_sphere_with_small_holes, fault="four small holes, two of which touch; with UVs"
    ),
    "inside_out": Awkward(make=lambda: turned(sphere()), fault="every face looks inwards"),
    "turned_patch": Awkward(make=_turned_patch, fault="every third face is turned"),
    "filled_ball": Awkward(make=_hollow_ball_filled, fault="a ball in a ball, both looking outwards"),
    "fan": Awkward(make=_fan, fault="three faces at one edge"),
    "boxes_at_an_edge": Awkward(make=_boxes_at_an_edge, fault="two cubes share an edge: four faces at it"),
    "bow_tie": Awkward(make=_bow_tie, fault="two cubes share one corner"),
    "doubled_faces": Awkward(make=_doubled_faces, fault="some faces are there twice, some turned"),
    "slivers": Awkward(make=_slivers, fault="faces without area, and points on edges"),
    "floaters": Awkward(make=_floaters, fault="five crumbs and a speck beside the body"),
    "loose_vertices": Awkward(make=_loose_vertices, fault="ten vertices that no face uses, far away"),
    "nearly_welded": Awkward(make=_nearly_welded, fault="neighbours meet up to rounding only"),
    "crossed": Awkward(make=_crossed, fault="two balls run through each other"),
    "single_triangle": Awkward(
        make=lambda: plain([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [(0, 1, 2)]), fault="one face"
    ),
    "flat": Awkward(
        make=lambda: plain([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], [(0, 1, 2), (0, 2, 3)]),
        fault="no thickness: a square",
    ),
    "empty": Awkward(make=lambda: plain([], []), fault="no vertices, no faces", usable=False),
    "no_faces": Awkward(make=lambda: plain(box().vertices, []), fault="vertices only", usable=False),
    "point": Awkward(
        make=lambda: plain(np.ones((3, 3)), [(0, 1, 2)]), fault="all corners at one place", usable=False
    ),
    "nan": Awkward(make=lambda: _with_coordinate(float("nan")), fault="a NaN coordinate", usable=False),
    "infinite": Awkward(make=lambda: _with_coordinate(float("inf")), fault="infinity", usable=False),
    "far": Awkward(make=lambda: _with_coordinate(1e30), fault="one vertex at 1e30", usable=False),
}

USABLE = tuple(name for name, row in AWKWARD.items() if row.usable)
UNUSABLE = tuple(name for name, row in AWKWARD.items() if not row.usable)
