"""Toys, figures, keepsakes and plain geometric shapes."""

from __future__ import annotations

import math

from pipeline3d.generation.procedural.parts import Part, Template
from pipeline3d.generation.procedural.solids import (
    X,
    Y,
    Z,
    ball,
    blend,
    box,
    cylinder,
    ellipsoid,
    frustum,
    lathe,
    path,
    prism,
    rod,
    torus,
    union,
)

BLACK = (32, 32, 35)
GOLD = (212, 172, 55)
STEEL = (165, 170, 176)
WOOD = (150, 104, 64)


def snowman() -> list[Part]:
    """Three balls of snow with a hat, a carrot and a scarf."""
    coal = [
        ball(0.045).moved(0.09, 1.62, 0.2).mirrored(),
        *(ball(0.04).moved(y=y, z=z) for y, z in ((1.2, 0.3), (1.02, 0.33))),
    ]
    arm = path([(0.25, 1.1, 0), (0.6, 1.3, 0.05), (0.72, 1.36, 0.12)], 0.032) | rod(
        (0.58, 1.29, 0.05), (0.66, 1.42, 0), 0.025
    )
    return [
        Part(ball(0.5).moved(y=0.45) - box(3, 1, 3, 0.0).moved(y=-0.5), name="body"),
        Part(ball(0.34).moved(y=1.1), name="body"),
        Part(ball(0.25).moved(y=1.56), name="head"),
        *(Part(solid, BLACK, "eye" if i == 0 else "button") for i, solid in enumerate(coal)),
        Part(frustum(0.055, 0.008, 0.3).turned(X, 90).moved(y=1.54, z=0.2), (235, 125, 35), "nose"),
        Part(cylinder(0.3, 0.05).moved(y=1.76), "accent", "hat"),
        Part(cylinder(0.2, 0.3).moved(y=1.92), "accent", "hat"),
        Part(torus(0.22, 0.065).moved(y=1.36), (196, 40, 36), "scarf"),
        Part(rod((0.1, 1.34, 0.24), (0.14, 1.02, 0.36), 0.06), (196, 40, 36), "scarf"),
        Part(arm.mirrored(), (98, 66, 40), "arm"),
    ]


def teddy_bear() -> list[Part]:
    """A sitting teddy bear."""
    body = blend(0.06, ellipsoid(0.36, 0.42, 0.32).moved(y=0.42), ball(0.32).moved(y=1.05, z=0.03))
    arm = rod((0.28, 0.62, 0.05), (0.5, 0.38, 0.22), 0.13, 0.12)
    leg = rod((0.22, 0.16, 0.1), (0.32, 0.16, 0.5), 0.16, 0.15)
    return [
        Part(body),
        Part(arm.mirrored(), name="arm"),
        Part(leg.mirrored(), name="leg"),
        Part(ball(0.12).moved(0.25, 1.3, 0).mirrored(), name="ear"),
        Part(ball(0.08).moved(0.26, 1.3, 0.07).mirrored(), "accent", "ear"),
        Part(ellipsoid(0.16, 0.13, 0.12).moved(y=0.97, z=0.3), "accent", "muzzle"),
        Part(ellipsoid(0.055, 0.04, 0.04).moved(y=1.03, z=0.41), BLACK, "nose"),
        Part(ball(0.045).moved(0.12, 1.13, 0.31).mirrored(), BLACK, "eye"),
        Part(ellipsoid(0.22, 0.25, 0.1).moved(y=0.42, z=0.27), "accent", "belly"),
        Part(cylinder(0.1, 0.04, 0.02, Z).moved(0.32, 0.16, 0.65).mirrored(), "accent", "paw"),
    ]


def robot() -> list[Part]:
    """A boxy robot."""
    arm = path([(0.42, 0.95, 0), (0.6, 0.85, 0), (0.62, 0.55, 0.12)], 0.07)
    return [
        Part(box(0.72, 0.66, 0.46, 0.06).moved(y=0.75), name="body"),
        Part(box(0.52, 0.42, 0.42, 0.06).moved(y=1.36), name="head"),
        Part(cylinder(0.1, 0.2).moved(y=1.12), "accent", "neck"),
        Part(cylinder(0.085, 0.06, 0.02, Z).moved(0.13, 1.42, 0.21).mirrored(), (90, 200, 220), "eye"),
        Part(box(0.28, 0.05, 0.04).moved(y=1.24, z=0.21), BLACK, "mouth"),
        Part(rod((0, 1.55, 0), (0, 1.72, 0), 0.025), "accent", "antenna"),
        Part(ball(0.06).moved(y=1.76), (205, 40, 40), "antenna"),
        Part(arm.mirrored(), "accent", "arm"),
        Part(ball(0.1).moved(0.62, 0.52, 0.13).mirrored(), name="hand"),
        Part(cylinder(0.09, 0.4).moved(0.2, 0.26, 0).mirrored(), "accent", "leg"),
        Part(box(0.26, 0.13, 0.4, 0.04).moved(0.2, 0.065, 0.05).mirrored(), name="foot"),
        Part(box(0.4, 0.26, 0.04).moved(y=0.8, z=0.23), "accent", "panel"),
        *(
            Part(ball(0.035).moved(-0.11 + 0.11 * i, 0.84, 0.25), c, "button")
            for i, c in enumerate(((205, 40, 40), (240, 200, 60), (70, 160, 80)))
        ),
    ]


def pawn() -> list[Part]:
    """A chess pawn."""
    foot = lathe([(0, 0.34), (0.1, 0.34), (0.16, 0.27), (0.3, 0.2), (0.7, 0.11)])
    return [Part(foot), Part(ellipsoid(0.2, 0.05, 0.2).moved(y=0.7)), Part(ball(0.2).moved(y=0.88))]


def die() -> list[Part]:
    """A die: opposite faces add up to seven."""
    grids = {
        1: [(0, 0)],
        2: [(-1, -1), (1, 1)],
        3: [(-1, -1), (0, 0), (1, 1)],
        4: [(-1, -1), (1, 1), (-1, 1), (1, -1)],
        5: [(-1, -1), (1, 1), (-1, 1), (1, -1), (0, 0)],
        6: [(-1, -1), (-1, 0), (-1, 1), (1, -1), (1, 0), (1, 1)],
    }
    # Turned so that it comes to lie on each side: (pips, axis, degrees) of the face that starts in front.
    sides = [(1, Y, 0), (6, Y, 180), (2, Y, 90), (5, Y, -90), (3, X, 90), (4, X, -90)]
    pips = [
        Part(ball(0.1).moved(0.26 * u, 0.26 * v, 0.5).turned(axis, degrees), "accent", "pip", paint=True)
        for count, axis, degrees in sides
        for u, v in grids[count]
    ]
    return [Part(box(1, 1, 1, 0.12)), *pips]


def gift() -> list[Part]:
    """A wrapped present with a bow."""
    loop = torus(0.15, 0.045, Z).moved(x=0.17, y=0.0).turned(Z, 25)
    return [
        Part(box(0.9, 0.62, 0.9).moved(y=0.31)),
        Part(box(0.98, 0.18, 0.98).moved(y=0.68)),
        Part(box(0.16, 0.79, 1.01).moved(y=0.395), "accent", "ribbon"),
        Part(box(1.01, 0.79, 0.16).moved(y=0.395), "accent", "ribbon"),
        Part(loop.mirrored().moved(y=0.84), "accent", "bow"),
        Part(ball(0.08).moved(y=0.83), "accent", "bow"),
    ]


def book() -> list[Part]:
    """A closed book lying down."""
    pages = box(0.9, 0.2, 1.22, 0.01).moved(x=0.02, y=0.15)
    covers = box(1.0, 0.05, 1.32).moved(y=0.025) | box(1.0, 0.05, 1.32).moved(y=0.275)
    return [
        Part(pages, (240, 234, 215), "page"),
        Part(covers | box(0.06, 0.3, 1.32).moved(x=-0.48, y=0.15), name="cover"),
        Part(box(0.6, 0.02, 0.16, 0.005).moved(y=0.305, z=-0.3), "accent", "title"),
        Part(box(0.4, 0.02, 0.07, 0.005).moved(y=0.305, z=-0.1), "accent", "title"),
    ]


def heart() -> list[Part]:
    """A heart on its tip, rounded."""
    outline = [
        (
            16 * math.sin(t) ** 3 / 28,
            (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 28,
        )
        for t in [2 * math.pi * i / 48 for i in range(48)]
    ]
    return [Part(prism(outline, 0.34, 0.14))]


def key() -> list[Part]:
    """A key lying down."""
    teeth = box(0.1, 0.08, 0.2, 0.01).moved(x=0.55, z=0.12) | box(0.1, 0.08, 0.16, 0.01).moved(x=0.38, z=0.1)
    parts = union(torus(0.24, 0.07).moved(x=-0.5), rod((-0.28, 0, 0), (0.68, 0, 0), 0.065), teeth)
    return [Part(parts)]


def crown() -> list[Part]:
    """A crown with seven points."""
    band = frustum(0.45, 0.52, 0.32) - frustum(0.41, 0.48, 0.5).moved(y=-0.02)
    point = prism([(-0.2, 0.2), (0.2, 0.2), (0, 0.62)], 0.05).moved(z=0.5).around(7)
    return [
        Part(band),
        Part(point),
        Part(ball(0.06).moved(y=0.63, z=0.5).around(7), "accent", "jewel"),
        Part(ellipsoid(0.06, 0.08, 0.04).moved(y=0.16, z=0.49).around(7), "accent", "jewel"),
        Part(torus(0.44, 0.04).moved(y=0.03)),
    ]


def hat() -> list[Part]:
    """A top hat."""
    return [
        Part(cylinder(0.65, 0.06).moved(y=0.04)),
        Part(lathe([(0, 0.4), (0.3, 0.37), (0.72, 0.42)])),
        Part(cylinder(0.42, 0.13, 0.01).moved(y=0.13), "accent", "band"),
    ]


def sword() -> list[Part]:
    """A sword standing on its point."""
    blade = prism([(0, 0), (0.085, 0.16), (0.075, 1.4), (-0.075, 1.4), (-0.085, 0.16)], 0.05)
    return [
        Part(blade, name="blade"),
        Part(rod((-0.28, 1.42, 0), (0.28, 1.42, 0), 0.05), "accent", "guard"),
        Part(cylinder(0.05, 0.32).moved(y=1.58), (96, 60, 40), "handle"),
        Part(ball(0.085).moved(y=1.78), "accent", "pommel"),
    ]


def hammer() -> list[Part]:
    """A hammer, head up."""
    return [
        Part(box(0.5, 0.2, 0.2, 0.03).moved(x=0.03, y=1.2), "accent", "head"),
        Part(cylinder(0.12, 0.1, 0.02, X).moved(x=0.3, y=1.2), "accent", "head"),
        Part(prism([(-0.18, 1.1), (-0.18, 1.3), (-0.52, 1.16), (-0.5, 1.1)], 0.18), "accent", "head"),
        Part(lathe([(0, 0.085), (0.3, 0.075), (0.6, 0.055), (1.28, 0.06)]), name="handle"),
    ]


def umbrella() -> list[Part]:
    """An open umbrella."""
    canopy = (ellipsoid(0.8, 0.5, 0.8) - ellipsoid(0.75, 0.45, 0.75)) - box(3, 1, 3, 0.0).moved(y=-0.5)
    hook = path([(0, 0.35, 0), (0, 0.12, 0), (0.06, 0.045, 0), (0.16, 0.045, 0), (0.2, 0.12, 0)], 0.04)
    stripes = [
        Part(
            prism([(0, 0), (0.42, 2), (-0.42, 2)], 2, 0.0).turned(X, 90).turned(Y, 90 * i).moved(y=1),
            "accent",
            "stripe",
            paint=True,
        )
        for i in range(4)
    ]
    return [
        Part(canopy.moved(y=1.0)),
        *stripes,
        Part(rod((0, 0.1, 0), (0, 1.58, 0), 0.028), STEEL, "pole"),
        Part(hook, WOOD, "handle"),
    ]


def trophy() -> list[Part]:
    """A cup with two handles on a plinth."""
    cup = lathe([(0.36, 0.06), (0.5, 0.09), (0.65, 0.32), (1.15, 0.42)]) - lathe(
        [(0.62, 0.1), (0.72, 0.29), (1.17, 0.38)]
    )
    handle = torus(0.2, 0.045, Z).moved(0.44, 0.88, 0) - lathe([(0.5, 0.06), (0.65, 0.29), (1.3, 0.4)])
    return [
        Part(cup),
        Part(handle.mirrored(), name="handle"),
        Part(lathe([(0.18, 0.22), (0.26, 0.12), (0.4, 0.06)])),
        Part(box(0.6, 0.2, 0.6).moved(y=0.1), "accent", "base"),
    ]


def bell() -> list[Part]:
    """A bell with its clapper."""
    outside = lathe([(0.1, 0.5), (0.2, 0.42), (0.6, 0.3), (0.85, 0.22), (0.95, 0.05)])
    inside = lathe([(0.09, 0.46), (0.2, 0.37), (0.6, 0.25), (0.8, 0.1)])
    return [
        Part(outside - inside),
        Part(torus(0.1, 0.04, Z).moved(y=1.03)),
        Part(rod((0, 0.85, 0), (0, 0.1, 0), 0.035) | ball(0.1).moved(y=0.1), "accent", "clapper"),
    ]


def drum() -> list[Part]:
    """A drum with cords."""
    cord = rod((0, 0.12, 0.57), (0.24, 0.58, 0.52), 0.022)
    back = rod((0, 0.12, 0.57), (-0.24, 0.58, 0.52), 0.022)
    return [
        Part(cylinder(0.55, 0.66, 0.01).moved(y=0.35)),
        *(Part(cylinder(0.59, 0.1).moved(y=y), GOLD, "hoop") for y in (0.07, 0.63)),
        Part(cylinder(0.53, 0.04, 0.01).moved(y=0.68), "accent", "skin"),
        Part((cord | back).around(8), (240, 236, 220), "cord"),
    ]


def ring() -> list[Part]:
    """A ring with a gem."""
    gem = frustum(0.04, 0.2, 0.2).moved(y=0.98) | frustum(0.2, 0.12, 0.08).moved(y=1.18)
    return [Part(torus(0.45, 0.07, Z).moved(y=0.52)), Part(gem, "accent", "gem")]


def gear() -> list[Part]:
    """A gear wheel with twelve teeth."""
    tooth = prism([(-0.11, 0.45), (0.11, 0.45), (0.07, 0.66), (-0.07, 0.66)], 0.22)
    wheel = union(cylinder(0.5, 0.22, 0.02, Z), *(tooth.turned(Z, 30 * i) for i in range(12)))
    return [Part(wheel - cylinder(0.17, 1, 0.0, Z))]


def anchor() -> list[Part]:
    """An anchor."""
    arms = path([(0, 0.12, 0), (0.3, 0.18, 0), (0.5, 0.36, 0), (0.56, 0.55, 0)], 0.08, 0.05)
    fluke = prism([(0.38, 0.5), (0.62, 0.76), (0.74, 0.44)], 0.1)
    return [
        Part(rod((0, 0.12, 0), (0, 1.2, 0), 0.075)),
        Part(arms.mirrored() | fluke.mirrored()),
        Part(rod((-0.3, 1.0, 0), (0.3, 1.0, 0), 0.06)),
        Part(torus(0.13, 0.045, Z).moved(y=1.36)),
    ]


def ball_shape() -> list[Part]:
    """A plain ball."""
    return [Part(ball(0.5))]


def beach_ball() -> list[Part]:
    """A ball with coloured segments."""
    segment = prism([(0, 0), (0.5, 0.87), (-0.5, 0.87)], 3, 0.0).turned(X, 90)
    return [
        Part(ball(0.5)),
        *(Part(segment.turned(Y, 120 * i), "accent", "stripe", paint=True) for i in range(3)),
    ]


def cube() -> list[Part]:
    """A cube."""
    return [Part(box(1, 1, 1, 0.03))]


def crate() -> list[Part]:
    """A crate of boards."""
    edges = [box(1.0, 0.13, 0.13, 0.01).moved(0, 0.435, 0.435).mirrored(Y).mirrored(Z)]
    edges += [edges[0].turned(Y, 90), edges[0].turned(Z, 90)]
    brace = box(0.12, 1.15, 0.9, 0.01).turned(Z, 45)
    return [
        Part(box(0.86, 0.86, 0.86)),
        Part(union(*edges), "accent", "edge"),
        Part(brace, "accent", "brace"),
    ]


def cylinder_shape() -> list[Part]:
    """A cylinder."""
    return [Part(cylinder(0.4, 1.0, 0.03))]


def cone_shape() -> list[Part]:
    """A cone."""
    return [Part(frustum(0.45, 0.0, 1.0))]


def traffic_cone() -> list[Part]:
    """A striped traffic cone."""
    return [
        Part(frustum(0.32, 0.06, 1.0, 0.02).moved(y=0.05)),
        Part(box(0.9, 0.09, 0.9).moved(y=0.045)),
        *(Part(cylinder(0.6, 0.15, 0.0).moved(y=y), "accent", "stripe", paint=True) for y in (0.42, 0.72)),
    ]


def torus_shape() -> list[Part]:
    """A torus lying down."""
    return [Part(torus(0.4, 0.15))]


TEMPLATES = (
    Template(words=("snowman",), build=snowman, main=(244, 246, 250), accent=(45, 45, 50), size_m=1.8,
             long_axis="y", plural="snowmen"),
    Template(words=("teddy bear", "teddy", "bear", "stuffed bear"), build=teddy_bear, main=(165, 110, 65),
             accent=(222, 186, 140), size_m=0.4),
    Template(words=("robot", "android", "toy robot"), build=robot, main=(150, 165, 185),
             accent=(90, 98, 112), size_m=1.2),
    Template(words=("pawn", "chess piece", "chess pawn", "chessman"), build=pawn, main=(232, 218, 190),
             size_m=0.05, long_axis="y"),
    Template(words=("die", "dice"), build=die, main=(244, 243, 238), accent=BLACK, size_m=0.02, exact=True,
             plural="dice"),
    Template(words=("gift", "present", "gift box"), build=gift, main=(200, 44, 52), accent=(245, 210, 90),
             size_m=0.3),
    Template(words=("book", "notebook"), build=book, main=(60, 95, 150), accent=GOLD, size_m=0.24,
             long_axis="z"),
    Template(words=("heart",), build=heart, main=(205, 36, 56), size_m=0.2),
    Template(words=("key",), build=key, main=GOLD, size_m=0.07),
    Template(words=("crown", "tiara"), build=crown, main=GOLD, accent=(190, 30, 60), size_m=0.22),
    Template(words=("hat", "top hat"), build=hat, main=(42, 42, 46), accent=(150, 40, 46), size_m=0.3),
    Template(words=("sword", "dagger"), build=sword, main=(190, 194, 200), accent=GOLD, size_m=1.0,
             long_axis="y"),
    Template(words=("hammer", "mallet"), build=hammer, main=WOOD, accent=(110, 113, 118), size_m=0.35,
             long_axis="y"),
    Template(words=("umbrella", "parasol"), build=umbrella, main=(200, 44, 52), accent=(246, 244, 238),
             size_m=1.0),
    Template(words=("trophy", "trophy cup"), build=trophy, main=GOLD, accent=(62, 44, 34), size_m=0.4,
             plural="trophies"),
    Template(words=("bell", "hand bell"), build=bell, main=GOLD, accent=(110, 86, 40), size_m=0.2),
    Template(words=("drum",), build=drum, main=(196, 40, 36), accent=(244, 238, 222), size_m=0.4),
    Template(words=("ring", "wedding ring", "diamond ring"), build=ring, main=GOLD, accent=(150, 210, 235),
             size_m=0.03),
    Template(words=("gear", "cog", "cogwheel", "gear wheel"), build=gear, main=(150, 154, 160), size_m=0.1),
    Template(words=("anchor",), build=anchor, main=(70, 76, 88), size_m=1.5, long_axis="y"),
    Template(words=("ball", "sphere", "marble", "globe", "orb"), build=ball_shape, main=(205, 60, 50),
             size_m=0.2, exact=True),
    Template(words=("beach ball",), build=beach_ball, main=(244, 243, 238), accent=(205, 50, 50),
             size_m=0.4, exact=True),
    Template(words=("cube", "block", "box"), build=cube, main=(70, 120, 190), size_m=0.2, exact=True,
             plural="boxes"),
    Template(words=("crate", "wooden box", "wooden crate"), build=crate, main=(176, 130, 84), accent=None,
             size_m=0.6),
    Template(words=("cylinder", "tube"), build=cylinder_shape, main=(110, 150, 90), size_m=0.2),
    Template(words=("cone",), build=cone_shape, main=(235, 160, 50), size_m=0.2),
    Template(words=("traffic cone",), build=traffic_cone, main=(240, 110, 35), accent=(246, 246, 244),
             size_m=0.7),
    Template(words=("torus",), build=torus_shape, main=(125, 80, 165), size_m=0.2),
)  # fmt: skip
