"""Executing a launched run in this process: real definitions, real databases, no broker and no daemon."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import dagster as dg
import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from pipeline3d.errors import DatabaseUnavailable, StoreUnavailable
from pipeline3d.launch import execution
from pipeline3d.launch.execution import RunExecutor, persist
from pipeline3d_tests.servers import wait_until

WORKER = "w1"


@pytest.fixture
def executor(site) -> RunExecutor:
    return RunExecutor(site.environment["DATABASE_URL"], WORKER)


def steps(site, run_id: str) -> dict[str, str]:
    """The steps of a run that began, and how they ended."""
    return {stats.step_key: stats.status.value for stats in site.instance.get_run_step_stats(run_id)}


def while_it_works(site, job_id, act: Callable[[], None]) -> threading.Thread:
    """Do something in the moment when the probe is at its work."""

    def wait_and_act() -> None:
        wait_until(
            lambda: (site.rows.row(job_id).progress or {}).get("stage") == "probe_work",
            what="the probe is at work",
        )
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


# -- how runs end


def test_a_launched_run_is_executed_settled_and_forgotten(site, executor):
    job_id = site.probe()
    run_id = site.launch(job_id)
    assert executor.execute(run_id) == "executed"
    assert site.status(run_id) == "SUCCESS"
    assert site.state(job_id) == ("SUCCEEDED", 1)
    assert site.fleet.find(run_id) is None
    assert list((site.data / "scratch").iterdir()) == []


def test_one_process_executes_one_run_after_the_other(site, executor):
    jobs = [site.probe() for _ in range(3)]
    for run_id in [site.launch(job_id) for job_id in jobs]:
        executor.execute(run_id)
    assert [site.state(job_id) for job_id in jobs] == [("SUCCEEDED", 1)] * 3


@pytest.mark.parametrize(
    ("params", "ends", "codes"),
    [
        ({"fails": True}, ("FAILED", 1), ["probe_failed"]),  # its own reason, and no second try
        ({"transient_failures": 1}, ("QUEUED", 2), ["transient_failure"]),  # a reason to try again
    ],
)
def test_a_step_that_says_why_it_failed_has_the_last_word(site, executor, params, ends, codes):
    job_id = site.probe(**params)
    run_id = site.launch(job_id)
    executor.execute(run_id)
    assert site.status(run_id) == "FAILURE"
    assert site.state(job_id) == ends
    assert site.codes(job_id) == codes
    assert site.fleet.find(run_id) is None


def test_a_run_of_another_attempt_succeeds_after_one_that_failed(site, executor):
    job_id = site.probe(transient_failures=1)
    executor.execute(site.launch(job_id, 1))
    executor.execute(site.launch(job_id, 2))
    assert site.state(job_id) == ("SUCCEEDED", 2)


def test_a_run_that_serves_no_request_is_executed_as_well(site, executor):
    run_id = site.launch(None, None)
    executor.execute(run_id)
    assert site.fleet.find(run_id) is None
    assert site.instance.get_run_by_id(run_id).is_finished


# -- runs that must not begin


def test_a_message_that_comes_twice_or_late_is_harmless(site, executor):
    job_id = site.probe()
    run_id = site.launch(job_id)
    executor.execute(run_id)
    before = site.rows.events(job_id)
    assert executor.execute(run_id) == "not waiting"
    assert executor.execute("a run that nobody launched") == "not waiting"
    assert site.rows.events(job_id) == before


def test_a_run_that_another_worker_took_is_left_to_it(site, executor):
    run_id = site.launch(site.probe())
    taken = site.fleet.take(run_id, "w2", 4711)
    assert executor.execute(run_id) == "not waiting"
    assert site.fleet.find(run_id) == taken
    assert site.status(run_id) == "STARTING"


def test_a_run_whose_taking_was_not_confirmed_is_executed_after_all(site, executor, monkeypatch):
    """The connection broke between the commit and its answer: the row says ours, and we do not know it."""
    job_id = site.probe()
    run_id = site.launch(job_id)
    take, answers = executor.fleet.take, []

    def lose_the_first_answer(*arguments):
        answers.append(take(*arguments))
        if len(answers) == 1:
            raise DatabaseUnavailable("The connection broke.")
        return answers[-1]

    monkeypatch.setattr(executor.fleet, "take", lose_the_first_answer)
    assert executor.execute(run_id) == "executed"
    assert site.state(job_id) == ("SUCCEEDED", 1)


def call_off_in_jobs(site, job_id, run_id):
    site.ledger.request_cancel(job_id)


def call_off_the_run(site, job_id, run_id):
    site.fleet.request_stop(run_id)


def go_on_to_the_next_attempt(site, job_id, run_id):
    site.ledger.begin(job_id, attempt=1, run_id="another", delivers=True)
    site.ledger.requeue(job_id, "another", execution_report(), 0)


def execution_report():
    from pipeline3d.requests.settlement import WORKER_LOST

    return WORKER_LOST


@pytest.mark.parametrize(
    ("event", "ends"),
    [
        (call_off_in_jobs, ("CANCELED", 1)),
        (call_off_the_run, ("CANCELED", 1)),  # by hand, in Dagster
        (go_on_to_the_next_attempt, ("QUEUED", 2)),  # the attempt of this run is over
    ],
)
def test_a_run_that_was_called_off_while_it_waited_does_not_begin(site, executor, event, ends):
    job_id = site.probe()
    run_id = site.launch(job_id)
    event(site, job_id, run_id)
    executor.execute(run_id)
    assert site.status(run_id) == "CANCELED"
    assert steps(site, run_id) == {}
    assert site.state(job_id) == ends
    assert site.fleet.find(run_id) is None


@pytest.mark.parametrize(
    ("end", "ends"),
    [
        (lambda site, run: site.instance.report_run_canceled(run), ("CANCELED", 1)),
        (lambda site, run: site.instance.report_run_failed(run), ("QUEUED", 2)),
        (lambda site, run: site.instance.delete_run(run.run_id), ("QUEUED", 2)),
    ],
)
def test_a_run_that_ended_in_dagster_while_it_waited_is_settled_by_its_end(site, executor, end, ends):
    job_id = site.probe()
    run_id = site.launch(job_id)
    end(site, site.instance.get_run_by_id(run_id))
    executor.execute(run_id)
    assert site.state(job_id) == ends
    assert site.fleet.find(run_id) is None


def test_a_run_of_an_attempt_that_another_run_has_fails_and_changes_nothing(site, executor):
    job_id = site.probe()
    run_id = site.launch(job_id, None, tags={"pipeline3d/attempt": "1"})
    site.ledger.begin(job_id, attempt=1, run_id="the first", delivers=True)
    site.rows.run(site_launched_by_hand(run_id))
    executor.execute(run_id)
    assert site.status(run_id) == "FAILURE"
    row = site.rows.row(job_id)
    assert (row.state, row.attempt, row.run_id) == ("RUNNING", 1, "the first")


def site_launched_by_hand(run_id: str):
    """As a run that somebody started in the UI with the tags of another one."""
    from pipeline3d.database.tables import launched_runs

    return launched_runs.update().where(launched_runs.c.run_id == run_id).values(attempt=None)


def test_a_run_that_does_not_say_where_its_code_is_fails(site, executor):
    job_id = site.probe()
    run = site.run(job_id)
    lost = site.instance.create_run_for_job(site.job, tags=run.tags, status=dg.DagsterRunStatus.STARTING)
    site.fleet.launch(lost.run_id, job_name="probe", queue="cpu", job_id=job_id, attempt=1)
    executor.execute(lost.run_id)
    assert site.status(lost.run_id) == "FAILURE"
    assert site.state(job_id) == ("QUEUED", 2)


# -- runs that are interrupted


def test_a_run_that_is_cancelled_at_work_ends_as_canceled_on_both_sides(site, executor):
    job_id = site.probe(work_s=60)
    run_id = site.launch(job_id)

    def cancel() -> None:
        site.ledger.request_cancel(job_id)
        site.instance.report_run_canceling(site.instance.get_run_by_id(run_id))
        os.kill(os.getpid(), signal.SIGINT)

    thread = while_it_works(site, job_id, cancel)
    executor.execute(run_id)
    thread.join()
    assert site.status(run_id) == "CANCELED"
    assert site.state(job_id) == ("CANCELED", 1)
    assert site.codes(job_id) == []
    assert steps(site, run_id)["probe_source"] == "SUCCESS"
    assert "probe_delivery" not in steps(site, run_id)
    assert site.fleet.find(run_id) is None
    assert list((site.data / "scratch").iterdir()) == []


def test_a_run_that_is_interrupted_and_was_not_cancelled_is_tried_again(site, executor):
    job_id = site.probe(work_s=60)
    run_id = site.launch(job_id)
    thread = while_it_works(site, job_id, lambda: os.kill(os.getpid(), signal.SIGINT))
    executor.execute(run_id)
    thread.join()
    assert site.status(run_id) == "FAILURE"
    assert site.state(job_id) == ("QUEUED", 2)


# -- a database that goes away


def test_a_run_survives_that_postgres_ends_all_its_connections(site, executor):
    job_id = site.probe(work_s=0.3)
    run_id = site.launch(job_id)

    def cut() -> None:
        for url in (site.environment["DATABASE_URL"], site.environment["DAGSTER_PG_URL"]):
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

    thread = while_it_works(site, job_id, cut)
    executor.execute(run_id)
    thread.join()
    assert site.state(job_id) == ("SUCCEEDED", 1)
    assert site.fleet.find(run_id) is None


def test_a_run_that_could_not_be_carried_on_is_closed_and_its_request_tried_again(
    site, executor, monkeypatch
):
    """Dagster could not write that the run failed: nobody would go on with it, and it looked alive."""
    job_id = site.probe()
    run_id = site.launch(job_id)

    def begin_and_break(run):
        site.ledger.begin(job_id, attempt=1, run_id=run.run_id, delivers=True)
        raise StoreUnavailable("away")

    monkeypatch.setattr(executor, "_run_in_process", begin_and_break)
    with pytest.raises(StoreUnavailable):
        executor.execute(run_id)
    assert site.status(run_id) == "FAILURE"
    assert site.state(job_id) == ("QUEUED", 2)
    assert site.fleet.find(run_id) is None


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """The pauses that are made, in no time."""
    made: list[float] = []
    monkeypatch.setattr(execution.time, "sleep", made.append)
    return made


@pytest.mark.parametrize(
    "error", [DatabaseUnavailable("away"), OperationalError("SELECT 1", {}, Exception("away"))]
)
def test_what_has_to_be_written_is_written_when_the_database_is_back(pauses, error):
    answers = iter([error] * 7)

    def write() -> str:
        raise_next = next(answers, None)
        if raise_next is not None:
            raise raise_next
        return "written"

    assert persist(write) == "written"
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_an_error_that_waiting_does_not_mend_is_not_waited_for(pauses):
    def write() -> None:
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        persist(write)
    assert pauses == []
