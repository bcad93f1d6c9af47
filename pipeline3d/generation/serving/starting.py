"""Starts wrappers, and asks them what they are without loading anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline3d.generation.serving.capped_log import CappedLog
from pipeline3d.generation.serving.events import PROTOCOL, MalformedEvent, parse_object
from pipeline3d.generation.serving.failures import error_of_exit, make_error
from pipeline3d.generation.serving.one_shot_wrapper import OneShotWrapper
from pipeline3d.generation.serving.process import KeptProcess, LineTooLong, OutputEnded
from pipeline3d.generation.serving.resident_wrapper import ResidentWrapper
from pipeline3d.generation.serving.wrapper import Wrapper, WrapperProgram

Mode = Literal["resident", "one_shot"]
DESCRIBED_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a wrapper says of itself. `environment` names the variables that it needs beside the usual."""

    name: str
    version: str
    kind: str
    modes: tuple[str, ...]
    environment: tuple[str, ...] = ()
    ready: bool = False
    reason: str | None = None
    needs: tuple[str, ...] = ()


def start_wrapper(program: WrapperProgram, log_path: Path, *, mode: Mode = "resident") -> Wrapper:
    """Start a program that stays, and wait until it is ready; one that runs once starts with its run."""
    kinds: dict[Mode, type[Wrapper]] = {"resident": ResidentWrapper, "one_shot": OneShotWrapper}
    return kinds[mode](program, log_path)


def describe(program: WrapperProgram, log_path: Path) -> Description:
    """Ask a wrapper what it is. Raises our error where it does not answer as it should."""
    log = CappedLog(log_path, limit=program.log_limit)
    process = KeptProcess(
        [*program.command, "--describe"],
        environment=program.environment,
        log=log,
        limits=program.limits,
        folder=program.folder,
    )
    try:
        line = process.next_line(DESCRIBED_WITHIN_S)
        if line is None:
            raise make_error("script_hung", stderr_tail=log.tail())
        return parse_description(line)
    except OutputEnded:
        exit_code = process.wait(DESCRIBED_WITHIN_S)
        process.end()
        raise error_of_exit(exit_code or 0, stderr_tail=log.tail()) from None
    except (LineTooLong, MalformedEvent) as error:
        raise make_error("wrapper_fault", f"It does not describe itself: {error}.") from error
    finally:
        process.end()
        log.close()


def parse_description(line: bytes) -> Description:
    """Read what `--describe` writes. Raises MalformedEvent."""
    found = parse_object(line)
    if found.get("protocol") != PROTOCOL:
        raise MalformedEvent(f"protocol {json.dumps(found.get('protocol'))[:40]}, not {PROTOCOL}")
    reason = found.get("reason")
    return Description(
        name=_text(found, "name"),
        version=_text(found, "version"),
        kind=_text(found, "kind"),
        modes=_texts(found, "modes"),
        environment=_texts(found, "environment"),
        ready=found.get("ready") is True,
        reason=None if reason is None else _text(found, "reason"),
        needs=_texts(found, "needs"),
    )


def _text(found: dict[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str):
        raise MalformedEvent(f"{name} is not a text")
    return value


def _texts(found: dict[str, Any], name: str) -> tuple[str, ...]:
    value = found.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise MalformedEvent(f"{name} is not a list of texts")
    return tuple(value)
