"""Cron entries that people make and change while others may: nobody's change is written over unseen.

What an entry holds is in `cron.py`; who may change what of it is left to those who ask.
"""

from __future__ import annotations

from typing import Any

import msgspec

from jobd.client import cron, cron_set, defaults, payload, scripts
from jobd.client.access import Access
from jobd.client.cron import CronEntry
from jobd.client.errors import InvalidCron, MalformedPayload

PASSING = ("last_enqueue_time", "since", "caught_up", "skip")
"""Fields that change by themselves, or with the time, and say nothing of what an entry is."""
DEFINING = (
    *("name", "klass", "cron", "description", "args", "message", "status", "date_as_argument", "active_job"),
    *("queue_name_prefix", "queue_name_delimiter", "symbolize_args", "overlap", "catch_up", "source"),
)
"""Fields that do, whether or not an entry has them."""


def add(access: Access, entry: CronEntry) -> bool:
    """Make an entry. False: there is one of this name, which stays as it is. Raises as any change."""
    now, fields = access.server_now(), cron.to_fields(entry)
    expression, last = fields.pop("cron"), cron_set.last_tick(entry, now)
    status = entry.status or "enabled"
    call = scripts.cron_edit(access.keys, entry.name, last, now, status, expression, fields, {})
    return access.change(call)


def change(access: Access, before: CronEntry, after: CronEntry) -> bool:
    """Write `after` in place of `before`, which was read from Redis; its status stays.

    False: somebody has changed or destroyed it since it was read, and nothing was written. What of the job is the same
    keeps its bytes. Raises `InvalidCron` for what an entry of Ruby cannot hold, and as any change.
    """
    now, fields = access.server_now(), changed_fields(before, after)
    last = cron_set.last_tick(after, now)
    call = scripts.cron_edit(access.keys, after.name, last, now, "", after.cron, fields, definition(before))
    return access.change(call)


def definition(entry: CronEntry) -> dict[str, str]:
    """The fields of an entry of Redis that say what it is, "" for those that it lacks."""
    kept = {name: value for name, value in entry.stored.items() if name not in PASSING}
    return dict.fromkeys(DEFINING, "") | kept


def changed_fields(before: CronEntry, after: CronEntry) -> dict[str, str]:
    """What is to be written for `after` in place of `before`, but for its expression. Raises `InvalidCron`."""
    if not before.source:
        return _for_ruby(before, after)
    fields = cron.to_fields(after)
    if _message(before) is not None and _job(before) == _job(after):
        del fields["args"], fields["message"]
    del fields["cron"]
    return fields


def _for_ruby(before: CronEntry, after: CronEntry) -> dict[str, str]:
    """The fields that sidekiq-cron reads, of which only those that differ are written."""
    check_for_ruby(before, after)
    fields = {"description": after.description} if after.description != before.description else {}
    if _job(before) == _job(after):
        return fields
    message = _message(before) or {}
    message |= {"args": list(after.args), "queue": after.queue or message.get("queue", defaults.QUEUE)}
    args = msgspec.json.encode(list(after.args)).decode()
    return {**fields, "args": args, "message": payload.encode(message).decode()}


def check_for_ruby(before: CronEntry, after: CronEntry) -> None:
    """Raise `InvalidCron` unless an entry that sidekiq-cron has written stays one that it reads."""
    place = f"cron entry {before.name!r} is one of sidekiq-cron"
    if _message(before) is None:
        raise InvalidCron(f"{place}, and its message is no job; save it anew there")
    if after.cron != before.cron and not is_read_by_ruby(after):
        raise InvalidCron(f"{place}, which does not read {after.cron!r}: give five or six fields, without LW")
    for name in ("job", "kwargs", "overlap", "catch_up", "date_as_argument"):
        if getattr(before, name) != getattr(after, name):
            label = "class" if name == "job" else name
            raise InvalidCron(f"{place}: its {label} is not changed here; change it there")


def _job(entry: CronEntry) -> bytes:
    """What an entry runs, so that 1 is told from 1.0 and from true."""
    return payload.encode({"job": entry.job, "args": entry.args, "kwargs": entry.kwargs, "queue": entry.queue})


def _message(entry: CronEntry) -> dict[str, Any] | None:
    try:
        return payload.decode(entry.stored.get("message", ""))
    except MalformedPayload:
        return None


def is_read_by_ruby(entry: CronEntry) -> bool:
    """Whether sidekiq-cron reads the expression of an entry."""
    schedule = entry.schedule
    return not schedule.period and "LW" not in schedule.fields.upper().split()
