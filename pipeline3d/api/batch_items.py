"""What of a batch is to become a job, wherever it came from; and rows of CSV as such. Pure functions."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline3d.api.batch_forms import MOST_JOBS, split_tags
from pipeline3d.errors import InvalidParameters, RequestError
from pipeline3d.requests.creation import UploadedInput

OWN_COLUMNS = ("model_id", "prompt", "priority", "tags", "deadline", "expires_in_s", "hold", "input_job_id")
"""Columns that are fields of a job; `metadata.NAME` is one of its metadata, all others are input_params."""
MOST_COLUMNS = 200
METADATA = "metadata."
MERGED = ("input_params", "metadata")
_TRUE = frozenset({"true", "yes", "1"})
_FALSE = frozenset({"false", "no", "0"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One job to be. `fields` are those of a single request; `error` says why there are none."""

    index: int
    fields: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    """Parameters as a cell has them: what type they are to be, the model says."""
    line: int | None = None
    name: str | None = None
    upload: UploadedInput | None = None
    error: RequestError | None = None


def merge(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a job where each that it has itself wins; of objects each of their fields."""
    merged = {**defaults, **own}
    for name in MERGED:
        ours, theirs = own.get(name), defaults.get(name)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            merged[name] = {**theirs, **ours}
    return merged


def read_csv(data: bytes, defaults: Mapping[str, Any]) -> list[Item]:
    """The rows of a CSV file. InvalidParameters (`csv_invalid`) where it is none; a row has its own error."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _invalid(f"it is not UTF-8, from byte {error.start} on") from error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    items: list[Item] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header)
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(items) == MOST_JOBS:
                raise InvalidParameters(
                    f"The file has more than {MOST_JOBS} rows.",
                    code="too_many_jobs",
                    hint="Send it in parts.",
                )
            items.append(_read_row(len(items), reader.line_num, header, row, defaults))
    except csv.Error as error:
        raise _invalid(f"line {reader.line_num}: {error}") from error
    if not items:
        raise _invalid("it has a header and no row")
    return items


def typed(texts: Mapping[str, str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Cells as the model's schema would have them; what cannot be so stays text, which it then refuses."""
    properties = schema.get("properties", {})
    return {name: _typed(text, properties.get(name, {})) for name, text in texts.items()}


def _delimiter(text: str) -> str:
    first = text.partition("\n")[0]
    return max(",;\t", key=first.count)


def _check_header(header: list[str]) -> None:
    if not header or not all(header):
        raise _invalid("line 1: every column needs a name")
    if len(header) > MOST_COLUMNS:
        raise _invalid(f"line 1: there are more than {MOST_COLUMNS} columns")
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise _invalid(f"line 1: {doubled[0][:40]} is there more than once")


def _read_row(index: int, line: int, header: list[str], row: list[str], defaults: Mapping[str, Any]) -> Item:
    if len(row) > len(header):
        error = _invalid(f"line {line} has {len(row)} cells and the header has {len(header)}")
        return Item(index=index, line=line, error=error)
    cells = {name: cell.strip() for name, cell in zip(header, row, strict=False) if cell.strip()}
    own: dict[str, Any] = {name: cells[name] for name in OWN_COLUMNS if name in cells}
    try:
        if "tags" in own:
            own["tags"] = split_tags(own["tags"])
        if "priority" in own:
            own["priority"] = _number(own["priority"], "priority", line)
        if "hold" in own:
            own["hold"] = _flag(own["hold"], line)
        for name in ("deadline", "expires_in_s"):
            if own.get(name, "").replace(".", "", 1).isdecimal():
                own[name] = float(own[name])
    except InvalidParameters as error:
        return Item(index=index, line=line, error=error)
    metadata = {name.removeprefix(METADATA): cells[name] for name in cells if name.startswith(METADATA)}
    if metadata:
        own["metadata"] = metadata
    texts = {
        name: cell
        for name, cell in cells.items()
        if name not in OWN_COLUMNS and not name.startswith(METADATA)
    }
    return Item(index=index, line=line, fields=merge(defaults, own), texts=texts)


def _number(text: str, column: str, line: int) -> int:
    try:
        return int(text)
    except ValueError:
        raise _invalid(f"line {line}: {column} is {text[:40]!r}, which is no whole number") from None


def _flag(text: str, line: int) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise _invalid(f"line {line}: hold is {text[:40]!r}; allowed are true and false")


def _typed(text: str, rule: Mapping[str, Any]) -> Any:
    types = rule.get("type", "string")
    for wanted in [types] if isinstance(types, str) else types:
        try:
            if wanted == "integer":
                return int(text)
            if wanted == "number":
                return float(text)
            if wanted == "boolean" and text.lower() in _TRUE | _FALSE:
                return text.lower() in _TRUE
            if wanted in ("array", "object"):
                return _structured(text, wanted)
        except (ValueError, RecursionError):
            continue
    return text


def _structured(text: str, wanted: str) -> Any:
    if wanted == "array" and not text.startswith("["):
        return [part.strip() for part in text.split(";") if part.strip()]
    return json.loads(text)


def _invalid(why: str) -> InvalidParameters:
    return InvalidParameters(
        f"The CSV file cannot be used: {why}.",
        code="csv_invalid",
        hint="Send UTF-8 with a header; columns are model_id, prompt, priority, tags (a;b) and input_params.",
    )
