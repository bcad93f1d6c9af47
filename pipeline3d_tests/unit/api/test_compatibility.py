"""Our answers as an earlier system gave them: every status has a word, and nothing is made up."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from pipeline3d.api.compatibility import (
    FORMS,
    TCC_STATUS,
    note_compatibility,
    present_answer,
    present_for_tcc,
)
from pipeline3d.values import FINISHED_STATES, JobState

JOB = {
    **{"id": "1", "model_id": "m", "prompt": None, "input_params": {"id": 1}, "progress_percent": 5},
    **{"created_at": "t", "started_at": None, "completed_at": None, "links": {}, "artifacts": []},
}


@pytest.mark.parametrize("state", JobState)
def test_every_status_has_a_word_that_the_page_knows(state):
    told = present_for_tcc({**JOB, "status": state.value})
    assert told["status"] in {"QUEUED", "PROCESSING", "SUCCEEDED", "FAILED"}
    # what has ended must not look as if it went on, nor the other way round
    assert (told["status"] in {"SUCCEEDED", "FAILED"}) == (state in FINISHED_STATES)
    assert told.keys() == (JOB.keys() | {"status"}) - {"links", "artifacts"}


def test_all_states_are_in_the_table():
    assert TCC_STATUS.keys() == set(JobState)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_what_that_system_did_not_have_stays_as_it_is(answer):
    assert present_for_tcc(answer) == answer


@pytest.mark.parametrize(
    "response",
    [
        Response(status_code=204),
        Response(b"bytes", media_type="model/gltf-binary"),
        JSONResponse({"detail": "no"}, 404, media_type="application/problem+json"),
        StreamingResponse(iter([b"{}"]), media_type="application/json"),
    ],
)
def test_only_json_is_turned(response):
    before = getattr(response, "body", None), dict(response.headers)
    turned = present_answer(response, present_for_tcc)
    assert (getattr(turned, "body", None), dict(turned.headers)) == before


def test_an_answer_that_was_turned_says_its_new_length():
    turned = present_answer(JSONResponse({**JOB, "status": "RUNNING"}), FORMS["tcc"])
    assert turned.headers["content-length"] == str(len(turned.body))
    assert json.loads(turned.body)["status"] == "PROCESSING"


def test_whoever_asks_for_nothing_gets_our_own_form():
    request = Request({"type": "http", "headers": []})
    note_compatibility(request, None)
    assert "state" not in request.scope
