"""How a run's status is understood by those who settle its request."""

import pytest
from dagster import DagsterRunStatus as Status

from pipeline3d.requests.settlement import RunFate, fate_of_status


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (None, RunFate.LOST),  # somebody deleted the run
        (Status.SUCCESS, RunFate.SUCCEEDED),
        (Status.FAILURE, RunFate.FAILED),
        (Status.CANCELED, RunFate.CANCELED),
        (Status.QUEUED, RunFate.ALIVE),  # it waits for a slot
        (Status.NOT_STARTED, RunFate.ALIVE),
        (Status.STARTING, RunFate.ALIVE),  # it waits for a worker
        (Status.STARTED, RunFate.ALIVE),
        (Status.CANCELING, RunFate.ALIVE),  # its process may still be cleaning up
    ],
)
def test_a_run_has_a_fate_only_when_it_has_ended(status, fate):
    assert fate_of_status(status.value if status else None) is fate


def test_every_status_of_dagster_is_an_end_exactly_where_dagster_says_so():
    from dagster._core.storage.dagster_run import FINISHED_STATUSES

    ended = {status for status in Status if fate_of_status(status.value) is not RunFate.ALIVE}
    assert ended == set(FINISHED_STATUSES)
