"""Each fault is repaired or told, a good model is left alone, and nothing gets worse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.measuring import MeshFacts, measure
from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.repairing import Repaired, repair, with_normals
from pipeline3d.geometry.solidity import is_solid
from pipeline3d_tests.awkward_meshes import (
    AWKWARD,
    UNUSABLE,
    USABLE,
    build,
    coloured_torus,
    joined,
    mug,
    sphere,
    textured_sphere,
    turned,
)

GOOD = (
    "box",
    "textured_sphere",
    "coloured_torus",
    "mug",
    "hollow_ball",
    "filled_ball",
)
CROSSED = ("crossed", "two_parts")
BROKEN = ("nan", "infinite", "far")


def counts(repaired: Repaired) -> dict[str, int]:
    return {change.kind: change.count for change in repaired.changes}


def faults(facts: MeshFacts) -> tuple[int, ...]:
    """The worst first."""
    return (
        facts.non_manifold_edges + facts.pinched_points,
        int(not facts.winding_consistent),
        facts.boundary_edges,
        facts.duplicate_faces,
        facts.degenerate_faces,
    )


@pytest.mark.parametrize(
    ("name", "level"),
    [*((name, "auto") for name in (*GOOD, *CROSSED)), *((name, "solid") for name in GOOD)],
)
def test_a_good_model_comes_back_as_the_same_object(name, level):
    model = build(name)
    repaired = repair(model, level=level)
    assert repaired.model is model
    assert repaired.changes == ()
    assert repaired.unrepaired == ()
    assert repaired.after == repaired.before


@pytest.mark.parametrize(("name", "volume"), [("crossed", 0.5059), ("two_parts", 1.2)])
def test_bodies_that_run_through_each_other_are_left_unless_they_are_to_be_printed(name, volume):
    model = build(name)
    assert repair(model).model is model
    repaired = repair(model, level="solid")
    assert counts(repaired) == {"united_bodies": 2}
    assert repaired.unrepaired == ()
    assert repaired.before.volume > repaired.after.volume > volume
    assert is_solid(repaired.model)
    for part, source in zip(repaired.model.parts, model.parts, strict=True):
        assert part.texture == source.texture
        if source.uvs is not None:
            assert part.uvs.min() >= 0
            assert part.uvs.max() <= 1
            assert np.linalg.norm(part.normals, axis=1) == pytest.approx(np.ones(len(part.normals)), abs=1e-5)


def test_a_surface_that_runs_through_itself_is_told():
    ball = textured_sphere(rows=30, columns=30)
    vertices = ball.vertices.copy()
    vertices[vertices[:, 1] < -0.35, 1] += 1.2
    repaired = repair(Model(parts=(replace(ball, vertices=vertices),)), level="solid")
    assert any("faces that run through others" in told for told in repaired.unrepaired)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("small_holes", {"filled_holes": 4}),
        ("inside_out", {"turned_pieces": 1}),
        ("turned_patch", {"turned_faces": 107}),
        ("boxes_at_an_edge", {"separated_points": 2}),
        ("bow_tie", {"separated_points": 1}),
        ("doubled_faces", {"duplicate_faces": 24}),
        ("slivers", {"collapsed_faces": 2, "slivers": 3}),
        ("floaters", {"floaters": 6}),
        ("loose_vertices", {"loose_vertices": 10}),
        ("nearly_welded", {"joined_points": 797}),
        ("nan", {"broken_coordinates": 6, "filled_holes": 1}),
        ("infinite", {"broken_coordinates": 6, "filled_holes": 1}),
        ("far", {"broken_coordinates": 6, "filled_holes": 1}),
    ],
)
def test_each_fault_is_repaired_into_a_solid_and_counted(name, changes):
    repaired = repair(build(name))
    assert counts(repaired) == changes
    assert all(f"{change.count}" in change.sentence for change in repaired.changes)
    assert repaired.unrepaired == ()
    assert repaired.after.watertight
    assert repaired.after.winding_consistent
    assert repaired.after.volume > 0
    assert is_solid(repaired.model)


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("open_box", "edges of openings: 4"),
        ("open_sphere", "edges of openings: 32"),
        ("single_triangle", "edges of openings: 3"),
        ("flat", "edges of openings: 4"),
        ("fan", "edges of openings: 7"),
    ],
)
def test_what_may_be_meant_so_is_left_and_told(name, left):
    repaired = repair(build(name))
    assert left in repaired.unrepaired
    assert "filled_holes" not in counts(repaired)


@pytest.mark.parametrize(("name", "volume"), [("open_box", 1.0), ("open_sphere", 0.424)])
def test_a_solid_is_covered_wherever_it_is_open(name, volume):
    repaired = repair(build(name), level="solid")
    assert counts(repaired)["filled_holes"] == 1
    assert repaired.unrepaired == ()
    assert is_solid(repaired.model)
    assert repaired.after.volume == pytest.approx(volume, rel=1e-3)
    assert max(repaired.after.extents) == pytest.approx(max(repaired.before.extents))


@pytest.mark.parametrize("name", ["single_triangle", "flat"])
def test_a_sheet_is_no_solid_and_says_so(name):
    model = build(name)
    repaired = repair(model, level="solid")
    assert repaired.model is model
    assert repaired.unrepaired


@pytest.mark.parametrize(
    ("name", "code"), [("empty", "empty_mesh"), ("no_faces", "empty_mesh"), ("point", "empty_mesh")]
)
def test_nothing_is_made_of_nothing(name, code):
    with pytest.raises(BrokenModelOutput) as caught:
        repair(build(name))
    assert caught.value.code == code


def test_a_model_that_is_mostly_no_numbers_is_refused():
    ball = textured_sphere()
    vertices = ball.vertices.copy()
    vertices[::3] = np.nan
    with pytest.raises(BrokenModelOutput) as caught:
        repair(Model(parts=(replace(ball, vertices=vertices),)))
    assert caught.value.code == "nan_mesh"


def test_faces_that_name_no_vertex_are_refused():
    ball = textured_sphere()
    with pytest.raises(BrokenModelOutput) as caught:
        repair(Model(parts=(replace(ball, faces=ball.faces + np.int32(50)),)))
    assert caught.value.code == "broken_mesh"


@pytest.mark.parametrize("name", sorted(AWKWARD))
def test_the_original_is_untouched(name):
    model = build(name)
    kept = [
        (part.vertices.copy(), part.faces.copy(), None if part.normals is None else part.normals.copy())
        for part in model.parts
    ]
    try:
        repair(model, level="solid")
    except BrokenModelOutput:
        assert name in UNUSABLE
    for part, (vertices, faces, normals) in zip(model.parts, kept, strict=True):
        assert np.array_equal(part.vertices, vertices, equal_nan=True)
        assert np.array_equal(part.faces, faces)
        assert normals is None or np.array_equal(part.normals, normals)


@pytest.mark.parametrize("level", ["auto", "solid"])
@pytest.mark.parametrize("name", [*USABLE, *BROKEN])
def test_repairing_twice_changes_nothing_more(name, level):
    once = repair(build(name), level=level)
    twice = repair(once.model, level=level)
    assert twice.changes == ()
    assert twice.model is once.model
    assert twice.unrepaired == once.unrepaired


def test_a_hollow_that_is_inside_out_is_turned_as_a_whole():
    hollow = build("hollow_ball").parts[0]
    repaired = repair(Model(parts=(turned(hollow),)))
    assert counts(repaired) == {"turned_pieces": 2}
    assert repaired.after.volume == pytest.approx(0.3966, rel=1e-3)


def test_turned_pieces_turn_their_normals_only_where_these_were_wrong():
    ball = textured_sphere()
    for normals in (ball.normals, -ball.normals):
        part = repair(Model(parts=(turned(replace(ball, normals=normals)),))).model.parts[0]
        assert (np.einsum("ij,ij->i", part.vertices, part.normals) > 0.49).all()


def test_tiny_pieces_are_kept_where_they_are_all_there_is():
    crumbs = [sphere(radius=0.0004, centre=(n % 30, n // 30, 0)) for n in range(60)]
    model = Model(parts=(joined(sphere(radius=0.02), *crumbs),))
    repaired = repair(model)
    assert repaired.model is model
    assert any("tiny pieces" in told for told in repaired.unrepaired)


def test_a_cover_keeps_the_texture_place_of_its_rim():
    """Within a chart the rim's own; across a seam one place for all, so that nothing is smeared."""
    ball = textured_sphere(rows=24, columns=32)
    middles = ball.vertices[ball.faces].mean(axis=1)
    at_seam = np.argsort(np.linalg.norm(middles - [0, 0, 0.5], axis=1))[:2]
    away = np.argsort(np.linalg.norm(middles - [0.5, 0, 0], axis=1))[:1]
    broken = replace(ball, faces=np.delete(ball.faces, np.concatenate([at_seam, away]), axis=0))
    repaired = repair(Model(parts=(broken,)))
    part = repaired.model.parts[0]
    assert repaired.after.watertight
    stretch = np.ptp(part.uvs[part.faces], axis=1).max(axis=1)
    assert stretch.max() <= np.ptp(ball.uvs[ball.faces], axis=1).max() + 1e-6
    assert part.texture == ball.texture


def test_a_cover_takes_the_vertex_colours_of_its_rim():
    ring = coloured_torus()
    model = Model(parts=(replace(ring, faces=np.delete(ring.faces, [10, 300], axis=0)),))
    repaired = repair(model)
    part = repaired.model.parts[0]
    assert counts(repaired) == {"filled_holes": 2}
    assert len(part.vertices) == len(ring.vertices)
    assert np.array_equal(part.colours, ring.colours)
    assert repaired.after.genus == 1


def test_the_mouth_of_an_open_vessel_is_left_and_its_small_hole_is_not():
    bowl = textured_sphere(rows=24, columns=32)
    bowl = replace(bowl, faces=bowl.faces[bowl.vertices[bowl.faces].mean(axis=1)[:, 1] < 0.2])
    repaired = repair(Model(parts=(replace(bowl, faces=np.delete(bowl.faces, 200, axis=0)),)))
    assert counts(repaired)["filled_holes"] == 1
    assert repaired.after.holes == 1


def damaged(seed: int) -> TexturedMesh:
    """One of three bodies with faces lost, turned, doubled and collapsed, and crumbs beside it."""
    random = np.random.default_rng(seed)
    body = (textured_sphere(), coloured_torus(), replace(mug(), normals=None))[seed % 3]
    faces = body.faces.copy()
    turned_faces = random.random(len(faces)) < random.choice([0, 0.05, 0.4])
    faces[turned_faces] = faces[turned_faces][:, ::-1]
    faces = np.delete(faces, random.integers(0, len(faces), random.integers(0, 6)), axis=0)
    again = faces[random.integers(0, len(faces), random.integers(0, 8))]
    collapsed = faces[random.integers(0, len(faces), random.integers(0, 3))][:, [0, 1, 1]]
    extra = random.integers(0, len(body.vertices), (random.integers(0, 3), 3)).astype(np.int32)
    return replace(body, faces=np.concatenate([faces, again, collapsed, extra]))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 100_000), st.sampled_from(["auto", "solid"]))
def test_random_damage_is_never_made_worse_nor_by_a_second_repair(seed, level):
    body = damaged(seed)
    repaired = repair(Model(parts=(body,)), level=level)
    assert faults(repaired.after) <= faults(repaired.before)
    assert repaired.after.extents == pytest.approx(repaired.before.extents, rel=1e-3)
    part = repaired.model.parts[0]
    assert np.isfinite(part.vertices).all()
    assert part.faces.max() < len(part.vertices)
    if body.colours is not None:
        known = {tuple(colour) for colour in body.colours}
        strange = [tuple(colour) not in known for colour in part.colours]
        assert sum(strange) <= counts(repaired).get("filled_holes", 0)
    if body.uvs is not None:
        assert part.uvs.min() >= 0
        assert part.uvs.max() <= 1
    twice = repair(repaired.model, level=level)
    assert faults(twice.after) <= faults(repaired.after)


def test_a_model_without_normals_gets_them_and_keeps_its_surface():
    bare = build("box")
    assert bare.parts[0].normals is None
    dressed = with_normals(repair(bare))
    assert [(change.kind, change.count) for change in dressed.changes] == [("normals", 1)]
    assert dressed.after == measure(dressed.model)
    assert dressed.after.watertight
    assert dressed.after.volume == dressed.before.volume
    assert np.allclose(np.linalg.norm(dressed.model.parts[0].normals, axis=1), 1)
    assert with_normals(dressed) is dressed
