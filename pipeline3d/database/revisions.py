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
    revisions: set[str] = set()
    followed: set[str] = set()
    for file in (MIGRATIONS / "versions").glob("*.py"):
        for name, value in _ASSIGNED.findall(file.read_text(encoding="utf-8")):
            (revisions if name == "revision" else followed).add(value)
    [newest] = revisions - followed
    return str(newest)
