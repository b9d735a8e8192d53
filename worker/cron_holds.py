"""How jobs of cron entries end, and which of them keeps the next tick of its entry: told to Redis by who runs them.

An end is noted at the run of the job, once Redis has it. Where an entry allows one job at a time, a tick sets a hold
in the step in which it pushes (`cron_tick.lua`): it ends with the job, and by itself a day after anybody last said that
the job waits, runs or will be retried.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from redis.exceptions import RedisError, ResponseError

from jobd.client import cron, cron_push, defaults, scripts
from jobd.client import payload as wire
from jobd.client.connection import Connector, is_readonly
from jobd.client.cron_push import CronEnd
from jobd.client.errors import MalformedPayload, RedisUnavailable
from jobd.client.keys import Keys
from jobd.worker import log
from jobd.worker.ledger import Fetched
from jobd.worker.outcome import (
    Buried,
    Dead,
    Deferred,
    Discarded,
    Expired,
    Outcome,
    Postponed,
    RetryAt,
)

MARK = f'"{cron.MARK}":'.encode()
"""What such a job holds somewhere."""
_MOST_OWED = 1_000


class Running(Protocol):
    """A job that runs."""

    @property
    def job(self) -> Fetched: ...


@dataclass(frozen=True, slots=True)
class _Word:
    """What Redis is to be told of a job of an entry: the seconds for which it holds the next one, and its end."""

    name: str
    jid: str
    seconds: float
    end: CronEnd | None


class CronHolds:
    """What one process says about the jobs of entries that it runs. Safe across threads; never raises.

    What Redis could not be told is told again by `renew` and `make_up`: a hold that outlives its job keeps its entry
    from running for a day. An end that is never told leaves its run as one of which that is not known.
    """

    def __init__(self, connector: Connector, keys: Keys, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._connector, self._keys, self._reports = connector, keys, log.Reports()
        self._monotonic, self._renewed = monotonic, monotonic()
        self._owed: deque[_Word] = deque(maxlen=_MOST_OWED)

    def ended(self, payload: bytes, outcome: Outcome, now: float) -> None:
        """Note what became of an acknowledged attempt: the hold ends, or outlasts the wait for a retry."""
        end = end_of(outcome, now)
        again = 0.0 if end.due is None else max(end.due - now, 0.0) + defaults.CRON_HOLD
        self._say(_decoded(payload), again, end)

    def died(self, fields: Mapping[str, Any], now: float) -> None:
        """Note the end of a job that a recovery has put into the dead set."""
        self._say(fields, 0.0, CronEnd("dead", now))

    def renew(self, running: Sequence[Running]) -> None:
        """Keep the holds of the jobs that run, once an hour and only if there are any; makes up for what is owed."""
        self.make_up()
        if self._monotonic() - self._renewed < defaults.CRON_RENEW:
            return
        self._renewed = self._monotonic()
        for each in running:
            if MARK in each.job.payload:
                self._say(_decoded(each.job.payload), defaults.CRON_HOLD)

    def make_up(self) -> None:
        """Tell Redis what it could not be told; what fails again waits for the next call."""
        for _ in range(len(self._owed)):
            try:
                owed = self._owed.popleft()
            except IndexError:
                return  # another thread was faster
            if not self._tell(owed):
                return

    def _say(self, fields: Mapping[str, Any], seconds: float, end: CronEnd | None = None) -> None:
        name, jid = fields.get(cron.MARK), fields.get("jid")
        if isinstance(name, str) and isinstance(jid, str):
            self._tell(_Word(name, jid, seconds, end))

    def _tell(self, word: _Word) -> bool:
        """Say how long a hold lasts, and how its job has ended; False: Redis could not be asked, and is owed it."""
        try:
            with self._connector.connection() as connection:
                scripts.send(connection, scripts.cron_hold(self._keys, word.name, word.jid, word.seconds))
            if word.end is not None:
                self._note(word.name, word.jid, word.end)
        except (RedisError, RedisUnavailable, OSError) as error:
            # A lost connection is told of elsewhere.
            if isinstance(error, ResponseError) and not is_readonly(error):
                self._reports.tell(f"{self._keys.cron_running(word.name)}: {error}")
                return True
            self._owed.append(word)
            return False
        return True

    def _note(self, name: str, jid: str, end: CronEnd) -> None:
        """Write an end at its run, which only this process changes now."""
        redis: Any = self._connector.client()
        noted = redis.lrange(self._keys.cron_runs(name), 0, defaults.CRON_RUNS - 1)
        changed = cron_push.with_end(noted, jid, end)
        if changed is not None:
            with self._connector.connection() as connection:
                scripts.send(connection, scripts.cron_note(self._keys, name, *changed))


def end_of(outcome: Outcome, now: float) -> CronEnd:
    """An outcome as it is noted at the run of a cron entry."""
    match outcome:
        case RetryAt(at):
            return CronEnd("retry", now, at)
        case Postponed(at) | Deferred(at):
            return CronEnd("postponed", now, at)
        case Expired():
            return CronEnd("expired", now)
        case Discarded():
            return CronEnd("failed", now)
        case Dead() | Buried():
            return CronEnd("dead", now)
        case _:
            return CronEnd("ok", now)


def _decoded(payload: bytes) -> Mapping[str, Any]:
    try:
        return wire.decode(payload)
    except MalformedPayload:
        return {}
