"""A file that is cut short is known as such without loading it, and no bytes whatever lead astray."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline3d.errors import ModelNotReady
from pipeline3d.imaging.onnx_files import check_onnx_file
from pipeline3d_tests.rembg_standin import build_standin

WHOLE = build_standin()


def test_a_whole_model_passes(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(WHOLE)
    check_onnx_file(path)


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_every_shorter_part_of_it_is_refused(tmp_path, length):
    path = tmp_path / "model.onnx"
    path.write_bytes(WHOLE[:length])
    with pytest.raises(ModelNotReady) as refusal:
        check_onnx_file(path)
    assert refusal.value.code == "weights_invalid"


def verdict_on(path) -> str:
    try:
        check_onnx_file(path)
    except ModelNotReady as refusal:
        return refusal.code
    return "a model"


@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_model_or_a_refusal(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(content)
    assert verdict_on(path) in {"a model", "weights_invalid"}


@given(place=st.integers(0, len(WHOLE) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_never_leads_astray(tmp_path_factory, place, byte):
    path = tmp_path_factory.getbasetemp() / "changed.onnx"
    path.write_bytes(WHOLE[:place] + bytes([byte]) + WHOLE[place + 1 :])
    assert verdict_on(path) in {"a model", "weights_invalid"}


def test_a_file_that_cannot_be_opened_is_refused(tmp_path):
    with pytest.raises(ModelNotReady) as refusal:
        check_onnx_file(tmp_path)
    assert refusal.value.code == "weights_invalid"
