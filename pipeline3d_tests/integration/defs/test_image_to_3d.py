"""A request's run: real assets, database and object store; only the daemon is missing."""

import dataclasses
import hashlib
import io

import dagster as dg
import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline3d.defs.sensors.dispatch import find_finished_stages, plan_run
from pipeline3d.errors import LeaseLost
from pipeline3d.generation import inflation
from pipeline3d.requests.settlement import WORKER_LOST
from pipeline3d.values import Kind, stages_of

STAGES = stages_of(Kind.IMAGE_TO_3D, "inflate-v1", {"delivers": "model"})


def png_of_a_disc(colour=(200, 60, 40, 255)) -> bytes:
    image = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((48, 48, 208, 208), fill=colour)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def png_of_noise() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def disc(workbench):
    """A request that has ended, and how its run went. What a test takes away it puts back."""
    job_id = workbench.request(png_of_a_disc(), size_m=0.5)
    result = workbench.run(job_id)
    assert result.success
    return job_id, result


def test_a_photo_becomes_a_stored_and_recorded_model(workbench, disc):
    job_id, _ = disc
    row = workbench.row(job_id)
    assert (row.state, row.progress_percent, row.attempt) == ("SUCCEEDED", 100, 1)
    assert tuple(row.stage_seconds) == tuple(sorted(STAGES, key=list(row.stage_seconds).index))
    assert set(row.stage_seconds) == set(STAGES)
    artifacts = workbench.artifacts(job_id)
    assert set(artifacts) == {*STAGES, "upload"} - {"delivery"}
    for artifact in artifacts.values():
        content = workbench.store.read_bytes(artifact.storage_path)
        assert len(content) == artifact.file_size_bytes
        if artifact.asset != "upload":
            assert hashlib.sha256(content).hexdigest() == artifact.sha256
    assert artifacts["glb_export"].type == "OUTPUT_MODEL"
    assert artifacts["glb_export"].metadata["watertight"] is True
    assert artifacts["glb_export"].storage_path == f"jobs/{job_id}/glb_export/model.glb"


def test_nothing_is_left_in_the_scratch_folder_and_no_temporary_object_in_the_store(workbench, disc):
    workbench.run(workbench.request(b"no picture"))
    assert list(workbench.scratch.iterdir()) == []
    assert list(workbench.store.list_keys("tmp/")) == []


def test_analysts_see_sizes_counts_parameters_and_the_preview(disc):
    _, result = disc
    metadata = {
        event.asset_key.path[-1]: event.materialization.metadata
        for event in result.get_asset_materialization_events()
    }
    assert metadata["source_image"]["width_px"].value == 256
    assert metadata["source_image"]["parameters"].value["size_m"] == 0.5
    assert metadata["mesh"]["faces"].value > 100
    assert all(0 < metadata[stage]["seconds"].value < 60 for stage in STAGES if stage != "delivery")
    assert max(metadata["glb_export"]["extents_m"].value) == pytest.approx(0.5, abs=1e-3)
    assert "http://api.example.com/previews/" in metadata["model_preview"]["preview"].value
    assert metadata["glb_export"]["dagster/uri"].value.endswith("/glb_export/model.glb")


@pytest.mark.parametrize(
    ("picture", "code", "stage"),
    [
        (b"this is no picture", "not_an_image", "source_image"),  # a text file
        (png_of_a_disc()[:300], "truncated_image", "source_image"),  # an upload that broke off
        (png_of_noise(), "no_clear_object", "preprocessed_image"),  # nothing to cut out
    ],
)
def test_a_bad_picture_ends_in_failed_with_code_stage_and_a_sentence(workbench, picture, code, stage):
    job_id = workbench.request(picture)
    assert not workbench.run(job_id).success
    row = workbench.row(job_id)
    assert (row.state, row.error_code, row.error_stage, row.attempt) == ("FAILED", code, stage, 1)
    assert len(row.error_message) > 10
    assert row.error_hint
    assert row.error_retryable is False


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda vertices: vertices * np.float32("nan"), "nan_mesh"),  # a model that diverged
        (lambda vertices: vertices + np.float32(1e6), "mesh_rejected"),  # far away: 32 bits lose the shape
        (lambda vertices: vertices * np.float32(0), "mesh_rejected"),  # every face without area
    ],
)
def test_a_mesh_that_fails_its_checks_is_not_delivered(workbench, monkeypatch, spoil, code):
    good = inflation.inflate

    def broken(*arguments, **options):
        model = good(*arguments, **options)
        return dataclasses.replace(model, vertices=spoil(model.vertices))

    monkeypatch.setattr(inflation, "inflate", broken)
    job_id = workbench.request(png_of_a_disc())
    assert not workbench.run(job_id).success
    row = workbench.row(job_id)
    assert (row.state, row.error_code, row.error_stage) == ("FAILED", code, "mesh")
    assert "glb_export" not in workbench.artifacts(job_id)


def test_an_upload_that_disappeared_is_named(workbench):
    job_id = workbench.request(png_of_a_disc())
    workbench.store.remove(workbench.artifacts(job_id)["upload"].storage_path)
    workbench.run(job_id)
    row = workbench.row(job_id)
    assert (row.state, row.error_code, row.error_stage) == ("FAILED", "object_missing", "source_image")


def test_an_upload_that_grew_after_the_job_was_made_is_refused(workbench):
    job_id = workbench.request(png_of_a_disc())
    key = workbench.artifacts(job_id)["upload"].storage_path
    workbench.store.put_bytes(key, bytes(51 * 1024 * 1024), "image/png")
    workbench.run(job_id)
    assert workbench.row(job_id).error_code == "file_too_large"


def test_an_unreachable_object_store_queues_the_next_attempt(workbench, monkeypatch):
    job_id = workbench.request(png_of_a_disc())
    monkeypatch.setenv("MINIO_ENDPOINT", "127.0.0.1:1")
    assert not workbench.run(job_id).success
    row = workbench.row(job_id)
    assert (row.state, row.attempt) == ("QUEUED", 2)
    assert row.not_before is not None
    assert "store_unavailable" in [event.get("code") for event in workbench.events(job_id)]


def test_a_stored_intermediate_that_disappeared_is_named_and_not_replaced(workbench, disc):
    job_id, _ = disc
    stored = workbench.artifacts(job_id)["repaired_mesh"]
    key, content = stored.storage_path, workbench.content(job_id, "repaired_mesh")
    workbench.store.remove(key)
    result = workbench.run(job_id, attempt=None, asset_selection=[dg.AssetKey("glb_export")])
    workbench.store.put_bytes(key, content, stored.content_type)
    assert not result.success
    assert key in str(result.all_events[-1]) or any(key in str(event) for event in result.all_events)


def test_launching_the_job_by_hand_for_a_finished_request_rebuilds_and_leaves_the_state(workbench, disc):
    job_id, _ = disc
    before, stored = workbench.row(job_id), workbench.artifacts(job_id)["mesh"]
    assert workbench.run(job_id, attempt=None).success
    after, rebuilt = workbench.row(job_id), workbench.artifacts(job_id)["mesh"]
    assert rebuilt.created_at > stored.created_at
    assert (after.state, after.attempt, after.completed_at) == ("SUCCEEDED", 1, before.completed_at)


def test_one_asset_can_be_materialized_again_from_what_is_stored(workbench, disc):
    job_id, _ = disc
    before = workbench.artifacts(job_id)["glb_export"]
    result = workbench.run(job_id, attempt=None, asset_selection=[dg.AssetKey("glb_export")])
    assert result.success
    assert workbench.artifacts(job_id)["glb_export"].sha256 == before.sha256


def test_launching_by_hand_for_a_failed_request_is_a_new_attempt(workbench):
    job_id = workbench.request(png_of_a_disc())
    key = workbench.artifacts(job_id)["upload"].storage_path
    workbench.store.put_bytes(key, b"broken", "image/png")
    workbench.run(job_id)
    assert workbench.row(job_id).state == "FAILED"
    workbench.store.put_bytes(key, png_of_a_disc(), "image/png")
    assert workbench.run(job_id, attempt=None).success
    row = workbench.row(job_id)
    assert (row.state, row.attempt, row.error_code) == ("SUCCEEDED", 2, None)


def test_a_second_run_of_an_attempt_that_is_being_worked_on_does_nothing(workbench):
    job_id = workbench.request(png_of_a_disc())
    workbench.ledger.begin(job_id, attempt=1, run_id="the first run", delivers=True)
    with pytest.raises(dg.DagsterError) as caught:
        workbench.definitions.resolve_job_def("image_to_3d").execute_in_process(
            instance=workbench.instance, partition_key=str(job_id), tags={"pipeline3d/attempt": "1"}
        )
    assert isinstance(caught.value.__cause__, LeaseLost)
    assert workbench.row(job_id).run_id == "the first run"
    assert workbench.row(job_id).state == "RUNNING"


def test_the_same_picture_and_seed_give_the_same_mesh(workbench, disc):
    first, _ = disc
    second = workbench.request(png_of_a_disc(), size_m=0.5)
    workbench.run(second)
    assert workbench.artifacts(first)["mesh"].sha256 == workbench.artifacts(second)["mesh"].sha256


def test_a_later_attempt_goes_on_from_the_files_that_an_earlier_one_stored(workbench):
    job_id = workbench.request(png_of_a_disc())
    begun = [dg.AssetKey(stage) for stage in STAGES[:3]]
    workbench.run(job_id, attempt=None, asset_selection=begun)  # as a run that dies before the export
    workbench.ledger.begin(job_id, attempt=1, run_id="lost", delivers=True)
    workbench.ledger.requeue(job_id, "lost", WORKER_LOST, 0)
    claims = workbench.ledger.claim_queued(limit=100, lease_s=60)  # others may wait for their next attempt
    (claim,) = [claim for claim in claims if claim.job_id == job_id]
    plan = plan_run(claim, finished=find_finished_stages(workbench.instance, claim))
    assert [key.path[-1] for key in plan.asset_selection] == list(STAGES[3:])
    before = workbench.artifacts(job_id)
    assert workbench.run(job_id, attempt=2, asset_selection=plan.asset_selection).success
    row, after = workbench.row(job_id), workbench.artifacts(job_id)
    assert (row.state, row.attempt) == ("SUCCEEDED", 2)
    assert [after[stage].created_at == before[stage].created_at for stage in STAGES[:3]] == [True] * 3
    assert after["glb_export"].attempt == 2
