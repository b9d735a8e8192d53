"""The entries of the cron: the list, the page of each, what can be done with one and with all, the calendar."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis

import jobd.web
from jobd.client.cron_expression import parse
from jobd.client.cron_push import CronRun, Skipped
from jobd.client.cron_set import CronSet
from jobd.client.push import Client
from jobd.web.pages import cron
from tests.client.api import queued
from tests.web.browser import Browser, Page

HOSTILE = 'a/b "c" <d>?&#%'


def at(text: str) -> float:
    """A time of UTC in epoch seconds."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def made_by(client: Client, name: str, source: str) -> None:
    """An entry as the code, a configuration or Ruby makes it."""
    entries = CronSet(client)
    entries.save(replace(entries.create(name, "@daily", "HardJob"), source=source))


@pytest.mark.parametrize("name", ["tick", "with space", HOSTILE, "-", "/", "ü"])
def test_an_entry_has_a_page_whatever_its_name_is(name: str, browser: Browser, client: Client) -> None:
    CronSet(client).create(name, "0 8 * * *", "HardJob", args=[{"password": "hunter2"}], timezone="Asia/Ho_Chi_Minh")
    links = [str(each["href"]) for each in Page.of(browser.get("/cron").text).all("a")]
    [href] = {link for link in links if link.startswith("/cron/")}
    page = browser.get(href)
    assert (page.status_code, "hunter2" in page.text) == (200, False)
    told = browser.data(href)
    assert (told["name"], told["timezone"], len(told["next"])) == (name, "Asia/Ho_Chi_Minh", 5)
    assert {each["local"][-8:] for each in told["next"]} == {"08:00:00"}
    assert {each["offset"] for each in told["next"]} == {"UTC+07:00"}
    assert browser.post(href, {"action": "disable", "name": name}).headers["location"].startswith("/cron/")
    assert browser.data(href)["next"] == []
    assert "It does not run." in browser.get(href).text


def test_an_entry_that_is_not_there_is_not_found(browser: Browser) -> None:
    for path in ("/cron/none", "/cron/-?name=" + "x" * 1_001, "/cron/-?name=%00"):
        assert browser.get(path).status_code == 404


def test_runs_that_come_after_a_change_of_the_clock_say_so() -> None:
    schedule = parse("30 2 * * *", "Europe/Berlin")
    now = at("2027-03-26T12:00:00")
    ticks = [next(schedule.between(now + day * 86_400, now + 9e6)) for day in range(3)]
    told = cron.upcoming(schedule, ticks, now)
    assert [each["local"] for each in told] == [
        "Sat 2027-03-27 02:30:00",
        "Sun 2027-03-28 03:00:00",
        "Mon 2027-03-29 02:30:00",
    ]
    changed = {"before": "UTC+01:00", "after": "UTC+02:00"}
    assert [each["changed"] for each in told] == [None, changed, None]
    west = cron.upcoming(parse("0 0 * * *", "America/St_Johns"), [now], now)
    assert west[0]["offset"] == "UTC-02:30"


@pytest.mark.parametrize(
    ("run", "state", "late"),
    [
        (CronRun(100.0, 100.4, "j1"), "pushed", 0.4),
        (CronRun(100.0, 111.0, "j1"), "late", 11.0),
        (CronRun(100.0, 99.9, "j1"), "pushed", 0.0),
        (CronRun(100.0, 100.1, None, "overlap"), "skipped", 0.1),
        (CronRun(100.0, 100.1, None, "middleware"), "skipped", 0.1),
        (CronRun(100.0, 5_000.0, None, "late", 3), "missed", 4_900.0),
        (CronRun(None, 100.0, "j1"), "by hand", None),
    ],
)
def test_a_run_has_a_state_and_says_how_late_it_was(run: CronRun, state: str, late: float | None) -> None:
    told = cron._run(run)
    assert (told["state"], told["late"]) == (state, late if late is None else pytest.approx(late))


@pytest.mark.parametrize(
    ("run", "shows", "outcome"),
    [
        (CronRun(100.0, 100.4, "j1"), "pushed", "unknown"),
        (CronRun(100.0, 111.0, "j1"), "late", "unknown"),
        (CronRun(None, 100.0, "j1"), "by hand", "unknown"),
        (CronRun(100.0, 100.4, "j1", outcome="ok", ended=101.0), "ok", "ok"),
        (CronRun(None, 100.0, "j1", outcome="ok", ended=101.0), "ok", "ok"),
        (CronRun(100.0, 111.0, "j1", outcome="ok", ended=112.0), "late", "ok"),
        (CronRun(100.0, 111.0, "j1", outcome="dead", ended=112.0), "dead", "dead"),
        (CronRun(100.0, 100.4, "j1", outcome="failed", ended=101.0), "failed", "failed"),
        (CronRun(100.0, 100.4, "j1", outcome="expired", ended=101.0), "expired", "expired"),
        (CronRun(100.0, 100.4, "j1", outcome="retry", ended=101.0, due=195.0), "retry", "retry"),
        (CronRun(100.0, 100.4, "j1", outcome="retry", ended=101.0, due=180.0), "unclear", "retry"),
        (CronRun(100.0, 100.4, "j1", outcome="postponed", ended=101.0, due=300.0), "postponed", "postponed"),
        (CronRun(100.0, 100.1, None, "overlap"), "skipped", ""),
    ],
)
def test_a_mark_tells_how_the_job_ended_and_no_more_than_is_known(run: CronRun, shows: str, outcome: str) -> None:
    told = cron._as_known(cron._run(run), 200.0)
    assert (told["shows"], told["outcome"]) == (shows, outcome)


def test_the_strip_is_green_only_for_jobs_that_ended_well(browser: Browser, redis: Redis, client: Client) -> None:
    CronSet(client).create("tick", "* * * * *", "HardJob")
    now, ends = time.time(), ("ok", "dead", "retry", None)
    for place, outcome in enumerate(ends):
        run = CronRun(now - 100 + place, now - 100 + place, f"j{place}", outcome=outcome)
        due = now + 60 if outcome == "retry" else None
        redis.lpush("jobd:cron:tick:runs", replace(run, ended=now - 50 if outcome else None, due=due).as_json())
    page = Page.of(browser.get("/cron/tick").text)
    marks = [link for link in page.all("a") if str(link.get("title", "")).count(" UTC: ")]
    said = ["ended well", "dead", "failed, to be retried", "pushed, not ended, or not known"]
    assert [str(link["title"]).split(" UTC: ")[1] for link in marks] == said
    for words in ("✓ ended well", "✕ dead", "↻ failed, to be retried"):
        assert words in page.text
    assert "ended well, dead, failed, to be retried, pushed" in browser.get("/cron").text
    assert [run["shows"] for run in browser.data("/cron")["entries"][0]["runs"]] == ["pushed", "retry", "dead", "ok"]


def test_the_last_runs_are_shown_with_their_jobs(browser: Browser, redis: Redis, client: Client) -> None:
    CronSet(client).create("tick", "* * * * *", "HardJob", overlap="skip", catch_up="once")
    now = time.time()
    why: list[Skipped | None] = [None, "overlap", "late"]
    for place, skipped in enumerate(why):
        run = CronRun(
            now - 100 + place, now - 99 + place, None if skipped else "jid-1", skipped, 2 if place == 2 else 0
        )
        redis.lpush("jobd:cron:tick:runs", run.as_json())
    page = browser.get("/cron/tick").text
    assert 'href="/jobs/jid-1"' in page
    text = Page.of(page).text
    for said in (
        "→ pushed",
        "not ended, or not known",
        "the last job had not ended",
        "it was too late to run it",
        "2 ticks before it were missed",
    ):
        assert said in text
    assert ("it is skipped" in text, "the last of them runs late" in text) == (True, True)
    assert [run["state"] for run in browser.data("/cron/tick")["runs"]] == ["missed", "skipped", "pushed"]


def test_an_entry_of_run_time_is_deleted_after_a_question(browser: Browser, client: Client) -> None:
    entries = CronSet(client)
    entries.create("tick", "@daily", "HardJob")
    asked = browser.post("/cron/tick", {"action": "delete"})
    assert (asked.status_code, "Delete the cron entry tick" in asked.text, "tick" in entries) == (200, True, True)
    assert browser.act("/cron/tick", action="delete").status_code == 409
    done = browser.post("/cron", {"action": "delete", "name": "tick", "confirmed": "yes"})
    assert "The entry is deleted." in browser.get(done.headers["location"]).text
    assert "tick" not in entries
    assert browser.post("/cron", {"action": "delete", "name": "tick", "confirmed": "yes"}).status_code == 404


@pytest.mark.parametrize(("source", "deletable"), [("code", False), ("config", False), ("", True), ("api", True)])
def test_what_would_come_back_cannot_be_deleted(source: str, deletable: bool, browser: Browser, client: Client) -> None:
    made_by(client, "tick", source)
    page = browser.get("/cron/tick").text
    assert ('value="delete"' in page) is deletable
    answer = browser.post("/cron/tick", {"action": "delete", "confirmed": "yes"})
    assert answer.status_code == (303 if deletable else 400)
    assert ("tick" in CronSet(client)) is not deletable
    if not deletable:
        assert f"stands in the {source}" in answer.text
        assert "comes back if it is deleted" in page


def test_all_are_disabled_and_enabled_with_a_count(browser: Browser, client: Client) -> None:
    entries = CronSet(client)
    for i in range(3):
        entries.create(f"tick {i}", "@daily", "HardJob", status="disabled" if i == 0 else None)
    asked = browser.post("/cron", {"action": "disable_all"})
    assert "Disable 2 cron entries" in asked.text
    assert browser.act("/cron", action="disable_all").json()["count"] == 2
    done = browser.post("/cron", {"action": "disable_all", "confirmed": "yes"})
    assert "Entries disabled: 2." in browser.get(done.headers["location"]).text
    assert [entry.enabled for entry in entries] == [False] * 3
    assert browser.act("/cron", action="enable_all", confirmed="yes").json()["moved"] == 3
    assert all(entry.enabled for entry in entries)


def test_an_entry_is_run_from_its_page(browser: Browser, redis: Redis, client: Client) -> None:
    CronSet(client).create("tick", "@daily", "HardJob", queue="cron")
    assert browser.post("/cron/tick", {"action": "run"}).headers["location"] == "/cron/tick?did=run&moved=1"
    [job] = queued(redis, "cron")
    assert [(run["jid"], run["state"]) for run in browser.data("/cron/tick")["runs"]] == [(job["jid"], "by hand")]
    assert browser.act("/cron", action="explode", name="tick").status_code == 400


@pytest.mark.parametrize("path", ["/cron", "/cron/tick"])
def test_the_next_run_is_skipped_and_taken_back(path: str, browser: Browser, redis: Redis, client: Client) -> None:
    CronSet(client).create("tick", "0 3 1 1 *", "HardJob")
    [shown] = [each["value"] for each in Page.of(browser.get(path).text).all("input") if each.get("name") == "tick"]
    form = {"action": "skip", "name": "tick", "tick": str(shown)}
    done = browser.post(path, form)
    assert "The next run is skipped." in browser.get(done.headers["location"]).text
    told = browser.data("/cron/tick")
    assert (told["skips"], [each["skipped"] for each in told["next"]]) == (float(str(shown)), [True] + [False] * 4)
    assert browser.data("/cron")["entries"][0]["skips"] == told["skips"]
    assert "Next run is skipped: 20" in browser.get("/cron/tick").text
    assert "‖ skipped" in browser.get(path).text
    assert 'value="unskip"' in browser.get(path).text
    assert browser.post(path, {**form, "action": "unskip"}).status_code == 303
    assert 'value="skip"' in browser.get(path).text
    refused = browser.post(path, {**form, "action": "unskip"})
    assert (refused.status_code, "somebody took it back" in refused.text) == (400, True)
    records: list[Any] = redis.xrange("jobd:audit")
    assert [(r[b"action"], r[b"target"], r[b"result"]) for _, r in records] == [
        (b"skip", b"tick", b"done"),
        (b"unskip", b"tick", b"done"),
        (b"unskip", b"tick", b"failed"),
    ]


def test_only_the_run_that_was_shown_is_skipped(browser: Browser, redis: Redis, client: Client) -> None:
    CronSet(client).create("tick", "0 3 1 1 *", "HardJob")
    [tick] = CronSet(client).find("tick").schedule.between(time.time(), time.time() + 366 * 86_400)  # type: ignore[union-attr]
    for odd in ("x", "nan", str(tick - 60), "1e400"):
        assert browser.act("/cron/tick", action="skip", tick=odd).status_code == 400
    assert not redis.hexists("cron_job:tick", "skip")
    assert browser.act("/cron/none", action="skip").status_code == 404
    assert browser.act("/cron/tick", action="skip").status_code == 200
    CronSet(client).disable("tick")
    assert browser.data("/cron/tick")["skips"] is None
    assert browser.act("/cron/tick", action="skip").status_code == 400


def test_a_skipped_run_is_among_the_last_ones(browser: Browser, redis: Redis, client: Client) -> None:
    CronSet(client).create("tick", "@daily", "HardJob")
    redis.lpush("jobd:cron:tick:runs", CronRun(100.0, 100.1, None, "asked").as_json())
    assert [run["state"] for run in browser.data("/cron/tick")["runs"]] == ["skipped"]
    assert "‖ skipped: somebody wanted it skipped" in Page.of(browser.get("/cron/tick").text).text


def test_an_entry_in_utc_has_one_column_of_times(browser: Browser, client: Client) -> None:
    CronSet(client).create("here", "@daily", "HardJob")
    CronSet(client).create("there", "@daily", "HardJob", timezone="Asia/Ho_Chi_Minh")
    for name, zones in (("here", 1), ("there", 2)):
        page = browser.get(f"/cron/{name}").text
        assert (page.count('scope="col">UTC'), page.count("Ho_Chi_Minh</th>")) == (1, zones - 1)
        assert page.count('data-label="UTC"') == 5
        assert page.count('data-label="Asia/Ho_Chi_Minh"') == 5 * (zones - 1)


@pytest.mark.parametrize("action", [*cron.ONE, *cron.ALL])
def test_who_may_not_change_the_cron_changes_nothing_of_it(action: str, client: Client) -> None:
    CronSet(client).create("tick", "@daily", "HardJob", status="disabled" if "enable" in action else None)
    app = jobd.web.app(client, auth=lambda request: "ann", authorize=lambda user, asked: asked != "cron")
    for path in ("/cron", "/cron/tick"):
        assert Browser(app).post(path, {"action": action, "name": "tick", "confirmed": "yes"}).status_code == 403
        assert 'method="post" action="/cron' not in Browser(app).get(path).text
    assert [entry.name for entry in CronSet(client)] == ["tick"]


def test_many_entries_are_read_by_pages_and_found_by_name(browser: Browser, client: Client) -> None:
    CronSet(client).load({f"entry {i:03d}": {"cron": "@daily", "class": "HardJob"} for i in range(90)})
    seen, offset = [], 0
    while offset is not None:
        page = browser.data(f"/cron?offset={offset}")
        seen += [entry["name"] for entry in page["entries"]]
        offset = page["next"]
    assert seen == [f"entry {i:03d}" for i in range(90)]
    assert [entry["name"] for entry in browser.data("/cron?q=ENTRY 01")["entries"]] == [
        f"entry 01{i}" for i in range(10)
    ]
    assert len(browser.get("/cron").content) < 60_000


def test_the_calendar_tells_what_comes_together() -> None:
    now = at("2027-01-01T10:20:00")
    told = cron.calendar(
        {"a": "0 12 * * *", "b": "0 12 * * *", "c": "5 12 * * *", "d": "30 9 * * *", "e": "*/5 * * * *", "f": "broken"},
        now,
    )
    assert told["start"] == at("2027-01-01T10:00:00")
    assert [(slot["place"], slot["entries"], slot["clash"]) for slot in told["slots"]] == [(8, 3, True), (94, 1, False)]
    assert told["clashes"] == [{"at": at("2027-01-01T12:00:00"), "entries": 2, "names": ["a", "b"]}]
    assert (told["often"], told["clash_count"], told["most"]) == (["e"], 1, 3)


def test_the_calendar_is_drawn_of_the_entries_that_are_enabled(browser: Browser, client: Client) -> None:
    entries = CronSet(client)
    for name in ("one", "two", "off"):
        entries.create(name, "0 12 * * *", "HardJob", status="disabled" if name == "off" else None)
    assert browser.data("/cron")["calendar"]["clashes"][0]["names"] == ["one", "two"]
    page = browser.get("/cron").text
    assert "Minutes in which several run: 1" in page
    assert 'class="clash"' in page
    entries.disable("two")
    assert "No two entries run in the same minute." in browser.get("/cron").text


def test_what_cannot_be_used_is_shown_with_its_reason(browser: Browser, redis: Redis) -> None:
    redis.sadd("cron_jobs", "cron_job:odd", "cron_job:bad")
    redis.hset("cron_job:odd", mapping={"name": "odd", "cron": "99 * * * *", "klass": "Job", "status": "enabled"})
    redis.set("cron_job:bad", "x")
    page = browser.get("/cron")
    assert page.status_code == 200
    assert browser.data("/cron")["entries"][0]["problem"]
    assert "✕" in browser.get("/cron/odd").text
    assert browser.get("/cron/bad").status_code == 404
