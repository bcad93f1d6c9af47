"""How a command tells a person that something is wrong: a sentence and a hint, never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import click

from pipeline3d.errors import Pipeline3dError, SettingsError

P = ParamSpec("P")
T = TypeVar("T")


def explains_errors(command: Callable[P, T]) -> Callable[P, T]:
    """Print our own errors as sentences and exit with 1 (2 for wrong settings)."""

    @wraps(command)
    def wrapped(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return command(*arguments, **options)
        except Pipeline3dError as error:
            click.secho(error.message, fg="red", err=True)
            if error.hint:
                click.echo(error.hint, err=True)
            sys.exit(2 if isinstance(error, SettingsError) else 1)

    return wrapped
