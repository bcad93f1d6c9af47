"""The courier's side of the outbox: rows in, values out, one short transaction for each step."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Executable, Row
from sqlalchemy.ext.asyncio import AsyncEngine

from pipeline3d.courier.formats import build_body
from pipeline3d.courier.messages import read_event, read_job
from pipeline3d.database.engines import POOL_TIMEOUTS
from pipeline3d.errors import DatabaseUnavailable
from pipeline3d.requests import reading, webhook_outbox
from pipeline3d.requests.event_types import JobEventType
from pipeline3d.requests.webhook_events import PASSING_EVENTS, STANDARD_FORMAT
from pipeline3d.requests.webhook_outbox import Attempt
from pipeline3d.requests.webhook_secrets import ensure_account_secret
from pipeline3d.values import ArtifactType

CONNECTIONS = 6
"""For the short transactions around attempts; most of the time attempts wait for receivers."""
TOLD_ARTIFACTS = frozenset(ArtifactType) - {ArtifactType.INPUT, ArtifactType.INTERMEDIATE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A delivery that this courier has leased. `attempt` counts from 1 over all of them."""

    id: int
    user_id: UUID
    endpoint_id: UUID | None
    job_id: UUID | None
    address: str
    host: str
    message_id: str
    event: str
    form: str
    payload: dict[str, Any]
    body: str | None
    attempt: int
    failures: int
    secrets: tuple[str, ...]
    nobody_listens: str | None
    """Why it is not sent any more: its endpoint is off, or its user is not active."""

    @property
    def passing(self) -> bool:
        """Whether the next message makes this one useless."""
        return self.event in PASSING_EVENTS

    @property
    def in_order(self) -> bool:
        """Whether it is sent after those before it, and only where it says something new."""
        return self.form != STANDARD_FORMAT and self.job_id is not None


class Outbox:
    """What waits to be delivered. Raises DatabaseUnavailable where Postgres does not answer."""

    def __init__(self, engine: AsyncEngine, *, api_url: str | None = None) -> None:
        self._engine = engine
        self._api_url = api_url
        # No more at a time than the pool keeps: opening a connection costs more than waiting for one.
        self._turns = asyncio.Semaphore(CONNECTIONS)

    async def take(
        self, *, at_most: int, per_host: int, under_way: Mapping[str, int], lease_s: float
    ) -> list[Delivery]:
        """Lease what is due now, so that no host has more than `per_host` of ours, with those under way."""
        rows = await self._run(
            webhook_outbox.take_due(),
            at_most=at_most,
            per_host=per_host,
            busy=[host for host, count in under_way.items() if count >= per_host],
            under_way=dict(under_way),
            lease_s=lease_s,
        )
        return [_read_delivery(row) for row in rows]

    async def seconds_until_due(self) -> float | None:
        """Seconds until the next delivery is due; None where none waits."""
        [row] = await self._run(webhook_outbox.read_seconds_until_due())
        return None if row.seconds is None else float(row.seconds)

    async def body_of(self, delivery: Delivery) -> str:
        """What is sent: made and kept before the first attempt, the same ever after."""
        if delivery.body is not None:
            return delivery.body
        event = read_event(delivery.event, delivery.payload)
        artifacts: Sequence[Row[Any]] = ()
        if delivery.job_id is not None and event.type != JobEventType.PROGRESS:
            stored = await self._run(reading.list_artifacts(), the_jobs=[delivery.job_id])
            artifacts = [row for row in stored if row.type in TOLD_ARTIFACTS]
        job = read_job(delivery.payload, artifacts, api_url=self._api_url)
        made = build_body(delivery.form, event, job)
        kept = await self._run(webhook_outbox.keep_body(delivery.id, made))
        return kept[0].body if kept else made

    async def has_nothing_new(self, delivery: Delivery, body: str) -> str | None:
        """Why a message in order need not be sent: its address knows that already, or a later one says more.

        None where it is to be sent. One that its owner wants to be sent again always is.
        """
        if not delivery.in_order or (delivery.body is not None and not delivery.failures):
            return None
        for told in await self._run(webhook_outbox.read_told(), the_delivery=delivery.id):
            if delivery.failures and told.newer:
                return "A later message says more."
            if told.body == body:
                return "The message before it said the same."
        return None

    async def secrets_of(self, delivery: Delivery) -> tuple[str, ...]:
        """The secrets that sign it; an account that never had one gets it now."""
        if delivery.secrets:
            return delivery.secrets
        [row] = await self._run(ensure_account_secret(delivery.user_id))
        return (row.secret,)

    async def record_delivered(self, attempt: Attempt) -> None:
        """Write down a delivery."""
        await self._run(webhook_outbox.record_delivered(attempt))

    async def record_failed(self, attempt: Attempt, *, disable_after_s: float) -> str | None:
        """Write down a failure; the reason where the endpoint is off with it."""
        [row] = await self._run(webhook_outbox.record_failed(attempt, disable_after_s=disable_after_s))
        reason: str | None = row.disabled_reason
        return reason

    async def drop(self, delivery: Delivery, reason: str) -> None:
        """Leave a delivery out that its receiver does not need."""
        await self._run(
            webhook_outbox.record_not_sent(delivery.id, delivery.attempt, reason, state="DROPPED")
        )

    async def give_up(self, delivery: Delivery, reason: str) -> None:
        """Forget a delivery for which nobody listens any more."""
        state = "FAILED" if delivery.endpoint_id is not None else "DROPPED"
        await self._run(webhook_outbox.record_not_sent(delivery.id, delivery.attempt, reason, state=state))

    async def hand_back(self, delivery_ids: Collection[int]) -> None:
        """Leave what was not sent to whoever takes it next."""
        if delivery_ids:
            await self._run(webhook_outbox.hand_back(delivery_ids))

    async def _run(self, statement: Executable, **values: Any) -> Sequence[Row[Any]]:
        try:
            async with self._turns, self._engine.connect() as connection:
                result = await connection.execute(statement, values)
                return result.all() if result.returns_rows else []
        except POOL_TIMEOUTS as error:
            raise DatabaseUnavailable("No connection to Postgres became free in time.") from error


def _read_delivery(row: Row[Any]) -> Delivery:
    why = None
    if not row.endpoint_is_on:
        why = "The endpoint is switched off."
    elif not row.user_is_active:
        why = "The user is not active."
    return Delivery(
        id=row.id,
        user_id=row.user_id,
        endpoint_id=row.endpoint_id,
        job_id=row.job_id,
        address=row.address,
        host=row.host,
        message_id=row.message_id,
        event=row.event,
        form=row.format,
        payload=row.payload,
        body=row.body,
        attempt=row.attempts,
        failures=row.failures,
        secrets=tuple(secret for secret in (row.secret, row.previous_secret) if secret is not None),
        nobody_listens=why,
    )
