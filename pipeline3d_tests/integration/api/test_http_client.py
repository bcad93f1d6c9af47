"""The client against the served API: what a program or the command line does."""

from __future__ import annotations

import socket
import threading
from uuid import UUID, uuid4

import pytest

from pipeline3d.client import Pipeline3dClient
from pipeline3d.database.tables import users
from pipeline3d.errors import BrokenArtifact, Pipeline3dError, RequestError, TransientFailure
from pipeline3d.values import ArtifactType, FailureReport, Progress, StoredObject
from pipeline3d_tests.integration.api.api_fixtures import MAX_UPLOAD_BYTES, draw_png
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY, PASSWORD, USERNAME


@pytest.fixture
def client(api_url, rows):
    with Pipeline3dClient(api_url, API_KEY) as client:
        yield client


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "my photo.png"
    path.write_bytes(draw_png())
    return path


def finish(ledger, store, job_id, content=b"glTF..."):
    """Do what a run does."""
    ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
    for name, kind in (("model.glb", ArtifactType.OUTPUT_MODEL), ("thumbnail.png", ArtifactType.PREVIEW)):
        stored = store.put_bytes(
            f"jobs/{job_id}/glb_export/{name}", content + name.encode(), "model/gltf-binary"
        )
        ledger.record_artifact(job_id, 1, "glb_export", name, kind, stored)
    ledger.succeed(job_id, "run-1")


def test_a_photo_goes_up_and_a_model_comes_down(client, photo, ledger, store, tmp_path):
    job = client.create_job("inflate-v1", {"input_path": client.upload(photo)}, tags=["t"])
    assert job["status"] == "QUEUED"
    finish(ledger, store, UUID(job["id"]))
    job = client.wait(job["id"], timeout_s=60)
    assert job["status"] == "SUCCEEDED"
    assert client.download(job["id"], tmp_path / "a.glb").read_bytes() == b"glTF...model.glb"
    assert client.download(job["id"], tmp_path / "a.png", name="thumbnail.png").read_bytes().endswith(b".png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.glb", "a.png", "my photo.png"]
    assert [event["payload"]["event"] for event in client.events(job["id"])][-1] == "succeeded"
    assert [item["id"] for item in client.list_jobs()] == [job["id"]]


def test_signing_in_gives_the_key_that_is_used_from_then_on(api_url, rows):
    with Pipeline3dClient(api_url + "/") as client:
        with pytest.raises(RequestError) as caught:
            client.create_job("inflate-v1", {})
        assert caught.value.code == "not_authenticated"
        assert client.login(USERNAME, PASSWORD).startswith("p3d_")
        with pytest.raises(RequestError) as caught:
            client.create_job("inflate-v1", {})
        assert caught.value.code == "missing_image"
        assert caught.value.details["status"] == 422


def test_every_change_is_told_once_and_after_growing_pauses_the_service_waits(api_url, rows, ledger):
    job_id = rows.make()
    pauses: list[float] = []
    told: list[tuple[str, int]] = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 4:
            ledger.begin(job_id, attempt=1, run_id="r", delivers=True)
            ledger.report_progress(
                job_id, "r", Progress(percent=50, stage="mesh", stage_number=3, stage_count=6)
            )
        if len(pauses) == 7:  # the next answer is held back, and meanwhile it ends
            threading.Timer(0.2, ledger.succeed, (job_id, "r")).start()

    with Pipeline3dClient(api_url, API_KEY, sleep=sleep) as client:
        client.wait(job_id, on_progress=lambda job: told.append((job["status"], job["progress_percent"])))
    assert told == [("QUEUED", 0), ("RUNNING", 50), ("SUCCEEDED", 100)]
    assert pauses == pytest.approx([0.2 * 1.3**number for number in range(7)])


def test_a_job_that_takes_too_long_is_left_and_said_so(api_url, rows):
    times = iter(range(100))
    with (
        Pipeline3dClient(
            api_url, API_KEY, sleep=lambda seconds: None, clock=lambda: float(next(times))
        ) as client,
        pytest.raises(Pipeline3dError) as caught,
    ):
        client.wait(rows.make(), timeout_s=5)
    assert caught.value.code == "wait_timeout"


def test_a_failed_job_is_an_answer_and_its_download_is_refused(client, rows, ledger, tmp_path):
    job_id = rows.make()
    ledger.begin(job_id, attempt=1, run_id="r", delivers=True)
    ledger.fail(job_id, "r", FailureReport(code="no_clear_object", message="m", hint="h"))
    assert client.wait(job_id)["error"]["code"] == "no_clear_object"
    with pytest.raises(RequestError) as caught:
        client.download(job_id, tmp_path / "a.glb")
    assert caught.value.code == "not_finished"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("use", "code"),
    [
        (lambda client: client.create_job("nothing", {}), "unknown_model"),
        (lambda client: client.create_job("triposr-v1", {}), "not_checked"),
        (lambda client: client.create_job("inflate-v1", {"seed": -1}), "invalid_parameters"),
        (lambda client: client.get_job(uuid4()), "unknown_job"),
        (lambda client: client.get_job("nonsense"), "invalid_request"),
    ],
)
def test_a_refusal_is_an_error_with_the_code_of_the_api(client, use, code):
    with pytest.raises(RequestError) as caught:
        use(client)
    assert caught.value.code == code
    assert caught.value.message


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.txt", b"text", "unsupported_content_type"),
        ("a", b"?", "unsupported_content_type"),
        ("a.png", b"x" * (MAX_UPLOAD_BYTES + 1), "file_too_large"),  # found out before it is sent
    ],
)
def test_a_file_that_would_be_refused_is_not_uploaded(client, tmp_path, name, content, code):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RequestError) as caught:
        client.upload(path)
    assert caught.value.code == code


def test_a_damaged_download_leaves_no_file(client, rows, ledger, store, tmp_path):
    job_id = rows.make()
    stored = store.put_bytes(f"jobs/{job_id}/glb_export/model.glb", b"damaged", "model/gltf-binary")
    recorded = StoredObject(
        key=stored.key, size=stored.size, sha256="0" * 64, content_type=stored.content_type
    )
    ledger.begin(job_id, attempt=1, run_id="r", delivers=True)
    ledger.record_artifact(job_id, 1, "glb_export", "model.glb", ArtifactType.OUTPUT_MODEL, recorded)
    ledger.succeed(job_id, "r")
    with pytest.raises(BrokenArtifact):
        client.download(job_id, tmp_path / "a.glb")
    assert list(tmp_path.iterdir()) == []


def test_a_service_that_is_away_may_be_tried_again():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = Pipeline3dClient(f"http://127.0.0.1:{taken.getsockname()[1]}", "k")
        with client, pytest.raises(TransientFailure) as caught:
            client.models()
    assert caught.value.code == "unreachable"


def test_an_artifact_that_is_not_there_is_named(client, rows, tmp_path):
    with pytest.raises(RequestError, match=r"none\.glb"):
        client.download(rows.make(), tmp_path / "x", name="none.glb")


def test_an_account_of_an_earlier_systems_form_uploads_alike(api_url, rows, photo):
    rows.run(users.update().where(users.c.username == USERNAME).values(compatibility="tcc"))
    try:
        with Pipeline3dClient(api_url, API_KEY) as client:
            name = client.upload(photo)
            assert client.create_job("inflate-v1", {"input_path": name})["status"] == "QUEUED"
    finally:
        rows.run(users.update().where(users.c.username == USERNAME).values(compatibility=None))
