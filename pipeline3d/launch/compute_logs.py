"""Dagster's compute logs: what runs write to their output, in the object store and readable while they go on.

Dagster's own manager starts four processes for a run and uploads before the run may end: a quarter of a
second and more. This one points two file descriptors at files and uploads in the background. Named in
dagster.yaml under `compute_logs:`; where the store is and what opens it comes from the settings (MINIO_…), as
everywhere else.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

from dagster import Field, IntSource, StringSource
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._serdes import ConfigurableClassData
from dagster_aws.s3.compute_log_manager import S3ComputeLogManager

from pipeline3d.errors import SettingsError, StoreUnavailable
from pipeline3d.launch.log_store import LogStore, StoreAddress
from pipeline3d.launch.log_subscriptions import LogSubscriptions
from pipeline3d.launch.log_uploads import PARTIAL, PENDING, STDERR, STDOUT, LogUploads
from pipeline3d.launch.output_capture import capture_output
from pipeline3d.settings import load_settings
from pipeline3d.store.keys import COMPUTE_LOGS

ENDED_LONG_AGO_S = 120.0
"""So long after its end, a run whose output is not in the store wrote none, or lost it with its host."""
MOST_DOWNLOADS = 100
"""Files that the UI's download button leaves on disk."""

logger = logging.getLogger(__name__)


class StoredComputeLogs(S3ComputeLogManager):
    """Captures the output of runs in this process; reads that of runs anywhere."""

    def __init__(
        self,
        address: StoreAddress,
        *,
        local_dir: str,
        prefix: str = COMPUTE_LOGS,
        upload_interval_s: int = 3,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        self._store = LogStore(address)
        self._s3_bucket = address.bucket
        self._s3_prefix = prefix.strip("/")
        self._region = address.region
        self._local_manager = LocalComputeLogManager(local_dir)
        self._subscription_manager = LogSubscriptions(self)  # type: ignore[assignment]
        self._downloads = _Downloads()
        self._inst_data = inst_data
        self._uploads = shared_uploads(
            address, Path(local_dir).resolve(), f"{self._s3_prefix}/storage", upload_interval_s
        )
        # Not the next class's constructor: it would make a client of its own in a quarter of a second.
        super(S3ComputeLogManager, self).__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def config_type(cls) -> dict[str, Field]:
        """The `config:` block of dagster.yaml."""
        return {
            "local_dir": Field(StringSource, description="Where outputs lie until they are stored."),
            "prefix": Field(StringSource, is_required=False, default_value=COMPUTE_LOGS),
            "upload_interval_s": Field(
                IntSource,
                is_required=False,
                default_value=3,
                description="A run that goes on is stored so often.",
            ),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """Called by Dagster with the `config:` block, checked and with its variables read."""
        return cls(configured_address(), inst_data=inst_data, **config_value)

    @property
    def _s3_session(self) -> Any:
        """What Dagster's class calls its client."""
        return self._store.client

    # -- writing

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        """The output of this process and its children during the block, as the log of `log_key`."""
        self._local_path(log_key, STDOUT)  # refuses names that lead elsewhere
        with (
            self._uploads.following(*log_key) as output,
            capture_output(output.path(STDOUT), output.path(STDERR)),
        ):
            yield CapturedLogContext(log_key)

    @contextmanager
    def open_log_stream(  # type: ignore[override]
        self, log_key: Sequence[str], io_type: ComputeIOType
    ) -> Iterator[IO[str]]:
        """A text file for what a sensor logs; every tick asks for one, and few write to it."""
        path = Path(self._local_path(log_key, IO_TYPE_EXTENSION[io_type]))
        with self._uploads.following(*log_key), path.open("a", encoding="utf-8") as file:
            yield file

    # -- reading

    def get_log_data_for_type(
        self, log_key: Sequence[str], io_type: ComputeIOType, offset: int, max_bytes: int | None
    ) -> tuple[bytes | None, int]:
        """What is there from byte `offset` on, and the next offset. None where there is nothing."""
        if self.has_local_file(log_key, io_type):
            path = self._local_path(log_key, IO_TYPE_EXTENSION[io_type])
            content, end = self._local_manager.read_path(path, offset=offset, max_bytes=max_bytes)
            return content, end
        try:
            for partial in (False, True):
                key = self._object_key(log_key, io_type, partial)
                content = self._store.read(key, offset=offset, at_most_bytes=max_bytes)
                if content is not None:
                    return content, offset + len(content)
        except StoreUnavailable as error:
            logger.warning("The output of %s cannot be read now: %s", "/".join(log_key), error)
        return None, offset

    def is_capture_complete(self, log_key: Sequence[str]) -> bool:
        """Whether nothing will be added."""
        if Path(self._local_path(log_key, PENDING)).exists():
            return False
        return self.cloud_storage_has_logs(log_key, ComputeIOType.STDERR) or self._ended_long_ago(log_key[0])

    def cloud_storage_has_logs(
        self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False
    ) -> bool:
        """Whether there is such an object; False too while the store is away."""
        try:
            return self._store.exists(self._object_key(log_key, io_type, partial))
        except StoreUnavailable as error:
            logger.warning("The object store cannot be asked for outputs of runs: %s", error)
            return False

    def download_url_for_type(self, log_key: Sequence[str], io_type: ComputeIOType) -> str | None:
        """The webserver's own address of the whole output: browsers need not reach the store."""
        if not self.cloud_storage_has_logs(log_key, io_type):
            return None
        url = self._local_manager.get_captured_log_download_url(log_key, io_type)  # type: ignore[no-untyped-call]
        return str(url)

    def display_path_for_type(self, log_key: Sequence[str], io_type: ComputeIOType) -> str | None:  # type: ignore[override]
        """Where the whole output is in the store."""
        if not self.cloud_storage_has_logs(log_key, io_type):
            return None
        return f"s3://{self._s3_bucket}/{self._object_key(log_key, io_type, False)}"

    def download_from_cloud_storage(
        self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool = False
    ) -> None:
        """Copy an object to disk, where the webserver's download address looks for it."""
        content = self._store.read(self._object_key(log_key, io_type, partial)) or b""
        self._downloads.add(Path(self._local_path(log_key, IO_TYPE_EXTENSION[io_type])), content)

    def get_log_keys_for_log_key_prefix(
        self, log_key_prefix: Sequence[str], io_type: ComputeIOType
    ) -> Sequence[list[str]]:
        """The logs directly below a prefix."""
        folder = self._folder(log_key_prefix)
        extension = f".{IO_TYPE_EXTENSION[io_type]}"
        names = {key.removeprefix(folder).removesuffix(f".{PARTIAL}") for key in self._store.keys(folder)}
        return [
            [*log_key_prefix, name.removesuffix(extension)]
            for name in sorted(names)
            if name.endswith(extension) and "/" not in name
        ]

    # -- removal

    def delete_logs(self, log_key: Sequence[str] | None = None, prefix: Sequence[str] | None = None) -> None:
        """Remove one log, or all below a prefix. Raises StoreUnavailable."""
        if not log_key and not prefix:
            raise ValueError("delete_logs needs a log_key or a prefix; neither was given.")
        self._local_manager.delete_logs(log_key=log_key, prefix=prefix)
        if log_key:
            kinds = [(io_type, partial) for io_type in ComputeIOType for partial in (False, True)]
            self._store.delete([self._object_key(log_key, io_type, partial) for io_type, partial in kinds])
        elif prefix:
            self._store.delete(self._store.keys(self._folder(prefix)))

    # -- names

    def _local_path(self, log_key: Sequence[str], extension: str) -> str:
        """Where a file of a log is on this host. Raises ValueError for a name that leads elsewhere."""
        return str(self._local_manager.get_captured_local_path(log_key, extension))

    def _object_key(self, log_key: Sequence[str], io_type: ComputeIOType, partial: bool) -> str:
        return str(self._s3_key(log_key, io_type, partial=partial))  # type: ignore[no-untyped-call]

    def _folder(self, prefix: Sequence[str]) -> str:
        """What the keys below a prefix begin with: ["a"] is not the beginning of ["apple"]."""
        return "/".join([self._s3_prefix, "storage", *prefix, ""])

    def _ended_long_ago(self, run_id: str) -> bool:
        """Whether there is a run of this id that ended so long ago that its output would be stored."""
        record = self._instance.get_run_record_by_id(run_id) if self.has_instance else None
        if record is None or record.end_time is None:
            return False
        return time.time() - record.end_time > ENDED_LONG_AGO_S


class _Downloads:
    """Copies on this host, the youngest of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: deque[Path] = deque()

    def add(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # In one step, since somebody may be reading it.
        half = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        half.write_bytes(content)
        half.replace(path)
        with self._lock:
            self._paths.append(path)
            while len(self._paths) > MOST_DOWNLOADS:
                self._paths.popleft().unlink(missing_ok=True)


@functools.cache
def configured_address() -> StoreAddress:
    """Where the settings say that the store is. Raises SettingsError."""
    settings = load_settings()
    if not (settings.minio_endpoint and settings.minio_access_key and settings.minio_secret_key):
        raise SettingsError(
            "The outputs of runs have no place to go: MINIO_ENDPOINT, MINIO_ACCESS_KEY and MINIO_SECRET_KEY"
            " are not all set.",
            hint="`pipeline3d up` sets them for all its processes; set them where you start one by hand.",
        )
    return StoreAddress(
        endpoint_url=f"{'https' if settings.minio_secure else 'http'}://{settings.minio_endpoint}",
        access_key=settings.minio_access_key,
        secret_key=settings.minio_secret_key.get_secret_value(),
        bucket=settings.minio_bucket,
    )


_uploads: dict[tuple[object, ...], LogUploads] = {}


def shared_uploads(address: StoreAddress, local_dir: Path, prefix: str, interval_s: int) -> LogUploads:
    """The uploads of this process: Dagster makes managers freely, and each would begin a thread."""
    key = (address, local_dir, prefix, interval_s)
    if key not in _uploads:
        # One operation on the dictionary: of two threads that come here at once, both get the first one's.
        _uploads.setdefault(
            key, LogUploads(LogStore(address), local_dir=local_dir, prefix=prefix, interval_s=interval_s)
        )
    return _uploads[key]


def make_client_ahead() -> None:
    """For a process that forks the ones which execute runs: none of them makes a client of its own then."""
    LogStore(configured_address()).make_client()


def finish_uploads(timeout_s: float) -> bool:
    """Before a process ends without saying so to Python, as Celery's do: wait until all outputs are stored.

    False where some are not in time; they wait on disk for the next process.
    """
    deadline = time.monotonic() + timeout_s
    stored = [uploads.drain(deadline - time.monotonic()) for uploads in list(_uploads.values())]
    return all(stored)
