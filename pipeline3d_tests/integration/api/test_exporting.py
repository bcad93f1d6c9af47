"""Asking for an export: of an uploaded model, or of an earlier job's."""

from __future__ import annotations

from uuid import UUID

import pytest

from pipeline3d.values import ArtifactType, StoredObject
from pipeline3d_tests.integration.api.api_fixtures import JOBS
from pipeline3d_tests.integration.requests.database_fixtures import OTHER_API_KEY

GLB = b"glTF\x02\x00\x00\x00" + bytes(64)
STORED = StoredObject(key="k", size=4, sha256="0" * 64, content_type="model/gltf-binary")


def ask(api, **params):
    return api.create(model_id="export-v1", input_params=params)


@pytest.mark.parametrize(
    ("filename", "content_type", "data"),
    [
        ("chair.glb", "model/gltf-binary", GLB),
        ("chair.glb", "application/octet-stream", GLB),  # what browsers say
        ("chair.gltf", "model/gltf+json", b'\xef\xbb\xbf {"asset": {}}'),
        ("chair.zip", "application/zip", b"PK\x03\x04" + bytes(40)),
        ("chair.3MF", "model/3mf", b"PK\x03\x04" + bytes(40)),
        ("chair.stl", "application/vnd.ms-pki.stl", b"solid chair"),
        ("chair.obj", "text/plain", b"v 0 0 0\n"),
        ("chair.ply", "application/octet-stream", b"ply\nformat"),
    ],
)
def test_a_model_file_is_taken_whatever_the_system_calls_its_type(api, filename, content_type, data):
    answer = ask(api, input_path=api.upload(data, filename, content_type), formats=["stl"])
    assert answer.status_code == 201, answer.text
    assert answer.json()["kind"] == "export_model"


@pytest.mark.parametrize(
    ("filename", "data"),
    [("chair.glb", b"PK\x03\x04"), ("chair.gltf", b"glTF"), ("chair.ply", b"solid"), ("chair.zip", GLB)],
)
def test_a_file_that_is_not_what_its_name_says_is_refused_at_once(api, filename, data):
    answer = ask(api, input_path=api.upload(data, filename, "application/octet-stream"))
    assert (answer.status_code, answer.json()["code"]) == (422, "not_a_model")


def test_a_picture_is_no_model_and_a_model_is_no_picture(api):
    assert ask(api, input_path=api.upload()).json()["code"] == "not_a_model"
    model = api.upload(GLB, "chair.glb", "model/gltf-binary")
    assert api.create(input_params={"input_path": model}).json()["code"] == "not_an_image"


def test_a_ticket_for_a_model_allows_more_bytes_than_one_for_a_picture(api):
    sizes = {
        name: api.http.post(
            f"{JOBS}/upload-ticket", json={"filename": name, "content_type": content_type}
        ).json()["max_bytes"]
        for name, content_type in (("a.png", "image/png"), ("a.glb", "model/gltf-binary"))
    }
    assert sizes["a.glb"] > sizes["a.png"]


def test_only_ones_own_job_that_has_a_model_can_be_exported(api, ledger):
    made = UUID(api.create(input_params={"input_path": api.upload()}).json()["id"])
    assert ask(api, source_job_id=str(made)).json()["code"] == "unknown_source"  # it has none yet
    ledger.begin(made, attempt=1, run_id="r", delivers=True)
    ledger.record_artifact(made, 1, "glb_export", "model.glb", ArtifactType.OUTPUT_MODEL, STORED, {})
    assert ask(api, source_job_id=str(made)).json()["code"] == "unknown_source"  # and may still change
    ledger.succeed(made, "r")
    assert ask(api, source_job_id=str(made)).status_code == 201
    body = {"model_id": "export-v1", "input_params": {"source_job_id": str(made)}}
    foreign = api.http.post(f"{JOBS}/", json=body, headers={"x-api-key": OTHER_API_KEY})
    assert foreign.json()["code"] == "unknown_source"
