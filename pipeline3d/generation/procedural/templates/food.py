"""Fruit, vegetables, pastry and other food."""

from __future__ import annotations

import math

from pipeline3d.generation.procedural.parts import Part, Template
from pipeline3d.generation.procedural.solids import (
    Solid,
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

STEM = (98, 66, 40)
LEAF = (72, 150, 62)
DOUGH = (205, 150, 88)


def _leaf() -> Solid:
    """A small leaf from the origin towards +x, slightly raised."""
    return ellipsoid(0.17, 0.025, 0.085).moved(x=0.16).turned(Z, 25)


def apple() -> list[Part]:
    """An apple with a stalk and a leaf."""
    body = lathe(
        [
            (0.0, 0.16),
            (0.03, 0.27),
            (0.18, 0.42),
            (0.45, 0.5),
            (0.66, 0.47),
            (0.8, 0.36),
            (0.87, 0.22),
            (0.88, 0.1),
        ]
    )
    return [
        Part(body - ellipsoid(0.17, 0.14, 0.17).moved(y=0.92)),
        Part(path([(0, 0.7, 0), (0.02, 0.9, 0), (0.07, 1.06, 0)], 0.032), STEM, "stem"),
        Part(_leaf().moved(x=0.03, y=0.93), LEAF, "leaf"),
    ]


def pear() -> list[Part]:
    """A pear with a stalk."""
    body = lathe([(0, 0.12), (0.05, 0.26), (0.3, 0.43), (0.6, 0.34), (0.85, 0.2), (1.0, 0.15), (1.06, 0.04)])
    return [
        Part(body),
        Part(path([(0, 1.0, 0), (0.02, 1.12, 0), (0.07, 1.24, 0)], 0.03), STEM, "stem"),
        Part(_leaf().moved(x=0.01, y=1.1), LEAF, "leaf"),
    ]


def orange() -> list[Part]:
    """An orange with its calyx."""
    return [
        Part(ellipsoid(0.5, 0.47, 0.5).moved(y=0.47)),
        Part(cylinder(0.06, 0.05).moved(y=0.94), LEAF, "stem"),
        Part(_leaf().moved(y=0.93), LEAF, "leaf"),
    ]


def lemon() -> list[Part]:
    """A lemon on its side."""
    tips = lathe(
        [(-0.62, 0.02), (-0.55, 0.09), (-0.4, 0.22), (0, 0.37), (0.4, 0.22), (0.55, 0.09), (0.62, 0.02)]
    )
    return [Part(tips.turned(Z, 90).moved(y=0.37))]


def banana() -> list[Part]:
    """A bent banana lying on its side."""
    arc = [math.radians(-62 + 124 * i / 12) for i in range(13)]
    places = [(0.75 * math.sin(a), 0.17, 0.75 * math.cos(a) - 0.55) for a in arc]
    radii = [0.17 * (1 - 0.6 * abs(i / 6 - 1) ** 3) for i in range(13)]
    pieces = [rod(places[i], places[i + 1], radii[i], radii[i + 1]) for i in range(12)]
    (x, y, z), (tip_x, tip_y, tip_z) = places[0], places[-1]
    return [
        Part(union(*pieces)),
        Part(rod((x, y, z), (x - 0.08, y + 0.03, z - 0.2), 0.055, 0.05), (150, 130, 50), "stem"),
        Part(ball(0.06).moved(tip_x + 0.02, tip_y, tip_z - 0.035), (80, 60, 36), "tip"),
    ]


def cherry() -> list[Part]:
    """Two cherries on their stalks."""
    return [
        Part(ball(0.26).moved(-0.3, 0.26, 0) | ball(0.26).moved(0.3, 0.26, 0.08)),
        Part(path([(-0.3, 0.48, 0), (-0.22, 0.8, 0), (0.05, 1.1, 0)], 0.028), LEAF, "stem"),
        Part(path([(0.3, 0.48, 0.08), (0.25, 0.8, 0.04), (0.05, 1.1, 0)], 0.028), LEAF, "stem"),
        Part(_leaf().moved(x=0.03, y=1.07), LEAF, "leaf"),
    ]


def strawberry() -> list[Part]:
    """A strawberry with seeds and leaves."""
    body = lathe([(0, 0.02), (0.06, 0.13), (0.35, 0.33), (0.62, 0.43), (0.8, 0.33), (0.86, 0.1)])
    seeds = [
        Part(cylinder(0.026, 0.6, 0.0, Z).moved(y=y, z=0.3).turned(Y, turn), "accent", "seed", paint=True)
        for row, y in enumerate((0.22, 0.36, 0.5, 0.64))
        for turn in [360 * i / 9 + 20 * (row % 2) for i in range(9)]
    ]
    crown = ellipsoid(0.2, 0.03, 0.08).moved(x=0.17).turned(Z, -15).around(6)
    return [
        Part(body),
        *seeds,
        Part(crown.moved(y=0.88), LEAF, "leaf"),
        Part(rod((0, 0.85, 0), (0.04, 1.05, 0), 0.035), LEAF, "stem"),
    ]


def watermelon() -> list[Part]:
    """A slice of watermelon with seeds."""
    half = cylinder(0.8, 0.3, 0.02, Z) - box(3, 2, 1, 0.0).moved(y=1.0)
    flesh = cylinder(0.68, 0.5, 0.0, Z)
    rind = cylinder(0.73, 0.5, 0.0, Z)
    seeds = [
        Part(ellipsoid(0.035, 0.055, 0.4).moved(x, y, 0), (40, 30, 28), "seed", paint=True)
        for x, y in (
            (-0.4, -0.15),
            (-0.15, -0.22),
            (0.1, -0.18),
            (0.36, -0.16),
            (-0.02, -0.42),
            (0.24, -0.4),
            (-0.28, -0.4),
        )
    ]
    return [
        Part(half, (48, 120, 56), "rind"),
        Part(rind, (225, 235, 200), paint=True),
        Part(flesh, "main", "flesh", paint=True),
        *seeds,
    ]


def pineapple() -> list[Part]:
    """A pineapple with its crown."""
    studs = [
        Part(ellipsoid(0.075, 0.075, 0.05).moved(y=y, z=r).turned(Y, turn))
        for row, (y, r) in enumerate(((0.12, 0.3), (0.27, 0.35), (0.42, 0.37), (0.57, 0.36), (0.72, 0.32)))
        for turn in [360 * i / 12 + 15 * (row % 2) for i in range(12)]
    ]
    blade = ellipsoid(0.07, 0.27, 0.03).moved(y=0.22)
    crown = [blade.turned(X, lean).around(n).turned(Y, lean) for lean, n in ((5, 3), (24, 6), (46, 7))]
    return [
        Part(lathe([(0, 0.2), (0.1, 0.3), (0.42, 0.38), (0.75, 0.32), (0.88, 0.15)])),
        *studs,
        Part(union(*crown).moved(y=0.84), LEAF, "leaf"),
    ]


def carrot() -> list[Part]:
    """A carrot lying, with its greens."""
    root = lathe([(0, 0.02), (0.08, 0.06), (0.7, 0.15), (1.1, 0.19), (1.2, 0.1)]).turned(Z, -90)
    tuft = rod((0, 0, 0), (0.45, 0.12, 0), 0.035, 0.055)
    greens = [tuft.turned(X, 72 * i) for i in range(5)]
    return [
        Part(root.moved(x=-0.6)),
        Part(union(*greens).moved(x=0.56), LEAF, "leaf"),
    ]


def pumpkin() -> list[Part]:
    """A ribbed pumpkin."""
    rib = ellipsoid(0.26, 0.4, 0.3).moved(z=0.28).around(9)
    return [
        Part(rib.moved(y=0.4) | ellipsoid(0.35, 0.33, 0.35).moved(y=0.4)),
        Part(path([(0, 0.65, 0), (0.02, 0.85, 0), (0.12, 0.98, 0)], 0.07, 0.05), (96, 120, 56), "stem"),
    ]


def egg() -> list[Part]:
    """An egg, the blunt end down."""
    return [
        Part(
            lathe(
                [(0, 0.04), (0.03, 0.14), (0.15, 0.29), (0.45, 0.4), (0.75, 0.3), (0.95, 0.12), (1.0, 0.02)]
            )
        )
    ]


def donut() -> list[Part]:
    """A doughnut with icing and sprinkles."""
    icing = torus(0.45, 0.225) - box(3, 1, 3, 0.0).moved(y=-0.46)
    colours = [(240, 220, 80), (90, 170, 220), (240, 240, 238), (110, 190, 100)]
    places = [(0.45 + 0.09 * ((i * 7) % 5 - 2) / 2, 137.5 * i) for i in range(26)]
    sprinkles = [
        Part(
            rod((-0.045, 0, 0), (0.045, 0, 0), 0.021)
            .turned(Y, 77 * i)
            .moved(y=0.225 - 1.6 * (r - 0.45) ** 2, z=r)
            .turned(Y, turn),
            colours[i % 4],
            "sprinkle",
        )
        for i, (r, turn) in enumerate(places)
    ]
    return [Part(torus(0.45, 0.2), DOUGH, "dough"), Part(icing, name="icing"), *sprinkles]


def cake() -> list[Part]:
    """A two-layer cake with candles."""
    drops = ellipsoid(0.09, 0.15, 0.06).moved(y=0.42, z=0.61).around(12)
    candle = rod((0, 0.75, 0.22), (0, 0.98, 0.22), 0.03)
    flame = ellipsoid(0.035, 0.07, 0.035).moved(y=1.07, z=0.22)
    return [
        Part(cylinder(0.85, 0.05).moved(y=0.025), (240, 240, 238), "plate"),
        Part(cylinder(0.62, 0.46, 0.03).moved(y=0.27), (196, 136, 82), "dough"),
        Part(cylinder(0.645, 0.1, 0.04).moved(y=0.49), name="icing"),
        Part(drops, name="icing"),
        Part(cylinder(0.4, 0.24, 0.04).moved(y=0.64), name="icing"),
        Part(candle.around(5), "accent", "candle"),
        Part(flame.around(5), (250, 170, 40), "flame"),
    ]


def cupcake() -> list[Part]:
    """A cupcake with a swirl and a cherry."""
    swirl = [torus(r, 0.13).moved(y=y) for y, r in ((0.5, 0.3), (0.65, 0.22), (0.79, 0.13))]
    return [
        Part(frustum(0.28, 0.42, 0.45, 0.02), "accent", "paper"),
        Part(blend(0.03, *swirl, ellipsoid(0.22, 0.35, 0.22).moved(y=0.6)), name="icing"),
        Part(ball(0.1).moved(y=1.0), (190, 26, 48), "cherry"),
    ]


def ice_cream() -> list[Part]:
    """Two scoops in a cone."""
    return [
        Part(frustum(0.05, 0.32, 0.9, 0.02), (212, 160, 95), "cone"),
        Part(blend(0.04, ball(0.36).moved(y=1.02), torus(0.3, 0.08).moved(y=0.92)), name="scoop"),
        Part(ball(0.29).moved(y=1.45), "accent", "scoop"),
    ]


def burger() -> list[Part]:
    """A hamburger with its layers."""
    top = ellipsoid(0.62, 0.42, 0.62) - box(3, 1, 3, 0.0).moved(y=-0.5)
    seeds = ellipsoid(0.04, 0.025, 0.025)
    leaf = blend(0.03, cylinder(0.62, 0.05), ball(0.09).moved(x=0.62).around(14))
    return [
        Part(cylinder(0.6, 0.2, 0.09).moved(y=0.1), "main", "bun"),
        Part(cylinder(0.64, 0.18, 0.08).moved(y=0.29), (92, 54, 34), "patty"),
        Part(box(1.0, 0.04, 1.0, 0.015).moved(y=0.4).turned(Y, 20), (245, 190, 60), "cheese"),
        Part(cylinder(0.57, 0.09, 0.04).moved(y=0.46), (205, 50, 40), "tomato"),
        Part(leaf.moved(y=0.53), (110, 175, 70), "lettuce"),
        Part(top.moved(y=0.56), "main", "bun"),
        *(
            Part(
                seeds.moved(y=0.56 + 0.42 * (1 - (r / 0.62) ** 2) ** 0.5, z=r).turned(Y, 137.5 * i),
                (245, 232, 200),
                "seed",
            )
            for i, r in enumerate((0.15, 0.17, 0.27, 0.29, 0.31, 0.4, 0.41, 0.42, 0.43))
        ),
    ]


def pizza() -> list[Part]:
    """A pizza with a slice's worth of salami on each part."""
    salami = [
        Part(cylinder(0.105, 0.05).moved(y=0.105, z=r).turned(Y, turn), (168, 50, 42), "salami")
        for r, turn in [(0.12, 30)]
        + [(0.36, 60 * i) for i in range(6)]
        + [(0.58, 40 * i + 12) for i in range(9)]
    ]
    return [
        Part(cylinder(0.8, 0.08, 0.03).moved(y=0.04), DOUGH, "crust"),
        Part(torus(0.76, 0.07).moved(y=0.07), DOUGH, "crust"),
        Part(cylinder(0.72, 0.1, 0.02).moved(y=0.05), name="cheese"),
        *salami,
    ]


def cheese() -> list[Part]:
    """A wedge of cheese with holes."""
    wedge = prism([(-0.7, -0.3), (0.6, -0.42), (0.6, 0.42)], 0.5, 0.02).turned(X, 90).moved(y=0.25)
    places = [
        (0.1, 0.42, 0.3, 0.13),
        (0.45, 0.5, -0.1, 0.11),
        (0.6, 0.2, 0.1, 0.12),
        (-0.15, 0.15, 0.22, 0.09),
        (0.35, 0.12, 0.42, 0.09),
        (0.15, 0.52, -0.12, 0.08),
        (0.62, 0.36, -0.22, 0.08),
    ]
    return [Part(wedge - union(*(ball(r).moved(x, y, z) for x, y, z, r in places)))]


def bread() -> list[Part]:
    """A loaf with slashes."""
    loaf = ellipsoid(0.85, 0.42, 0.42).moved(y=0.28) - box(3, 1, 3, 0.0).moved(y=-0.5)
    slashes = [
        Part(box(0.1, 1.0, 0.5, 0.0).turned(Y, 30).moved(x=x, y=0.95), "accent", "slash", paint=True)
        for x in (-0.45, -0.15, 0.15, 0.45)
    ]
    return [Part(loaf), *slashes]


TEMPLATES = (
    Template(words=("apple",), build=apple, main=(196, 40, 36), size_m=0.08),
    Template(words=("pear",), build=pear, main=(190, 195, 70), size_m=0.1, long_axis="y"),
    Template(words=("orange", "tangerine", "mandarin"), build=orange, main=(240, 140, 30), size_m=0.08),
    Template(words=("lemon",), build=lemon, main=(245, 215, 60), size_m=0.09),
    Template(words=("banana",), build=banana, main=(245, 210, 70), size_m=0.19),
    Template(words=("cherry",), build=cherry, main=(180, 20, 42), size_m=0.05, plural="cherries"),
    Template(words=("strawberry",), build=strawberry, main=(205, 36, 42), accent=(245, 215, 120),
             size_m=0.04, plural="strawberries"),
    Template(words=("watermelon", "melon", "watermelon slice", "slice of watermelon"), build=watermelon,
             main=(225, 62, 68), size_m=0.3),
    Template(words=("pineapple", "ananas"), build=pineapple, main=(222, 165, 60), size_m=0.3, long_axis="y"),
    Template(words=("carrot",), build=carrot, main=(240, 130, 40), size_m=0.2),
    Template(words=("pumpkin", "squash"), build=pumpkin, main=(235, 125, 35), size_m=0.35),
    Template(words=("egg",), build=egg, main=(236, 214, 184), size_m=0.06, long_axis="y"),
    Template(words=("donut", "doughnut"), build=donut, main=(240, 150, 180), size_m=0.1),
    Template(words=("cake", "birthday cake"), build=cake, main=(245, 190, 205), accent=(90, 150, 210),
             size_m=0.3),
    Template(words=("cupcake", "muffin", "cup cake"), build=cupcake, main=(240, 170, 195),
             accent=(120, 180, 200), size_m=0.09),
    Template(words=("ice cream", "ice cream cone", "icecream", "gelato"), build=ice_cream,
             main=(245, 170, 190), accent=(250, 240, 215), size_m=0.2, long_axis="y", part_words={"ball":
             "scoop"}),
    Template(words=("burger", "hamburger", "cheeseburger"), build=burger, main=DOUGH, size_m=0.12),
    Template(words=("pizza",), build=pizza, main=(245, 200, 100), size_m=0.32),
    Template(words=("cheese", "piece of cheese", "slice of cheese"), build=cheese, main=(245, 195, 70),
             size_m=0.15),
    Template(words=("bread", "loaf", "loaf of bread"), build=bread, main=(190, 125, 66),
             accent=(232, 196, 145), size_m=0.3, plural="loaves"),
)  # fmt: skip
