"""One round of a warden at a time, on real databases and processes: a stand-in plays the Celery process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import kombu.exceptions
import psutil
import pytest
from sqlalchemy import func

from pipeline3d.database.tables import launched_runs, workers
from pipeline3d.launch import warden as warden_module
from pipeline3d.launch.process_tree import signal_all, tree_of
from pipeline3d.launch.runs_table import RunsTable
from pipeline3d.launch.warden import Warden
from pipeline3d.launch.worker_command import clean_up
from pipeline3d.requests.fleet import WorkerFacts
from pipeline3d_tests.servers import wait_until

# As Celery: it starts a process for runs, says that it is ready, and ends when it is asked to.
STAND_IN = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
child = subprocess.Popen(["sleep", "600"])  # a Python that begins might swallow a signal
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
while True:
    time.sleep(0.05)
"""
FACTS = WorkerFacts(id="w1", host="h", pid=os.getpid(), queues=("cpu",), concurrency=2)


class Bench:
    """A warden whose rounds the test makes."""

    def __init__(self, site, folder: Path) -> None:
        self.site = site
        self.published: list[str] = []
        self.cleaned: list[str] = []
        self.begun: list[subprocess.Popen] = []
        self.publish: Callable[[str, str], None] = lambda run_id, queue: self.published.append(run_id)
        self.ready_file = folder / "ready"
        self.warden = Warden(
            FACTS,
            fleet=site.fleet,
            ledger=site.ledger,
            runs=RunsTable(site.environment["DAGSTER_PG_URL"]),
            start_worker=self._start,
            publish=lambda run_id, queue: self.publish(run_id, queue),
            clean_up=self.cleaned.append,
            ready_file=self.ready_file,
            shutdown_grace_s=1,
        )
        site.fleet.register(FACTS)

    def _start(self, ready_file: Path) -> subprocess.Popen:
        self.begun.append(subprocess.Popen([sys.executable, "-c", STAND_IN, str(ready_file)]))
        return self.begun[-1]

    def begin(self) -> None:
        """The first round, which starts the stand-in."""
        self.warden.look()
        wait_until(lambda: self.ready_file.exists() and self.ready_file.read_text(), what="it is ready")

    @property
    def run_process(self) -> psutil.Process:
        return psutil.Process(int(self.ready_file.read_text()))

    def wait_for_the_end_of_the_run(self) -> None:
        """A signal needs its time; the stand-in does not look, so the dead process stays to be seen."""
        wait_until(
            lambda: self.run_process.status() == psutil.STATUS_ZOMBIE, what="the run's process has ended"
        )

    def at_work(self) -> tuple[object, str]:
        """A request whose run the stand-in's process has."""
        job_id = self.site.probe()
        run_id = self.site.launch(job_id)
        assert self.site.fleet.take(run_id, FACTS.id, self.run_process.pid) is not None
        self.site.ledger.begin(job_id, attempt=1, run_id=run_id, delivers=True)
        return job_id, run_id

    def forget(self, run_id: str) -> None:
        """The broker was told long ago."""
        told = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, 60)
        self.site.rows.run(
            launched_runs.update().where(launched_runs.c.run_id == run_id).values(published_at=told)
        )


@pytest.fixture
def bench(site, tmp_path, monkeypatch) -> Iterator[Bench]:
    # The orphans of this process are the servers of the tests.
    monkeypatch.setattr(warden_module, "end_orphans", lambda *, spared: [])
    made = Bench(site, tmp_path)
    yield made
    for process in made.begun:
        signal_all(tree_of(process.pid), signal.SIGKILL)
        process.wait()


def test_runs_at_work_are_left_alone_round_after_round(bench):
    bench.begin()
    job_id, run_id = bench.at_work()
    for _ in range(3):
        bench.warden.look()
    assert bench.site.state(job_id) == ("RUNNING", 1)
    assert bench.site.fleet.find(run_id) is not None
    assert len(bench.begun) == 1


def test_a_run_whose_process_died_is_settled_cleaned_up_and_forgotten(bench):
    bench.begin()
    job_id, run_id = bench.at_work()
    bench.warden.look()
    bench.run_process.kill()
    bench.wait_for_the_end_of_the_run()
    bench.warden.look()
    assert bench.site.state(job_id) == ("QUEUED", 2)
    assert bench.site.codes(job_id) == ["worker_lost"]
    assert bench.site.status(run_id) == "FAILURE"
    assert bench.cleaned == [run_id]
    assert bench.site.fleet.find(run_id) is None


def test_a_run_whose_pid_belongs_to_another_process_now_is_lost(bench):
    bench.begin()
    job_id = bench.site.probe()
    run_id = bench.site.launch(job_id)
    bench.site.fleet.take(run_id, FACTS.id, os.getppid())
    bench.warden.look()
    assert bench.site.state(job_id) == ("QUEUED", 2)
    assert bench.site.fleet.find(run_id) is None


def test_a_run_that_is_to_end_is_marked_in_dagster_before_it_is_signalled(bench):
    bench.begin()
    job_id, run_id = bench.at_work()
    bench.site.ledger.request_cancel(job_id)
    bench.warden.look()
    assert bench.site.status(run_id) == "CANCELING"
    bench.wait_for_the_end_of_the_run()
    bench.warden.look()
    assert bench.site.state(job_id) == ("CANCELED", 1)
    assert bench.site.status(run_id) == "CANCELED"
    assert bench.site.codes(job_id) == []


def test_a_run_that_somebody_closed_in_dagster_while_it_works_is_ended(bench):
    """As the UI's "force termination" does it: Dagster forgets the run, and its process would go on."""
    bench.begin()
    (_, closed), (_, other) = bench.at_work(), bench.at_work()
    bench.site.instance.report_run_canceled(bench.site.instance.get_run_by_id(closed))
    bench.warden._beat_at = 0.0  # it asks with every sign of life
    bench.warden.look()
    assert bench.site.fleet.find(closed).cancel_requested
    assert not bench.site.fleet.find(other).cancel_requested


def test_dagster_is_not_loaded_to_watch_over_runs_that_go_well(bench, monkeypatch):
    """It takes seconds of CPU, in which the warden sees and ends nothing."""
    bench.begin()
    job_id, _ = bench.at_work()
    monkeypatch.setitem(sys.modules, "dagster", None)
    bench.warden._beat_at = 0.0
    bench.warden.look()
    assert bench.site.state(job_id) == ("RUNNING", 1)


@pytest.mark.parametrize(
    "error",
    [
        kombu.exceptions.OperationalError("Redis is away"),
        kombu.exceptions.InconsistencyError("the queue is gone"),
        ConnectionRefusedError(111, "refused"),
    ],
)
def test_a_broker_that_is_away_keeps_nobody_from_anything(bench, error, caplog):
    bench.begin()
    run_id = bench.site.launch(bench.site.probe())
    bench.forget(run_id)

    def refuse(run_id: str, queue: str) -> None:
        raise error

    bench.publish = refuse
    bench.warden.look()
    assert "does not answer" in caplog.text
    assert bench.site.fleet.find(run_id).worker_id is None


def test_a_forgotten_run_is_published_again_by_a_worker_that_has_a_place_for_it(bench):
    bench.begin()
    runs = [bench.site.launch(bench.site.probe()) for _ in range(3)]
    bench.at_work()
    for run_id in runs:
        bench.forget(run_id)
    bench.warden.look()
    assert len(bench.published) == 1  # one of its two places is taken
    assert set(bench.published) <= set(runs)


def test_a_worker_that_was_taken_for_dead_announces_itself_again(bench):
    bench.begin()
    bench.site.fleet.leave(FACTS.id)
    bench.warden._beat_at = 0.0
    bench.warden.look()
    assert bench.site.fleet.is_worker_alive(FACTS.id, 60)


def test_a_celery_process_that_died_is_started_again_after_a_pause(bench, monkeypatch):
    bench.begin()
    bench.begun[0].kill()
    bench.begun[0].wait()
    bench.warden.look()
    assert len(bench.begun) == 1  # not at once: it may die of the same again
    later = time.monotonic() + 10
    monkeypatch.setattr(warden_module.time, "monotonic", lambda: later)
    bench.warden.look()
    assert len(bench.begun) == 2


def test_a_draining_worker_ends_its_celery_process_and_starts_it_again_when_told(bench):
    def tell(draining: bool) -> None:
        bench.site.rows.run(workers.update().values(draining=draining))
        bench.warden._beat_at = 0.0
        bench.warden.look()

    def is_started_again() -> bool:
        bench.warden.look()
        return len(bench.begun) == 2

    bench.begin()
    tell(True)
    assert bench.begun[0].wait(timeout=40) == 0
    bench.warden.look()
    assert len(bench.begun) == 1
    tell(False)
    wait_until(is_started_again, what="it is started again")


def test_what_a_killed_run_left_is_removed_at_once_even_where_the_store_hangs(tmp_path):
    run_id = str(uuid4())
    mine, other = tmp_path / f"run-{run_id}-1", tmp_path / "run-other-1"
    for folder in (mine, other):
        folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections and never answers
        environment = {
            "MINIO_ENDPOINT": f"127.0.0.1:{silent.getsockname()[1]}",
            "MINIO_ACCESS_KEY": "a",
            "MINIO_SECRET_KEY": "b",
            "MINIO_BUCKET": "bucket",
            "MINIO_SECURE": "false",
        }
        started = time.monotonic()
        clean_up(run_id, tmp_path, environment)
        assert time.monotonic() - started < 30
    assert not mine.exists()
    assert other.exists()
