"""Which job keeps the next tick of its cron entry, where that allows one at a time: told to Redis by who runs it.

A tick sets the hold in the step in which it pushes (`cron_tick.lua`). It ends when Redis has the end of the job, and by
itself a day after anybody last said that the job waits, runs or will be retried.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from redis.exceptions import RedisError, ResponseError

from jobd.client import cron, defaults, scripts
from jobd.client import payload as wire
from jobd.client.connection import Connector
from jobd.client.errors import MalformedPayload, RedisUnavailable
from jobd.client.keys import Keys
from jobd.worker import log
from jobd.worker.ledger import Fetched
from jobd.worker.outcome import Deferred, Outcome, Postponed, RetryAt

MARK = f'"{cron.MARK}":'.encode()
"""What such a job holds somewhere."""


class Running(Protocol):
    """A job that runs."""

    @property
    def job(self) -> Fetched: ...


class CronHolds:
    """What one process says about the jobs that it runs. Safe across threads; never raises, since holds expire."""

    def __init__(self, connector: Connector, keys: Keys, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._connector, self._keys, self._reports = connector, keys, log.Reports()
        self._monotonic, self._renewed = monotonic, monotonic()

    def ended(self, payload: bytes, outcome: Outcome, now: float) -> None:
        """Note what became of an acknowledged attempt: the hold ends, or outlasts the wait for a retry."""
        again = outcome.at - now if isinstance(outcome, RetryAt | Postponed | Deferred) else None
        self._hold(_decoded(payload), 0.0 if again is None else max(again, 0.0) + defaults.CRON_HOLD)

    def died(self, fields: Mapping[str, Any]) -> None:
        """End the hold of a job that a recovery has put into the dead set."""
        self._hold(fields, 0.0)

    def renew(self, running: Sequence[Running]) -> None:
        """Keep the holds of the jobs that run; asks Redis once an hour, and only if there are any."""
        if self._monotonic() - self._renewed < defaults.CRON_RENEW:
            return
        self._renewed = self._monotonic()
        for each in running:
            if MARK in each.job.payload:
                self._hold(_decoded(each.job.payload), defaults.CRON_HOLD)

    def _hold(self, fields: Mapping[str, Any], seconds: float) -> None:
        name, jid = fields.get(cron.MARK), fields.get("jid")
        if not isinstance(name, str) or not isinstance(jid, str):
            return
        try:
            with self._connector.connection() as connection:
                scripts.send(connection, scripts.cron_hold(self._keys, name, jid, seconds))
        except (RedisError, RedisUnavailable, OSError) as error:
            # A lost connection is told of elsewhere.
            if isinstance(error, ResponseError):
                self._reports.tell(f"{self._keys.cron_running(name)}: {error}")


def _decoded(payload: bytes) -> Mapping[str, Any]:
    try:
        return wire.decode(payload)
    except MalformedPayload:
        return {}
