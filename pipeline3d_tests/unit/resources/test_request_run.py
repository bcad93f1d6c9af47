"""What a run may do by its selection, and how an exception becomes a request's error."""

from types import SimpleNamespace

import dagster as dg
import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError

from pipeline3d.errors import StoreUnavailable, UnusableInput
from resources import request_run
from resources.jobs_database import JobsDatabase
from resources.request_run import explain_failure, run_delivers


def run_of(selection=None, steps=None) -> dg.DagsterRun:
    keys = frozenset(dg.AssetKey(name) for name in selection) if selection is not None else None
    return dg.DagsterRun(job_name="image_to_3d", asset_selection=keys, step_keys_to_execute=steps)


@pytest.mark.parametrize(
    ("selection", "steps", "delivers"),
    [
        (None, None, True),  # the whole job
        ([], None, True),  # the whole job, as a run in one process says it
        (["mesh", "delivery"], None, True),  # a selection through to the end
        (["mesh"], None, False),  # one asset, materialized by hand
        (None, ["mesh", "delivery"], True),  # a retry from a failed step
        (None, ["model_preview"], False),  # one step, re-executed
    ],
)
def test_only_a_run_that_reaches_the_delivery_may_end_the_request(selection, steps, delivers):
    assert run_delivers(run_of(selection, steps)) is delivers


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (UnusableInput("no", code="not_an_image", hint="send one"), "not_an_image", False),  # the caller's
        (StoreUnavailable("away"), "store_unavailable", True),  # the network's
        (MemoryError(), "out_of_memory", True),  # a smaller neighbour may make room
        (ZeroDivisionError("secret detail"), "internal_error", False),  # ours
    ],
)
def test_every_exception_has_a_code_and_retries_where_that_can_help(error, code, retryable):
    report = explain_failure(error, "mesh")
    assert (report.code, report.retryable, report.stage) == (code, retryable, "mesh")
    assert "secret detail" not in report.message


@pytest.mark.parametrize(
    ("error", "has_traceback"),
    [
        (UnusableInput("no", code="not_an_image"), False),  # the caller's: one line, nobody is woken
        (ZeroDivisionError("here"), True),  # ours: whoever mends it needs the place
    ],
)
def test_the_log_has_one_line_for_a_refusal_and_a_traceback_for_a_fault_of_ours(
    error, has_traceback, caplog, monkeypatch
):
    reports = []
    monkeypatch.setattr(request_run, "guard_of", lambda _: SimpleNamespace(fail=reports.append))
    run = request_run.RequestRun(jobs_database=JobsDatabase(url="postgresql://h/d"), scratch_dir="/tmp")
    run.record_failure("run-1", "mesh", error)
    (record,) = caplog.records
    assert "run-1" in record.getMessage()
    assert bool(record.exc_info) is has_traceback
    assert [report.stage for report in reports] == ["mesh"]


def test_a_failed_check_is_explained_as_a_rejected_mesh():
    from dagster._core.errors import DagsterAssetCheckFailedError

    assert explain_failure(DagsterAssetCheckFailedError("not_empty"), "mesh").code == "mesh_rejected"


def test_a_step_that_fails_because_postgres_died_under_a_statement_is_tried_again():
    """A kill of Postgres met Dagster's own question of it: requests ended FAILED with internal_error."""
    lost = OperationalError("SELECT 1", {}, Exception("server closed the connection unexpectedly"))
    wrapped = RuntimeError("step failed")
    wrapped.__cause__ = lost
    for error in (lost, wrapped):
        report = explain_failure(error, "mesh")
        assert (report.code, report.retryable) == ("database_unavailable", True)
    assert not explain_failure(ProgrammingError("SELECT", {}, Exception("no such table")), "mesh").retryable
