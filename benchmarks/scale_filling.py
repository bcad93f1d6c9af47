"""Fills an installation as years of use would: rows, partitions, runs and events by the million.

Rows are made by Postgres itself, and what Dagster keeps of a run is copied from a real one under other names,
so that every column holds what it holds in real life.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg

USERS = 100
HISTORY_DAYS = 30
BACKLOG_REASON = "the scale benchmark fills the queue"

ADD_USERS = """
INSERT INTO users (id, username, password_hash)
SELECT uuidv7(), 'scale-' || n, 'no password' FROM generate_series(1, %(users)s) n
ON CONFLICT DO NOTHING
"""
# One in ten belongs to the first user, whose lists are measured; the rest to the others.
ADD_JOBS = """
WITH people AS (
  SELECT id, row_number() OVER (ORDER BY username LIKE 'scale-%%', username) - 1 AS place FROM users
),
moments AS (
  SELECT n, now() - (%(count)s - n) * (interval '1 day' * %(days)s / %(count)s) - interval '1 hour' AS moment
  FROM generate_series(1, %(count)s) n
)
INSERT INTO jobs (
  id, user_id, model_id, kind, family, state, params, progress_percent, attempt, max_attempts, run_id,
  stage_seconds, error_code, error_message, error_retryable, tags,
  created_at, updated_at, started_at, heartbeat_at, completed_at
)
SELECT
  uuidv7(moment - now()), people.id, 'probe-v1', 'probe', 'probe_requests', outcome.state,
  '{"work_s": 0, "in_subprocess": false, "transient_failures": 0, "fails": false}',
  CASE outcome.state WHEN 'SUCCEEDED' THEN 100 ELSE 40 END, 1, 3, gen_random_uuid()::text,
  '{"probe_source": 0.01, "probe_work": 0.01, "probe_delivery": 0.01}',
  CASE outcome.state WHEN 'FAILED' THEN 'probe_failed' END,
  CASE outcome.state WHEN 'FAILED' THEN 'It was asked to fail.' END,
  CASE outcome.state WHEN 'FAILED' THEN false END,
  '{scale}', moment, moment + interval '1 second', moment + interval '0.5 seconds',
  moment + interval '1 second', moment + interval '1 second'
FROM moments
CROSS JOIN LATERAL (
  SELECT CASE WHEN n %% 20 = 1 THEN 'FAILED' WHEN n %% 20 = 2 THEN 'CANCELED' ELSE 'SUCCEEDED' END AS state
) outcome
JOIN people ON people.place = CASE WHEN n %% 10 = 0 THEN 0 ELSE n %% %(users)s END
"""
ADD_HISTORY = """
INSERT INTO job_events (job_id, event_type, payload, created_at)
SELECT id, 'INFO', '{"event": "succeeded", "state": "SUCCEEDED", "attempt": 1}', completed_at
FROM jobs WHERE tags = '{scale}' ORDER BY id
"""
ADD_FILES = """
INSERT INTO artifacts (
  id, job_id, attempt, asset, name, type, storage_path, content_type, sha256, file_size_bytes, created_at
)
SELECT uuidv7(), id, 1, 'probe_delivery', 'result.json', 'OUTPUT_MODEL',
  'jobs/' || id || '/probe_delivery/result.json', 'application/json',
  encode(sha256(id::text::bytea), 'hex'), 1000, completed_at
FROM jobs WHERE tags = '{scale}' AND state = 'SUCCEEDED' ORDER BY id
"""
ADD_BACKLOG = """
WITH people AS (
  SELECT id, row_number() OVER (ORDER BY username LIKE 'scale-%%', username) - 1 AS place FROM users
)
INSERT INTO jobs (id, user_id, model_id, kind, family, params, tags)
SELECT uuidv7(), people.id, 'probe-v1', 'probe', 'probe_requests', '{}', '{backlog}'
FROM generate_series(1, %(count)s) n
JOIN people ON people.place = CASE WHEN n %% 10 = 0 THEN 0 ELSE n %% %(users)s END
"""
# Apart from the tables that grow: Postgres would read those again and again to find the rows to copy.
TAKE_MODEL = tuple(
    statement
    for table in ("runs", "run_tags", "event_logs")
    for statement in (
        f"CREATE TEMPORARY TABLE model_{table} (LIKE {table})",
        f"INSERT INTO model_{table} SELECT * FROM {table} WHERE run_id = %(run_id)s ORDER BY id",
    )
)
# Row by row of `filler`, as years of runs would have written them, and without a sort of gigabytes.
COPY_RUNS = """
INSERT INTO runs (
  run_id, snapshot_id, pipeline_name, mode, status, run_body, partition, partition_set,
  create_timestamp, update_timestamp, start_time, end_time
)
SELECT filler.run_id, snapshot_id, pipeline_name, mode, status,
  replace(replace(run_body, %(run_id)s, filler.run_id), %(key)s, filler.key), filler.key,
  partition_set, create_timestamp, update_timestamp, start_time, end_time
FROM filler CROSS JOIN model_runs
"""
COPY_TAGS = """
INSERT INTO run_tags (run_id, key, value)
SELECT filler.run_id, model.key, replace(model.value, %(key)s, filler.key)
FROM filler CROSS JOIN model_run_tags AS model
"""
COPY_EVENTS = """
INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
SELECT filler.run_id, replace(replace(event, %(run_id)s, filler.run_id), %(key)s, filler.key),
  dagster_event_type, timestamp, step_key, asset_key, CASE WHEN partition IS NOT NULL THEN filler.key END
FROM filler CROSS JOIN LATERAL (
  SELECT * FROM model_event_logs WHERE asset_key IS NOT NULL OR filler.n > %(only_assets)s ORDER BY id
) model
"""
ADD_KEYS = """
INSERT INTO dynamic_partitions (partitions_def_name, partition)
SELECT 'probe_requests', key FROM filler
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How full an installation is: requests that ended, and how many of them are live partitions."""

    name: str
    partitions: int = 0
    requests: int = 0
    beyond_window: bool = False
    """More live partitions than the nightly prune leaves."""
    whole_runs: int = 10_000
    """Of the newest runs every event is there, as while log lines are kept; of the others the lineage."""


def fill_jobs(database_url: str, size: Size) -> list[str]:
    """Add the requests that ended; the ids of those that are live partitions, the newest, oldest first."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        values = {"users": USERS, "count": max(size.requests, size.partitions), "days": HISTORY_DAYS}
        connection.execute(ADD_USERS, values)
        connection.execute(ADD_JOBS, values)
        connection.execute(ADD_HISTORY)
        connection.execute(ADD_FILES)
        connection.execute("VACUUM ANALYZE")
        rows = connection.execute(
            "SELECT id::text FROM jobs WHERE tags = '{scale}' ORDER BY id DESC LIMIT %s", (size.partitions,)
        )
        return [key for (key,) in rows][::-1]


def fill_dagster(dagster_url: str, keys: list[str], *, like: UUID, whole_runs: int) -> None:
    """Add live partitions, each with a run like the one of the request `like`."""
    with psycopg.connect(dagster_url, autocommit=True) as connection:
        model = connection.execute("SELECT run_id FROM runs WHERE partition = %s", (str(like),)).fetchone()
        assert model is not None, "the request to copy has no run"
        values = {"run_id": model[0], "key": str(like), "only_assets": len(keys) - whole_runs}
        connection.execute("CREATE TEMPORARY TABLE filler (n bigserial, key text, run_id text)")
        with connection.cursor().copy("COPY filler (key, run_id) FROM STDIN") as copy:
            for key in keys:
                copy.write_row((key, str(uuid4())))
        for statement in (*TAKE_MODEL, ADD_KEYS, COPY_RUNS, COPY_TAGS, COPY_EVENTS):
            connection.execute(statement, values)
        connection.execute("DROP TABLE filler")
        connection.execute("VACUUM ANALYZE")


def fill_queue(database_url: str, count: int) -> None:
    """Add requests that wait, of all users in turn, and pause the queues so that they go on waiting."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO pauses (queue, reason) VALUES ('*', %s)", (BACKLOG_REASON,))
        connection.execute(ADD_BACKLOG, {"count": count, "users": USERS})
        connection.execute("VACUUM ANALYZE jobs")
