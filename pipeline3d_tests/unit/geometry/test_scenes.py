"""A scene holds any model that has a surface, once, and refuses the others with the reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.mesh import Material, Model, TexturedMesh
from pipeline3d.geometry.scenes import face_tangents, prepare_scene, smooth_normals
from pipeline3d_tests.painted_models import ball, card, flat_png, map_of

EMPTY = TexturedMesh(vertices=np.zeros((0, 3), np.float32), faces=np.zeros((0, 3), np.int32))


def with_vertex(value: float) -> TexturedMesh:
    mesh = card()
    vertices = mesh.vertices.copy()
    vertices[0, 0] = value
    return replace(mesh, vertices=vertices)


@pytest.mark.parametrize(
    ("mesh", "reason"),
    [
        (EMPTY, "no faces"),
        (replace(card(), vertices=np.zeros((4, 3), np.float32)), "no size"),
        (with_vertex(np.nan), "no numbers"),
        (with_vertex(np.inf), "no numbers"),
        (replace(card(), faces=np.array([[0, 1, 4]], np.int32)), "do not exist"),
        (replace(card(), faces=np.array([[0, 1, -1]], np.int32)), "do not exist"),
        (replace(card(), uvs=np.zeros((3, 2), np.float32)), "3 uvs for 4 vertices"),
    ],
)
def test_a_mesh_without_a_surface_is_refused_with_its_reason(mesh, reason):
    with pytest.raises(BrokenModelOutput, match=reason) as caught:
        prepare_scene(mesh)
    assert caught.value.code == "unrenderable_mesh"


@pytest.mark.parametrize("size", [1e-20, 1e-3, 1.0, 1e30])
def test_models_of_any_size_fill_the_unit_sphere(size):
    scene = prepare_scene(replace(ball(), vertices=(ball().vertices * size + size).astype(np.float32)))
    radii = np.linalg.norm(scene.vertices, axis=1)
    assert radii.max() == pytest.approx(1, abs=1e-5)
    assert radii.min() == pytest.approx(1, abs=1e-3)


def test_parts_are_told_apart_and_empty_ones_left_out():
    red, glass = Material(base_colour=(1, 0, 0, 1)), Material(alpha_mode="BLEND", double_sided=True)
    scene = prepare_scene(Model(parts=(card(red), EMPTY, ball(glass))))
    assert [surface.material for surface in scene.surfaces] == [red, glass]
    assert np.bincount(scene.surface_of).tolist() == [2, len(ball().faces)]
    assert np.array_equal(scene.layered_faces, scene.surface_of == 1)
    assert np.array_equal(scene.two_sided, scene.surface_of == 1)
    assert scene.faces.max() == len(scene.vertices) - 1


def test_every_part_of_very_many_has_its_own_surface():
    parts = tuple(card(Material(base_colour=(0, 0, 0, 1))) for _ in range(2))
    scene = prepare_scene(Model(parts=parts * 16_500))
    assert scene.surface_of.min() == 0
    assert scene.surface_of.max() == len(scene.surfaces) - 1 == 32_999


def test_a_picture_that_two_parts_share_is_decoded_once():
    picture = flat_png(9, 9, 9)
    scene = prepare_scene(Model(parts=(card(texture=picture), card(texture=picture, z=0.5))))
    assert scene.surfaces[0].base is scene.surfaces[1].base


def test_broken_normals_and_texture_coordinates_do_not_spread():
    mesh = card(texture=flat_png(200, 0, 0))
    scene = prepare_scene(
        replace(
            mesh,
            normals=np.full((4, 3), np.nan, np.float32),
            uvs=np.full((4, 2), [[np.nan, np.inf]], np.float32),
        )
    )
    assert np.isfinite(scene.normals).all()
    assert np.isfinite(scene.uvs).all()


@pytest.mark.parametrize(
    ("material", "matt"),
    [
        (Material(), True),
        (Material(roughness=0.3), False),
        (Material(metallic=1.0), False),
        (Material(metallic_roughness=map_of(255, 255, 0)), False),
    ],
)
def test_only_matt_materials_skip_reflections(material, matt):
    assert prepare_scene(card(material)).surfaces[0].matt is matt


@pytest.mark.parametrize("mirrored", [False, True])
def test_tangents_follow_the_picture_also_where_it_is_mirrored(mirrored):
    mesh = card()
    uvs = mesh.uvs * [-1, 1] if mirrored else mesh.uvs
    frames = face_tangents(mesh.vertices, uvs.astype(np.float32), mesh.faces)
    assert np.allclose(frames[:, 0], [-1 if mirrored else 1, 0, 0])
    assert np.allclose(frames[:, 1], [0, 1, 0])  # up in the picture is up on the card


def test_normals_are_made_where_there_are_none():
    made = smooth_normals(ball().vertices, ball().faces)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    assert (made * ball().normals).sum(axis=1).min() > 0.98
