"""What the USD child answers comes back, and a child that dies is an error with its reason."""

from __future__ import annotations

import struct

import pytest

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.formats.usd_messages import pack_message, unpack_message
from pipeline3d.geometry.formats.usd_process import UsdChild, perform, perform_here


def test_a_message_is_what_it_was():
    header, blobs = {"a": [1, None, "ü"]}, [b"", b"\0\1", b"x" * 1000]
    assert unpack_message(pack_message(header, blobs)) == (header, blobs)


@pytest.mark.parametrize("cut", [0, 4, 12, -1])
def test_a_message_that_is_cut_off_is_refused(cut):
    with pytest.raises(ValueError, match="message|few|cut"):
        unpack_message(pack_message({"a": 1}, [b"12345"])[: cut or 0])


def test_a_message_that_lies_about_its_length_is_refused():
    with pytest.raises(ValueError, match="cut off"):
        unpack_message(struct.pack("<Q", 1 << 60) + b"{}")


@pytest.mark.parametrize("isolated", [True, False])
def test_a_file_that_openusd_cannot_open_is_refused_with_its_words(tmp_path, isolated):
    (tmp_path / "broken.usdc").write_bytes(b"PXR-USDC" + bytes(200))
    request = {"steps": ["read"], "package": str(tmp_path / "broken.usdc")}
    with pytest.raises(BrokenModelOutput) as refused:
        perform(request, [], isolated=isolated)
    assert refused.value.code == "usd_failed"


def test_a_request_without_sense_is_refused_and_not_a_crash():
    with pytest.raises(BrokenModelOutput) as refused:
        perform_here({"steps": ["write"]}, [])
    assert refused.value.code == "usd_failed"


def test_a_child_that_is_killed_is_reported():
    with UsdChild() as child:
        child._process.kill()
        with pytest.raises(BrokenModelOutput, match="SIGKILL") as crashed:
            child.ask({"steps": []}, [])
    assert crashed.value.code == "usd_crashed"


def test_a_child_that_was_not_asked_is_ended():
    with UsdChild() as child:
        pass
    assert child._process.returncode is not None


def test_a_full_disk_is_an_error_of_the_system(tmp_path):
    scene = {"display_name": "x", "metadata": {}, "meshes": [], "materials": [], "pictures": []}
    request = {
        "steps": ["write"],
        "scene": scene,
        "layer": str(tmp_path / "model.usdc"),
        "package": "/dev/full",
    }
    with pytest.raises(OSError, match="No space left"):
        perform(request, [])
