"""Things on a table: cups, plates, bottles, pots."""

from __future__ import annotations

from pipeline3d.generation.procedural.parts import Part, Template
from pipeline3d.generation.procedural.solids import (
    Z,
    ball,
    blend,
    box,
    cylinder,
    ellipsoid,
    frustum,
    lathe,
    path,
    rod,
    torus,
)

STEEL = (165, 170, 176)
COFFEE = (62, 38, 24)


def mug() -> list[Part]:
    """A straight mug with a handle, half full of coffee."""
    wall = cylinder(0.42, 1.0, 0.05) - cylinder(0.36, 1.0, 0.05).moved(y=0.1)
    handle = torus(0.25, 0.065, Z).moved(x=0.44) - cylinder(0.39, 1.2)
    return [
        Part(wall),
        Part(handle, name="handle"),
        Part(cylinder(0.375, 0.06, 0.0).moved(y=0.3), COFFEE, "coffee"),
    ]


def teacup() -> list[Part]:
    """A wide cup on its saucer."""
    outside = lathe([(0.1, 0.2), (0.16, 0.3), (0.4, 0.46), (0.66, 0.52)])
    inside = lathe([(0.16, 0.12), (0.22, 0.25), (0.42, 0.41), (0.67, 0.475)])
    saucer = lathe([(0, 0.35), (0.05, 0.6), (0.14, 0.78)]) - lathe([(0.06, 0.25), (0.1, 0.6), (0.15, 0.76)])
    handle = torus(0.17, 0.045, Z).moved(x=0.55, y=0.42) - lathe([(0.1, 0.27), (0.4, 0.44), (0.66, 0.5)])
    return [
        Part(saucer, "accent", "saucer"),
        Part(cylinder(0.22, 0.16).moved(y=0.09)),
        Part(outside - inside),
        Part(handle, name="handle"),
        Part(lathe([(0.2, 0.3), (0.5, 0.46)]), (150, 80, 30), "tea"),
    ]


def bowl() -> list[Part]:
    """A round bowl on a foot."""
    outside = lathe([(0, 0.27), (0.06, 0.3), (0.25, 0.6), (0.55, 0.75)])
    inside = lathe([(0.07, 0.1), (0.12, 0.27), (0.28, 0.54), (0.56, 0.7)])
    return [Part(outside - inside)]


def plate() -> list[Part]:
    """A flat plate with a raised rim."""
    outside = lathe([(0, 0.4), (0.03, 0.45), (0.06, 0.7), (0.13, 0.85)])
    inside = lathe([(0.055, 0.35), (0.07, 0.53), (0.1, 0.7), (0.14, 0.83)])
    return [Part(outside - inside), Part(torus(0.83, 0.025).moved(y=0.12), "accent", "rim")]


def bottle() -> list[Part]:
    """A bottle with a label and a cork."""
    body = [(0, 0.26), (0.05, 0.3), (0.85, 0.3), (1.1, 0.2), (1.25, 0.105), (1.6, 0.1)]
    return [
        Part(lathe(body)),
        Part(cylinder(0.125, 0.07).moved(y=1.52)),
        Part(cylinder(0.085, 0.16).moved(y=1.62), (190, 150, 100), "cork"),
        Part(cylinder(0.308, 0.4, 0.005).moved(y=0.45), "accent", "label"),
    ]


def wine_glass() -> list[Part]:
    """A stemmed glass with wine in it."""
    outside = lathe([(0, 0.36), (0.04, 0.3), (0.1, 0.06), (0.6, 0.05), (0.72, 0.2), (1.0, 0.36), (1.4, 0.3)])
    inside = lathe([(0.73, 0.05), (0.8, 0.22), (1.0, 0.32), (1.41, 0.26)])
    return [
        Part(outside - inside),
        Part(lathe([(0.72, 0.12), (0.8, 0.24), (1.0, 0.34), (1.2, 0.31)]), (120, 20, 40), "wine"),
    ]


def glass() -> list[Part]:
    """A plain tumbler."""
    return [
        Part(frustum(0.3, 0.4, 1.0, 0.02) - frustum(0.24, 0.36, 1.0).moved(y=0.08)),
        Part(frustum(0.27, 0.36, 0.78).moved(y=0.05), (120, 175, 215), "water"),
    ]


def teapot() -> list[Part]:
    """A round pot with spout, handle and lid."""
    spout = path([(-0.45, 0.3, 0), (-0.7, 0.42, 0), (-0.82, 0.65, 0), (-0.95, 0.74, 0)], 0.13, 0.06)
    mouth = rod((-0.85, 0.68, 0), (-1.05, 0.83, 0), 0.035)
    body = blend(0.08, ellipsoid(0.58, 0.45, 0.58).moved(y=0.45), spout) - mouth
    handle = torus(0.26, 0.06, Z).moved(x=0.62, y=0.5) - ellipsoid(0.5, 0.4, 0.5).moved(y=0.45)
    return [
        Part(body),
        Part(cylinder(0.33, 0.08).moved(y=0.04)),
        Part(handle, name="handle"),
        Part(ellipsoid(0.3, 0.12, 0.3).moved(y=0.86), "accent", "lid"),
        Part(ball(0.075).moved(y=1.02), "accent", "lid"),
    ]


def vase() -> list[Part]:
    """A bellied vase with a flared lip."""
    outside = [(0, 0.24), (0.06, 0.27), (0.5, 0.45), (0.95, 0.2), (1.1, 0.17), (1.3, 0.3)]
    inside = [(0.1, 0.1), (0.5, 0.38), (0.95, 0.14), (1.1, 0.115), (1.31, 0.25)]
    return [
        Part(lathe(outside) - lathe(inside)),
        Part(cylinder(0.47, 0.07).moved(y=0.5), "accent", "band", paint=True),
    ]


def spoon() -> list[Part]:
    """A spoon lying on its back."""
    cup = ellipsoid(0.26, 0.12, 0.18).moved(x=-0.7, y=0.12) - ellipsoid(0.23, 0.12, 0.15).moved(
        x=-0.7, y=0.17
    )
    under = cup - box(2, 0.2, 1).moved(x=-0.7, y=0.24)
    stem = path([(-0.46, 0.1, 0), (-0.3, 0.13, 0), (0.5, 0.09, 0)], 0.032, 0.045)
    return [Part(under), Part(stem, name="handle"), Part(ellipsoid(0.16, 0.04, 0.08).moved(x=0.55, y=0.09))]


def frying_pan() -> list[Part]:
    """A pan with a long handle."""
    pan = frustum(0.5, 0.6, 0.2, 0.03) - frustum(0.46, 0.57, 0.2).moved(y=0.05)
    return [
        Part(pan),
        Part(rod((0.55, 0.14, 0), (1.35, 0.24, 0), 0.055), (70, 48, 36), "handle"),
    ]


def pot() -> list[Part]:
    """A cooking pot with a lid and two handles."""
    grips = torus(0.13, 0.04).moved(x=0.62, y=0.48).mirrored()
    return [
        Part(cylinder(0.58, 0.6, 0.05).moved(y=0.3)),
        Part(cylinder(0.61, 0.05).moved(y=0.6)),
        Part(ellipsoid(0.58, 0.14, 0.58).moved(y=0.62), name="lid"),
        Part(grips, "accent", "handle"),
        Part(ball(0.08).moved(y=0.8), "accent", "knob"),
    ]


def jar() -> list[Part]:
    """A jar with a screw lid."""
    return [
        Part(lathe([(0, 0.36), (0.05, 0.4), (0.7, 0.4), (0.85, 0.33), (0.9, 0.33)])),
        Part(cylinder(0.36, 0.18, 0.03).moved(y=0.95), "accent", "lid"),
    ]


def candle() -> list[Part]:
    """A burning candle on a small plate."""
    return [
        Part(frustum(0.4, 0.48, 0.08, 0.02), "accent", "holder"),
        Part(cylinder(0.2, 0.9, 0.03).moved(y=0.5)),
        Part(rod((0, 0.9, 0), (0, 1.04, 0), 0.025), (40, 36, 34), "wick"),
        Part(lathe([(1.0, 0.02), (1.08, 0.08), (1.16, 0.06), (1.32, 0.004)]), (250, 170, 40), "flame"),
    ]


TEMPLATES = (
    Template(words=("mug", "coffee mug", "coffee cup", "mug of coffee", "cup of coffee", "beaker"),
             build=mug, main=(205, 212, 220), size_m=0.11),
    Template(words=("cup", "teacup", "tea cup", "cup of tea"), build=teacup, main=(240, 238, 232),
             size_m=0.15 ),
    Template(words=("bowl", "dish", "basin"), build=bowl, main=(225, 222, 214), size_m=0.2),
    Template(words=("plate", "saucer"), build=plate, main=(240, 240, 238), accent=(70, 100, 160),
             size_m=0.27),
    Template(words=("bottle", "wine bottle", "flask"), build=bottle, main=(40, 95, 62), size_m=0.3),
    Template(words=("wine glass", "goblet", "chalice", "glass of wine"), build=wine_glass,
             main=(205, 222, 226), size_m=0.2),
    Template(words=("glass", "tumbler", "drinking glass", "glass of water"), build=glass,
             main=(200, 220, 226), size_m=0.13, plural="glasses"),
    Template(words=("teapot", "tea pot", "kettle"), build=teapot, main=(70, 120, 170), size_m=0.25),
    Template(words=("vase", "urn", "amphora"), build=vase, main=(60, 110, 165), size_m=0.3),
    Template(words=("spoon", "teaspoon", "ladle"), build=spoon, main=STEEL, size_m=0.18),
    Template(words=("frying pan", "pan", "skillet"), build=frying_pan, main=(52, 53, 57), size_m=0.45),
    Template(words=("pot", "cooking pot", "saucepan"), build=pot, main=STEEL, accent=(45, 45, 48),
             size_m=0.3),
    Template(words=("jar", "jam jar", "honey jar"), build=jar, main=(190, 110, 50), accent=(200, 60, 50),
             size_m=0.15),
    Template(words=("candle",), build=candle, main=(242, 234, 210), accent=(190, 155, 75), size_m=0.15),
)  # fmt: skip
