"""Who talks to Redis through a proxy that does them harm, and what must be true of the jobs afterwards."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

import jobd
from jobd.client import scripts
from jobd.client.connection import Connector
from jobd.client.errors import JobdError, PushOutcomeUnknown
from jobd.client.keys import Keys
from jobd.client.scripts import DeadLimits
from jobd.worker.clock import ServerClock
from jobd.worker.ledger import Fetched, Ledger
from jobd.worker.outage import Outage
from tests.protocol.state import State
from tests.proxy import Proxy

KEYS = Keys()
NOW, LATER = 1_790_000_000.25, 4_070_908_800.0
PATIENCE = 0.03
"""Seconds after which a reply is not waited for any more."""
IN_TIME, LATE = 0.002, PATIENCE * 1.5


class StandingClock(ServerClock):
    """Always the same time, so that each conversation has the same bytes."""

    def now(self) -> float:
        return NOW


class Impatient(threading.Event):
    """Waits for nothing: a lost call is sent again at once."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


class Process:
    """A ledger, and what its process was told."""

    def __init__(self, proxy: Proxy, patience: float = 5.0) -> None:
        self.owners: list[str] = []
        self.acknowledged: list[Any] = []
        self.given_back: list[bytes] = []
        self.fetched: list[bytes] = []
        self._connector = Connector(proxy.url, socket_timeout=patience)
        self.ledger = Ledger(
            self._connector,
            KEYS,
            StandingClock(),
            new_owner=self._name_owner,
            facts={"pid": "1"},
            limits=DeadLimits(),
            outage=Outage(),
            abort=Impatient(),
            on_acknowledged=self.acknowledged.extend,
            on_given_back=lambda job: self.given_back.append(job.payload),
        )

    def _name_owner(self) -> str:
        self.owners.append(f"owner-{len(self.owners) + 1}")
        return self.owners[-1]

    def fetch(self, a: int, b: int, *, batch: bool) -> list[Fetched]:
        """So many of either queue."""
        jobs = self.ledger.fetch(a + b, [("a", a), ("b", b)], batch=batch)
        self.fetched += [job.payload for job in jobs]
        return jobs

    def beat(self) -> bool:
        """On a connection of the caller, who beats again if that breaks."""
        while True:
            try:
                with self._connector.connection() as connection:
                    return self.ledger.beat(lambda call: scripts.send(connection, call))
            except (JobdError, RedisError, OSError):
                continue

    def close(self) -> bool:
        try:
            return self.ledger.close()
        finally:
            self._connector.close()


def delay_first_replies(proxy: Proxy, calls: int) -> None:
    """Have the reply to each of these calls come too late, of every other one half in time; but not to its resend."""
    seen: set[bytes] = set()

    def is_new(request: bytes) -> bool:
        if b"EVAL" not in request or request in seen:
            return False
        seen.add(request)
        return True

    for i in range(calls):
        proxy.delay(LATE, halves=i % 2 > 0, matches=is_new)


@jobd.job(queue="a", name="cut_tests.note")
def note(number: int) -> None:
    """Is only pushed."""


@dataclass(frozen=True)
class Attempt:
    """What somebody who pushed jobs with these numbers was told: which are in Redis, and which may be."""

    numbers: range
    pushed: Sequence[str]
    perhaps: Sequence[str] = ()

    @classmethod
    def returned(cls, numbers: range, told: Any) -> Attempt:
        return cls(numbers, told if isinstance(told, list) else [told])

    @classmethod
    def failed(cls, numbers: range, error: JobdError) -> Attempt:
        perhaps = error.jids if isinstance(error, PushOutcomeUnknown) else ()
        return cls(numbers, list(error.pushed), list(perhaps))


def everywhere(held: State) -> Iterator[bytes]:
    """Every job that is in Redis, a queue from its oldest."""
    for key, there in held.items():
        match there.value:
            case list() as jobs:
                yield from reversed(jobs)
            case dict() as record if key.endswith(":jobs"):
                fields = (item for item in record.items() if scripts.is_job_field(item[0].decode()))
                yield from (scripts.split_value(value)[1] for _, value in fields)
            case dict() as members if key in (KEYS.schedule, KEYS.retry, KEYS.dead):
                yield from members


def assert_pushed_once(attempts: Iterable[Attempt], jobs: Iterable[bytes]) -> None:
    """What was pushed is there once, what may be there at most once and each parcel as a whole, and nothing else."""
    found: dict[int, list[str]] = {}
    for job in map(json.loads, jobs):
        found.setdefault(job["args"][0], []).append(job["jid"])
    for attempt in attempts:
        there = [jid for number in attempt.numbers for jid in found.pop(number, [])]
        sure = len(attempt.pushed)
        assert there[:sure] == attempt.pushed
        assert there[sure:] in ([], attempt.perhaps)
    assert found == {}
