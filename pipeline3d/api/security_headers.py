"""What every answer tells a browser not to do with it.

A route that sets one of these headers itself is left alone. Nothing here refuses a request.
"""

from __future__ import annotations

import base64
import hashlib
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline3d.api.callers import is_secure
from pipeline3d.settings import Settings

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The policy of answers that are not pages: whatever a browser takes them for, they load and run nothing."""
DOCUMENTATION = ("/docs", "/redoc")
"""Pages of the framework, with a script inside that only its hash makes allowed."""
EMBEDDABLE = ("/previews/", "/s/")
"""What other people's pages may show: their links are signed."""
STANDARD = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"content-security-policy", NOTHING.encode()),
)
CREDENTIALS = frozenset({b"x-api-key", b"authorization", b"cookie"})

_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)


class SecurityHeaders:
    """Adds the headers to all answers, also to those that are given before any route is found."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        seconds = settings.hsts_max_age_s
        self._strict_transport = f"max-age={seconds}".encode() if seconds else b""
        self._is_always_tls = (settings.api_url or "").startswith("https:")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        held: Message | None = None

        async def send_with_headers(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                self._add(scope, message)
                if _is_documentation(scope, message):
                    held = message  # its policy follows from its body
                    return
            elif held is not None:
                MutableHeaders(scope=held)["Content-Security-Policy"] = documentation_policy(
                    message.get("body", b"")
                )
                await send(held)
                held = None
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _add(self, scope: Scope, message: Message) -> None:
        headers = message["headers"] = list(message.get("headers", ()))
        set_by_route = {name.lower(): value for name, value in headers}
        embeddable = str(scope["path"]).startswith(EMBEDDABLE)
        wanted = [
            *STANDARD,
            (b"cross-origin-resource-policy", b"cross-origin" if embeddable else b"same-origin"),
        ]
        if b"json" in set_by_route.get(b"content-type", b"") and has_credentials(scope):
            wanted.append((b"cache-control", b"no-store"))
        if self._strict_transport and self._came_by_tls(scope):
            wanted.append((b"strict-transport-security", self._strict_transport))
        headers.extend(header for header in wanted if header[0] not in set_by_route)

    def _came_by_tls(self, scope: Scope) -> bool:
        if self._is_always_tls or scope.get("scheme") == "https":
            return True
        # what a proxy says, where one is believed
        return bool(self._settings.trusted_proxies) and is_secure(HTTPConnection(scope), self._settings)


def has_credentials(scope: Scope) -> bool:
    """Whether a request says who its caller is, so that its answer is nobody else's."""
    return any(name in CREDENTIALS for name, _ in scope["headers"])


def _is_documentation(scope: Scope, message: Message) -> bool:
    if not str(scope["path"]).startswith(DOCUMENTATION):
        return False
    return Headers(raw=message["headers"]).get("content-type", "").startswith("text/html")


def documentation_policy(page: bytes) -> str:
    """The policy of a page of the documentation: its own files, and the scripts that stand inside it."""
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
        for script in _INLINE_SCRIPT.findall(page)
    ]
    scripts = " ".join(("'self'", *hashes))
    return (
        f"default-src 'none'; script-src {scripts}; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
        "worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
