"""A run that lost its request publishes nothing over what the next attempt made."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from pipeline3d.errors import LeaseLost
from pipeline3d.requests.settlement import WORKER_LOST
from pipeline3d.store.s3 import S3Store
from resources.run_guard import RunGuard

KEY = "jobs/a/mesh/mesh.glb"
NEVER_S = 3600.0


@pytest.fixture
def store(object_store_server, fresh_bucket) -> S3Store:
    server = object_store_server
    return S3Store(
        endpoint=server.endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
        bucket=fresh_bucket,
        secure=False,
    )


@pytest.fixture
def guard(rows, ledger, tmp_path) -> Iterator[RunGuard]:
    """The first attempt of a request, whose heartbeat notices nothing in the time of the test."""
    first = RunGuard(
        ledger,
        job_id=rows.make(),
        run_id="r1",
        attempt=1,
        delivers=True,
        scratch_root=tmp_path / "scratch",
        heartbeat_s=NEVER_S,
    )
    with closing(first):
        yield first


def publish(store: S3Store, guard: RunGuard, content: bytes) -> None:
    path = guard.scratch / "mesh.glb"
    path.write_bytes(content)
    store.put_file(KEY, path, "model/gltf-binary", before_publishing=guard.confirm_ownership)


def give_away(ledger, guard: RunGuard) -> None:
    """As the reconciler does it when a host has been silent for too long."""
    ledger.requeue(guard.job.job_id, "r1", WORKER_LOST, 0)
    ledger.begin(guard.job.job_id, attempt=2, run_id="r2", delivers=True)


def test_the_owner_publishes(store, guard):
    publish(store, guard, b"mesh")
    assert store.read_bytes(KEY) == b"mesh"


@pytest.mark.parametrize("lose", [give_away, lambda ledger, guard: ledger.request_cancel(guard.job.job_id)])
def test_a_run_that_lost_its_request_since_its_last_heartbeat_publishes_nothing(store, guard, ledger, lose):
    publish(store, guard, b"what counts")
    lose(ledger, guard)
    guard.require_ownership()  # it does not know yet
    with pytest.raises(LeaseLost):
        publish(store, guard, b"too late")
    assert store.read_bytes(KEY) == b"what counts"
    assert list(store.list_keys("")) == [KEY]  # nothing half-written stays
    with pytest.raises(LeaseLost):
        guard.require_ownership()
