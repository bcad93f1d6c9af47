"""Fixtures that every test may use."""

pytest_plugins = [
    "pipeline3d_tests.servers",
    "pipeline3d_tests.integration.requests.database_fixtures",
    "pipeline3d_tests.integration.api.api_fixtures",
]
