"""The API under load: jobs made and looked at each second, and a thousand readers of events.

Run `python -m benchmarks.api`. One process of the API has one core; Postgres, which writes durably, shares
the other with the load generator, autocannon. The yardstick is a FastAPI application on the same engine with
one bare INSERT and one bare SELECT (`api_yardstick`). Routes take turns, `--repeat` times, so that a busy
moment hits them all; figures are medians of the turns. Then readers open `--streams` event streams, of single
jobs and of all jobs of a user, and jobs change at a steady rate. Prints the table and writes
`benchmarks/results/api.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import select

from benchmarks import api_yardstick
from benchmarks.api_load import Autocannon, Generator, Measured, Plain, Route
from benchmarks.api_site import (
    API_CORE,
    API_KEY,
    CHECKOUT,
    GENERATOR_CORE,
    Server,
    Site,
    pinned,
    running_site,
)
from benchmarks.reporting import bar, print_bars, write_report
from pipeline3d.database.tables import users
from pipeline3d.requests import creation
from pipeline3d.requests.ledger import JobLedger
from pipeline3d.values import Family, Kind

API = "pipeline3d.api.app:create_app"
HTTP = "pipeline3d.api.http_protocol:PatientProtocol"
"""With which `pipeline3d up` starts it; the yardstick has uvicorn's own."""
YARDSTICK = "benchmarks.api_yardstick:create_app"
JOBS = "/api/v1/jobs"
ORDER = {"model_id": "sculpt-v1", "prompt": "a chair"}
"""Nothing is uploaded for it: what is measured is the API and Postgres, not the object store."""

CREATE_P95_MS, CREATE_PER_S, CREATE_SHARE = 50.0, 300.0, 0.5
GET_PER_S, GET_SHARE = 1500.0, 0.7
STREAM_P95_MS, STREAM_MB = 500.0, 100.0
READ_JOBS = 100
STREAM_USERS = 10
STREAMS_OF_ALL_EVERY = 10
"""One stream in so many shows all jobs of its user, the others one job each."""


def main() -> None:
    """Measure, print, write; exits with 1 where a bar does not hold."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repeat", type=int, default=5, help="turns of each route")
    options.add_argument("--seconds", type=float, default=4.0, help="of load in each turn")
    options.add_argument("--connections", type=int, default=8)
    options.add_argument("--streams", type=int, default=1000)
    options.add_argument("--changes-per-s", type=float, default=100.0)
    options.add_argument("--stream-seconds", type=float, default=20.0)
    options.add_argument("--generator", choices=["autocannon", "plain"], default="autocannon")
    options.add_argument("--out", type=Path, default=None)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="api-") as name:
        folder = Path(name)
        os.chmod(folder, 0o755)  # Postgres runs as another user
        generator = Plain() if chosen.generator == "plain" else Autocannon(folder / "npm")
        with running_site(folder) as site:
            with (
                site.serving("api", API, http=HTTP) as api,
                site.serving("yardstick", YARDSTICK) as bare,
            ):
                routes = plan_routes(site, api, bare)
                turns = measure_routes(
                    routes, generator, chosen.repeat, seconds=chosen.seconds, connections=chosen.connections
                )
            with site.serving("api-of-streams", API, http=HTTP) as api:  # whose memory nothing has used yet
                streams = measure_streams(
                    site, api, chosen.streams, per_s=chosen.changes_per_s, seconds=chosen.stream_seconds
                )
    report = build_report(turns, streams)
    print_table(report)
    print_bars(report)
    write_report("api", report, chosen.out)
    raise SystemExit(0 if all(found["holds"] for found in report["bars"].values()) else 1)


@dataclass(frozen=True)
class Turn:
    """One route under load for some seconds."""

    measured: Measured
    cpu_ms: float
    """What the server's process took for each request; says more than the rate where others use its core."""


def plan_routes(site: Site, api: Server, bare: Server) -> dict[str, tuple[Server, Route]]:
    """Each route by its name, and the process that serves it."""
    row_id = api_yardstick.prepare(site.engine)
    job_ids = make_jobs(site, user_of(site), READ_JOBS)
    key = {"x-api-key": API_KEY}
    create = Route(url=api.url, paths=[f"{JOBS}/"], method="POST", headers=key, body=ORDER)
    return {
        "create": (api, create),
        "create, with a key": (api, replace(create, keyed=True)),
        "bare INSERT": (bare, Route(url=bare.url, paths=["/rows/"], method="POST", body=ORDER)),
        "get": (api, Route(url=api.url, paths=[f"{JOBS}/{job_id}" for job_id in job_ids], headers=key)),
        "bare SELECT": (bare, Route(url=bare.url, paths=[f"/rows/{row_id}"])),
    }


def measure_routes(
    routes: dict[str, tuple[Server, Route]],
    generator: Generator,
    repeat: int,
    *,
    seconds: float,
    connections: int,
) -> dict[str, list[Turn]]:
    """What each route did in each of its turns."""
    turns: dict[str, list[Turn]] = defaultdict(list)
    for _, route in routes.values():
        check(route)
        generator.drive(route, connections=connections, seconds=min(seconds, 1.0))  # warms up
    for _ in range(repeat):
        for name, (server, route) in routes.items():
            used_s = server.cpu_s
            measured = generator.drive(route, connections=connections, seconds=seconds)
            turns[name].append(
                Turn(measured, cpu_ms=(server.cpu_s - used_s) * 1000 / max(1, measured.answered))
            )
    return turns


def check(route: Route) -> None:
    """One request, to say what is wrong before thousands of them fail. SystemExit where it fails."""
    answer = httpx.request(
        route.method, route.url + route.paths[0], headers=dict(route.headers), json=route.body
    )
    if not answer.is_success:
        raise SystemExit(f"{route.method} {route.paths[0]} answered {answer.status_code}: {answer.text}")


def measure_streams(site: Site, api: Server, count: int, *, per_s: float, seconds: float) -> dict[str, Any]:
    """What so many readers get, and what they cost the API."""
    users_of = [site.add_user(f"reader-{number}") for number in range(min(STREAM_USERS, count))]
    streams, job_ids = [], []
    for number in range(count):
        user_id, key = users_of[number % len(users_of)]
        if number // len(users_of) % STREAMS_OF_ALL_EVERY == 0:
            streams.append({"path": "/api/v1/events", "key": key})
        else:
            [job_id] = make_jobs(site, user_id, 1, finished=0)
            job_ids.append(str(job_id))
            streams.append({"path": f"{JOBS}/{job_id}/events", "key": key})
    order: dict[str, Any] = {"url": api.url, "database_url": site.database_url, "streams": streams}
    order |= {"jobs": job_ids, "per_s": per_s, "seconds": seconds}
    httpx.get(f"{api.url}{JOBS}/", headers={"x-api-key": API_KEY}).raise_for_status()
    before_mb = api.memory_mb
    command = [*pinned(GENERATOR_CORE), sys.executable, "-m", "benchmarks.api_streams"]
    with subprocess.Popen(
        command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as readers:
        assert readers.stdin is not None
        assert readers.stdout is not None
        readers.stdin.write(json.dumps(order) + "\n")
        readers.stdin.flush()
        if readers.stdout.readline() != "open\n":
            raise SystemExit("the readers of the streams failed")
        open_mb = api.memory_mb
        used_s = api.cpu_s
        readers.stdin.write("\n")
        readers.stdin.flush()
        found = json.loads(readers.stdout.readline())
        return {
            "streams": len(order["streams"]),
            "changes_per_s": order["per_s"],
            **found,
            "expected": found["changes"] * _readers_of_a_change(order),
            "memory_before_mb": round(before_mb, 1),
            "memory_open_mb": round(open_mb - before_mb, 1),
            "memory_mb": round(max(open_mb, api.memory_mb) - before_mb, 1),
            "cpu_share": round((api.cpu_s - used_s) / order["seconds"], 3),
        }


def _readers_of_a_change(order: dict[str, Any]) -> int:
    """One of the job itself, and those of all jobs of its user: as many for each user."""
    of_all: int = sum(stream["path"].endswith("/v1/events") for stream in order["streams"])
    return 1 + of_all // len({stream["key"] for stream in order["streams"]})


def user_of(site: Site) -> UUID:
    """The user of `API_KEY`."""
    with site.engine.connect() as connection:
        return UUID(
            str(connection.execute(select(users.c.id).where(users.c.username == "bench")).scalar_one())
        )


def make_jobs(site: Site, user_id: UUID, count: int, *, finished: float = 0.5) -> list[UUID]:
    """Jobs of a user, of which this share has ended."""
    made = []
    for number in range(count):
        job = creation.NewJob(
            id=creation.new_job_id(),
            user_id=user_id,
            model_id="sculpt-v1",
            kind=Kind.TEXT_TO_3D,
            family=Family.MODEL_REQUESTS,
            prompt=ORDER["prompt"],
            input_params={},
            params={"seed": number},
        )
        with site.engine.begin() as connection:
            made.append(UUID(str(connection.execute(creation.create_job(job)).one().id)))
    ledger = JobLedger(site.engine)
    for job_id in made[: int(count * finished)]:
        ledger.begin(job_id, attempt=1, run_id=str(job_id), delivers=True)
        ledger.succeed(job_id, str(job_id))
    return made


def build_report(turns: dict[str, list[Turn]], streams: dict[str, Any]) -> dict[str, Any]:
    """Medians of the turns, and the bars. A share is the median of the shares of each turn."""
    rows = {
        name: {
            "per_s": round(statistics.median(turn.measured.per_s for turn in taken), 1),
            "p50_ms": round(statistics.median(turn.measured.p50_ms for turn in taken), 2),
            "p95_ms": round(statistics.median(turn.measured.p95_ms for turn in taken), 2),
            "cpu_ms": round(statistics.median(turn.cpu_ms for turn in taken), 3),
            "failures": sum(turn.measured.failures for turn in taken),
        }
        for name, taken in turns.items()
    }

    def share(name: str, of: str) -> float:
        pairs = zip(turns[name], turns[of], strict=True)
        return round(statistics.median(one.measured.per_s / other.measured.per_s for one, other in pairs), 3)

    bars = {}
    for name, label in (("create", "create"), ("create, with a key", "keyed_create")):
        bars[f"{label}_p95_ms"] = bar(rows[name]["p95_ms"], CREATE_P95_MS)
        bars[f"{label}_per_s"] = bar(rows[name]["per_s"], CREATE_PER_S, better="higher")
        bars[f"{label}_to_bare_insert"] = bar(share(name, "bare INSERT"), CREATE_SHARE, better="higher")
    bars["get_per_s"] = bar(rows["get"]["per_s"], GET_PER_S, better="higher")
    bars["get_to_bare_select"] = bar(share("get", "bare SELECT"), GET_SHARE, better="higher")
    bars["events_p95_ms"] = bar(round(streams["p95_ms"], 1), STREAM_P95_MS)
    bars["streams_mb"] = bar(streams["memory_mb"], STREAM_MB)
    bars["events_missed"] = bar(abs(streams["expected"] - streams["received"]), 0)
    bars["streams_lost"] = bar(streams["lost"] + streams["refused"], 0)
    bars["failures"] = bar(sum(row["failures"] for row in rows.values()), 0)
    pinning = {"api_core": API_CORE, "other_core": GENERATOR_CORE}
    return {"pinning": pinning, "turns": len(turns["get"]), "rows": rows, "streams": streams, "bars": bars}


def print_table(report: dict[str, Any]) -> None:
    """The figures, one line for each route."""
    print(f"{'route':20}{'per s':>9}{'p50 ms':>9}{'p95 ms':>9}{'CPU ms':>9}")
    for name, row in report["rows"].items():
        print(f"{name:20}{row['per_s']:9.0f}{row['p50_ms']:9.1f}{row['p95_ms']:9.1f}{row['cpu_ms']:9.2f}")
    streams = report["streams"]
    latencies = ", ".join(f"{name} {streams[f'{name}_ms']:.1f} ms" for name in ("p50", "p95", "worst"))
    print(
        f"{streams['streams']} streams, {streams['changes_per_s']:g} changes a second: {latencies}; "
        f"{streams['memory_mb']:.1f} MB, {streams['cpu_share']:.0%} of a core"
    )


if __name__ == "__main__":
    main()
