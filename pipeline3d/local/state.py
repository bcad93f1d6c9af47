"""What one installation remembers between starts: its ports and its generated secrets.

The file is private (0600 in a 0700 folder) and replaced as a whole, so that a reader never sees half
of it. Secrets never change once made; a port changes only when somebody else occupies it.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from pipeline3d.errors import ServerFailure
from pipeline3d.local.ports import replace_occupied_ports

STATE_FILE = "local.json"
PORT_NAMES = ("postgres", "objects", "api", "code_server", "dagster", "lineage")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalState:
    """Ports by name and the secrets that were generated for this data directory."""

    ports: Mapping[str, int]
    postgres_password: str = field(repr=False)
    object_store_access_key: str
    object_store_secret_key: str = field(repr=False)
    superuser_password: str = field(repr=False)
    api_signing_secret: str = field(repr=False)


def create_private_directory(path: Path) -> Path:
    """Create `path` for its owner's eyes only; parents that exist keep their permissions."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_uid == os.geteuid():
            path.chmod(0o700)
    except OSError as failure:
        raise ServerFailure(
            f"The data directory {path} cannot be used: {failure.strerror}.",
            code="data_directory_unusable",
            hint="Give this user write access to it, or set PIPELINE3D_DATA_DIR to another folder.",
        ) from failure
    return path


def generate_state() -> LocalState:
    """New secrets and no ports yet."""
    return LocalState(
        ports={},
        postgres_password=secrets.token_urlsafe(24),
        object_store_access_key="p3d" + secrets.token_hex(8),
        object_store_secret_key=secrets.token_urlsafe(30),
        superuser_password=secrets.token_urlsafe(15),
        api_signing_secret=secrets.token_urlsafe(48),
    )


def load_state(data_directory: Path) -> LocalState | None:
    """What this data directory remembers, or None before its first start."""
    path = data_directory / STATE_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        # A file of an older version lacks what newer ones generate; the database's password it has.
        known = {**asdict(generate_state()), **content, "postgres_password": content["postgres_password"]}
        return LocalState(**{item.name: known[item.name] for item in fields(LocalState)})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as failure:
        # Making new secrets here would lock the owner out of the data that the old ones protect.
        raise ServerFailure(
            f"{path} is damaged: {failure}.",
            code="local_state_damaged",
            hint="Restore it from a backup, or remove the whole data directory to begin anew.",
        ) from failure
    except PermissionError as failure:
        raise ServerFailure(
            f"{path} belongs to another user.",
            code="data_directory_unusable",
            hint="Run as the user who started it first, or set PIPELINE3D_DATA_DIR to another folder.",
        ) from failure


def save_state(data_directory: Path, state: LocalState) -> None:
    """Replace the file at once; it is 0600 from its first byte."""
    descriptor, name = tempfile.mkstemp(prefix=f".{STATE_FILE}.", dir=data_directory)  # always 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(state), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, data_directory / STATE_FILE)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load_or_create_state(
    data_directory: Path, *, wanted_ports: Mapping[str, int] | None = None
) -> LocalState:
    """The state to start with: remembered secrets, and ports that are free now.

    Call it while holding the data directory and before its servers run: a port that our own server
    listens on would count as occupied. `wanted_ports` are kept as given, free or not.
    """
    wanted = dict(wanted_ports or {})
    create_private_directory(data_directory)
    state = load_state(data_directory) or generate_state()
    chosen = [name for name in PORT_NAMES if name not in wanted]
    remembered = {name: port for name, port in state.ports.items() if port not in wanted.values()}
    settled = replace(state, ports={**replace_occupied_ports(remembered, chosen), **wanted})
    save_state(data_directory, settled)
    return settled
