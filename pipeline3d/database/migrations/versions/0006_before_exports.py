"""Two further types of artifacts: exports of a model, and reports.

Runs before deployment. The old constraint is replaced without reading the table: every row has one of the
old types, which the new one allows too.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

NAME = "ck_artifacts_known_type"
OLD = ("INPUT", "INTERMEDIATE", "OUTPUT_MODEL", "PREVIEW", "LOG")
NEW = ("INPUT", "INTERMEDIATE", "OUTPUT_MODEL", "EXPORT", "REPORT", "PREVIEW", "LOG")


def upgrade() -> None:
    _replace(NEW)


def downgrade() -> None:
    op.execute("UPDATE artifacts SET type = 'INTERMEDIATE' WHERE type IN ('EXPORT', 'REPORT')")
    _replace(OLD)


def _replace(types: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{name}'" for name in types)
    op.execute(f"ALTER TABLE artifacts DROP CONSTRAINT {NAME}")
    op.execute(f"ALTER TABLE artifacts ADD CONSTRAINT {NAME} CHECK (type IN ({listed})) NOT VALID")
