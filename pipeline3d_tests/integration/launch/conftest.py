"""Databases with all tables, and sites on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline3d_tests.integration.launch.dagster_fixtures import make_dagster_template
from pipeline3d_tests.integration.launch.launch_site import LaunchSite, open_site
from pipeline3d_tests.servers import PostgresServer


@pytest.fixture(scope="session")
def dagster_template(postgres_server: PostgresServer) -> str:
    """The name of a database with Dagster's tables, to be copied."""
    return make_dagster_template(postgres_server)


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
