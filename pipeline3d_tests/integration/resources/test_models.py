"""Warm models as assets use them: with the device, for one run, shown to everybody, gone with the process."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from pipeline3d import models_view
from pipeline3d.database.tables import device_leases
from pipeline3d.errors import LeaseLost, ModelNotReady
from pipeline3d.generation.serving import InProcessModel, ModelSpec, WrapperRequest, run_request
from pipeline3d.requests.gpu_leases import DeviceBoard
from pipeline3d_tests.servers import wait_until
from resources.gpu import Device, Devices
from resources.jobs_database import JobsDatabase
from resources.models import Models, close_models, list_standings
from resources.wrapper_process import WrapperPrograms

WRAPPERS = Path(__file__).parents[3] / "wrappers"
CPU = Device(name="cpu", local="cpu")
MB = 1024**2


@pytest.fixture
def models(engine, rows, database_url, tmp_path):
    rows.run(device_leases.delete())
    devices = Devices(
        jobs_database=JobsDatabase(url=database_url), lease_dir=str(tmp_path / "devices"), worker_id="w1"
    )
    yield Models(devices=devices, peaks_file=str(tmp_path / "peaks.json"), cpu_limit_bytes=4000 * MB)
    close_models()


@pytest.fixture
def programs(tmp_path) -> WrapperPrograms:
    return WrapperPrograms(wrappers_dir=str(WRAPPERS), log_dir=str(tmp_path / "logs"))


def in_process(key: str = "native", **more) -> ModelSpec[list]:
    return ModelSpec(key=key, open=lambda: InProcessModel(list), weights_bytes=10 * MB, **more)


def test_a_wrapper_and_a_model_of_this_process_are_used_alike_and_stay_warm(models, programs, tmp_path):
    spec = programs.spec("fake_model", device=CPU, weights_bytes=30 * MB)
    for number in range(2):
        output = tmp_path / f"output{number}"
        output.mkdir()
        with models.use(spec, device=CPU, run_id=f"r{number}") as use:
            assert run_request(use, WrapperRequest(id=f"j:{number}", output_dir=output)).outputs
            assert use.was_warm is (number == 1)
        with models.use(in_process(), device=CPU) as use:
            use.model.append(number)
            assert len(use.model) == number + 1
    [standing] = list_standings()
    assert {resident.key for resident in standing.residents} == {spec.key, "native"}
    assert {resident.counts.loads for resident in standing.residents} == {1}


def test_what_is_warm_is_shown_to_people(models, engine):
    with models.use(in_process(), device=CPU, run_id="r1"):
        wait_until(lambda: any(lease.use.run_id for lease in DeviceBoard(engine).list()), what="it is shown")
    wait_until(
        lambda: any(
            resident["state"] == "idle"
            for lease in DeviceBoard(engine).list()
            for resident in lease.use.residents
        ),
        what="the model is shown as idle",
    )
    leases = DeviceBoard(engine).list()
    written = io.StringIO()
    models_view.print_tables(leases, Console(file=written, width=220))
    assert "native" in written.getvalue()
    assert '"key": "native"' in models_view.render_json(leases)


def test_a_run_that_is_called_off_while_it_waits_takes_nothing(models):
    with models.use(in_process(), device=CPU), ThreadPoolExecutor() as pool:

        def wait() -> None:
            with models.use(in_process(), device=CPU, is_canceled=lambda: True):
                pass

        assert isinstance(pool.submit(wait).exception(timeout=20), LeaseLost)


def test_a_gpu_whose_memory_nobody_can_tell_needs_a_limit(models):
    gpu = Device(name="cuda:77", local="cuda:0")
    with pytest.raises(ModelNotReady) as raised, models.use(in_process(), device=gpu):
        pass
    assert raised.value.code == "device_missing"
    limited = models.model_copy(update={"gpu_limit_bytes": 100 * MB})
    with limited.use(in_process(), device=gpu) as use:
        assert use.model == []


# A worker's process with a warm wrapper, which says the pids below it, and stays.
WORKER = textwrap.dedent(
    """
    import sys, time, psutil
    from resources.gpu import Device, Devices
    from resources.jobs_database import JobsDatabase
    from resources.models import Models
    from resources.wrapper_process import WrapperPrograms
    url, folder, wrappers = sys.argv[1:]
    cpu = Device(name="cpu", local="cpu")
    devices = Devices(jobs_database=JobsDatabase(url=url), lease_dir=folder + "/devices")
    programs = WrapperPrograms(wrappers_dir=wrappers, log_dir=folder + "/logs")
    models = Models(devices=devices, peaks_file=folder + "/peaks.json", cpu_limit_bytes=10**9)
    with models.use(programs.spec("fake_model", device=cpu, weights_bytes=1), device=cpu):
        print(*(child.pid for child in psutil.Process().children(recursive=True)), flush=True)
    {then}
    """
)


@pytest.mark.parametrize(
    ("then", "kill"), [("time.sleep(600)", True), ("", False), ("import os; os._exit(0)", False)]
)
def test_warm_models_end_with_their_worker_however_it_ends(database_url, tmp_path, then, kill):
    command = [
        sys.executable,
        "-c",
        WORKER.replace("{then}", then),
        database_url,
        str(tmp_path),
        str(WRAPPERS),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        pids = [int(pid) for pid in worker.stdout.readline().split()]
        assert len(pids) == 2
        if kill:
            worker.kill()
        worker.wait(30)
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), what="nothing is left")


def test_a_fork_does_not_touch_the_models_of_its_parent(models):
    with models.use(in_process(), device=CPU) as use:
        use.model.append(1)
    pid = os.fork()
    if pid == 0:
        found = list_standings()
        close_models()
        os._exit(len(found))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with models.use(in_process(), device=CPU) as use:
        assert use.was_warm
        assert use.model == [1]
