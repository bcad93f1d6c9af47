"""This checkout's installation: what was configured, completed with what the embedded servers generated.

Every command begins here. The result is one complete `Settings` and the environment of all processes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from pipeline3d.errors import SettingsError
from pipeline3d.local.environment import (
    build_environment,
    complete_environment,
    plan_embedded_servers,
    plan_wanted_ports,
)
from pipeline3d.local.state import LocalState, load_or_create_state, load_state
from pipeline3d.settings import Settings, load_settings

CHECKOUT = Path(__file__).resolve().parent.parent
"""Where `dagster.yaml` and `workspace.yaml` are."""
SHARED_VALUES = ("API_URL", "LINK_SIGNING_KEY", "MINIO_BUCKET")
"""What a worker on another host needs beside the addresses; kept in the jobs database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Complete settings; `embedded` names the servers that `up` starts (`postgres`, `objects`)."""

    settings: Settings
    environment: Mapping[str, str]
    embedded: frozenset[str]
    state: LocalState | None

    @property
    def api_address(self) -> str:
        """The API on this machine."""
        return f"http://127.0.0.1:{self.environment['PIPELINE3D_API_PORT']}"

    @property
    def password(self) -> str:
        """The first user's password, configured or generated."""
        return self.environment["FIRST_SUPERUSER_PASSWORD"]


def read_installation() -> Installation:
    """As it is now; before the first start the embedded servers have no address yet. Raises SettingsError."""
    configured = load_settings()
    return _complete(configured, load_state(configured.data_dir))


def prepare_installation(configured: Settings) -> Installation:
    """As it will be started: ports are chosen and remembered. Only for whoever holds the data folder."""
    variables = configured_variables(configured)
    state = load_or_create_state(configured.data_dir, wanted_ports=plan_wanted_ports(variables))
    link_dagster_yaml(configured.data_dir / "dagster")
    return _complete(configured, state)


def prepare_worker(configured: Settings) -> dict[str, str]:
    """The environment of a worker on this host. Raises SettingsError where an address is missing.

    Waits, and says so in the log, while Postgres is away.

    Beside an installation that was started here it is that installation's. On another host the addresses come
    from the environment, and what the hosts must agree on comes from the database.
    """
    from pipeline3d.database.engines import create_sync_engine
    from pipeline3d.launch.execution import persist
    from pipeline3d.requests.installation_values import read_installation_values

    installation = _complete(configured, load_state(configured.data_dir))
    environment = dict(installation.environment)
    for variable in ("DATABASE_URL", "DAGSTER_PG_URL", "MINIO_ENDPOINT"):
        require(environment.get(variable), variable)
    home = configured.data_dir / "dagster"
    link_dagster_yaml(home)
    engine = create_sync_engine(environment["DATABASE_URL"])
    shared = persist(lambda: read_installation_values(engine))
    engine.dispose()
    return complete_environment(
        {
            **shared,
            "DAGSTER_HOME": str(home),
            "PIPELINE3D_DATA_DIR": str(configured.data_dir),
            "PIPELINE3D_COMPUTE_LOGS_DIR": str(configured.data_dir / "compute_logs"),
            **environment,
        }
    )


def link_dagster_yaml(dagster_home: Path) -> None:
    """Make the checkout's `dagster.yaml` the one in use; Dagster leaves folders of its own beside it."""
    dagster_home.mkdir(mode=0o700, parents=True, exist_ok=True)
    link = dagster_home / "dagster.yaml"
    # Replaced as a whole: a worker that starts beside a running installation must not pull it away.
    fresh = dagster_home / f".dagster.yaml.{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(CHECKOUT / "dagster.yaml")
    fresh.replace(link)


def _complete(configured: Settings, state: LocalState | None) -> Installation:
    variables = configured_variables(configured)
    embedded = plan_embedded_servers(variables)
    if state is None:
        return Installation(settings=configured, environment=variables, embedded=embedded, state=None)
    environment = build_environment(state, data_directory=configured.data_dir, configured=variables)
    environment.setdefault("API_URL", f"http://127.0.0.1:{environment['PIPELINE3D_API_PORT']}")
    environment.setdefault("DAGSTER_URL", f"{environment['API_URL'].rstrip('/')}/dagster")
    return Installation(
        settings=load_settings(environment), environment=environment, embedded=embedded, state=state
    )


def configured_variables(settings: Settings) -> dict[str, str]:
    """The variables that somebody set, as text, as an environment holds them."""
    variables = {}
    for name in sorted(settings.model_fields_set):
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
        elif isinstance(value, bool):
            text = str(value).lower()
        elif isinstance(value, list):
            text = ",".join(value)
        elif isinstance(value, dict):
            text = ",".join(f"{key}={item}" for key, item in value.items())
        else:
            text = "" if value is None else str(value)
        variables[name.upper()] = text
    return variables


def require(value: str | None, variable: str) -> str:
    """A setting that a command cannot do without. Raises SettingsError."""
    if value is None:
        raise SettingsError(
            f"{variable} is not set, and the embedded server has never been started.",
            hint="Run `make up` once, or set it in .env.",
        )
    return value
