"""Following a stream of events over disconnections: what was seen, and where to go on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from httpx_sse import ServerSentEvent

from pipeline3d.client.answers import Event
from pipeline3d.client.operations import API_PREFIX, JOBS, Id
from pipeline3d.errors import Pipeline3dError
from pipeline3d.values import FINISHED_STATES

END_EVENTS = frozenset({"job.succeeded", "job.failed", "job.canceled", "job.expired", "job.deleted"})
READ_TIMEOUT_S = 60.0
"""The service sends a sign of life every 15 seconds: a stream that is silent for longer is dead."""

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0


class StreamPosition:
    """Where a stream is. A connection that ends is opened again after `pause_s`, behind the last event."""

    def __init__(self, job_id: Id | None, types: Sequence[str] | None, last_event_id: str | None) -> None:
        self.path = f"{API_PREFIX}/events" if job_id is None else f"{JOBS}/{job_id}/events"
        self.params: dict[str, str | list[str]] = {"types": list(types)} if types else {}
        self.is_finished = False
        self.pause_s = FIRST_PAUSE_S
        self._ends = job_id is not None
        self._last = last_event_id

    def headers(self) -> Mapping[str, str]:
        """The headers of the next connection."""
        accept = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        return accept if self._last is None else {**accept, "Last-Event-ID": self._last}

    def take(self, received: ServerSentEvent) -> Event:
        """An event as it came, noted. Raises Pipeline3dError where it is none of the service."""
        try:
            data = json.loads(received.data)
        except ValueError as error:
            raise Pipeline3dError("The stream is not one of this service.", code="bad_answer") from error
        self.pause_s = FIRST_PAUSE_S
        self._last = received.id or self._last
        # Of a job that has ended already only how it stands is told.
        is_past = received.event == "job.snapshot" and data.get("status") in FINISHED_STATES
        has_ended = is_past or received.event in END_EVENTS
        self.is_finished = self._ends and has_ended
        return Event(id=received.id or None, type=received.event, data=data)

    def take_silence(self) -> None:
        """Note that the service has nothing more to tell: the job's end was read before."""
        self.is_finished = self._ends

    def next_pause(self) -> float:
        """How long to wait before the next connection; longer each time that nothing came."""
        pause_s = self.pause_s
        self.pause_s = min(self.pause_s * 2, LONGEST_PAUSE_S)
        return pause_s
