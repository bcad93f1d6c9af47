"""What a shop publishes: requests that go all the way to the bundle, exports of uploads, profiles."""

import json
import zipfile
from dataclasses import replace

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from pipeline3d.geometry import glb
from pipeline3d.geometry.bundle_checks import check_bundle
from pipeline3d.geometry.comparing import COMPRESSED, verify_file
from pipeline3d.geometry.usd_checks import check_usdz
from pipeline3d.values import Kind, stages_of
from pipeline3d_tests.awkward_meshes import build

FORMATS = ["gltf", "obj", "stl", "ply", "3mf"]


def failed_with(workbench, job_id) -> tuple[str, str, str]:
    row = workbench.row(job_id)
    return row.state, row.error_code, row.error_stage


@pytest.fixture(scope="module")
def mug(workbench):
    """A request for all there is, which takes seconds: its id, and how its run went."""
    job_id = workbench.ask(
        "sculpt-v1", {"delivers": "bundle", "formats": FORMATS, "quality": "fast"}, prompt="a red mug"
    )
    result = workbench.run(job_id)
    assert result.success, workbench.row(job_id).error_message
    return job_id, result


def test_a_request_becomes_everything_that_a_shop_publishes(workbench, mug, tmp_path):
    job_id, result = mug
    row = workbench.row(job_id)
    assert row.state == "SUCCEEDED"
    assert set(row.stage_seconds) == set(stages_of(Kind.TEXT_TO_3D, "sculpt-v1", row.params))
    files = {f"{item.asset}/{item.name}": item for item in workbench.all_artifacts(job_id)}
    for name, item in files.items():
        path = tmp_path / name.replace("/", "-")
        path.write_bytes(workbench.store.read_bytes(item.storage_path))
    require_valid_files(tmp_path)
    require_whole_bundle(tmp_path / "bundle-bundle.zip")
    require_known_origin(files, job_id, (tmp_path / "glb_export-model.glb").read_bytes())
    report = json.loads((tmp_path / "quality_report-report.json").read_text())
    verdicts = {name: one["verdict"] for name, one in report["profiles"].items()}
    assert verdicts == {"web": "PASS", "ar": "PASS", "print": "PASS", "game": "PASS"}
    checks = [
        check
        for check in result.get_asset_check_evaluations()
        if check.asset_key == dg.AssetKey("quality_report")
    ]
    assert {check.check_name: check.passed for check in checks} == dict.fromkeys(verdicts, True)


def require_valid_files(folder):
    """Each form is valid by its own checker and holds the same model."""
    model = glb.decode_model((folder / "glb_export-model.glb").read_bytes())
    joined = replace(COMPRESSED, faces=None)
    assert verify_file(folder / "web_glb-web.glb", model, tolerance=joined) == []
    assert check_usdz(folder / "usdz_export-model.usdz") == []
    levels = json.loads((folder / "lods-lods.json").read_text())
    assert [level["faces"] for level in levels] == sorted((one["faces"] for one in levels), reverse=True)
    with Image.open(folder / "model_preview-poster.png") as poster:
        assert poster.mode == "RGBA"
        assert poster.getextrema()[3] == (0, 255)


def require_whole_bundle(path):
    """The ZIP has all of it, with a page that shows it."""
    assert check_bundle(path) == []
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        page = archive.read("index.html").decode()
    assert {"web.glb", "model.usdz", "poster.png", "turntable.webp", "model.stl", "lod-1.glb"} <= names
    assert 'ios-src="model.usdz"' in page


def require_known_origin(files, job_id, delivered: bytes):
    """Every file knows the hashes of what it was made from, and the delivered one the request's source."""
    for name, item in files.items():
        sources = item.metadata.get("made_from", {})
        assert sources or name == "prompt/prompt.json"
        for source, sha256 in sources.items():
            assert files[source].sha256 == sha256, (name, source)
    made_from = files["glb_export/model.glb"].metadata["made_from"]
    assert list(made_from) == ["repaired_mesh/repaired.glb"]
    extras = glb.read_document(delivered)["asset"]["extras"]
    assert extras["made_from"] == made_from
    assert (extras["request"], extras["licence"]) == (str(job_id), "Apache-2.0")
    assert extras["source"] == {"prompt/prompt.json": files["prompt/prompt.json"].sha256}


def upload(workbench, data: bytes, name: str, **params):
    """A request to export an uploaded file."""
    key = f"uploads/inputs/{workbench.user_id}/{name}"
    workbench.store.put_bytes(key, data, "application/octet-stream")
    return workbench.ask("export-v1", {"input_path": key, **params})


def test_an_uploaded_model_is_repaired_sized_and_written_in_other_formats(workbench):
    data = glb.encode_model(build("inside_out"), name="m")
    job_id = upload(workbench, data, "ball.glb", formats=["stl"], size_m=0.2, target="slicer")
    assert workbench.run(job_id).success, workbench.row(job_id).error_message
    files = {item.name: item for item in workbench.all_artifacts(job_id)}
    assert files["model.stl"].content_type == "model/stl"
    assert max(files["model.glb"].metadata["extents_m"]) == pytest.approx(0.2)
    extras = glb.read_document(workbench.content(job_id, "glb_export"))["asset"]["extras"]
    assert extras["licence"] == "that of the uploaded model"
    made = glb.decode_model(workbench.content(job_id, "glb_export"))
    assert all(part.normals is not None for part in made.parts)  # the file had none
    assert "input_path" not in extras["parameters"]  # nobody's file name goes out
    kinds = {change["kind"] for change in files["repaired.glb"].metadata["changes"]}
    assert kinds & {"turned_pieces", "turned_faces"}
    stl = workbench.store.read_bytes(files["model.stl"].storage_path)
    corners = np.frombuffer(stl[84:], np.dtype([("n", "<f4", 3), ("v", "<f4", (3, 3)), ("a", "<u2")]))["v"]
    assert np.ptp(corners.reshape(-1, 3), axis=0).max() == pytest.approx(200, rel=1e-4)  # millimetres


def test_the_model_of_an_earlier_request_is_exported_without_making_it_again(workbench, mug):
    earlier, _ = mug
    job_id = workbench.ask(
        "export-v1", {"source_job_id": str(earlier), "formats": ["ply"], "size_m": 2.0, "delivers": "model"}
    )
    assert workbench.run(job_id).success, workbench.row(job_id).error_message
    extras = glb.read_document(workbench.content(job_id, "glb_export"))["asset"]["extras"]
    assert extras["source_request"] == str(earlier)
    assert (extras["engine"], extras["request"], extras["model"]) == ("procedural", str(job_id), "export-v1")
    assert extras["parameters"]["size_m"] == 2.0  # the export's own, not the earlier request's
    assert (extras["licence"], list(extras["source"])) == ("Apache-2.0", ["source_model/source.glb"])


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("short.glb", b"glTF\x02\x00\x00\x00", "broken_model_file"),
        ("zeros.glb", b"glTF" + bytes(60), "broken_model_file"),
        ("broken.zip", b"PK\x03\x04" + bytes(100), "archive_refused"),
        ("text.obj", b"hello\n", "empty_mesh"),
    ],
)
def test_a_file_that_is_no_model_ends_the_request_with_its_reason(workbench, name, data, code):
    job_id = upload(workbench, data, name)
    assert not workbench.run(job_id).success
    assert failed_with(workbench, job_id) == ("FAILED", code, "source_model")
    assert workbench.row(job_id).error_hint


def test_a_model_that_does_not_hold_the_demanded_profile_fails_with_the_report(workbench):
    data = glb.encode_model(build("open_box"), name="m")
    job_id = upload(workbench, data, "box.glb", profile="print", repair="off")
    assert not workbench.run(job_id).success
    assert failed_with(workbench, job_id) == ("FAILED", "quality_gate_failed", "quality_report")
    row = workbench.row(job_id)
    assert "watertight" in row.error_message
    report = json.loads(workbench.content(job_id, "quality_report"))
    assert report["profiles"]["print"]["verdict"] == "FAIL"
    assert workbench.content(job_id, "glb_export")[:4] == b"glTF"  # what was made is kept


@pytest.mark.parametrize(
    ("params", "textured"),
    [({"bake": "colours"}, True), ({"bake": "detail", "target_faces": 400}, True), ({"bake": "none"}, False)],
)
def test_what_a_mesh_shows_is_baked_into_textures_where_that_is_asked_for(workbench, params, textured):
    data = glb.encode_model(build("coloured_torus"), name="m")
    job_id = upload(workbench, data, "torus.glb", delivers="model", texture_px=256, **params)
    assert workbench.run(job_id).success, workbench.row(job_id).error_message
    part = glb.decode_model(workbench.content(job_id, "glb_export")).parts[0]
    assert (part.texture is not None) is textured
    assert (part.material.normal is not None) is (params["bake"] == "detail")
