"""Pictures of models without a GPU and without a system library: the same bytes everywhere.

Perspective camera, depth buffer, all of glTF's material maps, soft key and fill light in linear colour, a
contact shadow on the ground, and antialiasing by supersampling. Light is added and averaged as light and
becomes sRGB once, at the very end.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import InvalidParameters
from pipeline3d.geometry.cameras import Camera, Viewpoint, place_camera
from pipeline3d.geometry.colour_space import to_linear, to_srgb
from pipeline3d.geometry.ground_shadows import GroundShadow, cast_shadow
from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.rasterising import Triangles, rasterise, set_up_triangles
from pipeline3d.geometry.scenes import Scene, prepare_scene, smooth_normals
from pipeline3d.geometry.shading import shade
from pipeline3d.geometry.staging import LIGHTS, PLAIN, Background, Light

__all__ = [
    "BACKGROUND",
    "Camera",
    "Painter",
    "Renderer",
    "choose_renderer",
    "draw_samples",
    "finish_picture",
    "open_painter",
    "render",
    "render_thumbnail",
    "smooth_normals",
    "take_picture",
    "to_linear",
]

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Renderer = Literal["software", "gl", "auto"]
RENDERERS: tuple[Renderer, ...] = get_args(Renderer)

SUPERSAMPLING = 2
"""Samples a pixel and side."""
BACKGROUND = (244, 244, 242)
SIZES = 16, 2048
"""Pixels of a picture's side."""
MOST_LAYERS = 8
"""Of surfaces that are seen through; what is behind them is not drawn."""
NOTHING_LEFT = 0.004
"""Less light than this coming through cannot be seen."""


def render(
    model: Model | TexturedMesh,
    *,
    size_px: int = 512,
    camera: Camera | None = None,
    light: Light | str = "studio",
    background: Background = PLAIN,
    renderer: Renderer = "software",
) -> Pixels:
    """(size_px, size_px, 4) uint8 sRGB, straight alpha: 255 everywhere unless the background is transparent.

    `light` is a `Light` or the name of one of `staging.LIGHTS`. `renderer` "auto" takes the graphics library
    where it works and this module where it does not; "gl" refuses instead (`gl_unavailable`). Raises
    `InvalidParameters` for arguments out of range and `BrokenModelOutput` for a model without a surface.
    """
    check_size(size_px)
    chosen, drawn_by = find_light(light), choose_renderer(renderer)
    scene = prepare_scene(model)
    with closing(open_painter(scene, drawn_by)) as painter:
        return take_picture(
            painter,
            cast_shadow(scene),
            size_px=size_px,
            camera=camera or Camera(),
            light=chosen,
            background=background,
        )


class Painter(Protocol):
    """Draws one scene from anywhere."""

    def draw(self, viewpoint: Viewpoint, light: Light) -> Floats:
        """As `draw_samples`."""

    def close(self) -> None:
        """Let go of what it holds."""


class SoftwarePainter:
    """This module's own; may be shared by threads."""

    def __init__(self, scene: Scene) -> None:
        """Holds the scene only."""
        self._scene = scene

    def draw(self, viewpoint: Viewpoint, light: Light) -> Floats:
        """As `draw_samples`."""
        return draw_samples(self._scene, viewpoint, light)

    def close(self) -> None:
        """Nothing to let go of."""


def choose_renderer(renderer: Renderer) -> Literal["software", "gl"]:
    """Who really draws: "auto" is the graphics library where it works. Tries that once in a process' life."""
    if renderer not in RENDERERS:
        raise InvalidParameters(f"renderer is {renderer!r}.", hint=f"It may be: {', '.join(RENDERERS)}.")
    if renderer == "software":
        return "software"
    from pipeline3d.geometry import gl_rendering

    if renderer == "auto":
        return "software" if gl_rendering.why_unavailable() else "gl"
    gl_rendering.require_gl()
    return "gl"


def open_painter(scene: Scene, renderer: Renderer) -> Painter:
    """Who draws the scene. A painter of the graphics library belongs to the thread that opened it."""
    if choose_renderer(renderer) == "software":
        return SoftwarePainter(scene)
    from pipeline3d.geometry import gl_rendering

    return gl_rendering.GlPainter(scene)


def take_picture(
    painter: Painter,
    shadow: GroundShadow,
    *,
    size_px: int,
    camera: Camera,
    light: Light,
    background: Background,
) -> Pixels:
    """`render` for a scene that is looked at more than once."""
    viewpoint = place_camera(camera, size_px * SUPERSAMPLING)
    samples = painter.draw(viewpoint, light)
    darkness = np.float32(light.shadow) * shadow.seen_from(viewpoint, size_px)
    return finish_picture(samples, darkness, background)


def render_thumbnail(
    mesh: Model | TexturedMesh,
    *,
    size_px: int = 512,
    azimuth_deg: float = 28.0,
    elevation_deg: float = 14.0,
    background: tuple[int, int, int] = BACKGROUND,
) -> Pixels:
    """(size_px, size_px, 3) uint8 sRGB; azimuth 0 looks at the front (+Z), 90 at the right side."""
    camera = Camera(azimuth_deg=azimuth_deg, elevation_deg=elevation_deg)
    picture = render(mesh, size_px=size_px, camera=camera, background=Background(upper=background))
    return picture[..., :3]


def draw_samples(scene: Scene, viewpoint: Viewpoint, light: Light) -> Floats:
    """Linear light (side, side, 4) of the model alone, multiplied by how much it covers (the fourth)."""
    side = viewpoint.side
    image = np.zeros((side * side, 4), np.float32)
    layered = scene.layered_faces
    solid = np.flatnonzero(~layered) if layered is not None else None
    nearest: Floats | None = None
    if solid is None or len(solid):
        seen = rasterise(triangles_of(scene, viewpoint, solid), side)
        image[seen.pixel] = shade(scene, seen, viewpoint, light)
        if solid is not None:
            nearest = np.zeros(side * side, np.float32)
            nearest[seen.pixel] = seen.closeness
    if layered is not None:
        add_layers(image, scene, viewpoint, light, np.flatnonzero(layered), nearest)
    return image.reshape(side, side, 4)


def add_layers(
    image: Floats,
    scene: Scene,
    viewpoint: Viewpoint,
    light: Light,
    faces: npt.NDArray[np.int64],
    solid: Floats | None,
) -> None:
    """Put surfaces that can be seen through in front of `image` (side², 4), the nearest layer first."""
    triangles = triangles_of(scene, viewpoint, faces)
    passes = np.ones(len(image), np.float32)
    front = np.zeros_like(image)
    beyond = np.full(len(image), np.inf, np.float32)
    for _ in range(MOST_LAYERS):
        seen = rasterise(triangles, viewpoint.side, beyond=beyond, before=solid)
        beyond[:] = 0  # nothing is farther than what was not there
        beyond[seen.pixel] = seen.closeness
        seen = seen.take(np.flatnonzero(passes[seen.pixel] > NOTHING_LEFT))
        if not len(seen):
            break
        colour = shade(scene, seen, viewpoint, light)
        alpha = colour[:, 3]
        colour[:, :3] *= alpha[:, None]
        front[seen.pixel] += colour * passes[seen.pixel, None]
        passes[seen.pixel] *= 1 - alpha
    image *= passes[:, None]
    image += front


def triangles_of(scene: Scene, viewpoint: Viewpoint, faces: npt.NDArray[np.int64] | None) -> Triangles:
    """Set up some or all faces, numbered as in the scene."""
    if faces is None:
        return set_up_triangles(scene.vertices, scene.faces, viewpoint, scene.two_sided)
    two_sided = None if scene.two_sided is None else scene.two_sided[faces]
    triangles = set_up_triangles(scene.vertices, scene.faces[faces], viewpoint, two_sided)
    return replace(triangles, face=faces[triangles.face])


def finish_picture(samples: Floats, darkness: Floats, background: Background) -> Pixels:
    """From samples (side,side,4) to pixels (size,size,4): averaged, put before its ground, made sRGB."""
    import cv2

    size = len(darkness)
    smooth = cv2.resize(samples, (size, size), interpolation=cv2.INTER_AREA)
    light, covered = smooth[..., :3], smooth[..., 3:]
    through = 1 - covered
    if background.transparent:
        alpha = covered + through * darkness[..., None]
        light = light / np.maximum(alpha, 1e-6)
    else:
        alpha = np.ones_like(covered)
        light = light + through * (1 - darkness[..., None]) * background.linear(size)
    picture = np.concatenate([to_srgb(np.clip(light, 0, 1)), np.clip(alpha, 0, 1)], axis=2)
    return np.asarray(np.round(picture * 255), np.uint8)


def find_light(light: Light | str) -> Light:
    """A light by its name, or itself."""
    if isinstance(light, Light):
        return light
    if light not in LIGHTS:
        raise InvalidParameters(f"light is {light!r}.", hint=f"It may be one of: {', '.join(LIGHTS)}.")
    return LIGHTS[light]


def check_size(size_px: object) -> None:
    """Refuse a side that no picture can have."""
    least, most = SIZES
    if isinstance(size_px, bool) or not isinstance(size_px, int) or not least <= size_px <= most:
        raise InvalidParameters(
            f"size_px is {size_px!r}; a whole number from {least} to {most} is wanted.",
            hint="Choose size_px within these bounds.",
        )
