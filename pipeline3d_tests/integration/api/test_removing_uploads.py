"""Removing uploads: never while a job needs one, also where both come at the same moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import text

from pipeline3d.requests.creation import NewJob, UploadedInput, create_job, new_job_id
from pipeline3d.requests.uploads import forget_upload
from pipeline3d.values import Family, Kind
from pipeline3d_tests.integration.api.api_fixtures import JOBS, draw_png, serving
from pipeline3d_tests.servers import wait_until

UPLOADS = "/api/v1/uploads"
PNG = draw_png()
WAITS = text("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")


def send(api, data=PNG):
    """Upload a picture in the request itself."""
    return api.http.post(f"{UPLOADS}/", files={"file": ("photo.png", data, "image/png")})


def test_an_upload_that_no_unfinished_job_uses_goes_with_its_object(api, ledger, store):
    upload = send(api).json()
    job = api.create(input_params={"input_path": upload["object_name"]}).json()
    refused = api.http.delete(f"{UPLOADS}/{upload['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "upload_in_use")
    api.http.post(f"{JOBS}/{job['id']}/cancel")
    assert api.http.delete(f"{UPLOADS}/{upload['id']}").status_code == 204
    assert list(store.list_keys(upload["object_name"])) == []
    assert api.rows.artifacts(job["id"]) == [], "no record names what is gone"
    assert api.http.delete(f"{UPLOADS}/{upload['id']}").status_code == 404


def test_a_removal_finds_a_job_that_is_being_made_of_the_upload(api, engine, store):
    upload = send(api).json()
    job = NewJob(
        id=new_job_id(),
        user_id=api.rows.user_id,
        model_id="inflate-v1",
        kind=Kind.IMAGE_TO_3D,
        family=Family.MODEL_REQUESTS,
        prompt=None,
        input_params={},
        params={},
        upload=UploadedInput(
            key=upload["object_name"], size=len(PNG), content_type="image/png", is_recorded=True
        ),
    )
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            connection.execute(create_job(job))
            removing = pool.submit(api.http.delete, f"{UPLOADS}/{upload['id']}")
            wait_until(lambda: connection.execute(WAITS).first(), what="the removal waits")
        assert removing.result().json()["code"] == "upload_in_use"
    assert list(store.list_keys(upload["object_name"])) != []


@pytest.mark.parametrize("limits", [{}, {"max_open_jobs_per_user": 9}])
def test_a_job_is_refused_whose_upload_is_being_removed(api, api_settings, engine, limits):
    with serving({**api_settings, **limits}) as url:
        api.http.base_url = url
        upload = send(api).json()
        body = {"input_params": {"input_path": upload["object_name"]}}
        key = {"Idempotency-Key": "a-chair"}
        with ThreadPoolExecutor(1) as pool:
            with engine.begin() as connection:
                connection.execute(forget_upload(api.rows.user_id, UUID(upload["id"])))
                sent = {"json": {"model_id": "inflate-v1", **body}, "headers": key}
                creating = pool.submit(api.http.post, f"{JOBS}/", **sent)
                wait_until(lambda: connection.execute(WAITS).first(), what="the job waits")
            refused = creating.result()
        assert (refused.status_code, refused.json()["code"]) == (422, "input_not_found")
        assert api.http.get(f"{JOBS}/").json() == []
        # nothing was made under the key, so that it is free
        again = send(api).json()["object_name"]
        sent["json"]["input_params"] = {"input_path": again}
        assert api.http.post(f"{JOBS}/", **sent).status_code == 201


def test_of_a_job_and_a_removal_at_once_one_loses(api, store):
    for upload in [send(api, PNG + bytes([number])).json() for number in range(12)]:
        body = {"model_id": "inflate-v1", "input_params": {"input_path": upload["object_name"]}}
        with ThreadPoolExecutor(2) as pool:
            creating = pool.submit(api.http.post, f"{JOBS}/", json=body)
            removing = pool.submit(api.http.delete, f"{UPLOADS}/{upload['id']}")
        answers = (creating.result().status_code, removing.result().status_code)
        assert answers in {(201, 409), (422, 204)}
        assert bool(list(store.list_keys(upload["object_name"]))) == (answers[0] == 201)


def test_what_is_removed_is_not_used_before_its_object_has_gone(api, rows):
    upload = send(api).json()
    rows.run(forget_upload(rows.user_id, UUID(upload["id"])))
    refused = api.create(input_params={"input_path": upload["object_name"]})
    assert (refused.status_code, refused.json()["code"]) == (422, "input_not_found")
