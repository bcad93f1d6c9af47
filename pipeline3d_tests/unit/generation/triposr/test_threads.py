"""Chunks: all done, errors heard, torch's threads as before, the same result with any number of them."""

from __future__ import annotations

import pytest
import torch

from pipeline3d.generation.triposr import extract
from pipeline3d.generation.triposr.threads import CHUNK, chunk_workers
from pipeline3d_tests.tiny_triposr import MARKED_BODY, TINY, build_scene


@pytest.fixture
def threads_restored():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("points", [0, 1, CHUNK, CHUNK + 1, 5 * CHUNK - 1])
def test_every_point_is_worked_on_once(points):
    times = torch.zeros(points)

    def work(part: slice) -> None:
        times[part] += 1

    with chunk_workers() as workers:
        workers.run(points, work)
    assert (times == 1).all()


@pytest.mark.usefixtures("threads_restored")
def test_workers_compute_on_one_core_each_and_torch_gets_its_threads_back():
    torch.set_num_threads(3)
    seen: list[int] = []
    with chunk_workers() as workers:
        workers.run(4 * CHUNK, lambda part: seen.append(torch.get_num_threads()))
    assert seen == [1, 1, 1, 1]
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("threads_restored")
def test_an_error_is_heard_and_torch_gets_its_threads_back():
    torch.set_num_threads(2)

    def fail(part: slice) -> None:
        raise ValueError(f"chunk {part.start}")

    with pytest.raises(ValueError, match="chunk 0"), chunk_workers() as workers:
        workers.run(2 * CHUNK, fail)
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("threads_restored")
def test_the_number_of_threads_does_not_change_the_mesh():
    scene = build_scene(TINY, MARKED_BODY, roughness=0.01)
    meshes = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        meshes.append(extract(scene, resolution=80))
    assert len({mesh.vertices.tobytes() + mesh.colours.tobytes() for mesh in meshes}) == 1
