"""Atlases in which every face has a place of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline3d.errors import InvalidParameters, UnusableInput
from pipeline3d.geometry import unwrapping
from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d.geometry.texels import find_texels
from pipeline3d.geometry.unwrapping import Method, unwrap
from pipeline3d_tests.awkward_meshes import USABLE, build, coloured_torus, sphere

SIDE = 256


def areas(corners: np.ndarray) -> np.ndarray:
    one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    if corners.shape[2] == 2:
        return (one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]) / 2
    return np.linalg.norm(np.cross(one, other), axis=1) / 2


@pytest.mark.parametrize("method", ["xatlas", "box"])
@pytest.mark.parametrize("mesh", [sphere(), coloured_torus()], ids=["ball", "ring"])
def test_faces_keep_their_corners_and_lie_side_by_side(mesh: TexturedMesh, method: Method) -> None:
    (found,) = unwrap([mesh], size_px=SIDE, method=method)
    assert np.array_equal(found.source[found.faces], mesh.faces)
    assert found.uvs.min() >= 0
    assert found.uvs.max() <= 1
    texels = find_texels(found.uvs, found.faces, SIDE)
    assert texels.overlap < 0.01
    assert len(texels.index) > 0.3 * SIDE**2
    shares = np.abs(areas(found.uvs[found.faces])) / areas(mesh.vertices[mesh.faces])
    assert shares.max() / np.median(shares) < 4
    assert shares.min() / np.median(shares) > 0.2


def test_boxes_show_the_picture_upright_and_not_mirrored() -> None:
    mesh = sphere()
    (found,) = unwrap([mesh], size_px=SIDE, method="box")
    corners = found.uvs[found.faces]
    assert (areas(corners) < 0).all()  # counter-clockwise faces, v downwards
    sides = mesh.vertices[mesh.faces].mean(axis=1)
    front = np.flatnonzero(sides[:, 2] > 0.9 * sides[:, 2].max())
    middles, places = corners[front].mean(axis=1), sides[front]
    assert np.corrcoef(middles[:, 0], places[:, 0])[0, 1] > 0.99
    assert np.corrcoef(middles[:, 1], places[:, 1])[0, 1] < -0.99


@pytest.mark.parametrize("method", ["xatlas", "box"])
def test_several_parts_share_one_atlas(method: Method) -> None:
    parts = [sphere(), coloured_torus(around=16, across=8)]
    found = unwrap(parts, size_px=SIDE, method=method)
    covered = [find_texels(one.uvs, one.faces, SIDE).index for one in found]
    assert len(np.intersect1d(*covered)) < 0.01 * sum(map(len, covered))


@pytest.mark.parametrize("name", [name for name in sorted(USABLE) if len(build(name).parts) == 1])
def test_awkward_surfaces_are_laid_down_as_boxes_too(name: str) -> None:
    (part,) = build(name).parts
    (found,) = unwrap([part], size_px=SIDE, method="box")
    assert np.isfinite(found.uvs).all()
    assert np.array_equal(found.source[found.faces], part.faces)


def test_too_many_faces_for_xatlas_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unwrapping, "MOST_FACES", 100)
    with pytest.raises(UnusableInput) as refusal:
        unwrap([sphere()], size_px=SIDE)
    assert refusal.value.code == "too_many_faces"
    assert unwrap([sphere()], size_px=SIDE, method="box")


def test_broken_arrays_and_unknown_methods_are_refused() -> None:
    with pytest.raises(UnusableInput):
        unwrap([replace(sphere(), faces=sphere().faces + 1)], size_px=SIDE)
    with pytest.raises(InvalidParameters):
        unwrap([sphere()], size_px=SIDE, method="cylinder")  # type: ignore[arg-type]
