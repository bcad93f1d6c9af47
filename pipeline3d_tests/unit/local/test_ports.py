import socket

import pytest

from pipeline3d.local.ports import choose_free_ports, is_free, replace_occupied_ports


@pytest.fixture
def occupied_port():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_a_port_with_a_listener_is_not_free(occupied_port):
    assert not is_free(occupied_port)


def test_chosen_ports_are_free_and_differ():
    ports = choose_free_ports([f"p{number}" for number in range(30)])
    assert len(set(ports.values())) == 30
    assert all(is_free(port) for port in ports.values())


def test_an_occupied_remembered_port_is_replaced_and_the_others_stay(occupied_port):
    free = choose_free_ports(["kept"])["kept"]
    settled = replace_occupied_ports({"kept": free, "lost": occupied_port}, ["kept", "lost", "new"])
    assert settled["kept"] == free
    assert settled["lost"] != occupied_port
    assert set(settled) == {"kept", "lost", "new"}
    assert len(set(settled.values())) == 3
