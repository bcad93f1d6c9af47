import os
import socket
import threading

import pytest

from pipeline3d.local.ports import choose_free_ports
from pipeline3d.local.probes import (
    GrpcProbe,
    HttpProbe,
    PostgresProbe,
    ReadyFileProbe,
    build_probe_document,
    parse_probe,
)


@pytest.fixture
def answer():
    """Starts a server that gives one fixed answer to whatever it is asked; its port."""
    listeners = []

    def start(content):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(content)

        threading.Thread(target=serve, daemon=True).start()
        return listener.getsockname()[1]

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize(
    "probe",
    [
        PostgresProbe(port=1),
        HttpProbe(url="http://127.0.0.1:1/health"),
        GrpcProbe(port=1),
        ReadyFileProbe(path="/run/ready"),
    ],
)
def test_a_probe_survives_the_way_through_json(probe):
    assert parse_probe(build_probe_document(probe)) == probe


def test_nothing_holds_where_nobody_listens():
    port = choose_free_ports(["none"])["none"]
    for probe in (PostgresProbe(port=port), GrpcProbe(port=port), HttpProbe(url=f"http://127.0.0.1:{port}/")):
        assert not probe.holds()


def test_postgres_is_ready_when_it_asks_for_a_password_and_not_when_it_refuses(answer):
    assert PostgresProbe(port=answer(b"R\0\0\0\x17")).holds()
    assert not PostgresProbe(port=answer(b"E\0\0\0\x17")).holds()


def test_a_page_is_ready_with_200_only(answer):
    ready = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    starting = answer(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    garbage = answer(b"220 mail ready\r\n")
    assert HttpProbe(url=f"http://127.0.0.1:{ready}/health").holds()
    assert not HttpProbe(url=f"http://127.0.0.1:{starting}/health").holds()
    assert not HttpProbe(url=f"http://127.0.0.1:{garbage}/health").holds()


def test_a_grpc_server_greets_with_settings(answer):
    assert GrpcProbe(port=answer(b"\0\0\0\x04\0\0\0\0\0")).holds()
    assert not GrpcProbe(port=answer(b"HTTP/1.1 400 Bad Request\r\n\r\n")).holds()


def test_a_ready_file_counts_while_its_process_lives(tmp_path):
    path = tmp_path / "ready"
    probe = ReadyFileProbe(path=str(path))
    assert not probe.holds()
    path.write_text(str(os.getpid()))
    assert probe.holds()
    path.write_text("not a pid")
    assert not probe.holds()
