"""Indexes for the nightly prune: which requests expire, and which of them use an upload.

Runs before deployment: both are partial and small, and what runs takes no notice of them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_jobs_expires_at",
        "jobs",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_index(
        "ix_artifacts_uploads",
        "artifacts",
        ["storage_path"],
        unique=False,
        postgresql_where=sa.text("storage_path LIKE 'uploads/%'"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_artifacts_uploads",
        table_name="artifacts",
        postgresql_where=sa.text("storage_path LIKE 'uploads/%'"),
    )
    op.drop_index(
        "ix_jobs_expires_at", table_name="jobs", postgresql_where=sa.text("expires_at IS NOT NULL")
    )
