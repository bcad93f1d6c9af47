"""What is around a model in its picture: lights, an environment to mirror, and the background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import InvalidParameters
from pipeline3d.geometry.cameras import require_number
from pipeline3d.geometry.colour_space import to_linear

Colour = tuple[int, int, int]
Direction = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """A soft key and a soft fill light that stand beside the camera, and a sky above a ground.

    Directions point from the model to the light, in the camera's axes (right, up, towards the viewer).
    Strengths together are a little over 1 where a surface faces the key light: photographs, which most
    textures are, hold light already. A `wrap` of 0 is a small lamp, larger ones are larger lamps.
    `shadow` is the darkness of the ground where it is touched, `mirrored` the strength of reflections.
    """

    key: float = 0.62
    key_direction: Direction = (-0.45, 0.75, 0.9)
    key_wrap: float = 0.25
    fill: float = 0.22
    fill_direction: Direction = (0.9, 0.15, 0.55)
    fill_wrap: float = 0.4
    ambient: float = 0.36
    shadow: float = 0.62
    mirrored: float = 1.0

    def __post_init__(self) -> None:
        """Refuse strengths and directions without a meaning."""
        for name, most in (("key", 10), ("fill", 10), ("ambient", 10), ("mirrored", 10)):
            require_number(name, getattr(self, name), 0, most)
        for name in ("key_wrap", "fill_wrap", "shadow"):
            require_number(name, getattr(self, name), 0, 1)
        for name in ("key_direction", "fill_direction"):
            direction = getattr(self, name)
            if not isinstance(direction, tuple) or len(direction) != 3:
                raise InvalidParameters(
                    f"{name} is {direction!r}; three numbers are wanted.", hint="Give right, up, forward."
                )
            for value in direction:
                require_number(name, value, -1e6, 1e6)
            if not np.linalg.norm(direction) > 1e-6:
                raise InvalidParameters(f"{name} has no length.", hint="Give a direction other than 0, 0, 0.")


LIGHTS: dict[str, Light] = {
    "studio": Light(),
    "soft": Light(key=0.4, key_wrap=0.6, fill=0.3, fill_wrap=0.7, ambient=0.5, shadow=0.45),
    "dramatic": Light(
        key=1.0, key_direction=(-0.9, 0.6, 0.45), key_wrap=0.1, fill=0.08, ambient=0.16, shadow=0.75
    ),
    "flat": Light(key=0.0, fill=0.0, ambient=1.08, shadow=0.0, mirrored=0.4),
}
"""`flat` shows base colours nearly as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """One sRGB colour, two from top to bottom, or none: a transparent picture."""

    upper: Colour | None = (244, 244, 242)
    lower: Colour | None = None

    def __post_init__(self) -> None:
        """Refuse what is no colour."""
        for name in ("upper", "lower"):
            colour = getattr(self, name)
            if colour is None:
                continue
            if not isinstance(colour, tuple) or len(colour) != 3 or not all(map(_is_level, colour)):
                raise InvalidParameters(
                    f"The background's {name} colour is {colour!r}; three whole numbers"
                    " from 0 to 255 are wanted.",
                    hint="Give red, green and blue, or no colour at all for a transparent picture.",
                )
        if self.upper is None and self.lower is not None:
            raise InvalidParameters(
                "A background with a lower and no upper colour is wanted.",
                hint="Give both colours, only the upper one, or none.",
            )

    @property
    def transparent(self) -> bool:
        """Whether the picture is to have no background."""
        return self.upper is None

    def linear(self, side: int) -> npt.NDArray[np.float32]:
        """Linear light of each row (side, 1, 3); the blend is even to the eye, so it is made in sRGB."""
        upper = np.array(self.upper or (0, 0, 0), np.float32)
        lower = upper if self.lower is None else np.array(self.lower, np.float32)
        share = np.linspace(0, 1, side, dtype=np.float32)[:, None, None]
        return to_linear((upper + (lower - upper) * share) / 255)


def _is_level(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


PLAIN = Background()
TRANSPARENT = Background(upper=None)
