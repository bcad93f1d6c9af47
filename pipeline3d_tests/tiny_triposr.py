"""Builds TripoSR directories whose weights are random but for an object that is known beforehand.

The learned tokens hold smooth functions of the three planes, the upsampler lays them out, and a decoder
made by hand adds them up to ellipsoids and takes their union: so any picture gives a closed surface of known
shape, which the random backbone roughens a little in its own way for each picture. The structure, the key
names and the way of the numbers are those of the published model; `PUBLISHED` has its sizes too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.generation.triposr.config import CLASSES, Config, VisionSizes
from pipeline3d.generation.triposr.shapes import plan_shapes

Array = npt.NDArray[np.float64]

TINY = Config(
    cond_image_size=40,
    vision=VisionSizes(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=48,
        patch_size=8,
        image_size=24,
    ),
    plane_size=12,
    num_channels=64,
    num_attention_heads=2,
    attention_head_dim=32,
    num_layers=2,
    norm_num_groups=8,
    scene_channels=12,
    n_neurons=40,
    n_hidden_layers=6,
    radius=0.87,
    density_bias=-1.0,
)
PUBLISHED = Config(
    cond_image_size=512,
    vision=VisionSizes(),
    plane_size=32,
    num_channels=1024,
    num_attention_heads=16,
    attention_head_dim=64,
    num_layers=16,
    norm_num_groups=32,
    scene_channels=40,
    n_neurons=64,
    n_hidden_layers=9,
    radius=0.87,
    density_bias=-1.0,
)

GAIN = 8.0
"""How fast the raw density rises into the object."""
SHARPNESS = 12.0
"""How sharp the edge is along which two ellipsoids meet."""
COLOUR_GAIN = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ellipsoid:
    """Centre and half axes in units of the box's half side, in the model's axes: x to the camera, z up."""

    centre: tuple[float, float, float]
    axes: tuple[float, float, float]


MARKED_BODY = (
    Ellipsoid(centre=(0.0, 0.0, 0.0), axes=(0.3, 0.3, 0.3)),
    Ellipsoid(centre=(0.45, 0.0, 0.0), axes=(0.35, 0.12, 0.12)),
    Ellipsoid(centre=(0.0, 0.0, 0.35), axes=(0.12, 0.12, 0.3)),
    Ellipsoid(centre=(0.0, 0.25, 0.0), axes=(0.12, 0.25, 0.12)),
)
"""Reaches 0.8 towards the camera, 0.65 up, 0.5 to the picture's right, 0.3 in the other directions."""
FIGURE = (
    Ellipsoid(centre=(0.0, 0.0, -0.15), axes=(0.34, 0.38, 0.42)),
    Ellipsoid(centre=(0.05, 0.0, 0.42), axes=(0.27, 0.3, 0.28)),
    Ellipsoid(centre=(0.0, 0.3, 0.62), axes=(0.1, 0.14, 0.16)),
    Ellipsoid(centre=(0.0, -0.3, 0.62), axes=(0.1, 0.14, 0.16)),
    Ellipsoid(centre=(0.2, 0.45, 0.0), axes=(0.13, 0.28, 0.13)),
    Ellipsoid(centre=(0.2, -0.45, 0.0), axes=(0.13, 0.28, 0.13)),
    Ellipsoid(centre=(0.2, 0.22, -0.6), axes=(0.3, 0.16, 0.16)),
    Ellipsoid(centre=(0.2, -0.22, -0.6), axes=(0.3, 0.16, 0.16)),
)
"""About a teddy: fills a good part of the box, as cut-outs framed at 0.85 do."""


def write_directory(
    directory: Path,
    config: Config = TINY,
    parts: tuple[Ellipsoid, ...] = MARKED_BODY,
    *,
    seed: int = 0,
    roughness: float = 0.01,
) -> Path:
    """Write config.yaml and model.ckpt into a new directory, and return it."""
    import torch

    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.yaml").write_text(render_config(config))
    torch.save(build_tensors(config, parts, seed=seed, roughness=roughness), directory / "model.ckpt")
    return directory


def render_config(config: Config, **replaced: object) -> str:
    """The YAML text; `replaced` overrides top-level values, such as `decoder_cls`."""
    import yaml

    document: dict[str, Any] = {
        "cond_image_size": config.cond_image_size,
        **CLASSES,
        "image_tokenizer": {
            "pretrained_model_name_or_path": "facebook/dino-vitb16",
            **{name: getattr(config.vision, name) for name in VisionSizes.__dataclass_fields__},
        },
        "tokenizer": {"plane_size": config.plane_size, "num_channels": config.num_channels},
        "backbone": {
            "in_channels": "${tokenizer.num_channels}",
            "num_attention_heads": config.num_attention_heads,
            "attention_head_dim": config.attention_head_dim,
            "num_layers": config.num_layers,
            "norm_num_groups": config.norm_num_groups,
            "cross_attention_dim": config.vision.hidden_size,
        },
        "post_processor": {"in_channels": config.num_channels, "out_channels": config.scene_channels},
        "decoder": {
            "in_channels": 3 * config.scene_channels,
            "n_neurons": config.n_neurons,
            "n_hidden_layers": config.n_hidden_layers,
            "activation": "silu",
        },
        "renderer": {
            "radius": config.radius,
            "feature_reduction": "concat",
            "density_activation": "exp",
            "density_bias": config.density_bias,
            "num_samples_per_ray": 128,
        },
    }
    text: str = yaml.safe_dump(document | replaced, sort_keys=False)
    return text


def build_tensors(
    config: Config, parts: tuple[Ellipsoid, ...], *, seed: int, roughness: float
) -> dict[str, Any]:
    """The state dict, torch float32. `roughness`: how much the backbone adds to the planes, about."""
    import torch

    random = torch.Generator().manual_seed(seed)
    tensors: dict[str, Any] = {}
    for name, shape in plan_shapes(config).items():
        values = torch.randn(shape, generator=random)
        if name.endswith("bias"):
            values *= 0.1
        elif len(shape) == 1:
            values.mul_(0.1).add_(1.0)
        elif len(shape) == 2:
            values *= shape[1] ** -0.5
        elif "projection" in name:
            values *= (shape[1] * shape[2] * shape[3]) ** -0.5
        tensors[name] = values
    planes = draw_planes(config, parts)
    side, used = config.plane_size, 4 * (len(parts) + 3)
    # The upsampler turns four channels into the four quarters of a cell.
    embeddings = tensors["tokenizer.embeddings"].mul_(0.02)
    quarters = planes.reshape(3, -1, side, 2, side, 2).transpose(0, 1, 3, 5, 2, 4)
    embeddings[:, :used] += torch.from_numpy(quarters.reshape(3, used, side, side)).float()
    upsample = tensors["post_processor.upsample.weight"].mul_(0.02 * config.num_channels**-0.5)
    upsample[:used] = 0
    for feature in range(len(parts) + 3):
        for row in (0, 1):
            for column in (0, 1):
                upsample[4 * feature + 2 * row + column, feature, row, column] = 1
    tensors["post_processor.upsample.bias"].mul_(0.01)
    tensors["backbone.proj_out.weight"].mul_(roughness)
    tensors["backbone.proj_out.bias"].mul_(roughness)
    for number, (weight, bias) in enumerate(build_decoder(config, len(parts), seed)):
        tensors[f"decoder.layers.{2 * number}.weight"] = torch.from_numpy(weight).float()
        tensors[f"decoder.layers.{2 * number}.bias"] = torch.from_numpy(bias).float()
    return tensors


def draw_planes(config: Config, parts: tuple[Ellipsoid, ...]) -> Array:
    """(3, parts + 3, s, s): what the planes add up to at a point is 1 - distance**2 of each ellipsoid, which
    is 0 on it, then three colours: red in front, green above, blue to the right."""
    side = 2 * config.plane_size
    ticks = (np.arange(side) + 0.5) / side * 2 - 1
    along, across = ticks[None, :].repeat(side, 0), ticks[:, None].repeat(side, 1)
    planes = np.zeros((3, len(parts) + 3, side, side))
    for number, part in enumerate(parts):
        for plane, (first, second) in enumerate(((0, 1), (0, 2), (1, 2))):
            distance = ((along - part.centre[first]) / part.axes[first]) ** 2
            distance = distance + ((across - part.centre[second]) / part.axes[second]) ** 2
            planes[plane, number] = 1 / 3 - distance / 2
    planes[0, -3], planes[1, -2], planes[2, -1] = along, across, along
    return planes


def build_decoder(config: Config, parts: int, seed: int) -> list[tuple[Array, Array]]:
    """Layers that take the smooth union of `parts` values and pass three colours on.

    A value goes through a layer unchanged as two neurons, since silu(v) - silu(-v) = v; the union of two
    is a + silu(k (b - a)) / k. Neurons that are left over compute noise that nobody reads.
    """
    random = np.random.default_rng(seed)
    wide, channels = config.n_neurons, config.scene_channels
    # Each value is a row over what the layer before gives out: at first over the sampled features.
    values = [np.tile(np.eye(channels)[number], 3) for number in range(parts)]
    colours = [np.tile(np.eye(channels)[parts + number], 3) for number in range(3)]
    layers: list[tuple[Array, Array]] = []
    for number in range(config.n_hidden_layers):
        unite = number > 0 and len(values) > 1
        pairs = list(zip(values[::2], values[1::2], strict=False)) if unite else []
        single = values[2 * len(pairs) :] if unite else values
        rows = [row for value in [*[a for a, _ in pairs], *single, *colours] for row in (value, -value)]
        rows += [SHARPNESS * (b - a) for a, b in pairs]
        if len(rows) > wide:
            raise ValueError(f"{parts} ellipsoids need {len(rows)} neurons, there are {wide}")
        before = len(rows[0])
        noise = random.normal(size=(wide - len(rows), before)) / math.sqrt(before)
        layers.append((np.vstack([rows, noise]), np.concatenate([np.zeros(len(rows)), noise[:, 0]])))
        kept = len(pairs) + len(single)
        eye = np.eye(wide)
        passed = [eye[2 * index] - eye[2 * index + 1] for index in range(kept + 3)]
        first_union = 2 * (kept + 3)
        values = [
            passed[index] + (eye[first_union + index] / SHARPNESS if index < len(pairs) else 0)
            for index in range(kept)
        ]
        colours = passed[kept:]
    if len(values) > 1:
        raise ValueError(f"{config.n_hidden_layers} layers are too few to unite {parts} ellipsoids")
    level = math.log(25.0) - config.density_bias
    last = np.vstack([GAIN * values[0], *[COLOUR_GAIN * colour for colour in colours]])
    return [*layers, (last, np.array([level, 0.0, 0.0, 0.0]))]


def build_scene(
    config: Config, parts: tuple[Ellipsoid, ...], *, roughness: float = 0.0, seed: int = 0
) -> Any:
    """The scene code of an object, without a forward."""
    from pipeline3d.generation.triposr.config import ENGINE_VERSION
    from pipeline3d.generation.triposr.scene import SceneCode

    side = 2 * config.plane_size
    random = np.random.default_rng(seed)
    planes = roughness * random.normal(size=(3, config.scene_channels, side, side))
    planes[:, : len(parts) + 3] += draw_planes(config, parts)
    return SceneCode(
        planes=planes.astype(np.float32),
        decoder=tuple(
            (weight.astype(np.float32), bias.astype(np.float32))
            for weight, bias in build_decoder(config, len(parts), seed)
        ),
        radius=config.radius,
        density_bias=config.density_bias,
        engine_version=ENGINE_VERSION,
    )


def with_vision(config: Config, **changes: int) -> Config:
    """The config with other sizes of the picture's transformer."""
    return replace(config, vision=replace(config.vision, **changes))


def draw_cut_out(seed: int = 0, *, side: int = 64) -> npt.NDArray[np.uint8]:
    """A framed cut-out, RGBA uint8 (side, side, 4): a blob of random colours."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side] / side - 0.5
    coarse = random.integers(0, 256, (4, 4, 3)).repeat(side // 4 + 1, 0).repeat(side // 4 + 1, 1)
    alpha = np.clip((0.42 - np.hypot(rows, columns * random.uniform(1, 1.6))) * side, 0, 1) * 255
    return np.dstack([coarse[:side, :side], alpha]).astype(np.uint8)
