"""The object store through the S3 protocol: whole objects in, verified objects out.

An object appears at its key all at once: it is written under a temporary key, checked and copied by the
store. Links are computed without asking the store. Every failure is one of our errors, within seconds where
the store does not answer.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit
from uuid import UUID

import minio
import urllib3
from minio.commonconfig import CopySource
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from pipeline3d.errors import BrokenArtifact, Pipeline3dError, StoreUnavailable, UnusableInput
from pipeline3d.store.keys import temporary_key
from pipeline3d.store.links import LinkMaker, Presentation
from pipeline3d.store.presigning import Signer
from pipeline3d.values import StoredObject

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 60.0
RETRIES = 1
CHUNK_BYTES = 1 << 20
PAGE_KEYS = 1000
"""What S3 lists and removes at a time."""
DEFAULT_REGION = "us-east-1"
MISSING_CODES = frozenset({"NoSuchKey", "NoSuchObject", "ResourceNotFound"})
DENIED_CODES = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFacts:
    """What the store says of an object without its content."""

    key: str
    size: int
    content_type: str
    etag: str
    modified_at: datetime | None


class S3Store:
    """One bucket. Makes no connection until it is used; safe to share between threads."""

    def __init__(
        self,
        endpoint: str,
        access_key: str,
        secret_key: str,
        bucket: str,
        secure: bool = False,
        region: str = DEFAULT_REGION,
        public_endpoint: str | None = None,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self.bucket = bucket
        self.endpoint, secure = _split_endpoint(endpoint, secure)
        self._client = minio.Minio(
            self.endpoint,
            access_key=access_key,
            secret_key=secret_key,
            secure=secure,
            region=region,
            http_client=_http_pool(read_timeout_s),
        )
        public, public_secure = _split_endpoint(public_endpoint or self.endpoint, secure)
        signer = Signer(
            endpoint=public, secure=public_secure, region=region, access_key=access_key, secret_key=secret_key
        )
        self.links = LinkMaker(signer=signer, bucket=bucket)

    @property
    def public_origin(self) -> str:
        """Scheme, host and port of the links, which is what a browser must be allowed to connect to."""
        return self.links.signer.origin

    def ensure_bucket(self) -> None:
        """Make the bucket where it is missing; harmless where two do it at once."""
        with self._translated(self.bucket):
            if self._client.bucket_exists(self.bucket):
                return
            try:
                self._client.make_bucket(self.bucket)
            except S3Error as error:
                if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise

    def check(self) -> None:
        """Raise where the bucket cannot be used right now."""
        with self._translated(self.bucket):
            if not self._client.bucket_exists(self.bucket):
                raise StoreUnavailable(
                    f"The object store has no bucket {self.bucket}.",
                    code="bucket_missing",
                    hint="Restart the service: it makes the bucket at its start.",
                )

    def put_file(
        self,
        key: str,
        path: Path,
        content_type: str,
        *,
        writer: UUID | None = None,
        before_publishing: Callable[[], None] | None = None,
    ) -> StoredObject:
        """Store a file; a reader of the key sees all of it or nothing.

        `before_publishing` is called when all is uploaded and nothing visible yet; what it raises leaves the
        key as it was.

        A writer (a run) that is killed meanwhile leaves one object behind, by a name that tells of it:
        `remove_unfinished` removes it.
        """
        with path.open("rb") as file:
            return self._publish(key, file, path.stat().st_size, content_type, writer, before_publishing)

    def remove_unfinished(self, writer: UUID) -> None:
        """Remove what a writer left behind that was killed; harmless where there is nothing."""
        self.remove(temporary_key(writer))

    def put_stream(self, key: str, source: BinaryIO, size: int, content_type: str) -> StoredObject:
        """Store what an open file holds from its position on, as `put_file` does."""
        return self._publish(key, source, size, content_type)

    def put_bytes(self, key: str, data: bytes, content_type: str) -> StoredObject:
        """Store content that is in memory, as `put_file` does."""
        return self._publish(key, io.BytesIO(data), len(data), content_type)

    def fetch_to_file(
        self, key: str, path: Path, expected_sha256: str | None = None, *, at_most: int | None = None
    ) -> StoredObject:
        """Bring an object to a local file, which is there whole or not at all.

        `BrokenArtifact` names the key where the object is missing or is not what was recorded; UnusableInput
        (`file_too_large`) where it has more bytes than `at_most`.
        """
        partial = path.with_name(f"{path.name}.part")
        digest = hashlib.sha256()
        size = 0
        try:
            with self._opened(key) as response, partial.open("wb") as file:
                facts = _facts_of_response(key, response)
                _require_small(facts, at_most)
                for chunk in response.stream(CHUNK_BYTES):
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
            _require(key, "bytes", facts.size, size)
            if expected_sha256 is not None:
                _require(key, "sha256", expected_sha256, digest.hexdigest())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return StoredObject(key=key, size=size, sha256=digest.hexdigest(), content_type=facts.content_type)

    def read_bytes(self, key: str, *, at_most: int | None = None) -> bytes:
        """An object's content; for objects that are known to be small, or are refused where they are not."""
        with self._opened(key) as response:
            facts = _facts_of_response(key, response)
            _require_small(facts, at_most)
            data = b"".join(response.stream(CHUNK_BYTES))
        _require(key, "bytes", facts.size, len(data))
        return data

    def read_head(self, key: str, n: int) -> bytes:
        """The first `n` bytes of an object; all of a shorter one."""
        return self.read_range(key, 0, n)

    def read_range(self, key: str, offset: int, n: int) -> bytes:
        """`n` bytes of an object from an offset; fewer at its end, none behind it."""
        with self._translated(key):
            try:
                response = self._client.get_object(self.bucket, key, offset=offset, length=n)
            except S3Error as error:
                if error.code == "InvalidRange":  # also what S3 answers for any range of an empty object
                    return b""
                raise
            try:
                return bytes(response.read(n))
            finally:
                response.close()
                response.release_conn()

    def stat(self, key: str) -> ObjectFacts:
        """Size, type and age of an object."""
        with self._translated(key):
            found = self._client.stat_object(self.bucket, key)
        return ObjectFacts(
            key=key,
            size=found.size or 0,
            content_type=found.content_type or "application/octet-stream",
            etag=found.etag or "",
            modified_at=found.last_modified,
        )

    def list_keys(self, prefix: str) -> Iterator[str]:
        """The keys that begin with `prefix`, in order, a page at a time."""
        with self._translated(prefix):
            for found in self._client.list_objects(self.bucket, prefix=prefix, recursive=True):
                yield str(found.object_name)

    def list_pages(self, prefix: str) -> Iterator[list[ObjectFacts]]:
        """What begins with `prefix`, in order, in pages of up to a thousand. No page is empty."""
        page: list[ObjectFacts] = []
        with self._translated(prefix):
            for found in self._client.list_objects(self.bucket, prefix=prefix, recursive=True):
                page.append(_facts_of_listing(found))
                if len(page) == PAGE_KEYS:
                    yield page
                    page = []
            if page:
                yield page

    def remove_many(self, keys: Sequence[str]) -> None:
        """Remove objects a thousand at a time; harmless where some are gone."""
        with self._translated(self.bucket):
            errors = self._client.remove_objects(self.bucket, [DeleteObject(key) for key in keys])
            refused = [error for error in errors if error.code not in MISSING_CODES]
        if refused:
            raise StoreUnavailable(
                f"The object store did not remove {len(refused)} of {len(keys)} objects ({refused[0].code}).",
                code="store_failed",
            )

    def copy(self, source: str, key: str) -> None:
        """Copy an object inside the store."""
        with self._translated(source):
            self._client.copy_object(self.bucket, key, CopySource(self.bucket, source))

    def remove(self, key: str) -> None:
        """Remove an object; harmless where it is gone."""
        with self._translated(key):
            self._client.remove_object(self.bucket, key)

    def presign_put(self, key: str, expires_s: int, content_type: str | None = None) -> str:
        """A link that stores one object. With a content type, the upload must have exactly that one."""
        return self.links.for_upload(key, expires_s, content_type).url

    def presign_get(self, key: str, expires_s: int, filename: str | None = None) -> str:
        """A link that reads one object; with a file name, browsers save it under that name."""
        return self.links.for_download(key, expires_s, Presentation(filename=filename))

    def _publish(
        self,
        key: str,
        source: BinaryIO,
        size: int,
        content_type: str,
        writer: UUID | None = None,
        before_publishing: Callable[[], None] | None = None,
    ) -> StoredObject:
        temporary = temporary_key(writer)
        reader = _HashingReader(source)
        with self._translated(key):
            # the client only ever calls `read`
            self._client.put_object(
                self.bucket, temporary, cast(BinaryIO, reader), size, content_type=content_type
            )
        try:
            _require(temporary, "bytes", size, self.stat(temporary).size)
            if before_publishing is not None:
                before_publishing()
            self.copy(temporary, key)
        finally:
            # What stays behind when the store is away is swept with everything old under tmp/.
            with suppress(Pipeline3dError):
                self.remove(temporary)
        return StoredObject(key=key, size=size, sha256=reader.hexdigest(), content_type=content_type)

    @contextmanager
    def _opened(self, key: str) -> Iterator[Any]:
        with self._translated(key):
            response = self._client.get_object(self.bucket, key)
            try:
                yield response
            finally:
                response.close()
                response.release_conn()

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        """Turn every way in which the client fails into one of our errors."""
        try:
            yield
        except S3Error as error:
            raise _meaning_of(error, key, self.bucket) from error
        except (urllib3.exceptions.HTTPError, ServerError, InvalidResponseError, MinioException) as error:
            raise StoreUnavailable(
                f"The object store at {self.endpoint} does not answer.",
                hint="Check MINIO_ENDPOINT and that the server runs.",
            ) from error


class _HashingReader:
    """Passes a stream on and knows the sha256 of what passed."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._digest = hashlib.sha256()

    def read(self, n: int = -1) -> bytes:
        chunk = self._source.read(n)
        self._digest.update(chunk)
        return chunk

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def _meaning_of(error: S3Error, key: str, bucket: str) -> Pipeline3dError:
    if error.code in MISSING_CODES:
        return BrokenArtifact(f"{key} is not in the object store.", code="object_missing")
    if error.code in DENIED_CODES:
        return StoreUnavailable(
            f"The object store refuses access to {bucket} ({error.code}).",
            code="store_denied",
            hint="Check MINIO_ACCESS_KEY and MINIO_SECRET_KEY.",
        )
    if error.code == "NoSuchBucket":
        return StoreUnavailable(
            f"The object store has no bucket {bucket}.",
            code="bucket_missing",
            hint="Restart the service: it makes the bucket at its start.",
        )
    return StoreUnavailable(f"The object store failed on {key} ({error.code}).", code="store_failed")


def _require_small(facts: ObjectFacts, at_most: int | None) -> None:
    """Asked of the very bytes that are about to come: whoever may upload may do so again meanwhile."""
    if at_most is not None and facts.size > at_most:
        raise UnusableInput(
            f"The uploaded file has {facts.size:,} bytes; at most {at_most:,} are taken.",
            code="file_too_large",
            hint="Make it smaller, and upload it again.",
        )


def _require(key: str, what: str, expected: object, found: object) -> None:
    if expected != found:
        raise BrokenArtifact(f"{key} should have {what} {expected} and has {found}.")


def _facts_of_response(key: str, response: Any) -> ObjectFacts:
    return ObjectFacts(
        key=key,
        size=int(response.headers.get("content-length", 0)),
        content_type=response.headers.get("content-type", "application/octet-stream"),
        etag=response.headers.get("etag", "").strip('"'),
        modified_at=None,
    )


def _facts_of_listing(found: Any) -> ObjectFacts:
    return ObjectFacts(
        key=str(found.object_name),
        size=found.size or 0,
        content_type="",  # a listing does not say
        etag=(found.etag or "").strip('"'),
        modified_at=found.last_modified,
    )


def _http_pool(read_timeout_s: float) -> urllib3.PoolManager:
    return urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=read_timeout_s),
        maxsize=10,
        # The client's own default tries for minutes; a run is tried again as a whole.
        retries=urllib3.Retry(total=RETRIES, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]),
    )


def _split_endpoint(endpoint: str, secure: bool) -> tuple[str, bool]:
    parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    return parts.netloc, parts.scheme == "https" if parts.scheme else secure
