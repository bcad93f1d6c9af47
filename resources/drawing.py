"""Who draws pictures of models: the software renderer, or the graphics library of the host where it works.

What comes of the graphics library may fail on a strange model although its trial went well: then the software
renderer draws, which is there everywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, TypeVar

import dagster as dg

from pipeline3d.errors import Pipeline3dError

Drawn = TypeVar("Drawn")
Chosen = Literal["software", "auto"]

logger = logging.getLogger("pipeline3d.runs")


class Drawing(dg.ConfigurableResource["Drawing"]):
    """`software` gives the same pictures on every host; `auto` takes OpenGL where EGL is there."""

    renderer: str = "software"

    def draw(self, make: Callable[[Chosen], Drawn]) -> Drawn:
        """What `make` draws with the chosen renderer; again with the software one if that one breaks down."""
        if self.renderer != "auto":
            return make("software")
        try:
            return make("auto")
        except Pipeline3dError:
            raise  # the model's own fault
        except Exception as error:  # whatever a driver makes of it
            logger.warning("OpenGL broke down (%s); the software renderer draws.", error)
            return make("software")
