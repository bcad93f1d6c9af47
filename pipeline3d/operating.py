"""The operators' commands: look at the queue, pause and resume it, queue requests again, drain workers.

They speak to the jobs database directly: they work while the API is down, from any host that reaches it.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

import click

from pipeline3d.explained_errors import explains_errors

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from pipeline3d.requests.operations import Operations
    from pipeline3d.settings import Settings

LOOK_EVERY_S = 1.0
SECONDS_BY_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> float:
    """`90s`, `15m`, `2h` or `1d` as seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if found is None:
        raise click.BadParameter(f"{text!r} is not a duration; write 90s, 15m, 2h or 1d.")
    return float(found[1]) * SECONDS_BY_UNIT[found[2]]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Requests a queue."
)
@explains_errors
def queue(as_json: bool, limit: int) -> None:
    """Show what waits and why, what runs, and who works."""
    from rich.console import Console

    from pipeline3d.limits import admission_of
    from pipeline3d.models_view import build_device_table
    from pipeline3d.queue_view import print_tables, render_json
    from pipeline3d.requests.gpu_leases import DeviceBoard
    from pipeline3d.requests.queue_report import Obstacle, read_queue

    settings, engine = _connect()
    report = read_queue(engine, admission_of(settings), at_most=limit)
    if any(request.obstacle is Obstacle.IN_DAGSTER for request in report.waiting):
        # Loading Dagster takes a second: only where it has something to say.
        held = ask_dagster()
        report = read_queue(engine, admission_of(settings), at_most=limit, held_by_dagster=held)
    if as_json:
        click.echo(render_json(report))
    else:
        console = Console()
        print_tables(report, console)
        if leases := DeviceBoard(engine).list():
            console.print("", build_device_table(leases))


def ask_dagster() -> dict[str, str]:
    """Why Dagster holds back the runs in its queue, by run key; nothing where it cannot be asked."""
    import os

    from pipeline3d.installation import read_installation

    os.environ.update(read_installation().environment)
    from dagster import DagsterInstance

    from pipeline3d.launch.run_queue_view import explain_queued_runs

    with DagsterInstance.get() as instance:
        return explain_queued_runs(instance)


@click.command()
@click.argument("name", metavar="[QUEUE]", default="*")
@click.option("--reason", default="", help="Shown to whoever asks why nothing starts.")
@explains_errors
def pause(name: str, reason: str) -> None:
    """Dispatch nothing of a queue, or of all. What runs goes on."""
    _operations().pause(name, reason)
    click.echo(f"{_name_queue(name)} is paused")


@click.command()
@click.argument("name", metavar="[QUEUE]", default="*")
@click.option("--worker", "worker", help="Let this worker, or the workers of this host, take runs again.")
@explains_errors
def resume(name: str, worker: str | None) -> None:
    """Take back a pause, or every pause; or a drain, with --worker."""
    if worker is not None:
        for worker_id in _operations().drain(worker, draining=False):
            click.echo(f"worker {worker_id} takes runs again")
        return
    operations = _operations()
    resumed = operations.resume(name)
    click.echo(
        "\n".join(f"{_name_queue(one)} is no longer paused" for one in resumed) or "nothing was paused"
    )
    for still, reason in operations.list_pauses().items():
        click.echo(f"{_name_queue(still)} is still paused" + (f": {reason}" if reason else ""))


@click.command()
@click.argument("job_ids", metavar="JOB...", nargs=-1, type=click.UUID)
@click.option("--failed", is_flag=True, help="All that failed in a way that another attempt may better.")
@click.option(
    "--since", type=parse_duration, default="1d", show_default=True, help="With --failed: how far back."
)
@click.option("--code", help="With --failed: those with this error code, whether it may help or not.")
@explains_errors
def requeue(job_ids: tuple[UUID, ...], failed: bool, since: float, code: str | None) -> None:
    """Queue again what FAILED, was CANCELED or EXPIRED, as a new attempt."""
    if failed == bool(job_ids):
        raise click.UsageError("Name jobs, or say --failed.")
    operations = _operations()
    if failed:
        queued = operations.requeue_failed(since, code)
        click.echo("\n".join([*map(str, queued), f"{len(queued)} queued again"]))
        return
    refused = False
    for done in operations.requeue(job_ids):
        refused |= not done.queued
        told = "queued again" if done.queued else f"stays {done.state}" if done.state else "is not known"
        click.echo(f"{done.job_id} {told}")
    sys.exit(1 if refused else 0)


@click.command()
@click.argument("name", metavar="WORKER|HOST")
@click.option("--wait", "waits", is_flag=True, help="Return when nothing runs there any more.")
@click.option("--timeout", type=parse_duration, help="With --wait: give up after this long and exit with 1.")
@explains_errors
def drain(name: str, waits: bool, timeout: float | None) -> None:
    """Let a worker, or all workers of a host, finish what they have and take nothing new."""
    operations = _operations()
    for worker_id in operations.drain(name):
        click.echo(f"worker {worker_id} is draining")
    if waits and not wait_until_idle(operations, name, timeout_s=timeout, tell=click.echo):
        sys.exit(1)


def wait_until_idle(
    operations: Operations,
    name: str,
    *,
    timeout_s: float | None,
    tell: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Whether everything that ran on a worker or host has ended, told as it does; False after the time."""
    give_up_at = None if timeout_s is None else clock() + timeout_s
    told = None
    while runs := operations.list_runs_of(name):
        if len(runs) != told:
            tell(f"{len(runs)} still running")
            told = len(runs)
        if give_up_at is not None and clock() >= give_up_at:
            return False
        sleep(LOOK_EVERY_S)
    tell("nothing runs there")
    return True


COMMANDS = (queue, pause, resume, requeue, drain)


def _name_queue(name: str) -> str:
    return "every queue" if name == "*" else f"queue {name}"


def _operations() -> Operations:
    from pipeline3d.requests.operations import Operations

    return Operations(_connect()[1])


def _connect() -> tuple[Settings, Engine]:
    from pipeline3d.database.engines import create_sync_engine
    from pipeline3d.installation import read_installation, require

    settings = read_installation().settings
    return settings, create_sync_engine(require(settings.database_url, "DATABASE_URL"))
