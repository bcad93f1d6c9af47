"""Procedural models: closed, upright, honest about the words, the same every time."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.errors import InvalidParameters, Pipeline3dError, UnusableInput
from pipeline3d.generation.procedural import PRESETS, Sculpture, sculpt
from pipeline3d.generation.procedural.templates import TEMPLATES


@functools.cache
def quickly(prompt: str) -> Sculpture:
    """A model of the fast quality, made once for all tests that only look at it."""
    return sculpt(prompt, quality="fast")


def assert_is_a_closed_solid(model: Sculpture) -> None:
    mesh = trimesh.Trimesh(model.vertices, model.faces, process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    first, second, third = (model.vertices[model.faces[:, corner]].astype(float) for corner in range(3))
    assert np.einsum("ij,ij->", first, np.cross(second, third)) / 6 > 1e-4, "its volume"
    low, high = model.vertices.min(axis=0), model.vertices.max(axis=0)
    assert low[1] == pytest.approx(0, abs=1e-6)
    assert (high - low).max() == pytest.approx(1, abs=1e-5)
    assert (low + high)[[0, 2]] == pytest.approx(0, abs=1e-5)


def srgb(model: Sculpture, chosen: np.ndarray) -> np.ndarray:
    """Mean sRGB (3,) of some vertices, 0 to 255."""
    linear = model.colours[chosen, :3].mean(axis=0) / 255
    return 255 * np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_is_a_closed_solid(name):
    model = sculpt(name, quality="fast")
    assert (model.method, model.template, model.unmatched) == ("template", name, [])
    assert_is_a_closed_solid(model)
    assert len(model.faces) <= 1.02 * PRESETS["fast"].faces


@pytest.mark.parametrize(
    ("prompt", "quality"),
    [
        ("a mug", "quality"),
        ("no such thing", "quality"),
        ("a bookcase", "balanced"),
        ("a rose", "balanced"),
        ("two apples on a wooden table", "balanced"),
        ("a snail under a tree", "fast"),
        ("what is this", "fast"),
    ],
)
def test_every_quality_is_closed_and_in_budget(prompt, quality):
    model = sculpt(prompt, quality=quality)
    assert_is_a_closed_solid(model)
    assert 0.4 * PRESETS[quality].faces < len(model.faces) <= 1.02 * PRESETS[quality].faces


def test_arrays_have_the_types_that_the_contract_names():
    model = quickly("a red mug")
    assert (model.vertices.dtype, model.faces.dtype, model.normals.dtype) == (
        np.float32,
        np.int32,
        np.float32,
    )
    assert model.colours.dtype == np.uint8
    assert model.colours.shape == (len(model.vertices), 4)
    assert (model.colours[:, 3] == 255).all()
    assert np.linalg.norm(model.normals, axis=1) == pytest.approx(1, abs=1e-4)


def test_normals_point_outwards():
    model = quickly("a ball")
    outwards = model.vertices - [0, 0.5, 0]
    assert (np.einsum("ij,ij->i", outwards, model.normals) > 0.45).all()


def test_a_mug_has_a_handle_and_a_hollow():
    """One hole through it, and a floor far below the rim."""
    mug = quickly("a mug")
    mesh = trimesh.Trimesh(mug.vertices, mug.faces, process=False)
    assert mesh.euler_number == 0
    bare = quickly("a mug without a handle")
    assert trimesh.Trimesh(bare.vertices, bare.faces, process=False).euler_number == 2
    middle = np.hypot(bare.vertices[:, 0], bare.vertices[:, 2]) < 0.2
    assert bare.vertices[middle, 1].max() < 0.9


def test_colours_are_linear():
    ball = quickly("a grey ball")
    assert ball.colours[0].tolist() == [62, 64, 69, 255]  # sRGB 135, 137, 142


def test_a_named_part_gets_its_colour_and_the_rest_keeps_its_own():
    plain, roofed = quickly("a house"), quickly("a house with a blue roof")
    assert plain.vertices[:, 1].max() == pytest.approx(roofed.vertices[:, 1].max(), abs=0.01)
    roof = (roofed.vertices[:, 1] > 0.6) & (roofed.vertices[:, 1] < 0.75) & (roofed.vertices[:, 0] < 0)
    red, _, blue = srgb(roofed, roof)
    assert blue > red + 80
    wall = (roofed.vertices[:, 1] > 0.05) & (roofed.vertices[:, 1] < 0.25) & (roofed.vertices[:, 2] < -0.25)
    red, _, blue = srgb(roofed, wall)
    assert red > blue + 20


@pytest.mark.parametrize(
    ("plain", "stretched", "axis", "factor"),
    [
        ("a vase", "a tall vase", 1, 1.4),
        ("a table", "a long table", 0, 1.5),
        ("a car", "a long car", 2, 1.5),
        ("a mug", "a wide mug", 0, 1.4),
        ("a hat", "a flat hat", 1, 0.5),
    ],
)
def test_shape_words_change_proportions(plain, stretched, axis, factor):
    before, after = (np.ptp(quickly(p).vertices, axis=0) for p in (plain, stretched))
    other = (axis + 1) % 3
    assert (after[axis] / after[other]) / (before[axis] / before[other]) == pytest.approx(factor, rel=0.02)


@pytest.mark.parametrize(
    ("prompt", "count"), [("a ball", 1), ("five balls", 5), ("12 balls", 12), ("balls", 3)]
)
def test_as_many_are_made_as_asked_for(prompt, count):
    model = quickly(prompt)
    assert trimesh.Trimesh(model.vertices, model.faces, process=False).body_count == count
    assert_is_a_closed_solid(model)


def bodies(prompt: str) -> list[np.ndarray]:
    """Bounds (2,3) of the closed shells of a scene, the largest first."""
    model = quickly(prompt)
    pieces = trimesh.Trimesh(model.vertices, model.faces, process=False).split()
    return [piece.bounds for piece in sorted(pieces, key=lambda piece: -np.ptp(piece.bounds, axis=0).prod())]


def test_a_thing_on_a_table_rests_on_its_top():
    table, ball = bodies("a ball on a table")
    assert ball[0, 1] == pytest.approx(table[1, 1], abs=0.01)
    assert ball[:, [0, 2]].mean(axis=0) == pytest.approx(table[:, [0, 2]].mean(axis=0), abs=0.02)


def test_a_thing_in_a_bowl_lies_below_its_rim():
    bowl, ball = bodies("a small ball in a bowl")
    assert bowl[0, 1] < ball[0, 1] < bowl[1, 1] - 0.05


def test_a_thing_under_a_table_fits_below_its_top():
    table, ball = bodies("a ball under a table")
    assert ball[0, 1] == pytest.approx(0, abs=0.01)
    assert ball[1, 1] < table[1, 1] - 0.05


@pytest.mark.parametrize(
    ("prompt", "axis", "sign"),
    [
        ("a ball behind a house", 2, -1),
        ("a ball in front of a house", 2, 1),
        ("a ball to the left of a house", 0, -1),
        ("a ball to the right of a house", 0, 1),
        ("a ball next to a house", 0, -1),
    ],
)
def test_places_beside_and_behind(prompt, axis, sign):
    house, ball = bodies(prompt)
    clear = ball[0, axis] - house[1, axis] if sign > 0 else house[0, axis] - ball[1, axis]
    assert clear > 0
    assert ball[0, 1] == pytest.approx(0, abs=0.005)


def test_a_chain_of_relations_is_a_stack():
    model = quickly("a crown on a cube on a table")
    assert model.unmatched == []
    table, cube, crown = bodies("a crown on a cube on a table")[:3]
    assert table[1, 1] == pytest.approx(cube[0, 1], abs=0.01)
    assert cube[1, 1] == pytest.approx(crown[0, 1], abs=0.01)


@pytest.mark.parametrize("prompt", ["a red mug", "two cats on a sofa", "unknown words"])
def test_the_same_prompt_seed_and_quality_give_the_same_bytes(prompt):
    first, second = (sculpt(prompt, quality="fast", seed=7) for _ in range(2))
    for name in ("vertices", "faces", "normals", "colours"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


@pytest.mark.parametrize("prompt", ["a mug", "a cube", "unknown words"])
def test_seeds_give_different_candidates(prompt):
    made = [sculpt(prompt, quality="fast", seed=seed) for seed in (0, 1, -3, 2**70)]
    assert len({model.vertices.tobytes() + model.colours.tobytes() for model in made}) == len(made)
    for model in made:
        assert_is_a_closed_solid(model)


def test_a_seed_changes_proportions_by_little():
    plain = np.ptp(quickly("a vase").vertices, axis=0)
    for seed in range(1, 4):
        shape = np.ptp(sculpt("a vase", quality="fast", seed=seed).vertices, axis=0)
        assert 0.84 < (shape[0] / shape[1]) / (plain[0] / plain[1]) < 1.19


def test_an_exact_shape_keeps_its_proportions_under_every_seed():
    for seed in (1, 2):
        assert np.ptp(sculpt("a ball", quality="fast", seed=seed).vertices, axis=0) == pytest.approx(
            1, abs=0.02
        )


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t", "\x00\x07\u200b\ufeff", "\ud800"])
def test_an_empty_prompt_is_refused(prompt):
    with pytest.raises(UnusableInput) as refusal:
        sculpt(prompt)
    assert refusal.value.code == "missing_prompt"
    assert refusal.value.hint


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"prompt": None}, id="no text"),
        pytest.param({"prompt": "a mug", "quality": "best"}, id="unknown quality"),
        pytest.param({"prompt": "a mug", "seed": 1.5}, id="seed is a fraction"),
        pytest.param({"prompt": "a mug", "seed": True}, id="seed is a truth value"),
    ],
)
def test_wrong_arguments_are_named(arguments):
    with pytest.raises(InvalidParameters):
        sculpt(**arguments)


@pytest.mark.parametrize(
    "text", ["mug " * 2500, "x" * 10_000, "lorem ipsum " * 900, "dragon " * 1400 + "mug"]
)
def test_ten_thousand_characters_are_fine_and_the_notes_say_what_was_looked_at(text):
    model = sculpt(text, quality="fast")
    assert_is_a_closed_solid(model)
    assert any("looked at" in note or "shortened" in note for note in model.notes)


@pytest.mark.parametrize(
    "prompt",
    [
        "a mug; rm -rf /",
        "${oc.env:SECRET}",
        "--config x.yaml",
        "'\"\\",
        "a\nred\r\nmug",
        "<b>mug</b>",
        "../../etc/passwd",
    ],
)
def test_hostile_prompts_are_text_and_nothing_else(prompt):
    assert_is_a_closed_solid(quickly(prompt))


VOCABULARY = """
a the two 13 red dark glass orange gold tall long round small mug apples table house cat bowl vase snowman
hat roof on in under with without and of next to behind is made dragon , no ! 7 ☃ 杯
"""


@settings(max_examples=12, deadline=None)
@given(st.lists(st.sampled_from(VOCABULARY.split()), min_size=1, max_size=12).map(" ".join))
def test_any_sentence_of_known_words_gives_a_closed_model_or_a_clear_error(prompt):
    assert_closed_or_refused(prompt)


@settings(max_examples=12, deadline=None)
@given(st.text(max_size=60))
def test_any_text_gives_a_closed_model_or_a_clear_error(prompt):
    assert_closed_or_refused(prompt)


def assert_closed_or_refused(prompt: str) -> None:
    code = None
    try:
        model = sculpt(prompt, quality="fast")
    except Pipeline3dError as refusal:
        code = refusal.code
    else:
        assert_is_a_closed_solid(model)
    assert code in (None, "missing_prompt", "prompt_unreadable")
