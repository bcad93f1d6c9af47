"""The benchmark of the API runs; what it measures is not judged here, what must be right is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
import uvicorn

from benchmarks import api as benchmark
from benchmarks import api_yardstick
from benchmarks.api_load import Plain
from benchmarks.api_site import API_KEY, Server, Site
from pipeline3d.requests import accounts
from pipeline3d_tests.integration.api.api_fixtures import serving
from pipeline3d_tests.servers import wait_until


@contextmanager
def serving_yardstick(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The yardstick in a thread; its address."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    server = uvicorn.Server(uvicorn.Config(api_yardstick.create_app(), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, what="the yardstick listens", interval_s=0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def test_the_benchmark_of_the_api_reports_every_bar(api_settings, engine, tmp_path, monkeypatch, capsys):
    database_url = api_settings["database_url"]
    site = Site(database_url=database_url, engine=engine, environment={}, folder=tmp_path)
    with engine.begin() as connection:
        connection.execute(accounts.create_user("bench", "no password"))
        user_id = connection.execute(accounts.find_user("bench")).one().id
        connection.execute(accounts.create_api_key(user_id, API_KEY, name="bench"))
    with (
        serving({**api_settings, "events_streams_per_user": 100}) as api_url,
        serving_yardstick(database_url, monkeypatch) as bare_url,
    ):
        api, bare = (Server(url=url, process=psutil.Process()) for url in (api_url, bare_url))
        routes = benchmark.plan_routes(site, api, bare)
        turns = benchmark.measure_routes(routes, Plain(), 1, seconds=0.1, connections=2)
        streams = benchmark.measure_streams(site, api, 20, per_s=20, seconds=0.5)
    report = benchmark.build_report(turns, streams)
    benchmark.print_table(report)
    assert "create, with a key" in capsys.readouterr().out
    assert all(row["per_s"] > 0 and row["failures"] == 0 for row in report["rows"].values())
    assert report["streams"]["received"] == report["streams"]["expected"] > 10
    holding = {name for name, found in report["bars"].items() if found["holds"]}
    assert holding >= {"events_missed", "streams_lost", "failures"}
