"""What a template is made of: solids with colours and names, and what the prompt may change about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from pipeline3d.generation.procedural.solids import Solid

Colour = tuple[int, int, int]
"""sRGB, 0 to 255 each: how people write colours."""

Role = Literal["main", "accent"]

ACCENT_SHADE = 0.18


def shade(colour: Colour, amount: float) -> Colour:
    """Towards white for a positive amount, towards black for a negative one; both end at 1."""
    goal = 255 if amount > 0 else 0
    red, green, blue = (round(value + (goal - value) * abs(amount)) for value in colour)
    return red, green, blue


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A solid with its colour: a fixed one, or the role that the prompt's colours are given to.

    `name` is what the prompt may call it ("a house with a red roof"). A `paint` part adds no body: it
    colours what of the others lies inside it.
    """

    solid: Solid
    colour: Colour | Role = "main"
    name: str = ""
    paint: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Template:
    """One thing that can be modelled.

    `words` are the nouns for it, singular, the first one its name; a noun may have several words. `size_m`
    is the longest side of a common one, in metres. `long_axis` is what "long" stretches. `exact` shapes stay
    as they are under every seed: a stretched ball is no ball. `round_form` names the template that "round"
    means. `part_words` are other words for its parts.
    """

    words: tuple[str, ...]
    build: Callable[[], list[Part]]
    main: Colour
    accent: Colour | None = (235, 235, 232)
    size_m: float = 0.3
    long_axis: Literal["x", "y", "z"] = "x"
    exact: bool = False
    round_form: str | None = None
    plural: str | None = None
    part_words: dict[str, str] = field(default_factory=dict)

    def accent_beside(self, main: Colour) -> Colour:
        """The accent; where the template leaves it open, a lighter shade of the main colour."""
        return self.accent or shade(main, ACCENT_SHADE)

    @property
    def name(self) -> str:
        """What the facts call it."""
        return self.words[0]
