"""Every kind of model request through its real assets: what is made, what is kept, what is refused."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from pipeline3d.geometry import glb
from pipeline3d.geometry.measuring import measure
from pipeline3d.values import Kind, stages_of
from pipeline3d_tests import tiny_triposr
from pipeline3d_tests.servers import http_server
from resources.models import close_models

pytest.importorskip("torch", reason="TripoSR needs torch, which is an extra")


def draw_photo(*, blurred: bool = False, side: int = 512) -> bytes:
    """A striped disc before a plain wall."""
    image = Image.new("RGB", (side, side), (225, 224, 220))
    draw = ImageDraw.Draw(image)
    box = (side * 0.25, side * 0.2, side * 0.75, side * 0.8)
    draw.ellipse(box, fill=(180, 40, 30))
    for y in range(int(side * 0.25), int(side * 0.75), max(8, side // 24)):
        draw.line((side * 0.36, y, side * 0.64, y), fill=(250, 240, 90), width=max(2, side // 100))
    if blurred:
        image = image.filter(ImageFilter.GaussianBlur(side / 24))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@contextmanager
def triposr_weights_in(workbench) -> Iterator[None]:
    """A tiny model directory where the installation looks for the published one."""
    directory = workbench.scratch.parent / "models" / "triposr"
    tiny_triposr.write_directory(directory)
    yield
    shutil.rmtree(directory)


@pytest.fixture
def triposr_weights(workbench) -> Iterator[None]:
    with triposr_weights_in(workbench):
        yield


def made_by(workbench, job_id) -> dict:
    """What the delivered file says of its origin."""
    return glb.read_document(workbench.content(job_id, "glb_export"))["asset"]["extras"]


def test_a_photo_becomes_a_scene_code_and_a_mesh(workbench, triposr_weights):
    job_id = workbench.ask("triposr-v1", {"mc_resolution": 48, "num_candidates": 2}, picture=draw_photo())
    assert workbench.run(job_id).success
    row = workbench.row(job_id)
    assert (row.state, set(row.stage_seconds)) == (
        "SUCCEEDED",
        set(stages_of(Kind.IMAGE_TO_3D, "triposr-v1", row.params)),
    )
    names = {(row.asset, row.name) for row in workbench.all_artifacts(job_id)}
    assert {("scene_code", "scene-1.safetensors"), ("scene_code", "scene-2.safetensors")} <= names
    assert {("mesh", "draft.glb"), ("mesh", "candidate-2.glb")} <= names, "every candidate is kept"
    assert made_by(workbench, job_id)["engine"] == "triposr"
    mesh = glb.decode_glb(workbench.content(job_id, "glb_export"))
    assert mesh.colours is not None
    assert measure(mesh).watertight


SMALL = {"mc_resolution": 40, "seed": 5}


@pytest.fixture(scope="module")
def small_scene(workbench):
    """A request of a tiny TripoSR that has ended; the weights are gone again."""
    with triposr_weights_in(workbench):
        job_id = workbench.ask("triposr-v1", SMALL, picture=draw_photo())
        assert workbench.run(job_id).success
    close_models()
    return job_id


def test_another_mesh_is_made_of_a_scene_code_without_the_weights(workbench, small_scene):
    finer = workbench.ask("triposr-scene-v1", {"source_job_id": str(small_scene), "mc_resolution": 72})
    assert workbench.run(finer).success
    small, fine = (glb.decode_glb(workbench.content(job, "glb_export")) for job in (small_scene, finer))
    assert len(fine.faces) > 2 * len(small.faces)
    assert workbench.content(finer, "source_scene") == workbench.content(small_scene, "scene_code")


def test_the_same_photo_and_seed_give_the_same_bytes(workbench, small_scene, triposr_weights):
    again = workbench.ask("triposr-v1", SMALL, picture=draw_photo())
    assert workbench.run(again).success
    for asset in ("scene_code", "mesh"):
        assert workbench.content(again, asset) == workbench.content(small_scene, asset)


def test_weights_that_are_gone_end_the_request_with_their_reason(workbench):
    job_id = workbench.ask("triposr-v1", {}, picture=draw_photo())
    assert not workbench.run(job_id).success
    row = workbench.row(job_id)
    assert (row.state, row.error_code, row.error_stage) == ("FAILED", "weights_missing", "scene_code")
    assert "models fetch triposr-v1" in row.error_hint


def test_a_text_becomes_a_model_that_says_what_was_understood(workbench):
    job_id = workbench.ask(
        "sculpt-v1", {"quality": "fast", "num_candidates": 2}, prompt="a red mug from another galaxy"
    )
    assert workbench.run(job_id).success
    row = workbench.row(job_id)
    assert set(row.stage_seconds) == set(stages_of(Kind.TEXT_TO_3D, "sculpt-v1", row.params))
    origin = made_by(workbench, job_id)
    assert (origin["engine"], origin["tier"]) == ("procedural", "embedded")
    assert "without a neural network" in origin["note"]
    assert "mug" in origin["note"]
    assert "galaxy" not in origin["note"]


def test_an_isolated_model_is_asked_through_its_wrapper_and_its_log_is_kept(workbench):
    job_id = workbench.ask("sf3d-v1", {}, picture=draw_photo())
    assert workbench.run(job_id).success, workbench.row(job_id)
    assert made_by(workbench, job_id)["engine"] == "sf3d"
    assert made_by(workbench, job_id)["tier"] == "model"
    assert measure(glb.decode_glb(workbench.content(job_id, "glb_export"))).faces == 12
    kept = {row.name: row for row in workbench.all_artifacts(job_id) if row.asset == "mesh"}
    assert "mesh.glb" in kept, "what the model wrote is kept as it was"
    assert [row.type for row in kept.values() if row.name.endswith(".log")] == ["LOG"]


@pytest.mark.parametrize(
    ("fault", "state", "code"),
    [
        ("empty_mesh", "FAILED", "empty_output"),
        ("no_object", "FAILED", "invalid_request"),
        ("gated", "FAILED", "licence_not_accepted"),
        ("exits", "FAILED", "script_failed"),
        ("ten_gigabytes", "FAILED", "output_too_large"),
        ("endless_log", "FAILED", "log_too_large"),
        ("out_of_memory", "QUEUED", "out_of_memory"),  # another attempt may succeed
        ("gpu_lost", "QUEUED", "gpu_lost"),
        ("killed", "QUEUED", "wrapper_died"),
    ],
)
def test_what_a_wrapper_did_not_make_is_never_delivered(workbench, monkeypatch, fault, state, code):
    monkeypatch.setenv("LC_STAND_IN", fault)
    job_id = workbench.ask("sf3d-v1", {}, picture=draw_photo())
    assert not workbench.run(job_id).success
    assert workbench.row(job_id).state == state
    assert code in json.dumps(workbench.events(job_id)[-1])
    assert "glb_export" not in workbench.artifacts(job_id)


@pytest.fixture
def shop() -> Iterator[str]:
    """A shop's image server on this machine."""
    photos = {
        "/good.png": draw_photo(),
        "/blurred.png": draw_photo(blurred=True),
        "/tiny.png": draw_photo(side=64),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            photo = photos.get(self.path.partition("?")[0])
            if photo is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(photo)))
            self.end_headers()
            self.wfile.write(photo)

    with http_server(Handler) as address:
        yield address


PRODUCT = {"shop": "mugs.example.com", "product_id": "gid://shopify/Product/123", "quality": "fast"}


def test_the_best_photo_of_a_product_becomes_its_model(workbench, shop):
    names = ("missing.png", "blurred.png", "good.png", "tiny.png")
    addresses = [f"{shop}/{name}?signature=s3cret" for name in names]
    job_id = workbench.ask("product-inflate-v1", {**PRODUCT, "image_urls": addresses})
    result = workbench.run(job_id)
    assert result.success
    [event] = result.asset_materializations_for_node("product_photos")
    assert event.metadata["chosen"].value == 3
    # what a shop signs an address with is for nobody who looks at Dagster
    told = [str(one.event_specific_data) for one in result.all_events]
    assert not [one for one in told if "s3cret" in one]
    names = [row.name for row in workbench.all_artifacts(job_id) if row.asset == "product_photos"]
    assert names[-1] == "photo-3.bin"
    report = next(row for row in workbench.all_artifacts(job_id) if row.name == "photos.json")
    judged = json.loads(workbench.store.read_bytes(report.storage_path))
    assert [photo["usable"] for photo in judged][0] is False
    assert judged[2]["score"] == max(photo["score"] for photo in judged)
    assert all(photo["findings"] for photo in judged if not photo["usable"])
    assert workbench.row(job_id).params["product_key"] == "mugs.example.com/123"
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(workbench.content(job_id, "source_image")))),
        np.asarray(Image.open(io.BytesIO(draw_photo()))),
    )


def test_a_product_without_a_usable_photo_fails_with_every_reason(workbench, shop):
    addresses = [f"{shop}/missing.png", f"{shop}/tiny.png"]
    job_id = workbench.ask("product-inflate-v1", {**PRODUCT, "image_urls": addresses})
    assert not workbench.run(job_id).success
    row = workbench.row(job_id)
    assert (row.state, row.error_code, row.error_stage) == ("FAILED", "no_usable_photo", "product_photos")
