"""The page of Redis itself: what INFO tells, what may not be asked, what needs attention, what takes memory."""

from __future__ import annotations

import pytest
from redis import Redis

import jobd.web
from jobd.client import keys
from jobd.client.keys import Keys
from jobd.client.push import Client
from jobd.web import sample, server, totals
from jobd.web.masking import HIDDEN, Masker
from jobd.web.pages.redis import command_text
from jobd.web.vietnamese import VIETNAMESE
from tests.client.api import fill_queue, fill_set
from tests.servers import RedisServer
from tests.web.browser import Browser, Page
from tests.web.test_pages import browser_url


def test_the_page_tells_what_info_tells(browser: Browser, redis: Redis) -> None:
    fill_set(redis, "dead", 3)
    fill_queue(redis, 5)
    told = browser.data("/redis")
    info = redis.info()
    assert told["info"]["version"] in (info.get("valkey_version"), info["redis_version"])
    assert (told["info"]["role"], told["info"]["memory"]["policy"]) == ("master", "noeviction")
    assert told["info"]["memory"]["peak"] >= told["info"]["memory"]["used"] > 0
    assert told["info"]["keyspace"] == [{"db": 0, "keys": 3, "expiring": 0}]
    assert [(each["kind"], each["size"]) for each in told["largest"][:2]] == [("queue", 5), ("dead", 3)]
    assert told["refused"] == {}
    page = Page.of(browser.get("/redis").text).text
    assert told["info"]["version"] in page
    assert "Take a sample" in page


def test_what_the_user_of_redis_may_not_ask_is_said_in_its_place(redis: Redis, client: Client) -> None:
    fill_queue(redis, 2)
    redis.acl_setuser(
        "looker",
        enabled=True,
        passwords=["+pw"],
        keys=["*"],
        categories=["+@read"],
        commands=["+ping", "+client|setname"],
    )
    known = browser_url(redis)
    url = f"{known}?username=looker&password=pw" if known.startswith("unix") else known.replace("//", "//looker:pw@")
    looker = Client(url)
    try:
        browser = Browser(jobd.web.app(looker, read_only=True))
        told = browser.data("/redis")
        assert (told["info"], told["slow"]) == (None, None)
        assert told["refused"] == {"info": "+info", "slowlog|get": "+slowlog|get", "config|get": "+config|get"}
        page = browser.get("/redis")
        assert (page.status_code, "not allowed: +info" in page.text, "pw" in page.text) == (200, True, False)
        assert browser.data("/totals")["enqueued"] == 2
        assert browser.data("/redis?sample=1")["sample"]["complete"]
    finally:
        looker.close()
        redis.acl_deluser("looker")


def test_memory_and_policy_need_attention_on_the_dashboard() -> None:
    with RedisServer(args=["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]) as alone:
        client = Client(alone.url)
        try:
            browser = Browser(jobd.web.app(client, read_only=True))
            told = [each["text"] for each in browser.data("/overview")["attention"]]
            assert [text for text in told if "{policy}" in text]
            assert "allkeys-lru" in browser.get("/").text
            assert browser.data("/redis")["info"]["memory"]["share"] < 0.8
        finally:
            client.close()


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({}, []),
        ({"used_memory": 80, "maxmemory": 100}, []),
        ({"used_memory": 81, "maxmemory": 100}, ["Redis uses {percent} of its memory: when it is full"]),
        (
            {"used_memory": 81, "maxmemory": 100, "maxmemory_policy": "allkeys-lru"},
            ["Redis uses {percent} of its memory.", "Redis is set to delete keys"],
        ),
        ({"used_memory": 81, "maxmemory": 0}, []),
        ({"maxmemory_policy": "volatile-lru"}, ["Redis is set to delete keys"]),
        ({"rdb_last_bgsave_status": "err"}, ["Redis could not save"]),
        ({"aof_last_write_status": "err"}, ["Redis cannot write"]),
        ({"aof_last_bgrewrite_status": "err"}, ["Redis cannot write"]),
        ({"used_memory": "broken", "maxmemory": None}, []),
    ],
)
def test_what_of_redis_needs_attention(info: dict[str, object], said: list[str]) -> None:
    found = totals.attention(totals.Totals(0.0, 0, 0, 0, 0, 0, (), (), 10_000, server.Server.of(info)))
    assert len(found) == len(said)
    assert all(each.text.startswith(text) for each, text in zip(found, said, strict=True))
    assert all(each.page == "/redis" and each.text in VIETNAMESE and each.text.format(**each.values) for each in found)


def test_redis_is_asked_about_itself_every_ten_seconds_and_a_refusal_holds_a_minute() -> None:
    now = [0.0]
    watch = server.Watch(lambda: now[0])
    assert watch.is_due
    watch.note([{"used_memory": 5}, {"aof_last_write_status": "err"}])
    assert watch.server == server.Server(used=5, written=False)
    now[0] = 9.9
    assert not watch.is_due
    now[0] = 10.0
    assert watch.is_due
    watch.note([ValueError(), ValueError()])
    assert watch.server is None
    now[0] = 69.9
    assert not watch.is_due


def test_pages_within_ten_seconds_ask_for_it_once(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.web.context.MAX_AGE", 0.0)
    before = redis.info("commandstats").get("cmdstat_info", {"calls": 0})["calls"]
    for _ in range(4):
        browser.get("/queues")
    asked = redis.info("commandstats")["cmdstat_info"]["calls"] - before
    assert asked == len(server.SECTIONS) + 1  # the last is this test's own


def test_a_replica_its_link_and_the_databases_are_told() -> None:
    told = server.document(
        {
            "redis_version": "6.2.0",
            "master_repl_offset": 100,
            "slave0": {"ip": "10.0.0.2", "port": 6379, "state": "online", "offset": 60, "lag": 1},
            "slave1": "broken",
            "master_host": "10.0.0.1",
            "master_port": 6379,
            "master_link_status": "down",
            "db3": {"keys": 7, "expires": 2},
        }
    )
    assert told["software"] == "Redis"
    assert told["replicas"] == [{"address": "10.0.0.2:6379", "state": "online", "behind": 40, "lag": 1.0}]
    assert (told["master"]["address"], told["master"]["linked"]) == ("10.0.0.1:6379", False)
    assert told["keyspace"] == [{"db": 3, "keys": 7, "expiring": 2}]


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("HSET k password=hunter2", f"HSET k password={HIDDEN}"),
        ("AUTH default hunter2", f"AUTH {HIDDEN}"),
        ("config set requirepass hunter2", f"config set {HIDDEN}"),
        ("ACL SETUSER ann >hunter2", f"ACL SETUSER {HIDDEN}"),
        ("HELLO 3 AUTH ann hunter2", f"HELLO {HIDDEN}"),
        ('LPUSH queue:q {"args":[{"api_key":"hunter2', f'LPUSH queue:q {{"args":[{{"api_key":{HIDDEN}'),
        ("LRANGE " + "x" * 300, "LRANGE " + "x" * 193 + "…"),
    ],
)
def test_slow_commands_are_shown_without_secrets(command: str, shown: str) -> None:
    assert command_text(command, Masker()) == shown


def test_slow_commands_are_listed_the_latest_first() -> None:
    with RedisServer(args=["--slowlog-log-slower-than", "0"]) as alone:
        client = Client(alone.url)
        try:
            with alone.client() as redis:
                redis.set("password", "x", px=60_000)
                redis.echo('{"token": "hunter2"}')
            answer = Browser(jobd.web.app(client, read_only=True)).get("/api/v1/redis")
            commands = [each["command"] for each in answer.json()["slow"]]
        finally:
            client.close()
    assert "hunter2" not in answer.text
    assert f'ECHO {{"token": {HIDDEN}}}' in commands
    assert len(commands) <= 20


def test_a_sample_tells_families_and_says_that_it_is_one(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_queue(redis, 200)
    fill_set(redis, "retry", 50)
    redis.mset({f"jobd:metrics:{i}": "x" * 100 for i in range(900)})
    redis.mset({f"foreign{i}": "x" for i in range(100)})
    monkeypatch.setattr(sample, "SECONDS", 60.0)
    whole = browser.data("/redis?sample=1")["sample"]
    families = {each["family"]: each for each in whole["families"]}
    assert (families["metrics"]["keys"], families["others"]["keys"], whole["seen"]) == (900, 100, 1_003)
    assert whole["complete"]
    assert families["queues"]["bytes"] > 200 * 50
    assert "Memory by family of keys" in browser.get("/redis?sample=1").text
    monkeypatch.setattr(sample, "SECONDS", 0.0)
    part = browser.data("/redis?sample=1")["sample"]
    assert not part["complete"]
    assert part["seen"] < part["count"] == 1_003
    estimated = sum(each["keys"] for each in part["families"])
    assert 990 <= estimated <= 1_010
    assert "An estimate from a sample" in browser.get("/redis?sample=1").text
    assert browser.get("/redis?sample=2").status_code == 400


def test_a_sample_is_taken_only_when_it_is_asked_for(browser: Browser, redis: Redis) -> None:
    redis.config_resetstat()
    browser.get("/redis")
    used = redis.info("commandstats")
    assert "cmdstat_scan" not in used
    assert "cmdstat_memory|usage" not in used
    browser.get("/redis?sample=1")
    assert "cmdstat_scan" in redis.info("commandstats")


@pytest.mark.parametrize(
    ("key", "family"),
    [
        ("queue:default", "queues"),
        ("retry", "retry"),
        ("dead", "dead"),
        ("host:42:0a1b2c", "processes"),
        ("host:42:0a1b2c:work", "processes"),
        ("host:42:0a1b2c-signals", "processes"),
        ("j|261122|15:02", "metrics"),
        ("h|Job-22-15:2", "metrics"),
        ("Old::Job-22-15:2", "metrics"),
        ("jobd:metrics:26112215", "metrics"),
        ("cron_job:tick:enqueued", "cron"),
        ("stat:processed:2026-11-22", "statistics"),
        ("jobd:owner:jobs", "jobd"),
        ("session:1", "others"),
    ],
)
def test_a_key_belongs_to_a_family(key: str, family: str) -> None:
    assert keys.family(Keys(), key) == family
    assert keys.family(Keys("{app}:"), "{app}:" + key) == family
    assert keys.family(Keys("{app}:"), key) == "others"
