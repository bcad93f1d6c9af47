"""Which process uses which device, and which models it keeps there.

Runs before deployment: it adds one table, so nothing that runs notices.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TIME = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "device_leases",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("taken_at", TIME, nullable=True),
        sa.Column("reserved_bytes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("limit_bytes", sa.BigInteger(), nullable=True),
        sa.Column("free_bytes", sa.BigInteger(), nullable=True),
        sa.Column(
            "residents", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
        sa.Column("heartbeat_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(taken_at IS NULL) = (model IS NULL)", name=op.f("ck_device_leases_taken_is_whole")
        ),
        sa.PrimaryKeyConstraint("host", "device", "pid", name=op.f("pk_device_leases")),
    )


def downgrade() -> None:
    op.drop_table("device_leases")
