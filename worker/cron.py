"""Has the cron's ticks run: writes the entries of code and configuration into Redis, then pushes their jobs on time.

Only the process that promotes for the cluster ticks, to save the others the trouble. Nothing depends on it: a tick is
claimed and its job pushed in one script, so that any number of processes could tick, and sidekiq-cron may beside them.
What is due is decided in `cron_due.py`, what is pushed in `jobd.client.cron_push`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from redis.exceptions import RedisError, ResponseError

from jobd.client import cron, cron_declared, cron_push, cron_set, defaults, scripts
from jobd.client.connection import Connector, is_readonly
from jobd.client.cron import CronEntry
from jobd.client.cron_expression import Schedule
from jobd.client.errors import InvalidCron, RedisUnavailable
from jobd.client.keys import Keys
from jobd.client.payload import Timestamps
from jobd.client.scripts import Call, CronOutcome, T
from jobd.worker import log
from jobd.worker.clock import ServerClock
from jobd.worker.cron_due import Reached, due

_IDLE = 60.0
"""Seconds after which a process that does not tick looks after the jobs that it runs."""
_AFTER_FAILURE = 1.0
_DEFINITION = (*cron_push.EXPECTED, "since")


@dataclass
class _Followed:
    """An entry that ticks, and how far it has come."""

    entry: CronEntry
    schedule: Schedule
    reached: Reached
    next: float = -math.inf


class CronTicker:
    """Called by `Periodic`; `hurry` it when `leads` comes to be true.

    `definitions` are the entries of the configuration; those of the code are asked for. `app` is the name under which
    they are written, and `prune` has entries of that name destroyed that are defined no more.
    """

    def __init__(
        self,
        connector: Connector,
        keys: Keys,
        clock: ServerClock,
        *,
        leads: Callable[[], bool],
        definitions: Sequence[CronEntry] = (),
        app: str = "",
        prune: bool = False,
        timestamps: Timestamps = "s",
        renew: Callable[[], None] = lambda: None,
    ) -> None:
        self._connector, self._keys, self._clock = connector, keys, clock
        self._leads, self._renew = leads, renew
        self._timestamps: Timestamps = timestamps
        self._definitions, self._app, self._prune = definitions, app, prune
        self._registered = False
        self._followed: dict[str, _Followed] = {}
        self._disabled: set[str] = set()
        self._read_at, self._stale = -math.inf, False
        self._told, self._failures, self._reports = log.Sparingly(math.inf), log.Sparingly(60.0), log.Reports()

    def tick(self) -> float:
        """Do what is due; returns seconds until the next look. Raises redis-py's errors and RedisUnavailable."""
        try:
            self._registered = self._registered or self.register(self._clock.now())
            self._renew()
            if not self._leads():
                self._followed, self._disabled, self._read_at = {}, set(), -math.inf
                return _IDLE
            now = self._clock.now()
            return max(0.0, self.run(now) - (self._clock.now() - now))
        except ResponseError as error:
            if is_readonly(error):
                raise
            self._reports.tell(f"{self._keys.cron_jobs}: {error}")
            return _AFTER_FAILURE

    def register(self, now: float) -> bool:
        """Write the entries of code and configuration, where they are not there already; False: not all could be."""
        defined = {entry.name: entry for entry in (*cron_declared.entries(), *self._definitions)}
        written, whole = [], True
        for entry in defined.values():
            try:
                if self._register(cron.bound(entry), now):
                    written.append(entry.name)
            except InvalidCron as error:  # another try would not help
                self._failed(entry, error)
            except ResponseError as error:
                if is_readonly(error):
                    raise
                whole = self._failed(entry, error)
        if written:
            log.event("cron.registered", entries=len(written), names=", ".join(sorted(written))[:200])
        if self._app and whole:
            self._look_for_orphans(defined)
        return whole

    def _register(self, entry: CronEntry, now: float) -> bool:
        redis: Any = self._connector.client()
        stored = cron_set.decoded(redis.hgetall(self._keys.cron_entry(entry.name)))
        more = {"app": self._app, "defined_status": entry.status or ""}
        if all(stored.get(key) == value for key, value in (cron.to_fields(entry) | more).items()):
            return False
        if stored.get("defined_status") == more["defined_status"]:
            # What an operator has switched stays so, until the definition says something else.
            entry = replace(entry, status=None)
        self._send(cron_set.saving(self._keys, entry, now, **more))
        return True

    def run(self, now: float) -> float:
        """Do what is due at `now` (epoch seconds); returns seconds until the next look."""
        if self._stale or now - self._read_at >= defaults.CRON_REREAD:
            self._read(now)
        failed = False
        for followed in list(self._followed.values()):
            if followed.next <= now:
                failed |= not self._done(followed, now)
        if failed or self._stale:
            return _AFTER_FAILURE if failed else 0.0
        nexts = (followed.next for followed in self._followed.values())
        return max(0.0, min(self._read_at + defaults.CRON_REREAD, *nexts, math.inf) - now)

    def _done(self, followed: _Followed, now: float) -> bool:
        """Whether an entry could be served; what cannot is tried again."""
        entry = followed.entry
        try:
            known = self._serve(followed, now)
        except (RedisError, RedisUnavailable, OSError) as error:
            if not isinstance(error, ResponseError) or is_readonly(error):
                raise
            return self._failed(entry, error)
        except Exception as error:  # of client middleware, too: the other entries go on
            return self._failed(entry, error)
        if known:
            followed.reached, followed.next = Reached(now, now), followed.schedule.after(now)
        else:
            followed.next = math.inf
            self._stale = True
        return True

    def _failed(self, entry: CronEntry, error: Exception) -> bool:
        if self._failures.allows(f"{entry.name}: {error}"):
            log.event("cron.failed", level=log.ERROR, entry=entry.name, error=f"{type(error).__name__}: {error}")
        return False

    def _serve(self, followed: _Followed, now: float) -> bool:
        """Push or note what is due. False when the entry is not what it was when it was read."""
        entry = followed.entry
        decided = due(followed.schedule, followed.reached, now, entry.catch_up)
        missed = decided.missed
        if decided.late is not None:
            outcome = self._send(cron_push.give_up(self._keys, entry, decided.late, now, missed))
            if outcome == "CHANGED":
                return False
            if outcome == "SKIPPED":
                _tell(entry, decided.late, outcome, None)
            given_up = {"NOTED": missed + 1, "SKIPPED": missed}.get(outcome)
            if given_up:
                _tell_of_missed(entry, given_up)
            missed = 0
        for tick in decided.run:
            made = cron_push.attempt(self._keys, entry, tick, now, self._timestamps, missed=missed)
            outcome = self._send(made.call)
            if outcome == "CHANGED":
                return False
            if missed and outcome != "TAKEN":
                _tell_of_missed(entry, missed)
            missed = 0
            _tell(entry, tick, outcome, made.jid)
        return True

    def _read(self, now: float) -> None:
        """Learn which entries there are."""
        redis: Any = self._connector.client()
        followed: dict[str, _Followed] = {}
        disabled = set()
        for entry in cron_set.read_entries(redis, self._keys):
            if not entry.enabled:
                disabled.add(entry.name)
            elif self._usable(entry):
                known = self._followed.get(entry.name)
                if known is None or _definition(known.entry) != _definition(entry):
                    known = self._begun(entry, now)
                if known is not None:
                    followed[entry.name] = known
        self._followed, self._disabled, self._read_at, self._stale = followed, disabled, now, False

    def _begun(self, entry: CronEntry, now: float) -> _Followed | None:
        try:
            reached = read_reached(self._connector.client(), self._keys, entry, now)
        except ResponseError as error:
            self._failed(entry, error)
            return None
        if entry.name in self._disabled:
            # Whoever enabled it, ticks before that were not missed.
            reached = replace(reached, since=max(reached.since, self._read_at))
        return _Followed(entry, entry.schedule, reached)

    def _usable(self, entry: CronEntry) -> bool:
        reason = entry.problem
        if reason is None and not cron.is_ours(entry):
            reason = f"this process has no job {entry.job}, and its message says nothing of how it is to be run"
        if reason is None:
            return True
        if self._told.allows(f"{entry.name}: {reason}"):
            hint = "it does not tick; save it anew" if entry.source else "jobd does not tick it; sidekiq-cron may"
            log.event("cron.left", level=log.WARNING, entry=entry.name, reason=reason, hint=hint)
        return False

    def _look_for_orphans(self, defined: Mapping[str, CronEntry]) -> None:
        redis: Any = self._connector.client()
        for entry in list(cron_set.read_entries(redis, self._keys)):
            if entry.source not in ("code", "config") or entry.stored.get("app") != self._app or entry.name in defined:
                continue
            if self._prune:
                cron_set.destroy(redis, self._keys, entry.name)
                log.event("cron.removed", entry=entry.name, source=entry.source)
            elif entry.enabled:
                hint = "it still ticks; destroy or disable it by jobd.CronSet, or set cron_prune"
                log.event("cron.orphaned", level=log.WARNING, entry=entry.name, source=entry.source, hint=hint)

    def _send(self, call: Call[T]) -> T:
        with self._connector.connection() as connection:
            return scripts.send(connection, call)


def read_reached(redis: Any, keys: Keys, entry: CronEntry, now: float) -> Reached:
    """How far the ticks of an entry have come. Raises redis-py's errors."""
    key, border = keys.cron_enqueued(entry.name), now - defaults.CRON_GRACE
    pipeline = redis.pipeline(transaction=False)
    pipeline.zrange(key, 0, 0, withscores=True)
    pipeline.zrange(key, f"({border!r}", "-inf", byscore=True, desc=True, offset=0, num=1, withscores=True)
    pipeline.zrange(key, repr(border), "+inf", byscore=True, offset=0, num=1_000)
    oldest, last, recent = pipeline.execute()
    # Ruby's own poll moves the mark from which an entry begins to tick to the tick before: no earlier one is due.
    since = max(_number(entry, "since"), oldest[0][1] if oldest else -math.inf)
    since = now if since == -math.inf else since
    return Reached(
        since=since,
        last=max(last[0][1] if last else -math.inf, _number(entry, "caught_up")),
        claimed=frozenset(tick for tick in map(cron.tick_time, recent) if tick is not None),
    )


def _number(entry: CronEntry, key: str) -> float:
    try:
        return float(entry.stored[key])
    except (KeyError, ValueError):
        return -math.inf


def _definition(entry: CronEntry) -> list[str]:
    return [entry.stored.get(key, "") for key in _DEFINITION]


def _tell(entry: CronEntry, tick: float, outcome: CronOutcome, jid: str | None) -> None:
    name = cron.tick_name(tick)
    if outcome == "PUSHED":
        log.event("cron.pushed", level=log.DEBUG, entry=entry.name, tick=name, job=entry.job, jid=jid)
    elif outcome == "OVERLAP":
        log.event("cron.skipped", entry=entry.name, tick=name, reason="its last job has not ended")
    elif outcome == "NOTED":
        log.event("cron.skipped", entry=entry.name, tick=name, reason="client middleware stopped it")
    elif outcome == "SKIPPED":
        log.event("cron.skipped", entry=entry.name, tick=name, reason="somebody wanted it skipped")


def _tell_of_missed(entry: CronEntry, missed: int) -> None:
    hint = "nobody ticked then" if entry.catch_up != "skip" else "nobody ticked then, and catch_up is skip"
    log.event("cron.missed", level=log.WARNING, entry=entry.name, ticks=missed, hint=hint)
