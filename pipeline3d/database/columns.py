"""What the definitions of all tables share: one catalogue of them, names of constraints, usual columns."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from sqlalchemy import Column, MetaData, func, text
from sqlalchemy.dialects.postgresql import TIMESTAMP

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

TIME = TIMESTAMP(timezone=True)
NO_JSON = text("'{}'::jsonb")
NO_TEXTS = text("'{}'::text[]")


def created_at() -> Column[object]:
    """When the row was made, by the clock of Postgres."""
    return Column("created_at", TIME, nullable=False, server_default=func.now())


def one_of(column: str, allowed: Iterable[StrEnum]) -> str:
    """The condition that a column holds a value of an enumeration."""
    values = ", ".join(f"'{value}'" for value in sorted(allowed))
    return f"{column} IN ({values})"
