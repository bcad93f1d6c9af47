"""`inflate-v1`: a cut-out photo becomes a closed, textured mesh, without any weights."""

from pipeline3d.generation.inflation.engine import (
    ENGINE,
    ENGINE_VERSION,
    PRESETS,
    InflatedModel,
    Quality,
    inflate,
)

__all__ = ["ENGINE", "ENGINE_VERSION", "PRESETS", "InflatedModel", "Quality", "inflate"]
