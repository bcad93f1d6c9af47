"""The stable codes of everything that can be refused or can fail: what each means and what to do about it.

The texts are in `problem_codes.json`. A code is never reused for something else; one that goes is kept as
long as jobs carry it. A test holds the list against the codes that the source knows.
"""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline3d import errors
from pipeline3d.api.problems import status_of_class

CODES_FILE = Path(__file__).with_name("problem_codes.json")
WHERE = {
    "request": "Refusals: the answer to a request",
    "service": "Troubles of the service itself",
    "job": "Failures: the error of a job, the verdict of a check, or why a model is not ready",
}
_REFUSALS = (errors.RequestError, errors.ModelNotReady)
_TROUBLES = (errors.StoreUnavailable, errors.DatabaseUnavailable)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemCode:
    """One code. `kind` is the class of errors that carries it, or what else does."""

    code: str
    kind: str
    meaning: str
    remedy: str

    @property
    def where(self) -> str:
        """Under which heading of `WHERE` people look for it."""
        cls = getattr(errors, self.kind, None)
        if cls is errors.Pipeline3dError or (cls is not None and issubclass(cls, _TROUBLES)):
            return "service"
        return "request" if cls is not None and issubclass(cls, _REFUSALS) else "job"

    @property
    def status(self) -> int | None:
        """The HTTP status of an answer with it; None where it is no answer's."""
        if self.where == "service":
            return 500 if self.kind == errors.Pipeline3dError.__name__ else 503
        return status_of_class(getattr(errors, self.kind), self.code) if self.where == "request" else None


@cache
def load_problem_codes() -> tuple[ProblemCode, ...]:
    """All codes, in alphabetical order."""
    document = json.loads(CODES_FILE.read_text(encoding="utf-8"))
    return tuple(ProblemCode(code=code, **entry) for code, entry in sorted(document.items()))


def render_page(codes: tuple[ProblemCode, ...]) -> str:
    """The page for people: a table for each of `WHERE`, every code with an anchor."""
    sections = "".join(
        f"<h2>{html.escape(title)}</h2><table><tr><th>code</th><th>status</th><th>it means</th>"
        f"<th>what to do</th></tr>{''.join(_row(code) for code in codes if code.where == where)}</table>"
        for where, title in WHERE.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Problems</title>'
        '<meta name="viewport" content="width=device-width">'
        '<link rel="stylesheet" href="/static/plain.css"></head><body><main><h1>Problems</h1>'
        "<p>Every refusal is a problem document (RFC 9457) with one of these codes; every job that failed "
        f"has one in its error. Programs should decide by the code alone.</p>{sections}</main></body></html>"
    )


def _row(code: ProblemCode) -> str:
    name = html.escape(code.code)
    return (
        f'<tr id="{name}"><td><a href="#{name}"><code>{name}</code></a></td><td>{code.status or ""}</td>'
        f"<td>{html.escape(code.meaning)}</td><td>{html.escape(code.remedy)}</td></tr>"
    )
