"""Models of both kinds behind one interface: in this process, or in a wrapper's.

What is known of a model before it runs is its `ModelSpec`; what can be done with it is `Servable`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import psutil

from pipeline3d.errors import Pipeline3dError, TransientFailure
from pipeline3d.generation.serving.starting import Mode, start_wrapper
from pipeline3d.generation.serving.watching import IsCanceled
from pipeline3d.generation.serving.wrapper import Wrapper, WrapperProgram

M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)
_TORCH_ON_CPU = ("can't allocate memory", "not enough memory")
"""PyTorch has no class for it on the CPU."""


class Servable(Protocol[M_co]):
    """A model that is loaded once and used by one run at a time."""

    @property
    def model(self) -> M_co:
        """What a run works with, once it is loaded."""

    @property
    def pid(self) -> int | None:
        """Of the process that it has for itself."""

    def load(self, is_canceled: IsCanceled) -> int | None:
        """Bring it into memory; how many bytes it holds there, where that is known."""

    def is_well(self) -> bool:
        """Whether it can take another run."""

    def memory_bytes(self) -> int | None:
        """What it holds now, where that is known."""

    def free(self) -> None:
        """Give back what is only cached."""

    def close(self) -> None:
        """Give everything back; harmless before `load` and the second time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec(Generic[M]):
    """A model as the host needs to know it; bytes and seconds are estimates until they are measured.

    `key` names the model with everything that makes another load necessary. `weights_bytes` are held while
    it is loaded, `working_bytes` come on top while it works. `idle_s` 0 keeps it for one run, None for ever.
    """

    key: str
    open: Callable[[], Servable[M]]
    weights_bytes: int
    working_bytes: int = 0
    reload_s: float = 10.0
    idle_s: float | None = 600.0
    runs_at_most: int | None = 500
    growth_bytes: int = 1024**3
    """A model that holds so much more than after its load is renewed: something leaks."""


class InProcessModel(Generic[M]):
    """A model of this process: `loader` makes it, `release` gives cached memory of its device back."""

    def __init__(
        self,
        loader: Callable[[], M],
        *,
        release: Callable[[], None] | None = None,
        measure: Callable[[], int] | None = None,
    ) -> None:
        """`measure` tells the bytes in use on its device; without it the RAM of this process is taken."""
        self._loader = loader
        self._release = release
        self._measure = measure or measure_own_ram
        self._model: list[M] = []
        self._held: int | None = None

    @property
    def model(self) -> M:
        """The object that the loader made."""
        return self._model[0]

    @property
    def pid(self) -> int | None:
        """It has no process of its own."""
        return None

    def load(self, is_canceled: IsCanceled) -> int | None:
        """Call the loader."""
        before = self._measure()
        self._model = [self._loader()]
        self._held = max(0, self._measure() - before) or None
        return self._held

    def is_well(self) -> bool:
        """As long as it is loaded."""
        return bool(self._model)

    def memory_bytes(self) -> int | None:
        """What its load took: later, nobody can tell whose memory of a process is whose."""
        return self._held

    def free(self) -> None:
        """Let go of what only the collector holds, and of the device's cache."""
        gc.collect()
        if self._release is not None:
            self._release()

    def close(self) -> None:
        """Forget it."""
        self._model.clear()
        self.free()


class WrapperModel:
    """A wrapper, resident or started for each run."""

    def __init__(
        self,
        program: WrapperProgram,
        log_path: Path,
        *,
        mode: Mode = "resident",
        load_params: Mapping[str, Any] | None = None,
    ) -> None:
        self._program = program
        self._log_path = log_path
        self._mode: Mode = mode
        self._load_params = load_params
        self._wrapper: Wrapper | None = None
        self._held: int | None = None

    @property
    def model(self) -> Wrapper:
        """The wrapper. Raises TransientFailure where it is not started."""
        if self._wrapper is None:
            raise TransientFailure("The model's program is not started.", code="wrapper_died")
        return self._wrapper

    @property
    def pid(self) -> int | None:
        """Of its session's leader."""
        return None if self._wrapper is None else self._wrapper.pid

    def load(self, is_canceled: IsCanceled) -> int | None:
        """Start it and have it load."""
        self._wrapper = start_wrapper(self._program, self._log_path, mode=self._mode)
        self._held = self._wrapper.load(self._load_params, is_canceled).memory_bytes
        return self._held

    def is_well(self) -> bool:
        """Whether it lives and answers: one that stands still is as good as dead, and is ended."""
        if self._wrapper is None or not self._wrapper.is_alive:
            return False
        try:
            self._wrapper.health()
        except Pipeline3dError:
            return False
        return True

    def memory_bytes(self) -> int | None:
        """What it says of its device; on the CPU, what its processes hold."""
        return None if self._wrapper is None else self._wrapper.held_bytes()

    def free(self) -> None:
        """Have it give back what it only caches."""
        self.model.free()

    def close(self) -> None:
        """End it with all that it started. Its log goes too: a run reads it while it has the model."""
        if self._wrapper is not None:
            self._wrapper.close()
            self._log_path.unlink(missing_ok=True)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether less memory at a time could have helped. Knows PyTorch's error without importing PyTorch."""
    if isinstance(error, Pipeline3dError):
        return error.code == "out_of_memory"
    if isinstance(error, MemoryError):
        return True
    if any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _TORCH_ON_CPU)


def measure_own_ram() -> int:
    """Resident bytes of this process."""
    return int(psutil.Process().memory_info().rss)
