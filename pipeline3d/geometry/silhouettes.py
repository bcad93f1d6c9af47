"""How well a mesh, seen from the front, covers what the photo shows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.mesh import TexturedMesh

SIDE_PX = 256
VISIBLE_ALPHA = 128


def agreement(mesh: TexturedMesh, alpha: npt.NDArray[np.uint8]) -> float:
    """Intersection over union of the mesh's front silhouette and a cut-out's alpha (h, w), 0 to 1.

    Both fill the same square first: where the object stood in the photo is not the doing of the mesh.
    The view is a parallel one along -Z, Y up.
    """
    seen = alpha >= VISIBLE_ALPHA
    if not seen.any() or len(mesh.faces) == 0:
        return 0.0
    wanted = _fit_picture(seen)
    found = _draw_front(mesh)
    union = np.count_nonzero(wanted | found)
    return float(np.count_nonzero(wanted & found) / union) if union else 0.0


def _fit_picture(seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    import cv2

    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    cropped = seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = cropped.shape
    scale = (SIDE_PX - 1) / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # INTER_AREA averages only where it shrinks
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(np.where(cropped, np.uint8(255), np.uint8(0)), size, interpolation=method)
    return _centred(np.asarray(small, np.uint8) >= VISIBLE_ALPHA)


def _draw_front(mesh: TexturedMesh) -> npt.NDArray[np.bool_]:
    import cv2

    flat = mesh.vertices[:, :2].astype(np.float64) * (1.0, -1.0)
    low, high = flat.min(axis=0), flat.max(axis=0)
    longest = float((high - low).max())
    if not np.isfinite(longest) or longest <= 0:
        return np.zeros((SIDE_PX, SIDE_PX), np.bool_)
    scale = (SIDE_PX - 1) / longest
    corners = np.round((flat - low) * scale).astype(np.int32)
    size = np.maximum(np.round((high - low) * scale).astype(int), 1)
    picture = np.zeros((size[1] + 1, size[0] + 1), np.uint8)
    for triangle in corners[mesh.faces]:
        cv2.fillConvexPoly(picture, triangle, 1)
    return _centred(picture[:SIDE_PX, :SIDE_PX] > 0)


def _centred(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    canvas = np.zeros((SIDE_PX, SIDE_PX), np.bool_)
    top, left = (SIDE_PX - mask.shape[0]) // 2, (SIDE_PX - mask.shape[1]) // 2
    canvas[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return canvas
