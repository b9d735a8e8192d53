"""`jobd processes`: the worker processes of the cluster, as their heartbeats show them, what their threads do, and how
a job that runs in one of them is cancelled."""

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
@click.argument("action", type=click.Choice(["stacks", "cancel"]), required=False, metavar="[ACTION]")
@click.argument("target", required=False, metavar="[IDENTITY|JID]")
@json_option
@redis_options
def processes(action: str | None, target: str | None, as_json: bool, address: Address) -> None:
    """List the worker processes on all machines, Sidekiq's included, show what the threads of one do, or cancel a job.

    \b
    jobd processes
    jobd processes -C config.yml --json
    jobd processes stacks IDENTITY      asks a process of jobd, and waits for its next heartbeat
    jobd processes cancel JID           has a running job interrupted, and waits until it was
    """
    from jobd.client.processes import ProcessSet
    from jobd.supervisor.commands.cluster_views import process_document, process_table

    if action is not None and target is None:
        wanted = "the identity of a process" if action == "stacks" else "the id of a running job"
        raise click.UsageError(f"{action} takes {wanted}", click.get_current_context())
    with address.client() as client:
        cluster = ProcessSet(client)
        if target is not None:
            act = _stacks if action == "stacks" else _cancel
            act(cluster, target, as_json=as_json)
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


def _cancel(cluster: ProcessSet, jid: str, *, as_json: bool) -> None:
    """Ask, and look until its process has interrupted it."""
    from jobd.client import audit
    from jobd.client.processes import WorkSet

    works = WorkSet(cluster.access.client)
    with audit.of_command(cluster.access, "cancel", "processes", target=jid) as counted:
        work = works.find(jid)
        if work is None or not works.cancel(jid, work.process):
            raise JobdError(f"{jid} does not run, as the heartbeats show: it has ended, or began some seconds ago")
        counted({"moved": 1})
    deadline = time.monotonic() + ANSWER_WITHIN
    while (left := next((each for each in works.of([work.process]) if each.entry.jid == jid), None)) == work:
        if time.monotonic() > deadline:
            raise JobdError(f"{work.process} has not answered within {ANSWER_WITHIN:g} s; look whether it still beats")
        time.sleep(_LOOK_EVERY)
    state = "runs" if left else "dead" if _is_dead(cluster, jid) else "ended"
    said = {
        "runs": "was interrupted, and has not ended yet: a call that waits is not cut short",
        "dead": "was interrupted, and is in the dead set",
        "ended": "has ended",
    }[state]
    if as_json:
        emit_json({"jid": jid, "state": state})
    else:
        emit(printable(f"{jid} {said}"))


def _is_dead(cluster: ProcessSet, jid: str) -> bool:
    from jobd.client.sets import DeadSet

    return any(entry.jid == jid for entry in DeadSet(cluster.access.client).page(0, 100, reverse=True))


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
