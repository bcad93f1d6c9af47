"""Presigned links: AWS Signature Version 4 in the query, as pure computation.

The `minio` client signs the host alone; here the type, length and content of an upload can be signed too, so
that the store refuses what the ticket did not allow. Needs no connection and no clock of its own.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
MAX_EXPIRES_S = 7 * 24 * 3600
"""What S3 allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Where the store is reached by whoever gets the link, and the key that signs."""

    endpoint: str
    secure: bool
    region: str
    access_key: str
    secret_key: str

    @property
    def origin(self) -> str:
        """Scheme, host and port of every link."""
        return f"{'https' if self.secure else 'http'}://{_host(self.endpoint, self.secure)}"

    def presign(
        self,
        method: str,
        bucket: str,
        key: str,
        *,
        expires_s: int,
        now: datetime,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        payload_sha256: str = UNSIGNED_PAYLOAD,
    ) -> str:
        """A link to one object for one method. `headers` must come with the request exactly as signed.

        With the sha256 of what is to come, and the same among the headers as `x-amz-content-sha256`, no other
        content is taken.
        """
        if not 1 <= expires_s <= MAX_EXPIRES_S:
            raise ValueError(f"a link lasts 1 to {MAX_EXPIRES_S} seconds, not {expires_s}")
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
        signed = {"host": _host(self.endpoint, self.secure)}
        signed.update({name.lower(): value.strip() for name, value in (headers or {}).items()})
        names = ";".join(sorted(signed))
        fields = {
            **(query or {}),
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self.access_key}/{scope}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(expires_s),
            "X-Amz-SignedHeaders": names,
        }
        encoded = "&".join(f"{_encode(name)}={_encode(fields[name])}" for name in sorted(fields))
        path = f"/{bucket}/{quote(key, safe='/-_.~')}"
        canonical_headers = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        request = "\n".join([method, path, encoded, canonical_headers, names, payload_sha256])
        to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
        signature = hmac.new(self._signing_key(stamp[:8]), to_sign.encode(), hashlib.sha256).hexdigest()
        return f"{self.origin}{path}?{encoded}&X-Amz-Signature={signature}"

    def _signing_key(self, date: str) -> bytes:
        key = f"AWS4{self.secret_key}".encode()
        for part in (date, self.region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return key


def _host(endpoint: str, secure: bool) -> str:
    # A client leaves out the port that its scheme implies, and then it must not be signed either.
    name, _, port = endpoint.rpartition(":")
    return name if name and port == ("443" if secure else "80") else endpoint


def _encode(text: str) -> str:
    return quote(text, safe="-_.~")
