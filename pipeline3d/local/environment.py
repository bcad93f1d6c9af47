"""The one environment in which all processes of an installation run, whoever serves it.

A pure function of what the installation remembers and what its owner configured. What is configured
wins and switches the embedded server behind it off; nothing downstream can tell the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline3d.local.ports import LOOPBACK
from pipeline3d.local.postgres_server import SUPERUSER
from pipeline3d.local.state import LocalState

# Which variable, when configured, replaces which embedded server.
SERVER_BY_VARIABLE: Mapping[str, str] = {"DATABASE_URL": "postgres", "MINIO_ENDPOINT": "objects"}
PORT_BY_VARIABLE: Mapping[str, str] = {
    "PIPELINE3D_API_PORT": "api",
    "PIPELINE3D_CODE_SERVER_PORT": "code_server",
    "PIPELINE3D_DAGSTER_PORT": "dagster",
    "PIPELINE3D_LINEAGE_PORT": "lineage",
}


def plan_embedded_servers(configured: Mapping[str, str]) -> frozenset[str]:
    """The servers that have to be started here: `postgres`, `objects`, both or none."""
    return frozenset(
        server for variable, server in SERVER_BY_VARIABLE.items() if not configured.get(variable)
    )


def plan_wanted_ports(configured: Mapping[str, str]) -> dict[str, int]:
    """The ports that the owner chose, by the name under which `LocalState` keeps them."""
    return {
        name: int(configured[variable])
        for variable, name in PORT_BY_VARIABLE.items()
        if configured.get(variable)
    }


def build_environment(
    state: LocalState, *, data_directory: Path, configured: Mapping[str, str]
) -> dict[str, str]:
    """Every variable that the programs need, generated or configured; an empty one counts as unset."""
    embedded = plan_embedded_servers(configured)
    environment = {
        "PIPELINE3D_DATA_DIR": str(data_directory),
        "DAGSTER_HOME": str(data_directory / "dagster"),
        "PIPELINE3D_COMPUTE_LOGS_DIR": str(data_directory / "compute_logs"),
        "FIRST_SUPERUSER_PASSWORD": state.superuser_password,
        "LINK_SIGNING_KEY": state.api_signing_secret,
        **{variable: str(state.ports[name]) for variable, name in PORT_BY_VARIABLE.items()},
    }
    if "postgres" in embedded:
        address = f"{SUPERUSER}:{state.postgres_password}@{LOOPBACK}:{state.ports['postgres']}"
        environment["DATABASE_URL"] = f"postgresql://{address}/pipeline3d"
        environment["DAGSTER_PG_URL"] = f"postgresql+psycopg2://{address}/dagster"
    if "objects" in embedded:
        environment |= {
            "MINIO_ENDPOINT": f"{LOOPBACK}:{state.ports['objects']}",
            "MINIO_ACCESS_KEY": state.object_store_access_key,
            "MINIO_SECRET_KEY": state.object_store_secret_key,
            "MINIO_SECURE": "false",
        }
    return complete_environment({**environment, **_keep_what_counts(configured, embedded)})


def complete_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What follows from the other variables: the broker in use, and what `dagster.yaml` cannot do without."""
    broker = environment.get("BROKER_URL") or environment.get("REDIS_URL")
    return {
        "PIPELINE3D_MAX_CONCURRENT_RUNS": "50",
        # Dagster writes what a new run plans to make as one batch instead of an event at a time.
        "DAGSTER_EVENT_BATCH_SIZE": "100",
        "SILENT_AFTER_S": "60",
        "MINIO_BUCKET": "pipeline3d",
        "MINIO_SECURE": "false",
        **environment,
        "BROKER_URL": broker or postgres_as_broker(environment["DATABASE_URL"]),
    }


def postgres_as_broker(database_url: str) -> str:
    """The jobs database in the broker's spelling."""
    _, _, rest = database_url.partition("://")
    return f"sqla+postgresql+psycopg://{rest}"


def _keep_what_counts(configured: Mapping[str, str], embedded: frozenset[str]) -> dict[str, str]:
    """Without keys and addresses that belong to a server which is embedded: they would not open it."""
    ignored: set[str] = {"PIPELINE3D_DATA_DIR"}  # may be relative; ours is absolute
    if "postgres" in embedded:
        ignored |= {"DAGSTER_PG_URL"}
    if "objects" in embedded:
        ignored |= {"MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "MINIO_SECURE"}
    return {name: value for name, value in configured.items() if value and name not in ignored}


def plan_studio_origins(state: LocalState, configured_origins: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Page origins that may use the object store from a browser: our own page's, and the configured ones.

    Browsers say `null` where another page was redirected here by the API, as by a share link in somebody's
    viewer. It gives nobody anything: the store knows no cookies, only the signature of each link.
    """
    port = state.ports["api"]
    return (f"http://{LOOPBACK}:{port}", f"http://localhost:{port}", *configured_origins, "null")
