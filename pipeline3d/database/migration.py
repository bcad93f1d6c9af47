"""Brings a database to the newest schema, from inside the program and without an alembic.ini.

Two migrations at once are safe: each waits for an advisory lock that ends with its transaction, so the
second finds nothing left to do. A migration that fails leaves the schema as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, select

from pipeline3d.database.engines import create_sync_engine
from pipeline3d.database.revisions import MIGRATIONS, newest_revision, read_revision

if TYPE_CHECKING:
    from alembic.config import Config

LOCK_ID = 0x7033_6461  # any number that no other program of the same database takes


def migrate(url: str, revision: str = "head") -> str | None:
    """Upgrade the database to `revision` and return the revision that it has afterwards."""
    if revision == "head" and (found := _look(url)) == newest_revision():
        return found  # as in nearly every start: Alembic need not be loaded
    from alembic import command

    return _run(url, lambda config: command.upgrade(config, revision))


def downgrade(url: str, revision: str) -> str | None:
    """Take the database back to `revision` (`base` removes every table) and return what it has then."""
    from alembic import command

    return _run(url, lambda config: command.downgrade(config, revision))


def build_alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; `connection` is the one that the migrations run on."""
    from alembic.config import Config

    config = Config()
    # Alembic reads the value through configparser, which takes % as its own
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _look(url: str) -> str | None:
    engine = create_sync_engine(url, pool_size=1)
    try:
        with engine.connect() as connection:
            return read_revision(connection)
    finally:
        engine.dispose()


def _run(url: str, change: Callable[[Config], None]) -> str | None:
    engine = create_sync_engine(url, pool_size=1)
    try:
        with engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(LOCK_ID)))
            change(build_alembic_config(connection))
            return read_revision(connection)
    finally:
        engine.dispose()
