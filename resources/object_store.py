"""The object store as a Dagster resource: configuration in, one connected client per process out.

Everything that is done with objects (verified puts, atomic publishing, presigned links) lives in
`pipeline3d.store`; this resource only knows where the store is.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import dagster as dg

from pipeline3d.store.s3 import S3Store


class ObjectStore(dg.ConfigurableResource["ObjectStore"]):
    """An S3 bucket, reached through the `minio` client."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    secure: bool = False
    max_input_bytes: int = 50 * 1024 * 1024
    max_model_bytes: int = 200 * 1024 * 1024

    def connect(self) -> S3Store:
        """The client of this process; its bucket exists. Raises StoreUnavailable."""
        return _connected_store(self.endpoint, self.access_key, self.secret_key, self.bucket, self.secure)

    def fetch_input(self, key: str, path: Path) -> str:
        """A model that a caller uploaded, as a file; its sha256.

        Its link lives on after the job was made, so the size is looked at again. Raises UnusableInput
        `file_too_large`, BrokenArtifact `object_missing`, StoreUnavailable.
        """
        return self.connect().fetch_to_file(key, path, at_most=self.max_model_bytes).sha256

    def read_input(self, key: str) -> bytes:
        """A picture that a caller uploaded; errors as of `fetch_input`."""
        return self.connect().read_bytes(key, at_most=self.max_input_bytes)


@lru_cache(maxsize=4)
def _connected_store(endpoint: str, access_key: str, secret_key: str, bucket: str, secure: bool) -> S3Store:
    store = S3Store(
        endpoint=endpoint, access_key=access_key, secret_key=secret_key, bucket=bucket, secure=secure
    )
    store.ensure_bucket()
    return store
