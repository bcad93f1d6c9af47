"""What becomes of a request whose run went away, by the state of the run."""

import pytest
from dagster import DagsterRunStatus as Status

from pipeline3d.defs.sensors.reconcile import Verdict, judge_dispatched, judge_running


@pytest.mark.parametrize(
    ("status", "presumed_dead", "verdict"),
    [
        (None, False, Verdict.RETRY),  # the run was deleted
        (Status.FAILURE, False, Verdict.RETRY),  # killed: its failure hook never ran
        (Status.CANCELED, False, Verdict.CANCEL),  # terminated in the Dagster UI
        (Status.SUCCESS, False, Verdict.RETRY_WITHOUT_RESULT),  # it ended, and nothing was delivered
        (Status.STARTED, False, Verdict.LEAVE),  # a few missed heartbeats are no proof
        (Status.STARTED, True, Verdict.RETRY_AND_END_RUN),  # Dagster does not know yet that it is dead
        (Status.CANCELING, True, Verdict.RETRY_AND_END_RUN),  # it died while it was being cancelled
    ],
)
def test_a_silent_request_is_judged_by_its_run(status, presumed_dead, verdict):
    assert judge_running(status, presumed_dead=presumed_dead) is verdict


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (None, Verdict.LEAVE),  # the tick was lost: the lease runs out and it is claimed again
        (Status.QUEUED, Verdict.LEAVE),  # it waits for a slot
        (Status.STARTING, Verdict.LEAVE),  # its process is starting
        (Status.STARTED, Verdict.LEAVE),  # it is about to begin
        (Status.FAILURE, Verdict.RETRY),  # the launch failed
        (Status.SUCCESS, Verdict.RETRY),  # a run of another selection used the key
        (Status.CANCELED, Verdict.CANCEL),  # cancelled in Dagster's queue
    ],
)
def test_a_dispatched_request_that_has_not_begun_is_judged_by_its_run(status, verdict):
    assert judge_dispatched(status) is verdict
