"""Closing a run in Dagster that no process executes any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline3d.requests.settlement import RunFate, fate_of_status

if TYPE_CHECKING:
    from dagster import DagsterInstance


def close_run(
    instance: DagsterInstance, run_id: str, message: str, *, canceled: bool, otherwise: RunFate
) -> RunFate:
    """How the run ended; one that did not is closed now, as cancelled or as failed with the message.

    `canceled` says that its end was asked for; `otherwise` is the fate of one that failed by being left.
    """
    run = instance.get_run_by_id(run_id)
    if run is None:
        return RunFate.LOST
    if run.is_finished:
        return fate_of_status(run.status.value)
    if canceled or run.status.value == "CANCELING":
        instance.report_run_canceled(run)
        return RunFate.CANCELED
    instance.report_run_failed(run, message)
    return otherwise
