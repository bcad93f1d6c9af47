"""A run that is robbed of its request is interrupted; one that is asked to stop is ended by its warden."""

import threading

import pytest

from pipeline3d.requests.settlement import WORKER_LOST
from resources.run_guard import RunGuard


@pytest.mark.parametrize(
    ("change", "interrupted"),
    [
        (lambda ledger, job_id: ledger.request_cancel(job_id), False),
        (lambda ledger, job_id: ledger.requeue(job_id, "r1", WORKER_LOST, 0.0), True),
    ],
    ids=["asked to stop", "robbed"],
)
def test_only_a_run_that_is_robbed_interrupts_itself(ledger, rows, tmp_path, change, interrupted):
    job_id = rows.make()
    called = threading.Event()
    guard = RunGuard(
        ledger,
        job_id=job_id,
        run_id="r1",
        attempt=1,
        delivers=True,
        scratch_root=tmp_path,
        heartbeat_s=0.05,
        on_lost=called.set,
    )
    try:
        change(ledger, job_id)
        guard._pulse.join(timeout=60)  # it ends with the loss
        assert not guard._pulse.is_alive()
        assert called.is_set() is interrupted
    finally:
        guard.close()
