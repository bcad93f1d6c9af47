"""What administrators see and change, and that nobody else does."""

from __future__ import annotations

import httpx
import pytest

from pipeline3d.database.access_tables import audit_log, usage
from pipeline3d.database.tables import jobs, users
from pipeline3d.requests import accounts, changes
from pipeline3d.requests.leases import seconds_from_now
from pipeline3d_tests.integration.requests.database_fixtures import OTHER_USERNAME, USERNAME

ADMIN = "/api/v1/admin"
NOBODY = "00000000-0000-7000-8000-000000000000"
NEW = {"username": "lovelace", "password": "a long enough one"}
QUICK_HASH = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$x"


@pytest.fixture
def user(rows):
    """A user with a key, whose password nobody knows."""
    row = rows.run(accounts.create_user("lovelace", QUICK_HASH))[0]
    key = accounts.generate_api_key()
    rows.run(accounts.create_api_key(row.id, key, name="own"))
    return {"id": str(row.id), "headers": {"x-api-key": key}}


ROUTES = [
    ("GET", "/users"),
    ("POST", "/users"),
    ("GET", f"/users/{NOBODY}"),
    ("PATCH", f"/users/{NOBODY}"),
    ("GET", f"/users/{NOBODY}/keys"),
    ("DELETE", f"/users/{NOBODY}/keys/{NOBODY}"),
    ("GET", "/jobs"),
    ("GET", "/usage"),
    ("GET", "/audit"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("slash", ["", "/"])
def test_only_administrators_come_in(api, as_other, method, path, slash):
    answer = api.http.request(method, f"{ADMIN}{path}{slash}", json=NEW, headers=as_other)
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")


def test_a_key_of_an_administrator_without_the_scope_does_not_either(api):
    made = api.http.post("/api/v1/keys", json={"name": "ci", "scopes": ["jobs:read"]}).json()
    answer = api.http.get(f"{ADMIN}/users", headers={"x-api-key": made["api_key"]})
    assert answer.json()["code"] == "missing_scope"


def test_a_new_user_can_sign_in_and_do_what_the_role_allows(api, api_url):
    made = api.http.post(f"{ADMIN}/users", json={**NEW, "role": "analyst", "max_open_jobs": 3})
    assert made.status_code == 201, made.text
    assert "password" not in made.text
    assert (made.json()["role"], made.json()["max_open_jobs"]) == ("analyst", 3)
    login = httpx.post(f"{api_url}/api/v1/auth/login", json=NEW)
    headers = {"x-api-key": login.json()["api_key"]}
    assert api.http.get("/api/v1/jobs/", headers=headers).status_code == 200
    refused = api.http.post("/api/v1/jobs/", json={"model_id": "inflate-v1"}, headers=headers)
    assert refused.json()["code"] == "missing_scope"
    again = api.http.post(f"{ADMIN}/users", json=NEW)
    assert (again.status_code, again.json()["code"]) == (409, "user_exists")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "x"},
        {**NEW, "username": ""},
        {**NEW, "username": "x" * 151},
        {**NEW, "password": "short"},
        {**NEW, "role": "king"},
        {**NEW, "compatibility": "unknown"},
        {**NEW, "is_superuser": True},
        {**NEW, "max_open_jobs": -1},
    ],
)
def test_a_user_that_makes_no_sense_is_refused(api, body):
    assert api.http.post(f"{ADMIN}/users", json=body).status_code == 422


def test_users_are_paged_by_name_and_found_by_a_part_of_it(api, user):
    page = api.http.get(f"{ADMIN}/users", params={"limit": 2}).json()
    assert [one["username"] for one in page["users"]] == [USERNAME, OTHER_USERNAME]
    rest = api.http.get(f"{ADMIN}/users", params={"limit": 2, "after": page["next"]}).json()
    assert ([one["username"] for one in rest["users"]], rest["next"]) == (["lovelace"], None)
    found = api.http.get(f"{ADMIN}/users", params={"search": "LOVE"}).json()["users"]
    assert [one["username"] for one in found] == ["lovelace"]
    assert api.http.get(f"{ADMIN}/users", params={"search": "%"}).json()["users"] == []
    assert "password" not in str(page)


def change(api, user, status=200, **body):
    answer = api.http.patch(f"{ADMIN}/users/{user['id']}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_deactivating_ends_keys_and_sessions_for_good(api, user, rows):
    assert api.http.get("/api/v1/users/me", headers=user["headers"]).status_code == 200
    assert change(api, user, is_active=False)["is_active"] is False
    assert api.http.get("/api/v1/users/me", headers=user["headers"]).status_code == 403
    change(api, user, is_active=True)
    assert api.http.get("/api/v1/users/me", headers=user["headers"]).status_code == 403


def test_a_role_counts_at_once(api, user):
    change(api, user, role="analyst")
    refused = api.http.post("/api/v1/jobs/", json={"model_id": "x"}, headers=user["headers"])
    assert refused.json()["code"] == "missing_scope"
    assert change(api, user, role="admin")["is_superuser"] is True
    assert api.http.get(f"{ADMIN}/users", headers=user["headers"]).status_code == 200


def test_what_is_sent_is_changed_and_the_rest_stays(api, user):
    before = change(api, user, max_open_jobs=5, compatibility="tcc")
    after = change(api, user, max_open_jobs=None)
    assert after == {**before, "max_open_jobs": None}
    assert change(api, user) == after


def test_a_password_that_was_reset_is_the_only_one_and_ends_logins(api, api_url, user):
    change(api, user, password="reset by an administrator")
    login = {"username": "lovelace", "password": "reset by an administrator"}
    assert httpx.post(f"{api_url}/api/v1/auth/login", json=login).status_code == 200
    assert (
        api.http.get("/api/v1/users/me", headers=user["headers"]).status_code == 200
    )  # a key is not a login


@pytest.mark.parametrize("body", [{"is_active": False}, {"role": "member"}])
def test_nobody_takes_their_own_rights_away(api, body):
    own = {"id": api.http.get("/api/v1/users/me").json()["id"]}
    assert change(api, own, 409, **body)["code"] == "not_yourself"


def test_a_user_that_is_not_there_is_404(api):
    assert change(api, {"id": NOBODY}, 404, role="admin")["code"] == "unknown_user"
    assert api.http.get(f"{ADMIN}/users/{NOBODY}/keys").status_code == 404


def test_the_keys_of_a_user_are_seen_and_revoked(api, user):
    [key] = api.http.get(f"{ADMIN}/users/{user['id']}/keys").json()
    assert (key["name"], "api_key" in key) == ("own", False)
    foreign = api.http.delete(f"{ADMIN}/users/{NOBODY}/keys/{key['id']}")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "unknown_key")
    assert api.http.delete(f"{ADMIN}/users/{user['id']}/keys/{key['id']}").json()["revoked_at"]
    assert api.http.get("/api/v1/users/me", headers=user["headers"]).status_code == 403


def test_a_new_quota_counts_what_was_used_before(api, rows):
    own = {"id": api.http.get("/api/v1/users/me").json()["id"]}
    rows.run(usage.insert().values(owner_id=own["id"], month=accounts.func.current_date(), cost_units=99))
    rows.run(usage.update().values(month=accounts.func.date_trunc("month", accounts.func.now())))
    change(api, own, monthly_cost_units=5)
    assert rows.run(usage.select()) == []  # it is added up anew from the jobs


def test_the_use_of_a_month_is_told_for_each_user(api, rows):
    kept, given_back, early = rows.make(), rows.make(), rows.make()
    rows.run(jobs.update().values(cost_units=2))
    rows.run(changes.request_cancel(given_back))
    rows.run(jobs.update().where(jobs.c.id == early).values(created_at=seconds_from_now(-40 * 86400)))
    report = api.http.get(f"{ADMIN}/usage").json()
    [of_ada] = report["users"]
    assert (of_ada["username"], of_ada["jobs"], of_ada["canceled"]) == (USERNAME, 2, 1)
    assert of_ada["cost_units"] == 2
    assert report["month"].endswith("-01")
    assert kept
    long_ago = api.http.get(f"{ADMIN}/usage", params={"month": "2001-02"}).json()
    assert long_ago == {"month": "2001-02-01", "users": []}
    for wrong in ("2001-13", "2001-2", "0000-01"):
        assert api.http.get(f"{ADMIN}/usage", params={"month": wrong}).status_code == 422


def test_the_jobs_of_all_users_are_seen(api, rows, user):
    made = [str(rows.make()), str(rows.make(user_id=user["id"])), str(rows.make())]
    whole = api.http.get(f"{ADMIN}/jobs").json()
    assert [one["id"] for one in whole["jobs"]] == made[::-1]
    first = api.http.get(f"{ADMIN}/jobs", params={"limit": 2}).json()
    rest = api.http.get(f"{ADMIN}/jobs", params={"limit": 2, "before": first["next"]}).json()
    assert ([one["id"] for one in rest["jobs"]], rest["next"]) == (made[:1], None)
    of_user = api.http.get(f"{ADMIN}/jobs", params={"username": "lovelace", "status": "QUEUED"}).json()
    assert [one["id"] for one in of_user["jobs"]] == made[1:2]
    assert api.http.get(f"{ADMIN}/jobs", params={"status": "FAILED"}).json()["jobs"] == []


def test_the_jobs_of_all_users_are_found_as_ones_own_are(api, rows, user):
    plain, tagged, of_user = rows.make(), rows.make(), rows.make(user_id=user["id"])
    rows.run(jobs.update().where(jobs.c.id == tagged).values(tags=["spring"]))
    rows.run(changes.request_cancel(tagged))
    rows.run(jobs.update().where(jobs.c.id == of_user).values(prompt="a red mug", tags=["spring"]))
    for choice, found in [
        ({"tag": "spring"}, [of_user, tagged]),
        ({"tag": "spring", "status": "cancelled"}, [tagged]),
        ({"status": ["QUEUED", "CANCELED"]}, [of_user, tagged, plain]),
        ({"q": "RED mug"}, [of_user]),
        ({"kind": "text_to_3d"}, []),
        ({"username": "lovelace", "created_after": "2020-01-01T00:00:00Z"}, [of_user]),
        ({"before": str(tagged)}, [plain]),
    ]:
        page = api.http.get(f"{ADMIN}/jobs", params=choice).json()
        assert [one["id"] for one in page["jobs"]] == [str(job_id) for job_id in found], choice
    assert api.http.get(f"{ADMIN}/jobs", params={"status": "strange"}).json()["code"] == "unknown_status"


class TestAuditLog:
    def test_changes_of_users_are_written_down_without_secrets(self, api, user, rows):
        api.http.post(f"{ADMIN}/users", json={"username": "new", "password": "a password that is secret"})
        change(api, user, role="operator", password="another that is secret")
        change(api, user, max_open_jobs=1)
        page = api.http.get(f"{ADMIN}/audit").json()
        assert [line["action"] for line in page["lines"]] == ["quota.changed", "user.changed", "user.created"]
        assert {line["actor"] for line in page["lines"]} == {USERNAME}
        assert page["lines"][1]["details"] == {"role": "operator", "password": "changed"}
        assert page["lines"][0]["subject"] == f"user:{user['id']}"
        assert "secret" not in str(page)

    def test_what_an_owner_does_to_jobs_is_written_down_once(self, api, rows):
        job_id = rows.make()
        made = api.http.post(f"/api/v1/jobs/{job_id}/shares", json={}).json()
        api.http.delete(f"/api/v1/jobs/{job_id}/shares/{made['id']}")
        for _ in range(2):
            api.http.post(f"/api/v1/jobs/{job_id}/cancel")
        api.http.delete(f"/api/v1/jobs/{job_id}")
        lines = rows.run(audit_log.select().order_by(audit_log.c.id))
        assert [(line.action, line.subject) for line in lines] == [
            ("share.created", f"share:{made['id']}"),
            ("share.revoked", f"share:{made['id']}"),
            ("job.canceled", f"job:{job_id}"),
            ("job.deleted", f"job:{job_id}"),
        ]
        assert made["token"] not in repr(lines)

    def test_a_refused_change_leaves_no_line(self, api, rows):
        change(api, {"id": NOBODY}, 404, role="admin")
        assert rows.run(audit_log.select()) == []

    @pytest.mark.parametrize(
        ("choice", "found"),
        [
            ({}, ["key.revoked", "key.created", "login.failed"]),
            ({"action": "key"}, ["key.revoked", "key.created"]),
            ({"action": "key.created"}, ["key.created"]),
            ({"action": "k"}, []),
            ({"actor": "grace"}, ["key.created"]),
            ({"subject": "key:1"}, ["key.revoked"]),
            ({"since": "2020-06-01T00:00:00Z"}, ["key.revoked", "key.created"]),
            ({"until": "2020-06-01T00:00:00Z"}, ["login.failed"]),
        ],
    )
    def test_lines_are_found_by_what_they_say(self, api, rows, choice, found):
        for line in (
            {"action": "login.failed", "created_at": "2020-01-01T00:00:00Z"},
            {"action": "key.created", "actor": "grace"},
            {"action": "key.revoked", "subject": "key:1"},
        ):
            rows.run(audit_log.insert().values(**line))
        page = api.http.get(f"{ADMIN}/audit", params=choice).json()
        assert [line["action"] for line in page["lines"]] == found

    def test_lines_are_paged(self, api, rows):
        for number in range(5):
            rows.run(audit_log.insert().values(action="key.created", subject=str(number)))
        seen, before = [], None
        while before is not None or not seen:
            params = {"limit": 2} | ({"before": before} if before else {})
            page = api.http.get(f"{ADMIN}/audit", params=params).json()
            seen += [line["subject"] for line in page["lines"]]
            before = page["next"]
        assert seen == ["4", "3", "2", "1", "0"]


def test_a_user_is_named_once(rows, user):
    assert len(rows.run(users.select().where(users.c.username == "lovelace"))) == 1
