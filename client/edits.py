"""A job run again with other arguments, as a job of its own; each of the two names the other.

What may be edited, and by whom, is left to those who ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobd.client import moves, scripts
from jobd.client import payload as wire
from jobd.client.draft import read_item
from jobd.client.errors import MalformedPayload
from jobd.client.options import INTERNAL
from jobd.client.payload import Timestamps
from jobd.client.queues import QueueEntry
from jobd.client.sets import SetEntry

LEFT = INTERNAL - {"class", "args"}
"""What a job does not take over from the one that it was made of: its id, its times, its failures."""


def run_edited(
    entry: SetEntry | QueueEntry, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None, *, delete: bool
) -> str | None:
    """Push a job with the class, queue and options of `entry`, but with these arguments; returns its jid.

    In the same step `entry` is removed with `delete`, and notes the jid in `edited_into` without. None: it was gone,
    and nothing was pushed. Raises `InvalidArguments`, `MalformedPayload` when the entry is no job, and as any change.
    """
    if entry.malformed:
        raise MalformedPayload(f"the entry is no job: {entry.problem}; it can be deleted")
    access, jid = entry.owner.access, wire.new_jid()
    queue, made = edited_job(entry.payload, args, kwargs or {}, jid, access.now(), access.timestamps)
    kept = b"" if delete else wire.encode({**entry.payload, "edited_into": jid})
    if kept and isinstance(entry, SetEntry):
        entry.owner.expect(entry.score, kept)
    call = scripts.edit(access.keys, entry.owner.key, (entry.raw, kept), queue, made)
    return jid if access.change(call) else None


def edited_job(
    payload: Mapping[str, Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    jid: str,
    now: float,
    timestamps: Timestamps,
) -> tuple[str, bytes]:
    """The queue and the bytes of the job that is made of another one at `now` (epoch seconds).

    Raises `InvalidArguments` or `InvalidPayload` naming what cannot travel, `MalformedPayload` without a queue.
    """
    call = read_item({"class": payload.get("class"), "args": list(args), "kwargs": dict(kwargs)}).fields
    made = {name: value for name, value in payload.items() if name not in LEFT} | dict(call) | {"jid": jid}
    if isinstance(former := payload.get("jid"), str) and former:
        made["edited_from"] = former
    return moves.as_queued(made, now, timestamps)
