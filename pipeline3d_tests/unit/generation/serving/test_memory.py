"""What a device has: the machine's RAM or a container's share, and a GPU only where one can be asked."""

import sys

import psutil
import pytest

from pipeline3d.generation.serving import memory
from pipeline3d.generation.serving.memory import RamGauge, count_gpus, gauge_of, usable_bytes

MB = 1024**2


def write(folder, **files):
    for name, text in files.items():
        (folder / f"memory.{name}").write_text(str(text))
    return RamGauge(folder)


def test_the_machine_counts_where_no_container_limits_it(tmp_path):
    gauge = write(tmp_path, max="max\n", current=5)
    assert gauge.total_bytes() == psutil.virtual_memory().total
    assert 0 < gauge.free_bytes() <= gauge.total_bytes()
    assert RamGauge(tmp_path / "nowhere").total_bytes() == gauge.total_bytes()


def test_a_container_counts_with_its_limit_and_cached_files_as_free(tmp_path):
    gauge = write(tmp_path, max=100 * MB, current=80 * MB, stat=f"anon 1\ninactive_file {30 * MB}\n")
    assert gauge.total_bytes() == 100 * MB
    assert gauge.free_bytes() == 50 * MB
    assert write(tmp_path, max=MB, current=9 * MB, stat="").free_bytes() == 0


# What nvidia-ml-py offers, for a machine with two GPUs.
NVML = """
class NVMLError(Exception): ...
class Memory:
    total, free = 80_000_000_000, 30_000_000_000
def nvmlInit(): ...
def nvmlDeviceGetCount(): return 2
def nvmlDeviceGetHandleByIndex(index):
    if index not in (0, 1): raise NVMLError
    return index
def nvmlDeviceGetHandleByUUID(uuid):
    if uuid != "GPU-4f2a": raise NVMLError
    return uuid
def nvmlDeviceGetMemoryInfo(handle): return Memory
"""


@pytest.fixture
def nvml(tmp_path, monkeypatch):
    """Installs a module of that text for the test."""

    def install(text: str) -> None:
        (tmp_path / "pynvml.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "pynvml", raising=False)
        memory._load_nvml.cache_clear()

    yield install
    memory._load_nvml.cache_clear()
    sys.modules.pop("pynvml", None)


@pytest.mark.parametrize(("device", "known"), [("cuda:1", True), ("cuda:GPU-4f2a", True), ("cuda:2", False)])
def test_a_gpu_is_asked_by_its_number_or_its_uuid(nvml, device, known):
    nvml(NVML)
    gauge = gauge_of(device)
    assert count_gpus() == 2
    assert (gauge is not None) is known
    if gauge is not None:
        assert (gauge.total_bytes(), gauge.free_bytes()) == (80_000_000_000, 30_000_000_000)


def test_a_driver_that_is_missing_means_no_gpu(nvml):
    nvml(NVML.replace("def nvmlInit(): ...", "def nvmlInit(): raise NVMLError"))
    assert count_gpus() == 0
    assert gauge_of("cuda:0") is None


@pytest.mark.parametrize("device", ["cuda:99", "cuda:GPU-of-nobody", "tpu:0", ""])
def test_a_device_that_nobody_can_ask_has_no_gauge(device):
    assert gauge_of(device) is None


@pytest.mark.parametrize(
    ("total", "usable"), [(0, 0), (1000, 750), (8 * 1024 * MB, 7680 * MB), (80 * 1024 * MB, 76 * 1024 * MB)]
)
def test_a_part_of_the_device_stays_free(total, usable):
    assert usable_bytes(total) == usable
