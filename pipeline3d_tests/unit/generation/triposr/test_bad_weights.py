"""Every kind of wrong file is refused with a reason, and nothing in it is run."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.errors import ModelNotReady
from pipeline3d.generation.triposr import check_directory, load_model
from pipeline3d.generation.triposr.config import CLASSES, CONFIG_NAME, parse_config
from pipeline3d_tests.tiny_triposr import PUBLISHED, TINY, render_config, write_directory

CHECKPOINT = "model.ckpt"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_directory(tmp_path_factory.mktemp("model"))


@pytest.fixture
def directory(tmp_path, whole):
    for name in (CONFIG_NAME, CHECKPOINT):
        (tmp_path / name).write_bytes((whole / name).read_bytes())
    return tmp_path


def refusal(directory: Path, check=check_directory) -> ModelNotReady:
    with pytest.raises(ModelNotReady) as caught:
        check(directory)
    assert CHECKPOINT in caught.value.hint
    return caught.value


def refusal_of_loading(directory: Path) -> ModelNotReady:
    return refusal(directory, lambda path: load_model(path, device="cpu"))


def change_tensors(directory: Path, change) -> None:
    """Save the checkpoint anew after `change`, which gets the table and may return another object."""
    tensors = torch.load(directory / CHECKPOINT, weights_only=True)
    torch.save(change(tensors) or tensors, directory / CHECKPOINT)


def test_a_whole_directory_is_described(whole):
    facts = check_directory(whole)
    assert facts.config == TINY
    assert facts.checkpoint_bytes == (whole / CHECKPOINT).stat().st_size
    assert facts.weights_bytes < facts.checkpoint_bytes
    assert facts.tensors == len(torch.load(whole / CHECKPOINT, weights_only=True))


@pytest.mark.parametrize("name", [CONFIG_NAME, CHECKPOINT])
def test_a_missing_file_is_named(directory, name):
    (directory / name).unlink()
    found = refusal(directory)
    assert found.code == "weights_missing"
    assert name in found.message


def test_a_missing_directory_is_named(tmp_path):
    assert refusal(tmp_path / "nowhere").code == "weights_missing"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_checkpoint_is_refused_with_its_size(directory, share):
    content = (directory / CHECKPOINT).read_bytes()
    (directory / CHECKPOINT).write_bytes(content[: int(share * len(content))])
    found = refusal(directory)
    assert found.code == "weights_invalid"
    assert f"{int(share * len(content)):,}" in found.message or "archive" in found.message


def test_a_checkpoint_with_its_end_overwritten_is_refused(directory):
    content = (directory / CHECKPOINT).read_bytes()
    (directory / CHECKPOINT).write_bytes(content[:-2000] + b"\0" * 2000)
    assert "archive" in refusal(directory).message


def test_the_checkpoint_of_another_size_of_model_is_refused(directory):
    (directory / CONFIG_NAME).write_text(render_config(PUBLISHED))
    found = refusal(directory)
    assert found.code == "weights_invalid"
    assert "1,677,102,512" in found.message


def drop_one(tensors):
    del tensors["decoder.layers.0.bias"]


def rename_as_newer_transformers_do(tensors):
    old = "image_tokenizer.model.encoder.layer.0.attention.attention.query.weight"
    tensors["image_tokenizer.model.layers.0.attention.q_proj.weight"] = tensors.pop(old)


def turn_one(tensors):
    name = "backbone.transformer_blocks.0.ff.net.2.weight"
    tensors[name] = tensors[name].t().contiguous()


def double_one(tensors):
    tensors["decoder.layers.0.bias"] = tensors["decoder.layers.0.bias"].double()


def replace_one_by_a_list(tensors):
    tensors["decoder.layers.0.bias"] = tensors["decoder.layers.0.bias"].tolist()


def make_one_sparse(tensors):
    tensors["decoder.layers.0.weight"] = tensors["decoder.layers.0.weight"].to_sparse()


def wrap(tensors):
    return {"state_dict": dict(tensors)}


def list_values(tensors):
    return list(tensors.values())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop_one, "1 missing (decoder.layers.0.bias)"),
        (rename_as_newer_transformers_do, "1 unknown (image_tokenizer.model.layers.0.attention.q_proj."),
        (turn_one, "backbone.transformer_blocks.0.ff.net.2.weight has the shape (256, 64)"),
        (double_one, "torch.float64"),
        (replace_one_by_a_list, "is a list"),
        (make_one_sparse, "wanted"),
        (wrap, "1 unknown (state_dict)"),
        (list_values, "it holds a list"),
    ],
)
def test_wrong_tensors_are_refused_by_name(directory, change, said):
    change_tensors(directory, change)
    found = refusal_of_loading(directory)
    assert found.code == "weights_invalid"
    assert said in found.message


class Spy:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "ran"))


def test_code_in_a_checkpoint_is_not_run(directory, tmp_path):
    trace = tmp_path / "trace"

    def plant(tensors):
        tensors["decoder.layers.0.bias"] = Spy(trace)

    change_tensors(directory, plant)
    found = refusal_of_loading(directory)
    assert found.code == "weights_invalid"
    assert "more than tensors" in found.message
    assert not trace.exists()
    torch.load(directory / CHECKPOINT, weights_only=False)  # the trap was live
    assert trace.exists()


def test_a_plain_pickle_with_code_is_not_run(directory, tmp_path):
    trace = tmp_path / "trace"
    size = (directory / CHECKPOINT).stat().st_size
    (directory / CHECKPOINT).write_bytes(pickle.dumps(Spy(trace)) + b"\0" * size)
    assert refusal_of_loading(directory).code == "weights_invalid"
    assert not trace.exists()


def test_a_compressed_archive_is_refused(directory, tmp_path):
    source, target = directory / CHECKPOINT, tmp_path / "compressed"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    target.write_bytes(target.read_bytes())
    with zipfile.ZipFile(target, "a") as archive:  # as large as a right one
        archive.writestr("padding", b"\0" * (source.stat().st_size), zipfile.ZIP_STORED)
    target.replace(source)
    assert refusal(directory).code == "weights_invalid"


@pytest.mark.parametrize("place", [0.1, 0.3, 0.7])
def test_damage_in_the_list_of_tensors_is_refused_or_harmless(directory, place):
    """A damaged pickle never gets further than the check of names and shapes."""
    path = directory / CHECKPOINT
    content = bytearray(path.read_bytes())
    begin = content.index(b"data.pkl")
    content[begin + int(place * 4000) : begin + int(place * 4000) + 8] = b"\xff" * 8
    path.write_bytes(content)
    assert refusal_of_loading(directory).code == "weights_invalid"


@pytest.mark.parametrize("key", CLASSES)
@pytest.mark.parametrize("named", ["os.system", "subprocess.Popen", None, 5, ["tsr"]])
def test_a_config_that_names_another_class_is_refused(directory, key, named):
    (directory / CONFIG_NAME).write_text(render_config(TINY, **{key: named}))
    found = refusal(directory)
    assert found.code == "weights_invalid"
    assert key in found.message
    assert CLASSES[key] in found.message


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({"tokenizer": {"plane_size": 0, "num_channels": 64}}, "tokenizer.plane_size is 0"),
        ({"tokenizer": {"plane_size": 12}}, "tokenizer.num_channels is None"),
        ({"tokenizer": "plane"}, "tokenizer is 'plane'"),
        ({"cond_image_size": 10**9}, "cond_image_size is 1000000000"),
        ({"cond_image_size": True}, "cond_image_size is True"),
        ({"cond_image_size": 41}, "a multiple of 8"),
        ({"cond_image_size": "${oc.env:HOME}"}, "cond_image_size is '${oc.env:HOME}'"),
        ({"cond_image_size": "${nowhere.to_be}"}, "cond_image_size is None"),
    ],
)
def test_a_config_with_a_wrong_number_says_which(replaced, said):
    with pytest.raises(ModelNotReady) as caught:
        parse_config(render_config(TINY, **replaced).encode())
    assert caught.value.code == "weights_invalid"
    assert said in caught.value.message


def test_another_activation_is_refused():
    text = render_config(TINY).replace("activation: silu", "activation: relu")
    with pytest.raises(ModelNotReady, match="decoder.activation is 'relu'"):
        parse_config(text.encode())


def test_the_published_config_is_read_with_the_sizes_of_vit_b_16():
    before, _, after = render_config(PUBLISHED).partition("  hidden_size:")
    text = before + after[after.index("tokenizer:") :]
    assert not any(f"  {name}:" in text for name in ("hidden_size", "patch_size", "image_size"))
    assert parse_config(text.encode()) == PUBLISHED


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=200).map(lambda text: text.encode("utf-8"))))
def test_anything_else_is_refused_and_never_crashes(text):
    with pytest.raises(ModelNotReady) as caught:
        parse_config(text)
    assert caught.value.code == "weights_invalid"


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_config_with_one_line_lost_is_refused_or_means_the_same(data):
    lines = render_config(TINY).splitlines()
    lost = data.draw(st.integers(0, len(lines) - 1))
    try:
        found = parse_config("\n".join(lines[:lost] + lines[lost + 1 :]).encode())
    except ModelNotReady:
        return
    assert found.radius == TINY.radius
    assert found.num_channels == TINY.num_channels


@pytest.mark.parametrize(
    "bomb", ["!!python/object/apply:os.system ['true']", "a: &a [1]\nb: [*a, *a]", "[" * 1000]
)
def test_yaml_that_is_more_than_data_is_refused(bomb):
    with pytest.raises(ModelNotReady):
        parse_config(bomb.encode())
