"""In processes of their own where output is captured: pytest has the output of this one."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time

import dagster as dg
import pytest
from dagster._core.storage.compute_log_manager import ComputeIOType

from pipeline3d.errors import StoreUnavailable
from pipeline3d.launch import compute_logs, log_uploads
from pipeline3d.launch.compute_logs import StoredComputeLogs
from pipeline3d.launch.log_store import LogStore, StoreAddress
from pipeline3d.launch.log_uploads import PENDING, LogUploads
from pipeline3d.local.ports import choose_free_ports
from pipeline3d_tests.servers import wait_until

OUT, ERR = ComputeIOType.STDOUT, ComputeIOType.STDERR
RUN = ["6f1d1c1e-4c52-4b77-8d2f-1c1f6f0f3a11", "compute_logs", "abcdefgh"]


@pytest.fixture(autouse=True)
def _uploads_of_this_test_alone(monkeypatch):
    monkeypatch.setattr(compute_logs, "_uploads", {})


@pytest.fixture
def address(object_store_server, fresh_bucket):
    return StoreAddress(
        endpoint_url=f"http://{object_store_server.endpoint}",
        access_key=object_store_server.access_key,
        secret_key=object_store_server.secret_key,
        bucket=fresh_bucket,
    )


@pytest.fixture
def store(address):
    return LogStore(address)


@pytest.fixture
def nowhere():
    """The address of a store that does not answer."""
    port = choose_free_ports(["it"])["it"]
    return StoreAddress(
        endpoint_url=f"http://127.0.0.1:{port}", access_key="a", secret_key="b", bucket="bucket"
    )


@pytest.fixture
def make_uploads(store, tmp_path):
    def make(which=store, interval_s=0.05):
        return LogUploads(which, local_dir=tmp_path / "worker", prefix="logs/storage", interval_s=interval_s)

    return make


@pytest.fixture
def reader(address, tmp_path):
    """The manager of a process on another host: it shares no disk with the one that runs."""
    return StoredComputeLogs(address, local_dir=str(tmp_path / "webserver"), prefix="logs")


def write(output, extension, content):
    with output.path(extension).open("ab") as file:
        file.write(content)


def files_below(folder):
    return [name for _, folders, files in os.walk(folder) for name in (*folders, *files)]


def text_of(reader, io_type, key=RUN):
    data, _ = reader.get_log_data_for_type(key, io_type, 0, None)
    return data


# -- the store


def test_an_object_is_read_from_an_offset_up_to_its_end(store, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    store.put("logs/a.out", path, at_most_bytes=8)
    cases = {
        (0, None): b"01234567",
        (3, None): b"34567",
        (3, 2): b"34",
        (7, 5): b"7",
        (8, None): b"",
        (99, 1): b"",
    }
    assert {case: store.read("logs/a.out", offset=case[0], at_most_bytes=case[1]) for case in cases} == cases
    assert store.read("logs/b.out") is None


def test_objects_are_listed_and_removed_by_their_prefix(store, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    for key in ("a/1", "a/2", "ab/1"):
        store.put(key, path, at_most_bytes=9)
    assert store.keys("a/") == ["a/1", "a/2"]
    store.delete(["a/1", "never was"])
    assert store.keys("a") == ["a/2", "ab/1"]
    assert (store.exists("a/1"), store.exists("a/2")) == (False, True)


def test_a_store_that_does_not_answer_or_refuses_is_unavailable(nowhere, address, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    refused = StoreAddress(
        endpoint_url=address.endpoint_url, access_key="nobody", secret_key="wrong", bucket=address.bucket
    )
    for store in (LogStore(nowhere), LogStore(refused)):
        with pytest.raises(StoreUnavailable):
            store.put("a", path, at_most_bytes=1)
        with pytest.raises(StoreUnavailable):
            store.read("a")
        with pytest.raises(StoreUnavailable):
            store.exists("a")


# -- uploads


def test_what_a_run_wrote_is_stored_after_its_end_and_leaves_the_disk(make_uploads, store, reader, tmp_path):
    uploads = make_uploads(interval_s=60)
    with uploads.following(*RUN) as output:
        write(output, "out", b"hello\n")
        write(output, "err", b"trouble\n")
    assert uploads.drain(20)
    assert (text_of(reader, OUT), text_of(reader, ERR)) == (b"hello\n", b"trouble\n")
    assert reader.is_capture_complete(RUN)
    assert store.keys("logs/") == [f"logs/storage/{'/'.join(RUN)}.{ext}" for ext in ("err", "out")]
    assert files_below(tmp_path / "worker") == []


def test_a_run_that_wrote_nothing_costs_no_object(make_uploads, store, tmp_path):
    uploads = make_uploads()
    with uploads.following(*RUN) as output:
        write(output, "out", b"")
    assert uploads.drain(20)
    assert store.keys("") == []
    assert files_below(tmp_path / "worker") == []


def test_the_output_of_a_run_is_read_elsewhere_while_it_grows(make_uploads, reader, store):
    uploads = make_uploads()
    with uploads.following(*RUN) as output:
        write(output, "out", b"one\n")
        wait_until(lambda: text_of(reader, OUT) == b"one\n", what="the first line is readable")
        first = reader.get_log_data(RUN)
        write(output, "out", b"two\n")
        write(output, "err", b"oh\n")
        wait_until(lambda: text_of(reader, ERR) == b"oh\n", what="the error is readable")
        wait_until(lambda: text_of(reader, OUT) == b"one\ntwo\n", what="the second line is readable")
        more = reader.get_log_data(RUN, cursor=first.cursor)
        assert (more.stdout, more.stderr) == (b"two\n", b"oh\n")
        assert not reader.is_capture_complete(RUN)
        assert reader.get_log_metadata(RUN).stdout_download_url is None
        write(output, "out", b"three\n")
    assert uploads.drain(20)
    last = reader.get_log_data(RUN, cursor=more.cursor)
    assert (last.stdout, last.stderr) == (b"three\n", b"")
    assert reader.is_capture_complete(RUN)
    assert not [key for key in store.keys("") if key.endswith("partial")]


def test_a_page_that_is_open_is_told_what_is_added(make_uploads, reader, monkeypatch):
    monkeypatch.setattr(reader._subscription_manager, "_poll_every_s", 0.05)
    uploads, told = make_uploads(), []
    with uploads.following(*RUN) as output:
        subscription = reader.subscribe(RUN)(told.append)
        write(output, "out", b"one\n")
        wait_until(
            lambda: any(data.stdout == b"one\n" for data in told), what="the page shows the first line"
        )
        write(output, "out", b"two\n")
    wait_until(lambda: subscription.is_complete, what="the page knows that the output is complete")
    assert b"".join(data.stdout or b"" for data in told) == b"one\ntwo\n"
    subscription.dispose()


def test_an_error_of_the_store_does_not_end_the_news_for_open_pages(make_uploads, reader, monkeypatch):
    monkeypatch.setattr(reader._subscription_manager, "_poll_every_s", 0.02)
    failed, told = [], []
    honest = reader.is_capture_complete

    def fail_at_first(log_key):
        if len(failed) < 3:
            failed.append(log_key)
            raise StoreUnavailable("gone")
        return honest(log_key)

    subscription = reader.subscribe(RUN)
    subscription._observer = told.append
    monkeypatch.setattr(reader, "is_capture_complete", fail_at_first)
    uploads = make_uploads()
    with uploads.following(*RUN) as output:
        write(output, "out", b"one\n")
        wait_until(lambda: any(data.stdout for data in told), what="the page shows the line after all")
    assert len(failed) == 3
    subscription.dispose()


def test_a_store_that_is_away_delays_no_run_and_gets_everything_when_it_is_back(
    make_uploads, reader, store, monkeypatch, caplog
):
    monkeypatch.setattr(log_uploads, "FIRST_RETRY_S", 0.05)
    away = True
    honest = store.put

    def put(*args, **options):
        if away:
            raise StoreUnavailable("gone")
        honest(*args, **options)

    monkeypatch.setattr(store, "put", put)
    uploads = make_uploads()
    began = time.monotonic()
    names = [[RUN[0], "compute_logs", f"run{number}"] for number in range(5)]
    for name in names:
        with uploads.following(*name) as output:
            write(output, "err", name[-1].encode())
    assert time.monotonic() - began < 60  # nobody waited for the store, which does not come back
    wait_until(lambda: "wait on disk" in caplog.text, what="the outage is told")
    assert not uploads.drain(0.2)
    assert caplog.text.count("wait on disk") == 1
    away = False
    wait_until(lambda: uploads.drain(1), what="everything is stored")
    assert [text_of(reader, ERR, name) for name in names] == [name[-1].encode() for name in names]


def test_a_store_that_never_answers_costs_the_run_nothing(nowhere, make_uploads, tmp_path):
    uploads = make_uploads(LogStore(nowhere))
    began = time.monotonic()
    with uploads.following(*RUN) as output:
        write(output, "err", b"kept")
    assert time.monotonic() - began < 30  # nobody waited for the store, which does not come
    wait_until(lambda: not uploads.drain(0), what="it was tried")
    assert output.path("err").read_bytes() == b"kept"


def test_what_a_killed_process_left_is_stored_by_the_next_one(make_uploads, reader, monkeypatch, tmp_path):
    script = """
        import sys, time
        from pathlib import Path
        from pipeline3d.launch.log_store import LogStore, StoreAddress
        from pipeline3d.launch.log_uploads import LogUploads
        nowhere = StoreAddress(endpoint_url="http://127.0.0.1:1", access_key="", secret_key="", bucket="b")
        uploads = LogUploads(LogStore(nowhere), local_dir=Path(sys.argv[1]), prefix="p", interval_s=60)
        with uploads.following(*sys.argv[2:]) as output:
            output.path("out").write_text("last words")
            print("writing", flush=True)
            time.sleep(600)
    """
    killed = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "worker"), *RUN],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )
    assert killed.stdout.readline() == b"writing\n"
    monkeypatch.setattr(log_uploads, "ABANDONED_AFTER_S", 0.0)
    monkeypatch.setattr(log_uploads, "SWEEP_EVERY_S", 0.05)
    uploads = make_uploads()
    with uploads.following("another", "compute_logs", "run"):
        # The other one lives and holds its output: it is left alone.
        uploads._sweep()
        assert text_of(reader, OUT) is None
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        wait_until(lambda: text_of(reader, OUT) == b"last words", what="its last words are readable")
    wait_until(lambda: files_below(tmp_path / "worker") == [], what="the disk is clean")


def test_of_an_endless_output_the_beginning_is_stored(make_uploads, reader, monkeypatch):
    monkeypatch.setattr(log_uploads, "MOST_BYTES", 10)
    uploads = make_uploads(interval_s=60)
    with uploads.following(*RUN) as output:
        write(output, "out", b"0123456789abcdef")
    assert uploads.drain(20)
    assert text_of(reader, OUT) == b"0123456789"


def store_in_child(uploads, name, queue):
    with uploads.following(*name) as output:
        write(output, "out", b"child")
    queue.put(uploads.drain(20))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_stores_for_itself(make_uploads, reader):
    uploads = make_uploads(interval_s=60)
    with uploads.following(*RUN) as output:
        write(output, "out", b"parent")
        context = multiprocessing.get_context("fork")
        queue, name = context.Queue(), (RUN[0], "compute_logs", "child")
        child = context.Process(target=store_in_child, args=(uploads, name, queue))
        child.start()
        assert queue.get(timeout=30) is True
        child.join()
        assert text_of(reader, OUT, name) == b"child"
        assert text_of(reader, OUT) is None
    assert uploads.drain(20)
    assert text_of(reader, OUT) == b"parent"


# -- the manager


@pytest.fixture
def manager(address, tmp_path):
    """The manager of a process that executes runs."""
    return StoredComputeLogs(address, local_dir=str(tmp_path / "worker"), prefix="logs", upload_interval_s=60)


def test_the_same_host_reads_the_files_without_the_store(nowhere, tmp_path):
    logs = StoredComputeLogs(nowhere, local_dir=str(tmp_path), prefix="logs")
    with logs._uploads.following(*RUN) as output:
        write(output, "out", b"one\n")
        assert text_of(logs, OUT) == b"one\n"
        assert not logs.is_capture_complete(RUN)


def test_what_a_sensor_logs_is_readable_and_a_silent_tick_leaves_nothing(manager, reader, store):
    tick = ["repository", "sensor", "123"]
    with manager.open_log_stream(tick, ERR) as stream:
        stream.write("looked around\n")
    with manager.open_log_stream(["repository", "sensor", "124"], ERR):
        pass
    assert manager._uploads.drain(20)
    assert text_of(reader, ERR, tick) == b"looked around\n"
    assert store.keys("logs/") == ["logs/storage/repository/sensor/123.err"]


def test_logs_are_removed_one_by_one_and_with_their_run(manager, reader, store):
    other = ["0b3c0a52-6c1c-4a53-9b40-7d8cf3fcb7a2", "compute_logs", "xyz"]
    for name in (RUN, [*RUN[:2], "second"], other):
        with manager._uploads.following(*name) as output:
            write(output, "out", b"x")
    assert manager._uploads.drain(20)
    assert reader.get_log_keys_for_log_key_prefix(RUN[:2], OUT) == [RUN, [*RUN[:2], "second"]]
    reader.delete_logs(log_key=RUN)
    assert reader.get_log_keys_for_log_key_prefix(RUN[:2], OUT) == [[*RUN[:2], "second"]]
    reader.delete_logs(prefix=[RUN[0]])
    assert store.keys("") == [f"logs/storage/{'/'.join(other)}.{ext}" for ext in ("err", "out")]
    with pytest.raises(ValueError, match="neither was given"):
        reader.delete_logs()


def test_a_process_waits_for_its_uploads_before_it_ends(manager, reader, nowhere, tmp_path):
    with manager._uploads.following(*RUN) as output:
        write(output, "err", b"last words")
    assert compute_logs.finish_uploads(20)
    assert text_of(reader, ERR) == b"last words"
    stuck = StoredComputeLogs(nowhere, local_dir=str(tmp_path / "stuck"), prefix="logs")
    with stuck._uploads.following(*RUN) as output:
        write(output, "err", b"last words")
    began = time.monotonic()
    assert not compute_logs.finish_uploads(1)
    assert time.monotonic() - began < 30


def test_managers_of_one_process_share_a_thread(manager, address, tmp_path):
    again = StoredComputeLogs(
        address, local_dir=str(tmp_path / "worker"), prefix="logs", upload_interval_s=60
    )
    assert again._uploads is manager._uploads


def test_the_download_button_finds_the_whole_output(manager, reader, address):
    with manager._uploads.following(*RUN) as output:
        write(output, "out", b"all of it")
    assert manager._uploads.drain(20)
    metadata = reader.get_log_metadata(RUN)
    assert metadata.stdout_download_url == f"/logs/{'/'.join(RUN)}/out"
    assert metadata.stdout_location == f"s3://{address.bucket}/logs/storage/{'/'.join(RUN)}.out"
    reader.download_from_cloud_storage(RUN, OUT)
    with open(reader.local_manager.get_captured_local_path(RUN, "out"), "rb") as file:
        assert file.read() == b"all of it"


def test_only_so_many_downloads_stay_on_disk(manager, reader, monkeypatch, tmp_path):
    monkeypatch.setattr(compute_logs, "MOST_DOWNLOADS", 2)
    for letter in "abc":
        reader.download_from_cloud_storage([*RUN[:2], letter], OUT)
    assert sorted(path.name for path in (tmp_path / "webserver").rglob("*.*")) == ["b.out", "c.out"]


@pytest.mark.parametrize("key", [["..", "..", "etc", "passwd"], ["run", "..", "..", "x"]])
def test_a_name_that_leads_elsewhere_is_refused(manager, key):
    with pytest.raises(ValueError, match="Invalid path"):
        manager.get_log_data(key)
    with pytest.raises(ValueError, match="Invalid path"), manager.capture_logs(key):
        pass


def test_reading_while_the_store_is_away_shows_nothing_and_raises_nothing(nowhere, tmp_path, caplog):
    logs = StoredComputeLogs(nowhere, local_dir=str(tmp_path), prefix="logs")
    data = logs.get_log_data(RUN, cursor="3:4")
    assert (data.stdout, data.stderr, data.cursor) == (None, None, "3:4")
    assert not logs.is_capture_complete(RUN)
    assert "cannot be read now" in caplog.text


RUN_WITH_DAGSTER = """
    import os, subprocess, sys
    import dagster as dg
    from pipeline3d.launch import compute_logs

    @dg.op
    def speak():
        print("from python")
        print("complaint", file=sys.stderr)
        subprocess.run(["echo", "from a child"], check=True)

    @dg.job(executor_def=dg.in_process_executor, logger_defs={"quiet": dg.colored_console_logger})
    def chatter():
        speak()

    with dg.DagsterInstance.get() as instance:
        result = chatter.execute_in_process(
            instance=instance, run_config={"loggers": {"quiet": {"config": {"log_level": "CRITICAL"}}}}
        )
        assert result.success
        [event] = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.LOGS_CAPTURED)
        print("KEY", f"{result.run_id}/compute_logs/{event.dagster_event.logs_captured_data.file_key}")
"""


def test_a_run_of_dagster_is_captured_as_dagster_yaml_says(
    object_store_server, fresh_bucket, reader, tmp_path
):
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(
        textwrap.dedent("""
            telemetry: {enabled: false}
            compute_logs:
              module: pipeline3d.launch.compute_logs
              class: StoredComputeLogs
              config:
                local_dir: {env: PIPELINE3D_COMPUTE_LOGS_DIR}
                prefix: logs
        """)
    )
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RUN_WITH_DAGSTER)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": ":".join(sys.path),
            "DAGSTER_HOME": str(home),
            "PIPELINE3D_COMPUTE_LOGS_DIR": str(tmp_path / "worker"),
            # As the settings take them: without a scheme, and with a bucket of the owner's choice.
            "MINIO_ENDPOINT": object_store_server.endpoint,
            "MINIO_SECURE": "false",
            "MINIO_ACCESS_KEY": object_store_server.access_key,
            "MINIO_SECRET_KEY": object_store_server.secret_key,
            "MINIO_BUCKET": fresh_bucket,
        },
    )
    assert done.returncode == 0, done.stderr
    [said] = [line for line in done.stdout.splitlines() if line.startswith("KEY ")]
    assert done.stdout.strip() == said
    key = said.removeprefix("KEY ").split("/")
    # Stored before the process ended, though nobody waited for it.
    assert text_of(reader, OUT, key) == b"from python\nfrom a child\n"
    assert text_of(reader, ERR, key) == b"complaint\n"
    assert list((tmp_path / "worker").rglob(f"*.{PENDING}")) == []


def test_a_run_that_ended_long_ago_without_output_is_complete(address, tmp_path, monkeypatch):
    with dg.DagsterInstance.ephemeral() as instance:
        logs = StoredComputeLogs(address, local_dir=str(tmp_path), prefix="logs")
        logs.register_instance(instance)

        @dg.job(executor_def=dg.in_process_executor)
        def nothing():
            pass

        run = nothing.execute_in_process(instance=instance)
        key = [run.run_id, "compute_logs", "k"]
        assert not logs.is_capture_complete(key)
        monkeypatch.setattr(compute_logs, "ENDED_LONG_AGO_S", -1.0)
        assert logs.is_capture_complete(key)
        assert not logs.is_capture_complete(["no such run", "compute_logs", "k"])
