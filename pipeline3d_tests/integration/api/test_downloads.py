"""Getting what jobs made: links and redirects, by name and by asset, and how the store presents them."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest

from pipeline3d.values import ArtifactType, StoredObject
from pipeline3d_tests.integration.api.api_fixtures import JOBS, serving

CONTENT = b"glTF and more"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
AXIOS = "application/json, text/plain, */*"


FILES = (
    ("glb_export", "model.glb", ArtifactType.OUTPUT_MODEL, CONTENT, "model/gltf-binary"),
    ("mesh", "mesh.npz", ArtifactType.INTERMEDIATE, b"mesh", "application/octet-stream"),
    ("repaired_mesh", "mesh.npz", ArtifactType.INTERMEDIATE, b"repaired", "application/octet-stream"),
    ("preview", "thumbnail.png", ArtifactType.PREVIEW, b"pixels", "image/png"),
    ("log", "wrapper.txt", ArtifactType.LOG, b"<script>", "text/html"),
)


@pytest.fixture(scope="module")
def stored(store):
    """The files of a job, in the store once for all tests."""
    prefix = f"jobs/{uuid4()}"
    return [store.put_bytes(f"{prefix}/{file[0]}/{file[1]}", file[3], file[4]) for file in FILES]


@pytest.fixture
def running(api, ledger, stored):
    """A job that made a model, two files of one name, and more, and goes on."""
    job_id = api.rows.make()
    ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
    for (asset, name, kind, _, _), file in zip(FILES, stored, strict=True):
        ledger.record_artifact(job_id, 1, asset, name, kind, file, {})
    return job_id


@pytest.fixture
def job_id(running, ledger):
    """The same job when it has succeeded."""
    ledger.succeed(running, "run-1")
    return running


@pytest.mark.parametrize(
    ("query", "accept", "status"),
    [
        ("", "*/*", 200),
        ("", AXIOS, 200),
        ("", "application/json", 200),
        ("", BROWSER, 302),
        ("", "model/gltf-binary", 302),
        ("", "application/json;q=0.5, model/gltf-binary", 302),
        ("redirect=true", AXIOS, 302),
        ("redirect=false", BROWSER, 200),
    ],
)
def test_programs_are_told_the_link_and_browsers_are_led(api, job_id, query, accept, status):
    for path in ("download", "artifacts/glb_export/model.glb"):
        answer = api.http.get(f"{JOBS}/{job_id}/{path}?{query}", headers={"accept": accept})
        assert answer.status_code == status, answer.text
        link = answer.json()["download_url"] if status == 200 else answer.headers["location"]
        assert httpx.get(link).content == CONTENT
    if status == 302:
        assert answer.headers["cache-control"] == "no-store"


def test_a_link_works_as_long_as_was_wished_up_to_the_limit(api, job_id, api_settings):
    path = f"{JOBS}/{job_id}/download"
    assert api.http.get(path).json()["expires_in"] == 3600
    link = api.http.get(path, params={"expires_in": 60}).json()
    assert link["expires_in"] == 60
    assert "X-Amz-Expires=60&" in link["download_url"]
    for wrong in (3601, 9, 0, -1, 10**30, "x"):
        assert api.http.get(path, params={"expires_in": wrong}).status_code == 422
    with serving({**api_settings, "download_url_expires_s": 120}) as url:
        api.http.base_url = url
        assert api.http.get(path).json()["expires_in"] == 120


def test_a_name_that_only_one_stage_gave_leads_straight_to_the_file(api, job_id):
    answer = api.http.get(f"{JOBS}/{job_id}/artifacts/model.glb")
    assert answer.status_code == 302
    assert httpx.get(answer.headers["location"]).content == CONTENT
    told = api.http.get(f"{JOBS}/{job_id}/artifacts/model.glb", params={"redirect": "false"})
    assert told.json()["size"] == len(CONTENT)


def test_a_name_that_several_stages_gave_is_ambiguous_and_the_stages_are_named(api, job_id):
    answer = api.http.get(f"{JOBS}/{job_id}/artifacts/mesh.npz")
    assert (answer.status_code, answer.json()["code"]) == (409, "ambiguous_artifact")
    assert "mesh, repaired_mesh" in answer.json()["detail"]
    assert api.http.get(f"{JOBS}/{job_id}/artifacts/mesh/mesh.npz").status_code == 200


@pytest.mark.parametrize("path", ["artifacts/none.glb", "artifacts/mesh/none.glb", "artifacts/none/mesh.npz"])
def test_what_is_not_there_is_said_so(api, job_id, path):
    answer = api.http.get(f"{JOBS}/{job_id}/{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_artifact")


def test_the_list_can_be_narrowed_to_types_and_to_an_asset(api, job_id):
    def names(**query):
        rows = api.http.get(f"{JOBS}/{job_id}/artifacts", params=query).json()
        return sorted(f"{row['asset']}/{row['name']}" for row in rows)

    assert len(names()) == 5
    assert names(type="PREVIEW") == ["preview/thumbnail.png"]
    assert names(type=["PREVIEW", "OUTPUT_MODEL"]) == ["glb_export/model.glb", "preview/thumbnail.png"]
    assert names(asset="mesh") == ["mesh/mesh.npz"]
    assert names(asset="mesh", type="PREVIEW") == []
    assert api.http.get(f"{JOBS}/{job_id}/artifacts", params={"type": "x"}).status_code == 422


@pytest.mark.parametrize("state", ["QUEUED", "RUNNING", "FAILED", "CANCELED"])
def test_a_job_without_success_has_no_download(api, in_state, state):
    answer = api.http.get(f"{JOBS}/{in_state(state)}/download")
    assert (answer.status_code, answer.json()["code"]) == (400, "not_finished")


def test_a_job_without_a_model_has_no_result(api, in_state):
    answer = api.http.get(f"{JOBS}/{in_state('SUCCEEDED')}/download")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_result")


def test_files_of_others_are_not_there(api, job_id, as_other):
    for path in ("download", "artifacts", "artifacts/model.glb", "artifacts/glb_export/model.glb", "archive"):
        answer = api.http.get(f"{JOBS}/{job_id}/{path}", headers=as_other)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job")


class TestTheStore:
    """How the store answers those who follow a link."""

    def fetch(self, api, job_id, path="download", headers=None, **query):
        link = api.http.get(f"{JOBS}/{job_id}/{path}", params={"redirect": "false", **query}).json()
        return httpx.get(link["download_url"], headers=headers or {})

    def test_a_file_has_its_type_its_name_and_may_be_kept(self, api, job_id):
        answer = self.fetch(api, job_id)
        assert answer.headers["content-type"] == "model/gltf-binary"
        assert answer.headers["content-disposition"] == f'attachment; filename="{job_id}-model.glb"'
        assert answer.headers["cache-control"] == "private, max-age=3600, immutable"
        assert answer.headers["accept-ranges"] == "bytes"

    def test_what_may_still_change_is_not_kept(self, api, running):
        answer = self.fetch(api, running, "artifacts/mesh/mesh.npz")
        assert answer.headers["cache-control"] == "private, no-cache"

    @pytest.mark.parametrize(
        ("wanted", "content", "range_header"),
        [
            ("bytes=0-3", CONTENT[:4], f"bytes 0-3/{len(CONTENT)}"),
            ("bytes=5-", CONTENT[5:], f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}"),
            ("bytes=-4", CONTENT[-4:], f"bytes {len(CONTENT) - 4}-{len(CONTENT) - 1}/{len(CONTENT)}"),
        ],
    )
    def test_a_part_can_be_had(self, api, job_id, wanted, content, range_header):
        answer = self.fetch(api, job_id, headers={"Range": wanted})
        assert (answer.status_code, answer.content) == (206, content)
        assert answer.headers["content-range"] == range_header

    def test_a_part_that_is_not_there_is_refused(self, api, job_id):
        assert self.fetch(api, job_id, headers={"Range": "bytes=1000-"}).status_code == 416

    def test_an_unchanged_file_is_not_sent_twice(self, api, job_id):
        etag = self.fetch(api, job_id).headers["etag"]
        assert self.fetch(api, job_id, headers={"If-None-Match": etag}).status_code == 304

    @pytest.mark.parametrize(
        ("path", "shown"),
        [("artifacts/thumbnail.png", True), ("artifacts/model.glb", True), ("artifacts/wrapper.txt", False)],
    )
    def test_viewers_may_show_it_in_its_place_but_never_what_could_run(self, api, job_id, path, shown):
        answer = self.fetch(api, job_id, path, inline=True)
        assert answer.headers["content-disposition"].startswith("inline" if shown else "attachment")

    def test_a_page_of_an_allowed_origin_may_read_it_and_its_headers(self, api, job_id, object_store_server):
        origin = object_store_server.origins
        link = api.http.get(f"{JOBS}/{job_id}/download").json()["download_url"]
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "range",
        }
        allowed = httpx.options(link, headers=asked)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, origin)
        part = httpx.get(link, headers={"Origin": origin, "Range": "bytes=0-3"})
        assert (part.status_code, part.headers["access-control-allow-origin"]) == (206, origin)
        exposed = part.headers["access-control-expose-headers"]
        assert all(name in exposed for name in ("content-range", "content-length", "etag"))
        foreign = httpx.get(link, headers={"Origin": "https://elsewhere.example.com"})
        assert "access-control-allow-origin" not in foreign.headers

    def test_a_link_whose_words_were_changed_does_not_work(self, api, job_id):
        link = api.http.get(f"{JOBS}/{job_id}/download").json()["download_url"]
        for old, new in (
            ("attachment", "inline"),
            ("gltf-binary", "html"),
            ("max-age%3D3600", "max-age%3D9"),
        ):
            assert old in link
            assert httpx.get(link.replace(old, new)).status_code == 403

    def test_what_left_the_store_is_not_found(self, api, ledger):
        job_id = api.rows.make()
        gone = StoredObject(
            key=f"jobs/{job_id}/x/y.glb", size=1, sha256="a" * 64, content_type="model/gltf-binary"
        )
        api.finish(ledger, job_id, gone)
        assert self.fetch(api, job_id).status_code == 404
