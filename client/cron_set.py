"""The cron entries in Redis, for programs and for people: look at them, make, change and run them.

What an entry holds is in `cron.py`. Ticking is done by worker processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from jobd.client import clock, cron, cron_push, push, scripts
from jobd.client.access import Access
from jobd.client.cron import CatchUp, CronEntry, Overlap, Status
from jobd.client.cron_push import CronRun
from jobd.client.errors import InvalidCron
from jobd.client.keys import Keys
from jobd.client.scripts import Call

_PAGE = 100
"""Entries read in a round trip."""


class CronSet:
    """All cron entries of one Redis: those of the code, of configurations, of sidekiq-cron, and made by this class.

    `client` says which Redis [that of the pushes of this process]. Iterating reads page by page; an entry that is
    made or destroyed meanwhile may be missed, one may come twice. Methods that take a name return False or None when
    there is no such entry. All may raise `RedisUnavailable` or `RedisRefused`, a change also `ChangeOutcomeUnknown`.
    """

    def __init__(self, client: push.Client | None = None) -> None:
        self._access = Access(client or push.default_client())
        self._keys = self._access.keys

    def __iter__(self) -> Iterator[CronEntry]:
        return _page_by_page(lambda page: self._access.read(partial(_read_page, keys=self._keys, cursor=page)))

    def __len__(self) -> int:
        return int(self._access.read(lambda redis: redis.scard(self._keys.cron_jobs)))

    def __contains__(self, name: str) -> bool:
        return bool(self._access.read(lambda redis: redis.exists(self._keys.cron_entry(name))))

    def find(self, name: str) -> CronEntry | None:
        """Return the entry of this name, or None."""
        fields = self._access.read(lambda redis: redis.hgetall(self._keys.cron_entry(name)))
        return cron.from_fields(name, decoded(fields)) if fields else None

    def create(
        self,
        name: str,
        expression: str,
        job: object,
        *,
        timezone: str | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
        description: str = "",
        status: Status | None = None,
        overlap: Overlap = "allow",
        catch_up: CatchUp = "skip",
        date_as_argument: bool = False,
    ) -> CronEntry:
        """Make an entry, or change the one of this name; returns it as it stands in Redis.

        `job` is a job of this process, or the name of one. The rest is as in `jobd.Cron`; `status` None keeps that of
        an entry that exists. Raises InvalidCron.
        """
        written = {
            "cron": expression,
            "timezone": timezone,
            "class": job,
            "args": args,
            "kwargs": kwargs,
            "queue": queue,
            "description": description,
            "status": status,
            "overlap": overlap,
            "catch_up": catch_up,
            "date_as_argument": date_as_argument,
        }
        return self.save(cron.read(name, written))

    def save(self, entry: CronEntry) -> CronEntry:
        """Write an entry; one that was read may be changed by `dataclasses.replace`. Raises InvalidCron.

        One that stands in the code or in a configuration is set back when a worker process starts.
        """
        if entry.stored:
            checked = cron.read(entry.name, as_written(entry))
            entry = replace(checked, source=entry.source, stored=entry.stored)
        self._access.change(saving(self._keys, entry, self._now()))
        found = self.find(entry.name)
        if found is None:
            raise InvalidCron(f"cron entry {entry.name!r} was destroyed while it was saved")
        return found

    def load(self, entries: object, *, replace: bool = False) -> list[CronEntry]:
        """Write many entries in sidekiq-cron's form: a mapping from names to mappings, or a list of these with names.

        With `replace` those that an earlier `load` or `create` has made and that are missing now are destroyed.
        Nothing is written unless all can be used. Raises InvalidCron.
        """
        read = cron.read_all(entries)
        names = {entry.name for entry in read}
        saved = [self.save(entry) for entry in read]
        if replace:
            for other in [each.name for each in self if each.source == "api" and each.name not in names]:
                self.destroy(other)
        return saved

    def destroy(self, name: str) -> bool:
        """Delete an entry and what is known of its runs. One of the code or a configuration comes back with a start."""
        return self._access.write(lambda redis: destroy(redis, self._keys, name))

    def enable(self, name: str) -> bool:
        """Have an entry tick from now on. What was missed is not made up for, and no earlier job holds it up."""
        self._access.write(lambda redis: redis.delete(self._keys.cron_running(name)))
        return self._change(name, "enabled")

    def disable(self, name: str) -> bool:
        """Have an entry tick no more, until it is enabled. That outlasts restarts."""
        return self._change(name, "disabled")

    def skip_next(self, name: str, tick: float | None = None) -> float | None:
        """Have the next tick of an entry not run its job; returns that tick, in epoch seconds.

        Once: the tick after it runs, and it ends too when that tick is missed. With `tick` only if the next one is
        still that. None when there is no such entry, or no such tick to come: it is disabled, or has just run.
        Ticks of sidekiq-cron do not look.
        """
        entry, now = self.find(name), self._now()
        if entry is None or not entry.enabled or entry.problem is not None:
            return None
        found = entry.schedule.after(now)
        if not math.isfinite(found) or tick not in (None, found):
            return None
        call = scripts.cron_skip(self._keys, name, (cron.tick_name(found), found), entry.cron)
        return found if self._access.change(call) else None

    def unskip(self, name: str) -> bool:
        """Have the next tick of an entry run after all. False: none was to be skipped."""
        return bool(self._access.write(lambda redis: redis.hdel(self._keys.cron_entry(name), "skip")))

    def enqueue_now(self, name: str) -> str | None:
        """Push the job of an entry at once, also of a disabled one, and whether or not an earlier one has ended.

        Returns the jid; None when there is no such entry or client middleware stopped it. Raises InvalidCron for an
        entry that cannot be used.
        """
        entry = self.find(name)
        if entry is None:
            return None
        made = cron_push.attempt(self._keys, entry, None, self._now(), self._access.timestamps)
        return made.jid if self._access.change(made.call) == "PUSHED" else None

    def runs(self, name: str) -> list[CronRun]:
        """Return what became of the last 30 ticks of an entry, newest first."""
        noted = self._keys.cron_runs(name), self._keys.cron_history(name)
        runs, history = self._access.read(lambda redis: [redis.lrange(key, 0, -1) for key in noted])
        return cron_push.merged(runs, history)

    def next_time(self, name: str) -> float | None:
        """Return when an entry ticks next, in epoch seconds; None when it does not, or there is none."""
        entry = self.find(name)
        return None if entry is None else entry.next_time(clock.now())

    def last_time(self, name: str) -> float | None:
        """Return when an entry last pushed its job, in epoch seconds; None when it never has, or there is none."""
        entry = self.find(name)
        return None if entry is None else entry.last_time

    def _change(self, name: str, status: Status) -> bool:
        entry = self.find(name)
        if entry is None:
            return False
        now = self._now()
        last = last_tick(entry, now) if status == "enabled" and not entry.enabled else ""
        return self._access.change(scripts.cron_change(self._keys, name, last, now, {"status": status}))

    def _now(self) -> float:
        seconds, micros = self._access.read(lambda redis: redis.time())
        return float(seconds + micros / 1e6)


def read_entries(redis: Any, keys: Keys) -> Iterator[CronEntry]:
    """All entries, page by page. Raises redis-py's errors."""
    return _page_by_page(lambda page: _read_page(redis, keys, page))


def _page_by_page(read: Callable[[int], tuple[int, list[CronEntry]]]) -> Iterator[CronEntry]:
    """The entries of all pages, of which each tells where the next one is."""
    cursor, entries = read(0)
    yield from entries
    while cursor:
        cursor, entries = read(cursor)
        yield from entries


def _read_page(redis: Any, keys: Keys, cursor: int) -> tuple[int, list[CronEntry]]:
    """Some entries, and where the next are; 0 when these were the last."""
    cursor, members = redis.sscan(keys.cron_jobs, cursor, count=_PAGE)
    pipeline = redis.pipeline(transaction=False)
    for member in members:
        pipeline.hgetall(member)
    found = pipeline.execute(raise_on_error=False) if members else []
    prefix, entries = keys.cron_entry("").encode(), list[CronEntry]()
    for member, fields in zip(members, found, strict=True):
        if isinstance(fields, dict) and fields and member.startswith(prefix):
            name = member.removeprefix(prefix).decode("utf-8", "replace")
            entry = cron.from_fields(name, decoded(fields))
            whole = prefix + name.encode() == member
            entries.append(entry if whole else replace(entry, problem="its name is no UTF-8"))
    return cursor, entries


def saving(keys: Keys, entry: CronEntry, now: float, **more: str) -> Call[bool]:
    """The call that writes an entry, `more` being further fields."""
    fields = cron.to_fields(entry) | more
    expression = fields.pop("cron")
    return scripts.cron_save(keys, entry.name, last_tick(entry, now), now, entry.status or "", expression, fields)


def destroy(redis: Any, keys: Keys, name: str) -> bool:
    """Delete all keys of an entry. False: there was none. Raises redis-py's errors."""
    # No transaction: a server whose memory is full refuses even those that only delete.
    pipeline = redis.pipeline(transaction=False)
    pipeline.srem(keys.cron_jobs, keys.cron_entry(name))
    noted = (keys.cron_enqueued, keys.cron_history, keys.cron_runs, keys.cron_running)
    pipeline.delete(keys.cron_entry(name), *(key(name) for key in noted))
    return any(pipeline.execute())


def last_tick(entry: CronEntry, now: float) -> str:
    """The name of the tick that must not be run any more when an entry begins to tick at `now`."""
    if entry.problem is not None:
        return cron.tick_name(now)
    ticks, _ = entry.schedule.latest(now - 61, now, 1)
    return cron.tick_name(ticks[0] if ticks else now)


def as_written(entry: CronEntry) -> dict[str, Any]:
    """An entry as people write it, without its name."""
    keys = ("cron", "args", "kwargs", "queue", "description", "status", "overlap", "catch_up", "date_as_argument")
    ruby = ("active_job", "symbolize_args", "queue_name_prefix", "queue_name_delimiter")
    return {"class": entry.job, **{key: getattr(entry, key) for key in (*keys, *ruby)}}


def decoded(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    """The fields of an entry as text."""
    return {text(name): text(value) for name, value in fields.items()}


def text(raw: bytes) -> str:
    """What Redis holds, as text; bytes that are no UTF-8 are kept."""
    return raw.decode("utf-8", "surrogateescape")
