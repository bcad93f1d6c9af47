import http.client
import io
import threading

import minio
import psutil
import pytest
from minio.error import S3Error

from pipeline3d.local import object_store_server as objects
from pipeline3d.local.ports import choose_free_ports
from pipeline3d_tests.servers import ObjectStoreServer

PAGE = "http://localhost:3000"


@pytest.fixture(scope="module")
def own_store(tmp_path_factory):
    directory = tmp_path_factory.mktemp("store") / "odd %20name ;#é"
    server = ObjectStoreServer(directory=directory, port=choose_free_ports(["it"])["it"])
    yield server
    if server.server.process.poll() is None:
        server.server.stop()


@pytest.fixture
def store(own_store):
    """A store that a test may kill; the next one finds it running again."""
    if own_store.server.process is None or own_store.server.process.poll() is not None:
        own_store.start()
    return own_store


def put(client, bucket, key, content, **options):
    client.put_object(bucket, key, io.BytesIO(content), len(content), **options)


def get(client, bucket, key):
    response = client.get_object(bucket, key)
    try:
        return response.read()
    finally:
        response.close()
        response.release_conn()


def request(server, method, path, headers=None):
    connection = http.client.HTTPConnection(server.endpoint, timeout=60)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return (
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(),
        )
    finally:
        connection.close()


def test_nothing_acknowledged_is_lost_when_it_is_killed_while_writing(store):
    client = store.client()
    client.make_bucket("kept")
    acknowledged, stopping = [], threading.Event()

    def write(writer):
        while not stopping.is_set():
            key = f"w{writer}/{len(acknowledged)}"
            try:
                put(client, "kept", key, key.encode() * 500, content_type="model/gltf-binary")
            except Exception:
                return
            acknowledged.append(key)
            if len(acknowledged) >= 60:
                stopping.set()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    stopping.wait(30)
    store.server.kill()
    for writer in writers:
        writer.join(30)

    store.start()
    client = store.client()
    listed = {item.object_name for item in client.list_objects("kept", recursive=True)}
    assert len(acknowledged) >= 60
    assert listed.issuperset(acknowledged)
    assert all(get(client, "kept", key) == key.encode() * 500 for key in acknowledged)
    assert client.stat_object("kept", acknowledged[0]).content_type == "model/gltf-binary"


def test_it_finds_its_data_again_on_another_port(store):
    put_client = store.client()
    put_client.make_bucket("moved")
    put(put_client, "moved", "a/é %.glb", b"glTF")
    store.server.stop()
    moved = ObjectStoreServer(
        directory=store.directory,
        port=choose_free_ports(["it"])["it"],
        access_key=store.access_key,
        secret_key=store.secret_key,
    )
    moved.start()
    assert get(moved.client(), "moved", "a/é %.glb") == b"glTF"
    moved.server.stop()


def test_two_stores_at_once_keep_apart(store, object_store_server):
    store.client().make_bucket("mine")
    assert not object_store_server.client().bucket_exists("mine")


def test_a_wrong_secret_and_an_unsigned_request_are_denied(object_store_server, fresh_bucket):
    wrong = minio.Minio(
        object_store_server.endpoint,
        object_store_server.access_key,
        "wrong",
        secure=False,
        region=objects.REGION,
    )
    with pytest.raises(S3Error) as failure:
        list(wrong.list_objects(fresh_bucket))
    assert failure.value.code in {"SignatureDoesNotMatch", "AccessDenied"}
    for path in (f"/{fresh_bucket}/key", "/", "/info", "/v1/AUTH_pipeline3d", "/auth/v1.0"):
        status, _, body = request(object_store_server, "GET", path)
        assert (status, b"AccessDenied" in body) == (403, True), path


def test_a_page_of_the_studio_may_read_the_store_and_its_errors(object_store_server, fresh_bucket):
    asked = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type",
    }
    link = object_store_server.client().presigned_put_object(fresh_bucket, "photo.jpg")
    path = link.split(object_store_server.endpoint, 1)[1]
    status, headers, _ = request(object_store_server, "OPTIONS", path, asked)
    assert (status, headers["access-control-allow-origin"]) == (200, PAGE)
    status, headers, _ = request(object_store_server, "PUT", path, {"Origin": PAGE})
    assert (status, headers["access-control-allow-origin"]) == (200, PAGE)
    assert "etag" in headers["access-control-expose-headers"].lower()
    _, headers, _ = request(object_store_server, "GET", f"/{fresh_bucket}/none", {"Origin": PAGE})
    assert headers["access-control-allow-origin"] == PAGE
    _, headers, _ = request(object_store_server, "GET", path, {"Origin": "http://evil.example"})
    assert "access-control-allow-origin" not in headers


def test_the_inner_servers_answer_nobody_who_does_not_know_the_device(store):
    """They ask for no signature, so the name of their device is the only key to the data."""
    put_client = store.client()
    put_client.make_bucket("inner")
    put(put_client, "inner", "key", b"secret")
    process = psutil.Process(store.server.process.pid)
    listening = [link.laddr for link in process.net_connections() if link.status == psutil.CONN_LISTEN]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    inner = [address.port for address in listening if address.port != store.port]
    assert len(inner) == 3
    for port in inner:
        for device in ("d0", "sda1", ".", "..", "%2e"):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", f"/{device}/0/AUTH_pipeline3d/inner/key")
            assert connection.getresponse().status >= 400
            connection.close()


def test_a_second_server_on_the_same_directory_is_refused_and_the_first_lives_on(store):
    other = ObjectStoreServer(directory=store.directory, port=choose_free_ports(["it"])["it"])
    with pytest.raises(AssertionError, match="Another object store server uses"):
        other.server.start(type("Never", (), {"holds": lambda self: False})())
    assert store.client().bucket_exists("any-bucket") is False


def test_a_busy_port_is_named(store, tmp_path):
    other = ObjectStoreServer(directory=tmp_path / "other", port=store.port)
    with pytest.raises(AssertionError, match=f"Port {store.port} cannot be used"):
        other.start()


def test_secrets_are_in_no_file_and_no_command_line(store):
    assert store.secret_key not in " ".join(psutil.Process(store.server.process.pid).cmdline())
    for path in store.directory.rglob("*"):
        if path.is_file():
            assert store.secret_key.encode() not in path.read_bytes(), path
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_file_system_without_user_attributes_is_named(tmp_path, monkeypatch):
    def refuse(*_arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.setxattr", refuse)
    with pytest.raises(Exception, match="no user extended attributes") as failure:
        objects.check_extended_attributes(tmp_path)
    assert failure.value.code == "no_extended_attributes"
    assert list(tmp_path.iterdir()) == []
