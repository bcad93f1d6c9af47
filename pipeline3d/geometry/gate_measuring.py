"""The facts of a delivery, gathered from the model, its measures, its files and what checks said of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from pipeline3d.errors import UnusableInput
from pipeline3d.geometry.complaints import Complaint
from pipeline3d.geometry.gate_facts import DeliveryFacts, texture_memory
from pipeline3d.geometry.measuring import MeshFacts
from pipeline3d.geometry.mesh import Model, TexturedMesh
from pipeline3d.geometry.picture_headers import read_picture_header
from pipeline3d.geometry.repairing import Change

FACTS_OF_REPAIRS: dict[str, tuple[str, ...]] = {
    "broken_coordinates": ("finite",),
    "collapsed_faces": ("degenerate_share",),
    "joined_points": ("watertight", "components"),
    "duplicate_faces": ("manifold",),
    "slivers": ("degenerate_share",),
    "turned_faces": ("winding_consistent",),
    "floaters": ("components",),
    "turned_pieces": ("volume_m3",),
    "filled_holes": ("watertight",),
    "separated_points": ("manifold",),
    "normals": ("parts_without_normals",),
}
"""Which facts each kind of repair is about."""


def describe_delivery(
    model: Model,
    facts: MeshFacts,
    *,
    file_bytes: Mapping[str, int] | None = None,
    glb_complaints: Sequence[Complaint] | None = None,
    usdz_complaints: Sequence[str] | None = None,
    lods: int | None = None,
    self_intersections: int | None = None,
) -> DeliveryFacts:
    """All facts that can be known; `facts` is `measure(model)`, with `thinnest_m` where it was asked for.

    `file_bytes` has the sizes of "glb", "web_glb" and "usdz" as far as they were made. What is None here
    stays unknown, and so does the volume of a surface that encloses none.
    """
    sizes = file_bytes or {}
    sides = _texture_sides(model)
    return DeliveryFacts(
        finite=all(bool(np.isfinite(part.vertices).all()) for part in model.parts),
        faces=facts.faces,
        vertices=facts.vertices,
        draw_calls=len(model.parts),
        materials=len({part.material for part in model.parts}),
        textures=len(_pictures(model)),
        texture_px=None if sides is None else max((max(side) for side in sides), default=0),
        texture_bytes=None if sides is None else texture_memory(sides),
        odd_textures=None if sides is None else sum(not _halves_evenly(side) for side in sides),
        texel_density_px_per_m=facts.texel_density,
        unmapped_parts=sum(part.uvs is None and part.has_pictures for part in model.parts),
        parts_without_normals=sum(part.normals is None for part in model.parts),
        glb_bytes=sizes.get("glb"),
        web_glb_bytes=sizes.get("web_glb"),
        usdz_bytes=sizes.get("usdz"),
        glb_errors=None if glb_complaints is None else _count_errors(glb_complaints),
        usdz_complaints=None if usdz_complaints is None else len(usdz_complaints),
        lods=lods,
        extents_m=facts.extents,
        ground_gap_m=abs(facts.bounds[0][1]),
        volume_m3=facts.volume if facts.watertight and facts.winding_consistent else None,
        watertight=facts.watertight,
        manifold=not (facts.non_manifold_edges or facts.pinched_points),
        winding_consistent=facts.winding_consistent,
        components=facts.components,
        genus=facts.genus,
        degenerate_share=facts.degenerate_faces / facts.faces if facts.faces else None,
        thinnest_m=facts.thinnest_m,
        self_intersections=self_intersections,
    )


def repair_sentences(changes: Iterable[Change]) -> dict[str, str]:
    """What a repair says of each fact that it was about, as `gate.fixes_between` takes it."""
    told: dict[str, list[str]] = {}
    for change in changes:
        for fact in FACTS_OF_REPAIRS.get(change.kind, ()):
            told.setdefault(fact, []).append(change.sentence)
    return {fact: " ".join(sentences) for fact, sentences in told.items()}


def _count_errors(complaints: Sequence[Complaint]) -> int:
    return sum(complaint.severity == "error" for complaint in complaints)


def _pictures_of(part: TexturedMesh) -> Iterator[bytes]:
    if part.texture is not None:
        yield part.texture
    yield from (picture.data for picture in part.material.maps)


def _pictures(model: Model) -> set[bytes]:
    """Each picture once, however many parts share it: so the files hold them, too."""
    return {picture for part in model.parts for picture in _pictures_of(part)}


def _texture_sides(model: Model) -> list[tuple[int, int]] | None:
    """Width and height of each picture; None where one cannot be told (KTX2 is not read)."""
    try:
        headers = [read_picture_header(picture) for picture in _pictures(model)]
    except UnusableInput:
        return None
    return [(header.width, header.height) for header in headers]


def _halves_evenly(side: tuple[int, int]) -> bool:
    """Whether both sides are powers of two."""
    return all(length & (length - 1) == 0 for length in side)
