"""Share links: stable for whoever has one, gone at once when revoked, and never more than was shared."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import httpx
import pytest

from pipeline3d.database.file_tables import share_links
from pipeline3d.database.tables import jobs, users
from pipeline3d.requests import accounts, sharing
from pipeline3d.values import ArtifactType, Scope
from pipeline3d_tests.integration.api.api_fixtures import JOBS, serving

FILES = (
    ("upload", "input", ArtifactType.INPUT, b"private photo", "image/png"),
    ("mesh", "mesh.npz", ArtifactType.INTERMEDIATE, b"mesh", "application/octet-stream"),
    ("glb_export", "model.glb", ArtifactType.OUTPUT_MODEL, b"glTF model", "model/gltf-binary"),
    ("web_glb", "web.glb", ArtifactType.EXPORT, b"glTF small", "model/gltf-binary"),
    ("quality_report", "report.json", ArtifactType.REPORT, b"{}", "application/json"),
    ("preview", "thumbnail.png", ArtifactType.PREVIEW, b"pixels", "image/png"),
    ("turntable", "turntable.mp4", ArtifactType.PREVIEW, b"video", "video/mp4"),
    ("log", "wrapper.txt", ArtifactType.LOG, b"paths and hosts", "text/plain"),
)
PREVIEWS = {"preview/thumbnail.png", "turntable/turntable.mp4"}
OPENED = {
    "preview": PREVIEWS,
    "result": PREVIEWS | {"glb_export/model.glb"},
    "artifacts": PREVIEWS | {"glb_export/model.glb", "web_glb/web.glb", "quality_report/report.json"},
}
AS_JSON = {"accept": "application/json"}


@pytest.fixture(scope="module")
def stored(store):
    """The files of a job, in the store once for all tests."""
    prefix = f"jobs/{uuid4()}"
    return [store.put_bytes(f"{prefix}/{file[0]}/{file[1]}", file[3], file[4]) for file in FILES]


@pytest.fixture
def job_id(api, ledger, stored):
    """A job with files of every type."""
    job_id = api.rows.make(prompt="a secret chair")
    ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
    for (asset, name, kind, _, _), file in zip(FILES, stored, strict=True):
        ledger.record_artifact(job_id, 1, asset, name, kind, file, {})
    ledger.succeed(job_id, "run-1")
    return job_id


@pytest.fixture
def visitor(api_url):
    """Somebody without an account."""
    with httpx.Client(base_url=api_url, timeout=30) as http:
        yield http


def share(api, job_id, **body):
    answer = api.http.post(f"{JOBS}/{job_id}/shares", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def path_of(made):
    return f"/s/{made['token']}"


def test_a_link_is_told_once_and_only_its_hash_is_kept(api, job_id):
    made = share(api, job_id)
    assert len(made["token"]) >= 43, "256 bits"
    assert made["url"] == path_of(made)
    [row] = api.rows.run(share_links.select())
    assert made["token"] not in str(row)
    assert row.token_hash == sharing.hash_token(made["token"])
    listed = api.http.get(f"{JOBS}/{job_id}/shares")
    assert made["token"] not in listed.text
    assert [one["id"] for one in listed.json()] == [made["id"]]


FORGED = {
    "host": "evil.example.com",
    "x-forwarded-host": "evil.example.com",
    "x-forwarded-proto": "https",
    "forwarded": "host=evil.example.com;proto=https",
}


@pytest.mark.parametrize("known", [None, "https://3d.example.com"])
def test_the_address_is_the_one_that_the_installation_knows_whatever_name_was_asked_for(
    api, job_id, api_settings, known
):
    # even a proxy that is trusted says nothing of the host
    with serving({**api_settings, "api_url": known, "trusted_proxies": ["127.0.0.1"]}) as url:
        for forged in ({}, FORGED):
            answer = httpx.post(
                f"{url}{JOBS}/{job_id}/shares", json={}, headers={**api.http.headers, **forged}
            )
            made = answer.json()
            assert (answer.status_code, made["url"]) == (201, f"{known or ''}{path_of(made)}")
            assert "evil" not in answer.text + str(answer.headers)
            assert httpx.get(f"{url}{path_of(made)}", headers=AS_JSON).status_code == 200


@pytest.mark.parametrize("scope", list(OPENED))
def test_a_link_opens_what_its_scope_says_and_nothing_else(api, visitor, job_id, scope):
    path = path_of(share(api, job_id, scope=scope))
    shown = visitor.get(path, headers=AS_JSON).json()
    assert {f"{file['asset']}/{file['name']}" for file in shown["files"]} == OPENED[scope]
    assert "prompt" not in shown
    for asset, name, _, data, _ in FILES:
        allowed = f"{asset}/{name}" in OPENED[scope]
        for address in (f"{path}/{asset}/{name}", f"{path}/{name}"):
            answer = visitor.get(address)
            assert answer.status_code == (302 if allowed else 404), address
        if allowed:
            assert httpx.get(answer.headers["location"]).content == data
            assert answer.headers["cache-control"] == "no-store"


def test_the_page_needs_no_script_and_shows_pictures_and_files(api, visitor, job_id):
    made = share(api, job_id, scope="artifacts", expires_in_s=3600)
    answer = visitor.get(path_of(made), headers={"accept": "text/html,*/*;q=0.8"})
    page = answer.text
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert "<script" not in page
    assert "style=" not in page
    assert answer.headers["x-robots-tag"] == "noindex, nofollow"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert "a secret chair" not in page
    addresses = re.findall(r'(?:src|href)="(/s/[^"]+)"', page)
    assert len(addresses) == len(OPENED["artifacts"]) + len(PREVIEWS)
    for address in addresses:
        fetched = visitor.get(address, follow_redirects=True)
        assert fetched.status_code == 200
        shown = "inline=true" in address
        assert fetched.headers["content-disposition"].startswith("inline" if shown else "attachment")
    for asset in re.findall(r'href="(/static/[^"]+)"', page):
        assert visitor.get(asset).status_code == 200


def test_the_address_stays_and_the_links_behind_it_are_fresh_and_short(api, visitor, job_id):
    address = f"{path_of(share(api, job_id))}/model.glb"
    location = visitor.get(address).headers["location"]
    assert "X-Amz-Expires=300&" in location
    part = visitor.get(address, headers={"Range": "bytes=0-3"}, follow_redirects=True)
    assert (part.status_code, part.content) == (206, b"glTF")


def test_any_page_may_read_what_a_link_shows(api, visitor, job_id):
    path = path_of(share(api, job_id))
    for address in (path, f"{path}/model.glb"):
        answer = visitor.get(address, headers={"Origin": "https://anywhere.example.com"})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


def end_by_time(api, made, job_id):
    api.rows.run(share_links.update().values(expires_at=share_links.c.created_at))


def end_by_hand(api, made, job_id):
    for _ in range(2):
        answer = api.http.delete(f"{JOBS}/{job_id}/shares/{made['id']}")
        assert answer.status_code == 204


def end_by_deleting_the_job(api, made, job_id):
    api.rows.run(jobs.update().where(jobs.c.id == job_id).values(deleted_at=jobs.c.created_at))


def end_by_name(api, made, job_id):
    made["token"] = made["token"][:-1] + ("A" if made["token"][-1] != "A" else "B")


def end_by_nonsense(api, made, job_id):
    made["token"] = "%00%ff" + "x" * 500


@pytest.mark.parametrize(
    "end", [end_by_time, end_by_hand, end_by_deleting_the_job, end_by_name, end_by_nonsense]
)
def test_a_link_that_does_not_work_looks_like_one_that_never_was(api, visitor, job_id, end):
    made = share(api, job_id, expires_in_s=3600)
    assert visitor.get(path_of(made)).status_code == 200
    end(api, made, job_id)
    answers = [visitor.get(f"{path_of(made)}{rest}") for rest in ("", "/model.glb", "/glb_export/model.glb")]
    assert {answer.status_code for answer in answers} == {404}
    unknown = visitor.get("/s/unknown").json()
    assert [answer.json() for answer in answers] == [unknown] * 3
    assert unknown["code"] == "unknown_share"


def test_the_links_of_an_inactive_user_do_not_work(api, visitor, job_id):
    made = share(api, job_id)
    of_user = users.update().where(users.c.id == api.rows.user_id)
    api.rows.run(of_user.values(is_active=False))
    try:
        assert visitor.get(path_of(made)).status_code == 404
    finally:
        api.rows.run(of_user.values(is_active=True))


def test_uses_are_counted_and_pictures_of_the_page_are_none(api, visitor, job_id):
    path = path_of(share(api, job_id))
    visitor.get(path)
    visitor.get(f"{path}/preview/thumbnail.png?inline=true")
    visitor.get(f"{path}/model.glb")
    [listed] = api.http.get(f"{JOBS}/{job_id}/shares").json()
    assert listed["uses"] == 2
    assert listed["last_used_at"] is not None


def test_a_job_that_is_not_ready_can_be_shared_and_says_so(api, visitor, in_state):
    for state, words in (("QUEUED", "waiting"), ("RUNNING", "being made"), ("FAILED", "could not")):
        path = path_of(share(api, in_state(state)))
        assert words in visitor.get(path).text
        assert visitor.get(path, headers=AS_JSON).json()["status"] == state
        assert visitor.get(f"{path}/model.glb").status_code == 404


@pytest.mark.parametrize(
    "body",
    [{"scope": "everything"}, {"expires_in_s": 0}, {"expires_in_s": -5}, {"expires_in_s": 10**12}, []],
)
def test_a_link_that_cannot_be_is_refused(api, job_id, body):
    assert api.http.post(f"{JOBS}/{job_id}/shares", json=body).status_code == 422


def test_only_the_owner_shares_sees_and_revokes(api, job_id, as_other):
    made = share(api, job_id)
    path = f"{JOBS}/{job_id}/shares"
    asked = (("POST", path, {}), ("GET", path, None), ("DELETE", f"{path}/{made['id']}", None))
    for method, address, body in asked:
        answer = api.http.request(method, address, json=body, headers=as_other)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job")
    other_job = api.rows.make()
    wrong = api.http.delete(f"{JOBS}/{other_job}/shares/{made['id']}")
    assert (wrong.status_code, wrong.json()["code"]) == (404, "unknown_share")


def test_a_key_without_the_scope_may_look_but_not_share(api, job_id):
    key = accounts.generate_api_key()
    api.rows.run(accounts.create_api_key(api.rows.user_id, key, name="reader", scopes=[Scope.JOBS_READ]))
    headers = {"x-api-key": key}
    answer = api.http.post(f"{JOBS}/{job_id}/shares", json={}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
    assert api.http.get(f"{JOBS}/{job_id}/shares", headers=headers).json() == []


def test_many_at_once_make_no_more_links_than_there_may_be(api, job_id, monkeypatch):
    monkeypatch.setattr(sharing, "MOST_LINKS", 5)
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: api.http.post(f"{JOBS}/{job_id}/shares", json={}), range(30)))
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [409] * 25


def test_a_job_has_a_bounded_number_of_links(api, job_id, monkeypatch):
    monkeypatch.setattr(sharing, "MOST_LINKS", 2)
    first, _ = share(api, job_id), share(api, job_id)
    refused = api.http.post(f"{JOBS}/{job_id}/shares", json={})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_shares")
    api.http.delete(f"{JOBS}/{job_id}/shares/{first['id']}")
    assert UUID(share(api, job_id)["id"])


def test_a_token_does_not_stand_in_the_log_even_where_something_fails(
    api, api_settings, job_id, monkeypatch, caplog
):
    made = share(api, job_id)

    async def fail(*_):
        raise RuntimeError("something else")

    monkeypatch.setattr("pipeline3d.api.sharing._shared_files", fail)
    with serving(api_settings) as url:
        assert httpx.get(f"{url}{path_of(made)}/model.glb").status_code == 500
    [line] = [one for one in caplog.records if one.name == "pipeline3d.api"]
    assert "/s/…/model.glb" in line.getMessage()
    assert made["token"] not in caplog.text


def test_somebody_who_tries_many_links_is_slowed_down(api_settings, engine, monkeypatch):
    monkeypatch.setattr("pipeline3d.api.sharing.VISITS_PER_MINUTE", 3)
    with serving(api_settings) as url:
        answers = [httpx.get(f"{url}/s/guess-{number}") for number in range(4)]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
