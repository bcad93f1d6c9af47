"""How a file came to be, told from the API's answer."""

from copy import deepcopy

from pipeline3d.tracing import compare, explain, same_shape

MESH, DRAFT, MODEL = "a" * 64, "b" * 64, "c" * 64


def artifact(asset: str, name: str, sha256: str | None, type: str = "INTERMEDIATE", **metadata) -> dict:
    return {
        "asset": asset,
        "name": name,
        "type": type,
        "sha256": sha256,
        "size": 1234,
        "metadata": metadata,
    }


JOB = {
    "id": "01a2", "kind": "text_to_3d", "model_id": "sculpt-v1", "tier": "embedded", "status": "SUCCEEDED",
    "attempt": 1, "created_at": "2026-11-22T00:00:00Z", "prompt": "a red mug",
    "params": {"seed": 7, "quality": "fast"}, "stage_seconds": {"mesh": 0.25}, "error": None,
    "artifacts": [
        artifact("upload", "input", None, "INPUT"),
        artifact("mesh", "draft.glb", DRAFT),
        artifact("repaired_mesh", "repaired.glb", MESH, made_from={"mesh/draft.glb": DRAFT}),
        artifact(
            "glb_export", "model.glb", MODEL, "OUTPUT_MODEL",
            made_from={"repaired_mesh/repaired.glb": MESH},
            made_by={"engine": "procedural", "engine_version": "1.0", "seed": 7, "note": "A mug."},
        ),
    ],
}  # fmt: skip


def test_every_file_is_told_with_what_it_was_made_from():
    told = "\n".join(explain(JOB))
    assert "sculpt-v1 (embedded)" in told
    assert "seed = 7" in told
    assert "procedural 1.0, seed 7: A mug." in told
    assert "mesh/draft.glb  1,234 bytes  sha256 bbbbbbbbbbbb…  0.25 s" in told
    assert "    of repaired_mesh/repaired.glb  sha256 aaaaaaaaaaaa…" in told
    assert "upload/input  1,234 bytes  sha256 unknown" in told


def test_a_source_that_was_made_anew_since_is_not_passed_off_as_the_old_one():
    job = deepcopy(JOB)
    job["artifacts"][1]["sha256"] = "d" * 64
    told = "\n".join(explain(job))
    assert "of mesh/draft.glb  sha256 bbbbbbbbbbbb…  (made anew since: sha256 dddddddddddd…)" in told


def test_two_requests_made_the_same_where_their_repaired_meshes_are_equal():
    other = deepcopy(JOB)
    other["artifacts"][3]["sha256"] = "e" * 64  # it names its request
    assert same_shape(JOB, other) is True
    assert compare(JOB, other) == {
        "mesh/draft.glb": True, "repaired_mesh/repaired.glb": True, "glb_export/model.glb": False,
    }  # fmt: skip
    other["artifacts"][2]["sha256"] = "f" * 64
    assert same_shape(JOB, other) is False
    assert same_shape(JOB, {**JOB, "artifacts": []}) is None


def test_a_failure_is_told_with_its_stage():
    error = {"code": "empty_mesh", "stage": "mesh", "message": "Nothing is there."}
    assert "ended with empty_mesh in mesh: Nothing is there." in "\n".join(explain({**JOB, "error": error}))


def test_an_upload_whose_hash_only_its_reader_knows_has_not_changed():
    job = deepcopy(JOB)
    job["artifacts"][1]["metadata"] = {"made_from": {"upload/input": "9" * 64}}
    assert "    of upload/input  sha256 999999999999…" in list(explain(job))
