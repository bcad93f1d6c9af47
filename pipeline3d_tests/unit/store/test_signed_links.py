"""A signed preview path opens one picture and nothing else."""

from uuid import UUID

import pytest

from pipeline3d.store.signed_links import is_signed, preview_path

JOB = UUID(int=1)


def signature_of(path: str) -> str:
    return path.rsplit("=", 1)[1]


def test_a_path_opens_the_picture_that_it_was_made_for():
    path = preview_path("key", JOB, "model_preview", "thumbnail.png")
    assert path.startswith(f"/previews/{JOB}/model_preview/thumbnail.png?signature=")
    assert is_signed("key", JOB, "model_preview", "thumbnail.png", signature_of(path))


@pytest.mark.parametrize(
    ("key", "job", "asset", "name"),
    [
        ("other", JOB, "model_preview", "thumbnail.png"),  # another installation's key
        ("key", UUID(int=2), "model_preview", "thumbnail.png"),  # another request
        ("key", JOB, "glb_export", "thumbnail.png"),  # another asset
        ("key", JOB, "model_preview", "model.glb"),  # another file
        ("key", JOB, "model_preview\nthumbnail.png", ""),  # fields moved into each other
    ],
)
def test_the_signature_of_one_picture_does_not_open_another(key, job, asset, name):
    signature = signature_of(preview_path("key", JOB, "model_preview", "thumbnail.png"))
    assert not is_signed(key, job, asset, name, signature)


def test_a_signature_that_is_no_ascii_is_refused_and_not_a_crash():
    assert not is_signed("key", JOB, "model_preview", "thumbnail.png", "ü" * 32)
