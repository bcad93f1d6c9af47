"""What a message says: JSON in the form of the specification, with signatures that its library accepts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from pipeline3d.courier.formats import FORMATS, build_body
from pipeline3d.courier.messages import read_event, read_job
from pipeline3d.courier.signing import sign
from pipeline3d.requests.webhook_secrets import generate_secret

JOB = {
    **{"id": "0197-x", "model_id": "inflate-v1", "kind": "image_to_3d", "state": "FAILED"},
    **{"attempt": 3, "max_attempts": 3, "progress_percent": 40, "progress": {"stage": "mesh", "percent": 40}},
    "error": {"code": "no_faces", "stage": "mesh", "message": "No.", "hint": None, "retryable": False},
    **{"params": {"seed": 1}, "tags": ["a"], "metadata": {"order": "é"}, "batch_id": None},
    **{"created_at": "2026-01-02T03:04:05+00:00", "started_at": None, "completed_at": None},
}
LINE = {"event": "attempt_failed", "state": "FAILED", "attempt": 3, "code": "no_faces", "message": "No."}
PAYLOAD = {"event_id": 7, "at": "2026-01-02T05:04:05.25+02:00", "event": LINE, "job": JOB}
ARTIFACT = SimpleNamespace(
    **{"name": "model.glb", "asset": "glb_export", "type": "OUTPUT_MODEL", "file_size_bytes": 9},
    **{"content_type": "model/gltf-binary", "sha256": "ab", "storage_path": "results/secret/place"},
)


def build(payload, *, name="job.failed", form="standard", artifacts=(), api_url=None):
    event = read_event(name, payload)
    return json.loads(build_body(form, event, read_job(payload, artifacts, api_url=api_url)))


def test_a_body_has_type_time_and_data():
    body = build(PAYLOAD, artifacts=[ARTIFACT], api_url="https://3d.example.com")
    assert (body["type"], body["timestamp"]) == ("job.failed", "2026-01-02T03:04:05.250000+00:00")
    data = body["data"]
    assert (data["sequence"], data["status"], data["metadata"]) == (7, "FAILED", {"order": "é"})
    assert data["progress"] == {"stage": "mesh", "percent": 40}
    assert data["artifacts"][0]["size"] == 9
    assert data["links"]["self"] == "https://3d.example.com/api/v1/jobs/0197-x"
    # neither where it is stored, nor parameters, which may name private addresses
    assert "secret" not in json.dumps(body)
    assert "seed" not in json.dumps(body)


@pytest.mark.parametrize(
    ("job", "line", "code"),
    [
        ({}, LINE, "no_faces"),
        ({"error": None, "state": "QUEUED"}, LINE, "no_faces"),  # the attempt's, when another one follows
        ({"error": None, "state": "EXPIRED"}, {"event": "expired"}, "expired"),
        ({"error": None, "state": "SUCCEEDED"}, {"event": "succeeded"}, None),
    ],
)
def test_the_error_is_the_jobs_or_the_attempts(job, line, code):
    data = build({**PAYLOAD, "job": {**JOB, **job}, "event": line})["data"]
    assert (data["error"] or {}).get("code") == code


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_any_number_that_can_be_stored_is_told(form):
    metadata = {"order": 2**70, "weight": 10**300}  # what Postgres makes of 1e300 too
    told = build({**PAYLOAD, "job": {**JOB, "metadata": metadata}}, form=form)
    assert told.get("data", told)["metadata"].items() >= metadata.items()


def test_an_artifact_that_landed_is_named():
    line = {"event": "artifact", "asset": "usdz_export", "name": "model.usdz", "type": "EXPORT"}
    line |= {"size": 5, "sha256": "cd", "state": "RUNNING", "attempt": 1}
    data = build({**PAYLOAD, "event": line}, name="job.artifact")["data"]
    assert data["artifact"] == {
        **{"asset": "usdz_export", "name": "model.usdz", "type": "EXPORT", "size": 5, "sha256": "cd"}
    }


def test_a_test_message_is_about_no_job():
    body = build({"at": "2026-01-02T03:04:05+00:00"}, name="webhook.test")
    assert body["type"] == "webhook.test"
    assert "id" not in body["data"]


@pytest.mark.parametrize("form", [*FORMATS, "unknown"])
def test_every_form_is_json_for_every_job(form):
    for payload in (PAYLOAD, {"at": PAYLOAD["at"]}):
        assert isinstance(build(payload, form=form), dict)


def test_a_form_that_nobody_knows_any_more_is_our_own():
    assert build(PAYLOAD, form="gone") == build(PAYLOAD)


@given(body=st.text(st.characters(exclude_categories=["Cs"])), minutes=st.integers(-4, 4))
def test_each_secret_verifies_and_no_other_does(body, minutes):
    secrets = [generate_secret(), generate_secret()]
    moment = datetime.now(UTC) + timedelta(minutes=minutes)
    headers = sign("evt_1", moment, body, secrets)
    for secret in secrets:
        Webhook(secret).verify(body, headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(generate_secret()).verify(body, headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(secrets[0]).verify(body + "!", headers, json_parse=False)


def test_the_moment_may_be_in_any_time_zone():
    elsewhere = datetime.now(UTC).astimezone(timezone(timedelta(hours=9)))
    secret = generate_secret()
    Webhook(secret).verify("{}", sign("evt_1", elsewhere, "{}", [secret]))
