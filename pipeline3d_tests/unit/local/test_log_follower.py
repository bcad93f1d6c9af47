from pipeline3d.local.log_follower import LogFollower
from pipeline3d_tests.servers import wait_until


def test_new_lines_are_shown_with_the_program_in_front_and_old_ones_are_not(tmp_path):
    (tmp_path / "api.log").write_text("of the last run\n")
    shown = []
    follower = LogFollower(["api", "webserver"], tmp_path, shown.append)
    follower.start()
    with (tmp_path / "api.log").open("a") as log:
        log.write("half a ")
        log.flush()
        log.write("line\n")
    (tmp_path / "webserver.log").write_text("serving\nwithout an end")
    wait_until(lambda: len(shown) == 2, what="two whole lines")
    follower.stop()
    assert sorted(shown) == [
        "api       | half a line",
        "webserver | serving",
        "webserver | without an end",
    ]


def test_a_file_is_followed_through_rotation(tmp_path):
    log, shown = tmp_path / "api.log", []
    log.write_text("")
    follower = LogFollower(["api"], tmp_path, shown.append)
    follower.start()
    with log.open("a") as file:
        file.write("before\n")
    log.rename(tmp_path / "api.log.1")
    log.write_text("after\n")
    wait_until(lambda: len(shown) == 2, what="a line of each file")
    follower.stop()
    assert shown == ["api | before", "api | after"]
