"""Imports modules of the wrappers into a test; they are no package, so the path has their folder for it."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from pipeline3d_tests.unit.wrappers.driving import WRAPPERS


def wrapper_module(name: str, folder: str = "") -> ModuleType:
    """`protocol`, or `prompts` in `dreamfusion`."""
    places = [str(WRAPPERS / folder), str(WRAPPERS)]
    sys.path[:0] = places
    try:
        return importlib.import_module(name)
    finally:
        for place in places:
            sys.path.remove(place)
