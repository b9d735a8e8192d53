"""Pushes jobs of every fate, all the while, from a thread of its own, whatever becomes of Redis."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from tests.chaos.accounts import Load

QUEUES = ("critical", "default", "low")
ALWAYS = 99
"""Failures of a job that never works."""
PAUSE = 0.02
"""Seconds between two pushes at most."""
BACKLOG = 1_000
"""Jobs in the queues, above which no more are pushed that are to run at once."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Jobs that are pushed together: how often, how many, which failures they may have, and what each run lasts.

    `due` is in how many seconds they may begin, if not at once.
    """

    weight: int
    count: tuple[int, int]
    failures: Sequence[int] = (0,)
    seconds: tuple[float, float] = (0.0, 0.0)
    due: tuple[float, float] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


BULK = Kind(8, (100, 300), failures=[0] * 98 + [1, ALWAYS], options={"retry": 2})
"""Makes batches, of which members fail."""
KINDS = (
    BULK,
    Kind(4, (1, 10), seconds=(0.001, 0.03)),
    Kind(3, (1, 10), failures=(1, 2, 3), options={"retry": 4}),
    Kind(2, (1, 5), failures=(ALWAYS,), options={"retry": 0}),
    Kind(2, (1, 5), failures=(ALWAYS,), options={"retry": False}),
    Kind(2, (1, 20), due=(0.0, 0.5)),
    Kind(1, (1, 5), due=(3600.0, 7200.0)),
)


class MixedLoad:
    """Pushes from `__enter__` until `stop` or `__exit__`. With `batches`, nearly all jobs are those of BULK."""

    def __init__(self, redis_url: str, redis: Redis, chance: random.Random, *, batches: bool) -> None:
        """`redis` is closed by the caller."""
        self._load, self._redis, self._chance = Load(redis_url), redis, chance
        self._weights = [kind.weight * (10 if batches and kind is BULK else 1) for kind in KINDS]
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    @property
    def pushed(self) -> set[int]:
        """Numbers of the jobs that Redis has accepted."""
        return self._load.pushed

    @property
    def unsure(self) -> set[int]:
        """Numbers of those that it may have."""
        return self._load.unsure

    def __enter__(self) -> MixedLoad:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._load.close()

    def stop(self) -> None:
        """Push no more. Raises what has ended the pushing before."""
        self._over.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self._push(self._chance.choices(KINDS, self._weights)[0])
                self._over.wait(self._chance.uniform(0, PAUSE))
        except BaseException as error:
            self._error = error

    def _push(self, kind: Kind) -> None:
        if kind is BULK and self._backlog() > BACKLOG:
            return
        options = dict(kind.options)
        if kind.due:
            options["at"] = time.time() + self._chance.uniform(*kind.due)
        self._load.push(
            "chaos_fate",
            self._chance.randint(*kind.count),
            lambda: (self._chance.choice(kind.failures), self._chance.uniform(*kind.seconds)),
            queue=self._chance.choice(QUEUES),
            **options,
        )

    def _backlog(self) -> int:
        """Jobs in the queues; none when Redis does not say."""
        redis: Any = self._redis
        with contextlib.suppress(RedisError):
            return sum(redis.llen(f"queue:{name}") for name in QUEUES)
        return 0
