"""Which revision a database has, and which one this version of the program needs.

Without Alembic: whoever only asks, as the API does for its readiness and every start that has nothing to
migrate, does not wait for a third of a second until it is loaded.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, text

MIGRATIONS = Path(__file__).parent / "migrations"
_ASSIGNED = re.compile(r"^(revision|down_revision) *= *(?:\"([^\"]+)\"|None)$", re.MULTILINE)


def read_revision(connection: Connection) -> str | None:
    """The revision that a database has now; None for a blank one."""
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return None
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if revision is None else str(revision)


@cache
def newest_revision() -> str:
    """The revision that no other one follows. Raises ValueError where that is not exactly one."""
    [newest] = _read_names("revision") - _read_names("down_revision")
    return newest


def is_older(revision: str | None) -> bool:
    """Whether a database of this revision misses something that this version of the program needs.

    One that this version does not know is of a later version, whose migrations that run before its deployment
    leave everything as this one needs it.
    """
    return revision is None or (revision != newest_revision() and revision in _read_names("revision"))


@cache
def _read_names(variable: str) -> frozenset[str]:
    files = (MIGRATIONS / "versions").glob("*.py")
    assigned = [pair for file in files for pair in _ASSIGNED.findall(file.read_text(encoding="utf-8"))]
    return frozenset(value for name, value in assigned if name == variable and value)
