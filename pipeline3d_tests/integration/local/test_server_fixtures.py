import io
import os

import psycopg

from pipeline3d_tests import servers
from pipeline3d_tests.servers import FOLDER_PREFIX, YOUNG_S, folder_in_memory


def test_a_fresh_database_is_empty_and_writable(fresh_database):
    with psycopg.connect(fresh_database()) as connection:
        connection.execute("create table t (i int)")
        assert connection.execute("select count(*) from t").fetchone() == (0,)


def test_a_fresh_bucket_stores_an_object(object_store_server, fresh_bucket):
    client = object_store_server.client()
    client.put_object(fresh_bucket, "a/é %.glb", io.BytesIO(b"glTF"), 4, content_type="model/gltf-binary")
    assert client.stat_object(fresh_bucket, "a/é %.glb").content_type == "model/gltf-binary"


def test_a_folder_in_memory_is_gone_afterwards_and_so_is_what_killed_runs_left(tmp_path):
    left, fresh = (tmp_path / f"{FOLDER_PREFIX}{name}" for name in ("left", "fresh"))
    with folder_in_memory(tmp_path / "disk", memory=tmp_path) as used:
        os.utime(used, (0, 0))  # it is in use, however old
        for folder, age_s in ((left, 2 * YOUNG_S), (fresh, 0.0)):
            folder.mkdir()
            (folder / "file").touch()
            os.utime(folder, (folder.stat().st_mtime - age_s,) * 2)
        with folder_in_memory(tmp_path / "disk", memory=tmp_path) as other:
            assert other != used
        assert set(tmp_path.iterdir()) == {used, fresh}
    assert set(tmp_path.iterdir()) == {fresh}


def test_where_memory_is_short_or_missing_the_folder_is_on_the_disk(tmp_path, monkeypatch):
    with folder_in_memory(tmp_path, memory=tmp_path / "missing") as folder:
        assert folder == tmp_path
    monkeypatch.setattr(servers, "ROOM_IN_MEMORY_BYTES", 1 << 60)
    with folder_in_memory(tmp_path / "disk", memory=tmp_path) as folder:
        assert folder == tmp_path / "disk"
