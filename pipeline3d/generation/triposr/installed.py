"""A package that is not installed is a model that is not ready, not a crash."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline3d.errors import ModelNotReady


@contextmanager
def packages_needed() -> Iterator[None]:
    """Around imports: raises `ModelNotReady` (`package_missing`) for the first that is not installed."""
    try:
        yield
    except ModuleNotFoundError as failure:
        package = (failure.name or "a package").partition(".")[0]
        if package == "pipeline3d":
            raise
        raise ModelNotReady(
            f"TripoSR needs {package}, which is not installed here.",
            code="package_missing",
            hint="Install it with: pip install 'pipeline3d[torch]'",
            details={"package": package},
        ) from failure
