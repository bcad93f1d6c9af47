"""The object store as the compute logs need it: small text objects, read from an offset while they grow.

Every failure is StoreUnavailable, within seconds. Knows nothing of runs.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from pipeline3d.errors import StoreUnavailable

REGION = "us-east-1"
MISSING = frozenset({"NoSuchKey", "NoSuchObject", "ResourceNotFound", "NoSuchBucket"})
PAST_THE_END = "InvalidRange"
CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 20.0
ONE_PART_BYTES = 64 * 1024 * 1024
"""Outputs are shorter, and so each is one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAddress:
    """Where a bucket is and what opens it."""

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str
    region: str = REGION


class _Clients:
    """One client per address and process: it keeps its connections."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_address: dict[StoreAddress, Minio] = {}
        self._used: set[StoreAddress] = set()

    def client(self, address: StoreAddress, *, connect: bool) -> Minio:
        with self._lock:
            if connect:
                self._used.add(address)
            if address not in self._by_address:
                self._by_address[address] = _make_client(address)
            return self._by_address[address]

    def begin_child(self) -> None:
        self._lock = threading.Lock()
        # A client that connected holds sockets of the parent; one that was only made is as good as new.
        for address in self._used:
            self._by_address.pop(address, None)
        self._used = set()


def _make_client(address: StoreAddress) -> Minio:
    parts = urlsplit(address.endpoint_url)
    return Minio(
        parts.netloc,
        access_key=address.access_key,
        secret_key=address.secret_key,
        secure=parts.scheme == "https",
        region=address.region,
        http_client=urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
            # Whoever writes tries again later by himself, and whoever reads does it by reloading.
            retries=urllib3.Retry(total=0),
        ),
    )


_clients = _Clients()
os.register_at_fork(after_in_child=_clients.begin_child)


class LogStore:
    """One bucket. Connects when it is first used; safe to share between threads."""

    def __init__(self, address: StoreAddress) -> None:
        self.address = address

    @property
    def client(self) -> Minio:
        """The client of this process."""
        return _clients.client(self.address, connect=True)

    def make_client(self) -> None:
        """Pay for the client now and not in the first run. Makes no connection."""
        _clients.client(self.address, connect=False)

    def put(self, key: str, path: Path, *, at_most_bytes: int) -> None:
        """Store the beginning of a file, up to that many bytes. Raises StoreUnavailable, OSError."""
        with path.open("rb") as file:
            content = file.read(at_most_bytes)
        with _translated():
            self.client.put_object(
                self.address.bucket,
                key,
                io.BytesIO(content),
                len(content),
                content_type="text/plain; charset=utf-8",
                part_size=max(ONE_PART_BYTES, len(content)),
            )

    def exists(self, key: str) -> bool:
        """Whether there is such an object. Raises StoreUnavailable."""
        with _translated():
            try:
                self.client.stat_object(self.address.bucket, key)
            except S3Error as error:
                if error.code in MISSING:
                    return False
                raise
        return True

    def read(self, key: str, *, offset: int = 0, at_most_bytes: int | None = None) -> bytes | None:
        """What an object holds from `offset` on: b"" at its end, None where it does not exist.

        Raises StoreUnavailable.
        """
        with _translated():
            try:
                return self._read(key, offset, at_most_bytes)
            except S3Error as error:
                if error.code in MISSING:
                    return None
                if error.code == PAST_THE_END:
                    return b""
                raise

    def keys(self, prefix: str) -> list[str]:
        """The keys that begin with `prefix`. Raises StoreUnavailable."""
        with _translated():
            listed = self.client.list_objects(self.address.bucket, prefix=prefix, recursive=True)
            return [str(entry.object_name) for entry in listed]

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those that are missing are no error. Raises StoreUnavailable."""
        for key in keys:
            # One by one: stores differ in the checksum that they want for the removal of many.
            with _translated():
                try:
                    self.client.remove_object(self.address.bucket, key)
                except S3Error as error:
                    if error.code not in MISSING:
                        raise

    def _read(self, key: str, offset: int, at_most_bytes: int | None) -> bytes:
        answer = self.client.get_object(self.address.bucket, key, offset=offset, length=at_most_bytes or 0)
        try:
            content: bytes = answer.read()
            if "Content-Range" not in answer.headers:  # a store without ranges answers with all of it
                content = content[offset : None if at_most_bytes is None else offset + at_most_bytes]
        finally:
            answer.close()
            answer.release_conn()
        return content


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (urllib3.exceptions.HTTPError, MinioException) as error:
        raise StoreUnavailable(
            f"The object store does not do what is asked: {error}", hint="Check MINIO_ENDPOINT and its keys."
        ) from error
