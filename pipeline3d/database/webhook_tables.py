"""The tables of webhooks: who wants to be told, what is still to be told, and how each attempt went.

Rows of `webhook_deliveries` are written by Postgres itself: a trigger on `job_events` (migration 0007, its
function is `queue_webhooks`) joins each new line of history with the subscriptions of the job's owner. So the
message commits together with the change, whatever statement makes the change, and no statement can forget it.
It keeps what the job was at that moment, so that a later change or a deletion does not alter what is told.
Where nobody subscribed it costs one look into an index. The names of events are those of
`requests.event_types`; the trigger's form of them is the function `job_event_name`, and a test holds the two
together. After it inserted something it notifies `pipeline3d_webhooks`, which wakes the courier.
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
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from pipeline3d.database.columns import NO_TEXTS, TIME, created_at, metadata

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    # Which events; none of them is the end of a job, whichever it is.
    Column("events", ARRAY(Text), nullable=False, server_default=NO_TEXTS),
    # The secrets sign, so they must be read again. The one before counts beside the new one until then.
    Column("secret", Text, nullable=False),
    Column("previous_secret", Text),
    Column("previous_secret_until", TIME),
    Column("is_active", Boolean, nullable=False, server_default=text("true")),
    # Switched off by the service: since when nothing was delivered, and why.
    Column("failing_since", TIME),
    Column("disabled_at", TIME),
    Column("disabled_reason", Text),
    created_at(),
    Column("updated_at", TIME, nullable=False, server_default=func.now()),
)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    # One per user, which signs what goes to the addresses that single jobs name.
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("secret", Text, nullable=False),
    Column("previous_secret", Text),
    Column("previous_secret_until", TIME),
    created_at(),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    # The outbox: written by the trigger, taken by the courier, kept as the log.
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    # The account's endpoint, or none: then it goes to the address that the job itself names.
    Column("endpoint_id", Uuid, ForeignKey("webhook_endpoints.id", ondelete="CASCADE")),
    Column("url", Text, nullable=False),
    Column("job_id", Uuid),
    # What `webhook-id` says: the same at every attempt, and for every receiver of one event.
    Column("message_id", Text, nullable=False),
    Column("event", Text, nullable=False),
    # The form of the body: our own, or that of an earlier system.
    Column("format", Text, nullable=False, server_default="standard"),
    # The line of history and the job as it was then; and what was made of it at the first attempt, so that
    # every attempt sends the same bytes.
    Column("payload", JSONB, nullable=False),
    Column("body", Text),
    Column("state", Text, nullable=False, server_default="PENDING"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    # How many of the attempts failed since it was last asked for: its place in the plan of attempts.
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", TIME, nullable=False, server_default=func.now()),
    # Whoever delivers it now has it until then.
    Column("lease_until", TIME),
    Column("last_status", SmallInteger),
    Column("last_error", Text),
    created_at(),
    Column("delivered_at", TIME),
    CheckConstraint("state IN ('PENDING', 'DELIVERED', 'FAILED', 'DROPPED')", name="known_state"),
    Index(
        "ix_webhook_deliveries_due",
        "next_attempt_at",
        postgresql_where=text("state = 'PENDING'"),
    ),
    Index("ix_webhook_deliveries_endpoint_id_id", "endpoint_id", "id"),
    Index("ix_webhook_deliveries_job_id", "job_id"),
    Index("ix_webhook_deliveries_user_id_id", "user_id", "id"),
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column(
        "delivery_id", BigInteger, ForeignKey("webhook_deliveries.id", ondelete="CASCADE"), nullable=False
    ),
    Column("number", Integer, nullable=False),
    Column("status", SmallInteger),
    Column("error", Text),
    Column("milliseconds", Integer, nullable=False, server_default="0"),
    # The beginning of what the receiver answered, for whoever looks for the reason.
    Column("answer", Text, nullable=False, server_default=""),
    created_at(),
    Index("ix_webhook_attempts_delivery_id", "delivery_id"),
)
