"""Signing in at a browser: the cookie, the token against forged requests, the end of a session."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import text

from pipeline3d.database.access_tables import audit_log, sessions
from pipeline3d.database.tables import api_keys, users
from pipeline3d.requests import accounts
from pipeline3d.requests.leases import seconds_from_now
from pipeline3d_tests.integration.api.api_fixtures import serving
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY, PASSWORD, USERNAME
from pipeline3d_tests.servers import wait_until

LOGIN = {"username": USERNAME, "password": PASSWORD}
SESSION = "/api/v1/auth/session"
SAME_ORIGIN = {"sec-fetch-site": "same-origin"}
CANCEL = "/api/v1/jobs/00000000-0000-7000-8000-000000000000/cancel"


@pytest.fixture
def browser(api_url, engine):
    """Somebody without a key, who keeps cookies."""
    with httpx.Client(base_url=api_url, timeout=30) as http:
        yield http


@pytest.fixture
def signed_in(browser):
    """A browser with a session, and the headers of a page's changes."""
    answer = browser.post(SESSION, json=LOGIN)
    assert answer.status_code == 200, answer.text
    browser.headers.update({"x-csrf-token": answer.json()["csrf_token"], **SAME_ORIGIN})
    return browser


def codes(*answers):
    return [(answer.status_code, answer.json()["code"]) for answer in answers]


def test_signing_in_sets_a_cookie_that_no_script_can_read_and_no_other_site_sends(browser):
    answer = browser.post(SESSION, json=LOGIN)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("p3d_session=p3s_")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert (body["username"], body["role"]) == (USERNAME, "admin")
    assert "jobs:write" in body["scopes"]
    assert browser.get("/api/v1/users/me").json()["username"] == USERNAME


def test_behind_tls_the_cookie_is_secure(api_settings, engine):
    with serving({**api_settings, "trusted_proxies": ["127.0.0.1"]}) as url:
        over_tls = httpx.post(url + SESSION, json=LOGIN, headers={"x-forwarded-proto": "https"})
        assert "Secure" in over_tls.headers["set-cookie"]


def test_a_cookie_that_somebody_planted_does_not_become_the_session(browser, rows):
    planted = "p3s_" + "a" * 43
    browser.cookies.set("p3d_session", planted)
    answer = browser.post(SESSION, json=LOGIN)
    assert planted not in answer.headers["set-cookie"]
    [session] = rows.run(sessions.select())
    assert session.token_hash != accounts.hash_api_key(planted)


def test_nothing_that_is_stored_opens_a_session(signed_in, rows, api_url):
    [row] = rows.run(sessions.select())
    for stored in (row.token_hash, row.csrf_hash, str(row.id)):
        answer = httpx.get(f"{api_url}/api/v1/users/me", cookies={"p3d_session": stored})
        assert codes(answer) == [(401, "session_ended")]
    token = signed_in.cookies["p3d_session"]
    assert token not in repr(row)
    # and the token of a session is no key
    as_key = httpx.get(f"{api_url}/api/v1/users/me", headers={"x-api-key": token})
    assert codes(as_key) == [(403, "invalid_api_key")]


def test_a_page_that_was_loaded_again_is_told_its_token_again(browser):
    first = browser.post(SESSION, json=LOGIN).json()
    assert browser.get(SESSION).json() == first


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        (SAME_ORIGIN, True),
        ({"origin": "SELF"}, True),
        (
            {"sec-fetch-site": "same-origin", "origin": "https://proxy.example.com"},
            True,
        ),  # a proxy in between
        ({}, False),  # a browser always says where from
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "SELF"}, False),
        ({"origin": "https://evil.example.com"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://127.0.0.1"}, False),  # another port is another origin
        ({**SAME_ORIGIN, "x-csrf-token": ""}, False),
        ({**SAME_ORIGIN, "x-csrf-token": "guessed"}, False),
    ],
)
def test_a_change_needs_the_token_and_a_page_of_this_service(browser, headers, allowed):
    token = browser.post(SESSION, json=LOGIN).json()["csrf_token"]
    own = str(browser.base_url).rstrip("/")
    sent = {"x-csrf-token": token} | {
        name: own if value == "SELF" else value for name, value in headers.items()
    }
    answer = browser.post(CANCEL, headers=sent)
    assert codes(answer) == [(404, "unknown_job") if allowed else (403, "csrf_failed")]


def test_what_only_reads_needs_no_token(browser):
    browser.post(SESSION, json=LOGIN)
    assert browser.get("/api/v1/jobs/", headers={"sec-fetch-site": "cross-site"}).status_code == 200


def test_the_token_of_one_session_is_of_no_use_in_another(browser, api_url):
    other = httpx.post(api_url + SESSION, json=LOGIN).json()["csrf_token"]
    browser.post(SESSION, json=LOGIN)
    answer = browser.post(CANCEL, headers={"x-csrf-token": other, **SAME_ORIGIN})
    assert codes(answer) == [(403, "csrf_failed")]


def test_another_site_cannot_sign_anybody_in(browser):
    answer = browser.post(SESSION, json=LOGIN, headers={"sec-fetch-site": "cross-site"})
    assert codes(answer) == [(403, "csrf_failed")]
    assert "set-cookie" not in answer.headers


def test_a_key_wins_over_a_cookie_and_needs_no_token(browser, as_other):
    browser.post(SESSION, json=LOGIN)
    assert browser.get("/api/v1/users/me", headers=as_other).json()["username"] == "grace"
    assert browser.post(CANCEL, headers=as_other).status_code == 404
    # and a key that is wrong is not made good by a cookie
    assert codes(browser.get("/api/v1/users/me", headers={"x-api-key": "wrong"})) == [
        (403, "invalid_api_key")
    ]


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {API_KEY}", 200),
        (f"bearer  {API_KEY}", 200),
        ("Bearer wrong", 403),
        ("Bearer", 401),
        ("Basic YWRhOng=", 401),  # of a proxy in front, perhaps
    ],
)
def test_a_key_may_come_as_a_bearer_token(browser, authorization, status):
    assert browser.get("/api/v1/users/me", headers={"authorization": authorization}).status_code == status


def test_signing_out_ends_the_session_and_its_cookie(signed_in):
    stolen = signed_in.cookies["p3d_session"]
    answer = signed_in.delete(SESSION)
    assert answer.status_code == 204
    assert "p3d_session" not in signed_in.cookies
    assert codes(signed_in.get(SESSION)) == [(401, "no_session")]
    signed_in.cookies["p3d_session"] = stolen
    assert codes(signed_in.get(SESSION)) == [(401, "session_ended")]


def test_signing_in_again_ends_the_session_that_the_browser_had(signed_in, rows):
    former = signed_in.cookies["p3d_session"]
    assert signed_in.post(SESSION, json=LOGIN).status_code == 200
    assert signed_in.cookies["p3d_session"] != former
    with httpx.Client(base_url=signed_in.base_url, cookies={"p3d_session": former}) as old:
        assert codes(old.get("/api/v1/users/me")) == [(401, "session_ended")]


@pytest.mark.parametrize(
    "past",
    [{"expires_at": seconds_from_now(-1)}, {"last_seen_at": seconds_from_now(-9 * 3600)}],
    ids=["too old", "not used for too long"],
)
def test_a_session_ends_by_itself(signed_in, rows, past):
    rows.run(sessions.update().values(**past))
    assert codes(signed_in.get("/api/v1/users/me")) == [(401, "session_ended")]
    assert signed_in.get("/api/v1/users/me").headers["www-authenticate"]


def test_a_use_is_noted_so_that_a_session_in_use_goes_on(signed_in, rows):
    rows.run(sessions.update().values(last_seen_at=seconds_from_now(-3600)))
    signed_in.get("/api/v1/users/me")
    [row] = rows.run(sessions.select().where(sessions.c.last_seen_at > seconds_from_now(-60)))
    assert row.revoked_at is None


def test_a_session_of_a_user_who_was_deactivated_opens_nothing(signed_in, rows):
    rows.run(users.update().where(users.c.username == USERNAME).values(is_active=False))
    try:
        assert codes(signed_in.get("/api/v1/users/me")) == [(401, "session_ended")]
    finally:
        rows.run(users.update().where(users.c.username == USERNAME).values(is_active=True))


def test_one_sees_ones_sessions_and_ends_others(signed_in, api_url):
    with httpx.Client(base_url=api_url, headers={"user-agent": "A phone"}) as phone:
        phone.post(SESSION, json=LOGIN)
        listed = signed_in.get("/api/v1/auth/sessions").json()
        assert [(one["user_agent"], one["current"]) for one in listed][0] == ("A phone", False)
        assert [one["current"] for one in listed] == [False, True]
        assert signed_in.delete("/api/v1/auth/sessions").json() == {"ended": 1}
        assert codes(phone.get("/api/v1/users/me")) == [(401, "session_ended")]
    [own] = signed_in.get("/api/v1/auth/sessions").json()
    assert signed_in.delete(f"/api/v1/auth/sessions/{own['id']}").json() == {"ended": 1}
    assert codes(signed_in.get("/api/v1/users/me")) == [(401, "session_ended")]


def test_nobody_ends_the_sessions_of_others(signed_in, api_url, as_other):
    [own] = signed_in.get("/api/v1/auth/sessions").json()
    answer = httpx.delete(f"{api_url}/api/v1/auth/sessions/{own['id']}", headers=as_other)
    assert answer.json() == {"ended": 0}
    assert signed_in.get("/api/v1/users/me").status_code == 200


def test_a_key_has_no_session_to_end(api):
    assert codes(api.http.delete(SESSION)) == [(401, "no_session")]


@pytest.fixture
def lovelace(rows):
    """A user whose password may be changed."""
    quick_hash = rows.run(accounts.find_user(USERNAME))[0].password_hash
    row = rows.run(accounts.create_user("lovelace", quick_hash))[0]
    return {"username": "lovelace", "password": PASSWORD, "id": row.id}


def test_a_new_password_ends_other_sessions_and_keys_of_logins(api_url, rows, lovelace):
    login = {name: lovelace[name] for name in ("username", "password")}
    with httpx.Client(base_url=api_url) as mine, httpx.Client(base_url=api_url) as other:
        token = mine.post(SESSION, json=login).json()["csrf_token"]
        mine.headers.update({"x-csrf-token": token, **SAME_ORIGIN})
        other.post(SESSION, json=login)
        login_key = httpx.post(f"{api_url}/api/v1/auth/login", json=login).json()["api_key"]
        made_key = mine.post("/api/v1/keys", json={"name": "ci"}).json()["api_key"]
        change = {"current_password": PASSWORD, "new_password": "a longer engine"}
        wrong = mine.post("/api/v1/auth/password", json={**change, "current_password": "no"})
        assert codes(wrong) == [(401, "login_failed")]
        short = mine.post("/api/v1/auth/password", json={**change, "new_password": "short"})
        assert short.status_code == 422
        assert mine.post("/api/v1/auth/password", json=change).status_code == 204
        assert mine.get("/api/v1/users/me").status_code == 200
        assert other.get("/api/v1/users/me").status_code == 401
    me = f"{api_url}/api/v1/users/me"
    assert httpx.get(me, headers={"x-api-key": login_key}).status_code == 403
    assert httpx.get(me, headers={"x-api-key": made_key}).status_code == 200
    assert httpx.post(api_url + SESSION, json=login).status_code == 401
    assert httpx.post(api_url + SESSION, json={**login, "password": "a longer engine"}).status_code == 200


def test_a_password_is_changed_with_all_that_it_ends_or_not_at_all(api_url, rows, engine, lovelace):
    login = {name: lovelace[name] for name in ("username", "password")}
    key = httpx.post(f"{api_url}/api/v1/auth/login", json=login).json()["api_key"]
    httpx.post(api_url + SESSION, json=login)
    change = {"current_password": PASSWORD, "new_password": "a longer engine"}
    asked = {"url": f"{api_url}/api/v1/auth/password", "json": change, "headers": {"x-api-key": key}}
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as holding:
            holding.execute(sessions.select().with_for_update())
            changing = pool.submit(httpx.post, **asked, timeout=30)
            waits = text("SELECT DISTINCT pid FROM pg_locks WHERE NOT granted")
            wait_until(lambda: holding.execute(waits).all(), what="the change waits for the session")
            holding.execute(text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted"))
        assert changing.result().status_code == 503
    assert [row.revoked_at for row in rows.run(sessions.select())] == [None]
    assert "password.changed" not in {line.action for line in rows.run(audit_log.select())}
    assert httpx.post(**asked).status_code == 204  # the password is the former one
    assert None not in [row.revoked_at for row in rows.run(sessions.select())]


def test_of_two_who_change_a_password_at_once_one_succeeds(api_url, rows, engine, lovelace):
    login = {name: lovelace[name] for name in ("username", "password")}
    key = httpx.post(f"{api_url}/api/v1/auth/login", json=login).json()["api_key"]
    change = {"current_password": PASSWORD, "new_password": "a longer engine"}
    asked = {"url": f"{api_url}/api/v1/auth/password", "json": change, "headers": {"x-api-key": key}}
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            connection.execute(accounts.set_password(lovelace["id"], "another hash"))
            changing = pool.submit(httpx.post, **asked, timeout=30)
            waits = text("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
            wait_until(lambda: connection.execute(waits).first(), what="the other waits")
        assert codes(changing.result()) == [(401, "login_failed")]
    assert rows.run(accounts.find_user("lovelace"))[0].password_hash == "another hash"


@pytest.mark.parametrize("path", [SESSION, "/api/v1/auth/login"])
def test_a_sign_in_that_is_under_way_ends_with_the_password(api_url, rows, engine, lovelace, path):
    """The password was right when it was looked at, and is another one when the door would open."""
    login = {name: lovelace[name] for name in ("username", "password")}
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            connection.execute(accounts.set_password(lovelace["id"], "another hash"))
            entering = pool.submit(httpx.post, api_url + path, json=login, timeout=30)
            waits = text("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
            wait_until(lambda: connection.execute(waits).first(), what="the sign-in waits")
        assert codes(entering.result()) == [(401, "login_failed")]
    assert rows.run(sessions.select()) == []
    assert rows.run(api_keys.select().where(api_keys.c.user_id == lovelace["id"])) == []


def test_the_log_says_who_signed_in_and_out_and_holds_no_secret(signed_in, rows):
    signed_in.post(SESSION, json={**LOGIN, "password": "my secret"})
    signed_in.post(SESSION, json={"username": "a password by mistake", "password": "x"})
    signed_in.delete(SESSION)
    lines = rows.run(audit_log.select().order_by(audit_log.c.id))
    assert [line.action for line in lines] == [
        "session.created",
        "login.failed",
        "login.failed",
        "session.ended",
    ]
    assert {line.address for line in lines} == {"127.0.0.1"}
    assert all(line.request_id for line in lines)
    assert lines[0].actor == lines[-1].actor == USERNAME
    assert lines[-1].credential.startswith("session:")
    assert lines[1].subject.startswith("user:")
    assert "secret" not in repr(lines)
    assert "by mistake" not in repr(lines)


def test_keys_of_logins_are_not_lost(rows, browser):
    browser.post("/api/v1/auth/login", json=LOGIN)
    assert [row.name for row in rows.run(api_keys.select().where(api_keys.c.name == "login"))] == ["login"]
