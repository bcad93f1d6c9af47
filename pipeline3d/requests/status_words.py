"""The words that the earlier systems had for where a job stands, of each of our states.

An earlier system knew fewer states: what ended without a result, whoever ended it, failed there. Pure data.
"""

from __future__ import annotations

from enum import StrEnum

from pipeline3d.values import JobState


class Contract(StrEnum):
    """An earlier system with calls of its own here. (TCC's are ours: see `api.compatibility`.)"""

    SHOP3D = "shop3d"
    TONMOVIES = "tonmovies"
    LUNEO = "luneo"


def _words(waiting: str, working: str, succeeded: str, failed: str) -> dict[JobState, str]:
    return {
        JobState.QUEUED: waiting,
        JobState.RUNNING: working,
        JobState.CANCELING: working,
        JobState.SUCCEEDED: succeeded,
        JobState.FAILED: failed,
        JobState.CANCELED: failed,
        JobState.EXPIRED: failed,
    }


WORDS: dict[Contract, dict[JobState, str]] = {
    Contract.SHOP3D: _words("pending", "processing", "completed", "failed"),
    Contract.TONMOVIES: _words("pending", "processing", "complete", "failed"),
    Contract.LUNEO: _words("queued", "active", "completed", "failed"),
}


def word_for(contract: Contract, state: str) -> str:
    """How an earlier system calls a state of ours."""
    return WORDS[contract][JobState(state)]
