"""Fewer faces, and what must not be lost on the way: closedness, seams, colours, parts, sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.errors import InvalidParameters, UnusableInput
from pipeline3d.geometry.closest import Surface
from pipeline3d.geometry.deviation import measure_deviation
from pipeline3d.geometry.measuring import measure
from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.simplifying import simplify
from pipeline3d_tests.awkward_meshes import USABLE, build, coloured_torus, textured_sphere

SPHERE = textured_sphere(rows=40, columns=60)
RING = coloured_torus(around=60, across=30)


def faceted(mesh: TexturedMesh, **changes: object) -> Model:
    """The same with corners of its own for every face, as STL files have them."""
    corners = mesh.vertices[mesh.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    part = TexturedMesh(
        vertices=corners.reshape(-1, 3),
        faces=np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3),
        normals=np.repeat(across, 3, axis=0).astype(np.float32),
    )
    return Model(parts=(replace(part, **changes),))


def deviation(one: Model, other: Model) -> float:
    return measure_deviation(Surface.of(one.surface()), Surface.of(other.surface())).relative_maximum


@pytest.mark.parametrize(
    ("model", "worst"),
    [
        pytest.param(Model(parts=(SPHERE,)), 0.02, id="texture with a seam"),
        pytest.param(Model(parts=(RING,)), 0.02, id="vertex colours"),
        pytest.param(Model(parts=(replace(RING, colours=None),)), 0.02, id="bare"),
        pytest.param(build("mug"), 0.02, id="mug"),
    ],
)
def test_a_quarter_of_the_faces_is_the_same_closed_surface(model: Model, worst: float) -> None:
    found = simplify(model, target_faces=model.face_count // 4)
    before, after = measure(model.surface()), measure(found.model.surface())
    assert found.reached
    assert found.library == "meshoptimizer"
    assert after.faces <= 1.05 * model.face_count / 4
    assert after.watertight
    assert after.winding_consistent
    assert (after.components, after.euler_number) == (before.components, before.euler_number)
    assert deviation(model, found.model) < worst
    assert abs(after.volume / before.volume - 1) < 0.05
    assert found.error_m > 0


def test_vertices_keep_their_own_texture_place_colour_and_normal() -> None:
    for part in (SPHERE, RING):
        found = simplify(Model(parts=(part,)), target_faces=600).model.parts[0]
        rows = {
            row.tobytes(): number
            for number, row in enumerate(
                part.vertices if part.uvs is None else np.c_[part.vertices, part.uvs]
            )
        }
        wanted = found.vertices if found.uvs is None else np.c_[found.vertices, found.uvs]
        source = np.array([rows[row.tobytes()] for row in wanted])
        for name in ("normals", "colours"):
            values = getattr(part, name)
            if values is not None:
                assert np.array_equal(getattr(found, name), values[source])
        assert found.texture == part.texture
        assert len(np.unique(found.faces)) == len(found.vertices)


def test_an_edge_between_colours_keeps_more_vertices_than_one_colour_does() -> None:
    sides = np.where(RING.vertices[:, :1] > 0, [[255, 0, 0, 255]], [[0, 0, 255, 255]]).astype(np.uint8)
    target = len(RING.faces) // 8
    striped = simplify(Model(parts=(replace(RING, colours=sides),)), target_faces=target).model.parts[0]
    plain = simplify(Model(parts=(replace(RING, colours=None),)), target_faces=target).model.parts[0]
    near = 0.06

    def beside_the_edge(part: TexturedMesh) -> float:
        return float((np.abs(part.vertices[:, 0]) < near).mean())

    assert beside_the_edge(striped) > beside_the_edge(plain)


def test_two_parts_that_close_each_other_still_do() -> None:
    upper = SPHERE.vertices[SPHERE.faces].mean(axis=1)[:, 1] > 0
    model = Model(parts=tuple(replace(SPHERE, faces=SPHERE.faces[chosen]) for chosen in (upper, ~upper)))
    assert measure(model.surface()).watertight
    found = simplify(model, target_faces=1000).model
    assert len(found.parts) == 2
    assert measure(found.surface()).watertight


def test_a_flat_shaded_surface_is_simplified_by_merging_what_only_normals_keep_apart() -> None:
    found = simplify(faceted(RING), target_faces=len(RING.faces) // 4)
    assert found.reached
    assert found.library == "meshoptimizer"
    assert found.rejected
    part = found.model.parts[0]
    assert measure(part).watertight
    assert part.normals is not None
    assert np.allclose(np.linalg.norm(part.normals, axis=1), 1, atol=1e-5)


def test_colours_that_differ_on_every_face_are_left_to_the_second_library() -> None:
    colours = np.random.default_rng(5).integers(0, 256, (3 * len(RING.faces), 4), dtype=np.uint8)
    model = faceted(RING, colours=colours)
    found = simplify(model, target_faces=len(RING.faces) // 4)
    assert found.library == "fast-simplification"
    assert found.reached
    assert found.measured
    assert measure(found.model.surface()).watertight
    assert found.model.parts[0].colours is not None
    assert deviation(model, found.model) < 0.03
    assert found.error_m == pytest.approx(
        measure_deviation(Surface.of(model.surface()), Surface.of(found.model.surface())).maximum_m
    )


def test_a_texture_in_which_every_face_is_a_chart_is_not_reached_and_says_so() -> None:
    uvs = np.random.default_rng(5).random((3 * len(RING.faces), 2), dtype=np.float32)
    model = faceted(RING, uvs=uvs, texture=SPHERE.texture)
    found = simplify(model, target_faces=100)
    assert not found.reached
    assert found.model is model
    assert any("texture coordinates" in reason for reason in found.rejected)


def test_a_limit_of_error_is_measured_and_kept() -> None:
    model = Model(parts=(RING,))
    loose = simplify(model, target_faces=50, max_error=0.02)
    tight = simplify(model, target_faces=50, max_error=0.005)
    for found, limit in ((loose, 0.02), (tight, 0.005)):
        assert found.measured
        assert found.error_m <= limit
        assert found.model.face_count < model.face_count
    assert loose.model.face_count < tight.model.face_count


def test_a_model_that_is_small_enough_comes_back_as_it_is() -> None:
    model = Model(parts=(RING,))
    found = simplify(model, target_faces=len(RING.faces))
    assert found.model is model
    assert (found.error_m, found.library, found.reached) == (0.0, "none", True)


@pytest.mark.parametrize("name", ["empty", "no_faces", "nan", "infinite"])
def test_what_is_no_surface_is_refused(name: str) -> None:
    with pytest.raises(UnusableInput) as refusal:
        simplify(build(name), target_faces=50)
    assert refusal.value.code in {"broken_mesh", "no_faces"}


@pytest.mark.parametrize("name", [*sorted(USABLE), "point", "far"])
def test_awkward_models_are_not_made_worse(name: str) -> None:
    model = build(name)
    found = simplify(model, target_faces=max(4, model.face_count // 3))
    for part in found.model.parts:
        assert np.isfinite(part.vertices).all()
        assert part.faces.dtype == np.int32
        assert part.faces.min() >= 0
        assert part.faces.max() < len(part.vertices)
    if measure(model.surface()).watertight:
        assert measure(found.model.surface()).watertight


@settings(max_examples=25, deadline=None)
@given(
    corners=st.lists(st.integers(0, 29), min_size=18, max_size=150),
    seed=st.integers(0, 1000),
    grid=st.sampled_from([0, 2, 5]),
)
def test_any_triangles_whatever_come_back_valid(corners: list[int], seed: int, grid: int) -> None:
    chance = np.random.default_rng(seed)
    points = chance.integers(0, grid, (30, 3)) if grid else chance.normal(size=(30, 3))
    part = TexturedMesh(
        vertices=points.astype(np.float32),
        faces=np.array(corners[: len(corners) // 3 * 3], np.int32).reshape(-1, 3),
        colours=chance.integers(0, 256, (30, 4), dtype=np.uint8),
    )
    found = simplify(Model(parts=(part,)), target_faces=5)
    assert 0 < found.model.face_count <= len(part.faces)
    for one in found.model.parts:
        assert one.faces.min() >= 0
        assert one.faces.max() < len(one.vertices)
        assert np.isfinite(one.vertices).all()
    if found.reached:
        assert found.model.face_count <= 1.05 * 5


def test_a_loose_vertex_far_away_costs_the_surface_nothing() -> None:
    loose = replace(
        RING,
        vertices=np.concatenate([RING.vertices, np.float32([[1e9, 0, 0]])]),
        colours=None,
    )
    alone = simplify(Model(parts=(replace(RING, colours=None),)), target_faces=300)
    found = simplify(Model(parts=(loose,)), target_faces=300)
    assert found.error_m == pytest.approx(alone.error_m, rel=1e-3)


def test_sizes_far_from_one_and_places_far_from_the_middle_make_no_difference() -> None:
    plain = simplify(Model(parts=(RING,)), target_faces=500)
    for scale in (1e-4, 1e4):
        moved = replace(RING, vertices=(RING.vertices * np.float32(scale)).astype(np.float32))
        found = simplify(Model(parts=(moved,)), target_faces=500)
        assert found.reached
        assert found.error_m == pytest.approx(plain.error_m * scale, rel=0.3)


@pytest.mark.parametrize(
    "wish",
    [{"target_faces": 3}, {"target_faces": 50, "max_error": 0.0}, {"target_faces": 50, "max_error": np.nan}],
)
def test_a_wish_that_makes_no_sense_is_refused(wish: dict[str, float]) -> None:
    with pytest.raises(InvalidParameters):
        simplify(Model(parts=(RING,)), **wish)  # type: ignore[arg-type]
