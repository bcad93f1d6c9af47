"""Words that are neither things nor colours: numbers, sizes, relations and small words."""

from __future__ import annotations

from typing import Literal

MOST_COPIES = 12
SOME = 3
"""How many "apples" are, when nobody says."""

NUMBERS: dict[str, int] = {
    "one": 1, "single": 1, "two": 2, "pair": 2, "couple": 2, "both": 2, "three": 3, "several": SOME,
    "some": SOME, "few": SOME, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "dozen": 12, "many": 7,
}  # fmt: skip

RELATIVE_SIZES: dict[str, float] = {
    "tiny": 0.45, "mini": 0.5, "miniature": 0.45, "little": 0.65, "small": 0.7, "big": 1.35, "large": 1.4,
    "huge": 1.8, "giant": 2.0, "enormous": 2.0, "gigantic": 2.2,
}  # fmt: skip
"""They count against the other things in the scene: a model alone always has the same size."""

STRETCHES: dict[str, tuple[float, float, float]] = {
    "tall": (1, 1.4, 1), "high": (1, 1.4, 1), "short": (1, 0.7, 1), "low": (1, 0.7, 1),
    "squat": (1.1, 0.7, 1.1),
    "wide": (1.4, 1, 1), "broad": (1.4, 1, 1), "narrow": (0.7, 1, 1), "thin": (0.72, 1, 0.72),
    "slim": (0.75, 1, 0.75), "slender": (0.72, 1, 0.72), "skinny": (0.68, 1, 0.68), "thick": (1.3, 1, 1.3),
    "fat": (1.35, 1, 1.35), "chubby": (1.3, 1, 1.3), "flat": (1, 0.5, 1), "deep": (1, 1, 1.4),
}  # fmt: skip
"""Factors of width, height and depth."""
LENGTHS: dict[str, float] = {"long": 1.5, "elongated": 1.5}
"""Factors of what is long about the thing."""

Meaning = Literal["on", "in", "under", "behind", "front", "beside", "left", "right", "with", "without", "of"]

RELATIONS: dict[tuple[str, ...], Meaning] = {
    ("on",): "on", ("on", "top", "of"): "on", ("atop",): "on", ("upon",): "on", ("onto",): "on",
    ("sitting", "on"): "on", ("standing", "on"): "on", ("lying", "on"): "on", ("in",): "in",
    ("inside",): "in",
    ("inside", "of"): "in", ("into",): "in", ("under",): "under", ("below",): "under", ("beneath",): "under",
    ("underneath",): "under", ("behind",): "behind", ("in", "front", "of"): "front", ("before",): "front",
    ("next", "to"): "beside", ("beside",): "beside", ("near",): "beside", ("by",): "beside",
    ("alongside",): "beside", ("and",): "beside", ("plus",): "beside", ("left", "of"): "left",
    ("to", "left", "of"): "left", ("on", "left", "of"): "left", ("right", "of"): "right",
    ("to", "right", "of"): "right", ("on", "right", "of"): "right", ("with",): "with", ("has",): "with",
    ("without",): "without", ("no",): "without", ("of",): "of",
}  # fmt: skip
"""Articles are gone when these are looked up: "to the left of" is three words here."""

ATTRIBUTIVE = frozenset(
    {"in", "of", "from", "is", "are", "colour", "color", "coloured", "colored", "painted"}
)
"""After these a word that names a thing or a colour names the colour, unless an article stands between."""

ARTICLES = frozenset({"a", "an", "the", "this", "that", "its", "his", "her", "my", "your", "their"})
SMALL_WORDS = ARTICLES | {
    "is", "are", "it", "which", "there", "made", "from", "out", "very", "really", "colour", "color",
    "coloured", "colored", "painted", "please", "model", "3d", "make", "create", "me", "i", "want",
    "as", "at", "to", "for",
}  # fmt: skip
"""Words that are neither understood nor missed."""

CONTAINERS = frozenset(
    {
        "bowl",
        "plate",
        "mug",
        "cup",
        "glass",
        "vase",
        "pot",
        "frying pan",
        "bed",
        "armchair",
        "sofa",
        "sailboat",
    }
)
"""What things can be "in": they are let down into it from above. Nothing else has a room inside here."""

CARRIERS = frozenset({"table", "round table", "desk", "plate", "bowl", "bench", "stool", "bed", "frying pan"})
"""What a thing "with" another thing carries on it, instead of standing beside it."""
