"""The words for states that lists are asked by."""

from __future__ import annotations

import pytest

from pipeline3d.errors import InvalidParameters
from pipeline3d.requests.listing import states_of_words
from pipeline3d.requests.status_words import WORDS
from pipeline3d.values import JobState


@pytest.mark.parametrize(
    ("words", "states"),
    [
        ([], ()),
        (["QUEUED"], (JobState.QUEUED,)),
        (["queued", "Pending", " waiting "], (JobState.QUEUED,)),
        (["PROCESSING"], (JobState.RUNNING, JobState.CANCELING)),
        (["active", "RUNNING"], (JobState.RUNNING, JobState.CANCELING)),
        (["complete", "completed", "SUCCEEDED"], (JobState.SUCCEEDED,)),
        (["CANCELLED"], (JobState.CANCELED,)),
        (["failed", "expired"], (JobState.FAILED, JobState.EXPIRED)),
    ],
)
def test_a_word_stands_for_its_states_in_whatever_case(words, states):
    assert states_of_words(words) == states


def test_every_word_that_an_earlier_system_is_answered_with_can_be_asked_for():
    for words in WORDS.values():
        for state, word in words.items():
            assert state in states_of_words([word]) or word.lower() == "failed"


@pytest.mark.parametrize("word", ["", "DONE", "QUEUED,RUNNING", "QUEUED\u0000"])
def test_any_other_word_is_refused_with_those_that_there_are(word):
    with pytest.raises(InvalidParameters) as caught:
        states_of_words([word])
    assert caught.value.code == "unknown_status"
    assert "EXPIRED" in str(caught.value.hint)
