"""Connections on which the head of a request does not come, or does not end, over real sockets."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn

from pipeline3d.api import http_protocol
from pipeline3d_tests.servers import wait_until

PATIENCE_S = 0.3
SECOND = b"GET /second HTTP/1.1\r\nHost: h\r\n\r\n"


async def answer(scope, receive, send):
    """Answers with the path; a WebSocket gets back what it sends; /slow waits for its body."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    refuses = scope["path"] == "/refuses"
    if scope["path"] == "/slow":
        while (await receive()).get("more_body"):
            pass
    status = 413 if refuses else 200
    body = scope["path"].encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def address():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_protocol, "HEAD_WITHIN_S", PATIENCE_S)
        config = uvicorn.Config(
            answer,
            port=0,
            log_level="critical",
            lifespan="off",
            http="pipeline3d.api.http_protocol:PatientProtocol",
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        wait_until(lambda: server.started, what="the server listens", interval_s=0.005)
        yield server.servers[0].sockets[0].getsockname()
        server.should_exit = True
        thread.join()


@pytest.fixture
def connect(address):
    @contextmanager
    def connect():
        with socket.create_connection(address, timeout=60) as connection:
            yield connection

    return connect


def read_to_end(connection) -> bytes:
    """All that comes until the other side closes."""
    came = b""
    try:
        while more := connection.recv(65536):
            came += more
    except ConnectionResetError:
        pass
    return came


def drip(connection, data: bytes) -> None:
    """Send a byte now and then, for as long as the other side takes it."""
    try:
        for byte in data * 1000:
            connection.sendall(bytes([byte]))
            time.sleep(PATIENCE_S / 10)
    except OSError:
        pass


def ask(connection, path="/first") -> bytes:
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    return connection.recv(65536)


@pytest.mark.parametrize(
    ("begin", "dripped", "is_told"),
    [
        (b"", b"", False),  # it says nothing at all
        (b"", b"\r\n", False),  # and nothing again and again
        (b"GET / HTT", b"", True),
        (b"G", b"", True),
        (b"GET /", b"a", True),
        (b"GET / HTTP/1.1\r\nHost: h\r\n", b"", True),
        (b"GET / HTTP/1.1\r\nHost: h\r\n", b"X-A: b\r\n", True),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX-", b"a", True),
    ],
)
@pytest.mark.parametrize("was_used", [False, True])
def test_a_head_that_does_not_come_is_not_waited_for(connect, begin, dripped, is_told, was_used):
    with connect() as connection:
        if was_used:
            assert ask(connection).endswith(b"/first")
            if not begin + dripped:
                begin = b"\r\n"  # a connection that rests is uvicorn's own business
        began = time.monotonic()
        connection.sendall(begin)
        dripping = threading.Thread(target=drip, args=(connection, dripped))
        dripping.start()
        told = read_to_end(connection)
        assert PATIENCE_S / 2 < time.monotonic() - began < 20
        dripping.join()
    if is_told and told:  # whoever goes on sending may lose the answer with the connection
        head, _, body = told.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b"connection: close" in head
        assert json.loads(body)["code"] == "request_timeout"
    assert is_told or not told
    assert not is_told or told or dripped


def test_a_head_that_comes_in_pieces_in_time_is_answered(connect):
    with connect() as connection:
        for piece in (SECOND[:7], SECOND[7:20], SECOND[20:]):
            connection.sendall(piece)
            time.sleep(PATIENCE_S / 10)
        assert connection.recv(65536).endswith(b"/second")


def test_the_time_begins_anew_with_each_head(connect):
    with connect() as connection:
        for _ in range(3):
            connection.sendall(SECOND[:-2])
            time.sleep(PATIENCE_S * 0.6)
            connection.sendall(SECOND[-2:])
            assert connection.recv(65536).endswith(b"/second")


@pytest.mark.parametrize("piece", [b"X-%d: " + b"v" * 1000 + b"\r\n", b"v" * 1000])
def test_headers_without_an_end_do_not_fill_the_memory(connect, piece):
    sent = 0
    with connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nX-A: b")
        try:
            while sent < 64 * http_protocol.MOST_HEAD_BYTES:
                sent += connection.send(piece)
        except OSError:
            pass
        told = read_to_end(connection)
    assert sent < 64 * http_protocol.MOST_HEAD_BYTES
    assert not told or told.startswith(b"HTTP/1.1 431")


def test_a_large_head_is_told_why(connect):
    head = b"GET / HTTP/1.1\r\nHost: h\r\nX-A: "
    with connect() as connection:
        connection.sendall(head + b"v" * (http_protocol.MOST_HEAD_BYTES - len(head) + 1))
        told = read_to_end(connection)
    assert json.loads(told.partition(b"\r\n\r\n")[2])["code"] == "headers_too_large"


def test_a_body_may_take_longer_than_a_head(connect):
    with connect() as connection:
        connection.sendall(b"POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n")
        for byte in (b"a", b"b", b"c", b"d"):
            time.sleep(PATIENCE_S * 0.5)
            connection.sendall(byte)
        assert connection.recv(65536).endswith(b"/slow")


def test_the_rest_of_a_body_that_was_refused_is_no_head(connect):
    size = 3 * http_protocol.MOST_HEAD_BYTES
    with connect() as connection:
        connection.sendall(b"POST /refuses HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size)
        assert b"413" in connection.recv(65536)
        for _ in range(3):
            connection.sendall(b"x" * (size // 3))
            time.sleep(PATIENCE_S * 0.5)
        connection.sendall(SECOND)
        assert connection.recv(65536).endswith(b"/second")


def test_a_head_that_comes_while_an_answer_is_under_way_is_bounded_too(connect):
    with connect() as connection:
        connection.sendall(b"POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n")
        time.sleep(0.05)
        connection.sendall(b"x" + SECOND)
        came = b""
        while not came.endswith(b"/second"):
            came += connection.recv(65536)
        assert came.count(b"HTTP/1.1 200") == 2


def test_a_long_body_is_not_counted_with_the_head_behind_it(connect, monkeypatch):
    monkeypatch.setattr(http_protocol, "MOST_HEAD_BYTES", 1000)  # so little comes in one piece
    size = 10_000
    with connect() as connection:
        connection.sendall(b"POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size)
        time.sleep(0.05)
        connection.sendall(b"x" * size + SECOND[:-2])
        assert connection.recv(65536).endswith(b"/slow")
        connection.sendall(SECOND[-2:])
        assert connection.recv(65536).endswith(b"/second")


def test_a_websocket_outlives_the_patience_of_http(connect):
    key = base64.b64encode(os.urandom(16))
    with connect() as connection:
        connection.sendall(
            b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 101")
        time.sleep(PATIENCE_S * 2)
        mask, text = b"\0\0\0\0", b"hello"
        connection.sendall(bytes([0x81, 0x80 | len(text)]) + mask + text)
        assert connection.recv(65536) == bytes([0x81, len(text)]) + text
