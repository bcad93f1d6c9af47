"""Furniture and what stands about in a room."""

from __future__ import annotations

from pipeline3d.generation.procedural.parts import Part, Template
from pipeline3d.generation.procedural.solids import (
    Solid,
    Z,
    ball,
    box,
    cylinder,
    ellipsoid,
    frustum,
    lathe,
    rod,
    torus,
)

WOOD = (150, 104, 64)
DARK_WOOD = (98, 64, 40)


def _legs(x: float, z: float, height: float, thickness: float) -> Solid:
    """Four square legs from y = 0 up, one in each corner."""
    return box(thickness, height, thickness).moved(x, height / 2, z).mirrored(0).mirrored(Z)


def table() -> list[Part]:
    """A table with four legs."""
    return [
        Part(box(1.6, 0.09, 1.0).moved(y=0.85), name="top"),
        Part(box(1.4, 0.1, 0.8).moved(y=0.77) - box(1.3, 0.4, 0.7).moved(y=0.7)),
        Part(_legs(0.68, 0.38, 0.82, 0.1), name="leg"),
    ]


def round_table() -> list[Part]:
    """A round table on one foot."""
    return [
        Part(cylinder(0.75, 0.08).moved(y=0.85), name="top"),
        Part(cylinder(0.08, 0.8).moved(y=0.45), name="leg"),
        Part(frustum(0.4, 0.1, 0.12, 0.02), name="leg"),
    ]


def desk() -> list[Part]:
    """A desk with drawers on one side."""
    drawers = [
        Part(box(0.38, 0.17, 0.03).moved(0.55, y, 0.36), "accent", "drawer") for y in (0.2, 0.41, 0.62)
    ]
    return [
        Part(box(1.6, 0.07, 0.8).moved(y=0.8), name="top"),
        Part(box(0.45, 0.76, 0.7).moved(x=0.55, y=0.39)),
        Part(box(0.07, 0.78, 0.7).moved(x=-0.74, y=0.4)),
        Part(box(1.3, 0.4, 0.04).moved(y=0.6, z=-0.3)),
        *drawers,
        *(Part(ball(0.035).moved(0.55, y, 0.39), (60, 60, 62)) for y in (0.2, 0.41, 0.62)),
    ]


def chair() -> list[Part]:
    """A chair with a slatted back."""
    slats = [Part(box(0.07, 0.45, 0.035).moved(x, 0.8, -0.24), name="back") for x in (-0.13, 0, 0.13)]
    return [
        Part(box(0.56, 0.07, 0.56).moved(y=0.5), "accent", "seat"),
        Part(_legs(0.23, 0.23, 0.5, 0.075), name="leg"),
        Part(box(0.07, 0.62, 0.06).moved(0.24, 0.8, -0.24).mirrored(), name="back"),
        Part(box(0.56, 0.12, 0.06).moved(y=1.07, z=-0.24), name="back"),
        *slats,
    ]


def armchair() -> list[Part]:
    """A soft chair with arms."""
    return _seat(0.75)


def sofa() -> list[Part]:
    """A sofa for two or three."""
    return _seat(1.7)


def _seat(width: float) -> list[Part]:
    cushions = max(1, round(width / 0.8))
    each = width / cushions
    places = [(i - (cushions - 1) / 2) * each for i in range(cushions)]
    return [
        Part(box(width + 0.3, 0.3, 0.8, 0.05).moved(y=0.25)),
        Part(box(width + 0.3, 0.75, 0.25, 0.1).moved(y=0.52, z=-0.35)),
        Part(box(0.24, 0.55, 0.85, 0.1).moved(x=width / 2 + 0.1, y=0.42).mirrored()),
        *(Part(box(each - 0.02, 0.2, 0.62, 0.07).moved(x, 0.47, 0.1), "accent", "cushion") for x in places),
        Part(_legs(width / 2 + 0.05, 0.3, 0.14, 0.08), DARK_WOOD, "leg"),
    ]


def stool() -> list[Part]:
    """A three-legged stool."""
    return [
        Part(cylinder(0.35, 0.09, 0.03).moved(y=0.75), "accent", "seat"),
        Part(rod((0.17, 0.72, 0), (0.34, 0.045, 0), 0.045).around(3), name="leg"),
        Part(torus(0.265, 0.025).moved(y=0.33)),
    ]


def bench() -> list[Part]:
    """A park bench."""
    planks = [Part(box(1.6, 0.05, 0.13).moved(y=0.45, z=z), name="seat") for z in (-0.16, 0, 0.16)]
    backs = [Part(box(1.6, 0.11, 0.04).moved(y=y, z=-0.27), name="back") for y in (0.68, 0.84)]
    foot = box(0.08, 0.45, 0.08).moved(0.65, 0.22, 0.18).mirrored()
    rear = box(0.08, 0.92, 0.08).moved(0.65, 0.46, -0.24).mirrored()
    rail = box(0.08, 0.07, 0.5).moved(0.65, 0.4, -0.03).mirrored()
    return [*planks, *backs, *(Part(solid, "accent", "leg") for solid in (foot, rear, rail))]


def bed() -> list[Part]:
    """A bed with a pillow and a blanket."""
    return [
        Part(box(1.1, 0.16, 2.0).moved(y=0.25), WOOD, "frame"),
        Part(_legs(0.48, 0.93, 0.3, 0.1), WOOD, "frame"),
        Part(box(1.1, 0.75, 0.08).moved(y=0.5, z=-1.0), WOOD, "frame"),
        Part(box(1.1, 0.4, 0.08).moved(y=0.35, z=1.0), WOOD, "frame"),
        Part(box(1.02, 0.2, 1.9, 0.07).moved(y=0.4), "accent", "mattress"),
        Part(box(1.1, 0.2, 1.25, 0.08).moved(y=0.44, z=0.33), name="blanket"),
        Part(ellipsoid(0.4, 0.13, 0.22).moved(y=0.54, z=-0.68), (244, 243, 240), "pillow"),
    ]


def bookcase() -> list[Part]:
    """Shelves with books."""
    colours = [(170, 55, 50), (50, 90, 140), (200, 160, 70), (70, 120, 80), (110, 70, 120), (205, 195, 175)]
    frame = box(1.0, 1.6, 0.36) - _hollows()
    books = [
        Part(
            box(0.1, 0.26 + 0.03 * ((5 * i + 3 * shelf) % 3), 0.24, 0.015).moved(
                -0.36 + 0.105 * i, -0.62 + 0.385 * shelf + 0.015 * ((5 * i + 3 * shelf) % 3), 0.02
            ),
            colours[(i * 2 + shelf * 3 + i // 3) % 6],
            "book",
        )
        for shelf in range(4)
        for i in range(7)
        if (i + 2 * shelf) % 7 != 6
    ]
    return [Part(frame), *books]


def _hollows() -> Solid:
    """The four hollows of the bookcase, open to the front."""
    hollows = [box(0.86, 0.33, 0.36, 0.0).moved(y=-0.58 + 0.385 * i, z=0.06) for i in range(4)]
    return hollows[0] | hollows[1] | hollows[2] | hollows[3]


def cabinet() -> list[Part]:
    """A wardrobe with two doors."""
    return [
        Part(box(1.0, 1.6, 0.55).moved(y=0.85)),
        Part(box(1.08, 0.09, 0.6).moved(y=1.66)),
        Part(box(0.45, 1.35, 0.04).moved(0.235, 0.88, 0.28).mirrored(), "accent", "door"),
        Part(rod((0.06, 0.8, 0.33), (0.06, 0.98, 0.33), 0.03).mirrored(), (60, 60, 62), "handle"),
        Part(_legs(0.42, 0.2, 0.1, 0.12), name="leg"),
    ]


def lamp() -> list[Part]:
    """A table lamp with a shade."""
    shade = frustum(0.42, 0.26, 0.45) - frustum(0.38, 0.22, 0.5).moved(y=-0.04)
    return [
        Part(shade.moved(y=0.8), name="shade"),
        Part(ball(0.11).moved(y=0.95), (255, 232, 150), "bulb"),
        Part(cylinder(0.035, 0.9).moved(y=0.48), "accent", "base"),
        Part(frustum(0.3, 0.18, 0.1, 0.03), "accent", "base"),
        Part(cylinder(0.25, 0.03, 0.01).moved(y=1.23)),
    ]


def clock() -> list[Part]:
    """A round clock on two feet, at ten past ten."""
    return [
        Part(cylinder(0.6, 0.22, 0.04, Z).moved(y=0.68)),
        Part(cylinder(0.51, 0.26, 0.01, Z).moved(y=0.68), "accent", "face"),
        *(
            Part(box(0.035, 0.1, 0.3, 0.01).moved(y=0.43).turned(Z, 30 * i).moved(y=0.68), (40, 40, 44))
            for i in range(12)
        ),
        Part(rod((0, 0.68, 0.15), (-0.18, 0.8, 0.15), 0.03), (40, 40, 44), "hand"),
        Part(rod((0, 0.68, 0.15), (0.27, 0.86, 0.15), 0.022), (40, 40, 44), "hand"),
        Part(rod((0.25, 0.2, 0), (0.36, 0.05, 0), 0.05).mirrored(), name="foot"),
    ]


def door() -> list[Part]:
    """A panelled door in its frame."""
    frame = box(1.0, 1.95, 0.2).moved(y=0.975) - box(0.8, 1.85, 0.4, 0.0).moved(y=0.92)
    panels = [
        Part(box(0.27, h, 0.14).moved(0.18, y, 0).mirrored(), "accent") for y, h in ((0.5, 0.6), (1.3, 0.7))
    ]
    return [
        Part(frame, DARK_WOOD, "frame"),
        Part(box(0.82, 1.86, 0.1).moved(y=0.93)),
        *panels,
        Part(ball(0.06).moved(0.32, 0.92, 0.1), (212, 172, 55), "knob"),
    ]


def barrel() -> list[Part]:
    """A wooden barrel with hoops."""
    body = lathe([(0, 0.42), (0.55, 0.55), (1.1, 0.42)])
    hoops = [
        torus(r, 0.035).moved(y=y) for y, r in ((0.12, 0.455), (0.38, 0.535), (0.72, 0.535), (0.98, 0.455))
    ]
    return [Part(body), *(Part(hoop, "accent", "hoop") for hoop in hoops)]


TEMPLATES = (
    Template(words=("table", "square table", "dining table", "kitchen table", "coffee table"), build=table,
             main=WOOD, size_m=1.4, round_form="round table"),
    Template(words=("round table", "pedestal table"), build=round_table, main=WOOD, size_m=1.2),
    Template(words=("desk", "writing desk"), build=desk, main=WOOD, accent=None, size_m=1.5),
    Template(words=("chair", "dining chair"), build=chair, main=WOOD, accent=None, size_m=0.95),
    Template(words=("armchair", "arm chair", "easy chair"), build=armchair, main=(150, 60, 55), accent=None,
             size_m=1.0),
    Template(words=("sofa", "couch", "settee"), build=sofa, main=(70, 100, 130), accent=None, size_m=1.9),
    Template(words=("stool", "bar stool"), build=stool, main=WOOD, accent=None, size_m=0.6),
    Template(words=("bench", "park bench"), build=bench, main=WOOD, accent=(60, 62, 66), size_m=1.5,
             plural="benches"),
    Template(words=("bed",), build=bed, main=(70, 110, 160), size_m=2.0, long_axis="z"),
    Template(words=("bookcase", "bookshelf", "shelf", "book shelf"), build=bookcase, main=WOOD, size_m=1.8,
             plural="bookshelves"),
    Template(words=("wardrobe", "cabinet", "cupboard", "closet"), build=cabinet, main=WOOD, accent=None,
             size_m=1.9),
    Template(words=("lamp", "table lamp", "desk lamp"), build=lamp, main=(238, 222, 180),
             accent=(110, 80, 60), size_m=0.5),
    Template(words=("clock", "alarm clock"), build=clock, main=(190, 60, 50), accent=(244, 243, 236),
             size_m=0.25),
    Template(words=("door", "doorway"), build=door, main=(150, 104, 64), accent=None, size_m=2.0,
             long_axis="y"),
    Template(words=("barrel", "keg", "cask"), build=barrel, main=WOOD, accent=(95, 97, 102), size_m=0.9),
)  # fmt: skip
