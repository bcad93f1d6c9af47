"""The scene code: what the model makes of a photo, with all that is needed to make a mesh of it.

Three planes of features and the small decoder, 2.1 MB in one safetensors file. Another resolution, format
or texture is made from it on any CPU, without the checkpoint. Nothing here imports torch.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import BrokenArtifact
from pipeline3d.generation.triposr.config import ENGINE, PLANES

Floats = npt.NDArray[np.float32]

FORMAT = 1
THRESHOLD = 25.0
"""Density at the surface, as the published program has it."""
MOST_BYTES = 64 * 1024 * 1024
"""A file of the published sizes has 2.1 MB."""
HEADER_KEY = "scene"
"""All metadata is one JSON text under this key: safetensors writes several keys in no fixed order."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SceneCode:
    """A density and colour field in the cube of +-radius.

    planes (3,c,s,s) float32 are sampled at (x,y), (x,z) and (y,z), first coordinate along the last axis.
    decoder: ten pairs of weight (out,in) and bias (out), float32, SiLU between them; the first number that
    comes out is the raw density, exp(raw + density_bias), the next three are colours before a sigmoid.
    """

    planes: Floats
    decoder: tuple[tuple[Floats, Floats], ...]
    radius: float
    density_bias: float
    threshold: float = THRESHOLD
    engine_version: str

    def save(self, path: Path) -> None:
        """Write the file; whoever reads `path` finds a whole one or none. Equal scenes give equal bytes."""
        from safetensors.numpy import save_file

        tensors = {"planes": np.ascontiguousarray(self.planes)}
        for number, (weight, bias) in enumerate(self.decoder):
            tensors[f"decoder.{number:02}.weight"] = np.ascontiguousarray(weight)
            tensors[f"decoder.{number:02}.bias"] = np.ascontiguousarray(bias)
        header = {
            "format": FORMAT,
            "engine": ENGINE,
            "engine_version": self.engine_version,
            "radius": self.radius,
            "density_bias": self.density_bias,
            "threshold": self.threshold,
        }
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            save_file(tensors, part, metadata={HEADER_KEY: json.dumps(header, sort_keys=True)})
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> SceneCode:
        """Read a file that `save` wrote. Raises `BrokenArtifact` for any other."""
        from safetensors import SafetensorError, safe_open

        try:
            if path.stat().st_size > MOST_BYTES:
                raise _broken(path, f"more than {MOST_BYTES:,} bytes")
            open_file: Callable[..., Any] = safe_open
            with open_file(path, framework="np") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, ValueError, TypeError) as failure:
            raise _broken(path, f"cannot be read ({failure})") from failure
        return _build_scene(path, _parse_header(path, metadata), tensors)


def _parse_header(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    try:
        header = json.loads(metadata[HEADER_KEY])
    except (KeyError, ValueError, RecursionError) as failure:
        raise _broken(path, "its header is missing or damaged") from failure
    if not isinstance(header, dict) or header.get("engine") != ENGINE or header.get("format") != FORMAT:
        raise _broken(path, f"its header is not of {ENGINE}, format {FORMAT}")
    for name, low, high in (("radius", 1e-3, 1e3), ("density_bias", -100, 100), ("threshold", 1e-6, 1e6)):
        value = header.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise _broken(path, f"its {name} is {value!r}")
    if not isinstance(header.get("engine_version"), str):
        raise _broken(path, "its header has no engine_version")
    return header


def _build_scene(path: Path, header: dict[str, Any], tensors: dict[str, Any]) -> SceneCode:
    layers = (len(tensors) - 1) // 2
    wanted = {"planes"} | {
        f"decoder.{number:02}.{part}" for number in range(layers) for part in ("weight", "bias")
    }
    if set(tensors) != wanted or layers < 2:
        raise _broken(path, f"it has the tensors {', '.join(sorted(tensors))[:200]}")
    for name, tensor in tensors.items():
        if tensor.dtype != np.float32 or not np.isfinite(tensor).all():
            raise _broken(path, f"{name} is {tensor.dtype}, or has numbers that are not finite")
    planes = tensors["planes"]
    if planes.ndim != 4 or planes.shape[0] != PLANES or planes.shape[2] != planes.shape[3] or not planes.size:
        raise _broken(path, f"its planes have the shape {planes.shape}")
    decoder = tuple(
        (tensors[f"decoder.{number:02}.weight"], tensors[f"decoder.{number:02}.bias"])
        for number in range(layers)
    )
    before = PLANES * planes.shape[1]
    for number, (weight, bias) in enumerate(decoder):
        last = number == layers - 1
        if weight.ndim != 2 or weight.shape[1] != before or bias.shape != weight.shape[:1]:
            raise _broken(path, f"layer {number} of its decoder has the shape {weight.shape}")
        if last and weight.shape[0] != 4:
            raise _broken(path, f"its decoder gives {weight.shape[0]} numbers, not 4")
        before = weight.shape[0]
    return SceneCode(
        planes=planes,
        decoder=decoder,
        radius=float(header["radius"]),
        density_bias=float(header["density_bias"]),
        threshold=float(header["threshold"]),
        engine_version=header["engine_version"],
    )


def level_of_raw(scene: SceneCode) -> float:
    """The decoder's raw density at the surface: threshold = exp(raw + bias)."""
    return math.log(scene.threshold) - scene.density_bias


def _broken(path: Path, reason: str) -> BrokenArtifact:
    return BrokenArtifact(f"{path.name} is no scene code of ours: {reason}.", hint="Start the request again.")
