"""Load on one route, and what it measured: requests a second and their latency.

autocannon makes the load. A request costs it some 50 microseconds, which matters where the generator shares a
core with Postgres: k6 takes several times as much, and locust, which is Python, more than the API itself. wrk
would be cheaper still, but no package brings it. npm installs autocannon for the run. `Plain` is a generator
of a few lines for tests, which need no npm; no figure is taken from it.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

from benchmarks import npm_packages
from benchmarks.api_site import GENERATOR_CORE, pinned

PACKAGE = "autocannon@9"
SCRIPT = Path(__file__).with_name("api_load.cjs")


@dataclass(frozen=True, kw_only=True)
class Route:
    """Requests of one kind, taken in turn from `paths`."""

    url: str
    paths: Sequence[str]
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    keyed: bool = False
    """Each request has an Idempotency-Key of its own."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a route did under load."""

    per_s: float
    answered: int
    p50_ms: float
    p95_ms: float
    """Of autocannon it is the 97.5th percentile: the nearest one that it keeps, and not a smaller one."""
    failures: int
    """Errors, time-outs and answers other than 2xx."""


class Generator(Protocol):
    """Whatever makes the load."""

    def drive(self, route: Route, *, connections: int, seconds: float) -> Measured:
        """Ask again and again over so many connections."""


class Autocannon:
    """The generator of the figures, installed into a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        npm_packages.install(PACKAGE, folder, otherwise="--generator plain works without it, for a try.")
        node = shutil.which("node")
        if node is None:
            raise SystemExit("node is not on PATH.")
        self._node = node
        self._modules = folder / "node_modules"

    def drive(self, route: Route, *, connections: int, seconds: float) -> Measured:
        """One run of autocannon, on the generator's core."""
        order = {
            "url": route.url,
            "method": route.method,
            "headers": {**route.headers, **({"content-type": "application/json"} if route.body else {})},
            "body": route.body,
            "paths": list(route.paths),
            "keyed": route.keyed,
            "connections": connections,
            "seconds": max(1, round(seconds)),
        }
        command = [*pinned(GENERATOR_CORE), self._node, str(SCRIPT), json.dumps(order)]
        environment = {**os.environ, "NODE_PATH": str(self._modules)}
        ran = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=seconds + 60, check=True
        )
        found = json.loads(ran.stdout.strip().splitlines()[-1])
        good = sum(count for status, count in found["statuses"].items() if status.startswith("2"))
        bad = sum(found["statuses"].values()) - good + found["errors"]
        return Measured(
            per_s=good / found["seconds"],
            answered=good,
            p50_ms=found["p50_ms"],
            p95_ms=found["p95_ms"],
            failures=bad,
        )


class Plain:
    """Keeps connections busy with as little as possible; in this process."""

    def drive(self, route: Route, *, connections: int, seconds: float) -> Measured:
        """Ask again and again; see Generator."""
        latencies, statuses, took = asyncio.run(_drive(route, connections, seconds))
        good = sum(count for status, count in statuses.items() if 200 <= status < 300)
        latencies.sort()
        return Measured(
            per_s=good / took,
            answered=good,
            p50_ms=percentile(latencies, 50) * 1000,
            p95_ms=percentile(latencies, 95) * 1000,
            failures=statuses.total() - good,
        )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent do not exceed; nan of nothing."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else math.nan


async def _drive(route: Route, connections: int, seconds: float) -> tuple[list[float], Counter[int], float]:
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    parts = urlsplit(route.url)
    body = b"" if route.body is None else json.dumps(route.body).encode()
    fixed = {"host": parts.netloc, "content-length": str(len(body)), **route.headers}
    if route.body is not None:
        fixed["content-type"] = "application/json"
    began = time.perf_counter()

    async def ask_again_and_again(number: int) -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        while time.perf_counter() - began < seconds:
            headers = {**fixed, **({"idempotency-key": uuid4().hex} if route.keyed else {})}
            head = f"{route.method} {route.paths[number % len(route.paths)]} HTTP/1.1\r\n"
            head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            asked = time.perf_counter()
            writer.write(head.encode() + b"\r\n" + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in answer.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            )
            await reader.readexactly(length)
            latencies.append(time.perf_counter() - asked)
            statuses[int(answer[9:12])] += 1
            number += connections
        writer.close()

    await asyncio.gather(*(ask_again_and_again(number) for number in range(connections)))
    return latencies, statuses, time.perf_counter() - began
