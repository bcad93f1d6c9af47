"""What an API that web apps trust needs: accounts, idempotency, batches, webhooks, uploads, share links.

Runs before deployment: new tables, and new columns that have defaults or may be empty. An API of the version
before goes on: it neither reads nor needs any of it. Keys keep what they could do, now and as roles say.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

USER_CHECKS = {
    "open_jobs_range": "max_open_jobs >= 0",
    "requests_range": "requests_per_minute >= 1",
    "cost_range": "monthly_cost_units >= 0",
    "known_role": "role IN ('admin', 'analyst', 'member', 'operator')",
}

# What a job cost is given back where it brought nothing and that was not its owner's doing, and counts again
# where such a job is tried once more. A row of `usage` is there only where somebody has a limit.
GIVES_BACK = """
CREATE FUNCTION pipeline3d_recount_usage() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was_free boolean := OLD.state IN ('FAILED', 'EXPIRED')
        OR (OLD.state = 'CANCELED' AND OLD.started_at IS NULL);
    is_free boolean := NEW.state IN ('FAILED', 'EXPIRED')
        OR (NEW.state = 'CANCELED' AND NEW.started_at IS NULL);
    sign integer := was_free::integer - is_free::integer;
    owner uuid;
BEGIN
    IF sign <> 0 THEN
        FOREACH owner IN ARRAY ARRAY[NEW.user_id, NEW.key_id] LOOP
            UPDATE usage SET jobs = greatest(0, jobs + sign),
                cost_units = greatest(0, cost_units + sign * NEW.cost_units)
            WHERE owner_id = owner AND month = date_trunc('month', NEW.created_at AT TIME ZONE 'UTC')::date;
        END LOOP;
    END IF;
    RETURN NULL;
END
$$
"""
ON_CHANGE = """
CREATE TRIGGER recount_usage AFTER UPDATE OF state ON jobs FOR EACH ROW
WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION pipeline3d_recount_usage()
"""

JOB_EVENT_NAME = """
CREATE FUNCTION job_event_name(payload jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE payload ->> 'event'
    WHEN 'created' THEN 'job.created'
    WHEN 'dispatched' THEN 'job.dispatched'
    WHEN 'started' THEN 'job.started'
    WHEN 'progress' THEN 'job.progress'
    WHEN 'artifact' THEN 'job.artifact'
    WHEN 'attempt_failed' THEN CASE payload ->> 'state'
        WHEN 'QUEUED' THEN 'job.retrying'
        WHEN 'FAILED' THEN 'job.failed'
        WHEN 'CANCELED' THEN 'job.canceled'
        ELSE 'job.changed'
    END
    WHEN 'retried_by_hand' THEN 'job.retrying'
    WHEN 'held' THEN 'job.held'
    WHEN 'released' THEN 'job.released'
    WHEN 'cancel_requested' THEN CASE payload ->> 'state'
        WHEN 'CANCELING' THEN 'job.canceling'
        WHEN 'CANCELED' THEN 'job.canceled'
        ELSE 'job.changed'
    END
    WHEN 'succeeded' THEN 'job.succeeded'
    WHEN 'canceled' THEN 'job.canceled'
    WHEN 'expired' THEN 'job.expired'
    WHEN 'deleted' THEN 'job.deleted'
    ELSE 'job.changed'
END
"""
"""The name of a line of history for those who are told of it: `requests.event_types` in SQL."""

IS_SUBSCRIBED = """
CREATE FUNCTION is_subscribed(named text[], event text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN event = ANY (
    CASE WHEN named = '{}' THEN '{job.succeeded,job.failed,job.canceled,job.expired}'::text[] ELSE named END
)
"""
"""Whether a subscription hears an event; one that names none hears how a job ended."""

QUEUE_WEBHOOKS = """
CREATE FUNCTION queue_webhooks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Most jobs have nobody who wants to know: that is found out before anything is made.
    PERFORM FROM added
        CROSS JOIN LATERAL (SELECT user_id, callback_url FROM jobs WHERE jobs.id = added.job_id LIMIT 1) AS job
        WHERE job.callback_url IS NOT NULL
            OR EXISTS (SELECT FROM webhook_endpoints AS e WHERE e.user_id = job.user_id AND e.is_active);
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO webhook_deliveries (user_id, endpoint_id, url, job_id, message_id, event, format, payload)
    SELECT job.user_id, target.endpoint_id, target.url, job.id, 'evt_' || added.id, name.event, target.format,
        jsonb_build_object(
            'event_id', added.id, 'at', added.created_at, 'event', added.payload,
            'job', jsonb_build_object(
                'id', job.id, 'model_id', job.model_id, 'kind', job.kind, 'state', job.state,
                'attempt', job.attempt, 'max_attempts', job.max_attempts,
                'progress_percent', job.progress_percent, 'progress', job.progress,
                'error', CASE WHEN job.error_code IS NOT NULL THEN jsonb_build_object(
                    'code', job.error_code, 'stage', job.error_stage, 'message', job.error_message,
                    'hint', job.error_hint, 'retryable', job.error_retryable) END,
                'params', job.params, 'tags', job.tags, 'metadata', job.metadata, 'batch_id', job.batch_id,
                'created_at', job.created_at, 'started_at', job.started_at, 'completed_at', job.completed_at
            )
        )
    FROM added
        CROSS JOIN LATERAL (SELECT * FROM jobs WHERE jobs.id = added.job_id LIMIT 1) AS job
        CROSS JOIN LATERAL (SELECT job_event_name(added.payload) AS event) AS name
        CROSS JOIN LATERAL (
            -- Held until the commit: where an endpoint is being deleted, this waits and then leaves it out.
            SELECT * FROM (
                SELECT e.id AS endpoint_id, e.url, 'standard' AS format FROM webhook_endpoints AS e
                WHERE e.user_id = job.user_id AND e.is_active AND is_subscribed(e.events, name.event)
                FOR KEY SHARE
            ) AS endpoint
            UNION ALL
            SELECT NULL, job.callback_url, coalesce(job.callback_format, 'standard')
            WHERE job.callback_url IS NOT NULL AND is_subscribed(job.callback_events, name.event)
        ) AS target;
    IF FOUND THEN
        PERFORM pg_notify('pipeline3d_webhooks', '');
    END IF;
    RETURN NULL;
END $$
"""
"""Writes the messages that a new line of history means: see `database.webhook_tables`."""

ON_NEW_LINES = """
CREATE TRIGGER queue_webhooks AFTER INSERT ON job_events REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION queue_webhooks()
"""

WHERE_QUEUED = sa.text("state = 'QUEUED'")
WHERE_IN_LINE = sa.text("state = 'QUEUED' AND NOT held AND waits_for IS NULL")
WHERE_SET_ASIDE = sa.text("state = 'QUEUED' AND (held OR waits_for IS NOT NULL)")
TURNS: list[Any] = ["model_id", "user_id", sa.literal_column("priority DESC"), "created_at", "id"]

# A request that takes the model of another one waits as long as that one has not ended. The lock makes
# whoever ends the other wait until this one is stored: so that it is either seen to have ended here, or finds
# this one.
BEGIN_WAITING = """
CREATE FUNCTION begin_waiting_for_input() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    input_ended boolean;
BEGIN
    SELECT completed_at IS NOT NULL INTO input_ended FROM jobs WHERE id = NEW.input_job_id FOR SHARE;
    NEW.waits_for := CASE WHEN input_ended IS FALSE THEN NEW.input_job_id END;
    RETURN NEW;
END
$$;
CREATE TRIGGER begin_waiting_when_made BEFORE INSERT ON jobs FOR EACH ROW
    WHEN (NEW.input_job_id IS NOT NULL) EXECUTE FUNCTION begin_waiting_for_input();
CREATE TRIGGER begin_waiting_again BEFORE UPDATE OF state ON jobs FOR EACH ROW
    WHEN (NEW.input_job_id IS NOT NULL AND NEW.state = 'QUEUED' AND OLD.state <> 'QUEUED')
    EXECUTE FUNCTION begin_waiting_for_input()
"""

# However a request ends (also where its row goes), those that wait for it are released or fail with it, in
# the same transaction. A trigger, because no statement that ends requests can forget it, and because it looks
# with a snapshot of its own, which has what was stored while that statement waited.
SETTLE_WAITING = """
CREATE FUNCTION settle_those_waiting() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    succeeded boolean := false;
    waiting record;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        succeeded := NEW.state = 'SUCCEEDED';
    END IF;
    FOR waiting IN
        UPDATE jobs SET
            waits_for = NULL,
            updated_at = now(),
            state = CASE WHEN succeeded THEN state ELSE 'FAILED' END,
            completed_at = CASE WHEN NOT succeeded THEN now() END,
            leased_at = NULL,
            lease_until = NULL,
            error_code = CASE WHEN NOT succeeded THEN 'input_job_failed' END,
            error_message = CASE WHEN NOT succeeded THEN
                'Job ' || OLD.id || ', whose model this one takes, did not succeed.' END,
            error_hint = CASE WHEN NOT succeeded THEN
                'Retry that job and then this one, or name another one as input_job_id.' END,
            error_retryable = CASE WHEN NOT succeeded THEN true END
        WHERE waits_for = OLD.id AND state = 'QUEUED'
        RETURNING id, state, attempt, held, error_code, error_message, error_hint
    LOOP
        INSERT INTO job_events (job_id, event_type, payload) VALUES (
            waiting.id,
            CASE WHEN succeeded THEN 'INFO' ELSE 'ERROR' END,
            CASE WHEN succeeded THEN jsonb_build_object('event', 'released')
            ELSE jsonb_build_object(
                'event', 'attempt_failed', 'code', waiting.error_code, 'stage', NULL,
                'message', waiting.error_message, 'hint', waiting.error_hint, 'retryable', true
            ) END
            || jsonb_build_object(
                'input_job_id', OLD.id, 'state', waiting.state, 'attempt', waiting.attempt
            )
        );
        PERFORM pg_notify('pipeline3d_job_changes', waiting.id::text);
        IF succeeded AND NOT waiting.held THEN
            PERFORM pg_notify('pipeline3d_jobs', waiting.id::text);
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
CREATE TRIGGER settle_those_waiting_for_the_ended AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (OLD.completed_at IS NULL AND NEW.completed_at IS NOT NULL) EXECUTE FUNCTION settle_those_waiting();
CREATE TRIGGER settle_those_waiting_for_the_deleted AFTER DELETE ON jobs FOR EACH ROW
    WHEN (OLD.completed_at IS NULL) EXECUTE FUNCTION settle_those_waiting()
"""

# Every process of the API keeps for some seconds who a key belongs to; it is told at once that this changed,
# whoever changed it. What is only noted of a use (`last_used_at`, `last_seen_at`) changes nothing.
TELL_OF_ACCESS = """
CREATE FUNCTION pipeline3d_tell_of_access() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('pipeline3d_access', '');
    RETURN NULL;
END
$$
"""
WATCHED_OF_ACCESS = {
    "users": "is_active, is_superuser, role, compatibility, max_open_jobs, requests_per_minute, "
    "monthly_cost_units, username",
    "api_keys": "user_id, key_hash, scopes, max_open_jobs, requests_per_minute, monthly_cost_units, "
    "expires_at, revoked_at, rotated_to",
    "sessions": "user_id, token_hash, csrf_hash, expires_at, revoked_at",
}


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor", sa.Text(), server_default="", nullable=False),
        sa.Column("credential", sa.Text(), server_default="", nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "details",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("address", sa.Text(), server_default="", nullable=False),
        sa.Column("request_id", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index("ix_audit_log_actor_id_id", "audit_log", ["actor_id", "id"], unique=False)
    op.create_index("ix_audit_log_created_at", "audit_log", ["created_at"], unique=False)
    op.create_table(
        "login_attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_attempts")),
    )
    op.create_index(
        "ix_login_attempts_address_created_at", "login_attempts", ["address", "created_at"], unique=False
    )
    op.create_index(
        "ix_login_attempts_username_created_at", "login_attempts", ["username", "created_at"], unique=False
    )
    op.create_table(
        "usage",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("jobs", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cost_units", sa.Numeric(precision=14, scale=3), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "month", name=op.f("pk_usage")),
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column(
            "refused",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_batches_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_index(op.f("ix_batches_user_id"), "batches", ["user_id"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(status IS NULL) = (answer IS NULL)", name=op.f("ck_idempotency_keys_answer_is_whole")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_idempotency_keys_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("csrf_hash", sa.Text(), nullable=False),
        sa.Column("user_agent", sa.Text(), server_default="", nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "last_seen_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint("csrf_hash ~ '^[0-9a-f]{64}$'", name=op.f("ck_sessions_csrf_hash_is_sha256")),
        sa.CheckConstraint("token_hash ~ '^[0-9a-f]{64}$'", name=op.f("ck_sessions_token_hash_is_sha256")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_sessions_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_sessions_token_hash")),
    )
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"], unique=False)
    op.create_table(
        "uploads",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("storage_path", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("claimed_size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("claimed_sha256", sa.Text(), nullable=True),
        sa.Column("file_size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("stored_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "last_given_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_uploads_sha256_form")),
        sa.CheckConstraint("file_size_bytes >= 0", name=op.f("ck_uploads_size_range")),
        sa.CheckConstraint("claimed_sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_uploads_claimed_sha256_form")),
        sa.CheckConstraint("claimed_size_bytes >= 0", name=op.f("ck_uploads_claimed_size_range")),
        sa.CheckConstraint(
            "(stored_at IS NULL) = (sha256 IS NULL) AND (stored_at IS NULL) = (etag IS NULL) "
            "AND (stored_at IS NULL) = (file_size_bytes IS NULL)",
            name=op.f("ck_uploads_stored_is_whole"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_uploads_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
        sa.UniqueConstraint("storage_path", name=op.f("uq_uploads_storage_path")),
    )
    op.create_index(
        "ix_uploads_open",
        "uploads",
        ["user_id", "expires_at"],
        unique=False,
        postgresql_where=sa.text("stored_at IS NULL"),
    )
    op.create_index("ix_uploads_user_id_id", "uploads", ["user_id", "id"], unique=False)
    op.create_index(
        "ix_uploads_user_id_sha256",
        "uploads",
        ["user_id", "sha256"],
        unique=False,
        postgresql_where=sa.text("sha256 IS NOT NULL"),
    )
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "events", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'::text[]"), nullable=False
        ),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous_secret", sa.Text(), nullable=True),
        sa.Column("previous_secret_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("failing_since", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("disabled_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column(
            "updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_webhook_endpoints_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
    )
    op.create_index(op.f("ix_webhook_endpoints_user_id"), "webhook_endpoints", ["user_id"], unique=False)
    op.create_table(
        "webhook_secrets",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous_secret", sa.Text(), nullable=True),
        sa.Column("previous_secret_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_webhook_secrets_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_webhook_secrets")),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), server_default="standard", nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="PENDING", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "next_attempt_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_status", sa.SmallInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("delivered_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('PENDING', 'DELIVERED', 'FAILED', 'DROPPED')",
            name=op.f("ck_webhook_deliveries_known_state"),
        ),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoints.id"],
            name=op.f("fk_webhook_deliveries_endpoint_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_webhook_deliveries_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index(
        "ix_webhook_deliveries_due",
        "webhook_deliveries",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state = 'PENDING'"),
    )
    op.create_index(
        "ix_webhook_deliveries_endpoint_id_id", "webhook_deliveries", ["endpoint_id", "id"], unique=False
    )
    op.create_index("ix_webhook_deliveries_job_id", "webhook_deliveries", ["job_id"], unique=False)
    op.create_index("ix_webhook_deliveries_user_id_id", "webhook_deliveries", ["user_id", "id"], unique=False)
    op.create_table(
        "share_links",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_used_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("uses", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint("token_hash ~ '^[0-9a-f]{64}$'", name=op.f("ck_share_links_token_hash_is_sha256")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_share_links_job_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_share_links_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_share_links")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_share_links_token_hash")),
    )
    op.create_index(op.f("ix_share_links_job_id"), "share_links", ["job_id"], unique=False)
    op.create_index(op.f("ix_share_links_user_id"), "share_links", ["user_id"], unique=False)
    op.create_table(
        "webhook_attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("delivery_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("milliseconds", sa.Integer(), server_default="0", nullable=False),
        sa.Column("answer", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["webhook_deliveries.id"],
            name=op.f("fk_webhook_attempts_delivery_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_attempts")),
    )
    op.create_index("ix_webhook_attempts_delivery_id", "webhook_attempts", ["delivery_id"], unique=False)
    op.add_column("api_keys", sa.Column("max_open_jobs", sa.Integer(), nullable=True))
    op.add_column("api_keys", sa.Column("rotated_to", sa.Uuid(), nullable=True))
    op.create_index(
        "ix_api_keys_rotated_to",
        "api_keys",
        ["rotated_to"],
        unique=False,
        postgresql_where=sa.text("rotated_to IS NOT NULL"),
    )
    op.create_foreign_key(
        op.f("fk_api_keys_rotated_to"), "api_keys", "api_keys", ["rotated_to"], ["id"], ondelete="CASCADE"
    )
    op.add_column("api_keys", sa.Column("requests_per_minute", sa.Integer(), nullable=True))
    op.add_column(
        "api_keys", sa.Column("monthly_cost_units", sa.Numeric(precision=14, scale=3), nullable=True)
    )
    op.add_column("jobs", sa.Column("held", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("jobs", sa.Column("waits_for", sa.Uuid(), nullable=True))
    op.add_column("jobs", sa.Column("input_job_id", sa.Uuid(), nullable=True))
    op.add_column("jobs", sa.Column("rerun_of", sa.Uuid(), nullable=True))
    op.add_column("jobs", sa.Column("batch_id", sa.Uuid(), nullable=True))
    op.add_column("jobs", sa.Column("key_id", sa.Uuid(), nullable=True))
    op.add_column(
        "jobs", sa.Column("cost_units", sa.Numeric(precision=14, scale=3), server_default="0", nullable=False)
    )
    op.add_column("jobs", sa.Column("callback_url", sa.Text(), nullable=True))
    op.add_column(
        "jobs",
        sa.Column(
            "callback_events",
            postgresql.ARRAY(sa.Text()),
            server_default=sa.text("'{}'::text[]"),
            nullable=False,
        ),
    )
    op.add_column("jobs", sa.Column("callback_format", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("deleted_at", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.create_index(
        "ix_jobs_batch_id",
        "jobs",
        ["batch_id"],
        unique=False,
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_deleted_at",
        "jobs",
        ["deleted_at"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_product_results",
        "jobs",
        ["user_id", sa.literal_column("(params ->> 'product_key')").label("product_key")],
        unique=False,
        postgresql_ops={"product_key": "text_pattern_ops"},
        postgresql_where=sa.text("kind = 'product_to_3d' AND state = 'SUCCEEDED' AND deleted_at IS NULL"),
    )
    op.create_index(
        "ix_jobs_own_by_state",
        "jobs",
        ["user_id", "state", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_jobs_input_job_id",
        "jobs",
        ["input_job_id"],
        unique=False,
        postgresql_where=sa.text("input_job_id IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_tags",
        "jobs",
        ["tags"],
        unique=False,
        postgresql_using="gin",
        postgresql_where=sa.text("tags <> '{}'::text[]"),
    )
    op.create_index(
        "ix_jobs_waits_for",
        "jobs",
        ["waits_for"],
        unique=False,
        postgresql_where=sa.text("waits_for IS NOT NULL"),
    )
    op.create_foreign_key(
        op.f("fk_jobs_batch_id"), "jobs", "batches", ["batch_id"], ["id"], ondelete="SET NULL"
    )
    op.add_column(
        "models",
        sa.Column(
            "costs",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
    )
    # a request that is held, or waits for another one, has no turn: it is not read where turns are taken
    op.drop_index("ix_jobs_turns", table_name="jobs", postgresql_where=WHERE_QUEUED)
    op.create_index("ix_jobs_turns", "jobs", TURNS, unique=False, postgresql_where=WHERE_IN_LINE)
    op.create_index("ix_jobs_set_aside", "jobs", ["model_id"], unique=False, postgresql_where=WHERE_SET_ASIDE)
    op.execute(BEGIN_WAITING)
    op.execute(SETTLE_WAITING)
    op.add_column("users", sa.Column("role", sa.Text(), server_default="member", nullable=False))
    op.add_column("users", sa.Column("compatibility", sa.Text(), nullable=True))
    op.add_column("users", sa.Column("max_open_jobs", sa.Integer(), nullable=True))
    op.add_column("users", sa.Column("requests_per_minute", sa.Integer(), nullable=True))
    op.add_column("users", sa.Column("monthly_cost_units", sa.Numeric(precision=14, scale=3), nullable=True))
    for name, condition in USER_CHECKS.items():
        op.create_check_constraint(op.f(f"ck_users_{name}"), "users", condition)
    op.execute(GIVES_BACK)
    op.execute(ON_CHANGE)
    op.execute(TELL_OF_ACCESS)
    for table, columns in WATCHED_OF_ACCESS.items():
        op.execute(
            f"CREATE TRIGGER tell_of_access AFTER DELETE OR UPDATE OF {columns} ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION pipeline3d_tell_of_access()"
        )
    op.execute("UPDATE users SET role = 'admin' WHERE is_superuser")
    for definition in (JOB_EVENT_NAME, IS_SUBSCRIBED, QUEUE_WEBHOOKS, ON_NEW_LINES):
        op.execute(definition)
    # what a key could do until now is everything of its user
    op.execute("UPDATE api_keys SET scopes = '{}'")


def downgrade() -> None:
    op.execute("DROP TRIGGER queue_webhooks ON job_events")
    op.execute("DROP FUNCTION queue_webhooks()")
    op.execute("DROP FUNCTION is_subscribed(text[], text)")
    op.execute("DROP FUNCTION job_event_name(jsonb)")
    for table in ("users", "api_keys"):
        op.execute(f"DROP TRIGGER tell_of_access ON {table}")
    op.execute("DROP TRIGGER recount_usage ON jobs")
    op.execute("DROP FUNCTION pipeline3d_recount_usage")
    op.execute("UPDATE api_keys SET scopes = '{jobs:read,jobs:write}'")
    op.drop_column("users", "monthly_cost_units")
    op.drop_column("users", "requests_per_minute")
    op.drop_column("users", "max_open_jobs")
    op.drop_column("users", "compatibility")
    op.drop_column("users", "role")
    op.drop_column("models", "costs")
    for name in ("settle_those_waiting_for_the_deleted", "settle_those_waiting_for_the_ended"):
        op.execute(f"DROP TRIGGER {name} ON jobs")
    for name in ("begin_waiting_again", "begin_waiting_when_made"):
        op.execute(f"DROP TRIGGER {name} ON jobs")
    op.execute("DROP FUNCTION settle_those_waiting()")
    op.execute("DROP FUNCTION begin_waiting_for_input()")
    op.drop_index("ix_jobs_set_aside", table_name="jobs", postgresql_where=WHERE_SET_ASIDE)
    op.drop_index("ix_jobs_turns", table_name="jobs", postgresql_where=WHERE_IN_LINE)
    op.create_index("ix_jobs_turns", "jobs", TURNS, unique=False, postgresql_where=WHERE_QUEUED)
    op.drop_constraint(op.f("fk_jobs_batch_id"), "jobs", type_="foreignkey")
    op.drop_index("ix_jobs_tags", table_name="jobs", postgresql_where=sa.text("tags <> '{}'::text[]"))
    op.drop_index(
        "ix_jobs_input_job_id", table_name="jobs", postgresql_where=sa.text("input_job_id IS NOT NULL")
    )
    op.drop_index("ix_jobs_waits_for", table_name="jobs", postgresql_where=sa.text("waits_for IS NOT NULL"))
    op.drop_index("ix_jobs_own_by_state", table_name="jobs")
    op.drop_index(
        "ix_jobs_product_results",
        table_name="jobs",
        postgresql_where=sa.text("kind = 'product_to_3d' AND state = 'SUCCEEDED' AND deleted_at IS NULL"),
    )
    op.drop_index("ix_jobs_deleted_at", table_name="jobs", postgresql_where=sa.text("deleted_at IS NOT NULL"))
    op.drop_index("ix_jobs_batch_id", table_name="jobs", postgresql_where=sa.text("batch_id IS NOT NULL"))
    op.drop_column("jobs", "deleted_at")
    op.drop_column("jobs", "callback_format")
    op.drop_column("jobs", "callback_events")
    op.drop_column("jobs", "callback_url")
    op.drop_column("jobs", "cost_units")
    op.drop_column("jobs", "key_id")
    op.drop_column("jobs", "batch_id")
    op.drop_column("jobs", "rerun_of")
    op.drop_column("jobs", "input_job_id")
    op.drop_column("jobs", "waits_for")
    op.drop_column("jobs", "held")
    op.drop_column("api_keys", "monthly_cost_units")
    op.drop_column("api_keys", "requests_per_minute")
    op.drop_column("api_keys", "max_open_jobs")
    op.drop_constraint(op.f("fk_api_keys_rotated_to"), "api_keys", type_="foreignkey")
    op.drop_index(
        "ix_api_keys_rotated_to",
        table_name="api_keys",
        postgresql_where=sa.text("rotated_to IS NOT NULL"),
    )
    op.drop_column("api_keys", "rotated_to")
    op.drop_index("ix_webhook_attempts_delivery_id", table_name="webhook_attempts")
    op.drop_table("webhook_attempts")
    op.drop_index(op.f("ix_share_links_user_id"), table_name="share_links")
    op.drop_index(op.f("ix_share_links_job_id"), table_name="share_links")
    op.drop_table("share_links")
    op.drop_index("ix_webhook_deliveries_user_id_id", table_name="webhook_deliveries")
    op.drop_index("ix_webhook_deliveries_job_id", table_name="webhook_deliveries")
    op.drop_index("ix_webhook_deliveries_endpoint_id_id", table_name="webhook_deliveries")
    op.drop_index(
        "ix_webhook_deliveries_due",
        table_name="webhook_deliveries",
        postgresql_where=sa.text("state = 'PENDING'"),
    )
    op.drop_table("webhook_deliveries")
    op.drop_table("webhook_secrets")
    op.drop_index(op.f("ix_webhook_endpoints_user_id"), table_name="webhook_endpoints")
    op.drop_table("webhook_endpoints")
    op.drop_index(
        "ix_uploads_user_id_sha256", table_name="uploads", postgresql_where=sa.text("sha256 IS NOT NULL")
    )
    op.drop_index("ix_uploads_user_id_id", table_name="uploads")
    op.drop_index("ix_uploads_open", table_name="uploads")
    op.drop_table("uploads")
    op.drop_index(op.f("ix_sessions_user_id"), table_name="sessions")
    op.drop_table("sessions")
    op.execute("DROP FUNCTION pipeline3d_tell_of_access")
    op.drop_index("ix_idempotency_keys_expires_at", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_index(op.f("ix_batches_user_id"), table_name="batches")
    op.drop_table("batches")
    op.drop_table("usage")
    op.drop_index("ix_login_attempts_username_created_at", table_name="login_attempts")
    op.drop_index("ix_login_attempts_address_created_at", table_name="login_attempts")
    op.drop_table("login_attempts")
    op.drop_index("ix_audit_log_created_at", table_name="audit_log")
    op.drop_index("ix_audit_log_actor_id_id", table_name="audit_log")
    op.drop_table("audit_log")
