import pytest

from pipeline3d.local.swift_filters import MemoryCache, S3Only

SIGNED = {"HTTP_AUTHORIZATION": "AWS4-HMAC-SHA256 Credential=…"}


def ask(environ, *, status="404 Not Found", origins=("http://page",)):
    """The status and headers of a request that the store itself would answer with `status`."""
    answers = []

    def store(_environ, start_response):
        start_response(status, [("Content-Type", "application/xml")])
        return [b"store"]

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/bucket/key", **environ}
    body = S3Only(store, origins)(environ, lambda *answer: answers.append(answer))
    return answers[0][0], dict(answers[0][1]), b"".join(body)


@pytest.mark.parametrize(
    ("environ", "reaches_the_store"),
    [
        (SIGNED, True),
        ({"QUERY_STRING": "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=1"}, True),  # presigned
        ({"REQUEST_METHOD": "OPTIONS"}, True),  # browsers do not sign preflights
        ({"PATH_INFO": "/healthcheck"}, True),
        ({}, False),  # unsigned
        ({"PATH_INFO": "/v1/AUTH_pipeline3d/bucket"}, False),  # Swift's own API
        ({"PATH_INFO": "/auth/v1.0"}, False),  # and its log-in
        ({"HTTP_AUTHORIZATION": "AWS access:signature"}, False),  # signature version 2
    ],
)
def test_only_signed_requests_reach_the_store(environ, reaches_the_store):
    status, _, body = ask(environ)
    assert (body == b"store") is reaches_the_store
    assert status == ("404 Not Found" if reaches_the_store else "403 Forbidden")


@pytest.mark.parametrize("environ", [SIGNED, {}])
def test_an_allowed_page_may_read_errors_too(environ):
    _, headers, _ = ask({**environ, "HTTP_ORIGIN": "http://page"})
    assert headers["Access-Control-Allow-Origin"] == "http://page"
    _, headers, _ = ask({**environ, "HTTP_ORIGIN": "http://other"})
    assert "Access-Control-Allow-Origin" not in headers


def test_the_cache_forgets_what_is_too_old():
    now = [100.0]
    cache = MemoryCache(clock=lambda: now[0])
    cache.set("short", 1, time=5)
    cache.set("for ever", 2)
    now[0] = 106.0
    assert cache.get("short") is None
    assert cache.get("for ever") == 2


def test_the_cache_counts_and_deletes():
    cache = MemoryCache()
    assert [cache.incr("n"), cache.incr("n", 2), cache.decr("n", 10)] == [1, 3, 0]
    cache.delete("n")
    cache.delete("n")
    assert cache.get("n") is None
