"""Requests while parts of the installation are killed at random: none is lost, none is finished twice.

Run `python -m benchmarks.faults`. Starts an installation of its own, asks for probes (no work to two seconds
of it, some in a program of their own) in the name of several users, and every few seconds kills a part with
kill -9, or deletes the broker's content, until all requests have their end. Then says for each kind of damage
how often it was done, which requests it met and what became of them, and what is left behind. Writes
`benchmarks/results/faults.json`.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.faults_kills import Fault, draw_faults, strike
from benchmarks.faults_leftovers import count_leftovers, count_log_errors
from benchmarks.faults_load import Submitter, create_users, plan_requests
from benchmarks.faults_verdict import (
    History,
    Kill,
    build_rows,
    find_duplicates,
    find_repeated_steps,
    parse_history,
)
from benchmarks.reporting import bar, print_bars, write_report
from pipeline3d.database.engines import create_sync_engine
from pipeline3d.values import FINISHED_STATES
from pipeline3d_tests.e2e.inspection import InspectedInstallation

NOTICED_AFTER = {"SILENT_AFTER_S": "15", "LEASE_S": "15"}
"""A lost worker is missed after a quarter of a minute: the default, a minute, only makes everybody wait."""
PACE_S = 0.4
SECONDS_PER_REQUEST = 6.0
"""So long, for each request, the killing goes on at most."""
PATIENCE_S = 180.0
"""After the last kill, for everything to come to its end; what is unfinished then is lost."""
TIDY_S = 60.0
LOOK_S = 0.5
MIN_WIDTH = 5
OUTCOMES = ("finished", "succeeded", "worker_lost", "failed_otherwise", "attempts_lost", "twice", "lost")
COLUMNS = ("times", "requests", *OUTCOMES, "next_end_s")


@dataclass
class Outcome:
    """Everything that is known at the end."""

    histories: list[History]
    kills: list[Kill]
    repeated_steps: list[str]
    leftovers: dict[str, int]
    log_errors: dict[str, int]
    seconds: float
    refusal: Exception | None = None
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for history in self.histories:
            self.complaints += [f"request {history.job_id}: {said}" for said in find_duplicates(history)]
            if not history.finished:
                self.complaints.append(f"request {history.job_id}: {history.state} for ever")
            elif not history.explained:
                self.complaints.append(f"request {history.job_id}: {history.state} without a reason")
        self.complaints += self.repeated_steps
        if self.refusal is not None:
            self.complaints.append(f"a request was refused: {self.refusal!r}")
        self.complaints += [f"left behind: {count} {what}" for what, count in self.leftovers.items() if count]


def main() -> None:
    """Damage, watch, print, write; exits with 1 where a bar does not hold."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--requests", type=int, default=200)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--every", type=float, default=4.0, help="seconds between two kills, on average")
    options.add_argument("--keep", type=Path, help="work in this folder and leave it")
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    folder = chosen.keep or Path(tempfile.mkdtemp(prefix="pipeline3d-faults-"))
    installation = InspectedInstallation(folder / "data", NOTICED_AFTER)
    installation.start()
    try:
        outcome = endure(installation, requests=chosen.requests, seed=chosen.seed, every_s=chosen.every)
    finally:
        installation.stop()
    if chosen.keep is None:
        shutil.rmtree(folder, ignore_errors=True)
    report = build_report(outcome, seed=chosen.seed)
    print_table(report)
    write_report("faults", report, chosen.out)
    raise SystemExit(0 if all(found["holds"] for found in report["bars"].values()) else 1)


def endure(
    installation: InspectedInstallation,
    *,
    requests: int,
    seed: int,
    every_s: float,
    pace_s: float = PACE_S,
    faults: Iterable[Fault] | None = None,
) -> Outcome:
    """Ask and damage until everything has its end; `faults` are drawn at random where none are given."""
    began = time.monotonic()
    engine = create_sync_engine(installation.service_environment()["DATABASE_URL"])
    submitter = Submitter(
        installation.address, create_users(engine), plan_requests(requests, seed), pace_s=pace_s
    )
    engine.dispose()
    submitter.start()
    chance = random.Random(seed)
    kills = damage(installation, submitter, chance, faults or draw_faults(chance), every_s=every_s)
    wait_until_finished(installation, submitter)
    return Outcome(
        histories=read_histories(installation, submitter.job_ids),
        kills=kills,
        repeated_steps=find_repeated_steps(read_step_successes(installation, submitter.job_ids)),
        leftovers=wait_until_tidy(installation),
        log_errors=count_log_errors(installation),
        seconds=round(time.monotonic() - began, 1),
        refusal=submitter.refusal,
    )


def damage(
    installation: InspectedInstallation,
    submitter: Submitter,
    chance: random.Random,
    faults: Iterable[Fault],
    *,
    every_s: float,
) -> list[Kill]:
    """Kill something every few seconds while there are unfinished requests; what was done, and when."""
    stop_at = time.monotonic() + SECONDS_PER_REQUEST * len(submitter.requests)
    kills: list[Kill] = []
    for fault in faults:
        next_at = time.monotonic() + chance.uniform(0.5, 1.5) * every_s
        while time.monotonic() < next_at:
            time.sleep(LOOK_S)
            if is_all_finished(installation, submitter) or time.monotonic() > stop_at:
                return kills
        at = installation.ask_jobs("SELECT now() AS at")[0]["at"]
        if strike(installation, fault, chance):
            kills.append(Kill(fault=fault.value, at=at))
    return kills


def is_all_finished(installation: InspectedInstallation, submitter: Submitter) -> bool:
    """Whether everything was asked for and has its end."""
    if submitter.is_alive():
        return False
    [row] = installation.ask_jobs(
        "SELECT count(*) AS n FROM jobs WHERE id = ANY(%s::uuid[]) AND state <> ALL(%s)",
        submitter.job_ids,
        sorted(FINISHED_STATES),
    )
    return int(row["n"]) == 0


def wait_until_finished(installation: InspectedInstallation, submitter: Submitter) -> None:
    """Return when everything has its end, or when the patience is over."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not is_all_finished(installation, submitter) and time.monotonic() < give_up_at:
        time.sleep(LOOK_S)
    submitter.join(timeout=1)


def wait_until_tidy(installation: InspectedInstallation) -> dict[str, int]:
    """What is left behind: nothing, or what is still there after a while."""
    give_up_at = time.monotonic() + TIDY_S
    while any((found := count_leftovers(installation)).values()) and time.monotonic() < give_up_at:
        time.sleep(LOOK_S)
    return found


def read_histories(installation: InspectedInstallation, job_ids: Sequence[str]) -> list[History]:
    """What became of these requests."""
    asked = list(job_ids)
    events = defaultdict(list)
    for row in installation.ask_jobs(
        "SELECT job_id, created_at, payload FROM job_events WHERE job_id = ANY(%s::uuid[]) ORDER BY id", asked
    ):
        events[row["job_id"]].append(row)
    found = installation.ask_jobs("SELECT * FROM jobs WHERE id = ANY(%s::uuid[]) ORDER BY id", asked)
    return [parse_history(row, events[row["id"]]) for row in found]


def read_step_successes(installation: InspectedInstallation, job_ids: Sequence[str]) -> list[tuple[str, str]]:
    """Each step (request, stage) that succeeded, as often as it did."""
    rows = installation.ask_dagster(
        "SELECT run_tags.value AS job_id, event_logs.step_key AS stage FROM event_logs"
        " JOIN run_tags ON run_tags.run_id = event_logs.run_id AND run_tags.key = 'dagster/partition'"
        " WHERE event_logs.dagster_event_type = 'STEP_SUCCESS' AND run_tags.value = ANY(%s)",
        list(job_ids),
    )
    return [(row["job_id"], row["stage"]) for row in rows]


def build_report(outcome: Outcome, *, seed: int) -> dict[str, Any]:
    """The figures and whether the bars hold."""
    rows = build_rows(outcome.histories, outcome.kills)
    total = rows[-1]
    twice = total["twice"] + len(outcome.repeated_steps)
    return {
        "bars": {
            "lost": bar(total["lost"] + int(outcome.refusal is not None), 0),
            "finished_twice": bar(twice, 0),
            "left_behind": bar(sum(outcome.leftovers.values()), 0),
        },
        "seed": seed,
        "seconds": outcome.seconds,
        "rows": rows,
        "complaints": outcome.complaints,
        "leftovers": outcome.leftovers,
        "tracebacks": outcome.log_errors,
    }


def print_table(report: dict[str, Any]) -> None:
    """The rows, what is to be complained about, and the bars."""
    widths = [max(len(column), MIN_WIDTH) + 2 for column in COLUMNS]
    heads = [f"{column.replace('_', ' '):>{width}}" for column, width in zip(COLUMNS, widths, strict=True)]
    print(f"{'killed':18}{''.join(heads)}")
    for row in report["rows"]:
        cells = [f"{_shown(row.get(column)):>{width}}" for column, width in zip(COLUMNS, widths, strict=True)]
        print(f"{row['killed']:18}{''.join(cells)}")
    for complaint in report["complaints"]:
        print(complaint)
    print(f"{report['seconds']:g} s; tracebacks in logs: {report['tracebacks'] or 'none'}")
    print_bars(report)


def _shown(value: object) -> str:
    return "" if value is None else str(value)


if __name__ == "__main__":
    main()
