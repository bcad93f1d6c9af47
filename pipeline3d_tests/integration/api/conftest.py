"""Fixtures of these tests: a real Postgres with a seeded database."""

from pipeline3d_tests.integration.requests.database_fixtures import (  # noqa: F401
    database_url,
    engine,
    ledger,
    own_database_url,
    rows,
    seeded_template,
    shared_database_url,
    shared_engine,
)
