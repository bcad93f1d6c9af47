"""The hook that carries a failed step's reason to its request.

It runs in the run's own process, so the request shows its error in the moment it happens. It is not
called when the process is killed or the run is terminated: the reconciler covers those.
"""

from __future__ import annotations

import dagster as dg


@dg.failure_hook(name="record_failure", required_resource_keys={"request_run"})
def record_failure(context: dg.HookContext) -> None:
    """Write the error of the step to the request."""
    context.resources.request_run.record_failure(context.run_id, context.step_key, context.op_exception)
