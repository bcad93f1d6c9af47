"""Only what the wrapper itself asks of torch; no device, no arrays."""

import contextlib


class cuda:
    """As on a machine without one."""

    is_available = staticmethod(lambda: False)
    is_initialized = staticmethod(lambda: False)


class backends:
    """None."""


no_grad = contextlib.nullcontext
