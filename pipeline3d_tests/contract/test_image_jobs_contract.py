"""The image job system's contract: each queue with its payload, and exports as they end.

Exports are made. The other queues' pipelines are not built: a right payload is told the model's reason (501),
a wrong one what is wrong.
"""

from __future__ import annotations

from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.api.predecessors.image_jobs import name_source
from pipeline3d.errors import InvalidParameters
from pipeline3d.requests.status_words import Contract, word_for
from pipeline3d.values import ArtifactType, FailureReport, JobState, Kind
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY
from resources.catalogue import shipped_model

JOBS = "/api/v1/image-jobs"
PICTURE = "https://cdn.example.com/a.png"
PRIVATE = "http://[::ffff:169.254.169.254]/latest"
DESIGN = {"userId": "u1", "designId": "d1"}
GLB = b"glTF\x02\x00\x00\x00" + bytes(24)

PAYLOADS = {
    "image-generation": {
        "prompt": "a red mug",
        "style": "vintage",
        "dimensions": "1024x1792",
        "quality": "hd",
        **DESIGN,
    },
    "image-upscale": {"imageUrl": PICTURE, **DESIGN},
    "upscale": {"imageUrl": PICTURE, **DESIGN},  # as its handbook has it
    "texture-blend": {"baseImageUrl": PICTURE, "overlayImageUrl": PICTURE, **DESIGN},
    "ar-preview": {"baseImageUrl": PICTURE, **DESIGN},
    "design-render": {
        "designId": "d1",
        "prompt": "stripes",
        "baseTextureUrl": PICTURE,
        "tenantId": "t1",
    },
}
MODELS = {
    "image-generation": "image-generate-v1",
    "image-upscale": "upscale-v1",
    "upscale": "upscale-v1",
    "texture-blend": "blend-texture-v1",
    "ar-preview": "ar-preview-v1",
    "design-render": "design-render-v1",
}


def send(http, queue, payload, **headers):
    return http.post(f"{JOBS}/{queue}", json=payload, headers=headers)


@pytest.fixture(scope="module")
def http(api_url):
    """A caller that makes nothing, so that no job need be cleared away."""
    with httpx.Client(base_url=api_url, headers={"x-api-key": API_KEY}, timeout=30) as client:
        yield client


@pytest.mark.parametrize("queue", PAYLOADS)
def test_a_right_payload_is_told_why_the_model_cannot_run(http, queue):
    answer = send(http, queue, PAYLOADS[queue])
    assert (answer.status_code, answer.json()["code"]) == (501, "not_built"), answer.text
    assert answer.json()["success"] is False
    assert answer.json()["error"] == shipped_model(MODELS[queue]).readiness.reason


@pytest.mark.parametrize(
    ("queue", "more"),
    [
        ("image-upscale/", {}),
        ("image-upscale", {"scale": 1}),
        ("image-upscale", {"scale": 4, "format": "webp"}),
        ("image-upscale", {"format": "jpeg"}),
        ("texture-blend", {"opacity": 0, "blendMode": "multiply", "format": "jpg"}),
        ("ar-preview", {"overlayImageUrl": PICTURE, "width": 640, "height": 480}),
        ("design-render", {"maskUrl": PICTURE, "userId": "u1"}),
        (
            "design-render",
            {
                "renderOptions": {
                    "generateNormalMap": True,
                    "generateRoughnessMap": True,
                    "quality": "hd",
                    "size": 2048,
                }
            },
        ),
    ],
)
def test_whatever_the_payload_may_hold_is_taken(http, queue, more):
    assert send(http, queue, {**PAYLOADS[queue.rstrip("/")], **more}).json()["code"] == "not_built"


@pytest.mark.parametrize(
    ("queue", "wrong"),
    [
        ("image-generation", {"prompt": ""}),
        ("image-generation", {"style": "baroque"}),
        ("image-generation", {"dimensions": "1024"}),
        ("image-generation", {"dimensions": "0x1024"}),
        ("image-generation", {"dimensions": "1024x"}),
        ("image-generation", {"dimensions": "99999x1"}),
        ("image-generation", {"quality": "best"}),
        ("image-generation", {"designId": None}),
        ("image-upscale", {"scale": 0.5}),
        ("image-upscale", {"scale": 5}),
        ("image-upscale", {"scale": "NaN"}),
        ("image-upscale", {"format": "gif"}),
        ("image-upscale", {"imageUrl": "file:///etc/passwd"}),
        ("image-upscale", {"imageUrl": PRIVATE}),
        ("upscale", {"imageUrl": "http://localhost:6379/"}),
        ("texture-blend", {"opacity": 1.5}),
        ("texture-blend", {"blendMode": "dissolve"}),
        ("texture-blend", {"overlayImageUrl": None}),
        ("texture-blend", {"overlayImageUrl": PRIVATE}),
        ("ar-preview", {"width": 0}),
        ("ar-preview", {"height": 100_000}),
        ("ar-preview", {"overlayImageUrl": PRIVATE}),
        ("design-render", {"tenantId": None}),
        ("design-render", {"maskUrl": PRIVATE}),
        ("design-render", {"renderOptions": {"size": 777}}),
        ("export-gltf", {"format": "usdz"}),
        ("export-gltf", {"designId": None}),
        ("export-gltf", {"optimization": {"magic": True}}),
        ("export-gltf", {"format": "gltf", "optimization": {"draco": True}}),
        ("export-gltf", {"modelUrl": "https://cdn.example.com/model.glb"}),
        ("export-gltf", {"modelUrl": PRIVATE}),
        ("export-gltf", {"modelUrl": str(uuid4())}),  # nobody's job
        ("export-gltf", {"modelUrl": "\x00"}),
    ],
)
def test_a_wrong_payload_is_refused_and_says_what_is_wrong(http, queue, wrong):
    right = PAYLOADS.get(queue, {"designId": "d1", "modelUrl": str(uuid4()), "format": "glb"})
    payload = {name: value for name, value in {**right, **wrong}.items() if value is not None}
    answer = send(http, queue, payload)
    assert answer.status_code == 422, answer.text
    assert (answer.json()["success"], isinstance(answer.json()["error"], str)) == (False, True)


@pytest.mark.parametrize("queue", [*PAYLOADS, "export-gltf"])
def test_without_a_key_nothing_is_taken(http, queue):
    answer = send(http, queue, PAYLOADS.get(queue, {}), **{"x-api-key": ""})
    assert (answer.status_code, answer.json()["success"]) == (401, False)


@pytest.mark.parametrize(
    ("model", "defaults"),
    [
        ("image-generate-v1", {"style": "professionnel", "quality": "standard"}),
        ("upscale-v1", {"scale": 2, "format": "png"}),
        ("blend-texture-v1", {"opacity": 0.65, "blend_mode": "over", "format": "png"}),
        ("ar-preview-v1", {"width": 1280, "height": 720}),
        ("design-render-v1", {"generate_normal_map": False, "generate_roughness_map": False}),
    ],
)
def test_the_catalogue_has_the_models_with_that_system_s_defaults(http, model, defaults):
    found = http.get(f"/api/v1/models/{model}").json()
    assert (found["ready"], found["not_ready_code"], found["family"]) == (
        False,
        "not_built",
        "image_requests",
    )
    assert found["default_params"].items() >= defaults.items()


class TestExports:
    @pytest.fixture
    def make_source(self, api, ledger, store):
        """A job of the caller that made a GLB."""

        def make_source() -> UUID:
            job_id = api.rows.make()
            stored = store.put_bytes(f"jobs/{job_id}/glb_export/model.glb", GLB, "model/gltf-binary")
            api.finish(ledger, job_id, stored)
            return job_id

        return make_source

    @pytest.fixture
    def export(self, api, make_source):
        def export(**changes):
            payload = {"designId": "d1", "format": "glb", "modelUrl": str(make_source()), **changes}
            return send(api.http, "export-gltf", payload)

        return export

    @pytest.mark.parametrize("form", ["{}", "/api/v1/jobs/{}", "/api/v1/jobs/{}/download"])
    def test_a_model_of_ones_own_job_is_taken_however_it_is_named(self, api, make_source, export, form):
        source = make_source()
        answer = export(modelUrl=form.format(source))
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert (made["queue"], made["status"]) == ("export-gltf", "queued")
        assert answer.headers["location"] == f"{JOBS}/{made['jobId']}"
        row = api.rows.row(UUID(made["jobId"]))
        assert (row.kind, row.params["source_job_id"]) == (Kind.EXPORT_MODEL, str(source))

    def test_an_uploaded_model_is_taken(self, api, export):
        key = api.upload(GLB, "mug.glb", "model/gltf-binary")
        made = export(modelUrl=key)
        assert made.status_code == 201, made.text
        found = api.http.get(f"{JOBS}/{made.json()['jobId']}").json()
        assert found["metadata"]["sourceFormat"] == "glb"

    def test_the_model_of_somebody_else_is_not(self, api, export, ledger, rows):
        foreign = rows.make(user_id=rows.user("somebody-else"))
        assert export(modelUrl=str(foreign)).status_code == 422

    @pytest.mark.parametrize(
        ("changes", "params"),
        [
            ({"format": "glb"}, {"delivers": "model", "formats": []}),
            ({"format": "gltf"}, {"delivers": "model", "formats": ["gltf"]}),
            ({"optimization": {}}, {"delivers": "bundle", "web_codec": "meshopt"}),
            ({"optimization": {"draco": True}}, {"delivers": "bundle", "web_codec": "draco"}),
            (
                {"optimization": {"draco": {"compressionLevel": 7}}},
                {"delivers": "bundle", "web_codec": "draco"},
            ),
            ({"optimization": {"textureSize": 512}}, {"delivers": "bundle", "web_texture_px": 512}),
        ],
    )
    def test_format_and_optimization_decide_what_is_made(self, api, export, changes, params):
        made = export(**changes)
        assert made.status_code == 201, made.text
        assert api.rows.row(UUID(made.json()["jobId"])).params.items() >= params.items()

    @pytest.mark.parametrize(
        ("changes", "asset", "name"),
        [
            ({"format": "glb"}, "glb_export", "model.glb"),
            ({"optimization": {"draco": True}}, "web_glb", "web.glb"),
            ({"format": "gltf"}, "further_formats", "model-gltf.zip"),
        ],
    )
    def test_an_export_ends_with_the_file_that_was_asked_for(
        self, api, export, ledger, store, changes, asset, name
    ):
        job_id = UUID(export(**changes).json()["jobId"])
        waiting = api.http.get(f"{JOBS}/{job_id}").json()
        assert (waiting["status"], waiting["success"], waiting["modelUrl"]) == ("queued", None, None)
        ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
        assert api.http.get(f"{JOBS}/{job_id}").json()["status"] == "active"
        for other in {("glb_export", "model.glb"), ("web_glb", "web.glb"), (asset, name)}:
            content = b"asked" if other == (asset, name) else b"other"
            stored = store.put_bytes(f"jobs/{job_id}/{other[0]}/{other[1]}", content, "application/zip")
            ledger.record_artifact(job_id, 1, *other, ArtifactType.EXPORT, stored)
        ledger.succeed(job_id, "run-1")
        result = api.http.get(f"{JOBS}/{job_id}").json()
        assert result.keys() >= {"success", "modelUrl", "format", "size", "metadata"}
        assert (result["status"], result["success"], result["size"]) == ("completed", True, 5)
        assert httpx.get(result["modelUrl"]).content == b"asked"
        metadata = result["metadata"]
        assert metadata.keys() == {*("designId", "format", "optimization", "exportedAt", "sourceFormat")}
        assert (metadata["designId"], metadata["sourceFormat"]) == ("d1", "glb")
        assert metadata["optimization"] == changes.get("optimization")
        assert metadata["exportedAt"]

    def test_an_export_that_failed_says_why_instead_of_being_completed(self, api, export, ledger):
        job_id = UUID(export().json()["jobId"])
        ledger.begin(job_id, attempt=1, run_id="run-1", delivers=True)
        ledger.fail(job_id, "run-1", FailureReport(code="not_a_model", message="It is no model."))
        result = api.http.get(f"{JOBS}/{job_id}").json()
        assert (result["status"], result["success"], result["error"]) == ("failed", False, "It is no model.")

    def test_a_repeated_export_with_a_key_is_one_job(self, api, make_source):
        payload = {"designId": "d1", "format": "glb", "modelUrl": str(make_source())}
        made = [send(api.http, "export-gltf", payload, **{"Idempotency-Key": "once"}) for _ in range(2)]
        assert made[0].json() == made[1].json()
        # a design may be exported again: its id is no key, as it was before
        assert send(api.http, "export-gltf", payload).json()["jobId"] != made[0].json()["jobId"]

    def test_other_jobs_are_not_found_here_whatever_their_metadata_says(self, api, export, as_other):
        made = export().json()["jobId"]
        assert api.http.get(f"{JOBS}/{made}", headers=as_other).status_code == 404
        for job_id in (
            uuid4(),
            api.rows.make(),
            api.rows.make(kind=Kind.EXPORT_MODEL, model_id="export-v1", metadata={"queue": "export-gltf"}),
        ):
            answer = api.http.get(f"{JOBS}/{job_id}")
            assert (answer.status_code, answer.json()["success"]) == (404, False)


JOB = "0199b3a1-7c52-7e3a-9a41-5f1f0e5f2c11"
UPLOAD = f"uploads/inputs/{JOB}/{JOB}-mug.glb"


@pytest.mark.parametrize(
    ("model_url", "source"),
    [
        (JOB, UUID(JOB)),
        (JOB.upper(), UUID(JOB)),
        (f"/api/v1/jobs/{JOB}/artifacts/glb_export/model.glb", UUID(JOB)),
        (f"https://3d.example.com/api/v1/jobs/{JOB}/download", UUID(JOB)),
        (UPLOAD, UPLOAD),
        (f"https://other.example.com/api/v1/jobs/{JOB}", None),
        (f"https://3d.example.com.evil.example/api/v1/jobs/{JOB}", None),
        (f"http://3d.example.com/api/v1/jobs/{JOB}", None),  # another scheme is another service
        (f"/api/v1/jobs/{JOB}/../{JOB}x", UUID(JOB)),  # what follows does not count
        ("https://cdn.example.com/model.glb", None),
        ("jobs/x/model.glb", None),  # an object's key is no name for callers
        ("http://[", None),
        ("", None),
    ],
)
def test_a_model_is_a_job_of_this_service_or_an_upload_and_nothing_else(model_url, source):
    if source is None:
        with pytest.raises(InvalidParameters) as caught:
            name_source(model_url, "https://3d.example.com")
        assert caught.value.code == "unsupported_model_url"
    else:
        assert name_source(model_url, "https://3d.example.com") == source


@given(model_url=st.text(max_size=80) | st.just(f"https://3d.example.com/api/v1/jobs/{JOB}"))
def test_whatever_is_named_is_a_job_an_upload_or_refused(model_url):
    try:
        source = name_source(model_url, "https://3d.example.com")
    except InvalidParameters:
        return
    assert isinstance(source, UUID) or source == model_url


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (JobState.QUEUED, "queued"),
        (JobState.RUNNING, "active"),
        (JobState.CANCELING, "active"),
        (JobState.SUCCEEDED, "completed"),
        (JobState.FAILED, "failed"),
        (JobState.CANCELED, "failed"),
        (JobState.EXPIRED, "failed"),
    ],
)
def test_the_words_of_that_system_for_our_states(state, word):
    assert word_for(Contract.LUNEO, state) == word
