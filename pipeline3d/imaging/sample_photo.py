"""A picture to try the project with when nobody has a photo at hand: a toy duck on a paper sweep.

It is a rendering, not a photograph, and says so wherever it is shown: a signed distance field (smooth
unions of ellipsoids, after Inigo Quilez, "Distance Functions") followed by sphere tracing (Hart 1996),
soft light, a shadow on the ground and the grain of a camera. Deterministic for the same size and seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline3d.imaging.picture import Bytes2D, Floats

YELLOW, ORANGE, WHITE, BLACK = (0.98, 0.73, 0.05), (0.93, 0.33, 0.03), (0.93, 0.93, 0.9), (0.02, 0.02, 0.03)
EYE = np.array([0.0, 1.75, 7.2], np.float32)
TARGET = np.array([0.0, 0.92, 0.0], np.float32)
FIELD_OF_VIEW_DEG = 25.0
KEY_LIGHT = np.array([-0.55, 0.75, 0.6], np.float32)
NEAR, FAR = 5.4, 9.0
"""Distances from the camera between which the duck lies."""
BOUNDING_RADIUS = 1.55
"""Of the ball about the duck's middle that holds all of it; other rays are not traced."""
TRACE_STEPS = 40
"""Enough for rays that graze a wing; with fewer the backdrop shows through as a thin line."""
CAUTION = np.float32(0.9)
"""Share of the estimated distance that a step takes: the estimate may be a little too long."""
SURFACE = 0.004
"""Distance at which a ray has arrived; half a pixel at 1024 pixels."""
TRACED_SHARE = 0.75
"""Rays a pixel and side: no lens is sharper, enlarging smooths the outline, and it takes half the time."""
GRAIN = 0.008
"""Standard deviation of the grain, of 1."""
TURN_DEG = 14.0
"""How far the duck is turned towards the camera from its profile."""


@dataclass(frozen=True, slots=True)
class Blob:
    """An ellipsoid that melts into its neighbours over `melt`; `mirrored` in the duck's plane z = 0."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    colour: tuple[float, float, float]
    melt: float
    mirrored: bool = False


DUCK = (
    Blob((0.0, 0.62, 0.0), (0.95, 0.6, 0.66), YELLOW, 0.05),
    Blob((0.9, 0.98, 0.0), (0.34, 0.2, 0.26), YELLOW, 0.32),
    Blob((-0.52, 1.12, 0.0), (0.3, 0.4, 0.3), YELLOW, 0.2),
    Blob((-0.56, 1.56, 0.0), (0.46, 0.44, 0.44), YELLOW, 0.12),
    Blob((0.18, 0.78, 0.56), (0.5, 0.27, 0.2), YELLOW, 0.07, mirrored=True),
    Blob((-1.05, 1.5, 0.0), (0.27, 0.075, 0.22), ORANGE, 0.03),
    Blob((-1.0, 1.41, 0.0), (0.2, 0.06, 0.17), ORANGE, 0.03),
    Blob((-0.62, 1.69, 0.385), (0.13, 0.145, 0.06), WHITE, 0.01, mirrored=True),
    Blob((-0.645, 1.70, 0.44), (0.075, 0.095, 0.025), BLACK, 0.01, mirrored=True),
)


def draw_sample_photo(*, size: int = 1024, seed: int = 0) -> Bytes2D:
    """A toy duck, RGB uint8 (size, size, 3); `seed` moves the grain."""
    import cv2

    traced = max(1, round(size * TRACED_SHARE))
    rays = _rays(traced)
    image = _sweep(rays)
    hit, points = _trace(rays)
    image[hit] = _shade(points, rays[hit])
    lens = cv2.resize(image.reshape(traced, traced, 3), (size, size), interpolation=cv2.INTER_CUBIC)
    light = np.clip(np.asarray(lens, np.float32), 1e-6, 1)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * cv2.pow(light, 1 / 2.4) - 0.055)
    noise = np.random.default_rng(seed).standard_normal((size, size, 1), dtype=np.float32)
    return np.asarray(np.clip(encoded + GRAIN * noise, 0, 1) * 255 + 0.5, np.uint8)


def _rays(size: int) -> Floats:
    """Unit directions (size*size, 3) through the pixels' centres."""
    forward = (TARGET - EYE) / np.linalg.norm(TARGET - EYE)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1) * np.tan(
        np.radians(FIELD_OF_VIEW_DEG / 2)
    )
    x, y = np.meshgrid(axis, -axis)
    rays = forward + x[..., None] * right + y[..., None] * up
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    return np.asarray(rays.reshape(-1, 3), np.float32)


def _sweep(rays: Floats) -> Floats:
    """Linear colour (n,3) of a paper sweep: a floor that bends into a wall, lit from the upper left."""
    along = -EYE[1] / np.minimum(rays[:, 1], -0.02)
    x, z = EYE[0] + rays[:, 0] * along, EYE[2] + rays[:, 2] * along
    is_floor = 1 / (1 + np.exp(np.clip(-(z + 4.5) * 1.2, -30, 30)))
    light = 0.50 + 0.10 * rays[:, 1] * 4 - 0.35 * rays[:, 0] + 0.07 * is_floor
    cast = np.exp(-(((x - 0.35) / 1.25) ** 2) - ((z + 0.15) / 0.75) ** 2)
    contact = np.exp(-((x / 0.85) ** 2) - ((z - 0.02) / 0.5) ** 2)
    light = light * (1 - is_floor * np.minimum(0.38 * cast + 0.42 * contact, 0.9))
    return np.asarray(light[:, None] * np.array([0.60, 0.78, 0.92], np.float32), np.float32)


def _trace(rays: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Which rays (k,) meet the duck, and where (3,k), in the duck's own coordinates."""
    eye, turned = _turn(EYE[None])[0][:, None], _turn(rays).T
    middle = _turn(np.array([[0.0, 0.95, 0.0]], np.float32))[0] - eye[:, 0]
    misses = middle @ middle - (middle @ turned) ** 2 > BOUNDING_RADIUS**2
    alive = np.flatnonzero(~misses)
    going = np.ascontiguousarray(turned[:, alive])
    travelled = np.full(len(alive), NEAR, np.float32)
    found, distances = [], []
    for _ in range(TRACE_STEPS):
        step = _distance(eye + going * travelled)
        arrived = step < SURFACE
        found.append(alive[arrived])
        distances.append(travelled[arrived] + step[arrived])
        stays = ~arrived & (travelled < FAR)
        alive, going, travelled = alive[stays], going[:, stays], (travelled + step)[stays]
    hit = np.concatenate(found)
    return hit, np.asarray(eye + turned[:, hit] * np.concatenate(distances), np.float32)


def _turn(vectors: Floats) -> Floats:
    """World to duck (n,3): a turn about the vertical axis."""
    angle = np.radians(TURN_DEG)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    matrix = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], np.float32)
    return np.asarray(vectors @ matrix.T, np.float32)


def _blob_distance(points: Floats, blob: Blob) -> Floats:
    """Distance (n,) of points (3,n) to an ellipsoid: exact on its surface, about right near it."""
    x, y, z = points
    depth = np.abs(z) if blob.mirrored else z
    scaled = [
        (axis - np.float32(centre)) * np.float32(1 / radius)
        for axis, centre, radius in zip((x, y, depth), blob.centre, blob.radii, strict=True)
    ]
    squared = scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2
    slopes = [(part * np.float32(1 / radius)) ** 2 for part, radius in zip(scaled, blob.radii, strict=True)]
    steepness = slopes[0] + slopes[1] + slopes[2]
    length = np.sqrt(squared)
    return np.asarray((squared - length) / np.sqrt(np.maximum(steepness, 1e-8)), np.float32)


def _distance(points: Floats) -> Floats:
    """Distance (n,) of points (3,n) to the duck: the smooth minimum over its blobs."""
    total = _blob_distance(points, DUCK[0])
    for blob in DUCK[1:]:
        other = _blob_distance(points, blob)
        melt = np.float32(blob.melt)
        overlap = np.maximum(melt - np.abs(total - other), 0)
        total = np.minimum(total, other) - overlap * overlap / (4 * melt)
    return np.asarray(total * CAUTION, np.float32)


def _colour(points: Floats) -> Floats:
    """Linear paint (n,3) at points (3,n): that of the nearest blob, with hard edges between paints."""
    nearest = np.argmin([_blob_distance(points, blob) for blob in DUCK], axis=0)
    return np.asarray(np.array([blob.colour for blob in DUCK], np.float32)[nearest], np.float32)


def _shade(points: Floats, rays: Floats) -> Floats:
    """Linear light (k,3) that leaves the duck's points (3,k) towards the camera, against rays (k,3)."""
    corners = np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]], np.float32)
    slopes = [corner[:, None] * _distance(points + corner[:, None] * SURFACE) for corner in corners]
    normal = np.sum(slopes, axis=0).T
    normal = np.asarray(normal / np.linalg.norm(normal, axis=1, keepdims=True), np.float32)
    light, view = KEY_LIGHT / np.linalg.norm(KEY_LIGHT), -_turn(rays)
    light = _turn(light[None])[0]
    half = (light + view) / np.linalg.norm(light + view, axis=1, keepdims=True)
    wrapped = np.clip((normal @ light + 0.25) / 1.25, 0, 1)
    sky = 0.5 + 0.5 * normal[:, 1]
    near_ground = np.clip(points[1] / 0.5, 0, 1)
    soft = (0.16 + 0.30 * sky) * (0.45 + 0.55 * near_ground)
    gloss = 0.55 * np.clip(np.einsum("ij,ij->i", normal, half), 0, 1) ** 90
    facing = np.clip(np.einsum("ij,ij->i", normal, view), 0, 1)
    rim = 0.10 * (1 - facing) ** 3 * sky
    return np.asarray(_colour(points) * (soft + 0.78 * wrapped)[:, None] + (gloss + rim)[:, None], np.float32)
