"""The courier's life: take what is due, send it, write down how it went, wait until there is more.

Any number of couriers may work on one outbox. What one of them holds when it is killed is due again when the
lease ends; a message may so arrive twice, with the same id, and never less than once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from pipeline3d.courier.bell import Bell
from pipeline3d.courier.outbox import Delivery, Outbox
from pipeline3d.courier.policy import CourierPolicy, plan_retry
from pipeline3d.courier.sending import Outcome, send
from pipeline3d.courier.signing import sign
from pipeline3d.errors import DatabaseUnavailable, Pipeline3dError
from pipeline3d.requests.webhook_outbox import Attempt

logger = logging.getLogger("pipeline3d.courier")

T = TypeVar("T")
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
LOOK_AGAIN_S = 1.0
LOOK_AT_ONCE_S = 0.01


class Courier:
    """Delivers until it is told to stop. Lives in one event loop; each attempt waits in a thread."""

    def __init__(self, outbox: Outbox, bell: Bell, policy: CourierPolicy) -> None:
        self._outbox = outbox
        self._bell = bell
        self._policy = policy
        self._under_way: dict[asyncio.Task[None], Delivery] = {}
        self._more_is_due = False
        self._stopping = False

    def stop(self) -> None:
        """Take nothing more, and end `run` soon."""
        self._stopping = True
        self._bell.ring()

    async def run(self) -> None:
        """Deliver what is due, as it becomes due, until `stop`. Waits while Postgres is away."""
        pause_s = FIRST_PAUSE_S
        while not self._stopping:
            try:
                await self._bell.wait(await self._deliver_due())
                pause_s = FIRST_PAUSE_S
            except DatabaseUnavailable as error:
                logger.warning("%s Trying again in %.2g s.", error.message, pause_s)
                await self._bell.wait(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        await self._leave()

    async def _deliver_due(self) -> float:
        """Begin as many attempts as there is room for; seconds until it is worth looking again."""
        policy = self._policy
        while not self._stopping:
            room = policy.at_once - len(self._under_way)
            if room <= 0:
                self._more_is_due = True
                return policy.look_every_s
            taken = await self._outbox.take(
                at_most=room,
                per_host=policy.per_host,
                under_way=self._count_by_host(),
                lease_s=policy.lease_s,
            )
            for delivery in taken:
                task = asyncio.create_task(self._deliver(delivery))
                self._under_way[task] = delivery
                task.add_done_callback(self._ended)
            if not taken:
                break
        due_s = await self._outbox.seconds_until_due()
        self._more_is_due = due_s is not None and due_s <= 0
        if self._more_is_due:
            # its host is busy here; or it became due just now, or another courier is about to take it
            host_is_busy = max(self._count_by_host().values(), default=0) >= policy.per_host
            return LOOK_AGAIN_S if host_is_busy else LOOK_AT_ONCE_S
        return policy.look_every_s if due_s is None else min(due_s, policy.look_every_s)

    def _count_by_host(self) -> Counter[str]:
        """How many attempts are under way for each host."""
        return Counter(delivery.host for delivery in self._under_way.values())

    def _ended(self, task: asyncio.Task[None]) -> None:
        delivery = self._under_way.pop(task)
        if self._more_is_due or delivery.in_order:  # what comes after it may be due now
            self._bell.ring()
        if not task.cancelled() and (error := task.exception()) is not None:
            # It is due again when its lease ends. An error of a driver quotes what was stored: it stays out.
            said = error.message if isinstance(error, Pipeline3dError) else type(error).__name__
            logger.error("delivery %s is not settled: %s", delivery.id, said)

    async def _deliver(self, delivery: Delivery) -> None:
        if delivery.nobody_listens is not None:
            await self._outbox.give_up(delivery, delivery.nobody_listens)
            return
        try:
            body = await self._outbox.body_of(delivery)
            needless = await self._outbox.has_nothing_new(delivery, body)
        except DatabaseUnavailable:
            raise
        except Exception:
            # Left alone it would be taken again and again, for ever: its owner sees it, and the log has why.
            logger.exception("the body of delivery %s cannot be made", delivery.id)
            await self._outbox.give_up(delivery, "Its body cannot be made; the service's log says why.")
            return
        if needless is not None:
            await self._outbox.drop(delivery, needless)
            return
        secrets = await self._outbox.secrets_of(delivery)
        headers = sign(delivery.message_id, datetime.now(UTC), body, secrets)
        outcome = await _in_thread(
            lambda: send(
                delivery.address,
                headers,
                body.encode(),
                allowed_hosts=self._policy.allowed_hosts,
                timeout_s=self._policy.timeout_s,
            )
        )
        await self._settle(delivery, outcome)

    async def _settle(self, delivery: Delivery, outcome: Outcome) -> None:
        retry_in_s = None
        if not (outcome.delivered or outcome.hopeless):
            retry_in_s = plan_retry(
                self._policy,
                delivery.failures + 1,
                asked_wait_s=outcome.asked_wait_s,
                passing=delivery.passing,
            )
        attempt = Attempt(
            delivery_id=delivery.id,
            number=delivery.attempt,
            endpoint_id=delivery.endpoint_id,
            delivered=outcome.delivered,
            status=outcome.status,
            error=outcome.error,
            answer=outcome.answer,
            milliseconds=outcome.milliseconds,
            retry_in_s=retry_in_s,
            gone=outcome.gone,
            passing=delivery.passing,
        )
        await self._write_down(attempt)

    async def _write_down(self, attempt: Attempt) -> None:
        """Record an attempt, with patience: what is not recorded is sent again."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                if attempt.delivered:
                    await self._outbox.record_delivered(attempt)
                    return
                disable_after_s = self._policy.disable_after_s
                reason = await self._outbox.record_failed(attempt, disable_after_s=disable_after_s)
            except DatabaseUnavailable as error:
                logger.warning("delivery %s: %s", attempt.delivery_id, error.message)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                continue
            self._bell.ring()  # there is another time at which something is due
            # each is a row of `webhook_attempts`: a receiver that is down for long must not fill the log
            logger.debug("delivery %s, attempt %s: %s", attempt.delivery_id, attempt.number, attempt.error)
            if reason is not None:
                logger.warning("endpoint %s is switched off: %s", attempt.endpoint_id, reason)
            return

    async def _leave(self) -> None:
        """Let attempts end for a moment, and hand back those that do not."""
        if not self._under_way:
            return
        tasks = dict(self._under_way)
        _, late = await asyncio.wait(tasks, timeout=self._policy.stop_grace_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        try:
            async with asyncio.timeout(self._policy.stop_grace_s):
                await self._outbox.hand_back([tasks[task].id for task in late])
        except (DatabaseUnavailable, TimeoutError) as error:
            logger.warning("deliveries are due again when their leases end: %s", error)


async def _in_thread(call: Callable[[], T]) -> T:
    """Run a call that waits for the network in a thread that nobody waits for at the end of the process."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # it is there where no error is

    def work() -> None:
        result, error = None, None
        try:
            result = call()
        except BaseException as raised:
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name="delivery", daemon=True).start()
    return await future
