"""Wrappers of the stand-in model, and a look at what processes are left."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

from pipeline3d.generation.serving import (
    Patience,
    WrapperProgram,
    WrapperRequest,
    reduce_environment,
    start_wrapper,
)

FAKE_MODEL = Path(__file__).parents[4] / "wrappers" / "fake_model" / "run.py"


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def program():
    """Makes programs of the stand-in; `patience` and more as for `WrapperProgram`."""

    def make(*, command=None, patience=None, **more) -> WrapperProgram:
        return WrapperProgram(
            name="fake",
            command=tuple(command or (sys.executable, str(FAKE_MODEL))),
            environment=reduce_environment(os.environ),
            patience=Patience(**(patience or {})),
            **more,
        )

    return make


@pytest.fixture
def script(program, tmp_path):
    """Makes programs of Python text, which say what they like."""

    def make(text: str, **more) -> WrapperProgram:
        path = tmp_path / "script.py"
        path.write_text(text)
        return program(command=(sys.executable, str(path)), **more)

    return make


@pytest.fixture
def start(tmp_path):
    """Starts wrappers and ends them with the test."""
    begun = []

    def make(program, mode="resident"):
        begun.append(start_wrapper(program, tmp_path / "logs" / f"{len(begun)}.log", mode=mode))
        return begun[-1]

    yield make
    for wrapper in begun:
        wrapper.close()


@pytest.fixture
def request_for(tmp_path):
    """Makes requests with an empty output folder each; parameters are the faults of the stand-in."""
    made = []

    def make(**params) -> WrapperRequest:
        made.append(tmp_path / f"output{len(made)}")
        made[-1].mkdir()
        return WrapperRequest(id=f"job:{len(made)}", output_dir=made[-1], params=params, seed=7)

    return make
