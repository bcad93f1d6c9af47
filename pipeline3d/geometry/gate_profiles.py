"""What each target can take, as tables: one rule a line of a report, each limit with where it is from.

Sources, by the names that the reasons use:

- Khronos: 3D Commerce publishing guidelines 1.0 (2020), its table of publishing targets;
- Apple: WWDC 2018 session 603 on AR Quick Look, confirmed for all supported devices in 2021;
- Shopify: its modelling checklist for partners (2025);
- AR limits: 500,000 triangles (phones 100,000), 4096 px (2048), 50 MB (15), 20 materials, 30 textures,
  those of the AR converter that came before this project;
- printing: design rules of print services, which agree within the given figure.

`error` means that the target refuses or visibly breaks the model, `warning` that it suffers.
"""

from __future__ import annotations

from pipeline3d.errors import InvalidParameters
from pipeline3d.geometry.gate_rules import (
    FAST_WEB_GLB,
    FEW_DEGENERATE,
    FINITE,
    MAPPED,
    MB,
    NORMALS,
    NOT_EMPTY,
    ON_GROUND,
    OUTWARD,
    SMALL_WEB_GLB,
    TEXTURE_MEMORY,
    VALID_GLB,
    VALID_USDZ,
    Rule,
    draw_calls_rule,
    faces_rule,
    texture_px_rule,
)

WEB = (
    FINITE,
    NOT_EMPTY,
    VALID_GLB,
    faces_rule("error", 250_000, "Khronos: the most for a single item on a desktop page."),
    faces_rule("warning", 150_000, "Khronos: the most for a catalogue view on phones."),
    draw_calls_rule("error", 500, "Khronos: the most for a catalogue view."),
    draw_calls_rule("warning", 20, "Khronos: the target for a catalogue view."),
    texture_px_rule("error", 4096, "AR limits; WebGL on older phones refuses longer sides."),
    texture_px_rule("warning", 2048, "Khronos: 2K for a catalogue view."),
    TEXTURE_MEMORY,
    SMALL_WEB_GLB,
    FAST_WEB_GLB,
    OUTWARD,
    NORMALS,
    MAPPED,
    FEW_DEGENERATE,
)

AR = (
    FINITE,
    NOT_EMPTY,
    VALID_GLB,
    VALID_USDZ,
    faces_rule("error", 150_000, "Khronos: the most for a single item in AR on phones."),
    faces_rule("warning", 100_000, "Apple and the AR limits for phones."),
    draw_calls_rule("error", 500, "Khronos: the most for a single item in AR."),
    draw_calls_rule("warning", 20, "Khronos: the target for a single item in AR."),
    Rule(
        name="few_materials",
        sentence="The model has few materials.",
        severity="error",
        fact="materials",
        at_most=20,
        unit="pieces",
        hint="Join materials, or bake them into one texture.",
        reason="AR limits.",
    ),
    Rule(
        name="few_textures",
        sentence="The model has few textures.",
        severity="error",
        fact="textures",
        at_most=30,
        unit="pieces",
        hint="Pack channels into one picture, or bake parts together.",
        reason="AR limits.",
    ),
    texture_px_rule("error", 2048, "Apple, and the AR limits for phones."),
    TEXTURE_MEMORY,
    Rule(
        name="small_usdz",
        sentence="The USDZ is small enough for a phone.",
        severity="error",
        fact="usdz_bytes",
        at_most=15 * MB,
        unit="bytes",
        fixed_by="usdz_export",
        hint="Ask for fewer faces or smaller textures.",
        reason="The AR limit for phones; Shopify rewrites larger ones.",
    ),
    SMALL_WEB_GLB,
    FAST_WEB_GLB,
    Rule(
        name="real_size",
        sentence="The model has the size of a thing that stands in a room.",
        severity="error",
        fact="longest_m",
        at_least=0.01,
        at_most=10.0,
        unit="m",
        fixed_by="glb_export",
        hint="Ask for size_m, the size of the real thing in metres.",
        reason="AR shows real size: under 1 cm nobody finds it, over 10 m one stands inside.",
    ),
    ON_GROUND,
    OUTWARD,
    NORMALS,
    MAPPED,
    FEW_DEGENERATE,
)

PRINT = (
    FINITE,
    NOT_EMPTY,
    Rule(
        name="watertight",
        sentence="The surface is closed.",
        severity="error",
        fact="watertight",
        must_be=True,
        fixed_by="repaired_mesh",
        hint="Ask for repair; what it cannot close it names.",
        reason="A slicer cannot tell inside from outside of an open surface.",
    ),
    Rule(
        name="manifold",
        sentence="No edge has more than two faces, and no point merely joins two surfaces.",
        severity="error",
        fact="manifold",
        must_be=True,
        fixed_by="repaired_mesh",
        hint="Ask for repair.",
        reason="The 3MF core specification asks for manifold edges.",
    ),
    OUTWARD,
    Rule(
        name="solid",
        sentence="The model has a volume, and is not inside out.",
        severity="error",
        fact="volume_m3",
        above=0.0,
        unit="m³",
        fixed_by="repaired_mesh",
        hint="Ask for repair, which turns a surface that is inside out.",
        reason="A volume below 0 is a hole in the world.",
    ),
    Rule(
        name="thick_enough",
        sentence="No wall is thinner than a printer makes.",
        severity="error",
        fact="thinnest_m",
        at_least=0.0008,
        unit="m",
        hint="Ask for a larger size_m: thickness grows with it.",
        reason="Printing: 0.8 mm for filament, two lines of a 0.4 mm nozzle; sintering takes 0.7, resin 0.8.",
    ),
    Rule(
        name="sturdy",
        sentence="The thinnest wall survives handling.",
        severity="warning",
        fact="thinnest_m",
        at_least=0.0012,
        unit="m",
        hint="Ask for a larger size_m: thickness grows with it.",
        reason="Printing: 1.2 mm is what services recommend for filament.",
    ),
    Rule(
        name="one_piece",
        sentence="The model is one piece.",
        severity="warning",
        fact="components",
        at_most=1,
        unit="pieces",
        fixed_by="repaired_mesh",
        hint="Ask for repair, which removes floating crumbs; larger pieces are printed apart.",
        reason="What touches nothing falls off the plate.",
    ),
    Rule(
        name="no_self_intersections",
        sentence="The surface does not pass through itself.",
        severity="warning",
        fact="self_intersections",
        at_most=0,
        unit="pieces",
        hint="Let the slicer join overlapping parts.",
        reason="Slicers join most of them, and some leave gaps.",
    ),
    Rule(
        name="fits_printer",
        sentence="The model fits a printer.",
        severity="warning",
        fact="longest_m",
        at_least=0.005,
        at_most=0.3,
        unit="m",
        fixed_by="glb_export",
        hint="Ask for another size_m, or print it in parts.",
        reason="Printing: 200 mm on desks, 300 mm for sintering; details vanish under 5 mm.",
    ),
    Rule(
        name="sliceable",
        sentence="Slicers and print services load the model.",
        severity="warning",
        fact="faces",
        at_most=1_000_000,
        unit="faces",
        fixed_by="glb_export",
        hint="Ask for target_faces=1000000 or fewer.",
        reason="Printing: a million polygons is the common limit for uploads.",
    ),
    FEW_DEGENERATE,
)

GAME = (
    FINITE,
    NOT_EMPTY,
    VALID_GLB,
    faces_rule("error", 250_000, "Khronos: the most for one item that is shown alone on a desktop."),
    faces_rule("warning", 40_000, "Khronos: one item of several in a planned room."),
    draw_calls_rule("error", 50, "Khronos: the most for one item of several."),
    draw_calls_rule("warning", 5, "Khronos: the target for one item of several."),
    texture_px_rule("error", 4096, "AR limits; what engines import for phones without shrinking it."),
    texture_px_rule(
        "warning", 2048, "Khronos names 1K for one item of several; 2K where it is looked at closely."
    ),
    Rule(
        name="texture_sides",
        sentence="All sides of textures are powers of two.",
        severity="warning",
        fact="odd_textures",
        at_most=0,
        unit="pieces",
        textured=True,
        fixed_by="glb_export",
        hint="Ask for texture_px of 512, 1024 or 2048.",
        reason="Engines neither mipmap nor block-compress others on every platform.",
    ),
    Rule(
        name="texel_density",
        sentence="The texture is neither blurred nor wasted at the model's size.",
        severity="warning",
        fact="texel_density_px_per_m",
        at_least=128,
        at_most=8192,
        unit="px/m",
        textured=True,
        hint="Ask for another texture_px, or check size_m.",
        reason="Games use 256 to 1024 px/m, small things more: a half and eight times that are surely wrong.",
    ),
    TEXTURE_MEMORY,
    Rule(
        name="has_lods",
        sentence="There are simpler versions for the distance.",
        severity="warning",
        fact="lods",
        at_least=3,
        unit="pieces",
        fixed_by="lods",
        hint="Ask for LODs.",
        reason="Engines change levels at about half the faces each; three levels are the least that helps.",
    ),
    OUTWARD,
    NORMALS,
    MAPPED,
    ON_GROUND,
    FEW_DEGENERATE,
)

PROFILES: dict[str, tuple[Rule, ...]] = {"web": WEB, "ar": AR, "print": PRINT, "game": GAME}


def rules_of(profile: str) -> tuple[Rule, ...]:
    """The rules of a profile. Raises InvalidParameters for a name that is none."""
    if profile not in PROFILES:
        raise InvalidParameters(
            f"{profile!r} is no quality profile.",
            code="unknown_profile",
            hint=f"Use one of {', '.join(PROFILES)}.",
        )
    return PROFILES[profile]
