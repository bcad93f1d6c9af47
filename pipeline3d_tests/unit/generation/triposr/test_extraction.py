"""The surface: that of a dense evaluation, complete, closed, turned the right way, in the right colours."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from skimage import measure

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.generation.triposr import extract, load_model
from pipeline3d.generation.triposr.meshes import linear_from_srgb, turn_back, turn_upright
from pipeline3d.generation.triposr.scene import SceneCode
from pipeline3d_tests.tiny_triposr import (
    MARKED_BODY,
    TINY,
    build_scene,
    draw_cut_out,
    write_directory,
)
from pipeline3d_tests.triposr_by_hand import query_field


@pytest.fixture(scope="module")
def scene() -> SceneCode:
    return build_scene(TINY, MARKED_BODY, roughness=0.01)


def closed(mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


def evaluate_densely(scene: SceneCode, resolution: int) -> np.ndarray:
    """What the field says at every place of the lattice, in 64 bits."""
    ticks = np.linspace(-scene.radius, scene.radius, resolution)
    points = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 3)
    raw, _ = query_field(scene, points)
    return raw


def march_densely(scene: SceneCode, raw: np.ndarray, resolution: int, *, smooth: bool) -> np.ndarray:
    """Vertices of a dense evaluation, in the model's axes."""
    if smooth:
        values = raw - (math.log(scene.threshold) - scene.density_bias)
    else:
        values = np.exp(np.minimum(raw + scene.density_bias, 80)) - scene.threshold
    vertices, *_ = measure.marching_cubes(values.reshape([resolution] * 3), 0.0)
    return vertices / (resolution - 1) * 2 * scene.radius - scene.radius


@pytest.mark.parametrize(("resolution", "start"), [(33, 1), (48, 2), (40, 4), (45, 8), (50, 16), (17, 16)])
def test_the_surface_is_that_of_a_dense_evaluation(scene, resolution, start):
    raw = evaluate_densely(scene, resolution)
    voxel = 2 * scene.radius / (resolution - 1)
    for smooth in (False, True):
        mesh = extract(scene, resolution=resolution, start=start, smooth=smooth)
        wanted = march_densely(scene, raw, resolution, smooth=smooth)
        found = turn_back(mesh.vertices)
        assert len(found) == len(wanted)
        assert np.abs(found - wanted).max() <= 0.01 * voxel, f"smooth: {smooth}"
        assert mesh.lattice == resolution**3


def test_only_a_small_part_of_the_lattice_is_evaluated(scene):
    assert extract(scene, resolution=128, start=8).evaluations < 0.15 * 128**3
    assert extract(scene, resolution=32, start=1).evaluations == 32**3


def test_the_body_reaches_where_it_was_made_to_reach(scene):
    """Towards the camera is +Z, up is +Y, the picture's right is +X."""
    mesh = extract(scene, resolution=96)
    low, high = mesh.vertices.min(axis=0) / scene.radius, mesh.vertices.max(axis=0) / scene.radius
    assert high == pytest.approx([0.5, 0.65, 0.8], abs=0.06)
    assert low == pytest.approx([-0.3, -0.3, -0.3], abs=0.03)


def test_the_colours_are_where_they_were_put_and_linear(scene):
    mesh = extract(scene, resolution=64)
    _, colours = query_field(scene, turn_back(mesh.vertices).astype(np.float64))
    assert np.abs(mesh.colours[:, :3] - 255 * linear_from_srgb(colours)).max() <= 1
    assert (mesh.colours[:, 3] == 255).all()
    for axis, channel in ((2, 0), (1, 1), (0, 2)):  # red in front, green above, blue to the right
        far, near = mesh.vertices[:, axis].argmax(), mesh.vertices[:, axis].argmin()
        assert mesh.colours[far, channel] > mesh.colours[near, channel] + 60


@pytest.mark.parametrize("smooth", [False, True])
def test_the_surface_is_closed_and_faces_outwards(scene, smooth):
    mesh = extract(scene, resolution=64, smooth=smooth)
    solid = closed(mesh)
    assert solid.is_watertight
    assert solid.is_winding_consistent
    assert solid.volume > 0.05
    assert np.linalg.norm(mesh.normals, axis=1) == pytest.approx(1, abs=1e-4)
    ball = mesh.vertices[:, 0] < -0.2  # on the round side normals point away from the centre
    outwards = mesh.vertices[ball] / np.linalg.norm(mesh.vertices[ball], axis=1, keepdims=True)
    assert (np.einsum("ij,ij->i", outwards, mesh.normals[ball]) > 0.9).all()


def test_smooth_surfaces_show_less_of_the_lattice(scene):
    """On the round side the distance from the centre wavers less."""
    wavers = []
    for smooth in (False, True):
        vertices = turn_back(extract(scene, resolution=48, smooth=smooth).vertices) / scene.radius
        round_side = vertices[(vertices < 0.05).all(axis=1)]
        wavers.append(np.std(np.linalg.norm(round_side, axis=1)))
    assert wavers[1] < wavers[0]


def test_the_same_scene_gives_the_same_bytes(scene, tmp_path):
    scene.save(tmp_path / "scene")
    first, second = extract(scene, resolution=64), extract(SceneCode.load(tmp_path / "scene"), resolution=64)
    for name in ("vertices", "faces", "normals", "colours"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


def test_a_picture_becomes_a_closed_mesh_that_depends_on_it(tmp_path):
    write_directory(tmp_path, roughness=0.03)
    model = load_model(tmp_path, device="cpu")
    meshes = [extract(one, resolution=64) for one in model.encode([draw_cut_out(1), draw_cut_out(2)])]
    for mesh in meshes:
        assert closed(mesh).is_watertight
        assert closed(mesh).volume > 0.05
    sizes = [np.ptp(mesh.vertices, axis=0) for mesh in meshes]
    assert not np.array_equal(*sizes)
    assert sizes[0] == pytest.approx(sizes[1], abs=0.1)


def test_the_types_are_those_of_the_contract(scene):
    mesh = extract(scene, resolution=32)
    assert (mesh.vertices.dtype, mesh.normals.dtype) == (np.float32, np.float32)
    assert (mesh.faces.dtype, mesh.colours.dtype) == (np.int32, np.uint8)
    assert mesh.normals.shape == mesh.vertices.shape
    assert mesh.colours.shape == (len(mesh.vertices), 4)


def test_progress_grows_from_little_to_one(scene):
    heard: list[float] = []
    extract(scene, resolution=64, report=heard.append)
    assert heard == sorted(heard)
    assert len(heard) >= 4
    assert heard[0] < 0.3
    assert heard[-1] == 1


@pytest.mark.parametrize("change", [-50.0, 60.0], ids=["empty everywhere", "solid everywhere"])
def test_a_scene_without_a_surface_is_refused(scene, change):
    *inner, (weight, bias) = scene.decoder
    still = weight.copy()
    still[0] = 0
    flat = bias + np.array([change, 0, 0, 0], np.float32)
    with pytest.raises(BrokenModelOutput) as refusal:
        extract(replace(scene, decoder=(*inner, (still, flat))), resolution=32)
    assert refusal.value.code == "empty_mesh"


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_densities_that_are_not_numbers_are_refused(scene, number):
    planes = scene.planes.copy()
    planes[0, 0] = number
    with pytest.raises(BrokenModelOutput) as refusal:
        extract(replace(scene, planes=planes), resolution=32)
    assert refusal.value.code == "nan_mesh"


def test_huge_densities_do_not_break_the_surface(scene):
    *inner, (weight, bias) = scene.decoder
    steep = weight * np.array([[1e4], [1], [1], [1]], np.float32)
    mesh = extract(replace(scene, decoder=(*inner, (steep, bias))), resolution=48)
    assert np.isfinite(mesh.vertices).all()
    assert closed(mesh).is_watertight


@pytest.mark.parametrize(("resolution", "start"), [(8, 8), (1000, 8), (64, 3), (64, 0), (64, 32)])
def test_wrong_arguments_are_named(scene, resolution, start):
    with pytest.raises(ValueError, match="resolution|start"):
        extract(scene, resolution=resolution, start=start)


def test_turning_upright_is_undone_by_turning_back():
    points = np.random.default_rng(0).random((5, 3), np.float32)
    assert np.array_equal(turn_back(turn_upright(points)), points)
    assert turn_upright(np.array([[1.0, 2.0, 3.0]])).tolist() == [[2.0, 3.0, 1.0]]
