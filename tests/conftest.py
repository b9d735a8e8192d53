"""Fixtures for every test: one real server a run (one for each xdist worker), an empty database a test."""

from __future__ import annotations

import faulthandler
import logging
import os
from collections import Counter
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from redis import Redis

from jobd.client import push, settings
from tests.servers import RedisServer

# How long an example takes says something about the machine and nothing about jobd.
hypothesis_settings.register_profile("jobd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("jobd")


LONGEST = frozenset(
    {
        "test_basedpyright_finds_nothing_in_the_product",
        "test_mypy_finds_nothing",
        *(f"test_a_page_works_as_it_is_written[{page}]" for page in ("docs/getting-started.md", "docs/commands.md")),
        *(f"test_a_page_works_as_it_is_written[{page}]" for page in ("README.md", "docs/running.md", "docs/ctl.md")),
    }
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: as the last it would run alone."""
    items.sort(key=lambda item: item.name not in LONGEST)


STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the way to the terminal, which is captured while a test runs."""
    config.stash[STDERR] = os.dup(2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """End the process, with its stacks, at twice a test's time-out: that is a signal, which Python may not handle."""
    own = item.get_closest_marker("timeout")
    seconds = own.args[0] if own else item.config.getoption("timeout") or item.config.getini("timeout")
    faulthandler.dump_traceback_later(2 * float(seconds), exit=True, file=item.config.stash[STDERR])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The run's server. A test that changes its settings or stops it starts a `RedisServer` of its own."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of an empty database."""
    with redis_server.client() as client:
        client.flushall()
        client.script_flush()
    return redis_server.url


@pytest.fixture
def redis(redis_server: RedisServer, redis_url: str) -> Iterator[Redis]:
    """A client of the empty database; replies are bytes."""
    with redis_server.client() as client:
        yield client


@pytest.fixture
def fresh_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings, and no address in the environment."""
    for variable in settings.URL_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    settings.reset()
    yield
    push.default_client().close()
    settings.reset()


@pytest.fixture(autouse=True)
def a_logger_as_new() -> Iterator[None]:
    """Each test finds jobd's logger as an application does, whatever one before it installed or pytest added."""
    _reset(logging.getLogger("jobd"))
    yield
    _reset(logging.getLogger("jobd"))


def _reset(logger: logging.Logger) -> None:
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which tests were left out, and which command runs them."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = [report.longrepr[2] for report in reports if isinstance(report.longrepr, tuple)]
    for reason, count in Counter(reason for reason in reasons if "run `make " in reason).items():
        terminalreporter.write_line(f"left out, {count}: {reason.removeprefix('Skipped: ')}")
