"""JSON of documents into which callers put whatever numbers they like."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson


def encode(document: Any, *, default: Callable[[Any], Any] | None = None) -> bytes:
    """JSON in UTF-8; `default` makes of other values those that JSON knows."""
    try:
        return orjson.dumps(document, default=default)
    except orjson.JSONEncodeError:  # somebody's metadata has a whole number beyond 64 bits
        return json.dumps(document, default=default, separators=(",", ":")).encode()
