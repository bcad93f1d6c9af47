"""The tables of who may come in: sessions of the studio page, failed logins, what was used, who did what."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

from pipeline3d.database.columns import NO_JSON, TIME, created_at, metadata

sessions = Table(
    "sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    # Hashes, as of keys: the cookie itself and the token against forged requests are with the browser only.
    Column("token_hash", Text, nullable=False, unique=True),
    Column("csrf_hash", Text, nullable=False),
    Column("user_agent", Text, nullable=False, server_default=""),
    Column("expires_at", TIME, nullable=False),
    Column("revoked_at", TIME),
    Column("last_seen_at", TIME, nullable=False, server_default=func.now()),
    created_at(),
    CheckConstraint("token_hash ~ '^[0-9a-f]{64}$'", name="token_hash_is_sha256"),
    CheckConstraint("csrf_hash ~ '^[0-9a-f]{64}$'", name="csrf_hash_is_sha256"),
)

login_attempts = Table(
    "login_attempts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("username", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("succeeded", Boolean, nullable=False),
    created_at(),
    Index("ix_login_attempts_username_created_at", "username", "created_at"),
    Index("ix_login_attempts_address_created_at", "address", "created_at"),
)

usage = Table(
    "usage",
    metadata,
    # What a user, or a key (then it is the key's id), used in a month.
    Column("owner_id", Uuid, primary_key=True),
    Column("month", Date, primary_key=True),
    Column("jobs", Integer, nullable=False, server_default="0"),
    Column("cost_units", Numeric(14, 3), nullable=False, server_default="0"),
)

audit_log = Table(
    "audit_log",
    metadata,
    # Kept when the user is gone, so it refers to nobody.
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("actor_id", Uuid),
    Column("actor", Text, nullable=False, server_default=""),
    # Which key or session was used.
    Column("credential", Text, nullable=False, server_default=""),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False, server_default=""),
    Column("details", JSONB, nullable=False, server_default=NO_JSON),
    Column("address", Text, nullable=False, server_default=""),
    Column("request_id", Text, nullable=False, server_default=""),
    created_at(),
    Index("ix_audit_log_created_at", "created_at"),
    Index("ix_audit_log_actor_id_id", "actor_id", "id"),
)
