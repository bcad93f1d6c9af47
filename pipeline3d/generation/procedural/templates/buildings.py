"""Buildings."""

from __future__ import annotations

from pipeline3d.generation.procedural.parts import Part, Template
from pipeline3d.generation.procedural.solids import (
    Solid,
    X,
    Y,
    Z,
    ball,
    box,
    cylinder,
    frustum,
    prism,
    rod,
    union,
)

ROOF = (160, 62, 45)
DOOR = (100, 65, 42)
PANE = (120, 170, 205)
DARK = (48, 46, 48)


def _gable(width: float, height: float, depth: float) -> Solid:
    """A saddle roof on y = 0, its ridge along z."""
    return prism([(-width / 2, 0), (width / 2, 0), (0, height)], depth, 0.02)


def house() -> list[Part]:
    """A house with a saddle roof, a door, windows and a chimney."""
    windows = [box(0.2, 0.22, 0.9, 0.01).moved(0.3, y, 0).mirrored() for y in (0.5,)]
    return [
        Part(box(1.0, 0.75, 0.8).moved(y=0.375), name="wall"),
        Part(_gable(1.24, 0.58, 0.98).moved(y=0.72), ROOF, "roof"),
        Part(box(0.14, 0.5, 0.14).moved(0.3, 1.1, -0.15), (140, 80, 65), "chimney"),
        Part(box(0.2, 0.42, 0.06).moved(y=0.21, z=0.4), DOOR, "door"),
        Part(ball(0.022).moved(0.06, 0.21, 0.435), (212, 172, 55)),
        *(Part(window.moved() & box(2, 2, 0.86, 0.0), PANE, "window") for window in windows),
        Part(box(0.3, 0.2, 0.2, 0.01).moved(y=0.56).turned(Y, 90).moved(x=0.42).mirrored(), PANE, "window"),
    ]


def castle() -> list[Part]:
    """Four towers, walls with battlements, a gate."""
    tower = (
        union(cylinder(0.2, 1.0).moved(0.6, 0.5, 0.6), cylinder(0.24, 0.14).moved(0.6, 1.0, 0.6))
        .mirrored(X)
        .mirrored(Z)
    )
    roofs = frustum(0.26, 0.0, 0.4).moved(0.6, 1.07, 0.6).mirrored(X).mirrored(Z)
    wall = box(1.3, 0.6, 1.3) - box(1.1, 1, 1.1).moved(y=0.25)
    notches = [
        box(0.12, 0.14, 1.28).moved(x=x, y=0.64) - box(2, 1, 1.12).moved(y=0.6) for x in (-0.28, -0.04, 0.2)
    ]
    teeth = union(*notches, *(notch.turned(Y, 90) for notch in notches)).moved(x=0.0)
    gate = union(box(0.3, 0.3, 0.1).moved(y=0.15), cylinder(0.15, 0.1, 0.0, Z).moved(y=0.3)).moved(z=0.63)
    keep = box(0.5, 1.05, 0.5).moved(y=0.52)
    return [
        Part(wall.moved(y=0.3), name="wall"),
        Part(teeth, name="wall"),
        Part(tower, name="tower"),
        Part(keep, name="wall"),
        Part(frustum(0.42, 0.0, 0.42).moved(y=1.03), "accent", "roof"),
        Part(roofs, "accent", "roof"),
        Part(gate, DOOR, "gate"),
        Part(rod((0, 1.4, 0), (0, 1.68, 0), 0.02), DARK, "flag"),
        Part(box(0.24, 0.14, 0.04, 0.01).moved(x=0.12, y=1.6), (196, 40, 36), "flag"),
    ]


def tower() -> list[Part]:
    """A round tower with battlements."""
    merlons = box(0.16, 0.18, 0.14).moved(y=1.72, z=0.36).around(8)
    window = box(0.12, 0.24, 0.1).moved(z=0.36)
    return [
        Part(frustum(0.44, 0.34, 1.5, 0.01)),
        Part(cylinder(0.43, 0.2).moved(y=1.55) - cylinder(0.32, 0.2).moved(y=1.63)),
        Part(merlons),
        Part(box(0.24, 0.42, 0.2).moved(y=0.2, z=0.36), DOOR, "door"),
        Part(window.moved(y=0.8), DARK, "window"),
        Part(window.moved(y=1.2, z=-0.02), DARK, "window"),
    ]


def lighthouse() -> list[Part]:
    """A striped tower with a lantern."""
    bands = [
        Part(cylinder(0.6, 0.25, 0.0).moved(y=y), "accent", "stripe", paint=True) for y in (0.45, 0.95, 1.45)
    ]
    return [
        Part(cylinder(0.6, 0.12).moved(y=0.06), (145, 142, 135), "base"),
        Part(frustum(0.42, 0.24, 1.7, 0.01).moved(y=0.08)),
        *bands,
        Part(cylinder(0.36, 0.08).moved(y=1.8), DARK),
        Part(cylinder(0.17, 0.32).moved(y=1.98), (255, 225, 120), "light"),
        Part(frustum(0.26, 0.0, 0.26).moved(y=2.12), "accent", "roof"),
        Part(box(0.18, 0.32, 0.2).moved(y=0.28, z=0.36), DOOR, "door"),
    ]


def church() -> list[Part]:
    """A nave with a steeple."""
    windows = [
        Part(box(0.74, 0.3, 0.14, 0.01).moved(y=0.4, z=z), PANE, "window") for z in (-0.55, -0.2, 0.15)
    ]
    return [
        Part(box(0.7, 0.7, 1.3).moved(y=0.35, z=-0.2), name="wall"),
        Part(_gable(0.86, 0.5, 1.36).moved(y=0.68, z=-0.2), "accent", "roof"),
        Part(box(0.42, 1.3, 0.42).moved(y=0.65, z=0.5), name="tower"),
        Part(frustum(0.34, 0.0, 0.75).moved(y=1.28, z=0.5), "accent", "roof"),
        Part(box(0.045, 0.3, 0.045, 0.005).moved(y=2.08, z=0.5), (212, 172, 55), "cross"),
        Part(box(0.18, 0.05, 0.045, 0.005).moved(y=2.12, z=0.5), (212, 172, 55), "cross"),
        Part(box(0.2, 0.36, 0.06).moved(y=0.18, z=0.71), DOOR, "door"),
        Part(cylinder(0.1, 0.06, 0.0, Z).moved(y=0.95, z=0.7), PANE, "window"),
        *windows,
    ]


def pyramid() -> list[Part]:
    """A four-sided pyramid."""
    slope = prism([(-0.8, 0), (0.8, 0), (0, 1.0)], 1.7, 0.0)
    return [Part(slope & slope.turned(Y, 90))]


def igloo() -> list[Part]:
    """A dome of snow with an entrance."""
    dome = ball(0.7) - box(2, 1, 2, 0.0).moved(y=-0.5)
    tunnel = cylinder(0.3, 0.5, 0.03, Z).moved(z=0.72) - box(2, 1, 3, 0.0).moved(y=-0.5)
    hole = cylinder(0.21, 0.3, 0.0, Z).moved(z=0.95)
    grooves = [
        Part(cylinder(0.72, 0.025, 0.0).moved(y=y), "accent", "joint", paint=True) for y in (0.2, 0.4, 0.56)
    ]
    return [
        Part(dome),
        Part(tunnel - hole),
        Part(cylinder(0.24, 0.3, 0.0, Z).moved(z=0.72) - box(2, 1, 3, 0.0).moved(y=-0.5), DARK, "entrance"),
        *grooves,
    ]


def tent() -> list[Part]:
    """A ridge tent with an open entrance."""
    roof = prism([(-0.7, 0), (0.7, 0), (0, 0.85)], 1.3, 0.02)
    opening = prism([(-0.3, -0.05), (0.3, -0.05), (0, 0.6)], 0.3, 0.0).moved(z=0.62)
    poles = rod((0, 0.03, 0.66), (0, 0.95, 0.66), 0.03).mirrored(Z)
    return [
        Part(roof - opening),
        Part(box(1.5, 0.04, 1.4).moved(y=0.02), "accent", "floor"),
        Part(prism([(-0.29, 0), (0.29, 0), (0, 0.58)], 0.06).moved(z=0.47), DARK, "entrance"),
        Part(poles, (150, 104, 64), "pole"),
    ]


def temple() -> list[Part]:
    """Columns, steps and a pediment."""
    columns = [cylinder(0.065, 0.75, 0.01).moved(0.55 - 0.275 * i, 0.6, 0.75).mirrored(Z) for i in range(5)]
    sides = [cylinder(0.065, 0.75, 0.01).moved(0.55, 0.6, z).mirrored() for z in (-0.4, 0, 0.4)]
    return [
        Part(box(1.5, 0.09, 1.95).moved(y=0.045), name="step"),
        Part(box(1.38, 0.16, 1.82).moved(y=0.13), name="step"),
        *(Part(column, name="column") for column in columns + sides),
        Part(box(0.7, 0.75, 1.1).moved(y=0.6), "accent", "wall"),
        Part(box(1.34, 0.13, 1.78).moved(y=1.02), name="roof"),
        Part(_gable(1.44, 0.34, 1.86).moved(y=1.07), "accent", "roof"),
    ]


def bridge() -> list[Part]:
    """A stone bridge with one arch."""
    body = prism([(-1.1, 0), (1.1, 0), (1.1, 0.45), (0.5, 0.68), (0, 0.76), (-0.5, 0.68), (-1.1, 0.45)], 0.6)
    arch = cylinder(0.55, 1.0, 0.0, Z)
    rail = prism(
        [(-1.1, 0.4), (1.1, 0.4), (1.1, 0.6), (0.5, 0.83), (0, 0.92), (-0.5, 0.83), (-1.1, 0.6)], 0.08
    )
    return [
        Part(body - arch),
        Part((rail - arch).moved(z=0.29).mirrored(Z), "accent", "rail"),
    ]


def windmill() -> list[Part]:
    """A tower mill with four sails."""
    sail = union(rod((0, 0, 0), (0, 0.85, 0), 0.025), box(0.2, 0.62, 0.035).moved(x=0.1, y=0.5))
    sails = union(*(sail.turned(Z, 45 + 90 * i) for i in range(4)))
    return [
        Part(frustum(0.45, 0.28, 1.2, 0.01)),
        Part(ball(0.3).moved(y=1.22), ROOF, "roof"),
        Part(sails.moved(y=1.25, z=0.42), "accent", "sail"),
        Part(rod((0, 1.25, 0), (0, 1.25, 0.44), 0.05), DARK),
        Part(box(0.2, 0.4, 0.2).moved(y=0.2, z=0.37), DOOR, "door"),
        Part(box(0.14, 0.14, 0.2).moved(y=0.75, z=0.3), PANE, "window"),
    ]


def skyscraper() -> list[Part]:
    """A high-rise with rows of windows."""
    rows = [
        Part(box(0.78, 0.09, 0.78, 0.0).moved(y=0.22 + 0.19 * i), PANE, "window", paint=True)
        for i in range(11)
    ]
    corners = Part(box(0.14, 2.4, 0.14).moved(0.36, 1.2, 0.36).mirrored(X).mirrored(Z))
    return [
        Part(box(0.72, 2.3, 0.72).moved(y=1.15)),
        *rows,
        corners,
        Part(box(0.4, 0.2, 0.4).moved(y=2.4)),
        Part(rod((0, 2.4, 0), (0, 2.85, 0), 0.025), DARK, "antenna"),
    ]


TEMPLATES = (
    Template(words=("house", "home", "cottage", "cabin", "hut", "barn"), build=house, main=(236, 222, 190),
             size_m=9),
    Template(words=("castle", "fortress", "palace"), build=castle, main=(165, 160, 150),
             accent=(60, 85, 140), size_m=40),
    Template(words=("tower", "keep", "turret"), build=tower, main=(165, 160, 150), size_m=20, long_axis="y"),
    Template(words=("lighthouse", "light house"), build=lighthouse, main=(240, 240, 236),
             accent=(196, 44, 38), size_m=25, long_axis="y"),
    Template(words=("church", "chapel"), build=church, main=(240, 236, 226), accent=(110, 70, 60),
             size_m=22, long_axis="z", plural="churches"),
    Template(words=("pyramid",), build=pyramid, main=(215, 180, 120), size_m=60),
    Template(words=("igloo",), build=igloo, main=(238, 244, 250), accent=(185, 205, 222), size_m=4),
    Template(words=("tent",), build=tent, main=(235, 125, 35), accent=(90, 95, 80), size_m=2.5,
             long_axis="z"),
    Template(words=("temple",), build=temple, main=(235, 230, 218), accent=(215, 205, 185), size_m=25,
             long_axis="z"),
    Template(words=("bridge", "stone bridge"), build=bridge, main=(150, 146, 138), accent=(130, 126, 120),
             size_m=15),
    Template(words=("windmill", "wind mill", "mill"), build=windmill, main=(238, 234, 224),
             accent=(150, 104, 64), size_m=15),
    Template(words=("skyscraper", "office building", "building"), build=skyscraper, main=(150, 156, 166),
             size_m=90, long_axis="y"),
)  # fmt: skip
