"""The variables that make a wrapper drive a stand-in instead of the real program."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline3d_tests.unit.wrappers.driving import STAND_INS

PROGRAMS = {"sf3d": "sf3d/run.py", "dreamfusion": "threestudio/launch.py", "triposr": "triposr/run.py"}
PREFIXES = {"sf3d": "SF3D", "dreamfusion": "DREAMFUSION", "triposr": "TRIPOSR"}


def stand_in(name: str, fault: str = "", record: Path | None = None, **more: str) -> dict[str, str]:
    """Where the program is, which fault it plays, and where it tells of its start."""
    prefix = PREFIXES[name]
    variables = {
        f"{prefix}_SCRIPT_PATH": str(STAND_INS / PROGRAMS[name]),
        f"{prefix}_PYTHON_PATH": sys.executable,
        "LC_STAND_IN": fault,
    }
    if record is not None:
        variables["LC_STAND_IN_RECORD"] = str(record)
    return variables | more


FAULTS = [
    # fault, code, exit code, retryable
    ("out_of_memory", "out_of_memory", 4, True),
    ("gpu_lost", "gpu_lost", 7, True),
    ("gated", "licence_not_accepted", 3, False),
    ("weights_missing", "weights_missing", 3, False),
    ("weights_invalid", "weights_invalid", 3, False),
    ("wrong_build", "model_missing", 3, False),
    ("no_object", "invalid_request", 2, False),
    ("crash", "script_failed", 5, False),
    ("segfault", "script_failed", 5, False),
    ("killed", "script_failed", 5, True),
    ("hang", "script_hung", 8, True),
]
"""What each fault of an upstream program has to become."""
BROKEN_FILES = [
    ("no_file", "empty_output"),
    ("empty_glb", "empty_output"),
    ("no_faces", "empty_output"),
    ("nan_mesh", "broken_output"),
    ("wild_index", "broken_output"),
    ("truncated_glb", "broken_output"),
    ("not_glb", "broken_output"),
    ("zero_bytes", "broken_output"),
]
"""What each kind of file that a program leaves, having ended with 0, has to become."""
