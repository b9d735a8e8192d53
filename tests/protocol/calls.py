"""Short ways to say what tests of the scripts say often: one owner on a real server, and jobs given by their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast

from redis import Redis

from jobd.client import scripts
from jobd.client.keys import Keys
from jobd.client.scripts import (
    Blame,
    Call,
    DeadLimits,
    Fenced,
    Finished,
    Move,
    Record,
    Recovered,
    Resync,
    Settled,
    Taken,
    Takeover,
    join_value,
)

T = TypeVar("T")
KEYS = Keys()
NOW = 1_790_000_000.0
NOTHING = Finished()


@dataclass
class Owner:
    """Calls the scripts for one owner, each call under a new token."""

    redis: Redis
    name: str = "one"
    limits: DeadLimits = field(default_factory=DeadLimits)
    now: float = NOW
    token: str = "0"
    calls: int = 0

    def send(self, call: Call[T]) -> T:
        """Carry out any call."""
        connection = self.redis.connection_pool.get_connection()
        try:
            return scripts.send(connection, call)
        finally:
            self.redis.connection_pool.release(connection)

    def register(self) -> Owner:
        """Enter the directory."""
        assert self.send(scripts.register(KEYS, self.name, self.token, self.now, {"pid": "7"}))
        return self

    def record(self) -> Record:
        """What the next call expects and leaves."""
        self.calls += 1
        return Record(KEYS, self.name, self.token, f"{self.calls}:{self.name}", self.now, self.limits)

    def heard(self, answer: T) -> T:
        """Note that the last call was carried out."""
        if isinstance(answer, Taken | Settled):
            self.token = f"{self.calls}:{self.name}"
        return answer

    def fetch(
        self,
        want: int,
        *queues: str | tuple[str, int],
        mode: Literal["batch", "single"] = "single",
        finished: Finished = NOTHING,
    ) -> Fenced | Resync | Taken:
        """Take jobs, from `default` unless queues are named; a queue that comes without a quota may give all."""
        record = self.record()
        asked = [(each, want) if isinstance(each, str) else each for each in queues or ("default",)]
        return self.heard(
            self.send(scripts.fetch(record, finished, call=self.calls, want=want, mode=mode, queues=asked))
        )

    def ack(self, finished: Finished) -> Fenced | Resync | Settled:
        """Acknowledge."""
        return self.heard(self.send(scripts.ack(self.record(), finished)))

    def settle(self, back: Sequence[tuple[str, str, bytes]], finished: Finished = NOTHING) -> Fenced | Resync | Settled:
        """Give back."""
        return self.heard(self.send(scripts.settle(self.record(), finished, back)))

    def take(self, score: float | None = None) -> Takeover:
        """What another process does to begin this owner's recovery."""
        return self.send(scripts.take(KEYS, self.name, "another", score))

    def recover(self, queues: Sequence[str], limit: int = 1_000, blames: Sequence[Blame] = ()) -> Recovered:
        """One step of it."""
        call = scripts.recover(KEYS, self.name, queues, self.now, self.limits, blames=blames, limit=limit)
        return self.send(call)

    def push(self, *payloads: bytes, queue: str = "default") -> None:
        """Put jobs into a queue; the first is next to be taken."""
        self.send(scripts.push_now(KEYS, queue, payloads))

    def queued(self, queue: str = "default") -> list[bytes]:
        """The jobs of a queue, the next one first."""
        return list(reversed(cast("list[bytes]", self.redis.lrange(KEYS.queue(queue), 0, -1))))

    def members(self, key: str) -> list[bytes]:
        """A sorted set, lowest score first."""
        return cast("list[bytes]", self.redis.zrange(key, 0, -1))

    def number(self, key: str) -> int:
        """A counter."""
        value: Any = self.redis.get(key)
        return int(value or 0)


def dead(field: str, payload: bytes, at: float = NOW) -> Move:
    """A job that failed for good."""
    return Move(field, "dead", at, payload, 1, 1)


def retry(field: str, payload: bytes, at: float = NOW + 30) -> Move:
    """A job that failed and is tried again."""
    return Move(field, "retry", at, payload, 1, 1)


def straggler(field: str, payload: bytes, queue: str = "default") -> tuple[str, bytes]:
    """A batch member that still runs when its batch is closed."""
    return field, join_value(queue, payload)
