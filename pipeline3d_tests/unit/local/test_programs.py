from pathlib import Path

import pytest

from pipeline3d.local.environment import build_environment
from pipeline3d.local.programs import plan_servers, plan_services
from pipeline3d.local.ready_files import READY_VARIABLE
from pipeline3d.local.state import PORT_NAMES, LocalState
from pipeline3d.local.supervision import build_program_document, plan_levels

STATE = LocalState(
    ports={name: 5000 + number for number, name in enumerate(PORT_NAMES)},
    postgres_password="pg-secret",
    object_store_access_key="access",
    object_store_secret_key="s3-secret",
    superuser_password="first-secret",
    api_signing_secret="sign-secret",
)
BOTH = frozenset({"postgres", "objects"})
STOP_LIMIT_S = 10


def plan_all(embedded=BOTH, **options):
    checkout, data = Path("/checkout"), Path("/data")
    environment = build_environment(STATE, data_directory=data, configured={})
    servers = plan_servers(
        STATE, data_directory=data, embedded=embedded, origins=["http://a", "http://b"], checkout=checkout
    )
    services = plan_services(
        environment,
        checkout=checkout,
        after=tuple(server.name for server in servers),
        **options,
    )
    return [*servers, *services]


def test_everything_stands_on_the_servers_and_on_a_prepared_database():
    levels = [{program.name for program in level} for level in plan_levels(plan_all())]
    assert levels[0] == {"postgres", "objects"}
    assert levels[1] == {"migrate", "migrate-dagster", "code-server"}
    assert levels[2] == {"seed", "api", "daemon", "worker", "courier", "webserver"}
    assert levels[3] == {"lineage"}
    assert len(levels) == 4


def test_nobody_waits_for_the_read_only_page_and_it_can_be_left_out():
    assert [program.name for program in plan_all() if not program.awaited] == ["lineage"]
    assert "lineage" not in [program.name for program in plan_all(lineage=False)]


def test_the_definitions_are_loaded_while_the_servers_begin():
    planned = plan_all()
    waiting = {
        program.name: bool(build_program_document(program, planned, Path("/data"))["waits_for"])
        for program in planned
    }
    assert [name for name, waits in waiting.items() if not waits] == ["postgres", "objects", "code-server"]


def test_a_demo_has_no_pages_of_dagster_and_waits_for_no_courier():
    planned = plan_all(visited=False)
    assert not {"webserver", "lineage"} & {program.name for program in planned}
    assert [program.name for program in planned if not program.awaited] == ["courier"]
    assert plan_levels(planned)[-1] == [program for program in planned if program.name == "courier"]


def test_only_the_api_listens_where_others_reach_it():
    """Whoever reaches Dagster's webserver or code server can run anything: there is no key to them."""
    for program in plan_all(host="0.0.0.0"):
        assert ("0.0.0.0" in program.command) is (program.name == "api")
        if program.name in ("webserver", "lineage", "code-server"):
            assert program.command[program.command.index("-h") + 1] == "127.0.0.1"


def test_the_read_only_page_changes_nothing_and_each_has_its_own_path():
    programs = {program.name: program.command for program in plan_all()}
    assert "--read-only" in programs["lineage"]
    assert "--read-only" not in programs["webserver"]
    for name, path in (("webserver", "/dagster"), ("lineage", "/lineage")):
        assert programs[name][programs[name].index("--path-prefix") + 1] == path


def test_with_servers_elsewhere_only_ours_is_started():
    names = [program.name for program in plan_all(embedded=frozenset())]
    assert names == [
        "migrate",
        "migrate-dagster",
        "seed",
        "api",
        "code-server",
        "daemon",
        "worker",
        "courier",
        "webserver",
        "lineage",
    ]


def test_no_secret_is_in_a_command_line():
    for program in plan_all():
        assert "secret" not in " ".join(program.command)


def test_a_stop_of_all_levels_fits_into_the_limit():
    levels = plan_levels(plan_all())
    serving = [[program for program in level if not program.once] for level in levels]
    assert sum(max(program.stop_timeout_s for program in level) for level in serving if level) < STOP_LIMIT_S


def test_pages_are_asked_on_loopback_when_they_listen_everywhere():
    api = next(program for program in plan_all(host="0.0.0.0") if program.name == "api")
    assert "0.0.0.0" in api.command
    assert api.ready.url == "http://127.0.0.1:5002/health"


@pytest.mark.parametrize("name", ["daemon", "worker", "courier"])
def test_a_program_without_a_page_says_by_itself_that_it_is_ready(name):
    """In a folder that is made anew at each start, so that what an earlier one said does not count."""
    program = next(program for program in plan_all() if program.name == name)
    assert program.environment[READY_VARIABLE] == program.ready.path == f"/data/run/{name}.ready"
    assert "PIPELINE3D_DATA_DIR" in program.environment


def test_the_worker_lets_its_runs_end_for_less_time_than_it_is_given_itself():
    worker = next(program for program in plan_all() if program.name == "worker")
    grace_s = float(worker.command[worker.command.index("--grace") + 1])
    assert 0 < grace_s < worker.stop_timeout_s
