"""An index for the models of a shop's products: found by the product's key, newest first.

Runs before deployment: partial, and empty where nobody asks for products.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_jobs_products",
        "jobs",
        ["user_id", sa.text("(params ->> 'product_key')"), sa.text("created_at DESC")],
        unique=False,
        postgresql_where=sa.text("kind = 'product_to_3d'"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_jobs_products", table_name="jobs", postgresql_where=sa.text("kind = 'product_to_3d'")
    )
