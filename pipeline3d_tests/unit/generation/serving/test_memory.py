"""What a device has: the machine's RAM or a container's share, and a GPU only where one can be asked."""

import psutil
import pytest

from pipeline3d.generation.serving.memory import RamGauge, gauge_of, usable_bytes

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


@pytest.mark.parametrize("device", ["cuda:99", "cuda:GPU-of-nobody", "tpu:0", ""])
def test_a_device_that_nobody_can_ask_has_no_gauge(device):
    assert gauge_of(device) is None


@pytest.mark.parametrize(
    ("total", "usable"), [(0, 0), (1000, 750), (8 * 1024 * MB, 7680 * MB), (80 * 1024 * MB, 76 * 1024 * MB)]
)
def test_a_part_of_the_device_stays_free(total, usable):
    assert usable_bytes(total) == usable
