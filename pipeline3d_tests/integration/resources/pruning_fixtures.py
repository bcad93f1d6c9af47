"""An installation with a past: requests, runs, events, files and messages, young and old, on real servers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import dagster as dg
import psycopg
from sqlalchemy import Engine, text

from pipeline3d.requests import creation
from pipeline3d.requests.housekeeping import Housekeeper
from pipeline3d.requests.pruning import Retention
from pipeline3d.store.keys import artifact_key, temporary_key, upload_key
from pipeline3d.store.s3 import ObjectFacts, S3Store
from pipeline3d.values import ArtifactType
from pipeline3d_tests.integration.launch.dagster_fixtures import build_job, execute
from pipeline3d_tests.integration.requests.database_fixtures import JobRows
from resources.file_pruning import Removed
from resources.housekeeping import Prune
from resources.run_history import RunHistory

KEEP = Retention(partition_days=30, live_partitions=100)
JOB = build_job()
CELERY_TABLES = """
CREATE TABLE kombu_message (id serial PRIMARY KEY, visible boolean, payload text);
CREATE TABLE celery_taskmeta (id serial PRIMARY KEY, task_id text, date_done timestamp);
"""


class AgedStore(S3Store):
    """A store in which objects can be as old as a test wants: an S3 server takes no dates."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.ages: dict[str, timedelta] = {}

    def list_pages(self, prefix: str) -> Iterator[list[ObjectFacts]]:
        for page in super().list_pages(prefix):
            yield [
                replace(facts, modified_at=facts.modified_at - self.ages.get(facts.key, timedelta()))
                for facts in page
            ]


@dataclass
class Past:
    """Makes things of any age and tells what is there."""

    engine: Engine
    store: AgedStore
    instance: dg.DagsterInstance
    dagster_url: str
    rows: JobRows = field(init=False)

    def __post_init__(self) -> None:
        self.rows = JobRows(self.engine)

    def prune(self, *, dry_run: bool = False, **changes: Any) -> list[Removed]:
        """One prune by itself; what its steps say."""
        return list(self.plan(dry_run=dry_run, **changes).run())

    def plan(self, *, dry_run: bool = False, store: S3Store | None = None, **changes: Any) -> Prune:
        """A prune that has not begun."""
        return Prune(
            Housekeeper(self.engine),
            lambda: store or self.store,
            RunHistory(self.instance),
            keep=replace(KEEP, **changes),
            partition_sets=["things"],
            dry_run=dry_run,
        )

    # -- making

    def sql(self, statement: str, **values: Any) -> None:
        """Change the database of the jobs past every rule."""
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

    def dagster_sql(self, statement: str, *values: Any) -> None:
        """Change Dagster's database."""
        with psycopg.connect(self.dagster_url, autocommit=True) as connection:
            connection.execute(statement, values)

    def queued(self, **values: Any) -> UUID:
        """A request that waits, with its partition."""
        job_id = self.rows.make(**values)
        self.instance.add_dynamic_partitions("things", [str(job_id)])
        return job_id

    def finished(self, days_ago: float, *, failed: bool = False, runs: int = 1, **values: Any) -> UUID:
        """A request that ended so long ago, with its partition, its runs and its history."""
        job_id = self.queued(**values)
        for _ in range(runs):
            self.age_run(self.run(job_id, failed=failed).run_id, days_ago)
        error = ", error_code = 'x', error_message = 'x', error_retryable = false" if failed else ""
        self.sql(
            f"UPDATE jobs SET state = :state, progress_percent = 100, completed_at = now() - :age {error}"
            " WHERE id = :id",
            state="FAILED" if failed else "SUCCEEDED",
            age=timedelta(days=days_ago),
            id=job_id,
        )
        self.sql(
            "UPDATE job_events SET created_at = now() - :age WHERE job_id = :id",
            age=timedelta(days=days_ago),
            id=job_id,
        )
        return job_id

    def run(self, job_id: UUID, *, failed: bool = False) -> dg.DagsterRun:
        """A run of a request that has ended, as it looks from outside: it said something and did nothing."""
        status = dg.DagsterRunStatus.FAILURE if failed else dg.DagsterRunStatus.SUCCESS
        run = self.unfinished_run(job_id, status)
        self.instance.report_engine_event("It was here.", run)
        return run

    def executed_run(self, job_id: UUID) -> dg.DagsterRun:
        """A run of a request with all that Dagster writes of it."""
        return execute(self.instance, JOB, key=str(job_id))

    def unfinished_run(
        self, job_id: UUID, status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED
    ) -> dg.DagsterRun:
        """A run of a request that is at work, or has any other status."""
        return self.instance.create_run_for_job(JOB, status=status, tags={"dagster/partition": str(job_id)})

    def age_run(self, run_id: str, days: float) -> None:
        """Make a run and its events older."""
        age = timedelta(days=days)
        self.dagster_sql(
            "UPDATE runs SET end_time = end_time - %s, update_timestamp = update_timestamp - %s"
            " WHERE run_id = %s",
            age.total_seconds(),
            age,
            run_id,
        )
        self.dagster_sql("UPDATE event_logs SET timestamp = timestamp - %s WHERE run_id = %s", age, run_id)

    def put(self, key: str, *, days: float = 0, size: int = 10) -> str:
        """An object of that age."""
        self.store.put_bytes(key, b"x" * size, "text/plain")
        self.store.ages[key] = timedelta(days=days)
        return key

    def result(self, job_id: UUID, name: str = "model.glb", *, days: float = 0, named: bool = True) -> str:
        """What a run stored, with or without the row that names it."""
        key = artifact_key(job_id, "glb_export", name)
        stored = self.store.put_bytes(key, b"x" * 100, "model/gltf-binary")
        self.store.ages[key] = timedelta(days=days)
        if named:
            self.rows.run(
                creation.record_artifact(job_id, 1, "glb_export", name, ArtifactType.OUTPUT_MODEL, stored, {})
            )
        return key

    def upload(self, *, days: float) -> creation.UploadedInput:
        """An object that a caller uploaded."""
        key = self.put(upload_key(self.rows.user_id, "photo.png"), days=days)
        return creation.UploadedInput(key=key, size=10, content_type="image/png")

    def temporary(self, *, days: float) -> str:
        """An object on its way."""
        return self.put(temporary_key(), days=days)

    def output_of(self, run_id: str, *, days: float = 0) -> str:
        """What a run wrote to its output, where Dagster's S3 manager keeps it."""
        return self.put(f"compute_logs/storage/{run_id}/compute_logs/{uuid.uuid4().hex[:8]}.err", days=days)

    # -- looking

    def keys(self) -> set[str]:
        """The live partitions."""
        return set(self.instance.get_dynamic_partitions("things"))

    def run_ids(self) -> set[str]:
        """All runs."""
        return {run.run_id for run in self.instance.get_runs()}

    def objects(self) -> set[str]:
        """All objects."""
        return set(self.store.list_keys(""))

    def count(self, table: str) -> int:
        """Rows in a table of the jobs database."""
        with self.engine.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())

    def dagster_count(self, table: str) -> int:
        """Rows in a table of Dagster's database."""
        with psycopg.connect(self.dagster_url) as connection:
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # type: ignore[call-overload]
            return int(row[0])

    def everything(self) -> dict[str, Any]:
        """All that a prune could change."""
        tables = ("jobs", "job_events", "artifacts", "uploads", "workers", "launched_runs", "kombu_message")
        tables += (
            "webhook_deliveries",
            "idempotency_keys",
            "audit_log",
            "login_attempts",
            "sessions",
            "api_keys",
            "batches",
            "usage",
        )
        dagster = ("event_logs", "job_ticks", "asset_check_executions", "run_tags")
        return {
            "keys": self.keys(),
            "runs": self.run_ids(),
            "objects": self.objects(),
            **{table: self.count(table) for table in (*tables, "celery_taskmeta")},
            **{table: self.dagster_count(table) for table in dagster},
        }


@dataclass
class Doomed:
    """What the next prune takes: by the names of `Past.everything`, keys or numbers of rows."""

    keys: set[str] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)
    objects: set[str] = field(default_factory=set)
    rows: dict[str, int] = field(default_factory=dict)


def fill(past: Past) -> Doomed:
    """Some of everything, young and old, and what of it is past its time."""
    doomed = Doomed()
    fill_window(past, doomed)
    fill_files(past, doomed)
    fill_outputs(past, doomed)
    fill_fleet(past, doomed)
    fill_webhooks(past, doomed)
    fill_access(past, doomed)
    past.sql(CELERY_TABLES)
    past.sql("INSERT INTO kombu_message (visible) VALUES (true), (false), (false)")
    past.sql(
        "INSERT INTO celery_taskmeta (task_id, date_done) VALUES"
        " ('old', timezone('UTC', now()) - interval '8 days'), ('new', timezone('UTC', now()))"
    )
    past.dagster_sql(
        "INSERT INTO job_ticks (job_origin_id, selector_id, status, type, timestamp) VALUES"
        " ('o', 's', 'SKIPPED', 'SENSOR', now() - interval '3 days'), ('o', 's', 'SKIPPED', 'SENSOR', now())"
    )
    doomed.rows |= {"kombu_message": 2, "celery_taskmeta": 1, "job_ticks": 1}
    return doomed


def fill_window(past: Past, doomed: Doomed) -> None:
    """Requests inside and beyond the window."""
    past.finished(1)
    past.queued()
    old, failed, in_use = past.finished(40, runs=2), past.finished(40, failed=True), past.finished(100)
    # Somebody makes its files anew at the moment.
    past.unfinished_run(in_use)
    doomed.keys |= {str(old), str(failed)}
    doomed.runs |= set(runs_of(past, old))
    past.dagster_sql(
        "INSERT INTO asset_check_executions (asset_key, check_name, run_id) SELECT 'a', 'c', run_id FROM runs"
    )
    doomed.rows |= {"run_tags": 2, "asset_check_executions": 2, "job_events": 1}
    past.instance.add_dynamic_partitions("things", ["not a request", str(uuid.uuid4())])


def fill_files(past: Past, doomed: Doomed) -> None:
    """Objects that rows name, that no row names, and that are not ours."""
    young, queued = past.finished(1), past.queued()
    past.result(young, days=40)
    past.result(queued, "begun.glb", days=40, named=False)
    past.result(young, "just-stored.glb", days=0.5, named=False)
    doomed.objects |= {
        past.result(young, "left-behind.glb", days=40, named=False),
        past.put(f"jobs/{uuid.uuid4()}/mesh/of-nobody.glb", days=2),
        past.temporary(days=3),
        past.upload(days=3).key,
    }
    past.temporary(days=0)
    past.upload(days=1)
    fill_recorded_uploads(past, doomed)
    shared, own = past.upload(days=50), past.upload(days=50)
    first, second = past.finished(2, upload=shared), past.finished(2, upload=own)
    past.finished(1, upload=shared)
    doomed.objects |= {past.result(first, days=2), past.result(second, days=2), own.key}
    past.sql(
        "UPDATE jobs SET expires_at = now() - interval '1 hour' WHERE id = ANY(:ids)", ids=[first, second]
    )
    past.sql("UPDATE jobs SET expires_at = now() + interval '1 hour' WHERE id = :id", id=young)
    doomed.rows["artifacts"] = 5
    for key in ("theirs/a.txt", "jobs/readme.txt", "uploads/other/b.txt", "tmp/not-ours", "compute_logs/x"):
        past.put(key, days=400)


def fill_recorded_uploads(past: Past, doomed: Doomed) -> None:
    """Uploads on record: unused, named to their owner today, used by a request that stays and by one that has
    expired; a young ticket."""
    add = (
        "INSERT INTO uploads (id, user_id, storage_path, filename, content_type, expires_at, created_at,"
        " last_given_at) VALUES (:id, :user, :key, 'a.png', 'image/png', now(), now() - :age, now() - :given)"
    )
    unused, again, used, expired = (past.upload(days=50) for _ in range(4))
    past.finished(2, upload=used)
    ends = past.finished(2, upload=expired)
    past.sql("UPDATE jobs SET expires_at = now() - interval '1 hour' WHERE id = :id", id=ends)
    ages = {unused.key: (50, 50), again.key: (50, 0), used.key: (50, 50), expired.key: (1, 0)}
    ages[f"{unused.key}-soon"] = (0, 0)
    for key, (age, given) in ages.items():
        days = {"age": timedelta(days=age), "given": timedelta(days=given)}
        past.sql(add, id=creation.new_job_id(), user=past.rows.user_id, key=key, **days)
    doomed.objects |= {unused.key, expired.key}
    doomed.rows["uploads"] = 2


def fill_access(past: Past, doomed: Doomed) -> None:
    """Of what is kept about callers one that is past its time, and one that is not."""
    user = {"user": past.rows.user_id}
    for name, days in {"old": 401, "young": 1}.items():
        moment = {"name": name, "age": timedelta(days=days), **user}
        past.sql(
            "INSERT INTO idempotency_keys (user_id, key, request_hash, expires_at)"
            " VALUES (:user, :name, 'h', now() + interval '2 days' - :age)",
            **moment,
        )
        past.sql("INSERT INTO audit_log (action, created_at) VALUES (:name, now() - :age)", **moment)
        past.sql(
            "INSERT INTO login_attempts (username, address, succeeded, created_at)"
            " VALUES (:name, '127.0.0.1', false, now() - :age)",
            **{**moment, "age": timedelta(days=days if name == "old" else 0)},
        )
        ended = {**moment, "id": creation.new_job_id(), "hash": uuid.uuid4().hex * 2}
        past.sql(
            "INSERT INTO sessions (id, user_id, token_hash, csrf_hash, expires_at, created_at)"
            " VALUES (:id, :user, :hash, :hash, now() + interval '7 days' - :age, now() - :age)",
            **ended,
        )
        past.sql(
            "INSERT INTO api_keys (id, user_id, name, key_hash, prefix, expires_at)"
            " VALUES (:id, :user, 'login', :hash, 'p3d_', now() + interval '2 days' - :age)",
            **ended,
        )
        past.sql(
            "INSERT INTO batches (id, user_id, name, source, size, created_at)"
            " VALUES (:id, :user, :name, 'json', 1, now() - :age)",
            **ended,
        )
        past.sql(
            "INSERT INTO usage (owner_id, month)"
            " VALUES (:user, date_trunc('month', now() AT TIME ZONE 'UTC' - :age)::date)",
            **{**moment, "age": timedelta(days=days + 31 if name == "old" else 0)},
        )
    tables = ("idempotency_keys", "audit_log", "login_attempts", "sessions", "api_keys", "batches", "usage")
    doomed.rows |= dict.fromkeys(tables, 1)


def fill_outputs(past: Past, doomed: Doomed) -> None:
    """The output of runs that stay, that go, and that are gone."""
    past.output_of(past.run(past.queued()).run_id, days=50)
    past.output_of(str(uuid.uuid4()), days=0)
    doomed.objects |= {past.output_of(run_id) for run_id in doomed.runs}
    doomed.objects.add(past.output_of(str(uuid.uuid4()), days=2))
    past.put("compute_logs/storage/location/dispatch_requests_0/1.err", days=10)
    doomed.objects.add(past.put("compute_logs/storage/location/dispatch_requests_0/2.err", days=20))


def fill_fleet(past: Past, doomed: Doomed) -> None:
    """Workers and launches that were left behind, and some that are in use."""
    ended, unfinished = past.run(past.queued()).run_id, past.unfinished_run(past.queued()).run_id
    add_worker = (
        "INSERT INTO workers (id, host, pid, queues, concurrency, heartbeat_at)"
        " VALUES (:id, 'h', 1, '{cpu}', 1, now() - :age)"
    )
    for worker, days in {"gone": 2, "gone with a launch": 2, "busy": 2, "alive": 0}.items():
        past.sql(add_worker, id=worker, age=timedelta(days=days))
    add_launch = (
        "INSERT INTO launched_runs (run_id, job_name, queue, launched_at, worker_id, worker_pid, taken_at)"
        " VALUES (:id, 'j', 'cpu', now() - :age, :worker, 1, now())"
    )
    launches = {
        ended: "gone with a launch",
        "of which nobody knows": "gone with a launch",
        unfinished: "busy",
    }
    for run_id, worker in launches.items():
        past.sql(add_launch, id=run_id, age=timedelta(days=2), worker=worker)
    past.sql(add_launch, id="just launched", age=timedelta(), worker="alive")
    doomed.rows |= {"workers": 2, "launched_runs": 2}


def fill_webhooks(past: Past, doomed: Doomed) -> None:
    """Deliveries of which some are old, some wait, and some tell of jobs that are gone."""
    add = (
        "INSERT INTO webhook_deliveries (user_id, url, message_id, event, payload, job_id, state, created_at)"
        " VALUES (:user, 'https://a.example.com', 'evt', 'job.failed', '{}', :job, :state, now() - :age)"
    )
    there, gone = past.queued(), uuid.uuid4()
    for job_id, state, days in (
        *((None, "DELIVERED", 31), (there, "PENDING", 31), (there, "DELIVERED", 29)),
        *((gone, "FAILED", 1), (gone, "PENDING", 1)),
    ):
        age = timedelta(days=days)
        past.sql(add, user=past.rows.user_id, job=job_id, state=state, age=age)
    doomed.rows["webhook_deliveries"] = 2


def runs_of(past: Past, job_id: UUID) -> list[str]:
    """The runs of a request, newest first."""
    runs = past.instance.get_runs(dg.RunsFilter(tags={"dagster/partition": str(job_id)}))
    return [run.run_id for run in runs]
