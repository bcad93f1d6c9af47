"""What wrappers say is read with distrust: whatever the line, an event or a refusal comes of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.generation.serving import events
from pipeline3d.generation.serving.events import MalformedEvent, parse_event, write_command


def line(**fields) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("said", "event"),
    [
        (line(event="ready", protocol=1, name="sf3d", pid=7), events.Ready(protocol=1, name="sf3d")),
        (
            line(event="loaded", id="l1", load_s=3, memory_bytes=None, device="cpu"),
            events.Loaded(id="l1", load_s=3.0, device="cpu"),
        ),
        (
            line(event="progress", id="a:1", fraction=1, message=None, step=2, steps=4),
            events.Progress(id="a:1", fraction=1.0, step=2, steps=4),
        ),
        (
            line(event="failed", id="a:1", code="out_of_memory", message="m", needed_bytes=9),
            events.Failed(id="a:1", code="out_of_memory", message="m", needed_bytes=9),
        ),
        (line(event="canceled", id="a:1"), events.Canceled(id="a:1")),
        (line(event="freed", id="f1"), events.Acknowledged(id="f1", what="freed")),
        (
            line(event="of a later protocol", id="x", more=[1]),
            events.Unknown(id="x", what="of a later protocol"),
        ),
    ],
)
def test_an_event_is_read_as_it_is_meant(said, event):
    assert parse_event(said) == event


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"hello",
        b"\xff\xfe",
        b"[]",
        b"1",
        b"{}",
        b"[" * 100_000,
        b'{"event": NaN}',
        line(event=1),
        line(event="ready", name="x"),  # no protocol
        line(event="ready", protocol=True, name="x"),
        line(event="progress", id="a", fraction=1.5),
        line(event="progress", id="a", fraction=-0.1),
        line(event="progress", id="a", fraction="0.5"),
        line(event="progress", id="a", fraction=True),
        b'{"event": "progress", "id": "a", "fraction": 1e999}',
        line(event="progress", id=7, fraction=0.5),
        line(event="done", id="a", outputs="mesh.glb"),
        line(event="done", id="a", outputs=[{"name": "m"}]),
        line(event="done", id="a", outputs=[], notes=[1]),
        line(event="done", id="a", outputs=[], facts=[]),
        line(event="done", id="a", outputs=[], peak_memory_bytes=-1),
        line(event="failed", id="a", message="no code"),
        line(event="failed", id="a", code="x", retryable="yes"),
        line(event="health", id="h", state=None),
    ],
)
def test_what_is_no_event_is_refused(said):
    with pytest.raises(MalformedEvent):
        parse_event(said)


def test_endless_texts_are_cut():
    event = parse_event(line(event="failed", id="a", code="script_failed", message="x" * 100_000))
    assert len(event.message) == events.LONGEST_TEXT


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(
    ["event", "id", "protocol", "name", "fraction", "outputs", "notes", "code", "state", "message", "load_s"]
)


@given(
    st.binary(max_size=100)
    | st.tuples(st.sampled_from(sorted(events._READERS)), st.dictionaries(names, json_values)).map(
        lambda pair: json.dumps({**pair[1], "event": pair[0]}).encode()
    )
)
def test_any_line_is_an_event_or_refused(said):
    try:
        event = parse_event(said)
    except MalformedEvent:
        return
    assert isinstance(event, events.Event)


@given(st.text())
def test_a_command_is_one_line_whatever_is_in_it(text):
    written = write_command("run", "a:1", request={"prompt": text})
    assert b"\n" not in written
    assert json.loads(written)["request"]["prompt"] == text
