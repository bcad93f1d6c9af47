"""Which user a server may run as, and how to become it without touching the system.

PostgreSQL refuses uid 0. As root we therefore run it under an existing unprivileged uid; no user is
made and no permission outside the data directory changes. Where that uid could not even reach the
files (a checkout under a 0700 home, say), it keeps the one capability that lets it look through
folders, and nothing else.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from pipeline3d.errors import ServerFailure

_PR_SET_SECUREBITS = 28
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
# Without this bit access(2) ignores the capability for a real uid other than 0, and PostgreSQL,
# which tests its own binaries with access(2), calls them invalid.
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAPABILITY_VERSION_3 = 0x20080522
_FALLBACK_UID = 65534  # nobody, on every Linux


class Capability(IntEnum):
    """The two that can open closed folders, the weaker one last."""

    DAC_OVERRIDE = 1
    DAC_READ_SEARCH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAs:
    """An unprivileged user, and the capability that it needs to reach its files, if any."""

    uid: int
    gid: int
    capability: Capability | None = None


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityWord(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def choose_user(data_directory: Path, executables: Path) -> RunAs | None:
    """Who runs the server: ourselves (None) unless we are root, else an unprivileged user.

    Whoever owns the data already; else the owner of the checkout around it, when that is an ordinary
    user, so that a start with sudo leaves files which this user can remove; else nobody.
    """
    if os.geteuid() != 0:
        return None
    entry = _find_ordinary_owner([data_directory, *data_directory.resolve().parents[:2]])
    uid, gid = (entry.pw_uid, entry.pw_gid) if entry else (_FALLBACK_UID, _FALLBACK_UID)
    return RunAs(uid=uid, gid=gid, capability=_plan_capability(uid, gid, data_directory, executables))


def _find_ordinary_owner(directories: Iterable[Path]) -> pwd.struct_passwd | None:
    owners = [directory.stat().st_uid for directory in directories if directory.exists()]
    for owner in (*owners, _FALLBACK_UID):
        try:
            if owner != 0:
                return pwd.getpwuid(owner)
        except KeyError:  # a uid of another container or host, without a name here
            continue
    return None


def _plan_capability(uid: int, gid: int, data_directory: Path, executables: Path) -> Capability | None:
    """The weakest capability with which this user reaches its data and runs its binaries."""
    programs = [path for path in executables.iterdir() if path.is_file()]
    if any(not path.stat().st_mode & 0o001 for path in programs):  # only OVERRIDE lets it execute them
        needed = [Capability.DAC_OVERRIDE]
    elif not all(_can_pass(uid, gid, path) for path in (data_directory, executables)):
        needed = [Capability.DAC_READ_SEARCH, Capability.DAC_OVERRIDE]
    else:
        return None
    held = _permitted_capabilities()
    for capability in needed:
        if held >> capability & 1:
            return capability
    raise ServerFailure(
        f"User {uid} cannot reach {data_directory} or {executables}; this root may not lend it the right.",
        code="data_directory_unreachable",
        hint="Run as an ordinary user, or use a data directory and an environment that everyone may enter.",
    )


def _can_pass(uid: int, gid: int, path: Path) -> bool:
    """Whether plain permission bits let this user enter every folder above `path` and `path` itself."""
    resolved = path.resolve()
    folders = [folder for folder in (resolved, *resolved.parents) if folder.exists()]
    return all(may_enter(uid, gid, folder.stat()) for folder in folders)


def may_enter(uid: int, gid: int, folder: os.stat_result) -> bool:
    """What the permission bits of one folder say to this user: the first class that fits decides."""
    bit = 0o100 if folder.st_uid == uid else 0o010 if folder.st_gid == gid else 0o001
    return bool(folder.st_mode & bit)


def _permitted_capabilities() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapPrm:"):
            return int(line.split()[1], 16)
    return 0


def become(user: RunAs) -> None:
    """Turn this process into `user` for good; the capability survives the next exec, nothing else does."""
    libc = ctypes.CDLL(None, use_errno=True)
    if user.capability is not None:
        _require(libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "securebits")
    os.setgroups([])
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    if user.capability is None:
        return
    bit = 1 << user.capability
    words = (_CapabilityWord * 2)(_CapabilityWord(bit, bit, bit), _CapabilityWord(0, 0, 0))
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    _require(libc.capset(ctypes.byref(header), ctypes.byref(words)), "capset")
    _require(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, int(user.capability), 0, 0), "ambient")


def _require(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
