"""How long a search and a page may take: the seconds themselves, and that a search ends with them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from redis import Redis

from jobd.client.push import Client
from jobd.web import context, search
from jobd.web.pages import jobs, many
from tests.client.api import fill_set
from tests.web.browser import Browser

REAL = (search.SEARCH_SECONDS, jobs.FIND_SECONDS, many.COUNT_SECONDS, context.LOOK_SECONDS)
"""Read before a fixture gives the other tests more of them."""


def test_searches_and_looks_have_the_seconds_that_are_promised() -> None:
    assert REAL[:3] == (0.05, 1.0, 2.0)
    assert REAL[3] <= 0.5, "a connection and an answer have to fit into a second"


@pytest.mark.parametrize(("each", "steps"), [(0.03, 2), (0.06, 1)])
def test_a_search_stops_when_its_time_is_over_and_says_where_to_go_on(
    redis: Redis, client: Client, browser: Browser, monkeypatch: pytest.MonkeyPatch, each: float, steps: int
) -> None:
    fill_set(redis, "dead", 5_000)
    clock = iter(range(1_000))
    monkeypatch.setattr(search, "SEARCH_SECONDS", REAL[0])
    monkeypatch.setattr(search, "time", SimpleNamespace(monotonic=lambda: next(clock) * each))
    redis.config_resetstat()
    found = browser.data("/dead?q=nowhere")
    assert redis.info("commandstats")["cmdstat_zscan"]["calls"] == steps
    assert found["jobs"] == []
    assert found["cursor"] != "0"
