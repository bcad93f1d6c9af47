"""A sensor whose database is away has nothing to do, which is no fault of the sensor."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import dagster as dg
from sqlalchemy.exc import OperationalError

from pipeline3d.errors import DatabaseUnavailable

P = ParamSpec("P")
Result = TypeVar("Result")


def skips_while_postgres_is_away(
    evaluate: Callable[P, Result],
) -> Callable[P, Result | dg.SkipReason]:
    """Skip the tick instead of failing it; what was claimed in it is claimed again when its lease ends."""

    @wraps(evaluate)
    def wrapped(*arguments: P.args, **options: P.kwargs) -> Result | dg.SkipReason:
        try:
            return evaluate(*arguments, **options)
        except (DatabaseUnavailable, OperationalError):
            return dg.SkipReason("Postgres does not answer.")

    return wrapped
