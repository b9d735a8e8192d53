"""`jobd queues`: lists the queues, or pauses, resumes or clears one, or sets its alert limits."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from jobd.client.errors import JobdError
from jobd.supervisor import exits
from jobd.supervisor.commands import queue_limits
from jobd.supervisor.commands.address import Address, redis_options
from jobd.supervisor.commands.confirm import confirm, yes_option
from jobd.supervisor.commands.output import Style, emit, emit_json, json_option, plural
from jobd.supervisor.status_text import printable

if TYPE_CHECKING:
    from jobd.client.push import Client


@click.command()
@click.argument("action", type=click.Choice(["pause", "resume", "clear", "limit"]), required=False, metavar="[ACTION]")
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--wait", metavar="TIME", help="For limit: how long the next job may wait: 5m, none, default.")
@click.option("--size", metavar="JOBS", help="For limit: how many jobs may wait: 1000, none, default.")
@click.option("--clear", "clears", is_flag=True, help="For limit: the defaults again.")
@yes_option
@json_option
@redis_options
def queues(
    action: str | None,
    name: str | None,
    wait: str | None,
    size: str | None,
    clears: bool,
    yes: bool,
    as_json: bool,
    address: Address,
) -> None:
    """List the queues, or do something with one.

    \b
    jobd queues                 name, size, and how long the next job has waited
    jobd queues pause NAME      have no worker fetch from it, on any machine
    jobd queues resume NAME     have it fetched from again
    jobd queues clear NAME      delete all its jobs, after a question
    jobd queues limit           alert limits that are set, of each queue
    jobd queues limit NAME      those of one; with --wait and --size, set what is given; with --clear, the defaults
    """
    if action not in (None, "limit") and name is None:
        raise click.UsageError(f"{action} takes the name of a queue", click.get_current_context())
    given = queue_limits.given(action, name, {"wait": wait, "size": size}, clears=clears)
    with address.client() as client:
        if action == "limit":
            queue_limits.limit(client, name, given, as_json=as_json)
            return
        if action is None or name is None:
            _list(client, as_json)
        elif action == "clear":
            _clear(client, name, yes=yes, as_json=as_json)
        else:
            _pause(client, name, paused=action == "pause", as_json=as_json)


def _list(client: Client, as_json: bool) -> None:
    from jobd.client.queues import Queue
    from jobd.client.stats import Stats
    from jobd.supervisor.commands.cluster_views import queue_table

    found = Stats(client).queues
    notes = {each.name: Queue(each.name, client).pause_note for each in found if each.paused}
    pauses = {name: note for name, note in notes.items() if note is not None}
    if as_json:
        documents = [asdict(each) for each in found]
        for each in documents:
            pause = pauses.get(each["name"])
            each |= {"paused_by": pause.by, "paused_at": pause.at} if pause else {}
        emit_json({"queues": documents})
    else:
        emit(queue_table(found, pauses, time.time(), Style.of(sys.stdout)))


def _pause(client: Client, name: str, *, paused: bool, as_json: bool) -> None:
    from jobd.client import audit
    from jobd.client.queues import Queue

    queue = Queue(name, client)
    if paused and name not in _names(client):
        exits.complain(printable(f"there is no queue {name} yet; it is paused from its first job on"))
    with audit.of_command(queue.access, "pause" if paused else "resume", "queues", target=name) as counted:
        changed = queue.pause() if paused else queue.resume()
        counted({"moved": int(changed)})
    if as_json:
        emit_json({"queue": name, "paused": paused, "changed": changed})
    else:
        done, before = ("paused", "paused already") if paused else ("resumed", "not paused")
        emit(printable(f"{done} {name}" if changed else f"{name} was {before}"))


def _clear(client: Client, name: str, *, yes: bool, as_json: bool) -> None:
    from jobd.client import audit
    from jobd.client.queues import Queue

    queue = Queue(name, client)
    size = queue.size
    if not size and name not in (known := _names(client)):
        raise JobdError(printable(f"there is no queue {name}; there are {', '.join(known) or 'none'}"))
    confirm(printable(f"Delete {plural(size, 'job')} of the queue {name} for good?"), yes=yes)
    with audit.of_command(queue.access, "clear", "queues", target=name) as counted:
        removed = queue.clear()
        counted({"moved": removed})
    if as_json:
        emit_json({"queue": name, "deleted": removed})
    else:
        emit(printable(f"deleted {plural(removed, 'job')} of {name}"))


def _names(client: Client) -> list[str]:
    from jobd.client.queues import Queue

    return [queue.name for queue in Queue.all(client)]
