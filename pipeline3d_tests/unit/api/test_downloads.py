"""Who is told a link and who is led to it, by what Accept says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.api.downloads import prefers_json


@pytest.mark.parametrize(
    ("accept", "is_told"),
    [
        ("", True),
        ("*/*", True),
        ("application/json", True),
        ("application/*;q=0.3", True),
        ("application/json, text/plain, */*", True),
        ("APPLICATION/JSON", True),
        ("text/html,*/*;q=0.8", False),
        ("image/avif,image/webp,*/*;q=0.8", False),
        ("text/html;q=0.2, application/json;q=0.3", True),
        ("application/json;q=0, model/gltf-binary", False),
        ("application/json;q=nan, model/gltf-binary", False),
        ("model/gltf-binary;q=0", True),  # nothing at all: then the link
        (",,;q=1,", False),
    ],
)
def test_whoever_likes_json_best_is_told(accept, is_told):
    assert prefers_json(accept) is is_told


@given(st.text(max_size=200))
def test_no_header_whatever_is_too_strange(accept):
    assert prefers_json(accept) in (True, False)
