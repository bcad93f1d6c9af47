"""One attempt: a signed POST to an address that a caller named, and what came of it. It blocks."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from time import monotonic

from pipeline3d.courier.policy import parse_retry_after
from pipeline3d.errors import PermanentFailure, RequestError, TransientFailure
from pipeline3d.outbound.asking import Answer, Limits, ask

MOST_OF_ANSWER = 2048
"""Bytes of an answer that are read and kept for whoever looks for the reason."""
GONE = 410
ASKS_FOR_PATIENCE = frozenset({429, 503})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an attempt. `hopeless` says that another one would end the same."""

    delivered: bool
    status: int | None = None
    error: str | None = None
    answer: str = ""
    milliseconds: int = 0
    asked_wait_s: float | None = None
    gone: bool = False
    hopeless: bool = False


def send(
    address: str, headers: Mapping[str, str], body: bytes, *, allowed_hosts: tuple[str, ...], timeout_s: float
) -> Outcome:
    """POST `body` to the address. Redirects are not followed, private addresses are not visited."""
    began = monotonic()
    try:
        answer = ask(
            "POST",
            address,
            headers={"Content-Type": "application/json", **headers},
            body=body,
            allowed_hosts=allowed_hosts,
            limits=Limits(
                connect_s=timeout_s, read_s=timeout_s, whole_s=timeout_s, max_bytes=MOST_OF_ANSWER, cut=True
            ),
            ssl_context=_trust(),
        )
    except RequestError as error:
        return Outcome(delivered=False, error=error.message, hopeless=True)
    except (TransientFailure, PermanentFailure) as error:
        return Outcome(delivered=False, error=error.message, milliseconds=_since(began))
    return _judge(answer, _since(began))


def _judge(answer: Answer, milliseconds: int) -> Outcome:
    delivered = 200 <= answer.status < 300
    wait = answer.headers.get("retry-after") if answer.status in ASKS_FOR_PATIENCE else None
    return Outcome(
        delivered=delivered,
        status=answer.status,
        error=None if delivered else _explain(answer.status),
        answer=answer.body.decode("utf-8", "replace").replace("\x00", "�"),
        milliseconds=milliseconds,
        asked_wait_s=parse_retry_after(wait, datetime.now(UTC)),
        gone=answer.status == GONE,
    )


def _explain(status: int) -> str:
    if 300 <= status < 400:
        return f"It answered {status}: redirects are not followed."
    return f"It answered {status}; only 200 to 299 is a delivery."


def _since(began: float) -> int:
    return round((monotonic() - began) * 1000)


@lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    """Made once: reading the list of authorities takes longer than a request."""
    return ssl.create_default_context()
