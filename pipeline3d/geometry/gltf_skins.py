"""Skinned meshes as they stand in the file: each vertex moved by its joints (specification, section 3.7.3).

Without this a figure has the size and the axes of the program it was modelled in, not those of the scene.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.gltf_accessors import Accessors
from pipeline3d.geometry.gltf_nodes import Matrix, walk
from pipeline3d.geometry.import_limits import ImportLimits
from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d.geometry.refusals import broken

ROWS = 65_536
"""Vertices in one step: bounds the memory for their matrices."""


@dataclass
class Skins:
    """The skins of a document."""

    document: dict[str, Any]
    accessors: Accessors
    limits: ImportLimits
    _read: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)
    _nodes: dict[int, Matrix] = field(default_factory=dict)

    def pose(self, part: TexturedMesh, skin: int, attributes: dict[str, Any]) -> TexturedMesh:
        """The part in the scene's coordinates, with arrays of its own. Raises UnusableInput."""
        matrices = self._matrices(skin)
        joints, weights = self._influences(attributes, len(part.vertices))
        if int(joints.max()) >= len(matrices):
            raise broken("a vertex names a joint that does not exist")
        vertices = np.empty_like(part.vertices)
        normals = None if part.normals is None else np.empty_like(part.normals)
        for start in range(0, len(vertices), ROWS):
            rows = slice(start, start + ROWS)
            blended = np.einsum("nk,nkij->nij", weights[rows], matrices[joints[rows]])
            turn = blended[:, :3, :3]
            vertices[rows] = np.einsum("nij,nj->ni", turn, part.vertices[rows]) + blended[:, :3, 3]
            if normals is not None and part.normals is not None:
                normals[rows] = np.einsum("nij,nj->ni", turn, part.normals[rows])
        return replace(part, vertices=vertices, normals=normals)

    def _influences(
        self, attributes: dict[str, Any], count: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Joints (n,k) and weights (n,k) that sum to one; a vertex without any follows the first joint."""
        joints, weights, number = [], [], 0
        while f"JOINTS_{number}" in attributes and number < 4:
            joints.append(self.accessors.read(attributes[f"JOINTS_{number}"], ("VEC4",)))
            weights.append(self.accessors.read_floats(attributes[f"WEIGHTS_{number}"], ("VEC4",)))
            number += 1
        places, shares = np.concatenate(joints, axis=1), np.concatenate(weights, axis=1)
        if places.dtype.kind != "u" or len(places) != count or len(shares) != count:
            raise broken("the joints of a mesh do not fit its vertices")
        shares = np.nan_to_num(np.maximum(shares, 0), nan=0.0, posinf=0.0)
        sums = shares.sum(axis=1)
        shares[sums == 0, 0] = 1.0
        return places.astype(np.int64), (shares / np.where(sums > 0, sums, 1.0)[:, None]).astype(np.float32)

    def _matrices(self, number: int) -> npt.NDArray[np.float32]:
        """Of each joint (j,4,4): from the mesh as it was modelled to the scene."""
        if number not in self._read:
            skins = self.document.get("skins", [])
            if not isinstance(number, int) or not 0 <= number < len(skins):
                raise broken(f"there is no skin {number!r}")
            if not self._nodes:
                self._nodes = {index: matrix for index, _, matrix in walk(self.document, self.limits)}
            skin = skins[number]
            missing = [joint for joint in skin["joints"] if joint not in self._nodes]
            if missing or not skin["joints"]:
                raise broken("a skin has joints that are not in the scene")
            matrices = np.stack([self._nodes[joint] for joint in skin["joints"]])
            if "inverseBindMatrices" in skin:
                stored = self.accessors.read_floats(skin["inverseBindMatrices"], ("MAT4",))
                if len(stored) < len(matrices) or not np.isfinite(stored).all():
                    raise broken("a skin lacks matrices")
                bind = stored[: len(matrices)].reshape(-1, 4, 4).transpose(0, 2, 1).astype(np.float64)
                matrices = matrices @ bind
            self._read[number] = matrices.astype(np.float32)
        return self._read[number]
