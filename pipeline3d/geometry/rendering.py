"""A picture of a mesh by a software rasteriser: no GPU, no system library, the same bytes everywhere.

Perspective camera, depth buffer, bilinear texture, soft key and fill light in linear colour, a contact
shadow on the ground, and antialiasing by supersampling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry.mesh import TexturedMesh

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

SUPERSAMPLING = 2
"""Samples a pixel and side."""
FIELD_OF_VIEW_DEG = 28.0
FILL = 1.06
"""Distance of the camera as a multiple of what just shows the bounding sphere."""
REMAP_WIDTH = 1024
"""Width of the grid that samples are folded into; OpenCV takes up to 32767."""
LEAST_AREA = 1e-9
"""Square pixels, doubled; triangles seen edge-on have less and no inside."""
BLOCK = 3_000_000
"""Triangle-pixel pairs in one step: bounds the memory."""
EDGE = -1e-4
"""A pixel on an edge belongs to both triangles: no gap between them."""
KEY, FILL_LIGHT, AMBIENT = 0.62, 0.22, 0.36
"""Strengths; together a little over 1 where a surface faces the key light, as photos are lit already."""
KEY_DIRECTION, FILL_DIRECTION = (-0.45, 0.75, 0.9), (0.9, 0.15, 0.55)
SHADOW_DARKNESS, SHADOW_SIZE = 0.42, 1.12
BACKGROUND = (244, 244, 242)


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the camera is, its right, up and forward axes as rows, and its focal length in pixels."""

    eye: Floats
    axes: Floats
    focal_px: float
    side: int

    def project(self, points: Floats) -> tuple[Floats, Floats, Floats]:
        """Points (n,3) → x, y in pixels (y down) and depth."""
        seen = (points - self.eye) @ self.axes.T
        depth = np.maximum(seen[:, 2], 1e-6)
        x = self.side / 2 + seen[:, 0] / depth * self.focal_px
        y = self.side / 2 - seen[:, 1] / depth * self.focal_px
        return x.astype(np.float32), y.astype(np.float32), depth.astype(np.float32)


def render_thumbnail(
    mesh: TexturedMesh,
    *,
    size_px: int = 512,
    azimuth_deg: float = 28.0,
    elevation_deg: float = 14.0,
    background: tuple[int, int, int] = BACKGROUND,
) -> Pixels:
    """(size_px, size_px, 3) uint8 sRGB; azimuth 0 looks at the front (+Z), 90 at the right side."""
    import cv2

    side = size_px * SUPERSAMPLING
    vertices = mesh.vertices.astype(np.float32)
    camera = place_camera(vertices, side, azimuth_deg, elevation_deg)
    pixel, face, weights = rasterise(vertices, mesh.faces, camera)
    image = np.empty((side * side, 3), np.float32)
    image[:] = to_linear(np.array(background, np.float32) / 255)
    darken_ground(image, vertices, camera)
    corners = mesh.faces[face]
    normals = mesh.normals if mesh.normals is not None else smooth_normals(vertices, mesh.faces)
    shading = shade(interpolate(normals, corners, weights), camera)
    image[pixel] = surface_colour(mesh, corners, weights) * shading[:, None]
    smooth = cv2.resize(image.reshape(side, side, 3), (size_px, size_px), interpolation=cv2.INTER_AREA)
    return np.round(to_srgb(np.clip(smooth, 0, 1)) * 255).astype(np.uint8)


def place_camera(vertices: Floats, side: int, azimuth_deg: float, elevation_deg: float) -> Camera:
    """A camera that sees the whole bounding box."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    centre = (low + high) / 2
    radius = max(float(np.linalg.norm(vertices - centre, axis=1).max()), 1e-6)
    azimuth, elevation = np.radians(azimuth_deg), np.radians(elevation_deg)
    away = np.array(
        [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    )
    half = np.radians(FIELD_OF_VIEW_DEG / 2)
    eye = centre + away * (radius * FILL / np.sin(half))
    right = np.cross(-away, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(right, -away), -away])
    return Camera(eye.astype(np.float32), axes.astype(np.float32), float(side / 2 / np.tan(half)), side)


@dataclass(frozen=True, slots=True, eq=False)
class Triangles:
    """The triangles (m) that face the camera, the farthest first.

    Their faces' numbers, the upper left pixel, width and count of pixels of their boxes, and weights of
    their corners divided by depth: `planes` (3,3,m) holds for each corner the change per pixel across, per
    pixel down, and the value at the centre of the box's first pixel. Counted from each box's own corner,
    since large coordinates would cost the digits that keep neighbours without a gap.
    """

    face: npt.NDArray[np.int64]
    left: npt.NDArray[np.int32]
    top: npt.NDArray[np.int32]
    width: npt.NDArray[np.int32]
    covered: npt.NDArray[np.int32]
    planes: Floats


def rasterise(
    vertices: Floats, faces: npt.NDArray[np.int32], camera: Camera
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Visible pixels (k,), the face seen in each (k,), and its perspective-correct weights (k,3).

    Every triangle is tested against the pixels of its bounding box by edge functions (Pineda 1988), all
    triangles of a block at once; only who is nearest is kept, weights are worked out for the winners.
    """
    side = camera.side
    triangles = set_up_triangles(vertices, faces, camera)
    closest = np.zeros(side * side, np.float32)
    seen = np.full(side * side, -1, np.int32)
    ends = np.cumsum(triangles.covered, dtype=np.int64)
    start = 0
    while start < len(ends):
        stop = max(int(np.searchsorted(ends, (ends[start - 1] if start else 0) + BLOCK)), start + 1)
        draw_block(triangles, start, stop, side, closest, seen)
        start = stop
    pixels = np.flatnonzero(seen >= 0)
    winners = seen[pixels]
    row, column = np.divmod(pixels, side)
    across = (column - triangles.left[winners]).astype(np.float32)
    down = (row - triangles.top[winners]).astype(np.float32)
    weights = np.stack([a[winners] * across + b[winners] * down + c[winners] for a, b, c in triangles.planes])
    weights /= weights.sum(axis=0)
    return pixels, triangles.face[winners], np.asarray(weights.T, np.float32)


def set_up_triangles(vertices: Floats, faces: npt.NDArray[np.int32], camera: Camera) -> Triangles:
    """What drawing needs to know of each triangle that faces the camera."""
    x, y, z = (values[faces].T.astype(np.float64) for values in camera.project(vertices))
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    face = np.flatnonzero(area < -LEAST_AREA)  # y runs down: what faces us is clockwise on the screen
    face = face[np.argsort(-z[:, face].sum(axis=0), kind="stable")]
    x, y, z, area = x[:, face], y[:, face], z[:, face], area[face]
    left, right = _pixel_range(x, camera.side)
    top, bottom = _pixel_range(y, camera.side)
    after, before = [1, 2, 0], [2, 0, 1]
    per_depth = 1 / (z * area)
    change_across = (y[after] - y[before]) * per_depth
    change_down = (x[before] - x[after]) * per_depth
    px, py = left + 0.5, top + 0.5
    crosses = (x[after] - px) * (y[before] - py) - (x[before] - px) * (y[after] - py)
    width = np.maximum(right - left + 1, 0)
    return Triangles(
        face=face,
        left=left,
        top=top,
        width=width,
        covered=width * np.maximum(bottom - top + 1, 0),
        planes=np.stack([change_across, change_down, crosses * per_depth], axis=1).astype(np.float32),
    )


def draw_block(
    triangles: Triangles, start: int, stop: int, side: int, closest: Floats, seen: npt.NDArray[np.int32]
) -> None:
    """Draw some triangles into `closest` (1 / depth) and `seen` (number of the triangle), both by pixel."""
    count = triangles.covered[start:stop]
    t = np.repeat(np.arange(start, stop, dtype=np.int32), count)
    offset = np.arange(len(t), dtype=np.int32)
    offset -= np.repeat(np.cumsum(count, dtype=np.int32) - count, count)
    row = offset // triangles.width[t]
    column = offset - row * triangles.width[t]
    across, down = column.astype(np.float32), row.astype(np.float32)
    first, second, third = (a[t] * across + b[t] * down + c[t] for a, b, c in triangles.planes)
    closeness = first + second + third
    edge = EDGE * closeness
    hit = np.flatnonzero((first >= edge) & (second >= edge) & (third >= edge))
    t, closeness = t[hit], closeness[hit]
    pixel = (row[hit] + triangles.top[t]) * np.int32(side) + column[hit] + triangles.left[t]
    # Of several values for one pixel an assignment keeps the last. That is the closest nearly everywhere,
    # as far triangles come first; the rest is put right by doing it again.
    while len(pixel):
        wins = np.flatnonzero(closeness > closest[pixel])
        pixel, closeness, t = pixel[wins], closeness[wins], t[wins]
        closest[pixel] = closeness
        seen[pixel] = t


def _pixel_range(
    places: npt.NDArray[np.float64], side: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """First and last pixel (m,) whose centres may lie within the extent of three corners (3,m)."""
    low = np.clip(np.ceil(places.min(axis=0) - 0.5), 0, side - 1).astype(np.int32)
    high = np.clip(np.floor(places.max(axis=0) - 0.5), -1, side - 1).astype(np.int32)
    return low, high


def interpolate(values: npt.NDArray[np.floating], corners: npt.NDArray[np.int32], weights: Floats) -> Floats:
    """Per-vertex values (n,d) at surface points → (k,d)."""
    first, second, third = (values[corners[:, i]] for i in range(3))
    a, b, c = weights[:, :1], weights[:, 1:2], weights[:, 2:]
    return np.asarray(first * a + second * b + third * c, np.float32)


def surface_colour(mesh: TexturedMesh, corners: npt.NDArray[np.int32], weights: Floats) -> Floats:
    """Linear base colour (k,3) from the texture, the vertex colours, or a neutral grey."""
    if mesh.texture is not None and mesh.uvs is not None:
        return sample_texture(mesh.texture, interpolate(mesh.uvs, corners, weights))
    if mesh.colours is not None:
        return interpolate(mesh.colours[:, :3].astype(np.float32) / 255, corners, weights)
    return np.full((len(corners), 3), 0.6, np.float32)


def sample_texture(texture: bytes, uvs: Floats) -> Floats:
    """Bilinear samples (k,3), linear colour, of an encoded picture at (k,2)."""
    import cv2

    bgr = cv2.imdecode(np.frombuffer(texture, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise BrokenModelOutput("The texture of the mesh is no picture.", code="broken_texture")
    levels = to_linear(np.arange(256, dtype=np.float32) / 255)
    pixels = cv2.LUT(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), levels)
    height, width = pixels.shape[:2]
    rows = -(-len(uvs) // REMAP_WIDTH)  # OpenCV samples grids, so the list is folded into one
    places = np.zeros((2, rows * REMAP_WIDTH), np.float32)
    places[:, : len(uvs)] = uvs.T * np.array([[width], [height]], np.float32) - np.float32(0.5)
    x, y = places.reshape(2, rows, REMAP_WIDTH)
    sampled = cv2.remap(pixels, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled, np.float32).reshape(-1, 3)[: len(uvs)]


def shade(normals: Floats, camera: Camera) -> Floats:
    """Light at surface points (k,): wrapped key light, fill light and a brighter sky than ground."""
    unit = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    seen = unit @ camera.axes.T
    seen[:, 2] *= -1

    def lambert(direction: tuple[float, float, float], wrap: float) -> Floats:
        towards = np.array(direction, np.float32) / np.linalg.norm(direction)
        return np.asarray(np.clip((seen @ towards + wrap) / (1 + wrap), 0, 1), np.float32)

    sky = AMBIENT * (0.85 + 0.15 * unit[:, 1])
    return np.asarray(
        sky + KEY * lambert(KEY_DIRECTION, 0.25) + FILL_LIGHT * lambert(FILL_DIRECTION, 0.4), np.float32
    )


def darken_ground(image: Floats, vertices: Floats, camera: Camera) -> None:
    """A soft blob under the mesh, where it touches the ground, seen in perspective.

    It has no detail, so it is worked out for every fourth pixel and enlarged.
    """
    import cv2

    low, high = vertices.min(axis=0), vertices.max(axis=0)
    foot = vertices[vertices[:, 1] < low[1] + 0.12 * (high[1] - low[1])]
    centre = np.array([foot[:, 0].mean(), low[1], foot[:, 2].mean()], np.float32)
    reach = np.maximum(np.abs(foot[:, [0, 2]] - centre[[0, 2]]).max(axis=0), 0.06 * (high - low).max())
    steps = (np.arange(0, camera.side, 4) + 2 - camera.side / 2) / camera.focal_px
    across, down = np.meshgrid(steps, steps)
    rays = np.stack([across, -down, np.ones_like(across)], axis=-1) @ camera.axes
    falling = np.minimum(rays[..., 1], -1e-4)
    along = (low[1] - camera.eye[1]) / falling
    ground = camera.eye[[0, 2]] + rays[..., [0, 2]] * along[..., None]
    distance = (((ground - centre[[0, 2]]) / (reach * SHADOW_SIZE)) ** 2).sum(axis=-1)
    shadow = np.where(rays[..., 1] < -1e-4, SHADOW_DARKNESS * np.exp(-1.6 * distance), 0)
    large = cv2.resize(shadow.astype(np.float32), (camera.side, camera.side), interpolation=cv2.INTER_LINEAR)
    image *= (1 - large).reshape(-1, 1)


def smooth_normals(vertices: Floats, faces: npt.NDArray[np.int32]) -> Floats:
    """(n,3) area-weighted vertex normals, for meshes that come without."""
    corners = vertices[faces]
    crosses = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sums = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(sums, faces[:, i], crosses)
    return sums


def to_linear(srgb: npt.NDArray[np.floating]) -> Floats:
    """sRGB 0 to 1 → linear light (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_srgb(linear: npt.NDArray[np.floating]) -> Floats:
    """Linear light 0 to 1 → sRGB."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055).astype(
        np.float32
    )
