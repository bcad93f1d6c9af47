"""What is right and wrong with an installation: one finding per part, each with what to do.

Looks, never changes. Every check is bounded in time, and one that breaks is a finding, not a crash.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import sqlalchemy as sa

from pipeline3d.database.engines import create_sync_engine
from pipeline3d.database.notifications import count_listeners
from pipeline3d.database.tables import api_keys, models, users
from pipeline3d.errors import Pipeline3dError
from pipeline3d.exposure import find_open_ports, find_public_servers
from pipeline3d.findings import Finding, Level
from pipeline3d.installation import Installation
from pipeline3d.local.data_lock import is_held
from pipeline3d.local.ports import LOOPBACK
from pipeline3d.readiness import assess_shipped
from pipeline3d.requests.turns import count_slots
from pipeline3d.requests.webhook_outbox import read_backlog
from pipeline3d.settings import Settings
from pipeline3d.store.s3 import S3Store
from pipeline3d.wrapper_settings import TOLD

LEAST_FREE_BYTES = 2 * 1024**3
"""Below this a database and a few hundred models do not fit."""
MOST_CLOCK_SKEW_S = 5.0
"""Signed links live for minutes and are refused when the clocks differ by more than their age."""
ANSWER_WITHIN_S = 5.0
MOST_LATE_S = 120.0
"""A webhook that is due goes out at once; the wait for a slow receiver ends before that."""

VARIABLES = {
    "database": "DATABASE_URL",
    "dagster database": "DAGSTER_PG_URL",
    "object store": "MINIO_ENDPOINT and its keys",
    "clock": "MINIO_ENDPOINT",
    "broker": "BROKER_URL or REDIS_URL",
    "api": "API_URL",
    "dagster": "DAGSTER_WEBSERVER_URL",
}
"""Which variables say where a part is."""


def examine(installation: Installation) -> list[Finding]:
    """All findings. What `make up` starts is only looked at while it is up."""
    settings = installation.settings
    running = is_held(settings.data_dir)
    database_awaited = not running and "postgres" in installation.embedded
    store_awaited = not running and "objects" in installation.embedded
    checks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("disk", lambda: check_disk(settings.data_dir)),
        ("database", lambda: check_database("database", settings.database_url, database_awaited)),
        (
            "dagster database",
            lambda: check_database("dagster database", settings.dagster_pg_url, database_awaited),
        ),
        ("object store", lambda: check_object_store(settings, store_awaited)),
        ("clock", lambda: check_clock(settings, "objects" in installation.embedded)),
        ("api", lambda: check_address("api", settings.api_url, "/ready", running)),
        ("dagster", lambda: check_address("dagster", _webserver(settings), "/server_info", running)),
        ("private addresses", lambda: check_private(settings)),
        ("broker", lambda: check_broker(settings.broker_url or settings.redis_url)),
        ("workers", lambda: check_workers(settings, database_awaited)),
        ("webhooks", lambda: check_webhooks(settings, database_awaited)),
        ("limits", lambda: check_limits(settings, database_awaited)),
        ("ffmpeg", check_ffmpeg),
        ("gpu", lambda: check_gpu(settings.use_gpu)),
        ("models", lambda: check_models(settings)),
    ]
    return [finding for part, check in checks for finding in _guarded(part, check)]


def _guarded(part: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    try:
        return list(check())
    except (Pipeline3dError, OSError, sa.exc.SQLAlchemyError, httpx.HTTPError) as error:
        reason = error.message if isinstance(error, Pipeline3dError) else str(error).partition("\n")[0]
        return [
            Finding(
                part=part,
                level=Level.PROBLEM,
                message=reason or type(error).__name__,
                advice=f"Check {VARIABLES.get(part, 'its address')}, that it runs, and the network between.",
            )
        ]


def check_disk(data_dir: Path) -> Iterable[Finding]:
    """Room for data, on the file system of the data folder."""
    existing = next(folder for folder in (data_dir, *data_dir.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    message = f"{free / 1024**3:.1f} GiB free at {data_dir}"
    if not os.access(existing, os.W_OK):
        yield Finding(
            part="disk",
            level=Level.PROBLEM,
            message=f"{existing} is not writable",
            advice="Set PIPELINE3D_DATA_DIR to a folder that this user may write to.",
        )
    elif free < LEAST_FREE_BYTES:
        yield Finding(
            part="disk",
            level=Level.PROBLEM,
            message=message,
            advice="Free at least 2 GiB or move PIPELINE3D_DATA_DIR.",
        )
    else:
        yield Finding(part="disk", level=Level.OK, message=message)


def check_database(part: str, url: str | None, awaited: bool) -> Iterable[Finding]:
    """Postgres answers a query and says which version it is."""
    if url is None or awaited:
        yield _starts_with_up(part, "embedded PostgreSQL")
        return
    with _asking(url) as connection:
        version = connection.execute(sa.text("SHOW server_version")).scalar_one()
    yield Finding(part=part, level=Level.OK, message=f"PostgreSQL {version} at {urlsplit(url).hostname}")


@contextmanager
def _asking(url: str) -> Iterator[sa.Connection]:
    """A connection to a database, for a question or two."""
    engine = create_sync_engine(url)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def check_object_store(settings: Settings, awaited: bool) -> Iterable[Finding]:
    """The bucket can be written, read and emptied again."""
    if settings.minio_endpoint is None or awaited:
        yield _starts_with_up("object store", "embedded S3 server")
        return
    store = connect_store(settings)
    store.ensure_bucket()
    key = f"tmp/doctor-{os.getpid()}"
    store.put_bytes(key, b"pipeline3d", "text/plain")
    store.remove(key)
    yield Finding(
        part="object store",
        level=Level.OK,
        message=f"{settings.minio_endpoint}, bucket {settings.minio_bucket}: written, read, removed",
    )


def connect_store(settings: Settings) -> S3Store:
    """The object store of these settings, which must name one."""
    secret = settings.minio_secret_key
    return S3Store(
        endpoint=settings.minio_endpoint or "",
        access_key=settings.minio_access_key or "",
        secret_key=secret.get_secret_value() if secret else "",
        bucket=settings.minio_bucket,
        secure=settings.minio_secure,
    )


def check_clock(settings: Settings, embedded: bool) -> Iterable[Finding]:
    """This machine's clock against the object store's, since signed links depend on both."""
    if settings.minio_endpoint is None or embedded:
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        yield Finding(part="clock", level=Level.OK, message=f"{now}; one machine, one clock")
        return
    scheme = "https" if settings.minio_secure else "http"
    answer = httpx.get(f"{scheme}://{settings.minio_endpoint}/", timeout=ANSWER_WITHIN_S)
    if "date" not in answer.headers:
        yield Finding(part="clock", level=Level.NOTE, message="the object store does not tell its time")
        return
    skew_s = abs((datetime.now(UTC) - parsedate_to_datetime(answer.headers["date"])).total_seconds())
    level = Level.PROBLEM if skew_s > MOST_CLOCK_SKEW_S else Level.OK
    yield Finding(
        part="clock",
        level=level,
        message=f"{skew_s:.0f} s away from the object store's",
        advice="Synchronise the clocks (NTP): signed links are refused otherwise." if level != "ok" else "",
    )


def check_address(part: str, url: str | None, path: str, running: bool) -> Iterable[Finding]:
    """One of our own HTTP servers answers."""
    if not running or url is None:
        yield _starts_with_up(part, "not running")
        return
    answer = httpx.get(url + path, timeout=ANSWER_WITHIN_S)
    good = answer.status_code == httpx.codes.OK
    yield Finding(
        part=part,
        level=Level.OK if good else Level.PROBLEM,
        message=f"{url} answers {answer.status_code}",
        advice="" if good else f"Open {url}{path}: it names the part that is missing.",
    )


def _webserver(settings: Settings) -> str | None:
    """Dagster's webserver itself: through the API it needs a sign-in."""
    port = settings.pipeline3d_dagster_port
    origin = settings.dagster_webserver_url or (f"http://{LOOPBACK}:{port}" if port else None)
    return f"{origin}/dagster" if origin else None


def check_private(settings: Settings) -> Iterable[Finding]:
    """Nothing but the API and the object store can be reached from other places."""
    public = list(find_public_servers(settings))
    meant = {port for port in (settings.pipeline3d_api_port, _port_of_store(settings)) if port}
    listening = list(find_open_ports(settings.data_dir, meant_for_others=meant))
    for variable, address in public:
        yield Finding(
            part="private addresses",
            level=Level.PROBLEM,
            message=f"{variable} is at {address}, an address of the public internet",
            advice="Move it to a private network: whoever reaches it needs little or nothing to take over.",
        )
    for address, port in listening:
        yield Finding(
            part="private addresses",
            level=Level.PROBLEM,
            message=f"a process of this installation listens on {address}:{port}, for other machines too",
            advice="Let it listen on 127.0.0.1, or close the port in the firewall.",
        )
    if not public and not listening:
        message = "databases, broker, code server and Dagster UI are not reached from outside"
        yield Finding(part="private addresses", level=Level.OK, message=message)


def _port_of_store(settings: Settings) -> int | None:
    return urlsplit(f"//{settings.minio_endpoint or ''}").port


def check_broker(url: str | None) -> Iterable[Finding]:
    """What wakes the workers takes a connection."""
    from pipeline3d.launch.celery_app import build_app

    if url is None:
        yield Finding(part="broker", level=Level.OK, message="Postgres wakes the workers")
        return
    app = build_app(url, result_backend="disabled://")
    parts = urlsplit(url)
    with app.connection_for_write(connect_timeout=2) as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
        except Exception as error:  # every broker has errors of its own
            yield Finding(
                part="broker",
                level=Level.PROBLEM,
                message=f"{parts.scheme} at {parts.hostname} does not answer ({type(error).__name__})",
                advice="Check BROKER_URL or REDIS_URL. Requests go on, each a few seconds later.",
            )
            return
    yield Finding(part="broker", level=Level.OK, message=f"{parts.scheme} at {parts.hostname}")


def check_workers(settings: Settings, awaited: bool) -> Iterable[Finding]:
    """Every queue that a ready model needs is served by a worker that lives."""
    if settings.database_url is None or awaited:
        yield _starts_with_up(
            "workers", "one worker for the queues " + ", ".join(settings.pipeline3d_worker_queues)
        )
        return
    with _asking(settings.database_url) as connection:
        slots_of = connection.execute(count_slots(settings.silent_after_s))
        served = {row.queue: row.slots for row in slots_of}
        ready = models.c.readiness["ready"].as_boolean()
        asked = sa.select(models.c.queue).where(models.c.is_active, ready).distinct()
        unserved = sorted(set(connection.execute(asked).scalars()) - set(served))
    for queue, slots in sorted(served.items()):
        yield Finding(part="workers", level=Level.OK, message=f"queue {queue}: {slots} runs at a time")
    for queue in unserved:
        yield Finding(
            part="workers",
            level=Level.PROBLEM,
            message=f"queue {queue}: no worker serves it, its requests wait",
            advice=f"Start one: pipeline3d worker --queues {queue}",
        )


def check_webhooks(settings: Settings, awaited: bool) -> Iterable[Finding]:
    """What is due to be delivered is being delivered."""
    if settings.database_url is None or awaited:
        yield _starts_with_up("webhooks", "a courier that delivers them")
        return
    with _asking(settings.database_url) as connection:
        backlog = connection.execute(read_backlog()).one()
    late_s = float(backlog.late_s or 0)
    late = late_s > MOST_LATE_S
    yield Finding(
        part="webhooks",
        level=Level.PROBLEM if late else Level.OK,
        message=f"{backlog.waiting} wait, the oldest is {late_s:.0f} s late",
        advice="Start a courier (pipeline3d courier), or see what slow receivers answer: docs/operations.md."
        if late
        else "",
    )


def check_limits(settings: Settings, awaited: bool) -> Iterable[Finding]:
    """Requests in a minute are counted together by all processes of the API, where any are limited."""
    from pipeline3d.api.account_cache import ACCESS_CHANNEL

    if settings.database_url is None or awaited:
        yield _starts_with_up("limits", "one process of the API, which counts requests")
        return
    limited = [sa.exists().where(table.c.requests_per_minute.is_not(None)) for table in (users, api_keys)]
    with _asking(settings.database_url) as connection:
        processes = connection.execute(count_listeners(ACCESS_CHANNEL)).scalar_one()
        somebody_is = any(connection.execute(sa.select(one)).scalar_one() for one in limited)
    shared = settings.redis_url is not None
    if processes > 1 and not shared and (somebody_is or settings.requests_per_minute):
        times = f"callers may make {processes} times as many requests in a minute as their limit says"
        message = f"each of {processes} processes of the API counts for itself: {times}"
        advice = "Set REDIS_URL for all of them."
        yield Finding(part="limits", level=Level.PROBLEM, message=message, advice=advice)
    else:
        message = f"{'Redis' if shared else 'the API'} counts the requests of a minute"
        yield Finding(part="limits", level=Level.OK, message=message)


def check_ffmpeg() -> Iterable[Finding]:
    """ffmpeg is there, for the kinds that need it."""
    path = shutil.which("ffmpeg")
    if path is None:
        yield Finding(part="ffmpeg", level=Level.NOTE, message="not installed; 3D models do not need it")
        return
    first_line = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=5).stdout
    yield Finding(part="ffmpeg", level=Level.OK, message=first_line.splitlines()[0][:60])


def check_gpu(wanted: bool) -> Iterable[Finding]:
    """NVIDIA's own tool sees a device."""
    path = shutil.which("nvidia-smi")
    command = [path or "", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=10) if path else None
    if seen is not None and seen.returncode == 0 and seen.stdout.strip():
        yield Finding(part="gpu", level=Level.OK, message="; ".join(seen.stdout.strip().splitlines()))
    elif wanted:
        yield Finding(
            part="gpu",
            level=Level.PROBLEM,
            message="USE_GPU is true, and no GPU answers",
            advice="Install the driver until `nvidia-smi` lists the device, or set USE_GPU=false.",
        )
    else:
        yield Finding(part="gpu", level=Level.NOTE, message="none; the embedded models need none")


def check_models(settings: Settings) -> Iterable[Finding]:
    """What can run here and why the rest cannot, and the files that the settings point at."""
    for model in assess_shipped(settings):
        readiness = model.readiness
        yield Finding(
            part=f"model {model.id}",
            level=Level.OK if readiness.ready else Level.NOTE,
            message="ready" if readiness.ready else readiness.reason or "not ready",
            advice=readiness.hint or "",
        )
    configured = {
        name.upper(): getattr(settings, name)
        for name in TOLD
        if name.endswith(("_python_path", "_script_path"))
    }
    for name, path in configured.items():
        if path is None:
            continue
        if path.is_file():
            yield Finding(part=name, level=Level.NOTE, message=str(path))
        else:
            yield Finding(
                part=name,
                level=Level.PROBLEM,
                message=f"{path} is not a file",
                advice=f"Correct {name} or leave it empty.",
            )


def _starts_with_up(part: str, what: str) -> Finding:
    return Finding(part=part, level=Level.NOTE, message=f"{what}; starts with `make up`")
