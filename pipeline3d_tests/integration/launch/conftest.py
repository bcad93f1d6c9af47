"""Databases with all tables, and sites on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline3d.launch.dagster_storage import migrate_dagster
from pipeline3d.local.environment import complete_environment
from pipeline3d_tests.integration.launch.launch_site import LaunchSite, open_site, write_home
from pipeline3d_tests.servers import PostgresServer


@pytest.fixture(scope="session")
def dagster_template(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database with Dagster's tables, to be copied."""
    url = postgres_server.fresh_database()
    home = tmp_path_factory.mktemp("dagster")
    write_home(home, captures_output=False)
    migrate_dagster(
        url,
        complete_environment({"DATABASE_URL": url, "DAGSTER_PG_URL": url, "DAGSTER_HOME": str(home)}),
    )
    return url.rsplit("/", 1)[-1]


@pytest.fixture
def site(
    fresh_database: Callable[..., str], seeded_template: str, dagster_template: str, tmp_path: Path
) -> Iterator[LaunchSite]:
    """A site whose runs the test itself executes."""
    with open_site(
        tmp_path,
        jobs_url=fresh_database(seeded_template),
        dagster_url=fresh_database(dagster_template),
        in_process=True,
    ) as opened:
        yield opened
