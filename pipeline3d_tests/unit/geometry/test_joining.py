"""Parts as one mesh, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry.joining import attributes_of, join, merge_equal_vertices, require_valid
from pipeline3d.geometry.mesh import Model
from pipeline3d_tests.awkward_meshes import build, coloured_torus, textured_sphere

RING = coloured_torus()
GLOBE = textured_sphere()


def test_joined_coordinates_lead_back_to_the_model() -> None:
    model = build("two_parts")
    joined = join(model)
    assert joined.vertices.min() == 0
    assert joined.vertices.max() == 1
    back = joined.origin + joined.scale * joined.vertices
    assert back == pytest.approx(model.surface().vertices, abs=1e-6)
    assert np.array_equal(np.bincount(joined.part), [len(part.vertices) for part in model.parts])


def test_a_loose_vertex_far_away_costs_the_surface_no_precision() -> None:
    loose = np.append(RING.vertices, np.float32([[1e9, 0, 0]]), axis=0)
    colours = np.append(RING.colours, RING.colours[:1], axis=0) if RING.colours is not None else None
    normals = np.append(RING.normals, RING.normals[:1], axis=0) if RING.normals is not None else None
    far = join(Model(parts=(replace(RING, vertices=loose, colours=colours, normals=normals),)))
    assert np.array_equal(far.vertices[:-1], join(Model(parts=(RING,))).vertices)
    assert far.vertices[-1].max() <= 1


def test_attributes_are_colours_and_texture_places_or_else_normals() -> None:
    widths = {
        "both": (Model(parts=(RING, GLOBE)), 6),
        "colours": (Model(parts=(RING,)), 4),
        "texture": (Model(parts=(GLOBE,)), 2),
        "normals": (Model(parts=(replace(GLOBE, texture=None),)), 3),
        "nothing": (Model(parts=(replace(RING, colours=None, normals=None),)), 0),
    }
    for model, width in widths.values():
        values, weights = attributes_of(model)
        assert values.shape == (model.vertex_count, width)
        assert weights.shape == (width,)


def test_only_vertices_that_are_alike_in_everything_are_merged() -> None:
    loose = replace(
        RING,
        vertices=RING.vertices[RING.faces].reshape(-1, 3),
        faces=np.arange(RING.faces.size, dtype=np.int32).reshape(-1, 3),
        normals=None if RING.normals is None else RING.normals[RING.faces].reshape(-1, 3),
        colours=None if RING.colours is None else RING.colours[RING.faces].reshape(-1, 4),
    )
    merged = merge_equal_vertices(Model(parts=(loose,))).parts[0]
    assert len(merged.vertices) == len(RING.vertices)
    assert np.array_equal(merged.vertices[merged.faces], RING.vertices[RING.faces])
    seam = merge_equal_vertices(Model(parts=(GLOBE,))).parts[0]
    assert len(seam.vertices) == len(GLOBE.vertices)


@pytest.mark.parametrize(
    "changes",
    [
        {"vertices": RING.vertices[:, :2]},
        {"faces": RING.faces + 1},
        {"faces": RING.faces.astype(np.float32)},
        {"vertices": np.full_like(RING.vertices, np.inf)},
        {"colours": np.zeros((3, 4), np.uint8)},
        {"uvs": np.full((len(RING.vertices), 2), np.nan, np.float32)},
        {"normals": np.zeros((len(RING.vertices), 2), np.float32)},
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UnusableInput) as refusal:
        require_valid(replace(RING, **changes))  # type: ignore[arg-type]
    assert refusal.value.code == "broken_mesh"
