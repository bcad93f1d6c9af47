"""The tables of the service: one definition that statements and migrations share.

Those of accounts, webhooks and files that callers bring or share are in modules of their own beside this one.
The database refuses what must never be stored: an unknown state, a finished request without its end, a
running one without its run, a failure without its code. Nothing here knows how a row is used.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from pipeline3d.database.columns import NO_JSON, NO_TEXTS, TIME, created_at, metadata, one_of
from pipeline3d.values import FINISHED_STATES, ArtifactType, EventType, JobState, Role

__all__ = [
    "NAMES_AN_UPLOAD",
    "api_keys",
    "artifacts",
    "batches",
    "device_leases",
    "idempotency_keys",
    "installation_values",
    "job_events",
    "jobs",
    "launched_runs",
    "metadata",
    "models",
    "pauses",
    "users",
    "workers",
]


users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("username", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("is_active", Boolean, nullable=False, server_default=text("true")),
    Column("is_superuser", Boolean, nullable=False, server_default=text("false")),
    # What its keys and sessions may do at most: see `requests.permissions`.
    Column("role", Text, nullable=False, server_default="member"),
    # Answers as an earlier system gave them, for front ends that are not changed; none is our own form.
    Column("compatibility", Text),
    # Requests of this user in work at a time; the installation's limit where none is set.
    Column("max_concurrent_jobs", Integer),
    # Jobs that have not ended, requests to the API in a minute, cost in a month; none is no limit of its own.
    Column("max_open_jobs", Integer),
    Column("requests_per_minute", Integer),
    Column("monthly_cost_units", Numeric(14, 3)),
    created_at(),
    CheckConstraint("char_length(username) BETWEEN 1 AND 150", name="username_length"),
    CheckConstraint("max_concurrent_jobs >= 0", name="concurrency_range"),
    CheckConstraint("max_open_jobs >= 0", name="open_jobs_range"),
    CheckConstraint("requests_per_minute >= 1", name="requests_range"),
    CheckConstraint("monthly_cost_units >= 0", name="cost_range"),
    CheckConstraint(one_of("role", Role), name="known_role"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    # The key itself is never stored: it has 256 random bits, so a plain hash cannot be guessed back.
    Column("key_hash", Text, nullable=False, unique=True),
    Column("prefix", Text, nullable=False),
    # None of them is everything that its user's role may do.
    Column("scopes", ARRAY(Text), nullable=False, server_default=NO_TEXTS),
    # As those of its user; both are kept to.
    Column("max_open_jobs", Integer),
    Column("requests_per_minute", Integer),
    Column("monthly_cost_units", Numeric(14, 3)),
    Column("expires_at", TIME),
    Column("revoked_at", TIME),
    Column("last_used_at", TIME),
    # An earlier secret of this other key, which works until it expires.
    Column("rotated_to", Uuid, ForeignKey("api_keys.id", ondelete="CASCADE")),
    created_at(),
    CheckConstraint("key_hash ~ '^[0-9a-f]{64}$'", name="key_hash_is_sha256"),
    Index("ix_api_keys_rotated_to", "rotated_to", postgresql_where=text("rotated_to IS NOT NULL")),
)

models = Table(
    "models",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("kind", Text, nullable=False),
    Column("family", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("pool", Text),
    Column("parameters_schema", JSONB, nullable=False, server_default=NO_JSON),
    Column("default_params", JSONB, nullable=False, server_default=NO_JSON),
    Column("licence", JSONB, nullable=False, server_default=NO_JSON),
    # What a request costs: see `requests.costs`.
    Column("costs", JSONB, nullable=False, server_default=NO_JSON),
    # Whether this installation can run it, and if not: a code, the reason, and what to do.
    Column("readiness", JSONB, nullable=False, server_default=text("""'{"ready": true}'::jsonb""")),
    Column("is_active", Boolean, nullable=False, server_default=text("true")),
    created_at(),
    Column("updated_at", TIME, nullable=False, server_default=func.now()),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="RESTRICT"), nullable=False),
    Column("model_id", Text, ForeignKey("models.id", ondelete="RESTRICT"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("family", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=JobState.QUEUED.value),
    Column("priority", SmallInteger, nullable=False, server_default="0"),
    Column("prompt", Text),
    Column("input_params", JSONB, nullable=False, server_default=NO_JSON),
    Column("params", JSONB, nullable=False, server_default=NO_JSON),
    Column("progress_percent", SmallInteger, nullable=False, server_default="0"),
    # No snapshot is NULL, not the JSON value null: "is there one?" is asked in SQL too.
    Column("progress", JSONB(none_as_null=True)),
    Column("attempt", Integer, nullable=False, server_default="1"),
    Column("max_attempts", Integer, nullable=False, server_default="3"),
    Column("leased_at", TIME),
    Column("lease_until", TIME),
    Column("not_before", TIME),
    Column("run_id", Text),
    Column("heartbeat_at", TIME),
    Column("error_code", Text),
    Column("error_stage", Text),
    Column("error_message", Text),
    Column("error_hint", Text),
    Column("error_retryable", Boolean),
    Column("idempotency_key", Text),
    Column("request_hash", Text),
    Column("tags", ARRAY(Text), nullable=False, server_default=NO_TEXTS),
    Column("metadata", JSONB, nullable=False, server_default=NO_JSON),
    Column("stage_seconds", JSONB, nullable=False, server_default=NO_JSON),
    Column("cancel_requested_at", TIME),
    Column("deadline", TIME),
    Column("expires_at", TIME),
    # Held by its owner: it waits, and is not dispatched before it is released.
    Column("held", Boolean, nullable=False, server_default=text("false")),
    # It waits for this other request of the same user to succeed, whose model it takes. Triggers set it, and
    # settle it when that request ends in whatever way: see the migration.
    Column("waits_for", Uuid),
    # The request whose model it takes, and the one of which it is a changed copy. They may be gone by now.
    Column("input_job_id", Uuid),
    Column("rerun_of", Uuid),
    Column("batch_id", Uuid, ForeignKey("batches.id", ondelete="SET NULL")),
    # The key that asked for it, for the limits of keys.
    Column("key_id", Uuid),
    Column("cost_units", Numeric(14, 3), nullable=False, server_default="0"),
    # Where its owner wants to be told of it: see `webhook_tables`.
    Column("callback_url", Text),
    Column("callback_events", ARRAY(Text), nullable=False, server_default=NO_TEXTS),
    Column("callback_format", Text),
    # Asked to be deleted: its owner does not see it any more, and what it left is being removed.
    Column("deleted_at", TIME),
    created_at(),
    Column("updated_at", TIME, nullable=False, server_default=func.now()),
    Column("started_at", TIME),
    Column("completed_at", TIME),
    UniqueConstraint("user_id", "idempotency_key"),
    CheckConstraint(one_of("state", JobState), name="known_state"),
    CheckConstraint("progress_percent BETWEEN 0 AND 100", name="progress_range"),
    CheckConstraint("priority BETWEEN -100 AND 100", name="priority_range"),
    CheckConstraint("attempt BETWEEN 1 AND max_attempts", name="attempt_range"),
    CheckConstraint(
        f"({one_of('state', FINISHED_STATES)}) = (completed_at IS NOT NULL)", name="finished_has_end"
    ),
    CheckConstraint(
        "state NOT IN ('CANCELING', 'RUNNING') "
        "OR (run_id IS NOT NULL AND started_at IS NOT NULL AND heartbeat_at IS NOT NULL)",
        name="running_has_run",
    ),
    CheckConstraint("state <> 'SUCCEEDED' OR progress_percent = 100", name="succeeded_is_complete"),
    CheckConstraint("(state = 'FAILED') = (error_code IS NOT NULL)", name="failed_has_code"),
    CheckConstraint(
        "(error_code IS NULL) = (error_message IS NULL) AND (error_code IS NULL) = (error_retryable IS NULL)",
        name="error_is_whole",
    ),
    CheckConstraint("(idempotency_key IS NULL) = (request_hash IS NULL)", name="idempotency_is_whole"),
    CheckConstraint("(leased_at IS NULL) = (lease_until IS NULL)", name="lease_is_whole"),
)

# Taking turns between users: the first queued ones of each user, without reading the rest of a long backlog.
Index(
    "ix_jobs_turns",
    jobs.c.model_id,
    jobs.c.user_id,
    jobs.c.priority.desc(),
    jobs.c.created_at,
    jobs.c.id,
    postgresql_where=text("state = 'QUEUED' AND NOT held AND waits_for IS NULL"),
)
# The few queued ones that have no turn yet: they are held, or wait for another request.
Index(
    "ix_jobs_set_aside",
    jobs.c.model_id,
    postgresql_where=text("state = 'QUEUED' AND (held OR waits_for IS NOT NULL)"),
)
# The models of a shop's product, the newest first.
Index(
    "ix_jobs_products",
    jobs.c.user_id,
    text("(params ->> 'product_key')"),
    jobs.c.created_at.desc(),
    postgresql_where=text("kind = 'product_to_3d'"),
)
# The finished ones of a product and of its variants, whose keys begin alike: anybody may ask for the newest.
Index(
    "ix_jobs_product_results",
    jobs.c.user_id,
    literal_column("(params ->> 'product_key')").label("product_key"),
    postgresql_ops={"product_key": "text_pattern_ops"},
    postgresql_where=text("kind = 'product_to_3d' AND state = 'SUCCEEDED' AND deleted_at IS NULL"),
)
# The few queued ones that are on their way to a run, wait for the time of a retry, or have a deadline.
Index(
    "ix_jobs_dispatched",
    jobs.c.lease_until,
    postgresql_where=text("state = 'QUEUED' AND lease_until IS NOT NULL"),
)
Index(
    "ix_jobs_retries",
    jobs.c.not_before,
    postgresql_where=text("state = 'QUEUED' AND not_before IS NOT NULL"),
)
Index(
    "ix_jobs_deadlines",
    jobs.c.deadline,
    postgresql_where=text("state = 'QUEUED' AND deadline IS NOT NULL"),
)
# How long a model takes: the newest finished requests of it.
Index(
    "ix_jobs_history_of_model",
    jobs.c.model_id,
    jobs.c.completed_at.desc(),
    postgresql_where=jobs.c.state == text("'SUCCEEDED'"),
)
Index("ix_jobs_own_newest_first", jobs.c.user_id, jobs.c.created_at.desc(), jobs.c.id.desc())
Index(
    "ix_jobs_running_by_heartbeat",
    jobs.c.heartbeat_at,
    postgresql_where=text("state IN ('CANCELING', 'RUNNING')"),
)
Index("ix_jobs_model_id", jobs.c.model_id)
# The few requests whose files are kept for a time only.
Index("ix_jobs_expires_at", jobs.c.expires_at, postgresql_where=text("expires_at IS NOT NULL"))

# Pages of one's own jobs of a state, of a batch, with a tag; the few that need another one, or are deleted.
Index("ix_jobs_own_by_state", jobs.c.user_id, jobs.c.state, jobs.c.created_at.desc(), jobs.c.id.desc())
Index("ix_jobs_batch_id", jobs.c.batch_id, postgresql_where=text("batch_id IS NOT NULL"))
Index("ix_jobs_waits_for", jobs.c.waits_for, postgresql_where=text("waits_for IS NOT NULL"))
Index("ix_jobs_input_job_id", jobs.c.input_job_id, postgresql_where=text("input_job_id IS NOT NULL"))
Index("ix_jobs_tags", jobs.c.tags, postgresql_using="gin", postgresql_where=text("tags <> '{}'::text[]"))
Index("ix_jobs_deleted_at", jobs.c.deleted_at, postgresql_where=text("deleted_at IS NOT NULL"))

batches = Table(
    "batches",
    metadata,
    # Requests that came together. What could not become a job is said here, by its place in the batch.
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", Text, nullable=False, server_default=""),
    Column("source", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("refused", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    created_at(),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    # What was answered to a request with a key, for as long as the key counts. The row commits together with
    # what the request made; the answer follows, and where a crash came between, it is made anew from that.
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("job_id", Uuid),
    Column("batch_id", Uuid),
    Column("status", SmallInteger),
    Column("answer", Text),
    created_at(),
    Column("expires_at", TIME, nullable=False),
    CheckConstraint("(status IS NULL) = (answer IS NULL)", name="answer_is_whole"),
    Index("ix_idempotency_keys_expires_at", "expires_at"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("asset", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("storage_path", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    # Unknown for an upload, which the caller wrote to the store directly.
    Column("sha256", Text),
    Column("file_size_bytes", BigInteger, nullable=False),
    Column("metadata", JSONB, nullable=False, server_default=NO_JSON),
    created_at(),
    UniqueConstraint("job_id", "asset", "name"),
    CheckConstraint(one_of("type", ArtifactType), name="known_type"),
    CheckConstraint("file_size_bytes >= 0", name="size_range"),
    CheckConstraint("attempt >= 1", name="attempt_range"),
    CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256_form"),
)

NAMES_AN_UPLOAD = text("storage_path LIKE 'uploads/%'")
"""Rows of `artifacts` whose object a caller uploaded: its key does not say which requests use it."""

Index("ix_artifacts_uploads", artifacts.c.storage_path, postgresql_where=NAMES_AN_UPLOAD)

job_events = Table(
    "job_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("event_type", Text, nullable=False),
    Column("payload", JSONB, nullable=False, server_default=NO_JSON),
    created_at(),
    Index("ix_job_events_job_id_id", "job_id", "id"),
    CheckConstraint(one_of("event_type", EventType), name="known_type"),
)

workers = Table(
    "workers",
    metadata,
    # A process of `pipeline3d worker`, from its start to its end.
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("queues", ARRAY(Text), nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("gpu", Text),
    Column("draining", Boolean, nullable=False, server_default=text("false")),
    Column("started_at", TIME, nullable=False, server_default=func.now()),
    Column("heartbeat_at", TIME, nullable=False, server_default=func.now()),
    CheckConstraint("concurrency >= 1", name="concurrency_range"),
)

launched_runs = Table(
    "launched_runs",
    metadata,
    # A Dagster run between its launch and its end: waiting for a worker (no worker_id) or in one.
    Column("run_id", Text, primary_key=True),
    Column("job_name", Text, nullable=False),
    Column("queue", Text, nullable=False),
    # The request and its attempt; none for a run that serves no request.
    Column("job_id", Uuid),
    Column("attempt", Integer),
    Column("launched_at", TIME, nullable=False, server_default=func.now()),
    # When the broker was last told; it may forget, so it is told again.
    Column("published_at", TIME, nullable=False, server_default=func.now()),
    Column("worker_id", Text),
    Column("worker_pid", Integer),
    Column("taken_at", TIME),
    Column("cancel_requested_at", TIME),
    CheckConstraint(
        "(worker_id IS NULL) = (taken_at IS NULL) AND (worker_id IS NULL) = (worker_pid IS NULL)",
        name="taken_is_whole",
    ),
    Index("ix_launched_runs_worker_id", "worker_id"),
    Index("ix_launched_runs_job_id", "job_id"),
)

pauses = Table(
    "pauses",
    metadata,
    # A queue whose requests are not dispatched for now; '*' is every queue.
    Column("queue", Text, primary_key=True),
    Column("reason", Text, nullable=False, server_default=""),
    created_at(),
)

installation_values = Table(
    "installation_values",
    metadata,
    # What every host of an installation must agree on, so that a worker needs no more than its URLs.
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("updated_at", TIME, nullable=False, server_default=func.now()),
)

device_leases = Table(
    "device_leases",
    metadata,
    # A process that uses a device: the models that it keeps there, and the run that works since `taken_at`.
    # Only shown: who may use the device is decided on its host.
    Column("host", Text, primary_key=True),
    Column("device", Text, primary_key=True),
    Column("pid", Integer, primary_key=True),
    Column("worker_id", Text),
    Column("run_id", Text),
    Column("model", Text),
    Column("taken_at", TIME),
    Column("reserved_bytes", BigInteger, nullable=False, server_default=text("0")),
    Column("limit_bytes", BigInteger),
    Column("free_bytes", BigInteger),
    Column("residents", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("heartbeat_at", TIME, nullable=False, server_default=func.now()),
    CheckConstraint("(taken_at IS NULL) = (model IS NULL)", name="taken_is_whole"),
)
