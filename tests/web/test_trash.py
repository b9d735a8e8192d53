"""What is deleted, and how it comes back within an hour."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from redis import Redis

import jobd.web
from jobd.client import defaults
from jobd.client.push import Client
from jobd.web import trash
from jobd.web.trash import Deletion
from tests.client.api import fill_queue, fill_set, payload, queued
from tests.web.browser import Browser, Page
from tests.web.test_bulk import ROOT, begin, finished


def keys_of(browser: Browser, path: str, *places: int) -> list[str]:
    """The keys of rows of a list."""
    jobs = browser.data(path)["jobs"]
    return [jobs[place]["key"] for place in places]


def undo(browser: Browser, name: str, status: int = 200) -> Any:
    """Have a deletion taken back."""
    answer = browser.act(f"/undo/{name}", action="undo")
    assert answer.status_code == status, answer.text
    return answer.json()


def test_deleted_jobs_of_a_set_come_back_with_the_bytes_and_times_that_they_had(browser: Browser, redis: Redis) -> None:
    redis.zadd("retry", {payload("a"): 1_795_305_716.7504678, b"{damaged \xff": 5.0, payload("c"): float("inf")})
    before: Any = redis.zrange("retry", 0, -1, withscores=True)
    keys = keys_of(browser, "/retries", 0, 1, 2)
    asked = Page.of(browser.post("/retries", [("action", "delete"), *(("key", key) for key in keys)]).text)
    assert "For an hour they can be put back, the first 10,000 of them, up to 10.0 MB." in " ".join(asked.text.split())
    done = browser.post("/retries", [("action", "delete"), ("confirmed", "yes"), *(("key", key) for key in keys)])
    where = done.headers["location"]
    assert not redis.exists("retry")
    page = Page.of(browser.get(where).text)
    [form] = [str(each["action"]) for each in page.all("form") if str(each.get("action")).startswith("/undo/")]
    assert form == f"/undo/{where.rpartition('=')[2]}"
    back = browser.post(form, {"action": "undo"})
    assert back.headers["location"] == "/retries?did=undo&moved=3"
    assert "Put back: 3." in browser.get(back.headers["location"]).text
    after: Any = redis.zrange("retry", 0, -1, withscores=True)
    assert after[:2] == before[:2]
    assert after[2][0] == before[2][0]
    assert redis.keys("jobd:trash*") == []
    assert browser.post(form, {"action": "undo"}).status_code == 404, "a second click"


def test_deleted_jobs_of_a_queue_come_back_last_and_in_their_order(browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 12)
    redis.lpush("queue:default", b"{damaged")
    keys = keys_of(browser, "/queues/default", 10, 1, 9, 12)
    name = browser.act("/queues/default", action="delete", key=keys).json()["undo"]
    assert len(queued(redis)) == 9
    shown = browser.data(f"/undo/{name}")
    assert (shown["left"], shown["places"]) == (4, [{"place": "queue", "queue": "default", "jobs": 4}])
    redis.delete("queue:default", "queues")
    assert undo(browser, name) == {"action": "undo", "moved": 4}
    raws: Any = redis.lrange("queue:default", 0, -1)
    assert raws == [b"{damaged", *(payload(f"j{number}") for number in (10, 9, 1))]
    assert redis.smembers("queues") == {b"default"}


def test_all_that_match_and_a_cause_are_put_back_too(browser: Browser, redis: Redis) -> None:
    failed = {"error_class": "Timeout", "failed_at": 1_795_305_700.0, "retry_count": 1}
    fill_set(redis, "retry", 700, **failed)
    fill_set(redis, "dead", 3, **failed)
    before = redis.dump("retry"), redis.dump("dead")
    run = begin(browser, "/retries", action="delete")
    ended = finished(browser, run)
    assert (ended["moved"], redis.exists("retry")) == (700, 0)
    assert f'href="/undo/{ended["undo"]}"' in browser.get(f"/bulk/{run}").text
    assert f'href="/undo/{ended["undo"]}"' in browser.get("/activity").text
    assert undo(browser, ended["undo"])["moved"] == 700
    group = browser.data("/failures")["causes"][0]["id"]
    asked = browser.act("/failures", action="delete", group=group).json()
    done = browser.act("/failures", **dict(asked["fields"]), confirmed="yes").json()
    assert (done["moved"], redis.exists("retry", "dead")) == (703, 0)
    assert undo(browser, done["undo"])["moved"] == 703
    assert (redis.zcard("retry"), redis.zcard("dead")) == (700, 3)
    assert sorted(redis.zrange("retry", 0, -1)) == sorted(payload(f"j{n}", **failed) for n in range(700))
    assert before[1] == redis.dump("dead")
    assert [each["action"] for each in browser.data("/activity")["records"]][:2] == ["undo", "delete"]


def test_what_has_no_room_is_gone_and_that_is_said(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "TRASH_JOBS", 3)
    fill_set(redis, "dead", 5)
    keys = keys_of(browser, "/dead", 0, 1, 2, 3, 4)
    done = browser.post("/dead", [("action", "delete"), ("confirmed", "yes"), *(("key", key) for key in keys)])
    page = browser.get(done.headers["location"]).text
    assert "Deleted: 5. Of these for good, as there was no room to keep them: 2." in page
    assert undo(browser, Page.query(done.headers["location"])["undo"])["moved"] == 3
    fill_set(redis, "schedule", 600)
    ended = finished(browser, begin(browser, "/scheduled", action="delete"))
    assert (ended["moved"], ended["final"], ended["of"]) == (600, 597, 600)
    assert "For good, without room to keep them" in browser.get(f"/bulk/{ended['id']}").text
    assert "for good: 597" in browser.get("/activity").text
    assert undo(browser, ended["undo"])["moved"] == 3
    monkeypatch.setattr(defaults, "TRASH_JOBS", 10_000)
    monkeypatch.setattr(defaults, "TRASH_BYTES", 10)
    redis.delete("schedule")
    told = browser.act("/dead", action="delete", key=keys_of(browser, "/dead", 0)).json()
    assert told == {"action": "delete", "moved": 1, "final": 1}
    assert not redis.keys("jobd:trash*")


@pytest.mark.parametrize("spoilt", ["memory", "type"])
def test_where_nothing_can_be_kept_jobs_are_deleted_all_the_same(browser: Browser, redis: Redis, spoilt: str) -> None:
    fill_set(redis, "dead", 300)
    fill_queue(redis, 2)
    keys = keys_of(browser, "/queues/default", 0, 1)
    if spoilt == "type":
        redis.set("jobd:trash", "no hash")
    else:
        redis.config_set("maxmemory", 1)
    try:
        done = browser.act("/dead", action="delete", all="yes", confirmed="yes")
        assert done.json() == {"action": "delete", "moved": 300, "final": 300}
        assert browser.act("/queues/default", action="delete", key=keys).json()["final"] == 2
    finally:
        redis.config_set("maxmemory", 0)
    assert not redis.exists("dead", "queue:default")
    assert not redis.keys("jobd:trash:*")


def test_the_oldest_deletions_make_room_for_new_ones(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "TRASH_DELETIONS", 2)
    fill_set(redis, "dead", 4)
    redis.hset("jobd:trash", mapping={"damaged": b"\xff", "old": json.dumps({"at": 5.0, "places": []})})
    names = [browser.act("/dead", action="delete", key=keys_of(browser, "/dead", 0)).json()["undo"] for _ in "abcd"]
    assert set(redis.hkeys("jobd:trash")) == {name.encode() for name in names[2:]}
    assert {key.decode() for key in redis.keys("jobd:trash:*")} == {f"jobd:trash:{name}:0" for name in names[2:]}
    undo(browser, names[0], 404)
    assert [undo(browser, name)["moved"] for name in names[2:]] == [1, 1]


def test_room_is_made_for_as_much_as_one_deletion_may_keep() -> None:
    held = {str(n): Deletion(str(n), float(n), "", bytes=15_000_000) for n in range(4)}
    assert [each.id for each in trash.over(held)] == ["0", "1"]
    assert trash.over({}) == []


def test_everything_that_is_kept_expires_within_an_hour(browser: Browser, redis: Redis) -> None:
    fill_set(redis, "dead", 1)
    fill_queue(redis, 1)
    for path in ("/dead", "/queues/default"):
        browser.act(path, action="delete", key=keys_of(browser, path, 0))
    kept = redis.keys("jobd:trash*")
    assert len(kept) == 3
    assert all(0 < redis.ttl(key) <= 3600 for key in kept)


def test_without_undo_what_is_deleted_is_gone(client: Client, redis: Redis) -> None:
    browser = Browser(jobd.web.app(client, read_only=False, undo=False))
    fill_set(redis, "dead", 2)
    keys = keys_of(browser, "/dead", 0)
    assert "They are gone for good then." in browser.post("/dead", {"action": "delete", "key": keys[0]}).text
    assert browser.act("/dead", action="delete", key=keys).json() == {"action": "delete", "moved": 1}
    assert not redis.keys("jobd:trash*")


def test_only_who_may_delete_puts_back_and_only_what_is_of_their_queues(client: Client, redis: Redis) -> None:
    def site(*queues: str, without: str = "") -> Browser:
        app = jobd.web.app(client, auth=lambda _: "bob", authorize=lambda _, a: a != without, queues=queues)
        return Browser(app)

    now = time.time()
    redis.zadd("dead", {payload(name, queue=name): now - place for place, name in enumerate(("ours", "theirs"))})
    name = site("*").act("/dead", action="delete", key=keys_of(site("*"), "/dead", 0, 1)).json()["undo"]
    looker = site("*", without="delete")
    undo(looker, name, 403)
    assert 'method="post"' not in looker.get(f"/undo/{name}").text
    assert "/undo/" not in looker.get(f"/dead?did=delete&moved=2&undo={name}").text
    undo(site("elsewhere"), name, 403)
    assert undo(site("ours"), name) == {"action": "undo", "moved": 1, "left": 1}
    assert undo(site("theirs"), name) == {"action": "undo", "moved": 1}
    assert redis.zcard("dead") == 2
    for wrong in ("x", "0" * 16, "0" * 17):
        undo(site("*"), wrong, 404)
    assert site("*").act(f"/undo/{name}", action="explode").status_code == 400


def test_two_who_ask_at_once_share_the_work_and_nothing_comes_twice(
    browser: Browser, redis: Redis, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_queue(redis, 9)
    name = browser.act("/queues/default", action="delete", key=keys_of(browser, "/queues/default", *range(9))).json()
    found = trash.read(redis.hgetall("jobd:trash"), time.time())[name["undo"]]
    monkeypatch.setattr(trash, "_PORTION", 3)
    page, others = trash._page, []

    def meanwhile(*given: Any) -> Any:
        read = page(*given)
        if not others:
            others.append(None)
            others[0] = trash.put_back(client, found, lambda *_: True)
        return read

    monkeypatch.setattr(trash, "_page", meanwhile)
    assert trash.put_back(client, found, lambda *_: True) == (0, 0)
    assert others == [(9, 0)]
    assert [job["jid"] for job in queued(redis)] == [f"j{n}" for n in range(9)]


def test_a_queue_of_a_wrong_type_gets_nothing_and_nothing_is_lost(browser: Browser, redis: Redis) -> None:
    fill_queue(redis, 2)
    keys = keys_of(browser, "/queues/default", 0, 1)
    name = browser.act("/queues/default", action="delete", key=keys).json()["undo"]
    redis.set("queue:default", "no list")
    assert undo(browser, name) == {"action": "undo", "moved": 0, "left": 2}
    redis.delete("queue:default")
    assert undo(browser, name) == {"action": "undo", "moved": 2}


DIES = """
import os, signal, sys
import jobd.web
from jobd.client.access import Access
from jobd.client.push import Client
from tests.web.browser import Browser

change, calls = Access.change, []

def dies(self, call):
    if calls:
        os.kill(os.getpid(), signal.SIGKILL)
    calls.append(None)
    return change(self, call)

Access.change = dies
path, _, action = sys.argv[2].partition(" ")
Browser(jobd.web.app(Client(sys.argv[1]), read_only=False)).act(path, action=action, all="yes", confirmed="yes")
"""


def test_a_kill_in_the_middle_loses_and_doubles_nothing(browser: Browser, redis: Redis, redis_url: str) -> None:
    fill_set(redis, "dead", 450)
    before = redis.zrange("dead", 0, -1, withscores=True)

    def dies(what: str) -> int:
        done = subprocess.run([sys.executable, "-c", DIES, redis_url, what], cwd=ROOT, check=False)
        assert done.returncode == -signal.SIGKILL
        [key] = redis.keys("jobd:trash:*")
        assert redis.zunion(["dead", key], withscores=True, aggregate="MAX") == before
        return int(redis.zcard("dead")) + int(redis.zcard(key))

    assert dies("/dead delete") == 450
    assert redis.zcard("dead") == 250
    [name] = [each.decode() for each in redis.hkeys("jobd:trash")]
    assert undo(browser, name)["moved"] == 200
    name = browser.act("/dead", action="delete", all="yes", confirmed="yes").json()["undo"]
    assert dies(f"/undo/{name} undo") == 450
    assert redis.zcard("dead") == 300
    assert undo(browser, name)["moved"] == 150
    assert redis.zrange("dead", 0, -1, withscores=True) == before
