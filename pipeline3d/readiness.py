"""Which models of the catalogue can run on this host, and why the others cannot.

Looks only: files, environments and a wrapper's own description of itself; no model is loaded. What is found
is kept with the model in the database, where the API reads it, so that a request is refused with the reason
before it is stored.
"""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace

from pipeline3d.errors import ModelNotReady
from pipeline3d.requests.catalogue import CatalogueModel, Readiness
from pipeline3d.settings import Settings

READY = Readiness(ready=True)
GPU_QUEUE, CPU_QUEUE = "gpu", "cpu"


def assess(catalogue: Sequence[CatalogueModel], settings: Settings) -> tuple[CatalogueModel, ...]:
    """The models as this host can run them: with their readiness, and the queue that serves them here."""
    return tuple(_assess(model, settings) for model in catalogue)


def _assess(model: CatalogueModel, settings: Settings) -> CatalogueModel:
    look = LOOKS.get(model.runner.engine)
    readiness = model.readiness
    if look is not None:
        try:
            look(model, settings)
            readiness = replace(READY, host=socket.gethostname())
        except ModelNotReady as error:
            readiness = Readiness(ready=False, code=error.code, reason=error.message, hint=error.hint)
    # Without a GPU the workers of this host take its requests on the CPU: better slow than never.
    queue = model.queue if settings.use_gpu else CPU_QUEUE
    return replace(model, readiness=readiness, queue=queue)


def _look_for_triposr(model: CatalogueModel, settings: Settings) -> None:
    from pipeline3d.generation import triposr

    require_packages(("torch", "torch"), ("safetensors", "torch"))
    if model.weights is not None:
        triposr.check_directory(settings.models_dir / model.weights.directory)


def require_packages(*wanted: tuple[str, str]) -> None:
    """Refuse where a package is missing; each with the extra of this project that installs it."""
    for package, extra in wanted:
        if importlib.util.find_spec(package) is None:
            raise ModelNotReady(
                f"The Python package {package} is not installed.",
                code="package_missing",
                hint=f"pip install 'pipeline3d[{extra}]'",
            )


LOOKS: dict[str, Callable[[CatalogueModel, Settings], None]] = {"triposr": _look_for_triposr}
