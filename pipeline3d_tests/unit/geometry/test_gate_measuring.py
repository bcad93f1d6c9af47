"""From a model and what was said of its files to the facts that a gate judges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline3d.geometry import repairing
from pipeline3d.geometry.complaints import Complaint
from pipeline3d.geometry.gate import fixes_between, judge
from pipeline3d.geometry.gate_measuring import FACTS_OF_REPAIRS, describe_delivery, repair_sentences
from pipeline3d.geometry.glb import encode_model
from pipeline3d.geometry.measuring import measure
from pipeline3d.geometry.mesh import Material, Model, Texture
from pipeline3d.geometry.repairing import repair
from pipeline3d.geometry.structure_check import check_glb
from pipeline3d_tests.broken_glbs import cube
from pipeline3d_tests.pictures import draw, encode

CUBE = Model(parts=(cube(),))


def described(model: Model, **more):
    return describe_delivery(model, measure(model), **more)


def test_a_cube_is_described_by_what_it_is():
    facts = described(
        CUBE, file_bytes={"glb": 900}, glb_complaints=check_glb(encode_model(CUBE, name="cube"))
    )
    assert (facts.faces, facts.draw_calls, facts.materials, facts.textures, facts.texture_px) == (
        12,
        1,
        1,
        1,
        16,
    )
    assert (facts.watertight, facts.manifold, facts.winding_consistent, facts.components) == (
        True,
        True,
        True,
        1,
    )
    assert facts.extents_m == (1, 1, 1)
    assert facts.volume_m3 == pytest.approx(1)
    assert (facts.glb_bytes, facts.web_glb_bytes, facts.glb_errors) == (900, None, 0)
    assert (facts.ground_gap_m, facts.unmapped_parts, facts.parts_without_normals) == (0, 0, 0)


def test_what_nobody_asked_for_stays_unknown():
    facts = described(CUBE)
    unknown = (
        facts.thinnest_m,
        facts.usdz_complaints,
        facts.glb_errors,
        facts.lods,
        facts.self_intersections,
    )
    assert unknown == (None,) * 5


def test_only_errors_of_the_glb_count():
    complaints = [Complaint(severity=level, code="X", pointer="", message="") for level in ("error", "info")]
    assert described(CUBE, glb_complaints=complaints).glb_errors == 1


def test_a_picture_that_parts_share_counts_once_and_odd_sides_are_counted():
    odd = Texture(data=encode(draw("apple", "plain", size=48).rgb, "PNG"), mime_type="image/png")
    parts = (cube(), cube(material=Material(normal=odd)), cube(uvs=None, normals=None))
    facts = described(Model(parts=parts))
    assert (facts.draw_calls, facts.materials, facts.textures, facts.texture_px) == (3, 2, 2, 48)
    assert (facts.odd_textures, facts.unmapped_parts, facts.parts_without_normals) == (1, 1, 1)


def test_a_model_without_pictures_has_no_texture_to_judge():
    facts = described(Model(parts=(cube(texture=None, uvs=None),)))
    assert (facts.textures, facts.texture_px, facts.texture_bytes, facts.unmapped_parts) == (0, 0, 0, 0)


def test_a_picture_that_cannot_be_read_makes_its_size_unknown():
    facts = described(Model(parts=(cube(texture=b"\xabKTX 20\xbb"),)))
    assert (facts.textures, facts.texture_px, facts.texture_bytes, facts.odd_textures) == (
        1,
        None,
        None,
        None,
    )


def test_a_hole_that_repair_covers_is_told_in_the_report():
    part = cube()
    open_box = Model(parts=(replace(part, faces=part.faces[:-1]),))
    repaired = repair(open_box, level="solid")
    before, after = described(open_box), described(repaired.model)
    assert (before.volume_m3, after.volume_m3) == (None, pytest.approx(1))
    fixes = fixes_between(before, after, step="repaired_mesh", done=repair_sentences(repaired.changes))
    (check,) = [check for check in judge("print", after, fixes).checks if check.name == "watertight"]
    assert (check.outcome, check.before) == ("fixed", False)
    assert "Holes covered: 1" in check.done


def test_every_kind_of_repair_is_about_some_fact():
    assert {step.kind for step in repairing._steps("solid")} | {"normals"} == set(FACTS_OF_REPAIRS)


def test_a_model_with_nan_is_described_as_such():
    broken = cube().vertices.copy()
    broken[0, 0] = np.nan
    facts = describe_delivery(Model(parts=(cube(vertices=broken),)), measure(CUBE))
    assert facts.finite is False
