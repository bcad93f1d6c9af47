"""The checks that a generated mesh must pass before anybody gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline3d.geometry.measuring import measure
from pipeline3d.geometry.mesh import TexturedMesh

FEWEST_FACES = 4
"""A tetrahedron: fewer cannot enclose anything."""
FURTHEST_COORDINATE = 1e4
"""Model units; beyond it 32-bit floats lose the shape."""
MOST_DEGENERATE_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec:
    """What is checked, and whether failing it stops the delivery."""

    name: str
    severity: Literal["error", "warning"]
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshCheck:
    """One check's outcome, with the value that was found and the limit that it was held against."""

    name: str
    passed: bool
    severity: Literal["error", "warning"]
    value: str
    limit: str
    description: str


MESH_CHECKS = (
    CheckSpec(name="not_empty", severity="error", description="The mesh has faces."),
    CheckSpec(name="finite", severity="error", description="Every coordinate is a finite number."),
    CheckSpec(name="in_bounds", severity="error", description="No coordinate is absurdly far away."),
    CheckSpec(name="few_degenerate_faces", severity="error", description="Hardly any face has no area."),
    CheckSpec(
        name="watertight", severity="warning", description="The surface is closed: printable, has a volume."
    ),
)


def check_mesh(mesh: TexturedMesh) -> list[MeshCheck]:
    """The outcome of every check of `MESH_CHECKS`, in their order; a check that cannot be made has failed."""
    found: dict[str, tuple[bool, str, str]] = {
        "not_empty": (len(mesh.faces) >= FEWEST_FACES, f"{len(mesh.faces)} faces", f"at least {FEWEST_FACES}")
    }
    finite = bool(np.isfinite(mesh.vertices).all())
    found["finite"] = (finite, "all finite" if finite else "NaN or infinity", "all finite")
    if finite and len(mesh.faces):
        facts = measure(mesh)
        furthest = float(np.abs(mesh.vertices).max())
        share = facts.degenerate_faces / facts.faces
        found["in_bounds"] = (
            furthest <= FURTHEST_COORDINATE,
            f"{furthest:.4g}",
            f"at most {FURTHEST_COORDINATE:g}",
        )
        found["few_degenerate_faces"] = (
            share <= MOST_DEGENERATE_SHARE,
            f"{share:.2%}",
            f"at most {MOST_DEGENERATE_SHARE:.0%}",
        )
        found["watertight"] = (facts.watertight, "closed" if facts.watertight else "open", "closed")
    return [_outcome(spec, found.get(spec.name, (False, "not measurable", ""))) for spec in MESH_CHECKS]


def _outcome(spec: CheckSpec, found: tuple[bool, str, str]) -> MeshCheck:
    passed, value, limit = found
    return MeshCheck(
        name=spec.name,
        passed=passed,
        severity=spec.severity,
        value=value,
        limit=limit,
        description=spec.description,
    )
