"""What a check has found in a file: a list of complaints, bounded however bad the file is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]

MOST_COMPLAINTS = 200
"""A file with more is broken as a whole; a hostile one must not fill the memory with sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One finding: `code` for programs, `pointer` is the JSON pointer of the place ("" is the file)."""

    severity: Severity
    code: str
    pointer: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity} {self.code} at {self.pointer or '/'}: {self.message}"


@dataclass(slots=True)
class Complaints:
    """Complaints as they are found, at most `MOST_COMPLAINTS`; `left_out` counts the rest."""

    found: list[Complaint] = field(default_factory=list)
    left_out: int = 0

    def error(self, code: str, pointer: str, message: str) -> None:
        """The file breaks the specification."""
        self._add("error", code, pointer, message)

    def warning(self, code: str, pointer: str, message: str) -> None:
        """Allowed, and hardly meant."""
        self._add("warning", code, pointer, message)

    def info(self, code: str, pointer: str, message: str) -> None:
        """Worth knowing."""
        self._add("info", code, pointer, message)

    def _add(self, severity: Severity, code: str, pointer: str, message: str) -> None:
        if len(self.found) < MOST_COMPLAINTS:
            self.found.append(Complaint(severity=severity, code=code, pointer=pointer, message=message))
        else:
            self.left_out += 1

    def all(self) -> list[Complaint]:
        """What was found, in the order in which it was looked for."""
        if not self.left_out:
            return list(self.found)
        more = f"{self.left_out} further complaints are left out."
        return [
            *self.found,
            Complaint(severity="error", code="TOO_MANY_COMPLAINTS", pointer="", message=more),
        ]


def objects_of(holder: Any, name: str, pointer: str, complaints: Complaints) -> list[dict[str, Any]]:
    """The list of objects under `name`; whatever is not an object is complained about and left empty."""
    found = holder.get(name, []) if isinstance(holder, dict) else []
    if not isinstance(found, list):
        complaints.error("TYPE_MISMATCH", f"{pointer}/{name}", f"is no list but {type(found).__name__}")
        return []
    for number, item in enumerate(found):
        if not isinstance(item, dict):
            complaints.error(
                "TYPE_MISMATCH", f"{pointer}/{name}/{number}", f"is no object but {type(item).__name__}"
            )
    return [item if isinstance(item, dict) else {} for item in found]


def object_of(holder: dict[str, Any], name: str) -> dict[str, Any]:
    """The object under `name`, empty where there is none or something else."""
    found = holder.get(name)
    return found if isinstance(found, dict) else {}


def whole(value: Any) -> int | None:
    """A whole number that is not negative, as glTF counts and numbers things; None for all else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
