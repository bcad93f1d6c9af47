"""Fetches pictures from addresses that callers name, without becoming their way into the private network.

The guard is the room `pipeline3d.outbound`; here are the limits of pictures and what each failure means for a
run: another try, or never.
"""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg

from pipeline3d.errors import InvalidAddress, RequestError, TransientFailure, UnusableInput
from pipeline3d.outbound.addresses import show_address
from pipeline3d.outbound.asking import Answer, Limits, ask

CONNECT_S = 5.0
READ_S = 10.0
WHOLE_S = 30.0
MOST_REDIRECTS = 3
GONE_FOR_NOW = frozenset({408, 425, 429, 500, 502, 503, 504})
HEADERS = {
    "User-Agent": "Pipeline3D (photo fetcher)",
    "Accept": "image/jpeg, image/png, image/webp, image/*;q=0.5",
}
CODES = {"answer_too_large": "photo_too_large", "too_many_redirects": "too_many_redirects"}
"""What is called by a name of its own where it happens to a photo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedPhoto:
    """What an address gave: the bytes as they came. Whether they are a picture is for the decoder to say."""

    url: str
    data: bytes
    content_type: str


class PhotoFetching(dg.ConfigurableResource["PhotoFetching"]):
    """Fetches within limits; `allowed_hosts` may lie in the private network (a shop's own image server)."""

    max_bytes: int = 50 * 1024 * 1024
    allowed_hosts: list[str] = []

    def fetch(self, url: str) -> FetchedPhoto:
        """One picture. Raises UnusableInput for what will not change, TransientFailure for what may."""
        answer = self._ask(url)
        if answer.status in GONE_FOR_NOW:
            raise _away(url, f"it answers {answer.status}")
        if answer.status != 200:
            raise _unusable(url, f"it answers {answer.status}", "photo_unreachable")
        return FetchedPhoto(url=url, data=answer.body, content_type=answer.headers.get("content-type", ""))

    def _ask(self, url: str) -> Answer:
        limits = Limits(
            connect_s=CONNECT_S,
            read_s=READ_S,
            whole_s=WHOLE_S,
            max_bytes=self.max_bytes,
            redirects=MOST_REDIRECTS,
        )
        try:
            return ask("GET", url, headers=HEADERS, allowed_hosts=self.allowed_hosts, limits=limits)
        except InvalidAddress as error:
            raise _unusable(
                url, "only http and https addresses are fetched", "photo_address_invalid"
            ) from error
        except RequestError as error:
            raise UnusableInput(
                f"The photo {show_address(url)} lies in a private network and is not fetched.",
                code="photo_address_forbidden",
                hint="Use a public address, or upload the picture.",
            ) from error
        except UnusableInput as error:
            raise _unusable(url, error.message, CODES.get(error.code, "photo_unreachable")) from error
        except TransientFailure as error:
            raise _away(url, error.message) from error


def _unusable(url: str, reason: str, code: str) -> UnusableInput:
    return UnusableInput(
        f"The photo {show_address(url)} cannot be used: {reason.removesuffix('.')}.", code=code
    )


def _away(url: str, reason: str) -> TransientFailure:
    return TransientFailure(
        f"The photo {show_address(url)} cannot be fetched: {reason.removesuffix('.')}.",
        code="photo_unreachable",
    )
