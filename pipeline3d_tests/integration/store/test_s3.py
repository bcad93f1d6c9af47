"""The object store on a real S3 server: whole objects, verified; links; and clear errors."""

from __future__ import annotations

import hashlib
import io
import socket
import time

import httpx
import pytest

from pipeline3d.errors import BrokenArtifact, StoreUnavailable
from pipeline3d.store.s3 import S3Store

BIG = bytes(range(256)) * 4096 * 6 + b"end"
"""More than one part of a multipart upload."""


@pytest.fixture
def connect(object_store_server):
    """Makes stores on the running server, with anything about them changed."""

    def make(bucket, **changes):
        known = {
            "endpoint": object_store_server.endpoint,
            "access_key": object_store_server.access_key,
            "secret_key": object_store_server.secret_key,
        }
        return S3Store(**{**known, "bucket": bucket, **changes})

    return make


@pytest.fixture
def store(connect, fresh_bucket):
    return connect(fresh_bucket)


def put_raw(server, bucket, key, data):
    """Store past our own code."""
    server.client().put_object(bucket, key, io.BytesIO(data), len(data))


def test_a_missing_bucket_is_made_and_an_existing_one_is_left(connect, object_store_server):
    store = connect(f"made-{time.monotonic_ns()}")
    with pytest.raises(StoreUnavailable) as caught:
        store.check()
    assert caught.value.code == "bucket_missing"
    store.ensure_bucket()
    store.put_bytes("k", b"x", "text/plain")
    store.ensure_bucket()
    store.check()
    assert store.read_bytes("k") == b"x"


@pytest.mark.parametrize("content", [b"", b"x", BIG], ids=["empty", "one byte", "several parts"])
def test_a_file_comes_back_as_it_went(store, tmp_path, content):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content)
    stored = store.put_file("jobs/a/mesh/mesh.glb", source, "model/gltf-binary")
    assert (stored.size, stored.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert store.fetch_to_file(stored.key, target, expected_sha256=stored.sha256) == stored
    assert target.read_bytes() == content
    facts = store.stat(stored.key)
    assert (facts.size, facts.content_type) == (len(content), "model/gltf-binary")


def test_nothing_temporary_stays_in_the_store(store):
    store.put_bytes("jobs/a/x", b"x", "text/plain")
    store.put_bytes("jobs/a/x", b"y", "text/plain")
    assert list(store.list_keys("")) == ["jobs/a/x"]
    assert store.read_bytes("jobs/a/x") == b"y"


def test_an_object_that_is_not_what_was_recorded_is_refused_and_leaves_no_file(store, tmp_path):
    store.put_bytes("k", b"changed", "text/plain")
    target = tmp_path / "target"
    with pytest.raises(BrokenArtifact, match="k should have sha256"):
        store.fetch_to_file("k", target, expected_sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_fetch_leaves_an_earlier_file_alone(store, tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"earlier")
    with pytest.raises(BrokenArtifact):
        store.fetch_to_file("missing", target)
    assert target.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    "use",
    [
        lambda store, path: store.stat("missing"),
        lambda store, path: store.read_bytes("missing"),
        lambda store, path: store.read_head("missing", 4),
        lambda store, path: store.copy("missing", "k"),
        lambda store, path: store.fetch_to_file("missing", path / "f"),
    ],
)
def test_a_missing_object_is_named(store, tmp_path, use):
    with pytest.raises(BrokenArtifact) as caught:
        use(store, tmp_path)
    assert caught.value.code == "object_missing"
    assert "missing" in caught.value.message


@pytest.mark.parametrize(
    ("content", "n", "head"),
    [(b"", 4, b""), (b"ab", 4, b"ab"), (b"abcdef", 4, b"abcd"), (BIG, 4, BIG[:4])],
    ids=["empty", "shorter", "longer", "several parts"],
)
def test_the_head_of_any_object_can_be_read(store, content, n, head):
    store.put_bytes("k", content, "text/plain")
    assert store.read_head("k", n) == head


def test_keys_are_listed_by_prefix_and_in_order(store):
    for key in ("b/2", "a/1", "b/1"):
        store.put_bytes(key, b"x", "text/plain")
    assert list(store.list_keys("b/")) == ["b/1", "b/2"]


def test_a_copy_is_an_object_of_its_own(store):
    store.put_bytes("a", b"x", "image/png")
    store.copy("a", "b")
    store.remove("a")
    assert store.read_bytes("b") == b"x"
    assert store.stat("b").content_type == "image/png"


def test_removing_what_is_gone_is_harmless(store):
    store.put_bytes("a", b"x", "text/plain")
    store.remove("a")
    store.remove("a")
    assert list(store.list_keys("")) == []


class TestLinks:
    def test_an_upload_through_a_link_is_stored_with_its_type(self, store):
        link = store.presign_put("uploads/ü a+b.png", 60, "image/png")
        assert httpx.put(link, content=b"abc", headers={"Content-Type": "image/png"}).status_code == 200
        assert store.read_bytes("uploads/ü a+b.png") == b"abc"
        assert store.stat("uploads/ü a+b.png").content_type == "image/png"

    @pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/html"}])
    def test_an_upload_of_another_type_is_refused(self, store, headers):
        link = store.presign_put("k", 60, "image/png")
        assert httpx.put(link, content=b"abc", headers=headers).status_code == 403

    def test_a_link_without_a_type_takes_any(self, store):
        link = store.presign_put("k", 60)
        assert httpx.put(link, content=b"abc", headers={"Content-Type": "text/plain"}).status_code == 200

    def test_a_download_has_its_name(self, store):
        store.put_bytes("k", b"abc", "model/gltf-binary")
        answer = httpx.get(store.presign_get("k", 60, "möbel.glb"))
        assert (answer.status_code, answer.content) == (200, b"abc")
        assert "m%C3%B6bel.glb" in answer.headers["content-disposition"]

    def test_a_link_is_for_its_method_and_its_key_only(self, store):
        store.put_bytes("k", b"abc", "text/plain")
        store.put_bytes("other", b"abc", "text/plain")
        link = store.presign_get("k", 60)
        assert httpx.put(link, content=b"x").status_code == 403
        assert httpx.delete(link).status_code == 403
        assert httpx.get(link.replace("/k?", "/other?")).status_code == 403
        assert httpx.get(link.replace("Expires=60", "Expires=6000")).status_code == 403

    def test_a_link_can_point_to_another_address(self, connect, fresh_bucket):
        store = connect(fresh_bucket, public_endpoint="https://files.example.com")
        assert store.presign_get("k", 60).startswith(f"https://files.example.com/{fresh_bucket}/k?")
        assert store.public_origin == "https://files.example.com"

    def test_a_scheme_in_the_endpoint_is_understood(self, connect, fresh_bucket, object_store_server):
        store = connect(fresh_bucket, endpoint=f"http://{object_store_server.endpoint}/", secure=True)
        store.check()


class TestTrouble:
    def test_a_wrong_secret_is_denied_and_says_what_to_check(self, connect, fresh_bucket):
        for use in (
            lambda s: s.stat("k"),
            lambda s: s.read_bytes("k"),
            lambda s: s.put_bytes("k", b"", "a/b"),
        ):
            with pytest.raises(StoreUnavailable) as caught:
                use(connect(fresh_bucket, secret_key="wrong"))
            assert caught.value.code == "store_denied"
            assert "MINIO_SECRET_KEY" in (caught.value.hint or "")

    def test_a_store_that_refuses_connections_fails_at_once(self, connect):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            store = connect("bucket", endpoint=f"127.0.0.1:{taken.getsockname()[1]}")
            started = time.monotonic()
            with pytest.raises(StoreUnavailable) as caught:
                store.put_bytes("k", b"x", "text/plain")
        assert time.monotonic() - started < 20
        assert caught.value.code == "store_unavailable"

    def test_a_store_that_says_nothing_at_all_fails_in_seconds(self, connect):
        """A full backlog swallows connections, as a firewall does."""
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen(0)
            address = silent.getsockname()
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                connect("bucket", endpoint=f"127.0.0.1:{address[1]}").put_bytes("k", b"x", "text/plain")
            assert time.monotonic() - started < 30
            for filler in fillers:
                filler.close()

    def test_an_object_that_was_cut_short_is_found_out(
        self, store, object_store_server, fresh_bucket, tmp_path
    ):
        put_raw(object_store_server, fresh_bucket, "k", b"half")
        whole = hashlib.sha256(b"half and half").hexdigest()
        with pytest.raises(BrokenArtifact, match="k should have"):
            store.fetch_to_file("k", tmp_path / "f", expected_sha256=whole)

    def test_listing_a_bucket_that_is_not_there_says_so(self, connect):
        with pytest.raises(StoreUnavailable):
            list(connect("no-such-bucket-here").list_keys(""))


def test_many_objects_are_listed_in_pages_and_removed_at_once(store, monkeypatch):
    monkeypatch.setattr("pipeline3d.store.s3.PAGE_KEYS", 2)
    keys = [f"a/{number}" for number in range(5)]
    for number, key in enumerate(keys):
        store.put_bytes(key, b"x" * number, "text/plain")
    store.put_bytes("b/theirs", b"x", "text/plain")
    pages = list(store.list_pages("a/"))
    assert [[facts.key for facts in page] for page in pages] == [keys[:2], keys[2:4], keys[4:]]
    assert [facts.size for page in pages for facts in page] == [0, 1, 2, 3, 4]
    assert all(facts.modified_at == store.stat(facts.key).modified_at for page in pages for facts in page)
    store.remove_many([*keys, "a/never-was"])
    store.remove_many([])
    assert list(store.list_keys("")) == ["b/theirs"]


def test_objects_that_cannot_be_removed_are_an_error(connect):
    with pytest.raises(StoreUnavailable):
        connect("no-such-bucket").remove_many(["a"])
