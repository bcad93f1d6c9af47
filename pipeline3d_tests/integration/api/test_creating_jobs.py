"""Creating a job: what is refused at once and how, what is stored, and that asking twice costs once."""

from __future__ import annotations

import threading
from uuid import UUID, uuid4

import pytest

from pipeline3d_tests.integration.api.api_fixtures import JOBS, MAX_UPLOAD_BYTES, draw_png
from pipeline3d_tests.integration.requests.database_fixtures import OTHER_API_KEY
from resources.catalogue import shipped_model


def assert_problem(answer, status, code):
    """An answer is a whole problem document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"].endswith(code)
    assert problem["title"]
    assert isinstance(problem["detail"], str)
    assert problem["detail"]
    return problem


def test_a_job_is_stored_complete_and_told_to_the_dispatcher(api, ledger):
    key = api.upload()
    answer = api.create(
        input_params={"image_path": key, "quality": "fast"}, tags=["shop"], metadata={"order": {"n": 7}}
    )
    assert answer.status_code == 201, answer.text
    job = answer.json()
    assert answer.headers["location"] == job["links"]["self"]
    assert job["input_params"] == {"image_path": key, "quality": "fast"}
    delivery = shipped_model("export-v1").default_params.keys() - {"source_unit", "source_up_axis"}
    assert delivery < job["params"].keys()
    assert {name: value for name, value in job["params"].items() if name not in delivery} == {
        "input_path": key,
        "quality": "fast",
        "foreground_ratio": 0.85,
        "texture_resolution": 512,
        "background_removal": "auto",
        "size_m": 1.0,
        "seed": 0,
    }
    assert (job["kind"], job["tier"], job["tags"], job["metadata"]) == (
        "image_to_3d",
        "embedded",
        ["shop"],
        {"order": {"n": 7}},
    )
    assert job["progress"] == {
        "percent": 0,
        "stage": None,
        "stage_number": 0,
        "stage_count": 13,
        "message": "",
    }
    assert (job["error"], job["attempt"], job["max_attempts"], job["links"]["lineage"]) == (None, 1, 3, None)
    [artifact] = job["artifacts"]
    assert (artifact["type"], artifact["size"]) == ("INPUT", len(draw_png()))
    [claim] = ledger.claim_queued(10, 60)
    assert str(claim.job_id) == job["id"]
    assert ledger.read_job(claim.job_id).params == job["params"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model_id": "no-such-model"}, 404, "unknown_model"),
        ({"model_id": "triposr-v1"}, 501, "not_checked"),  # refused with the reason, never stood in for
        ({"model_id": "dreamfusion-sd", "prompt": "a chair"}, 501, "not_checked"),
        ({"input_params": {}}, 422, "missing_image"),
        ({"input_params": {"seed": "x"}}, 422, "invalid_parameters"),
        ({"input_params": {"quality": "best"}}, 422, "invalid_parameters"),
        ({"input_params": {"no_such": 1}}, 422, "invalid_parameters"),
        ({"input_params": {"input_path": "a", "image_path": "b"}}, 422, "invalid_parameters"),
        ({"input_params": {"input_path": "a", "bucket": "other"}}, 422, "invalid_parameters"),
        ({"input_params": {"input_path": "jobs/x/mesh/mesh.glb"}}, 403, "not_your_object"),
        ({"input_params": {"input_path": "../../etc/passwd"}}, 403, "not_your_object"),
        ({"input_params": {"input_path": f"uploads/inputs/{uuid4()}/a.png"}}, 403, "not_your_object"),
        ({"input_params": []}, 422, "invalid_request"),  # not an object
        ({"input_params": {"seed": "a\x00b"}}, 422, "invalid_request"),  # what Postgres cannot store
        ({"prompt": "x" * 5000}, 422, "invalid_request"),
        ({"prompt": 3}, 422, "invalid_request"),
        ({"model_id": ""}, 422, "invalid_request"),
        ({"model_id": "a\x00"}, 422, "invalid_request"),
        ({"tags": ["x"] * 21}, 422, "invalid_request"),
        (
            {"model_id": "sculpt-v1", "prompt": "a mug", "metadata": {"a": "é" * 100_000}},
            422,
            "metadata_too_large",
        ),
        ({"input_params": {"formats": [{"n": n} for n in range(9_000)]}}, 422, "invalid_parameters"),
        ({"metadata": {"deep": [[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]}}, 422, "invalid_request"),
    ],
)
def test_a_request_that_cannot_work_is_refused_at_once(api, body, status, code):
    body.setdefault("input_params", {})
    assert_problem(api.create(**body), status, code)
    assert api.http.get(f"{JOBS}/").json() == []


def test_every_wrong_parameter_is_named(api):
    answer = api.create(input_params={"input_path": "x", "quality": "best", "size_m": -1})
    problem = assert_problem(answer, 422, "invalid_parameters")
    assert [error["field"] for error in problem["errors"]] == ["quality", "size_m"]
    assert "fast, balanced, quality" in problem["detail"]


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "empty_file"),
        (b"x", 422, "not_an_image"),
        (b"%PDF-1.7 not a picture", 422, "not_an_image"),
        (b"\x89PN", 422, "not_an_image"),  # cut off in its first bytes
        (draw_png()[:8] + b"\x00" * MAX_UPLOAD_BYTES, 413, "file_too_large"),
    ],
)
def test_an_upload_that_is_no_picture_is_refused_at_once(api, data, status, code):
    assert_problem(api.create(input_params={"input_path": api.upload(data)}), status, code)


def test_a_ticket_that_was_never_used_is_refused(api):
    ticket = api.http.post(
        f"{JOBS}/upload-ticket", json={"filename": "a.png", "content_type": "image/png"}
    ).json()
    assert_problem(api.create(input_params={"input_path": ticket["object_name"]}), 422, "input_not_found")


def test_an_upload_of_somebody_else_is_refused(api):
    key = api.upload()
    answer = api.http.post(
        f"{JOBS}/",
        json={"model_id": "inflate-v1", "input_params": {"input_path": key}},
        headers={"x-api-key": OTHER_API_KEY},
    )
    assert_problem(answer, 403, "not_your_object")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"filename": "a.exe", "content_type": "application/x-msdownload"}, "unsupported_content_type"),
        ({"filename": "a.svg", "content_type": "image/svg+xml"}, "unsupported_content_type"),
        ({"filename": "a.png", "content_type": "image/png; x=\r\ny: z"}, "unsupported_content_type"),
        ({"filename": "", "content_type": "image/png"}, "invalid_request"),
        ({"content_type": "image/png"}, "invalid_request"),
    ],
)
def test_a_ticket_is_given_for_pictures_only(api, body, code):
    assert_problem(api.http.post(f"{JOBS}/upload-ticket", json=body), 422, code)


def test_a_hostile_file_name_stays_in_its_owners_folder(api):
    ticket = api.http.post(
        f"{JOBS}/upload-ticket", json={"filename": "../../../x\u202egnp.exe/..", "content_type": "image/png"}
    ).json()
    folder, _, name = ticket["object_name"].rpartition("/")
    assert folder == f"uploads/inputs/{api.rows.user_id}"
    assert ".." not in name


class TestAskingTwice:
    def test_the_same_request_gives_the_same_job(self, api):
        params = {"input_path": api.upload()}
        headers = {"Idempotency-Key": "order-7"}
        body = {"model_id": "inflate-v1", "input_params": params}
        first = api.http.post(f"{JOBS}/", json=body, headers=headers)
        second = api.http.post(f"{JOBS}/", json=body, headers=headers)
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json() == second.json()
        assert "idempotency-replayed" not in first.headers
        assert second.headers["idempotency-replayed"] == "true"
        assert len(api.http.get(f"{JOBS}/").json()) == 1

    def test_another_request_under_the_same_key_is_a_conflict(self, api):
        params = {"input_path": api.upload()}
        headers = {"Idempotency-Key": "order-7"}
        api.http.post(f"{JOBS}/", json={"model_id": "inflate-v1", "input_params": params}, headers=headers)
        other = {"model_id": "inflate-v1", "input_params": {**params, "seed": 1}}
        assert_problem(api.http.post(f"{JOBS}/", json=other, headers=headers), 409, "idempotency_conflict")

    def test_the_same_key_of_two_users_is_two_keys(self, api, as_other):
        headers = {"Idempotency-Key": "order-7"}
        body = {"model_id": "inflate-v1", "input_params": {"input_path": api.upload()}}
        api.http.post(f"{JOBS}/", json=body, headers=headers)
        answer = api.http.post(f"{JOBS}/", json=body, headers={**headers, **as_other})
        assert_problem(answer, 403, "not_your_object")

    @pytest.mark.parametrize("key", ["", "with blank", "x" * 256])
    def test_a_key_that_cannot_be_compared_is_refused(self, api, key):
        answer = api.http.post(f"{JOBS}/", json={"model_id": "inflate-v1"}, headers={"Idempotency-Key": key})
        assert_problem(answer, 422, "invalid_idempotency_key")

    def test_of_many_equal_requests_at_once_one_makes_the_job(self, api):
        body = {"model_id": "inflate-v1", "input_params": {"input_path": api.upload()}}
        answers = []

        def ask():
            answers.append(api.http.post(f"{JOBS}/", json=body, headers={"Idempotency-Key": "order-7"}))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert len(api.http.get(f"{JOBS}/").json()) == 1

    def test_a_refused_request_does_not_use_up_its_key(self, api):
        headers = {"Idempotency-Key": "order-7"}
        assert_problem(
            api.http.post(f"{JOBS}/", json={"model_id": "inflate-v1"}, headers=headers), 422, "missing_image"
        )
        body = {"model_id": "inflate-v1", "input_params": {"input_path": api.upload()}}
        assert api.http.post(f"{JOBS}/", json=body, headers=headers).status_code == 201


def test_the_prompt_may_come_inside_the_parameters_and_the_outer_one_wins(api):
    key = api.upload()
    inner = api.create(input_params={"input_path": key, "prompt": "inner"}).json()
    both = api.create(input_params={"input_path": key, "prompt": "inner"}, prompt="outer").json()
    assert (inner["prompt"], both["prompt"]) == ("inner", "outer")
    assert "prompt" not in inner["input_params"]
    assert "prompt" not in inner["params"]
    assert UUID(inner["id"]) < UUID(both["id"])
