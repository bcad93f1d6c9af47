"""The page of a share link: whatever a file or an installation is called, it stays text."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.api.file_bodies import SharedFile, SharedRead
from pipeline3d.api.share_page import describe_size, render_page
from pipeline3d.requests.sharing import ShareScope

WHEN = datetime(2026, 5, 4, tzinfo=UTC)


def shared(**changes):
    facts = {
        "model_id": "inflate-v1",
        "kind": "image_to_3d",
        "status": "SUCCEEDED",
        "scope": ShareScope.RESULT,
        "created_at": WHEN,
        "completed_at": WHEN,
        "expires_at": None,
        "files": [],
    }
    return SharedRead(**{**facts, **changes})


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_name_becomes_markup(name, content_type):
    name, content_type = f'"><script>{name}', f"image/<b>{content_type}"
    file = SharedFile(
        name=name,
        asset="preview",
        type="PREVIEW",
        content_type=content_type,
        size=1,
        sha256=None,
        url=f"/s/t/preview/{name}",
    )
    page = render_page(shared(files=[file], model_id=name), "<i>Shop</i>")
    assert "<script" not in page
    assert "<b>" not in page
    assert "<i>" not in page


def test_a_link_says_until_when_it_works():
    assert "until its owner ends it" in render_page(shared(), "Shop")
    assert "until 2026-05-04 00:00 UTC" in render_page(shared(expires_at=WHEN), "Shop")


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2_500_000, "2.5 MB"), (3_000_000_000, "3.0 GB")],
)
def test_sizes_are_said_as_people_say_them(size, said):
    assert describe_size(size) == said
