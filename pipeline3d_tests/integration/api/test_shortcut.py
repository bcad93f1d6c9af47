"""GET of one job is answered before a route is looked for; nobody can tell by the answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy import func, update

from pipeline3d.api.shortcut import JobShortcut
from pipeline3d.database.tables import api_keys, jobs, users
from pipeline3d.requests import accounts
from pipeline3d.values import ArtifactType, Scope, StoredObject
from pipeline3d_tests.integration.api.api_fixtures import JOBS, ORIGIN, serving
from pipeline3d_tests.integration.requests.database_fixtures import (
    API_KEY,
    OTHER_API_KEY,
    PASSWORD,
    USERNAME,
)

KEY = {"x-api-key": API_KEY}
NARROW_KEY = "p3d_narrow_0123456789abcdef0123456789abcdef"
UNKNOWN = "01890000-0000-7000-8000-000000000000"
REQUEST_ID = {"x-request-id": "the-same-for-both"}
BY_THE_CLOCK = ("ratelimit-reset", "retry-after")
GLB = StoredObject(key="p/model.glb", sha256="ab" * 32, size=1234, content_type="model/gltf-binary")


@contextmanager
def without_shortcut(settings) -> Iterator[str]:
    def change(app):
        [shortcut] = [one for one in app.user_middleware if one.cls is JobShortcut]
        app.user_middleware.remove(shortcut)

    with serving(settings, change) as url:
        yield url


@pytest.fixture(scope="module")
def documented_url(api_settings):
    with without_shortcut(api_settings) as url:
        yield url


@pytest.fixture
def ask_both(api, documented_url):
    """The answers of both ways to the same request, as far as they may be compared."""

    def ask(path, headers=KEY, method="GET"):
        told = []
        for base in (str(api.http.base_url), documented_url):
            answer = httpx.request(method, base.rstrip("/") + path, headers={**headers, **REQUEST_ID})
            shown = [pair for pair in answer.headers.multi_items() if pair[0] not in ("date", *BY_THE_CLOCK)]
            timed = [name for name in BY_THE_CLOCK if name in answer.headers]
            told.append((answer.status_code, sorted(shown), timed, answer.content))
        return told

    return ask


@pytest.fixture
def ended(api, ledger):
    """A finished job with a result, and with whatever a job can have."""
    job_id = api.rows.make(
        tags=("shop", "ü"), metadata={"n": [1, 2.5, None, "€"]}, deadline_in_s=3600.0, expires_in_s=86400.0
    )
    api.finish(ledger, job_id, GLB)
    api.rows.run(update(jobs).where(jobs.c.id == job_id).values(stage_seconds={"mesh": 3, "glb": 0.25}))
    return job_id


CASES = {
    "plain": ("{id}", {}, 200),
    "a slash": ("{id}/", {}, 200),
    "upper case": ("{ID}", {}, 200),
    "without dashes": ("{hex}", {}, 200),
    "a query": ("{id}?x=1", {}, 200),
    "unknown": (UNKNOWN, {}, 404),
    "no id": ("not-an-id", {}, 422),
    "half an id": ("{id}-1", {}, 422),
    "somebody else's": ("{id}", {"x-api-key": OTHER_API_KEY}, 404),
    "bearer": ("{id}", {"x-api-key": "", "authorization": f"Bearer {API_KEY}"}, 200),
    "no key": ("{id}", {"x-api-key": ""}, 401),
    "a wrong key": ("{id}", {"x-api-key": "p3d_nobody"}, 403),
    "a session that is none": ("{id}", {"x-api-key": "", "cookie": "p3d_session=p3s_x"}, 401),
    "waiting": ("{id}", {"prefer": "wait=1"}, 200),
    "waiting for an unknown one": (UNKNOWN, {"prefer": "wait=1"}, 404),
    "a preference that is not known": ("{id}", {"prefer": "fast"}, 200),
    "a page of ours": ("{id}", {"origin": ORIGIN}, 200),
    "another page": ("{id}", {"origin": "https://elsewhere.example"}, 200),
    "a page that is refused": (UNKNOWN, {"origin": ORIGIN}, 404),
    "another tag": ("{id}", {"if-none-match": '"other"'}, 200),
    "any tag": ("{id}", {"if-none-match": "*"}, 304),
    "large headers": ("{id}", {"x-long": "x" * 40_000}, 431),
}


@pytest.mark.parametrize(("path", "headers", "status"), CASES.values(), ids=CASES.keys())
def test_both_ways_answer_the_same_bytes(ask_both, ended, path, headers, status):
    path = f"{JOBS}/" + path.format(id=ended, ID=str(ended).upper(), hex=ended.hex)
    sent = {name: value for name, value in {**KEY, **headers}.items() if value}
    quick, documented = ask_both(path, sent)
    assert quick == documented
    assert quick[0] == status


@pytest.mark.parametrize("state", ["QUEUED", "RUNNING", "CANCELING", "SUCCEEDED", "FAILED", "CANCELED"])
def test_both_ways_show_the_same_job(ask_both, in_state, state):
    job_id = in_state(state)
    quick, documented = ask_both(f"{JOBS}/{job_id}")
    assert quick == documented
    assert f'"status":"{state}"'.encode() in quick[3]


def test_what_has_not_changed_is_not_sent_again(api, ask_both, ended):
    tag = api.http.get(f"{JOBS}/{ended}").headers["etag"]
    quick, documented = ask_both(f"{JOBS}/{ended}", {**KEY, "if-none-match": f'W/{tag}, "x"'})
    assert quick == documented
    assert (quick[0], quick[3]) == (304, b"")


def test_a_job_that_is_being_deleted_is_not_there(api, ask_both, ended):
    api.rows.run(update(jobs).where(jobs.c.id == ended).values(deleted_at=func.now()))
    quick, documented = ask_both(f"{JOBS}/{ended}")
    assert quick == documented
    assert quick[0] == 404


@pytest.mark.parametrize("key", [API_KEY, OTHER_API_KEY])
def test_an_account_of_an_earlier_system_is_answered_in_its_form(api, ask_both, ended, key):
    api.rows.run(users.update().values(compatibility="tcc"))
    quick, documented = ask_both(f"{JOBS}/{ended}", {"x-api-key": key})
    assert quick == documented
    assert quick[0] == (200 if key == API_KEY else 403)


def test_a_session_opens_both(api, ask_both, ended):
    with httpx.Client(base_url=api.http.base_url) as browser:
        signed_in = browser.post("/api/v1/auth/session", json={"username": USERNAME, "password": PASSWORD})
        assert signed_in.is_success, signed_in.text
        cookie = {"cookie": f"p3d_session={browser.cookies['p3d_session']}"}
    quick, documented = ask_both(f"{JOBS}/{ended}", cookie)
    assert quick == documented
    assert quick[0] == 200


def test_a_key_that_may_not_read_is_refused_by_both(api, ask_both, ended):
    key = accounts.create_api_key(api.rows.user_id, NARROW_KEY, name="narrow", scopes=[Scope.JOBS_WRITE])
    api.rows.run(key)
    quick, documented = ask_both(f"{JOBS}/{ended}", {"x-api-key": NARROW_KEY})
    assert quick == documented
    assert quick[0] == 403


def test_both_count_requests(api, ask_both, ended):
    limited = accounts.hash_api_key(API_KEY)
    api.rows.run(api_keys.update().where(api_keys.c.key_hash == limited).values(requests_per_minute=1))
    first, second = ask_both(f"{JOBS}/{ended}"), ask_both(f"{JOBS}/{ended}")
    assert first[0] == first[1]
    assert second[0] == second[1]
    assert [first[0][0], second[0][0]] == [200, 429]
    assert second[0][2] == ["ratelimit-reset", "retry-after"]


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("OPTIONS", {"origin": ORIGIN, "access-control-request-method": "GET"}, 200),
        ("OPTIONS", {"origin": "https://elsewhere.example", "access-control-request-method": "GET"}, 400),
        ("OPTIONS", {}, 405),
        ("PUT", {}, 405),
    ],
)
def test_other_methods_are_left_to_the_routes(ask_both, ended, method, headers, status):
    quick, documented = ask_both(f"{JOBS}/{ended}", {**KEY, **headers}, method)
    assert quick == documented
    assert quick[0] == status


@pytest.mark.parametrize("slash", ["", "/"])
def test_head_says_what_get_would_say(api, ended, slash):
    path = f"{JOBS}/{ended}{slash}"
    asked, got = api.http.head(path), api.http.get(path)
    assert (asked.status_code, asked.content) == (200, b"")
    same = ("etag", "content-length", "content-type", "cache-control")
    assert [asked.headers[name] for name in same] == [got.headers[name] for name in same]


def test_a_job_is_shown_as_the_list_shows_it(api, ended):
    [listed] = api.http.get(f"{JOBS}/").json()
    assert api.http.get(f"{JOBS}/{ended}").json() == listed
    assert [artifact["type"] for artifact in listed["artifacts"]] == [ArtifactType.OUTPUT_MODEL]
