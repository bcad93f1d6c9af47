"""What a model shows at places of its surface: light, direction and material, through all of its pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.closest import Surface
from pipeline3d.geometry.collapse_checks import sum_directions
from pipeline3d.geometry.colour_space import to_linear
from pipeline3d.geometry.mesh import Model, Texture, TexturedMesh
from pipeline3d.geometry.tangents import from_tangent_space, vertex_tangents
from pipeline3d.geometry.texturing import Pixels, Role, read_pixels, shrink
from pipeline3d.geometry.topology import weld

Points = npt.NDArray[np.float64]
Indices = npt.NDArray[np.signedinteger]
Linear = npt.NDArray[np.float32]

SIDE_LENGTH = 0.02
"""Of the diagonal: surfaces that face each other back to back count as twice that further apart."""
LONGEST_PX = 4096
"""Of a picture's sides: no texture that is baked has longer ones."""
PLACES_AT_ONCE = 200_000
CANDIDATES = 3
"""Nearest faces looked at for each place; one beside the closest one shows nearly the same."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """At places (k): base colour (k,4) linear with alpha, unit normal (k,3), and what the material adds.

    metallic and roughness (k) and occlusion (k) 0 to 1, emitted (k,3) linear; factors are multiplied in.
    """

    base: Linear
    normals: Linear
    roughness: Linear
    metallic: Linear
    occlusion: Linear
    emitted: Linear


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampler:
    """A model to ask; its pictures are decoded once."""

    model: Model

    def at(self, points: Points, normals: Points) -> Shown:
        """At the closest place of the surface that faces about the same way, for each of the points (k,3)."""
        surface = self._surface
        found = surface.closest(points, normals=normals, candidates=CANDIDATES)
        begins = np.cumsum([0, *(len(part.faces) for part in self.model.parts)])
        owner = np.searchsorted(begins, found.faces, side="right") - 1
        return self.on(owner, found.faces - begins[owner], found.weights)

    def on(self, owner: Indices, faces: Indices, weights: Points) -> Shown:
        """On faces (k) of the parts (k) at barycentric weights (k,3)."""
        shown = Shown(
            base=np.ones((len(faces), 4), np.float32),
            normals=np.zeros((len(faces), 3), np.float32),
            roughness=np.ones(len(faces), np.float32),
            metallic=np.zeros(len(faces), np.float32),
            occlusion=np.ones(len(faces), np.float32),
            emitted=np.zeros((len(faces), 3), np.float32),
        )
        for number, part in enumerate(self._parts):
            mine = np.flatnonzero(owner == number)
            for begin in range(0, len(mine), PLACES_AT_ONCE):
                rows = mine[begin : begin + PLACES_AT_ONCE]
                part.show(shown, rows, part.mesh.faces[faces[rows]], weights[rows])
        return shown

    @cached_property
    def _surface(self) -> Surface:
        plain = Surface.of(self.model.surface())
        return Surface(corners=plain.corners, normal_length=SIDE_LENGTH * max(plain.diagonal, 1e-9))

    @cached_property
    def _parts(self) -> list[_Part]:
        return [_Part(mesh=part) for part in self.model.parts]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    mesh: TexturedMesh

    def show(self, shown: Shown, rows: Indices, corners: Indices, weights: Points) -> None:
        """Write what is at corners (k,3) with weights (k,3) into rows (k)."""
        material = self.mesh.material
        shown.base[rows] = np.array(material.base_colour, np.float32)
        if self.mesh.colours is not None:
            shown.base[rows] *= blend(self.mesh.colours.astype(np.float32) / 255, corners, weights)
        shown.normals[rows] = self._normals(corners, weights)
        shown.roughness[rows], shown.metallic[rows] = material.roughness, material.metallic
        shown.emitted[rows] = np.array(material.emissive_colour, np.float32)
        if self.mesh.uvs is None:
            return
        uvs = blend(self.mesh.uvs, corners, weights)
        if self._base is not None:
            shown.base[rows] *= self._look_up(self._base, uvs)
        if self._rough_metal is not None:
            values = self._look_up(self._rough_metal, uvs)
            shown.roughness[rows] *= values[:, 1]
            shown.metallic[rows] *= values[:, 2]
        if self._occlusion is not None:
            values = self._look_up(self._occlusion, uvs)
            shown.occlusion[rows] = 1 + material.occlusion_strength * (values[:, 0] - 1)
        if self._emissive is not None:
            shown.emitted[rows] *= self._look_up(self._emissive, uvs)[:, :3]

    def _look_up(self, picture: _Picture, uvs: Linear) -> Linear:
        return look_up(picture.pixels, uvs, self.mesh.material.wrap, read=picture.values)

    def _normals(self, corners: Indices, weights: Points) -> Linear:
        """Interpolated, and turned by the part's own normal map where it has one."""
        normals = blend(self._vertex_normals, corners, weights)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.float32(1e-12))
        if self._normal_map is None or self.mesh.uvs is None:
            return normals
        mapped = 2 * self._look_up(self._normal_map, blend(self.mesh.uvs, corners, weights))[:, :3] - 1
        mapped[:, :2] *= self.mesh.material.normal_scale
        tangents = blend(self._tangents, corners, weights)
        tangents[:, 3] = np.where(tangents[:, 3] < 0, -1, 1)
        turned = from_tangent_space(
            mapped.astype(np.float64), normals.astype(np.float64), tangents.astype(np.float64)
        )
        return turned.astype(np.float32)

    @cached_property
    def _vertex_normals(self) -> Linear:
        return normals_of(self.mesh)

    @cached_property
    def _tangents(self) -> Linear:
        uvs = self.mesh.uvs if self.mesh.uvs is not None else np.zeros((len(self.mesh.vertices), 2))
        found = vertex_tangents(self.mesh.vertices, self.mesh.faces, self._vertex_normals, uvs)
        return found.astype(np.float32)

    @cached_property
    def _base(self) -> _Picture | None:
        if self.mesh.texture is None:
            return None
        return _decode(Texture(data=self.mesh.texture, mime_type=self.mesh.texture_mime_type), "colour")

    @cached_property
    def _rough_metal(self) -> _Picture | None:
        return _decode(self.mesh.material.metallic_roughness, "data")

    @cached_property
    def _occlusion(self) -> _Picture | None:
        return _decode(self.mesh.material.occlusion, "data")

    @cached_property
    def _normal_map(self) -> _Picture | None:
        return _decode(self.mesh.material.normal, "normal")

    @cached_property
    def _emissive(self) -> _Picture | None:
        return _decode(self.mesh.material.emissive, "colour")


def normals_of(mesh: TexturedMesh) -> Linear:
    """(n,3) unit: the mesh's own, or smooth ones over its places."""
    normals: npt.NDArray[np.floating]
    if mesh.normals is not None:
        normals = mesh.normals.astype(np.float64)
    else:
        places = weld(mesh.vertices)
        normals = sum_directions(mesh.vertices[places.first], places.labels[mesh.faces])[places.labels]
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    up = np.tile([0.0, 1.0, 0.0], (len(normals), 1))
    return np.asarray(np.divide(normals, lengths, out=up, where=lengths > 0), np.float32)


def blend(values: npt.NDArray[np.floating], corners: Indices, weights: Points) -> Linear:
    """Values (n,c) of vertices at corners (k,3) with weights (k,3): (k,c)."""
    factors = weights.astype(np.float32)
    found = values[corners[:, 0]] * factors[:, :1]
    found += values[corners[:, 1]] * factors[:, 1:2]
    found += values[corners[:, 2]] * factors[:, 2:]
    return np.asarray(found, np.float32)


def _as_stored(values: npt.NDArray[Any]) -> Linear:
    return np.asarray(values, np.float32)


def look_up(
    pixels: npt.NDArray[Any], uvs: Linear, wrap: str, *, read: Callable[[Any], Linear] = _as_stored
) -> Linear:
    """Pixels (h,w,c) at uvs (k,2), bilinear, with the material's way of going on beyond the edge.

    `read` makes values (k,c) of stored pixels (k,c).
    """
    height, width = pixels.shape[:2]
    places = uvs.astype(np.float64)
    if wrap == "mirror":
        places = 1 - np.abs(1 - np.mod(places, 2))
    elif wrap == "clamp":
        places = np.clip(places, 0, 1)
    x, y = places[:, 0] * width - 0.5, places[:, 1] * height - 0.5
    left, top = np.floor(x), np.floor(y)
    across, down = (x - left).astype(np.float32)[:, None], (y - top).astype(np.float32)[:, None]

    def texel(column: Points, row: Points) -> Linear:
        if wrap == "repeat":
            column, row = np.mod(column, width), np.mod(row, height)
        columns = np.clip(column, 0, width - 1).astype(np.int64)
        return read(pixels[np.clip(row, 0, height - 1).astype(np.int64), columns])

    upper = texel(left, top) * (1 - across) + texel(left + 1, top) * across
    lower = texel(left, top + 1) * (1 - across) + texel(left + 1, top + 1) * across
    return np.asarray(upper * (1 - down) + lower * down, np.float32)


LEVELS = np.arange(256, dtype=np.float32) / 255
LIGHT = to_linear(LEVELS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Picture:
    """Pixels (h,w,3 or 4) as they are stored, a quarter of what they mean in memory."""

    pixels: Pixels
    is_colour: bool

    def values(self, texels: Pixels) -> Linear:
        """RGBA (k,4) 0 to 1 of some of them; colours become linear light."""
        found = np.ones((len(texels), 4), np.float32)
        found[:, : texels.shape[1]] = LEVELS[texels]
        if self.is_colour:
            found[:, :3] = LIGHT[texels[:, :3]]
        return found


def _decode(texture: Texture | None, role: Role) -> _Picture | None:
    """Raises UnusableInput as `read_pixels` does."""
    if texture is None:
        return None
    return _Picture(pixels=shrink(read_pixels(texture), LONGEST_PX, role), is_colour=role == "colour")
