"""Repair of a model: what was changed is told in numbers, what could not be is told too.

The steps work on the surface as it is after welding by position, so that seams of textures are no holes;
vertices keep their colours, texture places and normals. A step that would move the surface more than it may
is undone. The original is the caller's to keep; a model without faults comes back as the same object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline3d.errors import BrokenModelOutput
from pipeline3d.geometry import cleaning, holes, separating, slivers, winding
from pipeline3d.geometry.creases import add_normals
from pipeline3d.geometry.crossings import count_crossing_faces
from pipeline3d.geometry.measuring import MeshFacts, measure
from pipeline3d.geometry.mesh import Model
from pipeline3d.geometry.solidity import is_solid
from pipeline3d.geometry.uniting import unite_bodies
from pipeline3d.geometry.workpiece import Workpiece, close, face_normals, lay_open

MOST_BROKEN_SHARE = 0.01
"""Of the faces may have coordinates that are no numbers: more is no model with a fault but no model."""
FEW_FACES = 16
"""Around one broken vertex: a small model may lose so many too."""
MOST_AREA_CHANGE = 0.02
MOST_EXTENT_CHANGE = 1e-3
"""Of the area and of the diagonal, by one step that should leave the shape as it is."""

Level = Literal["auto", "solid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one step did: `count` of what `kind` names, and a sentence for people."""

    kind: str
    count: int
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Repaired:
    """The model after repair, what was done to it, its facts before and after, and what is still wrong."""

    model: Model
    changes: tuple[Change, ...]
    before: MeshFacts
    after: MeshFacts
    unrepaired: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One repair: `run` gives the workpiece, how much it did, and what it left undone.

    `shape_stays`: should the area or the bounds come out otherwise, the step is undone. The others only
    turn faces or mean to change the shape, within bounds of their own.
    """

    kind: str
    sentence: str
    run: Callable[[Workpiece], tuple[Workpiece, int, str | None]]
    shape_stays: bool = True


def repair(model: Model, *, level: Level = "auto") -> Repaired:
    """Close, clean and turn outwards; `solid` covers every opening too, so that it can be printed.

    Raises BrokenModelOutput `empty_mesh` where nothing has an area, `nan_mesh` where more than one face in
    a hundred has coordinates that are no numbers.
    """
    _refuse_what_is_no_model(model)
    sound = all((np.abs(part.vertices) <= cleaning.FURTHEST).all() for part in model.parts)
    before = measure(model) if sound else None
    if before is not None and _has_no_fault(before) and not _count_loose_vertices(model):
        return _finish(model, None, [], [], before, level)
    work = lay_open(model)
    changes: list[Change] = []
    left: list[str] = []
    for step in _steps(level):
        work = _take(step, work, changes, left)
        if step.kind == "broken_coordinates":
            _refuse_mostly_broken(model, changes)
        if not len(work.faces):
            raise BrokenModelOutput("The model has no face with an area.", code="empty_mesh")
        if before is None:
            before = measure(close(work, model))
    assert before is not None
    return _finish(model, work, changes, left, before, level)


def with_normals(repaired: Repaired) -> Repaired:
    """The same with normals on the parts that have none: viewers would shade every face of them flat.

    Vertices are split at creases, so that there are more of them; the surface stays as it is.
    """
    bare = sum(part.normals is None and len(part.faces) > 0 for part in repaired.model.parts)
    if not bare:
        return repaired
    change = Change(kind="normals", count=bare, sentence=f"Parts that had no normals got some: {bare:,}.")
    model = add_normals(repaired.model)
    return replace(
        repaired,
        model=model,
        changes=(*repaired.changes, change),
        after=replace(repaired.after, vertices=model.vertex_count),
    )


def _refuse_what_is_no_model(model: Model) -> None:
    if not model.face_count:
        raise BrokenModelOutput("The model has no faces, so there is nothing to repair.", code="empty_mesh")
    for part in model.parts:
        if len(part.faces) and not (part.faces.min() >= 0 and part.faces.max() < len(part.vertices)):
            raise BrokenModelOutput("A face names a vertex that does not exist.", code="broken_mesh")


def _refuse_mostly_broken(model: Model, changes: list[Change]) -> None:
    dropped = sum(change.count for change in changes if change.kind == "broken_coordinates")
    if dropped > MOST_BROKEN_SHARE * model.face_count and dropped > FEW_FACES:
        raise BrokenModelOutput(
            f"{dropped} of {model.face_count} faces have coordinates that are no numbers.",
            code="nan_mesh",
            hint="Export the model again.",
        )


def _steps(level: Level) -> tuple[Step, ...]:
    return (
        Step(
            kind="broken_coordinates",
            sentence="Faces left out whose coordinates are no numbers or absurdly far away: {}.",
            run=_told(cleaning.drop_broken_coordinates),
            shape_stays=False,
        ),
        Step(
            kind="collapsed_faces",
            sentence="Faces left out with two corners at one place: {}.",
            run=_told(cleaning.drop_collapsed),
        ),
        Step(
            kind="joined_points",
            sentence="Points at open edges joined with others a rounding error away: {}.",
            run=_told(_join_near_rims),
        ),
        Step(
            kind="duplicate_faces",
            sentence="Faces left out that were there twice: {}.",
            run=_told(cleaning.drop_duplicates),
            shape_stays=False,
        ),
        Step(
            kind="slivers",
            sentence="Faces without width merged into their neighbours: {}.",
            run=_told(slivers.flip_slivers),
        ),
        Step(
            kind="turned_faces",
            sentence="Faces turned to look the same way as their neighbours: {}.",
            run=_wind_alike,
            shape_stays=False,
        ),
        Step(
            kind="floaters",
            sentence="Tiny pieces beside the body left out: {}.",
            run=cleaning.drop_floaters,
            shape_stays=False,
        ),
        Step(
            kind="turned_pieces",
            sentence="Pieces turned that were inside out: {}.",
            run=_told(winding.turn_outwards),
            shape_stays=False,
        ),
        Step(
            kind="filled_holes",
            sentence="Holes covered: {}.",
            run=_told(lambda work: holes.fill_holes(work, which="all" if level == "solid" else "small")),
            shape_stays=False,
        ),
        Step(
            kind="separated_points",
            sentence="Points pulled a hair apart where surfaces merely touched: {}.",
            run=_told(separating.pull_apart),
        ),
    )


def _told(
    run: Callable[[Workpiece], tuple[Workpiece, int]],
) -> Callable[[Workpiece], tuple[Workpiece, int, str | None]]:
    """A step that has nothing to say about what it left."""
    return lambda work: (*run(work), None)


def _join_near_rims(work: Workpiece) -> tuple[Workpiece, int]:
    joined, count = cleaning.join_near_rims(work)
    return (cleaning.drop_collapsed(joined)[0], count) if count else (work, 0)


def _wind_alike(work: Workpiece) -> tuple[Workpiece, int, str | None]:
    turned, count, one_sided = winding.wind_alike(work)
    left = f"{one_sided} pieces have only one side, like a Moebius strip" if one_sided else None
    return turned, count, left


def _take(step: Step, work: Workpiece, changes: list[Change], left: list[str]) -> Workpiece:
    """The workpiece after the step, or as it was where the step went too far."""
    result, count, undone = step.run(work)
    if undone:
        left.append(undone)
    if not count:
        return work
    if step.shape_stays and len(result.faces) and not _same_shape(work, result):
        left.append(f"{step.kind} was undone: it would have changed the shape")
        return work
    changes.append(Change(kind=step.kind, count=count, sentence=step.sentence.format(f"{count:,}")))
    return result


def _same_shape(before: Workpiece, after: Workpiece) -> bool:
    areas = [np.linalg.norm(face_normals(work), axis=1).sum() for work in (before, after)]
    moved = np.abs(before.bounds - after.bounds).max()
    return bool(
        abs(areas[1] - areas[0]) <= MOST_AREA_CHANGE * areas[0]
        and moved <= MOST_EXTENT_CHANGE * before.diagonal
    )


def _finish(
    model: Model,
    work: Workpiece | None,
    changes: list[Change],
    left: list[str],
    before: MeshFacts,
    level: Level,
) -> Repaired:
    loose = _count_loose_vertices(model) if work is not None else 0
    if loose:
        sentence = f"Vertices left out that no face used: {loose:,}."
        changes.append(Change(kind="loose_vertices", count=loose, sentence=sentence))
    result, after = model, before
    if changes and work is not None:
        result = close(work, model)
        after = measure(result)
        if _faults(after) > _faults(before):
            left.append("the repair was undone: the model has fewer faults without it")
            result, after, changes = model, before, []
    left += _still_wrong(after)
    if level == "solid" and after.watertight:
        result, after = _make_printable(result, after, changes, left)
    return Repaired(model=result, changes=tuple(changes), before=before, after=after, unrepaired=tuple(left))


def _make_printable(
    model: Model, facts: MeshFacts, changes: list[Change], left: list[str]
) -> tuple[Model, MeshFacts]:
    """Unite closed bodies that run through each other; what a slicer would stumble over is told."""
    if not is_solid(model):
        left.append("it is closed, but manifold3d does not take it for a solid")
        return model, facts
    crossing = count_crossing_faces(model)
    if crossing == 0:
        return model, facts
    united = unite_bodies(model) if crossing else None
    if united is not None:
        result, bodies = united
        after = measure(result)
        remaining = count_crossing_faces(result)
        kept = np.abs(np.array(after.bounds) - np.array(facts.bounds)).max()
        if (
            _faults(after) <= _faults(facts)
            and remaining is not None
            and crossing is not None
            and remaining < crossing
            and kept <= MOST_EXTENT_CHANGE * max(facts.extents)
        ):
            sentence = f"Closed bodies that ran through each other, united: {bodies:,}."
            changes.append(Change(kind="united_bodies", count=bodies, sentence=sentence))
            model, facts, crossing = result, after, remaining
    if crossing is None:
        left.append("whether faces run through each other was not told: there are too many in one place")
    elif crossing:
        left.append(f"faces that run through others: {crossing:,}")
    return model, facts


def _count_loose_vertices(model: Model) -> int:
    return sum(
        int((np.bincount(part.faces.reshape(-1), minlength=len(part.vertices)) == 0).sum())
        for part in model.parts
    )


def _has_no_fault(facts: MeshFacts) -> bool:
    """Closed, of one piece and the right way out; several pieces take a closer look."""
    return facts.watertight and not any(_faults(facts)) and facts.components == 1 and facts.volume > 0


def _faults(facts: MeshFacts) -> tuple[int, int, int, int, int]:
    """The worst kinds first: fewer of a worse kind is better, whatever the others are."""
    return (
        facts.non_manifold_edges + facts.pinched_points,
        int(not facts.winding_consistent),
        facts.boundary_edges,
        facts.duplicate_faces,
        facts.degenerate_faces,
    )


def _still_wrong(facts: MeshFacts) -> list[str]:
    told = (
        (facts.non_manifold_edges, "edges with more than two faces"),
        (facts.pinched_points, "points that join surfaces which share no edge"),
        (int(not facts.winding_consistent), "surface whose neighbouring faces look different ways"),
        (facts.boundary_edges, "edges of openings"),
        (facts.duplicate_faces, "faces that are there twice"),
        (facts.degenerate_faces, "faces without area"),
    )
    return [f"{what}: {count:,}" for count, what in told if count]
