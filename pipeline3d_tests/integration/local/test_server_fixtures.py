import io

import psycopg


def test_a_fresh_database_is_empty_and_writable(fresh_database):
    with psycopg.connect(fresh_database()) as connection:
        connection.execute("create table t (i int)")
        assert connection.execute("select count(*) from t").fetchone() == (0,)


def test_a_fresh_bucket_stores_an_object(object_store_server, fresh_bucket):
    client = object_store_server.client()
    client.put_object(fresh_bucket, "a/é %.glb", io.BytesIO(b"glTF"), 4, content_type="model/gltf-binary")
    assert client.stat_object(fresh_bucket, "a/é %.glb").content_type == "model/gltf-binary"
