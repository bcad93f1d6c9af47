"""Which state may follow which: the rules of a request's life, as pure data and functions.

A finished request stays as it is, with one exception: a person may ask for another attempt of one that did
not succeed. The service itself never does. Nothing here knows how a state is stored.
"""

from __future__ import annotations

from pipeline3d.values import FINISHED_STATES, JobState

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset(
        {
            JobState.RUNNING,  # a run began
            JobState.QUEUED,  # its run died before it began: the next attempt waits
            JobState.FAILED,  # the same, and the attempts are used up
            JobState.CANCELED,  # nothing runs yet, so there is nothing to wait for
            JobState.EXPIRED,  # its deadline passed before a run began
        }
    ),
    JobState.RUNNING: frozenset(
        {
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.QUEUED,  # the attempt failed and another may succeed
            JobState.CANCELING,  # cancel was asked for, the run has yet to notice
            JobState.CANCELED,  # the run was stopped from outside
        }
    ),
    # Whoever asked for an end gets it: a run that fails or dies while it is being canceled was canceled.
    JobState.CANCELING: frozenset({JobState.CANCELED}),
    # By hand only: a run that a person launched takes it over, or a person queues it again.
    JobState.FAILED: frozenset({JobState.RUNNING, JobState.QUEUED}),
    JobState.CANCELED: frozenset({JobState.QUEUED}),
    JobState.EXPIRED: frozenset({JobState.QUEUED}),
    JobState.SUCCEEDED: frozenset(),
}

RETRIED_BY_HAND = frozenset({JobState.FAILED, JobState.CANCELED, JobState.EXPIRED})
"""Finished states from which a person may queue a request again, as a new attempt."""

CLOSED_STATES = frozenset({JobState.CANCELED, JobState.EXPIRED})
"""Finished states in which not even artifacts may be recorded again."""


def may_follow(before: JobState, after: JobState) -> bool:
    """Whether a request in state `before` may become `after`."""
    return after in TRANSITIONS[before]


def states_before(after: JobState) -> frozenset[JobState]:
    """The states that `after` may follow."""
    return frozenset(before for before, followers in TRANSITIONS.items() if after in followers)


def is_finished(state: JobState) -> bool:
    """Whether the request has its outcome."""
    return state in FINISHED_STATES


def state_after_failed_attempt(state: JobState, *, attempt: int, max_attempts: int) -> JobState:
    """What becomes of a request whose attempt failed in a way that another attempt may not."""
    if state is JobState.CANCELING:
        return JobState.CANCELED
    return JobState.QUEUED if attempt < max_attempts else JobState.FAILED
