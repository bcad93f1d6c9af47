"""Plain requests for a job are answered without the framework; nobody can tell by the answers."""

from __future__ import annotations

import json

import pytest

from pipeline3d.api.quick_create import QuickCreateRoute
from pipeline3d_tests.integration.api.api_fixtures import JOBS
from pipeline3d_tests.integration.requests.database_fixtures import OTHER_API_KEY

PLAIN = "application/json"
DESCRIBED = "application/vnd.order+json"
"""A spelling that is JSON to the framework and goes the documented way."""
MADE_ANEW = (
    "id",
    "created_at",
    "updated_at",
    "queue_position",
    "links",
    "estimated_start_at",
    "waiting_reason",
)

WHOLE = {"model_id": "sculpt-v1", "prompt": "a chair"}
BODIES = {
    "whole": json.dumps(WHOLE).encode(),
    "everything": json.dumps(
        {
            **WHOLE,
            "input_params": {"seed": 7.0},
            "priority": 3,
            "tags": ["shop", "ü"],
            "metadata": {"n": [1, 2.5, None, True, 10**30]},
            "hold": True,
            "expires_at": "2099-01-31T12:00:00Z",
        }
    ).encode(),
    "a dry run": json.dumps({**WHOLE, "dry_run": True}).encode(),
    "numbers as text": b'{"model_id": "sculpt-v1", "prompt": "x", "priority": "4", "hold": "yes"}',
    "UTF-16": json.dumps(WHOLE).encode("utf-16"),
    "a name twice": b'{"model_id": "none", "prompt": "x", "model_id": "sculpt-v1"}',
    "unknown model": json.dumps({**WHOLE, "model_id": "none"}).encode(),
    "wrong parameter": json.dumps({**WHOLE, "input_params": {"seed": "x"}}).encode(),
    "wrong field": json.dumps({**WHOLE, "priority": 1000}).encode(),
    "a field missing": b"{}",
    "a list": b"[1]",
    "not a number": b'{"model_id": "sculpt-v1", "prompt": "x", "metadata": {"n": NaN}}',
    "half a character": b'{"model_id": "sculpt-v1", "prompt": "\\ud800"}',
    "not JSON": b'{"model_id": ',
    "not text": b"\xff\xfe\xfd",
    "nested": b"[" * 5000,
    "nothing": b"",
}


def ask(api, body, content_type, **headers):
    answer = api.http.post(f"{JOBS}/", content=body, headers={"content-type": content_type, **headers})
    shown = answer.json()
    if answer.status_code == 201:
        assert answer.headers["location"] == shown["links"]["self"]
        shown = {name: value for name, value in shown.items() if name not in MADE_ANEW}
    same = ("content-type", "www-authenticate", "ratelimit-limit", "idempotency-replayed", "cache-control")
    return answer.status_code, {name: answer.headers.get(name) for name in same}, shown


@pytest.fixture
def ways(monkeypatch):
    """How many requests each way had."""
    count = {"quick": 0, "described": 0}
    create, handle = QuickCreateRoute.answer, QuickCreateRoute.hand_over

    async def answer(self, request, body):
        count["quick"] += 1
        return await create(self, request, body)

    async def hand_over(self, *arguments):
        count["described"] += 1
        await handle(self, *arguments)

    monkeypatch.setattr(QuickCreateRoute, "answer", answer)
    monkeypatch.setattr(QuickCreateRoute, "hand_over", hand_over)
    return count


@pytest.mark.parametrize("name", BODIES)
def test_both_ways_answer_the_same(api, ways, name):
    quick, described = (ask(api, BODIES[name], content_type) for content_type in (PLAIN, DESCRIBED))
    assert quick == described
    refused_by_form = quick[0] == 400 or quick[2].get("code") == "invalid_request"
    assert ways == ({"quick": 0, "described": 2} if refused_by_form else {"quick": 1, "described": 1})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-api-key": "wrong"}, 403),
        ({"x-api-key": OTHER_API_KEY}, 201),
        ({"idempotency-key": "with a space"}, 422),
        ({"idempotency-key": ""}, 422),
        ({"prefer": "wait=0"}, 201),
    ],
)
def test_headers_count_the_same_both_ways(api, headers, status):
    quick, described = (
        ask(api, BODIES["whole"], content_type, **headers) for content_type in (PLAIN, DESCRIBED)
    )
    assert quick == described
    assert quick[0] == status


def test_a_key_that_was_used_one_way_counts_the_other_way(api):
    answers = [ask(api, BODIES["whole"], way, **{"idempotency-key": "k"}) for way in (PLAIN, DESCRIBED)]
    assert [answer[1]["idempotency-replayed"] for answer in answers] == [None, "true"]
    assert answers[0][2] == answers[1][2]
