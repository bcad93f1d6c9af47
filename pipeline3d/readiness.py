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

from pipeline3d.database.engines import create_sync_engine
from pipeline3d.errors import ModelNotReady, Pipeline3dError
from pipeline3d.requests.catalogue import CatalogueModel, Readiness
from pipeline3d.requests.seeding import announce
from pipeline3d.settings import Settings
from pipeline3d.wrapper_settings import PYTHONS, pythons_of
from resources.catalogue import shipped_models

CPU_QUEUE = "cpu"
NEEDS_GPU = frozenset({"dreamfusion"})
"""Wrappers whose model would take days on a CPU."""


def assess(catalogue: Sequence[CatalogueModel], settings: Settings) -> tuple[CatalogueModel, ...]:
    """The models as this host can run them: with their readiness, and the queue that serves them here."""
    return tuple(_assess(model, settings) for model in catalogue)


def assess_shipped(settings: Settings) -> tuple[CatalogueModel, ...]:
    """All models of the catalogue as this host can run them."""
    return assess(list(shipped_models().values()), settings)


def _assess(model: CatalogueModel, settings: Settings) -> CatalogueModel:
    look = LOOKS.get(model.runner.engine)
    readiness = model.readiness
    if look is not None:
        try:
            look(model, settings)
            readiness = Readiness(ready=True, host=socket.gethostname())
        except ModelNotReady as error:
            readiness = Readiness(
                ready=False,
                code=error.code,
                reason=error.message,
                hint=error.hint,
                host=socket.gethostname(),
            )
    # Without a GPU the workers of this host take its requests on the CPU: better slow than never.
    queue = model.queue if settings.use_gpu else CPU_QUEUE
    return replace(model, readiness=readiness, queue=queue)


def _look_for_triposr(model: CatalogueModel, settings: Settings) -> None:
    require_packages(("torch", "torch"))
    if model.weights is not None:
        from pipeline3d.generation import triposr

        triposr.check_directory(settings.models_dir / model.weights.directory)


def announce_here(database_url: str, settings: Settings, queues: Sequence[str]) -> list[str]:
    """Tell the API what this host's worker can run; the models that became ready by it."""
    engine = create_sync_engine(database_url, pool_size=1)
    try:
        return announce(engine, assess_shipped(settings), queues)
    finally:
        engine.dispose()


def require_packages(*wanted: tuple[str, str]) -> None:
    """Refuse where a package is missing; each with the extra of this project that installs it."""
    for package, extra in wanted:
        if importlib.util.find_spec(package) is None:
            raise ModelNotReady(
                f"The Python package {package} is not installed.",
                code="package_missing",
                hint=f"pip install 'pipeline3d[{extra}]'",
            )


def _ask_wrapper(model: CatalogueModel, settings: Settings) -> None:
    """Have the wrapper look: it knows what its model needs."""
    wrapper = model.runner.wrapper
    assert wrapper is not None
    if wrapper in NEEDS_GPU and not settings.use_gpu:
        raise ModelNotReady(
            f"{model.name} needs a GPU, and USE_GPU is not set.",
            code="gpu_missing",
            hint="Set USE_GPU=true on a host that has one.",
        )
    if wrapper not in pythons_of(settings):
        raise ModelNotReady(
            f"{PYTHONS[wrapper].upper()} is not set.",
            code="model_missing",
            hint=f"Set it to the Python of the model's own environment; see wrappers/{wrapper}.",
        )
    # Dagster comes with it: only where there is somebody to ask.
    from pipeline3d.model_settings import programs_of

    try:
        found = programs_of(settings).describe(wrapper)
    except ModelNotReady:
        raise
    except (Pipeline3dError, OSError) as error:
        raise ModelNotReady(
            f"The program of {wrapper} does not describe itself: {error}", code="wrapper_fault"
        ) from error
    if not found.ready:
        raise ModelNotReady(
            found.reason or f"{model.name} is not installed.",
            code="model_missing",
            hint="; ".join(found.needs) or None,
        )


LOOKS: dict[str, Callable[[CatalogueModel, Settings], None]] = {
    "triposr": _look_for_triposr,
    "wrapper": _ask_wrapper,
}
