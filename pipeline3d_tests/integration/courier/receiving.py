"""A receiver of webhooks as a web app has it: it keeps what came, and answers as it was told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from standardwebhooks.webhooks import Webhook

from pipeline3d.courier.bell import Bell, listen
from pipeline3d.courier.courier import Courier
from pipeline3d.courier.outbox import CONNECTIONS, Outbox
from pipeline3d.courier.policy import CourierPolicy
from pipeline3d.database.engines import create_asyncio_engine
from pipeline3d_tests.servers import http_server, wait_until

LOOPBACK = ("127.0.0.1",)


def quick_policy(**changes: Any) -> CourierPolicy:
    """A courier that is as patient as ever, but not for as long; loopback is where the receivers are."""
    quick = {"retry_delays_s": (0.02,) * 9, "allowed_hosts": LOOPBACK, "stop_grace_s": 0.5, "timeout_s": 5.0}
    return CourierPolicy(**{**quick, **changes})


@dataclass
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def type(self) -> str:
        return str(json.loads(self.body)["type"])

    @property
    def data(self) -> dict[str, Any]:
        return dict(json.loads(self.body)["data"])

    def verify(self, secret: str) -> Any:
        """Raises where the signature is not of this secret."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """The app. `answers` are taken one after the other, and the last one again: statuses, or with headers.

    Every request waits while `free` is not set.
    """

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answers: list[Any] = field(default_factory=lambda: [204])
    free: threading.Event = field(default_factory=threading.Event)
    says: bytes = b"ok"
    waiting: int = 0
    most_waiting: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wait_for(self, count: int) -> list[Received]:
        """What came, once it is so many."""
        wait_until(lambda: len(self.received) >= count, what=f"{count} messages arrive", interval_s=0.005)
        return self.received

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["content-length"]))
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self.lock:
            self.received.append(Received(request.path, headers, body))
            said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            self.waiting += 1
            self.most_waiting = max(self.waiting, self.most_waiting)
        self.free.wait(60)
        status, more = said if isinstance(said, tuple) else (said, {})
        with self.lock:
            self.waiting -= 1
        try:
            request.send_response(status)
            for name, value in {"content-length": str(len(self.says)), **more}.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(self.says)
        except OSError:
            pass  # the courier was killed meanwhile


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens."""
    receiver = Receiver()
    receiver.free.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.answer(self)

    with http_server(Handler) as url:
        receiver.url = url
        try:
            yield receiver
        finally:
            receiver.free.set()


@contextmanager
def delivering(database_url: str, policy: CourierPolicy, *, couriers: int = 1) -> Iterator[None]:
    """Couriers at work, each with its own connections, in a thread of its own."""
    stops: list[Callable[[], None]] = []
    failures: list[BaseException] = []

    async def work() -> None:
        engine = create_asyncio_engine(database_url, pool_size=CONNECTIONS)
        bell = Bell()
        courier = Courier(Outbox(engine, api_url=policy.api_url), bell, policy)
        loop = asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(courier.stop))
        listening = asyncio.create_task(listen(database_url, bell))
        try:
            await courier.run()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await engine.dispose()

    def live() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=live) for _ in range(couriers)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(stops) == couriers, what="the couriers begin", interval_s=0.002)
        yield
    finally:
        for stop in stops:
            stop()
        for thread in threads:
            thread.join()
    assert not failures
