"""Models of the user's own: really loaded, never downloaded, no picture sent away; refusals say why."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipeline3d.errors import InvalidParameters, ModelNotReady, TransientFailure, UnusableInput
from pipeline3d.imaging.background_models import (
    AUTO_ORDER,
    check_model,
    cut_out_with,
    list_local_models,
    remove_background,
)
from pipeline3d.imaging.decoding import decode_picture
from pipeline3d_tests.pictures import cut_out_drawing, draw, draw_backdrop, encode, overlap
from pipeline3d_tests.rembg_standin import build_standin, write_standin

needs_rembg = pytest.mark.skipif(
    importlib.util.find_spec("rembg") is None, reason="the extra pipeline3d[rembg] is not installed"
)

SIZE = 256


def photo(subject: str = "apple", backdrop: str = "plain"):
    return decode_picture(encode(draw(subject, backdrop, size=SIZE).rgb))


def refusal_of(use) -> ModelNotReady:
    with pytest.raises(ModelNotReady) as refusal:
        use()
    assert refusal.value.hint
    return refusal.value


@needs_rembg
@pytest.mark.parametrize("layout", [".", "models/u2net"])
@pytest.mark.parametrize(
    ("subject", "backdrop"), [("apple", "plain"), ("vase", "plain"), ("vase", "noisy"), ("apple", "noisy")]
)
def test_a_models_mask_becomes_the_matte(tmp_path, layout, subject, backdrop):
    write_standin(tmp_path / layout, "u2net")
    matte = remove_background(photo(subject, backdrop), model="u2net", directory=tmp_path)
    truth = draw(subject, backdrop, size=SIZE).truth > 0.5
    assert matte.method == "rembg:u2net"
    assert matte.alpha.shape == truth.shape
    assert matte.alpha.dtype == np.uint8
    assert overlap(matte.alpha >= 128, truth) >= 0.98
    assert matte.coverage == pytest.approx(truth.mean(), abs=0.01)
    assert matte.confidence > 0.9


@needs_rembg
def test_specks_that_a_model_sees_are_left_out(tmp_path):
    write_standin(tmp_path, "u2net")
    drawing = draw("apple", "plain", size=SIZE)
    speckled = drawing.rgb.copy()
    speckled[10:14, 200:204] = (200, 20, 20)
    matte = remove_background(decode_picture(encode(speckled)), model="u2net", directory=tmp_path)
    assert not matte.alpha[:30, 180:].any()
    assert overlap(matte.alpha >= 128, drawing.truth > 0.5) >= 0.98


@needs_rembg
def test_an_object_that_the_border_cuts_off_earns_less_confidence(tmp_path):
    write_standin(tmp_path, "u2net")
    rgb = draw("apple", "plain", size=SIZE).rgb
    whole, half = (
        remove_background(decode_picture(encode(pixels)), model="u2net", directory=tmp_path).confidence
        for pixels in (rgb, rgb[: SIZE // 2])
    )
    assert half < whole - 0.2


@needs_rembg
def test_alpha_matting_solves_the_edge_anew(tmp_path):
    write_standin(tmp_path, "u2net")
    drawing = draw("vase", "plain", size=SIZE // 4)
    picture = decode_picture(encode(drawing.rgb))
    plain = remove_background(picture, model="u2net", directory=tmp_path)
    refined = remove_background(picture, model="u2net", directory=tmp_path, alpha_matting=True)

    def error(alpha):
        return np.abs(alpha / 255 - drawing.truth).mean()

    assert not np.array_equal(plain.alpha, refined.alpha)
    assert error(refined.alpha) < error(plain.alpha)


@needs_rembg
@pytest.mark.parametrize(
    ("sees", "pixels"),
    [
        pytest.param("nothing", draw("apple", "plain", size=SIZE).rgb, id="a mask of zeros"),
        pytest.param("impossible", draw("apple", "plain", size=SIZE).rgb, id="a mask of no numbers"),
        pytest.param("difference", np.zeros((99, 70, 3), np.uint8), id="a black picture"),
        pytest.param("difference", np.full((99, 70, 3), 255, np.uint8), id="a white picture"),
        pytest.param("difference", draw_backdrop("noisy", size=SIZE), id="a rough wall"),
        pytest.param("difference", draw_backdrop("graded", size=SIZE), id="a wall in the evening sun"),
    ],
)
def test_a_model_that_finds_nothing_is_an_error_and_not_an_empty_matte(tmp_path, sees, pixels):
    write_standin(tmp_path, "u2net", sees=sees)
    with pytest.raises(UnusableInput) as refusal:
        remove_background(decode_picture(encode(pixels)), model="u2net", directory=tmp_path)
    assert refusal.value.code == "no_clear_object"
    assert refusal.value.details["reason"]


@needs_rembg
def test_a_pictures_own_alpha_is_taken_and_the_model_not_asked(tmp_path):
    write_standin(tmp_path, "u2net", sees="nothing")
    own = cut_out_drawing("teddy", size=SIZE)
    matte = remove_background(decode_picture(encode(own)), model="u2net", directory=tmp_path)
    assert matte.method == "alpha"
    assert np.array_equal(matte.alpha, own[..., 3])


@needs_rembg
def test_eight_threads_load_one_session(tmp_path, monkeypatch):
    onnxruntime = importlib.import_module("onnxruntime")
    loaded = []

    class Counted(onnxruntime.InferenceSession):
        def __init__(self, path, *arguments, **options):
            loaded.append(path)
            super().__init__(path, *arguments, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Counted)
    path = write_standin(tmp_path, "u2net")
    with ThreadPoolExecutor(8) as threads:
        tasks = [
            threads.submit(remove_background, photo(), model="u2net", directory=tmp_path) for _ in range(8)
        ]
        alphas = [task.result().alpha for task in tasks]
    assert all(np.array_equal(alphas[0], alpha) for alpha in alphas)
    assert loaded == [str(path)]
    write_standin(tmp_path, "u2net", sees="nothing")  # another file under the same name is another model
    with pytest.raises(UnusableInput):
        remove_background(photo(), model="u2net", directory=tmp_path)
    assert len(loaded) == 2


@needs_rembg
def test_neither_the_environment_nor_a_download_plays_a_part(tmp_path, monkeypatch):
    """rembg looks into U2NET_HOME, checks sums and downloads what is missing; none of it may happen."""

    def refuse_to_download(*_arguments, **_options):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(importlib.import_module("pooch"), "retrieve", refuse_to_download)
    write_standin(tmp_path / "theirs", "u2net", sees="nothing")
    write_standin(tmp_path / "ours", "u2net")
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "theirs"))
    monkeypatch.delenv("MODEL_CHECKSUM_DISABLED", raising=False)
    before = dict(os.environ)
    matte = remove_background(photo(), model="u2net", directory=tmp_path / "ours")
    assert matte.coverage > 0.2
    assert dict(os.environ) == before
    missing = refusal_of(lambda: remove_background(photo(), model="u2netp", directory=tmp_path / "ours"))
    assert missing.code == "weights_missing"


@pytest.mark.parametrize("name", ["atlascloud", "withoutbg", "sam", "u2net_custom", "", "../u2net", "U2NET"])
def test_models_that_are_not_local_or_not_known_are_refused_before_rembg_is_asked(name, tmp_path):
    write_standin(tmp_path, "u2net")
    assert name not in list_local_models()
    refusal = refusal_of(lambda: check_model(name, tmp_path))
    assert refusal.code == "unknown_background_model"
    assert "u2net" in refusal.hint
    used = refusal_of(lambda: remove_background(photo(), model=name, directory=tmp_path))
    assert used.code == "unknown_background_model"


@needs_rembg
def test_a_session_that_says_it_is_not_local_is_refused(tmp_path, monkeypatch):
    sessions = importlib.import_module("rembg.sessions")
    kind = next(kind for kind in sessions.sessions_class if kind.name() == "silueta")
    monkeypatch.setattr(kind, "is_local", classmethod(lambda _kind: False), raising=False)
    write_standin(tmp_path, "silueta")
    refusal = refusal_of(lambda: remove_background(photo(), model="silueta", directory=tmp_path))
    assert refusal.code == "unknown_background_model"


@needs_rembg
def test_missing_weights_say_where_they_belong(tmp_path):
    refusal = refusal_of(lambda: check_model("u2net", tmp_path))
    assert refusal.code == "weights_missing"
    assert str(tmp_path / "u2net.onnx") in refusal.message
    assert "pip install pipeline3d[rembg]" in refusal.hint
    (tmp_path / "u2net.onnx").mkdir()
    assert refusal_of(lambda: check_model("u2net", tmp_path)).code == "weights_missing"


@pytest.mark.parametrize("package", ["rembg", "onnxruntime"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch, package):
    for name in ("rembg", "onnxruntime"):  # found or not, independent of what is installed here
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    write_standin(tmp_path, "u2net")
    monkeypatch.setitem(sys.modules, package, None)
    refusal = refusal_of(lambda: check_model("u2net", tmp_path))
    assert refusal.code == "rembg_missing"
    assert package in refusal.message
    assert "pip install pipeline3d[rembg]" in refusal.hint


@needs_rembg
@pytest.mark.parametrize(
    "program",
    [
        pytest.param("import sys; sys.exit(1)", id="it ends the process, as it does without onnxruntime"),
        pytest.param("raise ImportError('numba needs another numpy')", id="its own needs do not fit"),
    ],
)
def test_an_rembg_that_cannot_be_imported_does_not_end_the_process(tmp_path, monkeypatch, program):
    (tmp_path / "rembg").mkdir()
    (tmp_path / "rembg" / "__init__.py").write_text(program)
    for name in [name for name in sys.modules if name == "rembg" or name.startswith("rembg.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    write_standin(tmp_path, "u2net")
    refusal = refusal_of(lambda: remove_background(photo(), model="u2net", directory=tmp_path))
    assert refusal.code == "rembg_missing"


def _misspelt() -> bytes:
    return build_standin().replace(b"Slice", b"Slyce")


@needs_rembg
@pytest.mark.parametrize(
    ("content", "found_by_checking"),
    [
        pytest.param(b"", True, id="empty"),
        pytest.param(build_standin()[:200], True, id="cut short"),
        pytest.param(b"<!DOCTYPE html><html>Not found</html>", True, id="a web page"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\noid sha256:0", True, id="an LFS pointer"),
        pytest.param(b"PK\x03\x04" + bytes(400), True, id="an archive"),
        pytest.param(_misspelt(), False, id="an operator that does not exist"),
        pytest.param(build_standin(channels=1), False, id="a model for grey pictures"),
        pytest.param(build_standin(side=64), False, id="a model for another size under this name"),
    ],
)
def test_a_damaged_file_or_another_model_is_refused_as_invalid_weights(tmp_path, content, found_by_checking):
    (tmp_path / "u2net.onnx").write_bytes(content)
    refusal = refusal_of(lambda: remove_background(photo(), model="u2net", directory=tmp_path))
    assert refusal.code == "weights_invalid"
    assert "u2net.onnx" in refusal.message
    if found_by_checking:
        assert refusal_of(lambda: check_model("u2net", tmp_path)).code == "weights_invalid"
    else:
        check_model("u2net", tmp_path)


@needs_rembg
@pytest.mark.parametrize("when", ["loading", "running"])
def test_too_little_memory_may_be_tried_again(tmp_path, monkeypatch, when):
    onnxruntime = importlib.import_module("onnxruntime")

    class Cramped(onnxruntime.InferenceSession):
        def __init__(self, *arguments, **options):
            if when == "loading":
                raise MemoryError
            super().__init__(*arguments, **options)

        def run(self, *_arguments, **_options):
            raise MemoryError

    write_standin(tmp_path, "u2net")
    with monkeypatch.context() as patched:
        patched.setattr(onnxruntime, "InferenceSession", Cramped)
        with pytest.raises(TransientFailure) as failure:
            remove_background(photo(), model="u2net", directory=tmp_path)
    assert failure.value.code == "out_of_memory"
    assert failure.value.details == {"model": "u2net"}


@needs_rembg
def test_auto_takes_the_best_model_that_is_ready_and_says_which(tmp_path, caplog):
    assert cut_out_with(photo(), method="auto", directory=tmp_path, seed=0).method == "backdrop"
    write_standin(tmp_path, "u2netp")
    assert cut_out_with(photo(), method="auto", directory=tmp_path, seed=0).method == "rembg:u2netp"
    write_standin(tmp_path, "u2net")
    assert cut_out_with(photo(), method="auto", directory=tmp_path, seed=0).method == "rembg:u2net"
    write_standin(tmp_path, "isnet-general-use", side=1024)
    chosen = cut_out_with(photo(), method="auto", directory=tmp_path, seed=0)
    assert chosen.method == "rembg:isnet-general-use"
    assert not caplog.records
    (tmp_path / "birefnet-general.onnx").write_bytes(b"cut short")
    assert cut_out_with(photo(), method="auto", directory=tmp_path, seed=0).method == chosen.method
    assert "birefnet-general" in caplog.text


def test_auto_without_a_directory_is_classical():
    assert cut_out_with(photo(), method="auto", directory=None, seed=0).method == "backdrop"


def test_auto_takes_a_pictures_own_alpha():
    own = decode_picture(encode(cut_out_drawing("mug", size=SIZE)))
    assert cut_out_with(own, method="auto", directory=None, seed=0).method == "alpha"


def test_classical_is_classical_even_where_a_model_is_ready(tmp_path):
    write_standin(tmp_path, "u2net")
    assert cut_out_with(photo(), method="classical", directory=tmp_path, seed=0).method == "backdrop"


@needs_rembg
def test_a_model_that_was_asked_for_by_name_is_used_or_an_error(tmp_path):
    write_standin(tmp_path, "u2net")
    assert cut_out_with(photo(), method="rembg:u2net", directory=tmp_path, seed=0).method == "rembg:u2net"
    for directory in (None, tmp_path):
        refusal = refusal_of(
            lambda directory=directory: cut_out_with(
                photo(), method="rembg:silueta", directory=directory, seed=0
            )
        )
        assert refusal.code == "weights_missing"


@pytest.mark.parametrize("method", ["", "magic", "u2net", "REMBG:u2net"])
def test_a_method_that_does_not_exist_is_refused_with_those_that_do(method):
    with pytest.raises(InvalidParameters, match="background") as refusal:
        cut_out_with(photo(), method=method, directory=None, seed=0)
    assert "classical" in (refusal.value.hint or "")


def test_automatic_choices_are_local_models():
    assert set(AUTO_ORDER) <= set(list_local_models())
