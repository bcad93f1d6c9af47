"""Real wrapper processes kept warm: one load for many requests, replaced when killed, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from pipeline3d.errors import TransientFailure
from pipeline3d.generation.serving import (
    ModelHost,
    ModelSpec,
    RamGauge,
    WrapperModel,
    describe,
    run_request,
)
from pipeline3d.generation.serving.events import MalformedEvent
from pipeline3d.generation.serving.starting import parse_description
from pipeline3d_tests.servers import wait_until
from pipeline3d_tests.unit.generation.serving.conftest import FAKE_MODEL, is_running

MB = 1024**2


@pytest.fixture
def host():
    host = ModelHost("cpu", limit_bytes=250 * MB, gauge=RamGauge(), wait_s=30.0)
    yield host
    host.close()


@pytest.fixture
def spec(program, tmp_path):
    """Makes specs of the stand-in; `holds` is what it really holds after its load."""

    def make(key: str = "fake", *, holds: int = 0, mode="resident", **more) -> ModelSpec:
        params = {"load_memory_bytes": holds}
        return ModelSpec(
            key=key,
            open=lambda: WrapperModel(program(), tmp_path / f"{key}.log", mode=mode, load_params=params),
            weights_bytes=holds + 20 * MB,
            **more,
        )

    return make


def test_many_requests_cost_one_load(host, spec, request_for):
    facts = []
    for _ in range(5):
        with host.use(spec()) as use:
            facts.append(run_request(use, request_for()).facts["loads"])
    assert facts == [1] * 5
    assert (host.counts_of("fake").loads, host.counts_of("fake").hits) == (1, 4)


def test_what_a_wrapper_really_holds_is_known(host, spec, request_for):
    with host.use(spec(holds=60 * MB)) as use:
        run_request(use, request_for(work_s=0.8, memory_bytes=40 * MB))
    [resident] = host.standing().residents
    assert 60 * MB < resident.held_bytes < 130 * MB
    assert resident.counts.peak_bytes > 100 * MB


def test_two_models_that_do_not_fit_together_take_turns(host, spec, request_for):
    pids = set()
    for key in ("a", "b") * 2:
        with host.use(spec(key, holds=150 * MB)) as use:
            assert run_request(use, request_for()).outputs
            pids.add(use.model.pid)
        assert [resident.key for resident in host.standing().residents] == [key]
    assert len(pids) == 4
    assert sum(is_running(pid) for pid in pids) == 1


def test_a_resident_that_is_killed_between_runs_is_replaced(host, spec, request_for):
    with host.use(spec()) as use:
        run_request(use, request_for())
        [child] = psutil.Process(use.model.pid).children()
    child.kill()
    with host.use(spec()) as use:
        assert use.was_warm is False
        assert run_request(use, request_for()).outputs
    assert host.counts_of("fake").deaths == 1


def test_a_resident_that_stands_still_is_replaced(program, spec, host, request_for, tmp_path):
    stuck = ModelSpec(
        key="fake",
        open=lambda: WrapperModel(program(patience={"answer_s": 0.3}), tmp_path / "log"),
        weights_bytes=20 * MB,
    )
    with host.use(stuck) as use:
        [child] = psutil.Process(use.model.pid).children()
    child.suspend()
    wait_until(lambda: child.status() == psutil.STATUS_STOPPED, what="it stands still")
    with host.use(stuck) as use:
        assert run_request(use, request_for()).outputs
    assert not is_running(child.pid)


def test_a_resident_that_is_killed_in_a_run_fails_it_and_the_next_one_succeeds(host, spec, request_for):
    with pytest.raises(TransientFailure) as raised, host.use(spec()) as use:
        run_request(use, request_for(crash="kill", steps=3, crash_step=2))
    assert raised.value.code == "wrapper_died"
    with host.use(spec()) as use:
        assert run_request(use, request_for()).outputs


def test_an_interrupt_for_the_whole_tree_ends_the_run_soon_and_the_next_one_succeeds(host, spec, request_for):
    """As a run is canceled: the whole tree is sent SIGINT, and the step is interrupted."""

    interrupted = []

    def interrupt(_progress) -> None:
        interrupted.append(time.monotonic())
        leader = psutil.Process(use.model.pid)
        for process in (leader, *leader.children(recursive=True)):
            process.send_signal(signal.SIGINT)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), host.use(spec()) as use:
        run_request(use, request_for(work_s=600, steps=1000), interrupt)
    assert time.monotonic() - interrupted[0] < 20.0  # of ten minutes of work
    with host.use(spec()) as use:
        assert run_request(use, request_for()).outputs


@pytest.mark.parametrize(("failures", "ends_well"), [(1, True), (2, True), (3, False)])
def test_a_run_out_of_memory_goes_down_the_ladder(host, spec, request_for, failures, ends_well):
    request = request_for(out_of_memory=failures, needed_bytes=1000)
    (request.output_dir / "left over").write_text("by an earlier try")
    with host.use(spec("other")):
        pass
    try:
        with host.use(spec()) as use:
            done = run_request(use, request)
    except TransientFailure as error:
        assert not ends_well
        assert error.details == {"needed_bytes": 1000, "free_bytes": 500}  # noqa: PT017
        return
    assert ends_well
    assert [path.name for path in request.output_dir.iterdir()] == ["mesh.glb"]
    assert any("memory_divisor" in note for note in done.notes)
    assert host.counts_of("other").evictions == failures - 1


def test_a_one_shot_wrapper_is_used_the_same_way(host, spec, request_for):
    for _ in range(2):
        with host.use(spec(mode="one_shot", idle_s=0)) as use:
            assert run_request(use, request_for()).facts["loads"] == 1
    assert host.standing().residents == ()


# As a worker's process: keeps a model warm, says the pids, and stays.
WORKER = textwrap.dedent(
    f"""
    import os, sys, time, psutil
    from pathlib import Path
    from pipeline3d.generation.serving import *
    program = WrapperProgram(
        name="fake", command=(sys.executable, {str(FAKE_MODEL)!r}), environment=reduce_environment(os.environ)
    )
    host = ModelHost("cpu", limit_bytes=10**9)
    spec = ModelSpec(key="a", open=lambda: WrapperModel(program, Path(sys.argv[1])), weights_bytes=1)
    with host.use(spec) as use:
        print(use.model.pid, psutil.Process(use.model.pid).children()[0].pid, flush=True)
    time.sleep(600)
    """
)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_ends_takes_its_warm_models_along(tmp_path, number):
    command = [sys.executable, "-c", WORKER, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        pids = [int(pid) for pid in worker.stdout.readline().split()]
        assert len(pids) == 2
        assert all(is_running(pid) for pid in pids)
        os.kill(worker.pid, number)
        wait_until(lambda: not any(is_running(pid) for pid in pids), what="nothing is left")


# -- descriptions


def test_a_wrapper_says_what_it_is(program, tmp_path):
    description = describe(program(), tmp_path / "log")
    assert (description.name, description.kind, description.ready) == ("fake", "image_to_3d", True)
    assert set(description.modes) == {"one_shot", "resident"}


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"{}",
        b'{"protocol": 2}',
        b'{"protocol": 1}',
        b'{"protocol": 1, "name": "x", "modes": "resident"}',
    ],
)
def test_a_description_that_is_none_is_refused(said):
    with pytest.raises(MalformedEvent):
        parse_description(said)
