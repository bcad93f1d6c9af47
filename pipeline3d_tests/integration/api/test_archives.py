"""All files of a job in one ZIP: whole and verified, or visibly broken off."""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from uuid import uuid4

import httpx
import pytest

from pipeline3d.api.transfers import Places, Transfers
from pipeline3d.store.contents import PIECE_BYTES
from pipeline3d.values import ArtifactType, StoredObject
from pipeline3d_tests.integration.api.api_fixtures import JOBS, serving
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY

MODEL = bytes(range(256)) * (PIECE_BYTES // 256) + b"and one piece more"
FILES = {
    ("glb_export", "model.glb"): (ArtifactType.OUTPUT_MODEL, MODEL, "model/gltf-binary"),
    ("preview", "thumbnail.png"): (ArtifactType.PREVIEW, b"pixels", "image/png"),
    ("quality_report", "report.json"): (ArtifactType.REPORT, b"{}", "application/json"),
    ("mesh", "empty.npz"): (ArtifactType.INTERMEDIATE, b"", "application/octet-stream"),
}
MADE_FROM = {"mesh/empty.npz": "0" * 64}


@pytest.fixture(scope="module")
def stored(store):
    """The files of a job, in the store once for all tests."""
    prefix = f"jobs/{uuid4()}"
    return {
        (asset, name): store.put_bytes(f"{prefix}/{asset}/{name}", data, content_type)
        for (asset, name), (_, data, content_type) in FILES.items()
    }


@pytest.fixture
def finish(api, ledger, stored):
    """Makes a job that has succeeded with these files; some may be others than in the store."""

    def make(changed=None, copies=0):
        job_id = api.rows.make(tags=("shop",), metadata={"sku": "ü-1"})
        ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
        for (asset, name), (kind, _, _) in FILES.items():
            file = (changed or {}).get(asset) or stored[asset, name]
            ledger.record_artifact(job_id, 1, asset, name, kind, file, {"made_from": MADE_FROM, "faces": 8})
        for number in range(copies):
            model = stored["glb_export", "model.glb"]
            ledger.record_artifact(job_id, 1, "lods", f"lod{number}.glb", ArtifactType.EXPORT, model, {})
        ledger.succeed(job_id, "run-1")
        return job_id

    return make


def get(api, job_id, **query):
    return api.http.get(f"{JOBS}/{job_id}/archive", params=query)


def test_the_archive_holds_every_file_and_a_manifest_of_them(api, finish):
    job_id = finish()
    answer = get(api, job_id)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f'attachment; filename="{job_id}.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        paths = sorted(f"{asset}/{name}" for asset, name in FILES)
        assert archive.namelist() == [*paths, "manifest.json"]
        for (asset, name), (_, data, _) in FILES.items():
            assert archive.read(f"{asset}/{name}") == data
        manifest = json.loads(archive.read("manifest.json"))
    job = manifest["job"]
    assert (job["id"], job["status"], job["tags"]) == (str(job_id), "SUCCEEDED", ["shop"])
    assert (job["params"], job["metadata"]) == ({"seed": 0}, {"sku": "ü-1"})
    listed = {one["path"]: one for one in manifest["artifacts"]}
    assert sorted(listed) == paths
    model = listed["glb_export/model.glb"]
    assert (model["size"], model["sha256"]) == (len(MODEL), hashlib.sha256(MODEL).hexdigest())
    assert (model["type"], model["content_type"]) == ("OUTPUT_MODEL", "model/gltf-binary")
    assert (model["made_from"], model["metadata"]) == (MADE_FROM, {"faces": 8})


def test_the_same_job_gives_the_same_bytes_under_each_of_its_addresses(api, finish):
    job_id = finish()
    first = get(api, job_id).content
    assert get(api, job_id).content == first
    assert api.http.get(f"{JOBS}/{job_id}/artifacts.zip").content == first


def test_only_files_of_the_types_that_were_named_come(api, finish):
    answer = get(api, finish(), types=["PREVIEW", "REPORT"])
    names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert names == ["preview/thumbnail.png", "quality_report/report.json", "manifest.json"]


def test_what_the_caller_uploaded_has_its_own_ending(api, ledger):
    job = api.create().json()
    api.http.post(f"{JOBS}/{job['id']}/cancel")
    answer = get(api, job["id"])
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["upload/input.png", "manifest.json"]
        [listed] = json.loads(archive.read("manifest.json"))["artifacts"]
        assert listed["sha256"] == hashlib.sha256(archive.read("upload/input.png")).hexdigest()


@pytest.mark.parametrize(
    ("state", "query", "status", "code"),
    [
        ("QUEUED", {}, 400, "not_finished"),
        ("RUNNING", {}, 400, "not_finished"),
        ("CANCELING", {}, 400, "not_finished"),
        ("SUCCEEDED", {}, 404, "unknown_artifact"),
        ("FAILED", {"types": "LOG"}, 404, "unknown_artifact"),
        ("SUCCEEDED", {"types": "x"}, 422, "invalid_request"),
    ],
)
def test_what_cannot_be_archived_is_answered_as_such(api, in_state, state, query, status, code):
    answer = get(api, in_state(state), **query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def other(file, **changes):
    facts = {"key": file.key, "size": file.size, "sha256": file.sha256, "content_type": file.content_type}
    return StoredObject(**{**facts, **changes})


@pytest.mark.parametrize(
    ("asset", "name", "changes"),
    [
        ("quality_report", "report.json", {"sha256": "0" * 64}),
        ("quality_report", "report.json", {"size": 3}),
        ("quality_report", "report.json", {"key": "jobs/gone/report.json"}),
        ("preview", "thumbnail.png", {"sha256": "0" * 64}),
    ],
)
def test_a_file_that_is_not_as_recorded_breaks_the_connection_off(api, finish, stored, asset, name, changes):
    job_id = finish({asset: other(stored[asset, name], **changes)})
    with pytest.raises(httpx.RemoteProtocolError):
        get(api, job_id)


def test_a_first_file_that_is_gone_is_answered_as_such(api, finish, stored):
    gone = other(stored["preview", "thumbnail.png"], key="jobs/gone/x.png")
    answer = get(api, finish({"preview": gone}), types="PREVIEW")
    assert (answer.status_code, answer.json()["code"]) == (404, "object_missing")


def test_a_caller_who_leaves_or_is_broken_off_gives_the_place_back(api, finish, stored, api_settings):
    whole = finish(copies=4)  # more than the buffers on the way hold
    broken = finish({"quality_report": other(stored["quality_report", "report.json"], sha256="0" * 64)})
    places = Places("archives", total=1, per_user=1, patience_s=0.5)
    transfers = Transfers(archives=places)
    with serving(api_settings, lambda app: use(app, transfers)) as url:
        headers = {"x-api-key": API_KEY}
        api.http.base_url = url
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError):
                get(api, broken)
        with httpx.stream("GET", f"{url}{JOBS}/{whole}/archive", headers=headers) as held:
            begun = held.iter_raw(1024)
            next(begun)
            refused = get(api, whole)
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_transfers")
            assert "retry-after" in refused.headers
        deadline = time.monotonic() + 30
        while (answer := get(api, whole)).status_code == 429 and time.monotonic() < deadline:
            pass
        assert answer.status_code == 200


def use(app, transfers):
    object.__setattr__(app.state.services, "transfers", transfers)
