"""Asking before something is destroyed or overwritten, and refusing where nobody can be asked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from jobd.supervisor import exits


def yes_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--yes` to a command that asks."""
    return click.option("--yes", is_flag=True, help="Do not ask; needed where there is no terminal.")(command)


def confirm(question: str, *, yes: bool) -> None:
    """Return when the answer is yes, or was given with `--yes`.

    Raises click.Abort when it is no, and click.UsageError when standard input is no terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        ctx = click.get_current_context()
        raise click.UsageError(f"{question} There is no terminal to answer on: give --yes", ctx)
    if not click.confirm(question, err=True):
        exits.complain("nothing was changed")
        raise click.Abort
