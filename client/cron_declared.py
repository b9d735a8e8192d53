"""Entries of the cron that stand in the code, beside the jobs of this process. Workers write them into Redis."""

from __future__ import annotations

import threading

from jobd.client import cron
from jobd.client.cron import Cron, CronEntry
from jobd.client.errors import InvalidCron, JobDefinitionError
from jobd.client.registry import Handler

_declared: dict[str, list[CronEntry]] = {}
_lock = threading.Lock()


def declare(handler: Handler, given: object, timezone: object) -> None:
    """Note when a job is to run: an expression, a `Cron`, or a list of these. Raises JobDefinitionError."""
    place = str(handler.origin)
    if given is None:
        raise JobDefinitionError(f"{place}: timezone={timezone!r} without cron; give cron= or remove it")
    entries = []
    for each in given if isinstance(given, list | tuple) else [given]:
        try:
            entries.append(cron.of_handler(handler, _as_cron(each, timezone)))
        except InvalidCron as error:
            raise JobDefinitionError(f"{place}: {error}") from None
    with _lock:
        taken = {entry.name: job for job, others in _declared.items() if job != handler.name for entry in others}
        names = [entry.name for entry in entries]
        for name in names:
            if name in taken or names.count(name) > 1:
                other = f"of {taken[name]}" if name in taken else "of the same job"
                raise JobDefinitionError(f"{place}: the cron entry {name!r} is also one {other}; give each a name=")
        _declared[handler.name] = entries


def entries() -> list[CronEntry]:
    """The entries of all jobs of this process."""
    return [entry for declared in _declared.values() for entry in declared]


def forget(job: str) -> None:
    """Take back what the job named so has declared."""
    with _lock:
        _declared.pop(job, None)


def _as_cron(given: object, timezone: object) -> Cron:
    if isinstance(given, Cron):
        if timezone is not None:
            raise InvalidCron(f"timezone={timezone!r} stands beside a jobd.Cron; give it to that")
        return given
    if isinstance(given, str):
        return Cron(given, timezone=timezone)  # type: ignore[arg-type]  # judged when it is read
    raise InvalidCron(f'cron={given!r}: give an expression such as "0 8 * * *", a jobd.Cron, or a list of these')
