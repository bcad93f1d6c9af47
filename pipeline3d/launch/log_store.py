"""The object store as the compute logs need it: small text objects, read from an offset while they grow.

Speaks S3 through boto3, since that is what Dagster's log manager brings. Every failure is StoreUnavailable,
within seconds. Knows nothing of runs.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pipeline3d.errors import StoreUnavailable

REGION = "us-east-1"
MISSING = frozenset({"NoSuchKey", "404", "NoSuchBucket"})
PAST_THE_END = "InvalidRange"
CLIENT_OPTIONS = Config(
    signature_version="s3v4",
    # Host names are for AWS alone; everywhere else the bucket is a part of the path.
    s3={"addressing_style": "path"},
    # Newer checksums are unknown to OpenStack Swift and to older MinIO and Ceph.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
    connect_timeout=3,
    read_timeout=20,
    # Whoever writes tries again later by himself, and whoever reads does it by reloading.
    retries={"total_max_attempts": 1},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAddress:
    """Where a bucket is and what opens it."""

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str
    region: str = REGION


class _Clients:
    """One client per address and process: making one takes 0.1 to 0.3 s."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_address: dict[StoreAddress, Any] = {}
        self._used: set[StoreAddress] = set()

    def client(self, address: StoreAddress, *, connect: bool) -> Any:
        with self._lock:
            if connect:
                self._used.add(address)
            if address not in self._by_address:
                self._by_address[address] = boto3.session.Session().client(
                    "s3",
                    endpoint_url=address.endpoint_url,
                    aws_access_key_id=address.access_key,
                    aws_secret_access_key=address.secret_key,
                    region_name=address.region,
                    config=CLIENT_OPTIONS,
                )
            return self._by_address[address]

    def begin_child(self) -> None:
        self._lock = threading.Lock()
        # A client that connected holds sockets of the parent; one that was only made is as good as new.
        for address in self._used:
            self._by_address.pop(address, None)
        self._used = set()


_clients = _Clients()
os.register_at_fork(after_in_child=_clients.begin_child)


class LogStore:
    """One bucket. Connects when it is first used; safe to share between threads."""

    def __init__(self, address: StoreAddress) -> None:
        self.address = address

    @property
    def client(self) -> Any:
        """The boto3 client of this process."""
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
                Bucket=self.address.bucket, Key=key, Body=content, ContentType="text/plain; charset=utf-8"
            )

    def exists(self, key: str) -> bool:
        """Whether there is such an object. Raises StoreUnavailable."""
        with _translated():
            try:
                self.client.head_object(Bucket=self.address.bucket, Key=key)
            except ClientError as error:
                if _code(error) in MISSING:
                    return False
                raise
        return True

    def read(self, key: str, *, offset: int = 0, at_most_bytes: int | None = None) -> bytes | None:
        """What an object holds from `offset` on: b"" at its end, None where it does not exist.

        Raises StoreUnavailable.
        """
        last = "" if at_most_bytes is None else str(offset + at_most_bytes - 1)
        with _translated():
            try:
                answer = self.client.get_object(
                    Bucket=self.address.bucket, Key=key, Range=f"bytes={offset}-{last}"
                )
                content: bytes = answer["Body"].read()
                if "ContentRange" not in answer:  # a store without ranges answers with all of it
                    end = None if at_most_bytes is None else offset + at_most_bytes
                    content = content[offset:end]
            except ClientError as error:
                if _code(error) in MISSING:
                    return None
                if _code(error) == PAST_THE_END:
                    return b""
                raise
        return content

    def keys(self, prefix: str) -> list[str]:
        """The keys that begin with `prefix`. Raises StoreUnavailable."""
        found: list[str] = []
        with _translated():
            pages = self.client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.address.bucket, Prefix=prefix):
                found += [entry["Key"] for entry in page.get("Contents", [])]
        return found

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those that are missing are no error. Raises StoreUnavailable."""
        for key in keys:
            # One by one: stores differ in the checksum that they want for the removal of many.
            with _translated():
                try:
                    self.client.delete_object(Bucket=self.address.bucket, Key=key)
                except ClientError as error:
                    if _code(error) not in MISSING:
                        raise


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise StoreUnavailable(
            f"The object store does not do what is asked: {error}", hint="Check MINIO_ENDPOINT and its keys."
        ) from error
