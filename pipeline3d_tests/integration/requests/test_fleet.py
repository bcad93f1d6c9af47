"""Workers and launched runs on a real Postgres: each run has one owner, and none is forgotten."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import func, insert
from sqlalchemy.exc import IntegrityError

from pipeline3d.database.tables import launched_runs, workers
from pipeline3d.requests.fleet import WORKERS_CHANNEL, Fleet, WorkerFacts

SILENT_AFTER_S = 60.0


@pytest.fixture
def fleet(engine, rows) -> Fleet:
    for table in (launched_runs, workers):
        rows.run(table.delete())
    return Fleet(engine)


@pytest.fixture
def launch(fleet):
    """Launches a run; its id."""

    def make(queue: str = "cpu", **values) -> str:
        run_id = str(uuid4())
        fleet.launch(run_id, job_name="probe", queue=queue, **{"job_id": None, "attempt": None, **values})
        return run_id

    return make


def facts(worker_id: str = "w1", **values) -> WorkerFacts:
    return WorkerFacts(
        **{"id": worker_id, "host": "h", "pid": 7, "queues": ("cpu",), "concurrency": 2, **values}
    )


def seconds_ago(seconds: float):
    return func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)


@contextmanager
def hearing(database_url: str):
    """What is said on the workers' channel inside the block, filled in at its end."""
    said: list[str] = []
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"LISTEN {WORKERS_CHANNEL}")
        yield said
        said += [note.payload for note in connection.notifies(timeout=0.5)]


# -- one owner


def test_a_run_is_taken_by_exactly_one_of_many_processes(fleet, launch):
    runs = [launch() for _ in range(20)]
    with ThreadPoolExecutor(8) as pool:
        takes = [pool.submit(fleet.take, run, f"w{n}", n) for run in runs for n in range(8)]
        taken = [take.result() for take in takes if take.result()]
    assert sorted(run.run_id for run in taken) == sorted(runs)
    for run in taken:
        assert fleet.find(run.run_id) == run
        assert run.worker_id == f"w{run.worker_pid}"


def test_a_run_is_launched_once_and_what_it_was_launched_for_stays(fleet, launch):
    job_id = uuid4()
    run_id = launch(job_id=job_id, attempt=2)
    fleet.take(run_id, "w1", 7)
    fleet.launch(run_id, job_name="other", queue="gpu", job_id=None, attempt=None)
    run = fleet.find(run_id)
    assert (run.job_name, run.queue, run.job_id, run.attempt) == ("probe", "cpu", job_id, 2)
    assert (run.worker_id, run.worker_pid) == ("w1", 7)


def test_a_finished_run_cannot_be_taken_found_or_finished_again(fleet, launch):
    run_id = launch()
    fleet.take(run_id, "w1", 7)
    assert fleet.finish(run_id, "w1") is True
    assert fleet.finish(run_id, "w1") is False
    assert fleet.take(run_id, "w2", 8) is None
    assert fleet.find(run_id) is None
    assert fleet.request_stop(run_id) is None


def test_a_worker_finishes_its_own_runs_only(fleet, launch):
    run_id = launch()
    fleet.take(run_id, "w1", 7)
    assert fleet.finish(run_id, "w2") is False
    assert fleet.find(run_id) is not None
    assert fleet.finish(run_id) is True  # the reconciler, for a worker that is gone


def test_a_worker_knows_what_its_processes_took(fleet, launch):
    mine, other, _waiting = launch(), launch(), launch()
    fleet.take(mine, "w1", 7)
    fleet.take(other, "w2", 8)
    assert [run.run_id for run in fleet.runs_of("w1")] == [mine]


def test_a_row_says_all_of_a_taken_run_or_nothing(rows):
    with pytest.raises(IntegrityError, match="taken_is_whole"):
        rows.run(insert(launched_runs).values(run_id="r", job_name="probe", queue="cpu", worker_id="w1"))


# -- the end of a run


def test_asking_for_the_end_of_a_run_wakes_its_worker_by_name(fleet, launch, database_url):
    run_id = launch()
    fleet.take(run_id, "w1", 7)
    with hearing(database_url) as said:
        assert fleet.request_stop(run_id).cancel_requested is True
    assert said == ["w1"]


def test_asking_for_the_end_of_a_waiting_run_names_the_run(fleet, launch, database_url):
    run_id = launch()
    with hearing(database_url) as said:
        assert fleet.request_stop(run_id).worker_id is None
    assert said == [run_id]


def test_a_second_wish_for_the_end_keeps_the_moment_of_the_first(fleet, launch, rows):
    run_id = launch()
    moments = set()
    for _ in range(2):
        fleet.request_stop(run_id)
        moments |= {row.cancel_requested_at for row in rows.run(launched_runs.select())}
    assert len(moments) == 1


def test_whoever_takes_a_run_that_is_to_end_is_told_so(fleet, launch):
    run_id = launch()
    fleet.request_stop(run_id)
    assert fleet.take(run_id, "w1", 7).cancel_requested is True


def test_a_run_that_is_to_end_is_either_withdrawn_or_taken(fleet, launch):
    runs = [launch() for _ in range(30)]
    for run_id in runs:
        fleet.request_stop(run_id)
    taken, withdrawn = [], []
    gate = threading.Barrier(4)

    def take(pid: int):
        gate.wait()
        taken.extend(run_id for run_id in runs if fleet.take(run_id, "w1", pid))

    def withdraw():
        gate.wait()
        withdrawn.extend(run.run_id for run in fleet.withdraw_called_off())

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(take, 7), pool.submit(take, 8), pool.submit(withdraw), pool.submit(withdraw)]
        for future in work:
            future.result()
    assert sorted(taken + withdrawn) == sorted(runs)


def test_only_waiting_runs_that_are_to_end_are_withdrawn(fleet, launch):
    waiting, taken, called_off = launch(), launch(), launch()
    fleet.take(taken, "w1", 7)
    for run_id in (taken, called_off):
        fleet.request_stop(run_id)
    assert [run.run_id for run in fleet.withdraw_called_off()] == [called_off]
    assert fleet.find(waiting) is not None
    assert fleet.find(taken) is not None
    assert fleet.find(called_off) is None


# -- signs of life


def test_a_worker_is_known_from_its_registration_until_it_leaves(fleet):
    assert fleet.beat("w1") is None
    fleet.register(facts())
    assert fleet.beat("w1") is False
    assert fleet.is_worker_alive("w1", SILENT_AFTER_S)
    fleet.leave("w1")
    assert fleet.beat("w1") is None
    assert not fleet.is_worker_alive("w1", SILENT_AFTER_S)


def test_a_sign_of_life_brings_back_whether_to_drain(fleet, rows):
    fleet.register(facts())
    rows.run(workers.update().values(draining=True))
    assert fleet.beat("w1") is True


@pytest.mark.parametrize(("silent_s", "alive"), [(0, True), (59, True), (61, False), (3600, False)])
def test_a_worker_is_gone_when_it_has_been_silent_for_too_long(fleet, rows, silent_s, alive):
    fleet.register(facts())
    rows.run(workers.update().values(heartbeat_at=seconds_ago(silent_s)))
    assert fleet.is_worker_alive("w1", SILENT_AFTER_S) is alive
    fleet.beat("w1")
    assert fleet.is_worker_alive("w1", SILENT_AFTER_S)


def test_an_attempt_has_one_launched_run(fleet):
    """Two dispatch sensors claimed the same attempt, since its lease had run out while its run waited."""
    job_id = uuid4()

    def launch(run_id, attempt, job=job_id):
        return fleet.launch(run_id, job_name="probe", queue="cpu", job_id=job, attempt=attempt)

    assert launch("r1", 1)
    assert not launch("r2", 1)
    assert fleet.find("r2") is None
    assert launch("r1", 1)  # told twice of the same run
    assert launch("r3", 2)
    assert launch("by hand", None)
    assert launch("by hand too", None)
    assert launch("another request's", 1, uuid4())
    fleet.finish("r1")
    assert launch("r2", 1)


def test_postgres_knows_how_long_it_could_be_told_something(fleet):
    assert fleet.could_be_told(0)
    assert not fleet.could_be_told(1e9)


@pytest.mark.parametrize(
    ("worker", "taken_s_ago", "lost"),
    [
        ("silent", 100, True),
        ("unknown", 100, True),  # it left, or somebody removed it
        ("speaks", 100, False),
        ("unknown", 1, False),  # it registers when it is ready, and its processes are quicker
        (None, 100, False),  # it waits
    ],
)
def test_the_runs_of_workers_that_are_gone_are_found(fleet, launch, rows, worker, taken_s_ago, lost):
    run_id = launch()
    for name in ("speaks", "silent"):
        fleet.register(facts(name))
    rows.run(workers.update().where(workers.c.id == "silent").values(heartbeat_at=seconds_ago(61)))
    if worker:
        fleet.take(run_id, worker, 7)
        rows.run(launched_runs.update().values(taken_at=seconds_ago(taken_s_ago)))
    assert [run.run_id for run in fleet.runs_of_dead_workers(SILENT_AFTER_S)] == ([run_id] if lost else [])


# -- what the broker forgot


@pytest.mark.parametrize(
    ("queue", "waits_s", "taken", "forgotten"),
    [
        ("cpu", 6, False, True),
        ("gpu", 6, False, True),
        ("cpu", 1, False, False),  # the broker was told just now
        ("cpu", 6, True, False),
        ("other", 6, False, False),  # this worker does not serve it
    ],
)
def test_runs_that_wait_although_the_broker_was_told_are_found(
    fleet, launch, rows, queue, waits_s, taken, forgotten
):
    run_id = launch(queue)
    rows.run(launched_runs.update().values(published_at=seconds_ago(waits_s)))
    if taken:
        fleet.take(run_id, "w1", 7)
    found = [(run_id, queue)] if forgotten else []
    assert fleet.claim_forgotten(("cpu", "gpu"), 5, 10) == found
    assert fleet.claim_forgotten(("cpu", "gpu"), 5, 10) == []  # told again, so not forgotten any more


def test_of_many_forgotten_runs_each_worker_gets_others_the_oldest_first(fleet, launch, rows):
    runs = [launch() for _ in range(12)]
    rows.run(launched_runs.update().values(published_at=seconds_ago(6)))
    for number, run_id in enumerate(runs):
        moment = launched_runs.update().where(launched_runs.c.run_id == run_id)
        rows.run(moment.values(launched_at=seconds_ago(100 - number)))
    first = fleet.claim_forgotten(("cpu",), 5, 4)
    assert sorted(run_id for run_id, _ in first) == sorted(runs[:4])
    with ThreadPoolExecutor(4) as pool:
        rest = [pool.submit(fleet.claim_forgotten, ("cpu",), 5, 4) for _ in range(4)]
        found = [run_id for claim in rest for run_id, _ in claim.result()]
    assert sorted(found) == sorted(runs[4:])


# -- calls


def test_a_waiting_worker_is_woken_by_a_call(fleet):
    with ThreadPoolExecutor(1) as pool:
        started = time.monotonic()
        woken = pool.submit(fleet.wait_for_call, 120.0)
        while not woken.done():
            fleet.call("w1")  # again and again: it may not be listening yet
            time.sleep(0.02)
        assert woken.result() is True
    assert time.monotonic() - started < 60


def test_a_worker_that_nobody_calls_waits_no_longer_than_it_said(fleet):
    started = time.monotonic()
    assert fleet.wait_for_call(0.2) is False
    assert 0.2 <= time.monotonic() - started < 60


def test_a_process_that_lost_the_answer_gets_what_it_took(fleet, launch):
    run_id = launch()
    assert fleet.take(run_id, "w1", 7) == fleet.take(run_id, "w1", 7) == fleet.find(run_id)
    assert fleet.take(run_id, "w1", 8) is None  # its neighbour in the same worker
    assert fleet.take(run_id, "w2", 7) is None  # the same pid on another host
