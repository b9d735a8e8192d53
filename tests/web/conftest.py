"""A dashboard on an empty database."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import jobd.web
from jobd.client.push import Client
from tests.waiting import wait_until
from tests.web.browser import Browser


@pytest.fixture(autouse=True)
def each_test_has_fresh_settings(fresh_settings: None) -> None:
    """Whether it asks for them or not."""


@pytest.fixture(autouse=True)
def searches_have_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is."""
    monkeypatch.setattr("jobd.web.search.SEARCH_SECONDS", 30.0)
    monkeypatch.setattr("jobd.web.pages.jobs.FIND_SECONDS", 30.0)
    monkeypatch.setattr("jobd.web.pages.many.COUNT_SECONDS", 30.0)
    monkeypatch.setattr("jobd.web.context.LOOK_SECONDS", 30.0)


@pytest.fixture(autouse=True)
def no_change_goes_on_in_the_next_test() -> Iterator[None]:
    """What a test had begun with many jobs would reach the jobs of the next one."""
    yield
    wait_until(lambda: not [each for each in threading.enumerate() if each.name.startswith("bulk-")], "changes to end")


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    """A client of the empty database."""
    made = Client(redis_url)
    yield made
    made.close()


@pytest.fixture
def browser(client: Client) -> Browser:
    """A browser whose user may do all."""
    return Browser(jobd.web.app(client, read_only=False))
