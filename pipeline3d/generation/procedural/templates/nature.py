"""Plants, mushrooms, and what is in the sky."""

from __future__ import annotations

import math

from pipeline3d.generation.procedural.parts import Part, Template
from pipeline3d.generation.procedural.solids import (
    Solid,
    X,
    Y,
    Z,
    above,
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
    union,
)

BARK = (112, 76, 48)
LEAF = (62, 142, 62)
POT = (190, 95, 65)


def tree() -> list[Part]:
    """A broad-leaved tree."""
    places = (
        (0, 1.25, 0, 0.42),
        (0.3, 1.05, 0.1, 0.33),
        (-0.32, 1.08, 0.05, 0.32),
        (0.05, 1.05, -0.3, 0.33),
        (0.02, 1.0, 0.3, 0.3),
        (0.15, 1.5, 0, 0.28),
        (-0.16, 1.45, 0.05, 0.26),
    )
    trunk = lathe([(0, 0.2), (0.12, 0.12), (0.5, 0.1), (1.0, 0.09)])
    branch = rod((0, 0.6, 0), (0.3, 0.95, 0.05), 0.06, 0.04)
    return [
        Part(blend(0.06, trunk, branch, branch.turned(Y, 160)), BARK, "trunk"),
        Part(blend(0.08, *(ball(r).moved(x, y, z) for x, y, z, r in places)), name="leaf"),
    ]


def pine_tree() -> list[Part]:
    """A conifer in four tiers."""
    tiers = [(0.3, 0.55, 0.6), (0.6, 0.46, 0.55), (0.88, 0.36, 0.5), (1.14, 0.25, 0.45)]
    return [
        Part(cylinder(0.09, 0.4).moved(y=0.2), BARK, "trunk"),
        *(Part(frustum(r, 0.0, h).moved(y=y), name="leaf") for y, r, h in tiers),
    ]


def christmas_tree() -> list[Part]:
    """A conifer with baubles and a star."""
    spots = [(0.42, 0.46, 5), (0.72, 0.37, 5), (1.0, 0.28, 4), (1.24, 0.18, 3)]
    colours = [(200, 40, 40), (220, 175, 60), (60, 90, 190)]
    baubles = [
        Part(ball(0.06).moved(r * math.sin(a), y, r * math.cos(a)), colours[(i + k) % 3], "bauble")
        for k, (y, r, count) in enumerate(spots)
        for i in range(count)
        for a in [2 * math.pi * i / count + 0.5 * k]
    ]
    top = prism(star_outline(0.15, 0.065), 0.06).moved(y=1.66)
    return [*pine_tree(), *baubles, Part(top, (240, 205, 60), "star")]


def palm() -> list[Part]:
    """A palm tree with a bent trunk."""
    trunk = path([(0, 0, 0), (0.06, 0.4, 0), (0.05, 0.8, 0), (-0.05, 1.25, 0)], 0.11, 0.07)
    leaf = ellipsoid(0.36, 0.03, 0.11).moved(x=0.32).turned(Z, 22)
    drop = ellipsoid(0.2, 0.03, 0.09).moved(x=0.12).turned(Z, -42).moved(x=0.55, y=0.22)
    crown = union(leaf, drop).around(7).moved(x=-0.05, y=1.24)
    nuts = ball(0.07).moved(z=0.1).around(3).moved(x=-0.05, y=1.18)
    return [Part(trunk, BARK, "trunk"), Part(crown, name="leaf"), Part(nuts, (96, 62, 36), "coconut")]


def cactus() -> list[Part]:
    """A cactus with two arms in a pot."""
    arms = [
        path([(0, 0.75, 0), (0.32, 0.78, 0), (0.34, 0.9, 0), (0.34, 1.12, 0)], 0.09),
        path([(0, 0.6, 0), (-0.3, 0.62, 0), (-0.32, 0.72, 0), (-0.32, 0.9, 0)], 0.08),
    ]
    return [
        Part(blend(0.06, rod((0, 0.4, 0), (0, 1.35, 0), 0.17), *arms)),
        Part(ball(0.07).moved(y=1.52), (235, 90, 140), "flower"),
        *_pot(),
    ]


def _pot() -> list[Part]:
    """A flower pot with its rim at y = 0.42."""
    return [
        Part(frustum(0.24, 0.33, 0.38, 0.02), "accent", "pot"),
        Part(cylinder(0.37, 0.1).moved(y=0.38) - cylinder(0.31, 0.1).moved(y=0.42), "accent", "pot"),
        Part(cylinder(0.32, 0.04, 0.0).moved(y=0.38), (62, 44, 32), "soil"),
    ]


def potted_plant() -> list[Part]:
    """A leafy plant in a pot."""
    blade = ellipsoid(0.09, 0.36, 0.03).moved(y=0.3)
    leaves = [
        Part(blade.turned(X, lean).turned(Y, turn).moved(y=0.4), name="leaf")
        for lean, count, start in ((12, 3, 0), (38, 5, 30), (62, 6, 10))
        for turn in [start + 360 * i / count for i in range(count)]
    ]
    return [*_pot(), *leaves]


def flower() -> list[Part]:
    """A daisy-like flower with two leaves."""
    petal = ellipsoid(0.13, 0.21, 0.045).moved(y=0.28)
    head = union(*(petal.turned(Z, 45 * i) for i in range(8)))
    leaf = ellipsoid(0.22, 0.035, 0.09).moved(x=0.2).turned(Z, 40)
    return [
        Part(head.moved(y=1.2, z=0.05), name="petal"),
        Part(ellipsoid(0.15, 0.15, 0.09).moved(y=1.2, z=0.08), "accent", "centre"),
        Part(path([(0, 0, 0), (0.03, 0.5, 0), (0, 1.18, 0)], 0.04), LEAF, "stem"),
        Part(leaf.moved(y=0.3), LEAF, "leaf"),
        Part(leaf.turned(Y, 180).moved(y=0.45), LEAF, "leaf"),
        Part(ellipsoid(0.28, 0.06, 0.28).moved(y=0.03), (96, 70, 46), "soil"),
    ]


def bouquet() -> list[Part]:
    """Flowers in a vase."""
    outside = lathe([(0, 0.2), (0.05, 0.23), (0.35, 0.36), (0.68, 0.17), (0.78, 0.24)])
    petal = ellipsoid(0.085, 0.035, 0.12).moved(z=0.15)
    parts = [
        Part(outside - lathe([(0.1, 0.1), (0.35, 0.3), (0.68, 0.12), (0.79, 0.2)]), "accent", "vase"),
        Part(cylinder(0.15, 0.1, 0.0).moved(y=0.66), LEAF, "stem"),
    ]
    for lean, turn, high in (
        (4, 0, 1.5),
        (24, 20, 1.38),
        (26, 95, 1.3),
        (24, 165, 1.4),
        (27, 235, 1.3),
        (25, 305, 1.36),
    ):
        head = [Part(petal.around(7), name="flower"), Part(ball(0.085), (240, 200, 70), "centre")]
        stem = rod((0, 0.45, 0), (0, high, 0), 0.026)
        parts.append(Part(stem.moved(y=-0.45).turned(X, lean).turned(Y, turn).moved(y=0.45), LEAF, "stem"))
        parts += [
            Part(
                part.solid.moved(y=high - 0.43).turned(X, lean).turned(Y, turn).moved(y=0.45),
                part.colour,
                part.name,
            )
            for part in head
        ]
    return parts


def rose() -> list[Part]:
    """A rose: petals wound around a bud."""
    shells = [
        Part(
            lathe([(0, 0.1), (0.1, r * 0.85), (0.3, r), (h, r * 1.12)]).turned(X, 4 * k).turned(Y, 70 * k)
            - lathe([(0.05, 0.04), (0.12, r * 0.75), (0.3, r - 0.035), (h + 0.02, r * 1.05)])
            .turned(X, 4 * k)
            .turned(Y, 70 * k),
            name="petal",
        )
        for k, (r, h) in enumerate([(0.1, 0.5), (0.19, 0.46), (0.29, 0.4)])
    ]
    moved = [Part(part.solid.moved(y=1.0), part.colour, part.name) for part in shells]
    leaf = ellipsoid(0.2, 0.03, 0.1).moved(x=0.2).turned(Z, 30)
    return [
        *moved,
        Part(ball(0.12).moved(y=1.02), LEAF, "stem"),
        Part(path([(0, 0, 0), (0.03, 0.5, 0), (0, 1.0, 0)], 0.035), LEAF, "stem"),
        Part(leaf.moved(y=0.4), LEAF, "leaf"),
        Part(leaf.turned(Y, 170).moved(y=0.55), LEAF, "leaf"),
        Part(ellipsoid(0.25, 0.05, 0.25).moved(y=0.03), (96, 70, 46), "soil"),
    ]


def mushroom() -> list[Part]:
    """A toadstool with spots."""
    cap = lathe([(0.55, 0.5), (0.6, 0.56), (0.8, 0.45), (0.98, 0.2), (1.03, 0.02)])
    around = [(0, 0)] + [(38, 72 * i) for i in range(5)] + [(70, 72 * i + 36) for i in range(5)]
    spots = [
        Part(
            cylinder(0.085, 1.4, 0.0).moved(y=0.7).turned(X, lean).turned(Y, turn).moved(y=0.55),
            "accent",
            "spot",
            paint=True,
        )
        for lean, turn in around
    ]
    return [
        Part(lathe([(0, 0.22), (0.15, 0.2), (0.6, 0.14)]), (240, 232, 212), "stem"),
        Part(cap, name="cap"),
        *spots,
        Part(cylinder(0.5, 0.08).moved(y=0.54), (240, 232, 212), "gill"),
    ]


def mountain() -> list[Part]:
    """Three peaks with snow."""
    peaks = [(0, 0, 1.0, 0.8), (0.55, 0.1, 0.65, 0.6), (-0.5, 0.15, 0.55, 0.55), (0.1, 0.45, 0.4, 0.5)]
    rocks = [frustum(r, 0.02, h, 0.02).moved(x=x, z=z) for x, z, h, r in peaks]
    snow = union(cylinder(0.6, 0.6, 0.0).moved(y=0.98), cylinder(0.15, 0.4, 0.0).moved(0.55, 0.69, 0.1))
    return [Part(blend(0.1, *rocks)), Part(snow, (244, 247, 250), "snow", paint=True)]


def rock() -> list[Part]:
    """A boulder: an ellipsoid with faces cut off."""
    solid: Solid = ellipsoid(0.6, 0.45, 0.5).moved(y=0.25)
    for turn, lean, far in (
        (10, 60, 0.44),
        (95, 35, 0.37),
        (170, 65, 0.42),
        (250, 45, 0.38),
        (320, 25, 0.36),
    ):
        cut = above(far).turned(X, lean).turned(Y, turn)
        solid = solid - cut.moved(y=0.25)
    return [Part(solid - box(3, 1, 3, 0.0).moved(y=-0.5))]


def cloud() -> list[Part]:
    """A flat-bottomed cumulus."""
    puffs = [
        (0, 0.42, 0, 0.42),
        (0.45, 0.3, 0.05, 0.3),
        (-0.45, 0.32, 0, 0.32),
        (0.2, 0.3, 0.25, 0.27),
        (-0.2, 0.3, 0.24, 0.28),
        (0.75, 0.2, 0, 0.2),
        (-0.75, 0.2, 0, 0.2),
    ]
    return [Part(blend(0.08, *(ball(r).moved(x, y, z) for x, y, z, r in puffs)))]


def sun() -> list[Part]:
    """A disc with rays."""
    ray = prism([(-0.11, 0.5), (0.11, 0.5), (0, 0.85)], 0.1)
    return [
        Part(ellipsoid(0.46, 0.46, 0.2)),
        Part(union(*(ray.turned(Z, 30 * i) for i in range(12))), "accent", "ray"),
    ]


def moon() -> list[Part]:
    """A crescent."""
    return [Part(cylinder(0.6, 0.22, 0.06, Z) - cylinder(0.52, 0.6, 0.0, Z).moved(x=0.3, y=0.06))]


def star() -> list[Part]:
    """A five-pointed star."""
    return [Part(prism(star_outline(0.6, 0.26), 0.2, 0.05))]


def star_outline(outer: float, inner: float) -> list[tuple[float, float]]:
    """Corners of a five-pointed star with a tip up."""
    return [
        (
            (inner if i % 2 else outer) * math.sin(math.pi * i / 5),
            (inner if i % 2 else outer) * math.cos(math.pi * i / 5),
        )
        for i in range(10)
    ]


def planet() -> list[Part]:
    """A ringed planet."""
    ring = (cylinder(1.0, 0.05) - cylinder(0.7, 0.2)) | cylinder(0.72, 0.04)
    bands = [
        Part(cylinder(0.7, 0.1, 0.0).moved(y=y).turned(Z, 15), "accent", "band", paint=True)
        for y in (-0.25, 0.2)
    ]
    return [Part(ball(0.55)), *bands, Part(ring.turned(Z, 15), (205, 185, 150), "ring")]


TEMPLATES = (
    Template(words=("tree", "oak tree", "apple tree", "maple tree"), build=tree, main=LEAF, size_m=6,
             long_axis="y", part_words={"leaves": "leaf", "foliage": "leaf", "crown": "leaf"}),
    Template(words=("pine tree", "fir", "fir tree", "spruce", "conifer"), build=pine_tree,
             main=(38, 105, 62), size_m=8, long_axis="y", part_words={"leaves": "leaf", "needles": "leaf"}),
    Template(words=("christmas tree", "xmas tree"), build=christmas_tree, main=(38, 105, 62), size_m=2,
             long_axis="y", part_words={"balls": "bauble", "ornaments": "bauble"}),
    Template(words=("palm tree", "palm", "coconut tree"), build=palm, main=(78, 152, 66), size_m=7,
             long_axis="y", part_words={"leaves": "leaf"}),
    Template(words=("cactus", "saguaro"), build=cactus, main=(72, 140, 78), accent=POT, size_m=0.3,
             plural="cacti", long_axis="y"),
    Template(words=("potted plant", "plant", "houseplant", "house plant", "flower pot"), build=potted_plant,
             main=LEAF, accent=POT, size_m=0.5, long_axis="y", part_words={"leaves": "leaf"}),
    Template(words=("flower", "daisy", "sunflower"), build=flower, main=(244, 200, 60),
             accent=(120, 72, 34), size_m=0.4, long_axis="y", plural="daisies"),
    Template(words=("bouquet", "vase of flowers", "flowers in vase", "vase with flowers", "flower in vase"),
             build=bouquet, main=(225, 80, 120), accent=(70, 125, 175), size_m=0.45, long_axis="y"),
    Template(words=("rose",), build=rose, main=(190, 26, 48), size_m=0.4, long_axis="y"),
    Template(words=("mushroom", "toadstool"), build=mushroom, main=(196, 40, 36), accent=(244, 240, 230),
             size_m=0.12, long_axis="y", part_words={"dot": "spot"}),
    Template(words=("mountain", "hill"), build=mountain, main=(120, 112, 104), size_m=500),
    Template(words=("rock", "boulder", "pebble"), build=rock, main=(140, 136, 128), size_m=0.6),
    Template(words=("cloud",), build=cloud, main=(240, 243, 247), size_m=30),
    Template(words=("sun",), build=sun, main=(250, 205, 60), accent=(245, 165, 45), size_m=1),
    Template(words=("moon", "crescent", "crescent moon", "half moon"), build=moon, main=(244, 224, 140),
             size_m=1),
    Template(words=("star",), build=star, main=(245, 205, 60), size_m=0.4),
    Template(words=("planet", "saturn"), build=planet, main=(222, 180, 120), accent=(190, 140, 90),
             size_m=3),
)  # fmt: skip
