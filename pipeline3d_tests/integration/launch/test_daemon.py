"""The daemon's loops: they wait for what they wait for, and no longer."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager

import pytest
from dagster import DagsterRunStatus as Status
from dagster._core.run_coordinator import SubmitRunContext

from pipeline3d.launch.coordinator import QUEUE_BELL, PromptRunCoordinator
from pipeline3d.launch.daemon import (
    PromptBackfillDaemon,
    PromptDequeuer,
    PromptSensorDaemon,
    create_daemons,
    wait_for_any,
)
from pipeline3d_tests.servers import wait_until

LONG_S = 120.0


@pytest.fixture(autouse=True)
def silence():
    """No bell rings before the test, nor after it."""
    QUEUE_BELL.clear()
    yield
    QUEUE_BELL.clear()


# -- the bell


def test_a_submitted_run_is_enqueued_and_rings(site):
    run = site.run(site.probe(), status=Status.NOT_STARTED)
    coordinator = site.instance.run_coordinator
    assert isinstance(coordinator, PromptRunCoordinator)
    submitted = coordinator.submit_run(SubmitRunContext(dagster_run=run, workspace=None))
    assert submitted.status is Status.QUEUED
    assert QUEUE_BELL.is_set()


class Dequeuer(PromptDequeuer):
    """Looks into a queue of the test's own; `launches` says how many runs each look launches."""

    def __init__(self, interval_s: float, launches=()) -> None:
        super().__init__(interval_seconds=interval_s)
        self.looks = 0
        self._launches = list(launches)

    def run_iteration(self, workspace_process_context):
        self.looks += 1
        yield from [None] * (self._launches.pop(0) if self._launches else 0)


@contextmanager
def at_work(dequeuer: PromptDequeuer):
    """Iterates in a thread, as the daemon does."""
    over = threading.Event()

    def iterate() -> None:
        for _ in dequeuer.core_loop(None, over):
            if over.is_set():
                return

    thread = threading.Thread(target=iterate)
    thread.start()
    try:
        yield
    finally:
        over.set()
        QUEUE_BELL.set()
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_a_submitted_run_wakes_the_dequeuer(site):
    dequeuer = Dequeuer(LONG_S)
    with at_work(dequeuer):
        wait_until(lambda: dequeuer.looks == 1, what="the first look")
        run = site.run(site.probe(), status=Status.NOT_STARTED)
        started = time.monotonic()
        site.instance.run_coordinator.submit_run(SubmitRunContext(dagster_run=run, workspace=None))
        wait_until(lambda: dequeuer.looks == 2, what="a look for the run")
    assert time.monotonic() - started < LONG_S / 2


def test_a_bell_that_rings_while_the_dequeuer_looks_is_heard_after_the_look():
    class Slow(Dequeuer):
        def run_iteration(self, workspace_process_context):
            yield from super().run_iteration(workspace_process_context)
            if self.looks == 1:
                QUEUE_BELL.set()

    dequeuer = Slow(LONG_S)
    with at_work(dequeuer):
        wait_until(lambda: dequeuer.looks == 2, what="a second look")


def test_what_other_processes_enqueued_is_found_at_the_interval():
    dequeuer = Dequeuer(0.05)
    with at_work(dequeuer):
        wait_until(lambda: dequeuer.looks >= 4, what="looks without a bell")


def test_after_a_launch_the_dequeuer_looks_again_soon_for_runs_that_wait_for_a_place():
    dequeuer = Dequeuer(LONG_S, launches=[2, 1, 0])
    with at_work(dequeuer):
        wait_until(lambda: dequeuer.looks == 3, what="a look after the last launch")


# -- sensors


def done() -> Future:
    future: Future = Future()
    future.set_result(None)
    return future


def failed() -> Future:
    future: Future = Future()
    future.set_exception(RuntimeError("a tick failed"))
    return future


@pytest.mark.parametrize("futures", [[], [done()], [done(), failed()]])
def test_where_nothing_is_under_way_nobody_waits(futures):
    started = time.monotonic()
    wait_for_any(futures, LONG_S)
    assert time.monotonic() - started < LONG_S / 2


@pytest.mark.parametrize("end", [lambda future: future.set_result(None), lambda future: future.cancel()])
def test_the_wait_ends_with_the_first_that_is_done_whatever_came_before(end):
    futures: list[Future] = [done(), Future(), Future()]
    timer = threading.Timer(0.1, end, [futures[1]])
    timer.start()
    started = time.monotonic()
    wait_for_any(futures, LONG_S)
    assert time.monotonic() - started < LONG_S / 2
    assert futures[1].done()
    timer.join()


def test_the_wait_ends_when_the_time_is_up():
    started = time.monotonic()
    wait_for_any([Future()], 0.1)
    assert 0.1 <= time.monotonic() - started < LONG_S / 2


# -- the whole daemon


def test_dagsters_daemons_are_all_there_and_three_of_them_are_ours(site):
    daemons = {type(daemon).daemon_type(): daemon for daemon in create_daemons(site.instance)}
    assert set(daemons) == set(site.instance.get_required_daemon_types())
    assert {type(daemon) for daemon in daemons.values()} >= {
        PromptSensorDaemon,
        PromptDequeuer,
        PromptBackfillDaemon,
    }
    assert "MONITORING" in daemons
