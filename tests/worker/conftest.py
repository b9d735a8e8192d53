"""What tests of the worker share: fresh settings, a worker in this process, its events, hand-written jobs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.worker import log
from jobd.worker.config import WorkerConfig
from jobd.worker.process import WorkerProcess

RunWorker = Callable[..., AbstractContextManager[WorkerProcess]]
PushRaw = Callable[..., bytes]


class Events(logging.Handler):
    """What the worker logged: names and values."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def names(self) -> list[str]:
        """The names in order."""
        return [log.event_of(record).name for record in list(self.records)]

    def named(self, name: str) -> list[dict[str, Any]]:
        """The values of each event of this name."""
        found = [log.event_of(record) for record in list(self.records)]
        return [dict(event.values) for event in found if event.name == name]


@pytest.fixture(autouse=True)
def each_test_has_fresh_settings(fresh_settings: None) -> None:
    """Whether it asks for them or not."""


@pytest.fixture(autouse=True)
def events() -> Iterator[Events]:
    """The events of this test, instead of lines on its terminal."""
    logger, handler = logging.getLogger("jobd"), Events()
    before = logger.handlers[:], logger.level, logger.propagate
    logger.handlers[:], logger.propagate = [handler], False
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.fixture
def run_worker(redis_url: str) -> RunWorker:
    """`with run_worker(concurrency=2) as worker:` runs jobs of the empty database, to which pushes go as well."""
    jobd.configure(redis_url=redis_url)

    def run(**given: Any) -> AbstractContextManager[WorkerProcess]:
        return jobd.run(WorkerConfig(**{"redis_url": redis_url, "timeout": 5, **given}))

    return run


@pytest.fixture
def push_raw(redis: Redis) -> PushRaw:
    """Put a payload, a dictionary or bytes as they are, into a queue without jobd; returns the bytes."""

    def put(payload: dict[str, Any] | bytes, queue: str = "default") -> bytes:
        raw = payload if isinstance(payload, bytes) else _compact(payload)
        redis.sadd("queues", queue)
        redis.lpush(f"queue:{queue}", raw)
        return raw

    return put


def _compact(payload: dict[str, Any]) -> bytes:
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
