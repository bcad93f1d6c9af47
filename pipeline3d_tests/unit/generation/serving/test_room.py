"""Processes that share a device hear each other once, and never themselves."""

from pipeline3d.generation.serving.room import SharedRoom
from pipeline3d_tests.servers import wait_until


def test_others_hear_a_request_once_and_whoever_asked_does_not(tmp_path):
    asking, other = (SharedRoom(tmp_path / "devices" / "wanted") for _ in range(2))
    assert not other.is_asked()
    asking.ask()
    assert other.is_asked()
    assert not other.is_asked()
    assert not asking.is_asked()


def test_a_request_of_before_is_no_concern_of_a_process_that_begins(tmp_path):
    SharedRoom(tmp_path / "wanted").ask()
    assert not SharedRoom(tmp_path / "wanted").is_asked()


def test_a_request_is_heard_again_when_it_is_made_again(tmp_path):
    asking, other = (SharedRoom(tmp_path / "wanted") for _ in range(2))
    heard = 0

    def is_heard_twice() -> bool:
        nonlocal heard
        asking.ask()  # two requests within one tick of the disk's clock are one
        heard += other.is_asked()
        return heard == 2

    wait_until(is_heard_twice, what="both are heard")


def test_nobody_can_be_asked_on_a_full_disk_and_nothing_breaks(tmp_path):
    (tmp_path / "file").touch()
    room = SharedRoom(tmp_path / "file" / "wanted")
    room.ask()
    assert not room.is_asked()
