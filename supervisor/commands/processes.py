"""`jobd processes`: the worker processes of the cluster, as their heartbeats show them, and what their threads do."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from jobd.client import defaults
from jobd.client.errors import JobdError
from jobd.supervisor.commands.address import Address, redis_options
from jobd.supervisor.commands.output import Style, emit, emit_json, json_option
from jobd.supervisor.status_text import printable

if TYPE_CHECKING:
    from jobd.client.processes import ProcessSet
    from jobd.client.stacks import Stacks

ANSWER_WITHIN = float(defaults.HEARTBEAT_TTL)
"""Seconds in which a process answers, with its next heartbeat, unless it is gone."""
_LOOK_EVERY = 0.1


@click.command()
@click.argument("action", type=click.Choice(["stacks"]), required=False, metavar="[ACTION]")
@click.argument("identity", required=False, metavar="[IDENTITY]")
@json_option
@redis_options
def processes(action: str | None, identity: str | None, as_json: bool, address: Address) -> None:
    """List the worker processes on all machines, Sidekiq's included, or show what the threads of one do.

    \b
    jobd processes
    jobd processes -C config.yml --json
    jobd processes stacks IDENTITY      asks a process of jobd, and waits for its next heartbeat
    """
    from jobd.client.processes import ProcessSet
    from jobd.supervisor.commands.cluster_views import process_document, process_table

    if action is not None and identity is None:
        raise click.UsageError(f"{action} takes the identity of a process", click.get_current_context())
    with address.client() as client:
        cluster = ProcessSet(client)
        if identity is not None:
            _stacks(cluster, identity, as_json=as_json)
            return
        found, now = list(cluster), cluster.access.server_now()
    if as_json:
        emit_json({"processes": [process_document(process) for process in found]})
    else:
        emit(process_table(found, now, Style.of(sys.stdout)))


def _stacks(cluster: ProcessSet, identity: str, *, as_json: bool) -> None:
    if not cluster.ask_stacks(identity):
        raise JobdError(f"there is no process {identity}; `jobd processes` lists those that there are")
    deadline = time.monotonic() + ANSWER_WITHIN
    while (found := cluster.stacks(identity)) is None:
        if time.monotonic() > deadline:
            raise JobdError(f"{identity} has not answered within {ANSWER_WITHIN:g} s; look whether it still beats")
        time.sleep(_LOOK_EVERY)
    if as_json:
        emit_json(asdict(found))
    else:
        emit("\n".join(printable(line) for line in _lines(found)))


def _lines(found: Stacks) -> Iterator[str]:
    """A block for each thread, as a traceback shows it."""
    for thread in found.threads:
        job = f"  {thread.job} {thread.jid}, for {found.at - thread.since:.1f} s" if thread.jid else ""
        yield f"{thread.name} ({thread.thread}){job}"
        if thread.left_out:
            yield f"  … {thread.left_out} outer calls"
        for frame in thread.frames:
            yield f'  File "{frame.file}", line {frame.line}, in {frame.function}'
            if frame.source:
                yield f"    {frame.source}"
        yield ""
    if found.left_out:
        yield f"… and {found.left_out} more threads"
