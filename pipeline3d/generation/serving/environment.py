"""Which environment variables a wrapper sees: a list of allowed ones, and never a secret."""

from __future__ import annotations

from collections.abc import Collection, Mapping

ALLOWED = frozenset(
    {
        "PATH",
        "HOME",
        "LANG",
        "TMPDIR",
        "CUDA_VISIBLE_DEVICES",
        "HF_HOME",
        "HF_HUB_OFFLINE",
        "U2NET_HOME",
        "TORCH_HOME",
        "OMP_NUM_THREADS",
        "LD_LIBRARY_PATH",
    }
)
ALLOWED_PREFIX = "LC_"
SECRET_WORDS = ("SECRET", "PASSWORD", "PASSWD", "TOKEN", "CREDENTIAL", "ACCESS_KEY", "API_KEY", "SIGNING_KEY")
SECRET_NAMES = frozenset({"DATABASE_URL", "BROKER_URL", "DAGSTER_PG_URL", "REDIS_URL"})
"""Addresses with a password in them."""


def reduce_environment(
    environment: Mapping[str, str], *, own: Collection[str] = (), given: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What a wrapper may see of our environment: the allowed names, those it names as its `own`, and `given`.

    A name that sounds like a secret is left out even where the wrapper asks for it.
    """
    names = {name for name in environment if name in ALLOWED or name.startswith(ALLOWED_PREFIX)}
    names |= {name for name in own if name in environment}
    allowed = {name: environment[name] for name in names} | dict(given or {})
    return {name: value for name, value in allowed.items() if not is_secret(name)}


def is_secret(name: str) -> bool:
    """Whether a variable of that name may hold a secret."""
    upper = name.upper()
    return upper in SECRET_NAMES or any(word in upper for word in SECRET_WORDS)
