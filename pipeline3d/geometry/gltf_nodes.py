"""Where a glTF document puts its meshes: its nodes, walked from the scene's roots.

Nodes form trees (specification, section 3.5.2). A node that is reached twice, a cycle among them, or a
tree deeper than the limit is `UnusableInput`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.import_limits import ImportLimits
from pipeline3d.geometry.refusals import broken, refused

Matrix = npt.NDArray[np.float64]
IDENTITY: Matrix = np.eye(4)


def walk(document: dict[str, Any], limits: ImportLimits) -> Iterator[tuple[int, dict[str, Any], Matrix]]:
    """Every node of the scene: its number, itself and its matrix (4,4) in the scene's coordinates."""
    nodes = document.get("nodes", [])
    if len(nodes) > limits.nodes:
        raise refused("model_too_large", f"it has {len(nodes):,} nodes; at most {limits.nodes:,} are taken")
    seen: set[int] = set()
    waiting = [(root, IDENTITY, 1) for root in reversed(_roots(document, nodes))]
    while waiting:
        index, above, depth = waiting.pop()
        if not isinstance(index, int) or not 0 <= index < len(nodes):
            raise broken(f"there is no node {index!r}")
        if index in seen:
            raise broken(f"node {index} is below itself or has two parents")
        if depth > limits.depth:
            raise refused("model_too_large", f"its nodes are more than {limits.depth} deep")
        seen.add(index)
        matrix = above @ local_matrix(nodes[index])
        if not np.isfinite(matrix).all():
            raise broken(f"the transform of node {index} is no number")
        yield index, nodes[index], matrix
        waiting.extend((child, matrix, depth + 1) for child in reversed(nodes[index].get("children", [])))


def _roots(document: dict[str, Any], nodes: list[dict[str, Any]]) -> list[int]:
    """The roots of the scene to show; a document without scenes shows every node that has no parent."""
    scenes = document.get("scenes", [])
    if not scenes:
        below = {child for node in nodes for child in node.get("children", [])}
        return [index for index in range(len(nodes)) if index not in below]
    number = document.get("scene", 0)
    if not isinstance(number, int) or not 0 <= number < len(scenes):
        raise broken(f"there is no scene {number!r}")
    return list(scenes[number].get("nodes", []))


def local_matrix(node: dict[str, Any]) -> Matrix:
    """A node's own transform (4,4): its matrix, or translation after rotation after scale."""
    if "matrix" in node:
        return _numbers(node["matrix"], 16).reshape(4, 4).T
    matrix = np.eye(4)
    if "rotation" in node:
        matrix[:3, :3] = _rotation(_numbers(node["rotation"], 4))
    if "scale" in node:
        matrix[:3, :3] *= _numbers(node["scale"], 3)
    if "translation" in node:
        matrix[:3, 3] = _numbers(node["translation"], 3)
    return matrix


def _rotation(quaternion: Matrix) -> Matrix:
    length = float(np.linalg.norm(quaternion))
    if length == 0.0:
        return np.eye(3)
    x, y, z, w = quaternion / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _numbers(values: Any, count: int) -> Matrix:
    found = np.array(values, np.float64)
    if found.shape != (count,) or not np.isfinite(found).all():
        raise broken(f"a node has {values!r} where {count} numbers are wanted")
    return found
