"""Fixtures of these tests: the API over a real Postgres and a real object store."""

from pipeline3d_tests.integration.api.api_fixtures import (  # noqa: F401
    api,
    api_settings,
    api_url,
    as_other,
    shared_bucket,
    store,
)
from pipeline3d_tests.integration.requests.database_fixtures import (  # noqa: F401
    engine,
    ledger,
    own_database_url,
    rows,
    seeded_template,
    shared_database_url,
    shared_engine,
)
