"""The light that surfaces send to the camera: glTF's metallic-roughness materials under soft lamps.

Diffuse light wraps around the object as that of large lamps does. Reflections are one small lobe for each
lamp (the normalised approximation of Karis and Karjalainen, SIGGRAPH 2015) and a studio of a bright sky, a
darker ground and a soft box, weighted as Karis 2014 ("Physically based shading on mobile"). A surface as
matt as a photograph's own mirrors nothing: its highlights are in the picture already.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pipeline3d.geometry.cameras import Viewpoint
from pipeline3d.geometry.colour_space import compress_highlights
from pipeline3d.geometry.mesh import ROUGHNESS
from pipeline3d.geometry.rasterising import Fragments
from pipeline3d.geometry.scenes import Scene, Surface
from pipeline3d.geometry.staging import Light

Floats = npt.NDArray[np.float32]

CHUNK = 16_384
"""Samples at a time: what is worked on stays in the cache."""
LEAST_ROUGHNESS = 0.09
LAMP = 0.06
"""A lamp's own size widens its highlight."""
DIELECTRIC = 0.04
GLOSS_RANGE = 0.35
"""A dielectric mirrors less and less over this range of roughness, up to ROUGHNESS."""
SKY, GROUND, SOFT_BOX, SOFT_BOX_AT = 0.78, 0.2, 0.55, 0.45
"""Brightness of the mirrored studio, and the height (as the sine of the elevation) of its soft box."""


def shade(scene: Scene, fragments: Fragments, viewpoint: Viewpoint, light: Light) -> Floats:
    """Linear RGBA (k,4), not multiplied by alpha, 0 to 1, of what is seen."""
    result = np.empty((len(fragments), 4), np.float32)
    for surface, own in _by_surface(scene, fragments):
        for start in range(0, len(own), CHUNK):
            chosen = own[start : start + CHUNK]
            result[chosen] = shade_chunk(scene, surface, fragments.take(chosen), viewpoint, light)
    return result


def _by_surface(scene: Scene, fragments: Fragments) -> Iterator[tuple[Surface, npt.NDArray[np.int64]]]:
    """Each surface that is seen, with the numbers of its samples; models may have thousands of surfaces."""
    if len(scene.surfaces) == 1:
        yield scene.surfaces[0], np.arange(len(fragments))
        return
    number = scene.surface_of[fragments.face]
    order = np.argsort(number, kind="stable")
    ends = np.cumsum(np.bincount(number, minlength=len(scene.surfaces)))
    for surface, start, end in zip(scene.surfaces, [0, *ends[:-1]], ends, strict=True):
        if end > start:
            yield surface, order[start:end]


def shade_chunk(
    scene: Scene, surface: Surface, seen: Fragments, viewpoint: Viewpoint, light: Light
) -> Floats:
    """The same, for samples of one surface."""
    corners = scene.faces[seen.face]
    uvs = footprint = None
    if scene.uvs is not None and scene.uv_area is not None and any(surface.pictures):
        uvs = interpolate(scene.uvs, corners, seen.weights)
        footprint = np.asarray(scene.uv_area[seen.face] / np.maximum(seen.area, 1e-3), np.float32)
    base = base_colour(scene, surface, corners, seen.weights, uvs, footprint)
    normals = unit(interpolate(scene.normals, corners, seen.weights))
    if seen.behind.any():
        normals[seen.behind] *= -1
    material = surface.material
    if uvs is not None and footprint is not None and surface.normal is not None:
        normals = bend(normals, surface, seen, surface.normal.sample(uvs, footprint))
    local = normals @ viewpoint.axes.T
    local[:, 2] *= -1  # right, up, towards the viewer
    sky = np.float32(light.ambient) * (np.float32(0.85) + np.float32(0.15) * normals[:, 1])
    open_share: Floats | None = None
    if uvs is not None and footprint is not None and surface.occlusion is not None:
        open_share = 1 + np.float32(material.occlusion_strength) * (
            surface.occlusion.sample(uvs, footprint)[:, 0] - 1
        )
        sky *= open_share
    diffuse = (
        sky
        + np.float32(light.key) * lambert(local, light.key_direction, light.key_wrap)
        + np.float32(light.fill) * lambert(local, light.fill_direction, light.fill_wrap)
    )
    colour: Floats
    if surface.matt:
        colour = base[:, :3] * diffuse[:, None]
    else:
        metal, roughness = metallic_roughness(surface, uvs, footprint, len(seen))
        colour = base[:, :3] * (diffuse * (1 - metal))[:, None]
        mirrored = reflections(local, seen, viewpoint, light, base[:, :3], metal, roughness, open_share)
        colour += np.float32(light.mirrored) * mirrored
    if any(material.emissive_colour):
        glow = np.array(material.emissive_colour, np.float32)
        if uvs is not None and footprint is not None and surface.emissive is not None:
            colour += glow * surface.emissive.sample(uvs, footprint)
        else:
            colour += glow
    return np.concatenate([compress_highlights(colour), coverage(surface, base)], axis=1)


def base_colour(
    scene: Scene,
    surface: Surface,
    corners: npt.NDArray[np.int32],
    weights: Floats,
    uvs: Floats | None,
    footprint: Floats | None,
) -> Floats:
    """Linear RGBA (k,4): the product of factor, picture and vertex colours."""
    base = np.empty((len(corners), 4), np.float32)
    base[:] = surface.base_colour
    if uvs is not None and footprint is not None and surface.base is not None:
        sampled = surface.base.sample(uvs, footprint)
        base[:, : sampled.shape[1]] *= sampled
    if scene.colours is not None:
        base *= interpolate(scene.colours, corners, weights)
    return base


def coverage(surface: Surface, base: Floats) -> Floats:
    """Alpha (k,1) as the material wants it."""
    if surface.material.alpha_mode == "OPAQUE":
        return np.ones((len(base), 1), np.float32)
    if surface.material.alpha_mode == "MASK":
        return (base[:, 3:] >= surface.material.alpha_cutoff).astype(np.float32)
    return np.clip(base[:, 3:], 0, 1)


def metallic_roughness(
    surface: Surface, uvs: Floats | None, footprint: Floats | None, count: int
) -> tuple[Floats, Floats]:
    """Both (k,), 0 to 1."""
    material = surface.material
    metallic = np.full(count, material.metallic, np.float32)
    roughness = np.full(count, material.roughness, np.float32)
    if uvs is not None and footprint is not None and surface.metallic_roughness is not None:
        sampled = surface.metallic_roughness.sample(uvs, footprint)
        metallic *= sampled[:, 2]
        roughness *= sampled[:, 1]
    return np.clip(metallic, 0, 1), np.clip(roughness, LEAST_ROUGHNESS, 1)


def bend(normals: Floats, surface: Surface, seen: Fragments, sampled: Floats) -> Floats:
    """Normals (k,3) bent by a normal map's (k,3), in the frames of the faces."""
    if surface.tangents is None:
        return normals
    bent = sampled * 2 - 1
    bent[:, :2] *= surface.material.normal_scale
    frames = surface.tangents[seen.face - surface.first_face]
    along_u, against_v = frames[:, 0], frames[:, 1]
    along_u = unit(along_u - normals * dot(normals, along_u)[:, None])
    against_v = unit(against_v - normals * dot(normals, against_v)[:, None])
    return unit(along_u * bent[:, :1] + against_v * bent[:, 1:2] + normals * np.maximum(bent[:, 2:], 0.05))


def reflections(
    local: Floats,
    seen: Fragments,
    viewpoint: Viewpoint,
    light: Light,
    base: Floats,
    metallic: Floats,
    roughness: Floats,
    open_share: Floats | None,
) -> Floats:
    """Mirrored light (k,3) at normals (k,3), both in the camera's axes."""
    y, x = np.divmod(seen.pixel, viewpoint.side)
    to_eye = -viewpoint.rays(x.astype(np.float32) + 0.5, y.astype(np.float32) + 0.5)
    to_eye[:, 2] *= -1
    to_eye = unit(to_eye)
    facing = np.clip(dot(local, to_eye), 1e-3, 1)
    gloss = np.clip((ROUGHNESS - roughness) / GLOSS_RANGE, 0, 1) * (1 - metallic)
    at_normal = (DIELECTRIC * gloss)[:, None] + base * metallic[:, None]
    scale, bias = environment_weights(roughness, facing)
    environment = mirrored_studio(local, to_eye, facing, roughness, viewpoint)
    if open_share is not None:
        environment *= open_share
    whole = np.maximum(gloss, metallic)
    mirrored = (at_normal * scale[:, None] + (bias * whole)[:, None]) * environment[:, None]
    for direction, strength in ((light.key_direction, light.key), (light.fill_direction, light.fill)):
        towards = np.array(direction, np.float32) / np.float32(np.linalg.norm(direction))
        mirrored += at_normal * (strength * lobe(local, to_eye, towards, roughness))[:, None]
    return np.asarray(mirrored, np.float32)


def lobe(normals: Floats, to_eye: Floats, towards: Floats, roughness: Floats) -> Floats:
    """A lamp's highlight (k,), already multiplied by the cosine."""
    half = unit(to_eye + towards)
    width = np.minimum(roughness**2 + np.float32(LAMP), 1)
    cosine = np.clip(dot(normals, half), 0, 1)
    spread = cosine**2 * (width**2 - 1) + 1.00001
    grazing = np.maximum((half @ towards) ** 2, 0.1)
    highlight = width**2 / (spread**2 * grazing * (4 * roughness + 2))
    return np.asarray(highlight * np.clip(normals @ towards, 0, 1), np.float32)


def mirrored_studio(
    normals: Floats, to_eye: Floats, facing: Floats, roughness: Floats, viewpoint: Viewpoint
) -> Floats:
    """Brightness (k,) of the studio in the mirrored direction; the rougher, the more blurred."""
    mirrored = normals * (2 * facing)[:, None] - to_eye
    up = viewpoint.axes[:, 1] * np.array([1, 1, -1], np.float32)
    height = mirrored @ up
    blur = 0.1 + 0.9 * roughness
    share = np.clip(0.5 + height / (2 * blur), 0, 1)
    share = share * share * (3 - 2 * share)
    box = np.exp(-(((height - SOFT_BOX_AT) / (0.16 + 0.6 * roughness)) ** 2)) / (1 + 1.5 * roughness)
    return np.asarray(GROUND + (SKY - GROUND) * share + SOFT_BOX * box, np.float32)


def environment_weights(roughness: Floats, facing: Floats) -> tuple[Floats, Floats]:
    """Scale and bias (k,) of what a surface mirrors of its surroundings (Karis 2014)."""
    rx, ry = 1 - roughness, 0.0425 - 0.0275 * roughness
    rz, rw = 1.04 - 0.572 * roughness, 0.022 * roughness - 0.04
    edge = np.minimum(rx * rx, np.exp2(-9.28 * facing)) * rx + ry
    return np.asarray(rz - 1.04 * edge, np.float32), np.asarray(rw + 1.04 * edge, np.float32)


def lambert(normals: Floats, direction: tuple[float, float, float], wrap: float) -> Floats:
    """Light (k,) of a lamp that reaches around the object by `wrap`."""
    towards = np.array(direction, np.float32) / np.float32(np.linalg.norm(direction))
    return np.asarray(np.clip((normals @ towards + wrap) / (1 + wrap), 0, 1), np.float32)


def interpolate(values: Floats, corners: npt.NDArray[np.int32], weights: Floats) -> Floats:
    """Per-vertex values (n,d) at surface points → (k,d)."""
    first, second, third = (values.take(corners[:, i], axis=0) for i in range(3))
    a, b, c = weights[:, :1], weights[:, 1:2], weights[:, 2:]
    return np.asarray(first * a + second * b + third * c, np.float32)


def unit(vectors: Floats) -> Floats:
    """Of length 1; a vector without length stays as it is."""
    return np.asarray(vectors / np.maximum(np.sqrt(dot(vectors, vectors)), 1e-9)[:, None], np.float32)


def dot(a: Floats, b: Floats) -> Floats:
    """Scalar products (k,) of rows."""
    return np.asarray(np.einsum("ij,ij->i", a, b), np.float32)
