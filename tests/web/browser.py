"""What the tests of the dashboard share: requests, a Redis with all kinds of jobs, HTML read as browsers do."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
from redis import Redis

from jobd.client.push import Client
from tests.client.api import payload

SAME_SITE = {"sec-fetch-site": "same-origin"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
GET_PAGES = (
    "/",
    "/queues",
    "/queues/default",
    "/retries",
    "/scheduled",
    "/dead",
    "/?range=5m",
    "/?range=3d",
    "/?days=180",
    "/busy",
    "/busy?host=web-1&queue=default&class=Hard",
    "/busy/web-1:42:abc",
    "/failures",
    "/cron",
    "/cron-edit",
    "/activity",
    "/activity?user=ann",
    "/metrics",
    "/metrics?period=8h",
    "/metrics?period=90d",
    "/metrics?compare=1&sort=-ran",
    "/metrics/Hardplain",
    "/metrics/Hardplain?period=72h",
    "/redis",
)
PROCESS = "web-1:42:abc"


class Browser:
    """Sends requests to an ASGI application, from pages of its own unless `headers` say otherwise."""

    def __init__(self, app: Any, base: str = "", headers: dict[str, str] | None = None) -> None:
        self.app, self.base, self.headers = app, base, SAME_SITE if headers is None else headers

    def get(self, path: str, **headers: str) -> httpx.Response:
        """GET a page."""
        return self.send("GET", path, headers=headers)

    def post(self, path: str, form: Any = (), **headers: str) -> httpx.Response:
        """Send a form."""
        return self.send("POST", path, urlencode(form).encode(), {**FORM, **headers})

    def act(self, path: str, **document: Any) -> httpx.Response:
        """Send JSON to the interface for programs."""
        body = json.dumps(document).encode()
        return self.send("POST", f"/api/v1{path}", body, {"content-type": "application/json"})

    def send(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> httpx.Response:
        """Send one request; redirections are not followed."""

        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://jobs.test") as client:
                return await client.request(
                    method, self.base + path, content=body, headers={**self.headers, **(headers or {})}
                )

        return asyncio.run(run())

    def data(self, path: str) -> Any:
        """What the interface for programs answers."""
        answer = self.get(f"/api/v1{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()


@dataclass
class Page(HTMLParser):
    """What a browser would make of a page: its elements and its text."""

    text: str = ""
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    @classmethod
    def of(cls, html: str) -> Page:
        """Read a page to its end."""
        page = cls()
        page.feed(html)
        page.close()
        return page

    @staticmethod
    def query(link: str) -> dict[str, str]:
        """The parameters of a link."""
        return dict(parse_qsl(urlsplit(link).query, keep_blank_values=True))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of this name."""
        return [attributes for name, attributes in self.elements if name == tag]


def fill(redis: Redis, client: Client, text: str = "plain") -> None:
    """Jobs everywhere, `text` in each of their fields: waiting, failed, scheduled, dead, running, and broken ones."""
    now = time.time()
    fields: dict[str, Any] = {
        "class": f"Hard{text}",
        "args": [text, {text: text}, 10**30],
        "queue": f"q{text}",
        "tags": [text],
        "error_class": f"Error{text}",
        "error_message": text,
        "enqueued_at": now - 5,
        "failed_at": now - 60,
        "retry_count": 2,
        "extra": text,
    }
    redis.sadd("queues", "default", f"q{text}", b"raw\xff\xfe")
    for name in ("default", f"q{text}"):
        redis.lpush(f"queue:{name}", payload(f"q{text}", **fields), b"{not json " + text.encode())
    redis.lpush(b"queue:raw\xff\xfe", b"\xff\xfe")
    redis.zadd("retry", {payload(f"r{text}", **fields): now + 60, b'{"jid": 7, "retry_count": "x"}': 1.0})
    redis.zadd("schedule", {payload(f"s{text}", **fields): now + 3600})
    redis.zadd("dead", {payload(f"d{text}", **fields): now - 10, b"\xff\xfe" + text.encode(): 5.0})
    info = {"hostname": text, "pid": 42, "tag": text, "concurrency": 5, "queues": ["default"], "labels": [text]}
    info["version"] = "jobd-1.0"
    redis.sadd("processes", PROCESS)
    redis.hset(PROCESS, mapping={"info": json.dumps(info), "busy": 1, "beat": now, "quiet": "false", "rss": 2048})
    work = {"queue": f"q{text}", "run_at": int(now) - 30, "payload": payload(f"b{text}", **fields).decode()}
    redis.hset(f"{PROCESS}:work", "t1", json.dumps(work))
    minute = time.gmtime(now - 60)
    redis.hset(
        f"j|{time.strftime('%y%m%d', minute)}|{minute.tm_hour}:{minute.tm_min:02d}",
        mapping={f"Hard{text}|p": 10, f"Hard{text}|f": 2, f"Hard{text}|ms": 800},
    )
    redis.mset({"stat:processed": 100, "stat:failed": 7})
    from jobd.client.cron_set import CronSet

    name = "".join(char for char in text if char.isprintable())[:100] or "entry"
    CronSet(client).create(name, "*/5 * * * *", "HardJob", args=[text], description=text)
