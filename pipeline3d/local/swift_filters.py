"""Three small WSGI filters that let Swift's S3 API stand alone on one machine.

`S3Only` shuts everything but signed S3 requests out, `MemoryCache` replaces memcached, `OneKeyAuth`
knows the one access key of the installation. Imported by the object store server's process only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, cast

from swift.common.middleware.tempauth import TempAuth

Environ = MutableMapping[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

ACCOUNT = "pipeline3d"
_OWNER = f"{ACCOUNT}:owner"
_MAX_CACHED = 20_000  # container and account facts of about 1 KB
_DENIED = (
    b"<?xml version='1.0' encoding='UTF-8'?>\n"
    b"<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"
)


class S3Only:
    """Lets S3 requests with a signature (version 4) through, and CORS and health questions.

    Stock s3api answers an unsigned request with 400, 404 or 412 depending on its shape, and leaves
    Swift's own API and its log-in page open. Replies to an allowed origin always say so: s3api
    omits the header on errors, and a page then sees "Failed to fetch" where it could read 403.
    """

    def __init__(self, app: Application, origins: Iterable[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        origin = environ.get("HTTP_ORIGIN")

        def start_readable(
            status: str, headers: list[tuple[str, str]], exc_info: object = None
        ) -> StartResponse:
            if origin and self._allows(origin) and not _has_header(headers, "access-control-allow-origin"):
                headers = [*headers, ("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
            arguments = (status, headers, exc_info) if exc_info else (status, headers)
            return cast(StartResponse, start_response(*arguments))

        if _is_s3_request(environ):
            return self._app(environ, start_readable)
        body_headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(_DENIED)))]
        # The body of a refused upload is not read, so the connection cannot be used again.
        start_readable("403 Forbidden", [*body_headers, ("Connection", "close")])
        return [_DENIED]

    def _allows(self, origin: str) -> bool:
        return origin in self._origins or "*" in self._origins


def _has_header(headers: Iterable[tuple[str, str]], name: str) -> bool:
    return any(key.lower() == name for key, _ in headers)


def _is_s3_request(environ: Mapping[str, Any]) -> bool:
    return (
        str(environ.get("HTTP_AUTHORIZATION", "")).startswith("AWS4-HMAC-SHA256")
        or "X-Amz-Algorithm=AWS4-HMAC-SHA256" in str(environ.get("QUERY_STRING", ""))
        or environ["REQUEST_METHOD"] == "OPTIONS"
        or environ["PATH_INFO"] == "/healthcheck"
    )


class MemoryCache:
    """The calls of Swift's memcache client that its proxy makes, on a dictionary."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._values: dict[str, tuple[Any, float]] = {}
        self._clock = clock

    def get(self, key: str, raise_on_error: bool = False) -> Any:
        """The value, or None when there is none or it is too old."""
        value, expires = self._values.get(key, (None, 0.0))
        if expires and expires < self._clock():
            del self._values[key]
            return None
        return value

    def set(self, key: str, value: Any, serialize: bool = True, time: float = 0, **_ignored: Any) -> None:
        """Keep the value for `time` seconds, or until the cache is full."""
        if len(self._values) >= _MAX_CACHED:
            self._values.clear()
        self._values[key] = (value, self._clock() + time if time else 0.0)

    def incr(self, key: str, delta: int = 1, time: float = 0) -> int:
        """Count up, never below zero."""
        counted = max(int(self.get(key) or 0) + delta, 0)
        self.set(key, counted, time=time)
        return counted

    def decr(self, key: str, delta: int = 1, time: float = 0) -> int:
        """Count down, never below zero."""
        return self.incr(key, -delta, time)

    def delete(self, key: str, server_key: str | None = None) -> None:
        """Forget the value."""
        self._values.pop(key, None)


class OneKeyAuth(TempAuth):  # type: ignore[misc]
    """TempAuth whose single user signs with a plain access key (stock keys look like `account:user`)."""

    def __init__(self, app: Application, conf: Mapping[str, str]) -> None:
        access_key, secret_key = conf["s3_access_key"], conf["s3_secret_key"]
        super().__init__(app, {**conf, "user_" + _OWNER.replace(":", "_"): f"{secret_key} .admin"})
        self.users[access_key] = self.users.pop(_OWNER)

    def _get_user_groups(self, account: str, account_user: str, account_id: str) -> str:
        return f"{ACCOUNT},{_OWNER},{account_id}"


def s3_only_factory(global_conf: Mapping[str, str], **_local: str) -> Callable[[Application], S3Only]:
    """Paste entry point."""
    origins = [origin.strip() for origin in global_conf["cors_allow_origin"].split(",")]
    return lambda app: S3Only(app, [origin for origin in origins if origin])


def cache_factory(_global_conf: Mapping[str, str], **_local: str) -> Callable[[Application], Application]:
    """Paste entry point: one cache for the whole process."""
    cache = MemoryCache()

    def wrap(app: Application) -> Application:
        def with_cache(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            environ["swift.cache"] = cache
            return app(environ, start_response)

        return with_cache

    return wrap


def auth_factory(global_conf: Mapping[str, str], **_local: str) -> Callable[[Application], OneKeyAuth]:
    """Paste entry point."""
    return lambda app: OneKeyAuth(app, global_conf)
