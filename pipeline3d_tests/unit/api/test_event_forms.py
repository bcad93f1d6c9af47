"""Events as those outside see them: a small set of names, each with what belongs to it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID

import pytest

from pipeline3d.api.event_forms import build_event, encode_frame
from pipeline3d.requests.event_types import BEGINNING_TYPES, END_TYPES, JobEventType, event_type_of

JOB = UUID(int=7)


def line(**payload):
    return SimpleNamespace(id=5, job_id=JOB, payload=payload, created_at=datetime(2026, 1, 2, tzinfo=UTC))


def data_of(frame: bytes) -> dict:
    return json.loads(frame.decode().split("data: ", 1)[1])


@pytest.mark.parametrize(
    ("payload", "type"),
    [
        ({"event": "created", "state": "QUEUED"}, "job.created"),
        ({"event": "attempt_failed", "state": "QUEUED"}, "job.retrying"),
        ({"event": "attempt_failed", "state": "FAILED"}, "job.failed"),
        ({"event": "attempt_failed", "state": "CANCELED"}, "job.canceled"),
        ({"event": "attempt_failed", "state": "RUNNING"}, "job.changed"),
        ({"event": "cancel_requested", "state": "CANCELING"}, "job.canceling"),
        ({"event": "cancel_requested", "state": "CANCELED"}, "job.canceled"),
        ({"event": "artifact", "state": "SUCCEEDED"}, "job.artifact"),
        ({"event": "unheard of"}, "job.changed"),
        ({"event": None}, "job.changed"),
        ({"event": ["x"]}, "job.changed"),
        ({}, "job.changed"),
    ],
)
def test_a_line_of_history_has_a_name(payload, type):
    assert event_type_of(payload) == type


def test_no_end_is_a_beginning():
    assert not END_TYPES & BEGINNING_TYPES


def test_a_frame_is_one_event_with_its_id():
    event = build_event(line(event="progress", state="RUNNING", attempt=2, progress={"percent": 3}))
    assert event.frame.startswith(b"id: 5\nevent: job.progress\ndata: {")
    assert event.frame.endswith(b"}\n\n")
    assert data_of(event.frame) == {
        "id": 5,
        "type": "job.progress",
        "job_id": str(JOB),
        "status": "RUNNING",
        "attempt": 2,
        "created_at": "2026-01-02T00:00:00+00:00",
        "progress": {"percent": 3},
    }
    assert event.is_end is False


def test_an_unsettled_event_carries_no_id_to_resume_from():
    event = build_event(line(event="started", state="RUNNING"), is_settled=False)
    assert event.frame.startswith(b"event: job.started\n")
    assert data_of(event.frame)["id"] == 5


def test_what_only_some_events_have_is_told_as_details():
    details = data_of(build_event(line(event="created", state="QUEUED", model_id="m")).frame)["details"]
    assert details == {"model_id": "m"}


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\u2028b", "id: 9\n\nevent: x", "\x00", "ö"])
def test_no_text_ends_an_event_early(text):
    frame = encode_frame(JobEventType.CHANGED, {"text": text}, id=1)
    assert frame.count(b"\n\n") == 1
    assert frame.count(b"\n") == 4
    assert b"\r" not in frame
    assert data_of(frame) == {"text": text}
