"""The service around the jobs: keys, readiness, trouble, headers, pages."""

from __future__ import annotations

import re
import socket
import threading
from http import HTTPStatus

import httpx
import pytest
from sqlalchemy import text

from pipeline3d.api.app import TAKEN_HEADERS
from pipeline3d.database.engines import create_sync_engine
from pipeline3d.database.tables import api_keys, users
from pipeline3d.errors import SettingsError
from pipeline3d.requests import accounts
from pipeline3d_tests.integration.api.api_fixtures import JOBS, ORIGIN, serving
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY, PASSWORD, USERNAME


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def read_key(rows, key):
    [row] = rows.run(api_keys.select().where(api_keys.c.key_hash == accounts.hash_api_key(key)))
    return row


class TestKeys:
    def test_a_key_of_a_login_ends_by_itself_and_is_stored_as_a_hash(self, api):
        answer = api.http.post("/api/v1/auth/login", json={"username": USERNAME, "password": PASSWORD})
        assert answer.headers["cache-control"] == "no-store"
        row = read_key(api.rows, answer.json()["api_key"])
        hours = (row.expires_at - row.created_at).total_seconds() / 3600
        assert hours == pytest.approx(12)
        assert answer.json()["api_key"] not in repr(row)

    def test_the_use_of_a_key_is_noted_at_most_once_a_minute(self, api):
        api.http.get("/api/v1/users/me")
        first = read_key(api.rows, API_KEY).last_used_at
        api.http.get("/api/v1/users/me")
        assert first is not None
        assert read_key(api.rows, API_KEY).last_used_at == first

    @pytest.mark.parametrize("key", ["ü".encode(), b"\x00", b"x" * 5000, b"' OR 1=1 --"])
    def test_a_strange_key_is_just_unknown(self, api, key):
        with httpx.Client(base_url=str(api.http.base_url)) as http:
            try:
                status = http.get("/api/v1/users/me", headers={b"x-api-key": key}).status_code
            except httpx.LocalProtocolError:
                status = 403  # such a header cannot even be sent
        assert status in (400, 403)

    def test_an_inactive_user_cannot_sign_in(self, api_settings, own_database_url):
        engine = create_sync_engine(own_database_url)
        with engine.begin() as connection:
            connection.execute(users.update().values(is_active=False))
        engine.dispose()
        with serving({**api_settings, "database_url": own_database_url}) as url:
            body = {"username": USERNAME, "password": PASSWORD}
            assert httpx.post(f"{url}/api/v1/auth/login", json=body).status_code == 400
            assert httpx.get(f"{url}/api/v1/users/me", headers={"x-api-key": API_KEY}).status_code == 403


class TestReadiness:
    def test_everything_that_is_needed_is_named(self, api):
        answer = api.http.get("/ready")
        assert answer.status_code == 200
        dependencies = answer.json()["dependencies"]
        assert [(d["name"], d["ok"], d["problem"]) for d in dependencies] == [
            ("database", True, None),
            ("object_store", True, None),
        ]
        assert all(0 <= d["seconds"] < 6 for d in dependencies)

    def test_a_database_that_is_away_is_said_and_answered_with_503(self, api_settings, closed_port):
        gone = f"postgresql://user:topsecret@127.0.0.1:{closed_port}/d"
        with serving({**api_settings, "database_url": gone}) as url:
            assert httpx.get(f"{url}/health").status_code == 200
            ready = httpx.get(f"{url}/ready", timeout=20)
            assert ready.status_code == 503
            assert [d["ok"] for d in ready.json()["dependencies"]] == [False, True]
            answer = httpx.get(f"{url}{JOBS}/", headers={"x-api-key": "k"}, timeout=20)
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert "topsecret" not in answer.text + ready.text

    def test_an_object_store_that_is_away_is_said_and_answered_with_503(self, api_settings, closed_port, api):
        gone = f"127.0.0.1:{closed_port}"
        with serving({**api_settings, "minio_endpoint": gone}) as url:
            ready = httpx.get(f"{url}/ready", timeout=20)
            assert ready.status_code == 503
            assert [d["ok"] for d in ready.json()["dependencies"]] == [True, False]
            body = {"model_id": "inflate-v1", "input_params": {"input_path": api.upload()}}
            answer = httpx.post(f"{url}{JOBS}/", json=body, headers={"x-api-key": API_KEY}, timeout=20)
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert api.http.get(f"{JOBS}/").json() == []

    def test_a_database_without_its_tables_is_not_ready(self, api_settings, fresh_database):
        with serving({**api_settings, "database_url": fresh_database()}) as url:
            [database, _] = httpx.get(f"{url}/ready", timeout=20).json()["dependencies"]
            assert "revision none" in database["problem"]
            assert "migrate" in database["hint"]
            answer = httpx.get(f"{url}/api/v1/models")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert "SELECT" not in answer.text

    @pytest.mark.parametrize(("revision", "is_ready"), [("0007", False), ("9999", True)])
    def test_a_database_that_a_later_version_has_prepared_is_ready_and_an_earlier_one_is_not(
        self, api_settings, own_database_url, revision, is_ready
    ):
        engine = create_sync_engine(own_database_url)
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})
        engine.dispose()
        with serving({**api_settings, "database_url": own_database_url}) as url:
            [database, _] = httpx.get(f"{url}/ready", timeout=20).json()["dependencies"]
        assert database["ok"] is is_ready

    def test_a_missing_setting_stops_the_start(self, api_settings):
        for name in ("database_url", "minio_endpoint"):
            with pytest.raises(SettingsError, match=name.upper()), serving({**api_settings, name: None}):
                pass


class TestTrouble:
    def test_an_unexpected_error_is_answered_without_its_secrets_and_logged_with_its_id(
        self, api_settings, caplog
    ):
        def add_broken_route(app):
            @app.get("/broken")
            async def broken():
                raise RuntimeError("password is topsecret")

        with serving(api_settings, add_broken_route) as url:
            answer = httpx.get(f"{url}/broken", headers={"Origin": ORIGIN})
        assert answer.status_code == 500
        assert answer.json()["code"] == "internal_error"
        assert "topsecret" not in answer.text
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert answer.json()["request_id"] in caplog.text
        assert answer.headers["access-control-allow-origin"] == ORIGIN

    @pytest.mark.parametrize(
        ("content", "status"),
        [
            (b"", 422),
            (b"{", 422),  # cut off
            (b"[]", 422),
            (b"null", 422),
            (b"\xff\xfe", 422),  # not text
            (b"[" * 100_000, 400),  # deeper than any reader goes
            (b'{"model_id": "\\ud800"}', 422),  # half a character
            (b'{"model_id": "inflate-v1", "input_params": {"seed": NaN}}', 422),
            (b'{"model_id": "inflate-v1", "input_params": {"seed": 1e999}}', 422),
            (b'{"model_id": "inflate-v1", "input_params": {"seed": ' + b"9" * 5000 + b"}}", 400),
            (b'{"model_id": "inflate-v1", "input_params": {"\\u0000": 1}}', 422),
            (b" " * (1 << 20) + b"x", 413),
        ],
    )
    def test_a_broken_body_is_a_problem_of_the_caller(self, api, content, status):
        answer = api.http.post(f"{JOBS}/", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert isinstance(answer.json()["detail"], str)

    def test_a_body_that_hides_its_length_is_cut_off_too(self, api):
        chunks = (b" " * 65536 for _ in range(40))
        answer = api.http.post(f"{JOBS}/", content=chunks, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [("GET", "/nothing", 404), ("DELETE", "/health", 405), ("PUT", JOBS, 405), ("GET", "/%00/%ff", 404)],
    )
    def test_what_the_framework_refuses_is_a_problem_document_too(self, api, method, path, status):
        answer = api.http.request(method, path)
        assert answer.status_code == status
        assert answer.json()["status"] == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert "x-request-id" in answer.headers

    @pytest.mark.parametrize(
        ("path", "allowed"),
        [
            (f"{JOBS}/", "GET, POST"),
            (f"{JOBS}/00000000-0000-0000-0000-000000000000", "DELETE, GET, PATCH"),
            ("/api/v1/auth/session", "DELETE, GET, POST"),
        ],
    )
    def test_a_refused_method_is_told_which_ones_the_path_takes(self, api, path, allowed):
        answer = api.http.put(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)

    @pytest.mark.parametrize(
        ("content_type", "status"),
        [
            ("text/plain", 415),
            ("application/x-www-form-urlencoded", 415),  # what curl says of its own accord
            ("", 415),
            ("application/json; charset=utf-8", 422),  # read, and then something is missing
            ("application/merge-patch+json", 422),
        ],
    )
    def test_a_body_that_is_not_called_json_is_told_so(self, api, content_type, status):
        headers = {"content-type": content_type} if content_type else {}
        answer = api.http.post(f"{JOBS}/", content=b'{"priority": 1}', headers=headers)
        assert (answer.status_code, answer.json()["title"][:11]) == (status, HTTPStatus(status).phrase[:11])
        assert (answer.json()["code"] == "unsupported_media_type") is (status == 415)

    def test_no_path_of_the_api_fails_at_characters_that_cannot_be_stored(self, api):
        operations = [
            (method, path)
            for path, methods in api.http.get("/openapi.json").json()["paths"].items()
            for method in methods
            if "{" in path
        ]
        assert len(operations) > 20
        for method, path in operations:
            for strange in ("%00", "%ff", "..%2f", "9" * 400):
                answer = api.http.request(method, re.sub(r"\{.*?\}", strange, path))
                assert answer.status_code < 500, (method, path, strange, answer.text)

    def test_many_callers_at_once_are_all_answered(self, api):
        job_id = api.rows.make()
        statuses = []

        def ask():
            statuses.extend(api.http.get(f"{JOBS}/{job_id}").status_code for _ in range(5))

        threads = [threading.Thread(target=ask) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 120


class TestPages:
    def test_origins_on_the_list_may_call_and_others_may_not(self, api):
        ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
        allowed = api.http.options(f"{JOBS}/", headers={"Origin": ORIGIN, **ask})
        refused = api.http.options(f"{JOBS}/", headers={"Origin": "https://evil.example.com", **ask})
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        assert "access-control-allow-origin" not in refused.headers

    @pytest.mark.parametrize("header", TAKEN_HEADERS)
    def test_pages_of_those_origins_may_send_what_the_api_reads(self, api, header):
        ask = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": header}
        allowed = api.http.options(f"{JOBS}/", headers={"Origin": ORIGIN, **ask})
        assert allowed.status_code == 200
        # another origin's page has no business with the token of our own pages
        ask["Access-Control-Request-Headers"] = "x-csrf-token"
        assert api.http.options(f"{JOBS}/", headers={"Origin": ORIGIN, **ask}).status_code == 400

    def test_pages_of_those_origins_may_read_what_is_told_in_headers(self, api):
        exposed = api.http.get("/health", headers={"Origin": ORIGIN}).headers["access-control-expose-headers"]
        told = {
            "Retry-After",
            "RateLimit-Remaining",
            "Idempotency-Replayed",
            "X-Request-ID",
            "Location",
            "ETag",
        }
        assert told <= set(exposed.split(", "))

    def test_the_studio_may_talk_to_this_service_and_to_the_store_only(self, api, store):
        answer = api.http.get("/studio")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        policy = answer.headers["content-security-policy"]
        assert f"connect-src 'self' {store.public_origin};" in policy
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy

    @pytest.mark.parametrize("name", ["studio.css", "studio_forms.js", "studio_controls.js", "studio.js"])
    def test_the_studio_has_what_it_links_and_nothing_inline(self, api, name):
        page = api.http.get("/studio").text
        assert f"/static/{name}" in page
        assert "<style" not in page
        assert "onclick" not in page
        assert api.http.get(f"/static/{name}").status_code == 200

    @pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py"])
    def test_nothing_beside_the_pages_is_served(self, api, path):
        assert api.http.get(path).status_code == 404

    def test_the_description_of_the_api_is_there(self, api):
        paths = api.http.get("/openapi.json").json()["paths"]
        assert "/api/v1/jobs/" in paths
        assert "/api/v1/jobs" not in paths  # one spelling is enough to read
        assert api.http.get("/docs").status_code == 200
