"""The tables of files that callers bring (uploads) and of links under which they share results."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from pipeline3d.database.columns import TIME, created_at, metadata

uploads = Table(
    "uploads",
    metadata,
    # A ticket and, once it is known that the object is there, what the object is.
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("storage_path", Text, nullable=False, unique=True),
    Column("filename", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    # What the caller said would come.
    Column("claimed_size_bytes", BigInteger),
    Column("claimed_sha256", Text),
    # Computed by us of the bytes that are stored, never taken on trust; and what the store called them: where
    # it calls them something else by now, they were replaced.
    Column("file_size_bytes", BigInteger),
    Column("sha256", Text),
    Column("etag", Text),
    # Until when the ticket works.
    Column("expires_at", TIME, nullable=False),
    Column("stored_at", TIME),
    # When its object was last named to its owner, who then has some days to use it.
    Column("last_given_at", TIME, nullable=False, server_default=func.now()),
    created_at(),
    CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256_form"),
    CheckConstraint("claimed_sha256 ~ '^[0-9a-f]{64}$'", name="claimed_sha256_form"),
    CheckConstraint("file_size_bytes >= 0", name="size_range"),
    CheckConstraint("claimed_size_bytes >= 0", name="claimed_size_range"),
    CheckConstraint(
        "(stored_at IS NULL) = (sha256 IS NULL) AND (stored_at IS NULL) = (etag IS NULL) "
        "AND (stored_at IS NULL) = (file_size_bytes IS NULL)",
        name="stored_is_whole",
    ),
    Index("ix_uploads_user_id_sha256", "user_id", "sha256", postgresql_where=text("sha256 IS NOT NULL")),
    Index("ix_uploads_open", "user_id", "expires_at", postgresql_where=text("stored_at IS NULL")),
    Index("ix_uploads_user_id_id", "user_id", "id"),
)

share_links = Table(
    "share_links",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    # The link itself is shown once; only its hash is stored.
    Column("token_hash", Text, nullable=False, unique=True),
    Column("prefix", Text, nullable=False),
    # What it opens: see `requests.sharing`.
    Column("scope", Text, nullable=False),
    Column("expires_at", TIME),
    Column("revoked_at", TIME),
    Column("last_used_at", TIME),
    Column("uses", Integer, nullable=False, server_default="0"),
    created_at(),
    CheckConstraint("token_hash ~ '^[0-9a-f]{64}$'", name="token_hash_is_sha256"),
)
