"""A bundle that was changed, damaged or made by somebody hostile is noticed, and never unpacked too far."""

from __future__ import annotations

import json
import stat
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.geometry.bundle_checks import check_bundle, clashing_names
from pipeline3d.geometry.bundling import BundleFile, BundleText, build_bundle

TEXT = BundleText(title="Cube", alt="A cube", licence="CC0-1.0", model={}, provenance={})
FILES = (
    BundleFile(name="cube.glb", role="glb", content=b"glTF" * 40),
    BundleFile(name="cube.usdz", role="usdz", content=bytes(range(256))),
)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return build_bundle(FILES, tmp_path_factory.mktemp("bundle") / "cube.zip", text=TEXT).path


def rewritten(source, target, change):
    """The bundle again after `change` was made to its {name: bytes}; a ZipInfo may be a name, too."""
    with zipfile.ZipFile(source) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    change(contents)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return target


def changed_manifest(change):
    def apply(contents):
        manifest = json.loads(contents["manifest.json"])
        change(manifest)
        contents["manifest.json"] = json.dumps(manifest).encode()

    return apply


def link():
    entry = zipfile.ZipInfo("link.glb")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


CHANGES = [
    pytest.param(lambda c: c.update({"cube.glb": b"glTF" * 39 + b"GLTF"}), "SHA-256 is another", id="a byte"),
    pytest.param(lambda c: c.update({"cube.glb": b"glTF"}), "the manifest says 160", id="cut"),
    pytest.param(lambda c: c.pop("cube.usdz"), "not in the ZIP", id="missing"),
    pytest.param(lambda c: c.update({"extra.exe": b"MZ"}), "not in the manifest", id="extra"),
    pytest.param(lambda c: c.pop("manifest.json"), "no manifest", id="no manifest"),
    pytest.param(lambda c: c.update({"manifest.json": b"{"}), "cannot be read", id="half a manifest"),
    pytest.param(lambda c: c.update({"manifest.json": b"[" * 99_999}), "cannot be read", id="deep manifest"),
    pytest.param(lambda c: c.update({"manifest.json": b"[]"}), "wrong at $", id="manifest is a list"),
    pytest.param(changed_manifest(lambda m: m.update(version=2)), "$.version", id="another version"),
    pytest.param(changed_manifest(lambda m: m["files"][0].update(sha256="x")), "sha256", id="no hash"),
    pytest.param(
        changed_manifest(lambda m: m["files"][0].update(name="../x")), "name", id="unsafe name in it"
    ),
    pytest.param(changed_manifest(lambda m: m["files"].append(m["files"][0])), "twice", id="listed twice"),
    pytest.param(changed_manifest(lambda m: m.pop("licence")), "licence", id="no licence"),
    pytest.param(lambda c: c.update({"../evil.glb": b""}), "its name", id="traversal"),
    pytest.param(lambda c: c.update({"CUBE.GLB": b""}), "there twice", id="same name on Windows"),
    pytest.param(lambda c: c.update({link(): b"/etc/passwd"}), "is a link", id="link"),
    pytest.param(lambda c: c.update({f"{n}.glb": b"" for n in range(1001)}), "entries", id="too many"),
]


def test_a_good_bundle_is_good(good):
    assert check_bundle(good) == []


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_each_change_is_noticed(good, tmp_path, change, said):
    problems = check_bundle(rewritten(good, tmp_path / "changed.zip", change))
    assert any(said in problem for problem in problems), problems


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all" * 99, b"glTF\x02\0\0\0"])
def test_what_is_no_zip_is_said_to_be_none(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    (problem,) = check_bundle(tmp_path / "a.zip")
    assert "cannot be read" in problem


def test_a_bundle_that_is_not_there_is_a_problem_and_no_crash(tmp_path):
    assert "cannot be read" in check_bundle(tmp_path / "gone.zip")[0]


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_no_cut_and_no_wrong_byte_goes_unnoticed_in_the_files(good, tmp_path_factory, data):
    whole = good.read_bytes()
    target = tmp_path_factory.mktemp("broken") / "broken.zip"
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        target.write_bytes(whole[:at])
        assert check_bundle(target) != []
        return
    target.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
    problems = check_bundle(target)
    # Some bytes of a ZIP (times, systems) say nothing about what is inside; then the contents must be right.
    if not problems:
        with zipfile.ZipFile(target) as archive:
            for file in FILES:
                assert archive.read(file.name) == file.content


@pytest.mark.parametrize(
    ("names", "clashes"),
    [
        (["a", "b", "c/a"], []),
        (["a", "A"], ["A"]),
        (["a/b", "a"], ["a"]),
        (["a", "a/b/c"], ["a/b/c"]),
        (["x/a", "X/b"], []),
    ],
)
def test_names_that_fall_together_are_found(names, clashes):
    assert clashing_names(names) == clashes
