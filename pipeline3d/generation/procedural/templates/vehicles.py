"""Vehicles by land, water and air."""

from __future__ import annotations

from pipeline3d.generation.procedural.parts import Part, Template
from pipeline3d.generation.procedural.solids import (
    X,
    Y,
    Z,
    ball,
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

TYRE = (38, 38, 41)
HUB = (190, 192, 196)
PANE = (120, 165, 200)
STEEL = (165, 170, 176)
LIGHT = (255, 236, 170)


def _wheels(places: tuple[float, ...], track: float, radius: float, width: float = 0.16) -> list[Part]:
    """Pairs of wheels on y = 0 for a vehicle that drives towards +z: `places` are along z."""
    tyres = [cylinder(radius, width, 0.04, X).moved(track, radius, z).mirrored() for z in places]
    hubs = [cylinder(radius * 0.55, width + 0.05, 0.01, X).moved(track, radius, z).mirrored() for z in places]
    return [Part(union(*tyres), TYRE, "wheel"), Part(union(*hubs), HUB, "hub")]


def car() -> list[Part]:
    """A small car."""
    cabin = prism([(-0.62, 0), (0.5, 0), (0.22, 0.36), (-0.48, 0.36)], 0.68, 0.04).turned(Y, -90)
    panes = prism([(-0.55, 0.05), (0.4, 0.05), (0.2, 0.31), (-0.45, 0.31)], 0.71, 0.0).turned(Y, -90)
    wind = prism([(-0.7, 0.05), (0.6, 0.05), (0.2, 0.31), (-0.5, 0.31)], 0.54, 0.0).turned(Y, -90)
    pillar = box(0.8, 0.5, 0.06, 0.0).moved(y=0.7, z=-0.1)
    return [
        Part(box(0.8, 0.34, 1.8, 0.1).moved(y=0.38)),
        Part(cabin.moved(y=0.52)),
        Part(wind.moved(y=0.52), PANE, "window", paint=True),
        Part(panes.moved(y=0.52) - pillar, PANE, "window"),
        Part(ellipsoid(0.1, 0.07, 0.05).moved(0.28, 0.42, 0.88).mirrored(), LIGHT, "light"),
        Part(box(0.14, 0.08, 0.05).moved(0.28, 0.42, -0.89).mirrored(), (190, 30, 30), "light"),
        Part(box(0.82, 0.1, 1.86, 0.04).moved(y=0.24), "accent", "bumper"),
        *_wheels((0.55, -0.55), 0.36, 0.21),
    ]


def truck() -> list[Part]:
    """A lorry with a box body."""
    return [
        Part(box(0.8, 0.75, 0.55, 0.06).moved(y=0.63, z=0.85), name="cab"),
        Part(box(0.68, 0.28, 0.6, 0.02).moved(y=0.78, z=0.85), PANE, "window", paint=True),
        Part(box(0.83, 0.26, 0.26).moved(y=0.79, z=0.88), PANE, "window"),
        Part(box(0.7, 0.25, 0.04).moved(y=0.79, z=1.12), PANE, "window"),
        Part(box(0.92, 1.05, 1.55).moved(y=0.85, z=-0.3), "accent", "box"),
        Part(box(0.7, 0.14, 2.1).moved(y=0.27, z=0.02), (60, 62, 66)),
        Part(ellipsoid(0.08, 0.07, 0.05).moved(0.27, 0.38, 1.12).mirrored(), LIGHT, "light"),
        *_wheels((0.8, -0.45, -0.87), 0.38, 0.2),
    ]


def bus() -> list[Part]:
    """A bus with rows of windows."""
    windows = [box(0.92, 0.3, 0.27, 0.02).moved(y=0.78, z=-0.85 + 0.34 * i) for i in range(6)]
    return [
        Part(box(0.88, 0.95, 2.3, 0.1).moved(y=0.63)),
        *(Part(window, PANE, "window") for window in windows),
        Part(box(0.74, 0.4, 0.05).moved(y=0.78, z=1.14), PANE, "window"),
        Part(box(0.9, 0.07, 2.32, 0.02).moved(y=0.5), "accent", "stripe"),
        Part(ellipsoid(0.08, 0.07, 0.05).moved(0.28, 0.32, 1.14).mirrored(), LIGHT, "light"),
        *_wheels((0.72, -0.72), 0.38, 0.2),
    ]


def train() -> list[Part]:
    """A steam locomotive."""
    return [
        Part(cylinder(0.34, 1.3, 0.04, Z).moved(y=0.72, z=0.35), name="boiler"),
        *(Part(torus(0.34, 0.03, Z).moved(y=0.72, z=z), (212, 172, 55), "ring") for z in (0.0, 0.4, 0.8)),
        Part(box(0.78, 0.95, 0.65).moved(y=0.8, z=-0.55), "accent", "cab"),
        Part(box(0.92, 0.08, 0.8).moved(y=1.3, z=-0.55), name="roof"),
        Part(box(0.82, 0.3, 0.34).moved(y=1.0, z=-0.55), PANE, "window"),
        Part(box(0.72, 0.14, 1.9).moved(y=0.32, z=0.05), TYRE),
        Part(lathe([(0, 0.1), (0.35, 0.1), (0.4, 0.17), (0.5, 0.19)]).moved(y=0.98, z=0.75), TYRE, "chimney"),
        Part(ball(0.15).moved(y=1.05, z=0.2), (212, 172, 55), "dome"),
        Part(ball(0.1).moved(y=0.85, z=1.02), LIGHT, "light"),
        Part(
            prism([(-0.4, 0), (0.4, 0), (0.3, 0.25), (-0.3, 0.25)], 0.16).moved(y=0.06, z=1.02), (190, 40, 36)
        ),
        *_wheels((0.72, 0.25, -0.22, -0.7), 0.34, 0.22, 0.12),
    ]


def bicycle() -> list[Part]:
    """A bicycle, seen from its side along x."""
    spokes = [rod((0, 0, 0), (0, 0.34, 0), 0.012).turned(Z, 60 * i) for i in range(6)]
    wheel = union(torus(0.36, 0.035, Z))
    tubes = [
        ((-0.5, 0.36, 0), (0, 0.34, 0)),
        ((-0.5, 0.36, 0), (-0.17, 0.78, 0)),
        ((0, 0.34, 0), (-0.17, 0.78, 0)),
        ((0, 0.34, 0), (0.38, 0.78, 0)),
        ((-0.17, 0.78, 0), (0.38, 0.78, 0)),
        ((0.38, 0.86, 0), (0.52, 0.36, 0)),
        ((-0.17, 0.78, 0), (-0.2, 0.88, 0)),
    ]
    bar = path([(0.46, 0.98, 0.24), (0.36, 0.96, 0.1), (0.36, 0.96, -0.1), (0.46, 0.98, -0.24)], 0.03)
    return [
        Part(union(*(rod(a, b, 0.032) for a, b in tubes)), name="frame"),
        *(Part(wheel.moved(x=x, y=0.395), TYRE, "wheel") for x in (-0.5, 0.52)),
        *(Part(union(*spokes).moved(x=x, y=0.395), HUB, "spoke") for x in (-0.5, 0.52)),
        *(Part(cylinder(0.06, 0.12, 0.01, Z).moved(x=x, y=0.395), HUB, "hub") for x in (-0.5, 0.52)),
        Part(cylinder(0.1, 0.06, 0.01, Z).moved(y=0.34), HUB),
        Part(
            rod((0, 0.34, 0.06), (0.1, 0.24, 0.08), 0.025) | box(0.12, 0.04, 0.1).moved(0.1, 0.23, 0.11),
            TYRE,
            "pedal",
        ),
        Part(
            rod((0, 0.34, -0.06), (-0.1, 0.44, -0.08), 0.025) | box(0.12, 0.04, 0.1).moved(-0.1, 0.45, -0.11),
            TYRE,
            "pedal",
        ),
        Part(ellipsoid(0.16, 0.05, 0.08).moved(-0.22, 0.91, 0), "accent", "seat"),
        Part(bar | rod((0.38, 0.84, 0), (0.36, 0.96, 0), 0.03), HUB, "handlebar"),
    ]


def sailboat() -> list[Part]:
    """A boat with two sails."""
    hull = ellipsoid(0.34, 0.36, 0.95).moved(y=0.36) - box(3, 1, 3, 0.0).moved(y=0.84)
    inner = ellipsoid(0.27, 0.2, 0.8).moved(y=0.36)
    sail = prism([(0, 0.5), (-0.72, 0.5), (0, 1.62)], 0.045).turned(Y, -90)
    jib = prism([(0.1, 0.5), (0.78, 0.46), (0.1, 1.4)], 0.04).turned(Y, -90)
    return [
        Part(hull - inner, name="hull"),
        Part(box(0.5, 0.05, 1.3, 0.02).moved(y=0.24), (190, 150, 100), "deck"),
        Part(rod((0, 0.2, 0.05), (0, 1.72, 0.05), 0.035), (150, 104, 64), "mast"),
        Part(rod((0, 0.48, 0.05), (0, 0.48, -0.75), 0.028), (150, 104, 64), "mast"),
        Part(sail, "accent", "sail"),
        Part(jib, "accent", "sail"),
    ]


def ship() -> list[Part]:
    """A steamer with funnels."""
    outline = [(-0.95, 0.5), (-0.85, 0.05), (0.8, 0.05), (1.1, 0.58), (0.5, 0.5)]
    side = prism(outline, 0.9, 0.05).turned(Y, -90)
    hull = side & ellipsoid(0.4, 1.2, 1.25).moved(y=0.4)
    return [
        Part(hull, name="hull"),
        Part(box(2, 0.12, 3, 0.0).moved(y=0.1), "accent", "stripe", paint=True),
        Part(box(0.5, 0.22, 1.1).moved(y=0.58, z=-0.1), (240, 240, 236), "cabin"),
        Part(box(0.52, 0.08, 1.0, 0.01).moved(y=0.6, z=-0.1), PANE, "window", paint=True),
        Part(box(0.4, 0.2, 0.6).moved(y=0.78, z=0.05), (240, 240, 236), "cabin"),
        *(Part(cylinder(0.09, 0.4).moved(y=1.0, z=z), "accent", "funnel") for z in (-0.12, 0.18)),
        *(Part(cylinder(0.095, 0.1).moved(y=1.16, z=z), TYRE, "funnel") for z in (-0.12, 0.18)),
        Part(rod((0, 0.5, 0.75), (0, 1.0, 0.75), 0.022), TYRE, "mast"),
    ]


def submarine() -> list[Part]:
    """A submarine with a periscope."""
    fins = box(0.6, 0.05, 0.2).moved(y=0.4, z=-0.85) | box(0.05, 0.6, 0.2).moved(y=0.4, z=-0.85)
    return [
        Part(rod((0, 0.4, -0.65), (0, 0.4, 0.65), 0.36)),
        Part(frustum(0.25, 0.1, 0.5).turned(X, -90).moved(y=0.4, z=-0.75)),
        Part(box(0.26, 0.4, 0.5, 0.1).moved(y=0.82), name="tower"),
        Part(path([(0, 1.0, 0), (0, 1.25, 0), (0, 1.25, 0.14)], 0.045), TYRE, "periscope"),
        *(
            Part(torus(0.1, 0.03, X).moved(0.345, 0.45, z).mirrored(), "accent", "window")
            for z in (-0.4, 0, 0.4)
        ),
        *(
            Part(cylinder(0.09, 0.04, 0.01, X).moved(0.35, 0.45, z).mirrored(), PANE, "window")
            for z in (-0.4, 0, 0.4)
        ),
        Part(fins, "accent", "fin"),
    ]


def rocket() -> list[Part]:
    """A rocket with fins and a porthole."""
    body = [(0.2, 0.22), (0.3, 0.3), (0.8, 0.36), (1.3, 0.27), (1.6, 0.1), (1.7, 0.01)]
    fin = prism([(0.2, 0.55), (0.58, 0.0), (0.58, 0.28), (0.25, 0.95)], 0.06)
    return [
        Part(lathe(body)),
        Part(cylinder(0.5, 1.0, 0.0).moved(y=1.85), "accent", "nose", paint=True),
        Part(fin.around(3).turned(Y, 90), "accent", "fin"),
        Part(frustum(0.22, 0.15, 0.2).moved(y=0.05), (70, 72, 76), "nozzle"),
        Part(torus(0.13, 0.035, Z).moved(y=1.0, z=0.33), "accent", "window"),
        Part(cylinder(0.12, 0.05, 0.02, Z).moved(y=1.0, z=0.33), PANE, "window"),
    ]


def aeroplane() -> list[Part]:
    """An airliner on its wheels."""
    wing = prism([(0, -0.2), (0.95, -0.62), (0.95, -0.45), (0, 0.28)], 0.06, 0.02).turned(X, 90)
    tail = prism([(0, -0.12), (0.38, -0.28), (0.38, -0.18), (0, 0.1)], 0.04, 0.015).turned(X, 90)
    fin = prism([(-1.02, 0.55), (-0.62, 0.55), (-0.92, 1.0), (-1.07, 1.0)], 0.05).turned(Y, -90)
    body = rod((0, 0.45, -0.45), (0, 0.45, 0.75), 0.18) | rod((0, 0.45, -0.45), (0, 0.52, -1.0), 0.18, 0.06)
    engines = cylinder(0.09, 0.34, 0.03, Z).moved(0.42, 0.3, 0.06).mirrored()
    return [
        Part(body),
        Part(wing.moved(y=0.4).mirrored(), "accent", "wing"),
        Part(tail.moved(y=0.55, z=-0.88).mirrored(), "accent", "wing"),
        Part(fin, "accent", "fin"),
        Part(engines, STEEL, "engine"),
        *(
            Part(box(0.37, 0.07, 0.06, 0.01).moved(y=0.5, z=-0.4 + 0.14 * i), PANE, "window")
            for i in range(8)
        ),
        Part(ellipsoid(0.13, 0.07, 0.1).moved(y=0.54, z=0.83), PANE, "window"),
        Part(
            cylinder(0.07, 0.08, 0.02, X).moved(0.15, 0.07, -0.1).mirrored()
            | cylinder(0.07, 0.06, 0.02, X).moved(y=0.07, z=0.65),
            TYRE,
            "wheel",
        ),
        Part(
            rod((0.15, 0.07, -0.1), (0.12, 0.4, -0.1), 0.03).mirrored()
            | rod((0, 0.07, 0.65), (0, 0.4, 0.65), 0.03),
            STEEL,
        ),
    ]


def helicopter() -> list[Part]:
    """A helicopter with its rotor still."""
    skids = (
        rod((0.3, 0.05, -0.4), (0.3, 0.05, 0.45), 0.035)
        | rod((0.3, 0.05, 0.2), (0.14, 0.4, 0.15), 0.025)
        | rod((0.3, 0.05, -0.2), (0.14, 0.4, -0.15), 0.025)
    )
    blade = box(0.1, 0.03, 1.0).moved(z=0.5)
    return [
        Part(ellipsoid(0.35, 0.36, 0.5).moved(y=0.58, z=0.1)),
        Part(ellipsoid(0.33, 0.3, 0.3).moved(y=0.6, z=0.32), PANE, "window"),
        Part(rod((0, 0.65, -0.2), (0, 0.75, -1.1), 0.13, 0.06), name="tail"),
        Part(
            prism([(-1.2, 0.7), (-0.98, 0.7), (-1.1, 1.05), (-1.22, 1.05)], 0.05).turned(Y, -90),
            "accent",
            "fin",
        ),
        Part(skids.mirrored(), STEEL, "skid"),
        Part(cylinder(0.05, 0.25).moved(y=0.98), STEEL),
        Part(blade.around(4).turned(Y, 20).moved(y=1.1), "accent", "rotor"),
    ]


def balloon() -> list[Part]:
    """A hot-air balloon with its basket."""
    envelope = lathe([(0.55, 0.12), (0.8, 0.3), (1.2, 0.56), (1.5, 0.6), (1.85, 0.4), (2.0, 0.03)])
    stripes = [
        Part(
            prism([(-0.16, 0.3), (0.16, 0.3), (0.16, 2.2), (-0.16, 2.2)], 0.9, 0.0)
            .moved(z=0.45)
            .turned(Y, 60 * i),
            "accent",
            "stripe",
            paint=True,
        )
        for i in range(6)
    ]
    return [
        Part(envelope),
        *stripes,
        Part(box(0.3, 0.26, 0.3).moved(y=0.13) - box(0.22, 0.2, 0.22).moved(y=0.2), (165, 115, 65), "basket"),
        Part(rod((0.125, 0.2, 0.125), (0.1, 0.62, 0.06), 0.02).mirrored(X).mirrored(Z), (90, 70, 50), "rope"),
    ]


def ufo() -> list[Part]:
    """A flying saucer on three legs."""
    return [
        Part(ellipsoid(0.9, 0.2, 0.9).moved(y=0.5)),
        Part(ellipsoid(0.4, 0.36, 0.4).moved(y=0.58), "accent", "dome"),
        Part(ball(0.075).moved(y=0.5, z=0.85).around(10), (255, 215, 90), "light"),
        Part(rod((0, 0.45, 0.4), (0, 0.06, 0.62), 0.045).around(3), STEEL, "leg"),
    ]


TEMPLATES = (
    Template(words=("car", "automobile", "taxi", "toy car"), build=car, main=(196, 40, 36),
             accent=(60, 62, 66), size_m=4.2, long_axis="z", part_words={"tyre": "wheel", "tire": "wheel"}),
    Template(words=("truck", "lorry", "van"), build=truck, main=(45, 90, 190), accent=(235, 235, 230),
             size_m=7, long_axis="z", part_words={"tyre": "wheel", "tire": "wheel"}),
    Template(words=("bus", "school bus", "coach"), build=bus, main=(245, 190, 50), accent=(50, 50, 54),
             size_m=11, long_axis="z", plural="buses"),
    Template(words=("train", "locomotive", "steam train", "steam engine"), build=train, main=(45, 105, 75),
             accent=(190, 40, 36), size_m=10, long_axis="z"),
    Template(words=("bicycle", "bike"), build=bicycle, main=(196, 40, 36), accent=(60, 44, 36), size_m=1.7),
    Template(words=("sailboat", "sailing boat", "boat", "sail boat", "yacht"), build=sailboat,
             main=(45, 90, 170), accent=(244, 242, 234), size_m=7, long_axis="z"),
    Template(words=("ship", "steamer", "ocean liner", "cruise ship"), build=ship, main=(40, 48, 72),
             accent=(190, 50, 40), size_m=100, long_axis="z"),
    Template(words=("submarine",), build=submarine, main=(240, 200, 60), accent=(190, 155, 75), size_m=40,
             long_axis="z"),
    Template(words=("rocket", "spaceship", "space rocket", "spacecraft"), build=rocket,
             main=(238, 238, 240), accent=(200, 44, 40), size_m=30, long_axis="y"),
    Template(words=("airplane", "aeroplane", "plane", "aircraft", "jet", "airliner"), build=aeroplane,
             main=(240, 241, 243), accent=(70, 110, 175), size_m=35, long_axis="z"),
    Template(words=("helicopter", "chopper"), build=helicopter, main=(60, 130, 80), accent=(60, 62, 66),
             size_m=12, long_axis="z"),
    Template(words=("hot air balloon", "air balloon", "balloon"), build=balloon, main=(200, 44, 40),
             accent=(245, 205, 70), size_m=20, long_axis="y"),
    Template(words=("ufo", "flying saucer"), build=ufo, main=(165, 170, 178), accent=(110, 205, 170),
             size_m=10),
)  # fmt: skip
