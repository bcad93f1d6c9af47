"""What people see: every page in every state, at a desk and on a telephone, judged by `page_faults.js`."""

from __future__ import annotations

import io
from uuid import uuid4

import pytest
from PIL import Image, ImageDraw

from pipeline3d.database.tables import jobs
from pipeline3d.values import ArtifactType, JobState
from pipeline3d_tests.browsers import look_at, sign_in
from pipeline3d_tests.integration.api.api_fixtures import BAD, JOBS
from pipeline3d_tests.servers import wait_until

LONG_NAME = "a_photo_of_the_cup_that_grandmother_had_on_the_shelf_above_the_door_for_forty_years.png"


def draw_cup():
    """A picture large enough to be looked at, and small enough to be accepted."""
    picture = Image.new("RGB", (300, 230), "white")
    ImageDraw.Draw(picture).ellipse((70, 30, 230, 190), fill="teal")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def deliver(store, ledger):
    """Records files of a job, and ends it."""

    def deliver(job_id, *files):
        for asset, name, kind, content_type in files:
            put = store.put_bytes(f"jobs/{uuid4()}/{asset}/{name}", draw_cup(), content_type)
            ledger.record_artifact(job_id, 1, asset, name, kind, put, {})
        ledger.succeed(job_id, "run-1")

    return deliver


def test_text_is_drawn(page):
    """Without a font everything else is as it should be."""
    heading = Image.open(io.BytesIO(page.locator("h1").screenshot())).convert("L")
    darkest, lightest = heading.getextrema()
    assert lightest - darkest > 200


def test_signing_in(page, tmp_path):
    look_at(page, tmp_path, "signed-out")
    page.fill("input[name=username]", "ada")
    page.fill("input[name=password]", "wrong")
    page.click("#sign-in button")
    page.wait_for_selector("#problem:not(:empty)")
    look_at(page, tmp_path, "wrong-password")


def test_the_form_of_every_ready_model(page, tmp_path):
    sign_in(page)
    look_at(page, tmp_path, "signed-in")
    page.evaluate("for (const id of ['more', 'not-ready']) document.getElementById(id).open = true")
    ready = [entry.get_attribute("value") for entry in page.query_selector_all("#model option:enabled")]
    assert len(ready) >= 4, "a photo, a text, a product, an export"
    for model in ready:
        page.select_option("#model", model)
        look_at(page, tmp_path, model)
    page.emulate_media(color_scheme="dark")
    look_at(page, tmp_path, "dark")


def test_what_is_refused(page, tmp_path):
    sign_in(page)
    page.select_option("#model", "product-inflate-v1")
    page.get_by_label("Shop").fill("not a shop")
    page.get_by_label("Product").fill("17")
    page.get_by_label("Photos").fill("https://shop.example.com/1.jpg\n\nftp://shop.example.com/2.jpg")
    page.click("#start")
    page.wait_for_selector("#param-shop[aria-invalid]")
    look_at(page, tmp_path, "refused")
    page.emulate_media(color_scheme="dark")
    look_at(page, tmp_path, "refused-dark")


def test_a_job_from_the_photo_to_the_result_and_one_that_fails(page, rows, ledger, deliver, tmp_path):
    sign_in(page)
    page.set_input_files("#photo", {"name": LONG_NAME, "mimeType": "image/png", "buffer": draw_cup()})
    look_at(page, tmp_path, "chosen")
    page.click("#start")
    page.wait_for_selector("#cancel", state="visible")
    look_at(page, tmp_path, "queued")
    [job] = rows.run(jobs.select())
    ledger.begin(job.id, attempt=1, run_id="run-1", delivers=True)
    wait_until(lambda: page.inner_text("#stage").startswith("running"), what="the page tells that it runs")
    look_at(page, tmp_path, "running")
    deliver(
        job.id,
        ("glb_export", "model.glb", ArtifactType.OUTPUT_MODEL, "model/gltf-binary"),
        ("thumbnail", "thumbnail.png", ArtifactType.PREVIEW, "image/png"),
    )
    page.wait_for_selector("#preview", state="visible")
    page.wait_for_function("document.getElementById('preview').complete")
    look_at(page, tmp_path, "done")
    page.click("#start")
    page.wait_for_selector("#cancel", state="visible")
    [job] = rows.run(jobs.select().where(jobs.c.state == JobState.QUEUED))
    ledger.begin(job.id, attempt=1, run_id="run-2", delivers=True)
    ledger.fail(job.id, "run-2", BAD)
    page.wait_for_selector("#problem:not(:empty)")
    look_at(page, tmp_path, "failed")
    assert page.troubles == []


def test_what_was_shared(page, api, api_url, ledger, deliver, tmp_path):
    job_id = api.rows.make()
    ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
    deliver(
        job_id,
        ("glb_export", "model.glb", ArtifactType.OUTPUT_MODEL, "model/gltf-binary"),
        ("quality_report", "report.json", ArtifactType.REPORT, "application/json"),
        ("posters", LONG_NAME, ArtifactType.PREVIEW, "image/png"),
        ("turntable", "turntable.mp4", ArtifactType.PREVIEW, "video/mp4"),
    )
    made = api.http.post(f"{JOBS}/{job_id}/shares", json={"scope": "artifacts"}).json()
    page.goto(f"{api_url}/s/{made['token']}", wait_until="networkidle")
    assert page.locator("tbody tr").count() == 4
    look_at(page, tmp_path, "shared")
    page.emulate_media(color_scheme="dark")
    look_at(page, tmp_path, "shared-dark")


def test_a_link_that_has_ended(page, api_url, tmp_path):
    answer = page.goto(f"{api_url}/s/{'a' * 43}")
    assert answer.status == 404
    assert answer.headers["cache-control"] == "no-store"
    assert "or it has ended" in page.inner_text("main")
    look_at(page, tmp_path, "ended")


def test_the_list_of_problems(page, api_url, tmp_path):
    page.goto(f"{api_url}/problems")
    look_at(page, tmp_path, "problems")


def test_the_reference_of_the_api_is_drawn_without_another_server(page, api_url):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{api_url}/docs")
    page.wait_for_selector(".opblock", timeout=60_000)
    assert [address for address in asked if not address.startswith((api_url, "data:"))] == []
    assert page.troubles == []
