"""Keys cannot leave their folder, and tell whose they are."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.store.keys import (
    MAX_NAME_LENGTH,
    artifact_key,
    is_temporary,
    job_of_artifact,
    job_prefix,
    owner_of_upload,
    run_of_compute_log,
    sanitise_filename,
    temporary_key,
    upload_key,
)

USER = UUID("11111111-1111-4111-8111-111111111111")
JOB = UUID("22222222-2222-4222-8222-222222222222")


@pytest.mark.parametrize(
    ("filename", "safe"),
    [
        ("chair.png", "chair.png"),
        ("my chair (1).png", "my_chair_1.png"),  # blanks and signs
        ("../../etc/passwd", "passwd"),  # a way out
        ("..\\..\\boot.ini", "boot.ini"),  # a way out, as Windows writes it
        ("..", "file"),
        ("", "file"),
        ("Stühle.JPG", "Stuhle.JPG"),  # letters with marks lose the marks
        ("椅子.png", "file.png"),  # nothing is left of the name, the ending is
        (".png", "file.png"),  # an ending alone
        ("a..b.png", "a.b.png"),  # no double dots anywhere
        ("x\x00y.png", "x_y.png"),
        ("a" * 300 + ".png", "a" * 96 + ".png"),  # cut, the ending kept
        ("photo.", "photo"),
    ],
)
def test_a_file_name_becomes_safe_and_keeps_its_ending(filename, safe):
    assert sanitise_filename(filename) == safe


@settings(deadline=None)
@given(st.text(max_size=400))
def test_any_file_name_makes_a_key_of_its_owner(filename):
    key = upload_key(USER, filename)
    assert owner_of_upload(key) == USER
    assert len(key.encode()) < 1024
    assert len(sanitise_filename(filename)) <= MAX_NAME_LENGTH
    assert ".." not in key
    assert key.isascii()


def test_two_uploads_of_one_name_have_two_keys():
    assert upload_key(USER, "a.png") != upload_key(USER, "a.png")


@pytest.mark.parametrize(
    "key",
    [
        f"uploads/inputs/{USER}",  # no name
        f"uploads/inputs/{USER}/",
        f"uploads/inputs/{USER}/a/b.png",  # a folder too many
        f"uploads/inputs/{USER}/../{JOB}/a.png",  # a way to somebody else
        f"uploads/inputs/{USER}/..",
        f"uploads/inputs/{str(USER).replace('-', '')}/a.png",  # another spelling of the id
        "uploads/inputs/{" + str(USER) + "}/a.png",
        f"/uploads/inputs/{USER}/a.png",
        f"uploads/outputs/{USER}/a.png",
        f"jobs/{JOB}/mesh/mesh.glb",  # what a run made is not an upload
        f"uploads/inputs/{USER}/a\x00.png",
        f"uploads/inputs/{USER}/a.png\n",
        "",
        "nonsense",
    ],
)
def test_what_is_not_our_key_has_no_owner(key):
    assert owner_of_upload(key) is None


def test_artifacts_of_a_job_share_its_prefix():
    assert artifact_key(JOB, "mesh", "mesh.glb") == f"jobs/{JOB}/mesh/mesh.glb"
    assert artifact_key(JOB, "mesh", "mesh.glb").startswith(job_prefix(JOB))


@pytest.mark.parametrize(
    ("asset", "name"), [("a/b", "c"), ("a", "../c"), ("", "c"), ("a", ""), ("a", "x..y")]
)
def test_an_artifact_cannot_leave_its_folder(asset, name):
    with pytest.raises(ValueError, match="part of a key"):
        artifact_key(JOB, asset, name)


def test_temporary_keys_are_apart_from_everything_else():
    assert temporary_key() != temporary_key()
    assert temporary_key().startswith("tmp/")


@pytest.mark.parametrize(
    ("key", "job", "run", "temporary"),
    [
        (f"jobs/{JOB}/mesh/mesh.glb", JOB, None, False),
        (f"compute_logs/storage/{JOB}/compute_logs/abc.err", None, str(JOB), False),
        (f"tmp/{JOB}", None, None, True),
        (f"jobs/{JOB}/mesh.glb", None, None, False),  # no asset: somebody else put it there
        (f"jobs/{JOB}/a/b/mesh.glb", None, None, False),
        ("jobs/readme/a/b.txt", None, None, False),
        ("jobs/AAAAAAAA-2222-4222-8222-222222222222/mesh/mesh.glb", None, None, False),  # our ids are lower
        (f"theirs/jobs/{JOB}/mesh/mesh.glb", None, None, False),
        (f"compute_logs/{JOB}/abc.err", None, None, False),
        ("compute_logs/storage/backfill/abc.err", None, None, False),
        ("tmp/notes.txt", None, None, False),
        (f"tmp/{JOB}/part", None, None, False),
        ("", None, None, False),
    ],
)
def test_only_keys_of_our_own_forms_are_recognised(key, job, run, temporary):
    assert (job_of_artifact(key), run_of_compute_log(key), is_temporary(key)) == (job, run, temporary)
