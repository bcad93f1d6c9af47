"""Keeps secrets out of logs: what looks like a key, a token, a signature or a password is written as `***`.

Nobody logs secrets on purpose. They come along in the texts of others' errors: a database's address, a link
that was signed, a header. Masking goes on where a line becomes text, so that no logger and no handler of
another library gets around it.
"""

from __future__ import annotations

import logging
import re

MASK = "***"
_VALUE = r"[^\s\"'&,;)\]}>]+"

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # postgresql://user:password@host, and every other address with a password in it
    (
        re.compile(r"(?P<keep>[a-z][a-z0-9+.-]{1,30}://[^\s/:@\"']*:)[^\s\"']+(?=@)", re.IGNORECASE),
        r"\g<keep>",
    ),
    # our own keys, the tokens of sessions and share links, and secrets of webhooks
    (re.compile(r"\b(?P<keep>p3(?:d|s|ds)_)[A-Za-z0-9_-]{8,}"), r"\g<keep>"),
    (re.compile(r"\b(?P<keep>whsec_)[A-Za-z0-9+/=_-]{8,}"), r"\g<keep>"),
    # links that were signed
    (
        re.compile(
            rf"(?P<keep>\b(?:X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token|Signature|sig|signature"
            rf"|token|access_token|api_key|apikey)=){_VALUE}",
            re.IGNORECASE,
        ),
        r"\g<keep>",
    ),
    # headers
    (re.compile(rf"(?P<keep>\b(?:Bearer|Basic)\s+)(?=\S{{8}}){_VALUE}", re.IGNORECASE), r"\g<keep>"),
    (
        re.compile(
            r"(?P<keep>\b(?:x-api-key|x-csrf-token|set-cookie|cookie|p3d_session)[\"']?\s*[:=]\s*b?[\"']?)"
            rf"(?!(?:Bearer|Basic)\b){_VALUE}",
            re.IGNORECASE,
        ),
        r"\g<keep>",
    ),
    # password=…, "secret": …, MINIO_SECRET_KEY=…
    (
        re.compile(
            r"(?P<keep>\b[A-Za-z0-9_-]*(?:password|passwd|secret|secret_key|private_key|signing_key)[\"']?"
            rf"\s*[:=]\s*b?[\"']?){_VALUE}",
            re.IGNORECASE,
        ),
        r"\g<keep>",
    ),
)
_SUSPECTS = re.compile(r"://|p3d_|p3s_|p3ds_|whsec_|=|:|bearer|basic", re.IGNORECASE)


def mask(text: str) -> str:
    """The text without what looks like a secret. The same text again comes out the same."""
    if not _SUSPECTS.search(text):
        return text
    for pattern, keep in _PATTERNS:
        text = pattern.sub(keep + MASK, text)
    return text


class _MaskingRecord(logging.LogRecord):
    """A record whose message holds no secrets, whoever asks for it."""

    def getMessage(self) -> str:
        return mask(super().getMessage())


def mask_logs() -> None:
    """From now on no logger of this process writes what looks like a secret, nor a traceback with one."""
    logging.setLogRecordFactory(_MaskingRecord)
    if getattr(logging.Formatter.formatException, "masks", False):
        return
    format_exception = logging.Formatter.formatException

    def formatException(self: logging.Formatter, ei: object) -> str:
        return mask(format_exception(self, ei))  # type: ignore[arg-type]

    formatException.masks = True  # type: ignore[attr-defined]
    logging.Formatter.formatException = formatException  # type: ignore[method-assign]
