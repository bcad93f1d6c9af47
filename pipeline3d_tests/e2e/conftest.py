"""The whole installation, started once for all end-to-end tests."""

from collections.abc import Iterator

import pytest

from pipeline3d.client import Pipeline3dClient
from pipeline3d_tests.installation import Installation


@pytest.fixture(scope="session")
def installation(tmp_path_factory) -> Iterator[Installation]:
    data = tmp_path_factory.mktemp("installation") / "data"
    with Installation.running(data, SILENT_AFTER_S="8", LEASE_S="8") as running:
        yield running


@pytest.fixture
def client(installation) -> Iterator[Pipeline3dClient]:
    with installation.client() as signed_in:
        yield signed_in
