"""The music video system's worker contract: `/transcribe` and `/render` with the `ASR_TOKEN`.

Its pipelines are not built, so that a right call ends with the model's reason (501). All that comes before
is as it was promised: who may call, which fields there are, what they may hold and what they are without.
"""

from __future__ import annotations

import httpx
import pytest

from pipeline3d.api.predecessors.audio import RenderBody, TranscribeBody
from pipeline3d.requests.status_words import Contract, word_for
from pipeline3d.values import JobState
from pipeline3d_tests.integration.api.api_fixtures import serving
from pipeline3d_tests.integration.requests.database_fixtures import API_KEY
from resources.catalogue import shipped_model

TOKEN = "the token of the audio worker"
SONG = "https://cdn.example.com/song.mp3"
TRANSCRIBE = {"audioUrl": SONG}
ASSET = {"id": "a1", "url": "https://cdn.example.com/a.png", "type": "image", "duration": 5}
RENDER = {
    "renderId": "render_0123456789abcdef01234567",
    "audioUrl": SONG,
    "assets": [ASSET],
    "format": "vertical",
}
CALLS = [("/transcribe", TRANSCRIBE), ("/render", RENDER)]
PRIVATE = "http://169.254.169.254/latest/meta-data"


@pytest.fixture(scope="module")
def worker_url(api_settings):
    with serving({**api_settings, "asr_token": TOKEN}) as url:
        yield url


@pytest.fixture(scope="module")
def worker_client(worker_url):
    """Makes nothing, so that no job need be cleared away."""
    with httpx.Client(base_url=worker_url, timeout=30) as client:
        yield client


@pytest.fixture
def call(worker_client):
    def call(path, body, token=TOKEN):
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return worker_client.post(path, json=body, headers=headers)

    return call


@pytest.mark.parametrize(("path", "body"), CALLS)
@pytest.mark.parametrize("token", [None, "wrong", TOKEN.upper()])
def test_whoever_has_not_the_token_is_401(call, path, body, token):
    answer = call(path, body, token)
    assert (answer.status_code, answer.json()["code"]) == (401, "asr_token_wrong")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_an_api_key_is_no_token_and_the_token_no_api_key(worker_client, path, body):
    assert worker_client.post(path, json=body, headers={"x-api-key": API_KEY}).status_code == 401
    assert worker_client.get("/api/v1/jobs/", headers={"x-api-key": TOKEN}).status_code == 403


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_an_installation_without_a_token_says_so(api_url, path, body):
    answer = httpx.post(f"{api_url}{path}", json=body, headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, answer.json()["code"]) == (501, "asr_token_missing")


@pytest.mark.parametrize(
    ("path", "body", "model"),
    [
        ("/transcribe", TRANSCRIBE, "whisper-small"),
        ("/transcribe", {**TRANSCRIBE, "language": "en", "model": "small"}, "whisper-small"),
        ("/transcribe", {**TRANSCRIBE, "language": "auto"}, "whisper-small"),
        ("/transcribe/", TRANSCRIBE, "whisper-small"),
        ("/render/", RENDER, "video-v1"),
        ("/render", RENDER, "video-v1"),
        ("/render", {**RENDER, "format": "horizontal"}, "video-v1"),
        (
            "/render",
            {**RENDER, "format": "square", "callbackUrl": "https://app.example.com/done"},
            "video-v1",
        ),
        ("/render", {**RENDER, "assets": [{**ASSET, "type": "video", "duration": 2.5}]}, "video-v1"),
    ],
)
def test_a_right_call_is_told_why_the_model_cannot_run(call, path, body, model):
    answer = call(path, body)
    readiness = shipped_model(model).readiness
    assert (answer.status_code, answer.json()["code"]) == (501, "not_built")
    assert (answer.json()["detail"], answer.json()["hint"]) == (readiness.reason, readiness.hint)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/transcribe", {}, 422, "invalid_request"),
        ("/transcribe", {"audioUrl": 7}, 422, "invalid_request"),
        ("/transcribe", {**TRANSCRIBE, "language": "Portuguese"}, 422, "invalid_request"),
        ("/transcribe", {**TRANSCRIBE, "model": "../small"}, 422, "invalid_request"),
        ("/transcribe", {**TRANSCRIBE, "model": "huge"}, 404, "unknown_model"),  # it was ignored before
        ("/transcribe", {"audioUrl": "file:///etc/passwd"}, 422, "address_invalid"),
        ("/transcribe", {"audioUrl": PRIVATE}, 422, "address_forbidden"),
        ("/transcribe", {"audioUrl": "http://127.0.0.1:5432/"}, 422, "address_forbidden"),
        ("/render", {**RENDER, "renderId": ""}, 422, "invalid_request"),
        ("/render", {**RENDER, "assets": []}, 422, "invalid_request"),
        ("/render", {**RENDER, "assets": [{**ASSET, "type": "text"}]}, 422, "invalid_request"),
        ("/render", {**RENDER, "assets": [{**ASSET, "duration": 0}]}, 422, "invalid_request"),
        ("/render", {**RENDER, "assets": [{**ASSET, "duration": "NaN"}]}, 422, "invalid_request"),
        ("/render", {**RENDER, "format": "round"}, 422, "invalid_request"),
        ("/render", {**RENDER, "audioUrl": PRIVATE}, 422, "address_forbidden"),
        ("/render", {**RENDER, "callbackUrl": PRIVATE}, 422, "address_forbidden"),
        ("/render", {**RENDER, "assets": [ASSET, {**ASSET, "url": PRIVATE}]}, 422, "address_forbidden"),
    ],
)
def test_a_wrong_call_is_told_what_is_wrong_before_anything_else(call, path, body, status, code):
    answer = call(path, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_what_is_not_sent_is_what_it_was_without():
    body = TranscribeBody.model_validate(TRANSCRIBE)
    assert (body.language, body.model) == ("pt", "small")
    assert RenderBody.model_validate(RENDER).callback_url is None


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (JobState.QUEUED, "pending"),
        (JobState.RUNNING, "processing"),
        (JobState.CANCELING, "processing"),
        (JobState.SUCCEEDED, "complete"),
        (JobState.FAILED, "failed"),
        (JobState.CANCELED, "failed"),
        (JobState.EXPIRED, "failed"),
    ],
)
def test_the_words_of_that_system_for_our_states(state, word):
    assert word_for(Contract.TONMOVIES, state) == word


@pytest.mark.parametrize(
    ("model", "defaults"),
    [
        ("whisper-small", {"language": "pt"}),
        ("video-v1", {"format": "horizontal", "quality": "standard"}),
        ("storyboard-v1", {"style": "cinematic", "frequency": 3, "aspect_ratio": "16:9"}),
    ],
)
def test_the_catalogue_has_the_models_with_that_system_s_defaults(worker_client, model, defaults):
    found = worker_client.get(f"/api/v1/models/{model}").json()
    assert (found["ready"], found["not_ready_code"], found["family"]) == (
        False,
        "not_built",
        "media_requests",
    )
    assert found["default_params"].items() >= defaults.items()
    body = {"model_id": model, "input_params": {}}
    asked = worker_client.post("/api/v1/jobs/", json=body, headers={"x-api-key": API_KEY})
    assert (asked.status_code, asked.json()["code"]) == (501, "not_built")
