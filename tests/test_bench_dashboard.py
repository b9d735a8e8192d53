"""What the dashboard is measured on is what jobd reads, and each of its pages is found."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis

import jobd
from bench import crowd, dashboard
from bench.site import Answer, Site
from bench.tabs import Tabs
from jobd.client.access import Access
from jobd.client.metrics import Metrics
from jobd.client.processes import ProcessSet, WorkSet
from tests.web.browser import Browser

TINY = crowd.Size(
    queued=60, queues=3, retries=30, scheduled=20, dead=10, processes=4, threads=2, classes=3, cron=2, days=2
)


@pytest.fixture
def client(redis: Redis, redis_url: str) -> jobd.Client:
    crowd.fill(redis, redis_url, TINY)
    return jobd.Client(redis_url)


def test_the_crowd_is_what_jobd_reads(client: jobd.Client, redis: Redis) -> None:
    sizes = {name: redis.llen(f"queue:{name}") for name in ("q000", "q001", "q002")}
    assert sizes == {"q000": 30, "q001": 15, "q002": 15}
    assert [len(jobd.RetrySet(client)), len(jobd.ScheduledSet(client)), len(jobd.DeadSet(client))] == [30, 20, 10]
    assert not any(entry.malformed for entry in jobd.RetrySet(client))
    processes = list(ProcessSet(client))
    assert [(process.busy, process.concurrency, len(process.queues)) for process in processes] == [(2, 2, 3)] * 4
    assert sum(1 for _ in WorkSet(client)) == 8
    for period in ("1h", "24h", "90d"):
        assert len(Metrics(client).top(period).jobs) == 3
    assert [entry.problem for entry in jobd.CronSet(client)] == [None, None]


def test_it_is_filled_once_and_shows_itself_again(client: jobd.Client, redis: Redis, redis_url: str) -> None:
    redis.lpop("queue:q000")
    redis.hset(crowd.identity(0), "beat", "0")
    crowd.fill(redis, redis_url, TINY)
    assert redis.llen("queue:q000") == 29
    assert max(process.beat for process in ProcessSet(client)) > Access(client).now() - 60
    assert min(process.beat for process in ProcessSet(client)) > 0


class InProcess(Site):
    """The dashboard of this process."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    def ask(self, path: str, body: bytes | None = None, headers: Any = None) -> Answer:
        answer = self.browser.get(path)
        return Answer(answer.status_code, 0.0, answer.content, {})


def test_every_page_is_found_by_its_address_or_by_a_link(client: jobd.Client) -> None:
    import jobd.web

    site = InProcess(Browser(jobd.web.app(client, read_only=False)))
    for pattern in dashboard.patterns():
        path = dashboard.address(site, pattern)
        assert path.startswith(pattern.partition("{")[0])
        assert "{" not in path
        assert site.page(path).status == 200, path
    for path in dashboard.VARIANTS:
        assert site.page(path).status == 200, path


def test_a_page_without_a_link_is_said() -> None:
    class Empty(InProcess):
        def __init__(self) -> None: ...

        def ask(self, path: str, body: bytes | None = None, headers: Any = None) -> Answer:
            return Answer(200, 0.0, b'<a href="/other">', {})

    with pytest.raises(RuntimeError, match=r"no page has a link to /things/\{id\}"):
        dashboard.address(Empty(), "/things/{id}")


def test_the_places_of_a_hundred_answers() -> None:
    took = [float(number) for number in range(1, 101)]
    assert dashboard.spread(took) == {"p50 ms": 50.0, "p95 ms": 95.0, "max ms": 100.0}
    assert dashboard.spread([7.0]) == {"p50 ms": 7.0, "p95 ms": 7.0, "max ms": 7.0}


@contextmanager
def streams(tabs: int, *, stay: bool) -> Iterator[int]:
    """A server that tells each connection something twice, and stays until the other side has closed it; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1_000)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\ndata: 1\ndata: 1\n\ndata: 2\n\n")
                if stay:
                    connection.recv(1)

        served = [pool.submit(serve) for _ in range(tabs)]
        yield listener.getsockname()[1]
        for each in served:
            each.result()


def test_tabs_wait_until_each_was_told_something() -> None:
    with streams(3, stay=True) as port, Tabs(port, 3, "/live") as tabs:
        tabs.wait(2)


def test_a_stream_that_ends_is_no_open_tab() -> None:
    with (
        streams(1, stay=False) as port,
        Tabs(port, 1, "/live") as tabs,
        pytest.raises(RuntimeError, match="a stream has ended"),
    ):
        tabs.wait(3)
