"""The run launcher on real databases: what it records, what it tells the broker, and how it ends runs."""

from __future__ import annotations

import time
from uuid import UUID

import dagster as dg
import psycopg
import pytest
from dagster import DagsterRunStatus as Status
from dagster._core.launcher import WorkerStatus
from sqlalchemy import func

from pipeline3d.database.tables import workers
from pipeline3d.launch import launcher as launcher_module
from pipeline3d.launch.execution import RunExecutor
from pipeline3d.launch.launcher import WarmRunLauncher, attempt_of, describe_place, request_of
from pipeline3d.requests.fleet import WORKERS_CHANNEL, Fleet, LaunchedRun, WorkerFacts
from pipeline3d.requests.settlement import WORKER_LOST

JOB = UUID(int=7)
SILENT_AFTER_S = 60.0


def run_with(parent: str | None = None, **tags: str) -> dg.DagsterRun:
    names = {"partition": "dagster/partition", "attempt": "pipeline3d/attempt"}
    return dg.DagsterRun(
        job_name="probe",
        tags={names[name]: value for name, value in tags.items()},
        parent_run_id=parent,
        root_run_id=parent,
    )


def register(site, worker_id: str, *, silent_s: float = 0) -> None:
    site.fleet.register(WorkerFacts(id=worker_id, host="h", pid=1, queues=("cpu",), concurrency=1))
    spoke = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, silent_s)
    site.rows.run(workers.update().where(workers.c.id == worker_id).values(heartbeat_at=spoke))


# -- whose a run is


@pytest.mark.parametrize(
    ("run", "request_id", "attempt"),
    [
        (run_with(partition=str(JOB), attempt="2"), JOB, 2),  # dispatched
        (run_with(partition=str(JOB)), JOB, None),  # launched by hand
        (run_with("parent", partition=str(JOB), attempt="2"), JOB, None),  # done again by hand
        (run_with(partition="2026-01-01"), None, None),  # a partition of something else
        (run_with(partition=str(JOB), attempt="second"), JOB, None),
        (run_with(), None, None),
    ],
)
def test_a_run_tells_by_its_tags_which_attempt_it_serves(run, request_id, attempt):
    assert request_of(run) == request_id
    assert attempt_of(run) == attempt


@pytest.mark.parametrize(
    ("worker", "words"),
    [(None, "waits for a worker of queue gpu"), ("w1", "at worker w1, process 4711")],
)
def test_the_place_of_a_run_is_told_in_words(worker, words):
    run = LaunchedRun(
        run_id="r",
        job_name="probe",
        queue="gpu",
        job_id=None,
        attempt=None,
        worker_id=worker,
        worker_pid=4711 if worker else None,
        cancel_requested=False,
    )
    assert words in describe_place(run)
    assert "none will take it" in describe_place(None)


# -- launching


def test_a_run_is_recorded_before_the_broker_is_told(site, monkeypatch):
    job_id, told = site.probe(), []
    monkeypatch.setattr(
        launcher_module,
        "publish",
        lambda app, run_id, queue: told.append((queue, site.fleet.find(run_id))),
    )
    run_id = site.launch(job_id)
    [(queue, found)] = told
    assert (found.run_id, found.job_name, found.job_id, found.attempt) == (run_id, "probe", job_id, 1)
    assert (queue, found.queue, found.worker_id) == ("cpu", "cpu", None)


def test_a_run_waits_in_the_queue_of_its_tag(site):
    run_id = site.launch(site.probe(), tags={"dagster-celery/queue": "gpu"})
    assert site.fleet.find(run_id).queue == "gpu"
    with psycopg.connect(site.environment["DATABASE_URL"]) as connection:
        told = connection.execute(
            "SELECT q.name FROM kombu_message m JOIN kombu_queue q ON q.id = m.queue_id"
        ).fetchall()
    assert told == [("gpu",)]


def test_a_run_that_serves_no_request_is_launched_as_well(site):
    found = site.fleet.find(site.launch(None, None))
    assert (found.job_id, found.attempt) == (None, None)


def test_a_launch_that_is_repeated_changes_nothing(site):
    job_id = site.probe()
    run_id = site.launch(job_id)
    site.fleet.take(run_id, "w1", 7)
    run = site.instance.get_run_by_id(run_id)
    site.launcher.launch_run(launcher_module.LaunchRunContext(dagster_run=run, workspace=None))
    assert site.fleet.find(run_id).worker_id == "w1"


@pytest.mark.parametrize(
    "broker",
    [
        "sqla+postgresql+psycopg://nobody:here@127.0.0.1:1/nothing",
        "redis://127.0.0.1:1/0",
        "amqp://guest:guest@127.0.0.1:1//",
    ],
)
def test_a_broker_that_is_away_does_not_fail_the_launch(site, broker, caplog):
    launcher = WarmRunLauncher(database_url=site.environment["DATABASE_URL"], broker_url=broker)
    launcher.register_instance(site.instance)
    run = site.run(site.probe())
    started = time.monotonic()
    launcher.launch_run(launcher_module.LaunchRunContext(dagster_run=run, workspace=None))
    assert time.monotonic() - started < 30
    assert site.fleet.find(run.run_id) is not None
    assert site.status(run.run_id) == "STARTING"
    assert "a worker will find it" in caplog.text


def cancel(site, job_id):
    site.ledger.request_cancel(job_id)


def go_on(site, job_id):
    site.ledger.next_attempt(job_id, 1, WORKER_LOST, 0)


@pytest.mark.parametrize(
    ("event", "ends"),
    [
        (cancel, ("CANCELED", 1)),
        (go_on, ("QUEUED", 2)),  # its lease ran out, and somebody else was quicker
    ],
)
def test_a_run_whose_attempt_is_over_is_not_launched(site, event, ends):
    job_id = site.probe()
    event(site, job_id)
    run_id = site.launch(job_id)
    assert site.fleet.find(run_id) is None
    assert site.status(run_id) == "CANCELED"
    assert site.state(job_id) == ends


# -- ending runs


def test_a_run_that_is_ended_before_a_worker_took_it_is_canceled_at_once(site):
    job_id = site.probe()
    run_id = site.launch(job_id)
    assert site.launcher.terminate(run_id) is True
    assert site.status(run_id) == "CANCELED"
    assert site.state(job_id) == ("CANCELED", 1)
    # whoever is told of it late finds nothing to do
    RunExecutor(site.environment["DATABASE_URL"], "w1").execute(run_id)
    assert site.status(run_id) == "CANCELED"
    assert site.instance.get_run_step_stats(run_id) == []


def test_a_run_at_work_is_asked_to_end_and_its_worker_is_woken(site):
    job_id = site.probe()
    run_id = site.launch(job_id)
    site.fleet.take(run_id, "w1", 7)
    site.ledger.begin(job_id, attempt=1, run_id=run_id, delivers=True)
    with psycopg.connect(site.environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f"LISTEN {WORKERS_CHANNEL}")
        assert site.launcher.terminate(run_id) is True
        said = {note.payload for note in connection.notifies(timeout=0.5)}
    assert said == {"w1"}
    assert site.status(run_id) == "CANCELING"
    assert site.state(job_id) == ("CANCELING", 1)
    assert site.fleet.find(run_id).cancel_requested


def test_ending_a_run_twice_is_the_same_as_once(site):
    job_id = site.probe()
    run_id = site.launch(job_id)
    site.fleet.take(run_id, "w1", 7)
    assert [site.launcher.terminate(run_id) for _ in range(2)] == [True, True]
    assert site.status(run_id) == "CANCELING"
    assert site.messages(run_id).count("Sending run termination request") <= 1


@pytest.mark.parametrize("status", [Status.SUCCESS, Status.FAILURE, Status.CANCELED])
def test_a_run_that_has_ended_is_not_ended_again(site, status):
    job_id = site.probe()
    run = site.run(job_id, status=status)
    assert site.launcher.terminate(run.run_id) is False
    assert site.state(job_id) == ("QUEUED", 1)


def test_a_run_that_nobody_knows_is_not_ended(site):
    assert site.launcher.terminate("11111111-2222-3333-4444-555555555555") is False


def test_ending_a_run_of_an_attempt_that_is_over_leaves_the_request_alone(site):
    job_id = site.probe()
    run_id = site.launch(job_id)
    site.ledger.next_attempt(job_id, 1, WORKER_LOST, 0)
    site.launcher.terminate(run_id)
    assert site.status(run_id) == "CANCELED"
    assert site.state(job_id) == ("QUEUED", 2)


def test_ending_a_run_that_only_rebuilds_leaves_its_request_alone(site):
    job_id = site.probe()
    site.ledger.begin(job_id, attempt=1, run_id="the first", delivers=True)
    site.ledger.succeed(job_id, "the first")
    run_id = site.launch(job_id, None)
    site.launcher.terminate(run_id)
    assert site.state(job_id) == ("SUCCEEDED", 1)


# -- Dagster's queue


def test_a_run_that_is_ended_in_dagsters_queue_cancels_its_request_at_once(site):
    job_id = site.probe()
    run = site.run(job_id, status=Status.QUEUED)
    assert site.instance.run_coordinator.cancel_run(run.run_id) is True
    assert site.status(run.run_id) == "CANCELED"
    assert site.state(job_id) == ("CANCELED", 1)


def test_a_run_behind_dagsters_queue_is_ended_through_the_coordinator_as_well(site):
    job_id = site.probe()
    run_id = site.launch(job_id)
    assert site.instance.run_coordinator.cancel_run(run_id) is True
    assert site.state(job_id) == ("CANCELED", 1)


# -- health


@pytest.mark.parametrize(
    ("taken_by", "health"),
    [
        (None, WorkerStatus.RUNNING),  # it may wait for its worker for as long as it takes
        ("speaks", WorkerStatus.RUNNING),
        ("silent", WorkerStatus.FAILED),
        ("unknown", WorkerStatus.FAILED),
    ],
)
def test_a_launched_run_is_as_healthy_as_its_worker(site, monkeypatch, taken_by, health):
    monkeypatch.setattr(Fleet, "could_be_told", lambda self, for_s: True)
    register(site, "speaks")
    register(site, "silent", silent_s=61)
    run_id = site.launch(site.probe())
    if taken_by:
        site.fleet.take(run_id, taken_by, 7)
    run = site.instance.get_run_by_id(run_id)
    assert site.launcher.check_run_worker_health(run).status is health


def test_nobody_is_taken_for_dead_who_could_not_speak(site, monkeypatch):
    """After an outage of Postgres every worker looks silent."""
    monkeypatch.setattr(Fleet, "could_be_told", lambda self, for_s: for_s < SILENT_AFTER_S)
    run_id = site.launch(site.probe())
    site.fleet.take(run_id, "silent", 7)
    run = site.instance.get_run_by_id(run_id)
    assert site.launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING


def test_a_run_that_nobody_has_and_nobody_will_take_is_found(site):
    run = site.run(site.probe())
    assert site.launcher.check_run_worker_health(run).status is WorkerStatus.NOT_FOUND
    assert "none will take it" in site.launcher.get_run_worker_debug_info(run)


def test_a_run_that_somebody_executes_with_dagsters_command_line_is_left_alone(site):
    run = site.run(site.probe(), remote=False, status=Status.STARTED)
    assert site.launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING


def test_nothing_is_resumed_in_the_middle(site):
    assert site.launcher.supports_resume_run is False
    with pytest.raises(NotImplementedError, match="new attempt"):
        site.launcher.resume_run(None)
