"""Four-legged animals; they share a plan."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline3d.generation.procedural.parts import Colour, Part, Role, Template
from pipeline3d.generation.procedural.solids import (
    Solid,
    X,
    Y,
    Z,
    ball,
    blend,
    cylinder,
    ellipsoid,
    frustum,
    path,
    rod,
    torus,
    union,
)

BLACK = (30, 30, 33)
WHITE = (244, 243, 240)
PINK = (235, 150, 155)
BEAK = (240, 150, 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Measures of a four-legged animal that looks along +z; its shoulders are at `leg` above the ground."""

    leg: float = 0.35
    leg_radius: float = 0.075
    body: tuple[float, float, float] = (0.25, 0.24, 0.45)
    neck: tuple[float, float] = (0.28, 0.2)
    neck_radius: float = 0.12
    head: float = 0.21
    muzzle: float = 0.1
    muzzle_length: float = 0.16
    tail: tuple[tuple[float, float, float], ...] = ((0, 0, 0), (0, 0.15, -0.2))
    tail_radius: float = 0.05


def _quadruped(
    plan: Plan, muzzle_colour: Colour | Role = "main"
) -> tuple[list[Part], tuple[float, float, float]]:
    """Body, legs, tail, head with eyes and nose, and the middle of the head (for ears and horns)."""
    wide, high, long = plan.body
    middle = plan.leg + high * 0.75
    rise, ahead = plan.neck
    head = (0.0, middle + rise, long * 0.8 + ahead)
    legs = union(
        *(
            rod(
                (wide * 0.62, plan.leg_radius, z),
                (wide * 0.55, middle, z),
                plan.leg_radius,
                plan.leg_radius * 1.2,
            )
            for z in (long * 0.62, -long * 0.65)
        )
    ).mirrored()
    tail = path(
        [(x, middle + high * 0.4 + y, -long * 0.85 + z) for x, y, z in plan.tail],
        plan.tail_radius,
        plan.tail_radius * 0.7,
    )
    neck = rod((0, middle + high * 0.2, long * 0.62), head, plan.neck_radius * 1.3, plan.neck_radius)
    body = ellipsoid(wide, high, long).moved(y=middle)
    nose = head[2] + plan.head * 0.6 + plan.muzzle_length
    eye = ball(plan.head * 0.17).moved(
        plan.head * 0.46, head[1] + plan.head * 0.28, head[2] + plan.head * 0.78
    )
    parts = [
        Part(blend(0.08, body, legs, neck, ball(plan.head).moved(*head)), name="body"),
        Part(tail, name="tail"),
        Part(
            rod(
                (0, head[1] - plan.head * 0.25, head[2]),
                (0, head[1] - plan.head * 0.3, nose - plan.muzzle),
                plan.muzzle * 1.15,
                plan.muzzle,
            ),
            muzzle_colour,
            "muzzle",
        ),
        Part(ball(plan.muzzle * 0.4).moved(0, head[1] - plan.head * 0.22, nose), BLACK, "nose"),
        Part(eye.mirrored(), BLACK, "eye"),
    ]
    return parts, head


def _at(solid: Solid, head: tuple[float, float, float]) -> Solid:
    return solid.moved(*head)


def cat() -> list[Part]:
    """A cat, tail up."""
    plan = Plan(
        head=0.22,
        muzzle=0.085,
        muzzle_length=0.05,
        body=(0.2, 0.2, 0.42),
        neck=(0.22, 0.12),
        tail=((0, 0, 0), (0, 0.08, -0.2), (0, 0.35, -0.27), (0.03, 0.55, -0.2)),
        leg=0.3,
        leg_radius=0.065,
    )
    parts, head = _quadruped(plan, "accent")
    ear = frustum(0.1, 0.012, 0.2).turned(Z, -14).moved(0.12, 0.14, 0)
    inner = ellipsoid(0.045, 0.075, 0.03).turned(Z, -14).moved(0.145, 0.2, 0.06)
    whiskers = [rod((0.04, -0.05, 0.22), (0.26, -0.02 + dy, 0.2), 0.01) for dy in (-0.06, 0.03)]
    return [
        *parts,
        Part(_at(ear.mirrored(), head), name="ear"),
        Part(_at(inner.mirrored(), head), PINK, "ear"),
        Part(_at(union(*whiskers).mirrored(), head), WHITE, "whisker"),
    ]


def dog() -> list[Part]:
    """A dog with hanging ears."""
    plan = Plan(
        leg=0.36,
        body=(0.22, 0.22, 0.45),
        head=0.21,
        muzzle=0.11,
        muzzle_length=0.2,
        neck=(0.3, 0.15),
        tail=((0, 0, 0), (0, 0.2, -0.16), (0, 0.36, -0.2)),
    )
    parts, head = _quadruped(plan)
    ear = ellipsoid(0.05, 0.18, 0.09).turned(Z, 12).moved(0.21, -0.02, 0)
    collar = torus(0.16, 0.03).turned(X, 30).moved(0, -0.16, -0.06)
    return [
        *parts,
        Part(_at(ear.mirrored(), head), "accent", "ear"),
        Part(_at(collar, head), (196, 40, 36), "collar"),
    ]


def horse() -> list[Part]:
    """A horse with mane and tail."""
    plan = Plan(
        leg=0.6,
        leg_radius=0.06,
        body=(0.22, 0.25, 0.5),
        neck=(0.52, 0.2),
        neck_radius=0.12,
        head=0.155,
        muzzle=0.095,
        muzzle_length=0.3,
        tail=((0, 0, 0), (0, -0.05, -0.2), (0, -0.5, -0.28)),
        tail_radius=0.06,
    )
    parts, head = _quadruped(plan)
    parts[1] = Part(parts[1].solid, "accent", "tail")
    mane = path([(0, 0.16, 0.06), (0, 0.06, -0.13), (0, -0.2, -0.27), (0, -0.4, -0.38)], 0.065, 0.07)
    ear = frustum(0.05, 0.01, 0.15).turned(Z, -10).moved(0.07, 0.1, -0.02)
    hooves = union(*(cylinder(0.08, 0.09).moved(0.135, 0.045, z) for z in (0.31, -0.325))).mirrored()
    return [
        *parts,
        Part(_at(mane, head), "accent", "mane"),
        Part(_at(ear.mirrored(), head), name="ear"),
        Part(hooves, (60, 48, 40), "hoof"),
    ]


def cow() -> list[Part]:
    """A spotted cow with horns."""
    plan = Plan(
        leg=0.42,
        leg_radius=0.075,
        body=(0.29, 0.28, 0.52),
        neck=(0.22, 0.2),
        head=0.19,
        muzzle=0.13,
        muzzle_length=0.18,
        tail=((0, 0, 0), (0, -0.2, -0.1), (0, -0.45, -0.08)),
        tail_radius=0.035,
    )
    parts, head = _quadruped(plan, PINK)
    horn = path([(0.1, 0.14, 0), (0.22, 0.2, 0), (0.25, 0.32, 0.02)], 0.04, 0.015)
    ear = ellipsoid(0.12, 0.05, 0.05).moved(0.26, 0.06, -0.03)
    spots = [
        (0.25, 0.75, 0.2, 0.19),
        (-0.26, 0.7, -0.1, 0.2),
        (0.24, 0.6, -0.3, 0.17),
        (0.05, 0.9, -0.2, 0.17),
        (-0.2, 0.8, 0.3, 0.14),
    ]
    return [
        *parts,
        *(Part(ball(r).moved(x, y, z), "accent", "spot", paint=True) for x, y, z, r in spots),
        Part(_at(horn.mirrored(), head), (225, 215, 190), "horn"),
        Part(_at(ear.mirrored(), head), "accent", "ear"),
        Part(ball(0.13).moved(0, 0.38, -0.22), PINK, "udder"),
    ]


def pig() -> list[Part]:
    """A pig with a curly tail."""
    plan = Plan(
        leg=0.2,
        leg_radius=0.08,
        body=(0.32, 0.3, 0.46),
        neck=(0.08, 0.12),
        neck_radius=0.18,
        head=0.25,
        muzzle=0.12,
        muzzle_length=0.12,
        tail=((0, 0, 0), (0.05, 0.08, -0.1), (-0.05, 0.12, -0.14), (0.02, 0.2, -0.12)),
        tail_radius=0.03,
    )
    parts, head = _quadruped(plan)
    parts = [part for part in parts if part.name != "nose"]
    snout = cylinder(0.12, 0.09, 0.03, Z).moved(0, -0.075, 0.32)
    nostril = ellipsoid(0.026, 0.042, 0.03).moved(0.045, -0.075, 0.37)
    ear = ellipsoid(0.1, 0.14, 0.04).turned(Z, -25).moved(0.18, 0.2, 0.03)
    return [
        *parts,
        Part(_at(snout, head), "accent", "snout"),
        Part(_at(nostril.mirrored(), head), (120, 60, 70), "nostril"),
        Part(_at(ear.mirrored(), head), "accent", "ear"),
    ]


def sheep() -> list[Part]:
    """A woolly sheep."""
    plan = Plan(
        leg=0.28,
        leg_radius=0.055,
        body=(0.24, 0.22, 0.38),
        neck=(0.2, 0.2),
        head=0.17,
        muzzle=0.09,
        muzzle_length=0.1,
        tail=((0, 0, 0), (0, -0.03, -0.08)),
        tail_radius=0.07,
    )
    parts, head = _quadruped(plan, "accent")
    parts[0] = Part(parts[0].solid, "accent", "body")
    curls = [
        ball(0.15).moved(y=0.2).turned(Z, 51 * k + 25 * (i % 2)).moved(0, 0.5, -0.34 + 0.17 * i)
        for i in range(5)
        for k in range(7)
    ]
    ear = ellipsoid(0.11, 0.04, 0.05).turned(Z, -15).moved(0.2, 0.05, -0.02)
    return [
        *parts,
        Part(union(*curls), name="wool"),
        Part(
            _at(
                union(ball(0.11).moved(0, 0.15, -0.03), ball(0.08).moved(0.09, 0.12, -0.03).mirrored()), head
            ),
            name="wool",
        ),
        Part(_at(ear.mirrored(), head), "accent", "ear"),
    ]


def elephant() -> list[Part]:
    """An elephant with trunk, ears and tusks."""
    plan = Plan(
        leg=0.38,
        leg_radius=0.12,
        body=(0.38, 0.36, 0.52),
        neck=(0.16, 0.22),
        neck_radius=0.2,
        head=0.28,
        muzzle=0.1,
        muzzle_length=0.02,
        tail=((0, 0, 0), (0, -0.15, -0.12), (0, -0.35, -0.12)),
        tail_radius=0.03,
    )
    parts, head = _quadruped(plan)
    parts = [part for part in parts if part.name != "nose"]
    trunk = path(
        [(0, -0.08, 0.2), (0, -0.25, 0.38), (0, -0.48, 0.42), (0, -0.62, 0.5), (0, -0.6, 0.6)], 0.12, 0.06
    )
    ear = ellipsoid(0.24, 0.3, 0.045).turned(Y, 25).moved(0.4, 0.02, -0.06)
    tusk = path([(0.13, -0.15, 0.2), (0.15, -0.28, 0.36), (0.15, -0.26, 0.5)], 0.045, 0.02)
    return [
        *parts,
        Part(_at(trunk, head), name="trunk"),
        Part(_at(ear.mirrored(), head), "accent", "ear"),
        Part(_at(tusk.mirrored(), head), (245, 240, 225), "tusk"),
    ]


TEMPLATES = (
    Template(words=("cat", "kitten", "kitty"), build=cat, main=(225, 140, 65), accent=(246, 232, 212),
             size_m=0.5, long_axis="z"),
    Template(words=("dog", "puppy", "hound"), build=dog, main=(190, 140, 88), accent=(110, 72, 44),
             size_m=0.7, long_axis="z", plural="puppies"),
    Template(words=("horse", "pony", "foal"), build=horse, main=(140, 86, 52), accent=(62, 42, 32),
             size_m=2.2, long_axis="z", plural="ponies"),
    Template(words=("cow", "bull", "ox"), build=cow, main=(242, 240, 236), accent=(50, 46, 46), size_m=2.2,
             long_axis="z"),
    Template(words=("pig", "piglet", "piggy"), build=pig, main=(240, 170, 175), accent=(228, 145, 152),
             size_m=1.2, long_axis="z"),
    Template(words=("sheep", "lamb"), build=sheep, main=(242, 238, 228), accent=(62, 56, 54), size_m=1.2,
             long_axis="z", plural="sheep"),
    Template(words=("elephant",), build=elephant, main=(145, 148, 155), accent=(165, 160, 168), size_m=5,
             long_axis="z"),
)  # fmt: skip
