"""Which way tangents run, and that the way into tangent space and back ends where it began."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline3d.geometry.tangents import from_tangent_space, to_tangent_space, vertex_tangents

UVS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
WALL = np.array([[0, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]], np.float32)
"""Faces +Z, with its picture upright: the upper left corner of the texture is up left."""
FACES = np.array([[0, 2, 1], [0, 3, 2]])
OUT = np.tile(np.float32([0, 0, 1]), (4, 1))


def test_on_an_upright_picture_tangents_run_right_and_w_is_1() -> None:
    found = vertex_tangents(WALL, FACES, OUT, UVS)
    assert found == pytest.approx(np.tile([1, 0, 0, 1], (4, 1)))


def test_on_a_mirrored_picture_tangents_run_left_and_w_is_minus_1() -> None:
    found = vertex_tangents(WALL, FACES, OUT, UVS * np.float32([-1, 1]) + np.float32([1, 0]))
    assert found == pytest.approx(np.tile([-1, 0, 0, -1], (4, 1)))


@pytest.mark.parametrize("mirrored", [False, True])
def test_right_and_up_in_the_picture_are_red_and_green(mirrored: bool) -> None:
    uvs = UVS * np.float32([-1, 1]) + np.float32([1, 0]) if mirrored else UVS
    tangents = vertex_tangents(WALL, FACES, OUT, uvs)[:2]
    leaning = np.array([[0.6, 0, 0.8], [0, 0.6, 0.8]])
    mapped = to_tangent_space(leaning, OUT[:2].astype(float), tangents)
    right = -0.6 if mirrored else 0.6
    assert mapped == pytest.approx(np.array([[right, 0, 0.8], [0, 0.6, 0.8]]))


def test_there_and_back_is_the_same_direction_whatever_the_frame() -> None:
    chance = np.random.default_rng(3)
    normals = chance.normal(size=(50, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    along = chance.normal(size=(50, 3))
    tangents = np.concatenate([along, np.sign(chance.normal(size=(50, 1)))], axis=1)
    directions = chance.normal(size=(50, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    mapped = to_tangent_space(directions, normals, tangents)
    # the frame is not orthonormal here, as interpolated ones are not
    assert from_tangent_space(mapped, normals, tangents) == pytest.approx(directions, abs=1e-6)


def test_vertices_without_texture_area_get_any_perpendicular_tangent() -> None:
    found = vertex_tangents(WALL, FACES, OUT, np.zeros_like(UVS))
    assert np.einsum("ij,ij->i", found[:, :3], OUT) == pytest.approx(np.zeros(4))
    assert np.linalg.norm(found[:, :3], axis=1) == pytest.approx(np.ones(4))
