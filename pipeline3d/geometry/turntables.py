"""A model turning once around: its pictures are decoded once, and all frames share the geometry."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import InvalidParameters
from pipeline3d.geometry.cameras import Camera
from pipeline3d.geometry.ground_shadows import cast_shadow
from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.rendering import (
    Renderer,
    check_size,
    choose_renderer,
    find_light,
    open_painter,
    take_picture,
)
from pipeline3d.geometry.scenes import prepare_scene
from pipeline3d.geometry.staging import PLAIN, Background, Light

Pixels = npt.NDArray[np.uint8]

THREADS = 2
"""At most: a worker shares its machine. numpy computes outside of the interpreter's lock most of the time."""
AHEAD = 2
"""Finished frames that wait for whoever takes them, besides those being drawn: bounds the memory."""
MOST_FRAMES = 360


@dataclass(frozen=True, slots=True, kw_only=True)
class TurntablePlan:
    """How many frames of what size, and how many of them a second."""

    frames: int
    size_px: int
    fps: int


PLANS: dict[str, TurntablePlan] = {
    "small": TurntablePlan(frames=24, size_px=384, fps=12),
    "standard": TurntablePlan(frames=36, size_px=512, fps=18),
    "smooth": TurntablePlan(frames=90, size_px=720, fps=30),
}


def render_turntable(
    model: Model | TexturedMesh,
    *,
    frames: int = PLANS["standard"].frames,
    size_px: int = PLANS["standard"].size_px,
    camera: Camera | None = None,
    light: Light | str = "studio",
    background: Background = PLAIN,
    renderer: Renderer = "software",
) -> Iterator[Pixels]:
    """Frames (size_px, size_px, 4) of one whole turn, the first as `camera` sees it.

    The model turns so that what was on the right comes to the front; light and camera stay where they are.
    Arguments and model are checked before the first frame is asked for. Frames are drawn as they are taken:
    whoever stops taking stops the drawing.
    """
    check_size(size_px)
    if isinstance(frames, bool) or not isinstance(frames, int) or not 1 <= frames <= MOST_FRAMES:
        raise InvalidParameters(
            f"frames is {frames!r}; a whole number from 1 to {MOST_FRAMES} is wanted.",
            hint="Choose 24 to 36 for a web page.",
        )
    first = camera or Camera(azimuth_deg=0)
    cameras = [replace(first, azimuth_deg=first.azimuth_deg + 360 * i / frames) for i in range(frames)]
    chosen = find_light(light)
    scene = prepare_scene(model)
    shadow = cast_shadow(scene)
    drawn_by = choose_renderer(renderer)

    def turn() -> Iterator[Pixels]:
        # A painter of the graphics library belongs to one thread, so that one draws all frames.
        with ThreadPoolExecutor(1 if drawn_by == "gl" else THREADS, "turntable") as pool:
            painter = pool.submit(open_painter, scene, drawn_by).result()

            def draw(view: Camera) -> Pixels:
                return take_picture(
                    painter, shadow, size_px=size_px, camera=view, light=chosen, background=background
                )

            waiting: deque[Future[Pixels]] = deque()
            try:
                for view in cameras:
                    waiting.append(pool.submit(draw, view))
                    if len(waiting) >= THREADS + AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for frame in waiting:
                    frame.cancel()
                pool.submit(painter.close).result()

    return turn()
