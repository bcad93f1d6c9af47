"""The templates by theme, and the words for them."""

from __future__ import annotations

from pipeline3d.generation.procedural.parts import Template
from pipeline3d.generation.procedural.templates import (
    animals,
    buildings,
    food,
    furniture,
    nature,
    quadrupeds,
    tableware,
    toys,
    vehicles,
)

TEMPLATES: dict[str, Template] = {
    template.name: template
    for module in (tableware, furniture, buildings, nature, food, vehicles, quadrupeds, animals, toys)
    for template in module.TEMPLATES
}
"""All templates by name."""

IRREGULAR = {"leaves": "leaf", "loaves": "loaf", "mice": "mouse", "hooves": "hoof", "knives": "knife"}


def singular_forms(word: str) -> list[str]:
    """What an English word may be the plural of, itself first."""
    forms = [word]
    if word in IRREGULAR:
        forms.append(IRREGULAR[word])
    if len(word) > 3 and word.endswith("ies"):
        forms.append(word[:-3] + "y")
    if len(word) > 3 and word.endswith("es"):
        forms.append(word[:-2])
    if len(word) > 2 and word.endswith("s") and not word.endswith("ss"):
        forms.append(word[:-1])
    return forms


__all__ = ["TEMPLATES", "singular_forms"]
