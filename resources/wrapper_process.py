"""The wrappers as a resource: where they are, which Python runs them, and what they may see and use."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
import psutil

from pipeline3d.generation.serving.environment import reduce_environment
from pipeline3d.generation.serving.failures import make_error
from pipeline3d.generation.serving.outputs import OutputLimits
from pipeline3d.generation.serving.process import ProcessLimits
from pipeline3d.generation.serving.servable import ModelSpec, WrapperModel
from pipeline3d.generation.serving.starting import Description, Mode, describe, start_wrapper
from pipeline3d.generation.serving.watching import Patience
from pipeline3d.generation.serving.wrapper import Wrapper, WrapperProgram
from resources.gpu import VISIBLE, Device

WRAPPERS_DIR = Path(__file__).resolve().parent.parent / "wrappers"
_numbers = itertools.count(1)


class WrapperPrograms(dg.ConfigurableResource["WrapperPrograms"]):
    """The programs under `wrappers_dir`; `pythons` has the interpreters of those with an own environment."""

    wrappers_dir: str
    log_dir: str
    pythons: dict[str, str] = {}
    variables: dict[str, str] = {}
    """What is configured for the wrappers; seen by those that ask for it, before the process's own."""
    max_output_bytes: int = 2 * 1024**3
    max_log_bytes: int = 256 * 1024**2

    def describe(self, name: str) -> Description:
        """What a wrapper says of itself, with the variables that it asks for. Raises our errors."""
        log_path = self._log_path(name)
        try:
            return describe(self.program(name), log_path)
        finally:
            log_path.unlink(missing_ok=True)

    def program(
        self,
        name: str,
        *,
        device: Device | None = None,
        patience: Patience | None = None,
        limits: ProcessLimits | None = None,
    ) -> WrapperProgram:
        """How a wrapper is started, seeing only `device`. Raises ModelNotReady where it is not there."""
        command = self._command(name)
        own = _own_variables(command, self.log_dir)
        given = {} if device is None else {VISIBLE: device.visible}
        return WrapperProgram(
            name=name,
            command=command,
            environment=reduce_environment({**os.environ, **self.variables}, own=own, given=given),
            patience=patience or Patience(),
            limits=limits or ProcessLimits(),
            output_limits=OutputLimits(total_bytes=self.max_output_bytes, log_bytes=self.max_log_bytes),
        )

    def start(self, name: str, *, mode: Mode = "one_shot", device: Device | None = None) -> Wrapper:
        """Start a wrapper that the caller closes."""
        return start_wrapper(self.program(name, device=device), self._log_path(name), mode=mode)

    def spec(
        self,
        name: str,
        *,
        device: Device,
        weights_bytes: int,
        working_bytes: int = 0,
        reload_s: float = 10.0,
        idle_s: float | None = 600.0,
        mode: Mode = "resident",
        load_params: Mapping[str, Any] | None = None,
        patience: Patience | None = None,
    ) -> ModelSpec[Wrapper]:
        """A wrapper as a model that can be kept warm; one that runs once is never kept."""
        program = self.program(name, device=device, patience=patience)

        def open_model() -> WrapperModel:
            return WrapperModel(program, self._log_path(name), mode=mode, load_params=load_params)

        variant = "".join(f",{key}={value}" for key, value in sorted((load_params or {}).items()))
        return ModelSpec(
            key=f"{name}@{device.name}{variant}",
            open=open_model,
            weights_bytes=weights_bytes,
            working_bytes=working_bytes,
            reload_s=reload_s,
            idle_s=0.0 if mode == "one_shot" else idle_s,
        )

    def _command(self, name: str) -> tuple[str, ...]:
        script = Path(self.wrappers_dir) / name / "run.py"
        if not name.replace("_", "").isalnum() or not script.is_file():
            raise make_error("model_missing", f"There is no wrapper {name[:100]!r}.")
        return (self.pythons.get(name) or sys.executable, str(script))

    def _log_path(self, name: str) -> Path:
        """A file of its own for each process of a wrapper; those of dead workers are swept on the way."""
        folder = Path(self.log_dir)
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.*.*.log"):
            owner = old.name.split(".")[-3]
            if owner.isdigit() and not psutil.pid_exists(int(owner)):
                old.unlink(missing_ok=True)
        return folder / f"{name}.{os.getpid()}.{next(_numbers)}.log"


@lru_cache(maxsize=32)
def _own_variables(command: tuple[str, ...], log_dir: str) -> tuple[str, ...]:
    """The variables that a wrapper names: asked without them, since only it knows."""
    log_path = Path(log_dir) / f"describe.{os.getpid()}.{next(_numbers)}.log"
    program = WrapperProgram(name=command[-1], command=command, environment=reduce_environment(os.environ))
    try:
        return describe(program, log_path).environment
    finally:
        log_path.unlink(missing_ok=True)
