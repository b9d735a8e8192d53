"""Fixtures for tests of applications that use jobd; pytest finds them when jobd is installed.

What they do is `jobd.testing`'s and the supervisor's store's; nothing of it is imported before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from jobd.testing import Clock, FakeJobs, Mode, Trial

JobdWorker = Callable[..., "AbstractContextManager[Trial]"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--jobd-twice`."""
    group = parser.getgroup("jobd")
    group.addoption(
        "--jobd-twice", action="store_true", help="run every job two times, to show that it may be repeated"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "jobd_twice: every job of the test runs two times")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run every job of a test two times when it is marked so, or all are to."""
    if not item.config.getoption("jobd_twice") and item.get_closest_marker("jobd_twice") is None:
        return (yield)
    from jobd.testing import twice

    with twice():
        return (yield)


@pytest.fixture
def jobd_fake() -> Iterator[FakeJobs]:
    """Pushes are collected and not sent; gives the collected jobs."""
    from jobd.testing import fake

    with fake() as jobs:
        yield jobs


@pytest.fixture
def jobd_inline() -> Iterator[Mode]:
    """Each job runs where it is pushed."""
    from jobd.testing import inline

    with inline() as mode:
        yield mode


@pytest.fixture(scope="session")
def jobd_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A private embedded store for the whole run (for each xdist worker one); gives its address."""
    from jobd.supervisor.store import Store

    store = Store(tmp_path_factory.mktemp("jobd") / "store")
    store.start()
    try:
        yield store.address.url
    finally:
        store.stop()


@pytest.fixture
def jobd_redis(jobd_store: str) -> Iterator[str]:
    """The private store, emptied; jobd pushes to it in this test and is set as before after it. Gives its address."""
    from jobd.client import push, settings
    from jobd.client.connection import Connector

    connector = Connector(jobd_store)
    connector.client().flushall()
    connector.close()
    before = settings.current()
    settings.configure(redis_url=jobd_store)
    try:
        yield jobd_store
    finally:
        settings.restore(before)
        push.forget_default_client()


@pytest.fixture
def _jobd_workers() -> list[Trial]:
    """The workers that run in this test."""
    return []


@pytest.fixture
def jobd_worker(jobd_redis: str, _jobd_workers: list[Trial]) -> JobdWorker:
    """Runs a real worker on the private store: `with jobd_worker() as worker: worker.drain()`."""
    from jobd.testing import worker

    @contextmanager
    def run(**given: Any) -> Iterator[Trial]:
        with worker(**given) as running:
            _jobd_workers.append(running)
            try:
                yield running
            finally:
                _jobd_workers.remove(running)

    return run


@pytest.fixture
def jobd_clock(_jobd_workers: list[Trial]) -> Iterator[Clock]:
    """A clock: after `jobd_clock.advance(3600)` what was to run within the hour is due."""
    from jobd.testing import moving_clock

    def look_again() -> None:
        for running in _jobd_workers:
            running.look_again()

    with moving_clock(look_again) as clock:
        yield clock
