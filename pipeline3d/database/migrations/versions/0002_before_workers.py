"""Workers, launched runs, pauses, limits of users: what warm workers and their operators need.

Runs before deployment: it adds tables, indexes and one column without a default, so nothing that runs notices.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIME = postgresql.TIMESTAMP(timezone=True)
MOMENTS = {"ix_jobs_dispatched": "lease_until", "ix_jobs_retries": "not_before", "ix_jobs_deadlines": "deadline"}


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("queues", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("gpu", sa.Text(), nullable=True),
        sa.Column("draining", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("started_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("heartbeat_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("concurrency >= 1", name=op.f("ck_workers_concurrency_range")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "launched_runs",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("job_name", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("launched_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("published_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=True),
        sa.Column("worker_pid", sa.Integer(), nullable=True),
        sa.Column("taken_at", TIME, nullable=True),
        sa.Column("cancel_requested_at", TIME, nullable=True),
        sa.CheckConstraint(
            "(worker_id IS NULL) = (taken_at IS NULL) AND (worker_id IS NULL) = (worker_pid IS NULL)",
            name=op.f("ck_launched_runs_taken_is_whole"),
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_launched_runs")),
    )
    op.create_index("ix_launched_runs_worker_id", "launched_runs", ["worker_id"], unique=False)
    op.create_index("ix_launched_runs_job_id", "launched_runs", ["job_id"], unique=False)
    op.create_table(
        "pauses",
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("queue", name=op.f("pk_pauses")),
    )
    op.create_table(
        "installation_values",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("updated_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_installation_values")),
    )
    op.add_column("users", sa.Column("max_concurrent_jobs", sa.Integer(), nullable=True))
    op.create_check_constraint(op.f("ck_users_concurrency_range"), "users", "max_concurrent_jobs >= 0")
    op.drop_index("ix_jobs_claim", table_name="jobs", postgresql_where=sa.text("state = 'QUEUED'"))
    op.create_index(
        "ix_jobs_turns",
        "jobs",
        ["model_id", "user_id", sa.text("priority DESC"), "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'QUEUED'"),
    )
    for name, column in MOMENTS.items():
        op.create_index(
            name,
            "jobs",
            [column],
            unique=False,
            postgresql_where=sa.text(f"state = 'QUEUED' AND {column} IS NOT NULL"),
        )
    op.create_index(
        "ix_jobs_history_of_model",
        "jobs",
        ["model_id", sa.text("completed_at DESC")],
        unique=False,
        postgresql_where=sa.text("state = 'SUCCEEDED'"),
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_history_of_model", table_name="jobs", postgresql_where=sa.text("state = 'SUCCEEDED'"))
    for name in MOMENTS:
        op.drop_index(name, table_name="jobs")
    op.drop_index("ix_jobs_turns", table_name="jobs", postgresql_where=sa.text("state = 'QUEUED'"))
    op.create_index(
        "ix_jobs_claim",
        "jobs",
        [sa.text("priority DESC"), "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'QUEUED'"),
    )
    op.drop_constraint(op.f("ck_users_concurrency_range"), "users", type_="check")
    op.drop_column("users", "max_concurrent_jobs")
    op.drop_table("installation_values")
    op.drop_table("pauses")
    op.drop_index("ix_launched_runs_job_id", table_name="launched_runs")
    op.drop_index("ix_launched_runs_worker_id", table_name="launched_runs")
    op.drop_table("launched_runs")
    op.drop_table("workers")
