"""Ruby beside jobd on one server. Run by `make interop`, which looks first whether Ruby's parts are there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Protocol

import pytest
from redis import Redis

import jobd
from tests.interop.ruby_process import Console, Sidekiq, WebPages
from tests.servers import RedisServer
from tests.supervisor.jobd_command import APPS, Jobd
from tests.waiting import wait_until

OUR_APPS = Path(__file__).parent / "apps"


class StartSidekiq(Protocol):
    """Starts `sidekiq` on the test's database; returns at its first heartbeat."""

    def __call__(self, *queues: str, **options: Any) -> Sidekiq: ...


StartJobd = Callable[..., Jobd]


class Seen:
    """What jobs of either side have noted, in order."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def all(self) -> list[dict[str, Any]]:
        """Each call: by, class, args, jid, pid."""
        found: Any = self._redis.lrange("seen", 0, -1)
        return [json.loads(entry) for entry in found]

    def wait(self, count: int, seconds: float = 20.0) -> list[dict[str, Any]]:
        """All calls, once there are so many."""
        wait_until(lambda: self._redis.llen("seen") >= count, f"{count} jobs seen", seconds)
        return self.all()


@pytest.fixture(scope="session", autouse=True)
def ruby_is_asked_for() -> None:
    """Ruby's processes are slow to start."""
    if not os.environ.get("JOBD_INTEROP"):
        pytest.skip("needs Ruby's sidekiq: run `make interop`")


@pytest.fixture(autouse=True)
def each_test_has_fresh_settings(fresh_settings: None) -> None:
    """Whether it asks for them or not."""


@pytest.fixture(scope="session")
def console(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """The one Ruby of all tests."""
    with Console(redis_server.url, tmp_path_factory.mktemp("console") / "ruby.log") as process:
        yield process


@pytest.fixture
def ruby(console: Console, redis_url: str) -> Console:
    """Evaluates Ruby code against the empty database of the test."""
    return console


@pytest.fixture
def client(redis_url: str) -> Iterator[jobd.Client]:
    """Pushes to the empty database."""
    with closing(jobd.Client(redis_url)) as pushing:
        yield pushing


@pytest.fixture
def seen(redis: Redis) -> Seen:
    """What jobs have noted."""
    return Seen(redis)


@pytest.fixture
def sidekiq(redis_url: str, redis: Redis, tmp_path: Path) -> Iterator[StartSidekiq]:
    """Starts `sidekiq`; it is killed at the end of the test."""
    with ExitStack() as stack:

        def start(*queues: str, **options: Any) -> Sidekiq:
            before: int = redis.scard("processes")
            process = Sidekiq(redis_url, tmp_path / "sidekiq.log", queues=queues or ("ruby",), **options)
            stack.enter_context(process)
            wait_until(lambda: redis.scard("processes") > before, "the first heartbeat of Ruby", 20)
            return process

        yield start


@pytest.fixture
def start_jobd(redis_url: str, tmp_path: Path) -> Iterator[StartJobd]:
    """Starts the command `jobd` with the jobs of `apps/interop_jobs.py`."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Jobd:
            ours = {"require": ["interop_jobs"], "queues": ["python"], "processes": 1, "concurrency": 4}
            variables = {"INTEROP_URL": redis_url, "PYTHONPATH": f"{APPS}{os.pathsep}{OUR_APPS}"}
            directory = tmp_path / f"jobd-{len(list(tmp_path.iterdir()))}"
            directory.mkdir()
            return stack.enter_context(Jobd(directory, redis_url, variables=variables, **{**ours, **settings}))

        yield start


@pytest.fixture
def web(redis_url: str, tmp_path: Path) -> Iterator[WebPages]:
    """Sidekiq's Web UI."""
    with WebPages(redis_url, tmp_path / "web.log") as pages:
        yield pages
