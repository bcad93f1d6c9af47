"""The embedded object store: `python -m pipeline3d.local.object_store_server --dir DIR --port PORT`.

OpenStack Swift with its S3 API, all four servers in one process on loopback. The keys come through
the environment and are never written down. The three inner servers answer without a signature, so
each start gives them ports of the kernel's choice and their device has an unguessable name: who does
not know it gets nothing.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import secrets
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pipeline3d.errors import ServerFailure
from pipeline3d.local.parentage import die_with_parent, parent_pid_of

ACCESS_KEY_VARIABLE = "PIPELINE3D_OBJECT_STORE_ACCESS_KEY"
SECRET_KEY_VARIABLE = "PIPELINE3D_OBJECT_STORE_SECRET_KEY"
REGION = "us-east-1"
READY_FILE = "ready"
INNER_SERVERS = ("account", "container", "object")
# The configuration reader takes paths for URLs and expands `%`: this name has no odd character,
# whatever the data directory is called. `serve` works in that directory.
_HERE = "/proc/self/cwd"
_LOOPBACK = "127.0.0.1"
_CLAIM_PATIENCE_S = 2.0  # a killed server's lock is free within milliseconds
_CLIENT_TIMEOUT_S = 60
_MAX_CLIENTS = 1024
# Part power 2: one device needs no spread, and every container would cost a folder per partition.
_RING_SHAPE = (2, 1, 1)

_INNER_CONFIGURATION = """[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
_PROXY_CONFIGURATION = """[pipeline:main]
pipeline = s3only catch_errors gatekeeper healthcheck cache listing_formats bulk s3api auth copy slo \
versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
cors_expose_headers = etag, content-length, content-range, accept-ranges, x-amz-request-id
node_timeout = 60
conn_timeout = 5
[filter:s3only]
paste.filter_factory = pipeline3d.local.swift_filters:s3_only_factory
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
paste.filter_factory = pipeline3d.local.swift_filters:cache_factory
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = {region}
max_upload_part_num = 10000
min_segment_size = 5242880
[filter:auth]
paste.filter_factory = pipeline3d.local.swift_filters:auth_factory
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
[filter:symlink]
use = egg:swift#symlink
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
"""


def claim_directory(directory: Path) -> int:
    """Be the only server on this directory, before anything in it is written.

    A second server that rewrites the rings takes the first one down within seconds: 503, and then
    buckets that seem to be gone.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _CLAIM_PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ServerFailure(
                    f"Another object store server uses {directory}.",
                    code="object_store_in_use",
                    hint="Stop it, or use another data directory.",
                ) from None
            time.sleep(0.02)
    (directory / READY_FILE).unlink(missing_ok=True)
    return lock


def check_extended_attributes(directory: Path) -> None:
    """Swift keeps each object's metadata in user attributes of its file; some file systems have none."""
    probe = directory / "xattr.probe"
    probe.touch(mode=0o600)
    try:
        os.setxattr(probe, b"user.pipeline3d", b"1")
    except OSError as failure:
        raise ServerFailure(
            f"The file system of {directory} has no user extended attributes ({failure.strerror}).",
            code="no_extended_attributes",
            hint="Put PIPELINE3D_DATA_DIR on ext4, xfs or btrfs, or set MINIO_ENDPOINT to another store.",
        ) from failure
    finally:
        probe.unlink(missing_ok=True)


def listen(port: int) -> socket.socket:
    """Our own socket: Swift's sets SO_REUSEPORT, so that two servers could share a port unnoticed."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_LOOPBACK, port))
    except OSError as failure:
        raise ServerFailure(
            f"Port {port} cannot be used: {failure.strerror}.", code="port_occupied"
        ) from failure
    listener.listen(4096)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def write_configuration(configuration: Path) -> None:
    """The files that Swift insists on reading; no secret and no path is in them."""
    configuration.mkdir(mode=0o700, exist_ok=True)
    for kind in INNER_SERVERS:
        text = _INNER_CONFIGURATION.format(kind=kind)
        (configuration / f"{kind}-server.conf").write_text(text, encoding="utf-8")
    text = _PROXY_CONFIGURATION.format(region=REGION)
    (configuration / "proxy-server.conf").write_text(text, encoding="utf-8")
    common = configuration / "swift.conf"
    if not common.exists():
        # The suffix decides where every object lies: it may never change.
        written = common.with_suffix(".new")
        written.write_text(
            f"[swift-hash]\nswift_hash_path_suffix = {secrets.token_hex(16)}\n"
            "[storage-policy:0]\nname = Policy-0\ndefault = yes\n",
            encoding="utf-8",
        )
        written.replace(common)


def find_or_create_device(devices: Path) -> str:
    """The one device's name, made up at the first start: whoever can name it can read everything."""
    devices.mkdir(mode=0o700, exist_ok=True)
    for entry in sorted(devices.iterdir()):
        return entry.name
    name = "d" + secrets.token_hex(16)
    (devices / name).mkdir(mode=0o700)
    return name


def write_rings(configuration: Path, device: str, ports: Mapping[str, int]) -> None:
    """Tell the servers where the others listen in this run."""
    from swift.common.ring import RingBuilder

    for kind, port in ports.items():
        builder = RingBuilder(*_RING_SHAPE)
        place = {"ip": _LOOPBACK, "port": port, "replication_ip": _LOOPBACK, "replication_port": port}
        builder.add_dev(
            {"id": 0, "region": 1, "zone": 1, "device": device, "weight": 1.0, "meta": "", **place}
        )
        builder.rebalance(seed=1)
        file = configuration / f"{kind}.ring.gz"
        builder.get_ring().save(str(file))
        file.chmod(0o600)  # it names the device, and Swift makes it readable for everyone


def build_shared_configuration(origins: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What all four servers are told in memory: paths, keys and origins stay out of the files."""
    return {
        "swift_dir": f"{_HERE}/etc",
        "devices": f"{_HERE}/devices",
        "recon_cache_path": f"{_HERE}/recon",
        "mount_check": "false",
        "disable_fallocate": "true",
        # Answer 507 while 1 % of the disk is still free, so that Postgres beside us can go on.
        "fallocate_reserve": "1%",
        "log_level": "WARNING",
        "cors_allow_origin": origins,
        "cors_preflight_allow_origin": origins,
        "s3_access_key": environment[ACCESS_KEY_VARIABLE],
        "s3_secret_key": environment[SECRET_KEY_VARIABLE],
    }


def serve_kind(kind: str, listener: socket.socket, shared: Mapping[str, str], loaded: set[str]) -> None:
    """Serve one of the four for ever; Swift's own `run_server` may be used once in a process only."""
    import eventlet.wsgi
    from swift.common import constraints
    from swift.common.utils import NullLogger
    from swift.common.wsgi import RestrictedGreenPool, SwiftHttpProtocol, loadapp

    file = f"{shared['swift_dir']}/{kind}-server.conf"
    try:
        app = loadapp(file, global_conf={**shared, "log_name": f"{kind}-server"})
    except BaseException:
        traceback.print_exc()
        os._exit(3)
    loaded.add(kind)
    eventlet.wsgi.server(
        listener,
        app,
        NullLogger(),
        custom_pool=RestrictedGreenPool(size=_MAX_CLIENTS),
        protocol=SwiftHttpProtocol,
        socket_timeout=_CLIENT_TIMEOUT_S,
        capitalize_response_headers=False,  # clients look for `ETag`, not `Etag`
        url_length_limit=constraints.MAX_REQUEST_LINE,
    )


def finish_listing_updates(shared: Mapping[str, str], device: str) -> None:
    """Bring bucket listings up to date with objects whose update was pending at a crash."""
    from swift.common.utils import get_logger
    from swift.obj.updater import ObjectUpdater

    configuration: dict[str, Any] = {**shared, "concurrency": "1", "updater_workers": "1"}
    logger = get_logger({"log_level": "WARNING"}, "updater", log_to_console=True, log_route="updater")
    updater = ObjectUpdater(configuration, logger=logger)
    updater.object_sweep(str(Path(shared["devices"]) / device))


def serve(directory: Path, port: int, origins: str, environment: Mapping[str, str]) -> NoReturn:
    """Run the store until a signal ends the process; nothing acknowledged is ever only in memory."""
    lock = claim_directory(directory)
    check_extended_attributes(directory)
    from swift.common import utils

    utils.monkey_patch()
    import eventlet

    warnings.filterwarnings("ignore", message="capitalize_response_headers is disabled")
    os.chdir(directory)
    configuration = Path(_HERE, "etc")
    write_configuration(configuration)
    utils.set_swift_dir(str(configuration))
    Path(_HERE, "recon").mkdir(mode=0o700, exist_ok=True)
    device = find_or_create_device(Path(_HERE, "devices"))
    listeners = {"proxy": listen(port), **{kind: listen(0) for kind in INNER_SERVERS}}
    write_rings(configuration, device, {kind: listeners[kind].getsockname()[1] for kind in INNER_SERVERS})
    shared = build_shared_configuration(origins, environment)
    eventlet.debug.hub_exceptions(False)
    for kind in (*INNER_SERVERS, "proxy"):
        utils.get_logger(shared, f"{kind}-server", log_to_console=True, log_route=kind)
    loaded: set[str] = set()
    servers = [
        eventlet.spawn(serve_kind, kind, listener, shared, loaded) for kind, listener in listeners.items()
    ]
    while len(loaded) < len(servers):
        eventlet.sleep(0.001)
    finish_listing_updates(shared, device)
    # Our pid in the file, not "the port answers", says that it is this server which is ready.
    (directory / READY_FILE).write_text(str(os.getpid()), encoding="ascii")
    for server in servers:
        server.wait()
    os.close(lock)
    sys.exit("objects: a server ended by itself")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--origin", default="", help="comma list of page origins that may use the store")
    options = parser.parse_args(arguments)
    environment = dict(os.environ)
    os.umask(0o077)
    os.environ["TZ"] = "UTC+0"  # Swift would else look at /etc/localtime again and again
    time.tzset()
    die_with_parent(signal.SIGTERM, parent_pid_of(environment))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))  # every acknowledged write is on disk already
    missing = [name for name in (ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE) if not environment.get(name)]
    if missing:
        sys.exit(f"objects: {' and '.join(missing)} must be set")
    try:
        serve(options.dir.resolve(), options.port, options.origin, environment)
    except (ServerFailure, OSError) as failure:
        sys.exit(f"objects: {failure}")


if __name__ == "__main__":
    main()
