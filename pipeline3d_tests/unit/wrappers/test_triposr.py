"""TripoSR's wrapper: upstream's arguments, and what has to be mended in upstream's mesh."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pipeline3d.geometry.glb import decode_glb, read_document
from pipeline3d_tests.pictures import draw, encode
from pipeline3d_tests.unit.wrappers.driving import (
    STAND_INS,
    Resident,
    command,
    read_record,
    request,
    run_once,
)
from pipeline3d_tests.unit.wrappers.upstream_programs import BROKEN_FILES, FAULTS, stand_in


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(encode(draw("apple", "plain", size=64).rgb, "PNG"))
    return path


def test_the_upstream_program_gets_exactly_its_arguments(photo, tmp_path):
    record = tmp_path / "record"
    wanted = request(tmp_path / "out", images=[photo])
    ended = run_once("triposr", wanted, tmp_path, **stand_in("triposr", record=record))
    assert ended.code == 0, ended.stderr
    launched = read_record(record)
    arguments = launched["argv"]
    scratch = arguments.pop(arguments.index("--output-dir") + 1)
    assert scratch.startswith(str(tmp_path / "out"))
    assert arguments == [
        str(photo),
        *("--device", "cuda:0"),
        *("--pretrained-model-name-or-path", "stabilityai/TripoSR"),
        *("--chunk-size", "8192"),
        *("--mc-resolution", "256"),
        *("--foreground-ratio", "0.85"),
        "--output-dir",
        *("--model-save-format", "glb"),
    ]
    assert launched["cwd"] == str(STAND_INS / "triposr")


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"mc_resolution": 384}, ["--mc-resolution", "384"]),
        ({"chunk_size": 131072}, ["--chunk-size", "131072"]),
        ({"memory_divisor": 4}, ["--chunk-size", "2048"]),
        ({"memory_divisor": 64, "chunk_size": 1024}, ["--chunk-size", "256"]),
        ({"memory_divisor": 2, "chunk_size": 0}, ["--chunk-size", "4096"]),  # 0 is everything at once
        ({"foreground_ratio": 0.9}, ["--foreground-ratio", "0.9"]),
        ({"device": "cpu"}, ["--device", "cpu"]),
        ({"remove_background": False}, ["--no-remove-bg"]),  # upstream makes no folder then
    ],
)
def test_each_parameter_becomes_its_argument(params, expected, photo, tmp_path):
    record = tmp_path / "record"
    wanted = request(tmp_path / "out", images=[photo], params=params)
    ended = run_once("triposr", wanted, tmp_path, **stand_in("triposr", record=record))
    assert ended.code == 0, ended.stderr
    arguments = read_record(record)["argv"]
    at = arguments.index(expected[0])
    assert arguments[at : at + len(expected)] == expected


def test_the_mesh_is_turned_upright_made_matt_and_its_colours_linear(photo, tmp_path):
    wanted = request(tmp_path / "out", images=[photo])
    ended = run_once("triposr", wanted, tmp_path, **stand_in("triposr"))
    content = (tmp_path / "out" / "mesh.glb").read_bytes()
    mesh = decode_glb(content)
    # upstream's box measures 1 in x (towards the camera), 2 in y, 4 in z (up)
    assert np.ptp(mesh.vertices, axis=0).tolist() == [2.0, 4.0, 1.0]
    corners = mesh.vertices[mesh.faces].astype(float)
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert volume == pytest.approx(8.0)  # positive: the faces still look outwards
    document = read_document(content)
    assert document["materials"][0]["pbrMetallicRoughness"]["metallicFactor"] == 0.0
    assert document["meshes"][0]["primitives"][0]["material"] == 0
    bounds = document["accessors"][1]
    assert (bounds["min"], bounds["max"]) == ([-1.0, -2.0, -0.5], [1.0, 2.0, 0.5])
    # sRGB 128 and 64 in linear light; alpha is no colour and stays
    assert mesh.colours[0].tolist() == [55, 13, 255, 200]
    assert sorted(os.listdir(tmp_path / "out")) == ["mesh.glb"]
    stages = [event["message"] for event in ended.events if event["event"] == "progress"]
    assert stages[-1] == "done"


@pytest.mark.parametrize(("fault", "code", "exit_code", "retryable"), FAULTS)
def test_each_fault_of_the_program_has_its_code(fault, code, exit_code, retryable, photo, tmp_path):
    variables = stand_in("triposr", fault, UPSTREAM_STALL_S="0.5" if fault == "hang" else "60")
    ended = run_once("triposr", request(tmp_path / "out", images=[photo]), tmp_path, **variables)
    assert (ended.last["code"], ended.code) == (code, exit_code)
    assert ended.last["retryable"] is retryable
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize(("fault", "code"), BROKEN_FILES)
def test_an_exit_code_of_zero_is_not_believed(fault, code, photo, tmp_path):
    ended = run_once(
        "triposr", request(tmp_path / "out", images=[photo]), tmp_path, **stand_in("triposr", fault)
    )
    assert (ended.last["code"], ended.code) == (code, 5)
    assert os.listdir(tmp_path / "out") == []


def test_no_picture_and_a_wrong_resolution_are_refused(photo, tmp_path):
    for wanted in (
        request(tmp_path / "a"),
        request(tmp_path / "b", images=[photo], params={"mc_resolution": 10_000}),
    ):
        ended = run_once("triposr", wanted, tmp_path, **stand_in("triposr"))
        assert (ended.last["code"], ended.code) == ("invalid_request", 2)


def test_what_is_missing_is_told_in_the_description(tmp_path):
    (described,) = command("triposr", ["--describe"], TRIPOSR_MODEL_PATH=str(tmp_path)).events
    assert described["ready"] is False
    assert len(described["needs"]) == 3


@pytest.mark.parametrize("release", ["", "old_release"])
def test_the_resident_form_loads_the_package_once_and_mends_its_mesh(release, photo, tmp_path):
    """Newer releases of the package want to be told of vertex colours, older ones refuse the word."""
    with Resident("triposr", **package_variables(release)) as model:
        wanted = [request(tmp_path / str(n), id=f"job:{n}", images=[photo]) for n in range(2)]
        ends = [model.run(one) for one in wanted]
        assert [end["event"] for end in ends] == ["done"] * 2, ends
        assert [end["facts"]["loads"] for end in ends] == [1, 1]
        mesh = decode_glb((tmp_path / "1" / "mesh.glb").read_bytes())
        assert np.ptp(mesh.vertices, axis=0).tolist() == [2.0, 4.0, 1.0]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("weights_missing", "weights_missing"),
        ("weights_invalid", "weights_invalid"),
        ("out_of_memory", "out_of_memory"),
        ("no_object", "invalid_request"),
        ("empty_mesh", "empty_output"),
    ],
)
def test_a_fault_in_the_package_has_its_code_and_the_process_stays(fault, code, photo, tmp_path):
    with Resident("triposr", **package_variables(fault)) as model:
        assert model.run(request(tmp_path / "out", images=[photo]))["code"] == code
        model.send(op="health", id="h")
        assert model.wait_for("health")["id"] == "h"


def package_variables(fault: str) -> dict[str, str]:
    """Stand-ins of the packages tsr, rembg and torch; Pillow and numpy are the real ones."""
    packages = STAND_INS / "triposr" / "packages"
    return {"PYTHONPATH": str(packages), "LC_STAND_IN": fault}
