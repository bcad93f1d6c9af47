"""Models stand on the ground, centred, as large as was asked for, in the axes and unit of their target."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.errors import BrokenModelOutput, InvalidParameters
from pipeline3d.geometry.measuring import measure
from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.pose import TARGETS, fit_to_size, place, place_for
from pipeline3d_tests.awkward_meshes import build


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 50), st.floats(0.001, 100))
def test_the_longest_side_is_the_size_and_the_base_is_the_ground(seed, size_m, scale):
    points = np.random.default_rng(seed).normal(3, 1, (20, 3)) * scale
    mesh = TexturedMesh(vertices=points.astype(np.float32), faces=np.array([[0, 1, 2]], np.int32))
    placed = fit_to_size(mesh, size_m=size_m).vertices
    low, high = placed.min(axis=0), placed.max(axis=0)
    assert (high - low).max() == pytest.approx(size_m, rel=1e-4)
    assert low[1] == pytest.approx(0, abs=1e-4 * size_m)
    assert (low + high)[[0, 2]] / 2 == pytest.approx([0, 0], abs=1e-4 * size_m)


def test_a_point_cannot_be_given_a_size():
    mesh = TexturedMesh(vertices=np.ones((3, 3), np.float32), faces=np.array([[0, 1, 2]], np.int32))
    with pytest.raises(BrokenModelOutput):
        fit_to_size(mesh)


@pytest.mark.parametrize("name", ["empty", "nan", "infinite"])
def test_what_has_no_bounds_cannot_be_placed(name):
    with pytest.raises(BrokenModelOutput) as caught:
        place(build(name), size_m=1.0)
    assert caught.value.code == "empty_mesh"


@pytest.mark.parametrize("size_m", [0.0, -1.0, 1e-9, 1e9, float("nan"), float("inf")])
def test_absurd_sizes_are_refused(size_m):
    with pytest.raises(InvalidParameters) as caught:
        place(build("mug"), size_m=size_m)
    assert caught.value.code == "bad_size"


def test_a_flat_model_has_no_size_across():
    with pytest.raises(BrokenModelOutput, match="along z"):
        place(build("flat"), size_m=1.0, size_axis="z")


@pytest.mark.parametrize(("axis", "index"), [("x", 0), ("y", 1), ("z", 2)])
def test_the_size_is_along_the_axis_that_was_named(axis, index):
    before, after = build("mug"), place(build("mug"), size_m=0.12, size_axis=axis)
    assert measure(after).extents[index] == pytest.approx(0.12, rel=1e-5)
    ratios = np.array(measure(after).extents) / np.array(measure(before).extents)
    assert ratios == pytest.approx([ratios[0]] * 3, rel=1e-4)


@pytest.mark.parametrize(("unit", "height"), [("m", 0.1), ("cm", 10), ("mm", 100), ("in", 3.93701)])
def test_units_count_the_same_height(unit, height):
    assert measure(place(build("mug"), size_m=0.1, size_axis="y", unit=unit)).extents[1] == pytest.approx(
        height, rel=1e-5
    )


def test_without_a_size_a_model_keeps_its_own():
    placed = measure(place(build("mug"), size_m=None, unit="mm"))
    assert placed.extents == pytest.approx(np.array(measure(build("mug")).extents) * 1000, rel=1e-5)


def test_the_pivot_is_the_middle_of_the_base_or_of_the_bounds():
    low, high = np.array(measure(place(build("mug"), size_m=2.0, pivot="bottom")).bounds)
    assert [*(low + high)[[0, 2]], low[1]] == pytest.approx([0, 0, 0], abs=1e-6)
    low, high = np.array(measure(place(build("mug"), size_m=2.0, pivot="center")).bounds)
    assert low + high == pytest.approx([0, 0, 0], abs=1e-6)


def test_z_up_is_a_turn_that_keeps_winding_normals_and_what_is_in_front():
    source = build("textured_sphere")
    turned = place(source, size_m=None, pivot="center", up_axis="z").parts[0]
    part = source.parts[0]
    assert turned.vertices[:, 2] == pytest.approx(part.vertices[:, 1], abs=1e-6)
    assert turned.vertices[:, 1] == pytest.approx(-part.vertices[:, 2], abs=1e-6)
    assert measure(turned).volume == pytest.approx(measure(part).volume, rel=1e-6)
    outwards = np.einsum("ij,ij->i", turned.vertices, turned.normals)
    assert (outwards > 0.49).all()
    assert turned.texture == part.texture
    assert turned.uvs is part.uvs


def test_several_parts_stay_where_they_are_to_each_other():
    source = build("two_parts")
    placed = place(source, size_m=measure(source).extents[0] * 3)
    gaps = [
        model.parts[1].vertices[7].astype(float) - model.parts[0].vertices[3] for model in (source, placed)
    ]
    assert gaps[1] == pytest.approx(gaps[0] * 3, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_target_stands_on_its_ground_in_its_unit(name):
    target = TARGETS[name]
    facts = measure(place_for(build("mug"), name, size_m=0.1, size_axis="y"))
    up = {"y": 1, "z": 2}[target.up_axis]
    assert facts.bounds[0][up] == pytest.approx(0, abs=1e-6)
    assert facts.extents[up] == pytest.approx({"m": 0.1, "cm": 10, "mm": 100}[target.unit], rel=1e-5)
    assert facts.watertight
    assert facts.volume > 0
    assert target.sentence.endswith(".")


def test_an_unknown_target_is_refused_with_those_that_are_known():
    with pytest.raises(InvalidParameters) as caught:
        place_for(build("box"), "betamax", size_m=1.0)
    assert "slicer" in str(caught.value)


def test_placing_changes_no_colours_and_not_the_original():
    source = build("coloured_torus")
    kept = source.parts[0].vertices.copy()
    placed = place(source, size_m=0.3)
    assert isinstance(placed, Model)
    assert placed.parts[0].colours is source.parts[0].colours
    assert (source.parts[0].vertices == kept).all()
