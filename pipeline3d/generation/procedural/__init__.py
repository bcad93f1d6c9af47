"""`procedural`: text to 3D without weights, from templates, with lettering where no template fits."""

from pipeline3d.generation.procedural.engine import (
    ENGINE,
    ENGINE_VERSION,
    PRESETS,
    Quality,
    Sculpture,
    sculpt,
)

__all__ = ["ENGINE", "ENGINE_VERSION", "PRESETS", "Quality", "Sculpture", "sculpt"]
