"""Fixtures that every test may use, and the order in which the files of tests are begun."""

import functools
import gc
from collections.abc import Generator, Iterator

import httpx
import hypothesis
import pytest

pytest_plugins = [
    "pipeline3d_tests.servers",
    "pipeline3d_tests.integration.requests.database_fixtures",
    "pipeline3d_tests.integration.api.api_fixtures",
    "pipeline3d_tests.browsers",
]

LONGEST_FILES = (
    "e2e/test_whole_system.py",
    # What computes without a break goes beside the whole installation, which needs its time.
    "unit/imaging/test_photo_checks.py",
    "unit/generation/procedural/test_engine.py",
    "integration/defs/test_image_to_3d.py",
    "integration/defs/test_models.py",
    "integration/defs/test_publishing.py",
    "integration/api/test_studio_page.py",
    "unit/generation/inflation/test_engine.py",
    "unit/imaging/test_matting.py",
    "integration/launch/test_worker.py",
    "integration/defs/test_sensors.py",
    "integration/launch/test_launcher.py",
    "integration/launch/test_execution.py",
    "integration/launch/test_pooled_storage.py",
    "integration/launch/test_brokers.py",
    "integration/launch/test_compute_logs.py",
    "integration/local/test_postgres_server.py",
    "integration/local/test_stack.py",
    "integration/resources/test_housekeeping.py",
    "integration/api/test_idempotency.py",
    "contract/test_openapi.py",
    "unit/generation/serving/test_wrapper.py",
    "unit/benchmarks/test_triposr.py",
    "unit/wrappers/test_sf3d.py",
    "unit/wrappers/test_dreamfusion.py",
    "unit/test_what_is_loaded.py",
    "unit/benchmarks/test_inflate.py",
    "integration/api/test_page_pictures.py",
    "integration/requests/test_outlook.py",
)
"""Ten seconds and more each, begun before all others: whichever process begins one of them last keeps the
other processes waiting. The rest is in any order."""


# What a busy machine does slowly is no fault of the code.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


@pytest.fixture(scope="session", autouse=True)
def one_tls_context() -> Iterator[None]:
    """Each HTTP client reads the certificates of all authorities, for 30 ms of CPU: here once for all."""
    transports = httpx._transports.default
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transports, "create_ssl_context", functools.cache(transports.create_ssl_context))
        yield


@pytest.hookimpl(trylast=True)  # after the plugin that shuffles
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = config.rootpath / "pipeline3d_tests"
    places = {here / name: place for place, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collects without looking for garbage, of which there is none: that takes a quarter of the time.

    All that is there then is put aside, so that the tests' own garbage is found without a look through it.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
