"""The yardstick: a scene's surface the plain way, every sample of the grid, in chunks, without any trick.

As the published program does it: 8,192 points at a time, three planes sampled and joined to 120 features,
all layers, marching cubes on the whole grid. Same scene code, same decoder, same threads as torch has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline3d.generation.triposr import SceneCode

CHUNK = 8192
"""The published program's default."""


def extract_densely(
    scene: SceneCode, resolution: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Vertices (n,3) in the model's axes, faces, and sRGB colours (n,3) 0 to 1."""
    from skimage import measure

    decoder, planes = build_decoder(scene), torch.from_numpy(scene.planes)
    ticks = torch.linspace(0, 1, resolution)
    grid = torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij"), dim=-1).view(-1, 3)
    with torch.inference_mode():
        points = grid * (2 * scene.radius) - scene.radius
        raw = query(decoder, planes, points, scene.radius)[:, 0]
        density = torch.exp(raw + scene.density_bias).view(resolution, resolution, resolution)
        marching_cubes: Any = measure.marching_cubes
        found, faces, _, _ = marching_cubes(
            (density - scene.threshold).numpy(), 0.0, gradient_direction="ascent"
        )
        vertices = (found / (resolution - 1) * (2 * scene.radius) - scene.radius).astype(np.float32)
        colours = torch.sigmoid(query(decoder, planes, torch.from_numpy(vertices), scene.radius)[:, 1:4])
    return vertices, np.asarray(faces, np.int32), colours.numpy()


def build_decoder(scene: SceneCode) -> nn.Sequential:
    """The scene's layers as torch modules, SiLU between them."""
    layers: list[nn.Module] = []
    for weight, bias in scene.decoder:
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
        layers += [layer, nn.SiLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


def query(decoder: nn.Sequential, planes: Tensor, points: Tensor, radius: float) -> Tensor:
    """(n,4) of points (n,3)."""
    return torch.cat([_query_chunk(decoder, planes, part / radius) for part in torch.split(points, CHUNK)])


def _query_chunk(decoder: nn.Sequential, planes: Tensor, points: Tensor) -> Tensor:
    looked_up = torch.stack([points[:, [0, 1]], points[:, [0, 2]], points[:, [1, 2]]])
    sampled = functional.grid_sample(planes, looked_up[:, None], align_corners=False, mode="bilinear")
    out: Tensor = decoder(sampled[:, :, 0].permute(2, 0, 1).reshape(len(points), -1))
    return out
