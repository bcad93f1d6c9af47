"""Links to single objects: what an upload must be, and how a download is presented. Pure computation.

The store keeps to what a link says: an upload of another type, length or content is refused there, and the
headers of a download are those that were signed. Whoever has a link needs nothing else, so a link is made
when it is asked for, lasts for minutes or hours, and is never stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from pipeline3d.store.presigning import UNSIGNED_PAYLOAD, Signer

CONTENT_HASH_HEADER = "x-amz-content-sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLink:
    """A link for one PUT, and the headers that must come with it besides its length."""

    url: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """How a download is presented to whoever follows its link.

    `inline` lets a browser show it in its place; without, it saves it. `cache_control` is for the caches on
    the way and in the browser.
    """

    filename: str | None = None
    inline: bool = False
    content_type: str | None = None
    cache_control: str | None = None

    def as_query(self) -> dict[str, str]:
        """The parameters with which S3 is told of it."""
        query = {}
        if self.filename is not None:
            query["response-content-disposition"] = content_disposition(self.filename, inline=self.inline)
        if self.content_type is not None:
            query["response-content-type"] = self.content_type
        if self.cache_control is not None:
            query["response-cache-control"] = self.cache_control
        return query


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkMaker:
    """Makes links to the objects of one bucket."""

    signer: Signer
    bucket: str

    def for_upload(
        self,
        key: str,
        expires_s: int,
        content_type: str | None = None,
        *,
        size: int | None = None,
        sha256: str | None = None,
    ) -> UploadLink:
        """A link that stores one object of this type, of this many bytes and with this content.

        What is not given is not checked by the store. Clients send the length by themselves, and browsers let
        nobody else do so: it is signed and is not among the headers.
        """
        headers = {"Content-Type": content_type} if content_type else {}
        if sha256 is not None:
            headers[CONTENT_HASH_HEADER] = sha256
        signed = headers if size is None else {**headers, "Content-Length": str(size)}
        url = self.signer.presign(
            "PUT",
            self.bucket,
            key,
            expires_s=expires_s,
            now=datetime.now(UTC),
            headers=signed,
            payload_sha256=sha256 or UNSIGNED_PAYLOAD,
        )
        return UploadLink(url=url, headers=headers)

    def for_download(self, key: str, expires_s: int, presentation: Presentation | None = None) -> str:
        """A link that reads one object, whole or in ranges."""
        query = (presentation or Presentation()).as_query()
        return self.signer.presign(
            "GET", self.bucket, key, expires_s=expires_s, now=datetime.now(UTC), query=query
        )


def content_disposition(filename: str, *, inline: bool = False) -> str:
    """The header that makes a browser save under a name, in any script, or show it in its place."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in filename)
    extended = "" if plain == filename else f"; filename*=UTF-8''{quote(filename, safe='')}"
    return f'{"inline" if inline else "attachment"}; filename="{plain}"{extended}'
