"""A real worker: `pipeline3d worker` as a process, on Postgres and on Redis, and the deaths of its parts.

Runs are launched by the test, so no daemon is needed; the reconciler's functions are called by the test where
they matter.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import psutil
import psycopg
import pytest
import redis
import sqlalchemy as sa

from pipeline3d.database.tables import launched_runs, workers
from pipeline3d.defs.sensors.reconcile import settle_dead_workers
from pipeline3d.launch.celery_app import publish
from pipeline3d.local.parentage import environment_for_child
from pipeline3d_tests.integration.launch.launch_site import CHECKOUT, LaunchSite, clean_environment, open_site
from pipeline3d_tests.integration.launch.test_brokers import redis_server
from pipeline3d_tests.servers import wait_until

START_DEADLINE_S = 90.0
ENDED_WITHIN_S = 60.0
"""The ladder of signals takes eight seconds and the machine may be busy; by itself no run ends in minutes."""
NOTICED_WITHIN_S = 60.0
"""The warden looks every second; the reconciler, which looks after a minute, does not run here."""
BROKERS = ["postgres", "redis"]

on_both_brokers = pytest.mark.parametrize("bench", BROKERS, indirect=True)
on_postgres = pytest.mark.parametrize("bench", BROKERS[:1], indirect=True)


@dataclass
class Worker:
    """A process of `pipeline3d worker` on a site."""

    site: LaunchSite
    options: tuple[str, ...]
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)
    id: str = ""

    def start(self) -> None:
        """Return when it takes runs."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipeline3d.cli", "worker", *self.options],
                cwd=CHECKOUT,
                env=environment_for_child({**clean_environment(os.environ), **self.site.environment}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._is_registered, what="the worker registers", deadline_s=START_DEADLINE_S)

    def _is_registered(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        found = self.site.rows.run(sa.select(workers.c.id).where(workers.c.pid == self.process.pid))
        self.id = found[0].id if found else ""
        return bool(found)

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def tree(self) -> list[psutil.Process]:
        """The warden and everything below it."""
        warden = psutil.Process(self.process.pid)
        return [warden, *warden.children(recursive=True)]

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=60)


@dataclass
class Bench:
    """A site and its workers."""

    site: LaunchSite
    broker: str
    _shared: Worker | None = None
    _begun: list[Worker] = field(default_factory=list)

    def start_worker(self, *options: str) -> Worker:
        worker = Worker(self.site, options, self.site.data / f"worker{len(self._begun)}.log")
        self._begun.append(worker)
        worker.start()
        return worker

    @property
    def worker(self) -> Worker:
        """One worker with two places, the same one for as long as no test ends it."""
        if self._shared is None or not self._shared.is_alive:
            self._shared = self.start_worker("--concurrency", "2", "--grace", "1")
        return self._shared

    def close(self) -> None:
        for worker in self._begun:
            if worker.is_alive:
                worker.process.terminate()
        for worker in self._begun:
            worker.process.wait(timeout=60)

    # -- requests at work

    def at_work(self, **params) -> tuple[UUID, str, int]:
        """A probe that is busy for minutes: its request, its run and the process that has it."""
        job_id = self.site.probe(work_s=600, **params)
        return job_id, *self.launch_to_work(job_id)

    def launch_to_work(self, job_id: UUID, attempt: int = 1) -> tuple[str, int]:
        """Launch an attempt and wait until it works; its run and the process that has it."""
        run_id = self.site.launch(job_id, attempt)
        wait_until(
            lambda: (self.site.rows.row(job_id).progress or {}).get("stage") == "probe_work",
            what=f"the probe works; see {self.site.data}",
        )
        launched = self.site.fleet.find(run_id)
        assert launched is not None
        assert launched.worker_pid is not None
        return run_id, launched.worker_pid

    def program_of(self, pid: int) -> psutil.Process:
        """The program that a run's process started."""
        found: list[psutil.Process] = []

        def is_there() -> bool:
            found[:] = psutil.Process(pid).children(recursive=True)
            return bool(found)

        wait_until(is_there, what="the run has started its program")
        return found[0]

    def wait_for(self, job_id: UUID, *states: tuple[str, int], deadline_s: float = 90.0) -> None:
        wait_until(
            lambda: self.site.state(job_id) in states,
            what=f"the request is {states}, it is {self.site.state(job_id)}",
            deadline_s=deadline_s,
        )

    def wait_forgotten(self, run_id: str) -> None:
        """Everything that belongs to a run's end is done when its launch is forgotten."""
        wait_until(lambda: self.site.fleet.find(run_id) is None, what="the launch is forgotten")

    def lose_messages(self) -> None:
        """As a broker that was restarted without its disk."""
        if self.broker == "redis":
            redis.Redis.from_url(self.site.environment["BROKER_URL"]).flushall()
        else:
            with psycopg.connect(self.site.environment["DATABASE_URL"], autocommit=True) as connection:
                connection.execute("TRUNCATE kombu_message, kombu_queue")


@pytest.fixture(scope="module")
def bench(
    request, postgres_server, seeded_template, dagster_template, object_store_server, tmp_path_factory
) -> Iterator[Bench]:
    """Both databases, an object store, a broker; workers are started when a test wants one."""
    data = tmp_path_factory.mktemp("bench")
    urls = [postgres_server.fresh_database(name) for name in (seeded_template, dagster_template)]
    variables = {
        "MINIO_ENDPOINT": object_store_server.endpoint,
        "MINIO_ACCESS_KEY": object_store_server.access_key,
        "MINIO_SECRET_KEY": object_store_server.secret_key,
        "MINIO_BUCKET": object_store_server.fresh_bucket(),
    }
    with ExitStack() as stack:
        if request.param == "redis":
            variables["BROKER_URL"] = stack.enter_context(redis_server(tmp_path_factory))
        site = stack.enter_context(
            open_site(data, jobs_url=urls[0], dagster_url=urls[1], in_process=False, **variables)
        )
        opened = Bench(site, request.param)
        stack.callback(opened.close)
        yield opened
    for url in urls:
        postgres_server.drop_database(url)


def is_gone(process: psutil.Process) -> bool:
    """Gone, or dead and waiting for whoever started it to look."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(processes: list[psutil.Process]) -> None:
    wait_until(
        lambda: all(is_gone(process) for process in processes),
        what=f"these processes are gone: {processes}",
        deadline_s=ENDED_WITHIN_S,
    )


def starts(bench: Bench, job_id: UUID) -> list[str]:
    """The runs that began a request, in order."""
    return [event["run_id"] for event in bench.site.rows.events(job_id) if event["event"] == "started"]


# -- runs


@on_both_brokers
def test_a_launched_run_is_executed_by_a_process_that_was_there_before(bench):
    before = {process.pid for process in bench.worker.tree()}
    job_id = bench.site.probe(work_s=0.5)
    run_id, pid = bench.launch_to_work(job_id)
    assert pid in before
    bench.wait_for(job_id, ("SUCCEEDED", 1))
    bench.wait_forgotten(run_id)
    assert bench.site.status(run_id) == "SUCCESS"


@on_postgres
def test_no_run_is_executed_twice_by_two_workers_that_hear_of_it_many_times(bench):
    first = bench.worker
    second = bench.start_worker("--concurrency", "1", "--grace", "1")
    jobs = [bench.site.probe() for _ in range(12)]
    runs = [bench.site.launch(job_id) for job_id in jobs]
    for run_id in runs * 2:
        publish(bench.site.launcher.celery, run_id, "cpu")
    for job_id in jobs:
        bench.wait_for(job_id, ("SUCCEEDED", 1))
    assert [starts(bench, job_id) for job_id in jobs] == [[run_id] for run_id in runs]
    for run_id in runs:
        bench.wait_forgotten(run_id)
        assert bench.site.messages(run_id).count("Started execution of run") == 1
    assert second.stop() == 0
    assert first.is_alive


@on_both_brokers
def test_runs_are_executed_although_the_broker_lost_all_its_messages(bench):
    assert bench.worker.is_alive
    busy = [bench.at_work()[0] for _ in range(2)]
    waiting = [bench.site.probe() for _ in range(3)]
    runs = [bench.site.launch(job_id) for job_id in waiting]
    bench.lose_messages()
    for job_id in busy:
        bench.site.ledger.request_cancel(job_id)
    for job_id in waiting:
        bench.wait_for(job_id, ("SUCCEEDED", 1))
    later = bench.site.probe()
    bench.wait_forgotten(bench.site.launch(later))
    assert bench.site.state(later) == ("SUCCEEDED", 1)
    assert [starts(bench, job_id) for job_id in waiting] == [[run_id] for run_id in runs]


# -- cancel


@on_both_brokers
def test_cancelling_a_request_ends_its_whole_process_tree(bench):
    assert bench.worker.is_alive
    job_id, run_id, pid = bench.at_work(in_subprocess=True)
    program = bench.program_of(pid)
    assert bench.site.ledger.request_cancel(job_id) == "CANCELING"
    bench.wait_for(job_id, ("CANCELED", 1), deadline_s=ENDED_WITHIN_S)
    bench.wait_forgotten(run_id)
    assert bench.site.status(run_id) == "CANCELED"
    assert bench.site.codes(job_id) == []
    wait_until_gone([program])
    assert not list((bench.site.data / "scratch").glob(f"run-{run_id}-*"))


@on_postgres
def test_a_run_that_does_not_react_to_signals_is_killed_and_canceled_all_the_same(bench):
    assert bench.worker.is_alive
    job_id, run_id, pid = bench.at_work(in_subprocess=True)
    processes = [psutil.Process(pid), bench.program_of(pid)]
    for process in processes:
        process.suspend()  # neither INT nor TERM is delivered to a process that is stopped
    bench.site.ledger.request_cancel(job_id)
    bench.wait_for(job_id, ("CANCELED", 1), deadline_s=ENDED_WITHIN_S + NOTICED_WITHIN_S)
    wait_until_gone(processes)
    bench.wait_forgotten(run_id)
    assert bench.site.status(run_id) == "CANCELED"
    assert bench.site.codes(job_id) == []
    assert not list((bench.site.data / "scratch").glob(f"run-{run_id}-*"))


@on_postgres
def test_ending_a_run_in_dagster_cancels_its_request(bench):
    assert bench.worker.is_alive
    job_id, run_id, _ = bench.at_work()
    assert bench.site.instance.run_coordinator.cancel_run(run_id) is True
    bench.wait_for(job_id, ("CANCELED", 1), deadline_s=ENDED_WITHIN_S)
    bench.wait_forgotten(run_id)
    assert bench.site.status(run_id) == "CANCELED"


@on_postgres
def test_a_cancel_ends_one_run_and_leaves_its_neighbour_alone(bench):
    assert bench.worker.is_alive
    ended, ended_run, _ = bench.at_work(in_subprocess=True)
    spared, spared_run, pid = bench.at_work(in_subprocess=True)
    program = bench.program_of(pid)
    bench.site.ledger.request_cancel(ended)
    bench.wait_for(ended, ("CANCELED", 1), deadline_s=ENDED_WITHIN_S)
    bench.wait_forgotten(ended_run)
    assert bench.site.state(spared) == ("RUNNING", 1)
    assert program.is_running()
    bench.site.ledger.request_cancel(spared)
    bench.wait_forgotten(spared_run)


# -- deaths


@on_both_brokers
def test_a_request_whose_process_was_killed_is_queued_for_its_next_attempt(bench):
    assert bench.worker.is_alive
    job_id, run_id, pid = bench.at_work(in_subprocess=True)
    program = bench.program_of(pid)
    os.kill(pid, signal.SIGKILL)
    bench.wait_for(job_id, ("QUEUED", 2), deadline_s=NOTICED_WITHIN_S)
    assert bench.site.codes(job_id) == ["worker_lost"]
    bench.wait_forgotten(run_id)
    assert bench.site.status(run_id) == "FAILURE"
    wait_until_gone([program])
    assert not list((bench.site.data / "scratch").glob(f"run-{run_id}-*"))
    bench.site.ledger.request_cancel(job_id)
    following = bench.site.probe()
    bench.site.launch(following)
    bench.wait_for(following, ("SUCCEEDED", 1))  # its place is filled by a new process


@on_postgres
def test_a_request_whose_process_dies_three_times_is_parked(bench):
    assert bench.worker.is_alive
    job_id = bench.site.probe(work_s=600)
    for attempt in (1, 2, 3):
        run_id, pid = bench.launch_to_work(job_id, attempt)
        os.kill(pid, signal.SIGKILL)
        bench.wait_forgotten(run_id)
    row = bench.site.rows.row(job_id)
    assert (row.state, row.attempt, row.error_code) == ("FAILED", 3, "worker_lost")
    assert bench.site.codes(job_id) == ["worker_lost"] * 3


@on_postgres
def test_when_the_celery_process_is_killed_its_runs_are_settled_and_another_one_serves(bench):
    worker = bench.worker
    job_id, run_id, _ = bench.at_work(in_subprocess=True)
    tree = worker.tree()
    [celery] = psutil.Process(worker.process.pid).children()
    celery.kill()
    bench.wait_for(job_id, ("QUEUED", 2), deadline_s=NOTICED_WITHIN_S)
    bench.wait_forgotten(run_id)
    wait_until_gone(tree[1:])
    following = bench.site.probe()
    bench.site.launch(following)
    bench.wait_for(following, ("SUCCEEDED", 1), deadline_s=START_DEADLINE_S)
    assert worker.is_alive


@on_postgres
def test_nothing_outlives_a_warden_that_was_killed_and_its_runs_are_settled_by_the_reconciler(bench):
    worker = bench.worker
    job_id, run_id, _ = bench.at_work(in_subprocess=True)
    tree = worker.tree()
    assert len(tree) >= 5  # warden, Celery, two processes for runs, the program
    worker.process.kill()
    worker.process.wait()
    wait_until_gone(tree)
    assert bench.site.state(job_id) == ("RUNNING", 1)  # nobody was left to say so
    long_ago = sa.text("now() - interval '1 hour'")
    bench.site.rows.run(workers.update().where(workers.c.id == worker.id).values(heartbeat_at=long_ago))
    bench.site.rows.run(
        launched_runs.update().where(launched_runs.c.run_id == run_id).values(taken_at=long_ago)
    )
    done = settle_dead_workers(bench.site.ledger, bench.site.fleet, bench.site.instance, 60.0)
    assert len(done) == 1
    assert bench.site.state(job_id) == ("QUEUED", 2)
    assert bench.site.codes(job_id) == ["worker_lost"]
    assert bench.site.status(run_id) == "FAILURE"
    assert bench.site.fleet.find(run_id) is None


# -- drain and stop


@contextmanager
def draining(bench: Bench, worker: Worker) -> Iterator[None]:
    def tell(wanted: bool) -> None:
        bench.site.rows.run(workers.update().where(workers.c.id == worker.id).values(draining=wanted))
        bench.site.fleet.call(worker.id)

    tell(True)
    yield
    tell(False)


@on_postgres
def test_a_drained_worker_finishes_what_it_has_takes_nothing_new_and_serves_again_when_told(bench):
    worker = bench.worker
    ending = bench.site.probe(work_s=8)
    bench.launch_to_work(ending)
    [celery] = psutil.Process(worker.process.pid).children()
    with draining(bench, worker):
        wait_until(
            lambda: (
                bench.site.rows.run(sa.select(workers.c.draining).where(workers.c.id == worker.id))[
                    0
                ].draining
            ),
            what="the worker was told",
        )
        bench.wait_for(ending, ("SUCCEEDED", 1))
        wait_until(lambda: is_gone(celery), what="nothing takes runs any more")
        waiting = bench.site.probe()
        run_id = bench.site.launch(waiting)
        seen = threading.Event()
        assert not seen.wait(2 * 1.0)  # two looks of the warden
        assert bench.site.fleet.find(run_id).worker_id is None
        assert worker.is_alive
    bench.wait_for(waiting, ("SUCCEEDED", 1), deadline_s=START_DEADLINE_S)


@on_postgres
def test_a_worker_that_is_told_to_stop_ends_in_order_and_settles_what_it_had(bench):
    worker = bench.worker
    job_id, run_id, _ = bench.at_work(in_subprocess=True)
    tree = worker.tree()
    assert worker.stop() == 0
    wait_until_gone(tree)
    assert bench.site.state(job_id) == ("QUEUED", 2)
    assert bench.site.status(run_id) == "FAILURE"
    assert bench.site.fleet.find(run_id) is None
    assert bench.site.fleet.beat(worker.id) is None  # it signed off
    assert not list((bench.site.data / "scratch").glob("run-*"))
