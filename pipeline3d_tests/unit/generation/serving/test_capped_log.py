"""A log of any length is kept in a file of a limited one: its beginning, its end, the rest counted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline3d.generation.serving.capped_log import CappedLog


@settings(deadline=None)
@given(
    chunks=st.lists(st.binary(max_size=60), max_size=20), limit=st.integers(2, 100), at=st.integers(0, 400)
)
def test_the_beginning_and_the_end_are_kept_and_the_rest_is_counted(tmp_path_factory, chunks, limit, at):
    log = CappedLog(tmp_path_factory.mktemp("log") / "log", limit=limit)
    for chunk in chunks:
        log.append(chunk)
    whole = b"".join(chunks)
    since = min(at, len(whole))
    head, ring = limit // 2, limit - limit // 2
    tail_from = max(head, len(whole) - ring)
    kept = log.read(since)
    beginning, end = whole[since : max(since, head)], whole[max(since, tail_from) :]
    if max(since, head) >= tail_from:
        assert kept == whole[since:]
    else:
        left_out = tail_from - max(since, head)
        assert kept == beginning + b"\n[... %d bytes left out ...]\n" % left_out + end
    assert log.path.stat().st_size <= limit
    assert log.written == len(whole)
    log.close()
    assert log.read(since) == kept


@pytest.mark.parametrize(
    ("text", "tail"),
    [(b"", ""), (b"one\ntwo\n", "one\ntwo"), (b"\xff\xfe", "��"), (b"x\n" * 100, "\n".join("x" * 20))],
)
def test_the_tail_is_the_last_lines_as_text(tmp_path, text, tail):
    log = CappedLog(tmp_path / "log")
    log.append(text)
    assert log.tail() == tail


def test_a_closed_log_takes_nothing_more(tmp_path):
    log = CappedLog(tmp_path / "log")
    log.append(b"a")
    log.close()
    log.append(b"b")
    log.close()
    assert log.read() == b"a"
