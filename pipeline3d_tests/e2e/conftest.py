"""The whole installation, started once for all end-to-end tests as a person starts it: `pipeline3d up`."""

from collections.abc import Iterator

import pytest

from pipeline3d.client import Pipeline3dClient
from pipeline3d_tests.e2e.inspection import QUICK_TO_NOTICE, InspectedInstallation


@pytest.fixture(scope="session")
def installation(tmp_path_factory) -> Iterator[InspectedInstallation]:
    with InspectedInstallation.running(
        tmp_path_factory.mktemp("installation") / "data",
        **QUICK_TO_NOTICE,
        PIPELINE3D_WEBHOOK_HOSTS="127.0.0.1",
    ) as running:
        yield running


@pytest.fixture
def client(installation) -> Iterator[Pipeline3dClient]:
    with installation.client() as signed_in:
        yield signed_in
