"""Which job keeps the next tick of its cron entry, where that allows one at a time: told to Redis by who runs it.

A tick sets the hold in the step in which it pushes (`cron_tick.lua`). It ends when Redis has the end of the job, and by
itself a day after anybody last said that the job waits, runs or will be retried.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from redis.exceptions import RedisError, ResponseError

from jobd.client import cron, defaults, scripts
from jobd.client import payload as wire
from jobd.client.connection import Connector, is_readonly
from jobd.client.errors import MalformedPayload, RedisUnavailable
from jobd.client.keys import Keys
from jobd.worker import log
from jobd.worker.ledger import Fetched
from jobd.worker.outcome import Deferred, Outcome, Postponed, RetryAt

MARK = f'"{cron.MARK}":'.encode()
"""What such a job holds somewhere."""
_MOST_OWED = 1_000


class Running(Protocol):
    """A job that runs."""

    @property
    def job(self) -> Fetched: ...


class CronHolds:
    """What one process says about the jobs that it runs. Safe across threads; never raises.

    What Redis could not be told is told again by `renew` and `make_up`: a hold that outlives its job keeps its entry
    from running for a day.
    """

    def __init__(self, connector: Connector, keys: Keys, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._connector, self._keys, self._reports = connector, keys, log.Reports()
        self._monotonic, self._renewed = monotonic, monotonic()
        self._owed: deque[tuple[str, str, float]] = deque(maxlen=_MOST_OWED)

    def ended(self, payload: bytes, outcome: Outcome, now: float) -> None:
        """Note what became of an acknowledged attempt: the hold ends, or outlasts the wait for a retry."""
        again = outcome.at - now if isinstance(outcome, RetryAt | Postponed | Deferred) else None
        self._hold(_decoded(payload), 0.0 if again is None else max(again, 0.0) + defaults.CRON_HOLD)

    def died(self, fields: Mapping[str, Any]) -> None:
        """End the hold of a job that a recovery has put into the dead set."""
        self._hold(fields, 0.0)

    def renew(self, running: Sequence[Running]) -> None:
        """Keep the holds of the jobs that run, once an hour and only if there are any; makes up for what is owed."""
        self.make_up()
        if self._monotonic() - self._renewed < defaults.CRON_RENEW:
            return
        self._renewed = self._monotonic()
        for each in running:
            if MARK in each.job.payload:
                self._hold(_decoded(each.job.payload), defaults.CRON_HOLD)

    def make_up(self) -> None:
        """Tell Redis what it could not be told; what fails again waits for the next call."""
        for _ in range(len(self._owed)):
            try:
                owed = self._owed.popleft()
            except IndexError:
                return  # another thread was faster
            if not self._tell(*owed):
                return

    def _hold(self, fields: Mapping[str, Any], seconds: float) -> None:
        name, jid = fields.get(cron.MARK), fields.get("jid")
        if isinstance(name, str) and isinstance(jid, str):
            self._tell(name, jid, seconds)

    def _tell(self, name: str, jid: str, seconds: float) -> bool:
        """Set how long a hold lasts; False: Redis could not be asked, and is owed it."""
        try:
            with self._connector.connection() as connection:
                scripts.send(connection, scripts.cron_hold(self._keys, name, jid, seconds))
        except (RedisError, RedisUnavailable, OSError) as error:
            # A lost connection is told of elsewhere.
            if isinstance(error, ResponseError) and not is_readonly(error):
                self._reports.tell(f"{self._keys.cron_running(name)}: {error}")
                return True
            self._owed.append((name, jid, seconds))
            return False
        return True


def _decoded(payload: bytes) -> Mapping[str, Any]:
    try:
        return wire.decode(payload)
    except MalformedPayload:
        return {}
