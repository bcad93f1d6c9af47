"""Colour and material words, and the way from sRGB to the linear colours that glTF wants at vertices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline3d.generation.procedural.parts import Colour

COLOURS: dict[str, Colour] = {
    "red": (196, 40, 36), "crimson": (165, 20, 50), "scarlet": (215, 40, 20), "maroon": (110, 25, 35),
    "orange": (235, 125, 35), "yellow": (240, 205, 60), "lime": (160, 210, 50), "green": (60, 145, 65),
    "olive": (120, 125, 50), "turquoise": (60, 190, 185), "teal": (25, 125, 125), "cyan": (60, 190, 220),
    "blue": (45, 90, 190), "navy": (25, 40, 95), "indigo": (70, 50, 150), "purple": (125, 65, 165),
    "violet": (135, 85, 195), "magenta": (200, 45, 145), "pink": (240, 150, 180), "brown": (115, 72, 44),
    "beige": (222, 205, 170), "tan": (205, 170, 125), "cream": (245, 235, 205), "white": (240, 240, 238),
    "black": (36, 36, 39), "grey": (135, 137, 142), "gray": (135, 137, 142),
}  # fmt: skip

MATERIALS: dict[str, Colour] = {
    "wood": (150, 104, 64), "wooden": (150, 104, 64), "oak": (170, 125, 80), "pine": (205, 165, 110),
    "walnut": (95, 64, 44), "bamboo": (205, 185, 115), "metal": (150, 154, 160), "metallic": (150, 154, 160),
    "steel": (165, 170, 176), "iron": (90, 92, 97), "aluminium": (185, 188, 192), "aluminum": (185, 188, 192),
    "chrome": (195, 200, 206), "gold": (212, 172, 55), "golden": (212, 172, 55), "silver": (192, 194, 198),
    "bronze": (160, 112, 55), "copper": (184, 105, 62), "brass": (190, 155, 75), "glass": (185, 215, 215),
    "crystal": (205, 225, 235), "ceramic": (232, 226, 214), "porcelain": (244, 243, 240),
    "clay": (180, 100, 70), "terracotta": (190, 95, 65), "stone": (145, 142, 135), "marble": (232, 230, 226),
    "concrete": (165, 163, 158), "brick": (160, 75, 55), "plastic": (205, 60, 50), "rubber": (52, 52, 56),
    "leather": (120, 74, 44), "paper": (240, 236, 226), "cardboard": (190, 150, 105), "ice": (205, 230, 242),
    "chocolate": (86, 52, 34), "straw": (222, 195, 110),
}  # fmt: skip
"""A material sets a colour, no more: nothing here shines, refracts or has a grain."""

SHADES: dict[str, float] = {"light": 0.45, "pale": 0.6, "pastel": 0.55, "dark": -0.45, "deep": -0.35}
"""How far to white (1) or to black (-1) these words move the colour that follows."""
NEUTRAL_SHADES = frozenset({"bright", "vivid"})
"""Words that mean the colour as it is here."""


def to_linear_rgba(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """sRGB (k,3) uint8 to opaque linear RGBA (k,4) uint8 (IEC 61966-2-1)."""
    srgb = colours.astype(np.float64) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    opaque = np.full((len(colours), 1), 255)
    return np.concatenate([np.round(linear * 255), opaque], axis=1).astype(np.uint8)
