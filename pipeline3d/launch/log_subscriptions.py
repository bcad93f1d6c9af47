"""Tells open pages of the Dagster UI what was added to the outputs that they show.

Dagster's own poller ends with the first error of the object store, and with it all live outputs of the
webserver. This one asks again; it runs while somebody looks.
"""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from dagster._core.storage.compute_log_manager import CapturedLogSubscription

POLL_EVERY_S = 1.5
"""How often a page that is open learns news, in seconds."""

logger = logging.getLogger(__name__)


class _Logs(Protocol):
    def is_capture_complete(self, log_key: list[str]) -> bool: ...


class LogSubscriptions:
    """The subscriptions of one log manager."""

    def __init__(self, logs: _Logs, *, poll_every_s: float = POLL_EVERY_S) -> None:
        self._logs = logs
        self._poll_every_s = poll_every_s
        self._changed = threading.Condition()
        self._open: list[CapturedLogSubscription] = []
        self._thread: threading.Thread | None = None

    def add_subscription(self, subscription: CapturedLogSubscription) -> None:
        """Tell its observer what is added, until the output is complete or the subscription is removed."""
        with self._changed:
            self._open.append(subscription)
            if self._thread is None:
                self._thread = threading.Thread(target=self._poll, name="log-subscriptions", daemon=True)
                self._thread.start()

    def remove_subscription(self, subscription: CapturedLogSubscription) -> None:
        """Nobody looks any more."""
        with self._changed:
            if subscription in self._open:
                self._open.remove(subscription)
                subscription.complete()
            self._changed.notify_all()

    def dispose(self) -> None:
        """End all."""
        with self._changed:
            self._open.clear()
            self._changed.notify_all()

    def _poll(self) -> None:
        while True:
            with self._changed:
                self._changed.wait(self._poll_every_s)
                if not self._open:
                    self._thread = None
                    return
                subscriptions = list(self._open)
            for subscription in subscriptions:
                try:
                    self._tell(subscription)
                except Exception as error:
                    logger.warning("The output of %s cannot be shown now: %s", subscription.log_key, error)

    def _tell(self, subscription: CapturedLogSubscription) -> None:
        # Asked before the last fetch: what was added in between would be lost otherwise.
        complete = self._logs.is_capture_complete(list(subscription.log_key))
        subscription.fetch()
        if complete:
            self.remove_subscription(subscription)
