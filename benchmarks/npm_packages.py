"""Yardsticks that come from npm: installed into a folder of the benchmark, which forgets it afterwards."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

INSTALL_S = 600


def install(package: str, folder: Path, *, otherwise: str) -> None:
    """Install a package. Raises SystemExit, which says what to do `otherwise`, where there is no npm."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit(f"npm is not on PATH; {otherwise}")
    quietly = ["--no-audit", "--no-fund", "--loglevel=error"]
    command = [npm, "install", "--prefix", str(folder), *quietly, package]
    subprocess.run(command, check=True, timeout=INSTALL_S, cwd=folder)
