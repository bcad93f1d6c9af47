"""The grammar: which words are understood, which are not, and what they mean."""

from __future__ import annotations

from collections import Counter

import pytest

from pipeline3d.generation.procedural.colours import COLOURS, MATERIALS
from pipeline3d.generation.procedural.grammar import NOUNS, Reading, read
from pipeline3d.generation.procedural.templates import TEMPLATES, singular_forms
from pipeline3d.generation.procedural.words import clean, split_words


def reading_of(prompt: str) -> Reading:
    return read(split_words(clean(prompt)))


def test_no_word_names_two_templates():
    words = Counter(word for template in TEMPLATES.values() for word in template.words)
    assert [word for word, times in words.items() if times > 1] == []
    assert len(NOUNS) == len(words)


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_can_be_coloured_and_every_word_leads_to_it(name):
    template = TEMPLATES[name]
    parts = template.build()
    assert any(part.colour == "main" for part in parts)
    names = {part.name for part in parts}
    assert set(template.part_words.values()) <= names
    for word in template.words:
        reading = reading_of(f"a {word}")
        assert [subject.template.name for subject in reading.subjects] == [name]
        assert reading.unmatched == []


# prompt, templates, words that are not understood
TABLE = [
    ("a red mug", ["mug"], []),
    ("Mugs!", ["mug"], []),
    ("2 cups", ["cup"], []),
    ("THE OLD CHURCH", ["church"], ["old"]),
    ("two apples on a wooden table", ["apple", "table"], []),
    ("a cat next to a house", ["cat", "house"], []),
    ("an orange", ["orange"], []),
    ("an orange cat", ["cat"], []),  # a colour, since a noun follows
    ("a mug in orange", ["mug"], []),  # a colour, since no article stands before it
    ("an apple and an orange", ["apple", "orange"], []),
    ("a glass vase", ["vase"], []),
    ("a glass on a table", ["glass", "table"], []),
    ("a marble", ["ball"], []),
    ("a marble temple", ["temple"], []),
    ("a coffee mug", ["mug"], []),
    ("a table lamp", ["lamp"], []),
    ("a cat house", ["house"], ["cat"]),  # the head of a compound is its last noun
    ("knives and loaves", ["bread"], ["knives"]),
    ("wooden boxes", ["crate"], []),
    ("an astronaut riding a blue horse", ["horse"], ["astronaut", "riding"]),
    ("a brown fox jumps over the lazy dog", ["dog"], ["brown", "fox", "jumps", "over", "lazy"]),
    ("a cat on a red skateboard", ["cat"], ["on", "red", "skateboard"]),
    ("a red dragon", [], ["dragon"]),
    ("a round table", ["round table"], []),
    ("a round red table", ["round table"], []),
    ("a round house", ["house"], ["round"]),
    ("a small mug", ["mug"], ["small"]),  # alone, it has no size
    ("a small mug on a table", ["mug", "table"], []),
    ("a mug without a handle", ["mug"], []),
    ("a mug without a lid", ["mug"], ["without", "lid"]),
    ("a snowman with a hat", ["snowman"], []),
    ("a snowman with a red hat and a blue scarf", ["snowman"], []),
    ("a dog with a red hat", ["dog", "hat"], []),
    ("a table with a cake", ["table", "cake"], []),
    ("a bowl of apples", ["bowl", "apple"], []),
    ("a house of apples", ["house", "apple"], ["of"]),
    ("a cat in a car", ["cat", "car"], ["in"]),
    ("a red wooden chair", ["chair"], ["wooden"]),  # a colour beats a material
    ("a red, white and blue mug", ["mug"], ["white", "blue"]),  # a mug has one colour
    ("table 5", ["table"], ["5"]),
    ("no cats", [], ["no", "cats"]),
    ("a light blue car", ["car"], []),
    ("a light car", ["car"], ["light"]),
    ("ice-cream", ["ice cream"], []),
    ("the cat's house", ["house"], ["cat"]),
    ("make me a 3d model of a car, please", ["car"], []),
    ("cat dog. house", ["dog", "house"], ["cat"]),
    ("cat, dog, cow, pig, duck", ["cat", "dog", "cow", "pig"], ["duck"]),
    ("杯 mug", ["mug"], ["杯"]),
]


@pytest.mark.parametrize(("prompt", "templates", "unmatched"), TABLE)
def test_prompts_are_read_as_people_mean_them(prompt, templates, unmatched):
    reading = reading_of(prompt)
    assert [subject.template.name for subject in reading.subjects] == templates
    assert reading.unmatched == unmatched


@pytest.mark.parametrize(
    ("prompt", "main"),
    [
        ("a red mug", COLOURS["red"]),
        ("a mug in red", COLOURS["red"]),
        ("the mug is red", COLOURS["red"]),
        ("a mug, red", COLOURS["red"]),
        ("a golden mug", MATERIALS["gold"]),
        ("a mug made of gold", MATERIALS["gold"]),
        ("a mug", TEMPLATES["mug"].main),
        ("a mug on a red table", TEMPLATES["mug"].main),
    ],
)
def test_colours_go_to_the_thing_that_they_are_said_of(prompt, main):
    assert reading_of(prompt).subjects[0].palette()["main"] == main


def test_a_second_colour_is_the_accent():
    palette = reading_of("a green and white bottle").subjects[0].palette()
    assert palette == {"main": COLOURS["green"], "accent": COLOURS["white"]}


def test_dark_and_light_shade_the_colour_that_follows():
    dark, plain, light = (
        sum(reading_of(f"a {word} blue car").subjects[0].palette()["main"])
        for word in ("dark", "bright", "light")
    )
    assert dark < plain < light
    assert reading_of("a dark blue car").matched == ["dark", "blue", "car"]


def test_a_material_says_that_it_is_a_colour_only():
    assert any("colour only" in note for note in reading_of("a glass vase").notes)


@pytest.mark.parametrize(
    ("prompt", "count"),
    [("a cat", 1), ("cats", 3), ("seven cats", 7), ("40 cats", 12), ("a pair of cats", 2)],
)
def test_numbers(prompt, count):
    assert reading_of(prompt).subjects[0].count == count


@pytest.mark.parametrize(
    ("prompt", "relations"),
    [
        ("a cat on a table", [("on", 1), (None, -1)]),
        ("a cat and a dog on a table", [("on", 2), ("on", 2), (None, -1)]),
        ("a cat on a table under a tree", [("on", 1), ("under", 2), (None, -1)]),
        ("a table with a cat", [(None, -1), ("on", 0)]),
        ("a cat and a dog", [(None, -1), (None, -1)]),
        ("flower in a bowl behind a house", [("on", 1), ("behind", 2), (None, -1)]),
    ],
)
def test_relations_name_what_a_thing_stands_on(prompt, relations):
    assert [(s.relation, s.anchor) for s in reading_of(prompt).subjects] == relations


@pytest.mark.parametrize(
    ("word", "singular"),
    [
        ("apples", "apple"),
        ("cherries", "cherry"),
        ("boxes", "box"),
        ("loaves", "loaf"),
        ("glass", "glass"),
        ("bus", "bus"),
    ],
)
def test_plurals(word, singular):
    assert singular in singular_forms(word)


def test_only_so_many_words_are_looked_at():
    assert len(split_words("word " * 1000)) == 64


def test_control_characters_are_stripped():
    assert clean("a\x00 red\x1b\u202e \n mug\ufeff") == "a red mug"
