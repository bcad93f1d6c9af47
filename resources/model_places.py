"""Where this host has its models' weights, and whether its models may use a GPU."""

from __future__ import annotations

from pathlib import Path

import dagster as dg


class ModelPlaces(dg.ConfigurableResource["ModelPlaces"]):
    """Paths only; nothing is looked at before it is used."""

    models_dir: str
    use_gpu: bool = False

    @property
    def directory(self) -> Path:
        """The folder of the weights."""
        return Path(self.models_dir)

    @property
    def backgrounds(self) -> Path:
        """The folder of the models that remove backgrounds."""
        return self.directory / "rembg"

    @property
    def wanted_device(self) -> str:
        """What a model asks for: the best that the worker sees, or the CPU."""
        return "auto" if self.use_gpu else "cpu"
