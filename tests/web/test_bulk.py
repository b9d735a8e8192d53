"""Changes of many jobs: begun by one process, shown and stopped by any, and harmless to kill at any moment."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

import jobd.web
from jobd.client import defaults
from jobd.client.bulk import BulkResult
from jobd.client.push import Client
from jobd.client.queues import Queue
from jobd.web import bulk
from jobd.web.pages.many import ASK_FOR_THE_NAME
from tests.client.api import fill_queue, fill_set, payload, queued
from tests.waiting import wait_until
from tests.web.browser import Browser, Page

ROOT = Path(__file__).parents[2]


def finished(browser: Browser, run: str) -> Any:
    """How a change of many ended."""
    wait_until(lambda: browser.data(f"/bulk/{run}")["state"] != "running", "the end of a change of many")
    return browser.data(f"/bulk/{run}")


def begin(browser: Browser, path: str, **fields: Any) -> str:
    """Have all changed, as programs do: asked for the count, then confirmed."""
    asked = browser.act(path, all="yes", **fields)
    assert asked.status_code == 409, asked.text
    answer = browser.act(path, **{**dict(asked.json()["fields"]), **fields, "all": "yes", "confirmed": "yes"})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["bulk"])


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BulkResult]]:
    """Changes wait after their first portion; emptying the list lets them go on."""
    told: list[BulkResult] = []
    tell, released = bulk._Run._tell, []

    def wait(self: Any, state: str, result: BulkResult, **more: str) -> bool:
        stop = tell(self, state, result, **more)
        if state == "running" and result.moved and not released:
            told.append(result)
            wait_until(lambda: not told, "the test lets it go on")
            released.append(True)
            return tell(self, state, result)
        return stop

    monkeypatch.setattr(bulk._Run, "_tell", wait)
    yield told
    told.clear()


def test_what_concerns_many_is_answered_at_once_and_shown_to_its_end(browser: Browser, redis: Redis) -> None:
    fill_set(redis, "retry", 1_000, retry_count=1)
    redis.zadd("retry", {payload(f"x{i}", **{"class": "Other"}): 5.5 for i in range(3)} | {b"{broken": 7.5})
    run = begin(browser, "/retries", action="retry", q="class:HardJob")
    told = finished(browser, run)
    expected = {"state": "done", "moved": 1_000, "gone": 0, "malformed": 0, "of": 1_000, "place": "retries"}
    assert {name: told[name] for name in expected} == expected
    assert told["looked_at"] == 1_004
    assert [job["jid"] for job in queued(redis)] == [f"j{i}" for i in range(1_000)]
    assert redis.zcard("retry") == 4
    page = Page.of(browser.get(f"/bulk/{run}").text)
    assert "✓ Done." in page.text
    assert "1,000 of 1,000" in page.text
    assert not [each for each in page.all("meta") if each.get("http-equiv") == "refresh"]
    assert 0 < redis.ttl(f"jobd:bulk:{run}") <= defaults.BULK_TTL
    assert redis.keys("jobd:bulk-slot:*") == []


def test_jobs_that_name_no_queue_keep_their_place_among_those_that_name_the_default(
    browser: Browser, redis: Redis
) -> None:
    jobs = [payload(f"j{i}", retry_count=1) for i in range(1_000)]
    unnamed = [raw.replace(b'"queue":"default",', b"") for raw in jobs]
    redis.zadd("retry", {(unnamed if i % 2 else jobs)[i]: 1.0 + i for i in range(1_000)})
    finished(browser, begin(browser, "/retries", action="retry"))
    assert [job["jid"] for job in queued(redis)] == [f"j{i}" for i in range(1_000)]


def test_people_are_led_to_the_page_that_shows_how_far_it_is(
    browser: Browser, redis: Redis, held: list[BulkResult]
) -> None:
    fill_set(redis, "dead", 900)
    form = {"action": "delete", "all": "yes", "confirmed": "yes", "of": "900"}
    where = browser.post("/dead", form).headers["location"]
    assert where.startswith("/bulk/")
    wait_until(lambda: bool(held), "the first portion")
    page = Page.of(browser.get(where).text)
    assert "▶ Goes on." in page.text
    assert "200 of 900" in page.text
    assert [each["content"] for each in page.all("meta") if each.get("http-equiv") == "refresh"] == ["2"]
    assert [(each["max"], each["value"]) for each in page.all("progress")] == [("900", "200")]
    held.clear()
    assert finished(browser, where.removeprefix("/bulk/"))["moved"] == 900


def test_another_process_stops_it(browser: Browser, redis: Redis, redis_url: str, held: list[BulkResult]) -> None:
    fill_set(redis, "retry", 1_000)
    run = begin(browser, "/retries", action="kill")
    wait_until(lambda: bool(held), "the first portion")
    other = Client(redis_url)
    elsewhere = Browser(jobd.web.app(other, read_only=False))
    assert elsewhere.post(f"/bulk/{run}", {"action": "stop"}).headers["location"].startswith(f"/bulk/{run}?")
    assert "Stops after the portion at which it is." in elsewhere.get(f"/bulk/{run}").text
    held.clear()
    told = finished(elsewhere, run)
    other.close()
    assert (told["state"], told["moved"]) == ("stopped", 200)
    assert (redis.zcard("retry"), redis.zcard("dead")) == (800, 200)
    assert "‖ Stopped by hand." in browser.get(f"/bulk/{run}").text


def test_who_may_enqueue_stops_what_enqueues_again(redis: Redis, client: Client, held: list[BulkResult]) -> None:
    app = jobd.web.app(client, auth=lambda request: "ann", authorize=lambda user, asked: asked in ("view", "enqueue"))
    browser, looker = Browser(app), Browser(jobd.web.app(client, authorize=lambda user, asked: asked == "view"))
    fill_queue(redis, 1_000)
    run = begin(browser, "/queues/default", action="copy")
    wait_until(lambda: bool(held), "the first portion")
    assert [each.data(f"/bulk/{run}")["may_stop"] for each in (browser, looker)] == [True, False]
    assert looker.act(f"/bulk/{run}", action="stop").status_code == 403
    assert browser.act(f"/bulk/{run}", action="stop").status_code == 200
    held.clear()
    assert finished(browser, run)["state"] == "stopped"


def test_how_it_ended_is_in_the_record_of_who_did_what(browser: Browser, redis: Redis) -> None:
    fill_set(redis, "retry", 600)
    run = begin(browser, "/retries", action="kill", q="class:HardJob")
    finished(browser, run)
    ended, begun = browser.data("/activity")["records"]
    assert (begun["target"], begun["counts"], begun["page"]) == (run, {}, "/retries")
    assert (ended["target"], ended["counts"], ended["page"]) == (run, {"moved": 600}, f"/bulk/{run}")
    assert (ended["action"], ended["filter"], ended["result"]) == ("kill", "class:HardJob", "done")
    assert ended["address"] == begun["address"] == "127.0.0.1"


def test_a_slot_that_is_anothers_by_now_is_neither_kept_nor_given_up(
    browser: Browser, redis: Redis, held: list[BulkResult]
) -> None:
    fill_set(redis, "retry", 600)
    run = begin(browser, "/retries", action="kill")
    wait_until(lambda: bool(held), "the first portion")
    [slot] = redis.keys("jobd:bulk-slot:*")
    redis.set(slot, "another", ex=5_000)
    held.clear()
    assert finished(browser, run)["state"] == "done"
    assert redis.get(slot) == b"another"
    assert redis.ttl(slot) > defaults.BULK_LEASE + 1_000


def test_only_who_may_do_what_it_does_stops_it(browser: Browser, client: Client, redis: Redis) -> None:
    fill_set(redis, "retry", 600)
    run = begin(browser, "/retries", action="kill")
    finished(browser, run)
    app = jobd.web.app(client, auth=lambda request: "ann", authorize=lambda user, asked: asked != "kill")
    assert Browser(app).post(f"/bulk/{run}", {"action": "stop"}).status_code == 403
    assert browser.post(f"/bulk/{run}", {"action": "explode"}).status_code == 400
    for wrong in ("0" * 16, "x", "0" * 17):
        assert browser.post(f"/bulk/{wrong}", {"action": "stop"}).status_code == 404
        assert browser.get(f"/bulk/{wrong}").status_code == 404
    looker = Browser(jobd.web.app(client, read_only=True))
    assert looker.get(f"/bulk/{run}").status_code == 200
    assert looker.post(f"/bulk/{run}", {"action": "stop"}).status_code == 405


def test_two_go_on_at_one_time_and_no_third(browser: Browser, redis: Redis, held: list[BulkResult]) -> None:
    fill_set(redis, "retry", 1_200)
    fill_set(redis, "dead", 600)
    fill_set(redis, "schedule", 600)
    first = begin(browser, "/dead", action="delete", typed="dead")
    wait_until(lambda: len(held) == 1, "the first portion")
    second = begin(browser, "/scheduled", action="enqueue")
    wait_until(lambda: len(held) == 2, "the first portion")
    third = browser.act("/retries", action="retry", all="yes", confirmed="yes")
    assert (third.status_code, "2 changes of many jobs go on already" in third.text) == (409, True)
    held.clear()
    assert {finished(browser, run)["state"] for run in (first, second)} == {"done"}
    wait_until(lambda: not redis.keys("jobd:bulk-slot:*"), "both have ended")
    assert finished(browser, begin(browser, "/retries", action="retry"))["moved"] == 1_200


KILLED = """
import sys
import jobd.web
from jobd.client.push import Client
from jobd.web import bulk
from tests.web.browser import Browser

tell, portions = bulk._Run._tell, []

def say(line):
    sys.stdout.write(line + "\\n"), sys.stdout.flush()  # at once: two threads do

def stop_here(self, state, result, **more):
    portions.append(result.moved)
    if len(portions) == 4:
        say("here"), sys.stdin.read()
    return tell(self, state, result, **more)

bulk._Run._tell = stop_here
browser = Browser(jobd.web.app(Client({url!r}), read_only=False))
answer = browser.act("/retries", action="retry", all="yes", confirmed="yes")
say(answer.json()["bulk"])
sys.stdin.read()
"""


def test_a_kill_in_the_middle_loses_and_doubles_nothing_and_is_said(
    browser: Browser, redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_set(redis, "retry", 2_000)
    code = KILLED.format(url=redis_url)
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = {child.stdout.readline().strip(), child.stdout.readline().strip()}
        child.send_signal(signal.SIGKILL)
    [run] = lines - {"here"}
    assert redis.zcard("retry") == 1_400
    monkeypatch.setattr(defaults, "BULK_LEASE", 0.0)
    wait_until(lambda: browser.data(f"/bulk/{run}")["state"] == "interrupted", "it is told")
    assert "Interrupted after at least 400" in browser.get(f"/bulk/{run}").text
    monkeypatch.undo()
    assert finished(browser, begin(browser, "/retries", action="retry"))["moved"] == 1_400
    assert sorted(job["jid"] for job in queued(redis)) == sorted(f"j{i}" for i in range(2_000))


@pytest.mark.parametrize(("action", "doubles"), [("copy", True), ("delete", False)])
def test_of_an_interrupted_copy_is_said_that_it_doubles_when_done_again(
    browser: Browser, redis: Redis, held: list[BulkResult], monkeypatch: pytest.MonkeyPatch, action: str, doubles: bool
) -> None:
    fill_queue(redis, 900)
    run = begin(browser, "/queues/default", action=action)
    wait_until(lambda: bool(held), "the first portion")
    monkeypatch.setattr(defaults, "BULK_LEASE", 0.0)
    wait_until(lambda: browser.data(f"/bulk/{run}")["state"] == "interrupted", "it is told")
    text = Page.of(browser.get(f"/bulk/{run}").text).text
    said = "Done again, it copies those that were copied already as well.", "No job is lost or doubled"
    assert [each in text for each in said] == [doubles, not doubles]


def test_a_lost_connection_is_said_with_what_was_done(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_set(redis, "retry", 600)
    redis.set("queue:default", "no list")
    run = begin(browser, "/retries", action="retry")
    told = finished(browser, run)
    assert (told["moved"], redis.zcard("retry")) == (0, 600)
    monkeypatch.setattr("jobd.client.scripts.bury", lambda *given: 1 / 0)
    run = begin(browser, "/retries", action="kill")
    told = finished(browser, run)
    assert (told["state"], "web.failed" in told["error"]) == ("failed", True)


def test_jobs_get_another_time_one_by_one_and_all_that_match(browser: Browser, redis: Redis) -> None:
    later = time.time() // 1 + 7_200
    fill_set(redis, "schedule", 700)
    redis.zadd("schedule", {payload("x", **{"class": "Other", "expires_in": 10.0}): 5.5})
    [key] = [job["key"] for job in browser.data("/scheduled?q=class:Other")["jobs"]]
    done = browser.post("/scheduled", {"action": "reschedule", "key": key, "at": "2026-11-22T10:00"})
    assert done.headers["location"].endswith("did=reschedule&moved=1")
    assert "Given another time: 1." in browser.get(done.headers["location"]).text
    [(raw, score)] = redis.zrange("schedule", -1, -1, withscores=True)
    assert score == 1_795_341_600
    assert json.loads(raw)["expires_in"] == pytest.approx(10 + score - 5.5)
    told = finished(browser, begin(browser, "/scheduled", action="reschedule", at=str(later), q="class:HardJob"))
    assert (told["moved"], told["at"]) == (700, later)
    assert redis.zcount("schedule", later, later) == 700
    for wrong in ("", "soon", "1e400", "9" * 30):
        assert browser.act("/scheduled", action="reschedule", key=[key], at=wrong).status_code == 400
    assert browser.act("/scheduled", action="reschedule", key=[key], at="10m").json() == {
        "action": "reschedule",
        "moved": 0,
        "gone": 1,
    }


def test_a_page_is_meant_without_ticking_its_rows(browser: Browser, redis: Redis) -> None:
    fill_set(redis, "retry", 60)
    page = Page.of(browser.get("/retries").text)
    [shown] = [each["value"] for each in page.all("input") if each.get("name") == "shown"]
    done = browser.post("/retries", {"page": "retry", "shown": shown})
    assert done.headers["location"].endswith("moved=50")
    assert redis.zcard("retry") == 10


def test_all_jobs_of_a_queue_that_match_are_deleted_while_others_are_taken_and_pushed(
    browser: Browser, redis: Redis
) -> None:
    for start in range(6):
        fill_queue(redis, 300, **{"class": "Odd" if start % 2 else "Even", "args": [start]})
    asked = browser.act("/queues/default", action="delete", all="yes", q="class:Odd")
    assert (asked.status_code, asked.json()["count"]) == (409, 900)
    redis.lpush("queue:default", payload("late", **{"class": "Odd", "enqueued_at": time.time() + 60}))
    for _ in range(10):
        redis.rpop("queue:default")
    fields = dict(asked.json()["fields"])
    run = browser.act("/queues/default", **fields, confirmed="yes").json()["bulk"]
    told = finished(browser, run)
    assert (told["moved"], told["queue"]) == (900, "default")
    left = queued(redis)
    assert [job["class"] for job in left] == ["Even"] * 890 + ["Odd"]
    assert [job["jid"] for job in left[:3]] == ["j10", "j11", "j12"]


def test_jobs_within_a_queue_are_deleted_in_one_pass_and_the_rest_keep_their_order(
    redis: Redis, client: Client
) -> None:
    fill_queue(redis, 2_500)
    twice = payload("twice")
    redis.lpush("queue:default", twice, twice)
    queue = Queue("default", client)
    for page in queue.pages():
        chosen = [entry for entry in page if entry.jid.endswith(("3", "7"))]
        for _ in range(7):
            redis.rpop("queue:default")
        taken = sum(1 for entry in chosen if entry.place < 7)
        result = queue.delete_all(chosen)
        assert (result.moved, result.gone) == (len(chosen) - taken, taken)
    left = [job["jid"] for job in queued(redis)]
    gone = {f"j{i}" for i in range(2_500) if i % 10 in (3, 7)}
    assert not gone & set(left)
    assert [jid for jid in left if jid != "twice"] == [f"j{i}" for i in range(2_500) if f"j{i}" in set(left)]
    assert left[-2:] == ["twice", "twice"]
    [*_, last] = list(queue.pages())
    assert queue.delete_all(last[-1:]).moved == 1
    assert len(queued(redis)) == len(left) - 1


def test_it_rests_after_each_portion(browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    rests, rest = list[float](), bulk.rest
    monkeypatch.setattr(bulk, "rest", lambda took: (rests.append(took), rest(took)))
    fill_set(redis, "retry", 1_000, retry_count=1)
    finished(browser, begin(browser, "/retries", action="retry"))
    assert len(rests) >= 5
    assert min(rests) > 0
    slept = list[float]()
    monkeypatch.setattr(bulk.time, "sleep", slept.append)
    rest(0.002)
    rest(60.0)
    monkeypatch.undo()
    assert slept == [0.004, bulk.LONGEST_REST]


def test_it_leaves_a_line_in_the_log(browser: Browser, redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    fill_set(redis, "dead", 600)
    with caplog.at_level(logging.INFO, "jobd"):
        run = begin(browser, "/dead", action="delete", q="class:HardJob")
        finished(browser, run)
        wait_until(lambda: "web.bulk " in caplog.text, "its line")
    [line] = [record.getMessage() for record in caplog.records if record.getMessage().startswith("web.bulk ")]
    told = json.loads(line.removeprefix("web.bulk "))
    expected = {"id": run, "action": "delete", "on": "dead", "q": "class:HardJob", "state": "done", "moved": 600}
    assert {name: told[name] for name in expected} == expected


@pytest.mark.parametrize("until", ["nan", "NaN", "-nan", "soon"])
def test_a_moment_that_is_none_lets_nothing_pass(until: str, browser: Browser, redis: Redis) -> None:
    redis.zadd("dead", {payload("later"): time.time() + 3600})
    answer = browser.act("/dead", action="delete", all="yes", until=until, confirmed="yes")
    assert (answer.status_code, "until is no time" in answer.text) == (400, True)
    assert browser.act("/dead", action="delete", all="yes", until="inf", confirmed="yes").json()["moved"] == 0
    assert redis.zcard("dead") == 1


def test_the_name_is_to_be_typed_whatever_a_request_says_of_that(browser: Browser, redis: Redis) -> None:
    fill_set(redis, "dead", ASK_FOR_THE_NAME)
    question = browser.post("/dead", {"action": "delete", "all": "yes", "confirmed": "yes"})
    assert (question.status_code, "Type dead to confirm:" in question.text) == (200, True)
    assert browser.act("/dead", action="delete", all="yes", confirmed="yes").status_code == 409
    assert redis.zcard("dead") == ASK_FOR_THE_NAME
    redis.zpopmin("dead")
    assert browser.post("/dead", {"action": "delete", "all": "yes", "confirmed": "yes"}).status_code == 303
