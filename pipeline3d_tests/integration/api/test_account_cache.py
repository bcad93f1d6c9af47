"""A process keeps who a key belongs to, and hears of every change at once, whoever makes it."""

from __future__ import annotations

import contextlib

import httpx
import pytest

from pipeline3d.database.tables import api_keys, users
from pipeline3d.requests import accounts, sessions
from pipeline3d_tests.integration.api.api_fixtures import serving
from pipeline3d_tests.integration.requests.database_fixtures import OTHER_USERNAME
from pipeline3d_tests.servers import wait_until

NOTICED_WITHIN_S = 60.0
"""A second, on a machine that has nothing else to do; what is not heard is kept for an hour here."""


@pytest.fixture(scope="module")
def replicas(api_settings):
    """Two processes of the API, as it were: they share nothing but the database."""
    with contextlib.ExitStack() as stack:
        settings = {**api_settings, "account_cache_s": 5}
        yield [stack.enter_context(serving(settings, keep_for_an_hour)) for _ in range(2)]


def keep_for_an_hour(app):
    """Longer than can be configured, so that nothing is noticed by waiting, however slow the machine is."""
    app.state.services.access._keep_s = 3600.0


@pytest.fixture
def ask(replicas, rows):
    """The statuses that both replicas answer a key with; both have kept it."""
    other = rows.run(accounts.find_user(OTHER_USERNAME))[0]
    # a new one each time: what was kept of an earlier test's key may not have been heard of yet
    key = accounts.generate_api_key()
    rows.run(accounts.create_api_key(other.id, key, name="robot"))

    def statuses():
        return [httpx.get(f"{url}/api/v1/jobs/", headers={"x-api-key": key}).status_code for url in replicas]

    assert statuses() == [200, 200]
    yield statuses
    rows.run(users.update().values(is_active=True))
    rows.run(users.update().where(users.c.username == OTHER_USERNAME).values(role="member"))


ROBOT = api_keys.c.name == "robot"
OTHER = users.c.username == OTHER_USERNAME


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (api_keys.update().where(ROBOT).values(revoked_at=accounts.func.now()), 403),
        (api_keys.delete().where(ROBOT), 403),
        (api_keys.update().where(ROBOT).values(scopes=["keys:write"]), 403),
        (users.update().where(OTHER).values(is_active=False), 403),
    ],
    ids=["revoked", "deleted", "other scopes", "user deactivated"],
)
def test_every_replica_notices_a_change_within_a_second(ask, rows, change, status):
    rows.run(change)
    wait_until(lambda: ask() == [status, status], what="both replicas notice", deadline_s=NOTICED_WITHIN_S)


def test_a_key_that_is_kept_costs_no_question(ask, rows):
    def costs_nothing():
        # noting the use of a key changes nothing, and is not heard as a change
        rows.run(api_keys.update().where(ROBOT).values(last_used_at=None))
        assert ask() == [200, 200]
        [row] = rows.run(api_keys.select().where(ROBOT))
        return row.last_used_at is None  # it would have been noted by the question

    wait_until(costs_nothing, what="the making of the key was heard, and what is known is kept")


def test_a_session_that_was_ended_on_one_replica_is_ended_on_the_other(replicas, rows):
    other = rows.run(accounts.find_user(OTHER_USERNAME))[0]
    made = sessions.generate_session()
    [row] = rows.run(sessions.create_session(other.id, made, user_agent="", lifetime_s=60))
    cookies = httpx.Cookies({"p3d_session": made.token})
    with httpx.Client(cookies=cookies) as browser:
        here, there = (f"{url}/api/v1/users/me" for url in replicas)
        assert browser.get(here).status_code == browser.get(there).status_code == 200
        forged = {"x-csrf-token": made.csrf_token, "sec-fetch-site": "same-origin"}
        assert browser.delete(f"{replicas[0]}/api/v1/auth/session", headers=forged).status_code == 204
        with httpx.Client(cookies=cookies) as thief:
            assert thief.get(here).status_code == 401  # at once where it was ended
            wait_until(
                lambda: thief.get(there).status_code == 401, what="noticed", deadline_s=NOTICED_WITHIN_S
            )
    assert row.id
