"""Whether what this service needs is there: each dependency asked at once, with its time and its trouble."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter

import anyio

from pipeline3d.api.bodies import DependencyRead
from pipeline3d.api.services import Services
from pipeline3d.database.revisions import is_older, newest_revision, read_revision
from pipeline3d.errors import DatabaseUnavailable, Pipeline3dError

CHECK_TIMEOUT_S = 6.0


async def check_dependencies(services: Services) -> list[DependencyRead]:
    """Ask every dependency at the same time."""
    checks: dict[str, Callable[[], Awaitable[None]]] = {
        "database": lambda: check_database(services),
        "object_store": lambda: services.ask_store(services.store.check),
    }
    answers: dict[str, DependencyRead] = {}

    async def ask(name: str) -> None:
        answers[name] = await _ask(name, checks[name])

    async with anyio.create_task_group() as group:
        for name in checks:
            group.start_soon(ask, name)
    return [answers[name] for name in checks]


async def check_database(services: Services) -> None:
    """Raise where Postgres does not answer, or misses what this version needs of its schema.

    A newer schema is no trouble: while a new version takes the place of this one, this one answers on.
    """
    async with services.engine.connect() as connection:
        found = await connection.run_sync(read_revision)
    if await anyio.to_thread.run_sync(is_older, found):
        raise DatabaseUnavailable(
            f"The database is at revision {found or 'none'}, this version needs {newest_revision()}.",
            hint="Run `pipeline3d migrate`.",
        )


async def _ask(name: str, check: Callable[[], Awaitable[None]]) -> DependencyRead:
    started = perf_counter()
    problem: str | None = None
    hint: str | None = None
    try:
        with anyio.fail_after(CHECK_TIMEOUT_S):
            await check()
    except Pipeline3dError as error:
        problem, hint = error.message, error.hint
    except TimeoutError:
        problem = f"No answer within {CHECK_TIMEOUT_S:g} seconds."
    except Exception as error:
        problem = f"The check failed ({type(error).__name__})."
    seconds = round(perf_counter() - started, 4)
    return DependencyRead(name=name, ok=problem is None, seconds=seconds, problem=problem, hint=hint)
