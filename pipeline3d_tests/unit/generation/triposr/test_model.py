"""The forward pass: the numbers of the description, the same every time, in batches that fit."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline3d.errors import BrokenModelOutput, ModelNotReady, TransientFailure, UnusableInput
from pipeline3d.generation.triposr import load_model
from pipeline3d.generation.triposr.checkpoint import Network
from pipeline3d.generation.triposr.config import Config
from pipeline3d.generation.triposr.model import TripoSR, choose_device, prepare_picture
from pipeline3d.generation.triposr.shapes import count_bytes, plan_shapes
from pipeline3d_tests import triposr_by_hand
from pipeline3d_tests.tiny_triposr import (
    MARKED_BODY,
    PUBLISHED,
    TINY,
    build_tensors,
    draw_cut_out,
    with_vision,
    write_directory,
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return write_directory(tmp_path_factory.mktemp("model"), roughness=0.3)


@pytest.fixture
def model(directory):
    return load_model(directory, device="cpu")


def by_hand(config: Config, tensors: dict, rgba: np.ndarray) -> np.ndarray:
    picture = prepare_picture(rgba, config.cond_image_size).permute(1, 2, 0).double().numpy()
    return triposr_by_hand.forward(
        {name: value.numpy() for name, value in tensors.items()},
        picture,
        heads=config.vision.num_attention_heads,
        backbone_heads=config.num_attention_heads,
        groups=config.norm_num_groups,
    )


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(TINY, id="positions stretched"),
        pytest.param(replace(TINY, cond_image_size=24), id="positions as trained"),
        pytest.param(replace(TINY, cond_image_size=64), id="positions stretched far"),
        pytest.param(with_vision(TINY, num_hidden_layers=3, num_attention_heads=2), id="other sizes"),
        pytest.param(replace(TINY, num_layers=1, norm_num_groups=32), id="as many groups as published"),
    ],
)
def test_the_forward_pass_agrees_with_the_description(tmp_path, config):
    write_directory(tmp_path, config, roughness=0.5, seed=3)
    tensors = build_tensors(config, MARKED_BODY, seed=3, roughness=0.5)
    rgba = draw_cut_out(5, side=96)
    (scene,) = load_model(tmp_path, device="cpu").encode([rgba])
    wanted = by_hand(config, tensors, rgba)
    assert scene.planes.shape == wanted.shape
    assert np.abs(scene.planes - wanted).max() <= 1e-4
    assert np.abs(scene.planes - wanted.mean()).max() > 0.1


def test_the_published_sizes_have_the_published_number_of_tensors_and_numbers():
    shapes = plan_shapes(PUBLISHED)
    assert len(shapes) == 549
    assert count_bytes(shapes) == 4 * 419_275_628
    with torch.device("meta"):
        network = Network(PUBLISHED)
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == shapes


def test_the_same_picture_gives_the_same_planes(directory, model):
    rgba = draw_cut_out(1)
    first, second = model.encode([rgba, rgba])
    (third,) = load_model(directory, device="cpu").encode([rgba])
    assert first.planes.tobytes() == second.planes.tobytes() == third.planes.tobytes()


def test_other_pictures_give_other_planes(model):
    first, second = model.encode([draw_cut_out(1), draw_cut_out(2)])
    assert np.abs(first.planes - second.planes).max() > 1e-3


@pytest.mark.parametrize("batch_size", [1, 2, 5, 9])
def test_the_batch_size_does_not_change_the_result(model, batch_size):
    pictures = [draw_cut_out(seed) for seed in range(5)]
    single = model.encode(pictures)
    batched = model.encode(pictures, batch_size=batch_size)
    assert len(batched) == 5
    for one, other in zip(single, batched, strict=True):
        assert np.abs(one.planes - other.planes).max() < 1e-5


def test_no_pictures_give_no_scenes(model):
    assert model.encode([]) == []


def refuse_more_than(limit: int, seen: list[int]):
    """A torch hook that behaves like a device on which `limit` pictures fit."""

    def hook(_module, inputs):
        seen.append(len(inputs[0]))
        if seen[-1] > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.50 GiB. GPU 0 is full.")

    return hook


def test_a_batch_that_does_not_fit_is_halved(model):
    seen: list[int] = []
    model._network.backbone.register_forward_pre_hook(refuse_more_than(2, seen))
    scenes = model.encode([draw_cut_out(seed) for seed in range(6)], batch_size=6)
    assert len(scenes) == 6
    assert seen == [6, 3, 1, 1, 1, 1, 1, 1]


def test_a_picture_that_does_not_fit_is_reported_with_what_was_needed_and_free(model):
    model._network.backbone.register_forward_pre_hook(refuse_more_than(0, []))
    with pytest.raises(TransientFailure) as failure:
        model.encode([draw_cut_out(), draw_cut_out()], batch_size=2)
    assert failure.value.code == "out_of_memory"
    assert failure.value.details["needed_bytes"] == int(3.5 * 2**30)
    assert failure.value.details["free_bytes"] > 0


def test_another_error_is_not_taken_for_want_of_memory(model):
    def hook(_module, _inputs):
        raise RuntimeError("shapes do not fit")

    model._network.backbone.register_forward_pre_hook(hook)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        model.encode([draw_cut_out()])


def test_weights_that_are_not_numbers_never_become_a_scene(tmp_path):
    write_directory(tmp_path)
    tensors = build_tensors(TINY, MARKED_BODY, seed=0, roughness=0.1)
    tensors["backbone.proj_out.bias"][3] = float("nan")
    torch.save(tensors, tmp_path / "model.ckpt")
    with pytest.raises(BrokenModelOutput) as failure:
        load_model(tmp_path, device="cpu").encode([draw_cut_out()])
    assert failure.value.code == "nan_mesh"


def test_half_precision_of_the_transformers_changes_the_planes_little(directory):
    """What a CUDA device does, on the CPU."""
    whole, halved = (load_model(directory, device="cpu") for _ in range(2))
    halved = TripoSR(halved.config, halved._network, torch.device("cpu"), halved=True)
    assert halved.memory_bytes < 0.7 * whole.memory_bytes
    (one,), (other,) = whole.encode([draw_cut_out()]), halved.encode([draw_cut_out()])
    assert other.planes.dtype == np.float32
    assert 0 < np.abs(one.planes - other.planes).max() < 0.05


def test_the_picture_is_put_on_grey_and_shrunk_as_pillow_does():
    rgba = draw_cut_out(7, side=100)
    alpha = rgba[..., 3:].astype(np.float64) / 255
    on_grey = np.floor((rgba[..., :3] / 255 * alpha + 0.5 * (1 - alpha)) * 255 + 1e-4)
    prepared = prepare_picture(rgba, 40).numpy()
    for channel in range(3):
        plane = Image.fromarray(on_grey[..., channel].astype(np.float32))
        wanted = np.asarray(plane.resize((40, 40), Image.Resampling.BILINEAR)) / 255
        assert np.abs(prepared[channel] - wanted).max() < 2e-3
    assert prepared[:, 0, 0] == pytest.approx(127 / 255, abs=1e-6)


@pytest.mark.parametrize(
    "rgba",
    [
        pytest.param(np.zeros((8, 8, 3), np.uint8), id="no alpha"),
        pytest.param(np.zeros((8, 8, 4), np.float32), id="floats"),
        pytest.param(np.full((8, 9, 4), 255, np.uint8), id="not square"),
    ],
)
def test_an_array_of_another_shape_is_named(model, rgba):
    with pytest.raises(ValueError, match="RGBA"):
        model.encode([rgba])


def test_an_empty_cut_out_is_refused(model):
    with pytest.raises(UnusableInput) as refusal:
        model.encode([np.zeros((32, 32, 4), np.uint8)])
    assert refusal.value.code == "no_clear_object"


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "meta", ""])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(ModelNotReady) as refusal:
        choose_device(name)
    assert refusal.value.code == "device_missing"


def test_importing_the_package_imports_no_torch():
    code = "import sys, pipeline3d.generation.triposr; print({'torch', 'skimage', 'yaml'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_without_torch_the_model_is_not_ready_and_says_what_to_install(directory):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; from pipeline3d.errors import ModelNotReady\n"
        "from pipeline3d.generation import triposr\n"
        "triposr.check_directory(Path(sys.argv[1]))\n"
        "try: triposr.load_model(Path(sys.argv[1]))\n"
        "except ModelNotReady as refused: print(refused)"
    )
    ran = subprocess.run([sys.executable, "-c", code, directory], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("package_missing: TripoSR needs torch")
    assert "pip install" in ran.stdout
