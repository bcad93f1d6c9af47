"""HTTP as uvicorn speaks it, but whoever sends the head of a request drop by drop is not waited for.

uvicorn limits how long a connection rests between two requests, and nothing else: one that sends nothing, or
a byte now and then, would stay for ever, and headers without an end would fill the memory. Here a head comes
within `HEAD_WITHIN_S`, and has at most `MOST_HEAD_BYTES` as long as it is incomplete. No timer is started for
a head that comes in one piece on a connection that was there. Bodies, and heads that are complete and too
large, are the business of the guard (`middleware`).

    uvicorn --http pipeline3d.api.http_protocol:PatientProtocol …
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipeline3d.api.problems import ProblemResponse, build_problem

HEAD_WITHIN_S = 20.0
"""From the beginning of a connection, or the first byte after an answer, to the end of a head."""
MOST_HEAD_BYTES = 64 * 1024


class PatientProtocol(HttpToolsProtocol):
    """One connection, whose patience has an end."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._awaits_head = True
        self._head_has_begun = False
        self._head_bytes = 0
        self._is_all_head = False
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A caller has come, and is to say what it wants."""
        super().connection_made(transport)
        self._begin_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has left."""
        self._end_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; wait for the rest of a head, but neither for long nor for much."""
        self._is_all_head = True
        super().data_received(data)
        if not self._awaits_head or self.transport.is_closing():
            return
        is_answering = self.cycle is not None and not self.cycle.response_complete
        # What came behind the end of another message is not counted: nobody tells how much of it that is.
        if self._head_has_begun and self._is_all_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._refuse(TOO_LARGE, silently=is_answering)
                return
        if not is_answering and self._patience is None:
            self._begin_waiting()

    def on_message_begin(self) -> None:
        """The first byte of a head came."""
        super().on_message_begin()
        self._head_has_begun = True

    def on_headers_complete(self) -> None:
        """A head is there as a whole."""
        self._awaits_head = self._head_has_begun = False
        self._head_bytes = 0
        self._end_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A body is there as a whole: what comes now is another head."""
        self._awaits_head = True
        self._is_all_head = False
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """What comes now is no HTTP, and belongs to somebody else."""
        super().handle_websocket_upgrade()
        self._awaits_head = False

    def _begin_waiting(self) -> None:
        self._patience = self.loop.call_later(HEAD_WITHIN_S, self._lose_patience)

    def _end_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self._patience = None
        # who said nothing asked for nothing: browsers open connections ahead
        self._refuse(TOO_SLOW, silently=not self._head_has_begun)

    def _refuse(self, answer: bytes, *, silently: bool) -> None:
        if self.transport.is_closing():
            return
        if not silently:
            self.transport.write(answer)
        self.transport.close()


def _render(problem: ProblemResponse) -> bytes:
    """A whole answer, after which the connection is closed."""
    problem.headers["connection"] = "close"
    status = HTTPStatus(problem.status_code)
    head = b"".join(name + b": " + value + b"\r\n" for name, value in problem.raw_headers)
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() + head + b"\r\n" + bytes(problem.body)


TOO_SLOW = _render(
    build_problem(
        HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "The head of the request did not come in time."
    )
)
TOO_LARGE = _render(
    build_problem(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "headers_too_large",
        f"The head of a request has at most {MOST_HEAD_BYTES} bytes.",
    )
)
