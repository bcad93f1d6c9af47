"""Files of many jobs, however they were made: read, or refused in words, and never anything else."""

from __future__ import annotations

import csv
import io
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.api.batch_archives import ArchiveLimits, list_photos, open_archive, unpack
from pipeline3d.api.batch_items import merge, read_csv, typed
from pipeline3d.errors import RequestError

LIMITS = ArchiveLimits(total_bytes=1 << 20)
CELLS = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


def zip_of(entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


GOOD = zip_of([("a.png", b"one" * 50), ("b/c.png", b"two" * 500)])


@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_refused(data):
    try:
        items = read_csv(data, {})
    except RequestError:
        return
    assert [item.index for item in items] == list(range(len(items)))


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=5))
def test_cells_come_back_as_they_were_written(rows):
    text = io.StringIO()
    csv.writer(text).writerows([["prompt", "first", "metadata.second"], *rows])
    kept = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    if not kept:
        return
    for item, (prompt, first, second) in zip(read_csv(text.getvalue().encode(), {}), kept, strict=True):
        assert item.fields.get("prompt", "") == prompt
        assert item.texts.get("first", "") == first
        assert item.fields.get("metadata", {}).get("second", "") == second


@pytest.mark.parametrize(
    ("text", "rule", "value"),
    [
        ("7", {"type": "integer"}, 7),
        ("7.5", {"type": "integer"}, "7.5"),  # which the schema then refuses
        ("7.5", {"type": "number"}, 7.5),
        ("Yes", {"type": "boolean"}, True),
        ("maybe", {"type": "boolean"}, "maybe"),
        ("a; b", {"type": "array"}, ["a", "b"]),
        ('["a"]', {"type": "array"}, ["a"]),
        ("[", {"type": "array"}, "["),
        ('{"a": 1}', {"type": "object"}, {"a": 1}),
        ("[" * 100_000, {"type": "object"}, "[" * 100_000),
        ("7", {"type": ["string", "integer"]}, 7),
        ("x", {}, "x"),
    ],
)
def test_a_cell_has_the_type_of_its_parameter(text, rule, value):
    assert typed({"p": text}, {"properties": {"p": rule}}) == {"p": value}


@pytest.mark.parametrize(
    ("cell", "deadline"),
    [("60", 60.0), ("1.5", 1.5), ("²", "²"), ("1.²", "1.²"), (".", "."), ("2030-01-31T12:00:00Z",) * 2],
)
def test_a_deadline_is_seconds_where_it_is_a_number(cell, deadline):
    [item] = read_csv(f"model_id,deadline\nm,{cell}\n".encode(), {})
    assert item.fields["deadline"] == deadline


def test_of_a_job_and_its_defaults_the_job_wins_field_by_field():
    merged = merge(
        {"tags": ["a"], "input_params": {"a": 1, "b": 2}}, {"tags": ["b"], "input_params": {"b": 3}}
    )
    assert merged == {"tags": ["b"], "input_params": {"a": 1, "b": 3}}


@settings(max_examples=200, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=6),
    length=st.integers(0, len(GOOD)),
)
def test_a_damaged_archive_is_read_or_refused(changes, length):
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    for damaged in (bytes(data), bytes(data[:length])):
        with suppress(RequestError):
            archive = open_archive(io.BytesIO(damaged))
            for photo in list_photos(archive, LIMITS):
                assert unpack(archive, photo, io.BytesIO(), 10_000) <= 10_000


def test_no_more_is_unpacked_than_is_allowed():
    archive = open_archive(io.BytesIO(GOOD))
    photos = list_photos(archive, LIMITS)
    target = io.BytesIO()
    with pytest.raises(RequestError, match="more than the 100 bytes"):
        unpack(archive, photos[0], target, 100)
    assert target.tell() <= 100
    with pytest.raises(RequestError, match="unpacked"):
        list_photos(archive, ArchiveLimits(total_bytes=1000))
