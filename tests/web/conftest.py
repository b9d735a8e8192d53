"""A dashboard on an empty database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import jobd.web
from jobd.client.push import Client
from tests.web.browser import Browser


@pytest.fixture(autouse=True)
def each_test_has_fresh_settings(fresh_settings: None) -> None:
    """Whether it asks for them or not."""


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
