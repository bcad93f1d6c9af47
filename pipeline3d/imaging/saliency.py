"""Which regions of a picture are its object, where the background is not plain.

After "Saliency Optimization from Robust Background Detection" (Zhu, Liang, Wei, Sun, CVPR 2014): a
region belongs to the background when it is well connected to the picture's border, and is salient
when it differs from such regions nearby. A centre prior is added: people put the object in the middle.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline3d.imaging.backdrop import border_mask

Floats = npt.NDArray[np.float64]

REGIONS = 220
REGION_COMPACTNESS = 0.12
"""How much place counts beside colour for a region; scikit-image scales the colours to 0 to 1 first."""
GEODESIC_SCALE = 10.0
"""Colour difference (L*a*b*) along a path at which two regions stop being one surface."""
NEARBY = 0.25
"""Distance, as a share of the picture, over which contrast counts."""
CENTRE_SPREAD = 0.34
SMOOTHNESS_SCALE = 10.0


def find_salient(lab: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(h,w) in 0 to 1 for a picture (h,w,3) in L*a*b*."""
    from skimage.segmentation import slic

    labels = slic(
        lab,
        n_segments=REGIONS,
        compactness=REGION_COMPACTNESS,
        convert2lab=False,
        start_label=0,
        max_num_iter=6,
    )
    colours, places, at_border = _describe_regions(lab, labels)
    neighbours = _neighbours(labels)
    colour_distance = np.linalg.norm(colours[:, None] - colours[None], axis=2)
    background = _background_weight(colour_distance, neighbours, at_border)
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    contrast = (colour_distance * np.exp(-(apart**2) / (2 * NEARBY**2)) * background[None]).sum(axis=1)
    centre = np.exp(-((places - 0.5) ** 2).sum(axis=1) / (2 * CENTRE_SPREAD**2))
    contrast = contrast * centre
    contrast = (contrast - contrast.min()) / max(float(np.ptp(contrast)), 1e-9)
    saliency = _optimise(contrast, background, colour_distance, neighbours)
    return np.asarray(np.clip(saliency, 0, 1).astype(np.float32)[labels], np.float32)


def _describe_regions(
    lab: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Mean colour (k,3), centre (k,2) in 0 to 1, and whether a region touches the border (k,)."""
    flat = labels.reshape(-1)
    count = np.maximum(np.bincount(flat), 1)
    colours = np.stack([np.bincount(flat, lab[..., i].reshape(-1)) / count for i in range(3)], axis=1)
    rows, columns = np.divmod(np.arange(flat.size), labels.shape[1])
    places = np.stack(
        [
            np.bincount(flat, columns / labels.shape[1]) / count,
            np.bincount(flat, rows / labels.shape[0]) / count,
        ],
        axis=1,
    )
    at_border = np.bincount(flat, border_mask(*labels.shape).reshape(-1)) / count > 0.15
    return colours, places, at_border


def _neighbours(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(e,2) pairs of regions that touch."""
    across = np.stack([labels[:, :-1].reshape(-1), labels[:, 1:].reshape(-1)], axis=1)
    down = np.stack([labels[:-1].reshape(-1), labels[1:].reshape(-1)], axis=1)
    pairs = np.sort(np.concatenate([across, down]), axis=1)
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)


def _background_weight(
    colour_distance: Floats, neighbours: npt.NDArray[np.int64], at_border: npt.NDArray[np.bool_]
) -> Floats:
    """0 to 1 (k,): how surely a region is background, by the border it can reach over its own area."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import shortest_path

    count = len(at_border)
    rim = np.nonzero(at_border)[0]
    among_rim = np.stack(np.triu_indices(len(rim), 1), axis=1)
    pairs = np.concatenate([neighbours, rim[among_rim]]) if len(rim) > 1 else neighbours
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    steps = colour_distance[pairs[:, 0], pairs[:, 1]]
    quiet = np.quantile(colour_distance[neighbours[:, 0], neighbours[:, 1]], 0.15)
    steps = np.maximum(steps - quiet, 1e-3)  # noise between neighbours must not add up along a path
    graph = coo_array((steps, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    geodesic = shortest_path(graph.tocsr(), directed=False)
    alike = np.exp(-(geodesic**2) / (2 * GEODESIC_SCALE**2))
    connectivity = alike[:, at_border].sum(axis=1) / np.sqrt(alike.sum(axis=1))
    weight: Floats = 1 - np.exp(-(connectivity**2) / 2)
    return weight


def _optimise(
    foreground: Floats, background: Floats, colour_distance: Floats, neighbours: npt.NDArray[np.int64]
) -> Floats:
    """The saliency (k,) that fits both weights and is alike in neighbouring regions of like colour."""
    count = len(foreground)
    first, second = neighbours[:, 0], neighbours[:, 1]
    likeness = np.exp(-(colour_distance[first, second] ** 2) / (2 * SMOOTHNESS_SCALE**2))
    weight = np.asarray(likeness + 0.1, np.float64)
    system = np.zeros((count, count))
    np.fill_diagonal(system, background + foreground + 1e-6)
    np.add.at(system, (first, first), weight)
    np.add.at(system, (second, second), weight)
    np.add.at(system, (first, second), -weight)
    np.add.at(system, (second, first), -weight)
    return np.asarray(np.linalg.solve(system, foreground), np.float64)
