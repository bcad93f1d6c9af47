"""The report of the queue as tables for a person and as JSON for a program. Reads nothing by itself."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.console import Console, Group
from rich.table import Table

from pipeline3d.requests.queue_report import QueueLoad, QueueReport, WaitingRequest, WorkerStanding

_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86400


def render_json(report: QueueReport) -> str:
    """The whole report."""
    return json.dumps(asdict(report), default=str, indent=2)


def print_tables(report: QueueReport, console: Console) -> None:
    """The queues, what waits in them and why, and the workers with what they run."""
    console.print(
        Group(_queues(report.queues), "", _waiting(report.waiting), "", _workers(report.workers))
        if report.queues
        else "There are no queues yet: `pipeline3d seed` writes the catalogue."
    )


def describe_seconds(seconds: float | None) -> str:
    """`75` → `1 min`: one number that a person takes in at a glance."""
    if seconds is None:
        return ""
    for limit_s, unit_s, unit in ((_MINUTE_S, 1, "s"), (_HOUR_S, _MINUTE_S, "min"), (_DAY_S, _HOUR_S, "h")):
        if seconds < limit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds / _DAY_S:.0f} d"


def _queues(loads: tuple[QueueLoad, ...]) -> Table:
    table = Table(title="Queues", title_justify="left")
    for name in ("queue", "state"):
        table.add_column(name)
    for name in (
        "waiting",
        "oldest",
        "set aside",
        "retry later",
        "on the way",
        "running",
        "canceling",
        "slots",
        "workers",
    ):
        table.add_column(name, justify="right")
    for load in loads:
        counts = (load.running, load.canceling, load.slots, load.workers)
        table.add_row(
            load.queue,
            _state_of_queue(load),
            str(load.waiting),
            describe_seconds(load.oldest_s),
            str(load.set_aside),
            str(load.retrying),
            f"{load.dispatched} of {load.depth}",
            *(str(count) for count in counts),
        )
    return table


def _state_of_queue(load: QueueLoad) -> str:
    if load.paused is not None:
        return f"[yellow]paused[/] {load.paused}".rstrip()
    return "[green]open[/]" if load.slots else "[red]no worker takes any[/]"


def _waiting(requests: tuple[WaitingRequest, ...]) -> Table | str:
    if not requests:
        return "Nothing waits."
    table = Table(title="Waiting, the next ones first", title_justify="left")
    for name in ("job", "user", "model", "queue"):
        table.add_column(name)
    for name in ("priority", "attempt", "for"):
        table.add_column(name, justify="right")
    table.add_column("why")
    for request in requests:
        numbers = (str(request.priority), str(request.attempt), describe_seconds(request.waited_s))
        named = (str(request.job_id), request.username, request.model_id, request.queue)
        table.add_row(*named, *numbers, request.why)
    return table


def _workers(workers: tuple[WorkerStanding, ...]) -> Table | str:
    if not workers:
        return "No worker is announced: `pipeline3d worker` starts one."
    table = Table(title="Workers", title_justify="left")
    for name in ("worker", "host", "queues", "state"):
        table.add_column(name)
    table.add_column("slots", justify="right")
    table.add_column("runs")
    for worker in workers:
        runs = "\n".join(
            f"{run.job_name} {run.job_id or run.run_id} for {describe_seconds(run.seconds)}"
            for run in worker.runs
        )
        queues = ", ".join(worker.queues) + (f" (GPU {worker.gpu})" if worker.gpu else "")
        table.add_row(
            worker.id, worker.host, queues, _state_of_worker(worker), str(worker.concurrency), runs or "-"
        )
    return table


def _state_of_worker(worker: WorkerStanding) -> str:
    if not worker.live:
        return f"[red]silent[/] for {describe_seconds(worker.silent_s)}"
    return "[yellow]draining[/]" if worker.draining else "[green]live[/]"
