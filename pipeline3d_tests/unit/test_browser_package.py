"""Which browser draws the pages, and that nothing but the known one is ever fetched."""

import base64
import hashlib
import platform

import pytest

from pipeline3d_tests import browser_package
from pipeline3d_tests.browser_package import NAMED_BY, NoBrowser, check_package, fetch_browser, find_browser


def put_program(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def places(tmp_path):
    """Every place that a browser may be in."""
    return {
        "named": put_program(tmp_path / "named/some-browser"),
        "installed": put_program(tmp_path / "bin/chromium"),
        "chrome": put_program(tmp_path / "bin/google-chrome"),
        "fetched": put_program(tmp_path / "home/chromium"),
    }


@pytest.mark.parametrize(
    ("missing", "found"),
    [
        ([], "named"),
        (["named"], "installed"),
        (["named", "installed"], "chrome"),
        (["named", "installed", "chrome"], "fetched"),
    ],
)
def test_the_one_named_goes_before_installed_ones_and_these_before_the_fetched_one(
    places, tmp_path, missing, found
):
    environ = {"PATH": str(tmp_path / "bin"), NAMED_BY: str(places["named"])}
    for place in missing:
        places[place].unlink()
    if "named" in missing:
        del environ[NAMED_BY]
    assert find_browser(environ, tmp_path / "home") == places[found]


def test_a_wrong_name_is_told_and_not_replaced(places, tmp_path):
    environ = {"PATH": str(tmp_path / "bin"), NAMED_BY: str(tmp_path / "nothing")}
    with pytest.raises(NoBrowser, match=rf"{NAMED_BY} names .*/nothing"):
        find_browser(environ, tmp_path / "home")


def test_a_snap_is_passed_over(places, tmp_path):
    places["chrome"].unlink()
    places["installed"].unlink()
    places["installed"].symlink_to(put_program(tmp_path / "usr/bin/snap"))
    assert find_browser({"PATH": str(tmp_path / "bin")}, tmp_path / "home") == places["fetched"]


def test_none_at_all_is_told(tmp_path):
    with pytest.raises(NoBrowser, match="no Chromium on PATH"):
        find_browser({}, tmp_path)


def test_other_bytes_than_the_known_ones_are_refused(tmp_path, monkeypatch):
    package = tmp_path / "package.tgz"
    package.write_bytes(b"something else")
    with pytest.raises(NoBrowser, match="not the one that is known"):
        check_package(package)
    known = base64.b64encode(hashlib.sha512(b"something else").digest()).decode()
    monkeypatch.setattr(browser_package, "SHA512", known)
    check_package(package)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'registry is away' >&2; exit 1", "npm failed: registry is away"),
        ("printf changed > changed.tgz", "not the one that is known"),
    ],
)
def test_a_fetch_that_fails_says_why_and_leaves_nothing(tmp_path, monkeypatch, script, said):
    npm = put_program(tmp_path / "bin/npm")
    npm.write_text(f"#!/bin/sh\n{script}\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    home = tmp_path / "environment" / "chromium-1"
    home.parent.mkdir()
    with pytest.raises(NoBrowser, match=said):
        fetch_browser(home)
    assert list(home.parent.iterdir()) == []


def test_a_machine_for_which_there_is_none_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(NoBrowser, match="aarch64: install Chromium"):
        fetch_browser(tmp_path / "chromium-1")
