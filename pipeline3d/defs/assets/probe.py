"""The assets of a probe: a request that goes the whole way and makes nothing.

Operators send it to see that the way is open and how long it takes (`pipeline3d probe`); the benchmarks and
the tests of cancelling and of faults measure the way by it. What it pretends to do is in its parameters.
"""

import subprocess
import sys
import time

import dagster as dg

from pipeline3d.defs.failures import record_failure
from pipeline3d.defs.partitions import PROBE_REQUESTS
from pipeline3d.errors import PermanentFailure, TransientFailure
from pipeline3d.values import JobInput, Kind
from resources.request_run import RequestRun

GROUP = Kind.PROBE.value
OWNERS = ["team:operations"]
LOOK_S = 0.05


@dg.asset(
    partitions_def=PROBE_REQUESTS,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"python"},
    hooks={record_failure},
    description="The beginning of a probe.",
)
def probe_source(context: dg.AssetExecutionContext, request_run: RequestRun) -> dg.MaterializeResult:
    """Say what was asked for."""
    with request_run.stage(context) as run:
        return dg.MaterializeResult(metadata={"parameters": dg.MetadataValue.json(run.job.shown_params)})


@dg.asset(
    deps=[probe_source],
    pool="probe",
    partitions_def=PROBE_REQUESTS,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"python"},
    hooks={record_failure},
    description="The work of a probe: as long, and with the end, that its parameters say.",
)
def probe_work(context: dg.AssetExecutionContext, request_run: RequestRun) -> dg.MaterializeResult:
    """Take time, in this process or in one of its own, then end as asked."""
    with request_run.stage(context) as run:
        pretend_to_work(run.job)
        return dg.MaterializeResult(metadata={"worked_s": float(run.job.params["work_s"])})


@dg.asset(
    deps=[probe_work],
    partitions_def=PROBE_REQUESTS,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres"},
    hooks={record_failure},
    description="The end of a probe: its request has succeeded.",
)
def probe_delivery(context: dg.AssetExecutionContext, request_run: RequestRun) -> dg.MaterializeResult:
    """Close the request as succeeded."""
    with request_run.stage(context) as run:
        attempt = run.job.attempt
    run.succeed()  # after the stage: a finished request takes no more reports
    return dg.MaterializeResult(metadata={"attempt": attempt})


def pretend_to_work(job: JobInput) -> None:
    """Spend `work_s` seconds (`in_subprocess`: in a program of its own), then fail where that is wanted."""
    seconds = float(job.params["work_s"])
    if job.params["in_subprocess"]:
        subprocess.run([sys.executable, "-c", f"import time; time.sleep({seconds})"], check=True)
    else:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_S))
    if job.attempt <= int(job.params["transient_failures"]):
        raise TransientFailure("The probe fails as it was asked to; another attempt may succeed.")
    if job.params["fails"]:
        raise PermanentFailure("The probe fails as it was asked to.", code="probe_failed")


PROBE_ASSETS = [probe_source, probe_work, probe_delivery]
