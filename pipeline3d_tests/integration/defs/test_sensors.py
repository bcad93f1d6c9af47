"""The sensors against real requests: one run for each attempt, and nothing RUNNING for ever."""

import sqlalchemy as sa
from dagster import DagsterRunStatus, build_sensor_context
from dagster._core.test_utils import create_run_for_test  # private, used by Dagster's own projects

from pipeline3d.defs.sensors import dispatch
from pipeline3d.defs.sensors.dispatch import build_dispatch_sensor
from pipeline3d.defs.sensors.reconcile import settle_dispatched, settle_running
from resources.jobs_database import JobsDatabase

LEASE_S = 30.0
SILENT_AFTER_S = 60.0


def tick(workbench):
    context = build_sensor_context(instance=workbench.instance)
    url = workbench.engine.url.render_as_string(hide_password=False)
    return build_dispatch_sensor(LEASE_S)(context, jobs_database=JobsDatabase(url=url))


def age(workbench, job_id, column: str, seconds: float) -> None:
    statement = sa.text(f"UPDATE jobs SET {column} = now() - make_interval(secs => :age) WHERE id = :id")
    with workbench.engine.begin() as connection:
        connection.execute(statement, {"age": seconds, "id": job_id})


def settle(workbench):
    settled = settle_running(workbench.ledger, workbench.instance, SILENT_AFTER_S)
    return settled + settle_dispatched(workbench.ledger, workbench.instance, LEASE_S)


def test_a_queued_request_is_dispatched_once_while_its_lease_lasts(workbench, monkeypatch):
    monkeypatch.setattr(dispatch, "LONGEST_WAIT_S", 0.0)
    job_id = workbench.request(b"anything")
    first, second = tick(workbench), tick(workbench)
    assert [run.partition_key for run in first.run_requests] == [str(job_id)]
    assert "No queued requests" in second.skip_message


def test_a_lost_tick_is_repeated_with_the_same_run_key(workbench, monkeypatch):
    monkeypatch.setattr(dispatch, "LONGEST_WAIT_S", 0.0)
    job_id = workbench.request(b"anything")
    lost = tick(workbench)
    age(workbench, job_id, "lease_until", 1)
    again = tick(workbench)
    assert [run.run_key for run in again.run_requests] == [run.run_key for run in lost.run_requests]


def test_a_request_whose_worker_was_killed_is_tried_again_and_parked_after_three_times(workbench):
    job_id = workbench.request(b"anything")
    for attempt in (1, 2, 3):
        run = create_run_for_test(workbench.instance, job_name="image_to_3d", status=DagsterRunStatus.FAILURE)
        workbench.ledger.begin(job_id, attempt=attempt, run_id=run.run_id, delivers=True)
        age(workbench, job_id, "heartbeat_at", 20)
        assert len(settle(workbench)) == 1
    row = workbench.row(job_id)
    assert (row.state, row.error_code, row.attempt) == ("FAILED", "worker_lost", 3)


def test_a_run_that_dagster_believes_in_is_ended_when_it_has_been_silent_for_long(workbench):
    job_id = workbench.request(b"anything")
    run = create_run_for_test(workbench.instance, job_name="image_to_3d", status=DagsterRunStatus.STARTED)
    workbench.ledger.begin(job_id, attempt=1, run_id=run.run_id, delivers=True)
    age(workbench, job_id, "heartbeat_at", 20)
    assert settle(workbench) == []
    age(workbench, job_id, "heartbeat_at", SILENT_AFTER_S + 1)
    assert len(settle(workbench)) == 1
    assert workbench.instance.get_run_by_id(run.run_id).status is DagsterRunStatus.FAILURE
    assert (workbench.row(job_id).state, workbench.row(job_id).attempt) == ("QUEUED", 2)


def test_a_run_terminated_in_the_ui_cancels_its_request(workbench):
    job_id = workbench.request(b"anything")
    run = create_run_for_test(workbench.instance, job_name="image_to_3d", status=DagsterRunStatus.CANCELED)
    workbench.ledger.begin(job_id, attempt=1, run_id=run.run_id, delivers=True)
    age(workbench, job_id, "heartbeat_at", 20)
    settle(workbench)
    assert workbench.row(job_id).state == "CANCELED"


def test_a_run_that_failed_before_its_first_step_gives_the_next_attempt(workbench, monkeypatch):
    monkeypatch.setattr(dispatch, "LONGEST_WAIT_S", 0.0)
    job_id = workbench.request(b"anything")
    (request,) = tick(workbench).run_requests
    create_run_for_test(
        workbench.instance,
        job_name="image_to_3d",
        status=DagsterRunStatus.FAILURE,
        tags={"dagster/run_key": request.run_key},
    )
    age(workbench, job_id, "leased_at", LEASE_S + 1)
    assert len(settle(workbench)) == 1
    row = workbench.row(job_id)
    assert (row.state, row.attempt) == ("QUEUED", 2)


def test_a_live_run_is_left_alone(workbench):
    job_id = workbench.request(b"anything")
    run = create_run_for_test(workbench.instance, job_name="image_to_3d", status=DagsterRunStatus.STARTED)
    workbench.ledger.begin(job_id, attempt=1, run_id=run.run_id, delivers=True)
    assert settle(workbench) == []
    assert workbench.row(job_id).state == "RUNNING"
