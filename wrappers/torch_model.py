"""What the wrappers that keep a torch model in memory have in common."""

from __future__ import annotations

from typing import Any

import devices
from contract import Model


class TorchModel(Model):
    """A network and, where one is used, a background remover, that stay in memory between runs."""

    def __init__(self, resident: bool) -> None:
        super().__init__(resident)
        self._model: Any = None
        self._background: Any = None
        self._device = "cuda"

    def unload(self) -> None:
        """Forget the network; the CUDA context stays until the process ends."""
        self._model = self._background = None
        devices.empty_cache()

    def free(self) -> None:
        """Give torch's cache back."""
        devices.empty_cache()

    def memory_bytes(self) -> int | None:
        """What torch holds on the device."""
        return devices.reserved_bytes()
