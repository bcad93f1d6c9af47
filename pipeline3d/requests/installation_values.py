"""What every host of an installation must agree on, kept where every host looks: in the jobs database.

Written by whoever prepares the installation, read by workers on other hosts, who so need only its addresses.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.postgresql import insert

from pipeline3d.database.tables import installation_values


def read_installation_values(engine: Engine) -> dict[str, str]:
    """All values by their names."""
    with engine.connect() as connection:
        rows = connection.execute(select(installation_values.c.name, installation_values.c.value))
        return {row.name: row.value for row in rows}


def store_installation_values(engine: Engine, values: Mapping[str, str]) -> None:
    """Store these values, in place of earlier ones; others stay."""
    if not values:
        return
    row = insert(installation_values)
    statement = row.on_conflict_do_update(
        index_elements=[installation_values.c.name],
        set_={"value": row.excluded.value, "updated_at": func.now()},
        where=installation_values.c.value.is_distinct_from(row.excluded.value),
    )
    with engine.begin() as connection:
        connection.execute(
            statement, [{"name": name, "value": value} for name, value in sorted(values.items())]
        )
