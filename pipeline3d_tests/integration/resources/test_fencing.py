"""A run that lost its request publishes nothing over what the next attempt made; an outage loses nothing."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from pipeline3d.errors import DatabaseUnavailable, LeaseLost
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


def begin(ledger, job_id, folder) -> RunGuard:
    """The first attempt of a request, whose heartbeat notices nothing in the time of the test."""
    return RunGuard(
        ledger,
        job_id=job_id,
        run_id="r1",
        attempt=1,
        delivers=True,
        scratch_root=folder / "scratch",
        heartbeat_s=NEVER_S,
    )


@pytest.fixture
def guard(rows, ledger, tmp_path) -> Iterator[RunGuard]:
    with closing(begin(ledger, rows.make(), tmp_path)) as first:
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


class ForgetfulLine:
    """A ledger behind a line that breaks once for each method: before it asked, or before it was answered."""

    def __init__(self, ledger, *, after: bool) -> None:
        self._ledger = ledger
        self._after = after
        self.broken: set[str] = set()

    def __getattr__(self, name):
        method = getattr(self._ledger, name)

        def call(*arguments, **options):
            is_first = name not in self.broken
            self.broken.add(name)
            if is_first and not self._after:
                raise DatabaseUnavailable("away")
            answer = method(*arguments, **options)
            if is_first:
                raise DatabaseUnavailable("the answer was lost")
            return answer

        return call


@pytest.mark.parametrize("after", [False, True])
def test_a_restart_of_postgres_at_any_moment_costs_no_stage(rows, ledger, tmp_path, after):
    """The seconds of a stage could not be recorded, and its work of minutes was done again."""
    line = ForgetfulLine(ledger, after=after)
    job_id = rows.make()
    with closing(begin(line, job_id, tmp_path)) as guard:
        assert guard.owns_request
        with guard.stage("mesh"):
            guard.confirm_ownership()
        guard.succeed()
    assert {"begin", "report_progress", "record_stage_seconds", "heartbeat", "succeed"} <= line.broken
    assert rows.row(job_id).state == "SUCCEEDED"
    assert set(rows.row(job_id).stage_seconds) == {"mesh"}


def test_a_success_that_came_too_late_is_not_taken_for_an_answer_that_was_lost(guard, ledger):
    give_away(ledger, guard)
    with pytest.raises(LeaseLost):
        guard.succeed()
    ledger.succeed(guard.job.job_id, "r2")
    with pytest.raises(LeaseLost):
        guard.succeed()
