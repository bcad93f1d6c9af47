"""Whether a product's photo can become a model, and which of several is the best one.

Each check measures one thing, compares it with a limit, and says so in a sentence. Invariant: a photo with
an error is never chosen, and a photo without one always can be. The measuring is in `photo_measures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline3d.errors import UnusableInput
from pipeline3d.imaging.framing import find_bounds
from pipeline3d.imaging.matting import Matte
from pipeline3d.imaging.photo_measures import PhotoMeasures, measure_photo
from pipeline3d.imaging.picture import Picture

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that speaks against a photo; `value` and `limit` have the unit that the message names."""

    code: str
    severity: Severity
    message: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoVerdict:
    """What is known of a photo: the `score` is from 0 to 1, and only photos without an error are `usable`."""

    usable: bool
    score: float
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    """One row of the table below.

    `measure` names a field of `PhotoMeasures`. A value is perfect at `good`, a warning from `warning` on
    and an error from `error` on (None: never), in whichever direction those three run. `weight` is the share
    of the score that is lost at the worst; how much each fault weighs is a judgement, not a measurement.
    """

    code: str
    measure: str
    good: float
    warning: float
    error: float | None
    weight: float
    message: str


CHECKS = (
    # A frame at the usual size has 870 pixels of object, the models that look at one picture take 435.
    _Check(
        code="picture_too_small",
        measure="shorter_side_px",
        good=800,
        warning=400,
        error=128,
        weight=0.5,
        message="the photo has {value:.0f} pixels on its shorter side; {limit:.0f} or more are needed",
    ),
    # The same counts, of the object alone. Below 64 a face or a label is a handful of pixels.
    _Check(
        code="object_too_small",
        measure="object_px",
        good=600,
        warning=200,
        error=64,
        weight=0.6,
        message="the object is only {value:.0f} pixels long; {limit:.0f} or more are needed",
    ),
    # The drawn toys take 0.54 to 0.84. A small object is still cut out well before a plain backdrop.
    _Check(
        code="object_small_in_frame",
        measure="object_share",
        good=0.45,
        warning=0.2,
        error=None,
        weight=0.3,
        message="the object takes {value:.0%} of the photo's length; come closer, to {limit:.0%} or more",
    ),
    # Sharp pictures, 12 photographs and the drawings: 1.0 to 1.3, a cat's fur 1.5. A drawing blurred by
    # 1.6 pixels of 512: 1.9, by 3.2: 3.6, by 5: 6.0. A clock that moved while it was photographed: 6.2.
    _Check(
        code="blurred",
        measure="blur_px",
        good=1.5,
        warning=2.2,
        error=4.5,
        weight=0.8,
        message="the photo is blurred: its edges are {value:.1f} pixels soft, {limit:.1f} is the limit",
    ),
    # Photographs and drawings: 68 to 100. A drawing at half its light: 45, at a fifth: 17.
    _Check(
        code="underexposed",
        measure="brightest",
        good=60,
        warning=40,
        error=18,
        weight=0.5,
        message="the photo is too dark: its brightest parts reach a lightness of {value:.0f} of 100, "
        "more than {limit:.0f} are needed",
    ),
    # Photographs and drawings: 0.04 at most, with the drawings at three times their light.
    _Check(
        code="overexposed",
        measure="burnt_out",
        good=0.1,
        warning=0.25,
        error=0.7,
        weight=0.5,
        message="{value:.0%} of the object are burnt out to plain white; less than {limit:.0%} should be",
    ),
    # Plain and rough walls: 0 to 0.02. A blurred garden: 0.08, a wooden table: 0.13, a teddy before coins:
    # 0.16, a garage: 0.42, gravel: 0.64. Never an error: the matte's confidence says whether it worked.
    _Check(
        code="busy_background",
        measure="background_edges",
        good=0.03,
        warning=0.12,
        error=None,
        weight=0.4,
        message="the background is busy: edges cover {value:.0%} of it, more than {limit:.0%}",
    ),
    # A teddy's arm cut off by the border: 0.03 to 0.1, half its head: 0.14 to 0.16, a man's legs: 0.14.
    _Check(
        code="cropped",
        measure="cut_off",
        good=0.0,
        warning=0.01,
        error=0.12,
        weight=0.7,
        message="the photo's border cuts off {value:.0%} of the object's outline; {limit:.0%} is the limit",
    ),
    # 24 coins: 0.83. An apple beside a smaller one: 0.35. Never an error: a pair of shoes is a product too.
    _Check(
        code="several_objects",
        measure="second_object",
        good=0.0,
        warning=0.1,
        error=None,
        weight=0.6,
        message="there is more than one object: the second has {value:.0%} of the area of the largest",
    ),
)
"""What is checked, with the figures that the limits were set by: of drawn toys, and of photographs that come
with scikit-image and scikit-learn, cut out by IS-Net."""

TRIMMED = "cropped"
"""Never an error in a picture with transparency of its own: those are often trimmed to the object."""


def judge_photo(
    picture: Picture | None, matte: Matte | None, *, refusal: UnusableInput | None
) -> PhotoVerdict:
    """What speaks for and against a photo.

    `refusal` is why there is no matte, or why there is not even a picture: it becomes an error, and what
    can be seen without a matte (size, blur, light) is still said, since it is often the cause. Raises
    `ValueError` if there is neither a picture with its matte nor a refusal.
    """
    if refusal is None and (picture is None or matte is None):
        raise ValueError("a photo without a picture or a matte has a refusal that says why")
    if refusal is None and matte is not None:
        refusal = _see_nothing(matte)
    findings = [] if refusal is None else [_from_refusal(refusal)]
    score = 0.0
    if picture is not None:
        measures = measure_photo(picture, matte)
        findings += [found for check in CHECKS if (found := _find(check, measures, matte)) is not None]
        if matte is not None and refusal is None:
            score = _score(measures) * float(np.clip(matte.confidence, 0, 1))
    findings.sort(key=lambda finding: finding.severity)  # errors first, else in the order of the checks
    usable = not any(finding.severity == "error" for finding in findings)
    return PhotoVerdict(usable=usable, score=round(score, 4), findings=tuple(findings))


def choose_photo(verdicts: Sequence[PhotoVerdict]) -> int:
    """The index of the usable photo with the best score; of equals the first, as the shop put it first.

    Raises `UnusableInput` (`no_usable_photo`) with every photo's reasons if there is none.
    """
    usable = [index for index, verdict in enumerate(verdicts) if verdict.usable]
    if usable:
        return max(usable, key=lambda index: (verdicts[index].score, -index))
    if not verdicts:
        raise UnusableInput(
            "There is no photo to make a model from.",
            code="no_usable_photo",
            hint="Send one to eight photos of the product.",
            details={"photos": []},
        )
    reasons = [f"photo {number}: {_list_errors(verdict)}" for number, verdict in enumerate(verdicts, 1)]
    raise UnusableInput(
        f"None of the {len(verdicts)} photos can be used. " + "; ".join(reasons) + "."
        if len(verdicts) > 1
        else f"The photo cannot be used: {_list_errors(verdicts[0])}.",
        code="no_usable_photo",
        hint="Photograph the whole product alone, sharp and well lit, before a plain background.",
        details={
            "photos": [
                [{"code": found.code, "severity": found.severity, "message": found.message} for found in one]
                for one in (verdict.findings for verdict in verdicts)
            ]
        },
    )


def explain_choice(verdicts: Sequence[PhotoVerdict], index: int) -> str:
    """One or two sentences for people: why this photo, and what speaks against it and the others."""
    chosen, number = verdicts[index], index + 1
    against = [finding.message for finding in chosen.findings]
    remark = f" Still, {_join(against)}." if against else " Nothing speaks against it."
    others = [verdict for place, verdict in enumerate(verdicts) if place != index]
    if not others:
        return f"It is the only photo (score {chosen.score:.2f})." + remark
    rivals = [verdict for verdict in others if verdict.usable]
    if not rivals:
        return (
            f"Photo {number} of {len(verdicts)} is the only usable one (score {chosen.score:.2f})." + remark
        )
    best = max(rivals, key=lambda verdict: verdict.score)
    place = next(place for place, verdict in enumerate(verdicts) if verdict is best and place != index) + 1
    reason = f"Photo {number} of {len(verdicts)} has the best score, {chosen.score:.2f}"
    if best.score >= chosen.score:
        return f"{reason}, and comes first of those that have it." + remark
    behind = f"photo {place} follows with {best.score:.2f}"
    if best.findings:
        behind += f" because {best.findings[0].message}"
    return f"{reason}; {behind}." + remark


def _see_nothing(matte: Matte) -> UnusableInput | None:
    """Why a matte shows no object, or None where it shows one."""
    try:
        find_bounds(matte.alpha)
    except UnusableInput as refusal:
        return refusal
    return None


def _from_refusal(refusal: UnusableInput) -> Finding:
    confidence, needed = refusal.details.get("confidence"), refusal.details.get("needed")
    return Finding(
        code=refusal.code,
        severity="error",
        message=_as_clause(refusal.message),
        value=float(confidence) if isinstance(confidence, int | float) else None,
        limit=float(needed) if isinstance(needed, int | float) else None,
    )


def _find(check: _Check, measures: PhotoMeasures, matte: Matte | None) -> Finding | None:
    value: float | None = getattr(measures, check.measure)
    if value is None:
        return None
    severity: Severity = "warning"
    limit = check.warning
    may_be_error = not (check.code == TRIMMED and matte is not None and matte.method == "alpha")
    if check.error is not None and may_be_error and _reaches(check, value, check.error):
        severity, limit = "error", check.error
    elif not _reaches(check, value, check.warning):
        return None
    return Finding(
        code=check.code,
        severity=severity,
        message=check.message.format(value=value, limit=limit),
        value=round(value, 4),
        limit=limit,
    )


def _reaches(check: _Check, value: float, limit: float) -> bool:
    """Whether a value is as bad as a limit or worse."""
    return value >= limit if check.warning > check.good else value <= limit


def _score(measures: PhotoMeasures) -> float:
    """The product of what every check leaves: 1 at `good`, `1 - weight` where it is at its worst.

    That is at `error`, or for a check without it at three times the way from `good` to `warning`.
    """
    score = 1.0
    for check in CHECKS:
        value: float | None = getattr(measures, check.measure)
        if value is not None:
            worst = check.good + 3 * (check.warning - check.good) if check.error is None else check.error
            share = (value - check.good) / (worst - check.good)
            score *= 1 - check.weight * float(np.clip(share, 0, 1))
    return score


def _list_errors(verdict: PhotoVerdict) -> str:
    return _join([finding.message for finding in verdict.findings if finding.severity == "error"])


def _join(clauses: Sequence[str]) -> str:
    return clauses[0] if len(clauses) == 1 else ", ".join(clauses[:-1]) + " and " + clauses[-1]


def _as_clause(message: str) -> str:
    """A message without its capital and full stop, to stand inside a sentence."""
    text = message.strip().rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
