"""Animals without four legs to stand on, simple ones."""

from __future__ import annotations

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
    path,
    prism,
    rod,
    torus,
    union,
)

BLACK = (30, 30, 33)
WHITE = (244, 243, 240)
PINK = (235, 150, 155)
BEAK = (240, 150, 40)


def rabbit() -> list[Part]:
    """A sitting rabbit."""
    ear = ellipsoid(0.07, 0.27, 0.045).turned(Z, -10).moved(0.12, 1.12, 0.12)
    inner = ellipsoid(0.04, 0.2, 0.03).turned(Z, -10).moved(0.12, 1.12, 0.15)
    body = blend(
        0.08,
        ellipsoid(0.28, 0.34, 0.32).moved(y=0.33, z=-0.06),
        ball(0.24).moved(y=0.74, z=0.13),
        rod((0.13, 0.35, 0.15), (0.13, 0.08, 0.28), 0.08).mirrored(),
        ellipsoid(0.12, 0.17, 0.2).moved(0.22, 0.2, -0.05).mirrored(),
    )
    return [
        Part(body),
        Part(ear.mirrored(), name="ear"),
        Part(inner.mirrored(), PINK, "ear"),
        Part(ball(0.11).moved(y=0.2, z=-0.38), WHITE, "tail"),
        Part(ball(0.04).moved(0.11, 0.8, 0.33).mirrored(), BLACK, "eye"),
        Part(ball(0.04).moved(0, 0.72, 0.37), PINK, "nose"),
        Part(ellipsoid(0.09, 0.05, 0.16).moved(0.16, 0.05, 0.2).mirrored(), name="foot"),
    ]


def fish() -> list[Part]:
    """A fish seen from its side."""
    tail = prism([(-0.5, 0.5), (-0.95, 0.85), (-0.85, 0.5), (-0.95, 0.15)], 0.07)
    fin = prism([(-0.2, 0.75), (0.25, 0.8), (0.0, 1.02), (-0.25, 0.98)], 0.06)
    side = ellipsoid(0.15, 0.08, 0.04).turned(Z, 25).turned(Y, 35).moved(0.02, 0.42, 0.27)
    return [
        Part(ellipsoid(0.65, 0.37, 0.25).moved(y=0.5)),
        *(Part(box(0.09, 2, 2, 0.0).moved(x=x), "accent", "stripe", paint=True) for x in (0.18, -0.1, -0.35)),
        Part(tail, "accent", "tail"),
        Part(fin, "accent", "fin"),
        Part(prism([(-0.15, 0.2), (0.15, 0.17), (-0.1, 0.0)], 0.05), "accent", "fin"),
        Part(side.mirrored(Z), "accent", "fin"),
        Part(ball(0.085).moved(0.42, 0.58, 0.14).mirrored(Z), WHITE, "eye"),
        Part(ball(0.05).moved(0.45, 0.59, 0.19).mirrored(Z), BLACK, "eye"),
    ]


def whale() -> list[Part]:
    """A whale with its flukes up."""
    body = blend(
        0.15,
        ellipsoid(0.45, 0.4, 0.65).moved(y=0.42, z=0.2),
        path([(0, 0.4, -0.2), (0, 0.42, -0.7), (0, 0.7, -1.0)], 0.3, 0.09),
    )
    belly = box(3, 0.46, 3, 0.0)
    fluke = ellipsoid(0.28, 0.05, 0.13).turned(Y, 25).moved(0.22, 0.75, -1.05)
    fin = ellipsoid(0.25, 0.05, 0.12).turned(Z, -20).turned(Y, 20).moved(0.52, 0.22, 0.2)
    return [
        Part(body),
        Part(belly, "accent", "belly", paint=True),
        Part(fluke.mirrored(), name="tail"),
        Part(fin.mirrored(), name="fin"),
        Part(ball(0.05).moved(0.38, 0.5, 0.55).mirrored(), BLACK, "eye"),
        Part(
            path([(0, 0.78, 0.3), (0, 0.98, 0.3)], 0.04)
            | path([(0, 0.95, 0.3), (0.08, 1.1, 0.3), (0.18, 1.06, 0.3)], 0.035).mirrored(),
            (150, 200, 230),
            "spout",
        ),
    ]


def duck() -> list[Part]:
    """A rubber duck."""
    body = blend(
        0.08,
        ellipsoid(0.4, 0.3, 0.52).moved(y=0.3),
        ball(0.28).moved(y=0.75, z=0.28),
        rod((0, 0.35, -0.4), (0, 0.56, -0.62), 0.15, 0.05),
    )
    beak = ellipsoid(0.14, 0.05, 0.17).moved(y=0.7, z=0.56)
    return [
        Part(body - box(3, 1, 3, 0.0).moved(y=-0.48)),
        Part(beak, BEAK, "beak"),
        Part(ball(0.05).moved(0.13, 0.83, 0.5).mirrored(), BLACK, "eye"),
        Part(ellipsoid(0.09, 0.17, 0.28).turned(X, 15).moved(0.37, 0.38, -0.08).mirrored(), name="wing"),
    ]


def penguin() -> list[Part]:
    """A penguin with a white belly."""
    body = blend(0.1, ellipsoid(0.36, 0.5, 0.33).moved(y=0.52), ball(0.26).moved(y=1.05))
    flipper = ellipsoid(0.07, 0.34, 0.13).turned(Z, 16).moved(0.4, 0.6, 0)
    return [
        Part(body),
        Part(ellipsoid(0.26, 0.42, 0.3).moved(y=0.48, z=0.22), "accent", "belly", paint=True),
        Part(ball(0.14).moved(0.09, 1.06, 0.22).mirrored(), "accent", "face", paint=True),
        Part(flipper.mirrored(), name="wing"),
        Part(frustum(0.08, 0.01, 0.2).turned(X, 90).moved(y=1.02, z=0.22), BEAK, "beak"),
        Part(ball(0.035).moved(0.09, 1.12, 0.235).mirrored(), BLACK, "eye"),
        Part(ellipsoid(0.14, 0.05, 0.2).moved(0.16, 0.05, 0.14).mirrored(), BEAK, "foot"),
    ]


def owl() -> list[Part]:
    """An owl on a branch stump."""
    eye = cylinder(0.14, 0.1, 0.03, Z).moved(0.15, 1.08, 0.26)
    return [
        Part(
            blend(0.1, ellipsoid(0.36, 0.46, 0.32).moved(y=0.62), ellipsoid(0.33, 0.28, 0.29).moved(y=1.05))
        ),
        Part(ellipsoid(0.24, 0.34, 0.3).moved(y=0.58, z=0.2), "accent", "belly", paint=True),
        Part(frustum(0.1, 0.01, 0.2).turned(Z, -20).moved(0.2, 1.22, 0).mirrored(), name="ear"),
        Part(eye.mirrored(), WHITE, "eye"),
        Part(ball(0.075).moved(0.15, 1.08, 0.3).mirrored(), BLACK, "eye"),
        Part(frustum(0.06, 0.01, 0.16).turned(X, 130).moved(y=1.02, z=0.27), BEAK, "beak"),
        Part(ellipsoid(0.08, 0.35, 0.2).turned(Z, 10).moved(0.35, 0.62, -0.03).mirrored(), name="wing"),
        Part(cylinder(0.4, 0.2, 0.03).moved(y=0.1), (112, 76, 48), "stump"),
    ]


def turtle() -> list[Part]:
    """A turtle."""
    shell = ellipsoid(0.5, 0.4, 0.58).moved(y=0.2) - box(3, 1, 3, 0.0).moved(y=-0.32)
    plates = [(0, 0), *((45, 60 * i) for i in range(6))]
    return [
        Part(shell, "accent", "shell"),
        *(
            Part(
                torus(0.16, 0.03).moved(y=0.5).turned(X, a).turned(Y, b).moved(y=0.1),
                (70, 80, 40),
                "plate",
                paint=True,
            )
            for a, b in plates
        ),
        Part(torus(0.5, 0.06).moved(y=0.2), (120, 110, 60), "shell"),
        Part(rod((0, 0.2, 0.45), (0, 0.36, 0.72), 0.11, 0.1) | ball(0.16).moved(y=0.4, z=0.78), name="head"),
        Part(ball(0.03).moved(0.1, 0.47, 0.88).mirrored(), BLACK, "eye"),
        Part(
            ellipsoid(0.14, 0.12, 0.12).moved(0.42, 0.12, 0.36).mirrored()
            | ellipsoid(0.14, 0.12, 0.12).moved(0.42, 0.12, -0.36).mirrored(),
            name="leg",
        ),
        Part(frustum(0.08, 0.01, 0.25).turned(X, -100).moved(y=0.15, z=-0.52), name="tail"),
    ]


def snail() -> list[Part]:
    """A snail, its shell a disc of shrinking rings."""
    spiral = [
        torus(0.27, 0.12, X).moved(y=0.5, z=-0.1),
        torus(0.13, 0.13, X).moved(0, 0.5, -0.1),
        ball(0.16).moved(y=0.5, z=-0.1),
    ]
    body = blend(
        0.08, rod((0, 0.1, -0.6), (0, 0.1, 0.4), 0.05, 0.13), rod((0, 0.12, 0.4), (0, 0.42, 0.6), 0.13, 0.12)
    )
    horn = rod((0.05, 0.48, 0.62), (0.1, 0.72, 0.7), 0.025)
    return [
        Part(body, name="body"),
        *(Part(solid, "accent", "shell") for solid in spiral),
        Part(torus(0.2, 0.035, X).moved(0.105, 0.5, -0.1).mirrored(), (120, 70, 40), "shell"),
        Part(horn.mirrored(), name="horn"),
        Part(ball(0.045).moved(0.1, 0.73, 0.7).mirrored(), BLACK, "eye"),
    ]


def ladybird() -> list[Part]:
    """A ladybird with seven spots."""
    wings = ellipsoid(0.5, 0.42, 0.58).moved(y=0.12) - box(3, 1, 3, 0.0).moved(y=-0.42)
    spots = [(0.0, 0.3), (0.26, 0.2), (0.3, -0.12), (0.2, -0.38)]
    legs = [rod((0.35, 0.14, z), (0.62, 0.03, z * 1.25), 0.03) for z in (-0.3, 0.0, 0.3)]
    return [
        Part(wings),
        *(
            Part(cylinder(0.1, 3, 0.0).moved(x=x, z=z).mirrored(), BLACK, "spot", paint=True)
            for x, z in spots
        ),
        Part(box(0.03, 3, 3, 0.0), BLACK, paint=True),
        Part(ball(0.24).moved(y=0.18, z=0.55), BLACK, "head"),
        Part(ball(0.07).moved(0.14, 0.28, 0.7).mirrored(), WHITE, "eye"),
        Part(rod((0.07, 0.36, 0.65), (0.17, 0.58, 0.8), 0.02).mirrored(), BLACK, "antenna"),
        Part(union(*legs).mirrored(), BLACK, "leg"),
    ]


def snake() -> list[Part]:
    """A snake in bends."""
    places = [
        (-0.3, 0.06, -0.9),
        (0.25, 0.07, -0.65),
        (-0.25, 0.09, -0.3),
        (0.25, 0.1, 0.05),
        (-0.15, 0.1, 0.35),
        (0.05, 0.16, 0.6),
        (0.05, 0.36, 0.72),
    ]
    return [
        Part(blend(0.04, path(places, 0.045, 0.11), ellipsoid(0.13, 0.1, 0.19).moved(0.05, 0.44, 0.8))),
        *(Part(ball(0.14).moved(*p), "accent", "spot", paint=True) for p in places[1:6]),
        Part(ball(0.035).moved(0.08, 0.5, 0.88).mirrored().moved(x=0.05), BLACK, "eye"),
        Part(rod((0.05, 0.42, 0.95), (0.05, 0.41, 1.12), 0.02), (200, 40, 50), "tongue"),
    ]


TEMPLATES = (
    Template(words=("rabbit", "bunny", "hare"), build=rabbit, main=(190, 165, 140), size_m=0.35,
             plural="bunnies"),
    Template(words=("fish", "goldfish", "clownfish"), build=fish, main=(240, 125, 40),
             accent=(248, 235, 220), size_m=0.25, plural="fishes"),
    Template(words=("whale",), build=whale, main=(70, 115, 165), accent=(232, 238, 242), size_m=15,
             long_axis="z"),
    Template(words=("duck", "rubber duck", "duckling"), build=duck, main=(250, 208, 55), size_m=0.3,
             long_axis="z"),
    Template(words=("penguin",), build=penguin, main=(42, 46, 58), accent=(246, 246, 244), size_m=0.8,
             long_axis="y"),
    Template(words=("owl",), build=owl, main=(130, 92, 60), accent=(222, 196, 155), size_m=0.4,
             long_axis="y"),
    Template(words=("turtle", "tortoise"), build=turtle, main=(110, 160, 80), accent=(105, 120, 58),
             size_m=0.5, long_axis="z"),
    Template(words=("snail",), build=snail, main=(205, 180, 130), accent=(170, 105, 60), size_m=0.06,
             long_axis="z"),
    Template(words=("ladybird", "ladybug", "beetle"), build=ladybird, main=(205, 36, 36), size_m=0.01,
             long_axis="z"),
    Template(words=("snake", "serpent"), build=snake, main=(90, 150, 70), accent=(60, 105, 52), size_m=1.2,
             long_axis="z"),
)  # fmt: skip
