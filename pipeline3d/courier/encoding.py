"""A message's document as bytes, whatever numbers a caller put into it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson


def encode(document: Mapping[str, Any]) -> bytes:
    """JSON in UTF-8."""
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:  # somebody's metadata has a whole number beyond 64 bits
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
