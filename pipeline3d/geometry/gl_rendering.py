"""The same pictures by OpenGL through EGL, without a window: some times quicker, where it works.

Whether it works is tried once, in a process of its own: a driver that crashes or hangs takes that one
along and not the worker. What is drawn is handed back as samples, of which `rendering` makes the picture:
both ways have the same shadow, background and colours.
"""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import PermanentFailure
from pipeline3d.geometry.cameras import Viewpoint
from pipeline3d.geometry.gl_shaders import FRAGMENT, VERTEX
from pipeline3d.geometry.picture_maps import PictureMap
from pipeline3d.geometry.scenes import Scene, Surface
from pipeline3d.geometry.staging import Light

Floats = npt.NDArray[np.float32]

PROBE_S = 20
"""The first start of a driver compiles its shaders; a healthy one takes half a second."""
REASON_CHARACTERS = 300
MAPS = ("base", "metallic_roughness", "normal", "occlusion", "emissive")
ALPHA_MODES = {"OPAQUE": 0, "MASK": 1, "BLEND": 2}
WRAPS = {"clamp": 0, "repeat": 1, "mirror": 2}
WORKS = "gl rendering works"


@functools.cache
def why_unavailable() -> str | None:
    """None where rendering works here; else the reason, in one line."""
    if importlib.util.find_spec("moderngl") is None:
        return "moderngl is not installed."
    try:
        tried = subprocess.run(
            [sys.executable, "-m", "pipeline3d.geometry.gl_rendering"],
            capture_output=True,
            text=True,
            timeout=PROBE_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return f"The graphics driver did not answer within {PROBE_S} s."
    except OSError as error:
        return f"The trial could not be started: {error}."
    if tried.returncode == 0 and WORKS in tried.stdout:
        return None
    if tried.returncode < 0:
        return f"The graphics driver crashed with signal {-tried.returncode}."
    lines = (tried.stderr.strip() or tried.stdout.strip() or "it ended without a word").splitlines()
    return lines[-1][:REASON_CHARACTERS]


def require_gl() -> None:
    """Raise `PermanentFailure` (`gl_unavailable`) where the trial failed."""
    reason = why_unavailable()
    if reason is not None:
        raise PermanentFailure(
            f"OpenGL cannot be used here. {reason}",
            code="gl_unavailable",
            hint='Choose renderer "auto" or "software", or install moderngl, libegl1 and libgl1-mesa-dri.',
        )


class GlPainter:
    """A scene in the memory of the graphics driver. Belongs to the thread that made it."""

    def __init__(self, scene: Scene) -> None:
        """Untried: whoever is not sure of the driver calls `require_gl` before."""
        import moderngl

        self._scene = scene
        self._context: Any = moderngl.create_context(  # type: ignore[call-overload,unused-ignore]
            standalone=True,
            backend="egl",  # type: ignore[arg-type,unused-ignore]
            require=330,
        )
        self._program: Any = self._context.program(vertex_shader=VERTEX, fragment_shader=FRAGMENT)
        count = len(scene.vertices)
        uvs = np.zeros((count, 2), np.float32) if scene.uvs is None else scene.uvs
        colours = np.ones((count, 4), np.float32) if scene.colours is None else scene.colours
        rows = np.concatenate([scene.vertices, scene.normals, uvs, colours], axis=1).astype("f4")
        self._buffer = self._context.buffer(np.ascontiguousarray(rows).tobytes())
        self._textures: dict[int, Any] = {}
        self._frame: Any = None
        self._context.enable(moderngl.DEPTH_TEST)
        self._context.front_face = "cw"  # the picture is drawn upside down

    def close(self) -> None:
        """Give the driver's memory back."""
        self._context.gc_mode = "context_gc"
        self._context.gc()
        self._context.release()

    def draw(self, viewpoint: Viewpoint, light: Light) -> Floats:
        """Linear light (side, side, 4), multiplied by coverage."""
        import moderngl

        side = viewpoint.side
        if self._frame is None or self._frame.size != (side, side):
            colour = self._context.texture((side, side), 4, dtype="f2")
            self._frame = self._context.framebuffer([colour], self._context.depth_renderbuffer((side, side)))
        self._frame.use()
        self._frame.depth_mask = True
        self._frame.clear(0, 0, 0, 0, depth=1)
        self._set_view(viewpoint, light)
        self._context.disable(moderngl.BLEND)
        blended = []
        for number, surface in enumerate(self._scene.surfaces):
            faces = self._scene.faces[self._scene.surface_of == number]
            if surface.material.alpha_mode == "BLEND":
                blended.append(self._farthest_first(surface, faces, viewpoint))
            else:
                self._draw(surface, faces)
        self._context.enable(moderngl.BLEND)
        self._context.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        self._frame.depth_mask = False
        for _, surface, faces in sorted(blended, key=lambda entry: -entry[0]):
            self._draw(surface, faces)
        data = self._frame.read(components=4, dtype="f2")
        return np.frombuffer(data, np.float16).reshape(side, side, 4).astype(np.float32)

    def _set_view(self, viewpoint: Viewpoint, light: Light) -> None:
        distance = float(np.linalg.norm(viewpoint.eye))
        self._set("eye", tuple(map(float, viewpoint.eye)))
        self._set("axes", tuple(map(float, viewpoint.axes.T.ravel())))  # column by column
        self._set("zoom", viewpoint.focal_px / (viewpoint.side / 2))
        self._set("range", (max(distance - 1.02, 0.005), distance + 1.02))
        for name in ("key", "fill", "ambient", "mirrored", "key_wrap", "fill_wrap"):
            self._set(name, float(getattr(light, name)))
        for name in ("key_direction", "fill_direction"):
            direction = np.array(getattr(light, name), np.float64)
            self._set(name, tuple(direction / np.linalg.norm(direction)))

    def _farthest_first(
        self, surface: Surface, faces: npt.NDArray[np.int32], viewpoint: Viewpoint
    ) -> tuple[float, Surface, npt.NDArray[np.int32]]:
        depth = (self._scene.vertices @ viewpoint.axes[2])[faces].mean(axis=1)
        return float(depth.mean()), surface, faces[np.argsort(-depth, kind="stable")]

    def _draw(self, surface: Surface, faces: npt.NDArray[np.int32]) -> None:
        import moderngl

        material = surface.material
        if material.double_sided:
            self._context.disable(moderngl.CULL_FACE)
        else:
            self._context.enable(moderngl.CULL_FACE)
        self._set("base_factor", surface.base_colour)
        self._set("emissive_factor", material.emissive_colour)
        self._set("metallic_factor", material.metallic)
        self._set("roughness_factor", material.roughness)
        self._set("normal_scale", material.normal_scale)
        self._set("occlusion_strength", material.occlusion_strength)
        self._set("alpha_cutoff", material.alpha_cutoff)
        self._set("alpha_mode", ALPHA_MODES[material.alpha_mode])
        self._set("wrap", WRAPS[material.wrap])
        self._set("matt", surface.matt)
        for unit, name in enumerate(MAPS):
            picture: PictureMap | None = getattr(surface, name)
            self._set(f"has_{name}", picture is not None)
            self._set(f"{name}_map", unit)
            if picture is not None:
                self._upload(picture).use(unit)
        index = self._context.buffer(np.ascontiguousarray(faces, np.int32).tobytes())
        content = [(self._buffer, "3f 3f 2f 4f", "position", "normal", "uv", "colour")]
        vertices = self._context.vertex_array(self._program, content, index)
        vertices.render(moderngl.TRIANGLES)
        vertices.release()
        index.release()

    def _upload(self, picture: PictureMap) -> Any:
        """The picture as a texture with smaller versions, made once."""
        import moderngl

        if id(picture) not in self._textures:
            pixels = np.ascontiguousarray(picture.levels[0])
            height, width, channels = pixels.shape
            texture = self._context.texture(
                (width, height), channels, pixels.tobytes(), alignment=2, dtype="nu2"
            )
            texture.build_mipmaps()
            texture.filter = moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR
            texture.repeat_x = texture.repeat_y = picture.wrap == "repeat"
            self._textures[id(picture)] = texture
        return self._textures[id(picture)]

    def _set(self, name: str, value: Any) -> None:
        """Uniforms that the compiler has optimised away are left out."""
        if name in self._program:
            self._program[name].value = value


def _try() -> None:
    """Draw a ball-like solid and compare it with the software's; runs in a process of its own."""
    from pipeline3d.geometry import rendering
    from pipeline3d.geometry.cameras import Camera, place_camera
    from pipeline3d.geometry.mesh import TexturedMesh
    from pipeline3d.geometry.scenes import prepare_scene

    corners = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float32)
    faces = [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
    scene = prepare_scene(TexturedMesh(vertices=corners, faces=np.array(faces, np.int32)))
    viewpoint, light = place_camera(Camera(), 64), Light()
    drawn = GlPainter(scene).draw(viewpoint, light)
    difference = float(np.abs(drawn - rendering.draw_samples(scene, viewpoint, light)).mean())
    if not difference < 0.02:  # outlines may differ by a sample
        raise SystemExit(f"The graphics driver draws something else (mean difference {difference:.3f}).")
    print(WORKS)


if __name__ == "__main__":
    _try()
