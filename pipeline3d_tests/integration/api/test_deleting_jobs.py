"""Deleting jobs as their owner: at once they are nowhere to be seen, and their runs are told to stop."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import func

from pipeline3d.database.access_tables import audit_log
from pipeline3d.database.tables import idempotency_keys, jobs, launched_runs
from pipeline3d.requests.removal import Removals
from pipeline3d.store.signed_links import preview_path
from pipeline3d.values import ArtifactType, Kind
from pipeline3d_tests.integration.api.api_fixtures import JOBS, SIGNING_KEY
from pipeline3d_tests.integration.api.test_changing_jobs import NOBODY


@pytest.mark.parametrize("suffix", ["", "/"])
def test_a_deleted_job_is_invisible_at_once_in_every_route(api, engine, ledger, store, suffix):
    job_id = api.rows.make()
    stored = store.put_bytes(f"jobs/{job_id}/glb_export/model.glb", b"glTF...", "model/gltf-binary")
    api.finish(ledger, job_id, stored)
    for _ in range(2):  # it is as good as done as long as it is being removed
        answer = api.http.delete(f"{JOBS}/{job_id}{suffix}")
        assert (answer.status_code, answer.content) == (204, b"")
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/download", None),
        ("GET", "/events", None),
        ("GET", "/artifacts", None),
        ("GET", "/artifacts/glb_export/model.glb", None),
        ("POST", "/cancel", None),
        ("POST", "/retry", None),
        ("POST", "/hold", None),
        ("POST", "/release", None),
        ("POST", "/extend", {"expires_at": None}),
        ("PATCH", "", {"tags": ["a"]}),
    ):
        answer = api.http.request(method, f"{JOBS}/{job_id}{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job"), path
    assert api.http.get(f"{JOBS}/").json() == []
    assert api.http.get(f"{JOBS}/counts").json()["total"] == 0
    # once it is removed there is nothing that could be deleted
    assert Removals(engine).forget(job_id)
    answer = api.http.delete(f"{JOBS}/{job_id}{suffix}")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job")


def test_pictures_and_products_of_a_deleted_job_are_gone_too(api, api_url, ledger, store):
    params = {"shop": "s.example.com", "product_id": "1", "product_key": "s.example.com/1"}
    product = {"kind": Kind.PRODUCT_TO_3D, "params": params}
    first, second = (api.rows.make(**product) for _ in range(2))
    for number, job_id in enumerate((first, second)):
        ledger.begin(job_id, attempt=1, run_id=f"run-{number}", delivers=True)
        for name, kind in (("a.png", ArtifactType.PREVIEW), ("a.glb", ArtifactType.OUTPUT_MODEL)):
            stored = store.put_bytes(f"jobs/{job_id}/preview/{name}", b"x", "image/png")
            ledger.record_artifact(job_id, 1, "preview", name, kind, stored)
        ledger.succeed(job_id, f"run-{number}")
    picture = api_url + preview_path(SIGNING_KEY, second, "preview", "a.png")
    assert api.http.get(picture).status_code == 307
    address = "/api/v1/products/s.example.com/1"
    assert api.http.get(address).json()["newest_job"]["id"] == str(second)
    api.http.delete(f"{JOBS}/{second}")
    assert api.http.get(address).json()["newest_job"]["id"] == str(first)
    assert [version["job_id"] for version in api.http.get(address).json()["versions"]] == [str(first)]
    assert api.http.get(picture).status_code == 404
    api.http.delete(f"{JOBS}/{first}")
    assert api.http.get(address).json()["code"] == "unknown_product"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("QUEUED", "CANCELED"),
        ("RUNNING", "CANCELING"),
        ("CANCELING", "CANCELING"),
        ("SUCCEEDED", "SUCCEEDED"),
        ("FAILED", "FAILED"),
    ],
)
def test_what_goes_on_is_ended_and_what_has_ended_stays_as_it_is(api, in_state, before, after):
    job_id = in_state(before)
    api.rows.run(
        launched_runs.insert().values(run_id="run-1", job_name="j", queue="cpu", job_id=job_id, attempt=1)
    )
    assert api.http.delete(f"{JOBS}/{job_id}").status_code == 204
    row = api.rows.row(job_id)
    assert (row.state, row.deleted_at is not None) == (after, True)
    assert api.rows.events(job_id)[-1] == {"event": "deleted", "state": after, "attempt": 1}
    [run] = api.rows.run(launched_runs.select())
    assert run.cancel_requested_at is not None
    # nothing starts it again
    assert api.rows.run(jobs.select().where(jobs.c.state == "QUEUED")) == []


def test_a_deleted_job_is_never_queued_again(api, ledger, in_state):
    job_id = in_state("FAILED")
    api.http.delete(f"{JOBS}/{job_id}")
    assert ledger.retry_by_hand(job_id) == "FAILED"
    assert ledger.claim_queued(1, 60) == []


def test_the_idempotency_key_of_a_deleted_job_makes_a_new_one(api):
    def create() -> str:
        body = {"model_id": "probe-v1", "input_params": {}}
        answer = api.http.post(f"{JOBS}/", json=body, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    first = create()
    assert create() == first
    assert api.http.delete(f"{JOBS}/{first}").status_code == 204
    assert api.rows.run(idempotency_keys.select()) == []
    second = create()
    assert second != first
    assert create() == second


class TestInUse:
    @pytest.mark.parametrize(
        "values",
        [
            {"input_job_id": True},
            {"kind": Kind.EXPORT_MODEL, "params": {"source_job_id": True}},
            {"kind": Kind.SCENE_TO_3D, "params": {"source_job_id": True}},
        ],
    )
    def test_files_that_an_unfinished_job_needs_are_kept(self, api, ledger, values):
        source = api.rows.make()
        api.finish(ledger, source, None)
        if "params" in values:
            values = {**values, "params": {"source_job_id": str(source)}}
        else:
            values = {"input_job_id": source}
        takers = [api.rows.make(**values) for _ in range(2)]
        answer = api.http.delete(f"{JOBS}/{source}")
        assert (answer.status_code, answer.json()["code"]) == (409, "job_in_use")
        assert sorted(answer.json()["job_ids"]) == sorted(str(taker) for taker in takers)
        assert all(str(taker) in answer.json()["detail"] for taker in takers)
        assert api.rows.row(source).deleted_at is None
        ledger.request_cancel(takers[0])
        assert api.http.delete(f"{JOBS}/{source}").status_code == 409
        assert api.http.delete(f"{JOBS}/{takers[1]}").status_code == 204
        assert api.http.delete(f"{JOBS}/{source}").status_code == 204

    def test_a_job_of_somebody_else_that_names_it_does_not_matter(self, api, ledger):
        source = api.rows.make()
        api.finish(ledger, source, None)
        api.rows.make(user_id=api.rows.user("mallory"), input_job_id=source)
        assert api.http.delete(f"{JOBS}/{source}").status_code == 204


def test_a_deletion_is_in_the_audit_log_and_a_refused_one_is_not(api, as_other):
    began = datetime.now(UTC)
    job_id = api.rows.make()
    assert api.http.delete(f"{JOBS}/{job_id}", headers=as_other).status_code == 404
    assert api.http.delete(f"{JOBS}/{NOBODY}").status_code == 404
    for _ in range(2):
        api.http.delete(f"{JOBS}/{job_id}")
    lines = api.rows.run(
        audit_log.select().where(
            audit_log.c.action == "job.deleted", audit_log.c.created_at >= func.least(began, func.now())
        )
    )
    assert [(line.subject, line.actor) for line in lines if str(job_id) in line.subject] == [
        (f"job:{job_id}", "ada")
    ]
