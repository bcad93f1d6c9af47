"""The command line: errors are sentences, parameters are JSON where they can be."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipeline3d.cli import main
from pipeline3d.job_commands import parse_params


@pytest.mark.parametrize(
    ("params", "parsed"),
    [
        ((), {}),
        (("size_m=0.3",), {"size_m": 0.3}),  # a number
        (("quality=fast",), {"quality": "fast"}),  # a word is no JSON
        (('prompt="a=b"',), {"prompt": "a=b"}),  # quoted, with the separator inside
        (("seed=7", "seed=8"), {"seed": 8}),  # the last one counts
    ],
)
def test_parameters_are_read_as_json_where_they_can_be(params, parsed):
    assert parse_params(params) == parsed


def test_a_parameter_without_a_value_is_refused():
    with pytest.raises(click.BadParameter, match="NAME=VALUE"):
        parse_params(("quality",))


def test_wrong_settings_end_the_command_with_the_variable_and_without_a_traceback():
    result = CliRunner(env={"LOG_LEVEL": "loud"}).invoke(main, ["doctor"])
    assert result.exit_code == 2
    assert "LOG_LEVEL" in result.output
    assert "Traceback" not in result.output


def test_before_the_first_start_a_command_says_what_to_do(tmp_path):
    photo = tmp_path / "photo.png"
    photo.touch()
    environment = {"PIPELINE3D_DATA_DIR": str(tmp_path / "data"), "DATABASE_URL": "", "MINIO_ENDPOINT": ""}
    result = CliRunner(env=environment).invoke(main, ["submit", str(photo)])
    assert result.exit_code == 1
    assert "make up" in result.output


def test_a_demo_of_a_file_that_is_not_there_starts_nothing(tmp_path):
    environment = {"PIPELINE3D_DATA_DIR": str(tmp_path / "data")}
    result = CliRunner(env=environment).invoke(main, ["demo", "--input", str(tmp_path / "none.jpg")])
    assert result.exit_code == 1
    assert "none.jpg is not a file" in result.output
    assert not Path(tmp_path / "data").exists()


def test_the_env_example_can_be_checked_for_freshness():
    assert CliRunner().invoke(main, ["env-example", "--check"]).exit_code == 0
