"""`jobd queues limit`: shows the alert limits of queues, or sets those of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jobd.client.errors import InvalidArguments
from jobd.supervisor import exits
from jobd.supervisor.commands.output import emit, emit_json
from jobd.supervisor.status_text import printable

if TYPE_CHECKING:
    from jobd.client.push import Client
    from jobd.client.queue_limits import Kind, Limits


def given(action: str | None, name: str | None, texts: dict[str, str | None], *, clears: bool) -> dict[str, Any]:
    """The limits that the options ask for. Raises UsageError, also where the options belong to no limit."""
    from jobd.client.queue_limits import KINDS, limit_in

    ctx = click.get_current_context()
    named: list[Kind] = [kind for kind in KINDS if texts[kind] is not None]
    if (named or clears) and (action != "limit" or name is None):
        raise click.UsageError("--wait, --size and --clear are for `jobd queues limit NAME`", ctx)
    if named and clears:
        raise click.UsageError("--clear sets both limits to the default; give it alone", ctx)
    try:
        return dict.fromkeys(KINDS) if clears else {kind: limit_in(kind, texts[kind] or "") for kind in named}
    except InvalidArguments as error:
        raise click.UsageError(f"--{error}", ctx) from error


def limit(client: Client, name: str | None, changed: dict[str, Any], *, as_json: bool) -> None:
    """Show the limits of one queue, or of each that has any; those in `changed` are set before."""
    from jobd.client.access import Access
    from jobd.client.queue_limits import all_limits
    from jobd.client.queues import Queue

    if name is None:
        _show_all(all_limits(Access(client)), as_json=as_json)
        return
    queue = Queue(name, client)
    found = _set(queue, changed) if changed else queue.limits
    if as_json:
        emit_json({"queue": name, **_document(found)})
    else:
        emit(printable(f"{name}: {_told(found)}"))


def _set(queue: Any, changed: dict[str, Any]) -> Limits:
    from jobd.client import audit
    from jobd.client.queue_limits import KINDS, limit_text

    said = ", ".join(f"{kind} {limit_text(kind, changed[kind])}" for kind in KINDS if kind in changed)
    with audit.of_command(queue.access, "limits", "queues", target=f"{queue.name}: {said}"):
        found: Limits = queue.set_limits(**changed)
    if found != type(found)() and queue.name not in [each.name for each in type(queue).all(queue.access.client)]:
        exits.complain(printable(f"there is no queue {queue.name} yet; its limits hold from its first job on"))
    return found


def _show_all(found: dict[str, Limits], *, as_json: bool) -> None:
    if as_json:
        emit_json({"limits": [{"queue": name, **_document(found[name])} for name in sorted(found)]})
    else:
        lines = [printable(f"{name}: {_told(found[name])}") for name in sorted(found)]
        emit("\n".join(lines) or "no queue has alert limits of its own")


def _told(limits: Limits) -> str:
    from jobd.client.queue_limits import KINDS, limit_text

    told = ", ".join(f"{kind} {limit_text(kind, getattr(limits, kind))}" for kind in KINDS)
    return told + (f"; damaged, so the default holds: {', '.join(limits.damaged)}" if limits.damaged else "")


def _document(limits: Limits) -> dict[str, Any]:
    return {"wait": limits.wait, "size": limits.size, "damaged": list(limits.damaged)}
