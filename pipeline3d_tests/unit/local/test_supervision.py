import configparser
import json
from pathlib import Path

import pytest

from pipeline3d.errors import ServerFailure
from pipeline3d.local.probes import HttpProbe, parse_probe
from pipeline3d.local.supervision import (
    Program,
    build_program_document,
    build_supervisor_configuration,
    plan_levels,
)


def program(name, *after, **options):
    return Program(name=name, command=["serve"], directory=Path("/"), after=after, **options)


def names(levels):
    return [[item.name for item in level] for level in levels]


def test_levels_follow_the_dependencies_whatever_the_order_given():
    programs = [program("web", "api"), program("api", "db", "store"), program("db"), program("store")]
    assert names(plan_levels(programs)) == [["db", "store"], ["api"], ["web"]]


@pytest.mark.parametrize(
    "programs",
    [
        [program("a", "b"), program("b", "a")],  # a circle
        [program("a", "missing")],  # nobody of this name
    ],
)
def test_programs_that_could_never_begin_are_refused(programs):
    with pytest.raises(ServerFailure, match="wait for each other or for an unknown one"):
        plan_levels(programs)


def test_the_configuration_restarts_servers_for_ever_and_once_programs_until_they_succeed():
    text = build_supervisor_configuration(
        plan_levels([program("db", stop_signal="INT"), program("prepare", "db", once=True)]), as_root=True
    )
    parsed = configparser.RawConfigParser()
    parsed.read_string(text)
    assert parsed["program:db"]["autorestart"] == "true"
    assert parsed["program:db"]["stopsignal"] == "INT"
    assert parsed["program:prepare"]["autorestart"] == "unexpected"
    assert parsed["group:level0"]["programs"] == "db"
    assert parsed["group:level1"]["priority"] == "1"
    assert parsed["supervisord"]["user"] == "root"


def test_secrets_stay_out_of_the_configuration():
    secret = program("db", environment={"PASSWORD": "do-not-tell"})
    assert "do-not-tell" not in build_supervisor_configuration([[secret]], as_root=False)
    assert "do-not-tell" not in repr(secret)


def test_a_document_says_how_to_see_that_each_dependency_is_ready():
    probe = HttpProbe(url="http://127.0.0.1:1/health")
    programs = [
        program("probed", ready=probe),
        program("once", once=True),
        program("unprobed"),
        program("last", "probed", "once", "unprobed"),
    ]
    document = json.loads(json.dumps(build_program_document(programs[3], programs, Path("/data"))))
    asked, done, begun = document["waits_for"]
    assert parse_probe(asked) == probe
    assert done == {"file": "/data/run/once.done"}
    assert begun == {"file": "/data/run/unprobed.begun.json"}
