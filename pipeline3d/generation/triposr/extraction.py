"""From a scene code to a coloured surface: samples near it, marching cubes, colours at the vertices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.generation.triposr.field import Field
from pipeline3d.generation.triposr.lattice import SampledLattice, sample_lattice
from pipeline3d.generation.triposr.memory import is_out_of_memory, out_of_memory
from pipeline3d.generation.triposr.meshes import (
    ExtractedMesh,
    Points,
    Triangles,
    linear_from_srgb,
    turn_upright,
    vertex_normals,
)
from pipeline3d.generation.triposr.scene import SceneCode, level_of_raw
from pipeline3d.generation.triposr.threads import chunk_workers

LEAST_RESOLUTION, MOST_RESOLUTION = 16, 768
"""Samples per side; 768 takes about 2 GB."""
STARTS = (1, 2, 4, 8, 16)
"""1 evaluates every sample."""
MOST_RAW = 80.0
"""Raw densities are cut here: exp of more is infinite in 32 bits, and marching cubes would make it NaN."""
LEAST_FIRST_CELLS = 15
"""Cells per side of the first lattice: with fewer, whole objects slip through."""
SHARE_OF_SAMPLING = 0.65
"""Of the time that an extraction takes."""


def extract(
    scene: SceneCode,
    *,
    resolution: int,
    start: int = 8,
    smooth: bool = False,
    report: Callable[[float], None] | None = None,
) -> ExtractedMesh:
    """The surface where the density is the scene's threshold, in `resolution` samples per side (16 to 768).

    start: every how manieth sample is looked at first (1, 2, 4, 8, 16; less where that would leave fewer than
    15 cells per side). smooth: interpolate the logarithm of
    the density between samples instead of the density, as the published program does; it shows less of the
    lattice. report hears how far it is, 0 to 1. Raises `BrokenModelOutput`: `empty_mesh` if the scene has no
    surface, `nan_mesh` if its numbers are not finite; `TransientFailure` (`out_of_memory`); `ValueError`
    for a resolution or start out of range.
    """
    if not LEAST_RESOLUTION <= resolution <= MOST_RESOLUTION:
        raise ValueError(f"resolution {resolution} is outside {LEAST_RESOLUTION} to {MOST_RESOLUTION}")
    if start not in STARTS:
        raise ValueError(f"start {start} is none of {STARTS}")
    while start > 1 and resolution - 1 < LEAST_FIRST_CELLS * start:
        start //= 2
    tell = report or (lambda fraction: None)
    try:
        with torch.inference_mode(), chunk_workers() as workers:
            return _extract(Field(scene, workers), scene, resolution, start, smooth, tell)
    except (MemoryError, RuntimeError) as failure:
        if is_out_of_memory(failure):
            raise out_of_memory(failure, torch.device("cpu"), "extracting the surface") from failure
        raise


def _extract(
    field: Field,
    scene: SceneCode,
    resolution: int,
    start: int,
    smooth: bool,
    report: Callable[[float], None],
) -> ExtractedMesh:
    level = level_of_raw(scene)
    sampled = sample_lattice(
        field, resolution, level, start=start, report=lambda part: report(SHARE_OF_SAMPLING * part)
    )
    indices, faces = march(sampled, scene, smooth=smooth)
    report(0.85)
    # Lattice index to -1..1, the field's own coordinates.
    places = (indices * np.float32(2 / (resolution - 1)) - np.float32(1)).astype(np.float32)
    colours = np.full((len(places), 4), 255, np.uint8)
    colours[:, :3] = np.rint(255 * linear_from_srgb(field.colours_at(places)))
    vertices = turn_upright(places * np.float32(scene.radius))
    report(0.97)
    mesh = ExtractedMesh(
        vertices=vertices,
        faces=faces,
        normals=vertex_normals(vertices, faces),
        colours=colours,
        resolution=resolution,
        evaluations=sampled.evaluations,
        lattice=resolution**3,
    )
    report(1.0)
    return mesh


def march(sampled: SampledLattice, scene: SceneCode, *, smooth: bool) -> tuple[Points, Triangles]:
    """Vertices in lattice indices and faces, by marching cubes (Lewiner et al. 2003)."""
    from skimage import measure

    box = find_box(sampled.crossed.numpy())
    raw = np.minimum(sampled.raw.numpy()[box], np.float32(MOST_RAW))
    if smooth:
        values = raw - np.float32(level_of_raw(scene))
    else:
        values = np.exp(raw + np.float32(scene.density_bias)) - np.float32(scene.threshold)
    marching_cubes: Any = measure.marching_cubes  # scikit-image has no types here
    vertices, faces, _, _ = marching_cubes(values, 0.0, gradient_direction="ascent")
    corner = np.array([side.start for side in box], np.float32)
    return vertices.astype(np.float32) + corner, np.ascontiguousarray(faces, np.int32)


def find_box(crossed: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """The samples of the block that holds all crossed cells.

    Raises `BrokenModelOutput` (`empty_mesh`) if there are none.
    """
    sides = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        hit = np.flatnonzero(crossed.any(axis=others))
        if not len(hit):
            raise BrokenModelOutput(
                "The model found no surface in the picture.",
                code="empty_mesh",
                hint="Send a picture that shows one whole object, large and clear.",
            )
        sides.append(slice(int(hit[0]), int(hit[-1]) + 2))
    return sides[0], sides[1], sides[2]
