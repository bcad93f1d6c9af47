"""Requests through the whole installation: API, jobs table, sensor, Dagster run, object store and back."""

import signal
import subprocess
import sys
from contextlib import suppress
from uuid import UUID

import httpx
import psutil
import pytest
from PIL import Image

from pipeline3d.errors import Pipeline3dError
from pipeline3d.geometry import glb, measuring
from pipeline3d.imaging.sample_photo import draw_sample_photo
from pipeline3d.values import STAGES_BY_KIND, Kind
from pipeline3d_tests.servers import wait_until

FINISHED = {"SUCCEEDED", "FAILED", "CANCELED", "EXPIRED"}
FINISH_DEADLINE_S = 120.0

LAUNCH_RUN = """
mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
LAUNCH_BACKFILL = """
mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
RUN_STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
BACKFILL_STATUS = """
query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"""
MATERIALIZATIONS = """
query ($key: AssetKeyInput!, $partitions: [String!]) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  assetMaterializations(partitions: $partitions) { partition metadataEntries { label
    ... on IntMetadataEntry { intValue } ... on MarkdownMetadataEntry { mdStr } } } } } }"""


@pytest.fixture(scope="session")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "sample.jpg"
    Image.fromarray(draw_sample_photo()).save(path, quality=92)
    return path


def submit(client, photo) -> str:
    return client.create_job("inflate-v1", {"input_path": client.upload(photo), "quality": "fast"})["id"]


def finish(client, job_id: str) -> dict:
    return client.wait(UUID(job_id), timeout_s=FINISH_DEADLINE_S)


def test_a_photo_becomes_a_glb_that_can_be_downloaded_and_its_lineage_seen(
    installation, client, photo, tmp_path
):
    seen = []
    job_id = submit(client, photo)
    job = client.wait(UUID(job_id), on_progress=seen.append, timeout_s=FINISH_DEADLINE_S)
    assert job["status"] == "SUCCEEDED", job["error"]
    assert set(job["stage_seconds"]) == set(STAGES_BY_KIND[Kind.IMAGE_TO_3D])
    percents = [snapshot["progress_percent"] for snapshot in seen]
    assert percents == sorted(percents)
    mesh = glb.decode_glb(client.download(UUID(job_id), tmp_path / "model.glb").read_bytes())
    assert measuring.measure(mesh).watertight
    found = installation.graphql(MATERIALIZATIONS, key={"path": ["model_preview"]}, partitions=[job_id])[
        "assetNodeOrError"
    ]["assetMaterializations"]
    (materialization,) = found
    metadata = {entry["label"]: entry for entry in materialization["metadataEntries"]}
    link = metadata["preview"]["mdStr"].removeprefix("![preview](").removesuffix(")")
    picture = httpx.get(link, follow_redirects=True)
    assert picture.status_code == 200
    assert picture.content.startswith(b"\x89PNG")


def test_a_run_launched_by_hand_and_a_backfill_of_two_partitions_work(installation, client, photo):
    first, second = submit(client, photo), submit(client, photo)
    assert {finish(client, first)["status"], finish(client, second)["status"]} == {"SUCCEEDED"}
    selector = {"repositoryLocationName": "pipeline3d", "repositoryName": "__repository__"}
    launched = installation.graphql(
        LAUNCH_RUN,
        params={
            "selector": {**selector, "jobName": "image_to_3d"},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": first}]},
        },
    )["launchRun"]
    backfill = installation.graphql(
        LAUNCH_BACKFILL,
        params={
            "assetSelection": [{"path": ["glb_export"]}, {"path": ["model_preview"]}],
            "partitionNames": [first, second],
        },
    )["launchPartitionBackfill"]
    run_id, backfill_id = launched["run"]["runId"], backfill["backfillId"]

    def both_succeeded() -> bool:
        run = installation.graphql(RUN_STATUS, id=run_id)["runOrError"]["status"]
        filled = installation.graphql(BACKFILL_STATUS, id=backfill_id)["partitionBackfillOrError"]["status"]
        assert run not in {"FAILURE", "CANCELED"}
        assert filled not in {"FAILED", "COMPLETED_FAILED"}
        return run == "SUCCESS" and filled == "COMPLETED_SUCCESS"

    wait_until(both_succeeded, what="the run and the backfill", deadline_s=FINISH_DEADLINE_S)
    assert client.get_job(UUID(first))["status"] == "SUCCEEDED"


def test_a_picture_without_an_object_is_refused_with_a_reason(client, tmp_path):
    blank = tmp_path / "blank.png"
    Image.new("RGB", (400, 300), (200, 200, 200)).save(blank)
    job = finish(client, submit(client, blank))
    assert job["status"] == "FAILED"
    assert job["error"]["code"] == "no_clear_object"
    assert job["error"]["stage"] == "preprocessed_image"
    assert job["error"]["hint"]


def run_process_of(installation, client, job_id: str) -> psutil.Process | None:
    """The process that works on the request, once it has begun."""
    if client.get_job(UUID(job_id))["status"] != "RUNNING":
        return None
    scratch = list((installation.data / "scratch").glob("run-*-*"))
    return psutil.Process(int(scratch[0].name.rsplit("-", 1)[-1])) if scratch else None


def test_a_run_whose_process_is_killed_is_tried_again_and_finishes(installation, client, photo):
    job_id = submit(client, photo)
    found: list[psutil.Process] = []

    def it_runs() -> bool:
        process = run_process_of(installation, client, job_id)
        found.extend([process] if process else [])
        return bool(found)

    wait_until(it_runs, what="the run of the request", deadline_s=60, interval_s=0.01)
    found[0].send_signal(signal.SIGKILL)
    job = finish(client, job_id)
    assert job["status"] == "SUCCEEDED", job["error"]
    assert job["attempt"] == 2


@pytest.mark.parametrize("program", ["api", "code-server", "daemon", "webserver", "objects", "postgres"])
def test_killing_any_one_program_leaves_the_request_finished_or_failed_with_a_reason(
    installation, client, photo, program
):
    job_id = submit(client, photo)
    psutil.Process(installation.pid_of(program)).send_signal(signal.SIGKILL)
    ended: list[dict] = []

    def it_ends() -> bool:
        with suppress(Pipeline3dError):  # what was killed is not back yet
            job = client.get_job(UUID(job_id))
            ended.extend([job] if job["status"] in FINISHED else [])
        return bool(ended)

    wait_until(it_ends, what=f"an end of {job_id}", deadline_s=FINISH_DEADLINE_S, interval_s=0.25)
    assert ended[0]["status"] == "SUCCEEDED" or ended[0]["error"]["message"]


def test_a_second_start_says_that_it_is_running_and_where(installation):
    second = subprocess.run(
        [sys.executable, "-m", "pipeline3d.cli", "up"],
        env=installation.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 1
    assert installation.address in second.stderr


def test_after_a_stop_nothing_is_left_and_the_next_start_finds_all_data(installation, photo):
    with installation.client() as client:
        job_id = submit(client, photo)
        finish(client, job_id)
    assert installation.stop() == 0
    assert installation.processes() == []
    installation.start()
    with installation.client() as client:
        assert client.get_job(UUID(job_id))["status"] == "SUCCEEDED"
