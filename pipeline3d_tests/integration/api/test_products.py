"""A shop's product: under one key, with versions, never without its model; and other meshes of a scene."""

from __future__ import annotations

from uuid import UUID

import pytest

from pipeline3d.requests import creation
from pipeline3d.values import ArtifactType, JobState, Kind, StoredObject

PRODUCT = {
    "shop": "Mugs.example.com",
    "product_id": "gid://shopify/Product/123",
    "image_urls": ["https://shop.example.com/a.jpg"],
}
ADDRESS = "/api/v1/products/mugs.example.com/123"


def ask_for(api, **changes):
    return api.create(model_id="product-inflate-v1", input_params={**PRODUCT, **changes})


def succeed(api, ledger, job_id: UUID, run_id: str) -> None:
    """Do what its run does."""
    ledger.begin(job_id, attempt=1, run_id=run_id, delivers=True)
    key = f"jobs/{job_id}/glb_export/model.glb"
    stored = StoredObject(key=key, size=4, sha256="0" * 64, content_type="model/gltf-binary")
    ledger.record_artifact(job_id, 1, "glb_export", "model.glb", ArtifactType.OUTPUT_MODEL, stored, {})
    ledger.succeed(job_id, run_id)


@pytest.fixture
def shop(api):
    """A shop of this test's own: products are found by their shop."""
    return f"shop-{creation.new_job_id().hex}"


def test_a_product_keeps_its_model_while_the_next_version_is_made_and_when_that_fails(api, ledger, shop):
    address = f"/api/v1/products/{shop}/123"
    first = UUID(ask_for(api, shop=shop).json()["id"])
    waiting = api.http.get(address).json()
    assert (waiting["current"], waiting["newest_job"]["status"]) == (None, JobState.QUEUED)
    succeed(api, ledger, first, "run-1")
    second = UUID(ask_for(api, shop=shop).json()["id"])
    during = api.http.get(address).json()
    assert (during["current_version"], during["newest_job"]["id"]) == (1, str(second))
    assert str(first) in during["current"]["download_url"]
    succeed(api, ledger, second, "run-2")
    ask_for(api, shop=shop)
    after = api.http.get(address).json()
    assert after["current_version"] == 2
    assert [(row["version"], row["job_id"]) for row in after["versions"]] == [
        (2, str(second)),
        (1, str(first)),
    ]


def test_a_variant_has_a_model_of_its_own(api, shop):
    ask_for(api, shop=shop, variant_id="gid://shopify/ProductVariant/7")
    address = f"/api/v1/products/{shop}/123"
    assert api.http.get(address).status_code == 404
    found = api.http.get(address, params={"variant_id": "7"}).json()
    assert found["product_key"] == f"{shop}/123/7"


def test_what_nobody_asked_for_is_not_found(api):
    answer = api.http.get("/api/v1/products/nowhere/1")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_product")


def test_a_variant_that_nothing_could_have_is_refused(api):
    answer = api.http.get("/api/v1/products/nowhere/1", params={"variant_id": "a\x00"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    "changes",
    [
        {"shop": ""},
        {"shop": "../other"},
        {"product_id": "gid://shopify/Product/"},
        {"image_urls": []},
        {"image_urls": ["ftp://shop.example.com/a.jpg"]},
        {"image_urls": ["https://shop.example.com/a.jpg"] * 2},
        {"image_urls": [f"https://shop.example.com/{n}.jpg" for n in range(9)]},
    ],
)
def test_a_product_that_makes_no_sense_is_refused(api, changes):
    assert ask_for(api, **changes).status_code == 422


def test_another_mesh_is_made_of_ones_own_scene_code_only(api, ledger):
    own = api.rows.make(model_id="triposr-v1")
    strangers = api.rows.make(model_id="triposr-v1", user_id=api.rows.user("somebody-else"))
    without = api.rows.make()
    scene = StoredObject(key="k", size=4, sha256="0" * 64, content_type="application/vnd.safetensors")

    def ask(job_id):
        return api.create(model_id="triposr-scene-v1", input_params={"source_job_id": str(job_id)})

    for job_id in (own, strangers):
        ledger.begin(job_id, attempt=1, run_id=f"run-{job_id}", delivers=True)
        ledger.record_artifact(
            job_id, 1, "scene_code", "scene-1.safetensors", ArtifactType.INTERMEDIATE, scene, {}
        )
    assert ask(own).json()["code"] == "unknown_scene"  # it has not finished yet
    for job_id in (own, strangers):
        ledger.succeed(job_id, f"run-{job_id}")

    made = ask(own)
    assert made.status_code == 201, made.text
    assert (made.json()["kind"], made.json()["progress"]["stage_count"]) == (Kind.SCENE_TO_3D, 12)
    for job_id in (strangers, without, creation.new_job_id()):
        assert (ask(job_id).status_code, ask(job_id).json()["code"]) == (422, "unknown_scene")
    assert api.create(model_id="triposr-scene-v1", input_params={"source_job_id": "x"}).status_code == 422
