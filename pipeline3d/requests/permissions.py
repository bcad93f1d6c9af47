"""Which role may do what. Pure data: a key or a session has scopes, and its user's role bounds them."""

from __future__ import annotations

from collections.abc import Collection

from pipeline3d.values import Role, Scope

_MEMBER = frozenset(
    {Scope.JOBS_READ, Scope.JOBS_WRITE, Scope.SHARES_WRITE, Scope.WEBHOOKS_WRITE, Scope.KEYS_WRITE}
)

SCOPES_OF_ROLE: dict[Role, frozenset[Scope]] = {
    Role.MEMBER: _MEMBER,
    Role.ANALYST: frozenset({Scope.JOBS_READ, Scope.KEYS_WRITE, Scope.LINEAGE_READ}),
    Role.OPERATOR: _MEMBER | {Scope.LINEAGE_READ, Scope.OPS},
    Role.ADMIN: frozenset(Scope),
}


def effective_scopes(role: Role, granted: Collection[str]) -> frozenset[Scope]:
    """What somebody of this role may do with a key of these scopes; no scopes stand for all of the role."""
    allowed = SCOPES_OF_ROLE[role]
    return frozenset(scope for scope in allowed if scope.value in granted) if granted else allowed
