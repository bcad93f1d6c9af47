"""A thousand readers of events at once: how long after the commit each one has it, and what that costs.

`python -m benchmarks.api_streams` reads an order from its input, a line of JSON: {url, database_url, streams:
[{path, key}], jobs, per_s, seconds}. It is a process of its own, so that it can be kept off the API's core.
It says `open` when all streams are, waits for another line, changes jobs at a steady rate, and prints what it
measured as JSON. A latency is from just before the statement that changes a job until a reader has the bytes:
the statement itself is part of it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
import time
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import update

from benchmarks.api_load import percentile
from pipeline3d.database.engines import create_sync_engine
from pipeline3d.database.tables import jobs
from pipeline3d.requests.history import build_change

OPENED = re.compile(rb"^HTTP/1.1 200 ")
NUMBER = re.compile(rb'"number":(\d+)')
SETTLE_S = 2.0


class Reader(asyncio.Protocol):
    """One stream, read with as little as possible."""

    def __init__(self, request: bytes, crowd: Crowd) -> None:
        self._request = request
        self._crowd = crowd
        self._is_open = False
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Note when each numbered event came."""
        now = time.perf_counter()
        if not self._is_open:
            self._is_open = True
            self._crowd.note_opened(bool(OPENED.match(data)))
        whole, end, self._rest = (self._rest + data).rpartition(b"\n\n")
        self._crowd.received += [(int(number), now) for number in NUMBER.findall(whole + end)]

    def connection_lost(self, exc: Exception | None) -> None:
        """No stream of this benchmark ends by itself."""
        self._crowd.lost += 1


class Crowd:
    """All readers together."""

    def __init__(self, expected: int) -> None:
        self.received: list[tuple[int, float]] = []
        self.opened = 0
        self.refused = 0
        self.lost = 0
        self.all_open = asyncio.Event()
        self._expected = expected

    def note_opened(self, accepted: bool) -> None:
        """One more has its answer."""
        self.opened += accepted
        self.refused += not accepted
        if self.opened + self.refused == self._expected:
            self.all_open.set()


def change_jobs(order: dict[str, Any], changed_at: list[float]) -> None:
    """Change one job after the other at a steady rate; the history carries the number of the change."""
    engine = create_sync_engine(order["database_url"], pool_size=1)
    job_ids = [UUID(job) for job in order["jobs"]]
    count = int(order["per_s"] * order["seconds"])
    began = time.perf_counter()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for number in range(count):
            time.sleep(max(0.0, began + number / order["per_s"] - time.perf_counter()))
            job_id = job_ids[number % len(job_ids)]
            change = build_change(
                update(jobs).where(jobs.c.id == job_id), {"event": "progress", "number": number}
            )
            changed_at.append(time.perf_counter())
            connection.execute(change).all()
    engine.dispose()


async def follow(order: dict[str, Any]) -> dict[str, Any]:
    """Open all streams, have the jobs changed, and count what came."""
    loop = asyncio.get_running_loop()
    parts = urlsplit(order["url"])
    crowd = Crowd(len(order["streams"]))
    for stream in order["streams"]:
        request = f"GET {stream['path']} HTTP/1.1\r\nhost: {parts.netloc}\r\nx-api-key: {stream['key']}\r\n"
        request += "accept: text/event-stream\r\n\r\n"
        await loop.create_connection(
            lambda request=request: Reader(request.encode(), crowd),  # type: ignore[misc]
            parts.hostname,
            parts.port,
        )
    await crowd.all_open.wait()
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    changed_at: list[float] = []
    changing = threading.Thread(target=change_jobs, args=(order, changed_at))
    changing.start()
    await asyncio.to_thread(changing.join)
    await asyncio.sleep(SETTLE_S)
    latencies = sorted((came - changed_at[number]) * 1000 for number, came in crowd.received)
    return {
        "refused": crowd.refused,
        "lost": crowd.lost,
        "changes": len(changed_at),
        "received": len(latencies),
        "p50_ms": percentile(latencies, 50),
        "p95_ms": percentile(latencies, 95),
        "worst_ms": percentile(latencies, 100),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(follow(json.loads(sys.stdin.readline())))), flush=True)
