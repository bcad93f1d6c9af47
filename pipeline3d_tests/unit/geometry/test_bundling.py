"""Bundles hold what they say, come out equal from equal inputs, and refuse what would be unsafe to unpack."""

from __future__ import annotations

import hashlib
import json
import zipfile

import pytest
from jsonschema import Draft202012Validator

from pipeline3d.errors import InvalidParameters, UnusableInput
from pipeline3d.geometry.bundle_checks import check_bundle, manifest_schema
from pipeline3d.geometry.bundling import (
    MEDIA_TYPES,
    OWN_NAMES,
    ROLES,
    BundleFile,
    BundleText,
    build_bundle,
    file_stem,
    media_type_of,
)
from pipeline3d.geometry.gate import judge
from pipeline3d.geometry.gate_facts import DeliveryFacts
from pipeline3d_tests.broken_glbs import WHOLE
from pipeline3d_tests.pictures import draw, encode

PICTURE = encode(draw("apple", "plain", size=32).rgb, "PNG")
TEXT = BundleText(
    title="A chair",
    alt="A red chair",
    licence="CC0-1.0",
    model={"faces": 12, "extents_m": [1.0, 1.0, 1.0]},
    provenance={"request": "r-1", "seed": 7, "photo_sha256": "ab" * 32},
)
FILES = (
    BundleFile(name="chair.glb", role="glb", content=WHOLE),
    BundleFile(name="chair.web.glb", role="web_glb", content=WHOLE),
    BundleFile(name="chair.usdz", role="usdz", content=b"PK" + bytes(500)),
    BundleFile(name="poster.png", role="poster", content=PICTURE),
    BundleFile(name="turntable.mp4", role="turntable_mp4", content=bytes(900), size_px=(512, 512)),
    BundleFile(name="lods/chair.lod1.glb", role="lod", content=WHOLE),
)
REPORT = judge("web", DeliveryFacts(faces=12))


def built(folder, files=FILES, text=TEXT, **more):
    return build_bundle(files, folder / "chair.zip", text=text, **more)


def test_a_bundle_holds_every_file_as_it_was_and_passes_its_check(tmp_path):
    bundle = built(tmp_path, report=REPORT)
    assert check_bundle(bundle.path) == []
    with zipfile.ZipFile(bundle.path) as archive:
        assert set(archive.namelist()) == {file.name for file in FILES} | set(OWN_NAMES)
        for file in FILES:
            assert archive.read(file.name) == file.content
        assert json.loads(archive.read("manifest.json")) == bundle.manifest
        assert json.loads(archive.read("report.json")) == REPORT.as_json()
    assert bundle.sha256 == hashlib.sha256(bundle.path.read_bytes()).hexdigest()
    assert bundle.bytes == bundle.path.stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["chair.zip"]


def test_the_manifest_keeps_to_its_schema_and_says_what_is_inside(tmp_path):
    manifest = built(tmp_path, report=REPORT).manifest
    Draft202012Validator.check_schema(manifest_schema())
    Draft202012Validator(manifest_schema()).validate(manifest)
    assert set(manifest) == set(manifest_schema()["properties"]) == set(manifest_schema()["required"])
    files = {file["name"]: file for file in manifest["files"]}
    assert files["poster.png"] == {
        "name": "poster.png",
        "role": "poster",
        "media_type": "image/png",
        "bytes": len(PICTURE),
        "sha256": hashlib.sha256(PICTURE).hexdigest(),
        "width": 32,
        "height": 32,
    }
    assert (files["turntable.mp4"]["width"], files["turntable.mp4"]["height"]) == (512, 512)
    assert set(manifest["files"][0]) <= set(manifest_schema()["properties"]["files"]["items"]["properties"])
    assert manifest["quality"]["verdict"] == "FAIL"
    assert manifest["provenance"]["seed"] == 7


@pytest.mark.parametrize("role", ROLES)
def test_every_role_keeps_to_the_schema(tmp_path, role):
    Draft202012Validator(manifest_schema()).validate(
        built(tmp_path, [BundleFile(name="a.bin", role=role, content=b"1")]).manifest
    )


def test_equal_inputs_give_equal_bytes_in_any_order_and_from_disk(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "chair.glb").write_bytes(WHOLE)
    again = [BundleFile(name="chair.glb", role="glb", content=tmp_path / "chair.glb"), *reversed(FILES[1:])]
    assert built(tmp_path / "one").sha256 == built(tmp_path / "two", again).sha256


def test_nothing_of_this_machine_is_in_the_entries(tmp_path):
    with zipfile.ZipFile(built(tmp_path).path) as archive:
        for entry in archive.infolist():
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert (entry.create_system, entry.external_attr >> 16) == (3, 0o100644)
            assert not entry.extra


def test_what_is_compressed_already_is_stored(tmp_path):
    with zipfile.ZipFile(built(tmp_path).path) as archive:
        stored = {entry.filename for entry in archive.infolist() if entry.compress_type == zipfile.ZIP_STORED}
    assert stored == {"chair.usdz", "poster.png", "turntable.mp4"}


def test_the_page_shows_the_web_model_with_its_poster_and_the_usdz(tmp_path):
    with zipfile.ZipFile(built(tmp_path, compression="meshopt").path) as archive:
        page = archive.read("index.html").decode()
    for part in ('src="chair.web.glb"', 'ios-src="chair.usdz"', 'poster="poster.png"', 'alt="A red chair"'):
        assert part in page
    assert "meshoptDecoderLocation" in page


def test_without_a_web_model_the_page_shows_the_plain_one_without_a_decoder(tmp_path):
    with zipfile.ZipFile(built(tmp_path, FILES[:1], compression="meshopt").path) as archive:
        page = archive.read("index.html").decode()
    assert 'src="chair.glb"' in page
    assert "meshoptDecoderLocation" not in page


def test_a_bundle_for_a_printer_has_no_page(tmp_path):
    bundle = built(tmp_path, [BundleFile(name="a.stl", role="stl", content=b"solid")])
    with zipfile.ZipFile(bundle.path) as archive:
        assert "index.html" not in archive.namelist()
        assert "http.server" not in archive.read("README.txt").decode()


def test_the_readme_says_what_each_file_is_for(tmp_path):
    with zipfile.ZipFile(built(tmp_path, report=REPORT).path) as archive:
        readme = archive.read("README.txt").decode()
    for word in ("A chair", "chair.usdz", "for iPhones", "CC0-1.0", "http.server", "web: FAIL"):
        assert word in readme


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", "a\nREADME\n====\n", "\ud800", "\0", ""])
def test_hostile_titles_stay_text(tmp_path, evil):
    text = BundleText(title=evil, alt=evil, licence=evil, model={"prompt": evil}, provenance={"prompt": evil})
    bundle = built(tmp_path, text=text)
    assert check_bundle(bundle.path) == []
    with zipfile.ZipFile(bundle.path) as archive:
        assert b"<script>alert" not in archive.read("index.html")
        assert json.loads(archive.read("manifest.json"))["provenance"]["prompt"] == evil


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ([], "empty_bundle"),
        (["../evil.glb"], "unsafe_name"),
        (["/etc/passwd"], "unsafe_name"),
        (["a/../b.glb"], "unsafe_name"),
        (["a\\b.glb"], "unsafe_name"),
        (["c:a.glb"], "unsafe_name"),
        ([".htaccess"], "unsafe_name"),
        (["-rf.glb"], "unsafe_name"),
        (["a//b.glb"], "unsafe_name"),
        (["a/"], "unsafe_name"),
        (["NUL.glb"], "unsafe_name"),
        (["a."], "unsafe_name"),
        (["Stühle.glb"], "unsafe_name"),
        (["a.glb\n"], "unsafe_name"),
        (["x" * 151], "unsafe_name"),
        (["a.glb", "A.glb"], "name_taken"),
        (["a", "a/b.glb"], "name_taken"),
        (["Manifest.json"], "name_taken"),
        (["index.html"], "name_taken"),
        ([f"{number}.glb" for number in range(1000)], "too_many_files"),
    ],
)
def test_names_that_are_unsafe_or_taken_are_refused_before_anything_is_written(tmp_path, names, code):
    with pytest.raises(InvalidParameters) as refusal:
        built(tmp_path, [BundleFile(name=name, role="glb", content=b"1") for name in names])
    assert refusal.value.code == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "text", "error", "code"),
    [
        ({"role": "virus"}, {}, InvalidParameters, "unknown_role"),
        ({"name": "a.png"}, {}, UnusableInput, "unreadable_picture"),
        ({}, {"model": {"area": float("nan")}}, InvalidParameters, "not_json"),
        ({}, {"provenance": {"made": object()}}, InvalidParameters, "not_json"),
    ],
)
def test_a_bundle_that_fails_leaves_the_one_before_as_it_was(tmp_path, file, text, error, code):
    before = built(tmp_path)
    content = {"name": "a.glb", "role": "glb", "content": b"1"} | file
    fields = {name: getattr(TEXT, name) for name in ("title", "alt", "licence", "model", "provenance")}
    with pytest.raises(error) as refusal:
        built(tmp_path, [BundleFile(**content)], BundleText(**(fields | text)))
    assert refusal.value.code == code
    assert [path.name for path in tmp_path.iterdir()] == ["chair.zip"]
    assert hashlib.sha256(before.path.read_bytes()).hexdigest() == before.sha256


def test_a_file_that_is_not_there_leaves_nothing_behind(tmp_path):
    with pytest.raises(FileNotFoundError):
        built(tmp_path, [BundleFile(name="a.glb", role="glb", content=tmp_path / "gone.glb")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("A Red Chair!", "a-red-chair"),
        ("Stühle für Ömer", "stuhle-fur-omer"),
        ("木の椅子", "model"),
        ("../../etc/passwd", "etc-passwd"),
        ("CON", "model"),
        ("", "model"),
        ("x" * 500, "x" * 60),
    ],
)
def test_a_name_for_files_is_made_of_any_text(text, stem):
    assert file_stem(text) == stem


def test_media_types_are_known_for_all_that_is_made():
    assert media_type_of("a.USDZ") == MEDIA_TYPES[".usdz"]
    assert media_type_of("a.unknown") == "application/octet-stream"
