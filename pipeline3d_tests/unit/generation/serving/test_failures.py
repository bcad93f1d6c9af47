"""Every code of the protocol and every exit code has its error, and a retry only where that can help."""

import sys

import pytest

from pipeline3d.generation.serving.events import Failed
from pipeline3d.generation.serving.failures import CODE_BY_EXIT, ERRORS, error_of_exit, error_of_failure
from pipeline3d_tests.unit.generation.serving.conftest import FAKE_MODEL

sys.path.insert(0, str(FAKE_MODEL.parents[1]))
import protocol

sys.path.pop(0)


@pytest.mark.parametrize("code", sorted(protocol.EXIT_CODES))
def test_every_code_of_the_wrappers_is_known_and_retried_as_they_say(code):
    error = error_of_failure(Failed(code=code, message=""))
    assert error.code == code
    assert error.message
    assert error.retryable is (code in protocol.RETRYABLE)


@pytest.mark.parametrize("exit_code", sorted(set(protocol.EXIT_CODES.values())))
def test_every_exit_code_of_the_wrappers_is_known(exit_code):
    assert error_of_exit(exit_code).code == CODE_BY_EXIT[exit_code]


def test_every_code_that_an_exit_means_has_an_error():
    assert set(CODE_BY_EXIT.values()) <= set(ERRORS)


def test_an_unknown_code_is_a_fault_of_the_wrapper_and_named():
    error = error_of_failure(Failed(code="moon_phase", message="full", retryable=True))
    assert (error.code, error.retryable) == ("wrapper_fault", False)
    assert error.message == "It failed with the unknown code 'moon_phase': full"


@pytest.mark.parametrize(
    ("exit_code", "code", "said"),
    [
        (0, "wrapper_fault", "without a result"),
        (139, "wrapper_died", "SIGSEGV"),
        (137, "wrapper_died", "SIGKILL"),
        (152, "timeout", ""),  # SIGXCPU
        (153, "output_too_large", ""),  # SIGXFSZ
        (99, "wrapper_died", "exit code 99"),
        (255, "wrapper_died", "exit code 255"),
    ],
)
def test_an_end_without_an_account_says_how_it_was(exit_code, code, said):
    error = error_of_exit(exit_code)
    assert error.code == code
    assert said in error.message


def test_the_last_words_are_kept_with_the_error():
    error = error_of_exit(3, stderr_tail="one\ntwo\n")
    assert error.message.endswith("It last said: two")
    assert error.details == {"stderr_tail": "one\ntwo\n", "exit_code": 3}
