"""Devices as the workers show them: who works on one, since when, and which models are kept there.

For people and programs that look; nothing is decided by it. A process that does not show its devices any more
is left out after a while, and its rows go. Every moment is by the clock of Postgres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Row, and_, case, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from pipeline3d.database.tables import device_leases
from pipeline3d.requests.leases import make_seconds

SILENT_AFTER_S = 30.0
"""A process shows its devices every few seconds; after this time it is taken for gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUse:
    """What one process does with one device. `model` and `run_id` are those of the run that works now."""

    host: str
    device: str
    pid: int
    worker_id: str | None = None
    run_id: str | None = None
    model: str | None = None
    reserved_bytes: int = 0
    limit_bytes: int | None = None
    free_bytes: int | None = None
    residents: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLease:
    """A use as it was last shown. `taken_at` is when its run took the device, None between runs."""

    use: DeviceUse
    taken_at: datetime | None
    taken_s: float | None
    silent_s: float


class DeviceBoard:
    """Shows and lists the uses of devices, one statement each. Raises what SQLAlchemy raises."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    def show(self, use: DeviceUse) -> None:
        """Write what a process does with a device now; a run that goes on keeps its beginning."""
        values = {name: getattr(use, name) for name in _COLUMNS}
        values["residents"] = [dict(resident) for resident in use.residents]
        begun = None if use.model is None else func.now()
        written = insert(device_leases).values(**values, taken_at=begun, heartbeat_at=func.now())
        goes_on = and_(
            device_leases.c.run_id.is_not_distinct_from(written.excluded.run_id),
            device_leases.c.model.is_not_distinct_from(written.excluded.model),
        )
        changes = {name: written.excluded[name] for name in _COLUMNS if name not in _KEY} | {
            "taken_at": case((goes_on, device_leases.c.taken_at), else_=written.excluded.taken_at),
            "heartbeat_at": func.now(),
        }
        with self._engine.connect() as connection:
            connection.execute(written.on_conflict_do_update(index_elements=_KEY, set_=changes))

    def remove(self, host: str, pid: int) -> None:
        """A process uses no device any more."""
        gone = delete(device_leases).where(device_leases.c.host == host, device_leases.c.pid == pid)
        with self._engine.connect() as connection:
            connection.execute(gone)

    def remove_silent(self, silent_after_s: float = SILENT_AFTER_S) -> int:
        """Forget processes that do not speak any more; how many rows there were."""
        silent = device_leases.c.heartbeat_at < func.now() - make_seconds(silent_after_s)
        with self._engine.connect() as connection:
            return int(connection.execute(delete(device_leases).where(silent)).rowcount)

    def list(self, silent_after_s: float = SILENT_AFTER_S) -> tuple[DeviceLease, ...]:
        """What living processes show, by host, device and process."""
        speaks = device_leases.c.heartbeat_at >= func.now() - make_seconds(silent_after_s)
        since = {
            name: func.extract("epoch", func.now() - device_leases.c[column])
            for name, column in (("taken_s", "taken_at"), ("silent_s", "heartbeat_at"))
        }
        listed = (
            select(*device_leases.c, *(seconds.label(name) for name, seconds in since.items()))
            .where(speaks)
            .order_by(*(device_leases.c[name] for name in _KEY))
        )
        with self._engine.connect() as connection:
            return tuple(_lease(row) for row in connection.execute(listed))


_KEY = ("host", "device", "pid")
_COLUMNS = (
    *_KEY,
    "worker_id",
    "run_id",
    "model",
    "reserved_bytes",
    "limit_bytes",
    "free_bytes",
    "residents",
)


def _lease(row: Row[Any]) -> DeviceLease:
    return DeviceLease(
        use=DeviceUse(**{name: getattr(row, name) for name in _COLUMNS}),
        taken_at=row.taken_at,
        taken_s=None if row.taken_s is None else float(row.taken_s),
        silent_s=float(row.silent_s),
    )
