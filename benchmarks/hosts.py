"""Two hosts without a shared disk: one loses its power, one its network, and every request finishes once.

Run `python -m benchmarks.hosts` as root on Linux. Starts an installation whose own worker serves nothing of
interest, and two hosts (see `hosts_network`) that know its addresses and nothing else: `pipeline3d worker` on
each. In the middle of their runs the first host loses its power and comes back with an empty disk; then the
cable of the second is pulled for half a minute. Writes `benchmarks/results/hosts.json`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.faults import read_histories, read_step_successes, wait_until_finished
from benchmarks.faults_load import Submitter, create_users, plan_requests
from benchmarks.faults_verdict import History, find_duplicates, find_repeated_steps
from benchmarks.hosts_network import Forwarder, Host, why_not_possible, worker_command
from benchmarks.reporting import bar, print_bars, write_report
from pipeline3d.client import Pipeline3dClient
from pipeline3d.database.engines import create_sync_engine
from pipeline3d.values import JobState
from pipeline3d_tests.e2e.inspection import InspectedInstallation, gather

OWN_WORKER_SERVES = "elsewhere"
CONFIGURED = {
    "SILENT_AFTER_S": "15",
    "LEASE_S": "15",
    "PIPELINE3D_WORKER_QUEUES": OWN_WORKER_SERVES,
}
ADDRESSES = ("DATABASE_URL", "DAGSTER_PG_URL", "MINIO_ENDPOINT", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY")
"""All that a worker elsewhere is told."""
CONCURRENCY = 2
PACE_S = 0.5
LONG_WORK_S = 20.0
"""Longer than it takes to miss a host: its requests are given away while it may still work on them."""
LONG_REQUESTS = 4
JOIN_DEADLINE_S = 120.0
LOOK_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What happened to a host, the requests that it was at, and how long it took until all was well."""

    what: str
    job_ids: list[str]
    seconds: float
    back_s: float
    """From its power or network being back until it gave a sign of life."""


def main() -> None:
    """Prove it, print, write; exits with 1 where a bar does not hold."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--requests", type=int, default=40, help="short ones, beside the long ones")
    options.add_argument("--cut", type=float, default=30.0, help="seconds without a network")
    options.add_argument("--keep", type=Path, help="work in this folder and leave it")
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    if (reason := why_not_possible()) is not None:
        raise SystemExit(f"hosts: {reason}")
    folder = chosen.keep or Path(tempfile.mkdtemp(prefix="pipeline3d-hosts-"))
    folder.mkdir(parents=True, exist_ok=True)
    report = prove(folder, requests=chosen.requests, cut_s=chosen.cut)
    if chosen.keep is None:
        shutil.rmtree(folder, ignore_errors=True)
    print_table(report)
    write_report("hosts", report, chosen.out)
    raise SystemExit(0 if all(found["holds"] for found in report["bars"].values()) else 1)


def prove(folder: Path, *, requests: int, cut_s: float) -> dict[str, Any]:
    """Both incidents, and what became of all requests."""
    with ExitStack() as stack:
        installation = stack.enter_context(InspectedInstallation.running(folder / "data", **CONFIGURED))
        first, second = (
            stack.enter_context(joined_host(installation, folder, name, number))
            for number, name in enumerate(("host-a", "host-b"), start=1)
        )
        takers = stack.enter_context(Takers(installation))
        client = stack.enter_context(installation.client())
        load = begin_load(installation, requests)
        power = lose_power(installation, client, first)
        network = lose_network(installation, client, second, cut_s)
        asked = [*power.job_ids, *network.job_ids]
        wait_until_finished(installation, load)
        job_ids = list(dict.fromkeys([*load.job_ids, *takers.job_ids(), *asked]))
        histories = read_histories(installation, job_ids)
        repeated = find_repeated_steps(read_step_successes(installation, job_ids))
        left = count_programs(first) + count_programs(second)
    return build_report(histories, [power, network], takers, repeated, left)


@contextmanager
def joined_host(installation: InspectedInstallation, folder: Path, name: str, number: int) -> Iterator[Host]:
    """A host whose worker has joined the installation, with what it may reach."""
    state = installation.service_environment()
    ports = [port_of(state["DATABASE_URL"]), int(state["MINIO_ENDPOINT"].rpartition(":")[2])]
    host = Host(name=name, number=number, log=folder / f"{name}.log", hidden=folder / "data")
    with host, Forwarder(host.gateway, ports):
        switch_on(installation, host)
        yield host


def switch_on(installation: InspectedInstallation, host: Host) -> float:
    """Start the host's worker; returns the seconds until it takes runs."""
    began = time.monotonic()
    known = installation.service_environment()
    environment = {name: known[name].replace("127.0.0.1", host.gateway) for name in ADDRESSES}
    environment |= {"PIPELINE3D_DATA_DIR": str(host.hidden / "own"), "PATH": os.environ["PATH"]}
    before = {row["id"] for row in workers_of(installation, host)}
    host.start(worker_command(CONCURRENCY), environment)

    def it_has_joined() -> bool:
        return any(row["id"] not in before for row in workers_of(installation, host))

    gather(it_has_joined, what=f"the worker of {host.name}; see {host.log}", deadline_s=JOIN_DEADLINE_S)
    return time.monotonic() - began


def workers_of(installation: InspectedInstallation, host: Host) -> list[dict[str, Any]]:
    """The workers that a host has announced, with the seconds since their last sign of life."""
    return installation.ask_jobs(
        "SELECT id, extract(epoch FROM now() - heartbeat_at) AS silent_s FROM workers WHERE host = %s",
        host.name,
    )


def begin_load(installation: InspectedInstallation, requests: int) -> Submitter:
    """Short requests of several users, from now on."""
    engine = create_sync_engine(installation.service_environment()["DATABASE_URL"])
    load = Submitter(installation.address, create_users(engine), plan_requests(requests, 1), pace_s=PACE_S)
    engine.dispose()
    load.start()
    return load


def lose_power(installation: InspectedInstallation, client: Pipeline3dClient, host: Host) -> Incident:
    """The power of a host fails in the middle of its runs; when they are done elsewhere, it comes back."""
    at_work = keep_busy(installation, client, host)
    began = time.monotonic()
    host.power_off()
    wait_for_end(installation, at_work)
    seconds = time.monotonic() - began
    host.mend()
    return Incident(
        what=f"{host.name} loses its power",
        job_ids=at_work,
        seconds=seconds,
        back_s=switch_on(installation, host),
    )


def lose_network(
    installation: InspectedInstallation, client: Pipeline3dClient, host: Host, cut_s: float
) -> Incident:
    """The cable of a host is pulled in the middle of its runs, and put back."""
    at_work = keep_busy(installation, client, host)
    began = time.monotonic()
    host.cut()
    time.sleep(cut_s)
    host.mend()
    mended = time.monotonic()

    def it_speaks() -> bool:
        return any(row["silent_s"] < time.monotonic() - mended for row in workers_of(installation, host))

    gather(it_speaks, what=f"a sign of life of {host.name}", deadline_s=JOIN_DEADLINE_S)
    back_s = time.monotonic() - mended
    wait_for_end(installation, at_work)
    return Incident(
        what=f"{host.name} without network for {cut_s:g} s",
        job_ids=at_work,
        seconds=time.monotonic() - began,
        back_s=back_s,
    )


def keep_busy(installation: InspectedInstallation, client: Pipeline3dClient, host: Host) -> list[str]:
    """Ask for long work; returns the requests that the host is at, once there is a long one among them."""
    params = {"work_s": LONG_WORK_S, "in_subprocess": True}
    long = {str(client.create_job("probe-v1", params)["id"]) for _ in range(LONG_REQUESTS)}

    def look() -> list[str]:
        at_work = requests_at(installation, host)
        return at_work if long & set(at_work) and count_programs(host) else []

    found: list[str] = gather(look, what=f"a long run on {host.name}", deadline_s=JOIN_DEADLINE_S)
    return found


def requests_at(installation: InspectedInstallation, host: Host) -> list[str]:
    """The requests whose runs a host has taken."""
    rows = installation.ask_jobs(
        "SELECT job_id::text FROM launched_runs JOIN workers ON workers.id = worker_id WHERE host = %s",
        host.name,
    )
    return [row["job_id"] for row in rows]


def wait_for_end(installation: InspectedInstallation, job_ids: list[str]) -> None:
    """Return when these requests have their end."""

    def all_have_ended() -> bool:
        return all(history.finished for history in read_histories(installation, job_ids))

    gather(all_have_ended, what=f"an end of {', '.join(job_ids)}", deadline_s=180.0)


def count_programs(host: Host) -> int:
    """Programs of probes that are at work on a host."""
    if host.process is None:
        return 0
    count = 0
    for process in psutil.Process(host.process.pid).children(recursive=True):
        try:
            count += "time.sleep" in " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
    return count


class Takers(threading.Thread):
    """Notes, all the time, which worker has which run."""

    def __init__(self, installation: InspectedInstallation) -> None:
        super().__init__(name="takers", daemon=True)
        self._installation = installation
        self._over = threading.Event()
        self._workers_by_run: dict[tuple[str, str], set[str]] = defaultdict(set)

    def __enter__(self) -> Takers:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Look until the end of the block."""
        while not self._over.wait(LOOK_S):
            for row in self._installation.ask_jobs(
                "SELECT run_id, job_id::text, worker_id FROM launched_runs WHERE worker_id IS NOT NULL"
            ):
                self._workers_by_run[row["run_id"], row["job_id"]].add(row["worker_id"])

    def job_ids(self) -> list[str]:
        """All requests that were ever at a worker."""
        return [job_id for _run_id, job_id in list(self._workers_by_run)]

    def runs_of(self, host: str) -> int:
        """How many runs the workers of a host had."""
        return sum(
            any(worker.startswith(f"{host}-") for worker in workers)
            for workers in list(self._workers_by_run.values())
        )

    def runs_at_two_workers(self) -> int:
        """Runs that more than one worker had."""
        return sum(len(workers) > 1 for workers in list(self._workers_by_run.values()))


def port_of(database_url: str) -> int:
    """The port of a database's address."""
    return int(database_url.rpartition(":")[2].partition("/")[0])


def build_report(
    histories: list[History],
    incidents: list[Incident],
    takers: Takers,
    repeated_steps: list[str],
    programs_left: int,
) -> dict[str, Any]:
    """The figures, and whether the bars hold."""
    by_id = {history.job_id: history for history in histories}
    rows = [
        {
            **describe(incident.what, [by_id[job_id] for job_id in incident.job_ids]),
            "seconds": round(incident.seconds, 1),
            "back_s": round(incident.back_s, 1),
        }
        for incident in incidents
    ]
    total = describe("all requests", histories)
    return {
        "bars": {
            "lost": bar(total["lost"], 0),
            "finished_twice": bar(total["twice"] + len(repeated_steps), 0),
            "executed_by_two": bar(takers.runs_at_two_workers(), 0),
            "programs_left": bar(programs_left, 0),
        },
        "runs": {host: takers.runs_of(host) for host in ("host-a", "host-b")},
        "complaints": [
            *(f"{history.job_id}: {said}" for history in histories for said in find_duplicates(history)),
            *repeated_steps,
        ],
        "rows": [*rows, total],
    }


def describe(what: str, histories: list[History]) -> dict[str, Any]:
    """What became of a set of requests."""
    return {
        "what": what,
        "requests": len(histories),
        "succeeded": sum(history.state is JobState.SUCCEEDED for history in histories),
        "failed": sum(history.state is JobState.FAILED for history in histories),
        "tried_again": sum(history.attempt > 1 for history in histories),
        "twice": sum(bool(find_duplicates(history)) for history in histories),
        "lost": sum(not history.finished for history in histories),
    }


def print_table(report: dict[str, Any]) -> None:
    """The rows, who executed how many runs, and the bars."""
    columns = ("requests", "succeeded", "failed", "tried_again", "twice", "lost", "seconds", "back_s")
    print(f"{'what':34}" + "".join(f"{column.replace('_', ' '):>12}" for column in columns))
    for row in report["rows"]:
        print(f"{row['what']:34}" + "".join(f"{row.get(column, '')!s:>12}" for column in columns))
    print("runs: " + ", ".join(f"{host} {runs}" for host, runs in report["runs"].items()))
    for complaint in report["complaints"]:
        print(complaint)
    print_bars(report)


if __name__ == "__main__":
    main()
