"""What an engine is given, and what it gives back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.mesh import TexturedMesh
from pipeline3d.imaging import framing
from pipeline3d.values import JobInput, Kind
from resources.model_tools import ModelTools
from resources.run_guard import RunGuard
from resources.stage_files import LocalFile, StageFiles

KINDS_WITH_CUT_OUT = frozenset({Kind.IMAGE_TO_3D, Kind.PRODUCT_TO_3D})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage of a run: its request, the files of the stages before, the models of this worker."""

    run: RunGuard
    files: StageFiles
    tools: ModelTools
    name: str

    @property
    def job(self) -> JobInput:
        """The request."""
        return self.run.job

    @property
    def params(self) -> dict[str, Any]:
        """The request's parameters, complete."""
        return self.run.job.params

    def fetch(self, asset: str, name: str | None = None) -> Path:
        """The file of an earlier stage; of several the one of that name, or the newest."""
        return self.files.fetch(self.run, asset, name=name)

    def read_prompt(self) -> str:
        """The text of the request, as the stage before kept it."""
        return str(json.loads(self.fetch("prompt").read_bytes())["prompt"])

    def publish(self, file: LocalFile) -> None:
        """Keep a further file of this stage."""
        self.files.publish(self.run, self.name, file)

    def report(self, fraction: float, message: str) -> None:
        """Say how far this stage is, 0 to 1."""
        self.run.report(self.name, fraction, message)

    def cut_out(self) -> npt.NDArray[np.uint8]:
        """The framed object, (n, n, 4) RGBA."""
        return framing.decode_rgba_png(self.fetch("preprocessed_image").read_bytes())


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeMesh:
    """A mesh and its origin. `facts` are shown with the run, `note` goes into the delivered file."""

    mesh: TexturedMesh
    engine: str
    engine_version: str
    tier: str
    seed: int
    note: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def origin(self) -> dict[str, Any]:
        """What the file says of its making."""
        return {
            "engine": self.engine,
            "engine_version": self.engine_version,
            "tier": self.tier,
            "seed": self.seed,
            "note": self.note,
        }
