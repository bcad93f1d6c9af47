"""Out of memory is told from other errors, and the report has the bytes."""

from __future__ import annotations

import pytest
import torch

from pipeline3d.generation.triposr.memory import free_bytes, is_out_of_memory, out_of_memory

CPU = torch.device("cpu")


def refused_by_torch() -> RuntimeError:
    """What torch really raises for more memory than there is addresses for."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55, dtype=torch.float64)
    return caught.value


def test_what_torch_raises_on_the_cpu_is_recognised_with_its_bytes():
    failure = refused_by_torch()
    assert is_out_of_memory(failure)
    report = out_of_memory(failure, CPU, "trying")
    assert report.code == "out_of_memory"
    assert report.retryable
    assert report.details["needed_bytes"] == 8 * 2**55
    assert 0 < report.details["free_bytes"] < 2**50
    assert "while trying" in report.message


@pytest.mark.parametrize(
    ("failure", "recognised", "needed"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU"), True, 20 * 2**20),
        (MemoryError(), True, None),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1.00 GB)"), True, None),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False, None),
        (ValueError("out of memory"), False, None),
    ],
)
def test_other_errors_are_told_apart(failure, recognised, needed):
    assert is_out_of_memory(failure) is recognised
    assert out_of_memory(failure, CPU, "trying").details["needed_bytes"] == needed


def test_free_memory_is_a_plausible_number():
    assert 2**20 < free_bytes(CPU) < 2**48
