"""Processes and their jobs: found by filters, told to quiet or stop, one or all, and asked what their threads do."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from redis import Redis

import jobd.web
from jobd.client import payload as wire
from jobd.client.access import Access
from jobd.client.processes import FIELDS, run_of
from jobd.client.push import Client
from jobd.client.stacks import Frame, ThreadStack
from jobd.web import totals
from jobd.web.charts import steps
from jobd.web.pages import busy
from jobd.web.pages.busy import PROCESSES
from jobd.web.questions import answer
from jobd.web.usual import Usual
from jobd.worker import stacks
from tests.web.browser import PROCESS, Browser, Page, fill


def process(redis: Redis, identity: str, *, running: dict[str, float] | None = None, **more: Any) -> str:
    """A process of jobd that runs jobs of these classes for so many seconds."""
    now, given = time.time(), {"queues": ["default"], "concurrency": 5, "version": "jobd-1.0", **more}
    beat = {name: given.pop(name) for name in ("cpu", "skew_ms", "beat", "oldest_at") if name in given}
    info = {"hostname": identity.partition(":")[0], "pid": 1, "identity": identity, "started_at": now - 60, **given}
    oldest = now - max(running.values()) if running else 0.0
    fields = {"busy": len(running or ()), "beat": now, "quiet": "false", "rss": 2048, "concurrency": 5}
    fields |= {"oldest_at": oldest, **beat}
    redis.sadd("processes", identity)
    redis.hset(identity, mapping={"info": json.dumps(info), **fields})
    for number, (name, seconds) in enumerate((running or {}).items()):
        job = wire.encode({"class": name, "args": [], "jid": f"{name}-{number}", "queue": "default"}).decode()
        work = {"queue": "default", "run_at": int(now - seconds), "payload": job}
        redis.hset(f"{identity}:work", f"t{number}", json.dumps(work))
    return identity


def test_each_thread_has_a_mark_by_the_age_of_its_job(browser: Browser, redis: Redis) -> None:
    process(redis, "a:1:x", running={"New": 5, "Young": 30, "Old": 300, "Stuck": 3600})
    [row] = browser.data("/busy")["processes"]
    assert row["threads"] == [4, 3, 2, 1, 0]
    page = Page.of(browser.get("/busy").text)
    marks = [each["class"] for each in page.all("i")][:5]
    assert marks == ["h4", "h3", "h2", "h1", "h0"]
    [told] = [each["aria-label"] for each in page.all("span") if each.get("role") == "img"]
    assert told == "4 / 5, the longest for 1 h"


def test_jobs_stand_in_the_order_of_their_age_and_only_so_many(browser: Browser, redis: Redis) -> None:
    process(redis, "a:1:x", running={f"J{n}": n for n in range(60)})
    data = browser.data("/busy")
    assert [job["class"] for job in data["running"]] == [f"J{n}" for n in range(59, 59 - busy.MOST_RUNNING, -1)]
    assert data["left_out"] == 60 - busy.MOST_RUNNING
    assert len(data["processes"][0]["threads"]) == busy.CELLS


def test_the_first_page_has_the_longest_running_jobs_of_all_processes(browser: Browser, redis: Redis) -> None:
    for number in range(40):
        process(redis, f"p{number:02d}:1:x", running={f"J{number}": 10 + number % 7})
    process(redis, "stuck:1:x", running={"Stuck": 7200, "New": 1})
    browser.get("/busy")  # which processes there are is known from here on
    data = browser.data("/busy")
    assert [job["class"] for job in data["running"]][:1] == ["Stuck"]
    assert (data["elders"], data["unread"], data["untold"]) == (busy.ELDERS, 0, 0)
    assert len(data["processes"]) == PROCESSES
    assert "stuck:1:x" not in {each["identity"] for each in data["processes"]}
    page = browser.get("/busy").text
    assert "The jobs of the 16 processes on this page, and of 10 besides with the longest running ones of all." in page
    assert browser.data("/busy?class=Stuck")["running"][0]["cancellable"]
    assert "The class is looked for in these only." in browser.get("/busy?class=Stuck").text
    second = browser.data("/busy?offset=16")
    assert {job["process"] for job in second["running"]} == {each["identity"] for each in second["processes"]}
    assert "the first page has those that run longest of all" in browser.get("/busy?offset=16").text


def test_processes_whose_old_jobs_were_not_read_or_are_not_told_are_counted(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.web.context.MAX_AGE", 0.0)
    for number in range(20):
        process(redis, f"p{number:02d}:1:x", running={"J": 10})
    browser.get("/busy")
    process(redis, "new:1:x", running={"Stuck": 7200})
    process(redis, "z-ruby:1:x", running={"Old": 7200}, version="8.0.0")
    redis.hdel("z-ruby:1:x", "oldest_at")
    process(redis, "z-new:1:x", running={"Stuck": 7200})
    page = browser.get("/busy").text
    assert "read only with the next look: 2." in page
    assert "do not tell how long their jobs have run: 1." in page
    data = browser.data("/busy")
    assert (data["unread"], data["untold"]) == (0, 1)
    assert [job["process"] for job in data["running"]][:2] == ["new:1:x", "z-new:1:x"]


def test_processes_are_sorted_by_the_age_of_their_oldest_job(browser: Browser, redis: Redis) -> None:
    ages = {"a": 5, "b": 50, "c": 500, "d": 0}
    for name, age in ages.items():
        process(redis, f"{name}:1:x", running={"J": age} if age else None)
    redis.hdel(process(redis, "e:1:x", running={"J": 9000}), "oldest_at")
    for _ in ("not known before", "known"):
        data = browser.data("/busy?sort=oldest")
        assert [each["identity"][0] for each in data["processes"]] == ["c", "b", "a", "d", "e"]
    assert [each["identity"][0] for each in browser.data("/busy")["processes"]] == ["a", "b", "c", "d", "e"]
    assert [each["identity"][0] for each in data["processes"] if each["oldest"] is None] == ["d"]
    assert browser.get("/busy?sort=rss").status_code == 400


def test_sorted_processes_are_read_by_pages(browser: Browser, redis: Redis) -> None:
    for number in range(40):
        process(redis, f"p{number:02d}:1:x", running={"J": 10 + number})
    browser.get("/busy")
    seen, offset = [], 0
    while offset is not None:
        data = browser.data(f"/busy?sort=oldest&offset={offset}")
        seen += [each["identity"] for each in data["processes"]]
        assert {job["process"] for job in data["running"]} >= {each["identity"] for each in data["processes"]}
        offset = data["next"]
    assert seen == [f"p{number:02d}:1:x" for number in reversed(range(40))]


def test_the_rest_of_the_running_jobs_is_a_link_away(browser: Browser, redis: Redis) -> None:
    process(redis, "a:1:x", running={f"J{n}": n for n in range(60)})
    links = [str(each["href"]) for each in Page.of(browser.get("/busy").text).all("a")]
    [link] = [each for each in links if f"jobs={busy.MOST_RUNNING}" in each]
    data = browser.data(link.removesuffix("#running"))
    rest = [f"J{n}" for n in reversed(range(60 - busy.MOST_RUNNING))]
    assert ([job["class"] for job in data["running"]], data["left_out"]) == (rest, 0)


def test_processes_are_filtered_by_host_and_queue_and_jobs_by_class(browser: Browser, redis: Redis) -> None:
    process(redis, "a:1:x", running={"Mail": 5, "Report": 6}, queues=["mails"])
    process(redis, "ab:1:x", running={"Other": 5})
    process(redis, "a:2:y")

    def found(query: str) -> tuple[list[str], list[str]]:
        data = browser.data(f"/busy?{query}")
        return [each["identity"] for each in data["processes"]], [each["class"] for each in data["running"]]

    assert found("queue=mails") == (["a:1:x"], ["Report", "Mail"])
    assert found("host=a") == (["a:1:x", "a:2:y"], ["Report", "Mail"])
    assert found("host=a&queue=default") == (["a:2:y"], [])
    assert found("class=epo")[1] == ["Report"]
    assert found("host=none") == ([], [])
    assert "No process matches." in browser.get("/busy?host=none").text


def test_the_jobs_of_a_filtered_process_are_there_at_once(client: Client, redis: Redis) -> None:
    for number in range(70):
        process(redis, f"h{number:03}:1:x", running={f"J{number}": 5}, queues=[f"q{number}"])
    fresh = Browser(jobd.web.app(client, read_only=True))
    assert [job["class"] for job in fresh.data("/busy?queue=q69")["running"]] == ["J69"]
    assert [job["class"] for job in fresh.data("/busy?queue=q69")["running"]] == ["J69"]


def test_names_of_gone_processes_hide_no_running_jobs(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.web.context.MAX_AGE", 0.0)
    redis.sadd("processes", *(f"gone{number}:1:x" for number in range(100)))
    for number in range(30):
        process(redis, f"live{number:02}:1:x", running={f"J{number:02}": 5})
    wanted = {f"J{number:02}" for number in range(PROCESSES)}
    for _ in range(2):
        assert {job["class"] for job in browser.data("/busy")["running"]} >= wanted
    redis.sadd("processes", *(f"gone{number}:1:x" for number in range(100, 300)))
    assert {job["class"] for job in browser.data("/busy")["running"]} >= wanted
    process(redis, "a:1:x", running={"New": 5})
    browser.data("/busy")
    assert "New" in [job["class"] for job in browser.data("/busy")["running"]]


def told_of(identities: list[str], names: tuple[str, ...] = FIELDS) -> list[list[bytes | None]]:
    """Heartbeats of processes, as they are answered for these fields."""
    fields = {"info": b"{}", "busy": b"1", "beat": b"5", "quiet": b"false"}
    return [[fields.get(name) for name in names] for _ in identities]


def test_what_one_request_forgets_another_still_reads() -> None:
    seen, names = totals._Seen(), ["a", "b"]
    seen.processes(names, told_of(names), {}, 0.0)
    known = seen.known(names, 1.0)
    assert set(known) == {"a", "b"}
    assert seen.processes([], [], seen.known([], 1.0), 1.0) == ()
    assert [each.identity for each in seen.processes(names, told_of(names, totals._BEAT), known, 1.0)] == names
    assert [each.identity for each in seen] == names
    assert seen.processes(names, [*told_of(["a"]), [None] * len(FIELDS)], {}, 1.0)[0].busy == 1
    assert [each.identity for each in seen] == ["a"]


def test_not_all_processes_are_read_anew_in_the_same_second() -> None:
    seen, names = totals._Seen(), [f"h:{number}:x" for number in range(200)]
    seen.processes(names, told_of(names), {}, 0.0)
    assert len(seen.known(names, 29.0)) == 200
    assert 0 < len(seen.known(names, 45.0)) < 200
    assert not seen.known(names, 60.0)
    assert not seen.known(names, -60.0)


def test_a_job_that_takes_longer_than_usual_is_marked_the_second_time(browser: Browser, redis: Redis) -> None:
    process(redis, "a:1:x", running={"Slow": 400, "Rare": 400})
    minute = time.gmtime(time.time() - 120)
    slot = f"h|Slow-{minute.tm_mday}-{minute.tm_hour}:{minute.tm_min}"
    redis.execute_command("BITFIELD", slot, "SET", "u16", "#12", "100")
    assert {job["times"] for job in browser.data("/busy")["running"]} == {None}
    by_class = {job["class"]: job for job in browser.data("/busy")["running"]}
    assert 1.7 <= by_class["Slow"]["p95"] <= 2.5
    assert 160 <= by_class["Slow"]["times"] < 240
    assert by_class["Rare"]["times"] is None
    assert "× its p95" in browser.get("/busy").text


def test_classes_that_run_no_more_make_room_for_others(
    client: Client, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.web.usual.MOST", 2)
    monkeypatch.setattr("jobd.web.usual.AT_A_TIME", 1)
    now = time.time()
    minute = time.gmtime(now - 120)
    for name in ("Old", "Kept", "New"):
        slot = f"h|{name}-{minute.tm_mday}-{minute.tm_hour}:{minute.tm_min}"
        redis.execute_command("BITFIELD", slot, "SET", "u16", "#12", "100")
    usual, access = Usual(), Access(client)
    usual.note(["Kept", "Old"])
    usual.note(["Kept", "New"])
    known = []
    for _ in range(3):
        answer(access, usual.ask(access, now))
        known.append([name for name in ("Old", "Kept", "New") if usual.seconds(name)])
    assert known == [["New"], ["Kept", "New"], ["Kept", "New"]]


def test_a_clock_that_is_off_and_versions_that_differ_are_pointed_out(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.web.context.MAX_AGE", 0.0)
    process(redis, "a:1:x", skew_ms=-3500, cpu=87)
    text = Page.of(browser.get("/busy").text).text
    assert "clock off by -3.5 s" in text
    assert "87 %" in text
    assert "Different versions" not in text
    process(redis, "b:1:x", version="jobd-1.1", skew_ms=1)
    process(redis, "c:1:x", version="7.3.10")
    data = browser.data("/busy")
    assert data["versions"] == [{"version": "jobd-1.0", "count": 1}, {"version": "jobd-1.1", "count": 1}]
    assert [each["skewed"] for each in data["processes"]] == [True, False, False]


def test_capsules_are_shown_with_their_weights(browser: Browser, redis: Redis) -> None:
    capsules = {"default": {"concurrency": 4, "weights": {"critical": 3, "low": 1}}, "one": {"weights": "?"}}
    process(redis, "a:1:x", capsules=capsules)
    text = Page.of(browser.get("/busy").text).text
    assert "default: critical\xa0×3, low; one:" in text


def test_weights_without_capsules_are_shown_too(browser: Browser, redis: Redis) -> None:
    told = {"queues": ["critical", "low"], "weights": [{"critical": 3, "low": 1}], "version": "7.3.10"}
    process(redis, "a:1:x", **told)
    assert "critical\xa0×3, low" in Page.of(browser.get("/busy").text).text
    assert "critical × 3, low × 1" in Page.of(browser.get("/busy/a:1:x").text).text


def test_all_are_told_after_a_question_with_their_number(browser: Browser, redis: Redis) -> None:
    names = [process(redis, f"a:{number}:x", running={"J": 5}) for number in range(3)]
    other, inside = process(redis, "b:1:x"), process(redis, "a:9:x", embedded=True)
    asked = browser.post("/busy", {"action": "stop", "all": "yes", "host": "a"})
    text = Page.of(asked.text).text
    assert "3 processes, which run 3 jobs, on host a" in text
    assert "Left out, as they run inside other programs: 1." in text
    assert not redis.exists(*(f"{name}-signals" for name in names))
    late = process(redis, "a:5:x", started_at=time.time() + 60)
    found = Page.of(asked.text).all("input")
    form = [(each["name"], each["value"]) for each in found if each.get("type") == "hidden" and each["name"] != "here"]
    done = browser.post("/busy", form)
    assert done.headers["location"] == "/busy?host=a&did=stop&moved=3"
    assert [redis.lrange(f"{name}-signals", 0, -1) for name in names] == [[b"TERM"]] * 3
    assert not redis.exists(*(f"{name}-signals" for name in (other, inside, late)))


@pytest.mark.parametrize(("action", "sent"), [("quiet", b"TSTP"), ("dump", b"TTIN")])
def test_programs_are_asked_with_409_first(action: str, sent: bytes, browser: Browser, redis: Redis) -> None:
    name = process(redis, "a:1:x")
    asked = browser.act("/busy", action=action, all="yes")
    assert (asked.status_code, asked.json()["count"]) == (409, 1)
    done = browser.act("/busy", **dict(asked.json()["fields"]), confirmed="yes")
    assert done.json() == {"action": action, "moved": 1}
    assert redis.lrange(f"{name}-signals", 0, -1) == [sent]
    assert browser.act("/busy", action=action).status_code == 400
    assert browser.act("/busy", action=action, all="yes", until="x").status_code == 400


def test_a_process_is_asked_for_its_stacks_and_shows_them(browser: Browser, redis: Redis) -> None:
    name = process(redis, "a:1:x", running={"Mail": 5})
    page = f"/busy/{name}"
    assert "Nobody has asked" in browser.get(page).text
    asked = browser.post(page, {"action": "stacks"})
    assert redis.lrange(f"{name}-signals", 0, -1) == [b"STACKS"]
    waiting = browser.get(asked.headers["location"])
    assert "heartbeat (10 s unless configured otherwise). This page looks again by itself." in waiting.text
    assert [each["content"] for each in Page.of(waiting.text).all("meta") if each.get("http-equiv")] == ["2"]
    frames = (Frame("/app/mails.py", 7, "send", 'connect("x", password="hunter2") # <b>'),)
    threads = [ThreadStack("t0", "jobd-default-1", "Mail-0", "Mail", time.time() - 5, frames, left_out=3)]
    redis.set(f"jobd:stacks:{name}", stacks.within(threads, time.time(), 10_000))
    shown = browser.get(asked.headers["location"]).text
    text = Page.of(shown).text
    assert "/app/mails.py:7 send" in text
    assert "3 outer calls" in text
    assert "hunter2" not in shown
    assert "has ended since" not in text
    assert not [each for each in Page.of(shown).all("meta") if each.get("http-equiv")]
    assert browser.data(page)["stacks"]["threads"][0]["frames"][0]["function"] == "send"


def test_who_has_not_answered_is_said_to_be_silent(browser: Browser, redis: Redis) -> None:
    name = process(redis, "a:1:x")
    assert "This page looks again by itself." in browser.get(f"/busy/{name}?asked={int(time.time()) - 35}").text
    assert "It has not answered." in browser.get(f"/busy/{name}?asked={int(time.time()) - 100}").text


def test_a_process_of_ruby_only_logs_and_one_that_is_gone_is_not_found(browser: Browser, redis: Redis) -> None:
    name = process(redis, "a:1:x", version="7.3.10")
    text = browser.get(f"/busy/{name}").text
    assert "only writes the stacks of its threads to its own log" in text
    assert "Show stacks" not in text
    assert browser.post(f"/busy/{name}", {"action": "stacks"}).status_code == 400
    assert browser.get("/busy/none").status_code == browser.post("/busy/none", {"action": "stacks"}).status_code == 404
    assert browser.post(f"/busy/{name}", {"action": "explode"}).status_code == 400


def test_a_process_whose_name_is_no_word_has_a_page_too(browser: Browser, redis: Redis) -> None:
    name = process(redis, 'a/../"é:1:x')
    [link] = {each["href"] for each in Page.of(browser.get("/busy").text).all("a") if "/busy/-" in str(each["href"])}
    assert name in Page.of(browser.get(str(link)).text).text


def test_only_who_may_dump_asks_for_stacks_and_sees_them(client: Client, redis: Redis) -> None:
    name = process(redis, "a:1:x")
    site = jobd.web.app(client, authorize=lambda user, action: action in ("view", "stop"))
    browser = Browser(site)
    redis.set(f"jobd:stacks:{name}", stacks.within([ThreadStack("t0", "main", "", "", 0.0, ())], time.time(), 10_000))
    assert browser.data(f"/busy/{name}")["stacks"] is None
    page = browser.get(f"/busy/{name}?asked={int(time.time())}").text
    assert "Show stacks" not in page
    assert "needs the right dump" in page
    looker = Browser(jobd.web.app(client, authorize=lambda user, action: action == "dump" or action == "view"))
    assert len(looker.data(f"/busy/{name}")["stacks"]["threads"]) == 1
    assert browser.post(f"/busy/{name}", {"action": "stacks"}).status_code == 403
    assert browser.post("/busy", {"action": "quiet", "all": "yes"}).status_code == 403
    assert not redis.exists(f"{name}-signals")


def test_what_a_heartbeat_tells_is_seen_though_its_description_is_not_read_again(
    browser: Browser, redis: Redis, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.web.context.MAX_AGE", 0.0)
    fill(redis, client)
    assert browser.data("/totals")["busy"] == 1
    redis.config_resetstat()
    redis.hset(PROCESS, mapping={"busy": 4, "quiet": "true", "rss": 4096})
    [row] = browser.data("/busy")["processes"]
    assert (row["busy"], row["quiet"], row["rss"], row["tag"]) == (4, True, 4096, "plain")
    redis.delete(PROCESS)
    assert browser.data("/busy")["processes"] == []
    redis.hset(PROCESS, mapping={"info": json.dumps({"tag": "new"}), "busy": 1, "beat": 1})
    assert [each["tag"] for each in browser.data("/busy")["processes"]] == ["new"]


def test_a_page_of_many_busy_processes_is_small(browser: Browser, redis: Redis) -> None:
    used = list(range(35_000, 95_000, 1_000))
    trend = json.dumps({"step": 10, "rss": used, "cpu": [each % 7 * 10 for each in used]})
    for number in range(30):
        name = process(redis, f"web-{number}:4711:0123456789ab", running={f"HardJob{n}": n for n in range(10)})
        redis.hset(name, "trend", trend)
    assert len(browser.get("/busy").content) < 60_000


def test_a_job_is_cancelled_after_a_question_that_says_what_that_means(browser: Browser, redis: Redis) -> None:
    name = process(redis, "a:1:x", running={"Mail": 5, "Report": 6})
    page = Page.of(browser.get("/busy").text)
    assert [each["value"] for each in page.all("button") if each.get("name") == "jid"] == ["Report-1", "Mail-0"]
    asked = browser.post("/busy", {"action": "cancel", "jid": "Mail-0"})
    text = Page.of(asked.text).text
    assert re.search(r"Mail Mail-0, which has run for [56]", text)
    assert "A call that waits" in text
    assert not redis.exists("jobd:cancel:Mail-0")
    form = [(str(e["name"]), str(e["value"])) for e in Page.of(asked.text).all("input") if e.get("type") == "hidden"]
    done = browser.post("/busy", [*form, ("action", "cancel")])
    assert done.headers["location"] == "/busy?did=cancel&moved=1"
    assert "interrupted with the next heartbeat" in browser.get(done.headers["location"]).text
    payload = json.loads(redis.hget(f"{name}:work", "t0") or b"")["payload"]
    assert redis.get("jobd:cancel:Mail-0") == run_of(payload.encode())
    [record] = [each for each in browser.data("/activity")["records"] if each["action"] == "cancel"]
    assert (record["target"], record["result"]) == ("Mail-0", "done")


@pytest.mark.parametrize(("given", "back"), [("process", "/busy/a:1:x"), ("job", "/jobs/Mail-0"), ("", "/busy")])
def test_a_job_is_cancelled_from_the_page_where_it_stands(
    given: str, back: str, browser: Browser, redis: Redis
) -> None:
    process(redis, "a:1:x", running={"Mail": 5})
    shown = Page.of(browser.get(back).text)
    assert [each["value"] for each in shown.all("input") if each.get("name") == "action"] in (["cancel"], [])
    assert "Cancel job…" in shown.text
    fields = {"action": "cancel", "jid": "Mail-0", "identity": "a:1:x", "from": given, "confirmed": "yes"}
    assert browser.post("/busy", fields).headers["location"] == f"{back}?did=cancel&moved=1"


def test_one_that_has_ended_or_runs_in_ruby_is_not_cancelled(browser: Browser, redis: Redis, client: Client) -> None:
    process(redis, "a:1:x", running={"Mail": 5}, version="7.3.10")
    assert "Cancel job…" not in browser.get("/busy").text
    refused = browser.act("/busy", action="cancel", jid="Mail-0", confirmed="yes")
    assert (refused.status_code, "no process of jobd" in refused.text) == (400, True)
    assert browser.act("/busy", action="cancel", jid="Mail-0").status_code == 400
    gone = browser.act("/busy", action="cancel", jid="none", confirmed="yes")
    assert (gone.status_code, "it has ended" in gone.text) == (404, True)
    assert browser.act("/busy", action="cancel").status_code == 400
    process(redis, "b:1:x", running={"Mine": 5})
    assert browser.act("/busy", action="cancel", jid="Mine-0", identity="a:1:x").status_code == 404
    asked = browser.act("/busy", action="cancel", jid="Mine-0")
    assert (asked.status_code, asked.json()["running"]["class"]) == (409, "Mine")
    may_not = Browser(jobd.web.app(client, authorize=lambda user, action: action != "cancel"))
    assert not any("Cancel job…" in may_not.get(page).text for page in ("/busy", "/busy/b:1:x", "/jobs/Mine-0"))
    assert redis.keys("jobd:cancel:*") == []


def test_a_job_that_was_interrupted_and_goes_on_is_said_to(browser: Browser, redis: Redis) -> None:
    name = process(redis, "a:1:x", running={"Mail": 5})
    work = json.loads(redis.hget(f"{name}:work", "t0") or b"")
    redis.hset(f"{name}:work", "t0", json.dumps({**work, "cancelled": True}))
    for page in ("/busy", f"/busy/{name}", "/jobs/Mail-0"):
        text = Page.of(browser.get(page).text).text
        assert "interrupted, and has not ended yet" in text
        assert "Cancel job…" not in text


def test_memory_and_processor_of_the_last_heartbeats_are_drawn(browser: Browser, redis: Redis) -> None:
    name, ruby = process(redis, "a:1:x", cpu=7), process(redis, "b:1:x", version="7.3.10")
    redis.hset(name, "trend", json.dumps({"step": 10, "rss": [1024, 3072, 2048], "cpu": [0, 50, 7]}))
    redis.hset(ruby, "trend", b"\xff no trend")
    first, second = browser.data("/busy")["processes"]
    assert first["trend"] == {"step": 10.0, "rss": [1 << 20, 3 << 20, 2 << 20], "cpu": [0, 50, 7]}
    assert second["trend"] is None
    page = Page.of(browser.get("/busy").text)
    assert [each["d"] for each in page.all("path") if each.get("d", "").startswith("M17")] == [  # type: ignore[union-attr]
        "M17 6h1v-5h1v3h1",
        "M17 9h1v-8h1v7h1",
    ]
    assert "The curves show memory and processor of the last 30 s" in page.text
    text = Page.of(browser.get(f"/busy/{name}").text).text
    assert "1.0 MB to 3.0 MB in the last 30 s" in text
    assert "0 % to 50 % in the last 30 s" in text
    assert "in the last" not in Page.of(browser.get(f"/busy/{ruby}").text).text


@pytest.mark.parametrize(
    ("values", "path"),
    [([], ""), ([0, 0, 0], "M17 9h3"), ([5], "M19 1h1"), ([7] * 60, "M0 1h20"), ([0, 9] * 20, "M0 1h20")],
)
def test_a_curve_for_a_row_says_nothing_twice(values: list[float], path: str) -> None:
    assert steps(values) == path


def buttons(page: str) -> list[str | None]:
    """What can be told to the processes of a page."""
    return [each.get("value") for each in Page.of(page).all("button") if each.get("name") == "action"]


def test_a_quiet_process_is_resumed_where_that_works(browser: Browser, redis: Redis) -> None:
    name = process(redis, "a:1:x")
    redis.hset(name, mapping={"quiet": "true", "held": 0})
    for page in ("/busy", f"/busy/{name}"):
        assert buttons(browser.get(page).text)[:3] == ["resume", "stop", "dump"]
    done = browser.post("/busy", {"action": "resume", "identity": name})
    assert done.headers["location"] == "/busy?did=resume_process&moved=1"
    assert "Told to take jobs again" in browser.get(done.headers["location"]).text
    assert redis.lrange(f"{name}-signals", 0, -1) == [b"RESUME"]


@pytest.mark.parametrize("held", [{"held": 1}, {}])
def test_one_that_stays_quiet_has_no_button_for_it_and_says_why(
    browser: Browser, redis: Redis, held: dict[str, Any]
) -> None:
    name = process(redis, "a:1:x")
    redis.hset(name, mapping={"quiet": "true", **held})
    assert buttons(browser.get("/busy").text)[:2] == ["stop", "dump"]
    page = browser.get(f"/busy/{name}").text
    assert buttons(page)[:2] == ["stop", "dump"]
    assert "Only jobd ctl resume there has it take jobs again." in Page.of(page).text
    assert browser.act("/busy", action="resume", identity=name).status_code == 400
    assert not redis.exists(f"{name}-signals")


def test_all_that_can_be_are_resumed_after_a_question(browser: Browser, redis: Redis, client: Client) -> None:
    names = [process(redis, f"a:{number}:x", running={"J": 5}) for number in range(4)]
    for name, fields in zip(names, [{"held": 0}, {"held": 0}, {"held": 1}], strict=False):
        redis.hset(name, mapping={"quiet": "true", **fields})
    assert buttons(browser.get("/busy").text)[-4:] == ["quiet", "stop", "dump", "resume"]
    asked = browser.act("/busy", action="resume", all="yes")
    assert (asked.status_code, asked.json()["count"], asked.json()["busy"]) == (409, 2, 2)
    assert browser.act("/busy", **dict(asked.json()["fields"]), confirmed="yes").json()["moved"] == 2
    assert [redis.exists(f"{name}-signals") for name in names] == [1, 1, 0, 0]
    may_not = Browser(jobd.web.app(client, authorize=lambda user, action: action != "quiet"))
    assert "resume" not in buttons(may_not.get("/busy").text)
    assert may_not.act("/busy", action="resume", identity=names[0]).status_code == 403
