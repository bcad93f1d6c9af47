"""Archives: what leaves them, links, hides or explodes is refused before a byte is unpacked."""

from __future__ import annotations

import stat
import zipfile

import pytest

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry.import_archives import open_archive
from pipeline3d.geometry.import_limits import LIMITS, ImportLimits
from pipeline3d_tests.strange_gltf import zipped


def entry(name: str, *, mode: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize(
    "info",
    [
        pytest.param(entry("../model.obj"), id="above"),
        pytest.param(entry("a/../../model.obj"), id="above by a detour"),
        pytest.param(entry("/etc/model.obj"), id="absolute"),
        pytest.param(entry("C:\\model.obj"), id="a drive"),
        pytest.param(entry("..\\model.obj"), id="above with backslashes"),
        pytest.param(entry("model.obj", mode=stat.S_IFLNK | 0o777), id="a link"),
        pytest.param(entry("model.obj", mode=stat.S_IFIFO | 0o666), id="a pipe"),
    ],
)
def test_an_entry_that_leaves_the_archive_is_refused(tmp_path, info):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, b"v 0 0 0")
    with pytest.raises(UnusableInput) as caught:
        open_archive(path, LIMITS)
    assert caught.value.code == "archive_refused"


@pytest.mark.parametrize(
    ("limits", "files"),
    [
        pytest.param(ImportLimits(archive_files=3), {f"{n}.png": b"x" for n in range(4)}, id="too many"),
        pytest.param(ImportLimits(archive_bytes=1000), {"a.obj": b"v 0 0 0\n" * 200}, id="too large"),
        pytest.param(LIMITS, {"a.obj": b"\0" * 20_000_000}, id="a bomb"),
    ],
)
def test_an_archive_over_a_limit_is_refused(tmp_path, limits, files):
    with pytest.raises(UnusableInput) as caught:
        open_archive(zipped(tmp_path / "a.zip", files), limits)
    assert caught.value.code == "archive_refused"


def test_an_encrypted_entry_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a.obj": b"v 0 0 0"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flags in the directory
    path.write_bytes(data)
    with pytest.raises(UnusableInput) as caught:
        open_archive(path, LIMITS)
    assert caught.value.code == "archive_refused"


def test_a_packing_that_is_not_usual_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.obj", b"v 0 0 0")
    with pytest.raises(UnusableInput):
        open_archive(path, LIMITS)


def test_a_name_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.obj", b"one")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.obj", b"two")
    with pytest.raises(UnusableInput):
        open_archive(path, LIMITS)


@pytest.mark.parametrize("cut", [10, 60, -4])
def test_an_archive_that_is_cut_short_is_refused(tmp_path, cut):
    path = zipped(tmp_path / "a.zip", {"a.obj": b"v 0 0 0", "b.mtl": b"newmtl b"})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UnusableInput) as caught:
        open_archive(path, LIMITS)
    assert caught.value.code == "archive_refused"


def test_damaged_content_is_refused_when_it_is_read(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.obj", b"v 0 0 0")
    path.write_bytes(path.read_bytes().replace(b"v 0 0 0", b"v 0 0 9", 1))
    with open_archive(path, LIMITS) as archive, pytest.raises(UnusableInput) as caught:
        archive.read("a.obj")
    assert caught.value.code == "archive_refused"


@pytest.mark.parametrize("files", [{"readme.txt": b""}, {"a.obj": b"", "b.stl": b""}])
def test_an_archive_holds_one_model(tmp_path, files):
    path = zipped(tmp_path / "a.zip", files)
    with open_archive(path, LIMITS) as archive, pytest.raises(UnusableInput, match="one model"):
        archive.find_model()


def test_what_operating_systems_leave_behind_is_no_model(tmp_path):
    files = {"a.obj": b"", "__MACOSX/._a.obj": b"", "b/.hidden.obj": b""}
    with open_archive(zipped(tmp_path / "a.zip", files), LIMITS) as archive:
        assert archive.find_model() == "a.obj"


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("skin.png", b"beside"),
        ("./skin.png", b"beside"),
        ("SKIN.PNG", b"beside"),
        ("../textures/my%20wood.png", b"above"),
    ],
)
def test_a_reference_is_looked_up_beside_the_model_and_within_the_archive(tmp_path, reference, found):
    files = {"source/a.gltf": b"", "source/skin.png": b"beside", "textures/my wood.png": b"above"}
    with open_archive(zipped(tmp_path / "a.zip", files), LIMITS) as archive:
        assert archive.fetch(reference, beside="source/a.gltf") == found


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("../../skin.png", "external_reference"),
        ("..%2F..%2Fskin.png", "external_reference"),
        ("/skin.png", "external_reference"),
        ("http://example.org/skin.png", "external_reference"),
        ("C:/skin.png", "external_reference"),
        ("other.png", "missing_file"),
    ],
)
def test_a_reference_outside_the_archive_is_refused(tmp_path, reference, code):
    path = zipped(tmp_path / "a.zip", {"source/a.gltf": b"", "skin.png": b""})
    with open_archive(path, LIMITS) as archive, pytest.raises(UnusableInput) as caught:
        archive.fetch(reference, beside="source/a.gltf")
    assert caught.value.code == code


def test_a_full_path_of_another_computer_finds_the_file_of_that_name(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a.obj": b"", "maps/Wood.png": b"found"})
    with open_archive(path, LIMITS) as archive:
        assert archive.fetch_anywhere(r"C:\Users\me\maps\wood.png", beside="a.obj") == b"found"
