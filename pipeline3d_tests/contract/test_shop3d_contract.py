"""The product photo system's HTTP contract: its routes, its fields, its words, its callback and its webhooks.

Each row is one promise of that system. What is different here, docs/moving.md tells.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from pipeline3d.api.predecessors.shopify import is_signed
from pipeline3d.database.engines import create_sync_engine
from pipeline3d.database.tables import models
from pipeline3d.requests import changes, shop3d
from pipeline3d.requests.webhook_secrets import ensure_account_secret
from pipeline3d.values import STAGES_BY_ROUTE, ArtifactType, FailureReport, JobState, Kind, Progress
from pipeline3d_tests.integration.api.api_fixtures import serving
from pipeline3d_tests.integration.courier.receiving import LOOPBACK, delivering, quick_policy, receiving
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY, USERNAME

OPEN_SHOP = "mugs.myshopify.com"
CLOSED_SHOP = "hats.myshopify.com"
SECRET = "the secret of a Shopify app"
PUBLIC = "https://3d.example.com"
NOBODY = "00000000-0000-7000-8000-000000000000"
PRODUCT = {
    "shop": OPEN_SHOP,
    "productId": "gid://shopify/Product/123",
    "productHandle": "mug",
    "imageUrls": ["https://cdn.example.com/a.jpg", "https://cdn.example.com/b.jpg"],
    "metadata": {"productTitle": "Mug"},
}
ALL_STAGES = sorted({stage for stages in STAGES_BY_ROUTE.values() for stage in stages})
JOB_FIELDS = {
    *("id", "shop", "productId", "productHandle", "variantId", "status", "modelUrl", "errorMessage"),
    *("metadata", "createdAt", "updatedAt", "completedAt"),
}


@pytest.fixture(scope="module")
def shop_api_url(api_settings):
    settings = {
        **api_settings,
        "storefront_shops": {OPEN_SHOP: USERNAME},
        "shopify_api_secret": SECRET,
        "api_url": PUBLIC,
        "pipeline3d_webhook_hosts": list(LOOPBACK),
    }
    with serving(settings) as url:
        yield url


@pytest.fixture(scope="module")
def caller(shop_api_url):
    """A caller of an application that has an open shop; for what makes nothing."""
    with httpx.Client(base_url=shop_api_url, headers={"x-api-key": API_KEY}, timeout=30) as client:
        yield client


@pytest.fixture
def http(caller, rows):
    """The same with a database without jobs."""
    return caller


@pytest.fixture
def create(http):
    def create(**changes) -> UUID:
        made = http.post("/api/models/create", json={**PRODUCT, **changes})
        assert made.status_code == 200, made.text
        return UUID(made.json()["jobId"])

    return create


@pytest.fixture
def succeed(api, ledger, store):
    def succeed(job_id: UUID, content: bytes = b"glTF...") -> None:
        stored = store.put_bytes(f"jobs/{job_id}/glb_export/model.glb", content, "model/gltf-binary")
        ledger.begin(job_id, attempt=1, run_id=f"run-{job_id}", delivers=True)
        ledger.record_artifact(
            job_id, 1, "glb_export", "model.glb", ArtifactType.OUTPUT_MODEL, stored, {"faces": 8}
        )
        ledger.succeed(job_id, f"run-{job_id}")

    return succeed


class TestCreating:
    def test_a_product_becomes_a_job_that_is_pending(self, http, rows):
        answer = http.post("/api/models/create", json=PRODUCT)
        assert answer.status_code == 200
        made = answer.json()
        assert made.keys() >= {"success", "jobId", "status", "message"}
        assert (made["success"], made["status"]) == (True, "pending")
        row = rows.row(UUID(made["jobId"]))
        assert (row.kind, row.params["product_key"]) == (Kind.PRODUCT_TO_3D, f"{OPEN_SHOP}/123")
        assert row.params["image_urls"] == PRODUCT["imageUrls"]
        assert row.metadata == PRODUCT["metadata"]

    @pytest.mark.parametrize(
        ("changes", "model"),
        [
            ({}, "product-inflate-v1"),  # balanced; TripoSR's weights are not here
            ({"quality": "fast"}, "product-inflate-v1"),
            ({"quality": "balanced"}, "product-inflate-v1"),
            ({"modelId": "product-inflate-v1", "quality": "quality"}, "product-inflate-v1"),
        ],
    )
    def test_the_answer_names_the_model_that_the_quality_gets(self, http, changes, model):
        made = http.post("/api/models/create", json={**PRODUCT, **changes}).json()
        assert (made["modelId"], made["tier"]) == (model, "embedded")

    def test_where_the_trained_model_can_run_it_makes_every_quality(self, own_database_url, api_settings):
        engine = create_sync_engine(own_database_url, pool_size=1)
        with engine.begin() as connection:
            ready = models.update().where(models.c.id == "product-triposr-v1")
            connection.execute(ready.values(readiness={"ready": True}))
        engine.dispose()
        with serving({**api_settings, "database_url": own_database_url}) as url:
            for quality in shop3d.MODELS_BY_QUALITY:
                body = {**PRODUCT, "quality": quality}
                made = httpx.post(
                    f"{url}/api/models/create", json=body, headers={"x-api-key": API_KEY}
                ).json()
                assert (made["modelId"], made["tier"]) == ("product-triposr-v1", "model")

    def test_the_best_quality_is_made_by_a_trained_model_or_not_at_all(self, http):
        answer = http.post("/api/models/create", json={**PRODUCT, "quality": "quality"})
        assert (answer.status_code, answer.json()["code"]) == (501, "not_checked")
        assert answer.json()["error"]

    def test_a_repeated_request_with_a_key_makes_one_job(self, http):
        made = [
            http.post("/api/models/create", json=PRODUCT, headers={"Idempotency-Key": "once"}).json()
            for _ in range(2)
        ]
        assert made[0] == made[1]

    @pytest.mark.parametrize(
        "changes",
        [
            {"productId": None},  # "no productId"
            {"productId": ""},
            {"imageUrls": []},  # "no images"
            {"imageUrls": None},
            {"imageUrls": ["ftp://cdn.example.com/a.jpg"]},
            {"imageUrls": ["https://cdn.example.com/a.jpg"] * 9},
            {"shop": None},  # came from the session before
            {"shop": "../other"},
            {"quality": "best"},
            {"modelId": "inflate-v1"},  # makes no model of a product
            {"productId": "gid://shopify/Product/"},
            {"callbackUrl": "ftp://backend.example.com/"},
            {"callbackUrl": "http://169.254.169.254/latest"},
            {"metadata": {"a": "\x00"}},
        ],
    )
    def test_what_is_wrong_is_400_with_the_error_in_words(self, caller, changes):
        body = {name: value for name, value in {**PRODUCT, **changes}.items() if value is not None}
        answer = caller.post("/api/models/create", json=body)
        assert answer.status_code == 400, answer.text
        assert isinstance(answer.json()["error"], str)
        assert answer.json()["status"] == 400

    def test_a_model_that_is_not_there_is_404(self, http):
        answer = http.post("/api/models/create", json={**PRODUCT, "modelId": "nothing"})
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")


PRIVATE_ROUTES = [
    ("POST", "/api/models/create"),
    ("GET", f"/api/models/status/{NOBODY}"),
    ("GET", f"/api/models/result/{NOBODY}"),
    ("GET", "/api/models/product/123"),
]


@pytest.mark.parametrize(("method", "path"), PRIVATE_ROUTES)
def test_without_a_key_it_is_401_in_the_same_form(caller, method, path):
    answer = caller.request(
        method, path, headers={"x-api-key": ""}, json=PRODUCT if method == "POST" else None
    )
    assert answer.status_code == 401
    assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_path_is_answered_whatever_its_spelling(http, slash):
    job_id = http.post(f"/api/models/create{slash}", json=PRODUCT).json()["jobId"]
    for path in (f"status/{job_id}", "product/123"):
        assert http.get(f"/api/models/{path}{slash}").status_code == 200
    assert http.get(f"/api/models/result/{job_id}{slash}").json()["error"] == "Job not completed"
    assert http.get(f"/api/models/storefront/123{slash}", params={"shop": OPEN_SHOP}).status_code == 404
    body = b"{}"
    signed = {"x-shopify-hmac-sha256": sign(body), "x-shopify-shop-domain": OPEN_SHOP}
    assert http.post(f"/api/webhooks/app/uninstalled{slash}", content=body, headers=signed).text == "OK"


class TestReading:
    def test_a_job_that_does_not_exist_is_404_and_one_of_somebody_else_too(
        self, http, as_other, create, rows
    ):
        other_kind = rows.make()
        for path in ("status", "result"):
            assert http.get(f"/api/models/{path}/{NOBODY}").status_code == 404
            assert http.get(f"/api/models/{path}/{create()}", headers=as_other).status_code == 404
            assert http.get(f"/api/models/{path}/{other_kind}").status_code == 404  # no product's job
            assert http.get(f"/api/models/{path}/no-uuid").status_code == 400

    def test_a_job_has_all_its_fields_from_the_beginning(self, http, create):
        job = http.get(f"/api/models/status/{create(variantId='9')}").json()
        assert job.keys() >= JOB_FIELDS
        told = {name: job[name] for name in ("shop", "productId", "productHandle", "variantId", "status")}
        assert told == {
            "shop": OPEN_SHOP,
            "productId": PRODUCT["productId"],
            "productHandle": "mug",
            "variantId": "9",
            "status": "pending",
        }
        assert (job["modelUrl"], job["errorMessage"], job["completedAt"]) == (None, None, None)

    def test_a_job_goes_from_pending_over_processing_to_completed(self, http, create, ledger, succeed, rows):
        job_id = create()
        result = f"/api/models/result/{job_id}"
        pending = http.get(result)
        assert (pending.status_code, pending.json()["error"]) == (400, "Job not completed")
        assert pending.json()["status"] == "pending"
        assert ledger.begin(job_id, attempt=1, run_id=f"run-{job_id}", delivers=True)
        assert http.get(f"/api/models/status/{job_id}").json()["progress"] == 5
        progress = Progress(percent=3, stage="product_photos", stage_number=1, stage_count=13)
        ledger.report_progress(job_id, f"run-{job_id}", progress)
        job = http.get(f"/api/models/status/{job_id}").json()
        assert (job["status"], job["progress"]) == ("processing", 10)
        assert job["metadata"] == {
            "productTitle": "Mug",
            "step": "preprocessing",
            "message": "Downloading and preprocessing images",
        }
        succeed(job_id)
        job = http.get(f"/api/models/status/{job_id}").json()
        assert (job["status"], job["progress"]) == ("completed", 100)
        made = http.get(result)
        assert made.status_code == 200
        assert made.json().keys() == {
            *("jobId", "status", "modelUrl", "productId", "variantId", "completedAt")
        }
        assert httpx.get(made.json()["modelUrl"]).content == b"glTF..."
        assert httpx.get(job["modelUrl"]).content == b"glTF..."

    @pytest.mark.parametrize("how", ["failed", "canceled"])
    def test_what_ends_without_a_model_failed_and_says_why(self, http, create, ledger, rows, how):
        job_id = create()
        if how == "failed":
            ledger.begin(job_id, attempt=1, run_id="r", delivers=True)
            report = FailureReport(code="photo_unreachable", message="No photo could be fetched.", stage="x")
            ledger.fail(job_id, "r", report)
        else:
            http.post(f"/api/v1/jobs/{job_id}/cancel")
        job = http.get(f"/api/models/status/{job_id}").json()
        said = "No photo could be fetched." if how == "failed" else "The job was canceled."
        assert (job["status"], job["errorMessage"], job["modelUrl"]) == ("failed", said, None)
        result = http.get(f"/api/models/result/{job_id}")
        assert (result.status_code, result.json()["status"]) == (400, "failed")
        assert result.json()["errorMessage"] == said

    @pytest.mark.parametrize(
        "product_id", ["123", "gid://shopify/Product/123", "gid:%2F%2Fshopify%2FProduct%2F123"]
    )
    def test_the_jobs_of_a_product_are_listed_newest_first_with_its_variants(
        self, http, create, as_other, product_id
    ):
        of_product = [create(), create(variantId="9"), create(shop=CLOSED_SHOP)]
        create(productId="1234")
        path = f"/api/models/product/{product_id}"
        listed = http.get(path).json()["jobs"]
        assert [UUID(job["id"]) for job in listed] == of_product[::-1]
        assert set(listed[0]) >= JOB_FIELDS
        in_shop = http.get(path, params={"shop": OPEN_SHOP.upper()}).json()["jobs"]
        assert [UUID(job["id"]) for job in in_shop] == of_product[1::-1]
        assert http.get(path, headers=as_other).json() == {"jobs": []}


class TestStorefront:
    @pytest.fixture
    def look(self, http):
        def look(product_id="123", **query):
            query = {"shop": OPEN_SHOP, **query}
            path = f"/api/models/storefront/{product_id}"
            return httpx.get(
                f"{http.base_url}{path}", params={k: v for k, v in query.items() if v is not None}
            )

        return look

    def test_anybody_finds_the_newest_completed_model(self, create, succeed, look):
        first, second = create(), create()
        succeed(first, b"glTF one")
        assert httpx.get(look().json()["modelUrl"]).content == b"glTF one"
        succeed(second, b"glTF two")
        create()  # what is being made changes nothing
        found = look()
        assert found.status_code == 200
        assert found.json().keys() >= {"modelUrl", "productId", "variantId", "completedAt"}
        assert httpx.get(found.json()["modelUrl"]).content == b"glTF two"
        assert found.headers["access-control-allow-origin"] == "*"
        assert found.headers["cache-control"] == "public, max-age=60"

    def test_the_address_that_stays_leads_to_the_newest_model(self, http, create, succeed, look):
        succeed(create(variantId="gid://shopify/ProductVariant/9"), b"glTF nine")
        stable = look(variantId="9").json()["stableUrl"]
        assert stable.startswith(f"{PUBLIC}/api/models/storefront.glb?")
        answer = httpx.get(stable.replace(PUBLIC, str(http.base_url).rstrip("/")), follow_redirects=False)
        assert answer.status_code == 307
        assert answer.headers["access-control-allow-origin"] == "*"
        assert httpx.get(answer.headers["location"]).content == b"glTF nine"

    def test_a_variant_has_its_own_model_and_a_product_that_of_any(self, create, succeed, look):
        succeed(create(), b"plain")
        nine = create(variantId="9")
        succeed(nine, b"nine")
        assert httpx.get(look(variantId="9").json()["modelUrl"]).content == b"nine"
        assert look(variantId="8").status_code == 404
        assert httpx.get(look(variantId="").json()["modelUrl"]).content == b"nine"  # the newest
        assert look("gid://shopify/Product/123").json()["variantId"] == "9"

    @pytest.mark.parametrize("beginning", ["12", "123.", "1234", "0"])
    def test_a_product_whose_number_begins_alike_is_another_one(self, create, succeed, look, beginning):
        succeed(create())
        assert look(beginning).status_code == 404

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ({"shop": None}, 400),
            ({"shop": ""}, 400),
            ({"shop": "../x"}, 400),
            ({"variantId": "%00"}, 400),
            ({"shop": CLOSED_SHOP}, 404),
            ({"shop": "nowhere.myshopify.com"}, 404),
        ],
    )
    def test_a_wrong_shop_is_refused(self, create, succeed, look, query, status):
        succeed(create(shop=query.get("shop") if query.get("shop") == CLOSED_SHOP else OPEN_SHOP))
        answer = look(**query)
        assert (answer.status_code, isinstance(answer.json()["error"], str)) == (status, True)

    def test_nobody_elses_model_is_shown_in_the_shop(self, http, as_other, succeed, look):
        foreign = http.post("/api/models/create", json=PRODUCT, headers=as_other)
        succeed(UUID(foreign.json()["jobId"]))
        assert look().status_code == 404

    def test_a_deleted_model_is_gone_at_once(self, http, create, succeed, look):
        job_id = create()
        succeed(job_id)
        assert look().status_code == 200
        assert http.delete(f"/api/v1/jobs/{job_id}").status_code in {200, 202, 204}
        assert look().status_code == 404

    def test_the_look_up_reads_only_what_it_looks_for_among_many(self, rows):
        rows.run(text(MANY_MODELS), user=rows.user_id)
        rows.run(text("ANALYZE jobs"))
        for variant in (None, "9"):
            statement = shop3d.find_newest_model(USERNAME, OPEN_SHOP, "123", variant)
            plan = json.dumps(rows.explain(statement, {}))
            assert "ix_jobs_product_results" in plan


MANY_MODELS = """
INSERT INTO jobs (id, user_id, model_id, kind, family, state, progress_percent, params, completed_at)
SELECT gen_random_uuid(), :user, 'product-inflate-v1', 'product_to_3d', 'model_requests', 'SUCCEEDED', 100,
    jsonb_build_object('product_key', 'mugs.myshopify.com/' || n), now()
FROM generate_series(1, 3000) AS n
"""


@pytest.mark.parametrize(
    ("opened", "shop", "owner"),
    [
        ({OPEN_SHOP: "ada"}, OPEN_SHOP, "ada"),
        ({OPEN_SHOP: "ada"}, OPEN_SHOP.upper(), "ada"),
        ({OPEN_SHOP: "ada"}, CLOSED_SHOP, None),
        ({OPEN_SHOP: "ada", "*": "grace"}, OPEN_SHOP, "ada"),
        ({OPEN_SHOP: "ada", "*": "grace"}, CLOSED_SHOP, "grace"),
        ({}, OPEN_SHOP, None),
    ],
)
def test_a_shop_is_open_where_the_operator_opened_it(opened, shop, owner):
    assert shop3d.owner_of_shop(opened, shop) == owner


class TestCallback:
    def test_the_backend_is_told_as_it_was_before_and_now_signed(
        self, http, rows, ledger, succeed, database_url
    ):
        with receiving() as receiver:
            callback = f"{receiver.url}/api/models/webhook/update"
            made = http.post(
                "/api/models/create", json={**PRODUCT, "callbackUrl": callback, "variantId": "9"}
            )
            job_id = UUID(made.json()["jobId"])
            with delivering(database_url, quick_policy(api_url=PUBLIC)):
                succeed(job_id)
                received = receiver.wait_for(2)
        [secret] = rows.run(ensure_account_secret(rows.user_id))
        bodies = [message.verify(secret.secret) for message in received]
        assert {message.path for message in received} == {"/api/models/webhook/update"}
        by_status = {body["status"]: body for body in bodies}
        assert by_status["processing"] == {
            "jobId": str(job_id),
            "status": "processing",
            "progress": 5,
            "metadata": {"productTitle": "Mug"},
        }
        assert by_status["completed"] == {
            "jobId": str(job_id),
            "status": "completed",
            "progress": 100,
            "modelUrl": f"{PUBLIC}/api/models/storefront.glb?shop={OPEN_SHOP}"
            "&productId=gid%3A%2F%2Fshopify%2FProduct%2F123&variantId=9",
            "metadata": {
                "productTitle": "Mug",
                "quality": "balanced",
                "images_processed": 2,
                "product_handle": "mug",
            },
        }

    @pytest.mark.parametrize(
        ("state", "stage", "status", "progress", "step"),
        [
            (JobState.QUEUED, None, "pending", 0, None),
            (JobState.RUNNING, None, "processing", 5, None),
            (JobState.RUNNING, "product_photos", "processing", 10, "preprocessing"),
            (JobState.RUNNING, "preprocessed_image", "processing", 10, "preprocessing"),
            (JobState.RUNNING, "mesh", "processing", 50, "generation"),
            (JobState.RUNNING, "glb_export", "processing", 85, "upload"),
            (JobState.CANCELING, "mesh", "processing", 50, "generation"),
            (JobState.SUCCEEDED, "delivery", "completed", 100, None),
        ],
    )
    def test_progress_has_the_numbers_and_steps_of_the_earlier_worker(
        self, state, stage, status, progress, step
    ):
        body = shop3d.build_callback("j", state, {"shop": "s"}, stage=stage, error=None, metadata={})
        assert (body["status"], body["progress"], body["metadata"].get("step")) == (status, progress, step)

    @given(
        state=st.sampled_from(JobState),
        stage=st.none() | st.sampled_from(ALL_STAGES) | st.text(max_size=9),
        params=st.dictionaries(st.sampled_from(["shop", "product_id", "quality"]), st.text(max_size=9)),
        error=st.none()
        | st.fixed_dictionaries({"code": st.text(max_size=9), "message": st.text(max_size=9)}),
    )
    def test_every_job_can_be_told_whatever_became_of_it(self, state, stage, params, error):
        metadata = {"step": "mine"}
        body = shop3d.build_callback("j", state, params, stage=stage, error=error, metadata=metadata)
        json.dumps(body)
        assert body["status"] in {"pending", "processing", "completed", "failed"}
        assert ("modelUrl" in body) == (body["status"] == "completed")
        assert ("progress" in body) == (body["status"] != "failed")
        assert 0 <= body.get("progress", 0) <= 100

    @pytest.mark.parametrize(
        ("state", "error", "message", "error_type"),
        [
            (JobState.FAILED, {"code": "bad", "message": "It broke."}, "It broke.", "bad"),
            (JobState.CANCELED, None, "The job was canceled.", "canceled"),
            (JobState.EXPIRED, {"code": "expired"}, "The job's deadline passed before it began.", "expired"),
        ],
    )
    def test_a_failure_says_why_and_of_which_type(self, state, error, message, error_type):
        body = shop3d.build_callback("j", state, {}, stage="mesh", error=error, metadata={"a": 1})
        assert body == {
            "jobId": "j",
            "status": "failed",
            "errorMessage": message,
            "metadata": {"a": 1, "error_type": error_type},
        }


def sign(body: bytes, secret: str = SECRET) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()


class TestShopifysWebhooks:
    @pytest.fixture
    def tell(self, http):
        def tell(path, payload, *, shop=OPEN_SHOP, **headers):
            body = json.dumps(payload).encode()
            signed = {"x-shopify-hmac-sha256": sign(body), "x-shopify-shop-domain": shop, "x-api-key": ""}
            return http.post(f"/api/webhooks/{path}", content=body, headers={**signed, **headers})

        return tell

    @pytest.mark.parametrize("path", ["products/update", "products/delete", "app/uninstalled"])
    @pytest.mark.parametrize(
        "signature", ["", "AAAA", "no base64!", sign(b"another body"), sign(b"{}", "another secret")]
    )
    def test_what_shopify_did_not_sign_is_401_and_changes_nothing(self, tell, create, rows, path, signature):
        job_id = create()
        answer = tell(path, {"id": 123}, **{"x-shopify-hmac-sha256": signature})
        assert (answer.status_code, answer.json()["code"]) == (401, "shopify_signature_wrong")
        assert rows.row(job_id).deleted_at is None

    def test_a_signature_is_of_the_very_bytes(self):
        assert is_signed(SECRET, b'{"id": 1}', sign(b'{"id": 1}'))
        assert not is_signed(SECRET, b'{"id":1}', sign(b'{"id": 1}'))

    @given(signature=st.text(max_size=60))
    def test_no_text_is_a_signature_by_chance_and_none_breaks_the_check(self, signature):
        assert not is_signed(SECRET, b"{}", signature)

    def test_without_the_secret_none_is_taken_and_the_reason_is_told(self, api):
        answer = api.http.post(
            "/api/webhooks/products/delete", json={"id": 1}, headers={"x-shopify-shop-domain": OPEN_SHOP}
        )
        assert (answer.status_code, answer.json()["code"]) == (501, "shopify_secret_missing")

    def test_a_product_that_is_deleted_takes_its_jobs_along_and_no_others(self, tell, create, rows, succeed):
        gone = [create(), create(variantId="9")]
        succeed(gone[0])
        stays = [create(productId="1234"), create(shop=CLOSED_SHOP)]
        told = [tell("products/delete", {"id": 123}) for _ in range(2)]  # Shopify repeats itself
        assert [(answer.status_code, answer.text) for answer in told] == [(200, "OK")] * 2
        assert [rows.row(job_id).deleted_at is not None for job_id in gone] == [True, True]
        assert [rows.row(job_id).deleted_at for job_id in stays] == [None, None]

    def test_a_shop_that_leaves_takes_everything_along_and_nobody_elses(
        self, http, tell, create, rows, as_other
    ):
        gone = [create(), create(productId="7")]
        foreign = UUID(http.post("/api/models/create", json=PRODUCT, headers=as_other).json()["jobId"])
        assert tell("app/uninstalled", {"id": 1}).text == "OK"
        assert [rows.row(job_id).deleted_at is not None for job_id in gone] == [True, True]
        assert rows.row(foreign).deleted_at is None

    def test_shopify_is_to_ask_again_while_a_job_is_still_needed(self, tell, create, succeed, rows):
        needed, free = create(), create(variantId="9")
        succeed(needed)
        export = rows.make(
            kind=Kind.EXPORT_MODEL, model_id="export-v1", params={"source_job_id": str(needed)}
        )
        answer = tell("products/delete", {"id": 123})
        assert (answer.status_code, answer.json()["code"]) == (503, "deletion_under_way")
        assert answer.headers["retry-after"]
        assert [rows.row(job_id).deleted_at is None for job_id in (needed, free)] == [True, False]
        rows.run(changes.request_cancel(export))
        assert tell("products/delete", {"id": 123}).status_code == 200
        assert rows.row(needed).deleted_at is not None

    def test_a_shop_that_is_not_open_is_answered_and_left_alone(self, tell, create, rows):
        job_id = create(shop=CLOSED_SHOP)
        assert tell("app/uninstalled", {}, shop=CLOSED_SHOP).status_code == 200
        assert rows.row(job_id).deleted_at is None

    @pytest.mark.parametrize("payload", [{}, [], {"id": None}, {"id": "\x00"}, {"id": {"a": 1}}, 7])
    def test_a_strange_payload_deletes_nothing(self, tell, create, rows, payload):
        job_id = create()
        assert tell("products/delete", payload).status_code == 200
        assert rows.row(job_id).deleted_at is None

    def test_an_update_does_nothing_unless_it_was_asked_for(self, tell, create, http):
        create()
        changed = {"id": 123, "images": [{"src": "https://cdn.example.com/new.jpg"}]}
        assert tell("products/update", changed).text == "OK"
        assert len(http.get("/api/models/product/123").json()["jobs"]) == 1

    def test_an_update_that_asks_makes_a_model_of_new_pictures_and_of_no_old_ones(self, tell, create, http):
        first = create()
        same = {"id": 123, "images": [{"src": address} for address in PRODUCT["imageUrls"]]}
        new = {"id": 123, "images": [{"src": "https://cdn.example.com/new.jpg"}, {"src": 7}, None]}
        for payload in (same, new, new, {"id": 99, "images": new["images"]}, {"id": 123, "images": "x"}):
            assert tell("products/update?regenerate=true", payload).status_code == 200
        second, old = http.get("/api/models/product/123").json()["jobs"]
        assert (UUID(old["id"]), second["metadata"]) == (first, PRODUCT["metadata"])
        job = http.get(f"/api/v1/jobs/{second['id']}").json()
        assert job["params"]["image_urls"] == ["https://cdn.example.com/new.jpg"]
        assert job["params"]["product_handle"] == "mug"

    def test_a_shop_without_its_name_is_refused(self, tell):
        assert tell("app/uninstalled", {}, shop="../x").status_code == 422
