"""Failed logins are counted for the name and the address, whether the user exists or not."""

from __future__ import annotations

import threading

import httpx
import pytest

from pipeline3d.database.access_tables import login_attempts
from pipeline3d.requests.leases import seconds_from_now
from pipeline3d_tests.integration.api.api_fixtures import serving
from pipeline3d_tests.integration.requests.database_fixtures import PASSWORD, USERNAME

RIGHT = {"username": USERNAME, "password": PASSWORD}
WRONG = {**RIGHT, "password": "wrong"}
PER_USER, PER_ADDRESS = 2, 4


@pytest.fixture(scope="module")
def throttled_url(api_settings):
    limits = {"login_attempts_per_user": PER_USER, "login_attempts_per_address": PER_ADDRESS}
    with serving({**api_settings, **limits, "trusted_proxies": ["127.0.0.1"]}) as url:
        yield url


@pytest.fixture
def login(throttled_url, engine):
    """Log in from an address behind a trusted proxy."""

    def post(body, address="203.0.113.7", path="login"):
        headers = {"x-forwarded-for": address}
        return httpx.post(f"{throttled_url}/api/v1/auth/{path}", json=body, headers=headers, timeout=30)

    return post


@pytest.fixture
def names(rows):
    """Users with a password that nobody has: refused without the time that a name costs that nobody has."""
    made = [f"user{number}" for number in range(PER_ADDRESS)]
    for name in made:
        rows.user(name)
    return made


@pytest.mark.parametrize("path", ["login", "session"])
@pytest.mark.parametrize("username", [USERNAME, "nobody"])
def test_after_so_many_failures_not_even_the_right_password_is_looked_at(login, username, path):
    failed = [login({**WRONG, "username": username}, path=path).status_code for _ in range(PER_USER)]
    assert failed == [401] * PER_USER
    refused = login({**RIGHT, "username": username}, path=path)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_logins")
    assert 1 <= int(refused.headers["retry-after"]) <= 900


def test_who_waits_gets_in_again_and_refusals_do_not_make_it_longer(login, rows):
    for _ in range(PER_USER):
        login(WRONG)
    assert login(RIGHT).status_code == 429
    assert len(rows.run(login_attempts.select())) == PER_USER
    rows.run(login_attempts.update().values(created_at=seconds_from_now(-901)))
    assert login(RIGHT).status_code == 200


def test_a_login_that_succeeds_begins_the_count_anew(login):
    for _ in range(PER_USER - 1):
        login(WRONG)
    assert login(RIGHT).status_code == 200
    assert [login(WRONG).status_code for _ in range(PER_USER + 1)] == [401] * PER_USER + [429]


def test_an_address_that_tries_many_names_is_stopped_and_others_are_not(login, names):
    for name in names:
        assert login({**WRONG, "username": name}).status_code == 401
    assert login(RIGHT).status_code == 429
    assert login(RIGHT, address="198.51.100.1").status_code == 200


def test_the_addresses_of_one_ipv6_site_count_as_one(login, names):
    for number, name in enumerate(names):
        login({**WRONG, "username": name}, address=f"2001:db8:1:1::{number}")
    assert login(RIGHT, address="2001:db8:1:1:ffff::1").status_code == 429
    assert login(RIGHT, address="2001:db8:1:2::1").status_code == 200


def test_an_address_that_nobody_trusts_cannot_hide_behind_made_up_ones(api_settings, names):
    with serving({**api_settings, "login_attempts_per_address": 2}) as url:
        answers = [
            httpx.post(
                f"{url}/api/v1/auth/login",
                json={**WRONG, "username": names[number]},
                headers={"x-forwarded-for": f"203.0.113.{number}"},
            ).status_code
            for number in range(3)
        ]
    assert answers == [401, 401, 429]


def test_many_at_once_are_all_counted(login, rows):
    answers = []

    def attempt():
        answers.append(login(WRONG).status_code)

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # those whose count began before others were noted slip through; they are noted all the same
    assert answers.count(429) >= 1
    assert login(WRONG).status_code == 429
