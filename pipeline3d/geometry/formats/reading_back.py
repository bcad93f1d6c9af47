"""Written files read again by a library that had no part in writing them, for `comparing.verify_file`.

trimesh reads GLB, glTF, OBJ, STL, PLY and the geometry of 3MF; OpenUSD reads USDZ; compressed GLBs are
decompressed by their codecs' decoders, as trimesh knows none of them. For files that we wrote: strangers'
files go through `importing`.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline3d.errors import BrokenModelOutput, Pipeline3dError
from pipeline3d.geometry.colour_space import to_linear
from pipeline3d.geometry.formats.threemf import Unit, UpAxis
from pipeline3d.geometry.mesh import Material, Model, TexturedMesh

Wrap = Literal["clamp", "repeat", "mirror"]
CODECS = frozenset({"EXT_meshopt_compression", "KHR_meshopt_compression", "KHR_draco_mesh_compression"})
TRIMESH_SUFFIXES = frozenset({".gltf", ".obj", ".stl", ".ply"})
GLB_HEAD = 20
METRES: Mapping[str, float] = {
    **{"millimeter": 1e-3, "centimeter": 1e-2, "inch": 0.0254, "meter": 1.0},
    **{"mm": 1e-3, "cm": 1e-2, "in": 0.0254, "m": 1.0},
}
GLTF_WRAPS: Mapping[int, Wrap] = {33071: "clamp", 33648: "mirror", 10497: "repeat"}


def read_back(path: Path, *, unit: Unit = "m", up_axis: UpAxis = "y") -> Model:
    """The model in a written file, where that has them in this unit and with this axis up.

    Raises BrokenModelOutput `broken_export`, whatever is wrong with it."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".usdz":
            from pipeline3d.geometry.formats.usdz import read_usdz

            return read_usdz(path)
        if suffix == ".glb":
            return _read_glb(path)
        if suffix == ".3mf":
            return _read_3mf(path, unit, up_axis)
        if suffix in TRIMESH_SUFFIXES:
            return _read_by_trimesh(path)
    except Pipeline3dError:
        raise
    except Exception as error:  # whatever a damaged file makes of a reader
        raise _broken(f"{type(error).__name__}: {error}") from error
    raise _broken(f"nothing reads {suffix!r} files")


def is_compressed(path: Path) -> bool:
    """Whether a GLB needs a codec; False for everything that is no GLB."""
    if path.suffix.lower() != ".glb":
        return False
    try:
        return bool(CODECS & set(_glb_document(path).get("extensionsUsed", [])))
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def _glb_document(path: Path) -> Any:
    with path.open("rb") as file:
        head = file.read(GLB_HEAD)
        return json.loads(file.read(int.from_bytes(head[12:16], "little")))


def _broken(reason: str) -> BrokenModelOutput:
    return BrokenModelOutput(f"The written file cannot be read back: {reason}.", code="broken_export")


def _read_glb(path: Path) -> Model:
    if not is_compressed(path):
        return _read_by_trimesh(path)
    from pipeline3d.geometry.web_reading import decompress

    return decompress(path.read_bytes())


def _read_3mf(path: Path, unit: Unit, up_axis: UpAxis) -> Model:
    """Triangles by trimesh; the colours by a parser of our own, as trimesh reads none."""
    scene = _load_scene(path)
    scale = METRES[scene.units] / METRES[unit]
    colours = _read_3mf_colours(path)
    parts = []
    for geometry, matrix, number in _placed(scene):
        linear = colours[number]
        points = (geometry.vertices @ matrix[:3, :3].T + matrix[:3, 3]) * scale
        if up_axis == "y":
            points = np.stack([points[:, 0], points[:, 2], -points[:, 1]], axis=1)
        faces = np.asarray(geometry.faces)
        if len(linear) != faces.size:
            raise _broken("there is not one colour for each corner")
        parts.append(
            TexturedMesh(
                vertices=points[faces.reshape(-1)].astype(np.float32),
                faces=np.arange(faces.size, dtype=np.int32).reshape(-1, 3),
                colours=linear,
            )
        )
    return Model(parts=tuple(parts))


def _read_3mf_colours(path: Path) -> dict[str, npt.NDArray[np.uint8]]:
    """By the object's number the linear colours of its faces' corners (3 m,4)."""
    from lxml import etree

    palettes: dict[str, npt.NDArray[np.uint8]] = {}
    found = {}
    with zipfile.ZipFile(path) as package, package.open("3D/3dmodel.model") as file:
        tags = ("{*}basematerials", "{*}colorgroup", "{*}object")
        for _, element in etree.iterparse(file, tag=tags, resolve_entities=False, no_network=True):
            if not element.tag.endswith("object"):
                palettes[element.get("id")] = _read_palette(element)
                continue
            palette, usual = palettes[element.get("pid")], element.get("pindex")
            numbers = [
                [int(triangle.get(name, usual)) for name in ("p1", "p2", "p3")]
                for triangle in element.iter("{*}triangle")
            ]
            found[element.get("id")] = palette[np.array(numbers).reshape(-1)]
            element.clear()
    return found


def _read_palette(element: Any) -> npt.NDArray[np.uint8]:
    texts = [entry.get("color") or entry.get("displaycolor") for entry in element]
    colours = np.array([list(bytes.fromhex(text[1:].ljust(8, "F"))) for text in texts], np.uint8)
    colours[:, :3] = np.rint(to_linear(colours[:, :3] / np.float32(255)) * 255)
    return colours


def _read_by_trimesh(path: Path) -> Model:
    srgb, wrap = path.suffix.lower() in (".obj", ".ply"), _wrap_of(path)
    placed = _placed(_load_scene(path))
    return Model(parts=tuple(_as_part(part, matrix, srgb=srgb, wrap=wrap) for part, matrix, _ in placed))


def _wrap_of(path: Path) -> Wrap:
    """How textures go on beyond their border, which trimesh does not tell; several ways count as none."""
    suffix = path.suffix.lower()
    if suffix not in (".glb", ".gltf"):
        return "repeat"
    document = _glb_document(path) if suffix == ".glb" else json.loads(path.read_bytes())
    found = {sampler.get("wrapS", 10497) for sampler in document.get("samplers", [])}
    return GLTF_WRAPS.get(found.pop(), "repeat") if len(found) == 1 else "repeat"


def _load_scene(path: Path) -> Any:
    import trimesh

    return trimesh.load_scene(path, process=False)


def _placed(scene: Any) -> list[tuple[Any, npt.NDArray[np.float64], str]]:
    """Each surface with its place and its name, which is its number in a 3MF.

    `scene.dump` would lose vertex attributes.
    """
    found = []
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        geometry = scene.geometry[name]
        if len(getattr(geometry, "faces", ())):
            found.append((geometry, matrix, name))
    if not found:
        raise _broken("it has no faces")
    return found


def _as_part(part: Any, matrix: npt.NDArray[np.float64], *, srgb: bool, wrap: Wrap) -> TexturedMesh:
    """`srgb`: whether the format's numbers for colours are sRGB; glTF's are linear."""
    uv: Any = getattr(part.visual, "uv", None)
    material = getattr(part.visual, "material", None)
    picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    textured = picture is not None and uv is not None and len(uv) == len(part.vertices)
    points = np.asarray(part.vertices)
    if not np.array_equal(matrix, np.eye(4)):
        points = points @ matrix[:3, :3].T + matrix[:3, 3]
    return TexturedMesh(
        vertices=points.astype(np.float32),
        faces=np.asarray(part.faces, np.int32),
        # trimesh counts v from below
        uvs=np.asarray(uv * (1, -1) + (0, 1), np.float32) if textured else None,
        texture=_as_bitmap(picture) if textured else None,
        texture_mime_type="image/bmp",
        colours=_colours_of(part, srgb=srgb),
        material=Material(base_colour=_factor_of(material, srgb=srgb), wrap=wrap),
    )


def _colours_of(part: Any, *, srgb: bool) -> npt.NDArray[np.uint8] | None:
    """Linear bytes (n,4), from any of the three places where trimesh keeps them."""
    if part.visual.kind == "vertex":
        colours = np.asarray(part.visual.vertex_colors)
    else:
        kept = {**part.vertex_attributes, **getattr(part.visual, "vertex_attributes", {})}
        if "color" not in kept:
            return None
        colours = np.asarray(kept["color"])
    shares = colours / 255.0 if colours.dtype == np.uint8 else colours.astype(np.float64)
    if srgb:
        shares = np.concatenate([to_linear(shares[:, :3]), shares[:, 3:]], axis=1)
    opaque = np.ones((len(shares), 4 - shares.shape[1]))
    linear: npt.NDArray[np.uint8] = np.rint(np.concatenate([shares, opaque], axis=1) * 255).astype(np.uint8)
    return linear


def _as_bitmap(picture: Any) -> bytes:
    """Pixels in the cheapest container: they are decoded again at once."""
    import cv2

    pixels: npt.NDArray[np.uint8] = np.asarray(picture.convert("RGB"))
    return bytes(cv2.imencode(".bmp", pixels[..., ::-1])[1].tobytes())


def _factor_of(material: Any, *, srgb: bool) -> tuple[float, float, float, float]:
    factor = getattr(material, "baseColorFactor", None)
    if factor is None and srgb:
        factor = getattr(material, "diffuse", None)
    if factor is None:
        return (1.0, 1.0, 1.0, 1.0)
    values = np.asarray(factor, np.float32)
    if np.asarray(factor).dtype == np.uint8:
        values = values / np.float32(255)
    if srgb:
        values = np.concatenate([to_linear(values[:3]), values[3:]])
    return float(values[0]), float(values[1]), float(values[2]), 1.0
