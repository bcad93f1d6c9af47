"""Hearing of a stop before the server waits for what is open.

A server that is told to stop takes no more connections, waits until the open ones end, and only then tells
the application. Event streams do not end by themselves: they would be waited for until its patience ends.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def calling_on_stop(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` in this event loop when a signal ends the process, before the server's own handler.

    Does nothing outside of the main thread, which no signal reaches, and where the server has no handler.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop)
        handler = handlers[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in ours:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
