"""The sensors against real requests: one run for each attempt, and nothing RUNNING for ever."""

from dataclasses import replace

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster import DagsterRunStatus, build_sensor_context
from dagster._core.test_utils import create_run_for_test  # private, used by Dagster's own projects

from pipeline3d.defs.sensors import dispatch
from pipeline3d.defs.sensors import reconcile as reconcile_module
from pipeline3d.defs.sensors.dispatch import build_dispatch_sensors
from pipeline3d.defs.sensors.reconcile import (
    build_reconcile_sensor,
    settle_called_off,
    settle_dead_workers,
    settle_dispatched,
    settle_silent,
)
from pipeline3d.requests.fleet import Fleet, WorkerFacts
from pipeline3d.values import Family
from resources.jobs_database import JobsDatabase

LEASE_S = 30.0
SILENT_AFTER_S = 60.0


@pytest.fixture
def workbench(workbench, engine):
    """The shared one without earlier requests, and with a Dagster that knows of no runs."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield replace(workbench, engine=engine, instance=instance)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """A tick looks once and does not wait for a request; the test's Postgres has been there long enough."""
    monkeypatch.setattr(dispatch, "LONGEST_WAIT_S", 0.0)
    monkeypatch.setattr(Fleet, "could_be_told", lambda self, for_s: True)


def database(workbench) -> JobsDatabase:
    return JobsDatabase(url=workbench.engine.url.render_as_string(hide_password=False))


def tick(workbench, number: int = 0):
    context = build_sensor_context(instance=workbench.instance)
    return build_dispatch_sensors(LEASE_S)[number](context, jobs_database=database(workbench))


def reconcile(workbench) -> str:
    """One tick of the reconciler, as Dagster evaluates it; what it said."""
    context = build_sensor_context(instance=workbench.instance)
    sensor = build_reconcile_sensor(LEASE_S, SILENT_AFTER_S)
    return sensor(context, jobs_database=database(workbench)).skip_message


def age(workbench, job_id, column: str, seconds: float) -> None:
    statement = sa.text(f"UPDATE jobs SET {column} = now() - make_interval(secs => :age) WHERE id = :id")
    with workbench.engine.begin() as connection:
        connection.execute(statement, {"age": seconds, "id": job_id})


def age_of_launch(workbench, run_id: str, seconds: float) -> None:
    statement = sa.text("UPDATE launched_runs SET taken_at = now() - make_interval(secs => :age)")
    with workbench.engine.begin() as connection:
        connection.execute(statement, {"age": seconds})


def run_of(workbench, status: DagsterRunStatus, run_key: str | None = None) -> str:
    tags = {"dagster/run_key": run_key} if run_key else {}
    return create_run_for_test(workbench.instance, job_name="image_to_3d", status=status, tags=tags).run_id


def status_of(workbench, run_id: str) -> DagsterRunStatus:
    return workbench.instance.get_run_by_id(run_id).status


def silent(workbench) -> list[str]:
    return settle_silent(workbench.ledger, workbench.fleet, workbench.instance, SILENT_AFTER_S)


def dispatched(workbench) -> list[str]:
    return settle_dispatched(workbench.ledger, workbench.fleet, workbench.instance, LEASE_S)


def dead_workers(workbench) -> list[str]:
    return settle_dead_workers(workbench.ledger, workbench.fleet, workbench.instance, SILENT_AFTER_S)


def launch(workbench, run_id: str, job_id=None, attempt: int | None = 1, *, worker: str | None = None):
    """A run as the launcher records it, taken by a process of `worker`."""
    workbench.fleet.launch(run_id, job_name="image_to_3d", queue="cpu", job_id=job_id, attempt=attempt)
    if worker:
        assert workbench.fleet.take(run_id, worker, 4711) is not None


# -- dispatch


def test_a_queued_request_is_dispatched_once_while_its_lease_lasts(workbench):
    job_id = workbench.request(b"anything")
    first, second = tick(workbench, 0), tick(workbench, 1)
    assert [run.partition_key for run in first.run_requests] == [str(job_id)]
    assert second.skip_message == "No request may start."


def test_a_lost_tick_is_repeated_with_the_same_run_key(workbench):
    job_id = workbench.request(b"anything")
    lost = tick(workbench)
    age(workbench, job_id, "lease_until", 1)
    again = tick(workbench)
    assert [run.run_key for run in again.run_requests] == [run.run_key for run in lost.run_requests]


def test_one_tick_takes_requests_of_every_kind_with_the_partitions_of_each(workbench):
    model, probe = workbench.request(b"anything"), workbench.probe()
    result = tick(workbench)
    assert {(run.job_name, run.partition_key) for run in result.run_requests} == {
        ("image_to_3d", str(model)),
        ("probe", str(probe)),
    }
    added = {r.partitions_def_name: list(r.partition_keys) for r in result.dynamic_partitions_requests}
    assert added == {Family.MODEL_REQUESTS: [str(model)], Family.PROBE_REQUESTS: [str(probe)]}


def test_the_next_attempt_begins_where_the_last_one_failed(workbench):
    job_id = workbench.probe(transient_failures=1)
    (first,) = tick(workbench).run_requests
    assert first.asset_selection is None
    assert not workbench.run(job_id).success
    age(workbench, job_id, "not_before", 1)
    (second,) = tick(workbench).run_requests
    left = [dg.AssetKey("probe_work"), dg.AssetKey("probe_delivery")]
    assert second.asset_selection == left
    result = workbench.run(job_id, attempt=2, asset_selection=second.asset_selection)
    assert [event.asset_key for event in result.get_asset_materialization_events()] == left
    row = workbench.row(job_id)
    assert (row.state, row.attempt) == ("SUCCEEDED", 2)


def test_what_one_request_finished_counts_for_no_other(workbench):
    done, lost = workbench.probe(), workbench.probe()
    assert workbench.run(done).success
    workbench.ledger.begin(lost, attempt=1, run_id="deleted", delivers=True)
    age(workbench, lost, "heartbeat_at", 20)
    silent(workbench)
    age(workbench, lost, "not_before", 1)
    (again,) = tick(workbench).run_requests
    assert again.run_key == f"{lost}:2"
    assert again.asset_selection is None


# -- runs that say nothing


def test_a_request_whose_worker_was_killed_is_tried_again_and_parked_after_three_times(workbench):
    job_id = workbench.request(b"anything")
    for attempt in (1, 2, 3):
        workbench.ledger.begin(job_id, attempt=attempt, run_id=f"deleted {attempt}", delivers=True)
        age(workbench, job_id, "heartbeat_at", 20)
        assert len(silent(workbench)) == 1
    row = workbench.row(job_id)
    assert (row.state, row.error_code, row.attempt) == ("FAILED", "worker_lost", 3)


@pytest.mark.parametrize(
    ("status", "state", "code"),
    [
        (DagsterRunStatus.FAILURE, "QUEUED", "run_failed"),  # outside of its stages: nobody told the request
        (DagsterRunStatus.SUCCESS, "QUEUED", "no_result"),  # it ended, and nothing was delivered
        (DagsterRunStatus.CANCELED, "CANCELED", None),  # terminated in the UI, and its worker died
        (None, "QUEUED", "worker_lost"),  # somebody deleted the run
    ],
)
def test_a_silent_request_is_settled_by_how_its_run_ended(workbench, status, state, code):
    job_id = workbench.request(b"anything")
    run_id = run_of(workbench, status) if status else "deleted"
    workbench.ledger.begin(job_id, attempt=1, run_id=run_id, delivers=True)
    age(workbench, job_id, "heartbeat_at", 20)
    assert len(silent(workbench)) == 1
    assert workbench.row(job_id).state == state
    assert workbench.events(job_id)[-1].get("code") == code


def test_a_request_that_was_to_end_is_canceled_however_its_run_was_lost(workbench):
    job_id = workbench.request(b"anything")
    workbench.ledger.begin(job_id, attempt=1, run_id="deleted", delivers=True)
    workbench.ledger.request_cancel(job_id)
    age(workbench, job_id, "heartbeat_at", 20)
    silent(workbench)
    assert workbench.row(job_id).state == "CANCELED"


def test_a_run_that_dagster_believes_in_is_ended_when_it_has_been_silent_for_long(workbench):
    job_id = workbench.request(b"anything")
    run_id = run_of(workbench, DagsterRunStatus.STARTED)
    launch(workbench, run_id, job_id, worker="w1")
    workbench.ledger.begin(job_id, attempt=1, run_id=run_id, delivers=True)
    age(workbench, job_id, "heartbeat_at", 20)
    assert silent(workbench) == []
    age(workbench, job_id, "heartbeat_at", SILENT_AFTER_S + 1)
    assert len(silent(workbench)) == 1
    assert status_of(workbench, run_id) is DagsterRunStatus.FAILURE
    assert (workbench.row(job_id).state, workbench.row(job_id).attempt) == ("QUEUED", 2)
    # should its process live after all, its warden ends it
    assert workbench.fleet.find(run_id).cancel_requested


def test_a_live_run_is_left_alone(workbench):
    job_id = workbench.request(b"anything")
    run_id = run_of(workbench, DagsterRunStatus.STARTED)
    workbench.ledger.begin(job_id, attempt=1, run_id=run_id, delivers=True)
    assert reconcile(workbench) == "Every request is in order."
    assert workbench.row(job_id).state == "RUNNING"


# -- workers that are gone


def test_the_runs_of_a_worker_that_is_gone_are_settled_and_forgotten(workbench):
    job_id = workbench.request(b"anything")
    run_id = run_of(workbench, DagsterRunStatus.STARTED)
    launch(workbench, run_id, job_id, worker="dead")
    workbench.ledger.begin(job_id, attempt=1, run_id=run_id, delivers=True)
    assert dead_workers(workbench) == []  # it may be registering in this moment
    age_of_launch(workbench, run_id, 10)
    assert len(dead_workers(workbench)) == 1
    row = workbench.row(job_id)
    assert (row.state, row.attempt) == ("QUEUED", 2)
    assert workbench.events(job_id)[-1]["code"] == "worker_lost"
    assert status_of(workbench, run_id) is DagsterRunStatus.FAILURE
    assert workbench.fleet.find(run_id) is None


def test_a_worker_that_speaks_keeps_its_runs(workbench):
    facts = WorkerFacts(id="alive", host="h", pid=1, queues=("cpu",), concurrency=1)
    workbench.fleet.register(facts)
    run_id = run_of(workbench, DagsterRunStatus.STARTED)
    launch(workbench, run_id, worker="alive")
    age_of_launch(workbench, run_id, 3600)
    assert dead_workers(workbench) == []
    assert workbench.fleet.find(run_id) is not None


@pytest.mark.parametrize(
    ("status", "state"),
    [
        # its process finished the run and died before it settled the request
        (DagsterRunStatus.CANCELED, "CANCELED"),
        (DagsterRunStatus.FAILURE, "QUEUED"),
        (DagsterRunStatus.SUCCESS, "QUEUED"),
    ],
)
def test_a_run_that_ended_before_its_worker_was_gone_is_settled_by_its_end(workbench, status, state):
    job_id = workbench.request(b"anything")
    run_id = run_of(workbench, status)
    launch(workbench, run_id, job_id, worker="dead")
    workbench.ledger.begin(job_id, attempt=1, run_id=run_id, delivers=True)
    age_of_launch(workbench, run_id, 10)
    dead_workers(workbench)
    assert workbench.row(job_id).state == state
    assert status_of(workbench, run_id) is status


def test_a_cancelled_run_whose_worker_is_gone_ends_as_canceled(workbench):
    job_id = workbench.request(b"anything")
    run_id = run_of(workbench, DagsterRunStatus.STARTED)
    launch(workbench, run_id, job_id, worker="dead")
    workbench.ledger.begin(job_id, attempt=1, run_id=run_id, delivers=True)
    workbench.ledger.request_cancel(job_id)
    age_of_launch(workbench, run_id, 10)
    dead_workers(workbench)
    assert workbench.row(job_id).state == "CANCELED"
    assert status_of(workbench, run_id) is DagsterRunStatus.CANCELED


def test_a_request_whose_worker_died_before_the_first_step_gets_its_next_attempt(workbench):
    job_id = workbench.request(b"anything")
    tick(workbench)
    run_id = run_of(workbench, DagsterRunStatus.STARTING)
    launch(workbench, run_id, job_id, worker="dead")
    age_of_launch(workbench, run_id, 10)
    dead_workers(workbench)
    row = workbench.row(job_id)
    assert (row.state, row.attempt, row.lease_until) == ("QUEUED", 2, None)


# -- requests that were cancelled before a worker took their run


def test_a_run_that_is_to_end_before_a_worker_took_it_is_closed_and_cannot_be_taken(workbench):
    job_id = workbench.request(b"anything")
    tick(workbench)
    run_id = run_of(workbench, DagsterRunStatus.STARTING)
    launch(workbench, run_id, job_id)
    workbench.ledger.request_cancel(job_id)
    assert len(settle_called_off(workbench.fleet, workbench.instance)) == 1
    assert status_of(workbench, run_id) is DagsterRunStatus.CANCELED
    assert workbench.fleet.take(run_id, "w1", 1) is None
    assert settle_called_off(workbench.fleet, workbench.instance) == []


# -- requests that were dispatched and have not begun


@pytest.mark.parametrize(
    ("status", "state", "attempt"),
    [
        (DagsterRunStatus.FAILURE, "QUEUED", 2),  # the launch failed
        (DagsterRunStatus.SUCCESS, "QUEUED", 2),  # a run of another selection used the key
        (DagsterRunStatus.CANCELED, "CANCELED", 1),  # cancelled in Dagster's queue
        (DagsterRunStatus.NOT_STARTED, "QUEUED", 1),  # it is about to be launched
        (DagsterRunStatus.STARTING, "QUEUED", 1),  # it is being launched
        (None, "QUEUED", 1),  # the tick was lost: the lease runs out and it is claimed again
    ],
)
def test_a_dispatched_request_that_has_not_begun_is_judged_by_its_run(workbench, status, state, attempt):
    job_id = workbench.request(b"anything")
    (request,) = tick(workbench).run_requests
    if status is not None:
        run_of(workbench, status, request.run_key)
    age(workbench, job_id, "leased_at", LEASE_S + 1)
    dispatched(workbench)
    row = workbench.row(job_id)
    assert (row.state, row.attempt) == (state, attempt)


@pytest.mark.parametrize("status", [DagsterRunStatus.STARTING, DagsterRunStatus.NOT_STARTED])
def test_a_run_whose_launch_was_not_completed_costs_the_attempt(workbench, monkeypatch, status):
    """The daemon died between the two halves of the launch, or Postgres between making and queueing the run.

    The request of a run that was made and never queued waited for ever.
    """
    job_id = workbench.request(b"anything")
    (request,) = tick(workbench).run_requests
    run_id = run_of(workbench, status, request.run_key)
    age(workbench, job_id, "leased_at", LEASE_S + 1)
    monkeypatch.setattr(reconcile_module, "LAUNCH_S", 0.0)
    assert str(job_id) in dispatched(workbench)[0]
    assert status_of(workbench, run_id) is DagsterRunStatus.FAILURE
    assert (workbench.row(job_id).state, workbench.row(job_id).attempt) == ("QUEUED", 2)


@pytest.mark.parametrize(
    ("statuses", "state", "attempt"),
    [
        # the second was put aside, the first waits for its worker
        ([DagsterRunStatus.NOT_STARTED, DagsterRunStatus.CANCELED], "QUEUED", 1),
        ([DagsterRunStatus.CANCELED, DagsterRunStatus.NOT_STARTED], "QUEUED", 1),
        # the second was put aside, the first died before it began
        ([DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED], "QUEUED", 2),
        # somebody cancelled all that there was
        ([DagsterRunStatus.CANCELED, DagsterRunStatus.CANCELED], "CANCELED", 1),
    ],
)
def test_of_two_runs_of_an_attempt_the_one_that_lives_counts(workbench, statuses, state, attempt):
    job_id = workbench.request(b"anything")
    (request,) = tick(workbench).run_requests
    for status in statuses:
        run_of(workbench, status, request.run_key)
    age(workbench, job_id, "leased_at", LEASE_S + 1)
    dispatched(workbench)
    assert (workbench.row(job_id).state, workbench.row(job_id).attempt) == (state, attempt)


def test_what_is_on_its_way_is_confirmed_before_its_lease_ends(workbench):
    job_id = workbench.request(b"anything")
    (request,) = tick(workbench).run_requests
    launch(workbench, run_of(workbench, DagsterRunStatus.STARTING, request.run_key), job_id)
    age(workbench, job_id, "leased_at", LEASE_S / 2 + 1)
    before = workbench.row(job_id).lease_until
    dispatched(workbench)
    assert workbench.row(job_id).lease_until > before


def test_a_launched_run_may_wait_for_its_worker_as_long_as_it_takes(workbench):
    job_id = workbench.request(b"anything")
    (request,) = tick(workbench).run_requests
    run_id = run_of(workbench, DagsterRunStatus.STARTING, request.run_key)
    launch(workbench, run_id, job_id)
    age(workbench, job_id, "leased_at", 3600)
    age(workbench, job_id, "lease_until", 1)
    assert dispatched(workbench) == []
    assert tick(workbench).skip_message == "No request may start."  # its lease was renewed
    assert status_of(workbench, run_id) is DagsterRunStatus.STARTING


def test_one_tick_of_the_reconciler_settles_all_that_is_left_behind(workbench):
    silent_one, dead, overdue = (workbench.request(b"anything") for _ in range(3))
    workbench.ledger.begin(silent_one, attempt=1, run_id="deleted", delivers=True)
    age(workbench, silent_one, "heartbeat_at", 20)
    run_id = run_of(workbench, DagsterRunStatus.STARTED)
    workbench.ledger.begin(dead, attempt=1, run_id=run_id, delivers=True)
    launch(workbench, run_id, dead, worker="dead")
    age_of_launch(workbench, run_id, 10)
    age(workbench, overdue, "deadline", 1)
    said = reconcile(workbench)
    assert all(str(name) in said for name in (silent_one, run_id, overdue))
    assert [workbench.row(job_id).state for job_id in (silent_one, dead, overdue)] == [
        "QUEUED",
        "QUEUED",
        "EXPIRED",
    ]
    assert reconcile(workbench) == "Every request is in order."


def test_after_an_outage_of_postgres_a_silent_run_that_lives_is_left_alone(workbench, monkeypatch):
    """A Postgres that was down for two minutes had heard nothing of any run, and all of them were retried."""
    job_id = workbench.request(b"anything")
    run_id = run_of(workbench, DagsterRunStatus.STARTED)
    workbench.ledger.begin(job_id, attempt=1, run_id=run_id, delivers=True)
    workbench.fleet.register(WorkerFacts(id="w1", host="h", pid=1, queues=("cpu",), concurrency=1))
    launch(workbench, run_id, job_id, worker="w1")
    for table in ("jobs", "workers"):
        statement = sa.text(f"UPDATE {table} SET heartbeat_at = now() - interval '2 minutes'")
        with workbench.engine.begin() as connection:
            connection.execute(statement)
    age_of_launch(workbench, run_id, 150)
    monkeypatch.setattr(Fleet, "could_be_told", lambda self, for_s: False)
    assert reconcile(workbench) == "Every request is in order."
    monkeypatch.setattr(Fleet, "could_be_told", lambda self, for_s: for_s == SILENT_AFTER_S)
    assert run_id in reconcile(workbench)
    assert workbench.row(job_id).state == "QUEUED"
