"""What the demo asks of each kind of model; the API is a stand-in that remembers what it was asked."""

from pathlib import Path

import httpx
import pytest

from pipeline3d.demo_requests import SAMPLE_PROMPT, find_ready_model, prepare_request, serving
from pipeline3d.errors import InvalidParameters, ModelNotReady, UnknownModel

READY = {"ready": True, "not_ready_reason": None, "not_ready_code": None, "not_ready_hint": None}
MODELS = [
    {"id": "inflate-v1", "kind": "image_to_3d", **READY},
    {"id": "sculpt-v1", "kind": "text_to_3d", **READY},
    {"id": "product-inflate-v1", "kind": "product_to_3d", **READY},
    {"id": "triposr-scene-v1", "kind": "scene_to_3d", **READY},
    {"id": "export-v1", "kind": "export_model", **READY},
    {"id": "probe-v1", "kind": "probe", **READY},
    {
        "id": "triposr-v1", "kind": "image_to_3d", "ready": False,
        "not_ready_reason": "There is no model.ckpt.", "not_ready_code": "weights_missing",
        "not_ready_hint": "pipeline3d models fetch triposr-v1",
    },
]  # fmt: skip


class Service:
    """The few answers of the API that are needed here."""

    def __init__(self, jobs=()) -> None:
        self.jobs = list(jobs)

    def models(self):
        return MODELS

    def list_jobs(self, **_page):
        return self.jobs

    def upload(self, path):
        return f"uploads/{path.name}"


def finished(job_id: str, *assets: str, status: str = "SUCCEEDED") -> dict:
    return {"id": job_id, "status": status, "artifacts": [{"asset": asset} for asset in assets]}


@pytest.fixture
def sample(tmp_path) -> Path:
    path = tmp_path / "sample.jpg"
    path.write_bytes(b"\xff\xd8\xff picture")
    return path


def prepare(service, model_id, sample, *, given=None, prompt=None, made=None):
    made = [] if made is None else made

    def run_first(first_id, params):
        made.append((first_id, params))
        return {"id": "made-first"}

    return prepare_request(
        service, find_ready_model(service, model_id), given=given, prompt=prompt, sample=lambda: sample,
        run_first=run_first, say=lambda line: None,
    )  # fmt: skip


def test_a_photo_is_uploaded_and_a_text_is_sent(sample):
    with prepare(Service(), "inflate-v1", sample) as request:
        assert (request.params, request.name) == ({"input_path": "uploads/sample.jpg"}, "sample")
    with prepare(Service(), "sculpt-v1", sample) as request:
        assert (request.params, request.prompt) == ({}, SAMPLE_PROMPT)
    with prepare(Service(), "sculpt-v1", sample, prompt="a chair") as request:
        assert request.prompt == "a chair"


def test_a_products_photo_can_be_fetched_for_as_long_as_it_is_asked_for(sample):
    with prepare(Service(), "product-inflate-v1", sample) as request:
        [address] = request.params["image_urls"]
        assert httpx.get(address).content == sample.read_bytes()
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)


@pytest.mark.parametrize(
    ("model_id", "asset"), [("triposr-scene-v1", "scene_code"), ("export-v1", "glb_export")]
)
def test_what_works_on_an_earlier_job_takes_the_newest_that_has_what_it_needs(sample, model_id, asset):
    jobs = [finished("failed", asset, status="FAILED"), finished("other", "mesh"), finished("fits", asset)]
    with prepare(Service(jobs), model_id, sample) as request:
        assert request.params["source_job_id"] == "fits"


def test_an_export_makes_a_job_first_where_there_is_none_and_uploads_ones_own_file(sample, tmp_path):
    made = []
    with prepare(Service(), "export-v1", sample, made=made) as request:
        assert request.params["source_job_id"] == "made-first"
    assert [(first_id, params["delivers"]) for first_id, params in made] == [("inflate-v1", "model")]
    with prepare(Service(), "export-v1", sample, given=tmp_path / "chair.glb") as request:
        assert request.params["input_path"] == "uploads/chair.glb"


def test_another_mesh_is_refused_with_the_reason_where_no_scene_can_be_made(sample):
    with pytest.raises(ModelNotReady) as caught, prepare(Service(), "triposr-scene-v1", sample):
        pass
    assert caught.value.code == "weights_missing"
    assert "models fetch" in caught.value.hint


@pytest.mark.parametrize(
    ("model_id", "options"),
    [
        ("inflate-v1", {"prompt": "a chair"}),
        ("sculpt-v1", {"given": Path("photo.jpg")}),
        ("inflate-v1", {"given": Path("chair.glb")}),
        ("product-inflate-v1", {"given": Path("notes.txt")}),
        ("probe-v1", {}),
    ],
)
def test_what_a_model_does_not_take_is_refused_before_anything_is_asked(sample, model_id, options):
    with pytest.raises(InvalidParameters) as caught, prepare(Service(), model_id, sample, **options):
        pass
    assert caught.value.code == "wrong_input"


def test_a_model_that_is_not_there_or_not_ready_is_refused_by_name():
    with pytest.raises(UnknownModel):
        find_ready_model(Service(), "magic-v1")
    with pytest.raises(ModelNotReady):
        find_ready_model(Service(), "triposr-v1")


def test_a_served_file_is_there_under_its_name(sample):
    with serving(sample) as address:
        assert address.endswith("/sample.jpg")
