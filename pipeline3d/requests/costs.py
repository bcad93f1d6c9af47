"""What a request costs, in units: declared by its model, before anything is made.

A model's `costs` has a `base` and, for some parameters, `multipliers`: for each value a factor, or the word
`value` where the value itself, a number, is the factor. A parameter without a value, or with one that has no
factor, changes nothing. Nothing is measured here, and no money is meant: limits and reports count units.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

DEFAULT_BASE = 1
BY_VALUE = "value"
_THOUSANDTHS = Decimal("0.001")
MOST_UNITS = Decimal("99999999999.999")
"""As many as the column of a request holds."""


def cost_of(costs: Mapping[str, Any], params: Mapping[str, Any]) -> Decimal:
    """The units that a request with these complete parameters costs, in thousandths."""
    units = _decimal(costs.get("base", DEFAULT_BASE))
    for name, factors in costs.get("multipliers", {}).items():
        units *= _factor(factors, params.get(name))
    return min(units, MOST_UNITS).quantize(_THOUSANDTHS)


def check_costs(costs: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Raises ValueError where a model's costs cannot be reckoned or name what is no parameter of it."""
    properties = schema.get("properties", {})
    if _decimal(costs.get("base", DEFAULT_BASE)) < 0:
        raise ValueError("its costs are below zero")
    for name, factors in costs.get("multipliers", {}).items():
        if name not in properties:
            raise ValueError(f"its costs name {name}, which is no parameter of it")
        if factors == BY_VALUE:
            if properties[name].get("type") not in ("integer", "number"):
                raise ValueError(f"its costs multiply by {name}, which is no number")
        elif not isinstance(factors, Mapping) or any(_decimal(factor) < 0 for factor in factors.values()):
            raise ValueError(f"its costs have no factors, or such below zero, for {name}")


def _factor(factors: Any, value: Any) -> Decimal:
    if factors == BY_VALUE:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return max(_decimal(value), Decimal(0)) if is_number else Decimal(1)
    known = factors.get(str(value).lower() if isinstance(value, bool) else str(value))
    return Decimal(1) if known is None else _decimal(known)


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"its costs hold {value!r}, which is no number")
    return Decimal(str(value))
