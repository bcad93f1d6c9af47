"""`pipeline3d courier`: one courier as a process, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import Callable

from pipeline3d.courier.bell import Bell, listen
from pipeline3d.courier.courier import Courier
from pipeline3d.courier.outbox import CONNECTIONS, Outbox
from pipeline3d.courier.policy import CourierPolicy
from pipeline3d.database.engines import create_asyncio_engine


def serve(
    database_url: str, policy: CourierPolicy, *, on_listening: Callable[[], None] | None = None
) -> None:
    """Deliver until SIGTERM or SIGINT. `on_listening` is called whenever it hears of new messages."""
    asyncio.run(run_courier(database_url, policy, on_listening))


async def run_courier(
    database_url: str, policy: CourierPolicy, on_listening: Callable[[], None] | None = None
) -> None:
    """The same within an event loop; its signals end it."""
    engine = create_asyncio_engine(database_url, pool_size=CONNECTIONS)
    bell = Bell()
    courier = Courier(Outbox(engine, api_url=policy.api_url), bell, policy)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, courier.stop)
    listening = asyncio.create_task(listen(database_url, bell, on_listening))
    # What was imported stays for ever: it need not be looked through again and again.
    gc.collect()
    gc.freeze()
    try:
        await courier.run()
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
        await engine.dispose()
