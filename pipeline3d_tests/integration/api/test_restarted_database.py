"""A Postgres that stops and comes again: every way to it says so, and none needs a second try afterwards."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from pipeline3d.database.engines import create_sync_engine
from pipeline3d.database.migration import migrate
from pipeline3d.local.ports import choose_free_ports
from pipeline3d.requests.catalogue import load_catalogue
from pipeline3d.requests.seeding import seed
from pipeline3d_tests.integration.api.api_fixtures import JOBS, serving
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY, CATALOGUE, PASSWORD, USERNAME
from pipeline3d_tests.servers import PostgresServer, folder_in_memory

ORDER = {"model_id": "sculpt-v1", "prompt": "a mug"}
AT_ONCE = 6
"""So many connections each pool has at rest."""


@pytest.fixture
def mortal_server(tmp_path):
    with folder_in_memory(otherwise=tmp_path) as folder:
        server = PostgresServer(directory=folder / "server", port=choose_free_ports(["it"])["it"])
        server.start()
        yield server
        server.server.stop()


@pytest.fixture
def url(mortal_server, api_settings):
    database = mortal_server.fresh_database()
    migrate(database)
    engine = create_sync_engine(database)
    seed(engine, load_catalogue(CATALOGUE), username=USERNAME, password=PASSWORD, api_key=API_KEY)
    engine.dispose()
    with serving({**api_settings, "database_url": database, "dagster_pg_url": database}) as url:
        yield url


def test_a_database_that_restarts_is_told_everywhere_and_found_again_at_once(mortal_server, url):
    with httpx.Client(base_url=url, headers={"x-api-key": API_KEY}, timeout=30) as http:
        job = http.post(f"{JOBS}/", json=ORDER).json()["id"]
        asked = {
            "a job": ("GET", f"{JOBS}/{job}", {}),
            "all jobs": ("GET", f"{JOBS}/", {}),
            "a new job": ("POST", f"{JOBS}/", {"json": ORDER}),
            "a new key": ("POST", "/api/v1/keys", {"json": {"name": "shop"}}),
            "the database": ("GET", "/ready", {}),
        }

        def ask_all() -> dict[str, Counter[int]]:
            told = {}
            with ThreadPoolExecutor(AT_ONCE) as pool:
                for name, (method, path, options) in asked.items():
                    answers = [pool.submit(http.request, method, path, **options) for _ in range(AT_ONCE)]
                    told[name] = Counter(answer.result().status_code for answer in answers)
            return told

        well = ask_all()
        assert {status for statuses in well.values() for status in statuses} == {200, 201}
        mortal_server.server.stop()
        assert ask_all() == dict.fromkeys(asked, Counter({503: AT_ONCE}))
        mortal_server.start()
        assert ask_all() == well
