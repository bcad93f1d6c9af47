"""A request with an `Idempotency-Key` is done once, and answered the same for a day.

The key is taken in the statement that stores what was asked for, so that a crash at any moment leaves either
both or neither. What was answered is kept right after; where a crash came between, the answer is made anew
from what was stored. A request that is refused takes no key.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import anyio
from sqlalchemy import Row

from pipeline3d.api.services import Services
from pipeline3d.errors import (
    DatabaseUnavailable,
    IdempotencyConflict,
    InvalidParameters,
    RequestError,
    TransientFailure,
)
from pipeline3d.requests import idempotency
from pipeline3d.requests.accounts import Account
from pipeline3d.requests.creation import hash_request
from pipeline3d.requests.idempotency import KeyUse

logger = logging.getLogger("pipeline3d.api")

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
LOOKS = 20
LOOK_EVERY_S = 0.05
"""A first request that was just stored has its answer kept in a moment; after a second it has died."""
REPLAYED = "Idempotency-Replayed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is answered to a request that makes something: a status, JSON, and where to look next."""

    status: int
    body: str
    location: str | None = None
    replayed: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """What is said beside the body."""
        headers = {} if self.location is None else {"Location": self.location}
        return {**headers, REPLAYED: "true"} if self.replayed else headers


def use_key(account: Account, key: str | None, route: str, body: Any) -> KeyUse | None:
    """The key that came with a request; None without one. Raises `invalid_idempotency_key`."""
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise InvalidParameters(
            "Idempotency-Key has 1 to 255 printable ASCII characters without spaces.",
            code="invalid_idempotency_key",
            hint="Use a UUID.",
        )
    return KeyUse(user_id=account.id, key=key, request_hash=hash_request([route, body]))


async def answer_once(
    services: Services,
    use: KeyUse | None,
    make: Callable[[], Awaitable[Answer | None]],
    make_anew: Callable[[Row[Any]], Awaitable[Answer]],
    *,
    look_first: bool = False,
) -> Answer:
    """Do what is asked, or give the answer to the same request that came before.

    `make` stores and answers; None says that the key was taken. `make_anew` answers from a row of
    `idempotency.read_key` what was stored before a crash. With `look_first` an earlier request is looked for
    before anything is done, where that is dear. Raises IdempotencyConflict for another request.
    """
    if use is None:
        answer = await make()
        assert answer is not None
        return answer
    if look_first:
        earlier = await _replay(services, use, make_anew)
        if earlier is not None:
            return earlier
    try:
        answer = await make()
    except RequestError:
        # What was accepted once stays so, even if it would be refused by now.
        earlier = await _replay(services, use, make_anew)
        if earlier is None:
            raise
        return earlier
    if answer is not None:
        return await _keep(services, use, answer)
    earlier = await _replay(services, use, make_anew)
    if earlier is None:
        raise TransientFailure("The Idempotency-Key was set free in this moment.", code="key_in_motion")
    return earlier


async def _replay(
    services: Services, use: KeyUse, make_anew: Callable[[Row[Any]], Awaitable[Answer]]
) -> Answer | None:
    """The answer to an earlier request with this key; None where there was none."""
    row: Row[Any] | None = None
    for look in range(LOOKS):
        row = await services.first(idempotency.read_key(), the_user=use.user_id, the_key=use.key)
        if row is None:
            return None
        if row.request_hash != use.request_hash:
            raise IdempotencyConflict(
                "Idempotency-Key was used before for another request"
                + (f", which made job {row.job_id}." if row.job_id else "."),
                hint="Use a new key for a new request.",
            )
        if row.answer is not None:
            location = _location_of(row)
            return Answer(status=row.status, body=row.answer, location=location, replayed=True)
        if look < LOOKS - 1:
            await anyio.sleep(LOOK_EVERY_S)
    assert row is not None
    return replace(await _keep(services, use, await make_anew(row)), replayed=True)


async def _keep(services: Services, use: KeyUse, answer: Answer) -> Answer:
    """Keep an answer for those who ask again; of two at once the first one's is given."""
    try:
        kept = await services.directly(
            idempotency.keep_answer(),
            the_user=use.user_id,
            the_key=use.key,
            the_hash=use.request_hash,
            the_status=answer.status,
            the_answer=answer.body,
        )
    except DatabaseUnavailable as error:
        logger.warning("An answer could not be kept and is made anew when it is asked for: %s", error)
        return answer
    return replace(answer, status=kept[0].status, body=kept[0].answer) if kept else answer


def _location_of(row: Row[Any]) -> str:
    return f"/api/v1/jobs/{row.job_id}" if row.job_id else f"/api/v1/jobs/batches/{row.batch_id}"
