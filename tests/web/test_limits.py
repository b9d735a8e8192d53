"""What a page may cost Redis and need of it: every page of `site.PAGES`, so that none is left out."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from redis import Redis

import jobd.web
from jobd.client.access import Access
from jobd.client.push import Client
from jobd.web import site
from tests.client.api import fill_queue, fill_set, payload
from tests.web.browser import PROCESS, Browser, fill
from tests.web.test_security import held

FREE = frozenset(
    {
        *("get", "mget", "exists", "strlen", "llen", "lindex", "zcard", "zscore", "zmscore", "zcount", "scard", "hlen"),
        *("hget", "hmget", "sismember", "smismember", "smembers", "xlen", "info"),
    }
)
"""Commands that take the same time however many jobs there are."""
RANGES = {"lrange": 2, "zrange": 2, "xrange": 2, "xrevrange": 2}
"""Commands that take as long as what they return, and where their bounds stand."""
FIGURES = frozenset({"config", "slowlog", "memory", "scan", "dbsize", "client", "latency", "time", "lastsave"})
"""What the page on Redis itself may ask besides; what is refused there is left out."""
MOST_OF_RANGE = {"/failures": 1_000, "/export": 1_000}
MEMBERS = {"queues", "processes", "paused", "cron_jobs"}
"""Sets of which all members may be read."""
SMALL = re.compile(
    r"jobd:bulk:|jobd:muted$|jobd:queue-(limits|courses)$|\d{8}-marks$|jobd:metrics:|cron_job:|j\||[^ ]+:workers?$|"
    + re.escape(PROCESS)
)
"""Hashes that may be read whole: they grow with classes, threads or set limits, or to 200 fields, or not at all."""
RUN = "0123456789abcdef"


def addresses() -> Iterator[str]:
    """An address of each page, for people and for programs."""
    for path, *_ in site.PAGES:
        yield path
        yield "/api/v1" + ("/overview" if path == "/" else path)
    for path, *_ in site.BESIDES:
        yield path
        yield "/api/v1" + path
    for path, _ in site.FOR_PROGRAMS:
        yield path


def filled(path: str, browser: Browser) -> str:
    """An address with its parts named, each of something that is there."""
    if path.endswith("/export"):
        return f"{path}?in=dead"
    if path.endswith("/edit"):
        sound = next(job for job in browser.data("/retries")["jobs"] if not job["problem"])
        return f"{path}?in=retries&key={quote(sound['key'])}"
    key = quote(browser.data("/retries")["jobs"][0]["key"])
    entry = browser.data("/cron")["entries"][0]["name"]
    name = {"cron": entry}.get(path.removeprefix("/api/v1").split("/")[1], "default")
    known = {"name": name, "identity": PROCESS, "jid": f"rplain?in=retries&key={key}", "class": "HardJob", "id": RUN}
    for part in re.findall(r"\{(\w+)(?::path)?\}", path):
        assert part in known, f"the test does not know what {path} names: add it"
        path = re.sub(rf"\{{{part}(:path)?\}}", known[part], path)
    return path


def fill_all(redis: Redis, client: Client) -> None:
    """Jobs everywhere, and a change of many that has ended."""
    fill(redis, client)
    redis.hset(f"jobd:bulk:{RUN}", mapping={"action": "delete", "place": "dead", "state": "done"})
    told = {"at": time.time(), "user": "ann", "places": [["dead", ""], ["queue", "default"]], "deleted": 2}
    redis.hset("jobd:trash", RUN, json.dumps({**told, "kept": 2, "bytes": 200}))
    redis.zadd(f"jobd:trash:{RUN}:0", {payload("t1"): 5.0})


@pytest.fixture
def full(redis: Redis, client: Client) -> None:
    """More jobs than a page may read."""
    fill_all(redis, client)
    fill_queue(redis, 2_000)
    for key in ("retry", "schedule", "dead"):
        fill_set(redis, key, 2_000)


class Monitor:
    """Everything that is sent to the server from now on, but for what the test itself sends."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.seen: list[list[str]] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Monitor:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._redis.echo("that is all")
        self._thread.join(10)

    def _listen(self) -> None:
        with self._redis.monitor() as monitor:
            self._ready.set()
            for told in monitor.listen():
                words = str(told["command"]).split(" ")
                if words[0] == "ECHO":
                    return
                self.seen.append(words)


def problem(words: list[str], most: int, besides: frozenset[str]) -> str | None:
    """Why a page may not send this."""
    name = words[0].lower()
    if words[0] == "HELLO" or words[:2] == ["CLIENT", "SETINFO"]:
        return None  # a new connection, be it the test's own
    if name == "hgetall":
        return None if SMALL.match(words[1]) else f"{words[1]} may have any number of fields"
    if name in besides or name in FREE:
        whole = name == "smembers" and words[1] not in MEMBERS
        return f"{words[1]} may have any number of members" if whole else None
    if name not in RANGES:
        return "it is none of those that are allowed"
    upper = [word.upper() for word in words]
    if "LIMIT" in upper or "COUNT" in upper:
        count = int(words[upper.index("LIMIT") + 2] if "LIMIT" in upper else words[upper.index("COUNT") + 1])
        return None if 0 <= count <= most else f"it may return {count}"
    first, last = int(words[2]), int(words[3])
    if (first < 0) != (last < 0):
        return "it may return all"
    return None if last - first < most else f"it may return {last - first + 1}"


@pytest.mark.usefixtures("full")
def test_every_page_costs_two_round_trips_of_commands_that_do_not_grow_with_the_jobs(
    redis: Redis, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Browser(jobd.web.app(client, read_only=False))
    wanted = {path: filled(path, browser) for path in addresses()}
    key = quote(browser.data("/queues/default?offset=1500")["jobs"][0]["key"])
    wanted["/jobs of a queue"] = f"/jobs/x?in=queue&name=default&key={key}"
    trips, read = list[object](), Access.read
    monkeypatch.setattr(Access, "read", lambda self, ask: (trips.append(ask), read(self, ask))[1])
    for path, address in wanted.items():
        app = jobd.web.app(client, read_only=False)  # with nothing in its memory
        trips.clear()
        with Monitor(redis) as monitor:
            assert Browser(app).get(address).status_code == 200, address
        page = path.removeprefix("/api/v1")
        besides = FIGURES if page == "/redis" else frozenset[str]()
        most = MOST_OF_RANGE.get(page, 200)
        refused = [(" ".join(words)[:200], why) for words in monitor.seen if (why := problem(words, most, besides))]
        assert refused == [], path
        assert 1 <= len(trips) <= 2 or page == "/export", path


@pytest.mark.parametrize(
    ("sent", "fine"),
    [
        ("LRANGE queue:default 0 -1", False),
        ("LRANGE queue:default 0 199", True),
        ("LRANGE queue:default 0 200", False),
        ("LRANGE queue:default -50 -1", True),
        ("ZRANGE retry -inf +inf BYSCORE LIMIT 0 51 WITHSCORES", True),
        ("ZRANGE retry -inf +inf BYSCORE LIMIT 0 -1", False),
        ("SMEMBERS queues", True),
        ("SMEMBERS b-123-jids", False),
        ("HGETALL cron_job:a", True),
        ("HGETALL jobd:unique", False),
        ("KEYS *", False),
        ("EVALSHA abc 0", False),
        ("DEL retry", False),
    ],
)
def test_the_rule_finds_what_grows(sent: str, fine: bool) -> None:
    assert (problem(sent.split(" "), 200, frozenset()) is None) is fine


@pytest.mark.usefixtures("full")
def test_every_page_is_for_a_user_of_redis_that_may_only_read(redis: Redis, client: Client, redis_url: str) -> None:
    known = filled_by(client)
    redis.acl_setuser("looker", enabled=True, passwords=["+pw"], keys=["*"], categories=["+@read"])
    mark = "&" if "?" in redis_url else "?"
    looker = Client(f"{redis_url}{mark}username=looker&password=pw")
    try:
        browser = Browser(jobd.web.app(looker, read_only=True))
        for address in (*known, "/health", "/retries?q=plain", "/queues/default?q=plain", "/jobs/rplain"):
            assert browser.get(address).status_code == 200, address
    finally:
        looker.close()
        redis.acl_deluser("looker")


@pytest.mark.usefixtures("full")
def test_every_page_is_shown_on_a_replica_and_a_button_says_that_it_takes_no_changes(
    redis: Redis, client: Client
) -> None:
    known = filled_by(client)
    redis.replicaof("127.0.0.1", "1")
    try:
        browser = Browser(jobd.web.app(client, read_only=False))
        for address in known:
            assert browser.get(address).status_code == 200, address
        answer = browser.post("/queues/low", {"action": "pause"})
        assert (answer.status_code, "replica" in answer.text) == (503, True)
    finally:
        redis.replicaof("NO", "ONE")


def filled_by(client: Client) -> list[str]:
    """The addresses of all pages."""
    browser = Browser(jobd.web.app(client, read_only=True))
    return [filled(path, browser) for path in addresses()]


def state(redis: Redis) -> dict[bytes, Any]:
    """All that is in Redis."""
    found: Any = redis.keys("*")
    return {key: held(redis, key) for key in found}


def test_looking_at_any_page_changes_nothing(redis: Redis, client: Client) -> None:
    fill_all(redis, client)
    known = filled_by(client)
    before = state(redis)
    browser = Browser(jobd.web.app(client, read_only=False))
    for address in known:
        assert browser.send("HEAD", address).status_code == browser.get(address).status_code == 200
    assert state(redis) == before


def test_a_load_balancer_is_told_only_whether_it_works(client: Client) -> None:
    app = jobd.web.app(client, auth=lambda request: None, hosts=["jobs.test"])
    for method in ("GET", "HEAD"):
        answer = Browser(app).send(method, "/health", headers={"host": "10.0.0.7"})
        assert (answer.status_code, answer.text) == (200, "ok\n" if method == "GET" else "")
    gone = Client("redis://127.0.0.1:1/0")
    answer = Browser(jobd.web.app(gone, read_only=True)).get("/health")
    assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (503, "unavailable\n", "1")
    gone.close()


def test_a_head_of_the_stream_does_not_begin_one_and_streams_can_be_switched_off(client: Client) -> None:
    app = jobd.web.app(client, read_only=True)
    answer = Browser(app).send("HEAD", "/live")
    assert (answer.status_code, answer.text, answer.headers["content-type"].partition(";")[0]) == (
        200,
        "",
        "text/event-stream",
    )
    assert Browser(jobd.web.app(client, read_only=True, streams=False)).get("/live").status_code == 204


def test_a_page_of_jobs_with_long_tags_is_small(redis: Redis, client: Client) -> None:
    for number in range(60):
        redis.zadd("dead", {payload(f"j{number}", tags=["t<" * 100] * 20): number})
    browser = Browser(jobd.web.app(client, read_only=True))
    assert len(browser.get("/dead").content) < 200_000
    first = browser.data("/dead")["jobs"][0]
    assert (len(first["tags"]), first["tags"][-1], len(first["tags"][0])) == (8, "…", 61)
    shown = browser.data(f"/jobs/{first['jid']}?in=dead&key={first['key']}")["job"]
    assert shown["tags"][0] == "t<" * 100
