"""Objects read piece by piece: all of them, only them, and never one that changed meanwhile."""

from __future__ import annotations

import hashlib

import pytest

from pipeline3d.errors import BrokenArtifact, UnusableInput
from pipeline3d.store import contents
from pipeline3d.store.contents import fingerprint, read_pieces
from pipeline3d.store.s3 import S3Store


@pytest.fixture
def store(object_store_server, fresh_bucket, monkeypatch):
    monkeypatch.setattr(contents, "PIECE_BYTES", 10)
    server = object_store_server
    return S3Store(server.endpoint, server.access_key, server.secret_key, fresh_bucket)


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20, 35])
def test_pieces_are_the_whole_object_and_none_is_too_large(store, size):
    data = bytes(range(size))
    store.put_bytes("k", data, "text/plain")
    pieces = list(read_pieces(store, "k", size))
    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= 10 for piece in pieces)
    found = fingerprint(store, "k", at_most=size)
    assert (found.size, found.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert (found.head, found.content_type) == (data[:10], "text/plain")
    assert found.etag == store.stat("k").etag


def test_an_object_that_is_shorter_than_recorded_is_broken(store):
    store.put_bytes("k", bytes(15), "text/plain")
    with pytest.raises(BrokenArtifact, match="should have 16 bytes and has 15"):
        list(read_pieces(store, "k", 16))


def test_a_larger_one_is_not_read(store, monkeypatch):
    store.put_bytes("k", bytes(15), "text/plain")
    monkeypatch.setattr(store, "read_range", None)
    with pytest.raises(UnusableInput) as refused:
        fingerprint(store, "k", at_most=14)
    assert refused.value.code == "file_too_large"


def test_one_that_is_replaced_while_it_is_read_is_no_answer(store, monkeypatch):
    store.put_bytes("k", b"a" * 30, "text/plain")
    read = store.read_range

    def read_and_replace(key, offset, n):
        piece = read(key, offset, n)
        store.put_bytes("k", b"b" * 30, "text/plain")
        return piece

    monkeypatch.setattr(store, "read_range", read_and_replace)
    with pytest.raises(BrokenArtifact) as replaced:
        fingerprint(store, "k", at_most=100)
    assert replaced.value.code == "object_replaced"
