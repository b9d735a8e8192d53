"""Settings of one test, forgotten after it."""

from __future__ import annotations

import pytest

import jobd


@pytest.fixture(autouse=True)
def each_test_has_fresh_settings(fresh_settings: None) -> None:
    """Whether it asks for them or not."""


@pytest.fixture
def configured(redis_url: str) -> str:
    """The jobs of this test push to the empty database of `redis_url`, which is returned."""
    jobd.configure(redis_url=redis_url)
    return redis_url
