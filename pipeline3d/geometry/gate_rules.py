"""A rule of the quality gate, and the rules that several targets share.

The names of sources in the reasons are explained in `gate_profiles`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline3d.geometry.gate_facts import texture_memory

Severity = Literal["error", "warning"]
Unit = Literal["", "faces", "bytes", "px", "m", "m³", "share", "px/m", "pieces"]

MB = 1_000_000
PBR_SET_BYTES = texture_memory([(2048, 2048)] * 5)
"""One full set of maps (colour, normal, roughness and metal, occlusion, glow) at 2048 px: 112 million."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One fact of a delivery held against a limit.

    `fact` is an attribute of `DeliveryFacts`. A number lies in [at_least, at_most]; with `above` it is more
    than that; a truth value is `must_be`. `fixed_by` is the step that can mend it ("" where none can),
    `hint` what a person does about it. Rules with `textured` hold for models that have textures only.
    """

    name: str
    sentence: str
    severity: Severity
    fact: str
    hint: str
    reason: str
    fixed_by: str = ""
    unit: Unit = ""
    at_most: float | None = None
    at_least: float | None = None
    above: float | None = None
    must_be: bool | None = None
    textured: bool = False


def faces_rule(severity: Severity, at_most: int, reason: str) -> Rule:
    """How many triangles a target draws."""
    return Rule(
        name="few_faces" if severity == "error" else "few_faces_for_slow_devices",
        sentence="The model has no more triangles than its target draws at full speed.",
        severity=severity,
        fact="faces",
        at_most=at_most,
        unit="faces",
        fixed_by="glb_export",
        hint=f"Ask for target_faces={at_most} or take one of the LODs.",
        reason=reason,
    )


def texture_px_rule(severity: Severity, at_most: int, reason: str) -> Rule:
    """How long a side of a picture may be."""
    return Rule(
        name="small_textures" if severity == "error" else "small_textures_for_slow_devices",
        sentence="No texture has a longer side than its target shows.",
        severity=severity,
        fact="texture_px",
        at_most=at_most,
        unit="px",
        textured=True,
        fixed_by="glb_export",
        hint=f"Ask for texture_px={at_most}.",
        reason=reason,
    )


def draw_calls_rule(severity: Severity, at_most: int, reason: str) -> Rule:
    """How many primitives a target draws."""
    return Rule(
        name="few_draw_calls" if severity == "error" else "few_draw_calls_for_slow_devices",
        sentence="The model is drawn in few steps.",
        severity=severity,
        fact="draw_calls",
        at_most=at_most,
        unit="pieces",
        hint="Join parts that share a material, or bake their colours into one texture.",
        reason=reason,
    )


FINITE = Rule(
    name="finite",
    sentence="Every coordinate is a finite number.",
    severity="error",
    fact="finite",
    must_be=True,
    hint="The mesh is damaged: generate it again.",
    reason="No viewer draws NaN, and one such vertex can hide the whole model.",
)
NOT_EMPTY = Rule(
    name="not_empty",
    sentence="The model has faces.",
    severity="error",
    fact="faces",
    at_least=4,
    unit="faces",
    hint="Nothing was generated: use another picture or text.",
    reason="A tetrahedron: fewer faces cannot enclose anything.",
)
VALID_GLB = Rule(
    name="valid_glb",
    sentence="The GLB keeps to glTF 2.0.",
    severity="error",
    fact="glb_errors",
    at_most=0,
    unit="pieces",
    fixed_by="glb_export",
    hint="Export the model again; the complaints are in the report of the GLB.",
    reason="Viewers differ in what they forgive.",
)
VALID_USDZ = Rule(
    name="valid_usdz",
    sentence="The USDZ passes the ARKit checks.",
    severity="error",
    fact="usdz_complaints",
    at_most=0,
    unit="pieces",
    fixed_by="usdz_export",
    hint="Export the USDZ again; the complaints are in its report.",
    reason="Quick Look shows nothing, and says nothing, where one of them fails.",
)
OUTWARD = Rule(
    name="consistent_winding",
    sentence="All faces look outwards.",
    severity="error",
    fact="winding_consistent",
    must_be=True,
    fixed_by="repaired_mesh",
    hint="Ask for repair.",
    reason="Shopify demands no inverted polygons; viewers leave out what faces away, which looks like holes.",
)
NORMALS = Rule(
    name="has_normals",
    sentence="Every part has normals.",
    severity="warning",
    fact="parts_without_normals",
    at_most=0,
    unit="pieces",
    fixed_by="repaired_mesh",
    hint="Ask for repair, which computes them.",
    reason="glTF 2.0, 3.7.2.1: without them a viewer shades flat, so round things show their faces.",
)
MAPPED = Rule(
    name="textures_are_mapped",
    sentence="Every textured part has texture coordinates.",
    severity="error",
    fact="unmapped_parts",
    at_most=0,
    unit="pieces",
    textured=True,
    hint="Unwrap the model or bake its colours into a texture.",
    reason="A texture without coordinates is one colour.",
)
FEW_DEGENERATE = Rule(
    name="few_degenerate_faces",
    sentence="Hardly any face has no area.",
    severity="warning",
    fact="degenerate_share",
    at_most=0.01,
    unit="share",
    fixed_by="repaired_mesh",
    hint="Ask for repair.",
    reason="They are drawn for nothing and their normals are arbitrary; one in a hundred is not seen (ours).",
)
TEXTURE_MEMORY = Rule(
    name="little_texture_memory",
    sentence="The textures fit into the graphics memory of a phone.",
    severity="warning",
    fact="texture_bytes",
    at_most=PBR_SET_BYTES,
    unit="bytes",
    textured=True,
    fixed_by="glb_export",
    hint="Ask for a smaller texture_px.",
    reason="Apple: one set of 2048 px textures.",
)
ON_GROUND = Rule(
    name="stands_on_ground",
    sentence="The lowest point is at height 0.",
    severity="warning",
    fact="ground_gap_m",
    at_most=0.001,
    unit="m",
    fixed_by="glb_export",
    hint="Ask for pivot=bottom.",
    reason="Viewers put the origin on the floor; a gap of more than 1 mm makes the shadow come loose.",
)
SMALL_WEB_GLB = Rule(
    name="small_web_glb",
    sentence="The web GLB is small enough for a shop.",
    severity="error",
    fact="web_glb_bytes",
    at_most=15 * MB,
    unit="bytes",
    fixed_by="web_glb",
    hint="Ask for fewer faces or smaller textures.",
    reason="Shopify rewrites larger ones; the AR limit for phones.",
)
FAST_WEB_GLB = Rule(
    name="fast_web_glb",
    sentence="The web GLB is there within three seconds.",
    severity="warning",
    fact="web_glb_bytes",
    at_most=3 * MB,
    unit="bytes",
    fixed_by="web_glb",
    hint="Ask for fewer faces, smaller textures or WebP.",
    reason="Khronos: 3 MB for a catalogue view, as 10 Mbit/s bring 3.75 MB in 3 s.",
)
