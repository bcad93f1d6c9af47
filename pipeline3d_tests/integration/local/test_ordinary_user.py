"""The same as an ordinary user: when the tests run as root, in a child that is `nobody`."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
from pathlib import Path
from pipeline3d.local.data_lock import DataLock
from pipeline3d.local.leftovers import find_processes_of
from pipeline3d.local.programs import plan_servers
from pipeline3d.local.stack import Stack
from pipeline3d.local.state import load_or_create_state

data = Path(sys.argv[1]) / ".pipeline3d"
assert os.geteuid() != 0
for _ in range(2):
    with DataLock(data) as lock, Stack(lock) as stack:
        state = load_or_create_state(data)
        both = frozenset({"postgres", "objects"})
        servers = plan_servers(state, data_directory=data, embedded=both, origins=[], checkout=Path("/"))
        stack.start(servers, on_ready=lambda name, seconds: print(name, "ready", flush=True))
    assert find_processes_of(data) == []
print(sorted({path.stat().st_uid for path in data.rglob("*")}) == [os.geteuid()])
"""
# The interpreter may lie below a folder that only root enters (pyenv in /root): then the child may
# look through folders, which is all that this capability allows.
BECOME_NOBODY = """
import os, sys
from pathlib import Path
from pipeline3d.local.privileges import Capability, RunAs, become
become(RunAs(uid=65534, gid=65534, capability=Capability.DAC_READ_SEARCH))
os.environ["HOME"] = "/nonexistent"
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.fixture
def open_directory():
    """A folder that everybody may enter; pytest's own are closed to other users."""
    path = Path(tempfile.mkdtemp(prefix="pipeline3d-test-"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def test_both_servers_run_twice_as_an_ordinary_user(open_directory):
    (open_directory / "script.py").write_text(SCRIPT)
    command = [str(open_directory / "script.py"), str(open_directory)]
    if os.geteuid() == 0:
        command = ["-c", BECOME_NOBODY, *command]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=60, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ready") == 4
    assert done.stdout.splitlines()[-1] == "True", "every file belongs to the user"
    assert open_directory.stat().st_mode & 0o777 == 0o777, "the folder around the data is not touched"
