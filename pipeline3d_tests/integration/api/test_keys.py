"""API keys of one's own: made, rotated, changed and revoked, and never more than their maker."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select, text

from pipeline3d.api.keys import MOST_KEYS
from pipeline3d.database.access_tables import audit_log
from pipeline3d.database.tables import api_keys, users
from pipeline3d.requests import accounts, keys
from pipeline3d.requests.audit import Action, Line
from pipeline3d.requests.leases import seconds_from_now
from pipeline3d_tests.integration.requests.database_fixtures import OTHER_USERNAME, PASSWORD, USERNAME
from pipeline3d_tests.servers import wait_until

KEYS = "/api/v1/keys"


@pytest.fixture
def make(api):
    """Make a key with the first user's, or with another, key; the answer's body."""

    def make_key(key=None, *, status=201, **body):
        headers = {} if key is None else {"x-api-key": key}
        answer = api.http.post(KEYS, json={"name": "ci", **body}, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    return make_key


@pytest.fixture
def me(api):
    """The status of asking who one is with a key."""
    return lambda key: api.http.get("/api/v1/users/me", headers={"x-api-key": key}).status_code


def test_a_new_key_is_shown_once_and_opens_the_api(api, make, me, rows):
    made = make(name="a robot", scopes=["jobs:read"], expires_in_s=3600, max_open_jobs=3)
    assert made["api_key"].startswith("p3d_")
    assert made["prefix"] == made["api_key"][:8]
    assert me(made["api_key"]) == 200
    listed = next(key for key in api.http.get(KEYS).json() if key["id"] == made["id"])
    assert "api_key" not in listed
    assert (listed["name"], listed["scopes"], listed["max_open_jobs"]) == ("a robot", ["jobs:read"], 3)
    [row] = rows.run(api_keys.select().where(api_keys.c.name == "a robot"))
    assert made["api_key"] not in repr(row)


def test_a_key_that_was_revoked_opens_nothing(api, make, me):
    made = make()
    answer = api.http.delete(f"{KEYS}/{made['id']}")
    assert answer.json()["revoked_at"] is not None
    assert me(made["api_key"]) == 403
    assert api.http.delete(f"{KEYS}/{made['id']}").json() == answer.json()  # again: nothing changes
    shown = [key["id"] for key in api.http.get(KEYS).json()]
    with_ended = [key["id"] for key in api.http.get(KEYS, params={"ended": True}).json()]
    assert made["id"] not in shown
    assert made["id"] in with_ended


def test_a_key_past_its_end_opens_nothing(make, me, rows):
    made = make(expires_in_s=60)
    rows.run(api_keys.update().where(api_keys.c.name == "ci").values(expires_at=seconds_from_now(-1)))
    assert me(made["api_key"]) == 403


@pytest.mark.parametrize(
    ("method", "path", "body", "needs"),
    [
        ("GET", "/jobs/", None, "jobs:read"),
        ("POST", "/jobs/upload-ticket", {"filename": "a.png", "content_type": "image/png"}, "jobs:write"),
        ("GET", "/keys", None, "keys:write"),
        ("POST", "/keys", {"name": "x"}, "keys:write"),
        ("GET", "/auth/sessions", None, "keys:write"),
    ],
)
def test_a_key_does_only_what_its_scopes_say(api, make, method, path, body, needs):
    every = {"jobs:read", "jobs:write", "keys:write"}
    for scopes, refused in (({needs}, False), (every - {needs}, True)):
        key = make(scopes=sorted(scopes))["api_key"]
        answer = api.http.request(method, f"/api/v1{path}", json=body, headers={"x-api-key": key})
        assert (answer.status_code == 403) == refused
        if refused:
            assert answer.json()["code"] == "missing_scope"


def test_a_key_never_gives_what_it_does_not_have(make):
    reader = make(scopes=["jobs:read", "keys:write"])["api_key"]
    refused = make(reader, scopes=["jobs:read", "jobs:write"], status=403)
    assert refused["code"] == "scope_not_yours"
    assert make(reader)["scopes"] == ["jobs:read", "keys:write"]  # all that its maker has


def test_a_key_does_not_get_hold_of_one_that_may_do_more(api, make):
    weak = {"x-api-key": make(scopes=["keys:write"])["api_key"]}
    strong = make(scopes=["jobs:write"])["id"]
    assert api.http.post(f"{KEYS}/{strong}/rotate", headers=weak).json()["code"] == "scope_not_yours"
    renamed = api.http.patch(f"{KEYS}/{strong}", json={"name": "mine"}, headers=weak)
    assert renamed.json()["code"] == "scope_not_yours"
    # but it may end it
    assert api.http.delete(f"{KEYS}/{strong}", headers=weak).status_code == 200


def test_a_key_with_limits_does_not_come_around_them(api, make):
    limited = make(requests_per_minute=100)
    headers = {"x-api-key": limited["api_key"]}
    assert make(limited["api_key"], status=403)["code"] == "limited_key"
    for body in ({"requests_per_minute": None}, {"name": "x"}):
        answer = api.http.patch(f"{KEYS}/{limited['id']}", json=body, headers=headers)
        assert answer.json()["code"] == "limited_key"
    other = make()["id"]
    assert api.http.post(f"{KEYS}/{other}/rotate", headers=headers).json()["code"] == "limited_key"
    rotated = api.http.post(f"{KEYS}/{limited['id']}/rotate", headers=headers)
    assert rotated.json()["requests_per_minute"] == 100  # its own secret it may change


@pytest.mark.parametrize("asked", [{"expires_in_s": None}, {"expires_in_s": 7200}])
def test_a_key_that_ends_makes_and_changes_none_that_lasts_longer(api, make, asked):
    ending = make(expires_in_s=3600)
    as_ending = {"x-api-key": ending["api_key"]}
    endless = make()["id"]
    for answer in (
        api.http.post(KEYS, json={"name": "ci", **asked}, headers=as_ending),
        api.http.patch(f"{KEYS}/{ending['id']}", json=asked, headers=as_ending),
        api.http.patch(f"{KEYS}/{endless}", json={"scopes": ["jobs:read"]}, headers=as_ending),
        api.http.post(f"{KEYS}/{endless}/rotate", headers=as_ending),
    ):
        refused = answer.json()
        assert (answer.status_code, refused["code"]) == (403, "end_not_yours")
        assert ending["expires_at"][:19] in refused["errors"][0]["message"]
    assert api.http.delete(f"{KEYS}/{endless}", headers=as_ending).status_code == 200


def test_what_a_key_that_ends_makes_ends_with_it(api, make):
    ending = make(expires_in_s=3600)
    as_ending = {"x-api-key": ending["api_key"]}
    assert make(ending["api_key"])["expires_at"] == ending["expires_at"]
    shorter = make(ending["api_key"], expires_in_s=1800)
    assert shorter["expires_at"] < ending["expires_at"]
    longer = api.http.patch(f"{KEYS}/{shorter['id']}", json={"expires_in_s": 3500}, headers=as_ending).json()
    assert shorter["expires_at"] < longer["expires_at"] < ending["expires_at"]
    # its own new secret lasts no longer either
    rotated = api.http.post(f"{KEYS}/{ending['id']}/rotate", headers=as_ending).json()
    assert rotated["expires_at"] == ending["expires_at"]


def test_an_earlier_secret_makes_nothing_that_outlives_its_time_of_grace(api, make):
    made = make()
    rotated = api.http.post(f"{KEYS}/{made['id']}/rotate", json={"grace_s": 600}).json()
    as_earlier = {"x-api-key": made["api_key"]}
    again = api.http.post(f"{KEYS}/{made['id']}/rotate", headers=as_earlier)
    assert again.json()["code"] == "end_not_yours"
    assert make(made["api_key"])["expires_at"] == rotated["earlier_secret_valid_until"]


def test_a_session_makes_keys_that_outlive_it(api_url, rows):
    with httpx.Client(base_url=api_url) as browser:
        login = {"username": USERNAME, "password": PASSWORD}
        token = browser.post("/api/v1/auth/session", json=login).json()["csrf_token"]
        headers = {"x-csrf-token": token, "sec-fetch-site": "same-origin"}
        made = browser.post(KEYS, json={"name": "ci"}, headers=headers)
    assert (made.status_code, made.json()["expires_at"]) == (201, None)


def test_the_key_of_a_login_makes_none_that_lasts_longer_and_stays_one(api, make):
    login = {"username": USERNAME, "password": PASSWORD}
    key = api.http.post("/api/v1/auth/login", json=login).json()["api_key"]
    as_login = {"x-api-key": key}
    [of_login] = [one for one in api.http.get(KEYS, headers=as_login).json() if one["current"]]
    assert make(key)["expires_at"] == of_login["expires_at"]
    # under another name it would outlive a change of the password
    renamed = api.http.patch(f"{KEYS}/{of_login['id']}", json={"name": "ci"}, headers=as_login)
    assert (renamed.status_code, renamed.json()["code"]) == (422, "reserved_name")
    # and under this one keys would not be counted
    assert make(name="login", status=422)["code"] == "reserved_name"


def test_an_earlier_secret_ends_with_its_key(api, make, me):
    made = make()
    api.http.post(f"{KEYS}/{made['id']}/rotate", json={"grace_s": 6000})
    changed = api.http.patch(f"{KEYS}/{made['id']}", json={"expires_in_s": 1}).json()
    assert changed["earlier_secret_valid_until"] == changed["expires_at"]
    wait_until(lambda: me(made["api_key"]) == 403, what="the earlier secret has ended")


def test_many_at_once_make_no_more_keys_than_there_may_be(api, rows):
    [me] = rows.run(accounts.find_user(USERNAME))
    [alive] = rows.run(select(func.count()).where(api_keys.c.user_id == me.id, keys.is_alive()))
    for number in range(MOST_KEYS - alive[0] - 5):
        rows.run(accounts.create_api_key(me.id, f"p3d_{number}", name="ci"))

    def ask(_number):
        return api.http.post(KEYS, json={"name": "ci"})

    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(ask, range(30)))
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [409] * 25
    assert {one.json()["code"] for one in answers if one.status_code == 409} == {"too_many_keys"}


def test_a_role_that_is_taken_away_takes_it_from_the_keys_too(api, rows, as_other):
    made = api.http.post(KEYS, json={"name": "ci"}, headers=as_other).json()
    headers = {"x-api-key": made["api_key"]}
    which = users.update().where(users.c.username == OTHER_USERNAME)
    ticket = {"filename": "a.png", "content_type": "image/png"}
    rows.run(which.values(role="analyst"))
    try:
        answer = api.http.post("/api/v1/jobs/upload-ticket", json=ticket, headers=headers)
        assert answer.json()["code"] == "missing_scope"
    finally:
        rows.run(which.values(role="member"))


class TestRotating:
    def test_the_new_secret_works_and_the_old_one_does_not(self, api, make, me):
        made = make(scopes=["jobs:read"])
        rotated = api.http.post(f"{KEYS}/{made['id']}/rotate").json()
        assert rotated["id"] == made["id"]
        assert rotated["scopes"] == ["jobs:read"]
        assert me(rotated["api_key"]) == 200
        assert me(made["api_key"]) == 403

    def test_the_old_secret_works_for_its_time_of_grace(self, api, make, me, rows):
        made = make()
        rotated = api.http.post(f"{KEYS}/{made['id']}/rotate", json={"grace_s": 600}).json()
        assert me(made["api_key"]) == me(rotated["api_key"]) == 200
        assert rotated["earlier_secret_valid_until"] is not None
        mine = [key for key in api.http.get(KEYS).json() if key["name"] == "ci"]
        assert [key["id"] for key in mine] == [made["id"]]  # one key, with two secrets
        earlier = api_keys.c.rotated_to.is_not(None)
        rows.run(api_keys.update().where(earlier).values(expires_at=seconds_from_now(-1)))
        assert me(made["api_key"]) == 403

    def test_both_secrets_are_the_same_key(self, api, make, rows):
        made = make(scopes=["jobs:read", "jobs:write"])
        api.http.post(f"{KEYS}/{made['id']}/rotate", json={"grace_s": 600})
        row = rows.run(accounts.find_user_of_key(), the_hash=accounts.hash_api_key(made["api_key"]))[0]
        assert str(row.key_id) == made["id"]

    def test_revoking_ends_both(self, api, make, me):
        made = make()
        rotated = api.http.post(f"{KEYS}/{made['id']}/rotate", json={"grace_s": 600}).json()
        api.http.delete(f"{KEYS}/{made['id']}")
        assert me(made["api_key"]) == me(rotated["api_key"]) == 403

    @pytest.mark.parametrize(
        ("method", "body", "code"),
        [("DELETE", None, "invalid_api_key"), ("PATCH", {"scopes": ["keys:write"]}, "missing_scope")],
    )
    def test_a_change_in_the_moment_of_the_rotation_counts_for_both(
        self, api, make, engine, method, body, code
    ):
        """The change waits for the rotation, and then does not see the earlier secret as a row."""
        made = make(scopes=["jobs:read", "keys:write"])
        new = accounts.generate_api_key()
        line = Line(action=Action.KEY_ROTATED)
        with ThreadPoolExecutor(1) as pool:
            with engine.begin() as connection:
                connection.execute(keys.rotate_key(UUID(made["id"]), new, grace_s=600, line=line))
                changing = pool.submit(api.http.request, method, f"{KEYS}/{made['id']}", json=body)
                waits = text("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
                wait_until(lambda: connection.execute(waits).first(), what="the change waits")
            assert changing.result().status_code == 200
        for secret in (made["api_key"], new):
            answer = api.http.get("/api/v1/jobs/", headers={"x-api-key": secret})
            assert answer.json()["code"] == code

    def test_what_is_changed_is_changed_of_both(self, api, make):
        made = make(scopes=["jobs:read", "keys:write"])
        api.http.post(f"{KEYS}/{made['id']}/rotate", json={"grace_s": 600})
        api.http.patch(f"{KEYS}/{made['id']}", json={"scopes": ["keys:write"]})
        answer = api.http.get("/api/v1/jobs/", headers={"x-api-key": made["api_key"]})
        assert answer.json()["code"] == "missing_scope"

    def test_a_key_that_ends_lives_as_long_again(self, api, make):
        made = make(expires_in_s=3600)
        rotated = api.http.post(f"{KEYS}/{made['id']}/rotate", json={"grace_s": 7200}).json()
        assert rotated["expires_at"] > made["expires_at"]
        # and grace is no longer than the old secret had
        assert rotated["earlier_secret_valid_until"] == made["expires_at"]

    def test_one_that_was_revoked_stays_so(self, api, make):
        made = make()
        api.http.delete(f"{KEYS}/{made['id']}")
        answer = api.http.post(f"{KEYS}/{made['id']}/rotate")
        assert (answer.status_code, answer.json()["code"]) == (409, "key_ended")


def test_what_is_sent_is_changed_and_the_rest_stays(api, make):
    made = make(scopes=["jobs:read"], max_open_jobs=5, expires_in_s=60)
    changed = api.http.patch(
        f"{KEYS}/{made['id']}", json={"max_open_jobs": None, "expires_in_s": None}
    ).json()
    assert (changed["max_open_jobs"], changed["expires_at"], changed["scopes"]) == (None, None, ["jobs:read"])
    assert api.http.patch(f"{KEYS}/{made['id']}", json={}).json() == changed


@pytest.mark.parametrize(("method", "path"), [("DELETE", ""), ("PATCH", ""), ("POST", "/rotate")])
def test_the_keys_of_others_do_not_exist(api, make, as_other, method, path):
    made = make()
    answer = api.http.request(method, f"{KEYS}/{made['id']}{path}", json={}, headers=as_other)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_key")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "x" * 101},
        {"name": "nul \0"},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["everything"]},
        {"name": "x", "expires_in_s": 0},
        {"name": "x", "expires_in_s": 10**12},
        {"name": "x", "max_open_jobs": -1},
        {"name": "x", "requests_per_minute": 0},
        {"name": "x", "monthly_cost_units": -0.5},
        {"name": "x", "max_jobs": 1},  # a limit that is misspelt is not no limit
    ],
)
def test_a_key_that_makes_no_sense_is_refused(make, body):
    assert make(status=422, **{"name": None, **body})["code"] == "invalid_request"


def test_the_log_says_what_was_done_to_keys_and_holds_none(api, make, rows):
    made = make(name="a robot")
    rotated = api.http.post(f"{KEYS}/{made['id']}/rotate", json={"grace_s": 60}).json()
    api.http.patch(f"{KEYS}/{made['id']}", json={"max_open_jobs": 5})
    api.http.delete(f"{KEYS}/{made['id']}")
    api.http.delete(f"{KEYS}/{made['id']}")
    lines = rows.run(audit_log.select().order_by(audit_log.c.id))
    assert [line.action for line in lines] == ["key.created", "key.rotated", "key.changed", "key.revoked"]
    assert {line.subject for line in lines} == {f"key:{made['id']}"}
    assert lines[2].details == {"max_open_jobs": 5}
    for secret in (made["api_key"], rotated["api_key"]):
        assert secret not in repr(lines)


def test_a_key_says_when_it_was_used(api, make, me):
    made = make()
    assert me(made["api_key"]) == 200
    listed = next(key for key in api.http.get(KEYS).json() if key["id"] == made["id"])
    assert listed["last_used_at"] is not None
    assert [key["current"] for key in api.http.get(KEYS).json()].count(True) == 1


def test_keys_work_with_a_slash_at_the_end_too(api_url, make):
    key = make()["api_key"]
    assert httpx.get(f"{api_url}{KEYS}/", headers={"x-api-key": key}).status_code == 200
