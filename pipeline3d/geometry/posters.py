"""Still pictures for shops and people: a transparent poster, and several views of a model in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import InvalidParameters
from pipeline3d.geometry.cameras import Camera
from pipeline3d.geometry.ground_shadows import cast_shadow
from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.rendering import (
    Renderer,
    check_size,
    find_light,
    finish_picture,
    open_painter,
    render,
    take_picture,
)
from pipeline3d.geometry.scenes import prepare_scene
from pipeline3d.geometry.staging import PLAIN, TRANSPARENT, Background, Light

Pixels = npt.NDArray[np.uint8]
Angle = tuple[float, float]

SIX_VIEWS: tuple[Angle, ...] = ((0, 10), (90, 10), (28, 18), (180, 10), (270, 10), (0, 90))
"""Azimuth and elevation: front, right side, three quarters; back, left side, from above."""
MOST_VIEWS = 64
MOST_SIDE = 8192
"""Pixels of a sheet's longer side."""


def render_poster(
    model: Model | TexturedMesh,
    *,
    size_px: int = 512,
    camera: Camera | None = None,
    light: Light | str = "studio",
    renderer: Renderer = "software",
) -> Pixels:
    """(size_px, size_px, 4) with straight alpha: the model and its shadow, to be laid on any page."""
    return render(
        model, size_px=size_px, camera=camera, light=light, background=TRANSPARENT, renderer=renderer
    )


def contact_sheet(
    model: Model | TexturedMesh,
    *,
    angles_deg: Sequence[Angle] = SIX_VIEWS,
    columns: int = 3,
    size_px: int = 256,
    camera: Camera | None = None,
    light: Light | str = "studio",
    background: Background = PLAIN,
    renderer: Renderer = "software",
) -> Pixels:
    """(rows * size_px, columns * size_px, 4): one view for each (azimuth, elevation), all at the same scale.

    The rest of an unfinished row is background. `camera` gives distance and field of view.
    """
    check_size(size_px)
    check_layout(angles_deg, columns, size_px)
    view = camera or Camera()
    cameras = [replace(view, azimuth_deg=azimuth, elevation_deg=height) for azimuth, height in angles_deg]
    chosen = find_light(light)
    scene = prepare_scene(model)
    shadow = cast_shadow(scene)
    with closing(open_painter(scene, renderer)) as painter:
        views = [
            take_picture(painter, shadow, size_px=size_px, camera=camera, light=chosen, background=background)
            for camera in cameras
        ]
    rows = -(-len(views) // columns)
    views += [empty_view(size_px, background)] * (rows * columns - len(views))
    tiles = np.stack(views).reshape(rows, columns, size_px, size_px, 4)
    return np.ascontiguousarray(tiles.swapaxes(1, 2).reshape(rows * size_px, columns * size_px, 4))


def empty_view(size_px: int, background: Background) -> Pixels:
    """A view of nothing."""
    nothing = np.zeros((size_px, size_px, 4), np.float32)
    return finish_picture(nothing, np.zeros((size_px, size_px), np.float32), background)


def check_layout(angles_deg: Sequence[Angle], columns: int, size_px: int) -> None:
    """Refuse a sheet without views, or one that no program would open."""
    if not 1 <= len(angles_deg) <= MOST_VIEWS:
        raise InvalidParameters(
            f"{len(angles_deg)} views are wanted on one sheet; it holds 1 to {MOST_VIEWS}.",
            hint="Choose fewer views.",
        )
    if isinstance(columns, bool) or not isinstance(columns, int) or not 1 <= columns <= MOST_VIEWS:
        raise InvalidParameters(f"columns is {columns!r}.", hint=f"It may be 1 to {MOST_VIEWS}.")
    rows = -(-len(angles_deg) // columns)
    if size_px * max(rows, columns) > MOST_SIDE:
        raise InvalidParameters(
            f"A sheet of {columns} x {rows} views of {size_px} pixels is larger than {MOST_SIDE} pixels.",
            hint="Choose smaller or fewer views.",
        )
