"""Cursors: every place survives the way into a URL and back, and nothing else is taken for one."""

from __future__ import annotations

import string
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.api.cursors import digest_query, read_cursor, write_cursor
from pipeline3d.errors import InvalidParameters
from pipeline3d.requests.listing import Place

DIGEST = digest_query([("status", "QUEUED")])
places = st.builds(
    Place,
    created_at=st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)),
    id=st.uuids(),
)


@given(places)
def test_a_place_comes_back_as_it_was(place):
    cursor = write_cursor(place, DIGEST)
    assert set(cursor) <= set(string.ascii_letters + string.digits + "-_")
    assert read_cursor(cursor, DIGEST) == place


@given(places, st.integers(0, 43), st.sampled_from(string.ascii_letters + string.digits + "-_=%\u0000é"))
def test_a_cursor_that_was_changed_is_refused_or_is_another_place(place, index, character):
    cursor = write_cursor(place, DIGEST)
    changed = cursor[:index] + character + cursor[index + 1 :]
    if changed == cursor:
        return
    with suppress(InvalidParameters):
        assert read_cursor(changed, DIGEST) != place


@given(st.text(max_size=60))
def test_any_other_text_is_refused(text):
    with pytest.raises(InvalidParameters) as caught:
        read_cursor(text, DIGEST)
    assert caught.value.code == "invalid_cursor"


def test_the_order_of_the_filters_makes_no_other_list():
    a, b = ("a", "1"), ("b", "2")
    assert digest_query([a, b]) == digest_query([b, a]) != digest_query([a])
