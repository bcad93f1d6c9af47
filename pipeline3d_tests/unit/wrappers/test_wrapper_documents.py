"""What the wrappers' README promises is what the code has."""

from __future__ import annotations

import re

import pytest

from pipeline3d_tests.unit.wrappers.driving import WRAPPERS, command, request, run_once
from pipeline3d_tests.unit.wrappers.modules import wrapper_module

README = (WRAPPERS / "README.md").read_text()
PACKAGE = """
import shutil


class Network:
    def write(self, image, path):
        shutil.copy(image, path)


def load(path):
    return Network()
"""
"""A model that the README's example could be about."""
NAMES = sorted(path.parent.name for path in WRAPPERS.glob("*/run.py"))


@pytest.mark.parametrize("name", NAMES)
def test_each_wrapper_has_its_requirements_and_its_variables_in_the_readme(name):
    assert (WRAPPERS / name / "requirements.txt").is_file()
    (described,) = command(name, ["--describe"]).events
    assert described["name"] == name.replace("_model", "")
    for variable in described["environment"]:
        assert f"`{variable}`" in README or variable in ("TCNN_CUDA_ARCHITECTURES", "CUDA_HOME")


def test_the_table_of_exit_codes_is_the_one_of_the_code():
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", README.split("### Failures and exit codes")[1], re.MULTILINE)
    told = {code: int(row[0]) for row in rows for code in re.findall(r"`([a-z_]+)`", row[1])}
    assert told == wrapper_module("protocol").EXIT_CODES


def test_the_example_of_the_readme_is_a_working_wrapper(tmp_path, monkeypatch):
    example = README.split("## How to write one")[1].split("An exception that leaves")[0]
    program = "\n".join(line[4:] for line in example.splitlines())
    folder = tmp_path / "mine"
    folder.mkdir()
    for module in WRAPPERS.glob("*.py"):
        (tmp_path / module.name).write_bytes(module.read_bytes())
    (folder / "run.py").write_text(program)
    (folder / "mine.py").write_text(PACKAGE)
    good = run_once("fake_model", request(tmp_path / "good"), tmp_path).last["outputs"][0]["path"]
    monkeypatch.setattr("pipeline3d_tests.unit.wrappers.driving.WRAPPERS", tmp_path)
    wanted = request(tmp_path / "out", images=[good], params={"size": 40})
    ended = run_once("mine", wanted, tmp_path, MINE_MODEL_PATH="/models/mine")
    assert ended.code == 0, ended.stderr
    assert ended.last["facts"]["faces"] == 720
    assert command("mine", ["--describe"]).events[0]["ready"] is False
