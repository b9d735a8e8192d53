"""A dashboard in a real HTTP server, and the shop whose jobs it shows."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvicorn
from redis import Redis

import jobd.web
from jobd.client.push import Client
from jobd.client.queues import Queue
from tests.servers import RedisServer
from tests.supervisor.jobd_command import APPS, Jobd
from tests.waiting import wait_until

OUR_APPS = Path(__file__).parent / "apps"
SECRET = "sk_live_planted_secret"
"""Given to a job, which puts it into the message of its error."""
CRON = {  # once a year, so that none of them runs by itself
    "nightly_report": {"cron": "0 3 1 1 *", "class": "BuildReport", "args": ["nightly"], "queue": "reports"},
    "stock_sync": {"cron": "0 4 1 1 *", "class": "SyncStock", "args": [7], "description": "All warehouses"},
}
SETTINGS = {
    "require": ["shop_jobs"],
    "queues": [["payments", 3], ["default", 2], ["mailers", 1], ["reports", 1]],
    "concurrency": 4,
    "tag": "shop",
    "cron": CRON,
    "pidfile": "jobd.pid",
}


class Dashboard:
    """One dashboard at `url`; `redis` and `client` lead to what it shows, `jobd` runs its jobs if any does."""

    def __init__(self, url: str, redis: Redis, client: Client, jobd: Jobd | None = None) -> None:
        self.url, self.redis, self.client, self._jobd = url, redis, client, jobd

    @property
    def jobd(self) -> Jobd:
        """The command that runs the jobs."""
        assert self._jobd is not None, "no jobd runs here"
        return self._jobd

    def url_of(self, path: str) -> str:
        """The address of a page, such as `/retries?q=x`."""
        return self.url + path

    def api(self, path: str) -> Any:
        """What the interface for programs tells: `api("/retries")`."""
        return json.loads(self.read("/api/v1" + path))

    def read(self, path: str) -> bytes:
        """The answer to a GET, which has to be 200."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url_of(quote(path, safe="/?&=%~")), timeout=30) as answer:
            found: bytes = answer.read()
        return found


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an ASGI application on a free port of this machine; gives its address, without a slash at the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="warning", lifespan="off", ws="none", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), name="dashboard")
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive(), "the dashboard listens")
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@contextlib.contextmanager
def dashboard_of(server: RedisServer, jobd_command: Jobd | None = None, **options: Any) -> Iterator[Dashboard]:
    """A dashboard of what a server holds; `options` are those of `jobd.web.app` [all may be changed]."""
    with contextlib.closing(Client(server.url)) as client, server.client() as redis:
        app = jobd.web.app(client, **{"read_only": False, **options})
        with served(app) as url:
            yield Dashboard(url, redis, client, jobd_command)


@contextlib.contextmanager
def shop(server: RedisServer, directory: Path) -> Iterator[Jobd]:
    """A jobd whose jobs have met every fate, on an empty server."""
    variables = {"PYTHONPATH": f"{APPS}{os.pathsep}{OUR_APPS}"}
    with Jobd(directory, server.url, variables=variables, **SETTINGS) as running:
        with contextlib.closing(Client(server.url)) as client:
            _push_all(client)
            wait_until(lambda: _settled(server), f"every fate: {running.text()}", 60)
        yield running
        running.release()


def _push_all(client: Client) -> None:
    Queue("reports", client).pause("ann")
    client.push_bulk({"class": "BuildReport", "queue": "reports", "args": [["2026-09"], ["2026-10"], ["2026-11"]]})
    client.push_bulk({"class": "ResizeImage", "args": [[number, 640] for number in range(5)]})
    client.push_bulk({"class": "SyncStock", "args": [[7]], "retry": 3})
    client.push_bulk({"class": "SendReceipt", "queue": "mailers", "retry": 0, "args": [[1, "@"], [2, "nobody"]]})
    for order in (1001, 1002, 1003):
        client.push(
            {
                "class": "ChargeCard",
                "queue": "payments",
                "retry": 5,
                "backtrace": 10,
                "tags": ["money"],
                "args": [order],
                "kwargs": {"card_token": SECRET},
            }
        )
    client.push_bulk({"class": "SendReminder", "queue": "mailers", "args": [[1], [2]], "at": 4_000_000_000.0})
    client.push({"class": "ImportCatalogue", "args": ["Acme"]})


def _settled(server: RedisServer) -> bool:
    with server.client() as redis:
        sizes = [redis.zcard(name) for name in ("retry", "dead", "schedule")]
        processed, failed = (int(value or 0) for value in redis.mget("stat:processed", "stat:failed"))
        heartbeats = [redis.hget(name, "busy") for name in redis.smembers("processes")]
        return sizes == [3, 2, 2] and (processed, failed) == (12, 6) and heartbeats == [b"1"]
