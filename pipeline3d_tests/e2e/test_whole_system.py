"""Requests through the whole installation: API, jobs table, sensor, Dagster run, object store and back."""

import json
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from uuid import UUID

import httpx
import psutil
import pytest
from PIL import Image
from standardwebhooks.webhooks import Webhook
from websockets.sync.client import connect

from benchmarks.asset_page import PAGE_QUERIES
from benchmarks.faults import endure
from benchmarks.faults_kills import Fault, find_victim
from benchmarks.scale_filling import BACKLOG_REASON
from pipeline3d.geometry import glb, measuring
from pipeline3d.imaging.sample_photo import draw_sample_photo
from pipeline3d.local.state import load_state
from pipeline3d.store.s3 import S3Store
from pipeline3d.values import STAGES_BY_ROUTE, Kind, Route, stages_of
from pipeline3d_tests.e2e.inspection import gather
from pipeline3d_tests.installation import CHECKOUT
from pipeline3d_tests.servers import http_server, wait_until

FINISH_DEADLINE_S = 120.0
CANCEL_DEADLINE_S = 30.0
"""The ladder of signals takes eight seconds, and the probe works for ten minutes."""
GONE_WITHIN_S = 40.0
TOLD_WITHIN_S = 5.0
"""A webhook arrives well within a second; a busy machine is given more."""
LOOK_EVERY_S = 0.3
"""A question to Dagster's webserver takes it tens of milliseconds, which what is waited for needs itself."""

LAUNCH_RUN = """
mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
LAUNCH_BACKFILL = """
mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
RUN_STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
BACKFILL_STATUS = """
query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"""
RUNS_OF_REQUEST = """
query ($key: String!) { runsOrError(filter: {tags: [{key: "dagster/partition", value: $key}]}) { ... on Runs {
  results { runId status } } } }"""
TERMINATE_RUNS = """
mutation ($ids: [String!]!) { terminateRuns(runIds: $ids, terminatePolicy: SAFE_TERMINATE) {
  ... on TerminateRunsResult { terminateRunResults { __typename
    ... on TerminateRunFailure { message } } } } }"""
MATERIALIZATIONS = """
query ($key: AssetKeyInput!, $partitions: [String!]) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  assetMaterializations(partitions: $partitions) { partition metadataEntries { label
    ... on IntMetadataEntry { intValue } ... on MarkdownMetadataEntry { mdStr } } } } } }"""


@pytest.fixture(scope="session")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "sample.jpg"
    Image.fromarray(draw_sample_photo()).save(path, quality=92)
    return path


def submit(client, photo, *, delivers: str = "model") -> str:
    params = {"input_path": client.upload(photo), "quality": "fast", "delivers": delivers}
    return client.create_job("inflate-v1", params)["id"]


def finish(client, job_id: str) -> dict:
    return client.wait(UUID(job_id), timeout_s=FINISH_DEADLINE_S)


def test_a_photo_becomes_a_glb_that_can_be_downloaded_and_its_lineage_seen(
    installation, client, photo, tmp_path
):
    seen = []
    job_id = submit(client, photo, delivers="bundle")
    job = client.wait(UUID(job_id), on_progress=seen.append, timeout_s=FINISH_DEADLINE_S)
    assert job["status"] == "SUCCEEDED", job["error"]
    assert set(job["stage_seconds"]) == set(stages_of(Kind.IMAGE_TO_3D, "inflate-v1", job["params"]))
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


def test_the_dagster_ui_is_seen_through_the_api_by_those_who_may(installation):
    state = load_state(installation.data)
    assert state is not None
    address = installation.address
    login = {"username": "admin", "password": state.superuser_password}
    key = httpx.post(f"{address}/api/v1/auth/login", json=login).json()["api_key"]
    with httpx.Client(base_url=address, headers={"x-api-key": key}, timeout=30) as http:
        page = http.get("/dagster/runs")
        assert page.status_code == 200
        assert 'src="/dagster/' in page.text  # its files lie below the same path
        asked = {"query": "{ version }"}
        assert http.post("/dagster/graphql", json=asked).json()["data"]["version"]
        assert http.get("/lineage/").status_code == 502  # left out of this installation
    assert httpx.post(f"{address}/dagster/graphql", json=asked).status_code == 401
    with connect(
        f"{address.replace('http', 'ws', 1)}/dagster/graphql",
        additional_headers={"x-api-key": key},
        subprotocols=["graphql-ws"],
        proxy=None,
    ) as subscription:
        subscription.send('{"type": "connection_init", "payload": {}}')
        assert json.loads(subscription.recv(timeout=30))["type"] == "connection_ack"


class Receiver(BaseHTTPRequestHandler):
    """A web app's address for webhooks: verifies and keeps what comes, with the moment."""

    told: list[tuple[datetime, dict]]
    secrets: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        verifier = Webhook(self.secrets[0])
        message = verifier.verify(body, {name.lower(): value for name, value in self.headers.items()})
        self.told.append((datetime.now(UTC), message))
        self.send_response(204)
        self.end_headers()


def traces_of(installation, job_id: str) -> dict[str, int]:
    """What is left of a request in the jobs database, in Dagster's, and in the object store."""
    installed = installation.service_environment()
    names = ("MINIO_ENDPOINT", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "MINIO_BUCKET")
    store = S3Store(*(installed[name] for name in names))
    tables = (
        "jobs WHERE id",
        "artifacts WHERE job_id",
        "job_events WHERE job_id",
        "share_links WHERE job_id",
    )
    counted = {
        table: installation.ask_jobs(f"SELECT count(*) AS n FROM {table} = %s", job_id)[0]["n"]
        for table in tables
    }
    for table in ("runs", "dynamic_partitions"):
        question = f"SELECT count(*) AS n FROM {table} WHERE partition = %s"
        counted[table] = installation.ask_dagster(question, job_id)[0]["n"]
    return {**counted, "objects": len(list(store.list_keys(f"jobs/{job_id}/")))}


def test_a_web_app_watches_is_told_shares_and_deletes_until_nothing_is_left(installation, client):
    handler = type("Handler", (Receiver,), {"told": [], "secrets": []})
    with http_server(handler) as address:
        handler.secrets.append(client.request("GET", "/api/v1/webhooks/secret")["secret"])
        params = {"quality": "fast", "delivers": "model"}
        job_id = client.create_job("sculpt-v1", params, prompt="a mug", webhook_url=address)["id"]
        types = [event.type for event in client.watch(job_id)]
        assert (types[0], types[-1]) == ("job.snapshot", "job.succeeded")
        assert {"job.started", "job.progress", "job.artifact"} <= set(types)
        wait_until(lambda: handler.told, what="the webhook")
        [(moment, message)] = handler.told
    job = client.get_job(job_id)
    assert (message["type"], message["data"]["id"]) == ("job.succeeded", job_id)
    assert (moment - datetime.fromisoformat(job["completed_at"])).total_seconds() < TOLD_WITHIN_S
    share = client.request("POST", f"/api/v1/jobs/{job_id}/shares", {"scope": "result", "expires_in_s": 600})
    assert httpx.get(share["url"]).status_code == 200
    assert httpx.get(f"{share['url']}/model.glb", follow_redirects=True).content.startswith(b"glTF")
    assert all(traces_of(installation, job_id).values())
    client.delete(job_id)
    assert httpx.get(share["url"]).status_code == 404
    wait_until(
        lambda: not any(traces_of(installation, job_id).values()),
        what="the removal",
        interval_s=LOOK_EVERY_S,
    )


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

    wait_until(
        both_succeeded,
        what="the run and the backfill",
        deadline_s=FINISH_DEADLINE_S,
        interval_s=LOOK_EVERY_S,
    )
    assert client.get_job(UUID(first))["status"] == "SUCCEEDED"


def test_a_picture_without_an_object_is_refused_with_a_reason(client, tmp_path):
    blank = tmp_path / "blank.png"
    Image.new("RGB", (400, 300), (200, 200, 200)).save(blank)
    job = finish(client, submit(client, blank))
    assert job["status"] == "FAILED"
    assert job["error"]["code"] == "no_clear_object"
    assert job["error"]["stage"] == "preprocessed_image"
    assert job["error"]["hint"]


def ask_for_probe(client, **params) -> str:
    return client.create_job("probe-v1", params)["id"]


def process_below(installation, job_id: str) -> psutil.Process:
    """The program that a probe's step started: the step is in the middle of its work."""

    def look() -> list[psutil.Process]:
        executing = installation.executing(job_id)
        with suppress(psutil.NoSuchProcess):
            children = executing.children() if executing else []
            return [child for child in children if "time.sleep" in " ".join(child.cmdline())]
        return []

    return gather(look, what=f"the program of {job_id}", deadline_s=60)[0]


def dagster_run_of(installation, job_id: str) -> dict:
    """The newest run of a request, as Dagster knows it."""
    [run] = installation.graphql(RUNS_OF_REQUEST, key=job_id)["runsOrError"]["results"]
    return run


def materializations_of(installation, job_id: str) -> dict[str, int]:
    """How often each asset of a probe was made."""
    counted = {}
    for stage in STAGES_BY_ROUTE[Route.PROBE]:
        node = installation.graphql(MATERIALIZATIONS, key={"path": [stage]}, partitions=[job_id])
        counted[stage] = len(node["assetNodeOrError"]["assetMaterializations"])
    return counted


@pytest.mark.parametrize("fault", [Fault.RUN, Fault.WARDEN])
def test_whatever_dies_in_a_worker_the_run_is_tried_again_and_no_finished_stage_is_repeated(
    installation, client, fault
):
    job_id = ask_for_probe(client, work_s=1.5, in_subprocess=True)
    program = process_below(installation, job_id)
    executing = installation.executing(job_id)
    victim = executing if fault is Fault.RUN else find_victim(installation, fault, random.Random(0))
    victim.send_signal(signal.SIGKILL)
    _gone, alive = psutil.wait_procs([executing, program], timeout=GONE_WITHIN_S)
    assert alive == []  # nothing goes on without its worker
    job = finish(client, job_id)
    assert (job["status"], job["attempt"]) == ("SUCCEEDED", 2), job["error"]
    assert materializations_of(installation, job_id) == dict.fromkeys(STAGES_BY_ROUTE[Route.PROBE], 1)


def test_requests_survive_the_loss_of_every_other_part(installation, client, photo):
    """The short form of `benchmarks.faults`, with a model in between that needs the object store."""
    model = submit(client, photo)
    faults = [Fault.BROKER, Fault.POSTGRES, Fault.OBJECTS, Fault.DAEMON, Fault.CODE_SERVER, Fault.API]
    outcome = endure(
        installation, requests=10, seed=5, every_s=3.0, pace_s=0.5, faults=[*faults, Fault.WEBSERVER]
    )
    assert outcome.complaints == []
    assert [history for history in outcome.histories if history.state != "SUCCEEDED"] == []
    assert len(outcome.histories) == 10
    job = finish(client, model)
    assert job["status"] == "SUCCEEDED" or job["error"]["message"]


def test_a_cancelled_request_ends_with_all_its_processes_and_is_not_tried_again(installation, client):
    running = [ask_for_probe(client, work_s=600, in_subprocess=True) for _ in range(2)]
    programs = {job_id: process_below(installation, job_id) for job_id in running}
    queued = ask_for_probe(client, work_s=600)  # of three at once, any two might have the two places
    executing = [installation.executing(job_id) for job_id in running]
    assert client.cancel(queued)["status"] == "CANCELED"
    assert [client.cancel(job_id)["status"] for job_id in running] == ["CANCELING"] * 2
    asked = time.monotonic()
    for job_id in running:
        job = finish(client, job_id)
        assert (job["status"], job["attempt"], job["error"]) == ("CANCELED", 1, None)
    assert time.monotonic() - asked < CANCEL_DEADLINE_S
    _gone, alive = psutil.wait_procs(programs.values(), timeout=GONE_WITHIN_S)
    assert alive == []
    assert all(process.is_running() for process in executing)  # the worker stays warm
    for job_id in (*running, queued):
        assert client.cancel(job_id)["status"] == "CANCELED"  # again: the same answer

    def all_are_closed() -> bool:
        runs = [dagster_run_of(installation, job_id)["status"] for job_id in running]
        return runs == ["CANCELED"] * 2 and not installation.ask_jobs("SELECT 1 FROM launched_runs")

    wait_until(all_are_closed, what="the end of the runs in Dagster", interval_s=LOOK_EVERY_S)


def test_terminating_a_run_in_the_dagster_ui_cancels_its_request(installation, client):
    job_id = ask_for_probe(client, work_s=600, in_subprocess=True)
    program = process_below(installation, job_id)
    run = dagster_run_of(installation, job_id)
    answer = installation.graphql(TERMINATE_RUNS, ids=[run["runId"]])["terminateRuns"]
    assert answer["terminateRunResults"][0]["__typename"] == "TerminateRunSuccess"
    job = finish(client, job_id)
    assert (job["status"], job["attempt"], job["error"]) == ("CANCELED", 1, None)
    assert psutil.wait_procs([program], timeout=GONE_WITHIN_S)[1] == []
    wait_until(
        lambda: dagster_run_of(installation, job_id)["status"] == "CANCELED",
        what="the end of the run in Dagster",
        interval_s=LOOK_EVERY_S,
    )


@pytest.fixture
def without_backlog(installation):
    """What a benchmark left waiting is gone after the test, and the queues go on."""
    yield
    installation.ask_jobs("DELETE FROM jobs WHERE tags = '{backlog}'")
    installation.ask_jobs("DELETE FROM pauses WHERE reason = %s", BACKLOG_REASON)


@pytest.mark.usefixtures("without_backlog")
def test_the_scale_benchmark_fills_an_installation_and_reports_what_a_request_costs_in_it(
    installation, tmp_path
):
    """At a tiny size; what it measures is not judged here."""
    out = tmp_path / "scale.json"
    options = ["--noise", "--shrink", "1000", "--only", "1,000,000 requests", "--out", str(out)]
    command = [sys.executable, "-m", "benchmarks.scale", *options, "--data", str(installation.data)]
    ran = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=150)
    assert out.exists(), ran.stdout + ran.stderr
    report = json.loads(out.read_text())
    assert set(report["bars"]) == {"wall_against_new", "cpu_against_new", "api_p99_s", "asset_page_s"}
    assert [row["size"] for row in report["rows"]] == ["1,000,000 requests"]
    assert all(row[f"{where}_cpu_s"] > 0 for row in report["rows"] for where in ("new", "filled"))
    assert len(report["answers"]) == 3
    assert set(report["pages"][0]["queries_s"]) == set(PAGE_QUERIES)


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


def test_after_a_stop_nothing_is_left_and_the_next_start_finds_all_data(installation):
    with installation.client() as client:
        job_id = ask_for_probe(client)
        finish(client, job_id)
    assert installation.stop() == 0
    assert installation.all_processes() == []
    installation.start()
    with installation.client() as client:
        assert client.get_job(UUID(job_id))["status"] == "SUCCEEDED"
