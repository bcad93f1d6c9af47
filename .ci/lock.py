"""Resolve the ranges of pyproject.toml, all extras included, into constraints.txt.

Resolves without installing. torch is resolved first and held, since its releases pull gigabytes.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HELD = ["torch==2.13.0"]

project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
extras = ",".join(sorted(project["optional-dependencies"]))
report = subprocess.run(
    [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    + [f"{ROOT}[{extras}]", *HELD],
    check=True,
    capture_output=True,
    text=True,
).stdout
pins = sorted(
    f"{item['metadata']['name'].lower().replace('_', '-')}=={item['metadata']['version'].split('+')[0]}"
    for item in json.loads(report)["install"]
    if item["metadata"]["name"] != project["name"]
)
header = "# Tested versions of everything, made by `make lock`. Ranges are in pyproject.toml.\n"
(ROOT / "constraints.txt").write_text(header + "\n".join(pins) + "\n")
print(f"constraints.txt: {len(pins)} packages")
