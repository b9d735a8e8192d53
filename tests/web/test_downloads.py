"""Files on their way: in the threads of the dashboard, few at once, and within bounds."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from redis import Redis

import jobd.web
import jobd.web.places
from jobd.client.push import Client
from jobd.web import site
from jobd.web.context import Context, Download
from tests.client.api import fill_queue, fill_set, payload
from tests.web.browser import Browser


class Slow:
    """A file whose second line waits until it is let go; notes the threads that make it."""

    def __init__(self) -> None:
        self.go, self.made_in = threading.Event(), set[str]()
        self.ended = 0

    def show(self, ctx: Context) -> Download:
        """Send it."""
        return Download("slow.jsonl", self._lines())

    def _lines(self) -> Iterator[bytes]:
        self.made_in.add(threading.current_thread().name)
        yield b"{}\n"
        self.go.wait(30)
        yield b"{}\n"
        self.ended += 1


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """In place of each export."""
    made = Slow()
    besides = tuple((path, made.show if path == "/export" else show, *rest) for path, show, *rest in site.BESIDES)
    monkeypatch.setattr(site, "BESIDES", besides)
    yield made
    made.go.set()


def user_of(request: Any) -> str | None:
    """Who asks."""
    found: str | None = request.headers.get("x-user")
    return found


def test_files_come_from_the_threads_of_the_dashboard_two_at_once_and_one_for_each_user(
    client: Client, slow: Slow
) -> None:
    app = jobd.web.app(client, auth=user_of, read_only=True)

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://jobs.test") as visitor:

            async def take(user: str) -> int:
                return (await visitor.get("/export", headers={"x-user": user})).status_code

            async def refused(user: str) -> int:
                while (status := await asyncio.wait_for(take(user), 20)) == 200:
                    await asyncio.sleep(0.01)
                return status

            held = [asyncio.create_task(take("ann"))]
            while not slow.made_in:
                await asyncio.sleep(0.01)
            assert await refused("ann") == 429
            held.append(asyncio.create_task(take("bob")))
            await asyncio.sleep(0)
            while len(slow_takers(app)) < 2:
                await asyncio.sleep(0.01)
            assert await refused("eve") == 503
            slow.go.set()
            assert await asyncio.gather(*held) == [200, 200]
            assert await take("ann") == await take("eve") == 200

    asyncio.run(run())
    assert all(name.startswith("jobd-web") for name in slow.made_in), slow.made_in


def slow_takers(app: Any) -> set[str]:
    """Who takes a file now."""
    found: set[str] = app.state.downloads._takers
    return found


def test_a_file_that_nobody_takes_any_more_is_not_read_on(client: Client, slow: Slow) -> None:
    app = jobd.web.app(client, auth=user_of, read_only=True)

    async def run() -> None:
        sent: asyncio.Queue[Any] = asyncio.Queue()
        gone = asyncio.Event()

        async def receive() -> Any:
            await gone.wait()
            return {"type": "http.disconnect"}

        scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/export", "query_string": b""}
        scope |= {"headers": [(b"x-user", b"ann")], "client": None, "server": ("jobs.test", 80), "scheme": "http"}
        asked = asyncio.create_task(app({**scope, "asgi": {"spec_version": "2.3"}}, receive, sent.put))
        while not slow.made_in:
            await asyncio.sleep(0.01)
        gone.set()
        await asyncio.wait_for(asked, 20)

    asyncio.run(run())
    assert (slow.ended, slow_takers(app)) == (0, set())


def test_a_head_of_a_file_makes_none_of_it(client: Client, slow: Slow) -> None:
    app = jobd.web.app(client, read_only=True)
    answer = Browser(app).send("HEAD", "/export")
    assert (answer.status_code, answer.text, slow.made_in) == (200, "", set())
    assert answer.headers["content-disposition"] == 'attachment; filename="slow.jsonl"'
    assert slow_takers(app) == set()


def test_a_file_of_a_queue_ends_where_the_queue_ended_at_the_beginning(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_queue(redis, 3)
    size = jobd.web.places.QueuePlace.size

    def pushed_to(place: Any) -> int:
        found = size(place)
        redis.lpush("queue:default", payload("later"))
        return found

    monkeypatch.setattr("jobd.web.places.QueuePlace.size", pushed_to)
    lines = browser.get("/export?in=queue&name=default").text.splitlines()
    assert [json.loads(line)["jid"] for line in lines] == ["j0", "j1", "j2"]


def test_a_file_looks_at_so_many_jobs_and_says_that_there_are_more(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.web.pages.export.MOST_LOOKED_AT", 1_000)
    fill_set(redis, "dead", 1_500)
    [line] = browser.get("/export?in=dead&q=class:Rare").text.splitlines()
    assert "there is more: 1,000 jobs were looked at" in json.loads(line)["cut"]
