"""Lettering: readable, closed, refused where the font has no letters."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline3d.errors import UnusableInput
from pipeline3d.generation.procedural import sculpt
from pipeline3d.generation.procedural.lettering import LINE_LENGTH, MOST_LINES, fit_text, has_glyph


def test_unknown_words_become_letters_in_front_of_a_plate():
    model = sculpt("hello world", quality="fast")
    assert (model.method, model.template) == ("lettering", None)
    assert model.unmatched == ["hello", "world"]
    front = model.vertices[:, 2] > model.vertices[:, 2].max() - 5e-3
    back = model.vertices[:, 2] < model.vertices[:, 2].min() + 5e-3
    assert model.colours[front, :3].mean() + 60 < model.colours[back, :3].mean()
    assert np.ptp(model.vertices[front, 0]) < np.ptp(model.vertices[back, 0])


def test_letters_stand_upright_and_read_from_left_to_right():
    """An L has its stroke on the left and its foot at the bottom, seen from the front."""
    model = sculpt("L", quality="fast")
    letter = model.vertices[model.colours[:, 0] < 100, :2]
    (left, bottom), (right, top) = letter.min(axis=0), letter.max(axis=0)
    upper = letter[letter[:, 1] > bottom + 0.5 * (top - bottom)]
    assert len(upper) > 10
    assert upper[:, 0].max() < left + 0.5 * (right - left)


def test_a_colour_word_colours_the_letters():
    model = sculpt("a green dragon", quality="fast")
    assert (model.matched, model.unmatched) == (["green"], ["dragon"])
    front = model.vertices[:, 2] > model.vertices[:, 2].max() - 5e-3
    red, green, blue = model.colours[front, :3].mean(axis=0)
    assert green > 2 * max(red, blue)


def test_long_text_is_shortened_with_a_note():
    lines, notes = fit_text("wonderful " * 100)
    assert len(lines) == MOST_LINES
    assert max(map(len, lines)) <= LINE_LENGTH
    assert lines[-1].endswith("…")
    assert any("shortened" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "written", "noted"),
    [
        ("plain", "plain", None),
        ("café", "cafe", "Accents"),
        ("Straße", "Strasse", "Accents"),
        ("nice ☃ day", "nice day", "Symbols"),
        ("“quoted” – dash", "“quoted” - dash", "Accents"),
        ("50° ©", "50° ©", None),
    ],
)
def test_the_font_writes_what_it_has_and_the_notes_say_the_rest(text, written, noted):
    lines, notes = fit_text(text)
    assert " ".join(lines) == written
    assert [note.split()[0] for note in notes] == ([noted] if noted else [])


@pytest.mark.parametrize("text", ["日本語", "привет", "שלום", "नमस्ते", "hello мир", "☃☃", "🙂"])
def test_other_scripts_are_refused_instead_of_drawn_as_boxes(text):
    with pytest.raises(UnusableInput) as refusal:
        sculpt(text)
    assert refusal.value.code == "prompt_unreadable"
    assert refusal.value.hint


@pytest.mark.parametrize(
    ("character", "there"), [("A", True), ("…", True), (" ", True), ("é", False), ("中", False)]
)
def test_the_font_knows_its_glyphs(character, there):
    assert has_glyph(character) is there
