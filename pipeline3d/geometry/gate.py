"""The quality gate: may this delivery go to its target, and what was done so that it may?

PASS: every rule of severity `error` holds and none had to be mended. FIXED: they hold, and at least one
rule (of either severity) holds only because of what was done. FAIL: one does not hold, or could not be
judged because its fact was not measured: what nobody looked at is not good. Warnings never change the
verdict, and are counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from pipeline3d.geometry.gate_facts import DeliveryFacts, Value
from pipeline3d.geometry.gate_profiles import rules_of
from pipeline3d.geometry.gate_rules import Rule, Severity, Unit

Verdict = Literal["PASS", "FIXED", "FAIL"]
Outcome = Literal["pass", "fixed", "fail", "unknown", "not_applicable"]

REPORT_VERSION = 1
"""Goes up when a field of `as_json` changes its meaning or goes away."""
FACTS = frozenset({field.name for field in fields(DeliveryFacts)} | {"longest_m"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedFix:
    """What a step did about one fact: its value before, and the sentence that a person reads.

    `fact` is a name of `DeliveryFacts`, `step` the asset that did it, `done` such as "3 holes filled".
    """

    fact: str
    before: Value | None
    step: str
    done: str

    def __post_init__(self) -> None:
        if self.fact not in FACTS:
            raise ValueError(f"{self.fact!r} is no fact of a delivery")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rule's outcome. `before` is the violating value where the outcome is `fixed`."""

    name: str
    sentence: str
    severity: Severity
    outcome: Outcome
    value: Value | None
    unit: Unit
    limit: str
    at_least: float | None
    at_most: float | None
    before: Value | None
    done: str
    hint: str
    reason: str

    @property
    def shown(self) -> str:
        """The value as a person reads it, with its unit."""
        return _describe(self.value, self.unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """A verdict with every check that it rests on, in the order of the profile."""

    profile: str
    verdict: Verdict
    checks: tuple[Check, ...]

    def count(self, outcome: Outcome, severity: Severity | None = None) -> int:
        """How many checks ended so."""
        return sum(check.outcome == outcome and severity in (None, check.severity) for check in self.checks)

    @property
    def summary(self) -> str:
        """One line for a log or a list."""
        counts = (
            (self.count("fail", "error"), "error", "errors"),
            (self.count("fail", "warning"), "warning", "warnings"),
            (self.count("unknown"), "not measured", "not measured"),
            (self.count("fixed"), "fixed", "fixed"),
        )
        told = [f"{number} {one if number == 1 else many}" for number, one, many in counts if number]
        return f"{self.profile}: {self.verdict}" + (f" ({', '.join(told)})" if told else "")

    def as_json(self) -> dict[str, Any]:
        """Plain values with stable names, ready for `json.dumps`."""
        return {
            "version": REPORT_VERSION,
            "profile": self.profile,
            "verdict": self.verdict,
            "summary": self.summary,
            "errors": self.count("fail", "error"),
            "warnings": self.count("fail", "warning"),
            "unknown": self.count("unknown"),
            "fixed": self.count("fixed"),
            "checks": [
                {field.name: _plain(getattr(check, field.name)) for field in fields(check)}
                for check in self.checks
            ],
        }

    def as_text(self) -> str:
        """A table for a terminal."""
        rows = [_row(check) for check in self.checks if check.outcome != "not_applicable"]
        widths = [max(len(row[column]) for row in rows) for column in range(4)] if rows else []
        lines = [self.summary]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)]
            lines.append("  ".join([*cells, row[4]]).rstrip())
        return "\n".join(lines) + "\n"

    def as_markdown(self) -> str:
        """The same table for a page; what others wrote is escaped."""
        lines = [
            f"**{self.summary}**",
            "",
            "| outcome | check | value | limit | note |",
            "|---|---|---|---|---|",
        ]
        for check in self.checks:
            if check.outcome != "not_applicable":
                lines.append("| " + " | ".join(_escape(cell) for cell in _row(check)) + " |")
        return "\n".join(lines) + "\n"


def _plain(value: Any) -> Any:
    """JSON has no infinity: such a value is left out, its outcome stays."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def report_of(told: Mapping[str, Any]) -> QualityReport:
    """The report that `as_json` told of."""
    checks = tuple(Check(**check) for check in told["checks"])
    return QualityReport(profile=told["profile"], verdict=told["verdict"], checks=checks)


def judge(profile: str, facts: DeliveryFacts, changes: Sequence[AppliedFix] = ()) -> QualityReport:
    """Hold a delivery against a profile. Raises InvalidParameters for an unknown profile."""
    checks = tuple(_check(rule, facts, changes) for rule in rules_of(profile))
    if any(check.severity == "error" and check.outcome in ("fail", "unknown") for check in checks):
        verdict: Verdict = "FAIL"
    elif any(check.outcome == "fixed" for check in checks):
        verdict = "FIXED"
    else:
        verdict = "PASS"
    return QualityReport(profile=profile, verdict=verdict, checks=checks)


def fixes_between(
    before: DeliveryFacts, after: DeliveryFacts, *, step: str, done: Mapping[str, str]
) -> tuple[AppliedFix, ...]:
    """A fix for each fact that a step changed; `done` gives the sentence for a fact where there is one."""
    found = []
    for fact in sorted(FACTS - {"extents_m"}):
        old, new = getattr(before, fact), getattr(after, fact)
        if old is not None and new is not None and old != new:
            sentence = done.get(fact, f"{fact} changed by {step}")
            found.append(AppliedFix(fact=fact, before=old, step=step, done=sentence))
    return tuple(found)


def _check(rule: Rule, facts: DeliveryFacts, changes: Sequence[AppliedFix]) -> Check:
    value: Value | None = getattr(facts, rule.fact)
    holds = _holds(rule, value)
    broken = [fix for fix in changes if fix.fact == rule.fact and _holds(rule, fix.before) is False]
    outcome: Outcome
    if rule.textured and facts.textures == 0:
        outcome, broken = "not_applicable", []
    elif holds is None:
        outcome = "unknown"
    elif not holds:
        outcome = "fail"
    else:
        outcome = "fixed" if broken else "pass"
    mended = outcome == "fixed"
    return Check(
        name=rule.name,
        sentence=rule.sentence,
        severity=rule.severity,
        outcome=outcome,
        value=value if holds is not None else None,
        unit=rule.unit,
        limit=_describe_limit(rule),
        at_least=rule.at_least if rule.above is None else rule.above,
        at_most=rule.at_most,
        before=broken[0].before if mended else None,
        done="; ".join(f"{fix.step}: {fix.done}" for fix in broken) if outcome in ("fixed", "fail") else "",
        hint=_hint(rule, outcome),
        reason=rule.reason,
    )


def _holds(rule: Rule, value: Value | None) -> bool | None:
    """Whether a value keeps to the rule; None where there is no value to judge, NaN included."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if rule.must_be is not None:
        return bool(value) is rule.must_be
    return (
        (rule.at_most is None or value <= rule.at_most)
        and (rule.at_least is None or value >= rule.at_least)
        and (rule.above is None or value > rule.above)
    )


def _hint(rule: Rule, outcome: Outcome) -> str:
    if outcome == "fail":
        return rule.hint + (f" ({rule.fixed_by} does it.)" if rule.fixed_by else "")
    if outcome == "unknown":
        return "It was not measured, so it is not taken for good."
    return ""


def _describe_limit(rule: Rule) -> str:
    if rule.must_be is not None:
        return "yes" if rule.must_be else "no"
    if rule.above is not None:
        return f"more than {_describe(rule.above, rule.unit)}"
    if rule.at_least is not None and rule.at_most is not None:
        return f"{_describe(rule.at_least, rule.unit)} to {_describe(rule.at_most, rule.unit)}"
    if rule.at_least is not None:
        return f"at least {_describe(rule.at_least, rule.unit)}"
    return f"at most {_describe(rule.at_most, rule.unit)}"


def _describe(value: Value | None, unit: Unit) -> str:
    if value is None:
        return "not measured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not math.isfinite(value):
        return str(value)
    if unit == "bytes":
        return f"{value / 1e6:,.1f} MB" if value >= 1e6 else f"{value / 1e3:,.1f} kB"
    if unit == "share":
        return f"{value:.2%}"
    if unit == "m":
        return f"{value * 1000:,.3g} mm" if abs(value) < 1 else f"{value:,.3g} m"
    told = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"
    return told if unit in ("", "pieces") else f"{told} {unit}"


MARKS: dict[Outcome, str] = {
    "pass": "ok",
    "fixed": "fixed",
    "fail": "FAIL",
    "unknown": "unknown",
    "not_applicable": "",
}


def _row(check: Check) -> tuple[str, str, str, str, str]:
    mark = "warning" if check.outcome == "fail" and check.severity == "warning" else MARKS[check.outcome]
    note = check.done if check.outcome == "fixed" else check.hint
    if check.outcome == "fixed":
        note = f"was {_describe(check.before, check.unit)}; {note}"
    return mark, check.name, _describe(check.value, check.unit), check.limit, note


def _escape(text: str) -> str:
    """Text for a cell of a Markdown table: no markup, no HTML, no end of the cell or line."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{letter}" if letter in "\\`*_[]|!#" else letter for letter in plain)
