"""Settings of one test, forgotten after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import jobd
from jobd.client import push, settings


@pytest.fixture(autouse=True)
def fresh_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings, and no address in the environment."""
    for variable in settings.URL_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    settings.reset()
    yield
    push.default_client().close()
    settings.reset()


@pytest.fixture
def configured(redis_url: str) -> str:
    """The jobs of this test push to the empty database of `redis_url`, which is returned."""
    jobd.configure(redis_url=redis_url)
    return redis_url
